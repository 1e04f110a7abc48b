"""scikit-learn's contract, to the letter."""

from sklearn.utils.estimator_checks import parametrize_with_checks

import omokage as om

# Batches of 16, so that one compiled program serves the many numbers of rows that the checks come with.
SMALL = {"latent_dim": 2, "hidden": (8,), "epochs": 3, "batch_size": 16, "verbose": 0}


DETECTOR = om.AnomalyDetector(om.VAE(**SMALL), ensemble=2, verbose=0)


@parametrize_with_checks([om.VAE(**SMALL), om.AutoEncoder(**SMALL), DETECTOR])
def test_scikit_learn_checks(estimator, check):
    check(estimator)

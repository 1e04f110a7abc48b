"""scikit-learn's contract, to the letter."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

import omokage as om

# Batches of 16, so that one compiled program serves the many numbers of rows that the checks come with.
SMALL = {"latent_dim": 2, "hidden": (8,), "epochs": 3, "batch_size": 16, "verbose": 0}


DETECTOR = om.AnomalyDetector(om.VAE(**SMALL), ensemble=2, verbose=0)


@parametrize_with_checks([om.VAE(**SMALL), om.AutoEncoder(**SMALL), DETECTOR])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("model", [None, {"hidden": (8,), "latent_dim": 2}])
def test_settings_of_members_can_be_searched_also_where_they_are_a_dict(model):
    detector = om.AnomalyDetector(model, verbose=0).set_params(model__epochs=3, ensemble=2)
    assert detector.model == {**(model or {}), "epochs": 3} and detector.ensemble == 2
    assert clone(detector).model == detector.model
    estimator = om.AnomalyDetector(om.VAE()).set_params(model__epochs=4)
    assert estimator.model.epochs == 4
    with pytest.raises(om.errors.ParameterError, match="ephocs"):
        om.AnomalyDetector(model).set_params(model__ephocs=3).fit(np.zeros((20, 2)))

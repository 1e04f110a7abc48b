"""Inference: a row's result depends on the row, the key and the model, and on nothing else."""

import numpy as np
import pytest

import omokage as om

X = np.random.default_rng(0).normal(size=(700, 5)) @ np.random.default_rng(1).normal(size=(5, 5))
SETTINGS = {"latent_dim": 2, "hidden": (8,), "epochs": 3, "verbose": 0}


@pytest.fixture(scope="module")
def vae():
    return om.VAE(**SETTINGS, normalization="batch", dropout=0.1).fit(X)


FUNCTIONS = {
    "transform": lambda vae, X: vae.transform(X),
    "reconstruct": lambda vae, X: vae.reconstruct(X),
    "reconstruct a draw": lambda vae, X: vae.reconstruct(X, sample=True, seed=4),
    "score_samples": lambda vae, X: vae.score_samples(X),
    "terms": lambda vae, X: np.stack(list(vae.terms(X, samples=40).values()), 1),
    "log_likelihood": lambda vae, X: vae.log_likelihood(X, samples=70),
}


@pytest.mark.optimised
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_row_is_the_same_alone_and_among_others(vae, name):
    function = FUNCTIONS[name]
    together = function(vae, X)
    assert np.array_equal(together, function(vae, X))
    assert np.array_equal(together[::-1], function(vae, X[::-1]))
    assert np.array_equal(together[300:301], function(vae, X[300:301]))
    assert np.array_equal(together[100:600], function(vae, X[100:600]))
    many = np.tile(X, (7, 1))  # more than the rows of one program
    assert np.array_equal(np.tile(together, (7,) + (1,) * (together.ndim - 1)), function(vae, many))


def test_decoder_means_are_the_reconstructions(vae):
    np.testing.assert_allclose(vae.inverse_transform(vae.transform(X)), vae.reconstruct(X), rtol=1e-6)


def test_drawn_reconstructions_differ_between_rows_and_seeds(vae):
    same = np.repeat(X[:1], 2, 0)
    same[1] += 1e-6  # nearly the same posterior, another draw
    one, other = vae.reconstruct(same, sample=True)
    assert not np.allclose(one, other, atol=1e-3)
    assert not np.array_equal(vae.reconstruct(X, sample=True, seed=1), vae.reconstruct(X, sample=True, seed=2))


def test_the_mean_of_drawn_reconstructions_of_a_linear_decoder_is_the_reconstruction():
    vae = om.VAE(2, hidden=(), epochs=3, verbose=0).fit(X)
    draws = np.stack([vae.reconstruct(X[:50], sample=True, seed=seed) for seed in range(200)])
    standard_error = draws.std(0) / np.sqrt(len(draws))
    assert (np.abs(draws.mean(0) - vae.reconstruct(X[:50])) < 5 * standard_error + 1e-5).mean() > 0.99


def test_samples_are_prefixes_of_one_another_and_follow_the_seed(vae):
    assert np.array_equal(vae.sample(1000, seed=1)[:10], vae.sample(10, seed=1))
    assert not np.array_equal(vae.sample(10, seed=1), vae.sample(10, seed=2))


def test_samples_of_a_linear_model_have_its_covariance():
    vae = om.VAE(2, hidden=(), epochs=30, verbose=0).fit(X)
    draws = vae.sample(40_000)
    head = vae.model_.likelihood.heads["mean"]
    scale = 1e-3 + np.exp(np.float64(vae.model_.likelihood.learned["log_scale"]))
    unit = vae.schema_.columns.scale
    W = np.float64(head.weight)
    covariance = (W @ W.T + np.diag(scale**2)) * np.outer(unit, unit)
    deviations = np.sqrt(np.diag(covariance))
    # The standard error of a covariance is at most sqrt(2 / n) of the product of deviations.
    error = np.abs(np.cov(draws.T) - covariance) / np.outer(deviations, deviations)
    assert error.max() < 5 * np.sqrt(2 / len(draws))
    means = vae.sample(40_000, mean=True)
    assert (means.var(0) < draws.var(0)).all()


def test_terms_are_in_raw_units():
    """Other units of the data change a density by the Jacobian, whatever was standardised."""
    factor = np.array([2.0**-10, 1.0, 64.0, 2.0, 2.0**14])  # powers of two round nothing
    one, other = (om.VAE(**SETTINGS).fit(data) for data in (X, X * factor))
    difference = one.score_samples(X) - other.score_samples(X * factor)
    np.testing.assert_allclose(difference, np.log(factor).sum(), rtol=1e-6)


def test_the_importance_weighted_bound_is_above_the_elbo(vae):
    assert vae.log_likelihood(X, samples=500).mean() > vae.score_samples(X, samples=500).mean()


def test_one_draw_makes_both_bounds_the_same(vae):
    np.testing.assert_allclose(vae.log_likelihood(X, samples=1), vae.score_samples(X, samples=1), rtol=1e-5)


def test_the_error_of_an_autoencoder_is_that_of_its_reconstruction():
    ae = om.AutoEncoder(**SETTINGS).fit(X)
    np.testing.assert_allclose(ae.score_samples(X), -((X - ae.reconstruct(X)) ** 2).sum(1))
    terms = ae.terms(X)
    np.testing.assert_allclose(terms["squared_error"], -ae.score_samples(X))


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "many"])
def test_counts_are_checked(vae, value):
    for call in (lambda: vae.sample(value), lambda: vae.log_likelihood(X, samples=value)):
        with pytest.raises(om.errors.ParameterError, match="expected a whole number of at least 1; got"):
            call()

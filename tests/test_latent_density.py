"""Densities of codes: fitted after training, or learned with the model."""

import warnings

import jax
import numpy as np
import pytest
from scipy import stats
from sklearn.mixture import GaussianMixture

import omokage as om
from omokage.batch import Event
from omokage.build import Recipe, latent_density
from omokage.errors import ParameterError
from omokage.latent_density import fitted

SMALL = {"latent_dim": 2, "hidden": (8,), "epochs": 2, "verbose": 0, "batch_size": 50}
X = np.random.default_rng(0).normal(size=(200, 4)) @ np.random.default_rng(1).normal(size=(4, 4))


def codes(n=400):
    random = np.random.default_rng(2)
    sides = random.integers(0, 2, n)[:, None] * 6 - 3
    return (random.normal(size=(n, 3)) @ random.normal(size=(3, 3)) * 0.5 + sides).astype(np.float32)


def density_of(chosen, z):
    parts = om.likelihoods.Gaussian(), om.posteriors.DiagonalNormal(), om.priors.StandardNormal(), om.objectives.ELBO()
    recipe = Recipe(*parts, standardize=False, network=om.nets.Dense())
    start = latent_density(chosen, z.shape[1], Event.plain(4), recipe, 0, np.random.default_rng(0))
    return fitted(start, z, None, 0).given({})


def test_a_fitted_normal_is_scipys():
    z = codes()
    density = density_of("full_normal", z)
    expected = stats.multivariate_normal(z.mean(0), np.cov(z.T, ddof=0)).logpdf(z)
    np.testing.assert_allclose(density.log_prob(z), expected, atol=2e-3)


def test_a_fitted_mixture_is_scikit_learns_and_beats_the_normal_on_two_heaps():
    z = codes()
    mixture = density_of(om.priors.Mixture(2), z)
    reference = GaussianMixture(2, random_state=0).fit(z)
    np.testing.assert_allclose(mixture.log_prob(z), reference.score_samples(z), atol=2e-2)
    assert mixture.log_prob(z).mean() > density_of("full_normal", z).log_prob(z).mean() + 0.3


def test_a_fitted_flow_is_as_good_as_a_fitted_mixture_on_two_heaps():
    z = codes(2000)
    mixture, flow = (density_of(prior, z).log_prob(z).mean() for prior in (om.priors.Mixture(2), om.priors.Flow(6, 32)))
    assert flow > density_of("full_normal", z).log_prob(z).mean() + 0.3
    assert flow > mixture - 0.2


def test_what_is_fitted_by_gradient_is_the_greatest_likelihood():
    z = codes(1000)
    gumbel = density_of(om.priors.NumPyro("Gumbel"), z)
    best = np.column_stack([stats.gumbel_r.logpdf(column, *stats.gumbel_r.fit(column)) for column in z.T]).sum(1)
    assert gumbel.log_prob(z).mean() == pytest.approx(best.mean(), abs=0.02)


@pytest.mark.parametrize("family", [om.priors.FullNormal(), om.priors.Mixture(3)])
def test_draws_have_the_moments_of_the_codes(family):
    z = codes(2000)
    drawn = np.asarray(density_of(family, z).sample(jax.random.key(0), (20_000,)))
    error = z.std(0) / np.sqrt(20_000)  # standard error of a mean
    assert (np.abs(drawn.mean(0) - z.mean(0)) < 6 * error + 0.02).all()
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(z.T), rtol=0.1, atol=0.1)


@pytest.mark.parametrize(
    "density",
    [
        "full_normal",
        "mixture",
        om.priors.Mixture(2),
        om.priors.Vamp(5, widened=True),
        pytest.param("flow", marks=pytest.mark.slow),
    ],
)
def test_a_plain_autoencoder_draws_from_the_density_of_its_codes(tmp_path, density):
    ae = om.AutoEncoder(**{**SMALL, "hidden": (), "epochs": 100, "learning_rate": 1e-2}).fit(X)
    assert ae.sample(5).shape == (5, 4)
    ae.fit_density(X, density)
    drawn, Z = ae.transform(ae.sample(2000)), ae.transform(X)
    assert (np.abs(drawn.mean(0) - Z.mean(0)) < 0.5 * Z.std(0)).all()
    ae.save(tmp_path / "m")
    again = om.load(tmp_path / "m")
    np.testing.assert_array_equal(again.sample(7, seed=3), ae.sample(7, seed=3))
    again.set_params(warm_start=True).fit(X)  # goes on, and fits the codes anew
    assert again.recipe_.prior == om.priors.FullNormal()


def test_codes_of_few_different_rows_are_fitted_without_a_warning():
    rows = np.tile(X[:4], (50, 1))
    ae = om.AutoEncoder(**SMALL).fit(rows)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ae.fit_density(rows, "mixture")
    assert np.isfinite(ae.sample(50)).all()


def test_a_density_fitted_to_the_codes_of_a_vae_raises_its_bound():
    heaps = codes()
    vae = om.VAE(**{**SMALL, "epochs": 60, "learning_rate": 1e-2}).fit(heaps)
    before = vae.score(heaps)
    vae.fit_density(heaps, om.priors.Mixture(2))
    assert vae.score(heaps) > before + 0.2
    parts = vae.terms(heaps)
    np.testing.assert_allclose(parts["elbo"], parts["reconstruction"] - parts["kl"], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("prior", ["full_normal", om.priors.Mixture(2)])
def test_a_prior_can_be_learned_with_the_model(tmp_path, prior):
    vae = om.VAE(**SMALL, prior=prior).fit(X)
    start = om.priors.FullNormal().parameters(Event.plain(2))["mean"].start
    learned = vae.model_.prior.learned
    moved = learned["mean"] - start if "mean" in learned else learned["logits"]
    assert np.abs(moved).max() > 0
    vae.save(tmp_path / "m")
    np.testing.assert_array_equal(om.load(tmp_path / "m").score_samples(X), vae.score_samples(X))


@pytest.mark.parametrize(
    ("density", "said"),
    [
        ("mixtur", "density: expected one of .*, or a prior; got 'mixtur'. Did you mean 'mixture'?"),
        (om.priors.Vamp(5), "mean of points is no density. Take priors.Vamp"),
        (om.priors.Conditional(om.priors.DiagonalNormal()), "depends on a context, and codes are fitted without"),
        (om.posteriors.PointMass(), "a point mass has no density"),
        (om.priors.Mixture, r"Did you mean Mixture\(\)"),
        (om.priors.Mixture(150), "at least 300 codes to fit to; got 200"),
    ],
)
def test_densities_that_cannot_be_fitted_are_refused(density, said):
    ae = om.AutoEncoder(**SMALL).fit(X)
    with pytest.raises(ParameterError, match=said):
        ae.fit_density(X, density)
    assert ae.sample(2).shape == (2, 4)  # the one before is still there


@pytest.mark.parametrize("components", [0, 1.5, True, "2"])
def test_components_are_checked(components):
    with pytest.raises(ParameterError, match=r"Mixture\(components="):
        om.priors.Mixture(components)


def test_what_cannot_go_with_the_model_is_refused_as_at_fit():
    random = np.random.default_rng(0)
    vae = om.VAE(**SMALL).fit(X)
    with pytest.raises(ParameterError, match="from 0 to 1 only"):
        vae.fit_density(X, om.priors.NumPyro("Uniform", {"low": 0, "high": 1}))
    conditional = om.VAE(**SMALL).fit(X, context=random.integers(0, 2, len(X)))
    with pytest.raises(ParameterError, match="without context"):
        conditional.fit_density(X, "vamp", context=0)
    counts = om.VAE(**SMALL, likelihood="poisson").fit(random.poisson(30, (60, 3)))
    counts.fit_density(random.poisson(30, (60, 3)), om.priors.Vamp(4))
    start = counts.model_.prior.encoded["components"]
    assert np.abs(start).max() < 10  # where networks see counts, not where counts are

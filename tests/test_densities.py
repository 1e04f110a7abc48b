"""Every density and divergence against SciPy, NumPyro or Monte Carlo; finite gradients at the extremes."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
import scipy.stats
from scipy.integrate import quad

import omokage as om
from omokage.batch import Event
from omokage.density import Density, Fixed, Learned, Output
from omokage.likelihoods.bernoulli import ContinuousBernoulliLogits
from omokage.model import divergence, divergences
from omokage.nets.layers import INITIALIZERS
from omokage.nets.mlp import MLP

LOGITS = np.array(
    [-80.0, -20.0, -3.0, -0.5, -1e-2, -1e-3, -1e-6, 0.0, 1e-6, 9e-3, 1.1e-2, 0.09, 0.11, 0.5, 3.0, 20.0, 80.0]
)
GRAYS = np.array([0.0, 1e-4, 0.3, 0.5, 0.9, 1.0])


def exact_continuous_bernoulli(x: float, logit: float) -> float:
    """Return its log-density in float64, from the exponential tilted on [0, 1]."""
    if logit == 0:
        return 0.0
    size, mirrored = abs(logit), 1 - x if logit > 0 else x
    return np.log(size) - np.log(-np.expm1(-size)) - size * mirrored


@pytest.mark.parametrize("logit", LOGITS)
def test_continuous_bernoulli_density(logit):
    ours = ContinuousBernoulliLogits(jnp.float32(logit)).log_prob(jnp.asarray(GRAYS, "float32"))
    np.testing.assert_allclose(ours, [exact_continuous_bernoulli(x, logit) for x in GRAYS], rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("logit", [-20.0, -3.0, -0.31, -0.29, 0.0, 0.09, 0.11, 0.5, 3.0, 20.0])
def test_continuous_bernoulli_is_a_density_with_these_moments(logit):
    def moment(power: int) -> float:
        return quad(lambda x: x**power * np.exp(exact_continuous_bernoulli(x, logit)), 0, 1, points=[0.01, 0.99])[0]

    ours = ContinuousBernoulliLogits(jnp.float32(logit))
    assert moment(0) == pytest.approx(1, abs=1e-7)
    assert float(ours.mean) == pytest.approx(moment(1), rel=1e-5, abs=1e-6)
    assert float(ours.variance) == pytest.approx(moment(2) - moment(1) ** 2, rel=2e-3, abs=1e-6)


@pytest.mark.parametrize("logit", [-30.0, -2.0, -5e-4, 0.0, 2.0, 30.0])
def test_continuous_bernoulli_draws_follow_its_distribution_function(logit):
    draws = np.float64(ContinuousBernoulliLogits(jnp.float32(logit)).sample(jax.random.key(0), (20_000,)))
    below = (
        draws
        if logit == 0
        else np.expm1(logit * draws) / np.expm1(logit)
        if logit < 0
        else (np.exp(logit * (draws - 1)) - np.exp(-logit)) / -np.expm1(-logit)
    )
    # Kolmogorov-Smirnov against uniform: a true one stays below 0.0138 with probability 0.999.
    assert scipy.stats.kstest(below, "uniform").statistic < 0.0138


def test_bernoulli_is_the_cross_entropy():
    logits = np.linspace(-6, 6, 9)
    for x in (0.0, 0.25, 1.0):
        ours = om.likelihoods.Bernoulli().distribution(logits=jnp.asarray(logits, "float32")).log_prob(jnp.float32(x))
        p = 1 / (1 + np.exp(-logits))
        np.testing.assert_allclose(ours, x * np.log(p) + (1 - x) * np.log1p(-p), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scale", [0.5, "unit", "shared", "feature", "full"])
def test_gaussian_against_scipy(scale):
    event = Event((3,), np.array([1.0, 2.0, 4.0]), np.ones(3), np.zeros(3))
    family = om.likelihoods.Gaussian(scale=scale, floor=0.01)
    random = np.random.default_rng(0)
    density = Density(
        family, event, MLP(2, (), random=random), initializer=INITIALIZERS["lecun_uniform"], random=random
    )
    z, x = random.normal(size=(4, 2)).astype(np.float32), random.normal(size=(4, 3)).astype(np.float32)
    mean = z @ density.heads["mean"].weight.T + density.heads["mean"].bias
    sigma = {
        0.5: 0.5 / event.unit,  # a number is in raw units
        "unit": np.ones(3),
        "shared": np.full(3, 1.01),
        "feature": np.full(3, 1.01),
    }.get(scale)
    if scale == "full":
        head = density.heads["log_scale"]
        sigma = 0.01 + np.exp(z @ head.weight.T + head.bias)
    else:
        shapes = {"shared": (), "feature": (3,)}
        assert {name: np.shape(value) for name, value in density.learned.items()} == (
            {"log_scale": shapes[scale]} if scale in shapes else {}
        )
    np.testing.assert_allclose(density(z).log_prob(x), scipy.stats.norm(mean, sigma).logpdf(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("raw", [-200.0, -80.0, 0.0, 80.0, 200.0])
def test_gaussian_is_finite_with_finite_gradients_whatever_the_decoder_says(raw):
    family = om.likelihoods.Gaussian(scale="full", floor=1e-6)

    def density(mean, log_scale, x):
        return family.distribution(mean=mean, log_scale=log_scale).log_prob(x)

    for x in (0.0, 1.0):
        value, gradient = jax.value_and_grad(density, (0, 1))(jnp.float32(0), jnp.float32(raw), jnp.float32(x))
        assert np.isfinite([value, *gradient]).all()


@pytest.mark.parametrize("logit", [-80.0, -1e-3, 0.0, 1e-3, 80.0])
@pytest.mark.parametrize("family", [om.likelihoods.Bernoulli(), om.likelihoods.ContinuousBernoulli()])
def test_likelihoods_on_the_unit_interval_are_finite_with_finite_gradients(family, logit):
    for x in (0.0, 0.5, 1.0):

        def density(logit, x=x):
            return family.distribution(logits=logit).log_prob(jnp.float32(x))

        value, gradient = jax.value_and_grad(density)(jnp.float32(logit))
        assert np.isfinite([value, gradient]).all()
        # d/dlogit log p(x) = x - mean, for an exponential family in its natural parameter
        mean = float(family.distribution(logits=jnp.float32(logit)).mean)
        assert float(gradient) == pytest.approx(x - mean, abs=2e-4)


def test_diagonal_normal_divergence_against_the_formula_and_monte_carlo():
    random = np.random.default_rng(0)
    mean, log_variance = random.normal(size=(2, 5, 3)).astype(np.float32)
    q = om.posteriors.DiagonalNormal().distribution(mean=mean, log_variance=log_variance)
    p = om.priors.StandardNormal().distribution(mean=jnp.zeros(3), scale=jnp.ones(3))
    formula = 0.5 * (mean**2 + np.exp(log_variance) - 1 - log_variance)
    np.testing.assert_allclose(divergences(q, p), formula, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(divergence(q, p), formula.sum(1), rtol=1e-4, atol=1e-6)
    z = q.sample(jax.random.key(1), (20_000,))
    ratios = np.float64(q.log_prob(z) - p.log_prob(z))
    standard_error = ratios.std(0) / np.sqrt(len(ratios))
    assert (np.abs(ratios.mean(0) - formula.sum(1)) < 5 * standard_error).all()


def test_posterior_divergence_has_finite_gradients_at_the_extremes():
    p = om.priors.StandardNormal().distribution(mean=jnp.zeros(1), scale=jnp.ones(1))

    def kl(mean, log_variance):
        q = om.posteriors.DiagonalNormal().distribution(mean=mean[None, None], log_variance=log_variance[None, None])
        return divergence(q, p)[0]

    for raw in (-80.0, -27.6, 0.0, 80.0):  # -27.6: a deviation of 1e-6
        assert np.isfinite(jax.grad(kl, (0, 1))(jnp.float32(3.0), jnp.float32(raw))).all()


def test_a_divergence_without_a_closed_form_is_none():
    q = om.posteriors.DiagonalNormal().distribution(mean=jnp.zeros((2, 3)), log_variance=jnp.zeros((2, 3)))
    assert divergence(q, dist.StudentT(3.0, jnp.zeros(3)).to_event(1)) is None
    assert divergences(q, dist.MultivariateNormal(jnp.zeros(3), jnp.eye(3))) is None


def test_a_point_mass_is_its_mean():
    q = om.posteriors.PointMass().distribution(mean=jnp.arange(6.0).reshape(2, 3))
    assert np.array_equal(q.mean, q.sample(jax.random.key(0)))


def test_a_density_gives_each_parameter_from_where_the_family_says():
    class Family:
        def parameters(self, event):
            return {"a": Output((2,), start=3.0), "b": Learned(np.ones(4)), "c": Fixed(5.0)}

        def distribution(self, a, b, c):
            return a, b, c

    random = np.random.default_rng(0)
    initializer = INITIALIZERS["orthogonal"]
    density = Density(Family(), Event.plain(2), MLP(3, (), random=random), initializer=initializer, random=random)
    a, b, c = density(np.zeros((7, 3), np.float32))
    assert a.shape == (7, 2)
    assert (a == 3).all()
    assert np.array_equal(b, np.ones(4))
    assert c == 5


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (
            {"scale": "sharde"},
            "expected a number above 0 or one of unit, shared, feature, full. Did you mean 'shared'?",
        ),
        ({"scale": 0.0}, "Gaussian(scale=0.0): expected a number from 1e-18 to 1e+18, in raw units."),
        ({"scale": True}, "Gaussian(scale=True): expected a number from"),
        ({"scale": 1e308}, "Gaussian(scale=1e+308): expected a number from 1e-18 to 1e+18, in raw units."),
        ({"floor": 1e308}, "Gaussian(floor=1e+308): expected a number from 1e-18 to 1e+18, in standardised units."),
        (
            {"scale": None},
            "Gaussian(scale=None): expected a number from 1e-18 to 1e+18, in raw units. Or take one of unit",
        ),
        ({"scale": [1.0, 2.0]}, "Gaussian(scale=[1.0, 2.0]): expected a number from 1e-18 to 1e+18, in raw units"),
        ({"floor": "x"}, "Gaussian(floor='x'): expected a number from 1e-18 to 1e+18, in standardised units."),
        ({"floor": 0.0}, "Gaussian(floor=0.0): expected a number from 1e-18 to 1e+18, in standardised units."),
    ],
)
def test_gaussian_says_what_is_wrong(wrong, text):
    with pytest.raises(om.errors.ParameterError) as caught:
        om.likelihoods.Gaussian(**wrong)
    assert text in str(caught.value)

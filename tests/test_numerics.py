"""Densities, KLs, gradients and moments where float32 or NumPyro would give other numbers; the reference is float64."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import polars
import pytest
import scipy.special
import scipy.stats
from numpyro.distributions.kl import kl_divergence

import omokage as om
from omokage import adapter
from omokage import distributions as own
from omokage.batch import Batch, Event
from omokage.errors import DataError, ParameterError
from omokage.kl import exact
from omokage.likelihoods import NumPyro
from omokage.likelihoods.bernoulli import ContinuousBernoulliLogits
from omokage.likelihoods.moments import STARTS
from omokage.model import kl_form
from omokage.special import remainder, slope
from omokage.supports import COUNTS, OPEN_UNIT, POSITIVE, REAL, UNIT, Support

SIZES = [0.1, 1.0, 30.0, 1e3, 1e5, 1e6, 1e7, 1e8]
SETTINGS = {"latent_dim": 2, "hidden": (4,), "epochs": 1, "verbose": 0}


def log_gamma_difference(a, step):
    """Return log Γ(a + step) - log Γ(a) in float64: for large a by Stirling's series, which subtracts nothing large."""
    if a < 1e4:
        return scipy.special.gammaln(a + step) - scipy.special.gammaln(a)
    tail = 1 / (12 * (a + step)) - 1 / (12 * a)
    return (a - 0.5) * np.log1p(step / a) + step * np.log(a + step) - step + tail


# Densities ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("degrees", [0.1, 0.5, 1.0, 2.5, 5.0, 100.0, 1e4, 1e6, 1e7, 1e9, 1e12])
def test_student_t_is_right_for_every_number_of_degrees(degrees):
    y = np.float32([0.0, 1e-3, 0.5, -1.0, 3.0, 20.0])
    ours = np.asarray(own.StudentT(jnp.float32(degrees), 0.0, 1.0).log_prob(y), np.float64)
    a, squares = np.float64(np.float32(degrees)) / 2, np.square(np.float64(y))
    right = log_gamma_difference(a, 0.5) - 0.5 * np.log(2 * np.pi * a) - (a + 0.5) * np.log1p(squares / (2 * a))
    np.testing.assert_allclose(ours, right, rtol=3e-6, atol=3e-6)
    if degrees >= 1e7:
        np.testing.assert_allclose(ours, scipy.stats.norm.logpdf(np.float64(y)), rtol=2e-5, atol=1e-5)


def test_a_student_t_of_a_million_degrees_scores_as_a_gaussian():
    x = np.random.default_rng(0).normal(size=(1000, 5)).astype(np.float32)
    given = {"mean": jnp.zeros(5), "scale": jnp.ones(5)}
    heavy = om.likelihoods.StudentT("unit", degrees=1e6).distribution(**given).log_prob(x)
    plain = om.likelihoods.Gaussian("unit").distribution(**given).log_prob(x)
    np.testing.assert_allclose(heavy, plain, atol=1e-4)


@pytest.mark.parametrize("size", SIZES)
def test_gamma_beta_and_dirichlet_densities_with_large_concentrations(size):
    # In float64 SciPy's differences of log Γ are right to 1e-8 here; x is what is rounded, by 6e-8 of its deviation.
    a, b = np.float64(np.float32(size)), np.float64(np.float32(0.7 * size))
    away = np.array([-2.0, 0.0, 1.0, 3.0])
    tolerance = 2e-6 + 4e-7 * np.sqrt(size)
    x = np.float32(np.maximum(a + away * np.sqrt(a), 0.05) / 3)
    ours = own.Gamma(jnp.float32(a), 3.0).log_prob(x)
    np.testing.assert_allclose(ours, scipy.stats.gamma.logpdf(np.float64(x), a, scale=1 / 3), atol=20 * tolerance)
    inverse = own.InverseGamma(jnp.float32(a), 3.0).log_prob(1 / x)
    right = scipy.stats.invgamma.logpdf(np.float64(np.float32(1 / x)), a, scale=3)
    np.testing.assert_allclose(inverse, right, rtol=1e-5, atol=20 * tolerance)
    middle, width = a / (a + b), np.sqrt(a * b / (a + b) ** 2 / (a + b + 1))
    x = np.float32(np.clip(middle + away * width, 0.01, 0.99))
    right = scipy.stats.beta.logpdf(np.float64(x), a, b)
    np.testing.assert_allclose(own.Beta(jnp.float32(a), jnp.float32(b)).log_prob(x), right, atol=20 * tolerance)
    pair = own.Dirichlet(jnp.float32([a, b])).log_prob(jnp.stack([x, 1 - x], -1))
    np.testing.assert_allclose(pair, right, atol=40 * tolerance)


def negative_binomial(x, mean, r):
    """Return log p in float64 as the sum of log (r + j) / (j + 1), for moderate counts."""
    j = np.arange(x)
    choose = (np.log(r + j) - np.log(j + 1)).sum()
    return choose - r * np.log1p(mean / r) + x * (np.log(mean) - np.log(r + mean))


@pytest.mark.parametrize("r", [1e-2, 1.0, 1e3, 1e6, 1e8, 1e10])
@pytest.mark.parametrize("mean", [1e-2, 7.0, 3e3])
def test_negative_binomials_are_right_up_to_their_poisson_limit(mean, r):
    x = np.unique(np.r_[0, 1, 2, np.round(mean), np.round(mean + 3 * np.sqrt(mean + mean**2 / r)).clip(0, 20_000)])
    mean, r = np.float64(np.float32(mean)), np.float64(np.float32(r))
    right = [negative_binomial(value, mean, r) for value in x]
    made = own.NegativeBinomial2(jnp.float32(mean), jnp.float32(r))
    np.testing.assert_allclose(made.log_prob(np.float32(x)), right, rtol=3e-6, atol=2e-5)
    logits = own.NegativeBinomialLogits(jnp.float32(r), jnp.float32(np.log(mean / r)))
    np.testing.assert_allclose(logits.log_prob(np.float32(x)), right, rtol=2e-4, atol=2e-4)  # the logit is rounded
    if r >= 1e10:
        np.testing.assert_allclose(right, scipy.stats.poisson.logpmf(x, mean), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("rate", [1e-3, 5.0, 1e3, 1e5, 1e7, 2.0**24 - 1])
def test_poisson_and_binomial_masses_at_large_counts(rate):
    x = np.float64(np.float32(np.unique(np.round(rate + np.array([-3, 0, 1, 3]) * np.sqrt(rate)).clip(0, 2**24))))
    # Float64 loses 1e-8 of a nat in log Γ of 1e7.
    right = scipy.stats.poisson.logpmf(x, np.float64(np.float32(rate)))
    ours = np.asarray(own.Poisson(jnp.float32(rate)).log_prob(np.float32(x)))
    np.testing.assert_allclose(ours, right, rtol=2e-6, atol=2e-6)
    assert (ours <= 0).all()
    total = int(max(rate, 1))
    for p in (0.03, 0.5, 0.9):
        k = np.round(total * p + np.array([-2, 0, 2]) * np.sqrt(total * p * (1 - p))).clip(0, total)
        right = scipy.stats.binom.logpmf(k, total, np.float64(np.float32(p)))
        ours = own.BinomialProbs(jnp.float32(p), jnp.int32(total)).log_prob(np.float32(k))
        np.testing.assert_allclose(ours, right, atol=1e-5 + 2e-7 * np.sqrt(total) * 4)


@pytest.mark.parametrize("total", [1, 20, 3000])
@pytest.mark.parametrize("strength", [0.05, 3.0, 1e4, 1e8])
def test_beta_binomials_are_right_up_to_their_binomial_limit(total, strength):
    a, b = np.float64(np.float32(strength)), np.float64(np.float32(2 * strength))
    x = np.unique([0, total // 3, total])

    def rising(start, steps):  # log Γ(start + steps) / Γ(start)
        return np.log(start + np.arange(steps)).sum()

    right = [
        np.log(scipy.special.binom(total, k)) if total < 100 else rising(total - k + 1, k) - rising(1, k) for k in x
    ]
    right = np.array(right) + [rising(a, k) + rising(b, total - k) - rising(a + b, total) for k in x]
    ours = own.BetaBinomial(jnp.float32(a), jnp.float32(b), jnp.int32(total)).log_prob(np.float32(x))
    np.testing.assert_allclose(ours, right, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize(
    ("made", "numbers"),
    [
        (own.NegativeBinomial2(jnp.float32(50.0), jnp.float32(1e8)), np.arange(400)),
        (own.Poisson(jnp.float32(1e7)), np.arange(10**7 - 30_000, 10**7 + 30_000)),
        (own.BinomialLogits(jnp.float32(0.3), jnp.int32(10_000)), np.arange(10_001)),
        (own.BetaBinomial(jnp.float32(1e7), jnp.float32(2e7), jnp.int32(500)), np.arange(501)),
        (own.BetaNegativeBinomial(jnp.float32(5.0), jnp.float32(8.0), jnp.float32(3.0)), np.arange(50_000)),
        (own.ZeroInflatedPoisson(jnp.float32(0.2), jnp.float32(900.0)), np.arange(2000)),
        (own.HurdlePoisson(jnp.float32(0.2), jnp.float32(900.0)), np.arange(2000)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_probabilities_add_up_to_one_and_none_is_above_it(made, numbers):
    logs = np.asarray(made.log_prob(np.float32(numbers)), np.float64)
    assert (logs <= 0).all()
    assert np.exp(logs).sum() == pytest.approx(1, abs=2e-4)


def test_no_class_has_a_probability_above_one():
    logits = np.random.default_rng(0).normal(size=(2000, 5)).astype(np.float32) * 30
    logs = om.likelihoods.Categorical(5).distribution(jnp.asarray(logits)).log_prob(logits.argmax(-1))
    assert (np.asarray(logs) <= 0).all()


def test_gradients_at_large_concentrations_are_those_of_the_formula():
    for a in (0.3, 5.0, 1e4, 1e8):
        by_shape, by_rate = jax.grad(lambda a, rate: own.Gamma(a, rate).log_prob(a * 1.001 / 2), (0, 1))(a, 2.0)
        # With x = 1.001 a / rate held still: log rate + log x - ψ(a), and a / rate - x.
        held = jax.grad(lambda c, a=a: own.Gamma(c, 2.0).log_prob(jnp.float32(a * 1.001 / 2)))(jnp.float32(a))
        a64 = np.float64(np.float32(a))
        x = np.float64(np.float32(a * 1.001 / 2))
        assert float(held) == pytest.approx(np.log(2 * x) - scipy.special.digamma(a64), rel=1e-3, abs=1e-6)
        assert np.isfinite([by_shape, by_rate]).all()
    for r in (0.1, 10.0, 1e8):
        slope_of_mean = jax.grad(lambda mean, r=r: own.NegativeBinomial2(mean, r).log_prob(12.0))(jnp.float32(8.0))
        assert float(slope_of_mean) == pytest.approx((12 - 8) * r / (8 * (r + 8)), rel=1e-4)
    np.testing.assert_allclose(jax.vmap(jax.grad(remainder))(jnp.float32(SIZES)), slope(jnp.float32(SIZES)), rtol=1e-3)


@pytest.mark.parametrize(
    ("name", "arguments", "value"),
    [
        ("Kumaraswamy", {"concentration1": 1e-3, "concentration0": 2.0}, 0.5),
        ("VonMises", {"loc": 0.0, "concentration": 1e6}, 1e-3),
        ("Weibull", {"concentration": 500.0, "scale": 80.0}, 80.1),
    ],
)
def test_other_densities_that_cancel(name, arguments, value):
    x = np.float64(np.float32(value))
    values = {key: np.float64(np.float32(entry)) for key, entry in arguments.items()}
    if name == "Kumaraswamy":
        a, b = values.values()
        right = np.log(a * b) + (a - 1) * np.log(x) + (b - 1) * np.log(-np.expm1(a * np.log(x)))
    elif name == "VonMises":
        right = scipy.stats.vonmises.logpdf(x, values["concentration"])
    else:
        right = scipy.stats.weibull_min.logpdf(x, values["concentration"], scale=values["scale"])
    made = getattr(own, name)(**{key: jnp.float32(entry) for key, entry in arguments.items()})
    assert float(made.log_prob(jnp.float32(value))) == pytest.approx(right, rel=2e-5, abs=1e-4)


@pytest.mark.parametrize("name", sorted(own.OWN))
def test_own_distributions_are_numpyros_for_ordinary_parameters(name):
    random = np.random.default_rng(0)
    member = own.OWN[name]
    if name == "MultivariateStudentT":
        root = jnp.array([[1.0, 0.0], [0.5, 2.0]])
        arguments = {"df": 4.0, "loc": jnp.zeros(2), "scale_tril": root}
    elif name == "Dirichlet":
        arguments = {"concentration": jnp.array([0.7, 2.0, 3.0])}
    else:
        values = {"total_count": 7, "probs": 0.3, "gate": 0.3, "loc": 0.4, "logits": 0.4}
        values |= {"mean": 0.3} if name == "BetaProportion" else {}
        arguments = {key: values.get(key, 1.7) for key in member.arg_constraints}
    theirs, ours = getattr(dist, name)(**arguments), member(**arguments)
    x = theirs.sample(jax.random.key(int(random.integers(99))), (50,))
    np.testing.assert_allclose(ours.log_prob(x), theirs.log_prob(x), rtol=2e-4, atol=2e-5)
    assert jax.tree.structure(ours) == jax.tree.structure(jax.tree.map(lambda leaf: leaf, ours))


# Gradients at a logit of 0 --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("likelihood", "value", "right"),
    [
        (om.likelihoods.Bernoulli(), 0.0, -0.5),
        (om.likelihoods.Bernoulli(), 1.0, 0.5),
        (om.likelihoods.ContinuousBernoulli(), 0.2, -0.3),
        (NumPyro("Bernoulli"), 0.0, -0.5),
        (NumPyro("Binomial", {"total_count": 5}), 2.0, -0.5),
        (NumPyro("Geometric"), 2.0, 1 - 3 / 2),
    ],
    ids=repr,
)
def test_the_gradient_at_a_logit_of_exactly_0(likelihood, value, right):
    given = {
        name: jnp.asarray(p.value) for name, p in likelihood.parameters(Event.plain(1)).items() if hasattr(p, "value")
    }

    def density(logit):
        return likelihood.distribution(logits=jnp.full(1, logit), **given).log_prob(jnp.full(1, value))[0]

    assert float(jax.grad(density)(jnp.float32(0))) == pytest.approx(right, abs=1e-5)


def test_a_class_has_the_gradient_of_the_softmax_at_logits_of_0():
    family = om.likelihoods.Categorical(4)
    gradient = jax.grad(lambda logits: family.distribution(logits).log_prob(jnp.float32(2)))(jnp.zeros(4))
    np.testing.assert_allclose(gradient, [-0.25, -0.25, 0.75, -0.25], atol=1e-6)


@pytest.mark.parametrize("of", [lambda made: made.mean, lambda made: made.sample(jax.random.key(0))])
def test_the_continuous_bernoulli_moves_with_its_logit_also_at_0(of):
    slopes = [
        float(jax.grad(lambda logit: of(ContinuousBernoulliLogits(logit)))(jnp.float32(x))) for x in (-1e-2, 0, 1e-2)
    ]
    np.testing.assert_allclose(slopes, slopes[0], rtol=0.02)
    assert slopes[1] > 0


# KL -------------------------------------------------------------------------------------------------------------------

POINTS = {
    "Normal": [(0.0, 1.0), (0.5, 0.1), (-3.0, 20.0), (0.0, 0.999)],
    "Laplace": [(0.0, 1.0), (0.5, 0.1), (-3.0, 20.0), (1e-3, 1.01)],
    "Gamma": [(1.0, 1.0), (0.3, 2.0), (50.0, 0.7), (2000.0, 3.0), (3.1, 0.01)],
    "Chi2": [(1.5,), (40.0,)],
    "Beta": [(1.0, 1.0), (1.0, 10.0), (2.0, 3.0), (0.4, 0.6), (300.0, 200.0), (5000.0, 40.0)],
    "Kumaraswamy": [(1.0, 1.0), (2.0, 3.0)],
    "Weibull": [(1.0, 1.0), (2.0, 0.8), (0.3, 5.0), (1.0, 20.0)],
    "Exponential": [(2.0,)],
    "LogNormal": [(0.0, 1.0)],
    "InverseGamma": [(3.0, 1.0)],
    "HalfNormal": [(1.0,)],
    "Cauchy": [(0.0, 1.0)],
    "StudentT": [(5.0, 0.0, 1.0)],
    "Gumbel": [(0.0, 1.0)],
    "Logistic": [(0.0, 1.0)],
}


class Laplace(NamedTuple):
    """As of SciPy, whose log-density is the logarithm of a density that underflows."""

    loc: float
    scale: float

    def ppf(self, share):
        return scipy.stats.laplace(*self).ppf(share)

    def isf(self, share):
        return scipy.stats.laplace(*self).isf(share)

    def logpdf(self, x):
        return -np.abs(x - self.loc) / self.scale - np.log(2 * self.scale)


SCIPY = {
    "Normal": lambda loc, scale: scipy.stats.norm(loc, scale),
    "Laplace": lambda loc, scale: Laplace(loc, scale),
    "Gamma": lambda a, rate: scipy.stats.gamma(a, scale=1 / rate),
    "Chi2": lambda df: scipy.stats.chi2(df),
    "Beta": lambda a, b: scipy.stats.beta(a, b),
    "Weibull": lambda scale, k: scipy.stats.weibull_min(k, scale=scale),
}
EXACT = {("Normal", "Normal"), ("Laplace", "Laplace"), ("Beta", "Beta"), ("Weibull", "Gamma"), ("Weibull", "Chi2")}
EXACT |= {(q, p) for q in ("Gamma", "Chi2") for p in ("Gamma", "Chi2")}


def integrated(q, p):
    """Return KL(q‖p) in float64, by quantiles of q at the points of a fine grid of logits."""
    grid = np.linspace(-36, 36, 40_001)
    share = scipy.special.expit(grid)
    x = np.where(grid < 0, q.ppf(share), q.isf(scipy.special.expit(-grid)))
    with np.errstate(invalid="ignore"):
        gap = q.logpdf(x) - p.logpdf(x)
    return np.sum((share * (1 - share) * gap)[np.isfinite(gap)]) * (grid[1] - grid[0])


@pytest.mark.parametrize("first", sorted(POINTS))
def test_a_kl_is_a_closed_form_only_where_it_is_exact(first):
    for second in POINTS:
        pairs = [(mine, other) for mine in POINTS[first] for other in POINTS[second]]
        both = zip((first, second), zip(*pairs, strict=True), strict=True)
        values = [(name, [jnp.float32(column) for column in np.transpose(rows)]) for name, rows in both]
        found = exact(*(getattr(dist, name)(*columns) for name, columns in values))
        assert (found is not None) == ((first, second) in EXACT), (first, second)
        if found is not None:
            right = [integrated(SCIPY[first](*mine), SCIPY[second](*other)) for mine, other in pairs]
            np.testing.assert_allclose(found, right, rtol=3e-5, atol=3e-5, err_msg=f"{first}, {second}: {pairs}")
            ours = exact(*(own.OWN.get(name, getattr(dist, name))(*columns) for name, columns in values))
            np.testing.assert_array_equal(ours, found)


def test_every_kl_that_numpyro_registers_is_known_to_be_exact_or_left_to_draws():
    known = {"ExpandedDistribution", "Independent", "MaskedDistribution", "Delta", "Distribution"}
    checked = {
        "Normal",
        "Gamma",
        "Beta",
        "Weibull",
        "Dirichlet",
        "MultivariateNormal",
        "CategoricalProbs",
        "CirculantNormal",
    }
    left = {("Kumaraswamy", "Beta")}
    for q, p in kl_divergence.funcs:
        pair = q.__name__, p.__name__
        assert pair in left or {*pair} <= known | checked, f"check {pair} against integration, and add it to omokage.kl"


def test_a_kl_of_vectors_is_exact():
    random = np.random.default_rng(0)
    a, b = np.float32([0.4, 3.0, 50.0]), np.float32([2.0, 1.0, 70.0])
    A, B = np.float64(a), np.float64(b)
    right = scipy.special.gammaln(A.sum()) - scipy.special.gammaln(A).sum() - scipy.special.gammaln(B.sum())
    right += (
        scipy.special.gammaln(B).sum() + ((A - B) * (scipy.special.digamma(A) - scipy.special.digamma(A.sum()))).sum()
    )
    for member in (dist.Dirichlet, own.Dirichlet):
        assert float(exact(member(a), member(b))) == pytest.approx(right, rel=1e-5)
    # A circulant normal is a normal whose covariance is a circulant matrix.
    row = np.array([1.0, 0.3, 0.1, 0.3])
    covariance = np.array([np.roll(row, k) for k in range(4)])
    mean, deviation = random.normal(size=4), np.array([0.5, 1.0, 2.0, 0.1])
    q = dist.Normal(jnp.asarray(mean, jnp.float32), jnp.asarray(deviation, jnp.float32)).to_event(1)
    inverse = np.linalg.inv(covariance)
    right = np.trace(inverse @ np.diag(deviation**2)) + mean @ inverse @ mean - 4
    right = 0.5 * (right + np.linalg.slogdet(covariance)[1] - 2 * np.log(deviation).sum())
    p = dist.CirculantNormal(jnp.zeros(4), covariance_row=jnp.asarray(row, jnp.float32))
    full = dist.MultivariateNormal(jnp.zeros(4), jnp.asarray(covariance, jnp.float32))
    assert float(exact(q, p)) == pytest.approx(right, rel=1e-4)
    assert float(exact(q, full)) == pytest.approx(right, rel=1e-4)


def test_a_kl_of_laplace_distributions_is_right_near_and_far():
    """Where the means are a hundred widths apart e^(-near) is 0 in float32, and so would be what a logarithm is of."""
    apart = np.concatenate([np.logspace(-6, 6, 200), [0.0]])[:, None, None]
    own, other = np.logspace(-3, 3, 7)[:, None], np.logspace(-3, 3, 7)
    found = lambda loc, scale: exact(dist.Laplace(loc, scale), dist.Laplace(0.0, np.float32(other)))  # noqa: E731
    near = apart / own
    grown = np.where(near < 1e-2, near**2 / 2 - near**3 / 6 + near**4 / 24, near + np.expm1(-near))
    ratio = own / other
    expected = ratio * grown + (ratio - 1 - np.log(ratio))
    arguments = np.float32(np.broadcast_to(apart, expected.shape)), np.float32(np.broadcast_to(own, expected.shape))
    np.testing.assert_allclose(found(*arguments), expected, rtol=2e-6, atol=1e-30)
    gradients = jax.grad(lambda *given: found(*given).sum(), (0, 1))(*arguments)
    np.testing.assert_allclose(gradients[0], -np.expm1(-near) / other + 0 * expected, rtol=1e-5, atol=1e-30)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize(("a", "b"), [(1e6, 1.001e6), (1e8, 1.1e8), (1e-3, 5.0)])
def test_a_kl_of_large_concentrations_keeps_its_digits(a, b):
    A, B = np.float64(np.float32(a)), np.float64(np.float32(b))
    right = -log_gamma_difference(B, A - B) if a > 1e4 else scipy.special.gammaln(B) - scipy.special.gammaln(A)
    if a > 1e4:  # B log B etc. by the tangent: the integral of ψ from A to B less that of ψ(A)
        grid = np.linspace(A, B, 20_001)
        right = np.trapezoid(scipy.special.digamma(grid) - scipy.special.digamma(A), grid)
    else:
        right -= (B - A) * scipy.special.digamma(A)
    assert float(exact(dist.Gamma(a, 1.0), dist.Gamma(b, 1.0))) == pytest.approx(right, rel=1e-3)


def test_subclasses_and_points_have_no_closed_form_but_what_a_user_registers_has():
    class Other(dist.Gamma):
        pass

    assert exact(Other(2.0, 1.0), dist.Gamma(1.0, 1.0)) is None
    assert exact(dist.Delta(0.0), dist.Normal(0.0, 1.0)) is None
    wide = dist.Gamma(2.0, 1.0).expand([4, 3]).to_event(1)
    assert exact(wide, dist.Gamma(jnp.ones(3), 1.0).to_event(1)).shape == (4,)

    class Mine(dist.Normal):
        pass

    kl_divergence.add((Mine, Mine), lambda q, p: jnp.float32(7.0))
    assert float(exact(Mine(0.0, 1.0), Mine(0.0, 1.0))) == 7.0


def test_kumaraswamy_against_beta_is_by_draws_and_says_so():
    X = np.random.default_rng(0).normal(size=(20, 3))
    vae = om.VAE(**SETTINGS, posterior=dist.Kumaraswamy, prior=dist.Beta(1.0, 10.0)).fit(X)
    assert kl_form(vae.model_) == "draws"
    q = vae.model_.encode(Batch(vae.schema_.encode(X[:1])))
    base = q.base_dist
    a, b = (float(np.ravel(value)[0]) for value in (base.concentration1, base.concentration0))
    x = (np.arange(200_000) + 0.5) / 200_000
    density = a * b * x ** (a - 1) * (1 - x**a) ** (b - 1)
    right = np.mean(density * (np.log(density) - scipy.stats.beta.logpdf(x, 1, 10)))
    z = np.asarray(q.sample(jax.random.key(0), (20_000,))[..., 0], np.float64)
    gaps = np.log(a * b * z ** (a - 1) * (1 - z**a) ** (b - 1)) - scipy.stats.beta.logpdf(z, 1, 10)
    assert gaps.mean() == pytest.approx(right, abs=6 * gaps.std() / np.sqrt(len(gaps)) + 1e-3)


# What is given stays whole, and data at the ends of a support ---------------------------------------------------------


def test_whole_numbers_that_are_given_stay_whole(tmp_path):
    X = np.random.default_rng(0).binomial([5, 9, 5], 0.4, (30, 3)).astype(float)
    family = NumPyro("Binomial", given={"total_count": [5, 9.0, 5]})
    assert family.given == (("total_count", (5, 9, 5)),)
    assert NumPyro("Binomial", {"total_count": np.array([5, 9, 5])}) == family
    vae = om.VAE(**SETTINGS, likelihood=family).fit(X)
    assert vae.model_.likelihood.fixed["total_count"].value.dtype == np.int32
    again = om.load(vae.save(tmp_path / "m"))
    assert again.recipe_.likelihood == family
    np.testing.assert_array_equal(again.score_samples(X), vae.score_samples(X))
    drawn = vae.sample(40)
    assert (drawn == np.rint(drawn)).all() and (drawn <= [5, 9, 5]).all()
    with pytest.raises(
        DataError, match=r"BinomialLogits needs whole numbers from 0 to \(5, 9, 5\) by entry; columns '2'"
    ):
        om.VAE(**SETTINGS, likelihood=family).fit(np.where(np.arange(3) == 2, 7.0, X))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: NumPyro("Binomial", {"total_count": 5.5}), "total_count: expected a whole number of at most.*got 5.5"),
        (lambda: NumPyro("Binomial", {"total_count": 2**25}), "at most 2\\^24 = 16,777,216; got 33554432"),
        (lambda: NumPyro("Binomial", {"total_count": "five"}), "total_count: expected a number.*got 'five'"),
        (
            lambda: NumPyro("Binomial", {"total_count": -1}),
            "total_count: expected a whole number of at least 0; got -1",
        ),
        (
            lambda: NumPyro("Normal", {"scale": -1.0}),
            r"NumPyro\('Normal'\): scale: expected a number above 0; got -1\.",
        ),
        (lambda: NumPyro("Normal", {"scale": 0.0}), "scale: expected a number above 0; got 0"),
        (lambda: NumPyro("Normal", {"scale": [1.0, -2.0, 0.0]}), "scale: expected a number above 0; got -2"),
        (lambda: NumPyro("Normal", {"scale": 1e-60}), "scale: expected a number above 0; got 1e-60"),
        (lambda: NumPyro("Normal", {"loc": np.inf}), "loc: expected a number that float32 holds; got inf"),
        (lambda: NumPyro("NegativeBinomialProbs", {"probs": 2}), "probs: expected a number from 0 to 1; got 2"),
        (lambda: NumPyro("BetaProportion", {"mean": 1}), "mean: expected a number above 0 and below 1; got 1"),
        (lambda: NumPyro("Binomial"), "'total_count' cannot be learned.*given={'total_count': 1}"),
        (lambda: NumPyro("Pareto"), "its support depends on 'scale'.*given={'scale': 1.0}"),
        (lambda: NumPyro("LogUniform"), "its support depends on 'low', 'high'"),
        (lambda: NumPyro("Laplace", {"loc": 0.0, "scale": 1.0}), "nothing depends on z"),
        (lambda: om.likelihoods.Categorical(2**25), "expected at most 16,777,216"),
        (lambda: om.likelihoods.DiscretizedLogistic(levels=2**25), "expected at most 4,194,304"),
    ],
)
def test_what_cannot_be_whole_or_checked_is_refused(make, said):
    with pytest.raises(ParameterError, match=said):
        make()


@pytest.mark.parametrize(
    ("family", "rows", "said"),
    [
        (NumPyro("Binomial", {"total_count": [5, 6]}), (3,), r"total_count is given for \(2,\) entries, .* are \(3,\)"),
        (NumPyro("Binomial", {"total_count": [[5, 6, 7]]}), (3,), r"total_count is given for \(1, 3\) entries"),
        (NumPyro("Binomial", {"total_count": [5, 6, 7]}), (4, 2), r"for \(3,\) entries, and there are \(2,\)"),
        (NumPyro("Pareto", {"scale": [0.1, 0.2]}), (6,), r"scale is given for \(2,\) entries, and there are \(6,\)"),
        (NumPyro("Normal", {"scale": [1.0, 2.0]}), (3,), r"scale is given for \(2,\) entries, and there are \(3,\)"),
        (
            om.likelihoods.ByColumn([NumPyro("Binomial", {"total_count": [5, 6]}), om.likelihoods.Poisson()]),
            (2,),
            r"total_count is given for \(2,\) entries, and there are \(1,\)",
        ),
    ],
)
def test_what_is_given_for_another_number_of_entries_is_said_before_the_data_are_blamed(family, rows, said):
    X = np.random.default_rng(0).integers(0, 5, (20, *rows)).astype(float)
    settings = SETTINGS | {"data": "sequences" if len(rows) > 1 else "vectors", "likelihood": family}
    for model in (om.VAE(**settings), om.AnomalyDetector(om.VAE(**settings))):
        with pytest.raises(ParameterError, match=said):
            model.fit(X)


def test_a_prior_that_is_given_for_another_number_of_dimensions_says_so():
    X = np.random.default_rng(0).normal(size=(20, 3))
    prior = om.priors.NumPyro("Uniform", {"low": [0.0, 0.0, 0.0], "high": [1.0, 1.0, 1.0]})
    posterior = om.posteriors.NumPyro("Uniform", {"low": [0.0, 0.0, 0.0, 0.0], "high": 1.0})
    for parts in ({"prior": prior, "posterior": om.posteriors.LogisticNormal()}, {"posterior": posterior}):
        with pytest.raises(ParameterError, match=r"is given for \([34],\) entries, and there are \(2,\)"):
            om.VAE(**SETTINGS | {"latent_dim": 2} | parts).fit(X)


def test_a_support_says_which_values_lie_outside():
    values = np.array([-1.0, 0.0, 1e-300, 1e-39, 1e-30, 0.5, 1 - 1e-9, 1.0, 2.0, np.nan])
    assert OPEN_UNIT.outside(values).tolist() == [True, True, True, True, False, False, True, True, True, False]
    assert UNIT.outside(values).tolist() == [True, *[False] * 7, True, False]
    assert POSITIVE.outside(values).tolist() == [True, True, True, True, *[False] * 6]
    assert COUNTS.outside(np.array([2.0**24, 2.0**24 + 1, 2.0**25, 1e300])).tolist() == [False, True, True, True]
    by_entry = Support("", 0.0, (1.0, 5.0), whole=True)
    assert by_entry.outside(np.array([[1.0, 5.0], [2.0, 2.0]])).tolist() == [[False, False], [True, False]]
    assert by_entry.inside.tolist() == [0.0, 2.0]
    assert UNIT.holds(OPEN_UNIT) and REAL.holds(POSITIVE) and not POSITIVE.holds(REAL)


ENDS = [(name, 0.0) for name in ("LogNormal", "Gamma", "Weibull", "InverseGamma", "Chi2", "Exponential", "Dagum")]
ENDS += [
    (name, end) for name in ("Beta", "BetaProportion", "Kumaraswamy", "RelaxedBernoulliLogits") for end in (0.0, 1.0)
]


@pytest.mark.parametrize(("name", "end"), ENDS)
def test_values_at_the_ends_of_a_support_are_refused_before_training(name, end):
    X = np.random.default_rng(0).uniform(0.1, 0.9, (20, 3))
    X[3, 1] = end
    with pytest.raises(
        DataError, match=rf"X: {name} needs numbers above 0( and below 1)?; columns 'b' have others \(from"
    ):
        om.VAE(**SETTINGS, likelihood=NumPyro(name)).fit(polars.DataFrame(X, schema=["a", "b", "c"]))


def test_values_at_the_ends_are_refused_when_a_model_is_asked():
    X = np.random.default_rng(0).uniform(0.1, 0.9, (20, 3))
    vae = om.VAE(**SETTINGS, likelihood=dist.Beta).fit(X)
    X[4, 2] = 1.0
    with pytest.raises(DataError, match=r"expected numbers above 0 and below 1, as at fit; got 1 at row 4, column 2"):
        vae.score_samples(X)


@pytest.mark.parametrize("name", [name for name in adapter._NAMES if name not in ("Delta", "Unit")])
def test_a_density_is_finite_at_every_end_that_its_support_includes(name):
    try:
        family = NumPyro(name)
    except ParameterError:
        return
    support = family.support
    if support.named or support.everything:
        return
    values = {
        key: getattr(p, "start", getattr(p, "value", None)) for key, p in family.parameters(Event.plain(2)).items()
    }
    made = family.distribution(**{key: jnp.asarray(np.broadcast_to(v, (2,)), jnp.float32) for key, v in values.items()})
    for end, is_open in ((support.low, support.open_low), (support.high, support.open_high)):
        if np.isfinite(end) and not is_open:
            assert np.isfinite(made.log_prob(jnp.full(2, end))).all(), end


def test_counts_that_float32_does_not_tell_apart_are_refused_by_name():
    X = np.random.default_rng(0).poisson(3, (20, 3)).astype(float)
    X[2, 1] = 2**24 + 2
    for likelihood in ("poisson", "negative_binomial", dist.GeometricLogits):
        with pytest.raises(DataError, match=r"whole numbers of at least 0 and at most 2\^24 = 16,777,216.*columns '1'"):
            om.VAE(**SETTINGS, likelihood=likelihood).fit(X)


# Where training starts ------------------------------------------------------------------------------------------------

DATA = {"real": (-2.0, 3.0), "positive": (5.0, 2.0), "unit": (0.3, 0.15), "count": (6.0, 4.0)}


def kind_of(support):
    return "real" if support.everything else "count" if support.whole else "unit" if support.high == 1 else "positive"


def started(family, mean, spread):
    event = Event((1,), np.ones(1), np.full(1, spread), np.full(1, mean))
    values = {}
    for name, parameter in family.parameters(event).items():
        value = getattr(parameter, "first", None)
        if value is None:
            value = np.broadcast_to(getattr(parameter, "start", getattr(parameter, "value", None)), (1,))
        values[name] = jnp.asarray(value, jnp.float32)
    return family.distribution(**values)


# Of these the start has the mean and the deviation of the data; of the others, with fewer parameters, about the mean.
BOTH = ("Normal", "Laplace", "Logistic", "SoftLaplace", "Gumbel", "StudentT", "LogNormal", "Gamma", "InverseGamma")
BOTH += ("Weibull", "Beta", "BetaProportion")
BOTH += ("NegativeBinomial2", "NegativeBinomialLogits", "NegativeBinomialProbs", "GammaPoisson")
MEAN = ("Exponential", "Chi2", "Poisson", "GeometricLogits", "GeometricProbs", "BernoulliLogits", "BernoulliProbs")


@pytest.mark.parametrize("name", STARTS)
def test_a_distribution_of_numpyro_starts_at_the_datas_own_mean_and_spread(name):
    family = NumPyro(name, {"total_count": 10} if name.startswith("Binomial") else {})
    mean, spread = DATA["count" if name.startswith("Binomial") else kind_of(family.support)]
    made = started(family, mean, spread)
    assert np.isfinite(made.log_prob(jnp.full(1, round(mean) if family.support.whole else mean))).all()
    if name in (*BOTH, *MEAN, "BinomialLogits", "BinomialProbs"):
        assert float(made.mean[0]) == pytest.approx(mean, rel=0.03)
    if name in BOTH:
        assert float(np.sqrt(made.variance[0])) == pytest.approx(spread, rel=0.06)


@pytest.mark.parametrize(
    "family",
    [
        om.likelihoods.Gaussian(),
        om.likelihoods.Laplace(),
        om.likelihoods.StudentT(),
        om.likelihoods.StudentT(degrees=30.0),
        om.likelihoods.LogNormal(),
        om.likelihoods.NegativeBinomial(),
        om.likelihoods.NegativeBinomial("shared"),
        om.likelihoods.NegativeBinomial("full"),
        om.likelihoods.DiscretizedLogistic(),
    ],
    ids=repr,
)
def test_a_likelihood_starts_at_the_datas_own_spread(family):
    mean, spread = {"LogNormal": (5.0, 2.0), "NegativeBinomial": (6.0, 4.0), "DiscretizedLogistic": (120.0, 30.0)}.get(
        type(family).__name__, (0.0, 0.4)
    )
    made = started(family, mean, spread)
    assert float(np.sqrt(np.ravel(made.variance)[0])) == pytest.approx(spread, rel=0.03)
    assert float(np.ravel(made.mean)[0]) == pytest.approx(mean, rel=0.03, abs=1e-6)


def test_a_negative_binomial_on_poisson_counts_starts_near_its_poisson_limit():
    for spread in (np.sqrt(6.0), 1.0, 0.0):
        learned = om.likelihoods.NegativeBinomial().parameters(
            Event((1,), np.ones(1), np.full(1, spread), np.full(1, 6.0))
        )
        assert np.exp(learned["log_concentration"].start[0]) > 100


# Moments that there are not -------------------------------------------------------------------------------------------


def test_holes_in_series_of_trials_count_nothing():
    series = np.random.default_rng(0).binomial(5, 0.4, (10, 4, 2)).astype(float)
    series[3, 2, 1] = np.nan
    family = NumPyro("Binomial", given={"total_count": [5, 6]})
    assert np.isfinite(om.VAE(**SETTINGS, likelihood=family).fit(series).score_samples(series)).all()


def test_a_posterior_without_a_mean_says_so():
    X = np.random.default_rng(0).normal(size=(20, 3))
    vae = om.VAE(**SETTINGS, posterior=dist.Cauchy, prior=dist.Cauchy(0.0, 1.0)).fit(X)
    assert np.isfinite(vae.score_samples(X)).all()
    assert np.isfinite(vae.sample(3)).all()
    for ask in (vae.transform, vae.reconstruct):
        with pytest.raises(ParameterError, match=r"posterior: Cauchy has no finite mean.*Take posterior='diagonal'"):
            ask(X)


def test_a_likelihood_without_a_mean_says_so():
    X = np.random.default_rng(0).normal(size=(20, 3))
    vae = om.VAE(**SETTINGS, likelihood=dist.Cauchy).fit(X)
    assert np.isfinite(vae.transform(X)).all()
    with pytest.raises(ParameterError, match=r"likelihood: Cauchy has no finite mean.*'student_t'"):
        vae.reconstruct(X)


@pytest.mark.parametrize(
    ("name", "given", "undefined"),
    [
        ("Cauchy", {}, ("mean", "variance")),
        ("HalfCauchy", {}, ("mean", "variance")),
        ("StudentT", {"df": 1.0}, ("mean", "variance")),
        ("StudentT", {"df": 1.5}, ("variance",)),
        ("StudentT", {"df": 3.0}, ()),
        ("Pareto", {"scale": 1.0, "alpha": 0.5}, ("mean", "variance")),
        ("Normal", {}, ()),
    ],
)
def test_a_family_knows_which_moments_it_has(name, given, undefined):
    assert om.posteriors.NumPyro(name, given).undefined == undefined

"""NumPyro's distributions with log-densities that are exact in float32 where NumPyro's are not; see `omokage.special`.

Each is a subclass with another `log_prob`; what else a distribution can do, draws and moments, is NumPyro's. Which they
are, and how exact, is told in the documentation ("Which densities are exact where").
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax import Array
from numpyro.distributions.util import validate_sample

from omokage.special import deviance, excess, factorial_remainder, remainder

_LOG_TWO_PI = float(np.log(2 * np.pi))
_TINY = float(np.finfo(np.float32).tiny)
_HUGE = float(np.finfo(np.float32).max)
_NORMAL = 1e12  # degrees of freedom from which on Student's t is the normal distribution in float32
_SURE = 60.0  # a logit beyond which one of the two probabilities is 1 in float32


def _mass(log_probability: Array) -> Array:
    """Return log-probabilities with what rounding put above 0 taken off; gradients pass."""
    return log_probability - jax.lax.stop_gradient(jnp.maximum(log_probability, 0))


def _numbers(*values: Any) -> list[Array]:
    """Return arrays of one shape, of floats."""
    return jnp.broadcast_arrays(*(jnp.asarray(value, jnp.result_type(float)) for value in values))


class Poisson(dist.Poisson):
    """λ^x e^(-λ) / x!."""

    @validate_sample
    def log_prob(self, value: Array) -> Array:
        """Return log p of each count, in nats."""
        x, rate = _numbers(value, self.rate)
        return _mass(-deviance(x, jnp.maximum(rate, _TINY)) - factorial_remainder(x))


def _negative_binomial(value: Any, mean: Any, concentration: Any) -> Array:
    """Return log Γ(x + r) / (Γ(r) x!) + r log (r / (r + μ)) + x log (μ / (r + μ))."""
    x, mean, r = _numbers(value, mean, concentration)
    mean = jnp.maximum(mean, _TINY)
    ratio = (r + x) / (r + mean)
    fit = r * excess((x - mean) / (r + mean), ratio) + deviance(x, mean * ratio)
    return _mass(remainder(x + r) - remainder(r) - factorial_remainder(x) - fit)


class _Counts(dist.GammaPoisson):
    @validate_sample
    def log_prob(self, value: Array) -> Array:
        """Return log p of each count, in nats."""
        return _negative_binomial(value, self.mean, self.concentration)


class GammaPoisson(_Counts):
    """The negative binomial by concentration r and rate: of mean r / rate."""


class NegativeBinomial2(_Counts, dist.NegativeBinomial2):
    """The negative binomial by mean and concentration."""


class NegativeBinomialProbs(_Counts, dist.NegativeBinomialProbs):
    """The negative binomial by number of successes and probability."""


class NegativeBinomialLogits(_Counts, dist.NegativeBinomialLogits):
    """The negative binomial by number of successes and logit."""


class ZeroInflatedPoisson(dist.ZeroInflatedPoisson):
    """A Poisson with more zeros."""

    def __init__(self, gate: Any, rate: Any = 1.0, *, validate_args: bool | None = None):
        super().__init__(gate, rate, validate_args=validate_args)
        self.base_dist = Poisson(rate).expand(self.batch_shape)


class HurdlePoisson(dist.HurdlePoisson):
    """Zero, or a Poisson above zero."""

    def __init__(self, gate: Any, rate: Any = 1.0, *, validate_args: bool | None = None):
        super().__init__(gate, rate, validate_args=validate_args)
        self.base_dist = Poisson(rate).expand(self.batch_shape)


class HurdleGamma(dist.HurdleGamma):
    """Zero, or a gamma distribution."""

    def __init__(self, gate: Any, concentration: Any, rate: Any = 1.0, *, validate_args: bool | None = None):
        super().__init__(gate, concentration, rate, validate_args=validate_args)
        self.base_dist = Gamma(concentration, rate).expand(self.batch_shape)


def _choose(x: Array, total: Array) -> Array:
    """Return the part of log (n choose x) that does not grow."""
    return factorial_remainder(total) - factorial_remainder(x) - factorial_remainder(total - x)


class BinomialLogits(dist.BinomialLogits):
    """(n choose x) p^x (1-p)^(n-x), by the logit of p."""

    @validate_sample
    def log_prob(self, value: Array) -> Array:
        """Return log p of each count, in nats."""
        x, logits, total = _numbers(value, self.logits, self.total_count)
        held = jnp.clip(logits, -_SURE, _SURE)
        beyond = x * jnp.minimum(logits + _SURE, 0) - (total - x) * jnp.maximum(logits - _SURE, 0)
        n = jnp.maximum(total, _TINY)
        fit = deviance(x, n * jax.nn.sigmoid(held)) + deviance(total - x, n * jax.nn.sigmoid(-held))
        return _mass(_choose(x, total) - fit + beyond)


class BinomialProbs(dist.BinomialProbs):
    """(n choose x) p^x (1-p)^(n-x)."""

    @validate_sample
    def log_prob(self, value: Array) -> Array:
        """Return log p of each count, in nats."""
        x, probs, total = _numbers(value, self.probs, self.total_count)
        p = jnp.clip(probs, 1e-30, 1 - 1e-7)
        n = jnp.maximum(total, _TINY)
        return _mass(_choose(x, total) - deviance(x, n * p) - deviance(total - x, n * (1 - p)))


def _pairs(x: Array, a: Array, y: Array, b: Array) -> Array:
    """Return the part of log B(x+a, y+b) / (B(a, b) B(x, y)) that grows: at least 0, with B the beta function."""
    trials, strength = x + y, a + b
    total, parts = trials + strength, jnp.zeros_like(x)
    for count, own in ((x, a), (y, b)):
        both = count + own
        shift = (count * strength - own * trials) / total / own
        parts += deviance(count, both * (trials / total)) + own * excess(shift, both / own * (strength / total))
    return parts


class BetaBinomial(dist.BetaBinomial):
    """A binomial whose probability is drawn from a beta distribution."""

    @validate_sample
    def log_prob(self, value: Array) -> Array:
        """Return log p of each count, in nats."""
        x, a, b, total = _numbers(value, self.concentration1, self.concentration0, self.total_count)
        # Without a trial there is nothing to tell: log p(0) = 0.
        n = jnp.maximum(total, 1.0)
        rest = _choose(x, n) + remainder(x + a) + remainder(n - x + b) - remainder(n + a + b)
        found = rest - remainder(a) - remainder(b) + remainder(a + b) - _pairs(x, a, n - x, b)
        return jnp.where(total > 0, _mass(found), 0.0)


class BetaNegativeBinomial(dist.BetaNegativeBinomial):
    """A negative binomial whose probability is drawn from a beta distribution."""

    @validate_sample
    def log_prob(self, value: Array) -> Array:
        """Return log p of each count, in nats."""
        x, a, b, r = _numbers(value, self.concentration1, self.concentration0, self.n)
        rest = remainder(r + x) - remainder(r) - factorial_remainder(x)
        rest += remainder(x + a) + remainder(r + b) - remainder(x + r + a + b)
        return _mass(rest - remainder(a) - remainder(b) + remainder(a + b) - _pairs(x, a, r, b))


class BernoulliLogits(dist.BernoulliLogits):
    """p^x (1-p)^(1-x), by the logit of p; for values between 0 and 1 too, where it is the cross-entropy.

    (The gradient of NumPyro's is wrong where a logit is exactly 0, as after a dead layer.)
    """

    def __init__(self, logits: Any, *, validate_args: bool | None = False):
        super().__init__(logits, validate_args=validate_args)

    @validate_sample
    def log_prob(self, value: Array) -> Array:
        """Return x ℓ - log(1 + e^ℓ) for each value, in nats."""
        return value * self.logits - jax.nn.softplus(self.logits)


class BernoulliProbs(dist.BernoulliProbs):
    """p^x (1-p)^(1-x); for values between 0 and 1 too, where it is the cross-entropy."""

    def __init__(self, probs: Any, *, validate_args: bool | None = False):
        super().__init__(probs, validate_args=validate_args)


def _gamma(value: Any, concentration: Any, rate: Any) -> Array:
    x, a, rate = _numbers(value, concentration, rate)
    return -deviance(a, jnp.maximum(rate * x, _TINY)) - remainder(a) - jnp.log(x)


class Gamma(dist.Gamma):
    """b^a x^(a-1) e^(-bx) / Γ(a)."""

    @validate_sample
    def log_prob(self, value: Array) -> Array:
        """Return the log-density of each value, in nats."""
        return _gamma(value, self.concentration, self.rate)


class Chi2(dist.Chi2):
    """The gamma distribution of concentration ν/2 and rate ½."""

    @validate_sample
    def log_prob(self, value: Array) -> Array:
        """Return the log-density of each value, in nats."""
        return _gamma(value, self.concentration, self.rate)


class InverseGamma(dist.InverseGamma):
    """The distribution of 1/x where x is gamma."""

    @validate_sample
    def log_prob(self, value: Array, intermediates: Any = None) -> Array:
        """Return the log-density of each value, in nats."""
        x, a, rate = _numbers(value, self.concentration, self.rate)
        return -deviance(a, jnp.maximum(rate / x, _TINY)) - remainder(a) - jnp.log(x)


def _beta(value: Any, first: Any, second: Any) -> Array:
    x, a, b = _numbers(value, first, second)
    n, y = a + b, 1 - x
    fit = deviance(a, jnp.maximum(n * x, _TINY)) + deviance(b, jnp.maximum(n * y, _TINY))
    return remainder(n) - remainder(a) - remainder(b) - fit - jnp.log(x) - jnp.log1p(-x)


class Beta(dist.Beta):
    """x^(a-1) (1-x)^(b-1) / B(a, b)."""

    @validate_sample
    def log_prob(self, value: Array) -> Array:
        """Return the log-density of each value, in nats."""
        return _beta(value, self.concentration1, self.concentration0)


class BetaProportion(dist.BetaProportion):
    """The beta distribution by its mean and the sum of its concentrations."""

    @validate_sample
    def log_prob(self, value: Array) -> Array:
        """Return the log-density of each value, in nats."""
        return _beta(value, self.concentration1, self.concentration0)


class Dirichlet(dist.Dirichlet):
    """Γ(Σ a) Π x_i^(a_i-1) / Γ(a_i)."""

    @validate_sample
    def log_prob(self, value: Array) -> Array:
        """Return the log-density of each vector, in nats."""
        x, a = _numbers(value, self.concentration)
        n = a.sum(-1)
        parts = deviance(a, jnp.maximum(n[..., None] * x, _TINY)) + remainder(a) + jnp.log(x)
        return remainder(n) - parts.sum(-1)


class Kumaraswamy(dist.Kumaraswamy):
    """a b x^(a-1) (1 - x^a)^(b-1)."""

    @validate_sample
    def log_prob(self, value: Array) -> Array:
        """Return the log-density of each value, in nats."""
        x, a, b = _numbers(value, self.concentration1, self.concentration0)
        log_x = jnp.log(x)
        below = jnp.log(-jnp.expm1(jnp.minimum(a * log_x, -_TINY)))
        return jnp.log(a) + jnp.log(b) + (a - 1) * log_x + (b - 1) * below


class StudentT(dist.StudentT):
    """Student's t with ν degrees of freedom around a location."""

    @validate_sample
    def log_prob(self, value: Array) -> Array:
        """Return the log-density of each value, in nats."""
        y, df, scale = _numbers((value - self.loc) / self.scale, self.df, self.scale)
        return _student(jnp.square(y), df, 1) - jnp.log(scale)


class MultivariateStudentT(dist.MultivariateStudentT):
    """Student's t of vectors."""

    @validate_sample
    def log_prob(self, value: Array) -> Array:
        """Return the log-density of each vector, in nats."""
        apart = value - self.loc
        root = jnp.broadcast_to(self.scale_tril, (*apart.shape, apart.shape[-1]))
        y = jax.scipy.linalg.solve_triangular(root, apart[..., None], lower=True)[..., 0]
        squares, df = _numbers(jnp.square(y).sum(-1), self.df)
        volume = jnp.log(jnp.diagonal(self.scale_tril, axis1=-2, axis2=-1)).sum(-1)
        return _student(squares, df, apart.shape[-1]) - volume


def _student(squares: Array, df: Array, size: int) -> Array:
    """Return the log-density of `size` entries of scale 1 whose squares add up to `squares`."""
    a, half = jnp.minimum(df, _NORMAL) / 2, size / 2
    # log Γ(a + h) - log Γ(a) - h log a, in parts that do not grow.
    constant = remainder(a + half) - remainder(a) + half * jnp.log1p(half / a) - a * excess(half / a, 1 + half / a)
    return constant - half * _LOG_TWO_PI - (a + half) * jnp.log1p(squares / (2 * a))


class VonMises(dist.VonMises):
    """e^(κ cos(x - μ)) / 2π I₀(κ), on a circle."""

    @validate_sample
    def log_prob(self, value: Array) -> Array:
        """Return the log-density of each angle, in nats."""
        squares = jnp.square(jnp.sin((value - self.loc) / 2))
        return -2 * self.concentration * squares - jnp.log(jax.scipy.special.i0e(self.concentration)) - _LOG_TWO_PI


class Weibull(dist.Weibull):
    """(k/s) (x/s)^(k-1) e^(-(x/s)^k)."""

    @validate_sample
    def log_prob(self, value: Array) -> Array:
        """Return the log-density of each value, in nats."""
        x, k, scale = _numbers(value, self.concentration, self.scale)
        ratio = x / scale
        held = jnp.clip(ratio, _TINY, _HUGE)  # beyond, the ratio is none in float32, and its logarithm is
        power = k * jnp.where(ratio == held, jnp.log(held), jnp.log(x) - jnp.log(scale))
        return jnp.log(k) - jnp.log(x) + power - jnp.exp(power)


OWN: dict[str, type[dist.Distribution]] = {
    name: member
    for name, member in list(vars().items())
    if isinstance(member, type) and issubclass(member, dist.Distribution) and not name.startswith("_")
}

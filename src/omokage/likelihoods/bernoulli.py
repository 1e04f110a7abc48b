"""Likelihoods on [0, 1], both given by logits: the Bernoulli, and its continuous companion."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax import Array
from numpyro.distributions import constraints
from numpyro.distributions.util import promote_shapes

from omokage.batch import Event
from omokage.density import Output, Parameters
from omokage.distributions import BernoulliLogits
from omokage.supports import UNIT, Support


@dataclass(frozen=True)
class Bernoulli:
    """p(x|z) = λ^x (1-λ)^(1-x), with logits from the decoder.

    For values strictly between 0 and 1 it is the usual cross-entropy, but no density; `ContinuousBernoulli` is.
    """

    support: ClassVar[Support] = UNIT

    def parameters(self, event: Event) -> Parameters:
        """Return a logit for each feature."""
        return {"logits": Output(event.shape)}

    def distribution(self, logits: Array) -> dist.Distribution:
        """Return a distribution of batch shape (B, *event)."""
        return BernoulliLogits(logits)

    def saturated(self, x: Array, logits: Array) -> dict[str, Array]:
        """Return the logits that explain x best; those of 0 and 1 are at infinity, and here near enough to it."""
        return {"logits": jnp.clip(jnp.log(x) - jnp.log1p(-x), -30.0, 30.0)}


@dataclass(frozen=True)
class ContinuousBernoulli:
    """p(x|z) ∝ λ^x (1-λ)^(1-x) on [0, 1], with its normaliser.

    Source: Loaiza-Ganem and Cunningham, "The continuous Bernoulli: fixing a pervasive error in variational
    autoencoders", 2019.
    """

    support: ClassVar[Support] = UNIT

    def parameters(self, event: Event) -> Parameters:
        """Return a logit for each feature."""
        return {"logits": Output(event.shape)}

    def distribution(self, logits: Array) -> dist.Distribution:
        """Return a distribution of batch shape (B, *event)."""
        return ContinuousBernoulliLogits(logits)

    def saturated(self, x: Array, logits: Array) -> dict[str, Array]:
        """Return the logits whose mean is x, by bisection.

        At 0 and 1 the best density is infinite, so logits end at ±1000: x nearer to an end than 1/1000 is all alike.
        """

        def halved(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
            middle = (ends[0] + ends[1]) / 2
            above = ContinuousBernoulliLogits(middle).mean > x
            return jnp.where(above, ends[0], middle), jnp.where(above, middle, ends[1])

        low, high = jax.lax.fori_loop(0, 35, halved, (jnp.full_like(x, -1000.0), jnp.full_like(x, 1000.0)))
        return {"logits": (low + high) / 2}


class ContinuousBernoulliLogits(dist.Distribution):
    """The continuous Bernoulli, which NumPyro does not have.

    With logit ℓ it is an exponential tilted on the unit interval: p(x) = ℓ e^(ℓx) / (e^ℓ - 1), so
    log p(x) = ℓ (x - 1/2) - g(ℓ) with g(ℓ) = log(sinh(ℓ/2) / (ℓ/2)), an even function. Formulas that are 0/0 at ℓ = 0
    are replaced by their series near it. |ℓ| is taken by `_size`, whose derivative at 0 is that of the branch that 0
    takes; that of `jnp.abs` is 1 there, and would turn the sign of gradients round.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {"logits": constraints.real}
    support = constraints.unit_interval
    reparametrized_params: ClassVar[list[str]] = ["logits"]

    def __init__(self, logits: Array, *, validate_args: bool | None = None):
        (self.logits,) = promote_shapes(logits)
        super().__init__(batch_shape=jnp.shape(self.logits), validate_args=validate_args)

    def log_prob(self, value: Array) -> Array:
        """Return the log-density of each value, in nats."""
        size = _size(self.logits)
        near, safe = size < 0.1, jnp.where(size < 0.1, 1.0, size)
        # g(ℓ) = ℓ²/24 - ℓ⁴/2880 + O(ℓ⁶)
        series = self.logits**2 / 24 - self.logits**4 / 2880
        g = jnp.where(near, series, safe / 2 - jnp.log(safe) + jnp.log(-jnp.expm1(-safe)))
        return self.logits * (value - 0.5) - g

    @property
    def mean(self) -> Array:
        """The mean of each entry."""
        size = _size(self.logits)
        near, safe = size < 0.1, jnp.where(size < 0.1, 1.0, size)
        # 1/(1 - e^-ℓ) - 1/ℓ = 1/2 + ℓ/12 - ℓ³/720 + O(ℓ⁵)
        upper = jnp.where(near, 0.5 + size / 12 - size**3 / 720, -1 / jnp.expm1(-safe) - 1 / safe)
        return jnp.where(self.logits > 0, upper, 1 - upper)

    @property
    def variance(self) -> Array:
        """The variance of each entry."""
        size = _size(self.logits)
        near, safe = size < 0.3, jnp.where(size < 0.3, 1.0, size)
        # 1/ℓ² - 1/(4 sinh²(ℓ/2)) = 1/12 - ℓ²/240 + ℓ⁴/6048 + O(ℓ⁶)
        tail = jnp.exp(-safe) / jnp.square(jnp.expm1(-safe))
        return jnp.where(near, 1 / 12 - size**2 / 240 + size**4 / 6048, 1 / safe**2 - tail)

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        """Return draws by the inverse of the distribution function."""
        uniform = jax.random.uniform(key, (*sample_shape, *self.batch_shape))
        size = _size(self.logits)
        near, safe = size < 1e-3, jnp.where(size < 1e-3, 1.0, size)
        # The falling side: x = -log(1 - u (1 - e^-ℓ)) / ℓ, and u + ℓ u (u - 1) / 2 near 0.
        falling = jnp.where(
            near, uniform + size * uniform * (uniform - 1) / 2, -jnp.log1p(uniform * jnp.expm1(-safe)) / safe
        )
        falling = jnp.clip(falling, 0.0, 1.0)
        return jnp.where(self.logits > 0, 1 - falling, falling)


def _size(logits: Array) -> Array:
    return jnp.where(logits > 0, logits, -logits)

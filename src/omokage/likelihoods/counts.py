"""Likelihoods of whole numbers: Poisson and negative binomial counts, categories, and the levels of 8-bit pictures."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax import Array
from numpy.typing import NDArray

from omokage import distributions as own
from omokage.batch import Event
from omokage.density import Fixed, Learned, Output, Parameters
from omokage.errors import ParameterError, check_choice, check_counts
from omokage.likelihoods.moments import overdispersion
from omokage.nets.views import View
from omokage.supports import COUNTS, WHOLE, Support, levels

_KINDS = ("shared", "feature", "full")
_LARGEST = 17.0  # of the logarithm of a mean: e^17 is above the largest count, 2^24


@dataclass(frozen=True)
class Poisson:
    """p(x|z) = λ^x e^(-λ) / x! for each feature, λ(z) from the decoder; networks see standardised log (1 + x).

    Counts end at 2²⁴ = 16,777,216, beyond which float32 does not tell whole numbers apart.
    """

    support: ClassVar[Support] = COUNTS

    def parameters(self, event: Event) -> Parameters:
        """Return the logarithm of the rate for each feature."""
        return {"log_rate": Output(event.shape, _log_centre(event))}

    def view(self, event: Event) -> View:
        """Return what networks see of x."""
        return _log_counts(event)

    def distribution(self, log_rate: Array) -> dist.Distribution:
        """Return a distribution of batch shape (B, *event)."""
        return own.Poisson(jnp.exp(jnp.clip(log_rate, -20.0, _LARGEST)))

    def saturated(self, x: Array, log_rate: Array) -> dict[str, Array]:
        """Return the rate that explains x best."""
        return {"log_rate": jnp.log(x)}


@dataclass(frozen=True)
class NegativeBinomial:
    """Counts that vary more than Poisson's: of mean μ(z) and variance μ + μ²/r. Networks see standardised log (1 + x).

    Attributes:
        concentration: What r is: "shared" learns one number, "feature" one for each feature, "full" a second output of
            the decoder.
    """

    concentration: Literal["shared", "feature", "full"] = "feature"
    support: ClassVar[Support] = COUNTS

    def __post_init__(self) -> None:
        """Check the settings, which are used long after."""
        check_choice(self, "concentration", _KINDS)

    def parameters(self, event: Event) -> Parameters:
        """Return the logarithms of mean and concentration."""
        r = np.log(overdispersion(event.centre, event.spread))
        if self.concentration == "full":
            kind: Any = Output(event.shape, r)
        else:  # of one for all entries the logarithm is the mean of theirs
            kind = Learned(r.mean() if self.concentration == "shared" else r)
        return {"log_mean": Output(event.shape, _log_centre(event)), "log_concentration": kind}

    def view(self, event: Event) -> View:
        """Return what networks see of x."""
        return _log_counts(event)

    def distribution(self, log_mean: Array, log_concentration: Array) -> dist.Distribution:
        """Return a distribution of batch shape (B, *event)."""
        concentration = jnp.exp(jnp.clip(log_concentration, -10.0, 10.0))
        return own.NegativeBinomial2(jnp.exp(jnp.clip(log_mean, -20.0, _LARGEST)), concentration)

    def saturated(self, x: Array, log_mean: Array, log_concentration: Array) -> dict[str, Array]:
        """Return the parameters with the mean that explains x best at the concentration that there is."""
        return {"log_mean": jnp.log(x), "log_concentration": log_concentration}


@dataclass(frozen=True)
class Categorical:
    """p(x|z) of one of C classes in each column, which are written 0 to C - 1. Networks see one column for each class.

    Classes have no mean: reconstructions are the most likely ones.

    Attributes:
        classes: C, of the column that has most.
    """

    classes: int
    has_mean: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check the settings, which are used long after."""
        check_counts(self, "classes")
        _check_levels(self, "classes", WHOLE)

    @property
    def support(self) -> Support:
        """The classes' numbers."""
        return levels(self.classes)

    def parameters(self, event: Event) -> Parameters:
        """Return a logit for each feature and class."""
        return {"logits": Output((*event.shape, self.classes))}

    def view(self, event: Event) -> View:
        """Return what networks see of x."""
        return View("classes", np.zeros(()), np.ones(()), classes=self.classes)

    def distribution(self, logits: Array) -> dist.Distribution:
        """Return a distribution of batch shape (B, *event)."""
        return Classes(logits)

    def usual(self, expected: Array) -> Array:
        """Return the most likely class of each entry, from averages of `Classes.expected`."""
        return jnp.argmax(expected.reshape(*expected.shape[:-1], -1, self.classes), -1).astype(jnp.float32)

    def places(self, entries: int) -> NDArray[np.int64]:
        """Return which of so many entries, on the last axis, each of `Classes.expected` is of."""
        return np.repeat(np.arange(entries), self.classes)

    def saturated(self, x: Array, logits: Array) -> dict[str, Array]:
        """Return logits that are sure of the class of x."""
        return {"logits": 1e4 * jax.nn.one_hot(x.astype(jnp.int32), self.classes)}


@dataclass(frozen=True)
class DiscretizedLogistic:
    """p(x|z) of the levels 0 to 255 of a picture: the mass that a logistic distribution has around each.

    The lowest and the highest level have all the mass beyond them. It is a probability, not a density, so -log2 p(x)
    over the number of entries is the bits per dimension of the literature.

    Source: Kingma et al., "Improved Variational Inference with Inverse Autoregressive Flow", 2016, appendix.

    Attributes:
        scale: What the width is: "shared" learns one number, "feature" one for each entry, "full" a second output of
            the decoder.
        levels: How many.
    """

    scale: Literal["shared", "feature", "full"] = "feature"
    levels: int = 256

    def __post_init__(self) -> None:
        """Check the settings, which are used long after."""
        check_counts(self, "levels")
        _check_levels(self, "levels", WHOLE // 4)  # so that the borders between levels are numbers too
        check_choice(self, "scale", _KINDS)

    @property
    def support(self) -> Support:
        """The levels."""
        return levels(self.levels)

    def parameters(self, event: Event) -> Parameters:
        """Return a location in standardised units, the logarithm of the width, and what standardising takes."""
        # A logistic distribution of width s has the deviation 1.81 s.
        width = np.log(np.maximum(event.spread / 1.81, 0.1))
        kinds: dict[str, Any] = {
            "shared": Learned(width.mean()), "feature": Learned(width), "full": Output(event.shape, width)
        }  # fmt: skip
        return {
            "mean": Output(event.shape),
            "log_scale": kinds[self.scale],
            "centre": Fixed(event.centre),
            "spread": Fixed(np.maximum(event.spread, 1.0)),
        }

    def view(self, event: Event) -> View:
        """Return what networks see of x."""
        return View("identity", event.centre, np.maximum(event.spread, 1.0))

    def distribution(self, mean: Array, log_scale: Array, centre: Array, spread: Array) -> dist.Distribution:
        """Return a distribution of batch shape (B, *event)."""
        widest = max(10.0, float(np.log(self.levels)))
        return LogisticLevels(centre + spread * mean, jnp.exp(jnp.clip(log_scale, -5.0, widest)), self.levels)

    def saturated(self, x: Array, mean: Array, **parameters: Array) -> dict[str, Array]:
        """Return the parameters with the location that explains x best; of the last levels, one far beyond."""
        far = jnp.where(x < 0.5, -1e6, jnp.where(x > self.levels - 1.5, 1e6, 0.0))
        return {**parameters, "mean": (x + far - parameters["centre"]) / parameters["spread"]}


class Classes(dist.CategoricalLogits):
    """NumPyro's categorical distribution, with the most likely class in place of a mean."""

    @property
    def expected(self) -> Array:
        """The probability of each class, one entry after the other, (..., D · C)."""
        return self.probs.reshape(*self.probs.shape[:-2], -1)

    @property
    def mean(self) -> Array:
        """The most likely class of each entry."""
        return jnp.argmax(self.logits, axis=-1).astype(jnp.float32)

    @property
    def variance(self) -> Array:
        """The probability of another class than the most likely one."""
        return 1 - self.probs.max(-1)

    def log_prob(self, value: Array) -> Array:
        """Return log p of each class number, in nats."""
        chosen = jnp.asarray(value).astype(jnp.int32)[..., None]
        logits = jax.nn.log_softmax(self.logits)
        shape = jnp.broadcast_shapes(chosen.shape[:-1], logits.shape[:-1])
        chosen = jnp.broadcast_to(chosen, (*shape, 1))
        logits = jnp.broadcast_to(logits, (*shape, logits.shape[-1]))
        return jnp.take_along_axis(logits, chosen, -1)[..., 0]


class LogisticLevels(dist.Distribution):
    """The discretised logistic distribution, which NumPyro does not have."""

    arg_constraints: ClassVar[dict[str, Any]] = {
        "location": dist.constraints.real, "scale": dist.constraints.positive
    }  # fmt: skip
    pytree_data_fields = ("location", "scale")
    pytree_aux_fields = ("levels",)

    def __init__(self, location: Array, scale: Array, levels: int, *, validate_args: bool | None = None):
        self.location, self.scale = jnp.broadcast_arrays(location, scale)
        self.levels = levels
        super().__init__(batch_shape=jnp.shape(self.location), validate_args=validate_args)

    @property
    def support(self) -> Any:
        """The levels."""
        return dist.constraints.integer_interval(0, self.levels - 1)

    def log_prob(self, value: Array) -> Array:
        """Return log p of each level, in nats."""
        above, below = (value + 0.5 - self.location) / self.scale, (value - 0.5 - self.location) / self.scale
        # σ(a) - σ(b) = σ(a) σ(-b) (1 - e^(b-a)), without a difference of near numbers.
        within = jax.nn.log_sigmoid(above) + jax.nn.log_sigmoid(-below) + jnp.log(-jnp.expm1(-1 / self.scale))
        upper = jnp.where(value > self.levels - 1.5, jax.nn.log_sigmoid(-below), within)
        lower = jnp.where(value < 0.5, jax.nn.log_sigmoid(above), upper)
        return lower if self.levels > 1 else jnp.zeros_like(lower)

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        """Return draws."""
        drawn = self.location + self.scale * jax.random.logistic(key, (*sample_shape, *self.batch_shape))
        return jnp.clip(jnp.rint(drawn), 0, self.levels - 1)

    @property
    def mean(self) -> Array:
        """The mean of each entry: the sum of P(x ≥ k) over the levels k from 1."""
        return self._moments()[0]

    @property
    def variance(self) -> Array:
        """The variance of each entry."""
        first, second = self._moments()
        return jnp.maximum(second - jnp.square(first), 0)

    def _moments(self) -> tuple[Array, Array]:
        def more(level: Array, sums: tuple[Array, Array]) -> tuple[Array, Array]:
            reached = jax.nn.sigmoid((self.location - level + 0.5) / self.scale)
            return sums[0] + reached, sums[1] + (2 * level - 1) * reached

        zeros = jnp.zeros_like(self.location)
        return jax.lax.fori_loop(1, self.levels, more, (zeros, zeros))


def _check_levels(family: Any, name: str, most: int) -> None:
    """Check that there are not more levels than float32 tells apart."""
    if (value := getattr(family, name)) > most:
        raise ParameterError(
            f"{type(family).__name__}({name}={value!r}): expected at most {most:,}, beyond which float32 does not tell "
            "them apart. Take fewer, wider ones, or likelihood='gaussian'."
        )


def _log_centre(event: Event) -> Any:
    return np.log(np.maximum(event.centre, 1e-2))


def _log_counts(event: Event) -> View:
    """Return the view by log (1 + x), about standardised (to first order)."""
    middle = np.maximum(event.centre, 0)
    return View("log1p", np.log1p(middle), np.clip(event.spread / (1 + middle), 0.1, None))

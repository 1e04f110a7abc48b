"""From rows as they come to the units that a model was trained in, and back, inside the compiled program.

Members of an ensemble are given the same rows. Each has learned location and scale from its own training rows, and so
undoes the units in which the rows come:

    x = (row - location) / scale        log p(row) = log p(x) - Σ log scale

What a model says of rows is then in the units of the rows: densities, means, deviations.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike
from numpyro.distributions import Distribution, constraints

from omokage.batch import Batch, Event
from omokage.nets.layers import Frozen

_FARTHEST = 1e15  # whose square float32 still holds
_LEAST, _MOST = 1e-30, 1e30  # of scales


class Codec(eqx.Module):
    """An affine map for each entry of a row.

    Attributes:
        location, scale: In the units of the rows, like an event.
        context: The same map of the context of the rows, (C,); `None`: it comes in the model's units.

    Example:
        >>> codec = Codec([1.0, 0.0], [2.0, 1.0])
        >>> codec.encode(Batch(jnp.array([[5.0, 3.0]]))).x.tolist(), codec.decode(jnp.array([[2.0, 3.0]])).tolist()
        ([[2.0, 3.0]], [[5.0, 3.0]])
    """

    location: Frozen
    scale: Frozen
    context: "Codec | None"

    def __init__(self, location: ArrayLike, scale: ArrayLike, context: "Codec | None" = None):
        self.location = Frozen(np.asarray(location, np.float32))
        self.scale = Frozen(np.clip(np.asarray(scale), _LEAST, _MOST).astype(np.float32))
        self.context = context

    @staticmethod
    def of(event: Event, context: int | None = None) -> "Codec":
        """Return the codec that changes nothing, of rows and of so many columns of context."""
        own = None if context is None else Codec(np.zeros(context), np.ones(context))
        return Codec(np.zeros(event.shape), np.ones(event.shape), own)

    def after(self, outer: "Codec") -> "Codec":
        """Return the codec of rows that `outer` encodes first."""
        context = outer.context if self.context is None or outer.context is None else self.context.after(outer.context)
        location, scale = outer.location.value, outer.scale.value
        return Codec(location + scale * self.location.value, scale * self.scale.value, context)

    def encode(self, rows: Batch) -> Batch:
        """Return rows in the model's units; what was not observed stays 0."""

        def one(entries: Array) -> Array:
            x = self._mapped(entries)
            return x if rows.observed is None else jnp.where(rows.observed, x, 0)

        x, inputs = one(rows.x), None if rows.inputs is None else one(rows.inputs)
        # Whatever follows, and however much of it there is, these are the numbers: a row's score is its own to the bit.
        x, inputs = jax.lax.optimization_barrier((x, inputs))
        return self.told(rows._replace(x=x, inputs=inputs))

    def told(self, rows: Batch) -> Batch:
        """Return rows with their context in the model's units, and all else as it is."""
        if self.context is None or rows.context is None:
            return rows
        return rows._replace(context=jax.lax.optimization_barrier(self.context._mapped(rows.context)))

    def _mapped(self, entries: Array) -> Array:
        return jnp.clip((entries - self.location.value) / self.scale.value, -_FARTHEST, _FARTHEST)

    def decode(self, x: Array) -> Array:
        """Return entries in the units of the rows, (..., *event)."""
        return x * self.scale.value + self.location.value

    def log_scales(self) -> Array:
        """Return what to take from log p(x) of each entry to get that of the row's, in nats, like an event."""
        return jnp.log(self.scale.value)

    def decoded(self, given: Distribution) -> Distribution:
        """Return the distribution of rows from that of x, for each entry."""
        return Decoded(given, self.location.value, self.scale.value)


class Decoded(Distribution):
    """The distribution of `scale` · x + `location` for each entry, whose mean and variance are known where x's are."""

    arg_constraints = {"location": constraints.real, "scale": constraints.positive}  # noqa: RUF012 - NumPyro's form
    support = constraints.real
    pytree_data_fields = ("base", "location", "scale")

    def __init__(self, base: Distribution, location: Array, scale: Array):
        self.base, self.location, self.scale = base, location, scale
        super().__init__(base.batch_shape, base.event_shape)

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        """Return draws, (*sample_shape, *batch)."""
        return self.base.sample(key, sample_shape) * self.scale + self.location

    def log_prob(self, value: Array, intermediates: object = None) -> Array:
        """Return the log-density of each entry, in nats."""
        return self.base.log_prob((value - self.location) / self.scale) - jnp.log(self.scale)

    @property
    def mean(self) -> Array:
        """The mean of each entry."""
        return self.base.mean * self.scale + self.location

    @property
    def variance(self) -> Array:
        """The variance of each entry."""
        return self.base.variance * jnp.square(self.scale)

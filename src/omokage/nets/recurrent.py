"""Recurrent networks: gated recurrent units over the steps of a sequence.

    r = σ(Wr x + br + Ur h + cr)                 what of the state the candidate sees
    u = σ(Wu x + bu + Uu h + cu)                 what of the state stays
    n = tanh(Wn x + bn + r (Un h + cn))          the candidate
    h' = u h + (1 - u) n

with two bias vectors, b and c, as in cuDNN and PyTorch (Cho et al., 2014, has the product with r inside Un). The inputs
of all steps are projected in one product before the scan, and the gradient of U is one product after it, so the
scan holds only the recurrent product and the gates.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from omokage.batch import Batch, Event
from omokage.errors import ParameterError, check_flags, check_numbers
from omokage.nets.layers import (
    INITIALIZERS,
    Dropout,
    Initializer,
    Linear,
    Making,
    Network,
    TrainingPass,
    waves,
    with_context,
    with_missing,
)


class GRU(eqx.Module):
    """One layer of gated recurrent units, in one direction or with a second one that reads from the end."""

    inputs: tuple[Linear, ...]  # for each direction, to (B, T, 3H)
    states: tuple[Linear, ...]
    width: int = eqx.field(static=True)

    def __init__(
        self,
        features: int,
        width: int,
        *,
        initializer: Initializer,
        random: np.random.Generator | None,
        bidirectional: bool = False,
        update_bias: float = 0.0,
    ):
        """Make the weights; those of the state are orthogonal whatever the initialiser is (Saxe et al., 2014)."""
        directions = range(1 + bidirectional)
        self.inputs = tuple(Linear(features, 3 * width, initializer, random) for _ in directions)
        self.states = tuple(Linear(width, 3 * width, INITIALIZERS["orthogonal"], random) for _ in directions)
        self.width = width
        for given in self.inputs if random is not None else ():
            given.bias[width : 2 * width] = update_bias

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of what comes out at each step."""
        return (self.width * len(self.inputs),)

    def __call__(
        self, x: Array, steps: Array | None = None, start: Array | None = None, constant: Array | None = None
    ) -> tuple[Array, Array]:
        """Return the states after each step, (B, T, H), and after the last one, (B, H); 2H of two directions.

        Args:
            x: (B, T, features), or (1, T, features) where all rows have the same.
            steps: Which steps there are, (B, T); the state stays where there is none.
            start: The first state, (B, H); `None`: zeros.
            constant: What else goes into each step, the last of the inputs, (B, features of its own).
        """
        there = None if steps is None else steps.T
        after, last = [], []
        for number, (given, state) in enumerate(zip(self.inputs, self.states, strict=True)):
            backward = number == 1
            varying = given.weight[:, : x.shape[-1]]
            projected = jnp.moveaxis(x @ varying.T, 1, 0) + given.bias  # (T, B, 3H)
            if constant is not None:
                projected = projected + constant @ given.weight[:, x.shape[-1] :].T
            first = jnp.zeros((projected.shape[1], self.width)) if start is None else start
            if backward:
                projected, there = projected[::-1], None if there is None else there[::-1]
            h = _recur(projected, state.weight, state.bias, first, there)
            last.append(h[-1])
            after.append(h[::-1] if backward else h)
        return jnp.moveaxis(jnp.concatenate(after, -1), 0, 1), jnp.concatenate(last, -1)


@jax.custom_vjp
def _recur(x: Array, weight: Array, bias: Array, start: Array, steps: Array | None) -> Array:
    """Return the states, (T, B, H), of projected inputs (T, B, 3H) with U (3H, H), c (3H,), steps (T, B)."""
    return _forward(x, weight, bias, start, steps)[0]


def _forward(x: Array, weight: Array, bias: Array, start: Array, steps: Array | None) -> tuple[Array, Any]:
    transposed = weight.T

    def one(h: Array, inputs: tuple[Array, Array | None]) -> tuple[Array, Any]:
        given, there = inputs
        hidden = h @ transposed + bias
        (xr, xu, xn), (hr, hu, hn) = (jnp.split(a, 3, -1) for a in (given, hidden))
        r, u = jax.nn.sigmoid(xr + hr), jax.nn.sigmoid(xu + hu)
        n = jnp.tanh(xn + r * hn)
        new = n + u * (h - n)
        if there is not None:
            new = jnp.where(there[:, None], new, h)
        return new, (new, r, u, n, hn)

    _, (h, *gates) = jax.lax.scan(one, start, (x, steps))
    return h, (weight, start, steps, h, *gates)


def _backward(saved: Any, cotangent: Array) -> tuple[Any, ...]:
    weight, start, steps, h, r, u, n, hn = saved
    before = jnp.concatenate([start[None], h[:-1]])

    def one(carry: Array, inputs: Any) -> tuple[Array, Any]:
        cotangent, there, before, r, u, n, hn = inputs
        total = carry + cotangent
        through = total if there is None else jnp.where(there[:, None], total, 0)
        dn = through * (1 - u) * (1 - n * n)
        dr = dn * hn * r * (1 - r)
        du = through * (before - n) * u * (1 - u)
        hidden = jnp.concatenate([dr, du, dn * r], -1)
        back = through * u + hidden @ weight
        return (back if there is None else jnp.where(there[:, None], back, total)), (hidden, dn)

    carry, (hidden, dn) = jax.lax.scan(
        one, jnp.zeros_like(start), (cotangent, steps, before, r, u, n, hn), reverse=True
    )
    width = start.shape[-1]
    dx = hidden.at[..., 2 * width :].set(dn)
    flat = hidden.reshape(-1, 3 * width)
    return dx, flat.T @ before.reshape(-1, width), flat.sum(0), carry, None


_recur.defvjp(_forward, _backward)


class RecurrentEncoder(Network):
    """From (B, T, C) to the last state of the last layer, (B, features)."""

    layers: tuple[Any, ...]
    features: int = eqx.field(static=True)
    missing: int = eqx.field(static=True)

    def __init__(self, event: Event, hidden: tuple[int, ...], family: "Recurrent", make: Making, context: int):
        """Make the layers; where entries can be missing, each step also tells which are there."""
        self.missing = event.missing
        features = event.size + event.missing + context
        self.layers = _layers(features, hidden, family.bidirectional, family.update_bias, make)
        self.features = hidden[-1] * (1 + family.bidirectional)

    def __call__(self, inputs: Array, batch: Batch, training: TrainingPass | None = None) -> Array:
        """Return (B, features) from (B, T, C)."""
        x, last = with_context(with_missing(inputs, batch, self.missing), batch), inputs
        for layer in self.layers:
            if isinstance(layer, GRU):
                x, last = layer(x, batch.steps)
            else:
                x = layer(x, training)
        return last


class RecurrentDecoder(Network):
    """From z, (B, L), to the states of the last layer after each step, (B, T, features)."""

    layers: tuple[Any, ...]
    starts: tuple[Linear, ...]  # from z to the first state of each layer, or none
    features: int = eqx.field(static=True)

    def __init__(self, latent_dim: int, hidden: tuple[int, ...], family: "Recurrent", make: Making):
        """Make the layers; see `Recurrent.decoder`."""
        guided = family.feed == "guided"
        more = waves(1).shape[-1] if guided else 0
        self.layers = _layers(latent_dim + more, hidden, False, family.update_bias, make)
        self.starts = tuple(Linear(latent_dim, width, make.initializer, make.random) for width in hidden * guided)
        self.features = hidden[-1]

    def __call__(self, inputs: Array, batch: Batch, training: TrainingPass | None = None) -> Array:
        """Return (B, T, features) from (B, L); the steps are those of `batch`."""
        count = batch.x.shape[1]
        x: Array = jnp.asarray(waves(count) if self.starts else np.zeros((1, count, 0), np.float32))
        inputs = with_context(inputs, batch)
        constant: Array | None = inputs
        starts = iter(self.starts)
        for layer in self.layers:
            if isinstance(layer, GRU):
                first = jnp.tanh(next(starts)(inputs)) if self.starts else None
                x, _ = layer(x, batch.steps, first, constant)
                constant = None
            else:
                x = layer(x, training)
        return x


@dataclass(frozen=True)
class Recurrent:
    """Gated recurrent units, for sequences; `hidden` are the units of each layer.

    Attributes:
        bidirectional: Whether a second unit reads each series from its end.
        feed: What the decoder is fed. "guided": z makes the first state, and each step gets z and waves of the
            step's number; "repeated": each step gets z and nothing else.
        update_bias: What the bias of the update gate starts at; above 0 a unit keeps its state at first, and so learns
            what lies many steps apart (Jozefowicz, Zaremba and Sutskever, "An Empirical Exploration of Recurrent
            Network Architectures", 2015, of the forget gate of another unit).

    Example:
        >>> Recurrent(feed="repeated")
        Recurrent(bidirectional=False, feed='repeated', update_bias=1.0)
    """

    bidirectional: bool = False
    feed: Literal["guided", "repeated"] = "guided"
    update_bias: float = 1.0
    kinds: ClassVar[tuple[str, ...]] = ("sequences",)
    default_hidden: ClassVar[tuple[int, ...]] = (128,)

    def __post_init__(self) -> None:
        """Check the settings, which are used long after."""
        check_flags(self, "bidirectional")
        check_numbers(self, "update_bias")
        if self.feed not in ("guided", "repeated"):
            raise ParameterError(f"Recurrent(feed={self.feed!r}): expected 'guided' or 'repeated'.")

    def encoder(self, event: Event, hidden: tuple[int, ...], make: Making, context: int = 0) -> RecurrentEncoder:
        """Return a network from x and, at each step, so many columns of context to features."""
        return RecurrentEncoder(event, hidden, self, make, context)

    def decoder(
        self, latent_dim: int, event: Event, hidden: tuple[int, ...], make: Making, context: int = 0
    ) -> RecurrentDecoder:
        """Return a network from z and so many columns of context to the features of each step."""
        return RecurrentDecoder(latent_dim + context, hidden[::-1], self, make)


def _layers(
    features: int, hidden: tuple[int, ...], bidirectional: bool, update_bias: float, make: Making
) -> tuple[Any, ...]:
    if not hidden:
        raise ParameterError("hidden: expected the units of one recurrent layer at least, such as (128,); got ().")
    if make.normalization is not None:
        raise ParameterError(f"normalization={make.normalization!r}: recurrent layers have none; expected None.")
    layers: list[Any] = []
    for number, width in enumerate(hidden):
        if number and make.dropout:
            layers.append(Dropout(make.dropout))
        settings: Any = {"initializer": make.initializer, "random": make.random, "bidirectional": bidirectional}
        layers.append(GRU(features, width, update_bias=update_bias, **settings))
        features = width * (1 + bidirectional)
    return tuple(layers)

"""Temporal convolutions: layers over the steps of a sequence that look at neighbours ever further apart.

A layer takes at step t the steps t - d, t, t + d of the one before, with d doubling from layer to layer, as one matrix
product of shifted views; its output is added to its input (Bai, Kolter and Koltun, "An Empirical Evaluation of Generic
Convolutional and Recurrent Networks for Sequence Modeling", 2018, but looking both ways). Steps that are padding are
set to zero before each layer, as what lies outside of a series alone is.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jax import Array

from omokage.batch import Batch, Event
from omokage.errors import ParameterError, is_count, shown
from omokage.nets.layers import (
    Activation,
    Dropout,
    LayerNorm,
    Linear,
    Making,
    Network,
    TrainingPass,
    waves,
    with_context,
    with_missing,
)


class TemporalLayer(eqx.Module):
    """Shifted views, linear, normalisation, activation, dropout; added to the input where that is as wide."""

    linear: Linear
    layers: tuple[Any, ...]
    dilation: int = eqx.field(static=True)
    kernel: int = eqx.field(static=True)

    def __init__(self, features: int, width: int, kernel: int, dilation: int, make: Making):
        self.linear = Linear(kernel * features, width, make.initializer, make.random)
        self.layers = (
            *([LayerNorm(width)] if make.normalization == "layer" else []),
            Activation(make.activation),
            *([Dropout(make.dropout)] if make.dropout else []),
        )
        self.dilation, self.kernel = dilation, kernel

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of what comes out at each step."""
        return self.linear.shape

    def __call__(self, x: Array, steps: Array | None, training: TrainingPass | None = None) -> Array:
        """Return (B, T, width) from (B, T, features)."""
        if steps is not None:
            x = jnp.where(steps[..., None], x, 0)
        count, reach = x.shape[1], self.dilation * (self.kernel // 2)
        padded = jnp.pad(x, [(0, 0), (reach, reach), (0, 0)])
        views = [padded[:, start : start + count] for start in range(0, 2 * reach + 1, self.dilation)]
        out = self.linear(jnp.concatenate(views, -1))
        for layer in self.layers:
            out = layer(out, training)
        return out + x if out.shape == x.shape else out


class TemporalEncoder(Network):
    """From (B, T, C) to the mean and the greatest of each feature over the steps, (B, 2 · width)."""

    layers: tuple[TemporalLayer, ...]
    features: int = eqx.field(static=True)
    missing: int = eqx.field(static=True)

    def __init__(self, event: Event, hidden: tuple[int, ...], kernel: int, make: Making, context: int):
        """Make the layers; each step also tells its number, and where entries can be missing which are there."""
        self.missing = event.missing
        features = event.size + event.missing + waves(1).shape[-1] + context
        self.layers, self.features = _layers(features, hidden, kernel, make), 2 * hidden[-1]

    def __call__(self, inputs: Array, batch: Batch, training: TrainingPass | None = None) -> Array:
        """Return (B, features) from (B, T, C)."""
        count, steps = inputs.shape[1], batch.steps
        parts = [inputs, jnp.broadcast_to(waves(count), (inputs.shape[0], *waves(count).shape[1:]))]
        x = with_context(with_missing(jnp.concatenate(parts, -1), batch, self.missing), batch)
        for layer in self.layers:
            x = layer(x, steps, training)
        if steps is None:
            return jnp.concatenate([x.mean(1), x.max(1)], -1)
        there = steps[..., None]
        mean = jnp.where(there, x, 0).sum(1) / steps.sum(1)[:, None].clip(1)
        return jnp.concatenate([mean, jnp.where(there, x, -jnp.inf).max(1, initial=-1e30)], -1)


class TemporalDecoder(Network):
    """From z, (B, L), to the features of each step, (B, T, width)."""

    layers: tuple[TemporalLayer, ...]
    features: int = eqx.field(static=True)

    def __init__(self, latent_dim: int, hidden: tuple[int, ...], kernel: int, make: Making):
        """Make the layers; each step is given z and its own number."""
        self.layers = _layers(latent_dim + waves(1).shape[-1], hidden, kernel, make)
        self.features = hidden[-1]

    def __call__(self, inputs: Array, batch: Batch, training: TrainingPass | None = None) -> Array:
        """Return (B, T, features) from (B, L); the steps are those of `batch`."""
        count, inputs = batch.x.shape[1], with_context(inputs, batch)
        places = jnp.broadcast_to(waves(count), (inputs.shape[0], *waves(count).shape[1:]))
        x = jnp.concatenate([jnp.broadcast_to(inputs[:, None], (inputs.shape[0], count, inputs.shape[-1])), places], -1)
        for layer in self.layers:
            x = layer(x, batch.steps, training)
        return x


@dataclass(frozen=True)
class TemporalConvolution:
    """Temporal convolutions, for sequences; `hidden` are the channels of each layer.

    Attributes:
        kernel: Steps that a layer looks at, an odd number.
    """

    kernel: int = 3
    kinds: ClassVar[tuple[str, ...]] = ("sequences",)
    default_hidden: ClassVar[tuple[int, ...]] = (64, 64, 64, 64)

    def __post_init__(self) -> None:
        """Check the settings, which are used long after."""
        if not is_count(self.kernel) or self.kernel % 2 == 0:
            raise ParameterError(
                f"TemporalConvolution(kernel={shown(self.kernel)}): expected an odd whole number of at least 1."
            )

    def encoder(self, event: Event, hidden: tuple[int, ...], make: Making, context: int = 0) -> TemporalEncoder:
        """Return a network from x and, at each step, so many columns of context to features."""
        return TemporalEncoder(event, hidden, self.kernel, make, context)

    def decoder(
        self, latent_dim: int, event: Event, hidden: tuple[int, ...], make: Making, context: int = 0
    ) -> TemporalDecoder:
        """Return a network from z and so many columns of context to the features of each step."""
        return TemporalDecoder(latent_dim + context, hidden[::-1], self.kernel, make)


def _layers(features: int, hidden: tuple[int, ...], kernel: int, make: Making) -> tuple[TemporalLayer, ...]:
    if not hidden:
        raise ParameterError("hidden: expected the channels of one layer at least, such as (64, 64); got ().")
    if make.normalization == "batch":
        raise ParameterError("normalization='batch': padded steps would count; expected 'layer' or None for sequences.")
    layers = []
    for number, width in enumerate(hidden):
        layers.append(TemporalLayer(features, width, kernel, 2**number, make))
        features = width
    return tuple(layers)

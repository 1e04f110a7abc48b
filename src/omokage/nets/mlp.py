"""The multilayer perceptron: linear layer, normalisation, activation, dropout, as often as there are widths."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import equinox as eqx
import numpy as np
from jax import Array

from omokage.batch import Batch, Event
from omokage.nets.layers import (
    INITIALIZERS,
    Activation,
    BatchNorm,
    Dropout,
    Initializer,
    LayerNorm,
    Linear,
    Making,
    Network,
    TrainingPass,
    with_context,
    with_missing,
)


class MLP(Network):
    """A multilayer perceptron from (B, inputs) to (B, features); without widths it is the identity."""

    layers: tuple[Any, ...]
    features: int = eqx.field(static=True)
    missing: int = eqx.field(static=True)

    def __init__(
        self,
        inputs: int,
        widths: Sequence[int],
        *,
        random: np.random.Generator | None,
        activation: str | Callable[[Array], Array] = "relu",
        normalization: str | None = None,
        dropout: float = 0.0,
        initializer: str | Initializer = "lecun_uniform",
        name: str = "",
        missing: int = 0,
    ):
        """Make the layers.

        Args:
            inputs: Features of a row.
            widths: Outputs of each hidden layer, in order.
            random: Where the first weights come from; `None` leaves them blank, to be loaded.
            activation: A key of `ACTIVATIONS`, or a function.
            normalization: "batch", "layer" or `None`; before the activation.
            dropout: The share of entries dropped in training.
            initializer: A key of `INITIALIZERS`, or a function (generator, outputs, inputs) → matrix.
            name: Prefix of the names of batch-norm layers; must differ within a model.
            missing: How many entries can be missing; which are there is told beside the features of a row.
        """
        draw = INITIALIZERS[initializer] if isinstance(initializer, str) else initializer
        layers: list[Any] = []
        inputs, self.missing = inputs + missing, missing
        for width in widths:
            layers.append(Linear(inputs, width, draw, random))
            if normalization == "batch":
                layers.append(BatchNorm(width, f"{name}.{len(layers)}"))
            elif normalization == "layer":
                layers.append(LayerNorm(width))
            layers.append(Activation(activation))
            if dropout:
                layers.append(Dropout(dropout))
            inputs = width
        self.layers = tuple(layers)
        self.features = inputs

    @staticmethod
    def of(inputs: int, widths: Sequence[int], make: Making, missing: int = 0) -> "MLP":
        """Return a perceptron made like all networks of a model."""
        return MLP(
            inputs,
            widths,
            random=make.random,
            activation=make.activation,
            normalization=make.normalization,
            dropout=make.dropout,
            initializer=make.initializer,
            name=make.name,
            missing=missing,
        )

    def __call__(self, inputs: Array, batch: Batch | None = None, training: TrainingPass | None = None) -> Array:
        """Return (B, features) from (B, ...), which with the context of `batch` has as many entries as `inputs`."""
        x = with_context(with_missing(inputs.reshape(inputs.shape[0], -1), batch, self.missing), batch)
        for layer in self.layers:
            x = layer(x, training)
        return x


@dataclass(frozen=True)
class Dense:
    """Multilayer perceptrons, the decoder's widths in the opposite order of the encoder's.

    Rows of any shape are taken flat.
    """

    kinds: ClassVar[tuple[str, ...]] = ("vectors", "images")
    default_hidden: ClassVar[tuple[int, ...]] = (512, 256)

    def encoder(self, event: Event, hidden: tuple[int, ...], make: Making, context: int = 0) -> MLP:
        """Return a network from x and so many columns of context to features."""
        return MLP.of(event.size + context, hidden, make, event.missing)

    def decoder(self, latent_dim: int, event: Event, hidden: tuple[int, ...], make: Making, context: int = 0) -> MLP:
        """Return a network from z and so many columns of context to features."""
        return MLP.of(latent_dim + context, hidden[::-1], make)

"""The multilayer perceptron: linear layer, normalisation, activation, dropout, as often as there are widths."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import numpy as np
from jax import Array

from omokage.nets.layers import (
    INITIALIZERS,
    Activation,
    BatchNorm,
    Dropout,
    Initializer,
    LayerNorm,
    Linear,
    TrainingPass,
)


class MLP(eqx.Module):
    """A multilayer perceptron from (B, inputs) to (B, features); without widths it is the identity."""

    layers: tuple[Any, ...]
    features: int = eqx.field(static=True)

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
        """
        draw = INITIALIZERS[initializer] if isinstance(initializer, str) else initializer
        layers: list[Any] = []
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

    def __call__(self, x: Array, training: TrainingPass | None = None) -> Array:
        """Return (B, features) from (B, inputs)."""
        for layer in self.layers:
            x = layer(x, training)
        return x

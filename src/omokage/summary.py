"""The table of a model's layers: what each gives and how many parameters it has."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np

from omokage.density import Density
from omokage.model import Model
from omokage.nets.layers import trainable
from omokage.posteriors import PointMass
from omokage.tables import aligned, html_table

_KINDS = {"Head": "Linear"}  # what a head is where it is no more than that


class Layer(NamedTuple):
    """One row of the table; `shape` is that of its output, without the rows."""

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int


class Summary(tuple[Layer, ...]):
    """The layers of a model; it prints as a table, and a notebook shows one.

    Example:
        >>> print(Summary([Layer("posterior.layers.0", "Linear", (10,), 50)]))
        layer              kind   output shape parameters
        posterior.layers.0 Linear (n, 10)              50
        total                                          50
    """

    __slots__ = ()

    @property
    def total(self) -> int:
        """The number of trained parameters."""
        return sum(layer.parameters for layer in self)

    def __str__(self) -> str:
        lines = [("layer", "kind", "output shape", "parameters")]
        lines += [
            (layer.name, layer.kind, f"(n, {', '.join(map(str, layer.shape))})", f"{layer.parameters:,}")
            for layer in self
        ]
        lines.append(("total", "", "", f"{self.total:,}"))
        return aligned(lines, right=(3,))

    def _repr_html_(self) -> str:
        rows = [(layer.name, layer.kind, " × ".join(map(str, layer.shape)), f"{layer.parameters:,}") for layer in self]
        return html_table(f"{self.total:,} parameters", ["layer", "kind", "output", "parameters"], rows)


def summary(model: Model) -> Summary:
    """Return the layers of a model, in the order in which data pass them; of a plain autoencoder without p(z).

    Its density of codes was fitted afterwards, and is no part of what was trained.
    """
    parts = [*_part("posterior", model.posterior), *_part("likelihood", model.likelihood)]
    if not isinstance(model.posterior.family, PointMass):
        parts += _part("prior", model.prior)
    return Summary(parts)


def _part(name: str, density: Density) -> list[Layer]:
    rows = []
    features: tuple[int, ...] = ()
    for number, layer in enumerate(getattr(density.network, "layers", ())):
        features = getattr(layer, "shape", features)
        rows.append(Layer(f"{name}.layers.{number}", type(layer).__name__, features, count(layer)))
    rows += [
        Layer(f"{name}.{key}", _KINDS.get(type(head).__name__, type(head).__name__), head.shape, count(head))
        for key, head in density.heads.items()
    ]
    rows += [
        Layer(f"{name}.{key}", "learned", np.shape(value), np.size(value))
        for key, value in {**density.learned, **density.encoded}.items()
    ]
    return rows


def count(module: Any) -> int:
    """Return the number of trained parameters in a module."""
    return sum(np.size(leaf) for leaf in jax.tree.leaves(eqx.filter(module, trainable(module))))

"""The table of a model's layers: what each gives and how many parameters it has."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from unicodedata import east_asian_width

import equinox as eqx
import jax
import numpy as np

from omokage.density import Density
from omokage.model import Model
from omokage.nets.layers import trainable
from omokage.posteriors import PointMass

_KINDS = {"Head": "Linear"}  # what a head is where it is no more than that


class Layer(NamedTuple):
    """One row of the table; `shape` is that of its output, without the rows."""

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int


class Summary(tuple[Layer, ...]):
    """The layers of a model; it prints as a table.

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


def aligned(lines: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Return cells in columns, those numbered in `right` flush right; nothing is cut, however narrow the terminal is.

    Japanese letters are two wide.

    Example:
        >>> print(aligned([("column", "scale"), ("温度", "2.5")], right=(1,)))
        column scale
        温度     2.5
    """
    widths = [max(_width(line[j]) for line in lines) for j in range(len(lines[0]))] if lines else []

    def padded(cell: str, j: int) -> str:
        gap = " " * (widths[j] - _width(cell))
        return gap + cell if j in right else cell + gap

    return "\n".join(" ".join(padded(cell, j) for j, cell in enumerate(line)).rstrip() for line in lines)


def _width(text: str) -> int:
    return sum(1 + (east_asian_width(letter) in "WF") for letter in text)


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

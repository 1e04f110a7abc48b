"""Weights, layer by layer: one looks at them to see whether and where they grow, die or stay as they were."""

from __future__ import annotations  # so that signatures show `ArrayLike`, not the union behind it

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from omokage.errors import DataError
from omokage.plots.checks import numbers
from omokage.plots.mosaic import tiled
from omokage.plots.style import SIGNED, TRAINING, bare_axes, blank_figure, plain_axes, short_number, titles

_COLUMNS = 2
_UNITS = (8, 4)  # columns and rows of pictures, one for each unit
_BINS = 40


def weight_panels(arrays: Mapping[str, ArrayLike], *, shape: Sequence[int] | None = None) -> Figure:
    """Draw the weights of a model, a panel for each array: their distribution, or pictures.

    Args:
        arrays: Name to weights of any shape. A matrix is (outputs, inputs), as layers here hold it.
        shape: (height, width) of the pictures that go in. A matrix from or to as many pixels is then drawn as pictures,
            one for each of the first 32 units: blue below zero, orange above.

    Raises:
        DataError: If there is no array, or one holds nothing.

    Example:
        >>> len(weight_panels({"first": [[1.0, -1.0]], "second": [[2.0]]}).axes)
        2
    """
    if not arrays:
        raise DataError("arrays: expected at least one array of weights by its name; got none.")
    found = {name: numbers(values, f"arrays[{name!r}]") for name, values in arrays.items()}
    if empty := [name for name, values in found.items() if not values.size]:
        raise DataError(f"arrays[{empty[0]!r}]: expected at least one number; got shape {found[empty[0]].shape}.")
    if shape is not None and (len(shape) != 2 or min(shape) < 1):
        raise DataError(f"shape: expected (height, width); got {tuple(shape)!r}.")
    columns = min(_COLUMNS, len(found))
    rows = -(-len(found) // columns)
    figure = blank_figure((1.75 if columns > 1 else 2.7) * rows)
    for number, (name, values) in enumerate(found.items()):
        axes = figure.add_subplot(rows, columns, number + 1)
        units = None if shape is None else _as_units(values, shape)
        if units is None:
            _draw_histogram(plain_axes(axes), values)
        else:
            _draw_units(bare_axes(axes), units)
        titles(axes, title=_ending(str(name)), x=_described(values))
    return figure


def _as_units(values: NDArray[np.float64], shape: Sequence[int]) -> NDArray[np.float64] | None:
    """Return a matrix from or to pixels as pictures, (units, height, width); others are none."""
    pixels = math.prod(shape)
    if values.ndim != 2 or pixels < 2 or pixels not in values.shape:
        return None
    units = values if values.shape[1] == pixels else values.T
    return units.reshape(-1, *shape)


def _draw_histogram(axes: Axes, values: NDArray[np.float64]) -> None:
    finite = values[np.isfinite(values)]
    counts, edges = np.histogram(finite, bins=_BINS)
    axes.stairs(counts, edges, color=TRAINING, fill=True, linewidth=0)
    axes.set_ylim(0, max(int(counts.max()), 1) * 1.05)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    axes.grid(visible=False, axis="x")


def _draw_units(axes: Axes, units: NDArray[np.float64]) -> None:
    across, down = _UNITS
    shown = units[: across * down]
    columns = min(across, len(shown))
    padded = np.concatenate([shown, np.full((-len(shown) % columns, *shown.shape[1:]), np.nan)])
    # A quantile, since a few strong weights shall not make all others pale.
    finite = np.abs(shown[np.isfinite(shown)])
    extreme = (float(np.quantile(finite, 0.995)) if finite.size else 0.0) or 1.0
    canvas = tiled(padded.reshape(-1, columns, *shown.shape[1:]), (-extreme, extreme), SIGNED)
    axes.imshow(canvas, interpolation="none", aspect="equal", origin="upper")


def _described(values: NDArray[np.float64]) -> str:
    finite = values[np.isfinite(values)]
    words = f"mean {short_number(finite.mean())}, deviation {short_number(finite.std())}" if finite.size else ""
    lost = values.size - finite.size
    size = " × ".join(map(str, values.shape))
    return ", ".join(filter(None, [size, words, f"{lost:,} not finite" if lost else ""]))


def _ending(name: str, most: int = 34) -> str:
    """Return the end of a long name, where names of weights differ."""
    return name if len(name) <= most else "…" + name[1 - most :]

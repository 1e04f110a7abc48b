"""Made rows of a table beside real ones: columns by themselves, pairs of columns, distances to training rows."""

from __future__ import annotations  # so that signatures show `ArrayLike`, not the union behind it

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import ArrayLike, NDArray

from omokage.errors import DataError
from omokage.plots.checks import numbers
from omokage.plots.style import (
    HEAT,
    INK,
    SMALL,
    TRAINING,
    VALIDATION,
    blank_figure,
    fonts,
    legend,
    plain_axes,
    plain_bar,
    plain_ticks,
    shortened,
    titles,
)

_BINS, _LEVELS, _ACROSS = 30, 8, 2
_MOST = 30  # columns of a heat map
_FAR = 0.005  # share of the real values at each end that all stand in one bar


def marginals(real: Mapping[str, ArrayLike], made: Mapping[str, ArrayLike]) -> Figure:
    """Draw how columns are distributed, of real rows (filled) and of made rows (a line), a panel for each.

    Of numbers and times it is a histogram, whose last bars hold what is beyond; of text the shares of the eight most
    frequent levels. NaN, NaT and empty text do not count.

    Args:
        real: Name to values, (n,): numbers, `datetime64`, or text.
        made: The same of made rows, (m,).

    Raises:
        DataError: If there is no column, or the names differ, or a column has no value.

    Example:
        >>> len(marginals({"a": [1.0, 2.0], "b": ["x", "y"]}, {"a": [1.5, 2.0], "b": ["x", "x"]}).axes)
        2
    """
    if not real or real.keys() != made.keys():
        raise DataError(f"real, made: expected the same columns, at least one; got {list(real)} and {list(made)}.")
    down = -(-len(real) // _ACROSS)
    figure = blank_figure(0.4 + 1.7 * down)
    for number, name in enumerate(real):
        pair = [np.asarray(values) for values in (real[name], made[name])]
        axes = plain_axes(figure.add_subplot(down, min(_ACROSS, len(real)), number + 1))
        if all(values.dtype.kind in "OUS" for values in pair):
            first, second = (values[values.astype(str) != ""].astype(str) for values in pair)
            _draw_levels(axes, first, second, name)
        elif all(values.dtype.kind == "M" for values in pair):
            days = [values.astype("datetime64[s]")[~np.isnat(values)].astype(np.float64) / 86_400 for values in pair]
            _draw_histogram(axes, days[0], days[1], name)
            axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda day, _: str(np.datetime64(int(day), "D"))))
        else:
            found = [numbers(values, name) for values in pair]
            _draw_histogram(axes, found[0][np.isfinite(found[0])], found[1][np.isfinite(found[1])], name)
        titles(axes, title=shortened(str(name), 30))
    handles = [Patch(color=TRAINING, alpha=0.5), Patch(facecolor="none", edgecolor=VALIDATION)]
    legend(figure, handles, ["real rows", "made rows"], loc="outside upper right", ncols=2)
    return figure


def _draw_histogram(axes: Axes, real: NDArray[np.float64], made: NDArray[np.float64], name: str) -> None:
    if not len(real) or not len(made):
        raise DataError(f"column {name!r}: expected at least one value in real and in made rows.")
    low, high = np.quantile(real, [_FAR, 1 - _FAR])
    if not high > low:
        low, high = float(min(real.min(), made.min())), float(max(real.max(), made.max()))
    edges = np.linspace(low, high if high > low else low + 1, _BINS + 1)
    shares = [np.histogram(np.clip(part, edges[0], edges[-1]), edges)[0] / len(part) for part in (real, made)]
    axes.stairs(shares[0], edges, color=TRAINING, fill=True, alpha=0.5, linewidth=0)
    axes.stairs(shares[1], edges, color=VALIDATION, fill=False, linewidth=1.3)
    axes.set_xlim(edges[0], edges[-1])
    axes.xaxis.set_major_locator(MaxNLocator(4))
    _shares_along(axes.yaxis)
    axes.grid(visible=False, axis="x")


def _draw_levels(axes: Axes, real: NDArray[Any], made: NDArray[Any], name: str) -> None:
    if not len(real) or not len(made):
        raise DataError(f"column {name!r}: expected at least one value in real and in made rows.")
    levels, counts = np.unique(real, return_counts=True)
    shown = levels[np.argsort(-counts, kind="stable")][:_LEVELS]
    places = np.arange(len(shown))
    shares = [[float((part == level).mean()) for level in shown] for part in (real, made)]
    axes.barh(places, shares[0], height=0.72, color=TRAINING, alpha=0.5, linewidth=0)
    axes.barh(places, shares[1], height=0.72, facecolor="none", edgecolor=VALIDATION, linewidth=1.3)
    axes.set_ylim(max(len(shown), 3) - 0.4, -0.6)
    names = [shortened(str(level), 14) for level in shown]
    axes.set_yticks(places, names, parse_math=False, color=INK, fontfamily=fonts(*names), fontsize=SMALL - 1)
    _shares_along(axes.xaxis)
    axes.grid(visible=False, axis="y")


def _shares_along(axis: Any) -> None:
    axis.set_major_locator(MaxNLocator(3))
    axis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g} %"))


def pair_heat_map(gaps: Mapping[tuple[str, str], float], *, unit: str = "") -> Figure:
    """Draw a number for each pair of columns, such as how far it is from hanging together as in real rows.

    0 and less is pale. Of more than 30 columns the 30 are drawn whose pairs have the largest numbers. A pair without a
    number stays empty.

    Args:
        gaps: The numbers, for each pair of names, such as one minus those of `omokage.synthetic.pair_trends`.
        unit: What they are, for the title.

    Raises:
        DataError: If there is no pair.

    Example:
        >>> len(pair_heat_map({("a", "b"): 0.9, ("a", "c"): 0.5, ("b", "c"): 1.0}).axes)
        2
    """
    if not gaps:
        raise DataError("gaps: expected at least one pair of columns; got none.")
    names = list(dict.fromkeys(name for pair in gaps for name in pair))
    matrix = np.full((len(names), len(names)), np.nan)
    for (one, two), gap in gaps.items():
        j, k = names.index(one), names.index(two)
        matrix[j, k] = matrix[k, j] = gap
    kept = np.arange(len(names))
    if len(names) > _MOST:
        kept = np.sort(np.argsort(-np.nan_to_num(matrix).max(1), kind="stable")[:_MOST])
    matrix = matrix[np.ix_(kept, kept)]
    shown = [shortened(str(names[j]), 18) for j in kept]
    figure = blank_figure(min(1.6 + 0.27 * len(kept), 6.2))
    axes = figure.add_subplot()
    axes.set_facecolor("none")
    for spine in axes.spines.values():
        spine.set_visible(False)
    most = max(float(np.nanmax(matrix, initial=0.0)), 0.1)
    mesh = axes.pcolormesh(np.ma.masked_invalid(matrix), cmap=HEAT, vmin=0, vmax=most, edgecolors="none")
    axes.invert_yaxis()
    axes.set_aspect("equal")
    places = np.arange(len(kept)) + 0.5
    plain_ticks(axes)
    text: dict[str, Any] = {"parse_math": False, "color": INK, "fontfamily": fonts(*shown), "fontsize": SMALL - 1}
    axes.set_xticks(places, shown, rotation=90, **text)
    axes.set_yticks(places, shown, **text)
    plain_bar(figure.colorbar(mesh, ax=axes, shrink=0.7, pad=0.02))
    part = f", the farthest {_MOST} of {len(names)} columns" if len(names) > _MOST else ""
    titles(axes, title=f"{unit}{part}")
    return figure


def closest_row_histogram(made: ArrayLike, held_out: ArrayLike) -> Figure:
    """Draw how far made rows, and held-out rows, are from the closest training row.

    Args:
        made: Distances of made rows, (n,), as `omokage.synthetic.closest_distances` gives them.
        held_out: Those of held-out rows, (m,).

    Raises:
        DataError: If one of them is empty.

    Example:
        >>> len(closest_row_histogram([0.1, 0.2], [0.2, 0.4]).axes)
        1
    """
    figure = blank_figure(2.4)
    axes = plain_axes(figure.add_subplot())
    _draw_histogram(axes, numbers(held_out, "held_out"), numbers(made, "made"), "distance")
    titles(axes, x="distance to the closest training row", y="share of rows")
    handles = [Patch(color=TRAINING, alpha=0.5), Patch(facecolor="none", edgecolor=VALIDATION)]
    legend(figure, handles, ["held-out rows", "made rows"], loc="outside upper right", ncols=2)
    return figure

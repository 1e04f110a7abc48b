"""Codes in a plane, and what labels are to points."""

from __future__ import annotations  # so that signatures show `ArrayLike`, not the union behind it

from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike, NDArray

from omokage.errors import DataError
from omokage.plots.checks import codes
from omokage.plots.style import (
    CLASSES,
    INK,
    MUTED,
    PAPER,
    POINTS,
    TEXT,
    TRAINING,
    blank_figure,
    fonts,
    legend,
    plain_axes,
    plain_bar,
    short_number,
    shortened,
    titles,
)

_INTERVALS = 6


class Kind(NamedTuple):
    """Points that are drawn alike."""

    name: str  # empty where there are no labels
    colour: str
    members: NDArray[np.bool_]  # (n,)


def latent_scatter(Z: ArrayLike, labels: ArrayLike | None = None) -> Figure:
    """Draw codes as points: as they are if they have two dimensions, else their first two principal components.

    Codes of one dimension are drawn against the share of rows below them.

    Args:
        Z: (n, L).
        labels: One for each row, (n,): up to ten kinds get colours and names (the rarest beyond nine are "other"), and
            fractional numbers a colour scale.

    Raises:
        DataError: If Z is not a matrix with at least two rows, or has a number that is not finite, or there is not one
            label for each row.
    """
    Z = codes(Z, "Z", rows=2)
    points, words = _plane(Z)
    figure = blank_figure(4.4)
    axes = plain_axes(figure.add_subplot())
    titles(axes, **words)
    style: dict[str, Any] = {"s": 11, "linewidths": 0, "alpha": 0.85, "rasterized": len(Z) > POINTS}
    kinds = as_labels(labels, len(Z))
    if kinds is None:
        axes.scatter(points[:, 0], points[:, 1], color=TRAINING, **style)
    elif is_scale(kinds):
        drawn = axes.scatter(points[:, 0], points[:, 1], c=kinds, cmap="viridis", **style)
        plain_bar(figure.colorbar(drawn, ax=axes, fraction=0.05, pad=0.02))
    else:
        _draw_kinds(axes, points, kinds, style)
    return figure


def as_labels(labels: ArrayLike | None, rows: int) -> NDArray[Any] | None:
    """Return labels as an array of one for each row."""
    if labels is None:
        return None
    kinds = np.asarray(labels)
    if kinds.shape != (rows,):
        raise DataError(f"labels: expected one for each of the {rows} rows; got shape {kinds.shape}.")
    return kinds


def is_scale(labels: NDArray[Any]) -> bool:
    """Say whether labels are fractional numbers, for a colour scale."""
    return labels.dtype.kind == "f" and not np.equal(np.mod(labels, 1), 0).all()


def kinds_of(labels: NDArray[Any] | None, rows: int) -> list[Kind]:
    """Return what is drawn alike: at most ten kinds, the rarest as "other"; fractional numbers in intervals."""
    if labels is None:
        return [Kind("", TRAINING, np.ones(rows, bool))]
    if is_scale(labels):
        return _intervals(labels)
    names, counts = np.unique(labels, return_counts=True)
    if len(names) > len(CLASSES):
        common = names[np.sort(np.argsort(-counts, kind="stable")[: len(CLASSES) - 1])]
        groups = [(str(name), labels == name) for name in common] + [("other", ~np.isin(labels, common))]
    else:
        groups = [(str(name), labels == name) for name in names]
    return [Kind(name, colour, members) for (name, members), colour in zip(groups, CLASSES, strict=False)]


def principal_components(Z: NDArray[np.float64], count: int) -> tuple[NDArray[np.float64], float]:
    """Return the first principal components of codes, (n, count), and their share of the variance."""
    centred = Z - Z.mean(0)
    _, lengths, directions = np.linalg.svd(centred, full_matrices=False)
    # Singular vectors come with either sign.
    directions = directions[:count] * np.sign(directions[:count].sum(1, keepdims=True) + 1e-300)
    share = float(np.square(lengths[:count]).sum() / max(np.square(lengths).sum(), 1e-300))
    found = centred @ directions.T
    return np.pad(found, ((0, 0), (0, count - found.shape[1]))), share  # fewer rows than dimensions give fewer


def marks(kinds: list[Kind]) -> list[Line2D]:
    """Return a dot in each kind's colour, for a legend."""
    style: dict[str, Any] = {"linestyle": "", "marker": "o", "markersize": 5, "markeredgewidth": 0}
    return [Line2D([], [], color=kind.colour, **style) for kind in kinds]


def _intervals(values: NDArray[Any]) -> list[Kind]:
    there = values[np.isfinite(values)]
    edges = np.linspace(there.min(), there.max(), _INTERVALS + 1)
    places = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, _INTERVALS - 1)
    # Neither end of the map, which dark or light paper would swallow.
    colours = matplotlib.colormaps["viridis"](np.linspace(0.2, 0.95, _INTERVALS))
    found = [
        Kind(
            f"{short_number(edges[j])} to {short_number(edges[j + 1])}",
            to_hex(colours[j]),
            (places == j) & np.isfinite(values),
        )
        for j in range(_INTERVALS)
    ]
    if len(there) < len(values):
        found.append(Kind("missing", MUTED, ~np.isfinite(values)))
    return found


def _plane(Z: NDArray[np.float64]) -> tuple[NDArray[np.float64], dict[str, str]]:
    """Return where codes are drawn, (n, 2), and the titles."""
    if Z.shape[1] == 1:
        below = np.empty(len(Z))
        below[np.argsort(Z[:, 0], kind="stable")] = np.linspace(0, 1, len(Z))
        return np.column_stack([Z[:, 0], below]), {"x": "z", "y": "share of rows below", "title": "posterior means"}
    if Z.shape[1] == 2:
        return Z, {"x": "z, first dimension", "y": "z, second dimension", "title": "posterior means"}
    points, share = principal_components(Z, 2)
    title = f"first two principal components of {Z.shape[1]} dimensions, {share:.0%} of the variance"
    return points, {"x": "first component", "y": "second component", "title": title}


def _draw_kinds(axes: Axes, points: NDArray[np.float64], labels: NDArray[Any], style: dict[str, Any]) -> None:
    kinds = kinds_of(labels, len(points))
    medians = np.array([np.median(points[kind.members], 0) for kind in kinds])
    spots = apart(medians, np.ptp(points, 0) * [0.06, 0.05])
    for kind, spot in zip(kinds, spots, strict=True):
        axes.scatter(points[kind.members, 0], points[kind.members, 1], color=kind.colour, **style)
        # A name where its points are, so that nobody has to go by colour alone.
        box: dict[str, Any] = {"boxstyle": "round,pad=0.2", "facecolor": PAPER, "alpha": 0.92}
        box |= {"edgecolor": kind.colour, "linewidth": 1.4}
        text: dict[str, Any] = {"fontsize": TEXT, "fontfamily": fonts(kind.name), "color": INK, "bbox": box}
        text |= {"ha": "center", "va": "center", "parse_math": False, "in_layout": False}
        axes.text(spot[0], spot[1], shortened(kind.name, 12), **text)
    legend(axes, marks(kinds), [kind.name for kind in kinds], loc="center left", bbox_to_anchor=(1.0, 0.5))


def apart(spots: NDArray[np.float64], size: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return spots, (n, 2), moved just so far that boxes of that size around them do not cover one another."""
    if not (size > 0).all():
        return spots
    spots = spots / size
    for _ in range(100):
        away = spots[:, None] - spots[None]
        order = np.sign(np.arange(len(spots))[:, None] - np.arange(len(spots)))  # for spots in one place
        overlap = np.maximum(1 - np.abs(away).max(2), 0) * (order != 0)
        if not overlap.any():
            break
        upwards = np.where(away[..., 1] != 0, np.sign(away[..., 1]), order)
        spots = spots + 0.25 * (overlap * upwards).sum(1)[:, None] * [0, 1]
    return spots * size

"""Rows that are sequences: curves over steps, what a model makes of them, and where it finds them strange."""

from __future__ import annotations  # so that signatures show `ArrayLike`, not the union behind it

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from omokage.errors import DataError
from omokage.plots.checks import numbers
from omokage.plots.style import (
    CLASSES,
    HEAT,
    INK,
    TRAINING,
    VALIDATION,
    bare_axes,
    blank_figure,
    legend,
    plain_axes,
    shortened,
    titles,
)

_CHANNELS, _SEQUENCES = 12, 12  # that are shown
_IMPUTED = CLASSES[1]

Many = Any  # ArrayLike or a sequence of such, which the checker of types cannot tell apart


class _One(NamedTuple):
    """A sequence and all that is drawn with it; T differs between them, C does not."""

    original: NDArray[np.float64]  # (T, C)
    reconstructed: NDArray[np.float64]  # (T', C)
    deviations: NDArray[np.float64] | None  # (T', C)
    imputed: NDArray[np.bool_] | None  # (T, C)
    scores: NDArray[np.float64] | None  # (T, 1) or (T, C)
    title: str


def sequences(
    originals: Many,
    reconstructed: Many,
    *,
    deviations: Many | None = None,
    imputed: Many | None = None,
    scores: Many | None = None,
    names: Sequence[object] | None = None,
    sequence_names: Sequence[object] | None = None,
) -> Figure:
    """Draw sequences and what a model makes of them, over steps, a panel for each channel.

    Every argument is one sequence, (T,) or (T, C), or a list of sequences, which may differ in length; each stands in
    a column of its own, and sequences of one channel beside and below one another. At most 12 channels and 12
    sequences are drawn.

    Args:
        originals: What was observed. NaN is a missing entry, and a gap in the line.
        reconstructed: What the model makes of it; it may be longer, where it goes on, or shorter.
        deviations: Standard deviations of p(x|z), shaped as `reconstructed`: a band of two either way.
        imputed: True where an entry was filled in, (T,) or (T, C): such stretches are highlighted.
        scores: How strange each step is, (T,), or each entry, (T, C): a strip below the curve, darker where it is
            stranger, NaN empty.
        names: Of the channels.
        sequence_names: Of the sequences, above each.

    Raises:
        DataError: If numbers of sequences, channels or steps do not fit, or a deviation is negative.

    Example:
        >>> len(sequences([1.0, 2.0, 3.0], [1.1, 1.9, 3.2]).axes)
        1
    """
    shown, channels = _gathered(originals, reconstructed, deviations, imputed, scores, sequence_names)
    called = [str(name) for name in names] if names is not None else _numbered(channels)
    if len(called) != channels:
        raise DataError(f"names: expected one for each of the {channels} channels; got {len(called)}.")
    drawn = min(channels, _CHANNELS)
    many = len(shown)
    columns = min(3, many) if drawn == 1 else many
    rows = -(-many // columns) if drawn == 1 else drawn
    height = 2.2 if rows == 1 else (1.5 if rows <= 4 else 1.15)
    figure = blank_figure(0.75 + height * rows + (0.3 if scores is not None else 0.0))
    # Scores of steps have one strip for all channels, those of entries one for each.
    strips = [
        any(one.scores is not None and (row == rows - 1 or drawn == 1 or one.scores.shape[1] > 1) for one in shown)
        for row in range(rows)
    ]
    heights = [share for below in strips for share in ((8, 1) if below else (8,))]
    cells = figure.add_gridspec(len(heights), columns, height_ratios=heights)
    heat = _limits([one.scores for one in shown])
    for number, one in enumerate(shown):
        for channel in range(drawn):
            row, column = divmod(number, columns) if drawn == 1 else (channel, number)
            at = row + sum(strips[:row])
            axes = plain_axes(figure.add_subplot(cells[at, column]))
            _draw_curves(axes, one, channel)
            axes.set_ylim(*_limits_of_channel(shown, channel))
            words = [one.title] * (drawn == 1 or channel == 0) + [called[channel]] * (column == 0)
            bottom = number + columns >= many if drawn == 1 else channel == drawn - 1
            below = "step" if bottom else ""
            titles(axes, title=shortened(", ".join(filter(None, words)), 30), x="" if strips[row] else below)
            axes.tick_params(labelbottom=bottom or drawn == 1)
            if strips[row] and one.scores is not None:
                strip = bare_axes(figure.add_subplot(cells[at + 1, column]))
                _draw_strip(strip, one.scores[:, min(channel, one.scores.shape[1] - 1)], heat)
                strip.set_xlim(axes.get_xlim())
                titles(strip, x=below)
    _legend(figure, shown, heat, f"the first {drawn} of {channels} channels" if drawn < channels else "")
    return figure


def _gathered(
    originals: Many,
    reconstructed: Many,
    deviations: Many | None,
    imputed: Many | None,
    scores: Many | None,
    sequence_names: Sequence[object] | None,
) -> tuple[list[_One], int]:
    """Return the sequences that are drawn, and how many channels they have."""
    first = _several(originals, "originals")
    channels = first[0].shape[1]
    others = {
        "reconstructed": _several(reconstructed, "reconstructed"),
        "deviations": None if deviations is None else _several(deviations, "deviations"),
        "imputed": None if imputed is None else _several(imputed, "imputed"),
        "scores": None if scores is None else _several(scores, "scores"),
    }
    names = [""] * len(first) if sequence_names is None else [str(name) for name in sequence_names]
    counts = {name: len(values) for name, values in others.items() if values is not None}
    for name, count in {**counts, "sequence_names": len(names)}.items():
        if count != len(first):
            raise DataError(f"{name}: expected {len(first)} sequences, as many as originals; got {count}.")
    shown = []
    for number, original in enumerate(first[:_SEQUENCES]):
        part = {name: None if values is None else values[number] for name, values in others.items()}
        where = "" if len(first) == 1 else f" (sequence {number})"
        second = part["reconstructed"]
        assert second is not None
        if original.shape[1] != channels or second.shape[1] != channels:
            name, found = ("originals", original) if original.shape[1] != channels else ("reconstructed", second)
            raise DataError(f"{name}{where}: expected {channels} channels; got {found.shape[1]}.")
        band = _fitting(part["deviations"], second, f"deviations{where}", "reconstructed", (channels,))
        if band is not None and (band < 0).any():
            raise DataError(f"deviations{where}: expected standard deviations of zero or more; got {band.min():.4g}.")
        filled = _fitting(part["imputed"], original, f"imputed{where}", "originals", (1, channels))
        heat = _fitting(part["scores"], original, f"scores{where}", "originals", (1, channels))
        mask = None if filled is None else np.broadcast_to(filled > 0, original.shape)
        shown.append(_One(original, second, band, mask, heat, names[number]))
    return shown, channels


def _several(values: Many, name: str) -> list[NDArray[np.float64]]:
    """Return one sequence or many as a list of (T, C)."""
    listed = isinstance(values, list | tuple) and len(values) > 0 and np.ndim(values[0]) > 0
    parts = [numbers(part, name) for part in (values if listed else [values])]
    if len(parts) == 1 and parts[0].ndim == 3:
        parts = list(parts[0])
    for part in parts:
        if part.ndim not in (1, 2) or not part.size:
            raise DataError(
                f"{name}: expected a sequence of shape (T,) or (T, C), or a list of such; got shape {part.shape}."
            )
    return [part[:, None] if part.ndim == 1 else part for part in parts]


def _fitting(
    values: NDArray[np.float64] | None,
    other: NDArray[np.float64],
    name: str,
    called: str,
    channels: tuple[int, ...],
) -> NDArray[np.float64] | None:
    if values is not None and (len(values) != len(other) or values.shape[1] not in channels):
        wanted = " or ".join(f"({len(other)}, {count})" for count in sorted(set(channels)))
        raise DataError(f"{name}: expected shape {wanted}, to fit {called}; got {values.shape}.")
    return values


def _draw_strip(axes: Axes, scores: NDArray[np.float64], heat: tuple[float, float]) -> None:
    low, high = heat
    edges = (-0.5, len(scores) - 0.5, 0.0, 1.0)
    look: dict[str, Any] = {"cmap": HEAT, "vmin": low, "vmax": high, "interpolation": "none", "origin": "upper"}
    axes.imshow(scores[None], extent=edges, aspect="auto", **look)


def _draw_curves(axes: Axes, one: _One, channel: int) -> None:
    steps = max(len(one.original), len(one.reconstructed))
    if one.imputed is not None:
        for start, end in _runs(one.imputed[:, channel]):
            axes.axvspan(start - 0.5, end - 0.5, color=_IMPUTED, alpha=0.25, linewidth=0)
    if one.deviations is not None:
        middle, reach = one.reconstructed[:, channel], 2 * one.deviations[:, channel]
        places = np.arange(len(middle))
        axes.fill_between(places, middle - reach, middle + reach, color=VALIDATION, alpha=0.22, linewidth=0)
    for values, colour, width in ((one.original, TRAINING, 1.5), (one.reconstructed, VALIDATION, 1.2)):
        line = values[:, channel]
        style: dict[str, Any] = {"color": colour, "linestyle": "-", "solid_capstyle": "round"}
        axes.plot(np.arange(len(line)), line, linewidth=width, marker="", **style)
        if len(alone := _alone(line)):  # a line of one point cannot be seen
            axes.plot(alone, line[alone], color=colour, linestyle="", marker="o", markersize=2.5)
    axes.set_xlim(-0.5, steps - 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.6g}".replace("-", "−")))


def _legend(figure: Figure, shown: list[_One], heat: tuple[float, float], note: str) -> None:
    line: dict[str, Any] = {"linestyle": "-", "marker": ""}
    entries: list[tuple[Any, str]] = [
        (Line2D([], [], color=TRAINING, linewidth=1.5, **line), "original"),
        (Line2D([], [], color=VALIDATION, linewidth=1.2, **line), "reconstruction"),
    ]
    if any(one.deviations is not None for one in shown):
        entries.append((Patch(color=VALIDATION, alpha=0.22, linewidth=0), "± 2 deviations"))
    if any(one.imputed is not None for one in shown):
        entries.append((Patch(color=_IMPUTED, alpha=0.25, linewidth=0), "imputed"))
    if any(one.scores is not None for one in shown):
        low, high = (f"{value:.2g}".replace("-", "−") for value in heat)
        entries.append((Patch(color=HEAT(1.0), linewidth=0), f"score, {low} to {high}"))
    handles, names = zip(*entries, strict=True)
    legend(figure, handles, names, loc="outside upper right", ncols=3 if len(names) > 4 else len(names))
    if note:
        figure.supxlabel(note, fontsize=8, color=INK)


def _runs(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the stretches where a mask is true, each with its first step and the one after its last.

    Example:
        >>> _runs(np.array([True, True, False, True]))
        [(0, 2), (3, 4)]
    """
    changes = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return [(int(start), int(end)) for start, end in changes.reshape(-1, 2)]


def _alone(line: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the steps that are there while those before and after them are not."""
    there = np.concatenate([[False], np.isfinite(line), [False]])
    return np.flatnonzero(there[1:-1] & ~there[:-2] & ~there[2:])


def _numbered(channels: int) -> list[str]:
    return [""] if channels == 1 else [f"channel {number}" for number in range(channels)]


def _limits(parts: Sequence[NDArray[np.float64] | None]) -> tuple[float, float]:
    finite = [part[np.isfinite(part)] for part in parts if part is not None]
    values = np.concatenate(finite) if finite else np.zeros(0)
    return (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)


def _limits_of_channel(shown: list[_One], channel: int) -> tuple[float, float]:
    """Return limits that hold a channel of all sequences; of bands as much as is twice as high as the curves."""
    curves = [part[:, [channel]] for one in shown for part in (one.original, one.reconstructed)]
    low, high = _limits(curves)
    height = (high - low) or 1.0
    bands = [
        one.reconstructed[:, [channel]] + sign * 2 * one.deviations[:, [channel]]
        for one in shown
        if one.deviations is not None
        for sign in (-1, 1)
    ]
    if bands:
        least, most = _limits(bands)
        low, high = max(min(low, least), low - height / 2), min(max(high, most), high + height / 2)
    margin = 0.06 * (high - low) or 0.5
    return low - margin, high + margin

"""How scores of normal rows and of anomalies differ, and whether p-values mean what they say."""

from __future__ import annotations  # so that signatures show `ArrayLike`, not the union behind it

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator
from numpy.typing import ArrayLike, NDArray
from scipy.stats import beta
from sklearn.metrics import precision_recall_curve

from omokage.errors import DataError
from omokage.plots.checks import like, numbers
from omokage.plots.style import (
    INK,
    MUTED,
    RULE,
    TRAINING,
    VALIDATION,
    blank_figure,
    legend,
    plain_axes,
    short_number,
    titles,
)

_BINS = 40
_FAR = 8.0  # times the distance from the median to the 99th percentile of normal rows; beyond it all is one bar
_LEAST_RATE = 1e-3


def score_histogram(scores: ArrayLike, labels: ArrayLike | None = None, *, threshold: float | None = None) -> Figure:
    """Draw how scores are spread: of normal rows upwards, of anomalies downwards, as shares of each.

    Scores far above all normal ones stand together in the last bar.

    Args:
        scores: (n,), higher is stranger.
        labels: True for anomalies, (n,); `None`: all are of one kind.
        threshold: The score above which rows are flagged.

    Raises:
        DataError: If there is no finite score, or there is not one label for each.
    """
    values = numbers(scores, "scores")
    if values.ndim != 1 or not np.isfinite(values).any():
        raise DataError(f"scores: expected one number for each row, some of them finite; got shape {values.shape}.")
    truth = np.zeros(len(values), bool) if labels is None else like(labels, "labels", values, "scores").astype(bool)
    usual = "rows" if labels is None else "normal"
    kinds = [(values[~truth], TRAINING, 1.0, usual), (values[truth], VALIDATION, -1.0, "anomalies")]
    kinds = [kind for kind in kinds if len(kind[0])]
    edges, farther = _edges(values, kinds[0][0], threshold)
    figure = blank_figure(2.6)
    axes = plain_axes(figure.add_subplot())
    for found, colour, sign, _ in kinds:
        heights = np.histogram(np.clip(np.nan_to_num(found, nan=np.inf), edges[0], edges[-1]), edges)[0] / len(found)
        axes.bar(edges[:-1], sign * heights, np.diff(edges), align="edge", color=colour, linewidth=0, alpha=0.85)
    axes.axhline(0, color=RULE, linewidth=0.8)
    handles: list[Any] = [Patch(color=colour) for _, colour, _, _ in kinds]
    names = [name for *_, name in kinds]
    if threshold is not None:
        axes.axvline(threshold, color=INK, linewidth=1.2, linestyle="--")
        handles.append(Line2D([], [], color=INK, linewidth=1.2, linestyle="--"))
        names.append(f"flagged above {short_number(threshold)}")
    axes.set_xlim(edges[0], edges[-1])
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{abs(share):.0%}"))
    beyond = f" (the last bar: {short_number(edges[-2])} or more)" if farther else ""
    titles(axes, x=f"score{beyond}", y="share of rows")
    legend(figure, handles, names, loc="outside upper right", ncols=3)
    return figure


def precision_recall(scores: ArrayLike, labels: ArrayLike) -> Figure:
    """Draw what share of the flagged rows are anomalies against what share of the anomalies is flagged.

    Args:
        scores: (n,), higher is stranger.
        labels: True for anomalies, (n,), some of both.

    Raises:
        DataError: If there is not one label for each score, or labels are all of one kind.
    """
    values = np.nan_to_num(numbers(scores, "scores"), nan=1e300, posinf=1e300, neginf=-1e300)
    truth = like(labels, "labels", values, "scores").astype(bool)
    if truth.all() or not truth.any():
        raise DataError("labels: expected some anomalies and some normal rows; got one kind only.")
    precision, recall = (curve[:-1] for curve in precision_recall_curve(truth, values)[:2])  # less the end, (0, 1)
    figure = blank_figure(2.8)
    axes = plain_axes(figure.add_subplot())
    axes.step(recall, precision, where="post", color=TRAINING, linewidth=1.6)
    chance = float(truth.mean())
    axes.axhline(chance, color=MUTED, linewidth=1.0, linestyle="--")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda share, _: f"{share:.0%}"))
    titles(axes, x="anomalies that are flagged", y="flagged rows that are anomalies")
    handles = [Line2D([], [], color=TRAINING), Line2D([], [], color=MUTED, linestyle="--")]
    legend(figure, handles, ["by score", f"by chance, {chance:.1%}"], loc="outside upper right", ncols=2)
    return figure


def false_alarms(p_values: ArrayLike) -> Figure:
    """Draw the share of normal rows that is flagged at each nominal rate, and what chance would do.

    Args:
        p_values: Of normal rows, (n,).

    Raises:
        DataError: If they are no numbers from 0 to 1.
    """
    p = numbers(p_values, "p_values")
    if p.ndim != 1 or not len(p) or not ((p >= 0) & (p <= 1)).all():
        raise DataError("p_values: expected at least one number from 0 to 1, in one row.")
    rates = np.geomspace(_LEAST_RATE, 1, 121)
    seen = np.searchsorted(np.sort(p), rates, side="right") / len(p)
    figure = blank_figure(3.0)
    axes = plain_axes(figure.add_subplot())
    low, high = (_chance(rates, len(p), level) for level in (0.025, 0.975))
    axes.fill_between(rates, np.maximum(low, _LEAST_RATE / 4), high, color=RULE, alpha=0.6, linewidth=0)
    axes.plot(rates, rates, color=MUTED, linewidth=1.0, linestyle="--")
    axes.step(rates, np.where(seen > 0, seen, np.nan), where="post", color=TRAINING, linewidth=1.6)
    for axis, set_scale in ((axes.xaxis, axes.set_xscale), (axes.yaxis, axes.set_yscale)):
        set_scale("log")
        axis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g} %"))
        axis.set_minor_locator(NullLocator())
    axes.set_xlim(_LEAST_RATE, 1)
    axes.set_ylim(_LEAST_RATE / 2, 1)
    titles(axes, x="false alarms asked for", y="false alarms seen")
    handles = [
        Line2D([], [], color=TRAINING),
        Line2D([], [], color=MUTED, linestyle="--"),
        Patch(color=RULE, alpha=0.6),
    ]
    names = ["these rows", "as asked for", "19 of 20 by chance"]
    legend(figure, handles, names, loc="outside upper right", ncols=3)
    return figure


def _edges(
    values: NDArray[np.float64], normal: NDArray[np.float64], threshold: float | None
) -> tuple[NDArray[np.float64], bool]:
    """Return the edges of bars, and whether there are scores beyond them."""
    finite, usual = values[np.isfinite(values)], normal[np.isfinite(normal)]
    usual = usual if len(usual) else finite
    low, middle, high = float(finite.min()), float(np.median(usual)), float(np.quantile(usual, 0.99))
    most = max(middle + _FAR * max(high - middle, 1e-12), high, -np.inf if threshold is None else threshold)
    top = min(float(finite.max()), most)
    top = top if top > low else low + 1.0
    return np.linspace(low, top, _BINS + 1), bool((~np.isfinite(values)).any() or finite.max() > top)


def _chance(rates: NDArray[np.float64], count: int, level: float) -> NDArray[np.float64]:
    """Return a quantile of the share of so many p-values that are at most each rate, were they uniform."""
    expected = rates * count
    if level < 0.5:
        return np.asarray(beta.ppf(level, expected, count - expected + 1))
    return np.asarray(beta.ppf(level, expected + 1, np.maximum(count - expected, 1e-9)))

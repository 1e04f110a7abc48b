"""One number for each of many things: columns, latent dimensions."""

from __future__ import annotations  # so that signatures show `ArrayLike`, not the union behind it

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import ArrayLike

from omokage.errors import DataError
from omokage.plots.checks import numbers
from omokage.plots.style import (
    INK,
    MUTED,
    PAPER,
    RULE,
    SMALL,
    TRAINING,
    VALIDATION,
    blank_figure,
    fonts,
    plain_axes,
    short_number,
    shortened,
    titles,
)

_BARS = 30


def column_errors(
    names: Sequence[object], errors: ArrayLike, *, unit: str = "mean squared error, standardised"
) -> Figure:
    """Draw how badly each column is reconstructed, the worst on top; of many columns the worst thirty.

    Args:
        names: Column names, in any script; Japanese is drawn with a font of the system's that has it.
        errors: One for each column, (D,).
        unit: What an error is, for the axis.

    Raises:
        DataError: If there is not one error for each name.
    """
    values = numbers(errors, "errors")
    if values.shape != (len(names),) or not len(names):
        raise DataError(f"errors: expected one for each of the {len(names)} names; got shape {values.shape}.")
    order = np.argsort(-values, kind="stable")[:_BARS]
    shown = [shortened(str(names[j])) for j in order]
    figure = blank_figure(0.75 + 0.21 * len(order))
    axes = plain_axes(figure.add_subplot())
    places = np.arange(len(order))
    axes.barh(places, values[order], height=0.62, color=TRAINING, linewidth=0)
    axes.set_ylim(len(order) - 0.4, -0.6)
    axes.set_xlim(0, max(float(values.max()) * 1.12, 1e-12))
    axes.set_yticks(places, shown, parse_math=False, color=INK, fontfamily=fonts(*shown), fontsize=SMALL)
    for place, value in zip(places, values[order], strict=True):
        text: dict[str, Any] = {"color": MUTED, "fontsize": SMALL, "fontfamily": fonts(), "va": "center"}
        axes.annotate(f"{value:.3g}", (value, place), (3, 0), textcoords="offset points", **text)
    axes.grid(False)
    axes.spines["left"].set_visible(True)
    titles(axes, x=unit, title=f"the worst {_BARS} of {len(names)} columns" if len(names) > _BARS else "")
    return figure


def kl_per_dimension(kl: ArrayLike, *, threshold: float = 0.01) -> Figure:
    """Draw what each latent dimension says of a row, the most first, on a logarithmic scale.

    A dimension whose divergence from the prior is near zero says nothing: the decoder has learned to ignore it.

    Args:
        kl: KL(q(z_j|x) ‖ p(z_j)) in nats, one for each dimension, (L,), or for each row and dimension, (n, L), of
            which the means over rows are drawn.
        threshold: Nats from which on a dimension counts as active; a line stands there.

    Raises:
        DataError: If there is no dimension, or a number is not finite, or the threshold is not above zero.
    """
    values = numbers(kl, "kl")
    if values.ndim not in (1, 2) or not values.size or not np.isfinite(values).all():
        problem = f"shape {values.shape}" if values.ndim not in (1, 2) or not values.size else "NaN or infinity"
        raise DataError(f"kl: expected finite nats of shape (latent_dim,) or (n, latent_dim); got {problem}.")
    if not threshold > 0:
        raise DataError(f"threshold: expected nats above zero; got {threshold!r}.")
    values = values.mean(0) if values.ndim == 2 else values
    order = np.argsort(-values, kind="stable")
    floor = threshold / 10
    figure = blank_figure(2.7)
    axes = plain_axes(figure.add_subplot())
    places, active = np.arange(len(order)), values[order] >= threshold
    colours = np.where(active, TRAINING, MUTED)
    heights = np.maximum(values[order] - floor, 0)
    axes.bar(places, heights, bottom=floor, width=0.7, color=colours.tolist(), linewidth=0)
    axes.axhline(threshold, color=VALIDATION, linewidth=1.2, linestyle="-")
    axes.set_yscale("log")
    axes.set_ylim(floor, max(float(values.max()), threshold) * 2)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: ""))
    axes.set_xlim(-0.7, len(order) - 0.3)
    step = int(np.ceil(len(order) / 25))
    axes.set_xticks(places[::step], [str(number) for number in order[::step]])
    axes.grid(visible=False, axis="x")
    if len(order) <= 12:
        for place, value in zip(places, values[order], strict=True):
            text: dict[str, Any] = {"color": MUTED, "fontsize": SMALL, "fontfamily": fonts(), "ha": "center"}
            text["bbox"] = {"boxstyle": "square,pad=0.05", "facecolor": PAPER, "edgecolor": "none", "alpha": 0.9}
            spot = (float(place), max(float(value), floor))
            axes.annotate(short_number(value), spot, (0, 4), textcoords="offset points", **text)
    axes.spines["bottom"].set(color=RULE)
    title = f"{active.sum()} of {len(order)} dimensions at {threshold:g} nats or more, {values.sum():.3g} nats in all"
    titles(axes, title=title, x="latent dimension, counted from 0", y="KL divergence, nats")
    return figure

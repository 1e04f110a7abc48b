"""Two pictures of the recurrent VAE: what it is made of, and how a picture is read as a series."""

from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from numpy.typing import NDArray

from omokage.plots.style import (
    INK,
    MUTED,
    PAPER,
    RULE,
    SMALL,
    TEXT,
    TRAINING,
    VALIDATION,
    bare_axes,
    blank_figure,
    fonts,
    plain_axes,
    titles,
)
from omokage.summary import Summary

_WIDTH, _HEIGHT = 3.4, 0.8  # of a box


def model_diagram(layers: Summary, steps: int, channels: int) -> Figure:
    """Draw a recurrent VAE from x at the top to p(x|z) at the bottom, and beside it the two terms of its loss.

    Args:
        layers: Of the model, for widths and numbers of parameters: recurrent layers, and heads by their names.
        steps: T of a series.
        channels: C.
    """
    recurrent = {part: [one for one in layers if one.name.startswith(f"{part}.layers")] for part in _PARTS}
    heads = {part: [one for one in layers if one.name.startswith(f"{part}.") and ".layers" not in one.name]
             for part in _PARTS}  # fmt: skip
    heads["posterior"].sort(key=lambda one: not one.name.endswith("mean"))
    latent = heads["posterior"][0].shape[-1]
    rows: list[list[tuple[str, str]]] = [[("x", f"{steps} steps of {channels} numbers")]]
    rows += [[(f"{one.kind}, read step by step", _size(one))] for one in recurrent["posterior"]]
    rows += [[(one.name.split(".")[-1].replace("_", " "), _size(one)) for one in heads["posterior"]]]
    rows += [[("z", f"{latent} numbers from q(z|x)")]]
    rows += [[(f"{one.kind}, a z at every step", _size(one))] for one in recurrent["likelihood"]]
    rows += [[(one.name.split(".")[-1].replace("_", " "), _size(one)) for one in heads["likelihood"]]]
    rows += [[("p(x|z)", f"{steps} steps of {channels} probabilities")]]
    figure = blank_figure(0.72 * len(rows), layout="none")
    axes = bare_axes(figure.add_axes((0.0, 0.0, 1.0, 1.0)))
    axes.set(xlim=(-4.4, 7.2), ylim=(-1.35 * (len(rows) - 1) - 0.7, 0.7))
    places: list[list[tuple[float, float]]] = []
    for number, row in enumerate(rows):
        spots = [(1.1 * _WIDTH * (j - (len(row) - 1) / 2), -1.35 * number) for j in range(len(row))]
        places.append(spots)
        for (name, words), spot in zip(row, spots, strict=True):
            _box(axes, spot, name, words, TRAINING if name in ("x", "z", "p(x|z)") else RULE)
    for above, below in pairwise(places):
        for start in above:
            for end in below:
                _arrow(axes, start, end)
    middle = 1 + len(recurrent["posterior"])
    _term(axes, places[middle][-1], "KL(q(z|x) ‖ N(0, I))", "to the prior")
    _term(axes, places[-1][0], "−log p(x|z)", "cross-entropy with x")
    return figure


def series_picture(picture: NDArray[Any]) -> Figure:
    """Draw a picture, and its rows as the steps of a series: at each step as many numbers as it has columns.

    Args:
        picture: (steps, channels), numbers from 0 to 1.
    """
    steps, channels = picture.shape
    figure = blank_figure(3.2)
    left, right = figure.subplots(1, 2, gridspec_kw={"width_ratios": [1, 1.25]})
    bare_axes(left).imshow(picture, cmap="gray", vmin=0.0, vmax=1.0, interpolation="none")
    titles(left, title=f"a picture of {steps} rows", x="read from top to bottom")
    plain_axes(right).grid(visible=False, axis="y")
    for step in range(steps):
        line = step - 0.9 * picture[step]
        right.fill_between(np.arange(channels), step, line, color=PAPER, linewidth=0, zorder=step)
        right.plot(np.arange(channels), line, color=TRAINING, linewidth=1.0, zorder=step + 0.5)
    right.set_ylim(steps - 0.5, -1.5)
    right.set_xlim(0, channels - 1)
    titles(right, title=f"a series of {steps} steps", x=f"{channels} numbers at each step", y="step")
    return figure


_PARTS = ("posterior", "likelihood")


def _size(layer: Any) -> str:
    return f"{' × '.join(map(str, layer.shape))}, {layer.parameters:,} parameters"


def _box(axes: Axes, spot: tuple[float, float], name: str, words: str, edge: str) -> None:
    corner = (spot[0] - _WIDTH / 2, spot[1] - _HEIGHT / 2)
    look: dict[str, Any] = {"boxstyle": "round,pad=0,rounding_size=0.12", "facecolor": PAPER, "edgecolor": edge}
    axes.add_patch(FancyBboxPatch(corner, _WIDTH, _HEIGHT, linewidth=1.2, zorder=2, **look))
    text: dict[str, Any] = {"ha": "center", "va": "center", "zorder": 3, "parse_math": False}
    axes.text(spot[0], spot[1] + 0.15, name, color=INK, fontsize=TEXT, fontfamily=fonts(name), **text)
    axes.text(spot[0], spot[1] - 0.2, words, color=MUTED, fontsize=SMALL - 1, fontfamily=fonts(words), **text)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    look = {"arrowstyle": "-|>", "color": MUTED, "linewidth": 1.0, "shrinkA": 0, "shrinkB": 0}
    ends = (end[0], end[1] + _HEIGHT / 2), (start[0], start[1] - _HEIGHT / 2)
    axes.annotate("", *ends, arrowprops=look, zorder=1)


def _term(axes: Axes, spot: tuple[float, float], name: str, words: str) -> None:
    """Write a term of the loss to the right of a box."""
    text: dict[str, Any] = {"ha": "left", "va": "center", "color": VALIDATION, "parse_math": False}
    x = spot[0] + _WIDTH / 2 + 0.25
    axes.text(x, spot[1] + 0.15, name, fontsize=TEXT, fontfamily=fonts(name), **text)
    axes.text(x, spot[1] - 0.2, words, fontsize=SMALL, fontfamily=fonts(words), **text)

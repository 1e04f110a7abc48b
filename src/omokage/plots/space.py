"""Codes in three dimensions, in a box: still, or turning in a file of moving pictures.

A point (x, y, z) of the box [-1, 1]³ is turned about the upright third axis by the azimuth, then towards the viewer by
the elevation, and seen from a distance of seven: what is nearer is a little larger, and covers what is behind.
"""

from __future__ import annotations  # so that signatures show `ArrayLike`, not the union behind it

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from omokage.errors import DataError
from omokage.plots.checks import codes, whole_number
from omokage.plots.latent import Kind, as_labels, kinds_of, marks, principal_components
from omokage.plots.style import (
    INK,
    MUTED,
    PAPER,
    POINTS,
    RULE,
    SMALL,
    bare_axes,
    blank_figure,
    fonts,
    legend,
    short_number,
    titles,
)
from omokage.storage import replace_file

MOST_FRAMES = 60
_DISTANCE = 7.0
_REACH = 1.7  # of the drawing, on either side
_CORNER = np.array([-1.0, -1.0, -1.0])
_SHADES = 6  # of each colour of a moving picture


class Box(NamedTuple):
    """Codes within [-1, 1]³, and what that stands for."""

    points: NDArray[np.float64]  # (n, 3)
    axes: tuple[str, str, str]
    title: str
    scale: str  # how large the box is, in words


def in_box(Z: ArrayLike) -> Box:
    """Return codes as points of a box, all three dimensions on one scale; more than three as principal components.

    Raises:
        DataError: If Z is not a matrix of at least two rows and three dimensions, or a number is not finite.
    """
    Z = codes(Z, "Z", rows=2, dimensions=3)
    if Z.shape[1] == 3:
        points, names, title = Z, ("z₁", "z₂", "z₃"), "posterior means"
    else:
        points, share = principal_components(Z, 3)
        names = ("1st", "2nd", "3rd")
        title = f"first three principal components of {Z.shape[1]} dimensions, {share:.0%} of the variance"
    low, high = points.min(0), points.max(0)
    side = _rounded(float((high - low).max()) or 1.0)
    centre = np.round((low + high) / 2 / side * 20) * side / 20
    side = _rounded(max(side, 2 * float(np.abs(points - centre).max())))
    around = ", ".join(f"{value + 0.0:.8g}".replace("-", "−") for value in centre)
    scale = f"each edge of the box is {short_number(side)} long, its middle at ({around})"
    return Box((points - centre) / (side / 2), names, title, scale)


def latent_scatter_3d(
    Z: ArrayLike, labels: ArrayLike | None = None, *, azimuth: float = 35.0, elevation: float = 20.0
) -> Figure:
    """Draw codes as points in three dimensions: as they are, or the first three principal components of more.

    Args:
        Z: (n, L) with L of at least 3.
        labels: One for each row, (n,): up to ten kinds get colours and names (the rarest beyond nine are "other"), and
            fractional numbers are sorted into intervals.
        azimuth: How far it is turned about the third axis, in degrees.
        elevation: From how far above it is seen, in degrees.

    Raises:
        DataError: If Z is not such a matrix, a number is not finite, or there is not one label for each row.
    """
    figure, turn, _ = _scene(Z, labels)
    turn(azimuth, elevation)
    return figure


def latent_rotation(
    Z: ArrayLike,
    labels: ArrayLike | None,
    path: str | os.PathLike[str],
    *,
    frames: int = 48,
    seconds: float = 8.0,
    elevation: float = 20.0,
) -> Path:
    """Write codes that turn about the third axis, once around and again, as a GIF.

    The file is written beside and then put in its place, so there is never half of one.

    Args:
        Z: (n, L) with L of at least 3, as for `latent_scatter_3d`; a few thousand can be told apart.
        labels: One for each row, (n,), or `None`.
        path: The file; one that is there is replaced.
        frames: Pictures of one turn, 2 to 60.
        seconds: What one turn takes.
        elevation: From how far above they are seen, in degrees.

    Returns:
        The absolute path.

    Raises:
        DataError: If Z or labels are not as they should be, or there are too few or too many frames.
        FileFormatError: If the file cannot be written.
    """
    count = whole_number(frames, "frames", 2, MOST_FRAMES)
    if not 0 < seconds < 600:
        raise DataError(f"seconds: expected a time above 0 and below 600; got {seconds!r}.")
    figure, turn, kinds = _scene(Z, labels)
    palette = _palette(kinds)
    figure.set_dpi(80)
    canvas = FigureCanvasAgg(figure)
    turn(0.0, elevation)
    canvas.draw()
    figure.set_layout_engine("none")  # places stay as they are: quicker, and nothing trembles
    images: list[Image.Image] = []
    for number in range(count):
        turn(360.0 * number / count, elevation)
        canvas.draw()
        frame = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
        images.append(frame.quantize(palette=palette, dither=Image.Dither.NONE))
    content = io.BytesIO()
    step = max(round(100 * seconds / count), 2) * 10  # milliseconds; the format counts in hundredths of a second
    images[0].save(content, "GIF", save_all=True, append_images=images[1:], duration=step, loop=0, optimize=False)
    return replace_file(path, content.getvalue())


def seen(points: NDArray[np.float64], azimuth: float, elevation: float) -> NDArray[np.float64]:
    """Return where points of the box are seen, (n, 3): to the right, upwards, and towards the viewer.

    Example:
        >>> seen(np.array([[1.0, 0.0, 0.0]]), 90, 0).round(2).tolist()
        [[0.0, 0.0, 1.0]]
    """
    a, e = np.deg2rad(azimuth), np.deg2rad(elevation)
    right = points[:, 0] * np.cos(a) - points[:, 1] * np.sin(a)
    near = points[:, 0] * np.sin(a) + points[:, 1] * np.cos(a)
    up = points[:, 2] * np.cos(e) - near * np.sin(e)
    near = points[:, 2] * np.sin(e) + near * np.cos(e)
    larger = _DISTANCE / (_DISTANCE - near)
    return np.column_stack([right * larger, up * larger, near])


def _scene(Z: ArrayLike, labels: ArrayLike | None) -> tuple[Figure, Callable[[float, float], None], list[Kind]]:
    """Return codes in a box, a function that turns it to an azimuth and an elevation, and what is drawn alike."""
    box = in_box(Z)
    kinds = kinds_of(as_labels(labels, len(box.points)), len(box.points))
    colours = _colours(kinds, len(box.points))
    figure = blank_figure(4.8)
    axes = bare_axes(figure.add_subplot())
    axes.set(aspect="equal", xlim=(-_REACH, _REACH), ylim=(-1.1 * _REACH, 0.95 * _REACH))
    titles(axes, title=box.title, x=box.scale)
    edges = _edges()
    thin: dict[str, Any] = {"color": RULE, "linewidth": 0.8, "linestyle": "-", "marker": ""}
    lines = [axes.plot([], [], zorder=1, clip_on=False, **thin)[0] for _ in edges]
    text: dict[str, Any] = {"color": MUTED, "fontsize": SMALL, "fontfamily": fonts(), "ha": "center", "va": "center"}
    words = [axes.text(0, 0, name, zorder=4, **text) for name in box.axes]
    dots = axes.scatter([], [], linewidths=0, rasterized=len(box.points) > POINTS, zorder=2)
    if kinds[0].name:
        place: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (0.98, 0.5)}
        legend(axes, marks(kinds), [kind.name for kind in kinds], **place)

    def turn(azimuth: float, elevation: float) -> None:
        places = seen(box.points, azimuth, elevation)
        order = np.argsort(places[:, 2], kind="stable")
        nearness = np.clip(places[order, 2] / 3**0.5 / 2 + 0.5, 0, 1)
        shades = colours[order].copy()
        shades[:, 3] = 0.45 + 0.5 * nearness
        dots.set_offsets(places[order, :2])
        dots.set_sizes(7 + 9 * nearness)
        dots.set_facecolors(shades)  # type: ignore[attr-defined]
        for line, edge in zip(lines, edges, strict=True):
            ends = seen(edge, azimuth, elevation)
            line.set_data(ends[:, 0], ends[:, 1])
        for word, end in zip(words, _CORNER + np.eye(3) * 2.25, strict=True):
            right, up, _ = seen(end[None], azimuth, elevation)[0]
            word.set_position((right, up))

    return figure, turn, kinds


def _colours(kinds: list[Kind], rows: int) -> NDArray[np.float64]:
    colours = np.zeros((rows, 4))
    for kind in kinds:
        colours[kind.members] = to_rgba(kind.colour)
    return colours


def _palette(kinds: list[Kind]) -> Image.Image:
    """Return the colours of all frames: one palette is smaller, and nothing flickers."""
    paper = np.array(to_rgba(PAPER)[:3])
    colours = np.array([to_rgba(colour)[:3] for colour in [*(kind.colour for kind in kinds), INK, MUTED, RULE]])
    shares = np.linspace(1, 0, _SHADES, endpoint=False)[:, None, None]
    shades = (paper + shares * (colours - paper)).reshape(-1, 3)
    entries = np.round(255 * np.array([paper, *shades])).astype(np.uint8)
    palette = Image.new("P", (1, 1))
    palette.putpalette(entries.tobytes())
    return palette


def _edges() -> list[NDArray[np.float64]]:
    """Return the twelve edges of the box, each (2, 3)."""
    corners = np.array([[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)])
    return [
        np.stack([first, second])
        for number, first in enumerate(corners)
        for second in corners[number + 1 :]
        if np.abs(first - second).sum() == 2
    ]


def _rounded(length: float) -> float:
    """Return the next round number: 1, 1.5, 2, 2.5, 3, 4, 5, 6, 7 or 8 times a power of ten."""
    power = 10.0 ** np.floor(np.log10(length))
    steps = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 10)
    return float(next(step for step in steps if step * power >= length * 0.999999) * power)

"""Many pictures as one image with words around it; NaN is left empty."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from omokage.errors import DataError
from omokage.plots.checks import numbers
from omokage.plots.style import INK_ON_PAPER, MUTED, SMALL, WIDTH, bare_axes, blank_figure, fonts

_LABELS, _LINE, _BETWEEN = 1.05, 0.25, 0.15  # inches: beside pictures, a line of text, between blocks
_TALLEST = 8.0  # inches of pictures


@dataclass(frozen=True)
class Block:
    """Pictures in rows and columns.

    Attributes:
        pictures: (rows, columns, height, width) or (rows, columns, height, width, channels).
        rows: What stands beside each row.
        above: What stands above each column.
        below: What stands below each column.
        below_title: What stands beside those.
    """

    pictures: NDArray[np.float64]
    rows: Sequence[str] = ()
    above: Sequence[str] = ()
    below: Sequence[str] = ()
    below_title: str = ""


def as_pictures(values: ArrayLike, shape: Sequence[int], name: str) -> NDArray[np.float64]:
    """Return rows as pictures, (n, *shape)."""
    found = numbers(values, name)
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in (1, 3, 4)):
        raise DataError(f"shape: expected (height, width) or (height, width, 1, 3 or 4); got {tuple(shape)}.")
    if found.ndim < 2 or not len(found) or found[0].size != math.prod(shape):
        raise DataError(
            f"{name}: expected at least one row of {math.prod(shape)} values, for pictures of "
            f"{' × '.join(map(str, shape))}; got shape {found.shape}."
        )
    return found.reshape(len(found), *shape)


def grey_limits(limits: Sequence[float] | None, *values: ArrayLike, beyond: float = 0.0) -> tuple[float, float]:
    """Return the values that are black and white.

    Numbers from 0 to 1 have these limits whatever is among them, so a bright picture stays bright. 8-bit numbers, and
    others from 0 to 255 that reach above a half of it or are all the same, have 0 and 255. Others have their extremes.

    Args:
        limits: Those that were asked for, which are then returned.
        values: What is drawn, or the part of it that decides.
        beyond: How far values may lie beyond 0 and 1 (or 0 and 255), as a share, where some lie above a half: a decoder
            gives a little less than black and more than white, and these are then clipped.

    Raises:
        DataError: If `limits` are not two different numbers.

    Example:
        >>> grey_limits(None, [0.9, 1.0]), grey_limits(None, [3, 200]), grey_limits(None, [-2.0, 5.0])
        ((0.0, 1.0), (0.0, 255.0), (-2.0, 5.0))
    """
    if limits is not None:
        return _given(limits)
    arrays = [np.asarray(part) for part in values]
    finite = np.concatenate([part[np.isfinite(part)].astype(np.float64).ravel() for part in arrays])
    if not finite.size:
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    for white in (1.0, 255.0):
        if -beyond * white <= low and white / 2 < high <= (1 + beyond) * white:
            return 0.0, white
    eight_bits = all(part.dtype == np.uint8 for part in arrays)
    return (0.0, 255.0) if eight_bits or (low == high and 0 <= low <= 255) else (low, high)


def _given(limits: Sequence[float]) -> tuple[float, float]:
    try:
        low, high = (float(limit) for limit in limits)
    except (TypeError, ValueError):
        low = high = 0.0
    if not (np.isfinite([low, high]).all() and low != high):
        raise DataError(f"limits: expected two different numbers, for black and for white; got {limits!r}.")
    return low, high


def tiled(shown: NDArray[np.float64], limits: tuple[float, float], colours: str | Colormap) -> NDArray[np.float64]:
    """Return the colours of pictures in rows and columns with transparent gaps, (height, width, 4)."""
    rows, columns, h, w = shown.shape[:4]
    gap = _gap(h, w)
    canvas = np.zeros((rows * (h + gap) - gap, columns * (w + gap) - gap, 4))
    for i in range(rows):
        for j in range(columns):
            y, x = i * (h + gap), j * (w + gap)
            canvas[y : y + h, x : x + w] = _painted(shown[i, j], limits, colours)
    return canvas


def mosaic(
    blocks: Sequence[Block],
    limits: tuple[float, float],
    colours: str | Colormap,
    each: Sequence[tuple[tuple[float, float], Colormap] | None] | None = None,
) -> Figure:
    """Draw blocks of pictures below one another, all of one width; `each` has limits and colours that differ."""
    own = [(limits, colours) if one is None else one for one in each or [None] * len(blocks)]
    left = _LABELS if any(block.rows or block.below_title for block in blocks) else 0.0
    images = [tiled(block.pictures, *how) for block, how in zip(blocks, own, strict=True)]
    scale = WIDTH - left  # inches for the width of an image
    heights = [image.shape[0] / image.shape[1] for image in images]
    scale = min(scale, _TALLEST / sum(heights))
    above = [_LINE if any(block.above) else 0.0 for block in blocks]
    below = [_LINE if any(block.below) else 0.0 for block in blocks]
    total = scale * sum(heights) + sum(above) + sum(below) + _BETWEEN * (len(blocks) - 1)
    figure = blank_figure(total, layout="none")
    top = total
    for number, (block, image) in enumerate(zip(blocks, images, strict=True)):
        top -= above[number]
        height = scale * heights[number]
        axes = figure.add_axes((left / WIDTH, (top - height) / total, scale / WIDTH, height / total))
        drawn = bare_axes(axes).imshow(image, interpolation="none", aspect="equal", origin="upper")
        if own[number][1] is INK_ON_PAPER:
            drawn.set_gid("ink" if number == 0 else f"{number}-ink")
        _write(axes, block)
        top -= height + below[number] + _BETWEEN
    return figure


def _write(axes: Axes, block: Block) -> None:
    """Write what stands around a block."""
    rows, columns, h, w = block.pictures.shape[:4]
    across = np.arange(columns) * (w + _gap(h, w)) + (w - 1) / 2
    down = np.arange(rows) * (h + _gap(h, w)) + (h - 1) / 2
    text: dict[str, Any] = {"color": MUTED, "fontsize": SMALL, "parse_math": False}
    axes.set_xticks(across[: len(block.above)], block.above, fontfamily=fonts(*block.above), **text)
    axes.set_yticks(down[: len(block.rows)], block.rows, fontfamily=fonts(*block.rows), **text)
    axes.tick_params(axis="both", labeltop=True, labelbottom=False, length=0, pad=4)
    text |= {"textcoords": "offset points", "va": "top", "annotation_clip": False}
    edge = axes.get_ylim()[0]
    for place, words in zip(across, block.below, strict=False):
        axes.annotate(words, (place, edge), (0, -4), ha="center", fontfamily=fonts(words), **text)
    if block.below_title:
        start = (axes.get_xlim()[0], edge)
        axes.annotate(block.below_title, start, (-4, -4), ha="right", fontfamily=fonts(block.below_title), **text)


def _gap(height: int, width: int) -> int:
    return max(1, round(min(height, width) / 12))


def _painted(picture: NDArray[np.float64], limits: tuple[float, float], colours: str | Colormap) -> NDArray[np.float64]:
    """Return the colours of one picture, (height, width, 4)."""
    low, high = limits
    scaled = np.clip((picture - low) / ((high - low) or 1.0), 0, 1)
    if scaled.ndim == 3 and scaled.shape[2] > 1:
        there = ~np.isnan(scaled).any(2, keepdims=True)
        opaque = scaled if scaled.shape[2] == 4 else np.concatenate([scaled, np.ones_like(there, np.float64)], 2)
        return np.where(there, opaque, 0.0)
    scaled = scaled.reshape(picture.shape[:2])
    painted = np.asarray(matplotlib.colormaps.get_cmap(colours)(scaled))
    return np.where(np.isnan(scaled)[..., None], 0.0, painted)

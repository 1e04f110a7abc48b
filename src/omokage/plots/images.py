"""Rows that are pictures.

The arguments `limits` and `colours` are everywhere the same: the values that are black and white; and a colour map of
matplotlib's, or `INK_ON_PAPER`, for pictures without colours of their own. Missing pixels, NaN, stay empty.

Without `limits`, pictures with values in [0, 1] or [0, 255] have these limits, and others the extremes of what is shown
first (`mosaic.grey_limits` has the details). All pictures of a figure have the same limits, so the same number is the
same grey; what lies beyond them is clipped.
"""

from __future__ import annotations  # so that signatures show `ArrayLike`, not the union behind it

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from omokage.data.context import beside
from omokage.errors import DataError
from omokage.plots.checks import numbers, whole_number
from omokage.plots.codes import linear_path
from omokage.plots.mosaic import Block, as_pictures, grey_limits, mosaic
from omokage.plots.style import HEAT, short_number

_BEYOND = 0.25  # how far decoded pictures may lie beyond black and white, as a share of what is between
_MOST_COLUMNS = 1000


def reconstructions(
    originals: ArrayLike,
    reconstructed: ArrayLike,
    shape: Sequence[int],
    *,
    draws: ArrayLike | None = None,
    limits: tuple[float, float] | None = None,
    colours: str | Colormap = "gray",
) -> Figure:
    """Draw pictures above what a model makes of them.

    Args:
        originals: (n, D); a dozen can be told apart.
        reconstructed: Like `originals`; with draws, those through the mean of q(z|x).
        shape: (height, width) or (height, width, 3 or 4).
        draws: Reconstructions through draws of z from q(z|x), (k, n, D), a further row each: what differs between
            them the code leaves open.
        limits: The values that are black and white; by default 0 and 1, or 0 and 255, where the originals
            are such numbers, else their extremes.
        colours: A colour map of matplotlib's, or `INK_ON_PAPER`, for pictures without colours of their own.

    Raises:
        DataError: If the numbers of rows differ, or rows do not have that shape.
    """
    first = as_pictures(originals, shape, "originals")
    rows = [first, _as_many(as_pictures(reconstructed, shape, "reconstructed"), "reconstructed", first)]
    names = ["original", "reconstruction" if draws is None else "mean"]
    if draws is not None:
        all_draws = numbers(draws, "draws")
        if all_draws.ndim < 3 or not len(all_draws):
            raise DataError(f"draws: expected shape (k, n, D) with k of at least 1; got {all_draws.shape}.")
        for number, draw in enumerate(all_draws, 1):
            rows.append(_as_many(as_pictures(draw, shape, "draws"), "draws", first))
            names.append(f"draw {number}")
    return mosaic([Block(np.stack(rows), rows=names)], grey_limits(limits, originals), colours)


def heat_maps(
    originals: ArrayLike,
    normal: ArrayLike,
    contributions: ArrayLike,
    shape: Sequence[int],
    *,
    limits: tuple[float, float] | None = None,
    colours: str | Colormap = "gray",
) -> Figure:
    """Draw pictures, what a model expects in their place, and which pixels add to their score.

    Args:
        originals: (n, D); a dozen can be told apart.
        normal: Like `originals`, as `Explanation.normal`.
        contributions: Like `originals`, as `Explanation.contributions`; of colours the sum is shown. The darkest is the
            largest of each picture.
        shape: (height, width) or (height, width, 1, 3 or 4).
        limits: The values that are black and white; by default 0 and 1, or 0 and 255, where the originals
            are such numbers, else their extremes.
        colours: A colour map of matplotlib's, or `INK_ON_PAPER`, for pictures without colours of their own.

    Raises:
        DataError: If the numbers of rows differ, or rows do not have that shape.
    """
    first = as_pictures(originals, shape, "originals")
    expected = _as_many(as_pictures(normal, shape, "normal"), "normal", first)
    parts = _as_many(as_pictures(contributions, shape, "contributions"), "contributions", first)
    parts = parts.reshape(*parts.shape[:3], -1).sum(3)
    largest = np.maximum(np.nanmax(parts, axis=(1, 2), keepdims=True), 1e-30)
    pictures = Block(np.stack([first, expected]), rows=["original", "expected"])
    heat = Block((parts / largest)[None], rows=["to blame"])
    return mosaic([pictures, heat], grey_limits(limits, originals), colours, each=[None, ((0.0, 1.0), HEAT)])


def best_and_worst(
    originals: ArrayLike,
    reconstructed: ArrayLike,
    shape: Sequence[int],
    *,
    errors: ArrayLike | None = None,
    scores: ArrayLike | None = None,
    count: int = 8,
    limits: tuple[float, float] | None = None,
    colours: str | Colormap = "gray",
) -> Figure:
    """Draw the best reconstructed pictures and the worst, with their figure below each: which ones fail?

    The worst comes first in the second half, as the best does in the first.

    Args:
        originals: (n, D).
        reconstructed: Like `originals`.
        shape: (height, width) or (height, width, 3 or 4).
        errors: One for each row, (n,), higher is worse. Without errors and scores, the squared error of a row.
        scores: Instead of errors, one for each row, (n,), higher is better, as those of `score_samples`.
        count: How many of each; half of the rows at most.
        limits: The values that are black and white; by default 0 and 1, or 0 and 255, where the originals
            are such numbers, else their extremes.
        colours: A colour map of matplotlib's, or `INK_ON_PAPER`, for pictures without colours of their own.

    Raises:
        DataError: If numbers of rows differ, there are fewer than two, rows do not have that shape, or both errors
            and scores are given.
    """
    first = as_pictures(originals, shape, "originals")
    second = _as_many(as_pictures(reconstructed, shape, "reconstructed"), "reconstructed", first)
    if errors is not None and scores is not None:
        raise DataError("errors, scores: expected one of the two; got both.")
    if len(first) < 2:
        raise DataError("originals: expected at least two rows, to have a best and a worst; got one.")
    name, given = ("errors", errors) if scores is None else ("scores", scores)
    if given is None:
        values = np.square(first - second).reshape(len(first), -1).sum(1)
    else:
        values = numbers(given, name)
        if values.shape != (len(first),) or np.isnan(values).any():
            problem = f"shape {values.shape}" if values.shape != (len(first),) else "NaN"
            raise DataError(f"{name}: expected one number for each of the {len(first)} rows; got {problem}.")
    order = np.argsort(values if scores is None else -values, kind="stable")
    shown = min(whole_number(count, "count", 1), len(first) // 2)
    unit = "squared error" if given is None else name.removesuffix("s")
    blocks = [
        Block(
            np.stack([first[chosen], second[chosen]]),
            rows=[called, "reconstruction"],
            below=[short_number(value) for value in values[chosen]],
            below_title=unit,
        )
        for called, chosen in (("best", order[:shown]), ("worst", order[::-1][:shown]))
    ]
    return mosaic(blocks, grey_limits(limits, originals), colours)


def grid(
    pictures: ArrayLike,
    shape: Sequence[int],
    *,
    columns: int | None = None,
    limits: tuple[float, float] | None = None,
    colours: str | Colormap = "gray",
) -> Figure:
    """Draw pictures side by side, row by row: samples, for example, or decoded codes of `quantile_grid`.

    Args:
        pictures: (n, D).
        shape: (height, width) or (height, width, 3 or 4).
        columns: How many stand beside each other, 1 to 1,000; places without a picture stay empty. By default as many
            as rows, or one more, so that a grid of codes, count × count, is laid out as it is.
        limits: The values that are black and white; by default 0 and 1, or 0 and 255, where the pictures
            are such numbers (or nearly, as decoded ones are), else their extremes.
        colours: A colour map of matplotlib's, or `INK_ON_PAPER`, for pictures without colours of their own.

    Raises:
        DataError: If rows do not have that shape, or columns is no such number.
    """
    all_ = as_pictures(pictures, shape, "pictures")
    if columns is None:
        columns = math.isqrt(len(all_) - 1) + 1  # the square root, rounded up
    whole_number(columns, "columns", 1)
    if columns > _MOST_COLUMNS:
        raise DataError(f"columns: expected at most {_MOST_COLUMNS:,}; got {columns:,}. Draw the pictures in parts.")
    missing = -len(all_) % columns
    padded = np.concatenate([all_, np.full((missing, *all_.shape[1:]), np.nan)])
    block = Block(padded.reshape(-1, columns, *all_.shape[1:]))
    return mosaic([block], grey_limits(limits, pictures, beyond=_BEYOND), colours)


def picture_rows(
    pictures: ArrayLike,
    shape: Sequence[int],
    *,
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    limits: tuple[float, float] | None = None,
    colours: str | Colormap = "gray",
) -> Figure:
    """Draw rows of pictures with words beside and above them: what lies on paths between codes, for example.

    Args:
        pictures: (rows, columns, D).
        shape: (height, width) or (height, width, 3 or 4).
        row_labels: Beside each row, or none.
        column_labels: Above each column, or none.
        limits: The values that are black and white; by default 0 and 1, or 0 and 255, where the pictures
            are such numbers (or nearly, as decoded ones are), else their extremes.
        colours: A colour map of matplotlib's, or `INK_ON_PAPER`, for pictures without colours of their own.

    Raises:
        DataError: If there are not as many labels as rows or columns, or pictures do not have that shape.

    Example:
        >>> len(picture_rows([[[0.0, 1.0], [1.0, 0.0]]], (1, 2), column_labels=["A", "B"]).axes)
        1
    """
    values = numbers(pictures, "pictures")
    if values.ndim < 3 or not values.shape[0] or not values.shape[1]:
        raise DataError(f"pictures: expected shape (rows, columns, D); got {values.shape}.")
    for name, labels, wanted in (("row_labels", row_labels, 0), ("column_labels", column_labels, 1)):
        if len(labels) not in (0, values.shape[wanted]):
            raise DataError(f"{name}: expected {values.shape[wanted]} texts, or none; got {len(labels)}.")
    flat = as_pictures(values.reshape(-1, *values.shape[2:]), shape, "pictures")
    block = Block(flat.reshape(*values.shape[:2], *shape), rows=row_labels, above=column_labels)
    return mosaic([block], grey_limits(limits, pictures, beyond=_BEYOND), colours)


def far_out(
    pictures: ArrayLike,
    norms: ArrayLike,
    shape: Sequence[int],
    *,
    limits: tuple[float, float] | None = None,
    colours: str | Colormap = "gray",
) -> Figure:
    """Draw what a decoder makes of z far from the origin, a row for each distance.

    Args:
        pictures: Decoded codes of `codes_at_norms`, (k, count, D).
        norms: The distances, (k,).
        shape: (height, width) or (height, width, 3 or 4).
        limits: The values that are black and white; by default 0 and 1, or 0 and 255, where the pictures
            are such numbers (or nearly, as decoded ones are), else their extremes.
        colours: A colour map of matplotlib's, or `INK_ON_PAPER`, for pictures without colours of their own.

    Raises:
        DataError: If there is not one row for each norm, or pictures do not have that shape.
    """
    rows, distances = numbers(pictures, "pictures"), numbers(norms, "norms")
    if distances.shape != rows.shape[:1]:
        raise DataError(f"norms: expected one for each row of pictures, {rows.shape[:1]}; got {distances.shape}.")
    labels = [f"‖z‖ = {distance:g}" for distance in distances]
    return picture_rows(pictures, shape, row_labels=labels, limits=limits, colours=colours)


def interpolation(
    vae: Any,
    x_a: ArrayLike,
    x_b: ArrayLike,
    shape: Sequence[int],
    *,
    steps: int = 10,
    context: Any = None,
    limits: tuple[float, float] | None = None,
    colours: str | Colormap = "gray",
) -> Figure:
    """Draw what lies on the straight line between the codes of two rows, one pair in each row of the figure.

    `linear_path` or `spherical_path`, decoded, and `picture_rows` do the same step by step.

    Args:
        vae: A fitted estimator with `transform` and `inverse_transform`.
        x_a: Where lines begin, (pairs, D).
        x_b: Where they end, (pairs, D).
        shape: (height, width) or (height, width, 3 or 4).
        steps: Pictures on each line, its ends among them.
        context: What the model is conditioned on, where it is: of each pair, or one for all, as `transform` takes it.
            It is the same from one end to the other.
        limits: The values that are black and white; by default 0 and 1, or 0 and 255, where `x_a` and `x_b`
            are such numbers, else their extremes.
        colours: A colour map of matplotlib's, or `INK_ON_PAPER`, for pictures without colours of their own.

    Raises:
        DataError: If the numbers of rows differ, or rows do not have that shape, or the context does not fit.
    """
    begin = as_pictures(x_a, shape, "x_a")
    _as_many(as_pictures(x_b, shape, "x_b"), "x_b", begin, "x_a")
    given = beside(context)
    z_a, z_b = (np.asarray(vae.transform(np.asarray(x), **given)) for x in (x_a, x_b))
    z = linear_path(z_a, z_b, steps)
    # Step by step, so that the context is that of the pairs in any form that the model takes.
    decoded = [np.asarray(vae.inverse_transform(z[:, step], **given)).reshape(len(z), -1) for step in range(steps)]
    labels = ["A", *[""] * (steps - 2), "B"]
    limits = grey_limits(limits, x_a, x_b)
    return picture_rows(np.stack(decoded, 1), shape, column_labels=labels, limits=limits, colours=colours)


def _as_many(
    found: NDArray[np.float64], name: str, first: NDArray[np.float64], called: str = "originals"
) -> NDArray[np.float64]:
    if len(found) != len(first):
        raise DataError(f"{name}: expected {len(first)} rows, as many as {called}; got {len(found)}.")
    return found

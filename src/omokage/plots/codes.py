"""The z that are worth decoding: grids over the prior, paths between codes, points far outside.

Each function gives an array of codes for `inverse_transform`; `grid` and `picture_rows` draw what comes back.
"""

from __future__ import annotations  # so that signatures show `ArrayLike`, not the union behind it

from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from omokage.errors import DataError
from omokage.plots.checks import codes, like, numbers, whole_number

_PARALLEL = 1e-6  # sine of an angle below which a circle through two directions is not defined


def quantile_grid(count: int) -> NDArray[np.float64]:
    """Return a grid of two-dimensional z, each standing for an equal share of the standard normal prior.

    Along each dimension z = Φ⁻¹((i + ½) / count), as Kingma and Welling ("Auto-Encoding Variational Bayes", 2014,
    figure 4) draw the manifold that a decoder has learned.

    Args:
        count: Points along each dimension.

    Returns:
        (count * count, 2), row by row as `grid(..., columns=count)` lays out pictures: the first dimension rises to
        the right, the second one upwards.

    Raises:
        DataError: If count is not a whole number above zero.

    Example:
        >>> quantile_grid(3)[:3].round(2).tolist()
        [[-0.97, 0.97], [0.0, 0.97], [0.97, 0.97]]
    """
    normal = NormalDist()
    return _square([normal.inv_cdf((i + 0.5) / count) for i in range(whole_number(count, "count", 1))])


def range_grid(count: int, low: float, high: float) -> NDArray[np.float64]:
    """Return a grid of two-dimensional z at equal distances, its edges at low and high.

    Args:
        count: Points along each dimension.
        low: The least value, left and at the bottom.
        high: The greatest.

    Returns:
        (count * count, 2), laid out as those of `quantile_grid`.

    Raises:
        DataError: If count is not a whole number above zero, or low is not below high.

    Example:
        >>> range_grid(2, -3, 3).tolist()
        [[-3.0, 3.0], [3.0, 3.0], [-3.0, -3.0], [3.0, -3.0]]
    """
    if not (np.isfinite([low, high]).all() and low < high):
        raise DataError(f"low, high: expected two numbers, the first below the second; got {low!r} and {high!r}.")
    return _square(np.linspace(low, high, whole_number(count, "count", 1)).tolist())


def linear_path(z_a: ArrayLike, z_b: ArrayLike, steps: int = 10) -> NDArray[np.float64]:
    """Return codes on straight lines.

    Args:
        z_a: Where they begin, (pairs, L).
        z_b: Where they end, (pairs, L).
        steps: Codes on each line, its ends among them.

    Returns:
        (pairs, steps, L).

    Raises:
        DataError: If the shapes differ, a number is not finite, or there are fewer than two steps.

    Example:
        >>> linear_path([[0.0, 0.0]], [[2.0, 4.0]], 3).tolist()
        [[[0.0, 0.0], [1.0, 2.0], [2.0, 4.0]]]
    """
    a, b, share = _ends(z_a, z_b, steps)
    return (1 - share) * a + share * b


def spherical_path(z_a: ArrayLike, z_b: ArrayLike, steps: int = 10) -> NDArray[np.float64]:
    """Return codes on arcs: the direction turns evenly from one to the other, the length changes evenly.

    In many dimensions nearly all of a normal prior lies near a sphere of radius √L, and the middle of a straight line
    lies inside, where the decoder has seen little. Where two codes are parallel, or one is zero, there is no such arc,
    and the line is straight.

    Args:
        z_a: Where they begin, (pairs, L).
        z_b: Where they end, (pairs, L).
        steps: Codes on each arc, its ends among them.

    Returns:
        (pairs, steps, L).

    Raises:
        DataError: If the shapes differ, a number is not finite, or there are fewer than two steps.

    Example:
        >>> spherical_path([[2.0, 0.0]], [[0.0, 2.0]], 3).round(3).tolist()
        [[[2.0, 0.0], [1.414, 1.414], [0.0, 2.0]]]
    """
    a, b, share = _ends(z_a, z_b, steps)  # (pairs, 1, L) and (steps, 1)
    lengths = [np.linalg.norm(end, axis=-1, keepdims=True) for end in (a, b)]
    u, v = (end / np.where(length > 0, length, 1) for end, length in zip((a, b), lengths, strict=True))
    # Half the chord gives the angle precisely where the cosine cannot: near 0 and near π.
    angle = 2 * np.arctan2(np.linalg.norm(u - v, axis=-1), np.linalg.norm(u + v, axis=-1))[..., None]
    sine = np.sin(angle)
    curved = (sine > _PARALLEL) & (lengths[0] > 0) & (lengths[1] > 0)
    turned = (np.sin((1 - share) * angle) * u + np.sin(share * angle) * v) / np.where(curved, sine, 1)
    arc = turned * ((1 - share) * lengths[0] + share * lengths[1])
    return np.where(curved, arc, (1 - share) * a + share * b)


def codes_at_norms(norms: ArrayLike, count: int, latent_dim: int, *, seed: int = 0) -> NDArray[np.float64]:
    """Return codes at stated distances from the origin, along random directions: what a decoder makes of z far outside.

    Args:
        norms: Distances, (k,); those of draws from a standard normal prior are about √latent_dim.
        count: How many directions, the same for each distance.
        latent_dim: L.
        seed: Of the directions.

    Returns:
        (k, count, L).

    Raises:
        DataError: If a norm is negative or not finite, or count or latent_dim is not a whole number above zero.

    Example:
        >>> codes_at_norms([8, 21], 5, 3).shape
        (2, 5, 3)
    """
    distances = numbers(norms, "norms")
    if distances.ndim != 1 or not len(distances) or not (np.isfinite(distances) & (distances >= 0)).all():
        raise DataError(f"norms: expected distances of zero or more, of shape (k,); got {norms!r}.")
    shape = (whole_number(count, "count", 1), whole_number(latent_dim, "latent_dim", 1))
    directions = np.random.default_rng(seed).normal(size=shape)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return distances[:, None, None] * directions


def _square(values: list[float]) -> NDArray[np.float64]:
    """Return all pairs of values, the first rising to the right and the second upwards."""
    first, second = np.meshgrid(values, values[::-1])
    return np.column_stack([first.ravel(), second.ravel()])


def _ends(z_a: ArrayLike, z_b: ArrayLike, steps: int) -> tuple[NDArray[np.float64], NDArray[np.float64], Any]:
    """Return the ends of paths, (pairs, 1, L), and the share of the way that is done at each step, (steps, 1)."""
    a = codes(z_a, "z_a")
    b = like(codes(z_b, "z_b"), "z_b", a, "z_a")
    return a[:, None], b[:, None], np.linspace(0, 1, whole_number(steps, "steps", 2))[:, None]

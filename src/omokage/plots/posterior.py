"""What is known of z: how far it moves for one x, and whether all z together are distributed as the prior.

q(z|x) says which z may stand for x; averaged over the data it is the aggregated posterior, q(z) = E_x q(z|x). Samples
of the model are decoded from the prior p(z): they can be as good as the reconstructions only where q(z) covers it.
"""

from __future__ import annotations  # so that signatures show `ArrayLike`, not the union behind it

from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Ellipse, Patch
from numpy.typing import ArrayLike, NDArray

from omokage.errors import DataError
from omokage.plots.checks import codes, like, numbers
from omokage.plots.style import (
    CLASSES,
    MUTED,
    POINTS,
    RULE,
    TRAINING,
    blank_figure,
    legend,
    plain_axes,
    titles,
)

_DIMENSIONS = 12  # that are shown
_PLACES = 80  # of a line of quantiles
_SHARE = 0.95  # of lines that lie within the band at any one place
_TRIALS = 4000


def posterior_jitter(
    means: ArrayLike,
    deviations: ArrayLike,
    rows: Sequence[int],
    *,
    draws: ArrayLike | None = None,
    dimensions: tuple[int, int] | None = None,
    names: Sequence[object] | None = None,
) -> Figure:
    """Draw how far z drawn from q(z|x) moves for a few x, against the means of all.

    Above: two dimensions, with the means of all rows in grey, and of each chosen row the mean, the ellipses of one and
    two deviations, and its draws. Below: every dimension (of many the twelve most active), with the mean and bars of
    one and two deviations, before a grey bar of two deviations of all the means.

    Args:
        means: Of q(z|x), (n, L) with L of at least 2.
        deviations: Standard deviations of q(z|x), (n, L).
        rows: Which rows are shown: at most ten numbers from 0 to n - 1.
        draws: Draws of z for those rows, (k, len(rows), L).
        dimensions: The two that are drawn above, counted from 0; by default those whose means vary most.
        names: What each of those rows is called; by default "row 17".

    Raises:
        DataError: If shapes differ, a number is not finite, a deviation is negative, or a row or dimension is not
            there.
    """
    mu = codes(means, "means", dimensions=2)
    sigma = like(codes(deviations, "deviations", dimensions=2), "deviations", mu, "means")
    if (sigma < 0).any():
        raise DataError(f"deviations: expected standard deviations of zero or more; got {sigma.min():.4g}.")
    chosen = _row_numbers(rows, len(mu))
    called = [f"row {row}" for row in chosen] if names is None else [str(name) for name in names]
    if len(called) != len(chosen):
        raise DataError(f"names: expected one for each of the {len(chosen)} rows; got {len(called)}.")
    drawn = _given_draws(draws, len(chosen), mu.shape[1])
    active = np.argsort(-mu.var(0), kind="stable")
    plane = _plane_of(dimensions, active, mu.shape[1])

    figure = blank_figure(6.4)
    upper, lower = figure.subplots(2, 1, gridspec_kw={"height_ratios": [2.4, 1]})
    _draw_plane(plain_axes(upper), mu, sigma, chosen, drawn, plane)
    shown = np.sort(active[:_DIMENSIONS])
    _draw_dimensions(plain_axes(lower), mu, sigma, chosen, shown)
    if mu.shape[1] > _DIMENSIONS:
        titles(lower, title=f"the {_DIMENSIONS} most active of {mu.shape[1]} dimensions", x="latent dimension", y="z")
    style: dict[str, Any] = {"linestyle": "", "marker": "o", "markersize": 5, "markeredgewidth": 0}
    handles = [Line2D([], [], color=CLASSES[number], **style) for number in range(len(chosen))]
    handles.append(Line2D([], [], color=RULE, **style))
    legend(upper, handles, [*called, "all means"], loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def normality(Z: ArrayLike, *, dimensions: Sequence[int] | None = None, seed: int = 0) -> Figure:
    """Draw quantiles of z against those of the standard normal prior, a panel for each dimension: is z really normal?

    On the diagonal they agree. The grey band holds, at any one place, 95 % of the lines that n draws from the prior
    itself would give: the k-th smallest of n is at the share Beta(k, n + 1 - k) of the distribution.

    Args:
        Z: Draws of z, one from q(z|x) for each row, (n, L) with n of at least 10. Means alone are too narrow.
        dimensions: Which are drawn, counted from 0; by default all, or the twelve farthest from the diagonal.
        seed: Of the draws that give the band.

    Raises:
        DataError: If Z is not such a matrix, a number is not finite, or a dimension is not there.
    """
    Z = np.sort(codes(Z, "Z", rows=10), axis=0)
    ranks = _ranks(len(Z))  # from 1
    expected = _normal_quantiles((ranks - 0.5) / len(Z))
    shares = np.random.default_rng(seed).beta(ranks, len(Z) + 1 - ranks, size=(_TRIALS, len(ranks)))
    ends = np.quantile(shares, [(1 - _SHARE) / 2, (1 + _SHARE) / 2], axis=0)
    low, high = _normal_quantiles(ends[0]), _normal_quantiles(ends[1])
    found = Z[ranks - 1]  # (places, L)
    chosen = _chosen_dimensions(dimensions, found, expected)
    columns = min(3, len(chosen))
    rows = -(-len(chosen) // columns)
    figure = blank_figure(0.55 + {1: 3.6, 2: 2.4, 3: 1.75}[columns] * rows)
    reach = 1.05 * max(float(np.abs(lines).max()) for lines in (found[:, chosen], low, high))
    for number, dimension in enumerate(chosen):
        axes = plain_axes(figure.add_subplot(rows, columns, number + 1))
        axes.fill_between(expected, low, high, color=MUTED, alpha=0.3, linewidth=0)
        axes.plot(expected[[0, -1]], expected[[0, -1]], color=MUTED, linewidth=0.8, linestyle="-")
        axes.plot(expected, found[:, dimension], color=TRAINING, linewidth=1.4, linestyle="-", marker="")
        axes.set_xlim(expected[0] * 1.05, expected[-1] * 1.05)
        axes.set_ylim(-reach, reach)
        bottom, left = number + columns >= len(chosen), number % columns == 0
        x, y = "standard normal" if bottom else "", "quantile of z" if left else ""
        titles(axes, title=f"dimension {dimension}", x=x, y=y)
    line: dict[str, Any] = {"marker": "", "linestyle": "-"}
    handles = [
        Line2D([], [], color=TRAINING, linewidth=1.4, **line),
        Line2D([], [], color=MUTED, linewidth=0.8, **line),
        Patch(color=MUTED, alpha=0.3, linewidth=0),
    ]
    legend(figure, handles, ["z", "the prior", f"95 % of {len(Z):,} draws"], loc="outside upper right", ncols=3)
    return figure


def _row_numbers(rows: Sequence[int], n: int) -> list[int]:
    chosen = numbers(rows, "rows")
    whole = chosen.ndim == 1 and 0 < len(chosen) <= len(CLASSES) and np.equal(np.mod(chosen, 1), 0).all()
    if not whole or chosen.min() < 0 or chosen.max() >= n:
        raise DataError(f"rows: expected one to {len(CLASSES)} whole numbers from 0 to {n - 1}; got {rows!r}.")
    return [int(row) for row in chosen]


def _given_draws(draws: ArrayLike | None, rows: int, dimensions: int) -> NDArray[np.float64] | None:
    if draws is None:
        return None
    found = numbers(draws, "draws")
    if found.ndim != 3 or found.shape[1:] != (rows, dimensions):
        raise DataError(f"draws: expected shape (k, {rows}, {dimensions}); got {found.shape}.")
    return found


def _plane_of(dimensions: Sequence[int] | None, active: NDArray[np.int64], latent_dim: int) -> tuple[int, int]:
    if dimensions is None:
        first, second = sorted(int(number) for number in active[:2])
        return first, second
    if len(dimensions) != 2 or len(set(dimensions)) != 2 or not set(dimensions) <= set(range(latent_dim)):
        raise DataError(
            f"dimensions: expected two different whole numbers from 0 to {latent_dim - 1}; got {dimensions!r}."
        )
    return dimensions[0], dimensions[1]


def _chosen_dimensions(
    dimensions: Sequence[int] | None, found: NDArray[np.float64], expected: NDArray[np.float64]
) -> list[int]:
    latent_dim = found.shape[1]
    if dimensions is None:
        away = np.square(found - expected[:, None]).sum(0)
        return sorted(int(number) for number in np.argsort(-away, kind="stable")[:_DIMENSIONS])
    if not len(dimensions) or not set(dimensions) <= set(range(latent_dim)):
        raise DataError(f"dimensions: expected whole numbers from 0 to {latent_dim - 1}; got {dimensions!r}.")
    return list(dimensions)


def _draw_plane(
    axes: Axes,
    mu: NDArray[np.float64],
    sigma: NDArray[np.float64],
    chosen: Sequence[int],
    draws: NDArray[np.float64] | None,
    plane: tuple[int, int],
) -> None:
    i, j = plane
    style: dict[str, Any] = {"linewidths": 0}
    axes.scatter(mu[:, i], mu[:, j], s=7, color=RULE, rasterized=len(mu) > POINTS, zorder=1, **style)
    for number, row in enumerate(chosen):
        colour = CLASSES[number]
        if draws is not None:
            axes.scatter(draws[:, number, i], draws[:, number, j], s=6, color=colour, alpha=0.6, zorder=2, **style)
        centre = (float(mu[row, i]), float(mu[row, j]))
        look: dict[str, Any] = {"fill": False, "edgecolor": colour, "zorder": 3}
        for times, width in ((1, 1.6), (2, 1.0)):
            across, up = 2 * times * sigma[row, i], 2 * times * sigma[row, j]
            axes.add_patch(Ellipse(centre, across, up, linewidth=width, **look))
        axes.scatter(mu[row, i], mu[row, j], s=22, color=colour, zorder=4, edgecolors="white", linewidths=0.8)
    axes.set_aspect("equal", adjustable="datalim")
    axes.autoscale_view()
    words = "means of all rows; of a few, ellipses of one and two deviations"
    words += ", and draws" if draws is not None else ""
    titles(axes, title=words, x=f"z, dimension {i}", y=f"z, dimension {j}")


def _draw_dimensions(
    axes: Axes,
    mu: NDArray[np.float64],
    sigma: NDArray[np.float64],
    chosen: Sequence[int],
    shown: NDArray[np.int64],
) -> None:
    places = np.arange(len(shown))
    centre, spread = mu[:, shown].mean(0), mu[:, shown].std(0)
    axes.bar(places, 4 * spread, bottom=centre - 2 * spread, width=0.8, color=RULE, alpha=0.6, linewidth=0)
    for number, row in enumerate(chosen):
        at = places + 0.7 * ((number + 0.5) / len(chosen) - 0.5)
        for times, width in ((1, 2.4), (2, 0.9)):
            reach = times * sigma[row, shown]
            middle = mu[row, shown]
            axes.vlines(at, middle - reach, middle + reach, color=CLASSES[number], linewidth=width, linestyles="-")
        axes.plot(at, mu[row, shown], color=CLASSES[number], linestyle="", marker="o", markersize=3)
    axes.use_sticky_edges = False
    axes.margins(y=0.08)
    axes.set_xticks(places, [str(dimension) for dimension in shown])
    axes.grid(visible=False, axis="x")
    titles(axes, title="every dimension", x="latent dimension", y="z")


def _ranks(n: int) -> NDArray[np.int64]:
    """Return ranks out of 1 to n whose quantiles are about evenly apart, the first and the last among them."""
    if n <= _PLACES:
        return np.arange(1, n + 1)
    normal = NormalDist()
    end = -normal.inv_cdf(0.5 / n)
    shares = np.array([normal.cdf(value) for value in np.linspace(-end, end, _PLACES)])
    return np.unique(np.clip(np.round(shares * n + 0.5).astype(np.int64), 1, n))


def _normal_quantiles(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    normal = NormalDist()
    return np.array([normal.inv_cdf(float(np.clip(share, 1e-300, 1 - 1e-16))) for share in shares])

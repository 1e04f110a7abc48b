"""A monotone spline from the values of a column to normal scores, with its inverse and its slope.

Heavy tails, two heaps and ends become a bell, so that one width fits all of the column. Between knots, which are
quantiles, the map is a rational quadratic function: smooth, increasing, and inverted by a formula (Gregory and
Delbourgo, "Piecewise Rational Quadratic Interpolation to Monotonic Data", 1982; Durkan et al., "Neural Spline Flows",
2019). Beyond the outer knots it goes on straight.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

Values = NDArray[np.float64]
_KNOTS = 33


@dataclass(frozen=True)
class Spline:
    """An increasing map.

    Attributes:
        knots: Values, ascending, (m,), 2 at least.
        scores: What they are mapped to, ascending, (m,).

    Example:
        >>> spline = Spline.of(np.exp(np.linspace(-3, 3, 500)))
        >>> x = np.array([0.1, 1.0, 15.0])
        >>> np.allclose(spline.back(spline(x)), x), bool(abs(spline(np.ones(1))[0]) < 0.01)
        (True, True)
    """

    knots: tuple[float, ...]
    scores: tuple[float, ...]

    @staticmethod
    def of(values: Values, knots: int = _KNOTS) -> "Spline | None":
        """Return the spline of some values, (n,); `None` where fewer than four of their quantiles differ."""
        farthest = min(3.0, ndtri(1 - 0.5 / len(values)))
        places = np.concatenate([[0.0], ndtr(np.linspace(-farthest, farthest, knots)), [1.0]])  # more in the tails
        found = np.unique(np.quantile(values, places, method="hazen"))
        if len(found) < 4:
            return None
        count = len(values)
        # The middle of the share that lies at each knot: where values repeat, several quantiles are one.
        below = np.searchsorted(np.sort(values), found, "left"), np.searchsorted(np.sort(values), found, "right")
        share = np.clip((below[0] + below[1]) / 2 / count, 0.5 / count, 1 - 0.5 / count)
        scores = ndtri(share)
        apart = np.diff(found) > 1e-12 * (found[-1] - found[0]) + 1e-9 * np.abs(found[1:])  # else slopes are rounding
        kept = np.concatenate([[True], apart & (np.diff(scores) > 1e-6)])
        found, scores = found[kept], scores[kept]
        if len(found) < 4:
            return None
        return Spline(tuple(found.tolist()), tuple(scores.tolist()))

    def _parts(self) -> tuple[Values, Values, Values, Values]:
        """Return knots, scores, slopes between knots, (m - 1,), and slopes at them, (m,)."""
        x, y = np.array(self.knots), np.array(self.scores)
        between = np.diff(y) / np.diff(x)
        width = np.diff(x)
        # At inner knots the harmonic mean, weighted by the other side's width, which keeps the map increasing.
        inner = (width[:-1] + width[1:]) / (width[1:] / between[:-1] + width[:-1] / between[1:])
        # At the ends, whose slope goes on beyond them, that over a whole unit of score is more to be trusted than that
        # of the last two knots, which may be near each other by chance.
        first, last = np.searchsorted(y, y[0] + 1), np.searchsorted(y, y[-1] - 1, "right") - 1
        first, last = max(first, 1), min(last, len(y) - 2)
        low = min(between[0], (y[first] - y[0]) / (x[first] - x[0]))
        high = min(between[-1], (y[-1] - y[last]) / (x[-1] - x[last]))
        return x, y, between, np.concatenate([[low], inner, [high]])

    def _piece(self, values: Values, ends: Values) -> NDArray[np.int64]:
        return np.clip(np.searchsorted(ends, values, "right") - 1, 0, len(ends) - 2)

    def __call__(self, values: Values) -> Values:
        """Return scores, like values; NaN stays."""
        x, y, between, at = self._parts()
        k = self._piece(values, x)
        with np.errstate(invalid="ignore", divide="ignore"):
            t = np.clip((values - x[k]) / (x[k + 1] - x[k]), 0, 1)
            top = between[k] * t**2 + at[k] * t * (1 - t)
            low = between[k] + (at[k + 1] + at[k] - 2 * between[k]) * t * (1 - t)
            inside = y[k] + (y[k + 1] - y[k]) * top / low
            outside = np.where(values < x[0], y[0] + at[0] * (values - x[0]), y[-1] + at[-1] * (values - x[-1]))
        return np.where((values < x[0]) | (values > x[-1]), outside, inside) + 0 * values

    def back(self, scores: Values) -> Values:
        """Return the values of scores, like them; NaN stays."""
        x, y, between, at = self._parts()
        k = self._piece(scores, y)
        with np.errstate(invalid="ignore", divide="ignore"):
            height = y[k + 1] - y[k]
            there = np.clip(scores - y[k], 0, height)
            bend = at[k + 1] + at[k] - 2 * between[k]
            a = height * (between[k] - at[k]) + there * bend
            b = height * at[k] - there * bend
            c = -between[k] * there
            root = np.sqrt(np.maximum(b**2 - 4 * a * c, 0))
            t = np.where(b >= 0, 2 * c / (-b - root), (root - b) / (2 * a))  # whichever subtracts no like numbers
            inside = x[k] + np.clip(t, 0, 1) * (x[k + 1] - x[k])
            outside = np.where(scores < y[0], x[0] + (scores - y[0]) / at[0], x[-1] + (scores - y[-1]) / at[-1])
        return np.where((scores < y[0]) | (scores > y[-1]), outside, inside) + 0 * scores

    def log_slope(self, values: Values) -> Values:
        """Return log d score / d value, in nats, like values; NaN stays."""
        x, _, between, at = self._parts()
        k = self._piece(values, x)
        with np.errstate(invalid="ignore", divide="ignore"):
            t = np.clip((values - x[k]) / (x[k + 1] - x[k]), 0, 1)
            low = between[k] + (at[k + 1] + at[k] - 2 * between[k]) * t * (1 - t)
            top = at[k + 1] * t**2 + 2 * between[k] * t * (1 - t) + at[k] * (1 - t) ** 2
            inside = np.log(between[k] ** 2 * top / low**2)
            outside = np.log(np.where(values < x[0], at[0], at[-1]))
        return np.where((values < x[0]) | (values > x[-1]), outside, inside) + 0 * values

    def to_json(self) -> dict[str, Any]:
        """Return the spline as a JSON object."""
        return {"knots": list(self.knots), "scores": list(self.scores)}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "Spline":
        """Return the spline that `to_json` wrote; raises ValueError if it is not sound."""
        knots, scores = (np.array(value[name], np.float64) for name in ("knots", "scores"))
        sound = knots.ndim == 1 and len(knots) >= 4 and knots.shape == scores.shape and np.isfinite(knots).all()
        if not sound or not np.isfinite(scores).all() or (np.diff(knots) <= 0).any() or (np.diff(scores) <= 0).any():
            raise ValueError("knots or scores of a spline do not ascend")
        return Spline(tuple(knots.tolist()), tuple(scores.tolist()))

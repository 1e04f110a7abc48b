"""What a score means, by the scores of normal rows that were held out. Pure functions of arrays.

A row has one score, the mean over the members, and one p-value: the share of the calibration rows, the row itself
included, that are at least as strange. It is flagged at the rate α where its p-value is at most α, which is to say
where its score is above one threshold.

Split conformal prediction (Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World", 2005): where no member
was trained on a calibration row, and a new normal row and the n calibration rows are exchangeable, the p-value is at
most α with probability at most α, for every α.

With folds (after Vovk, "Cross-conformal predictors", 2015) each calibration row is judged by the one member that left
it out, and a new row by the mean over all members. For the small α that one flags at this is careful, since a mean
varies less than what it is a mean of; but it is no theorem.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import beta

from omokage.errors import DataError, ParameterError

Array = NDArray[np.float64]
_SORTED_AT_ONCE = 8192  # scores
_ENDLESS = 1e299  # scores from here on stand for infinite ones


@dataclass(frozen=True, eq=False)
class Calibration:
    """Scores of held-out normal rows; higher is stranger.

    Attributes:
        groups: Ascending scores, one array for each column of what is judged by them: one for the whole ensemble, or
            one for each member.
    """

    groups: tuple[Array, ...]

    @functools.cached_property
    def scores(self) -> Array:
        """The scores of all groups, ascending, (n,)."""
        return self.groups[0] if len(self.groups) == 1 else np.sort(np.concatenate(self.groups))

    @staticmethod
    def of(groups: Sequence[ArrayLike]) -> "Calibration":
        """Return the calibration by these scores, in any order."""
        return Calibration(tuple(np.sort(np.asarray(group, np.float64)) for group in groups))

    @property
    def count(self) -> int:
        """The number of calibration rows, n."""
        return sum(map(len, self.groups))

    @property
    def least_rate(self) -> float:
        """The smallest p-value that there can be, 1 / (n + 1)."""
        return 1 / (self.count + 1)

    def columns(self, scores: Array) -> Array:
        """Return what each group is compared with, (groups, n), for scores of rows to each member, (n, M)."""
        return scores.mean(1, keepdims=True).T if len(self.groups) == 1 else scores.T

    def p_values(self, scores: Array) -> Array:
        """Return the p-value of each row, (n,), for scores to each member, (n, M)."""
        above = self.count - _places(self.scores, scores.mean(1))
        return np.asarray((1 + above) / (self.count + 1))

    def check_rate(self, rate: float) -> float:
        """Return a rate of false alarms that can be kept.

        Raises:
            ParameterError: If it is no rate, or below the smallest p-value.
        """
        if isinstance(rate, bool) or not isinstance(rate, int | float | np.number) or not 0 < rate < 1:
            raise ParameterError(f"false_alarm_rate={rate!r}: expected a number between 0 and 1.")
        if rate < self.least_rate:
            raise ParameterError(
                f"false_alarm_rate={rate:g}: with {self.count} calibration rows the smallest p-value is 1 / "
                f"{self.count + 1} = {self.least_rate:.3g}, so no row could ever be flagged. Ask for at least that, or "
                f"calibrate on {int(np.ceil(1 / rate)) - 1:,} normal rows or more (`recalibrate`)."
            )
        return float(rate)

    def threshold(self, rate: float) -> float:
        """Return the score above which the p-value of a row is at most `rate`."""
        self.check_rate(rate)
        least = int(np.rint(rate * (self.count + 1)))  # the largest k for which k / (n + 1) is at most the rate
        least -= least / (self.count + 1) > rate
        return float(self.scores[self.count - max(least, 1)])


def _places(group: Array, column: Array) -> NDArray[np.int64]:
    """Return how many numbers of an ascending group are below each of a column's, (n,).

    Neighbours in a sorted block look at the same part of the group, so sorting first takes half the time.
    """
    places = np.empty(len(column), np.int64)
    for start in range(0, len(column), _SORTED_AT_ONCE):
        block = column[start : start + _SORTED_AT_ONCE]
        order = np.argsort(block)
        places[start : start + _SORTED_AT_ONCE][order] = np.searchsorted(group, block[order])
    return places


@dataclass(frozen=True, eq=False)
class EmpiricalTail:
    """From scores of any unit to nats of surprise, -log of the share of reference rows that are at least as strange.

    Scores of several kinds become comparable, so that their mean is one score (Fisher's way to combine p-values).
    Between two reference rows it is interpolated, and beyond the strangest it grows with the logarithm of the distance,
    so that no two scores there become one.

    Attributes:
        scores: Of the reference rows, ascending.
    """

    scores: Array

    @staticmethod
    def of(scores: ArrayLike) -> "EmpiricalTail":
        """Return the tail of these scores, in any order; those that are beyond all numbers do not count."""
        known = np.asarray(scores, np.float64)
        inside = known[np.abs(known) < _ENDLESS]
        return EmpiricalTail(np.sort(inside) if len(inside) else np.zeros(1))

    def to_array(self) -> Array:
        """Return the numbers, (n,), for a file."""
        return self.scores

    def __call__(self, scores: ArrayLike) -> Array:
        """Return the surprise of each score, in nats, at least 0."""
        values, count = np.asarray(scores, np.float64), len(self.scores)
        known, first = np.unique(self.scores, return_index=True)
        surprise = np.log(count + 1) - np.log(count + 1 - first)
        top, middle = self.scores[-1], self.scores[count // 2]
        beyond = np.maximum(values - top, 0) / max(top - middle, 1e-9 * max(abs(top), 1.0))
        return np.asarray(np.interp(values, known, surprise) + np.log1p(beyond))


def severity(scores: ArrayLike, calibration: Calibration) -> Array:
    """Return a number from 0 to 100 for people, which rises with the score.

    0 is the median of the calibration rows or less strange, 50 their 99th percentile, 75 twice as far from the median,
    and each further such distance halves what is left to 100.

    Example:
        >>> severity([0, 50, 99, 148], Calibration.of([np.arange(101)])).round()
        array([ 0.,  0., 50., 75.])
    """
    middle, high = np.quantile(calibration.scores, [0.5, 0.99])
    distance = (np.asarray(scores, np.float64) - middle) / max(high - middle, 1e-12)
    return np.asarray(100 * (1 - np.exp2(-np.maximum(distance, 0))))


def benjamini_hochberg(p_values: ArrayLike, rate: float = 0.05) -> NDArray[np.bool_]:
    """Return which rows of a batch to flag so that at most a share `rate` of the flagged are false, on average.

    Source: Benjamini and Hochberg, "Controlling the False Discovery Rate", 1995. It holds for conformal p-values, which
    share their calibration rows (Bates et al., "Testing for Outliers with Conformal p-values", 2023).

    Example:
        >>> benjamini_hochberg([0.001, 0.012, 0.04, 0.5], 0.05)
        array([ True,  True, False, False])
    """
    p = np.asarray(p_values, np.float64)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise DataError("p_values: expected one row of numbers from 0 to 1.")
    if not 0 < rate < 1:
        raise ParameterError(f"rate={rate!r}: expected a number between 0 and 1.")
    order = np.sort(p)
    passed = np.flatnonzero(order <= rate * np.arange(1, len(p) + 1) / len(p))
    return np.asarray(p <= order[passed[-1]]) if len(passed) else np.zeros(len(p), bool)


def interval(count: int, total: int, level: float = 0.95) -> tuple[float, float]:
    """Return the exact interval for a rate of which `count` of `total` were seen (Clopper and Pearson, 1934).

    Example:
        >>> low, high = interval(0, 100)
        >>> low, round(high, 3)
        (0.0, 0.036)
    """
    if not 0 <= count <= total or total < 1:
        raise DataError(f"expected a count from 0 to the total, which is at least 1; got {count} of {total}.")
    tail = (1 - level) / 2
    low = 0.0 if count == 0 else float(beta.ppf(tail, count, total - count + 1))
    high = 1.0 if count == total else float(beta.ppf(1 - tail, count + 1, total - count))
    return low, high

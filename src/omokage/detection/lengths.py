"""What scores are usual for rows with so many observed entries: series of unlike lengths, with holes, short windows.

A sum over the steps of a series grows with their number, and a mean over few steps varies more than one over many. So
without more, the length of a series would decide whether it is flagged. Scores are therefore compared given the number
of observed entries: less what is usual for so many, over the spread that is usual for so many.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from omokage.batch import Batch

Array = NDArray[np.float64]
_ROWS, _MOST = 20, 8  # rows of about one count that say what is usual, at least; how many such groups, at most


@dataclass(frozen=True, eq=False)
class Usual:
    """Middle and spread of a score for some counts of observed entries; between them interpolated, the same beyond.

    Attributes:
        counts: Of observed entries, ascending, (k,).
        middle: The median of the score there, (k,); of a sum over entries, that of the mean over them.
        spread: How far the scores above the median are from it on average, (k,).
        total: Whether the score is a sum over entries.

    Example:
        >>> usual = Usual.of(np.tile([9.0, 10.0, 11.0], 20), np.repeat(10, 60), total=True)
        >>> usual([10.0, 20.0], [10, 20])  # a series twice as long, with a sum twice as large, is as usual
        array([10., 10.])
    """

    counts: Array
    middle: Array
    spread: Array
    total: bool

    @staticmethod
    def of(scores: ArrayLike, counts: ArrayLike, total: bool) -> "Usual":
        """Return what is usual by the scores and counts of rows, (n,) each, that do not calibrate."""
        counts = np.maximum(np.asarray(counts, np.float64), 1)
        values = np.asarray(scores, np.float64) / (counts if total else 1)
        groups = int(np.clip(len(counts) // _ROWS, 1, _MOST))
        if groups == 1 or np.ptp(counts) == 0:
            return Usual.proportional(float(np.median(counts)), total)
        parts = np.array_split(np.argsort(counts, kind="stable"), groups)
        middles = np.array([np.median(values[part]) for part in parts])
        spreads = np.array(
            [np.maximum(values[part] - middle, 0).mean() for part, middle in zip(parts, middles, strict=True)]
        )
        least = max(1e-3 * spreads.mean(), 1e-9 * np.abs(middles).mean()) or 1.0
        known, first = np.unique([counts[part].mean() for part in parts], return_index=True)
        return Usual(known, middles[first], np.maximum(spreads, least)[first], total)

    @staticmethod
    def proportional(count: float, total: bool) -> "Usual":
        """Return what is said of rows that are all of one count, or too few to tell: a sum grows with its terms."""
        return Usual(np.array([count]), np.zeros(1), np.ones(1), total)

    def __call__(self, scores: ArrayLike, counts: ArrayLike) -> Array:
        """Return scores, (n,), as if all rows had the count in the middle, in the unit in which they came."""
        counts = np.maximum(np.asarray(counts, np.float64), 1)
        here = len(self.counts) // 2
        values = np.asarray(scores, np.float64) / (counts if self.total else 1)
        middle, spread = (np.interp(counts, self.counts, known) for known in (self.middle, self.spread))
        found = self.middle[here] + (values - middle) * (self.spread[here] / spread)
        return np.asarray(found * (self.counts[here] if self.total else 1))

    @staticmethod
    def from_array(numbers: Array, total: bool) -> "Usual":
        """Return what `to_array` wrote; raises ValueError if it did not."""
        if numbers.ndim != 2 or len(numbers) != 3 or not numbers.size or not np.isfinite(numbers).all():
            raise ValueError("not what is usual for series")
        if (numbers[2] <= 0).any() or (numbers[0] < 1).any():
            raise ValueError("not what is usual for series")
        counts, middle, spread = numbers.astype(np.float64)
        return Usual(counts, middle, spread, total)

    def to_array(self) -> Array:
        """Return the numbers, (3, k), for a file."""
        return np.stack([self.counts, self.middle, self.spread])


def observed(batch: Batch) -> NDArray[np.int64]:
    """Return how many entries of each row were observed, (B,)."""
    seen = np.ones(batch.x.shape, bool) if batch.observed is None else np.broadcast_to(batch.observed, batch.x.shape)
    return seen.reshape(len(seen), -1).sum(1)

"""Which values a likelihood is a density of; what data are checked against."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Support:
    """An interval, or its whole numbers.

    Attributes:
        text: What it is, after "expected".
        low, high: The ends, which belong to it where they are finite.
        whole: Only whole numbers.
        remedy: What to do about data that lie outside.

    Example:
        >>> COUNTS.outside(np.array([-1.0, 0.0, 0.5, 7.0])).tolist()
        [True, False, True, False]
    """

    text: str
    low: float = -np.inf
    high: float = np.inf
    whole: bool = False
    remedy: str = "Choose likelihood='gaussian'."

    def outside(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """Return which values are not in it; NaN, which stands for a missing one, is."""
        outside = (values < self.low) | (values > self.high)
        return outside | ((values != np.rint(values)) & ~np.isnan(values)) if self.whole else outside

    def holds(self, other: "Support") -> bool:
        """Say whether all of another is within it; of sets of vectors, whether they are the same."""
        if self == other:
            return True
        inside = other.low >= self.low - _LEAST and other.high <= self.high and (other.whole or not self.whole)
        return inside and _LARGEST not in (-self.low, -other.low)

    @property
    def everything(self) -> bool:
        """Whether every number is in it, so that data may be shifted and scaled."""
        return self == REAL

    @staticmethod
    def of_vectors(text: str) -> "Support":
        """Return a set of vectors, of which no more is known than its name."""
        return Support(text, -_LARGEST, _LARGEST)

    @property
    def inside(self) -> float:
        """A value well within it, for places where nothing was observed."""
        if np.isfinite(self.low + self.high):
            return float(np.floor((self.low + self.high) / 2)) if self.whole else (self.low + self.high) / 2
        return float(np.clip(0.0, self.low + 1, self.high - 1))


# The smallest positive float32 whose logarithm and reciprocal are as exact as any.
_LEAST = float(np.finfo(np.float32).tiny)
_LARGEST = float(np.finfo(np.float32).max)

REAL = Support("any numbers")
UNIT = Support("values from 0 to 1", 0.0, 1.0, remedy="Divide by the largest value, or choose likelihood='gaussian'.")
POSITIVE = Support("numbers above 0", _LEAST, remedy="Shift them, or choose likelihood='gaussian'.")
NONNEGATIVE = Support("numbers of at least 0", 0.0)
COUNTS = Support("whole numbers of at least 0", 0.0, whole=True)


def levels(count: int) -> Support:
    """Return the whole numbers from 0 to `count` - 1."""
    return Support(f"whole numbers from 0 to {count - 1}", 0.0, count - 1.0, whole=True)

"""Which values a likelihood is a density of; what data are checked against."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omokage.errors import ParameterError


@dataclass(frozen=True)
class Support:
    """An interval, or its whole numbers.

    Attributes:
        text: What it is, after "expected".
        low, high: The ends, which belong to it where they are finite.
        whole: Only whole numbers.
        named: No more is known of it than its name, as of sets of vectors.
        remedy: What to do about data that lie outside.

    Example:
        >>> COUNTS.outside(np.array([-1.0, 0.0, 0.5, 7.0])).tolist()
        [True, False, True, False]
    """

    text: str
    low: float = -np.inf
    high: float = np.inf
    whole: bool = False
    named: bool = False
    remedy: str = "Choose likelihood='gaussian'."

    def outside(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """Return which values are not in it; NaN, which stands for a missing one, is."""
        outside = (values < self.low) | (values > self.high)
        return outside | ((values != np.rint(values)) & ~np.isnan(values)) if self.whole else outside

    def holds(self, other: "Support") -> bool:
        """Say whether all of another is within it; where one has but a name, whether they are the same."""
        if self.named or other.named:
            return self == other
        return other.low >= self.low - _LEAST and other.high <= self.high and (other.whole or not self.whole)

    @property
    def everything(self) -> bool:
        """Whether every number is in it, so that data may be shifted and scaled."""
        return self == REAL

    @property
    def inside(self) -> float:
        """A value well within it, for places where nothing was observed."""
        if np.isfinite(self.low + self.high):
            return float(np.floor((self.low + self.high) / 2)) if self.whole else (self.low + self.high) / 2
        return float(np.clip(0.0, self.low + 1, self.high - 1))


# The smallest positive float32 whose logarithm and reciprocal are as exact as any.
_LEAST = float(np.finfo(np.float32).tiny)

REAL = Support("any numbers")
UNIT = Support("values from 0 to 1", 0.0, 1.0, remedy="Divide by the largest value, or choose likelihood='gaussian'.")
POSITIVE = Support("numbers above 0", _LEAST, remedy="Shift them, or choose likelihood='gaussian'.")
NONNEGATIVE = Support("numbers of at least 0", 0.0)
COUNTS = Support("whole numbers of at least 0", 0.0, whole=True)


def support_of(family: Any) -> Support:
    """Return where a family lives; `REAL` if it does not say.

    Raises:
        ParameterError: If what it says is no `Support`.
    """
    support = getattr(family, "support", REAL)
    if not isinstance(support, Support):
        raise ParameterError(f"{type(family).__name__}.support: expected one of omokage.supports; got {support!r}.")
    return support


def levels(count: int) -> Support:
    """Return the whole numbers from 0 to `count` - 1."""
    return Support(f"whole numbers from 0 to {count - 1}", 0.0, count - 1.0, whole=True)

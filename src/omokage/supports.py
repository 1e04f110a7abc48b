"""Which values a likelihood is a density of; what data are checked against."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omokage.errors import ParameterError

# Ends of an interval, or what is so of it: one value, or one for each entry as nested tuples.
Bound = Any
Said = Any

WHOLE = 2**24  # beyond it float32, in which models calculate, does not tell whole numbers apart
_LEAST = float(np.finfo(np.float32).tiny)  # the smallest positive float32 with an exact logarithm and reciprocal


@dataclass(frozen=True)
class Support:
    """An interval, or its whole numbers.

    Attributes:
        text: What it is, after "expected".
        low, high: The ends, where they are finite; one number, or one for each entry as nested tuples.
        whole: Only whole numbers, of at most 2²⁴; like the ends one value, or one for each entry.
        named: No more is known of it than its name, as of sets of vectors.
        remedy: What to do about data that lie outside.
        open_low, open_high: Whether an end is left out, since the density there is 0 or infinite. So is what float32
            rounds to it. One value, or one for each entry.
        parts: Of columns, or channels, that have a support each; see `beside`.

    Example:
        >>> COUNTS.outside(np.array([-1.0, 0.0, 0.5, 7.0])).tolist()
        [True, False, True, False]
        >>> OPEN_UNIT.outside(np.array([0.0, 0.5, 1.0 - 1e-12])).tolist()
        [True, False, True]
    """

    text: str
    low: Bound = -np.inf
    high: Bound = np.inf
    whole: Said = False
    named: bool = False
    remedy: str = "Choose likelihood='gaussian'."
    open_low: Said = False
    open_high: Said = False
    parts: tuple["Support", ...] = ()

    def of(self, entry: int) -> "Support":
        """Return the support of one entry of a row, counted along the row laid flat."""
        return self.parts[entry % len(self.parts)] if self.parts else self

    def outside(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """Return which values are not in it, for (..., entries); NaN, which stands for a missing one, is."""
        low, high = (_along(end, values) for end in (self.low, self.high))
        outside = (values < low) | (values > high)
        if np.any(self.open_low) or np.any(self.open_high):
            with np.errstate(over="ignore", under="ignore"):
                rounded = np.asarray(values, np.float32)
                low, high = np.float32(low), np.float32(high)
            outside |= (rounded - low < _LEAST) & _along(self.open_low, values)
            outside |= (rounded >= high) & _along(self.open_high, values)
        if np.any(self.whole):
            broken = (values != np.rint(values)) | (np.abs(values) > WHOLE)
            outside |= broken & ~np.isnan(values) & _along(self.whole, values)
        return np.asarray(outside)

    def holds(self, other: "Support") -> bool:
        """Say whether all of another is within it, but for the ends; where one has but a name, whether they are the
        same.
        """
        if self.named or other.named:
            return self == other
        within = np.less_equal(self.low, other.low) & np.less_equal(other.high, self.high)
        return bool(np.all(within) and np.all(np.greater_equal(other.whole, self.whole)))

    @property
    def everything(self) -> bool:
        """Whether every number is in it, so that data may be shifted and scaled."""
        return self == REAL

    @property
    def inside(self) -> Any:
        """A value well within it, or one for each entry, for places where nothing was observed."""
        low, high = np.asarray(self.low, np.float64), np.asarray(self.high, np.float64)
        with np.errstate(invalid="ignore"):
            middle = np.where(np.isfinite(low + high), (low + high) / 2, np.clip(0.0, low + 1, high - 1))
        middle = np.where(self.whole, np.floor(middle), middle)
        return middle if middle.ndim else float(middle)


def _along(end: Bound, values: NDArray[Any]) -> Any:
    """Return an end as it is compared with (..., entries): one number, or one for each entry."""
    if np.ndim(end) == 0:
        return end
    ends = np.ravel(end)
    entries = np.shape(values)[-1]
    return np.tile(ends, entries // len(ends)) if entries % len(ends) == 0 else ends


REAL = Support("any numbers")
UNIT = Support("values from 0 to 1", 0.0, 1.0, remedy="Divide by the largest value, or choose likelihood='gaussian'.")
OPEN_UNIT = Support(
    "numbers above 0 and below 1",
    0.0,
    1.0,
    remedy="Draw x of n rows a little to the middle, as in (x (n - 1) + 0.5) / n, or choose "
    "likelihood='continuous_bernoulli'.",
    open_low=True,
    open_high=True,
)
POSITIVE = Support("numbers above 0", 0.0, remedy="Shift them, or choose likelihood='gaussian'.", open_low=True)
NONNEGATIVE = Support("numbers of at least 0", 0.0)
COUNTS = Support(
    f"whole numbers of at least 0 and at most 2^24 = {WHOLE:,} (beyond it float32 does not tell them apart)",
    0.0,
    whole=True,
    remedy="Divide large counts by a unit, or choose likelihood='log_normal' or 'gaussian'.",
)


def beside(parts: Sequence[Support]) -> Support:
    """Return the support of rows whose columns, or channels, have a support each.

    Raises:
        ParameterError: If one of them has other ends for each entry.

    Example:
        >>> beside([REAL, COUNTS]).outside(np.array([[-0.5, 3.0], [-0.5, -0.5]])).tolist()
        [[False, False], [False, True]]
    """
    if scattered := [part for part in parts if np.ndim(part.low) or np.ndim(part.high)]:
        raise ParameterError(f"expected columns whose likelihood has one support; got one of {scattered[0].text}.")
    names = ("low", "high", "whole", "open_low", "open_high")
    each: dict[str, Any] = {name: tuple(getattr(part, name) for part in parts) for name in names}
    return Support("values that fit the likelihood of their column", **each, parts=tuple(parts))


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

"""Conditions on the columns of a table, as one writes them, and what is expected of columns under them.

| written | means |
|---|---|
| `"Female"`, `37`, `"2024-01-31"` | this value |
| `(30, 40)`, `(None, 40)` | an interval, both ends included; `None`: no end |
| `{"Private", "State-gov"}` or a list | one of these levels |

Values are those of X. Each type of a column says what they are to the entries of its cells (`column_types`); here they
are brought into the units of x, by one rule for all kinds of data that have columns.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from omokage.batch import Conditions
from omokage.data.columns import ColumnSchema
from omokage.errors import DataError, ParameterError, listing, shown, suggest
from omokage.supports import Support
from omokage.tables import aligned

Values = NDArray[np.float64]
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_WIDTHS = (1, 4, 16, 128)  # of lists of choices, so that few programs serve them all
_EXAMPLE = "{'age': (30, 40)}"


@dataclass(frozen=True)
class Between:
    """An interval, both ends included; `None`: no end."""

    low: Any
    high: Any

    def __repr__(self) -> str:
        return f"({shown(self.low)}, {shown(self.high)})"

    def read(self, read: Callable[[Any], float], column: str) -> tuple[float, float]:
        """Return the ends as numbers, infinite ones for those that there are not; raises ParameterError if none lies
        between them.
        """
        low = -math.inf if self.low is None else read(self.low)
        high = math.inf if self.high is None else read(self.high)
        if low > high:
            raise wrong(column, "an interval whose first end is the lower one", self)
        return low, high


@dataclass(frozen=True)
class OneOf:
    """One of some levels."""

    values: tuple[Any, ...]

    def __repr__(self) -> str:
        return "{" + ", ".join(map(shown, self.values)) + "}"


@dataclass(frozen=True)
class Entry:
    """What an entry of a cell is to be, in raw units.

    Attributes:
        choices: The values that it may have; none: any.
        low, high: The ends between which it lies.
    """

    choices: tuple[float, ...] = ()
    low: float = -math.inf
    high: float = math.inf


class _Type(Protocol):
    @property
    def classes(self) -> tuple[int | None, ...]: ...
    def condition(self, wanted: Any, column: str) -> tuple[Entry, ...]: ...
    def expected(self, entries: Values, weight: Values, effective: float, column: str) -> "Expected": ...


def wrong(column: str, expected: str, got: Any, hint: str = "") -> ParameterError:
    """Return the error that names a column, what was expected, and what came."""
    return ParameterError(f"where: column {column}: expected {expected}; got {shown(got)}.{hint}")


def no_set(wanted: Any, column: str, expected: str) -> None:
    """Check that a condition is no set; raises ParameterError."""
    if isinstance(wanted, OneOf):
        raise wrong(column, f"{expected}, and no list, which names levels of a category", wanted)


def read_one(read: Callable[[pl.Series], Any], value: Any, column: str, expected: str) -> Any:
    """Return what a column of this one value is read as; raises ParameterError if it cannot be."""
    try:
        cell = pl.Series([value])
        missing = cell.null_count() or (isinstance(value, float) and math.isnan(value))
        found = None if missing else read(cell)[0]
    except (DataError, pl.exceptions.PolarsError, TypeError, ValueError, OverflowError) as error:
        more = f" ({error})" if "can be read as" in str(error) else ""
        raise wrong(column, expected, value, more) from None
    if found is None:
        raise wrong(column, f"{expected}; a missing value is no condition, so leave the column out", value)
    return found


def rounded_to(ends: tuple[float, float], step: float) -> tuple[float, float]:
    """Return the ends of what is rounded to the multiples of a step within these ends; 0: of all within.

    Example:
        >>> [round(end, 3) for end in rounded_to((29.8, 40), 1.0)]
        [29.5, 40.5]
    """
    low, high = ends
    if not step:
        return ends
    half = step / 2 * (1 - 1e-6)  # since halves are rounded either way
    low = low if math.isinf(low) else math.ceil(low / step - 1e-6) * step - half
    return low, high if math.isinf(high) else math.floor(high / step + 1e-6) * step + half


@dataclass(frozen=True, eq=False)
class Where:
    """Conditions on columns, read and checked.

    Attributes:
        conditions: For the model, in units of x.
        exact: The raw value of each entry that has one value only, (E,); NaN for the others.
        given: Which columns have one value only.
        names: What columns are called.
        types: What they hold.
        columns: Of the entries.
    """

    conditions: Conditions
    exact: Values
    given: frozenset[int]
    names: tuple[str, ...]
    types: Sequence[_Type]
    columns: ColumnSchema

    @staticmethod
    def of(
        where: Any,
        names: Sequence[str],
        types: Sequence[Any],
        columns: ColumnSchema,
        support: Support,
        left_out: Mapping[str, str] | None = None,
    ) -> "Where":
        """Return conditions, read and checked.

        Args:
            where: As one writes them.
            names: Of the columns, in their order; their numbers where they have none.
            types: What they hold.
            columns: What was learned of their entries.
            support: Where the raw entries must lie.
            left_out: Other columns, and why there is no condition on them.

        Raises:
            ParameterError: If a condition cannot be read.
        """
        if not isinstance(where, Mapping) or not where:
            raise ParameterError(f"where: expected a dictionary such as {_EXAMPLE}; got {shown(where)}.")
        wanted = {_place("where", name, names, left_out or {}): _wanted(name, value) for name, value in where.items()}
        if len(wanted) < len(where):
            raise ParameterError(f"where: names a column twice; got {listing(where)}.")
        entries: list[Entry] = []
        for j, kind in enumerate(types):
            called = repr(names[j]) if columns.names else names[j]
            found = kind.condition(wanted[j], called) if j in wanted else (Entry(),) * len(kind.classes)
            for entry in found:
                _check_support(entry, support.of(len(entries)), called)
                entries.append(entry)
        decides, says = _deciding(types)
        exact = np.array([entry.choices[0] if len(entry.choices) == 1 else np.nan for entry in entries])
        width = max(len(entry.choices) for entry in entries)
        width = next((known for known in _WIDTHS if width <= known), width)
        choices = np.full((len(entries), width), np.nan)
        for place, entry in enumerate(entries):
            choices[place, : len(entry.choices)] = entry.choices
        low = _inside(columns, np.array([entry.low for entry in entries]), up=True)
        high = _inside(columns, np.array([entry.high for entry in entries]), up=False)
        conditions = Conditions(columns.encode(choices.T).T, low, high, decides, columns.encode(says[None])[0, decides])
        given = frozenset(j for j, value in wanted.items() if not isinstance(value, Between | OneOf))
        return Where(conditions, exact, given, tuple(names), tuple(types), columns)

    def decode(self, x: Any) -> Values:
        """Return raw entries, (n, E), from standardised ones; those that are given are so to the bit."""
        return np.where(np.isnan(self.exact), self.columns.decode(x), self.exact)

    def asked(self, of: Any) -> tuple[list[int], bool]:
        """Return the columns of which something is asked, and whether it is several; raises ParameterError."""
        several = isinstance(of, list | tuple | set | frozenset)
        places = [_place("of", name, self.names, {}) for name in (of if several else [of])]
        for j in places:
            if j in self.given:
                raise ParameterError(f"of: column {self.names[j]!r} is given by where; name another one.")
        if not places:
            raise ParameterError("of: expected the name of a column, or several; got none.")
        return places, several

    def expected(self, j: int, raw: Values, weight: Values, effective: float) -> "Expected":
        """Return what weighted rows say of a column.

        Args:
            j: Which column.
            raw: Entries of rows, (n, E).
            weight: How much each row counts, (n,).
            effective: How many equally weighted rows that is worth.
        """
        sizes = [len(kind.classes) for kind in self.types]
        start = sum(sizes[:j])
        return self.types[j].expected(raw[:, start : start + sizes[j]], weight, effective, self.names[j])


def _wanted(name: Any, value: Any) -> Any:
    """Return a condition as a value, `Between` or `OneOf`."""
    if isinstance(value, tuple):
        if len(value) != 2 or all(end is None for end in value):
            raise wrong(repr(name), "an interval of two ends, such as (30, 40) or (None, 40)", value)
        return Between(*value)
    if isinstance(value, set | frozenset | list | np.ndarray):
        values = tuple(value.tolist() if isinstance(value, np.ndarray) else value)
        if not values:
            raise wrong(repr(name), "at least one level", value)
        return OneOf(tuple(sorted(values, key=str)))  # a set has no order, and draws shall not depend on one
    return value


def _place(parameter: str, name: Any, names: Sequence[str], left_out: Mapping[str, str]) -> int:
    """Return the number of a column."""
    if str(name) in names:
        return names.index(str(name))
    if str(name) in left_out:
        raise ParameterError(
            f"{parameter}: column {str(name)!r} {left_out[str(name)]}, so the model knows nothing of it."
        )
    hint = suggest(str(name), names) or f" There are {listing(names, 10)}."
    raise ParameterError(f"{parameter}: X has no column {shown(name)}.{hint}")


def _check_support(entry: Entry, support: Support, column: str) -> None:
    for choice in entry.choices:
        if support.outside(np.array([choice])).any():
            raise wrong(column, f"{support.text}, as the likelihood of the model is for", choice)


def _deciding(types: Sequence[_Type]) -> tuple[NDArray[np.int32], Values]:
    """Return which entry decides whether each counts, and its raw value at which they do: the last of its classes."""
    decides: list[int] = []
    says: list[float] = []
    for kind in types:
        decides += [len(decides)] * len(kind.classes)
        says += [float(kind.classes[0] or np.nan) - 1] + [np.nan] * (len(kind.classes) - 1)
    return np.array(decides, np.int32), np.array(says)


def _inside(columns: ColumnSchema, ends: Values, up: bool) -> NDArray[np.float32]:
    """Return ends in units of x, the nearest float32 numbers that are not outside of them."""
    exact = (ends - columns.location) / columns.scale
    with np.errstate(over="ignore"):
        rounded = exact.astype(np.float32)
    out = (rounded < exact) if up else (rounded > exact)
    return np.where(out, np.nextafter(rounded, np.float32(np.inf if up else -np.inf)), rounded)


# ------------------------------------------------------------------------------------------------- what is expected


@dataclass(frozen=True)
class ExpectedNumber:
    """What is expected of a column of numbers or of times, in its units; it prints as a table.

    Attributes:
        column: Its name.
        effective: How many equally weighted draws the answer is worth: the standard error of the mean is about the
            standard deviation over its root.
        mean: The mean.
        standard_deviation: Of times a duration.
        quantiles: By their share, 0.05, 0.25, 0.5, 0.75 and 0.95.
    """

    column: str
    effective: float
    mean: Any
    standard_deviation: Any
    quantiles: Mapping[float, Any]

    def __str__(self) -> str:
        """Return a line for each figure."""
        figures = {"mean": self.mean, "standard deviation": self.standard_deviation}
        figures |= {f"{100 * share:.0f} %": value for share, value in self.quantiles.items()}
        return _printed(self, [(name, _figure(value)) for name, value in figures.items()])


@dataclass(frozen=True)
class ExpectedCategory:
    """What is expected of a column of categories; it prints as a table, the likeliest level first.

    Attributes:
        column: Its name.
        effective: How many equally weighted draws the answer is worth: the standard error of a probability p is about
            the root of p (1 - p) over it.
        probabilities: Of each level; they add up to 1.
    """

    column: str
    effective: float
    probabilities: Mapping[Any, float]

    @property
    def likeliest(self) -> Any:
        """The level with the largest probability."""
        return max(self.probabilities, key=lambda level: self.probabilities[level])

    def __str__(self) -> str:
        """Return a line for each level."""
        order = sorted(self.probabilities.items(), key=lambda pair: -pair[1])
        return _printed(self, [(str(level), f"{100 * share:.1f} %") for level, share in order])


Expected = ExpectedNumber | ExpectedCategory


def summary(values: Values, weight: Values) -> tuple[float, float, dict[float, float]]:
    """Return mean, standard deviation and quantiles of weighted values, (n,) each."""
    share = weight / weight.sum()
    mean = float(share @ values)
    deviation = math.sqrt(max(float(share @ (values - mean) ** 2), 0.0))
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(share[order])
    places = np.minimum(np.searchsorted(reached, np.array(QUANTILES) * reached[-1]), len(values) - 1)
    return mean, deviation, dict(zip(QUANTILES, values[order][places].tolist(), strict=True))


def _printed(found: Expected, lines: list[tuple[str, str]]) -> str:
    return aligned([(found.column, ""), *lines, ("effective draws", f"{found.effective:,.0f}")], right=(1,))


def _figure(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float | int) else str(value)

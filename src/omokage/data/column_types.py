"""What a column of a table holds, decided by its values, and the way to numbers and back.

| type | holds | entries |
|---|---|---|
| `Number` | numbers, written back with as many decimals | a number; which of the values that repeat |
| `Category` | text, true/false, categories, numbers with one or two values | the place of the level in a list |
| `Time` | dates and times | seconds since the first |
| `LeftOut` | keys, free text, nothing: no input | none |

To a model a cell is one number or two, its entries. Those that are missing are NaN. A level that the fit did not
see has the number after the last level.
"""

import datetime
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
import polars as pl

from omokage.data.columns import row_numbers
from omokage.data.conditions import (
    Between,
    Entry,
    ExpectedCategory,
    ExpectedNumber,
    OneOf,
    no_set,
    read_one,
    rounded_to,
    summary,
    wrong,
)
from omokage.data.splines import Spline, Values
from omokage.errors import DataError, FileFormatError, listing, shown, suggest
from omokage.files.numbers import EVERY, PLAIN, Notation
from omokage.files.times import times

LEVELS = 100  # of a category; the rarest beyond them share one
_OTHER = "other"
_FEWEST = 20  # cells that tell whether a column is a key
_KEYS, _TEXT = 0.95, 0.5  # share of different cells, from which a column of text is a key, or is free text
_WORDS = 3.0  # that cells of free text have on average
_MOST_DECIMALS = 6
_MANY = 20  # different values, from which a column can have spikes, or a spline
_EACH = 10  # rows that each of few values has on average, from which they are point masses
_OFTEN, _MOST_SPIKES = 0.05, 3  # share of the rows that have a spike's value
_GAIN = 0.05  # nats a value
_CODES = r"^[+-]?0\d|^\d{16,}$"  # digits that are no number: zeros before them, or more than float64 holds
_HOPE = 200  # different cells that are looked at before a whole column is read as numbers or times

Level = str | bool | float
Splined = Literal["auto"] | bool


@dataclass(frozen=True)
class Number:
    """Numbers.

    A value that many rows share, such as the 0 of an amount or the end of a sensor's range, is a point mass: the first
    entry of a cell then says which of these values it has, or none of them, and the second is the number if it is none.
    Where a column has few values at all, all of them are point masses.

    Attributes:
        decimals: How many they have at most, 0 for whole ones; `None`: more than six.
        integer: Whether they came as whole numbers, and so are written back.
        notation: How text writes them, where they came as text.
        low, high: The least and the greatest value of the fit.
        spikes: Values that are point masses, ascending.
        spline: The map of other values to what a model is given; `None`: they are given as they are.
    """

    decimals: int | None = None
    integer: bool = False
    notation: tuple[str, str] | None = None
    low: float = -math.inf
    high: float = math.inf
    spikes: tuple[float, ...] = ()
    spline: Spline | None = None
    name: ClassVar[str] = "number"

    @staticmethod
    def of(column: pl.Series, notation: Notation | None = None, spline: Splined = "auto") -> "Number":
        """Return what fits a column of numbers."""
        values = column.cast(pl.Float64).drop_nulls().to_numpy()
        values = values[np.isfinite(values)]
        decimals = next((d for d in range(_MOST_DECIMALS + 1) if _have(values, d)), None)
        integer = column.dtype.is_integer() or (decimals == 0 and notation is not None)
        marks = None if notation is None else (notation.decimal, notation.thousands)
        spikes = _spikes(values)
        others = values[~np.isin(values, spikes)]
        ends = (float(values.min()), float(values.max())) if len(values) else (-math.inf, math.inf)
        return Number(decimals, integer, marks, *ends, spikes, _spline(others, spline))

    @property
    def classes(self) -> tuple[int | None, ...]:
        """How many classes each entry of a cell has; `None`: it is a number."""
        return (len(self.spikes) + 1, None) if self.spikes else (None,)

    def read(self, column: pl.Series, name: str = "X") -> Values:
        """Return the entries of each cell, (n, 1) or (n, 2).

        Raises:
            DataError: Naming the first cell that is no number.
        """
        values = self.numbers(column, name)
        place = np.searchsorted(self.spikes, values) if self.spikes else np.zeros(len(values), np.int64)
        place = np.minimum(place, max(len(self.spikes) - 1, 0))
        spiked = np.array([*self.spikes, np.nan])[place] == values
        other = np.where(spiked, np.nan, values)
        other = other if self.spline is None else self.spline(other)
        if not self.spikes:
            return other[:, None]
        kind = np.where(spiked, place, len(self.spikes)).astype(np.float64)
        return np.stack([np.where(np.isnan(values), np.nan, kind), other], 1)

    def write(self, entries: Values) -> pl.Series:
        """Return numbers with as many decimals as those of the fit; null where there is none."""
        other = entries[:, -1] if self.spline is None else self.spline.back(entries[:, -1])
        values = other
        if self.spikes:
            place = np.nan_to_num(entries[:, 0], nan=len(self.spikes)).astype(np.int64)
            spiked = (place >= 0) & (place < len(self.spikes))
            values = np.where(spiked, np.array(self.spikes)[np.where(spiked, place, 0)], other)
            values = np.where(np.isnan(entries[:, 0]), np.nan, values)
        return self.written(values)

    def written(self, values: Values, rounding: bool = True) -> pl.Series:
        """Return numbers, (n,), with as many decimals as those of the fit, or as they are; null for NaN."""
        if not rounding:
            return pl.Series(values).fill_nan(None)
        rounded = values if self.decimals is None else np.round(values, self.decimals)
        column = pl.Series(rounded).fill_nan(None)
        within = np.abs(np.nan_to_num(rounded)).max(initial=0.0) < 2**53
        return column.cast(pl.Int64) if self.integer and self.decimals == 0 and within else column

    def log_slope(self, entries: Values) -> Values:
        """Return log |d entry / d value| of each entry, in nats, like them."""
        slopes = np.zeros(entries.shape)
        if self.spline is not None:
            slopes[:, -1] = self.spline.log_slope(self.spline.back(entries[:, -1]))
        return slopes

    def condition(self, wanted: Any, column: str) -> tuple[Entry, ...]:
        """Return what a value or an interval of cells asks of their entries; see `omokage.data.conditions`.

        Of an interval all numbers are meant that are written as one within it.
        """
        no_set(wanted, column, "a number, or an interval such as (30, 40)")
        if not isinstance(wanted, Between):
            found = read_one(self.read, wanted, column, "a number")
            return tuple(Entry() if np.isnan(entry) else Entry((entry,)) for entry in found)

        def number(end: Any) -> float:
            return float(read_one(lambda one: self.numbers(one), end, column, "a number"))

        ends = wanted.read(number, column)
        low, high = rounded_to(ends, 0.0 if self.decimals is None else 10.0**-self.decimals)
        spikes = [place for place, spike in enumerate(self.spikes) if ends[0] <= spike <= ends[1]]
        if low > high and not spikes:
            raise wrong(column, f"an interval with a number of {self.decimals} decimals in it", wanted)
        other = Entry(low=self._entry(low), high=self._entry(high))
        if not self.spikes:
            return (other,)
        none = [len(self.spikes)] if low <= high else []
        return Entry(tuple(map(float, spikes + none))), other if none else Entry()

    def _entry(self, value: float) -> float:
        """Return what a number, or an infinite one, is to a model."""
        return value if self.spline is None or np.isinf(value) else float(self.spline(np.array([value]))[0])

    def expected(self, entries: Values, weight: Values, effective: float, column: str) -> ExpectedNumber:
        """Return what weighted cells, as entries, (n, 1) or (n, 2), say of a cell."""
        values = self.write(entries).cast(pl.Float64).to_numpy()
        return ExpectedNumber(column, effective, *summary(values, weight))

    def numbers(self, column: pl.Series, name: str = "X") -> Values:
        """Return the numbers of a column, (n,), NaN where a cell is missing."""
        if column.null_count() == len(column):  # of whatever type
            return np.full(len(column), np.nan)
        if column.dtype == pl.String:
            text = Notation(*(self.notation or (".", ""))).plain(column.str.strip_chars())
            numbers = text.cast(pl.Float64, strict=False)
            if numbers.null_count() > column.null_count():
                row = int((numbers.is_null() & column.is_not_null()).arg_true()[0])
                raise DataError(_misfit(column, row, "a number, as at fit", name))
        elif column.dtype.is_numeric() or column.dtype == pl.Boolean:
            numbers = column.cast(pl.Float64)
        else:
            raise DataError(_misfit(column, int(column.is_not_null().arg_max() or 0), "a number, as at fit", name))
        values = numbers.fill_null(float("nan")).to_numpy()
        _check_finite(values, column.name, name)
        return values.astype(np.float64)

    @property
    def described(self) -> str:
        """What the column holds, in words."""
        found = "numbers" if self.decimals is None else f"numbers of {self.decimals} decimals"
        found = "whole numbers" if self.decimals == 0 else found
        found += f" from {self.low:g} to {self.high:g}"
        if len(self.spikes) > _MOST_SPIKES:
            return f"{found}, {len(self.spikes)} different ones"
        spikes = f"; often {' or '.join(f'{value:g}' for value in self.spikes)}" if self.spikes else ""
        return found + spikes + (", by a spline" if self.spline else "")

    def to_json(self) -> dict[str, Any]:
        """Return the type as a JSON object."""
        notation = None if self.notation is None else list(self.notation)
        spline = None if self.spline is None else self.spline.to_json()
        return {
            "type": self.name, "decimals": self.decimals, "integer": self.integer, "notation": notation,
            "low": self.low, "high": self.high, "spikes": list(self.spikes), "spline": spline,
        }  # fmt: skip

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "Number":
        """Return the type that `to_json` wrote."""
        decimals, integer, notation = value["decimals"], value["integer"], value["notation"]
        marks = None if notation is None else (str(notation[0]), str(notation[1]))
        sound = decimals is None or (type(decimals) is int and 0 <= decimals <= _MOST_DECIMALS)
        if not sound or type(integer) is not bool or (marks is not None and Notation(*marks) not in EVERY):
            raise ValueError(f"decimals {decimals!r}, integer {integer!r}, notation {notation!r}")
        spikes, spline = np.array(value["spikes"], np.float64), value["spline"]
        if spikes.ndim != 1 or not np.isfinite(spikes).all() or (np.diff(spikes) <= 0).any():
            raise ValueError(f"spikes {shown(value['spikes'])[:100]}")
        made = None if spline is None else Spline.from_json(spline)
        low, high = float(value["low"]), float(value["high"])
        if not low <= high:
            raise ValueError(f"low {low!r}, high {high!r}")
        return Number(decimals, integer, marks, low, high, tuple(spikes.tolist()), made)


@dataclass(frozen=True)
class Category:
    """One of some levels, which have no order.

    Attributes:
        levels: In the order of their numbers; those that came as text without the spaces around them.
        counts: How many rows of the fit had each.
        rare: Further levels, which share the last of `levels`, "other".
    """

    levels: tuple[Level, ...]
    counts: tuple[int, ...]
    rare: tuple[Level, ...] = ()
    name: ClassVar[str] = "category"

    @staticmethod
    def of(column: pl.Series, most: int = LEVELS) -> "Category":
        """Return what fits a column; levels in the order of an enumeration, else of the alphabet or of size."""
        cells = _cells(column)
        counted = cells.drop_nulls().value_counts()
        counts = dict(zip(counted[cells.name].to_list(), counted["count"].to_list(), strict=True))
        if column.dtype.is_integer():
            counts = {int(level): count for level, count in counts.items()}
        levels = sorted(counts)
        if isinstance(column.dtype, pl.Enum):
            levels = [level for level in column.dtype.categories.to_list() if level.strip() in counts]
            levels = list(dict.fromkeys(level.strip() for level in levels))
        if len(levels) <= most:
            return Category(tuple(levels), tuple(counts[level] for level in levels))
        common = set(sorted(levels, key=lambda level: (-counts[level], str(level)))[: most - 1])
        kept, rare = [level for level in levels if level in common], [one for one in levels if one not in common]
        shared = _OTHER
        while shared in counts:
            shared += "_"
        of_rare = sum(counts[level] for level in rare)
        return Category((*kept, shared), (*(counts[level] for level in kept), of_rare), tuple(rare))

    @cached_property
    def _places(self) -> dict[Level, int]:
        known = {level: place for place, level in enumerate(self.levels)}
        return known | dict.fromkeys(self.rare, len(self.levels) - 1)

    @property
    def classes(self) -> tuple[int | None, ...]:
        """How many classes each entry of a cell has."""
        return (len(self.levels),)

    def log_slope(self, entries: Values) -> Values:
        """Return 0 for each entry: masses have no unit."""
        return np.zeros(entries.shape)

    def read(self, column: pl.Series, name: str = "X") -> Values:
        """Return the place of each level, (n, 1); of one that the fit did not see their number, NaN where missing."""
        cells = _cells(column, like=self.levels[0])
        distinct = cells.drop_nulls().unique()
        places = [float(self._places.get(level, len(self.levels))) for level in distinct.to_list()]
        found = cells.replace_strict(
            distinct, pl.Series(places, dtype=pl.Float64), default=None, return_dtype=pl.Float64
        )
        return found.fill_null(float("nan")).to_numpy().astype(np.float64)[:, None]

    def unseen(self, column: pl.Series) -> list[Level]:
        """Return the levels of a column that the fit did not see."""
        distinct = _cells(column, like=self.levels[0]).drop_nulls().unique(maintain_order=True).to_list()
        return [level for level in distinct if level not in self._places]

    def condition(self, wanted: Any, column: str) -> tuple[Entry, ...]:
        """Return the places of a level, of some levels, or of the numbers in an interval."""
        if isinstance(wanted, Between):
            if isinstance(self.levels[0], str | bool):
                raise wrong(column, "a level, or several in a set: levels have no order, so no interval", wanted)
            ends = "a level that is a number"
            low, high = wanted.read(lambda end: read_one(lambda one: one.cast(pl.Float64), end, column, ends), column)
            places = [place for place, level in enumerate(self.levels) if low <= level <= high]  # type: ignore[operator]
            if not places:
                raise wrong(column, f"an interval with one of the levels {listing(self.levels)} in it", wanted)
            return (Entry(tuple(map(float, places))),)
        levels = wanted.values if isinstance(wanted, OneOf) else (wanted,)
        return (Entry(tuple(dict.fromkeys(self._place(level, column) for level in levels))),)

    def _place(self, level: Any, column: str) -> float:
        """Return the place of a level that the fit saw."""
        expected = f"a level of the fit, one of {listing(self.levels, 10)}"
        known = [str(one) for one in self.levels]
        cell = read_one(lambda one: _cells(one, like=self.levels[0]), level, column, expected)
        if cell in self.rare:
            raise wrong(column, f"{expected}, the last for {len(self.rare)} rare ones of which this is one", level)
        if cell not in self._places:
            raise wrong(column, expected, level, suggest(str(level), known))
        return float(self._places[cell])

    def expected(self, entries: Values, weight: Values, effective: float, column: str) -> ExpectedCategory:
        """Return the probabilities of levels, from weighted places, (n, 1)."""
        shares = np.bincount(entries[:, 0].astype(np.int64), weight, len(self.levels))[: len(self.levels)]
        shares = shares / shares.sum()
        return ExpectedCategory(column, effective, dict(zip(self.levels, shares.tolist(), strict=True)))

    def write(self, entries: Values) -> pl.Series:
        """Return the levels; null where an entry is NaN, or is no place of a level."""
        values = entries[:, 0]
        known = (values >= 0) & (values < len(self.levels))  # NaN is not
        places = pl.Series(np.where(known, values, 0).astype(np.int64))
        return pl.Series(list(self.levels)).gather(places).set(pl.Series(~known), None)

    @property
    def described(self) -> str:
        """What the column holds, in words."""
        if len(self.levels) == 1:
            return f"one value only, {self.levels[0]!r}"
        if isinstance(self.levels[0], bool):
            return "true or false"
        more = f", the last for {len(self.rare)} rare ones" if self.rare else ""
        return f"{len(self.levels)} levels{more}: {listing(self.levels, 3)}"

    def to_json(self) -> dict[str, Any]:
        """Return the type as a JSON object."""
        return {
            "type": self.name, "levels": list(self.levels), "counts": list(self.counts), "rare": list(self.rare)
        }  # fmt: skip

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "Category":
        """Return the type that `to_json` wrote."""
        levels, counts, rare = (tuple(value[name]) for name in ("levels", "counts", "rare"))
        kinds = {type(level) for level in (*levels, *rare)}
        numbers = kinds <= {int, float} and all(np.isfinite(level) for level in (*levels, *rare))
        if not (levels and (kinds in ({str}, {bool}) or numbers) and len(set(levels + rare)) == len(levels + rare)):
            raise ValueError(f"levels {shown(levels)[:100]}")
        if len(counts) != len(levels) or not all(type(count) is int and count >= 0 for count in counts):
            raise ValueError(f"counts {shown(counts)[:100]}")
        return Category(levels, counts, rare)


@dataclass(frozen=True)
class Time:
    """Dates and times, as seconds since the first of the fit.

    Attributes:
        first: It, in ISO 8601.
        dates: Whether they are dates without a time of day.
        zone: Whether they have a time zone; they are then written back in UTC.
        text: Whether they came as text.
    """

    first: str
    dates: bool = False
    zone: bool = False
    text: bool = False
    name: ClassVar[str] = "time"
    classes: ClassVar[tuple[int | None, ...]] = (None,)

    @staticmethod
    def of(column: pl.Series) -> "Time":
        """Return what fits a column of times, or of text of times."""
        moments = _moments(column)
        zone = getattr(moments.dtype, "time_zone", None) is not None
        whole = bool((moments.drop_nulls().dt.time() == datetime.time()).all()) and not zone
        return Time(moments.min().isoformat(), whole, zone, column.dtype == pl.String)  # type: ignore[union-attr]

    @cached_property
    def _first(self) -> datetime.datetime:
        return datetime.datetime.fromisoformat(self.first)

    def log_slope(self, entries: Values) -> Values:
        """Return 0 for each entry: densities are those of seconds."""
        return np.zeros(entries.shape)

    def read(self, column: pl.Series, name: str = "X") -> Values:
        """Return seconds, (n, 1), NaN where a cell is missing.

        Raises:
            DataError: If a cell is no time.
        """
        if column.null_count() == len(column):
            return np.full((len(column), 1), np.nan)
        try:
            moments = _moments(column)
        except DataError as error:
            raise DataError(f"{name}: column {error}") from None
        if (getattr(moments.dtype, "time_zone", None) is not None) != self.zone:
            has = ("no time zone", "a time zone")
            raise DataError(f"{name}: column {column.name!r}: expected times with {has[self.zone]}, as at fit.")
        since = (moments - pl.Series([self._first], dtype=moments.dtype)).dt.total_microseconds()
        return since.cast(pl.Float64).fill_null(float("nan")).to_numpy()[:, None] / 1e6

    def condition(self, wanted: Any, column: str) -> tuple[Entry, ...]:
        """Return what a time, or an interval of times, asks of seconds."""
        expected = "a date, such as '2024-01-31'" if self.dates else "a time, such as '2024-01-31T23:00:00'"
        no_set(wanted, column, f"{expected}, or an interval of two")

        def second(value: Any) -> float:
            return float(read_one(self.read, value, column, expected)[0])

        if not isinstance(wanted, Between):
            return (Entry((second(wanted),)),)
        low, high = rounded_to(wanted.read(second, column), self._step)
        if low > high:
            raise wrong(column, f"an interval with a {'date' if self.dates else 'whole second'} in it", wanted)
        return (Entry(low=low, high=high),)

    def expected(self, entries: Values, weight: Values, effective: float, column: str) -> ExpectedNumber:
        """Return what weighted seconds, (n, 1), say of a time; the deviation is a duration."""
        mean, deviation, quantiles = summary(entries[:, 0], weight)
        times = self.write(np.array([[mean], *([value] for value in quantiles.values())])).to_list()
        spread = datetime.timedelta(seconds=round(deviation))
        return ExpectedNumber(column, effective, times[0], spread, dict(zip(quantiles, times[1:], strict=True)))

    @property
    def _step(self) -> float:
        """To how many seconds they are rounded where they are written."""
        return 86_400.0 if self.dates else 1.0

    def write(self, entries: Values) -> pl.Series:
        """Return times; null where an entry is NaN."""
        values = entries[:, 0]
        seconds = np.clip(np.round(np.nan_to_num(values) / self._step) * self._step, -1e11, 1e11)
        first = self._first if not self.zone else self._first.astimezone(datetime.UTC).replace(tzinfo=None)
        since = pl.Series((seconds * 1e6).astype(np.int64)).cast(pl.Duration("us"))
        moments = pl.Series([first], dtype=pl.Datetime("us")) + since
        moments = moments.set(pl.Series(np.isnan(values)), None)
        if self.dates:
            moments = moments.dt.date()
        elif self.zone:
            moments = moments.dt.replace_time_zone("UTC")
        return moments.dt.to_string("iso:strict") if self.text else moments

    @property
    def described(self) -> str:
        """What the column holds, in words."""
        return f"{'dates' if self.dates else 'times'} from {self.first}"

    def to_json(self) -> dict[str, Any]:
        """Return the type as a JSON object."""
        return {"type": self.name, "first": self.first, "dates": self.dates, "zone": self.zone, "text": self.text}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "Time":
        """Return the type that `to_json` wrote."""
        flags = tuple(value[name] for name in ("dates", "zone", "text"))
        if not all(type(flag) is bool for flag in flags):
            raise ValueError(f"flags {flags!r}")
        found = Time(value["first"], *flags)
        if (found._first.tzinfo is not None) != found.zone:
            raise ValueError(f"first {found.first!r}, zone {found.zone!r}")
        return found


@dataclass(frozen=True)
class LeftOut:
    """A column that is no input, and why.

    Attributes:
        why: In words, after "is" or "holds".
    """

    why: str
    name: ClassVar[str] = "left out"

    @property
    def described(self) -> str:
        """What the column holds, in words."""
        return f"left out: {self.why}"


ColumnType = Number | Category | Time
_TYPES: dict[str, Any] = {one.name: one for one in (Number, Category, Time)}
NAMES = (*_TYPES, "ignore")


def decide(
    column: pl.Series, asked: str | None = None, levels: int = LEVELS, spline: Splined = "auto"
) -> ColumnType | LeftOut:
    """Return what a column holds.

    Args:
        column: With nulls where cells are missing.
        asked: One of `NAMES`; `None`: by the values.
        levels: How many a category has at most.
        spline: Whether numbers are mapped by a spline.

    Raises:
        DataError: If it cannot be used, or is not what is asked for.

    Example:
        >>> decide(pl.Series([1.5, 2.0, 7.25])), decide(pl.Series(["a", "b", "a"])).levels
        (Number(decimals=2, integer=False, notation=None, low=1.5, high=7.25, spikes=(), spline=None), ('a', 'b'))
        >>> decide(pl.Series(["1,5", "2,5", "3"])).read(pl.Series(["4,25"])).tolist()
        [[4.25]]
        >>> decide(pl.Series([f"part {number}" for number in range(30)]))
        LeftOut(why='a key, of which 30 of 30 are different')
    """
    if asked == "ignore":
        return LeftOut("as asked for")
    if column.null_count() == len(column):
        return LeftOut("no value in any row")
    kind = column.dtype
    if not (
        kind.is_numeric()
        or isinstance(kind, pl.Date | pl.Datetime)
        or kind in (pl.String, pl.Boolean, pl.Categorical, pl.Enum)
    ):
        raise DataError(
            f"X: column {column.name!r} holds {kind}, of which nothing can be learned. Leave it out, with "
            f"types={{{column.name!r}: 'ignore'}} (omokage.data.Columns), or give its parts as columns of their own."
        )
    if asked == "category":
        return Category.of(column, levels)
    if asked == "time":
        return Time.of(column)
    if asked == "number":
        return _asked_number(column, spline)
    if isinstance(kind, pl.Date | pl.Datetime):
        return Time.of(column)
    if column.dtype.is_numeric():
        different = column.drop_nans().n_unique() if column.dtype.is_float() else column.n_unique()
        few = different - (column.null_count() > 0) <= 2
        return Category.of(column) if few else Number.of(column, spline=spline)
    return _of_text(column, levels, spline)


def from_json(value: Any) -> ColumnType:
    """Return the type that `to_json` wrote.

    Raises:
        FileFormatError: If it is not sound.
    """
    try:
        found: ColumnType = _TYPES[value["type"]].from_json(value)
    except (KeyError, TypeError, ValueError, OverflowError, IndexError) as error:
        raise FileFormatError(f"schema.json: not the type of a column ({error!r}).") from None
    return found


def number_rows(columns: Sequence[pl.Series]) -> set[str]:
    """Return the names of the columns that number the rows, as an index does; see `row_numbers`."""
    whole = [column for column in columns if column.dtype.is_integer() and not column.null_count()]
    if not whole:
        return set()
    matrix = np.column_stack([column.cast(pl.Float64).to_numpy() for column in whole])
    names = tuple(column.name for column in whole)
    return {names[j] for j in row_numbers(matrix, names)}


def _of_text(column: pl.Series, levels: int, spline: Splined) -> ColumnType | LeftOut:
    """Return what a column of text, of categories or of true/false holds."""
    cells = _cells(column)
    filled = cells.drop_nulls()
    different = filled.n_unique()
    if column.dtype == pl.String:
        notation = _notation(filled)
        if notation is not None and different > 2:
            return Number.of(notation.plain(filled).cast(pl.Float64), notation, spline)
        if different > 2 and (found := _time(column)) is not None:
            return found
        share = different / len(filled)
        if len(filled) >= _FEWEST and share >= _KEYS:
            return LeftOut(f"a key, of which {different:,} of {len(filled):,} are different")
        words = float(filled.str.count_matches(r"\s+").mean() or 0.0) + 1  # type: ignore[arg-type]
        if len(filled) >= _FEWEST and share >= _TEXT and words >= _WORDS:
            return LeftOut(f"free text, {words:.0f} words a cell")
    return Category.of(column, levels)


def _asked_number(column: pl.Series, spline: Splined) -> Number:
    """Return a column as numbers."""
    if column.dtype.is_numeric() or column.dtype == pl.Boolean:
        return Number.of(column.cast(pl.Int64) if column.dtype == pl.Boolean else column, spline=spline)
    cells = _cells(column).drop_nulls()
    notation = _notation(cells)
    if notation is None:
        plain = PLAIN.plain(cells).cast(pl.Float64, strict=False)
        row = int(plain.is_null().arg_max() or 0)
        raise DataError(f"X: column {column.name!r}: expected numbers, as types says; got {cells[row]!r}.")
    return Number.of(notation.plain(cells).cast(pl.Float64), notation, spline)


def _notation(cells: pl.Series) -> Notation | None:
    """Return the first way in which all cells are numbers, and no codes of digits; a few are looked at first."""
    if cells.str.contains(_CODES).any():
        return None
    ways = [one for one in EVERY if cells[:_HOPE].str.contains(one.pattern).all()]
    return next((one for one in ways if cells.str.contains(one.pattern).all()), None)


def _time(column: pl.Series) -> Time | None:
    """Return a column of text as times, if all of its cells are such; text of numbers only is none."""
    filled = column.drop_nulls()
    if not filled[:_HOPE].str.contains(r"\d.*\D.*\d").all():
        return None
    try:
        if times(filled[:_HOPE]).dtype.is_temporal():
            return Time.of(column)
    except DataError as error:
        if "can be read as" in str(error):  # times without a doubt, but not without two meanings
            raise DataError(f"X: column {error}") from None
    return None


def _moments(column: pl.Series) -> pl.Series:
    """Return times as moments in microseconds."""
    found = times(column)
    if not isinstance(found.dtype, pl.Date | pl.Datetime):
        raise DataError(f"{column.name!r}: expected dates or times; got {found.dtype}.")
    return found.cast(pl.Datetime("us", getattr(found.dtype, "time_zone", None)))


def _cells(column: pl.Series, like: Level | None = None) -> pl.Series:
    """Return the cells as levels are written: text without spaces around it, numbers as they are, or true and false.

    Args:
        column: The cells.
        like: A level of the fit: cells of another type are turned into its type where that is possible.
    """
    if column.dtype in (pl.Categorical, pl.Enum):
        column = column.cast(pl.String)
    if column.dtype == pl.String:
        column = column.str.strip_chars()
    if like is None:
        return _plainer(column)
    if isinstance(like, bool):
        return column if column.dtype == pl.Boolean else _truth(column)
    if isinstance(like, str):
        return column if column.dtype == pl.String else _plainer(column).cast(pl.String)
    numbers = column.cast(pl.Float64, strict=False)
    # What is no number is a level that was never seen, and no missing cell.
    return pl.select(pl.when(column.is_not_null() & numbers.is_null()).then(np.inf).otherwise(numbers)).to_series()


def _truth(column: pl.Series) -> pl.Series:
    """Return cells as true or false; what is neither is text, and so a level that was never seen."""
    text = column.cast(pl.String).str.to_lowercase().str.strip_chars()
    if text.drop_nulls().is_in(["true", "false", "1", "0", "1.0", "0.0"]).all():
        return text.is_in(["true", "1", "1.0"]).set(text.is_null(), None)
    return text


def _plainer(column: pl.Series) -> pl.Series:
    """Return numbers as float64 with null for NaN, and all else as it is."""
    return column.cast(pl.Float64).fill_nan(None) if column.dtype.is_numeric() else column


def _spikes(values: Values) -> tuple[float, ...]:
    """Return the values that more than a twentieth of all have, or all of them where they are few."""
    different, counts = np.unique(values, return_counts=True)
    if len(different) <= _MANY:
        return tuple(different.tolist()) if len(values) >= _EACH * len(different) else ()
    often = counts > _OFTEN * len(values)
    return tuple(different[often].tolist()) if often.sum() <= _MOST_SPIKES and not often.all() else ()


def _spline(values: Values, asked: Splined) -> Spline | None:
    """Return the spline of values, where it is asked for, or "auto" and half of them say so of the other half.

    The half that was not looked at is to have a higher density under a normal of its scores than under a normal of
    themselves, by a twentieth of a nat.
    """
    if asked is False or len(values) < _MANY:
        return None
    if asked == "auto":
        mixed = np.random.default_rng(0).permutation(np.sort(values))
        gains = [_gain(mixed[0::2], mixed[1::2]), _gain(mixed[1::2], mixed[0::2])]
        if np.mean(gains) < _GAIN:
            return None
    return Spline.of(values)


def _gain(learned: Values, held_out: Values) -> float:
    """Return by how many nats a value the spline of some values is better for others than none; both are normals."""
    spline, deviation = Spline.of(learned), learned.std()
    if spline is None or deviation == 0:
        return -np.inf
    plain = -0.5 * ((held_out - learned.mean()) / deviation) ** 2 - np.log(deviation)
    scores, own = spline(held_out), spline(learned)
    bent = -0.5 * ((scores - own.mean()) / own.std()) ** 2 - np.log(own.std()) + spline.log_slope(held_out)
    return float(np.mean(bent - plain))


def _have(values: Values, decimals: int) -> bool:
    scaled = values * 10.0**decimals
    return bool((np.abs(scaled - np.rint(scaled)) <= 1e-9 * np.maximum(1.0, np.abs(scaled))).all())


def _check_finite(values: Values, column: str, name: str) -> None:
    if np.isinf(values).any() or np.abs(np.nan_to_num(values)).max(initial=0.0) > np.finfo(np.float32).max:
        bad = np.isinf(values) | (np.abs(np.nan_to_num(values)) > np.finfo(np.float32).max)
        row = int(np.argmax(bad))
        raise DataError(
            f"{name} contains {values[row]:.6g} at row {row}, column {column!r}. Expected finite numbers that float32 "
            "holds; leave the cell empty if its value is missing."
        )


def _misfit(column: pl.Series, row: int, expected: str, name: str) -> str:
    cell = shown(column[row]) if len(column) else "no cell"
    return f"{name}: row {row}, column {column.name!r}: expected {expected}; got {cell} ({column.dtype})."

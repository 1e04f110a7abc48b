"""Numbers of a column: their decimals, the values that repeat, and the spline of the others."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import polars as pl

from omokage.data.conditions import Between, Entry, ExpectedNumber, no_set, read_one, rounded_to, summary, wrong
from omokage.data.splines import Spline, Values
from omokage.errors import DataError, shown
from omokage.files.numbers import EVERY, Notation

_MOST_DECIMALS = 6
_FEWEST = 20  # values, from which a column can have a spline, and different ones, from which it can have spikes
_EACH = 10  # rows that each of few values has on average, from which they are point masses
_NAMED = 3  # spikes, at most, in words
_GAIN = 0.05  # nats a value

Splined = Literal["auto"] | bool


@dataclass(frozen=True)
class NumberRule:
    """What is decided of a column of numbers.

    Attributes:
        spline: Whether it gets a spline; "auto": where a normal distribution then fits held-out values better.
        often: The share of the rows from which on a value that they share is a point mass.
        few: How many different values a column has at most where all of them are point masses; ten rows must have each
            on average.
    """

    spline: Splined = "auto"
    often: float = 0.05
    few: int = 20


AUTO = NumberRule()


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
    def of(column: pl.Series, notation: Notation | None = None, rule: NumberRule = AUTO) -> "Number":
        """Return what fits a column of numbers."""
        values = column.cast(pl.Float64).drop_nulls().to_numpy()
        values = values[np.isfinite(values)]
        decimals = next((d for d in range(_MOST_DECIMALS + 1) if _have(values, d)), None)
        integer = column.dtype.is_integer() or (decimals == 0 and notation is not None)
        marks = None if notation is None else (notation.decimal, notation.thousands)
        spikes = _spikes(values, rule)
        others = values[~np.isin(values, spikes)]
        ends = (float(values.min()), float(values.max())) if len(values) else (-math.inf, math.inf)
        return Number(decimals, integer, marks, *ends, spikes, _spline(others, rule.spline))

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
        if len(self.spikes) > _NAMED:
            return f"{found}, {len(self.spikes)} of which are point masses" + (
                ", others by a spline" if self.spline else ""
            )
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


def _spikes(values: Values, rule: NumberRule) -> tuple[float, ...]:
    """Return the values that a large share of all have, or all of them where they are few."""
    different, counts = np.unique(values, return_counts=True)
    if len(different) <= max(rule.few, _FEWEST):
        many = len(different) <= rule.few and len(values) >= _EACH * len(different)
        return tuple(different.tolist()) if many else ()
    often = counts > rule.often * len(values)
    return () if often.all() else tuple(different[often].tolist())


def _spline(values: Values, asked: Splined) -> Spline | None:
    """Return the spline of values, where it is asked for, or "auto" and half of them say so of the other half.

    The half that was not looked at is to have a higher density under a normal of its scores than under a normal of
    themselves, by a twentieth of a nat.
    """
    if asked is False or len(values) < _FEWEST:
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

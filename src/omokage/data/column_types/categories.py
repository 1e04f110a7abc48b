"""Levels of a column that have no order."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import polars as pl

from omokage.data.conditions import Between, Entry, ExpectedCategory, OneOf, read_one, wrong
from omokage.data.splines import Values
from omokage.errors import listing, shown, suggest

LEVELS = 100  # of a category; the rarest beyond them share one
_OTHER = "other"

Level = str | bool | float


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
        cells = cells_of(column)
        counted = cells.drop_nulls().alias("level").value_counts()  # a column may be called "count"
        counts = dict(zip(counted["level"].to_list(), counted["count"].to_list(), strict=True))
        return Category.counted(counts, column.dtype, most)

    @staticmethod
    def counted(counts: Mapping[Any, int], dtype: Any, most: int = LEVELS) -> "Category":
        """Return what fits a column of this type with so many cells of each level; see `of`."""
        if dtype.is_integer():
            counts = {int(level): count for level, count in counts.items()}
        levels = sorted(counts)
        if isinstance(dtype, pl.Enum):
            levels = [level for level in dtype.categories.to_list() if level.strip() in counts]
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
        cells = cells_of(column, like=self.levels[0])
        distinct = cells.drop_nulls().unique()
        places = [float(self._places.get(level, len(self.levels))) for level in distinct.to_list()]
        found = cells.replace_strict(
            distinct, pl.Series(places, dtype=pl.Float64), default=None, return_dtype=pl.Float64
        )
        return found.fill_null(float("nan")).to_numpy().astype(np.float64)[:, None]

    def unseen(self, column: pl.Series) -> list[Level]:
        """Return the levels of a column that the fit did not see."""
        distinct = cells_of(column, like=self.levels[0]).drop_nulls().unique(maintain_order=True).to_list()
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
        cell = read_one(lambda one: cells_of(one, like=self.levels[0]), level, column, expected)
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


def cells_of(column: pl.Series, like: Level | None = None) -> pl.Series:
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

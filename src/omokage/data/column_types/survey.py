"""What all rows of a long table say of its columns, in one pass at bounded memory.

| exact, of all rows | of a sample of 100,000 rows |
|---|---|
| holes, and whether dashes stand for them | splines, and values that repeat among many |
| levels and their counts, up to 100,000 different ones (1,000 numbers) | keys and free text, columns that count rows |
| whether text is numbers, and how they are written | how times are written as text |
| the first time, and whether times are dates | |

Rows with the smallest of random numbers, one for each row, make the sample: it does not depend on how the rows are cut
into batches. Of few rows it is all of them, and then what is decided is what is decided of a table in memory. So that
nothing is decided which a row beyond the sample contradicts, levels that it lacks are added to it, and so are cells
that are no number where the others are.
"""

import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl

from omokage.data.column_types import CODES, DOUBT, Category, ColumnType, LeftOut, Time
from omokage.data.column_types.categories import cells_of
from omokage.data.column_types.holes import DASHES, with_holes
from omokage.errors import DataError, shown
from omokage.files.numbers import EVERY, Notation

SAMPLE = 100_000  # rows
_CELLS = 2**23  # of the sample
_LEAST = 1000  # rows, however many columns there are
_LEVELS, _NUMBERS = 100_000, 1000  # different cells of a column that are counted, and numbers
_ALL_LEVELS = 2**21  # of all columns


@dataclass
class _Seen:
    """What the rows so far say of a column.

    Attributes:
        dtype: Its type.
        most: How many levels are counted.
        rows: How many there were.
        filled: How many of them have a value that is no dash.
        counts: How many rows have each level, or dash; `None`: there are too many different ones.
        ways: In which of them all cells of text are numbers.
        odd: The cells that ruled the others out, by their row.
        dash: The row of the first dash, and which it is.
        short: Whether other cells are shorter than two letters.
        first: The first time.
        midnight: Whether all times are at midnight.
    """

    dtype: Any
    most: int
    rows: int = 0
    filled: int = 0
    counts: pl.DataFrame | None = field(default_factory=lambda: pl.DataFrame({"level": [], "count": []}))
    ways: tuple[Notation, ...] = EVERY
    odd: dict[int, str] = field(default_factory=dict)
    dash: tuple[int, str] | None = None
    short: bool = False
    first: Any = None
    midnight: bool = True

    def see(self, column: pl.Series) -> None:
        """Take note of some cells, in which dashes stand as they are."""
        if isinstance(column.dtype, pl.Date | pl.Datetime):
            self._see_times(column)
        text = self._see_text(column) if column.dtype == pl.String else column
        self.filled += len(text) - text.null_count()
        self._count(cells_of(column).drop_nulls())
        self.rows += len(column)

    def _count(self, cells: pl.Series) -> None:
        if self.counts is None or not len(cells):
            return
        here = cells.alias("level").value_counts()
        if not self.counts.is_empty():
            here = pl.concat([self.counts, here]).group_by("level").agg(pl.col("count").sum())
        self.counts = here if here.height <= self.most else None

    def _see_times(self, column: pl.Series) -> None:
        first = column.min()
        if first is not None:
            self.first = first if self.first is None else min(self.first, first)
            clock = column.drop_nulls().cast(pl.Datetime("us", getattr(column.dtype, "time_zone", None))).dt.time()
            self.midnight &= bool((clock.cast(pl.Int64) == 0).all())

    def _see_text(self, bare: pl.Series) -> pl.Series:
        """Return the cells that are no dashes, having seen whether they are numbers, and how these are written."""
        dashes = bare.is_in(DASHES).fill_null(False)
        if dashes.any():
            if self.dash is None:
                row = int(dashes.arg_true()[0])
                self.dash = self.rows + row, bare[row]
            bare = bare.set(dashes, None)
        self.short = self.short or bool((bare.str.len_chars() < 2).any())
        if self.ways and (codes := bare.str.contains(CODES).fill_null(False)).any():
            self._rule_out(bare, codes, ())
        for way in self.ways:
            if (wrong := ~bare.str.contains(way.pattern).fill_null(True)).any():
                self._rule_out(bare, wrong, tuple(one for one in self.ways if one != way))
        return bare

    def _rule_out(self, bare: pl.Series, wrong: pl.Series, left: tuple[Notation, ...]) -> None:
        row = int(wrong.arg_true()[0])
        self.ways, self.odd = left, {**self.odd, self.rows + row: bare[row]}

    @property
    def missing_dashes(self) -> bool:
        """Whether dashes are missing cells: all others have two letters or more, and there are others."""
        return self.dash is not None and not self.short and self.filled > 0

    @property
    def no_numbers(self) -> dict[int, str]:
        """Cells that are no number in one way of writing or another, by their row."""
        return self.odd if self.dash is None or self.missing_dashes else self.odd | dict([self.dash])

    @property
    def levels(self) -> pl.DataFrame | None:
        """How many rows have each level; `None` where there are too many different ones."""
        if self.counts is None or not self.missing_dashes:
            return self.counts
        return self.counts.filter(~pl.col("level").is_in(DASHES))


class Survey:
    """What all rows say of the columns of a table, and a sample of the rows.

    Example:
        >>> survey = Survey([""])
        >>> survey.see([pl.Series("lot", ["A", "B"])])
        >>> survey.see([pl.Series("lot", ["C", "-"])])
        >>> survey.rows, [column.to_list() for column in survey.sample()], survey.dashes
        (4, [['A', 'B', 'C', '-']], {'lot': False})
    """

    def __init__(self, missing: Sequence[str], asked: Mapping[str, str] | None = None):
        """Take the cells that stand for a missing value, and what columns hold, by name, where that was said."""
        self.missing, self.asked, self.rows = missing, asked or {}, 0
        self._random = np.random.default_rng(0)
        self._columns: dict[str, _Seen] = {}
        self._keys, self._numbers = np.empty(0), np.empty(0, np.int64)
        self._kept: pl.DataFrame | None = None
        self._size = SAMPLE

    def see(self, columns: Sequence[pl.Series]) -> None:
        """Take note of some rows, as `series_of` gives them."""
        bare = [with_holes(column, self.missing, False) for column in columns]
        if not self._columns:
            most = min(_LEVELS, _ALL_LEVELS // max(1, len(bare)))
            for column in bare:
                few = column.dtype.is_numeric() and self.asked.get(column.name) != "category"
                self._columns[column.name] = _Seen(column.dtype, min(most, _NUMBERS) if few else most)
            self._size = min(SAMPLE, max(_LEAST, _CELLS // max(1, len(bare))))
        for column in bare:
            self._columns[column.name].see(column)
        self._draw(bare)
        self.rows += len(bare[0]) if bare else 0

    def _draw(self, columns: list[pl.Series]) -> None:
        """Keep those rows that have the smallest numbers."""
        keys = self._random.random(len(columns[0]) if columns else 0)
        limit = np.inf if len(self._keys) < self._size else np.partition(self._keys, self._size - 1)[self._size - 1]
        chosen = np.flatnonzero(keys <= limit)
        if not len(chosen):
            return
        text = [one.cast(pl.String) if one.dtype == pl.Categorical else one for one in columns]
        rows = pl.DataFrame(text)[chosen]
        self._kept = rows if self._kept is None else pl.concat([self._kept, rows])
        self._keys = np.append(self._keys, keys[chosen])
        self._numbers = np.append(self._numbers, self.rows + chosen)
        if len(self._keys) > 2 * self._size:
            self._cut()

    def _cut(self) -> None:
        if self._kept is not None and len(self._keys) > self._size:
            places = np.sort(np.argpartition(self._keys, self._size - 1)[: self._size])
            self._kept, self._keys, self._numbers = self._kept[places], self._keys[places], self._numbers[places]

    @property
    def whole(self) -> bool:
        """Whether the sample is all rows."""
        return self.rows <= self._size

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(self._columns)

    @property
    def dashes(self) -> Mapping[str, bool]:
        """Whether dashes are missing cells, of each column."""
        return {name: seen.missing_dashes for name, seen in self._columns.items()}

    def sample(self) -> list[pl.Series]:
        """Return the columns of the sample, its rows in their order, with null where a cell is missing."""
        self._cut()
        if self._kept is None:
            return []
        found = []
        for column in self._kept.get_columns():
            seen = self._columns[column.name]
            bare = with_holes(column, self.missing, seen.missing_dashes)
            found.append(bare.cast(pl.Categorical) if seen.dtype == pl.Categorical else bare)
        return found

    def completed(self, column: pl.Series, asked: str | None) -> pl.Series:
        """Return a column of the sample with what it lacks of all rows: levels, and cells that are no numbers.

        Raises:
            DataError: If a cell of a column that is asked for as numbers is none.
        """
        if self.whole:
            return column
        seen, more = self._columns[column.name], []
        if asked == "time":
            self._check_times(column)
            return column
        if seen.dtype == pl.String and seen.no_numbers:
            odd = seen.no_numbers
            if asked == "number" and (not seen.ways or len(odd) > len(seen.odd)):
                row = max(odd)
                raise DataError(
                    f"X: row {row}, column {column.name!r}: expected a number, as types says; got {shown(odd[row])}. "
                    "Correct the cell, or leave it empty if its value is missing."
                )
            if _all_numbers(column.drop_nulls()[:_LEAST]):  # else the sample says so too
                more.append(pl.Series(column.name, list(odd.values())))
        if seen.levels is not None and not seen.levels.is_empty():
            levels = seen.levels["level"].cast(column.dtype, strict=False).drop_nulls().alias(column.name)
            more.append(levels.filter(~levels.is_in(column.drop_nulls().unique().implode())).sort())
        return pl.concat([column, *more])

    def _check_times(self, column: pl.Series) -> None:
        """Check that all cells of a sample are times, and name the first that is none by its row."""

        def fails(count: int) -> bool:
            try:
                Time.of(column[:count])
            except DataError as error:
                return DOUBT not in str(error)
            return False

        if column.null_count() == len(column) or not fails(len(column)):
            return
        first = int(column.is_not_null().arg_true()[0])
        place = bisect.bisect_left(range(first + 1, len(column) + 1), True, key=fails) + first
        raise DataError(
            f"X: row {self._numbers[place]}, column {column.name!r}: expected a time, as types says, written as in the "
            f"other rows; got {shown(column[place])}. Correct the cell, or leave it empty if its value is missing."
        )

    def exact(self, name: str, found: ColumnType | LeftOut, levels: int) -> ColumnType | LeftOut:
        """Return what is decided of a completed column, with what all rows say in the place of what the sample does."""
        seen = self._columns[name]
        if self.whole:
            return found
        if isinstance(found, Category) and seen.levels is not None:
            counts = dict(zip(seen.levels["level"].to_list(), seen.levels["count"].to_list(), strict=True))
            return Category.counted(counts, seen.dtype, levels)
        if isinstance(found, Time) and seen.first is not None:
            first = pl.Series([seen.first]).cast(pl.Datetime("us", getattr(seen.dtype, "time_zone", None)))[0]
            return replace(found, first=first.isoformat(), dates=seen.midnight and not found.zone)
        if isinstance(found, LeftOut) and found.why.startswith(("a key", "free text")):
            return LeftOut(f"{found.why} in a sample of {len(self._keys):,} rows")
        return found


def _all_numbers(cells: pl.Series) -> bool:
    """Say whether cells of text are numbers in one way of writing."""
    return any(cells.str.contains(way.pattern).all() for way in EVERY)

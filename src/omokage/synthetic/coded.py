"""Tables as matrices of numbers, so that cells of several can be compared whatever they hold."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from omokage.data.column_types import Category, ColumnType, LeftOut, Number, NumberRule, Time, decide, number_rows
from omokage.data.frames import series_of
from omokage.data.kinds.tables import Columns
from omokage.errors import DataError, listing

Types = Mapping[str, str | ColumnType | LeftOut]


@dataclass(frozen=True, eq=False)
class Coded:
    """A table as numbers: those of columns of numbers and times (seconds), and the places of levels of all others.

    Attributes:
        values: (n, D), NaN where a cell is missing.
        names: Of the columns.
        numeric: Whether a column holds numbers or times.
        levels: What the places stand for, as text; none where a column is numeric.
    """

    values: NDArray[np.float64]
    names: tuple[str, ...]
    numeric: tuple[bool, ...]
    levels: tuple[tuple[str, ...], ...]

    def __len__(self) -> int:
        return len(self.values)

    def part(self, rows: Any) -> "Coded":
        """Return some of the rows."""
        return dataclasses.replace(self, values=self.values[rows])

    def drawn(self, count: int, seed: int) -> "Coded":
        """Return so many rows, drawn without replacement and in their order; all where there are no more."""
        if len(self) <= count:
            return self
        return self.part(np.sort(np.random.default_rng([seed, len(self)]).permutation(len(self))[:count]))


def coded(*frames: Any, types: Types | None = None) -> tuple[Coded, ...]:
    """Return tables as numbers; equal levels have equal places in all of them.

    Args:
        frames: Frames with the columns of the first, in any container and order; or what this function returned.
        types: What columns hold, by name, as `omokage.data.Columns` takes it, or as a fit found it. Of others it is
            decided by the values of the first frame. Keys, free text and empty columns are left out.

    Raises:
        DataError: If a frame lacks a column of the first, or a cell does not fit.

    Example:
        >>> one, two = coded(pl.DataFrame({"a": ["x", "y", None]}), pl.DataFrame({"a": ["z", "x"]}))
        >>> one.values[:, 0].tolist(), two.values[:, 0].tolist(), one.levels
        ([0.0, 1.0, nan], [2.0, 0.0], (('x', 'y', 'z'),))
    """
    if all(isinstance(frame, Coded) for frame in frames):
        return frames
    reader = Columns()
    tables = [{column.name: column for column in reader.read(_plain(frame))} for frame in frames]
    first = tables[0]
    for table in tables[1:]:
        if missing := [name for name in first if name not in table]:
            raise DataError(f"made: expected the columns of the real rows; {listing(missing)} are not there.")
    known = dict(types or {})
    numbering = number_rows([column for name, column in first.items() if name not in known])
    found: list[tuple[str, bool, tuple[str, ...], list[NDArray[np.float64]]]] = []
    for name, column in first.items():
        asked = known.get(name)
        if name in numbering or isinstance(asked, LeftOut):
            continue
        kind = (
            decide(column, asked, rule=NumberRule(spline=False)) if asked is None or isinstance(asked, str) else asked
        )
        if isinstance(kind, LeftOut):
            continue
        parts = [table[name] for table in tables]
        if isinstance(kind, Category):
            levels, places = _places(parts)
            found.append((name, False, levels, places))
        else:
            found.append((name, True, (), [_numbers(kind, part) for part in parts]))
    if not found:
        raise DataError("real: no column is left that could be compared.")
    names, numeric, levels_of, columns = zip(*found, strict=True)
    return tuple(
        Coded(np.column_stack([column[place] for column in columns]), names, numeric, levels_of)
        for place in range(len(frames))
    )


def _plain(frame: Any) -> pl.DataFrame:
    """Return a frame of Polars whose spans of time are numbers of seconds."""
    return pl.DataFrame([seconds(column) for column in series_of(frame)])


def seconds(column: pl.Series) -> pl.Series:
    """Return spans of time, and times of day, as numbers of seconds; all else as it is."""
    if isinstance(column.dtype, pl.Duration):
        return column.dt.total_nanoseconds().cast(pl.Float64) / 1e9
    if column.dtype == pl.Time:
        return column.cast(pl.Int64).cast(pl.Float64) / 1e9
    return column


def _numbers(kind: Number | Time, column: pl.Series) -> NDArray[np.float64]:
    plain = dataclasses.replace(kind, spikes=(), spline=None) if isinstance(kind, Number) else kind
    return np.asarray(plain.read(column)[:, 0], np.float64)


def _places(parts: list[pl.Series]) -> tuple[tuple[str, ...], list[NDArray[np.float64]]]:
    """Return the levels of a column in all tables, and the place of each cell's."""
    texts = [as_text(part) for part in parts]
    levels = list(dict.fromkeys(level for text in texts for level in text.drop_nulls().unique().sort().to_list()))
    if not levels:
        return (), [np.full(len(text), np.nan) for text in texts]
    numbers = pl.Series(np.arange(len(levels), dtype=np.float64))
    places = [text.replace_strict(pl.Series(levels), numbers, default=None, return_dtype=pl.Float64) for text in texts]
    return tuple(levels), [place.fill_null(float("nan")).to_numpy().astype(np.float64) for place in places]


def as_text(column: pl.Series) -> pl.Series:
    """Return the cells of a category as text, in which whole numbers are written alike whatever their type.

    Example:
        >>> as_text(pl.Series([1.0, 2.5])).to_list(), as_text(pl.Series([True, None])).to_list()
        (['1', '2.5'], ['true', None])
    """
    if column.dtype == pl.String:
        return column.str.strip_chars()
    if column.dtype.is_float():
        return column.cast(pl.String).str.replace(r"\.0$", "")
    return column.cast(pl.String)

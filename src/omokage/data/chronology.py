"""The order of time: of a column of times, and of the index by which pandas knows rows.

Times are compared as moments. Python's own end at microseconds, and those of one zone compare by the clock on the wall,
which shows an hour twice when summer ends. So those of Polars and Arrow are compared as the whole numbers that they are
stored as, and Python's in UTC.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from itertools import pairwise
from numbers import Real
from typing import Any

import narwhals as nw
import numpy as np
import polars as pl
from numpy.typing import NDArray

from omokage.errors import DataError, shown
from omokage.files.times import times as read_times

Rows = NDArray[np.int64]

_TIMES = dt.date, dt.time, dt.timedelta, np.datetime64, np.timedelta64  # and what pandas derives from them


def moments(column: "nw.Series[Any]") -> list[Any]:
    """Return the entries of a column, times as what is equal, and ascends, as moments do.

    Example:
        >>> moments(nw.from_native(pl.Series([100, 200]).cast(pl.Datetime("ns")), series_only=True))
        [100, 200]
    """
    if (stored := _stored(column)) is not None:
        return stored.to_physical().to_list()
    return list(map(_moment, column.to_list()))


def missing(column: "nw.Series[Any]", entries: Sequence[Any]) -> list[int]:
    """Return the rows in which a column has no value: null, or not a number."""
    nulls = column.is_null().to_list()
    return [row for row, entry in enumerate(entries) if nulls[row] or (isinstance(entry, float) and entry != entry)]


def check_times(column: "nw.Series[Any]", groups: Sequence[Rows], labels: Sequence[Any] | None, name: str) -> None:
    """Check that times ascend within each series; `labels` are what messages call the series of each row.

    Raises:
        DataError: Naming series, rows and times.
    """

    def place(row: int) -> str:
        return f"{name}: row {row}" if labels is None else f"{name}: series {labels[row]!r}: row {row}"

    given = moments(column)
    if without := missing(column, given):
        raise DataError(f"{place(without[0])} has no value in {column.name!r}. Fill it, or leave the row out.")
    if not (column.dtype.is_numeric() or column.dtype.is_temporal()):
        given = _ordered(given, column.name, name)
    for group in groups:
        for before, after in pairwise(group):
            if given[before] < given[after]:
                continue
            what = "repeats the time" if given[before] == given[after] else "comes before the time"
            raise DataError(
                f"{place(after)} ({column.name} = {_text(column, after)}) {what} of row {before} "
                f"({_text(column, before)}). Sort the table by {column.name!r}, by time and not as text, and keep one "
                "row for each time of a series."
            )


def check_index(given: Any, name: str, groups: Sequence[Rows] | None = None) -> None:
    """Check that the times by which pandas knows rows ascend, within each series where there are several.

    Of an index of several levels those count that tell time, and those below them.

    Raises:
        DataError: Naming rows and times.
    """
    index: Any = getattr(given, "index", None)
    if not hasattr(index, "get_level_values"):
        return
    levels = [index.get_level_values(number) for number in range(index.nlevels)]
    telling = [number for number, level in enumerate(levels) if _tells_time(level)]
    if not telling:
        return
    ranks, absent = _ranks(levels[telling[0] :], name)
    for rows in [np.arange(len(index))] if groups is None else groups:
        here, gaps = ranks[rows], absent[rows]
        if (wrong := np.flatnonzero((here[1:] <= here[:-1]) | gaps[1:] | gaps[:-1])).size:
            before, row = int(rows[wrong[0]]), int(rows[wrong[0] + 1])
            remedy = "Sort the rows by their index, with sort_index(), and keep one for each time."
            if len(levels) > 1:
                remedy = (
                    f"Sort the rows with sort_index(level={index.names[telling[0]]!r}), and keep one for each time. "
                    "Where a level tells several series apart, make it a column with reset_index(), and name it in "
                    "data=Sequences(series='...')."
                )
            raise DataError(
                f"{name}: row {row} ({index[row]}) does not come after row {before} ({index[before]}). {remedy}"
            )


def _stored(column: "nw.Series[Any]") -> pl.Series | None:
    """Return times that are stored as whole numbers; those of pandas know their nanoseconds and zones themselves."""
    temporal = column.dtype.is_temporal() and not (column.implementation.is_pandas_like() and column.dtype != nw.Time)
    return pl.Series(column.to_native()) if temporal else None


def _moment(entry: Any) -> Any:
    return entry.astimezone(dt.UTC) if isinstance(entry, dt.datetime) and entry.tzinfo is not None else entry


def _text(column: "nw.Series[Any]", row: int) -> str:
    """Return a time in words, with all its digits."""
    stored = _stored(column)
    return str(column.to_list()[row] if stored is None else stored[int(row) : int(row) + 1].dt.to_string("iso")[0])


def _ordered(entries: list[Any], column: str, name: str) -> list[Any]:
    """Return times of one type that has an order; text is read as dates, clocks or numbers."""
    _check_types(entries, column, name)
    if not (entries and isinstance(entries[0], str)):
        return entries
    try:
        return read_times(pl.Series(column, entries)).to_physical().to_list()
    except DataError as error:
        raise DataError(f"{name}: {error}") from None


def _check_types(entries: Iterable[Any], column: object, name: str) -> None:
    entries = list(entries)
    first = entries[0] if entries else None
    expected = _type(first)
    for row, entry in enumerate(entries):
        if (got := _type(entry)) != expected:
            raise DataError(
                f"{name}: {column!r} holds {shown(first)} ({expected}) in row 0, and {shown(entry)} ({got}) in row "
                f"{row}. Give all times as one type."
            )
    try:
        _ = first is None or first < first
    except TypeError:
        raise DataError(
            f"{name}: {column!r} holds {shown(first)} ({expected}) in row 0, which has no order. Give times as "
            "dates, numbers or text."
        ) from None


def _type(entry: Any) -> str:
    """Return what messages call a type; times compare only if all have a zone, or none."""
    if isinstance(entry, dt.datetime):
        return f"a time with{'out' if entry.tzinfo is None else ''} a zone"
    return "a number" if isinstance(entry, Real) else type(entry).__name__


def _tells_time(level: Any) -> bool:
    if getattr(level.dtype, "kind", "") in ("m", "M"):
        return True
    entries = level[~level.isna()][:1]
    return any(isinstance(entry, _TIMES) or type(entry).__name__ == "Period" for entry in entries)


def _ranks(levels: Sequence[Any], name: str) -> tuple[Rows, NDArray[np.bool_]]:
    """Return numbers in the order of the levels, the first one deciding, and where one of them has no value."""
    ranks, absent = np.zeros(len(levels[0]), np.int64), np.zeros(len(levels[0]), bool)
    for level in levels:
        if level.dtype == object:  # Python's own
            _check_types(level[~level.isna()], "the index" if level.name is None else level.name, name)
        codes = (level.map(_moment) if level.dtype == object else level).factorize(sort=True)[0]
        ranks = np.unique(ranks * (len(level) + 1) + codes, return_inverse=True)[1]
        absent |= codes < 0
    return ranks, absent

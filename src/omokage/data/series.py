"""Series as they come: arrays (n, time, channels), lists of arrays (time, channels) or (time,), and long tables.

A long table has a row for each step of each series, a column that says which series a row belongs to, and often one of
times. Rows of different series may be mixed; those of one series stand in the order of their times. NaN, null and what
an array masks are missing entries. Steps are taken to be equally far apart.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import narwhals as nw
import numpy as np
from narwhals.exceptions import DuplicateError
from numpy.typing import NDArray

from omokage.data.windows import Windows
from omokage.errors import DataError, DataTypeError, ParameterError, is_count, listing, suggest
from omokage.supports import Support

Series = NDArray[Any] | list[NDArray[Any]]  # (n, T, C), or a list of (T, C)

_LARGEST = float(np.finfo(np.float32).max)
_SHAPES = "an array (series, time, channels) or a list of arrays (time, channels)"


@dataclass(frozen=True)
class Sequences:
    """How to read sequences.

    Attributes:
        layout: The order of the axes of arrays: "NTC" (series, time, channels) or "NCT"; lists hold "TC" or "CT".
        series: The column of a long table that says which series a row belongs to.
        time: The column by which the rows of a series ascend; `None`: they stand in their order.
        window: How many steps a row of the model has. Series are cut into windows that overlap, and X may be a single
            long one: an array (time, channels), or a table without a column that tells series apart. `None`: a row is
            a whole series.
        stride: How many steps there are from one window to the next; `None`: a quarter of a window.

    Example:
        >>> Sequences(series="engine", time="cycle").keys, Sequences(window=64).step
        (('engine', 'cycle'), 16)
    """

    layout: Literal["NTC", "NCT"] = "NTC"
    series: str | None = None
    time: str | None = None
    window: int | None = None
    stride: int | None = None

    def __post_init__(self) -> None:
        """Check the settings, which are used long after."""
        if self.layout not in ("NTC", "NCT"):
            raise ParameterError(f"Sequences(layout={self.layout!r}): expected 'NTC' or 'NCT'.")
        for name in ("series", "time"):
            value = getattr(self, name)
            if not (value is None or isinstance(value, str)):
                raise ParameterError(f"Sequences({name}={value!r}): expected the name of a column.")
        if self.window is not None and not (is_count(self.window) and self.window > 1):
            raise ParameterError(f"Sequences(window={self.window!r}): expected a whole number of steps, 2 or more.")
        if self.stride is not None and self.window is None:
            raise ParameterError(f"Sequences(stride={self.stride!r}): expected window= as well, which it moves.")
        if self.stride is not None and not (is_count(self.stride) and self.stride <= (self.window or 0)):
            raise ParameterError(
                f"Sequences(stride={self.stride!r}): expected a whole number from 1 to the window, {self.window}, so "
                "that every step is in one."
            )
        if self.time is not None and self.series is None and self.window is None:
            raise ParameterError("Sequences(time=...): expected series= as well, the column that tells series apart.")
        if self.time is not None and self.time == self.series:
            raise ParameterError(f"Sequences: series and time both name the column {self.time!r}; expected two.")

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns of a long table that are no channels."""
        return tuple(key for key in (self.series, self.time) if key is not None)

    @property
    def rows(self) -> str:
        """What a row of the model is, in words."""
        return "whole series" if self.window is None else f"windows of {self.window} steps"

    @property
    def step(self) -> int:
        """How many steps there are from one window to the next; 0 where series are not cut."""
        return 0 if self.window is None else self.stride or max(1, self.window // 4)

    def is_one(self, X: Any) -> bool:
        """Say whether X is a single long series, and not several."""
        several = isinstance(X, list | tuple) or getattr(X, "ndim", 2) > 2 or self.series is not None
        return self.window is not None and not several

    def windows(self, values: Series) -> Windows | None:
        """Return where the windows of series stand, each (T, C); `None` where series are not cut."""
        return None if self.window is None else Windows.of([len(one) for one in values], self.window, self.step)


def read_series(X: Any, reading: Sequences, name: str) -> tuple[Series, tuple[str, ...] | None]:
    """Return series as an array (n, T, C) or a list of (T, C), NaN where missing, and the channels' names.

    Those of a table stand in the order of their first rows. They are not cut into windows yet.

    Raises:
        DataError: Naming the series, and the row of a table, that cannot be used.
    """
    values: Series
    frame = _frame(X, name)
    if frame is not None:
        values, names = _from_table(frame, reading, name)
        return values, names
    if isinstance(X, np.ndarray) and X.dtype != object:
        alone = reading.window is not None and X.ndim in (1, 2)
        values = _from_list([X], reading, name) if alone else _from_array(X, reading, name)
    else:
        values = _from_list(X, reading, name)
    return values, None


def rows_of_series(frame: Any, reading: Sequences, name: str = "X") -> list[NDArray[np.int64]]:
    """Return the numbers of the rows of each series of a long table, the series in the order of their first rows.

    Example:
        >>> import polars as pl
        >>> frame = pl.DataFrame({"id": ["b", "a", "b"], "x": [1.0, 2.0, 3.0]})
        >>> [rows.tolist() for rows in rows_of_series(frame, Sequences(series="id"))]
        [[0, 2], [1]]

    Raises:
        DataError: If a row belongs to no series, or the times of a series do not ascend.
    """
    frame = nw.from_native(frame)
    _check_columns(frame, reading, name)
    if reading.series is None:  # one, which will be cut
        every = [np.arange(len(frame))]
        if reading.time is not None:
            _check_times(frame[reading.time], every, ["X"] * len(frame), name)
        return every
    labels = frame[reading.series].to_list()
    if without := _missing(frame[reading.series], labels):
        more = f", and so have {len(without) - 1} more" if len(without) > 1 else ""
        raise DataError(
            f"{name}: row {without[0]} has no value in {reading.series!r}, so it belongs to no series{more}. Fill it, "
            "or leave the row out."
        )
    numbers: dict[Hashable, int] = {}
    try:
        member = np.array([numbers.setdefault(label, len(numbers)) for label in labels])
    except TypeError:
        raise DataError(f"{name}: {reading.series!r} holds {labels[0]!r}; expected names or numbers.") from None
    groups = np.split(np.argsort(member, kind="stable"), np.cumsum(np.bincount(member))[:-1])
    if reading.time is not None:
        _check_times(frame[reading.time], groups, labels, name)
    return groups


def check_support(values: Series, support: Support, name: str) -> None:
    """Check that every entry that is there lies where the likelihood is defined.

    Raises:
        DataError: Naming series, step and channel of the first offender.
    """
    for number, series in enumerate([] if support.everything else values):
        bad = support.outside(series)
        if bad.any():
            step, channel = np.argwhere(bad)[0]
            raise DataError(
                f"{name}: expected {support.text}, as at fit; got {series[step, channel]:.6g} in series {number}, "
                f"step {step}, channel {channel}. Scale the series as those of the fit."
            )


def _frame(X: Any, name: str) -> nw.DataFrame[Any] | None:
    try:
        frame = nw.from_native(X, pass_through=True)
    except DuplicateError as error:
        raise DataError(f"{name}: column names must differ. {' '.join(str(error).split())}") from None
    if isinstance(frame, nw.LazyFrame):
        raise DataError(f"{name}: expected rows, got a lazy frame. Call .collect() on it first.")
    return frame if isinstance(frame, nw.DataFrame) else None


def _from_array(X: NDArray[Any], reading: Sequences, name: str) -> NDArray[Any]:
    if X.ndim != 3:
        remedy = "X[:, :, None]" if reading.layout == "NTC" else "X[:, None, :]"
        hint = f" Series of one channel are {remedy}." if X.ndim == 2 else ""
        raise DataError(f"{name}: expected sequences, {_SHAPES}; got an array of the shape {X.shape}.{hint}")
    if 0 in X.shape:
        raise DataError(f"{name}: expected series with steps and channels, got the shape {X.shape}.")
    values = _numbers(X, name)
    values = np.swapaxes(values, 1, 2) if reading.layout == "NCT" else values
    _check_range(values, name)
    _check_observed(values, name)
    return values


def _from_list(X: Any, reading: Sequences, name: str) -> list[NDArray[Any]]:
    if isinstance(X, str | bytes | dict) or not hasattr(X, "__iter__"):
        raise DataError(f"{name}: expected sequences, {_SHAPES}; got {type(X).__name__}.")
    given = list(X)
    if not given:
        raise DataError(f"{name}: expected at least one series, got an empty list.")
    result: list[NDArray[Any]] = []
    for number, series in enumerate(given):
        place = f"{name}: series {number}"
        array = _numbers(series, place)
        if array.ndim not in (1, 2):
            raise DataError(f"{place}: expected an array (time, channels), got the shape {array.shape}.")
        if not array.size:
            raise DataError(f"{place} is empty, of the shape {array.shape}. Leave it out.")
        array = array[:, None] if array.ndim == 1 else array.T if reading.layout == "NCT" else array
        result.append(array)
    channels = np.array([array.shape[1] for array in result])
    if (other := np.flatnonzero(channels != channels[0])).size:
        raise DataError(
            f"{name}: series {other[0]} has {channels[other[0]]} channels, and series 0 has {channels[0]}; expected as "
            f"many in each, with the axes of layout={reading.layout!r}."
        )
    _check_range(result, name)
    _check_observed(result, name)
    return result


def _from_table(frame: nw.DataFrame[Any], reading: Sequences, name: str) -> tuple[list[NDArray[Any]], tuple[str, ...]]:
    groups = rows_of_series(frame, reading, name)
    channels = [column for column in frame.columns if column not in reading.keys]
    matrix = np.column_stack([frame[column].cast(nw.Float64).to_numpy() for column in channels])
    bad = np.argwhere(~(np.isnan(matrix) | (np.abs(matrix) <= _LARGEST)))
    if len(bad):
        row, column = bad[0]
        raise DataError(
            f"{name} contains {_shown(matrix[row, column])} at row {row}, column {str(channels[column])!r}"
            f"{_more(len(bad))}. {_EXPECTED}"
        )
    values = [matrix[group] for group in groups]
    labels = None if reading.series is None else frame[reading.series].to_list()
    called = None if labels is None else [f"{labels[group[0]]!r} (from row {group[0]})" for group in groups]
    _check_observed(values, name, called)
    return values, tuple(map(str, channels))


def _check_columns(frame: nw.DataFrame[Any], reading: Sequences, name: str) -> None:
    if reading.series is None and reading.window is None:
        raise DataError(
            f"{name}: a table of sequences needs the column that tells series apart: fit with data=Sequences("
            f"series='...', time='...'), or --series on the command line; or window=64, --window 64, where it is one "
            f"long series. It has {listing(frame.columns, 20)}."
        )
    if absent := [key for key in reading.keys if key not in frame.columns]:
        hints = "".join(suggest(key, map(str, frame.columns)) for key in absent)
        raise DataError(f"{name}: no column {listing(absent)}.{hints} It has {listing(frame.columns, 20)}.")
    channels = [column for column in frame.columns if column not in reading.keys]
    wrong = [c for c in channels if not (frame[c].dtype.is_numeric() or frame[c].dtype == nw.Boolean)]
    if wrong or not channels:
        what = f"not so in {listing(wrong)}" if wrong else "there is no other column"
        beside = f" beside {' and '.join(map(repr, reading.keys))}" if reading.keys else ""
        raise DataError(
            f"{name}: expected numbers in every column{beside}; {what}. Leave "
            "columns of text out (--id on the command line), or encode them as numbers first."
        )
    if not len(frame):
        raise DataError(f"{name}: expected at least one series, got a table without rows.")


def _check_times(given: nw.Series[Any], groups: Sequence[NDArray[np.int64]], labels: Sequence[Any], name: str) -> None:
    times, column = given.to_list(), given.name
    if without := _missing(given, times):
        raise DataError(
            f"{name}: series {labels[without[0]]!r}: row {without[0]} has no value in {column!r}. Fill it, or leave "
            "the row out."
        )
    for group in groups:
        for before, after in pairwise(group):
            if times[before] < times[after]:
                continue
            what = "repeats the time" if times[before] == times[after] else "comes before the time"
            text = " as text, in which '10' comes before '9'" if isinstance(times[after], str) else ""
            raise DataError(
                f"{name}: series {labels[after]!r}: row {after} ({column} = {times[after]}) {what} of row {before} "
                f"({times[before]}). Sort the table by {column!r}{text}, and keep one row for each time of a series."
            )


def _numbers(value: Any, place: str) -> NDArray[Any]:
    try:
        if np.ma.isMaskedArray(value):
            value = np.ma.filled(value.astype(np.float64), np.nan)
        array = np.asarray(value)
        if array.dtype.kind == "O":
            array = array.astype(np.float64)
    except (ValueError, TypeError) as error:
        text = " ".join(str(error).split())
        raise DataTypeError(f"{place}: expected numbers of a regular shape (time, channels); {text}.") from None
    if array.dtype.kind not in "biuf":
        raise DataTypeError(f"{place}: expected numbers, got {array.dtype}.")
    return array.astype(np.float32 if array.dtype.itemsize <= 2 or array.dtype == np.float32 else np.float64)


_EXPECTED = "Expected numbers that float32 holds, and NaN where an entry is missing."


def _check_range(values: Series, name: str) -> None:
    for number, series in enumerate(values):
        bad = np.argwhere(~(np.isnan(series) | (np.abs(series) <= _LARGEST)))
        if len(bad):
            step, channel = bad[0]
            raise DataError(
                f"{name} contains {_shown(series[step, channel])} in series {number}, step {step}, channel {channel}"
                f"{_more(len(bad))}. {_EXPECTED}"
            )


def _check_observed(values: Series, name: str, called: Sequence[str] | None = None) -> None:
    empty = [number for number, series in enumerate(values) if np.isnan(series).all()]
    if empty:
        more = f", and {len(empty) - 1} more series like it" if len(empty) > 1 else ""
        raise DataError(
            f"{name}: series {called[empty[0]] if called else empty[0]} has no observed entry{more}. Leave it out."
        )


def _missing(column: nw.Series[Any], entries: Sequence[Any]) -> list[int]:
    """Return the rows in which a column has no value: null, or not a number."""
    nulls = column.is_null().to_list()
    return [row for row, entry in enumerate(entries) if nulls[row] or (isinstance(entry, float) and entry != entry)]


def _shown(value: float) -> str:
    return f"{value:.6g}".replace("inf", "infinity")


def _more(count: int) -> str:
    return f", and {count - 1} more entries like it" if count > 1 else ""

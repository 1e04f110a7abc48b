"""Series as they come: arrays (n, time, channels), lists of arrays (time, channels) or (time,), and long tables.

The frames of a list have a row for each step. Their columns are found by name, and those that `Sequences` calls series
and time are no channels. A long table has a row for each step of each series, a column that says which series a row
belongs to, and often one of times. Rows of different series may be mixed; those of one series stand in the order of
their times. NaN, null and what an array masks are missing entries. Steps are taken to be equally far apart.
"""

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import narwhals as nw
import numpy as np
from numpy.typing import NDArray

from omokage.data.arrays import array_of, is_numbers, numbers_in, unmasked
from omokage.data.chronology import check_index, check_times, missing, moments
from omokage.data.frames import frame_of
from omokage.errors import DataError, DataTypeError, ParameterError, listing, shown, suggest
from omokage.supports import Support

if TYPE_CHECKING:
    from omokage.data.kinds.sequences import Sequences

Series = NDArray[Any] | list[NDArray[Any]]  # (n, T, C), or a list of (T, C)

_LARGEST = float(np.finfo(np.float32).max)
_SHAPES = "an array (series, time, channels) or a list of arrays (time, channels)"


class Read(NamedTuple):
    """Series that were read: NaN where an entry is missing, the channels' names, and whether X is a single series."""

    values: Series
    names: tuple[str, ...] | None = None
    alone: bool = False


def read_series(X: Any, reading: "Sequences", name: str) -> Read:
    """Return series as an array (n, T, C) or a list of (T, C).

    Those of a table stand in the order of their first rows. They are not cut into windows yet. An array of one or two
    axes is a single series, where series are to be cut; nested lists are the array that they make.

    Raises:
        DataError: Naming the series, and the row of a table, that cannot be used.
    """
    frame = frame_of(X, name)
    if frame is not None:
        return _from_table(frame, reading, name)
    if isinstance(X, str | bytes | dict | set) or not (hasattr(X, "__iter__") or hasattr(X, "__array__")):
        raise DataError(f"{name}: expected sequences, {_SHAPES}; got {type(X).__name__}.")
    if isinstance(X, np.ndarray) and X.dtype == object and any(getattr(row, "ndim", 0) for row in X.flat):
        X = list(X)
    series = None if isinstance(X, list | tuple) else X
    if series is None and not any(map(_has_steps, X)):
        series = _regular(X)
    if series is None:
        return _from_list(list(X), reading, name)
    check_index(X, name)
    array = _numbers(series, name)
    if reading.window is not None and array.ndim in (1, 2):
        return _from_list([array], reading, name)._replace(alone=True)
    return Read(_from_array(array, reading, name))


def _has_steps(entry: Any) -> bool:
    """Say whether an entry of a list is an array, a column or a frame; asked of every number of a long series."""
    return bool(getattr(entry, "ndim", 0)) or hasattr(entry, "__arrow_c_stream__")


def _regular(rows: Any) -> NDArray[Any] | None:
    """Return the array that nested lists make; `None` where they are of unlike lengths."""
    try:
        array = np.array(unmasked(rows), dtype=object)
    except ValueError:
        return None
    unlike = not array.size or array.ndim > 3 or any(isinstance(entry, list | tuple) for entry in array.flat)
    return None if unlike else array


def rows_of_series(frame: Any, reading: "Sequences", name: str = "X") -> list[NDArray[np.int64]]:
    """Return the numbers of the rows of each series of a long table, the series in the order of their first rows.

    Example:
        >>> import polars as pl
        >>> from omokage.data import Sequences
        >>> frame = pl.DataFrame({"id": ["b", "a", "b"], "x": [1.0, 2.0, 3.0]})
        >>> [rows.tolist() for rows in rows_of_series(frame, Sequences(series="id"))]
        [[0, 2], [1]]

    Raises:
        DataError: If a row belongs to no series, or the times of a series do not ascend.
    """
    frame = nw.from_native(frame)
    _check_columns(frame, reading, name)
    return _groups(frame, reading.series, reading.time, name)


def _groups(frame: "nw.DataFrame[Any]", key: str | None, time: str | None, name: str) -> list[NDArray[np.int64]]:
    """Return the numbers of the rows of each series, in the order of time; without a key all are of one."""
    labels, groups = None, [np.arange(len(frame))]
    if key is not None:
        labels = frame.get_column(key).to_list()
        if without := missing(frame.get_column(key), labels):
            more = f", and so have {len(without) - 1} more" if len(without) > 1 else ""
            raise DataError(
                f"{name}: row {without[0]} has no value in {key!r}, so it belongs to no series{more}. Fill it, or "
                "leave the row out."
            )
        numbers: dict[Hashable, int] = {}
        try:
            member = np.array([numbers.setdefault(label, len(numbers)) for label in moments(frame.get_column(key))])
        except TypeError:
            raise DataError(f"{name}: {key!r} holds {labels[0]!r}; expected names or numbers.") from None
        groups = np.split(np.argsort(member, kind="stable"), np.cumsum(np.bincount(member))[:-1])
    if time is None:
        check_index(frame.to_native(), name, groups)
    else:
        check_times(frame.get_column(time), groups, labels, name)
    return groups


def lengths_of(length: Any, count: int) -> NDArray[Any]:
    """Return how many steps each of `count` series shall have, () or (count,); raises ParameterError if it says not."""
    try:
        lengths = np.empty(0) if np.ma.is_masked(length) else np.asarray(length)
    except Exception:  # whatever a stranger's object raises
        lengths = np.empty(0)
    if lengths.dtype.kind not in "iu" or lengths.shape not in ((), (count,)) or lengths.min() < 1:
        raise ParameterError(f"length={shown(length)}: expected a whole number of at least 1, or {count} of them.")
    return lengths


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
                f"{name}: expected {support.of(int(channel)).text}, as at fit; got {series[step, channel]:.6g} in "
                f"series {number}, step {step}, channel {channel}. Scale the series as those of the fit."
            )


def _from_array(X: NDArray[Any], reading: "Sequences", name: str) -> NDArray[Any]:
    if X.ndim != 3:
        remedy = "X[:, :, None]" if reading.layout == "NTC" else "X[:, None, :]"
        hint = f" Series of one channel are {remedy}." if X.ndim == 2 else ""
        raise DataError(f"{name}: expected sequences, {_SHAPES}; got an array of the shape {X.shape}.{hint}")
    if 0 in X.shape:
        raise DataError(f"{name}: expected series with steps and channels, got the shape {X.shape}.")
    values = np.swapaxes(X, 1, 2) if reading.layout == "NCT" else X
    _check_range(values, name)
    _check_observed(values, name)
    return values


def _from_list(X: Any, reading: "Sequences", name: str) -> Read:
    if not X:
        raise DataError(f"{name}: expected at least one series, got an empty list.")
    result: list[NDArray[Any]] = []
    names: tuple[str, ...] | None = None
    for number, series in enumerate(X):
        place = f"{name}: series {number}"
        frame = frame_of(series, place)
        array, found = _of_steps(series, reading, place) if frame is None else _of_frame(frame, reading, place)
        names = found if number == 0 else names
        if found != names:
            array = array[:, _places(found, names, place)]
        result.append(array)
    channels = np.array([array.shape[1] for array in result])
    if (other := np.flatnonzero(channels != channels[0])).size:
        raise DataError(
            f"{name}: series {other[0]} has {channels[other[0]]} channels, and series 0 has {channels[0]}; expected as "
            f"many in each, with the axes of layout={reading.layout!r}."
        )
    _check_range(result, name)
    _check_observed(result, name)
    return Read(result, names)


def _of_steps(series: Any, reading: "Sequences", place: str) -> tuple[NDArray[Any], None]:
    """Return a series without names, (time, channels)."""
    check_index(series, place)
    array = _numbers(series, place)
    if array.ndim not in (1, 2):
        raise DataError(f"{place}: expected an array (time, channels), got the shape {array.shape}.")
    if not array.size:
        raise DataError(f"{place} is empty, of the shape {array.shape}. Leave it out.")
    return array[:, None] if array.ndim == 1 else array.T if reading.layout == "NCT" else array, None


def _of_frame(frame: "nw.DataFrame[Any]", reading: "Sequences", place: str) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Return a series that is a frame of its own, (time, channels), and the names of its channels."""
    key, time = (given if given in frame.columns else None for given in (reading.series, reading.time))
    channels = _channels(frame, reading, place)
    if not len(frame):
        raise DataError(f"{place} is empty, a table without rows. Leave it out.")
    if (count := len(_groups(frame, key, time, place))) > 1:
        raise DataError(
            f"{place}: expected one series, got {count} by {key!r}. Give all series as one table, pandas.concat(X) or "
            "polars.concat(X)."
        )
    return _matrix(frame, channels, place), tuple(channels)


def _places(found: tuple[str, ...] | None, names: tuple[str, ...] | None, place: str) -> list[int]:
    """Return where the channels of the first series stand in another one."""
    if found is None or names is None or sorted(found) != sorted(names):
        got, expected = ("no names" if given is None else listing(given, 20) for given in (found, names))
        raise DataError(
            f"{place}: expected the columns of series 0, {expected}; got {got}. Give all series the same columns, in "
            "any order, or none of them names."
        )
    return [found.index(channel) for channel in names]


def _from_table(frame: "nw.DataFrame[Any]", reading: "Sequences", name: str) -> Read:
    groups = rows_of_series(frame, reading, name)
    channels = _channels(frame, reading, name)
    matrix = _matrix(frame, channels, name)
    values = [matrix[group] for group in groups]
    labels = None if reading.series is None else frame.get_column(reading.series).to_list()
    called = None if labels is None else [f"{labels[group[0]]!r} (from row {group[0]})" for group in groups]
    _check_observed(values, name, called)
    return Read(values, tuple(channels), alone=reading.series is None)


def _matrix(frame: "nw.DataFrame[Any]", channels: Sequence[str], name: str) -> NDArray[Any]:
    """Return columns of numbers side by side, (rows, channels)."""
    matrix = np.column_stack(
        [numbers_in(frame.get_column(column), f"{name}, column {column!r}") for column in channels]
    )
    bad = np.argwhere(~(np.isnan(matrix) | (np.abs(matrix) <= _LARGEST)))
    if len(bad):
        row, column = bad[0]
        raise DataError(
            f"{name} contains {_shown(matrix[row, column])} at row {row}, column {channels[column]!r}"
            f"{_more(len(bad))}. {_EXPECTED}"
        )
    return matrix


def _check_columns(frame: "nw.DataFrame[Any]", reading: "Sequences", name: str) -> None:
    if reading.series is None and reading.window is None:
        raise DataError(
            f"{name}: a table of sequences needs the column that tells series apart: fit with data=Sequences("
            f"series='...', time='...'), or --series on the command line; or window=64, --window 64, where it is one "
            f"long series. It has {listing(frame.columns, 20)}."
        )
    if absent := [key for key in reading.keys if key not in frame.columns]:
        levels = getattr(getattr(frame.to_native(), "index", None), "names", ())
        if set(absent) & {str(level) for level in levels}:
            raise DataError(
                f"{name}: no column {listing(absent)}; the index of the frame is called {listing(levels)}. Make it a "
                "column: reset_index()."
            )
        hints = "".join(suggest(key, frame.columns) for key in absent)
        raise DataError(f"{name}: no column {listing(absent)}.{hints} It has {listing(frame.columns, 20)}.")
    _channels(frame, reading, name)
    if not len(frame):
        raise DataError(f"{name}: expected at least one series, got a table without rows.")


def _channels(frame: "nw.DataFrame[Any]", reading: "Sequences", name: str) -> list[str]:
    """Return the columns that are no keys, which are to hold numbers."""
    channels = [column for column in frame.columns if column not in reading.keys]
    wrong = [
        column
        for column in channels
        if not (_is_empty(frame.get_column(column)) or is_numbers(frame.get_column(column)))
    ]
    if wrong or not channels:
        what = f"not so in {listing(wrong)}" if wrong else "there is no other column"
        beside = f" beside {' and '.join(map(repr, reading.keys))}" if reading.keys else ""
        raise DataError(
            f"{name}: expected numbers in every column{beside}; {what}. Leave "
            "columns of text out (--id on the command line), or encode them as numbers first."
        )
    return channels


def _is_empty(column: "nw.Series[Any]") -> bool:
    """Say whether a column that may hold numbers has none at all."""
    return bool(column.dtype in (nw.Object, nw.Unknown) and column.is_null().all())


def _numbers(value: Any, place: str) -> NDArray[Any]:
    try:
        return array_of(value, place)
    except DataTypeError:
        raise
    except DataError as error:
        text = str(error).removeprefix(f"{place}: ")
        raise DataTypeError(f"{place}: expected numbers of a regular shape (time, channels); {text}") from None


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


def _shown(value: float) -> str:
    return f"{value:.6g}".replace("inf", "infinity")


def _more(count: int) -> str:
    return f", and {count - 1} more entries like it" if count > 1 else ""

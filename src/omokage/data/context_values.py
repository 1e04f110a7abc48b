"""The context of rows as people give it: read, checked, and made columns of numbers or of labels."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import narwhals as nw
import numpy as np
from numpy.typing import NDArray

from omokage.data.arrays import unmasked
from omokage.data.frames import frame_of
from omokage.errors import DataError, DataTypeError, check_unicode, listing

LARGEST = float(np.finfo(np.float32).max)
WORDS: dict[type, str] = {str: "strings", int: "whole numbers", bool: "True and False", float: "numbers"}


@dataclass(frozen=True, eq=False)
class Told:
    """The context of rows, read and checked: what can be learned from it and encoded, for all of the rows or some.

    Attributes:
        columns: Floats, or objects that are labels, (n,) each.
        names: Their names, where it was a data frame.
    """

    columns: tuple[NDArray[Any], ...]
    names: tuple[str, ...] | None

    @staticmethod
    def of(context: Any, rows: int, name: str = "context") -> "Told":
        """Return the context of so many rows; raises DataError if it cannot be used, as `ContextSchema.learn` does."""
        names, columns = read(context, name)
        if len(columns[0]) != rows:
            raise DataError(other_rows(name, len(columns[0]), rows))
        return Told(tuple(columns), names)

    def __len__(self) -> int:
        return len(self.columns[0])

    def part(self, index: NDArray[np.int64]) -> "Told":
        """Return the context of the rows at these places, which may repeat."""
        return Told(tuple(column[index] for column in self.columns), self.names)


def read(context: Any, name: str) -> tuple[tuple[str, ...] | None, list[NDArray[Any]]]:
    """Return the names of columns, if there are any, and the columns: float64, or objects that are labels."""
    if isinstance(context, Told):
        return context.names, list(context.columns)
    frame = context if isinstance(context, Mapping) else frame_of(context, name)
    series = nw.from_native(context, pass_through=True, allow_series=True) if frame is None else None
    if isinstance(series, nw.Series):
        return None, [_values(_array(series, name, ""), name, "")]
    if isinstance(frame, nw.DataFrame | Mapping):
        names = tuple(map(str, frame if isinstance(frame, Mapping) else frame.columns))
        given = list(frame.values()) if isinstance(frame, Mapping) else list(frame.iter_columns())
        columns = []
        for column, values in zip(names, given, strict=True):
            check_unicode(column, name, " as the name of a column")
            where = f", column {column!r}"
            array = _array(values, name, where)
            if array.ndim > 1:
                raise DataError(f"{name}{where}: expected one value a row, got the shape {array.shape}.")
            columns.append(_values(np.atleast_1d(array), name, where))
        lengths = {len(values) for values in columns}
        if len(lengths) != 1:
            raise DataError(f"{name}: expected columns of one length; got {listing(sorted(lengths)) or 'none'}.")
        return names, columns
    array = _array(context, name, "")
    if array.ndim < 2:
        return None, [_values(np.atleast_1d(array), name, "")]
    if array.ndim > 2 or 0 in array.shape:
        raise DataError(
            f"{name}: expected a label or a number for each row, (n,), or numbers, (n, k); got the shape {array.shape}."
        )
    columns = [_values(array[:, j], name, f", column {j}") for j in range(array.shape[1])]
    for j, values in enumerate(columns):
        if kind_of(values) is str:
            raise DataError(
                f"{name}: a matrix is taken for numbers, and column {j} has strings ({values[0]!r}). Give labels as "
                "one array (n,), or as columns of a data frame."
            )
    return None, [values.astype(np.float64) for values in columns]


def _array(values: Any, name: str, column: str) -> NDArray[Any]:
    """Return an array of what was given; lists, and what can be missing, as Python's own objects."""
    if isinstance(values, nw.Series):
        missing = np.asarray(values.is_null().to_list())
        if missing.any():
            raise _missing(missing, None, name, column)
        return values.to_numpy() if values.dtype.is_float() else objects(values.to_list())
    if isinstance(values, np.ma.MaskedArray):
        made = values.data.astype(object)
        made[np.ma.getmaskarray(values)] = None
        return made
    return np.asarray(values) if hasattr(values, "__array__") else objects(unmasked(values))


def objects(values: Any) -> NDArray[Any]:
    """Return values as an array of Python's own objects."""
    try:
        return np.array(values, dtype=object)
    except ValueError:  # lists of unlike lengths
        made = np.empty(len(values), object)
        made[:] = values
        return made


def _values(array: NDArray[Any], name: str, column: str) -> NDArray[Any]:
    """Return a column as float64, or as an object array of labels of one type: str, int or bool."""
    if not len(array):
        raise DataError(f"{name}: expected the context of one row or more; got none.")
    if array.dtype.kind in "mMcV":
        raise DataTypeError(f"{name}: expected strings, whole numbers, booleans or numbers{column}; got {array.dtype}.")
    if array.dtype.kind == "f":
        values = array.astype(np.float64)
    else:
        entries = array.astype(object) if array.dtype.kind in "biuU" else array
        kinds = [_kind(entry) for entry in entries.tolist()]
        missing = np.array([kind is None for kind in kinds])
        if missing.any():
            raise _missing(missing, entries, name, column)
        found = set(kinds)
        if not found <= {int, float}:
            odd = next((j for j, kind in enumerate(kinds) if kind is not kinds[0] or kind is object), None)
            if odd is not None:
                raise DataError(
                    f"{name}: expected strings, whole numbers, booleans or numbers, of one type in a column; got "
                    f"{entries[odd]!r} in row {odd}{column}{'' if odd == 0 else f', after {entries[0]!r}'}."
                )
        if str in found:
            for row, entry in enumerate(entries.tolist()):
                check_unicode(entry, name, f" in row {row}{column}")
        if float not in found:
            plain: dict[Any, Any] = {str: str, int: int, bool: bool}
            return objects([plain[kinds[0]](entry) for entry in entries])
        values = entries.astype(np.float64)
    if (bad := ~(np.abs(values) <= LARGEST)).any():
        raise _missing(bad, values, name, column)
    return values


def _kind(entry: Any) -> type | None:
    """Return what an entry is: one of `WORDS`, `None` where it is missing, `object` for anything else."""
    if entry is None or type(entry).__name__ in ("NAType", "NaTType"):
        return None
    if isinstance(entry, bool | np.bool_):
        return bool
    if isinstance(entry, int | np.integer) and not isinstance(entry, np.timedelta64):
        return int
    if isinstance(entry, float | np.floating | Decimal):
        return float if entry == entry else None
    return str if isinstance(entry, str) else object


def kind_of(values: NDArray[Any]) -> type:
    """Return the type of a column's values, one of `WORDS`."""
    return type(values[0]) if values.dtype == object else float


def _missing(bad: NDArray[np.bool_], values: NDArray[Any] | None, name: str, column: str) -> DataError:
    row = int(np.argmax(bad))
    what = "nothing" if values is None else f"{values[row]!s}"
    more = f", and in {bad.sum() - 1} more rows" if bad.sum() > 1 else ""
    return DataError(
        f"{name}: expected a label or a finite number for each row; got {what} in row {row}{column}{more}. Leave such "
        "rows out, or fill them: a label such as 'unknown' is one as any other."
    )


def place(names: tuple[str, ...] | None, column: int, count: int) -> str:
    """Return what messages add to the row: the column, where there are several or it has a name."""
    if names is not None:
        return f", column {names[column]!r}"
    return f", column {column}" if count > 1 else ""


def other_rows(name: str, got: int, rows: int) -> str:
    """Return the message that this is the context of another number of rows."""
    return f"{name}: expected the context of {counted(rows, 'row')}, one for each; got that of {got}."


def counted(count: int, noun: str) -> str:
    """Return "1 row" or "2 rows"."""
    return f"{count} {noun}{'s' * (count != 1)}"

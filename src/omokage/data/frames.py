"""Frames, of whatever class: columns with names that are text.

| given | comes as |
|---|---|
| pandas, Polars, PyArrow and other frames that narwhals knows | a frame |
| anything that offers `__arrow_c_stream__`, as DuckDB's relations do | a frame, read through Arrow |
| a structured NumPy array | a frame, whose columns are its fields |

What is neither a frame nor an array is refused by the call that would make it one.
"""

from collections.abc import Iterator, Mapping, MappingView
from typing import Any, Literal

import narwhals as nw
import numpy as np
import polars as pl
from narwhals.exceptions import DuplicateError
from numpy.typing import NDArray

from omokage.data.arrays import array_of, is_missing, is_numbers, is_real, numbers_in, one_line, refuse_pictures
from omokage.errors import DataError, check_unicode, listing, shown

Container = Literal["polars", "pandas", "pyarrow", "array"]  # what a table comes in

_REMEDIES = {  # what a container that is not read has to be turned into
    "LazyFrame": "Call .collect() on it first",
    "Dataset": "Give it as a frame, X.to_dataframe(), or one of its variables, X['name'].values",
    "AnnData": "Give its matrix, X.X, or the frame X.to_df()",
    "dict": "Give it as a frame, pandas.DataFrame(X) or polars.DataFrame(X)",
    "dict of series": "Give them as a list, list(X.values())",
    "set": "Give it as a list, in the order of the rows",
    "generator": "Give it as a list or an array, numpy.stack(list(X))",
}


def frame_of(X: Any, name: str = "X") -> "nw.DataFrame[Any] | None":
    """Return X as a frame whose names are text, `None` where it has none.

    Raises:
        DataError: If it is a frame that has to be asked for its rows first, or repeats a name.

    Example:
        >>> frame_of(pl.DataFrame({"a": [1, 2]})).columns, frame_of([[1, 2]])
        (['a'], None)
    """
    refuse_pictures(X, name)
    try:
        if isinstance(X, np.ndarray) and X.dtype.names:
            X = pl.DataFrame({field: _in_known_unit(X[field]) for field in X.dtype.names})
        frame = nw.from_native(X, pass_through=True)
        known = isinstance(frame, nw.DataFrame)
        arrow = hasattr(X, "__arrow_c_stream__") or hasattr(X, "__arrow_c_array__")
        if not known and arrow and (hasattr(X, "schema") or not hasattr(X, "__array__")):  # columns, and no array
            frame = nw.from_native(pl.DataFrame(X))
    except DuplicateError as error:
        raise DataError(f"{name}: column names must differ. {one_line(error)}") from None
    except Exception as error:  # whatever a stranger's container raises
        raise DataError(f"{name}: expected rows and columns; {one_line(error)}.") from None
    if not isinstance(frame, nw.DataFrame):
        _check_container(X, frame, name)
        return None
    names = [str(column) for column in frame.columns]
    for column in names:
        check_unicode(column, name, " as the name of a column")
    if len(set(names)) < len(names):
        raise DataError(
            f"{name}: column names must differ; {listing(sorted({n for n in names if names.count(n) > 1}))} repeat."
        )
    if names != list(frame.columns):  # of pandas
        native = frame.to_native().copy(deep=False)
        native.columns = names
        frame = nw.from_native(native)
    return frame


def _in_known_unit(field: NDArray[Any]) -> NDArray[Any]:
    """Return times in a unit that Polars has: those of seconds and longer in milliseconds, without loss."""
    coarse = field.dtype.kind in "mM" and np.datetime_data(field.dtype)[0] in ("Y", "M", "W", "D", "h", "m", "s")
    return field.astype(f"{field.dtype.kind}8[ms]") if coarse else field


def is_frame(X: Any) -> bool:
    """Say whether X is one that `frame_of` returns, or refuses for its names."""
    try:
        return frame_of(X) is not None
    except DataError:
        return hasattr(X, "columns")


def _check_container(X: Any, frame: Any, name: str) -> None:
    """Refuse what is neither a frame nor an array, by the call that would make it one."""
    called = "LazyFrame" if isinstance(frame, nw.LazyFrame) else type(X).__name__
    if isinstance(X, Mapping) and not hasattr(X, "__array__") and not hasattr(X, "shape"):
        shapes = {_shape(part) for part in X.values()} - {()}
        several = len(shapes) > 1 or any(shape is None or len(shape) > 1 for shape in shapes)
        called = "dict of series" if several else called if called in _REMEDIES else "dict"
    if called in _REMEDIES:
        raise DataError(f"{name}: expected rows, got a {type(X).__name__}. {_REMEDIES[called]}.")
    if isinstance(X, Iterator | MappingView) and not hasattr(X, "__array__"):
        raise DataError(f"{name}: expected rows, got a {type(X).__name__}. Give it as a list, list(X).")
    if isinstance(X, list | tuple) and X and isinstance(X[0], Mapping):
        raise DataError(
            f"{name}: expected rows, got a {type(X).__name__} of {type(X[0]).__name__}. {_REMEDIES['dict']}."
        )


def _shape(part: Any) -> tuple[int, ...] | None:
    try:
        return tuple(map(int, np.shape(part)))
    except Exception:  # lists of unlike lengths, and whatever a stranger's container raises
        return None


def is_mixed(X: Any) -> bool:
    """Say whether X is a data frame that holds anything but plain numbers, or has holes.

    Example:
        >>> is_mixed(pl.DataFrame({"a": [1, None]})), is_mixed(pl.DataFrame({"a": [1, 2]})), is_mixed([[1, None]])
        (True, False, False)
    """
    frame = frame_of(X)
    if frame is None or not len(frame):
        return False
    for column in frame.iter_columns():
        if not is_numbers(column) or column.is_null().any():
            return True
        if column.dtype.is_float() and column.is_nan().any():
            return True
    return False


def textual(X: Any) -> bool:
    """Say whether the names of a frame are text, or the labels of rows that are pandas series; of all else too.

    pandas alone has names that are no text. `columns` of PyArrow are the cells, and their names are text.

    Example:
        >>> import pandas
        >>> textual(pandas.DataFrame({"a": [1]})), textual(pandas.DataFrame([[1]]))
        (True, False)
    """
    labels: Any = labels_of(X[0]) if isinstance(X, list | tuple) and X else None
    if nw.dependencies.is_pandas_like_dataframe(X):
        labels = list(X.columns)
    return labels is None or all(isinstance(label, str) for label in labels)


def labels_of(row: Any) -> list[Any] | None:
    """Return how pandas calls the entries of a row; the `index` of a list is a method."""
    index = getattr(row, "index", None)
    return None if index is None or callable(index) or not hasattr(row, "iloc") else list(index)


def series_of(X: Any, name: str = "X") -> list[pl.Series]:
    """Return the columns of a frame, whatever its class, as Polars' series; of an array those of its numbers.

    Objects become numbers where all are such, and text where one of them is. Columns of an array are named by number.

    Raises:
        DataError: If it is neither a frame nor an array (n, D).

    Example:
        >>> [column.to_list() for column in series_of([[1, None], [2, 3]])]
        [[1.0, 2.0], [None, 3.0]]
    """
    frame = frame_of(X, name)
    if frame is None:
        matrix = array_of(X, name)
        if matrix.ndim != 2:
            raise DataError(f"{name}: expected a table, (rows, columns); got the shape {matrix.shape}.")
        return [pl.Series(str(j), column.astype(np.float64)).fill_nan(None) for j, column in enumerate(matrix.T)]
    native = frame.to_native()
    if not isinstance(native, pl.DataFrame):
        return [_as_polars(column, name) for column in frame.iter_columns()]
    return [
        _of_objects(column.to_list(), column.name, name) if column.dtype == pl.Object else column
        for column in native.get_columns()
    ]


def like(frame: pl.DataFrame, container: Container) -> Any:
    """Return a frame in another container; as an array its numbers."""
    columns = frame.get_columns()
    if container == "array":
        return np.column_stack([column.cast(pl.Float64).fill_null(float("nan")).to_numpy() for column in columns])
    if container == "polars":
        return frame
    plain = {column.name for column in columns if column.dtype.is_numeric() and not column.null_count()}
    data = {column.name: column.to_numpy() if column.name in plain else column.to_list() for column in columns}
    return nw.from_dict(data, backend=container).to_native()


def _as_polars(column: "nw.Series[Any]", name: str) -> pl.Series:
    """Return a column of another library's frame as a series of Polars."""
    dtype = column.dtype
    if dtype.is_numeric():
        numbers = numbers_in(column, column.name)
        whole = dtype.is_integer() and not np.isnan(numbers).any() and np.abs(numbers).max(initial=0) < 2**53
        found = pl.Series(column.name, numbers.astype(np.int64) if whole else numbers)
        return found.fill_nan(None) if found.dtype.is_float() else found
    found = _of_objects(column.to_list(), column.name, name)
    if isinstance(dtype, nw.Enum) and found.dtype == pl.String:
        return found.cast(pl.Enum([str(level) for level in dtype.categories]))
    return found


def _of_objects(entries: list[Any], column: str, name: str) -> pl.Series:
    """Return Python's objects as a series: of numbers, of true/false, of times, or where one is text, of text."""
    cells = [None if entry is None or is_missing(entry) or entry != entry else entry for entry in entries]
    filled = [entry for entry in cells if entry is not None]
    kinds: dict[Any, Any] = {bool: pl.Boolean, float: pl.Float64, str: pl.String}
    made: Any = None
    if all(isinstance(entry, bool | np.bool_) for entry in filled):
        made = bool
    elif all(is_real(entry) for entry in filled):
        made = float
    elif any(isinstance(entry, str) for entry in filled):
        made = str
        odd = next((entry for entry in filled if not (isinstance(entry, str) or is_real(entry))), None)
        if odd is not None:
            raise DataError(
                f"{name}: column {column!r} holds text and {shown(odd)} ({type(odd).__name__}). Make them of one type, "
                "or leave the column out."
            )
    if made is not None:
        return pl.Series(column, [None if entry is None else made(entry) for entry in cells], dtype=kinds[made])
    try:
        return pl.Series(column, cells, strict=True)
    except Exception:  # whatever a stranger's object raises
        raise DataError(
            f"{name}: column {column!r} holds {shown(filled[0])} ({type(filled[0]).__name__}), which is no number, "
            "text or time. Leave it out."
        ) from None

"""Frames, of whatever class: columns with names that are text.

| given | comes as |
|---|---|
| pandas, Polars, PyArrow and other frames that narwhals knows | a frame |
| anything that offers `__arrow_c_stream__`, as DuckDB's relations do | a frame, read through Arrow |
| a structured NumPy array | a frame, whose columns are its fields |

What is neither a frame nor an array is refused by the call that would make it one.
"""

from collections.abc import Iterator, Mapping, MappingView
from typing import Any

import narwhals as nw
import numpy as np
import polars as pl
from narwhals.exceptions import DuplicateError
from numpy.typing import NDArray

from omokage.data.arrays import one_line, refuse_pictures
from omokage.errors import DataError, check_unicode, listing

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

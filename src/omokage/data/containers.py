"""The door for what is in memory: arrays by their shape, frames by their names, whatever their class.

| given | comes as |
|---|---|
| pandas, Polars, PyArrow and other frames that narwhals knows | a frame |
| anything that offers `__arrow_c_stream__`, as DuckDB's relations do | a frame, read through Arrow |
| a structured NumPy array | a frame, whose columns are its fields |
| a pandas or Polars series | an array (n,) |
| NumPy, JAX and PyTorch arrays, lists of numbers, objects with `__array__` | an array |

What an array masks is missing: NaN. Times and complex numbers are no numbers. Nothing is guessed: a column of text is
an error that names it. Whole numbers beyond 2^53 are rounded to the nearest float64, in every container.
"""

import contextlib
import os
import re
import warnings
from collections.abc import Iterator, Mapping, MappingView, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

import narwhals as nw
import numpy as np
import polars as pl
from narwhals.exceptions import DuplicateError
from numpy.typing import NDArray
from sklearn.utils import check_array

from omokage.errors import DataError, DataTypeError, check_unicode, listing, shown
from omokage.files.numbers import PLAIN
from omokage.paths import is_folder
from omokage.supports import Support

Matrix = NDArray[np.float32] | NDArray[np.float64]

_LARGEST = float(np.finfo(np.float32).max)
_TIMES = np.timedelta64, np.datetime64
_HOLDERS = list, tuple, np.ma.MaskedArray  # of what may be masked
_MOST_AXES = 64  # of an array; a list may hold itself
_BLOCK = 4096  # rows
_MANAGEABLE = 2.0**-500, 2.0**53  # the largest weight, whose sums float64 has
_NUMBER = int | float | np.integer | np.floating | np.bool_ | Decimal | Fraction  # what Python has one by one
_PLAIN = re.compile(PLAIN.pattern)
_REMEDIES = {  # what a container that is not read has to be turned into
    "LazyFrame": "Call .collect() on it first",
    "Dataset": "Give it as a frame, X.to_dataframe(), or one of its variables, X['name'].values",
    "AnnData": "Give its matrix, X.X, or the frame X.to_df()",
    "dict": "Give it as a frame, pandas.DataFrame(X) or polars.DataFrame(X)",
    "dict of series": "Give them as a list, list(X.values())",
    "set": "Give it as a list, in the order of the rows",
    "generator": "Give it as a list or an array, numpy.stack(list(X))",
}

# ------------------------------------------------------------------------------------------------------- files


def opened(X: Any, options: Any = None, ids: Sequence[str] = ()) -> Any:
    """Return the open file that a path names, read as the options say and without the columns `ids`, else X."""
    if not isinstance(X, str | os.PathLike):
        return X
    from omokage.files.opening import open_table

    file = open_table(X, options)
    if file.names is not None and set(ids) & set(file.names):
        rest = [name for name in file.names if name not in ids]
        if not rest:
            raise DataError(f"X: no column of {X} is left beside {listing(file.names, 20)}, which are no input.")
        file = open_table(X, options, columns=rest)
    return told(file)


def told(file: Any) -> Any:
    """Return an open file, having warned of what was found in it and not asked for."""
    for note in file.notes:
        warnings.warn(note, stacklevel=2)
    return file


def values(X: Any, *, shaped: bool = False) -> Any:
    """Return the rows of a file where X is one or the path of one, else X; IDX pictures flat, unless `shaped`."""
    if is_folder(X):
        return X
    X = opened(X)
    if not hasattr(X, "batches"):
        return X
    rows = X.read()
    return rows.reshape(len(rows), *X.row_shape) if shaped and X.row_shape is not None else rows


# -------------------------------------------------------------------------------------------------- containers


def frame_of(X: Any, name: str = "X") -> "nw.DataFrame[Any] | None":
    """Return X as a frame whose names are text, `None` where it has none.

    Raises:
        DataError: If it is a frame that has to be asked for its rows first, or repeats a name.

    Example:
        >>> frame_of(pl.DataFrame({"a": [1, 2]})).columns, frame_of([[1, 2]])
        (['a'], None)
    """
    _refuse_pictures(X, name)
    try:
        if isinstance(X, np.ndarray) and X.dtype.names:
            X = pl.DataFrame({field: _in_known_unit(X[field]) for field in X.dtype.names})
        frame = nw.from_native(X, pass_through=True)
        known = isinstance(frame, nw.DataFrame)
        arrow = hasattr(X, "__arrow_c_stream__") or hasattr(X, "__arrow_c_array__")
        if not known and arrow and (hasattr(X, "schema") or not hasattr(X, "__array__")):  # columns, and no array
            frame = nw.from_native(pl.DataFrame(X))
    except DuplicateError as error:
        raise DataError(f"{name}: column names must differ. {_one_line(error)}") from None
    except Exception as error:  # whatever a stranger's container raises
        raise DataError(f"{name}: expected rows and columns; {_one_line(error)}.") from None
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


def is_picture(X: Any) -> bool:
    """Say whether X is a picture of Pillow, which need not be loaded to tell."""
    return any(base.__module__ == "PIL.Image" for base in type(X).__mro__)


def _refuse_pictures(X: Any, name: str) -> None:
    """Refuse what Pillow made: its numbers may be places in a palette, and are read by `files.pictures`."""
    first, axes = X, 0
    while isinstance(first, list | tuple) and first and axes < _MOST_AXES:
        first, axes = first[0], axes + 1
    if is_picture(first):
        got = "a single picture" if axes == 0 else "pictures"
        raise DataError(
            f"{name}: expected numbers, got {got}. Give pictures as one list, [picture, ...], with data='images', or "
            "as an array."
        )


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


def array_of(X: Any, name: str = "X") -> NDArray[Any]:
    """Return X, which is no frame, as an array of numbers of its own shape; NaN where entries are masked or missing.

    Numbers of up to 16 bits and float32 come as float32, others as float64.

    Raises:
        DataTypeError: If it does not hold numbers.
        DataError: If its rows are of unlike shapes.

    Example:
        >>> array_of(np.ma.masked_greater([1, 2, 9], 5)), array_of([[1, None]]).tolist()
        (array([ 1.,  2., nan]), [[1.0, nan]])
    """
    _refuse_pictures(X, name)
    array = unmasked(X)
    if not isinstance(array, np.ndarray):
        series = nw.from_native(array, pass_through=True, allow_series=True)
        try:
            array = numbers_in(series, name) if isinstance(series, nw.Series) else np.asarray(array)
        except DataError:
            raise
        except Exception as error:  # whatever a stranger's container raises
            raise DataError(f"{name}: expected numbers of a regular shape; {_one_line(error)}.") from None
    if array.dtype.kind == "O":
        array = _plain_numbers(array, name)
    if array.dtype.kind not in "biuf":
        got = repr(array.flat[0].item()) if array.dtype.kind in "US" and array.size else str(array.dtype)
        raise DataTypeError(f"{name}: expected numbers, got {got}.{_of_times(array.dtype)}")
    return array.astype(np.float32 if array.dtype.itemsize <= 2 or array.dtype == np.float32 else np.float64)


def unmasked(X: Any, axes: int = _MOST_AXES) -> Any:
    """Return an array with NaN where X, or an array in the nested lists X, masks entries; all else as it is."""
    if isinstance(X, list | tuple) and axes:
        rows = [unmasked(row, axes - 1) if isinstance(row, _HOLDERS) else row for row in X]
        return X if all(row is given for row, given in zip(rows, X, strict=True)) else rows
    if not np.ma.isMaskedArray(X):
        return X
    if not np.ma.is_masked(X):
        return np.asarray(X)
    kind = np.float32 if X.dtype == np.float32 else np.float64 if X.dtype.kind in "biuf" else object
    return np.ma.filled(X.astype(kind), np.nan)[()]  # a number where it has no axes


def _plain_numbers(array: NDArray[Any], name: str) -> NDArray[np.float64]:
    """Return an array of Python objects as numbers: text is none, and neither are times."""
    if array.size and all(entry is None or _is_missing(entry) for entry in array.flat):
        raise DataTypeError(f"{name}: expected numbers, got objects, none of which has a value.")
    for place, entry in np.ndenumerate(array):
        if not (entry is None or _is_real(entry) or _is_missing(entry)):
            row = place[0] if len(place) == 1 else place
            raise DataTypeError(f"{name}: expected numbers of a regular shape, got {shown(entry)} at {row}.")
    try:
        made = np.array([np.nan if entry is None or _is_missing(entry) else entry for entry in array.flat], np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataTypeError(f"{name}: expected numbers; {_one_line(error)}.") from None
    return made.reshape(array.shape)


def _is_real(entry: Any) -> bool:
    """Say whether an entry is a number; a duration, which NumPy takes for a whole one, is none."""
    return isinstance(entry, _NUMBER) and not isinstance(entry, _TIMES)


def _is_missing(entry: Any) -> bool:
    return type(entry).__name__ in ("NAType", "NaTType", "MaskedConstant")


def _time_in(array: NDArray[Any]) -> Any:
    """Return an array of times, or the first entry of an array of objects that is one; `None` without any."""
    if array.dtype.kind in "mM":
        return array
    return next((entry for entry in array.flat if isinstance(entry, _TIMES)), None) if array.dtype == object else None


def _of_times(dtype: Any) -> str:
    return " Times are no numbers: give seconds since the first one, or leave them out." if dtype.kind in "mM" else ""


def numbers_in(column: "nw.Series[Any]", name: str = "X") -> NDArray[Any]:
    """Return a column of a frame as float32 or float64, (n,), NaN where it is null.

    A category or an object column is numbers where all its entries are.

    Raises:
        DataTypeError: If it holds anything else.
    """
    dtype = column.dtype
    if not (dtype.is_numeric() or dtype == nw.Boolean):
        return _numbers_of_objects(column, name)
    single = dtype == nw.Float32
    if dtype.is_integer() and not column.is_null().any():  # a cast would refuse, or round, by the container's mood
        return column.to_numpy().astype(np.float64)
    if dtype.is_integer():
        made = [np.nan if entry is None or _is_missing(entry) else float(entry) for entry in column.to_list()]
        return np.array(made, np.float64)
    return np.asarray(column.cast(nw.Float32 if single else nw.Float64).to_numpy())


def _numbers_of_objects(column: "nw.Series[Any]", name: str) -> NDArray[np.float64]:
    entries = column.to_list() if column.dtype in (nw.Object, nw.Categorical, nw.Enum, nw.Unknown) else None
    if entries is None or isinstance(column.dtype, nw.Duration | nw.Datetime):
        raise DataTypeError(f"{name}: expected numbers, got {column.dtype}.")
    made = np.empty(len(entries), object)  # of one axis, also where entries are lists
    for row, entry in enumerate(entries):
        made[row] = entry
    return _plain_numbers(made, name)


def is_numbers(column: "nw.Series[Any]") -> bool:
    """Say whether a column of a frame holds numbers, also as objects or categories."""
    if column.dtype.is_numeric() or column.dtype == nw.Boolean:
        return True
    try:
        return not np.isnan(_numbers_of_objects(column, "")).all()
    except DataTypeError:
        return False


# ---------------------------------------------------------------------------------------------------- matrices


def to_matrix(
    X: Any, *, minimum_rows: int = 1, estimator: str = "", first_row: int = 0, name: str = "X"
) -> tuple[Matrix, tuple[str, ...] | None]:
    """Return the rows as a finite float matrix, and the column names as text, if there are any.

    Args:
        X: (rows, features), an array or a data frame.
        minimum_rows: How few rows are refused.
        estimator: What messages call the model.
        first_row: The number of the first row in the whole input, for messages.
        name: What messages call X.

    Raises:
        DataError: If it is empty, has text or missing values, repeats a column name, or is not two-dimensional.

    Example:
        >>> to_matrix([[1, 2], [3, 4]])[0].tolist()
        [[1.0, 2.0], [3.0, 4.0]]
    """
    frame, names = frame_of(X, name), None
    if frame is None:
        X, names = _labelled(X, name)
    else:
        _check_numeric(frame, first_row, name)
        names = tuple(frame.columns)
        X = _side_by_side(frame)
    X = unmasked(X)
    if isinstance(X, list | tuple):
        with contextlib.suppress(Exception):  # lists of unlike lengths, or of strangers, which scikit-learn refuses
            X = np.asarray(X)
    if isinstance(X, np.ndarray) and (time := _time_in(X)) is not None:
        raise DataTypeError(f"{name}: expected numbers, got {time.dtype}.{_of_times(time.dtype)}")
    try:
        matrix = check_array(
            X,
            dtype=[np.float64, np.float32],
            ensure_all_finite=False,
            ensure_min_samples=minimum_rows,
            estimator=estimator or None,
            input_name=name,
        )
    except Exception as error:  # whatever a stranger's container raises
        kind = DataTypeError if isinstance(error, TypeError) else DataError
        raise kind(f"{name}: {_one_line(error)}{_first_text(X, first_row)}") from None
    check_finite(matrix, names, first_row, name)
    return matrix, names


def textual(X: Any) -> bool:
    """Say whether the names of a frame are text; of what has no names too.

    Example:
        >>> import pandas
        >>> textual(pandas.DataFrame({"a": [1]})), textual(pandas.DataFrame([[1]]))
        (True, False)
    """
    columns = getattr(X, "columns", None)
    return columns is None or callable(columns) or all(isinstance(column, str) for column in columns)


def names_view(X: Any, features: int) -> Any:
    """Return something of one row with the names and the number of columns of X, as scikit-learn reads them."""
    frame = frame_of(X)
    names = _labelled(X, "X")[1] if frame is None else frame.columns
    if names is None:
        return np.zeros((1, features))
    return pl.DataFrame({name: [0.0] for name in names}) if textual(X) else X


def _labelled(X: Any, name: str) -> tuple[Any, tuple[str, ...] | None]:
    """Return rows, of which a list of pandas series comes in the order of the first one's labels; names where text is.

    Labels that are no text may be places in a longer series. They put entries in order where all rows have the same.
    """
    first = _labels(X[0]) if isinstance(X, list | tuple) and X else None
    if first is None or len(set(first)) < len(first):
        return X, None
    named, known = all(isinstance(label, str) for label in first), set(first)
    rows = []
    for number, row in enumerate(X):
        labels = _labels(row)
        if labels is not None and len(labels) == len(first) and set(labels) == known:
            rows.append(row.iloc[[labels.index(label) for label in first]] if labels != first else row)
        elif named:
            got = "none" if labels is None else listing(labels, 20)
            raise DataError(
                f"{name}: expected the names {listing(first, 20)} in every row, as in row 0; got {got} in row "
                f"{number}. Give all rows the same names, in any order."
            )
        else:
            return X, None
    return rows, tuple(first) if named else None


def _labels(row: Any) -> list[Any] | None:
    """Return how pandas calls the entries of a row; the `index` of a list is a method."""
    index = getattr(row, "index", None)
    return None if index is None or callable(index) or not hasattr(row, "iloc") else list(index)


def _side_by_side(frame: "nw.DataFrame[Any]") -> Matrix:
    """Return the columns of numbers as a matrix; nulls become NaN, and are named by row and column later."""
    single = all(dtype == nw.Float32 for dtype in frame.schema.values())
    native = frame.to_native()
    if isinstance(native, pl.DataFrame) and all(dtype.is_numeric() or dtype == pl.Boolean for dtype in native.dtypes):
        # A way that is four times as fast as column by column.
        by_rows: Any = native.cast(pl.Float32 if single else pl.Float64).to_numpy(order="c")
        return by_rows
    columns = [numbers_in(column, column.name) for column in frame.iter_columns()]
    matrix = np.empty((len(frame), len(columns)), np.float32 if single else np.float64)
    for start in range(0, len(frame), _BLOCK):  # so that what is written side by side is still in the cache
        for j, column in enumerate(columns):
            matrix[start : start + _BLOCK, j] = column[start : start + _BLOCK]
    return matrix


def check_support(matrix: NDArray[Any], support: Support, names: tuple[str, ...] | None, name: str = "X") -> None:
    """Check that every entry lies where the likelihood is defined.

    Raises:
        DataError: Naming row and column of the first offender and how many there are.
    """
    if support.everything or not (bad := support.outside(matrix)).any():
        return
    row, column = np.argwhere(bad)[0]
    where = repr(names[column]) if names else str(column)
    raise DataError(
        f"{name}: expected {support.text}, as at fit; got {matrix[row, column]:.6g} at row {row}, column {where}"
        f"{f', and {bad.sum() - 1} more entries outside' if bad.sum() > 1 else ''}. Scale the rows as those of the fit."
    )


def check_finite(matrix: NDArray[Any], names: tuple[str, ...] | None, first_row: int = 0, name: str = "X") -> None:
    """Check that every entry is finite, and small enough for a finite float32.

    Args:
        matrix: (rows, features).
        names: Column names for messages.
        first_row: The number of the matrix's first row in the whole input, counted from 0.
        name: What messages call the matrix.

    Raises:
        DataError: Naming row and column of the first offender and how many there are.
    """
    # Without a temporary of the matrix's size. NaN spreads to both ends, and is within no limits.
    with np.errstate(invalid="ignore"):
        if matrix.min() >= -_LARGEST and matrix.max() <= _LARGEST:
            return
    bad = ~(np.abs(matrix) <= _LARGEST)
    row, column = np.argwhere(bad)[0]
    first = matrix[row, column]
    value = "NaN" if np.isnan(first) else f"{first:.6g}".replace("inf", "infinity")
    where = repr(names[column]) if names else str(column)
    reason = f"beyond {_LARGEST:.3g}, float32's largest" if np.isfinite(first) else "NaN and infinity cannot be used"
    raise DataError(
        f"{name} contains {value} ({reason}) at row {first_row + row}, column {where}"
        f"{f', and {bad.sum() - 1} more entries like it' if bad.sum() > 1 else ''}. "
        "Drop these rows, or fill them, for example with sklearn.impute.SimpleImputer."
    )


def checked_weight(sample_weight: Any, rows: int) -> NDArray[np.float64]:
    """Return one number of at least 0 for each row, (n,), from one for each or one for all; raises DataError if not."""
    name = "sample_weight"
    try:
        frame = frame_of(sample_weight, name)
        given = frame.to_numpy() if frame is not None else sample_weight
        weight = array_of(given, name).astype(np.float64)
    except DataError as error:
        text = str(error).removeprefix(f"{name}: ")
        raise type(error)(f"{name}: expected one number for each of {rows} rows ({text.rstrip('.')}).") from None
    if weight.ndim == 0:
        weight = np.full(rows, 1.0 if weight > 0 else float(weight))  # a constant changes nothing
    if weight.shape != (rows,):
        raise DataError(f"sample_weight: expected one number for each of {rows} rows, got shape {weight.shape}.")
    if not np.isfinite(weight).all() or (weight < 0).any():
        row = int(np.argmax(~np.isfinite(weight) | (weight < 0)))
        raise DataError(f"sample_weight: expected finite numbers of at least 0, got {weight[row]} in row {row}.")
    if not _MANAGEABLE[0] < (largest := weight.max()) < _MANAGEABLE[1] and largest > 0:
        weight = weight / largest  # so far out only what they are to one another counts, and sums would overflow
    if np.count_nonzero(weight) < 2:
        raise DataError("sample_weight: expected at least two rows whose weight is not zero.")
    return weight


def _one_line(error: Exception) -> str:
    """Return the words of another library, without the matrix that scikit-learn prints below them."""
    text = " ".join(str(error).split("\n[")[0].split()).rstrip(".")
    return text or type(error).__name__


def _first_text(X: Any, first_row: int) -> str:
    """Return where the first entry that is not a number stands, if that is what was wrong with an array."""
    try:
        entries = np.asarray(X, object)
    except Exception:  # whatever a stranger's container raises
        return ""
    for (row, column), entry in np.ndenumerate(entries) if entries.ndim == 2 else ():
        try:
            float(np.nan if entry is None else entry)
        except Exception:  # whatever a stranger's object raises
            return f" (row {first_row + row}, column {column}: {shown(entry)})"
    return ""


def _check_numeric(frame: "nw.DataFrame[Any]", first_row: int, name: str) -> None:
    offenders = [
        f"{column.name!r} ({_example(column, first_row)})" for column in frame.iter_columns() if not is_numbers(column)
    ]
    if offenders:
        more = f" and {len(offenders) - 5} more" if len(offenders) > 5 else ""
        raise DataError(
            f"{name}: expected numbers in every column; not so in {', '.join(offenders[:5])}{more}. "
            "Leave these columns out (--id on the command line), or encode them as numbers first."
        )


def _example(column: "nw.Series[Any]", first_row: int) -> str:
    rows = [(row, value) for row, value in enumerate(column.to_list(), first_row) if value is not None]
    row, value = next(((row, value) for row, value in rows if not _is_plain(value)), rows[0] if rows else (0, None))
    return f"row {row}: {shown(value)}" if rows else "no values"


def _is_plain(value: Any) -> bool:
    """Say whether a value is a number, or one as it is read from files; to Python 3_000 is one too."""
    if isinstance(value, str):
        return _PLAIN.match(value.strip()) is not None
    return _is_real(value) or _is_missing(value)

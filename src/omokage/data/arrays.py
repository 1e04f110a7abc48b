"""Numbers of what is in memory and has no names of columns, whatever its class.

NumPy, JAX and PyTorch arrays, nested lists of numbers, objects with `__array__`, and series of pandas and Polars become
arrays of their own shape. What an array masks is missing: NaN. Times and complex numbers are no numbers, and neither is
text. Whole numbers beyond 2^53 are rounded to the nearest float64.
"""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import narwhals as nw
import numpy as np
from numpy.typing import NDArray

from omokage.errors import DataError, DataTypeError, shown

_TIMES = np.timedelta64, np.datetime64
_HOLDERS = list, tuple, np.ma.MaskedArray  # of what may be masked
_MOST_AXES = 64  # of an array; a list may hold itself
_NUMBER = int | float | np.integer | np.floating | np.bool_ | Decimal | Fraction  # what Python has one by one


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
    refuse_pictures(X, name)
    array = unmasked(X)
    if not isinstance(array, np.ndarray):
        series = nw.from_native(array, pass_through=True, allow_series=True)
        try:
            array = numbers_in(series, name) if isinstance(series, nw.Series) else np.asarray(array)
        except DataError:
            raise
        except Exception as error:  # whatever a stranger's container raises
            raise DataError(f"{name}: expected numbers of a regular shape; {one_line(error)}.") from None
    if array.dtype.kind == "O":
        array = _plain_numbers(array, name)
    if array.dtype.kind not in "biuf":
        got = repr(array.flat[0].item()) if array.dtype.kind in "US" and array.size else str(array.dtype)
        raise DataTypeError(f"{name}: expected numbers, got {got}.{of_times(array.dtype)}")
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
    if array.size and all(entry is None or is_missing(entry) for entry in array.flat):
        raise DataTypeError(f"{name}: expected numbers, got objects, none of which has a value.")
    for place, entry in np.ndenumerate(array):
        if not (entry is None or is_real(entry) or is_missing(entry)):
            row = place[0] if len(place) == 1 else place
            raise DataTypeError(f"{name}: expected numbers of a regular shape, got {shown(entry)} at {row}.")
    try:
        made = np.array([np.nan if entry is None or is_missing(entry) else entry for entry in array.flat], np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataTypeError(f"{name}: expected numbers; {one_line(error)}.") from None
    return made.reshape(array.shape)


def is_real(entry: Any) -> bool:
    """Say whether an entry is a number; a duration, which NumPy takes for a whole one, is none."""
    return isinstance(entry, _NUMBER) and not isinstance(entry, _TIMES)


def is_missing(entry: Any) -> bool:
    """Say whether an entry is what pandas or NumPy have in the place of a missing value."""
    return type(entry).__name__ in ("NAType", "NaTType", "MaskedConstant")


def time_in(array: NDArray[Any]) -> Any:
    """Return an array of times, or the first entry of an array of objects that is one; `None` without any."""
    if array.dtype.kind in "mM":
        return array
    return next((entry for entry in array.flat if isinstance(entry, _TIMES)), None) if array.dtype == object else None


def of_times(dtype: Any) -> str:
    """Return what messages add where times came as numbers."""
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
        made = [np.nan if entry is None or is_missing(entry) else float(entry) for entry in column.to_list()]
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


def is_picture(X: Any) -> bool:
    """Say whether X is a picture of Pillow, which need not be loaded to tell."""
    return any(base.__module__ == "PIL.Image" for base in type(X).__mro__)


def refuse_pictures(X: Any, name: str) -> None:
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


def one_line(error: Exception) -> str:
    """Return the words of another library, without the matrix that scikit-learn prints below them."""
    text = " ".join(str(error).split("\n[")[0].split()).rstrip(".")
    return text or type(error).__name__

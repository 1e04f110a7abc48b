"""The door for what is in memory: paths are opened, frames keep their names, all else is an array by its shape.

`frames` and `arrays` say what is read; here it becomes a matrix, and the weights of its rows. Nothing is guessed: a
column of text is an error that names it.
"""

import contextlib
import os
import re
import warnings
from collections.abc import Sequence
from typing import Any

import narwhals as nw
import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.utils import check_array

from omokage.data.arrays import (
    array_of,
    is_missing,
    is_numbers,
    is_real,
    numbers_in,
    of_times,
    one_line,
    time_in,
    unmasked,
)
from omokage.data.frames import frame_of, labels_of, textual
from omokage.errors import DataError, DataTypeError, listing, shown
from omokage.files.numbers import PLAIN
from omokage.paths import is_folder
from omokage.supports import Support

Matrix = NDArray[np.float32] | NDArray[np.float64]

_LARGEST = float(np.finfo(np.float32).max)
_BLOCK = 4096  # rows
_MANAGEABLE = 2.0**-500, 2.0**53  # the largest weight, whose sums float64 has
_PLAIN = re.compile(PLAIN.pattern)

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
    if isinstance(X, np.ndarray) and (time := time_in(X)) is not None:
        raise DataTypeError(f"{name}: expected numbers, got {time.dtype}.{of_times(time.dtype)}")
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
        raise kind(f"{name}: {one_line(error)}{_first_text(X, first_row)}") from None
    check_finite(matrix, names, first_row, name)
    return matrix, names


def names_view(X: Any, features: int) -> Any:
    """Return something of one row with the names and the number of columns of X, as scikit-learn reads them."""
    frame = frame_of(X)
    names = _labelled(X, "X")[1] if frame is None else frame.columns
    if names is None or (frame is None and not textual(X)):
        return np.zeros((1, features))
    return pl.DataFrame({name: [0.0] for name in names}) if textual(X) else X


def _labelled(X: Any, name: str) -> tuple[Any, tuple[str, ...] | None]:
    """Return rows, of which a list of pandas series comes in the order of the first one's labels, and these as text.

    Labels that are no text may be places in a longer series. They are names where all rows have the same.
    """
    first = labels_of(X[0]) if isinstance(X, list | tuple) and X else None
    if first is None or len(set(map(str, first))) < len(first):
        return X, None
    named, known = all(isinstance(label, str) for label in first), set(first)
    rows = []
    for number, row in enumerate(X):
        labels = labels_of(row)
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
    return rows, tuple(map(str, first))


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
    more = f", and {bad.sum() - 1} more entries outside" if bad.sum() > 1 else ""
    raise DataError(
        f"{name}: expected {support.of(int(column)).text}, as at fit; got {matrix[row, column]:.6g} at row {row}, "
        f"column {where}{more}. Scale the rows as those of the fit."
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
        "Drop these rows, fill them, or have missing entries masked: data=omokage.data.Vectors(missing='mask')."
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
    """Return the first entry that is no number, and its row; beside numbers any text is one."""
    rows = [(row, value) for row, value in enumerate(column.to_list(), first_row) if value is not None]
    mixed = any(is_real(value) and value == value for _, value in rows)  # NaN stands for missing text too
    odd = ((row, value) for row, value in rows if not _is_plain(value) or (mixed and isinstance(value, str)))
    row, value = next(odd, rows[0] if rows else (0, None))
    return f"row {row}: {shown(value)}" if rows else "no values"


def _is_plain(value: Any) -> bool:
    """Say whether a value is a number, or one as it is read from files; to Python 3_000 is one too."""
    if isinstance(value, str):
        return _PLAIN.match(value.strip()) is not None
    return is_real(value) or is_missing(value)

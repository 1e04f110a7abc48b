"""Numeric vectors: from arrays and data frames to a checked float matrix with column names.

Accepts NumPy arrays and what converts to them, and every eager data frame that narwhals knows (pandas,
Polars, PyArrow, ...). Nothing is guessed: a column of strings is an error that names it.
"""

from typing import Any

import narwhals as nw
import numpy as np
import polars as pl
from narwhals.exceptions import DuplicateError
from numpy.typing import NDArray
from sklearn.utils import check_array

from omokage.errors import DataError, DataTypeError, listing
from omokage.supports import Support

Matrix = NDArray[np.float32] | NDArray[np.float64]

_LARGEST = float(np.finfo(np.float32).max)
_BLOCK = 4096  # rows


def to_matrix(
    X: Any, *, minimum_rows: int = 1, estimator: str = "", first_row: int = 0, name: str = "X"
) -> tuple[Matrix, tuple[str, ...] | None]:
    """Return the rows as a finite float matrix, and the column names if there are any.

    Args:
        X: (rows, features), an array or a data frame.
        minimum_rows: How few rows are refused.
        estimator: What messages call the model.
        first_row: The number of the first row in the whole input, for messages.
        name: What messages call X.

    Raises:
        DataError: If it is empty, has strings or missing values, repeats a column name, or is not two-dimensional.

    Example:
        >>> to_matrix([[1, 2], [3, 4]])[0].tolist()
        [[1.0, 2.0], [3.0, 4.0]]
    """
    try:
        frame = nw.from_native(X, pass_through=True)
    except DuplicateError as error:
        raise DataError(f"{name}: column names must differ. {_one_line(error)}") from None
    names = None
    if isinstance(frame, nw.LazyFrame):
        raise DataError(f"{name}: expected rows, got a lazy frame. Call .collect() on it first.")
    if isinstance(frame, nw.DataFrame):
        _check_numeric(frame, first_row, name)
        names = tuple(str(column) for column in frame.columns)
        if len(set(names)) < len(names):
            raise DataError(
                f"{name}: column names must differ; {listing(sorted({n for n in names if names.count(n) > 1}))} repeat."
            )
        X = _side_by_side(frame)
    if np.ma.is_masked(X):
        X = np.ma.filled(X.astype(np.float64), np.nan)
    try:
        matrix = check_array(
            X,
            dtype=[np.float64, np.float32],
            ensure_all_finite=False,
            ensure_min_samples=minimum_rows,
            estimator=estimator or None,
            input_name=name,
        )
    except (ValueError, TypeError) as error:
        kind = DataTypeError if isinstance(error, TypeError) else DataError
        raise kind(f"{name}: {_one_line(error)}{_first_text(X, first_row)}") from None
    check_finite(matrix, names, first_row, name)
    return matrix, names


def _side_by_side(frame: nw.DataFrame[Any]) -> Matrix:
    """Return the columns of numbers as a matrix; nulls become NaN, and are named by row and column later."""
    single = all(dtype == nw.Float32 for dtype in frame.schema.values())
    native = frame.to_native()
    if isinstance(native, pl.DataFrame):  # which knows a way that is four times as fast
        by_rows: Any = native.cast(pl.Float32 if single else pl.Float64).to_numpy(order="c")
        return by_rows
    columns = [column.cast(nw.Float32 if single else nw.Float64).to_numpy() for column in frame.iter_columns()]
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


def _one_line(error: Exception) -> str:
    """Return scikit-learn's words, without the matrix that it prints below them."""
    return " ".join(str(error).split("\n[")[0].split())


def _first_text(X: Any, first_row: int) -> str:
    """Return where the first entry that is not a number stands, if that is what was wrong with an array."""
    try:
        entries = np.asarray(X, object)
    except ValueError:
        return ""
    for (row, column), entry in np.ndenumerate(entries) if entries.ndim == 2 else ():
        try:
            float(np.nan if entry is None else entry)
        except (TypeError, ValueError):
            return f" (row {first_row + row}, column {column}: {entry!r})"
    return ""


def _check_numeric(frame: nw.DataFrame[Any], first_row: int, name: str) -> None:
    offenders = []
    for column, dtype in frame.schema.items():
        if not (dtype.is_numeric() or dtype == nw.Boolean):
            offenders.append(f"{str(column)!r} ({_example(frame[column], first_row)})")
    if offenders:
        more = f" and {len(offenders) - 5} more" if len(offenders) > 5 else ""
        raise DataError(
            f"{name}: expected numbers in every column; not so in {', '.join(offenders[:5])}{more}. "
            "Leave these columns out (--id on the command line), or encode them as numbers first."
        )


def _example(column: nw.Series[Any], first_row: int) -> str:
    values = column.to_list()
    for row, value in enumerate(values, first_row):
        try:
            float(value)
        except (TypeError, ValueError):
            if value is not None:
                return f"row {row}: {value!r}"
    return "no values" if all(value is None for value in values) else str(column.dtype)

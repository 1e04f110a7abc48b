"""Numeric vectors: from arrays and data frames to a checked float matrix with column names.

Accepts NumPy arrays and what converts to them, and every eager data frame that narwhals knows (pandas,
Polars, PyArrow, ...). Nothing is guessed: a column of strings is an error that names it.
"""

from typing import Any

import narwhals as nw
import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_array

from omokage.errors import DataError, listing

Matrix = NDArray[np.float32] | NDArray[np.float64]


def to_matrix(
    X: Any, *, minimum_rows: int = 1, estimator: str = "", first_row: int = 0
) -> tuple[Matrix, tuple[str, ...] | None]:
    """Return the rows as a finite float matrix, and the column names if there are any.

    Args:
        X: (rows, features), an array or a data frame.
        minimum_rows: How few rows are refused.
        estimator: What messages call the model.
        first_row: The number of the first row in the whole input, for messages.

    Raises:
        DataError: If it is empty, has strings or missing values, or is not two-dimensional.

    Example:
        >>> to_matrix([[1, 2], [3, 4]])[0].tolist()
        [[1.0, 2.0], [3.0, 4.0]]
    """
    frame = nw.from_native(X, eager_only=True, pass_through=True)
    names = None
    if isinstance(frame, nw.DataFrame):
        _check_numeric(frame, first_row)
        names = tuple(str(name) for name in frame.columns)
        if len(set(names)) < len(names):
            raise DataError(
                f"X: column names must differ; {listing(sorted({n for n in names if names.count(n) > 1}))} repeat."
            )
        # Nulls become NaN on the way, and are then named by row and column.
        X = np.column_stack([column.cast(nw.Float64).to_numpy() for column in frame.iter_columns()]) if names else X
    matrix = check_array(
        X,
        dtype=[np.float64, np.float32],
        ensure_all_finite=False,
        ensure_min_samples=minimum_rows,
        estimator=estimator or None,
        input_name="X",
    )
    check_finite(matrix, names, first_row)
    return matrix, names


def check_finite(matrix: NDArray[Any], names: tuple[str, ...] | None, first_row: int = 0) -> None:
    """Check that every entry is a finite float32 number.

    Args:
        matrix: (rows, features).
        names: Column names for messages.
        first_row: The number of the matrix's first row in the whole input, counted from 0.

    Raises:
        DataError: Naming row and column of the first offender and how many there are.
    """
    # One pass without a temporary of the matrix's size: NaN and infinity survive a sum of absolute values.
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(np.abs(matrix).sum(dtype=np.float64)):
            return
    bad = ~np.isfinite(matrix)
    if not bad.any():
        return
    row, column = np.argwhere(bad)[0]
    value = "NaN" if np.isnan(matrix[row, column]) else "infinity" if matrix[row, column] > 0 else "-infinity"
    where = repr(names[column]) if names else str(column)
    raise DataError(
        f"X contains {value} (NaN and infinity cannot be used) at row {first_row + row}, column {where}"
        f"{f', and {bad.sum() - 1} more entries like it' if bad.sum() > 1 else ''}. "
        "Drop these rows, or fill them, for example with sklearn.impute.SimpleImputer."
    )


def _check_numeric(frame: nw.DataFrame[Any], first_row: int) -> None:
    offenders = []
    for name, dtype in frame.schema.items():
        if not (dtype.is_numeric() or dtype == nw.Boolean):
            offenders.append(f"{str(name)!r} ({_example(frame[name], first_row)})")
    if offenders:
        more = f" and {len(offenders) - 5} more" if len(offenders) > 5 else ""
        raise DataError(
            f"X: expected numbers in every column; not so in {', '.join(offenders[:5])}{more}. "
            "Leave these columns out (--id on the command line), or encode them as numbers first."
        )


def _example(column: nw.Series[Any], first_row: int) -> str:
    for row, value in enumerate(column.to_list(), first_row):
        try:
            float(value)
        except (TypeError, ValueError):
            if value is not None:
                return f"row {row}: {value!r}"
    return str(column.dtype)

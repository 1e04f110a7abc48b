"""What is given to a picture, as arrays of numbers, or an error that names the argument."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from omokage.errors import DataError


def numbers(values: ArrayLike, name: str) -> NDArray[np.float64]:
    """Return values as an array of floats; `name` is what messages call them."""
    try:
        return np.asarray(values, np.float64)
    except (TypeError, ValueError):
        found = type(values).__name__
        raise DataError(
            f"{name}: expected an array of numbers; got a {found} that is none, or whose parts differ in length."
        ) from None


def codes(values: ArrayLike, name: str, *, rows: int = 1, dimensions: int = 1) -> NDArray[np.float64]:
    """Return codes, (n, L), all finite, of at least so many rows and dimensions."""
    Z = numbers(values, name)
    if Z.ndim != 2 or len(Z) < rows or Z.shape[1] < dimensions:
        least = "" if dimensions == 1 else f" and latent_dim of at least {dimensions}"
        raise DataError(
            f"{name}: expected codes of shape (n, latent_dim) with n of at least {rows}{least}; got shape {Z.shape}."
        )
    if len(bad := np.argwhere(~np.isfinite(Z))):
        row, column = (int(number) for number in bad[0])
        raise DataError(
            f"{name}: expected finite numbers; got {Z[row, column]} in row {row}, dimension {column}"
            f"{'' if len(bad) == 1 else f', and {len(bad) - 1} more'}. Leave such rows out."
        )
    return Z


def like(values: ArrayLike, name: str, other: NDArray[Any], called: str) -> NDArray[np.float64]:
    """Return values that must have the shape of others."""
    found = numbers(values, name)
    if found.shape != other.shape:
        raise DataError(f"{name}: expected shape {other.shape}, that of {called}; got {found.shape}.")
    return found


def whole_number(value: int, name: str, least: int, most: int | None = None) -> int:
    """Return a whole number that must lie within limits."""
    fits = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not fits or value < least or (most is not None and value > most):
        limits = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise DataError(f"{name}: expected a whole number {limits}; got {value!r}.")
    return int(value)

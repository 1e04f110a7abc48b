"""A column of the context of rows, and what was learned of it: the labels that there are, or location and scale."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from omokage.data.columns import Moments
from omokage.data.context_values import LARGEST, WORDS, kind_of, objects
from omokage.errors import DataError, suggest

Label = str | int | bool

_MOST_LABELS = 1000


@dataclass(frozen=True)
class Labels:
    """A column of labels of one type, in ascending order."""

    labels: tuple[Label, ...]

    @property
    def size(self) -> int:
        """How many numbers say it."""
        return len(self.labels)

    def encode(self, values: NDArray[Any], name: str, column: str) -> NDArray[np.float64]:
        """Return 1 in the column of each row's label and 0 elsewhere, (n, labels); see `ContextSchema.encode`."""
        kind = type(self.labels[0])
        if (other := kind_of(values)) is not kind:
            raise DataError(
                f"{name}: expected {WORDS[kind]}{column}, as at fit (such as {self.labels[0]!r}); got "
                f"{WORDS[other]}, {values.tolist()[0]!r} in row 0. Give labels of the type of the fit."
            )
        numbers = {label: number for number, label in enumerate(self.labels)}
        places = np.array([numbers.get(value, -1) for value in values])
        if (unknown := np.flatnonzero(places < 0)).size:
            new = list(dict.fromkeys(values[unknown]))
            hint = suggest(new[0], map(str, self.labels)) if kind is str else ""
            raise DataError(
                f"{name}: {_shown(new, 5)} (row {unknown[0]}{column}) {'is' if len(new) == 1 else 'are'} not among the "
                f"labels of the fit, {_shown(self.labels, 20)}.{hint} Give one of these, or fit anew with rows that "
                "have it."
            )
        return np.eye(self.size)[places]

    def of_cells(self, cells: pl.Series) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return the labels in a column of a file, the first in the place of those that are none, and which are not."""
        kind = type(self.labels[0])
        if kind is str:
            cells = cells.cast(pl.String)
        elif kind is bool and cells.dtype == pl.String:
            words = cells.str.strip_chars().str.to_lowercase()
            cells = words.replace_strict({"true": True, "false": False}, default=None, return_dtype=pl.Boolean)
        elif kind is int and cells.dtype != pl.Boolean:
            numbers = _cells_as_numbers(cells)
            cells = numbers.set(~(numbers == numbers.round()), None).cast(pl.Int64, strict=False)
        known = set(self.labels)
        right = cells.dtype == {str: pl.String, int: pl.Int64, bool: pl.Boolean}[kind]
        bad = np.array([not right or entry not in known for entry in cells.to_list()], bool)
        return objects([self.labels[0] if bad[j] else entry for j, entry in enumerate(cells.to_list())]), bad

    @property
    def expected(self) -> str:
        """What messages say of a value."""
        return f"one of {_shown(self.labels, 20)}"

    @property
    def example(self) -> str:
        """A value as one would write it."""
        return str(self.labels[0])

    def __str__(self) -> str:
        """Return the labels in words."""
        return f"labels: {_shown(self.labels, 20)}"

    def to_json(self) -> dict[str, Any]:
        """Return the column as a JSON object."""
        return {"labels": list(self.labels)}


@dataclass(frozen=True)
class Covariate:
    """A column of numbers: x = (value - location) / scale."""

    location: float
    scale: float
    size = 1

    def encode(self, values: NDArray[Any], name: str, column: str) -> NDArray[np.float64]:
        """Return standardised numbers, (n, 1), held within ±1e15 as those of X are; see `ContextSchema.encode`."""
        if kind_of(values) is str:
            raise DataError(f"{name}: expected numbers{column}, as at fit; got {values[0]!r} in row 0.")
        with np.errstate(over="ignore"):  # infinity is clipped as well
            return np.clip((values.astype(np.float64)[:, None] - self.location) / self.scale, -1e15, 1e15)

    def of_cells(self, cells: pl.Series) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return the numbers in a column of a file, the location in the place of what is none, and which are none."""
        values = _cells_as_numbers(cells).fill_null(float("nan")).to_numpy()
        bad = ~(np.abs(values) <= LARGEST)
        return np.where(bad, self.location, values), bad

    expected = "a finite number"

    @property
    def example(self) -> str:
        """A value as one would write it."""
        return f"{self.location:.3g}"

    def __str__(self) -> str:
        """Return what is done with the number, in words."""
        return f"a number: (value - {self.location:.6g}) / {self.scale:.6g}"

    def to_json(self) -> dict[str, Any]:
        """Return the column as a JSON object."""
        return {"location": self.location, "scale": self.scale}


def learned(values: NDArray[Any], weight: NDArray[np.float64] | None, name: str, column: str) -> Labels | Covariate:
    """Return what there is to learn of values, weighted if there are weights; the names are those of messages."""
    if values.dtype == object:
        labels = sorted(set(values))
        if len(labels) > _MOST_LABELS:
            raise DataError(
                f"{name}: {len(labels):,} different {WORDS[kind_of(values)]}{column}, and labels can be at most "
                f"{_MOST_LABELS:,}. Give quantities as floats; put rare labels together."
            )
        return Labels(tuple(labels))
    constant, mean, deviation = Moments.empty(1).updated(values[:, None], weight).rounded()
    return Covariate(float(mean[0]), 1.0 if constant[0] else float(deviation[0]))


def column_from_json(value: Any) -> Labels | Covariate:
    """Return the column that `to_json` wrote; raises ValueError, KeyError or TypeError if it is none."""
    if "labels" not in value:
        location, scale = float(value["location"]), float(value["scale"])
        if not (np.isfinite(location) and np.isfinite(scale) and scale > 0):
            raise ValueError(f"location {location} and scale {scale}")
        return Covariate(location, scale)
    labels = value["labels"]
    kinds = {type(label) for label in labels}
    if (
        not isinstance(labels, list)
        or len(kinds) != 1
        or not kinds <= {str, int, bool}
        or labels != sorted(set(labels))
    ):
        raise ValueError("labels that are not of one type, or not in ascending order")
    return Labels(tuple(labels))


def _cells_as_numbers(cells: pl.Series) -> pl.Series:
    text = cells.dtype == pl.String
    known = text or cells.dtype.is_numeric() or cells.dtype == pl.Boolean
    numbers = cells.str.strip_chars() if text else cells
    return numbers.cast(pl.Float64, strict=False) if known else pl.Series(cells.name, [None] * len(cells), pl.Float64)


def _shown(labels: Iterable[Label], limit: int) -> str:
    labels = list(labels)
    more = f" and {len(labels) - limit} more" if len(labels) > limit else ""
    return ", ".join(map(repr, labels[:limit])) + more

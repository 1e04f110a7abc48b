"""What cells of a table are made of, and what fills those that are missing.

A cell is a class that stands for a value, or a number, or a number beside classes (`omokage.data.column_types`). Its
mean and its variance, in the units of the column, need both, and the spline of the number.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from omokage.batch import Cells
from omokage.data.column_types import Category, ColumnType, Number, Time
from omokage.data.columns import ColumnSchema
from omokage.data.splines import Values

_POINTS, _NODES = 513, 9  # of a curve along a spline, and of a quadrature through it


@dataclass(frozen=True, eq=False)
class Filling:
    """From means of entries to cells.

    Attributes:
        types: What each of D columns holds.
        owner: Which column each entry is of, (E,).
        columns: What was learned of the entries.
    """

    types: Sequence[ColumnType]
    owner: NDArray[np.int64]
    columns: ColumnSchema

    @cached_property
    def units(self) -> Values:
        """Return the middle and the reach of the values of each column, (D, 2), by which its cells are scaled."""
        found = []
        for j, kind in enumerate(self.types):
            entry = np.flatnonzero(self.owner == j)[-1]
            ends = [self.columns.low[entry], self.columns.high[entry]]
            if isinstance(kind, Number) and kind.spline is not None:
                ends = [kind.spline.knots[0], kind.spline.knots[-1]]
            ends = [*values_of(kind), *(ends if kind.classes[-1] is None else [])]
            ends = [end for end in ends if np.isfinite(end)] or [0.0]  # of numbers that are all point masses none are
            reach = (max(ends) - min(ends)) / 2
            found.append((min(ends) + reach, reach or 1.0))
        return np.array(found)

    def cells(self, places: NDArray[np.int64]) -> Cells:
        """Return what cells are made of: a class that has a value or is none of them, a number along a curve."""
        size = len(self.types)
        location, scale = self.units.T
        values, other = np.zeros((2, len(places), size))
        always, number, low = np.zeros((3, size))
        step = np.ones(size)
        bent = any(isinstance(kind, Number) and kind.spline is not None for kind in self.types)
        curve = np.zeros((size, _POINTS if bent else 2))
        for j, kind in enumerate(self.types):
            of_column = [np.flatnonzero(places == entry) for entry in np.flatnonzero(self.owner == j)]
            levels = values_of(kind)
            for value, place in zip(levels, of_column[0], strict=False):
                values[place, j] = (value - location[j]) / scale[j]
            if kind.classes[-1] is None:
                number[j], always[j] = of_column[-1][0], len(of_column) == 1
                other[of_column[0][len(levels) :], j] = len(of_column) == 2
                entry = np.flatnonzero(self.owner == j)[-1]
                spline = kind.spline if isinstance(kind, Number) else None
                ends = location[j] - scale[j], location[j] + scale[j]
                ends = ends if spline is None else (spline.scores[0], spline.scores[-1])
                raw = np.linspace(float(ends[0]), float(ends[1]), curve.shape[1])
                x = (raw - self.columns.location[entry]) / self.columns.scale[entry]
                low[j], step[j] = x[0], (x[-1] - x[0]) / (len(x) - 1)
                curve[j] = ((raw if spline is None else spline.back(raw)) - location[j]) / scale[j]
        if bent:
            nodes, shares = np.polynomial.hermite_e.hermegauss(_NODES)
        else:  # enough for two moments of numbers along straight lines
            nodes, shares = np.array([-1.0, 1.0]), np.ones(2)
        parts = (values, other, always, number, low, step, curve, nodes, shares / shares.sum())
        made = Cells(*(part.astype(np.float32) for part in parts))
        return made._replace(number=number.astype(np.int32))

    def filled(self, found: Mapping[str, Any], rounding: bool) -> list[pl.Series]:
        """Return each column with means, or most likely levels; without `rounding` means as they are."""
        location, scale = self.units.T
        means = np.asarray(found["cells"], np.float64) * scale + location
        raw = self.columns.decode(found["mean"])
        cells: list[pl.Series] = []
        for j, kind in enumerate(self.types):
            if isinstance(kind, Number):
                cell = kind.written(means[:, j], rounding)
            elif isinstance(kind, Time):
                cell = kind.write(means[:, [j]])
            elif rounding or not values_of(kind):
                cell = kind.write(raw[:, self.owner == j])
            else:
                cell = pl.Series(means[:, j])
            cells.append(cell)
        return cells

    def errors(self, found: Mapping[str, Any]) -> Values:
        """Return the standard error of each cell, (n, D): of levels the probability of another one."""
        errors = np.sqrt(np.asarray(found["cell_variances"], np.float64)) * self.units[:, 1]
        for j, kind in enumerate(self.types):
            if isinstance(kind, Category):
                errors[:, j] = np.asarray(found["variance"])[:, self.owner == j][:, 0]
        return errors


def as_given(kind: ColumnType, there: pl.Series, new: pl.Series) -> pl.Series:
    """Return cells as they came, in the type of those that fill their holes where it holds them."""
    if there.dtype in (pl.Categorical, pl.Enum):
        there = there.cast(pl.String)
    if there.dtype == new.dtype:
        return there
    if isinstance(kind, Number):
        numbers = pl.Series(kind.numbers(there)).fill_nan(None)
        whole = new.dtype.is_integer() and bool((numbers.drop_nulls() % 1 == 0).all())
        return numbers.cast(pl.Int64) if whole else numbers
    if isinstance(kind, Category) and there.dtype.is_numeric() and new.dtype.is_numeric():
        return there.fill_nan(None) if there.dtype.is_float() else there
    return kind.write(kind.read(there))


def values_of(kind: ColumnType) -> tuple[float, ...]:
    """Return the numbers that classes of a column stand for, first ones first; none where levels are no numbers."""
    if isinstance(kind, Number):
        return kind.spikes
    numbers = isinstance(kind, Category) and all(type(level) in (int, float) for level in kind.levels)
    return tuple(map(float, kind.levels)) if numbers and isinstance(kind, Category) else ()

"""What is to blame for a score."""

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omokage.errors import ParameterError
from omokage.tables import aligned, html_table

_SHOWN, _REASONS = 10, 3


@dataclass(frozen=True, eq=False)
class Explanation:
    """Parts of the score of each row; the largest print, and a notebook shows them, for the first ten rows.

    Attributes:
        contributions: In the shape of X, at least 0; those of a row add up to its score, if `by` is the name of one.
        normal: What the models expect in the place of each row, in the units and the shape of X; by "conditional" in
            the place of each cell, given the others of its row.
        by: The score that was taken apart, or "conditional".
        names: Of the D columns, channels or pixels.
        shares: What each of these has in the sum of the contributions, 0 to 1, (n, D); of series over all steps.
        sentence: From the number of a row and of a column to a sentence of why the cell is strange; `None` where rows
            are no lines of a table.
    """

    contributions: Any
    normal: Any
    by: str
    names: tuple[str, ...]
    shares: NDArray[np.float64]
    sentence: Callable[[int, int], str] | None = None

    def __str__(self) -> str:
        lines = [("row", "to blame, with the share of the score"), *self._first()]
        return f"{self._heading}\n{aligned(lines)}{self._more}"

    def _repr_html_(self) -> str:
        return html_table(self._heading, ["row", "to blame"], self._first(), self._more.strip())

    @property
    def _heading(self) -> str:
        return f"What is to blame for the score of each of {len(self.shares):,} rows, by {self.by!r}"

    @property
    def _more(self) -> str:
        return f"\nand {len(self.shares) - _SHOWN:,} more rows" if len(self.shares) > _SHOWN else ""

    def _first(self) -> list[tuple[str, str]]:
        """Return the first rows, with what contributes most to each."""
        shares = self.shares[:_SHOWN]
        order = np.argsort(-shares, axis=1, kind="stable")[:, :_REASONS]
        return [
            (str(row), ", ".join(f"{self._said(row, j)} {shares[row, j]:.0%}" for j in columns))
            for row, columns in enumerate(order)
        ]

    def _said(self, row: int, column: int) -> str:
        return self.names[column] if self.sentence is None else self.sentence(row, column)

    def reasons(self, count: int = 3) -> list[list[str]]:
        """Return for each row sentences about the cells that contribute most, the most first; else their names.

        Such as "width = 9.5, where 2.1 is expected", or "machine = 'press': 0.02 % of rows like this have it".
        """
        order = self.top(count, tuple(map(str, range(len(self.names)))))
        return [[self._said(row, int(j)) for j in columns] for row, columns in enumerate(order)]

    def top(self, count: int = 3, names: tuple[str, ...] | None = None) -> NDArray[np.str_]:
        """Return the names, or those that are given, of what contributes most, the most first, (n, count)."""
        if not isinstance(count, Integral) or isinstance(count, bool) or count < 0:
            raise ParameterError(f"count: expected a whole number of at least 0; got {count!r}.")
        order = np.argsort(-self.shares, axis=1, kind="stable")[:, :count]
        return np.array(self.names if names is None else names)[order]

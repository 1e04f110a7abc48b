"""The context of rows: what a conditional model is told of each row beside x, as numbers (n, C).

    labels       strings, whole numbers or booleans, (n,)     one-hot: a column for each label, 1 where the row has it
    covariates   floats (n,), or any numbers (n, k)           standardised, (value - location) / scale
    data frame   each of its columns by its type              side by side

What was learned of it is kept with the model, so that the same context gives the same numbers ever after.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from omokage.data.columns import check_names
from omokage.data.context_columns import Covariate, Labels, column_from_json, learned
from omokage.data.context_values import Told, counted, other_rows, place, read
from omokage.errors import DataError, FileFormatError, listing


@dataclass(frozen=True)
class ContextSchema:
    """What was learned of the context of the training rows.

    Attributes:
        columns: Its columns, in their order at fit.
        names: Their names, where it was a data frame.

    Example:
        >>> schema = ContextSchema.learn(["cat", "dog", "cat"], 3)
        >>> schema.encode(["dog", "cat"], 2).tolist()
        [[0.0, 1.0], [1.0, 0.0]]
    """

    columns: tuple[Labels | Covariate, ...]
    names: tuple[str, ...] | None = None

    @staticmethod
    def learn(
        context: Any, rows: int, weight: NDArray[np.float64] | None = None, name: str = "context"
    ) -> "ContextSchema":
        """Return what there is to learn of the context of training rows.

        Args:
            context: See the module's text.
            rows: How many rows it is the context of.
            weight: How much each of them counts, (rows,); one of weight 0 is as if it were not there.
            name: What messages call it.

        Raises:
            DataError: If it has a missing value, another number of rows, or is of a type that is neither.
        """
        told = Told.of(context, rows, name)
        names, columns = told.names, told.columns
        kept = np.ones(rows, bool) if weight is None else weight > 0
        share = None if weight is None else weight[kept]
        made = (learned(values[kept], share, name, place(names, j, len(columns))) for j, values in enumerate(columns))
        return ContextSchema(tuple(made), names)

    def of_part(self, told: Told) -> "ContextSchema":
        """Return the schema with the same labels, and locations and scales of these rows alone."""
        pairs = zip(self.columns, told.columns, strict=True)
        columns = (mine if isinstance(mine, Labels) else learned(values, None, "", "") for mine, values in pairs)
        return ContextSchema(tuple(columns), self.names)

    def of_cells(self, frame: pl.DataFrame) -> tuple[Told, NDArray[np.bool_]]:
        """Return the context that columns of a file hold, and which of their cells cannot be used, (n, columns).

        Cells of text are read as what the columns were at the fit. Where one cannot be used another value stands in.

        Args:
            frame: The columns, in the order of the fit.
        """
        pairs = [column.of_cells(cells) for column, cells in zip(self.columns, frame.get_columns(), strict=True)]
        return Told(tuple(values for values, _ in pairs), self.names), np.stack([bad for _, bad in pairs], 1)

    @property
    def scaling(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Location and scale of each column that a model is given, (C,); of labels 0 and 1."""
        pairs = [
            [(0.0, 1.0)] * column.size if isinstance(column, Labels) else [(column.location, column.scale)]
            for column in self.columns
        ]
        location, scale = np.array([pair for each in pairs for pair in each], np.float64).T
        return location, scale

    def __str__(self) -> str:
        """Return the columns in words."""
        words = [
            f"{len(column.labels)} labels" if isinstance(column, Labels) else "a number" for column in self.columns
        ]
        named = (
            words if self.names is None else [f"{name} ({word})" for name, word in zip(self.names, words, strict=True)]
        )
        return ", ".join(named[:20]) + (f" and {len(named) - 20} more" if len(named) > 20 else "")

    @property
    def size(self) -> int:
        """The number of columns that a model is given, C."""
        return sum(column.size for column in self.columns)

    def encode(
        self, context: Any, rows: int, name: str = "context", kept: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float32]:
        """Return the context of rows as a model is given it, (rows, C).

        Args:
            context: Like that of the fit; a single value or row is that of all rows. A mapping from names to values
                is as good as a data frame.
            rows: How many rows it is the context of.
            name: What messages call it.
            kept: Which rows to look at, (rows,); those of the others are zeros.

        Raises:
            DataError: If it has an unknown label, a missing value, other columns, or another number of rows.
        """
        names, columns = read(context, name)
        columns = self._ordered(names, columns, name)
        if len(columns[0]) not in (1, rows):
            raise DataError(other_rows(name, len(columns[0]), rows))
        if len(columns[0]) < rows:
            columns = [np.repeat(values, rows) for values in columns]
        chosen = np.ones(rows, bool) if kept is None else kept
        encoded = np.zeros((rows, self.size), np.float32)
        encoded[chosen] = np.concatenate(
            [
                column.encode(values[chosen], name, place(self.names, j, len(columns)))
                for j, (column, values) in enumerate(zip(self.columns, columns, strict=True))
            ],
            -1,
        )
        return encoded

    def _ordered(self, names: tuple[str, ...] | None, columns: list[NDArray[Any]], name: str) -> list[NDArray[Any]]:
        """Return the columns in the order of the fit; raises DataError if there are others."""
        if self.names is not None and names is not None:
            check_names(self.names, names, name)
            return [columns[names.index(column)] for column in self.names]
        count = len(self.columns)
        if count > 1 and len(columns) == 1 and len(columns[0]) == count and self.names is None:
            return [columns[0][j : j + 1] for j in range(count)]  # one row
        if len(columns) != count or (count > 1 and self.names is not None):
            called = f"a data frame with {listing(self.names, 20)}" if self.names else counted(count, "column")
            raise DataError(
                f"{name}: expected {called}, as at fit; got {counted(len(columns), 'column')} without names."
            )
        return columns

    def to_json(self) -> dict[str, Any]:
        """Return the schema as a JSON object."""
        return {
            "names": None if self.names is None else list(self.names),
            "columns": [column.to_json() for column in self.columns],
        }

    @staticmethod
    def from_json(value: Any) -> "ContextSchema":
        """Return the schema that `to_json` wrote; raises FileFormatError if it is not sound."""
        try:
            columns = tuple(column_from_json(column) for column in value["columns"])
            names = value["names"]
            sound = len(columns) > 0 and (
                names is None
                or (
                    isinstance(names, list)
                    and all(isinstance(name, str) for name in names)
                    and len(set(names)) == len(columns) == len(names)
                )
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise FileFormatError(f"schema.json: not a schema of a context ({error!r}).") from None
        if not sound:
            raise FileFormatError("schema.json: the names and columns of its context do not fit together.")
        return ContextSchema(columns, None if names is None else tuple(names))


def encoded(
    schema: ContextSchema | None,
    context: Any,
    rows: int,
    name: str = "context",
    kept: NDArray[np.bool_] | None = None,
) -> NDArray[np.float32] | None:
    """Return the context of rows for a fitted model, (rows, C), or `None` for one without; see `ContextSchema.encode`.

    Raises:
        DataError: If there is one where there was none at fit, or the other way round, or it cannot be used.
    """
    if schema is None and context is None:
        return None
    if schema is None:
        raise DataError(f"{name}: the model was fitted without a context. Leave it out, or fit with context=.")
    if context is None:
        one = f"({listing(schema.names, 20)}) " if schema.names else ""
        raise DataError(f"{name}: the model was fitted with a context {one}and needs that of these rows; give {name}=.")
    return schema.encode(context, rows, name, kept)


def beside(context: Any) -> dict[str, Any]:
    """Return the context as an argument; none without one, since methods of one's own classes need not take it."""
    return {} if context is None else {"context": context}


def of_series(frame: pl.DataFrame, lines: Sequence[NDArray[np.int64]], key: str | None) -> pl.DataFrame:
    """Return the context of each series of a long table, that of each of its lines.

    Args:
        frame: The columns of the context, and that which tells series apart.
        lines: The numbers of the lines of each series.
        key: The column that tells series apart, which is left out; `None`: there is a single series.

    Raises:
        DataError: If it changes within a series; it names the column, the series and two lines.
    """
    which = np.empty(len(frame), np.int64)
    for number, own in enumerate(lines):
        which[own] = number
    first = np.array([int(own[0]) for own in lines])
    for column in frame.drop([] if key is None else key).get_columns():
        same = column.eq_missing(column[first[which].tolist()]).to_numpy()
        if not same.all():
            row = int(np.argmin(same))
            before = int(first[which[row]])
            named = "" if key is None else f" {frame[key][row]!r}"
            raise DataError(
                f"context: expected one value for a whole series; column {column.name!r} changes within series{named}: "
                f"{column[before]!r} in row {before}, {column[row]!r} in row {row}. What changes from step to step is "
                "a channel: leave it out of the context."
            )
    return frame[first.tolist()].drop([] if key is None else key)

"""Vectors: rows of numbers from arrays, data frames, and files of any size.

They are read once for their moments, then split into rows to train on and rows to check on.
"""

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from omokage.batch import Batch, Event
from omokage.data.column_types import Number
from omokage.data.columns import ColumnSchema, Moments, Standardization, check_names, row_numbers
from omokage.data.conditions import Where
from omokage.data.containers import Matrix, check_support, checked_weight, names_view, opened, to_matrix, values
from omokage.data.encoded import Encoded
from omokage.data.frames import textual
from omokage.data.kinds.base import Kind, Schema
from omokage.data.kinds.tables import Columns, TableRows
from omokage.data.rows import MemoryRows, RowSource, SpooledRows, canonical_order, divide
from omokage.errors import DataError, check_choice, listing
from omokage.supports import REAL, Support

IN_MEMORY_BYTES = 256 * 2**20
_MOST_HELD_OUT = 65_536  # rows of a spooled table that validation uses
_BLOCK = 65_536


@dataclass(frozen=True)
class Vectors(Kind):
    """Rows of numbers: arrays (n, D), data frames, and files of either.

    Attributes:
        missing: What is done about NaN: "refuse", or "mask", which makes the rows a table of numbers with holes
            (`omokage.data.Columns`).

    Raises:
        ParameterError: If it is neither.
    """

    missing: Literal["refuse", "mask"] = "refuse"
    name: ClassVar[str] = "vectors"

    def __post_init__(self) -> None:
        """Check the setting."""
        check_choice(self, "missing", ("refuse", "mask"))

    def rows(self, X: Any, sample_weight: Any = None, *, estimator: str = "") -> "Table | TableRows":
        """Return training rows, read and checked; see `Kind.rows`."""
        if self.missing == "mask":
            return Columns().rows(X, sample_weight)
        return Table(X, sample_weight, estimator=estimator)

    @staticmethod
    def schema_from_json(value: Mapping[str, Any]) -> "VectorSchema":
        """Return the schema that `to_json` wrote; raises FileFormatError if it is not sound."""
        return VectorSchema(ColumnSchema.from_json(value))


@dataclass(frozen=True, eq=False)
class VectorSchema(Schema):
    """What was learned of vectors: what was learned of their columns."""

    columns: ColumnSchema
    kind: Kind = Vectors()
    streams: ClassVar[bool] = True

    @property
    def event(self) -> Event:
        """One row, as the model side sees it."""
        return self.columns.event

    def opened(self, X: Any) -> Any:
        """Return the rows of a file, flat, where X is one or the path of one, else X."""
        return values(X)

    def columns_of(self, X: Any) -> Any:
        """Return something from which scikit-learn reads the names and number of columns."""
        numbered = self.names is not None and not self.columns.textual  # of which scikit-learn knows nothing
        return np.zeros((1, self.features)) if numbered else names_view(X, self.features)

    def rows(self, X: Any, *, support: Support = REAL, name: str = "X", estimator: str = "") -> Encoded:
        """Return rows of a matrix or data frame, checked and encoded; see `Schema.rows`."""
        matrix, names = to_matrix(self.opened(X), estimator=estimator, name=name)
        if matrix.shape[1] != self.features:
            if self.names and names:
                check_names(self.names, names, name)
            raise DataError(
                f"{name} has {matrix.shape[1]} features, but {estimator or 'the model'} is expecting {self.features} "
                "features as input."
            )
        # Of names of X that are text scikit-learn's contract says that they are to come in the order of the fit.
        if self.names and names and names != self.names and not (self.columns.textual and name == "X"):
            check_names(self.names, names, name)
            matrix = matrix[:, [names.index(column) for column in self.names]]
        check_support(matrix, support, names, name)
        return Encoded.of(Batch(self.encode(matrix)))

    def encode(self, matrix: NDArray[Any]) -> NDArray[np.float32]:
        """Return standardised rows, (B, D), from raw ones."""
        return self.columns.encode(matrix)

    def decode(self, x: Any, rows: Encoded | None = None) -> Any:
        """Return raw rows, (..., D), from standardised ones."""
        return self.columns.decode(x)

    def conditions(self, where: Any, support: Support = REAL) -> Where:
        """Return conditions on columns, read and checked; see `Schema.conditions`."""
        names = self.names or tuple(map(str, range(self.features)))
        return Where.of(where, names, (Number(),) * self.features, self.columns, support)

    def written(self, raw: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return raw rows as they are."""
        return raw

    def sentence(
        self, rows: Encoded, normal: Any, nats: NDArray[np.float64] | None
    ) -> Callable[[int, int], str] | None:
        """Return what says why a cell is strange; see `Schema.sentence`."""
        cells, usual, names = self.decode(rows.whole.x), self.decode(normal), self.table_names

        def said(row: int, column: int) -> str:
            return f"{names[column]} = {cells[row, column]:.6g}, where {usual[row, column]:.4g} is expected"

        return said

    def to_json(self) -> dict[str, Any]:
        """Return the schema as a JSON object."""
        return self.columns.to_json()


class Table:
    """Training rows that are vectors; see `omokage.data.kinds.base.Rows`."""

    alike = False
    blocks = None  # of rows that share a part of their content
    series = None  # that rows were cut from
    kind: Kind = Vectors()

    def __init__(self, X: Any, sample_weight: Any = None, *, estimator: str = ""):
        """Read the rows.

        Args:
            X: (n, D) array, data frame, open file, or the path of one.
            sample_weight: (n,), how much each row counts; not for files.
            estimator: What messages call the model.

        Raises:
            DataError: If the rows or the weights cannot be used.
            FileFormatError: If the file cannot.
        """
        self.names: tuple[str, ...] | None
        self._spool: SpooledRows | None = None
        self.given = opened(X)
        if not hasattr(self.given, "batches"):
            self._in_memory(X, sample_weight, estimator)
        elif self.given.fits(IN_MEMORY_BYTES):
            self._in_memory(self.given.read(), sample_weight, estimator)
        elif sample_weight is not None:
            raise DataError("sample_weight: expected None where X is a large file, which is streamed.")
        else:
            self._spooled(self.given, estimator)

    @property
    def count(self) -> int:
        """The number of rows of X."""
        return len(self.matrix) if self._spool is None else self._spool.count

    @property
    def streamed(self) -> bool:
        """Whether it is a large file, which is not held in memory."""
        return self._spool is not None

    def rows(self, schema: Any, held_out: float, seed: int, context: Any = None) -> tuple[RowSource, RowSource | None]:
        """Return the rows for training, and a share of them that is held out (`None` where 0); see `Rows.rows`."""
        order = np.random.default_rng([seed, 0])
        if self._spool is not None:
            self._spool.encode, self._spool.context = schema.encode, context
            count = min(_MOST_HELD_OUT, int(held_out * self._spool.count))
            return self._spool, MemoryRows(self._spool.hold_out(order, count)) if held_out else None
        rows = Batch(schema.encode(self.matrix), context=context)
        kept = np.arange(len(self.matrix)) if self.weight is None else np.flatnonzero(self.weight)
        index = kept[canonical_order(rows.map(lambda array: array[kept]), self.matrix[kept])]
        training, checking = (
            MemoryRows(rows, None if self.weight is None else self.weight[chosen], chosen) if len(chosen) else None
            for chosen in divide(index, held_out, order)
        )
        assert training is not None  # a share of less than all is held out
        return training, checking

    def schema(self, standardize: Standardization) -> VectorSchema:
        """Return what is learned of the columns."""
        return VectorSchema(ColumnSchema.learn(self.moments, self.names, standardize, textual(self.given)))

    def part(self, index: NDArray[np.int64]) -> "Table":
        """Return the rows at these places of X, which is held in memory, and nothing else; see `Rows.part`."""
        part = copy.copy(self)
        part.matrix, part.weight = self.matrix[index], None if self.weight is None else self.weight[index]
        part._measure()
        return part

    def encoded(self, schema: Any) -> Encoded:
        """Return all rows as a schema encodes them, in the order of X, which is held in memory."""
        return Encoded.of(Batch(schema.encode(self.matrix)))

    def values_of(self, index: NDArray[np.int64]) -> NDArray[Any]:
        """Return the numbers by which rows are put into an order, (B, D)."""
        return self.matrix[index]

    def spare(self, count: int, order: np.random.Generator) -> "Table":
        """Take about so many rows out of a streamed table, whose moments are then those of the others; return them."""
        assert self._spool is not None
        self._spool.encode = lambda raw: raw
        spared, part = self._spool.hold_out(order, count), copy.copy(self)
        self.moments = Moments.empty(self._spool.entries)
        for block in self._spool.blocks(_BLOCK):
            self.moments = self.moments.updated(block)
        part.matrix, part._spool = spared.x, None
        part._measure()
        return part

    @property
    def places(self) -> NDArray[np.int64]:
        """Where the rows that were not spared stand in X, ascending."""
        return np.arange(self.count) if self._spool is None else self._spool.places

    def columns(self) -> Any:
        """Return something from which scikit-learn reads the names and number of columns."""
        if hasattr(self.given, "batches"):
            return (
                pl.DataFrame({name: [0.0] for name in self.names})
                if self.names
                else np.zeros((1, len(self.moments.mean)))
            )
        return names_view(self.given, len(self.moments.mean))

    def _in_memory(self, X: Any, sample_weight: Any, estimator: str) -> None:
        self.matrix, self.names = to_matrix(X, minimum_rows=2, estimator=estimator)
        self.weight = None if sample_weight is None else checked_weight(sample_weight, len(self.matrix))
        self._measure()
        if numbers := row_numbers(self.matrix, self.names):
            several, called = len(numbers) > 1, listing(self.names[j] if self.names else j for j in numbers)
            warnings.warn(
                f"X: column{'s' * several} {called} hold{'s' * (not several)} whole numbers that count the rows, as an "
                "index does. New rows have others, and would look strange for that alone. Leave such columns out (on "
                "the command line: --id), unless they are measurements.",
                stacklevel=5,
            )

    def _measure(self) -> None:
        self.moments = Moments.empty(self.matrix.shape[1])
        for start in range(0, len(self.matrix), _BLOCK):
            here = slice(start, start + _BLOCK)
            self.moments = self.moments.updated(self.matrix[here], None if self.weight is None else self.weight[here])

    def _spooled(self, file: Any, estimator: str) -> None:
        self.weight = None
        self.names = file.names
        self._spool = SpooledRows(self._learning(file.batches(_BLOCK), estimator))
        if self._spool.count < 2:
            raise DataError(f"{file.path}: expected at least 2 rows, got {self._spool.count}.")

    def _learning(self, batches: Iterator[Any], estimator: str) -> Iterator[Matrix]:
        rows = 0
        for batch in batches:
            matrix, _ = to_matrix(batch, estimator=estimator, first_row=rows)
            if rows == 0:
                self.moments = Moments.empty(matrix.shape[1])
            self.moments = self.moments.updated(matrix)
            rows += len(matrix)
            yield matrix

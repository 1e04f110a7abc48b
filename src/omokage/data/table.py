"""A table on its way to training: read once for its moments, then split into rows to train on and rows to check on."""

import copy
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omokage.batch import Batch
from omokage.data.encoded import Encoded
from omokage.data.rows import MemoryRows, RowSource, SpooledRows, canonical_order, checked_weight, divide
from omokage.data.schema import Moments, Schema, Standardization
from omokage.data.vectors import Matrix, to_matrix
from omokage.errors import DataError

_IN_MEMORY_BYTES = 256 * 2**20
_MOST_HELD_OUT = 65_536  # rows of a spooled table that validation uses
_BLOCK = 65_536


class Table:
    """Numeric rows and their moments; from an array, a data frame, or a file of any size.

    Attributes:
        alike: Whether the columns share a scale whatever their values are, as pixels do.
        names: Column names, if there are any.
        moments: Of the columns.
    """

    alike = False
    blocks = None  # of rows that share a part of their content

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
        elif _is_small(self.given):
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
        """Return the rows for training, and a share of them that is held out (`None` where 0).

        Args:
            schema: What was learned of the columns.
            held_out: The share.
            seed: Of the choice.
            context: What the model is conditioned on, (n, C) in the order of X.
        """
        order = np.random.default_rng([seed, 0])
        if self._spool is not None:
            self._spool.encode, self._spool.context = schema.encode, context
            count = min(_MOST_HELD_OUT, int(held_out * self._spool.count))
            return self._spool, MemoryRows(self._spool.hold_out(order, count)) if held_out else None
        rows = Batch(schema.encode(self.matrix), context=context)
        index = canonical_order(rows)
        if self.weight is not None:
            index = index[self.weight[index] > 0]
        training, checking = (
            MemoryRows(rows, None if self.weight is None else self.weight[chosen], chosen) if len(chosen) else None
            for chosen in divide(index, held_out, order)
        )
        assert training is not None  # a share of less than all is held out
        return training, checking

    def schema(self, standardize: Standardization) -> Schema:
        """Return what is learned of the columns."""
        return Schema.learn(self.moments, self.names, standardize)

    def part(self, index: NDArray[np.int64]) -> "Table":
        """Return a table of the rows at these places of X, which is held in memory, and of nothing else."""
        part = copy.copy(self)
        part.matrix, part.weight = self.matrix[index], None if self.weight is None else self.weight[index]
        part._measure()
        return part

    def encoded(self, schema: Any) -> Encoded:
        """Return all rows as a schema encodes them, in the order of X, which is held in memory."""
        return Encoded.of(Batch(schema.encode(self.matrix)))

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

    def columns(self) -> Any:
        """Return something from which scikit-learn reads the names and number of columns; of no file, X itself."""
        if not hasattr(self.given, "batches"):
            return self.given
        import polars as pl

        if self.names is None:
            return np.zeros((1, len(self.moments.mean)))
        return pl.DataFrame({name: [0.0] for name in self.names})

    def _in_memory(self, X: Any, sample_weight: Any, estimator: str) -> None:
        self.matrix, self.names = to_matrix(X, minimum_rows=2, estimator=estimator)
        self.weight = None if sample_weight is None else checked_weight(sample_weight, len(self.matrix))
        self._measure()

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


def opened(X: Any) -> Any:
    """Return the open file that a path names, else X."""
    if not isinstance(X, str | os.PathLike):
        return X
    from omokage.data.reading import open_table

    return open_table(X)


def _is_small(file: Any) -> bool:
    """Say whether a file is read whole: one of text by its size, one that states its rows by what they take."""
    rows = file.rows()
    if rows is None:
        return bool(file.path.stat().st_size <= _IN_MEMORY_BYTES)
    columns = len(file.names) if file.names is not None else int(np.prod(file.row_shape))
    return bool(rows * columns * 8 <= _IN_MEMORY_BYTES)

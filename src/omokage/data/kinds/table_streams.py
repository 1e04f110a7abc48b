"""Tables in files that are too large for memory: read twice, and then trained on from a temporary file.

The first pass decides what each column holds (`omokage.data.column_types.survey`). The second writes the entries of the
rows, and measures them.
"""

import bisect
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from omokage.batch import Batch
from omokage.data.column_types import DOUBT, ColumnType, Number, NumberRule, Time, slopes
from omokage.data.column_types.survey import Survey
from omokage.data.columns import ColumnSchema, Observed, Standardization
from omokage.data.encoded import Encoded, Parts
from omokage.data.frames import series_of
from omokage.data.kinds.base import Given
from omokage.data.kinds.tables import Columns, TableRows, TableSchema
from omokage.data.rows import MemoryRows, RowSource, SpooledRows
from omokage.data.splines import Values
from omokage.errors import DataError, shown
from omokage.supports import Support

IN_MEMORY_BYTES = 64 * 2**20  # of which a table takes some times as many while it is trained on
_BLOCK = 65_536  # rows that are read at once
_MOST_HELD_OUT = 65_536  # rows that validation uses
_EMPTY = 100  # rows without a value whose numbers are kept
_WITNESSES = 5_000  # cells by which the way is known in which times are written
_EXPECTED = {"number": "a finite number, as in the other rows", "time": "a time, written as in the other rows"}


class StreamedTable(TableRows):
    """Training rows of a table that is not held in memory; see `omokage.data.kinds.base.Rows`."""

    streamed = True

    def __init__(self, file: Any, kind: Columns, sample_weight: Any = None):
        """Read an open file twice: to decide what each column holds, and to keep the rows in a temporary file.

        Raises:
            DataError: If the rows cannot be used; a cell is named by its row, counted from 0.
        """
        if sample_weight is not None:
            raise DataError("sample_weight: expected None where X is a large file, which is streamed.")
        self._file, survey = file, Survey(kind.missing, kind.asked)
        for batch in file.batches(_BLOCK):
            survey.see(series_of(batch))
        sample = survey.sample()
        self._decide(kind, file, sample, survey.rows, survey)
        self._dashes, self._witnesses = survey.dashes, _witnesses(sample)
        del survey, sample
        self.weight = None
        empty: list[int] = []
        ends = [_Ends() if isinstance(one, Number) else None for one in self.types]
        self._spool = SpooledRows(self._learning(ends, empty))
        found = zip(self.types, ends, strict=True)
        self.types = tuple(end.of(one) if end is not None and isinstance(one, Number) else one for one, end in found)
        self._warn(np.array(empty, np.int64))

    def _learning(self, ends: Sequence["_Ends | None"], empty: list[int]) -> Iterator[Values]:
        """Yield the entries of the rows, having measured them; take note of rows without a value."""
        self._begin()
        used = [name for name in self.order if name not in self.left_out]
        for first, columns in self._batches(used):
            entries = self._entries(self.types, columns, first)
            for kind, column, end in zip(self.types, columns, ends, strict=True):
                if end is not None and isinstance(kind, Number):
                    end.see(kind.numbers(column))
            lacking = np.flatnonzero(np.isnan(entries).all(1))
            empty += (first + lacking[: _EMPTY - len(empty)]).tolist()
            self._see(entries)
            yield entries
        self.moments = self._observed.moments

    def _batches(self, names: Sequence[str]) -> Iterator[tuple[int, list[pl.Series]]]:
        """Yield these columns of some rows, and the number of the first of these."""
        first = 0
        for batch in self._file.batches(_BLOCK):
            columns = {column.name: column for column in self.kind.read(batch, dashes=self._dashes)}
            yield first, [columns[name] for name in names]
            first += len(batch)

    def _entries(self, types: Sequence[ColumnType], columns: Sequence[pl.Series], first: int) -> Values:
        """Return the entries of some rows, (B, E)."""
        parts = []
        for kind, column in zip(types, columns, strict=True):
            known = self._witnesses.get(column.name) if isinstance(kind, Time) else None
            parts.append(read_cells(kind, column, first, str(self._file.path), known))
        return np.column_stack(parts)

    def _begin(self) -> None:
        self._observed, self._slope = Observed(len(self.owner)), 0.0

    def _see(self, entries: Values) -> None:
        self._observed.see(entries)
        self._slope += float(np.nan_to_num(slopes(self.types, self.owner, entries)).sum())

    @property
    def count(self) -> int:
        """The number of rows that were not spared."""
        return self._spool.count

    @property
    def places(self) -> NDArray[np.int64]:
        """Where the rows that were not spared stand in X, ascending."""
        return self._spool.places

    def schema(self, standardize: Standardization) -> TableSchema:
        """Return what is learned of the columns."""
        learned, share = ColumnSchema.learn(self.moments, self.names, standardize), self._observed.share
        observed, slope = np.where(share == 1, 1.0, np.minimum(share, 1 - 1e-9)), self._slope / self._observed.rows
        return TableSchema(learned, self.kind, self.types, self.left_out, observed, slope, self.container, self.order)

    def rows(
        self, schema: TableSchema, held_out: float, seed: int, context: Any = None
    ) -> tuple[RowSource, RowSource | None]:
        """Return the rows for training, and a share of them that is held out (`None` where 0); see `Rows.rows`."""
        spool = self._spool if schema.types == self.types else SpooledRows(self._as(schema))
        spool.encode, spool.context = schema.encode, context
        count = min(_MOST_HELD_OUT, int(held_out * spool.count))
        return spool, MemoryRows(spool.hold_out(np.random.default_rng([seed, 0]), count)) if held_out else None

    def _as(self, schema: TableSchema) -> Iterator[Values]:
        """Yield the entries that rows have in a schema of an earlier fit."""
        for first, columns in self._batches(self.order):
            yield self._entries(schema.types, schema.selected(columns), first)

    def spare(self, count: int, order: np.random.Generator) -> TableRows:
        """Take about so many rows out, and return them; what is measured is then that of the others."""
        self._spool.encode = Batch
        spared = self._spool.hold_out(order, count)
        self._begin()
        for block in self._spool.blocks(_BLOCK):
            self._see(block)
        self.moments = self._observed.moments
        part = TableRows.__new__(TableRows)
        vars(part).update(vars(self))
        part.matrix = np.asarray(spared.x, np.float64)
        part._measure()
        return part


def is_large(X: Any) -> bool:
    """Say whether X is an open file that is too large to be read whole."""
    return hasattr(X, "batches") and not X.fits(IN_MEMORY_BYTES)


def parts(schema: TableSchema, source: Any, ids: Sequence[str] = ()) -> Iterator[Given]:
    """Yield the rows of an open file, those of a large one so many at a time; see `Schema.parts`."""
    if not is_large(source):
        yield schema.given(source, ids)
        return
    first = 0
    for batch in source.batches(_BLOCK):
        yield replace(schema.given(batch, ids), first=first)
        first += len(batch)


def encoded(schema: TableSchema, file: Any, support: Support, name: str) -> Encoded:
    """Return the rows of a large file, checked and encoded, which are kept in a temporary file; see `Schema.rows`."""

    def blocks() -> Iterator[NDArray[np.float32]]:
        first = 0
        for batch in file.batches(_BLOCK):
            read = schema.selected(schema.kind.read(batch, name), name)
            try:
                raw = schema.checked(read, support, name)
            except DataError:
                check(schema, read, first, name)
                raise
            rows = schema.encode(raw)
            yield rows.x if rows.mask is None else np.where(rows.mask, rows.x, np.float32("nan"))
            first += len(batch)

    spool = SpooledRows(blocks())

    def rows(start: int, stop: int) -> Batch:
        x = spool.read(start, stop)
        there = ~np.isnan(x)
        return Batch(np.nan_to_num(x), mask=there if schema.event.missing or not there.all() else None)

    return Encoded(Parts(spool.count, _BLOCK, rows))


def check(schema: TableSchema, read: Sequence[pl.Series], first: int, name: str = "X") -> None:
    """Check cells that were refused; raises DataError that names one by its row, of which `first` is the first."""
    for kind, column in zip(schema.types, read, strict=True):
        read_cells(kind, column, first, name)


class _Ends:
    """The decimals of the numbers of a column, the least and the greatest one, of all rows."""

    def __init__(self) -> None:
        self.decimals: int | None = 0
        self.low, self.high = np.inf, -np.inf

    def see(self, values: Values) -> None:
        """Take note of some numbers, NaN where one is missing."""
        values = values[~np.isnan(values)]
        if not len(values):
            return
        here = Number.of(pl.Series(values), rule=NumberRule(spline=False))
        known = self.decimals is not None and here.decimals is not None
        self.decimals = max(self.decimals or 0, here.decimals or 0) if known else None
        self.low, self.high = min(self.low, here.low), max(self.high, here.high)

    def of(self, kind: Number) -> Number:
        """Return a type with what all rows say."""
        integer = kind.integer if kind.notation is None else self.decimals == 0
        return replace(kind, decimals=self.decimals, integer=integer, low=self.low, high=self.high)


def _witnesses(sample: Sequence[pl.Series]) -> dict[str, pl.Series]:
    """Return cells of each column of text that, beside those of a batch, tell in which way times are written."""
    text = [column for column in sample if column.dtype == pl.String]
    return {column.name: column.drop_nulls().unique(maintain_order=True)[:_WITNESSES] for column in text}


def read_cells(
    kind: ColumnType, column: pl.Series, first: int = 0, place: str = "X", known: pl.Series | None = None
) -> Values:
    """Return the entries of cells, (n, 1) or (n, 2).

    Args:
        kind: What the column holds.
        column: Some of its cells.
        first: The number of the first of them in the whole.
        place: What messages call the whole.
        known: Other cells of the column, beside which these are to be read.

    Raises:
        DataError: Naming the first cell that is none of the kind, by its row in the whole.
    """

    def read(count: int) -> Values:
        cells = column[:count] if known is None else pl.concat([known, column[:count]])
        return kind.read(cells)[0 if known is None else len(known) :]

    def fails(count: int) -> bool:
        try:
            read(count)
        except DataError:
            return True
        return False

    try:
        return read(len(column))
    except DataError as error:
        row = bisect.bisect_left(range(1, len(column) + 1), True, key=fails)
        if DOUBT in str(error) or column[row] is None or kind.name not in _EXPECTED:
            raise
        raise DataError(
            f"{place}: row {first + row}, column {column.name!r}: expected {_EXPECTED[kind.name]}; got "
            f"{shown(column[row])}. Correct the cell, or leave it empty if its value is missing."
        ) from None

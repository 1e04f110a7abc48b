"""Where rows come from: files, folders of pictures and known data sets, as the command line names them."""

import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from omokage.data import datasets
from omokage.data.columns import check_names
from omokage.errors import DataError, listing
from omokage.files.formats import PARQUET
from omokage.files.numbers import PLAIN, Notation
from omokage.files.opening import open_table
from omokage.files.options import Options

_ENTRIES, _ROWS = 2**21, (1024, 131_072)  # of a batch: how many entries about, and rows


_AS_FOUND = Options()


@dataclass(frozen=True)
class Source:
    """Where rows come from: what the command line was given.

    Attributes:
        data: A file, a folder, or the name of a data set.
        ids: Columns that are passed through and are no input.
        options: How files are read.
        optional: Whether ids are those of the fit, and need not be there.
        context: Those of the ids of which the model is told.
        labels: Those of the context that are labels of text.
    """

    data: str
    ids: tuple[str, ...] = ()
    options: Options = _AS_FOUND
    optional: bool = False
    context: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()

    @property
    def text(self) -> tuple[str, ...]:
        """Columns that are read as they stand: 007 stays 007."""
        return tuple(name for name in self.ids if name not in self.context or name in self.labels)


def known_ids(data: str, options: Options, ids: tuple[str, ...]) -> tuple[str, ...]:
    """Return those columns of a file that were no input at a fit; of standard input all, since nothing is read yet."""
    if data == "-" or not ids or not Path(data).is_file():
        return ids if data == "-" else ()
    names = open_table(data, options).names or ()
    return tuple(name for name in ids if name in names)


@dataclass(frozen=True)
class Known:
    """Rows of a known data set, like an open file of pictures: flat, with the shape that they have."""

    X: NDArray[Any]
    row_shape: tuple[int, ...]
    names = None
    flattened = True
    notation = PLAIN

    def read(self) -> NDArray[Any]:
        """Return all rows, flat."""
        return self.X

    def batches(self, rows: int) -> Iterator[NDArray[Any]]:
        """Yield the rows in order, `rows` at a time."""
        for start in range(0, len(self.X), rows):
            yield self.X[start : start + rows]

    def rows(self) -> int:
        """Return the number of rows."""
        return len(self.X)

    def fits(self, limit: int) -> bool:
        """Say whether the rows are to be read whole: they are in memory already."""
        return True


def open_rows(source: Source, keys: Sequence[str] = (), *, passed: bool = False) -> Any:
    """Return what `opened_rows` does, and say on standard error what was found in a file and not asked for."""
    file = opened_rows(source, keys, passed=passed)
    for note in getattr(file, "notes", ()):
        print(f"omokage: {note}", file=sys.stderr)
    return file


def opened_rows(source: Source, keys: Sequence[str] = (), *, passed: bool = False) -> Any:
    """Return an open file without its id columns, or with them if `passed`; or a folder.

    Args:
        source: What was given.
        keys: Columns that tell rows apart and so are read as text, as ids are.
        passed: Whether id columns are kept.
    """
    data, ids = source.data, source.ids
    if source.context and (Path(data).is_dir() or (data in datasets.NAMES and not Path(data).exists())):
        raise DataError(
            f"--context: expected a table with {listing(source.context, 20)}; {data} has no columns. In Python every "
            "kind of data takes context=."
        )
    if data in datasets.NAMES and not Path(data).exists():
        if ids:
            raise DataError(f"--id: the columns of {data} have no names.")
        known = datasets.load(data, "train")
        return Known(known.X, known.shape)
    if Path(data).is_dir():
        if ids:
            raise DataError(f"--id: {data} is a folder of pictures, which has no columns.")
        return Path(data)
    options = replace(source.options, text=(*source.text, *keys))
    file = open_table(data, options)
    names = file.names or ()
    check_context(source, data, names)
    if missing := [name for name in ids if name not in names]:
        raise DataError(f"--id: no column {listing(missing)} in {data}; it has {listing(names, 20) or 'no names'}.")
    if not passed and ids:
        rest = [name for name in names if name not in ids]
        if not rest:
            raise DataError(
                f"--id: no column of {data} is left for X; it has {listing(names, 20)}. Name fewer of them."
            )
        file = open_table(data, options, columns=rest)
    return file


def check_context(source: Source, place: str, names: Sequence[str]) -> None:
    """Check that columns have those of the context among them."""
    if missing := [name for name in source.context if name not in names]:
        raise DataError(
            f"--context: no column {listing(missing, 20)} in {place}, of which the model has to be told; it has "
            f"{listing(names, 20) or 'no names'}."
        )


def opened_vectors(source: Source, out: Path) -> Any:
    """Return an open file of vectors, or a known data set, with the id columns, as text where the output is text."""
    typed = source.labels if out.suffix.lower() not in PARQUET else source.context
    kept = tuple(name for name in source.context if name not in typed)
    rows = open_rows(replace(source, options=replace(source.options, kept=kept)), passed=True)
    if isinstance(rows, Path):
        raise DataError(f"{rows}: a folder, where a file of rows is expected: the model is one of vectors.")
    return rows


def batches_of(rows: Any) -> Iterator[tuple[int, Any]]:
    """Yield the rows of an open file of vectors a batch at a time, and the number of its first row; at least one."""
    first = 0
    columns = math.prod(rows.row_shape) if rows.names is None else len(rows.names)
    for batch in rows.batches(int(np.clip(_ENTRIES // max(1, columns), *_ROWS))):
        yield first, batch
        first += len(batch)


def known_columns(data: str, batch: Any, names: tuple[str, ...] | None, ids: tuple[str, ...] = ()) -> Any:
    """Return the columns of a batch that a model of columns `names` knows, in its order."""
    if not isinstance(batch, pl.DataFrame):
        return batch
    rows = batch.drop(ids)
    if names is None:
        return rows
    try:
        check_names(names, rows.columns)
    except DataError as error:
        more = " Pass columns that are no input through with --id." if set(names) < set(rows.columns) else ""
        raise DataError(f"{data}: {error}{more}") from None
    return rows.select(names)


def plainly(cells: pl.Series, notation: Notation) -> pl.Series:
    """Return cells of text with plain numbers in the place of those in a notation, and none for those in another."""
    bare = cells.str.strip_chars()
    return pl.select(pl.when(bare.str.contains("[0-9]")).then(notation.plain(bare)).otherwise(bare)).to_series()


def numbers_in(rows: Any, notation: Notation = PLAIN) -> NDArray[np.float64]:
    """Return rows as numbers, (n, D), NaN where there is none; text is read in a notation."""
    if not isinstance(rows, pl.DataFrame):
        return np.asarray(rows, np.float64).reshape(len(rows), -1)
    columns = []
    for column in rows.get_columns():
        text = column.cast(pl.String) if column.dtype in (pl.Categorical, pl.Enum) else column
        if text.dtype == pl.String:  # as a column without a bad cell is read
            text = plainly(text, notation).str.to_lowercase().replace({"true": "1", "false": "0"})
        known = text.dtype == pl.String or text.dtype.is_numeric() or text.dtype == pl.Boolean
        numbers = text.cast(pl.Float64, strict=False) if known else pl.Series([None] * len(text), dtype=pl.Float64)
        columns.append(numbers.fill_null(float("nan")).to_numpy())
    return np.column_stack(columns) if columns else np.empty((len(rows), 0))


@contextmanager
def named(data: str) -> Iterator[None]:
    """Put the name of the data in front of what is wrong with them."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{data}: {error}") from None

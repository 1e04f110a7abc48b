"""Parquet at flat memory, read by Polars; and what is common to it and other files of columns with types."""

import errno
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from omokage.errors import FileFormatError, in_unicode, listing
from omokage.files.formats import first_line
from omokage.files.indexes import named_by_pandas
from omokage.files.options import Options

_NAMELESS = re.compile(r"__index_level_\d+__")  # what pandas calls an index without a name
_FRAME = 96 * 2**20  # bytes of a frame that are taken at once


def open_parquet(path: Path, options: Options, columns: Sequence[str] | None) -> "ColumnFile":
    """Read the footer of a Parquet file.

    Args:
        path, options, columns: As in `omokage.files.opening.open_table`.

    Raises:
        FileFormatError: If it is none, damaged, or without rows.
    """
    check_path(path)
    with path.open("rb") as file:
        head = file.read(4)
        file.seek(-min(4, path.stat().st_size), os.SEEK_END)
        tail = file.read(4)
    if head == b"PARE" or tail == b"PARE":
        raise FileFormatError(f"{path}: an encrypted Parquet file. Write it again without encryption.")
    if head != b"PAR1" or tail != b"PAR1":
        what = "does not end as Parquet does, so it was cut short" if head == b"PAR1" else "is not Parquet"
        raise FileFormatError(f"{path}: the file {what}. Write or copy it again.")
    with errors(path, "Parquet"):
        scan = pl.scan_parquet(path.resolve(), glob=False, hive_partitioning=False)
        every = tuple(scan.collect_schema())
        index = named_by_pandas(pl.read_parquet_metadata(path))
        rows = int(scan.select(pl.len()).collect().item())
    if rows == 0:
        raise FileFormatError(f"{path}: has the columns {listing(every)} and no rows.")
    return column_file(path, scan, rows, index, options, columns, "Parquet")


def column_file(
    path: Path,
    scan: pl.LazyFrame,
    rows: int,
    index: Sequence[str],
    options: Options,
    columns: Sequence[str] | None,
    kind: str,
) -> "ColumnFile":
    """Return an open file of columns with types, without an index of pandas.

    Args:
        path, options, columns: As in `omokage.files.opening.open_table`.
        scan: Its columns, not yet read.
        rows: How many rows it has.
        index: The columns that its metadata call an index.
        kind: What messages call the format.
    """
    schema = scan.collect_schema()
    every = tuple(schema)
    asked = {*options.text, *(columns or ())}
    index = tuple(dict.fromkeys([*index, *(name for name in every if _NAMELESS.fullmatch(name))]))
    out = [name for name in every if name in index and name not in asked]
    if options.index == "keep" or len(out) == len(every):
        out = []
    names = tuple(name for name in every if name not in out)
    note = (
        f"{path}: {listing(out)} is the index of a pandas data frame, and left out. Pass index='keep' (--index keep) "
        "otherwise."
    )
    return ColumnFile(path, scan, names, dict(schema), rows, options.text, (note,) if out else (), kind)


def check_path(path: Path) -> None:
    """Check that the path of a file that Polars reads is in Unicode; it takes no other."""
    if in_unicode(str(path.resolve())) != str(path.resolve()):
        raise FileFormatError(
            f"{path}: the path of such a file (Parquet, Arrow) has to be text in Unicode. Rename the file or folder."
        )


@dataclass(frozen=True)
class ColumnFile:
    """A file of columns with types, such as Parquet, whose schema was read.

    Attributes:
        path: The file.
        scan: Its columns, not yet read.
        names: Those that are no index.
        schema: All columns of the file, and their types.
        rows: How many rows.
        text: Columns that are keys or labels.
        notes: What was found, a line each.
        kind: What messages call the format.
    """

    path: Path
    scan: pl.LazyFrame
    names: tuple[str, ...]
    schema: dict[str, Any]
    rows: int
    text: tuple[str, ...]
    notes: tuple[str, ...]
    kind: str

    def read(self, names: Sequence[str]) -> pl.DataFrame:
        """Return all rows of these columns."""
        self._check(names)
        with errors(self.path, self.kind):
            return self._as_text(self.scan.select(names).collect())

    def batches(self, names: Sequence[str], rows: int) -> Iterator[pl.DataFrame]:
        """Yield frames of `rows` rows at flat memory, even where the whole file is one row group.

        Polars loads the packed row group of all columns that are asked for. So that this stays small, columns are
        asked for a few at a time: as many as would take `_FRAME` bytes if the file were a single row group.
        """
        self._check(names)
        together = max(1, _FRAME * len(self.schema) // self.path.stat().st_size)
        groups = [names[start : start + together] for start in range(0, len(names), together)]
        start, step = 0, rows
        while start < self.rows:
            with errors(self.path, self.kind):
                parts = [self.scan.select(group).slice(start, step).collect() for group in groups]
            frame = self._as_text(pl.concat(parts, how="horizontal"))
            if frame.height != min(step, self.rows - start):
                raise FileFormatError(
                    f"{self.path}: holds fewer rows than its footer states, {self.rows}. Write it again."
                )
            start += step
            step = max(1, _FRAME * frame.height // max(1, int(frame.estimated_size())) // rows) * rows
            for place in range(0, frame.height, rows):
                yield frame[place : place + rows]
            del parts, frame  # before the next ones are read

    def _check(self, names: Sequence[str]) -> None:
        """Check that columns hold single values: numbers, text, times, true or false."""
        wrong = [name for name in names if name not in self.text and _is_unusable(self.schema[name])]
        if wrong:
            types = ", ".join(f"{name!r} ({self.schema[name]})" for name in wrong[:5])
            more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
            raise FileFormatError(
                f"{self.path}: each cell of the columns {types}{more} holds a list, a structure or bytes, which is no "
                "value. Write a column for each part, or leave these columns out: columns= (--id)."
            )

    def _as_text(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return a frame whose keys and labels are text."""
        return frame.with_columns(as_text(frame[name], self.path) for name in self.text if name in frame.columns)


def as_text(column: pl.Series, place: object) -> pl.Series:
    """Return keys or labels of any type as text: as a cell of CSV has them, times in ISO 8601.

    Raises:
        FileFormatError: If they are lists, structures or bytes that are no text.

    Example:
        >>> as_text(pl.Series([True, None]), "").to_list(), as_text(pl.Series([1.0, 2.5]), "").to_list()
        (['true', None], ['1.0', '2.5'])
    """
    kind = column.dtype
    try:
        if kind.is_temporal() and kind != pl.Duration:
            return column.dt.to_string("iso:strict")
        if kind.is_nested() or kind == pl.Object:
            raise pl.exceptions.InvalidOperationError
        return column.cast(pl.String)
    except pl.exceptions.PolarsError:
        raise FileFormatError(
            f"{place}: column {column.name!r} holds {kind}, and cannot be a key or a label. Write it as text first."
        ) from None


def _is_unusable(kind: Any) -> bool:
    return kind.is_nested() or kind in (pl.Binary, pl.Object)


@contextmanager
def errors(path: Path, kind: str) -> Iterator[None]:
    """Turn errors of Polars into ones that say that a file is damaged."""
    try:
        yield
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # which damaged content is to Polars
            raise
        raise FileFormatError(
            f"{path}: damaged, or not {kind} as specified ({first_line(error)}). Write or copy it again."
        ) from None

"""Files of rows: opened first, then read whole or in batches, always in the order of the file.

| format | extensions | a batch is |
|---|---|---|
| delimited text | .csv, .txt (comma), .tsv (tab), each also with .gz | a Polars frame |
| Parquet | .parquet, .pq | a Polars frame |
| NumPy | .npy, .npz | an array (rows, ...) |
| IDX | train-images-idx3-ubyte and the like, also with .gz | an array (rows, features) |

What is held of a file at once is bounded, whatever its size. Nothing is mapped into memory, since mapped
pages count as the process's own, and nothing is unpickled, since that can run code.

Rules for text. The types are those that fit the *whole* file: whole numbers, numbers, true/false, else text;
a column without any value is text. Spaces around a number do not count, and the cells in `MISSING` are
missing. A first line of numbers only is data, and the columns are then `column_1`, `column_2`...; but
0, 1, 2... (three cells or more) is a header, because pandas writes that over an array. Blank lines are passed
over, unless there is one column.
"""

import gzip
import os
import secrets
import shutil
import struct
import time
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
from numpy.typing import NDArray
from polars.io.plugins import register_io_source

from omokage.data.arrays import ArrayFile, open_idx, open_npy, open_npz
from omokage.data.delimited import open_text
from omokage.errors import DataError, FileFormatError, ParameterError, listing, suggest
from omokage.paths import as_path

Batch = pl.DataFrame | NDArray[Any]
Columns = pl.DataFrame | Mapping[str, Any]
Types = Mapping[str, Any]  # column name to Polars type

FORMATS = (
    "CSV (.csv, .txt, .tsv, also .gz), Parquet (.parquet, .pq), .npy, .npz, and IDX (train-images-idx3-ubyte, also .gz)"
)
MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "?")
SEPARATORS = {".csv": ",", ".txt": ",", ".tsv": "\t"}
PARQUET = (".parquet", ".pq")

_FRAME = 96 * 2**20  # bytes of a frame that are taken from Parquet at once


@dataclass(frozen=True)
class TableFile:
    """A file of rows, opened but not loaded.

    Attributes:
        path: The file.
        names: Column names; `None` for arrays, which have none.
        row_shape: The shape of one row of an array, as the file states it; `None` for tables. IDX pictures
            come flattened, (rows, height * width), and this is (height, width).
        flattened: Whether rows come flattened.
    """

    path: Path
    names: tuple[str, ...] | None
    row_shape: tuple[int, ...] | None
    flattened: bool
    _rows: int | None = field(repr=False)
    _batches: Callable[[int], Iterator[Batch]] = field(repr=False)
    _read: Callable[[], Batch] = field(repr=False)

    def rows(self) -> int | None:
        """Return the number of rows where the file states it, else `None` (text)."""
        return self._rows

    def batches(self, rows: int = 65_536) -> Iterator[Batch]:
        """Yield all rows in the order of the file, `rows` at a time; the last batch may be shorter.

        Raises:
            FileFormatError: If the file proves to be damaged on the way.
            DataError: If a cell does not have the type that `types` asked for.
        """
        if rows < 1:
            raise ParameterError(f"rows: expected 1 or more rows a batch, got {rows}.")
        return self._guarded(rows)

    def read(self) -> Batch:
        """Return all rows; raises what `batches` raises."""
        with _reading(self.path):
            return self._read()

    def _guarded(self, rows: int) -> Iterator[Batch]:
        with _reading(self.path):
            yield from self._batches(rows)


def open_table(
    path: str | os.PathLike[str],
    *,
    encoding: str = "utf-8",
    columns: Sequence[str] | None = None,
    array: str | None = None,
    separator: str | None = None,
    types: Types | None = None,
    missing: Sequence[str] = MISSING,
) -> TableFile:
    """Open a file of rows and check what can be checked without reading all of it.

    Args:
        path: The file; the module's table lists the formats.
        encoding: Of text, any that Python knows. A byte-order mark is skipped.
        columns: The columns to take, in this order; all when `None`.
        array: Which array of an .npz file; by default the only one, else "X", else "arr_0".
        separator: Between the cells of text; by default a tab for .tsv, else a comma.
        types: Polars types of columns of text that are known beforehand, such as those of a fitted model; the
            others get the type that fits the whole file. Names that the file does not have are passed over.
        missing: The text cells that stand for a missing value, apart from spaces around them.

    Raises:
        FileFormatError: If the file is missing, empty, damaged, or not of a format that is read here.
        ParameterError: If a column, array, encoding or separator is not one that can be had.

    Example:
        >>> import tempfile
        >>> path = write_table(tempfile.mkdtemp() + "/parts.csv", {"speed": [1.5, 2.5], "部品": ["a", "b"]})
        >>> table = open_table(path)
        >>> table.names, [batch.height for batch in table.batches(rows=1)]
        (('speed', '部品'), [1, 1])
    """
    path = as_path(path)
    _check_file(path)
    with _reading(path):
        extension = Path(path.name.lower().removesuffix(".gz")).suffix
        if extension in SEPARATORS:
            text = open_text(path, encoding, separator, SEPARATORS[extension], types or {}, missing)
            names = _chosen(path, text.names, columns)
            return TableFile(path, names, None, False, None, partial(text.batches, names), partial(text.read, names))
        if path.suffix.lower() in PARQUET:
            return _open_parquet(path, columns)
        source: ArrayFile | None
        match path.suffix.lower():
            case ".npy":
                source = open_npy(path)
            case ".npz":
                source = open_npz(path, array)
            case _:
                source = open_idx(path)
    if source and columns is not None:
        raise ParameterError(f"columns: {path} holds an array, whose columns have no names; leave it out.")
    if source:
        return TableFile(path, None, source.shape[1:], source.idx, source.shape[0], source.batches, source.read)
    hint = " Save the sheet as CSV (UTF-8) first." if extension in (".xlsx", ".xls", ".ods") else ""
    raise FileFormatError(f"{path}: not a format that omokage reads. It reads {FORMATS}.{hint}")


def write_table(path: str | os.PathLike[str], content: Columns | Iterable[Columns]) -> Path:
    """Write a table as CSV, TSV or Parquet by the extension, beside its place, then renamed into it.

    Args:
        path: Where to; a file that is there is replaced when the new one is whole and on disk.
        content: A frame, a mapping of column names to equally long values, or an iterable of such pieces with
            the same columns, which is written at flat memory. Text is UTF-8.

    Returns:
        The path.

    Raises:
        ParameterError: If the extension is none of .csv, .tsv, .txt, .parquet, .pq.
        DataError: If the content is not a table, or a column cannot be written in that format.
        FileFormatError: If the file cannot be written there.
    """
    path = as_path(path)
    extension = path.suffix.lower()
    if extension not in SEPARATORS and extension not in PARQUET:
        raise ParameterError(f"path: {path} cannot be written; end it in .csv, .tsv or .parquet.")
    if not path.parent.is_dir():
        raise FileFormatError(f"{path}: the folder {path.parent} does not exist. Make it first.")
    target = path.resolve()  # through a link, so that the link stays one
    folder = target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    part = folder / target.name
    frames = _frames(content)
    try:
        folder.mkdir()
        with part.open("xb") as file:
            if extension in PARQUET:
                _write_parquet(part, frames)
            else:
                for number, frame in enumerate(frames):
                    text = frame.write_csv(include_header=number == 0, separator=SEPARATORS[extension])
                    file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
        _sync_folder(target.parent)
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be written ({error.strerror or error}).") from None
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{path}: these columns cannot be written as {extension}: {_first_line(error)}") from None
    finally:
        _remove(folder)
    return path


def _remove(folder: Path) -> None:
    """Remove a folder in which a thread of Polars may yet make a file, after an error has ended the writing."""
    for _ in range(100):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.02)


def _frames(content: Columns | Iterable[Columns]) -> Iterator[pl.DataFrame]:
    schema = None
    for piece in [content] if isinstance(content, pl.DataFrame | Mapping) else content:
        try:
            frame = piece if isinstance(piece, pl.DataFrame) else pl.DataFrame(piece)
        except (pl.exceptions.PolarsError, TypeError, ValueError) as error:
            raise DataError(f"These columns do not make a table: {_first_line(error)}") from None
        schema = schema or frame.schema
        if frame.schema != schema:
            raise DataError(f"The pieces of a table differ: the first has {schema}, a later one {frame.schema}.")
        yield frame
    if schema is None:
        raise DataError("There is nothing to write: expected a frame, or at least one piece of a table.")


def _write_parquet(path: Path, frames: Iterator[pl.DataFrame]) -> None:
    first = next(frames)
    failures: list[BaseException] = []

    def source(names: Any, predicate: Any, n_rows: Any, size: Any) -> Iterator[pl.DataFrame]:
        try:
            yield first
            yield from frames
        except (Exception, KeyboardInterrupt) as error:  # Polars would wrap it in an error of its own
            failures.append(error)
            raise

    try:
        register_io_source(source, schema=first.schema).sink_parquet(path)
    except pl.exceptions.PolarsError as error:
        raise (failures[0] if failures else error) from None


# ---------------------------------------------------------------------------------------------- any file


def _check_file(path: Path) -> None:
    if path.is_file():
        if path.stat().st_size == 0:
            raise FileFormatError(f"{path}: the file is empty. Write or copy it again.")
        return
    if path.is_dir():
        raise FileFormatError(f"{path}: a folder, where a file of rows is expected: {FORMATS}.")
    if path.exists():
        raise FileFormatError(f"{path}: not a regular file. Write its content to a file first.")
    if not path.parent.is_dir():
        raise FileFormatError(f"{path}: there is no such file, and no folder {path.parent}.")
    near = suggest(path.name, [entry.name for entry in path.parent.iterdir()])
    raise FileFormatError(f"{path}: there is no such file in {path.parent.resolve()}.{near}")


# A damaged zip file may ask for unpacking methods that do not exist.
_DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile, NotImplementedError, struct.error)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGED as error:
        raise FileFormatError(
            f"{path}: its packed content is damaged or cut short ({_first_line(error)}). Get the file again."
        ) from None
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be read ({error.strerror or error}).") from None


def _chosen(path: Path, names: Sequence[str], columns: Sequence[str] | None) -> tuple[str, ...]:
    if columns is None:
        return tuple(names)
    if isinstance(columns, str) or len(set(columns)) < len(columns) or not columns:
        raise ParameterError(f"columns: expected a list of different names, got {columns!r}.")
    if absent := [name for name in columns if name not in names]:
        hints = "".join(suggest(name, names) for name in absent[:5])
        raise ParameterError(
            f"columns: {path} has no {listing(absent, len(absent))}.{hints} It has {listing(names, 20)}."
        )
    return tuple(columns)


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":
        return  # folders cannot be opened there
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# ---------------------------------------------------------------------------------------------- Parquet


def _open_parquet(path: Path, columns: Sequence[str] | None) -> TableFile:
    with path.open("rb") as file:
        head = file.read(4)
        file.seek(-min(4, path.stat().st_size), os.SEEK_END)
        tail = file.read(4)
    if head == b"PARE" or tail == b"PARE":
        raise FileFormatError(f"{path}: an encrypted Parquet file. Write it again without encryption.")
    if head != b"PAR1" or tail != b"PAR1":
        what = "does not end as Parquet does, so it was cut short" if head == b"PAR1" else "is not Parquet"
        raise FileFormatError(f"{path}: the file {what}. Write or copy it again.")
    with _parquet_errors(path):
        scan = pl.scan_parquet(path.resolve(), glob=False, hive_partitioning=False)
        every = scan.collect_schema()
        rows = int(scan.select(pl.len()).collect().item())
    names = _chosen(path, list(every), columns)
    if rows == 0:
        raise FileFormatError(f"{path}: has the columns {listing(every)} and no rows.")

    def read() -> Batch:
        with _parquet_errors(path):
            return scan.select(names).collect()

    return TableFile(
        path, names, None, False, rows, partial(_parquet_batches, path, scan, names, len(every), rows), read
    )


def _parquet_batches(
    path: Path, scan: pl.LazyFrame, names: Sequence[str], width: int, total: int, rows: int
) -> Iterator[pl.DataFrame]:
    """Yield frames of `rows` rows at flat memory, even where the whole file is one row group.

    Polars loads the packed row group of all columns that are asked for. So that this stays small, columns are
    asked for a few at a time: as many as would take `_FRAME` bytes if the file were a single row group.
    """
    together = max(1, _FRAME * width // path.stat().st_size)
    groups = [names[start : start + together] for start in range(0, len(names), together)]
    start, step = 0, rows
    while start < total:
        with _parquet_errors(path):
            parts = [scan.select(group).slice(start, step).collect() for group in groups]
        frame = pl.concat(parts, how="horizontal")
        if frame.height != min(step, total - start):
            raise FileFormatError(f"{path}: holds fewer rows than its footer states, {total}. Write it again.")
        start += step
        step = max(1, _FRAME * frame.height // max(1, int(frame.estimated_size())) // rows) * rows
        for place in range(0, frame.height, rows):
            yield frame[place : place + rows]
        del parts, frame  # before the next ones are read


@contextmanager
def _parquet_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise FileFormatError(
            f"{path}: damaged, or not Parquet as specified ({_first_line(error)}). Write or copy it again."
        ) from None

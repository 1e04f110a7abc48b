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
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
from numpy.typing import NDArray

from omokage.errors import FileFormatError, ParameterError, listing, suggest
from omokage.files.arrays import ArrayFile, open_idx, open_npy, open_npz
from omokage.files.delimited import open_text
from omokage.files.formats import FORMATS, MISSING, PARQUET, SEPARATORS, first_line
from omokage.files.parquet import open_parquet

Batch = pl.DataFrame | NDArray[Any]
Types = Mapping[str, Any]  # column name to Polars type


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
        >>> from omokage.files.writing import write_table
        >>> path = write_table(tempfile.mkdtemp() + "/parts.csv", {"speed": [1.5, 2.5], "部品": ["a", "b"]})
        >>> table = open_table(path)
        >>> table.names, [batch.height for batch in table.batches(rows=1)]
        (('speed', '部品'), [1, 1])
    """
    path = Path(path)
    _check_file(path)
    with _reading(path):
        extension = Path(path.name.lower().removesuffix(".gz")).suffix
        if extension in SEPARATORS:
            text = open_text(path, encoding, separator, SEPARATORS[extension], types or {}, missing)
            names = _chosen(path, text.names, columns)
            return TableFile(path, names, None, False, None, partial(text.batches, names), partial(text.read, names))
        if path.suffix.lower() in PARQUET:
            parquet = open_parquet(path)
            names = _chosen(path, parquet.names, columns)
            batches, read = partial(parquet.batches, names), partial(parquet.read, names)
            return TableFile(path, names, None, False, parquet.rows, batches, read)
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
            f"{path}: its packed content is damaged or cut short ({first_line(error)}). Get the file again."
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

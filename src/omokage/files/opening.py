"""Files of rows: opened first, then read whole or in batches, always in the order of the file.

| format | extensions | a batch is |
|---|---|---|
| delimited text | .csv, .txt, .dat, .data, .asc (comma), .tsv, .tab (tab) | a Polars frame |
| Excel and OpenDocument | .xlsx, .xlsm, .xls, .ods (with `omokage[excel]`) | a Polars frame |
| Parquet | .parquet, .pq | a Polars frame |
| Arrow IPC, Feather | .arrow, .feather, .ipc | a Polars frame |
| NumPy | .npy, .npz | an array (rows, ...) |
| IDX | train-images-idx3-ubyte and the like | an array (rows, features) |

What a file is, and with what it is packed, is told by its first bytes; the name decides for text only, which has no
mark of its own. Text that is named as an array or as Parquet is text all the same. What is held of a file at once is
bounded, whatever its size, packed or not. Nothing is mapped into memory, since mapped pages count as the process's own,
and nothing is unpickled, since that can run code.

Rules for text. The types are those that fit the *whole* file: whole numbers, numbers, true/false, else text;
a column without any value is text. Spaces around a number do not count, and the cells in `MISSING` are
missing. Columns of keys and labels (`Options.text`) stand as they are. A first line of numbers only is data, and the
columns are then `column_1`, `column_2`...; but 0, 1, 2... (three cells or more) is a header, because pandas writes that
over an array. Blank lines are passed over, unless there is one column. Rows at the end that hold nothing but separators
are left out, and so are columns that have neither a name nor a value (`Options.empty`). Names that come more than once
get a number. A sign of percent or currency that all numbers of a column have is left out. Cells of text in a sheet of
Excel follow the same rules; a sheet is held as a whole.

What is not told in `Options` is found, where there is no doubt: the separator, the encoding, the marks in numbers,
whether the first line is a header, titles above it, units below it, and a first column that is an index.
`TableFile.notes` says what was found.
"""

import os
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import polars as pl
from numpy.typing import NDArray

from omokage.errors import FileFormatError, ParameterError, listing, suggest
from omokage.files.arrays import ArrayFile, open_idx, open_npy, open_npz
from omokage.files.arrow import MAGIC, open_arrow
from omokage.files.contents import DAMAGED, Content, check_known, content_of
from omokage.files.delimited import open_text
from omokage.files.formats import FORMATS, PARQUET, TEXT, first_line
from omokage.files.numbers import Notation
from omokage.files.options import Options
from omokage.files.parquet import ColumnFile, open_parquet
from omokage.files.workbooks import open_workbook
from omokage.paths import as_path

Batch = pl.DataFrame | NDArray[Any]
Types = Mapping[str, Any]  # column name to Polars type

_MOST_ENTRIES = 2**24  # of a batch


@dataclass(frozen=True)
class TableFile:
    """A file of rows, opened but not loaded.

    Attributes:
        path: The file.
        names: Column names; `None` for arrays, which have none.
        row_shape: The shape of one row of an array, as the file states it; `None` for tables. IDX pictures
            come flattened, (rows, height * width), and this is (height, width).
        flattened: Whether rows come flattened.
        options: How it is read, as asked for.
    """

    path: Path
    names: tuple[str, ...] | None
    row_shape: tuple[int, ...] | None
    flattened: bool
    options: Options
    _rows: int | None = field(repr=False)
    _batches: Callable[[int], Iterator[Batch]] = field(repr=False)
    _read: Callable[[], Batch] = field(repr=False)
    _fits: Callable[[int], bool] = field(repr=False)
    _notes: Callable[[], tuple[str, ...]] = field(repr=False)
    _notation: Callable[[], Notation] | None = field(default=None, repr=False)  # of text

    @property
    def notes(self) -> tuple[str, ...]:
        """What was found in the file and not asked for, a line each; to know it, text is read through once.

        Raises:
            FileFormatError: If the file proves to be damaged on the way.
        """
        with _reading(self.path):
            return self._notes()

    @property
    def notation(self) -> Notation:
        """How its numbers are written; raises what `notes` and `batches` raise."""
        with _reading(self.path):
            return self.options.asked if self._notation is None else self._notation()

    @property
    def found(self) -> Options:
        """How to read files like this one: as asked for, and numbers as they were found here."""
        notation = self.notation
        marks = None if notation == self.options.asked else (notation.decimal, notation.thousands)
        return replace(self.options, notation=marks)

    def rows(self) -> int | None:
        """Return the number of rows where the file states it, else `None` (text)."""
        return self._rows

    def fits(self, limit: int) -> bool:
        """Say whether all rows take no more than `limit` bytes: as text, unpacked; else as numbers of 8 bytes.

        What is packed is unpacked as far as it must be, so a small file that holds much is found out.

        Raises:
            FileFormatError: If the file proves to be damaged on the way.
        """
        with _reading(self.path):
            return self._fits(limit)

    def batches(self, rows: int = 65_536) -> Iterator[Batch]:
        """Yield all rows in the order of the file, `rows` at a time; the last batch may be shorter.

        Where rows are so wide that this would be more than 16 million entries, batches have fewer rows.

        Raises:
            FileFormatError: If the file proves to be damaged on the way.
            DataError: If a cell does not have the type that `types` asked for, or numbers are written in a way that
                can be read as two.
        """
        if rows < 1:
            raise ParameterError(f"rows: expected 1 or more rows a batch, got {rows}.")
        width = len(self.names) if self.names is not None else prod(self.row_shape or ())
        return self._guarded(min(rows, max(1, _MOST_ENTRIES // max(1, width))))

    def read(self) -> Batch:
        """Return all rows; raises what `batches` raises."""
        with _reading(self.path):
            return self._read()

    def _guarded(self, rows: int) -> Iterator[Batch]:
        with _reading(self.path):
            yield from self._batches(rows)


def open_table(
    path: str | os.PathLike[str],
    options: Options | None = None,
    *,
    columns: Sequence[str] | None = None,
    types: Types | None = None,
) -> TableFile:
    """Open a file of rows and check what can be checked without reading all of it.

    Args:
        path: The file; the module's table lists the formats.
        options: How to read it; `None`: as found.
        columns: The columns to take, in this order; all when `None`, but for an index.
        types: Polars types of columns of text that are known beforehand, such as those of a fitted model; the
            others get the type that fits the whole file. Names that the file does not have are passed over.

    Raises:
        FileFormatError: If the file is missing, empty, damaged, or not of a format that is read here.
        ParameterError: If a column or array is not one that can be had.

    Example:
        >>> import tempfile
        >>> from omokage.files.writing import write_table
        >>> path = write_table(tempfile.mkdtemp() + "/parts.csv", {"speed": [1.5, 2.5], "部品": ["a", "b"]})
        >>> table = open_table(path)
        >>> table.names, [batch.height for batch in table.batches(rows=1)]
        (('speed', '部品'), [1, 1])
    """
    path, options = as_path(path), options or Options()
    with _reading(path):
        _check_file(path)
        content = content_of(path)
        check_known(content)
        if content.workbook:
            return _sheet_table(content, columns, types or {}, options)
        if content.packing is None and content.head.startswith(MAGIC):
            return _column_table(open_arrow(path, options, columns), columns, options)
        array = _open_array(content, options)
        if array is not None:
            return _array_table(array, content, columns, options)
        extension = Path(content.name).suffix
        if (extension in TEXT and not content.head.startswith(b"PAR1")) or content.renamed:
            return _text_table(content, TEXT.get(extension, ","), columns, types or {}, options)
        if content.packing is None and (extension in PARQUET or content.head.startswith(b"PAR1")):
            return _column_table(open_parquet(path, options, columns), columns, options)
    what = f" (with {content.packing} unpacked, {content.name})" if content.packing else ""
    raise FileFormatError(f"{path}: not a format that omokage reads{what}. It reads {FORMATS}.")


def read(path: str | os.PathLike[str], *, columns: Sequence[str] | None = None, **options: Any) -> TableFile:
    """Open a file of rows with options, to be passed as X wherever a path is.

    Args:
        path: The file.
        columns: The columns to take, in this order; all when `None`, but for an index.
        options: Those of `omokage.files.options.Options`: separator, decimal, thousands, encoding, header, units, skip,
            sheet, array, missing, index, empty, text.

    Raises:
        FileFormatError: If the file is missing, empty, damaged, or not of a format that is read here.
        ParameterError: If a column, an array or an option is not one that can be had.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp(), "parts.csv")
        >>> _ = path.write_text("speed;part\\n1,5;007\\n2,5;008\\n")
        >>> read(path, separator=";", decimal=",", text=["part"]).read().rows()
        [(1.5, '007'), (2.5, '008')]
    """
    unknown = [name for name in options if name not in Options.__dataclass_fields__]
    if unknown:
        hints = "".join(suggest(name, Options.__dataclass_fields__) for name in unknown)
        raise ParameterError(
            f"read: no option {listing(unknown)}.{hints} There are {listing(Options.__dataclass_fields__, 20)}."
        )
    return open_table(path, Options(**options), columns=columns)


def _open_array(content: Content, options: Options) -> ArrayFile | None:
    """Return the array that a file holds, told by its first bytes; `None` if it is no array, nor named as one."""
    if content.head.startswith(b"\x93NUMPY"):
        return open_npy(content)
    if content.packing is None and content.head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return open_npz(content.path, options.array)
    if content.renamed or (content.packing is None and content.head.startswith(b"PAR1")):
        return None
    extension, array = Path(content.name).suffix, open_idx(content)
    if array is None and extension == ".npy":  # and damaged; these say how
        return open_npy(content)
    if array is None and extension == ".npz" and content.packing is None:
        return open_npz(content.path, options.array)
    return array


def _array_table(source: ArrayFile, content: Content, columns: Sequence[str] | None, options: Options) -> TableFile:
    if columns is not None:
        raise ParameterError(f"columns: {source.path} holds an array, whose columns have no names; leave it out.")
    shape = source.shape

    def fits(limit: int) -> bool:
        return prod(shape) * 8 <= limit

    return TableFile(
        source.path, None, shape[1:], source.idx, options, shape[0], source.batches, source.read, fits,
        lambda: content.notes,
    )  # fmt: skip


def _column_table(file: ColumnFile, columns: Sequence[str] | None, options: Options) -> TableFile:
    names = _chosen(file.path, file.names, columns)
    batches, reading = partial(file.batches, names), partial(file.read, names)
    return TableFile(
        file.path, names, None, False, options, file.rows, batches, reading,
        lambda limit: file.rows * len(names) * 8 <= limit, lambda: file.notes,
    )  # fmt: skip


def _sheet_table(content: Content, columns: Sequence[str] | None, types: Types, options: Options) -> TableFile:
    sheet = open_workbook(content, options, types, columns)
    names = _chosen(content.path, sheet.names, columns)
    batches, reading = partial(sheet.batches, names), partial(sheet.read, names)
    return TableFile(
        content.path, names, None, False, options, sheet.rows, batches, reading,
        lambda limit: sheet.rows * len(names) * 8 <= limit, lambda: sheet.notes, lambda: sheet.notation,
    )  # fmt: skip


def _text_table(
    content: Content, usual: str, columns: Sequence[str] | None, types: Types, options: Options
) -> TableFile:
    text = open_text(content, usual, options, types, columns)
    names = _chosen(content.path, text.names, columns)
    batches, reading = partial(text.batches, names), partial(text.read, names)
    return TableFile(
        content.path, names, None, False, options, None, batches, reading, content.fits,
        lambda: (*content.notes, *text.notes), lambda: text.notation,
    )  # fmt: skip


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


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (*DAMAGED, struct.error) as error:
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

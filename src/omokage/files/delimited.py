"""Delimited text (CSV, TSV) at flat memory: records to cells of text, and these to columns with types.

The file is read twice in blocks: once to find the types that fit all of it, once for the rows. Every cell
comes as text and is converted here, so that both passes follow the same rules (`omokage.files.opening` states
them), and a cell that does not fit can be named by its line.
"""

import bisect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from omokage.errors import FileFormatError, listing, shown
from omokage.files.contents import Content
from omokage.files.conversion import Block, Conversion
from omokage.files.dialect import Dialect, dialect_of
from omokage.files.encodings import encoding_of
from omokage.files.formats import ERRORS
from omokage.files.indexes import are_keys
from omokage.files.numbers import Notation
from omokage.files.options import Options
from omokage.files.records import layout, line_of, records

_HEAD = 2**16  # bytes by which the layout is told, and more where they come together
_NULLS = 65_536  # rows without any value that are handed on at once


def open_text(
    content: Content, usual: str, options: Options, types: Mapping[str, Any], columns: Sequence[str] | None
) -> "TextFile":
    """Read the header and the first block of delimited text.

    Args:
        content: The file and what is packed in it.
        usual: The separator that goes with the file's name.
        options, types, columns: As in `omokage.files.opening.open_table`.

    Raises:
        FileFormatError: If the first block cannot be read as a table, or there are no rows.
    """
    notes: tuple[str, ...] = ()
    encoding = options.encoding
    if encoding is None:
        encoding, notes = encoding_of(content)
    head = b""
    for block in records(content, encoding):
        head += block
        if len(head) >= _HEAD:
            break
    dialect = dialect_of(content.path, head or b"\n", usual, options)
    keys = {*options.text, *options.kept}
    if twice := sorted(keys & {*dialect.renamed.values()}):
        raise FileFormatError(
            f"{content.path}: the column name {listing(twice)} comes more than once, so it cannot be told which one is "
            "meant. Rename the columns."
        )
    text = TextFile(content, encoding, dialect, options, types, dialect.names, notes + dialect.notes)
    return text.narrowed({*keys, *(columns or ())})


@dataclass(frozen=True)
class TextFile:
    """Delimited text whose header is known.

    Attributes:
        content: The file and what is packed in it.
        encoding, dialect: How it is written.
        options, types: As asked for.
        names: The columns, without an index and empty ones that are left out.
        opening_notes: What was found when it was opened, a line each.
        empty: Columns without a name that are left out since they hold no value; a value in one is an error.
    """

    content: Content
    encoding: str
    dialect: Dialect
    options: Options
    types: Mapping[str, Any]
    names: tuple[str, ...]
    opening_notes: tuple[str, ...]

    empty: tuple[str, ...] = ()
    _seen: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)  # by a pass through all rows

    def narrowed(self, asked: set[str]) -> "TextFile":
        """Return the file without columns that hold nothing and those that are an index, but for those asked for."""
        _, _, cells = next(self._frames())
        return self._without_empty(asked, cells)._without_index(asked, cells)

    def _without_empty(self, asked: set[str], cells: pl.DataFrame) -> "TextFile":
        """Return the file without columns that have neither a name nor a value."""
        padding = self.dialect.names[len(self.dialect.names) - self.dialect.padding :]
        empty = [
            name
            for name in self.dialect.blank
            if name in padding or (self.options.empty == "auto" and name not in asked and not _holds_any(cells[name]))
        ]
        names = tuple(name for name in self.names if name not in empty)
        if not empty or not names:
            return self
        what = f"{len(empty)} columns" if len(empty) > 1 else "one column"
        note = f"{self.content.path}: {what} without a name and without any value, left out ({listing(empty)})."
        otherwise = "" if len(padding) == len(empty) else " empty='keep' (--empty keep) says otherwise."
        return replace(self, names=names, empty=tuple(empty), opening_notes=(*self.opening_notes, note + otherwise))

    def _without_index(self, asked: set[str], cells: pl.DataFrame) -> "TextFile":
        """Return the file without the nameless columns at its beginning that are an index, but for those asked for."""
        first = [name for name in self.dialect.names[: self.dialect.nameless] if name not in self.empty]
        leading = [name for name in first if name not in asked]
        if not leading or self.options.index == "keep":
            return self._called_by_place()
        one = "the first column, which has no name, is"
        place = one if len(leading) == 1 else f"the first {len(leading)} columns, which have no names, are"
        if self.options.index == "auto" and not are_keys([cells[name] for name in leading]):
            note = f"{self.content.path}: {place} read as data. For an index pass index='drop' (--index drop)."
            return replace(self, opening_notes=(*self.opening_notes, note))._called_by_place()
        names = tuple(name for name in self.names if name not in leading)
        if not names:
            return self
        note = f"{place} taken for row numbers, and left out. Pass index='keep' (--index keep) otherwise."
        notes = (*self.opening_notes, f"{self.content.path}: {note}")
        return replace(self, names=names, opening_notes=notes)._called_by_place()

    def _called_by_place(self) -> "TextFile":
        """Return the file with a note on columns without a name behind the first ones."""
        later = self.dialect.names[self.dialect.nameless :]
        called = [name for name in self.dialect.blank if name in later and name in self.names]
        if not called:
            return self
        note = f"{self.content.path}: columns without a name are called by their place: {listing(called)}."
        return replace(self, opening_notes=(*self.opening_notes, note))

    @property
    def notes(self) -> tuple[str, ...]:
        """What was found in the file, a line each; reads all of it, to know how its numbers are written."""
        notes = self.conversion.notes
        if "rows" not in self._seen:
            for _ in self._frames():
                pass
        later = []
        if errors := self._seen["errors"] & set(self.options.missing):
            later.append(f"the cells {listing(sorted(errors))} are errors of a spreadsheet, and count as missing.")
        if count := self._seen["rows"]:
            what = (
                "the last row has no value, and is" if count == 1 else f"the last {count} rows have no values, and are"
            )
            later.append(f"{what} left out; empty='keep' (--empty keep) says otherwise.")
        return (*self.opening_notes, *notes, *(f"{self.content.path}: {note}" for note in later))

    @property
    def notation(self) -> Notation:
        """How its numbers are written."""
        return self.conversion.reading.notation

    @cached_property
    def conversion(self) -> Conversion:
        """The cells, and how they become columns with types."""
        comma = self.dialect.separator == ";"  # which is there to leave the comma to decimals
        return Conversion(self.content.path, self.names, self._blocks, self.options, self.types, comma)

    def batches(self, names: Sequence[str], rows: int) -> Iterator[pl.DataFrame]:
        """Yield frames of `rows` rows with these columns."""
        pending: list[pl.DataFrame] = []
        held = 0
        for frame in self.frames(names):
            pending.append(frame)
            held += frame.height
            if held >= rows:
                joined = pl.concat(pending)
                whole = held - held % rows
                for start in range(0, whole, rows):
                    yield joined[start : start + rows]
                pending, held = [joined[whole:]], held - whole
        if held:
            yield pl.concat(pending)

    def read(self, names: Sequence[str]) -> pl.DataFrame:
        """Return all rows."""
        return pl.concat(self.frames(names))

    def frames(self, names: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Yield frames with these columns, of as many rows as a block holds.

        Raises:
            FileFormatError: If the text does not decode, or a line has more or fewer cells than the first.
            DataError: If a cell does not have the type that was asked for.
        """
        for block in self._blocks():
            yield self.conversion.convert(block, names)

    def _blocks(self) -> Iterator[Block]:
        for body, line, cells in self._frames():
            yield Block(cells, partial(self._where, body, line))

    def _where(self, body: bytes, line: int, row: int) -> str:
        """Return what messages call a row of some records."""
        ends, filled = self._checked(body, line)
        return f"line {line_of(body, ends, int(np.flatnonzero(filled)[row]), line)}"

    def _frames(self) -> Iterator[tuple[bytes, int, pl.DataFrame]]:
        """Yield the records of each block as they stand, the line of the first, and their cells as text.

        Rows without any value are held back until one with a value follows; those at the end are not given.
        """
        held, any_rows = 0, False
        errors: set[str] = set()
        for body, line, cells in self._every_frame():
            errors |= {error for error in ERRORS if error.encode() in body} if b"#" in body else set()
            kept = cells.height - self._empty_at_end(cells)
            if kept == 0:
                held += cells.height
                continue
            for start in range(0, held, _NULLS):
                yield b"", line, cells.clear(min(_NULLS, held - start))
            held, any_rows = cells.height - kept, True
            yield body, line, cells[:kept]
        if not any_rows:
            rows = "rows" if not held else "rows with a value"
            raise FileFormatError(f"{self.content.path}: has a header ({listing(self.dialect.names)}) and no {rows}.")
        self._seen.update(rows=held, errors=errors)

    def _empty_at_end(self, cells: pl.DataFrame) -> int:
        """Return how many of the last rows hold nothing at all, in a table of several columns."""
        if self.options.empty == "keep" or cells.width == 1 or any(value is not None for value in cells.row(-1)):
            return 0
        filled = pl.select(pl.any_horizontal(column.is_not_null() for column in cells.get_columns())).to_series()
        places = filled.arg_true()
        return cells.height - 1 - int(places[-1]) if len(places) else cells.height

    def _every_frame(self) -> Iterator[tuple[bytes, int, pl.DataFrame]]:
        """Yield what `_frames` does, with rows that hold nothing."""
        line, skip = 1, self.dialect.skip
        for block in records(self.content, self.encoding, self.dialect.separator):
            line += block[:skip].count(b"\n")
            body, skip = block[skip:], max(0, skip - len(block))
            cells = self._cells(body, line)
            self._check_empty(body, line, cells)
            if cells.height:
                yield body, line, cells
            line += body.count(b"\n")

    def _check_empty(self, body: bytes, line: int, cells: pl.DataFrame) -> None:
        """Check that columns hold nothing that are left out for that."""
        for name in self.empty:
            if _holds_any(cells[name]):
                row = int((cells[name].str.strip_chars() != "").fill_null(False).arg_true()[0])
                place = self.dialect.names.index(name) + 1
                raise FileFormatError(
                    f"{self.content.path}, {self._where(body, line, row)}: cell {place} is {shown(cells[name][row])}, "
                    f"in a column that has no name and was empty before, or beyond the {len(self.names)} columns with "
                    "a name. Give the column a name, or put quotation marks around a cell that holds "
                    f"{self.dialect.separator!r}."
                )

    def _cells(self, body: bytes, line: int) -> pl.DataFrame:
        """Return whole records as cells of text; blank lines are rows in a single column, else nothing."""
        width, lines = len(self.dialect.names), body.count(b"\n")
        try:
            # Lines too long beside lines too short have the right sum too; Polars refuses the long ones.
            if b'"' not in body and body.count(self.dialect.separator.encode()) == lines * (width - 1):
                return self._parsed(body, lines)
            ends, filled = self._checked(body, line)
            if not filled.all():
                keep = np.ones(len(body), bool)
                keep[ends[~filled]] = False
                return self._parsed(np.frombuffer(body, np.uint8)[keep].tobytes(), int(filled.sum()))
            return self._parsed(body, len(ends))
        except pl.exceptions.PolarsError:
            ends, _ = self._checked(body, line)
            first = bisect.bisect_left(ends, True, key=lambda end: not self._parses(body[: end + 1]))
            raise FileFormatError(
                f"{self.content.path}, line {line_of(body, ends, first, line)}: cannot be split into cells. A "
                "quotation mark has to open and to close its cell, with nothing beside it; one within a cell "
                'is doubled, as in "5"" pipe".'
            ) from None

    def _parsed(self, body: bytes, rows: int) -> pl.DataFrame:
        schema = dict.fromkeys(self.dialect.names, pl.String)
        if rows == 0:
            return pl.DataFrame(schema=schema)
        frame = pl.read_csv(body, has_header=False, separator=self.dialect.separator, schema=schema)
        if frame.height != rows:
            raise pl.exceptions.ComputeError("other rows than there are records")
        return frame

    def _parses(self, body: bytes) -> bool:
        ends, _ = layout(body, self.dialect.separator)
        try:
            self._parsed(body, len(ends))
        except pl.exceptions.PolarsError:
            return False
        return True

    def _checked(self, body: bytes, line: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return where records end and which are rows; all rows have as many cells as the header."""
        width = len(self.dialect.names)
        ends, cells = layout(body, self.dialect.separator)
        filled = (np.diff(ends, prepend=-1) > 1) | (width == 1)
        wrong = np.flatnonzero((cells != width) & filled)
        if len(wrong):
            first = int(wrong[0])
            at, after = (line_of(body, ends, record, line) for record in (first, first + 1))
            several = f" over {after - at} lines, so a quotation mark may be left open,"
            quote = several if after > at + 1 else ""
            more = f" {len(wrong) - 1} more lines near it are like that." if len(wrong) > 1 else ""
            raise FileFormatError(
                f"{self.content.path}, line {at}: {cells[first]} cells{quote} where the first line has {width}. "
                f"Correct it, or put quotation marks around a cell that holds {self.dialect.separator!r}.{more}"
            )
        return ends, filled


def _holds_any(cells: pl.Series) -> bool:
    """Return whether any cell has more than spaces."""
    return bool((cells.drop_nulls().str.strip_chars() != "").any())

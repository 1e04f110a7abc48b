"""Delimited text (CSV, TSV) at flat memory: records to cells of text, and these to columns with types.

The file is read twice in blocks: once to find the types that fit all of it, once for the rows. Every cell
comes as text and is converted here, so that both passes follow the same rules (`omokage.files.opening` states
them), and a cell that does not fit can be named by its line.
"""

import bisect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NoReturn

import numpy as np
import polars as pl
from numpy.typing import NDArray

from omokage.errors import DataError, FileFormatError, listing
from omokage.files.contents import Content
from omokage.files.dialect import Dialect, dialect_of
from omokage.files.encodings import encoding_of
from omokage.files.indexes import are_keys
from omokage.files.numbers import Evidence, Notation, possible
from omokage.files.options import Options
from omokage.files.records import layout, line_of, records

_HEAD = 2**16  # bytes by which the layout is told, and more where they come together
_GUESSES = (pl.Int64, pl.Float64, pl.Boolean)
_AFTER: dict[Any, tuple[Any, ...]] = {  # what a column may be, after what its values were so far
    None: _GUESSES,
    pl.Int64: (pl.Int64, pl.Float64),
    pl.Float64: (pl.Float64,),
    pl.Boolean: (pl.Boolean,),
}
_CALLED: dict[Any, str] = {
    pl.Boolean: "true or false",
    pl.Float64: "a number",
    pl.Float32: "a number",
    pl.Int64: "a whole number",
}


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
    text = TextFile(content, encoding, dialect, options, types, dialect.names, notes + dialect.notes)
    return text.without_index({*options.text, *(columns or ())})


@dataclass(frozen=True)
class _Reading:
    """How the cells of a file are read, which all of it tells: its numbers, its columns, and what to say of them."""

    notation: Notation
    types: dict[str, Any]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class TextFile:
    """Delimited text whose header is known.

    Attributes:
        content: The file and what is packed in it.
        encoding, dialect: How it is written.
        options, types: As asked for.
        names: The columns, without an index that is left out.
        opening_notes: What was found when it was opened, a line each.
    """

    content: Content
    encoding: str
    dialect: Dialect
    options: Options
    types: Mapping[str, Any]
    names: tuple[str, ...]
    opening_notes: tuple[str, ...]

    def without_index(self, asked: set[str]) -> "TextFile":
        """Return the file without the nameless columns at its beginning that are an index, but for those asked for."""
        first = self.dialect.names[: self.dialect.nameless]
        _, _, cells = next(self._frames())
        leading = [name for name in first if name not in asked]
        if not leading or self.options.index == "keep":
            return self
        one = "the first column, which has no name, is"
        place = one if len(leading) == 1 else f"the first {len(leading)} columns, which have no names, are"
        if self.options.index == "auto" and not are_keys([cells[name] for name in leading]):
            note = f"{self.content.path}: {place} read as data. For an index pass index='drop' (--index drop)."
            return replace(self, opening_notes=(*self.opening_notes, note))
        names = tuple(name for name in self.names if name not in leading)
        if not names:
            return self
        note = f"{place} taken for row numbers, and left out. Pass index='keep' (--index keep) otherwise."
        return replace(self, names=names, opening_notes=(*self.opening_notes, f"{self.content.path}: {note}"))

    @property
    def notes(self) -> tuple[str, ...]:
        """What was found in the file, a line each; reads all of it, to know how its numbers are written."""
        return (*self.opening_notes, *(f"{self.content.path}: {note}" for note in self._reading.notes))

    @property
    def notation(self) -> Notation:
        """How its numbers are written."""
        return self._reading.notation

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
        notation, found = self._reading.notation, self._reading.types
        types = {name: found[name] for name in names if name in found and name not in self.options.kept}
        kinds = list(dict.fromkeys(types.values()))
        for body, line, cells in self._frames():
            columns: dict[str, pl.Series] = {name: cells[name] for name in names if name not in types}
            for kind in kinds:
                alike = [name for name in names if types.get(name) == kind]
                text, values = self._converted(cells, alike, kind, notation)
                if values.null_count() != text.null_count():
                    self._misfit(cells, alike, kind, notation, body, line)
                columns |= {
                    name: values[place * cells.height : (place + 1) * cells.height].alias(name)
                    for place, name in enumerate(alike)
                }
            yield pl.DataFrame({name: columns[name] for name in names})

    @cached_property
    def _reading(self) -> _Reading:
        """How numbers are written, and the type of each column but for those that are text as it stands."""
        asked, before = self.options.asked, self.options.remembered
        types = self._types(asked)
        open_names = [name for name, kind in types.items() if name not in self.types and kind != pl.Int64]
        doubtful = (pl.String,) if before is None else (pl.String, pl.Float64)  # 3.001 was three thousand before
        if not any(types[name] in doubtful for name in open_names):
            return _Reading(asked, types)
        ways = possible(self.options.decimal, self.options.thousands)
        evidence = Evidence(ways)
        for _, _, cells in self._frames() if len(ways) > 1 else ():
            for name in open_names:
                text, missing = self._bare(cells[name])
                evidence.see(name, text.filter(~missing))
            if not any(evidence.fitting[name] and types[name] in doubtful for name in open_names):
                break  # columns of text, and no other ones
        found = evidence.found(before)
        comma = before is None or before.decimal == ","
        if len(found) == 2 and self.dialect.separator == ";" and comma:  # which is there to leave the comma to decimals
            found = tuple(one for one in found if one.decimal == ",")
        if len(found) > 1:
            raise DataError(
                f"{self.content.path}: {evidence.example()!r} may have a decimal mark or one between thousands, and no "
                "other cell tells. Say which: decimal=',' or decimal='.' (--decimal)."
            )
        notation = found[0] if found else before or asked
        if notation == asked and not (before and evidence.example()):
            return _Reading(asked, types)
        beside = "" if before is None else f", not as at the fit ({before.called()})"
        if notation == before:
            beside = ", as at the fit"
        note = f"its numbers are read with {notation.called()}{beside}; decimal= and thousands= say otherwise."
        return _Reading(notation, types if notation == asked else self._types(notation), (note,))

    def _types(self, notation: Notation) -> dict[str, Any]:
        """Return the type of each column: as given, else the first of `_GUESSES` that fits every value."""
        wanted = [name for name in self.names if name not in self.options.text]
        found: dict[str, Any] = {name: None for name in wanted if name not in self.types}
        for _, _, cells in self._frames() if found else ():
            open_names = [name for name, kind in found.items() if kind != pl.String]
            for kind in _GUESSES:
                alike = [name for name in open_names if kind in _AFTER[found[name]]]
                if not alike:
                    continue
                text, values = self._converted(cells, alike, kind, notation)
                filled = text.is_not_null().to_numpy().reshape(len(alike), -1)
                fits = (filled == values.is_not_null().to_numpy().reshape(filled.shape)).all(1)
                for place in np.flatnonzero(fits):
                    found[alike[place]] = kind if filled[place].any() else found[alike[place]]
                fitting = {alike[place] for place in np.flatnonzero(fits)}
                open_names = [name for name in open_names if name not in fitting]
            found |= dict.fromkeys(open_names, pl.String)
        return {name: self.types.get(name, found.get(name) or pl.String) for name in wanted}

    def _converted(
        self, cells: pl.DataFrame, names: Sequence[str], kind: Any, notation: Notation
    ) -> tuple[pl.Series, pl.Series]:
        """Return columns one under the other, as text and as `kind`; null in the second is not of that kind.

        One under the other, since a thousand columns would take thousands of expressions.
        """
        raw = pl.concat([cells[name] for name in names])
        bare, missing = self._bare(raw)
        text = pl.select(pl.when(~missing).then(raw if kind == pl.String else bare)).to_series()
        if kind == pl.Boolean:
            lower = text.str.to_lowercase()
            return text, pl.select(pl.when(lower.is_in(["true", "false"])).then(lower == "true")).to_series()
        return text, text if kind == pl.String else notation.plain(text).cast(kind, strict=False)

    def _bare(self, raw: pl.Series) -> tuple[pl.Series, pl.Series]:
        """Return cells without the spaces around them, and which of them are missing."""
        bare = raw.str.strip_chars()
        return bare, bare.is_in(self.options.missing)

    def _frames(self) -> Iterator[tuple[bytes, int, pl.DataFrame]]:
        """Yield the records of each block as they stand, the line of the first, and their cells as text."""
        line, skip, any_rows = 1, self.dialect.skip, False
        for block in records(self.content, self.encoding, self.dialect.separator):
            line += block[:skip].count(b"\n")
            body, skip = block[skip:], 0
            cells = self._cells(body, line)
            if cells.height:
                any_rows = True
                yield body, line, cells
            line += body.count(b"\n")
        if not any_rows:
            raise FileFormatError(f"{self.content.path}: has a header ({listing(self.dialect.names)}) and no rows.")

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

    def _misfit(
        self, cells: pl.DataFrame, names: Sequence[str], kind: Any, notation: Notation, body: bytes, line: int
    ) -> NoReturn:
        """Raise for the first cell that is not of the type it has to be."""
        text, values = self._converted(cells, names, kind, notation)
        wrong = (text.is_not_null() & values.is_null()).arg_true()
        column, row = divmod(int(wrong[0]), cells.height)
        ends, filled = self._checked(body, line)
        at = line_of(body, ends, int(np.flatnonzero(filled)[row]), line)
        more = f" {len(wrong) - 1} more cells near it are like that." if len(wrong) > 1 else ""
        raise DataError(
            f"{self.content.path}, line {at}, column {names[column]!r}: expected {_CALLED.get(kind, kind)}, got "
            f"{text[int(wrong[0])]!r}. Correct the cell, or leave it empty if the value is missing.{more}"
        )

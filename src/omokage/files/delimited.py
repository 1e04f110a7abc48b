"""Delimited text (CSV, TSV) at flat memory: bytes to whole records, to cells, to columns with types.

The file is read twice in blocks: once to find the types that fit all of it, once for the rows. Every cell
comes as text and is converted here, so that both passes follow the same rules (`omokage.files.opening` states
them), and a cell that does not fit can be named by its line.
"""

import bisect
import codecs
import csv
import gzip
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from omokage.errors import DataError, FileFormatError, ParameterError, listing

_BLOCK = 8 * 2**20  # bytes of the file that are read at once
_LONGEST = 64 * 2**20  # bytes of one record; beyond it, a quotation mark was left open
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?inf|nan", re.ASCII | re.IGNORECASE)
_ENCODINGS = ("utf-8", "euc_jp", "cp932", "cp1252")  # in this order, since cp932 reads most EUC-JP too
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


def opened(path: Path) -> BinaryIO:
    """Open a file for reading, unpacked on the way where its name ends in .gz."""
    return cast(BinaryIO, gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb"))


def open_text(
    path: Path,
    encoding: str,
    separator: str | None,
    usual: str,
    types: Mapping[str, Any],
    missing: Sequence[str],
) -> "TextFile":
    """Read the header and the first block of delimited text.

    Args:
        path, encoding, separator, types, missing: As in `omokage.files.opening.open_table`.
        usual: The separator that goes with the extension.

    Raises:
        ParameterError: If the encoding or the separator is not one.
        FileFormatError: If the first block cannot be read as a table, or there are no rows.
    """
    _check_encoding(encoding)
    mark = usual if separator is None else separator
    if len(mark) != 1 or not mark.isascii() or mark in '"\r\n':
        raise ParameterError(f"separator: expected one ASCII character such as ',' or ';', got {separator!r}.")
    head = next(_records(path, encoding), b"\n")
    start = len(head) - len(head.lstrip(b"\n"))
    if start == len(head):
        raise FileFormatError(f"{path}: only blank lines. Write or copy the file again.")
    stop = start + int(_layout(head[start:], mark)[0][0]) + 1
    try:
        first = next(csv.reader(io.StringIO(head[start:stop].decode()), delimiter=mark))
    except csv.Error as error:
        raise FileFormatError(f"{path}: its first line cannot be split into names ({error}).") from None
    cells = [cell.strip() for cell in first]
    if separator is None and len(cells) == 1 and (other := next((c for c in ",;\t|" if c in cells[0]), None)):
        raise FileFormatError(
            f"{path}: its first line has no {mark!r}, and has {other!r}: pass separator={other!r} "
            f"(--separator {other!r}), or separator={mark!r} if it is a single column."
        )
    data = _is_data(cells)
    names = tuple(f"column_{place}" if data or not cell else cell for place, cell in enumerate(cells, 1))
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise FileFormatError(f"{path}: the column names {listing(repeated)} come more than once. Rename them.")
    text = TextFile(path, encoding, mark, names, start if data else stop, types, tuple(missing))
    next(text._frames())
    return text


def _is_data(cells: Sequence[str]) -> bool:
    """Return whether a first line holds numbers, and not the 0, 1, 2... that pandas writes over an array."""
    filled = [cell for cell in cells if cell]
    counting = len(filled) >= 3 and filled == [str(place) for place in range(len(filled))]
    return bool(filled) and not counting and all(_NUMBER.fullmatch(cell) for cell in filled)


@dataclass(frozen=True)
class TextFile:
    """Delimited text whose header is known: the names, and the bytes (in UTF-8) before the first row."""

    path: Path
    encoding: str
    separator: str
    names: tuple[str, ...]
    skip: int
    types: Mapping[str, Any]
    missing: tuple[str, ...]

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
        types = {name: self._column_types[name] for name in names}
        kinds = list(dict.fromkeys(types.values()))
        for body, line, cells in self._frames():
            columns: dict[str, pl.Series] = {}
            for kind in kinds:
                alike = [name for name in names if types[name] == kind]
                text, values = self._converted(cells, alike, kind)
                if values.null_count() != text.null_count():
                    self._misfit(cells, alike, kind, body, line)
                columns |= {
                    name: values[place * cells.height : (place + 1) * cells.height].alias(name)
                    for place, name in enumerate(alike)
                }
            yield pl.DataFrame({name: columns[name] for name in names})

    @cached_property
    def _column_types(self) -> dict[str, Any]:
        """The type of each column: as given, else the first of `_GUESSES` that fits every value."""
        found: dict[str, Any] = {name: None for name in self.names if name not in self.types}
        for _, _, cells in self._frames() if found else ():
            open_names = [name for name, kind in found.items() if kind != pl.String]
            for kind in _GUESSES:
                alike = [name for name in open_names if kind in _AFTER[found[name]]]
                if not alike:
                    continue
                text, values = self._converted(cells, alike, kind)
                filled = text.is_not_null().to_numpy().reshape(len(alike), -1)
                fits = (filled == values.is_not_null().to_numpy().reshape(filled.shape)).all(1)
                for place in np.flatnonzero(fits):
                    found[alike[place]] = kind if filled[place].any() else found[alike[place]]
                fitting = {alike[place] for place in np.flatnonzero(fits)}
                open_names = [name for name in open_names if name not in fitting]
            found |= dict.fromkeys(open_names, pl.String)
        return {name: self.types.get(name, found.get(name) or pl.String) for name in self.names}

    def _converted(self, cells: pl.DataFrame, names: Sequence[str], kind: Any) -> tuple[pl.Series, pl.Series]:
        """Return columns one under the other, as text and as `kind`; null in the second is not of that kind.

        One under the other, since a thousand columns would take thousands of expressions.
        """
        raw = pl.concat([cells[name] for name in names])
        bare = raw.str.strip_chars()
        missing = bare.is_in(self.missing)
        text = pl.select(pl.when(~missing).then(raw if kind == pl.String else bare)).to_series()
        if kind == pl.Boolean:
            lower = text.str.to_lowercase()
            return text, pl.select(pl.when(lower.is_in(["true", "false"])).then(lower == "true")).to_series()
        return text, text if kind == pl.String else text.cast(kind, strict=False)

    def _frames(self) -> Iterator[tuple[bytes, int, pl.DataFrame]]:
        """Yield the records of each block as they stand, the line of the first, and their cells as text."""
        line, skip, any_rows = 1, self.skip, False
        for block in _records(self.path, self.encoding):
            line += block[:skip].count(b"\n")
            body, skip = block[skip:], 0
            cells = self._cells(body, line)
            if cells.height:
                any_rows = True
                yield body, line, cells
            line += body.count(b"\n")
        if not any_rows:
            raise FileFormatError(f"{self.path}: has a header ({listing(self.names)}) and no rows.")

    def _cells(self, body: bytes, line: int) -> pl.DataFrame:
        """Return whole records as cells of text; blank lines are rows in a single column, else nothing."""
        width, lines = len(self.names), body.count(b"\n")
        try:
            # Lines too long beside lines too short have the right sum too; Polars refuses the long ones.
            if b'"' not in body and body.count(self.separator.encode()) == lines * (width - 1):
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
                f"{self.path}, line {_line(body, ends, first, line)}: cannot be split into cells. A "
                "quotation mark has to open and to close its cell, with nothing beside it; one within a cell "
                'is doubled, as in "5"" pipe".'
            ) from None

    def _parsed(self, body: bytes, rows: int) -> pl.DataFrame:
        schema = dict.fromkeys(self.names, pl.String)
        if rows == 0:
            return pl.DataFrame(schema=schema)
        frame = pl.read_csv(body, has_header=False, separator=self.separator, schema=schema)
        if frame.height != rows:
            raise pl.exceptions.ComputeError("other rows than there are records")
        return frame

    def _parses(self, body: bytes) -> bool:
        ends, _ = _layout(body, self.separator)
        try:
            self._parsed(body, len(ends))
        except pl.exceptions.PolarsError:
            return False
        return True

    def _checked(self, body: bytes, line: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return where records end and which are rows; all rows have as many cells as the header."""
        width = len(self.names)
        ends, cells = _layout(body, self.separator)
        filled = (np.diff(ends, prepend=-1) > 1) | (width == 1)
        wrong = np.flatnonzero((cells != width) & filled)
        if len(wrong):
            first = int(wrong[0])
            at, after = (_line(body, ends, record, line) for record in (first, first + 1))
            several = f" over {after - at} lines, so a quotation mark may be left open,"
            quote = several if after > at + 1 else ""
            more = f" {len(wrong) - 1} more lines near it are like that." if len(wrong) > 1 else ""
            raise FileFormatError(
                f"{self.path}, line {at}: {cells[first]} cells{quote} where the first line has {width}. "
                f"Correct it, or put quotation marks around a cell that holds {self.separator!r}.{more}"
            )
        return ends, filled

    def _misfit(self, cells: pl.DataFrame, names: Sequence[str], kind: Any, body: bytes, line: int) -> NoReturn:
        """Raise for the first cell that is not of the type it has to be."""
        text, values = self._converted(cells, names, kind)
        wrong = (text.is_not_null() & values.is_null()).arg_true()
        column, row = divmod(int(wrong[0]), cells.height)
        ends, filled = self._checked(body, line)
        at = _line(body, ends, int(np.flatnonzero(filled)[row]), line)
        more = f" {len(wrong) - 1} more cells near it are like that." if len(wrong) > 1 else ""
        raise DataError(
            f"{self.path}, line {at}, column {names[column]!r}: expected {_CALLED.get(kind, kind)}, got "
            f"{text[int(wrong[0])]!r}. Correct the cell, or leave it empty if the value is missing.{more}"
        )


# ------------------------------------------------------------------------------------- bytes to records


def _layout(body: bytes, separator: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the place of each record's last byte and the number of its cells; quoted marks do not count."""
    codes = np.frombuffer(body, np.uint8)
    outside = np.cumsum(codes == ord('"'), dtype=np.uint8) & 1 == 0  # wraps at 256, which keeps the parity
    ends = np.flatnonzero((codes == ord("\n")) & outside)
    separators = np.flatnonzero((codes == ord(separator)) & outside)
    return ends, np.diff(np.searchsorted(separators, ends), prepend=0) + 1


def _line(body: bytes, ends: NDArray[np.int64], record: int, line: int) -> int:
    """Return the line on which a record starts, where `line` is that of the first."""
    return line + (body.count(b"\n", 0, int(ends[record - 1]) + 1) if record else 0)


def _records(path: Path, encoding: str) -> Iterator[bytes]:
    """Yield whole records, many at a time, in UTF-8; each ends in a line feed."""
    rest, line = b"", 1
    for block in _utf8(path, encoding):
        rest += block
        cut = rest.rfind(b"\n") + 1
        quoted = rest.count(b'"', 0, cut) % 2
        while quoted and cut:  # this line feed stands within a cell: go back to the one before
            before = rest.rfind(b"\n", 0, cut - 1) + 1
            quoted = (quoted + rest.count(b'"', before, cut)) % 2
            cut = before
        if cut:
            yield rest[:cut]
            line += rest.count(b"\n", 0, cut)
            rest = rest[cut:]
        elif len(rest) > _LONGEST:
            break
    if rest.count(b'"') % 2 or len(rest) > _LONGEST:
        raise FileFormatError(
            f"{path}, line {line}: a quotation mark opens there or later and is never closed. Close it; one "
            'within a cell is doubled, as in "5"" pipe".'
        )
    if rest:
        yield rest + b"\n"


def _utf8(path: Path, encoding: str) -> Iterator[bytes]:
    """Yield the text in UTF-8, without a byte-order mark and with line feeds only."""
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(encoding)(), translate=True)
    seen, line, first, raw = 0, 1, True, b"-"
    with opened(path) as stream:
        while raw:
            raw = stream.read(_BLOCK)
            seen += len(raw)
            try:
                text = decoder.decode(raw, final=not raw)
            except UnicodeDecodeError as error:
                place = seen - len(error.object) + error.start
                line += error.object[: error.start].count(b"\n")
                raise FileFormatError(_undecodable(path, encoding, place, line)) from None
            if "\0" in text:
                raise FileFormatError(
                    f"{path}: holds NUL characters, so it is not text in {encoding}. If it is UTF-16, pass "
                    "encoding='utf-16' (--encoding utf-16); if not, its extension does not say what it is."
                )
            line += text.count("\n")
            if text:
                yield text.removeprefix("\ufeff" if first else "").encode(errors="replace")
                first = False


def _undecodable(path: Path, encoding: str, place: int, line: int) -> str:
    with opened(path) as stream:
        marked = stream.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    names = [name for name in ("utf-16",) * marked + _ENCODINGS if codecs.lookup(name) != codecs.lookup(encoding)]
    found = next((name for name in names if _decodes(path, name)), None)
    cure = (
        f"It reads as {found}: pass encoding={found!r} (--encoding {found})."
        if found
        else f"It does not read as {listing(names)} either: save it as UTF-8."
    )
    return f"{path}: byte {place}, in line {line}, is not text in {encoding}. {cure}"


def _decodes(path: Path, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    with opened(path) as stream:
        try:
            while raw := stream.read(_BLOCK):
                decoder.decode(raw)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return True


def _check_encoding(encoding: str) -> None:
    try:
        "".encode(encoding)
        codecs.getincrementaldecoder(encoding)
    except (LookupError, ValueError, TypeError):
        raise ParameterError(
            f"encoding: {encoding!r} is not a text encoding; 'utf-8', 'cp932' and 'euc_jp' are."
        ) from None

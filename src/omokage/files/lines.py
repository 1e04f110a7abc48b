"""Rows of text that come one by one, from standard input or a socket, with the same options as a file's.

Each line is answered before the next one is read, so nothing can be found by looking ahead: the separator is told by
the first line alone, and decimal marks other than a point are asked for or remembered. What is wrong with a line is
told with the line, and the next ones are read all the same.
"""

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain

import polars as pl

from omokage.errors import DataError, FileFormatError, listing
from omokage.files.contents import FOREIGN
from omokage.files.dialect import MARKS
from omokage.files.headers import column_names, is_data, leading
from omokage.files.numbers import Notation, is_number
from omokage.files.options import Options
from omokage.files.signs import without_sign

LONGEST = 2**24  # characters of a line
_PIECE = 2**16  # characters of the rest of a longer one, which is passed over


class _Otherwise(str):
    """A number that is written in another way than the others; a class of its own, since a cell can be any text."""


@dataclass(frozen=True)
class Line:
    """One row.

    Attributes:
        number: Of the line, counted from 1.
        cells: One for each name, without spaces around them and with a decimal point; `None` where one is missing. Keys
            and labels stand as they are. Empty where something is wrong.
        problem: What is wrong with the line, in words, or empty.
    """

    number: int
    cells: tuple[str | None, ...]
    problem: str = ""


@dataclass(frozen=True)
class LineReader:
    """Lines whose header is known: iterate over it for the rows, a `Line` each.

    Attributes:
        names: Of the columns, without those at the beginning that have no name, as an index of pandas has none.
        options: How they are read, with the separator that was found.
    """

    names: tuple[str, ...]
    options: Options
    _left_out: int
    _first: tuple[tuple[int, str], ...]
    _lines: Iterator[tuple[int, str | FileFormatError]]

    def __iter__(self) -> Iterator[Line]:
        """Yield each row as soon as its last line came; blank lines are passed over, unless there is one column."""
        options, width = self.options, len(self.names) + self._left_out
        notation = options.remembered or options.asked
        units, set_aside = options.units and not self._first, False
        keys = {place for place, name in enumerate(self.names) if name in options.text}
        for number, line in self._all():
            if isinstance(line, FileFormatError):
                yield Line(number, (), str(line))
                continue
            if not line.strip() and width > 1:
                continue
            if units and not set_aside:
                set_aside = True
                continue
            try:
                cells = split(line, options.separator or ",")
            except csv.Error as error:
                yield Line(number, (), f"line {number}: cannot be split into cells ({error}).")
                continue
            if any(map(str.strip, cells[width:])) or len(cells) < width:  # separators alone may stand behind the last
                yield Line(number, (), f"line {number}: {len(cells)} cells where the first line has {width}.")
                continue
            cells = cells[self._left_out : width]
            read = tuple(_cell(cell, place in keys, options, notation) for place, cell in enumerate(cells))
            if wrong := [place for place, cell in enumerate(read) if isinstance(cell, _Otherwise)]:
                yield Line(
                    number,
                    (),
                    f"line {number}, column {self.names[wrong[0]]!r}: {cells[wrong[0]]!r} is no number with "
                    f"{notation.called()}. Correct it, or say how it is written: --decimal, --thousands.",
                )
                continue
            yield Line(number, read)

    def _all(self) -> Iterator[tuple[int, str | FileFormatError]]:
        yield from self._first
        yield from self._lines


def open_lines(
    lines: Iterable[str | bytes], options: Options | None = None, *, names: tuple[str, ...] | None = None
) -> LineReader:
    """Read the names of the columns from the first line, and give the rows one by one.

    Args:
        lines: What comes in, a line each; bytes are decoded (UTF-8, or as the options say).
        options: How to read them.
        names: Of the columns, where lines have no header, as for a model of columns without names.

    Raises:
        DataError: If there is no line.
        FileFormatError: If the first line cannot be read, or names a column twice.

    Example:
        >>> reader = open_lines(["speed;part\\n", "1,5;007\\n", "2\\n"], Options(decimal=",", text=("part",)))
        >>> reader.names, [(line.cells, line.problem) for line in reader]
        (('speed', 'part'), [(('1.5', '007'), ''), ((), 'line 3: 1 cells where the first line has 2.')])
    """
    options = options or Options()
    numbered = _decoded(_bounded(lines), options.encoding or "utf-8")
    if names is not None:
        return LineReader(names, replace(options, separator=options.separator or ","), 0, (), numbered)
    for _ in zip(range(options.skip or 0), numbered, strict=False):  # lines above the names
        pass
    number, first = _next(numbered)
    if excel := re.fullmatch(r"sep=([\x00-\x7f])", first.rstrip("\n")):  # Excel's own first line
        options = replace(options, separator=options.separator or excel[1])
        number, first = _next(numbered)
    comments: list[tuple[int, str]] = []
    while first.startswith("#"):
        comments.append((number, first))
        number, first = _next(numbered)
    if len(comments) == 1 and not comments[0][1].startswith("# "):  # a name that begins so, as in a file
        numbered = chain([(number, first)], numbered)
        number, first = comments.pop()
    separator = options.separator or _separator(first)
    cells = _names(first, separator)
    named = _names(comments[-1][1].removeprefix("#").lstrip(), separator) if comments else []
    above = len(named) == len(cells) and is_data(cells) and not is_data(named)  # names in the last comment
    row = ((number, first),)
    cells = named if above else cells
    data = is_data(cells) if options.header is None else not options.header
    while not data and len(cells) > 1 and not cells[-1] and options.empty == "auto":  # a separator behind the last name
        cells = cells[:-1]
    header, renamed = column_names(cells, data)
    if twice := sorted({*renamed.values()} & {*options.text, *options.kept}):
        raise FileFormatError(f"-: names of columns must differ; {listing(twice)} repeat.")
    options = replace(options, separator=separator)
    nameless = 0 if data or options.index == "keep" else leading(cells)
    left_out = nameless if nameless < len(header) and not set(header[:nameless]) & set(options.text) else 0
    return LineReader(header[left_out:], options, left_out, row if data or above else (), numbered)


def split(line: str, separator: str) -> list[str]:
    """Return the cells of a line; a space stands for any number of spaces and tabs.

    Raises:
        csv.Error: If a quotation mark is left open, as on both lines of a cell with a line feed, or stands beside one.
    """
    if separator == " ":
        line = " ".join(line.split())
    line = line.rstrip("\r\n")
    if line.count('"') % 2:
        raise csv.Error("a quotation mark is left open; a cell of standard input cannot hold a line feed")
    return next(csv.reader([line], delimiter=separator, strict=True), [""])


def _next(numbered: Iterator[tuple[int, str | FileFormatError]]) -> tuple[int, str]:
    """Return the next line that is not blank, of those before the rows."""
    for number, line in numbered:
        if isinstance(line, FileFormatError):
            raise FileFormatError(f"-: {line}")
        if line.strip():
            return number, line.removeprefix("\ufeff")
    raise DataError("-: there are no lines; expected the names of the columns first.")


def _names(line: str, separator: str) -> list[str]:
    """Return the cells of a first line, without spaces around them."""
    try:
        return [cell.strip() for cell in split(line, separator)]
    except csv.Error as error:
        raise FileFormatError(f"-: the first line cannot be split into names ({error}).") from None


def _separator(first: str) -> str:
    """Return the mark that a line of names has most of; a comma where it has none."""
    best = max(MARKS, key=first.count)
    return best if best in first else " " if len(first.split()) > 1 else ","


def _cell(cell: str, key: bool, options: Options, notation: Notation) -> str | None:
    if key:
        return cell or None
    bare = cell.strip()
    if bare in options.missing:
        return None
    bare = without_sign(bare)
    if notation == Notation():
        return bare
    plain: str | None = notation.plain(pl.Series([bare]))[0]
    if plain is None:  # text, or a number in another notation, which would be read as another number
        return _Otherwise(bare) if is_number(bare) else bare
    return plain


def _bounded(lines: Iterable[str | bytes]) -> Iterator[str | bytes]:
    """Yield lines; of one that a stream has and that is too long only the beginning, since it may have no end."""
    if not hasattr(lines, "readline"):
        yield from lines
        return
    while line := lines.readline(LONGEST + 1):
        rest = line
        while len(line) > LONGEST and rest and not rest.endswith(b"\n" if isinstance(rest, bytes) else "\n"):
            rest = lines.readline(_PIECE)
        yield line


def _decoded(lines: Iterator[str | bytes], encoding: str) -> Iterator[tuple[int, str | FileFormatError]]:
    """Yield each line as text with its number, or what is wrong with it; a lone CR ends one too, as in files."""
    number = 0
    for line in lines:
        number += 1
        if len(line) > LONGEST:
            yield number, FileFormatError(f"line {number}: more than {LONGEST:,} characters.")
            continue
        if isinstance(line, bytes):
            if number == 1 and (what := next((what for magic, what, _ in FOREIGN if line.startswith(magic)), None)):
                yield number, FileFormatError(f"it is {what}; expected lines of text.")
                continue
            try:
                line = line.decode(encoding)
            except UnicodeDecodeError as error:
                yield (
                    number,
                    FileFormatError(
                        f"line {number}: byte {error.start} is not text in {encoding}. Name another with encoding= "
                        "(--encoding)."
                    ),
                )
                continue
        pieces = line.rstrip("\r\n").split("\r")
        yield from enumerate(pieces, number)
        number += len(pieces) - 1

"""How a text lays out its table: the separator, lines around the header, the header, columns that are indexes.

Each is taken from the options, else found in the first records. What leaves a doubt is an error that names the option,
or is read as usual with a note.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from omokage.errors import FileFormatError, listing, shown
from omokage.files.headers import (
    MOST_BELOW,
    are_units,
    column_names,
    is_data,
    is_like_a_header,
    is_nameless,
    leading,
    shown_units,
    titles_above,
)
from omokage.files.numbers import share_of_numbers
from omokage.files.options import Options
from omokage.files.records import layout, spaced_once

Counts = NDArray[np.int64]

MOST_COLUMNS = 2**20

_LONGEST_HEADER = 2**24  # bytes
_SAMPLE = 1000  # records by which a separator is found
MARKS = (",", ";", "\t", "|")
_CALLED = {"\t": "tabs", " ": "spaces"}
_EXCEL = re.compile(rb"sep=(.)\n")  # Excel's own first line


@dataclass(frozen=True)
class Dialect:
    """How a text lays out its table.

    Attributes:
        separator: Between cells.
        names: Of all columns; those without one are called by their place.
        skip: Bytes before the first row, counted in records of this separator.
        nameless: How many columns at the beginning have no name, where the others have one.
        notes: What was found, a line each.
        blank: The columns without a name, as they are called; none where there is no header.
        padding: How many columns at the end are there only because all rows end in more separators than the header.
        renamed: Names that were changed since they come more than once, and what they were.
    """

    separator: str
    names: tuple[str, ...]
    skip: int
    nameless: int
    notes: tuple[str, ...]
    blank: tuple[str, ...] = ()
    padding: int = 0
    renamed: dict[str, str] = field(default_factory=dict)


def dialect_of(path: Path, head: bytes, usual: str, options: Options) -> Dialect:
    """Return how a text lays out its table, told by its first records.

    Args:
        path: The file, for messages.
        head: The first records, in UTF-8.
        usual: The separator that goes with the file's name.
        options: What is known.

    Raises:
        FileFormatError: If the first line is not one of names or cells, or the separator is in doubt.
    """
    notes: list[str] = []
    skipped = len(head) - len(_after(head, options.skip or 0))
    start, excel = _start(head, skipped)
    if start == len(head):
        raise FileFormatError(f"{path}: only blank lines. Write or copy the file again.")
    if b"\n" not in head[start : start + _LONGEST_HEADER]:
        raise FileFormatError(f"{path}: a first line of more than {_LONGEST_HEADER // 2**20} MiB. It may be no table.")
    separator = options.separator or excel
    commented = _comments(head[start:])
    below = _after(head[start:], commented)
    if below.strip() and not len(layout(below, ",")[0]):
        raise FileFormatError(f"{path}: a quotation mark is never closed, or skip= ends within a cell. Correct it.")
    if not below.strip():
        raise FileFormatError(f"{path}: only blank lines and comments. Write or copy the file again.")
    marks = (separator,) if separator else tuple(dict.fromkeys((usual, *MARKS)))
    asked = options.skip is not None or options.header is not None or separator == " "
    if not asked and (titles := _titles(below, marks, options)):
        notes.append(_of_titles(path, below[:titles]))
        start, commented, below = len(head) - len(below) + titles, 0, below[titles:]
    if separator is None:
        separator = _separator(path, below, usual, options)
        if separator != usual:
            called = _CALLED.get(separator, repr(separator))
            notes.append(f"{path}: read with {called} between cells; separator= (--separator) says otherwise.")
    if separator == " ":
        head = spaced_once(head)
        start, _ = _start(head, len(head) - len(_after(head, options.skip or 0)))
    start, cells, stop, note = _first(path, head, start, commented, separator)
    notes += note
    nameless = separator == " " and _is_one_short(head[stop:], cells)
    data = is_data(cells) if options.header is None else not options.header
    rows = _rows(head[stop:], separator)
    if options.header is None and data and is_like_a_header(cells, rows[0] if rows else []):
        notes.append(
            f"{path}: the first line holds numbers, and is read as data. If they are the names of the columns, pass "
            "header=True (--header true)."
        )
    cells = ["", *cells] if nameless else cells
    if len(cells) > MOST_COLUMNS:
        raise FileFormatError(f"{path}: more than {MOST_COLUMNS:,} columns. It may not be a table of text.")
    padding = 0
    if not data and separator != " ":
        cells, padding = _as_wide_as(cells, rows)
    if not data and rows and options.units is not False and (options.units or _has_units(rows, cells, options)):
        record = len(head) - len(head[stop:].lstrip(b"\n"))
        line = head.count(b"\n", 0, record) + 1
        notes.append(
            f"{path}: line {line} holds the units of the columns ({shown_units(rows[0])}), and is left out; "
            "units=False (--no-units) says otherwise."
        )
        _, stop = _cells(path, head, record, separator)
    names, renamed = column_names(cells, data)
    blank = () if data else tuple(name for name, cell in zip(names, cells, strict=True) if is_nameless(cell))
    if renamed:
        changed = listing([f"{old} → {new}" for new, old in renamed.items()])
        notes.append(
            f"{path}: names of columns come more than once. The first keeps its name, and later ones get a number: "
            f"{changed}. They are told apart by their order alone."
        )
    skip = start if data else stop
    return Dialect(separator, names, skip, 0 if data else leading(cells), tuple(notes), blank, padding, renamed)


def _of_titles(path: Path, titles: bytes) -> str:
    """Return a note on lines above the names."""
    lines = titles.count(b"\n")
    first = next((line for line in titles.decode(errors="replace").split("\n") if line.strip()), "")
    which = "the first line" if lines == 1 else f"the first {lines} lines"
    stand = ("stands", "is") if lines == 1 else ("stand", "are")
    return (
        f"{path}: {which} ({shown(first[:60])}) {stand[0]} above the names of the columns, and {stand[1]} left out; "
        "skip=0 (--skip 0) says otherwise."
    )


def _titles(head: bytes, marks: Sequence[str], options: Options) -> int:
    """Return how many bytes stand above the names of the columns, where the first line cannot be these."""
    sample = _sample(head)
    if all((_counts(sample, mark) < 2).all() for mark in marks):
        return 0
    found: list[tuple[int, int]] = []
    for mark in marks:
        ends, _ = layout(sample, mark)
        filled = np.flatnonzero(np.diff(ends, prepend=-1) > 1)[: 2 * MOST_BELOW]
        starts = [int(ends[record - 1]) + 1 if record else 0 for record in filled]
        rows = _rows(sample, mark, 2 * MOST_BELOW)
        if len(rows) == len(starts) and (place := titles_above(rows, options.missing)):
            found.append((sum(map(bool, rows[place])), starts[place]))
        elif rows and len(rows[0]) > 1 and sum(map(bool, rows[0])) > 1 and len({len(row) for row in rows}) == 1:
            return 0  # a table from its first line on
    return max(found, key=lambda one: one[0])[1] if found else 0


def _rows(body: bytes, separator: str, most: int = MOST_BELOW + 1) -> list[list[str]]:
    """Return the bare cells of the first records that are not blank; none where they cannot be split."""
    ends, _ = layout(body[: 2**22], separator)
    filled = np.flatnonzero(np.diff(ends, prepend=-1) > 1)[:most]
    rows: list[list[str]] = []
    for record in filled:
        text = body[int(ends[record - 1]) + 1 if record else 0 : int(ends[record])].decode(errors="replace")
        try:
            cells = next(csv.reader(io.StringIO(text), delimiter=separator), [])
        except csv.Error:
            return []
        rows.append([cell.strip() for cell in cells])
    return rows


def _as_wide_as(cells: list[str], rows: Sequence[Sequence[str]]) -> tuple[list[str], int]:
    """Return the names for as many columns as rows have where only separators at the ends of lines differ.

    And how many of the columns are there only for such separators.
    """
    widths = {len(row) for row in (rows[1:] or rows)}
    if len(widths) != 1 or widths == {len(cells)}:
        return cells, 0
    width = widths.pop()
    if width > len(cells):
        more = width - len(cells)
        empty = not any(any(row[len(cells) :]) for row in rows)
        return ([*cells, *[""] * more], more) if empty else (cells, 0)
    return (cells, 0) if any(cells[width:]) else (cells[:width], 0)


def _has_units(rows: Sequence[Sequence[str]], cells: Sequence[str], options: Options) -> bool:
    widths = Counter(map(len, rows))
    return len(widths) < 3 and len(rows[0]) <= len(cells) and are_units(rows[0], rows[1:], options.missing)


def _start(head: bytes, skipped: int = 0) -> tuple[int, str | None]:
    """Return where the first line that is not blank starts, and the separator where Excel's own line names it."""
    start = len(head) - len(head[skipped:].lstrip(b"\n"))
    excel = _EXCEL.match(head, start)
    return (excel.end(), excel[1].decode()) if excel and excel[1].isascii() else (start, None)


def _first(
    path: Path, head: bytes, start: int, commented: int, separator: str
) -> tuple[int, list[str], int, list[str]]:
    """Return where the first record of cells starts, its cells, where it stops, and a note on lines before it."""
    first = start
    note: list[str] = []
    for _ in range(commented):
        first = head.index(b"\n", first) + 1
    if commented:
        before = head.rfind(b"\n", 0, first - 1) + 1
        names, _ = _cells(path, head, before, separator)
        names[0] = names[0].removeprefix("#").strip()
        names = names if names[0] else names[1:]  # "# a b" with spaces between the names
        cells, stop = _cells(path, head, first, separator)
        if len(names) == len(cells) and is_data(cells) and not is_data(names):
            return first, names, first, note
        note.append(f"{path}: {commented} lines that begin with '#' are passed over.")
        return first, cells, stop, note
    cells, stop = _cells(path, head, start, separator)
    return start, cells, stop, note


def _cells(path: Path, head: bytes, start: int, separator: str) -> tuple[list[str], int]:
    """Return the cells of the record that starts at a place, and where it stops."""
    stop = start + int(layout(head[start:], separator)[0][0]) + 1
    if head.count(separator.encode(), start, stop) > MOST_COLUMNS:
        raise FileFormatError(f"{path}: more than {MOST_COLUMNS:,} columns. It may not be a table of text.")
    try:
        first = next(csv.reader(io.StringIO(head[start:stop].decode()), delimiter=separator), [])
    except csv.Error as error:
        raise FileFormatError(f"{path}: its first line cannot be split into names ({error}).") from None
    return [cell.strip() for cell in first], stop


def _comments(head: bytes) -> int:
    """Return how many lines at the beginning are comments: "# ...", or several that begin with "#"."""
    lines = head[: 2**16].split(b"\n")
    count = next((place for place, line in enumerate(lines) if not line.startswith(b"#")), 0)
    return count if count > 1 or (count == 1 and lines[0].startswith(b"# ")) else 0


def _after(head: bytes, lines: int) -> bytes:
    start = 0
    for _ in range(lines):
        start = head.find(b"\n", start) + 1 or len(head)
    return head[start:]


def _separator(path: Path, head: bytes, usual: str, options: Options) -> str:
    """Return the mark that splits the first records: the usual one where it does, else the only one that does."""
    sample = _sample(head)
    counts = {mark: _counts(sample, mark) for mark in (*MARKS, " ")}
    counts.setdefault(usual, _counts(sample, usual))
    splits = [mark for mark in (*dict.fromkeys((usual, *MARKS)),) if counts[mark][0] > 1]
    even = {mark for mark in counts if counts[mark][0] > 1 and (counts[mark] == counts[mark][0]).all()}
    shares = {mark: _share(sample, mark, options) for mark in splits} if len(splits) > 1 else {}
    if usual in splits:
        rivals = [mark for mark in even if mark not in (usual, " ") and shares[mark] > shares[usual]]
        return max(rivals, key=lambda mark: shares[mark]) if rivals else usual
    if not splits:
        return " " if _is_spaced(sample, counts[" "], options) else usual
    best = max(splits, key=lambda mark: (mark in even, shares.get(mark, 0.0)))
    alike = [mark for mark in splits if (mark in even, shares.get(mark)) == (best in even, shares.get(best))]
    alone = len(counts[best]) > 1 and (counts[best][1:] == 1).all()  # in the first line only
    if alone and _is_spaced(sample, counts[" "], options):
        return " "
    if alone or len(alike) > 1:
        raise FileFormatError(
            f"{path}: its first line has no {usual!r}, and has {listing(alike)}: pass separator={best!r} "
            f"(--separator {best!r}), or separator={usual!r} if it is a single column."
        )
    return best


def _is_spaced(sample: bytes, counts: Counts, options: Options) -> bool:
    """Return whether spaces split all records into as many cells, numbers mostly; the first may lack a name."""
    even = len(counts) > 1 and counts[1] > 1 and bool((counts[1:] == counts[1]).all())
    return even and counts[0] in (counts[1], counts[1] - 1) and _share(sample, " ", options) >= 0.5


def _sample(head: bytes) -> bytes:
    ends, _ = layout(head[: 2**20], ",")
    stop = int(ends[min(len(ends), _SAMPLE) - 1]) + 1 if len(ends) else len(head)
    return head[:stop]


def _counts(sample: bytes, mark: str) -> Counts:
    """Return into how many cells a mark splits each record that is not blank."""
    sample = spaced_once(sample) if mark == " " else sample
    ends, cells = layout(sample, mark)
    return cells[np.diff(ends, prepend=-1) > 1]


def _share(sample: bytes, mark: str, options: Options) -> float:
    """Return how many cells below the first record are numbers where a mark splits them."""
    sample = spaced_once(sample) if mark == " " else sample
    try:
        rows = [row for row in csv.reader(io.StringIO(sample.decode()), delimiter=mark) if row]
    except csv.Error:
        return 0.0
    return share_of_numbers(rows[1:], options.missing) if len(rows) > 1 else 0.0


def _is_one_short(rows: bytes, cells: Sequence[str]) -> bool:
    """Return whether a header lacks the name of the first column, as R and pandas write it with spaces between."""
    counts = _counts(_sample(rows), " ")
    return len(counts) > 0 and bool((counts == len(cells) + 1).all())

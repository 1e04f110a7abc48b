"""How a text lays out its table: the separator, lines before the header, the header, columns that are indexes.

Each is taken from the options, else found in the first records. What leaves a doubt is an error that names the option,
or is read as usual with a note.
"""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from omokage.errors import FileFormatError, listing
from omokage.files.numbers import is_number, share_of_numbers
from omokage.files.options import Options
from omokage.files.records import layout, spaced_once

Counts = NDArray[np.int64]

MOST_COLUMNS = 2**20

_LONGEST_HEADER = 2**24  # bytes
_SAMPLE = 1000  # records by which a separator is found
MARKS = (",", ";", "\t", "|")
_CALLED = {"\t": "tabs", " ": "spaces"}
_NAMELESS = re.compile(r"Unnamed: \d+(_level_\d+)?|__index_level_\d+__")
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
    """

    separator: str
    names: tuple[str, ...]
    skip: int
    nameless: int
    notes: tuple[str, ...]


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
    start, excel = _start(head)
    if start == len(head):
        raise FileFormatError(f"{path}: only blank lines. Write or copy the file again.")
    if b"\n" not in head[start : start + _LONGEST_HEADER]:
        raise FileFormatError(f"{path}: a first line of more than {_LONGEST_HEADER // 2**20} MiB. It may be no table.")
    separator = options.separator or excel
    commented = _comments(head[start:])
    if separator is None:
        separator = _separator(path, _after(head[start:], commented), usual, options)
        if separator != usual:
            called = _CALLED.get(separator, repr(separator))
            notes.append(f"{path}: read with {called} between cells; separator= (--separator) says otherwise.")
    if separator == " ":
        head = spaced_once(head)
        start, _ = _start(head)
    start, cells, stop, note = _first(path, head, start, commented, separator)
    notes += note
    nameless = separator == " " and _is_one_short(head[stop:], cells)
    data = is_data(cells) if options.header is None else not options.header
    if options.header is None and data and _is_like_a_header(cells, head[stop:], separator):
        notes.append(
            f"{path}: the first line holds numbers, and is read as data. If they are the names of the columns, pass "
            "header=True (--header true)."
        )
    cells = ["", *cells] if nameless else cells
    if len(cells) > MOST_COLUMNS:
        raise FileFormatError(f"{path}: more than {MOST_COLUMNS:,} columns. It may not be a table of text.")
    names = tuple(f"column_{place}" if data or not cell else cell for place, cell in enumerate(cells, 1))
    if len(set(names)) < len(names):
        repeated = sorted({name for name in names if names.count(name) > 1})
        raise FileFormatError(f"{path}: the column names {listing(repeated)} come more than once. Rename them.")
    return Dialect(separator, names, start if data else stop, 0 if data else leading(cells), tuple(notes))


def _start(head: bytes) -> tuple[int, str | None]:
    """Return where the first line that is not blank starts, and the separator where Excel's own line names it."""
    start = len(head) - len(head.lstrip(b"\n"))
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
    for _ in range(lines):
        head = head[head.index(b"\n") + 1 :]
    return head


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


def is_data(cells: Sequence[str]) -> bool:
    """Return whether a first line holds numbers, and not the 0, 1, 2... that pandas writes over an array."""
    filled = [cell for cell in cells if cell]
    counting = len(filled) >= 3 and filled == [str(place) for place in range(len(filled))]
    return bool(filled) and not counting and all(map(is_number, filled))


def _is_like_a_header(cells: Sequence[str], below: bytes, separator: str) -> bool:
    """Return whether numbers look like names: ascending, as wavelengths and years do, or whole above fractions."""
    if len(cells) < 2 or not all(cell.lstrip("+-").replace(".", "", 1).isdecimal() for cell in cells):
        return False
    values = [float(cell) for cell in cells]
    ascending = len(cells) > 2 and all(one < after for one, after in pairwise(values))
    second = below.lstrip(b"\n").split(b"\n", 1)[0].decode(errors="replace").split(separator)
    whole = all(cell.isdecimal() for cell in cells) and len(set(cells)) == len(cells)
    return ascending or (whole and all("." in cell for cell in second))


def leading(cells: Sequence[str]) -> int:
    """Return how many cells at the beginning are empty, or what pandas calls a column that has no name."""
    nameless = [
        not cell or re.fullmatch(r"Unnamed: \d+(_level_\d+)?|__index_level_\d+__", cell) is not None for cell in cells
    ]
    return nameless.index(False) if False in nameless else 0

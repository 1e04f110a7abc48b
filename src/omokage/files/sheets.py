"""What the XML of an Excel file says beside its values: how large a sheet is, errors, merged cells, empty formulas."""

import re
import zipfile
from dataclasses import dataclass
from html import unescape
from pathlib import Path, PurePosixPath

from omokage.errors import FileFormatError

_PIECE = 2**22  # bytes that are read at once
_LONGEST = 2**30  # bytes of a file within, unpacked
_MOST_CELLS = 2**26  # of the rectangle around all cells, which is held in memory
_SHOWN = 5  # cells
_SHEET = re.compile(rb"<(?:\w+:)?sheet\s([^>]*)>")
_RELATION = re.compile(rb"<(?:\w+:)?Relationship\s([^>]*)>")
_ATTRIBUTE = re.compile(rb"""([\w:]+)\s*=\s*(?:"([^"]*)"|'([^']*)')""")
_COLUMN = re.compile(rb'<(?:\w+:)?c\s[^>]*?\br="([A-Z]{1,3})')
_ROW = re.compile(rb'<(?:\w+:)?row\s[^>]*?\br="(\d{1,7})"')
_ERROR = re.compile(
    rb'<(?:\w+:)?c\s[^>]*?\br="([A-Z]{1,3}\d{1,7})"[^>]*?\bt="e"[^>]*>(?:(?!</?(?:\w+:)?c[\s>]).)*?'
    rb"<(?:\w+:)?v>([^<]{1,20})<",
    re.DOTALL,
)
_MERGED = re.compile(rb'<(?:\w+:)?mergeCell\s[^>]*?ref="([A-Z]{1,3}\d{1,7}:[A-Z]{1,3}\d{1,7})"')
_NOT_COMPUTED = re.compile(rb'\br="([A-Z]{1,3}\d{1,7})"[^>]*>\s*<f[^<]*</f>\s*(?:<v\s*/>|<v></v>)?\s*</c>')


@dataclass(frozen=True)
class Beside:
    """What a sheet says beside its values.

    Attributes:
        errors: Cells whose formula gave an error, and which.
        merged: Ranges of cells that are one.
        empty: Cells with a formula whose value was never computed.
    """

    errors: tuple[tuple[str, str], ...] = ()
    merged: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()

    def notes(self, first_row: int) -> list[str]:
        """Return a note on each that is in or below a row, counted from 1."""
        errors = [(cell, error) for cell, error in self.errors if row_of(cell) >= first_row]
        merged = [cells for cells in self.merged if row_of(cells.split(":")[1]) > max(first_row - 1, row_of(cells))]
        merged = [cells for cells in merged if row_of(cells) >= first_row]
        empty = [cell for cell in self.empty if row_of(cell) >= first_row]
        found = []
        if errors:
            shown = _some([f"{error} in {cell}" for cell, error in errors])
            found.append(f"errors of formulas count as missing: {shown}.")
        if merged:
            found.append(
                f"merged cells have their value in the first one alone, the others are missing: {_some(merged)}."
            )
        if empty:
            found.append(
                f"formulas that were never computed count as missing: {_some(empty)}. Open the file in Excel, "
                "and save it."
            )
        return found


def row_of(cell: str) -> int:
    """Return the row of the first cell of a reference, from 1.

    Example:
        >>> row_of("AB12"), row_of("A3:B4")
        (12, 3)
    """
    return int(re.sub(r"[A-Z]", "", cell.split(":")[0]))


def beside(path: Path, sheet: str) -> Beside:
    """Return what the XML of a sheet says beside its values; nothing where it is not found.

    Raises:
        FileFormatError: If the sheet would not fit in memory.
    """
    with zipfile.ZipFile(path) as archive:
        sizes = {info.filename: info.file_size for info in archive.infolist()}
        if max(sizes.values(), default=0) > _LONGEST:
            raise FileFormatError(
                f"{path}: it holds more than {_LONGEST // 2**30} GiB unpacked. Save the sheet as CSV, which is read "
                "piece by piece."
            )
        name = _member(archive, sheet)
        if name not in sizes:
            return Beside()
        errors: list[tuple[str, str]] = []
        merged: list[str] = []
        empty: list[str] = []
        columns: set[bytes] = set()
        rows, rest = 0, b""
        with archive.open(name) as stream:
            while piece := stream.read(_PIECE):
                text = rest + piece
                cut = max(text.rfind(b"<c "), text.rfind(b"<row "), text.rfind(b"<mergeCell "), len(text) - 2**16)
                text, rest = text[:cut], text[cut:]
                rows = _look(text, errors, merged, empty, columns, rows)
            rows = _look(rest, errors, merged, empty, columns, rows)
    widest = max(map(_place, columns), default=0)
    if widest * rows > _MOST_CELLS:
        raise FileFormatError(
            f"{path}: the sheet {sheet!r} has {rows:,} rows and {widest:,} columns, more cells than are read from "
            f"Excel ({_MOST_CELLS:,}). Save it as CSV; or clear what stands far away from the table."
        )
    return Beside(tuple(errors), tuple(merged), tuple(empty))


def _look(
    text: bytes, errors: list[tuple[str, str]], merged: list[str], empty: list[str], columns: set[bytes], rows: int
) -> int:
    """Take note of what a piece of a sheet says; return the last row so far."""
    if b't="e"' in text:
        errors += [(cell.decode(), error.decode()) for cell, error in _ERROR.findall(text)]
    merged += [cells.decode() for cells in _MERGED.findall(text)]
    if b"</f>" in text:
        empty += [cell.decode() for cell in _NOT_COMPUTED.findall(text)]
    columns |= set(_COLUMN.findall(text))
    return max(map(int, _ROW.findall(text)), default=rows)


def _member(archive: zipfile.ZipFile, sheet: str) -> str:
    """Return the name of the file within that holds a sheet, or an empty one."""
    try:
        book, relations = archive.read("xl/workbook.xml"), archive.read("xl/_rels/workbook.xml.rels")
    except KeyError:
        return ""
    ids = {_text(one, b"name"): _text(one, b"r:id") for one in map(_attributes, _SHEET.findall(book))}
    targets = {_text(one, b"Id"): _text(one, b"Target") for one in map(_attributes, _RELATION.findall(relations))}
    target = targets.get(ids.get(sheet, ""), "")
    return target.lstrip("/") if target.startswith("/") else str(PurePosixPath("xl", target))


def _attributes(text: bytes) -> dict[bytes, bytes]:
    return {name: one or other for name, one, other in _ATTRIBUTE.findall(text)}


def _text(attributes: dict[bytes, bytes], name: bytes) -> str:
    return unescape(attributes.get(name, b"").decode(errors="replace"))


def _place(letters: bytes) -> int:
    """Return the number of a column from 1, as AA is 27."""
    place = 0
    for letter in letters:
        place = place * 26 + letter - ord("A") + 1
    return place


def _some(cells: list[str]) -> str:
    more = f" and {len(cells) - _SHOWN:,} more" if len(cells) > _SHOWN else ""
    return ", ".join(cells[:_SHOWN]) + more

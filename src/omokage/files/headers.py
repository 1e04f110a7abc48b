"""The lines around a table: titles above it, the names of its columns, and a line of units below these.

What is told here is told by the first rows alone, as cells of text without spaces around them, whatever file they are
from: delimited text, a sheet of Excel, or lines that come one by one.
"""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from omokage.files.numbers import is_number
from omokage.files.signs import without_sign

Rows = Sequence[Sequence[str]]

MOST_BELOW = 200  # rows by which a header and a line of units are told
_MOST_TITLES = 100  # lines above a table
_NAMELESS = re.compile(r"Unnamed: \d+(_level_\d+)?|__index_level_\d+__")
_BRACKETED = re.compile(r"\[.*\]|\(.*\)|<.*>|[-–—]+")
_UNIT = re.compile(r"(?:1/|10\^|10\*\*|‰|%)?[^\d\s+.,'\"<>~±=#][^'\"\n]{0,23}|%|‰|\S")
_NO_UNITS = frozenset(  # words in the place of a number
    re.findall(
        r"\S+",
        "bad err error fail failed false hi high inf invalid lo low missing n.a. n.d. na nan nd ng nil no nok none "
        "null off ok on over overflow overrange ovf ovld saturated true under underflow underrange unknown yes",
    )
)


def column_names(cells: Sequence[str], numbered: bool) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the names of columns, each another one, and those that were changed for it, by what they became.

    Args:
        cells: The first row.
        numbered: Whether all columns are called by their place, as one without a name is.

    Example:
        >>> column_names(["a", "", "a"], False)
        (('a', 'column_2', 'a_2'), {'a_2': 'a'})
    """
    wanted = [f"column_{place}" if numbered or not cell else cell for place, cell in enumerate(cells, 1)]
    taken, names, renamed = set(wanted), [], {}
    seen: Counter[str] = Counter()
    for name in wanted:
        seen[name] += 1
        new = name
        while seen[name] > 1 and new in taken:
            new = f"{name}_{seen[name]}"
            seen[name] += new in taken
        if new != name:
            renamed[new] = name
            taken.add(new)
        names.append(new)
    return tuple(names), renamed


def is_data(cells: Sequence[str]) -> bool:
    """Return whether a first line holds numbers, and not the 0, 1, 2... that pandas writes over an array."""
    filled = [cell for cell in cells if cell]
    counting = len(filled) >= 3 and filled == [str(place) for place in range(len(filled))]
    return bool(filled) and not counting and all(map(is_number, filled))


def is_like_a_header(cells: Sequence[str], second: Sequence[str]) -> bool:
    """Return whether numbers look like names: ascending, as wavelengths and years do, or whole above fractions."""
    if len(cells) < 2 or not all(cell.lstrip("+-").replace(".", "", 1).isdecimal() for cell in cells):
        return False
    values = [float(cell) for cell in cells]
    ascending = len(cells) > 2 and all(one < after for one, after in pairwise(values))
    whole = all(cell.isdecimal() for cell in cells) and len(set(cells)) == len(cells)
    return ascending or (whole and all("." in cell for cell in second))


def is_nameless(cell: str) -> bool:
    """Return whether a name is none: an empty cell, or what pandas calls a column that has no name."""
    return not cell or _NAMELESS.fullmatch(cell) is not None


def leading(cells: Sequence[str]) -> int:
    """Return how many cells at the beginning are no names, where others are."""
    nameless = [is_nameless(cell) for cell in cells]
    return nameless.index(False) if False in nameless else 0


def titles_above(rows: Rows, missing: Sequence[str]) -> int:
    """Return how many of the first rows stand above the names of the columns: titles, dates, names of devices.

    The first row is taken for the names unless it cannot be: one that has a single filled cell, at most half as many as
    a later row of words under which numbers stand, or fewer and another number of cells than the table.

    Example:
        >>> titles_above([["Run 7", "", ""], ["a", "b", "c"], ["1", "2", "x"]], [""])
        1
    """
    width = Counter(len(row) for row in rows).most_common(1)[0][0] if rows else 0
    if width < 2:
        return 0
    filled = [sum(map(bool, row)) for row in rows]
    for place, row in enumerate(rows[: _MOST_TITLES + 1]):
        if len(row) != width or filled[place] < 2 or any(map(is_number, row)):
            continue
        below = rows[place + 1 : place + 1 + MOST_BELOW]
        if not any(name and _share(below, column, missing) >= 0.5 for column, name in enumerate(row)):
            continue
        titles = [
            count < 2 or 2 * count <= filled[place] or (len(above) != width and count < filled[place])
            for above, count in zip(rows[:place], filled, strict=False)
        ]
        return place if all(titles) else 0
    return 0


def are_units(cells: Sequence[str], below: Rows, missing: Sequence[str]) -> bool:
    """Return whether the row under the names holds units: text where all later rows have numbers.

    Words such as "error" are no units, and where the columns have text, a unit is in brackets, a dash, or the only cell
    without a digit, as in "hh:mm" above 10:30.

    Example:
        >>> are_units(["mm", "°C", "-"], [["1,5", "20", "A"]], [""]), are_units(["err", "20"], [["1", "2"]], [""])
        (True, False)
    """
    whole = numeric = given = dashes = 0
    for column, cell in enumerate(cells):
        share = _share(below, column, missing)
        if share >= 0.5:
            numeric, whole = numeric + 1, whole + (share == 1)
            if cell in missing and cell:
                return False
            if cell and (is_number(cell) or cell.lower().strip("#!?*") in _NO_UNITS or not _is_unit(cell)):
                return False
            given, dashes = given + bool(cell), dashes + (cell.strip("-–—") == "" != cell)
        elif cell and not _BRACKETED.fullmatch(cell) and not _is_pattern(cell, column, below):
            return False
    return whole > 0 and 2 * given >= numeric and given > dashes


def shown_units(cells: Sequence[str]) -> str:
    """Return units as messages list them."""
    filled = [" ".join(cell.split()) for cell in cells if cell]
    return ", ".join(filled[:8]) + (", ..." if len(filled) > 8 else "")


def _is_unit(cell: str) -> bool:
    return _BRACKETED.fullmatch(cell) is not None or _UNIT.fullmatch(cell) is not None


def _is_pattern(cell: str, column: int, below: Rows) -> bool:
    """Return whether a cell has no digit where all others have one: what times and keys look like, in letters."""
    others = [row[column] for row in below if column < len(row) and row[column]]
    digits = [any(map(str.isdigit, other)) for other in others]
    return not any(map(str.isdigit, cell)) and bool(digits) and all(digits)


def _share(rows: Rows, column: int, missing: Sequence[str]) -> float:
    """Return how many cells of a column are numbers, with a sign of percent or currency or without; 0 of none."""
    cells = [row[column] for row in rows if column < len(row) and row[column] not in missing and row[column]]
    return sum(is_number(without_sign(cell)) for cell in cells) / max(1, len(cells))

"""Numbers as text writes them: 1.5, 1,5, 1,234.5, 1.234,5, 1 234,5; and which of these a file means.

A file is taken to be written in one way throughout. A way is possible where every cell of all columns of numbers is a
number in it, with groups of exactly three digits. `1,5` is a decimal comma and `1,234,567` has thousands; `1,234` alone
may be either.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

import polars as pl

_SPACES = "[ \u00a0\u2009\u202f]"
_MARKS = {"": "", " ": _SPACES, "'": "['\u2019]", ",": ",", ".": r"\.", "_": "_"}


@dataclass(frozen=True)
class Notation:
    """One way of writing numbers: the decimal mark, and the mark between groups of three digits ("" for none)."""

    decimal: str = "."
    thousands: str = ""

    @property
    def pattern(self) -> str:
        """A regular expression of the numbers that are written so."""
        group = _MARKS[self.thousands]
        whole = rf"(?:[0-9]+|[1-9][0-9]{{0,2}}(?:{group}[0-9]{{3}})+)" if group else "[0-9]+"
        mark = _MARKS[self.decimal]
        return (
            rf"^[+-]?(?:{whole}(?:{mark}[0-9]*)?|{mark}[0-9]+)(?:[eE][+-]?[0-9]+)?$"
            r"|^[+-]?(?i:inf|infinity|nan)$"
        )

    def plain(self, text: pl.Series) -> pl.Series:
        """Return numbers with a decimal point and no other mark; null where a text is none.

        Example:
            >>> Notation(",", ".").plain(pl.Series(["1.234,5", "1.23", "7"])).to_list()
            ['1234.5', None, '7']
        """
        if self == Notation():
            return text
        kept = pl.when(text.str.contains(self.pattern)).then(text)
        bare = kept.str.replace_all(_MARKS[self.thousands], "") if self.thousands else kept
        return pl.select(bare.str.replace_all(self.decimal, ".", literal=True)).to_series()

    def called(self) -> str:
        """Return it in words."""
        words = {",": "a decimal comma", ".": "a decimal point"}[self.decimal]
        return f"{words} and {self.thousands!r} between thousands" if self.thousands else words


PLAIN = Notation()
EVERY = tuple(
    Notation(decimal, thousands)
    for decimal in (".", ",")
    for thousands in ("", ",", ".", " ", "'")
    if thousands != decimal
)


@dataclass
class Evidence:
    """What the cells of a file, seen block by block, say about its notation.

    Attributes:
        possible: The notations that may be meant from the start.
        fitting: Of each column that holds numbers in some notation, in which all of its cells are such so far.
        pointed: Columns in which a mark was seen that could be a decimal one, and the first such cell.
    """

    possible: tuple[Notation, ...]
    fitting: dict[str, tuple[Notation, ...]] = field(default_factory=dict)
    pointed: dict[str, str] = field(default_factory=dict)

    def see(self, name: str, cells: pl.Series) -> None:
        """Take note of some cells of a column, without spaces around them and without missing ones."""
        before = self.fitting.get(name, self.possible)
        self.fitting[name] = tuple(one for one in before if cells.str.contains(one.pattern).all())
        if (
            self.fitting[name]
            and name not in self.pointed
            and (marked := cells.filter(cells.str.contains("[.,]"))).len()
        ):
            self.pointed[name] = marked[0]

    @property
    def open(self) -> bool:
        """Whether some column may yet hold numbers."""
        return any(self.fitting.values())

    def found(self, before: Notation | None = None) -> tuple[Notation, ...]:
        """Return the notations in which all columns of numbers are such, one of those that give the same values.

        Only `before`, that of files read before, where it is one of them.
        """
        columns = {name: fits for name, fits in self.fitting.items() if fits}
        common = [one for one in self.possible if columns and all(one in fits for fits in columns.values())]
        if not any(name in self.pointed for name in columns):
            return tuple(common[:1])
        if before in common:
            return (before,)
        by_decimal = {one.decimal: one for one in reversed(common)}
        return tuple(by_decimal.values())

    def example(self) -> str:
        """Return a cell with a mark."""
        return next((self.pointed[name] for name, fits in self.fitting.items() if fits and name in self.pointed), "")


def possible(decimal: str | None, thousands: str | None) -> tuple[Notation, ...]:
    """Return the notations that two settings leave open."""
    fitting = [
        one for one in EVERY if decimal in (None, one.decimal) and (thousands is None or thousands == one.thousands)
    ]
    return tuple(fitting) or (Notation(decimal or ".", thousands or ""),)


# In some notation, whatever its case; without an anchor, so that it can be a part of other expressions.
NUMBER = (
    r"[+-]?(?:[0-9]+[.,]?[0-9]*|[.,][0-9]+|[0-9]{1,3}(?:[.,' ][0-9]{3})+(?:[.,][0-9]*)?)(?:e[+-]?[0-9]+)?"
    r"|[+-]?inf|nan"
)
_NUMBER = re.compile(NUMBER, re.ASCII | re.IGNORECASE)


def is_number(cell: str) -> bool:
    """Say whether a cell is a number in some notation.

    Example:
        >>> [is_number(cell) for cell in ("1", "-1,5e3", "1.234,5", "1,2,3", "a1")]
        [True, True, True, False, False]
    """
    return _NUMBER.fullmatch(cell) is not None


def share_of_numbers(rows: Iterable[Iterable[str]], missing: tuple[str, ...]) -> float:
    """Return how many of all cells are numbers or missing."""
    cells = [cell.strip() for row in rows for cell in row]
    return sum(is_number(cell) or cell in missing for cell in cells) / max(1, len(cells))

"""How a file of rows is to be read, where its content does not tell or tells it wrong."""

import codecs
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from omokage.errors import FileFormatError, ParameterError, in_unicode, is_count, listing, suggest
from omokage.files.formats import MISSING
from omokage.files.numbers import Notation, possible

INDEXES = ("auto", "keep", "drop")
EMPTIES = ("auto", "keep")
DECIMALS = (".", ",")
MOST_SKIPPED = 100_000  # lines
THOUSANDS = ("", ",", ".", " ", "'", "_")


@dataclass(frozen=True)
class Options:
    """How a file of rows is read. `None` means that it is found in the file, or is an error where there is a doubt.

    Attributes:
        separator: Between the cells of text, one ASCII character, or "tab"; " " is any number of spaces and tabs.
        decimal: The mark before the decimals of numbers, "." or ",".
        thousands: The mark between groups of three digits: "", ",", ".", " ", "'" or "_"; a space is also a
            no-break space.
        encoding: Of text, any that Python knows. A byte-order mark is skipped.
        header: Whether the first line of text holds the names of the columns.
        array: Which array of an .npz file; when `None` the only one, else "X", else "arr_0".
        missing: The cells of text that stand for a missing value, apart from spaces around them.
        index: What to do with row numbers and other indexes that pandas or R wrote beside the columns. "auto" leaves
            out what is one without doubt, "keep" takes them as columns, "drop" leaves out any first column without a
            name.
        text: Columns that are keys or labels: read as text, as it stands in the file. Never a number, never missing
            but for an empty cell.
        kept: Columns of text that are numbers, true or false, and are handed on as they stand in the file all the same.
        units: Whether the line under the names of the columns holds their units, and is left out.
        skip: How many lines above the names of the columns are left out, such as a title; of Excel, rows.
        sheet: Which sheet of an Excel file; when `None` the first one that is not empty.
        empty: What to do with rows without any value at the end, and with columns that have neither a name nor a value.
            "auto" leaves them out, "keep" takes them.
        notation: The decimal mark and the mark between groups of three digits that were found in files read before, as
            (",", "."). Where the two are not given, numbers are read so if they all can be.

    Example:
        >>> Options(separator=";", decimal=",").to_json()
        {'separator': ';', 'decimal': ','}
    """

    separator: str | None = None
    decimal: str | None = None
    thousands: str | None = None
    encoding: str | None = None
    header: bool | None = None
    array: str | None = None
    missing: tuple[str, ...] = MISSING
    index: Literal["auto", "keep", "drop"] = "auto"
    text: tuple[str, ...] = ()
    notation: tuple[str, str] | None = None
    kept: tuple[str, ...] = ()
    units: bool | None = None
    skip: int | None = None
    sheet: str | None = None
    empty: Literal["auto", "keep"] = "auto"

    def __post_init__(self) -> None:
        if self.separator in ("tab", "\\t"):  # as one writes it on a command line
            object.__setattr__(self, "separator", "\t")
        mark = self.separator
        if mark is not None and not (
            isinstance(mark, str) and len(mark) == 1 and mark.isascii() and mark not in '"\r\n'
        ):
            raise ParameterError(f"separator: expected one ASCII character such as ',' or ';', or 'tab', got {mark!r}.")
        self._check("decimal", DECIMALS)
        self._check("thousands", THOUSANDS)
        for name, choices in (("index", INDEXES), ("empty", EMPTIES)):
            given = getattr(self, name)
            if not (isinstance(given, str) and given in choices):
                near = suggest(str(given), choices)
                raise ParameterError(f"{name}: expected one of {listing(choices)}, got {given!r}.{near}")
        if self.decimal == (self.thousands or "none"):
            raise ParameterError(f"thousands: {self.thousands!r} is the decimal mark; they must differ.")
        if self.separator is not None and self.separator == self.decimal == ",":
            raise ParameterError("separator, decimal: ',' cannot be both. Name the separator, such as ';'.")
        for name in ("header", "units"):
            given = getattr(self, name)
            if not (given is None or isinstance(given, bool)):
                raise ParameterError(f"{name}: expected True, False or None, got {given!r}.")
        if self.units and self.header is False:
            raise ParameterError("units: a table without names of columns (header=False) has no units under them.")
        for name in ("array", "sheet"):
            given = getattr(self, name)
            if given is not None and not isinstance(given, str):
                raise ParameterError(f"{name}: expected the name of the {name}, got {given!r}.")
        if self.skip is not None and not (is_count(self.skip, 0) and self.skip <= MOST_SKIPPED):
            raise ParameterError(f"skip: expected a whole number from 0 to {MOST_SKIPPED:,}, got {self.skip!r}.")
        if self.skip is not None:
            object.__setattr__(self, "skip", int(self.skip))
        for name in ("missing", "text", "kept"):
            given = getattr(self, name)
            if isinstance(given, str) or not isinstance(given, Sequence) or not all(map(_is_text, given)):
                raise ParameterError(f"{name}: expected a list of texts in Unicode, got {given!r}.")
            object.__setattr__(self, name, tuple(given))
        if self.notation is not None:
            self._check_notation()
        if self.encoding is not None:
            _check_encoding(self.encoding)

    @property
    def asked(self) -> Notation:
        """How numbers are written as far as it was asked for, else plainly."""
        return Notation(self.decimal or ".", self.thousands or "")

    @property
    def remembered(self) -> Notation | None:
        """How numbers were written in files read before, where it is not asked for otherwise."""
        before = Notation(*self.notation) if self.notation else None
        return before if before in possible(self.decimal, self.thousands) else None

    def _check_notation(self) -> None:
        given: Any = self.notation
        marks = tuple(given) if isinstance(given, list | tuple) else ()
        if len(marks) != 2 or marks[0] not in DECIMALS or marks[1] not in THOUSANDS or marks[0] == marks[1]:
            raise ParameterError(
                f"notation: expected a decimal mark and another mark between thousands, as (',', '.'); got {given!r}."
            )
        object.__setattr__(self, "notation", marks)

    def _check(self, name: str, choices: tuple[str, ...]) -> None:
        value = getattr(self, name)
        if value is not None and not (isinstance(value, str) and value in choices):
            raise ParameterError(f"{name}: expected one of {listing(choices, 9)} or None, got {value!r}.")

    def to_json(self) -> dict[str, Any]:
        """Return the settings that are not the usual ones, as a JSON object."""
        usual, here = asdict(Options()), asdict(self)
        changed = {name: value for name, value in here.items() if value != usual[name]}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in changed.items()}

    @staticmethod
    def from_json(value: Any) -> "Options":
        """Return the settings of a JSON object; raises FileFormatError where it does not hold such."""
        known = {field.name for field in fields(Options)}
        if not isinstance(value, dict) or not value.keys() <= known:
            raise FileFormatError(
                f"Settings of reading: expected an object of {listing(sorted(known), 20)}; got {value!r}."
            )
        try:
            return Options(**value)
        except ParameterError as error:
            raise FileFormatError(f"Settings of reading: {error}") from None


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and in_unicode(value) == value


def _check_encoding(encoding: Any) -> None:
    try:
        "".encode(encoding)
        codecs.getincrementaldecoder(encoding)
    except (LookupError, ValueError, TypeError):
        raise ParameterError(
            f"encoding: {encoding!r} is not a text encoding; 'utf-8', 'cp932' and 'euc_jp' are."
        ) from None

"""From cells of text to columns with types: numbers in the way of writing that fits all of them, true or false, text.

The cells come block by block and more than once: to find the types that fit all of them, how numbers are written, and
the signs beside numbers, and then to be converted by the same rules. A cell that does not fit is named by its place.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
import polars as pl

from omokage.errors import DataError, listing, shown
from omokage.files.numbers import NUMBER, Evidence, Notation, possible
from omokage.files.options import Options
from omokage.files.signs import SIGNED, sign_of, unsigned

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
_MOST_NOTES = 5  # on columns of one kind


class Block(NamedTuple):
    """Some rows: their cells as text, and how a row is called in messages."""

    cells: pl.DataFrame
    where: Callable[[int], str]


@dataclass(frozen=True)
class Reading:
    """How the cells of a file are read, which all of it tells.

    Attributes:
        notation: How its numbers are written.
        types: Of the columns, but for those that are text as it stands.
        notes: What to say of it, a line each, without the name of the file.
        signs: Of percent or currency beside the numbers of columns.
    """

    notation: Notation
    types: dict[str, Any]
    notes: tuple[str, ...] = ()
    signs: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Conversion:
    """Cells of text and what they are converted to.

    Attributes:
        path: The file, for messages.
        names: The columns.
        blocks: Gives all rows in order, each time anew.
        options, types: As in `omokage.files.opening.open_table`.
        comma: Whether a comma is a decimal mark where it could be one between thousands too.
    """

    path: Path
    names: tuple[str, ...]
    blocks: Callable[[], Iterator[Block]]
    options: Options
    types: Mapping[str, Any]
    comma: bool = False

    def convert(self, block: Block, names: Sequence[str]) -> pl.DataFrame:
        """Return these columns of a block with their types.

        Raises:
            DataError: If a cell does not have the type that was asked for.
        """
        found = self.reading.types
        types = {name: found[name] for name in names if name in found and name not in self.options.kept}
        columns: dict[str, pl.Series] = {name: block.cells[name] for name in names if name not in types}
        for kind in dict.fromkeys(types.values()):
            alike = [name for name in names if types.get(name) == kind]
            text, values = self._converted(block.cells, alike, kind, self.reading.notation, self.reading.signs)
            if values.null_count() != text.null_count():
                self._misfit(block, alike, kind, text, values)
            height = block.cells.height
            columns |= {
                name: values[place * height : (place + 1) * height].alias(name) for place, name in enumerate(alike)
            }
        return pl.DataFrame({name: columns[name] for name in names})

    @cached_property
    def reading(self) -> Reading:
        """How numbers are written, and the type of each column but for those that are text as it stands."""
        asked, before = self.options.asked, self.options.remembered
        signs = self._signs()
        notes = (_of_signs(signs),) if signs else ()
        types = self._types(asked, signs)
        open_names = [name for name, kind in types.items() if name not in self.types and kind != pl.Int64]
        doubtful = (pl.String,) if before is None else (pl.String, pl.Float64)  # 3.001 was three thousand before
        if not any(types[name] in doubtful for name in open_names):
            return Reading(asked, types, notes, signs)
        ways = possible(self.options.decimal, self.options.thousands)
        evidence = Evidence(ways)
        for cells, _ in self.blocks() if len(ways) > 1 else ():
            for name in open_names:
                text, missing = self._bare(unsigned(cells[name], signs[name]) if name in signs else cells[name])
                evidence.see(name, text.filter(~missing))
            if not any(evidence.fitting[name] and types[name] in doubtful for name in open_names):
                break  # columns of text, and no other ones
        found = evidence.found(before)
        if len(found) == 2 and self.comma and (before is None or before.decimal == ","):
            found = tuple(one for one in found if one.decimal == ",")
        if len(found) > 1:
            raise DataError(
                f"{self.path}: {evidence.example()!r} may have a decimal mark or one between thousands, and no "
                "other cell tells. Say which: decimal=',' or decimal='.' (--decimal)."
            )
        notation = found[0] if found else before or asked
        if notation == asked and not (before and evidence.example()):
            return Reading(asked, types, notes, signs)
        beside = "" if before is None else f", not as at the fit ({before.called()})"
        if notation == before:
            beside = ", as at the fit"
        note = f"its numbers are read with {notation.called()}{beside}; decimal= and thousands= say otherwise."
        types = types if notation == asked else self._types(notation, signs)
        return Reading(notation, types, (*notes, note), signs)

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What was found in the cells, a line each, with the name of the file; reads all of them."""
        found = (*self.reading.notes, *self._broken())
        return tuple(f"{self.path}: {note}" for note in found)

    def _signs(self) -> dict[str, str]:
        """Return the signs beside numbers of those columns whose cells all have the same one."""
        names = [name for name in self.names if name not in self.options.text and self.types.get(name) != pl.String]
        first = next(self.blocks(), None)
        if first is None:
            return {}
        names = [name for name in names if self._first_sign(first.cells[name])]
        found: dict[str, set[str | None]] = {name: set() for name in names}
        for cells, _ in self.blocks() if names else ():
            for name in names:
                text, missing = self._bare(cells[name])
                found[name].add(sign_of(text.filter(~missing)))
        signs = {name: kinds - {""} for name, kinds in found.items()}
        return {name: sign for name, (sign, *more) in signs.items() if sign is not None and not more}

    def _first_sign(self, cells: pl.Series) -> bool:
        """Return whether the first cell that is there has a sign."""
        text, missing = self._bare(cells[:1000])
        return bool(text.filter(~missing)[:1].str.contains(SIGNED).any())

    def _types(self, notation: Notation, signs: Mapping[str, str]) -> dict[str, Any]:
        """Return the type of each column: as given, else the first of `_GUESSES` that fits every value."""
        wanted = [name for name in self.names if name not in self.options.text]
        found: dict[str, Any] = {name: None for name in wanted if name not in self.types}
        for cells, _ in self.blocks() if found else ():
            open_names = [name for name, kind in found.items() if kind != pl.String]
            for kind in _GUESSES:
                alike = [name for name in open_names if kind in _AFTER[found[name]]]
                if not alike:
                    continue
                text, values = self._converted(cells, alike, kind, notation, signs)
                filled = text.is_not_null().to_numpy().reshape(len(alike), -1)
                fits = (filled == values.is_not_null().to_numpy().reshape(filled.shape)).all(1)
                for place in np.flatnonzero(fits):
                    found[alike[place]] = kind if filled[place].any() else found[alike[place]]
                fitting = {alike[place] for place in np.flatnonzero(fits)}
                open_names = [name for name in open_names if name not in fitting]
            found |= dict.fromkeys(open_names, pl.String)
        return {name: self.types.get(name, found.get(name) or pl.String) for name in wanted}

    def _converted(
        self, cells: pl.DataFrame, names: Sequence[str], kind: Any, notation: Notation, signs: Mapping[str, str]
    ) -> tuple[pl.Series, pl.Series]:
        """Return columns one under the other, as text and as `kind`; null in the second is not of that kind.

        One under the other, since a thousand columns would take thousands of expressions.
        """
        bare_of = signs if kind != pl.String else {}
        raw = pl.concat([unsigned(cells[name], bare_of[name]) if name in bare_of else cells[name] for name in names])
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

    def _misfit(self, block: Block, names: Sequence[str], kind: Any, text: pl.Series, values: pl.Series) -> NoReturn:
        """Raise for the first cell that is not of the type it has to be."""
        wrong = (text.is_not_null() & values.is_null()).arg_true()
        column, row = divmod(int(wrong[0]), block.cells.height)
        more = f" {len(wrong) - 1} more cells near it are like that." if len(wrong) > 1 else ""
        raise DataError(
            f"{self.path}, {block.where(row)}, column {names[column]!r}: expected {_CALLED.get(kind, kind)}, got "
            f"{text[int(wrong[0])]!r}. Correct the cell, or leave it empty if the value is missing.{more}"
        )

    # ------------------------------------------------------------------------------------------ what to say

    def _broken(self) -> list[str]:
        """Return notes on columns of text that are numbers but for some cells."""
        known = {*self.options.kept, *self.types}
        text = [name for name, kind in self.reading.types.items() if kind == pl.String and name not in known]
        first = next(self.blocks(), None) if text else None
        names = [name for name in text if first is not None and self._share(first.cells[name]) >= 0.5]
        found: dict[str, tuple[str, str]] = {}
        for block in self.blocks() if names else ():
            for name in [name for name in names if name not in found]:
                cells, missing = self._bare(block.cells[name])
                odd = (~missing & ~cells.str.contains(f"^(?i:{NUMBER})$") & cells.is_not_null()).arg_true()
                if len(odd):
                    found[name] = (block.where(int(odd[0])), cells[int(odd[0])])
            if len(found) == len(names):
                break
        notes = []
        for name, (where, cell) in islice(found.items(), _MOST_NOTES):
            cure = (
                "write all of the column with the sign or none"
                if pl.Series([cell]).str.contains(SIGNED)[0]
                else (f"correct the cell, or pass missing= (--missing) with {cell!r} among the cells without a value")
            )
            notes.append(
                f"column {name!r} is read as text, since {where} has {shown(cell)}, which is no number; {cure}."
            )
        for name in islice((name for name in names if name not in found), _MOST_NOTES):
            notes.append(
                f"column {name!r} is read as text, since its numbers are written in several ways; write all with the "
                "same marks."
            )
        more = len(names) - len(notes)
        return [*notes, f"{more} more columns are like that."] if more > 0 else notes

    def _share(self, cells: pl.Series) -> float:
        """Return how many of the cells that are there are numbers."""
        text, missing = self._bare(cells)
        there = text.filter(~missing)
        return float(there.str.contains(f"^(?i:{NUMBER})$").mean() or 0.0) if len(there) else 0.0  # type: ignore[arg-type]


def _of_signs(signs: Mapping[str, str]) -> str:
    """Return a note on columns whose numbers have signs."""
    by_sign: dict[str, list[str]] = {}
    for name, sign in signs.items():
        by_sign.setdefault(sign, []).append(name)
    columns = "; ".join(f"{sign!r} ({listing(names)})" for sign, names in by_sign.items())
    share = " So 12 % is 12, and not 0.12." if by_sign.keys() & set("%％") else ""
    return (
        f"the numbers are read without the sign beside them: {columns}.{share} text= names columns that are to stay "
        "text."
    )

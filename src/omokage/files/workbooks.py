"""Excel files and other spreadsheets: the table of one sheet, read by calamine (the package fastexcel) and Polars.

A sheet is held in memory as a whole. Cells with numbers, times, true or false have their types. Cells of text follow
the rules for delimited text, so that a number that was written as text is a number here too.
"""

import datetime as dt
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from omokage.errors import FileFormatError, ParameterError, listing, suggest
from omokage.files.contents import LOCKED, Content
from omokage.files.conversion import Block, Conversion
from omokage.files.formats import first_line
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
from omokage.files.indexes import are_keys
from omokage.files.numbers import Notation
from omokage.files.options import Options
from omokage.files.parquet import as_text
from omokage.files.sheets import Beside, beside

_HEAD = 1000  # rows by which the layout is told
_PLACE = re.compile(r"column __UNNAMED__(\d+)")
_MOST_NOTES = 5  # on columns of one kind
_EXACT = 2.0**53  # up to which a number without decimals is a whole one


def open_workbook(
    content: Content, options: Options, types: Mapping[str, Any], columns: Sequence[str] | None
) -> "Sheet":
    """Find the table of a sheet.

    Args:
        content: The file.
        options, types, columns: As in `omokage.files.opening.open_table`.

    Raises:
        FileFormatError: If the file or its sheet cannot be read, fastexcel is not installed, or there are no rows.
        ParameterError: If there is no sheet of that name.
    """
    path = content.path
    reader = _reader(path)
    name, grid, about, notes = _chosen(path, reader, options)
    filled = grid.select(pl.any_horizontal(pl.all().str.strip_chars().fill_null("") != "")).to_series().arg_true()
    heading = _heading(path, name, grid, filled.to_list(), options)
    names, renamed = column_names(heading.cells, heading.data)
    asked = {*options.text, *options.kept}
    if twice := sorted(asked & {*renamed.values()}):
        raise FileFormatError(
            f"{path}: the column name {listing(twice)} comes more than once, so it cannot be told which one is meant. "
            "Rename the columns."
        )
    notes += heading.notes
    if renamed:
        changed = listing([f"{old} → {new}" for new, old in renamed.items()])
        notes.append(
            "names of columns come more than once. The first keeps its name, and later ones get a number: "
            f"{changed}. They are told apart by their order alone."
        )
    start, stop = heading.start, int(filled[-1]) + 1
    if stop <= start:
        raise FileFormatError(f"{path}: the sheet {name!r} has a header ({listing(names)}) and no rows.")
    grid = grid[start:stop].rename(dict(zip(grid.columns, names, strict=True)))
    cells = [] if heading.data else heading.cells
    blank = [called for called, cell in zip(names, cells, strict=False) if is_nameless(cell)]
    kept, more = _kept(grid, blank, leading(cells), {*asked, *(columns or ())}, options)
    every = tuple(f"{path}: {note}" for note in (*notes, *more, *about.notes(start + 1)))
    return Sheet(path, reader, name, grid, names, kept, start, options, types, every)


class _Heading(NamedTuple):
    """The row of names, whether it is one of data instead, the first row of the table, and what was found."""

    cells: list[str]
    data: bool
    start: int
    notes: list[str]


def _heading(path: Path, name: str, grid: pl.DataFrame, filled: Sequence[int], options: Options) -> _Heading:
    """Find the names of the columns among the rows of a sheet that hold something, `filled`."""
    notes: list[str] = []
    skipped = options.skip or 0
    top = next((place for place in filled if place >= skipped), None)
    if top is None:
        raise FileFormatError(f"{path}: the sheet {name!r} has no cells with a value below row {skipped}.")
    rows = [[(cell or "").strip() for cell in row] for row in grid[top : top + _HEAD].rows()]
    place = 0
    if options.skip is None and options.header is None and (place := titles_above(rows, options.missing)):
        title = next(cell for cell in rows[0] if cell)
        notes.append(
            f"the rows above row {top + place + 1} ({title!r}) are no part of the table, and are left out; skip=0 "
            "(--skip 0) says otherwise."
        )
    cells = rows[place]
    data = is_data(cells) if options.header is None else not options.header
    below = [(row, rows[row]) for row in range(place + 1, len(rows)) if any(rows[row])][: MOST_BELOW + 1]
    if options.header is None and data and is_like_a_header(cells, below[0][1] if below else []):
        notes.append(
            f"row {top + place + 1} holds numbers, and is read as data. If they are the names of the columns, pass "
            "header=True (--header true)."
        )
    start = top + place + (not data)
    if not data and below and options.units is not False:
        row, units = below[0]
        if options.units or are_units(units, [cells for _, cells in below[1:]], options.missing):
            start = top + row + 1
            notes.append(
                f"row {start} holds the units of the columns ({shown_units(units)}), and is left out; "
                "units=False (--no-units) says otherwise."
            )
    return _Heading(cells, data, start, notes)


def _kept(
    grid: pl.DataFrame, blank: Sequence[str], nameless: int, asked: set[str], options: Options
) -> tuple[tuple[str, ...], list[str]]:
    """Return the columns that are neither empty nor an index, and notes on the others."""
    notes: list[str] = []
    empty = [name for name in blank if name not in asked and grid[name].null_count() == grid.height]
    empty = empty if options.empty == "auto" else []
    if empty:
        notes.append(
            f"columns without a name and without any value are left out: {listing(empty)}. empty='keep' (--empty keep) "
            "says otherwise."
        )
    first = [name for name in grid.columns[:nameless] if name not in empty and name not in asked]
    index: list[str] = []
    if first and options.index != "keep" and len(first) + len(empty) < grid.width:
        place = "the first column, which has no name, is" if len(first) == 1 else "the first columns without names are"
        if options.index == "drop" or are_keys([grid[name] for name in first]):
            index = first
            notes.append(f"{place} taken for row numbers, and left out. Pass index='keep' (--index keep) otherwise.")
        else:
            notes.append(f"{place} read as data. For an index pass index='drop' (--index drop).")
    later = [name for name in blank if name not in empty and name not in grid.columns[:nameless]]
    if later:
        notes.append(f"columns without a name are called by their place: {listing(later)}.")
    kept = tuple(name for name in grid.columns if name not in empty and name not in index)
    return (kept or tuple(grid.columns)), notes


@dataclass(frozen=True)
class Sheet:
    """A table in a sheet, whose types are found when it is read.

    Attributes:
        path: The file.
        reader, sheet: From what it is read.
        grid: All cells as text.
        every: The names of all columns.
        names: Those of the columns that are read.
        start: How many rows of the sheet stand above the first row.
        options, types: As asked for.
        opening_notes: What was found when it was opened, a line each.
    """

    path: Path
    reader: Any = field(repr=False)
    sheet: str
    grid: pl.DataFrame = field(repr=False)
    every: tuple[str, ...]
    names: tuple[str, ...]
    start: int
    options: Options
    types: Mapping[str, Any]
    opening_notes: tuple[str, ...]

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return self.grid.height

    @property
    def notes(self) -> tuple[str, ...]:
        """What was found in it, a line each."""
        mixed = [note for name in self.conversion.names if (note := self._of_words(name))]
        more = [f"{len(mixed) - _MOST_NOTES} more columns are like that."] if len(mixed) > _MOST_NOTES else []
        words = (f"{self.path}: {note}" for note in (*mixed[:_MOST_NOTES], *more))
        return (*self.opening_notes, *self.conversion.notes, *words)

    @property
    def notation(self) -> Notation:
        """How numbers are written in cells of text."""
        return self.conversion.reading.notation

    def read(self, names: Sequence[str]) -> pl.DataFrame:
        """Return all rows of these columns.

        Raises:
            DataError: If a cell does not have the type that was asked for.
        """
        return pl.DataFrame([self._column(name) for name in names])

    def batches(self, names: Sequence[str], rows: int) -> Iterator[pl.DataFrame]:
        """Yield frames of `rows` rows with these columns."""
        yield from self.read(names).iter_slices(rows)

    @cached_property
    def cells(self) -> pl.DataFrame:
        """All cells with the types that the sheet gives them; columns that hold text are text."""
        nulls = [column.null_count() == column.len() for column in self.grid.get_columns()]
        wanted = {place: "string" for place, null in enumerate(nulls) if null}  # of which no type can be guessed
        with _errors(self.path):
            for _ in range(len(self.every) + 2):
                try:
                    columns = self._load(wanted).get_columns()
                except Exception as error:  # of columns that hold text beside spans of time
                    place = _PLACE.search(str(error))
                    if place is None or int(place[1]) in wanted:
                        raise
                    wanted[int(place[1])] = "string"
                    continue
                # Words such as "null" and "n/a" among numbers would be missing, whatever the options say.
                words = [place for place, column in enumerate(columns) if self._loses_words(column, place)]
                if not words:
                    break
                wanted |= dict.fromkeys(words, "string")
        return pl.DataFrame([self._valued(place, column) for place, column in enumerate(columns)])

    def _valued(self, place: int, column: pl.Series) -> pl.Series:
        """Return a column by its name, without cells that stand for a missing value where it is no text."""
        if column.dtype != pl.String:
            there = pl.when(~self._missing(place)).then(column)
            column = _typed(pl.select(there.fill_nan(None) if column.dtype == pl.Float64 else there).to_series())
        return column.alias(self.every[place])

    def _missing(self, place: int) -> pl.Series:
        """Return which cells of a column stand for a missing value."""
        return self.grid.to_series(place).str.strip_chars().is_in(self.options.missing).fill_null(True)

    def _loses_words(self, column: pl.Series, place: int) -> bool:
        """Return whether a column has no value where the sheet has one that is not missing."""
        lost = column.is_null() | (column.is_nan() if column.dtype == pl.Float64 else pl.Series([False]))
        written = self.grid.to_series(place).str.strip_chars()
        return column.dtype != pl.String and bool((lost & (written != "") & ~self._missing(place)).any())

    @cached_property
    def numeric(self) -> pl.DataFrame:
        """Which cells of columns of text are numbers, or true or false, and no text."""
        text = [place for place, column in enumerate(self.cells.get_columns()) if column.dtype == pl.String]
        with _errors(self.path):
            flags = self._load(dict.fromkeys(text, "boolean"))
        return pl.DataFrame([flags.to_series(place).is_not_null().alias(self.every[place]) for place in text])

    @cached_property
    def conversion(self) -> Conversion:
        """The cells of text, and how they become columns with types."""
        names = tuple(
            name
            for name in self.names
            if self.cells[name].dtype == pl.String and name not in (*self.options.text, *self.options.kept)
        )
        block = Block(
            pl.DataFrame(
                [
                    pl.select(pl.when(~self.numeric[name]).then(self.cells[name]).alias(name)).to_series()
                    for name in names
                ]
            ),
            lambda row: f"row {self.start + row + 1}",
        )
        return Conversion(self.path, names, lambda: iter([block] * bool(names)), self.options, self.types)

    def _column(self, name: str) -> pl.Series:
        cells = self.cells[name]
        if name in self.options.text or self.types.get(name) == pl.String:
            return as_text(cells, self.path)
        if name not in self.conversion.names:
            return cells
        numbers = self.numeric[name]
        text = self.conversion.convert(next(self.conversion.blocks()), [name])[name]
        if not numbers.any():
            return text
        if not text.dtype.is_numeric() and self._words(name).any():
            return cells
        given = pl.select(pl.when(numbers).then(cells)).to_series().cast(pl.Float64, strict=False)
        found = text.cast(pl.Float64) if text.dtype.is_numeric() else pl.Series([None] * len(text), dtype=pl.Float64)
        return _typed(pl.select(pl.coalesce(given, found)).to_series()).alias(name)

    def _words(self, name: str) -> pl.Series:
        """Return which cells of a column hold text that is not missing."""
        written = next(self.conversion.blocks()).cells[name].str.strip_chars()
        return ~written.is_in(self.options.missing) & written.is_not_null()

    def _of_words(self, name: str) -> str:
        """Return a note on a column of numbers that has words as well, or nothing."""
        numbers, words = self.numeric[name], self._words(name)
        if self.conversion.reading.types.get(name) != pl.String or not words.any() or numbers.sum() < words.sum():
            return ""
        row = int(words.arg_true()[0])
        cell = self.cells[name][row]
        return (
            f"column {name!r} is read as text, since row {self.start + row + 1} has {cell!r}, which is no number; "
            f"correct the cell, or pass missing= (--missing) with {cell!r} among the cells without a value."
        )

    def _load(self, types: Mapping[int, str]) -> pl.DataFrame:
        """Return the rows with the types that fastexcel guesses, but for those of columns that are given by place."""
        by_name = {f"__UNNAMED__{place}": kind for place, kind in types.items()}  # numbers are places in the sheet
        sheet = self.reader.load_sheet(
            self.sheet,
            header_row=None,
            skip_rows=self.start,
            n_rows=self.rows,
            schema_sample_rows=None,
            dtypes=by_name or None,
        )
        return pl.DataFrame(sheet)


def _reader(path: Path) -> Any:
    try:
        import fastexcel
    except ImportError:
        raise FileFormatError(
            f"{path}: it is an Excel file or another Office spreadsheet; to read it, pip install 'omokage[excel]'. Or "
            "save the sheet as CSV (UTF-8)."
        ) from None
    content = path.read_bytes()
    with _errors(path):
        return fastexcel.read_excel(content)


def _chosen(path: Path, reader: Any, options: Options) -> tuple[str, pl.DataFrame, Beside, list[str]]:
    """Return the name of the sheet that is read, its cells as text, what its XML says, and notes."""
    every = list(reader.sheet_names)
    if options.sheet is not None and options.sheet not in every:
        raise ParameterError(
            f"sheet: {path} has no sheet {options.sheet!r}.{suggest(options.sheet, every)} It has {listing(every, 20)}."
        )
    xml = zipfile.is_zipfile(path)  # and no old Excel file
    for name in every if options.sheet is None else [options.sheet]:
        about = beside(path, name) if xml else Beside()
        with _errors(path):
            sheet = reader.load_sheet(name, header_row=None, skip_rows=0, dtypes="string")
            hidden = sheet.visible != "visible" and options.sheet is None and len(every) > 1
            grid = pl.DataFrame(sheet)
        if grid.width == 0 or hidden:
            continue
        others = [other for other in every if other != name]
        note = f"read is the sheet {name!r}; there are others: {listing(others)}. sheet= (--sheet) names another one."
        return name, grid, about, [note] if others and options.sheet is None else []
    which = "its sheet is" if len(every) == 1 or options.sheet else "all its sheets are"
    raise FileFormatError(f"{path}: {which} empty or hidden. Name the sheet with sheet= (--sheet), or fill it.")


def _typed(column: pl.Series) -> pl.Series:
    """Return a column with the narrower type that all its values have: whole numbers, dates, times of a day."""
    filled = column.drop_nulls()
    if not len(filled):
        return column
    if column.dtype == pl.Float64:
        whole = (filled.is_finite() & (filled.abs() <= _EXACT) & (filled == filled.floor())).all()
        return column.cast(pl.Int64) if whole else column
    if isinstance(column.dtype, pl.Datetime):
        if (filled.dt.date() <= dt.date(1899, 12, 31)).all():  # a time without a day counts from there
            return column.dt.time()
        return column.dt.date() if (filled.dt.time() == dt.time()).all() else column
    return column


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError, FileFormatError):
        raise
    except BaseException as error:  # a panic of Rust is no Exception
        if "password" in str(error).lower():
            raise FileFormatError(f"{path}: {LOCKED}") from None
        raise FileFormatError(
            f"{path}: a damaged Excel file or Office spreadsheet, or one that is not as specified "
            f"({first_line(error)}). Open it in Excel and save it again, or save the sheet as CSV (UTF-8)."
        ) from None

"""What a column of a table holds, decided by its values, and the way to numbers and back.

| type | holds | entries |
|---|---|---|
| `Number` | numbers, written back with as many decimals | a number; which of the values that repeat |
| `Category` | text, true/false, categories, numbers with one or two values | the place of the level in a list |
| `Time` | dates and times | seconds since the first |
| `LeftOut` | keys, free text, nothing: no input | none |

To a model a cell is one number or two, its entries. Those that are missing are NaN. A level that the fit did not
see has the number after the last level.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from omokage.data.column_types.categories import LEVELS, Category, Level, cells_of
from omokage.data.column_types.moments import Time
from omokage.data.column_types.numbers import AUTO, Number, NumberRule, Splined
from omokage.data.columns import row_numbers
from omokage.data.splines import Values
from omokage.errors import DataError, FileFormatError
from omokage.files.numbers import EVERY, PLAIN, Notation
from omokage.files.times import times

__all__ = [
    "AUTO",
    "LEVELS",
    "NAMES",
    "Category",
    "ColumnType",
    "LeftOut",
    "Level",
    "Number",
    "NumberRule",
    "Splined",
    "Time",
    "decide",
    "from_json",
    "number_rows",
    "slopes",
]  # fmt: skip

_FEWEST = 20  # cells that tell whether a column is a key
_KEYS, _TEXT = 0.95, 0.5  # share of different cells, from which a column of text is a key, or is free text
_WORDS = 3.0  # that cells of free text have on average
CODES = r"^[+-]?0\d|^\d{16,}$"  # digits that are no number: zeros before them, or more than float64 holds
DOUBT = "can be read as"  # in the error of text that is times in several ways
_HOPE = 200  # different cells that are looked at before a whole column is read as numbers or times


@dataclass(frozen=True)
class LeftOut:
    """A column that is no input, and why.

    Attributes:
        why: In words, after "is" or "holds".
    """

    why: str
    name: ClassVar[str] = "left out"

    @property
    def described(self) -> str:
        """What the column holds, in words."""
        return f"left out: {self.why}"


ColumnType = Number | Category | Time
_TYPES: dict[str, Any] = {one.name: one for one in (Number, Category, Time)}
NAMES = (*_TYPES, "ignore")


def decide(
    column: pl.Series, asked: str | None = None, levels: int = LEVELS, rule: NumberRule = AUTO
) -> ColumnType | LeftOut:
    """Return what a column holds.

    Args:
        column: With nulls where cells are missing.
        asked: One of `NAMES`; `None`: by the values.
        levels: How many a category has at most.
        rule: What is decided of numbers.

    Raises:
        DataError: If it cannot be used, or is not what is asked for.

    Example:
        >>> decide(pl.Series([1.5, 2.0, 7.25])), decide(pl.Series(["a", "b", "a"])).levels
        (Number(decimals=2, integer=False, notation=None, low=1.5, high=7.25, spikes=(), spline=None), ('a', 'b'))
        >>> decide(pl.Series(["1,5", "2,5", "3"])).read(pl.Series(["4,25"])).tolist()
        [[4.25]]
        >>> decide(pl.Series([f"part {number}" for number in range(30)]))
        LeftOut(why='a key, of which 30 of 30 are different')
    """
    if asked == "ignore":
        return LeftOut("as asked for")
    if column.null_count() == len(column):
        return LeftOut("no value in any row")
    kind = column.dtype
    if not (
        kind.is_numeric()
        or isinstance(kind, pl.Date | pl.Datetime)
        or kind in (pl.String, pl.Boolean, pl.Categorical, pl.Enum)
    ):
        raise DataError(
            f"X: column {column.name!r} holds {kind}, of which nothing can be learned. Leave it out, with "
            f"types={{{column.name!r}: 'ignore'}} (omokage.data.Columns), or give its parts as columns of their own."
        )
    if asked == "category":
        return Category.of(column, levels)
    if asked == "time":
        return Time.of(column)
    if asked == "number":
        return _asked_number(column, rule)
    if isinstance(kind, pl.Date | pl.Datetime):
        return Time.of(column)
    if column.dtype.is_numeric():
        different = column.drop_nans().n_unique() if column.dtype.is_float() else column.n_unique()
        few = different - (column.null_count() > 0) <= 2
        return Category.of(column) if few else Number.of(column, rule=rule)
    return _of_text(column, levels, rule)


def from_json(value: Any) -> ColumnType:
    """Return the type that `to_json` wrote.

    Raises:
        FileFormatError: If it is not sound.
    """
    try:
        found: ColumnType = _TYPES[value["type"]].from_json(value)
    except (KeyError, TypeError, ValueError, OverflowError, IndexError) as error:
        raise FileFormatError(f"schema.json: not the type of a column ({error!r}).") from None
    return found


def slopes(types: Sequence[ColumnType], owner: NDArray[np.int64], entries: Values) -> Values:
    """Return log |d entry / d cell| of raw entries, (n, E), in nats."""
    return np.concatenate([kind.log_slope(entries[:, owner == j]) for j, kind in enumerate(types)], 1)


def number_rows(columns: Sequence[pl.Series]) -> set[str]:
    """Return the names of the columns that number the rows, as an index does; see `row_numbers`."""
    whole = [column for column in columns if column.dtype.is_integer() and not column.null_count()]
    if not whole:
        return set()
    matrix = np.column_stack([column.cast(pl.Float64).to_numpy() for column in whole])
    names = tuple(column.name for column in whole)
    return {names[j] for j in row_numbers(matrix, names)}


def _of_text(column: pl.Series, levels: int, rule: NumberRule) -> ColumnType | LeftOut:
    """Return what a column of text, of categories or of true/false holds."""
    cells = cells_of(column)
    filled = cells.drop_nulls()
    different = filled.n_unique()
    if column.dtype == pl.String:
        notation = _notation(filled)
        if notation is not None and different > 2:
            return Number.of(notation.plain(filled).cast(pl.Float64), notation, rule)
        if different > 2 and (found := _time(column)) is not None:
            return found
        share = different / len(filled)
        if len(filled) >= _FEWEST and share >= _KEYS:
            return LeftOut(f"a key, of which {different:,} of {len(filled):,} are different")
        words = float(filled.str.count_matches(r"\s+").mean() or 0.0) + 1  # type: ignore[arg-type]
        if len(filled) >= _FEWEST and share >= _TEXT and words >= _WORDS:
            return LeftOut(f"free text, {words:.0f} words a cell")
    return Category.of(column, levels)


def _asked_number(column: pl.Series, rule: NumberRule) -> Number:
    """Return a column as numbers."""
    if column.dtype.is_numeric() or column.dtype == pl.Boolean:
        return Number.of(column.cast(pl.Int64) if column.dtype == pl.Boolean else column, rule=rule)
    cells = cells_of(column).drop_nulls()
    notation = _notation(cells)
    if notation is None:
        plain = PLAIN.plain(cells).cast(pl.Float64, strict=False)
        row = int(plain.is_null().arg_max() or 0)
        raise DataError(f"X: column {column.name!r}: expected numbers, as types says; got {cells[row]!r}.")
    return Number.of(notation.plain(cells).cast(pl.Float64), notation, rule)


def _notation(cells: pl.Series) -> Notation | None:
    """Return the first way in which all cells are numbers, and no codes of digits; a few are looked at first."""
    if cells.str.contains(CODES).any():
        return None
    ways = [one for one in EVERY if cells[:_HOPE].str.contains(one.pattern).all()]
    return next((one for one in ways if cells.str.contains(one.pattern).all()), None)


def _time(column: pl.Series) -> Time | None:
    """Return a column of text as times, if all of its cells are such; text of numbers only is none."""
    filled = column.drop_nulls()
    if not filled[:_HOPE].str.contains(r"\d.*\D.*\d").all():
        return None
    try:
        if not times(filled[:_HOPE]).dtype.is_temporal():
            return None
    except DataError as error:
        if DOUBT not in str(error):  # which later cells may settle
            return None
    try:
        return Time.of(column)
    except DataError as error:
        if DOUBT in str(error):  # times without a doubt, but not without two meanings
            raise DataError(f"X: column {error}") from None
    return None

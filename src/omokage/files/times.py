"""Times as text writes them, to moments that can be compared.

ISO 8601 (`2024-01-31T23:00:00+09:00`) is one way, and there are many others: day first or month first, with points,
slashes or dashes, with AM and PM. A column is taken to be written in one way throughout. Where only one way of those
known fits all of its cells it is read so, and where two do that differ in a moment, it is an error: `01/02/2024` alone
is 1 February or 2 January, and one `31/01/2024` in the column tells.
"""

import re
from collections.abc import Iterator
from itertools import product
from typing import Literal

import polars as pl

from omokage.errors import DataError, listing

Unit = Literal["us", "ns"]

_DATES = (
    *(f"%Y{mark}%m{mark}%d" for mark in "-/."),
    *(f"%d{mark}%m{mark}%Y" for mark in "./-"),
    *(f"%m{mark}%d{mark}%Y" for mark in "./-"),
    "%Y年%m月%d日",
    *(f"%d{mark}%{month}{mark}%Y" for mark in " -" for month in "bB"),  # 31 Jan 2024
    "%b %d, %Y",
    "%Y%m%d",
    *(f"{order}".replace(" ", mark) for mark in "./-" for order in ("%d %m %y", "%m %d %y", "%y %m %d")),
)
_CLOCKS = ("%H:%M:%S%.f", "%H:%M:%S", "%H:%M", "%I:%M:%S %p", "%I:%M %p", "%H時%M分%S秒", "%H時%M分", "%H%M%S", "")
_ISO = "Write the times in ISO 8601, such as 2024-01-31T23:00:00."
_WEEKDAY = r"(?i)^(mon|tue|wed|thu|fri|sat|sun)[a-z]*,? "
_SHORT_ZONE = re.compile(r"[A-Z]{2,5}$")
_ZONE = r"\s*(Z|[+-]\d{2}:?\d{2}|[+-]\d{2}|UTC|GMT)$"


def times(column: pl.Series) -> pl.Series:
    """Return the moments that a column holds, as numbers or as Polars' times, in an order that is that of time.

    Args:
        column: Times as text in one way throughout, as numbers (seconds, cycles: any that ascend), or as dates and
            times. Text is of numbers only, or of dates with or without a clock, or of a clock alone.

    Returns:
        Numbers as they are, text of numbers as numbers, all else as moments in microseconds (those with a zone in
        UTC); null where there is none.

    Raises:
        DataError: If a cell is not a time, or the way in which the column is written leaves a doubt. It names the cell,
            and says what to do.

    Example:
        >>> times(pl.Series(["31.01.2024 23:00", "01.02.2024 00:00"])).dt.to_string("iso:strict").to_list()
        ['2024-01-31T23:00:00.000000', '2024-02-01T00:00:00.000000']
        >>> times(pl.Series("t", ["01/02/2024", "02/02/2024"]))
        Traceback (most recent call last):
        ...
        omokage.errors.DataError: 't': '01/02/2024' can be read as 2024-01-02 or as 2024-02-01, and no cell of the \
column tells which. Write the times in ISO 8601, such as 2024-01-31T23:00:00.
    """
    if column.dtype in (pl.Categorical, pl.Enum):
        column = column.cast(pl.String)
    if column.dtype.is_numeric() or column.dtype.is_temporal():
        return _same_zone(column)
    if column.dtype != pl.String:
        raise DataError(f"{column.name!r}: expected times, got {column.dtype}. {_ISO}")
    text = column.str.strip_chars().str.replace_all(r"\s+", " ").str.replace(_WEEKDAY, "")
    text = text.str.replace(r"^([0-9]{4}-[0-9]{2})$", "${1}-01")  # a month
    filled = text.drop_nulls()
    if not len(filled):
        return column
    numbers = text.cast(pl.Float64, strict=False)
    if numbers.null_count() == text.null_count():
        whole = text.cast(pl.Int64, strict=False)  # with all digits
        return whole if whole.null_count() == text.null_count() else numbers
    return _parsed(text)


def _same_zone(column: pl.Series) -> pl.Series:
    kind = column.dtype
    return column.dt.convert_time_zone("UTC") if isinstance(kind, pl.Datetime) and kind.time_zone else column


def _parsed(text: pl.Series) -> pl.Series:
    """Return text of dates as moments."""
    bare, offset = _without_zone(text)
    unique = bare.drop_nulls().unique(maintain_order=True)
    unit: Unit = "ns" if unique.str.contains(r"\.[0-9]{7}").any() else "us"
    found: dict[str, pl.Series] = {}
    for pattern in _patterns(unique[0]):
        if _strptime(unique[:1], pattern, unit).null_count() == 0:
            moments = _strptime(unique, pattern, unit)
            if moments.null_count() == 0:
                found[pattern] = moments
    if not found:
        raise DataError(_unreadable(text, bare))
    ways = list(found.values())
    for other in ways[1:]:
        if (different := (ways[0] != other).arg_true()).len():
            place = int(different[0])
            one, two = (moments[place] for moments in (ways[0], other))
            first, second = sorted((f"{one:%Y-%m-%d}", f"{two:%Y-%m-%d}"))
            raise DataError(
                f"{text.name!r}: {unique[place]!r} can be read as {first} or as {second}, and no cell of the column "
                f"tells which. {_ISO}"
            )
    moments = _strptime(bare, next(iter(found)), unit)
    return moments if offset is None else (moments - offset).dt.replace_time_zone("UTC")


def _strptime(text: pl.Series, pattern: str, unit: Unit) -> pl.Series:
    """Return moments, null where a text is not written so; years of two digits are not ones of the first century."""
    if "%d" not in pattern:  # a clock alone: moments of one day
        text, pattern = pl.select(pl.lit("1970-01-01 ") + text).to_series(), f"%Y-%m-%d {pattern}"
    if "%H" not in pattern and "%I" not in pattern:
        moments = text.str.strptime(pl.Date, pattern, strict=False).cast(pl.Datetime(unit))
    else:
        moments = text.str.strptime(pl.Datetime(unit), pattern, strict=False)
    return moments.set(moments.dt.year() < 1000, None) if "%Y" in pattern else moments


def _patterns(example: str) -> Iterator[str]:
    """Yield the ways in which a cell may be written, by the marks that it has."""
    upper = example.upper()
    clocks = [clock for clock in _CLOCKS if ("%p" in clock) == upper.endswith(("AM", "PM"))]
    for date, clock in product(_DATES, clocks):
        for between in ("T", " ", ", ") if clock else ("",):
            yield f"{date}{between}{clock}"
    yield from (clock for clock in clocks if clock)


def _without_zone(text: pl.Series) -> tuple[pl.Series, pl.Series | None]:
    """Return times without their zone, and the offset from UTC of each where they have one."""
    bare = (
        text.str.replace(r"(?i)([0-9])\s*(a|p)\.?m\.?$", "${1} ${2}M")
        .str.replace(" aM$", " AM")
        .str.replace(" pM$", " PM")
    )
    bare = bare.str.replace(r"([0-9]),([0-9]{1,6})($|[Z+-])", "${1}.${2}${3}")  # ISO's decimal comma
    zone = bare.str.extract(_ZONE, 1)
    clocked = bare.str.contains(":|T[0-9]")
    zone = pl.select(pl.when(clocked).then(zone)).to_series()
    if zone.null_count() == len(zone):
        return bare, None
    if zone.null_count() != text.null_count():
        place = int((zone.is_null() & text.is_not_null()).arg_true()[0])
        raise DataError(f"{text.name!r}: {text[place]!r} has no time zone, and other cells have one. {_ISO}")
    digits = zone.replace({"Z": "+0000", "UTC": "+0000", "GMT": "+0000"}).str.replace(":", "", literal=True)
    digits = digits.str.pad_end(5, "0")
    minutes = digits.str.slice(1, 2).cast(pl.Int64) * 60 + digits.str.slice(3, 2).cast(pl.Int64)
    sign = pl.select(pl.when(digits.str.starts_with("-")).then(-1).otherwise(1)).to_series()
    offset = (minutes * sign * 60_000_000).cast(pl.Duration("us"))
    return bare.str.replace(_ZONE, ""), offset


def _unreadable(text: pl.Series, bare: pl.Series) -> str:
    """Return what is wrong with a column that no way of writing fits."""
    unique = bare.drop_nulls().unique(maintain_order=True)
    best, misfit = 0, 0
    for pattern in _patterns(unique[0]):
        bad = _strptime(unique, pattern, "us").is_null().arg_true()
        if len(bad) and int(bad[0]) > best:
            best, misfit = int(bad[0]), int(bad[0])
    cell = unique[misfit]
    beside = f" It follows {listing(unique[:best].to_list()[-1:])}." if best else ""
    zone = (
        " A zone such as CET is not known for certain."
        if _SHORT_ZONE.search(cell.removesuffix("AM").removesuffix("PM"))
        else ""
    )
    return f"{text.name!r}: {cell!r} is not a time in a way that fits the whole column.{beside}{zone} {_ISO}"

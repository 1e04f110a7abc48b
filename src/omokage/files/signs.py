"""Signs of percent and of currencies beside numbers: 12,5 %, $1,013.50, 13 EUR.

A sign is part of a column's notation where all of its cells have the same one. It is left out, and the number stays as
it is written: 12,5 % is 12.5, and not 0.125, as 12,5 mm would be.
"""

import re

import polars as pl

from omokage.files.numbers import NUMBER

_SYMBOLS = "[%‰％€$£¥￥₩₹₽₺]"
_CODES = "EUR|USD|GBP|CHF|JPY|CNY|SEK|NOK|DKK|PLN|CZK|CAD|AUD|kr|zł|Kč|円|元"
_SIGN = rf"{_SYMBOLS}|{_CODES}"
_SPACE = "[ \u00a0\u2009\u202f]*"
SIGNED = rf"^(?:[+-]?(?P<before>{_SIGN}){_SPACE}(?i:{NUMBER})|(?i:{NUMBER}){_SPACE}(?P<after>{_SIGN}))$"
_SIGNED = re.compile(SIGNED)


def without_sign(cell: str) -> str:
    """Return a number without the sign beside it; any other text as it is.

    Example:
        >>> [without_sign(cell) for cell in ("12,5 %", "-$3", "1 EUR", "12 mm")]
        ['12,5', '-3', '1', '12 mm']
    """
    found = _SIGNED.match(cell)
    sign = found and (found["before"] or found["after"])
    return cell.replace(sign, "", 1).strip(" \u00a0\u2009\u202f") if sign else cell


def sign_of(cells: pl.Series) -> str | None:
    """Return the sign that all cells have, "" where there are none, and `None` where it is not the same for all.

    Args:
        cells: Text without spaces around it and without missing cells.
    """
    if not len(cells):
        return ""
    before, after = (cells.str.extract(SIGNED, group) for group in (1, 2))
    signs = pl.select(pl.coalesce(before, after)).to_series().unique()
    return str(signs[0]) if len(signs) == 1 and signs[0] is not None else None


def unsigned(cells: pl.Series, sign: str) -> pl.Series:
    """Return cells without a sign, whatever stands between it and the number."""
    return cells.str.replace(sign, "", literal=True).str.strip_chars()

"""Which cells of a column stand for a missing value."""

from collections.abc import Sequence

import polars as pl

DASHES = ("-", "--", ".", "...")  # that stand for a missing value where the other cells are longer


def with_holes(column: pl.Series, missing: Sequence[str], dashes: bool | None = None) -> pl.Series:
    """Return a column with null for each cell that stands for a missing value.

    Args:
        column: As it came; durations and times of day become seconds.
        missing: Cells of text that do, apart from spaces around them.
        dashes: Whether dashes and points do; `None`: by the other cells of the column.

    Example:
        >>> with_holes(pl.Series(["saw", " - ", "NA"]), ["NA"]).to_list()
        ['saw', None, None]
        >>> with_holes(pl.Series(["saw", " - ", "b"]), ["NA"]).to_list()
        ['saw', '-', 'b']
    """
    if column.dtype.is_float():
        return column.fill_nan(None)
    if isinstance(column.dtype, pl.Duration):
        return column.dt.total_microseconds() / 1e6  # seconds
    if column.dtype == pl.Time:
        return column.cast(pl.Int64) / 1e9
    if column.dtype != pl.String:
        return column
    bare = column.str.strip_chars()
    bare = bare.set(bare.is_in(missing), None)
    found = bare.is_in(DASHES)
    if dashes is None:
        dashes = found.any() and bool((bare.filter(~found).str.len_chars() >= 2).all()) and not found.all()
    return bare.set(found, None) if dashes else bare

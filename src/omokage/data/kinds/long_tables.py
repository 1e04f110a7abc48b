"""Series in files: long tables with a line for each step of each series, and arrays.

A schema is one of sequences, whose settings say which columns tell series and steps apart.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from omokage.data.kinds.base import Given
from omokage.data.series import rows_of_series


def given_array(schema: Any, rows: Any, ids: Sequence[str] = ()) -> Given:
    """Return the series of an array, told apart by their numbers; windows of them by their first steps too."""
    read = schema.read(rows)
    lengths = [len(series) for series in read.values]
    keys, windows = pl.DataFrame(), schema.kind.windows(read.values)
    if windows is not None:
        keys = pl.DataFrame({"series": windows.series, "first_step": windows.first})
    return Given(rows, keys, steps=_numbered(lengths, ("series", "step")), alone=read.alone)


def given(schema: Any, frame: pl.DataFrame, ids: Sequence[str] = ()) -> Given:
    """Return the series of a long table: the keys of a series, or of a window, are those of its first line."""
    kind = schema.kind
    # Columns without any value come as text, since nothing tells what they hold.
    empty = [name for name in schema.names or () if name in frame.columns and frame[name].null_count() == len(frame)]
    frame = frame.with_columns(pl.col(empty).cast(pl.Float64)) if empty else frame
    rows = frame.drop(ids)
    lines = rows_of_series(rows, kind)
    kept = [key for key in (kind.series, *ids) if key is not None]
    steps = frame.select(key for key in (kind.series, *ids, kind.time) if key)
    first, windows = [int(group[0]) for group in lines], kind.windows(lines)
    if windows is not None:
        first = [int(lines[number][start]) for number, start in zip(windows.series, windows.first, strict=True)]
        kept += [] if kind.time is None else [kind.time]
    # There may be no key, and then there is no row to choose from.
    columns = [frame[key][first] for key in kept]
    keys = pl.DataFrame([*columns, *([] if windows is None else [pl.Series("first_step", windows.first)])])
    return Given(rows, keys, frame, tuple(lines), steps, alone=kind.series is None)


def to_table(schema: Any, answers: Any, given: Given | None) -> pl.DataFrame:
    """Return series, in the layout of X, in the lines that they came from, else as a long table of their own."""
    names, kind = schema.table_names, schema.kind
    series = [schema.by_entry(one) for one in ([answers] if given is not None and given.alone else answers)]
    if given is not None and given.frame is not None and given.lines is not None:
        values = np.empty((len(given.frame), len(names)))
        for lines, steps in zip(given.lines, series, strict=True):
            values[lines] = steps
        return given.frame.with_columns(pl.Series(name, column) for name, column in zip(names, values.T, strict=True))
    keys = _numbered([len(one) for one in series], (kind.series or "series", kind.time or "step"))
    columns = zip(names, np.concatenate(series).T, strict=True)
    return keys.with_columns(pl.Series(name, column) for name, column in columns)


def _numbered(lengths: Sequence[int], names: tuple[str, str]) -> pl.DataFrame:
    """Return the number of the series and of the step, for each step."""
    steps: NDArray[np.int64] = np.concatenate([np.arange(length) for length in lengths])
    return pl.DataFrame({names[0]: np.repeat(np.arange(len(lengths)), lengths), names[1]: steps})

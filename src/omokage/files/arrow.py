"""Arrow IPC files, which Feather is too, at flat memory, read by Polars."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from omokage.errors import FileFormatError, listing
from omokage.files.options import Options
from omokage.files.parquet import ColumnFile, check_path, column_file, errors

MAGIC = b"ARROW1\0\0"
OLD_FEATHER = b"FEA1"
STREAM = b"\xff\xff\xff\xff"  # before the length of a stream's schema


def open_arrow(path: Path, options: Options, columns: Sequence[str] | None) -> ColumnFile:
    """Read the schema of an Arrow file.

    Args:
        path, options, columns: As in `omokage.files.opening.open_table`.

    Raises:
        FileFormatError: If it is damaged, or without rows.
    """
    check_path(path)
    with errors(path, "an Arrow file"):
        scan = _scan(path)
        every = tuple(scan.collect_schema())
        rows = int(scan.select(pl.len()).collect().item()) if every else 0
    if rows == 0:
        raise FileFormatError(f"{path}: has the columns {listing(every)} and no rows.")
    return column_file(path, scan, rows, (), options, columns, "an Arrow file")


def _scan(path: Path) -> pl.LazyFrame:
    try:
        return pl.scan_ipc(path.resolve(), glob=False, hive_partitioning=False)
    except TypeError:  # older ones take every path for a pattern
        return pl.scan_ipc(path.read_bytes(), hive_partitioning=False)

"""Parquet at flat memory, read by Polars."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from omokage.errors import FileFormatError, listing
from omokage.files.formats import first_line

_FRAME = 96 * 2**20  # bytes of a frame that are taken at once


def open_parquet(path: Path) -> "ParquetFile":
    """Read the footer of a Parquet file; raises FileFormatError where it is none, damaged, or without rows."""
    with path.open("rb") as file:
        head = file.read(4)
        file.seek(-min(4, path.stat().st_size), os.SEEK_END)
        tail = file.read(4)
    if head == b"PARE" or tail == b"PARE":
        raise FileFormatError(f"{path}: an encrypted Parquet file. Write it again without encryption.")
    if head != b"PAR1" or tail != b"PAR1":
        what = "does not end as Parquet does, so it was cut short" if head == b"PAR1" else "is not Parquet"
        raise FileFormatError(f"{path}: the file {what}. Write or copy it again.")
    with _errors(path):
        scan = pl.scan_parquet(path.resolve(), glob=False, hive_partitioning=False)
        names = tuple(scan.collect_schema())
        rows = int(scan.select(pl.len()).collect().item())
    if rows == 0:
        raise FileFormatError(f"{path}: has the columns {listing(names)} and no rows.")
    return ParquetFile(path, scan, names, rows)


@dataclass(frozen=True)
class ParquetFile:
    """A Parquet file whose footer was read: the names and the number of rows."""

    path: Path
    scan: pl.LazyFrame
    names: tuple[str, ...]
    rows: int

    def read(self, names: Sequence[str]) -> pl.DataFrame:
        """Return all rows of these columns."""
        with _errors(self.path):
            return self.scan.select(names).collect()

    def batches(self, names: Sequence[str], rows: int) -> Iterator[pl.DataFrame]:
        """Yield frames of `rows` rows at flat memory, even where the whole file is one row group.

        Polars loads the packed row group of all columns that are asked for. So that this stays small, columns are
        asked for a few at a time: as many as would take `_FRAME` bytes if the file were a single row group.
        """
        together = max(1, _FRAME * len(self.names) // self.path.stat().st_size)
        groups = [names[start : start + together] for start in range(0, len(names), together)]
        start, step = 0, rows
        while start < self.rows:
            with _errors(self.path):
                parts = [self.scan.select(group).slice(start, step).collect() for group in groups]
            frame = pl.concat(parts, how="horizontal")
            if frame.height != min(step, self.rows - start):
                raise FileFormatError(
                    f"{self.path}: holds fewer rows than its footer states, {self.rows}. Write it again."
                )
            start += step
            step = max(1, _FRAME * frame.height // max(1, int(frame.estimated_size())) // rows) * rows
            for place in range(0, frame.height, rows):
                yield frame[place : place + rows]
            del parts, frame  # before the next ones are read


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise FileFormatError(
            f"{path}: damaged, or not Parquet as specified ({first_line(error)}). Write or copy it again."
        ) from None

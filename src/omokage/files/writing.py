"""Tables written as CSV, TSV or Parquet: whole, or not there."""

import os
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl
from polars.io.plugins import register_io_source

from omokage.errors import DataError, FileFormatError, ParameterError
from omokage.files.formats import PARQUET, SEPARATORS, first_line
from omokage.files.parquet import check_path
from omokage.paths import as_path, clear_parts, lock_of, unlock

Columns = pl.DataFrame | Mapping[str, Any]

KEY = "key.json"  # says what the parts of scores belong to


def write_table(path: str | os.PathLike[str], content: Columns | Iterable[Columns]) -> Path:
    """Write a table as CSV, TSV or Parquet by the extension, beside its place, then renamed into it.

    Args:
        path: Where to; a file that is there is replaced when the new one is whole and on disk.
        content: A frame, a mapping of column names to equally long values, or an iterable of such pieces with
            the same columns, which is written at flat memory. Text is UTF-8.

    Returns:
        The path.

    Raises:
        ParameterError: If the extension is none of .csv, .tsv, .txt, .parquet, .pq.
        DataError: If the content is not a table, or a column cannot be written in that format.
        FileFormatError: If the file cannot be written there.
    """
    path = as_path(path)
    extension = path.suffix.lower()
    if extension not in SEPARATORS and extension not in PARQUET:
        raise ParameterError(f"path: {path} cannot be written; end it in .csv, .tsv or .parquet.")
    if not path.parent.is_dir():
        raise FileFormatError(f"{path}: the folder {path.parent} does not exist. Make it first.")
    if extension in PARQUET:
        check_path(path)
    target = path.resolve()  # through a link, so that the link stays one
    folder = target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    part = folder / target.name
    frames, lock = _frames(content), None
    _clear_abandoned(target)
    try:
        folder.mkdir()
        lock = lock_of(folder)
        with part.open("xb") as file:
            if extension in PARQUET:
                _write_parquet(part, frames)
            else:
                for number, frame in enumerate(frames):
                    text = frame.write_csv(include_header=number == 0, separator=SEPARATORS[extension])
                    file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
        _sync_folder(target.parent)
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be written ({error.strerror or error}).") from None
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{path}: these columns cannot be written as {extension}: {first_line(error)}") from None
    finally:
        _remove(folder)
        unlock(lock)
    return path


def scored_parts(target: Path) -> Path:
    """Return the folder beside a table, without links, from which a run that scores and was killed goes on."""
    return target.with_name(f".{target.name}.parts")


def _clear_abandoned(target: Path) -> None:
    """Remove what runs that were killed left beside a file, where nobody has its lock; the file is written anew."""
    clear_parts(target.parent, f".{target.name}")
    parts = scored_parts(target)
    if (parts / KEY).is_file() and (lock := lock_of(parts)) is not None:
        shutil.rmtree(parts, ignore_errors=True)
        unlock(lock)


def _remove(folder: Path) -> None:
    """Remove a folder in which a thread of Polars may yet make a file, after an error has ended the writing."""
    for _ in range(100):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.02)


def _frames(content: Columns | Iterable[Columns]) -> Iterator[pl.DataFrame]:
    schema = None
    for piece in [content] if isinstance(content, pl.DataFrame | Mapping) else content:
        try:
            frame = piece if isinstance(piece, pl.DataFrame) else pl.DataFrame(piece)
        except (pl.exceptions.PolarsError, TypeError, ValueError) as error:
            raise DataError(f"These columns do not make a table: {first_line(error)}") from None
        schema = schema or frame.schema
        if frame.schema != schema:
            raise DataError(f"The pieces of a table differ: the first has {schema}, a later one {frame.schema}.")
        yield frame
    if schema is None:
        raise DataError("There is nothing to write: expected a frame, or at least one piece of a table.")


def _write_parquet(path: Path, frames: Iterator[pl.DataFrame]) -> None:
    first = next(frames)
    failures: list[BaseException] = []

    def source(names: Any, predicate: Any, n_rows: Any, size: Any) -> Iterator[pl.DataFrame]:
        try:
            yield first
            yield from frames
        except (Exception, KeyboardInterrupt) as error:  # Polars would wrap it in an error of its own
            failures.append(error)
            raise

    try:
        register_io_source(source, schema=first.schema).sink_parquet(path)
    except pl.exceptions.PolarsError as error:
        raise (failures[0] if failures else error) from None


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":
        return  # folders cannot be opened there
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

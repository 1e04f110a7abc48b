"""Where answers go: tables, arrays and folders of pictures. What is written is whole or not there."""

import os
import secrets
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from omokage.data.kinds import Given, Schema
from omokage.data.kinds.base import Form
from omokage.errors import DataError, FileFormatError, ParameterError
from omokage.files.formats import PARQUET, SEPARATORS
from omokage.files.pictures import write_pictures
from omokage.files.writing import write_table
from omokage.paths import clear_parts, location, lock_of, unlock
from omokage.storage import replacing

_TABLES = (*SEPARATORS, *PARQUET)


def check_apart(data: str, out: Path) -> None:
    """Check that what is written is not what is read, nor among the pictures that are read."""
    place = location(out, "--out")
    if place == location(data, "data"):
        raise ParameterError(f"--out: {out} is the file that is read; name another.")
    is_folder = out.suffix.lower() not in (*_TABLES, ".npy")
    if is_folder and Path(data).is_dir() and location(data, "data") in place.parents:
        raise ParameterError(f"--out: {out} is in the folder of pictures that is read; name a place outside of it.")


def check_table(out: Path) -> None:
    """Check that the name of an output is that of a table."""
    location(out, "--out")
    if out.suffix.lower() not in _TABLES:
        raise ParameterError(f"--out: {out} cannot be written; end it in .csv, .tsv or .parquet.")


def check_output(schema: Schema, out: Path) -> Form:
    """Return how answers like X are written there; raises if they cannot be. Worth doing before they are made."""
    location(out, "--out")
    suffix, forms = out.suffix.lower(), schema.forms
    form: Form = "table" if suffix in _TABLES else "array" if suffix == ".npy" else "pictures"
    if form not in forms and "pictures" in forms:
        raise ParameterError(f"--out: {out}: images go to a folder, as PNG files, or to one array that ends in .npy.")
    if form not in forms:
        array = ", or .npy for an array" if "array" in forms else ""
        raise ParameterError(f"--out: {out} cannot be written; end it in .csv, .tsv or .parquet{array}.")
    if form == "pictures":
        if not out.parent.is_dir():
            raise FileFormatError(f"{out}: the folder {out.parent} does not exist. Make it first.")
        if out.exists() and not (out.is_dir() and not any(out.iterdir())):
            raise FileFormatError(f"{out} is there already. Pictures are written to a new folder; name another.")
    return form


def write_output(schema: Schema, answers: Any, out: Path, given: Given | None = None) -> None:
    """Write answers like X, to rows that were `given` or to none, in the form that the name of the output asks for."""
    match check_output(schema, out):
        case "table":
            write_table(out, schema.to_table(answers, given))
        case "array":
            _write_array(out, answers)
        case "pictures":
            _write_pictures(out, answers, schema, given)


def _write_array(out: Path, answers: Any) -> None:
    if isinstance(answers, list):
        raise DataError(f"--out: {out}: an array holds series of one length, and these differ. End it in .csv.")
    with replacing(out) as file:
        np.save(file, answers)


def _write_pictures(out: Path, answers: NDArray[Any], schema: Schema, given: Given | None) -> None:
    try:
        pictures = schema.to_pictures(answers, given)
    except DataError as error:
        raise DataError(f"--out: {out}: {error}") from None
    place = location(out, "--out")
    clear_parts(place.parent, f".{place.name}")
    part, lock = place.with_name(f".{place.name}.{os.getpid()}-{secrets.token_hex(4)}.part"), None
    try:
        part.mkdir()
        lock = lock_of(part)
        write_pictures(part, pictures.values, pictures.names)
        part.rename(place)
    except OSError as error:
        raise FileFormatError(f"{out}: cannot be written ({error.strerror or error}).") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
        unlock(lock)


def write_keyed(out: Path, keys: pl.DataFrame, answers: Any) -> None:
    """Write columns of answers behind the keys of what they answer; entries that are NaN are left empty."""
    write_table(out, keyed(keys, answers))


def keyed(keys: pl.DataFrame, answers: Any) -> pl.DataFrame:
    """Return columns of answers behind the keys of what they answer, null where one is NaN."""
    columns = [column if isinstance(column, pl.Series) else pl.Series(name, column) for name, column in answers.items()]
    return pl.DataFrame([*keys.get_columns(), *columns]).with_columns(pl.selectors.float().fill_nan(None))

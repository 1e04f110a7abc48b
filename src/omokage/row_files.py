"""Rows from files to a model and its answers back to files, for the command line.

| X is | comes as | an answer for each row | an answer like X |
|---|---|---|---|
| vectors | a table or an array | a table, a batch at a time | a table |
| sequences | a long table, or an array | a table with a row for each series | a long table, or .npy |
| images | a folder, or an array | a table with a row for each picture | a folder of PNG files, or .npy |

What is written is whole or not there: tables and arrays are renamed into their place, and so are folders of pictures.
"""

import math
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from omokage.data import datasets
from omokage.data.images import ImageSchema
from omokage.data.kinds import values
from omokage.data.pictures import write_pictures
from omokage.data.reading import PARQUET, SEPARATORS, TableFile, open_table, write_table
from omokage.data.schema import Schema, check_names
from omokage.data.sequences import SequenceSchema
from omokage.data.series import rows_of_series
from omokage.data.vectors import to_matrix
from omokage.errors import DataError, FileFormatError, ParameterError, listing
from omokage.storage import replacing
from omokage.supports import Support

Columns = Mapping[str, Any]
_TABLES = (*SEPARATORS, *PARQUET)
SHOWN = 10  # bad rows that are named
_ENTRIES, _ROWS = 2**21, (1024, 131_072)  # of a batch: how many entries about, and rows
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Source:
    """Where rows come from: what the command line was given."""

    data: str
    ids: tuple[str, ...] = ()
    encoding: str = "utf-8"
    array: str | None = None

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder, of pictures."""
        return Path(self.data).is_dir()


def open_rows(source: Source, keys: Sequence[str] = (), *, passed: bool = False, pictures: bool = False) -> Any:
    """Return an open file without its id columns, or with them if `passed`; a folder; or rows of a known data set.

    Args:
        source: What was given.
        keys: Columns that tell rows apart and so are read as text, as ids are: 007 stays 007.
        passed: Whether id columns are kept.
        pictures: Whether a known data set comes as pictures, (n, height, width), in place of rows.
    """
    data, ids = source.data, source.ids
    if data in datasets.NAMES and not Path(data).exists():
        if ids:
            raise DataError(f"--id: the columns of {data} have no names.")
        known = datasets.load(data, "train")
        return known.X.reshape(-1, *known.shape) if pictures else known.X
    if source.is_folder:
        if ids:
            raise DataError(f"--id: {data} is a folder of pictures, which has no columns.")
        return Path(data)
    reading: Any = {
        "encoding": source.encoding,
        "array": source.array,
        "types": dict.fromkeys([*ids, *keys], pl.String),
    }
    file = open_table(data, **reading)
    names = file.names or ()
    if missing := [name for name in ids if name not in names]:
        raise DataError(f"--id: no column {listing(missing)} in {data}; it has {listing(names, 20) or 'no names'}.")
    if passed or not ids:
        return file
    return open_table(data, columns=[name for name in names if name not in ids], **reading)


def known_columns(data: str, batch: Any, names: tuple[str, ...] | None, ids: tuple[str, ...] = ()) -> Any:
    """Return the columns of a batch that a model of columns `names` knows, in its order."""
    if not isinstance(batch, pl.DataFrame):
        return batch
    rows = batch.drop(ids)
    if names is None:
        return rows
    try:
        check_names(names, rows.columns)
    except DataError as error:
        more = " Pass columns that are no input through with --id." if set(names) < set(rows.columns) else ""
        raise DataError(f"{data}: {error}{more}") from None
    return rows.select(names)


def check_apart(data: str, out: Path) -> None:
    """Check that what is written is not what is read, nor among the pictures that are read."""
    if out.resolve() == Path(data).resolve():
        raise ParameterError(f"--out: {out} is the file that is read; name another.")
    is_folder = out.suffix.lower() not in (*_TABLES, ".npy")
    if is_folder and Path(data).is_dir() and Path(data).resolve() in out.resolve().parents:
        raise ParameterError(f"--out: {out} is in the folder of pictures that is read; name a place outside of it.")


def names_of(schema: Any) -> list[str]:
    """Return what columns or channels are called in a table."""
    called = "channel" if isinstance(schema, SequenceSchema) else "column"
    return list(schema.names) if schema.names else [f"{called}_{j + 1}" for j in range(schema.features)]


def described(schema: Any) -> str:
    """Return in words what a model was fitted on, such as "3 columns"."""
    count = schema.features
    if isinstance(schema, ImageSchema):
        height, width, channels = schema.shape
        return f"images of {height}×{width} pixels and {channels} channel{'s' * (channels > 1)}"
    if isinstance(schema, SequenceSchema):
        return f"sequences of {count} channel{'s' * (count > 1)}"
    return f"{count} columns"


def facts(schema: Any) -> dict[str, str]:
    """Return what else there is to say of what a model was fitted on, by what it is called."""
    if isinstance(schema, ImageSchema):
        low, high = schema.columns.low.min(), schema.columns.high.max()
        read = {"folders are": f"resized to {schema.shape[0]}×{schema.shape[1]}"} if schema.reading.size else {}
        constant = int(schema.columns.constant.sum())
        return {"values": f"from {low:.6g} to {high:.6g}; {constant} of {schema.features} are constant", **read}
    if isinstance(schema, SequenceSchema):
        reading, missing = schema.reading, "some" if schema.missing else "none"
        keys = {"columns": f"series {reading.series!r}, time {reading.time!r}"} if reading.series else {}
        padded = ", ".join(map(str, schema.buckets))
        steps = f"{schema.lengths[0]} to {schema.lengths[-1]} (padded to {padded}); layout {reading.layout}"
        return {"steps": steps, "missing entries": missing, **keys}
    return {}


# ------------------------------------------------------------------------------------------- an answer for each row


def write_rows(question: Callable[[Any, Any], Columns], estimator: Any, source: Source, out: Path) -> None:
    """Write `question(estimator, rows)`, columns with an entry for each row, behind what tells the rows apart."""
    check_apart(source.data, out)
    check_table(out)
    if isinstance(estimator.schema_, Schema):
        answers = Answers(question, estimator, source)
        write_table(out, (answers(batch, first).frame for first, batch in batches_of(source)))
        return
    rows, labels, _ = _whole(estimator.schema_, source)
    with named(source.data):
        found = question(estimator, rows)
    write_table(out, pl.DataFrame([*labels.get_columns(), *(pl.Series(name, found[name]) for name in found)]))


def batches_of(source: Source) -> Iterator[tuple[int, Any]]:
    """Yield the rows of a file of vectors with their id columns, a batch at a time, and the number of its first row.

    There is one at least.
    """
    rows, first = open_rows(source, passed=True), 0
    if isinstance(rows, Path):
        raise DataError(f"{rows}: a folder, where a file of rows is expected: the model is one of vectors.")
    if not hasattr(rows, "batches"):
        yield 0, rows
        return
    columns = math.prod(rows.row_shape) if rows.names is None else len(rows.names)
    for batch in rows.batches(int(np.clip(_ENTRIES // max(1, columns), *_ROWS))):
        yield first, batch
        first += len(batch)


@dataclass(frozen=True)
class Answered:
    """The answers to a batch of rows.

    Attributes:
        frame: A row for each, behind the id columns; empty where one could not be used.
        bad: How many could not be used.
        texts: What is wrong with the first of these.
    """

    frame: pl.DataFrame
    bad: int = 0
    texts: tuple[str, ...] = ()


class Answers:
    """From a batch of vectors to its answers behind the id columns, `question(estimator, rows)`.

    A row that cannot be used ends it, or where not `strict` has empty answers. Nothing is kept from one batch to the
    next, so that several can be answered at once.
    """

    def __init__(self, question: Callable[[Any, Any], Columns], estimator: Any, source: Source, strict: bool = True):
        self.question, self.estimator, self.source, self.strict = question, estimator, source, strict

    def __call__(self, batch: Any, first: int, *, begun: bool | None = None) -> Answered:
        """Return the answers.

        Args:
            batch: Some rows of the source, with the id columns.
            first: The number of the first of them.
            begun: Whether a batch without any row that can be used is no reason to stop; `None`: unless it is the
                first.
        """
        source, schema = self.source, self.estimator.schema_
        passed = batch.select(source.ids) if isinstance(batch, pl.DataFrame) else pl.DataFrame()
        rows = known_columns(source.data, batch, schema.names, source.ids)
        good, texts = None, []
        try:
            answers = self._ask(rows, first)
        except DataError:  # only then is it worth looking at each row
            if self.strict:
                raise
            numbers = numbers_in(rows)
            good = np.asarray(~self._bad(numbers).any(1))
            usable = self._usable(rows, numbers, good, first > 0 if begun is None else begun)
            if usable is None:
                raise
            answers = self._ask(usable, first)
            texts = [self._text(rows, numbers, place, first) for place in np.flatnonzero(~good)[:SHOWN]]
        columns = [_with_gaps(name, answers[name], good) for name in answers]
        frame = pl.DataFrame([*passed.get_columns(), *columns])
        return Answered(frame, 0 if good is None else int((~good).sum()), tuple(texts))

    def _ask(self, rows: Any, first: int) -> Columns:
        """Return the answers for rows; raises DataError if some cannot be used."""
        try:
            return self.question(self.estimator, rows)
        except ValueError as error:
            try:
                to_matrix(rows, first_row=first)  # says which row of the whole file it is
            except DataError as counted:
                raise DataError(f"{self.source.data}: {counted}") from None
            raise DataError(f"{self.source.data}: {error}") from None

    def _usable(self, rows: Any, numbers: NDArray[np.float64], good: NDArray[np.bool_], begun: bool) -> Any:
        """Return the rows that can be used, with text as numbers; where none can, one that stands in for them.

        `None`: it is not single rows that are wrong; or all are, and none was right before.
        """
        framed = isinstance(rows, pl.DataFrame)
        if (good.all() and not (framed and pl.String in rows.dtypes)) or not (good.any() or begun):
            return None
        numbers = numbers[good] if good.any() else self.estimator.schema_.low[None]
        return pl.DataFrame(numbers, schema=rows.columns, orient="row") if framed else numbers

    def _bad(self, numbers: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which entries cannot be used: what is not finite, or where the likelihood is no density."""
        bad = ~(np.abs(numbers) <= _LARGEST)  # NaN is within no limits
        return np.asarray(bad | self._support.outside(numbers))

    @property
    def _support(self) -> Support:
        support: Support = getattr(self.estimator, "accepts", self.estimator.recipe_.support)
        return support

    def _text(self, rows: Any, numbers: NDArray[np.float64], place: int, first: int) -> str:
        """Say what is wrong with a row."""
        column = int(np.argmax(self._bad(numbers[place][None])[0]))
        where = repr(rows.columns[column]) if isinstance(rows, pl.DataFrame) else str(column)
        support = self._support
        expected = "a finite number" if support.everything else support.text
        return (
            f"{self.source.data}: row {first + place}, column {where}: expected {expected}, got "
            f"{rows[int(place), column]!r}; left empty."
        )


def numbers_in(rows: Any) -> NDArray[np.float64]:
    """Return rows as numbers, (n, D), NaN where there is none."""
    if not isinstance(rows, pl.DataFrame):
        return np.asarray(rows, np.float64).reshape(len(rows), -1)
    columns = []
    for column in rows.get_columns():
        text = column
        if column.dtype == pl.String:  # as a column without a bad cell is read
            text = column.str.strip_chars().str.to_lowercase().replace({"true": "1", "false": "0"})
        columns.append(text.cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy())
    return np.column_stack(columns) if columns else np.empty((len(rows), 0))


def _with_gaps(name: str, values: Any, good: NDArray[np.bool_] | None) -> pl.Series:
    """Return a column in which rows that are not good are empty."""
    series = pl.Series(name, values)
    if good is None or good.all():
        return series
    places = np.where(good, np.cumsum(good) - 1, 0)
    return series.gather(pl.Series(places)).set(pl.Series(~good), None).alias(name)


def _whole(schema: Any, source: Source) -> tuple[Any, pl.DataFrame, pl.DataFrame | None]:
    """Return series or images, what tells them apart (a row each), and the long table where they come as one."""
    if isinstance(schema, ImageSchema):
        rows = open_rows(source, pictures=True)
        if not isinstance(rows, Path):
            return rows, pl.DataFrame(), None
        pictures, names = schema.pictures(rows)
        return pictures, pl.DataFrame({"file": names}), None
    reading = schema.reading
    rows = open_rows(source, [key for key in (reading.series,) if key], passed=True)
    if not isinstance(rows, TableFile) or rows.names is None:
        series = values(rows, shaped=True)
        if (windows := reading.windows(schema.series(series))) is None:
            return series, pl.DataFrame(), None
        return series, pl.DataFrame({"series": windows.series, "first_step": windows.first}), None
    frame: Any = rows.read()
    empty = [name for name in schema.names or () if name in frame.columns and frame[name].null_count() == len(frame)]
    frame = frame.with_columns(pl.col(empty).cast(pl.Float64)) if empty else frame  # text, where nothing tells
    with named(source.data):
        groups = rows_of_series(frame.drop(source.ids), reading)
    kept = [key for key in (reading.series, *source.ids) if key is not None]
    if (windows := reading.windows(groups)) is None:
        return frame.drop(source.ids), frame.select(kept)[[int(group[0]) for group in groups]], frame
    first = [int(groups[number][start]) for number, start in zip(windows.series, windows.first, strict=True)]
    labels = frame.select(*kept, *([] if reading.time is None else [reading.time]))[first]
    return frame.drop(source.ids), labels.with_columns(first_step=windows.first), frame


# ------------------------------------------------------------------------------------------------ an answer like X


def write_like(question: Callable[[Any, Any], Any], estimator: Any, source: Source, out: Path) -> int:
    """Write `question(estimator, rows)`, rows like X; return how many entries of X were missing."""
    check_apart(source.data, out)
    schema = estimator.schema_
    if isinstance(schema, Schema):

        def columns(estimator: Any, rows: Any) -> Columns:
            return dict(zip(names_of(schema), question(estimator, rows).T, strict=True))

        write_rows(columns, estimator, source, out)
        return 0
    (_check_pictures if isinstance(schema, ImageSchema) else _check_series)(out)
    rows, labels, frame = _whole(estimator.schema_, source)
    if frame is not None:
        check_table(out)
    with named(source.data):
        answers = question(estimator, rows)
    if isinstance(schema, ImageSchema):
        _write_images(out, answers, schema, labels["file"].to_list() if len(labels) else None)
        return 0
    if frame is None:
        write_series(out, answers, schema)
        return int(np.isnan(rows).sum())
    groups, steps = rows_of_series(rows, schema.reading), schema.by_entry(answers)
    if (windows := schema.reading.windows(groups)) is not None:
        steps = windows.put_back(steps)
    given = frame.select(names_of(schema)).select(pl.all().cast(pl.Float64).fill_null(float("nan"))).to_numpy()
    write_table(out, frame.with_columns(_scattered(names_of(schema), groups, steps)))
    return int(np.isnan(given).sum())


def write_steps(
    question: Callable[[Any], Mapping[str, Any]], schema: SequenceSchema, source: Source, out: Path
) -> None:
    """Write `question(rows)`, columns of arrays (T,) for each series, a line for each step in the order of the file.

    What tells the steps apart is passed through; entries that are NaN are left empty. `schema` says how rows are read.
    """
    check_apart(source.data, out)
    check_table(out)
    rows, _, frame = _whole(schema, source)
    with named(source.data):
        found, lengths = question(rows), [len(one) for one in schema.series(rows)]
    groups, reading = None if frame is None else rows_of_series(rows, schema.reading), schema.reading
    order = slice(None) if groups is None else np.argsort(np.concatenate(groups))
    answers = [pl.Series(name, np.concatenate(list(each))[order]) for name, each in found.items()]
    if frame is None:
        numbers = np.repeat(np.arange(len(lengths)), lengths)
        steps = np.concatenate([np.arange(length) for length in lengths])
        passed = pl.DataFrame({"series": numbers, "step": steps})
    else:
        passed = frame.select(key for key in (reading.series, *source.ids, reading.time) if key)
    table = pl.DataFrame([*passed.get_columns(), *answers])
    write_table(out, table.with_columns(pl.selectors.float().fill_nan(None)))


def write_draws(draws: Any, schema: Any, out: Path) -> None:
    """Write draws from a model: vectors as a table, series as a long one, images as PNG files; or .npy."""
    if isinstance(schema, ImageSchema):
        _write_images(out, draws, schema)
    elif isinstance(schema, SequenceSchema):
        write_series(out, draws, schema)
    else:
        write_table(out, dict(zip(names_of(schema), draws.T, strict=True)))


def check_draws(schema: Any, out: Path) -> None:
    """Check that draws can be written there; worth doing before they are drawn."""
    if isinstance(schema, ImageSchema):
        _check_pictures(out)
    elif isinstance(schema, SequenceSchema):
        _check_series(out)
    else:
        check_table(out)


def write_series(out: Path, series: Any, schema: SequenceSchema) -> None:
    """Write series in the layout of X: an array to .npy where they are of one length, else a long table."""
    if out.suffix.lower() != ".npy":
        keys = (schema.reading.series or "series", schema.reading.time or "step")
        write_table(out, _long(schema.by_entry(series), keys, names_of(schema)))
    elif isinstance(series, list):
        raise DataError(f"--out: {out}: an array holds series of one length, and these differ. End it in .csv.")
    else:
        _write_array(out, series)


def _long(series: Sequence[NDArray[Any]], keys: tuple[str, str], names: list[str]) -> pl.DataFrame:
    """Return a long table of series (T, C), with their numbers and those of the steps."""
    lengths = [len(values) for values in series]
    numbers = np.repeat(np.arange(len(series)), lengths)
    steps = np.concatenate([np.arange(length) for length in lengths])
    columns = zip(names, np.concatenate(list(series)).T, strict=True)
    return pl.DataFrame({keys[0]: numbers, keys[1]: steps}).with_columns(pl.Series(n, v) for n, v in columns)


def _scattered(names: Sequence[str], groups: Sequence[NDArray[np.int64]], series: Any) -> list[pl.Series]:
    """Return columns in which each series, (T, C), stands in its rows."""
    values = np.empty((sum(map(len, groups)), len(names)))
    for group, steps in zip(groups, series, strict=True):
        values[group] = steps
    return [pl.Series(name, column) for name, column in zip(names, values.T, strict=True)]


def _write_images(out: Path, images: NDArray[Any], schema: ImageSchema, names: Sequence[str] | None = None) -> None:
    if out.suffix.lower() == ".npy":
        _write_array(out, images)
        return
    low, high = schema.columns.low.min(), schema.columns.high.max()
    white = next((white for white in (1, 255, 65_535) if low >= 0 and high <= white), None)
    if white is None or schema.shape[2] not in (1, 3):
        raise DataError(
            f"--out: {out}: images with values from {low:.6g} to {high:.6g} and {schema.shape[2]} channels make no PNG "
            "files. End it in .npy."
        )
    part = out.resolve().with_name(f".{out.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        write_pictures(part, images / white, names)
        part.rename(out.resolve())
    except OSError as error:
        raise FileFormatError(f"{out}: cannot be written ({error.strerror or error}).") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _write_array(out: Path, array: NDArray[Any]) -> None:
    with replacing(out) as file:
        np.save(file, array)


# --------------------------------------------------------------------------------------------------------- checks


def check_table(out: Path) -> None:
    """Check that the name of an output is that of a table."""
    if out.suffix.lower() not in _TABLES:
        raise ParameterError(f"--out: {out} cannot be written; end it in .csv, .tsv or .parquet.")


def _check_series(out: Path) -> None:
    if out.suffix.lower() not in (*_TABLES, ".npy"):
        raise ParameterError(f"--out: {out} cannot be written; end it in .csv, .tsv or .parquet, or .npy for an array.")


def _check_pictures(out: Path) -> None:
    if out.suffix.lower() == ".npy":
        return
    if out.suffix.lower() in _TABLES:
        raise ParameterError(f"--out: {out}: images go to a folder, as PNG files, or to one array that ends in .npy.")
    if not out.parent.is_dir():
        raise FileFormatError(f"{out}: the folder {out.parent} does not exist. Make it first.")
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise FileFormatError(f"{out} is there already. Pictures are written to a new folder; name another.")


@contextmanager
def named(data: str) -> Iterator[None]:
    """Put the name of the data in front of what is wrong with them."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{data}: {error}") from None

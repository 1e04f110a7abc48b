"""From rows in files to a model and its answers back to files.

| X is | comes as | an answer for each row | an answer like X |
|---|---|---|---|
| vectors | a table or an array | a table, a batch at a time | a table |
| a table | a table | a table; of a large file a part at a time | a table |
| sequences | a long table, or an array | a table with a row for each series | a long table, or .npy |
| images | a folder, or an array | a table with a row for each picture | a folder of PNG files, or .npy |
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from omokage.commands.context import bad_cell, told_in, told_of_given
from omokage.commands.outputs import check_apart, check_output, check_table, keyed, write_keyed, write_output
from omokage.commands.sources import Source, batches_of, known_columns, named, numbers_in, open_rows, opened_vectors
from omokage.data.containers import to_matrix
from omokage.data.kinds import Given, Schema
from omokage.errors import DataError
from omokage.files.numbers import PLAIN, Notation
from omokage.files.writing import write_table

Columns = Mapping[str, Any]
Question = Callable[[Any, Any, Any], Columns]  # of an estimator, rows and their context, which is `None` without one
SHOWN = 10  # bad rows that are named
_LARGEST = float(np.finfo(np.float32).max)


def write_rows(question: Question, estimator: Any, source: Source, out: Path) -> None:
    """Write `question(estimator, rows, context)`, columns with an entry for each row, behind what tells rows apart."""
    check_apart(source.data, out)
    check_table(out)
    if estimator.schema_.streams:
        rows = opened_vectors(source, out)
        answers = Answers(question, estimator, source, notation=rows.notation)
        write_table(out, (answers(batch, first).frame for first, batch in batches_of(rows)))
        return
    parts = _answers(question, estimator, source)
    write_table(out, (keyed(given.keys, found) for given, found in parts))


def write_like(question: Callable[[Any, Any, Any], Any], estimator: Any, source: Source, out: Path) -> int:
    """Write `question(estimator, rows, context)`, rows like X; return how many entries of X were missing."""
    check_apart(source.data, out)
    schema = estimator.schema_
    form = check_output(schema, out)
    if schema.streams:

        def columns(estimator: Any, rows: Any, context: Any) -> Columns:
            return schema.to_table(question(estimator, rows, context)).to_dict()

        write_rows(columns, estimator, source, out)
        return 0
    answers, missing = _answers(question, estimator, source), 0
    if form != "table":
        [(given, answer)] = answers
        if given.frame is not None and form == "array":
            check_table(out)
        write_output(schema, answer, out, given)
        return schema.missing(given)

    def tables() -> Iterator[pl.DataFrame]:
        nonlocal missing
        for given, answer in answers:
            missing += schema.missing(given)
            yield schema.to_table(answer, given)

    write_table(out, tables())
    return missing


def write_filled(
    question: Callable[[Any, Any], Any], estimator: Any, source: Source, out: Path, drawn: bool, std: Path | None
) -> int:
    """Write `question(rows, context)`, rows like X; return how many entries of X were missing.

    Args:
        question: Gives rows, or where `drawn` a list of them, or where there is `std` rows and their standard errors.
        estimator: The model.
        source: Where rows are.
        out: Where they are written; draws behind their number in a column "draw", or along a first axis.
        drawn: See `question`.
        std: Where standard errors are written.
    """
    schema, files = estimator.schema_, [out] if std is None else [out, std]
    for file in files:
        check_apart(source.data, file)
    forms = {check_output(schema, file) for file in files}
    if std is not None:
        check_apart(str(out), std)
    parts = _answers(lambda _, rows, context: question(rows, context), estimator, source)
    if forms == {"table"}:
        return _write_parts(parts, schema, files, drawn)
    [(given, answers)] = parts
    if given.frame is not None and "array" in forms:
        check_table(out)
    if drawn:
        write_output(schema, np.stack(answers) if isinstance(answers[0], np.ndarray) else answers, out)
    else:
        for file, answer in zip(files, [answers] if std is None else answers, strict=True):
            write_output(schema, answer, file, given)
    return schema.missing(given)


def _write_parts(parts: Iterator[tuple[Given, Any]], schema: Schema, files: Sequence[Path], drawn: bool) -> int:
    """Write answers of one or several tables each, to a file each, or where `drawn` below each other; see above.

    They are kept in a temporary folder until all rows are answered.
    """
    missing = 0
    kept: list[list[Path]] = []
    with TemporaryDirectory(prefix="omokage-") as folder:
        for given, answer in parts:
            missing += schema.missing(given)
            tables = [schema.to_table(one, given) for one in (answer if drawn or len(files) > 1 else [answer])]
            paths = [Path(folder, f"{len(kept)}-{number}.arrow") for number in range(len(tables))]
            for number, (table, path) in enumerate(zip(tables, paths, strict=True), 1):
                (table.select(pl.lit(number).alias("draw"), pl.all()) if drawn else table).write_ipc(path)
            kept.append(paths)
        columns: list[Any] = [list(each) for each in zip(*kept, strict=True)]
        for file, paths in zip(files, [itertools.chain(*columns)] if drawn else columns, strict=True):
            write_table(file, map(pl.read_ipc, paths))
    return missing


def write_steps(
    question: Callable[[Any, Any], Columns], estimator: Any, schema: Schema, source: Source, out: Path
) -> None:
    """Write `question(rows, context)`, columns of arrays (T,) for each series, a line for each step.

    Lines are in the order of the file. What tells the steps apart is passed through; entries that are NaN are left
    empty. `schema` says how rows are read.
    """
    check_apart(source.data, out)
    check_table(out)
    given = _given(schema, source)
    with named(source.data):
        found = question(given.rows, told_of_given(given, source, estimator))
    lines = slice(None) if given.lines is None else np.argsort(np.concatenate(given.lines))
    assert given.steps is not None  # of series
    write_keyed(out, given.steps, {name: np.concatenate(list(each))[lines] for name, each in found.items()})


def _answers(question: Question, estimator: Any, source: Source) -> Iterator[tuple[Given, Any]]:
    """Yield the rows of a source, those of a large table a part at a time, and `question(estimator, rows, context)`."""
    schema = estimator.schema_
    rows = open_rows(source, schema.key_columns, passed=True)
    parts = schema.parts(rows, source.ids)
    while True:
        with named(source.data):
            given = next(parts, None)
            if given is None:
                return
            try:
                answer = question(estimator, given.rows, told_of_given(given, source, estimator))
            except DataError:
                schema.check(given)  # says which row of the whole file it is
                raise
        yield given, answer


def _given(schema: Schema, source: Source) -> Given:
    """Return all rows of a source, and what tells them apart."""
    rows = open_rows(source, schema.key_columns, passed=True)
    with named(source.data):
        return schema.given(rows, source.ids)


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
    """From a batch of vectors to its answers behind the id columns, `question(estimator, rows, context)`.

    A row that cannot be used ends it, or where not `strict` has empty answers. Nothing is kept from one batch to the
    next, so that several can be answered at once.
    """

    def __init__(
        self, question: Question, estimator: Any, source: Source, strict: bool = True, notation: Notation = PLAIN
    ):
        """Take what `write_rows` takes; `notation` is that of numbers in columns of text."""
        self.question, self.estimator, self.source, self.strict = question, estimator, source, strict
        self.notation = notation

    def __call__(
        self, batch: Any, first: int, *, begun: bool | None = None, cells: pl.DataFrame | None = None
    ) -> Answered:
        """Return the answers.

        Args:
            batch: Some rows of the source, with the id columns.
            first: The number of the first of them.
            begun: Whether a batch without any row that can be used is no reason to stop; `None`: unless it is the
                first.
            cells: How the rows were written, where the batch is of numbers without names.
        """
        source, schema = self.source, self.estimator.schema_
        passed = batch.select(source.ids) if isinstance(batch, pl.DataFrame) else pl.DataFrame()
        rows = known_columns(source.data, batch, schema.names, source.ids)
        context, wrong = told_in(passed, source, self.estimator.context_schema_, self.notation) or (
            None,
            np.zeros((len(rows), 0), bool),
        )
        good, texts = None, []
        try:
            if wrong.any():
                raise DataError(self._text_of_context(passed, wrong, int(np.argmax(wrong.any(1))), first))
            answers = self._ask(rows, context, first)
        except DataError:  # only then is it worth looking at each row
            if self.strict:
                raise
            numbers = numbers_in(rows, self.notation)
            good = np.asarray(~self._bad(numbers).any(1) & ~wrong.any(1))
            usable = self._usable(rows, numbers, good, first > 0 if begun is None else begun)
            if usable is None:
                raise
            kept = np.flatnonzero(good) if good.any() else np.arange(1)
            answers = self._ask(usable, None if context is None else context.part(kept), first)
            for place in np.flatnonzero(~good)[:SHOWN].tolist():
                if wrong[place].any():
                    text = self._text_of_context(passed, wrong, place, first)
                else:
                    text = self._text(rows, numbers, place, first, cells)
                texts.append(f"{text}; left empty.")
        columns = [_with_gaps(name, answers[name], good) for name in answers]
        frame = pl.DataFrame([*passed.get_columns(), *columns])
        return Answered(frame, 0 if good is None else int((~good).sum()), tuple(texts))

    def _ask(self, rows: Any, context: Any, first: int) -> Columns:
        """Return the answers for rows; raises DataError if some cannot be used."""
        try:
            return self.question(self.estimator, rows, context)
        except ValueError as error:
            try:
                to_matrix(rows, first_row=first)  # says which row of the whole file it is
            except DataError as counted:
                raise DataError(f"{self.source.data}: {counted}") from None
            raise DataError(f"{self.source.data}: {error}") from None

    def _usable(self, rows: Any, numbers: NDArray[np.float64], good: NDArray[np.bool_], begun: bool) -> Any:
        """Return the rows that can be used, with text as numbers; if none can, one made-up row in their place.

        `None` means that leaving out rows does not help: either no single row is at fault, or every row is, and no
        earlier batch was answered.
        """
        framed = isinstance(rows, pl.DataFrame)
        if (good.all() and not (framed and pl.String in rows.dtypes)) or not (good.any() or begun):
            return None
        numbers = numbers[good] if good.any() else self.estimator.schema_.columns.low[None]
        return pl.DataFrame(numbers, schema=rows.columns, orient="row") if framed else numbers

    def _bad(self, numbers: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which entries cannot be used: what is not finite, or where the likelihood is no density."""
        bad = ~(np.abs(numbers) <= _LARGEST)  # NaN is within no limits
        return np.asarray(bad | self.estimator.fitted_.accepts.outside(numbers))

    def _text(self, rows: Any, numbers: NDArray[np.float64], place: int, first: int, cells: pl.DataFrame | None) -> str:
        """Say what is wrong with a row."""
        column = int(np.argmax(self._bad(numbers[place][None])[0]))
        framed = isinstance(rows, pl.DataFrame)
        where = repr(rows.columns[column]) if framed else str(column)
        written = rows if framed else cells
        got = float(numbers[place, column]) if written is None else written[place, column]
        support = self.estimator.fitted_.accepts.of(column)
        expected = "a finite number" if support.everything else support.text
        return f"{self.source.data}: row {first + place}, column {where}: expected {expected}, got {got!r}"

    def _text_of_context(self, passed: pl.DataFrame, wrong: NDArray[np.bool_], place: int, first: int) -> str:
        """Say what is wrong with the context of a row."""
        column = int(np.argmax(wrong[place]))
        text = bad_cell(self.estimator.context_schema_, self.source, passed, place, column, first + place)
        return f"{self.source.data}: {text}"


def _with_gaps(name: str, values: Any, good: NDArray[np.bool_] | None) -> pl.Series:
    """Return a column in which rows that are not good are empty."""
    series = pl.Series(name, values)
    if good is None or good.all():
        return series
    places = np.where(good, np.cumsum(good) - 1, 0)
    return series.gather(pl.Series(places)).set(pl.Series(~good), None).alias(name)

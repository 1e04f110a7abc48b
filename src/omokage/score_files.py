"""Scores of vectors, from long files or line by line: bad rows do not stop a run, and one that was killed goes on.

Rows are scored a batch at a time, some batches at once. The answers go to the output, which is renamed into its place
when it is whole and on disk; and each batch of them to a file in a hidden folder beside it, from which a run that was
killed goes on. What the folder belongs to is written in it: another input, model or question starts anew.
"""

import csv
import hashlib
import itertools
import json
import os
import shutil
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl

from omokage import __version__
from omokage.data.kinds import name_of
from omokage.data.sequences import SequenceSchema
from omokage.data.series import rows_of_series
from omokage.errors import DataError, FileFormatError, ParameterError, listing
from omokage.estimators import AnomalyDetector
from omokage.files.writing import write_table
from omokage.row_files import (
    SHOWN,
    Answered,
    Answers,
    Columns,
    Source,
    batches_of,
    check_apart,
    check_table,
    known_columns,
    named,
    names_of,
    numbers_in,
    open_rows,
)
from omokage.storage import INDEX, replacing

Answer = TypeVar("Answer")

_KEY = "key.json"
_AT_ONCE = min(4, os.cpu_count() or 1)  # batches that are answered at once; each has a hundred megabytes or so


def question_of(
    estimator: Any, model: Path, false_alarm_rate: float | None, explain: int
) -> Callable[[Any, Any], Columns]:
    """Return what is asked of rows: the terms of a model, or the verdicts of a detector.

    Args:
        estimator: The model or detector.
        model: Its folder, for messages.
        false_alarm_rate: Of a detector: at which rate to flag rows; `None`: as at its fit.
        explain: Of a detector: how many columns that are to blame to name.

    Raises:
        ParameterError: If there is no detector to be asked so, or it cannot keep the rate.
    """
    if not isinstance(estimator, AnomalyDetector):
        _check_no_verdicts(model, false_alarm_rate, explain)
        return _terms
    if false_alarm_rate is not None:
        estimator.calibration_.check_rate(false_alarm_rate)
    vectors = name_of(estimator.schema_) == "vectors"
    names = tuple(names_of(estimator.schema_)) if vectors else None

    def verdicts(detector: Any, rows: Any) -> dict[str, Any]:
        columns: dict[str, Any] = detector.judge(rows, false_alarm_rate=false_alarm_rate)
        reasons = detector.explain(rows).top(explain, names).T if explain else ()
        return columns | {f"top_feature_{place + 1}": column for place, column in enumerate(reasons)}

    return verdicts


def question_of_steps(
    estimator: Any, model: Path, false_alarm_rate: float | None, explain: int, window: int | None
) -> tuple[Callable[[Any], Mapping[str, Any]], Any]:
    """Return what is asked of each step of series, its score, and of a detector the verdict; and how series are read.

    Args:
        estimator, model, false_alarm_rate, explain: As for `question_of`.
        window: How many steps the windows have that series are cut into; `None`: as at the fit.
    """
    schema = estimator.schema_
    if name_of(schema) != "sequences":
        raise ParameterError(
            f"--by-step, --window: only sequences have steps; {model} is a model of {name_of(schema)}. Leave them out "
            "for a score of each row, or fit a model of series, with --window."
        )
    if isinstance(estimator, AnomalyDetector):

        def verdicts(rows: Any) -> Mapping[str, Any]:
            how: dict[str, Any] = {"false_alarm_rate": false_alarm_rate, "window": window, "explain": explain}
            found: Mapping[str, Any] = estimator.judge_steps(rows, **how)
            return {name: [each] for name, each in found.items()} if schema.reading.is_one(rows) else found

        schema = estimator.schema_of_windows(window)
        return verdicts, schema
    _check_no_verdicts(model, false_alarm_rate, explain)
    if window not in (None, schema.reading.window):
        raise ParameterError(
            f"--window: {model} is fitted on {schema.reading.rows}, and is no detector: score it without --window."
        )

    def scores(rows: Any) -> Mapping[str, Any]:
        found = estimator.step_scores(rows)
        nothing = [np.isnan(one).all(1) for one in schema.series(rows)]
        pairs = zip([found] if schema.reading.is_one(rows) else found, nothing, strict=True)
        return {"anomaly_score": [np.where(empty, np.nan, -one) for one, empty in pairs]}

    return scores, schema


def _check_no_verdicts(model: Path, false_alarm_rate: float | None, explain: int) -> None:
    if false_alarm_rate is not None or explain:
        raise ParameterError(
            f"--false-alarm-rate, --explain: {model} holds no detector. Make one with omokage fit --task detect."
        )


def _terms(estimator: Any, rows: Any) -> dict[str, Any]:
    terms = estimator.terms(rows)
    anomaly = terms["squared_error"] if "squared_error" in terms else -terms.get("elbo", terms["reconstruction"])
    return {"anomaly_score": anomaly, **terms}


def write_scores(
    question: Callable[[Any, Any], Columns],
    estimator: Any,
    source: Source,
    out: Path,
    *,
    model: Path,
    settings: dict[str, Any],
    strict: bool = False,
) -> int:
    """Write `question(estimator, rows)`, columns with an entry for each row, behind the id columns.

    Args:
        question: What is asked of each batch.
        estimator: The model, one of vectors.
        source: Where the rows come from.
        out: The table to write.
        model: The folder of the model.
        settings: What else the answers depend on, but `strict`.
        strict: Stop at the first row that cannot be scored; else its scores are empty, and it is reported.

    Returns:
        How many rows could not be scored.

    Raises:
        DataError: If no row can be scored, or with `strict` if one cannot, or if the file changes meanwhile.
    """
    check_apart(source.data, out)
    check_table(out)
    state, report = _state(source), Report(source.data)
    scored, batches = Answers(question, estimator, source, strict), batches_of(source)
    first = next(batches)
    second = next(batches, None)
    if second is None:
        answered = scored(first[1], 0)
        report(answered)
        write_table(out, answered.frame)
        return report.bad
    folder = out.resolve().with_name(f".{out.name}.parts")
    key = {"input": state, "model": _digest(model / INDEX), "omokage": __version__, "strict": strict, **settings}
    with _parts(folder, key):
        write_table(out, _frames(folder, itertools.chain([first, second], batches), scored, report, state))
    return report.bad


class Report:
    """Says on standard error which rows could not be used, the first of them one by one.

    Attributes:
        bad: How many there were so far.
    """

    def __init__(self, data: str) -> None:
        """Take the name of the data, for messages."""
        self.data, self.bad = data, 0

    def __call__(self, answered: Answered) -> None:
        """Take note of the answers to a batch."""
        for text in answered.texts[: max(0, SHOWN - self.bad)]:
            print(f"omokage: {text}", file=sys.stderr)
        if self.bad <= SHOWN < self.bad + answered.bad:
            print(f"omokage: {self.data}: and more such rows", file=sys.stderr)
        self.bad += answered.bad


def answer_lines(
    question: Callable[[Any, Any], Columns],
    estimator: Any,
    lines: Iterable[str],
    answer: Callable[[str], object],
    *,
    ids: tuple[str, ...] = (),
    strict: bool = False,
) -> int:
    """Answer each line of comma-separated cells as it comes; the first names the columns, where the model has names.

    Args:
        question: What is asked of each row.
        estimator: The model, one of vectors.
        lines: What comes in.
        answer: Called with what goes out: a line of names, then one for each row.
        ids: Columns that are passed through.
        strict: Stop at the first row that cannot be scored.

    Returns:
        How many rows could not be scored.

    Raises:
        DataError: If columns are missing, or with `strict` if a row cannot be scored.
    """
    source, names = Source("-", ids), estimator.schema_.names
    answers, report = Answers(question, estimator, source, strict=False), Report("-")
    cells = csv.reader(lines)
    header = next(cells, None) if names is not None else [str(j) for j in range(estimator.schema_.features)]
    if header is None:
        raise DataError("-: there are no lines; expected the names of the columns first.")
    header = [name.removeprefix("\ufeff") for name in header]
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise DataError(f"-: names of columns must differ; {listing(twice)} repeat.")
    if missing := [name for name in ids if name not in header]:
        raise DataError(f"--id: no column {listing(missing)} in the first line; it has {listing(header, 20)}.")
    for number, row in enumerate(cells):
        if len(row) != len(header):  # which cell is which is not known
            row = [f"({len(row)} cells for {len(header)} columns)"] * len(header)
        frame: Any = pl.DataFrame([row], schema=dict.fromkeys(header, pl.String), orient="row")
        if names is None:
            frame = numbers_in(frame)
        answered = answers(frame, number, begun=True)  # a first row that cannot be used is no reason to stop
        report(answered)
        if strict and report.bad:
            raise DataError("-: stopped at a row that cannot be scored. Mend it, or leave out --strict.")
        answer(answered.frame.write_csv(include_header=number == 0))
    return report.bad


def in_order(function: Callable[..., Answer], jobs: Iterable[tuple[Any, ...]]) -> Iterator[Answer]:
    """Yield `function(*job)` of each job in their order, some at once."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        running: deque[Future[Answer]] = deque()
        try:
            for job in jobs:
                running.append(pool.submit(function, *job))
                if len(running) > _AT_ONCE:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _frames(
    folder: Path, batches: Iterator[tuple[int, Any]], scored: Answers, report: Report, state: dict[str, Any]
) -> Iterator[pl.DataFrame]:
    """Yield the answers to each batch, in their order: from the folder, or else made, some at once, and put there.

    Raises:
        DataError: If rows cannot be scored, or if in the end the input is not in the `state` in which it was.
    """

    def part(path: Path, first: int, batch: Any) -> Answered:
        if path.exists():
            frame = pl.read_ipc(path)
            return Answered(frame, int(frame.select(pl.last().null_count()).item()))
        answered = scored(batch, first)
        with replacing(path) as file:
            answered.frame.write_ipc(file)
        return answered

    jobs = ((folder / f"{number:06d}.arrow", *one) for number, one in enumerate(batches))
    for answered in in_order(part, jobs):
        report(answered)
        yield answered.frame
    if _state(scored.source) != state:
        raise DataError(f"{scored.source.data}: it changed while it was read. Wait until it is whole, and score again.")


def _state(source: Source) -> dict[str, Any]:
    """Return what tells an input from another."""
    path = Path(source.data)
    status = path.stat() if path.exists() else None
    seen = {} if status is None else {"size": status.st_size, "changed": status.st_mtime_ns}
    return {**asdict(source), "data": str(path.resolve()), **seen}


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextmanager
def _parts(folder: Path, key: dict[str, Any]) -> Iterator[None]:
    """Make the folder of the parts, or keep the one that an interrupted run of the same question left.

    It is this run's alone, and is removed at its end, but for an interruption.

    Raises:
        FileFormatError: If it cannot be made, or another run has it.
    """
    text = json.dumps(key, sort_keys=True, default=list)
    with ExitStack() as stack:
        try:
            folder.mkdir(exist_ok=True)
            stack.enter_context(_locked(folder))
            if not ((folder / _KEY).exists() and (folder / _KEY).read_text(encoding="utf-8") == text):
                for left in folder.iterdir():
                    left.unlink()
                (folder / _KEY).write_text(text, encoding="utf-8")
        except OSError as error:
            raise FileFormatError(
                f"{folder}: cannot be written ({error.strerror or error}). Give --out another name."
            ) from None
        try:
            yield
        except DataError:  # only another input would help
            shutil.rmtree(folder, ignore_errors=True)
            raise
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder until this one ends or is killed; on Windows nothing does."""
    if sys.platform == "win32":
        yield
        return
    import fcntl

    opened = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems know no locks
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise FileFormatError(
                    f"{folder}: another run is writing it. Wait until that has ended, or give --out another name."
                ) from None
        yield
    finally:
        os.close(opened)


def labelled_rows(source: Source, label: str, schema: Any) -> tuple[pl.DataFrame, Any, pl.DataFrame]:
    """Return the rows of a table as a model of this schema knows them, their labels, and their ids.

    Labels are (n,); of sequences (T,) for each series, or for the only one.
    """
    file = open_rows(source, passed=True)
    if label not in (getattr(file, "names", None) or ()):
        known = listing(getattr(file, "names", None) or (), 20) or "no names"
        raise DataError(f"--label-column: no column {label!r} in {source.data}; it has {known}.")
    frame = file.read()
    labels, dropped = frame[label].to_numpy(), (*source.ids, label)
    if not isinstance(schema, SequenceSchema):
        return known_columns(source.data, frame, schema.names, dropped), labels, frame.select(source.ids)
    rows = frame.drop(dropped)
    with named(source.data):
        groups = rows_of_series(rows, schema.reading)
    each, order = [labels[group] for group in groups], np.concatenate(groups)
    return rows, each[0] if schema.reading.is_one(rows) else each, frame.select(source.ids)[order]

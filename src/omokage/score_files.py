"""Scores of vectors, from long files or line by line: bad rows do not stop a run, and one that was killed goes on.

Rows are scored a batch at a time. Each batch becomes a file in a hidden folder beside the output, renamed into its
place when it is on disk; when all are there the output is put together from them, in one step too, and the folder
removed. What the folder belongs to is written in it: another input, model or question starts anew.
"""

import csv
import hashlib
import itertools
import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl

from omokage import __version__
from omokage.data.kinds import name_of
from omokage.data.reading import write_table
from omokage.errors import DataError, FileFormatError, ParameterError, listing
from omokage.estimators import AnomalyDetector
from omokage.row_files import Answers, Columns, Source, batches_of, check_apart, check_table, names_of, numbers_in
from omokage.storage import INDEX

_KEY = "key.json"


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
        if false_alarm_rate is not None or explain:
            raise ParameterError(
                f"--false-alarm-rate, --explain: {model} holds no detector. Make one with omokage fit --task detect."
            )
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
    state = _state(source)
    scored, batches = Answers(question, estimator, source, strict), batches_of(source)
    first = next(batches)
    second = next(batches, None)
    if second is None:
        write_table(out, scored(first))
    else:
        folder = out.resolve().with_name(f".{out.name}.parts")
        _prepare(
            folder,
            {"input": state, "model": _digest(model / INDEX), "omokage": __version__, "strict": strict, **settings},
        )
        try:
            parts = list(_parts(folder, itertools.chain([first, second], batches), scored))
            if _state(source) != state:
                raise DataError(
                    f"{source.data}: it changed while it was read. Wait until it is whole, and score again."
                )
            write_table(out, (pl.read_parquet(path) for path in parts))
        except DataError:  # only another input would help
            shutil.rmtree(folder, ignore_errors=True)
            raise
        shutil.rmtree(folder, ignore_errors=True)
    return scored.bad


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
    answers = Answers(question, estimator, source, strict=False)
    answers.begun = True  # so that a first row that cannot be used is no reason to stop
    cells = csv.reader(lines)
    header = next(cells, None) if names is not None else [str(j) for j in range(estimator.schema_.features)]
    if header is None:
        raise DataError("-: there are no lines; expected the names of the columns first.")
    header = [name.removeprefix("\ufeff") for name in header]
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise DataError(f"-: names of columns must differ; {listing(twice)} repeat.")
    if missing := [name for name in ids if name not in header]:
        raise DataError(f"--id: no column {listing(missing)} in the first line; it has {listing(header, 20)}.")
    started = False
    for row in cells:
        if len(row) != len(header):  # which cell is which is not known
            row = [f"({len(row)} cells for {len(header)} columns)"] * len(header)
        frame: Any = pl.DataFrame([row], schema=dict.fromkeys(header, pl.String), orient="row")
        if names is None:
            frame = numbers_in(frame)
        written = answers(frame).write_csv(include_header=not started)
        if strict and answers.bad:
            raise DataError("-: stopped at a row that cannot be scored. Mend it, or leave out --strict.")
        answer(written)
        started = True
    return answers.bad


def _parts(folder: Path, batches: Iterator[Any], scored: Answers) -> Iterator[Path]:
    """Yield the file of each batch, which is made where it is not there yet."""
    for number, batch in enumerate(batches):
        path = folder / f"{number:06d}.parquet"
        if path.exists():
            scored.skip(len(batch))
            scored.bad += pl.scan_parquet(path).select(pl.last().null_count()).collect().item()
        else:
            write_table(path, scored(batch))
        yield path


def _state(source: Source) -> dict[str, Any]:
    """Return what tells an input from another."""
    path = Path(source.data)
    status = path.stat() if path.exists() else None
    seen = {} if status is None else {"size": status.st_size, "changed": status.st_mtime_ns}
    return {**asdict(source), "data": str(path.resolve()), **seen}


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _prepare(folder: Path, key: dict[str, Any]) -> None:
    """Make the folder of the parts, or keep the one that an interrupted run of the same question left."""
    text = json.dumps(key, sort_keys=True, default=list)
    try:
        if (folder / _KEY).exists() and (folder / _KEY).read_text(encoding="utf-8") == text:
            return
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / _KEY).write_text(text, encoding="utf-8")
    except OSError as error:
        raise FileFormatError(f"{folder}: cannot be written ({error.strerror or error}).") from None

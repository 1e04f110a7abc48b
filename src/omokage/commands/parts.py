"""Scores of long files: bad rows do not stop a run, and one that was killed goes on.

Rows are scored a batch at a time, some batches at once. The answers go to the output, which is renamed into its place
when it is whole and on disk; and each batch of them to a file in a hidden folder beside it, from which a run that was
killed goes on. What the folder belongs to is written in it: another input, model or question starts anew.
"""

import hashlib
import itertools
import json
import os
import shutil
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from omokage import __version__
from omokage.commands.answers import Answered, Answers, Question
from omokage.commands.lines import Report
from omokage.commands.outputs import check_apart, check_table
from omokage.commands.sources import Source, batches_of, opened_vectors
from omokage.errors import DataError, FileFormatError
from omokage.files.writing import KEY, scored_parts, write_table
from omokage.storage import INDEX, replacing

Answer = TypeVar("Answer")

_AT_ONCE = min(4, os.cpu_count() or 1)  # batches that are answered at once; each has a hundred megabytes or so


def write_scores(
    question: Question,
    estimator: Any,
    source: Source,
    out: Path,
    *,
    model: Path,
    settings: dict[str, Any],
    strict: bool = False,
) -> int:
    """Write `question(estimator, rows, context)`, columns with an entry for each row, behind the id columns.

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
    rows = opened_vectors(source, out)
    scored, batches = Answers(question, estimator, source, strict, rows.notation), batches_of(rows)
    first = next(batches)
    second = next(batches, None)
    if second is None:
        answered = scored(first[1], 0)
        report(answered)
        write_table(out, answered.frame)
        return report.bad
    folder = scored_parts(out.resolve())
    key = {"input": state, "model": _digest(model / INDEX), "omokage": __version__, "strict": strict, **settings}
    with _parts(folder, key):
        write_table(out, _frames(folder, itertools.chain([first, second], batches), scored, report, state))
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
            if not ((folder / KEY).exists() and (folder / KEY).read_text(encoding="utf-8") == text):
                for left in folder.iterdir():
                    left.unlink()
                (folder / KEY).write_text(text, encoding="utf-8")
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

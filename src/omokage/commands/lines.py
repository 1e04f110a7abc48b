"""Rows that come line by line, each answered at once; and the report of those that cannot be used."""

import csv
import sys
from collections.abc import Callable, Iterable
from typing import Any

import polars as pl

from omokage.commands.answers import SHOWN, Answered, Answers, Columns
from omokage.commands.sources import Source, numbers_in
from omokage.errors import DataError, listing


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

"""Rows that come line by line, each answered at once; and the report of those that cannot be used."""

import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import polars as pl

from omokage.commands.answers import SHOWN, Answered, Answers, Question
from omokage.commands.sources import Source, check_context, numbers_in
from omokage.errors import DataError, listing
from omokage.files.lines import open_lines


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
    question: Question,
    estimator: Any,
    lines: Iterable[str | bytes],
    answer: Callable[[str], object],
    *,
    source: Source,
    strict: bool = False,
) -> int:
    """Answer each line of cells as it comes; the first names the columns, where the model has names.

    Args:
        question: What is asked of each row.
        estimator: The model, one of vectors.
        lines: What comes in.
        answer: Called with what goes out: a line of names, then one for each row.
        source: How lines are read, and which columns are passed through.
        strict: Stop at the first row that cannot be scored.

    Returns:
        How many rows could not be scored.

    Raises:
        DataError: If columns are missing, or with `strict` if a row cannot be scored.
    """
    schema, ids = estimator.schema_, source.ids
    named = schema.names is not None or source.context
    numbered = None if named else tuple(str(j) for j in range(schema.features))
    reader = open_lines(lines, replace(source.options, text=source.text), names=numbered)
    if source.optional:
        ids = tuple(name for name in ids if name in reader.names or name in source.context)
        source = replace(source, ids=ids)
    check_context(source, "the first line", reader.names)
    if missing := [name for name in ids if name not in reader.names]:
        raise DataError(f"--id: no column {listing(missing)} in the first line; it has {listing(reader.names, 20)}.")
    answers, report = Answers(question, estimator, source, strict=False), Report(source.data)
    for number, line in enumerate(reader):
        cells = line.cells or (None,) * len(reader.names)
        frame: Any = pl.DataFrame([cells], schema=dict.fromkeys(reader.names, pl.String), orient="row")
        rows = frame if named else numbers_in(frame)
        # Begun: a first row that cannot be used is no reason to stop.
        answered = answers(rows, number, begun=True, cells=frame)
        if line.problem:
            answered = Answered(answered.frame, 1, (f"{source.data}: {line.problem}",))
        report(answered)
        if strict and report.bad:
            raise DataError("-: stopped at a row that cannot be scored. Mend it, or leave out --strict.")
        answer(answered.frame.write_csv(include_header=number == 0))
    return report.bad

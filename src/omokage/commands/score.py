"""`omokage score`: how strange rows are, or steps of series, in files or line by line."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from omokage.commands.arguments import AS_USUAL, DATA_HELP, NONE, Folder, Own, Reading, whole
from omokage.errors import DataError, ParameterError


def score(
    model: Folder,
    data: Annotated[
        str,
        Parameter(
            help=DATA_HELP + " - is lines from standard input, each answered at once.", allow_leading_hyphen=True
        ),
    ],
    *,
    out: Annotated[Path | None, Parameter(help="File to write: .csv or .parquet; of - standard output.")] = None,
    by_step: Annotated[bool, Parameter(help="Of series: a score for each step.", negative="")] = False,
    window: Annotated[
        int | None, Parameter(converter=whole, help="Of long series: a score for each step, by windows of so many.")
    ] = None,
    false_alarm_rate: Annotated[
        float | None, Parameter(help="Of a detector: flag rows whose p-value is at most this.")
    ] = None,
    explain: Annotated[
        int, Parameter(converter=whole, help="Of a detector: how many columns that are to blame to name, and say why.")
    ] = 0,
    strict: Annotated[
        bool, Parameter(help="Stop at the first row that cannot be scored; else it is reported.", negative="")
    ] = False,
    reading: Reading = AS_USUAL,
    own: Own = NONE,
) -> None:
    """Write an anomaly score for every row (higher is stranger) and the terms that it is made of, in nats."""
    from omokage.commands.answers import write_rows, write_steps
    from omokage.commands.lines import answer_lines
    from omokage.commands.parts import write_scores
    from omokage.commands.verdicts import question_of, question_of_steps

    estimator = own.load(model)
    source = reading.source(data, estimator)
    schema = estimator.schema_
    by_step = by_step or window is not None or schema.cuts
    if by_step:
        asked, schema = question_of_steps(estimator, model, false_alarm_rate, explain, window)
    else:
        question = question_of(estimator, model, false_alarm_rate, explain)
    if data == "-" and sys.stdin is None:
        raise DataError(
            "-: standard input is closed; expected lines of cells there, or the name of a file in its place."
        )
    if data == "-" and out is None and schema.streams:

        def answer(text: str) -> None:
            print(text, end="", flush=True)

        lines = getattr(sys.stdin, "buffer", sys.stdin)  # of bytes, so that one bad byte is one bad line
        answer_lines(question, estimator, lines, answer, source=source, strict=strict)
        return
    if data == "-" or out is None:
        raise ParameterError("--out: expected a file to write; only of - and vectors answers go to standard output.")
    if by_step:
        write_steps(asked, estimator, schema, source, out)
    elif not schema.streams:
        write_rows(question, estimator, source, out)
    else:
        settings = {"false_alarm_rate": false_alarm_rate, "explain": explain}
        bad = write_scores(question, estimator, source, out, model=model, settings=settings, strict=strict)
        if bad:
            print(f"{out}: {bad} rows have no score", file=sys.stderr)
    print(f"{out}: written", file=sys.stderr)

"""`omokage sample`: draws from a model."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from omokage.commands.arguments import NONE, Folder, OutLike, Own, whole


def sample(
    model: Folder,
    *,
    out: OutLike,
    n: Annotated[
        int | None,
        Parameter(
            converter=whole, name=["-n", "--rows"], help="How many rows, series or pictures; 100.", show_default=False
        ),
    ] = None,
    context: Annotated[
        tuple[str, ...],
        Parameter(
            negative="",
            show_default=False,
            help="What a conditional model is told, a value or NAME=VALUE for each column.",
        ),
    ] = (),
    context_file: Annotated[
        Path | None, Parameter(help="The same as a table, a line for each row, series or picture to draw.")
    ] = None,
    length: Annotated[
        int | None, Parameter(converter=whole, help="Steps of each series; by default as in training.")
    ] = None,
    mean: Annotated[bool, Parameter(help="Decoder means, without noise; always of autoencoders.", negative="")] = False,
    seed: Annotated[int, Parameter(converter=whole, help="Of the draws.")] = 0,
    own: Own = NONE,
) -> None:
    """Write rows, series or pictures drawn from the model."""
    from omokage.commands.context import context_of_draws, table_of_draws
    from omokage.commands.outputs import check_output, write_output
    from omokage.data.context import beside
    from omokage.files.writing import write_table

    estimator = own.model(model)
    schema = estimator.schema_
    form = check_output(schema, out)
    drawn = context_of_draws(estimator, n, context, context_file)
    how: dict[str, Any] = {"seed": seed, "length": length, **beside(drawn.told)}
    how |= {"mean": True} if mean else {}  # each kind of model has its own default
    answers = estimator.sample(drawn.count, **how)
    if form == "table":
        write_table(out, table_of_draws(schema, answers, drawn.columns))
    else:
        write_output(schema, answers, out)
    print(f"{out}: {drawn.count} {schema.kind.called}")

"""`omokage sample`: draws from a model."""

from typing import Annotated

from cyclopts import Parameter

from omokage.commands.arguments import NONE, Folder, OutLike, Own


def sample(
    model: Folder,
    *,
    out: OutLike,
    n: Annotated[int, Parameter(name=["-n", "--rows"], help="How many rows, series or pictures.")] = 100,
    length: Annotated[int | None, Parameter(help="Steps of each series; by default as in training.")] = None,
    mean: Annotated[bool, Parameter(help="Decoder means, without noise; always of autoencoders.", negative="")] = False,
    seed: Annotated[int, Parameter(help="Of the draws.")] = 0,
    own: Own = NONE,
) -> None:
    """Write rows, series or pictures drawn from the model."""
    from omokage.commands.outputs import check_output, write_output

    estimator = own.model(model)
    check_output(estimator.schema_, out)
    how = {"seed": seed, "length": length} | ({"mean": True} if mean else {})  # each kind of model has its own default
    write_output(estimator.schema_, estimator.sample(n, **how), out)
    print(f"{out}: {n} {estimator.schema_.kind.called}")

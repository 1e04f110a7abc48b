"""`omokage impute`: missing entries filled."""

import itertools
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from omokage.commands.arguments import AS_USUAL, NONE, Data, Folder, OutLike, Own, Reading, whole
from omokage.errors import ParameterError


def impute(
    model: Folder,
    data: Data,
    *,
    out: OutLike,
    draws: Annotated[
        int | None,
        Parameter(
            converter=whole,
            show_default=False,
            help="Multiple imputation: so many tables below each other, told apart by a first column, draw; arrays: a "
            "first axis.",
        ),
    ] = None,
    std: Annotated[
        Path | None,
        Parameter(show_default=False, help="A second file, like --out: standard errors, 0 where nothing was missing."),
    ] = None,
    samples: Annotated[int, Parameter(converter=whole, help="How many z are weighted for each row.")] = 64,
    seed: Annotated[int, Parameter(converter=whole, help="Of the draws.")] = 0,
    reading: Reading = AS_USUAL,
    own: Own = NONE,
) -> None:
    """Write tables or series with their missing entries filled; what is there stays as it is."""
    from omokage.commands.answers import write_filled
    from omokage.data.context import beside

    estimator = own.model(model)
    if not estimator.schema_.can_miss:
        raise ParameterError(
            f"{model}: a model of {estimator.schema_.described} in which nothing can be missing; expected one of a "
            "table (--data table) or of sequences. Fit it anew."
        )
    if draws is not None and std is not None:
        raise ParameterError("--std: expected no --draws beside it: draws vary by the standard error. Leave one out.")

    parts = itertools.count()  # each with a seed of its own, so that equal rows of two parts have unlike draws

    def filled(rows: object, context: object) -> object:
        own = (seed + next(parts)) % 2**32 if draws is not None and 0 <= seed < 2**32 else seed
        how = {"samples": samples, "seed": own, **beside(context)}
        return estimator.impute(rows, draws=draws, return_std=std is not None, **how)

    count = write_filled(filled, estimator, reading.source(data, estimator), out, draws is not None, std)
    print(f"{out}: {count} entries filled", file=sys.stderr)

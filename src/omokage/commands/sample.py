"""`omokage sample`: draws from a model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from omokage.commands.arguments import NONE, Folder, OutLike, Own, whole
from omokage.errors import ParameterError


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
    where: Annotated[
        tuple[str, ...],
        Parameter(
            negative="",
            show_default=False,
            help="A condition on a column: NAME=VALUE, NAME=LOW..HIGH (one end may be left out), or NAME=A|B for one "
            "of some levels; repeat it for more. Columns without names have numbers, from 0.",
        ),
    ] = (),
    length: Annotated[
        int | None, Parameter(converter=whole, help="Steps of each series; by default as in training.")
    ] = None,
    mean: Annotated[bool, Parameter(help="Decoder means, without noise; always of autoencoders.", negative="")] = False,
    seed: Annotated[int, Parameter(converter=whole, help="Of the draws.")] = 0,
    own: Own = NONE,
) -> None:
    """Write rows, series or pictures drawn from the model."""
    import numpy as np

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
    worth = ""
    if where:
        if not hasattr(estimator, "expect"):
            raise ParameterError("--where: expected a VAE; an autoencoder has no distribution of rows.")
        if context_file is not None:
            raise ParameterError("--where: expected --context, which is the same for all draws; got --context-file.")
        one = None if drawn.told is None else drawn.told.part(np.zeros(1, np.int64))
        how |= {**beside(one), "where": conditions(schema, where), "return_ess": True}
        answers, ess = estimator.sample(drawn.count, **how)
        worth = f", from proposals worth {ess:,.0f} draws"
    else:
        answers = estimator.sample(drawn.count, **how)
    if form == "table":
        write_table(out, table_of_draws(schema, answers, drawn.columns))
    else:
        write_output(schema, answers, out)
    print(f"{out}: {drawn.count} {schema.kind.called}{worth}")


def conditions(schema: Any, texts: Sequence[str]) -> dict[str, Any]:
    """Return conditions on columns, as `VAE.sample` takes them, from NAME=VALUE, NAME=LOW..HIGH, or NAME=A|B.

    A text that is a value of its column, as a level "a|b" is, is taken as that.

    Raises:
        ParameterError: If one cannot be read.
    """
    found: dict[str, Any] = {}
    for text in texts:
        known = [name for name in schema.names or () if text.startswith(f"{name}=")]
        name = max(known, key=len) if known else text.partition("=")[0]
        if "=" not in text or name in found:
            wrong = "two conditions for one column" if name in found else "no condition"
            raise ParameterError(
                f"--where: expected NAME=VALUE, NAME=LOW..HIGH or NAME=A|B, one for each column; {text!r} is {wrong}."
            )
        found[name] = _condition(schema, name, text[len(name) + 1 :])
    return found


def _condition(schema: Any, name: str, text: str) -> Any:
    low, between, high = text.partition("..")
    if not between and "|" not in text:
        return text
    try:
        schema.conditions({name: text})
    except ParameterError:
        return (low or None, high or None) if between else text.split("|")
    return text

"""`omokage reproduce`: experiments of published documents."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from omokage.commands.arguments import whole
from omokage.errors import ParameterError


def reproduce(
    name: Annotated[str | None, Parameter(help="An experiment that --list shows.")] = None,
    *,
    out: Annotated[Path | None, Parameter(help="Folder to write. Default: omokage-reproduce/NAME.")] = None,
    seed: Annotated[int, Parameter(converter=whole, help="Of everything random.")] = 0,
    quick: Annotated[bool, Parameter(help="Few rows and epochs, in seconds.", negative="")] = False,
    show: Annotated[bool, Parameter(name="--list", help="Show the experiments.", negative="")] = False,
) -> None:
    """Run an experiment of a published document: write its pictures and a table, the document's figures beside ours."""
    from omokage import experiments

    if show:
        for known, document, question in experiments.listed():
            print(f"{known}\n    {document}\n    {question}")
    elif name is None:
        raise ParameterError(f"NAME: expected one of {', '.join(experiments.NAMES)}; got none. See --list.")
    else:
        experiments.reproduce(name, out, seed=seed, quick=quick)

"""`omokage demo`: a first look."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from omokage.commands.arguments import whole


def demo(
    *,
    out: Annotated[Path, Parameter(help="Folder for the report and the model.")] = Path("omokage-demo"),
    seed: Annotated[int, Parameter(converter=whole, help="Of everything random.")] = 0,
) -> None:
    """Train a VAE on real handwritten digits and write a report of what it learned."""
    from omokage.demo import run_demo

    run_demo(out, seed=seed)

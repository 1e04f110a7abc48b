"""`omokage reconstruct`: what the model makes of rows."""

import sys
from typing import Any

from omokage.commands.arguments import AS_USUAL, NONE, Data, Folder, OutLike, Own, Reading


def reconstruct(model: Folder, data: Data, *, out: OutLike, reading: Reading = AS_USUAL, own: Own = NONE) -> None:
    """Write what the model makes of rows, series or pictures, in their own units."""
    from omokage.commands.answers import write_like
    from omokage.data.context import beside

    def rebuilt(estimator: Any, rows: Any, context: Any) -> Any:
        return estimator.reconstruct(rows, **beside(context))

    estimator = own.model(model)
    write_like(rebuilt, estimator, reading.source(data, estimator), out)
    print(f"{out}: written", file=sys.stderr)

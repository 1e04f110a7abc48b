"""`omokage impute`: missing entries filled."""

import sys
from typing import Any

from omokage.commands.arguments import AS_USUAL, NONE, Data, Folder, OutLike, Own, Reading
from omokage.errors import ParameterError


def impute(model: Folder, data: Data, *, out: OutLike, reading: Reading = AS_USUAL, own: Own = NONE) -> None:
    """Write series with their missing entries filled; what is there stays as it is."""
    from omokage.commands.answers import write_like
    from omokage.data.context import beside

    estimator = own.model(model)
    if not estimator.schema_.can_miss:
        raise ParameterError(f"{model}: a model of {estimator.schema_.described}; only sequences can be imputed.")

    def filled(estimator: Any, rows: Any, context: Any) -> Any:
        return estimator.impute(rows, **beside(context))

    count = write_like(filled, estimator, reading.source(data, estimator), out)
    print(f"{out}: {count} entries filled", file=sys.stderr)

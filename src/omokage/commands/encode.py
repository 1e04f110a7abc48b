"""`omokage encode`: features of rows."""

import sys
from typing import Any

from omokage.commands.arguments import AS_USUAL, NONE, Data, Folder, Out, Own, Reading


def encode(model: Folder, data: Data, *, out: Out, reading: Reading = AS_USUAL, own: Own = NONE) -> None:
    """Write the features of rows, series or pictures: the posterior means."""
    from omokage.commands.answers import write_rows
    from omokage.data.context import beside

    def features(estimator: Any, rows: Any, context: Any) -> dict[str, Any]:
        return dict(zip(estimator.get_feature_names_out(), estimator.transform(rows, **beside(context)).T, strict=True))

    estimator = own.model(model)
    write_rows(features, estimator, reading.source(data, estimator), out)
    print(f"{out}: written", file=sys.stderr)

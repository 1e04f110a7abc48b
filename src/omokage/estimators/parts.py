"""Large tables, asked about a part at a time where the answer is a table."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from omokage.data.frames import like, series_of
from omokage.errors import DataError


def imputed(estimator: Any, X: Any, seed: int, **how: Any) -> Any:
    """Return what `impute` does of an open file, whose parts are filled one after the other.

    Draws of each part have a seed of their own, so that equal rows of two parts have draws that differ.
    """
    schema, answers = estimator.schema_, []
    for number, part in enumerate(schema.parts(X)):
        own = seed if how["draws"] is None else (seed + number) % 2**32
        try:
            answers.append(estimator.impute(part.rows, seed=own, **how))
        except DataError:
            schema.check(part)  # says which row of the whole file it is
            raise
    if how["draws"] is None and not how["return_std"]:
        return _joined(answers, schema.container)
    tables = [_joined(each, schema.container) for each in zip(*answers, strict=True)]
    return tables if how["draws"] is not None else tuple(tables)


def _joined(tables: Sequence[Any], container: Any) -> Any:
    """Return tables below each other."""
    return like(pl.concat([pl.DataFrame(series_of(table)) for table in tables]), container)

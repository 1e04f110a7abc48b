"""Row numbers and other indexes beside the columns: they tell rows apart, and are no measurements."""

import json
from collections.abc import Sequence
from typing import Any

import polars as pl


def named_by_pandas(metadata: dict[str, str]) -> tuple[str, ...]:
    """Return which columns of a Parquet file are the index of the pandas data frame that was written.

    Example:
        >>> named_by_pandas({"pandas": '{"index_columns": ["part", {"kind": "range"}]}'})
        ('part',)
    """
    try:
        named: Any = json.loads(metadata.get("pandas", "{}"))["index_columns"]
        return tuple(name for name in named if isinstance(name, str))
    except (ValueError, KeyError, TypeError):  # the metadata are of another program, or damaged
        return ()


def are_keys(columns: Sequence[pl.Series]) -> bool:
    """Say whether columns of text tell rows apart: no two are alike, and none holds fractions."""
    frame = pl.DataFrame([column.alias(str(place)) for place, column in enumerate(columns)])
    fractions = any(column.str.contains(r"^\s*[+-]?[0-9]*\.[0-9]+([eE][+-]?[0-9]+)?\s*$").any() for column in columns)
    return (
        not fractions
        and frame.height > 0
        and not bool(frame.is_duplicated().any())
        and not any(column.null_count() for column in columns)
    )

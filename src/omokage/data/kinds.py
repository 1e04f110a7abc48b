"""What kind of data X is, and how each kind is read."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from omokage.data.images import Images, ImageSchema, ImageTable
from omokage.data.schema import Schema
from omokage.data.sequences import SequenceSchema, SequenceTable
from omokage.data.series import Sequences
from omokage.data.table import Table, opened
from omokage.errors import FileFormatError, ParameterError
from omokage.paths import is_folder

AnySchema = Schema | ImageSchema | SequenceSchema
AnyTable = Table | ImageTable | SequenceTable


@dataclass(frozen=True)
class Vectors:
    """Rows of numbers: arrays (n, D), data frames, and files of either."""


KINDS: dict[str, Any] = {"vectors": Vectors, "images": Images, "sequences": Sequences}


def open_data(X: Any, kind: Any, sample_weight: Any = None, *, estimator: str = "") -> AnyTable:
    """Return X on its way to training.

    Args:
        X: Data, or the path of a file or folder.
        kind: "auto", a name of `KINDS`, or an instance. "auto": an array (n, time, channels), a list of arrays (time,
            channels), or of arrays (time,) of unlike lengths is sequences, an array (n, height, width, channels) or a
            folder is images, all else is vectors.
        sample_weight: How much each row counts.
        estimator: What messages call the model.

    Raises:
        DataError: If X cannot be used.
    """
    X = X if is_folder(X) else opened(X)
    reading = _kind(X, kind)
    if isinstance(reading, Vectors):
        return Table(X, sample_weight, estimator=estimator)
    table: Any = ImageTable if isinstance(reading, Images) else SequenceTable
    made: AnyTable = table(values(X, shaped=True), sample_weight, reading, estimator=estimator)
    return made


def values(X: Any, *, shaped: bool = False) -> Any:
    """Return the rows of a file where X is one or the path of one, else X; IDX pictures flat, unless `shaped`."""
    if is_folder(X):
        return X
    X = opened(X)
    if not hasattr(X, "batches"):
        return X
    rows = X.read()
    return rows.reshape(len(rows), *X.row_shape) if shaped and X.row_shape is not None else rows


def name_of(table: AnyTable | AnySchema) -> str:
    """Return the name of a kind of data."""
    if isinstance(table, ImageTable | ImageSchema):
        return "images"
    return "sequences" if isinstance(table, SequenceTable | SequenceSchema) else "vectors"


def entry_names(schema: AnySchema, shape: tuple[int, ...]) -> list[str]:
    """Return what messages call each entry of a row of this shape, in the order of a row laid flat."""
    name = schema.column
    if isinstance(schema, SequenceSchema):
        return [f"step {step}, channel {name(channel)}" for step in range(shape[0]) for channel in range(shape[1])]
    numbered = isinstance(schema, Schema) and not schema.names
    return [f"column {name(j)}" if numbered else name(j) for j in range(schema.features)]


def schema_from_json(value: Mapping[str, Any]) -> AnySchema:
    """Return the schema that `to_json` of one of the kinds wrote.

    Raises:
        FileFormatError: If it is not sound.
    """
    schemas: dict[Any, Any] = {"vectors": Schema, "images": ImageSchema, "sequences": SequenceSchema}
    if value.get("kind") not in schemas:
        raise FileFormatError(f"schema.json: expected a kind of {', '.join(schemas)}; got {value.get('kind')!r}.")
    schema: AnySchema = schemas[value["kind"]].from_json(value)
    return schema


def _kind(X: Any, kind: Any) -> Vectors | Images | Sequences:
    if isinstance(kind, str) and kind in KINDS:
        made: Vectors | Images | Sequences = KINDS[kind]()
        return made
    if isinstance(kind, Vectors | Images | Sequences):
        return kind
    if kind != "auto":
        raise ParameterError(
            f"data: expected 'auto', one of {', '.join(map(repr, KINDS))}, or an instance; got {kind!r}."
        )
    if is_folder(X):
        return Images()
    dimensions = 2 if isinstance(X, str | os.PathLike) else _dimensions(X)
    return Sequences() if dimensions == 3 else Images() if dimensions == 4 else Vectors()


def _dimensions(X: Any) -> int:
    """Return how many axes X has; a list of arrays (time, channels), or (time,) of unlike lengths, has three."""
    if getattr(X, "row_shape", None) is not None:
        return 2 if X.flattened else 1 + len(X.row_shape)
    if isinstance(X, list | tuple):
        axes = getattr(X[0], "ndim", 0) if X else 0
        unlike = axes == 1 and len({getattr(row, "shape", None) for row in X}) > 1
        return 3 if unlike else 1 + max(1, axes)
    return int(getattr(X, "ndim", 2))

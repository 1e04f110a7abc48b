"""What kind of data X is. What a kind is, `omokage.data.kinds.base` says; each has a module beside it."""

import os
from collections.abc import Mapping
from typing import Any

from omokage.data.arrays import is_picture
from omokage.data.containers import opened
from omokage.data.frames import is_frame, is_mixed
from omokage.data.kinds import table_streams, vectors
from omokage.data.kinds.base import Drawing, Given, Kind, Pictures, Rows, Schema
from omokage.data.kinds.images import Images
from omokage.data.kinds.sequences import Sequences
from omokage.data.kinds.tables import Columns
from omokage.data.kinds.vectors import Vectors
from omokage.errors import FileFormatError, ParameterError
from omokage.paths import is_folder

__all__ = [
    "KINDS", "Columns", "Drawing", "Given", "Images", "Kind", "Pictures", "Rows", "Schema", "Sequences", "Vectors",
    "open_data", "schema_from_json",
]  # fmt: skip

_MOST_AXES = 64  # of an array
KINDS: dict[str, type[Kind]] = {kind.name: kind for kind in (Vectors, Columns, Images, Sequences)}


def open_data(X: Any, kind: Any, sample_weight: Any = None, *, estimator: str = "") -> Rows:
    """Return X on its way to training.

    Args:
        X: Data, or the path of a file or folder.
        kind: "auto", a name of `KINDS`, or an instance. "auto": what has the axes (n, time, channels), and a list of
            arrays (time, channels), or of arrays (time,) of unlike lengths, is sequences; what has the axes (n, height,
            width, channels), a folder, and a list of Pillow's pictures are images; a data frame, or a file of one, that
            holds anything but plain numbers, or has holes, is a table; all else is vectors.
        sample_weight: How much each row counts.
        estimator: What messages call the model.

    Raises:
        DataError: If X cannot be used.
    """
    X = X if is_folder(X) else opened(X)
    chosen = kind_of(X, kind)
    if kind == "auto" and isinstance(chosen, Vectors):
        X, mixed = _looked_at(X)
        chosen = Columns() if mixed else chosen
    return chosen.rows(X, sample_weight, estimator=estimator)


def kind_of(X: Any, kind: Any) -> Kind:
    """Return the kind of data that X is, or is said to be; see `open_data`."""
    if isinstance(kind, str) and kind in KINDS:
        return KINDS[kind]()
    if isinstance(kind, Kind):
        return kind
    if not (isinstance(kind, str) and kind == "auto"):
        raise ParameterError(
            f"data: expected 'auto', one of {', '.join(map(repr, KINDS))}, or an instance; got {kind!r}."
        )
    if is_folder(X):
        return Images()
    axes = 2 if isinstance(X, str | os.PathLike) else _axes(X)
    return {3: Sequences, 4: Images}.get(axes, Vectors)()


def _looked_at(X: Any) -> tuple[Any, bool]:
    """Return X, of a small file its rows, and whether it is a table of more than numbers, or has holes."""
    if not hasattr(X, "batches"):
        return X, is_mixed(X)
    if X.names is None:
        return X, False
    if not X.fits(min(table_streams.IN_MEMORY_BYTES, vectors.IN_MEMORY_BYTES)):
        return X, any(map(is_mixed, X.batches()))
    rows = X.read()
    return rows, is_mixed(rows)


def schema_from_json(value: Mapping[str, Any], kind: Any = None) -> Schema:
    """Return the schema that `to_json` of a kind wrote.

    Args:
        value: What it wrote.
        kind: The `data` parameter of the model, where that is one's own kind.

    Raises:
        FileFormatError: If it is not sound.
    """
    named = value.get("kind")
    if isinstance(kind, Kind) and kind.name == named:
        return kind.schema_from_json(value)
    if not isinstance(named, str) or named not in KINDS:
        raise FileFormatError(f"schema.json: expected a kind of {', '.join(KINDS)}; got {named!r}.")
    return KINDS[named].schema_from_json(value)


def _axes(X: Any) -> int:
    """Return how many axes X has; a list of arrays (time, channels), or (time,) of unlike lengths, has three."""
    if getattr(X, "row_shape", None) is not None:
        return 2 if X.flattened else 1 + len(X.row_shape)
    if not isinstance(X, list | tuple):
        return _axes_of(X, 2)
    axes, first = 1, X[0] if X else 0
    while isinstance(first, list | tuple) and first and axes < _MOST_AXES:  # a list may hold itself
        axes, first = axes + 1, first[0]
    if is_picture(first):
        return 4
    axes += 2 if is_frame(first) else _axes_of(first, 0)
    unlike = axes == 2 and hasattr(X[0], "ndim") and len({getattr(row, "shape", None) for row in X}) > 1
    return 3 if unlike else max(2, axes)


def _axes_of(array: Any, otherwise: int) -> int:
    """Return how many axes an array says that it has, and for what says nothing, such as a class, `otherwise`."""
    axes = getattr(array, "ndim", otherwise)
    return axes if isinstance(axes, int) else otherwise

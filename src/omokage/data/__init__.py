"""The data side: raw input to arrays and back. What `data=` takes an instance of is loaded at its first use."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omokage.data.kinds import Columns, Images, Sequences, Vectors

__all__ = ["Columns", "Images", "Sequences", "Vectors"]

_HOMES = dict.fromkeys(__all__, "omokage.data.kinds")


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'omokage.data' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)

"""What `fit` needs beside the engine: the seed, the record of what a run depends on, and what is called on the way."""

import os
import secrets
from collections.abc import Callable
from typing import Any

import numpy as np

from omokage import saving
from omokage.checkpoints import write_checkpoint
from omokage.data.kinds import AnySchema
from omokage.data.rows import RowSource
from omokage.errors import ParameterError
from omokage.training import Record, Snapshot

AnyPath = str | os.PathLike[str]


def fingerprint(
    kind: str, parameters: dict[str, Any], schema: AnySchema, rows: RowSource, seed: int, epochs: int
) -> dict[str, Any]:
    """Return, as JSON values, all that a run depends on."""
    described = {name: value for name, value in saving.described_parameters(parameters).items() if name != "verbose"}
    learned = schema.columns.to_json()
    columns = {"location": learned["location"], "scale": learned["scale"], "columns": learned["names"]}
    return {
        "kind": kind,
        **described,
        "random_state": seed,
        "epochs": epochs,
        "rows": rows.count,
        "digest": rows.digest,
        **columns,
    }


def seed_of(random_state: Any) -> int:
    """Return a seed for a `random_state`; `None` gives another one each time."""
    if random_state is None:
        return secrets.randbits(31)
    return int(random_state)


def count(name: str, value: Any) -> int:
    """Return a number of things, checked to be a whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ParameterError(f"{name}: expected a whole number of at least 1; got {value!r}.")
    return int(value)


def both(first: Callable[[Record], object], second: Callable[[Record], object] | None) -> Callable[[Record], object]:
    """Return a function that calls the first, and the second if there is one."""

    def call(record: Record) -> None:
        first(record)
        if second is not None:
            second(record)

    return call


def keeper(folder: AnyPath, every: int, epochs: int, settings: dict[str, Any]) -> Callable[[Snapshot], None]:
    """Return a function that writes a checkpoint after every so many epochs, and after the last."""
    every = count("checkpoint_every", every)

    def keep(snapshot: Snapshot) -> None:
        if len(snapshot.history) % every == 0 or len(snapshot.history) == epochs:
            write_checkpoint(folder, snapshot, settings)

    return keep

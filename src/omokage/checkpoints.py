"""Checkpoints: where a run of training is, in a folder, so that it can go on as if it had not stopped."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from omokage import __version__
from omokage.errors import FileFormatError, ParameterError, listing
from omokage.storage import INDEX, read_folder, read_json, write_folder
from omokage.training import Best, Snapshot, State
from omokage.weights import from_bytes, to_bytes

_FORMAT = 1
_WEIGHTS = "state.safetensors"
CHECKPOINT_FILES = (_WEIGHTS,)


def write_checkpoint(folder: str | os.PathLike[str], snapshot: Snapshot, settings: Mapping[str, Any]) -> None:
    """Write where a run is, replacing the older checkpoint in one step.

    Args:
        folder: Where to.
        snapshot: Parameters, optimizer state, step, best weights, history.
        settings: JSON values that a run that goes on must share.
    """
    best = snapshot.best
    index = {
        "format": _FORMAT,
        "kind": "checkpoint",
        "omokage": __version__,
        "settings": dict(settings),
        "history": snapshot.history,
        "best": None if best is None else {"loss": best.loss, "epoch": best.epoch},
    }
    arrays = {"state": snapshot.state, "best": None if best is None else (best.parameters, best.frozen)}
    write_folder(folder, index, {_WEIGHTS: to_bytes(arrays)})


def read_checkpoint(folder: str | os.PathLike[str], start: Snapshot, settings: Mapping[str, Any]) -> Snapshot | None:
    """Return where an interrupted run of the same settings was, or `None` where there is no checkpoint.

    Args:
        folder: Where `write_checkpoint` wrote.
        start: Where the run began; says which arrays there must be.
        settings: As then.

    Raises:
        FileFormatError: If the checkpoint is damaged, or the folder is something else.
        ParameterError: If it is one of other settings or other data.
    """
    path = Path(folder).resolve()
    if not (path / INDEX).exists() and not (path.parent / f".{path.name}.old").exists():
        return None
    if path.exists() and (kind := read_json(path / INDEX).get("kind")) != "checkpoint":
        raise FileFormatError(f"{folder}: holds a {kind}, not a checkpoint. Name another folder.")
    index, files = read_folder(folder, (_WEIGHTS,), version=_FORMAT)
    if missing := {"settings", "best", "history"} - index.keys():
        raise FileFormatError(f"{folder}/{INDEX}: no entries {listing(sorted(missing))}; the file was changed.")
    then = index["settings"]
    if differing := [name for name in {**then, **settings} if then.get(name) != settings.get(name)]:
        changes = "; ".join(
            f"{name} was {then.get(name)!r} and is {settings.get(name)!r}" for name in sorted(differing)
        )
        raise ParameterError(
            f"checkpoint={str(folder)!r}: it is of a run with other settings or data ({changes}). Give the same again "
            "to go on with that run, or resume=False to begin anew."
        )
    state = start.state
    like = {"state": state, "best": None if index["best"] is None else (state.parameters, state.frozen)}
    arrays: Any = jax.tree.map(jnp.asarray, from_bytes(files[_WEIGHTS], like, f"{folder}/{_WEIGHTS}"))
    best = None
    if index["best"] is not None:
        parameters, frozen = arrays["best"]
        best = Best(parameters, frozen, index["best"]["loss"], index["best"]["epoch"])
    return Snapshot(State(*arrays["state"]), best, index["history"])

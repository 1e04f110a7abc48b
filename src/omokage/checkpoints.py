"""Checkpoints: where a run of training is, in a folder, so that it can go on as if it had not stopped."""

import functools
import hashlib
import inspect
import json
import os
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from types import CodeType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from omokage import __version__
from omokage.errors import FileFormatError, ParameterError, listing
from omokage.paths import location
from omokage.storage import INDEX, read_folder, read_json, write_folder
from omokage.training import Best, Snapshot, State
from omokage.weights import check_header, from_bytes, named_arrays, to_bytes

_FORMAT = 2
_SINCE_2 = ("validation", "training")  # settings that checkpoints of format 1 have not got
_LONG = 16  # entries of a list, of which more are kept as a hash
_WEIGHTS = "state.safetensors"
CHECKPOINT_FILES = (_WEIGHTS,)


def write_checkpoint(folder: str | os.PathLike[str], snapshot: Snapshot, settings: Mapping[str, Any]) -> None:
    """Write where a run is, replacing the older checkpoint in one step.

    Args:
        folder: Where to.
        snapshot: Parameters, optimizer state, step, best weights, history.
        settings: JSON values that a run that goes on must share; of long lists a hash is kept.
    """
    best = snapshot.best
    index = {
        "format": _FORMAT,
        "kind": "checkpoint",
        "omokage": __version__,
        "settings": condensed(settings),
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
    if not there(folder):
        return None
    index, files = _read(folder)
    then, now = condensed(index["settings"]), condensed(settings)
    old = _SINCE_2 if index["format"] < _FORMAT else ()
    if differing := [name for name in {**then, **now} if then.get(name) != now.get(name) and name not in old]:
        changes = "; ".join(f"{name} was {then.get(name)!r} and is {now.get(name)!r}" for name in sorted(differing))
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


def there(folder: str | os.PathLike[str]) -> bool:
    """Say whether there is a checkpoint in a folder, or what a killed process left of one beside it."""
    path = location(folder, "checkpoint")
    return (path / INDEX).exists() or (path.parent / f".{path.name}.old").exists()


def seed_in(folder: str | os.PathLike[str]) -> int | None:
    """Return the seed of the run that a folder holds the checkpoint of, or `None` where there is none."""
    seed = _read(folder)[0]["settings"].get("random_state") if there(folder) else None
    return seed if type(seed) is int else None


def _read(folder: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return the index and the arrays of a checkpoint; raises FileFormatError if it is damaged, or something else."""
    path = location(folder, "checkpoint")
    if path.exists() and (kind := read_json(path / INDEX).get("kind")) != "checkpoint":
        raise FileFormatError(f"{folder}: holds a {str(kind)[:40]}, not a checkpoint. Name another folder.")
    index, files = read_folder(folder, (_WEIGHTS,), version=_FORMAT, header=check_header)
    if missing := {"settings", "best", "history"} - index.keys():
        raise FileFormatError(f"{folder}/{INDEX}: no entries {listing(sorted(missing))}; the file was changed.")
    best, history = index["best"], index["history"]
    sound = {
        "settings": isinstance(index["settings"], dict),
        "history": isinstance(history, list)
        and all(
            isinstance(record, dict) and all(type(value) in (int, float) for value in record.values())
            for record in history
        ),
        "best": best is None
        or (
            isinstance(best, dict)
            and type(best.get("loss")) is float
            and np.isfinite(best["loss"])
            and type(best.get("epoch")) is int
            and 1 <= best["epoch"] <= len(history)
        ),
    }
    if bad := [name for name, is_sound in sound.items() if not is_sound]:
        raise FileFormatError(f"{folder}/{INDEX}: {bad[0]}: not what a checkpoint has there; the file was changed.")
    return index, files


def condensed(value: Any) -> Any:
    """Return a JSON value with a hash in the place of each long list, such as the means of all pixels.

    Example:
        >>> condensed({"hidden": [8, 8]}), len(condensed([0.5] * 100)) < 100
        ({'hidden': [8, 8]}, True)
    """
    if isinstance(value, Mapping):
        return {name: condensed(entry) for name, entry in value.items()}
    if not isinstance(value, list | tuple):
        return value
    if len(value) > _LONG:
        digest = hashlib.sha256(json.dumps(value, default=str).encode()).hexdigest()
        return f"{len(value)} values with the hash {digest[:16]}"
    return [condensed(entry) for entry in value]


def told(value: Any) -> Any:
    """Return, as text and lists, all that can be told of an object without running it: functions with what they hold.

    Two objects of which the same is told do the same, as far as anybody can say: code, constants, closures, arguments
    of `functools.partial`, attributes, arrays.

    Example:
        >>> told(lambda x: 2 * x) == told(lambda x: 3 * x)
        False
    """
    return _told(value, set())


def _told(value: Any, above: set[int]) -> Any:
    """See `told`; `above` are the objects that hold this one, by number."""
    if value is None or isinstance(value, str | bool | int | float | complex | bytes):
        return repr(value)
    if id(value) in above or len(above) > 60:
        return _named(value)
    inner = functools.partial(_told, above=above | {id(value)})
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        array = np.asarray(value)
        return f"{array.dtype}{array.shape} {hashlib.sha256(array.tobytes()).hexdigest()}"
    if isinstance(value, functools.partial):
        return ["partial", inner(value.func), inner(value.args), inner(value.keywords)]
    if isinstance(value, Mapping):
        return ["mapping", *sorted(([str(name), inner(entry)] for name, entry in value.items()), key=str)]
    if isinstance(value, list | tuple | set | frozenset):
        entries = [inner(entry) for entry in value]
        return [type(value).__qualname__, *(entries if isinstance(value, list | tuple) else sorted(entries, key=str))]
    if isinstance(value, CodeType):
        return [value.co_name, hashlib.sha256(value.co_code).hexdigest(), inner(value.co_consts), inner(value.co_names)]
    if inspect.isfunction(value):
        known = {name: value.__globals__.get(name) for name in value.__code__.co_names}
        named = {name: own for name, own in known.items() if isinstance(own, _VALUES) or _is_own(own)}
        cells = [_held(cell) for cell in value.__closure__ or ()]
        held = (value.__code__, value.__defaults__, value.__kwdefaults__, cells, named)
        return ["function", value.__module__, value.__qualname__, *map(inner, held)]
    if inspect.ismethod(value):
        return ["method", value.__func__.__qualname__, inner(value.__self__)]
    if hasattr(value, "__wrapped__"):  # a function that `jax.jit` or the like has taken in
        return ["wrapped", inner(value.__wrapped__)]
    if isinstance(value, type) or inspect.isbuiltin(value):
        return _named(value)
    if is_dataclass(value):
        return [_named(type(value)), *(inner(getattr(value, field.name, None)) for field in fields(value))]
    return [_named(value), inner(getattr(value, "__dict__", None))]


_VALUES = (str, bool, int, float, complex, np.ndarray, np.generic, jax.Array, list, tuple, set, frozenset, dict)


def _is_own(value: Any) -> bool:
    """Say whether a global value is a function that a user wrote, and not one of an installed library."""
    return inspect.isfunction(value) and "site-packages" not in value.__code__.co_filename


def _held(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # nothing so far
        return None


def digest_of(start: Snapshot, *objects: Any) -> str:
    """Return a text that differs where objects that train do, by what is told of them and where they begin."""
    found = hashlib.sha256(json.dumps([told(value) for value in objects]).encode())
    for name, array in named_arrays(start.state.optimizer).items():
        found.update(f"{name} {array.dtype}{array.shape}".encode() + array.tobytes())
    return found.hexdigest()[:16]


def _named(value: Any) -> str:
    """Return what an object is called, without its place in memory."""
    if isinstance(value, type) or inspect.isbuiltin(value):
        return f"{value.__module__}.{value.__qualname__}"
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))

"""Saved models: a folder of JSON and safetensors, written in one step, from which nothing that is read can run code.

spec.json            format version, versions of libraries, parameters, parts, SHA-256 of the other files
schema.json          columns, kinds, location, scale; the columns of the context, if there is one
weights.safetensors  the arrays, and those that stand for long lists in the other files
history.json         one record an epoch
README.md            a model card for people
"""

import dataclasses
import importlib.metadata
import json
import os
import platform
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from omokage import __version__, build, likelihoods, memory, nets, objectives, posteriors, priors
from omokage.codec import Codec
from omokage.data.context import ContextSchema
from omokage.data.kinds import KINDS, Schema, schema_from_json
from omokage.density import MOST_BLANK
from omokage.ensemble import Ensemble
from omokage.errors import FileFormatError, OmokageError, ParameterError
from omokage.files.options import Options
from omokage.fitted import Fitted
from omokage.model import kl_form
from omokage.settings import upgraded
from omokage.storage import parse_json, read_folder, write_folder
from omokage.summary import summary
from omokage.weights import arrays_in, check_header, fetched, filled, named_arrays, stowed, to_bytes

FORMAT = 2  # 1 had all that is known of columns as text
_WEIGHTS = "weights.safetensors"
FILES = ("schema.json", _WEIGHTS, "history.json", "README.md")
_READ_FILES = FILES[:-1]  # the card may be edited
_STOWED = ("parameters", "recipe")  # parts of the index whose long lists are kept as arrays
_DAMAGED = (KeyError, TypeError, ValueError, OverflowError, AttributeError, IndexError, MemoryError, RecursionError)
_BOUNDS = "bounds.low.value", "models.bounds.low.value"  # of a model, and of the members of an ensemble
_CODEC = "models.codec.scale.value"  # of members that have units of their own
_CODEC_OF_CONTEXT = "models.codec.context.scale.value"  # and of the context, too
_OF_DETECTOR = "detector."  # before the names of arrays that are of no model
# Parameters that only matter in training: an object there is left out of the file.
_TRAINING_ONLY = {"optimizer": "adam", "schedule": "auto", "initializer": "auto", "random_state": None}
_OWN: dict[str, Any] = {
    f"{module.__name__.rpartition('.')[2]}.{name}": member
    for module in (likelihoods, posteriors, priors, objectives, nets)
    for name, member in vars(module).items()
    if dataclasses.is_dataclass(member) and isinstance(member, type) and "." not in name
} | {f"data.{kind.__name__}": kind for kind in KINDS.values()}


@dataclasses.dataclass(frozen=True)
class Detector:
    """What a detector has beside its models: settings and figures as JSON values, and arrays by name."""

    values: dict[str, Any]
    arrays: dict[str, NDArray[Any]]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Saved(Fitted):
    """What a folder holds: what a fit made, and of a detector what it has beside its models."""

    detector: Detector | None = None


def save(folder: str | os.PathLike[str], content: Saved) -> Path:
    """Write a model to a folder, replacing an older one there in one step.

    Raises:
        ParameterError: If a parameter is an object that cannot be written down, or the model is in a state that could
            not be read back.
        FileFormatError: If the folder holds files that are not omokage's.
    """
    packages = ("jax", "equinox", "numpyro", "optax", "numpy", "scikit-learn")
    recipe = {
        field.name: describe(getattr(content.recipe, field.name), field.name)
        for field in dataclasses.fields(content.recipe)
    }
    index: dict[str, Any] = {
        "format": FORMAT,
        "kind": content.kind,
        "omokage": __version__,
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in packages},
        },
        "parameters": described_parameters(content.parameters),
        "recipe": recipe,
        **({"reading": content.reading} if content.reading else {}),
    }
    schema = content.schema.to_json() | ({} if content.context is None else {"context": content.context.to_json()})
    arrays = named_arrays(content.model)
    if content.detector is not None:
        index["detector"] = content.detector.values
        arrays |= {_OF_DETECTOR + name: array for name, array in content.detector.arrays.items()}
    for name in _STOWED:
        index[name], more = stowed(index[name], name)
        arrays |= more
    schema, more = stowed(schema, "schema")
    arrays |= more
    index, schema, history = (json.loads(_json(value)) for value in (index, schema, content.history))
    try:
        _read(dict(index), schema, history, dict(arrays), _own_classes(content))
    except FileFormatError as error:
        raise ParameterError(
            f"{folder}: not written, since it could not be read back ({error}). Something was changed after the fit."
        ) from None
    contents = (_json(schema), to_bytes(arrays), _json(history), _card(content).encode())
    return write_folder(folder, index, dict(zip(FILES, contents, strict=True)))


def load(folder: str | os.PathLike[str], custom: Mapping[str, type]) -> Saved:
    """Read what `save` wrote.

    Args:
        folder: The folder.
        custom: Classes that are not omokage's own, by the name in the file ("module.Class").

    Raises:
        FileFormatError: If anything is missing, damaged, newer, or not what it should be.
    """
    index, files = read_folder(folder, _READ_FILES, version=FORMAT, header=check_header)
    try:
        arrays = arrays_in(files["weights.safetensors"], "weights.safetensors")
        schema = parse_json(files["schema.json"], "schema.json", dict)
        history = parse_json(files["history.json"], "history.json", list)
        return _read(index, schema, history, arrays, custom)
    except FileFormatError as error:
        raise FileFormatError(f"{os.fspath(folder)}/{error}") from None
    except (MemoryError, RecursionError) as error:
        raise FileFormatError(f"{folder}: does not describe a model ({type(error).__name__}).") from None


def _read(
    index: dict[str, Any], schema: Any, history: Any, arrays: dict[str, NDArray[Any]], custom: Mapping[str, type]
) -> Saved:
    """Return what the values and arrays of a folder say; lists that are kept as arrays are put back.

    Raises:
        FileFormatError: If they say no model; it begins with the name of the file.
    """
    schema = fetched(schema, arrays, "schema")
    for name in _STOWED:
        index[name] = fetched(index.get(name), arrays, name)
    for number, record in enumerate(history):
        if not isinstance(record, dict):
            raise FileFormatError("history.json: expected a record for each epoch.")
        for name, value in record.items():
            if type(value) not in (int, float):
                raise FileFormatError(f"history.json: record {number}: {name}: expected a number; got {_shown(value)}.")
    kind, values = index.get("kind"), index.get("detector")
    if not isinstance(kind, str):
        raise FileFormatError(f"spec.json: kind: expected a text; got {_shown(kind)}.")
    parts: dict[str, dict[str, Any]] = {}
    for part in _STOWED:
        if not isinstance(index.get(part), dict):
            raise FileFormatError(f"spec.json: {part}: expected an object; got {_shown(index.get(part))}.")
        parts[part] = {name: _setting(f"{part}.{name}", value, custom) for name, value in index[part].items()}
    parameters = upgraded(parts["parameters"])
    described, context = restored_schema(schema, parameters.get("data"))
    try:
        recipe = build.Recipe(**parts["recipe"])
        ways = recipe.standardize if isinstance(recipe.standardize, tuple) else (recipe.standardize,)
        if any(way is not False and way not in ("scale", "center", "range") for way in ways):
            raise ValueError(f"recipe.standardize is {recipe.standardize!r}")
        # Each unit has a bias of four bytes at least, so sizes that a crafted file makes up cost nothing.
        sizes, room = (parameters["latent_dim"], *build.widths(parameters, recipe)), _room(arrays)
        members = 1 if values is None else values["members"]
        if not all(type(size) is int and size >= 1 for size in (*sizes, members)) or 4 * members * sum(sizes) > room:
            raise ValueError(f"latent_dim and hidden do not go with weights of {room} bytes")
        blank: Any = build.model(parameters, recipe, described.event, None, context.size if context else 0)
        if not any(name in arrays for name in _BOUNDS):  # as of models from before there were some
            blank = dataclasses.replace(blank, bounds=None)
        numbers = members * build.numbers_in(blank)  # a blank model takes no memory, so that this can be asked
        if 4 * numbers > room:
            raise ValueError(f"its parts have {memory.number(numbers)} numbers, and the weights {room} bytes")
        if values is not None:
            blank = Ensemble(jax.tree.map(lambda leaf: np.broadcast_to(leaf, (members, *np.shape(leaf))), blank))
    except FileFormatError:
        raise
    except (OmokageError, *_DAMAGED) as error:
        raise FileFormatError(f"spec.json: does not describe a model ({type(error).__name__}: {error}).") from None
    own = {name: array for name, array in arrays.items() if not name.startswith(_OF_DETECTOR)}
    rest = {name.removeprefix(_OF_DETECTOR): array for name, array in arrays.items() if name not in own}
    if values is not None and _CODEC in own:
        own_context = context.size if context and _CODEC_OF_CONTEXT in own else None
        blank_codec: Any = Codec.of(described.event, own_context)
        blank_codec = jax.tree.map(lambda leaf: np.zeros((members, *leaf.shape), np.float32), blank_codec)
        blank = dataclasses.replace(blank, models=dataclasses.replace(blank.models, codec=blank_codec))
    model = filled(blank, own, _WEIGHTS)
    _check_values(model, blank)
    detector = None if values is None else Detector(values, rest)
    return Saved(
        kind=kind,
        parameters=parameters,
        recipe=recipe,
        schema=described,
        model=model,
        history=history,
        context=context,
        reading=_reading(index.get("reading", {})),
        detector=detector,
    )


def _reading(value: Any) -> dict[str, Any]:
    """Return what is remembered of how files are read; raises FileFormatError if it is not sound."""
    sound = isinstance(value, dict) and value.keys() <= {"options", "ids"}
    ids = value.get("ids", []) if sound else None
    if not isinstance(ids, list) or not all(isinstance(name, str) for name in ids):
        raise FileFormatError(f"spec.json: reading: not what omokage writes there; got {_shown(value)}.")
    try:
        Options.from_json(value.get("options", {}))
    except FileFormatError as error:
        raise FileFormatError(f"spec.json: reading: {error}") from None
    return value


def restored_schema(value: Any, kind: Any = None) -> tuple[Schema, ContextSchema | None]:
    """Return what a schema, of the kind of data that the model was given, and its context say.

    Raises:
        FileFormatError: If they are not what `to_json` writes: other types or numbers, or entries that nobody knows.
    """
    try:
        schema = schema_from_json(value, kind)
        context = ContextSchema.from_json(value["context"]) if "context" in value else None
        again = schema.to_json() | ({} if context is None else {"context": context.to_json()})
    except _DAMAGED as error:
        raise FileFormatError(f"schema.json: not a schema ({type(error).__name__}: {error}).") from None
    if (place := _difference(value, again)) is not None:
        raise FileFormatError(f"schema.json: {place}: not what omokage writes there. The file was damaged or changed.")
    return schema, context


def _setting(place: str, value: Any, custom: Mapping[str, type]) -> Any:
    """Return the setting that an entry of spec.json describes; raises FileFormatError if it describes none."""
    try:
        setting = restore(value, custom)
        again = describe(setting, place)
    except FileFormatError:
        raise
    except (OmokageError, *_DAMAGED) as error:
        raise FileFormatError(
            f"spec.json: {place}: does not describe a model ({type(error).__name__}: {error})."
        ) from None
    most = 2**32 if place == "parameters.random_state" else 2**31
    if any(type(number) is int and abs(number) >= most for number in _inner(value)):
        raise FileFormatError(f"spec.json: {place}: does not describe a model: it holds a number beyond {most:.0g}.")
    if (within := _difference(value, json.loads(_json(again)))) is not None:
        raise FileFormatError(
            f"spec.json: {place}{within and '.'}{within}: does not describe a model: not what omokage writes there."
        )
    return setting


def _inner(value: Any) -> Iterator[Any]:
    """Yield all that a JSON value holds, but lists and objects."""
    if isinstance(value, dict | list):
        for entry in value.values() if isinstance(value, dict) else value:
            yield from _inner(entry)
    else:
        yield value


def _difference(given: Any, again: Any) -> str | None:
    """Return the place where a JSON value is not what it says it is when written anew; entries may be missing."""
    if isinstance(given, dict) and isinstance(again, dict):
        if unknown := sorted(given.keys() - again.keys()):
            return str(unknown[0])
        pairs = [(str(key), given[key], again[key]) for key in given]
    elif isinstance(given, list) and isinstance(again, list) and len(given) == len(again):
        kinds = list(map(type, given))
        if given == again and kinds == list(map(type, again)) and not {dict, list} & set(kinds):
            return None
        pairs = [(str(number), *both) for number, both in enumerate(zip(given, again, strict=True))]
    else:
        number = type(again) is float and type(given) in (int, float)
        same = (number or type(given) is type(again)) and (given == again or given != given != again != again)
        return None if same else ""
    for key, *both in pairs:
        if (within := _difference(*both)) is not None:
            return f"{key}.{within}" if within else key
    return None


def _check_values(model: Any, blank: Any) -> None:
    """Check what cannot have been learned: variances below 0, and constants of the family other than its own.

    Raises:
        FileFormatError: If there are some.
    """
    for name, array in named_arrays(model).items():
        if name.endswith(".variance.value") and (array < 0).any():
            raise FileFormatError(f"{_WEIGHTS}: {name} holds a variance below 0. The file was damaged or changed.")
    constants = named_arrays(blank)
    for name, array in named_arrays(model).items():
        if (
            ".fixed." in name
            and array.size <= MOST_BLANK
            and not np.allclose(array, constants[name], rtol=1e-5, atol=0)
        ):
            raise FileFormatError(f"{_WEIGHTS}: {name} is not what the settings say. The file was damaged or changed.")


def _room(arrays: Mapping[str, NDArray[Any]]) -> int:
    return sum(array.nbytes for name, array in arrays.items() if not name.startswith(_OF_DETECTOR))


def _own_classes(content: Saved) -> dict[str, type]:
    """Return the classes of settings that are not omokage's, by the name in the file."""
    found: dict[str, type] = {}

    def walk(value: Any) -> None:
        if isinstance(value, list | tuple):
            for entry in value:
                walk(entry)
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            found[class_name(type(value))] = type(value)
            for field in dataclasses.fields(value):
                walk(getattr(value, field.name))

    walk([*content.parameters.values(), *vars(content.recipe).values()])
    return found


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def describe(value: Any, where: str) -> Any:
    """Return a JSON value for a setting: a name, a number, or an object with the name of its class.

    Raises:
        ParameterError: If it is an object that is not a dataclass, such as a function.
    """
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return value.item()
    if isinstance(value, list | tuple):
        return [describe(entry, where) for entry in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        settings = [field.name for field in dataclasses.fields(value) if field.init]
        return {"class": class_name(type(value)), **{name: describe(getattr(value, name), where) for name in settings}}
    raise ParameterError(
        f"{where}={value!r}: such an object cannot be written to a file, since reading it back would have to run code. "
        "Use a name, or an instance of a frozen dataclass."
    )


def described_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return JSON values for an estimator's parameters; objects that matter in training only are left out."""
    described = {}
    for name, value in parameters.items():
        try:
            described[name] = describe(value.tolist() if isinstance(value, np.ndarray) else value, name)
        except ParameterError:
            if name not in _TRAINING_ONLY:
                raise
            described[name] = _TRAINING_ONLY[name]
    return described


def restore(value: Any, custom: Mapping[str, type]) -> Any:
    """Return the setting that `describe` wrote down.

    Raises:
        FileFormatError: If it names a class that is neither omokage's nor in `custom`.
    """
    if isinstance(value, list):
        return tuple(restore(entry, custom) for entry in value)
    if not isinstance(value, dict):
        return value
    name = value.get("class")
    member = {**_OWN, **custom}.get(name) if isinstance(name, str) else None
    if member is None:
        raise FileFormatError(
            f"spec.json names the class {name!r}, which is not omokage's. If you trust and have it, pass it: "
            f"omokage.load(folder, custom={{{name!r}: ...}})."
        )
    return member(**{key: restore(entry, custom) for key, entry in value.items() if key != "class"})


def class_name(member: type) -> str:
    """Return the name by which a file knows a class; raises ParameterError if omokage has another one of that name."""
    for name, own in _OWN.items():
        if own is member:
            return name
    if member.__module__.startswith("omokage.estimators."):
        return member.__name__
    name = f"{member.__module__}.{member.__qualname__}"
    if name in _OWN:
        raise ParameterError(f"{name}: omokage has a class of that name. Call the module of yours something else.")
    return name


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False, default=_plain) + "\n").encode()


def _plain(value: Any) -> Any:
    """Return Python's own number for NumPy's, such as a column's name."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{value!r} cannot be written to a file")


def _card(content: Saved) -> str:
    last = content.history[-1] if content.history else {}
    terms = [f"| {name} | {value:.6g} |" for name, value in last.items() if isinstance(value, int | float)]
    parts = [
        f"| {field.name} | `{getattr(content.recipe, field.name)!r}` |" for field in dataclasses.fields(content.recipe)
    ]
    names = content.schema.names
    columns = f"{content.schema.features}" + (
        f" ({', '.join(map(str, names[:20]))}{', ...' if len(names) > 20 else ''})" if names else ""
    )
    return "\n".join(
        [
            f"# {content.kind} of {content.schema.described}",
            "",
            f"Written by omokage {__version__}. Read it with `omokage.load(folder)`, or see `omokage info folder`.",
            "",
            *([f"Conditioned on {content.context}.", ""] if content.context else []),
            f"Columns: {columns}. Log-densities are in nats; loss and terms are those of standardised data. KL(q‖p) is "
            f"found by: {kl_form(content.one)}.",
            "",
            "| part | |",
            "| --- | --- |",
            *parts,
            "",
            f"| after epoch {last.get('epoch', 0)} | |",
            "| --- | --- |",
            *terms,
            "",
            "```",
            str(summary(content.one)),
            "```",
            "",
        ]
    )

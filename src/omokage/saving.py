"""Saved models: a folder of JSON and safetensors, written in one step, from which nothing that is read can run code.

spec.json            format version, versions of libraries, parameters, parts, SHA-256 of the other files
schema.json          columns, kinds, location, scale; the columns of the context, if there is one
weights.safetensors  the arrays
history.json         one record an epoch
README.md            a model card for people
"""

import dataclasses
import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from omokage import __version__, build, likelihoods, memory, nets, objectives, posteriors, priors
from omokage.data.context import ContextSchema
from omokage.data.kinds import KINDS, AnySchema, name_of, schema_from_json
from omokage.ensemble import Ensemble
from omokage.errors import FileFormatError, OmokageError, ParameterError
from omokage.model import Model, kl_form
from omokage.settings import upgraded
from omokage.storage import parse_json, read_folder, write_folder
from omokage.summary import summary
from omokage.weights import arrays_in, filled, named_arrays, to_bytes

FORMAT = 1
FILES = ("schema.json", "weights.safetensors", "history.json", "README.md")
_READ = FILES[:-1]  # the card may be edited
_OF_DETECTOR = "detector."  # before the names of arrays that are of no model
_ENTRIES = {"vectors": "columns", "images": "pixels of images", "sequences": "channels of sequences"}
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


@dataclasses.dataclass(frozen=True)
class Saved:
    """What a folder holds: a model, or of a detector an ensemble; the parameters are those of each model."""

    kind: str
    parameters: dict[str, Any]
    recipe: build.Recipe
    schema: AnySchema
    model: Model | Ensemble
    history: list[dict[str, Any]]
    context: ContextSchema | None = None
    detector: Detector | None = None

    @property
    def one(self) -> Model:
        """The model, or the first of several."""
        return self.model.member(0) if isinstance(self.model, Ensemble) else self.model


def save(folder: str | os.PathLike[str], content: Saved) -> Path:
    """Write a model to a folder, replacing an older one there in one step.

    Raises:
        ParameterError: If a parameter is an object that cannot be written down.
        FileFormatError: If the folder holds files that are not omokage's.
    """
    packages = ("jax", "equinox", "numpyro", "optax", "numpy", "scikit-learn")
    index = {
        "format": FORMAT,
        "kind": content.kind,
        "omokage": __version__,
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in packages},
        },
        "parameters": described_parameters(content.parameters),
        "recipe": {
            field.name: describe(getattr(content.recipe, field.name), field.name)
            for field in dataclasses.fields(content.recipe)
        },
    }
    context = {} if content.context is None else {"context": content.context.to_json()}
    arrays = named_arrays(content.model)
    if content.detector is not None:
        index["detector"] = content.detector.values
        arrays |= {_OF_DETECTOR + name: array for name, array in content.detector.arrays.items()}
    contents = (
        _json({**content.schema.to_json(), **context}),
        to_bytes(arrays),
        _json(content.history),
        _card(content).encode(),
    )
    return write_folder(folder, index, dict(zip(FILES, contents, strict=True)))


def load(folder: str | os.PathLike[str], custom: Mapping[str, type]) -> Saved:
    """Read what `save` wrote.

    Args:
        folder: The folder.
        custom: Classes that are not omokage's own, by the name in the file ("module.Class").

    Raises:
        FileFormatError: If anything is missing, damaged, newer, or not what it should be.
    """
    index, files = read_folder(folder, _READ, version=FORMAT)
    try:
        described = parse_json(files["schema.json"], "schema.json", dict)
        schema = schema_from_json(described)
        context = ContextSchema.from_json(described["context"]) if "context" in described else None
        history = parse_json(files["history.json"], "history.json", list)
        if not all(isinstance(record, dict) for record in history):
            raise FileFormatError("history.json: expected a record for each epoch.")
        kind = str(index["kind"])
        parameters = {str(name): restore(value, custom) for name, value in index["parameters"].items()}
        parameters = upgraded(parameters)
        recipe = build.Recipe(**{name: restore(value, custom) for name, value in index["recipe"].items()})
        # Each unit has a bias of four bytes at least, so sizes that a crafted file makes up cost nothing.
        sizes, weights = (parameters["latent_dim"], *build.widths(parameters, recipe)), files["weights.safetensors"]
        values = index.get("detector")
        members = 1 if values is None else int(values["members"])
        if min(*sizes, members) < 1 or 4 * members * sum(sizes) > len(weights):
            raise ValueError(f"latent_dim and hidden do not go with weights of {len(weights)} bytes")
        blank: Any = build.model(parameters, recipe, schema.event, None, context.size if context else 0)
        numbers = members * build.numbers_in(blank)  # a blank model takes no memory, so that this can be asked
        if 4 * numbers > len(weights):
            raise ValueError(f"its parts have {memory.number(numbers)} numbers, and the weights {len(weights)} bytes")
        if values is not None:
            blank = Ensemble(jax.tree.map(lambda leaf: np.broadcast_to(leaf, (members, *np.shape(leaf))), blank))
    except FileFormatError as error:
        raise FileFormatError(f"{folder}/{error}") from None
    except (
        OmokageError,
        KeyError,
        TypeError,
        ValueError,
        OverflowError,
        AttributeError,
        MemoryError,
        RecursionError,
    ) as error:
        raise FileFormatError(
            f"{folder}/spec.json: does not describe a model ({type(error).__name__}: {error})."
        ) from None
    source = f"{folder}/weights.safetensors"
    arrays = arrays_in(weights, source)
    own = {name: array for name, array in arrays.items() if not name.startswith(_OF_DETECTOR)}
    rest = {name.removeprefix(_OF_DETECTOR): array for name, array in arrays.items() if name not in own}
    detector = None if values is None else Detector(values, rest)
    return Saved(kind, parameters, recipe, schema, filled(blank, own, source), history, context, detector)


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
        return {"class": _class_name(type(value)), **{name: describe(getattr(value, name), where) for name in settings}}
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


def _class_name(member: type) -> str:
    for name, own in _OWN.items():
        if own is member:
            return name
    return f"{member.__module__}.{member.__qualname__}"


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()


def _card(content: Saved) -> str:
    last = content.history[-1] if content.history else {}
    terms = [f"| {name} | {value:.6g} |" for name, value in last.items() if isinstance(value, int | float)]
    parts = [
        f"| {field.name} | `{getattr(content.recipe, field.name)!r}` |" for field in dataclasses.fields(content.recipe)
    ]
    names = content.schema.names
    columns = f"{content.schema.features}" + (
        f" ({', '.join(names[:20])}{', ...' if len(names) > 20 else ''})" if names else ""
    )
    return "\n".join(
        [
            f"# {content.kind} of {content.schema.features} {_ENTRIES[name_of(content.schema)]}",
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

"""What `fit` needs beside the engine: the seed, the record of what a run depends on, and what is called on the way."""

import contextlib
import dataclasses
import os
import secrets
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import validate_data

from omokage import build, saving
from omokage.batch import Batch
from omokage.checkpoints import write_checkpoint
from omokage.compilation import keep_compiled, make_room
from omokage.data.context import ContextSchema, encoded
from omokage.data.encoded import Encoded
from omokage.data.kinds import AnySchema, AnyTable, name_of, values
from omokage.data.rows import RowSource, checked_weight
from omokage.data.schema import Schema
from omokage.data.sequences import SequenceSchema
from omokage.errors import DataError, ParameterError, is_count, listing
from omokage.memory import filled
from omokage.model import Model
from omokage.training import Record, Snapshot

AnyPath = str | os.PathLike[str]


@contextlib.contextmanager
def on_device(name: str) -> Iterator[None]:
    """Compute on such a device; raises ParameterError if there is none."""
    keep_compiled()
    make_room()
    if name == "auto":
        yield
        return
    try:
        device = jax.devices(name)[0]
    except RuntimeError:
        there = sorted({device.platform for device in jax.devices()})
        raise ParameterError(f"device={name!r}: there is none here; JAX sees {', '.join(there)}.") from None
    with jax.default_device(device):
        yield


def prepared(
    parameters: dict[str, Any], table: AnyTable, seed: int, context: ContextSchema | None, fitted: Any
) -> tuple[build.Recipe, AnySchema, Model]:
    """Return parts, schema and first weights; those of the `fitted` estimator where training goes on.

    Args:
        parameters: Checked ones.
        table: The training rows.
        seed: Of the weights.
        context: What was learned of the context of the rows, if there is one.
        fitted: The estimator whose training goes on, or `None`.
    """
    names = table.names

    def name(j: int) -> Any:
        return names[j] if names else j

    if fitted is not None:
        then = fitted._fitted_parameters
        if changed := [key for key in build.STRUCTURE if key in then and then[key] != parameters[key]]:
            raise ParameterError(
                f"warm_start: {listing(changed)} cannot change when training goes on; set them back, or "
                "warm_start=False."
            )
        if name_of(table) != name_of(fitted.schema_):
            raise DataError(f"X: expected {name_of(fitted.schema_)}, as at the fit before; got {name_of(table)}.")
        recipe = dataclasses.replace(fitted.recipe_, objective=build.objective(parameters))
        build.check_support(recipe, table.moments, name)
        build.check_objective(recipe, "posterior" not in parameters)
        return recipe, fitted.schema_, fitted.model_
    recipe = build.decide(parameters, table, name)
    schema = table.schema(recipe.standardize)
    if parameters["latent_dim"] > schema.features and not isinstance(schema, SequenceSchema):
        warnings.warn(
            f"latent_dim={parameters['latent_dim']} is more than the {schema.features} columns of X: features will "
            "be redundant. A smaller latent_dim is enough.",
            stacklevel=3,
        )
    random, columns = np.random.default_rng([seed, 1]), context.size if context else 0
    size = min(parameters["batch_size"], table.count)
    build.check_size(parameters, recipe, schema.event, columns, blank_rows(schema, size, columns))
    return recipe, schema, build.model(parameters, recipe, schema.event, random, columns)


def blank_rows(schema: AnySchema, size: int, context: int) -> Batch:
    """Return so many rows that take no memory, as networks get them; of sequences the longest."""
    lengths = getattr(schema, "buckets", None)
    shape = (size, *([] if lengths is None else [lengths[-1]]), *schema.event.shape)
    return Batch(
        filled(shape),
        lengths=None if lengths is None else filled((size,), lengths[-1], np.int32),
        context=filled((size, context)) if context else None,
        weight=filled((size,), 1.0),
    )


def conditions(
    context: Any, table: AnyTable, sample_weight: Any, fitted: Any
) -> tuple[ContextSchema | None, NDArray[np.float32] | None]:
    """Return what there is to learn of the context of training rows, and the context, (n, C); `None` without one."""
    if context is None and fitted is None:
        return None, None
    weight = None if sample_weight is None else checked_weight(sample_weight, table.count)
    schema = ContextSchema.learn(context, table.count, weight) if fitted is None else fitted.context_schema_
    return schema, encoded(schema, context, table.count, kept=None if weight is None else weight > 0)


def fingerprint(
    kind: str,
    parameters: dict[str, Any],
    schema: AnySchema,
    rows: RowSource,
    seed: int,
    epochs: int,
    context: ContextSchema | None,
) -> dict[str, Any]:
    """Return, as JSON values, all that a run depends on."""
    described = saving.described_parameters({**build.settled(parameters), "verbose": 0})
    del described["verbose"]
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
        **({} if context is None else {"context": context.to_json()}),
    }


def read_rows(estimator: Any, X: Any, schema: AnySchema, recipe: build.Recipe, name: str = "X") -> Encoded:
    """Return rows, which messages call `name`, for the fitted models of an estimator, of this schema and recipe."""
    X = values(X, shaped=not isinstance(schema, Schema))
    rows = schema.rows(X, name=name, estimator=type(estimator).__name__, support=recipe.support)
    if isinstance(schema, Schema):  # scikit-learn's words on names
        validate_data(estimator, X, reset=False, skip_check_array=True)
    return rows


def seed_of(random_state: Any) -> int:
    """Return a seed for a `random_state`; `None` gives another one each time."""
    if random_state is None:
        return secrets.randbits(31)
    return int(random_state)


def count(name: str, value: Any) -> int:
    """Return a number of things, checked to be a whole number of at least 1."""
    if not is_count(value):
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

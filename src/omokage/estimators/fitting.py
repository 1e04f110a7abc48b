"""From parameters and rows to a `Fitted`, which is what `fit` does; and how rows are read to ask it something."""

import contextlib
import dataclasses
import os
import secrets
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data

from omokage import build, saving
from omokage.checkpoints import CHECKPOINT_FILES, digest_of, read_checkpoint, seed_in, write_checkpoint
from omokage.compilation import check_process, keep_compiled, make_room
from omokage.data.containers import checked_weight, opened
from omokage.data.context import ContextSchema, encoded
from omokage.data.context_values import Told
from omokage.data.encoded import Encoded
from omokage.data.kinds import Rows, Schema, open_data
from omokage.data.rows import MemoryRows, RowSource, together
from omokage.errors import DataError, DataTypeError, ParameterError, is_count, listing, shown
from omokage.files.options import Options
from omokage.fitted import Fitted, short
from omokage.model import Model
from omokage.paths import is_folder
from omokage.progress import display
from omokage.storage import check_target
from omokage.training import Plan, Record, Result, Snapshot, begin, train

AnyPath = str | os.PathLike[str]

_DEVICES = ("auto", "cpu", "gpu", "tpu")
_MOST, _SEEDS = 2**31 - 1, 2**32  # what an int32 holds, and how many seeds there are


@contextlib.contextmanager
def on_device(name: str) -> Iterator[None]:
    """Compute on such a device; raises ParameterError if there is none."""
    check_process()
    keep_compiled()
    make_room()
    if not isinstance(name, str) or name not in _DEVICES:
        raise ParameterError(f"device: expected one of {', '.join(map(repr, _DEVICES))}; got {shown(name)}.")
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


@dataclasses.dataclass(frozen=True)
class Given:
    """What `fit` is given to learn from; see `Estimator.fit`."""

    X: Any
    X_valid: Any = None
    context: Any = None
    context_valid: Any = None
    sample_weight: Any = None


@dataclasses.dataclass(frozen=True)
class Run:
    """How a run is kept and followed; see `Estimator.fit`."""

    checkpoint: AnyPath | None = None
    checkpoint_every: int = 1
    resume: bool = False
    on_epoch: Callable[[Record], object] | None = None

    def __post_init__(self) -> None:
        """Check what can be checked before anything is read."""
        count("checkpoint_every", self.checkpoint_every)
        flag("resume", self.resume)
        if self.checkpoint is not None:
            check_target(self.checkpoint, CHECKPOINT_FILES)
        elif self.resume:
            raise ParameterError("resume=True: expected a checkpoint folder to go on from; give checkpoint=.")


def fit_model(
    kind: str,
    parameters: dict[str, Any],
    given: Given,
    run: Run,
    before: Fitted | None,
    complete: Callable[[Fitted, RowSource, int], Fitted],
) -> tuple[Fitted, Result]:
    """Return what training makes of rows, and how it ended.

    Args:
        kind: The name of the estimator's class.
        parameters: Checked ones.
        given: What to learn from.
        run: How the run is kept and followed.
        before: The fit that goes on, where one does.
        complete: From a fit, the rows that were trained on and the seed to the fit as it is kept.

    Raises:
        KeyboardInterrupt, TrainingError: If training was ended before its first epoch was over.
    """
    seed = seed_of(parameters["random_state"], run.checkpoint if run.resume else None)
    name = short(kind)
    X = opened_data(given.X)
    table = open_data(X, parameters["data"], given.sample_weight, estimator=name)
    if (columns := table.columns()) is not None:
        check_names(name, columns, before)
    context_schema, context = conditions(given.context, table, given.sample_weight, before)
    recipe, schema, start = prepared(parameters, table, seed, context_schema, before)
    early = parameters["early_stopping"] is not False
    held_out = parameters["validation_fraction"] if early and given.X_valid is None else 0.0
    rows, validation = table.rows(schema, held_out, seed, context)
    reading = reading_of(X)
    alike = Options.from_json(reading.get("options", {}))
    given = dataclasses.replace(given, X_valid=opened_data(given.X_valid, alike))
    validation = _validation(name, given, schema, recipe, context_schema) or validation
    plan = build.plan(parameters, rows.count, seed)
    snapshot, keep = begin(start, plan), None
    if run.checkpoint is not None:
        settings = fingerprint(kind, parameters, schema, rows, seed, plan, context_schema, validation, snapshot)
        snapshot = (read_checkpoint(run.checkpoint, snapshot, settings) if run.resume else None) or snapshot
        keep = keeper(run.checkpoint, run.checkpoint_every, plan.epochs, settings)
    if parameters["verbose"] and schema.announcement and before is None:
        print(schema.announcement, flush=True)
    with display(plan.epochs, parameters["verbose"], schema.log_jacobian) as shown:
        result = train(
            snapshot,
            recipe.objective,
            rows,
            plan,
            validation=validation,
            column=schema.entry,
            on_epoch=both(shown.epoch, run.on_epoch),
            on_progress=shown.advance,
            keep=keep,
        )
    check_begun(result)
    if result.interrupted:
        kept = "the weights so far" if validation is None else "the best weights so far"
        warnings.warn(f"Interrupted after {len(result.history)} epochs: {kept} are kept.", stacklevel=3)
    fitted = Fitted(
        kind=kind,
        parameters=parameters,
        recipe=recipe,
        schema=schema,
        model=result.model,
        history=result.history,
        context=context_schema,
        reading=reading,
    )
    return complete(fitted, rows, seed), result


def check_begun(result: Result) -> None:
    """Raise what ended a run before its first epoch was over: nothing came of it, and what was fitted before stays."""
    if not result.history and result.problem is not None:
        raise result.problem
    if not result.history and result.interrupted:
        raise KeyboardInterrupt


def _validation(
    kind: str, given: Given, schema: Schema, recipe: build.Recipe, context_schema: ContextSchema | None
) -> RowSource | None:
    """Return the rows of `X_valid`, if there are some."""
    if given.X_valid is None and given.context_valid is not None:
        raise DataError("context_valid: there is no X_valid that it could be the context of; give both.")
    if given.X_valid is None:
        return None
    rows = schema.rows(given.X_valid, name="X_valid", estimator=kind, support=recipe.support).held
    rows = rows.with_context(encoded(context_schema, given.context_valid, rows.contexts, "context_valid"))
    return together([MemoryRows(batch) for _, batch in rows.groups])


def prepared(
    parameters: dict[str, Any], table: Rows, seed: int, context: ContextSchema | None, before: Fitted | None
) -> tuple[build.Recipe, Schema, Model]:
    """Return parts, schema and first weights; those of the fit `before` where that goes on.

    Args:
        parameters: Checked ones.
        table: The training rows.
        seed: Of the weights.
        context: What was learned of the context of the rows, if there is one.
        before: The fit that goes on, or `None`.
    """
    names = table.names

    def name(j: int) -> Any:
        return names[j] if names else j

    if before is not None:
        then = before.parameters
        if changed := [key for key in build.STRUCTURE if key in then and then[key] != parameters[key]]:
            raise ParameterError(
                f"warm_start: {listing(changed)} cannot change when training goes on; set them back, or "
                "warm_start=False."
            )
        if table.kind.name != before.schema.kind.name:
            raise DataError(f"X: expected {before.schema.kind.name}, as at the fit before; got {table.kind.name}.")
        if "posterior" in parameters and getattr(before.recipe.prior, "after_training", False):
            raise ParameterError(
                f"warm_start: expected a prior to train with; got {before.recipe.prior}, which was fitted afterwards. "
                "Call fit_density(X, 'normal') before training goes on."
            )
        recipe = dataclasses.replace(before.recipe, objective=build.objective(parameters))
        build.check_support(recipe, table.moments, name)
        build.check_objective(recipe, "posterior" not in parameters)
        return recipe, before.schema, build.centred(before.model, recipe, before.schema.event)
    recipe = build.decide(parameters, table, name)
    schema = table.schema(recipe.standardize)
    if parameters["latent_dim"] > schema.event.size and not schema.has_steps:
        warnings.warn(
            f"latent_dim={parameters['latent_dim']} is more than the {schema.features} columns of X: features will "
            "be redundant. A smaller latent_dim is enough.",
            stacklevel=4,
        )
    random, columns = np.random.default_rng([seed, 1]), context.size if context else 0
    size = min(parameters["batch_size"], table.count)
    build.check_size(parameters, recipe, schema.event, columns, build.blank_rows(schema, size, columns))
    return recipe, schema, build.model(parameters, recipe, schema.event, random, columns)


def conditions(
    context: Any, table: Rows, sample_weight: Any, before: Fitted | None
) -> tuple[ContextSchema | None, NDArray[np.float32] | None]:
    """Return what there is to learn of the context of training rows, and the context, (n, C); `None` without one."""
    if context is None and before is None:
        return None, None
    weight = None if sample_weight is None else checked_weight(sample_weight, table.count)
    told = told_of(context, table)
    schema = ContextSchema.learn(told, table.count, weight) if before is None else before.context
    return schema, encoded(schema, told, table.count, kept=None if weight is None else weight > 0)


def told_of(context: Any, table: Rows) -> Told | None:
    """Return the context of training rows, one for each; where rows are windows, from that of each series."""
    if context is None:
        return None
    series = getattr(table, "series", None)  # which rows of a kind of one's own need not have
    told = Told.of(context, table.count if series is None else int(series.max()) + 1)
    return told if series is None else told.part(series)


def fingerprint(
    kind: str,
    parameters: dict[str, Any],
    schema: Schema,
    rows: RowSource,
    seed: int,
    plan: Plan,
    context: ContextSchema | None,
    validation: RowSource | None,
    start: Snapshot,
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
        "epochs": plan.epochs,
        "rows": rows.count,
        "digest": rows.digest,
        "validation": None if validation is None else validation.digest,
        "training": digest_of(start, *(parameters[name] for name in ("optimizer", "schedule", "initializer"))),
        **columns,
        **({"schema": schema.to_json()} if schema.announcement else {}),  # what was decided of the columns
        **({} if context is None else {"context": context.to_json()}),
    }


def reading_of(X: Any) -> dict[str, Any]:
    """Return how a file is read, where X is an open one, in the form of `Fitted.reading`."""
    options = X.found.to_json() if hasattr(X, "found") else {}
    return {"options": options} if options else {}


def opened_data(X: Any, options: Options | None = None, ids: Sequence[str] = ()) -> Any:
    """Return the open file that a path names, as `opened` does, else X, also the path of a folder."""
    return X if is_folder(X) else opened(X, options, ids)


def opened_rows(fitted: Fitted, X: Any) -> Any:
    """Return the rows of a file, read as at the fit, where X is one or the path of one, else X."""
    beside = () if fitted.context is None else fitted.context.names or ()
    return fitted.schema.opened(opened_data(X, fitted.options, (*fitted.ids, *beside)))


def read_rows(fitted: Fitted, X: Any, context: Any = None) -> Encoded:
    """Return rows, with their context, that a fitted model can be asked about; files are read as at the fit."""
    schema = fitted.schema
    X = opened_rows(fitted, X)
    rows = schema.rows(X, estimator=fitted.name, support=fitted.accepts)
    if (columns := schema.columns_of(X)) is not None:
        check_names(fitted.name, columns, fitted)
    return rows.with_context(encoded(fitted.context, context, rows.contexts))


def blank(fit: Fitted, count: int, length: Any, context: Any) -> Encoded | None:
    """Return rows without content for a decoder to fill, of these lengths and context; `None`: it needs none."""
    given = encoded(fit.context, context, count)
    rows = fit.schema.blank(count, length)
    if rows is None and given is not None:
        rows = fit.schema.empty(count)
    return None if rows is None else rows.with_context(given)


def check_names(kind: str, columns: Any, before: Fitted | None) -> None:
    """Check the names of columns by scikit-learn's rules, in its words.

    Args:
        kind: What the words call the estimator.
        columns: Something from which scikit-learn reads names and number of columns.
        before: The fit whose names they have to be; `None`: of a first fit.
    """
    known: Any = type(kind, (BaseEstimator,), {})()
    if before is not None:
        known.n_features_in_ = before.schema.features
        if (names := feature_names(before.schema)) is not None:
            known.feature_names_in_ = names
    try:
        validate_data(known, columns, reset=before is None, skip_check_array=True)
    except TypeError:  # scikit-learn speaks of all that it takes
        kinds = sorted({type(column).__name__ for column in columns.columns})
        raise DataTypeError(
            f"X: expected names of columns that are all text; got names that are {listing(kinds)}. Make them text: "
            "X.columns = X.columns.astype(str)."
        ) from None


def feature_names(schema: Schema) -> NDArray[Any] | None:
    """Return the names of the columns, where all were text when they came, as scikit-learn wants them."""
    if schema.names is None or not schema.columns.textual:
        return None
    return np.array(schema.names, dtype=object)


def seed_of(random_state: Any, checkpoint: AnyPath | None = None) -> int:
    """Return a seed for a `random_state`; `None` gives another one each time, or that of the run of a checkpoint."""
    if random_state is None:
        found = None if checkpoint is None else seed_in(checkpoint)
        return secrets.randbits(31) if found is None else found
    return int(random_state)


def count(name: str, value: Any, least: int = 1) -> int:
    """Return a number of things, checked to be a whole number, at least so large, that int32 holds."""
    if not is_count(value, least):
        raise ParameterError(f"{name}: expected a whole number of at least {least}; got {shown(value)}.")
    if int(value) > _MOST:
        raise ParameterError(f"{name}: expected a whole number of at most {_MOST:,}; got {shown(value)}.")
    return int(value)


def seeded(value: Any) -> int:
    """Return a seed, checked to be one as `random_state` is."""
    if not is_count(value, 0) or int(value) >= _SEEDS:
        raise ParameterError(f"seed: expected a whole number from 0 to {_SEEDS - 1:,}; got {shown(value)}.")
    return int(value)


def flag(name: str, value: Any) -> bool:
    """Return something that is true or false, checked to be so."""
    if not isinstance(value, bool | np.bool_):
        raise ParameterError(f"{name}: expected True or False; got {shown(value)}.")
    return bool(value)


def both(first: Callable[[Record], object], second: Callable[[Record], object] | None) -> Callable[[Record], object]:
    """Return a function that calls the first, and the second if there is one."""

    def call(record: Record) -> None:
        first(record)
        if second is not None:
            second(record)

    return call


def keeper(folder: AnyPath, every: int, epochs: int, settings: dict[str, Any]) -> Callable[[Snapshot], None]:
    """Return a function that writes a checkpoint after every so many epochs, and after the last."""

    def keep(snapshot: Snapshot) -> None:
        if len(snapshot.history) % every == 0 or len(snapshot.history) == epochs:
            write_checkpoint(folder, snapshot, settings)

    return keep

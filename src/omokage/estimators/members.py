"""What `fit` of a detector does: members trained together, a judge over them, and its calibration."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import jax
import numpy as np
from sklearn.base import clone

from omokage import build
from omokage.data.encoded import Encoded
from omokage.data.kinds import AnyTable, name_of
from omokage.data.rows import RowSource, in_memory
from omokage.data.table import Table
from omokage.detection import scores, steps
from omokage.detection.calibration import Calibration
from omokage.detection.checks import findings
from omokage.detection.judge import Judge, calibrate_across, calibrate_apart, start
from omokage.diagnostics.findings import Finding
from omokage.ensemble import Ensemble, Together, each_apart
from omokage.errors import DataError, ParameterError
from omokage.estimators.base import Estimator
from omokage.estimators.fitting import both, on_device, prepared
from omokage.estimators.vae import VAE
from omokage.model import Model, centre
from omokage.posteriors import PointMass
from omokage.progress import display
from omokage.settings import DetectorSettings
from omokage.training import Record, Result, begin, train

_FEW = 10_000  # rows, below which none is spared for calibration alone
_LEAST_HELD_OUT = 4
_HELD_OUT, _MOST_HELD_OUT = 0.2, 20_000  # the share of the rows that calibrates, and how many at most
_SMALL: dict[str, Any] = {"latent_dim": 8, "hidden": (64, 64), "batch_size": 128}
_STEPS = 3000  # at least, of the small one
_AUTO = ("elbo", "mahalanobis", "reconstruction")  # of which the first that a model has joins the distances


@dataclass(frozen=True, eq=False)
class Members:
    """What came of a fit."""

    judge: Judge
    calibration: Calibration
    recipe: build.Recipe
    result: Result
    findings: list[Finding]


def member(model: Any, table: AnyTable) -> Estimator:
    """Return what each member is: a copy of what was given, or a small VAE with the settings that were."""
    if isinstance(model, Estimator):
        copy: Estimator = clone(model)
        return copy
    settings = dict(model or {})
    if name_of(table) == "vectors":
        settings = {**_SMALL, "latent_dim": min(_SMALL["latent_dim"], len(table.moments.mean)), **settings}
        settings.setdefault("epochs", build.epochs_of(table.count, min(settings["batch_size"], table.count), _STEPS))
    return VAE(**settings)


def fit_members(
    parameters: dict[str, Any],
    table: AnyTable,
    settings: DetectorSettings,
    seed: int,
    on_epoch: Callable[[Record], object] | None,
) -> Members:
    """Train the members on rows, and calibrate what they say.

    Args:
        parameters: Of each member, checked.
        table: The rows.
        settings: Of the detector.
        seed: Of everything random.
        on_epoch: Called with the record of each epoch.

    Raises:
        ParameterError, DataError: If parameters and data do not go together.
        TrainingError: If the loss stopped being finite.
    """
    held_out = _held_out(settings, table)
    with on_device(parameters["device"]):
        recipe, schema, first = prepared(parameters, table, seed, None, None)
        build.check_size(parameters, recipe, schema.event, members=settings.ensemble)
        rest = [
            build.model(parameters, recipe, schema.event, np.random.default_rng([seed, 1, number]), 0)
            for number in range(1, settings.ensemble)
        ]
        rows, spared = cast(Any, table).rows(schema, held_out, seed, None)
        names = _names(settings.score, first, rows, isinstance(recipe.posterior, PointMass))
        if spared is None:
            order, dealt = np.random.default_rng([seed, 4]), 0
            for group in in_memory(rows):
                group.fold(settings.ensemble, order, dealt)
                dealt += len(group.index)
        plan = build.plan(parameters, rows.count, seed)
        plan = replace(plan, optimizer=each_apart(plan.optimizer))
        with display(plan.epochs, settings.verbose) as shown:
            result = train(
                begin(Ensemble.of([first, *rest]), plan),
                Together(recipe.objective),
                rows,
                plan,
                column=schema.column,
                on_epoch=both(shown.epoch, on_epoch),
                on_progress=shown.advance,
            )
        if result.problem is not None:
            raise result.problem
        judge = start(result.model, schema, names, rows, seed)
        left_out = Encoded.together([group.batch for group in in_memory(rows if spared is None else spared)])
        found = calibrate_across(judge, left_out) if spared is None else calibrate_apart(judge, left_out, seed)
        answers = findings(found, isinstance(recipe.posterior, PointMass))
        judge = found.judge
        if name_of(table) == "sequences":
            judge = replace(judge, steps=steps.held_out(result.model, left_out, seed))
    return Members(judge, found.calibration, recipe, result, answers)


def _names(score: Any, model: Model, rows: RowSource, point: bool) -> tuple[str, ...]:
    """Return the names of the scores that make the score, which such a model has: checked before it is trained."""
    row = next(rows.epoch(np.random.default_rng(0), 1))._replace(weight=None)
    if score == "auto":
        known = scores.known(model, row)
        return (next(name for name in _AUTO if name in known), *scores.BY_DISTANCE)
    names = (score,) if isinstance(score, str) else tuple(dict.fromkeys(score))
    if not names:
        raise ParameterError("score: expected at least one name.")
    if point and (lacking := [name for name in names if name in scores.NEED_DENSITY]):
        raise ParameterError(
            f"score: {', '.join(map(repr, lacking))} needs a posterior with a density, and a plain autoencoder has "
            "none. Take 'reconstruction', 'mahalanobis' or 'neighbours', or a VAE."
        )
    if set(names) & set(scores.BY_DEVIANCE):
        jax.eval_shape(lambda: model.deviances(centre(model.encode(row)), row))  # whose error says why
    return names


def _held_out(settings: DetectorSettings, table: AnyTable) -> float:
    """Return the share of the rows that calibrates alone; 0 where each member leaves a fold out."""
    calibration: Any = settings.calibration
    rows, streamed = table.count, isinstance(table, Table) and table.streamed
    if calibration == "auto":
        calibration = "split" if rows >= _FEW or streamed or settings.ensemble == 1 else "cross"
    if calibration == "cross" and streamed:
        raise ParameterError("calibration='cross': X is a large file, which is streamed. Take 'split'.")
    if calibration == "cross" and rows < 2 * settings.ensemble:
        raise DataError(
            f"X: expected at least {2 * settings.ensemble} rows, two for each of {settings.ensemble} folds; got {rows}."
        )
    if calibration == "cross":
        return 0.0
    share = min(_HELD_OUT, _MOST_HELD_OUT / rows) if calibration == "split" else float(calibration)
    if round(share * rows) < _LEAST_HELD_OUT:
        raise DataError(
            f"X: expected {_LEAST_HELD_OUT} rows at least to calibrate on; a share of {share:.2g} of {rows} is "
            f"{round(share * rows)}. Give more rows, or calibration=0.5."
        )
    return share

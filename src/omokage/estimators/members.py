"""What `fit` of a detector does: members trained together, a judge over them, and its calibration."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
from sklearn.base import clone

from omokage import build, saving
from omokage.data.context import ContextSchema
from omokage.data.kinds import Rows
from omokage.data.rows import RowSource
from omokage.detection import scores, steps
from omokage.detection.calibration import Calibration
from omokage.detection.checks import findings
from omokage.detection.judge import Judge, calibrate_across, calibrate_apart, start
from omokage.diagnostics.findings import Findings
from omokage.ensemble import Ensemble, Together, each_apart
from omokage.errors import DataError, ParameterError
from omokage.estimators.base import Estimator
from omokage.estimators.fitting import both, check_begun, on_device, prepared, told_of
from omokage.estimators.folds import across, apart, conditioned, divided
from omokage.estimators.vae import VAE
from omokage.fitted import Fitted
from omokage.model import Model, centre
from omokage.posteriors import PointMass
from omokage.progress import display
from omokage.settings import DetectorSettings, VAESettings, check
from omokage.supports import REAL, Support
from omokage.training import Record, begin, train

_FEW = 10_000  # rows, below which none is spared for calibration alone
_LEAST_HELD_OUT = 4
_HELD_OUT, _MOST_HELD_OUT = 0.2, 20_000  # the share of the rows that calibrates, and how many at most
_SMALL: dict[str, Any] = {"latent_dim": 8, "hidden": (64, 64), "batch_size": 128}
_STEPS = 3000  # at least, of the small one
# Which levels do not go together is learned late: more steps, where that takes no more passes than so many. Chosen by
# the bound of rows of adult that were held out: of 5,000 rows 240 passes are better than 77, of 1,000 375 than 1,000.
_STEPS_OF_CLASSES, _MOST_EPOCHS_OF_CLASSES = 10_000, 240
_AUTO = ("elbo", "mahalanobis", "reconstruction")  # of which the first that a model has joins the distances


@dataclass(frozen=True, eq=False, kw_only=True)
class FittedDetector(Fitted):
    """A fitted detector: the models, and how they judge together.

    Attributes:
        settings: Those of the detector at its fit, with its model.
        member: The name of the class of each model.
        judge: From rows to scores.
        calibration: Scores of rows that were held out.
        findings: What to know before relying on it.
        offset: `predict` flags rows whose `score_samples` is below it.
    """

    settings: dict[str, Any]
    member: str
    judge: Judge
    calibration: Calibration
    findings: Findings
    offset: float

    @property
    def accepts(self) -> Support:
        """Every number: values that the likelihood does not know make the strangest rows."""
        return REAL

    def at_rate(self, rate: float) -> "FittedDetector":
        """Return the detector that flags this share of normal rows, or the smallest that its calibration can tell."""
        settings = {**self.settings, "false_alarm_rate": rate}
        return replace(
            self, settings=settings, offset=-self.calibration.threshold(max(rate, self.calibration.least_rate))
        )


def member(model: Any, table: Rows) -> Estimator:
    """Return what each member is: a copy of what was given, or a small VAE with the settings that were."""
    if isinstance(model, Estimator):
        copy: Estimator = clone(model)
        return copy
    settings = dict(model or {})
    if table.kind.form == "vectors":
        settings = {**_SMALL, "latent_dim": min(_SMALL["latent_dim"], len(table.moments.mean)), **settings}
        size = min(settings["batch_size"], table.count)
        epochs = build.epochs_of(table.count, size, _STEPS)
        if any(getattr(table, "classes", None) or ()):
            epochs = max(epochs, min(build.epochs_of(table.count, size, _STEPS_OF_CLASSES), _MOST_EPOCHS_OF_CLASSES))
        settings.setdefault("epochs", epochs)
    return VAE(**settings)


def of_members(model: Any, on_epoch: Callable[[Record], object] | None) -> dict[str, Any]:
    """Return the checked parameters of what each member is, but for what the rows decide.

    Raises:
        ParameterError: Naming every setting that is unknown or has a value that it cannot have.
    """
    if not isinstance(model, Estimator):
        settings = {str(name): value for name, value in (model or {}).items()}
        if unknown := {name: value for name, value in settings.items() if name not in VAESettings.model_fields}:
            check(VAESettings, unknown)
        model = VAE(**settings)
    parameters: dict[str, Any] = model._checked(on_epoch=on_epoch)
    return parameters


def fit_members(
    kind: str,
    given: dict[str, Any],
    model: Estimator,
    table: Rows,
    settings: DetectorSettings,
    seed: int,
    on_epoch: Callable[[Record], object] | None,
    reading: dict[str, Any],
    context: Any = None,
) -> FittedDetector:
    """Train the members on rows, and calibrate what they say.

    Args:
        kind: The name of the detector's class.
        given: The parameters of the detector, as they were given.
        model: What each member is.
        table: The rows.
        settings: Of the detector.
        seed: Of everything random.
        on_epoch: Called with the record of each epoch.
        reading: How files were read.
        context: Of the rows, as `Estimator.fit` takes it.

    Raises:
        ParameterError, DataError: If parameters and data do not go together.
        TrainingError: If the loss stopped being finite.
    """
    parameters = model._checked(on_epoch=on_epoch)
    held_out, count = _held_out(settings, table), settings.ensemble
    table = conditioned(table, told_of(context, table))
    with on_device(parameters["device"]):
        training, spared = divided(table, held_out, seed) if held_out else (table, None)
        known: ContextSchema | None = getattr(table, "context", None)
        columns = known.size if known else 0
        recipe, learned, _ = prepared(parameters, training, seed, known, None)
        build.check_size(parameters, recipe, learned.event, columns, members=count)
        if spared is None:
            shares = across(table, recipe.standardize, count, seed)
        else:
            shares = apart(training, spared, recipe.standardize, count, seed)
        schema, rows = shares.schema, shares.training
        seeds: list[list[int]] = [[seed, 1], *([seed, 1, number] for number in range(1, count))]
        models = [
            replace(build.model(parameters, recipe, event, np.random.default_rng(chance), columns), codec=codec)
            for event, codec, chance in zip(shares.events, shares.codecs, seeds, strict=True)
        ]
        names = _names(settings.score, models[0], rows, isinstance(recipe.posterior, PointMass))
        plan = build.plan(parameters, rows.count, seed)
        plan = replace(plan, optimizer=each_apart(plan.optimizer))
        if settings.verbose and schema.announcement:
            print(schema.announcement, flush=True)
        with display(plan.epochs, settings.verbose, schema.log_jacobian) as shown:
            result = train(
                begin(Ensemble.of(models), plan),
                Together(recipe.objective),
                rows,
                plan,
                column=schema.entry,
                on_epoch=both(shown.epoch, on_epoch),
                on_progress=shown.advance,
            )
        if result.problem is not None:
            raise result.problem
        check_begun(result)
        judge = start(result.model, schema, names, rows, seed)
        left_out = shares.calibrating
        found = calibrate_across(judge, left_out) if spared is None else calibrate_apart(judge, left_out, seed)
        answers = findings(found, isinstance(recipe.posterior, PointMass))
        judge = found.judge
        if schema.has_steps:
            judge = replace(judge, steps=steps.held_out(result.model, left_out, seed))
    if result.interrupted:
        warnings.warn(f"Interrupted after {len(result.history)} epochs: the weights so far are kept.", stacklevel=3)
    fitted = FittedDetector(
        kind=kind,
        parameters=parameters,
        recipe=recipe,
        schema=judge.schema,
        model=judge.ensemble,
        history=result.history,
        context=shares.context,
        reading=reading,
        settings={**given, **dict(settings)},
        member=saving.class_name(type(model)),
        judge=judge,
        calibration=found.calibration,
        findings=answers,
        offset=0.0,
    )
    return fitted.at_rate(settings.false_alarm_rate)


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


def _held_out(settings: DetectorSettings, table: Rows) -> float:
    """Return the share of the rows that calibrates alone; 0 where each member leaves a fold out."""
    calibration: Any = settings.calibration
    rows, streamed = table.count, table.streamed
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

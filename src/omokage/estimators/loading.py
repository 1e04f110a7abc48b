"""Saved folders back to estimators."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from omokage import saving
from omokage.detection.calibration import Calibration
from omokage.detection.judge import Judge
from omokage.detection.scores import MOST_ENTRIES, NAMES
from omokage.diagnostics.findings import Finding, Findings, Verdict
from omokage.errors import FileFormatError, ParameterError, listing
from omokage.estimators.autoencoder import AutoEncoder
from omokage.estimators.base import Estimator
from omokage.estimators.detector import AnomalyDetector
from omokage.estimators.fitting import AnyPath
from omokage.estimators.members import FittedDetector
from omokage.estimators.vae import VAE
from omokage.fitted import Fitted
from omokage.settings import DetectorSettings, VAESettings, check

_FIELDS = DetectorSettings.model_fields

# What spec.json has of a detector, and of which type.
_OF_DETECTOR: dict[str, type] = {
    "settings": dict, "given": bool, "model": str, "scores": list, "offset": float, "findings": list, "members": int,
    "groups": int,
}  # fmt: skip


def load(folder: AnyPath, *, custom: dict[str, type] | None = None) -> Any:
    """Return the fitted estimator that `save` wrote to a folder. Nothing in the folder can run code.

    Parameters
    ----------
    folder : path
        The folder.
    custom : dict, optional
        Your own classes that the model was made with, by the name that its `spec.json` gives ("module.Class"): parts,
        such as a likelihood, and what derives from `VAE`, `AutoEncoder` or `AnomalyDetector`.

    Raises
    ------
    FileFormatError
        If the folder or a file is missing, damaged, or of a newer format.
    ParameterError
        If `folder` is no path, or `custom` no dict of classes.
    """
    if custom is not None and not (
        isinstance(custom, Mapping) and all(isinstance(own, type) for own in custom.values())
    ):
        raise ParameterError(f"custom: expected a dict of classes by name; got {custom!r}.")
    content = saving.load(folder, custom or {})
    if content.detector is not None:
        return _detector(content, content.detector, folder, custom or {})
    estimator: Any = _made(_class(content.kind, Estimator, folder, custom or {}), content, folder)
    estimator.fitted_ = Fitted(**_of_fit(estimator, content))
    return estimator


def _class(name: Any, base: type, folder: AnyPath, custom: Mapping[str, type]) -> Any:
    """Return the class of a model or detector by the name in its file."""
    known = {own.__name__: own for own in (VAE, AutoEncoder, AnomalyDetector) if issubclass(own, base)}
    found = {**known, **custom}.get(name) if isinstance(name, str) else None
    if found is None or not issubclass(found, base):
        remedy = (
            "" if found else f" If it is a class of yours, pass it: omokage.load(folder, custom={{{name!r}: ...}})."
        )
        raise FileFormatError(
            f"{folder}/spec.json: holds a {str(name)[:80]!r}; expected one of {', '.join(known)}, or a class made from "
            f"one.{remedy}"
        )
    return found


def _made(kind: Any, content: saving.Saved, folder: AnyPath) -> Any:
    """Return an estimator with the parameters of a file, checked."""
    names = kind._get_param_names()
    try:  # a class of the user's may fix some, which are then no parameters of its constructor
        estimator: Any = kind(**{name: value for name, value in content.parameters.items() if name in names})
        known = kind._settings.model_fields
        if unknown := [name for name in content.parameters if name not in names and name not in known]:
            raise ParameterError(f"no such parameter: {listing(unknown)}")
        estimator._checked()
    except (TypeError, ValueError, AttributeError) as error:
        raise FileFormatError(f"{folder}/spec.json: its parameters are not those of {kind.__name__}: {error}") from None
    return estimator


def _of_fit(estimator: Any, content: saving.Saved) -> dict[str, Any]:
    """Return what a folder says of a fit, on the device."""
    plain = {field.name: getattr(content, field.name) for field in dataclasses.fields(Fitted)}
    fields = getattr(estimator, "_settings", VAESettings).model_fields
    parameters = {name: field.default for name, field in fields.items()} | content.parameters
    return plain | {"model": jax.tree.map(jnp.asarray, content.model), "parameters": parameters}


def _detector(content: saving.Saved, detector: saving.Detector, folder: AnyPath, custom: Mapping[str, type]) -> Any:
    """Return a fitted detector."""
    values = detector.values
    place = "an object"
    try:
        for place, kind in _OF_DETECTOR.items():
            if type(values[place]) is not kind:
                raise ValueError(f"expected {kind.__name__}, got {values[place]!r}"[:200])
        place = "model"
        model: Any = _made(_class(values["model"], Estimator, folder, custom), content, folder)
        place = "settings"
        settings = {name: tuple(value) if isinstance(value, list) else value for name, value in values[place].items()}
        made = _class(content.kind, AnomalyDetector, folder, custom)
        taken = made._get_param_names()  # a class of the user's may fix some, and have others
        given = {"model": model if values["given"] else None, **settings}
        estimator: Any = made(**{name: value for name, value in given.items() if name in taken})
        check(DetectorSettings, {name: settings[name] for name in settings if name in _FIELDS or name not in taken})
        estimator._checked()
        place = "scores"
        names = tuple(values["scores"])
        if not names or len(set(names)) < len(names) or not set(names) <= set(NAMES):
            raise ValueError(f"expected some of {', '.join(NAMES)}")
        place = "groups"
        if values[place] not in (1, values["members"]):
            raise ValueError(f"expected 1, or {values['members']}, one for each member")
        place = "offset"
        if not np.isfinite(values[place]):
            raise ValueError("expected a finite number")
        place = "findings"
        findings = Findings(_finding(finding) for finding in values[place])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, FileFormatError):
            raise
        raise FileFormatError(
            f"{folder}/spec.json: detector: {place}: does not describe a detector ({type(error).__name__}: {error})."
        ) from None
    latent, plain = content.parameters["latent_dim"], _of_fit(estimator, content)
    judge = _judge(plain["model"], content.schema, names, detector.arrays, values["groups"], latent, folder)
    fitted = FittedDetector(
        **plain,
        settings={name: field.default for name, field in _FIELDS.items()} | settings | {"model": estimator.model},
        member=values["model"],
        judge=judge[0],
        calibration=judge[1],
        findings=findings,
        offset=values["offset"],
    )
    # An older file has the threshold of another rule where there are several groups.
    older = values.get("threshold") != "pooled" and values["groups"] > 1 and fitted.settings["contamination"] == "auto"
    estimator.fitted_ = fitted.at_rate(fitted.settings["false_alarm_rate"]) if older else fitted
    return estimator


def _finding(value: Any) -> Finding:
    """Return what spec.json says of a finding; raises ValueError or the like if it says none."""
    found = Finding(**value)
    texts = (found.name, found.verdict, found.text, *found.figures)
    if not all(isinstance(text, str) for text in texts) or found.verdict not in get_args(Verdict):
        raise ValueError(f"{found.name!r} is none"[:200])
    if not all(type(figure) in (int, float) for figure in found.figures.values()):
        raise ValueError(f"{found.name!r} has figures that are no numbers"[:200])
    return found


def _judge(
    ensemble: Any,
    schema: Any,
    names: tuple[str, ...],
    arrays: Mapping[str, NDArray[Any]],
    count: int,
    latent: int,
    folder: AnyPath,
) -> tuple[Judge, Calibration]:
    """Return the judge and the calibration of so many groups, checked array by array."""

    def bad(name: str, problem: str) -> FileFormatError:
        return FileFormatError(f"{folder}/weights.safetensors: detector.{name}: {problem}. The file was damaged.")

    groups = {f"calibration.{group}": arrays.get(f"calibration.{group}") for group in range(count)}
    try:
        judge = Judge.from_arrays(ensemble, schema, names, arrays)
    except KeyError as error:
        raise bad(str(error.args[0]), "is missing") from None
    except ValueError as error:
        raise bad("usual", str(error)) from None
    known: dict[str, Any] = {**judge.to_arrays(), **groups}
    if unknown := sorted(arrays.keys() - known.keys()):
        raise bad(unknown[0], "is none of this detector's arrays")
    widths = {"latent_neighbours": latent, "neighbours": min(math.prod(schema.event.shape), MOST_ENTRIES)}
    for name, array in known.items():
        if array is None:
            raise bad(name, "is missing")
        if name == "reference" or name.startswith("points."):
            wide = latent if name == "reference" else widths[name.split(".")[1]]
            if array.dtype != np.float32 or array.ndim != 2 or not array.size or array.shape[1] != wide:
                raise bad(name, f"expected points of {wide} numbers, float32; got {array.dtype}{list(array.shape)}")
            if not np.isfinite(array).all():
                raise bad(name, "expected finite numbers")
        elif name.startswith("usual."):
            if array.dtype != np.float64:
                raise bad(name, f"expected float64; got {array.dtype}")
        elif not _ascending(array, least=0 if name == "steps" else 1):
            raise bad(name, "expected finite scores in ascending order, float64")
    return judge, Calibration(tuple(known[name] for name in groups))


def _ascending(scores: NDArray[Any], least: int) -> bool:
    sound = scores.ndim == 1 and len(scores) >= least and scores.dtype == np.float64
    return sound and bool(np.isfinite(scores).all() and (np.diff(scores) >= 0).all())

"""Saved folders back to estimators."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from omokage import saving
from omokage.detection.calibration import Calibration
from omokage.detection.judge import Judge
from omokage.detection.scores import NAMES
from omokage.diagnostics.findings import Finding, Findings
from omokage.errors import FileFormatError, ParameterError
from omokage.estimators.autoencoder import AutoEncoder
from omokage.estimators.base import Estimator
from omokage.estimators.detector import AnomalyDetector
from omokage.estimators.fitting import AnyPath
from omokage.estimators.members import FittedDetector
from omokage.estimators.vae import VAE
from omokage.fitted import Fitted

_KINDS: dict[str, type[Estimator]] = {"VAE": VAE, "AutoEncoder": AutoEncoder}


def load(folder: AnyPath, *, custom: dict[str, type] | None = None) -> Any:
    """Return the fitted estimator that `save` wrote to a folder. Nothing in the folder can run code.

    Parameters
    ----------
    folder : path
        The folder.
    custom : dict, optional
        Your own classes that the model was made with, by the name that its `spec.json` gives ("module.Class").

    Raises
    ------
    FileFormatError
        If the folder or a file is missing, damaged, or of a newer format.
    """
    content = saving.load(folder, custom or {})
    if content.detector is not None:
        return _detector(content, content.detector, folder)
    if content.kind not in _KINDS:
        raise FileFormatError(f"{folder}: holds a {content.kind!r}; expected one of {', '.join(_KINDS)}.")
    kind = _KINDS[content.kind]
    try:
        estimator: Any = kind(**content.parameters)
        estimator._checked()
    except (TypeError, ParameterError) as error:
        raise FileFormatError(f"{folder}/spec.json: its parameters are not those of {content.kind}: {error}") from None
    estimator.fitted_ = _fitted(Fitted, content)
    return estimator


def _fitted(kind: type[Fitted], content: saving.Saved, **more: Any) -> Fitted:
    """Return the fit that a folder holds, on the device."""
    plain = {field.name: getattr(content, field.name) for field in dataclasses.fields(Fitted)}
    return kind(**{**plain, "model": jax.tree.map(jnp.asarray, content.model)}, **more)


def _detector(content: saving.Saved, detector: saving.Detector, folder: AnyPath) -> Any:
    """Return a fitted detector."""
    try:
        settings: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in detector.values["settings"].items()
        }
        model: Any = _KINDS[detector.values["model"]](**content.parameters)
        estimator = AnomalyDetector(model if detector.values["given"] else None, **settings)
        estimator._checked()
        groups = tuple(detector.arrays[f"calibration.{g}"] for g in range(detector.values["groups"]))
        ensemble = jax.tree.map(jnp.asarray, content.model)
        names = tuple(detector.values["scores"])
        fitted: Any = _fitted(
            FittedDetector,
            content,
            member=detector.values["model"],
            judge=Judge.from_arrays(ensemble, content.schema, names, detector.arrays),
            calibration=Calibration(groups),
            findings=Findings(Finding(**finding) for finding in detector.values["findings"]),
            offset=float(detector.values["offset"]),
        )
        sound = (
            set(names) <= set(NAMES)
            and len(names) > 0
            and len(groups) in (1, len(ensemble))
            and np.isfinite(fitted.offset)
            and all(_ascending(scores) for scores in fitted.judge.references(groups))
            and all(points.ndim == 2 and points.size for points in fitted.judge.places())
        )
        if not sound:
            raise ValueError("its scores, thresholds and calibration do not fit together")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FileFormatError(
            f"{folder}/spec.json: does not describe a detector ({type(error).__name__}: {error})."
        ) from None
    estimator.fitted_ = fitted
    return estimator


def _ascending(scores: NDArray[Any]) -> bool:
    return scores.ndim == 1 and len(scores) > 0 and bool((np.diff(scores) >= 0).all() and np.isfinite(scores).all())

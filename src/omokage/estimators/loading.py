"""Saved folders back to estimators."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from omokage import saving
from omokage.detection.calibration import Calibration
from omokage.detection.judge import Judge
from omokage.detection.scores import NAMES
from omokage.diagnostics.findings import Finding
from omokage.errors import FileFormatError, ParameterError
from omokage.estimators.autoencoder import AutoEncoder
from omokage.estimators.base import Estimator
from omokage.estimators.detector import AnomalyDetector
from omokage.estimators.fitting import AnyPath
from omokage.estimators.vae import VAE

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
    estimator.model_ = jax.tree.map(jnp.asarray, content.model)
    estimator.schema_, estimator.context_schema_ = content.schema, content.context
    estimator._n_features_out = estimator.latent_dim
    return _completed(estimator, content)


def _completed(estimator: Any, content: saving.Saved) -> Any:
    """Return an estimator with what every kind of them knows of its fit."""
    estimator.history_, estimator.recipe_ = content.history, content.recipe
    estimator.n_features_in_ = content.schema.features
    if content.schema.names is not None:
        estimator.feature_names_in_ = np.array(content.schema.names, dtype=object)
    estimator._fitted_parameters = content.parameters
    return estimator


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
        estimator.calibration_ = Calibration(groups)
        ensemble = jax.tree.map(jnp.asarray, content.model)
        names = tuple(detector.values["scores"])
        estimator.judge_ = Judge.from_arrays(ensemble, content.schema, names, detector.arrays)
        estimator.offset_ = float(detector.values["offset"])
        if detector.values.get("threshold") != "pooled" and len(groups) > 1 and estimator.contamination == "auto":
            estimator._set_offset(estimator.false_alarm_rate)  # an older file, whose threshold was another
        estimator.findings_ = [Finding(**finding) for finding in detector.values["findings"]]
        sound = (
            set(names) <= set(NAMES)
            and len(names) > 0
            and len(groups) in (1, len(ensemble))
            and np.isfinite(estimator.offset_)
            and all(_ascending(scores) for scores in estimator.judge_.references(groups))
            and all(points.ndim == 2 and points.size for points in estimator.judge_.places())
        )
        if not sound:
            raise ValueError("its scores, thresholds and calibration do not fit together")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FileFormatError(
            f"{folder}/spec.json: does not describe a detector ({type(error).__name__}: {error})."
        ) from None
    estimator._kind = detector.values["model"]
    return _completed(estimator, content)


def _ascending(scores: NDArray[Any]) -> bool:
    return scores.ndim == 1 and len(scores) > 0 and bool((np.diff(scores) >= 0).all() and np.isfinite(scores).all())

"""Saved folders back to estimators."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from omokage import saving
from omokage.errors import FileFormatError, ParameterError
from omokage.estimators.autoencoder import AutoEncoder
from omokage.estimators.base import Estimator
from omokage.estimators.fitting import AnyPath
from omokage.estimators.vae import VAE


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
    kinds: dict[str, type[Estimator]] = {"VAE": VAE, "AutoEncoder": AutoEncoder}
    if content.kind not in kinds:
        raise FileFormatError(f"{folder}: holds a {content.kind!r}; expected one of {', '.join(kinds)}.")
    kind = kinds[content.kind]
    try:
        estimator: Any = kind(**content.parameters)
        estimator._checked()
    except (TypeError, ParameterError) as error:
        raise FileFormatError(f"{folder}/spec.json: its parameters are not those of {content.kind}: {error}") from None
    estimator.model_ = jax.tree.map(jnp.asarray, content.model)
    estimator.history_, estimator.schema_, estimator.recipe_ = content.history, content.schema, content.recipe
    estimator.context_schema_ = content.context
    estimator.n_features_in_ = content.schema.features
    if content.schema.names is not None:
        estimator.feature_names_in_ = np.array(content.schema.names, dtype=object)
    estimator._n_features_out, estimator._fitted_parameters = estimator.latent_dim, content.parameters
    return estimator

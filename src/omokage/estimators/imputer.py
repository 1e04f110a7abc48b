"""The imputer: a model as a step of scikit-learn's pipelines that fills missing cells."""

import os
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin, clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import check_is_fitted, validate_data

from omokage.data.frames import frame_of
from omokage.errors import ParameterError, shown
from omokage.estimators.base import Estimator
from omokage.estimators.vae import VAE

_DEFAULT: dict[str, Any] = {"data": "table", "verbose": 0}


class Imputer(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Fills missing cells of a table, or missing entries of sequences: `transform` is the model's `impute`.

    `fit` trains a copy of the model, as scikit-learn's estimators of estimators do. To use a model that is fitted
    already, freeze it: `Imputer(sklearn.frozen.FrozenEstimator(vae))`.

    Parameters
    ----------
    estimator : VAE, AutoEncoder or frozen estimator, optional
        The model. `None`: a VAE whose settings were chosen for imputation. Where its `data` is "auto", rows of two axes
        are read as a table, so that they may have holes.
    rounding : bool
        Write numbers as those of the fit; see `VAE.impute`.
    samples : int
        K, how many z are weighted.
    rounds : int
        See `VAE.impute`.
    seed : int
        Of the draws of z.

    Attributes
    ----------
    estimator_ : VAE, AutoEncoder or frozen estimator
        The fitted model; `imputer.estimator_.impute(X, draws=5)` is multiple imputation.
    n_features_in_ : int
        The number of columns, D, also of those that are no input and come back as they came.
    feature_names_in_ : array of str
        Their names, where they have some.

    Notes
    -----
    Mattei and Frellsen, "MIWAE: Deep Generative Modelling and Imputation of Incomplete Data Sets", 2019.

    Examples
    --------
    >>> import numpy as np, omokage
    >>> from sklearn.linear_model import LinearRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> X = np.random.default_rng(0).normal(size=(64, 3))
    >>> y = X.sum(1)
    >>> X[::4, 1] = np.nan
    >>> vae = omokage.VAE(2, hidden=(8,), epochs=2, verbose=0)
    >>> make_pipeline(omokage.Imputer(vae), LinearRegression()).fit(X, y).predict(X).shape
    (64,)
    """

    def __init__(
        self, estimator: Any = None, *, rounding: bool = True, samples: int = 64, rounds: int = 20, seed: int = 0
    ):
        self.estimator = estimator
        self.rounding = rounding
        self.samples = samples
        self.rounds = rounds
        self.seed = seed

    estimator_: Any

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train a copy of the model.

        Parameters
        ----------
        X : table or sequences
            NaN or null where an entry is missing.
        y : ignored
            Present by scikit-learn's convention.

        Raises
        ------
        ParameterError, DataError
            If the model is none, or it or the rows cannot be used.
        """
        if not (self.estimator is None or isinstance(self.estimator, Estimator | FrozenEstimator)):
            raise ParameterError(
                f"estimator: expected an estimator of omokage such as VAE(), one that is frozen, or None; got "
                f"{shown(self.estimator)}."
            )
        model = VAE(**_DEFAULT) if self.estimator is None else clone(self.estimator)
        if isinstance(model, Estimator) and getattr(model, "data", None) == "auto" and _is_table(X):
            model.set_params(data="table")
        if _is_table(X):
            _check(self, X, reset=True)
        model.fit(X, None)
        self.estimator_ = model
        return self

    def transform(self, X: Any) -> Any:
        """Return rows like X with their missing entries filled; what is there stays as it is.

        Raises
        ------
        DataError
            If the rows cannot be used.
        """
        check_is_fitted(self)
        if hasattr(self, "n_features_in_") and not isinstance(X, str | os.PathLike):
            _check(self, X, reset=False)
        return self.estimator_.impute(
            X, rounding=self.rounding, samples=self.samples, rounds=self.rounds, seed=self.seed
        )

    def __sklearn_is_fitted__(self) -> bool:
        return "estimator_" in vars(self)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = []
        tags.non_deterministic = getattr(self.estimator, "random_state", 0) is None
        return tags


def _check(imputer: Imputer, X: Any, reset: bool) -> None:
    """Check rows as scikit-learn does: the names of a frame, the numbers of an array, how many columns there are."""
    if frame_of(X) is not None:
        validate_data(imputer, X, skip_check_array=True, reset=reset)
        return
    validate_data(imputer, X, ensure_all_finite="allow-nan", ensure_min_samples=2 if reset else 1, reset=reset)


def _is_table(X: Any) -> bool:
    """Say whether rows have two axes, or are a data frame."""
    if isinstance(X, str | os.PathLike):
        return False
    if frame_of(X) is not None:
        return True
    try:
        return np.ndim(np.asarray(X)) == 2
    except ValueError:  # lists of unlike lengths
        return False

"""What every estimator has: scikit-learn's contract over the engine. Constructors store, `fit` checks."""

import contextlib
import dataclasses
import os
import secrets
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import jax
import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from omokage import build, inference, saving
from omokage.checkpoints import CHECKPOINT_FILES, read_checkpoint, write_checkpoint
from omokage.compilation import keep_compiled
from omokage.data.rows import MemoryRows, RowSource
from omokage.data.schema import Schema
from omokage.data.table import Table, read_rows
from omokage.data.vectors import check_unit_interval, to_matrix
from omokage.errors import DataError, ParameterError, listing
from omokage.progress import display
from omokage.settings import CommonSettings, check
from omokage.storage import check_target
from omokage.summary import Summary, summary
from omokage.training import Record, Snapshot, begin, train

AnyPath = str | os.PathLike[str]


class Estimator(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """What every model of vectors has; a subclass has a constructor, `_settings`, and its own scores."""

    _settings: type[CommonSettings]
    latent_dim: int
    warm_start: bool
    device: str
    random_state: Any

    def _store(self, parameters: dict[str, Any]) -> None:
        """Keep a constructor's `locals()`, as they are."""
        for name in self._settings.model_fields:
            setattr(self, name, parameters[name])

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        X_valid: Any = None,
        sample_weight: Any = None,
        checkpoint: AnyPath | None = None,
        checkpoint_every: int = 1,
        resume: bool = False,
        on_epoch: Callable[[Record], object] | None = None,
    ) -> Self:
        """Learn from rows.

        Parameters
        ----------
        X : array or data frame of shape (n, D), or path
            Numbers; a path names a CSV, Parquet, .npy, .npz or IDX file, and one larger than 256 MB is streamed.
        y : ignored
            Present by scikit-learn's convention.
        X_valid : like X, optional
            Rows on which the objective is reported after each epoch, and by which early stopping decides.
        sample_weight : array of shape (n,), optional
            How much each row counts: weight 2 is the same as the row twice (early stopping then holds out other rows).
        checkpoint : path, optional
            A folder in which the state of the run is kept after every `checkpoint_every` epochs.
        resume : bool
            Go on with the interrupted run that `checkpoint` holds, if it does: bit-equal to one that was never
            interrupted. Settings and data must be the same.
        on_epoch : callable, optional
            Called after each epoch with its record, as in `history_`.

        Returns
        -------
        self

        Raises
        ------
        ParameterError, DataError, FileFormatError
            If a parameter, the data or a file cannot be used; the text says where and what to do.
        TrainingError
            If the loss stopped being finite; the last good weights are kept in `model_`.
        """
        parameters = self._checked()
        if checkpoint is not None:
            check_target(checkpoint, CHECKPOINT_FILES)
        elif resume:
            raise ParameterError("resume=True: expected a checkpoint folder to go on from; give checkpoint=.")
        seed = _seed(parameters["random_state"])
        table = Table(X, sample_weight, estimator=type(self).__name__)
        self._note_columns(table.columns())
        with self._device():
            recipe, schema, start = self._prepared(parameters, table, seed)
            early = parameters["early_stopping"] is not False
            held_out = parameters["validation_fraction"] if early and X_valid is None else 0.0
            rows, validation = table.rows(schema, held_out, seed)
            if X_valid is not None:
                validation = MemoryRows(schema.encode(self._matrix(X_valid, recipe)))
            plan = build.plan(parameters, rows.count, seed)
            snapshot, keep = begin(start, plan), None
            if checkpoint is not None:
                settings = self._fingerprint(parameters, schema, rows, seed, plan.epochs)
                snapshot = (read_checkpoint(checkpoint, snapshot, settings) if resume else None) or snapshot
                keep = _keeper(checkpoint, checkpoint_every, plan.epochs, settings)
            with display(plan.epochs, parameters["verbose"]) as shown:
                result = train(
                    snapshot,
                    recipe.objective,
                    rows,
                    plan,
                    validation=validation,
                    column=schema.column,
                    on_epoch=_both(shown.epoch, on_epoch),
                    on_progress=shown.advance,
                    keep=keep,
                )
        self.model_, self.history_, self.schema_, self.recipe_ = result.model, result.history, schema, recipe
        self._n_features_out, self._fitted_parameters = parameters["latent_dim"], parameters
        if result.problem is not None:
            raise result.problem
        if result.interrupted:
            kept = "the best weights so far" if validation is not None and result.history else "the weights so far"
            warnings.warn(f"Interrupted after {len(result.history)} epochs: {kept} are kept.", stacklevel=2)
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Return the features of rows: the posterior means, (n, latent_dim).

        Example
        -------
        >>> import numpy as np, omokage
        >>> X = np.random.default_rng(0).normal(size=(64, 3))
        >>> omokage.AutoEncoder(latent_dim=2, hidden=(), epochs=1, verbose=0).fit(X).transform(X).shape
        (64, 2)
        """
        x = self._encoded(X)
        with self._device():
            return inference.encode(self.model_, x)

    def inverse_transform(self, Z: Any) -> NDArray[np.float64]:
        """Return the decoder means of features, (n, D), in raw units, for Z of shape (n, latent_dim)."""
        check_is_fitted(self)
        Z, _ = to_matrix(Z, estimator=type(self).__name__)
        if Z.shape[1] != self._n_features_out:
            raise DataError(f"Z: expected {self._n_features_out} columns, one a latent dimension; got {Z.shape[1]}.")
        with self._device():
            return self.schema_.decode(inference.decode(self.model_, Z.astype(np.float32)))

    def reconstruct(self, X: Any, *, sample: bool = False, seed: int = 0) -> NDArray[np.float64]:
        """Return what the model makes of rows, (n, D), in raw units.

        Parameters
        ----------
        X : array or data frame of shape (n, D)
            Rows.
        sample : bool
            Go through a z drawn from the posterior, in place of its mean.
        seed : int
            Of that draw, which depends on the seed and the row's content alone.
        """
        with self._device():
            x = self._encoded(X)
            return self.schema_.decode(inference.reconstruct(self.model_, x, seed if sample else None))

    def score(self, X: Any, y: Any = None) -> float:
        """Return the mean of `score_samples`."""
        return float(np.mean(self.score_samples(X)))

    def score_samples(self, X: Any) -> NDArray[np.float64]:
        """Return a number for each row, (n,); higher is more normal."""
        raise NotImplementedError

    def summary(self) -> Summary:
        """Return the layers of the fitted model, with output shapes and numbers of parameters; it prints as a table."""
        check_is_fitted(self)
        return summary(self.model_)

    def save(self, folder: AnyPath) -> Path:
        """Write the fitted model to a folder; one that holds an older model is replaced in one step.

        Raises
        ------
        FileFormatError
            If the folder holds files that omokage did not write.
        ParameterError
            If a parameter is an object that cannot be written down, such as a function.
        """
        check_is_fitted(self)
        content = saving.Saved(
            type(self).__name__,
            self._fitted_parameters,
            self.recipe_,
            self.schema_,
            self.model_,
            self.history_,
        )
        return saving.save(folder, content)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []  # features are float32
        tags.non_deterministic = self.random_state is None
        return tags

    def _checked(self) -> dict[str, Any]:
        """Return the parameters, with what was given as NumPy numbers or lists made plain."""
        given = self.get_params(deep=False)
        settings = check(self._settings, given)
        return {name: getattr(settings, name) if name in settings.model_fields_set else given[name] for name in given}

    @contextlib.contextmanager
    def _device(self) -> Iterator[None]:
        keep_compiled()
        if self.device == "auto":
            yield
            return
        try:
            device = jax.devices(self.device)[0]
        except RuntimeError:
            there = sorted({device.platform for device in jax.devices()})
            raise ParameterError(f"device={self.device!r}: there is none here; JAX sees {', '.join(there)}.") from None
        with jax.default_device(device):
            yield

    def _note_columns(self, columns: Any) -> None:
        validate_data(self, columns, reset=not (self.warm_start and hasattr(self, "model_")), skip_check_array=True)

    def _prepared(self, parameters: dict[str, Any], table: Table, seed: int) -> tuple[build.Recipe, Schema, Any]:
        """Return parts, schema and first weights; those of the fitted model where training goes on."""
        names = table.names

        def name(j: int) -> Any:
            return names[j] if names else j

        if self.warm_start and hasattr(self, "model_"):
            then = self._fitted_parameters
            if changed := [key for key in build.STRUCTURE if key in then and then[key] != parameters[key]]:
                raise ParameterError(
                    f"warm_start: {listing(changed)} cannot change when training goes on; set them back, or "
                    "warm_start=False."
                )
            recipe = dataclasses.replace(self.recipe_, objective=build.objective(parameters))
            build.check_support(recipe, table.moments, name)
            return recipe, self.schema_, self.model_
        recipe = build.decide(parameters, table.moments, name)
        schema = Schema.learn(table.moments, names, recipe.standardize)
        if parameters["latent_dim"] > schema.features:
            warnings.warn(
                f"latent_dim={parameters['latent_dim']} is more than the {schema.features} columns of X: features will "
                "be redundant. A smaller latent_dim is enough.",
                stacklevel=3,
            )
        return recipe, schema, build.model(parameters, recipe, schema.event, np.random.default_rng([seed, 1]))

    def _fingerprint(
        self, parameters: dict[str, Any], schema: Schema, rows: RowSource, seed: int, epochs: int
    ) -> dict[str, Any]:
        """Return, as JSON values, all that a run depends on."""
        described = {
            name: value for name, value in saving.described_parameters(parameters).items() if name != "verbose"
        }
        learned = schema.to_json()
        columns = {"location": learned["location"], "scale": learned["scale"], "columns": learned["names"]}
        return {
            "kind": type(self).__name__,
            **described,
            "random_state": seed,
            "epochs": epochs,
            "rows": rows.count,
            "digest": rows.digest,
            **columns,
        }

    def _matrix(self, X: Any, recipe: build.Recipe | None = None) -> NDArray[Any]:
        """Return rows that the fitted model, or one of this recipe, can be asked about."""
        if recipe is None:
            check_is_fitted(self)
        X = read_rows(X)
        matrix, names = to_matrix(X, estimator=type(self).__name__)
        validate_data(self, X, reset=False, skip_check_array=True)
        if (recipe or self.recipe_).bounded:
            check_unit_interval(matrix, names)
        return matrix

    def _encoded(self, X: Any) -> NDArray[np.float32]:
        matrix = self._matrix(X)
        return self.schema_.encode(matrix)


def _seed(random_state: Any) -> int:
    """Return a seed for a `random_state`; `None` gives another one each time."""
    if random_state is None:
        return secrets.randbits(31)
    return int(random_state)


def count(name: str, value: Any) -> int:
    """Return a number of things, checked to be a whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ParameterError(f"{name}: expected a whole number of at least 1; got {value!r}.")
    return int(value)


def _both(first: Callable[[Record], object], second: Callable[[Record], object] | None) -> Callable[[Record], object]:
    def call(record: Record) -> None:
        first(record)
        if second is not None:
            second(record)

    return call


def _keeper(folder: AnyPath, every: int, epochs: int, settings: dict[str, Any]) -> Callable[[Snapshot], None]:
    every = count("checkpoint_every", every)

    def keep(snapshot: Snapshot) -> None:
        if len(snapshot.history) % every == 0 or len(snapshot.history) == epochs:
            write_checkpoint(folder, snapshot, settings)

    return keep

"""What every estimator has: scikit-learn's contract over the engine. Constructors store, `fit` checks."""

import contextlib
import dataclasses
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from omokage import build, inference, saving, trial
from omokage.batch import Batch
from omokage.checkpoints import CHECKPOINT_FILES, read_checkpoint
from omokage.data.context import ContextSchema, encoded
from omokage.data.encoded import Encoded
from omokage.data.kinds import AnySchema, entry_names, open_data, values
from omokage.data.rows import MemoryRows, RowSource, together
from omokage.data.sequences import SequenceSchema
from omokage.data.table import Table
from omokage.data.vectors import to_matrix
from omokage.diagnostics import Diagnosis, diagnose
from omokage.diagnostics.latent import is_standard, latent_of
from omokage.errors import DataError, ParameterError
from omokage.estimators.fitting import (
    AnyPath,
    both,
    conditions,
    count,
    fingerprint,
    keeper,
    on_device,
    prepared,
    read_rows,
    seed_of,
)
from omokage.latent_density import fitted
from omokage.likelihoods import Gaussian
from omokage.names import objects
from omokage.posteriors import PointMass
from omokage.progress import display
from omokage.settings import CommonSettings, check
from omokage.storage import check_target
from omokage.summary import Summary, summary
from omokage.training import Record, begin, train


class Estimator(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """What every model of vectors has; a subclass has a constructor, `_settings`, and its own scores."""

    _settings: type[CommonSettings]
    context_schema_: ContextSchema | None = None
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
        context: Any = None,
        context_valid: Any = None,
        sample_weight: Any = None,
        checkpoint: AnyPath | None = None,
        checkpoint_every: int = 1,
        resume: bool = False,
        on_epoch: Callable[[Record], object] | None = None,
    ) -> Self:
        """Learn from rows.

        Parameters
        ----------
        X : array, data frame, list of arrays, or path
            Vectors (n, D), images (n, height, width[, channels]) or sequences (n, time, channels); see `data`. A path
            names a folder of pictures, or a CSV, Parquet, .npy, .npz or IDX file, and one of vectors larger than 256 MB
            is streamed.
        y : ignored
            Present by scikit-learn's convention.
        X_valid : like X, optional
            Rows on which the objective is reported after each epoch, and by which early stopping decides.
        context : array of shape (n,) or (n, k), or data frame of n rows, optional
            What encoder and decoder are told of each row; all that is asked of the model then takes a context too,
            where one value or row stands for all. Strings, whole numbers and booleans, (n,), are labels; floats, and
            numbers (n, k), are quantities, which are standardised; columns of a data frame go by their types.
        context_valid : like context, optional
            That of the rows of `X_valid`.
        sample_weight : array of shape (n,), optional
            How much each row (image, series) counts: weight 2 is the same as the row twice (early stopping
            then holds out other rows).
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
        parameters = self._checked(on_epoch=on_epoch)
        if checkpoint is not None:
            check_target(checkpoint, CHECKPOINT_FILES)
        elif resume:
            raise ParameterError("resume=True: expected a checkpoint folder to go on from; give checkpoint=.")
        seed = seed_of(parameters["random_state"])
        table = open_data(X, parameters["data"], sample_weight, estimator=type(self).__name__)
        fitted = self if self.warm_start and hasattr(self, "model_") else None
        if isinstance(table, Table):
            validate_data(self, table.columns(), reset=fitted is None, skip_check_array=True)
        with self._device():
            context_schema, given = conditions(context, table, sample_weight, fitted)
            recipe, schema, start = prepared(parameters, table, seed, context_schema, fitted)
            early = parameters["early_stopping"] is not False
            held_out = parameters["validation_fraction"] if early and X_valid is None else 0.0
            rows, validation = cast(Any, table).rows(schema, held_out, seed, given)
            if X_valid is None and context_valid is not None:
                raise DataError("context_valid: there is no X_valid that it could be the context of; give both.")
            if X_valid is not None:
                validation = self._validation(X_valid, context_valid, schema, recipe, context_schema)
            plan = build.plan(parameters, rows.count, seed)
            snapshot, keep = begin(start, plan), None
            if checkpoint is not None:
                kind = type(self).__name__
                settings = fingerprint(kind, parameters, schema, rows, seed, plan.epochs, context_schema)
                snapshot = (read_checkpoint(checkpoint, snapshot, settings) if resume else None) or snapshot
                keep = keeper(checkpoint, checkpoint_every, plan.epochs, settings)
            with display(plan.epochs, parameters["verbose"]) as shown:
                result = train(
                    snapshot,
                    recipe.objective,
                    rows,
                    plan,
                    validation=validation,
                    column=schema.column,
                    on_epoch=both(shown.epoch, on_epoch),
                    on_progress=shown.advance,
                    keep=keep,
                )
        self.model_, self.history_, self.schema_, self.recipe_ = result.model, result.history, schema, recipe
        self.context_schema_ = context_schema
        self.n_features_in_ = schema.features
        self._n_features_out, self._fitted_parameters = parameters["latent_dim"], parameters
        with self._device():
            self._after(rows, seed)
        if result.problem is not None:
            raise result.problem
        if result.interrupted:
            kept = "the best weights so far" if validation is not None and result.history else "the weights so far"
            warnings.warn(f"Interrupted after {len(result.history)} epochs: {kept} are kept.", stacklevel=2)
        return self

    def fit_transform(self, X: Any, y: Any = None, *, context: Any = None, **settings: Any) -> NDArray[np.float32]:
        """Return `fit(X, context=context, ...).transform(X, context=context)`."""
        return self.fit(X, y, context=context, **settings).transform(X, context=context)

    def transform(self, X: Any, *, context: Any = None) -> NDArray[np.float32]:
        """Return the features of rows: the posterior means, (n, latent_dim).

        Example
        -------
        >>> import numpy as np, omokage
        >>> X = np.random.default_rng(0).normal(size=(64, 3))
        >>> omokage.AutoEncoder(latent_dim=2, hidden=(), epochs=1, verbose=0).fit(X).transform(X).shape
        (64, 2)
        """
        rows = self._encoded(X, context)
        with self._device():
            features: NDArray[np.float32] = rows.each(lambda batch: inference.encode(self.model_, batch))
        return features

    def inverse_transform(self, Z: Any, *, context: Any = None, length: Any = None) -> Any:
        """Return the decoder means of features, in the units and the shape of X, for Z of shape (n, latent_dim).

        Parameters
        ----------
        Z : array of shape (n, latent_dim)
            Features.
        context : value, row, or like that of `fit`
            What the rows are conditioned on, where the model is.
        length : int or array of shape (n,), optional
            Where X is sequences, how many steps each shall have; by default the longest of the fit.
        """
        check_is_fitted(self)
        Z, _ = to_matrix(Z, estimator=type(self).__name__, name="Z")
        if Z.shape[1] != self._n_features_out:
            raise DataError(f"Z: expected {self._n_features_out} columns, one a latent dimension; got {Z.shape[1]}.")
        z = Z.astype(np.float32)
        rows = self._blank(len(z), length, context)
        with self._device():
            if rows is None:
                return self.schema_.decode(inference.decode(self.model_, z))
            return self.schema_.decode(
                rows.each_padded(lambda batch, index: inference.decode(self.model_, z[index], batch))
            )

    def reconstruct(self, X: Any, *, context: Any = None, sample: bool = False, seed: int = 0) -> Any:
        """Return what the model makes of rows, in the units and the shape of X.

        Sequences are an array (n, T, C) where they are of one length, else a list of arrays.

        Parameters
        ----------
        X : rows
            As for `fit`.
        context : value, row, or like that of `fit`
            What the rows are conditioned on, where the model is.
        sample : bool
            Go through a z drawn from the posterior, in place of its mean.
        seed : int
            Of that draw, which depends on the seed and the row's content alone.
        """
        with self._device():
            rows, drawn = self._encoded(X, context), seed if sample else None
            return self.schema_.decode(
                rows.each_padded(lambda batch, _: inference.reconstruct(self.model_, batch, drawn))
            )

    def sample(self, n: int = 1, *, context: Any = None, mean: bool = False, seed: int = 0, length: Any = None) -> Any:
        """Return draws from p(x), or from p(x|context), in the units and the shape of X.

        Parameters
        ----------
        n : int
            How many.
        context : value, row, or like that of `fit`
            What the draws are conditioned on, where the model is: one for all, or one for each.
        mean : bool
            Return the decoder means of drawn z, without the noise of p(x|z).
        seed : int
            Of the draws; the first of 10 are the same as the first of 1,000.
        length : int or array of shape (n,), optional
            Where X is sequences, how many steps each draw shall have; by default drawn from the lengths of the fit.
        """
        check_is_fitted(self)
        n = count("n", n)
        if length is None and isinstance(self.schema_, SequenceSchema):
            length = self.schema_.draw_lengths(n, seed)
        rows = self._blank(n, length, context)
        with self._device():
            if rows is None:
                return self.schema_.decode(inference.sample(self.model_, n, seed, mean))
            return self.schema_.decode(
                rows.each_padded(lambda batch, i: inference.sample(self.model_, len(i), seed, mean, batch, i))
            )

    def fit_density(self, X: Any, density: Any = "mixture", *, context: Any = None, seed: int = 0) -> Self:
        """Fit a density to the codes of rows and make it the prior, from which `sample` draws; return self.

        The codes are the features of an autoencoder, and draws from the posterior of a VAE. A plain autoencoder has a
        normal fitted to the codes of its training rows from the start.

        Parameters
        ----------
        X : rows
            As for `fit`.
        context : value, row, or like that of `fit`
            What the rows are conditioned on, where the model is.
        density : str or prior
            "full_normal", "mixture", "flow", "vamp", or an instance such as `omokage.priors.Mixture(20)`.
        seed : int
            Of draws, and of the first means of a mixture.

        Notes
        -----
        Ghosh et al., "From Variational to Deterministic Autoencoders", 2020, section 4.
        """
        rows = self._encoded(X, context)
        with self._device():
            codes = rows.each(lambda batch: inference.codes(self.model_, batch, seed))
            self._fit_prior(density, codes, seed)
        return self

    def diagnose(self, X: Any, *, context: Any = None, seed: int = 0) -> Diagnosis:
        """Say what is good and what is not about the model, in words and numbers; the result prints as a report.

        Collapse onto the mean and its cause, latent dimensions that carry nothing, whether the aggregate of the
        posteriors is the prior and what the difference costs, holes in the prior, what the weights of the loss mean,
        and signs of divergence.

        Parameters
        ----------
        X : rows
            As for `fit`; best such as were not trained on, 20 at least. Of many, some thousands are looked at.
        context : value, row, or like that of `fit`
            What the rows are conditioned on, where the model is.
        seed : int
            Of draws, and of which rows are looked at.
        """
        batch, model, likelihood = self._encoded(X, context).whole, self.model_, self.recipe_.likelihood
        point = isinstance(self.recipe_.posterior, PointMass)
        with self._device():
            means = inference.encode(model, batch)
            deviations = None if point else inference.deviations(model, batch)
            made = inference.reconstruct(model, batch)
            scales = inference.scales(model, batch) if isinstance(likelihood, Gaussian) else None
            latent = None if point or is_standard(model) else latent_of(model, batch, seed)
        learned = {**model.likelihood.learned, **model.likelihood.heads}.keys()
        return diagnose(
            batch.x,
            made,
            means,
            deviations,
            mask=batch.observed,
            objective=self.recipe_.objective,
            history=self.history_,
            scales=scales,
            floor=getattr(likelihood, "floor", None) if "log_scale" in learned else None,
            columns=entry_names(self.schema_, batch.x.shape[1:]),
            latent=latent,
            seed=seed,
        )

    def entry_scores(self, X: Any, *, context: Any = None, samples: int = 16, seed: int = 0) -> Any:
        """Return how well each entry is explained, E_q log p(x|z) in nats of raw data, in the shape of X.

        Low values are strange. Sequences are a list of arrays where they are of unlike lengths; NaN where an entry is
        missing.

        Parameters
        ----------
        X : rows
            As for `fit`.
        context : value, row, or like that of `fit`
            What the rows are conditioned on, where the model is.
        samples : int
            K, how many z are drawn for each row.
        seed : int
            Of the draws.
        """
        rows, samples = self._encoded(X, context), count("samples", samples)
        shift = np.log(self.schema_.event.unit)

        def entries(batch: Batch, _: Any) -> NDArray[np.float64]:
            densities = inference.entries(self.model_, batch, samples, seed).astype(np.float64) - shift
            return densities if batch.observed is None else np.where(batch.observed, densities, np.nan)

        with self._device():
            return self.schema_.by_entry(rows.each_padded(entries))

    def step_scores(self, X: Any, *, context: Any = None, samples: int = 16, seed: int = 0) -> Any:
        """Return how well each step of sequences is explained, in nats of raw data, (n, T) or a list of (T,).

        The sum of `entry_scores` over the channels of a step, as far as they were observed. Of series that are cut into
        windows the mean over the windows that cover a step: (T,) for each series, and for a single one.
        """
        check_is_fitted(self)
        if not isinstance(self.schema_, SequenceSchema):
            raise DataError("X: only sequences have steps; see `entry_scores`.")
        X = values(X, shaped=True)
        entries = self.entry_scores(X, context=context, samples=samples, seed=seed)
        channels = -2 if self.schema_.reading.layout == "NCT" else -1
        if (windows := self.schema_.reading.windows(self.schema_.series(X))) is not None:
            steps = windows.put_back([np.nansum(row, axis=channels) for row in entries])
            return steps[0] if self.schema_.reading.is_one(X) else steps
        if isinstance(entries, list):
            return [np.nansum(series, axis=channels) for series in entries]
        return np.nansum(entries, axis=channels)

    def impute(self, X: Any, *, context: Any = None, samples: int = 32, rounds: int = 20, seed: int = 0) -> Any:
        """Return sequences with their missing entries filled by their mean given the others, in raw units.

        Parameters
        ----------
        X : sequences
            NaN where an entry is missing; what is there comes back as it was.
        context : value, row, or like that of `fit`
            What the rows are conditioned on, where the model is.
        samples : int
            K, how many z are weighted.
        rounds : int
            How often the holes are filled with the reconstruction before.
        seed : int
            Of the draws.

        Notes
        -----
        Mattei and Frellsen, "MIWAE: Deep Generative Modelling and Imputation of Incomplete Data Sets", 2019.
        """
        check_is_fitted(self)
        schema = self.schema_
        if not isinstance(schema, SequenceSchema):
            raise DataError("X: only sequences can have missing entries so far; fit with data='sequences'.")
        X = values(X, shaped=True)  # a file is read once
        rows = self._encoded(X, context)
        settings = (count("rounds", rounds), count("samples", samples), seed)
        with self._device():
            filled = schema.decode(rows.each_padded(lambda batch, _: inference.impute(self.model_, batch, *settings)))
        return schema.kept(X, filled)

    def score(self, X: Any, y: Any = None, *, context: Any = None) -> float:
        """Return the mean of `score_samples`."""
        return float(np.mean(self.score_samples(X, context=context)))

    def score_samples(self, X: Any, *, context: Any = None) -> NDArray[np.float64]:
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
            self.context_schema_,
        )
        return saving.save(folder, content)

    def _blank(self, count: int, length: Any, context: Any) -> Encoded | None:
        """Return rows without content for a decoder to fill, of these lengths and context; `None`: it needs none."""
        check_is_fitted(self)
        given = encoded(self.context_schema_, context, count)
        if isinstance(self.schema_, SequenceSchema):
            lengths = np.asarray(self.schema_.buckets[-1] if length is None else length)
            if lengths.dtype.kind not in "iu" or lengths.shape not in ((), (count,)) or lengths.min() < 1:
                raise ParameterError(f"length={length!r}: expected a whole number of at least 1, or {count} of them.")
            return self.schema_.blank(np.broadcast_to(lengths, count)).with_context(given)
        if length is not None:
            raise ParameterError(f"length={length!r}: only sequences have one; X was not.")
        if given is None:
            return None
        return Encoded.of(Batch(np.zeros((count, *self.schema_.event.shape), np.float32), context=given))

    def _validation(
        self, X: Any, context: Any, schema: AnySchema, recipe: build.Recipe, context_schema: ContextSchema | None
    ) -> RowSource:
        rows = read_rows(self, X, schema, recipe, "X_valid")
        rows = rows.with_context(encoded(context_schema, context, rows.count, "context_valid"))
        return together([MemoryRows(batch) for _, batch in rows.groups])

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []  # features are float32
        tags.non_deterministic = self.random_state is None
        return tags

    def _after(self, rows: RowSource, seed: int) -> None:
        """Do what is to be done with the training rows once the model is trained."""

    def _checked(self, **called: Any) -> dict[str, Any]:
        """Return the parameters, with NumPy numbers and lists made plain, and objects made of tables and distributions.

        Whatever is wrong with them, and with what else `fit` is `called` with, is told at once.
        """
        given, problems = objects(self.get_params(deep=False))
        settings = check(self._settings, given, trial.problems({**given, **called}) | problems)
        return {name: getattr(settings, name) if name in settings.model_fields_set else given[name] for name in given}

    def _device(self) -> contextlib.AbstractContextManager[None]:
        return on_device(self.device)

    def _encoded(self, X: Any, context: Any = None) -> Encoded:
        """Return rows that the fitted model can be asked about."""
        check_is_fitted(self)
        rows = read_rows(self, X, self.schema_, self.recipe_)
        return rows.with_context(encoded(self.context_schema_, context, rows.count))

    def _fit_prior(self, chosen: Any, codes: NDArray[np.floating], seed: int) -> None:
        columns, random = self.context_schema_.size if self.context_schema_ else 0, np.random.default_rng([seed, 5])
        start = build.latent_density(chosen, codes.shape[1], self.schema_.event, self.recipe_, columns, random)
        prior = fitted(start, codes, self.model_, seed)
        self.model_ = dataclasses.replace(self.model_, prior=prior)
        self.recipe_ = dataclasses.replace(self.recipe_, prior=prior.family)

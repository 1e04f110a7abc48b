"""What every estimator has: scikit-learn's contract over the engine. Constructors store, `fit` checks.

A fit is a value, `fitted_`, that is put in place at once when it is whole. What ends in an underscore is read from it,
and every question is asked of one such value: so a refused or interrupted fit changes nothing, and a thread that asks
while another fits gets the answer of the old model or of the new one.
"""

import contextlib
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from omokage import build, inference, memory, saving, trial
from omokage.batch import Batch
from omokage.data.containers import to_matrix
from omokage.data.context import ContextSchema
from omokage.data.encoded import Encoded
from omokage.data.kinds import Schema
from omokage.data.rows import RowSource
from omokage.diagnostics import Diagnosis, diagnose
from omokage.diagnostics.latent import is_standard, latent_of
from omokage.errors import DataError, ParameterError
from omokage.estimators.fitting import (
    AnyPath,
    Given,
    Run,
    blank,
    count,
    feature_names,
    fit_model,
    flag,
    on_device,
    opened_rows,
    read_rows,
    seeded,
)
from omokage.estimators.parts import imputed
from omokage.fitted import Fitted
from omokage.latent_density import fitted as fitted_density
from omokage.likelihoods import Gaussian
from omokage.model import Model, check_moment, places_of
from omokage.names import objects
from omokage.posteriors import PointMass
from omokage.progress import raw_record
from omokage.settings import CommonSettings, check
from omokage.summary import Summary, summary
from omokage.training import Record


class FittedAttributes:
    """What is read of a fit: the attributes that end in an underscore, as scikit-learn wants them."""

    fitted_: Fitted

    @property
    def _fit(self) -> Fitted:
        """The fit; raises scikit-learn's NotFittedError before there is one."""
        check_is_fitted(self)
        return self.fitted_

    @property
    def schema_(self) -> Schema:
        """What was learned of the rows."""
        return self._fit.schema

    @property
    def recipe_(self) -> build.Recipe:
        """What the model is made of, with every "auto" decided."""
        return self._fit.recipe

    @property
    def history_(self) -> list[dict[str, Any]]:
        """One record an epoch."""
        return self._fit.history

    @property
    def context_schema_(self) -> ContextSchema | None:
        """What was learned of the context; `None` where `fit` was given none."""
        return self._fit.context

    @property
    def n_features_in_(self) -> int:
        """The number of columns, D."""
        return self._fit.schema.features

    @property
    def feature_names_in_(self) -> NDArray[Any]:
        """The names of the columns, where they came with names that are text."""
        names = feature_names(self._fit.schema)
        if names is None:
            raise AttributeError("feature_names_in_: X came without names, or with names that are no text.")
        return names

    def __sklearn_is_fitted__(self) -> bool:
        return "fitted_" in vars(self)


class Estimator(FittedAttributes, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """What every model has; a subclass has a constructor, `_settings`, and its own scores."""

    _settings: type[CommonSettings]
    latent_dim: int
    warm_start: bool
    device: str
    random_state: Any

    @property
    def model_(self) -> Model:
        """The trained parts."""
        model: Model = self._fit.model
        return model

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
            names a folder of pictures, or a CSV, Parquet, .npy, .npz or IDX file; one of vectors larger than 256 MB, or
            of a table larger than 64 MB, is streamed.
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
            If the loss stopped being finite. The last good weights are kept in `model_`; in the first epoch there are
            none, and what was fitted before stays.
        KeyboardInterrupt
            At Ctrl-C in the first epoch; later, what was learned so far is kept, with a warning.
        """
        parameters = self._checked(on_epoch=on_epoch)
        given = Given(X, X_valid, context, context_valid, sample_weight)
        run = Run(checkpoint, checkpoint_every, resume, on_epoch)
        before = self.fitted_ if self.warm_start and "fitted_" in vars(self) else None
        with self._device():
            kind = saving.class_name(type(self))
            self.fitted_, result = fit_model(kind, parameters, given, run, before, self._completed)
        if result.problem is not None:
            raise result.problem
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
        fit, rows = self._asked(X, context)
        with self._device():
            features: NDArray[np.float32] = rows.each(lambda batch: inference.encode(fit.model, batch))
        return features

    def inverse_transform(self, Z: Any, *, context: Any = None, length: Any = None) -> Any:
        """Return the decoder means of features, in the units and the shape of X, for Z of shape (n, latent_dim).

        Parameters
        ----------
        Z : array of shape (n, latent_dim)
            Features; columns of a data frame with the names of `get_feature_names_out` may come in any order.
        context : value, row, or like that of `fit`
            What the rows are conditioned on, where the model is.
        length : int or array of shape (n,), optional
            Where X is sequences, how many steps each shall have; by default the longest of the fit.
        """
        fit = self._fit
        Z, names = to_matrix(Z, estimator=type(self).__name__, name="Z")
        if Z.shape[1] != self._n_features_out:
            raise DataError(f"Z: expected {self._n_features_out} columns, one a latent dimension; got {Z.shape[1]}.")
        z, known = Z.astype(np.float32), self.get_feature_names_out().tolist()
        if names and set(names) == set(known):
            z = z[:, [names.index(name) for name in known]]
        rows = blank(fit, len(z), length, context)
        with self._device():
            if rows is None:
                return fit.schema.decode(inference.decode(fit.model, z))
            return fit.schema.decode(
                rows.each_padded(lambda batch, index: inference.decode(fit.model, z[index], batch))
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
        seed, sample = seeded(seed), flag("sample", sample)
        (fit, rows), drawn = self._asked(X, context), seed if sample else None
        with self._device():
            made = rows.each_padded(lambda batch, _: inference.reconstruct(fit.model, batch, drawn))
        return fit.schema.decode(made, rows)

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
        fit, n, seed, mean = self._fit, count("n", n), seeded(seed), flag("mean", mean)
        memory.check_room(n * fit.schema.event.size, f"n={n}", "Draw fewer at a time, with a seed for each.")
        length = fit.schema.draw_lengths(n, seed) if length is None else length
        rows = blank(fit, n, length, context)
        with self._device():
            if rows is None:
                return fit.schema.decode(inference.sample(fit.model, n, seed, mean))
            return fit.schema.decode(
                rows.each_padded(lambda batch, i: inference.sample(fit.model, len(i), seed, mean, batch, i))
            )

    def fit_density(self, X: Any, density: Any = "mixture", *, context: Any = None, seed: int = 0) -> Self:
        """Fit a density to the codes of rows and make it the prior, from which `sample` draws; return self.

        The codes are the features of an autoencoder, and draws from the posterior of a VAE, one for each row, also
        where rows are equal. A plain autoencoder has a
        normal fitted to the codes of its training rows from the start.

        Parameters
        ----------
        X : rows
            As for `fit`.
        context : value, row, or like that of `fit`
            What the rows are conditioned on, where the model is.
        density : str or prior
            "full_normal", "mixture", "flow", "flow_matching", "vamp", or an instance such as
            `omokage.priors.Mixture(20)`.
        seed : int
            Of draws, of the first means of a mixture, and of the network of "flow_matching".

        Notes
        -----
        Ghosh et al., "From Variational to Deterministic Autoencoders", 2020, section 4.
        """
        seed = seeded(seed)
        fit, rows = self._asked(X, context)
        with self._device():
            codes = rows.each(lambda batch: inference.codes(fit.model, batch, seed))
            self.fitted_ = with_prior(fit, density, codes, seed)
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
        seed = seeded(seed)
        fit, rows = self._asked(X, context)
        batch, model, recipe, likelihood = rows.whole, fit.model, fit.recipe, fit.recipe.likelihood
        point = isinstance(recipe.posterior, PointMass)
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
            objective=recipe.objective,
            history=[raw_record(record, fit.schema.log_jacobian) for record in fit.history],
            scales=scales,
            floor=getattr(likelihood, "floor", None) if "log_scale" in learned else None,
            columns=fit.schema.entry_names(batch.x.shape[1:]),
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
        fit, rows, densities = self._densities(X, context, samples, seed)
        return fit.schema.by_entry(densities, rows)

    def step_scores(self, X: Any, *, context: Any = None, samples: int = 16, seed: int = 0) -> Any:
        """Return how well each step of sequences is explained, in nats of raw data, (n, T) or a list of (T,).

        The sum of `entry_scores` over the channels of a step, as far as they were observed. Of series that are cut into
        windows the mean over the windows that cover a step: (T,) for each series, and for a single one.
        """
        self.schema_.in_windows(None)  # raises where rows have no steps
        _, rows, densities = self._densities(X, context, samples, seed)
        steps = rows.on_steps([np.nansum(one, axis=-1) for one in densities])
        if rows.alone:
            return steps[0]
        return np.stack(steps) if rows.windows is None and isinstance(densities, np.ndarray) else steps

    def impute(
        self,
        X: Any,
        *,
        context: Any = None,
        draws: int | None = None,
        return_std: bool = False,
        rounding: bool = True,
        samples: int = 64,
        rounds: int = 20,
        seed: int = 0,
    ) -> Any:
        """Return rows with their missing entries filled by their mean given the others, in raw units.

        Of categories it is the level that is most likely given the others. Columns of a table that are no input come
        back as they came.

        Parameters
        ----------
        X : table or sequences
            NaN or null where an entry is missing; what is there comes back as it was.
        context : value, row, or like that of `fit`
            What the rows are conditioned on, where the model is.
        draws : int, optional
            Return a list of so many tables in place of one, whose missing entries are drawn from their distribution
            given the others: multiple imputation. What is computed of each varies as much as is not known. The first 5
            of 10 are those of 5.
        return_std : bool
            Also return a table of standard errors, like the first: of numbers the standard deviation given the others
            (of times in seconds), of categories the probability of another level than the one that was filled in, and 0
            where nothing was missing.
        rounding : bool
            Write means of numbers with as many decimals as the fit had, so that whole numbers stay whole, and take the
            most likely of two numbers where a column has only two. `False`: the means as they are.
        samples : int
            K, how many z are weighted. Draws choose among them: for intervals take some hundred.
        rounds : int
            How often the holes are filled with the reconstruction before, where the encoder never saw a hole in
            training; one that did is shown the rows as they are.
        seed : int
            Of the draws.

        Returns
        -------
        table or sequences, like X
            With `draws` a list of them; with `return_std` a pair.

        Raises
        ------
        DataError
            If the rows cannot be used, or `draws` are asked of series that are cut into windows.
        ParameterError
            If an option cannot be used, or the likelihood has no standard deviation and `return_std` asks for it.

        Notes
        -----
        Mattei and Frellsen, "MIWAE: Deep Generative Modelling and Imputation of Incomplete Data Sets", 2019. Multiple
        imputation: Rubin, "Multiple Imputation for Nonresponse in Surveys", 1987. Of a plain autoencoder, which has one
        code for a row and no noise that it learned, standard errors and draws say little.

        Examples
        --------
        >>> import numpy as np, omokage
        >>> X = np.random.default_rng(0).normal(size=(64, 3)).round(2)
        >>> X[::4, 1] = np.nan
        >>> vae = omokage.VAE(2, hidden=(8,), epochs=2, data="table", verbose=0).fit(X)
        >>> filled, std = vae.impute(X, return_std=True)
        >>> filled.shape, bool(np.isnan(filled).any()), std[0, 0], bool(std[0, 1] > 0)
        ((64, 3), False, np.float64(0.0), True)
        >>> len(vae.impute(X, draws=5))
        5
        """
        if not self.schema_.can_miss:
            raise DataError(
                "X: a model of vectors or images knows of no missing entries. Fit with data='table' "
                "(omokage.data.Columns) or data='sequences'."
            )
        return_std, rounding = flag("return_std", return_std), flag("rounding", rounding)
        settings = (count("rounds", rounds), count("samples", samples), seeded(seed))
        drawn = None if draws is None else count("draws", draws)
        if drawn is not None and (return_std or not rounding):
            raise ParameterError(
                "draws: expected return_std=False and rounding=True beside it; got another. Draws vary by the standard "
                "error, and are values that a cell can have."
            )
        if drawn is not None and self.schema_.cuts:
            raise DataError(
                "draws: series are cut into windows, which would be drawn apart and not fit together. Leave it out."
            )
        X = opened_rows(self.fitted_, X)  # a file is read once
        if hasattr(X, "batches") and context is None:
            how = {"rounding": rounding, "samples": samples, "rounds": rounds}
            return imputed(self, X, settings[-1], draws=draws, return_std=return_std, **how)
        fit, rows = self._asked(X, context)
        schema, model = fit.schema, fit.model
        if drawn is not None:
            return self._completed_rows(X, fit, rows, settings, drawn)
        cells = schema.cells(places_of(model.likelihood, schema.event.shape[-1]))
        with self._device():
            found = rows.each_padded(lambda batch, _: inference.imputation(model, batch, *settings, cells))
        filled = schema.kept(X, schema.filled(found, rows, rounding))
        if not return_std:
            return filled
        check_moment(model.likelihood, "likelihood", "variance")
        return filled, schema.deviations(X, found, rows)

    def _completed_rows(
        self, X: Any, fit: Fitted, rows: Encoded, settings: tuple[int, int, int], drawn: int
    ) -> list[Any]:
        """Return rows with their missing entries drawn, so many times."""
        memory.check_room(
            rows.count * drawn * fit.schema.longest(1).x.size, f"draws={drawn}", "Draw fewer, or for fewer rows."
        )

        def completed(batch: Batch, _: Any) -> dict[str, NDArray[np.float32]]:
            all_of_them = inference.completions(fit.model, batch, *settings, drawn)
            return {str(number): all_of_them[:, number] for number in range(drawn)}

        with self._device():
            found = rows.each_padded(completed)
        return [fit.schema.kept(X, fit.schema.decode(one, rows)) for one in found.values()]

    def score(self, X: Any, y: Any = None, *, context: Any = None) -> float:
        """Return the mean of `score_samples`."""
        return float(np.mean(self.score_samples(X, context=context)))

    def score_samples(self, X: Any, *, context: Any = None) -> NDArray[np.float64]:
        """Return a number for each row, (n,); higher is more normal."""
        raise NotImplementedError

    def summary(self) -> Summary:
        """Return the layers of the fitted model, with output shapes and numbers of parameters; it prints as a table."""
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
        return saving.save(folder, saving.Saved(**vars(self._fit)))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []  # features are float32
        tags.non_deterministic = self.random_state is None
        return tags

    @property
    def _n_features_out(self) -> int:
        """The number of features, L, for scikit-learn's names of them."""
        return int(self._fit.parameters["latent_dim"])

    def _completed(self, fitted: Fitted, rows: RowSource, seed: int) -> Fitted:
        """Return a fit with what is to be done with the training rows once the model is trained."""
        return fitted

    def _checked(self, **called: Any) -> dict[str, Any]:
        """Return the parameters, with NumPy numbers and lists made plain, and objects made of tables and distributions.

        Whatever is wrong with them, and with what else `fit` is `called` with, is told at once.
        """
        known = self._settings.model_fields  # the constructor of a class of the user's may have others
        given, problems = objects({name: getattr(self, name) for name in known} | self.get_params(deep=False))
        chosen = {name: given[name] for name in known}
        settings = check(self._settings, chosen, trial.problems({**chosen, **called}) | problems)
        return {name: getattr(settings, name) if name in settings.model_fields_set else given[name] for name in given}

    def _device(self) -> contextlib.AbstractContextManager[None]:
        return on_device(self.device)

    def _asked(self, X: Any, context: Any = None) -> tuple[Fitted, Encoded]:
        """Return the fit, and rows that it can be asked about: of one fit, whatever other threads do meanwhile."""
        fit = self._fit
        return fit, read_rows(fit, X, context)

    def _densities(self, X: Any, context: Any, samples: int, seed: int) -> tuple[Fitted, Encoded, Any]:
        """Return E_q log p(x|z) of each entry as the model has them, in nats of raw data; NaN where it is missing."""
        samples, seed = count("samples", samples), seeded(seed)
        fit, rows = self._asked(X, context)

        def entries(batch: Batch, _: Any) -> NDArray[np.float64]:
            densities = inference.entries(fit.model, batch, samples, seed).astype(np.float64)
            densities = densities + fit.schema.entry_jacobians(batch)
            return densities if batch.observed is None else np.where(batch.observed, densities, np.nan)

        with self._device():
            return fit, rows, rows.each_padded(entries)


def with_prior(fit: Fitted, chosen: Any, codes: NDArray[np.floating], seed: int) -> Fitted:
    """Return a fit whose prior is a density that was fitted to codes, (n, L)."""
    columns, random = fit.context.size if fit.context else 0, np.random.default_rng([seed, 5])
    start = build.latent_density(chosen, codes.shape[1], fit.schema.event, fit.recipe, columns, random)
    prior = fitted_density(start, codes, fit.model, seed)
    model = dataclasses.replace(fit.model, prior=prior)
    return dataclasses.replace(fit, model=model, recipe=dataclasses.replace(fit.recipe, prior=prior.family))

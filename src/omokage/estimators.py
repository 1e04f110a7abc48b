"""The estimators: scikit-learn's contract over the engine. Constructors store, `fit` checks."""

import contextlib
import os
import secrets
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from omokage import build, inference, saving
from omokage.checkpoints import read_checkpoint, write_checkpoint
from omokage.compilation import keep_compiled
from omokage.data.reading import TableFile
from omokage.data.schema import Schema
from omokage.data.table import Table
from omokage.data.vectors import to_matrix
from omokage.errors import DataError, FileFormatError, ParameterError
from omokage.progress import display
from omokage.settings import AutoEncoderSettings, CommonSettings, VAESettings, check
from omokage.summary import Summary, summary
from omokage.training import Record, Snapshot, begin, train

Path_ = str | os.PathLike[str]


class _Estimator(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """What every model of vectors has; a subclass has a constructor, `_settings`, and its own scores."""

    _settings: type[CommonSettings]

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        X_valid: Any = None,
        sample_weight: Any = None,
        checkpoint: Path_ | None = None,
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
            How much each row counts: weight 2 is the same as the row twice.
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
        seed = _seed(parameters["random_state"])
        table = Table(X, sample_weight, estimator=type(self).__name__)
        self._note_columns(X, table)
        with self._device():
            recipe, schema, start = self._prepared(parameters, table, seed)
            early = parameters["early_stopping"] is not False
            held_out = parameters["validation_fraction"] if early and X_valid is None else 0.0
            rows, validation = table.rows(schema, held_out, seed)
            if X_valid is not None:
                validation = schema.encode(self._matrix(X_valid, "X_valid"))
            plan = build.plan(parameters, rows.count, seed)
            snapshot, keep = begin(start, plan), None
            if checkpoint is not None:
                settings = self._fingerprint(parameters, schema, rows.count, seed, plan.epochs)
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
        self._n_features_out = parameters["latent_dim"]
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
        with self._device():
            return inference.encode(self.model_, self._encoded(X))

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

    def save(self, folder: Path_) -> Path:
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
            self.get_params(deep=False),
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

    def _note_columns(self, X: Any, table: Table) -> None:
        if self.warm_start and hasattr(self, "model_"):
            self._check_columns(X if not isinstance(X, str | os.PathLike | TableFile) else table.columns_only())
        else:
            validate_data(
                self,
                X if not isinstance(X, str | os.PathLike | TableFile) else table.columns_only(),
                skip_check_array=True,
            )

    def _check_columns(self, X: Any) -> None:
        validate_data(self, X, reset=False, skip_check_array=True)

    def _prepared(self, parameters: dict[str, Any], table: Table, seed: int) -> tuple[build.Recipe, Schema, Any]:
        """Return parts, schema and first weights; those of the fitted model where training goes on."""
        names = table.names
        recipe = build.decide(parameters, table.moments, lambda j: names[j] if names else j)
        build.check_pairs(recipe)
        if self.warm_start and hasattr(self, "model_"):
            return recipe, self.schema_, self.model_
        schema = Schema.learn(table.moments, names, recipe.standardize)
        if parameters["latent_dim"] > schema.features:
            warnings.warn(
                f"latent_dim={parameters['latent_dim']} is more than the {schema.features} columns of X: features will "
                "be redundant. A smaller latent_dim is enough.",
                stacklevel=3,
            )
        return recipe, schema, build.model(parameters, recipe, schema.event, np.random.default_rng([seed, 1]))

    def _fingerprint(
        self, parameters: dict[str, Any], schema: Schema, rows: int, seed: int, epochs: int
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
            "rows": rows,
            **columns,
        }

    def _matrix(self, X: Any, name: str = "X") -> NDArray[Any]:
        matrix, _ = to_matrix(X, estimator=type(self).__name__)
        self._check_columns(X)
        return matrix

    def _encoded(self, X: Any) -> NDArray[np.float32]:
        check_is_fitted(self)
        return self.schema_.encode(self._matrix(X))


class VAE(_Estimator):
    """A variational autoencoder.

    Parameters
    ----------
    latent_dim : int
        Latent dimensions, L.
    hidden : sequence of int
        Widths of the encoder's hidden layers; the decoder mirrors them; `()` is a linear model.
    network : "auto" or "mlp"
        Kind of network.
    activation : str or callable
        Of hidden layers: "relu", "leaky", "elu", "gelu", "silu", "softplus", "tanh", "sigmoid", "identity".
    normalization : "batch", "layer" or None
        Before each activation.
    dropout : float
        Share of hidden entries dropped in training.
    initializer : str or callable
        First weights; "auto" is uniform in ±1/√inputs.
    likelihood : str or likelihood
        p(x|z): "gaussian", "bernoulli", "continuous_bernoulli", or an instance from `omokage.likelihoods`. "auto":
        Bernoulli where all columns are 0/1, continuous Bernoulli where all lie in [0, 1], else a Gaussian with a
        learned, floored scale for each column.
    prior : str or prior
        p(z): "normal".
    posterior : str or posterior
        q(z|x): "diagonal" (normal), "point".
    objective : str or objective
        "elbo", or an instance from `omokage.objectives`, such as `ELBO(beta=4, warmup=10)`.
    epochs : int or "auto"
        Passes over the rows; "auto": 30, or as many more as make 2,000 steps, at most 1,000.
    batch_size : int
        Rows of a step; clamped to the number of rows.
    optimizer : str or Optax transformation
        "adam", "adamw", "nadam", "rmsprop", "sgd". A transformation brings its own learning rate.
    learning_rate : float
        What the schedule multiplies.
    schedule : str or callable
        "one-cycle" ("auto"), "constant", "cosine", "linear", or a function from the share of training that is over to a
        factor of the learning rate.
    gradient_clip : float or None
        Largest global norm of the gradient.
    weight_decay : float
        For "adamw".
    early_stopping : bool or int
        Stop when the validation loss has not fallen for 10 (or so many) epochs, and keep the best weights.
    validation_fraction : float
        Share of the rows held out where early stopping is on and no `X_valid` is given.
    standardize : str or bool
        "scale", "center", False; "auto": False for likelihoods on [0, 1], else "center" where all columns lie in
        [0, 1], else "scale". Log-densities are in raw units whichever it is.
    data : "auto" or "vectors"
        Kind of data.
    warm_start : bool
        Let `fit` train a fitted model further.
    device : "auto", "cpu", "gpu" or "tpu"
        Where to compute.
    random_state : int or None
        Seed; the same one gives bit-equal results on the same machine and versions.
    verbose : int
        0: silent, 1: progress.

    Attributes
    ----------
    history_ : list of dict
        One record an epoch: "epoch" (from 1), "loss" and terms (nats per row of standardised data), "learning_rate",
        "seconds", "rows_per_second", and "validation_..." where there is validation.
    model_ : omokage.model.Model
        The trained parts.
    schema_ : omokage.data.schema.Schema
        What was learned of the columns.
    n_features_in_ : int
        The number of columns, D.

    Notes
    -----
    Kingma and Welling, "Auto-Encoding Variational Bayes", 2014.

    Examples
    --------
    >>> import numpy as np, omokage
    >>> X = np.random.default_rng(0).normal(size=(64, 3))
    >>> vae = omokage.VAE(latent_dim=2, hidden=(16,), epochs=2, verbose=0).fit(X)
    >>> vae.transform(X).shape, vae.sample(5).shape
    ((64, 2), (5, 3))
    """

    _settings = VAESettings

    def __init__(
        self,
        latent_dim: int = 10,
        *,
        hidden: Any = (512, 256),
        network: str = "auto",
        activation: Any = "relu",
        normalization: str | None = None,
        dropout: float = 0.0,
        initializer: Any = "auto",
        likelihood: Any = "auto",
        prior: Any = "normal",
        posterior: Any = "diagonal",
        objective: Any = "elbo",
        epochs: int | str = "auto",
        batch_size: int = 100,
        optimizer: Any = "adam",
        learning_rate: float = 1e-3,
        schedule: Any = "auto",
        gradient_clip: float | None = None,
        weight_decay: float = 1e-4,
        early_stopping: bool | int = False,
        validation_fraction: float = 0.1,
        standardize: str | bool = "auto",
        data: str = "auto",
        warm_start: bool = False,
        device: str = "auto",
        random_state: Any = 0,
        verbose: int = 1,
    ):
        self.latent_dim = latent_dim
        self.hidden = hidden
        self.network = network
        self.activation = activation
        self.normalization = normalization
        self.dropout = dropout
        self.initializer = initializer
        self.likelihood = likelihood
        self.prior = prior
        self.posterior = posterior
        self.objective = objective
        self.epochs = epochs
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.gradient_clip = gradient_clip
        self.weight_decay = weight_decay
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.standardize = standardize
        self.data = data
        self.warm_start = warm_start
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def terms(self, X: Any, *, samples: int = 16, seed: int = 0) -> dict[str, NDArray[np.float64]]:
        """Return the parts of the bound for each row, in nats of raw data, (n,) each.

        Parameters
        ----------
        X : array or data frame of shape (n, D)
            Rows.
        samples : int
            K, how many z are drawn for each row; the same noise serves all rows.
        seed : int
            Of the draws.

        Returns
        -------
        dict
            "reconstruction" (E_q log p(x|z)), "kl" (KL(q‖p)) and "elbo", their difference, at most log p(x).
        """
        with self._device():
            parts = inference.terms(self.model_, self._encoded(X), _count("samples", samples), seed)
        raw = {name: value.astype(np.float64) for name, value in parts.items()}
        for name in raw.keys() - {"kl"}:
            raw[name] += self.schema_.log_jacobian
        return raw

    def score_samples(self, X: Any, *, samples: int = 16, seed: int = 0) -> NDArray[np.float64]:
        """Return the ELBO of each row, in nats of raw data, (n,); higher is more normal. See `terms`."""
        parts = self.terms(X, samples=samples, seed=seed)
        return parts.get("elbo", parts["reconstruction"])

    def log_likelihood(self, X: Any, *, samples: int = 100, seed: int = 0) -> NDArray[np.float64]:
        """Return the importance-weighted bound on log p(x) of each row, in nats of raw data, (n,).

        Parameters
        ----------
        X : array or data frame of shape (n, D)
            Rows.
        samples : int
            K; the bound rises with it towards log p(x).
        seed : int
            Of the draws.

        Notes
        -----
        Burda, Grosse and Salakhutdinov, "Importance Weighted Autoencoders", 2016.
        """
        with self._device():
            bound = inference.log_likelihood(self.model_, self._encoded(X), _count("samples", samples), seed)
        return bound.astype(np.float64) + self.schema_.log_jacobian

    def sample(self, n: int = 1, *, mean: bool = False, seed: int = 0) -> NDArray[np.float64]:
        """Return draws from p(x), (n, D), in raw units.

        Parameters
        ----------
        n : int
            How many.
        mean : bool
            Return the decoder means of drawn z, without the noise of p(x|z).
        seed : int
            Of the draws; the first of 10 are the same as the first of 1,000.
        """
        check_is_fitted(self)
        with self._device():
            return self.schema_.decode(inference.sample(self.model_, _count("n", n), seed, mean))


class AutoEncoder(_Estimator):
    """A plain autoencoder: a code, and what it makes of it.

    The parameters are those of `VAE`, without a prior and a posterior.

    Parameters
    ----------
    likelihood : str or likelihood
        What the error is: "gaussian" (the squared error, in standardised units), "bernoulli" (the cross-entropy), or an
        instance. "auto": Bernoulli where all columns are 0/1, else Gaussian.
    objective : str or objective
        "reconstruction", "denoising", or an instance such as `omokage.objectives.Denoising("masking", 0.25)`.

    Attributes
    ----------
    history_, model_, schema_, n_features_in_
        As of `VAE`.

    Examples
    --------
    >>> import numpy as np, omokage
    >>> X = np.random.default_rng(0).normal(size=(64, 3))
    >>> ae = omokage.AutoEncoder(latent_dim=2, hidden=(16,), epochs=2, verbose=0).fit(X)
    >>> ae.reconstruct(X).shape
    (64, 3)
    """

    _settings = AutoEncoderSettings

    def __init__(
        self,
        latent_dim: int = 10,
        *,
        hidden: Any = (512, 256),
        network: str = "auto",
        activation: Any = "relu",
        normalization: str | None = None,
        dropout: float = 0.0,
        initializer: Any = "auto",
        likelihood: Any = "auto",
        objective: Any = "reconstruction",
        epochs: int | str = "auto",
        batch_size: int = 100,
        optimizer: Any = "adam",
        learning_rate: float = 1e-3,
        schedule: Any = "auto",
        gradient_clip: float | None = None,
        weight_decay: float = 1e-4,
        early_stopping: bool | int = False,
        validation_fraction: float = 0.1,
        standardize: str | bool = "auto",
        data: str = "auto",
        warm_start: bool = False,
        device: str = "auto",
        random_state: Any = 0,
        verbose: int = 1,
    ):
        self.latent_dim = latent_dim
        self.hidden = hidden
        self.network = network
        self.activation = activation
        self.normalization = normalization
        self.dropout = dropout
        self.initializer = initializer
        self.likelihood = likelihood
        self.objective = objective
        self.epochs = epochs
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.gradient_clip = gradient_clip
        self.weight_decay = weight_decay
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.standardize = standardize
        self.data = data
        self.warm_start = warm_start
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def terms(self, X: Any) -> dict[str, NDArray[np.float64]]:
        """Return "reconstruction" (log p(x|z), nats of raw data) and "squared_error" (raw units) of each row, (n,)."""
        matrix = self._matrix(X)
        with self._device():
            parts = inference.terms(self.model_, self.schema_.encode(matrix), 1)
        reconstruction = parts["reconstruction"].astype(np.float64) + self.schema_.log_jacobian
        return {"reconstruction": reconstruction, "squared_error": -self.score_samples(X)}

    def score_samples(self, X: Any) -> NDArray[np.float64]:
        """Return the negative squared error of each row, summed over columns, in raw units squared, (n,)."""
        check_is_fitted(self)
        return -np.square(self._matrix(X) - self.reconstruct(X)).sum(1)


def load(folder: Path_, *, custom: dict[str, type] | None = None) -> Any:
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
    kinds: dict[str, type[_Estimator]] = {"VAE": VAE, "AutoEncoder": AutoEncoder}
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
    estimator.n_features_in_ = content.schema.features
    if content.schema.names is not None:
        estimator.feature_names_in_ = np.array(content.schema.names, dtype=object)
    estimator._n_features_out = estimator.latent_dim
    return estimator


def _seed(random_state: Any) -> int:
    """Return a seed for a `random_state`; `None` gives another one each time."""
    if random_state is None:
        return secrets.randbits(31)
    return int(random_state)


def _count(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ParameterError(f"{name}: expected a whole number of at least 1; got {value!r}.")
    return int(value)


def _both(first: Callable[[Record], object], second: Callable[[Record], object] | None) -> Callable[[Record], object]:
    def call(record: Record) -> None:
        first(record)
        if second is not None:
            second(record)

    return call


def _keeper(folder: Path_, every: int, epochs: int, settings: dict[str, Any]) -> Callable[[Snapshot], None]:
    every = _count("checkpoint_every", every)

    def keep(snapshot: Snapshot) -> None:
        if len(snapshot.history) % every == 0 or len(snapshot.history) == epochs:
            write_checkpoint(folder, snapshot, settings)

    return keep

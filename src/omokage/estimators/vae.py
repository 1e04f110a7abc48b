"""The variational autoencoder."""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omokage import conditioning, inference, memory
from omokage.annealing import annealed_log_likelihood
from omokage.batch import Batch
from omokage.data.conditions import Expected
from omokage.data.context import encoded
from omokage.data.encoded import Encoded
from omokage.errors import ParameterError
from omokage.estimators.base import Estimator
from omokage.estimators.fitting import count, flag, seeded
from omokage.fitted import Fitted
from omokage.model import kl_form
from omokage.posteriors import PointMass
from omokage.settings import VAESettings
from omokage.supports import support_of


class VAE(Estimator):
    """A variational autoencoder.

    Parameters
    ----------
    latent_dim : int
        Latent dimensions, L.
    hidden : sequence of int or "auto"
        Widths of the encoder's hidden layers (channels of convolutions, units of recurrent layers); the decoder mirrors
        them; `()` is a linear model. "auto": (512, 256), or what suits the network.
    network : str or network family
        "mlp", "conv" (images), "gru", "tcn" (sequences), or an instance from `omokage.nets`, such as
        `Recurrent(bidirectional=True)`. "auto": "mlp" for vectors, "conv" for images, "gru" for sequences.
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
        Bernoulli where all columns are 0/1, else a Gaussian with a learned, floored scale: one for all columns where
        they fill [0, 1], as grey levels do, else one for each.
    prior : str or prior
        p(z): "normal" (standard), "full_normal", "mixture", "vamp", "flow", "two_layer" (learned), or an instance from
        `omokage.priors`.
    posterior : str or posterior
        q(z|x): "diagonal" (normal), "full_normal", "flow", "point", or an instance from `omokage.posteriors`.
    objective : str or objective
        "elbo", or an instance from `omokage.objectives`, such as `ELBO(beta=4, warmup=10)`.
    epochs : int or "auto"
        Passes over the rows; "auto": 30, and for small data more: as many as make 2,000 steps, at most 1,000 epochs.
    batch_size : int
        Rows in each step; at most all rows.
    optimizer : str or Optax transformation
        "adam", "adamw", "nadam", "rmsprop", "sgd". A transformation brings its own learning rate, schedule and weight
        decay, so the three parameters below that are about them must then be "auto"; `gradient_clip` comes before it.
    learning_rate : float or "auto"
        Size of the steps, which the schedule varies in the course of training; "auto": 0.001. Leave it at "auto" if
        the optimizer is a transformation, which has a learning rate of its own.
    schedule : str or callable
        "one-cycle" ("auto"), "constant", "cosine", "linear", or a function from the share of training that is over to a
        factor of the learning rate.
    gradient_clip : float or None
        Largest global norm of the gradient.
    weight_decay : float or "auto"
        For "adamw" alone: how much of the layers' weights is taken away in a step, times the learning rate; "auto":
        0.0001. Biases, gains, scales and other parameters of densities do not decay.
    early_stopping : bool or int
        Stop when the validation loss has not fallen for 10 (or so many) epochs, and keep the best weights.
    validation_fraction : float
        Share of the rows held out where early stopping is on and no `X_valid` is given.
    standardize : str or bool
        "scale" (each column to mean 0 and deviation 1), "center" (to mean 0), "range" (to mean 0, all columns divided
        by the width of the range that they share), False. "auto": False for likelihoods that are not for all numbers,
        else "center" where columns fill [0, 1], "range" where they share another range, as grey levels from 0 to 255
        do, else "scale". Log-densities are in raw units whichever it is.
    data : str or kind of data
        "vectors", "images", "sequences", or an instance from `omokage.data`, such as
        `Sequences(series="engine", time="cycle")`. "auto": an array (n, time, channels) or a list of arrays is
        sequences, an array (n, height, width, channels) or a folder is images, all else is vectors.
    warm_start : bool
        Whether `fit` continues the training of a fitted model.
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
    schema_ : omokage.data.kinds.Schema
        What was learned of the columns.
    context_schema_ : omokage.data.context.ContextSchema or None
        What was learned of the context; `None` where `fit` was given none.
    kl_form_ : str
        How KL(q‖p) is found: "closed form", or "draws" where there is none.
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
        hidden: Any = "auto",
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
        learning_rate: float | str = "auto",
        schedule: Any = "auto",
        gradient_clip: float | None = None,
        weight_decay: float | str = "auto",
        early_stopping: bool | int = False,
        validation_fraction: float = 0.1,
        standardize: str | bool = "auto",
        data: str = "auto",
        warm_start: bool = False,
        device: str = "auto",
        random_state: Any = 0,
        verbose: int = 1,
    ):
        self._store(locals())

    def sample(
        self,
        n: int = 1,
        *,
        context: Any = None,
        mean: bool = False,
        seed: int = 0,
        length: Any = None,
        where: Mapping[Any, Any] | None = None,
        return_ess: bool = False,
    ) -> Any:
        """Return draws from p(x), or from p(x|context), in the units and the shape of X; see also `expect`.

        Parameters
        ----------
        n : int
            How many.
        context : value, row, or like that of `fit`
            What the draws are conditioned on, where the model is: one for all, or one for each; with `where` one for
            all.
        mean : bool
            Return the decoder means of drawn z, without the noise of p(x|z).
        seed : int
            Of the draws; the first of 10 are the same as the first of 1,000, but for those with `where`.
        length : int or array of shape (n,), optional
            Where X is sequences, how many steps each draw shall have; by default drawn from the lengths of the fit.
        where : dict, optional
            Of tables and vectors, conditions on columns, by name, or by number where there are no names: a value, an
            interval `(30, 40)` with both ends (`None`: no end), or of categories a set of levels. In the units of X;
            dates as such or as text. Draws are then from the model's distribution of rows under these conditions.
        return_ess : bool
            With `where`, also return the effective sample size of the proposals that the draws are taken from: how many
            independent draws they are worth.

        Returns
        -------
        rows like X, or with `return_ess` a pair of them and a number

        Raises
        ------
        ParameterError
            If a condition cannot be read, or rows that fulfil all of them are so rare that the proposals are worth
            fewer than 20 draws.

        Warns
        -----
        UserWarning
            If they are worth less than a tenth of n, so that rows resemble each other.

        Notes
        -----
        Importance resampling, and after it five rounds of Metropolis within Gibbs with q(z|x) as the proposal, none for
        posterior="point": see `omokage.conditioning`, and docs/conditional.md.

        Examples
        --------
        >>> import numpy as np, omokage
        >>> X = np.random.default_rng(0).normal(size=(64, 3))
        >>> vae = omokage.VAE(latent_dim=2, hidden=(), epochs=2, verbose=0).fit(X)
        >>> rows = vae.sample(5, where={0: 1.5, 2: (0, None)})
        >>> rows[:, 0].tolist(), bool((rows[:, 2] >= 0).all())
        ([1.5, 1.5, 1.5, 1.5, 1.5], True)
        """
        return_ess = flag("return_ess", return_ess)
        if where is None:
            if return_ess:
                raise ParameterError("return_ess=True: only draws with where= have an effective sample size.")
            return super().sample(n, context=context, mean=mean, seed=seed, length=length)
        if flag("mean", mean):
            raise ParameterError("mean=True: with where= there are draws only; see also expect.")
        fit, n, seed = self._fit, count("n", n), seeded(seed)
        fit.schema.blank(0, length)  # raises where a length is given
        wanted = fit.schema.conditions(where, fit.accepts)
        memory.check_room(3 * n * fit.schema.event.size, f"n={n}", "Draw fewer at a time, with a seed for each.")
        told, holes = encoded(fit.context, context, 1), fit.schema.event.missing > 0
        with self._device():
            x, ess = conditioning.sample(fit.model, wanted.conditions, n, seed, context=told, holes=holes)
        if ess < min(n, conditioning.ENOUGH) / 10:
            warnings.warn(
                f"where: the {n} rows are taken from proposals that are worth only {ess:.0f} draws, so some resemble "
                "each other. Take wider intervals or fewer conditions, or fewer rows.",
                stacklevel=2,
            )
        rows = fit.schema.written(wanted.decode(x))
        return (rows, ess) if return_ess else rows

    def expect(self, where: Mapping[Any, Any], of: Any, *, context: Any = None, seed: int = 0) -> Any:
        """Return what the model expects of a column of a row of which others are known.

        Parameters
        ----------
        where : dict
            Conditions on columns, as of `sample`.
        of : str, int, or list of them
            The column, or several, by name or number.
        context : value or row
            What the rows are conditioned on, where the model is.
        seed : int
            Of the draws.

        Returns
        -------
        omokage.data.conditions.ExpectedCategory or ExpectedNumber, or a dict of them by column
            Of a category the probabilities of its levels and the `likeliest`; of numbers and times mean, standard
            deviation and quantiles, in the units of X. Each has `effective`, how many independent draws it is worth,
            10,000 where they can be had. They print as tables.

        Raises
        ------
        ParameterError
            As `sample` does, and if the column is one that `where` gives.

        Notes
        -----
        By the weighted proposals of `omokage.conditioning`.

        Examples
        --------
        >>> import omokage as om, polars
        >>> frame = polars.DataFrame({"lot": ["A", "B", "A", "B"] * 8, "width": [1.5, 2.5, 1.25, 2.0] * 8})
        >>> vae = om.VAE(1, hidden=(), epochs=2, verbose=0).fit(frame)
        >>> found = vae.expect({"width": (2.0, None)}, of="lot")
        >>> round(sum(found.probabilities.values()), 6), list(found.probabilities)
        (1.0, ['A', 'B'])
        """
        fit, seed = self._fit, seeded(seed)
        wanted = fit.schema.conditions(where, fit.accepts)
        places, several = wanted.asked(of)
        told = encoded(fit.context, context, 1)
        with self._device():
            pool = conditioning.pool(fit.model, wanted.conditions, seed, conditioning.ENOUGH, told)
        raw = wanted.decode(pool.x)
        found: list[Expected] = [wanted.expected(j, raw, pool.weight, pool.effective) for j in places]
        return {one.column: one for one in found} if several else found[0]

    def terms(self, X: Any, *, context: Any = None, samples: int = 16, seed: int = 0) -> dict[str, NDArray[np.float64]]:
        """Return the parts of the bound for each row, in nats of raw data, (n,) each.

        Parameters
        ----------
        X : array or data frame of shape (n, D)
            Rows.
        context : value, row, or like that of `fit`
            What the rows are conditioned on, where the model is; the densities are then those given it.
        samples : int
            K, how many z are drawn for each row. Each row has noise of its own, so the error of a mean over n rows
            falls with n as well as with K.
        seed : int
            Of the draws.

        Returns
        -------
        dict
            "reconstruction" (E_q log p(x|z)), "kl" (KL(q‖p)) and "elbo", their difference, at most log p(x).
        """
        samples, seed = count("samples", samples), seeded(seed)
        fit, rows = self._asked(X, context)
        with self._device():
            parts = rows.each(lambda batch: inference.terms(fit.model, batch, samples, seed))
        raw = {name: value.astype(np.float64) for name, value in parts.items()}
        for name in raw.keys() - {"kl"}:
            raw[name] += fit.schema.log_jacobians(rows)
        return raw

    def score_samples(self, X: Any, *, context: Any = None, samples: int = 16, seed: int = 0) -> NDArray[np.float64]:
        """Return the ELBO of each row, in nats of raw data, (n,); higher is more normal. See `terms`."""
        parts = self.terms(X, context=context, samples=samples, seed=seed)
        return parts.get("elbo", parts["reconstruction"])

    def log_likelihood(
        self, X: Any, *, context: Any = None, samples: int = 100, seed: int = 0, return_std: bool = False
    ) -> Any:
        """Return the importance-weighted bound on log p(x) of each row, in nats of raw data, (n,).

        Parameters
        ----------
        X : array or data frame of shape (n, D)
            Rows.
        context : value, row, or like that of `fit`
            What the rows are conditioned on, where the model is; the densities are then those given it.
        samples : int
            K; the bound rises with it towards log p(x).
        seed : int
            Of the draws.
        return_std : bool
            Also return the standard error of each row's bound as an estimate of log p(x), (n,). Where it is near 1 or
            above, a few draws have all the weight, and both numbers say little: take more draws, or a better
            posterior.

        Notes
        -----
        Burda, Grosse and Salakhutdinov, "Importance Weighted Autoencoders", 2016.
        """
        samples, seed, return_std = count("samples", samples), seeded(seed), flag("return_std", return_std)
        fit, rows = self._asked(X, context)
        bound, error = self._likelihoods(
            fit, rows, lambda batch: inference.log_likelihood(fit.model, batch, samples, seed)
        )
        return (bound, error) if return_std else bound

    @property
    def kl_form_(self) -> str:
        """How KL(q‖p) is found: in "closed form", or by "draws", the same as those of the reconstruction."""
        return kl_form(self.model_)

    def annealed_log_likelihood(
        self,
        X: Any,
        *,
        context: Any = None,
        chains: int = 16,
        temperatures: int = 100,
        seed: int = 0,
        return_std: bool = False,
    ) -> Any:
        """Return an estimate of log p(x) of each row by annealed importance sampling, in nats of raw data, (n,).

        It is the stricter check of `log_likelihood`: it does not need the posterior to be good, and takes some hundred
        times as long as one draw, so some hundred rows are asked about.

        Parameters
        ----------
        X : array or data frame of shape (n, D)
            Rows.
        context : value, row, or like that of `fit`
            What the rows are conditioned on, where the model is.
        chains : int
            C, how many chains each row has.
        temperatures : int
            T, the steps of a chain from the posterior to p(x, z); more give a better estimate.
        seed : int
            Of the noise, which is common to all rows.
        return_std : bool
            Also return the standard error of each estimate, (n,).

        Notes
        -----
        Neal, "Annealed Importance Sampling", 2001; Wu et al., "On the Quantitative Analysis of Decoder-Based Generative
        Models", 2017. See `omokage.annealing`.
        """
        chains, temperatures, seed = count("chains", chains), count("temperatures", temperatures), seeded(seed)
        return_std = flag("return_std", return_std)
        fit, rows = self._asked(X, context)
        if not support_of(fit.recipe.posterior).everything:
            raise ParameterError(
                f"posterior: chains move z by steps of any size, and {fit.recipe.posterior} gives z in an interval "
                "only. Use log_likelihood."
            )
        bound, error = self._likelihoods(
            fit,
            rows,
            lambda batch: annealed_log_likelihood(fit.model, batch, chains, temperatures, seed),
        )
        return (bound, error) if return_std else bound

    def bits_per_dimension(self, X: Any, *, context: Any = None, samples: int = 100, seed: int = 0) -> Any:
        """Return -log2 p(x) of each row by `log_likelihood`, over the number of its observed entries, (n,).

        For whole numbers (`DiscretizedLogistic`, `Categorical`, counts) it is a length in bits. For a density it
        depends on the unit of X: divided by 256, 8-bit pictures have 8 bits less.
        """
        samples, seed = count("samples", samples), seeded(seed)
        fit, rows = self._asked(X, context)
        bound, _ = self._likelihoods(fit, rows, lambda batch: inference.log_likelihood(fit.model, batch, samples, seed))
        return -bound / np.log(2) / np.maximum(rows.each(_entries), 1)

    def _likelihoods(
        self, fit: Fitted, rows: Encoded, function: Callable[[Batch], Any]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return what `function` finds, in nats of raw data, and its error."""
        if isinstance(fit.recipe.posterior, PointMass):
            raise ParameterError("posterior='point' has no density, so its model has no likelihood; see `terms`.")
        with self._device():
            found = rows.each(function)
        bound = found["bound"].astype(np.float64) + fit.schema.log_jacobians(rows)
        return bound, found["error"].astype(np.float64)


def _entries(batch: Batch) -> NDArray[np.int64]:
    """Return how many entries of each row were observed, (B,)."""
    seen = True if batch.observed is None else batch.observed
    counted = np.broadcast_to(seen, batch.x.shape).reshape(len(batch.x), -1)
    return np.asarray(counted.sum(1))

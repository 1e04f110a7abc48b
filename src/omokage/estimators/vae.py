"""The variational autoencoder."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from omokage import inference
from omokage.errors import ParameterError
from omokage.estimators.base import Estimator
from omokage.estimators.fitting import count
from omokage.posteriors import PointMass
from omokage.settings import VAESettings


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
        p(z): "normal" (standard), "full_normal" and "mixture" (learned), or an instance from `omokage.priors`.
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
        "scale", "center", False; "auto": False for likelihoods on [0, 1], else "center" where columns fill
        [0, 1], else "scale". Log-densities are in raw units whichever it is.
    data : str or kind of data
        "vectors", "images", "sequences", or an instance from `omokage.data`, such as
        `Sequences(series="engine", time="cycle")`. "auto": an array (n, time, channels) or a list of arrays is
        sequences, an array (n, height, width, channels) or a folder is images, all else is vectors.
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
        self._store(locals())

    def terms(self, X: Any, *, samples: int = 16, seed: int = 0) -> dict[str, NDArray[np.float64]]:
        """Return the parts of the bound for each row, in nats of raw data, (n,) each.

        Parameters
        ----------
        X : array or data frame of shape (n, D)
            Rows.
        samples : int
            K, how many z are drawn for each row; the same noise serves all rows, so the error of a mean over many rows
            is that of one row, and falls with K alone.
        seed : int
            Of the draws.

        Returns
        -------
        dict
            "reconstruction" (E_q log p(x|z)), "kl" (KL(q‖p)) and "elbo", their difference, at most log p(x).
        """
        rows, samples = self._encoded(X), count("samples", samples)
        with self._device():
            parts = rows.each(lambda batch: inference.terms(self.model_, batch, samples, seed))
        raw = {name: value.astype(np.float64) for name, value in parts.items()}
        for name in raw.keys() - {"kl"}:
            raw[name] += self.schema_.log_jacobians(rows)
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
        rows, samples = self._encoded(X), count("samples", samples)
        if isinstance(self.recipe_.posterior, PointMass):
            raise ParameterError("posterior='point' has no density, so its model has no likelihood; see `terms`.")
        with self._device():
            bound = rows.each(lambda batch: inference.log_likelihood(self.model_, batch, samples, seed))
        raw: NDArray[np.float64] = bound.astype(np.float64) + self.schema_.log_jacobians(rows)
        return raw

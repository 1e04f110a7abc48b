"""The plain autoencoder."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from omokage import inference
from omokage.batch import Batch
from omokage.data.encoded import Encoded
from omokage.data.rows import RowSource
from omokage.estimators.base import Estimator, with_prior
from omokage.fitted import Fitted
from omokage.settings import AutoEncoderSettings

_MOST_CODES = 16_384  # to which a normal is fitted after training


class AutoEncoder(Estimator):
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
    history_, model_, schema_, context_schema_, n_features_in_
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
        hidden: Any = "auto",
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

    def sample(self, n: int = 1, *, context: Any = None, mean: bool = True, seed: int = 0, length: Any = None) -> Any:
        """Return decoder means of codes drawn from a density of the training rows' codes; see `VAE.sample`.

        The density is a normal with full covariance, until `fit_density` puts another in its place. `mean=False` adds
        the noise of p(x|z), which for a plain autoencoder is the unit of its error, and no estimate.
        """
        return super().sample(n, context=context, mean=mean, seed=seed, length=length)

    def _completed(self, fitted: Fitted, rows: RowSource, seed: int) -> Fitted:
        """Return the fit with a normal fitted to the codes of training rows for its prior."""
        parts: list[Any] = []
        for batch in rows.epoch(np.random.default_rng([seed, 3]), _MOST_CODES):
            parts.append(inference.encode(fitted.model, batch._replace(weight=None)))
            if sum(map(len, parts)) >= _MOST_CODES:
                break
        return with_prior(fitted, "full_normal", np.concatenate(parts), seed)

    def terms(self, X: Any, *, context: Any = None) -> dict[str, NDArray[np.float64]]:
        """Return "reconstruction" (log p(x|z), nats of raw data) and "squared_error" (raw units) of each row, (n,)."""
        fit, rows = self._asked(X, context)
        with self._device():
            parts = rows.each(lambda batch: inference.terms(fit.model, batch, 1))
        reconstruction = parts["reconstruction"].astype(np.float64) + fit.schema.log_jacobians(rows)
        return {"reconstruction": reconstruction, "squared_error": self._squared_errors(fit, rows)}

    def score_samples(self, X: Any, *, context: Any = None) -> NDArray[np.float64]:
        """Return the negative squared error of each row, summed over its entries, in raw units squared, (n,)."""
        return -self._squared_errors(*self._asked(X, context))

    def _squared_errors(self, fit: Fitted, rows: Encoded) -> NDArray[np.float64]:
        """Return the squared error of each row, summed over what was observed, in raw units squared, (n,)."""

        def errors(batch: Batch) -> NDArray[np.float64]:
            found = fit.schema.squared_errors(batch, inference.reconstruct(fit.model, batch).astype(np.float64))
            found = found if batch.observed is None else np.where(batch.observed, found, 0)
            return np.asarray(found.sum(tuple(range(1, found.ndim))))

        with self._device():
            return np.asarray(rows.each(errors))

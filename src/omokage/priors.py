"""Prior families p(z): frozen settings; see `omokage.density` for the two methods that each has.

A family with `fit` can also be fitted to codes after training: it returns the values of its learned parameters.
"""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax import Array
from numpy.typing import NDArray

from omokage.batch import Event
from omokage.density import Fixed, Learned, Parameters
from omokage.errors import ParameterError

_FLOOR = 1e-6  # of a fitted variance, as a share of the codes' own


@dataclass(frozen=True)
class StandardNormal:
    """p(z) = N(z; 0, I)."""

    def parameters(self, event: Event) -> Parameters:
        """Return the mean and the deviation, which stay."""
        return {"mean": Fixed([0.0] * event.size), "scale": Fixed([1.0] * event.size)}

    def distribution(self, mean: Array, scale: Array) -> dist.Distribution:
        """Return a distribution of event shape (L,)."""
        return dist.Normal(mean, scale).to_event(1)


@dataclass(frozen=True)
class FullNormal:
    """p(z) = N(z; m, S) with a learned mean and covariance.

    Example:
        >>> FullNormal().fit(np.eye(3), seed=0)["mean"].round(2).tolist()
        [0.33, 0.33, 0.33]
    """

    def parameters(self, event: Event) -> Parameters:
        """Return the mean, (L,), and the factor of the covariance, (L, L), its diagonal as logarithms."""
        return {"mean": Learned(np.zeros(event.size)), "factor": Learned(np.zeros((event.size, event.size)))}

    def distribution(self, mean: Array, factor: Array) -> dist.Distribution:
        """Return a distribution of event shape (L,)."""
        return dist.MultivariateNormal(mean, scale_tril=_triangular(factor))

    def fit(self, z: NDArray[np.floating], seed: int) -> dict[str, NDArray[np.floating]]:
        """Return the parameters of greatest likelihood for codes, (n, L)."""
        z = np.asarray(z, np.float64)
        covariance = np.cov(z, rowvar=False, ddof=0).reshape(z.shape[1], z.shape[1])
        covariance += np.eye(len(covariance)) * (_FLOOR * np.trace(covariance) / len(covariance) + 1e-12)
        return {"mean": z.mean(0), "factor": _factor(covariance)}


@dataclass(frozen=True)
class Mixture:
    """p(z) = Σ w_m N(z; m_m, S_m): a learned mixture of normals, each with its own covariance.

    Attributes:
        components: How many normals.
    """

    components: int = 10

    def __post_init__(self) -> None:
        """Check the settings, which are used long after."""
        if isinstance(self.components, bool) or not isinstance(self.components, int) or self.components < 1:
            raise ParameterError(f"Mixture(components={self.components!r}): expected a whole number of at least 1.")

    def parameters(self, event: Event) -> Parameters:
        """Return weights as logits, (M,), means, (M, L), and factors, (M, L, L), their diagonals as logarithms."""
        # Apart at first, or all components would get the same gradient for ever.
        means = np.random.default_rng(0).normal(size=(self.components, event.size))
        return {
            "logits": Learned(np.zeros(self.components)),
            "means": Learned(means),
            "factors": Learned(np.zeros((self.components, event.size, event.size))),
        }

    def distribution(self, logits: Array, means: Array, factors: Array) -> dist.Distribution:
        """Return a distribution of event shape (L,)."""
        components = dist.MultivariateNormal(means, scale_tril=_triangular(factors))
        return dist.MixtureSameFamily(dist.CategoricalLogits(logits), components)

    def fit(self, z: NDArray[np.floating], seed: int) -> dict[str, NDArray[np.floating]]:
        """Return parameters of great likelihood for codes, (n, L), by expectation maximisation."""
        from sklearn.mixture import GaussianMixture

        z = np.asarray(z, np.float64)
        if len(z) < 2 * self.components:
            raise ParameterError(
                f"Mixture(components={self.components}): expected at least {2 * self.components} codes to fit to; got "
                f"{len(z)}. Take fewer components, or 'normal'."
            )
        mixture = GaussianMixture(self.components, reg_covar=_FLOOR * z.var(0).mean() + 1e-12, random_state=seed)
        mixture.fit(z)
        return {
            "logits": np.log(np.maximum(mixture.weights_, 1e-12)),
            "means": mixture.means_,
            "factors": np.stack([_factor(covariance) for covariance in mixture.covariances_]),
        }


@dataclass(frozen=True)
class Fitted:
    """A family whose parameters were fitted to codes and which training leaves alone.

    Attributes:
        family: Which, such as `Mixture(5)`.
    """

    family: Any

    def parameters(self, event: Event) -> Parameters:
        """Return the parameters of the family, as given ones."""
        return {
            name: Fixed(parameter.start if isinstance(parameter, Learned) else parameter.value)
            for name, parameter in self.family.parameters(event).items()
        }

    def distribution(self, **parameters: Array) -> dist.Distribution:
        """Return the distribution of the family."""
        return self.family.distribution(**parameters)


def _triangular(factor: Array) -> Array:
    """Return lower triangular matrices, (..., L, L), from factors whose diagonals are logarithms."""
    diagonal = jnp.exp(jnp.diagonal(factor, axis1=-2, axis2=-1))
    return jnp.tril(factor, -1) + diagonal[..., None] * jnp.eye(factor.shape[-1])


def _factor(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the factor of a covariance that `_triangular` takes back."""
    root = np.linalg.cholesky(covariance)
    np.fill_diagonal(root, np.log(np.diagonal(root)))
    return np.asarray(root)

"""Posterior families q(z|x): frozen settings; see `omokage.density` for the two methods that each has.

All but the point mass draw z by a map that is smooth in their parameters, as training needs.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax import Array
from numpy.typing import NDArray

from omokage.adapter import NumPyroFamily
from omokage.batch import Event
from omokage.density import Output, Parameters
from omokage.errors import ParameterError, check_counts, is_number, shown
from omokage.flows import WEIGHTS, check_steps, flow, learned_weights
from omokage.supports import Support

_FLOOR = 1e-6  # of a fitted variance, as a share of the codes' own


@dataclass(frozen=True)
class DiagonalNormal:
    """q(z|x) = N(z; μ(x), diag σ(x)²): a normal with a deviation for each latent dimension.

    Source: Kingma and Welling, "Auto-Encoding Variational Bayes", 2014.

    Example:
        >>> DiagonalNormal().distribution(mean=jnp.zeros((3, 2)), log_variance=jnp.zeros((3, 2))).variance.shape
        (3, 2)
    """

    def parameters(self, event: Event) -> Parameters:
        """Return a mean and a log-variance for each latent dimension."""
        return {"mean": Output(event.shape), "log_variance": Output(event.shape)}

    def distribution(self, mean: Array, log_variance: Array) -> dist.Distribution:
        """Return a distribution of batch shape (B,) and event shape (L,)."""
        return dist.Normal(mean, _deviation(log_variance)).to_event(1)


@dataclass(frozen=True)
class FullNormal:
    """q(z|x) = N(z; m(x), S(x)): a normal with a covariance; as a prior, a learned one.

    Example:
        >>> FullNormal().fit(np.eye(3), seed=0)["mean"].round(2).tolist()
        [0.33, 0.33, 0.33]
    """

    def parameters(self, event: Event) -> Parameters:
        """Return the mean, (L,), and the factor of the covariance, (L, L), its diagonal as logarithms."""
        return {"mean": Output(event.shape), "factor": Output((event.size, event.size))}

    def distribution(self, mean: Array, factor: Array) -> dist.Distribution:
        """Return a distribution of batch shape (B,) and event shape (L,)."""
        return dist.MultivariateNormal(mean, scale_tril=triangular(factor), validate_args=False)

    def fit(self, z: NDArray[np.floating], seed: int) -> dict[str, NDArray[np.floating]]:
        """Return the parameters of greatest likelihood for codes, (n, L)."""
        z = np.asarray(z, np.float64)
        covariance = np.cov(z, rowvar=False, ddof=0).reshape(z.shape[1], z.shape[1])
        covariance += np.eye(len(covariance)) * (_FLOOR * np.trace(covariance) / len(covariance) + 1e-12)
        return {"mean": z.mean(0), "factor": factor_of(covariance)}


@dataclass(frozen=True)
class Flow:
    """q(z|x): a normal with independent entries, bent by a flow that sees x.

    The autoregressive kind (IAF) bends most for its size, and draws in one pass; the density of a z that it has not
    drawn itself takes L passes. The coupling kind is as fast both ways.

    A flow has no mean in closed form: features are where it takes the mean of the normal. With one latent dimension
    there is nothing to bend by.

    Sources: Kingma et al., "Improved Variational Inference with Inverse Autoregressive Flow", 2016. Dinh,
    Sohl-Dickstein and Bengio, "Density estimation using Real NVP", 2017.

    Attributes:
        kind: "autoregressive" or "coupling".
        steps: How many maps follow one another.
        width: Units of each of the two hidden layers of a map.
        context: How many features of x each map sees.
    """

    kind: Literal["autoregressive", "coupling"] = "autoregressive"
    steps: int = 2
    width: int = 64
    context: int = 16
    layer_weights: ClassVar[tuple[str, ...]] = WEIGHTS

    def __post_init__(self) -> None:
        """Check the settings, which are used long after."""
        check_counts(self, "width", "context")
        check_steps(self)
        if self.kind not in ("autoregressive", "coupling"):
            raise ParameterError(f"Flow(kind={self.kind!r}): expected 'autoregressive' or 'coupling'.")

    def parameters(self, event: Event) -> Parameters:
        """Return mean and log-variance of the normal, (L,), what the maps see of x, (C,), and their weights."""
        return {
            "mean": Output(event.shape),
            "log_variance": Output(event.shape),
            "context": Output((self.context,)),
            **learned_weights(event.size, self.steps, self.width, self.context),
        }

    def distribution(self, mean: Array, log_variance: Array, context: Array, **weights: Array) -> dist.Distribution:
        """Return a distribution of batch shape (B,) and event shape (L,)."""
        base = dist.Normal(mean, _deviation(log_variance)).to_event(1)
        return dist.TransformedDistribution(base, flow(self.kind, weights, context))


@dataclass(frozen=True)
class LogisticNormal:
    """q(z|x): a normal with independent entries, squeezed into an interval; for priors on one, such as the uniform.

    Attributes:
        low, high: The ends of the interval.
    """

    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        """Check the settings, which are used long after."""
        if not (is_number(self.low) and is_number(self.high) and self.low < self.high):
            raise ParameterError(
                f"LogisticNormal(low={shown(self.low)}, high={shown(self.high)}): expected two numbers, low below high."
            )

    @property
    def support(self) -> Support:
        """The interval."""
        return Support(f"numbers from {self.low:.6g} to {self.high:.6g}", self.low, self.high)

    def parameters(self, event: Event) -> Parameters:
        """Return mean and log-variance of the normal for each latent dimension."""
        return {"mean": Output(event.shape), "log_variance": Output(event.shape)}

    def distribution(self, mean: Array, log_variance: Array) -> dist.Distribution:
        """Return a distribution of batch shape (B,) and event shape (L,)."""
        # Beyond 12 the ends of the interval and what lies near them are one number in float32.
        base = dist.Normal(jnp.clip(mean, -12.0, 12.0), _deviation(log_variance))
        squeeze = dist.biject_to(dist.constraints.interval(self.low, self.high))
        return dist.TransformedDistribution(base, squeeze).to_event(1)


@dataclass(frozen=True)
class PointMass:
    """q(z|x) = δ(z - μ(x)): the code of a plain autoencoder; it has no density and no KL."""

    def parameters(self, event: Event) -> Parameters:
        """Return a value for each latent dimension."""
        return {"mean": Output(event.shape)}

    def distribution(self, mean: Array) -> dist.Distribution:
        """Return a distribution of batch shape (B,) and event shape (L,)."""
        return dist.Delta(mean, event_dim=1)


@dataclass(frozen=True)
class NumPyro(NumPyroFamily):
    """Any distribution of NumPyro over z whose draws are smooth in its parameters; see `NumPyroFamily`.

    One that is of numbers is taken for each latent dimension. As a prior, what is not given is learned.

    Example:
        >>> NumPyro("Gamma").distribution(concentration=jnp.zeros((3, 2)), rate=jnp.zeros((3, 2))).event_shape
        (2,)
    """

    @property
    def smooth(self) -> bool:
        """Whether draws are smooth in the parameters."""
        free = [name for name in self._wanted if name not in self._given]
        return set(free) <= set(self._class.reparametrized_params) and not self.support.whole

    def distribution(self, **parameters: Array) -> dist.Distribution:
        """Return a distribution of event shape (L,)."""
        made: Any = super().distribution(**parameters)
        return made if self.event_dim else made.to_event(1)


def triangular(factor: Array) -> Array:
    """Return lower triangular matrices, (..., L, L), from factors whose diagonals are logarithms."""
    diagonal = jnp.exp(jnp.clip(jnp.diagonal(factor, axis1=-2, axis2=-1), -15.0, 10.0))
    return jnp.tril(factor, -1) + diagonal[..., None] * jnp.eye(factor.shape[-1])


def factor_of(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the factor of a covariance that `triangular` takes back."""
    root = np.linalg.cholesky(covariance)
    np.fill_diagonal(root, np.log(np.diagonal(root)))
    return np.asarray(root)


def _deviation(log_variance: Array) -> Array:
    # Within float32 on both sides: deviations from 3e-7 to 2e4.
    return jnp.exp(0.5 * jnp.clip(log_variance, -30.0, 20.0))

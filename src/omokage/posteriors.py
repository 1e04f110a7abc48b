"""Posterior families q(z|x): frozen settings; see `omokage.density` for the two methods that each has."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpyro.distributions as dist
from jax import Array

from omokage.batch import Event
from omokage.density import Output, Parameters


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
        # Within float32 on both sides: deviations from 3e-7 to 2e4.
        return dist.Normal(mean, jnp.exp(0.5 * jnp.clip(log_variance, -30.0, 20.0))).to_event(1)


@dataclass(frozen=True)
class PointMass:
    """q(z|x) = δ(z - μ(x)): the code of a plain autoencoder; it has no density and no KL."""

    def parameters(self, event: Event) -> Parameters:
        """Return a value for each latent dimension."""
        return {"mean": Output(event.shape)}

    def distribution(self, mean: Array) -> dist.Distribution:
        """Return a distribution of batch shape (B,) and event shape (L,)."""
        return dist.Delta(mean, event_dim=1)

"""A model: posterior q(z|x), likelihood p(x|z) and prior p(z), and the handling of draws; nothing else.

A model owns no loss. Draws have a leading dimension K: z is (K, B, L) and log-densities are (K, B), in nats,
summed over features. Networks see plain batches, so K and B are folded into one on the way through them.
"""

import dataclasses
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jax import Array
from numpyro.distributions import Delta, Distribution
from numpyro.distributions.kl import kl_divergence

from omokage.batch import Batch
from omokage.density import Density
from omokage.nets.layers import TrainingPass


class Model(eqx.Module):
    """The three parts; `training` is set only inside a training step."""

    posterior: Density
    likelihood: Density
    prior: Density
    training: TrainingPass | None = eqx.field(static=True, default=None)

    def in_training(self, training: TrainingPass) -> "Model":
        """Return the model with dropout on and batch statistics from the batch."""
        return dataclasses.replace(self, training=training)

    def encode(self, batch: Batch) -> Distribution:
        """Return q(z|x), batch shape (B,), event shape (L,)."""
        return self.posterior(batch.seen, batch, self.training)

    def decode(self, z: Array, batch: Batch | None = None) -> Distribution:
        """Return p(x|z) for z of shape (..., L): batch shape (rows of z, *event), leading dimensions folded.

        `batch` says how many steps there are, where rows are sequences, and what the rows are conditioned on.
        """
        folded = z.reshape(-1, z.shape[-1])
        if batch is not None and len(batch.x) != len(folded):
            copies = len(folded) // len(batch.x)
            batch = batch.map(lambda a: jnp.broadcast_to(a, (copies, *a.shape)).reshape(-1, *a.shape[1:]))
        return self.likelihood(folded, batch, self.training)

    def latent(self, batch: Batch | None = None) -> Distribution:
        """Return p(z), event shape (L,)."""
        return self.prior(None, batch, self.training)

    def log_likelihoods(self, z: Array, batch: Batch) -> Array:
        """Return log p(x|z) of every entry, (K, B, *event), for z of shape (K, B, L); unobserved entries are 0."""
        given = self.decode(z, batch)
        folded = given.batch_shape[0] == z.shape[0] * z.shape[1]
        if folded and z.shape[0] > 1:
            x = jnp.broadcast_to(batch.x, (z.shape[0], *batch.x.shape)).reshape(-1, *batch.x.shape[1:])
            densities = given.log_prob(x)
        else:
            densities = given.log_prob(batch.x)
        densities = densities.reshape(*z.shape[:2], *batch.x.shape[1:])
        observed = batch.observed
        return densities if observed is None else jnp.where(observed, densities, 0)

    def log_likelihood(self, z: Array, batch: Batch) -> Array:
        """Return log p(x|z) of every row, (K, B), for z of shape (K, B, L)."""
        densities = self.log_likelihoods(z, batch)
        return densities.sum(tuple(range(2, densities.ndim)))


def is_point_mass(posterior: Distribution) -> bool:
    """Say whether a posterior has no density, as a plain autoencoder's."""
    return isinstance(posterior, Delta)


def divergence(posterior: Distribution, prior: Distribution) -> Array | None:
    """Return KL(q‖p) of each row in closed form, (B,), or `None` where there is no closed form."""
    try:
        return kl_divergence(posterior, prior)
    except NotImplementedError:
        return None


def divergences(posterior: Distribution, prior: Distribution) -> Array | None:
    """Return KL(q‖p) of each row and latent dimension, (B, L), or `None` where they do not factorise."""
    parts: list[Any] = [getattr(part, "base_dist", None) for part in (posterior, prior)]
    if any(part is None or part.event_shape for part in parts):
        return None
    return divergence(*parts)

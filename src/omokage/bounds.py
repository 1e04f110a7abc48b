"""What objectives are made of: bounds of a batch and their gradients, and what an objective says of itself.

Draws z are (K, B, L), log-densities (K, B), bounds (B,), in nats.
"""

from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpyro.distributions import Distribution

from omokage.batch import Batch
from omokage.density import draw
from omokage.model import Model, divergence, repeated, stopped

Terms = dict[str, Array]


@dataclass(frozen=True)
class Meaning:
    """What the loss of an objective is at the end of training; diagnoses are made of it.

    An objective says it by an attribute `meaning`. Of one that says nothing nothing is claimed.

    Attributes:
        kl: The weight of KL(q‖p) as a whole; `None`: there is no such term, or it has no single weight.
        bound: Where -loss lies, on average over rows: "elbo": it is the ELBO; "tighter": between the ELBO and log p(x);
            "looser": below the ELBO; "": nowhere for certain.
        text: What its terms weigh and whether it is a bound, in sentences, where `kl` and `bound` do not say all.
        rows: Of which rows that holds, in a sentence, where not of the rows as they are.
    """

    kl: float | None
    bound: Literal["elbo", "tighter", "looser", ""] = ""
    text: str = ""
    rows: str = ""


def meaning_of(objective: Any) -> Meaning | None:
    """Return what an objective says of itself; `None` where it says nothing."""
    found = getattr(objective, "meaning", None)
    return found if isinstance(found, Meaning) else None


def meaning_of_draws(samples: int, more: str = "") -> Meaning:
    """Return the meaning of an importance-weighted bound."""
    if samples == 1 and not more:
        return Meaning(1.0, "elbo")
    text = (
        f"The loss is the negative of an importance-weighted bound of {samples} draws, which is a bound on log p(x) "
        f"and tighter than the ELBO. Compare it at equal numbers of draws.{more}"
    )
    return Meaning(1.0, "tighter", text)


def discrepancy(z: Array, other: Array, weight: Array | None = None, other_weight: Array | None = None) -> Array:
    """Return the squared maximum mean discrepancy between codes, (n, L), and draws, (m, L); in expectation 0 or more.

    `weight`, (n,), and `other_weight`, (m,), say how much each of them counts; `None`: one each.

    The kernel is Σ_s C_s / (C_s + ‖a - b‖²) with C_s = 2 L s for s from 0.1 to 10, as Tolstikhin et al. take.
    """
    share = jnp.ones(len(z)) if weight is None else weight
    other_share = jnp.ones(len(other)) if other_weight is None else other_weight

    def kernel(a: Array, b: Array) -> Array:
        squares = jnp.square(a[:, None] - b).sum(-1)
        sizes = 2 * z.shape[-1] * jnp.array([0.1, 0.2, 0.5, 1, 2, 5, 10])
        return (sizes / (sizes + squares[..., None])).sum(-1)

    def apart(values: Array, share: Array) -> Array:  # pairs of unlike rows
        pairs = share[:, None] * share * (1 - jnp.eye(len(share)))
        return (pairs * values).sum() / jnp.maximum(pairs.sum(), 1e-12)

    across = jnp.average(jnp.average(kernel(z, other), axis=1, weights=other_share), weights=share)
    return apart(kernel(z, z), share) + apart(kernel(other, other), other_share) - 2 * across


def ramp(epoch: Array, warmup: float, cycle: float | None = None) -> Array | float:
    """Return the share of a weight that counts at this time: it rises from 0 to 1, anew in each cycle."""
    if not warmup:
        return 1.0
    if cycle is not None:
        epoch = jnp.where(jnp.isfinite(epoch), epoch % cycle, epoch)
    return jnp.minimum(1.0, epoch / warmup)


def reconstruction(model: Model, batch: Batch, key: Array) -> tuple[Array, Array]:
    """Return one z of each row, (B, L), and log p(x|z), (B,)."""
    z = model.encode(batch).sample(key)
    return z, model.log_likelihood(z[None], batch)[0]


def row_weights(batch: Batch) -> Array:
    """Return how much each row counts, (B,)."""
    return jnp.ones(len(batch.x)) if batch.weight is None else batch.weight


def bound(model: Model, posterior: Distribution, batch: Batch, key: Array, samples: int) -> tuple[Array, Array, Array]:
    """Return E_q log p(x|z), (B,), KL(q‖p), (B,), and the z that were drawn, (K, B, L)."""
    prior = model.latent(batch)
    z, log_q = draw(posterior, key, (samples,))
    kl = divergence(posterior, prior)
    if kl is None:  # the same draws serve
        kl = (log_q - prior.log_prob(z)).mean(0)
    return model.log_likelihood(z, batch).mean(0), kl, z


def draws(model: Model, batch: Batch, key: Array, samples: int) -> tuple[Array, Array]:
    """Return z from the posterior, (K, B, L), and log q(z|x), (K, B)."""
    return draw(model.encode(batch), key, (samples,))


def from_prior(model: Model, batch: Batch, z: Array, key: Array) -> Array:
    """Return the discrepancy between codes, (B, L), and as many draws from the prior, of the rows that count."""
    prior = model.latent(batch)
    if prior.batch_shape:  # depends on the context, so that each draw belongs to a row
        return discrepancy(z, prior.sample(key), batch.weight, batch.weight)
    return discrepancy(z, prior.sample(key, (len(z),)), batch.weight)


def log_weights(model: Model, batch: Batch, z: Array, log_q: Array) -> Array:
    """Return log p(x, z) - log q(z|x), (K, B)."""
    return model.log_likelihood(z, batch) + model.latent(batch).log_prob(z) - log_q


def log_mean(weights: Array, axis: int = 0) -> Array:
    """Return the logarithm of the mean of weights given by their logarithms."""
    return jax.nn.logsumexp(weights, axis=axis) - np.log(weights.shape[axis])


def weighted(bound: Array, weights: Array) -> Terms:
    """Return the terms of an importance-weighted bound, (B,)."""
    effective = jnp.exp(2 * jax.nn.logsumexp(weights, 0) - jax.nn.logsumexp(2 * weights, 0))
    return {"loss": -bound, "elbo": weights.mean(0), "effective_samples": effective}


def pull(model: Model, batch: Batch, z: Array, log_q: Array, outer: Array, inner: Array) -> Array:
    """Return a zero for each row, (B,), whose gradient is that of log weights summed with weights of their own.

    `outer` weighs the draws for the decoder and the prior, `inner` for the encoder, through z and log q. Both forward
    passes are one to the compiler.
    """
    first, second = repeated(model), repeated(model)
    for_model = (outer * log_weights(first, batch, stopped(z), stopped(log_q))).sum(0)
    for_encoder = (inner * log_weights(stopped(second), batch, z, log_q)).sum(0)
    both = for_model + for_encoder
    return both - stopped(both)

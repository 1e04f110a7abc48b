"""Annealed importance sampling: a stricter estimate of log p(x) than importance weighting, for a few rows.

Chains start at q(z|x) and are led to p(x, z) over T temperatures, f_t = q^(1-β_t) p(x, z)^β_t, by Hamiltonian Monte
Carlo; the weight of a chain is the product of the ratios f_t / f_(t-1) on its way. The mean weight is p(x) in
expectation, so the logarithm is too low by little more than its own noise, also where q is a poor posterior and
importance weighting is off by nats. It costs T · (leaps + 1) gradients of log p(x, z) a chain.

Step sizes come from a first run with other noise, and stay: chains that tuned their own would not be unbiased.

Sources: Neal, "Annealed Importance Sampling", 2001. Wu et al., "On the Quantitative Analysis of Decoder-Based
Generative Models", 2017.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from omokage.batch import Batch
from omokage.inference import over_rows
from omokage.model import Model, width
from omokage.questions import log_mean_weight

_LEAPS = 5
_ACCEPTED = 0.65  # the share of moves that should be; Neal, "MCMC using Hamiltonian dynamics", 2011


def annealed_log_likelihood(
    model: Model, rows: Batch, chains: int, temperatures: int, seed: int = 0
) -> dict[str, NDArray[np.float32]]:
    """Return an estimate of log p(x) of each row, "bound", in nats of standardised x, and its "error", (n,) each.

    Args:
        model: One whose z can be any real numbers.
        rows: n of them.
        chains: C.
        temperatures: T, the steps from q(z|x) to p(x, z).
        seed: Of the noise, which is common to all rows.
    """
    return over_rows(_annealed, model, rows, jax.random.key(seed), chains, temperatures)


def _annealed(model: Model, batch: Batch, key: Array, chains: int, temperatures: int) -> dict[str, Array]:
    posterior, prior = model.encode(batch), model.latent(batch)
    outputs = model.posterior_outputs(batch)
    widths = jax.lax.stop_gradient(width(posterior))  # (B, L), so that one step size serves all dimensions
    times = jnp.linspace(-4.0, 4.0, temperatures + 1)  # small steps at both ends, where f changes most
    betas = (jax.nn.sigmoid(times) - jax.nn.sigmoid(times[0])) / (jax.nn.sigmoid(times[-1]) - jax.nn.sigmoid(times[0]))

    def parts(z: Array) -> tuple[Array, Array]:
        return posterior.log_prob(z), model.log_likelihood(z, batch) + prior.log_prob(z)

    def log_f(z: Array, beta: Array) -> Array:
        start, end = parts(z)
        return (1 - beta) * start + beta * end

    slope = jax.grad(lambda z, beta: log_f(z, beta).sum())

    def moved(z: Array, beta: Array, size: Array, key: Array) -> tuple[Array, Array]:
        """Return z after one move, (C, B, L), and which chains took it, (C, B)."""
        here, there = jax.random.split(key)
        momentum = jnp.broadcast_to(jax.random.normal(here, (chains, 1, z.shape[-1])), z.shape)
        step = size[:, None] * widths

        def leap(_: int, state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            place, speed, force = state
            speed = speed + 0.5 * step * force
            place = place + step * speed
            force = slope(place, beta)
            return place, speed + 0.5 * step * force, force

        place, speed, _ = jax.lax.fori_loop(0, _LEAPS, leap, (z, momentum, slope(z, beta)))
        before = log_f(z, beta) - 0.5 * jnp.square(momentum).sum(-1)
        after = log_f(place, beta) - 0.5 * jnp.square(speed).sum(-1)
        taken = jnp.log(jax.random.uniform(there, (chains, 1))) < after - before  # no where it is not a number
        return jnp.where(taken[..., None], place, z), taken

    def run(key: Array, sizes: Array | None) -> tuple[Array, Array]:
        """Return log-weights, (C, B), and the step sizes, (T, B); tuned on the way where none are given."""
        start, key = jax.random.split(key)
        same = jnp.broadcast_to(start, (batch.x.shape[0],))  # noise, for all rows
        z = jnp.moveaxis(model.posterior.draw(outputs, same, (chains,))[0], 1, 0)  # (C, B, L)

        def one(state: tuple[Array, Array, Array], at: tuple[Array, Array, Array, Array]) -> tuple[Any, Array]:
            z, weights, size = state
            before, beta, key, given = at
            first, last = parts(z)
            weights = weights + (beta - before) * (last - first)
            size = given if sizes is not None else size
            z, taken = moved(z, beta, size, key)
            tuned = size * jnp.exp(0.3 * (taken.mean(0) - _ACCEPTED))
            return (z, weights, tuned), size

        given = jnp.zeros((temperatures, len(batch.x))) if sizes is None else sizes
        first = (z, jnp.zeros(z.shape[:2]), jnp.full(len(batch.x), 0.5))
        steps = (betas[:-1], betas[1:], jax.random.split(key, temperatures), given)
        (_, weights, _), used = jax.lax.scan(one, first, steps)
        return weights, used

    pilot, final = jax.random.split(key)
    weights = run(final, run(pilot, None)[1])[0]
    return log_mean_weight(jax.nn.logsumexp(weights, 0), jax.nn.logsumexp(2 * weights, 0), chains)

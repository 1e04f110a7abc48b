"""What a trained model is asked: codes, reconstructions, densities, samples. Never the training forward.

Everything goes in micro-batches of 256 rows inside one compiled program, so the result of a row is the same, to the
bit, alone or among others. Draws are explicit: those for densities are common to all rows, those for a drawn
reconstruction depend on the key and the row's own content, those for samples on the key and the number of the
sample; so none depends on how the rows were batched.
"""

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from omokage.batch import Batch
from omokage.model import Model, divergence, is_point_mass

_ROWS = 256
_MICRO_BATCHES = 16
_DRAWS = 32  # drawn at a time where many are asked for

Function = Callable[..., Any]


def encode(model: Model, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the posterior means, (n, L)."""
    return _over_rows(_encode, model, x)


def decode(model: Model, z: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the means of p(x|z), (n, *event), for z of shape (n, L)."""
    return _over_rows(_decode, model, z)


def reconstruct(model: Model, x: NDArray[np.float32], seed: int | None = None) -> NDArray[np.float32]:
    """Return the mean of p(x|z) at the posterior mean, or with a seed at a drawn z, (n, *event)."""
    if seed is None:
        return _over_rows(_reconstruct, model, x)
    return _over_rows(_reconstruct_drawn, model, x, jax.random.key(seed))


def sample(model: Model, count: int, seed: int, mean: bool = False) -> NDArray[np.float32]:
    """Return draws from p(x), or with `mean` the means of p(x|z) at draws of z, (count, *event)."""
    numbers = np.arange(count, dtype=np.uint32)
    return _over_rows(_sample_mean if mean else _sample, model, numbers, jax.random.key(seed))


def terms(model: Model, x: NDArray[np.float32], samples: int, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Return the parts of the bound of each row, in nats of standardised x, (n,) each.

    Args:
        model: The model.
        x: (n, *event).
        samples: K, how many z are drawn.
        seed: Of the draws, which are common to all rows.

    Returns:
        "reconstruction" (E_q log p(x|z)), "kl", and "elbo", their difference. For a point mass only
        "reconstruction".

    The bound is the mean of log p(x,z) - log q(z|x): where q is near the true posterior this hardly varies, much
    less than log p(x|z) does. Where the KL has a closed form, the reconstruction is bound plus KL; it is unbiased too.
    """
    return _over_rows(_terms, model, x, jax.random.key(seed), samples)


def log_likelihood(model: Model, x: NDArray[np.float32], samples: int, seed: int = 0) -> NDArray[np.float32]:
    """Return the importance-weighted bound on log p(x) of each row, in nats of standardised x, (n,).

    Source: Burda, Grosse and Salakhutdinov, "Importance Weighted Autoencoders", 2016. The draws are common to all
    rows and come `_DRAWS` at a time, so memory does not grow with their number.
    """
    return _over_rows(_log_likelihood, model, x, jax.random.key(seed), samples)


def _encode(model: Model, x: Array) -> Array:
    return model.encode(Batch(x)).mean


def _decode(model: Model, z: Array) -> Array:
    return model.decode(z).mean


def _reconstruct(model: Model, x: Array) -> Array:
    return model.decode(model.encode(Batch(x)).mean).mean


def _reconstruct_drawn(model: Model, x: Array, key: Array) -> Array:
    z = _draw_by_content(model, x, key)
    return model.decode(z).mean


def _draw_by_content(model: Model, x: Array, key: Array) -> Array:
    """Draw z for each row with a key of its own, made from the row's content, (B, L)."""
    bits = jax.lax.bitcast_convert_type(x.reshape(len(x), -1), jnp.uint32)
    places = jnp.arange(1, 2 * bits.shape[1], 2, dtype=jnp.uint32) * jnp.uint32(0x9E3779B1)
    # Mixed before they are added up: floats such as 0 and 1 differ in their upper bits only.
    mixed = (bits ^ (bits >> 16) ^ places) * jnp.uint32(0x7FEB352D)
    mixed = (mixed ^ (mixed >> 15)) * jnp.uint32(0x846CA68B)
    hashes = (mixed ^ (mixed >> 16)).sum(1, dtype=jnp.uint32)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, hashes)
    return model.posterior.draw(model.posterior.outputs(x), keys)


def _sample(model: Model, numbers: Array, key: Array) -> Array:
    z, keys = _prior_draws(model, numbers, key)
    return model.likelihood.draw(model.likelihood.outputs(z), keys).astype(jnp.float32)


def _sample_mean(model: Model, numbers: Array, key: Array) -> Array:
    return _decode(model, _prior_draws(model, numbers, key)[0])


def _prior_draws(model: Model, numbers: Array, key: Array) -> tuple[Array, Array]:
    """Return a z for each number, (B, L), and a key for what comes after it, (B,)."""
    keys = jax.vmap(lambda number: jax.random.split(jax.random.fold_in(key, number)))(numbers)
    return jax.vmap(lambda key: model.latent().sample(key))(keys[:, 0]), keys[:, 1]


def _common_draws(model: Model, x: Array, key: Array, samples: int) -> Array:
    """Return draws of z from the same noise for all rows, (K, B, L)."""
    outputs = model.posterior.outputs(x)
    keys = jnp.broadcast_to(key, (len(x),))
    return jnp.moveaxis(model.posterior.draw(outputs, keys, (samples,)), 1, 0)


def _terms(model: Model, x: Array, key: Array, samples: int) -> dict[str, Array]:
    batch = Batch(x)
    posterior, prior = model.encode(batch), model.latent()
    if is_point_mass(posterior):
        return {"reconstruction": model.log_likelihood(posterior.mean[None], batch)[0]}

    def more(total: tuple[Array, Array], z: Array, kept: Array) -> tuple[Array, Array]:
        ratio = posterior.log_prob(z) - prior.log_prob(z)
        bound = model.log_likelihood(z, batch) - ratio
        return total[0] + jnp.where(kept, bound, 0).sum(0), total[1] + jnp.where(kept, ratio, 0).sum(0)

    zero = jnp.zeros(len(x))
    bound, ratio = (total / samples for total in _over_draws(more, (zero, zero), model, x, key, samples))
    kl = divergence(posterior, prior)
    kl = ratio if kl is None else kl
    return {"reconstruction": bound + kl, "kl": kl, "elbo": bound}


def _log_likelihood(model: Model, x: Array, key: Array, samples: int) -> Array:
    batch = Batch(x)
    posterior, prior = model.encode(batch), model.latent()

    def more(total: Array, z: Array, kept: Array) -> Array:
        weights = model.log_likelihood(z, batch) + prior.log_prob(z) - posterior.log_prob(z)
        return jnp.logaddexp(total, jax.nn.logsumexp(jnp.where(kept, weights, -jnp.inf), 0))

    total = _over_draws(more, jnp.full(len(x), -jnp.inf), model, x, key, samples)
    return total - math.log(samples)


def _over_draws(
    more: Callable[[Any, Array, Array], Any], start: Any, model: Model, x: Array, key: Array, samples: int
) -> Any:
    """Fold `more(total, z, kept)` over draws, some at a time: z is (k, B, L); `kept`, (k, 1), says which count."""
    size = min(samples, _DRAWS)
    parts = -(-samples // size)

    def one(total: Any, part: tuple[Array, Array]) -> tuple[Any, None]:
        number, key = part
        kept = (number * size + jnp.arange(size) < samples)[:, None]
        return more(total, _common_draws(model, x, key, size), kept), None

    return jax.lax.scan(one, start, (jnp.arange(parts), jax.random.split(key, parts)))[0]


def _over_rows(function: Function, model: Model, rows: NDArray[Any], *arguments: Any) -> Any:
    """Return `function(model, micro-batch, *arguments)` for all rows, as NumPy arrays with n rows."""
    capacity = 1 if len(rows) <= _ROWS else _MICRO_BATCHES
    pieces = []
    for start in range(0, len(rows), capacity * _ROWS):
        part = rows[start : start + capacity * _ROWS]
        padded = np.zeros((capacity * _ROWS, *rows.shape[1:]), rows.dtype)
        padded[: len(part)] = part
        batches = padded.reshape(capacity, _ROWS, *rows.shape[1:])
        result = _run(function, model, jnp.asarray(batches), jnp.int32(-(-len(part) // _ROWS)), *arguments)
        pieces.append(jax.tree.map(lambda a: np.asarray(a).reshape(-1, *a.shape[2:]), result))
    return jax.tree.map(lambda *parts: np.concatenate(parts)[: len(rows)], *pieces)


@eqx.filter_jit
def _run(function: Function, model: Model, batches: Array, count: Array, *arguments: Any) -> Any:
    """Run `function` on the first `count` micro-batches of (M, 256, ...), one after the other."""
    shapes = jax.eval_shape(lambda: function(model, batches[0], *arguments))
    empty = jax.tree.map(lambda shape: jnp.zeros((len(batches), *shape.shape), shape.dtype), shapes)

    def one(i: Array, results: Any) -> Any:
        return jax.tree.map(lambda all_, new: all_.at[i].set(new), results, function(model, batches[i], *arguments))

    return jax.lax.fori_loop(0, count, one, empty)

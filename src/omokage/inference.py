"""What a trained model is asked: codes, reconstructions, densities, samples. Never the training forward.

Everything goes in micro-batches of 256 rows inside one compiled program, so the result of a row is the same, to the
bit, alone or among others. Draws are explicit: those for densities are common to all rows, those for a drawn
reconstruction depend on the key and the row's own content, those for samples on the key and the number of the
sample; so none depends on how the rows were batched.
"""

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from omokage.batch import Batch
from omokage.model import Model, centre, divergence, divergences, is_point_mass, spread

_ROWS = 256
_FEW = 16  # micro-batches
_CAPACITIES = 1, _FEW, 64, 256  # micro-batches that one program may take at once
_SHORT = 256  # numbers in a row
_THREADS = min(8, os.cpu_count() or 1)
_POOL = ThreadPoolExecutor(_THREADS, "omokage")  # since a program of small matrices keeps one core busy
_DRAWS = 32  # drawn at a time where many are asked for
_compiled: set[Any] = set()  # what tells programs apart that have run

Function = Callable[..., Any]


def encode(model: Model, rows: Batch) -> NDArray[np.float32]:
    """Return the posterior means, (n, L)."""
    return over_rows(row_means, model, rows)


def codes(model: Model, rows: Batch, seed: int) -> NDArray[np.float32]:
    """Return a z drawn from the posterior of each row, (n, L); of a point mass, the point."""
    return over_rows(_draw_by_content, model, rows, jax.random.key(seed))


def deviations(model: Model, rows: Batch) -> NDArray[np.float32]:
    """Return the standard deviations of the posterior in each latent dimension, (n, L)."""
    return over_rows(_deviations, model, rows)


def decode(model: Model, z: NDArray[np.float32], rows: Batch | None = None) -> NDArray[np.float32]:
    """Return the means of p(x|z), (n, *event), for z of shape (n, L); where rows are sequences, as long as `rows`."""
    return over_rows(_decode, model, (z, rows))


def reconstruct(model: Model, rows: Batch, seed: int | None = None) -> NDArray[np.float32]:
    """Return the mean of p(x|z) at the posterior mean, or with a seed at a drawn z, (n, *event)."""
    if seed is None:
        return over_rows(row_reconstruction, model, rows)
    return over_rows(_reconstruct_drawn, model, rows, jax.random.key(seed))


def sample(
    model: Model, count: int, seed: int, mean: bool = False, rows: Batch | None = None, first: Any = None
) -> NDArray[np.float32]:
    """Return draws from p(x), or with `mean` the means of p(x|z) at draws of z, (count, *event).

    Args:
        model: The model.
        count: How many.
        seed: Of the draws.
        mean: Without the noise of p(x|z).
        rows: Where rows are sequences: as many, as long as the draws shall be.
        first: The numbers of the draws, (count,), on which each depends; `None`: from 0 on.
    """
    numbers = np.arange(count, dtype=np.uint32) if first is None else np.asarray(first, np.uint32)
    return over_rows(_sample_mean if mean else _sample, model, (numbers, rows), jax.random.key(seed))


def scales(model: Model, rows: Batch) -> NDArray[np.float32]:
    """Return the deviation of p(x|z) at the posterior mean for each entry, (n, *event)."""
    return over_rows(_scales, model, rows)


def terms(model: Model, rows: Batch, samples: int, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Return the parts of the bound of each row, in nats of standardised x, (n,) each.

    Args:
        model: The model.
        rows: n of them.
        samples: K, how many z are drawn.
        seed: Of the draws, which are common to all rows.

    Returns:
        "reconstruction" (E_q log p(x|z)), "kl", and "elbo", their difference. For a point mass only
        "reconstruction".

    The bound is the mean of log p(x,z) - log q(z|x): where q is near the true posterior this hardly varies, much
    less than log p(x|z) does. Where the KL has a closed form, the reconstruction is bound plus KL; it is unbiased too.
    """
    return over_rows(row_terms, model, rows, jax.random.key(seed), samples)


def entries(model: Model, rows: Batch, samples: int, seed: int = 0) -> NDArray[np.float32]:
    """Return E_q log p(x|z) of each entry, in nats of standardised x, (n, *event), by K draws common to all rows."""
    return over_rows(_entries, model, rows, jax.random.key(seed), samples)


def kl_by_dimension(model: Model, rows: Batch) -> NDArray[np.float32] | None:
    """Return KL(q‖p) of each row and latent dimension, (n, L), in nats; `None` where it does not factorise."""
    first = rows.map(lambda array: array[:1])
    if jax.eval_shape(lambda: _divergences(model, first)) is None:
        return None
    return over_rows(_divergences, model, rows)


def log_likelihood(model: Model, rows: Batch, samples: int, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Return the importance-weighted "bound" on log p(x) of each row, in nats of standardised x, and its "error", (n,).

    The error is the standard error of the bound as an estimate of log p(x), by the deviation of the weights; with one
    draw there is none, and it is 0. It is good where it is well below 1; where a few draws have all the weight it is
    too small, as every such estimate.

    Source: Burda, Grosse and Salakhutdinov, "Importance Weighted Autoencoders", 2016. The draws are common to all
    rows and come `_DRAWS` at a time, so memory does not grow with their number.
    """
    return over_rows(row_log_likelihood, model, rows, jax.random.key(seed), samples)


def impute(model: Model, rows: Batch, rounds: int, samples: int, seed: int = 0) -> NDArray[np.float32]:
    """Return x with what was not observed replaced by its mean given what was, (n, *event).

    First the holes are filled with the model's own reconstruction, again and again (Rezende, Mohamed and Wierstra,
    "Stochastic Backpropagation", 2014, section 6), so that the posterior sees likely rows. Then K draws from it are
    weighted by p(x_observed, z) / q(z|x), and the decoder's means averaged with these weights (Mattei and Frellsen,
    "MIWAE", 2019, equation 14).

    Args:
        model: The model.
        rows: With a `mask`.
        rounds: How often the holes are filled before.
        samples: K.
        seed: Of the draws.
    """
    return over_rows(_impute, model, rows, jax.random.key(seed), rounds, samples)


def row_means(model: Model, batch: Batch) -> Array:
    """Return what `encode` does, of one micro-batch."""
    return centre(model.encode(batch))


def _deviations(model: Model, batch: Batch) -> Array:
    return spread(model.encode(batch))


def _scales(model: Model, batch: Batch) -> Array:
    given = model.decode(row_means(model, batch), batch)
    return jnp.broadcast_to(jnp.sqrt(given.variance), batch.x.shape)


def _divergences(model: Model, batch: Batch) -> Array | None:
    return divergences(model.encode(batch), model.latent(batch))


def _decode(model: Model, rows: tuple[Array, Batch | None]) -> Array:
    return model.decode(*rows).mean


def row_reconstruction(model: Model, batch: Batch) -> Array:
    """Return what `reconstruct` does without a seed, of one micro-batch."""
    return model.decode(row_means(model, batch), batch).mean


def _reconstruct_drawn(model: Model, batch: Batch, key: Array) -> Array:
    return model.decode(_draw_by_content(model, batch, key), batch).mean


def _draw_by_content(model: Model, batch: Batch, key: Array) -> Array:
    """Draw z for each row with a key of its own, made from the row's content, (B, L)."""
    bits = jax.lax.bitcast_convert_type(batch.x, jnp.uint32)
    places = jnp.arange(1, 2 * math.prod(bits.shape[1:]), 2, dtype=jnp.uint32).reshape(bits.shape[1:])
    # Mixed before they are added up: floats such as 0 and 1 differ in their upper bits only.
    mixed = (bits ^ (bits >> 16) ^ places * jnp.uint32(0x9E3779B1)) * jnp.uint32(0x7FEB352D)
    mixed = (mixed ^ (mixed >> 15)) * jnp.uint32(0x846CA68B)
    mixed = mixed ^ (mixed >> 16)
    if batch.observed is not None:  # so that padding makes no difference
        mixed = jnp.where(batch.observed, mixed, 0)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, mixed.reshape(len(mixed), -1).sum(1, dtype=jnp.uint32))
    return model.posterior.draw(model.posterior.outputs(model.seen(batch), batch), keys)[0]


def _sample(model: Model, rows: tuple[Array, Batch | None], key: Array) -> Array:
    numbers, batch = rows
    z, keys = _prior_draws(model, numbers, key, batch)
    drawn = model.likelihood.draw(model.likelihood.outputs(z, batch), keys)[0].astype(jnp.float32)
    return drawn if model.codec is None else model.codec.decode(drawn)


def _sample_mean(model: Model, rows: tuple[Array, Batch | None], key: Array) -> Array:
    numbers, batch = rows
    return _decode(model, (_prior_draws(model, numbers, key, batch)[0], batch))


def _prior_draws(model: Model, numbers: Array, key: Array, batch: Batch | None) -> tuple[Array, Array]:
    """Return a z for each number, (B, L), and a key for what comes after it, (B,)."""
    keys = jax.vmap(lambda number: jax.random.split(jax.random.fold_in(key, number)))(numbers)
    if model.prior.network is None:
        return jax.vmap(model.latent().sample)(keys[:, 0]), keys[:, 1]
    assert batch is not None
    return model.prior.draw(model.prior.outputs(batch.context), keys[:, 0])[0], keys[:, 1]


def common_draws(model: Model, outputs: dict[str, Array], key: Array, samples: int) -> tuple[Array, Array]:
    """Return draws of z from the same noise for all rows, (K, B, L), and their log q(z|x), (K, B)."""
    keys = jnp.broadcast_to(key, (len(jax.tree.leaves(outputs)[0]),))
    z, densities = model.posterior.draw(outputs, keys, (samples,))
    return jnp.moveaxis(z, 1, 0), densities.T


def _entries(model: Model, batch: Batch, key: Array, samples: int) -> Array:
    if is_point_mass(model.encode(batch)):
        return model.log_likelihoods(model.encode(batch).mean[None], batch)[0]

    def more(total: Array, z: Array, log_q: Array, kept: Array) -> Array:
        densities = model.log_likelihoods(z, batch)
        return total + jnp.where(kept.reshape(-1, *[1] * (densities.ndim - 1)), densities, 0).sum(0)

    return _over_draws(more, jnp.zeros(batch.x.shape), model, batch, key, samples) / samples


def _impute(model: Model, batch: Batch, key: Array, rounds: int, samples: int) -> Array:
    known = batch.mask if batch.mask is not None else jnp.ones(batch.x.shape, bool)

    def filled(_: Any, x: Array) -> Array:
        return jnp.where(known, batch.x, row_reconstruction(model, batch._replace(x=x)))

    # In the network's eyes the filled entries are observed; in the density only those that were.
    full = batch._replace(x=jax.lax.fori_loop(0, rounds, filled, batch.x), mask=None)
    prior = model.latent(batch)
    z, log_q = common_draws(model, model.posterior.outputs(model.seen(full), full), key, samples)
    weights = model.log_likelihood(z, batch) + prior.log_prob(z) - log_q  # (K, B)
    shares = jax.nn.softmax(weights, axis=0)
    means = model.decode(z, batch).mean.reshape(*z.shape[:2], *batch.x.shape[1:])
    average = (shares.reshape(*shares.shape, *[1] * (batch.x.ndim - 1)) * means).sum(0)
    return jnp.where(known, batch.x, average)


def row_terms(model: Model, batch: Batch, key: Array, samples: int) -> dict[str, Array]:
    """Return what `terms` does, of one micro-batch."""
    posterior, prior = model.encode(batch), model.latent(batch)
    if is_point_mass(posterior):
        return {"reconstruction": model.log_likelihood(posterior.mean[None], batch)[0]}

    def more(total: tuple[Array, Array], z: Array, log_q: Array, kept: Array) -> tuple[Array, Array]:
        ratio = log_q - prior.log_prob(z)
        bound = model.log_likelihood(z, batch) - ratio
        return total[0] + jnp.where(kept, bound, 0).sum(0), total[1] + jnp.where(kept, ratio, 0).sum(0)

    zero = jnp.zeros(len(batch.x))
    bound, ratio = (total / samples for total in _over_draws(more, (zero, zero), model, batch, key, samples))
    kl = divergence(posterior, prior)
    kl = ratio if kl is None else kl
    return {"reconstruction": bound + kl, "kl": kl, "elbo": bound}


def row_log_likelihood(model: Model, batch: Batch, key: Array, samples: int) -> dict[str, Array]:
    """Return what `log_likelihood` does, of one micro-batch."""
    prior = model.latent(batch)

    def more(total: tuple[Array, Array], z: Array, log_q: Array, kept: Array) -> tuple[Array, Array]:
        weights = model.log_likelihood(z, batch) + prior.log_prob(z) - log_q
        weights = jnp.where(kept, weights, -jnp.inf)
        first, second = (jax.nn.logsumexp(power * weights, 0) for power in (1, 2))
        return jnp.logaddexp(total[0], first), jnp.logaddexp(total[1], second)

    none = jnp.full(len(batch.x), -jnp.inf)
    first, second = _over_draws(more, (none, none), model, batch, key, samples)
    return log_mean_weight(first, second, samples)


def log_mean_weight(first: Array, second: Array, samples: int) -> dict[str, Array]:
    """Return the logarithm of the mean of K weights, "bound", and its standard error, "error".

    Args:
        first: The logarithm of the sum of the weights.
        second: The logarithm of the sum of their squares.
        samples: K.
    """
    # Of log w̄: the deviation of w, over √K and w̄.
    spread = jnp.expm1(jnp.maximum(second - 2 * first + math.log(samples), 0)) / max(samples - 1, 1)
    return {"bound": first - math.log(samples), "error": jnp.sqrt(spread)}


def _over_draws(
    more: Callable[[Any, Array, Array, Array], Any], start: Any, model: Model, batch: Batch, key: Array, samples: int
) -> Any:
    """Fold `more(total, z, log q, kept)` over draws, some at a time.

    z is (k, B, L), log q(z|x) is (k, B), and `kept`, (k, 1), says which draws count.
    """
    size = min(samples, _DRAWS)
    parts = -(-samples // size)
    outputs = model.posterior.outputs(model.seen(batch), batch)

    def one(total: Any, part: tuple[Array, Array]) -> tuple[Any, None]:
        number, key = part
        kept = (number * size + jnp.arange(size) < samples)[:, None]
        return more(total, *common_draws(model, outputs, key, size), kept), None

    return jax.lax.scan(one, start, (jnp.arange(parts), jax.random.split(key, parts)))[0]


def over_rows(function: Function, model: Any, rows: Any, *arguments: Any) -> Any:
    """Return `function(model, micro-batch, *arguments)` for all rows, as NumPy arrays with n rows.

    Args:
        function: See there.
        model: The model, or an ensemble.
        rows: A tree of arrays with n rows each.
        arguments: Passed on.

    Where there are many rows, several cores work on pieces of them.
    """
    arrays = jax.tree.leaves(rows)
    total = len(arrays[0])
    micro = -(-total // _ROWS)
    short = sum(math.prod(array.shape[1:]) for array in arrays) <= _SHORT
    share = min(micro, max(_FEW, -(-micro // _THREADS)))  # as many for each core, but few are not worth a thread
    known = _CAPACITIES if short else _CAPACITIES[:2]
    capacity = next((one for one in known if share <= one), known[-1])
    size = _ROWS * min(share, capacity)

    def batches(array: NDArray[Any], start: int) -> Array:
        part = array[start : start + size]
        padded = np.zeros((capacity * _ROWS, *array.shape[1:]), array.dtype)
        padded[: len(part)] = part
        return jnp.asarray(padded.reshape(capacity, _ROWS, *array.shape[1:]))

    device = jax.config.values["jax_default_device"]

    def piece(start: int) -> Any:
        here = jax.tree.map(lambda array: batches(array, start), rows)
        count = min(total - start, size)
        # GPUs would multiply matrices with 10 bits, and by another way for each shape: good for training only.
        with jax.default_device(device), jax.default_matmul_precision("highest"):  # which each thread has for itself
            result = _run(function, model, here, jnp.int32(-(-count // _ROWS)), *arguments)
        return jax.tree.map(lambda a: np.asarray(a).reshape(-1, *a.shape[2:])[:count], result)

    starts = range(0, total, size)
    if len(starts) == 1:
        return piece(0)
    program = function, capacity, jax.tree.structure((model, arguments)), *(array.shape[1:] for array in arrays)
    alone = 1 if program not in _compiled else 0  # so that threads do not all compile it
    pieces = [piece(start) for start in starts[:alone]]
    _compiled.add(program)
    pieces += _POOL.map(piece, starts[alone:])
    return jax.tree.map(lambda *parts: np.concatenate(parts), *pieces)


@eqx.filter_jit
def _run(function: Function, model: Any, batches: Any, count: Array, *arguments: Any) -> Any:
    """Run `function` on the first `count` micro-batches of (M, 256, ...), one after the other."""

    def one(i: Any) -> Any:
        return function(model, jax.tree.map(lambda array: array[i], batches), *arguments)

    shapes = jax.eval_shape(lambda: one(0))
    length = len(jax.tree.leaves(batches)[0])
    empty = jax.tree.map(lambda shape: jnp.zeros((length, *shape.shape), shape.dtype), shapes)

    def more(i: Array, results: Any) -> Any:
        return jax.tree.map(lambda all_, new: all_.at[i].set(new), results, one(i))

    return jax.lax.fori_loop(0, count, more, empty)

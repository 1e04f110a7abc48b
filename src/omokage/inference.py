"""What a trained model is asked: codes, reconstructions, densities, samples. Never the training forward.

Everything goes in micro-batches of 256 rows (8 to 128 where rows are long) inside one compiled program, so the result
of a row is the same, to the bit, alone or among others. Draws are explicit: those for densities depend on the key and
on about where the row lies (see `draws`), those for a drawn reconstruction on the key and the row's content, those for
samples on the key and the number of the sample; so none depends on how the rows were batched.
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
from omokage.data.rows import hashes
from omokage.draws import Draws, content, numbers, over_draws
from omokage.model import (
    Model,
    centre,
    check_defined,
    check_moment,
    divergence,
    divergences,
    is_point_mass,
    mean_of,
    spread,
)

_ROWS = 256, 8  # of a micro-batch, where rows are short, and where they are long
_NUMBERS = 2**16  # of the largest layer of a micro-batch; above them it has fewer rows
_FEW = 16  # micro-batches
# Micro-batches that one program may take at once. Not 1: a program for one can round otherwise than those for many.
_CAPACITIES = 2, _FEW, 64, 256
_SHORT = 256  # numbers in a row
_THREADS = min(8, os.cpu_count() or 1)
_POOL = ThreadPoolExecutor(_THREADS, "omokage")  # since a program of small matrices keeps one core busy
_compiled: set[Any] = set()  # what tells programs apart that have run

Function = Callable[..., Any]


def encode(model: Model, rows: Batch) -> NDArray[np.float32]:
    """Return the posterior means, (n, L)."""
    return _checked(over_rows(row_means, model, rows), model, "posterior", "mean")


def codes(model: Model, rows: Batch, seed: int) -> NDArray[np.float32]:
    """Return a z drawn from the posterior of each row, (n, L); of a point mass, the point.

    Each draw depends on the seed, the row's content, and how many rows before it are equal to it: so equal rows get
    draws of their own, and the order of the rows changes nothing but the order of the draws.
    """
    return over_rows(_draw_code, model, (rows, _occurrences(rows)), jax.random.key(seed))


def deviations(model: Model, rows: Batch) -> NDArray[np.float32]:
    """Return the standard deviations of the posterior in each latent dimension, (n, L)."""
    return _checked(over_rows(_deviations, model, rows), model, "posterior", "variance")


def decode(model: Model, z: NDArray[np.float32], rows: Batch | None = None) -> NDArray[np.float32]:
    """Return the means of p(x|z), (n, *event), for z of shape (n, L); where rows are sequences, as long as `rows`."""
    return _checked(over_rows(_decode, model, (z, rows)), model, "likelihood", "mean")


def reconstruct(model: Model, rows: Batch, seed: int | None = None) -> NDArray[np.float32]:
    """Return the mean of p(x|z) at the posterior mean, or with a seed at a drawn z, (n, *event)."""
    if seed is None:
        found = over_rows(row_reconstruction, model, rows)
        if not np.isfinite(found).all():  # does the fault lie with z, of which it is made?
            encode(model, rows)
    else:
        found = over_rows(_reconstruct_drawn, model, rows, jax.random.key(seed))
    return _checked(found, model, "likelihood", "mean")


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
    return _checked(over_rows(_scales, model, rows), model, "likelihood", "variance")


def terms(model: Model, rows: Batch, samples: int, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Return the parts of the bound of each row, in nats of standardised x, (n,) each.

    Args:
        model: The model.
        rows: n of them.
        samples: K, how many z are drawn.
        seed: Of the draws; see `draws`.

    Returns:
        "reconstruction" (E_q log p(x|z)), "kl", and "elbo", their difference. For a point mass only
        "reconstruction".

    The bound is the mean of log p(x,z) - log q(z|x): where q is near the true posterior this hardly varies, much
    less than log p(x|z) does. Where the KL has a closed form, the reconstruction is bound plus KL; it is unbiased too.
    """
    return over_rows(row_terms, model, rows, Draws.of(seed, samples))


def entries(model: Model, rows: Batch, samples: int, seed: int = 0) -> NDArray[np.float32]:
    """Return E_q log p(x|z) of each entry, in nats of standardised x, (n, *event), by K draws."""
    return over_rows(_entries, model, rows, Draws.of(seed, samples))


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

    Source: Burda, Grosse and Salakhutdinov, "Importance Weighted Autoencoders", 2016. The draws are independent of one
    another, and come some at a time, so memory does not grow with their number.
    """
    return over_rows(row_log_likelihood, model, rows, Draws.of(seed, samples))


def impute(model: Model, rows: Batch, rounds: int, samples: int, seed: int = 0) -> NDArray[np.float32]:
    """Return x with what was not observed replaced by its mean given what was, (n, *event).

    K draws from a posterior are weighted by p(x_observed, z) / q(z), and the decoder's means averaged with these
    weights (Mattei and Frellsen, "MIWAE", 2019, equation 14). With many draws this is right for whatever q; how many
    are enough depends on the rows that the encoder is shown, which are such as it was trained on:

    * An encoder that was trained on rows with holes, and told where they are, is shown the row as it is.
    * One that never saw a hole is shown full rows: the holes are filled with the model's own reconstruction, again and
      again (Rezende, Mohamed and Wierstra, "Stochastic Backpropagation", 2014, section 6).

    Args:
        model: The model.
        rows: With a `mask`.
        rounds: How often holes are filled before, where they are.
        samples: K.
        seed: Of the draws.
    """
    return over_rows(_impute, model, rows, jnp.int32(rounds), Draws.of(seed, samples))


def _checked(values: NDArray[Any], model: Any, part: str, moment: str) -> NDArray[Any]:
    """Return values that are a moment of the posterior or the likelihood; raises ParameterError if there is none."""
    if isinstance(model, Model):
        check_defined(values, getattr(model, part), part, moment)
    return values


def row_means(model: Model, batch: Batch) -> Array:
    """Return what `encode` does, of one micro-batch."""
    check_moment(model.posterior, "posterior", "mean")
    return centre(model.encode(batch))


def _deviations(model: Model, batch: Batch) -> Array:
    check_moment(model.posterior, "posterior", "variance")
    return spread(model.encode(batch))


def _scales(model: Model, batch: Batch) -> Array:
    check_moment(model.likelihood, "likelihood", "variance")
    given = model.decode(row_means(model, batch), batch)
    return jnp.broadcast_to(jnp.sqrt(given.variance), batch.x.shape)


def _divergences(model: Model, batch: Batch) -> Array | None:
    return divergences(model.encode(batch), model.latent(batch))


def _decode(model: Model, rows: tuple[Array, Batch | None]) -> Array:
    return mean_of(model.likelihood, model.decode(*rows))


def row_reconstruction(model: Model, batch: Batch) -> Array:
    """Return what `reconstruct` does without a seed, of one micro-batch."""
    return mean_of(model.likelihood, model.decode(row_means(model, batch), batch))


def _reconstruct_drawn(model: Model, batch: Batch, key: Array) -> Array:
    return mean_of(model.likelihood, model.decode(_draw_by_content(model, batch, key), batch))


def _draw_by_content(model: Model, batch: Batch, key: Array, occurrence: Array | None = None) -> Array:
    """Draw z for each row with a key of its own, made from the row's content and its occurrence, (B, L)."""
    x = jnp.where(batch.x == 0, 0.0, batch.x)  # -0 is 0
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, content(x, batch.observed))
    if occurrence is not None:
        keys = jax.vmap(lambda key, n: jnp.where(n > 0, jax.random.fold_in(key, n), key))(keys, occurrence)
    return model.posterior.draw(model.posterior_outputs(batch), keys)[0]


def _draw_code(model: Model, rows: tuple[Batch, Array], key: Array) -> Array:
    return _draw_by_content(model, rows[0], key, rows[1])


def _occurrences(rows: Batch) -> NDArray[np.uint32]:
    """Return how many rows before each are equal to it, (n,)."""
    found = hashes(rows._replace(inputs=None, weight=None, fold=None).map(np.asarray))
    order = np.argsort(found, kind="stable")
    first = np.flatnonzero(np.r_[True, np.diff(found[order]) != 0])
    places = np.arange(len(order)) - np.repeat(first, np.diff(np.r_[first, len(order)]))
    result = np.empty(len(order), np.uint32)
    result[order] = places
    return result


def _sample(model: Model, rows: tuple[Array, Batch | None], key: Array) -> Array:
    numbers, batch = rows
    z, keys = _prior_draws(model, numbers, key, batch)
    outputs = model.likelihood.outputs(z, None if batch is None else model.told(batch))
    drawn = model.likelihood.draw(outputs, keys)[0].astype(jnp.float32)
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
    return model.prior.draw(model.prior.outputs(model.told(batch).context), keys[:, 0])[0], keys[:, 1]


def common_draws(model: Model, outputs: dict[str, Array], key: Array, samples: int) -> tuple[Array, Array]:
    """Return draws of z from the same noise for all rows, (K, B, L), and their log q(z|x), (K, B)."""
    keys = jnp.broadcast_to(key, (len(jax.tree.leaves(outputs)[0]),))
    z, densities = model.posterior.draw(outputs, keys, (samples,))
    return jnp.moveaxis(z, 1, 0), densities.T


def _entries(model: Model, batch: Batch, draws: Draws) -> Array:
    if is_point_mass(model.encode(batch)):
        return model.log_likelihoods(model.encode(batch).mean[None], batch)[0]

    def more(total: Array, z: Array, log_q: Array, kept: Array) -> Array:
        densities = model.log_likelihoods(z, batch)
        return total + jnp.where(kept.reshape(-1, *[1] * (densities.ndim - 1)), densities, 0).sum(0)

    return over_draws(more, jnp.zeros(batch.x.shape), model, batch, draws) / draws.count


def _impute(model: Model, batch: Batch, rounds: Array, draws: Draws) -> Array:
    known = batch.mask if batch.mask is not None else jnp.ones(batch.x.shape, bool)
    shown = batch
    if not getattr(model.posterior.network, "missing", False):

        def filled(_: Any, x: Array) -> Array:
            return jnp.where(known, batch.x, row_reconstruction(model, batch._replace(x=x, mask=None)))

        # At first as it is, so that holes are in the middle of what a view shows.
        first = jnp.where(known, batch.x, row_reconstruction(model, batch))
        first = jnp.where(rounds > 0, first, batch.x)
        shown = batch._replace(x=jax.lax.fori_loop(1, rounds, filled, first), mask=None)
    posterior, prior = model.encode(shown), model.latent(batch)
    if is_point_mass(posterior):
        return jnp.where(known, batch.x, mean_of(model.likelihood, model.decode(posterior.mean, batch)))

    def more(total: tuple[Array, Array, Array], z: Array, log_q: Array, kept: Array) -> tuple[Array, Array, Array]:
        top, mass, sums = total
        # By the density of what was observed alone.
        weights = jnp.where(kept, model.log_likelihood(z, batch) + prior.log_prob(z) - log_q, -jnp.inf)  # (k, B)
        means = mean_of(model.likelihood, model.decode(z, batch)).reshape(*z.shape[:2], *batch.x.shape[1:])
        now = jnp.maximum(top, weights.max(0))
        shares, before = jnp.exp(weights - now), jnp.exp(top - now)
        spread = [1] * (batch.x.ndim - 1)
        sums = before.reshape(-1, *spread) * sums + (shares.reshape(*shares.shape, *spread) * means).sum(0)
        return now, before * mass + shares.sum(0), sums

    lowest = jnp.full(len(batch.x), jnp.finfo(jnp.float32).min)
    start = (lowest, jnp.zeros(len(batch.x)), jnp.zeros(batch.x.shape))
    _, mass, sums = over_draws(more, start, model, batch, draws, rows=shown)
    return jnp.where(known, batch.x, sums / mass.reshape(-1, *[1] * (batch.x.ndim - 1)))


def row_terms(model: Model, batch: Batch, draws: Draws) -> dict[str, Array]:
    """Return what `terms` does, of one micro-batch."""
    posterior, prior = model.encode(batch), model.latent(batch)
    if is_point_mass(posterior):
        return {"reconstruction": model.log_likelihood(posterior.mean[None], batch)[0]}

    def more(total: tuple[Array, Array], z: Array, log_q: Array, kept: Array) -> tuple[Array, Array]:
        ratio = log_q - prior.log_prob(z)
        bound = model.log_likelihood(z, batch) - ratio
        return total[0] + jnp.where(kept, bound, 0).sum(0), total[1] + jnp.where(kept, ratio, 0).sum(0)

    zero = jnp.zeros(len(batch.x))
    bound, ratio = (total / draws.count for total in over_draws(more, (zero, zero), model, batch, draws))
    kl = divergence(posterior, prior)
    kl = ratio if kl is None else kl
    return {"reconstruction": bound + kl, "kl": kl, "elbo": bound}


def row_log_likelihood(model: Model, batch: Batch, draws: Draws) -> dict[str, Array]:
    """Return what `log_likelihood` does, of one micro-batch."""
    prior = model.latent(batch)

    def more(total: tuple[Array, Array], z: Array, log_q: Array, kept: Array) -> tuple[Array, Array]:
        weights = model.log_likelihood(z, batch) + prior.log_prob(z) - log_q
        weights = jnp.where(kept, weights, -jnp.inf)
        first, second = (jax.nn.logsumexp(power * weights, 0) for power in (1, 2))
        return jnp.logaddexp(total[0], first), jnp.logaddexp(total[1], second)

    none = jnp.full(len(batch.x), -jnp.inf)
    first, second = over_draws(more, (none, none), model, batch, draws, independent=True)
    return log_mean_weight(first, second, draws.count)


def log_mean_weight(first: Array, second: Array, samples: int | Array) -> dict[str, Array]:
    """Return the logarithm of the mean of K weights, "bound", and its standard error, "error".

    Args:
        first: The logarithm of the sum of the weights.
        second: The logarithm of the sum of their squares.
        samples: K.
    """
    count = jnp.float32(samples)
    # Of log w̄: the deviation of w, over √K and w̄.
    spread = jnp.expm1(jnp.maximum(second - 2 * first + jnp.log(count), 0)) / jnp.maximum(count - 1, 1)
    return {"bound": first - jnp.log(count), "error": jnp.sqrt(spread)}


def over_rows(function: Function, model: Any, rows: Any, *arguments: Any, height: int | None = None) -> Any:
    """Return `function(model, micro-batch, *arguments)` for all rows, as NumPy arrays with n rows.

    Args:
        function: See there.
        model: The model, or an ensemble.
        rows: A tree of arrays with n rows each.
        arguments: Passed on.
        height: How many rows a micro-batch has; `None`: what suits the model.

    Where there are many rows, several cores work on pieces of them.
    """
    arrays = jax.tree.leaves(rows)
    total, height = len(arrays[0]), height or _micro_batch(model, arrays)
    micro = -(-total // height)
    short = sum(math.prod(array.shape[1:]) for array in arrays) <= _SHORT
    # As many for each core; but few small ones are not worth a thread.
    share = min(micro, max(_FEW * height // _ROWS[0], -(-micro // _THREADS), 1))
    known = _CAPACITIES if short else _CAPACITIES[:2]
    capacity = next((one for one in known if share <= one), known[-1])
    size = height * min(share, capacity)

    def batches(array: NDArray[Any], start: int) -> Array:
        part = array[start : start + size]
        padded = np.zeros((capacity * height, *array.shape[1:]), array.dtype)
        padded[: len(part)] = part
        return jnp.asarray(padded.reshape(capacity, height, *array.shape[1:]))

    device = jax.config.values["jax_default_device"]

    def piece(start: int) -> Any:
        here = jax.tree.map(lambda array: batches(array, start), rows)
        count = min(total - start, size)
        # GPUs would multiply matrices with 10 bits, and by another way for each shape: good for training only.
        with jax.default_device(device), jax.default_matmul_precision("highest"):  # which each thread has for itself
            result = _run(function, model, here, jnp.int32(-(-count // height)), *arguments)
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


def _micro_batch(model: Any, arrays: list[NDArray[Any]]) -> int:
    """Return how many rows a micro-batch has.

    It depends on the shapes of a row and of the model alone, not on how many rows there are: programs of other heights
    round differently, and a row's result is to be the same alone and among others.
    """
    fitting = _NUMBERS // numbers(model, [array.shape[1:] for array in arrays])
    if fitting >= _ROWS[0] or jax.default_backend() != "cpu":  # others are quick with many rows only
        return _ROWS[0]
    return int(max(_ROWS[1], 2 ** math.floor(math.log2(max(fitting, 1)))))


@eqx.filter_jit
def _run(function: Function, model: Any, batches: Any, count: Array, *arguments: Any) -> Any:
    """Run `function` on the first `count` micro-batches of (M, B, ...), one after the other."""

    def one(i: Array) -> Any:
        return _one(function, model, jax.tree.map(lambda array: array[i], batches), *arguments)

    shapes = jax.eval_shape(one, count)
    length = len(jax.tree.leaves(batches)[0])
    empty = jax.tree.map(lambda shape: jnp.zeros((length, *shape.shape), shape.dtype), shapes)

    def more(i: Array, results: Any) -> Any:
        return jax.tree.map(lambda all_, new: all_.at[i].set(new), results, one(i))

    return jax.lax.fori_loop(0, count, more, empty)


@eqx.filter_jit
def _one(function: Function, model: Any, *arguments: Any) -> Any:
    """Call `function`, which is traced once: for the shapes of what it returns, and for the loop."""
    return function(model, *arguments)

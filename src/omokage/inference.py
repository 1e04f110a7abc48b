"""Questions to a trained model, of as many rows as there are: codes, reconstructions, densities, samples.

The `questions` themselves say what is computed; here they are asked in micro-batches of 256 rows (8 to 128 where rows
are long) inside one compiled program, so the result of a row is the same, to the bit, alone or among others. Seeds
become keys, and answers are checked.
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

from omokage import questions
from omokage.batch import Batch, Cells
from omokage.data.rows import hashes
from omokage.draws import Draws, numbers
from omokage.model import Model, check_defined

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
    return _checked(over_rows(questions.features, model, rows), model, "posterior", "mean")


def codes(model: Model, rows: Batch, seed: int) -> NDArray[np.float32]:
    """Return a z drawn from the posterior of each row, (n, L); of a point mass, the point.

    Each draw depends on the seed, the row's content, and how many rows before it are equal to it: so equal rows get
    draws of their own, and the order of the rows changes nothing but the order of the draws.
    """
    return over_rows(questions.codes, model, (rows, _occurrences(rows)), jax.random.key(seed))


def deviations(model: Model, rows: Batch) -> NDArray[np.float32]:
    """Return the standard deviations of the posterior in each latent dimension, (n, L)."""
    return _checked(over_rows(questions.deviations, model, rows), model, "posterior", "variance")


def decode(model: Model, z: NDArray[np.float32], rows: Batch | None = None) -> NDArray[np.float32]:
    """Return the means of p(x|z), (n, *event), for z of shape (n, L); where rows are sequences, as long as `rows`."""
    return _checked(over_rows(questions.decoded, model, (z, rows)), model, "likelihood", "mean")


def reconstruct(model: Model, rows: Batch, seed: int | None = None) -> NDArray[np.float32]:
    """Return the mean of p(x|z) at the posterior mean, or with a seed at a drawn z, (n, *event)."""
    if seed is None:
        found = over_rows(questions.reconstruction, model, rows)
        if not np.isfinite(found).all():  # does the fault lie with z, of which it is made?
            encode(model, rows)
    else:
        found = over_rows(questions.drawn_reconstruction, model, rows, jax.random.key(seed))
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
    return over_rows(
        questions.sample_means if mean else questions.samples, model, (numbers, rows), jax.random.key(seed)
    )


def scales(model: Model, rows: Batch) -> NDArray[np.float32]:
    """Return the deviation of p(x|z) at the posterior mean for each entry, (n, *event)."""
    return _checked(over_rows(questions.scales, model, rows), model, "likelihood", "variance")


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
    """
    return over_rows(questions.terms, model, rows, Draws.of(seed, samples))


def entries(model: Model, rows: Batch, samples: int, seed: int = 0) -> NDArray[np.float32]:
    """Return E_q log p(x|z) of each entry, in nats of standardised x, (n, *event), by K draws."""
    return over_rows(questions.entries, model, rows, Draws.of(seed, samples))


def kl_by_dimension(model: Model, rows: Batch) -> NDArray[np.float32] | None:
    """Return KL(q‖p) of each row and latent dimension, (n, L), in nats; `None` where it does not factorise."""
    first = rows.map(lambda array: array[:1])
    if jax.eval_shape(lambda: questions.divergences(model, first)) is None:
        return None
    return over_rows(questions.divergences, model, rows)


def log_likelihood(model: Model, rows: Batch, samples: int, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Return the importance-weighted "bound" on log p(x) of each row, in nats of standardised x, and its "error", (n,).

    The error is the standard error of the bound as an estimate of log p(x), by the deviation of the weights; with one
    draw there is none, and it is 0. It is good where it is well below 1; where a few draws have all the weight it is
    too small, as every such estimate.

    Source: Burda, Grosse and Salakhutdinov, "Importance Weighted Autoencoders", 2016. The draws are independent of one
    another, and come some at a time, so memory does not grow with their number.
    """
    return over_rows(questions.log_likelihood, model, rows, Draws.of(seed, samples))


def impute(model: Model, rows: Batch, rounds: int, samples: int, seed: int = 0) -> NDArray[np.float32]:
    """Return x with what was not observed replaced by its mean given what was, (n, *event); see `imputation`."""
    found: NDArray[np.float32] = imputation(model, rows, rounds, samples, seed)["mean"]
    return found


def imputation(
    model: Model, rows: Batch, rounds: int, samples: int, seed: int = 0, cells: Cells | None = None
) -> dict[str, NDArray[np.float32]]:
    """Return moments of what was not observed given what was; see `omokage.imputation`.

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
        cells: What the cells of a table are made of.
    """
    return over_rows(questions.imputation, model, rows, jnp.int32(rounds), Draws.of(seed, samples), cells)


def completions(model: Model, rows: Batch, rounds: int, samples: int, seed: int, count: int) -> NDArray[np.float32]:
    """Return rows with what was not observed drawn given what was, (n, count, *event).

    A draw depends on the seed, its number, the row's content, and how many rows before are equal to it.
    """
    numbers = jnp.arange(count, dtype=jnp.uint32)
    given = (rows, _occurrences(rows))
    return over_rows(questions.completions, model, given, jnp.int32(rounds), Draws.of(seed, samples), numbers)


def _checked(values: NDArray[Any], model: Any, part: str, moment: str) -> NDArray[Any]:
    """Return values that are a moment of the posterior or the likelihood; raises ParameterError if there is none."""
    if isinstance(model, Model):
        check_defined(values, getattr(model, part), part, moment)
    return values


def _occurrences(rows: Batch) -> NDArray[np.uint32]:
    """Return how many rows before each are equal to it, (n,)."""
    found = hashes(rows._replace(inputs=None, weight=None, fold=None).map(np.asarray))
    order = np.argsort(found, kind="stable")
    first = np.flatnonzero(np.r_[True, np.diff(found[order]) != 0])
    places = np.arange(len(order)) - np.repeat(first, np.diff(np.r_[first, len(order)]))
    result = np.empty(len(order), np.uint32)
    result[order] = places
    return result


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

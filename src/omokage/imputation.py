"""What is missing of rows, given what is there: its moments, and draws of it.

Draws of z from a posterior are weighted by p(x_observed, z) / q(z): self-normalised importance sampling. With many
draws this is right for whatever q; the moments of p(x|z) are averaged with these weights, and a whole row is drawn by
choosing a z by its weight, and then what is missing from p(x|z): sampling-importance-resampling. Where entries depend
on one another given z, z and the missing entries are proposed and weighted together (`completion`).

Sources: Mattei and Frellsen, "MIWAE: Deep Generative Modelling and Imputation of Incomplete Data Sets", 2019, equations
12 to 14; Rubin, "The Calculation of Posterior Distributions by Data Augmentation: Comment", 1987, for the choice;
Rezende, Mohamed and Wierstra, "Stochastic Backpropagation", 2014, section 6, for holes that are filled round by round.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpyro.distributions import Distribution

from omokage.batch import Batch, Cells
from omokage.completion import completed
from omokage.draws import Draws, content, over_draws
from omokage.model import (
    Model,
    centre,
    check_moment,
    expected_of,
    is_point_mass,
    mean_of,
    places_of,
    takes_holes,
    usual,
    variance_of,
)

Row = dict[str, Array]
_APART = 64  # numbers of blocks of draws, which are of fewer draws each


def imputation(model: Model, batch: Batch, rounds: Array, draws: Draws, cells: Cells | None = None) -> Row:
    """Return the mean and the variance of what is missing given what is there.

    Args:
        model: The model.
        batch: B rows with a mask.
        rounds: How often holes are filled before, where the encoder never saw one.
        draws: K, how many z are weighted, and their noise.
        cells: What the cells of a table are made of.

    Returns:
        "mean" (B, *event), x where it was observed, and of classes the most likely ones; "variance", of classes the
        probability of another one than that, and 0 where x was observed. With `cells` also "cells" and "cell_variances"
        (B, D), in the units of the cells.
    """
    known, shown = _shown(model, batch, rounds)
    places, entries = places_of(model.likelihood, batch.x.shape[-1]), batch.x.shape[-1]

    def moments(z: Array, x: Array | None) -> list[Array]:
        if x is None:
            given = model.decode(z, batch)
            expected, variance = expected_of(model.likelihood, given), variance_of(model.likelihood, given)
        else:
            expected = model.likelihood.family.marked(x.reshape(-1, entries))
            variance = jnp.zeros(expected.shape)
        found = [expected, variance + jnp.square(expected)]
        if cells is not None:
            found += _of_cells(cells, expected, variance)
        return [values.reshape(*z.shape[:-1], *values.shape[1:]) for values in found]

    mean, square, *of_cells = _averaged(model, batch, shown, draws, moments)
    variance = jnp.maximum(square - jnp.square(mean), 0)
    single = np.bincount(places, minlength=entries) == 1
    own = jnp.zeros(batch.x.shape).at[..., places].add(variance)
    likeliest = jnp.zeros(batch.x.shape).at[..., places].max(mean)
    found = {
        "mean": jnp.where(known, batch.x, usual(model.likelihood, mean)),
        "variance": jnp.where(known, 0, jnp.where(single, own, 1 - likeliest)),
    }
    if of_cells:
        found["cells"] = of_cells[0]
        found["cell_variances"] = jnp.maximum(of_cells[1] - jnp.square(of_cells[0]), 0)
    return found


def completions(model: Model, rows: tuple[Batch, Array], rounds: Array, draws: Draws, numbers: Array) -> Array:
    """Return rows whose missing entries are drawn given the others, (B, M, *event).

    Args:
        model: The model.
        rows: B rows with a mask, and how many rows before each are equal to it, (B,).
        rounds, draws: See `imputation`.
        numbers: Those of the draws, (M,), on which each depends.
    """
    batch, occurrence = rows
    known, shown = _shown(model, batch, rounds)
    own = content(jnp.where(batch.x == 0, 0.0, batch.x), batch.observed)  # -0 is 0
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.fold_in(draws.key, 2**31 - 1), own)
    keys = jax.vmap(jax.random.fold_in)(keys, occurrence)
    keys = jax.vmap(lambda number: jax.vmap(jax.random.fold_in, (0, None))(keys, number))(numbers)  # (M, B)
    choices, noises = jnp.moveaxis(jax.vmap(jax.vmap(jax.random.split))(keys), 2, 0)
    posterior = model.encode(shown)
    if is_point_mass(posterior):
        chosen = jnp.broadcast_to(posterior.mean, (len(numbers), *posterior.mean.shape))
    else:
        propose = _proposals(model, batch, draws)

        def more(total: tuple[Array, Array, Array], z: Array, log_q: Array, kept: Array) -> tuple[Array, ...]:
            count, best, chosen = total
            weights, x = propose(z, log_q, count)
            candidates = z if x is None else x
            at = jax.vmap(jax.vmap(jax.random.fold_in, (0, None)), (0, None))(choices, count)
            noise = jax.vmap(jax.vmap(lambda key: jax.random.gumbel(key, (z.shape[0],))))(at)  # (M, B, k)
            # The largest of log-weights with such noise is each draw with the probability of its weight.
            noisy = jnp.where(kept, weights, -jnp.inf) + jnp.moveaxis(noise, 2, 1)  # (M, k, B)
            place = noisy.argmax(1)
            here = jnp.take_along_axis(noisy, place[:, None], 1)[:, 0]
            taken = jnp.take_along_axis(candidates, place[..., None], 0)  # (M, B, L) or (M, B, E)
            better = here > best
            return count + 1, jnp.where(better, here, best), jnp.where(better[..., None], taken, chosen)

        size = batch.x.shape[0]
        best = jnp.full((len(numbers), size), -jnp.inf)
        whole = takes_holes(model.likelihood.family)
        width = batch.x.shape[-1] if whole else posterior.event_shape[0]
        start = (jnp.uint32(0), best, jnp.zeros((len(numbers), size, width)))
        _, _, chosen = over_draws(more, start, model, batch, draws, rows=shown)
        if whole:
            return jnp.moveaxis(jnp.where(known, batch.x, chosen), 0, 1)

    def drawn(given: tuple[Array, Array]) -> Array:
        z, noise = given
        x = model.likelihood.draw(model.likelihood.outputs(z, model.told(batch)), noise)[0].astype(jnp.float32)
        return jnp.where(known, batch.x, x if model.codec is None else model.codec.decode(x))

    return jnp.moveaxis(jax.lax.map(drawn, (chosen, noises)), 0, 1)


def _shown(model: Model, batch: Batch, rounds: Array) -> tuple[Array, Batch]:
    """Return which entries are known, and what the encoder is shown: full rows, where it never saw a hole."""
    known = batch.mask if batch.mask is not None else jnp.ones(batch.x.shape, bool)
    if getattr(model.posterior.network, "missing", False):
        return known, batch

    def made(rows: Batch) -> Array:
        check_moment(model.posterior, "posterior", "mean")
        return mean_of(model.likelihood, model.decode(centre(model.encode(rows)), rows))

    def filled(_: Any, x: Array) -> Array:
        return jnp.where(known, batch.x, made(batch._replace(x=x, mask=None)))

    # At first as it is, so that holes are in the middle of what a view shows.
    first = jnp.where(known, batch.x, made(batch))
    first = jnp.where(rounds > 0, first, batch.x)
    return known, batch._replace(x=jax.lax.fori_loop(1, rounds, filled, first), mask=None)


def _proposals(model: Model, batch: Batch, draws: Draws) -> Callable[[Array, Array, Array], tuple[Array, Array | None]]:
    """Return what gives log p(x_observed, z) - log q(z), (k, B), and x where entries depend on one another given z.

    It takes z, (k, B, L), log q(z), and the number of the block of draws. Without x the weight is by the density of
    what was observed alone; else it is that of the whole row, (k, B, E), in the units of the rows.
    """
    prior: Distribution = model.latent(batch)
    if not takes_holes(model.likelihood.family):
        return lambda z, log_q, number: (model.log_likelihood(z, batch) + prior.log_prob(z) - log_q, None)
    own, rows = model.opened(batch)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(draws.key, content(rows.x, rows.observed))
    known = rows.x if rows.observed is None else jnp.where(rows.observed, rows.x, jnp.nan)

    def proposed(z: Array, log_q: Array, number: Array) -> tuple[Array, Array]:
        def one(inputs: tuple[Array, Array]) -> tuple[Array, Array]:
            z, place = inputs
            here = jax.vmap(jax.random.fold_in, (0, None))(keys, number * _APART + place)
            x, mass = completed(own, z, rows, here, known[..., None])
            return x if model.codec is None else model.codec.decode(x), mass.sum(-1)

        x, mass = jax.lax.map(one, (z, jnp.arange(len(z), dtype=jnp.uint32)))
        return mass + prior.log_prob(z) - log_q, x

    return proposed


def _averaged(
    model: Model, batch: Batch, shown: Batch, draws: Draws, moments: Callable[[Array, Array | None], list[Array]]
) -> list[Array]:
    """Return the weighted means of what `moments` gives for z, (k, B, L), and whole rows: (k, B, ...) each."""
    posterior = model.encode(shown)
    if is_point_mass(posterior):
        return [values[0] for values in moments(posterior.mean[None], None)]
    propose = _proposals(model, batch, draws)

    def more(total: tuple[Any, ...], z: Array, log_q: Array, kept: Array) -> tuple[Any, ...]:
        number, top, mass, sums = total
        weights, x = propose(z, log_q, number)
        weights = jnp.where(kept, weights, -jnp.inf)  # (k, B)
        now = jnp.maximum(top, weights.max(0))
        shares, before = jnp.exp(weights - now), jnp.exp(top - now)
        sums = [
            _like(before, one) * one + (_like(shares, new) * new).sum(0)
            for one, new in zip(sums, moments(z, x), strict=True)
        ]
        return number + 1, now, before * mass + shares.sum(0), sums

    size = batch.x.shape[0]
    lowest = jnp.full(size, jnp.finfo(jnp.float32).min)
    z = jnp.zeros((1, size, posterior.event_shape[0]))
    blank = jax.eval_shape(lambda: moments(z, propose(z, z[..., 0], jnp.uint32(0))[1]))
    start = (jnp.uint32(0), lowest, jnp.zeros(size), [jnp.zeros(one.shape[1:]) for one in blank])
    _, _, mass, sums = over_draws(more, start, model, batch, draws, rows=shown)
    return [one / _like(mass, one) for one in sums]


def _like(weights: Array, values: Array) -> Array:
    return weights.reshape(*weights.shape, *[1] * (values.ndim - weights.ndim))


def _of_cells(cells: Cells, expected: Array, variance: Array) -> list[Array]:
    """Return the mean and the second moment of each cell given z, (N, D) each, from those of entries, (N, W)."""
    middle = expected[:, cells.number]
    width = jnp.sqrt(jnp.where(jnp.isfinite(variance), variance, 0))[:, cells.number]
    values = _mapped(cells, middle + width * cells.nodes[:, None, None])  # (G, N, D)
    first, second = (jnp.einsum("g,gnd->nd", cells.shares, power) for power in (values, jnp.square(values)))
    share = cells.always + expected @ cells.other
    return [expected @ cells.values + share * first, expected @ jnp.square(cells.values) + share * second]


def _mapped(cells: Cells, x: Array) -> Array:
    """Return the numbers of cells, (..., D), from those of entries: along the curves, and straight on beyond them."""
    at = (x - cells.low) / cells.step
    left = jnp.clip(jnp.floor(at), 0, cells.curve.shape[1] - 2).astype(jnp.int32)
    column = jnp.arange(cells.curve.shape[0])
    low, high = cells.curve[column, left], cells.curve[column, left + 1]
    return low + (high - low) * (at - left)

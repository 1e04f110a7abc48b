"""Rows given some of their entries: importance resampling, then a Metropolis-within-Gibbs refinement.

Conditions fix entries, or keep them among some values or within an interval (`Conditions`).

1. Proposals. z_i from p(z), x_i from p(x|z_i), where an entry with choices is drawn among them. The weight of the pair
   is the product of p(x_j is one of its choices | z_i) over these entries, and 0 if another entry lies outside of its
   interval. So weighted proposals are draws from p(z, x | conditions), whatever the prior.
2. As many proposals are made as are needed for an effective sample size (Σw)²/Σw², and are resampled by their weights.
3. Refinement, which moves rows that were resampled more than once away from each other. Each round leaves
   p(z, x | conditions) as it is: z' from q(z|x) is taken in place of z with the probability of Metropolis and Hastings
   for an independent proposal, min(1, p(x|z')p(z')q(z|x) / p(x|z)p(z)q(z'|x)), and entries that are not fixed are drawn
   anew from p(x|z), and left as they were where the new ones lie outside of their intervals. Where entries depend on
   one another given z, a whole row is taken or left, by its weight and that of the old one (`completion`). Of a point
   mass q(z|x) has no density, and there is no refinement.

Sources: Rubin, "Using the SIR Algorithm to Simulate Posterior Distributions", 1988; Kong, "A Note on Importance
Sampling Using Standardized Weights", 1992, for the effective sample size; Mattei and Frellsen, "Leveraging the Exact
Likelihood of Deep Latent Variable Models", 2018, for Metropolis within Gibbs with q(z|x) as the proposal.
"""

import math
import os
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from omokage.batch import Batch, Conditions
from omokage.completion import completed, masses
from omokage.errors import ParameterError
from omokage.inference import over_rows
from omokage.model import Model, is_point_mass, takes_holes
from omokage.questions import prior_draws

FIRST, MOST = 2**13, 2**18  # proposals
_NUMBERS = 2**27  # that proposals hold at most, all together
_TOGETHER = 4096 * min(8, os.cpu_count() or 1)  # proposals that one program is given, so that it is always the same one
LEAST, ENOUGH = (
    20.0,
    10_000,
)  # effective sample size: below it there is no answer, and above it there is no need of more
_ROUNDS = 5


def counts(conditions: Conditions, x: Array) -> Array:
    """Return which entries count, (B, E): of a cell with two, the second may be without a meaning."""
    itself = conditions.decides == jnp.arange(x.shape[-1])
    return itself | (x[..., conditions.decides] == conditions.says)


def fulfils(conditions: Conditions, x: Array) -> Array:
    """Return which entries lie within their intervals, or do not count, (B, E)."""
    return ((x >= conditions.low) & (x <= conditions.high)) | ~counts(conditions, x)


def proposals(model: Model, rows: tuple[Array, Batch | None], key: Array, conditions: Conditions) -> dict[str, Array]:
    """Return "x", (B, E), "z", (B, L), and the logarithm of the "weight", (B,), for the numbers of proposals, (B,)."""
    numbers, batch = rows
    z, keys = prior_draws(model, numbers, key, batch)
    x, mass = completed(model, z, batch, keys, conditions.choices)
    weight = jnp.where(counts(conditions, x), mass, 0).sum(1)
    weight = jnp.where(fulfils(conditions, x).all(1) & ~jnp.isnan(weight), weight, -jnp.inf)
    return {"x": x, "z": z, "weight": weight}


def refined(model: Model, rows: tuple[Batch, Array, Array], key: Array, conditions: Conditions, rounds: Array) -> Array:
    """Return rows after some rounds of the refinement, (B, E).

    Args:
        model: The model, whose posterior is no point mass.
        rows: Rows that fulfil the conditions, with a mask if the model's rows have holes; their codes, (B, L), and
            numbers that tell them apart, (B,).
        key: Of the draws.
        conditions: See there.
        rounds: How many.
    """
    batch, z, numbers = rows
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, numbers)

    def more(number: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        z, x = state
        here = jax.vmap(lambda one: jax.random.split(jax.random.fold_in(one, number), 3))(keys)
        there = counts(conditions, x)
        seen = batch._replace(x=jnp.where(there, x, 0), mask=None if batch.mask is None else there)
        outputs = model.posterior_outputs(seen)
        new, log_q = model.posterior.draw(outputs, here[:, 0])
        both = jnp.stack([new, z])
        densities = model.log_likelihood(both, seen) + model.latent(seen).log_prob(both)  # (2, B)
        ratio = densities[0] - log_q - densities[1] + model.posterior.given(outputs).log_prob(z)
        moves = jnp.log(jax.vmap(jax.random.uniform)(here[:, 1])) < ratio  # NaN is not
        z = jnp.where(moves[:, None], new, z)
        proposed, mass = completed(model, z, seen, here[:, 2], conditions.choices)
        good = fulfils(conditions, proposed)
        if takes_holes(model.likelihood.family):
            gain = (mass - masses(model, z, seen, x, conditions.choices)).sum(1)
            luck = jax.vmap(lambda key: jax.random.uniform(jax.random.fold_in(key, 1)))(here[:, 2])
            return z, jnp.where((good.all(1) & (jnp.log(luck) < gain))[:, None], proposed, x)
        cells = jnp.ones_like(good).at[:, conditions.decides].min(good)  # both entries of a cell move, or none
        return z, jnp.where(cells[:, conditions.decides], proposed, x)

    return jax.lax.fori_loop(0, rounds, more, (z, batch.x))[1]


@dataclass(frozen=True, eq=False)
class Pool:
    """Weighted proposals.

    Attributes:
        x: Rows, (N, E).
        z: Their codes, (N, L).
        weight: How much each counts, (N,); they add up to 1.
        effective: The effective sample size, (Σw)²/Σw².
    """

    x: NDArray[np.float32]
    z: NDArray[np.float32]
    weight: NDArray[np.float64]
    effective: float


def pool(
    model: Model, conditions: Conditions, seed: int, enough: int, context: NDArray[np.float32] | None = None
) -> Pool:
    """Return so many proposals that they are worth `enough` equally weighted draws, or as many as are made at most.

    Args:
        model: The model.
        conditions: See there.
        seed: Of the draws.
        enough: The effective sample size that is wanted.
        context: What all rows are conditioned on, (1, C); `None`: nothing.

    Raises:
        ParameterError: If they are worth fewer than 20 draws.
    """
    entries, key = len(conditions.low), jax.random.key(seed)
    most = max(FIRST, min(MOST, 2 ** int(math.log2(_NUMBERS / entries))))
    parts: list[dict[str, Any]] = []
    made, total = 0, FIRST
    while True:
        for start in range(made, total, _TOGETHER):
            numbers = np.arange(start, min(start + _TOGETHER, total), dtype=np.uint32)
            part = over_rows(proposals, model, (numbers, _rows(len(numbers), entries, context)), key, conditions)
            kept = part["weight"] > -np.inf  # the others are nothing but room
            parts.append({name: values[kept] for name, values in part.items()})
        made = total
        logs = np.concatenate([part["weight"] for part in parts]).astype(np.float64)
        weight = np.exp(logs - logs.max()) if len(logs) else logs
        effective = float(weight.sum() ** 2 / (weight**2).sum()) if len(logs) else 0.0
        if effective >= enough or made >= most:
            break
        total = min(2 * made, most)
    if effective < LEAST:
        raise ParameterError(
            f"where: {made:,} rows that the model proposed are worth only {effective:.1f} draws under these "
            f"conditions; expected at least {LEAST:.0f}. Take wider intervals, fewer conditions, or values that are "
            "not so rare together."
        )
    x, z = (np.concatenate([part[name] for part in parts]) for name in ("x", "z"))
    return Pool(x, z, weight / weight.sum(), effective)


def sample(
    model: Model,
    conditions: Conditions,
    count: int,
    seed: int,
    *,
    context: NDArray[np.float32] | None = None,
    holes: bool = False,
) -> tuple[NDArray[np.float32], float]:
    """Return draws of x that fulfil conditions, (count, E), and the effective sample size of their proposals.

    Args:
        model: The model.
        conditions: See there.
        count: How many.
        seed: Of the draws.
        context: What all are conditioned on, (1, C); `None`: nothing.
        holes: Whether the model's rows have holes, of which networks are told.

    Raises:
        ParameterError: If the proposals are worth too few draws.
    """
    made = pool(model, conditions, seed, min(max(count, 200), ENOUGH), context)
    random = np.random.default_rng([seed, 11])
    chosen = random.permutation(systematic(made.weight, count, random.random()))
    x, z, rows = made.x[chosen], made.z[chosen], _rows(count, made.x.shape[1], context)
    batch = Batch(x) if rows is None else rows._replace(x=x)
    batch = batch._replace(mask=np.ones(x.shape, bool) if holes else None)
    if is_point_mass(jax.eval_shape(lambda: model.encode(batch.map(lambda array: array[:1])))):
        return x, made.effective
    key = jax.random.fold_in(jax.random.key(seed), 1)
    given = batch, z, np.arange(count, dtype=np.uint32)
    return over_rows(refined, model, given, key, conditions, jnp.int32(_ROUNDS)), made.effective


def systematic(weight: NDArray[np.float64], count: int, start: float) -> NDArray[np.int64]:
    """Return places in proportion to weights, (count,): each as often as its share says, but for less than 1.

    Example:
        >>> systematic(np.array([0.5, 0.0, 0.25, 0.25]), 4, 0.5).tolist()
        [0, 0, 2, 3]
    """
    reached = np.cumsum(weight)
    points = (np.arange(count) + start) / count * reached[-1]
    return np.minimum(np.searchsorted(reached, points, "right"), int(np.flatnonzero(weight)[-1]))


def _rows(count: int, entries: int, context: NDArray[np.float32] | None) -> Batch | None:
    """Return rows with nothing but their context, which is the same for all; `None` without one."""
    if context is None:
        return None
    return Batch(np.zeros((count, entries), np.float32), context=np.repeat(context, count, 0))

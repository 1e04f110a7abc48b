"""How surprising each cell of a row is, given the other cells of the row.

A model that sees a wrong cell makes room for it: the cell tells the encoder what the decoder then finds likely. So a
cell is judged by p(cell | the other cells), for which the cell itself is left out:

    p(x_j|x_-j) = ∫ p(x_j|z) p(z|x_-j) dz,    p(z|x_-j) ∝ p(x_-j|z) p(z)

The integral is a weighted mean over draws of z, which come from the posterior of the row and from that of the row
without each of its cells. All draws serve for all cells; they count as draws of one mixture (the balance heuristic).

The surprise is -log of the share of cells, in rows whose other cells are these, that are as strange as this one or
stranger: of a class those that are no likelier; of a number those that lie as far from the mean, in deviations, as by a
normal distribution. So it does not depend on how many classes there are, nor on units, and a cell of a column of which
nothing is known from the others has 1 nat on average.

Sources: Veach and Guibas, "Optimally Combining Sampling Techniques for Monte Carlo Rendering", 1995, for the mixture;
Gelfand, Dey and Chang, "Model Determination Using Predictive Distributions", 1992, for judging by what is left out.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray
from scipy.special import log_ndtr

from omokage import inference
from omokage.batch import Batch
from omokage.detection import beyond
from omokage.ensemble import Ensemble, of_each
from omokage.likelihoods.categories import UNSEEN
from omokage.model import Model, expected_of, is_point_mass, places_of, usual, variance_of

DRAWS = 8  # of z, from each posterior
_APART = 50.0  # nats, by which draws differ at most by what one entry says
_NUMBERS = 2**22  # that the draws of some rows make together
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Conditional:
    """What is said of rows, each cell given the others of its row.

    Attributes:
        surprises: Of each entry, (n, E), in nats, at least 0; 0 where nothing was observed.
        nats: -log p of each entry that is a class, (n, E); 0 of others.
        expected: What is expected in the place of each entry, (n, E), in the units of the rows.
    """

    surprises: Values
    nats: Values
    expected: Values


def has_density(ensemble: Ensemble, rows: Batch) -> bool:
    """Say whether the members know how likely a z is given a row, as a plain autoencoder does not."""
    one = rows.map(lambda array: array[:1])
    return not is_point_mass(jax.eval_shape(lambda: ensemble.member(0).encode(one)))


def conditional(
    ensemble: Ensemble, rows: Batch, owner: NDArray[np.int64], classes: Sequence[int | None]
) -> Conditional:
    """Return what the members say of each cell given the others of its row.

    Args:
        ensemble: Whose posterior is a density.
        rows: Encoded rows, (n, E).
        owner: Which cell each entry is of, (E,).
        classes: How many classes each entry has; `None`: it is a number.
    """
    known = beyond.support(ensemble)
    asked, strange = beyond.moved(known, rows)._replace(fold=None), beyond.outside(known, rows)
    likelihood = ensemble.member(0).likelihood
    places = places_of(likelihood, len(owner))
    draws = DRAWS * (int(owner.max()) + 2)
    height = int(2 ** np.clip(np.log2(_NUMBERS / (draws * len(places))), 0, 8))  # not by how many rows there are
    mean, variance = inference.over_rows(_moments(tuple(owner.tolist())), ensemble, asked, height=height)
    mean, variance = np.asarray(mean, np.float64), np.asarray(variance, np.float64)
    middle = mean.mean(1)  # of the members' mixture
    variance = (variance + np.square(mean - middle[:, None])).mean(1)
    surprises, nats = np.zeros(rows.x.shape), np.zeros(rows.x.shape)
    for entry, count in enumerate(classes):
        here, x = places == entry, np.asarray(asked.x[:, entry], np.float64)
        if count is None:
            surprises[:, entry] = _of_number(x, middle[:, here][:, 0], variance[:, here][:, 0])
        else:
            surprises[:, entry], nats[:, entry] = _of_class(x, middle[:, here])
    there = np.ones(rows.x.shape, bool) if rows.mask is None else np.asarray(rows.mask)
    surprises = beyond.shared(np.where(there, surprises, 0), strange)
    expected = np.asarray(usual(likelihood, jnp.asarray(middle, jnp.float32)), np.float64)
    return Conditional(surprises, np.where(there, nats, 0), expected)


def _of_number(x: Values, mean: Values, variance: Values) -> Values:
    """Return -log of the share of a normal distribution that is as far from its mean as x, (n,)."""
    far = np.abs(x - mean) / np.sqrt(np.maximum(np.nan_to_num(variance, nan=1.0), 1e-30))
    return np.asarray(-np.log(2) - log_ndtr(-np.minimum(far, 1e15)))


def _of_class(x: Values, shares: Values) -> tuple[Values, Values]:
    """Return -log of the share of classes that are no likelier than that of x, and -log of its own, (n,) each."""
    shares = np.maximum(shares / shares.sum(1, keepdims=True), 1e-30)
    unseen = x >= shares.shape[1]
    own = shares[np.arange(len(x)), np.minimum(x, shares.shape[1] - 1).astype(np.int64)]
    tail = np.where(shares <= own[:, None] * (1 + 1e-6), shares, 0).sum(1)
    rarest = -UNSEEN - np.log(shares.min(1))
    return np.where(unseen, rarest, -np.log(np.minimum(tail, 1))), np.where(unseen, rarest, -np.log(own))


@functools.lru_cache(maxsize=16)
def _moments(owner: tuple[int, ...]) -> Callable[[Ensemble, Batch], tuple[Array, Array]]:
    """Return what gives the mean and the variance of each entry given the other cells, by each member, (B, M, W)."""
    return of_each(functools.partial(_left_out, np.array(owner)))


def _left_out(owner: NDArray[np.int64], model: Model, batch: Batch) -> tuple[Array, Array]:
    """Return the mean, of classes the probabilities, and the variance of entries given the other cells, (B, W)."""
    cells = int(owner.max()) + 1
    size, ways = batch.x.shape[0], cells + 1  # a posterior of the whole row, and one without each cell
    copies = batch.map(lambda array: jnp.broadcast_to(array, (ways, *array.shape)).reshape(-1, *array.shape[1:]))
    left_out = owner == np.arange(-1, cells)[:, None]
    outputs = model.posterior_outputs(copies._replace(hidden=jnp.repeat(jnp.asarray(left_out), size, 0)))
    # The noise of all rows is the same, so that what is said of a row does not depend on the others.
    keys = jnp.repeat(jax.random.split(jax.random.key(0), ways), size, 0)
    drawn = model.posterior.draw(outputs, keys, (DRAWS,))[0].reshape(ways, size, DRAWS, -1)
    z = jnp.moveaxis(drawn, 2, 1).reshape(ways * DRAWS, size, -1)  # (S, B, L)
    each = jax.tree.map(lambda array: array.reshape(ways, size, *array.shape[1:]), outputs)
    mixture = jax.nn.logsumexp(jax.vmap(lambda one: model.posterior.given(one).log_prob(z))(each), 0)
    densities = model.log_likelihoods(z, batch)  # (S, B, E)
    densities = jnp.maximum(densities - densities.max(0), -_APART)
    others = jnp.asarray(owner[:, None] != np.arange(cells), jnp.float32)
    weight = (model.latent(batch).log_prob(z) - mixture)[..., None] + densities @ others
    share = jax.nn.softmax(weight, 0)[..., owner[places_of(model.likelihood, len(owner))]]
    given = model.decode(z, batch)
    expected, variance = expected_of(model.likelihood, given), variance_of(model.likelihood, given)
    expected, variance = (values.reshape(*z.shape[:2], -1) for values in (expected, variance))
    mean = (share * expected).sum(0)
    return mean, (share * (variance + jnp.square(expected - mean))).sum(0)

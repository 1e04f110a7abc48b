"""Draws of z by which densities of rows are found: which noise a row gets, and how noise becomes z.

Each row has noise of its own, so in a mean over rows the errors of the rows average out. The noise depends on the key
and on where the row lies on a grid of a quarter of a standardised unit: not on the row's place, nor on other rows. Rows
that nearly agree share their noise, so rounding (in another unit, say) changes a score by no more than rounding.

For means of f(z), such as the bound, noise comes in blocks of 16 draws that cover the space evenly. Each draw alone is
exactly N(0, I), so a mean over draws has the right expectation, whatever their number:

    directions     up to 8 vectors at right angles to each other (of L dimensions at most L at a time)
    signs          each vector and its opposite
    lengths        one from each eighth of the distribution of ‖ε‖

Pairs of opposites integrate linear and cubic parts of f exactly; directions and lengths do so with much of a quadratic
part. Families that make z of a normal draw, or of a quantile, are driven by this noise; others draw for themselves.

An importance-weighted bound takes independent draws instead: then it rises with K (Burda, Grosse and Salakhutdinov,
2016), and the error that is told with it is right. For one draw both kinds are the same.

Sources: Genz and Monahan, "Stochastic Integration Rules for Infinite Regions", 1998; Yu et al., "Orthogonal Random
Features", 2016, for the directions.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax import Array
from numpy.typing import NDArray

from omokage.batch import Batch
from omokage.model import Model

_BLOCK = 16  # draws that are made together
_PAIRS = _BLOCK // 2
_FEW = (1, 4, _BLOCK)  # of a block, where K is no larger: three programs serve every K
_CELLS = 4  # in a standardised unit
_NUMBERS = {"cpu": 2**21}  # of one layer's outputs for all draws that a decoder sees at once, on this kind of device
_MORE_NUMBERS = 2**26  # on others
_HEIGHT = 256  # rows, where a program is made for any number of them
_REACH, _NODES = 5.5, 2048  # of the table of lengths, in deviations
# Whose quantiles are short formulas.
_BY_QUANTILE = (dist.Uniform, dist.Laplace, dist.Logistic, dist.Gumbel, dist.Cauchy, dist.Exponential)


class Draws(eqx.Module):
    """How many draws of z each row gets, and the key of their noise.

    Attributes:
        key: See there.
        count: K, an array, so that one program serves many K.
        few: How many of each block are looked at.
    """

    key: Array
    count: Array
    few: int = eqx.field(static=True)

    @staticmethod
    def of(seed: int, samples: int) -> "Draws":
        """Return so many draws by the noise of this seed."""
        return Draws(jax.random.key(seed), jnp.int32(samples), next(few for few in _FEW if min(samples, _BLOCK) <= few))


def over_draws(
    more: Callable[[Any, Array, Array, Array], Any],
    start: Any,
    model: Model,
    batch: Batch,
    draws: Draws,
    independent: bool = False,
    rows: Batch | None = None,
) -> Any:
    """Fold `more(total, z, log q, kept)` over draws, some at a time.

    Args:
        more: Takes z, (k, B, L), log q(z|x), (k, B), and `kept`, (k, 1), which says which draws count.
        start: The first total.
        model: Whose posterior draws.
        batch: B rows.
        draws: How many, and by which key.
        independent: Draw each z for itself.
        rows: What the encoder is shown instead of `batch`, which the noise depends on.
    """
    rows = batch if rows is None else rows
    outputs = model.posterior_outputs(rows)
    own = model.opened(batch)[1]
    keys = jax.vmap(jax.random.fold_in, (None, 0))(draws.key, content(_cells(own.x), batch.observed))
    height = batch.x.shape[0] if isinstance(batch.x.shape[0], int) else _HEIGHT
    together = max(1, min(draws.few, _most_numbers() // (height * numbers(model, [batch.x.shape[1:]]))))
    together = 2 ** int(math.log2(together))

    def block(number: Array, total: Any) -> Any:
        here = jax.vmap(jax.random.fold_in, (0, None))(keys, number)
        z, log_q = _drawn(model, outputs, here, draws.few, independent)
        kept = (number * draws.few + jnp.arange(draws.few) < draws.count)[:, None]
        parts = jax.tree.map(lambda a: a.reshape(-1, together, *a.shape[1:]), (z, log_q, kept))
        return jax.lax.scan(lambda total, part: (more(total, *part), None), total, parts)[0]

    return jax.lax.fori_loop(0, -(-draws.count // draws.few), block, start)


def numbers(model: Any, shapes: list[tuple[int, ...]]) -> int:
    """Return about how many numbers the largest layer of a model makes of a row of these shapes."""
    widest = max((max(leaf.shape[-2:]) for leaf in jax.tree.leaves(model) if np.ndim(leaf) > 1), default=1)
    steps = max((shape[0] for shape in shapes if len(shape) == 2), default=1)
    return max(steps * widest, *map(math.prod, shapes))


def content(x: Array, observed: Array | None) -> Array:
    """Return a number for the content of each row, (B,), of 32-bit numbers, (B, *event); padding changes nothing."""
    bits = x if x.dtype == jnp.uint32 else jax.lax.bitcast_convert_type(x, jnp.uint32)
    places = jnp.arange(1, 2 * math.prod(bits.shape[1:]), 2, dtype=jnp.uint32).reshape(bits.shape[1:])
    # Mixed before they are added up: floats such as 0 and 1 differ in their upper bits only.
    mixed = (bits ^ (bits >> 16) ^ places * jnp.uint32(0x9E3779B1)) * jnp.uint32(0x7FEB352D)
    mixed = (mixed ^ (mixed >> 15)) * jnp.uint32(0x846CA68B)
    mixed = mixed ^ (mixed >> 16)
    if observed is not None:
        mixed = jnp.where(observed, mixed, 0)
    return mixed.reshape(mixed.shape[0], -1).sum(1, dtype=jnp.uint32)


def _cells(x: Array) -> Array:
    """Return the cells of a grid in which entries lie; its lines avoid 0, 1 and fractions, where many values are."""
    return jnp.floor(jnp.clip(_CELLS * x + 0.37, -1e8, 1e8)).astype(jnp.int32)


def _most_numbers() -> int:
    return _NUMBERS.get(jax.default_backend(), _MORE_NUMBERS)


def _drawn(model: Model, outputs: dict[str, Array], keys: Array, count: int, independent: bool) -> tuple[Array, Array]:
    """Return draws of z by a key for each row, (count, B, L), and their log q(z|x), (count, B)."""
    posterior = model.posterior.given(outputs)
    source = _source(posterior)
    if type(source) not in (dist.Normal, dist.MultivariateNormal, *_BY_QUANTILE):
        z, log_q = model.posterior.draw(outputs, keys, (count,))
        return jnp.moveaxis(z, 1, 0), log_q.T
    size = (*source.batch_shape, *source.event_shape)[-1]
    if independent or count == 1:
        noise = jax.vmap(lambda key: jax.random.normal(key, (count, size)), out_axes=1)(keys)
    else:
        noise = jax.vmap(lambda key: even_noise(key, size)[:count], out_axes=1)(keys)
    z, steps = _driven(posterior, noise)
    return z, posterior.log_prob(z, intermediates=steps) if steps else posterior.log_prob(z)


def even_noise(key: Array, size: int) -> Array:
    """Return 16 draws from N(0, I) that cover the space evenly, (16, size); see the module's text."""
    bits = jax.random.bits(key, (_PAIRS * size + _PAIRS + 1,))  # all at once: a generator is most of what compiles
    share = ((bits >> 9).astype(jnp.float32) + 0.5) * 2.0**-23  # within (0, 1)
    vectors = _at_right_angles(jax.scipy.special.ndtri(share[: _PAIRS * size]).reshape(_PAIRS, size))
    eighths = (jnp.arange(_PAIRS) + (bits[-1] % _PAIRS).astype(jnp.int32)) % _PAIRS
    quantiles = (eighths + share[_PAIRS * size : -1]) / _PAIRS
    vectors = vectors * _lengths(quantiles, size)[:, None]
    return jnp.stack([vectors, -vectors], 1).reshape(_BLOCK, size)


def _at_right_angles(vectors: Array) -> Array:
    """Return unit vectors, (8, L), of which each is at right angles to those before it in its group of L."""
    group = np.arange(_PAIRS) // vectors.shape[1]
    same = jnp.asarray(group[:, None] == group, jnp.float32)

    def one(number: Array, made: Array) -> Array:
        vector = vectors[number]
        for _ in range(2):  # since digits cancel
            shares = (made * vector).sum(1) * same[number]
            vector = vector - (shares[:, None] * made).sum(0)
        return made.at[number].set(vector * jax.lax.rsqrt(jnp.maximum(jnp.square(vector).sum(), 1e-30)))

    return jax.lax.fori_loop(0, _PAIRS, one, jnp.zeros_like(vectors))


def _lengths(quantiles: Array, size: int) -> Array:
    """Return quantiles of the length of a draw from N(0, I) in so many dimensions."""
    table, step = jnp.asarray(_length_table(size)), 2 * _REACH / _NODES
    at = (jnp.clip(jax.scipy.special.ndtri(quantiles), -_REACH, _REACH - step) + _REACH) / step
    low = jnp.minimum(at.astype(jnp.int32), _NODES - 1)
    return table[low] + (at - low) * (table[low + 1] - table[low])


@functools.lru_cache(maxsize=64)
def _length_table(size: int) -> NDArray[np.float32]:
    """Return the lengths that are as rare as a deviation from -5.5 to 5.5 is of a normal number."""
    from scipy.stats import chi, norm

    nodes = np.linspace(-_REACH, _REACH, _NODES + 1)
    return np.where(nodes < 0, chi.ppf(norm.cdf(nodes), size), chi.isf(norm.sf(nodes), size)).astype(np.float32)


def _source(distribution: Any) -> Any:
    """Return the distribution whose draws maps turn into those of `distribution`."""
    if isinstance(distribution, dist.Independent | dist.TransformedDistribution):
        return _source(distribution.base_dist)
    return distribution


def _driven(distribution: Any, noise: Array) -> tuple[Array, list[Any]]:
    """Return draws, (k, B, L), made of standard normal noise, and what the maps on the way leave for the density."""
    if isinstance(distribution, dist.Independent):
        return _driven(distribution.base_dist, noise)
    if isinstance(distribution, dist.TransformedDistribution):
        value, steps = _driven(distribution.base_dist, noise)[0], []
        for transform in distribution.transforms:
            before = value
            value, step = transform.call_with_intermediates(before)
            steps.append([before, step])
        return value, steps
    if isinstance(distribution, dist.Normal):
        return distribution.loc + distribution.scale * noise, []
    if isinstance(distribution, dist.MultivariateNormal):
        return distribution.loc + (distribution.scale_tril @ noise[..., None])[..., 0], []
    quantiles = jnp.clip(jax.scipy.special.ndtr(noise), 1e-7, 1 - 1e-7)
    return jnp.asarray(distribution.icdf(quantiles)), []

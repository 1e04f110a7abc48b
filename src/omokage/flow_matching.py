"""Densities by flow matching: a network gives the velocity that carries noise to codes, and learns it by regression.

Noise x and a code y are the ends of a path u = cos θ · x + sin θ · y, with θ from 0 to π/2, whose velocity is
y cos θ - x sin θ. The network learns the mean velocity of all paths through a point. Its differential equation carries
a normal to the density of the codes, and back; the density follows from the trace of the Jacobian along the way.

Codes are whitened, so where they are normal, the velocity is 0 everywhere, as it is with the first weights. Straight
paths are these up to the unit of u at each time; on them the network would first have to learn that unit.

Sources: Lipman et al., "Flow Matching for Generative Modeling", 2023. Albergo and Vanden-Eijnden, "Building Normalizing
Flows with Stochastic Interpolants", 2023, for these paths. Zhang et al., "Mixed-Type Tabular Data Synthesis with
Score-based Diffusion in Latent Space", 2024, for such a density of the codes of tables.
"""

import functools
import itertools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import optax
from jax import Array, lax
from numpy.typing import NDArray

from omokage.density import Learned

_TIMES, _EMBEDDED = 16, 64  # sines and cosines of the time, and what a layer makes of them
_BATCH, _RATE, _CLIP, _DECAY = 256, 2e-3, 1.0, 0.999
_LOOKS, _PATIENCE = 20, 5  # how often held-out codes are looked at, and how many looks without gain are enough
_PAIRS = 4096  # of held-out codes and noise, at least
_STAGES = ((0.0, 1 / 6), (0.5, 1 / 3), (0.5, 1 / 3), (1.0, 1 / 6))  # how far ahead a slope is taken, and its share
Weights = Mapping[str, Array]
_State = tuple[Any, Any, Any, Array]  # weights, the optimizer's state, mean weights, how many steps are done


def first_weights(latent_dim: int, hidden: tuple[int, ...], seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Return the arrays of a velocity at the start, by name; it is 0.

    Args:
        latent_dim: L.
        hidden: Widths of the hidden layers.
        seed: Of the weights.

    Example:
        >>> {name: array.shape for name, array in first_weights(2, (8, 8)).items()}["weight_1"]
        (8, 8)
    """
    random = np.random.default_rng(seed)

    def made(name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        moves = name == "time" or (name.startswith("weight") and name != f"weight_{len(hidden)}")
        bound = np.sqrt(3 / shape[0]) if moves else 0.0
        return random.uniform(-bound, bound, shape).astype(np.float32)

    return {name: made(name, shape) for name, shape in shapes(latent_dim, hidden).items()}


def shapes(latent_dim: int, hidden: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the arrays of a velocity, by name.

    "weight" and "bias" are those of layers; "time" embeds the time, and a "modulation" makes gains and shifts of it.
    """
    sizes = [latent_dim, *hidden, latent_dim]
    found: dict[str, tuple[int, ...]] = {"time": (_TIMES, _EMBEDDED), "time_bias": (_EMBEDDED,)}
    for number, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        found |= {f"weight_{number}": (inputs, outputs), f"bias_{number}": (outputs,)}
        if number < len(hidden):
            found[f"modulation_{number}"] = (_EMBEDDED, 2 * outputs)
    return found


def layer_weights(layers: int) -> tuple[str, ...]:
    """Return which arrays of a velocity with so many hidden layers are weights of layers."""
    return ("time", *(f"{name}_{n}" for n in range(layers) for name in ("weight", "modulation")), f"weight_{layers}")


def velocity_weights(latent_dim: int, hidden: tuple[int, ...]) -> dict[str, Learned]:
    """Return the parameters of a velocity, by name: `first_weights`, made only when they are needed."""
    weights = functools.cache(lambda: first_weights(latent_dim, hidden))

    def first(name: str, shape: tuple[int, ...]) -> Learned:
        return Learned(lambda: weights()[name], shape)

    return {name: first(name, shape) for name, shape in shapes(latent_dim, hidden).items()}


def velocity(weights: Weights, u: Array, time: Array) -> Array:
    """Return du/dθ, (..., L), at points, (..., L), and times from 0 to 1, (...) or one for all."""
    waves = jnp.pi * time[..., None] * jnp.arange(1, _TIMES // 2 + 1)
    waves = jnp.concatenate([jnp.sin(waves), jnp.cos(waves)], -1)
    embedded = jax.nn.silu(waves @ weights["time"] + weights["time_bias"])
    h, last = u, sum(name.startswith("modulation") for name in weights)
    for number in range(last):
        gain, shift = jnp.split(embedded @ weights[f"modulation_{number}"], 2, -1)
        made = h @ weights[f"weight_{number}"] + weights[f"bias_{number}"]
        made = jax.nn.silu(made * (1 + gain) + shift)
        h = h + made if number and h.shape == made.shape else made
    return h @ weights[f"weight_{last}"] + weights[f"bias_{last}"]


def angle(time: Array) -> tuple[Array, Array]:
    """Return θ and dθ/dt for a time t: slow towards the codes, where a thin cluster is told from its neighbours."""
    return jnp.pi / 2 * (1 - (1 - time) ** 2), jnp.pi * (1 - time)


class Carried(dist.Distribution):
    """A standard normal carried by a velocity, and then by an affine map, z = mean + factor · u.

    Example:
        >>> weights = first_weights(2, (4,))  # a velocity of 0
        >>> round(float(Carried(jnp.zeros(2), jnp.eye(2), weights, steps=1).log_prob(jnp.zeros(2))), 3)
        -1.838
    """

    support = dist.constraints.real_vector
    pytree_data_fields = ("middle", "factor", "weights")
    pytree_aux_fields = ("steps",)

    def __init__(self, middle: Array, factor: Array, weights: Weights, *, steps: int):
        """Keep the parts.

        Args:
            middle: Where u = 0 comes to lie, (L,).
            factor: Lower triangular, (L, L).
            weights: Of the velocity; see `shapes`.
            steps: How many steps of Runge and Kutta's method of fourth order lead from one end to the other.
        """
        self.middle, self.factor, self.weights, self.steps = middle, factor, dict(weights), steps
        super().__init__(event_shape=middle.shape[-1:])

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        """Return draws, (*sample_shape, L)."""
        noise = jax.random.normal(key, (*sample_shape, *self.event_shape))
        u = _solved(self._moved, noise, self.steps, 1)
        return self.middle + u @ self.factor.T

    def log_prob(self, value: Array) -> Array:
        """Return the log-density of each z, (...), for (..., L), in nats, by the exact trace of the Jacobian."""
        rows = (value - self.middle).reshape(-1, *self.event_shape)
        u = jax.scipy.linalg.solve_triangular(self.factor, rows.T, lower=True).T

        def moved(state: tuple[Array, Array], time: Array) -> tuple[Array, Array]:
            return moved_and_trace(lambda u: self._moved(u, time), state[0])

        u, gained = _solved(moved, (u, jnp.zeros_like(u[:, 0])), self.steps, -1)
        density = dist.Normal().log_prob(u).sum(-1) + gained - jnp.log(jnp.diagonal(self.factor)).sum()
        return density.reshape(value.shape[:-1])

    def _moved(self, u: Array, time: Array) -> Array:
        return velocity(self.weights, u, time) * angle(time)[1]


def moved_and_trace(function: Callable[[Array], Array], u: Array) -> tuple[Array, Array]:
    """Return a function of rows, (n, L), and the trace of its Jacobian at each of them, (n,).

    Example:
        >>> moved, trace = moved_and_trace(lambda u: u**2, jnp.array([[1.0, 3.0]]))
        >>> trace.tolist()
        [8.0]
    """
    moved, along = jax.linearize(function, u)
    # One direction after the other: all L at once would take L times the memory, and hardly less time.
    slopes = lax.map(lambda unit: along(jnp.broadcast_to(unit, u.shape)) @ unit, jnp.eye(u.shape[-1], dtype=u.dtype))
    return moved, slopes.sum(0)


def _solved(change: Callable[[Any, Array], Any], start: Any, steps: int, way: int) -> Any:
    """Return where a differential equation leads in the time from 0 to 1, or from 1 to 0 where `way` is -1."""

    size = way / steps

    def stage(found: tuple[Any, Any, Any, Array], how: Array) -> tuple[Any, None]:
        state, last, total, time = found
        ahead, share = how
        here = jax.tree.map(lambda value, slope: value + size * ahead * slope, state, last)
        slope = change(here, time + size * ahead)
        return (state, slope, jax.tree.map(lambda all, one: all + share * one, total, slope), time), None

    def step(state: Any, number: Array) -> tuple[Any, None]:
        none = jax.tree.map(jnp.zeros_like, state)
        time = number / steps if way > 0 else 1 - number / steps
        # A loop, so that the network is compiled once and not four times.
        (_, _, slope, _), _ = lax.scan(stage, (state, none, none, time), jnp.array(_STAGES))
        return jax.tree.map(lambda value, by: value + size * by, state, slope), None

    return lax.scan(step, start, jnp.arange(steps, dtype=jnp.float32))[0]


def loss(weights: Weights, codes: Array, key: Array) -> Array:
    """Return the mean squared error of the velocity on paths from noise to whitened codes, (n, L)."""
    random, when = jax.random.split(key)
    noise = jax.random.normal(random, codes.shape)
    # Evenly spread, so that the loss varies less.
    time = (jnp.arange(len(codes)) + jax.random.uniform(when, (len(codes),))) / len(codes)
    cosine, sine = jnp.cos(angle(time)[0])[:, None], jnp.sin(angle(time)[0])[:, None]
    found = velocity(weights, cosine * noise + sine * codes, time)
    return jnp.square(found - (cosine * codes - sine * noise)).mean()


def trained(
    codes: NDArray[np.float32], hidden: tuple[int, ...], updates: int, seed: int
) -> dict[str, NDArray[np.float32]]:
    """Return the weights of a velocity that was trained on whitened codes.

    A tenth of the codes is held out. Of the moving averages of the weights that are looked at on the way, those with
    the least loss there are returned, so that single codes are not learned by heart.

    Args:
        codes: (n, L), with mean 0 and covariance I; two at least.
        hidden: Widths of the hidden layers.
        updates: How many steps of Adam, at most.
        seed: Of all draws.
    """
    order = np.random.default_rng(seed).permutation(len(codes))
    apart = max(len(codes) // 10, 1)
    held, rows = codes[order[:apart]], codes[order[apart:]]
    held = np.random.default_rng(seed).permutation(np.tile(held, (-(-_PAIRS // apart), 1)))
    weights = {name: jnp.asarray(array) for name, array in first_weights(codes.shape[1], hidden, seed).items()}
    key, fixed = jax.random.split(jax.random.key(seed))
    state: _State = (weights, _rule().init(weights), weights, jnp.int32(0))
    best, least, since = weights, float(_held_out(weights, held, fixed)), 0
    for look in range(1, _LOOKS + 1):
        state = _advanced(state, rows, key, jnp.int32(look * updates // _LOOKS), jnp.int32(updates))
        found = float(_held_out(state[2], held, fixed))
        best, least, since = (state[2], found, 0) if found < least else (best, least, since + 1)
        if since == _PATIENCE:
            break
    return {name: np.asarray(array) for name, array in best.items()}


_held_out = jax.jit(loss)


@functools.cache
def _rule() -> optax.GradientTransformation:
    return optax.chain(optax.clip_by_global_norm(_CLIP), optax.scale_by_adam())


@jax.jit
def _advanced(state: _State, codes: Array, key: Array, until: Array, updates: Array) -> _State:
    """Return the state after so many steps in all; one compiled program for any number of them."""

    def step(state: _State) -> _State:
        weights, moments, means, number = state
        which, paths = jax.random.split(jax.random.fold_in(key, number))
        batch = codes[jax.random.randint(which, (min(_BATCH, len(codes)),), 0, len(codes))]
        change, moments = _rule().update(jax.grad(loss)(weights, batch, paths), moments)
        rate = _RATE * 0.5 * (1 + jnp.cos(jnp.pi * number / updates))
        weights = jax.tree.map(lambda old, by: old - rate * by, weights, change)
        # Of fewer steps at first, or the first weights would stay in the average for long.
        decay = jnp.minimum(_DECAY, (1 + number) / (10 + number))
        means = jax.tree.map(lambda mean, new: decay * mean + (1 - decay) * new, means, weights)
        return weights, moments, means, number + 1

    return lax.while_loop(lambda state: state[3] < until, step, state)

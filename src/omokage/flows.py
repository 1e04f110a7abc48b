"""Maps with networks in them whose Jacobians are known, from which priors and posteriors get their shape.

    coupling          half of z moves the other half:           both ways in one pass; for priors, which sample
    autoregressive    each entry of z moves those after it:     forward in one pass, back in L; for posteriors

A map is a NumPyro transform of (..., L); its arrays are parameters of a family, stacked over F steps, so they are
trained, saved and loaded as all others. With the first weights every map is the identity.

Sources: Dinh, Sohl-Dickstein and Bengio, "Density estimation using Real NVP", 2017. Kingma et al., "Improved
Variational Inference with Inverse Autoregressive Flow", 2016. Germain et al., "MADE", 2015.
"""

import functools
from collections.abc import Mapping
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from numpy.typing import NDArray
from numpyro.distributions import constraints
from numpyro.distributions.transforms import Transform

from omokage.density import Learned
from omokage.errors import ParameterError, check_counts

Kind = Literal["coupling", "autoregressive"]
MOST_STEPS = 1000
WEIGHTS = ("first", "second", "last")  # of each step's layers
_NAMES = ("first", "first_bias", "second", "second_bias", "last", "last_bias")


def first_weights(latent_dim: int, steps: int, width: int, context: int = 0) -> dict[str, NDArray[np.float32]]:
    """Return the arrays of a flow at the start, by name, with F steps before the other axes.

    Example:
        >>> {name: array.shape for name, array in first_weights(2, steps=3, width=8).items()}["first"]
        (3, 2, 8)
    """
    random = np.random.default_rng(0)
    sizes = {"first": (latent_dim + context, width), "second": (width, width), "last": (width, 2 * latent_dim)}
    weights: dict[str, NDArray[np.float32]] = {}
    for name, (inputs, outputs) in sizes.items():
        bound = 0.0 if name == "last" else 1 / np.sqrt(inputs)
        weights[name] = random.uniform(-bound, bound, (steps, inputs, outputs)).astype(np.float32)
        weights[f"{name}_bias"] = np.zeros((steps, outputs), np.float32)
    return weights


def learned_weights(latent_dim: int, steps: int, width: int, context: int = 0) -> dict[str, Learned]:
    """Return the parameters of a flow, by name: `first_weights`, made only when they are needed."""
    weights = functools.cache(lambda: first_weights(latent_dim, steps, width, context))
    sizes = {"first": (latent_dim + context, width), "second": (width, width), "last": (width, 2 * latent_dim)}
    shapes: dict[str, tuple[int, ...]] = {name: (steps, *size) for name, size in sizes.items()}
    shapes |= {f"{name}_bias": (steps, size[1]) for name, size in sizes.items()}

    def first(name: str) -> Learned:
        return Learned(lambda: weights()[name], shapes[name])

    return {name: first(name) for name in shapes}


def check_steps(settings: Any) -> None:
    """Check how many steps a flow has, each of which is compiled on its own.

    Raises:
        ParameterError: If there are none, or too many to be compiled.
    """
    check_counts(settings, "steps")
    if settings.steps > MOST_STEPS:
        kind = type(settings).__name__
        raise ParameterError(
            f"{kind}(steps={settings.steps!r}): expected at most {MOST_STEPS} steps, since each is compiled on its own."
        )


def flow(kind: Kind, weights: Mapping[str, Array], context: Array | None = None) -> list[Transform]:
    """Return the steps of a flow.

    Args:
        kind: "coupling" or "autoregressive".
        weights: As of `first_weights`.
        context: What else each row's map depends on, (..., C).
    """
    count = len(weights["first"])
    return [
        Step(*(weights[name][number] for name in _NAMES), context=context, kind=kind, number=number)
        for number in range(count)
    ]


class Step(Transform[Array]):
    """y = x · exp(s) + t, where s and t are what a network makes of other entries of x; |s| is at most 2."""

    domain = constraints.real_vector
    codomain = constraints.real_vector

    def __init__(
        self,
        first: Any,
        first_bias: Any,
        second: Any,
        second_bias: Any,
        last: Any,
        last_bias: Any,
        *,
        context: Any,
        kind: Kind,
        number: int,
    ):
        self.weights = (first, first_bias, second, second_bias, last, last_bias)
        self.context, self.kind, self.number = context, kind, number

    def tree_flatten(self) -> tuple[Any, Any]:
        """Return the arrays, and what is not an array."""
        return (self.weights, self.context), (("weights", "context"), {"kind": self.kind, "number": self.number})

    def __call__(self, x: Array) -> Array:
        """Return y, (..., L)."""
        return self.call_with_intermediates(x)[0]

    def call_with_intermediates(self, x: Array) -> tuple[Array, Array]:
        """Return y, (..., L), and s."""
        x = self._spread(x)
        scale, shift = self._scale_and_shift(x)
        return x * jnp.exp(scale) + shift, scale

    def _spread(self, x: Array) -> Array:
        """Return x for each of the contexts, where there are more of these."""
        if self.context is None:
            return x
        places = jnp.broadcast_shapes(x.shape[:-1], self.context.shape[:-1])
        return jnp.broadcast_to(x, (*places, x.shape[-1]))

    def _inverse(self, y: Array) -> Array:
        y = self._spread(y)
        if self.kind == "coupling":  # the entries that s and t depend on have not moved
            scale, shift = self._scale_and_shift(y)
            return (y - shift) * jnp.exp(-scale)

        def sharper(_: int, x: Array) -> Array:  # after j rounds j entries are right
            scale, shift = self._scale_and_shift(x)
            return (y - shift) * jnp.exp(-scale)

        return lax.fori_loop(0, y.shape[-1], sharper, jnp.zeros_like(y))

    def log_abs_det_jacobian(self, x: Array, y: Array, intermediates: Array | None = None) -> Array:
        """Return log |dy/dx|, (...)."""
        scale = self._scale_and_shift(self._spread(x))[0] if intermediates is None else intermediates
        return scale.sum(-1)

    def _scale_and_shift(self, x: Array) -> tuple[Array, Array]:
        first, first_bias, second, second_bias, last, last_bias = self.weights
        size, width = x.shape[-1], first.shape[-1]
        into, within, out, moved = _masks(self.kind, size, width, self.number)
        inputs, masks = x, into
        if self.context is not None:
            context = jnp.broadcast_to(self.context, (*x.shape[:-1], self.context.shape[-1]))
            inputs = jnp.concatenate([x, context], -1)
            masks = np.concatenate([into, np.ones((self.context.shape[-1], width), bool)])
        hidden = jnp.tanh(inputs @ (first * masks) + first_bias)
        hidden = jnp.tanh(hidden @ (second * within) + second_bias)
        scale, shift = jnp.split(hidden @ (last * np.concatenate([out, out], -1)) + last_bias, 2, -1)
        return 2 * jnp.tanh(scale / 2) * moved, shift * moved


def _masks(kind: Kind, size: int, width: int, number: int) -> tuple[NDArray[np.bool_], ...]:
    """Return which weights there are, (L, W), (W, W), (W, L), and which entries move, (L,).

    In every second step the order of the entries, or the halves, is the other way round.
    """
    order = np.arange(size) if number % 2 == 0 else np.arange(size)[::-1]
    if kind == "coupling":
        moved = (np.arange(size) + number) % 2 == 0
        # A single entry has nothing to depend on, and is scaled and shifted by constants.
        return (
            np.broadcast_to(~moved[:, None], (size, width)),
            np.ones((width, width), bool),
            np.broadcast_to(moved, (width, size)),
            moved,
        )
    degrees = np.arange(width) % max(size - 1, 1)
    into, within = order[:, None] <= degrees, degrees[:, None] <= degrees
    if size == 1:
        into = np.zeros_like(into)
    return into, within, degrees[:, None] < order, np.ones(size, bool)

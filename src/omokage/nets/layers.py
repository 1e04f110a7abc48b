"""The layers that networks are made of, and what a forward pass in training needs beside the input.

A layer is called as `layer(x, training)`, x of shape (B, features). `training` is `None` except in the
forward pass of a training step: then it hands out keys for dropout and collects the batch statistics,
which the step writes back with `with_statistics`. So nothing else needs to know that layers have state.

Weights are NumPy arrays until training puts them on a device, so making a network compiles nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from omokage.batch import Batch
from omokage.memory import filled

MOST_LAYERS = 1000  # of a network

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": jax.nn.relu,
    "leaky": jax.nn.leaky_relu,
    "elu": jax.nn.elu,
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
    "softplus": jax.nn.softplus,
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "identity": lambda x: x,
}

Initializer = Callable[[np.random.Generator, int, int], NDArray[np.floating]]


def _uniform(bound: Callable[[int, int], float]) -> Initializer:
    return lambda random, outputs, inputs: random.uniform(
        -bound(outputs, inputs), bound(outputs, inputs), (outputs, inputs)
    )


def _normal(deviation: Callable[[int, int], float]) -> Initializer:
    return lambda random, outputs, inputs: random.normal(0, deviation(outputs, inputs), (outputs, inputs))


def _orthogonal(random: np.random.Generator, outputs: int, inputs: int) -> NDArray[np.floating]:
    q, r = np.linalg.qr(random.normal(size=(max(outputs, inputs), min(outputs, inputs))))
    q = q * np.sign(np.diag(r))  # without it the distribution is not uniform (Mezzadri, 2007)
    return q if outputs >= inputs else q.T


# Each gives the weight matrix, (outputs, inputs), of one layer.
INITIALIZERS: dict[str, Initializer] = {
    "glorot_uniform": _uniform(lambda outputs, inputs: np.sqrt(6 / (inputs + outputs))),  # Glorot and Bengio, 2010
    "glorot_normal": _normal(lambda outputs, inputs: np.sqrt(2 / (inputs + outputs))),
    "he_normal": _normal(lambda outputs, inputs: np.sqrt(2 / inputs)),  # He et al., 2015
    "he_uniform": _uniform(lambda outputs, inputs: np.sqrt(6 / inputs)),
    "lecun_normal": _normal(lambda outputs, inputs: np.sqrt(1 / inputs)),
    "lecun_uniform": _uniform(lambda outputs, inputs: np.sqrt(1 / inputs)),  # as PyTorch's Linear
    "orthogonal": _orthogonal,
}


@dataclass(frozen=True)
class Making:
    """How the layers of a network are made.

    Attributes:
        random: Where the first weights come from; `None` leaves them blank, to be loaded.
        activation: A key of `ACTIVATIONS`, or a function.
        normalization: "batch", "layer" or `None`; before the activation.
        dropout: The share of entries dropped in training.
        initializer: For the first weights.
        name: Prefix of the names of batch-norm layers; must differ within a model.
    """

    random: np.random.Generator | None
    activation: str | Callable[[Array], Array]
    normalization: str | None
    dropout: float
    initializer: Initializer
    name: str


class Frozen(eqx.Module):
    """An array in a model that no gradient step changes: a given constant, or a running statistic."""

    value: Any


class TrainingPass:
    """One forward pass in training; made and consumed while the step is traced.

    `weight` says how much each row counts, (B,), so that statistics of the batch are those of the rows that do; `None`:
    one each.
    """

    def __init__(self, key: Array, weight: Array | None = None):
        self._key, self.weight = key, weight
        self.statistics: dict[str, tuple[Array, Array]] = {}

    def key(self) -> Array:
        """Return a key that no other caller gets."""
        self._key, key = jax.random.split(self._key)
        return key

    def repeated(self) -> "TrainingPass":
        """Return a pass that hands out the same keys from here on, and writes the same statistics."""
        other = TrainingPass(self._key, self.weight)
        other.statistics = self.statistics
        return other


class Weighted(eqx.Module):
    """A layer with a `weight` that multiplies what comes in: what weight decay and penalties of weights are about."""

    weight: eqx.AbstractVar[Any]


class Linear(Weighted):
    """y = x Wᵀ + b, with W of shape (outputs, inputs)."""

    weight: Any
    bias: Any

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of what comes out, without the rows."""
        return (len(self.bias),)

    def __init__(self, inputs: int, outputs: int, initializer: Initializer, random: np.random.Generator | None):
        self.weight, self.bias = filled((outputs, inputs)), filled((outputs,))  # blank: takes no memory
        if random is not None:
            self.weight = np.asarray(initializer(random, outputs, inputs), np.float32)
            self.bias = np.zeros(outputs, np.float32)

    def __call__(self, x: Array, training: TrainingPass | None = None) -> Array:
        """Return (B, outputs)."""
        return x @ self.weight.T + self.bias


class Head(Weighted):
    """From the features of each place to a parameter of a distribution: y = x Wᵀ + b, in the parameter's shape."""

    weight: Any
    bias: Any
    shape: tuple[int, ...] = eqx.field(static=True)

    def __init__(
        self,
        inputs: int,
        shape: tuple[int, ...],
        start: Any,
        initializer: Initializer,
        random: np.random.Generator | None,
    ):
        linear = Linear(inputs, prod(shape), initializer, random)
        self.weight, self.bias, self.shape = linear.weight, linear.bias, shape
        if random is not None:
            self.bias = linear.bias + np.broadcast_to(np.asarray(start, np.float32), shape).ravel()

    def __call__(self, features: Array, training: TrainingPass | None = None) -> Array:
        """Return (B, *places, *shape) from (B, *places, inputs)."""
        return (features @ self.weight.T + self.bias).reshape(*features.shape[:-1], *self.shape)


class Network(eqx.Module):
    """A network whose heads are linear, the same at each place where its features stand."""

    features: eqx.AbstractVar[int]

    def head(self, shape: tuple[int, ...], start: Any, initializer: Initializer, random: Any) -> Head:
        """Return what makes a parameter of this shape of the features of each place, (B, *places, features)."""
        return Head(self.features, shape, start, initializer, random)


class Activation(eqx.Module):
    """An elementwise function."""

    function: str | Callable[[Array], Array] = eqx.field(static=True)

    def __call__(self, x: Array, training: TrainingPass | None = None) -> Array:
        """Return an array like x."""
        function = ACTIVATIONS[self.function] if isinstance(self.function, str) else self.function
        return function(x)


class LayerNorm(eqx.Module):
    """Each row to mean 0 and variance 1, then scaled and shifted (Ba, Kiros and Hinton, 2016)."""

    gain: Any
    shift: Any

    def __init__(self, features: int):
        self.gain, self.shift = filled((features,), 1.0), filled((features,))

    def __call__(self, x: Array, training: TrainingPass | None = None) -> Array:
        """Return an array like x."""
        centred = x - x.mean(-1, keepdims=True)
        return centred * jax.lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + 1e-5) * self.gain + self.shift


class BatchNorm(eqx.Module):
    """Each feature to mean 0 and variance 1 over the batch, then scaled and shifted (Ioffe and Szegedy, 2015).

    Outside training the running mean and variance stand in for the batch's.
    """

    gain: Any
    shift: Any
    mean: Frozen
    variance: Frozen
    name: str = eqx.field(static=True)
    epsilon: float = eqx.field(static=True, default=1e-5)
    momentum: float = eqx.field(static=True, default=0.9)

    def __init__(self, features: int, name: str):
        self.gain, self.shift = filled((features,), 1.0), filled((features,))
        self.mean, self.variance = Frozen(filled((features,))), Frozen(filled((features,), 1.0))
        self.name, self.epsilon, self.momentum = name, 1e-5, 0.9

    def __call__(self, x: Array, training: TrainingPass | None = None) -> Array:
        """Return an array like x, (B, *places, features)."""
        mean, variance = self.mean.value, self.variance.value
        if training is not None:
            mean, variance = self._statistics(x, training.weight)
            training.statistics[self.name] = (mean, variance)
        return (x - mean) * jax.lax.rsqrt(variance + self.epsilon) * self.gain + self.shift

    def _statistics(self, x: Array, weight: Array | None) -> tuple[Array, Array]:
        """Return the mean and the variance over rows and places by the rows' weights; the running ones, if all are 0.

        Of each row of the batch there may be several in `x`, draw after draw.
        """
        places = tuple(range(x.ndim - 1))
        if weight is None:
            return x.mean(places), x.var(places)
        weight = jnp.tile(weight, len(x) // len(weight)).reshape(-1, *[1] * (x.ndim - 1))
        total = weight.sum() * (x.size // (len(x) * x.shape[-1]))
        share, counts = weight / jnp.where(total > 0, total, 1.0), weight > 0
        mean = jnp.where(counts, share * x, 0).sum(places)
        variance = jnp.where(counts, share * jnp.square(x - mean), 0).sum(places)
        return jnp.where(total > 0, mean, self.mean.value), jnp.where(total > 0, variance, self.variance.value)


class Dropout(eqx.Module):
    """Entries set to zero with probability `rate` in training, the others scaled up (Srivastava et al., 2014)."""

    rate: float = eqx.field(static=True)

    def __call__(self, x: Array, training: TrainingPass | None = None) -> Array:
        """Return an array like x."""
        if training is None:
            return x
        kept = jax.random.bernoulli(training.key(), 1 - self.rate, x.shape)
        return jnp.where(kept, x / (1 - self.rate), 0)


def waves(count: int) -> NDArray[np.float32]:
    """Return sines and cosines of each step's number, by which a network can tell steps apart, (1, T, 20)."""
    angles = 2 * np.pi * np.arange(count)[:, None] / 2.0 ** np.arange(1, 11)  # periods of 2 to 1,024 steps
    return np.concatenate([np.sin(angles), np.cos(angles)], -1)[None].astype(np.float32)


def with_context(x: Array, batch: Batch | None) -> Array:
    """Return x, (B, *places, features), with the context of each row beside it at every place, if there is one."""
    if batch is None or batch.context is None:
        return x
    context = jnp.expand_dims(batch.context, tuple(range(1, x.ndim - 1)))
    return jnp.concatenate([x, jnp.broadcast_to(context, (*x.shape[:-1], context.shape[-1]))], -1)


def with_missing(x: Array, batch: Batch | None, missing: int) -> Array:
    """Return x, (B, *places, features), and beside it which of so many entries are there, where some can miss."""
    if not missing:
        return x
    there = jnp.ones((*x.shape[:-1], missing), x.dtype)
    if batch is not None and batch.mask is not None:
        there = batch.mask.astype(x.dtype)
    return jnp.concatenate([x, there], -1)


def trainable(module: Any) -> Any:
    """Return a tree of booleans like `module`: which of its arrays gradient steps change."""
    return jax.tree.map(
        lambda leaf: isinstance(leaf, np.ndarray | jax.Array) and jnp.issubdtype(leaf.dtype, jnp.inexact),
        module,
        is_leaf=lambda leaf: isinstance(leaf, Frozen),
    )


def layer_weights(module: Any) -> Any:
    """Return a tree of booleans like `module`: which of its arrays are the weight of a layer.

    The kind of layer decides, not the number of axes: biases of pictures have three, and are none.
    """
    kinds = (Weighted, eqx.nn.Linear, eqx.nn.Conv, eqx.nn.ConvTranspose)

    def marked(path: Any, node: Any) -> Any:
        if not isinstance(node, kinds):
            return False
        return jax.tree_util.tree_map_with_path(lambda at, _: getattr(at[0], "name", "") == "weight", node)

    return jax.tree_util.tree_map_with_path(marked, module, is_leaf=lambda node: isinstance(node, kinds))


def with_statistics(module: Any, statistics: dict[str, tuple[Array, Array]]) -> Any:
    """Return `module` with the running statistics moved towards those of one training pass."""
    if not statistics:
        return module

    def moved(layer: Any) -> Any:
        if not isinstance(layer, BatchNorm) or layer.name not in statistics:
            return layer
        mean, variance = (
            Frozen(layer.momentum * old.value + (1 - layer.momentum) * jax.lax.stop_gradient(new))
            for old, new in zip((layer.mean, layer.variance), statistics[layer.name], strict=True)
        )
        return eqx.tree_at(lambda norm: (norm.mean, norm.variance), layer, (mean, variance))

    return jax.tree.map(moved, module, is_leaf=lambda leaf: isinstance(leaf, BatchNorm))

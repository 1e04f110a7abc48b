"""Optimizers and learning-rate schedules, by name.

A named optimizer is an Optax transformation without a learning rate, and a schedule is a function of how much of
the training is over, 0 to 1; the loop multiplies the two. So the compiled program depends on neither the learning
rate nor the number of epochs, and is made once for all of them.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jax import Array

from omokage.density import Density
from omokage.nets.layers import layer_weights

Schedule = Callable[[Array], Array]


def constant(progress: Array) -> Array:
    """Return 1 throughout."""
    return jnp.ones_like(progress)


def cosine(progress: Array) -> Array:
    """Return half a cosine from 1 to 0 (Loshchilov and Hutter, "SGDR", 2017)."""
    return 0.5 * (1 + jnp.cos(jnp.pi * jnp.clip(progress, 0, 1)))


def linear(progress: Array) -> Array:
    """Return a straight line from 1 to 0."""
    return 1 - jnp.clip(progress, 0, 1)


def one_cycle(progress: Array) -> Array:
    """Return a rise from 0.1 to 3 over the first tenth, then half a cosine to 0.

    After Smith and Topin, "Super-Convergence", 2018. The height and the length of the rise were chosen on validation
    rows of MNIST and of seven small tables.
    """
    rise = 0.1 + 2.9 * progress / 0.1
    return jnp.where(progress < 0.1, rise, 3 * cosine((progress - 0.1) / 0.9))


SCHEDULES: dict[str, Schedule] = {
    "auto": one_cycle,
    "constant": constant,
    "cosine": cosine,
    "linear": linear,
    "one-cycle": one_cycle,
}


@lru_cache(maxsize=64)
def optimizer(name: str, gradient_clip: float | None, weight_decay: float) -> optax.GradientTransformation:
    """Return a transformation from gradients to steps of learning rate 1.

    Args:
        name: "adam", "adamw", "nadam", "rmsprop" or "sgd" (with momentum 0.9).
        gradient_clip: The largest global norm of the gradient; `None`: no limit.
        weight_decay: For "adamw": how much of each weight is taken away, times the learning rate; biases, gains and
            parameters of densities stay (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019).
    """
    rules = {
        "adam": optax.scale_by_adam,
        "adamw": optax.scale_by_adam,
        "nadam": lambda: optax.scale_by_adam(nesterov=True),
        "rmsprop": lambda: optax.scale_by_rms(decay=0.9),
        "sgd": lambda: optax.trace(decay=0.9),
    }
    parts = [optax.clip_by_global_norm(gradient_clip)] if gradient_clip else []
    parts.append(rules[name]())
    if name == "adamw":
        parts.append(optax.add_decayed_weights(weight_decay, mask=decaying))
    return optax.chain(*parts, optax.scale(-1.0))


@lru_cache(maxsize=64)
def clipped(optimizer: optax.GradientTransformation, gradient_clip: float | None) -> optax.GradientTransformation:
    """Return a transformation of gradients whose global norm was limited before; one object for the same two."""
    return optimizer if gradient_clip is None else optax.chain(optax.clip_by_global_norm(gradient_clip), optimizer)


def decaying(parameters: Any) -> Any:
    """Return a tree of booleans like `parameters`: which decay.

    These are the weights of layers, those in a flow among them, which its family names in `layer_weights`. Biases,
    gains, scales, means of mixtures and pseudo-inputs are no weights of layers, whatever their shape.
    """

    def marked(node: Any) -> Any:
        flags = layer_weights(node)
        names = getattr(node.family, "layer_weights", ()) if isinstance(node, Density) else ()
        if not names:
            return flags
        return eqx.tree_at(lambda density: density.learned, flags, {name: name in names for name in node.learned})

    return jax.tree.map(marked, parameters, is_leaf=lambda node: isinstance(node, Density))

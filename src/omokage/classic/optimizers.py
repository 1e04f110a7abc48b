"""Optimizers that are handed out one a part: Optax transformations with Chainer's `setup`."""

import dataclasses
from functools import lru_cache
from typing import Any, Protocol

import optax

from omokage.errors import ParameterError
from omokage.optimizers import optimizer

Pairs = tuple[tuple[str, optax.GradientTransformation], ...]


class Part(Protocol):
    """The encoder or the decoder of a model, as an optimizer is set up for it."""

    def restart(self, optimizer: "Optimizer") -> None:
        """Begin the optimizer's state anew."""
        ...


class Optimizer:
    """An Optax transformation, such as `optax.sgd(0.1)`, with Chainer's `setup`."""

    def __init__(self, transformation: optax.GradientTransformation):
        if not isinstance(transformation, optax.GradientTransformation):
            raise ParameterError(
                "optimizer: expected an Optax transformation such as optax.adam(1e-3), or classic.Adam(); got "
                f"{transformation!r}."
            )
        self.transformation = transformation

    def setup(self, part: Part) -> None:
        """Begin the state of this optimizer anew for `vae.encoder` or `vae.decoder`, whose optimizer it is."""
        if not hasattr(part, "restart"):
            raise ParameterError(f"setup: expected vae.encoder or vae.decoder; got {part!r}.")
        part.restart(self)


class Adam(Optimizer):
    """Adam (Kingma and Ba, 2015), after the gradient of the part was clipped.

    Args:
        alpha: The learning rate.
        clip: The largest global norm of the gradient; `None`: no limit.
    """

    def __init__(self, alpha: float = 1e-3, clip: float | None = 1.0):
        for name, value in (("alpha", alpha), ("clip", clip)):
            if not (name == "clip" and value is None) and not (isinstance(value, int | float) and value > 0):
                raise ParameterError(f"Adam({name}={value!r}): expected a number above 0.")
        super().__init__(_adam(float(alpha), None if clip is None else float(clip)))


# One object for one setting, since a program is compiled for each.
@lru_cache(maxsize=64)
def _adam(alpha: float, clip: float | None) -> optax.GradientTransformation:
    return optax.chain(optimizer("adam", clip, 0.0), optax.scale(alpha))


@lru_cache(maxsize=64)
def together(pairs: Pairs) -> optax.GradientTransformation:
    """Return one transformation for a whole model from one for each part: "model", or "encoder" and "decoder"."""

    def init(parameters: Any) -> Any:
        return {name: transformation.init(part_of(parameters, name)) for name, transformation in pairs}

    def update(gradients: Any, state: Any, parameters: Any = None) -> Any:
        steps, states = gradients, {}
        for name, transformation in pairs:
            step, states[name] = transformation.update(part_of(gradients, name), state[name], part_of(parameters, name))
            steps = step if name == "model" else dataclasses.replace(steps, **{_FIELDS[name]: step})
        return steps, states

    return optax.GradientTransformation(init, update)


_FIELDS = {"encoder": "posterior", "decoder": "likelihood"}


def part_of(tree: Any, name: str) -> Any:
    """Return what belongs to a part of a tree like a model."""
    return tree if name == "model" else getattr(tree, _FIELDS[name])

"""A density whose parameters a network gives: what posterior, likelihood and prior have in common.

A *family* says which parameters it has (`parameters`) and which distribution they make (`distribution`);
it holds settings and no arrays. A `Density` is a family with the arrays that belong to it: the network
from the input to features h, a linear head from h to each `Output`, and the `Learned` and `Fixed` values.

    q(z|x): family over z, network from x        p(x|z): family over x, network from z
    p(z):   family over z, no network

To add a member one writes a frozen dataclass with these two methods, and passes an instance wherever a
name is accepted.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import equinox as eqx
import jax
import numpy as np
from jax import Array
from numpyro.distributions import Distribution

from omokage.batch import Event
from omokage.nets.layers import Frozen, Initializer, Linear, TrainingPass


@dataclass(frozen=True, eq=False)
class Output:
    """A parameter that the network gives for each row: its shape without the row, and what it starts at, like it."""

    shape: tuple[int, ...]
    start: Any = 0.0


@dataclass(frozen=True, eq=False)
class Learned:
    """A parameter that is the same for all rows and is trained: its first value."""

    start: Any


@dataclass(frozen=True, eq=False)
class Fixed:
    """A parameter that is given and stays."""

    value: Any


Parameters = Mapping[str, Output | Learned | Fixed]


class Family(Protocol):
    """A family of distributions over rows of x, or over z."""

    def parameters(self, event: Event) -> Parameters:
        """Return what `distribution` is called with, by name."""
        ...

    def distribution(self, **parameters: Array) -> Distribution:
        """Return the distribution; its batch shape starts with the rows where a parameter is an `Output`."""
        ...


class Density(eqx.Module):
    """A family with a network and the arrays that belong to it; see the module's text."""

    network: Any
    heads: dict[str, Linear]
    learned: dict[str, Any]
    fixed: dict[str, Frozen]
    family: Any = eqx.field(static=True)
    shapes: tuple[tuple[str, tuple[int, ...]], ...] = eqx.field(static=True)

    def __init__(
        self,
        family: Family,
        event: Event,
        network: Any,
        *,
        initializer: Initializer,
        random: np.random.Generator | None,
    ):
        """Make the heads and the learned values.

        Args:
            family: Which distribution, and what it needs.
            event: What one row of the distribution is.
            network: From the input to (B, features), with the number as its `features`; `None`: no input.
            initializer: For the heads' weights.
            random: Where the first weights come from; `None` leaves them blank, to be loaded.
        """
        parameters = family.parameters(event)
        outputs = {name: parameter for name, parameter in parameters.items() if isinstance(parameter, Output)}
        self.family, self.network = family, network
        self.shapes = tuple((name, output.shape) for name, output in outputs.items())
        self.heads = {}
        for name, output in outputs.items():
            head = Linear(network.features, int(np.prod(output.shape)), initializer, random)
            self.heads[name] = eqx.tree_at(
                lambda linear: linear.bias, head, head.bias + np.ravel(output.start).astype(np.float32)
            )
        self.learned = {
            name: np.asarray(parameter.start, np.float32)
            for name, parameter in parameters.items()
            if isinstance(parameter, Learned)
        }
        self.fixed = {
            name: Frozen(np.asarray(parameter.value, np.float32))
            for name, parameter in parameters.items()
            if isinstance(parameter, Fixed)
        }

    def __call__(self, x: Array | None = None, training: TrainingPass | None = None) -> Distribution:
        """Return the distribution for each row of x, (B, ...)."""
        return self.given(self.outputs(x, training))

    def outputs(self, x: Array | None = None, training: TrainingPass | None = None) -> dict[str, Array]:
        """Return what the heads give for each row of x, (B, *shape) by name."""
        if not self.heads:
            return {}
        features = self.network(x, training)
        return {name: self.heads[name](features).reshape(-1, *shape) for name, shape in self.shapes}

    def given(self, outputs: dict[str, Array]) -> Distribution:
        """Return the distribution for these outputs, of all rows or of one."""
        fixed = {name: frozen.value for name, frozen in self.fixed.items()}
        return self.family.distribution(**outputs, **self.learned, **fixed)

    def draw(self, outputs: dict[str, Array], keys: Array, shape: tuple[int, ...] = ()) -> Array:
        """Return draws for each row with a key of its own, (B, *shape, *event)."""
        return jax.vmap(lambda row, key: self.given(row).sample(key, shape))(outputs, keys)

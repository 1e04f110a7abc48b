"""A density whose parameters a network gives: what posterior, likelihood and prior have in common.

A *family* says which parameters it has (`parameters`) and which distribution they make (`distribution`);
it holds settings and no arrays. A `Density` is a family with the arrays that belong to it: the network
from the input to features h, a head from h to each `Output`, and the `Learned` and `Fixed` values.

    q(z|x): family over z, network from x        p(x|z): family over x, network from z
    p(z):   family over z, no network

To add a member one writes a frozen dataclass with these two methods, and passes an instance wherever a
name is accepted.

A network is called as `network(inputs, batch, training)` and makes its own heads, since it knows where its features
stand: one place for a vector, one for each step of a sequence, one for each patch of a picture.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import equinox as eqx
import jax
import numpy as np
from jax import Array
from numpyro.distributions import Distribution

from omokage.batch import Batch, Event
from omokage.nets.layers import Frozen, Initializer, TrainingPass


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
    heads: dict[str, Any]
    learned: dict[str, Any]
    fixed: dict[str, Frozen]
    family: Any = eqx.field(static=True)

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
            network: From the input to features, with their number as `features`, and `head`; `None`: no input.
            initializer: For the heads' weights.
            random: Where the first weights come from; `None` leaves them blank, to be loaded.
        """
        parameters = family.parameters(event)
        outputs = {name: parameter for name, parameter in parameters.items() if isinstance(parameter, Output)}
        self.family, self.network = family, network
        self.heads = {
            name: network.head(output.shape, output.start, initializer, random) for name, output in outputs.items()
        }
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

    def __call__(
        self, inputs: Array | None = None, batch: Batch | None = None, training: TrainingPass | None = None
    ) -> Distribution:
        """Return the distribution for each row of `inputs`, (B, ...); `batch` says what else is known of the rows."""
        return self.given(self.outputs(inputs, batch, training))

    def outputs(
        self, inputs: Array | None = None, batch: Batch | None = None, training: TrainingPass | None = None
    ) -> dict[str, Array]:
        """Return what the heads give for each row of `inputs`, (B, *places, *shape) by name."""
        if not self.heads:
            return {}
        features = self.network(inputs, batch, training)
        return {name: head(features, training) for name, head in self.heads.items()}

    def given(self, outputs: dict[str, Array]) -> Distribution:
        """Return the distribution for these outputs, of all rows or of one."""
        fixed = {name: frozen.value for name, frozen in self.fixed.items()}
        return self.family.distribution(**outputs, **self.learned, **fixed)

    def fitted(self, values: Mapping[str, Any]) -> "Density":
        """Return the density with other given values, by name."""
        fixed = {name: Frozen(jax.numpy.asarray(values[name], jax.numpy.float32)) for name in self.fixed}
        return eqx.tree_at(lambda density: density.fixed, self, fixed)

    def draw(self, outputs: dict[str, Array], keys: Array, shape: tuple[int, ...] = ()) -> Array:
        """Return draws for each row with a key of its own, (B, *shape, *event)."""
        return jax.vmap(lambda row, key: self.given(row).sample(key, shape))(outputs, keys)

"""Our networks pass the contract of networks, and broken ones fail with a message that says why."""

from dataclasses import dataclass
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import pytest

from omokage.nets import Convolution, Dense, Recurrent, TemporalConvolution
from omokage.nets.layers import Linear, Network, with_context
from omokage.testing import check_network


@pytest.mark.slow
@pytest.mark.parametrize("family", [Dense(), Convolution(), Recurrent(), TemporalConvolution()])
def test_our_networks_pass(family):
    check_network(family)


class Layer(Network):
    """One linear layer, with a fault of each kind on demand."""

    linear: Any
    fault: str = eqx.field(static=True)
    features: int = eqx.field(static=True)

    def __call__(self, inputs, batch=None, training=None):
        x = with_context(inputs, None if self.fault == "context" else batch)
        if self.fault == "rows":
            x = x - x.mean(0)
        x = self.linear(x)
        if self.fault == "shape":
            x = x[:, None]
        return jnp.log(-jnp.square(x)) if self.fault == "finite" else x


@dataclass(frozen=True)
class Family:
    """A family of such layers."""

    fault: str = ""
    kinds: ClassVar[tuple[str, ...]] = ("vectors",)
    default_hidden: ClassVar[tuple[int, ...]] = (8,)

    def _layer(self, inputs, hidden, make, context):
        inputs += 0 if self.fault == "context" else context
        width = hidden[0] + (self.fault == "blank" and make.random is None)
        return Layer(Linear(inputs, width, make.initializer, make.random), self.fault, width)

    def encoder(self, event, hidden, make, context=0):
        return self._layer(event.size, hidden, make, context)

    def decoder(self, latent_dim, event, hidden, make, context=0):
        return self._layer(latent_dim, hidden, make, context)


def test_a_sound_network_passes():
    check_network(Family())


@pytest.mark.parametrize(
    "fault, message",
    [
        ("rows", "another output alone than among others"),
        ("context", "does not look at the context"),
        ("shape", "lead to shape"),
        ("finite", "not finite"),
        ("blank", "other arrays"),
    ],
)
def test_a_broken_network_is_told_why(fault, message):
    with pytest.raises(AssertionError, match=message):
        check_network(Family(fault))


@dataclass(frozen=True)
class Unknown(Family):
    """A family for a kind of data that there is not."""

    kinds: ClassVar[tuple[str, ...]] = ("sounds",)


@dataclass
class Changing:
    """No frozen dataclass."""

    kinds: ClassVar[tuple[str, ...]] = ("vectors",)


def test_a_family_must_be_a_value_and_name_its_kinds():
    with pytest.raises(AssertionError, match="kinds: expected one or more of vectors, images, sequences"):
        check_network(Unknown())
    with pytest.raises(AssertionError, match="expected a frozen dataclass"):
        check_network(Changing())

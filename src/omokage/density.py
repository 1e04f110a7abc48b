"""A density whose parameters a network gives: what posterior, likelihood and prior have in common.

A *family* says which parameters it has (`parameters`) and which distribution they make (`distribution`);
it holds settings and no arrays. A `Density` is a family with the arrays that belong to it: the network
from the input to features h, a head from h to each `Output`, and the `Learned` and `Fixed` values.

    q(z|x): family over z, network from x        p(x|z): family over x, network from z
    p(z):   family over z, no network; what a network would give is then learned, the same for all rows

So every posterior family is a learned prior as well, and given the context of a row a conditional one.

To add a member one writes a frozen dataclass with these two methods, and passes an instance wherever a
name is accepted.

A network is called as `network(inputs, batch, training)` and makes its own heads, since it knows where its features
stand: one place for a vector, one for each step of a sequence, one for each patch of a picture.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpyro.distributions import Distribution, Independent, Normal

from omokage.batch import Batch, Event
from omokage.errors import ParameterError
from omokage.memory import filled
from omokage.nets.layers import Frozen, Initializer, TrainingPass


@dataclass(frozen=True, eq=False)
class Output:
    """A parameter that the network gives for each row: its shape without the row, and what it starts at, like it."""

    shape: tuple[int, ...]
    start: Any = 0.0


@dataclass(frozen=True, eq=False)
class Learned:
    """A parameter that is the same for all rows and is trained: its first value.

    A function in place of the value, with the `shape` of what it returns, is called only when the value is needed. So
    sizes are known before anything large is made.
    """

    start: Any
    shape: tuple[int, ...] | None = None

    @property
    def first(self) -> Any:
        """The first value."""
        return self.start() if callable(self.start) else self.start

    @property
    def sides(self) -> tuple[int, ...]:
        """The shape of the first value."""
        return np.shape(self.start) if self.shape is None else self.shape


@dataclass(frozen=True, eq=False)
class Dropped:
    """Factors by which a share of what a distribution computes is dropped in training, of this shape for each row.

    They are 0 for that share and 1 / (1 - rate) for the others (Srivastava et al., "Dropout", 2014). Outside training,
    and where the rate is 0, the distribution is called without them.
    """

    shape: tuple[int, ...]
    rate: float


@dataclass(frozen=True, eq=False)
class Fixed:
    """A parameter that is given and stays; whole numbers stay whole where they come as int32, else it is float32."""

    value: Any


@dataclass(frozen=True, eq=False)
class Encoded:
    """A parameter of a prior that is itself a distribution: the posterior of so many learned rows."""

    rows: int


Parameters = Mapping[str, Output | Learned | Dropped | Fixed | Encoded]
Encoder = Callable[[Array], Distribution]


class Family(Protocol):
    """A family of distributions over rows of x, or over z."""

    def parameters(self, event: Event) -> Parameters:
        """Return what `distribution` is called with, by name."""
        ...

    def distribution(self, **parameters: Any) -> Distribution:
        """Return the distribution; its batch shape starts with the rows where a parameter is an `Output`."""
        ...


MOST_BLANK = 2**20  # constants that a blank density has


class Density(eqx.Module):
    """A family with a network and the arrays that belong to it; see the module's text."""

    network: Any
    heads: dict[str, Any]
    learned: dict[str, Any]
    fixed: dict[str, Frozen]
    encoded: dict[str, Any]
    dropped: tuple[tuple[str, tuple[int, ...], float], ...] = eqx.field(static=True)  # name, shape and rate
    family: Any = eqx.field(static=True)

    def __init__(
        self,
        family: Family,
        event: Event,
        network: Any,
        *,
        initializer: Initializer,
        random: np.random.Generator | None,
        rows: Event | None = None,
    ):
        """Make the heads and the learned values.

        Args:
            family: Which distribution, and what it needs.
            event: What one row of the distribution is.
            network: From the input to features, with their number as `features`, and `head`; `None`: no input.
            initializer: For the heads' weights.
            random: Where the first weights come from; `None` leaves them blank, to be loaded.
            rows: What one row of x is, for a prior that holds some.
        """
        self.family, self.network = family, network
        self.heads, self.learned, self.fixed, self.encoded = {}, {}, {}, {}
        parameters = family.parameters(event)
        self.dropped = tuple(
            (name, parameter.shape, parameter.rate)
            for name, parameter in parameters.items()
            if isinstance(parameter, Dropped) and parameter.rate
        )
        for name, parameter in parameters.items():
            if isinstance(parameter, Output) and network is not None:
                self.heads[name] = network.head(parameter.shape, parameter.start, initializer, random)
            elif isinstance(parameter, Output):
                blank = random is None
                start = filled(parameter.shape) if blank else np.broadcast_to(parameter.start, parameter.shape)
                self.learned[name] = start if blank else np.array(start, np.float32)
            elif isinstance(parameter, Learned):
                blank = random is None
                self.learned[name] = filled(parameter.sides) if blank else np.asarray(parameter.first, np.float32)
            elif isinstance(parameter, Fixed):
                whole = getattr(parameter.value, "dtype", None) == np.int32
                dtype = np.int32 if whole else np.float32
                # A blank one has its constants as well, by which those of a file are checked, but for huge ones.
                blank = random is None and np.size(parameter.value) > MOST_BLANK
                shape = np.shape(parameter.value)
                self.fixed[name] = Frozen(filled(shape, 0, dtype) if blank else np.asarray(parameter.value, dtype))
            elif isinstance(parameter, Dropped):
                continue
            elif not isinstance(parameter, Encoded) or rows is None:
                expected = "expected an Output, Learned, Dropped or Fixed, or in a prior Encoded"
                raise ParameterError(f"{type(family).__name__}: parameter {name!r}: {expected}; got {parameter!r}.")
            else:
                self.encoded[name] = filled((parameter.rows, *rows.shape))
                if random is not None:
                    start = rows.centre + rows.spread * random.normal(size=(parameter.rows, *rows.shape))
                    self.encoded[name] = np.asarray(start, np.float32)

    def __call__(
        self,
        inputs: Array | None = None,
        batch: Batch | None = None,
        training: TrainingPass | None = None,
        encoder: Encoder | None = None,
    ) -> Distribution:
        """Return the distribution for each row of `inputs`, (B, ...); `batch` says what else is known of the rows.

        A prior is handed the `encoder`, from rows to their posteriors.
        """
        return self.given(self.outputs(inputs, batch, training), encoder)

    def outputs(
        self, inputs: Array | None = None, batch: Batch | None = None, training: TrainingPass | None = None
    ) -> dict[str, Array]:
        """Return what the heads give for each row of `inputs`, (B, *places, *shape) by name; dropout in training."""
        if not self.heads:
            return {}
        features = self.network(inputs, batch, training)
        outputs = {name: head(features, training) for name, head in self.heads.items()}
        if training is None:
            return outputs
        for name, shape, rate in self.dropped:
            # Of 16 bits a number, which takes half the time of 32: a third of a step of a wide table otherwise.
            most = round((1 - rate) * 2**16)
            bits = jax.random.bits(training.key(), (len(features), *shape), "uint16")
            outputs[name] = jnp.where(bits < most, np.float32(2**16 / most), 0)
        return outputs

    def given(self, outputs: dict[str, Array], encoder: Encoder | None = None) -> Distribution:
        """Return the distribution for these outputs, of all rows or of one."""
        encoded = {name: encoder(rows) for name, rows in self.encoded.items()} if encoder is not None else {}
        return self.family.distribution(**self._parameters(outputs), **encoded)

    def saturated(self, outputs: dict[str, Array], x: Array) -> Distribution:
        """Return the distribution for these outputs, but with its middle where it explains each entry of x best."""
        if not hasattr(self.family, "saturated"):
            raise ParameterError(
                f"likelihood: {type(self.family).__name__} does not say which parameters explain an entry best, so its "
                "deviance is not known. Give it a method `saturated(x, **parameters)`."
            )
        return self.family.distribution(**self.family.saturated(x, **self._parameters(outputs)))

    def _parameters(self, outputs: dict[str, Array]) -> dict[str, Any]:
        return {**outputs, **self.learned, **{name: frozen.value for name, frozen in self.fixed.items()}}

    def fitted(self, values: Mapping[str, Any]) -> "Density":
        """Return the density with other learned values, by name."""
        learned = {name: np.asarray(values[name], np.float32) for name in self.learned}
        return eqx.tree_at(lambda density: density.learned, self, learned)

    def draw(self, outputs: dict[str, Array], keys: Array, shape: tuple[int, ...] = ()) -> tuple[Array, Array]:
        """Return draws for each row with a key of its own, (B, *shape, *event), and their log-densities."""
        return jax.vmap(lambda row, key: draw(self.given(row), key, shape))(outputs, keys)


def draw(distribution: Distribution, key: Array, shape: tuple[int, ...] = ()) -> tuple[Array, Array]:
    """Return draws, (*shape, *batch, *event), and the log-density of each in nats, (*shape, *batch).

    A flow knows the density of what it has just drawn, without going all the way back.
    """
    drawn, steps = distribution.sample_with_intermediates(key, shape)
    return drawn, distribution.log_prob(drawn, intermediates=steps) if steps else distribution.log_prob(drawn)


def is_diagonal_normal(distribution: Any) -> bool:
    """Say whether a distribution is a normal over (L,) with independent entries."""
    return isinstance(distribution, Independent) and isinstance(distribution.base_dist, Normal)

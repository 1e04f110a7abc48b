"""The distribution of rows whose entries depend on those before them; see `omokage.likelihoods.autoregressive`."""

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax import Array
from jax.scipy.special import ndtr, ndtri
from numpy.typing import NDArray
from scipy import stats

from omokage.likelihoods.categories import UNSEEN
from omokage.nets import masked

_CHAINS = 16  # that are drawn for a mean
_LEAST, _MOST = 1e-7, 1 - 6e-8  # of the uniform number that a normal one is made of
_SURE = 1e4  # a logit

Cell = tuple[int | None, ...]


@dataclass(frozen=True)
class Layout:
    """What is known of each of E entries.

    Attributes:
        cells: How many classes the entries of each cell have, `None` for a number.
        bins: Of a number.
    """

    cells: tuple[Cell, ...]
    bins: int

    @cached_property
    def classes(self) -> NDArray[np.float32]:
        """The number of classes, (E,); infinite for a number."""
        found = [np.inf if count is None else count for cell in self.cells for count in cell]
        return np.array(found, np.float32)

    @cached_property
    def number(self) -> NDArray[np.bool_]:
        """Which entries are numbers, (E,)."""
        return np.isinf(self.classes)

    @cached_property
    def decided(self) -> NDArray[np.bool_]:
        """Which entries are there only if the one before them is of its last class, (E,)."""
        return np.array([place > 0 for cell in self.cells for place in range(len(cell))])

    @cached_property
    def options(self) -> NDArray[np.float32]:
        """How many outputs each entry has, (E,): one for each class, or bin."""
        return np.where(self.number, self.bins, self.classes).astype(np.float32)

    @property
    def outputs(self) -> int:
        """The most outputs that an entry has."""
        return int(self.options.max())

    @property
    def places(self) -> int:
        """The most places that an entry has on its scale."""
        return int(max(masked.KNOTS, *self.classes[~self.number], 1))

    def there(self, x: Array) -> Array:
        """Return which entries of rows there are, (..., E): neither missing nor without a meaning."""
        before = jnp.roll(x, 1, -1) == np.roll(self.classes, 1) - 1
        found = ~jnp.isnan(x) & (before | ~self.decided)
        for _ in range(max(map(len, self.cells)) - 2):  # an entry goes with the one that it depends on
            found = found & (jnp.roll(found, 1, -1) | ~self.decided)
        return found

    def groups(self, of_classes: Array, of_numbers: Array) -> Array:
        """Return what is known of each class and of each number, (..., W), all of one kind after those of the other.

        The kind of the first entry comes first, as in `omokage.likelihoods.ByColumn`.

        Args:
            of_classes: (..., E, outputs).
            of_numbers: (..., E).
        """
        classes = [of_classes[..., place, : int(self.classes[place])] for place in np.flatnonzero(~self.number)]
        numbers = [of_numbers[..., np.flatnonzero(self.number)]] if self.number.any() else []
        return jnp.concatenate([*numbers, *classes] if self.number[0] else [*classes, *numbers], -1)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Entries:
    """Some entries, and what their outputs say of them; arrays are (e,), or () for a single one.

    Attributes:
        classes, options, number: As in `Layout`.
        centre, spread: Of the normal distribution that a number's bins come from.
        bins: How many.
    """

    classes: Any
    options: Any
    number: Any
    centre: Any
    spread: Any
    bins: int = dataclasses.field(metadata={"static": True})

    @property
    def middle(self) -> Array:
        """A value that each entry can have."""
        return jnp.where(self.number, self.centre, 0)

    def told(self, weights: masked.Weights, x: Array, there: Array) -> Array:
        """Return what the network is told of the entries of rows, (..., e, F); of an unseen class nothing."""
        known = there & (x < self.classes)
        value = jnp.where(known, x, self.middle)
        scaled = (value - self.centre) / self.spread
        at = jnp.where(self.number, masked.among_knots(scaled), value)
        size = jnp.where(self.number, scaled, (2 * value + 1) / self.options - 1)
        return masked.told(weights, at, size, known)

    def logs(self, outputs: Array) -> Array:
        """Return log-probabilities of classes or bins, (..., e, outputs)."""
        own = jnp.arange(outputs.shape[-1]) < self.options[..., None]
        return jax.nn.log_softmax(jnp.where(own, outputs, -jnp.inf))

    def option(self, x: Array) -> Array:
        """Return the number of the class or bin of each entry, (..., e); of an unseen class that of the last one."""
        share = ndtr((x - self.centre) / self.spread)
        place = jnp.where(self.number, jnp.floor(share * self.bins), x)
        return jnp.clip(place, 0, self.options - 1).astype(jnp.int32)

    def densities(self, logs: Array, x: Array) -> Array:
        """Return the log-probability or log-density of each entry, (..., e), in nats."""
        found = jnp.take_along_axis(logs, self.option(x)[..., None], -1)[..., 0]
        normal = dist.Normal(self.centre, self.spread, validate_args=False).log_prob(x) + np.log(self.bins)
        least = jnp.where(jnp.isfinite(logs), logs, 0).min(-1)
        level = jnp.where(x >= self.classes, UNSEEN + jax.lax.stop_gradient(least), found)
        return jnp.where(self.number, found + normal, level)

    def drawn(self, key: Array, logs: Array, choices: Array) -> Array:
        """Return draws, (..., e): among `choices`, (..., e, M), where one is not NaN."""
        which, within, among = jax.random.split(key, 3)
        option = jax.random.categorical(which, logs)
        share = (option + jax.random.uniform(within, option.shape)) / self.bins
        number = self.centre + self.spread * ndtri(jnp.clip(share, _LEAST, _MOST))
        free = jnp.where(self.number, number, option)
        named = ~jnp.isnan(choices)
        masses = self.of_choices(logs, choices)
        best = jnp.argmax(masses + jax.random.gumbel(among, masses.shape), -1)
        chosen = jnp.take_along_axis(choices, best[..., None], -1)[..., 0]
        return jnp.where(named.any(-1), chosen, free)

    def of_choices(self, logs: Array, choices: Array) -> Array:
        """Return the log-probability or log-density of each choice, (..., e, M); that of none is -inf."""
        named = ~jnp.isnan(choices)
        asked = jnp.where(named, choices, self.middle[..., None])
        each = jax.vmap(lambda value: self.densities(logs, value), -1, -1)(asked)
        return jnp.where(named, each, -jnp.inf)

    def likeliest(self, shares: Array) -> Array:
        """Return the number of the most likely class or bin, (..., e)."""
        return jnp.argmax(shares, -1).astype(jnp.float32)


class Chain(dist.Distribution):
    """One entry after the other. In x, NaN stands for an entry that is missing.

    Attributes:
        layout: What is known of the entries.
        weights: Of the network; see `omokage.nets.masked`.
        added: What z adds to the first features of each entry, (..., E, width).
        centre, spread: See `Entries`, (E,) each.
        kept: In training, factors of the features, (..., 2, 1, width).
        shown: In training, 0 for an entry that those after it are not shown, (..., E).
        sure: Rows of whose classes and bins the distribution is certain, (..., E).
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    support = dist.constraints.real
    pytree_data_fields = ("weights", "added", "centre", "spread", "kept", "shown", "sure")
    pytree_aux_fields = ("layout",)

    def __init__(
        self,
        layout: Layout,
        weights: masked.Weights,
        added: Array,
        centre: Array,
        spread: Array,
        *,
        kept: Array | None = None,
        shown: Array | None = None,
        sure: Array | None = None,
    ):
        self.layout, self.weights, self.added = layout, dict(weights), added
        self.centre, self.spread, self.kept, self.shown, self.sure = centre, spread, kept, shown, sure
        super().__init__(jnp.shape(added)[:-1])

    @property
    def _entries(self) -> Entries:
        layout = self.layout
        classes, options, number = map(jnp.asarray, (layout.classes, layout.options, layout.number))
        return Entries(classes, options, number, self.centre, self.spread, layout.bins)

    def _logs(self, x: Array) -> Array:
        """Return log-probabilities of each entry's classes or bins given the entries before it, (..., E, outputs)."""
        entries = self._entries
        if self.sure is not None:
            return entries.logs(_SURE * jax.nn.one_hot(entries.option(self.sure), self.layout.outputs))
        there = self.layout.there(x)
        there = there if self.shown is None else there & (self.shown > 0)
        told = entries.told(self.weights, x, there)
        return entries.logs(masked.asked(self.weights, told, self.added, self.kept))

    def log_prob(self, value: Array, intermediates: object = None) -> Array:
        """Return log p of each entry given those before it, in nats; 0 for one that is not there."""
        there = self.layout.there(value)
        x = jnp.where(there, value, self._entries.middle)
        return jnp.where(there, self._entries.densities(self._logs(value), x), 0)

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        """Return draws of levels that were seen and of numbers, (*sample_shape, *batch)."""
        return self.within(key, jnp.full((self.batch_shape[-1], 1), jnp.nan), sample_shape)

    def within(self, key: Array, choices: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        """Return draws of which some entries are among choices: each is drawn given those before it.

        Args:
            key: Of the draws.
            choices: Values, (..., E, M); NaN beyond them, and in all places of an entry that is drawn freely.
            sample_shape: How many draws.
        """
        shape = (*sample_shape, *self.batch_shape)
        given = jnp.broadcast_to(choices, (*shape, choices.shape[-1]))
        added = jnp.broadcast_to(self.added, (*shape, self.added.shape[-1]))
        numbers = jnp.arange(shape[-1])
        steps = (
            (numbers, jax.random.split(key, shape[-1]), jnp.asarray(self.layout.decided)),
            (self._entries, self.weights, jnp.moveaxis(given, -2, 0), jnp.moveaxis(added, -2, 0)),
        )

        def one(state: tuple[Array, Array, Array, Array], step: Any) -> tuple[Any, Array]:
            told, was_there, last, before = state
            (number, key, decided), (entry, weights, choices, added) = step
            x = entry.drawn(key, entry.logs(masked.asked_of_one(weights, told, added)), choices)
            # An entry that its cell does not have has no meaning: those after it are not told of it.
            there = ~decided | (was_there & (before == last))
            own = jax.tree.map(lambda array: jnp.asarray(array)[None], (entry, weights))
            new = own[0].told(own[1], x[..., None], there[..., None])[..., 0, :]
            told = jax.lax.dynamic_update_index_in_dim(told, new, number, told.ndim - 2)
            return (told, there, entry.classes - 1, x), x

        told = jnp.zeros((*shape, self.weights["absent"].shape[-1]))
        start = (told, jnp.ones(shape[:-1], bool), jnp.float32(0), jnp.zeros(shape[:-1]))
        return jnp.moveaxis(jax.lax.scan(one, start, steps)[1], 0, -1)

    def masses(self, x: Array, choices: Array) -> Array:
        """Return the log-probability, or log-density, that an entry is one of its choices, given those before it in x.

        Returns:
            (..., E), in nats, for choices (..., E, M); 0 for an entry without choices, or one that is not there.
        """
        choices = jnp.broadcast_to(choices, (*jnp.shape(x), choices.shape[-1]))
        total = jax.nn.logsumexp(self._entries.of_choices(self._logs(x), choices), -1)
        return jnp.where((~jnp.isnan(choices)).any(-1) & self.layout.there(x), total, 0)

    def _averages(self) -> tuple[Array, Array, Array]:
        """Return mean probabilities, (..., E, outputs), and means and variances of numbers, (..., E) each."""
        drawn = self.sample(jax.random.key(0), (_CHAINS,))
        shares = jnp.exp(jax.vmap(self._logs)(drawn)).mean(0)
        first, second = _moments(self.layout.bins)
        bins = shares[..., : self.layout.bins]
        bins = jnp.pad(bins, [(0, 0)] * (bins.ndim - 1) + [(0, self.layout.bins - bins.shape[-1])])
        mean, square = bins @ first, bins @ second
        variance = jnp.square(self.spread) * jnp.maximum(square - jnp.square(mean), 0)
        return shares, self.centre + self.spread * mean, variance

    @property
    def expected(self) -> Array:
        """The mean of each number and the probability of each class, (..., W)."""
        shares, mean, _ = self._averages()
        return self.layout.groups(shares, mean)

    @property
    def expected_variance(self) -> Array:
        """The variance of each of `expected`."""
        shares, _, variance = self._averages()
        return self.layout.groups(shares * (1 - shares), variance)

    @property
    def mean(self) -> Array:
        """The mean of each number, and the most likely class of others."""
        shares, mean, _ = self._averages()
        return jnp.where(self.layout.number, mean, self._entries.likeliest(shares))

    @property
    def variance(self) -> Array:
        """The variance of each number, and of classes the probability of another than the most likely one."""
        shares, _, variance = self._averages()
        return jnp.where(self.layout.number, variance, 1 - shares.max(-1))


def _moments(bins: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the mean and the mean square of a standard normal within each of its equally likely bins."""
    ends = stats.norm.ppf(np.arange(bins + 1) / bins)
    heights = stats.norm.pdf(ends)
    first = -bins * np.diff(heights)
    second = 1 - bins * np.diff(np.where(np.isinf(ends), 0, ends) * heights)
    return first.astype(np.float32), second.astype(np.float32)

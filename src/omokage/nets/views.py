"""What networks see of data: counts, amounts, classes and levels transformed, and nothing far out."""

from collections.abc import Sequence
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from omokage.batch import Event
from omokage.nets.layers import Frozen

_REACH = 10.0  # deviations


class View(eqx.Module):
    """(f(x) - location) / scale for each entry; or one column for each class.

    Attributes:
        function: f.
        location, scale: Like an entry of f(x).
        classes: C, for "classes": the last axis of x gets C times as long.
    """

    location: Any
    scale: Any
    function: Literal["identity", "log", "log1p", "classes"] = eqx.field(static=True)
    classes: int = eqx.field(static=True)

    def __init__(
        self, function: Literal["identity", "log", "log1p", "classes"], location: Any, scale: Any, classes: int = 1
    ):
        self.function, self.classes = function, classes
        self.location, self.scale = (Frozen(np.asarray(value, np.float32)) for value in (location, scale))

    def __call__(self, x: Array) -> Array:
        """Return what is seen of x, (B, *event)."""
        if self.function == "classes":
            seen = jax.nn.one_hot(x.astype(jnp.int32), self.classes)
            return seen.reshape(*x.shape[:-1], x.shape[-1] * self.classes)
        if self.function == "log":  # where nothing was observed x is 0
            x = jnp.where(x > 0, jnp.log(jnp.where(x > 0, x, 1.0)), self.location.value)
        elif self.function == "log1p":
            x = jnp.log1p(jnp.maximum(x, 0))
        return (x - self.location.value) / self.scale.value

    def widened(self, observed: Array) -> Array:
        """Return which entries of what is seen are there, from which entries of x are, (B, *event)."""
        return observed if self.classes == 1 else jnp.repeat(observed, self.classes, -1)

    def known(self, x: Array) -> Array | None:
        """Return which entries networks are told are there, (B, *event); `None`: all."""
        return None

    def event(self, event: Event) -> Event:
        """Return what a row looks like to a network: standardised."""
        shape = (*event.shape[:-1], event.shape[-1] * self.classes)
        return Event.plain(*shape).with_holes(event.missing)


class Segments:
    """Numbers of classes of several columns that lie beside each other, (..., S) with S = Σ C_j.

    Example:
        >>> Segments((2, 3)).marked(jnp.array([1.0, 0.0])).tolist()
        [0.0, 1.0, 1.0, 0.0, 0.0]
    """

    def __init__(self, classes: tuple[int, ...]):
        """Take C_j of each column."""
        self.column = np.repeat(np.arange(len(classes)), classes)  # (S,)
        starts = np.cumsum((0, *classes[:-1]))
        self.number = (np.arange(sum(classes)) - starts[self.column]).astype(np.float32)  # (S,)
        self.belongs = (self.column[:, None] == np.arange(len(classes))).astype(np.float32)  # (S, D)
        places = starts[:, None] + np.arange(max(classes))  # (D, most), where there are so many
        self.within = np.arange(max(classes)) < np.array(classes)[:, None]
        self.places = np.where(self.within, places, 0)

    def marked(self, x: Array) -> Array:
        """Return 1 at the class of each entry of x, (..., D), and 0 elsewhere, (..., S)."""
        return (x[..., self.column] == self.number).astype(jnp.float32)

    def total(self, values: Array) -> Array:
        """Return the sum over the classes of each column, (..., D)."""
        return jnp.matmul(values, self.belongs, precision="highest")

    def largest(self, values: Array) -> Array:
        """Return the largest value of each column, (..., D); no gradient passes."""
        return self._padded(jax.lax.stop_gradient(values)).max(-1)

    def argmax(self, values: Array) -> Array:
        """Return the number of the class with the largest value, (..., D)."""
        return jnp.argmax(self._padded(values), -1).astype(jnp.float32)

    def log_softmax(self, logits: Array) -> Array:
        """Return the logarithms of the classes' probabilities, (..., S)."""
        shifted = logits - self.largest(logits)[..., self.column]
        return shifted - jnp.log(self.total(jnp.exp(shifted)))[..., self.column]

    def _padded(self, values: Array) -> Array:
        return jnp.where(self.within, values[..., self.places], -jnp.inf)


class Classes(eqx.Module):
    """One column for each class, where columns have unlike numbers of classes; all 0 for a class never seen.

    Attributes:
        counts: C_j of each column.
    """

    counts: tuple[int, ...] = eqx.field(static=True)

    def __call__(self, x: Array) -> Array:
        """Return what is seen of x, (B, *event)."""
        return Segments(self.counts).marked(x)

    def widened(self, observed: Array) -> Array:
        """Return which entries of what is seen are there; see `View.widened`."""
        return observed[..., Segments(self.counts).column]

    def known(self, x: Array) -> Array | None:
        """Return which entries networks are told are there: not those of classes never seen."""
        return x < np.array(self.counts)

    def event(self, event: Event) -> Event:
        """Return what a row looks like to a network."""
        return Event.plain(*event.shape[:-1], sum(self.counts)).with_holes(event.missing)

    @property
    def classes(self) -> int:
        """The number of classes of the column that has most."""
        return max(self.counts)


class Beside(eqx.Module):
    """What is seen of groups of columns, beside each other; of a group without a view its entries as they are.

    Attributes:
        views: Of each group.
        columns: Where in a row its columns are.
    """

    views: tuple[View | Classes | None, ...]
    columns: tuple[tuple[int, ...], ...] = eqx.field(static=True)

    def __init__(self, groups: Sequence[tuple[View | Classes | None, tuple[int, ...]]]):
        self.views = tuple(view for view, _ in groups)
        self.columns = tuple(columns for _, columns in groups)

    def __call__(self, x: Array) -> Array:
        """Return what is seen of x, (B, *event)."""
        parts = [x[..., np.array(columns)] for columns in self.columns]
        return jnp.concatenate(
            [part if view is None else view(part) for view, part in zip(self.views, parts, strict=True)], -1
        )

    def widened(self, observed: Array) -> Array:
        """Return which entries of what is seen are there; see `View.widened`."""
        parts = [observed[..., np.array(columns)] for columns in self.columns]
        return jnp.concatenate(
            [part if view is None else view.widened(part) for view, part in zip(self.views, parts, strict=True)], -1
        )

    def known(self, x: Array) -> Array | None:
        """Return which entries networks are told are there; see `View.known`."""
        known = jnp.ones(x.shape, bool)
        for view, columns in zip(self.views, self.columns, strict=True):
            here = None if view is None else view.known(x[..., np.array(columns)])
            known = known if here is None else known.at[..., np.array(columns)].set(here)
        return known

    def event(self, event: Event) -> Event:
        """Return what a row looks like to a network."""
        seen = [
            part if view is None else view.event(part)
            for view, part in zip(self.views, map(event.part, self.columns), strict=True)
        ]
        names = ("unit", "spread", "centre")
        unit, spread, centre = (np.concatenate([getattr(one, name) for one in seen], -1) for name in names)
        return Event(unit.shape, unit, spread, centre, event.missing)

    @property
    def classes(self) -> int:
        """The number of classes of the column that has most."""
        return max(1 if view is None else view.classes for view in self.views)


class Bounds(eqx.Module):
    """How far out networks see: values as they are up to the bounds, then less and less, and at most twice as far.

    With reach r from the centre to the bound b, a value x beyond it is seen at b ± r (1 - 1 / (1 + |x - b| / r)): slope
    1 at the bound, the limit 2 r, and of two values the farther one is always seen farther. Densities see x as it is.
    Without it an entry a thousand deviations out, as of a pixel that hardly ever varied, would decide the code and the
    reconstruction of its whole row.

    Attributes:
        low, high: Ten deviations from the mean of each entry, and at least ten of what entries deviate on average.
    """

    low: Frozen
    high: Frozen

    def __init__(self, event: Event):
        reach = _REACH * np.maximum(event.spread, np.sqrt(np.mean(np.square(event.spread))))
        self.low = Frozen(np.asarray(event.centre - reach, np.float32))
        self.high = Frozen(np.asarray(event.centre + reach, np.float32))

    def __call__(self, seen: Array) -> Array:
        """Return what networks see, (B, *event)."""
        near = jnp.clip(seen, self.low.value, self.high.value)
        reach = (self.high.value - self.low.value) / 2
        far = (seen - near) / reach  # infinite where float32 ends
        return near + reach * jnp.sign(far) * (1 - 1 / (1 + jnp.abs(far)))

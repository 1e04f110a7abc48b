"""What networks see of data: counts, amounts, classes and levels transformed, and nothing far out."""

from collections.abc import Sequence
from dataclasses import replace
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

    def event(self, event: Event) -> Event:
        """Return what a row looks like to a network: standardised."""
        shape = (*event.shape[:-1], event.shape[-1] * self.classes)
        return replace(Event.plain(*shape), missing=event.missing)


class Beside(eqx.Module):
    """What is seen of groups of columns, beside each other; of a group without a view its entries as they are.

    Attributes:
        views: Of each group.
        columns: Where in a row its columns are.
    """

    views: tuple[View | None, ...]
    columns: tuple[tuple[int, ...], ...] = eqx.field(static=True)

    def __init__(self, groups: Sequence[tuple[View | None, tuple[int, ...]]]):
        self.views = tuple(view for view, _ in groups)
        self.columns = tuple(columns for _, columns in groups)

    def __call__(self, x: Array) -> Array:
        """Return what is seen of x, (B, *event)."""
        parts = [x[..., np.array(columns)] for columns in self.columns]
        return jnp.concatenate(
            [part if view is None else view(part) for view, part in zip(self.views, parts, strict=True)], -1
        )

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

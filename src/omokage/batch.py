"""What the data side and the model side share: a batch of rows, and what one row is.

Notation, here and everywhere: B rows, D features, T steps, C channels, L latent dimensions, K draws; x data, z latent.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from omokage.memory import filled


class Batch(NamedTuple):
    """Rows on their way through a model; a pytree whose absent parts are `None`.

    Attributes:
        x: The (standardised) data, (B, *event); sequences are padded with zeros, (B, T, C).
        inputs: What the encoder sees where that is not x itself, or the view of it, as in denoising.
        mask: Which entries of x were observed, boolean, like x; `None`: all that there are. Those that were not are
            0 in x.
        hidden: Which entries of x the encoder is not shown although they count, boolean, like x; `None`: none.
        lengths: How many steps each row has, (B,), where rows are sequences of unlike lengths; `None`: all T.
        context: What the model is conditioned on, (B, C).
        weight: How much each row counts, (B,); `None`: one each.
        fold: Which part of the rows each belongs to, (B,), where several models are trained that leave one out each.
    """

    x: Any
    inputs: Any = None
    mask: Any = None
    hidden: Any = None
    lengths: Any = None
    context: Any = None
    weight: Any = None
    fold: Any = None

    @property
    def seen(self) -> Any:
        """`inputs` where given, else `x`."""
        return self.x if self.inputs is None else self.inputs

    @property
    def observed(self) -> Any:
        """Which entries of x count, boolean, (B, *event) or (B, T, 1); `None`: all of them."""
        if self.mask is not None or self.lengths is None:
            return self.mask
        return self.steps[..., None]

    @property
    def steps(self) -> Any:
        """Which steps there are, boolean, (B, T); `None`: all of them."""
        return None if self.lengths is None else self.lengths[:, None] > np.arange(self.x.shape[1])

    def map(self, function: Callable[[Any], Any]) -> "Batch":
        """Return the batch with `function` applied to each array that is there."""
        return Batch(*(None if array is None else function(array) for array in self))


class Conditions(NamedTuple):
    """What rows are to fulfil, for each of E entries, in units of x; a pytree of arrays, so one program serves all.

    Attributes:
        choices: The values that an entry may have, (E, M), where these are named; NaN beyond them, and in all places
            where none are.
        low, high: The ends between which an entry lies, both included, (E,); infinite where there is none.
        decides: Which entry decides whether this one counts, (E,); its own number where it always does.
        says: The value of that entry at which it does, (E,).
    """

    choices: Any
    low: Any
    high: Any
    decides: Any
    says: Any


@dataclass(frozen=True, eq=False)
class Event:
    """What one row is.

    Attributes:
        shape: The shape of one row of x, `(D,)` for vectors, `(H, W, C)` for images; of one step, `(C,)`, for
            sequences.
        unit: How many raw units one unit of x is, for each entry; it multiplies back what
            standardising divided by. Shape `shape`.
        spread: The standard deviation of each entry of x over the training rows; where learned scales start.
            Shape `shape`.
        centre: The mean of each entry of x over the training rows, shape `shape`.
        missing: How many entries of x can be missing, so that networks are told which are; 0 where none can.
    """

    shape: tuple[int, ...]
    unit: NDArray[np.float64]
    spread: NDArray[np.float64]
    centre: NDArray[np.float64]
    missing: int = 0

    @staticmethod
    def plain(*shape: int) -> "Event":
        """Return an event whose x is in raw units and has means of 0 and deviations of 1."""
        ones = filled(shape, 1.0, np.float64)
        return Event(shape, ones, ones, filled(shape, 0.0, np.float64))

    def part(self, columns: Sequence[int]) -> "Event":
        """Return what some columns of a row, or channels, are."""
        unit, spread, centre = (array[..., list(columns)] for array in (self.unit, self.spread, self.centre))
        return Event((*self.shape[:-1], len(columns)), unit, spread, centre, min(self.missing, len(columns)))

    def with_holes(self, missing: int) -> "Event":
        """Return the event of rows of which so many entries can be missing."""
        return replace(self, missing=missing)

    @property
    def size(self) -> int:
        """The number of entries in a row."""
        return int(np.prod(self.shape))


class Cells(NamedTuple):
    """What the cells of a table are made of, where a cell is more than one entry, or another number than its entry.

    A cell has the value of the class that it is, or where it is no class its number: the entry's, along a curve.
    Values are in units of the cells' own. W is as `omokage.model.places_of` has it: a place for each number, and for
    each class.

    Attributes:
        values: The value of each class in the column that it is of, else 0, (W, D).
        other: 1 for the class "none of them" in its column, else 0, (W, D).
        always: 1 where a column has a number and no classes, else 0, (D,).
        number: The place of the number of each column, (D,); any where it has none.
        low, step: Where curves start, and how far their points are apart, in the units of x, (D,) each.
        curve: Values at these points, (D, points).
        nodes, shares: The points of a quadrature by the standard normal, and their weights, (G,) each.
    """

    values: Any
    other: Any
    always: Any
    number: Any
    low: Any
    step: Any
    curve: Any
    nodes: Any
    shares: Any

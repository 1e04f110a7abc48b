"""Rows entry by entry: each given z and the entries before it, so that no two columns are independent given z."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any, ClassVar

import numpy as np
from jax import Array
from numpy.typing import NDArray

from omokage.batch import Event
from omokage.density import Dropped, Fixed, Learned, Output, Parameters
from omokage.errors import ParameterError, check_counts, is_count, is_number
from omokage.likelihoods.by_column import ByColumn
from omokage.likelihoods.categories import Categories
from omokage.likelihoods.chains import Cell, Chain, Layout
from omokage.likelihoods.location_scale import Gaussian
from omokage.nets import masked
from omokage.nets.views import Beside
from omokage.supports import REAL, Support, beside, levels

_UNITS, _WIDEST, _NARROWEST = 1024, 64, 8  # of all entries together, and of each


@dataclass(frozen=True)
class Autoregressive:
    """p(x|z) = Π p(x_j | x₁ … x_{j-1}, z): a network gives the distribution of each entry from z and those before it.

    A class has the probabilities of its levels. A number has a histogram of `bins` bins which are equally likely under
    a normal distribution of the column's mean and deviation, and within a bin that distribution's shape; so it may have
    any shape, and its tails are those of a normal. Numbers should come with splines, which make them about normal:
    `data=omokage.data.Columns(spline=True)`.

    Such a decoder needs z for little. So codes say little, and rows that are made are good without a density of codes.
    It learns columns by heart where rows are few: leave `dropout` on, and stop early.

    Of a row with holes the density is that of the entries which are there, each given those before it that are there.
    It adds up to 1 over them whatever the holes. Means of p(x|z) are over 16 chains that are drawn, always the same.

    Sources: Germain et al., "MADE: Masked Autoencoder for Distribution Estimation", 2015, for masked networks; Chen et
    al., "Variational Lossy Autoencoder", 2017, for such decoders and what they leave to z; Salimans et al.,
    "PixelCNN++", 2017, for the classes and numbers of one entry after the other.

    Attributes:
        width: Features of each entry in the two hidden layers; `None`: 64, and for more than 16 entries fewer.
        bins: Of a number.
        dropout: The share of the features that is dropped in training.
        unknown: The share of the entries that those after them are not shown in training. So it is learned what to
            expect where some are missing.
        cells: How many classes the entries of each cell have, `None` for a number, in the order of a row. An entry is
            there if the one before it in its cell is of the last of its classes. Left empty, it is what the columns of
            the fit are.

    Raises:
        ParameterError: If a setting is not of this kind.

    Example:
        >>> import omokage as om, polars
        >>> parts = polars.DataFrame({"lot": ["A", "B", "A", "B"] * 5, "width": [1.5, 3.0, 1.25, 2.75] * 5})
        >>> vae = om.VAE(1, likelihood=om.likelihoods.Autoregressive(), hidden=(), epochs=1, verbose=0).fit(parts)
        >>> vae.sample(3).shape
        (3, 2)
    """

    width: int | None = None
    bins: int = 100
    dropout: float = 0.3
    unknown: float = 0.0
    cells: Sequence[Cell] = ()
    has_mean: ClassVar[bool] = False
    takes_holes: ClassVar[bool] = True
    layer_weights: ClassVar[tuple[str, ...]] = masked.WEIGHTS

    def __post_init__(self) -> None:
        """Check the settings, and keep them in a form that can be compared and written down."""
        check_counts(self, *(["bins"] if self.width is None else ["bins", "width"]))
        for name, share in (("dropout", self.dropout), ("unknown", self.unknown)):
            if not is_number(share, 0, 0.99):
                raise ParameterError(f"Autoregressive({name}={share!r}): expected a share from 0 to 0.99.")
        given = self.cells
        if isinstance(given, str) or not all(isinstance(cell, tuple | list) and _is_cell(cell) for cell in given):
            raise ParameterError(
                f"Autoregressive(cells={given!r}): expected for each column (None,) if it is a number, (3,) if it is "
                "one of three classes, or (3, None) if it is a number in the last of them."
            )
        object.__setattr__(self, "cells", tuple(tuple(cell) for cell in given))

    def of_cells(self, cells: Sequence[Cell]) -> "Autoregressive":
        """Return the likelihood of rows with such cells, unless it was said what they are."""
        return self if self.cells else replace(self, cells=tuple(cells))

    def check_entries(self, shape: tuple[int, ...]) -> None:
        """Check that rows are as long as the cells say; raises ParameterError."""
        if self.entries != shape[0]:
            raise ParameterError(
                f"Autoregressive(cells=...): has {self.entries} entries, and rows have {shape[0]}. Leave it empty."
            )

    @cached_property
    def classes(self) -> tuple[int | None, ...]:
        """How many classes each entry has; `None` for a number."""
        return tuple(count for cell in self.cells for count in cell)

    @property
    def entries(self) -> int:
        """E."""
        return len(self.classes)

    @cached_property
    def layout(self) -> Layout:
        """What is known of each entry, as arrays."""
        return Layout(tuple(self.cells), self.bins)

    @property
    def support(self) -> Support:
        """All numbers, or the classes' numbers and one more, for each entry."""
        if not self.cells:
            return REAL
        return beside([REAL if count is None else levels(count + 1) for count in self.classes])

    def parameters(self, event: Event) -> Parameters:
        """Return what z adds to the first features of each entry, which features are dropped, and the network."""
        entries, width = event.size, self.width or max(_NARROWEST, min(_WIDEST, _UNITS // event.size))
        layout = self.of_cells([(None,)] * entries).layout
        sizes = (entries, layout.places, width, layout.outputs)
        made = cache(lambda: masked.first_weights(*sizes))

        def first(name: str, shape: tuple[int, ...]) -> Learned:
            return Learned(lambda: made()[name], shape)

        weights = {name: first(name, shape) for name, shape in masked.shapes(*sizes).items()}
        return {
            "added": Output((entries, width)),
            # The same numbers for all entries, whose features are their own: random numbers cost much of a step.
            "kept": Dropped((2, 1, width), self.dropout),
            "shown": Dropped((entries,), self.unknown),
            "centre": Fixed(np.where(layout.number, event.centre, 0.0)),
            "spread": Fixed(np.where(layout.number & (event.spread > 0), event.spread, 1.0)),
            **weights,
        }

    def view(self, event: Event) -> Beside:
        """Return what the encoder sees of x: numbers as they are, and one column for each class."""
        return self._plain.view(event)

    @cached_property
    def _plain(self) -> ByColumn:
        """Families that see and average entries of the same kinds."""
        return ByColumn([Gaussian() if count is None else Categories((count,)) for count in self.classes])

    def distribution(
        self,
        added: Array,
        centre: Array,
        spread: Array,
        kept: Array | None = None,
        shown: Array | None = None,
        sure: Array | None = None,
        **weights: Array,
    ) -> Chain:
        """Return a distribution of batch shape (B, E), or one that is certain of the bins and classes of `sure`."""
        return Chain(self.layout, weights, added, centre, spread, kept=kept, shown=shown, sure=sure)

    def usual(self, expected: Array) -> Array:
        """Return the mean of each number and the most likely class of others, from averages of `Chain.expected`."""
        return self._plain.usual(expected)

    def places(self, entries: int) -> NDArray[np.int64]:
        """Return which of so many entries each of `Chain.expected` is of."""
        return self._plain.places(entries)

    def marked(self, x: Array) -> Array:
        """Return rows, (..., E), as `Chain.expected` has them: numbers, and 1 at the class that an entry has."""
        classes = x[..., None] == np.arange(self.layout.outputs, dtype=np.float32)
        return self.layout.groups(classes.astype(np.float32), x)

    def saturated(self, x: Array, **parameters: Any) -> dict[str, Any]:
        """Return parameters under which each entry is certain of the bin or the class that it has."""
        return {**parameters, "sure": x}


def _is_cell(cell: Sequence[Any]) -> bool:
    """Say whether it is classes, of which each but the last decides about what follows, or a number at the end."""
    return len(cell) > 0 and all(map(is_count, cell[:-1])) and (cell[-1] is None or is_count(cell[-1]))

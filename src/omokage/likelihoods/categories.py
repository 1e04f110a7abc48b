"""Classes in columns of which each has a number of its own, all computed at once.

The logits of all columns lie beside each other, S = Σ C_j of them, so that one product makes them, and sums over the
classes of a column are products with a matrix of zeros and ones. A class that the fit did not see has a place too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax import Array
from numpy.typing import NDArray

from omokage.batch import Event
from omokage.density import Fixed, Output, Parameters
from omokage.errors import ParameterError, is_count
from omokage.nets.views import Classes as View
from omokage.nets.views import Segments
from omokage.supports import WHOLE, Support, beside, levels

UNSEEN = float(np.log(1e-6))  # of the probability of an unseen class as a share of the least one
_SURE = 80.0  # as a logarithm


@dataclass(frozen=True)
class Categories:
    """p(x|z) of one of C_j classes in column j, written 0 to C_j - 1; the number C_j is a class never seen.

    That has a millionth of the probability of the least likely class, and networks see it as a missing entry. So data
    may hold it, and it is always the most surprising value. Beside that millionth the probabilities of the other
    classes add up to 1. Classes have no mean: reconstructions are the most likely ones.

    Attributes:
        classes: C_j of each column.

    Raises:
        ParameterError: If there are none, or one is no whole number of at least 1.

    Example:
        >>> family = Categories((2, 3))
        >>> p = jnp.exp(family.distribution(logits=jnp.zeros((1, 5)), unseen=UNSEEN).log_prob(jnp.array([[1.0, 2.0]])))
        >>> p.round(3).tolist()
        [[0.5, 0.3330000042915344]]
    """

    classes: tuple[int, ...]
    has_mean: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check the settings, which are used long after."""
        given = self.classes
        if not isinstance(given, Sequence) or isinstance(given, str) or not all(is_count(count) for count in given):
            raise ParameterError(f"Categories(classes={given!r}): expected whole numbers of at least 1, one a column.")
        if not given or max(given) >= WHOLE:
            raise ParameterError(f"Categories(classes={given!r}): expected one column, and fewer than {WHOLE} classes.")
        object.__setattr__(self, "classes", tuple(int(count) for count in given))

    @property
    def kin(self) -> str:
        """What families have in common that `joined` makes one of."""
        return "categories"

    @staticmethod
    def joined(families: Sequence["Categories"]) -> "Categories":
        """Return the family of the columns of several."""
        return Categories(tuple(count for family in families for count in family.classes))

    @property
    def support(self) -> Support:
        """The classes' numbers, and one more."""
        each = [levels(count + 1) for count in self.classes]
        return each[0] if len(each) == 1 else beside(each)

    def check_entries(self, shape: tuple[int, ...]) -> None:
        """Check that there is a number of classes for each column; raises ParameterError."""
        if shape[-1] != len(self.classes):
            raise ParameterError(
                f"Categories(classes={self.classes!r}): expected one number for each column; rows have {shape[-1]}."
            )

    def parameters(self, event: Event) -> Parameters:
        """Return the logits of all classes beside each other, and the logarithm of an unseen class's share."""
        return {"logits": Output((*event.shape[:-1], sum(self.classes))), "unseen": Fixed(np.float32(UNSEEN))}

    def view(self, event: Event) -> View:
        """Return what networks see of x: one column for each class."""
        return View(self.classes)

    def distribution(self, logits: Array, unseen: Array) -> dist.Distribution:
        """Return a distribution of batch shape (B, *event)."""
        return Levels(logits, unseen, self.classes)

    def usual(self, expected: Array) -> Array:
        """Return the most likely class of each entry, from averages of `Levels.expected`."""
        return Segments(self.classes).argmax(expected)

    def places(self, entries: int) -> NDArray[np.int64]:
        """Return which of so many entries each of `Levels.expected` is of."""
        return Segments(self.classes).column

    def saturated(self, x: Array, logits: Array, unseen: Array) -> dict[str, Array]:
        """Return logits that are sure of the class of x; of an unseen class, it is sure too."""
        strange = x >= np.array(self.classes)
        return {"logits": 1e4 * Segments(self.classes).marked(x), "unseen": jnp.where(strange, _SURE, unseen)}


class Levels(dist.Distribution):
    """Independent classes, each entry with a number of classes of its own; see `Categories`."""

    arg_constraints: ClassVar[dict[str, Any]] = {}
    support = dist.constraints.real
    pytree_data_fields = ("logits", "unseen")
    pytree_aux_fields = ("classes",)

    def __init__(self, logits: Array, unseen: Array, classes: tuple[int, ...]):
        self.logits, self.unseen, self.classes = logits, unseen, classes
        super().__init__((*jnp.shape(logits)[:-1], len(classes)))

    def log_prob(self, value: Array, intermediates: object = None) -> Array:
        """Return log p of each class number, in nats."""
        segments = Segments(self.classes)
        logs = segments.log_softmax(self.logits)
        found = segments.total(logs * segments.marked(value))
        unseen = jnp.broadcast_to(value >= np.array(self.classes), found.shape)

        def filled() -> Array:
            return jnp.where(unseen, self.unseen - segments.largest(-logs), found)

        # Training data have no unseen class, so it is computed only where one is.
        return jax.lax.cond(unseen.any(), filled, lambda: found)

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        """Return draws of the classes that were seen, (*sample_shape, *batch)."""
        noise = jax.random.gumbel(key, (*sample_shape, *self.logits.shape))
        return Segments(self.classes).argmax(self.logits + noise)

    @property
    def expected(self) -> Array:
        """The probability of each class, (..., S)."""
        return jnp.exp(Segments(self.classes).log_softmax(self.logits))

    @property
    def expected_variance(self) -> Array:
        """The variance of being each class, (..., S)."""
        share = self.expected
        return share * (1 - share)

    @property
    def mean(self) -> Array:
        """The most likely class of each entry."""
        return Segments(self.classes).argmax(self.logits)

    @property
    def variance(self) -> Array:
        """The probability of another class than the most likely one."""
        return 1 - Segments(self.classes).largest(self.expected)

"""A likelihood for each column, so that one row can hold amounts, counts and classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax import Array
from numpy.typing import NDArray

from omokage.batch import Event
from omokage.density import Parameters
from omokage.errors import ParameterError, listing, suggest
from omokage.likelihoods.categories import Categories
from omokage.nets.views import Beside
from omokage.supports import Support, beside, support_of


@dataclass(frozen=True)
class ByColumn:
    """p(x|z) = Π p_j(x_j|z): a family of its own for each column, or channel.

    Columns of one family, as two of five classes each, share what it learns for all columns alike. Nats of columns add
    up; there are no weights between them.

    Attributes:
        families: One for each column, in the order of the columns; or a dictionary of those of some columns by name. It
            is kept as pairs. Columns of an array are named by their number, counted from 0.
        default: Of a dictionary: the family of the other columns. "auto": what they would have without it.

    Raises:
        ParameterError: If there are none, or one is no family.

    Example:
        >>> import omokage as om
        >>> from omokage.likelihoods import ByColumn, Categorical, Gaussian, Poisson
        >>> X = np.array([[0.3, 2.0, 7.0], [-0.4, 0.0, 9.0], [1.2, 1.0, 4.0], [0.1, 2.0, 5.0]])
        >>> vae = om.VAE(1, likelihood=ByColumn([Gaussian(), Categorical(3), Poisson()]), epochs=1, verbose=0).fit(X)
        >>> vae.sample(2).shape
        (2, 3)
        >>> om.VAE(1, likelihood=ByColumn({2: Poisson()}), epochs=1, verbose=0).fit(X).sample(2)[:, 2].min() >= 0
        np.True_
    """

    families: Sequence[Any] | Mapping[Any, Any]
    default: Any = "auto"

    def __post_init__(self) -> None:
        """Check the families, and keep them in a form that can be compared and written down."""
        given = self.families
        if isinstance(given, str) or not hasattr(given, "__iter__") or not list(given):
            raise ParameterError(
                f"ByColumn: families: expected a list with one for each column; got {given!r}. A dictionary gives "
                "those of some columns by name."
            )
        pairs = [(str(name), family) for name, family in given.items()] if isinstance(given, Mapping) else tuple(given)
        object.__setattr__(self, "families", tuple(tuple(one) if isinstance(one, list) else one for one in pairs))
        families = enumerate(self.families) if not self.by_name else ((repr(name), one) for name, one in self.families)
        for column, family in families:
            _check_family(family, f"families: column {column}")
        if not (isinstance(self.default, str) and self.default == "auto"):
            if not self.by_name:
                raise ParameterError(
                    "ByColumn: default: expected 'auto' beside a list, which has a family for each column; got "
                    f"{self.default!r}. Give a dictionary of families by name."
                )
            _check_family(self.default, "default")
        names = [name for name, _ in self.families] if self.by_name else []
        if twice := [name for name in names if names.count(name) > 1]:
            raise ParameterError(f"ByColumn: families: column {twice[0]!r} has two; expected one.")

    @property
    def by_name(self) -> bool:
        """Whether families are those of some columns by name; the others are known only where there are rows."""
        return all(isinstance(one, tuple) and len(one) == 2 and isinstance(one[0], str) for one in self.families)

    def placed(self, names: Sequence[str], others: Sequence[Any], classes: Sequence[int | None]) -> "ByColumn":
        """Return the families of all columns in their order.

        Args:
            names: Of the columns, or of the entries of a table.
            others: What "auto" is for each.
            classes: How many classes each has that holds a category; `None` for the others.

        Raises:
            ParameterError: If there is no column of a name, or it holds categories and the family is none of such.
        """
        if not self.by_name:
            return self
        chosen = dict(self.families)
        for name, family in self.families:
            if name not in names:
                raise ParameterError(
                    f"likelihood: ByColumn: X has no column {name!r} that is input.{suggest(name, names)} "
                    f"It has {listing(names, 10)}."
                )
            count = classes[list(names).index(name)]
            if count is not None and family != (fitting := Categories((count,))):
                raise ParameterError(
                    f"likelihood: ByColumn: column {name!r} holds {count} levels, which have no order, so its family "
                    f"is {fitting}; got {family!r}. Leave it out, or have it read as numbers with "
                    f"data=omokage.data.Columns(types={{{name!r}: 'number'}})."
                )
        auto = isinstance(self.default, str)
        pairs = zip(names, others, classes, strict=True)
        default = [other if auto or count is not None else self.default for _, other, count in pairs]
        return ByColumn([chosen.get(name, other) for name, other in zip(names, default, strict=True)])

    @cached_property
    def _groups(self) -> list[tuple[Any, tuple[int, ...]]]:
        """The families, each with the columns that have it; those of a kin are made one."""
        places: dict[Any, list[int]] = {}
        for j, family in enumerate(self.families):
            places.setdefault(getattr(family, "kin", family), []).append(j)
        groups = []
        for columns in places.values():
            members = [self.families[j] for j in columns]
            joined = members[0].joined(members) if hasattr(members[0], "joined") else members[0]
            groups.append((joined, tuple(columns)))
        return groups

    def check_entries(self, shape: tuple[int, ...]) -> None:
        """Check that families are given parameters for as many columns as they have; raises ParameterError."""
        for family, columns in self._groups:
            if hasattr(family, "check_entries"):
                family.check_entries((*shape[:-1], len(columns)))

    @property
    def support(self) -> Support:
        """What each column's family is a density of."""
        return beside([support_of(family) for family in self.families])

    @property
    def has_mean(self) -> bool:
        """Whether all columns have a mean."""
        return all(getattr(family, "has_mean", True) for family in self.families)

    @property
    def undefined(self) -> tuple[str, ...]:
        """The moments that some column does not have."""
        return tuple({moment for family in self.families for moment in getattr(family, "undefined", ())})

    def parameters(self, event: Event) -> Parameters:
        """Return the parameters of all families, with the number of the family behind each name.

        Raises:
            ParameterError: If rows have another number of columns.
        """
        if event.shape[-1] != len(self.families):
            raise ParameterError(
                f"likelihood: ByColumn has {len(self.families)} families, and rows have {event.shape[-1]} columns. "
                "Give one for each column."
            )
        return {
            f"{name}_{number}": parameter
            for number, (family, columns) in enumerate(self._groups)
            for name, parameter in family.parameters(event.part(columns)).items()
        }

    def view(self, event: Event) -> Beside:
        """Return what networks see of x: beside each other what they see of each family's columns."""
        views: list[tuple[Any, tuple[int, ...]]] = [
            (family.view(event.part(columns)) if hasattr(family, "view") else None, columns)
            for family, columns in self._groups
        ]
        return Beside(views)

    def distribution(self, **parameters: Any) -> dist.Distribution:
        """Return a distribution of batch shape (B, *event)."""
        parts = [
            (family.distribution(**given), columns)
            for (family, columns), given in zip(self._groups, self._given(parameters), strict=True)
        ]
        return ColumnsBeside([part for part, _ in parts], tuple(columns for _, columns in parts))

    def usual(self, expected: Array) -> Array:
        """Return x where each entry is what its family expects, from averages of `ColumnsBeside.expected`."""
        parts, start = [], 0
        for family, columns in self._groups:
            width = len(family.places(len(columns))) if hasattr(family, "usual") else len(columns)
            part = expected[..., start : start + width]
            parts.append(family.usual(part) if hasattr(family, "usual") else part)
            start += width
        return in_order(parts, tuple(columns for _, columns in self._groups))

    def places(self, entries: int) -> NDArray[np.int64]:
        """Return which of so many entries each of `ColumnsBeside.expected` is of."""
        parts = [
            np.array(columns)[family.places(len(columns))] if hasattr(family, "usual") else np.array(columns)
            for family, columns in self._groups
        ]
        return np.concatenate(parts)

    def saturated(self, x: Array, **parameters: Any) -> dict[str, Array]:
        """Return the parameters which explain x best, where all families say which do."""
        if lacking := [family for family, _ in self._groups if not hasattr(family, "saturated")]:
            raise ParameterError(
                f"likelihood: {lacking[0]} does not say which parameters explain an entry best, so the deviance of its "
                "columns is not known. Give it a method `saturated(x, **parameters)`."
            )
        return {
            f"{name}_{number}": value
            for number, ((family, columns), given) in enumerate(zip(self._groups, self._given(parameters), strict=True))
            for name, value in family.saturated(x[..., np.array(columns)], **given).items()
        }

    def _given(self, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the parameters of each family."""
        given: list[dict[str, Any]] = [{} for _ in self._groups]
        for key, value in parameters.items():
            name, _, number = key.rpartition("_")
            given[int(number)][name] = value
        return given


def _check_family(family: Any, where: str) -> None:
    """Check that one is a family of entries of one column; raises ParameterError."""
    made = not isinstance(family, type) and hasattr(family, "parameters") and hasattr(family, "distribution")
    if not made or isinstance(family, ByColumn):
        raise ParameterError(
            f"ByColumn: {where}: expected a likelihood such as likelihoods.Gaussian(); got {family!r}."
        )


class ColumnsBeside(dist.Distribution):
    """Independent entries, of which each group of columns, on the last axis, has a distribution of its own."""

    arg_constraints: ClassVar[dict[str, Any]] = {}
    support = dist.constraints.real
    pytree_data_fields = ("parts",)
    pytree_aux_fields = ("columns",)

    def __init__(self, parts: Sequence[Any], columns: tuple[tuple[int, ...], ...]):
        self.parts, self.columns = list(parts), columns
        rows = jnp.broadcast_shapes(*(part.batch_shape[:-1] for part in parts))
        super().__init__((*rows, sum(map(len, columns))))

    def _together(self, entries: Sequence[Array]) -> Array:
        return in_order(entries, self.columns)

    @property
    def expected(self) -> Array:
        """What may be averaged of each entry, group after group: means, and of classes the probability of each."""
        return self._beside("expected", "mean")

    @property
    def expected_variance(self) -> Array:
        """The variance of each of `expected`; NaN where it is not known."""
        return self._beside("expected_variance", "variance")

    def _beside(self, name: str, otherwise: str) -> Array:
        parts: list[Any] = []
        for part in self.parts:
            try:
                parts.append(getattr(part, name if hasattr(part, "expected") else otherwise))
            except NotImplementedError:
                parts.append(jnp.full(jnp.shape(part.mean), jnp.nan))
        rows = jnp.broadcast_shapes(*(np.shape(part)[:-1] for part in parts))
        return jnp.concatenate([jnp.broadcast_to(part, (*rows, part.shape[-1])) for part in parts], -1)

    def log_prob(self, value: Array, intermediates: object = None) -> Array:
        """Return log p of each entry, in nats."""
        return self._together(
            [
                part.log_prob(value[..., np.array(columns)])
                for part, columns in zip(self.parts, self.columns, strict=True)
            ]
        )

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        """Return draws, (*sample_shape, *batch)."""
        keys = jax.random.split(key, len(self.parts))
        drawn = [part.sample(each, sample_shape) for part, each in zip(self.parts, keys, strict=True)]
        return self._together([jnp.asarray(array, jnp.result_type(float)) for array in drawn])

    @property
    def mean(self) -> Array:
        """The mean of each entry, and of classes the most likely one."""
        return self._together([jnp.asarray(part.mean, jnp.result_type(float)) for part in self.parts])

    @property
    def variance(self) -> Array:
        """The variance of each entry."""
        return self._together([part.variance for part in self.parts])


def in_order(entries: Sequence[Array], columns: tuple[tuple[int, ...], ...]) -> Array:
    """Return what is known of each group's columns in the order of the columns, (..., D)."""
    rows = jnp.broadcast_shapes(*(np.shape(array)[:-1] for array in entries))
    full = [jnp.broadcast_to(array, (*rows, len(each))) for array, each in zip(entries, columns, strict=True)]
    return jnp.concatenate(full, -1)[..., np.argsort(np.concatenate(columns))]

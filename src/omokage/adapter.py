"""Families made of NumPyro's distributions, from what NumPyro says of their parameters.

Each parameter has a constraint, such as "positive"; what a network gives, or what is learned, is any real number, and
a smooth map takes it there. Whichever family is asked for, parameters are `given` as numbers, `learned` as one value
for all rows, or else come from the network (and are learned where there is none, as in a prior).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax import Array
from numpy.typing import NDArray
from numpyro.distributions import constraints

from omokage import distributions as own
from omokage.batch import Event
from omokage.density import Fixed, Learned, Output, Parameters
from omokage.errors import ParameterError, listing, shown, suggest
from omokage.memory import filled
from omokage.supports import COUNTS, NONNEGATIVE, OPEN_UNIT, POSITIVE, REAL, UNIT, WHOLE, Support

_LEAST = 1e-3  # of a parameter above 0, or a scale could reach 0, where densities are infinite
_OTHER_WAYS = ("covariance_matrix", "precision_matrix")  # to give a scale_tril
_SUPPORTS = (
    (constraints.real, REAL),
    (constraints.boolean, UNIT),
    (constraints.unit_interval, UNIT),
    (constraints.positive, POSITIVE),
    (constraints.nonnegative, NONNEGATIVE),
    (constraints.nonnegative_integer, COUNTS),
)
# Of those from 0 to 1 the ones whose density is 0 or infinite at an end.
_OPEN = ("Beta", "BetaProportion", "Kumaraswamy", "RelaxedBernoulliLogits")
_DEPENDENT = (type(constraints.dependent), type(dist.Uniform.support))  # on other parameters
_NAMES = tuple(
    name
    for name, member in vars(dist).items()
    if isinstance(member, type) and issubclass(member, dist.Distribution) and member is not dist.Distribution
)


@dataclass(frozen=True)
class NumPyroFamily:
    """Any distribution of NumPyro whose parameters have constraints of their own.

    Attributes:
        name: What NumPyro calls it, such as "Laplace"; the class itself does as well.
        given: Parameters that stay, name to number (or one number for each entry). Whole numbers, such as the number
            of trials of a binomial distribution, stay whole.
        learned: Parameters that are one value for all rows, and are trained.

    Raises:
        ParameterError: If NumPyro has no such distribution, or parameters cannot be found by a network.
    """

    name: str
    given: Any = ()
    learned: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the settings, and keep them in a form that can be compared and written down."""
        name = self.name if isinstance(self.name, str) else getattr(self.name, "__name__", repr(self.name))
        name = name if name in _NAMES or f"{name}Logits" not in _NAMES else f"{name}Logits"
        what = f"{type(self).__name__}({name!r})"
        if name not in _NAMES:
            raise ParameterError(
                f"{what}: NumPyro has no such distribution. To use one of your own write a family with `parameters` "
                f"and `distribution`.{suggest(name, _NAMES)}"
            )
        given, learned = _pairs(self.given, what), _texts(self.learned, what)
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "given", given)
        object.__setattr__(self, "learned", learned)
        known = self._class.arg_constraints if isinstance(self._class.arg_constraints, dict) else {}
        if unknown := [key for key in (*self._given, *self.learned) if key not in known]:
            raise ParameterError(f"{what}: no parameter {listing(unknown)}; it has {listing(list(known), 10)}.")
        plain = {str(key): _plain(value, _whole(known[key]), f"{what}: {key}") for key, value in self._given.items()}
        for key, value in plain.items():
            _check_within(known[key], value, f"{what}: {key}")
        object.__setattr__(self, "given", tuple(sorted(plain.items())))
        missing = [key for key in self._wanted if key not in self._given and not _free(known[key])]
        if missing:
            example = 1 if _whole(known[missing[0]]) else 1.0
            raise ParameterError(
                f"{what}: {listing(missing)} cannot be learned, being a whole number or bound to other parameters. "
                f"Give a value, as in given={{{missing[0]!r}: {example}}}."
            )
        self._try(what)

    def _try(self, what: str) -> None:
        """Check that parameters of the right shapes make a distribution of the right shape."""
        try:
            event = self._smallest
            blank = {name: _first_value(parameter) for name, parameter in self.parameters(event).items()}
            made = jax.eval_shape(lambda: self.distribution(**blank).sample(jax.random.key(0)))
        except ParameterError:
            raise
        except Exception as error:  # whatever NumPyro's classes raise
            reason = " ".join(str(error).split())[:120]
            raise ParameterError(
                f"{what}: cannot be made from numbers alone ({reason}). Write a family with `parameters` and "
                "`distribution`."
            ) from None
        if made.shape != event.shape or self.event_dim > 1:
            raise ParameterError(f"{what}: is no distribution of one number, nor of vectors of any length.")
        if moving := self._moving:
            raise ParameterError(
                f"{what}: its support depends on {listing(moving)}, so data cannot be checked against it. Give values, "
                f"as in given={{{moving[0]!r}: 1.0}}."
            )

    @property
    def _smallest(self) -> Event:
        """An event that it can be tried on: two entries, or as many as parameters are given for."""
        shapes = [np.shape(value) for _, value in self.given if np.ndim(value)]
        shape = max(shapes, key=len, default=(2,))
        return Event.plain(*(shape[-1:] if self.event_dim else shape))

    @property
    def _given(self) -> dict[str, Any]:
        return dict(self.given)

    @property
    def _class(self) -> Any:
        return own.OWN.get(self.name) or getattr(dist, self.name)

    @property
    def _wanted(self) -> list[str]:
        """The parameters that it is called with; of several ways to say the same, the first."""
        known = self._class.arg_constraints
        named = {*self._given, *self.learned}
        return [key for key in known if key in named or key not in _OTHER_WAYS]

    @property
    def event_dim(self) -> int:
        """0 where the distribution is of one number, 1 of a vector."""
        return int(getattr(self._class.support, "event_dim", 0) or 0)

    @property
    def support(self) -> Support:
        """Where its draws lie."""
        with jax.ensure_compile_time_eval():  # also asked while a program is traced
            found = self._constraint({})
            low, high = _ends(found)
        for constraint, support in _SUPPORTS:
            if found is constraint:
                return OPEN_UNIT if self.name in _OPEN else support
        if found.event_dim or not (np.isfinite(low).any() or np.isfinite(high).any()):
            return Support(f"a {type(found).__name__.strip('_').replace('_', ' ')}", named=True)
        kind = "whole numbers" if found.is_discrete else "numbers"
        text = f"{kind} from {_shown(low)}" + (f" to {_shown(high)}" if np.isfinite(high).any() else " on")
        return Support(text, _nested(low.tolist()), _nested(high.tolist()), whole=found.is_discrete)

    def _constraint(self, moved: dict[str, float]) -> Any:
        """Return NumPyro's support; where it depends on the parameters, for first values that are moved so far."""
        found = self._class.support
        if isinstance(found, type(dist.Uniform.support)):
            first = {name: _first_value(value) for name, value in self.parameters(self._smallest).items()}
            found = self.distribution(**{name: value + moved.get(name, 0) for name, value in first.items()}).support
        while hasattr(found, "base_constraint"):
            found = found.base_constraint
        return found

    @property
    def _moving(self) -> list[str]:
        """The parameters that are not given and on which the support depends."""
        if not isinstance(self._class.support, type(dist.Uniform.support)):
            return []
        first = _ends(self._constraint({}))
        free = [name for name in self._wanted if name not in self._given]
        ends = {name: _ends(self._constraint({name: 1.0})) for name in free}
        return [name for name in free if not all(map(np.array_equal, first, ends[name]))]

    @property
    def undefined(self) -> tuple[str, ...]:
        """Which of "mean" and "variance" it never has: infinite, as of a Cauchy, or without a formula in NumPyro."""
        first = {name: _first_value(value) for name, value in self.parameters(self._smallest).items()}
        free = {name: value if name in self._given else value + 2.0 for name, value in first.items()}
        with jax.ensure_compile_time_eval():  # also asked while a program is traced
            tried = [self.distribution(**values) for values in (first, free)]  # some have one for large parameters only
            return tuple(name for name in ("mean", "variance") if not any(_is_finite(made, name) for made in tried))

    @property
    def has_mean(self) -> bool:
        """Whether it has a mean and a variance."""
        return not self.undefined

    def parameters(self, event: Event) -> Parameters:
        """Return what the distribution needs, each before the map to where it must lie."""
        found: dict[str, Any] = {}
        first = {name: np.broadcast_to(value, event.shape) for name, value in self.first_values(event).items()}
        for key in self._wanted:
            constraint = self._class.arg_constraints[key]
            if key in self._given:
                value = np.asarray(self._given[key], np.int32 if _whole(constraint) else np.float64)
                found[key] = Fixed(self._spread(key, value, self._shape(constraint, event)))
                continue
            shape = dist.biject_to(constraint).inverse_shape(self._shape(constraint, event))
            start = _back(constraint, first[key]) if key in first and shape == event.shape else None
            start = filled(shape, 0.0, np.float64) if start is None else start
            found[key] = Learned(start) if key in self.learned else Output(shape, start)
        return found

    def check_entries(self, shape: tuple[int, ...]) -> None:
        """Check that parameters are given for as many entries as rows of such a shape have.

        Raises:
            ParameterError: Naming the first that is not.
        """
        event = Event.plain(*shape)
        for key, value in self.given:
            self._spread(key, value, self._shape(self._class.arg_constraints[key], event))

    def first_values(self, event: Event) -> Mapping[str, Any]:
        """Return what parameters start at, by name, each like an entry; those that are not named start at about 1."""
        return {"loc": event.centre, "scale": event.spread}

    def distribution(self, **parameters: Array) -> dist.Distribution:
        """Return the distribution of each entry, or of the vector."""
        values = {}
        for key, value in parameters.items():
            constraint = self._class.arg_constraints[key]
            values[key] = value if key in self._given else _to(constraint, value)
        return self._class(**values)

    def _spread(self, key: str, value: Any, shape: tuple[int, ...]) -> Any:
        try:
            return np.broadcast_to(value, shape)
        except ValueError:
            raise ParameterError(
                f"{type(self).__name__}({self.name!r}): {key} is given for {np.shape(value)} entries, and there are "
                f"{shape}. Give one number, or as many as there are entries."
            ) from None

    def _shape(self, constraint: Any, event: Event) -> tuple[int, ...]:
        size, depth = event.size, int(getattr(constraint, "event_dim", 0) or 0)
        if self.event_dim == 0 and depth == 0:
            return event.shape
        if self.event_dim == 0:
            raise ParameterError(
                f"{type(self).__name__}({self.name!r}): its parameters are vectors of unknown length. Take "
                "likelihoods.Categorical, or write a family."
            )
        return (size,) * depth


def from_numpyro(value: Any, kind: type[NumPyroFamily]) -> Any:
    """Return a family for a NumPyro distribution or its class; anything else comes back as it is.

    Of an instance the parameters are kept as they are.

    Example:
        >>> from_numpyro(dist.Laplace(0.0, 2.0), NumPyroFamily)
        NumPyroFamily(name='Laplace', given=(('loc', 0.0), ('scale', 2.0)), learned=())
    """
    if isinstance(value, type) and issubclass(value, dist.Distribution):
        return kind(value.__name__)
    if not isinstance(value, dist.Distribution):
        return value
    while isinstance(value, dist.Independent | dist.ExpandedDistribution):
        value = value.base_dist
    names = [
        name for name in value.arg_constraints if name not in _OTHER_WAYS and getattr(value, name, None) is not None
    ]
    if not names:
        raise ParameterError(
            f"{type(value).__name__}: its parameters are distributions or maps, which cannot be written to a file. "
            "Write a family with `parameters` and `distribution`, or take priors.Mixture or priors.Flow."
        )
    return kind(type(value).__name__, {name: getattr(value, name) for name in names})


def _to(constraint: Any, value: Array) -> Array:
    """Return real numbers mapped to where a parameter must lie, away from the ends of float32."""
    if constraint in (constraints.real, constraints.real_vector, constraints.real_matrix):
        return value
    value = jnp.clip(value, -30.0, 30.0)
    if constraint in (constraints.positive, constraints.nonnegative):
        return _LEAST + jnp.exp(value)
    return dist.biject_to(constraint)(value)


def _back(constraint: Any, value: Any) -> NDArray[np.float64]:
    """Return the real numbers that `_to` takes to parameters, as near to them as it can."""
    value = np.asarray(value, np.float64)
    if constraint in (constraints.real, constraints.real_vector, constraints.real_matrix):
        return value
    if constraint in (constraints.positive, constraints.nonnegative):
        return np.log(np.clip(value - _LEAST, 1e-9, 1e12))
    if constraint == constraints.unit_interval:
        inner = np.clip(value, 1e-6, 1 - 1e-6)
        return np.asarray(np.log(inner) - np.log1p(-inner))
    return np.zeros_like(value)


def _first_value(parameter: Any) -> Any:
    if isinstance(parameter, Output):
        return np.broadcast_to(parameter.start, parameter.shape)
    return parameter.first if isinstance(parameter, Learned) else parameter.value


def _is_finite(distribution: dist.Distribution, moment: str) -> bool:
    try:
        return bool(np.isfinite(getattr(distribution, moment)).all())
    except NotImplementedError:
        return False


def _free(constraint: Any) -> bool:
    """Say whether there is a smooth map from the real numbers to a constraint."""
    try:
        dist.biject_to(constraint)
    except (NotImplementedError, TypeError, AttributeError):
        return False
    return True


def _whole(constraint: Any) -> bool:
    """Say whether a parameter is a whole number."""
    return bool(getattr(constraint, "is_discrete", False)) and constraint is not constraints.boolean


def _ends(constraint: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the ends of an interval, infinite where there are none; one number where all entries have the same."""
    found = (getattr(constraint, "lower_bound", -np.inf), getattr(constraint, "upper_bound", np.inf))
    low, high = (np.asarray(end, np.float64) for end in found)
    return tuple(end.ravel()[0] if end.size and (end == end.ravel()[0]).all() else end for end in (low, high))  # type: ignore[return-value]


def _shown(ends: NDArray[np.float64]) -> str:
    """Return an end as text; of several the first, entry by entry."""
    if ends.ndim == 0:
        return f"{ends:.6g}"
    return f"({', '.join(f'{end:.6g}' for end in ends.ravel()[:3])}{', ...' if ends.size > 3 else ''}) by entry"


def _pairs(given: Any, what: str) -> tuple[tuple[str, Any], ...]:
    """Return what is given by name as pairs."""
    try:
        found = dict(given)
    except (TypeError, ValueError):
        found = None
    if isinstance(given, str) or found is None or not all(isinstance(key, str) for key in found):
        raise ParameterError(
            f"{what}: given: expected names of parameters with their values, such as {{'scale': 1.0}}; got "
            f"{shown(given)}."
        )
    return tuple(found.items())


def _texts(learned: Any, what: str) -> tuple[str, ...]:
    """Return the names of what is learned."""
    names = (learned,) if isinstance(learned, str) else tuple(learned) if hasattr(learned, "__iter__") else (learned,)
    if not all(isinstance(name, str) for name in names):
        raise ParameterError(
            f"{what}: learned: expected names of parameters, such as ('scale',); got {shown(learned)}."
        )
    return names


def _plain(value: Any, whole: bool, what: str) -> Any:
    """Return a number, or numbers as nested tuples."""
    try:
        given = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        raise ParameterError(f"{what}: expected a number, or one for each entry; got {value!r}.") from None
    if np.isnan(given).any():
        raise ParameterError(f"{what}: expected numbers; got nan.")
    if not whole:
        return _nested(given.tolist())
    if (given != np.rint(given)).any() or (np.abs(given) > WHOLE).any():
        wrong = given[(given != np.rint(given)) | (np.abs(given) > WHOLE)].ravel()[0]
        raise ParameterError(f"{what}: expected a whole number of at most 2^24 = {WHOLE:,}; got {wrong:.10g}.")
    return _nested(given.astype(int).tolist())


def _check_within(constraint: Any, value: Any, what: str) -> None:
    """Check that numbers lie where a parameter must, as float32 has them; of vectors and matrices NumPyro says it."""
    if isinstance(constraint, _DEPENDENT) or int(getattr(constraint, "event_dim", 0) or 0):
        return
    given = np.asarray(value, np.float64)
    with np.errstate(over="ignore", under="ignore"):
        within = np.broadcast_to(constraint(given.astype(np.float32)), given.shape)
    if not within.all():
        wrong = given[~within].ravel()[0]
        raise ParameterError(f"{what}: expected {_expected(constraint)}; got {wrong:.10g}.")


def _expected(constraint: Any) -> str:
    """Return in words where a parameter must lie."""
    if constraint is constraints.boolean:
        return "0 or 1"
    number = "a whole number" if _whole(constraint) else "a number"
    low, high = getattr(constraint, "lower_bound", None), getattr(constraint, "upper_bound", None)
    if low is not None and high is not None:
        ends = f"from {low:g} to {high:g}" if constraint(low) else f"above {low:g} and below {high:g}"
    elif low is not None:
        ends = f"{'of at least' if constraint(low) else 'above'} {low:g}"
    elif high is not None:
        ends = f"{'of at most' if constraint(high) else 'below'} {high:g}"
    else:
        ends = "that float32 holds"
    return f"{number} {ends}"


def _nested(entry: Any) -> Any:
    """Return lists as tuples."""
    return tuple(map(_nested, entry)) if isinstance(entry, list) else entry

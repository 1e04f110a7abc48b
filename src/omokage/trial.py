"""What is handed in, tried before any data are read: functions on a tiny example, objects for what they must have.

Where shapes are all that matters, nothing is computed. What can only be judged with the rows at hand (whether parts of
one's own go together, what an objective returns) is judged when the first step is traced; see `omokage.rehearsal`.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_FUNCTION = "a function of a JAX array that returns one like it, such as jax.nn.relu"
_MATRIX = "a function (generator, outputs, inputs) that returns an array (outputs, inputs)"
_FACTOR = "a function from the share of training that is over, 0 to 1, to a factor of the learning rate"
_RULE = "an Optax transformation, such as optax.adam(1e-3)"
_LOSS = "an objective, such as objectives.ELBO(): a function (model, batch, key, epoch) that returns named terms"
_FAMILY = "an object with parameters and distribution"
_NETWORK = "an object with encoder, decoder, kinds and default_hidden"
_CALLBACK = "a function of one argument, the record of an epoch"


def problems(parameters: Mapping[str, Any]) -> dict[str, str]:
    """Return what is wrong with objects among the parameters, by name: what was expected, and what came.

    Args:
        parameters: Of an estimator, and "on_epoch"; names and numbers are left to `omokage.settings`.
    """
    found = {}
    for name, trial in _TRIALS.items():
        value = parameters.get(name)
        left = value is None or (name != "on_epoch" and _plain(value))
        if not left and (problem := trial(value)):
            found[name] = problem
    if not _plain(parameters.get("optimizer", "")):
        found |= _beside_an_optimizer(parameters)
    elif parameters.get("optimizer") != "adamw" and _above_zero(decay := parameters.get("weight_decay", "auto")):
        found["weight_decay"] = (
            f"expected 'auto', since optimizer={parameters['optimizer']!r} has no weight decay; got {decay!r}. Take "
            "optimizer='adamw'."
        )
    return found


def _beside_an_optimizer(parameters: Mapping[str, Any]) -> dict[str, str]:
    """Return what was set that an optimizer which is an object has itself."""
    remedies = {
        "learning_rate": "Give the rate to the optimizer, as in optax.adam(1e-2).",
        "schedule": "Give it to the optimizer, as in optax.adam(optax.cosine_decay_schedule(1e-2, steps)).",
        "weight_decay": "Give it to the optimizer, as in optax.adamw(1e-2, weight_decay=1e-4).",
    }
    text = "expected 'auto' beside an optimizer that is an object, which has its own; got"
    return {
        name: f"{text} {parameters[name]!r}. {remedy}"
        for name, remedy in remedies.items()
        if not (isinstance(parameters.get(name, "auto"), str) and parameters.get(name, "auto") == "auto")
    }


def _plain(value: Any) -> bool:
    """Say whether a value is a name or numbers, which the settings judge."""
    return isinstance(value, str | bool | int | float) or type(value) in (list, tuple)


def _above_zero(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and float(value) > 0


def _activation(value: Any) -> str:
    if problem := _not_a_function(value, _FUNCTION, 1):
        return problem
    like = jax.ShapeDtypeStruct((2, 3), jnp.float32)
    made, problem = _traced(value, _FUNCTION, like)
    if problem:
        return problem
    if _shape(made) != like.shape or not jnp.issubdtype(made.dtype, jnp.floating):
        return f"expected {_FUNCTION}; of float32(2, 3) it makes {_described(made)}"
    points = np.array([-3.0, -1.0, -0.1, 0.1, 1.0, 3.0], np.float32)
    return _finite(lambda x: value(jnp.asarray(x)), points, _FUNCTION)


def _schedule(value: Any) -> str:
    if problem := _not_a_function(value, _FACTOR, 1):
        return problem
    made, problem = _traced(value, _FACTOR, jax.ShapeDtypeStruct((), jnp.float32))
    if problem:
        return problem
    if _shape(made) != () or jnp.issubdtype(made.dtype, jnp.complexfloating):
        return f"expected {_FACTOR}; of a number it makes {_described(made)}"
    return _finite(lambda x: [float(value(jnp.float32(share))) for share in x], np.array([0, 0.5, 1]), _FACTOR)


def _initializer(value: Any) -> str:
    if problem := _not_a_function(value, _MATRIX, 3):
        return problem
    try:
        made = np.asarray(value(np.random.default_rng(0), 3, 2), np.float32)
    except Exception as error:  # whatever a stranger's function raises
        return f"expected {_MATRIX}; it raised {_reason(error)}"
    if made.shape != (3, 2):
        return f"expected {_MATRIX}; for 3 outputs and 2 inputs it makes an array of shape {made.shape}"
    return "" if np.isfinite(made).all() else f"expected {_MATRIX}; it makes numbers that are not finite"


def _optimizer(value: Any) -> str:
    complete = all(callable(getattr(value, name, None)) for name in ("init", "update"))
    if isinstance(value, type) or not complete:
        called = " A function that makes one has to be called." if callable(value) else ""
        return f"expected {_RULE}; got {value!r}.{called}"
    if problem := _unhashable(value) or _not_taking(value.init, 1) or _not_taking(value.update, 3):
        return f"expected {_RULE}; {problem}"
    parameters = {"weight": jax.ShapeDtypeStruct((2, 3), jnp.float32), "bias": jax.ShapeDtypeStruct((2,), jnp.float32)}
    try:
        state = jax.eval_shape(value.init, parameters)
        updates, after = jax.eval_shape(value.update, parameters, state, parameters)
    except Exception:  # it may know the model that it is for; the first step shows
        return ""
    for name, one, other in (("updates", updates, parameters), ("state", after, state)):
        if _shapes(one) != _shapes(other):
            return f"expected {_RULE}; its update returns {name} of another shape than it was given"
    zeros = {"weight": np.full((2, 3), 0.5, np.float32), "bias": np.full(2, 0.5, np.float32)}
    made = jax.jit(lambda tree: value.update(tree, value.init(tree), tree)[0])(zeros)
    finite = all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(made))
    return "" if finite else f"expected {_RULE}; its first step is not finite"


def _shapes(tree: Any) -> list[Any]:
    """Return where the arrays of a tree are, and their shapes."""
    return [(str(path), _described(leaf)) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)]


def _objective(value: Any) -> str:
    return _not_a_function(value, _LOSS, 4)


def _family(value: Any) -> str:
    return _lacking(value, _FAMILY, ("parameters", "distribution"))


def _network(value: Any) -> str:
    return _lacking(value, _NETWORK, ("encoder", "decoder", "kinds", "default_hidden"))


def _on_epoch(value: Any) -> str:
    return _not_a_function(value, _CALLBACK, 1, hashed=False)


_TRIALS: dict[str, Callable[[Any], str]] = {
    "activation": _activation,
    "initializer": _initializer,
    "optimizer": _optimizer,
    "schedule": _schedule,
    "objective": _objective,
    "likelihood": _family,
    "posterior": _family,
    "prior": _family,
    "network": _network,
    "on_epoch": _on_epoch,
}


def _lacking(value: Any, wanted: str, needs: tuple[str, ...]) -> str:
    if isinstance(value, type):
        return f"expected {wanted}; got the class. Did you mean {value.__name__}()?"
    if lacks := [name for name in needs if not hasattr(value, name)]:
        return f"expected {wanted}; got {value!r}, which has no {' and no '.join(lacks)}"
    problem = _unhashable(value)
    return f"expected {wanted}; {problem}" if problem else ""


def _not_a_function(value: Any, wanted: str, count: int, hashed: bool = True) -> str:
    if isinstance(value, type):
        return f"expected {wanted}; got the class. Did you mean {value.__name__}()?"
    if not callable(value):
        return f"expected {wanted}; got {value!r}"
    problem = _not_taking(value, count) or (_unhashable(value) if hashed else "")
    return f"expected {wanted}; {problem}" if problem else ""


def _not_taking(function: Any, count: int) -> str:
    """Return what is wrong with a function that cannot be called with so many arguments."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # of some built-in ones it is not known
        return ""
    try:
        signature.bind(*[None] * count)
    except TypeError:
        return f"{_called(function)}{signature} does not take {count} argument{'s' * (count > 1)}"
    return ""


def _unhashable(value: Any) -> str:
    """Return what is wrong with an object that compiled programs cannot be kept by."""
    try:
        hash(value)
    except TypeError:
        return (
            f"{value!r} cannot be hashed, since it holds arrays, lists or dicts. Make it a function, or a frozen "
            "dataclass of numbers, names and tuples"
        )
    return ""


def _traced(function: Any, wanted: str, *arguments: Any) -> tuple[Any, str]:
    try:
        made = jax.eval_shape(lambda *given: function(*given), *arguments)
    except Exception as error:  # whatever a stranger's function raises
        return None, f"expected {wanted}; it raised {_reason(error)}"
    if not hasattr(made, "shape"):
        return None, f"expected {wanted}; it makes {_described(made)}"
    return made, ""


def _finite(function: Any, points: Any, wanted: str) -> str:
    try:
        made = np.asarray(function(points), np.float64)
    except Exception as error:  # whatever a stranger's function raises
        return f"expected {wanted}; it raised {_reason(error)}"
    bad = np.flatnonzero(~np.isfinite(made))
    return f"expected {wanted}; at {points[bad[0]]:g} it is {made[bad[0]]:g}" if len(bad) else ""


def _shape(made: Any) -> tuple[int, ...]:
    return tuple(made.shape)


def _described(made: Any) -> str:
    return f"{made.dtype}{made.shape}" if hasattr(made, "dtype") else f"a {type(made).__name__}"


def _called(function: Any) -> str:
    return str(getattr(function, "__name__", type(function).__name__))


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:120]}" if text else type(error).__name__

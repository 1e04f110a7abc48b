"""The first step of training, traced before it is run: whose fault an error is, and how much memory a step takes.

Tracing runs all of the code of a step on shapes alone. So what a part of one's own does wrong comes out here, before
anything was computed; and a step that the machine has no memory for is refused by a sum instead of by the system.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr

from omokage import memory
from omokage.errors import OmokageError, ParameterError
from omokage.nets.layers import trainable

_REMEDY = "Take a smaller batch_size, fewer samples or components, or smaller layers."
# What these make stands in memory as a whole, whatever the compiler does with the rest.
_WHOLE = ("dot_general", "conv_general_dilated", "cholesky", "triangular_solve", "sort")


def check_step(model: Any, objective: Any, batch: Any) -> None:
    """Check that a step has room in memory, of a model and rows of which only the shapes are looked at.

    Raises:
        ParameterError: With the shape of the largest array, its bytes, and how much memory there is.
    """
    parameters, rest = eqx.partition(model, trainable(model))

    def loss(parameters: Any, batch: Any) -> Any:
        terms = objective(eqx.combine(parameters, rest), batch, jax.random.key(0), jnp.float32(0))
        return terms["loss"].sum()

    try:
        traced = jax.make_jaxpr(jax.grad(loss))(*_shapes((parameters, batch)))
    except OmokageError:
        raise
    except Exception:  # what does not work is told when the step itself is traced
        return
    _check_arrays(traced.jaxpr, 0)


def check_memory(traced: Any, size: int) -> None:
    """Check that a step has room in memory, beside what is held in any case.

    The largest single array is a lower limit that costs nothing. Where all arrays together could be too much, the
    program is compiled, which says what it takes; it is kept, so the step does not do that again.

    Args:
        traced: The program of a step.
        size: Bytes that are held in any case.

    Raises:
        ParameterError: With bytes, and how much memory there is.
    """
    there = memory.limit()
    _check_arrays(traced.jaxpr.jaxpr, size)
    if there is None or sum(map(_bytes, _made(traced.jaxpr.jaxpr, whole=False))) < there / 4:
        return
    taken = traced.lower().compile().memory_analysis()
    needed = taken.temp_size_in_bytes + taken.argument_size_in_bytes + taken.output_size_in_bytes
    if needed > there:
        raise ParameterError(
            f"batch_size, objective: a step takes {memory.in_words(needed)}, and there are {memory.in_words(there)} of "
            f"memory. {_REMEDY}"
        )


@contextlib.contextmanager
def room() -> Iterator[None]:
    """Raise the usual error where a device, whose memory may be less than the machine's, has too little for a step."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        text = " ".join(str(error).removeprefix("RESOURCE_EXHAUSTED:").split())[:120]
        raise ParameterError(f"batch_size, objective: the device has no room for a step ({text}). {_REMEDY}") from error


def _shapes(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), tree)


def _check_arrays(jaxpr: Jaxpr, size: int) -> None:
    """Check that the largest single array has room."""
    there = memory.limit()
    made = list(_made(jaxpr))
    if there is None or not made:
        return
    largest = max(made, key=_bytes)
    if size + _bytes(largest) > there:
        raise ParameterError(
            f"batch_size, objective: a step makes an array of shape {tuple(largest.shape)}, "
            f"{memory.in_words(_bytes(largest))}, and there are {memory.in_words(there)} of memory. {_REMEDY}"
        )


def blamed(error: Exception, model: Any, objective: Any, batch: Any, rule: tuple[Any, Any, Any]) -> Exception:
    """Return the error that names the part which does not work on a batch; `error` itself where all of them do.

    Args:
        error: What tracing the step raised.
        model: One model.
        objective: That of one model.
        batch: Rows.
        rule: The optimizer, the parameters, and the optimizer's state.
    """
    if isinstance(error, OmokageError):
        return error
    where = f"on rows of shape {tuple(batch.x.shape[1:])}"
    for name, part, trial in _trials(model, objective):
        try:
            eqx.filter_eval_shape(trial, model, batch)
        except OmokageError as found:
            return found
        except Exception as found:
            return not_working(name, part, where, found)
    optimizer, parameters, state = rule
    try:
        jax.eval_shape(optimizer.update, parameters, state, parameters)
    except Exception as found:
        return not_working("optimizer", optimizer, "on the gradients of this model", found)
    return error


def not_working(name: str, part: Any, where: str, error: Exception) -> ParameterError:
    """Return the error that says that a part which was handed in does not work, and why."""
    text = " ".join(str(error).split())[:200]
    called = repr(part).split("(")[0] if len(repr(part)) > 100 else repr(part)
    return ParameterError(
        f"{name}: {called} does not work {where} ({type(error).__name__}: {text}). See omokage.testing for checks of "
        "parts of one's own."
    )


def check_terms(objective: Any, terms: Any, rows: int) -> None:
    """Check that an objective returned one number for each row under each name, "loss" among them.

    Raises:
        ParameterError: If not.
    """
    wanted = f"objective: expected {objective} to return a dict of arrays with one number for each row, 'loss' among "
    see = "See omokage.testing.check_objective."
    if not isinstance(terms, Mapping) or "loss" not in terms:
        raise ParameterError(f"{wanted}them; got {_described(terms)}. {see}")
    for name, term in terms.items():
        if jnp.shape(term) != (rows,) or not jnp.issubdtype(jnp.result_type(term), jnp.floating):
            raise ParameterError(f"{wanted}them; {name!r} is {_described(term)} of {rows} rows. {see}")


def _trials(model: Any, objective: Any) -> Iterator[tuple[str, Any, Callable[..., Any]]]:
    key = jax.random.key(0)
    yield "network", model.posterior.network, lambda model, batch: model.posterior_outputs(batch)
    yield "posterior", model.posterior.family, lambda model, batch: model.encode(batch).sample(key)
    yield "prior", model.prior.family, lambda model, batch: model.latent(batch).sample(key)

    def decoded(model: Any, batch: Any) -> Any:
        return model.likelihood.outputs(model.encode(batch).sample(key), model.told(batch))

    yield "network", model.likelihood.network, decoded

    def likelihood(model: Any, batch: Any) -> Any:
        return model.log_likelihood(model.encode(batch).sample(key, (1,)), batch)

    yield "likelihood", model.likelihood.family, likelihood
    yield "objective", objective, lambda model, batch: objective(model, batch, key, jnp.float32(0))


def _made(jaxpr: Jaxpr, whole: bool = True) -> Iterator[Any]:
    """Return the shapes of the arrays of a program, and of those in it; `whole`: that stand in memory in any case."""
    for equation in jaxpr.eqns:
        if not whole or equation.primitive.name in _WHOLE:
            yield from (variable.aval for variable in equation.outvars)
        for value in equation.params.values():
            for inner in value if isinstance(value, tuple | list) else (value,):
                if isinstance(inner, ClosedJaxpr):
                    yield from _made(inner.jaxpr, whole)
                elif isinstance(inner, Jaxpr):
                    yield from _made(inner, whole)


def _bytes(shape: Any) -> int:
    size = 4
    for side in getattr(shape, "shape", ()):
        size *= int(side)
    return size


def _described(value: Any) -> str:
    if hasattr(value, "shape"):
        return f"an array of shape {tuple(value.shape)} ({jnp.result_type(value)})"
    return f"a dict with {', '.join(map(repr, value))}" if isinstance(value, Mapping) else f"a {type(value).__name__}"

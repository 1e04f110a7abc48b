"""What the documented arguments may be; all that cannot be used are named at once."""

import os
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from omokage.classic import models
from omokage.data.containers import to_matrix
from omokage.errors import DataError, ParameterError, suggest
from omokage.model import Model


def of_model(arguments: Mapping[str, Any]) -> Model:
    """Return the model, with first weights, that the arguments of the constructor describe.

    Raises:
        ParameterError: Naming all arguments that cannot be used.
    """
    hidden, floor = arguments["hidden"], arguments["floor"]
    problems = [_whole("input_shape", arguments["input_shape"], 1), _whole("seed", arguments["seed"], 0)]
    if not isinstance(hidden, list | tuple) or not hidden or any(_whole("", size, 1) for size in hidden):
        problems.append(
            f"hidden: expected a list of whole numbers of at least 1, the last the latent dimension; got {hidden!r}"
        )
    problems += [_choice(name, arguments[name], models.ACTIVATIONS) for name in ("act_func", "out_func")]
    problems.append(_choice("init_method", arguments["init_method"], models.INITIALIZERS))
    problems += [_flag(name, arguments[name]) for name in ("use_BN", "is_gauss_dist")]
    if not isinstance(arguments["folder"], str | os.PathLike):
        problems.append(f"folder: expected a path; got {arguments['folder']!r}")
    if isinstance(floor, bool) or not isinstance(floor, int | float) or not 1e-6 <= floor <= 1e6:
        problems.append(f"floor: expected a number from 1e-6 to 1e6, in units of the data; got {floor!r}")
    _raise(problems)
    out_func = _chosen(arguments["out_func"], models.ACTIVATIONS)
    return models.make(
        arguments["input_shape"],
        hidden,
        _chosen(arguments["act_func"], models.ACTIVATIONS),
        models.GaussianDecoder(out_func, floor) if arguments["is_gauss_dist"] else models.BernoulliDecoder(out_func),
        arguments["use_BN"],
        _chosen(arguments["init_method"], models.INITIALIZERS),
        np.random.default_rng(arguments["seed"]),
    )


def check_training(epoch: Any, batch: Any, C: Any, k: Any, gpu_num: Any, is_plot_weight: Any) -> None:
    """Check the arguments of `train` but for the data.

    Raises:
        ParameterError: Naming all that cannot be used.
    """
    problems = [_whole("epoch", epoch, 1), _whole("batch", batch, 1), _whole("k", k, 1)]
    if isinstance(C, bool) or not isinstance(C, int | float | np.number) or not 0 <= C < np.inf:
        problems.append(f"C: expected a number of at least 0; got {C!r}")
    if _whole("", gpu_num, -1):
        problems.append(f"gpu_num: expected the number of a GPU, or -1 for the CPU; got {gpu_num!r}")
    problems.append(_flag("is_plot_weight", is_plot_weight))
    _raise(problems)


def rows(name: str, data: Any, columns: int, unit_interval: bool) -> NDArray[np.float32]:
    """Return data as (n, columns).

    Raises:
        DataError: Naming the argument, if they are no finite numbers, of another width, or outside of [0, 1] where
            `unit_interval` says that they must not be.
    """
    shape = np.shape(data)
    if len(shape) > 2:
        raise DataError(f"{name}: expected rows, (n, {columns}); got {shape}. Try {name}.reshape(len({name}), -1).")
    matrix, _ = to_matrix(data, name=name)
    if matrix.shape[1] != columns:
        raise DataError(f"{name}: expected {columns} columns; got {matrix.shape[1]}.")
    low, high = matrix.min(), matrix.max()
    if unit_interval and not (low >= 0 and high <= 1):
        raise DataError(
            f"{name}: the Bernoulli decoder needs values from 0 to 1; there are some from {low:.6g} to {high:.6g}. "
            "Bring the data into that range, or choose is_gauss_dist=True."
        )
    return matrix.astype(np.float32)


def device(gpu_num: int) -> Any:
    """Return the GPU of a number, or the CPU where there is none, with a warning, or where the number is -1."""
    if gpu_num >= 0:
        try:
            gpus = jax.devices("gpu")
        except RuntimeError:
            gpus = []
        if gpu_num < len(gpus):
            return gpus[gpu_num]
        there = f"there are {len(gpus)} GPUs" if gpus else "JAX finds no GPU"
        warnings.warn(f"gpu_num={gpu_num}: {there}; the CPU is used, as with gpu_num=-1.", stacklevel=3)
    return jax.devices("cpu")[0]


def _whole(name: str, value: Any, least: int) -> str:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        return f"{name}: expected a whole number of at least {least}; got {value!r}"
    return ""


def _flag(name: str, value: Any) -> str:
    return "" if isinstance(value, bool | np.bool) else f"{name}: expected True or False; got {value!r}"


def _choice(name: str, value: Any, known: Mapping[str, Callable[..., Any]]) -> str:
    if callable(value) or (isinstance(value, str) and value in known):
        return ""
    return f"{name}: expected one of {', '.join(map(repr, known))} or a function; got {value!r}." + suggest(
        str(value), known
    )


def _chosen(value: Any, known: Mapping[str, Callable[..., Any]]) -> Callable[..., Any]:
    return known[value] if isinstance(value, str) else value


def _raise(problems: list[str]) -> None:
    if found := [problem.rstrip(".") for problem in problems if problem]:
        raise ParameterError("; ".join(found) + ".")

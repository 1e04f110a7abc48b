"""Models in the layout of Chainer's `save_npz`: one array of an .npz file for each parameter, under flat keys.

    enc0/W  enc0/b  enc0_BN/gamma|beta|avg_mean|avg_var|N  ...  enc_mu/W|b  enc_var/W|b
    dec0/W  dec0/b  dec0_BN/...                            ...  dec_out1/W|b  dec_out2/W|b

W is (outputs, inputs). `dec_out2` is the second output of a Gaussian decoder. Chainer counts in `N` how often
statistics were fine-tuned; it is written as 0 and not read.
"""

import contextlib
import io
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import equinox as eqx
import numpy as np
from numpy.typing import NDArray

from omokage.errors import FileFormatError, listing
from omokage.model import Model
from omokage.nets.layers import BatchNorm, Linear

Arrays = dict[str, NDArray[Any]]


def arrays(model: Model) -> Arrays:
    """Return a model's arrays by Chainer's keys, without `N`."""
    return {key: np.asarray(leaf) for key, leaf in _leaves(model).items()}


def with_arrays(model: Model, arrays: Mapping[str, NDArray[Any]]) -> Model:
    """Return a model like `model` with all of these arrays, by Chainer's keys."""
    keys = list(_leaves(model))
    changed: Model = eqx.tree_at(lambda model: list(_leaves(model).values()), model, [arrays[key] for key in keys])
    return changed


def _leaves(model: Model) -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    heads = {"enc_mu": model.posterior.heads["mean"], "enc_var": model.posterior.heads["log_variance"]}
    outputs = model.likelihood.heads
    heads["dec_out1"] = outputs["mean"] if "mean" in outputs else outputs["logits"]
    if "log_variance" in outputs:
        heads["dec_out2"] = outputs["log_variance"]
    for side, density in (("enc", model.posterior), ("dec", model.likelihood)):
        number = -1
        layers = density.network.layers
        for layer in layers if isinstance(layers, tuple) else ():  # Equinox hands over an empty tuple wrapped
            if isinstance(layer, Linear):
                number += 1
                heads[f"{side}{number}"] = layer
            elif isinstance(layer, BatchNorm):
                name = f"{side}{number}_BN"
                leaves |= {f"{name}/gamma": layer.gain, f"{name}/beta": layer.shift}
                leaves |= {f"{name}/avg_mean": layer.mean.value, f"{name}/avg_var": layer.variance.value}
    for name, linear in heads.items():
        leaves |= {f"{name}/W": linear.weight, f"{name}/b": linear.bias}
    return leaves


def to_bytes(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return the content of a file with these arrays, which Chainer's `load_npz` reads."""
    counts = {key.replace("/gamma", "/N"): np.int64(0) for key in arrays if key.endswith("_BN/gamma")}
    file = io.BytesIO()
    np.savez_compressed(file, **{**arrays, **counts})  # type: ignore[arg-type]
    return file.getvalue()


def read(path: Path, expected: Mapping[str, NDArray[Any]]) -> Arrays:
    """Return the arrays of a file that `to_bytes` or Chainer's `save_npz` wrote, as float32.

    Args:
        path: The file.
        expected: Arrays of the keys and shapes that there must be.

    Raises:
        FileFormatError: If the file cannot be read, or is none of this model's; with each key and shape that differs.
    """
    found: Arrays = {}
    try:
        with contextlib.ExitStack() as stack:
            file = np.load(path, allow_pickle=False)
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise FileFormatError(f"{path}: one array, not an .npz file that save_npz wrote.")
            stack.enter_context(file)
            for key in file.files:
                found[key] = file[key]
    except FileNotFoundError:
        beside = sorted(other.name for other in path.parent.glob("*.npz"))
        there = f"there is {listing(beside)}" if beside else f"train writes it, under {path.parent}"
        raise FileFormatError(f"{path}: does not exist; {there}.") from None
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be read ({error.strerror or error}).") from None
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError, MemoryError) as error:
        if isinstance(error, FileFormatError):
            raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FileFormatError(f"{path}: not a sound .npz file that save_npz wrote ({reason}).") from None
    found = {key: array for key, array in found.items() if not key.endswith("_BN/N")}
    if problems := _problems(found, expected):
        raise FileFormatError(f"{path}: not of this model: {'; '.join(problems)}.{_hint(found, expected)}")
    return {key: found[key].astype(np.float32) for key in expected}


def _problems(found: Arrays, expected: Mapping[str, NDArray[Any]]) -> list[str]:
    """Return what is wrong with each key, the first few of them."""
    problems = []
    if missing := [key for key in expected if key not in found]:
        problems.append(f"missing {listing(missing)}")
    if extra := [key for key in found if key not in expected]:
        problems.append(f"unexpected {listing(extra)}")
    shapes = []
    for key in [key for key in expected if key in found]:
        array, shape = found[key], expected[key].shape
        if array.shape != shape:
            shapes.append(f"{key} is {array.shape}, expected {shape}")
        elif array.dtype.kind not in "fiu":
            shapes.append(f"{key} holds {array.dtype}, expected numbers")
        elif not np.isfinite(array).all():
            shapes.append(f"{key} holds values that are not finite")
    return problems + shapes[:5]


def _hint(found: Arrays, expected: Mapping[str, NDArray[Any]]) -> str:
    """Return which argument of the constructor would fit the file, if it is one that tells by its keys."""
    hints = []
    for word, argument in (("_BN/gamma", "use_BN"), ("dec_out2/W", "is_gauss_dist")):
        there, wanted = (any(key.endswith(word) for key in keys) for keys in (found, expected))
        if there != wanted and found:
            hints.append(f"{argument}={there}")
    return f" The file is of a VAE with {' and '.join(hints)}." if hints else ""

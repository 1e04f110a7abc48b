"""Trees of arrays as safetensors bytes and back; nothing that is read can run code."""

from collections.abc import Mapping
from typing import Any, TypeVar

import jax
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from omokage.errors import FileFormatError, listing

Tree = TypeVar("Tree")


def named_arrays(tree: Any) -> dict[str, NDArray[Any]]:
    """Return the arrays in a tree by the path to each, such as "posterior.heads.mean.weight"."""
    return {
        _name(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree) if _is_array(leaf)
    }


def to_bytes(tree: Any) -> bytes:
    """Return a tree's arrays in the safetensors format."""
    return bytes(save({name: np.array(array, order="C") for name, array in named_arrays(tree).items()}))


def from_bytes(content: bytes, like: Tree, source: str) -> Tree:
    """Return a tree like `like` with the arrays of `to_bytes`.

    Args:
        content: The safetensors bytes.
        like: Says which arrays there must be, and their shapes and types.
        source: What messages call the file.

    Raises:
        FileFormatError: If the bytes are damaged, or an array is missing, unexpected, or of another shape or type.
    """
    return filled(like, arrays_in(content, source), source)


def arrays_in(content: bytes, source: str) -> dict[str, NDArray[Any]]:
    """Return the arrays of `to_bytes` by name; raises FileFormatError if the bytes are damaged."""
    try:
        arrays: dict[str, NDArray[Any]] = load(content)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise FileFormatError(f"{source}: not a sound safetensors file ({error}).") from None
    return arrays


def filled(like: Tree, arrays: Mapping[str, NDArray[Any]], source: str) -> Tree:
    """Return a tree like `like` with these arrays; raises FileFormatError if they are others than it needs."""
    expected = named_arrays(like)
    problems = [f"missing {listing(missing)}"] if (missing := sorted(expected.keys() - arrays.keys())) else []
    problems += [f"unexpected {listing(extra)}"] if (extra := sorted(arrays.keys() - expected.keys())) else []
    problems += [
        f"{name} is {arrays[name].dtype}{list(arrays[name].shape)}, not {array.dtype}{list(array.shape)}"
        for name, array in expected.items()
        if name in arrays and (arrays[name].shape != array.shape or arrays[name].dtype != array.dtype)
    ]
    if problems:
        raise FileFormatError(f"{source}: its arrays are not those of this model: {'; '.join(problems[:5])}.")
    return jax.tree_util.tree_map_with_path(lambda path, leaf: arrays[_name(path)] if _is_array(leaf) else leaf, like)


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, np.ndarray | jax.Array)


def _name(path: tuple[Any, ...]) -> str:
    return ".".join(str(getattr(part, "name", getattr(part, "key", getattr(part, "idx", part)))) for part in path)

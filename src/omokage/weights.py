"""Trees of arrays as safetensors bytes and back, and long lists of JSON values as arrays; nothing can run code."""

import io
import json
import math
from collections.abc import Mapping
from typing import Any, BinaryIO, TypeVar

import jax
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from omokage.errors import FileFormatError, listing

Tree = TypeVar("Tree")

_MOST_HEADER = 16 * 2**20  # bytes
_BYTES = {"BOOL": 1, "U8": 1, "I8": 1, "F64": 8, "I64": 8, "U64": 8} | dict.fromkeys(("F16", "I16", "U16"), 2)
_BYTES |= dict.fromkeys(("F32", "I32", "U32"), 4)  # of an entry, by the name of its type
_LONG = 16  # entries of a list, above which it is kept as an array
_KINDS: dict[frozenset[type], Any] = {
    frozenset({float}): np.float64,
    frozenset({int}): np.int64,
    frozenset({bool}): np.bool_,
}
_ARRAY, _WORDS = "@array", "@words"  # keys of what stands in the place of a list


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
    check_header(io.BytesIO(content), len(content), source)
    try:
        arrays: dict[str, NDArray[Any]] = load(content)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise FileFormatError(f"{source}: not a sound safetensors file ({error}).") from None
    return arrays


def check_header(file: BinaryIO, size: int, source: str) -> None:
    """Check what a safetensors file says of itself, before its arrays are read.

    Args:
        file: The file, at its beginning.
        size: Its size in bytes.
        source: What messages call it.

    Raises:
        FileFormatError: If types, shapes and places of the arrays do not make up the file, each byte once.
    """
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > min(size - 8, _MOST_HEADER):
        raise _unsound(source, "its header is cut or too long")
    try:
        header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        places = sorted((*_place(entry), name) for name, entry in header.items())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise _unsound(source, f"its header is damaged: {type(error).__name__}") from None
    end = 0
    for start, stop, name in places:
        if start != end:
            raise _unsound(source, f"the array {name!r} begins at {start} and the one before it ends at {end}")
        end = stop
    if end != size - 8 - length:
        raise _unsound(source, f"its arrays have {end} bytes, and it {size - 8 - length}")


def _place(entry: Any) -> tuple[int, int]:
    """Return where an array begins and ends; raises ValueError or the like if that is not what its shape needs."""
    start, stop = entry["data_offsets"]
    shape = entry["shape"]
    if not all(type(number) is int and 0 <= number < 2**62 for number in (start, stop, *shape)):
        raise ValueError
    if stop - start != math.prod(shape) * _BYTES[entry["dtype"]]:
        raise ValueError
    return start, stop


def _unsound(source: str, problem: str) -> FileFormatError:
    return FileFormatError(f"{source}: not a sound safetensors file ({problem}). It was damaged or changed.")


def stowed(value: Any, name: str) -> tuple[Any, dict[str, NDArray[Any]]]:
    """Return a JSON value without its long lists of numbers or of few texts, and these as arrays.

    Text takes ten times the room and time, and what is known of each pixel of a picture is long.

    Args:
        value: Of dicts, lists, texts and numbers.
        name: With which the names of the arrays begin.

    Example:
        >>> value, arrays = stowed({"low": [0.5] * 20, "size": [28, 28]}, "schema")
        >>> value, list(arrays)
        ({'low': {'@array': 'schema.low'}, 'size': [28, 28]}, ['schema.low'])
        >>> fetched(value, arrays, "schema")["low"] == [0.5] * 20
        True
    """
    arrays: dict[str, NDArray[Any]] = {}

    def walk(value: Any, place: str) -> Any:
        if isinstance(value, dict):
            return {key: walk(entry, f"{place}.{key}") for key, entry in value.items()}
        if not isinstance(value, list | tuple):
            return value
        kinds = frozenset(map(type, value)) if len(value) > _LONG else frozenset()
        if kinds in _KINDS and not (kinds == {int} and max(map(abs, value)) >= 2**63):
            arrays[place] = np.array(value, _KINDS[kinds])
            return {_ARRAY: place}
        if kinds == {str} and len(words := sorted(set(value))) <= min(256, len(value) // 4):
            numbers = {word: number for number, word in enumerate(words)}
            arrays[place] = np.array([numbers[word] for word in value], np.uint8)
            return {_ARRAY: place, _WORDS: words}
        return [walk(entry, f"{place}.{number}") for number, entry in enumerate(value)]

    return walk(value, name), arrays


def fetched(value: Any, arrays: dict[str, NDArray[Any]], name: str) -> Any:
    """Return the value that was `stowed`, and take its arrays, whose names begin with `name`, from `arrays`.

    Raises:
        FileFormatError: If an array is missing, or is none of those that are stowed.
    """

    def walk(value: Any) -> Any:
        if isinstance(value, list):
            return [walk(entry) for entry in value]
        if not isinstance(value, dict):
            return value
        if _ARRAY not in value:
            return {key: walk(entry) for key, entry in value.items()}
        place, words = value[_ARRAY], value.get(_WORDS)
        array = arrays.pop(place, None) if isinstance(place, str) and place.startswith(f"{name}.") else None
        expected = (np.float64, np.int64, np.bool_) if words is None else (np.uint8,)
        if array is None or array.ndim != 1 or array.dtype not in expected:
            raise FileFormatError(f"weights.safetensors: {str(place)[:80]}: missing, or no array of {name}.")
        if words is None:
            return array.tolist()
        if not isinstance(words, list) or not words or (len(array) and array.max() >= len(words)):
            raise FileFormatError(f"weights.safetensors: {place}: it does not go with the words in {name}.")
        return [words[number] for number in array.tolist()]

    return walk(value)


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
    problems += [
        f"{name} holds NaN or infinity"
        for name, array in expected.items()
        if name in arrays and np.isfinite(array).all() and not np.isfinite(arrays[name]).all()
    ]
    if problems:
        raise FileFormatError(f"{source}: its arrays are not those of this model: {'; '.join(problems[:5])}.")
    return jax.tree_util.tree_map_with_path(lambda path, leaf: arrays[_name(path)] if _is_array(leaf) else leaf, like)


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, np.ndarray | jax.Array)


def _name(path: tuple[Any, ...]) -> str:
    return ".".join(str(getattr(part, "name", getattr(part, "key", getattr(part, "idx", part)))) for part in path)

"""A network with a place for each entry of a row, each of which sees only the entries before it.

All places share their shapes, so that one product makes the features of all of them, and a row is drawn entry by entry
at the cost of about one pass.

    told        F numbers for each entry: where it lies among knots or which class it is, embedded, and its value
    first       from what is told of the entries before to `width` features; others may be added to them
    second      a residual layer of each place
    last        from the features of each place to what is asked of it, `outputs` numbers

Source: Germain et al., "MADE: Masked Autoencoder for Distribution Estimation", 2015. Here each place has features of
its own, so that no entry has to share its own with the others; Uria et al., "Neural Autoregressive Distribution
Estimation", 2016, do so too.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray
from scipy.special import ndtri

EMBEDDED = 8  # numbers for each entry
_TOLD = EMBEDDED + 1
KNOTS = 16  # where numbers are looked at
WEIGHTS = ("first", "second", "last")  # which of the arrays are weights of layers
Weights = Mapping[str, Array]
_NODES = ndtri((np.arange(KNOTS) + 0.5) / KNOTS).astype(np.float32)


def shapes(entries: int, places: int, width: int, outputs: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the arrays, by name.

    Args:
        entries: E.
        places: How many places on its scale an entry can have: of knots, or of classes; the most of all entries.
        width: Features of each entry.
        outputs: Numbers that are asked of each entry.
    """
    return {
        "embedding": (entries, places, EMBEDDED),
        "absent": (entries, _TOLD),
        "first": (entries, entries * _TOLD, width),
        "first_bias": (entries, width),
        "second": (entries, width, width),
        "second_bias": (entries, width),
        "last": (entries, width, outputs),
        "last_bias": (entries, outputs),
    }


def first_weights(entries: int, places: int, width: int, outputs: int) -> dict[str, NDArray[np.float32]]:
    """Return the arrays at the start, by name; what is asked is then 0 whatever the row."""
    random = np.random.default_rng(0)
    before = np.maximum(np.arange(entries) * _TOLD, 1)[:, None, None]
    deviations: dict[str, Any] = {"embedding": 0.5, "first": 1 / np.sqrt(before), "second": 1 / np.sqrt(width)}
    return {
        name: (random.normal(size=shape) * deviations.get(name, 0.0)).astype(np.float32)
        for name, shape in shapes(entries, places, width, outputs).items()
    }


def told(weights: Weights, at: Array, value: Array, there: Array) -> Array:
    """Return what places are told of entries, (..., e, F); `absent` where an entry is not there.

    Args:
        weights: The arrays of these e entries.
        at: Where each entry lies on its scale, (..., e): the number of its class, or of the knots that it is between.
        value: It itself, of about unit size, (..., e).
        there: Whether it is there, (..., e).
    """
    near = jax.nn.relu(1 - jnp.abs(at[..., None] - jnp.arange(weights["embedding"].shape[-2])))
    embedded = jnp.einsum("...ep,epf->...ef", near, weights["embedding"])
    return jnp.where(there[..., None], jnp.concatenate([embedded, value[..., None]], -1), weights["absent"])


def among_knots(value: Array) -> Array:
    """Return where numbers lie among the knots, counted from 0."""
    return jnp.interp(value, _NODES, np.arange(KNOTS, dtype=np.float32))


def asked(weights: Weights, seen: Array, added: Array, kept: Array | None = None) -> Array:
    """Return what is asked of all entries, (..., E, outputs).

    Args:
        weights: The arrays.
        seen: What is told of all entries, (..., E, F).
        added: To the first features of each entry, (..., E, width).
        kept: Factors of the features of both layers, (..., 2, E, width) or (..., 2, 1, width); `None`: 1.
    """
    entries = seen.shape[-2]
    before = np.repeat(np.tri(entries, k=-1, dtype=np.float32), _TOLD, 1)  # (E, E · F)
    first = jnp.moveaxis(weights["first"] * before[..., None], 0, 1).reshape(entries * _TOLD, -1)
    features = (seen.reshape(*seen.shape[:-2], -1) @ first).reshape(*seen.shape[:-2], entries, -1)
    return _ended(weights, features + added, kept)


def asked_of_one(weights: Weights, seen: Array, added: Array) -> Array:
    """Return what is asked of one entry, (..., outputs), whose arrays alone `weights` holds.

    Args:
        weights: The arrays of the entry, without their first axis.
        seen: What is told of all entries, (..., E, F), and 0 for those that are not before it.
        added: To the first features of the entry, (..., width).
    """
    features = seen.reshape(*seen.shape[:-2], -1) @ weights["first"] + added
    return _ended({name: array[None] for name, array in weights.items()}, features[..., None, :], None)[..., 0, :]


def _ended(weights: Weights, features: Array, kept: Array | None) -> Array:
    """Return what is asked of each entry, from its first features without their bias, (..., e, width)."""
    h = jax.nn.silu(features + weights["first_bias"])
    h = h if kept is None else h * kept[..., 0, :, :]
    h = h + jax.nn.silu(jnp.einsum("...eh,ehk->...ek", h, weights["second"]) + weights["second_bias"])
    h = h if kept is None else h * kept[..., 1, :, :]
    return jnp.einsum("...eh,eho->...eo", h, weights["last"]) + weights["last_bias"]

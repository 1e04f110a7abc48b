"""Named scores: how strange a row is to each member of an ensemble, in several senses. Higher is stranger.

All are deterministic. Those that need draws of z take the noise that `draws` gives a row.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from omokage import inference, questions
from omokage.batch import Batch
from omokage.detection import beyond
from omokage.draws import Draws
from omokage.ensemble import Ensemble, of_each
from omokage.errors import ParameterError
from omokage.model import Model, is_point_mass, usual

DRAWS = 16  # of z, for "elbo", "divergence" without closed form, and "reconstruction_probability"
IMPORTANCE_DRAWS = 100  # for "likelihood"
MOST_ENTRIES = 1024  # of points in what reconstructions leave over
_FARTHEST = 1e15  # whose square float32 still holds


def _likelihood(model: Model, batch: Batch) -> dict[str, Array]:
    found = questions.log_likelihood(model, batch, Draws.of(0, IMPORTANCE_DRAWS))
    return {"likelihood": -found["bound"]}


def _bound(model: Model, batch: Batch) -> dict[str, Array]:
    terms = questions.terms(model, batch, Draws.of(0, DRAWS))
    return {
        "elbo": -terms["elbo"],
        "divergence": terms["kl"],
        "reconstruction_probability": -terms["reconstruction"],
    }


def _unregularised(model: Model, batch: Batch) -> dict[str, Array]:
    deviance, normaliser = model.deviances(questions.features(model, batch), batch)
    places = tuple(range(1, deviance.ndim))
    return {"mahalanobis": deviance.sum(places), "normaliser": normaliser.sum(places)}


def _squared(model: Model, batch: Batch) -> dict[str, Array]:
    return {"reconstruction": _squared_entries(model, batch).sum(tuple(range(1, batch.x.ndim)))}


def _codes(model: Model, batch: Batch) -> dict[str, Array]:
    return {"latent_neighbours": questions.features(model, batch)}


def _points(model: Model, batch: Batch) -> dict[str, Array]:
    residuals = deviance_residuals(model, batch)
    if batch.x.ndim == 3:  # series, which may be of unlike lengths: how large the residuals of each channel are
        seen = batch.x.shape[1] if batch.observed is None else jnp.broadcast_to(batch.observed, batch.x.shape).sum(1)
        return {"neighbours": jnp.sqrt(jnp.square(residuals).sum(1) / jnp.maximum(seen, 1))}
    return {"neighbours": _hashed(residuals.reshape(residuals.shape[0], -1))}


def _hashed(points: Array) -> Array:
    """Return points of at most `MOST_ENTRIES` entries, whose distances are about the same.

    Each entry is added to one place, or taken from it: Weinberger et al., "Feature Hashing for Large Scale Multitask
    Learning", 2009.
    """
    entries = points.shape[1]
    if entries <= MOST_ENTRIES:
        return points
    random = np.random.default_rng(0)
    places, signs = random.integers(0, MOST_ENTRIES, entries), random.choice([-1.0, 1.0], entries).astype(np.float32)
    return jax.ops.segment_sum((points * signs).T, places, MOST_ENTRIES).T


def gaps(model: Model, batch: Batch) -> Array:
    """Return x less its reconstruction, in the model's own units, (B, *event); 0 where nothing was observed."""
    model, batch = model.opened(batch)
    found = batch.x - questions.reconstruction(model, batch)
    return found if batch.observed is None else jnp.where(batch.observed, found, 0)


def deviance_residuals(model: Model, batch: Batch) -> Array:
    """Return what a reconstruction leaves over in units of what the likelihood expects, (B, *event).

    The root of twice the deviance, with the sign of the gap, so that half the squared length is M (McCullagh and
    Nelder, "Generalized Linear Models", 1989, section 2.4); of a Gaussian (x - x̂) / σ. Where a likelihood has no
    deviance, the gaps themselves.
    """
    left = gaps(model, batch)
    try:
        deviance = _deviance_entries(model, batch)
    except ParameterError:
        return left
    return jnp.clip(jnp.sign(left) * jnp.sqrt(2 * deviance), -_FARTHEST, _FARTHEST)


def _deviance_entries(model: Model, batch: Batch) -> Array:
    return model.deviances(questions.features(model, batch), batch)[0]


def _squared_entries(model: Model, batch: Batch) -> Array:
    return jnp.square(gaps(model, batch))


# What makes which scores; those of neighbours are points here, whose distances are taken outside.
_SOURCES: dict[str, Callable[[Model, Batch], dict[str, Array]]] = {
    "reconstruction": _squared,
    "mahalanobis": _unregularised,
    "normaliser": _unregularised,
    "divergence": _bound,
    "elbo": _bound,
    "likelihood": _likelihood,
    "reconstruction_probability": _bound,
    "neighbours": _points,
    "latent_neighbours": _codes,
}
NAMES = tuple(_SOURCES)
BY_DISTANCE = ("neighbours", "latent_neighbours")
NEED_DENSITY = ("divergence", "elbo", "likelihood", "reconstruction_probability")
BY_DEVIANCE = ("mahalanobis", "normaliser")
SUMS = tuple(name for name in NAMES if name not in (*BY_DISTANCE, "divergence"))  # over the entries of a row
IN_NATS_OF_X = ("normaliser", "elbo", "likelihood", "reconstruction_probability")  # which depend on the unit of x


def known(model: Model, row: Batch) -> tuple[str, ...]:
    """Return the names of the scores that such a model has, for rows like this one."""
    lacking: set[str] = set()
    if is_point_mass(jax.eval_shape(lambda: model.encode(row))):
        lacking.update(NEED_DENSITY)
    try:
        jax.eval_shape(lambda: _unregularised(model, row))
    except ParameterError:
        lacking.update(BY_DEVIANCE)
    return tuple(name for name in NAMES if name not in lacking)


# Scores that are sums of non-negative parts, one for each entry.
CONTRIBUTIONS: dict[str, Callable[[Model, Batch], Array]] = {
    "mahalanobis": _deviance_entries,
    "reconstruction": _squared_entries,
}


def contributions(ensemble: Ensemble, rows: Batch, name: str) -> NDArray[np.float64]:
    """Return the parts of a score, (n, *event), means over the members: at least 0, and the score is their sum."""
    known = beyond.support(ensemble)
    found = _averaged(CONTRIBUTIONS[name], ensemble, beyond.moved(known, rows))
    return beyond.shared(found, beyond.outside(known, rows))


def reconstructions(ensemble: Ensemble, rows: Batch) -> NDArray[np.float64]:
    """Return what the members make of rows, on average, in the units of the rows, (n, *event)."""
    found = _averaged(questions.expected, ensemble, beyond.moved(beyond.support(ensemble), rows))
    return np.asarray(usual(ensemble.member(0).likelihood, jnp.asarray(found)), np.float64)


def _averaged(function: Callable[[Model, Batch], Array], ensemble: Ensemble, rows: Batch) -> NDArray[np.float64]:
    found = inference.over_rows(_mean_of(function), ensemble, rows)
    return np.asarray(found, np.float64)


@functools.lru_cache(maxsize=16)
def _mean_of(function: Callable[[Model, Batch], Array]) -> Callable[[Ensemble, Batch], Array]:
    each = of_each(function)
    return lambda ensemble, batch: each(ensemble, batch).mean(1)


def ask(ensemble: Ensemble, rows: Batch, names: tuple[str, ...]) -> dict[str, NDArray[np.float32]]:
    """Return the scores of rows to each member, (n, M); for those by distance the points, (n, M, P)."""
    found: dict[str, NDArray[np.float32]] = inference.over_rows(of_each(_asked(names)), ensemble, rows)
    return found


@functools.lru_cache(maxsize=64)
def _asked(names: tuple[str, ...]) -> Callable[[Model, Batch], dict[str, Array]]:
    sources = list(dict.fromkeys(_SOURCES[name] for name in names))

    def scores(model: Model, batch: Batch) -> dict[str, Array]:
        found: dict[str, Any] = {}
        for source in sources:
            found |= source(model, batch)
        return {name: found[name] for name in names}

    return scores

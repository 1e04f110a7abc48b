"""How far rows are from the training rows, where a model puts them.

Candidates are found by a matrix product of a fixed number of rows with all points, and their distances by differences,
within a compiled program: so a row's distance is the same, to the bit, alone and among others.
"""

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from omokage import inference

_SAME = 1e-6  # of a point's own length: what rounding makes of a distance of 0
_SPARE = 4  # candidates more than are asked for, since products round
_ROWS = 256


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Points of training rows.

    Distances are in units of the points' own spread (the root of the mean variance of an entry), since latent spaces of
    different members have different units.

    Attributes:
        points: (n, P).
        count: k, to how many of the nearest the distance is taken.
    """

    points: NDArray[np.float32]
    count: int = 5

    @functools.cached_property
    def unit(self) -> float:
        """The spread of the points, and 1 where they have none."""
        spread = float(np.sqrt(self.points.astype(np.float64).var(0).mean()))
        return spread if spread > 0 else 1.0

    def to_array(self) -> NDArray[np.float32]:
        """Return the points, for a file."""
        return self.points

    def distances(self, points: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the mean distance of each point, (m, P), to its k nearest training rows, (m,).

        One training row in the very same place is not counted: so a training row, which is there itself, is as far from
        the others as a new one in its place.
        """
        if not len(points):
            return np.zeros(0)
        count = min(self.count + 1, len(self.points))
        found = inference.over_rows(_nearest, self.points, points.astype(np.float32), count, height=_ROWS)
        distances = found.astype(np.float64) / self.unit
        if count == 1:
            return distances[:, 0]
        same = distances[:, 0] * self.unit <= _SAME * np.linalg.norm(points, axis=1)
        return np.where(same, distances[:, 1:].mean(1), distances[:, :-1].mean(1))


def _nearest(known: Array, points: Array, count: int) -> Array:
    """Return the distances of each point, (B, P), to the nearest of those known, (n, P), ascending, (B, count)."""
    middle = known.mean(0)  # from which little cancels
    known, points = known - middle, points - middle
    # But for the squared length of the point, which changes no order.
    squares = jnp.square(known).sum(1) - 2 * jnp.matmul(points, known.T, precision=jax.lax.Precision.HIGHEST)
    _, candidates = jax.lax.top_k(-squares, min(count + _SPARE, len(known)))
    distances = jnp.sqrt(jnp.square(points[:, None] - known[candidates]).sum(-1))
    return jnp.sort(distances, axis=1)[:, :count]

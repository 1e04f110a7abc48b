"""Values that a likelihood is no density of: a 2 in a column of zeros and ones, a count below 0, a class never seen.

No model of the kind could have made such a row, so it is the strangest there is. Its density is 0 and its score, minus
a logarithm of it, infinite; here it is `BEYOND`, so that means and differences of scores stay numbers. For everything
else that is asked of the row, such a value is moved to the nearest one that the likelihood knows.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from omokage.batch import Batch
from omokage.ensemble import Ensemble
from omokage.supports import Support, support_of

BEYOND = 1e300  # the score of rows beyond all others


def support(ensemble: Ensemble) -> Support:
    """Return the values that the members' likelihood is a density of."""
    return support_of(ensemble.models.likelihood.family)


def outside(known: Support, rows: Batch) -> NDArray[np.bool_]:
    """Return which observed entries of rows are not in a support, (B, *event)."""
    if known.everything:
        return np.zeros(rows.x.shape, bool)
    found = known.outside(rows.x)
    return found if rows.observed is None else found & rows.observed


def moved(known: Support, rows: Batch) -> Batch:
    """Return rows whose entries are all in a support, the nearest values to those that were not."""
    found = outside(known, rows)
    if not found.any():
        return rows
    nearest = np.where(known.whole, np.rint(rows.x), rows.x)
    return rows._replace(x=np.where(found, np.clip(nearest, known.low, known.high), rows.x).astype(np.float32))


def of_rows(entries: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which rows have such an entry, (B,)."""
    return np.asarray(entries.any(tuple(range(1, entries.ndim))))


def finite(scores: Any) -> NDArray[np.float64]:
    """Return scores as numbers: what is infinite, or no number for being beyond all, is `BEYOND`."""
    return np.clip(np.nan_to_num(np.asarray(scores, np.float64), nan=BEYOND, posinf=BEYOND), -BEYOND, BEYOND)


def shared(contributions: NDArray[Any], entries: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return what entries add to the score of their row, where those outside the support add up to `BEYOND`."""
    places = tuple(range(1, entries.ndim))
    count = np.maximum(entries.sum(places, keepdims=True), 1)
    return np.where(entries, BEYOND / count, finite(contributions))

"""How strange each step of a series is, and what a step's score means by the steps of series that were held out.

The score of a step is M, summed over its channels (the squared error where the likelihood has no deviance): a part of
the score of its row, and the mean over members, as `scores.contributions` are.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from omokage import inference
from omokage.batch import Batch
from omokage.data.encoded import Encoded
from omokage.detection import scores
from omokage.detection.calibration import Calibration
from omokage.ensemble import Ensemble

Array = NDArray[np.float64]
_MOST = 100_000  # steps that calibrate


def contributions(ensemble: Ensemble, rows: Encoded) -> list[Array]:
    """Return what each entry adds to the score of its step, (T, C) for each row; NaN where nothing was observed."""
    by = measure(ensemble, rows)
    return _of_each_row(rows, lambda batch: scores.contributions(ensemble, batch, by))


def held_out(ensemble: Ensemble, rows: Encoded, seed: int) -> Array:
    """Return scores of steps of rows that members left out, ascending, (n,); at most 100,000 of them.

    Where rows have folds, each is judged by the member that left its fold out.
    """
    if not any(batch.fold is not None for _, batch in rows.groups):
        found = contributions(ensemble, rows)
    else:
        function, found = scores.CONTRIBUTIONS[measure(ensemble, rows)], []
        for number in range(len(ensemble)):
            member = ensemble.member(number)
            found += _of_each_row(
                rows.of_fold(number), lambda batch, member=member: inference.over_rows(function, member, batch)
            )
    steps = np.concatenate([total(row) for row in found])
    steps = steps[~np.isnan(steps)]
    if len(steps) > _MOST:
        steps = np.random.default_rng([seed, 7]).choice(steps, _MOST, replace=False)
    return np.sort(steps)


def total(row: Array) -> Array:
    """Return the score of each step, (T,), from what its entries add, (T, C); NaN where none was observed."""
    return np.where(np.isnan(row).all(1), np.nan, np.nansum(row, axis=1))


def verdicts(
    row: Array, calibration: Calibration, rate: float, names: tuple[str, ...], explain: int
) -> dict[str, NDArray[Any]]:
    """Return what there is to say of each step of a series, (T,) each.

    Args:
        row: What its entries add to the score of each step, (T, C); NaN where nothing was observed.
        calibration: Of the scores of steps.
        rate: Flag steps whose p-value is at most this.
        names: Of the channels.
        explain: How many of them to name for each step, which add most to its score.
    """
    score = total(row)
    p_value = np.where(np.isnan(score), np.nan, calibration.p_values(score[:, None]))
    order = np.argsort(-np.nan_to_num(row), axis=1, kind="stable")[:, :explain]
    reasons = {f"top_feature_{place + 1}": np.array(names)[column] for place, column in enumerate(order.T)}
    return {"anomaly_score": score, "p_value": p_value, "is_anomaly": p_value <= rate, **reasons}


def measure(ensemble: Ensemble, rows: Encoded) -> str:
    """Return which score a step's is a part of."""
    row = rows.groups[0][1].map(lambda array: array[:1])._replace(fold=None)
    known = scores.known(ensemble.member(0), row)
    return "mahalanobis" if "mahalanobis" in known else "reconstruction"


def _of_each_row(rows: Encoded, function: Any) -> list[Array]:
    def entries(batch: Batch, _: Any) -> Array:
        found = np.asarray(function(batch._replace(fold=None)), np.float64)
        return found if batch.observed is None else np.where(batch.observed, found, np.nan)

    return list(rows.each_padded(entries))

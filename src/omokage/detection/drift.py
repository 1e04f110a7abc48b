"""Whether new rows are like the calibration rows: two-sample tests, with the size of the difference."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ks_2samp, mannwhitneyu

from omokage.detection.calibration import Calibration
from omokage.errors import DataError
from omokage.tables import html_table

Array = NDArray[np.float64]
_FEWEST = 10


@dataclass(frozen=True)
class Drift:
    """How new rows differ from the calibration rows; it prints as a sentence, and a notebook adds the figures.

    Attributes:
        p_value: Of the hypothesis that scores and codes come from the same distributions as at the calibration; by
            Kolmogorov and Smirnov, times the number of tests (Bonferroni).
        stranger: The probability that a new row has a higher score than a calibration row; 0.5 where nothing changed.
        distance: The largest distance between the distribution functions, 0 to 1, of the scores.
        code: The latent dimension that moved most, and `None` where there are none to compare.
        code_distance: The distance between its distribution functions.
        rows: How many new rows there are.
    """

    p_value: float
    stranger: float
    distance: float
    code: int | None
    code_distance: float
    rows: int

    def _repr_html_(self) -> str:
        rows = [
            ("p-value", f"{self.p_value:.2g}"),
            ("a new row is stranger than a calibration row", f"{self.stranger:.0%}"),
            ("largest distance between distribution functions of scores", f"{self.distance:.2f}"),
        ]
        if self.code is not None:
            rows.append((f"the same of latent dimension {self.code}, which moved most", f"{self.code_distance:.2f}"))
        return html_table(str(self), ["figure", f"{self.rows:,} new rows"], rows)

    def __str__(self) -> str:
        if self.p_value > 0.01:
            return f"No sign of drift in {self.rows:,} rows (p = {self.p_value:.2g}; {self.stranger:.0%} stranger)."
        where = "" if self.code is None else f"; latent dimension {self.code} by {self.code_distance:.2f}"
        return (
            f"Drift (p = {self.p_value:.2g}): a new row is stranger than a calibration row with probability "
            f"{self.stranger:.0%}; distribution functions differ by up to {self.distance:.2f}{where}. p-values no "
            "longer mean what they say: find the cause, or `recalibrate` on rows that are known to be normal."
        )


def drift(scores: Array, calibration: Calibration, codes: NDArray[Any], reference: NDArray[Any]) -> Drift:
    """Return how new rows differ from those of a calibration.

    Args:
        scores: Of the new rows to each member, (n, M).
        calibration: Scores of the calibration rows.
        codes: Of the new rows by one member, (n, L).
        reference: Of calibration rows by the same member, (m, L); m may be 0.

    Raises:
        DataError: If there are fewer than 10 new rows.
    """
    if len(scores) < _FEWEST:
        raise DataError(f"X: expected at least {_FEWEST} rows to compare with the calibration; got {len(scores)}.")
    compared = list(zip(calibration.groups, calibration.columns(scores), strict=True))
    tests = [ks_2samp(group, column) for group, column in compared]
    above = [mannwhitneyu(column, group).statistic / len(group) / len(column) for group, column in compared]
    latent = [ks_2samp(old, new) for old, new in zip(reference.T, codes.T, strict=True)] if len(reference) else []
    least = min(test.pvalue for test in [*tests, *latent])
    most = max(range(len(latent)), key=lambda j: latent[j].statistic, default=None)
    return Drift(
        p_value=float(min(1.0, least * (len(tests) + len(latent)))),
        stranger=float(np.mean(above)),
        distance=float(max(test.statistic for test in tests)),
        code=most,
        code_distance=0.0 if most is None else float(latent[most].statistic),
        rows=len(scores),
    )

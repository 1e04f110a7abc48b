"""What is suspicious about a detector, told by the rows that its members left out."""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from omokage.batch import Batch
from omokage.detection.judge import Calibrated
from omokage.diagnostics.findings import Finding, Findings

Array = NDArray[np.float64]
_LIKE_DISTANCE = 0.98  # rank correlation with ‖x‖
_SECOND = 5.0  # times the distance from the median to the 90th percentile, beyond which a normal row hardly comes
_FEW = 99  # calibration rows, below which a rate of 1 % cannot be kept
_SILENT = 0.01  # variance of a code's mean over the rows, for a prior of variance 1


def findings(found: Calibrated, point: bool = False) -> Findings:
    """Return what there is to know before relying on a detector.

    Args:
        found: Its judge and calibration.
        point: Whether codes have no prior, and so no scale by which to say that they do not vary.
    """
    answers = [
        distance_finding(found.scores, found.rows.each(_length)),
        calibration_finding(found.calibration.count),
        contamination_finding(np.concatenate([_relative(group) for group in found.calibration.groups])),
    ]
    if not point:
        answers.append(collapse_finding(found.codes))
    return Findings(answers)


def distance_finding(scores: Array, lengths: Array) -> Finding:
    """Say whether scores rank rows as their distance from the mean does."""
    if len(scores) < 3 or np.ptp(scores) == 0 or np.ptp(lengths) == 0:
        return Finding("distance", "good", "Too few different rows to compare the score with a distance.")
    correlation = float(spearmanr(scores, lengths).statistic)
    figures = {"rank_correlation": correlation}
    if correlation <= _LIKE_DISTANCE:
        text = f"Scores say more than the distance from the mean (rank correlation {correlation:.2f})."
        return Finding("distance", "good", text, figures)
    return Finding(
        "distance",
        "warning",
        f"The score ranks rows as their distance from the mean does (rank correlation {correlation:.3f}): no structure "
        "was found, or there is none. Train longer, take more latent dimensions, or use the distance.",
        figures,
    )


def calibration_finding(count: int) -> Finding:
    """Say which rates of false alarms so many calibration rows can keep."""
    figures = {"rows": float(count)}
    if count >= _FEW:
        return Finding(
            "calibration", "good", f"{count:,} rows calibrate; rates from {1 / (count + 1):.2g} on.", figures
        )
    return Finding(
        "calibration",
        "warning",
        f"Only {count} rows calibrate: the smallest p-value is {1 / (count + 1):.2g}, and the rate of false alarms "
        "that a threshold has varies much from one calibration to another. Calibrate on more normal rows "
        "(`recalibrate`).",
        figures,
    )


def contamination_finding(relative: Array) -> Finding:
    """Say whether the scores of held-out rows have a tail like a second population.

    Args:
        relative: Scores less their median, over the distance from it to the 90th percentile.
    """
    far = relative > _SECOND
    share = float(far.mean())
    figures = {"share": share}
    if far.sum() < 3 or share < 0.002:
        return Finding("contamination", "good", "The training rows look like one population.", figures)
    return Finding(
        "contamination",
        "warning",
        f"{far.sum()} of {len(far)} held-out training rows ({share:.1%}) are much stranger than the others: there may "
        "be anomalies among the training rows, which raise every threshold. Look at them, and leave them out, or say "
        f"contamination={share:.2g}.",
        figures,
    )


def collapse_finding(codes: NDArray[np.floating]) -> Finding:
    """Say whether members have codes that differ from row to row, for codes of shape (n, M, L)."""
    active = (codes.var(0) > _SILENT).sum(1)
    figures = {"members": float(len(active)), "least_active": float(active.min())}
    silent = int((active == 0).sum())
    if not silent:
        return Finding("collapse", "good", "All members have codes that differ from row to row.", figures)
    return Finding(
        "collapse",
        "warning",
        f"{silent} of {len(active)} members have the same code for all rows, so they score by the distance from the "
        "mean. Train longer, or with `ELBO(warmup=...)`; see `VAE.diagnose`.",
        figures,
    )


def _relative(group: Array) -> Array:
    middle, high = np.quantile(group, [0.5, 0.9])
    return np.asarray((group - middle) / max(high - middle, 1e-12))


def _length(batch: Batch) -> Array:
    """Return the root of the mean square of what was observed of each row, in standardised units, (B,)."""
    seen = np.ones(batch.x.shape) if batch.observed is None else np.broadcast_to(batch.observed, batch.x.shape)
    places = tuple(range(1, batch.x.ndim))
    return np.asarray(np.sqrt((np.square(batch.x) * seen).sum(places) / np.maximum(seen.sum(places), 1)))

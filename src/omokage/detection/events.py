"""How good scores of steps are, where the steps of anomalous events are known. Pure functions of arrays.

Events are stretches of labelled steps. A detector that is a step early is as good as one that is on time, and one alarm
inside an event is what an operator needs; so beside the figures of single steps there are

* VUS-PR, the volume under the precision-recall surface (Paparrizos et al., "Volume Under the Surface", 2022): average
  precision with labels that fade out over a buffer on both sides of an event, and a recall that is weighed by the share
  of the events that are met at all; the mean over all buffers from none to a longest one;
* the same as the Python package `vus` counts it (0.0.6, and with it TSB-AD's tables): a step of a buffer is wanted only
  where it is flagged. So a detector that flags just the events is perfect at every buffer, where the definition above
  asks for the buffers, too;
* recall by events, and false alarms by stretches of alarms that touch no event.

Point-adjusted F1, which counts a whole event as found when one of its steps is, is left out: random scores reach the
top of its tables (Kim et al., "Towards a Rigorous Evaluation of Time-Series Anomaly Detection", 2022).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from omokage.detection.calibration import interval
from omokage.detection.evaluation import check_kinds, labels_of, printed
from omokage.errors import DataError, ParameterError, is_count

Array = NDArray[np.float64]
_RATE = 0.01  # of false alarms at which events are counted, where no flags are given
_LONGEST = 100  # steps of a buffer, unless asked for
Definition = Literal["paper", "package"]


@dataclass(frozen=True)
class StepEvaluation:
    """Figures of a detector on series whose steps are labelled; it prints as a table.

    Attributes:
        normal, anomalies: How many steps of each kind there are.
        events: How many stretches of anomalous steps.
        auroc: The probability that an anomalous step is scored above a normal one.
        aucpr: Average precision of steps; of scores by chance it is the `prevalence`.
        prevalence: The share of anomalous steps.
        vus_pr: The volume under the precision-recall surface, up to a buffer of `buffer` steps.
        buffer: In steps.
        definition: Whose definition of the volume it is, "paper" or "package".
        detected: The share of events of which a step is flagged.
        detected_interval: Its exact 95 % interval.
        false_alarms: Stretches of flagged steps that touch no event, for each 1,000 normal steps.
        flagged: By what steps are flagged, in words.
    """

    normal: int
    anomalies: int
    events: int
    auroc: float
    aucpr: float
    prevalence: float
    vus_pr: float
    buffer: int
    detected: float
    detected_interval: tuple[float, float]
    false_alarms: float
    flagged: str
    definition: str = "paper"

    @property
    def heading(self) -> str:
        """What was looked at."""
        steps = f"{self.normal + self.anomalies:,} steps, {self.anomalies:,} of them ({self.prevalence:.1%})"
        return f"{steps} in {self.events:,} events"

    @property
    def figures(self) -> list[tuple[str, str]]:
        """The figures as text, with their names."""
        low, high = self.detected_interval
        counted = ", as the package vus counts" if self.definition == "package" else ""
        return [
            ("VUS-PR", f"{self.vus_pr:.4f} (buffers up to {self.buffer} steps{counted})"),
            ("AUCPR of steps", f"{self.aucpr:.4f} (by chance {self.prevalence:.4f})"),
            ("AUROC of steps", f"{self.auroc:.4f}"),
            ("events detected", f"{self.detected:.1%} ({low:.1%} to {high:.1%}), {self.flagged}"),
            ("false alarms", f"{self.false_alarms:.2f} for each 1,000 normal steps"),
        ]

    def __str__(self) -> str:
        return printed(self.heading, self.figures)


def evaluate_steps(
    scores: Sequence[ArrayLike],
    labels: Sequence[ArrayLike],
    flags: Sequence[ArrayLike] | None = None,
    *,
    buffer: int | None = None,
    definition: Definition = "paper",
) -> StepEvaluation:
    """Return the figures of scores of steps, higher for stranger ones.

    Args:
        scores: (T,) for each series; NaN, where nothing was observed, is the least strange.
        labels: 1 for anomalous steps, 0 for normal ones, (T,) for each series.
        flags: Which steps raise an alarm, (T,) for each series; `None`: those above 99 % of the normal ones.
        buffer: The longest buffer of VUS-PR, in steps; `None`: the median length of the events, 100 at most.
        definition: Which VUS-PR; see `vus_pr`.

    Raises:
        DataError: If labels are of another kind or number, or of one kind only.
        ParameterError: If the buffer is no number of steps, or there is no such definition.

    Example:
        >>> found = evaluate_steps([[0, 0, 9, 0, 0, 1, 0, 0]], [[0, 0, 1, 1, 0, 0, 0, 0]])
        >>> found.events, found.detected, round(found.vus_pr, 2), found.buffer
        (1, 1.0, 0.63, 2)
    """
    values, truth = [_filled(series) for series in scores], _labelled(labels, [len(np.atleast_1d(s)) for s in scores])
    every, known = np.concatenate(values), np.concatenate(truth)
    lengths = [stop - start for series in truth for start, stop in stretches(series)]
    if buffer is None:
        buffer = int(min(np.median(lengths), _LONGEST))
    elif not (buffer == 0 or is_count(buffer)):
        raise ParameterError(f"buffer={buffer!r}: expected a whole number of steps, 0 or more.")
    how = "as flagged"
    if flags is None:
        threshold, how = np.quantile(every[~known], 1 - _RATE, method="higher"), f"at {_RATE:.0%} false alarms"
        flags = [series > threshold for series in values]
    alarms = [np.asarray(series, bool) for series in flags]
    met = sum(int(one[a:b].any()) for one, series in zip(alarms, truth, strict=True) for a, b in stretches(series))
    pairs = [(series, a, b) for one, series in zip(alarms, truth, strict=True) for a, b in stretches(one)]
    false = sum(int(not series[a:b].any()) for series, a, b in pairs)
    return StepEvaluation(
        normal=int((~known).sum()),
        anomalies=int(known.sum()),
        events=len(lengths),
        auroc=float(roc_auc_score(known, every)),
        aucpr=float(average_precision_score(known, every)),
        prevalence=float(known.mean()),
        vus_pr=vus_pr(values, truth, buffer, definition),
        buffer=buffer,
        detected=met / len(lengths),
        detected_interval=interval(met, len(lengths)),
        false_alarms=1000 * false / int((~known).sum()),
        flagged=how,
        definition=definition,
    )


def stretches(flags: ArrayLike) -> list[tuple[int, int]]:
    """Return first step and the one after the last of each stretch of true values.

    Example:
        >>> stretches([0, 1, 1, 0, 1])
        [(1, 3), (4, 5)]
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[0], np.asarray(flags, int), [0]])))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def vus_pr(
    scores: Sequence[ArrayLike], labels: Sequence[ArrayLike], buffer: int, definition: Definition = "paper"
) -> float:
    """Return the mean over buffers of 0 to so many steps of the average precision with faded labels.

    "paper" is the definition of the paper: the steps of a buffer count in recall whether they are flagged or not. So
    scores that are high in the events alone do not reach 1. "package" is what the Python package `vus` counts: steps of
    a buffer count where they are flagged, and those that are not are no miss. The package takes 250 thresholds; here
    every score is one, so a perfect ranking has 1 at any length. Published tables have one figure for each series; here
    the steps of several series are ranked together.

    Args:
        scores: (T,) for each series, higher for stranger steps.
        labels: True for anomalous steps, (T,) for each series.
        buffer: The longest, ℓ.
        definition: "paper" or "package".

    Raises:
        ParameterError: If there is no such definition.

    Example:
        >>> vus_pr([[0, 1, 5, 4, 1, 0]], [[0, 0, 1, 1, 0, 0]], 0)
        1.0
        >>> ranking = [[0, 0, 0, 5, 5, 0, 0, 0]], [[0, 0, 0, 1, 1, 0, 0, 0]]
        >>> round(vus_pr(*ranking, buffer=2), 2), vus_pr(*ranking, buffer=2, definition="package")
        (0.95, 1.0)
    """
    areas = {"paper": _area, "package": _area_of_package}
    if definition not in areas:
        raise ParameterError(f"definition={definition!r}: expected 'paper' or 'package'.")
    truth = [np.asarray(series, bool) for series in labels]
    values = np.concatenate([np.asarray(series, np.float64) for series in scores])
    order = np.argsort(-values, kind="stable")
    ends = np.flatnonzero(np.diff(values[order], append=-np.inf))  # of equal scores
    return float(np.mean([areas[definition](values, truth, order, ends, width) for width in range(buffer + 1)]))


def _area(
    values: Array, truth: Sequence[NDArray[np.bool_]], order: NDArray[np.int64], ends: NDArray[np.int64], width: int
) -> float:
    """Return the area under precision and recall of every threshold, with a buffer of `width` steps."""
    faded = np.concatenate([_faded(series, width) for series in truth])
    found = np.cumsum(faded[order])[ends]
    positives = (sum(series.sum() for series in truth) + faded.sum()) / 2
    # An event is met from the threshold on that its highest score passes, buffer and all.
    tops = np.sort([values[a:b].max() for a, b in _spans(faded, truth)])
    met = 1 - np.searchsorted(tops, values[order][ends]) / len(tops)
    recall, precision = np.minimum(found / positives, 1) * met, found / (ends + 1)
    return float(np.sum(np.diff(recall, prepend=0) * precision))


def _area_of_package(
    values: Array, truth: Sequence[NDArray[np.bool_]], order: NDArray[np.int64], ends: NDArray[np.int64], width: int
) -> float:
    """Return the same, where steps of a buffer count only if they are flagged."""
    faded = np.concatenate([_added(series, width) for series in truth])
    known = np.concatenate(truth)
    found = np.cumsum(faded[order])[ends]
    buffers = np.cumsum(np.where(known, 0, faded)[order])[ends]
    positives = known.sum() + buffers / 2  # half-way between the events, and events and flagged buffers
    spans = [(a + offset, b + offset) for series, offset in _placed(truth) for a, b in _reached(series, width)]
    tops = np.sort([values[a:b].max() for a, b in spans])
    met = 1 - np.searchsorted(tops, values[order][ends]) / len(tops)
    recall, precision = np.minimum(found / positives, 1) * met, found / (ends + 1)
    return float(np.sum(np.diff(recall, prepend=0) * precision))


def _added(labels: NDArray[np.bool_], width: int) -> Array:
    """Return faded labels as `_faded` does, but where buffers overlap their sum, at most 1."""
    result, half = labels.astype(np.float64), width // 2
    for start, stop in stretches(labels):
        for distance in range(1, half + 1):
            for place in (start - distance, stop - 1 + distance):
                if 0 <= place < len(result):
                    result[place] += np.sqrt(1 - distance / width)
    return np.minimum(result, 1)


def _reached(labels: NDArray[np.bool_], width: int) -> list[tuple[int, int]]:
    """Return the stretches of events with their buffers; those that share a step are one."""
    half = width // 2
    spans: list[tuple[int, int]] = []
    for start, stop in stretches(labels):
        a, b = max(start - half, 0), min(stop + half, len(labels))
        if spans and a < spans[-1][1]:
            spans[-1] = (spans[-1][0], b)
        else:
            spans.append((a, b))
    return spans


def _placed(truth: Sequence[NDArray[np.bool_]]) -> list[tuple[NDArray[np.bool_], int]]:
    """Return each series with the place of its first step, where series are laid end to end."""
    starts = np.cumsum([0, *(len(series) for series in truth)])
    return [(series, int(start)) for series, start in zip(truth, starts, strict=False)]


def _faded(labels: NDArray[np.bool_], width: int) -> Array:
    """Return labels of 1 in events, which fall to 0 over half the width on both sides: √(1 - i/ℓ) at distance i."""
    result, half = labels.astype(np.float64), width // 2
    for start, stop in stretches(labels):
        for distance in range(1, half + 1):
            value = np.sqrt(1 - distance / width)
            for place in (start - distance, stop - 1 + distance):
                if 0 <= place < len(result):
                    result[place] = max(result[place], value)
    return result


def _spans(faded: Array, truth: Sequence[NDArray[np.bool_]]) -> list[tuple[int, int]]:
    """Return the stretches of events with their buffers, in series laid end to end."""
    return [
        (a + offset, b + offset)
        for series, offset in _placed(truth)
        for a, b in stretches(faded[offset : offset + len(series)] > 0)
    ]


def _filled(scores: ArrayLike) -> Array:
    values = np.asarray(scores, np.float64)
    if values.ndim != 1:
        raise DataError(f"scores: expected one number for each step of a series; got an array of shape {values.shape}.")
    return np.nan_to_num(values, nan=-1e300, posinf=1e300, neginf=-1e300)


def _labelled(labels: Sequence[ArrayLike], lengths: Sequence[int]) -> list[NDArray[np.bool_]]:
    """Return which steps are anomalous, (T,) for each series; raises DataError if the labels do not say so."""
    expected = "1 for anomalous steps and 0 for normal ones"
    given = [labels_of(series, expected) for series in labels]
    if [series.shape for series in given] != [(length,) for length in lengths]:
        raise DataError(
            f"y: expected one label for each step, {list(lengths[:5])} in the first series; got arrays of the shapes "
            f"{[series.shape for series in given[:5]]}."
        )
    check_kinds(given, expected)
    return [series.astype(bool) for series in given]

"""A page on how good a detector is: its figures, how scores are spread, which rows to look at."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omokage import plots
from omokage.data.kinds import name_of
from omokage.detection.evaluation import Evaluation
from omokage.detection.events import StepEvaluation
from omokage.estimators import AnomalyDetector
from omokage.plots.style import short_number
from omokage.report.page import Picture, Section, Table, write_report

_SHOWN, _REASONS = 10, 3


def evaluation_page(
    path: Path,
    estimator: Any,
    X: Any,
    y: Any,
    found: Evaluation | StepEvaluation,
    *,
    data: str = "",
    ids: Sequence[Sequence[Any]] = (),
) -> Path:
    """Write how good a detector is on labelled rows, or steps, as one HTML file.

    Args:
        path: The file; one that is there is replaced.
        estimator: A fitted detector, or another model, whose `score_samples` are taken.
        X, y: Labelled rows, as `evaluate_detector` takes them.
        found: What it answered.
        data: What the rows are called.
        ids: What tells rows, or steps, apart, some for each; none: their numbers.

    Returns:
        The absolute path.

    Raises:
        FileFormatError: If the file cannot be written.
    """
    answers, what = _answers(estimator, X, found)
    truth = np.concatenate([np.atleast_1d(part) for part in y]) if isinstance(y, list) else np.asarray(y)
    truth, scores, p = truth.astype(bool), answers["anomaly_score"], answers.get("p_value")
    threshold = None if isinstance(found, StepEvaluation) or p is None else -estimator.offset_
    sections = [_scores_section(scores, truth, threshold, what)]
    if p is not None:
        sections.append(_false_alarms_section(p[~truth & ~np.isnan(p)], what))
    sections.append(_rows_section(answers, truth, ids, what))
    if isinstance(estimator, AnomalyDetector):
        text = "What the detector itself shows, by the rows that its members left out when they were trained."
        sections.append(Section("Before relying on it", [text], findings=estimator.findings_))
    lead = f"{found.heading}{f', in {data}' if data else ''}."
    figures = Table(["figure", "value"], found.figures)
    return write_report(path, "How good the detector is", sections, lead=lead, key_figures=figures)


def _answers(estimator: Any, X: Any, found: Evaluation | StepEvaluation) -> tuple[dict[str, NDArray[Any]], str]:
    """Return what a detector says of rows, or of steps laid end to end, and what these are called."""
    if isinstance(found, StepEvaluation):
        judged = estimator.judge_steps(X, explain=_REASONS)
        each = {name: column if isinstance(column, list) else [column] for name, column in judged.items()}
        return {name: np.concatenate(column) for name, column in each.items()}, "steps"
    if not isinstance(estimator, AnomalyDetector):
        return {"anomaly_score": -np.asarray(estimator.score_samples(X))}, "rows"
    judged = estimator.judge(X)
    if name_of(estimator.schema_) == "vectors":
        reasons = estimator.explain(X).top(_REASONS)
        judged |= {f"top_feature_{place + 1}": column for place, column in enumerate(reasons.T)}
    return judged, "rows"


def _scores_section(scores: NDArray[Any], truth: NDArray[np.bool_], threshold: float | None, what: str) -> Section:
    spread = Picture(
        plots.score_histogram(scores, truth, threshold=threshold),
        f"Histogram of the scores of normal and of anomalous {what}.",
        f"Scores of normal {what} upwards, of anomalies downwards, as shares of each kind. Where the two overlap the "
        "detector cannot tell them apart.",
    )
    curve = Picture(
        plots.precision_recall(scores, truth),
        "Precision against recall.",
        f"Lowering the threshold finds more of the anomalies, and more of the flagged {what} are then false alarms. "
        "The curve shows this trade-off.",
    )
    return Section("Scores", [], [spread, curve])


def _false_alarms_section(p_values: NDArray[Any], what: str) -> Section:
    caption = (
        f"Of the normal {what}, the share whose p-value is at most a rate, against that rate. Above the band the "
        "detector flags more than it says: what is normal has changed since it was calibrated, or was never like the "
        "training rows."
    )
    picture = Picture(plots.false_alarms(p_values), "Rate of false alarms seen against that asked for.", caption)
    return Section("False alarms", [], [picture])


def _rows_section(
    answers: dict[str, NDArray[Any]], truth: NDArray[np.bool_], ids: Sequence[Sequence[Any]], what: str
) -> Section:
    scores, reasons = answers["anomaly_score"], [name for name in answers if name.startswith("top_feature")]
    order = np.argsort(-np.nan_to_num(scores, nan=-np.inf), kind="stable")
    chosen = [("strangest", place) for place in order[:_SHOWN]]
    chosen += [("missed", place) for place in order[::-1] if truth[place]][:_SHOWN]
    chosen += [("false alarm", place) for place in order if not truth[place]][:_SHOWN]
    columns = ["", "id" if ids else what[:-1], "label", "score"]
    columns += ["p-value"] * ("p_value" in answers) + ["to blame"] * bool(reasons)
    rows = []
    for kind, place in chosen:
        called = ", ".join(map(str, ids[place])) if ids else str(place)
        cells = [kind, called, "anomaly" if truth[place] else "normal", short_number(float(scores[place]))]
        cells += [f"{answers['p_value'][place]:.2g}"] if "p_value" in answers else []
        cells += [", ".join(str(answers[name][place]) for name in reasons)] if reasons else []
        rows.append(cells)
    text = (
        f"The {what} with the highest scores; the anomalies with the lowest, which are missed first; and the normal "
        f"{what} with the highest, which are flagged first. Are their labels right?"
    )
    return Section(f"{what.capitalize()} to look at", [text], table=Table(columns, rows))

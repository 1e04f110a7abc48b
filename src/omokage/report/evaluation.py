"""A page on how good a detector is: its figures, how scores are spread, which rows to look at."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from omokage import plots
from omokage.data.context import beside
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
    context: Any = None,
    data: str = "",
    ids: Sequence[Sequence[Any]] = (),
) -> Path:
    """Write how good a detector is on labelled rows, or steps, as one HTML file.

    Args:
        path: The file; one that is there is replaced.
        estimator: A fitted detector, or another model, whose `score_samples` are taken.
        X, y: Labelled rows, as `evaluate_detector` takes them.
        found: What it answered.
        context: Of the rows, where the estimator was fitted with one.
        data: What the rows are called.
        ids: What tells rows, or steps, apart, some for each; none: their numbers.

    Returns:
        The absolute path.

    Raises:
        FileFormatError: If the file cannot be written.
    """
    answers, what = _answers(estimator, X, found, beside(context))
    truth = np.concatenate([np.atleast_1d(part) for part in y]) if isinstance(y, list) else np.asarray(y)
    truth, scores, p = truth.astype(bool), answers["anomaly_score"], answers.get("p_value")
    threshold = None if isinstance(found, StepEvaluation) or p is None else -estimator.offset_
    sections = [_scores_section(scores, truth, threshold, what)]
    if p is not None:
        sections.append(_false_alarms_section(p[~truth & ~np.isnan(p)], what))
    outcomes = _outcomes(answers, truth)
    sections.append(_rows_section(answers, truth, outcomes, ids, what, _rule(estimator, threshold, what)))
    if isinstance(estimator, AnomalyDetector):
        text = "What the detector itself shows, by the rows that its members left out when they were trained."
        sections.append(Section("Before relying on it", [text], findings=estimator.findings_))
    lead = f"{found.heading}{f', in {data}' if data else ''}."
    if outcomes is not None:
        lead += f" By the detector's own decision: {outcomes.text}."
    figures = Table(["figure", "value"], found.figures)
    return write_report(path, "How good the detector is", sections, lead=lead, key_figures=figures)


def _answers(
    estimator: Any, X: Any, found: Evaluation | StepEvaluation, told: Mapping[str, Any]
) -> tuple[dict[str, NDArray[Any]], str]:
    """Return what a detector says of rows, `told` their context, or of steps laid end to end; and their name."""
    if isinstance(found, StepEvaluation):
        judged = estimator.judge_steps(X, explain=_REASONS, **told)
        each = {name: column if isinstance(column, list) else [column] for name, column in judged.items()}
        return {name: np.concatenate(column) for name, column in each.items()}, "steps"
    if not isinstance(estimator, AnomalyDetector):
        return {"anomaly_score": -np.asarray(estimator.score_samples(X, **told))}, "rows"
    judged = estimator.judge(X, **told)
    if estimator.schema_.drawing.style == "columns":
        reasons = estimator.explain(X, **told).top(_REASONS)
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
        "The curve shows this trade-off, from a high threshold at the left to a low one at the right.",
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


class _Outcomes(NamedTuple):
    """What a detector decided of each row or step, beside the truth; (n,) each."""

    found: NDArray[np.bool_]
    missed: NDArray[np.bool_]
    false_alarms: NDArray[np.bool_]

    @property
    def text(self) -> str:
        """How many there are of each."""
        count = int(self.false_alarms.sum())
        return f"{self.found.sum():,} found, {self.missed.sum():,} missed, {count:,} false alarm{'s' * (count != 1)}"


def _outcomes(answers: dict[str, NDArray[Any]], truth: NDArray[np.bool_]) -> _Outcomes | None:
    """Return what was found and missed; `None` for a model that decides nothing."""
    if "is_anomaly" not in answers:
        return None
    flagged = np.asarray(answers["is_anomaly"], bool)
    return _Outcomes(truth & flagged, truth & ~flagged, ~truth & flagged)


def _rows_section(
    answers: dict[str, NDArray[Any]],
    truth: NDArray[np.bool_],
    outcomes: _Outcomes | None,
    ids: Sequence[Sequence[Any]],
    what: str,
    rule: str,
) -> Section:
    """Return the rows or steps that are worth a look; `rule` says when one is flagged."""
    scores, reasons = answers["anomaly_score"], [name for name in answers if name.startswith("top_feature")]
    # A row without a score is beyond all numbers, and flagged; at a step without one nothing was observed.
    beyond = np.inf if what == "rows" else -np.inf
    order = np.argsort(-np.nan_to_num(scores, nan=beyond, posinf=np.inf, neginf=-np.inf), kind="stable")
    if outcomes is None:
        chosen = [("highest score", place) for place in order[:_SHOWN]]
        chosen += [("anomaly ranked low", place) for place in order[::-1] if truth[place]][:_SHOWN]
        chosen += [("normal ranked high", place) for place in order if not truth[place]][:_SHOWN]
        heading = f"{what.capitalize()} to look at, ranked"
        text = (
            f"The model ranks {what} by their scores and decides nothing: none is flagged. Listed are the {what} with "
            f"the highest scores, the anomalies with the lowest, and the normal {what} with the highest."
        )
    else:
        chosen = [("found", place) for place in order if outcomes.found[place]][:_SHOWN]
        chosen += [("missed", place) for place in order[::-1] if outcomes.missed[place]][:_SHOWN]
        chosen += [("false alarm", place) for place in order if outcomes.false_alarms[place]][:_SHOWN]
        heading = f"{what.capitalize()} to look at: {outcomes.text}"
        text = (
            f"{rule} An anomaly that is flagged is found, one that is not is missed, and a normal {what[:-1]} that is "
            f"flagged is a false alarm. Of each kind at most {_SHOWN} are listed: those found and the false alarms "
            "from the highest score down, those missed from the lowest up."
        )
    columns = ["", "id" if ids else what[:-1], "label", "score"]
    columns += ["p-value"] * ("p_value" in answers) + ["to blame"] * bool(reasons)
    rows = []
    for kind, place in chosen:
        called = ", ".join(map(str, ids[place])) if ids else str(place)
        cells = [kind, called, "anomaly" if truth[place] else "normal", _number(scores[place], short_number)]
        cells += [_number(answers["p_value"][place], "{:.2g}".format)] if "p_value" in answers else []
        cells += [", ".join(str(answers[name][place]) for name in reasons)] if reasons else []
        rows.append(cells)
    return Section(heading, [f"{text} Are their labels right?"], table=Table(columns, rows))


def _number(value: float, form: Callable[[float], str]) -> str:
    return "none" if np.isnan(value) else form(float(value))


def _rule(estimator: Any, threshold: float | None, what: str) -> str:
    """Say when a detector flags a row or a step."""
    if not isinstance(estimator, AnomalyDetector):
        return ""
    if threshold is None:
        rate = max(estimator.false_alarm_rate, 1 / (len(estimator.judge_.steps) + 1))
        return f"The detector flags steps whose p-value is at most {rate:.3g}, its rate of false alarms."
    rate = max(estimator.false_alarm_rate, estimator.calibration_.least_rate)
    how = f"its rate of false alarms is set to {rate:.3g}"
    if estimator.contamination != "auto":
        how = f"it takes a share of {estimator.contamination:.3g} of its training rows for anomalies"
    return f"The detector flags {what} whose score is above {short_number(threshold)}: {how}."

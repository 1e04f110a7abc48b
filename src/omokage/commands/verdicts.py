"""What `omokage score` asks of a model or a detector: of rows, and of steps."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from omokage.commands.answers import Columns, Question
from omokage.data.context import beside
from omokage.detection.explanation import Explanation
from omokage.errors import ParameterError
from omokage.estimators import AnomalyDetector


def question_of(estimator: Any, model: Path, false_alarm_rate: float | None, explain: int) -> Question:
    """Return what is asked of rows: the terms of a model, or the verdicts of a detector.

    Args:
        estimator: The model or detector.
        model: Its folder, for messages.
        false_alarm_rate: Of a detector: at which rate to flag rows; `None`: as at its fit.
        explain: Of a detector: how many columns that are to blame to name.

    Raises:
        ParameterError: If there is no detector to be asked so, or it cannot keep the rate.
    """
    _check_explain(explain)
    if not isinstance(estimator, AnomalyDetector):
        _check_no_verdicts(model, false_alarm_rate, explain)
        return _terms
    if false_alarm_rate is not None:
        estimator.calibration_.check_rate(false_alarm_rate)

    def verdicts(detector: Any, rows: Any, context: Any) -> dict[str, Any]:
        columns: dict[str, Any] = detector.judge(rows, false_alarm_rate=false_alarm_rate, **beside(context))
        return columns | (
            _blamed(detector.explain(rows, **beside(context)), detector.schema_, explain) if explain else {}
        )

    return verdicts


def _blamed(found: Explanation, schema: Any, count: int) -> dict[str, Any]:
    """Return the names of what contributes most to each row, and for lines of a table why, in sentences."""
    if found.sentence is None:
        return _numbered("top_feature", found.top(count).T)
    # The sentences name columns as tables do, also those of arrays, so that both columns of a row agree.
    names = found.top(count, tuple(schema.table_names)).T
    return _numbered("top_feature", names) | _numbered(
        "reason", np.array(found.reasons(count), np.str_).reshape(names.T.shape).T
    )


def _numbered(name: str, columns: Any) -> dict[str, Any]:
    return {f"{name}_{place + 1}": column for place, column in enumerate(columns)}


def question_of_steps(
    estimator: Any, model: Path, false_alarm_rate: float | None, explain: int, window: int | None
) -> tuple[Callable[[Any, Any], Columns], Any]:
    """Return what is asked of each step of series, its score, and of a detector the verdict; and how series are read.

    Args:
        estimator, model, false_alarm_rate, explain: As for `question_of`.
        window: How many steps the windows have that series are cut into; `None`: as at the fit.
    """
    _check_explain(explain)
    schema = estimator.schema_
    if not schema.has_steps:
        raise ParameterError(
            f"--by-step, --window: only sequences have steps; {model} is a model of {schema.kind.name}. Leave them out "
            "for a score of each row, or fit a model of series, with --window."
        )
    if isinstance(estimator, AnomalyDetector):

        def verdicts(rows: Any, context: Any) -> Columns:
            how: dict[str, Any] = {"false_alarm_rate": false_alarm_rate, "window": window, "explain": explain}
            found: Columns = estimator.judge_steps(rows, **beside(context), **how)
            return {name: _each(column) for name, column in found.items()}

        return verdicts, schema.in_windows(window)
    _check_no_verdicts(model, false_alarm_rate, explain)
    if window is not None and schema.in_windows(window) is not schema:
        raise ParameterError(
            f"--window: {model} is fitted on {schema.kind.unit}, and is no detector: score it without --window."
        )

    def scores(rows: Any, context: Any) -> Columns:
        nothing = [np.isnan(one).all(1) for one in schema.read(rows).values]
        pairs = zip(_each(estimator.step_scores(rows, **beside(context))), nothing, strict=True)
        return {"anomaly_score": [np.where(empty, np.nan, -one) for one, empty in pairs]}

    return scores, schema


def _each(found: Any) -> Any:
    """Return what is said of the steps of each series, also of a single one."""
    return [found] if isinstance(found, np.ndarray) and found.ndim == 1 else found


def _check_explain(explain: int) -> None:
    if explain < 0:
        raise ParameterError(f"--explain: expected how many columns to name, 0 or more; got {explain}.")


def _check_no_verdicts(model: Path, false_alarm_rate: float | None, explain: int) -> None:
    if false_alarm_rate is not None or explain:
        raise ParameterError(
            f"--false-alarm-rate, --explain: {model} holds no detector. Make one with omokage fit --task detect."
        )


def _terms(estimator: Any, rows: Any, context: Any) -> dict[str, Any]:
    terms = estimator.terms(rows, **beside(context))
    anomaly = terms["squared_error"] if "squared_error" in terms else -terms.get("elbo", terms["reconstruction"])
    return {"anomaly_score": anomaly, **terms}

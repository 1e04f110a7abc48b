"""How good a fitted detector is on rows, or steps, whose labels are known."""

from typing import Any

import numpy as np

from omokage.data.context import beside
from omokage.detection.evaluation import Evaluation, evaluate
from omokage.detection.events import Definition, StepEvaluation, evaluate_steps
from omokage.errors import ParameterError
from omokage.estimators.detector import AnomalyDetector


def evaluate_detector(
    detector: Any,
    X: Any,
    y: Any,
    *,
    context: Any = None,
    buffer: int | None = None,
    definition: Definition = "paper",
) -> Evaluation | StepEvaluation:
    """Return how good a detector is on labelled rows, or labelled steps; it prints as a table.

    Parameters
    ----------
    detector : AnomalyDetector, or anything with `score_samples`
        Fitted.
    X : rows
        None of which the detector was fitted on.
    y : array of shape (n,), or for steps (n, T), a list of arrays (T,), or (T,) for a single long series
        1 for anomalies, 0 for normal rows or steps.
    context : value, row, or like that of `fit`
        That of the rows, where the detector was fitted with one.
    buffer : int, optional
        For steps: the longest buffer of VUS-PR, in steps; by default the median length of the events.
    definition : "paper" or "package"
        For steps: whose VUS-PR. "package" is the figure of the Python package `vus`, as in published tables.

    Returns
    -------
    Evaluation or StepEvaluation
        The former for rows. The latter where the detector is one of sequences and its rows are windows, or `y` has a
        label for each step: figures of single steps, of events, and VUS-PR.

    Raises
    ------
    DataError
        If labels are of another kind or number, or of one kind only.

    Examples
    --------
    >>> import numpy as np, omokage
    >>> X = np.random.default_rng(0).normal(size=(300, 3))
    >>> small = omokage.VAE(latent_dim=2, hidden=(16,), epochs=5, verbose=0)
    >>> detector = omokage.AnomalyDetector(small, verbose=0).fit(X[:200])
    >>> new, y = X[200:].copy(), np.arange(100) < 5
    >>> new[y] += 9
    >>> omokage.evaluate_detector(detector, new, y).auroc
    1.0
    """
    told = beside(context)
    schema = detector.schema_ if isinstance(detector, AnomalyDetector) else None
    if schema is not None and schema.has_steps and (schema.cuts or np.ndim(y[0]) > 0):
        found = detector.judge_steps(X, **told)
        if isinstance(found["anomaly_score"], np.ndarray):  # of a single series
            found, y = {name: [column] for name, column in found.items()}, [y]
        return evaluate_steps(found["anomaly_score"], y, found["is_anomaly"], buffer=buffer, definition=definition)
    if buffer is not None:
        raise ParameterError(f"buffer={buffer!r}: only steps have one; X is judged by rows.")
    if definition != "paper":
        raise ParameterError(f"definition={definition!r}: only steps have a VUS-PR; X is judged by rows.")
    if isinstance(detector, AnomalyDetector):
        judged = detector.judge(X, **told)
        return evaluate(judged["anomaly_score"], y, judged["p_value"])
    return evaluate(-detector.score_samples(X, **told), y)

"""How good a detector is on rows whose labels are known."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from omokage.data.arrays import array_of
from omokage.detection.calibration import interval
from omokage.errors import DataError


@dataclass(frozen=True)
class Evaluation:
    """Figures of a detector on labelled rows; it prints as a table.

    Attributes:
        normal, anomalies: How many rows of each kind there are.
        auroc: The probability that an anomaly is scored above a normal row.
        aucpr: Average precision; of scores by chance it is the `prevalence`.
        prevalence: The share of anomalies.
        detected: The share of anomalies among the rows whose score is above 99 % of the normal ones.
        detected_interval: Its exact 95 % interval, for that threshold.
        rates: For each nominal rate, the share of normal rows whose p-value is at most that, and its interval; empty
            without p-values.
    """

    normal: int
    anomalies: int
    auroc: float
    aucpr: float
    prevalence: float
    detected: float
    detected_interval: tuple[float, float]
    rates: dict[float, tuple[float, float, float]]

    @property
    def heading(self) -> str:
        """What was looked at."""
        return f"{self.normal + self.anomalies:,} rows, {self.anomalies:,} of them anomalies ({self.prevalence:.1%})"

    @property
    def figures(self) -> list[tuple[str, str]]:
        """The figures as text, with their names."""
        low, high = self.detected_interval
        return [
            ("AUROC", f"{self.auroc:.4f}"),
            ("AUCPR", f"{self.aucpr:.4f} (by chance {self.prevalence:.4f})"),
            ("detected at 1 % false alarms", f"{self.detected:.1%} ({low:.1%} to {high:.1%})"),
            *(
                (f"false alarms at {nominal:.0%}", f"{seen:.1%} ({least:.1%} to {most:.1%})")
                for nominal, (seen, least, most) in self.rates.items()
            ),
        ]

    def __str__(self) -> str:
        return printed(self.heading, self.figures)


def printed(heading: str, figures: Sequence[tuple[str, str]]) -> str:
    """Return figures as lines of text, in two columns."""
    width = max(len(name) for name, _ in figures)
    return "\n".join([heading, *(f"{name:<{width}} {value}" for name, value in figures)])


def evaluate(scores: ArrayLike, labels: ArrayLike, p_values: ArrayLike | None = None) -> Evaluation:
    """Return the figures of scores, higher for stranger rows.

    Args:
        scores: (n,).
        labels: True or 1 for anomalies, False or 0 for normal rows, (n,).
        p_values: (n,), if there are.

    Raises:
        DataError: If labels are of another kind or number, or of one kind only.

    Example:
        >>> evaluate([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1]).auroc
        0.75
    """
    values, truth = np.asarray(scores, np.float64), labelled(labels, len(np.asarray(scores)))
    normal = values[~truth]
    flagged = int((values[truth] > np.quantile(normal, 0.99, method="higher")).sum())
    rates = {}
    if p_values is not None:
        p = np.asarray(p_values, np.float64)[~truth]
        for nominal in (0.01, 0.05, 0.1):
            count = int((p <= nominal).sum())
            rates[nominal] = (count / len(p), *interval(count, len(p)))
    anomalies = int(truth.sum())
    return Evaluation(
        normal=len(normal),
        anomalies=anomalies,
        auroc=float(roc_auc_score(truth, values)),
        aucpr=float(average_precision_score(truth, values)),
        prevalence=anomalies / len(truth),
        detected=flagged / anomalies,
        detected_interval=interval(flagged, anomalies),
        rates=rates,
    )


def labelled(labels: ArrayLike, count: int) -> NDArray[np.bool_]:
    """Return which rows are anomalies, (n,); raises DataError if the labels do not say so."""
    expected = "1 for anomalies and 0 for normal rows"
    given = labels_of(labels, expected)
    if given.shape != (count,):
        raise DataError(f"y: expected one label for each of {count} rows; got an array of shape {given.shape}.")
    check_kinds([given], expected)
    return given.astype(bool)


def labels_of(labels: ArrayLike, expected: str) -> NDArray[Any]:
    """Return labels as an array: numbers, NaN where one is masked or missing, or text where they are none.

    Raises:
        DataError: If one of them holds several; `expected` says which labels there are.
    """
    try:
        return array_of(labels, "y")
    except DataError:
        try:
            given = np.asarray(labels)
        except ValueError:  # lists of unlike lengths
            given = np.fromiter(cast(Any, labels), object)
        if given.dtype != object:
            return given
        for entry in given.flat:
            if np.ndim(entry):
                shown = entry.tolist() if isinstance(entry, np.ndarray) else entry
                raise DataError(f"y: expected {expected}, one in each place; got {shown!r}.") from None
        return given.astype(str)


def check_kinds(labels: Sequence[NDArray[Any]], expected: str) -> None:
    """Raise DataError if labels are other than 0 and 1, or of one kind only."""
    kinds = {kind for each in labels for kind in np.unique(each).tolist()}
    kinds = {int(kind) if isinstance(kind, float) and kind.is_integer() else kind for kind in kinds}
    if kinds != {0, 1}:
        words = ("one that is missing" if kind != kind else repr(kind) for kind in sorted(kinds, key=str)[:5])
        shown = ", ".join(words)
        raise DataError(f"y: expected {expected}, and some of both; got {shown}.")

"""How alike are made rows and real rows, and do made rows give real ones away? Functions of two or three tables.

Shapes and trends are SDMetrics' "Column Shapes" and "Column Pair Trends" (DataCebo, version 0.24). The distance to the
closest row is that of Zhang et al., "Mixed-Type Tabular Data Synthesis with Score-based Diffusion in Latent Space"
(TabSyn), 2024. A classifier as a test of two samples: Lopez-Paz and Oquab, "Revisiting Classifier Two-Sample Tests",
2017. A model trained on made rows and tested on real ones: Esteban, Hyland and Rätsch, "Real-valued (Medical) Time
Series Generation with Recurrent Conditional GANs", 2017.

All functions take frames in any container, or what `coded` returned. Columns are numbers or times ("numeric"), or
categories; a missing cell is NaN or null.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from scipy.stats import rankdata
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.metrics import accuracy_score, r2_score, roc_auc_score
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import threadpool_limits

from omokage.errors import DataError, suggest
from omokage.synthetic.coded import Coded, Types, coded

_FOLDS = 3
_MOST_LEVELS = 255  # that scikit-learn's trees take as a category
_BLOCK = 250  # rows whose distances are held at once


def column_shapes(real: Any, made: Any, *, types: Types | None = None) -> dict[str, float]:
    """Return how alike each column by itself is distributed, from 0 to 1: SDMetrics' column shapes.

    Of numbers and times it is one minus the Kolmogorov-Smirnov statistic, of categories one minus the total variation
    distance. Missing cells do not count.

    Args:
        real: Real rows.
        made: Made rows, with the same columns.
        types: What columns hold, as `coded` takes it.

    Returns:
        A number for each column; NaN where a table has no value in it.

    Raises:
        DataError: If columns are missing, or hold something else.

    Example:
        >>> import polars
        >>> real = polars.DataFrame({"a": [1.0, 2.0, 3.0, 4.0], "b": ["x", "x", "y", "y"]})
        >>> column_shapes(real, polars.DataFrame({"a": [1.0, 2.0, 3.0, 9.0], "b": ["x", "x", "x", "y"]}))
        {'a': 0.75, 'b': 0.75}
    """
    one, two = coded(real, made, types=types)
    return {name: _shape(one, two, j) for j, name in enumerate(one.names)}


def _shape(one: Coded, two: Coded, j: int) -> float:
    first, second = (column[~np.isnan(column)] for column in (one.values[:, j], two.values[:, j]))
    if not len(first) or not len(second):
        return float("nan")
    if one.numeric[j]:
        places = np.concatenate([first, second])
        steps = [np.searchsorted(np.sort(part), places, side="right") / len(part) for part in (first, second)]
        return float(1 - np.abs(steps[0] - steps[1]).max())
    return _overlap(first.astype(np.int64), second.astype(np.int64))


def _overlap(first: NDArray[np.int64], second: NDArray[np.int64]) -> float:
    """Return one minus the total variation distance of two columns of classes."""
    count = int(max(first.max(), second.max())) + 1
    shares = [np.bincount(part, minlength=count) / len(part) for part in (first, second)]
    return float(1 - np.abs(shares[0] - shares[1]).sum() / 2)


def pair_trends(real: Any, made: Any, *, types: Types | None = None) -> dict[tuple[str, str], float]:
    """Return how alike two columns hang together, from 0 to 1, for each pair: SDMetrics' column pair trends.

    Of two columns of numbers or times it is one minus half the difference of Pearson's correlations, of the rows that
    have both. Otherwise it is one minus the total variation distance of the two tables of joint shares. For that,
    numbers are cut into bins of equal width between the least and the greatest of their own table: 10, and one for
    the greatest and missing ones. Missing categories are a level.

    Args:
        real, made, types: As `column_shapes` takes them.

    Returns:
        A number for each pair, in the order of the columns; NaN where a correlation is not defined.

    Raises:
        DataError: If columns are missing, or hold something else.

    Example:
        >>> import polars
        >>> real = polars.DataFrame({"a": [1.0, 2.0, 3.0], "b": [1.0, 2.0, 3.0]})
        >>> round(pair_trends(real, real.with_columns(b=-polars.col("b")))["a", "b"], 6)
        0.0
    """
    one, two = coded(real, made, types=types)
    bins = [[_binned(table, j) for j in range(len(table.names))] for table in (one, two)]
    found = {}
    for j, first in enumerate(one.names):
        for k in range(j + 1, len(one.names)):
            if one.numeric[j] and one.numeric[k]:
                gap = abs(_correlation(one.values[:, [j, k]]) - _correlation(two.values[:, [j, k]]))
                found[first, one.names[k]] = float(1 - gap / 2)
            else:
                width = int(max(side[k].max() for side in bins)) + 1
                found[first, one.names[k]] = _overlap(*(side[j] * width + side[k] for side in bins))
    return found


def _binned(table: Coded, j: int) -> NDArray[np.int64]:
    column = table.values[:, j]
    if table.numeric[j]:
        return np.asarray(np.digitize(column, np.histogram_bin_edges(column[~np.isnan(column)])), np.int64)
    return np.nan_to_num(column, nan=len(table.levels[j])).astype(np.int64)


def _correlation(pair: NDArray[np.float64]) -> float:
    pair = pair[~np.isnan(pair).any(1)]
    if len(pair) < 2 or (pair.min(0) == pair.max(0)).any():
        return float("nan")
    return float(np.asarray(np.corrcoef(pair.T))[0, 1])


def mean_of(scores: dict[Any, float]) -> float:
    """Return the mean of scores that are defined; NaN where none is."""
    values = np.array(list(scores.values()), np.float64)
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def told_apart(real: Any, made: Any, *, types: Types | None = None, seed: int = 0) -> float:
    """Return how well boosted trees tell made rows from real ones: the AUROC on rows that they were not trained on.

    0.5: not at all; 1: always. As many made as real rows are looked at, by cross-validation with three folds.

    Args:
        real, made, types: As `column_shapes` takes them.
        seed: Of the folds, and of which rows are drawn where there are more of one.

    Raises:
        DataError: If columns are missing, or there are fewer than 10 rows of either.

    Example:
        >>> import polars
        >>> real = polars.DataFrame({"a": [float(number) for number in range(60)]})
        >>> told_apart(real, real + 100.0)
        1.0
    """
    one, two = coded(real, made, types=types)
    least = min(len(one), len(two))
    if least < 10:
        raise DataError(f"real, made: expected at least 10 rows of each; got {len(one)} and {len(two)}.")
    rows = np.concatenate([one.drawn(least, seed).values, two.drawn(least, seed).values])
    kinds = np.repeat([0, 1], least)
    scores = []
    with _one_thread():
        for training, rest in StratifiedKFold(_FOLDS, shuffle=True, random_state=seed).split(rows, kinds):
            trees = HistGradientBoostingClassifier(categorical_features=_categories(one), random_state=seed)
            trees.fit(rows[training], kinds[training])
            scores.append(roc_auc_score(kinds[rest], trees.predict_proba(rows[rest])[:, 1]))
    return float(np.mean(scores))


def _one_thread() -> threadpool_limits:
    """Return a context in which trees are grown by one thread: several wait for one another for most of the time."""
    return threadpool_limits(1, user_api="openmp")


def _categories(table: Coded) -> list[int]:
    """Return the columns that trees take as categories."""
    pairs = enumerate(zip(table.numeric, table.levels, strict=True))
    return [j for j, (numeric, levels) in pairs if not numeric and len(levels) <= _MOST_LEVELS]


@dataclass(frozen=True)
class Usefulness:
    """How well a model predicts a column of held-out real rows from the others.

    Attributes:
        target: The column.
        score: What is measured: "AUROC" (two levels), "accuracy" (more) or "R²" (numbers and times).
        of_real: Of a model that was trained on real rows.
        of_made: Of the same model, trained on as many made rows.
    """

    target: str
    score: str
    of_real: float
    of_made: float


def usefulness(
    train: Any, made: Any, held_out: Any, target: str | None = None, *, types: Types | None = None, seed: int = 0
) -> Usefulness:
    """Return how well boosted trees predict a column after training on real rows, and after training on made rows.

    Args:
        train: Real rows.
        made: Made rows.
        held_out: Real rows on which both are tested.
        target: The column; `None`: the last.
        types: As `coded` takes it.
        seed: Of which rows are drawn where there are more of one.

    Raises:
        DataError: If there is no such column, or nothing can be learned of it.

    Example:
        >>> import polars
        >>> rows = polars.DataFrame({"a": list(range(80)), "b": [number > 40 for number in range(80)]})
        >>> usefulness(rows.sample(60, seed=0), rows.sample(60, seed=1), rows, types={"a": "number"})
        Usefulness(target='b', score='AUROC', of_real=1.0, of_made=1.0)
    """
    tables = coded(train, made, held_out, types=types)
    names = tables[0].names
    target = names[-1] if target is None else target
    if target not in names:
        raise DataError(f"target: no column {target!r} that can be compared.{suggest(target, names)}")
    if len(names) < 2:
        raise DataError("target: expected at least one more column, from which it is predicted.")
    j = names.index(target)
    real, other, rest = (table.part(~np.isnan(table.values[:, j])) for table in tables)
    least = min(len(real), len(other))
    score, found = "R²", []
    for table in (real.drawn(least, seed), other.drawn(least, seed)):
        with _one_thread():
            score, value = _predicted(table, rest, j, seed)
        found.append(value)
    return Usefulness(target, score, *found)


def _predicted(table: Coded, rest: Coded, j: int, seed: int) -> tuple[str, float]:
    """Return what is measured, and its value, of trees that were trained on one table and are tested on another."""
    others = [k for k in range(len(table.names)) if k != j]
    categories = [others.index(k) for k in _categories(table) if k != j]
    x, y, x_rest, y_rest = table.values[:, others], table.values[:, j], rest.values[:, others], rest.values[:, j]
    settings = {"categorical_features": categories, "random_state": seed}
    if table.numeric[j]:
        if len(y) < 2 or len(y_rest) < 2:
            return "R²", float("nan")
        scale = np.std(y_rest) or 1.0
        trees = HistGradientBoostingRegressor(**settings).fit(x, (y - y_rest.mean()) / scale)
        return "R²", float(r2_score((y_rest - y_rest.mean()) / scale, trees.predict(x_rest)))
    levels = np.unique(y_rest)
    score = "AUROC" if len(levels) == 2 and len(table.levels[j]) == 2 else "accuracy"
    if len(np.unique(y)) < 2 or len(levels) < 2:
        return score, 0.5 if score == "AUROC" else float(np.mean(y_rest == y[0])) if len(y) and len(y_rest) else 0.0
    trees = HistGradientBoostingClassifier(**settings).fit(x, y)
    if score == "AUROC":
        return score, float(roc_auc_score(y_rest == levels[1], trees.predict_proba(x_rest)[:, 1]))
    return score, float(accuracy_score(y_rest, trees.predict(x_rest)))


@dataclass(frozen=True)
class RareLevels:
    """Which rare levels of categories made rows have.

    Attributes:
        count: How many rare levels real rows have.
        made: How many of them made rows have.
        expected: How many as many new real rows would have on average.
        absent: Those that are not made: column, level, and how many real rows have it; the most frequent first.
    """

    count: int
    made: int
    expected: float
    absent: tuple[tuple[str, str, int], ...]


def rare_levels(real: Any, made: Any, *, share: float = 0.01, types: Types | None = None) -> RareLevels:
    """Return which levels that few real rows have are among made rows too.

    Args:
        real, made, types: As `column_shapes` takes them.
        share: A level is rare that fewer of the real rows have.

    Raises:
        DataError: If columns are missing.

    Example:
        >>> import polars
        >>> real = polars.DataFrame({"a": ["x"] * 98 + ["y", "z"]})
        >>> rare_levels(real, real[:99], share=0.05)
        RareLevels(count=2, made=1, expected=1.26..., absent=(('a', 'z', 1),))
    """
    one, two = coded(real, made, types=types)
    count, there, expected, absent = 0, 0, 0.0, []
    for j, name in enumerate(one.names):
        if one.numeric[j]:
            continue
        size = len(one.levels[j])
        counts, others = (_counts(table.values[:, j], size) for table in (one, two))
        for level in np.flatnonzero((counts > 0) & (counts < share * len(one))):
            count, there = count + 1, there + int(others[level] > 0)
            expected += 1 - (1 - counts[level] / len(one)) ** len(two)
            if not others[level]:
                absent.append((name, one.levels[j][level], int(counts[level])))
    return RareLevels(count, there, float(expected), tuple(sorted(absent, key=lambda entry: -entry[2])))


def _counts(column: NDArray[np.float64], size: int) -> NDArray[np.int64]:
    return np.bincount(column[~np.isnan(column)].astype(np.int64), minlength=size)


def closest_distances(rows: Any, others: Any, *, types: Types | None = None) -> NDArray[np.float64]:
    """Return the distance of each row to the closest of the other rows, (n,).

    It is TabSyn's: the sum of the absolute differences of numbers, each in units of its range in the other rows, and 2
    for each category that differs. A cell that only one of the rows has counts 1 of a number, and 2 of a category.

    Args:
        rows, others, types: As `column_shapes` takes them.

    Raises:
        DataError: If columns are missing.

    Example:
        >>> import polars
        >>> others = polars.DataFrame({"a": [0.0, 10.0, 5.0], "b": ["x", "y", "x"]})
        >>> closest_distances(polars.DataFrame({"a": [1.0, 10.0, 8.0], "b": ["x", "y", "z"]}), others).tolist()
        [0.1, 0.0, 2.2]
    """
    one, two = coded(rows, others, types=types)
    return _closest(one, two, two)


def _closest(rows: Coded, others: Coded, ruler: Coded) -> NDArray[np.float64]:
    numeric = np.array(rows.numeric)
    measured = ruler.values[:, numeric]
    low, width = np.zeros(numeric.sum()), np.ones(numeric.sum())
    for j, column in enumerate(measured.T):
        there = column[~np.isnan(column)]
        if len(there) and there.max() > there.min():
            low[j], width[j] = there.min(), there.max() - there.min()
    numbers, classes = [], []
    for table in (rows, others):
        scaled = (table.values[:, numeric] - low) / width
        numbers.append(np.nan_to_num(scaled, nan=0.0))
        classes.append(np.column_stack([np.isnan(scaled), np.nan_to_num(table.values[:, ~numeric], nan=-1.0)]))
    weights = np.concatenate([np.ones(numeric.sum()), np.full((~numeric).sum(), 2.0)])
    found = np.empty(len(rows))
    for begin in range(0, len(rows), _BLOCK):
        block = slice(begin, begin + _BLOCK)
        unlike = cdist(classes[0][block], classes[1], "hamming", w=weights) * weights.sum()
        found[block] = (cdist(numbers[0][block], numbers[1], "cityblock") + unlike).min(1)
    return found


def closest_row_share(train: Any, made: Any, held_out: Any, *, types: Types | None = None, seed: int = 0) -> float:
    """Return the share of made rows that are closer to training rows than to as many held-out rows; a tie is half.

    0.5: training rows are no closer than rows that the model has never seen; 1: made rows are copies of training rows.
    The distance is that of `closest_distances`, in units of the range in the training rows.

    Args:
        train: Rows that the model was trained on; as many of them are drawn as there are held-out rows.
        made: Made rows.
        held_out: Real rows that the model has not seen.
        types: As `coded` takes it.
        seed: Of the draw.

    Raises:
        DataError: If columns are missing.

    Example:
        >>> import polars
        >>> rows = polars.DataFrame({"a": [0.0, 1.0, 2.0, 3.0]})
        >>> closest_row_share(rows, rows, rows + 0.25)
        1.0
    """
    first, rows, rest = coded(train, made, held_out, types=types)
    least = min(len(first), len(rest))
    near = [_closest(rows, table.drawn(least, seed), first) for table in (first, rest)]
    return float((near[0] < near[1]).mean() + (near[0] == near[1]).mean() / 2)


def nearer_than(first: Any, second: Any) -> float:
    """Return the probability that a number of the first is smaller than one of the second; a tie is half.

    For distances to the closest training row of made and of held-out rows, 0.5 is the ideal, and copies of training
    rows have 1. For negated densities of training and of held-out rows it is the AUROC of a test of membership.

    Args:
        first, second: Numbers, (n,) and (m,).

    Example:
        >>> nearer_than([0.0, 1.0], [1.0, 2.0])
        0.875
    """
    one, two = np.asarray(first, np.float64), np.asarray(second, np.float64)
    ranks = rankdata(np.concatenate([one, two]))[: len(one)]
    return float(1 - (ranks.mean() - (len(one) + 1) / 2) / len(two))


def copies(train: Any, rows: Any, *, types: Types | None = None) -> float:
    """Return the share of rows that stand among the training rows, cell for cell.

    Args:
        train: Training rows.
        rows: Made rows, or held-out ones.
        types: As `coded` takes it; keys do not count.

    Raises:
        DataError: If columns are missing.

    Example:
        >>> import polars
        >>> copies(polars.DataFrame({"a": [1, 2, 3, 4]}), polars.DataFrame({"a": [2, 9]}))
        0.5
    """
    one, two = coded(train, rows, types=types)
    known = {row.tobytes() for row in _filled(one)}
    return float(np.mean([row.tobytes() in known for row in _filled(two)]))


def _filled(table: Coded) -> NDArray[np.float64]:
    return np.ascontiguousarray(np.nan_to_num(table.values, nan=np.inf, posinf=np.inf) + 0.0)


def by_sdmetrics(real: Any, made: Any, *, types: Types | None = None) -> tuple[float, float] | None:
    """Return the mean column shape and pair trend as SDMetrics itself computes them; `None` where it is not installed.

    `pip install omokage[synthetic]` installs it.

    Args:
        real, made, types: As `column_shapes` takes them.
    """
    try:
        import pandas as pd
        from sdmetrics.reports.single_table import QualityReport
    except ImportError:
        return None
    one, two = coded(real, made, types=types)
    frames = [pd.DataFrame(table.values, columns=list(table.names)) for table in (one, two)]
    kinds = {name: "numerical" if numeric else "categorical" for name, numeric in zip(one.names, one.numeric)}  # noqa: B905
    report = QualityReport()
    report.real_correlation_threshold = report.real_association_threshold = 0  # so that no pair is skipped
    report.generate(*frames, {"columns": {name: {"sdtype": kind} for name, kind in kinds.items()}}, verbose=False)
    shape, trend = report.get_properties()["Score"]
    return float(shape), float(trend)

"""How alike are made rows and training rows of a table? The figures that TabSyn, TabDiff and TabPC publish.

Zhang et al., "Mixed-Type Tabular Data Synthesis with Score-based Diffusion in Latent Space" (TabSyn, 2024); Shi et al.,
"TabDiff: a Mixed-type Diffusion Model for Tabular Data Generation" (2025); Scassola et al., "A Sobering Look at Tabular
Data Generation via Probabilistic Circuits" (TabPC, 2026). What their scripts compute, as read in amazon-science/tabsyn
(eval/eval_density.py, eval_quality.py, eval_dcr.py) and april-tools/tabpc (src/metrics/metrics.py, src/util.py):

* Shape: SDMetrics' "Column Shapes", the mean over columns of 1 − the Kolmogorov-Smirnov statistic (numbers) or of
  1 − the total variation distance (categories).
* Trend: SDMetrics' "Column Pair Trends", the mean over all pairs of columns. Two numbers: 1 − half the difference of
  Pearson's correlations. Otherwise 1 − the total variation distance of the two contingency tables, where a column of
  numbers is cut into 10 bins of equal width. SDMetrics cuts training rows between their own least and greatest value,
  and made rows between theirs. So one made value far outside, or a greatest value that is never made, moves all bins:
  the training rows of magic, and one more row with all numbers at three times the greatest, have a Trend of 0.87.
* C2ST (LR): SDMetrics' LogisticDetection. Categories that are text are one-hot, those that are whole numbers or truth
  values stay numbers; columns are scaled by median and quartiles; 3 folds, stratified and shuffled; the mean over folds
  of 2 − 2 · max(0.5, AUROC). 1 means that the two cannot be told apart, 0 that they always can.
* C2ST (XGB): the same with XGBoost's classifier, its defaults and `random_state=0`, as in TabPC.
* α-precision and β-recall: the "naive" ones of synthcity's AlphaPrecision, see `alpha_precision_beta_recall`.
* wNMIS: TabPC's weighted similarity of normalised mutual information, see `mutual_information_similarity`.
* DCR share: the share of made rows that are closer to the training rows than to as many held-out rows, see
  `closest_row_share`. The ideal is 0.5.

Three figures are ours: "same bins", a Trend for which made rows are cut where training rows are; "nearer", see
`nearer_than_held_out`, whose ideal is 0.5; and "copies", the share of made rows that stand in the training rows, cell
for cell. The ideal of the last is the share of held-out rows that do.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from scipy.stats import rankdata
from sklearn.metrics import mutual_info_score
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder

STEPS = 30  # of the curves over α and over β
BINS = 10  # of equal width, for mutual information
BLOCK = 500  # rows whose distances are held at once


def evaluate(
    train: pd.DataFrame, made: pd.DataFrame, held_out: pd.DataFrame, numeric: Sequence[str], seed: int
) -> dict[str, float]:
    """Return all figures of made rows.

    Args:
        train: the training rows, as `pandas.read_csv` reads them, without missing cells.
        made: made rows, with the same columns and types.
        held_out: real rows that trained nothing.
        numeric: names of the columns that are numbers; all others are categories.
        seed: decides folds, and which rows are drawn where two sets must be equally large.
    """
    shape, trend = shape_and_trend(train, made, numeric)
    alpha, beta = alpha_precision_beta_recall(train, made, numeric, seed)
    return {
        "shape": shape,
        "trend": trend,
        "same_bins": trend_in_same_bins(train, made, numeric),
        "alpha": alpha,
        "beta": beta,
        "logistic": detection(train, made, numeric, seed, boosted=False),
        "xgboost": detection(train, made, numeric, seed, boosted=True),
        "mutual": mutual_information_similarity(train, made, numeric),
        "dcr": closest_row_share(train, made, held_out, numeric, seed),
        "nearer": nearer_than_held_out(train, made, held_out, numeric),
        "copies": copies(train, made),
        "copies_held_out": copies(train, held_out),
    }


def _metadata(frame: pd.DataFrame, numeric: Sequence[str]) -> dict[str, Any]:
    kinds = {name: "numerical" if name in numeric else "categorical" for name in frame.columns}
    return {"columns": {name: {"sdtype": kind} for name, kind in kinds.items()}}


def shape_and_trend(train: pd.DataFrame, made: pd.DataFrame, numeric: Sequence[str]) -> tuple[float, float]:
    """Return SDMetrics' scores of columns and of pairs of columns."""
    from sdmetrics.reports.single_table import QualityReport

    report = QualityReport()
    report.real_correlation_threshold = report.real_association_threshold = 0  # later versions than 0.24 skip pairs
    report.generate(train, made, _metadata(train, numeric), verbose=False)
    shape, trend = report.get_properties()["Score"]
    return float(shape), float(trend)


def trend_in_same_bins(train: pd.DataFrame, made: pd.DataFrame, numeric: Sequence[str]) -> float:
    """Return SDMetrics' score of pairs of columns, but with the bins of training rows for made rows as well."""
    cells, codes = [], []
    for name in train.columns:
        both = pd.concat([train[name], made[name]], ignore_index=True)
        if name in numeric:
            codes.append(np.digitize(both, np.histogram_bin_edges(train[name])))
        else:
            codes.append(pd.factorize(both)[0])
        cells.append(both.to_numpy() if name in numeric else None)
    scores = []
    for one, first in enumerate(codes):
        for two, second in enumerate(codes[:one]):
            if cells[one] is not None and cells[two] is not None:
                halves = np.split(np.stack([cells[one], cells[two]]), [len(train)], axis=1)
                scores.append(1 - abs(np.subtract(*(np.corrcoef(half)[0, 1] for half in halves))) / 2)
            else:
                joint = np.split(first * (second.max() + 1) + second, [len(train)])
                shares = [np.bincount(half, minlength=max(map(np.max, joint)) + 1) / len(half) for half in joint]
                scores.append(1 - np.abs(np.subtract(*shares)).sum() / 2)
    return float(np.nanmean(scores))


def detection(train: pd.DataFrame, made: pd.DataFrame, numeric: Sequence[str], seed: int, boosted: bool) -> float:
    """Return how little a classifier tells the two apart: logistic regression, or XGBoost if `boosted`."""
    from sdmetrics.single_table import LogisticDetection
    from xgboost import XGBClassifier

    class XGBoostDetection(LogisticDetection):
        """The same folds, scaling and score, with another classifier."""

        @staticmethod
        def _get_classifier() -> XGBClassifier:
            return XGBClassifier(eval_metric="logloss", random_state=0)

    np.random.seed(seed)  # noqa: NPY002 - SDMetrics shuffles by NumPy's global state
    metric = XGBoostDetection if boosted else LogisticDetection
    return float(metric.compute(train, made, _metadata(train, numeric)))


def alpha_precision_beta_recall(
    train: pd.DataFrame, made: pd.DataFrame, numeric: Sequence[str], seed: int
) -> tuple[float, float]:
    """Return α-precision and β-recall in the "naive" way of synthcity 0.2.12; of a larger set, as many rows are drawn.

    Alaa et al., "How Faithful is your Synthetic Data?" (2022). Numbers come first, one-hot categories after them, each
    scaled to [0, 1] by the training rows; the last column is left out, since synthcity takes it for a target.

    Precision at α is the share of made rows in the ball around the training rows' mean that holds a share α of
    them. Recall at β is the share of training rows whose nearest made row is at most as far as their nearest other
    training row, and lies among the share β of such made rows that are nearest to the made rows' mean. Of each curve
    over 30 values from 0 to 1, 1 − Σ|curve − value| / Σ value is returned. Rows as good as new real ones reach a
    precision of 1, but a recall of about 0.5 only: of two equally near rows, one of the other set is the nearer.
    """
    random, sets = np.random.default_rng(seed), _scaled_one_hot(train, made, numeric)
    points, made_points = (some[random.permutation(len(some))[: min(len(train), len(made))]] for some in sets)
    levels = np.linspace(0, 1, STEPS)
    centre, made_centre = points.mean(0), made_points.mean(0)
    from_centre = np.linalg.norm(made_points - centre, axis=1)
    radii = np.quantile(np.linalg.norm(points - centre, axis=1), levels)
    precision = (from_centre[:, None] <= radii).mean(0)
    to_real = NearestNeighbors(n_neighbors=2).fit(points).kneighbors(points)[0][:, 1]
    to_made, places = (found[:, 0] for found in NearestNeighbors(n_neighbors=1).fit(made_points).kneighbors(points))
    nearest_from_centre = np.linalg.norm(made_points[places] - made_centre, axis=1)
    within = nearest_from_centre[:, None] <= np.quantile(nearest_from_centre, levels)
    recall = ((to_made <= to_real)[:, None] & within).mean(0)
    alpha, beta = (1 - np.abs(curve - levels).sum() / levels.sum() for curve in (precision, recall))
    return float(alpha), float(beta)


def _scaled_one_hot(
    train: pd.DataFrame, made: pd.DataFrame, numeric: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return numbers and one-hot categories of both sets but for the last column, in [0, 1] on the training rows."""
    categorical = [name for name in train.columns if name not in numeric]
    encoder = OneHotEncoder(sparse_output=False).fit(train[categorical].astype(str))
    sets = [
        np.column_stack([some[list(numeric)].to_numpy(float), encoder.transform(some[categorical].astype(str))])
        for some in (train, made)
    ]
    scaler = MinMaxScaler().fit(sets[0])
    return scaler.transform(sets[0])[:, :-1], scaler.transform(sets[1])[:, :-1]


def mutual_information_similarity(train: pd.DataFrame, made: pd.DataFrame, numeric: Sequence[str]) -> float:
    """Return 1 − the weighted mean over pairs of columns of the difference in normalised mutual information.

    The normalised mutual information of two columns is 2 · MI / (H₁ + H₂). A pair weighs as much as its two normalised
    mutual informations, of the training and of the made rows, together. Numbers with more than 11 different values are
    cut into 10 bins of equal width between the least and the greatest training value; made values outside are one more
    category.
    """
    real, other = (_normalised_mutual_information(_coded(some, train, numeric)) for some in (train, made))
    weights = real + other
    return float(1 - (weights * np.abs(real - other)).sum() / weights.sum())


def _coded(frame: pd.DataFrame, train: pd.DataFrame, numeric: Sequence[str]) -> list[NDArray[np.integer]]:
    """Return whole numbers for the cells of each column, the same for cells that count as equal."""
    columns = []
    for name in train.columns:
        cells = frame[name]
        if name in numeric and cells.nunique() > BINS + 1:
            cells = pd.cut(cells, np.histogram_bin_edges(train[name], BINS), include_lowest=True, labels=False)
        columns.append(pd.factorize(cells, use_na_sentinel=False)[0])
    return columns


def _normalised_mutual_information(columns: list[NDArray[np.integer]]) -> NDArray[np.float64]:
    """Return 2 · MI / (H₁ + H₂) of all pairs of columns."""
    entropies = [mutual_info_score(column, column) for column in columns]
    found = []
    for one, first in enumerate(columns):
        for two, second in enumerate(columns[:one]):
            total = entropies[one] + entropies[two]
            found.append(2 * mutual_info_score(first, second) / total if total > 0 else 0.0)
    return np.array(found)


def closest_row_share(
    train: pd.DataFrame, made: pd.DataFrame, held_out: pd.DataFrame, numeric: Sequence[str], seed: int
) -> float:
    """Return the share of made rows that are closer to training rows than to as many held-out rows; a tie is half.

    The distance is TabSyn's: the sum of the absolute differences of numbers, each in units of its range in the
    training rows, and 2 for each category that differs. TabSyn compares with all training rows and counts no ties, so
    its ideal lies above 0.5; TabDiff and TabPC train anew on one half and compare with the other, as with
    `--held-out 0.5`. With few held-out rows, as few training rows are drawn, and copies of the others are not seen.
    """
    places = np.random.default_rng(seed).permutation(len(train))[: len(held_out)]
    to_train, to_held_out = (
        _closest(made, some, train, numeric) for some in (train.iloc[places], held_out.iloc[: len(places)])
    )
    return float((to_train < to_held_out).mean() + (to_train == to_held_out).mean() / 2)


def nearer_than_held_out(
    train: pd.DataFrame, made: pd.DataFrame, held_out: pd.DataFrame, numeric: Sequence[str]
) -> float:
    """Return the probability that a made row is closer to the training rows than a held-out row is; a tie is half.

    The distance is that of `closest_row_share`, to the closest of all training rows. New rows of the same distribution
    have 0.5, copies of training rows 1 (or less, where held-out rows are copies themselves), and rows far off 0.
    """
    made_distances, held_out_distances = (_closest(some, train, train, numeric) for some in (made, held_out))
    ranks = rankdata(np.concatenate([made_distances, held_out_distances]))[: len(made)]
    above = (ranks.mean() - (len(made) + 1) / 2) / len(held_out)
    return float(1 - above)


def _closest(
    rows: pd.DataFrame, others: pd.DataFrame, train: pd.DataFrame, numeric: Sequence[str]
) -> NDArray[np.float64]:
    """Return the distance of each row to the closest of the other rows."""
    categorical = [name for name in train.columns if name not in numeric]
    low, high = train[list(numeric)].min().to_numpy(float), train[list(numeric)].max().to_numpy(float)
    width = np.where(high > low, high - low, 1)
    numbers, other_numbers = (some[list(numeric)].to_numpy(float) / width for some in (rows, others))
    codes = [pd.factorize(pd.concat([rows[name], others[name]]).astype(str))[0] for name in categorical]
    categories, other_categories = np.split(np.column_stack(codes).astype(float), [len(rows)])
    found = np.empty(len(rows))
    for begin in range(0, len(rows), BLOCK):
        block = slice(begin, begin + BLOCK)
        unlike = cdist(categories[block], other_categories, "hamming") * len(categorical)
        found[block] = (cdist(numbers[block], other_numbers, "cityblock") + 2 * unlike).min(1)
    return found


def copies(train: pd.DataFrame, rows: pd.DataFrame) -> float:
    """Return the share of rows that stand in the training rows, cell for cell."""
    known = set(train.itertuples(index=False, name=None))
    return float(np.mean([row in known for row in rows.itertuples(index=False, name=None)]))

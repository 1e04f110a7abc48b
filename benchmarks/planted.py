"""Is the cell named that is wrong? Cells of real rows are changed, and the detector is asked what is to blame.

The rows are those of adult. A detector is fitted on 5,000 rows. In 300 others one cell each is planted, a hundred of
each kind:

* pair: a level of a category that occurs, but is rare beside another cell of the row, as `Husband` beside `Female`.
* unseen: a level that does not occur in the training rows.
* number: a number of another group, as the age of a pensioner beside `Own-child`.

What is rare is decided by counts of the training rows, not by a model: of a pair of levels at most a twentieth of the
rows is there that there would be if columns were independent, and that would be ten or more. Numbers are counted in
ten classes for this, that end at the quantiles 0.01, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.99. Which of a row's rare
pairs is planted is drawn.

A planted pair is two cells that do not go together, and often nothing else tells which of them was changed. So it is
said how often the changed cell is named first, and how often it or the other cell of the pair.

Beside the detector, scikit-learn's isolation forest and the distance to the 5 nearest training rows judge the same
rows, with one column for each level and standardised numbers. They name no cells. All settings are the defaults.

Run: `OMOKAGE_DATA=... python benchmarks/planted.py` (three seeds, some minutes).
"""

import os
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import measure
import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import omokage as om

KINDS = "pair", "unseen", "number"
TRAINING, EACH, UNTOUCHED = 5000, 100, 2000
NUMBERS = "age", "fnlwgt", "education-num", "capital-gain", "capital-loss", "hours-per-week"
QUANTILES = 0.01, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.99
RARE, EXPECTED = 0.05, 10.0


@dataclass(frozen=True)
class Planted:
    """Rows in each of which one cell was changed: its kind and its column, and the column it does not go with."""

    rows: pl.DataFrame
    kinds: NDArray[np.str_]
    columns: NDArray[np.str_]
    partners: NDArray[np.str_]


def adult() -> pl.DataFrame:
    """Return the rows of adult, with null for `?`."""
    text = pl.read_csv(Path(os.environ["OMOKAGE_DATA"]) / "adult" / "adult.csv", infer_schema=False)
    text = text.with_columns(pl.all().str.strip_chars())
    text = text.with_columns(pl.when(pl.all() == "?").then(None).otherwise(pl.all()).name.keep())
    return text.with_columns(pl.col(NUMBERS).cast(pl.Int64))


class Counts:
    """How often levels of two columns come together in training rows; numbers in classes."""

    def __init__(self, training: pl.DataFrame):
        """Count the levels of each pair of columns."""
        self.edges = {name: np.unique(np.quantile(training[name].to_numpy(), QUANTILES)) for name in NUMBERS}
        self.levels = {name: self.levels_of(name, training[name]) for name in training.columns}

    def levels_of(self, name: str, cells: pl.Series) -> NDArray[Any]:
        """Return the level of each cell, or the class of its number; "" where it is missing."""
        if name in NUMBERS:
            return np.searchsorted(self.edges[name], cells.to_numpy(), side="left").astype(str)
        return cells.fill_null("").to_numpy().astype(str)

    def rare(self, changed: str, other: str, level: str) -> list[str]:
        """Return the levels of one column that hardly occur beside a level of another one."""
        mine, theirs = self.levels[changed], self.levels[other]
        found, counts = np.unique(mine[mine != ""], return_counts=True)
        beside = mine[theirs == level]
        expected = counts * len(beside) / len(mine)
        together = np.array([(beside == one).sum() for one in found])
        return found[(expected >= EXPECTED) & (together <= RARE * expected)].tolist()


def planted(training: pl.DataFrame, held_out: pl.DataFrame, seed: int) -> Planted:
    """Return held-out rows with a cell of each changed; rows without any rare pair are passed over."""
    random, counts = np.random.default_rng([seed, 1]), Counts(training)
    categories = [name for name in training.columns if name not in NUMBERS]
    rows, kinds, columns, partners = [], [], [], []
    for row in held_out.iter_rows(named=True):
        kind = KINDS[len(rows) % len(KINDS)]
        if kind == "unseen":
            column, partner = str(random.choice(categories)), ""
            cell: Any = "unheard of"
        else:
            pairs = [
                (changed, other, level)
                for changed in (categories if kind == "pair" else NUMBERS)
                for other in categories
                if other != changed and row[other] is not None
                for level in counts.rare(changed, other, row[other])
            ]
            if not pairs:
                continue
            # First the pair of columns, then the level, so that columns with many levels do not come oftener.
            column, partner = random.choice(sorted({pair[:2] for pair in pairs})).tolist()
            level = random.choice([pair[2] for pair in pairs if pair[:2] == (column, partner)])
            cell = level
            if kind == "number":
                cell = int(random.choice(training[column].to_numpy()[counts.levels[column] == level]))
        rows.append({**row, column: cell})
        kinds.append(kind)
        columns.append(column)
        partners.append(partner)
        if len(rows) == EACH * len(KINDS):
            break
    return Planted(pl.DataFrame(rows, schema=training.schema), *map(np.array, (kinds, columns, partners)))


def others(training: pl.DataFrame, rows: pl.DataFrame, seed: int) -> dict[str, NDArray[np.float64]]:
    """Return how strange rows are to scikit-learn's detectors."""
    categories = [name for name in training.columns if name not in NUMBERS]
    scaler, levels = StandardScaler(), OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    scaler.fit(training[NUMBERS].to_numpy())
    levels.fit(training[categories].fill_null("").to_numpy())

    def seen(frame: pl.DataFrame) -> NDArray[np.float64]:
        marks = levels.transform(frame[categories].fill_null("").to_numpy())
        return np.hstack([scaler.transform(frame[NUMBERS].to_numpy()), marks])

    forest = IsolationForest(random_state=seed).fit(seen(training))
    near = NearestNeighbors(n_neighbors=5).fit(seen(training))
    return {
        "isolation forest": -forest.score_samples(seen(rows)),
        "kNN": near.kneighbors(seen(rows))[0].mean(1),
    }


def measured(seed: int) -> dict[str, Any]:
    """Return the figures of one seed, of each kind."""
    frame = adult()
    frame = frame[np.random.default_rng(seed).permutation(frame.height)]
    training, held_out = frame[:TRAINING], frame[TRAINING:]
    untouched, changed = held_out[:UNTOUCHED], planted(training, held_out[UNTOUCHED:], seed)
    every = pl.concat([untouched, changed.rows])
    began = time.perf_counter()
    detector = om.AnomalyDetector(random_state=seed, verbose=0).fit(training)
    measure.progress(f"seed {seed}: fitted in {time.perf_counter() - began:.0f} s")
    scores = {"omokage": -detector.score_samples(every), **others(training, every, seed)}
    began = time.perf_counter()
    first, by_deviance = (detector.explain(changed.rows, by=by).top(1)[:, 0] for by in ("auto", "mahalanobis"))
    measure.progress(f"seed {seed}: explained in {time.perf_counter() - began:.1f} s")
    found: dict[str, Any] = {}
    for kind in KINDS:
        here = changed.kinds == kind
        cell, named = first[here] == changed.columns[here], by_deviance[here]
        chosen = np.concatenate([np.arange(UNTOUCHED), UNTOUCHED + np.flatnonzero(here)])
        found[kind] = {
            "cell": cell.mean(),
            "pair": (cell | (first[here] == changed.partners[here])).mean(),
            "deviance": ((named == changed.columns[here]) | (named == changed.partners[here])).mean(),
            **{name: roc_auc_score(chosen >= UNTOUCHED, each[chosen]) for name, each in scores.items()},
        }
    return found


def main() -> None:
    """Measure and print."""
    parser = measure.parser(__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of levels that the fit did not see
        found = [measured(seed) for seed in range(given.seeds)]
    names = {"cell": "changed cell first", "pair": "it or its partner first", "deviance": "the same by M"}
    names |= {name: f"AUROC, {name}" for name in ("omokage", "isolation forest", "kNN")}
    rows = [
        (kind, *(measure.spread((100 * each[kind][name] for each in found), 1) for name in names)) for kind in KINDS
    ]
    sections = [
        f"Median (least-greatest) over {given.seeds} seeds, percent.",
        measure.table(["kind", *names.values()], rows),
    ]
    measure.publish("Planted cells", sections, ["omokage", "jax", "scikit-learn"], given.out)


if __name__ == "__main__":
    main()

"""How well are anomalies found? `AnomalyDetector` on sets of ADBench, in tracks that are never mixed.

Published: as in Livernoche et al., "On Diffusion Modeling for Anomaly Detection" (2024). The first half of the normal
rows in the order of the file trains, the rest and all anomalies test; columns are standardised by the training rows.
Rows of some files are in an order that matters, so the two halves are not alike, and p-values mean nothing here.
Published means over these 13 sets: kNN 83.14, DTE-NP 83.04, DTE-C 82.16, LOF 81.71, ICL 81.24, IForest 76.72, OCSVM
74.96, VAE 72.19, PCA 70.66.

Honest: rows that occur twice are dropped, the rest is shuffled by the seed, half of the normal rows train. Beside the
detector run, in the same process, what scikit-learn has, the distance from the mean, and PyOD's VAE and AutoEncoder
where PyOD is installed.

Contaminated: at most 4,000 rows of a set, drawn by the seed and with their anomalies, are fitted on and then judged.

All contenders have one setting for all sets: the defaults of their library, but for neighbours (k = 5, as published).
The sets are those by which omokage's default score was chosen, so its figures on them are flattered.

Each result is a line of a file, and what is there is not run again. `--table` prints what there is.

Run: `OMOKAGE_DATA=... python benchmarks/anomaly.py published --seeds 5`, `... honest --seeds 5`,
`... contaminated --seeds 1`, then `--table`.
"""

import json
import os
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import measure
import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.svm import OneClassSVM

import omokage as om
from omokage.build import epochs_of

SETS = (
    "2_annthyroid", "5_campaign", "6_cardio", "12_fault", "19_landsat", "22_magic.gamma", "24_mnist", "26_optdigits",
    "32_shuttle", "38_thyroid", "40_vowels", "41_Waveform", "44_Wilt",
)  # fmt: skip
COMBINATIONS = (
    ("elbo", "neighbours"),
    ("mahalanobis", "neighbours"),
    ("mahalanobis", "latent_neighbours"),
    ("neighbours", "latent_neighbours"),
    ("mahalanobis", "neighbours", "latent_neighbours"),
    ("elbo", "mahalanobis", "neighbours", "latent_neighbours"),
)
TRACKS = "published", "honest", "contaminated"
Rows = NDArray[np.float64]
Scorer = Callable[[Rows], NDArray[np.floating]]


def split(name: str, track: str, seed: int) -> tuple[Rows, Rows, NDArray[np.int64]]:
    """Return training rows, test rows, both standardised, and the labels of the test rows."""
    X, y = _content(name)
    if track == "honest":
        order = np.random.default_rng(seed).permutation(_first_places(X, y))
        X, y = X[order], y[order]
    normal = np.flatnonzero(y == 0)
    training = normal[: len(normal) // 2]
    rest = np.setdiff1d(np.arange(len(y)), training)
    if track == "contaminated":
        training = rest = np.random.default_rng(seed).permutation(len(y))[:4000]
    mean, deviation = X[training].mean(0), X[training].std(0)
    deviation[deviation == 0] = 1
    return (X[training] - mean) / deviation, (X[rest] - mean) / deviation, y[rest]


def normal_rows(name: str) -> Rows:
    """Return the normal rows of a set, each once."""
    X, y = _content(name)
    kept = _first_places(X, y)
    return X[kept][y[kept] == 0]


def _content(name: str) -> tuple[Rows, NDArray[np.int64]]:
    content = np.load(Path(os.environ["OMOKAGE_DATA"]) / "adbench" / f"{name}.npz")
    return content["X"].astype(float), content["y"].astype(int)


def _first_places(X: Rows, y: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where each row stands first."""
    return np.sort(np.unique(np.column_stack([X, y]), axis=0, return_index=True)[1])


# ------------------------------------------------------------------------------------------------------ contenders
# Each takes training rows and a seed, and returns what scores rows, higher for stranger ones: one or several by name.


def detector(rows: Rows, seed: int) -> dict[str, Scorer]:
    """Return the detector as it is, and each of the scores that it knows, from the same fit."""
    fitted = om.AnomalyDetector(random_state=seed, verbose=0).fit(rows)
    return {"detector": lambda new: -fitted.score_samples(new), "*": fitted.scores}


def combinations(rows: Rows, seed: int) -> dict[str, Scorer]:
    """Return what other combinations of scores make of one fit."""
    several = tuple(dict.fromkeys(name for names in COMBINATIONS for name in names))
    fitted = om.AnomalyDetector(score=several, random_state=seed, verbose=0).fit(rows)

    def answers(new: Rows) -> dict[str, NDArray[np.float64]]:
        judge = fitted.judge_
        asked = judge.schema.rows(new)
        return {"+".join(names): replace(judge, names=names).scores(asked).mean(1) for names in COMBINATIONS}

    return {"*": answers}


def plain_vae(rows: Rows, seed: int) -> dict[str, Scorer]:
    """Return one VAE like a member, without an ensemble: its bound and its squared error."""
    epochs = epochs_of(len(rows), 128, 3000)
    settings = {"hidden": (64, 64), "batch_size": 128, "epochs": epochs, "random_state": seed, "verbose": 0}
    vae = om.VAE(min(8, rows.shape[1]), **settings).fit(rows)
    return {
        "one VAE, ELBO": lambda new: -vae.score_samples(new),
        "one VAE, squared error": lambda new: np.square(new - vae.reconstruct(new)).sum(1),
    }


def nearest(rows: Rows, seed: int) -> dict[str, Scorer]:
    """Return the mean distance to the 5 nearest training rows."""
    found = NearestNeighbors(n_neighbors=5).fit(rows)
    return {"kNN": lambda new: found.kneighbors(new)[0].mean(1)}


def outlier_factor(rows: Rows, seed: int) -> dict[str, Scorer]:
    """Return scikit-learn's local outlier factor."""
    found = LocalOutlierFactor(novelty=True).fit(rows)
    return {"LOF": lambda new: -found.score_samples(new)}


def one_class(rows: Rows, seed: int) -> dict[str, Scorer]:
    """Return scikit-learn's one-class support vector machine."""
    found = OneClassSVM().fit(rows)
    return {"OCSVM": lambda new: -found.score_samples(new)}


def forest(rows: Rows, seed: int) -> dict[str, Scorer]:
    """Return scikit-learn's isolation forest."""
    found = IsolationForest(random_state=seed).fit(rows)
    return {"IForest": lambda new: -found.score_samples(new)}


def components(rows: Rows, seed: int) -> dict[str, Scorer]:
    """Return the distance from the mean in units of each component's deviation, and without any model."""
    found = PCA(whiten=True, svd_solver="full").fit(rows)
    kept = found.explained_variance_ > 1e-9
    return {
        "PCA": lambda new: np.square(found.transform(new)[:, kept]).sum(1),
        "‖x‖": lambda new: np.linalg.norm(new, axis=1),
    }


def pyod_vae(rows: Rows, seed: int) -> dict[str, Scorer]:
    """Return PyOD's VAE with its defaults."""
    from pyod.models.vae import VAE

    found = VAE(random_state=seed, verbose=0).fit(rows)
    return {"PyOD VAE": found.decision_function}


def pyod_autoencoder(rows: Rows, seed: int) -> dict[str, Scorer]:
    """Return PyOD's AutoEncoder with its defaults."""
    from pyod.models.auto_encoder import AutoEncoder

    found = AutoEncoder(random_state=seed, verbose=0).fit(rows)
    return {"PyOD AutoEncoder": found.decision_function}


CONTENDERS = {
    "detector": detector,
    "combinations": combinations,
    "plain": plain_vae,
    "knn": nearest,
    "lof": outlier_factor,
    "ocsvm": one_class,
    "iforest": forest,
    "pca": components,
    "pyod-vae": pyod_vae,
    "pyod-ae": pyod_autoencoder,
}


def run(contender: str, name: str, track: str, seed: int) -> list[dict[str, Any]]:
    """Return what each score of a contender reached on one split, and what it took."""
    rows, new, labels = split(name, track, seed)
    began = time.perf_counter()
    scorers = CONTENDERS[contender](rows, seed)
    fitting, found = time.perf_counter() - began, []
    for called, scorer in scorers.items():
        began = time.perf_counter()
        answer: Any = scorer(new)
        scoring = time.perf_counter() - began
        several = answer if isinstance(answer, dict) else {called: answer}
        for score, values in several.items():
            wide = np.asarray(values, np.float64)  # PyOD's scores, in float32, may be infinite
            finite = np.nan_to_num(wide, nan=1e300, posinf=1e300, neginf=-1e300)
            where = {"track": track, "set": name, "seed": seed, "contender": contender, "score": score}
            figures = {
                "auroc": 100 * roc_auc_score(labels, finite),
                "aucpr": 100 * average_precision_score(labels, finite),
                "prevalence": 100 * labels.mean(),
            }
            found.append({**where, **figures, "fit": fitting, "scoring": scoring})
    return found


def table(results: list[dict[str, Any]], track: str, figure: str) -> str:
    """Return the mean of a figure for each set and score, over seeds; the best scores first."""
    here = [one for one in results if one["track"] == track]
    names = [name for name in SETS if any(one["set"] == name for one in here)]
    means: dict[str, list[float]] = {}
    for score in dict.fromkeys(one["score"] for one in here):
        cells = [[one[figure] for one in here if one["score"] == score and one["set"] == name] for name in names]
        if all(cells):
            means[score] = [float(np.mean(cell)) for cell in cells]
    order = sorted(means, key=lambda score: -float(np.mean(means[score])))
    rows = [(score, f"{np.mean(means[score]):.2f}", *(f"{cell:.1f}" for cell in means[score])) for score in order]
    return measure.table((figure.upper(), "mean", *(name.partition("_")[2] for name in names)), rows)


def spread(results: list[dict[str, Any]], track: str) -> str:
    """Return mean AUROC and AUCPR over sets, the deviation of the former over seeds, and median seconds."""
    rows = []
    for score in dict.fromkeys(one["score"] for one in results if one["track"] == track):
        here = [one for one in results if (one["track"], one["score"]) == (track, score)]
        parts = [[one for one in here if one["seed"] == seed] for seed in sorted({one["seed"] for one in here})]
        parts = [part for part in parts if len(part) == len(SETS)]
        if not parts:
            continue
        auroc, aucpr = ([float(np.mean([one[name] for one in part])) for part in parts] for name in ("auroc", "aucpr"))
        seconds = [sum(one["fit"] + one["scoring"] for one in part) for part in parts]
        deviation = f" ± {np.std(auroc, ddof=1):.2f}" if len(parts) > 1 else ""
        mean = float(np.mean(auroc))
        cells = f"{mean:.2f}{deviation}", f"{np.mean(aucpr):.2f}", str(len(parts)), f"{np.median(seconds):.0f}"
        rows.append((mean, (score, *cells)))
    header = ("score", "mean AUROC", "mean AUCPR", "seeds", "seconds")
    return measure.table(header, [cells for _, cells in sorted(rows, reverse=True)])


def _tried(job: tuple[str, str, str, int]) -> list[dict[str, Any]] | str:
    """Return what `run` does, or why it did not."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return run(*job)
    except ImportError as error:
        return f"{job[0]}: not installed ({error})"


def main() -> None:
    """Run what is asked for and not there yet, or print tables."""
    parser = measure.parser(__doc__)
    parser.add_argument("track", nargs="?", choices=TRACKS)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    parser.add_argument("--contenders", nargs="+", choices=list(CONTENDERS), default=list(CONTENDERS))
    parser.add_argument("--results", type=Path, default=Path("omokage-anomaly.jsonl"))
    parser.add_argument("--jobs", type=int, default=1, help="processes; times are then not those of one alone")
    parser.add_argument("--table", action="store_true")
    chosen = parser.parse_args()
    lines = chosen.results.read_text(encoding="utf-8").splitlines() if chosen.results.exists() else []
    results = [json.loads(line) for line in lines]
    if chosen.track and not chosen.table:
        done = {(one["contender"], one["set"], one["track"], one["seed"]) for one in results}
        wanted = [
            (contender, name, chosen.track, seed)
            for seed in range(chosen.seeds)
            for name in chosen.sets
            for contender in chosen.contenders
        ]
        for found in measure.side_by_side(_tried, [job for job in wanted if job not in done], chosen.jobs):
            if isinstance(found, str):
                measure.progress(found)
                continue
            first = found[0]
            what = f"{first['set']} {first['seed']} {first['score']}"
            measure.progress(f"{what}: {first['auroc']:.2f}, {first['fit']:.1f} s")
            results += found
            with chosen.results.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(one) + "\n" for one in found)
    sections = []
    for track in TRACKS:
        if any(one["track"] == track for one in results):
            tables = (table(results, track, figure) for figure in ("auroc", "aucpr"))
            sections += [f"## {track.title()}", spread(results, track), *tables]
    measure.publish("Anomalies", sections, ("jax", "scikit-learn", "pyod", "torch"), chosen.out)


if __name__ == "__main__":
    main()

"""How good are samples? Four autoencoders of MNIST, each drawn from in four ways, judged by neighbours.

One network (784-512-256-16 and back), one likelihood (Bernoulli, that is, the cross-entropy of grey levels: it has no
scale that would weigh against the other terms, and its means stay in [0, 1]), and four objectives: AE, RAE, WAE and
VAE. From each are made, as decoder means:
* draws of z from N(0, I);
* draws from densities fitted to the codes of the training rows by `fit_density`: a normal with full covariance
  (what `AutoEncoder.sample` draws from when nothing else is asked for), a mixture of 10 such, and a flow;
* reconstructions of held-out pictures, through the latent mean: about the best that any density of z could do with
  that decoder.

Rows: the first training pictures (`--rows`) teach everything; the last ones choose settings (`--choose`) and are then
the held-out pictures; test pictures (`--pictures`) are only compared with, by as many made ones. References: held-out
real pictures (the ceiling; MNIST's test pictures come from other writers, so it is below perfect), and pictures each
of whose pixels is drawn by itself (the floor of recall, coverage and the classifier; not of precision and density,
since noise and blur fall into the middle of both embeddings, in pixels into the wide balls of rare real pictures).

Judges, in two embeddings that no judged model had a part in, both learned on the training rows:
* digit features: the 64 units before the last layer of a classifier of the ten digits (`MLPClassifier`, 784-256-64-10).
  They see what makes a digit a digit, and can be blind to what does not matter for its class, such as blur;
* pixels: the 50 first principal components of raw pixels, which see strokes where they stand, and hardly any edges.
Neither is whitened: distances are then those by which the classifier decides, and of pictures; whitening would give
noise in the last components as much to say as the first.

`precision_recall_density_coverage` and `two_sample_accuracy` below say what the figures are. Density may exceed 1.

Run: `OMOKAGE_DATA=... python benchmarks/samples.py --out samples` (minutes of processor time for each seed), with
`--quick` for a try, and with `--choose --epochs 10` for the settings on held-out training rows.
"""

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import measure
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import pairwise_distances_chunked
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.neighbors import NearestNeighbors
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

import omokage as om
from omokage.data import datasets

Rows = NDArray[np.floating]
Embedding = Callable[[Rows], Rows]

NEIGHBOURS, FOLDS = 5, 3
SIDE = 28
LATENT = 16
SETTINGS: dict[str, Any] = {
    "latent_dim": LATENT,
    "hidden": (512, 256),
    "likelihood": "bernoulli",
    "epochs": 30,
    "batch_size": 250,  # the discrepancy of a WAE is one of a batch
    "verbose": 0,
}
# The weights that `--choose` found best on held-out training rows; the test pictures had no say.
RAE = om.objectives.RAE(codes=0.01, decoder=0.01)
WAE = om.objectives.WAE(penalty=3000.0)
CANDIDATES: dict[str, list[Any]] = {
    "RAE": [
        om.objectives.RAE(codes=codes, decoder=decoder)
        for codes, decoder in [(0.001, 1e-3), (0.01, 1e-3), (0.1, 1e-3), (1.0, 1e-3), (0.01, 1e-2), (0.1, 1e-2)]
    ],
    "WAE": [om.objectives.WAE(penalty=penalty) for penalty in (10.0, 100.0, 1000.0, 3000.0, 10000.0)],
}
DENSITIES = {"normal": "full_normal", "mixture": "mixture", "flow": "flow"}
JUDGEMENTS = ("precision", "recall", "density", "coverage", "told apart")


@dataclass(frozen=True)
class Pictures:
    """MNIST in three parts, (n, 784) each, in [0, 1], and the labels of the first."""

    train: Rows
    labels: NDArray[np.integer]
    held_out: Rows
    test: Rows


def precision_recall_density_coverage(real: Rows, made: Rows, neighbours: int = NEIGHBOURS) -> dict[str, float]:
    """Compare two sets of points by balls that reach to the k-th nearest neighbour of their own set.

    With N real points x_i, M made points y_j, and B(x_i) the closed ball around x_i whose radius is the distance to
    its k-th nearest other real point, B(y_j) likewise among the made ones:

        precision = 1/M Σ_j 1[y_j is in some B(x_i)]       what was made looks real
        recall    = 1/N Σ_i 1[x_i is in some B(y_j)]       what is real could have been made
        density   = 1/(kM) Σ_j Σ_i 1[y_j is in B(x_i)]     as precision, but counts balls: may exceed 1
        coverage  = 1/N Σ_i 1[some y_j is in B(x_i)]       as recall, but by the real points' balls

    One made point far off has a huge ball that recall takes for reach; one real point far off does the same to
    precision. Density and coverage were made to suffer less from such.

    Args:
        real: (N, F), N above k.
        made: (M, F), M above k; N and M should be alike, since radii shrink with the number of points.
        neighbours: k.

    Returns:
        The four shares by name; 1 is best, but for density, whose expectation for equal distributions is 1.

    Sources: Kynkäänniemi et al., "Improved Precision and Recall Metric for Assessing Generative Models", 2019,
    equations 1 and 2. Naeem et al., "Reliable Fidelity and Diversity Metrics for Generative Models", 2020.

    Example:
        >>> points = np.random.default_rng(0).normal(size=(100, 2))
        >>> precision_recall_density_coverage(points, points + 50)["coverage"]
        0.0
    """
    real_radii, made_radii = radii(real, neighbours), radii(made, neighbours)
    balls = np.zeros(len(made), int)  # how many real balls each made point is in
    reached, covered = [], []
    first = 0
    for distances in pairwise_distances_chunked(real, made, n_jobs=1):  # (some of N, M)
        within = distances <= real_radii[first : first + len(distances), None]
        balls += within.sum(0)
        covered.append(within.any(1))
        reached.append((distances <= made_radii).any(1))
        first += len(distances)
    return {
        "precision": float(np.mean(balls > 0)),
        "recall": float(np.mean(np.concatenate(reached))),
        "density": float(np.mean(balls) / neighbours),
        "coverage": float(np.mean(np.concatenate(covered))),
    }


def radii(points: Rows, neighbours: int) -> Rows:
    """Return the distance of each point to its k-th nearest other point, (n,)."""
    distances, _ = NearestNeighbors(n_neighbors=neighbours).fit(points).kneighbors()
    return np.asarray(distances[:, -1])


def two_sample_accuracy(real: Rows, made: Rows, seed: int = 0) -> float:
    """Return how often a classifier says rightly which of two sets a point that it has not seen is of.

    The mean accuracy over three folds of a network with one hidden layer of 64 units, on standardised features, with
    early stopping. 0.5 is the best that samples can reach, 1 the worst. A little below 0.5 is chance.

    Args:
        real: (N, F).
        made: (M, F); of the larger set only as many are taken as the smaller one has, so that 0.5 is chance.
        seed: Of the folds and the classifier.

    Source: Lopez-Paz and Oquab, "Revisiting Classifier Two-Sample Tests", 2017.
    """
    count = min(len(real), len(made))
    points, side = np.concatenate([real[:count], made[:count]]), np.repeat([0, 1], count)
    network = MLPClassifier((64,), max_iter=30, early_stopping=True, random_state=seed)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # 30 passes are the setting
        return float(cross_val_score(make_pipeline(StandardScaler(), network), points, side, cv=folds).mean())


def embeddings(pictures: Pictures) -> dict[str, Embedding]:
    """Return the two maps from pictures, (n, 784), to points, learned on training pictures; see the module's text."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        classifier = MLPClassifier((256, 64), batch_size=200, max_iter=15, random_state=0)
        classifier.fit(pictures.train, pictures.labels)
    components = PCA(50, random_state=0).fit(pictures.train)

    def features(rows: Rows) -> Rows:
        for weights, bias in zip(classifier.coefs_[:-1], classifier.intercepts_[:-1], strict=True):
            rows = np.maximum(rows @ weights + bias, 0)
        return rows

    return {"digit features": features, "pixels, 50 principal components": components.transform}


def load(train: int, count: int) -> Pictures:
    """Return MNIST: the first training pictures, the last `count` as held out, and `count` test pictures."""
    learn, judge = datasets.load("mnist", "train"), datasets.load("mnist", "test")
    # MNIST's first 5,000 test pictures are easier than the others.
    chosen = np.random.default_rng(0).permutation(len(judge.X))[:count]
    return Pictures(learn.X[:train], learn.y[:train], learn.X[60_000 - count :], judge.X[chosen])


def models(epochs: int) -> dict[str, Callable[[int], Any]]:
    """Return the unfitted models by name, as functions of the seed."""
    settings = {**SETTINGS, "epochs": epochs}
    return {
        "AE": lambda seed: om.AutoEncoder(**settings, random_state=seed),
        "RAE": lambda seed: om.AutoEncoder(**settings, objective=RAE, random_state=seed),
        "WAE": lambda seed: om.VAE(**settings, posterior="point", objective=WAE, random_state=seed),
        "VAE": lambda seed: om.VAE(**settings, random_state=seed),
    }


def from_standard_normal(model: Any, count: int, seed: int) -> Rows:
    """Return decoder means of draws from N(0, I), (count, 784), whatever the model's prior is."""
    return np.asarray(model.inverse_transform(np.random.default_rng(seed).standard_normal((count, LATENT))))


def from_fitted(model: Any, density: str, train: Rows, count: int, seed: int) -> Rows:
    """Fit a density to the codes of training pictures and return decoder means of draws from it, (count, 784)."""
    return np.asarray(model.fit_density(train, density, seed=seed).sample(count, mean=True, seed=seed))


def made_pictures(pictures: Pictures, epochs: int, seed: int) -> Iterator[tuple[str, Rows, float]]:
    """Yield each row of the table: its name, as many pictures as there are test pictures, and the seconds it took."""
    count, random = len(pictures.test), np.random.default_rng(seed)
    yield "held-out real pictures", pictures.held_out, 0.0
    yield "each pixel by itself", random.permuted(pictures.train[:count], axis=0), 0.0
    for name, unfitted in models(epochs).items():
        measure.progress(f"seed {seed}: {name}")
        begin = time.perf_counter()
        model = unfitted(seed).fit(pictures.train)
        fitting = time.perf_counter() - begin
        yield f"{name}, held-out pictures reconstructed", np.asarray(model.reconstruct(pictures.held_out)), fitting
        yield f"{name}, N(0, I)", from_standard_normal(model, count, seed), fitting
        for words, density in DENSITIES.items():
            begin = time.perf_counter()
            made = from_fitted(model, density, pictures.train, count, seed)
            yield f"{name}, {words}", made, fitting + time.perf_counter() - begin


def judge(point: Embedding, real: Rows, made: Rows, seed: int) -> dict[str, float]:
    """Return all judgements of made pictures in one embedding, by the names of JUDGEMENTS."""
    real, made = point(real), point(made)
    return {**precision_recall_density_coverage(real, made), "told apart": two_sample_accuracy(real, made, seed)}


def draw_grid(rows: Rows, path: Path, across: int = 16, down: int = 8) -> None:
    """Write the first pictures, (n, 784), as a PNG, dark on light, enlarged twice."""
    tiles = rows[: across * down].reshape(down, across, SIDE, SIDE).transpose(0, 2, 1, 3)
    grey = 255 - np.round(255 * np.clip(tiles.reshape(down * SIDE, across * SIDE), 0, 1)).astype(np.uint8)
    Image.fromarray(grey).resize((2 * grey.shape[1], 2 * grey.shape[0]), Image.Resampling.NEAREST).save(path)


def cell(values: list[float], digits: int = 3) -> str:
    """Return a mean, and with more than one value ± their standard deviation."""
    mean = f"{statistics.mean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.{digits}f}"


def choose(pictures: Pictures, epochs: int) -> str:
    """Return a table of the candidates' coverage of held-out training pictures, from the density each is meant for."""
    point = embeddings(pictures)["digit features"]
    rows = []
    for name, candidates in CANDIDATES.items():
        for objective in candidates:
            measure.progress(repr(objective))
            model = om.AutoEncoder if name == "RAE" else om.VAE
            extra = {} if name == "RAE" else {"posterior": "point"}
            fitted = model(**{**SETTINGS, "epochs": epochs, **extra}, objective=objective).fit(pictures.train)
            count = len(pictures.held_out)
            if name == "RAE":
                made = from_fitted(fitted, "mixture", pictures.train, count, 0)
            else:
                made = from_standard_normal(fitted, count, 0)
            found = precision_recall_density_coverage(point(pictures.held_out), point(made))
            rows.append((f"`{objective}`", *(f"{value:.3f}" for value in found.values())))
    return measure.table(("settings", *JUDGEMENTS[:4]), rows)


def compare(pictures: Pictures, epochs: int, seeds: int, out: Path) -> list[str]:
    """Judge everything with every seed, write the grids of the first, and return a table for each embedding."""
    points = embeddings(pictures)
    found: dict[str, dict[str, list[dict[str, float]]]] = {name: {} for name in points}
    for seed in range(seeds):
        for name, made, seconds in made_pictures(pictures, epochs, seed):
            if seed == 0:
                draw_grid(made, out / f"{name.replace(', ', '_').replace(' ', '_')}.png")
            for embedding, point in points.items():
                judged = judge(point, pictures.test, made, seed)
                measure.progress(f"  {name}: " + ", ".join(f"{key} {value:.3f}" for key, value in judged.items()))
                found[embedding].setdefault(name, []).append({**judged, "seconds": seconds})
    tables = []
    for embedding, rows in found.items():
        lines = [
            (
                name,
                *(cell([result[key] for result in results]) for key in JUDGEMENTS),
                cell([result["seconds"] for result in results], 0),
            )
            for name, results in rows.items()
        ]
        tables += [f"### In {embedding}", measure.table(("pictures", *JUDGEMENTS, "fit and draw, s"), lines)]
    return tables


def main() -> None:
    """Judge samples, or choose settings, and write tables and pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("samples"), metavar="FOLDER", help="of tables and pictures")
    parser.add_argument("--rows", type=int, default=50_000, help="training pictures")
    parser.add_argument("--pictures", type=int, default=10_000, help="of each kind that is judged, at most 10,000")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=SETTINGS["epochs"])
    parser.add_argument("--quick", action="store_true", help="5,000 rows, 1,000 pictures, 20 epochs, one seed")
    parser.add_argument("--choose", action="store_true", help="only compare settings on held-out training pictures")
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    if chosen.quick:
        chosen.rows, chosen.pictures, chosen.epochs, chosen.seeds = 5000, 1000, 20, 1
    epochs, seeds = chosen.epochs, chosen.seeds
    pictures = load(chosen.rows, chosen.pictures)
    packages = ["omokage", "jax", "optax", "scikit-learn"]
    note = (
        f"{len(pictures.train)} training pictures, {epochs} epochs; {len(pictures.test)} made pictures against as many "
        f"real ones, k = {NEIGHBOURS}. "
    )
    # Two thread pools that wait for each other's cores cost scikit-learn ten times what a second thread gains.
    with threadpool_limits(1):
        if chosen.choose:
            sections, name = [note, choose(pictures, epochs)], "chosen"
        else:
            spread = "One seed." if seeds == 1 else f"Mean ± standard deviation over {seeds} seeds."
            note += f"{spread} RAE is `{RAE}`, and WAE is `{WAE}`. Told apart: the accuracy of a classifier. "
            note += "0.5 is perfect, because it then cannot tell made from real."
            sections, name = [note, *compare(pictures, epochs, seeds, chosen.out)], "samples"
    measure.publish("Samples of MNIST", sections, packages, chosen.out / f"{name}.md")


if __name__ == "__main__":
    main()

"""Does omokage reach the figures of a course's notebook on autoencoders, and what do our defaults add?

The notebook (Ryukoku University's AdvML 2024, exercise 14A): first 20,000 MNIST images / 255, split with
`train_test_split(test_size=4000, random_state=4649, stratify=y)`, mean image subtracted, AE and VAE
784-1000-10-1000-784 with ReLU, Adam 1e-3, batch 100, 30 epochs. Its VAE minimises (‖x − x̂‖² + 2 KL) / 784
a pixel, which is −2 ELBO / 784 of a normal likelihood of unit variance, up to its constant. Its own code
gave, on these data: AE test error 0.0183; VAE objective 0.0500, error through the posterior mean 0.0262, KL
6.25 nats, 9 of 10 dimensions active.

Runs, each with several seeds:
* "document": its settings to the letter, that is, a constant learning rate;
* "ours": the same, but with omokage's default optimizer, learning rate and schedule, which lets the rate decay;
* "own network": an autoencoder of our choice with the same ten latent numbers (OWN_NETWORK below).

A dimension is active when the variance of its posterior mean over the test rows exceeds 0.01 (Burda, Grosse
and Salakhutdinov, "Importance weighted autoencoders", 2016, section 5.2).

Prediction: "document" agrees with the notebook to within the spread of seeds; a decaying rate lowers both
errors; all are far below PCA with ten components (0.0344).

Run: `OMOKAGE_DATA=... python benchmarks/mnist.py` (about 15 minutes on two cores).
"""

import gzip
import os
import sys
import time
from pathlib import Path
from typing import Any

import measure
import numpy as np

import omokage as om

PIXELS = 784
DOCUMENT = {
    "latent_dim": 10,
    "hidden": (1000,),
    "activation": "relu",
    "epochs": 30,
    "batch_size": 100,
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "schedule": "constant",
    "standardize": "center",
    "likelihood": om.likelihoods.Gaussian(scale=1.0),
    "verbose": 0,
}
OURS = {name: value for name, value in DOCUMENT.items() if name not in ("schedule", "optimizer", "learning_rate")}
# Chosen on 2,000 rows cut from the training rows; the test rows had no say.
OWN_NETWORK = {
    **OURS,
    "hidden": (1000, 500, 250),
    "activation": "gelu",
    "normalization": "layer",
    "initializer": "he_uniform",
    "optimizer": "adamw",
    "weight_decay": 0.7,
    "objective": om.objectives.Denoising("gaussian", 0.1),
}
# What the notebook's own code gave on these data, one run each: the cells of its rows in the table.
NOTEBOOK = [
    ("AE, the notebook's code", "", "0.0183", "", "", "", ""),
    ("VAE, the notebook's code", "", "0.0262", "0.0500", "6.25", "9", ""),
]


def load_split() -> tuple[np.ndarray, np.ndarray]:
    """The notebook's training and test rows, (16000, 784) and (4000, 784), in [0, 1]."""
    from sklearn.model_selection import train_test_split

    folder = Path(os.environ.get("OMOKAGE_DATA", "")) / "mnist"
    if not (folder / "train-images-idx3-ubyte.gz").exists():
        sys.exit("mnist.py needs MNIST's IDX files in the folder mnist/ below the folder that OMOKAGE_DATA names.")

    def read(name: str, offset: int) -> np.ndarray:
        return np.frombuffer(gzip.decompress((folder / name).read_bytes()), np.uint8, offset=offset)

    images = read("train-images-idx3-ubyte.gz", 16).reshape(-1, PIXELS)[:20000]
    labels = read("train-labels-idx1-ubyte.gz", 8)[:20000]
    train, test = train_test_split(
        (images / 255).astype(np.float32), test_size=4000, random_state=4649, stratify=labels
    )
    return train, test


def principal_components(train: np.ndarray, test: np.ndarray) -> tuple[float, float]:
    """Reconstruction error per pixel of PCA with ten components: training rows, test rows."""
    from sklearn.decomposition import PCA

    pca = PCA(10, random_state=0).fit(train.astype(np.float64))
    errors = [np.mean((rows - pca.inverse_transform(pca.transform(rows))) ** 2) for rows in (train, test)]
    return float(errors[0]), float(errors[1])


def squared_error(rows: np.ndarray, reconstruction: Any) -> float:
    """Squared error per pixel."""
    return float(np.mean((rows - np.asarray(reconstruction).reshape(rows.shape)) ** 2))


def fit_autoencoder(settings: dict[str, Any], seed: int, train: np.ndarray, test: np.ndarray) -> dict[str, float]:
    """Fit an autoencoder; its training and test errors per pixel, and the seconds of the fit."""
    begin = time.perf_counter()
    model = om.AutoEncoder(**settings, random_state=seed).fit(train)
    seconds = time.perf_counter() - begin
    return {
        "train_error": squared_error(train, model.reconstruct(train)),
        "error": squared_error(test, model.reconstruct(test)),
        "seconds": seconds,
    }


def fit_vae(settings: dict[str, Any], seed: int, train: np.ndarray, test: np.ndarray) -> dict[str, float]:
    """Fit a VAE; errors through the mean and a drawn z, the notebook's objective, KL, active dimensions."""
    begin = time.perf_counter()
    model = om.VAE(**settings, random_state=seed).fit(train)
    seconds = time.perf_counter() - begin
    kl = float(np.mean(np.asarray(model.terms(test)["kl"])))
    drawn = squared_error(test, model.reconstruct(test, sample=True))
    means = np.asarray(model.transform(test))
    return {
        "train_error": squared_error(train, model.reconstruct(train)),
        "error": squared_error(test, model.reconstruct(test)),
        "drawn": drawn,
        "objective": drawn + 2 * kl / PIXELS,
        "kl": kl,
        "active": int(np.sum(means.var(axis=0) > 0.01)),
        "seconds": seconds,
    }


def row(name: str, results: list[dict[str, float]]) -> tuple[str, ...]:
    """One line of the table from the results of the seeds."""
    digits = {"train_error": 5, "error": 5, "objective": 5, "kl": 2, "active": 0, "seconds": 0}
    cells = (
        measure.spread((result[key] for result in results), places) if key in results[0] else ""
        for key, places in digits.items()
    )
    return (name, *cells)


def main() -> None:
    """Fit every model with every seed and print the table."""
    parser = measure.parser(__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, help="train for fewer epochs, to try the script out")
    chosen = parser.parse_args()
    train, test = load_split()
    fewer = {"epochs": chosen.epochs} if chosen.epochs else {}
    runs = [
        ("AE, document", fit_autoencoder, DOCUMENT),
        ("AE, ours", fit_autoencoder, OURS),
        ("AE, own network", fit_autoencoder, OWN_NETWORK),
        ("VAE, document", fit_vae, DOCUMENT),
        ("VAE, ours", fit_vae, OURS),
    ]
    rows: list[tuple[str, ...]] = []
    for name, fit, settings in runs:
        results = []
        for seed in range(chosen.seeds):
            measure.progress(f"{name}, seed {seed}")
            results.append(fit({**settings, **fewer}, seed, train, test))
        rows.append(row(name, results))
    pca_train, pca_test = principal_components(train, test)
    rows += [*NOTEBOOK, ("PCA, 10 components", f"{pca_train:.5f}", f"{pca_test:.5f}", "", "", "", "")]
    header = (
        "model",
        "training error per pixel",
        "test error per pixel",
        "objective per pixel, one drawn z",
        "KL, nats",
        "active dimensions of 10",
        "fit, s",
    )
    note = (
        f"Median (least-greatest) over {chosen.seeds} seeds. The errors are those of reconstructions from the latent "
        f"mean. AE of our own choice: `{OWN_NETWORK}`."
    )
    packages = ["omokage", "jax", "optax", "scikit-learn"]
    measure.publish("MNIST: a course's figures", [note, measure.table(header, rows)], packages, chosen.out)


if __name__ == "__main__":
    main()

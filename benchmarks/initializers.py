"""First weights: does He's initialiser, which is meant for rectifiers, serve better than the default "lecun_uniform"?

The same VAE is trained with both, with early stopping and without, on rows of several kinds; a fifth of the rows is
held out, and their ELBO in nats of the raw data is compared. Nothing else differs. He, Zhang, Ren and Sun, "Delving
Deep into Rectifiers", 2015.

Run: `OMOKAGE_DATA=... python benchmarks/initializers.py --seeds 3`.
"""

import statistics
from collections.abc import Callable
from typing import Any

import measure
import numpy as np
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.model_selection import train_test_split

import omokage as om

ROWS: dict[str, Callable[[], Any]] = {
    "digits": lambda: om.datasets.load("digits").X,
    "MNIST, 6,250 rows": lambda: om.datasets.load("mnist").X[:6250],
    "breast cancer": lambda: load_breast_cancer().data,
    "wine": lambda: load_wine().data,
}
INITIALIZERS = ("lecun_uniform", "he_uniform")
SETTINGS: dict[str, Any] = {"hidden": (512, 256), "latent_dim": 10, "verbose": 0}


def elbo(X: Any, initializer: str, early: bool, seed: int) -> float:
    """Return the mean ELBO of held-out rows."""
    training, held_out = train_test_split(X, test_size=0.2, random_state=seed)
    settings = {**SETTINGS, "latent_dim": min(10, X.shape[1] // 3), "early_stopping": early}
    model = om.VAE(**settings, initializer=initializer, random_state=seed)
    return float(model.fit(training).score(held_out))


def main() -> None:
    """Train all, and print a table."""
    parser = measure.parser(__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    lines = []
    for name, read in ROWS.items():
        X = np.asarray(read())
        for early in (False, True):
            found = {
                initializer: [elbo(X, initializer, early, seed) for seed in range(arguments.seeds)]
                for initializer in INITIALIZERS
            }
            gains = [he - lecun for lecun, he in zip(*found.values(), strict=True)]
            cells = [f"{statistics.mean(values):.2f}" for values in found.values()]
            spread = f"{statistics.median(gains):+.2f} ({min(gains):+.2f} to {max(gains):+.2f})"
            lines.append([name, "yes" if early else "no", *cells, spread])
            measure.progress(str(lines[-1]))
    head = ["rows", "early stopping", *INITIALIZERS, "gain by He, median (range)"]
    measure.publish("First weights", [measure.table(head, lines)], ("jax", "scikit-learn"), arguments.out)


if __name__ == "__main__":
    main()

"""Published likelihoods of MNIST: log p(x) of the test pictures by importance weighting, 5,000 draws each.

The pictures are those of the fixed binarisation (Larochelle and Murray, "The Neural Autoregressive Distribution
Estimator", 2011): 50,000 to train on, 10,000 to choose settings and epoch on, 10,000 to report, once. `dynamic` runs
take grey MNIST and draw zeros and ones anew in every step; their test pictures are drawn once, with a fixed seed.

Each run is a name and a seed. It keeps a checkpoint after every epoch and goes on from it when it is started again, so
that the long ones can be run in pieces; what it found stands in a JSON file, and `--table` makes a table of all that
there are.

Published: VAE 89.78 and IWAE of 5 draws 87.63 (pythae's README; the fixed binarisation), VampPrior VAE 85.57 (Tomczak
and Welling, 2018; the fixed binarisation), IWAE of 50 draws 84.78, with two stochastic layers 82.90 (Burda, Grosse and
Salakhutdinov, 2016; dynamic binarisation).

Run: `OMOKAGE_DATA=... python benchmarks/likelihood.py vae --seed 0`, then `python benchmarks/likelihood.py --table`.
"""

import argparse
import json
import os
import resource
import time
from pathlib import Path
from typing import Any

import measure
import numpy as np

import omokage as om
from omokage.objectives import ELBO, IWAE, Binarizing

SHARED = {
    "latent_dim": 40,
    "hidden": (300, 300),
    "activation": "silu",
    "likelihood": "bernoulli",
    "epochs": 300,
    "batch_size": 100,
    "learning_rate": 5e-4,
    "early_stopping": 300,  # never, but the best weights by the validation pictures are kept
}
# Chosen on the validation pictures; the test pictures had no say.
RUNS: dict[str, dict[str, Any]] = {
    "vae": {**SHARED, "objective": ELBO(warmup=100)},
    "iwae-5": {**SHARED, "objective": IWAE(5, warmup=100)},
    "vamp": {**SHARED, "objective": ELBO(warmup=100), "prior": om.priors.Vamp(500)},
    "iwae-50": {**SHARED, "objective": IWAE(50, warmup=100)},
    "dynamic-iwae-50": {**SHARED, "objective": Binarizing(IWAE(50)), "hidden": (200, 200), "latent_dim": 50},
    "dynamic-iwae-50-two-layers": {
        **SHARED,
        "objective": Binarizing(IWAE(50)),
        "hidden": (200, 200),
        "latent_dim": 150,
        "prior": om.priors.TwoLayer(top=50, width=100),
    },
}
PUBLISHED = {
    "vae": 89.78,
    "iwae-5": 87.63,
    "vamp": 85.57,
    "iwae-50": 87.10,
    "dynamic-iwae-50": 84.78,
    "dynamic-iwae-50-two-layers": 82.90,
}


def fixed() -> dict[str, np.ndarray]:
    """The pictures of the fixed binarisation, (n, 784) each, by "train", "valid" and "test"."""
    path = Path(os.environ.get("OMOKAGE_DATA", "")) / "binarized_mnist" / "binarized_mnist_packed.npz"
    if not path.exists():
        raise SystemExit("likelihood.py needs binarized_mnist/ in the folder that OMOKAGE_DATA names.")
    packed = np.load(path)
    return {part: np.unpackbits(packed[part], axis=1).astype(np.float32) for part in ("train", "valid", "test")}


def dynamic() -> dict[str, np.ndarray]:
    """MNIST in the same parts: grey for training, the others drawn once."""
    train, test = (om.datasets.load("mnist", part).X for part in ("train", "test"))
    random = np.random.default_rng(0)
    valid, test = ((random.random(part.shape) < part).astype(np.float32) for part in (train[50_000:], test))
    return {"train": train[:50_000], "valid": valid, "test": test}


def run(name: str, seed: int, folder: Path, epochs: int | None, draws: int, device: str) -> dict[str, Any]:
    """Train, or go on training, and measure."""
    pictures = dynamic() if name.startswith("dynamic") else fixed()
    settings = {**RUNS[name], **({} if epochs is None else {"epochs": epochs})}
    vae = om.VAE(**settings, random_state=seed, verbose=0, device=device)
    place = folder / f"{name}-{seed}"
    vae.fit(
        pictures["train"],
        X_valid=pictures["valid"],
        checkpoint=place / "checkpoint",
        resume=(place / "checkpoint").exists(),
        on_epoch=lambda record: measure.progress(
            f"{name} {seed}: epoch {record['epoch']}, loss {record['loss']:.2f}, "
            f"validation {record['validation_loss']:.2f}, {record['seconds']:.1f} s"
        ),
    )
    vae.save(place / "model")
    losses = [record["validation_loss"] for record in vae.history_]
    began = time.perf_counter()
    found = {}
    for part, number in (("valid", min(draws, 500)), ("test", draws)):
        bound, error = vae.log_likelihood(pictures[part], samples=number, return_std=True)
        found[part] = {"nll": -float(bound.mean()), "error": float(error.mean())}
    return {
        "name": name,
        "seed": seed,
        "epochs": len(losses),
        "best": int(np.argmin(losses)) + 1,
        "train": vae.history_[int(np.argmin(losses))]["loss"],
        "seconds": sum(record["seconds"] for record in vae.history_),
        "evaluation": time.perf_counter() - began,
        "draws": draws,
        **found,
    }


def evaluation(rows: int, draws: int) -> None:
    """Time `log_likelihood` alone, of a 784-200-200-50 model; the processor has 2 · 207,800 operations a draw to do."""
    pictures = fixed()["test"]
    vae = om.VAE(50, hidden=(200, 200), activation="tanh", likelihood="bernoulli", epochs=1, verbose=0)
    vae.fit(pictures[:2000]).log_likelihood(pictures[:512], samples=64)  # compiled
    began = time.perf_counter()
    vae.log_likelihood(pictures[:rows], samples=draws)
    seconds = time.perf_counter() - began
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{rows} rows × {draws} draws: {seconds:.0f} s, at most {memory:.2f} GiB in all")


def table(folder: Path) -> None:
    """Print what all runs found so far."""
    rows = []
    found = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    for name in RUNS:
        runs = [one for one in found if one["name"] == name]
        if not runs:
            continue
        test, valid = (np.array([one[part]["nll"] for one in runs]) for part in ("test", "valid"))
        spread = f" ± {test.std(ddof=1):.2f}" if len(runs) > 1 else ""
        rows.append(
            (
                name,
                f"{PUBLISHED[name]:.2f}",
                f"{test.mean():.2f}{spread}",
                " ".join(f"{figure:.2f}" for figure in test),
                " ".join(f"{figure:.2f}" for figure in valid),
                f"{np.mean([one['epochs'] for one in runs]):.0f}",
                " ".join(str(one["seed"]) for one in runs),
                f"{min(one['seconds'] for one in runs) / 60:.0f}",
            )
        )
    each = ("test, each seed", "validation, each seed")
    header = ("run", "published", "test, mean", *each, "epochs", "seeds", "minutes, quickest run")
    print(measure.table(header, rows))


def main() -> None:
    """Run one name and seed, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", choices=list(RUNS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path("omokage-likelihood"))
    parser.add_argument("--epochs", type=int, help="in place of the run's own number")
    parser.add_argument("--draws", type=int, default=5000)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--evaluation", action="store_true", help="time log_likelihood alone")
    chosen = parser.parse_args()
    if chosen.evaluation:
        evaluation(10_000, chosen.draws)
        return
    if chosen.table or chosen.name is None:
        table(chosen.folder)
        return
    chosen.folder.mkdir(parents=True, exist_ok=True)
    result = run(chosen.name, chosen.seed, chosen.folder, chosen.epochs, chosen.draws, chosen.device)
    (chosen.folder / f"{chosen.name}-{chosen.seed}.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()

"""How fast does omokage train, side by side with its peers, when every contender does the same work?

Two workloads, the same network, batch, optimizer and objective for all (see `contenders.py`):

* digits: 16,000 × 784 (MNIST, first 16,000 images, mean image subtracted), VAE 784-1000-10-1000-784, batch
  100;
* table: 20,000 × 20 (four random factors and noise), VAE 20-128-64-32-4 and back, batch 100.

Every contender runs in fresh processes, one after the other, in rounds whose order rotates; the first epoch
of a process (compilation, warm-up) does not count. A process's time is the median of its other epochs, and
a ratio divides two times of the same round. Reported: median, least and greatest over the rounds.

Prediction: an epoch of small layers is mostly overhead. PyTorch pays it per operation and per step, so
whole epochs in one compiled program should need at most 0.4 of a tuned eager loop and 0.2 of PyOD on the
table; on the digits matrix products dominate, and what is left to gain is the optimizer's passes over the
memory: at most 0.9 of tuned eager and 0.5 of a notebook-style loop. "bare JAX" is the same scan written by
hand: what omokage takes above it is the library's own overhead.

Run: `python benchmarks/speed.py` (about 6 minutes on two cores), with the packages of
`requirements-peers.txt`. OMOKAGE_DATA names the folder that holds `mnist/`; without it random digits of the
same shape stand in. Peers that are not installed are left out and named.
"""

import gzip
import importlib.util
import math
import os
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import measure
import numpy as np

CONTENDERS = measure.HERE / "contenders.py"
NEEDS = {"omokage": "omokage", "bare": "jax", "PyTorch,": "torch", "pythae": "pythae", "PyOD,": "pyod"}


@dataclass(frozen=True)
class Workload:
    """One table of the report: the data, the network, who runs, and the ratios promised."""

    name: str
    hidden: tuple[int, ...]
    latent_dim: int
    epochs: int
    contenders: tuple[str, ...]
    targets: dict[str, float]


DIGITS = Workload(
    "digits",
    hidden=(1000,),
    latent_dim=10,
    epochs=6,
    contenders=(
        "omokage",
        "bare JAX",
        "PyTorch, tuned",
        "PyTorch, tuned and compiled",
        "PyTorch, notebook style",
        "pythae",
    ),
    targets={"PyTorch, notebook style": 0.5, "PyTorch, tuned": 0.9},
)
TABLE = Workload(
    "table",
    hidden=(128, 64, 32),
    latent_dim=4,
    epochs=11,
    contenders=(
        "omokage",
        "bare JAX",
        "PyTorch, tuned",
        "PyTorch, tuned and compiled",
        "PyOD, extras off",
        "PyOD, as it comes",
    ),
    targets={"PyTorch, tuned": 0.4, "PyOD, extras off": 0.2},
)


def digits() -> tuple[np.ndarray, str]:
    """The first 16,000 MNIST images, centred, or random numbers of that shape; and words that say which."""
    folder = os.environ.get("OMOKAGE_DATA")
    path = Path(folder or ".") / "mnist" / "train-images-idx3-ubyte.gz"
    if folder and path.exists():
        images = np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=16).reshape(-1, 784)
        X, told = images[:16000] / 255, "MNIST, its first 16,000 training images"
    else:
        X = np.random.default_rng(0).random((16000, 784)) ** 4
        told = "**random numbers of MNIST's shape** (OMOKAGE_DATA holds no MNIST)"
    return (X - X.mean(axis=0)).astype(np.float32), told


def factors() -> tuple[np.ndarray, str]:
    """A random table of 20,000 × 20: four normal factors, mixed, and noise."""
    generator = np.random.default_rng(0)
    signal = generator.standard_normal((20000, 4)) @ generator.standard_normal((4, 20))
    X = signal + 0.5 * generator.standard_normal(signal.shape)
    return X.astype(np.float32), "random numbers, made from four factors and noise"


def run_rounds(workload: Workload, data: Path, rounds: int, patience: float) -> dict[str, list[dict[str, Any]]]:
    """Run every available contender once a round and collect what each process reported."""
    available = [name for name in workload.contenders if importlib.util.find_spec(NEEDS[name.split()[0]]) is not None]
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in available}
    network = ["--hidden", ",".join(map(str, workload.hidden)), "--latent", workload.latent_dim]
    for number in range(rounds):
        shift = number % len(available)
        for name in available[shift:] + available[:shift]:
            if name not in results:
                continue
            patience -= measure.wait_until_idle(patience)
            measure.progress(f"{workload.name}, round {number + 1} of {rounds}: {name}")
            try:
                result = measure.run_fresh(CONTENDERS, [name, data, *network, "--epochs", workload.epochs])
            except RuntimeError as problem:
                if name == "omokage":
                    raise
                # A peer that cannot run here (no C++ compiler, say) must not cost the others their figures.
                measure.progress(str(problem))
                results.pop(name)
                continue
            results[name].append({**result, "epoch": statistics.median(result["epoch_seconds"][1:])})
    return results


def report(workload: Workload, results: dict[str, list[dict[str, Any]]], told: str, X: np.ndarray) -> str:
    """The Markdown section of one workload."""
    ours = [result["epoch"] for result in results.get("omokage", [])]
    rows = []
    for name, runs in results.items():
        objective = statistics.median(run["objective"] for run in runs)
        epochs = [run["epoch"] for run in runs]
        ratios = [our / their for our, their in zip(ours, epochs, strict=False)]
        target = workload.targets.get(name)
        rows.append(
            (
                name,
                measure.spread(epochs, 3),
                measure.spread(run["epoch_seconds"][0] for run in runs),
                "" if name == "omokage" or not ratios else measure.spread(ratios),
                measure.verdict(statistics.median(ratios), target) if target and ratios else "",
                "" if math.isnan(objective) else f"{objective:.2f}",
            )
        )
    absent = [name for name in workload.contenders if name not in results]
    widths = "-".join(map(str, (X.shape[1], *workload.hidden, workload.latent_dim)))
    heading = f"## {workload.name.capitalize()}: {X.shape[0]:,} × {X.shape[1]}, VAE {widths} and back, batch 100"
    header = (
        "contender",
        "seconds per epoch",
        "first epoch, seconds",
        "omokage / contender",
        "target",
        f"½‖x − x̂‖² + KL after {workload.epochs} epochs, nats",
    )
    note = f"Data: {told}. Median (least-greatest) over {max(map(len, results.values()), default=0)} rounds."
    if absent:
        note += f" Not run here: {', '.join(absent)}."
    return f"{heading}\n\n{note}\n\n{measure.table(header, rows)}"


def main() -> None:
    """Run both workloads and print the tables."""
    parser = measure.parser(__doc__, timed=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=["digits", "table"], help="run one of the two workloads")
    chosen = parser.parse_args()
    sections = []
    with tempfile.TemporaryDirectory() as folder:
        for workload, make in ((DIGITS, digits), (TABLE, factors)):
            if chosen.only in (None, workload.name):
                X, told = make()
                path = Path(folder) / f"{workload.name}.npy"
                np.save(path, X)
                sections.append(report(workload, run_rounds(workload, path, chosen.rounds, chosen.patience), told, X))
    packages = ["omokage", "jax", "optax", "torch", "pythae", "pyod"]
    measure.publish("Training speed", sections, packages, chosen.out)


if __name__ == "__main__":
    main()

"""How long does a convolutional autoencoder of MNIST take to an error of 0.0055 a pixel, beside PyTorch's convolutions?

The work: the first 20,000 MNIST pictures, of which 4,000 are held out (drawn evenly from the classes), the mean picture
taken away; 30 latent dimensions; squared error; Adam with the one-cycle schedule, peak 0.006; batches of 128. Ours is
`AutoEncoder(network="conv")` as it comes, 233,518 parameters; theirs is the usual stack of 4 × 4 kernels with stride 2,
32 and 64 channels, 258,015 parameters. Each is given the number of epochs after which it is below 0.0055 (found on
rows held out from the training part: 10 for ours, 11 for theirs), and the time is that of the whole fit.

Each contender runs in fresh processes, one after the other, in rounds whose order rotates. "All" includes compiling.

Prediction: as matrix products of patches a step takes about half of PyTorch's; so at most 0.8 with compiling, and 0.6
without.

Run: `python benchmarks/convolution.py` (about 6 minutes on two cores), with the packages of `requirements-peers.txt`.
OMOKAGE_DATA names the folder that holds `mnist/`, which this cannot do without.
"""

import gzip
import json
import math
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import measure
import numpy as np

RATE, BATCH, TARGET = 2e-3, 128, 0.0055
EPOCHS = {"omokage": 10, "PyTorch": 11}


def pictures() -> tuple[np.ndarray, np.ndarray]:
    """Training and held-out pictures, (n, 28, 28), without their mean."""
    from sklearn.model_selection import train_test_split

    folder = Path(os.environ.get("OMOKAGE_DATA") or ".") / "mnist"
    images, labels = (
        np.frombuffer(gzip.decompress((folder / f"train-{name}-ubyte.gz").read_bytes()), np.uint8, offset=offset)
        for name, offset in (("images-idx3", 16), ("labels-idx1", 8))
    )
    X = images.reshape(-1, 28, 28)[:20_000] / 255
    train, test = train_test_split(X, test_size=4000, random_state=4649, stratify=labels[:20_000])
    return (train - train.mean(0)).astype(np.float32), (test - train.mean(0)).astype(np.float32)


def omokage(train: np.ndarray, test: np.ndarray, epochs: int) -> dict[str, float]:
    """This library, through its public estimator."""
    import omokage as om

    began = time.perf_counter()
    settings: dict[str, Any] = {"batch_size": BATCH, "learning_rate": RATE, "epochs": epochs, "verbose": 0}
    ae = om.AutoEncoder(30, data="images", standardize=False, **settings).fit(train)
    seconds = time.perf_counter() - began
    later = [record["seconds"] for record in ae.history_][1:]
    error = float(np.square(ae.reconstruct(test) - test).mean())
    return {"seconds": seconds, "trained": epochs * statistics.median(later), "error": error}


def pytorch(train: np.ndarray, test: np.ndarray, epochs: int) -> dict[str, float]:
    """A tuned eager loop over the usual layers."""
    import torch
    from torch import nn

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.manual_seed(0)
    rows, held_out = (torch.from_numpy(X)[:, None] for X in (train, test))
    network = nn.Sequential(
        nn.Conv2d(1, 32, 4, 2, 1), nn.ReLU(), nn.Conv2d(32, 64, 4, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(3136, 30),
        nn.Linear(30, 3136), nn.ReLU(), nn.Unflatten(1, (64, 7, 7)),
        nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(32, 1, 4, 2, 1),
    )  # fmt: skip
    began = time.perf_counter()
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE, fused=True)
    step, total, ends = 0, epochs * -(-len(rows) // BATCH), []
    for _ in range(epochs):
        for x in rows[torch.randperm(len(rows))].split(BATCH):
            done = step / total
            rise = 0.1 + 29 * done if done < 0.1 else 1.5 * (1 + math.cos(math.pi * (done - 0.1) / 0.9))
            for group in optimizer.param_groups:
                group["lr"] = RATE * rise
            loss = (network(x) - x).square().sum() / len(x)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            step += 1
        ends.append(time.perf_counter())
    with torch.no_grad():
        error = float((network(held_out) - held_out).square().mean())
    return {
        "seconds": ends[-1] - began,
        "trained": epochs * statistics.median(np.diff(ends)),
        "error": error,
    }


CONTENDERS: dict[str, Any] = {"omokage": omokage, "PyTorch": pytorch}


def main() -> None:
    """Run the rounds and print the table."""
    if len(sys.argv) == 2 and sys.argv[1] in CONTENDERS:
        print(json.dumps(CONTENDERS[sys.argv[1]](*pictures(), EPOCHS[sys.argv[1]])))
        return
    parser = measure.parser(__doc__, timed=True)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    contenders = {name: [name] for name in CONTENDERS}
    results = measure.run_rounds(Path(__file__), contenders, chosen.rounds, chosen.patience)
    rows = []
    for name, runs in results.items():
        ratios = [
            [ours[key] / theirs[key] for ours, theirs in zip(results["omokage"], results["PyTorch"], strict=True)]
            for key in ("seconds", "trained")
        ]
        ours = name == "omokage"
        rows.append(
            (
                name,
                EPOCHS[name],
                f"{statistics.median(run['error'] for run in runs):.5f}",
                measure.spread((run["seconds"] for run in runs), 1),
                measure.spread((run["trained"] for run in runs), 1),
                measure.spread(ratios[0]) if ours else "",
                measure.spread(ratios[1]) if ours else "",
                measure.verdict(statistics.median(ratios[0]), 1.0) if ours else "",
            )
        )
    header = (
        "contender",
        "epochs",
        "held-out error per pixel",
        "seconds, all",
        "seconds, without the extra time of the first epoch",
        "ratio, all",
        "ratio, without",
        "target",
    )
    packages = ["omokage", "jax", "torch"]
    measure.publish("Convolutional autoencoder to 0.0055", [measure.table(header, rows)], packages, chosen.out)


if __name__ == "__main__":
    main()

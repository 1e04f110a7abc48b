"""How fast does a recurrent VAE train, beside the same network with PyTorch's `nn.GRU`?

The work: pictures of 28 × 28 as 28 steps of 28 channels, 54,000 of them; GRU 28-40, z of 3, z repeated at each step,
GRU 3-40, dense 40-28, 15,194 parameters; cross-entropy + 7.92 KL in nats per row; batches of 64, Nadam at 0.002, rows
reshuffled every epoch.

Each contender runs in fresh processes, one after the other, in rounds whose order rotates; the first epoch of a process
(compilation, warm-up) does not count. A ratio divides two times of the same round.

Prediction: PyTorch pays some hundred microseconds for each step of a sequence and each direction of time, we a
tenth of it inside one compiled loop, where the recurrent products of 64 × 40 × 120 are what is left: about 0.3.

Run: `python benchmarks/sequences.py` (about 6 minutes on two cores), with the packages of `requirements-peers.txt`.
OMOKAGE_DATA names the folder that holds `mnist/`; without it random digits of the same shape stand in.
"""

import gzip
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import measure
import numpy as np

ROWS, BATCH, BETA, TARGET = 54_000, 64, 0.01 * 784 / 0.99, 0.35


def pictures() -> np.ndarray:
    """The first 54,000 MNIST pictures, or random numbers of that shape, (n, 28, 28) in [0, 1]."""
    path = Path(os.environ.get("OMOKAGE_DATA") or ".") / "mnist" / "train-images-idx3-ubyte.gz"
    if path.exists():
        images = np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=16).reshape(-1, 28, 28)
        return (images[:ROWS] / 255).astype(np.float32)
    return (np.random.default_rng(0).random((ROWS, 28, 28)) ** 4).astype(np.float32)


def omokage(X: np.ndarray, epochs: int) -> tuple[list[float], float]:
    """This library, through its public estimator."""
    import omokage as om

    vae = om.VAE(
        latent_dim=3,
        hidden=(40,),
        network=om.nets.Recurrent(feed="repeated", update_bias=0.0),
        likelihood="bernoulli",
        objective=om.objectives.ELBO(beta=BETA),
        optimizer="nadam",
        learning_rate=0.002,
        schedule="constant",
        batch_size=BATCH,
        epochs=epochs,
        verbose=0,
    ).fit(X)
    return [record["seconds"] for record in vae.history_], vae.history_[-1]["loss"]


def pytorch(X: np.ndarray, epochs: int) -> tuple[list[float], float]:
    """A tuned eager loop: one gather an epoch, the fastest implementation of Nadam there is, nothing fetched."""
    import torch
    from torch import nn

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    rows = torch.from_numpy(X)

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.decoder = nn.GRU(28, 40, batch_first=True), nn.GRU(3, 40, batch_first=True)
            self.heads, self.output = nn.Linear(40, 6), nn.Linear(40, 28)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            mean, log_variance = self.heads(self.encoder(x)[1][0]).chunk(2, dim=-1)
            z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
            logits = self.output(self.decoder(z[:, None].expand(-1, 28, -1).contiguous())[0])
            error = nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="sum")
            kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum()
            return (error + BETA * kl) / len(x)

    network = Network()
    optimizer = torch.optim.NAdam(network.parameters(), lr=0.002, foreach=True)
    seconds, total = [], torch.zeros(())
    for _ in range(epochs):
        began, total = time.perf_counter(), torch.zeros(())
        for x in rows[torch.randperm(len(rows))].split(BATCH):
            loss = network(x)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(x)
        seconds.append(time.perf_counter() - began)
    return seconds, float(total) / len(rows)


CONTENDERS: dict[str, Any] = {"omokage": omokage, "PyTorch": pytorch}


def main() -> None:
    """Run the rounds and print the table."""
    if len(sys.argv) == 3 and sys.argv[1] in CONTENDERS:
        seconds, loss = CONTENDERS[sys.argv[1]](pictures(), int(sys.argv[2]))
        print(json.dumps({"seconds": statistics.median(seconds[1:]), "loss": loss}))
        return
    parser = measure.parser(__doc__, timed=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=3)
    chosen = parser.parse_args()
    contenders = {name: [name, chosen.epochs] for name in CONTENDERS}
    results = measure.run_rounds(Path(__file__), contenders, chosen.rounds, chosen.patience)
    pairs = zip(results["omokage"], results["PyTorch"], strict=True)
    ratios = [ours["seconds"] / theirs["seconds"] for ours, theirs in pairs]
    rows = [
        (
            name,
            measure.spread(run["seconds"] for run in runs),
            f"{statistics.median(run['loss'] for run in runs):.1f}",
            measure.spread(ratios) if name == "omokage" else "",
            measure.verdict(statistics.median(ratios), TARGET) if name == "omokage" else "",
        )
        for name, runs in results.items()
    ]
    header = ("contender", "seconds per epoch", f"loss after {chosen.epochs} epochs, nats", "ratio", "target")
    measure.publish("Recurrent VAE", [measure.table(header, rows)], ["omokage", "jax", "torch"], chosen.out)


if __name__ == "__main__":
    main()

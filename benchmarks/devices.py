"""Is a GPU faster, and does it say the same? The same fits and questions on each device that JAX has, in one process.

Data are made up (a few hidden causes, bent, with noise), since only sizes matter here. A fit is made twice and the
second is timed, so that compiling is told apart. The agreement is the largest difference between what one and the same
saved model says of the same rows on the two devices, over the deviation of what it says.

Run: `python benchmarks/devices.py` (a few minutes; where there is no GPU, only the CPU is timed).
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import measure
import numpy as np
from numpy.typing import NDArray

import omokage as om

Rows = NDArray[np.float32]


def bent(rows: int, *shape: int, causes: int = 4) -> Rows:
    """Return rows of a shape that a few hidden causes make, with noise."""
    random = np.random.default_rng(0)
    mixing = random.normal(size=(causes, int(np.prod(shape))))
    x = np.tanh(random.normal(size=(rows, causes)) @ mixing) + 0.1 * random.normal(size=(rows, mixing.shape[1]))
    return x.reshape(rows, *shape).astype(np.float32)


@dataclass(frozen=True)
class Work:
    """A fit and a question; `make(device)` gives the estimator, `ask` what it is asked."""

    name: str
    rows: Callable[[], Rows]
    make: Callable[[str], Any]
    ask: Callable[[Any, Rows], Any]


def _scores(estimator: Any, rows: Rows) -> Any:
    return estimator.score_samples(rows)


WORKS = (
    Work(
        "table 20,000 × 20, VAE 128-64-32, batch 100, 10 epochs",
        lambda: bent(20_000, 20),
        lambda device: om.VAE(32, hidden=(128, 64), epochs=10, device=device, verbose=0),
        _scores,
    ),
    Work(
        "16,000 × 784, VAE 1000-10, batch 100, 5 epochs",
        lambda: bent(16_000, 784),
        lambda device: om.VAE(10, hidden=(1000,), epochs=5, device=device, verbose=0),
        _scores,
    ),
    Work(
        "the same, batch 4,000, 30 epochs",
        lambda: bent(16_000, 784),
        lambda device: om.VAE(10, hidden=(1000,), epochs=30, batch_size=4000, device=device, verbose=0),
        _scores,
    ),
    Work(
        "16,000 pictures 28×28, convolutional AE, batch 128, 3 epochs",
        lambda: bent(16_000, 28, 28, 1),
        lambda device: om.AutoEncoder(30, epochs=3, batch_size=128, device=device, verbose=0),
        _scores,
    ),
    Work(
        "16,000 series 28×28, GRU VAE, batch 64, 3 epochs",
        lambda: bent(16_000, 28, 28),
        lambda device: om.VAE(3, hidden=(40,), epochs=3, batch_size=64, device=device, verbose=0),
        _scores,
    ),
    Work(
        "AnomalyDetector(), 20,000 × 20",
        lambda: bent(20_000, 20),
        lambda device: om.AnomalyDetector({"device": device}, verbose=0),
        _scores,
    ),
)


def run(work: Work, devices: list[str]) -> tuple[str, ...]:
    """Return a row of the table."""
    rows = work.rows()
    fits, asks, answers = {}, {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for device in devices:
            times = []
            for _ in range(2):
                began = time.perf_counter()
                estimator = work.make(device).fit(rows)
                times.append(time.perf_counter() - began)
            fits[device] = times
            if device == devices[0]:
                estimator.save(Path(folder) / "model")
            asked = om.load(Path(folder) / "model")  # the same weights everywhere
            with jax.default_device(jax.devices(device)[0]):
                _set_device(asked, device)
                work.ask(asked, rows)
                began = time.perf_counter()
                answers[device] = np.asarray(work.ask(asked, rows))
                asks[device] = time.perf_counter() - began
        measure.progress(f"{work.name}: {fits} {asks}")
    first, last = devices[0], devices[-1]
    apart = np.abs(answers[first] - answers[last]).max() / answers[first].std()
    cells = []
    for values in ({d: fits[d][1] for d in devices}, asks):
        cells += [f"{values[d]:.2f}" for d in devices]
        cells += [f"{values[last] / values[first]:.2f}"] if len(devices) > 1 else []
    return work.name, *cells, f"{apart:.1e}"


def _set_device(estimator: Any, device: str) -> None:
    """Let a loaded estimator compute on a device."""
    if hasattr(estimator, "device"):
        estimator.device = device
    estimator.fitted_.parameters["device"] = device


def main() -> None:
    """Time each work on each device."""
    parser = measure.parser(__doc__)
    parser.add_argument("--works", type=int, nargs="+", default=range(len(WORKS)), help="which, from 0")
    chosen = parser.parse_args()
    devices = ["cpu", *(["gpu"] if jax.default_backend() == "gpu" else [])]
    shown = ", ".join(str(jax.devices(device)[0].device_kind) for device in devices)
    ratio = ["gpu/cpu"] if len(devices) > 1 else []
    header = ["work", *(f"second fit on {d}, s" for d in devices), *ratio]
    header += [*(f"scores on {d}, s" for d in devices), *ratio, "difference of scores / their deviation"]
    rows = [run(WORKS[number], devices) for number in chosen.works]
    measure.publish("Devices", [f"Devices: {shown}.", measure.table(header, rows)], ("jax", "equinox"), chosen.out)


if __name__ == "__main__":
    main()

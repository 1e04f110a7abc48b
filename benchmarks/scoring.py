"""How many rows of a Parquet file does `omokage score` judge in a second, and in how much memory?

20 million rows of 16 columns in float32, and detectors of one or five VAEs 16-64-16-64-16. "scores": one member's M of
all rows, read from the file, two batches at once as in the command, and kept by nobody. Then the command, as a whole,
from its start to the file that it writes: with p-values, with the three columns to blame, with five members, and with
all defaults. The heavier ones get fewer rows.

Predicted: 2 million scores a second on two cores, half of it reading and standardising; p-values a tenth more,
reasons as much again as the score; five members three times, since reading is shared; the default ten times, since
16 draws and distances to 2,000 points are more than one pass through the model.

Run: `python benchmarks/scoring.py` (some 10 minutes on two cores, 1.2 GB of disk).
"""

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import measure
import numpy as np

COLUMNS, AT_ONCE = 16, 500_000
NAMES = [f"sensor_{j}" for j in range(COLUMNS)]
# Of each: which detector, what more is asked of the command, and which share of the rows it gets.
ASKED: dict[str, tuple[str, tuple[str, ...], float]] = {
    "scores": ("one", (), 1.0),
    "p-values": ("one", (), 1.0),
    "p-values, reasons": ("one", ("--explain", "3"), 0.1),
    "p-values, five members": ("five", (), 0.1),
    "p-values, all defaults": ("default", (), 0.01),
}
KIB_IN_MIB = 1024


def pieces(rows: int) -> Iterator[dict[str, Any]]:
    """Yield rows that four hidden causes move, a piece at a time."""
    random = np.random.default_rng(0)
    mixing = random.normal(size=(4, COLUMNS))
    for start in range(0, rows, AT_ONCE):
        count = min(AT_ONCE, rows - start)
        noise = 0.1 * random.normal(size=(count, COLUMNS))
        table = (np.tanh(random.normal(size=(count, 4)) @ mixing) + noise).astype(np.float32)
        yield {"id": np.arange(start, start + count), **dict(zip(NAMES, table.T, strict=True))}


def prepare(folder: Path, rows: int) -> None:
    """Write the files and the detectors."""
    import pandas as pd

    import omokage as om
    from omokage.files.writing import write_table

    for share in sorted({share for _, _, share in ASKED.values()}):
        write_table(folder / f"{share:g}.parquet", pieces(round(rows * share)))
    training = pd.DataFrame(next(pieces(20_000))).drop(columns="id")
    member = om.VAE(16, hidden=(64,), epochs=10, verbose=0)
    settings: dict[str, Any] = {"score": "mahalanobis", "calibration": "split", "verbose": 0, "random_state": 0}
    om.AnomalyDetector(member, ensemble=1, **settings).fit(training).save(folder / "one")
    om.AnomalyDetector(member, ensemble=5, **settings).fit(training).save(folder / "five")
    om.AnomalyDetector(verbose=0, random_state=0).fit(training).save(folder / "default")


def scores_alone(folder: Path, file: Path) -> float:
    """Return seconds of scoring a file in this process."""
    import omokage as om
    from omokage.commands.parts import in_order
    from omokage.commands.sources import Source, batches_of

    detector = om.load(folder / "one")
    source = Source(str(file), ("id",))

    def total(_: int, batch: Any) -> float:
        return float(detector.score_samples(batch.drop("id")).sum())

    total(*next(batches_of(source)))  # compiles
    began = time.perf_counter()
    sum(in_order(total, batches_of(source)))
    return time.perf_counter() - began


def command(folder: Path, model: str, file: Path, more: tuple[str, ...]) -> float:
    """Return seconds of the command."""
    out = folder / "out.parquet"
    out.unlink(missing_ok=True)
    line = [sys.executable, "-m", "omokage", "score", folder / model, file, "--id", "id", "--out", out, *more]
    began = time.perf_counter()
    subprocess.run([str(part) for part in line], check=True, capture_output=True)
    return time.perf_counter() - began


def main() -> None:
    """Run all and print a table; or one in this process."""
    parser = measure.parser(__doc__, timed=True)
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", nargs=2, metavar=("WHAT", "FOLDER"))
    chosen = parser.parse_args()
    if chosen.one:
        what, folder = chosen.one[0], Path(chosen.one[1])
        model, more, share = ASKED[what]
        file = folder / f"{share:g}.parquet"
        seconds = scores_alone(folder, file) if what == "scores" else command(folder, model, file, more)
        whose = resource.RUSAGE_SELF if what == "scores" else resource.RUSAGE_CHILDREN
        print(json.dumps({"seconds": seconds, "memory": resource.getrusage(whose).ru_maxrss / KIB_IN_MIB}))
        return
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), chosen.rows)
        contenders = {what: ["--one", what, folder] for what in ASKED}
        found = measure.run_rounds(measure.HERE / "scoring.py", contenders, chosen.rounds, chosen.patience)
    table = []
    for what, (_, _, share) in ASKED.items():
        times, rows = [one["seconds"] for one in found[what]], chosen.rows * share
        memory = max(one["memory"] for one in found[what])
        speed = rows / statistics.median(times)
        table.append((what, f"{rows:,.0f}", measure.spread(times, 1), f"{speed:,.0f}", f"{memory:.0f} MiB"))
    header = ("asked for", "rows", "seconds", "rows per second", "most memory")
    measure.publish("Scoring a long file", [measure.table(header, table)], ("omokage", "jax", "polars"), chosen.out)


if __name__ == "__main__":
    main()

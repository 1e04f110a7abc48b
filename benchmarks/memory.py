"""Does training on a file larger than memory need memory that grows with the file?

One process writes a Parquet file of N × 20 float32 (four factors and noise, row groups of 250,000 rows, at
flat memory). A fresh one imports omokage, its estimators and JAX, notes its resident memory, fits
`om.VAE(hidden=(64, 32), latent_dim=4, epochs=1, batch_size=1000, verbose=0)` on the file's path, and
reports the peak of its resident memory (VmHWM of Linux) less what it held after importing. File pages that
the operating system maps into the process count as resident although it can drop them at any time, so the
peak of the anonymous part, sampled every 20 ms, stands beside.

Prediction: chunks of fixed size stream through one compiled program, so the peak stays within 1.5 GB above
the imports for 5,000,000 rows and does not move (within 10 %) for 20,000,000, whose values alone take 1.6
GB.

Run: `python benchmarks/memory.py` (a few minutes, 2 GB of temporary disk space; Linux).
"""

import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import measure

FEATURES = 20
ROW_GROUP = 250_000
SIZES = (5_000_000, 20_000_000)


def write(path: Path, rows: int) -> dict[str, Any]:
    """Write the Parquet file, a row group at a time."""
    import numpy as np
    import polars as pl
    from polars.io.plugins import register_io_source

    schema = pl.Schema({f"sensor_{number:02d}": pl.Float32 for number in range(FEATURES)})

    def source(columns: Any, predicate: Any, n_rows: Any, batch_size: Any) -> Iterator[pl.DataFrame]:
        generator = np.random.default_rng(0)
        mixing = generator.standard_normal((4, FEATURES), dtype=np.float32)
        for start in range(0, rows, ROW_GROUP):
            count = min(ROW_GROUP, rows - start)
            noise = generator.standard_normal((count, FEATURES), dtype=np.float32)
            yield pl.DataFrame(generator.standard_normal((count, 4), dtype=np.float32) @ mixing + noise / 2, schema)

    register_io_source(source, schema=schema).sink_parquet(path, row_group_size=ROW_GROUP)
    return {"bytes": path.stat().st_size, "peak": status("VmHWM")}


def status(field: str) -> int:
    """A field of /proc/self/status in bytes, such as VmRSS (resident now) or VmHWM (its peak so far)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


class AnonymousPeak:
    """The peak of resident memory that no file backs, sampled by a thread."""

    def __init__(self) -> None:
        self.peak = 0
        self.running = True
        self.thread = threading.Thread(target=self.sample, daemon=True)
        self.thread.start()

    def sample(self) -> None:
        while self.running:
            self.peak = max(self.peak, status("RssAnon"))
            time.sleep(0.02)

    def stop(self) -> int:
        self.running = False
        self.thread.join()
        return self.peak


def fit(path: Path, rows: int) -> dict[str, Any]:
    """Fit on the file's path and report memory in bytes and time in seconds."""
    import jax  # noqa: F401

    import omokage as om

    vae = om.VAE(hidden=(64, 32), latent_dim=4, epochs=1, batch_size=1000, verbose=0)
    imported, anonymous = status("VmRSS"), status("RssAnon")
    sampler = AnonymousPeak()
    begin = time.perf_counter()
    vae.fit(str(path))
    elapsed = time.perf_counter() - begin
    return {
        "imported": imported,
        "peak": status("VmHWM") - imported,
        "anonymous": sampler.stop() - anonymous,
        "seconds": elapsed,
        "rows": rows,
    }


def main() -> None:
    """Write and fit for both sizes, each step in a fresh process, and print the table."""
    if len(sys.argv) == 5 and sys.argv[1] == "--step":
        step = {"write": write, "fit": fit}[sys.argv[2]]
        print(json.dumps(step(Path(sys.argv[3]), int(sys.argv[4]))))
        return
    parser = measure.parser(__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=SIZES, help="numbers of rows, the smallest first")
    chosen = parser.parse_args()
    results, rows = [], []
    for count in chosen.rows:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "rows.parquet"
            measure.progress(f"writing {count:,} rows")
            written = measure.run_fresh(Path(__file__), ["--step", "write", path, count])
            measure.progress(f"fitting {count:,} rows")
            result = measure.run_fresh(Path(__file__), ["--step", "fit", path, count])
        results.append(result)
        if len(results) == 1:
            target = measure.verdict(result["peak"] / 1e9, 1.5) + " (GB)"
        else:
            target = measure.verdict(result["peak"] / results[0]["peak"], 1.1) + " (of the first)"
        rows.append(
            (
                f"{count:,}",
                f"{written['bytes'] / 1e9:.2f}",
                f"{result['imported'] / 1e9:.2f}",
                f"{result['peak'] / 1e9:.2f}",
                target,
                f"{result['anonymous'] / 1e9:.2f}",
                f"{result['seconds']:.1f}",
                f"{count / result['seconds']:,.0f}",
            )
        )
    header = (
        f"rows × {FEATURES}",
        "file, GB",
        "resident after import, GB",
        "peak above import, GB",
        "target",
        "of it anonymous, GB",
        "fit, s",
        "rows/s",
    )
    note = (
        "`fit` gets the path of a Parquet file and trains for one epoch, with batches of 1,000 and a network "
        "20-64-32-4 and back. The time includes reading the file for its statistics, compiling and training."
    )
    measure.publish("Memory", [note, measure.table(header, rows)], ["omokage", "jax", "polars"], chosen.out)


if __name__ == "__main__":
    main()

"""How long does a user wait from an empty shell to the first fitted model?

A fresh process imports omokage, makes 1,000 × 10 random numbers and fits `om.VAE(epochs=10, verbose=0)`,
all other settings at their defaults; the clock runs from before the process starts until it reports the
fitted model. "Cold" means an empty compilation cache (a new folder in OMOKAGE_CACHE each time), "warm" a
cache filled by an earlier process. Beside it: the bare import, what of it is JAX, and the command line's
help, which should import nothing heavy.

Prediction: JAX's import costs about a second and compilation one to three for each compiled shape, so at
most 6 s cold and 3.5 s warm; the help needs neither and answers within 0.5 s.

Run: `python benchmarks/startup.py` (about a minute). The operating system's file cache is warm in all runs.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import measure

FIT = """
import numpy as np
import omokage as om
X = np.random.default_rng(0).standard_normal((1000, 10)).astype(np.float32)
om.VAE(epochs=10, verbose=0).fit(X)
print("fitted", flush=True)
"""
PYTHON = sys.executable


def seconds(command: list[str], cache: str, awaited: str = "") -> float:
    """Wall time of a process until it prints a line that starts with `awaited`; until its end where empty."""
    environment = {**os.environ, "OMOKAGE_CACHE": cache}
    begin = time.perf_counter()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        elapsed = None
        for line in process.stdout:
            if awaited and elapsed is None and line.startswith(awaited):
                elapsed = time.perf_counter() - begin
        told = process.stderr.read()
    if process.returncode or (awaited and elapsed is None):
        raise RuntimeError(f"{' '.join(command[1:3])} ended with code {process.returncode}:\n{told[-2000:]}")
    return elapsed if elapsed is not None else time.perf_counter() - begin


def main() -> None:
    """Measure each wait several times, alternating, and print the table."""
    parser = measure.parser(__doc__, timed=True)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    fit, patience = [PYTHON, "-c", FIT], chosen.patience
    others = {
        "`import omokage` and its estimators": [PYTHON, "-c", "import omokage; omokage.VAE"],
        "`import omokage` alone": [PYTHON, "-c", "import omokage"],
        "`import jax` alone": [PYTHON, "-c", "import jax"],
        "`python -m omokage --help`": [PYTHON, "-m", "omokage", "--help"],
        "an empty Python process": [PYTHON, "-c", "pass"],
    }
    cold, warm = "first fitted model, cold cache", "first fitted model, warm cache"
    times: dict[str, list[float]] = {name: [] for name in (cold, warm, *others)}
    failed: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        kept = str(Path(folder) / "kept")
        seconds(fit, kept, "fitted")
        for number in range(chosen.rounds):
            patience -= measure.wait_until_idle(patience)
            measure.progress(f"round {number + 1} of {chosen.rounds}")
            times[cold].append(seconds(fit, str(Path(folder) / f"cold-{number}"), "fitted"))
            times[warm].append(seconds(fit, kept, "fitted"))
            for name, command in others.items():
                try:
                    times[name].append(seconds(command, kept))
                except RuntimeError as problem:
                    failed[name] = str(problem).splitlines()[-1]
        entries = sum(1 for path in Path(kept).rglob("*") if path.is_file())
    targets = {cold: 6.0, warm: 3.5, "`python -m omokage --help`": 0.5}
    rows = [
        (
            name,
            measure.spread(values),
            measure.verdict(statistics.median(values), targets[name]) if name in targets else "",
        )
        for name, values in times.items()
        if values
    ]
    sections = [
        f"Wall time of fresh processes, {chosen.rounds} runs each: median (least-greatest). The model is "
        "`om.VAE(epochs=10, verbose=0)` on 1,000 × 10 random numbers.",
        measure.table(("from the start of a process to", "seconds", "target, seconds"), rows),
    ]
    if not entries:
        sections.append("The kept cache folder stayed empty: nothing was cached, so *warm* is cold here.")
    sections += [f"Failed: {name}: {reason}" for name, reason in failed.items()]
    measure.publish("Startup", sections, ["omokage", "jax", "equinox", "polars", "scikit-learn"], chosen.out)


if __name__ == "__main__":
    main()

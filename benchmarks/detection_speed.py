"""How long do fitting and scoring an anomaly detector take, beside PyOD's VAE in the same run?

The same work: 20,000 rows of 20 columns, a VAE 20-128-64-32-4 and back, batch 100, the same number of steps, scores by
reconstruction of 20,000 other rows. PyOD's extras (dropout, weight decay, standardising each row each time it is read)
are off. The first epoch of a process, in which ours is compiled, is told apart.

All defaults: 13 sets of ADBench, split as published; `AnomalyDetector()` with its ensemble, neighbours and calibration
against `pyod.models.vae.VAE()`; fitting and scoring all of them in one fresh process, compilation included, with an
empty cache.

Predicted: training 7 times as fast (a table of `speed.py` says so), scoring 10 times, since PyOD scores in minibatches
from a loader of single rows; all defaults no slower: an ensemble of five costs what five cost, but a step of ours costs
a tenth.

Run: `OMOKAGE_DATA=... python benchmarks/detection_speed.py` (some 15 minutes on two cores).
"""

import importlib.util
import json
import statistics
import sys
import time
import warnings
from typing import Any

import anomaly
import measure
import numpy as np
import speed

HIDDEN, LATENT, BATCH, EPOCHS = (128, 64, 32), 4, 100, 8


def same_work(who: str) -> dict[str, Any]:
    """Return seconds of an epoch and of scoring 20,000 rows: of the first, and the median of the others."""
    rows, _ = speed.factors()
    new = speed.factors()[0][::-1].copy()
    scorer: Any
    if who == "omokage":
        import omokage as om

        model = om.VAE(LATENT, hidden=HIDDEN, batch_size=BATCH, epochs=EPOCHS, standardize=False, verbose=0)
        # Of 25,000 rows a fifth calibrates, so that both train on 20,000.
        more = np.concatenate([rows, rows[:5000]])
        detector = om.AnomalyDetector(model, score="reconstruction", ensemble=1, calibration="split", verbose=0)
        epochs = [record["seconds"] for record in detector.fit(more).history_]
        scorer = detector.score_samples
    else:
        import contenders
        from pyod.models.vae import VAE

        began, kept = time.perf_counter(), {}
        fit = VAE.fit

        def fitted(self: Any, *given: Any) -> Any:
            kept["detector"] = self
            return fit(self, *given)

        VAE.fit = fitted
        ends, _ = contenders.pyod(rows, HIDDEN, LATENT, BATCH, EPOCHS)
        epochs = [end - start for start, end in zip([began, *ends], ends, strict=False)]
        scorer = kept["detector"].decision_function
    times = []
    for _ in range(31):
        began = time.perf_counter()
        scorer(new)
        times.append(time.perf_counter() - began)
    return {
        "first": epochs[0],
        "epoch": statistics.median(epochs[1:]),
        "first scoring": times[0],
        "scoring": statistics.median(times[1:]),
    }


def all_defaults(who: str) -> dict[str, Any]:
    """Return seconds of fitting and of scoring all sets."""
    contender = anomaly.detector if who == "omokage" else anomaly.pyod_vae
    fitting = scoring = 0.0
    for name in anomaly.SETS:
        rows, new, _ = anomaly.split(name, "published", 0)
        began = time.perf_counter()
        score = next(iter(contender(rows, 0).values()))
        middle = time.perf_counter()
        score(new)
        fitting, scoring = fitting + middle - began, scoring + time.perf_counter() - middle
    return {"fitting": fitting, "scoring": scoring, "both": fitting + scoring}


PARTS = {"same": same_work, "defaults": all_defaults}


def section(part: str, rounds: int, patience: float, targets: dict[str, float]) -> str:
    """Return the table of a part."""
    here = measure.HERE / "detection_speed.py"
    found = measure.run_rounds(here, {who: ["--one", part, who] for who in ("omokage", "PyOD")}, rounds, patience)
    rows = []
    for figure in found["omokage"][0]:
        ours, theirs = ([one[figure] for one in found[who]] for who in ("omokage", "PyOD"))
        ratio = [their / our for our, their in zip(ours, theirs, strict=True)]
        target = targets.get(figure)
        verdict = f"≥ {target:g}: {'met' if statistics.median(ratio) >= target else 'missed'}" if target else ""
        rows.append((figure, measure.spread(ours), measure.spread(theirs), measure.spread(ratio), verdict))
    return measure.table(("seconds of", "omokage", "PyOD", "PyOD / omokage", "target"), rows)


def main() -> None:
    """Run both parts and print the tables; or one contender of one part in this process."""
    parser = measure.parser(__doc__, timed=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", nargs=2, metavar=("PART", "WHO"))
    chosen = parser.parse_args()
    if chosen.one:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            print(json.dumps(PARTS[chosen.one[0]](chosen.one[1])))
        return
    if importlib.util.find_spec("pyod") is None:
        sys.exit("PyOD is not installed; see requirements-peers.txt.")
    same = section("same", chosen.rounds, chosen.patience, {"epoch": 5, "scoring": 10})
    defaults = section("defaults", max(1, chosen.rounds - 1), chosen.patience, {"both": 1})
    texts = ["## The same work", same, "## All defaults, 13 sets", defaults]
    measure.publish("Speed of anomaly detection", texts, ("omokage", "jax", "torch", "pyod"), chosen.out)


if __name__ == "__main__":
    main()

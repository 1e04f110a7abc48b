"""Do p-values mean what they say? The rate of false alarms of `AnomalyDetector` on normal rows that it has not seen.

Normal rows of ten sets of ADBench, each row once, at most 4,000 of a set; in each of 20 splits, drawn anew, half of
them are fitted on with all defaults and the other half is judged. Nothing here looks at an anomaly.

What to expect of "split", where n rows calibrate: the mean rate at α is floor(α(n + 1)) / (n + 1), and over splits
the number of false alarms among m rows is beta-binomial. Of "cross" theory promises only twice α; what it does is seen
here.
Kolmogorov-Smirnov: whether p-values of the m rows are uniform, as a two-sample test of n and m (asymptotic), at 5 %.

With `--simulated` rows are drawn instead: n rows of d independent normal columns, for few and many of both, where any
leak of a calibrating row into its model shows at once; 2,000 new rows are judged. Errors are those of the mean over the
fits: by their spread, or by the beta-binomial law of the calibration rows where that is larger.

Each result is a line of a file, and what is there is not run again.

Run: `OMOKAGE_DATA=... python benchmarks/calibration.py --jobs 2` (200 fits of each kind), and
`python benchmarks/calibration.py --simulated --splits 3 --kinds cross split 0.5` (81 fits).
"""

import json
import math
import warnings
from pathlib import Path
from typing import Any

import anomaly
import measure
import numpy as np
from scipy.stats import betabinom, kstwobign

import omokage as om

SETS = (
    "2_annthyroid", "5_campaign", "6_cardio", "12_fault", "19_landsat", "22_magic.gamma", "24_mnist", "26_optdigits",
    "32_shuttle", "41_Waveform",
)  # fmt: skip
RATES = (0.01, 0.05, 0.1)
MOST = 4000
ROWS, COLUMNS, NEW = (20, 60, 200), (20, 500, 2000), 2000  # of simulated rows


def rows_of(name: str, seed: int) -> list[Any]:
    """Return the rows of one split that are fitted on, and those that are judged."""
    random = np.random.default_rng([seed, 1])
    if "x" in name and name.replace("x", "").isdigit():
        count, columns = map(int, name.split("x"))
        return np.split(np.random.default_rng([seed, count, columns]).normal(size=(count + NEW, columns)), [count])
    rows = anomaly.normal_rows(name)
    return np.array_split(rows[random.permutation(len(rows))[:MOST]], 2)


def run(job: tuple[str, str, int, int | None]) -> dict[str, Any]:
    """Return the false alarms of one split."""
    name, calibration, seed, epochs = job
    training, new = rows_of(name, seed)
    how: Any = calibration if calibration in ("cross", "split") else float(calibration)
    model = None if epochs is None else {"epochs": epochs}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        detector = om.AnomalyDetector(model, calibration=how, random_state=seed, verbose=0).fit(training)
    p, count = detector.p_values(new), detector.calibration_.count
    alarms = [int((p <= rate).sum()) for rate in RATES]
    order = np.sort(p)
    distance = max(np.max(np.arange(1, len(p) + 1) / len(p) - order), np.max(order - np.arange(len(p)) / len(p)))
    statistic = distance * math.sqrt(count * len(p) / (count + len(p)))
    uniform = float(kstwobign.sf(statistic))
    where = {"set": name, "calibration": calibration, "seed": seed, "epochs": epochs}
    return {**where, "calibrating": count, "judged": len(p), "alarms": alarms, "uniform": uniform}


def row(called: str, here: list[dict[str, Any]]) -> tuple[str, ...]:
    """Return what came of some splits: mean rates of false alarms, how far from what is expected, and deviations."""
    count, judged = (np.array([one[key] for one in here]) for key in ("calibrating", "judged"))
    cells = []
    for place, rate in enumerate(RATES):
        shares = np.array([one["alarms"][place] for one in here]) / judged
        above = np.floor(rate * (count + 1) + 1e-9)
        chances = [betabinom(m, a, n + 1 - a) if a else None for a, n, m in zip(above, count, judged, strict=True)]
        spread = math.sqrt(
            np.mean([0 if one is None else one.var() / m**2 for one, m in zip(chances, judged, strict=True)])
        )
        error = shares.std(ddof=1) / math.sqrt(len(here))
        off = (shares - above / (count + 1)).mean() / max(error, 1e-9)
        cells += [f"{shares.mean():.2%}", f"{off:+.1f}", f"{shares.std(ddof=1):.2%} ({spread:.2%})"]
    uniform = sum(one["uniform"] < 0.05 for one in here)
    return called, f"{count.mean():.0f}", f"{judged.mean():.0f}", *cells, f"{uniform} of {len(here)}"


def simulated_row(called: str, here: list[dict[str, Any]]) -> tuple[str, ...]:
    """Return what came of the fits to one shape of rows: mean rates, their errors, and how many errors too high."""
    cells = []
    for place, rate in enumerate(RATES):
        shares = np.array([one["alarms"][place] / one["judged"] for one in here])
        count, judged = here[0]["calibrating"], here[0]["judged"]
        above = math.floor(rate * (count + 1) + 1e-9)
        law = betabinom(judged, above, count + 1 - above).std() / judged if above else 0.0
        error = max(law, shares.std(ddof=1)) / math.sqrt(len(here))
        cells += [
            f"{shares.mean():.2%} ± {error:.2%}",
            f"{(shares.mean() - rate) / max(error, 1e-9):+.1f}" if error else "-",
        ]
    return called, str(len(here)), str(here[0]["calibrating"]), *cells


def main() -> None:
    """Run what is not there yet, and print the tables."""
    parser = measure.parser(__doc__)
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--kinds", nargs="+", choices=("cross", "split", "0.5"), default=("cross", "split"))
    parser.add_argument("--simulated", action="store_true", help="normal columns in the place of public sets")
    parser.add_argument("--rows", nargs="+", type=int, default=ROWS, help="of simulated rows")
    parser.add_argument("--columns", nargs="+", type=int, default=COLUMNS, help="of simulated rows")
    parser.add_argument("--epochs", type=int, help="of each member; by default as many as `fit` takes")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--results", type=Path, default=Path("omokage-calibration.jsonl"))
    chosen = parser.parse_args()
    lines = chosen.results.read_text(encoding="utf-8").splitlines() if chosen.results.exists() else []
    results = [json.loads(line) for line in lines]
    done = {(one["set"], one["calibration"], one["seed"], one.get("epochs")) for one in results}
    shapes = tuple(f"{n}x{d}" for d in chosen.columns for n in chosen.rows)
    names = shapes if chosen.simulated else SETS
    jobs = [
        (name, kind, seed, chosen.epochs) for seed in range(chosen.splits) for name in names for kind in chosen.kinds
    ]
    for found in measure.side_by_side(run, [job for job in jobs if job not in done], chosen.jobs):
        measure.progress(f"{found['set']} {found['calibration']} {found['seed']}: {found['alarms']}")
        results.append(found)
        with chosen.results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(found) + "\n")
    header = ["set", "calibrating", "judged"]
    for rate in RATES:
        header += [f"flagged at {rate:.0%}", "standard errors off", "deviation (expected)"]
    header.append("not uniform at 5 %")
    sections = []
    results = [one for one in results if one["set"] in names and one.get("epochs") == chosen.epochs]
    for kind in dict.fromkeys(one["calibration"] for one in results):
        parts = {name: [o for o in results if (o["calibration"], o["set"]) == (kind, name)] for name in names}
        if chosen.simulated:
            header = ["rows × columns", "fits", "calibrating"]
            header += [word for rate in RATES for word in (f"{rate:.0%}", "errors above")]
            rows = [simulated_row(name, part) for name, part in parts.items() if len(part) > 1]
        else:
            rows = [row(name.partition("_")[2], part) for name, part in parts.items() if len(part) > 1]
            rows.append(row("all", [one for part in parts.values() for one in part]))
        sections += [f"## {kind}", measure.table(header, rows)]
    measure.publish("Calibration", sections, ("jax", "scikit-learn"), chosen.out)


if __name__ == "__main__":
    main()

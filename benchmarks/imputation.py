"""How well missing cells are filled: seven tables of numbers, cells hidden completely at random.

Columns are scaled to [0, 1] over all cells. A share of the cells is hidden; what is reported is the root of the mean
squared error over the hidden cells, and the share of them that lies between the 5 % and the 95 % quantile of 40 draws
(multiple imputation; should be 90 %). The same cells are hidden from every method.

How settings were chosen: another 10 % of the observed cells was hidden, and what was predicted of those was compared.
The cells that this script hides and scores were not looked at. `TRIED` lists all settings that were tried, and what
they reached by that measure; one setting serves all tables.

Run: `OMOKAGE_DATA=... python benchmarks/imputation.py airfoil raisin --shares 0.3 --seeds 0 1 --keep found.json`
(no names: all seven). `--ours` leaves scikit-learn out. What is found is kept after each table and not computed again.
"""

import argparse
import json
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor
from sklearn.experimental import enable_iterative_imputer  # noqa: F401 - it is hidden without
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer

import omokage as om

Values = NDArray[np.float64]
NAMES = ("airfoil", "blood", "climate", "compression", "raisin", "wine", "yeast")
SETTINGS: dict[str, Any] = {"data": "table", "verbose": 0}
TRIED: dict[str, str] = {}
DRAWS, SAMPLES = 40, 300


def peers(seed: int) -> dict[str, Any]:
    """Return scikit-learn's imputers by name."""
    forest = RandomForestRegressor(50, min_samples_leaf=2, max_features=0.5, random_state=seed, n_jobs=1)
    return {
        "mean": SimpleImputer(),
        "nearest neighbours": KNNImputer(),
        "chained equations": IterativeImputer(random_state=seed),
        "forests": IterativeImputer(forest, max_iter=5, random_state=seed),
    }


def table_of(name: str) -> Values:
    """Return a table, (n, D), scaled to [0, 1]; its first column, which numbers the rows, is left out."""
    X = pl.read_csv(Path(os.environ["OMOKAGE_DATA"]) / "imputation" / f"{name}.csv").to_numpy()[:, 1:].astype(float)
    low, high = X.min(0), X.max(0)
    scaled: Values = (X - low) / np.where(high > low, high - low, 1)
    return scaled


def holes(X: Values, share: float, seed: int) -> NDArray[np.bool_]:
    """Return which cells are hidden, like X."""
    hidden: NDArray[np.bool_] = np.random.default_rng([seed, round(100 * share)]).random(X.shape) < share
    return hidden


def ours(rows: Values, seed: int, settings: dict[str, Any]) -> tuple[Values, list[Values]]:
    """Return rows with their holes filled by means, and filled so many times by draws."""
    vae = om.VAE(**settings, random_state=seed).fit(rows)
    return vae.impute(rows, samples=SAMPLES, rounding=False), vae.impute(rows, samples=SAMPLES, draws=DRAWS)


def error(X: Values, filled: Values, hidden: NDArray[np.bool_]) -> float:
    """Return the root of the mean squared error over hidden cells."""
    return float(np.sqrt(np.square(filled - X)[hidden].mean()))


def coverage(X: Values, drawn: list[Values], hidden: NDArray[np.bool_]) -> float:
    """Return the share of hidden cells within the middle 90 % of their draws; ends count as within."""
    low, high = np.quantile(np.array(drawn)[:, hidden], [0.05, 0.95], axis=0)
    return float(((X[hidden] >= low - 1e-9) & (X[hidden] <= high + 1e-9)).mean())


def measured(X: Values, hidden: NDArray[np.bool_], seed: int, with_peers: bool) -> dict[str, dict[str, float]]:
    """Return error, coverage and seconds of each method on one table."""
    rows, found = np.where(hidden, np.nan, X), {}

    def timed(name: str, fill: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        answer = fill()
        found[name] = {"seconds": time.perf_counter() - start}
        return answer

    filled, drawn = timed("omokage", lambda: ours(rows, seed, SETTINGS))
    found["omokage"] |= {"error": error(X, filled, hidden), "coverage": coverage(X, drawn, hidden)}
    for name, imputer in peers(seed).items() if with_peers else ():
        found[name]["error"] = error(X, timed(name, lambda imputer=imputer: imputer.fit_transform(rows)), hidden)
    return found


def shown(results: dict[str, Any], share: float) -> str:
    """Return a table of errors: a line for each set, a column for each method; means over seeds."""
    here = {key: value for key, value in results.items() if key.split("|")[1] == str(share)}
    methods = list(dict.fromkeys(name for value in here.values() for name in value))
    lines = [f"| {share:.0%} hidden | {' | '.join(methods)} | coverage |", "|---" * (len(methods) + 2) + "|"]
    sets = list(dict.fromkeys(key.split("|")[0] for key in here))
    rows = []
    for name in sets:
        runs = [value for key, value in here.items() if key.startswith(f"{name}|")]
        errors = [np.mean([run[method]["error"] for run in runs if method in run]) for method in methods]
        rows.append([*errors, np.mean([run["omokage"]["coverage"] for run in runs])])
        lines.append(f"| {name} | {' | '.join(f'{value:.3f}' for value in rows[-1])} |")
    lines.append(f"| mean | {' | '.join(f'{value:.3f}' for value in np.mean(rows, axis=0))} |")
    return "\n".join(lines)


def main() -> None:
    """Measure what was asked for, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("--shares", nargs="+", type=float, default=[0.3])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--keep", type=Path, default=None)
    parser.add_argument("--ours", action="store_true")
    given = parser.parse_args()
    results: dict[str, Any] = json.loads(given.keep.read_text()) if given.keep and given.keep.exists() else {}
    for name in given.names or NAMES:
        X = table_of(name)
        for share in given.shares:
            for seed in given.seeds:
                key = f"{name}|{share}|{seed}"
                if key in results:
                    continue
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # that chained equations have not converged
                    results[key] = measured(X, holes(X, share, seed), seed, not given.ours)
                print(key, json.dumps(results[key]), flush=True)
                if given.keep:
                    given.keep.write_text(json.dumps(results, indent=1))
    for share in given.shares:
        print(shown(results, share))


if __name__ == "__main__":
    main()

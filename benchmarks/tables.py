"""How good are made tables? Rows of numbers and categories, made by omokage and by others, judged as in the papers.

Four public tables, split as in the scripts of TabSyn and TabDiff (process_dataset.py): `int(0.9 · n)` rows train, the
others are held out. The order is NumPy's shuffle with seed 1234, and once more with the next seed until all categories
are among the training rows. Which columns are numbers is as in their files (data/Info).

* adult: 32,561 rows, 6 numbers, 9 categories. The papers train on all of them and hold out the official test file; here
  these rows are split like the other tables. `?` is a category, as in the papers.
* shoppers: 12,330 rows, 10 numbers, 8 categories.
* beijing: 41,757 rows without missing cells, 7 numbers, 5 categories: year, month, day, hour and the wind.
* magic: 19,020 rows, 10 numbers, 1 category.

A contender gets the training rows as a Polars frame, in which categories are text, whole numbers are integers and other
numbers are floats. It returns as many rows with the same columns. `table_metrics.py` says what the figures are.

References: "train copy", training rows drawn with replacement; "independent columns", the same for each column by
itself; "held-out rows", every other one of them, compared with the rest where held-out rows are asked for. "tvae" and
"ctgan" are those of the package ctgan, with its defaults.

Each result is a line of a file, and what is there is not run again. `--made FILE.csv --called NAME --sets adult` judges
rows that somebody else made. `--table` prints what there is.

Run: `OMOKAGE_DATA=... python benchmarks/tables.py`, in an environment with `benchmarks/requirements-tables.txt`.
"""

import io
import json
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import measure
import numpy as np
import pandas as pd
import polars as pl
import table_metrics


@dataclass(frozen=True)
class Table:
    """Where a table lies, which of its columns are numbers, and which column a model would predict from the others."""

    path: str
    numeric: tuple[str, ...]
    target: str
    dropped: tuple[str, ...] = ()


TABLES = {
    "adult": Table(
        "adult/adult.csv",
        ("age", "fnlwgt", "education-num", "capital-gain", "capital-loss", "hours-per-week"),
        "income",
    ),
    "shoppers": Table(
        "tables/shoppers.csv",
        (
            "Administrative", "Administrative_Duration", "Informational", "Informational_Duration", "ProductRelated",
            "ProductRelated_Duration", "BounceRates", "ExitRates", "PageValues", "SpecialDay",
        ),
        "Revenue",
    ),
    "beijing": Table("tables/beijing.csv", ("DEWP", "TEMP", "PRES", "Iws", "Is", "Ir", "pm2.5"), "pm2.5", ("No",)),
    "magic": Table(
        "tables/magic.csv",
        ("fLength", "fWidth", "fSize", "fConc", "fConc1", "fAsym", "fM3Long", "fM3Trans", "fAlpha", "fDist"),
        "class",
    ),
}  # fmt: skip
FIGURES = {
    "shape": "Shape",
    "trend": "Trend",
    "alpha": "α-precision",
    "beta": "β-recall",
    "logistic": "C2ST (LR)",
    "xgboost": "C2ST (XGB)",
    "mutual": "wNMIS",
    "same_bins": "same bins",
    "dcr": "DCR share",
    "nearer": "nearer",
    "copies": "copies",
}
# Means over five, in the order of PUBLISHED_FIGURES: april-tools/tabpc, article_material/our_results. Of its
# independent columns ("FullyFactorizedPreprocessed"), all figures but C2ST (LR) are within 0.004 of ours.
PUBLISHED_FIGURES = "shape", "trend", "alpha", "beta", "logistic", "xgboost", "mutual"
PUBLISHED = {
    "adult": {
        "independent columns": (0.9961, 0.9251, 0.9568, 0.0769, 1.0000, 0.0160, 0.7189),
        "CTGAN": (0.8087, 0.7581, 0.7539, 0.1313, 0.5881, 0.0000, 0.8423),
        "TVAE": (0.7619, 0.6664, 0.6233, 0.1221, 0.2286, 0.0000, 0.9127),
        "TabSyn": (0.9921, 0.9795, 0.9902, 0.4796, 0.9866, 0.7942, 0.9860),
        "TabDiff": (0.9932, 0.9846, 0.9861, 0.5255, 0.9899, 0.8409, 0.9889),
        "TabPC": (0.9942, 0.9856, 0.9961, 0.4995, 0.9959, 0.8554, 0.9933),
    },
    "shoppers": {
        "independent columns": (0.9934, 0.9367, 0.9713, 0.2307, 1.0000, 0.0211, 0.8661),
        "CTGAN": (0.7406, 0.7554, 0.7790, 0.2378, 0.5255, 0.0000, 0.8921),
        "TVAE": (0.7508, 0.7928, 0.4797, 0.1909, 0.2728, 0.0000, 0.9392),
        "TabSyn": (0.9852, 0.9771, 0.9898, 0.4785, 0.9787, 0.6554, 0.9832),
        "TabDiff": (0.9851, 0.9809, 0.9851, 0.5107, 0.9756, 0.7361, 0.9844),
        "TabPC": (0.9910, 0.9822, 0.9917, 0.5003, 0.9969, 0.8936, 0.9927),
    },
    "beijing": {
        "independent columns": (0.9949, 0.9101, 0.9531, 0.4385, 0.9979, 0.0172, 0.7918),
        "CTGAN": (0.7999, 0.7430, 0.9494, 0.3850, 0.5534, 0.0000, 0.8734),
        "TVAE": (0.7216, 0.7022, 0.8622, 0.0540, 0.3707, 0.0000, 0.8734),
        "TabSyn": (0.9739, 0.9550, 0.9822, 0.5221, 0.9226, 0.5266, 0.9833),
        "TabDiff": (0.9895, 0.9741, 0.9779, 0.5981, 0.9770, 0.7723, 0.9927),
        "TabPC": (0.9943, 0.9781, 0.9951, 0.5731, 0.9989, 0.5704, 0.9925),
    },
    "magic": {
        "independent columns": (0.9938, 0.8696, 0.8612, 0.0196, 0.9892, 0.0052, 0.7684),
        "CTGAN": (0.9443, 0.9445, 0.9040, 0.1588, 0.7966, 0.1034, 0.9198),
        "TVAE": (0.9540, 0.9531, 0.9684, 0.3631, 0.8765, 0.2981, 0.9719),
        "TabSyn": (0.9902, 0.9918, 0.9938, 0.4775, 0.9940, 0.7602, 0.9971),
        "TabDiff": (0.9920, 0.9916, 0.9939, 0.4799, 0.9964, 0.7732, 0.9953),
        "TabPC": (0.9902, 0.9830, 0.9948, 0.5047, 0.9953, 0.8602, 0.9925),
    },
}


def split(name: str, held_out: float = 0.1) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return training rows and held-out rows of a table, split as in the literature's scripts."""
    table = TABLES[name]
    text = pl.read_csv(Path(os.environ["OMOKAGE_DATA"]) / table.path, infer_schema=False).drop(*table.dropped)
    text = text.with_columns(pl.all().str.strip_chars())
    frame = text.filter(~pl.any_horizontal(pl.all() == "NA")).with_columns(
        pl.col(column).cast(pl.Int64 if text[column].str.contains(r"^-?\d+$|^NA$").all() else pl.Float64)
        for column in table.numeric
    )
    training, places, seed = int(frame.height * (1 - held_out)), np.arange(frame.height), 1234
    categorical = [column for column in frame.columns if column not in (*table.numeric, table.target)]
    while True:
        np.random.RandomState(seed).shuffle(places)  # each time from the order that the last one left
        train, rest = frame[places[:training]], frame[places[training:]]
        if all(train[column].n_unique() == frame[column].n_unique() for column in categorical):
            return train, rest
        seed += 1


def as_read(frame: pl.DataFrame, numeric: tuple[str, ...]) -> pd.DataFrame:
    """Return a frame as `pandas.read_csv` reads it: the classifiers take whole numbers and truth values as numbers."""
    text = io.BytesIO(frame.write_csv().encode())
    read = pd.read_csv(text, keep_default_na=False, na_values=dict.fromkeys(numeric, ""))
    return read.astype(dict.fromkeys(numeric, float))


def judge(name: str, train: pl.DataFrame, made: pl.DataFrame, rest: pl.DataFrame, seed: int) -> dict[str, float]:
    """Return all figures of made rows of a table.

    Raises:
        ValueError: for made rows that lack a column or a cell, or that hold a category which no training row has.
    """
    numeric = TABLES[name].numeric
    missing = [column for column in train.columns if column not in made.columns]
    if missing:
        raise ValueError(f"the made rows of {name} lack the columns {missing}")
    made = made.select(
        made[column].cast(pl.Float64) if column in numeric else made[column].cast(pl.String) for column in train.columns
    )
    for column in train.columns:
        if made[column].null_count() or (column in numeric and not made[column].is_finite().all()):
            raise ValueError(f"the made rows of {name} lack cells of {column!r}")
        if column not in numeric:
            unknown = set(made[column].unique()) - set(train[column].unique())
            if unknown:
                raise ValueError(f"no training row of {name} has {sorted(unknown)[:5]} as its {column!r}")
    sets = [as_read(some, numeric) for some in (train, made, rest)]
    order = [*numeric, *(column for column in train.columns if column not in numeric)]
    if TABLES[name].target not in numeric:  # the papers' order: numbers, categories, target
        order.append(order.pop(order.index(TABLES[name].target)))
    train_read, made_read, rest_read = (some[order].astype(sets[0].dtypes[order].to_dict()) for some in sets)
    return table_metrics.evaluate(train_read, made_read, rest_read, numeric, seed)


# ------------------------------------------------------------------------------------------------------ contenders
# Each takes training rows, how many rows to make, a seed and perhaps epochs, and returns a frame with the same columns.


def omokage(train: pl.DataFrame, rows: int, seed: int, **settings: Any) -> pl.DataFrame:
    """Return what `omokage.synthesize` makes with its defaults; categories are said, and `?` is one of them."""
    import omokage as om

    kinds = om.data.Columns(
        missing=[], types={name: "category" for name in train.columns if train[name].dtype == pl.String}
    )
    made: pl.DataFrame = om.synthesize(train, rows, seed=seed, data=kinds, verbose=0, **settings)
    return made


def omokage_codes(train: pl.DataFrame, rows: int, seed: int, **settings: Any) -> pl.DataFrame:
    """Return rows of a VAE whose cells are independent given z, and of flow matching of its codes: TabSyn's idea."""
    from omokage.objectives import ELBO

    chosen = {
        "likelihood": "gaussian", "density": "flow-matching", "latent_dim": 24, "hidden": (512, 256),
        "objective": ELBO(beta=0.1), "early_stopping": False,
    }  # fmt: skip
    return omokage(train, rows, seed, **chosen, **settings)


def tvae(train: pl.DataFrame, rows: int, seed: int, epochs: int = 300) -> pl.DataFrame:
    """Return rows of ctgan's TVAE with its defaults."""
    from ctgan import TVAE

    return _of_ctgan(TVAE(epochs=epochs, verbose=True), train, rows, seed)


def ctgan(train: pl.DataFrame, rows: int, seed: int, epochs: int = 300) -> pl.DataFrame:
    """Return rows of ctgan's CTGAN with its defaults."""
    from ctgan import CTGAN

    return _of_ctgan(CTGAN(epochs=epochs, verbose=True), train, rows, seed)


def _of_ctgan(model: Any, train: pl.DataFrame, rows: int, seed: int) -> pl.DataFrame:
    model.set_random_state(seed)
    model.fit(train.to_pandas(), [column for column in train.columns if train[column].dtype == pl.String])
    return pl.from_pandas(model.sample(rows))


def train_copy(train: pl.DataFrame, rows: int, seed: int) -> pl.DataFrame:
    """Return training rows, drawn with replacement."""
    return train.sample(rows, with_replacement=True, seed=seed)


def independent_columns(train: pl.DataFrame, rows: int, seed: int) -> pl.DataFrame:
    """Return rows each of whose cells is drawn from its column by itself."""
    random = np.random.default_rng(seed)
    return train.select(column[random.integers(0, train.height, rows)] for column in train)


CONTENDERS: dict[str, Callable[..., pl.DataFrame]] = {
    "train copy": train_copy,
    "independent columns": independent_columns,
    "tvae": tvae,
    "ctgan": ctgan,
    "omokage": omokage,
    "omokage, codes": omokage_codes,
}
HELD_OUT = "held-out rows"  # needs what no contender sees


def run(
    contender: str, name: str, seed: int, held_out: float, folder: Path | None, samples: int, **settings: Any
) -> dict[str, Any]:
    """Return the figures of one contender on one table, and the seconds and processor seconds that making rows took.

    They are means over so many samples, each as large as the training rows, of one fit.
    """
    train, rest = split(name, held_out)
    began, began_cpu = time.perf_counter(), time.process_time()
    if contender == HELD_OUT:
        made, rest = rest[::2], rest[1::2]
    else:
        made = CONTENDERS[contender](train, samples * train.height, seed, **settings)
    took = {"seconds": time.perf_counter() - began, "cpu": time.process_time() - began_cpu}
    called = title(contender, settings)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        made.write_csv(folder / f"{re.sub('[ ,=]+', '-', called)}_{name}_{seed}.csv")
    where = {"set": name, "contender": called, "seed": seed, "held_out": held_out, **took}
    parts = [made] if contender == HELD_OUT else list(made.iter_slices(train.height))
    found = [judge(name, train, part, rest, number) for number, part in enumerate(parts, seed)]
    return {
        **where,
        "samples": len(parts),
        **{figure: float(np.mean([one[figure] for one in found])) for figure in found[0]},
    }


def title(contender: str, settings: dict[str, Any]) -> str:
    """Return what a contender with other than its own settings is called."""
    return ", ".join([contender, *(f"{value} {key}" for key, value in settings.items())])


def table(results: list[dict[str, Any]], name: str) -> str:
    """Return the means of all figures over seeds, ours and published ones, for one table."""
    here = [one for one in results if one["set"] == name]
    rows: list[tuple[str, ...]] = []
    for contender in dict.fromkeys(one["contender"] for one in here):
        several = [one for one in here if one["contender"] == contender]
        cells = [f"{np.mean([one[figure] for one in several]):.4f}" for figure in FIGURES]
        times = [
            f"{np.median([one[kind] for one in several]):.0f}" if kind in several[0] else ""
            for kind in ("seconds", "cpu")
        ]
        rows.append((contender, *cells, str(len(several)), *times))
    for called, figures in PUBLISHED[name].items():
        known = dict(zip(PUBLISHED_FIGURES, figures, strict=True))
        cells = [f"{known[figure]:.4f}" if figure in known else "" for figure in FIGURES]
        rows.append((f"{called}, published", *cells, "5", "", ""))
    return measure.table(("rows", *FIGURES.values(), "seeds", "seconds", "CPU s"), rows)


def main() -> None:
    """Run what is asked for and not there yet, or print tables."""
    parser = measure.parser(__doc__)
    names = [HELD_OUT, *CONTENDERS]
    parser.add_argument("--sets", nargs="+", choices=list(TABLES), default=list(TABLES))
    parser.add_argument("--contenders", nargs="+", choices=names, default=names)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--samples", type=int, default=1, help="of as many rows as train, from each fit")
    parser.add_argument("--held-out", type=float, default=0.1, help="share of the rows that do not train")
    parser.add_argument("--epochs", type=int, help="of contenders that train in epochs, in the place of their default")
    parser.add_argument("--made", type=Path, metavar="FILE.csv", help="judge these rows, of one of the `--sets`")
    parser.add_argument("--called", default="made", help="what to call the maker of `--made`")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="write made rows there")
    parser.add_argument("--results", type=Path, default=Path("omokage-tables.jsonl"))
    parser.add_argument("--table", action="store_true")
    chosen = parser.parse_args()
    if chosen.made and len(chosen.sets) != 1:
        parser.error("--made needs --sets with the one table that its rows are of")
    lines = chosen.results.read_text(encoding="utf-8").splitlines() if chosen.results.exists() else []
    results = [json.loads(line) for line in lines]
    settings = {} if chosen.epochs is None else {"epochs": chosen.epochs}
    done = {(one["set"], one["contender"], one["seed"], one["held_out"]) for one in results}
    contenders = [chosen.called] if chosen.made else chosen.contenders
    jobs = [(name, contender, seed) for name in chosen.sets for contender in contenders for seed in chosen.seeds]
    for name, contender, seed in [] if chosen.table else jobs:
        if (name, title(contender, settings), seed, chosen.held_out) in done:
            continue
        if chosen.made:
            (train, rest), made = split(name, chosen.held_out), pl.read_csv(chosen.made, infer_schema=False)
            where = {"set": name, "contender": contender, "seed": seed, "held_out": chosen.held_out}
            found = {**where, **judge(name, train, made, rest, seed)}
        else:
            try:
                found = run(contender, name, seed, chosen.held_out, chosen.keep, chosen.samples, **settings)
            except ImportError as error:
                measure.progress(f"{contender}: not installed ({error})")
                continue
        measure.progress(
            ", ".join(f"{key} {value:.4f}" if key in FIGURES else f"{value}" for key, value in found.items())
        )
        results.append(found)
        with chosen.results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(found) + "\n")
    results = [one for one in results if one["held_out"] == chosen.held_out]
    sections = []
    for name in TABLES:
        if any(one["set"] == name for one in results):
            sections += [f"## {name.title()}", table(results, name)]
    packages = ("omokage", "sdmetrics", "xgboost", "scikit-learn", "ctgan", "torch")
    measure.publish("Made tables", sections, packages, chosen.out)


if __name__ == "__main__":
    main()

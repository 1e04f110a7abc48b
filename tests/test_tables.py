"""Tables of numbers, categories and holes, from the fit to every answer."""

import datetime
import re
import subprocess
import sys
import warnings

import jax
import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

import omokage as om
from omokage.errors import DataError, FileFormatError
from omokage.likelihoods import ByColumn, Categories, Gaussian, StudentT

SMALL = {"latent_dim": 2, "hidden": (16,), "epochs": 4, "batch_size": 64, "verbose": 0}
LEVELS = ["drill", "lathe", "saw"]


def parts(n: int, seed: int = 0) -> pl.DataFrame:
    """Return rows of a workshop: the width depends on the machine, and the day of the width; some cells are missing."""
    random = np.random.default_rng(seed)
    machine = random.choice(3, n, p=[0.5, 0.3, 0.2])
    width = machine * 2 + random.normal(0, 0.5, n)
    day = [datetime.date(2024, 1, 1) + datetime.timedelta(int(d)) for d in random.integers(0, 300, n)]
    hidden = random.random((n, 2)) < 0.1
    return pl.DataFrame(
        {
            "lot": [f"L-{seed}-{number}" for number in range(n)],
            "machine": [None if gone else LEVELS[m] for m, gone in zip(machine, hidden[:, 0], strict=True)],
            "width": [None if gone else round(float(w), 2) for w, gone in zip(width, hidden[:, 1], strict=True)],
            "count": random.poisson(5, n),
            "good": random.random(n) < 0.8,
            "day": day,
        }
    )


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    return parts(300)


@pytest.fixture(scope="module")
def vae(frame) -> om.VAE:
    with pytest.warns(UserWarning, match="'lot': a key, of which 300 of 300 are different"):
        return om.VAE(**SMALL).fit(frame)


def test_every_answer_has_the_columns_and_types_of_the_fit(vae, frame):
    expected = dict(frame.drop("lot").schema)
    for answer in (vae.sample(20), vae.reconstruct(frame), vae.inverse_transform(vae.transform(frame))):
        assert dict(answer.schema) == expected
        assert not any(answer.null_count().row(0))
        assert set(answer["machine"]) <= set(LEVELS)
    widths = vae.sample(20)["width"].to_numpy()
    np.testing.assert_allclose(widths, widths.round(2), atol=1e-9)
    assert vae.transform(frame).shape == (300, 2)
    assert vae.score_samples(frame).shape == vae.log_likelihood(frame, samples=5).shape == (300,)
    entries = vae.entry_scores(frame)
    assert entries.shape == (300, 5)
    np.testing.assert_array_equal(np.isnan(entries).sum(0), frame.drop("lot").null_count().row(0))
    assert "active" in str(vae.diagnose(frame))


def test_it_does_not_matter_in_what_rows_come(vae, frame):
    scores = vae.score_samples(frame)
    strange = frame.select(frame.columns[::-1]).with_columns(machine=pl.col("machine").cast(pl.Categorical))
    for given in (frame.drop("lot"), strange, pd.DataFrame(frame.to_dict(as_series=False))):
        np.testing.assert_array_equal(vae.score_samples(given), scores)
    np.testing.assert_array_equal(vae.score_samples(frame[7:9]), scores[7:9])


def test_what_a_missing_cell_held_changes_nothing(vae, frame):
    rows = vae.schema_.rows(frame).whole
    assert rows.mask is not None and not rows.mask.all()
    other = rows._replace(x=np.where(rows.mask, rows.x, 1.0).astype(np.float32))
    for ask in (vae.model_.seen, lambda batch: vae.model_.encode(batch).mean):
        np.testing.assert_array_equal(ask(rows), ask(other))


def joint(vae: om.VAE, machine, widths) -> np.ndarray:
    rows = pl.DataFrame({"machine": [machine] * len(widths), "width": widths}, schema_overrides={"machine": pl.String})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return vae.log_likelihood(rows, samples=2000)


@pytest.fixture(scope="module")
def two() -> om.VAE:
    settings = SMALL | {"likelihood": Gaussian(floor=0.2)}  # so that 400 places tell the integral
    return om.VAE(**settings).fit(parts(300).select("machine", pl.col("width").cast(pl.Float64) + 1 / 3))


def test_a_mixed_density_has_a_mass_of_one_and_its_parts_are_its_margins(two):
    widths = np.linspace(-12, 18, 400)
    step = widths[1] - widths[0]
    table = np.stack([joint(two, machine, widths) for machine in [*LEVELS, "never seen"]])
    assert np.exp(table).sum() * step == pytest.approx(1, abs=0.02)
    assert np.exp(table[3]).sum() * step < 1e-6
    # The density of a row without a cell is that of all rows that it may be.
    some = np.flatnonzero(logsumexp(table, 0) > -8)[::12]
    np.testing.assert_allclose(joint(two, None, widths[some]), logsumexp(table[:, some], 0), atol=0.1)
    for place in range(3):
        alone = joint(two, LEVELS[place], np.array([np.nan]))[0]
        assert alone == pytest.approx(np.log(np.exp(table[place]).sum() * step), abs=0.05)


def test_a_row_of_nothing_has_a_density_of_one(two):
    assert joint(two, None, [None])[0] == pytest.approx(0, abs=0.02)


def test_cells_removed_from_a_linear_gaussian_model_leave_its_margins_and_conditional_means():
    random = np.random.default_rng(0)
    X = random.normal(size=(400, 2)) @ random.normal(size=(2, 5)) + random.normal(0, 0.7, (400, 5))
    X[random.random(X.shape) < 0.15] = np.nan
    vae = om.VAE(2, hidden=(), epochs=60, batch_size=100, learning_rate=0.02, data="table", verbose=0).fit(X)
    weight = np.asarray(vae.model_.likelihood.heads["mean"].weight, np.float64)
    zero = vae.model_.likelihood.family.distribution(
        **vae.model_.likelihood._parameters(vae.model_.likelihood.outputs(np.zeros((1, 2), np.float32)))
    )
    columns = vae.schema_.columns
    weight = (weight if weight.shape == (5, 2) else weight.T) * columns.scale[:, None]
    mean = np.asarray(zero.mean[0], np.float64) * columns.scale + columns.location
    covariance = weight @ weight.T + np.diag((np.asarray(zero.variance[0], np.float64)) * columns.scale**2)
    rows = X[:40]
    found = vae.log_likelihood(rows, samples=20_000)
    filled = vae.impute(rows, samples=20_000)
    for row, density, full in zip(rows, found, filled, strict=True):
        seen = ~np.isnan(row)
        there = covariance[np.ix_(seen, seen)]
        assert density == pytest.approx(multivariate_normal.logpdf(row[seen], mean[seen], there), abs=0.02)
        expected = mean + covariance[:, seen] @ np.linalg.solve(there, row[seen] - mean[seen])
        np.testing.assert_allclose(full[~seen], expected[~seen], atol=0.05)
        np.testing.assert_array_equal(full[seen], row[seen])


def test_a_level_that_the_fit_did_not_see_is_a_missing_cell_to_networks_and_the_most_surprising_one_to_a_score(
    vae, frame
):
    row = frame[[0]].with_columns(width=pl.lit(0.1))
    variants = [row.with_columns(machine=pl.lit(level, pl.String)) for level in [*LEVELS, None]]
    with pytest.warns(UserWarning, match="column 'machine' has a level that the fit did not see: 'X7'"):
        strange = vae.entry_scores(row.with_columns(machine=pl.lit("X7")))[0, 0]
        code = vae.transform(row.with_columns(machine=pl.lit("X7")))
    np.testing.assert_array_equal(code, vae.transform(variants[3]))
    assert strange < min(vae.entry_scores(one)[0, 0] for one in variants[:3]) - 5


def test_categories_agree_with_a_softmax_for_each_column():
    logits = np.random.default_rng(0).normal(0, 40, (6, 9)).astype(np.float32)
    counts = (2, 3, 4)
    given = Categories(counts).distribution(logits=logits, unseen=np.float32(-20.0))
    x = np.array([[1, 2, 0], [0, 0, 3], [1, 1, 1], [0, 2, 2], [2, 3, 4], [1, 0, 3]], np.float32)
    pieces = np.split(logits, np.cumsum(counts)[:-1], 1)
    logs = [piece - logsumexp(piece, 1, keepdims=True) for piece in pieces]
    for j, log in enumerate(logs):
        known = x[:, j] < counts[j]
        expected = np.take_along_axis(log, np.minimum(x[:, [j]], counts[j] - 1).astype(int), 1)[:, 0]
        np.testing.assert_allclose(given.log_prob(x)[known, j], expected[known], atol=1e-4)
        np.testing.assert_allclose(given.log_prob(x)[~known, j], log.min(1)[~known] - 20, atol=1e-4)
        np.testing.assert_array_equal(given.mean[:, j], log.argmax(1))
    mild = Categories(counts).distribution(logits=logits / 20, unseen=np.float32(-20.0))
    drawn = np.asarray(mild.sample(jax.random.key(0), (20_000,)))
    for j, piece in enumerate(np.split(logits / 20, np.cumsum(counts)[:-1], 1)):
        shares = np.stack([(drawn[..., j] == level).mean(0) for level in range(counts[j])], 1)
        np.testing.assert_allclose(shares, np.exp(piece - logsumexp(piece, 1, keepdims=True)), atol=0.02)


def test_holes_are_filled_and_all_else_stays(vae, frame):
    filled = vae.impute(frame, samples=8)
    assert not any(filled.null_count().row(0))
    for name in filled.columns:
        there = frame[name].is_not_null()
        assert filled[name].filter(there).to_list() == frame[name].filter(there).to_list()
    # Where the width is known, it tells the machine.
    gone = frame["machine"].is_null() & (frame["width"] > 3)
    assert set(filled["machine"].filter(gone)) <= set(LEVELS)


def test_pandas_and_arrays_come_back_as_they_came(frame):
    given = pd.DataFrame(frame.drop("lot").to_dict(as_series=False))
    vae = om.VAE(**SMALL | {"epochs": 1}).fit(given)
    assert isinstance(vae.sample(3), pd.DataFrame) and list(vae.sample(3)) == list(given)
    X = np.array([[1.5, np.nan, 3.0], [2.5, 1.0, np.nan], [0.5, 2.25, 1.0]] * 20)
    array = om.VAE(**SMALL | {"epochs": 1}, data=om.data.Columns()).fit(X)
    assert isinstance(array.impute(X), np.ndarray) and array.sample(3).shape == (3, 3)
    with pytest.raises(DataError, match=r"NaN.*missing='mask'"):
        om.VAE(**SMALL).fit(X)


def test_saved_it_answers_the_same_in_a_new_process(vae, frame, tmp_path):
    folder, rows = vae.save(tmp_path / "m"), tmp_path / "rows.parquet"
    frame.write_parquet(rows)
    np.testing.assert_array_equal(om.load(folder).score_samples(frame), vae.score_samples(frame))
    code = f"import omokage; print(*omokage.load({str(folder)!r}).score_samples({str(rows)!r}).tolist())"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    np.testing.assert_allclose([float(number) for number in out.split()], vae.score_samples(frame), rtol=1e-6)


def test_on_the_command_line(frame, tmp_path, command):
    data, model, out = tmp_path / "parts.csv", tmp_path / "m", tmp_path / "out.csv"
    frame.write_csv(data)
    flags = ["--epochs", "2", "--latent-dim", "2", "--hidden", "16"]
    code, shown, noted = command("fit", data, "--out", model, *flags)
    assert code == 0, noted
    assert re.search(r"machine +category +\S+ % +3 levels: 'drill', 'lathe', 'saw'", shown)
    assert re.search(r"lot +left out +a key", shown)
    for name in ("score", "reconstruct", "encode", "impute"):
        assert command(name, model, data, "--out", out)[0] == 0
        assert pl.read_csv(out).height == 300
    assert command("sample", model, "-n", 7, "--out", out)[0] == 0
    assert pl.read_csv(out).columns == frame.columns[1:]
    (tmp_path / "columns.toml").write_text('count = "category"\nday = "ignore"\n')
    code, shown, noted = command("fit", data, "--out", model, "--columns", tmp_path / "columns.toml", *flags)
    assert code == 0, noted
    assert re.search(r"count +category .*day +left out +as asked for", shown, re.DOTALL)
    (tmp_path / "columns.toml").write_text('count = "colour"\n')
    code, _, noted = command("fit", data, "--out", model, "--columns", tmp_path / "columns.toml", *flags)
    assert code and "column 'count': expected one of" in noted


def test_a_likelihood_that_is_named_is_that_of_the_numbers(frame, tmp_path):
    vae = om.VAE(**SMALL | {"epochs": 1}, likelihood="student_t", data=om.data.Columns(types={"lot": "ignore"})).fit(
        frame
    )
    families, folder = vae.recipe_.likelihood.families, vae.save(tmp_path / "m")
    assert om.load(folder).data == vae.data == om.data.Columns(types={"lot": "ignore"})
    count = len(vae.schema_.types[2].spikes) + 1  # few values, each a point mass; no number is left beside them
    assert families == (Categories((3,)), StudentT(), Categories((count,)), StudentT(), Categories((2,)), StudentT())
    assert isinstance(vae.recipe_.likelihood, ByColumn)


def test_plain_numbers_stay_vectors():
    X = pl.DataFrame({"a": [1.0, 2.0, 4.0], "b": [3.0, 1.0, 2.5]})
    assert om.VAE(**SMALL | {"epochs": 1}).fit(X).schema_.kind.name == "vectors"
    assert om.VAE(**SMALL | {"epochs": 1}).fit(X.with_columns(b=pl.lit(None))).schema_.kind.name == "table"


def test_training_goes_on_with_the_levels_of_the_first_fit():
    rows = parts(60).select("machine", "width")
    vae = om.VAE(**SMALL | {"epochs": 1}, warm_start=True).fit(rows)
    types = vae.schema_.types
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        vae.fit(rows.filter(pl.col("machine") != "drill"))  # of which "lathe" would be the first level
    assert vae.schema_.types == types
    again = vae.schema_.rows(rows).whole
    saws = (rows["machine"] == "saw").fill_null(False).to_numpy()
    np.testing.assert_array_equal(again.x[saws, 0], 2)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "missing 'width'"),
        ({"more": pl.lit(1)}, "unexpected 'more'"),
        ({"width": pl.lit("wide")}, "row 0, column 'width': expected a number, as at fit; got 'wide'"),
        ({"day": pl.lit("soon")}, "column 'day': 'soon' is not a time"),
        ({"count": pl.lit(float("inf"))}, "inf at row 0, column 'count'"),
    ],
)
def test_rows_that_do_not_fit_are_named(vae, frame, change, words):
    rows = frame.with_columns(**change) if change else frame.drop("width")
    with pytest.raises(DataError, match=words):
        vae.score_samples(rows)


def test_tables_that_nothing_can_be_learned_of_are_named():
    for rows, words in (
        (pl.DataFrame({"a": [None, None], "b": [None, None]}), "no column is left"),
        (pl.DataFrame({"a": ["x", "x"], "b": [1.0, None]}), "every column is constant"),
        (pl.DataFrame({"a": ["x"], "b": [None]}), "at least 2 rows"),
        (pl.DataFrame({"a": ["x", "y"], "b": [[1], [2]]}), "column 'b' holds List"),
    ):
        with pytest.raises(DataError, match=words):
            om.VAE(**SMALL).fit(rows)
    with pytest.raises(DataError, match=r"types name columns that it does not have: 'machin'\. Did you mean 'machine'"):
        om.VAE(**SMALL, data=om.data.Columns(types={"machin": "number"})).fit(parts(10))


def test_rows_without_any_cell_are_named():
    frame = pl.DataFrame({"a": ["x", None, "y"] * 4, "b": [1.0, None, 2.5] * 4})
    with pytest.warns(UserWarning, match="rows '1', '4', '7', '10' have no value"):
        om.VAE(**SMALL | {"epochs": 1}).fit(frame)


def test_a_schema_that_is_not_sound_is_refused(vae):
    value = vae.schema_.to_json()
    type(vae.schema_).from_json(value)
    for change in (
        {"types": value["types"][:-1]},
        {"order": value["order"][:-1]},
        {"observed": [1.0]},
        {"slope": float("nan")},
        {"container": "excel"},
        {"left_out": [["nowhere", "x"]]},
        {"asked": 3},
        {"levels": "many"},
    ):
        with pytest.raises(FileFormatError):
            type(vae.schema_).from_json(value | change)


@pytest.fixture(scope="module")
def detector(frame) -> om.AnomalyDetector:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        settings = {"hidden": (16,), "latent_dim": 2, "epochs": 30}
        return om.AnomalyDetector(settings, ensemble=2, verbose=0).fit(frame)


def test_a_detector_names_the_cell_that_is_to_blame(detector, frame):
    new = parts(200, seed=1)
    p = detector.p_values(new)
    assert (p <= 0.1).mean() < 0.2
    planted = new[:20].with_columns(width=pl.lit(25.0))
    assert (detector.p_values(planted) <= 0.02).all()
    found = detector.explain(planted)
    assert (np.array(found.top(1)) == "width").all()
    assert re.fullmatch(r"width = 25\.0, where -?\d+(\.\d+)? is expected", found.reasons(1)[0][0])
    assert "width = 25.0" in str(found)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        unseen = detector.explain(new[:20].with_columns(machine=pl.lit("press")))
    assert (np.array(unseen.top(1)) == "machine").mean() >= 0.9
    assert unseen.reasons(1)[0][0].startswith("machine has a level that the fit did not see, where '")
    usual = detector.explain(frame[:20])
    places = [reasons for reasons in usual.reasons(5) if any("machine = " in one for one in reasons)]
    assert re.search(r"machine = '\w+': \d+(\.\d+)? % of rows like this have it", " ".join(places[0]))
    assert set(unseen.normal["machine"]) <= set(LEVELS)

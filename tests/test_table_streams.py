"""Tables in files that are too large for memory: the same model as of the whole, at bounded memory."""

import datetime
import subprocess
import sys
import warnings

import numpy as np
import polars as pl
import pytest

import omokage as om
from omokage import cli
from omokage.data import column_types
from omokage.data.column_types.survey import Survey
from omokage.data.columns import Moments, Observed
from omokage.data.kinds import open_data, table_streams
from omokage.data.kinds.table_streams import StreamedTable
from omokage.data.kinds.tables import Columns, TableRows
from omokage.errors import DataError

SMALL = {"latent_dim": 2, "hidden": (8,), "epochs": 2, "batch_size": 1000, "verbose": 0, "random_state": 0}
ROWS = 1000
pytestmark = pytest.mark.filterwarnings("ignore:X. columns that are no input are left out")


def table(n: int = ROWS, seed: int = 0) -> pl.DataFrame:
    """Return rows of a workshop, of all types, with holes, a column of text numbers, spikes and a heavy tail."""
    random = np.random.default_rng(seed)
    machine = random.choice(3, n, p=[0.5, 0.3, 0.2])
    width = (machine * 2 + random.normal(0, 0.5, n)).round(2)
    amount = np.where(random.random(n) < 0.3, 0.0, np.exp(random.normal(0, 2, n)))
    hidden = random.random((n, 2)) < 0.1
    return pl.DataFrame(
        {
            "lot": [f"L-{seed}-{number}" for number in range(n)],
            "machine": pl.Series([["drill", "lathe", "saw"][m] for m in machine]).set(pl.Series(hidden[:, 0]), None),
            "width": pl.Series(width).set(pl.Series(hidden[:, 1]), None),
            "amount": amount,
            "burrs": random.poisson(50, n),
            "good": random.random(n) < 0.8,
            "said": [f"{value:.1f}".replace(".", ",") for value in random.normal(0, 3, n)],
            "day": [datetime.date(2024, 1, 1) + datetime.timedelta(int(d)) for d in random.integers(0, 300, n)],
        }
    )


@pytest.fixture
def streamed(monkeypatch):
    """Every table is too large for memory, and is read in blocks of 100 rows."""
    monkeypatch.setattr(table_streams, "IN_MEMORY_BYTES", 0)
    monkeypatch.setattr(table_streams, "_BLOCK", 100)


@pytest.fixture
def sampled(streamed, monkeypatch):
    """What is not exact is decided by 200 rows."""
    monkeypatch.setattr("omokage.data.column_types.survey.SAMPLE", 200)


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    return table()


@pytest.fixture
def file(frame, tmp_path):
    frame.write_parquet(tmp_path / "parts.parquet")
    return tmp_path / "parts.parquet"


def parquet(folder, **columns):
    pl.DataFrame(columns).write_parquet(folder / "rows.parquet")
    return folder / "rows.parquet"


def rows_of(source, seed=0):
    """Return all rows of an epoch in an order by their content."""
    batches = list(source.epoch(np.random.default_rng(seed), 100))
    both = np.concatenate([np.concatenate([batch.x, batch.mask], 1) for batch in batches])
    return both[np.lexsort(both.T)]


# ------------------------------------------------------------------------------------------- the same as of the whole


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_a_streamed_table_has_the_schema_and_the_rows_of_one_in_memory(frame, tmp_path, streamed, monkeypatch, ending):
    path = tmp_path / f"parts.{ending}"
    getattr(frame, f"write_{ending}")(path)
    parts = open_data(path, "auto")
    assert isinstance(parts, StreamedTable)
    assert parts.count == ROWS
    monkeypatch.setattr(table_streams, "IN_MEMORY_BYTES", 10**9)
    whole = open_data(path, "auto")
    assert type(whole) is TableRows
    one, other = whole.schema("scale"), parts.schema("scale")
    np.testing.assert_allclose(other.slope, one.slope, rtol=1e-12)
    np.testing.assert_allclose(other.observed, one.observed, rtol=1e-12)
    by_sums = {"slope": None, "observed": None}
    assert other.to_json() | by_sums == one.to_json() | by_sums
    np.testing.assert_array_equal(rows_of(whole.rows(one, 0.0, 0)[0]), rows_of(parts.rows(one, 0.0, 0)[0]))


def test_the_model_is_that_of_the_whole_table(file, streamed, monkeypatch):
    """Without noise, and with all rows in one step, only the order of a sum differs."""
    parts = om.AutoEncoder(**SMALL).fit(file)
    monkeypatch.setattr(table_streams, "IN_MEMORY_BYTES", 10**9)
    whole = om.AutoEncoder(**SMALL).fit(file)
    for one, other in zip(parts.history_, whole.history_, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-5)
    np.testing.assert_allclose(parts.transform(file), whole.transform(file), atol=1e-4)


def test_observed_moments_are_those_of_all_rows_at_once():
    random = np.random.default_rng(0)
    rows = random.normal(1e6, [1, 1e-3, 5, 1], (1000, 4))
    rows[random.random(rows.shape) < 0.3] = np.nan
    rows[:, 3] = np.nan
    rows[:400, 1] = np.nan
    seen = Observed(4)
    for start in range(0, 1000, 130):
        seen.see(rows[start : start + 130])
    whole, parts = Moments.of_observed(rows), seen.moments
    np.testing.assert_allclose(parts.mean, whole.mean, rtol=1e-15)
    np.testing.assert_allclose(parts.standard_deviation, whole.standard_deviation, rtol=1e-6)
    for name in ("low", "high", "binary", "whole", "weight", "rows"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))
    np.testing.assert_array_equal(seen.share, (~np.isnan(rows)).mean(0))


# -------------------------------------------------------------------------------------- what a sample does not decide


def test_what_is_exact_is_so_beyond_the_sample(file, frame, sampled, monkeypatch):
    parts = open_data(file, "auto")
    monkeypatch.setattr(table_streams, "IN_MEMORY_BYTES", 10**9)
    whole = open_data(file, "auto")
    assert parts.left_out.keys() == whole.left_out.keys() == {"lot"}
    assert "in a sample of 200 rows" in parts.left_out["lot"].why
    for one, other in zip(parts.types, whole.types, strict=True):
        assert type(one) is type(other)
        if isinstance(one, column_types.Number):
            assert (one.decimals, one.integer, one.notation) == (other.decimals, other.integer, other.notation)
            assert (one.low, one.high) == (other.low, other.high)
            assert len(one.spikes) > 1 or one.spikes == other.spikes  # many near the limit are those of the sample
        else:
            assert one == other


def test_a_level_of_the_last_rows_is_a_level(tmp_path, sampled):
    random = np.random.default_rng(0)
    lot = random.choice(["A", "B"], ROWS).tolist()
    lot[-1] = "late"
    rows = open_data(parquet(tmp_path, lot=lot, x=random.normal(size=ROWS)), "auto")
    assert rows.types[0].levels == ("A", "B", "late")
    assert rows.types[0].counts == (lot.count("A"), lot.count("B"), 1)
    assert rows.schema("scale").rows(pl.DataFrame({"lot": ["late"], "x": [0.0]})).whole.mask is None


def test_a_level_that_only_few_rows_have_makes_numbers_of_a_flag(tmp_path, sampled):
    values = np.tile([0, 1], ROWS // 2)
    values[777] = 2
    rows = open_data(parquet(tmp_path, flag=values, text=["a", "b"] * (ROWS // 2)), "auto")
    assert isinstance(rows.types[0], column_types.Number)


def test_the_most_common_levels_are_those_of_all_rows(tmp_path, sampled):
    random = np.random.default_rng(0)
    lot = [f"L{level}" for level in random.geometric(0.05, ROWS)]
    path = parquet(tmp_path, lot=lot, x=random.normal(size=ROWS))
    kind = Columns(types={"lot": "category"}, levels=20)
    rows = kind.rows(om.read(path))
    assert rows.types[0] == column_types.Category.of(pl.Series(lot), 20)


def test_levels_that_are_too_many_to_be_counted_are_those_of_the_sample(tmp_path, sampled, monkeypatch):
    monkeypatch.setattr("omokage.data.column_types.survey._LEVELS", 50)
    random = np.random.default_rng(0)
    lot = [f"L{level}" for level in random.integers(0, 300, ROWS)]
    path = parquet(tmp_path, lot=lot, x=random.normal(size=ROWS))
    vae = om.VAE(**SMALL, data=Columns(types={"lot": "category"}, levels=20)).fit(path)
    known = vae.schema_.types[0]
    assert len(known.levels) == 20
    assert 100 < len(known.rare) < 250
    assert np.isfinite(vae.history_[-1]["loss"])
    assert np.isfinite(vae.score_samples(pl.read_parquet(path)[:10])).all()


@pytest.mark.parametrize("hole", [None, float("nan")])
def test_holes_that_begin_late_make_a_table(tmp_path, sampled, hole):
    x = np.random.default_rng(0).normal(size=(ROWS, 2)).tolist()
    x[950][0] = hole
    path = parquet(tmp_path, a=[row[0] for row in x], b=[row[1] for row in x])
    rows = open_data(path, "auto")
    assert isinstance(rows, StreamedTable)
    schema = rows.schema("scale")
    assert schema.observed.tolist() == [0.999, 1.0]
    assert schema.event.missing == 2
    filled = om.VAE(**SMALL).fit(path).impute(path)
    assert filled["a"].null_count() == 0
    assert filled["b"].to_list() == [row[1] for row in x]


def test_numbers_without_holes_are_vectors(tmp_path, streamed):
    x = np.random.default_rng(0).normal(size=(ROWS, 2))
    rows = open_data(parquet(tmp_path, a=x[:, 0], b=x[:, 1]), "auto")
    assert rows.kind.name == "vectors"


def test_a_word_in_one_row_makes_text_of_numbers_as_in_memory(tmp_path, sampled, monkeypatch):
    said = [str(value) for value in range(ROWS)]
    said[737] = "broken"
    path = parquet(tmp_path, said=said, x=np.random.default_rng(0).normal(size=ROWS))
    parts = open_data(path, "auto")
    monkeypatch.setattr(table_streams, "IN_MEMORY_BYTES", 10**9)
    assert parts.left_out.keys() == open_data(path, "auto").left_out.keys() == {"said"}


@pytest.mark.parametrize(("word", "missing"), [("b", False), ("bb", True)])
def test_dashes_are_decided_by_all_rows(tmp_path, sampled, word, missing):
    lot = ["drill", "saw"] * (ROWS // 2)
    lot[100], lot[900] = "-", word
    rows = open_data(parquet(tmp_path, lot=lot, x=np.random.default_rng(0).normal(size=ROWS)), "auto")
    assert ("-" in rows.types[0].levels) is not missing
    assert rows.schema("scale").observed[0] == (0.999 if missing else 1.0)
    assert sum(rows.types[0].counts) == (ROWS - 1 if missing else ROWS)


def test_the_sample_does_not_depend_on_how_rows_are_cut(monkeypatch):
    monkeypatch.setattr("omokage.data.column_types.survey.SAMPLE", 50)
    values, found = pl.Series("a", range(1000)), []
    for step in (1000, 70, 3):
        survey = Survey([""])
        for start in range(0, 1000, step):
            survey.see([values[start : start + step]])
        found.append(survey.sample()[0].to_list())
    assert found[0] == found[1] == found[2]
    assert found[0] == sorted(found[0])
    assert len(found[0]) == 50


def test_times_whose_day_and_month_the_first_rows_do_not_tell(tmp_path, streamed, monkeypatch):
    days = [datetime.date(2024, 1 + row // 300, 1 + row % 12 if row < 900 else 25) for row in range(ROWS)]
    said = [f"{day:%d/%m/%Y}" for day in days]
    rows = open_data(parquet(tmp_path, day=said, x=np.random.default_rng(0).normal(size=ROWS)), "auto")
    found = np.concatenate([block[:, 0] for block in rows._spool.blocks(100)])
    first = min(days)
    np.testing.assert_array_equal(found / 86_400, [(day - first).days for day in days])
    assert rows.types[0] == column_types.decide(pl.Series(said))


# ---------------------------------------------------------------------------------------------- cells that do not fit


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        ({"x": float("inf")}, r"rows\.parquet: row 737, column 'x': expected a finite number.*got inf"),
        ({"day": "soon"}, r"row 737, column 'day': expected a time, .*written as.*got 'soon'"),
    ],
)
def test_a_cell_that_does_not_fit_is_named_by_its_row(tmp_path, sampled, bad, text):
    columns = {"x": [0.5 * row for row in range(ROWS)], "day": ["2024-01-31", "2024-02-01", "2024-02-03", "2024-03-07"]}
    columns["day"] = columns["day"] * (ROWS // 4)
    for name, cell in bad.items():
        columns[name][737] = cell
    kind = Columns(types={} if "x" in bad else {"day": "time"})
    with pytest.raises(DataError, match=text):
        om.VAE(**SMALL, data=kind).fit(parquet(tmp_path, **columns))


def test_a_cell_that_is_no_number_where_numbers_are_asked_for_is_named(tmp_path, sampled):
    said = [f"{row},5" for row in range(ROWS)]
    said[737] = "soon"
    path = parquet(tmp_path, said=said, lot=["a", "b"] * (ROWS // 2))
    kind = Columns(types={"said": "number"})
    with pytest.raises(DataError, match="row 737, column 'said': expected a number, as types says; got 'soon'"):
        kind.rows(om.read(path))


def test_columns_that_types_does_not_find_are_named(file, streamed):
    with pytest.raises(DataError, match=r"types name columns that it does not have: 'widht'.*'width'"):
        Columns(types={"widht": "number"}).rows(om.read(file))


# --------------------------------------------------------------------------------------------------- fits and answers


@pytest.fixture(scope="module")
def vae(frame) -> om.VAE:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return om.VAE(**SMALL).fit(frame)


def test_rows_that_are_held_out_are_not_trained_on(file, streamed):
    rows = open_data(file, "auto")
    schema = rows.schema("scale")
    everything = rows_of(open_data(file, "auto").rows(schema, 0.0, 0)[0])
    training, checking = rows.rows(schema, 0.2, 3)
    assert 150 <= checking.count <= 200
    both = np.concatenate([rows_of(training), rows_of(checking)])
    np.testing.assert_array_equal(both[np.lexsort(both.T)], everything)


def test_a_run_that_is_resumed_is_equal_to_one_that_was_not(file, sampled, tmp_path):
    settings = {**SMALL, "batch_size": 250, "early_stopping": 5}

    def stop(record):
        if record["epoch"] == 2:
            raise KeyboardInterrupt

    whole = om.VAE(**{**settings, "epochs": 4}).fit(file)
    with pytest.warns(UserWarning, match="Interrupted"):
        om.VAE(**{**settings, "epochs": 4}).fit(file, checkpoint=tmp_path / "run", on_epoch=stop)
    resumed = om.VAE(**{**settings, "epochs": 4}).fit(file, checkpoint=tmp_path / "run", resume=True)
    assert [one["loss"] for one in resumed.history_] == [one["loss"] for one in whole.history_]
    np.testing.assert_array_equal(resumed.transform(file), whole.transform(file))


def test_training_goes_on_with_the_types_of_the_first_fit(frame, file, streamed):
    vae = om.VAE(**SMALL, warm_start=True).fit(frame[:500])
    schema = vae.schema_
    vae.fit(file)
    assert vae.schema_ is schema
    assert len(vae.transform(file)) == ROWS


def test_a_context_goes_with_its_rows(file, frame, streamed):
    told = frame["good"].to_numpy()
    rows = open_data(file, Columns(types={"day": "ignore"}))
    source, _ = rows.rows(rows.schema("scale"), 0.0, 0, told[:, None].astype(np.float32))
    good = list(rows.order).index("good") - 1
    for batch in source.epoch(np.random.default_rng(0), 100):
        place = int(np.flatnonzero(rows.owner == good)[0])
        raw = rows.schema("scale").columns.decode(batch.x)[:, place]
        np.testing.assert_array_equal(raw.round(), batch.context[:, 0])
    vae = om.VAE(**SMALL).fit(file, context=told)
    assert vae.sample(3, context=True).shape == (3, 7)


def test_weights_of_a_streamed_table_are_refused(file, streamed):
    with pytest.raises(DataError, match="sample_weight: expected None where X is a large file"):
        om.VAE(**SMALL).fit(file, sample_weight=np.ones(ROWS))


def test_a_detector_calibrates_on_rows_that_it_was_not_trained_on(file, frame, streamed):
    settings = {"epochs": 1, "batch_size": 250, "latent_dim": 2, "hidden": (8,)}
    detector = om.AnomalyDetector(settings, ensemble=2, verbose=0, random_state=0).fit(file)
    assert 100 < detector.calibration_.count <= 200
    assert detector.score_samples(frame).shape == (ROWS,)
    with pytest.raises(om.errors.ParameterError, match="calibration='cross': X is a large file"):
        om.AnomalyDetector(settings, ensemble=2, verbose=0, calibration="cross").fit(file)


def test_questions_about_a_large_file_are_answered_as_those_about_its_rows(vae, file, frame, streamed):
    scores = vae.score_samples(frame)
    np.testing.assert_array_equal(vae.score_samples(file), scores)
    np.testing.assert_array_equal(vae.transform(str(file)), vae.transform(frame))
    np.testing.assert_array_equal(vae.entry_scores(file), vae.entry_scores(frame))
    assert vae.reconstruct(om.read(file)).equals(vae.reconstruct(frame))
    assert vae.terms(file).keys() == vae.terms(frame).keys()
    assert str(vae.diagnose(file)) == str(vae.diagnose(frame))
    with pytest.warns(UserWarning, match="X: column 'machine' has a level that the fit did not see: 'mill'"):
        new = frame.with_columns(machine=pl.lit("mill"))
        new.write_parquet(file)
        strange = vae.score_samples(file)
    assert (strange < scores).mean() > 0.8


def test_python_fills_a_large_file_in_parts(vae, file, frame, streamed):
    filled, std = vae.impute(file, samples=5, return_std=True)
    for one, other in zip((filled, std), vae.impute(frame, samples=5, return_std=True), strict=True):
        assert one.equals(other)
    tables = vae.impute(file, samples=5, draws=2)
    assert [len(one) for one in tables] == [ROWS, ROWS]
    assert not tables[0].equals(tables[1])
    assert tables[0]["lot"].equals(frame["lot"])


def test_a_large_file_to_validate_on_is_held_in_memory(file, frame, streamed):
    losses = [om.VAE(**SMALL).fit(frame, X_valid=X).history_[-1]["validation_loss"] for X in (file, frame)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def run(*arguments) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.app([str(argument) for argument in arguments])
    assert not ended.value.code


@pytest.mark.parametrize("command", ["score", "encode", "reconstruct"])
def test_commands_answer_parts_as_they_answer_the_whole(vae, file, tmp_path, streamed, monkeypatch, command):
    model = vae.save(tmp_path / "model")
    run(command, model, file, "--out", tmp_path / "parts.csv", "--id", "lot")
    monkeypatch.setattr(table_streams, "IN_MEMORY_BYTES", 10**9)
    run(command, model, file, "--out", tmp_path / "whole.csv", "--id", "lot")
    assert (tmp_path / "parts.csv").read_text() == (tmp_path / "whole.csv").read_text()


def test_missing_cells_are_filled_in_parts(vae, file, frame, tmp_path, streamed, monkeypatch):
    model = vae.save(tmp_path / "model")
    for name in ("parts", "whole"):
        files = [tmp_path / f"{name}-{which}.parquet" for which in ("mean", "std", "draws")]
        run("impute", model, file, "--out", files[0], "--std", files[1], "--samples", 5)
        run("impute", model, file, "--out", files[2], "--draws", 2, "--samples", 5)
        monkeypatch.setattr(table_streams, "IN_MEMORY_BYTES", 10**9)
    for which in ("mean", "std"):
        assert pl.read_parquet(tmp_path / f"parts-{which}.parquet").equals(
            pl.read_parquet(tmp_path / f"whole-{which}.parquet")
        )
    drawn = pl.read_parquet(tmp_path / "parts-draws.parquet")
    assert drawn["draw"].to_list() == [1] * ROWS + [2] * ROWS
    assert not any(drawn.null_count().row(0))
    assert drawn["lot"][:ROWS].to_list() == frame["lot"].to_list()


def test_a_cell_that_cannot_be_asked_about_is_named_by_its_row(vae, frame, tmp_path, streamed, capsys):
    model = vae.save(tmp_path / "model")
    said = frame["said"].to_list()
    said[737] = "soon"
    frame.with_columns(said=pl.Series(said)).write_parquet(tmp_path / "new.parquet")
    with pytest.raises(DataError, match=r"row 737, column 'said': expected a finite number.*got 'soon'"):
        cli.app(["score", str(model), str(tmp_path / "new.parquet"), "--out", str(tmp_path / "out.csv")])
    assert not (tmp_path / "out.csv").exists()


# --------------------------------------------------------------------------------------------------------------- memory

_READ = """
import sys, warnings
import numpy as np
from omokage.data import rows
from omokage.data.column_types import survey
from omokage.data.kinds import open_data, table_streams
from omokage.files import parquet
from omokage.files.opening import open_table
table_streams.IN_MEMORY_BYTES = 0  # and all else that is held at once is as small beside the rows as it usually is
table_streams._BLOCK, survey.SAMPLE, survey._LEVELS, rows._POOL, parquet._FRAME = 4096, 10_000, 10_000, 8192, 2**21
warnings.simplefilter("ignore")
table = open_data(sys.argv[1], "auto")
schema = table.schema("scale")
for batch in table.rows(schema, 0.0, 0)[0].epoch(np.random.default_rng(0), 1024):
    pass
found = schema.rows(open_table(sys.argv[1])).each(lambda batch: batch.x.sum(1))
assert len(found) == table.count
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of the resident memory from /proc")
def test_memory_does_not_grow_with_the_rows(tmp_path):
    """Of all but the model: eight times as many rows, 45 MB more as numbers of eight bytes, take a few more."""
    peaks, few = [], table(20_000)
    for times in (1, 8):
        rows = pl.concat([few.with_columns(lot=f"L-{number}-" + pl.col("lot")) for number in range(times)])
        rows.with_columns((pl.col("amount") * (1 + 0.1 * j)).alias(f"amount{j}") for j in range(30)).write_parquet(
            tmp_path / "rows.parquet", row_group_size=4096
        )
        done = subprocess.run(
            [sys.executable, "-c", _READ, tmp_path / "rows.parquet"], capture_output=True, text=True, check=True
        )
        peaks.append(int(done.stdout) / 1024)
    assert peaks[1] - peaks[0] < 25, peaks

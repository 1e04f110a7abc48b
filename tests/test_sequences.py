"""Sequences: what padding, order, layout and units must not change, and every way to get them wrong."""

import json
import re

import numpy as np
import polars as pl
import pytest

import omokage as om
from omokage.data import Sequences
from omokage.data.kinds import kind_of, open_data
from omokage.data.kinds.sequences import SequenceSchema, SequenceTable, buckets
from omokage.data.series import read_series, rows_of_series
from omokage.errors import DataError, DataTypeError, FileFormatError, ParameterError
from omokage.nets.recurrent import Recurrent
from omokage.objectives import ELBO, Denoising

pd = pytest.importorskip("pandas")

LENGTHS = (14, 50, 9, 16, 12, 5, 11, 15)
SMALL = {"latent_dim": 2, "hidden": (6,), "epochs": 2, "batch_size": 8, "verbose": 0}


def refused(error, *parts):
    """Expect an error whose message holds all of the parts."""
    return pytest.raises(error, match="".join(f"(?=(?s:.*){re.escape(part)})" for part in parts))


def waves(count=24, seed=0, channels=2, lengths=None, holes=0.0):
    """Return sine waves of 5 to 50 steps, a list of (T, C), each channel of a unit of its own.

    Their lengths are such that all but the longest are padded to 16 steps, since each length is a program to compile.
    """
    random = np.random.default_rng(seed)
    lengths = np.resize(LENGTHS if lengths is None else lengths, count)
    series = []
    for length in lengths:
        phase = random.uniform(0, 2 * np.pi, channels)
        values = np.sin(0.4 * np.arange(length)[:, None] + phase) + random.normal(0, 0.05, (length, channels))
        values = values * 10.0 ** np.arange(channels) + 5
        values[random.random(values.shape) < holes] = np.nan
        values[0, 0] = 5.0  # of each series something is there
        series.append(values)
    return series


def table(series, names=("a", "b"), mixed=False):
    """Return a long table of series, "id" and "t" beside the channels; `mixed`: rows of all series in turn."""
    parts = [
        {"id": f"s{number}", "t": float(step), **dict(zip(names, row, strict=True))}
        for number, values in enumerate(series)
        for step, row in enumerate(values)
    ]
    if mixed:
        parts.sort(key=lambda part: part["t"])
    return pl.DataFrame(parts)


KEYED = Sequences(series="id", time="t")
OTHERS = {
    "two layers, both ways": {"network": Recurrent(bidirectional=True, feed="repeated"), "hidden": (5, 4)},
    "convolutions": {"network": "tcn", "hidden": (4, 4)},
}


@pytest.fixture(scope="module")
def unlike():
    """A model of series of unlike lengths with missing entries, and such series."""
    X = waves(holes=0.1)
    return om.VAE(**SMALL, data="sequences").fit(X), X


@pytest.fixture(scope="module")
def plain():
    """A model of complete series of one length."""
    return om.VAE(**SMALL).fit(np.stack(waves(lengths=16)))


def answers(model, X):
    """Return what a model says of series: for each question something with an entry for each series."""
    return {
        **model.terms(X, samples=4),
        "log_likelihood": model.log_likelihood(X, samples=4),
        "transform": model.transform(X),
        "reconstruct": model.reconstruct(X),
        "drawn": model.reconstruct(X, sample=True, seed=3),
        "step_scores": model.step_scores(X, samples=4),
        "entry_scores": model.entry_scores(X, samples=4),
        "impute": model.impute(X, samples=4, rounds=2),
    }


# ------------------------------------------------------------------------------------------- what must not matter


@pytest.mark.optimised
def test_a_series_has_the_answers_that_it_has_alone(unlike):
    model, X = unlike
    together = answers(model, X)
    for number in range(0, len(X), 5):
        for name, alone in answers(model, [X[number]]).items():
            np.testing.assert_allclose(alone[0], together[name][number], rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.optimised
@pytest.mark.exhaustive
@pytest.mark.parametrize("settings", OTHERS.values(), ids=OTHERS)
def test_a_series_has_the_answers_that_it_has_alone_from_other_networks(settings):
    X = waves(holes=0.1)
    model = om.VAE(**{**SMALL, **settings}, data="sequences").fit(X)
    terms, rebuilt = model.terms(X, samples=4), model.reconstruct(X)
    for number in range(5):
        np.testing.assert_allclose(model.reconstruct([X[number]])[0], rebuilt[number], rtol=1e-5, atol=1e-5)
        for name, alone in model.terms([X[number]], samples=4).items():
            np.testing.assert_allclose(alone[0], terms[name][number], rtol=1e-5, atol=1e-5)


def test_shapes_and_places_of_answers(unlike):
    model, X = unlike
    found = answers(model, X)
    for name in ("reconstruct", "drawn", "entry_scores", "impute"):
        assert [values.shape for values in found[name]] == [series.shape for series in X], name
    assert [len(steps) for steps in found["step_scores"]] == [len(series) for series in X]
    assert found["transform"].shape == (len(X), 2)
    assert found["elbo"].shape == found["log_likelihood"].shape == (len(X),)


def test_the_scores_of_entries_add_up(unlike):
    model, X = unlike
    entries = model.entry_scores(X, samples=4, seed=2)
    for scores, series, steps in zip(entries, X, model.step_scores(X, samples=4, seed=2), strict=True):
        assert np.array_equal(np.isnan(scores), np.isnan(series))
        np.testing.assert_allclose(np.nansum(scores, 1), steps, rtol=1e-6)


def test_the_scores_of_entries_are_the_reconstruction():
    """In each draw, and so where the code is one point; `inference.terms` has it as bound plus KL."""
    X = waves(holes=0.1)
    ae = om.AutoEncoder(**SMALL, data="sequences").fit(X)
    sums = [np.nansum(scores) for scores in ae.entry_scores(X, samples=4)]
    np.testing.assert_allclose(sums, ae.terms(X)["reconstruction"], rtol=1e-5)
    errors = [np.nansum((rebuilt - series) ** 2) for rebuilt, series in zip(ae.reconstruct(X), X, strict=True)]
    np.testing.assert_allclose(ae.terms(X)["squared_error"], errors, rtol=1e-4)
    assert ae.impute(X, samples=4, rounds=2)[0].shape == X[0].shape


def test_the_unit_of_a_channel_shifts_its_density():
    X, factor = waves(holes=0.1), np.array([1.0, 1024.0])  # a power of two, so that x is the same to the bit
    scores = {}
    for name, data in {"raw": X, "scaled": [series * factor for series in X]}.items():
        model = om.VAE(**SMALL, data="sequences").fit(data)
        asked = {"samples": 4}
        bounds = (model.score_samples(data, **asked), model.log_likelihood(data, **asked))
        scores[name] = (*bounds, model.entry_scores(data, **asked))
    seen = np.array([np.count_nonzero(~np.isnan(series[:, 1])) for series in X])
    for raw, scaled in zip(scores["raw"][:2], scores["scaled"][:2], strict=True):
        np.testing.assert_allclose(scaled, raw - np.log(1024) * seen, rtol=1e-5)
    for raw, scaled in zip(scores["raw"][2], scores["scaled"][2], strict=True):
        np.testing.assert_allclose(scaled, raw - np.log(factor), rtol=1e-4, atol=1e-4)


def test_the_other_layout_is_the_transpose(plain):
    X = np.stack(waves(lengths=16))
    turned = om.VAE(**SMALL, data=Sequences(layout="NCT")).fit(X.swapaxes(1, 2))
    X[::3, 4:6, 1] = np.nan
    straight = answers(plain, X)
    for name, found in answers(turned, X.swapaxes(1, 2)).items():
        expected = straight[name].swapaxes(1, 2) if np.ndim(straight[name]) == 3 else straight[name]
        np.testing.assert_array_equal(found, expected, err_msg=name)
    for one, other in zip(answers(turned, [x.T for x in X]).values(), straight.values(), strict=True):
        np.testing.assert_array_equal(one, other.swapaxes(1, 2) if other.ndim == 3 else other)
    assert turned.sample(3).shape == (3, 2, 16)
    np.testing.assert_array_equal(turned.inverse_transform(np.ones((3, 2))).shape, (3, 2, 16))


def test_a_list_of_equal_lengths_is_the_array(plain):
    X = np.stack(waves(lengths=16))
    listed = om.VAE(**SMALL, data="sequences").fit(list(X))
    for name, found in answers(listed, list(X)).items():
        np.testing.assert_array_equal(found, answers(plain, X)[name], err_msg=name)
    assert om.VAE(**SMALL).fit(list(X)).schema_.to_json() == plain.schema_.to_json()  # "auto" sees (time, channels)


@pytest.mark.parametrize("form", ["csv", "parquet", "polars", "pandas"])
def test_a_long_table_is_the_list(form, tmp_path):
    X = waves(holes=0.1)
    frame = table(X, mixed=form in ("csv", "pandas"))
    if form == "pandas":
        frame = pd.DataFrame(frame.to_dict(as_series=False))  # `to_pandas` would need PyArrow
    elif form != "polars":
        path = tmp_path / f"series.{form}"
        (frame.write_csv if form == "csv" else frame.write_parquet)(path)
        frame = path
    model, expected = om.VAE(**SMALL, data=KEYED).fit(frame), om.VAE(**SMALL, data="sequences").fit(X)
    for name, values in answers(expected, X).items():
        for one, other in zip(answers(model, frame)[name], values, strict=True):
            np.testing.assert_array_equal(one, other, err_msg=name)
    assert model.schema_.names == ("a", "b")


def test_a_table_of_any_types_and_times():
    times = pd.date_range("2024-01-09", periods=3, freq="D", tz="Asia/Tokyo")
    frame = pd.DataFrame(
        {
            "engine": [7, 10, 7, 10, 7, 10],
            "at": times[[0, 0, 1, 1, 2, 2]],
            "speed": pd.array([1, 2, None, 4, 5, 6], dtype="Int64"),
            "on": [True, False, True, True, False, True],
            "load": np.arange(6, dtype=np.float32),
        }
    )
    values, names, _ = read_series(frame, Sequences(series="engine", time="at"), "X")
    assert names == ("speed", "on", "load")
    np.testing.assert_array_equal(values[0], [[1, 1, 0], [np.nan, 1, 2], [5, 0, 4]])
    np.testing.assert_array_equal(values[1], [[2, 0, 1], [4, 1, 3], [6, 1, 5]])
    columns = {name: column.astype(object).where(column.notna(), None).tolist() for name, column in frame.items()}
    again, _, _ = read_series(pl.DataFrame(columns), Sequences(series="engine", time="at"), "X")
    np.testing.assert_array_equal(again, values)


def test_rows_of_a_series_keep_their_order_where_no_time_is_named():
    frame = pl.DataFrame({"id": [2, 1, 2, 1, 2], "t": [5, 1, 3, 2, 4], "x": [1.0, 2, 3, 4, 5]})
    assert [rows.tolist() for rows in rows_of_series(frame, Sequences(series="id"))] == [[0, 2, 4], [1, 3]]
    values, names, _ = read_series(frame.drop("t"), Sequences(series="id"), "X")
    assert ([series[:, 0].tolist() for series in values], names) == ([[1, 3, 5], [2, 4]], ("x",))


def test_channels_of_a_table_may_come_in_another_order():
    X = waves(holes=0.1)
    model = om.VAE(**SMALL, data=KEYED).fit(table(X))
    turned = table(X).select("b", "t", "a", "id")
    for name, values in answers(model, table(X)).items():
        np.testing.assert_array_equal(answers(model, turned)[name][0], values[0], err_msg=name)
    again = om.VAE(**SMALL, data=KEYED, warm_start=True).fit(table(X)).fit(turned)
    other = om.VAE(**SMALL, data=KEYED, warm_start=True).fit(table(X)).fit(table(X))
    np.testing.assert_array_equal(again.transform(turned), other.transform(table(X)))


def test_masked_entries_and_numbers_of_any_type_are_read():
    masked = np.ma.masked_greater(np.arange(6).reshape(1, 3, 2), 4)
    np.testing.assert_array_equal(read_series(masked, Sequences(), "X")[0], [[[0, 1], [2, 3], [4, np.nan]]])
    given = [np.arange(3, dtype=np.int8), [True, False], np.array([1, None], object), np.ones((2, 1), np.float32)]
    values, _, _ = read_series(given, Sequences(), "X")
    assert [series.shape for series in values] == [(3, 1), (2, 1), (2, 1), (2, 1)]
    assert np.isnan(values[2][1, 0])
    ragged = np.empty(2, object)
    ragged[:] = [np.ones((3, 2)), np.zeros((4, 2))]
    assert [len(series) for series in read_series(ragged, Sequences(), "X")[0]] == [3, 4]


def test_what_is_taken_for_sequences():
    def kind(X):
        return open_data(X, "auto").kind.name

    assert kind(np.random.default_rng(0).random((4, 3, 2))) == kind(waves(4)) == kind(tuple(waves(4))) == "sequences"
    assert kind([np.arange(3.0), np.arange(4.0)]) == "sequences"
    assert kind([np.arange(3.0), np.arange(3.0) ** 2]) == kind([[1, 2], [3, 4]]) == kind(np.eye(3)) == "vectors"
    assert kind(list(np.random.default_rng(0).random((4, 3, 3, 1)))) == "images"
    with refused(DataError, "inhomogeneous"):
        kind([[1, 2], [3]])


# ----------------------------------------------------------------------------------------------------------- training


def test_a_weight_of_two_is_the_series_twice():
    X = waves(holes=0.1)
    weight = np.resize([2, 1, 0, 1, 3, 1, 1, 2, 1, 1, 1, 2], len(X))
    weighted = om.VAE(**SMALL, data="sequences").fit(X, sample_weight=weight)
    repeated = om.VAE(**SMALL, data="sequences").fit([X[i] for i in np.repeat(np.arange(len(X)), weight)])
    assert weighted.schema_.buckets == repeated.schema_.buckets
    np.testing.assert_array_equal(weighted.transform(X), repeated.transform(X))
    np.testing.assert_array_equal(weighted.sample(5)[0], repeated.sample(5)[0])


def test_weights_count_across_lengths():
    """Groups of one length are trained side by side: weights are relative to those of all series."""
    X = [np.full((length, 1), value) for length, value in ((5, 1.0), (5, 2.0), (40, 3.0), (40, 4.0))]
    loaded = SequenceTable(X, [0.25, 0.25, 0.5, 0.5], Sequences())
    rows, _ = loaded.rows(loaded.schema("scale"), 0.0, 0)
    found = {}
    for batch in rows.epoch(np.random.default_rng(0), 8):
        for length, weight in zip(batch.lengths, batch.weight, strict=True):
            found[int(length)] = float(weight)
    assert found == pytest.approx({5: 2 / 3, 40: 4 / 3})


def test_the_order_of_the_series_does_not_matter(unlike):
    model, X = unlike
    turned = om.VAE(**model.get_params()).fit(X[::-1])
    np.testing.assert_array_equal(turned.transform(X), model.transform(X))


def test_early_stopping_holds_out_series_of_all_lengths():
    X = waves(40, holes=0.1)
    loaded = SequenceTable(X, None, Sequences())
    training, checking = loaded.rows(loaded.schema("scale"), 0.25, 0)
    assert (training.count, checking.count) == (30, 10)
    few = SequenceTable(X[:2], None, Sequences())  # of two lengths: one is held out all the same
    assert [rows.count for rows in few.rows(few.schema("scale"), 0.1, 0)] == [1, 1]
    model = om.VAE(**{**SMALL, "epochs": 30}, data="sequences", early_stopping=1, learning_rate=0.5).fit(X)
    losses = [record["validation_loss"] for record in model.history_]
    assert len(losses) < 30
    assert np.isfinite(losses).all()


def test_validation_series_may_be_longer_than_those_of_the_fit():
    X, longer = waves(holes=0.1), waves(6, seed=1, holes=0.1, lengths=(9, 60, 16))
    ae = om.AutoEncoder(**SMALL, data="sequences").fit(X, X_valid=longer)
    jacobians = ae.schema_.log_jacobians(ae.schema_.rows(longer))
    expected = -(ae.terms(longer)["reconstruction"] - jacobians).mean()
    assert ae.history_[-1]["validation_loss"] == pytest.approx(expected, rel=1e-4)


def test_few_lengths_are_compiled_whatever_comes():
    X = waves(60, lengths=np.random.default_rng(0).integers(5, 51, 60))
    schema = SequenceTable(X, None, Sequences()).schema("scale")
    longest = max(map(len, X))
    assert len(schema.buckets) <= 4
    assert schema.buckets[-1] == longest
    assert {batch.x.shape[1] for _, batch in schema.encode(X).groups} == set(schema.buckets)
    sizes = {schema.bucket(length) for length in range(1, 100 * longest)}
    assert len(sizes) <= 4 + np.log(100) / np.log(1.5) + 1
    assert all(schema.bucket(length) >= length for length in range(1, 500))


def test_series_longer_than_those_of_the_fit(unlike):
    model, X = unlike
    longer = waves(3, lengths=60)
    assert [len(series) for series in model.reconstruct([X[0], longer[0]])] == [len(X[0]), 60]
    np.testing.assert_allclose(model.transform([X[0], *longer])[0], model.transform(X)[0], atol=1e-5)


def test_lengths_are_padded_by_quarters():
    assert buckets(np.array([7]), np.array([3])) == (7,)
    assert buckets(np.array([5, 100]), np.array([1000, 1])) == (8, 100)
    lengths = np.arange(1, 1001)
    sizes = np.array(buckets(lengths, np.ones(1000)))
    padded = sizes[np.searchsorted(sizes, lengths)].sum()
    assert padded < 1.35 * lengths.sum()  # and 2 times with one length for all
    counts = np.random.default_rng(0).integers(1, 4, 1000)
    assert buckets(lengths, counts) == buckets(*np.unique(np.repeat(lengths, counts), return_counts=True))


@pytest.mark.optimised
def test_a_checkpoint_resumes_to_the_bit(tmp_path):
    X = waves(holes=0.1)

    def stop(record):
        if record["epoch"] == 1:
            raise RuntimeError("stopped")

    settings = {**SMALL, "epochs": 3, "data": "sequences"}
    with pytest.raises(RuntimeError, match="stopped"):
        om.VAE(**settings).fit(X, checkpoint=tmp_path / "c", on_epoch=stop)
    resumed = om.VAE(**settings).fit(X, checkpoint=tmp_path / "c", resume=True)
    np.testing.assert_array_equal(resumed.transform(X), om.VAE(**settings).fit(X).transform(X))


def test_denoising_takes_sequences():
    X = waves(holes=0.1)
    ae = om.AutoEncoder(**SMALL, data="sequences", objective=Denoising("gaussian", 0.2)).fit(X)
    assert np.isfinite(ae.history_[-1]["loss"])


def test_bits_get_a_bernoulli():
    bits = [np.random.default_rng(i).integers(0, 2, (9, 2)) for i in range(8)]
    model = om.VAE(**SMALL, data="sequences").fit(bits)
    assert type(model.recipe_.likelihood).__name__ == "Bernoulli"
    assert set(np.unique(model.sample(4))) <= {0.0, 1.0}
    with refused(DataError, "from 0 to 1", "got 7 in series 1, step 3, channel 1"):
        bits[1][3, 1] = 7
        model.score_samples(bits)


# ------------------------------------------------------------------------------------------------ draws and files


def test_draws_have_the_lengths_of_the_fit_or_those_asked_for(unlike):
    model, X = unlike
    drawn = model.sample(200, seed=1)
    there = [len(series) for series in X]
    assert {len(series) for series in drawn} <= set(there)
    # The mean length of 200 draws, within four standard errors.
    assert np.mean([len(s) for s in drawn]) == pytest.approx(np.mean(there), abs=4 * np.std(there) / np.sqrt(200))
    assert model.sample(4, length=17).shape == (4, 17, 2)
    assert [len(series) for series in model.sample(3, length=[4, 70, 9])] == [4, 70, 9]
    for one, other in zip(model.sample(10), model.sample(200), strict=False):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(model.sample(10, mean=True), model.sample(30, mean=True), strict=False):
        np.testing.assert_array_equal(one, other)
    z = np.zeros((2, 2))
    assert model.inverse_transform(z).shape == (2, max(there), 2)
    assert [len(series) for series in model.inverse_transform(z, length=[3, 80])] == [3, 80]
    for length in (0, 1.5, [5, -1], "many", [5, 6, 7]):
        with pytest.raises(ParameterError, match="length="):
            model.sample(2, length=length)


def test_what_is_there_stays_and_all_holes_are_filled(unlike, plain):
    model, X = unlike
    for filled, series in zip(model.impute(X, samples=4, rounds=2), X, strict=True):
        seen = ~np.isnan(series)
        assert np.array_equal(filled[seen], series[seen])
        assert np.isfinite(filled).all()
        assert (~seen).any() == (not np.array_equal(filled, series))
    X = np.stack(waves(5, lengths=16, holes=0.2)).astype(np.float32)
    filled = plain.impute(X, samples=4, rounds=2)  # whose fit had no holes
    assert filled.shape == X.shape
    assert np.array_equal(filled[~np.isnan(X)], X[~np.isnan(X)])
    assert np.isfinite(filled).all()


def test_a_saved_model_gives_equal_answers(unlike, tmp_path):
    model, X = unlike
    loaded = om.load(model.save(tmp_path / "m"))
    for name, values in answers(model, X).items():
        for one, other in zip(answers(loaded, X)[name], values, strict=True):
            np.testing.assert_array_equal(one, other, err_msg=name)
    for one, other in zip(loaded.sample(4), model.sample(4), strict=True):
        np.testing.assert_array_equal(one, other)
    assert "# VAE of sequences of 2 channels" in (tmp_path / "m" / "README.md").read_text(encoding="utf-8")
    keyed = om.VAE(**SMALL, data=KEYED).fit(table(X))
    again = om.load(keyed.save(tmp_path / "keyed"))
    assert again.data == KEYED == again.schema_.kind
    np.testing.assert_array_equal(again.transform(table(X)), keyed.transform(table(X)))


def test_a_damaged_schema_is_refused(plain):
    whole = plain.schema_.to_json()
    assert SequenceSchema.from_json(json.loads(json.dumps(whole))).to_json() == whole
    for name, value in {
        "layout": "TNC", "time": "t", "buckets": [], "lengths": [12, 5], "counts": [0.0], "observed": [1.0],
        "missing": [], "columns": {}, "series": 5.5,
    }.items():  # fmt: skip
        if name == "missing":
            continue
        with pytest.raises(FileFormatError, match=r"schema\.json"):
            SequenceSchema.from_json({**whole, name: value})
        with pytest.raises(FileFormatError, match=r"schema\.json"):
            SequenceSchema.from_json({key: entry for key, entry in whole.items() if key != name})


def test_columns_may_be_called_by_numbers(tmp_path):
    frame = pd.DataFrame(table(waves()).rows())
    assert list(frame.columns) == [0, 1, 2, 3]
    model = om.VAE(**SMALL, data=Sequences(series=0, time=1)).fit(frame)
    expected = model.score_samples(frame)
    assert model.schema_.names == ("2", "3")
    for reading in (Sequences(series="0", time="1"), Sequences(series=np.int64(0), time="1")):
        assert reading == model.data
    for estimator in (model, om.load(model.save(tmp_path / "m"))):
        np.testing.assert_array_equal(estimator.score_samples(frame[[3, 1, 0, 2]]), expected)
        named = pl.DataFrame(table(waves()).rows(), schema=["0", "1", "2", "3"], orient="row")
        np.testing.assert_array_equal(estimator.score_samples(named), expected)
    with refused(DataError, "X: no column '4'", "It has '0', '1', '2', '3'"):
        om.VAE(**SMALL, data=Sequences(series=4)).fit(frame)
    assert list(frame.columns) == [0, 1, 2, 3]


def test_a_key_in_the_index_is_told_to_be_made_a_column():
    frame = pd.DataFrame(table(GOOD).rows(), columns=["id", "t", "a", "b"])
    for keys in ("id", ["id", "t"]):
        with refused(DataError, "X: no column 'id'", "the index of the frame is called 'id'", "reset_index()"):
            om.VAE(**SMALL, data=KEYED).fit(frame.set_index(keys))


@pytest.mark.parametrize(
    "unlike", [{"a": np.ones((4, 2)), "b": np.ones((3, 2))}, {"a": [1.0, 2.0], "b": [1.0]}, {"a": np.ones((4, 2))}]
)
@pytest.mark.parametrize("data", ["auto", "sequences"])
def test_series_in_a_dict_are_told_to_be_a_list(unlike, data):
    with refused(DataError, "X: expected rows, got a dict. Give them as a list, list(X.values())"):
        om.VAE(**SMALL, data=data).fit(unlike)
    with refused(DataError, "pandas.DataFrame(X)"):
        om.VAE(**SMALL, data=data).fit({"a": [1.0, 2.0], "b": [3.0, 4.0], "c": np.array(5.0)})


# ------------------------------------------------------------------------------------- lists of frames, by their names

AS_FRAMES = {
    "pandas": lambda values, names: pd.DataFrame(values, columns=names),
    "polars": lambda values, names: pl.DataFrame(values, schema=names),
    "structured": lambda values, names: np.rec.fromarrays(values.T, names=names),
}


@pytest.mark.parametrize("make", AS_FRAMES.values(), ids=AS_FRAMES)
@pytest.mark.parametrize("lengths", [None, (12,)])
def test_frames_of_a_list_are_read_by_their_names(make, lengths):
    series = waves(8, lengths=lengths)
    given = [make(one, ["a", "b"]) for one in series]
    mixed = [
        make(one[:, ::-1], ["b", "a"]) if number % 2 else make(one, ["a", "b"]) for number, one in enumerate(series)
    ]
    for X in (given, mixed, tuple(mixed)):
        read = read_series(X, Sequences(), "X")
        assert read.names == ("a", "b")
        for found, one in zip(read.values, series, strict=True):
            np.testing.assert_allclose(found, one)
    assert kind_of(given, "auto").name == "sequences"


def test_a_model_knows_the_names_of_a_list_of_frames(tmp_path):
    series = waves()
    keyed = om.VAE(**SMALL, data=KEYED).fit(table(series))
    frames = [pd.DataFrame(one, columns=["a", "b"]) for one in series]
    listed = om.VAE(**SMALL, data="sequences").fit(frames)
    for model in (keyed, listed, om.load(listed.save(tmp_path / "m"))):
        expected = model.score_samples(series)
        np.testing.assert_array_equal(model.score_samples([frame[["b", "a"]] for frame in frames]), expected)
        with refused(DataError, "not those seen at fit", "missing 'b'", "unexpected 'c'"):
            model.score_samples([frame.rename(columns={"b": "c"}) for frame in frames])


def test_frames_of_a_list_that_do_not_fit_together_are_refused():
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]})
    for other, got in (
        (frame.rename(columns={"b": "c"}), "'a', 'c'"),
        (frame[["a"]], "'a'"),
        (frame.values, "no names"),
    ):
        with refused(DataError, "X: series 1: expected the columns of series 0, 'a', 'b'; got ", got):
            read_series([frame, other], Sequences(), "X")
    with refused(DataError, "X: series 1", "not so in 'b'"):
        read_series([frame, frame.assign(b="x")], Sequences(), "X")
    with refused(DataError, "X: series 1 is empty"):
        read_series([frame, frame[:0]], Sequences(), "X")


def test_frames_of_a_list_may_have_the_columns_that_tell_series_and_times():
    series = waves(8)
    parts = [table([one]) for one in series]
    for reading in (KEYED, Sequences(time="t", series="id", window=4)):
        read = read_series(parts, reading, "X")
        assert read.names == ("a", "b")
        np.testing.assert_allclose(read.values[1], series[1])
    with refused(DataError, "X: series 1", "comes before the time of row 0"):
        read_series([parts[0], parts[1][::-1]], KEYED, "X")
    with refused(DataError, "X: series 1: expected one series, got 8 by 'id'", "pandas.concat(X)"):
        read_series([parts[0], table(series)], KEYED, "X")


@pytest.mark.parametrize("one", [lambda frame: frame, lambda frame: frame["a"]])
def test_the_index_of_each_frame_of_a_list_ascends(one):
    index = pd.date_range("2024", periods=12, freq="h")
    frame = pd.DataFrame(waves(1, lengths=(12,))[0], columns=["a", "b"], index=index)
    shuffled = frame.sample(frac=1, random_state=0)
    assert len(read_series([one(frame)] * 2, Sequences(window=4), "X").values) == 2
    with refused(DataError, "X: series 1: row ", "does not come after"):
        read_series([one(frame), one(shuffled)], Sequences(window=4), "X")


# ------------------------------------------------------------------------------------------------------- bad input

GOOD = [np.ones((4, 2)), np.zeros((3, 2))]
BAD = {
    "two axes": (np.ones((5, 3)), "auto", DataError, ["(series, time, channels)", "shape (5, 3)", "X[:, :, None]"]),
    "no series": (np.ones((0, 3, 2)), "auto", DataError, ["shape (0, 3, 2)"]),
    "no steps": (np.ones((3, 0, 2)), "auto", DataError, ["shape (3, 0, 2)"]),
    "empty list": ([], "auto", DataError, ["at least one series", "empty list"]),
    "one series": (GOOD[:1], "auto", DataError, ["at least 2 series, got 1"]),
    "numbers": ([1.0, 2.0, 3.0], "auto", DataError, ["(series, time, channels)", "shape (3,)"]),
    "a number": (5, "auto", DataError, ["expected sequences", "got int"]),
    "ragged": ([[[1, 2], [3]], [[1, 2]]], "auto", DataTypeError, ["series 0: expected numbers of a regular shape"]),
    "an empty one": ([GOOD[0], np.empty((0, 2))], "auto", DataError, ["series 1 is empty", "Leave it out"]),
    "channels": ([*GOOD, np.ones((4, 3))], "auto", DataError, ["series 2 has 3 channels", "series 0 has 2"]),
    "three axes": ([np.ones((2, 2, 2))], "auto", DataError, ["series 0", "got the shape (2, 2, 2)"]),
    "text": ([GOOD[0], np.array([["1", "2"]])], "auto", DataTypeError, ["series 1: expected numbers, got '1'"]),
    "text array": (np.full((2, 3, 1), "a"), "auto", DataTypeError, ["expected numbers, got 'a'"]),
    "objects": ([np.array([["a", 1]], object)], "auto", DataTypeError, ["series 0: expected numbers", "'a'"]),
    "complex": (np.ones((2, 3, 1), complex), "auto", DataTypeError, ["expected numbers, got complex128"]),
    "times": (np.ones((2, 3, 1), "M8[s]"), "auto", DataTypeError, ["expected numbers, got datetime64[s]"]),
    "infinity": (
        [GOOD[0], np.array([[1, 2], [3, -np.inf]])], "auto", DataError,
        ["-infinity in series 1, step 1, channel 1", "NaN where an entry is missing"],
    ),
    "too large": (np.full((2, 3, 1), 1e39), "auto", DataError, ["1e+39 in series 0, step 0, channel 0", "2 more"]),
    "all missing": ([*GOOD, np.full((5, 2), np.nan)], "auto", DataError, ["series 2 has no observed entry"]),
    "a missing channel": ([s * [1, np.nan] for s in GOOD], "auto", DataError, ["no series has a value in channel 1"]),
    "constant": (np.ones((4, 3, 2)), "auto", DataError, ["every column is constant"]),
    "lazy": (table(GOOD).lazy(), KEYED, DataError, ["LazyFrame", ".collect()"]),
    "no key": (table(GOOD), "auto", DataError, ["Sequences(series='...'", "--series", "'id', 't', 'a', 'b'"]),
    "no such column": (table(GOOD), Sequences(series="ids"), DataError, ["no column 'ids'. Did you mean 'id'?"]),
    "no such time": (table(GOOD), Sequences("NTC", "id", "when"), DataError, ["no column 'when'", "It has 'id', 't'"]),
    "no channel": (table(GOOD).select("id", "t"), KEYED, DataError, ["beside 'id' and 't'", "there is no other"]),
    "no rows": (table(GOOD).head(0), KEYED, DataError, ["a table without rows"]),
    "a text column": (table(GOOD).with_columns(c=pl.lit("x")), KEYED, DataError, ["not so in 'c'", "--id"]),
    "unsorted": (
        table(GOOD)[[0, 2, 1, 3, 4, 5, 6]], KEYED, DataError,
        ["series 's0': row 2 (t = 1.0) comes before the time of row 1 (2.0)", "Sort the table by 't'"],
    ),
    "repeated times": (
        table(GOOD).with_columns(t=pl.lit(1)), KEYED, DataError,
        ["series 's0': row 1 (t = 1) repeats the time of row 0 (1)", "one row for each time"],
    ),
    "times as text": (
        pl.DataFrame({"id": [1, 1], "t": ["10", "9"], "x": [1.0, 2.0]}), KEYED, DataError,
        ["series 1: row 1 (t = 9) comes before the time of row 0 (10)", "by time and not as text"],
    ),
    "no time": (
        table(GOOD).with_columns(t=pl.when(pl.int_range(7) != 5).then("t")), KEYED, DataError,
        ["series 's1': row 5 has no value in 't'"],
    ),
    "no name": (
        table(GOOD).with_columns(id=pl.when(pl.int_range(7) < 5).then("id")), KEYED, DataError,
        ["row 5 has no value in 'id', so it belongs to no series, and so have 1 more"],
    ),
    "pandas without names": (
        pd.DataFrame({"id": pd.array([1, None], dtype="Int64"), "x": [1.0, 2.0]}), Sequences(series="id"), DataError,
        ["row 1 has no value in 'id'"],
    ),
    "infinity in a table": (
        table(GOOD).with_columns(b=pl.when(pl.int_range(7) != 5).then("b").otherwise(pl.lit(np.inf))), KEYED, DataError,
        ["X contains infinity at row 5, column 'b'"],
    ),
    "a missing series in a table": (
        table([*GOOD, np.full((2, 2), np.nan)]), KEYED, DataError, ["series 's2' (from row 7) has no observed entry"],
    ),
    "a missing channel in a table": (
        table([s * [1, np.nan] for s in GOOD]), KEYED, DataError, ["no series has a value in channel 'b'"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_data_that_cannot_be_used(case):
    X, kind, error, parts = BAD[case]
    with refused(error, *parts):
        om.VAE(**SMALL, data="sequences" if kind == "auto" else kind).fit(X)


def test_data_other_than_at_fit(plain):
    with refused(DataError, "expected 2 channels, as at fit; got 3", "layout 'NTC'"):
        plain.transform(np.ones((2, 16, 3)))
    with refused(DataError, "expected 2 channels"):
        om.VAE(**SMALL).fit(np.stack(waves(lengths=16)), X_valid=np.ones((2, 16, 1)))
    with refused(DataError, "X_valid: ", "series 0 has no observed entry"):
        om.VAE(**SMALL).fit(np.stack(waves(lengths=16)), X_valid=np.full((2, 16, 2), np.nan))
    keyed = om.VAE(**SMALL, data=KEYED).fit(table(waves(holes=0.1)))
    with refused(DataError, "not those seen at fit", "missing 'b'", "unexpected 'c'"):
        keyed.score_samples(table(waves(24), names=("a", "c")))
    with refused(DataError, "expected 2 channels, as at fit ('a', 'b'); got 1"):
        keyed.score_samples(np.ones((2, 5, 1)))
    with refused(DataError, "needs the column that tells series apart"):
        plain.score_samples(table(waves(24)))
    with refused(DataError, "not those seen at fit", "missing 'b'"):
        keyed.set_params(warm_start=True).fit(table(waves(24)).drop("b"))


def test_settings_that_cannot_be():
    for settings, parts in [
        ({"layout": "TNC"}, ["layout='TNC'", "'NTC' or 'NCT'"]),
        ({"time": "t"}, ["expected series= as well"]),
        ({"series": "t", "time": "t"}, ["both name the column 't'"]),
        ({"series": 3.5}, ["series=3.5", "name of a column"]),
        ({"series": True}, ["series=True", "name of a column"]),
    ]:
        with refused(ParameterError, *parts):
            Sequences(**settings)
    with refused(ParameterError, "hidden: expected the units of one recurrent layer"):
        om.VAE(latent_dim=2, hidden=(), verbose=0).fit(np.stack(waves(lengths=16)))
    with refused(ParameterError, "network='mlp': takes vectors or images, and X is sequences", "'gru'"):
        om.VAE(latent_dim=2, network="mlp", verbose=0).fit(np.stack(waves(lengths=16)))
    with refused(DataError, "sample_weight: expected one number for each of 24 rows"):
        om.VAE(**SMALL).fit(np.stack(waves(lengths=16)), sample_weight=np.ones(5))


# ------------------------------------------------------------------------------------------- what comes of training


def test_waves_are_learned():
    X = waves(200, channels=1)
    settings = {"latent_dim": 4, "hidden": (32,), "learning_rate": 3e-3, "batch_size": 20, "verbose": 0}
    model = om.VAE(**settings, epochs=100, data="sequences").fit(X)
    fresh = waves(50, seed=1, channels=1)
    errors = np.concatenate([rebuilt - series for rebuilt, series in zip(model.reconstruct(fresh), fresh, strict=True)])
    spread = np.concatenate(fresh).std()
    assert 1 - np.mean(errors**2) / spread**2 > 0.5
    drawn = np.concatenate(model.sample(100))
    assert np.abs(np.quantile(drawn, [0.01, 0.99]) - 5).max() < 1.6
    assert drawn.std() == pytest.approx(spread, rel=0.3)


@pytest.mark.slow
@pytest.mark.optimised
def test_gaps_in_heartbeats_are_filled_better_than_by_straight_lines(needs):
    """ECG5000: 20 of 140 steps of beats that the model has not seen, after a fit on complete ones."""
    file = np.load(needs("ecg5000", "ecg5000.npz"))
    beats = file["X_test"][file["y_test_anomaly"] == 0][:600, :, None].astype(np.float64)
    settings = {"latent_dim": 10, "hidden": (32,), "learning_rate": 1e-2, "epochs": 8, "verbose": 0}
    random = np.random.default_rng(0)
    starts = random.integers(1, 140 - 20, len(beats))
    gaps = (np.arange(140) >= starts[:, None]) & (np.arange(140) < starts[:, None] + 20)
    torn = np.where(gaps[:, :, None], np.nan, beats)
    straight = [
        np.interp(np.flatnonzero(gap), np.flatnonzero(~gap), beat[~gap, 0])
        for beat, gap in zip(beats, gaps, strict=True)
    ]
    errors = {"straight": np.mean((np.concatenate(straight) - beats[:, :, 0][gaps]) ** 2)}
    for name, objective in {"complete": "elbo", "masking": Denoising("masking", 0.2, ELBO())}.items():
        model = om.VAE(**settings, objective=objective).fit(file["X_train_normal"][:, :, None])
        errors[name] = np.mean((model.impute(torn)[:, :, 0][gaps] - beats[:, :, 0][gaps]) ** 2)
    assert errors["complete"] < errors["straight"] / 2, errors
    assert errors["masking"] < errors["straight"] / 2, errors

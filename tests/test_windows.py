"""Long series: cut into windows, scored step by step, and put back where they belong."""

import numpy as np
import polars as pl
import pytest

import omokage as om
from omokage.batch import Batch
from omokage.cli import main
from omokage.data import Sequences
from omokage.data.rows import MemoryRows, divide
from omokage.data.windows import Windows, starts
from omokage.errors import DataError, ParameterError

WINDOW = 32
NAMES = ("水温", "圧力", "回転")
SMALL = {"network": "tcn", "hidden": (16, 16), "latent_dim": 4, "epochs": 40}
SPIKE = slice(700, 705)


def stream(steps, seed, spike=False):
    """Three channels that two waves make, each in units of its own, with noise."""
    random, time = np.random.default_rng(seed), np.arange(steps)
    first, second = np.sin(time / 5 + seed), np.cos(time / 8)
    x = np.stack([first, first - second, second], 1) + 0.1 * random.normal(size=(steps, 3))
    if spike:
        x[SPIKE, 1] += 6
    return x * [1, 10, 100] + [0, 50, 0]


def table(*args, **settings):
    x = stream(*args, **settings)
    return pl.DataFrame({"時刻": np.arange(len(x)) * 10, **dict(zip(NAMES, x.T, strict=True)), "型": ["A"] * len(x)})


@pytest.fixture(scope="module")
def detector():
    model = {"data": Sequences(window=WINDOW), **SMALL}
    return om.AnomalyDetector(model, ensemble=2, verbose=0).fit(stream(2000, 1))


@pytest.mark.parametrize(
    ("length", "window", "stride"), [(5, 2, 1), (64, 64, 16), (65, 64, 16), (100, 7, 7), (3, 8, 2)]
)
def test_every_step_is_in_a_window_and_comes_back_as_it_was(length, window, stride):
    places = Windows.of([length, length + 3], window, stride)
    series = [np.random.default_rng(n).normal(size=(n, 2)) for n in (length, length + 3)]
    cut = places.cut(series)
    assert all(len(one) == min(window, n) for one, n in zip(cut, places.lengths[places.series], strict=True))
    for back, given in zip(places.put_back(cut), series, strict=True):
        np.testing.assert_allclose(back, given, rtol=1e-14)
    assert (np.diff(starts(length, window, stride)) <= stride).all()


def test_a_step_is_the_mean_over_its_windows_and_what_is_missing_does_not_count():
    places = Windows.of([4], 3, 1)
    assert places.put_back([[1.0, 2, np.nan], [4, 6, np.nan]])[0].tolist()[:3] == [1.0, 3.0, 6.0]
    assert np.isnan(places.put_back([[1.0, 2, np.nan], [4, 6, np.nan]])[0][3])


def test_windows_are_held_out_in_stretches():
    places = Windows.of([1000], 32, 8)
    blocks = places.blocks()
    assert (np.diff(blocks) >= 0).all() and len(np.unique(blocks)) == 20
    rest, out = divide(np.arange(len(blocks)), 0.2, np.random.default_rng(0), blocks)
    assert len(rest) + len(out) == len(blocks) and not set(blocks[rest]) & set(blocks[out])
    assert len(np.unique(blocks[out])) == 4
    rows = MemoryRows(Batch(np.zeros((len(blocks), 1), np.float32)), blocks=blocks)
    rows.fold(5, np.random.default_rng(0))
    assert all(len(set(rows.rows.fold[blocks == block])) == 1 for block in np.unique(blocks))
    assert np.bincount([rows.rows.fold[blocks == block][0] for block in np.unique(blocks)]).tolist() == [4] * 5


def test_a_planted_spike_is_found_at_its_steps(detector):
    x = stream(1500, 2, spike=True)
    found = detector.judge_steps(x, false_alarm_rate=0.01, explain=1)
    strangest = np.argsort(-found["anomaly_score"])[:5]
    assert set(strangest) == set(range(SPIKE.start, SPIKE.stop))
    assert found["is_anomaly"][SPIKE].all() and (found["top_feature_1"][SPIKE] == "1").all()
    far = np.abs(np.arange(1500) - 702) > WINDOW
    # 1 % of 1,435 steps, whose scores are near in time: within four standard errors were they 400 apart.
    assert found["is_anomaly"][far].mean() < 0.01 + 4 * np.sqrt(0.01 * 0.99 / 400)
    assert found["p_value"].shape == (1500,) and found["p_value"].min() >= 1 / (len(detector.judge_.steps) + 1)


def test_scores_of_steps_survive_saving_and_move_with_the_stream(detector, tmp_path):
    x = stream(600, 3)
    found = detector.judge_steps(x)
    detector.save(tmp_path / "d")
    again = om.load(tmp_path / "d").judge_steps(x)
    assert all(np.array_equal(found[name], again[name]) for name in found)
    later = detector.judge_steps(x[8 * WINDOW // 4 :])["anomaly_score"]  # by a multiple of the stride
    inner = slice(WINDOW, 600 - 8 * WINDOW // 4 - WINDOW)
    np.testing.assert_allclose(later[inner], found["anomaly_score"][8 * WINDOW // 4 :][inner], rtol=1e-5, atol=1e-5)


def test_a_step_at_which_nothing_was_observed_has_no_score(detector):
    x = stream(300, 4)
    x[100:150] = np.nan
    found = detector.judge_steps(x)
    assert np.isnan(found["anomaly_score"][100:150]).all() and not found["is_anomaly"][100:150].any()
    assert np.isfinite(np.delete(found["anomaly_score"], np.arange(100, 150))).all()


def test_several_series_give_several_answers(detector):
    found = detector.judge_steps([stream(100, 5), stream(20, 6)])
    assert [len(one) for one in found["p_value"]] == [100, 20]


def test_recalibrating_renews_what_steps_are_compared_with(detector):
    import copy

    other = copy.copy(detector)
    other.recalibrate(stream(500, 7) * 1.3)
    assert len(other.judge_.steps) == Windows.of([500], WINDOW, WINDOW // 4).series.size * WINDOW
    x = stream(200, 8)
    assert (other.judge_steps(x)["p_value"] >= detector.judge_steps(x)["p_value"]).mean() > 0.9


def test_a_detector_of_whole_series_takes_a_long_one_too():
    series = np.stack([stream(WINDOW, seed) for seed in range(60)])
    detector = om.AnomalyDetector(SMALL, ensemble=2, verbose=0).fit(series)
    assert np.asarray(detector.judge_steps(series[:3])["p_value"]).shape == (3, WINDOW)
    found = detector.judge_steps(stream(1500, 2, spike=True), window=WINDOW)
    assert SPIKE.start <= found["anomaly_score"].argmax() < SPIKE.stop


def test_a_vae_learns_from_one_long_series():
    vae = om.VAE(data=Sequences(window=WINDOW, stride=16), verbose=0, **SMALL).fit(stream(800, 1))
    windows = Windows.of([300], WINDOW, 16)
    assert vae.transform(stream(300, 2)).shape == (len(windows.first), 4)
    assert vae.step_scores(stream(300, 2)).shape == (300,)
    assert [len(one) for one in vae.step_scores([stream(300, 2), stream(40, 3)])] == [300, 40]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"window": 1}, "window=1.*2 or more"),
        ({"window": 2.5}, "window=2.5.*whole number"),
        ({"window": 8, "stride": 9}, "stride=9.*from 1 to the window, 8"),
        ({"window": 8, "stride": 0}, "stride=0"),
        ({"stride": 4}, "stride=4.*window="),
    ],
)
def test_windows_that_make_no_sense_are_refused(settings, words):
    with pytest.raises(ParameterError, match=words):
        Sequences(**settings)


def test_what_cannot_be_judged_by_step_is_refused(detector):
    with pytest.raises(ParameterError, match="window=16: expected 32, as at the fit"):
        detector.judge_steps(stream(100, 1), window=16)
    with pytest.raises(DataError, match="expected 3 channels"):
        detector.judge_steps(stream(100, 1)[:, :2])
    with pytest.raises(DataError, match="at least 2 windows of 32 steps, got 1"):
        om.VAE(data=Sequences(window=WINDOW), verbose=0).fit(stream(20, 1))
    rows = om.AnomalyDetector({"epochs": 1}, ensemble=1, verbose=0).fit(np.random.default_rng(0).normal(size=(40, 3)))
    with pytest.raises(DataError, match="a model of vectors"):
        rows.judge_steps(stream(100, 1))
    with pytest.raises(ParameterError, match=r"with \d+ calibration rows"):
        detector.judge_steps(stream(100, 1), false_alarm_rate=1e-9)


def test_steps_are_evaluated_where_they_are_labelled(detector):
    x, y = stream(1500, 2, spike=True), np.zeros(1500, int)
    y[SPIKE] = 1
    found = om.evaluate_detector(detector, x, y)
    assert (found.events, found.detected, found.anomalies, found.buffer) == (1, 1.0, 5, 5)
    assert found.aucpr > 0.99 and found.vus_pr > 0.9 and found.false_alarms < 20
    several = om.evaluate_detector(detector, [x, stream(100, 5)], [y, np.zeros(100, int)], buffer=0)
    assert several.normal == found.normal + 100 and several.buffer == 0
    with pytest.raises(DataError, match=r"one label for each step, \[1500\]"):
        om.evaluate_detector(detector, x, y[:-1])
    rows = om.AnomalyDetector({"epochs": 1}, ensemble=1, verbose=0).fit(np.random.default_rng(0).normal(size=(40, 3)))
    with pytest.raises(ParameterError, match="buffer=3: only steps have one"):
        om.evaluate_detector(rows, np.zeros((4, 3)), [0, 1, 0, 1], buffer=3)


def run(monkeypatch, *words):
    monkeypatch.setattr("sys.argv", ["omokage", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


@pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens")
def test_a_stream_from_the_command_line(tmp_path, monkeypatch, capsys):
    table(2000, 1).write_csv(tmp_path / "normal.csv")
    table(1500, 2, spike=True).write_csv(tmp_path / "stream.csv")
    words = ("--id", "型", "--time", "時刻", "--quiet")
    settings = ("--network", "tcn", "--hidden", "16,16", "--latent-dim", "4", "--epochs", "40", "--ensemble", "2")
    fit = ("fit", tmp_path / "normal.csv", "--task", "detect", "--window", WINDOW, *settings, *words)
    assert run(monkeypatch, *fit, "--out", tmp_path / "model") == 0, capsys.readouterr().err
    score = ("score", tmp_path / "model", tmp_path / "stream.csv", "--id", "型", "--false-alarm-rate", "0.01")
    out = ("--explain", "1", "--out", tmp_path / "scores.csv")
    assert run(monkeypatch, *score, "--window", WINDOW, *out) == 0, capsys.readouterr().err
    found = pl.read_csv(tmp_path / "scores.csv")
    assert found.columns == ["型", "時刻", "anomaly_score", "p_value", "is_anomaly", "top_feature_1"]
    assert found["時刻"].to_list() == (np.arange(1500) * 10).tolist()
    assert SPIKE.start <= found["anomaly_score"].arg_max() < SPIKE.stop
    assert found["is_anomaly"][SPIKE].all() and set(found["top_feature_1"][SPIKE]) == {"圧力"}
    whole = (tmp_path / "scores.csv").read_bytes()
    assert run(monkeypatch, *score, *out) == 0 and (tmp_path / "scores.csv").read_bytes() == whole
    assert run(monkeypatch, *score, "--window", 16, *out) != 0
    assert "window=16: expected 32" in capsys.readouterr().err
    np.save(tmp_path / "stream.npy", stream(1500, 2, spike=True))
    score = ("score", tmp_path / "model", tmp_path / "stream.npy", "--out", tmp_path / "s.csv")
    assert run(monkeypatch, *score) == 0 and pl.read_csv(tmp_path / "s.csv").columns[:2] == ["series", "step"]
    labels = np.isin(np.arange(1500), np.arange(SPIKE.start, SPIKE.stop)).astype(int)
    table(1500, 2, spike=True).with_columns(fault=pl.Series(labels)).write_csv(tmp_path / "labelled.csv")
    evaluate = ("evaluate", tmp_path / "model", tmp_path / "labelled.csv", "--label-column", "fault", "--id", "型")
    capsys.readouterr()
    assert run(monkeypatch, *evaluate, "--out", tmp_path / "page.html") == 0
    assert "in 1 events" in capsys.readouterr().out
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "VUS-PR" in page and "圧力" in page and "Steps to look at" in page
    encode = ("encode", tmp_path / "model", tmp_path / "stream.csv", "--out", tmp_path / "s.csv")
    assert run(monkeypatch, *encode) != 0


def test_a_table_of_one_series_needs_no_key():
    from types import SimpleNamespace

    import polars as pl

    from omokage.data.kinds import long_tables

    frame = pl.DataFrame({"x": [1.0, 2.0, 3.0, 4.0]})
    schema = SimpleNamespace(kind=om.data.Sequences(window=2, stride=1), names=("x",))
    given = long_tables.given(schema, frame)
    assert given.keys.to_dict(as_series=False) == {"first_step": [0, 1, 2]}

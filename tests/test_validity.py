"""What p-values promise: normal rows are flagged no more often than asked for, whatever the rows, and why that is so.

A row that calibrates a model must be to it what a new row will be. So nothing of it may be in the model: not in the
moments by which rows are standardised, not in where scales start, not in the order in which the others come.
"""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest
from scipy import stats

import omokage as om
from omokage import build
from omokage.batch import Batch
from omokage.codec import Codec
from omokage.data.kinds import open_data
from omokage.detection import beyond, lengths
from omokage.ensemble import Ensemble, Together, each_apart
from omokage.errors import DataError
from omokage.estimators import folds
from omokage.training import begin, train

# Batches of one size, so that one compiled program serves many numbers of rows.
FEW = {"latent_dim": 2, "hidden": (6,), "epochs": 3, "batch_size": 20, "verbose": 0}


def flagged(detectors, new, rates=(0.01, 0.05, 0.1)):
    """Return the share of new rows at each rate, over several fits, and three standard errors of it."""
    shares = np.array([[(detector.p_values(new) <= rate).mean() for rate in rates] for detector in detectors])
    count, errors = detectors[0].calibration_.count, []
    for rate in rates:  # given a calibration the rate is beta distributed
        above = np.floor(rate * (count + 1) + 1e-9)
        spread = stats.beta(above, count + 1 - above).std() if above else 0.0
        errors.append(3 * np.sqrt((spread**2 + rate / len(new)) / len(detectors)))
    return shares.mean(0), np.array(errors)


# ---------------------------------------------------------------------------------------------------- rates


@pytest.mark.parametrize(
    ("count", "columns", "calibration"),
    [
        (30, 300, 0.5),
        (60, 300, 0.5),
        (20, 300, "cross"),
        (60, 300, "cross"),
        pytest.param(30, 2000, 0.5, marks=pytest.mark.slow),
        pytest.param(20, 500, "cross", marks=pytest.mark.slow),
    ],
)
def test_normal_rows_are_flagged_no_more_often_than_asked_for_however_few_and_wide(count, columns, calibration):
    settings, detectors = {"epochs": 10, "hidden": (16,), "batch_size": 10}, []
    for seed in range(3):
        X = np.random.default_rng([seed, count]).normal(size=(count, columns))
        detector = om.AnomalyDetector(settings, calibration=calibration, ensemble=3, random_state=seed, verbose=0)
        detectors.append(detector.fit(X))
    rates = np.array([0.01, 0.05, 0.1])
    seen, error = flagged(detectors, np.random.default_rng(9).normal(size=(400, columns)), rates)
    assert (seen <= rates + error).all(), (seen, error)


@pytest.mark.parametrize("count", [60, 120])
def test_predict_and_p_values_are_one_rule_after_cross(count):
    shares = []
    new = np.random.default_rng(7).normal(size=(2000, 4))
    for seed in range(4):
        X = np.random.default_rng([seed, count]).normal(size=(count, 4))
        detector = om.AnomalyDetector(FEW, random_state=seed, verbose=0).fit(X)
        p, rate = detector.p_values(new), 2 / (count + 1)
        for each in (rate, 0.05, 0.1):
            np.testing.assert_array_equal(detector.predict(new, false_alarm_rate=each) == -1, p <= each)
        judged = detector.judge(new)
        np.testing.assert_array_equal(judged["is_anomaly"], p <= 0.05)
        np.testing.assert_array_equal(detector.decision_function(new) < 0, p <= 0.05)
        shares.append((detector.predict(new, false_alarm_rate=rate) == -1).mean())
    error = stats.beta(2, count - 1).std() / np.sqrt(4)
    assert np.mean(shares) <= rate + 3 * error


# ------------------------------------------------------------------------------ nothing of a row that is left out


def _fitted(table, fold, place, kind=om.VAE, **settings):
    """Return the members that are trained with given folds, on the path of `fit`."""
    parameters = kind(**{**FEW, **settings})._checked()
    recipe = build.decide(parameters, table, str)
    shares = folds.of_folds(table, recipe.standardize, fold, place)
    models = [
        dataclasses.replace(build.model(parameters, recipe, event, np.random.default_rng(m)), codec=codec)
        for m, (event, codec) in enumerate(zip(shares.events, shares.codecs, strict=True))
    ]
    plan = build.plan(parameters, shares.training.count, 0)
    plan = dataclasses.replace(plan, optimizer=each_apart(plan.optimizer))
    result = train(begin(Ensemble.of(models), plan), Together(recipe.objective), shares.training, plan)
    return result.model, shares


def _kinds():
    random = np.random.default_rng(0)
    pictures = random.random((24, 4, 4))
    series = random.normal(size=(24, 8, 2))
    holes = np.where(random.random(series.shape) < 0.2, np.nan, series)
    return {
        "vectors": (random.normal(size=(24, 3)) * [1, 10, 100], "auto", {}),
        "pictures": (pictures, "images", {"network": "mlp"}),
        "series": (series, "sequences", {}),
        "holes": (holes, "sequences", {}),
        "counts": (random.poisson(3.0, size=(24, 3)).astype(float), "auto", {"likelihood": "poisson"}),
        "layer norm": (random.normal(size=(24, 3)), "auto", {"normalization": "layer"}),
        "batch norm": (random.normal(size=(24, 3)), "auto", {"normalization": "batch"}),
    }


def _before_batch_norm(model):
    """Biases that batch norm takes out again, so that rounding alone moves them, and the running means with them."""
    layers = [part.network.layers for part in (model.posterior, model.likelihood)]
    return [array for dense, norm, *_ in layers for array in (dense.bias, norm.mean.value)]


@pytest.mark.parametrize("name", _kinds())
def test_rows_that_a_member_leaves_out_are_in_none_of_its_numbers(name):
    X, kind, settings = _kinds()[name]
    fold, place = np.arange(24, dtype=np.int32) % 3, np.arange(24)
    other = X.copy()
    other[fold == 1] = 1 - X[fold == 1] ** 3 if name == "pictures" else 3 * X[fold == 1] + 2
    members = []
    for rows in (X, other):
        model, shares = _fitted(open_data(rows, kind), fold, place, **settings)
        own = [dataclasses.replace(model.member(m), codec=None) for m in range(3)]
        if name == "batch norm":
            own = [eqx.tree_at(_before_batch_norm, one, replace_fn=np.zeros_like) for one in own]
        members.append([jax.tree.leaves((one, vars(shares.events[m]))) for m, one in enumerate(own)])
    for m, same in ((0, False), (1, True), (2, False)):
        pairs = zip(members[0][m], members[1][m], strict=True)
        # But for rounding, since rows come in units that all members have in common.
        assert all(np.allclose(one, two, rtol=1e-3, atol=1e-4) for one, two in pairs) == same, m


def test_with_split_the_schema_is_that_of_the_rows_that_train():
    X = np.random.default_rng(0).normal(size=(40, 3))
    training, calibrating = folds.divided(open_data(X, "auto"), 0.25, 0)
    assert (training.count, calibrating.count) == (30, 10)
    shares = folds.apart(training, calibrating, "scale", 2, 0)
    np.testing.assert_allclose(shares.schema.columns.location, training.matrix.mean(0), atol=1e-6)
    np.testing.assert_allclose(shares.training.batch.x.mean(0), 0, atol=1e-6)
    both = np.concatenate([training.matrix, calibrating.matrix])
    assert sorted(map(tuple, both)) == sorted(map(tuple, X))


def test_a_streamed_table_is_divided_too(tmp_path, monkeypatch):
    X = np.random.default_rng(0).normal(5, 2, size=(3000, 3))
    pl.DataFrame(X).write_csv(tmp_path / "rows.csv")
    monkeypatch.setattr("omokage.data.kinds.vectors.IN_MEMORY_BYTES", 1000)
    table = open_data(tmp_path / "rows.csv", "auto")
    assert table.streamed
    training, calibrating = folds.divided(table, 0.2, 0)
    assert abs(calibrating.count - 600) < 100 and training.count + calibrating.count == 3000
    rest = {tuple(row) for row in X} - {tuple(row) for row in calibrating.matrix}
    np.testing.assert_allclose(training.moments.mean, np.mean(sorted(rest), 0), rtol=1e-9)
    shares = folds.apart(training, calibrating, "scale", 2, 0)
    x = np.concatenate([batch.x for batch in shares.training.epoch(np.random.default_rng(0), 100)])
    np.testing.assert_allclose([x.mean(0), x.std(0)], [[0] * 3, [1] * 3], atol=1e-5)


def test_an_extreme_value_costs_the_member_that_leaves_it_out_no_precision():
    X = np.random.default_rng(0).normal(size=(24, 2))
    X[4, 0] = 1e9
    fold = np.arange(24, dtype=np.int32) % 3
    shares = folds.of_folds(open_data(X, "auto"), "scale", fold, np.arange(24))
    encoded = shares.training.rows
    own = shares.codecs[fold[4]].encode(encoded._replace(fold=None, x=jnp.asarray(encoded.x))).x
    kept = X[fold != fold[4], 0]
    np.testing.assert_allclose(own[fold != fold[4], 0], (kept - kept.mean()) / kept.std(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("calibration", ["cross", "split"])
@pytest.mark.parametrize("name", ["vectors", "series"])
def test_a_unit_changes_rounding_only(name, calibration):
    X, kind, settings = _kinds()[name]
    small = {**FEW, "epochs": 2, "data": kind, **settings}
    detectors = [
        om.AnomalyDetector(om.VAE(**small), ensemble=2, calibration=calibration, verbose=0).fit(X * unit)
        for unit in (1.0, np.array([1000.0, 0.01, 7.0])[: X.shape[-1]])
    ]
    one, two = (detector.judge_.ensemble for detector in detectors)
    for m in range(2):
        pairs = zip(
            *(jax.tree.leaves(dataclasses.replace(each.member(m), codec=None)) for each in (one, two)), strict=True
        )
        for first, second in pairs:
            np.testing.assert_allclose(first, second, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("unit", [1000.0, 0.01, 7.0])
@pytest.mark.parametrize("name", ["vectors", "series", "pictures"])
def test_folds_and_the_order_of_training_are_those_of_any_unit(name, unit):
    X, kind, _ = _kinds()[name]
    scaled = X * (unit if name == "pictures" else np.array([unit, 1.0, 3.0])[: X.shape[-1]])
    first, second = (folds._by_value(open_data(rows, kind)) for rows in (X, scaled))
    assert all(np.array_equal(one, two) for one, two in zip(first, second, strict=True))
    shuffled = np.random.default_rng(1).permutation(len(X))
    again = folds._by_value(open_data(X[shuffled], kind))
    assert all(np.array_equal(one, shuffled[two]) for one, two in zip(first, again, strict=True))


def test_without_a_fold_every_column_can_be_constant_and_that_is_said():
    X = np.zeros((12, 2))
    X[3, 0] = 1.0
    with pytest.raises(DataError, match="without the rows of fold"):
        om.AnomalyDetector(FEW, ensemble=3, verbose=0).fit(X)


# ---------------------------------------------------------------------------------------------------- codecs


def test_a_model_with_a_codec_is_the_model_of_rows_in_other_units():
    X = np.random.default_rng(0).normal(size=(30, 3))
    vae = om.VAE(**FEW).fit(X)
    model, x = vae.model_, jnp.asarray(vae.schema_.encode(X))
    location, scale = np.array([1.0, -2.0, 0.0]), np.array([2.0, 0.5, 10.0])
    other = dataclasses.replace(model, codec=Codec(location, scale))
    rows = Batch(x * scale.astype(np.float32) + location.astype(np.float32))
    z = model.encode(Batch(x)).mean
    np.testing.assert_allclose(other.encode(rows).mean, z, atol=1e-5)
    shift = np.log(scale)
    densities = model.log_likelihoods(z[None], Batch(x))[0]
    np.testing.assert_allclose(other.log_likelihoods(z[None], rows)[0], densities - shift, atol=1e-4)
    given, mine = model.decode(z, Batch(x)), other.decode(z, rows)
    np.testing.assert_allclose(mine.mean, given.mean * scale + location, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(mine.variance, given.variance * scale**2, rtol=1e-5)
    for (deviance, normaliser), sign in ((model.deviances(z, Batch(x)), 1), (other.deviances(z, rows), 0)):
        np.testing.assert_allclose(deviance, model.deviances(z, Batch(x))[0], rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(normaliser + sign * shift, other.deviances(z, rows)[1], rtol=1e-4, atol=1e-4)
    drawn = om.inference.sample(other, 5, 0)
    np.testing.assert_allclose(drawn, om.inference.sample(model, 5, 0) * scale + location, rtol=1e-4, atol=1e-4)


def test_a_saved_detector_keeps_its_codecs_and_one_without_still_loads(tmp_path):
    X = np.random.default_rng(0).normal(size=(60, 4)) * [1, 10, 100, 1]
    detector = om.AnomalyDetector(FEW, verbose=0).fit(X)
    again = om.load(detector.save(tmp_path / "new"))
    np.testing.assert_array_equal(again.judge_.ensemble.models.codec.scale.value.shape, (5, 4))
    np.testing.assert_array_equal(again.p_values(X), detector.p_values(X))
    ensemble = detector.judge_.ensemble
    bare = dataclasses.replace(ensemble, models=dataclasses.replace(ensemble.models, codec=None))
    judge = dataclasses.replace(detector.judge_, ensemble=bare)  # as those of before are
    detector.fitted_ = dataclasses.replace(detector.fitted_, judge=judge, model=bare)
    older = om.load(detector.save(tmp_path / "old"))
    assert older.judge_.ensemble.models.codec is None
    np.testing.assert_array_equal(older.p_values(X), detector.p_values(X))


# ------------------------------------------------------------------------------------------ rows of unlike lengths


def sines(count, lengths, seed, holes=0.0):
    random = np.random.default_rng(seed)
    found = []
    for length in random.choice(lengths, count):
        one = np.sin(np.arange(length) * random.uniform(0.2, 0.5) + random.uniform(0, 6))
        one = one + 0.1 * random.normal(size=length)
        found.append(np.where(random.random(length) < random.uniform(0, holes), np.nan, one)[:, None])
    return found


def test_length_does_not_decide_whether_a_series_is_flagged():
    model = {"network": "tcn", "hidden": (8,), "latent_dim": 2, "epochs": 4}
    detector = om.AnomalyDetector(model, ensemble=3, verbose=0).fit(sines(240, (24, 48, 96), 0))
    for length in (24, 48, 96):
        share = (detector.p_values(sines(600, (length,), seed=length)) <= 0.1).mean()
        # 80 calibration rows of this length, and what is usual for it by 20 rows at each of 8 lengths.
        assert abs(share - 0.1) < 3 * np.sqrt(0.09 * (1 / 600 + 1 / 80) + 0.02**2), (length, share)


def test_the_number_of_observed_entries_does_not_decide_either():
    model = {"network": "tcn", "hidden": (8,), "latent_dim": 2, "epochs": 4}
    detector = om.AnomalyDetector(model, ensemble=2, verbose=0).fit(sines(200, (48,), 0, holes=0.8))
    new = sines(900, (48,), 1, holes=0.8)
    seen, p = np.array([(~np.isnan(one)).sum() for one in new]), detector.p_values(new)
    for low, high in ((0, 1 / 3), (1 / 3, 2 / 3), (2 / 3, 1)):
        here = (seen >= np.quantile(seen, low)) & (seen <= np.quantile(seen, high))
        share = (p[here] <= 0.1).mean()
        assert abs(share - 0.1) < 3 * np.sqrt(0.09 * (1 / here.sum() + 3 / 200) + 0.02**2), (low, share)


def test_what_is_usual_takes_the_length_out_of_scores():
    random = np.random.default_rng(0)
    counts = random.integers(10, 200, 4000)
    sums = counts * 2.0 + np.sqrt(counts) * random.normal(size=4000)
    usual = lengths.Usual.of(sums, counts, total=True)
    found = usual(sums, counts)
    assert abs(stats.spearmanr(found, counts).statistic) < 0.05
    high = np.quantile(found, 0.9)
    for low in (10, 75, 140):
        assert abs((found[(counts >= low) & (counts < low + 60)] > high).mean() - 0.1) < 0.04
    alike = lengths.Usual.of(sums, np.full(4000, 50), total=True)
    np.testing.assert_allclose(alike(sums, np.full(4000, 50)), sums)


# --------------------------------------------------------------------------------- values that no model could make


def _binary():
    return np.random.default_rng(0).integers(0, 2, (60, 4)).astype(float), "auto", 2.0


def _poisson():
    return np.random.default_rng(0).poisson(3.0, (60, 4)).astype(float), "poisson", -1.0


def _classes():
    return np.random.default_rng(0).integers(0, 3, (60, 4)).astype(float), om.likelihoods.Categorical(3), 7.0


def _shares():
    return np.random.default_rng(0).uniform(0.1, 0.9, (60, 4)), "continuous_bernoulli", 1.5


def _amounts():
    return np.random.default_rng(0).gamma(2.0, size=(60, 4)) + 0.1, "log_normal", 0.0


@pytest.mark.parametrize("of", [_binary, _poisson, _classes, _shares, _amounts])
def test_a_value_that_the_likelihood_does_not_know_is_the_strangest_and_the_others_are_answered(of, tmp_path):
    X, likelihood, value = of()
    model = {**FEW, "likelihood": likelihood}
    detector = om.AnomalyDetector(model, score="mahalanobis", ensemble=2, verbose=0).fit(X[:50])
    new = X[50:].copy()
    new[3, 2] = value
    p = detector.p_values(new)
    assert p[3] == detector.calibration_.least_rate and detector.predict(new)[3] == -1
    score = detector.score_samples(new)
    assert np.isfinite(score).all() and score.argmin() == 3 and score[3] <= -beyond.BEYOND
    others = np.arange(10) != 3
    np.testing.assert_allclose(score[others], detector.score_samples(new[others]), rtol=1e-5)
    explained = detector.explain(new)
    assert explained.top(1)[3, 0] == "2" and np.isfinite(explained.normal).all()
    np.testing.assert_allclose(explained.shares.sum(1), 1)
    assert detector.severity(new)[3] > 99
    with pytest.raises(DataError, match="NaN"):
        detector.p_values(np.where(np.arange(4) == 1, np.nan, new))


def test_such_a_value_in_a_series_is_the_strangest_step():
    X = np.random.default_rng(0).poisson(3.0, (40, 10, 2)).astype(float)
    model = {**FEW, "likelihood": "poisson", "network": "tcn"}
    detector = om.AnomalyDetector(model, score="mahalanobis", ensemble=2, verbose=0).fit(X)
    new = X[:5].copy()
    new[2, 6, 1] = -4
    assert detector.p_values(new).argmin() == 2
    found = detector.judge_steps(new, explain=1)
    assert np.argmax([one.max() for one in found["anomaly_score"]]) == 2 and found["anomaly_score"][2].argmax() == 6
    assert found["is_anomaly"][2][6] and found["top_feature_1"][2][6] == "1"


def test_such_a_row_of_a_file_has_a_line(tmp_path, capsys):
    from omokage import cli

    X, _, _ = _binary()
    frame = pl.DataFrame(X, schema=["a", "b", "c", "d"])
    detector = om.AnomalyDetector(FEW, ensemble=2, verbose=0).fit(frame)
    detector.save(tmp_path / "detector")
    frame.head(4).with_columns(b=pl.Series([1.0, 2.0, 0.0, 1.0])).write_csv(tmp_path / "new.csv")
    words = ["score", tmp_path / "detector", tmp_path / "new.csv", "--out", tmp_path / "scores.csv", "--explain", 1]
    cli.app([str(word) for word in words], exit_on_error=False, print_error=False, result_action="return_value")
    found = pl.read_csv(tmp_path / "scores.csv")
    assert found["is_anomaly"].to_list()[1] and found["top_feature_1"][1] == "b"
    assert found.null_count().sum_horizontal()[0] == 0

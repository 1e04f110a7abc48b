"""Detectors that are told a context: what is normal is normal given it, and p-values keep what they promise."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest
from scipy import stats

import omokage as om
from omokage import build, report
from omokage.batch import Batch
from omokage.codec import Codec
from omokage.data.context import ContextSchema
from omokage.data.context_columns import Covariate, Labels
from omokage.data.context_values import Told
from omokage.data.kinds import open_data
from omokage.ensemble import Ensemble, Together, each_apart
from omokage.errors import DataError
from omokage.estimators import folds
from omokage.training import begin, train

SMALL = om.VAE(latent_dim=1, hidden=(16,), epochs=40, learning_rate=1e-2, verbose=0)
FEW = {"latent_dim": 1, "hidden": (6,), "epochs": 3, "verbose": 0}


def lots(n, seed=0):
    """Return rows whose first column has another mean in each lot and whose second follows a temperature."""
    random = np.random.default_rng(seed)
    lot, temperature = random.integers(0, 2, n), random.normal(20, 5, n)
    X = np.stack([np.where(lot, 5, -5), 2 * temperature, np.zeros(n)], 1) + random.normal(size=(n, 3))
    return X, pl.DataFrame({"lot": np.array(["A", "B"])[lot], "temperature": temperature})


@pytest.fixture(scope="module", params=["cross", "split"])
def detector(request):
    X, context = lots(400)
    return om.AnomalyDetector(SMALL, ensemble=2, calibration=request.param, verbose=0).fit(X, context=context)


def test_normal_rows_are_flagged_at_the_rate_that_was_asked_for(detector):
    X, context = lots(2000, 1)
    p, n = detector.p_values(X, context=context), detector.calibration_.count
    for rate in (0.05, 0.1, 0.2):
        above = np.floor(rate * (n + 1) + 1e-9)  # given a calibration the rate is beta distributed
        error = np.sqrt(stats.beta(above, n + 1 - above).var() + rate / len(X))
        assert (p <= rate).mean() <= rate + 3 * error, rate


def test_what_is_normal_in_one_context_is_strange_in_another(detector):
    X = np.tile([[-5.0, 40.0, 0.0]], (3, 1))
    context = pl.DataFrame({"lot": ["A", "B", "A"], "temperature": [20.0, 20.0, 35.0]})
    assert detector.predict(X, context=context).tolist() == [1, -1, -1]
    assert detector.explain(X, context=context).top(1)[1:, 0].tolist() == ["0", "1"]
    normal = detector.explain(X, context=context).normal
    assert normal[0, 0] < -3 and normal[1, 0] > 3  # what would have been expected of lot B
    assert detector.severity(X, context=context)[0] < detector.severity(X, context=context)[1]


def test_every_question_takes_the_context(detector, tmp_path):
    X, context = lots(60, 2)
    judged = detector.judge(X, context=context)
    np.testing.assert_array_equal(judged["anomaly_score"], -detector.score_samples(X, context=context))
    np.testing.assert_array_equal(judged["is_anomaly"], detector.decision_function(X, context=context) < 0)
    assert {*detector.scores(X, context=context)} >= {"elbo", "mahalanobis", "neighbours"}
    assert detector.score(X, context=context) == -judged["anomaly_score"].mean()
    alone = detector.score_samples(X[7:8], context=context[7:8])
    assert alone == -judged["anomaly_score"][7]
    again = om.load(detector.save(tmp_path / "d"))
    assert again.context_schema_ == detector.context_schema_
    np.testing.assert_array_equal(again.p_values(X, context=context), judged["p_value"])
    y = np.arange(60) < 5
    strange = X.copy()
    strange[y, 0] *= -1
    found = om.evaluate_detector(detector, strange, y, context=context)
    assert found.auroc > 0.9
    path = report.evaluation_page(tmp_path / "page.html", detector, strange, y, found, context=context)
    assert "Rows to look at" in path.read_text(encoding="utf-8")


def test_drift_is_of_rows_given_their_context(detector):
    X, context = lots(300, 3)
    assert detector.drift(X, context=context).p_value > 1e-3
    X[:, 0] *= -1
    assert detector.drift(X, context=context).p_value < 1e-6
    renewed = om.AnomalyDetector(verbose=0)
    renewed.fitted_ = detector.fitted_
    renewed.recalibrate(X[:200], context=context[:200])
    assert (renewed.p_values(X[200:], context=context[200:]) <= 0.05).mean() < 0.2


def test_a_context_that_cannot_be_used_is_refused_as_a_model_does(detector):
    X, context = lots(3)
    with pytest.raises(DataError, match=r"context: 'C' \(row 1, column 'lot'\) is not among the labels of the fit"):
        detector.p_values(X, context=context.with_columns(lot=pl.Series(["A", "C", "B"])))
    with pytest.raises(DataError, match=r"fitted with a context .* and needs that of these rows; give context="):
        detector.predict(X)
    with pytest.raises(DataError, match="expected the context of 3 rows, one for each; got that of 2"):
        detector.judge(X, context=context[:2])
    with pytest.raises(DataError, match="context: expected the context of 40 rows"):
        om.AnomalyDetector(SMALL, verbose=0).fit(lots(40)[0], context=context)
    plain = om.AnomalyDetector(FEW, ensemble=2, verbose=0).fit(lots(40)[0])
    with pytest.raises(DataError, match="fitted without a context"):
        plain.score_samples(X, context=context)
    assert plain.fit_predict(lots(40)[0], context=lots(40)[1]).shape == (40,)


def test_with_contamination_the_share_is_that_of_rows_given_their_context():
    X, context = lots(100)
    detector = om.AnomalyDetector(FEW, ensemble=2, contamination=0.1, verbose=0)
    assert (detector.fit_predict(X, context=context) == -1).sum() == 10


@pytest.mark.parametrize("calibration", ["cross", "split"])
def test_the_order_of_rows_does_not_matter(calibration):
    X, context = lots(60)
    X[10:20] = X[0]  # rows that differ in their context alone
    order = np.random.default_rng(1).permutation(60)
    fits = [
        om.AnomalyDetector(FEW, ensemble=2, calibration=calibration, verbose=0).fit(
            X[rows], context=context[rows.tolist()]
        )
        for rows in (np.arange(60), order)
    ]
    first, second = (fit.score_samples(X, context=context) for fit in fits)
    np.testing.assert_array_equal(first, second)


# ------------------------------------------------------------------------------ nothing of a row that is left out


def _members(X, context, fold):
    """Return the members that are trained with given folds, on the path of `fit`."""
    parameters = om.VAE(**FEW)._checked()
    table = folds.conditioned(open_data(X, "auto"), Told.of(context, len(X)))
    recipe = build.decide(parameters, table, str)
    shares = folds.of_folds(table, recipe.standardize, fold, np.arange(len(X)))
    columns = shares.context.size
    models = [
        dataclasses.replace(build.model(parameters, recipe, event, np.random.default_rng(m), columns), codec=codec)
        for m, (event, codec) in enumerate(zip(shares.events, shares.codecs, strict=True))
    ]
    plan = build.plan(parameters, shares.training.count, 0)
    plan = dataclasses.replace(plan, optimizer=each_apart(plan.optimizer))
    result = train(begin(Ensemble.of(models), plan), Together(recipe.objective), shares.training, plan)
    own = [dataclasses.replace(result.model.member(m), codec=None) for m in range(fold.max() + 1)]
    return [jax.tree.leaves(one) for one in own]


def test_the_context_of_rows_that_a_member_leaves_out_is_in_none_of_its_numbers():
    X, context = lots(24)
    fold = np.arange(24, dtype=np.int32) % 3
    number = context["temperature"].to_numpy()
    other = np.where(fold == 1, 3 * number - 100, number)
    members = [_members(X, context.with_columns(temperature=pl.Series(each)), fold) for each in (number, other)]
    for m, same in ((0, False), (1, True), (2, False)):
        pairs = zip(members[0][m], members[1][m], strict=True)
        assert all(np.allclose(one, two, rtol=1e-3, atol=1e-4) for one, two in pairs) == same, m


def test_with_split_the_context_is_learned_of_the_rows_that_train():
    X, context = lots(40)
    table = folds.conditioned(open_data(X, "auto"), Told.of(context, 40))
    training, calibrating = folds.divided(table, 0.25, 0)
    shares = folds.apart(training, calibrating, "scale", 2, 0)
    covariate = shares.context.columns[1]
    np.testing.assert_allclose(covariate.location, training.told.columns[1].mean(), rtol=1e-6)
    np.testing.assert_allclose(shares.training.batch.context[:, 2].mean(), 0, atol=1e-5)
    both = np.concatenate([training.told.columns[1], calibrating.told.columns[1]])
    rows = np.concatenate([training.matrix, calibrating.matrix])
    order = np.argsort(context["temperature"].to_numpy())
    np.testing.assert_array_equal(rows[np.argsort(both)], X[order])  # the context went where its row went


def test_a_streamed_file_keeps_each_row_with_its_context(tmp_path, monkeypatch):
    number = np.arange(3000.0)
    pl.DataFrame({"a": number, "b": -number}).write_csv(tmp_path / "rows.csv")
    monkeypatch.setattr("omokage.data.kinds.vectors.IN_MEMORY_BYTES", 1000)
    table = folds.conditioned(open_data(tmp_path / "rows.csv", "auto"), Told.of(number, 3000))
    assert table.streamed
    training, calibrating = folds.divided(table, 0.2, 0)
    np.testing.assert_array_equal(calibrating.matrix[:, 0], calibrating.told.columns[0])
    shares = folds.apart(training, calibrating, "scale", 2, 0)
    left = np.setdiff1d(number, calibrating.told.columns[0])
    np.testing.assert_allclose(shares.context.columns[0].location, left.mean(), rtol=1e-6)
    for batch in shares.training.epoch(np.random.default_rng(0), 500):
        np.testing.assert_allclose(batch.x[:, :1], batch.context, rtol=1e-4, atol=1e-4)


def test_an_extreme_covariate_costs_the_member_that_leaves_it_out_no_precision():
    X, context = lots(24)
    number = context["temperature"].to_numpy().copy()
    number[4] = 1e9
    fold = np.arange(24, dtype=np.int32) % 3
    table = folds.conditioned(open_data(X, "auto"), Told.of(number, 24))
    shares = folds.of_folds(table, "scale", fold, np.arange(24))
    rows = shares.training.rows
    own = shares.codecs[fold[4]].told(rows._replace(fold=None, context=jnp.asarray(rows.context))).context
    kept = number[fold != fold[4]]
    np.testing.assert_allclose(own[fold != fold[4], 0], (kept - kept.mean()) / kept.std(), rtol=1e-4, atol=1e-5)


def test_a_codec_of_the_context_is_the_model_of_a_context_in_other_units():
    X, context = lots(30)
    vae = om.VAE(**FEW).fit(X, context=context)
    model, x = vae.model_, jnp.asarray(vae.schema_.encode(X))
    told = jnp.asarray(vae.context_schema_.encode(context, 30))
    location, scale = np.array([0.0, 0.0, 3.0]), np.array([1.0, 1.0, 10.0])
    other = dataclasses.replace(model, codec=Codec(np.zeros(3), np.ones(3), Codec(location, scale)))
    rows = Batch(x, context=told)
    moved = rows._replace(context=told * scale.astype(np.float32) + location.astype(np.float32))
    z = model.encode(rows).mean
    np.testing.assert_allclose(other.encode(moved).mean, z, atol=1e-5)
    np.testing.assert_allclose(other.decode(z, moved).mean, model.decode(z, rows).mean, atol=1e-5)
    np.testing.assert_allclose(
        om.inference.terms(other, moved, 4)["reconstruction"],
        om.inference.terms(model, rows, 4)["reconstruction"],
        atol=1e-3,
    )


def test_labels_of_all_rows_are_known_and_numbers_are_those_of_some():
    told = Told.of(pl.DataFrame({"lot": ["a", "b", "c", "a"], "t": [1.0, 2.0, 3.0, 100.0]}), 4)
    whole = ContextSchema.learn(told, 4)
    part = whole.of_part(told.part(np.array([0, 1])))
    assert part.columns == (Labels(("a", "b", "c")), Covariate(1.5, 0.5))
    assert [each.tolist() for each in part.scaling] == [[0, 0, 0, 1.5], [1, 1, 1, 0.5]]


# ---------------------------------------------------------------------------------------------------- windows


def machines(seed=0):
    """Return four long series of two types, whose level is that of the type."""
    random = np.random.default_rng(seed)
    return [(6.0 * (number % 2) + random.normal(size=(120, 1))) for number in range(4)], ["old", "new"] * 2


def test_windows_have_the_context_of_the_series_they_were_cut_from():
    series, kinds = machines()
    settings = {**FEW, "data": om.data.Sequences(window=12), "epochs": 20, "learning_rate": 1e-2}
    detector = om.AnomalyDetector(settings, ensemble=2, verbose=0).fit(series, context=kinds)
    found = detector.judge_steps(series[0], context="old")
    wrong = detector.judge_steps(series[0], context="new")
    assert found["anomaly_score"].shape == (120,) and wrong["anomaly_score"].mean() > 2 * found["anomaly_score"].mean()
    both = detector.judge_steps(series[:2], context=kinds[:2])["anomaly_score"]
    np.testing.assert_allclose(both[0], found["anomaly_score"], rtol=1e-5)
    with pytest.raises(DataError, match="expected the context of 4 rows, one for each; got that of 120"):
        detector.judge_steps(series, context=["old"] * 120)
    vae = om.VAE(**settings).fit(series, context=kinds)
    windows = vae.transform(series, context=kinds)
    alone = [vae.transform(one, context=kind) for one, kind in zip(series, kinds, strict=True)]
    np.testing.assert_allclose(windows, np.concatenate(alone), rtol=1e-5, atol=1e-6)
    sections = report.model_sections(vae, series, context=kinds)
    assert "Samples" in [section.heading for section in sections]

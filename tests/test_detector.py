"""`AnomalyDetector`: what it flags and how often, the same whatever comes along, reasons, files, bad input."""

import dataclasses
import warnings
from typing import get_args

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

import omokage as om
from omokage.detection import scores
from omokage.detection.neighbours import Neighbours
from omokage.errors import DataError, FileFormatError, ParameterError
from omokage.settings import Score

SMALL = om.VAE(latent_dim=2, hidden=(16,), epochs=150, verbose=0)
PLAIN = om.AutoEncoder(latent_dim=2, hidden=(16,), epochs=150, verbose=0)


def rows(count, seed=0, shift=0.0):
    """Return five columns that two hidden ones make, and noise."""
    random = np.random.default_rng(seed)
    hidden = random.normal(size=(count, 2))
    mixing = np.random.default_rng(99).normal(size=(2, 5))
    return (
        np.tanh(hidden @ mixing) * [1, 10, 100, 1, 1] + random.normal(size=(count, 5)) * [0.1, 1, 10, 0.1, 0.1] + shift
    )


@pytest.fixture(scope="module")
def detector():
    return om.AnomalyDetector(SMALL, verbose=0).fit(rows(300))


@pytest.fixture(scope="module")
def split():
    return om.AnomalyDetector(SMALL, calibration="split", ensemble=2, verbose=0).fit(rows(600))


def test_anomalies_are_flagged_and_normal_rows_are_not(detector):
    normal, strange = rows(300, 1), rows(300, 2)[:, [1, 0, 2, 4, 3]]
    assert roc_auc_score(np.repeat([0, 1], 300), -detector.score_samples(np.concatenate([normal, strange]))) > 0.95
    assert (detector.predict(normal) == 1).mean() > 0.92
    assert (detector.predict(strange) == -1).mean() > 0.5


@pytest.mark.parametrize("calibration", ["split", "cross"])
def test_false_alarms_come_at_the_stated_rate(calibration):
    found = []
    for seed in range(6):
        detector = om.AnomalyDetector(SMALL, calibration=calibration, ensemble=3, random_state=seed, verbose=0)
        p = detector.fit(rows(400, seed)).p_values(rows(2000, 100 + seed))
        found.append([(p <= rate).mean() for rate in (0.05, 0.1, 0.2)])
        if calibration == "split":  # given the calibration the rate is beta distributed
            n = detector.calibration_.count
            assert n == 60  # a fifth of 400, less a quarter that makes scores comparable
    for rate, seen in zip((0.05, 0.1, 0.2), np.transpose(found), strict=True):
        k = np.floor(rate * (n + 1)) if calibration == "split" else rate * 400
        total = n if calibration == "split" else 400
        law = stats.beta(k, total + 1 - k)
        assert abs(seen.mean() - law.mean()) < 4 * max(law.std(), 0.01) / np.sqrt(6), (rate, seen)


def test_predict_flags_by_the_threshold_and_by_a_rate(detector, split):
    X = np.concatenate([rows(200, 3), rows(50, 4, shift=3)])
    for one in (detector, split):
        np.testing.assert_array_equal(one.predict(X) == -1, one.score_samples(X) < one.offset_)
        np.testing.assert_allclose(one.decision_function(X), one.score_samples(X) - one.offset_)
        np.testing.assert_array_equal(one.predict(X, false_alarm_rate=0.1) == -1, one.p_values(X) <= 0.1)
        # One rule for all: `offset_` is the threshold at which p-values are at most the rate.
        np.testing.assert_array_equal(one.predict(X), one.predict(X, false_alarm_rate=0.05))


def test_a_rate_below_the_smallest_p_value_is_refused(split):
    with pytest.raises(ParameterError, match=r"0\.001.*90 calibration rows.*999"):
        split.predict(rows(5), false_alarm_rate=0.001)


@pytest.mark.optimised
def test_a_score_depends_on_its_row_alone(detector, tmp_path):
    X = rows(300, 5)
    whole, named = detector.score_samples(X), detector.scores(X)
    for part in (slice(0, 1), slice(7, 8), slice(3, 290)):
        np.testing.assert_allclose(detector.score_samples(X[part]), whole[part], rtol=1e-9, atol=1e-9)
        for name, values in detector.scores(X[part]).items():
            np.testing.assert_allclose(values, named[name][part], rtol=1e-9, err_msg=name)
    loaded = om.load(detector.save(tmp_path / "detector"))
    np.testing.assert_array_equal(loaded.score_samples(X), whole)
    np.testing.assert_array_equal(loaded.p_values(X), detector.p_values(X))
    assert loaded.offset_ == detector.offset_
    np.testing.assert_array_equal(om.load(loaded.save(tmp_path / "again")).score_samples(X), whole)


def test_the_order_of_the_training_rows_does_not_matter(detector):
    other = om.AnomalyDetector(SMALL, verbose=0).fit(rows(300)[np.random.default_rng(0).permutation(300)])
    np.testing.assert_allclose(other.score_samples(rows(20, 6)), detector.score_samples(rows(20, 6)), rtol=1e-6)


def test_named_scores_are_those_of_the_models(detector):
    """ELBO, D, A and M of a member are what a VAE with its weights says."""
    X = rows(40, 7)
    found, vaes = detector.scores(X), []
    for m in range(5):
        vae = om.VAE(latent_dim=2, hidden=(16,), epochs=1, verbose=0).fit(rows(300))
        member = {"model": detector.judge_.ensemble.member(m), "schema": detector.judge_.schema}
        vae.fitted_ = dataclasses.replace(vae.fitted_, **member)
        vaes.append(vae)
    terms = [vae.terms(X) for vae in vaes]
    for name, term, sign in (
        ("elbo", "elbo", -1),
        ("divergence", "kl", 1),
        ("reconstruction_probability", "reconstruction", -1),
    ):
        np.testing.assert_allclose(found[name], sign * np.mean([one[term] for one in terms], 0), rtol=1e-4, atol=1e-3)
    likelihood = np.mean([vae.log_likelihood(X, samples=scores.IMPORTANCE_DRAWS) for vae in vaes], 0)
    np.testing.assert_allclose(found["likelihood"], -likelihood, rtol=1e-4, atol=1e-3)
    units = [vae.schema_.columns.scale * vae.model_.codec.scale.value for vae in vaes]  # each member has its own
    gaps = np.mean([((X - vae.reconstruct(X)) / unit) ** 2 for vae, unit in zip(vaes, units, strict=True)], 0)
    np.testing.assert_allclose(found["reconstruction"], gaps.sum(1), rtol=1e-4, atol=1e-4)


def test_every_score_has_a_name_among_the_settings():
    assert get_args(Score) == scores.NAMES


@pytest.mark.parametrize("name", ["elbo", "mahalanobis", "neighbours", "likelihood"])
def test_one_name_is_its_own_score(name):
    detector = om.AnomalyDetector(SMALL, score=name, ensemble=2, verbose=0).fit(rows(100))
    X = rows(30, 8)
    np.testing.assert_allclose(-detector.score_samples(X), detector.scores(X)[name], rtol=1e-5)


def test_distances_to_neighbours_are_those_to_the_rows_that_a_member_was_trained_on():
    X, new = rows(60), rows(10, 9)
    detector = om.AnomalyDetector(SMALL, score="latent_neighbours", ensemble=3, verbose=0).fit(X)
    for m, near in enumerate(detector.judge_.points["latent_neighbours"]):
        assert len(near.points) == 40
        vae = om.VAE(latent_dim=2, hidden=(16,), epochs=1, verbose=0).fit(X)
        member = {"model": detector.judge_.ensemble.member(m), "schema": detector.judge_.schema}
        vae.fitted_ = dataclasses.replace(vae.fitted_, **member)
        gaps = np.linalg.norm(vae.transform(new)[:, None] - near.points[None], axis=2)
        expected = np.sort(gaps, 1)[:, :5].mean(1) / near.unit  # none is in the very same place
        assert near.unit == pytest.approx(np.sqrt(near.points.var(0).mean()), rel=1e-5)
        np.testing.assert_allclose(detector.judge_.scores(detector._asked(new)[1])[:, m], expected, rtol=1e-5)


def test_a_training_row_is_as_far_from_the_others_as_if_it_were_new():
    points = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    alike = np.concatenate([points, -points])  # so that leaving out one changes the spread but little
    others = Neighbours(alike[1:]).distances(points[:1])
    np.testing.assert_allclose(Neighbours(alike).distances(points[:1]), others, rtol=0.02)
    points = alike
    assert Neighbours(np.concatenate([points, points[:1]])).distances(points[:1]) < others  # a real double counts
    assert Neighbours(points[:1]).distances(points[1:2]) == pytest.approx(
        np.linalg.norm(points[0] - points[1]), rel=1e-5
    )


# --------------------------------------------------------------------------------------------------------- reasons


@pytest.mark.parametrize("by", ["mahalanobis", "reconstruction"])
def test_contributions_add_up_to_the_score(detector, by):
    X = rows(50, 10)
    explained = detector.explain(X, by=by)
    assert (explained.contributions >= 0).all() and explained.contributions.shape == X.shape
    np.testing.assert_allclose(explained.contributions.sum(1), detector.scores(X)[by], rtol=1e-5)
    np.testing.assert_allclose(explained.shares.sum(1), 1)


def test_a_planted_fault_is_named_first(detector):
    X = rows(400, 11)
    columns = np.random.default_rng(0).integers(0, 5, 400)
    X[np.arange(400), columns] += (
        np.where(np.random.default_rng(1).random(400) < 0.5, -1, 1) * 1.5 * np.array([1, 10, 100, 1, 1])[columns]
    )
    # How often differs between fits by as much as two hundredths, so two of them are asked.
    other = om.AnomalyDetector(SMALL, verbose=0, random_state=3).fit(rows(300))
    named = [one.explain(X).top(1)[:, 0] == columns.astype(str) for one in (detector, other)]
    assert np.mean(named) >= 0.95


def test_what_is_expected_in_the_place_of_a_row_is_in_its_units(detector):
    X = rows(50, 12)
    normal = detector.explain(X).normal
    assert np.abs(normal - X).mean(0)[2] > 10 * np.abs(normal - X).mean(0)[0]
    assert ((normal - X) ** 2).sum() < 0.2 * ((X - X.mean(0)) ** 2).sum()


def test_reasons_have_the_names_of_the_columns():
    import polars as pl

    frame = pl.DataFrame(rows(100), schema=["a", "b", "c", "d", "e"])
    detector = om.AnomalyDetector(SMALL, ensemble=2, verbose=0).fit(frame)
    new = frame.head(3).with_columns(d=pl.lit(50.0))
    assert list(detector.explain(new).top(1)[:, 0]) == ["d", "d", "d"]
    with pytest.raises(DataError, match="missing 'd'"):
        detector.score_samples(frame.drop("d"))


def test_a_painted_defect_has_most_of_the_score():
    random = np.random.default_rng(13)
    place = np.linspace(-1, 1, 12)
    level = random.uniform(0.2, 0.6, (300, 1, 1))
    pictures = (
        level * (1 + 0.5 * place[:, None] * random.choice([-1, 1], (300, 1, 1)))
        + random.normal(size=(300, 12, 12)) * 0.01
    )
    vae = om.VAE(latent_dim=3, hidden=(32,), network="mlp", data="images", epochs=100, verbose=0)
    detector = om.AnomalyDetector(vae, ensemble=2, verbose=0).fit(pictures[:250])
    new = pictures[250:].copy()
    new[:, 3:6, 4:7] = 1.0
    heat = detector.explain(new).contributions
    assert heat.shape == new.shape
    assert np.median(heat[:, 3:6, 4:7].sum((1, 2)) / heat.sum((1, 2))) > 0.8
    assert (detector.predict(new) == -1).mean() > 0.9


@pytest.mark.slow
@pytest.mark.optimised
def test_sequences_of_unlike_lengths_are_judged_and_explained():
    random = np.random.default_rng(14)

    def series(count):
        phases = random.uniform(0, 2 * np.pi, count)
        return [
            np.stack([np.sin(np.arange(t) * 0.7 + phase), np.cos(np.arange(t) * 0.7 + phase)], 1)
            + 0.05 * random.normal(size=(t, 2))
            for t, phase in zip(random.integers(12, 20, count), phases, strict=True)
        ]

    vae = om.VAE(latent_dim=3, hidden=(16,), epochs=60, verbose=0)
    detector = om.AnomalyDetector(vae, ensemble=2, calibration="split", verbose=0).fit(series(150))
    normal, strange = series(40), series(40)
    for one in strange:
        one[6, 1] += 3
    assert roc_auc_score(np.repeat([0, 1], 40), -detector.score_samples(normal + strange)) > 0.95
    explained = detector.explain(strange)
    assert [part.shape for part in explained.contributions] == [one.shape for one in strange]
    assert np.mean([np.unravel_index(part.argmax(), part.shape) == (6, 1) for part in explained.contributions]) > 0.9
    assert (explained.top(1)[:, 0] == "1").mean() > 0.9


# --------------------------------------------------------------------------------------------- calibration, once more


def test_recalibrating_makes_lower_rates_possible_without_training(tmp_path):
    detector = om.AnomalyDetector(SMALL, ensemble=2, verbose=0).fit(rows(100))
    X, weights = rows(50, 20), detector.judge_.to_arrays()
    before = detector.score_samples(X)
    assert detector.recalibrate(rows(1200, 21)) is detector
    np.testing.assert_array_equal(detector.score_samples(X), before)
    assert weights.keys() == detector.judge_.to_arrays().keys()
    p = detector.p_values(rows(4000, 22))
    for rate in (0.01, 0.05, 0.2):  # beta distributed, given the calibration
        assert abs((p <= rate).mean() - rate) < 5 * np.sqrt(rate * (1 - rate) * (1 / 1200 + 1 / 4000))
    detector.predict(X, false_alarm_rate=0.001)
    assert detector.drift(rows(300, 27)).p_value > 0.001
    assert {finding.name: finding.verdict for finding in detector.findings_}["calibration"] == "good"
    other = rows(400, 28)
    other[:, 0] += 0.5
    assert detector.drift(other).p_value < 1e-6
    assert detector.recalibrate(other[:200]).drift(other[200:]).p_value > 0.001
    assert om.load(detector.save(tmp_path / "again")).offset_ == detector.offset_


def test_drift_is_seen_where_there_is_some_and_not_where_there_is_none(detector, split, tmp_path):
    moved = rows(300, 24)
    moved[:, 0] += 0.5
    for one in (detector, split, om.load(detector.save(tmp_path / "drift"))):
        same, other = one.drift(rows(300, 23)), one.drift(moved)
        assert same.p_value > 0.001 and abs(same.stranger - 0.5) < 0.1 and "No sign" in str(same)
        assert other.p_value < 1e-6 and other.stranger > 0.7 and "Drift" in str(other)
    with pytest.raises(DataError, match="10 rows"):
        detector.drift(rows(5))


def test_drift_of_normal_rows_is_claimed_no_more_often_than_stated(split):
    assert np.mean([split.drift(rows(40, seed)).p_value < 0.1 for seed in range(100, 160)]) < 0.25


def test_what_is_suspicious_is_found():
    def findings(X, **settings):
        detector = om.AnomalyDetector(**{"model": SMALL, "ensemble": 2, "verbose": 0, **settings}).fit(X)
        return {finding.name: finding for finding in detector.findings_}

    assert all(finding.verdict == "good" for finding in findings(rows(300)).values())
    assert findings(rows(60))["calibration"].verdict == "warning"
    X = rows(300)
    X[:8] += 60
    found = findings(X, score="elbo")["contamination"]
    assert found.verdict == "warning" and 5 <= round(found.figures["share"] * 300) <= 12
    noise = np.random.default_rng(0).normal(size=(300, 5))  # no structure to be found
    heavy = om.VAE(latent_dim=2, hidden=(16,), epochs=60, objective=om.objectives.ELBO(beta=50), verbose=0)
    found = findings(noise, model=heavy, score="elbo")
    assert found["collapse"].verdict == "warning" and found["distance"].verdict == "warning"


def test_a_detector_is_evaluated_on_labelled_rows(detector):
    X, y = np.concatenate([rows(500, 25), rows(100, 26)[:, [1, 0, 2, 4, 3]]]), np.repeat([0, 1], [500, 100])
    found = om.evaluate_detector(detector, X, y)
    assert found.auroc == pytest.approx(roc_auc_score(y, -detector.score_samples(X)))
    assert (found.normal, found.anomalies, found.prevalence) == (500, 100, 100 / 600)
    assert found.detected_interval[0] < found.detected < found.detected_interval[1]
    for nominal, (seen, low, high) in found.rates.items():
        assert low <= seen <= high
        assert low < 2 * nominal and high > nominal / 2
    assert "AUROC" in str(found)
    assert om.evaluate_detector(om.VAE(**{**SMALL.get_params(), "epochs": 2}).fit(rows(50)), X, y).rates == {}
    for wrong in (y[:-1], y + 1, np.zeros(600)):
        with pytest.raises(DataError, match="y:"):
            om.evaluate_detector(detector, X, wrong)


# ------------------------------------------------------------------------------------------------- other models, files


def waves(lengths, seed):
    random = np.random.default_rng(seed)
    return [
        np.sin(np.arange(t) * 0.7 + random.uniform(0, 6))[:, None] + 0.05 * random.normal(size=(t, 1)) for t in lengths
    ]


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "fitted", [[5, 6, 7, 8] * 10, pytest.param([8] * 40, marks=SLOW), pytest.param([5, 20] * 20, marks=SLOW)]
)
def test_series_of_any_length_are_judged_after_a_fit_to_any(fitted):
    vae = om.VAE(latent_dim=2, hidden=(6,), epochs=2, verbose=0)
    detector = om.AnomalyDetector(vae, ensemble=2, verbose=0).fit(waves(fitted, 0))
    new = waves([8, 8, 5, 12], 1)
    whole = detector.score_samples(new)
    assert np.isfinite(whole).all()
    for one, score in zip(new[1:], whole[1:], strict=True):
        np.testing.assert_allclose(detector.score_samples([one]), score, rtol=1e-5)
    detector.explain(new)


@pytest.mark.slow
def test_few_series_of_many_lengths_fill_all_folds():
    vae = om.VAE(latent_dim=2, hidden=(6,), epochs=1, verbose=0)
    detector = om.AnomalyDetector(vae, verbose=0).fit(waves([5, 5, 5, 20, 20, 20, 40, 40, 40, 80, 80, 80], 0))
    assert sorted(map(len, detector.calibration_.groups)) == [2, 2, 2, 3, 3]


@pytest.mark.parametrize("objective", ["wae", "dipvae"])
def test_a_minibatch_without_a_row_for_a_member_teaches_it_nothing(objective):
    vae = om.VAE(latent_dim=2, hidden=(6,), epochs=3, batch_size=10, objective=objective, verbose=0)
    detector = om.AnomalyDetector(vae, ensemble=2, score="reconstruction", verbose=0).fit(rows(21))
    assert np.isfinite([record["loss"] for record in detector.history_]).all()


def test_settings_alone_are_differences_from_the_small_model():
    detector = om.AnomalyDetector({"epochs": 2}, ensemble=2, verbose=0).fit(rows(60))
    assert len(detector.history_) == 2 and detector.judge_.ensemble.models.posterior.network.features == 64
    with pytest.raises(ParameterError, match="epoch"):
        om.AnomalyDetector({"epoch": 2}, verbose=0).fit(rows(60))


def test_without_a_deviance_there_are_the_other_scores():
    X, epochs = np.random.default_rng(0).gamma(2.0, size=(60, 3)) + 0.1, []
    vae = om.VAE(latent_dim=2, hidden=(6,), epochs=2, likelihood=om.likelihoods.NumPyro("Gamma"), verbose=0)
    detector = om.AnomalyDetector(vae, ensemble=2, verbose=0).fit(X)
    assert "elbo" in detector.scores(X) and "mahalanobis" not in detector.scores(X)
    with pytest.raises(ParameterError, match="Gamma"):
        om.AnomalyDetector(vae, score="mahalanobis", verbose=0).fit(X, on_epoch=epochs.append)
    assert epochs == []


def test_rows_too_few_to_calibrate_on_are_refused_before_training():
    for settings in ({"ensemble": 1}, {"calibration": 0.01}):
        with pytest.raises(DataError, match="calibrate"):
            om.AnomalyDetector(SMALL, **settings, verbose=0).fit(rows(7))


def test_far_points_of_many_entries_stay_as_far_from_one_another():
    random = np.random.default_rng(0)
    points = random.normal(size=(40, 5000)).astype(np.float32) * random.uniform(0.5, 3, size=(40, 1)).astype(np.float32)
    hashed = np.asarray(scores._hashed(points))
    assert hashed.shape == (40, 1024)
    whole, short = (
        np.linalg.norm(each[:, None] - each[None], axis=2)[np.triu_indices(40, 1)] for each in (points, hashed)
    )
    assert np.abs(short / whole - 1).max() < 0.2 and abs((short / whole).mean() - 1) < 0.02


def test_a_plain_autoencoder_detects_too(tmp_path):
    detector = om.AnomalyDetector(PLAIN, ensemble=2, verbose=0).fit(rows(200))
    assert detector.judge_.names == ("mahalanobis", "neighbours", "latent_neighbours")
    assert not set(scores.NEED_DENSITY) & detector.scores(rows(5)).keys()
    loaded = om.load(detector.save(tmp_path / "plain"))
    np.testing.assert_array_equal(loaded.score_samples(rows(5)), detector.score_samples(rows(5)))
    with pytest.raises(ParameterError, match=r"'elbo'.*plain autoencoder"):
        om.AnomalyDetector(PLAIN, score=["elbo", "neighbours"], verbose=0).fit(rows(50))


def test_one_member_calibrates_on_rows_that_are_held_out():
    detector = om.AnomalyDetector(SMALL, ensemble=1, calibration=0.5, score="elbo", verbose=0).fit(rows(100))
    assert detector.calibration_.count == 50 and len(detector.calibration_.groups) == 1
    with pytest.raises(ParameterError, match="ensemble of 2"):
        om.AnomalyDetector(SMALL, ensemble=1, calibration="cross", verbose=0).fit(rows(100))


def test_with_contamination_that_share_of_the_training_rows_is_flagged():
    X = rows(200)
    X[:20] += 100
    detector = om.AnomalyDetector(SMALL, contamination=0.1, ensemble=2, verbose=0)
    assert (detector.fit_predict(X) == -1).sum() == 20
    assert (detector.predict(X)[:20] == -1).mean() >= 0.8


def test_with_no_arguments_it_is_a_small_vae_with_learned_variances(tmp_path):
    detector = om.AnomalyDetector(verbose=0).fit(rows(120), on_epoch=lambda record: None)
    assert len(detector.judge_.ensemble) == 5 and detector.recipe_.likelihood.scale == "feature"
    assert om.load(detector.save(tmp_path / "d")).model is None
    assert detector.severity(rows(50)).min() >= 0 and detector.severity(rows(5, shift=1e3)).min() > 90


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"score": "elbow"}, r"score.*'elbo'"),
        ({"score": []}, "score"),
        ({"score": ["elbo", 3]}, "score"),
        ({"contamination": 0.9}, "contamination"),
        ({"ensemble": 0}, "ensemble"),
        ({"calibration": "never"}, "calibration"),
        ({"false_alarm_rate": 1.0}, "false_alarm_rate"),
        ({"model": "vae"}, "model: expected a VAE"),
        ({"model": om.VAE(early_stopping=True)}, "early_stopping"),
        ({"model": om.VAE(epochs=0)}, "epochs"),
    ],
)
def test_what_cannot_be_is_refused_by_name(settings, text):
    with pytest.raises(ParameterError, match=text):
        om.AnomalyDetector(**{"model": SMALL, "verbose": 0, **settings}).fit(rows(50))


def test_rows_that_cannot_be_used_are_named(detector):
    X = rows(4)
    X[2, 1] = np.nan
    with pytest.raises(ValueError, match="row 2"):
        detector.score_samples(X)
    with pytest.raises(ValueError, match="5 features"):
        detector.score_samples(rows(4)[:, :4])
    with pytest.raises(DataError, match="10 rows"):
        om.AnomalyDetector(SMALL, verbose=0).fit(rows(9))
    with pytest.raises(ParameterError, match="by='elbo'"):
        detector.explain(rows(3), by="elbo")


def test_a_damaged_folder_is_refused(detector, tmp_path):
    import json

    folder = detector.save(tmp_path / "damaged")
    index = json.loads((folder / "spec.json").read_text())
    index["detector"]["scores"] = ["elbo", "nothing"]
    (folder / "spec.json").write_text(json.dumps(index))
    with pytest.raises(FileFormatError, match="does not describe a detector"):
        om.load(folder)
    index["detector"]["scores"] = list(detector.judge_.names)
    for change in (
        {"members": 10**9}, {"members": float("inf")}, {"groups": 0}, {"groups": 2}, {"offset": float("nan")},
        {"findings": 3}, {"findings": [{"x": 1}]}, {"scores": []}, {"settings": {"nothing": 1}}, {"model": "GAN"},
    ):  # fmt: skip
        (folder / "spec.json").write_text(json.dumps(index | {"detector": index["detector"] | change}))
        with pytest.raises(FileFormatError, match=r"spec\.json"):
            om.load(folder)


def test_nothing_warns(detector):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        detector.p_values(rows(10))


@pytest.mark.slow
@pytest.mark.optimised
def test_unusual_heart_beats_are_found(needs):
    """ECG5000, trained on normal beats: nearly all others rank above the normal ones."""
    file = np.load(needs("ecg5000", "ecg5000.npz"))
    settings = {"network": "tcn", "learning_rate": 1e-2, "epochs": 8}
    detector = om.AnomalyDetector(settings, ensemble=2, calibration="split", random_state=0, verbose=0)
    detector.fit(file["X_train_normal"][:, :, None])
    found = roc_auc_score(file["y_test_anomaly"][::3], -detector.score_samples(file["X_test"][::3, :, None]))
    print(f"ECG5000: AUROC {found:.4f}")
    assert found >= 0.985

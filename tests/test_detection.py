"""What scores mean: calibration, empirical tails, models trained as one, and the deviance of every likelihood."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import stats

import omokage as om
from omokage import build
from omokage.batch import Batch
from omokage.data.kinds.vectors import Table
from omokage.data.rows import MemoryRows
from omokage.detection.calibration import (
    Calibration,
    EmpiricalTail,
    benjamini_hochberg,
    interval,
    severity,
)
from omokage.detection.evaluation import evaluate
from omokage.detection.events import evaluate_steps
from omokage.ensemble import Ensemble, Together, each_apart
from omokage.errors import DataError, ParameterError
from omokage.objectives import ELBO, Reconstruction
from omokage.optimizers import SCHEDULES, optimizer
from omokage.training import Plan, begin, train

SMALL = {"latent_dim": 2, "hidden": (6,), "epochs": 2, "verbose": 0}


# ----------------------------------------------------------------------------------------------------- calibration


def test_p_values_of_exchangeable_scores_are_uniform_on_their_steps():
    # Whatever the scores are: the rank of one of n + 1 exchangeable numbers is uniform.
    random = np.random.default_rng(0)
    p = [Calibration.of([random.gamma(0.3, size=19)]).p_values(random.gamma(0.3, size=(1, 1)))[0] for _ in range(4000)]
    steps, counts = np.unique(np.round(np.array(p) * 20), return_counts=True)
    assert list(steps) == list(range(1, 21))
    assert stats.chisquare(counts).pvalue > 1e-3


def test_the_share_below_a_rate_is_that_of_the_beta_binomial_law():
    # Given the calibration the rate of false alarms is Beta(k, n + 1 - k) with k = floor(rate (n + 1)).
    random, rate, n = np.random.default_rng(1), 0.1, 59
    seen = [
        (Calibration.of([random.normal(size=n)]).p_values(random.normal(size=(400, 1))) <= rate).sum()
        for _ in range(800)
    ]
    law = stats.betabinom(400, 6, n + 1 - 6)
    assert abs(np.mean(seen) - law.mean()) < 4 * law.std() / np.sqrt(800)
    assert abs(np.std(seen) / law.std() - 1) < 0.12


def test_a_p_value_counts_ties_as_at_least_as_strange():
    calibration = Calibration.of([[1.0, 2.0, 2.0, 3.0]])
    np.testing.assert_allclose(calibration.p_values(np.array([[0.0], [2.0], [2.5], [9.0]])), [1, 0.8, 0.4, 0.2])


def test_groups_are_counted_together():
    calibration = Calibration.of([[1.0, 5.0], [10.0, 50.0, 60.0]])
    assert calibration.p_values(np.array([[2.0, 55.0]]))[0] == pytest.approx((1 + 1 + 1) / 6)


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.5, 1 / 21])
def test_a_row_is_above_the_threshold_just_where_its_p_value_is_at_most_the_rate(rate):
    scores = np.random.default_rng(2).normal(size=20).round(1)
    calibration = Calibration.of([scores])
    tried = np.concatenate([scores, scores + 0.01, [-9, 9]])
    np.testing.assert_array_equal(
        tried > calibration.threshold(rate), calibration.p_values(tried[:, None]) <= rate + 1e-12
    )


@pytest.mark.parametrize("rate", [0.02, 1 / 60, 0.05, 0.1, 3 / 60, 0.5])
def test_of_several_groups_too_threshold_and_p_value_are_one_rule(rate):
    random = np.random.default_rng(2)
    calibration = Calibration.of([random.normal(size=20), random.normal(1, 2, size=20), random.normal(size=19)])
    scores = np.concatenate([np.repeat(calibration.scores[:, None], 3, axis=1), random.normal(size=(500, 3))])
    flagged = calibration.p_values(scores) <= rate
    np.testing.assert_array_equal(scores.mean(1) > calibration.threshold(rate), flagged)


def test_a_rate_that_no_row_could_reach_is_refused_with_the_number_of_rows_that_it_takes():
    with pytest.raises(ParameterError, match=r"99 calibration rows .* 0\.01.* 999 normal rows"):
        Calibration.of([np.arange(99)]).check_rate(0.001)
    for wrong in (0, 1, -0.1, True, "a", np.nan):
        with pytest.raises(ParameterError, match="false_alarm_rate"):
            Calibration.of([np.arange(99)]).check_rate(wrong)


def test_an_empirical_tail_keeps_the_order_and_gives_nats_of_surprise():
    reference = np.sort(np.random.default_rng(3).gamma(1, size=500))
    tail = EmpiricalTail(reference)
    tried = np.linspace(reference[0], 3 * reference[-1], 4000)
    assert (np.diff(tail(tried)) > 0).all()
    # The share of the reference that is at least as strange as a reference row is exp(-surprise), but for the one.
    np.testing.assert_allclose(np.exp(-tail(reference)), (501 - np.arange(500)) / 501, rtol=1e-9)


def test_an_empirical_tail_of_equal_scores_still_tells_more_from_less():
    assert np.isfinite(EmpiricalTail(np.ones(5))([0.0, 1.0, 2.0])).all()
    assert EmpiricalTail(np.ones(5))(2.0) > EmpiricalTail(np.ones(5))(1.0)


def test_false_discoveries_among_conformal_p_values_stay_below_the_rate():
    random, shares = np.random.default_rng(4), []
    for _ in range(300):
        calibration = Calibration.of([random.normal(size=300)])
        scores = np.concatenate([random.normal(size=90), random.normal(4, size=10)])
        flagged = benjamini_hochberg(calibration.p_values(scores[:, None]), 0.2)
        shares.append(flagged[:90].sum() / max(flagged.sum(), 1))
    assert np.mean(shares) < 0.2 + 3 * np.std(shares) / np.sqrt(300)
    assert np.mean(shares) > 0.1  # it is 0.18 in theory, so a test that flags nothing would show


def test_benjamini_hochberg_refuses_what_are_no_p_values():
    with pytest.raises(DataError, match="p_values"):
        benjamini_hochberg([0.5, 1.5])
    assert benjamini_hochberg([0.9, 0.8]).sum() == 0


@pytest.mark.parametrize(("count", "total"), [(0, 10), (3, 10), (10, 10), (2, 500)])
def test_the_interval_of_a_rate_is_the_exact_one(count, total):
    theirs = stats.binomtest(count, total).proportion_ci(0.95, "exact")
    np.testing.assert_allclose(interval(count, total), (theirs.low, theirs.high))


def test_severity_rises_with_the_score_from_0_to_100():
    calibration = Calibration.of([np.random.default_rng(5).normal(size=1000)])
    values = severity(np.linspace(-5, 1000, 500), calibration)
    assert values[0] == 0 and (np.diff(values) >= 0).all() and 99 < values[-1] <= 100
    np.testing.assert_allclose(severity(np.quantile(calibration.groups[0], [0.5, 0.99]), calibration), [0, 50])


# -------------------------------------------------------------------------------------------------------- deviance


def _counts(random, shape):
    return random.poisson(4.0, shape).astype(np.float32)


LIKELIHOODS = {
    "gaussian": (om.likelihoods.Gaussian("full"), lambda r, s: r.normal(size=s)),
    "laplace": (om.likelihoods.Laplace(), lambda r, s: r.normal(size=s)),
    "student_t": (om.likelihoods.StudentT("shared"), lambda r, s: r.normal(size=s)),
    "log_normal": (om.likelihoods.LogNormal(), lambda r, s: np.exp(r.normal(size=s))),
    "bernoulli": (om.likelihoods.Bernoulli(), lambda r, s: r.integers(0, 2, s)),
    "grey": (om.likelihoods.Bernoulli(), lambda r, s: r.random(s)),
    "continuous_bernoulli": (om.likelihoods.ContinuousBernoulli(), lambda r, s: r.uniform(0.02, 0.98, s)),
    "poisson": (om.likelihoods.Poisson(), _counts),
    "negative_binomial": (om.likelihoods.NegativeBinomial(), _counts),
    "categorical": (om.likelihoods.Categorical(3), lambda r, s: r.integers(0, 3, s)),
    "levels": (om.likelihoods.DiscretizedLogistic(levels=16), lambda r, s: r.integers(0, 16, s)),
    "numpyro": (om.likelihoods.NumPyro("Gumbel", learned="scale"), lambda r, s: r.normal(size=s)),
}


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_the_deviance_is_what_the_best_parameters_would_have_saved(name):
    likelihood, draw = LIKELIHOODS[name]
    X = draw(np.random.default_rng(6), (40, 3)).astype(np.float32)
    vae = om.VAE(**SMALL, likelihood=likelihood).fit(X)
    batch = Batch(jnp.asarray(vae.schema_.encode(X)))
    z = vae.model_.encode(batch).mean
    deviance, normaliser = vae.model_.deviances(z, batch)
    found = -vae.model_.log_likelihoods(z[None], batch)[0]
    assert (deviance >= 0).all() and deviance.max() > 0
    np.testing.assert_allclose(deviance + normaliser, found, rtol=1e-3, atol=2e-3)
    # No parameters of the middle explain an entry better than the saturated ones: tried on the other rows'.
    for shift in range(1, 8):
        other = vae.model_.log_likelihoods(jnp.roll(z, shift, 0)[None], batch)[0]
        if name != "gaussian":  # whose width goes with the row
            assert (-other - normaliser).min() > -2e-3


def test_of_a_gaussian_it_is_the_unregularised_score():
    X = np.random.default_rng(7).normal(size=(50, 4)).astype(np.float32)
    vae = om.VAE(**SMALL, likelihood=om.likelihoods.Gaussian("full")).fit(X)
    batch = Batch(jnp.asarray(vae.schema_.encode(X)))
    given = vae.model_.decode(vae.model_.encode(batch).mean)
    deviance, normaliser = vae.model_.deviances(vae.model_.encode(batch).mean, batch)
    np.testing.assert_allclose(deviance, (batch.x - given.mean) ** 2 / (2 * given.variance), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(normaliser, 0.5 * np.log(2 * np.pi * given.variance), rtol=1e-4, atol=1e-5)


def test_a_family_that_does_not_say_what_explains_an_entry_best_has_no_deviance():
    X = np.random.default_rng(8).gamma(2.0, size=(40, 3)) + 0.1
    vae = om.VAE(**SMALL, likelihood=om.likelihoods.NumPyro("Gamma")).fit(X)
    batch = Batch(jnp.asarray(vae.schema_.encode(X)))
    with pytest.raises(ParameterError, match=r"Gamma .*score=.elbo."):
        vae.model_.deviances(vae.model_.encode(batch).mean, batch)


# ------------------------------------------------------------------------------------------------- several as one


def _members(X, count, objective, **settings):
    """Return schema and first models."""
    kind = om.AutoEncoder if isinstance(objective, Reconstruction) else om.VAE
    parameters = kind(**{**SMALL, **settings, "objective": objective})._checked()
    table = Table(X)
    recipe = build.decide(parameters, table, str)
    schema = table.schema(recipe.standardize)
    models = [build.model(parameters, recipe, schema.event, np.random.default_rng(m)) for m in range(count)]
    return schema, models, recipe.objective


def _plan(clip=None, rule="adam"):
    return Plan(3, 10, 1e-2, optimizer(rule, clip, 1e-4), SCHEDULES["constant"], None, 0)


# Not Adam with batch norm: the bias before it has a gradient of nothing but rounding, which Adam makes steps of.
@pytest.mark.parametrize(
    ("rule", "clip", "settings"),
    [
        ("adam", None, {}),
        ("adamw", 0.05, {"normalization": "layer"}),
        ("sgd", 0.05, {}),
        ("sgd", None, {"normalization": "batch"}),
    ],
)
def test_members_trained_together_are_those_trained_alone(rule, clip, settings):
    X = np.random.default_rng(9).normal(size=(30, 3))
    schema, models, objective = _members(X, 3, Reconstruction(), **settings)
    rows, plan = MemoryRows(Batch(schema.encode(X))), _plan(clip, rule)
    apart = [train(begin(model, plan), objective, rows, plan).model for model in models]
    whole = Plan(**{**vars(plan), "optimizer": each_apart(plan.optimizer)})
    together = train(begin(Ensemble.of(models), whole), Together(objective), rows, whole)
    for number, alone in enumerate(apart):
        for one, other in zip(jax.tree.leaves(alone), jax.tree.leaves(together.model.member(number)), strict=True):
            np.testing.assert_allclose(one, other, rtol=2e-4, atol=2e-5)


def test_the_history_is_of_means_over_the_members():
    X = np.random.default_rng(10).normal(size=(30, 3))
    schema, models, objective = _members(X, 2, Reconstruction())
    rows, plan = MemoryRows(Batch(schema.encode(X))), _plan()
    apart = [train(begin(model, plan), objective, rows, plan).history for model in models]
    whole = Plan(**{**vars(plan), "optimizer": each_apart(plan.optimizer)})
    together = train(begin(Ensemble.of(models), whole), Together(objective), rows, whole).history
    expected = np.mean([[record["loss"] for record in history] for history in apart], 0)
    np.testing.assert_allclose([record["loss"] for record in together], expected, rtol=1e-4)


def test_a_member_learns_nothing_from_the_rows_of_its_fold():
    random = np.random.default_rng(11)
    X = random.normal(size=(30, 3))
    schema, models, objective = _members(X, 3, ELBO())
    plan = Plan(**{**vars(_plan()), "optimizer": each_apart(_plan().optimizer)})
    x, fold = schema.encode(X), np.arange(30, dtype=np.int32) % 3
    trained = []
    for change in (0.0, 5.0):
        changed = x + change * (fold == 1)[:, None].astype(np.float32)
        rows = MemoryRows(Batch(changed, fold=fold))
        trained.append(train(begin(Ensemble.of(models), plan), Together(objective), rows, plan).model)
    for m, same in ((0, False), (1, True), (2, False)):
        leaves = [jax.tree.leaves(model.member(m)) for model in trained]
        assert all(np.array_equal(a, b) for a, b in zip(*leaves, strict=True)) == same, m


def test_folds_are_of_about_one_size_and_cover_all_rows():
    rows = MemoryRows(Batch(np.zeros((23, 2), np.float32)), index=np.arange(3, 23))
    rows.fold(3, np.random.default_rng(0))
    assert sorted(np.bincount(rows.batch.fold)) == [6, 7, 7]


@pytest.mark.parametrize("normal", [10, 50, 99, 300])
def test_detection_at_one_percent_has_no_more_false_alarms_than_that(normal):
    scores = np.random.default_rng(0).normal(size=normal)
    found = evaluate(np.concatenate([scores, scores]), np.repeat([0, 1], normal))
    assert found.detected <= 0.01


@pytest.mark.parametrize(
    "container",
    [
        np.ndarray.tolist,
        lambda y: y > 0,
        lambda y: y.astype(object),
        lambda y: y.astype(float),
        np.ma.array,
        pl.Series,
        lambda y: pd.array(y, "Int64"),
        lambda y: pd.Series(y).astype("category"),
    ],
)
def test_labels_are_read_from_whatever_holds_them(container):
    scores, y = np.arange(6.0), np.array([0, 0, 1, 0, 1, 1])
    expected = evaluate(scores, y).auroc
    assert evaluate(scores, container(y)).auroc == expected
    assert evaluate_steps([scores], [container(y)]).vus_pr == evaluate_steps([scores], [y]).vus_pr


@pytest.mark.parametrize(
    "labels",
    [
        pl.Series([[0]] * 6),
        pl.Series([[0]] * 5 + [None]),
        pd.Series([[0]] * 6),
        [[0]] * 5 + [[1, 2]],
        [[0], 1, 0, 1, 0, 1],
        pl.Series([[0]] * 6).to_numpy(),
    ],
)
def test_labels_that_are_lists_are_refused(labels):
    scores = np.arange(6.0)
    with pytest.raises(DataError, match=r"^y: expected 1 for anomalies and 0 for normal rows, .*; got \[0\]\.$"):
        evaluate(scores, labels)
    with pytest.raises(DataError, match=r"^y: expected 1 for anomalous steps and 0 for normal ones, .*; got \[0\]\.$"):
        evaluate_steps([scores], [labels])


def test_labels_that_are_masked_or_missing_are_not_used():
    scores, y = np.arange(6.0), np.array([0, 0, 1, 0, 1, 1])
    hidden = np.ma.array(y, mask=[0, 1, 0, 0, 0, 0]), pd.array([0, None, 1, 0, 1, 1], "Int64"), [0, None, 1, 0, 1, 1]
    for labels in hidden:
        with pytest.raises(DataError, match=r"y: expected 1 for anomalies .* got 0, 1, one that is missing"):
            evaluate(scores, labels)
        with pytest.raises(DataError, match=r"y: expected 1 for anomalous steps .* got 0, 1, one that is missing"):
            evaluate_steps([scores], [labels])

"""Rows entry by entry: densities, draws, holes and conditions of `likelihoods.Autoregressive`."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest

import omokage as om
from omokage.batch import Event
from omokage.density import Density
from omokage.errors import ParameterError
from omokage.likelihoods import Autoregressive
from omokage.nets.mlp import MLP

CELLS = ((3,), (2, None), (None,))
KEY = jax.random.key(0)


def given(cells=CELLS, rows=1, bins=7, seed=0):
    """Return a distribution with weights that are not those of the start."""
    family = Autoregressive(width=8, bins=bins, cells=cells)
    network = MLP(2, (4,), random=np.random.default_rng(seed))
    density = Density(
        family,
        Event.plain(family.entries),
        network,
        initializer=lambda random, outputs, inputs: random.normal(0, 1, (outputs, inputs)),
        random=np.random.default_rng(seed),
    )
    random = np.random.default_rng(seed + 1)
    learned = {name: random.normal(0, 0.3, np.shape(array)) for name, array in density.learned.items()}
    return density.fitted(learned)(jnp.asarray(random.normal(size=(rows, 2)), jnp.float32))


def joint(distribution, counts):
    """Return the probability of every row of classes."""
    rows = np.array(list(itertools.product(*map(range, counts))), np.float32)
    logs = jax.vmap(lambda row: distribution.log_prob(row[None]).sum())(jnp.asarray(rows))
    return rows, np.exp(np.asarray(logs, np.float64))


def test_the_mass_of_a_mixed_row_is_one():
    distribution = given()
    grid = jnp.linspace(-8, 8, 801)
    step = float(grid[1] - grid[0])

    def density(a, which, b, c):
        x = jnp.stack(jnp.broadcast_arrays(a * 1.0, which * 1.0, b, c), -1)
        return jnp.exp(distribution.log_prob(x[:, None]).sum(-1))[:, 0]

    total = 0.0
    for a in range(3):
        total += float(density(a, 0, jnp.nan, grid).sum()) * step  # the number is not there
        for b in grid[::8]:
            total += float(density(a, 1, b, grid).sum()) * step * 8 * step
    assert total == pytest.approx(1, abs=0.02)


def test_an_entry_does_not_depend_on_those_after_it():
    distribution = given()
    x = jnp.array([[1.0, 1.0, 0.3, -0.2]])
    for place, other in enumerate([2.0, 0.0, 1.5, 2.5]):
        changed = distribution.log_prob(x.at[0, place].set(other)) != distribution.log_prob(x)
        assert not changed[0, :place].any()


def test_a_number_without_a_meaning_says_nothing():
    distribution = given()
    one, other = (distribution.log_prob(jnp.array([[1.0, 0.0, value, 0.4]])) for value in (0.3, 99.0))
    assert np.array_equal(one, other)
    assert one[0, 2] == 0


def test_draws_have_the_density():
    distribution = given(((2,), (3,), (2,)))
    rows, mass = joint(distribution, (2, 3, 2))
    assert mass.sum() == pytest.approx(1, abs=1e-5)
    drawn = np.asarray(distribution.sample(KEY, (20_000,)))[:, 0]
    found = [(drawn == row).all(1).mean() for row in rows]
    assert np.abs(found - mass).max() < 4 * np.sqrt(0.25 / 20_000)


def test_numbers_have_a_histogram_and_its_moments():
    distribution = given(((None,), (None,)), bins=5)
    drawn = np.asarray(distribution.sample(KEY, (40_000,)))[:, 0]
    # The mean is over few chains: only that of the first entry, which depends on none, is exact.
    assert drawn[:, 0].mean() == pytest.approx(float(distribution.mean[0, 0]), abs=0.02)
    assert drawn[:, 0].var() == pytest.approx(float(distribution.variance[0, 0]), abs=0.03)


def test_weighted_completions_are_draws_given_what_is_known():
    distribution = given(((2,), (3,), (2,)))
    rows, mass = joint(distribution, (2, 3, 2))
    choices = np.full((3, 2), np.nan, np.float32)
    choices[1, :2], choices[2, 0] = (0, 2), 1
    possible = np.isin(rows[:, 1], (0, 2)) & (rows[:, 2] == 1)
    x = distribution.within(KEY, jnp.asarray(choices), (20_000,))
    weight = np.exp(np.asarray(jax.vmap(lambda row: distribution.masses(row, jnp.asarray(choices)).sum())(x)))
    assert weight.mean() == pytest.approx(mass[possible].sum(), rel=0.02)  # the probability of the condition
    drawn = np.asarray(x)[:, 0]
    found = np.array([weight[(drawn == row).all(1)].sum() for row in rows]) / weight.sum()
    assert np.abs(found - np.where(possible, mass, 0) / mass[possible].sum()).max() < 0.015


def test_a_level_never_seen_is_the_most_surprising():
    distribution = given(((2,), (3,)))
    seen = [float(distribution.log_prob(jnp.array([[0.0, level]]))[0, 1]) for level in range(3)]
    unseen = float(distribution.log_prob(jnp.array([[0.0, 3.0]]))[0, 1])
    assert unseen == pytest.approx(min(seen) + np.log(1e-6), abs=1e-3)


def table(rows=600, seed=0):
    """Return rows whose columns are nothing apart, and all together: a parity, a double, a spike."""
    random = np.random.default_rng(seed)
    a, b = random.integers(0, 2, rows), random.integers(0, 2, rows)
    number = np.where(random.random(rows) < 0.3, 0.0, random.normal(size=rows) + 2 * a)
    return pl.DataFrame(
        {
            "a": np.array(["no", "yes"])[a],
            "b": np.array(["low", "high"])[b],
            "parity": np.array(["even", "odd"])[a ^ b],
            "number": number,
            "double": 2 * number + 0.1 * random.normal(size=rows),
        }
    )


@pytest.fixture(scope="session")
def chained():
    holes = table()
    random = np.random.default_rng(1)
    for name in ("parity", "double"):
        holes = holes.with_columns(pl.when(pl.Series(random.random(600) > 0.1)).then(pl.col(name)).alias(name))
    likelihood = Autoregressive(width=16, bins=20, dropout=0.1, unknown=0.1)
    return om.VAE(2, hidden=(8,), likelihood=likelihood, epochs=150, learning_rate=3e-3, verbose=0).fit(holes)


def test_columns_depend_on_one_another(chained):
    made = chained.sample(2000, seed=1)
    odd = (made["a"] == "yes") ^ (made["b"] == "high")
    assert ((made["parity"] == "odd") == odd).mean() > 0.9
    assert np.corrcoef(made["number"], made["double"])[0, 1] > 0.95
    assert (made["number"] == 0).mean() == pytest.approx(0.3, abs=0.05)


def test_conditions_on_later_columns_reach_earlier_ones(chained):
    made = chained.sample(500, where={"parity": "odd", "b": "high", "double": (1, 5)})
    assert (made["a"] == "no").mean() > 0.8
    assert made["double"].min() >= 1
    assert 0 < made["number"].quantile(0.05) < made["number"].quantile(0.95) < 3


def test_what_is_missing_is_found_from_before_and_behind(chained):
    rows = table(60, seed=5)
    holes = rows.with_columns(
        a=pl.when(pl.Series(np.arange(60) % 2 == 0)).then("a"), double=pl.lit(None, dtype=pl.Float64)
    )
    filled = chained.impute(holes)
    assert (filled["a"] == rows["a"]).mean() > 0.85
    assert np.abs(filled["double"] - rows["double"]).mean() < 0.6
    one = chained.impute(holes, draws=2, seed=3)[1]
    assert np.abs(one["double"] - rows["double"]).mean() < 0.8


def test_answers_are_the_same_after_loading(chained, tmp_path):
    rows = table(20, seed=6)
    chained.save(tmp_path / "model")
    again = om.load(tmp_path / "model")
    assert np.array_equal(again.score_samples(rows), chained.score_samples(rows))
    assert again.sample(5).equals(chained.sample(5))


def test_a_detector_scores_such_rows():
    settings = {"hidden": (8,), "likelihood": Autoregressive(width=8, bins=10), "epochs": 5, "verbose": 0}
    detector = om.AnomalyDetector(om.VAE(2, **settings)).fit(table())
    odd = table(5).with_columns(double=pl.lit(40.0))
    assert detector.explain(odd).by == "mahalanobis"  # given z, cells are not independent
    with pytest.raises(ParameterError, match=r"by='conditional'.*independent"):
        detector.explain(odd, by="conditional")
    assert (detector.score_samples(odd) < np.median(detector.score_samples(table(50, seed=2)))).all()


def test_arrays_have_it_too():
    X = np.random.default_rng(0).normal(size=(200, 3))
    vae = om.VAE(1, likelihood="autoregressive", hidden=(4,), epochs=1, verbose=0).fit(X)
    assert vae.sample(4).shape == (4, 3)
    assert np.isfinite(vae.log_likelihood(X[:5])).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bins": 0}, r"bins=0\): expected a whole number"),
        ({"width": 1.5}, r"width=1.5\): expected a whole number"),
        ({"dropout": 1.0}, r"dropout=1.0\): expected a share"),
        ({"unknown": -1}, r"unknown=-1\): expected a share"),
        ({"cells": ((None, 2),)}, "expected for each column"),
        ({"cells": "ab"}, "expected for each column"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ParameterError, match=message):
        Autoregressive(**settings)


@pytest.mark.parametrize("shape", [(4, 8, 8, 1), (4, 5, 2)])
def test_pictures_and_series_are_refused(shape):
    X = np.random.default_rng(0).random(shape)
    with pytest.raises(ParameterError, match=r"vectors and tables; X is (images|sequences)"):
        om.VAE(1, likelihood="autoregressive", verbose=0).fit(X)

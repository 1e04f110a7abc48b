"""Rows under conditions, and what is expected of columns: against rejection, closed forms and Bayes' theorem."""

import datetime
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest
from scipy.stats import chi2_contingency, ks_2samp, norm

import omokage as om
from omokage import conditioning
from omokage.batch import Batch
from omokage.data.conditions import rounded_to
from omokage.errors import ParameterError
from omokage.inference import over_rows

SMALL = {"latent_dim": 2, "hidden": (16,), "batch_size": 100, "learning_rate": 0.01, "verbose": 0}
SITES = ["east", "north", "south", "west"]
LEVEL = 1e-3  # of tests: one of a thousand fails by chance, and seeds are fixed


def readings(n: int, seed: int = 0) -> pl.DataFrame:
    """Return rows whose load is often 0, and depends on the site as the day and the faults do."""
    random = np.random.default_rng(seed)
    site = random.choice(4, n, p=[0.4, 0.3, 0.2, 0.1])
    load = np.where(random.random(n) < 0.2 + 0.1 * site, 0.0, np.exp(random.normal(0.5 * site, 0.6, n)))
    day = [datetime.date(2024, 1, 1) + datetime.timedelta(int(d)) for d in 40 * site + random.integers(0, 90, n)]
    return pl.DataFrame(
        {
            "site": [SITES[place] for place in site],
            "load": load,
            "faults": random.poisson(2 + 2 * site),
            "ok": random.random(n) < 0.9 - 0.2 * site,
            "day": day,
        }
    )


@pytest.fixture(scope="module")
def vae() -> om.VAE:
    return om.VAE(**SMALL, epochs=25).fit(readings(600))


@pytest.fixture(scope="module")
def many(vae) -> pl.DataFrame:
    return vae.sample(100_000, seed=77)


def assert_alike(found: pl.DataFrame, expected: pl.DataFrame) -> None:
    """Assert that two samples are of one distribution, column by column, and sites together with what is ok."""
    assert len(expected) > 400
    for name in ("load", "faults", "day"):
        one, other = (
            frame[name].cast(pl.Float64 if name != "day" else pl.Int32).to_numpy() for frame in (found, expected)
        )
        if len({*one, *other}) > 1:
            assert ks_2samp(one, other).pvalue > LEVEL, name
    pairs = [frame["site"].cast(pl.String) + frame["ok"].cast(pl.String) for frame in (found, expected)]
    kinds = sorted({*pairs[0], *pairs[1]})
    table = np.array([[(pair == kind).sum() for kind in kinds] for pair in pairs])
    assert len(kinds) == 1 or chi2_contingency(table[:, table.sum(0) > 10]).pvalue > LEVEL


@pytest.mark.parametrize(
    ("where", "rule"),
    [
        ({"site": "south"}, pl.col("site") == "south"),
        ({"site": {"north", "west"}, "ok": True}, pl.col("site").is_in(["north", "west"]) & pl.col("ok")),
        ({"load": 0}, pl.col("load") == 0),
        ({"load": (0, 1.5), "faults": (3, 6)}, pl.col("load").is_between(0, 1.5) & pl.col("faults").is_between(3, 6)),
        (
            {"load": (2.5, None), "day": ("2024-04-01", datetime.date(2024, 6, 30)), "site": ["east", "south"]},
            (pl.col("load") >= 2.5)
            & pl.col("day").is_between(datetime.date(2024, 4, 1), datetime.date(2024, 6, 30))
            & pl.col("site").is_in(["east", "south"]),
        ),
    ],
    ids=["level", "set", "repeated value", "intervals", "three conditions"],
)
def test_draws_are_those_that_rejection_keeps(vae, many, where, rule):
    rows = vae.sample(2000, where=where)
    assert rows.filter(rule).height == 2000  # no row breaks a condition
    assert_alike(rows, many.filter(rule))


def test_of_a_number_its_density_is_what_counts(vae, many):
    rows = vae.sample(2000, where={"load": 2.25})
    assert set(rows["load"]) == {2.25}
    assert_alike(
        rows.drop("load").with_columns(load=0), many.filter((pl.col("load") - 2.25).abs() < 0.03).with_columns(load=0)
    )


def test_the_refinement_leaves_the_distribution_and_forgets_where_it_began(vae, many):
    wanted = vae.schema_.conditions({"site": ["north", "south"], "load": (0, 3)})
    pool = conditioning.pool(vae.model_, wanted.conditions, 3, 1000)
    assert vae.schema_.event.missing
    begun = np.zeros(2000, np.int64)  # one proposal, two thousand times
    rows = Batch(pool.x[begun], mask=np.ones((2000, pool.x.shape[1]), bool))
    given = rows, pool.z[begun], np.arange(2000, dtype=np.uint32)
    counted = conditioning.counts(wanted.conditions, pool.x)
    assert 0 < (~counted).mean(0).max() < 1 and counted.all(1).any()  # some are no number, since the load is 0
    x = over_rows(conditioning.refined, vae.model_, given, jax.random.key(0), wanted.conditions, jnp.int32(150))
    rule = pl.col("site").is_in(["north", "south"]) & pl.col("load").is_between(0, 3)
    assert_alike(vae.schema_.written(wanted.decode(x)), many.filter(rule))


@pytest.fixture(scope="module")
def linear() -> om.VAE:
    random = np.random.default_rng(0)
    X = random.normal(size=(600, 2)) @ random.normal(size=(2, 4)) * [1, 5, 0.2, 1] + random.normal(0, 0.4, (600, 4))
    X = pl.DataFrame(X + np.array([3, 0, -2, 100]), schema=["a", "b", "c", "d"])
    return om.VAE(2, hidden=(), epochs=60, batch_size=100, learning_rate=0.02, verbose=0).fit(X)


def test_a_linear_gaussian_model_has_conditional_means_and_covariances_in_closed_form(linear):
    model, columns = linear.model_, linear.schema_.columns
    given = model.decode(jnp.concatenate([jnp.zeros((1, 2)), jnp.eye(2)]))
    mean = np.asarray(given.mean, np.float64)
    weight = (mean[1:] - mean[0]).T * columns.scale[:, None]
    noise = np.broadcast_to(np.asarray(given.variance, np.float64), mean.shape)[0] * columns.scale**2
    mean, covariance = mean[0] * columns.scale + columns.location, weight @ weight.T + np.diag(noise)
    known, free = [0, 3], [1, 2]
    values = mean[known] + [0.8, -0.5] * np.sqrt(np.diag(covariance)[known])
    gain = covariance[np.ix_(free, known)] @ np.linalg.inv(covariance[np.ix_(known, known)])
    expected = mean[free] + gain @ (values - mean[known])
    remaining = covariance[np.ix_(free, free)] - gain @ covariance[np.ix_(known, free)]
    where = {"a": values[0], "d": values[1]}
    rows, ess = linear.sample(20_000, where=where, return_ess=True)
    assert ess > 5000
    np.testing.assert_array_equal(rows[:, known], np.broadcast_to(values, (20_000, 2)))  # to the bit
    deviation = np.sqrt(np.diag(remaining))
    np.testing.assert_allclose((rows[:, free].mean(0) - expected) / deviation, 0, atol=5 / np.sqrt(5000))
    np.testing.assert_allclose(
        np.cov(rows[:, free].T) / np.outer(deviation, deviation), remaining / np.outer(deviation, deviation), atol=0.08
    )
    for place, name in enumerate("bc"):
        found = linear.expect(where, of=name)
        assert found.mean == pytest.approx(expected[place], abs=5 * deviation[place] / np.sqrt(found.effective))
        assert found.standard_deviation == pytest.approx(deviation[place], rel=0.05)
        normal = norm(expected[place], deviation[place]).ppf(list(found.quantiles))
        np.testing.assert_allclose((list(found.quantiles.values()) - normal) / deviation[place], 0, atol=0.1)


def test_the_effective_sample_size_is_that_of_the_weights(linear):
    wanted = linear.schema_.conditions({"a": (3, None)})
    pool = conditioning.pool(linear.model_, wanted.conditions, 0, 10)
    assert pool.effective == pytest.approx(len(pool.x)) and len(pool.x) < conditioning.FIRST  # all weigh the same
    wanted = linear.schema_.conditions({"a": 3.5})
    pool = conditioning.pool(linear.model_, wanted.conditions, 0, 10)
    assert pool.effective == pytest.approx(1 / (pool.weight**2).sum()) and pool.effective < len(pool.x)


@pytest.fixture(scope="module")
def two() -> om.VAE:
    random = np.random.default_rng(1)
    a = random.choice(3, 500, p=[0.5, 0.3, 0.2])
    b = np.where(random.random(500) < 0.8, a % 2, 1 - a % 2)
    frame = pl.DataFrame({"a": np.array(["x", "y", "z"])[a], "b": np.array(["no", "yes"])[b]})
    return om.VAE(**SMALL | {"latent_dim": 1}, epochs=30).fit(frame)


def test_probabilities_agree_with_bayes_by_brute_force(two):
    z = np.linspace(-8, 8, 4001)
    prior = norm.pdf(z) / norm.pdf(z).sum()
    given = two.model_.decode(jnp.asarray(z[:, None], jnp.float32))
    of_a, of_b = (
        np.stack([np.exp(np.asarray(given.log_prob(jnp.full((len(z), 2), c)), np.float64))[:, j] for c in range(n)], 1)
        for j, n in enumerate((3, 2))
    )
    joint = np.einsum("z,za,zb->ab", prior, of_a, of_b)
    for place, level in enumerate("xyz"):
        found = two.expect({"a": level}, of="b")
        assert sum(found.probabilities.values()) == pytest.approx(1)
        expected = joint[place] / joint[place].sum()
        error = np.sqrt(expected[0] * expected[1] / found.effective)
        np.testing.assert_allclose(list(found.probabilities.values()), expected, atol=4 * error)
        assert found.likeliest == ["no", "yes"][int(np.argmax(expected))]
    found = two.expect({"b": "no", "a": ["x", "z"]}, of="a")
    expected = joint[[0, 2], 0] / joint[[0, 2], 0].sum()
    assert found.probabilities["y"] == 0
    assert found.probabilities["x"] == pytest.approx(expected[0], abs=4 * np.sqrt(0.25 / found.effective))


def test_what_is_expected_prints_and_comes_for_several_columns(vae):
    found = vae.expect({"site": "west"}, of=["load", "day", "ok"])
    assert list(found) == ["load", "day", "ok"]
    assert "standard deviation" in str(found["load"]) and "95 %" in str(found["load"])
    assert isinstance(found["day"].mean, datetime.date) and isinstance(
        found["day"].standard_deviation, datetime.timedelta
    )
    assert found["day"].quantiles[0.05] < found["day"].mean < found["day"].quantiles[0.95]
    assert set(found["ok"].probabilities) == {True, False} and "effective draws" in str(found["ok"])
    assert found["load"].mean > vae.expect({"site": "east"}, of="load").mean


def test_a_seed_repeats_and_another_gives_other_draws(vae):
    where = {"site": {"west", "north", "south"}, "faults": (2, None)}
    first = vae.sample(50, where=where)
    assert first.equals(vae.sample(50, where={"faults": (2, None), "site": ["south", "north", "west"]}))
    assert not first.equals(vae.sample(50, where=where, seed=1))


def test_saved_it_draws_the_same(vae, tmp_path):
    where = {"load": (1, 2), "day": (None, "2024-05-01")}
    assert om.load(vae.save(tmp_path / "m")).sample(20, where=where).equals(vae.sample(20, where=where))


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ({"sit": "east"}, "where: X has no column 'sit'. Did you mean 'site'?"),
        (
            {"site": "wset"},
            "column 'site': expected a level of the fit, one of 'east', 'north', 'south', 'west'; got 'wset'",
        ),
        ({"site": ("east", "west")}, "column 'site': expected a level, or several in a set: levels have no order"),
        ({"site": []}, "column 'site': expected at least one level"),
        ({"load": "heavy"}, "column 'load': expected a number; got 'heavy'"),
        ({"load": [1, 2]}, "column 'load': expected a number, or an interval such as"),
        ({"load": None}, "a missing value is no condition, so leave the column out"),
        ({"load": float("nan")}, "a missing value is no condition"),
        ({"load": float("inf")}, "column 'load': expected a number; got inf"),
        ({"load": (5, 1)}, "column 'load': expected an interval whose first end is the lower one"),
        ({"load": (None, None)}, "column 'load': expected an interval of two ends"),
        ({"faults": (2.2, 2.8)}, "column 'faults': expected an interval with a number of 0 decimals in it"),
        ({"day": "soon"}, "column 'day': expected a date, such as '2024-01-31'; got 'soon'"),
        ({"load": (10_000, None)}, "262,144 rows that the model proposed are worth only 0.0 draws"),
        ({}, "where: expected a dictionary"),
        ("site=east", "where: expected a dictionary"),
    ],
)
def test_conditions_that_cannot_be_used_are_named(vae, where, words):
    with pytest.raises(ParameterError) as raised:
        vae.sample(5, where=where)
    assert words in str(raised.value)


def test_what_does_not_go_together_is_refused(vae, linear):
    with pytest.raises(ParameterError, match="return_ess=True: only draws with where="):
        vae.sample(5, return_ess=True)
    with pytest.raises(ParameterError, match="mean=True: with where="):
        vae.sample(5, where={"site": "east"}, mean=True)
    with pytest.raises(ParameterError, match="of: column 'site' is given by where"):
        vae.expect({"site": "east"}, of="site")
    with pytest.raises(ParameterError, match=r"of: X has no column 'loud'\. Did you mean 'load'"):
        vae.expect({"site": "east"}, of="loud")
    with pytest.raises(ParameterError, match="where: X has no column 0"):
        linear.sample(5, where={0: 1.0})


def test_columns_of_kinds_without_names_are_refused():
    series = np.random.default_rng(0).normal(size=(40, 6, 2))
    vae = om.VAE(**SMALL, epochs=1).fit(series)
    with pytest.raises(ParameterError, match="where: only rows of a table, or vectors, have columns; X was series"):
        vae.sample(2, where={0: 1.0})


def test_few_rows_worth_little_are_warned_of(vae, monkeypatch):
    monkeypatch.setattr(conditioning, "MOST", conditioning.FIRST)
    with pytest.warns(
        UserWarning, match=r"where: the 9000 rows are taken from proposals that are worth only \d+ draws"
    ):
        vae.sample(9000, where={"site": "west", "load": (8.0, None)})


def test_columns_of_an_array_have_numbers_and_a_density_has_its_support():
    X = np.random.default_rng(0).poisson([2.0, 5.0, 9.0], (300, 3)).astype(float)
    vae = om.VAE(**SMALL, epochs=2, likelihood="poisson").fit(X)
    rows = vae.sample(200, where={0: 3, 2: (8, 10)})
    assert set(rows[:, 0]) == {3.0} and set(rows[:, 2]) == {8.0, 9.0, 10.0}
    with pytest.raises(ParameterError, match="column 0: expected whole numbers of at least 0"):
        vae.sample(5, where={0: 2.5})


def test_a_point_mass_is_not_refined_and_a_context_is_one_for_all():
    random = np.random.default_rng(0)
    X, y = random.normal(size=(200, 3)), random.integers(0, 2, 200)
    X[:, 0] += 4 * y
    vae = om.VAE(**SMALL, epochs=20, posterior="point", objective="reconstruction").fit(X)
    assert vae.sample(30, where={1: (0, None)}).min(0)[1] >= 0
    told = om.VAE(**SMALL, epochs=20).fit(X, context=y)
    means = [told.sample(500, where={1: (0, None)}, context=label)[:, 0].mean() for label in (0, 1)]
    assert means[1] > means[0] + 2
    with pytest.raises(om.errors.DataError, match="context"):
        told.sample(4, where={1: 0.5}, context=[0, 1, 0, 1])


def test_on_the_command_line(vae, tmp_path, command):
    model, out = vae.save(tmp_path / "m"), tmp_path / "rows.csv"
    flags = (
        "--where",
        "site=north|west",
        "--where",
        "faults=3..5",
        "--where",
        "ok=true",
        "--where",
        "day=..2024-06-01",
    )
    code, shown, noted = command("sample", model, "-n", "40", *flags, "--out", out)
    assert code == 0, noted
    assert "40 rows, from proposals worth" in shown
    rows = pl.read_csv(out)
    assert rows.height == 40 and set(rows["site"]) <= {"north", "west"} and set(rows["faults"]) <= {3, 4, 5}
    assert rows["ok"].all() and rows["day"].max() <= "2024-06-01"
    for flag, words in (
        ("site=nroth", "Did you mean 'north'?"),
        ("site", "expected NAME=VALUE, NAME=LOW..HIGH or NAME=A|B"),
        ("sites=a", "Did you mean 'site'?"),
    ):
        code, _, noted = command("sample", model, "--where", flag, "--out", out)
        assert code and words in noted


def test_an_interval_holds_what_is_written_as_a_value_in_it():
    assert rounded_to((30, 40), 1.0) == pytest.approx((29.5, 40.5), abs=1e-5)
    assert rounded_to((29.2, 40.9), 1.0) == pytest.approx((29.5, 40.5), abs=1e-5)
    assert rounded_to((-np.inf, 0.25), 0.01)[1] == pytest.approx(0.255, abs=1e-5)
    assert rounded_to((0.1, 0.7), 0.0) == (0.1, 0.7)


@pytest.mark.slow
def test_of_adults_under_conditions(needs):
    frame = pl.read_csv(needs("adult", "adult.csv"))[:6000]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        vae = om.VAE(8, hidden=(64,), epochs=15, learning_rate=0.005, verbose=0).fit(frame)
    many = vae.sample(60_000, seed=5)
    where = {"sex": "Female", "age": (30, 40)}
    kept = many.filter((pl.col("sex") == "Female") & pl.col("age").is_between(30, 40))
    rows = vae.sample(1000, where=where)
    assert set(rows["sex"]) == {"Female"} and rows["age"].is_between(30, 40).all()
    assert ks_2samp(rows["age"], kept["age"]).pvalue > LEVEL
    income = frame.columns[-1]
    found = vae.expect(where, of=income)
    for level, share in found.probabilities.items():
        assert share == pytest.approx(
            (kept[income] == level).mean(), abs=5 * np.sqrt(0.25 / min(len(kept), found.effective))
        )

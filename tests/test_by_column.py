"""A likelihood for each column: rows that hold amounts, counts and classes."""

import jax
import numpy as np
import polars as pl
import pytest
import scipy.stats

import omokage as om
from omokage.batch import Event
from omokage.errors import DataError, ParameterError
from omokage.likelihoods import (
    Bernoulli,
    ByColumn,
    Categorical,
    Categories,
    Gaussian,
    Laplace,
    NumPyro,
    Poisson,
    StudentT,
)
from omokage.names import from_table
from omokage.supports import COUNTS, OPEN_UNIT, REAL, beside

FAMILY = ByColumn([Gaussian(), Poisson(), Categorical(3), Bernoulli(), Gaussian()])
SMALL = {"latent_dim": 2, "hidden": (16,), "batch_size": 100, "verbose": 0, "random_state": 0}


def mixed(rows: int, seed: int = 0) -> np.ndarray:
    """An amount, a count, a class and a mark that all tell the same three groups apart; and noise."""
    random = np.random.default_rng(seed)
    group = random.integers(0, 3, rows)
    classes = np.where(random.random(rows) < 0.9, group, random.integers(0, 3, rows))
    counts = random.poisson(np.array([1, 5, 20])[group])
    marks = random.random(rows) < np.array([0.1, 0.5, 0.9])[group]
    amounts = 100 + 50 * group + 5 * random.normal(size=rows)
    return np.stack([amounts, counts, classes, marks, random.normal(-3, 1, rows)], 1).astype(float)


@pytest.fixture(scope="module")
def vae() -> om.VAE:
    return om.VAE(**SMALL, likelihood=FAMILY, epochs=100).fit(mixed(400))


def test_the_density_of_each_entry_is_that_of_its_column():
    random = np.random.default_rng(1)
    parameters = FAMILY.parameters(Event.plain(5))
    # The two Gaussians share a family, and so a mean of two entries.
    assert {name: value.shape for name, value in parameters.items() if hasattr(value, "start") and value.shape} == {
        "mean_0": (2,), "log_rate_1": (1,), "logits_2": (1, 3), "logits_3": (1,)
    }  # fmt: skip
    given = {
        "mean_0": random.normal(size=(6, 2)),
        "log_scale_0": np.log([0.5, 2.0]),
        "log_rate_1": random.normal(size=(6, 1)),
        "logits_2": random.normal(size=(6, 1, 3)),
        "logits_3": random.normal(size=(6, 1)),
    }
    made = FAMILY.distribution(
        **{name: np.float32(given[name]) if name in given else value.value for name, value in parameters.items()}
    )
    x = np.stack([random.normal(size=6), [0, 1, 2, 3, 9, 20], [0, 1, 2] * 2, [0, 1] * 3, random.normal(size=6)], 1)
    floor = Gaussian().floor
    logits = given["logits_2"][:, 0] - np.log(np.exp(given["logits_2"][:, 0]).sum(1, keepdims=True))
    expected = [
        scipy.stats.norm.logpdf(x[:, 0], given["mean_0"][:, 0], floor + 0.5),
        scipy.stats.poisson.logpmf(x[:, 1], np.exp(given["log_rate_1"][:, 0])),
        logits[np.arange(6), x[:, 2].astype(int)],
        scipy.stats.bernoulli.logpmf(x[:, 3], scipy.special.expit(given["logits_3"][:, 0])),
        scipy.stats.norm.logpdf(x[:, 4], given["mean_0"][:, 1], floor + 2.0),
    ]
    np.testing.assert_allclose(made.log_prob(np.float32(x)), np.stack(expected, 1), rtol=2e-5, atol=2e-5)
    drawn = np.asarray(made.sample(jax.random.key(0), (4000,)), np.float64)
    assert not FAMILY.support.outside(drawn).any()
    ordinary = [0, 1, 3, 4]  # the mean of classes is the most likely one
    error = np.sqrt(np.asarray(made.variance)[:, ordinary] / 4000)
    assert (np.abs(drawn.mean(0) - made.mean)[:, ordinary] < 5 * error).all()
    np.testing.assert_array_equal(made.mean[:, 2], logits.argmax(1))


def test_of_one_family_for_all_columns_it_is_that_family():
    X = np.random.default_rng(2).normal([0, 5, -3], [1, 2, 3], (100, 3))
    one, each = (
        om.VAE(**SMALL, likelihood=likelihood, standardize="auto", epochs=3).fit(X)
        for likelihood in (Laplace(), ByColumn([Laplace()] * 3))
    )
    np.testing.assert_array_equal(each.schema_.columns.scale, one.schema_.columns.scale)
    np.testing.assert_allclose(each.score_samples(X), one.score_samples(X), rtol=1e-5)
    np.testing.assert_allclose(each.reconstruct(X), one.reconstruct(X), rtol=1e-5)


def test_columns_for_any_numbers_are_standardised_and_others_taken_as_they_are(vae):
    X, learned = mixed(400), vae.schema_.columns
    np.testing.assert_allclose(learned.location, [X[:, 0].mean(), 0, 0, 0, X[:, 4].mean()])
    np.testing.assert_allclose(learned.scale, [X[:, 0].std(), 1, 1, 1, X[:, 4].std()])


def test_the_probabilities_of_all_rows_of_a_mixed_table_add_up_to_one():
    """Summed over the classes and integrated over the amounts; the estimate is one of p(x), so free of bias."""
    X = mixed(400)[:, [2, 0]]
    vae = om.VAE(**SMALL, likelihood=ByColumn([Categorical(3), Gaussian()]), epochs=30).fit(X)
    amounts = np.linspace(-100, 450, 400)
    rows = np.stack([np.repeat([0.0, 1.0, 2.0], 400), np.tile(amounts, 3)], 1)
    mass = np.exp(vae.log_likelihood(rows, samples=400)).sum() * (amounts[1] - amounts[0])
    assert mass == pytest.approx(1, abs=0.03)


def test_what_is_drawn_and_reconstructed_is_of_the_kind_of_each_column(vae):
    drawn = vae.sample(2000, seed=0)
    assert not FAMILY.support.outside(drawn).any()
    X = mixed(2000, seed=1)
    for j, tolerance in enumerate([10, 1.5, 0.15, 0.1, 0.15]):
        assert drawn[:, j].mean() == pytest.approx(X[:, j].mean(), abs=tolerance)
    # The class goes with the amount, as in the data.
    assert np.corrcoef(drawn[:, 0], drawn[:, 2])[0, 1] > 0.5
    assert (vae.reconstruct(X)[:, 2] == np.rint((X[:, 0] - 100) / 50)).mean() > 0.9
    assert vae.entry_scores(X[:7]).shape == (7, 5)


def test_it_is_saved_with_the_families(vae, tmp_path):
    back = om.load(vae.save(tmp_path / "m"))
    assert back.likelihood == FAMILY
    np.testing.assert_array_equal(back.score_samples(mixed(20)), vae.score_samples(mixed(20)))


def test_a_detector_names_the_column_to_blame_whatever_its_kind():
    detector = om.AnomalyDetector({"likelihood": FAMILY, "epochs": 20}, ensemble=2, verbose=0).fit(mixed(300))
    strange = mixed(5, seed=3)
    strange[range(4), [0, 1, 2, 3]] = [1000, 300, 7, 2]  # a class and a mark that there are not
    assert detector.explain(strange).top(1)[:4, 0].tolist() == ["0", "1", "2", "3"]
    assert (detector.score_samples(strange)[[2, 3]] <= -1e300).all()
    assert (detector.p_values(strange)[:4] < 0.02).all()


def test_channels_of_series_have_likelihoods_too():
    random = np.random.default_rng(4)
    series = np.stack([random.normal(size=(40, 7)), random.integers(0, 3, (40, 7))], 2)
    vae = om.VAE(**SMALL, likelihood=ByColumn([Gaussian(), Categorical(3)]), epochs=2).fit(series)
    assert set(np.unique(vae.sample(20)[:, :, 1])) <= {0, 1, 2}
    assert np.isfinite(vae.score_samples(series)).all()


def test_tables_of_a_file_and_of_python_make_one():
    table = {"name": "by_column", "families": ["gaussian", "poisson", {"name": "categorical", "classes": 3}]}
    assert from_table("likelihood", table) == ByColumn([Gaussian(), Poisson(), Categorical(3)])
    X = mixed(100)[:, :3]
    made = om.VAE(**SMALL, likelihood=table, epochs=1).fit(X)
    assert made.fitted_.recipe.likelihood == from_table("likelihood", table)


def test_supports_beside_each_other():
    support = beside([REAL, COUNTS, OPEN_UNIT])
    values = np.array([[-1.5, 3, 0.5], [0, 2.5, 0.5], [0, -1, 0], [0, 0, 1 - 1e-12]])
    assert support.outside(values).tolist() == [
        [False] * 3, [False, True, False], [False, True, True], [False, False, True]
    ]  # fmt: skip
    assert support.outside(np.tile(values, 2)).shape == (4, 6)  # of two pixels of three channels
    assert not support.outside(support.inside).any()
    assert support.of(4) == COUNTS and COUNTS.of(4) == COUNTS
    assert not support.everything and support.holds(beside([COUNTS, COUNTS, OPEN_UNIT]))
    assert not support.holds(beside([REAL] * 3))


def test_a_moment_that_one_column_lacks_is_lacking():
    family = ByColumn([Gaussian(), NumPyro("Cauchy")])
    vae = om.VAE(**SMALL, likelihood=family, epochs=1).fit(np.random.default_rng(5).normal(size=(100, 2)))
    with pytest.raises(ParameterError, match=r"likelihood: .* no finite mean"):
        vae.reconstruct(np.zeros((3, 2)))


def test_the_scores_that_need_a_deviance_are_there_where_all_columns_have_one():
    X = np.random.default_rng(6).gamma(2.0, size=(60, 2))
    for family, there in ((StudentT(), True), (NumPyro("Gamma"), False)):
        settings = {"likelihood": ByColumn([Gaussian(), family]), "epochs": 1}
        scores = om.AnomalyDetector(settings, ensemble=2, verbose=0).fit(X).scores(X)
        assert ("mahalanobis" in scores) is there and "elbo" in scores


@pytest.mark.parametrize(
    ("families", "message"),
    [
        ([], r"families: expected a list with one for each column; got \[\]"),
        ("gaussian", "expected a list"),
        ({}, "A dictionary gives those of some columns by name"),
        ({"a": "gaussian"}, r"column 'a': expected a likelihood such as likelihoods.Gaussian\(\); got 'gaussian'"),
        ([("a", Gaussian()), ("a", Poisson())], "column 'a' has two"),
        (["gaussian"], r"column 0: expected a likelihood such as likelihoods.Gaussian\(\); got 'gaussian'"),
        ([Gaussian(), Poisson], "column 1: expected a likelihood"),
        ([ByColumn([Gaussian()])], "column 0: expected a likelihood"),
    ],
)
def test_what_is_no_list_of_families_is_refused(families, message):
    with pytest.raises(ParameterError, match=message):
        ByColumn(families)


def test_rows_that_do_not_fit_are_refused_by_the_name_of_the_column(vae):
    def fit(families, X, **settings):
        om.VAE(**SMALL, likelihood=ByColumn(families), **settings).fit(X)

    X = mixed(50)
    with pytest.raises(ParameterError, match=r"ByColumn is for rows of 2 columns, and X has 5. Give one for each"):
        fit([Gaussian(), Poisson()], X)
    with pytest.raises(DataError, match="needs whole numbers from 0 to 1; columns '2' have others"):
        fit([Gaussian(), Poisson(), Categorical(2), Bernoulli(), Gaussian()], X)
    X[3, 1] = -2
    with pytest.raises(DataError, match=r"expected whole numbers of at least 0 .* got -2 at row 3, column 1"):
        vae.score_samples(X)
    pictures = np.stack([X[:, 0], X[:, 2]], 1).repeat(16, 0).reshape(50, 4, 4, 2)
    with pytest.raises(ParameterError, match="network='mlp'"):
        om.VAE(**SMALL, likelihood=ByColumn([Gaussian(), Categorical(3)])).fit(pictures)


# ------------------------------------------------------------------------------------------------- families by name

NAMED = pl.DataFrame(mixed(120), schema=["amount", "count", "class", "mark", "noise"])


def recipe_of(likelihood, X, **settings):
    return om.VAE(**SMALL, likelihood=likelihood, epochs=1, **settings).fit(X).fitted_.recipe


def test_families_by_name_are_those_by_place():
    by_name = ByColumn({"mark": Bernoulli(), "count": Poisson()}, default=StudentT())
    by_place = ByColumn([StudentT(), Poisson(), StudentT(), Bernoulli(), StudentT()])
    one, other = (om.VAE(**SMALL, likelihood=each, epochs=2).fit(NAMED) for each in (by_name, by_place))
    assert one.fitted_.recipe == other.fitted_.recipe and one.fitted_.recipe.likelihood == by_place
    np.testing.assert_array_equal(one.score_samples(NAMED), other.score_samples(NAMED))


def test_the_others_are_as_auto_has_them():
    automatic = recipe_of("auto", NAMED).likelihood
    found = recipe_of(ByColumn({"count": Poisson()}), NAMED).likelihood
    assert found == ByColumn([automatic, Poisson(), automatic, automatic, automatic])
    assert recipe_of(ByColumn({1: Poisson()}), NAMED.to_numpy()).likelihood == found  # of an array by number
    marks = np.random.default_rng(0).integers(0, 2, (60, 3)).astype(float)
    assert recipe_of(ByColumn({"0": Gaussian()}), marks).likelihood == ByColumn([Gaussian(), Bernoulli(), Bernoulli()])


@pytest.fixture(scope="module")
def table() -> pl.DataFrame:
    kinds = pl.Series("machine", ["drill", "lathe", "saw"])[NAMED["class"].cast(pl.Int64).to_list()]
    return NAMED.select("amount", kinds, "noise").with_columns(
        noise=pl.when(pl.int_range(120) % 7 == 0).then(None).otherwise("noise")
    )


def test_tables_have_families_by_name_too(table, tmp_path):
    vae = om.VAE(**SMALL, likelihood=ByColumn({"noise": StudentT()}), epochs=2).fit(table)
    automatic = recipe_of("auto", table).likelihood.families
    place = list(vae.schema_.columns.names).index("noise")
    families = vae.fitted_.recipe.likelihood.families
    assert families[place] == StudentT()
    assert [one for j, one in enumerate(families) if j != place] == [
        one for j, one in enumerate(automatic) if j != place
    ]
    back = om.load(vae.save(tmp_path / "m"))
    assert back.likelihood == ByColumn({"noise": StudentT()}) == vae.likelihood
    np.testing.assert_array_equal(back.score_samples(table), vae.score_samples(table))
    assert set(vae.sample(50)["machine"]) <= {"drill", "lathe", "saw"}
    everywhere = recipe_of(ByColumn({"noise": StudentT()}, default=Laplace()), table).likelihood
    assert [type(one) for one in everywhere.families if not isinstance(one, Categories)] == [Laplace, StudentT]
    same = recipe_of(ByColumn({"machine": Categories((3,))}), table).likelihood
    assert same.families == automatic


def test_tables_of_a_file_name_columns_and_a_default():
    given = {"name": "by_column", "families": {"count": "poisson", "class": {"name": "categorical", "classes": 3}}}
    assert from_table("likelihood", given) == ByColumn({"count": Poisson(), "class": Categorical(3)})
    assert from_table("likelihood", given | {"default": "student_t"}).default == StudentT()
    assert from_table("likelihood", given | {"default": "auto"}).default == "auto"
    assert recipe_of(given, NAMED).likelihood.families[1:3] == (Poisson(), Categorical(3))


def test_names_that_do_not_fit_are_refused(table):
    with pytest.raises(
        ParameterError, match=r"X has no column 'cuont' .* Did you mean 'count'\? It has 'amount', 'count',"
    ):
        recipe_of(ByColumn({"cuont": Poisson()}), NAMED)
    with pytest.raises(ParameterError, match=r"X has no column '7' that is input"):
        recipe_of(ByColumn({7: Poisson()}), NAMED.to_numpy())
    with pytest.raises(ParameterError, match=r"column 'machine' holds 3 levels, .* Categories\(classes=\(3,\)\)"):
        recipe_of(ByColumn({"machine": Gaussian()}), table)
    with pytest.raises(ParameterError, match=r"default: expected 'auto' beside a list"):
        ByColumn([Gaussian()], default=Gaussian())
    with pytest.raises(ParameterError, match=r"default: expected a likelihood such as .* got 'gaussian'"):
        ByColumn({"a": Gaussian()}, default="gaussian")
    with pytest.raises(DataError, match="count"):
        recipe_of(ByColumn({"count": Poisson()}), NAMED.with_columns(pl.col("count") - 5))

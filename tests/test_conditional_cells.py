"""Which cell of a row of a table is wrong: each is judged by what the other cells say of it."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest
from scipy.special import logsumexp
from scipy.stats import expon, kstest, norm

import omokage as om
from omokage.detection import conditional
from omokage.errors import ParameterError

TOOLS = {"drill": "bit", "lathe": "chisel", "saw": "blade"}
SETTINGS = {"hidden": (16,), "latent_dim": 2, "epochs": 400, "batch_size": 64}


def parts(n: int, seed: int = 0) -> pl.DataFrame:
    """Return rows of a workshop: tool and width go with the machine, the colour and the mass with nothing."""
    random = np.random.default_rng(seed)
    machine = random.choice(list(TOOLS), n, p=[0.5, 0.3, 0.2])
    return pl.DataFrame(
        {
            "machine": machine,
            "tool": [TOOLS[one] for one in machine],
            "width": np.array([{"drill": 0.0, "lathe": 3.0, "saw": 6.0}[one] for one in machine])
            + random.normal(0, 0.5, n),
            "colour": random.choice(["red", "green", "blue", "black"], n, p=[0.4, 0.3, 0.2, 0.1]),
            "mass": random.normal(9, 1, n),
        }
    )


@pytest.fixture(scope="module")
def detector() -> om.AnomalyDetector:
    return om.AnomalyDetector(SETTINGS, ensemble=2, verbose=0).fit(parts(400))


def test_it_is_what_an_integral_over_z_gives(monkeypatch):
    """By quadrature over z of one dimension, an implementation of its own."""
    frame = parts(300).select("machine", "width").with_columns(
        machine=pl.when(pl.int_range(300) % 9 == 0).then(None).otherwise("machine")
    )  # fmt: skip
    vae = om.VAE(1, hidden=(8,), epochs=20, batch_size=64, verbose=0).fit(frame)
    model, batch = vae.fitted_.model, vae.schema_.rows(frame[:12]).whole
    monkeypatch.setattr(conditional, "DRAWS", 2000)
    mean, variance = jax.jit(lambda rows: conditional._left_out(np.array([0, 1]), model, rows))(batch)
    z = np.linspace(-9, 9, 3001)[:, None]
    for row in range(12):
        one = batch.map(lambda array, row=row: array[row : row + 1])
        densities = np.asarray(model.log_likelihoods(jnp.asarray(z[:, None], jnp.float32), one), np.float64)[:, 0]
        given = model.decode(jnp.asarray(z, jnp.float32))
        prior = norm.logpdf(z[:, 0])
        for entry in (0, 1):
            weight = prior + densities[:, 1 - entry]
            weight = np.exp(weight - logsumexp(weight))
            columns = np.flatnonzero(vae.fitted_.model.likelihood.family.places(2) == entry)
            exact = weight @ np.asarray(given.expected, np.float64)[:, columns]
            second = weight @ np.asarray(given.expected_variance + given.expected**2, np.float64)[:, columns]
            np.testing.assert_allclose(mean[row, columns], exact, atol=0.03)
            np.testing.assert_allclose(variance[row, columns], second - exact**2, atol=0.05)


def test_of_two_cells_that_do_not_go_together_one_is_named_first_and_each_explains_it(detector):
    new = parts(60, seed=1).with_columns(colour=pl.lit("red"), mass=pl.lit(9.0))
    wrong = dict(zip(TOOLS.values(), ["chisel", "blade", "bit"], strict=True))
    planted = new.with_columns(tool=pl.col("tool").replace_strict(wrong), width=pl.lit(None, pl.Float64))
    found = detector.explain(planted)
    assert found.by == "conditional"
    assert np.isin(found.top(1)[:, 0], ["tool", "machine"]).mean() >= 0.9
    # Each is strange beside the other, far more than the same cells are in rows that are as they should be.
    both, usual = found.contributions[:, :2], detector.explain(new).contributions[:, :2]
    assert both.min() > np.quantile(usual, 0.9) and np.median(both.max(1)) > 1.5
    # The third cell tells the two apart.
    third = detector.explain(planted.with_columns(width=new["width"]))
    assert (third.contributions[:, 1] > third.contributions[:, 0]).mean() >= 0.9
    expected = np.array(third.normal["tool"].to_list()) == new["tool"].to_numpy()
    assert expected.mean() >= 0.9


def test_a_cell_that_the_others_say_nothing_of_has_one_nat_on_average(detector):
    """The share of cells that are as strange is uniform if the model is right, and its -log exponential."""
    found = detector.explain(parts(500, seed=2)).contributions
    mass = found[:, 4]
    assert mass.mean() == pytest.approx(1, abs=0.25)
    assert kstest(mass, expon.cdf).statistic < 0.12
    # Of classes that are drawn by 0.4, 0.3, 0.2 and 0.1 it is -log of what is no likelier.
    colour = parts(500, seed=2)["colour"].to_numpy()
    for name, tail in {"red": 1.0, "green": 0.6, "blue": 0.3, "black": 0.1}.items():
        assert np.median(found[colour == name, 3]) == pytest.approx(-np.log(tail), abs=0.35)


def test_surprises_are_tails():
    x, mean, variance = np.array([3.0, -1.0, 2.0]), np.array([1.0, 2.0, 2.0]), np.array([4.0, 1.0, 9.0])
    expected = -np.log(2 * norm.sf(np.abs(x - mean) / np.sqrt(variance)))
    np.testing.assert_allclose(conditional._of_number(x, mean, variance), expected, atol=1e-12)
    shares = np.tile([0.5, 0.3, 0.1, 0.1], (5, 1))
    tail, nats = conditional._of_class(np.arange(5.0), shares)
    np.testing.assert_allclose(tail[:4], -np.log([1, 0.5, 0.2, 0.2]), atol=1e-12)
    np.testing.assert_allclose(nats[:4], -np.log(shares[0]))
    assert tail[4] == nats[4] > tail[:4].max() + 13  # a class never seen is rarer than all others by far
    far = conditional._of_number(np.array([1e30, np.nan, 0.0]), np.zeros(3), np.array([1.0, 1.0, 0.0]))
    assert np.isfinite(far[[0, 2]]).all() and far[0] > 1e6


def test_what_is_said_of_a_row_does_not_depend_on_the_others_nor_on_the_order_of_columns(detector):
    new = parts(40, seed=3)
    whole = detector.explain(new).contributions
    np.testing.assert_allclose(detector.explain(new[7:8]).contributions, whole[7:8], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(detector.explain(new[::-1]).contributions, whole[::-1], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(detector.explain(new[:, ::-1]).contributions, whole, rtol=1e-4, atol=1e-5)


def test_what_is_missing_is_not_to_blame_and_what_was_never_seen_is(detector):
    new = parts(20, seed=4).with_columns(tool=pl.lit("laser"), mass=pl.lit(None, pl.Float64))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = detector.explain(new)
    assert (found.top(1)[:, 0] == "tool").all()
    assert (np.nan_to_num(found.contributions[:, 4]) == 0).all()
    assert found.reasons(1)[0][0].startswith("tool has a level that the fit did not see, where '")
    outlier = detector.explain(parts(20, seed=4).with_columns(width=pl.lit(1e6)))
    assert np.isfinite(outlier.contributions).all() and (outlier.top(1)[:, 0] == "width").all()


def test_by_says_what_is_taken_apart(detector):
    new = parts(10, seed=5)
    by_deviance = detector.explain(new, by="mahalanobis")
    np.testing.assert_allclose(by_deviance.contributions.sum(1), detector.scores(new)["mahalanobis"], rtol=1e-5)
    explicit = detector.explain(new, by="conditional").contributions
    np.testing.assert_array_equal(explicit, detector.explain(new).contributions)
    with pytest.raises(
        ParameterError, match=r"by='conditionel': expected one of auto, .* Did you mean 'conditional'\?"
    ):
        detector.explain(new, by="conditionel")


def test_without_a_density_of_z_or_without_cells_the_deviance_is_taken_apart():
    plain = om.AutoEncoder(2, hidden=(8,), epochs=2, verbose=0)
    of_cells = om.AnomalyDetector(plain, ensemble=2, verbose=0).fit(parts(60))
    assert of_cells.explain(parts(5)).by == "mahalanobis"
    with pytest.raises(ParameterError, match=r"by='conditional': expected a posterior with a density"):
        of_cells.explain(parts(5), by="conditional")
    vectors = parts(60).select("width", "mass").to_numpy()
    of_vectors = om.AnomalyDetector({**SETTINGS, "epochs": 2}, ensemble=2, verbose=0).fit(vectors)
    assert of_vectors.explain(vectors).by == "mahalanobis"
    with pytest.raises(ParameterError, match=r"by='conditional': expected rows of a table"):
        of_vectors.explain(vectors, by="conditional")

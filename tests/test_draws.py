"""Draws of z for densities: each is distributed as it must be, and together they hardly err."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chi, kstest, norm

import omokage as om
from omokage import inference, questions
from omokage.batch import Batch
from omokage.draws import Draws, even_noise
from omokage.model import Model
from omokage.testing import linear_gaussian

X = np.random.default_rng(0).normal(size=(300, 5)) @ np.random.default_rng(1).normal(size=(5, 5))
SMALL = {"latent_dim": 3, "hidden": (16,), "epochs": 3, "verbose": 0}
SERIES = {"latent_dim": 2, "hidden": (16,), "epochs": 1, "batch_size": 16, "verbose": 0}


@pytest.fixture(scope="module")
def vae():
    return om.VAE(**SMALL).fit(X)


@pytest.fixture(scope="module")
def series():
    return np.cumsum(np.random.default_rng(2).normal(size=(40, 400, 1)), axis=1) / 10


@pytest.fixture(scope="module")
def recurrent(series):
    return om.VAE(**SERIES).fit(series)


@pytest.mark.parametrize("size", [1, 2, 5, 12])
def test_each_draw_of_a_block_is_a_standard_normal_one(size):
    noise = np.asarray(jax.vmap(lambda key: even_noise(key, size))(jax.random.split(jax.random.key(0), 4000)))
    for place in (0, 1, 7, 15):
        one = noise[:, place]
        p_values = [kstest(column, norm.cdf).pvalue for column in one.T]
        p_values.append(kstest(np.linalg.norm(one, axis=1), chi(size).cdf).pvalue)
        assert min(p_values) > 1e-4  # of 60 in all
        # The standard error of a correlation of n pairs is 1 / √n.
        assert np.abs(np.corrcoef(one.T) - np.eye(size)).max() < 5 / np.sqrt(len(one))


@pytest.mark.parametrize("size", [1, 3, 12])
def test_a_block_is_of_opposites_at_right_angles_and_of_all_lengths(size):
    noise = np.float64(even_noise(jax.random.key(3), size))
    assert np.array_equal(noise[::2], -noise[1::2])
    lengths = np.linalg.norm(noise[::2], axis=1)
    assert sorted((8 * chi(size).cdf(lengths)).astype(int).tolist()) == list(range(8))
    for start in range(0, 8, size):  # as many vectors as there are dimensions
        group = noise[::2][start : start + size] / lengths[start : start + size, None]
        np.testing.assert_allclose(group @ group.T, np.eye(len(group)), atol=1e-5)


def test_the_bound_is_right_in_expectation():
    """Against the closed form of a linear Gaussian model, over seeds; also where K is no multiple of a block."""
    model, x, exact = linear_gaussian(1)
    q = model.encode(Batch(x)).base_dist
    W = np.float64(model.likelihood.heads["mean"].weight)
    inner = np.linalg.inv(W.T @ W / 0.7**2 + np.eye(2))
    centre = (x - np.float64(model.likelihood.heads["mean"].bias)) @ W @ inner / 0.7**2
    mean, variance, precision = np.float64(q.loc), np.float64(q.scale) ** 2, np.linalg.inv(inner)
    shift = mean - centre
    gap = 0.5 * (
        (variance * np.diag(precision)).sum(1)
        + (shift @ precision * shift).sum(1)
        - 2
        + np.linalg.slogdet(inner)[1]
        - np.log(variance).sum(1)
    )
    for samples in (1, 3, 16, 21):
        runs = np.stack([inference.terms(model, Batch(x), samples, seed)["elbo"] for seed in range(400)])
        error = runs.std(0) / np.sqrt(len(runs))
        assert (np.abs(runs.mean(0) - (exact - gap)) < 5 * error + 1e-4).all(), samples


POSTERIORS = {
    "diagonal": {},
    "full": {"posterior": "full_normal"},
    "flow": {"posterior": om.posteriors.Flow(width=8)},
    "Laplace": {"posterior": om.posteriors.NumPyro("Laplace")},
    "in an interval": {
        "posterior": om.posteriors.LogisticNormal(),
        "prior": om.priors.NumPyro("Uniform", {"low": 0.0, "high": 1.0}),
    },
    "Gamma": {"posterior": om.posteriors.NumPyro("Gamma"), "prior": om.priors.NumPyro("Gamma")},  # draws for itself
}


@pytest.mark.parametrize(
    "name",
    [
        name if name in ("diagonal", "Laplace", "Gamma") else pytest.param(name, marks=pytest.mark.exhaustive)
        for name in POSTERIORS
    ],
)
def test_bounds_agree_among_seeds_and_with_many_draws(name):
    vae = om.VAE(**SMALL, **POSTERIORS[name]).fit(X)
    many, runs = vae.score_samples(X, samples=2000), [vae.score_samples(X, seed=seed) for seed in range(6)]
    error = np.std([run - many for run in runs]) / np.sqrt(len(X))
    assert all(abs(run.mean() - many.mean()) < 5 * error + 1e-3 for run in runs)
    assert error < 0.08  # nats: the tails of Laplace draws make the largest, 0.061
    alone = [vae.score_samples(X[place : place + 1], samples=20) for place in (0, 7, 299)]
    assert np.array_equal(np.concatenate(alone), vae.score_samples(X, samples=20)[[0, 7, 299]])


def test_the_mean_of_16_draws_is_that_of_many_within_a_fiftieth_of_a_nat():
    digits = om.datasets.load("digits").X
    vae = om.VAE(hidden=(64,), epochs=20, verbose=0).fit(digits)
    many = vae.score_samples(digits, samples=1000).mean()
    assert max(abs(vae.score_samples(digits, seed=seed).mean() - many) for seed in range(5)) < 0.02


def test_rounding_of_a_row_changes_its_score_by_rounding(vae):
    """So another unit changes nothing; and models of one standardisation are compared by the same noise."""
    near = X * (1 + 1e-6 * np.random.default_rng(3).choice([-1, 1], X.shape))
    changed = np.abs(vae.score_samples(near) - vae.score_samples(X))
    assert np.quantile(changed, 0.99) < 1e-3
    assert not np.allclose(vae.score_samples(X), vae.score_samples(X, seed=1), atol=1e-3)


def test_zeros_of_both_signs_are_one(vae):
    """Where x is not standardised."""
    counts = np.random.default_rng(0).poisson(1.0, (60, 4)).astype(float)
    poisson = om.VAE(**SMALL, likelihood="poisson").fit(counts)
    other = np.where(counts == 0, -0.0, counts)
    for one in (lambda x: poisson.score_samples(x), lambda x: poisson.reconstruct(x, sample=True)):
        assert np.array_equal(one(counts), one(other))


def test_the_error_of_importance_weighting_averages_out_over_rows(vae):
    rows = np.random.default_rng(4).normal(size=(2000, 5)) @ np.random.default_rng(1).normal(size=(5, 5))
    runs = np.stack([vae.log_likelihood(rows, samples=4, seed=seed) for seed in range(12)])
    independent = runs.std(0).mean() / np.sqrt(len(rows))
    assert runs.mean(1).std() < 2 * independent  # 12 numbers: a deviation is known to a fifth


def test_few_programs_serve_every_number_of_draws(vae, monkeypatch):
    traced, usual = [], Model.log_likelihood
    monkeypatch.setattr(Model, "log_likelihood", lambda *given: traced.append(1) or usual(*given))
    fresh = om.VAE(**{**SMALL, "hidden": (15,)}).fit(X)
    traced.clear()
    counts = []
    for samples in (1, 2, 3, 5, 16, 17, 40, 333):
        fresh.score_samples(X, samples=samples)
        counts.append(len(traced))
    assert counts[3] > counts[2] > counts[0] and counts[2] == counts[1] and counts[-1] == counts[3]


def largest(jaxpr) -> int:
    """Return the number of entries of the largest array in a program."""
    found = 0
    for equation in jaxpr.eqns:
        found = max([found, *(int(np.prod(out.aval.shape)) for out in equation.outvars if hasattr(out.aval, "shape"))])
        for parameter in jax.tree.leaves(equation.params, is_leaf=lambda leaf: hasattr(leaf, "eqns")):
            inner = getattr(parameter, "jaxpr", parameter)
            if hasattr(inner, "eqns"):
                found = max(found, largest(inner))
    return found


def test_draws_of_long_series_are_bounded_in_memory(recurrent, series):
    """100 importance-weighted draws take no more room at once than a few do."""
    model, (_, batch), *_ = recurrent.model_, *recurrent._asked(series)[1].groups
    height = inference._micro_batch(model, jax.tree.leaves(batch))
    assert height == 8

    def ask(rows, samples):
        program = jax.make_jaxpr(lambda x: questions.log_likelihood(model, rows._replace(x=x), Draws.of(0, samples)))
        return largest(program(jnp.asarray(rows.x)).jaxpr)

    few = batch.map(lambda array: array[:height])
    long = few._replace(x=np.tile(few.x, (1, 50, 1)))
    assert ask(few, 100) < 2**22
    assert ask(long, 100) < 1.3 * ask(long, 1)  # one draw at a time


@pytest.mark.optimised
def test_long_series_are_the_same_alone_and_among_others(recurrent, series):
    for function in (recurrent.transform, recurrent.score_samples, recurrent.reconstruct):
        together = function(series)
        for part in (slice(3, 4), slice(5, 30), slice(None, None, -1)):
            assert np.array_equal(together[part], function(series[part]))


def test_equal_rows_get_draws_of_their_own_where_a_density_is_fitted(vae):
    repeated = X[:4].repeat(250, 0)
    order = np.random.default_rng(0).permutation(len(repeated))
    codes = {}
    for name, rows in {"one": repeated, "other": repeated[order]}.items():
        codes[name] = inference.codes(vae.model_, vae._asked(rows)[1].whole, 0)
    assert len(np.unique(codes["one"], axis=0)) == len(repeated)
    assert np.array_equal(np.unique(codes["one"], axis=0), np.unique(codes["other"], axis=0))
    q = vae.model_.encode(vae._asked(X[:1])[1].whole)
    first = codes["one"][:250]
    assert (np.abs(first.mean(0) - q.mean[0]) < 5 * np.sqrt(q.variance[0] / 250)).all()
    # A row that is there once gets the draw that it has always got.
    assert np.array_equal(inference.codes(vae.model_, vae._asked(X[:4])[1].whole, 0), codes["one"][::250])
    fitted = om.VAE(**SMALL).fit(X)
    before = fitted.score_samples(repeated).mean()
    after = fitted.fit_density(repeated).score_samples(repeated).mean()
    assert after > before - 1

"""Theorems on linear-Gaussian models, where everything is known in closed form.

z ~ N(0, I), x|z ~ N(Wz + b, Ψ): p(x) = N(b, WWᵀ + Ψ), and the posterior is N(Mᵀ.., S) with S = (I + WᵀΨ⁻¹W)⁻¹.
"""

import equinox as eqx
import jax
import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.preprocessing import StandardScaler

import omokage as om
from omokage import build, inference
from omokage.annealing import annealed_log_likelihood
from omokage.batch import Batch, Event
from omokage.data.kinds.vectors import Table
from omokage.settings import VAESettings, check
from omokage.testing import linear_gaussian

D, L = 5, 2


@pytest.fixture(scope="module")
def linear():
    """A linear-Gaussian model with random weights, 300 rows of its own, and the exact log p(x) and posterior."""
    random = np.random.default_rng(1)
    parameters = om.VAE(L, hidden=(), likelihood="gaussian", standardize=False).get_params()
    check(VAESettings, parameters)
    recipe = build.decide(parameters, Table(random.normal(size=(9, D)) * 9), str)
    model = build.model(parameters, recipe, Event.plain(D), random)
    log_scale = random.normal(size=D).astype(np.float32) * 0.3 - 0.5
    model = eqx.tree_at(lambda m: m.likelihood.learned["log_scale"], model, log_scale)
    model = jax.tree.map(lambda leaf: jax.numpy.asarray(leaf), model)
    head = model.likelihood.heads["mean"]
    W, b = np.float64(head.weight), np.float64(head.bias)
    scale = 1e-3 + np.exp(np.float64(log_scale))
    x = (random.normal(size=(300, L)) @ W.T + b + scale * random.normal(size=(300, D))).astype(np.float32)
    exact = multivariate_normal(b, W @ W.T + np.diag(scale**2)).logpdf(x)
    S = np.linalg.inv(np.eye(L) + W.T / scale**2 @ W)
    means = (x - b) / scale**2 @ W @ S
    return model, x, exact, means, S


def test_the_bound_is_below_the_exact_log_likelihood_by_the_kl_to_the_exact_posterior(linear):
    model, x, exact, means, S = linear
    samples = 4000
    bound = np.float64(inference.terms(model, Batch(x), samples)["elbo"])
    assert (bound < exact + 0.05).all()
    q = model.encode(Batch(x)).base_dist
    mean, variance = np.float64(q.loc), np.float64(q.scale) ** 2
    precision = np.linalg.inv(S)
    shift = mean - means
    kl = 0.5 * (
        (variance * np.diag(precision)).sum(1)
        + np.einsum("bi,ij,bj->b", shift, precision, shift)
        - L
        + np.linalg.slogdet(S)[1]
        - np.log(variance).sum(1)
    )
    # The draws are common to all rows. One draw's log-weight is quadratic in the noise with coefficients of the
    # order of the KL's own terms, so the standard error of the mean is about that times sqrt(2 / samples).
    standard_error = np.maximum(1.0, kl) * np.sqrt(2 / samples) * 2
    assert (np.abs(bound + kl - exact) < 5 * standard_error).all()
    assert kl.mean() > 0.5  # or the test would show nothing


def test_terms_add_up_and_the_kl_is_the_closed_form(linear):
    model, x, *_ = linear
    parts = inference.terms(model, Batch(x), 7)
    np.testing.assert_allclose(parts["reconstruction"] - parts["kl"], parts["elbo"], rtol=1e-4, atol=1e-4)
    q = model.encode(Batch(x)).base_dist
    mean, variance = np.float64(q.loc), np.float64(q.scale) ** 2
    np.testing.assert_allclose(parts["kl"], 0.5 * (mean**2 + variance - 1 - np.log(variance)).sum(1), rtol=1e-4)


def test_the_importance_weighted_bound_rises_with_draws_to_the_exact_value(linear):
    model, x, exact, *_ = linear
    means, errors = [], []
    for samples in (1, 8, 64, 4096):
        runs = np.stack([inference.log_likelihood(model, Batch(x), samples, seed)["bound"].mean() for seed in range(8)])
        means.append(runs.mean())
        errors.append(runs.std(ddof=1) / np.sqrt(len(runs)))
    for low, high, error in zip(means, means[1:], np.hypot(errors[:-1], errors[1:]), strict=False):
        assert high > low - 3 * error
    assert means[-1] == pytest.approx(exact.mean(), abs=0.02 + 3 * errors[-1])
    assert exact.mean() - means[0] > 0.5


def test_with_5000_draws_the_bound_is_exact_and_its_error_is_known():
    model, x, exact = linear_gaussian(1)
    found = inference.log_likelihood(model, Batch(x), 5000, 0)
    assert abs(found["bound"].mean() - exact.mean()) < 0.01
    # The error that is reported is the deviation over seeds.
    runs = [inference.log_likelihood(model, Batch(x), 400, seed) for seed in range(40)]
    bounds, errors = (np.stack([run[name] for run in runs]).astype(np.float64) for name in ("bound", "error"))
    assert 0.65 < np.sqrt(np.mean(((bounds - exact) / errors) ** 2)) < 1.5
    assert np.median(errors / found["error"]) == pytest.approx(
        np.sqrt(5000 / 400), rel=0.2
    )  # as one over the root of K


def test_annealing_finds_the_exact_value_from_a_poor_posterior():
    model, x, exact = linear_gaussian(1)
    bias = model.posterior.heads["mean"].bias
    poor = eqx.tree_at(lambda m: m.posterior.heads["mean"].bias, model, np.float32(bias + 1))
    found = annealed_log_likelihood(poor, Batch(x), chains=16, temperatures=300)
    assert (np.abs(found["bound"] - exact) < 5 * found["error"] + 0.02).all()
    assert found["error"].mean() < 0.1
    weighted = inference.log_likelihood(poor, Batch(x), 16)
    assert weighted["bound"].mean() < exact.mean() - 1  # as many draws, and nats off


def test_with_the_exact_posterior_one_draw_gives_the_exact_value(linear):
    """Its log-weights do not vary at all: the reason why the bound is taken from them."""
    model, x, exact, _, S = linear
    # The exact posterior is diagonal in the eigenvectors of S: rotate z so.
    _, V = np.linalg.eigh(S)
    head = model.likelihood.heads["mean"]
    W = np.float64(head.weight) @ V
    scale = 1e-3 + np.exp(np.float64(model.likelihood.learned["log_scale"]))
    S = np.linalg.inv(np.eye(L) + W.T / scale**2 @ W)
    A = S @ W.T / scale**2
    model = eqx.tree_at(
        lambda m: (
            m.likelihood.heads["mean"].weight,
            m.posterior.heads["mean"].weight,
            m.posterior.heads["mean"].bias,
            m.posterior.heads["log_variance"].weight,
            m.posterior.heads["log_variance"].bias,
        ),
        model,
        tuple(
            jax.numpy.asarray(array, "float32")
            for array in (W, A, -A @ np.float64(head.bias), np.zeros((L, D)), np.log(np.diag(S)))
        ),
    )
    np.testing.assert_allclose(inference.terms(model, Batch(x), 1)["elbo"], exact, atol=2e-4)
    np.testing.assert_allclose(inference.log_likelihood(model, Batch(x), 1)["bound"], exact, atol=2e-4)


TABLES = {"iris": (load_iris, 2), "wine": (load_wine, 3), "breast cancer": (load_breast_cancer, 4)}


def linear_vae(components: int, scale: str, epochs: int = 2000, seed: int = 0) -> om.VAE:
    likelihood, objective = om.likelihoods.Gaussian(scale=scale, floor=1e-4), om.objectives.ELBO(samples=8)
    return om.VAE(
        components,
        hidden=(),
        likelihood=likelihood,
        objective=objective,
        epochs=epochs,
        batch_size=1000,
        learning_rate=2e-2,
        schedule="linear",
        random_state=seed,
        verbose=0,
    )


@pytest.mark.slow
@pytest.mark.optimised
@pytest.mark.parametrize("name", TABLES)
def test_a_linear_vae_with_one_shared_scale_reaches_probabilistic_pca(name):
    """Its maximum is known: Tipping and Bishop, "Probabilistic Principal Component Analysis", 1999."""
    read, components = TABLES[name]
    X = StandardScaler().fit_transform(read().data)
    vae = linear_vae(components, "shared").fit(X)
    best = PCA(components).fit(X).score(X)
    print(f"{name}: VAE {vae.score(X):.4f}, PCA {best:.4f} nats a row")
    assert best - 0.01 < vae.score(X) < best + 0.002


@pytest.mark.slow
@pytest.mark.optimised
@pytest.mark.parametrize(("name", "raw"), [("iris", False), ("iris", True), ("wine", True), ("standard errors", True)])
def test_a_linear_vae_with_a_scale_for_each_feature_reaches_factor_analysis(name, raw):
    """Factor analysis does not care about units, so on raw tables this also proves the Jacobian."""
    # Of the table of breast cancer the ten columns of standard errors: the whole has several maxima.
    read, components = TABLES.get(name, (load_breast_cancer, 3))
    X = read().data[:, 10:20] if name == "standard errors" else read().data
    X = X if raw else StandardScaler().fit_transform(X)
    reference = StandardScaler().fit(X)
    analysis = FactorAnalysis(components, tol=1e-8, max_iter=20000).fit(reference.transform(X))
    best = analysis.score(reference.transform(X)) - np.log(reference.scale_).sum()
    for seed in range(3):  # from some first weights it ends in a lower maximum, as factor analysis may
        found = linear_vae(components, "feature", 3000, seed).fit(X).score(X)
        print(f"{name}: VAE {found:.4f}, factor analysis {best:.4f} nats a row")
        if found > best - 0.01:
            break
    assert best - 0.01 < found < best + 0.01

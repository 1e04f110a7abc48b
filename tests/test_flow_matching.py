"""Flow matching: the density is one, is that of its draws, and is that of the codes."""

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import omokage as om
from omokage.batch import Batch
from omokage.errors import DataError, ParameterError
from omokage.flow_matching import first_weights, moved_and_trace, velocity
from omokage.priors import FlowMatching
from omokage.questions import QUESTIONS

SMALL = FlowMatching(hidden=(64, 64), updates=500)
TINY = FlowMatching(hidden=(8, 8), steps=3, updates=40)


def heaps(n=4000, seed=2):
    random = np.random.default_rng(seed)
    sides = np.where(random.random(n) < 0.3, -3.0, 3.0)[:, None]
    return random.normal(size=(n, 2)) @ np.array([[1.0, 0.5], [0.0, 0.5]]) + sides


def fitted(codes, family=SMALL, seed=0):
    return family.distribution(**family.fit(codes, seed))


@pytest.fixture(scope="module")
def density():
    return fitted(heaps())


def grid(low=-9.0, high=9.0, count=100):
    side = np.linspace(low, high, count)
    points = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
    return points.astype(np.float32), (side[1] - side[0]) ** 2


def test_the_density_integrates_to_one_and_is_that_of_its_draws(density):
    points, area = grid()
    log_density = np.asarray(density.log_prob(points), np.float64)
    assert np.exp(log_density).sum() * area == pytest.approx(1, abs=0.01)
    drawn = density.sample(jax.random.key(0), (10_000,))
    entropy = -(np.exp(log_density) * log_density).sum() * area
    of_drawn = -np.asarray(density.log_prob(drawn), np.float64)
    assert of_drawn.mean() == pytest.approx(entropy, abs=6 * of_drawn.std() / np.sqrt(len(drawn)) + 0.01)


def test_draws_have_the_moments_and_the_density_the_likelihood_of_the_codes(density):
    new = heaps(10_000, seed=3)
    drawn = np.asarray(density.sample(jax.random.key(1), (10_000,)))
    np.testing.assert_allclose(drawn.mean(0), new.mean(0), atol=0.3)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(new.T), rtol=0.15)
    covariance = np.array([[1.0, 0.5], [0.5, 0.5]])
    parts = [stats.multivariate_normal([side, side], covariance).pdf(new) for side in (-3, 3)]
    truth = np.log(0.3 * parts[0] + 0.7 * parts[1]).mean()
    found = float(density.log_prob(jnp.asarray(new, jnp.float32)).mean())
    assert truth - 0.15 < found < truth + 0.02  # no density is likelier than the true one, but for chance


def test_codes_of_a_normal_have_its_density():
    codes = np.random.default_rng(0).normal(size=(4000, 2)) @ np.array([[2.0, 1.0], [0.0, 0.1]]) + 5
    found = np.asarray(fitted(codes).log_prob(jnp.asarray(codes, jnp.float32)))
    expected = stats.multivariate_normal(codes.mean(0), np.cov(codes.T)).logpdf(codes)
    assert found.mean() == pytest.approx(expected.mean(), abs=0.03)
    assert np.abs(found - expected).mean() < 0.1


def test_the_trace_is_that_of_the_jacobian():
    random = np.random.default_rng(0)
    weights = {name: random.normal(size=array.shape) / 4 for name, array in first_weights(3, (8, 8)).items()}
    u = jnp.asarray(random.normal(size=(5, 3)), jnp.float32)

    def moving(u):
        return velocity(weights, u, jnp.float32(0.3))

    moved, trace = jax.jit(lambda u: moved_and_trace(moving, u))(u)
    expected, jacobians = jax.jit(lambda u: (moving(u), jax.vmap(jax.jacfwd(moving))(u)))(u)
    np.testing.assert_allclose(moved, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(trace, jnp.trace(jacobians, axis1=1, axis2=2), rtol=1e-4, atol=1e-5)


def test_a_seed_repeats():
    one, again, other = (TINY.fit(heaps(300), seed)["weight_1"] for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert (other != again).any()


def test_it_serves_as_the_prior_of_a_trained_model(tmp_path):
    X = heaps(300) @ np.random.default_rng(0).normal(size=(2, 4))
    vae = om.VAE(latent_dim=2, hidden=(8,), epochs=2, batch_size=50, verbose=0).fit(X)
    vae.fit_density(X, TINY)
    parts = vae.terms(X)
    np.testing.assert_allclose(parts["elbo"], parts["reconstruction"] - parts["kl"], rtol=1e-4, atol=1e-3)
    vae.save(tmp_path / "m")
    again = om.load(tmp_path / "m")
    np.testing.assert_array_equal(again.sample(7, seed=3), vae.sample(7, seed=3))
    np.testing.assert_array_equal(again.score_samples(X), vae.score_samples(X))
    assert again.recipe_.prior == TINY
    for name, question in QUESTIONS.items():  # as an exporter or a server takes them
        if name in ("terms", "samples"):
            (count,) = jax.export.symbolic_shape("rows")
            rows = jax.ShapeDtypeStruct((count, 4), jnp.float32)
            ask = jax.jit(lambda x, q=question: q.function(vae.model_, *q.example(Batch(x), 2)))
            given = jax.export.export(ask)(rows).out_avals
            assert all(str(value.shape[0]) == "rows" for value in given), name
    with pytest.raises(ParameterError, match=r"warm_start: .*Call fit_density\(X, 'normal'\)"):
        vae.set_params(warm_start=True).fit(X)


@pytest.mark.parametrize("prior", ["flow_matching", FlowMatching(), {"name": "flow_matching", "steps": 3}], ids=str)
def test_no_model_is_trained_with_it(prior):
    with pytest.raises(ParameterError, match=r"prior: expected a prior to train with; .*fit_density\(X, "):
        om.VAE(prior=prior).fit(heaps(50))


@pytest.mark.parametrize("settings", [{"hidden": (0,)}, {"hidden": "8"}, {"steps": 0}, {"updates": 1.5}])
def test_settings_are_checked(settings):
    (name,) = settings
    with pytest.raises(ParameterError, match=rf"FlowMatching\({name}=.*: expected"):
        FlowMatching(**settings)


def test_a_single_code_is_refused():
    with pytest.raises(DataError, match="at least 2 rows"):
        SMALL.fit(np.zeros((1, 2)), 0)

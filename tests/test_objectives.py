"""Objectives: what must be equal, and what must be ordered."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import omokage as om
from omokage import build
from omokage.batch import Batch, Event
from omokage.data.kinds.vectors import Table
from omokage.nets.layers import TrainingPass, trainable
from omokage.objectives import (
    CIWAE,
    DIPVAE,
    ELBO,
    IWAE,
    MIWAE,
    PIWAE,
    RAE,
    STL,
    TCVAE,
    WAE,
    Binarizing,
    Denoising,
    DReG,
    InfoVAE,
    MomentMatching,
    Reconstruction,
    discrepancy,
)
from omokage.testing import linear_gaussian

KEY = jax.random.key(0)
NOW = jnp.float32(jnp.inf)


@pytest.fixture(scope="module")
def model():
    parameters = om.VAE(3, hidden=(7,), likelihood="gaussian", standardize=False).get_params()
    table = Table(np.random.default_rng(0).normal(size=(9, 4)) * 9)
    model = build.model(parameters, build.decide(parameters, table, str), Event.plain(4), np.random.default_rng(0))
    return jax.tree.map(jnp.asarray, model)


@pytest.fixture(scope="module")
def batch():
    return Batch(jnp.asarray(np.random.default_rng(1).normal(size=(6, 4)), "float32"), weight=jnp.ones(6))


def test_the_elbo_is_reconstruction_minus_kl(model, batch):
    terms = ELBO()(model, batch, KEY, NOW)
    np.testing.assert_allclose(-terms["loss"], terms["reconstruction"] - terms["kl"], rtol=1e-6)


def test_beta_weighs_the_kl(model, batch):
    one, four = (ELBO(beta=beta)(model, batch, KEY, NOW) for beta in (1.0, 4.0))
    np.testing.assert_allclose(four["loss"] - one["loss"], 3 * one["kl"], rtol=1e-4)
    nothing = ELBO(beta=0.0)(model, batch, KEY, NOW)
    np.testing.assert_allclose(nothing["loss"], -nothing["reconstruction"], rtol=1e-6)


def test_warmup_rises_in_a_straight_line(model, batch):
    objective, kl = ELBO(warmup=10.0), ELBO()(model, batch, KEY, NOW)["kl"]
    for epoch, share in ((0.0, 0.0), (2.5, 0.25), (10.0, 1.0), (30.0, 1.0)):
        terms = objective(model, batch, KEY, jnp.float32(epoch))
        np.testing.assert_allclose(terms["loss"] + terms["reconstruction"], share * kl, rtol=1e-4, atol=1e-5)


def test_more_draws_have_the_same_mean_and_less_variance(model, batch):
    keys = jax.random.split(KEY, 400)
    few, many = (
        jax.vmap(lambda key, k=k: ELBO(samples=k)(model, batch, key, NOW)["reconstruction"].mean())(keys)
        for k in (1, 16)
    )
    standard_error = np.hypot(few.std(), many.std()) / np.sqrt(len(keys))
    assert abs(few.mean() - many.mean()) < 4 * standard_error
    assert many.var() == pytest.approx(few.var() / 16, rel=0.5)


def test_free_bits_make_dimensions_below_them_a_constant(model, batch):
    none = ELBO()(model, batch, KEY, NOW)
    # More than any dimension has: the penalty is the allowance, and it has no gradient.
    high = ELBO(free_bits=50.0)(model, batch, KEY, NOW)
    np.testing.assert_allclose(high["loss"] + high["reconstruction"], 3 * 50.0, rtol=1e-5)
    # Less than any has: nothing changes.
    low = ELBO(free_bits=1e-9)(model, batch, KEY, NOW)
    np.testing.assert_allclose(low["loss"], none["loss"], rtol=1e-5)


def test_capacity_is_the_distance_of_the_kl(model, batch):
    kl = ELBO()(model, batch, KEY, NOW)["kl"]
    terms = ELBO(beta=5.0, capacity=2.0, warmup=4.0)(model, batch, KEY, jnp.float32(1.0))
    np.testing.assert_allclose(terms["loss"] + terms["reconstruction"], 5 * np.abs(kl - 0.5), rtol=1e-4)


def test_reconstruction_of_a_point_mass_does_not_depend_on_the_key(batch):
    ae = om.AutoEncoder(2, hidden=(5,), epochs=1, verbose=0).fit(np.asarray(batch.x) * 3)
    one, other = (Reconstruction()(ae.model_, batch, jax.random.key(seed), NOW)["loss"] for seed in (0, 1))
    assert np.array_equal(one, other)


def test_reconstruction_with_a_fixed_scale_is_the_squared_error_but_for_constants(batch):
    ae = om.AutoEncoder(2, hidden=(5,), epochs=1, standardize=False, verbose=0).fit(np.asarray(batch.x))
    loss = Reconstruction()(ae.model_, batch, KEY, NOW)["loss"]
    errors = -ae.score_samples(np.asarray(batch.x, np.float64))
    np.testing.assert_allclose(loss, errors / 2 + 2 * np.log(2 * np.pi), rtol=1e-4)


def test_denoising_without_noise_is_the_objective_itself(model, batch):
    for kind in ("gaussian", "masking", "salt-and-pepper"):
        ours = Denoising(kind, 0.0, ELBO())(model, batch, KEY, NOW)
        plain = ELBO()(model, batch, jax.random.split(KEY)[0], NOW)
        np.testing.assert_allclose(ours["loss"], plain["loss"], rtol=1e-6)


def test_denoising_scores_the_clean_rows(model, batch):
    class Seen:
        def __call__(self, model, batch, key, epoch):
            return {"loss": batch.x.sum(1), "seen": batch.seen.sum(1)}

    terms = Denoising("gaussian", 1.0, Seen())(model, batch, KEY, NOW)
    np.testing.assert_allclose(terms["loss"], batch.x.sum(1), rtol=1e-6)
    assert not np.allclose(terms["seen"], terms["loss"], atol=0.1)


def test_denoising_leaves_alone_what_is_not_there(model, batch):
    class Seen:
        def __call__(self, model, batch, key, epoch):
            return {"loss": batch.seen}

    mask = np.random.default_rng(3).random(batch.x.shape) < 0.5
    seen = Denoising("gaussian", 1.0, Seen())(model, batch._replace(x=batch.x * mask, mask=mask), KEY, NOW)["loss"]
    assert (np.asarray(seen)[~mask] == 0).all()
    assert (np.asarray(seen)[mask] != np.asarray(batch.x)[mask]).all()


def test_corruptions_do_what_they_say():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4000, 5)) + 10, "float32")
    noise = Denoising("gaussian", 0.5).corrupted(x, KEY) - x
    assert float(noise.std()) == pytest.approx(0.5, rel=0.05)
    masked = Denoising("masking", 0.25).corrupted(x, KEY)
    assert float((masked == 0).mean()) == pytest.approx(0.25, abs=0.02)
    assert bool(((masked == 0) | (masked == x)).all())
    speckled = Denoising("salt-and-pepper", 0.4).corrupted(x, KEY)
    changed = speckled != x
    assert float(changed.mean()) == pytest.approx(0.4, abs=0.02)
    assert bool((~changed | (speckled == x.max(0)) | (speckled == x.min(0))).all())


def test_moment_matching_is_the_sum_of_three_means(model, batch):
    posterior, terms = model.encode(batch), MomentMatching(0.3)(model, batch, KEY, NOW)
    outputs = model.decode(posterior.sample(KEY)).mean
    error = np.square(batch.x - outputs).mean(1)
    mean, deviation = np.asarray(posterior.base_dist.loc), np.asarray(posterior.base_dist.scale)
    latent = np.square(mean).mean(1) + np.square(1 - deviation**2).mean(1)
    np.testing.assert_allclose(terms["loss"], error + 0.3 * latent, rtol=1e-5)
    np.testing.assert_allclose(terms["squared_error"], error, rtol=1e-5)


def test_moment_matching_looks_at_observed_entries_only(model, batch):
    mask = jnp.ones(batch.x.shape, bool).at[:, 2].set(False)
    one, other = (
        MomentMatching()(model, batch._replace(x=batch.x.at[:, 2].set(value), inputs=batch.x, mask=mask), KEY, NOW)
        for value in (0.0, 1e6)
    )
    np.testing.assert_allclose(one["loss"], other["loss"], rtol=1e-6)


def test_moment_matching_with_the_weights_of_sums_is_near_the_elbo_of_a_unit_gaussian(model, batch):
    """D/2 times the loss with moments = L/D is ½ ‖x - x̂‖² + ½ Σ (μ² + (1-σ²)²); near the prior the KL is
    ½ Σ μ² + ¼ Σ (1-σ²)², so the two agree where posteriors have a variance of 1."""
    posterior = model.encode(batch)
    terms = MomentMatching(3 / 4)(model, batch, KEY, NOW)
    mean, variance = np.asarray(posterior.mean), np.asarray(posterior.variance)
    kl_of_means = 0.5 * np.square(mean).sum(1)
    np.testing.assert_allclose(
        2 * terms["loss"],
        2 * terms["squared_error"] + kl_of_means + 0.5 * np.square(1 - variance).sum(1),
        rtol=1e-5,
    )


def test_moment_matching_refuses_a_point_mass(batch):
    ae = om.AutoEncoder(2, hidden=(5,), objective=MomentMatching(), epochs=1, verbose=0)
    with pytest.raises(om.errors.ParameterError, match="MomentMatching needs a posterior with a variance"):
        ae.fit(np.asarray(batch.x))


def gradients(objective, model, x, runs):
    """Return gradients of the mean loss, one row a key; encoder and decoder apart, (runs, parameters)."""
    parameters, rest = eqx.partition(model, trainable(model))

    def loss(parameters, key):
        return objective(eqx.combine(parameters, rest), Batch(x), key, NOW)["loss"].mean()

    found = jax.jit(lambda keys: jax.lax.map(lambda key: jax.grad(loss)(parameters, key), keys))(
        jax.random.split(KEY, runs)
    )
    return tuple(
        np.concatenate([np.asarray(leaf, np.float64).reshape(runs, -1) for leaf in jax.tree.leaves(part)], 1)
        for part in (found.posterior, (found.likelihood, found.prior))
    )


@pytest.fixture(scope="module")
def known():
    model, x, _ = linear_gaussian(1)
    return jax.tree.map(jnp.asarray, model), jnp.asarray(x)


@pytest.mark.parametrize(
    ("plain", "better", "ratio"),
    [(ELBO(samples=1), STL(), 0.9), (IWAE(16), DReG(16), 0.3)],
    ids=["STL", "DReG"],
)
def test_better_gradients_have_the_same_mean_and_less_variance(known, plain, better, ratio):
    runs = 3000
    first, second = gradients(plain, *known, runs), gradients(better, *known, runs)
    for one, other in zip(first, second, strict=True):
        error = np.sqrt((one.var(0) + other.var(0)) / runs)
        assert (np.abs(one.mean(0) - other.mean(0)) < 5 * error + 1e-4).all()
    assert second[0].var(0).sum() < ratio * first[0].var(0).sum()  # for the encoder


def test_with_the_exact_posterior_the_stl_gradient_has_no_noise():
    model, x, _ = linear_gaussian(1)
    # Make the likelihood's noise so that the true posterior has independent entries: W of orthogonal columns.
    W = np.float32(np.linalg.qr(np.random.default_rng(0).normal(size=(5, 2)))[0] * 1.3)
    inner = 1 / (1.3**2 / 0.7**2 + 1)
    bias = np.asarray(model.likelihood.heads["mean"].bias)
    where = lambda m: (  # noqa: E731
        m.likelihood.heads["mean"].weight,
        m.posterior.heads["mean"].weight,
        m.posterior.heads["mean"].bias,
        m.posterior.heads["log_variance"].bias,
    )
    gain = inner * W.T / 0.7**2
    exact = eqx.tree_at(where, model, (W, gain, -gain @ bias, np.full(2, np.log(inner), np.float32)))
    encoder = gradients(STL(), exact, jnp.asarray(x), 50)[0]
    plain = gradients(ELBO(), exact, jnp.asarray(x), 50)[0]
    assert np.abs(encoder).max() < 1e-3 < plain.std(0).max()


def test_one_bound_of_k_is_iwae_and_the_parts_of_piwae_are_those_of_its_parents(known):
    model, x = known
    batch = Batch(x)
    same = {name: value(model, batch, KEY, NOW) for name, value in {"iwae": IWAE(6), "miwae": MIWAE(1, 6)}.items()}
    np.testing.assert_allclose(same["iwae"]["loss"], same["miwae"]["loss"], rtol=1e-6)
    np.testing.assert_allclose(CIWAE(6, beta=0.0)(model, batch, KEY, NOW)["loss"], same["iwae"]["loss"], rtol=1e-6)
    np.testing.assert_allclose(CIWAE(6, beta=1.0)(model, batch, KEY, NOW)["loss"], -same["iwae"]["elbo"], rtol=1e-6)
    np.testing.assert_allclose(PIWAE(2, 3)(model, batch, KEY, NOW)["loss"], same["iwae"]["loss"], rtol=1e-5)
    for number, parent in enumerate((MIWAE(2, 3), IWAE(6))):  # encoder, decoder
        ours, theirs = (gradients(objective, model, x, 2)[number] for objective in (PIWAE(2, 3), parent))
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


def test_the_importance_weighted_bound_rises_with_draws(known):
    model, x = known
    means, errors = [], []
    for samples in (1, 2, 8, 32):

        def bound(key, samples=samples):
            return -IWAE(samples)(model, Batch(x), key, NOW)["loss"].mean()

        runs = np.asarray(jax.jit(lambda keys, bound=bound: jax.lax.map(bound, keys))(jax.random.split(KEY, 400)))
        means.append(runs.mean())
        errors.append(runs.std() / np.sqrt(len(runs)))
    for i in range(3):
        assert means[i + 1] > means[i] - 3 * np.hypot(errors[i], errors[i + 1])
    assert means[-1] > means[0]


def test_the_parts_of_tcvae_are_the_kl(known):
    model, x = known
    terms = TCVAE(beta=1.0)(model, Batch(x), KEY, NOW)
    posterior, prior = model.encode(Batch(x)), model.latent()
    z = posterior.sample(KEY)
    kl = terms["information"] + terms["total_correlation"] + terms["dimensions"]
    np.testing.assert_allclose(kl, posterior.log_prob(z) - prior.log_prob(z), rtol=1e-4, atol=1e-4)


def test_the_discrepancy_is_nothing_between_equals_and_grows_with_distance():
    random = np.random.default_rng(0)
    z, other = (jnp.asarray(random.normal(size=(400, 3)), jnp.float32) for _ in range(2))
    assert abs(float(discrepancy(z, other))) < 0.02
    gaps = [float(discrepancy(z + shift, other)) for shift in (0.0, 0.5, 1.0, 2.0)]
    assert gaps == sorted(gaps)
    twice = jnp.concatenate([z[:10], jnp.full((5, 3), 9.0)])  # rows of weight 0 are not there
    weight = jnp.concatenate([jnp.ones(10), jnp.zeros(5)])
    assert float(discrepancy(twice, other, weight)) == pytest.approx(float(discrepancy(z[:10], other)), rel=1e-4)


def test_the_penalty_of_rae_is_the_squared_jacobian_of_a_linear_decoder():
    model, x, _ = linear_gaussian(1, point=True)
    expected = np.square(np.asarray(model.likelihood.heads["mean"].weight)).sum()
    runs = [
        RAE(penalty="gradient")(model, Batch(jnp.asarray(x)), jax.random.key(k), NOW)["decoder"] for k in range(300)
    ]
    found = np.stack(runs)
    assert found.mean() == pytest.approx(expected, rel=5 * found.std() / expected / np.sqrt(found.size))
    assert RAE()(model, Batch(jnp.asarray(x)), KEY, NOW)["decoder"][0] == pytest.approx(expected, rel=1e-5)


def test_dip_asks_for_a_covariance_of_one():
    model, x, _ = linear_gaussian(1)
    terms = DIPVAE(off_diagonal=2.0, diagonal=3.0, kind=2)(model, Batch(jnp.asarray(x)), KEY, NOW)
    posterior = model.encode(Batch(x))
    covariance = np.cov(np.asarray(posterior.mean).T, ddof=0) + np.diag(np.asarray(posterior.variance).mean(0))
    expected = 2 * 2 * covariance[0, 1] ** 2 + 3 * ((np.diag(covariance) - 1) ** 2).sum()
    np.testing.assert_allclose(terms["covariance"], expected, rtol=1e-4)


def test_cycles_start_the_warmup_again(model, batch):
    objective = ELBO(warmup=2.0, cycle=5.0)

    def weight(epoch):
        terms = objective(model, batch, KEY, jnp.float32(epoch))
        return float(((terms["loss"] + terms["reconstruction"]) / terms["kl"]).mean())

    assert [weight(epoch) for epoch in (0, 1, 3, 5, 6, np.inf)] == pytest.approx([0, 0.5, 1, 0, 0.5, 1], abs=1e-5)


def test_binarising_draws_zeros_and_ones_with_the_mean_of_the_rows():
    @dataclasses.dataclass(frozen=True)
    class Look:
        def __call__(self, model, batch, key, epoch):
            return {"loss": batch.x.mean(1), "binary": ((batch.x == 0) | (batch.x == 1)).all(1).astype(jnp.float32)}

    x = jnp.asarray(np.random.default_rng(0).uniform(size=(4, 20_000)), jnp.float32)
    terms = Binarizing(Look())(None, Batch(x), KEY, NOW)
    assert (terms["binary"] == 1).all()
    np.testing.assert_allclose(terms["loss"], x.mean(1), atol=0.02)


def test_dropout_is_the_same_in_both_passes_of_a_doubly_reparameterised_step():
    training = TrainingPass(KEY)
    first, second = training.repeated(), training.repeated()
    assert (jax.random.key_data(first.key()) == jax.random.key_data(second.key())).all()
    assert first.statistics is training.statistics


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: ELBO(beta=-1.0), "ELBO(beta=-1.0): expected a number of at least 0."),
        (lambda: ELBO(beta=float("nan")), "ELBO(beta=nan): expected a number of at least 0."),
        (lambda: ELBO(samples=0), "ELBO(samples=0): expected a whole number of at least 1."),
        (lambda: ELBO(free_bits=1.0, capacity=2.0), "free_bits and capacity both hold the KL up"),
        (lambda: MomentMatching(-1.0), "MomentMatching(moments=-1.0): expected a number of at least 0."),
        (lambda: Denoising("gausian"), "expected one of gaussian, masking, salt-and-pepper. Did you mean 'gaussian'?"),
        (lambda: Denoising("masking", 1.5), "Denoising(amount=1.5): expected a number from 0 to 1."),
        (lambda: Denoising("gaussian", -1), "Denoising(amount=-1): expected a number of at least 0."),
        (lambda: Denoising("gaussian", "x"), "Denoising(amount='x'): expected a number of at least 0."),
        (lambda: Denoising("masking", None), "Denoising(amount=None): expected a number from 0 to 1."),
        (lambda: ELBO(beta="4"), "ELBO(beta='4'): expected a number of at least 0."),
        (lambda: ELBO(beta=None), "ELBO(beta=None): expected a number of at least 0."),
        (lambda: ELBO(beta=True), "ELBO(beta=True): expected a number of at least 0."),
        (lambda: ELBO(beta=10**9999), "ELBO(beta=an int): expected a number of at least 0."),
        (lambda: ELBO(warmup="1"), "ELBO(warmup='1'): expected a number of at least 0."),
        (lambda: ELBO(capacity="x"), "ELBO(capacity='x'): expected a number of at least 0."),
        (lambda: ELBO(warmup=1, cycle="x"), "ELBO(cycle='x'): expected a number of at least 0."),
        (lambda: ELBO(free_bits=[1]), "ELBO(free_bits=[1]): expected a number of at least 0."),
        (lambda: IWAE(warmup="1"), "IWAE(warmup='1'): expected a number of at least 0."),
        (lambda: CIWAE(beta="x"), "CIWAE(beta='x'): expected a number from 0 to 1."),
        (lambda: InfoVAE(alpha=None), "InfoVAE(alpha=None): expected a number."),
        (lambda: InfoVAE(scale="x"), "InfoVAE(scale='x'): expected a number."),
        (lambda: TCVAE("6"), "TCVAE(beta='6'): expected a number of at least 0."),
        (lambda: WAE(None), "WAE(penalty=None): expected a number of at least 0."),
        (lambda: DIPVAE("a"), "DIPVAE(off_diagonal='a'): expected a number of at least 0."),
        (lambda: RAE("a"), "RAE(codes='a'): expected a number of at least 0."),
        (lambda: MomentMatching(np.ones(2)), "MomentMatching(moments=array([1., 1.])): expected a number of"),
    ],
)
def test_objectives_say_what_is_wrong(make, text):
    with pytest.raises(om.errors.ParameterError) as caught:
        make()
    assert text in str(caught.value)

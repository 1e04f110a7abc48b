"""The members of the four axes: all obey their contracts, and any sensible pair of them works."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import omokage as om
from omokage import build, objectives, testing
from omokage.adapter import NumPyroFamily
from omokage.batch import Event
from omokage.build import from_table
from omokage.density import Output, draw
from omokage.errors import DataError, ParameterError
from omokage.flows import first_weights, flow
from omokage.likelihoods import (
    Bernoulli,
    Categorical,
    ContinuousBernoulli,
    DiscretizedLogistic,
    Gaussian,
    Laplace,
    LogNormal,
    NegativeBinomial,
    NumPyro,
    Poisson,
    StudentT,
)
from omokage.model import divergence
from omokage.nets.recurrent import Recurrent
from omokage.nets.temporal import TemporalConvolution
from omokage.posteriors import DiagonalNormal, Flow, FullNormal, LogisticNormal, PointMass
from omokage.settings import AutoEncoderSettings, VAESettings, hint

Member = om.posteriors.NumPyro
slow = pytest.mark.slow
REAL_PRIORS = {
    "normal": om.priors.StandardNormal(),
    "diagonal": om.priors.DiagonalNormal(),
    "full_normal": om.priors.FullNormal(),
    "mixture": om.priors.Mixture(3),
    "vamp": om.priors.Vamp(4),
    "flow": om.priors.Flow(3, 16),
    "two_layer": om.priors.TwoLayer(width=8),
    "laplace": Member("Laplace", {"loc": 0, "scale": 1}),
    "student_t": Member("StudentT", {"df": 5}),
}
REAL_POSTERIORS = {
    "diagonal": DiagonalNormal(),
    "full_normal": FullNormal(),
    "iaf": Flow(width=16),
    "coupling": Flow("coupling", width=16),
    "laplace": Member("Laplace"),
}
BOUNDED = [  # a prior, and posteriors with its support
    (dist.Uniform(0.0, 1.0), [LogisticNormal(), dist.Kumaraswamy]),
    (dist.Uniform(-1.0, 2.0), [LogisticNormal(-1.0, 2.0)]),
    (dist.Gamma(2.0, 1.0), [Member("Gamma"), dist.LogNormal]),
    (dist.Exponential(1.0), [dist.LogNormal]),
]


@pytest.mark.parametrize(
    "family",
    [
        Laplace("full"),
        *[
            pytest.param(family, marks=slow)
            for family in (
                Gaussian(),
                Gaussian(2.0),
                StudentT(),
                LogNormal(),
                Bernoulli(),
                ContinuousBernoulli(),
                Categorical(4),
                Poisson(),
                NegativeBinomial(),
                DiscretizedLogistic(),
                NumPyro("Gumbel", learned="scale"),
                NumPyro("Gamma"),
                NumPyro("Weibull"),
            )
        ],
    ],
    ids=repr,
)
def test_likelihoods_obey_their_contract(family):
    testing.check_likelihood(family)


@pytest.mark.parametrize(
    "family",
    [
        om.priors.Vamp(4),
        *[pytest.param(family, marks=slow) for name, family in REAL_PRIORS.items() if name != "vamp"],
        pytest.param(om.priors.FlowMatching((8, 8), steps=3), marks=slow),
        pytest.param(Member("Uniform", {"low": 0, "high": 1}), marks=slow),
        pytest.param(Member("Gamma", {"concentration": 2, "rate": 1}), marks=slow),
        pytest.param(Member("Dirichlet"), marks=slow),
        pytest.param(Member("MultivariateNormal"), marks=slow),
    ],
    ids=repr,
)
def test_priors_obey_their_contract(family):
    testing.check_prior(family)


@pytest.mark.parametrize(
    "family",
    [
        FullNormal(),
        *[pytest.param(family, marks=slow) for name, family in REAL_POSTERIORS.items() if name != "full_normal"],
        *[
            pytest.param(Member(name), marks=slow)
            for name in ("Gamma", "Kumaraswamy", "LogNormal", "MultivariateNormal")
        ],
        pytest.param(LogisticNormal(-2.0, 3.0), marks=slow),
        PointMass(),
    ],
    ids=repr,
)
def test_posteriors_obey_their_contract(family):
    testing.check_posterior(family)


@pytest.mark.parametrize(
    ("objective", "bound"),
    [
        (objectives.DReG(), True),
        (objectives.WAE(), False),
        *[
            pytest.param(*pair, marks=slow)
            for pair in (
                (objectives.ELBO(samples=2), True),
                (objectives.ELBO(warmup=5, cycle=10), False),
                (objectives.ELBO(free_bits=0.1), False),
                (objectives.ELBO(capacity=1.0), False),
                (objectives.STL(), True),
                (objectives.IWAE(), True),
                (objectives.MIWAE(), True),
                (objectives.PIWAE(), True),
                (objectives.CIWAE(), True),
                (objectives.InfoVAE(), False),
                (objectives.TCVAE(), False),
                (objectives.DIPVAE(), False),
                (objectives.DIPVAE(kind=1), False),
                (objectives.RAE(), False),
                (objectives.RAE(penalty="gradient"), False),
                (objectives.Reconstruction(), False),
                (objectives.Denoising(), False),
                (objectives.MomentMatching(), False),
            )
        ],
    ],
    ids=repr,
)
def test_objectives_obey_their_contract(objective, bound):
    testing.check_objective(objective, bound=bound)


def digits():
    train, test = (om.datasets.load("digits", split).X for split in ("train", "test"))
    return (train > 0.5).astype(np.float32), (test > 0.5).astype(np.float32)


def called(family):
    """Return a name that is the same in every process; NumPyro's objects show their place in memory."""
    if isinstance(family, type | dist.Distribution):
        return getattr(family, "__name__", type(family).__name__)
    return repr(family)


PAIRS = [
    *[
        pytest.param(
            REAL_PRIORS[p],
            REAL_POSTERIORS[q],
            marks=slow if p == "normal" or q == "diagonal" or (p, q) == ("vamp", "iaf") else pytest.mark.exhaustive,
        )
        for p in REAL_PRIORS
        for q in REAL_POSTERIORS
    ],
    *[pytest.param(prior, posterior, marks=slow) for prior, some in BOUNDED for posterior in some],
]


@pytest.mark.parametrize(("prior", "posterior"), PAIRS, ids=called)
def test_every_sensible_pair_of_prior_and_posterior_learns_digits(prior, posterior, tmp_path):
    train, test = digits()
    entropy = -(p := train.mean(0).clip(1e-3, 1 - 1e-3)) * np.log(p) - (1 - p) * np.log(1 - p)
    vae = om.VAE(
        4, hidden=(64,), prior=prior, posterior=posterior, epochs=20, learning_rate=5e-3, schedule="constant", verbose=0
    ).fit(train)  # 300 steps
    # A model that knows nothing but each pixel's mean has this entropy.
    assert vae.score(test) > -entropy.sum() + 2
    vae.save(tmp_path / "m")
    again = om.load(tmp_path / "m")
    np.testing.assert_array_equal(again.score_samples(test), vae.score_samples(test))
    np.testing.assert_array_equal(again.sample(3), vae.sample(3))
    assert np.isfinite(vae.transform(test)).all()
    assert vae.log_likelihood(test, samples=50).mean() > vae.score(test) - 0.1


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"prior": dist.Uniform(0.0, 1.0)},
            ["from 0 to 1 only", "LogisticNormal(0, 1) or posteriors.NumPyro('Kumaras"],
        ),
        ({"prior": dist.Gamma(2.0, 1.0)}, ["numbers above 0 only", "posteriors.NumPyro('LogNormal')"]),
        ({"prior": Member("Dirichlet", {"concentration": 1.0})}, ["Simplex only", "a posterior with that support"]),
        ({"posterior": Member("Poisson")}, ["draws from Poisson are not smooth", "'diagonal'"]),
        ({"posterior": om.priors.StandardNormal()}, ["does not depend on x", "'diagonal'"]),
        ({"prior": PointMass()}, ["a point mass has no density"]),
        ({"posterior": "point"}, ["ELBO needs a posterior with a density", "objective='reconstruction'"]),
        ({"posterior": "point", "objective": "iwae"}, ["IWAE needs a posterior with a density"]),
        ({"objective": "tcvae", "posterior": "full_normal"}, ["TCVAE needs a posterior and a prior whose latent dim"]),
        ({"prior": om.priors.TwoLayer(top=2)}, ["TwoLayer(top=2): expected fewer dimensions than the 2"]),
        (
            {"prior": dist.MixtureSameFamily(dist.Categorical(jnp.full(2, 0.5)), dist.Normal(jnp.zeros(2), 1.0))},
            ["Mixture"],
        ),
    ],
)
def test_what_makes_no_sense_together_is_refused(settings, said):
    X = np.random.default_rng(0).normal(size=(30, 3))
    with pytest.raises(ParameterError) as caught:
        om.VAE(2, hidden=(4,), epochs=1, verbose=0, **settings).fit(X)
    for text in said:
        assert text in str(caught.value)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Member("Laplce"), "NumPyro has no such distribution.*Did you mean 'Laplace'"),
        (lambda: Member("Laplace", {"size": 1}), "no parameter 'size'; it has 'loc', 'scale'"),
        (lambda: Member("Uniform"), "'low', 'high' cannot be learned.*given="),
        (lambda: Member("LKJ"), "cannot be made from numbers alone"),
        (lambda: NumPyro("MultivariateNormal"), "no density for each entry"),
        (lambda: NumPyro("CategoricalLogits"), "Take likelihoods.Categorical"),
        (lambda: LogisticNormal(1.0, 0.0), "low below high"),
        (lambda: Flow("affine"), "expected 'autoregressive' or 'coupling'"),
        (lambda: Flow(steps=0), "expected a whole number of at least 1"),
        (lambda: StudentT(degrees=2.0), "a number above 2"),
        (lambda: Laplace(scale="sharde"), r"Laplace\(scale='sharde'\).*Did you mean 'shared'"),
        (lambda: Categorical(0), "Categorical"),
        (lambda: NegativeBinomial("al"), "expected one of shared, feature, full"),
        (lambda: DiscretizedLogistic("al"), "expected one of shared, feature, full"),
        (lambda: om.priors.Vamp(0), "Vamp"),
        (lambda: om.priors.Conditional(DiagonalNormal(), hidden=0), r"Conditional\(hidden="),
        (lambda: om.priors.Vamp(widened="false"), r"Vamp\(widened='false'\): expected True or False"),
        (lambda: om.priors.Conditional(DiagonalNormal(), hidden=None), r"Conditional\(hidden=None\): expected whole"),
        (lambda: om.priors.Conditional(DiagonalNormal(), hidden="64"), r"Conditional\(hidden='64'\): expected whole"),
        (lambda: StudentT(degrees=None), r"StudentT\(degrees=None\): expected a number above 2"),
        (lambda: LogisticNormal(None), r"LogisticNormal\(low=None, high=1.0\): expected two numbers, low below high"),
        (lambda: NumPyro("Normal", given=None), r"NumPyro\('Normal'\): given: expected names of param.*got None"),
        (lambda: NumPyro("Normal", given="scale"), "given: expected names .*, such as {'scale': 1.0}; got 'scale'"),
        (lambda: NumPyro("Normal", given=[1.0]), r"given: expected names of parameters with .*; got \[1.0\]"),
        (lambda: NumPyro("Normal", learned=None), r"NumPyro\('Normal'\): learned: expected names .*; got None"),
        (lambda: NumPyro("Normal", learned=3), r"learned: expected names of parameters, such as \('scale',\); got 3"),
        (lambda: Recurrent(bidirectional="false"), r"Recurrent\(bidirectional='false'\): expected True or False"),
        (lambda: Recurrent(bidirectional=3), r"Recurrent\(bidirectional=3\): expected True or False"),
        (lambda: Recurrent(update_bias="x"), r"Recurrent\(update_bias='x'\): expected a number"),
        (lambda: TemporalConvolution(kernel=True), r"TemporalConvolution\(kernel=True\): expected an odd whole number"),
        (lambda: from_table("likelihood", {"name": "categorical"}), "expected 'classes' as well, which cat"),
        (lambda: objectives.CIWAE(beta=2.0), "from 0 to 1"),
        (lambda: objectives.InfoVAE(alpha=2.0), "alpha of at most 1"),
        (lambda: objectives.RAE(penalty="l1"), "'l2' or 'gradient'"),
        (lambda: objectives.DIPVAE(kind=3), "expected 1 or 2"),
        (lambda: objectives.ELBO(cycle=5.0), "a warmup above 0"),
        (lambda: objectives.IWAE(samples=0), r"IWAE\(samples=0\)"),
    ],
)
def test_settings_are_checked_where_they_are_given(make, said):
    with pytest.raises(ParameterError, match=said):
        make()


@pytest.mark.parametrize(
    ("likelihood", "bad", "said"),
    [
        (Poisson(), 0.5, "Poisson needs whole numbers of at least 0"),
        (Poisson(), -1.0, "Poisson needs whole numbers of at least 0"),
        (LogNormal(), 0.0, "LogNormal needs numbers above 0"),
        (Categorical(3), 3.0, "Categorical needs whole numbers from 0 to 2"),
        (DiscretizedLogistic(), 256.0, "whole numbers from 0 to 255"),
        (Bernoulli(), 1.5, "Bernoulli needs values from 0 to 1"),
    ],
)
def test_data_outside_of_a_likelihood_are_refused(likelihood, bad, said):
    X = np.random.default_rng(0).integers(1, 2, (40, 3)).astype(float)
    X[::2, 0] = 1 if isinstance(likelihood, LogNormal) else 0
    X[::3, 1] = 1
    X[1, 1] = 2 if not isinstance(likelihood, Bernoulli) else 0
    settings = {"latent_dim": 1, "hidden": (4,), "epochs": 1, "verbose": 0, "likelihood": likelihood}
    vae = om.VAE(**settings).fit(X)
    spoilt = X.copy()
    spoilt[5, 2] = bad
    with pytest.raises(DataError, match=said):
        om.VAE(**settings).fit(spoilt)
    with pytest.raises(DataError, match=r"expected .*, as at fit; got .* at row 5, column 2"):
        vae.score(spoilt)
    with pytest.raises(ParameterError, match="takes the data as they are"):
        om.VAE(**settings, standardize="scale").fit(X)


@pytest.mark.parametrize("kind", ["coupling", "autoregressive"])
@pytest.mark.parametrize(("size", "context"), [(1, 0), (4, 0), (3, 2)])
def test_flows_have_the_jacobian_that_they_say_and_go_back(kind, size, context):
    random = np.random.default_rng(1)
    weights = {
        name: random.normal(size=array.shape).astype(np.float32) * 0.5
        for name, array in first_weights(size, 3, 16, context).items()
    }
    steps = flow(kind, weights, jnp.full(context, 0.3) if context else None)

    def forward(x):
        for step in steps:
            x = step(x)
        return x

    x = jnp.asarray(random.normal(size=size), jnp.float32)
    expected = jnp.linalg.slogdet(jax.jacobian(forward)(x))[1]
    total, y = 0.0, x
    for step in steps:
        z, kept = step.call_with_intermediates(y)
        np.testing.assert_allclose(step.log_abs_det_jacobian(y, z), step.log_abs_det_jacobian(y, z, kept), atol=1e-5)
        total, y = total + step.log_abs_det_jacobian(y, z, kept), z
    np.testing.assert_allclose(total, expected, atol=1e-4)
    for step in reversed(steps):
        y = step._inverse(y)
    np.testing.assert_allclose(y, x, atol=1e-4)
    identity = flow(kind, first_weights(size, 3, 16, context), jnp.zeros(context) if context else None)
    np.testing.assert_allclose(identity[0](x), x)


def test_a_numpyro_distribution_is_a_prior_a_class_is_a_posterior_or_a_likelihood(tmp_path):
    X = np.random.default_rng(0).laplace(size=(60, 3))
    settings = {"latent_dim": 2, "hidden": (4,), "epochs": 2, "verbose": 0}
    short = om.VAE(**settings, prior=dist.Laplace(0.0, 1.0), posterior=dist.Laplace, likelihood=dist.Laplace).fit(X)
    given = {"loc": 0.0, "scale": 1.0}
    long = om.VAE(
        **settings, prior=Member("Laplace", given), posterior=Member("Laplace"), likelihood=NumPyro("Laplace")
    ).fit(X)
    np.testing.assert_array_equal(short.score_samples(X), long.score_samples(X))
    short.save(tmp_path / "m")
    np.testing.assert_array_equal(om.load(tmp_path / "m").score_samples(X), short.score_samples(X))


def test_the_adapter_agrees_with_the_families_written_by_hand():
    raw = {"loc": jnp.array([[0.3, -1.0]]), "scale": jnp.array([[0.2, 0.7]])}
    made = NumPyroFamily("Laplace").distribution(**raw)
    by_hand = Laplace("full").distribution(raw["loc"], log_scale=raw["scale"])
    np.testing.assert_allclose(made.log_prob(0.5), by_hand.log_prob(0.5), rtol=1e-6)


def test_the_mean_of_levels_is_the_sum_over_levels():
    given = DiscretizedLogistic(levels=16).distribution(
        jnp.array([0.0, 3.0]), jnp.array([0.5, 0.0]), jnp.array([7.0, 14.0]), jnp.array([1.0, 1.0])
    )
    levels = np.arange(16.0)
    masses = np.exp(given.log_prob(levels[:, None]))
    np.testing.assert_allclose(masses.sum(0), 1, rtol=1e-5)
    np.testing.assert_allclose(given.mean, (levels[:, None] * masses).sum(0), rtol=1e-5)
    np.testing.assert_allclose(given.variance, (levels[:, None] ** 2 * masses).sum(0) - given.mean**2, rtol=1e-3)


def test_a_mixture_prior_on_two_heaps_beats_the_normal_one_by_what_theory_gives():
    # z is ±a with deviation s: the bound rises by KL(aggregate ‖ N(0, I)) - KL(aggregate ‖ mixture),
    # and the second is 0. For one dimension the first is the difference of cross-entropy and entropy.
    a, s = 2.0, 0.5
    heaps = dist.MixtureSameFamily(dist.Categorical(jnp.full(2, 0.5)), dist.Normal(jnp.array([-a, a]), s))
    z = np.linspace(-8, 8, 20_001)
    p = np.exp(np.asarray(heaps.log_prob(z), np.float64))
    gain = np.trapezoid(p * (np.asarray(heaps.log_prob(z)) + 0.5 * z**2 + 0.5 * np.log(2 * np.pi)), z)
    codes = np.asarray(heaps.sample(jax.random.key(0), (4000, 1)))
    mixture = om.priors.Mixture(2)
    fitted = mixture.distribution(**{name: jnp.asarray(v) for name, v in mixture.fit(codes, 0).items()})
    found = np.asarray(fitted.log_prob(codes) - dist.Normal().log_prob(codes[:, 0]))
    assert found.mean() == pytest.approx(gain, abs=4 * found.std() / np.sqrt(len(codes)) + 0.01)


@pytest.mark.parametrize(
    ("posterior", "prior"),
    [
        (DiagonalNormal(), om.priors.FullNormal()),
        (FullNormal(), om.priors.StandardNormal()),
        (FullNormal(), om.priors.FullNormal()),
        (Member("Laplace"), Member("Laplace", {"loc": 0.5, "scale": 2.0})),
        (Member("Gamma"), Member("Gamma", {"concentration": 2, "rate": 1})),
    ],
    ids=repr,
)
def test_a_divergence_in_closed_form_is_that_of_draws(posterior, prior):
    random, event = np.random.default_rng(0), Event.plain(2)

    def made(family, rows):
        values = {}
        for name, parameter in family.parameters(event).items():
            shape = parameter.shape if isinstance(parameter, Output) else np.shape(parameter.value)
            given = random.normal(size=(*rows, *shape)) * 0.7 if isinstance(parameter, Output) else parameter.value
            values[name] = jnp.asarray(given, jnp.float32)
        return family.distribution(**values)

    q, p = made(posterior, (3,)), made(prior, ())
    z, log_q = draw(q, jax.random.key(0), (40_000,))
    gap = np.asarray(log_q - p.log_prob(z), np.float64)
    closed = divergence(q, p)
    assert closed is not None
    np.testing.assert_allclose(closed, gap.mean(0), atol=6 * gap.std(0).max() / 200 + 1e-3)


@pytest.mark.parametrize("kind", [VAESettings, AutoEncoderSettings])
@pytest.mark.parametrize("parameter", ["likelihood", "posterior", "prior", "objective"])
def test_every_name_that_is_offered_makes_a_member(kind, parameter):
    if parameter not in kind.model_fields:
        return
    offered = re.findall(r"\[([^\[]*?\|.*?)\] Default", hint(parameter))[0].split("|")
    assert len(offered) > 3
    own = str(kind.model_json_schema()["properties"][parameter])
    for name in offered:
        if f"'{name}'" not in own or name in ("auto", "denoising"):
            continue
        if parameter == "objective":
            assert callable(build.objective({"objective": name}))
        else:
            assert hasattr(from_table(parameter, {"name": name}), "distribution")


def test_networks_see_nothing_where_nothing_was_observed():
    series = np.random.default_rng(0).poisson(30, (20, 5, 2)).astype(float)
    holes = series.copy()
    holes[3, 2, 1] = np.nan
    settings = {"latent_dim": 2, "hidden": (4,), "epochs": 1, "verbose": 0}
    vae = om.VAE(**settings, likelihood="poisson").fit(holes)
    rows = vae._asked(holes)[1].whole
    seen = np.asarray(vae.model_.seen(rows))
    assert seen[3, 2, 1] == 0
    assert 0.3 < seen[rows.mask].std() < 3
    classes = om.VAE(**settings, likelihood=Categorical(60)).fit(holes)
    seen = np.asarray(classes.model_.seen(classes._asked(holes)[1].whole)).reshape(20, 5, 2, 60)
    np.testing.assert_array_equal(seen.sum(-1), ~np.isnan(holes))


def test_denoising_corrupts_what_networks_see():
    X = np.random.default_rng(0).integers(0, 3, (50, 4)).astype(float)
    vae = om.VAE(2, hidden=(4,), epochs=1, verbose=0, likelihood=Categorical(3)).fit(X)
    batch = vae._asked(X)[1].whole
    given = []

    class Look:
        def __call__(self, model, batch, key, epoch):
            given.append(np.asarray(model.seen(batch)))
            return {"loss": batch.x.sum(1)}

    objectives.Denoising("gaussian", 1e-3, Look())(vae.model_, batch, jax.random.key(0), 0.0)
    np.testing.assert_allclose(given[0].reshape(50, 4, 3), np.eye(3)[X.astype(int)], atol=0.01)


def test_binarising_takes_a_bernoulli_and_nothing_else():
    X = np.random.default_rng(0).random((40, 3))
    settings = {"latent_dim": 1, "hidden": (4,), "epochs": 1, "verbose": 0}
    objective = objectives.Denoising(objective=objectives.Binarizing(objectives.ELBO()))
    assert om.VAE(**settings, objective=objective).fit(X).recipe_.likelihood == Bernoulli()
    with pytest.raises(ParameterError, match="Binarizing draws zeros and ones, and Gaussian is for any numbers"):
        om.VAE(**settings, objective=objective, likelihood="gaussian").fit(X)


def test_a_fit_that_goes_on_is_checked_as_the_first():
    X = np.random.default_rng(0).normal(size=(40, 3))
    vae = om.VAE(1, hidden=(4,), epochs=1, verbose=0, posterior="point", objective="reconstruction").fit(X)
    with pytest.raises(ParameterError, match="ELBO needs a posterior with a density"):
        vae.set_params(objective="elbo", warm_start=True).fit(X)


def test_many_narrow_components_are_a_mixture_to_hundredths_of_a_nat():
    random = np.random.default_rng(0)
    means, scales = random.normal(size=(50, 8)) * 3, np.full((50, 8), 0.05)
    z = (means[:20] + 0.05 * random.normal(size=(20, 8))).astype(np.float32)
    ours = om.priors.DiagonalMixture(jnp.asarray(means, jnp.float32), jnp.asarray(scales, jnp.float32)).log_prob(z)
    apart = -0.5 * (((z[:, None] - means) / scales) ** 2).sum(-1) - np.log(scales).sum(-1) - 4 * np.log(2 * np.pi)
    np.testing.assert_allclose(ours, np.logaddexp.reduce(apart, 1) - np.log(50), atol=0.02)

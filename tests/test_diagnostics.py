"""Diagnostics: numbers against closed forms, and findings against models that are really so."""

import functools
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import energy_distance, norm
from sklearn.datasets import load_digits

import omokage as om
from omokage.batch import Batch
from omokage.diagnostics import diagnose, effective_beta, scale_finding, training_finding
from omokage.diagnostics.aggregate import aggregate, energy_test, log_densities
from omokage.diagnostics.collapse import active_units, collapse_finding, strongest_variance
from omokage.objectives import ELBO, Denoising, MomentMatching, Reconstruction


def exactly_normal(rows=2000, latent_dim=2, share=0.5, seed=0):
    """Posteriors whose aggregate is N(0, I): means N(0, share), variances 1 - share."""
    means = np.sqrt(share) * np.random.default_rng(seed).normal(size=(rows, latent_dim))
    return means, np.full_like(means, np.sqrt(1 - share))


def whole(means, deviations, seed=0):
    return aggregate(means, deviations, np.arange(means.shape[1]), seed)


def diagnosed(means, deviations, **more):
    """Diagnose posteriors beside rows that are reconstructed perfectly."""
    return diagnose(means, means, means, deviations, **more)


# Is z really normal?


def test_an_aggregate_that_is_the_prior_is_found_to_be_so():
    means, deviations = exactly_normal()
    found = whole(means, deviations)
    lower, upper = found.marginal_kl
    # n rows have a mean and a variance of their own, worth 2 (1 + 1/2) / 2n nats; the rest is the bounds' own width.
    assert 0 <= lower < 4 * found.marginal_kl_error + 0.005
    assert upper < 0.02
    assert np.abs(found.shift).max() < 4 / np.sqrt(2000)
    assert np.abs(found.log_ratio).max() < 4 / np.sqrt(2 * 2000)
    assert found.largest_correlation < 4 / np.sqrt(2000)
    assert found.holes < 0.05 + 4 * np.sqrt(2 * 0.05 / 2000)  # the quantile errs as much as the share
    assert abs(found.gaussian_saves) < 0.02
    diagnosis = diagnosed(means, deviations)
    assert diagnosis.verdict == "good", str(diagnosis)
    assert "Yes" in diagnosis["normality"].text


def test_mutual_information_of_a_linear_gaussian_model():
    """x = Wz + noise, columns of W orthogonal: the exact posterior is diagonal, and I(x; z) = ½ Σ log(1 + w²/σ²)."""
    random = np.random.default_rng(1)
    weights, noise, rows = np.array([2.0, 1.0, 0.5]), 0.7, 2000
    W = np.linalg.qr(random.normal(size=(6, 3)))[0] * weights
    x = random.normal(size=(rows, 3)) @ W.T + noise * random.normal(size=(rows, 6))
    variance = 1 / (1 + weights**2 / noise**2)
    found = whole(x @ W / noise**2 * variance, np.tile(np.sqrt(variance), (rows, 1)))
    exact = 0.5 * np.log(1 + weights**2 / noise**2).sum()
    lower, upper = found.mutual_information
    # The mean KL of n rows has a standard error of its own.
    kl = 0.5 * ((x @ W / noise**2 * variance) ** 2).sum(1)
    error = 4 * (kl.std() / np.sqrt(rows) + found.marginal_kl_error)
    assert lower - error < exact < upper + error
    assert upper - lower < 0.25
    assert lower + found.marginal_kl[1] == pytest.approx(found.mean_kl)


def test_the_bounds_close_in_on_the_truth_as_rows_are_added():
    exact = 2 * 0.5 * np.log(1 / (1 - 0.9))
    widths = []
    for rows in (50, 200, 800):
        runs = [whole(*exactly_normal(rows, share=0.9, seed=seed)) for seed in range(3)]
        lower, upper = np.mean([run.mutual_information for run in runs], axis=0)
        error = np.std([run.mean_kl for run in runs]) + 0.1
        assert lower - error < exact < upper + error
        widths.append(upper - lower)
    assert widths[0] > widths[1] > widths[2]


def test_few_rows_can_show_no_more_information_than_their_logarithm():
    means = np.random.default_rng(0).normal(size=(300, 4))
    diagnosis = diagnosed(means, np.full_like(means, 1e-4))
    found = diagnosis.aggregate
    assert found.mutual_information[0] <= np.log(300)
    assert found.mutual_information[0] == pytest.approx(np.log(300), abs=4 * np.sqrt(4 / 2 / 300))  # noise of draws
    assert found.mutual_information[1] > 20
    assert "300 rows can show no more than their logarithm, 5.70 nats" in diagnosis["information"].text


def test_moments_are_those_of_the_mixture_of_posteriors():
    random = np.random.default_rng(3)
    means = random.gamma(2.0, size=(2000, 1)) - 1
    deviations = random.uniform(0.2, 1.0, size=(2000, 1))
    found = whole(means, deviations)
    z = (means + deviations * random.normal(size=(2000, 500))).ravel()
    center, scale = z.mean(), z.std()
    assert found.shift[0] == pytest.approx(center, abs=0.01)
    assert np.exp(found.log_ratio[0]) == pytest.approx(scale, rel=0.01)
    assert found.skewness[0] == pytest.approx((((z - center) / scale) ** 3).mean(), abs=0.03)
    assert found.excess_kurtosis[0] == pytest.approx((((z - center) / scale) ** 4).mean() - 3, abs=0.1)


def test_a_departure_is_named():
    means, deviations = exactly_normal(latent_dim=3)
    means[:, 1] += 1.0
    deviations[:, 2] *= 2.0
    means[:, 0] = means[:, 1] - 1.0 + 0.1 * means[:, 0]
    text = diagnosed(means, deviations)["normality"].text
    assert "z1 has a mean of 1.0" in text
    assert "z2 has a deviation of 1.5" in text or "z2 has a deviation of 1.6" in text
    assert "z0 and z1 are correlated" in text


def test_two_clumps_need_a_mixture_which_saves_what_theory_says():
    distance, scale = 2.0, 0.5
    random = np.random.default_rng(0)
    center = distance * random.choice([-1.0, 1.0], size=(2000, 1))
    means = center + 0.3 * random.normal(size=(2000, 1))
    diagnosis = diagnosed(means, np.full((2000, 1), np.sqrt(scale**2 - 0.3**2)))
    found = diagnosis.aggregate
    grid = np.linspace(-8, 8, 20001)
    q = 0.5 * (norm.pdf(grid, -distance, scale) + norm.pdf(grid, distance, scale))
    gaussian = norm.pdf(grid, 0, np.sqrt(distance**2 + scale**2))
    step = grid[1] - grid[0]
    mixture_saves = (q * np.log(q / norm.pdf(grid))).sum() * step
    gaussian_saves = (q * np.log(gaussian / norm.pdf(grid))).sum() * step
    assert found.components == 2
    # 1,000 held-out draws, whose log-density under the prior has a deviation of about distance * scale.
    error = 4 * distance * scale / np.sqrt(1000)
    assert found.mixture_saves == pytest.approx(mixture_saves, abs=error)
    assert found.gaussian_saves == pytest.approx(gaussian_saves, abs=error)
    assert found.marginal_kl[0] - error < mixture_saves < found.marginal_kl[1] + error
    assert "z lies in clumps" in diagnosis["fitted prior"].text


def test_a_shift_is_mended_by_a_gaussian():
    means, deviations = exactly_normal()
    diagnosis = diagnosed(means + np.array([1.0, 0.0]), deviations)
    assert diagnosis.aggregate.gaussian_saves == pytest.approx(0.5, abs=0.15)  # KL(N(1, 1) ‖ N(0, 1))
    assert "The Gaussian does" in diagnosis["fitted prior"].text
    assert diagnosis["normality"].verdict == "warning"


def test_an_empty_ring_is_found():
    """z has the radius of a normal in the plane but for a gap in which 40 % of the prior's mass lies."""
    random = np.random.default_rng(0)
    inner, outer = 0.8, np.sqrt(0.8**2 - 2 * np.log(1 - 0.4 / np.exp(-(0.8**2) / 2)))
    z = random.normal(size=(8000, 2))
    radius = np.linalg.norm(z, axis=1)
    z = z[(radius < inner) | (radius > outer)][:2000]
    gap = np.exp(-(inner**2) / 2) - np.exp(-(outer**2) / 2)
    assert gap == pytest.approx(0.4)
    diagnosis = diagnosed(z, np.full_like(z, 0.05))
    # Near its rims the gap is reached, by posteriors on either side.
    assert 0.25 < diagnosis.aggregate.holes < 0.45
    assert diagnosis["holes"].verdict == "problem"
    assert "never trained" in diagnosis["holes"].text


@pytest.mark.parametrize(("latent_dim", "deviation"), [(2, 0.02), (2, 0.9), (20, 0.1), (20, 0.7)])
def test_narrow_posteriors_and_many_dimensions_are_not_taken_for_holes(latent_dim, deviation):
    found = whole(*exactly_normal(1000, latent_dim, share=1 - deviation**2))
    assert found.holes < 0.05 + 4 * np.sqrt(2 * 0.05 / 1000)


def test_the_energy_distance_is_scipys_and_its_p_value_is_fair():
    random = np.random.default_rng(0)
    x, y = random.normal(size=(500, 1)), random.normal(size=(500, 1)) * 1.5 + 0.5
    share, p = energy_test(x, y, random)
    largest = 2 * np.abs(x - y.T).mean()
    assert share * largest == pytest.approx(energy_distance(x[:, 0], y[:, 0]) ** 2, rel=1e-9)
    assert p == pytest.approx(1 / 200)
    alike = [energy_test(*random.normal(size=(2, 100, 3)), random)[1] for _ in range(100)]
    assert np.mean(alike) == pytest.approx(0.5, abs=4 * np.sqrt(1 / 12 / 100))
    assert np.mean(np.array(alike) <= 0.1) < 0.1 + 4 * np.sqrt(0.09 / 100)


def test_log_densities_are_scipys():
    random = np.random.default_rng(0)
    z, means, deviations = random.normal(size=(5, 3)), random.normal(size=(7, 3)), random.uniform(0.01, 2, (7, 3))
    expected = norm.logpdf(z[:, None], means, deviations).sum(-1)
    np.testing.assert_allclose(log_densities(z, means, deviations), expected, rtol=1e-9)


def test_what_qq_plots_need():
    found = whole(*exactly_normal(500, 3))
    assert found.draws.shape == (500, 3) and found.quantiles.shape == (500,)
    assert (np.diff(found.draws, axis=0) >= 0).all()
    np.testing.assert_allclose(found.quantiles, -found.quantiles[::-1], atol=1e-12)
    assert np.abs(found.draws - found.quantiles[:, None])[50:-50].max() < 0.3


def test_it_is_repeatable_and_takes_some_rows_of_many():
    means, deviations = exactly_normal(5000)
    one, other = whole(means, deviations), whole(means, deviations)
    assert one.rows == 2000
    assert np.array_equal(one.draws, other.draws) and one.marginal_kl == other.marginal_kl


def test_codes_of_a_point_mass_are_not_blamed():
    random = np.random.default_rng(0)
    codes = np.concatenate([random.normal(size=(300, 2)) * 40 + 7, np.zeros((300, 1))], axis=1)
    diagnosis = diagnose(codes, codes, codes, None)
    assert diagnosis.kl is None and diagnosis.active.tolist() == [True, True, False]
    assert diagnosis.aggregate.marginal_kl is None and diagnosis.aggregate.dimensions.tolist() == [0, 1]
    assert diagnosis["normality"].verdict == "good"
    assert "no prior" in diagnosis["normality"].text
    still = diagnose(codes, codes, np.zeros((300, 2)), None)
    assert still.aggregate is None and still.active_units == 0


# Why is every output the mean image?


DIGITS = load_digits().data / 16


@functools.cache
def trained(objective, kind=om.VAE):
    """Return the diagnosis of a small model that was really trained."""
    model = kind(5, hidden=(32,), objective=objective, epochs=20, verbose=0).fit(DIGITS)
    x = np.float32(DIGITS - DIGITS.mean(0))  # grey levels are centred and keep their unit
    posterior = model.model_.encode(Batch(jnp.asarray(x)))
    likelihood = model.model_.decode(posterior.mean)
    deviations = np.sqrt(posterior.variance) if kind is om.VAE else None
    scales, floor = likelihood.scale, model.recipe_.likelihood.floor
    more = {"objective": objective, "history": model.history_, "scales": scales, "floor": floor}
    return diagnose(x, likelihood.mean, posterior.mean, deviations, **more)


@dataclass(frozen=True)
class Means:
    """Somebody's own objective: means everywhere."""

    def __call__(self, model, batch, key, epoch):
        posterior = model.encode(batch)
        error = jnp.square(model.decode(posterior.sample(key)).mean - batch.x).mean(-1)
        size = jnp.square(posterior.mean).mean(-1) + jnp.square(posterior.variance - 1).mean(-1)
        return {"loss": error + size, "misfit": error, "size": size}


@pytest.mark.parametrize(
    ("objective", "cause"),
    [
        (ELBO(beta=50.0), "β = 50 counts each of its nats 50 times"),
        (Denoising(objective=ELBO(beta=50.0)), "β = 50 counts each of its nats 50 times"),
        (MomentMatching(), "weighs the latent terms 64/5 = 12.8 times too much"),
        (Means(), "the latent terms of Means outweigh its reconstruction (last epoch: misfit 0.07"),
    ],
)
def test_collapse_is_found_and_its_cause_is_named(objective, cause):
    diagnosis = trained(objective)
    finding = diagnosis["collapse"]
    assert finding.verdict == "problem" and diagnosis.verdict == "problem"
    assert cause in finding.text
    assert diagnosis.active_units == 0
    assert diagnosis.error_ratio == pytest.approx(1, abs=0.05)
    assert finding.figures["output_variance"] < 0.02
    assert "for the worst of reasons" in diagnosis["normality"].text


@pytest.mark.parametrize(
    ("objective", "kind"), [(ELBO(), om.VAE), (MomentMatching(0.005), om.VAE), (Reconstruction(), om.AutoEncoder)]
)
def test_collapse_is_not_found_where_there_is_none(objective, kind):
    diagnosis = trained(objective, kind)
    assert diagnosis["collapse"].verdict == "good", diagnosis["collapse"].text
    assert diagnosis.active_units >= 3
    assert diagnosis.error_ratio < 0.8


def test_moment_matching_is_told_a_weight_that_would_work():
    text = trained(MomentMatching())["collapse"].text
    strongest = np.linalg.eigvalsh(np.cov(DIGITS.T, bias=True))[-1]
    assert (
        f"above 12.8, and the largest here is {strongest:.3g}. Take moments well below {strongest * 5 / 64:.2g}" in text
    )


def test_a_decoder_that_ignores_z_is_not_called_a_collapsed_posterior():
    random = np.random.default_rng(0)
    x, means = random.normal(size=(200, 6)), random.normal(size=(200, 2))
    finding = collapse_finding(x, np.tile(x.mean(0), (200, 1)), active_units(means, np.full((200, 2), 0.5)))
    assert finding.verdict == "problem"
    assert "2 of 2 latent dimensions carry something, but the decoder makes nothing of it" in finding.text


@pytest.mark.parametrize(
    ("objective", "text"),
    [
        (ELBO(), "The weight of the KL is not the cause (β = 1)"),
        (Reconstruction(), "no latent term"),
        (None, "the latent terms of the objective outweigh its reconstruction. Let each term be a sum"),
    ],
)
def test_other_causes_are_told_apart(objective, text):
    x = np.random.default_rng(0).normal(size=(50, 3))
    finding = collapse_finding(x, np.tile(x.mean(0), (50, 1)), np.zeros(2, bool), objective=objective)
    assert text in finding.text


def test_rows_that_are_all_the_same_are_no_collapse():
    finding = collapse_finding(np.ones((30, 2)), np.ones((30, 2)), np.zeros(1, bool))
    assert finding.verdict == "warning" and "All rows are the same" in finding.text


def test_some_unused_dimensions_are_no_harm():
    means, deviations = exactly_normal(500, 4, share=0.9)
    means[:, 2], deviations[:, 2] = 0.0, 1.0
    finding = diagnosed(means, deviations)["active units"]
    assert (
        finding.verdict == "good" and "3 of 4" in finding.text and "z2 is not used, which does no harm" in finding.text
    )


def test_the_strongest_variance_is_the_first_eigenvalue():
    random = np.random.default_rng(0)
    for shape in ((40, 7), (7, 40)):
        x = random.normal(size=shape)
        expected = np.linalg.eigvalsh(np.cov(x.T, bias=True))[-1]
        assert strongest_variance(x) == pytest.approx(expected)


# The weight of the KL


def test_effective_beta():
    assert effective_beta(0.99, 0.01, averaged_over=784) == pytest.approx(0.01 * 784 / 0.99)
    assert f"{effective_beta(0.99, 0.01, averaged_over=784):.2f}" == "7.92"
    assert effective_beta(1, 1) == 1
    assert effective_beta(1, 1, averaged_over=784, latent_averaged_over=20) == pytest.approx(39.2)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"reconstruction_weight": 0, "kl_weight": 1}, "reconstruction_weight: expected a number above 0; got 0."),
        ({"reconstruction_weight": 1, "kl_weight": -1}, "kl_weight: expected a number of at least 0; got -1."),
        ({"reconstruction_weight": 1, "kl_weight": 1, "averaged_over": 0}, "averaged_over: expected a number of"),
    ],
)
def test_effective_beta_says_what_is_wrong(arguments, text):
    with pytest.raises(om.errors.ParameterError) as caught:
        effective_beta(**arguments)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("objective", "text"),
    [
        (ELBO(), "the loss is the ELBO's negative"),
        (ELBO(beta=4.0), "β = 4, above 1: each nat in z must save 4 in the reconstruction"),
        (ELBO(beta=4.0), "the same as σ times 2."),
        (ELBO(beta=0.25), "β = 0.25, below 1: z holds more"),
        (ELBO(beta=0.0), "β = 0, below 1"),
        (MomentMatching(), "latent terms have β = 2"),
    ],
)
def test_weights_are_explained(objective, text):
    means, deviations = exactly_normal(100)
    x = np.tile(means, (1, 2))
    assert text in diagnose(x, x, means, deviations, objective=objective)["weights"].text


def test_objectives_without_a_weight_have_no_such_finding():
    with pytest.raises(KeyError, match="there are collapse, active units"):
        diagnosed(*exactly_normal(100), objective=Reconstruction())["weights"]


# Why does the loss run to minus infinity, or to NaN?


def records(losses):
    return [{"epoch": epoch, "loss": float(loss)} for epoch, loss in enumerate(losses, start=1)]


def test_a_loss_that_settles_is_told_from_one_that_falls_and_one_that_broke():
    epochs = np.arange(30)
    settled = training_finding(records(100 * np.exp(-epochs / 4) - 5))
    assert settled.verdict == "good" and "A negative loss is no error" in settled.text
    falling = training_finding(records(-20.0 * epochs))
    assert falling.verdict == "warning" and "never levels off" in falling.text
    broken = training_finding(records([3.0, -50.0, -np.inf]))
    assert broken.verdict == "problem" and "in epoch 3: 'loss' not finite" in broken.text and "floor" in broken.text
    assert training_finding([]) is None
    assert "too few to tell" in training_finding(records([3.0, 2.0])).text


def test_a_scale_at_its_floor_is_named_and_so_is_a_constant_column():
    x = np.random.default_rng(0).normal(size=(40, 3))
    x[:, 1] = 2.0
    finding = scale_finding(x, np.array([0.4, 0.0011, 0.3]), 0.001, ["speed", "mode", "load"])
    assert finding.verdict == "problem"
    assert (
        "The learned scale of 'mode' is at its floor, 0.001" in finding.text
        and "Constant among these rows: 'mode'" in finding.text
    )
    assert "Gaussian(floor=0.05)" in finding.text
    each = np.full((40, 3), 0.4)
    each[:, 2] = 0.001
    assert "'column 2'" in scale_finding(x, each, 0.001).text
    assert scale_finding(x[:, ::2], np.array([0.4, 0.3]), 0.001).verdict == "good"
    assert "Constant among these rows: 'column 1'" in scale_finding(x).text
    assert "all columns" in scale_finding(x, np.array([0.001]), 0.001).text


def test_a_density_spike_is_found_in_a_model_that_has_one():
    """Three columns that are one: the decoder hits them all but exactly, and the learned scales fall to their floor."""
    x = np.random.default_rng(0).normal(size=(400, 1)) @ np.ones((1, 3))
    likelihood = om.likelihoods.Gaussian(floor=0.3)
    vae = om.VAE(1, hidden=(), likelihood=likelihood, epochs=300, learning_rate=1e-2, verbose=0).fit(x)
    scales = vae.model_.decode(jnp.zeros((1, 1))).scale  # in deviations of the columns
    assert scale_finding(x / x.std(), np.asarray(scales), 0.3).verdict == "problem"


# The whole


def test_it_reads_as_a_report():
    means, deviations = exactly_normal(200)
    diagnosis = diagnosed(means, deviations, objective=ELBO(), history=records(np.exp(-np.arange(20.0))))
    text = str(diagnosis)
    assert text.startswith("Diagnosis of 200 rows and 2 latent dimensions: ")
    for finding in diagnosis.findings:
        assert f"{finding.verdict:8} {finding.name}: " in text
        assert all(isinstance(value, float) for value in finding.figures.values()), finding.name
    assert max(map(len, text.splitlines())) <= 110


def test_pictures_and_sequences_are_rows_too():
    means, deviations = exactly_normal(30)
    x = np.random.default_rng(0).normal(size=(30, 4, 4, 1))
    assert diagnose(x, x, means, deviations).rows == 30
    assert diagnose(x, x, means, deviations, scales=np.ones((4, 4, 1)), floor=0.1)["scales"].verdict == "good"


def test_entries_that_were_not_observed_are_not_looked_at():
    means, deviations = exactly_normal(50)
    x = np.random.default_rng(0).normal(size=(50, 4))
    mask = np.random.default_rng(1).random(x.shape) < 0.7
    one, other = (
        diagnose(np.where(mask, x, hidden), np.where(mask, 0.5 * x, 1e3), means, deviations, mask=mask)
        for hidden in (np.nan, 1e6)
    )
    assert one.error_ratio == other.error_ratio
    centers = np.nanmean(np.where(mask, x, np.nan), axis=0)
    expected = np.square(0.5 * x)[mask].sum() / np.square(x - centers)[mask].sum()
    assert one.error_ratio == pytest.approx(expected)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"mask": np.ones((50, 3))}, "mask: expected x, reconstructions and mask to have one shape; got x (50, 2)"),
        ({"x": np.zeros((5, 2))}, "x: expected at least 20 rows to judge by; got 5."),
        ({"x": np.zeros(50)}, "x: expected rows, (n, ...); got an array of shape (50,)."),
        ({"reconstructions": np.zeros((50, 3))}, "reconstructions: expected 50 rows of 2 entries; got 50 of 3."),
        ({"means": np.full((50, 2), np.nan)}, "means: expected finite numbers; row 0, entry 0 is nan."),
        ({"means": np.zeros((40, 2)), "deviations": None}, "means: expected 50 rows, one for each of x; got 40."),
        ({"deviations": np.zeros((50, 2))}, "deviations: expected numbers above 0"),
        ({"scales": np.ones(7)}, "scales: expected one number, one for each entry, or like x"),
    ],
)
def test_it_says_what_is_wrong(change, text):
    given = {name: np.random.default_rng(0).normal(size=(50, 2)) for name in ("x", "reconstructions", "means")}
    with pytest.raises(om.errors.DataError) as caught:
        diagnose(**(given | {"deviations": np.ones((50, 2))} | change))
    assert text in str(caught.value)


def test_every_kind_of_data_can_be_diagnosed():
    random = np.random.default_rng(0)
    settings = {"latent_dim": 2, "epochs": 1, "verbose": 0, "hidden": (6,)}
    series = [random.normal(size=(length, 2)) for length in (5, 9, 9, 17, 30) * 6]
    series[3][2:4, 1] = np.nan
    found = om.VAE(**settings, network="tcn").fit(series).diagnose(series)
    assert found.rows == 30 and "Constant" not in found["scales"].text
    pictures = random.random((30, 4, 5))
    pictures[:, 2, 3] = 0.25
    found = om.AutoEncoder(**settings, data="images").fit(pictures).diagnose(pictures)
    assert "'row 2, column 3'" in found["scales"].text
    rows = random.normal(size=(30, 4))
    full = om.VAE(**settings, likelihood=om.likelihoods.Gaussian("full")).fit(rows)
    assert "smallest learned scale" in full.diagnose(rows)["scales"].text
    full.fit_density(rows, om.priors.Mixture(2))
    found = full.diagnose(rows)
    assert "holes" in [finding.name for finding in found.findings]
    assert found.aggregate.prior == "Mixture(components=2)"  # z was not meant to be N(0, I) any more

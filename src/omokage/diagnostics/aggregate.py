"""Is z really normal? The aggregated posterior q(z), the mean of q(z|x) over the rows, beside the prior N(0, I).

Over rows x the KL of the bound splits in two (Hoffman and Johnson, "ELBO surgery", 2016):

    mean KL(q(z|x) ‖ p(z))  =  I(x; z)  +  KL(q(z) ‖ p(z))

The first part is what z tells about x; the second is how far z is from the prior as a whole, and only it is at odds
with drawing z from the prior. log q(z) is estimated as the log of the mean of q(z|x) over n rows. With the row that z
came from among them, log q(z) is too high on average, and so is the marginal KL, while the information is too low and
at most log n. Without that row both err the other way (Poole et al., "On Variational Bounds of Mutual Information",
2019). So each has a lower and an upper bound, and the two meet as rows are added.

A density f fitted to some draws gives another lower bound of the marginal KL, on other draws: the mean of
log f(z) - log p(z), which is also the nats that f saves in place of the prior.

A hole is where the prior has mass and q(z) has not: where q(z) / p(z) is below a tenth, and below what it is at nearly
all draws of q(z), each without its own row: these show how small it gets by chance, with so many rows and posteriors so
narrow.
"""

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from scipy.special import logsumexp, ndtri
from scipy.stats import ks_2samp, kstest
from sklearn.exceptions import ConvergenceWarning

from omokage.diagnostics.latent import Latent
from omokage.priors import fitted_mixture

Floats = NDArray[np.float64]

ROWS = 2000  # at most, of which q(z) is made: the work grows with their square
UNREACHED = 0.05  # the share of its own draws that q(z) is taken not to reach
THIN = 0.1  # of p(z): where q(z) has more, there is no hole
_ENERGY_ROWS = 1000
_PERMUTATIONS = 199
_COMPONENTS = (1, 2, 4, 8, 16)


@dataclass(frozen=True, eq=False)
class Aggregate:
    """The aggregated posterior beside the prior; nats are per row.

    Attributes:
        rows: How many rows it is made of, m.
        dimensions: Which latent dimensions are meant, (l,): all, or the active ones of a point mass.
        shift: Mean of each dimension, in deviations of the prior, (l,).
        log_ratio: Log of its deviation over that of the prior, (l,).
        skewness: Of each dimension; 0 for a normal, (l,).
        excess_kurtosis: Of each dimension; 0 for a normal, (l,).
        ks_distance: Kolmogorov and Smirnov's largest distance of its distribution function from the normal's, (l,).
        ks_p_value: How often m normal draws are so far off or farther, (l,).
        largest_correlation: The largest |r| of two dimensions; 0 if there is only one.
        most_correlated: Which two.
        energy: Energy distance of draws of q(z) and of the prior as a share of its largest value, 0 to 1.
        energy_p_value: How often it is as large when the two are mixed up.
        mean_kl: Mean KL(q(z|x) ‖ p(z)); `None`, as the next five, for a point mass.
        marginal_kl: Lower and upper bound of KL(q(z) ‖ p(z)).
        marginal_kl_error: Standard error of the upper one.
        mutual_information: Lower and upper bound of I(x; z); the lower one is at most log m.
        holes: Share of draws of the prior at which q(z) / p(z) is below 0.1 and below what it is at 95 % of the draws
            of q(z); about 0.05 at most if the two are the same.
        prior_density: Mean log p(z) of held-out draws of q(z).
        gaussian_density: The same under a Gaussian with full covariance fitted to the other draws.
        mixture_density: The same under a mixture of Gaussians, with `components` by BIC.
        components: Of the mixture.
        draws: Draws of q(z), one a row, each dimension sorted, (m, l): for QQ plots.
        quantiles: The quantiles of N(0, 1) that belong to them, (m,); those of another prior by its draws, (m, l).
        prior: What texts call the prior.
        conditional: Whether the prior depends on the context; then that of all rows together is meant.
    """

    rows: int
    dimensions: NDArray[np.int64]
    shift: Floats
    log_ratio: Floats
    skewness: Floats
    excess_kurtosis: Floats
    ks_distance: Floats
    ks_p_value: Floats
    largest_correlation: float
    most_correlated: tuple[int, int] | None
    energy: float
    energy_p_value: float
    mean_kl: float | None
    marginal_kl: tuple[float, float] | None
    marginal_kl_error: float | None
    mutual_information: tuple[float, float] | None
    holes: float | None
    prior_density: float
    gaussian_density: float
    mixture_density: float
    components: int
    draws: Floats
    quantiles: Floats
    prior: str = "N(0, I)"
    conditional: bool = False

    @property
    def gaussian_saves(self) -> float:
        """Nats a row that a fitted Gaussian saves in place of the prior."""
        return self.gaussian_density - self.prior_density

    @property
    def mixture_saves(self) -> float:
        """Nats a row that a fitted mixture saves in place of the prior."""
        return self.mixture_density - self.prior_density


def aggregate(means: Floats, deviations: Floats | None, dimensions: NDArray[np.int64], seed: int = 0) -> Aggregate:
    """Return how the aggregated posterior of rows lies beside N(0, I).

    Args:
        means: Of the posteriors, (n, L).
        deviations: Of the posteriors, (n, L), which are taken to be diagonal normals; `None`: point masses.
        dimensions: Which ones to look at, (l,).
        seed: Of the choice of at most 2,000 rows, and of the draws.

    Example:
        >>> random = np.random.default_rng(0)
        >>> means, deviations = 0.6 * random.normal(size=(1000, 2)), np.full((1000, 2), 0.8)
        >>> bool(aggregate(means, deviations, np.arange(2)).marginal_kl[0] < 0.02)
        True
    """
    random = np.random.default_rng(seed)
    chosen = np.sort(random.permutation(len(means))[:ROWS])
    means = means[chosen][:, dimensions]
    spread = np.zeros_like(means) if deviations is None else deviations[chosen][:, dimensions]
    z = means + spread * random.normal(size=means.shape)
    prior = random.normal(size=z.shape)
    tests = [kstest(column, "norm") for column in z.T]
    fits = _fitted(z, _prior_density(z), seed)
    bounds = None
    if deviations is not None:
        densities = (log_densities(z, means, spread), log_densities(prior, means, spread))
        mean_kl = float(0.5 * (means**2 + spread**2 - 1 - np.log(spread**2)).sum(1).mean())
        bounds = _bounds(*densities, _prior_density(z), _prior_density(prior), fits.saved, mean_kl)
    return _together(
        dimensions,
        z,
        prior,
        tests,
        _moments(means, spread),
        _largest_correlation(means, spread),
        fits,
        bounds,
        ndtri((np.arange(len(z)) + 0.5) / len(z)),
        random,
    )


def aggregate_of(latent: Latent, seed: int = 0) -> Aggregate:
    """Return how the aggregated posterior of rows lies beside the prior that their model has.

    What is said of single dimensions goes by draws of both: shift and deviation are in those of the prior, and
    Kolmogorov and Smirnov's test is that of two samples.
    """
    random, z, prior = np.random.default_rng(seed), latent.z, latent.draws
    tests = [ks_2samp(one, other) for one, other in zip(z.T, prior.T, strict=True)]
    points = np.zeros_like(z)
    scaled = (z - latent.middle) / latent.width
    fits = _fitted(z, latent.prior_of_z, seed)
    own = np.diagonal(latent.posterior_of_z).copy()
    bounds = _bounds(
        latent.posterior_of_z.copy(),
        latent.posterior_of_draws,
        latent.prior_of_z,
        latent.prior_of_draws,
        fits.saved,
        latent.mean_kl,
        own,
    )
    found, of_prior = _largest_correlation(z, points), _correlations((prior - latent.middle) / latent.width)
    if found[1] is not None and abs(of_prior[found[1]]) > 0.5 * found[0]:  # the prior has it as well
        found = (0.0, None)
    together = _together(
        np.arange(z.shape[1]),
        z,
        prior,
        tests,
        _moments(scaled, points),
        found,
        fits,
        bounds,
        np.sort(prior, axis=0),
        random,
    )
    return replace(together, prior=latent.prior, conditional=latent.conditional)


def _together(
    dimensions: NDArray[np.int64],
    z: Floats,
    prior: Floats,
    tests: list[Any],
    moments: tuple[Floats, Floats, Floats, Floats],
    correlation: tuple[float, tuple[int, int] | None],
    fits: "_Fits",
    bounds: "_Bounds | None",
    quantiles: Floats,
    random: np.random.Generator,
) -> Aggregate:
    """Return all that was found of z and of the prior's draws."""
    energy, energy_p_value = energy_test(z, prior, random)
    largest, pair = correlation
    return Aggregate(
        rows=len(z),
        dimensions=dimensions,
        shift=moments[0],
        log_ratio=moments[1],
        skewness=moments[2],
        excess_kurtosis=moments[3],
        ks_distance=np.array([test.statistic for test in tests]),
        ks_p_value=np.array([test.pvalue for test in tests]),
        largest_correlation=largest,
        most_correlated=None if pair is None else (int(dimensions[pair[0]]), int(dimensions[pair[1]])),
        energy=energy,
        energy_p_value=energy_p_value,
        mean_kl=None if bounds is None else bounds.mean_kl,
        marginal_kl=None if bounds is None else bounds.marginal_kl,
        marginal_kl_error=None if bounds is None else bounds.error,
        mutual_information=None if bounds is None else bounds.mutual_information,
        holes=None if bounds is None else bounds.holes,
        prior_density=fits.prior,
        gaussian_density=fits.gaussian,
        mixture_density=fits.mixture,
        components=fits.components,
        draws=np.sort(z, axis=0),
        quantiles=quantiles,
    )


def energy_test(x: Floats, y: Floats, random: np.random.Generator) -> tuple[float, float]:
    """Return the energy distance of two samples, as a share of its largest value, and its p-value.

    Source: Székely and Rizzo, "Energy statistics: A class of statistics based on distances", 2013. The statistic is
    2 E|x-y| - E|x-x'| - E|y-y'|, divided by 2 E|x-y|; the p-value comes from 199 permutations, of 1,000 rows each.
    """
    count = min(len(x), len(y), _ENERGY_ROWS)
    pooled = np.concatenate([random.permutation(x)[:count], random.permutation(y)[:count]])
    distances = cdist(pooled, pooled)
    signs = np.repeat([1.0, -1.0], count)
    shuffled = np.stack([signs, *(random.permutation(signs) for _ in range(_PERMUTATIONS))], axis=1)
    values = -(shuffled * (distances @ shuffled)).sum(0) / count**2  # the statistic is a quadratic form of the signs
    largest = 2 * distances[:count, count:].mean()
    share = float(values[0] / largest) if largest > 0 else 0.0
    return share, float((1 + (values[1:] >= values[0]).sum()) / (1 + _PERMUTATIONS))


def log_densities(z: Floats, means: Floats, deviations: Floats) -> Floats:
    """Return log N(z_s; μ_n, diag σ_n²) of each point under each normal, (S, N)."""
    precisions = 1 / deviations**2
    # Expanded, so that it is three matrix products; float64 leaves 1e-2 nats of error at a deviation of 1e-7.
    squares = z**2 @ precisions.T - 2 * z @ (means * precisions).T + (means**2 * precisions).sum(1)
    return np.asarray(-0.5 * (np.maximum(squares, 0) + np.log(2 * np.pi * deviations**2).sum(1)))


def _prior_density(z: Floats) -> Floats:
    """Return log N(z; 0, I), (S,)."""
    return np.asarray(-0.5 * (z**2 + np.log(2 * np.pi)).sum(1))


def _moments(means: Floats, spread: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Return mean, log deviation, skewness and excess kurtosis of the mixture of posteriors, exactly, (L,) each."""
    center = means.mean(0)
    off, within = means - center, spread**2
    second = (off**2 + within).mean(0)
    third = (off**3 + 3 * off * within).mean(0)
    fourth = (off**4 + 6 * off**2 * within + 3 * within**2).mean(0)
    second = np.maximum(second, np.finfo(float).tiny)
    return center, 0.5 * np.log(second), third / second**1.5, fourth / second**2 - 3


def _largest_correlation(means: Floats, spread: Floats) -> tuple[float, tuple[int, int] | None]:
    if means.shape[1] < 2:
        return 0.0, None
    correlation = np.abs(np.triu(_correlations(means, spread), 1))
    i, j = divmod(int(correlation.argmax()), len(correlation))
    return float(correlation[i, j]), (i, j)


def _correlations(means: Floats, spread: Floats | None = None) -> Floats:
    """Return the correlations of the dimensions of a mixture of posteriors, or of draws, (L, L)."""
    covariance = np.atleast_2d(np.cov(means.T, bias=True))
    if spread is not None:
        covariance = covariance + np.diag((spread**2).mean(0))
    deviation = np.sqrt(np.maximum(np.diag(covariance), np.finfo(float).tiny))
    return np.asarray(covariance / np.outer(deviation, deviation))


@dataclass(frozen=True)
class _Bounds:
    mean_kl: float
    marginal_kl: tuple[float, float]
    error: float
    mutual_information: tuple[float, float]
    holes: float


@dataclass(frozen=True)
class _Fits:
    """Mean log-densities of held-out draws of q(z): under the prior, a Gaussian and a mixture fitted to the others."""

    prior: float
    gaussian: float
    mixture: float
    components: int

    @property
    def saved(self) -> float:
        """A lower bound of the marginal KL."""
        return max(self.gaussian, self.mixture) - self.prior


def _bounds(
    of_z: Floats,
    of_draws: Floats,
    prior_of_z: Floats,
    prior_of_draws: Floats,
    saved: float,
    mean_kl: float,
    own: Floats | None = None,
) -> _Bounds:
    """Return what needs log q(z).

    Args:
        of_z: log q(z_s|x_n), (m, m); its diagonal is overwritten.
        of_draws: The same of the prior's draws.
        prior_of_z: log p(z) of both, (m,).
        prior_of_draws: See there.
        saved: A lower bound of the marginal KL from elsewhere.
        mean_kl: Mean KL(q(z|x) ‖ p(z)).
        own: log q(z|x) of the row that each z came from, (m,), by which information is estimated where the mean KL is
            not one to p(z); `None`: information is what the marginal KL leaves over of the mean KL.
    """
    count = len(of_z)
    with_own = logsumexp(of_z, axis=1) - np.log(count)
    np.fill_diagonal(of_z, -np.inf)
    without = logsumexp(of_z, axis=1) - np.log(count - 1)
    above, alone = with_own - prior_of_z, without - prior_of_z
    lower = max(0.0, float(alone.mean()), saved)
    upper = max(lower, float(above.mean()))
    if own is None:
        information = (float(np.clip(mean_kl - upper, 0, np.log(count))), max(0.0, mean_kl - lower))
    else:
        least = float(np.clip((own - with_own).mean(), 0, np.log(count)))
        information = (least, max(least, float((own - without).mean())))
    there = logsumexp(of_draws, axis=1) - np.log(count) - prior_of_draws
    holes = float((there < min(np.quantile(alone, UNREACHED), np.log(THIN))).mean())
    return _Bounds(mean_kl, (lower, upper), float(above.std() / np.sqrt(count)), information, holes)


def _fitted(z: Floats, prior: Floats, seed: int) -> _Fits:
    """Return the mean log-density of half the draws under prior, Gaussian and mixture, fitted to the other half."""
    order = np.random.default_rng([seed, 1]).permutation(len(z))
    learned, held_out = z[order[::2]], z[order[1::2]]
    location, scale = learned.mean(0), learned.std(0)
    scale = np.where(scale > 0, scale, 1.0)  # in its own units, since the fit adds a fixed number to variances
    learned, standard = (learned - location) / scale, (held_out - location) / scale
    fits: list[Any] = []
    scores: list[float] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a mixture that is not quite settled is a fair candidate
        for components in _COMPONENTS:
            worse = len(scores) - 1 - int(np.argmin(scores)) if scores else 0
            if worse >= 2 or (components > 1 and components * 2 * z.shape[1] > len(learned)):
                break
            fit = fitted_mixture(learned, components, 1e-6, seed)
            fits.append(fit)
            scores.append(fit.bic(learned))
    best = fits[int(np.argmin(scores))]
    densities = [float(fit.score_samples(standard).mean() - np.log(scale).sum()) for fit in (fits[0], best)]
    return _Fits(float(prior[order[1::2]].mean()), densities[0], densities[1], int(best.n_components))

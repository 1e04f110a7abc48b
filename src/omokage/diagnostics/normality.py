"""Findings on the aggregated posterior: is z normal, where are holes, what would a fitted prior save, what z tells.

Verdicts go by the size of an effect. With enough rows a p-value finds differences that matter to nobody.
"""

import numpy as np

from omokage.diagnostics.aggregate import THIN, UNREACHED, Aggregate
from omokage.diagnostics.findings import Finding, Verdict, span

_SMALL, _LARGE = 0.2, 2.0  # nats a row: what is lost by drawing z from the prior
_EFFECT = 0.25  # a shift or log-ratio of deviations that is small but worth a word
_KS = 0.1
_CORRELATION = 0.3
_HOLES = (0.1, 0.3)  # shares of the prior's draws
_NOTHING = 0.01  # nats of KL
_WORTH = 0.1  # nats a row that make fitting a prior worth the trouble


def normality_findings(aggregate: Aggregate, pulled: bool = False) -> list[Finding]:
    """Return what the numbers mean, for a posterior with a density or for a point mass.

    Args:
        aggregate: What was found.
        pulled: Whether the objective draws the codes as a whole to the prior.
    """
    if aggregate.marginal_kl is None:
        return [_codes(aggregate, pulled)]
    if aggregate.mean_kl is not None and aggregate.mean_kl < _NOTHING:
        text = (
            f"{_question(aggregate)} Yes, for the worst of reasons: q(z|x) is {_named(aggregate)} whatever x is, and z "
            "tells nothing."
        )
        return [Finding("normality", "good", text, {"mean_kl": aggregate.mean_kl})]
    return [_normality(aggregate), _holes(aggregate), _prior(aggregate), _information(aggregate)]


def _normality(aggregate: Aggregate) -> Finding:
    assert aggregate.marginal_kl is not None
    lower, upper = aggregate.marginal_kl
    departures = _departures(aggregate)
    verdict: Verdict = "good"
    answer = "Yes, as nearly as one can tell."
    if lower >= _LARGE:
        verdict, answer = "problem", "No."
    elif lower >= _SMALL or departures:
        verdict, answer = "warning", "Not quite."
    text = (
        f"{_question(aggregate)} {answer} Over {aggregate.rows:,} rows the aggregated posterior q(z) lies "
        f"{span(lower, upper)} nats from {_named(aggregate)}"
    )
    text += "; " + "; ".join(departures) + ". " if departures else ", and no dimension stands out. "
    text += (
        f"The energy distance is {aggregate.energy:.1%} of its largest value (p = {aggregate.energy_p_value:.3g}), the "
        f"smallest p-value of a dimension {aggregate.ks_p_value.min():.2g}; the verdict goes by the sizes."
    )
    if upper - lower > 1:
        text += " The upper figure is a bound that falls as rows are added; it is not what was found."
    return Finding(
        "normality",
        verdict,
        text,
        {
            "marginal_kl_lower": lower,
            "marginal_kl_upper": upper,
            "energy": aggregate.energy,
            "energy_p_value": aggregate.energy_p_value,
            "largest_shift": float(np.abs(aggregate.shift).max()),
            "largest_log_ratio": float(np.abs(aggregate.log_ratio).max()),
            "largest_ks_distance": float(aggregate.ks_distance.max()),
            "largest_correlation": aggregate.largest_correlation,
        },
    )


def _question(aggregate: Aggregate) -> str:
    return "Is z really normal?" if aggregate.prior == "N(0, I)" else "Is z distributed as the prior says?"


def _named(aggregate: Aggregate) -> str:
    of = ", of all contexts together" if aggregate.conditional else ""
    return f"the prior {aggregate.prior}{of}"


def _departures(aggregate: Aggregate) -> list[str]:
    """Return the largest departure of each sort that is worth a word."""
    words = []
    unit = "" if aggregate.prior == "N(0, I)" else " (from the prior's mean, in its deviations)"
    worst = int(np.abs(aggregate.shift).argmax())
    if abs(aggregate.shift[worst]) > _EFFECT:
        words.append(f"z{aggregate.dimensions[worst]} has a mean of {aggregate.shift[worst]:z.2f}{unit}")
    worst = int(np.abs(aggregate.log_ratio).argmax())
    if abs(aggregate.log_ratio[worst]) > _EFFECT:
        words.append(
            f"z{aggregate.dimensions[worst]} has a deviation of {np.exp(aggregate.log_ratio[worst]):.2f}{unit}"
        )
    worst = int(aggregate.ks_distance.argmax())
    if aggregate.ks_distance[worst] > _KS:
        words.append(
            f"the distribution function of z{aggregate.dimensions[worst]} is up to {aggregate.ks_distance[worst]:.2f} "
            f"off (skewness {aggregate.skewness[worst]:z.2f}, excess kurtosis {aggregate.excess_kurtosis[worst]:z.2f})"
        )
    if aggregate.largest_correlation > _CORRELATION and aggregate.most_correlated is not None:
        i, j = aggregate.most_correlated
        words.append(f"z{i} and z{j} are correlated (|r| = {aggregate.largest_correlation:.2f})")
    return words


def _holes(aggregate: Aggregate) -> Finding:
    assert aggregate.holes is not None
    share = aggregate.holes
    verdict: Verdict = "good" if share < _HOLES[0] else "warning" if share < _HOLES[1] else "problem"
    text = (
        f"{share:.0%} of draws from the prior fall where hardly any row's posterior reaches (q(z) is below "
        f"{THIN:g} p(z), and {1 - UNREACHED:.0%} of the draws of q(z) have more; {UNREACHED:.0%} at most if there were "
        "no holes). "
    )
    text += (
        "What is decoded from the prior is what the decoder has learned."
        if verdict == "good"
        else "There the decoder was never trained, and samples can look like nothing in the data. "
        + (
            "Draw z from a density fitted to q(z): fit_density(X)."
            if max(aggregate.gaussian_saves, aggregate.mixture_saves) >= _WORTH
            else "No density fitted to q(z) closes them; fewer latent dimensions or more rows may."
        )
    )
    return Finding("holes", verdict, text, {"holes": share, "expected": UNREACHED})


def _prior(aggregate: Aggregate) -> Finding:
    gaussian, mixture = aggregate.gaussian_saves, aggregate.mixture_saves
    figures = {
        "prior_density": aggregate.prior_density,
        "gaussian_saves": gaussian,
        "mixture_saves": mixture,
        "components": float(aggregate.components),
    }
    kinds = "Gaussian" if aggregate.components == 1 else f"mixture of {aggregate.components} Gaussians"
    if max(gaussian, mixture) < _WORTH:
        text = (
            f"No density fitted to z afterwards is worth having: on draws held out a Gaussian {_saves(gaussian)} a row"
            + (f", a {kinds} {_saves(mixture)}." if aggregate.components > 1 else ".")
        )
        return Finding("fitted prior", "good", text, figures)
    text = f"Drawn from a Gaussian fitted to z afterwards, rows cost {gaussian:z.2f} nats less"
    if aggregate.components > 1:
        text += f", from a {kinds} {mixture:z.2f}"
    text += " (held-out draws; the ELBO with that prior rises by as much)."
    if gaussian >= mixture - _WORTH:
        text += " The Gaussian does: location, scale and correlation are all that is wrong."
    else:
        text += " The mixture is worth its components: z lies in clumps, or in a bent shape."
        text += " A mixture prior learns it." if aggregate.prior == "N(0, I)" else ""
    return Finding("fitted prior", "warning", text, figures)


def _saves(nats: float) -> str:
    return f"saves {nats:z.2f} nats" if nats > -0.005 else f"costs {-nats:.2f} nats more"


def _information(aggregate: Aggregate) -> Finding:
    assert aggregate.mutual_information is not None and aggregate.mean_kl is not None
    lower, upper = aggregate.mutual_information
    limit = float(np.log(aggregate.rows))
    text = (
        f"Of the mean KL of {aggregate.mean_kl:z.2f} nats, z tells {span(lower, upper)} about x (mutual information); "
        "the rest is the distance of q(z) from the prior. "
    )
    if aggregate.conditional:
        text = (
            f"z tells {span(lower, upper)} nats about x (mutual information), what the context tells included; the "
            f"mean KL to the prior given the context is {aggregate.mean_kl:z.2f} nats. "
        )
    if lower > limit - 1:
        text += f"{aggregate.rows:,} rows can show no more than their logarithm, {limit:.2f} nats; it may be far more."
    else:
        text += f"The lower figure could be at most log {aggregate.rows:,} = {limit:.2f}."
    figures = {"lower": lower, "upper": upper, "mean_kl": aggregate.mean_kl, "log_rows": limit}
    return Finding("information", "good", text, figures)


def _codes(aggregate: Aggregate, pulled: bool) -> Finding:
    """Return what can be said of point masses."""
    more = aggregate.mixture_density - aggregate.gaussian_density
    text = (
        "Is z really normal? It is not meant to be: the codes of a plain autoencoder answer to no prior, so draws from "
        "N(0, I) decode to nothing in particular. To generate, draw from a Gaussian fitted to the codes"
    )
    if pulled:
        text = (
            "Is z really normal? The objective draws the codes as a whole to N(0, I), and they are points, of which no "
            f"KL is known. Their energy distance from it is {aggregate.energy:.1%} of its largest value (p = "
            f"{aggregate.energy_p_value:.3g}). A Gaussian fitted to the codes gives held-out ones "
            f"{aggregate.gaussian_saves:z.2f} nats more"
        )
    if more > _WORTH:
        text += f"; a mixture of {aggregate.components} of them fits held-out codes better by {more:z.2f} nats a row"
    figures = {
        "prior_density": aggregate.prior_density,
        "gaussian_density": aggregate.gaussian_density,
        "mixture_density": aggregate.mixture_density,
        "components": float(aggregate.components),
    }
    return Finding("normality", "good", text + ".", figures)

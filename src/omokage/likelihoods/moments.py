"""Parameters of distributions from the mean and the deviation of each entry: where training starts.

A scale or a concentration that starts far from the data's own makes z useless at first, and a posterior that has once
collapsed onto the prior stays there. Each function takes mean, deviation and the parameters that are given, and returns
the others, so that the distribution has about this mean and deviation.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy.special import gamma

Values = Mapping[str, Any]
_MOST = 1e3  # of a concentration: from there on more of it changes little, and nothing would be learned
_LEAST = 1e-2
_EULER = float(np.euler_gamma)


def student_scale(spread: Any, degrees: Any) -> Any:
    """Return the scale with which Student's t has a deviation; with few degrees of freedom at least half of it."""
    return spread * np.sqrt(np.maximum(1 - 2 / np.asarray(degrees, np.float64), 0.25))


def overdispersion(mean: Any, spread: Any) -> Any:
    """Return r of a negative binomial distribution with variance μ + μ²/r, from 0.01 to 1,000."""
    mean, variance = np.maximum(mean, 1e-6), np.square(spread)
    return np.clip(np.square(mean) / np.maximum(variance - mean, 1e-12), _LEAST, _MOST)


def logarithms(mean: Any, spread: Any) -> tuple[Any, Any]:
    """Return mean and deviation of log x, if x is log-normal."""
    mean = np.maximum(mean, 1e-30)
    variance = np.log1p(np.square(spread / mean))
    return np.log(mean) - variance / 2, np.sqrt(variance).clip(1e-3)


def _relative(mean: Any, spread: Any) -> Any:
    """Return the deviation as a share of a mean above 0."""
    return np.clip(spread / np.maximum(mean, 1e-30), 1 / np.sqrt(_MOST), 1 / np.sqrt(_LEAST))


def _normal(mean: Any, spread: Any, given: Values) -> Values:
    return {"loc": mean, "scale": spread}


def _laplace(mean: Any, spread: Any, given: Values) -> Values:
    return {"loc": mean, "scale": spread / np.sqrt(2)}


def _logistic(mean: Any, spread: Any, given: Values) -> Values:
    return {"loc": mean, "scale": spread * np.sqrt(3) / np.pi}


def _soft_laplace(mean: Any, spread: Any, given: Values) -> Values:
    return {"loc": mean, "scale": spread * 2 / np.pi}


def _gumbel(mean: Any, spread: Any, given: Values) -> Values:
    scale = np.asarray(given.get("scale", spread * np.sqrt(6) / np.pi))
    return {"loc": mean - _EULER * scale, "scale": scale}


def _student(mean: Any, spread: Any, given: Values) -> Values:
    degrees = np.asarray(given.get("df", np.full(np.shape(mean), 5.0)))
    return {"df": degrees, "loc": mean, "scale": student_scale(spread, degrees)}


def _log_normal(mean: Any, spread: Any, given: Values) -> Values:
    loc, scale = logarithms(mean, spread)
    return {"loc": loc, "scale": scale}


def _gamma(mean: Any, spread: Any, given: Values) -> Values:
    concentration = np.asarray(given.get("concentration", _relative(mean, spread) ** -2.0))
    return {"concentration": concentration, "rate": concentration / np.maximum(mean, 1e-30)}


def _inverse_gamma(mean: Any, spread: Any, given: Values) -> Values:
    concentration = np.asarray(given.get("concentration", _relative(mean, spread) ** -2.0 + 2))
    return {"concentration": concentration, "rate": mean * np.maximum(concentration - 1, 0.1)}


def _weibull(mean: Any, spread: Any, given: Values) -> Values:
    # Justus et al., "Methods for Estimating Wind Speed Frequency Distributions", 1978.
    shape = np.asarray(given.get("concentration", np.clip(_relative(mean, spread) ** -1.086, 0.1, 100.0)))
    return {"concentration": shape, "scale": mean / gamma(1 + 1 / np.maximum(shape, 0.1))}


def _of_mean(name: str, factor: float = 1.0, power: float = 1.0) -> Callable[[Any, Any, Values], Values]:
    return lambda mean, spread, given: {name: factor * np.maximum(mean, 1e-30) ** power}


def _half_normal(mean: Any, spread: Any, given: Values) -> Values:
    return {"scale": np.hypot(mean, spread)}


def _strength(mean: Any, spread: Any) -> tuple[Any, Any]:
    """Return mean and concentration of a beta distribution."""
    mean = np.clip(mean, 1e-3, 1 - 1e-3)
    return mean, np.clip(mean * (1 - mean) / np.maximum(np.square(spread), 1e-12) - 1, 0.1, _MOST)


def _beta(mean: Any, spread: Any, given: Values) -> Values:
    mean, total = _strength(mean, spread)
    if "concentration1" in given:
        total = np.asarray(given["concentration1"]) / mean
    elif "concentration0" in given:
        total = np.asarray(given["concentration0"]) / (1 - mean)
    return {"concentration1": mean * total, "concentration0": (1 - mean) * total}


def _beta_proportion(mean: Any, spread: Any, given: Values) -> Values:
    mean, total = _strength(mean, spread)
    return {"mean": mean, "concentration": total}


def _poisson(mean: Any, spread: Any, given: Values) -> Values:
    return {"rate": np.maximum(mean, _LEAST)}


def _negative_binomial(mean: Any, spread: Any, given: Values) -> Values:
    mean = np.maximum(mean, _LEAST)
    names = ("concentration", "total_count")
    r = np.asarray(next((given[name] for name in names if name in given), overdispersion(mean, spread)))
    return {
        "mean": mean, "concentration": r, "total_count": r, "rate": r / mean, "logits": np.log(mean / r),
        "probs": mean / (mean + r),
    }  # fmt: skip


def _geometric(mean: Any, spread: Any, given: Values) -> Values:
    mean = np.maximum(mean, _LEAST)
    return {"logits": -np.log(mean), "probs": 1 / (1 + mean)}


def _binomial(mean: Any, spread: Any, given: Values) -> Values:
    share = np.clip(mean / np.maximum(np.asarray(given.get("total_count", 1), np.float64), 1), 1e-3, 1 - 1e-3)
    return {"logits": np.log(share) - np.log1p(-share), "probs": share}


STARTS: dict[str, Callable[[Any, Any, Values], Values]] = {
    "Normal": _normal,
    "Cauchy": _laplace,
    "Laplace": _laplace,
    "AsymmetricLaplace": _laplace,
    "AsymmetricLaplaceQuantile": lambda mean, spread, given: {"loc": mean, "scale": spread / np.sqrt(8)},
    "Logistic": _logistic,
    "SoftLaplace": _soft_laplace,
    "Gumbel": _gumbel,
    "StudentT": _student,
    "LogNormal": _log_normal,
    "Gamma": _gamma,
    "InverseGamma": _inverse_gamma,
    "Weibull": _weibull,
    "Exponential": _of_mean("rate", power=-1.0),
    "HalfNormal": _half_normal,
    "HalfCauchy": _of_mean("scale"),
    "Chi2": _of_mean("df"),
    "Dagum": _of_mean("scale"),
    "Gompertz": _of_mean("rate", power=-1.0),
    "Beta": _beta,
    "BetaProportion": _beta_proportion,
    "Poisson": _poisson,
    "ZeroInflatedPoisson": _poisson,
    "HurdlePoisson": _poisson,
    "HurdleGamma": _gamma,
    "HurdleLogNormal": _log_normal,
    "NegativeBinomial2": _negative_binomial,
    "NegativeBinomialLogits": _negative_binomial,
    "NegativeBinomialProbs": _negative_binomial,
    "GammaPoisson": _negative_binomial,
    "GeometricLogits": _geometric,
    "GeometricProbs": _geometric,
    "BinomialLogits": _binomial,
    "BinomialProbs": _binomial,
    "BernoulliLogits": _binomial,
    "BernoulliProbs": _binomial,
}

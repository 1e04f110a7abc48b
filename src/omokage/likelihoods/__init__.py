"""Likelihood families p(x|z): frozen settings; see `omokage.density` for the two methods that each has.

Beside these a likelihood can have

    support       which values it is a density of (`omokage.supports`); `REAL` if it does not say: such data are
                  standardised unless told otherwise, all others are taken as they are
    view(event)   what networks see of x (`omokage.nets.views`), if not x itself: logarithms of counts, say

Its distribution has a batch shape of (B, *event) and no event shape, so that its log-density is one number for each
entry of x.
"""

from omokage.likelihoods.autoregressive import Autoregressive
from omokage.likelihoods.bernoulli import Bernoulli, ContinuousBernoulli
from omokage.likelihoods.by_column import ByColumn
from omokage.likelihoods.categories import Categories
from omokage.likelihoods.counts import Categorical, DiscretizedLogistic, NegativeBinomial, Poisson
from omokage.likelihoods.location_scale import Gaussian, Laplace, LogNormal, StudentT
from omokage.likelihoods.numpyro import NumPyro

__all__ = [
    "Autoregressive",
    "Bernoulli",
    "ByColumn",
    "Categorical",
    "Categories",
    "ContinuousBernoulli",
    "DiscretizedLogistic",
    "Gaussian",
    "Laplace",
    "LogNormal",
    "NegativeBinomial",
    "NumPyro",
    "Poisson",
    "StudentT",
]

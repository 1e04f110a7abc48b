"""Likelihood families p(x|z): frozen settings; see `omokage.density` for the two methods that each has.

Beside these a likelihood has `support`, which data it can be a density of: "real" (any number; such data are
standardised unless told otherwise), "unit" ([0, 1]), "binary" (0 and 1). Its distribution has a batch shape of
(B, *event) and no event shape, so that its log-density is one number for each entry of x.
"""

from omokage.likelihoods.bernoulli import Bernoulli, ContinuousBernoulli
from omokage.likelihoods.gaussian import Gaussian

__all__ = ["Bernoulli", "ContinuousBernoulli", "Gaussian"]

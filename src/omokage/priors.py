"""Prior families p(z): frozen settings; see `omokage.density` for the two methods that each has."""

from dataclasses import dataclass

import numpyro.distributions as dist
from jax import Array

from omokage.batch import Event
from omokage.density import Fixed, Parameters


@dataclass(frozen=True)
class StandardNormal:
    """p(z) = N(z; 0, I)."""

    def parameters(self, event: Event) -> Parameters:
        """Return the mean and the deviation, which stay."""
        return {"mean": Fixed([0.0] * event.size), "scale": Fixed([1.0] * event.size)}

    def distribution(self, mean: Array, scale: Array) -> dist.Distribution:
        """Return a distribution of event shape (L,)."""
        return dist.Normal(mean, scale).to_event(1)

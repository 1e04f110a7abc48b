"""The Gaussian likelihood, with a scale that is given, or learned and kept above a floor."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax import Array

from omokage.batch import Event
from omokage.density import Fixed, Learned, Output, Parameters
from omokage.errors import ParameterError, suggest

_SCALES = ("unit", "shared", "feature", "full")


@dataclass(frozen=True)
class Gaussian:
    """p(x|z) = N(x; μ(z), σ²) for each feature.

    A learned scale is `floor + exp(log_scale)`, so it never reaches zero, where the density of a constant column
    or of a perfect reconstruction would be infinite; a variance without a floor is what makes Gaussian decoders
    diverge (Mattei and Frellsen, "Leveraging the Exact Likelihood of Deep Latent Variable Models", 2018).

    Attributes:
        scale: σ. A number is in raw units and stays; "unit" is one standardised unit and stays; "shared" learns one
            number, "feature" one for each feature, "full" a second output of the decoder, for each row and feature.
        floor: The least learned σ, in standardised units.

    Raises:
        ParameterError: If a value is not one of these.

    Example:
        >>> Gaussian(scale="shared")
        Gaussian(scale='shared', floor=0.001)
    """

    scale: float | Literal["unit", "shared", "feature", "full"] = "feature"
    floor: float = 1e-3
    support: ClassVar[str] = "real"

    def __post_init__(self) -> None:
        """Check the settings, which are used long after."""
        if isinstance(self.scale, str):
            if self.scale not in _SCALES:
                raise ParameterError(
                    f"Gaussian(scale={self.scale!r}): expected a number above 0 or one of {', '.join(_SCALES)}."
                    + suggest(self.scale, _SCALES)
                )
        elif isinstance(self.scale, bool) or not 0 < self.scale < np.inf:
            raise ParameterError(f"Gaussian(scale={self.scale!r}): expected a number above 0, in raw units.")
        if not 0 < self.floor < np.inf:
            raise ParameterError(f"Gaussian(floor={self.floor!r}): expected a number above 0, in standardised units.")

    def parameters(self, event: Event) -> Parameters:
        """Return a mean for each feature, and the scale or its logarithm."""
        mean = Output(event.shape)
        # A scale that starts far above the data's own spread makes z useless at first, and a posterior that has
        # once collapsed onto the prior stays there.
        spread = np.log(np.maximum(event.spread, self.floor))
        if self.scale == "full":
            return {"mean": mean, "log_scale": Output(event.shape, spread)}
        if self.scale == "feature":
            return {"mean": mean, "log_scale": Learned(spread)}
        if self.scale == "shared":
            return {"mean": mean, "log_scale": Learned(np.log(max(np.sqrt(np.mean(event.spread**2)), self.floor)))}
        scale = np.ones(event.shape) if self.scale == "unit" else float(self.scale) / event.unit
        return {"mean": mean, "scale": Fixed(scale)}

    def distribution(
        self, mean: Array, log_scale: Array | None = None, scale: Array | None = None
    ) -> dist.Distribution:
        """Return a distribution of batch shape (B, *event)."""
        if log_scale is not None:
            scale = self.floor + jnp.exp(jnp.minimum(log_scale, 40.0))  # exp(40)² is within float32
        return dist.Normal(mean, scale)

"""Likelihoods with a middle and a width for each entry: Gaussian, Laplace, Student-t, and the log-normal.

The width is given, or learned and kept above a floor, in the same way for all of them.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax import Array

from omokage import distributions as own
from omokage.batch import Event
from omokage.density import Fixed, Learned, Output, Parameters
from omokage.errors import ParameterError, is_number, shown, suggest
from omokage.likelihoods.moments import logarithms, student_scale
from omokage.nets.views import View
from omokage.supports import POSITIVE, REAL, Support

Scale = float | Literal["unit", "shared", "feature", "full"]
_SCALES = ("unit", "shared", "feature", "full")
_LEAST, _MOST = 1e-18, 1e18  # whose squares float32 holds


@dataclass(frozen=True)
class LocationScale:
    """What the families of this file share: a location for each entry, and the scale.

    A learned scale is `floor + exp(log_scale)`, so it never reaches zero, where the density of a constant column
    or of a perfect reconstruction would be infinite; a variance without a floor is what makes Gaussian decoders
    diverge (Mattei and Frellsen, "Leveraging the Exact Likelihood of Deep Latent Variable Models", 2018).

    Attributes:
        scale: A number is in raw units and stays; "unit" is one standardised unit and stays; "shared" learns one
            number, "feature" one for each feature, "full" a second output of the decoder, for each row and feature.
        floor: The least learned scale, in standardised units.

    Raises:
        ParameterError: If a value is not one of these.
    """

    scale: Scale = "feature"
    floor: float = 1e-3
    support: ClassVar[Support] = REAL

    def __post_init__(self) -> None:
        """Check the settings, which are used long after."""
        kind = type(self).__name__
        if isinstance(self.scale, str):
            if self.scale not in _SCALES:
                raise ParameterError(
                    f"{kind}(scale={self.scale!r}): expected a number above 0 or one of {', '.join(_SCALES)}."
                    + suggest(self.scale, _SCALES)
                )
        elif not is_number(self.scale, _LEAST, _MOST):
            raise ParameterError(
                f"{kind}(scale={shown(self.scale)}): expected a number from {_LEAST:g} to {_MOST:g}, in raw units. "
                f"Or take one of {', '.join(_SCALES)}."
            )
        if not is_number(self.floor, _LEAST, _MOST):
            raise ParameterError(
                f"{kind}(floor={shown(self.floor)}): expected a number from {_LEAST:g} to {_MOST:g}, in "
                "standardised units."
            )

    def parameters(self, event: Event) -> Parameters:
        """Return a location for each feature, and the scale or its logarithm."""
        mean = Output(event.shape)
        # A scale that starts far above the data's own spread makes z useless at first, and a posterior that has
        # once collapsed onto the prior stays there.
        scales = self._scale_of(event.spread)
        start = np.log(np.maximum(scales, self.floor))
        if self.scale == "full":
            return {"mean": mean, "log_scale": Output(event.shape, start)}
        if self.scale == "feature":
            return {"mean": mean, "log_scale": Learned(start)}
        if self.scale == "shared":
            return {"mean": mean, "log_scale": Learned(np.log(max(np.sqrt(np.mean(scales**2)), self.floor)))}
        scale = np.ones(event.shape) if self.scale == "unit" else float(self.scale) / event.unit
        return {"mean": mean, "scale": Fixed(scale)}

    def distribution(
        self, mean: Array, log_scale: Array | None = None, scale: Array | None = None
    ) -> dist.Distribution:
        """Return a distribution of batch shape (B, *event)."""
        if log_scale is not None:
            scale = self.floor + jnp.exp(jnp.minimum(log_scale, 40.0))  # exp(40)² is within float32
        assert scale is not None  # one of the two is a parameter
        return self._around(mean, scale)

    def saturated(self, x: Array, **parameters: Array) -> dict[str, Array]:
        """Return the parameters with the location that explains x best."""
        return {**parameters, "mean": x}

    def _around(self, mean: Array, scale: Array) -> dist.Distribution:
        raise NotImplementedError

    def _scale_of(self, spread: Any) -> Any:
        """Return the scale with which the distribution has such a standard deviation."""
        return spread


@dataclass(frozen=True)
class Gaussian(LocationScale):
    """p(x|z) = N(x; μ(z), σ²) for each feature; `scale` is σ. See `LocationScale`.

    Example:
        >>> Gaussian(scale="shared")
        Gaussian(scale='shared', floor=0.001)
    """

    def _around(self, mean: Array, scale: Array) -> dist.Distribution:
        return dist.Normal(mean, scale)


@dataclass(frozen=True)
class Laplace(LocationScale):
    """p(x|z) = exp(-|x - μ(z)| / b) / 2b for each feature; `scale` is b. See `LocationScale`.

    With a fixed scale it is the absolute error, which single large errors move less than the squared one.
    """

    def _around(self, mean: Array, scale: Array) -> dist.Distribution:
        return dist.Laplace(mean, scale)

    def _scale_of(self, spread: Any) -> Any:
        return spread / np.sqrt(2)


@dataclass(frozen=True)
class StudentT(LocationScale):
    """p(x|z): Student's t around μ(z), with the tails of outliers. See `LocationScale`.

    Source: Takahashi et al., "Student-t Variational Autoencoder for Robust Density Estimation", 2018.

    Attributes:
        degrees: Degrees of freedom; above 2, so that there is a variance.
    """

    degrees: float = 5.0

    def __post_init__(self) -> None:
        """Check the settings, which are used long after."""
        super().__post_init__()
        if not is_number(self.degrees) or self.degrees <= 2:
            raise ParameterError(f"StudentT(degrees={shown(self.degrees)}): expected a number above 2.")

    def _around(self, mean: Array, scale: Array) -> dist.Distribution:
        return own.StudentT(min(float(self.degrees), 1e12), mean, scale)  # from there on it is the normal in float32

    def _scale_of(self, spread: Any) -> Any:
        return student_scale(spread, self.degrees)


@dataclass(frozen=True)
class LogNormal(LocationScale):
    """p(x|z): log x is N(μ(z), σ²), for amounts above 0 that vary by factors. See `LocationScale`.

    `scale` is σ, in the units of log x. Networks see standardised logarithms.
    """

    support: ClassVar[Support] = POSITIVE

    def parameters(self, event: Event) -> Parameters:
        """Return a location for each feature, in units of log x, and the scale or its logarithm."""
        logs = _logarithms(event)
        found = dict(super().parameters(logs))
        return {**found, "mean": Output(event.shape, logs.centre)}

    def view(self, event: Event) -> View:
        """Return what networks see of x."""
        logs = _logarithms(event)
        return View("log", logs.centre, logs.spread)

    def saturated(self, x: Array, **parameters: Array) -> dict[str, Array]:
        """Return the parameters with the location that explains x best at the width that there is."""
        return {**parameters, "mean": jnp.log(x)}

    def _around(self, mean: Array, scale: Array) -> dist.Distribution:
        return dist.LogNormal(jnp.clip(mean, -80.0, 80.0), scale)


def _logarithms(event: Event) -> Event:
    """Return what log x is like if x is log-normal."""
    centre, spread = logarithms(event.centre, event.spread)
    return Event(event.shape, np.ones(event.shape), spread, centre)

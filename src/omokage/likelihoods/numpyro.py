"""Likelihoods made of NumPyro's distributions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jax import Array

from omokage.adapter import NumPyroFamily
from omokage.batch import Event
from omokage.errors import ParameterError
from omokage.likelihoods.moments import STARTS
from omokage.nets.views import View

_TOP_AT_LOCATION = ("Normal", "Laplace", "StudentT", "Logistic", "Cauchy", "Gumbel")


@dataclass(frozen=True)
class NumPyro(NumPyroFamily):
    """Any distribution of NumPyro over single numbers as p(x|z) of each entry; see `NumPyroFamily`.

    The decoder gives all of its parameters, but those that are `given`, or `learned` as one value for each feature.
    Real data are standardised unless told otherwise, and then `given` numbers are in standardised units.

    Example:
        >>> NumPyro("Gumbel", learned="scale")
        NumPyro(name='Gumbel', given=(), learned=('scale',))
    """

    def __post_init__(self) -> None:
        """Check the settings."""
        super().__post_init__()
        if self.event_dim:
            raise ParameterError(
                f"NumPyro({self.name!r}): a distribution of whole vectors has no density for each entry, which scores "
                "need. Take one of single numbers."
            )
        if {*self._given, *self.learned}.issuperset(self._wanted):
            raise ParameterError(
                f"NumPyro({self.name!r}): every parameter is given or learned, so nothing depends on z. Leave one to "
                "the decoder: give fewer of them, or pass the class in the place of an instance."
            )

    def first_values(self, event: Event) -> Mapping[str, Any]:
        """Return parameters with which each entry has about the mean and the deviation that it has in the data."""
        return STARTS[self.name](event.centre, event.spread, self._given) if self.name in STARTS else {}

    def view(self, event: Event) -> View | None:
        """Return what networks see of x: standardised numbers, as which real data come already."""
        if self.support.everything:
            return None
        return View("identity", event.centre, np.maximum(event.spread, 1e-30))

    def saturated(self, x: Array, **parameters: Array) -> dict[str, Array]:
        """Return the parameters with the location at x, where the distribution has one, and its top there.

        Raises:
            ParameterError: If it has none.
        """
        if self.name not in _TOP_AT_LOCATION:
            raise ParameterError(
                f"likelihood: it is not known which parameters of {self.name} explain an entry best, so scores by "
                "deviance ('mahalanobis', 'normaliser') have no meaning. Take score='elbo', or a subclass of "
                "NumPyro with a method `saturated(x, **parameters)`."
            )
        return {**parameters, "loc": x}

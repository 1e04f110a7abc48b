"""Names and settings to objects: the only place that knows which name means which class."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omokage import likelihoods, objectives, posteriors, priors
from omokage.batch import Event
from omokage.data.kinds import KINDS, AnyTable, name_of
from omokage.data.schema import Moments, Standardization, column_kinds
from omokage.density import Density
from omokage.errors import DataError, ParameterError, listing, suggest
from omokage.model import Model
from omokage.nets.convolution import Convolution
from omokage.nets.layers import INITIALIZERS, Making
from omokage.nets.mlp import Dense
from omokage.nets.recurrent import Recurrent
from omokage.nets.temporal import TemporalConvolution
from omokage.optimizers import SCHEDULES, optimizer
from omokage.training import Plan

_LIKELIHOODS: dict[str, Any] = {
    "gaussian": likelihoods.Gaussian,
    "bernoulli": likelihoods.Bernoulli,
    "continuous_bernoulli": likelihoods.ContinuousBernoulli,
}
_PRIORS: dict[str, Any] = {
    "normal": priors.StandardNormal,
    "full_normal": priors.FullNormal,
    "mixture": priors.Mixture,
}
_POSTERIORS: dict[str, Any] = {"diagonal": posteriors.DiagonalNormal, "point": posteriors.PointMass}
_OBJECTIVES: dict[str, Any] = {
    "elbo": objectives.ELBO,
    "reconstruction": objectives.Reconstruction,
    "denoising": objectives.Denoising,
    "moment_matching": objectives.MomentMatching,
}
_NETWORKS: dict[str, Any] = {"mlp": Dense, "conv": Convolution, "gru": Recurrent, "tcn": TemporalConvolution}
_LEAST_EPOCHS, _MOST_EPOCHS, _STEPS = 30, 1000, 2000
_PATIENCE = 10


@dataclass(frozen=True)
class Recipe:
    """What a model is made of, with every "auto" decided."""

    likelihood: Any
    posterior: Any
    prior: Any
    objective: Any
    standardize: Standardization
    network: Any

    @property
    def bounded(self) -> bool:
        """Whether the likelihood is one of values in [0, 1] only."""
        return getattr(self.likelihood, "support", "real") != "real"


# What cannot change when a fitted model is trained further.
STRUCTURE = (
    "latent_dim", "hidden", "network", "activation", "normalization", "likelihood", "posterior", "prior", "standardize",
)  # fmt: skip


def decide(parameters: Mapping[str, Any], table: AnyTable, name: Callable[[int], Any]) -> Recipe:
    """Return the objects that the parameters name, with "auto" decided by the data.

    Args:
        parameters: Checked parameters of an estimator; one without "posterior" is a plain autoencoder.
        table: The training rows.
        name: From the number of a column to what messages call it.

    Raises:
        ParameterError: If an object is not of the kind that its parameter takes, or parts make no sense together.
        DataError: If the data are outside of what the likelihood can be a density of.
    """
    plain = "posterior" not in parameters
    kinds = set(column_kinds(table.moments))
    unit = "real" not in kinds
    alike = table.alike or (unit and _fills_the_unit_interval(table.moments))
    likelihood = parameters["likelihood"]
    if likelihood == "auto":
        if kinds == {"binary"}:
            likelihood = likelihoods.Bernoulli()
        elif plain:
            likelihood = likelihoods.Gaussian(scale="unit")
        else:
            likelihood = likelihoods.Gaussian(scale="shared" if alike else "feature")
    elif likelihood == "gaussian" and plain:
        likelihood = likelihoods.Gaussian(scale="unit")
    likelihood = _made("likelihood", likelihood, _LIKELIHOODS, ("parameters", "distribution"))
    bounded = getattr(likelihood, "support", "real") != "real"
    standardize = parameters["standardize"]
    if standardize == "auto":
        standardize = False if bounded else "center" if alike and unit else "scale"
    elif standardize is True:
        standardize = "scale"
    recipe = Recipe(
        likelihood,
        _made("posterior", parameters.get("posterior", "point"), _POSTERIORS, ("parameters", "distribution")),
        _made("prior", parameters.get("prior", "normal"), _PRIORS, ("parameters", "distribution")),
        objective(parameters),
        standardize,
        _network(parameters, name_of(table)),
    )
    check_support(recipe, table.moments, name)
    if isinstance(recipe.posterior, posteriors.PointMass) and isinstance(recipe.objective, objectives.ELBO):
        remedy = "" if plain else ", or posterior='diagonal'"
        raise ParameterError(
            "objective: the ELBO needs a posterior with a density, and a point mass has none. "
            f"Take objective='reconstruction'{remedy}."
        )
    return recipe


def _network(parameters: Mapping[str, Any], kind: str) -> Any:
    """Return the kind of network."""
    chosen = parameters["network"]
    if chosen == "auto":
        chosen = {"vectors": "mlp", "images": "conv", "sequences": "gru"}[kind]
    network = _made("network", chosen, _NETWORKS, ("encoder", "decoder"))
    if kind not in network.kinds:
        fitting = [name for name, family in _NETWORKS.items() if kind in family.kinds]
        raise ParameterError(
            f"network={parameters['network']!r}: takes {' or '.join(network.kinds)}, and X is {kind}. "
            f"Expected one of {', '.join(map(repr, fitting))}."
        )
    return network


def widths(parameters: Mapping[str, Any], recipe: Recipe) -> tuple[int, ...]:
    """Return the widths of the hidden layers."""
    hidden = parameters["hidden"]
    return tuple(recipe.network.default_hidden if isinstance(hidden, str) and hidden == "auto" else hidden)


def objective(parameters: Mapping[str, Any]) -> Any:
    """Return the objective that the parameters name; denoising a VAE keeps its KL."""
    chosen = parameters["objective"]
    if chosen == "denoising" and "posterior" in parameters:
        return objectives.Denoising(objective=objectives.ELBO())
    return _made("objective", chosen, _OBJECTIVES, ("__call__",))


def from_table(parameter: str, table: Mapping[str, Any]) -> Any:
    """Return the object that a table of a configuration file describes: its "name", and its settings.

    Example:
        >>> from_table("objective", {"name": "elbo", "beta": 4.0}).beta
        4.0

    Raises:
        ParameterError: If the parameter takes no object, or the object no such setting.
    """
    kinds = {
        "data": KINDS,
        "network": _NETWORKS,
        "likelihood": _LIKELIHOODS,
        "posterior": _POSTERIORS,
        "prior": _PRIORS,
        "objective": _OBJECTIVES,
    }
    if parameter not in kinds:
        raise ParameterError(f"{parameter}: expected a value, not a table.")
    names, settings = kinds[parameter], {key: value for key, value in table.items() if key != "name"}
    if table.get("name") not in names:
        raise ParameterError(
            f"{parameter}: expected name = one of {', '.join(map(repr, names))}; got {table.get('name')!r}."
            + suggest(str(table.get("name")), names)
        )
    settings = {key: from_table(key, value) if isinstance(value, dict) else value for key, value in settings.items()}
    try:
        return names[table["name"]](**settings)
    except TypeError:
        known = [field.name for field in fields(names[table["name"]])]
        unknown = [key for key in settings if key not in known]
        raise ParameterError(
            f"{parameter}: {table['name']} has no setting {listing(unknown)}; it has {listing(known, 10) or 'none'}."
        ) from None


def model(parameters: Mapping[str, Any], recipe: Recipe, event: Event, random: np.random.Generator | None) -> Model:
    """Return a model with first weights; without `random` they are blank, to be loaded."""
    initializer = parameters["initializer"]
    if isinstance(initializer, str):
        initializer = INITIALIZERS["lecun_uniform" if initializer == "auto" else initializer]
    latent = Event.plain(parameters["latent_dim"])

    def make(name: str) -> Making:
        activation, normalization = parameters["activation"], parameters["normalization"]
        return Making(random, activation, normalization, parameters["dropout"], initializer, name)

    hidden = widths(parameters, recipe)
    encoder = recipe.network.encoder(event, hidden, make("posterior"))
    decoder = recipe.network.decoder(latent.size, event, hidden, make("likelihood"))
    heads: Any = {"initializer": initializer, "random": random}
    return Model(
        posterior=Density(recipe.posterior, latent, encoder, **heads),
        likelihood=Density(recipe.likelihood, event, decoder, **heads),
        prior=Density(recipe.prior, latent, None, **heads),
    )


def latent_density(chosen: Any, codes: NDArray[Any], seed: int) -> Density:
    """Return a prior fitted to codes, (n, L).

    Raises:
        ParameterError: If it is not a prior that can be fitted.
    """
    fitting = {name: family for name, family in _PRIORS.items() if hasattr(family, "fit")}
    if isinstance(chosen, str) and chosen not in fitting:
        raise ParameterError(
            f"density: expected one of {', '.join(map(repr, fitting))}, or a prior with `fit`; got {chosen!r}."
            + suggest(chosen, fitting)
        )
    family = _made("density", chosen, fitting, ("parameters", "distribution", "fit"))
    event, initializer = Event.plain(codes.shape[1]), INITIALIZERS["lecun_uniform"]
    blank = Density(priors.Fitted(family), event, None, initializer=initializer, random=None)
    return blank.fitted(family.fit(codes, seed))


def plan(parameters: Mapping[str, Any], rows: int, seed: int) -> Plan:
    """Return how to train on so many rows."""
    batch_size = min(parameters["batch_size"], rows)
    epochs = parameters["epochs"]
    if epochs == "auto":
        epochs = int(np.clip(-(-_STEPS // -(-rows // batch_size)), _LEAST_EPOCHS, _MOST_EPOCHS))
    rule, schedule = parameters["optimizer"], parameters["schedule"]
    named = isinstance(rule, str)
    early = parameters["early_stopping"]
    return Plan(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=parameters["learning_rate"] if named else None,
        optimizer=optimizer(rule, parameters["gradient_clip"], parameters["weight_decay"]) if named else rule,
        schedule=(SCHEDULES[schedule] if isinstance(schedule, str) else schedule) if named else SCHEDULES["constant"],
        patience=None if early is False else _PATIENCE if early is True else early,
        seed=seed,
    )


def _made(parameter: str, value: Any, classes: Mapping[str, Any], needs: tuple[str, ...]) -> Any:
    """Return the object that a name means, or the object itself if it has what is needed."""
    if isinstance(value, str):
        return classes[value]()
    if isinstance(value, type) or any(not hasattr(value, name) for name in needs):
        hint = f" Did you mean {value.__name__}()?" if isinstance(value, type) else ""
        raise ParameterError(
            f"{parameter}: expected one of {', '.join(map(repr, classes))} or an object with {' and '.join(needs)}; "
            f"got {value!r}.{hint}"
        )
    return value


def _fills_the_unit_interval(moments: Moments) -> bool:
    """Say whether columns in [0, 1] share a scale, as grey levels do and rates or shares may not."""
    varying = moments.high > moments.low
    return bool(np.median(moments.high[varying] - moments.low[varying]) >= 0.5) if varying.any() else True


def check_support(recipe: Recipe, moments: Moments, name: Callable[[int], Any]) -> None:
    """Check that the likelihood can be a density of such data.

    Raises:
        ParameterError: If data that must stay as they are would be standardised.
        DataError: If there are values outside of [0, 1] where these are needed.
    """
    if not recipe.bounded:
        return
    kind = type(recipe.likelihood).__name__
    if recipe.standardize is not False:
        raise ParameterError(
            f"standardize={recipe.standardize!r}: {kind} is a density on [0, 1] and takes the data as they are. "
            "Leave standardize='auto', or choose likelihood='gaussian'."
        )
    outside = np.flatnonzero((moments.low < 0) | (moments.high > 1))
    if outside.size:
        first = outside[0]
        raise DataError(
            f"X: {kind} needs values from 0 to 1; columns {listing(name(int(j)) for j in outside)} have others (from "
            f"{moments.low[first]:.6g} to {moments.high[first]:.6g} in the first). Divide by the largest value, or "
            "choose likelihood='gaussian'."
        )

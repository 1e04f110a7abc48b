"""Names and tables to objects: the only place that knows which name means which class.

A name, a table of a configuration file and a table in Python (a dict with "name" and settings) go one way: the name x
is the table {"name": x}. What a setting is by default may depend on the kind of model; that is here as well.
"""

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from omokage import likelihoods, objectives, posteriors, priors
from omokage.adapter import from_numpyro
from omokage.data.kinds import KINDS
from omokage.errors import ParameterError, listing, suggest
from omokage.nets.convolution import Convolution
from omokage.nets.mlp import Dense
from omokage.nets.recurrent import Recurrent
from omokage.nets.temporal import TemporalConvolution

LIKELIHOODS: dict[str, Any] = {
    "gaussian": likelihoods.Gaussian,
    "bernoulli": likelihoods.Bernoulli,
    "continuous_bernoulli": likelihoods.ContinuousBernoulli,
    "laplace": likelihoods.Laplace,
    "student_t": likelihoods.StudentT,
    "log_normal": likelihoods.LogNormal,
    "poisson": likelihoods.Poisson,
    "negative_binomial": likelihoods.NegativeBinomial,
    "categorical": likelihoods.Categorical,
    "discretized_logistic": likelihoods.DiscretizedLogistic,
    "by_column": likelihoods.ByColumn,
    "autoregressive": likelihoods.Autoregressive,
}
PRIORS: dict[str, Any] = {
    "normal": priors.StandardNormal,
    "full_normal": priors.FullNormal,
    "mixture": priors.Mixture,
    "vamp": priors.Vamp,
    "flow": priors.Flow,
    "flow_matching": priors.FlowMatching,
    "two_layer": priors.TwoLayer,
}
POSTERIORS: dict[str, Any] = {
    "diagonal": posteriors.DiagonalNormal,
    "full_normal": posteriors.FullNormal,
    "flow": posteriors.Flow,
    "point": posteriors.PointMass,
}
OBJECTIVES: dict[str, Any] = {
    "elbo": objectives.ELBO,
    "iwae": objectives.IWAE,
    "dreg": objectives.DReG,
    "stl": objectives.STL,
    "miwae": objectives.MIWAE,
    "piwae": objectives.PIWAE,
    "ciwae": objectives.CIWAE,
    "wae": objectives.WAE,
    "infovae": objectives.InfoVAE,
    "tcvae": objectives.TCVAE,
    "dipvae": objectives.DIPVAE,
    "rae": objectives.RAE,
    "reconstruction": objectives.Reconstruction,
    "denoising": objectives.Denoising,
    "moment_matching": objectives.MomentMatching,
}
NETWORKS: dict[str, Any] = {"mlp": Dense, "conv": Convolution, "gru": Recurrent, "tcn": TemporalConvolution}
_CLASSES: dict[str, dict[str, Any]] = {
    "data": KINDS,
    "network": NETWORKS,
    "likelihood": LIKELIHOODS,
    "posterior": POSTERIORS,
    "prior": PRIORS,
    "objective": OBJECTIVES,
}
_LISTS = {"families": "likelihood"}  # settings that are lists, and what each of them holds
# What other defaults a plain autoencoder has: its loss is the squared error.
_OF_AUTOENCODERS: dict[tuple[str, str], dict[str, Any]] = {("likelihood", "gaussian"): {"scale": "unit"}}
_NUMPYRO: dict[str, Any] = {
    "likelihood": likelihoods.NumPyro,
    "posterior": posteriors.NumPyro,
    "prior": posteriors.NumPyro,
}


def objects(parameters: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return parameters with objects in the place of tables and of NumPyro's distributions; names stay names.

    Args:
        parameters: Of an estimator; one without "posterior" is a plain autoencoder.

    Returns:
        The parameters, and what is wrong with those that cannot be objects, by name.
    """
    plain = "posterior" not in parameters
    given, problems = dict(parameters), {}
    for name, value in parameters.items():
        try:
            if isinstance(value, Mapping):
                given[name] = from_table(name, value, plain)
            elif name in _NUMPYRO:
                given[name] = from_numpyro(value, _NUMPYRO[name])
            if name == "prior":
                _check_trains(given[name])
        except ParameterError as error:
            problems[name] = str(error).removeprefix(f"{name}: ")
        except Exception as error:  # whatever NumPyro's classes raise
            reason = " ".join(str(error).split())[:120]
            problems[name] = f"expected a name, a family or a distribution; {value!r} cannot be one ({reason})"
    return given, problems


def _check_trains(prior: Any) -> None:
    """Check that a model can be trained with a prior, which may be a name.

    Raises:
        ParameterError: If it can only be fitted to codes.
    """
    family = PRIORS.get(prior) if isinstance(prior, str) else prior
    if getattr(family, "after_training", False):
        raise ParameterError(
            f"prior: expected a prior to train with; got {prior!r}, whose density takes a differential equation, too "
            f"slow for each step. Train with another, such as 'normal', and then call fit_density(X, {prior!r})."
        )


def named(parameter: str, value: Any, plain: bool = False) -> Any:
    """Return the object that a name means; an object comes back as it is."""
    return from_table(parameter, {"name": value}, plain) if isinstance(value, str) else value


def from_table(parameter: str, table: Mapping[str, Any], plain: bool = False) -> Any:
    """Return the object that a table of a configuration file describes: its "name", and its settings.

    Args:
        parameter: What the object is for, such as "objective".
        table: The table; objects within it are tables or names in their turn.
        plain: Whether it is for a plain autoencoder, some of whose defaults are others.

    Example:
        >>> from_table("objective", {"name": "elbo", "beta": 4.0}).beta
        4.0

    Raises:
        ParameterError: If the parameter takes no object, or the object no such setting or value.
    """
    if parameter not in _CLASSES:
        raise ParameterError(f"{parameter}: expected a value, not a table; got {dict(table)!r}.")
    classes, name = _CLASSES[parameter], table.get("name")
    if not isinstance(name, str) or name not in classes:
        raise ParameterError(
            f"{parameter}: expected name = one of {', '.join(map(repr, classes))}; got {name!r}."
            + suggest(str(name), classes)
        )
    settings = dict(_OF_AUTOENCODERS.get((parameter, name), {})) if plain else {}
    settings |= {str(key): _setting(str(key), value, plain) for key, value in table.items() if key != "name"}
    known = fields(classes[name])
    names = [field.name for field in known]
    if unknown := [key for key in settings if key not in names]:
        raise ParameterError(
            f"{parameter}: {name} has no setting {listing(unknown)}; it has {listing(names, 10) or 'none'}."
        )
    required = [field.name for field in known if field.default is MISSING and field.default_factory is MISSING]
    if missing := [key for key in required if key not in settings]:
        raise ParameterError(
            f"{parameter}: expected {listing(missing)} as well, which {name} needs; got {dict(table)}."
        )
    return classes[name](**settings)


def _setting(name: str, value: Any, plain: bool) -> Any:
    """Return what a setting within a table means."""
    if isinstance(value, Mapping) and name in _CLASSES:
        return from_table(name, value, plain)
    if isinstance(value, str) and name in _CLASSES:
        return named(name, value, plain)
    if isinstance(value, list | tuple):
        return tuple(_setting(_LISTS.get(name, ""), entry, plain) for entry in value)
    return value

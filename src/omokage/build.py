"""Settings and data to models: every "auto" decided, what does not go together refused, first weights made."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import equinox as eqx
import jax
import numpy as np
import optax

from omokage import likelihoods, memory, objectives, posteriors, priors
from omokage.adapter import from_numpyro
from omokage.batch import Batch, Event
from omokage.data.columns import Moments, Standardization, column_kinds
from omokage.data.kinds import Kind, Rows, Schema
from omokage.density import Density, Output
from omokage.errors import DataError, ParameterError, listing, suggest
from omokage.model import Centre, Model
from omokage.names import LIKELIHOODS, NETWORKS, OBJECTIVES, POSTERIORS, PRIORS, named
from omokage.names import from_table as from_table
from omokage.nets.layers import INITIALIZERS, MOST_LAYERS, Making, trainable
from omokage.nets.mlp import MLP
from omokage.nets.views import Bounds, View
from omokage.optimizers import SCHEDULES, clipped, optimizer
from omokage.rehearsal import check_step
from omokage.supports import UNIT, Support, support_of
from omokage.training import Plan

_FAMILY = ("parameters", "distribution")  # what every family of densities has
_LEAST_EPOCHS, _MOST_EPOCHS, _STEPS = 30, 1000, 2000
_PATIENCE = 10
_SMALL = 100  # a model of less than such a part of the memory is made before a step is traced
_LEARNING_RATE, _WEIGHT_DECAY = 1e-3, 1e-4  # of named optimizers, where they are "auto"


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
    def support(self) -> Support:
        """Which values the likelihood is a density of."""
        return support_of(self.likelihood)


# What cannot change when a fitted model is trained further.
STRUCTURE = (
    "latent_dim", "hidden", "network", "activation", "normalization", "likelihood", "posterior", "prior", "standardize",
)  # fmt: skip


def decide(parameters: Mapping[str, Any], table: Rows, name: Callable[[int], Any]) -> Recipe:
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
    _check_widths(parameters)
    kinds = set(column_kinds(table.moments))
    unit = "real" not in kinds
    shared = table.moments.common_range(table.alike)
    alike = table.alike or shared is not None
    likelihood = asked = parameters["likelihood"]
    chosen = objective(parameters)
    if named_columns := isinstance(asked, likelihoods.ByColumn) and asked.by_name:
        likelihood = "auto"
    if likelihood == "auto":
        if kinds == {"binary"} or _binarizes(chosen):
            likelihood = likelihoods.Bernoulli()
        elif plain:
            likelihood = likelihoods.Gaussian(scale="unit")
        else:
            likelihood = likelihoods.Gaussian(scale="shared" if alike else "feature")
    likelihood = _of_columns(_made("likelihood", likelihood, LIKELIHOODS, _FAMILY, plain), table)
    if named_columns:
        likelihood = _placed(asked, likelihood, table)
    if hasattr(likelihood, "check_entries"):  # before its support, which has as many entries as it was given
        likelihood.check_entries(table.schema(False).event.shape)
    standardize = parameters["standardize"]
    support, auto = support_of(likelihood), standardize == "auto"
    if support.parts and not isinstance(standardize, tuple):  # columns have likelihoods of their own
        way = "scale" if auto or standardize is True else standardize
        standardize = tuple(way if part.everything else False for part in support.parts)
    elif auto:
        standardize = "center" if alike and unit else "scale" if shared is None else "range"
        standardize = standardize if support.everything else False
    elif standardize is True:
        standardize = "scale"
    recipe = Recipe(
        likelihood,
        _made("posterior", parameters.get("posterior", "point"), POSTERIORS, _FAMILY),
        _made("prior", parameters.get("prior", "normal"), PRIORS, _FAMILY),
        chosen,
        standardize,
        _network(parameters, table.kind),
    )
    check_support(recipe, table.moments, name)
    check_latent(recipe, parameters["latent_dim"])
    check_objective(recipe, plain)
    return recipe


def _of_columns(likelihood: Any, table: Rows) -> Any:
    """Return the likelihood of rows some of whose columns are categories: it is that of the other columns."""
    if hasattr(likelihood, "of_cells"):
        if table.kind.form != "vectors":
            raise ParameterError(
                f"likelihood: {type(likelihood).__name__} is for vectors and tables; X is {table.kind.name}."
            )
        return likelihood.of_cells(getattr(table, "cells", [(None,)] * len(table.moments.mean)))
    classes: Any = getattr(table, "classes", None)  # which rows of a kind of one's own need not have
    if classes is None or not any(classes) or isinstance(likelihood, likelihoods.ByColumn):
        return likelihood
    return likelihoods.ByColumn([likelihoods.Categories((count,)) if count else likelihood for count in classes])


def _placed(asked: likelihoods.ByColumn, automatic: Any, table: Rows) -> likelihoods.ByColumn:
    """Return families that came by the names of some columns in the order of all, the others as "auto" has them."""
    width = table.schema(False).event.shape[-1]
    names = table.names or tuple(map(str, range(width)))
    classes = getattr(table, "classes", None) or (None,) * width
    each = tuple(automatic.families) if isinstance(automatic, likelihoods.ByColumn) else (automatic,) * width
    return asked.placed(names, each, classes)


def check_objective(recipe: Recipe, plain: bool) -> None:
    """Check that the objective and the parts go together.

    Raises:
        ParameterError: If they do not.
    """
    if isinstance(recipe.posterior, posteriors.PointMass) and getattr(recipe.objective, "needs_density", False):
        remedy = "" if plain else ", or posterior='diagonal'"
        raise ParameterError(
            f"objective: {type(recipe.objective).__name__} needs a posterior with a density, and a point mass has "
            f"none. Take objective='reconstruction'{remedy}."
        )
    if _binarizes(recipe.objective) and recipe.support != UNIT:
        raise ParameterError(
            f"objective: Binarizing draws zeros and ones, and {type(recipe.likelihood).__name__} is for "
            f"{recipe.support.text}. Take likelihood='bernoulli'."
        )


def _binarizes(objective: Any) -> bool:
    """Say whether an objective, or one within it, draws zeros and ones."""
    return isinstance(objective, objectives.Binarizing) or (
        hasattr(objective, "objective") and _binarizes(objective.objective)
    )


def check_latent(recipe: Recipe, latent_dim: int) -> None:
    """Check that the prior is a density wherever the posterior puts z, and that z can be learned through.

    Raises:
        ParameterError: If not.
    """
    if isinstance(recipe.prior, posteriors.PointMass):
        raise ParameterError("prior: a point mass has no density. Take 'normal'.")
    given = recipe.posterior.parameters(Event.plain(latent_dim)).values()
    if hasattr(recipe.prior, "check_entries"):  # before its support, which has as many entries as it was given
        recipe.prior.check_entries((latent_dim,))
    posterior, prior = support_of(recipe.posterior), support_of(recipe.prior)
    if not any(isinstance(parameter, Output) for parameter in given):
        raise ParameterError(
            f"posterior: {recipe.posterior} does not depend on x, since no parameter comes from the network. Take "
            "'diagonal', or a family with an Output."
        )
    if isinstance(recipe.posterior, posteriors.NumPyro) and not recipe.posterior.smooth:
        raise ParameterError(
            f"posterior: draws from {recipe.posterior.name} are not smooth in its parameters, so no gradient passes "
            "through z. Take 'diagonal', or a distribution that NumPyro can reparameterise."
        )
    if isinstance(recipe.posterior, posteriors.PointMass) or prior.holds(posterior):
        return
    remedy = "a posterior with that support, as in posteriors.NumPyro(...)"
    if np.isfinite([prior.low, prior.high]).all():
        remedy = f"posteriors.LogisticNormal({prior.low:.6g}, {prior.high:.6g})"
        remedy += " or posteriors.NumPyro('Kumaraswamy')" if (prior.low, prior.high) == (0, 1) else ""
    elif np.isfinite(prior.low) and abs(prior.low) < 1e-30:
        remedy = "posteriors.NumPyro('LogNormal') or posteriors.NumPyro('Gamma')"
    raise ParameterError(
        f"prior, posterior: the posterior {recipe.posterior} gives {posterior.text}, and the prior {recipe.prior} is a "
        f"density of {prior.text} only; elsewhere log p(z) would be minus infinity. Take posterior={remedy}."
    )


def _network(parameters: Mapping[str, Any], kind: Kind) -> Any:
    """Return the kind of network."""
    chosen = kind.network if parameters["network"] == "auto" else parameters["network"]
    network = _made("network", chosen, NETWORKS, ("encoder", "decoder"))
    if kind.form not in network.kinds:
        fitting = [name for name, family in NETWORKS.items() if kind.form in family.kinds]
        raise ParameterError(
            f"network={parameters['network']!r}: takes {' or '.join(network.kinds)}, and X is {kind.name}. "
            f"Expected one of {', '.join(map(repr, fitting))}."
        )
    return network


def widths(parameters: Mapping[str, Any], recipe: Recipe) -> tuple[int, ...]:
    """Return the widths of the hidden layers."""
    hidden = parameters["hidden"]
    found = tuple(recipe.network.default_hidden if isinstance(hidden, str) and hidden == "auto" else hidden)
    if len(found) > MOST_LAYERS:
        raise ParameterError(
            f"hidden: expected at most {MOST_LAYERS} layers, each of which is compiled on its own; got {len(found)}."
        )
    return found


def objective(parameters: Mapping[str, Any]) -> Any:
    """Return the objective that the parameters name, with what it is by default for such a posterior."""
    chosen = _made("objective", parameters["objective"], OBJECTIVES, ("__call__",))
    posterior = parameters.get("posterior", "point")
    point = posterior == "point" or isinstance(posterior, posteriors.PointMass)
    return chosen.settled(point) if isinstance(chosen, objectives.Wrapping) else chosen


def model(
    parameters: Mapping[str, Any], recipe: Recipe, event: Event, random: np.random.Generator | None, context: int = 0
) -> Model:
    """Return a model with first weights, for rows with so many columns of context; blank ones without `random`."""
    initializer = parameters["initializer"]
    if isinstance(initializer, str):
        initializer = INITIALIZERS["lecun_uniform" if initializer == "auto" else initializer]
    latent = Event.plain(parameters["latent_dim"])

    def make(name: str) -> Making:
        activation, normalization = parameters["activation"], parameters["normalization"]
        return Making(random, activation, normalization, parameters["dropout"], initializer, name)

    hidden = widths(parameters, recipe)
    view, seen = _view(recipe, event)
    encoder = recipe.network.encoder(seen, hidden, make("posterior"), context)
    decoder = recipe.network.decoder(latent.size, event, hidden, make("likelihood"), context)
    heads: Any = {"initializer": initializer, "random": random}
    made = Model(
        posterior=Density(recipe.posterior, latent, encoder, **heads),
        likelihood=Density(recipe.likelihood, event, decoder, **heads),
        prior=Density(recipe.prior, latent, _prior_network(recipe, make("prior"), context), rows=seen, **heads),
        view=view,
        bounds=_bounds(recipe, seen, blank=random is None),
    )
    return centred(made, recipe, event)


def centred(model: Model, recipe: Recipe, event: Event) -> Model:
    """Return a model that knows the middle of x where its objective needs it, and it is not 0 as in standardised x."""
    needed = _masks(recipe.objective) and recipe.standardize is False and model.view is None
    return replace(model, centre=Centre(np.asarray(event.centre, np.float32)) if needed else None)


def _masks(objective: Any) -> bool:
    """Say whether an objective, or one within it, puts the middle in the place of entries."""
    inner = hasattr(objective, "objective") and _masks(objective.objective)
    return inner or (isinstance(objective, objectives.Denoising) and objective.corruption == "masking")


def _view(recipe: Recipe, event: Event) -> tuple[View | None, Event]:
    """Return how networks see x, if not as it is, and what a row looks like to them."""
    view: View | None = recipe.likelihood.view(event) if hasattr(recipe.likelihood, "view") else None
    return view, event if view is None else view.event(event)


def _bounds(recipe: Recipe, seen: Event, blank: bool) -> Bounds | None:
    """Return how far out networks see; `None` where the values cannot lie far out. Blank ones take no memory."""
    if all(np.isfinite(end).all() for end in (recipe.support.low, recipe.support.high)):
        return None
    bounds = Bounds(seen)
    return jax.tree.map(lambda array: memory.filled(array.shape), bounds) if blank else bounds


def _prior_network(recipe: Recipe, make: Making, context: int) -> Any:
    """Return the network of a conditional prior; other priors have none.

    Raises:
        ParameterError: If the prior and the context do not go together.
    """
    if isinstance(recipe.prior, priors.Vamp) and (context or recipe.network.kinds == ("sequences",)):
        why = "a context" if context else "sequences"
        raise ParameterError(
            f"prior: the pseudo-inputs of {recipe.prior} are rows of one shape and without context, and there is "
            f"{why}. Take prior='mixture' or 'flow'."
        )
    if not isinstance(recipe.prior, priors.Conditional):
        return None
    if not context:
        raise ParameterError(f"prior: {recipe.prior} needs a context. Give fit one: fit(X, context=...).")
    return MLP.of(context, recipe.prior.hidden, make)


def latent_density(
    chosen: Any, latent_dim: int, event: Event, recipe: Recipe, context: int, random: np.random.Generator
) -> Density:
    """Return a prior with first values, to be fitted to codes.

    Args:
        chosen: A name or an instance.
        latent_dim: L.
        event: What one row of x is, for a VampPrior.
        recipe: Of the model whose codes they are.
        context: How many columns of context its rows have.
        random: Where first values come from.

    Raises:
        ParameterError: If it is not a prior that can be fitted.
    """
    chosen = chosen.replace("-", "_") if isinstance(chosen, str) else chosen  # flow-matching, as one writes it
    if isinstance(chosen, str) and chosen not in PRIORS:
        raise ParameterError(
            f"density: expected one of {', '.join(map(repr, PRIORS))}, or a prior; got {chosen!r}."
            + suggest(chosen, PRIORS)
        )
    if isinstance(chosen, priors.Conditional):
        raise ParameterError(f"density: {chosen} depends on a context, and codes are fitted without. Take its family.")
    widened = isinstance(recipe.posterior, posteriors.PointMass)
    vamp = isinstance(chosen, str) and chosen == "vamp"
    chosen = priors.Vamp(widened=widened) if vamp else from_numpyro(chosen, posteriors.NumPyro)
    chosen = from_table("prior", chosen) if isinstance(chosen, Mapping) else named("prior", chosen)
    family = _made("density", chosen, PRIORS, _FAMILY)
    recipe = replace(recipe, prior=family)
    check_latent(recipe, latent_dim)
    initializer = INITIALIZERS["lecun_uniform"]
    network = _prior_network(recipe, Making(random, "relu", None, 0.0, initializer, "prior"), context)
    rows = _view(recipe, event)[1]

    def made(random: np.random.Generator | None) -> Density:
        latent = Event.plain(latent_dim)
        return Density(family, latent, network, initializer=initializer, random=random, rows=rows)

    _check_size(lambda: made(None), lambda made: {repr(family): made}, 4, f"density={family}", "Take a smaller one.")
    return made(random)


def plan(parameters: Mapping[str, Any], rows: int, seed: int) -> Plan:
    """Return how to train on so many rows."""
    batch_size = min(parameters["batch_size"], rows)
    epochs = epochs_of(rows, batch_size) if parameters["epochs"] == "auto" else parameters["epochs"]
    rule, schedule = parameters["optimizer"], parameters["schedule"]
    by_name = isinstance(rule, str)
    early = parameters["early_stopping"]
    return Plan(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=settled(parameters)["learning_rate"] if by_name else None,
        optimizer=_rule(parameters),
        schedule=(SCHEDULES[schedule] if isinstance(schedule, str) else schedule) if by_name else SCHEDULES["constant"],
        patience=None if early is False else _PATIENCE if early is True else early,
        seed=seed,
    )


def settled(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters with numbers where the optimizer's are "auto"."""
    numbers = {"learning_rate": _LEARNING_RATE, "weight_decay": _WEIGHT_DECAY}
    return {**parameters, **{name: value for name, value in numbers.items() if parameters[name] == "auto"}}


def _rule(parameters: Mapping[str, Any]) -> optax.GradientTransformation:
    """Return what turns gradients into steps."""
    rule, clip = parameters["optimizer"], parameters["gradient_clip"]
    if isinstance(rule, str):
        return optimizer(rule, clip, settled(parameters)["weight_decay"])
    return clipped(rule, clip)


def blank_rows(schema: Schema, size: int, context: int) -> Batch:
    """Return so many rows that take no memory, as networks get them; of sequences the longest."""
    return schema.longest(size)._replace(
        context=memory.filled((size, context)) if context else None,
        weight=memory.filled((size,), 1.0),
    )


def check_size(
    parameters: Mapping[str, Any],
    recipe: Recipe,
    event: Event,
    context: int = 0,
    rows: Batch | None = None,
    members: int = 1,
) -> None:
    """Check that a model can be made and trained in the memory there is, before anything of it is made.

    Args:
        parameters: Checked ones.
        recipe: Of which parts.
        event: What one row of x is.
        context: How many columns of context there are.
        rows: Blank rows of a step, by which the step of a large model is traced; `None`: no step is.
        members: How many such models are trained together.

    Raises:
        ParameterError: With the number of parameters, their bytes, and how much memory there is.
    """
    sizes = {name: getattr(recipe, name) for name in ("posterior", "likelihood", "prior")}

    def blank() -> Model:
        return model(parameters, recipe, event, None, context)

    def parts(made: Model) -> dict[str, Any]:
        return {f"{name} {sizes[name]}": getattr(made, name) for name in sizes}

    def more(made: Model) -> int:  # bytes of the optimizer of one model
        if rows is not None and 4 * numbers_in(made) > (memory.limit() or 0) / _SMALL:
            check_step(made, recipe.objective, rows)
        kept = jax.eval_shape(_rule(parameters).init, eqx.filter(made, trainable(made)))
        return sum(4 * leaf.size for leaf in jax.tree.leaves(kept))

    what = f"latent_dim={parameters['latent_dim']}, hidden={widths(parameters, recipe)}"
    what += f", ensemble={members}" if members > 1 else ""
    _check_size(blank, parts, 2, what, "Take smaller ones.", members, more)


def _check_size(
    blank: Callable[[], Any],
    parts: Callable[[Any], dict[str, Any]],
    copies: int,
    what: str,
    remedy: str,
    members: int = 1,
    more: Callable[[Any], int] | None = None,
) -> None:
    """Check that there is memory for so many copies of the arrays in parts of what is blank, and for `more` bytes."""
    there = memory.in_words(memory.limit() or 0)
    try:
        made = blank()
        sizes = {name: members * numbers_in(part) for name, part in parts(made).items()}
        needed = 4 * copies * sum(sizes.values())
        memory.check(sizes, needed, what, remedy)
        if more is not None:
            memory.check(sizes, needed + members * more(made), what, remedy)
    except (MemoryError, OverflowError) as error:  # not even the shape of an array can be written down
        needs = str(error) or "more than can be counted"
        raise ParameterError(f"{what}: needs {needs}, and there are {there} of memory. {remedy}") from None


def _check_widths(parameters: Mapping[str, Any]) -> None:
    """Check that layers are so few, and so narrow, that their sizes can be worked out."""
    hidden = parameters["hidden"]
    given = {"latent_dim": [parameters["latent_dim"]], "hidden": [] if isinstance(hidden, str) else list(hidden)}
    sizes = {name: sum(widths) for name, widths in given.items()}
    memory.check(sizes, 4 * sum(sizes.values()), "latent_dim, hidden (biases alone)", "Take smaller ones.")


def numbers_in(tree: Any) -> int:
    """Return how many numbers the arrays of a tree hold."""
    return sum(prod(leaf.shape) for leaf in jax.tree.leaves(tree) if eqx.is_array_like(leaf) and hasattr(leaf, "shape"))


def epochs_of(rows: int, batch_size: int, steps: int = _STEPS) -> int:
    """Return how many passes over so many rows are enough: 30, or as many more as make the steps (at most 1,000).

    Example:
        >>> epochs_of(150, 100), epochs_of(100_000, 100)
        (1000, 30)
    """
    return int(np.clip(-(-steps // -(-rows // batch_size)), _LEAST_EPOCHS, _MOST_EPOCHS))


def _made(parameter: str, value: Any, classes: Mapping[str, Any], needs: tuple[str, ...], plain: bool = False) -> Any:
    """Return the object that a name means, or the object itself if it has what is needed."""
    if isinstance(value, str):
        return named(parameter, value, plain)
    if isinstance(value, type) or any(not hasattr(value, name) for name in needs):
        hint = f" Did you mean {value.__name__}()?" if isinstance(value, type) else ""
        raise ParameterError(
            f"{parameter}: expected one of {', '.join(map(repr, classes))} or an object with {' and '.join(needs)}; "
            f"got {value!r}.{hint}"
        )
    return value


def check_support(recipe: Recipe, moments: Moments, name: Callable[[int], Any]) -> None:
    """Check that the likelihood can be a density of such data.

    Raises:
        ParameterError: If data that must stay as they are would be standardised.
        DataError: If there are values that it has no density for.
    """
    support, kind = recipe.support, getattr(recipe.likelihood, "name", type(recipe.likelihood).__name__)
    if support.everything:
        return
    entries = len(moments.mean)
    if entries % np.size(support.low):
        raise ParameterError(
            f"likelihood: {kind} is for rows of {np.size(support.low)} columns, and X has {entries}. Give one for "
            "each column."
        )
    ways = np.resize(np.array(recipe.standardize, object), entries)
    if any(way is not False and not support.of(j).everything for j, way in enumerate(ways)):
        raise ParameterError(
            f"standardize={recipe.standardize!r}: {kind} is for {support.text} and takes the data as they are. "
            "Leave standardize='auto', or choose likelihood='gaussian'."
        )
    outside = support.outside(moments.low) | support.outside(moments.high)
    outside |= np.resize(support.whole, entries) & ~moments.whole
    if outside.any():
        columns = [int(j) for j in np.flatnonzero(outside)]
        needed = support.of(columns[0])
        columns = [j for j in columns if support.of(j) == needed]
        raise DataError(
            f"X: {kind} needs {needed.text}; columns {listing(name(j) for j in columns)} have others (from "
            f"{moments.low[columns[0]]:.6g} to {moments.high[columns[0]]:.6g} in the first). {needed.remedy}"
        )

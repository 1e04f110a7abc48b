"""Contracts of the four axes and of networks, for the tests of those who add a member: one line each.

    check_likelihood(Gumbel())      check_prior(Spiral())      check_posterior(Skewed())      check_objective(Trimmed())
    check_network(Residual())

Each makes small models around what it is given and holds it to what every member must obey. What fails raises an
AssertionError that says which law was broken, and by how much. The library's own members pass the same checks.
"""

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax import Array

from omokage import likelihoods, posteriors, priors, saving
from omokage.batch import Batch, Event
from omokage.density import Density, draw
from omokage.model import Model, divergence, stopped
from omokage.nets.layers import INITIALIZERS, Making
from omokage.nets.mlp import MLP
from omokage.supports import Support, support_of

_ROWS, _LATENT, _DRAWS = 4, 3, 20_000
_ERRORS = 6  # standard errors within which an estimate must agree with the truth


def check_likelihood(family: Any, *, seed: int = 0) -> None:
    """Check a likelihood family.

    It can be compared, hashed and written down; its distribution is one of each entry, whose mass is one, whose draws
    are in its support and distributed as it says, and whose mean is theirs; log-densities have finite gradients, and
    entries that were not observed count nothing.

    Args:
        family: With `parameters` and `distribution`.
        seed: Of all draws.

    Raises:
        AssertionError: Saying what is wrong.

    Example:
        >>> check_likelihood(likelihoods.Laplace("shared"))
    """
    support = support_of(family)
    _check_value(family)
    for shape in ((3,), (2, 2, 1)):
        event = _event(shape, support)
        density = _density(family, event, inputs=2, seed=seed)
        z = jnp.asarray(np.random.default_rng(seed).normal(size=(_ROWS, 2)), jnp.float32)
        given = density(z)
        _claim(
            given.batch_shape == (_ROWS, *shape) and given.event_shape == (),
            f"expected a distribution of batch shape {(_ROWS, *shape)}, (rows, *event), and no event shape, so that "
            f"each entry has a density; got {given.batch_shape} and {given.event_shape}",
        )
    x = np.asarray(given.sample(jax.random.key(seed)))
    _claim(not support.outside(x).any(), f"draws lie outside of the support, {support.text}")
    _check_gradient(lambda density: density(z).log_prob(x).sum(), density)
    single = jax.tree.map(lambda output: output[0], density.outputs(z))
    entry = density.given(single)
    if support.whole or given.support.is_discrete:
        _check_masses(entry, support)
    else:
        _check_draws(entry, jax.random.key(seed))
    if getattr(family, "has_mean", True):
        _check_mean(entry, jax.random.key(seed))
    _check_mask(density, z, x)


def check_prior(family: Any, *, seed: int = 0) -> None:
    """Check a prior family: its density has mass one and is that of its draws, for 3 latent dimensions.

    Raises:
        AssertionError: Saying what is wrong.

    Example:
        >>> check_prior(priors.StandardNormal())
    """
    _check_value(family)
    density = _density(family, Event.plain(_LATENT), inputs=None, seed=seed)
    encoder = _density(posteriors.DiagonalNormal(), Event.plain(_LATENT), inputs=5, seed=seed)
    prior = density(encoder=encoder)
    _claim(
        prior.event_shape == (_LATENT,) and prior.batch_shape == (),
        f"expected a distribution of event shape {(_LATENT,)} and no batch shape; got {prior.event_shape} and "
        f"{prior.batch_shape}",
    )
    _check_draws(prior, jax.random.key(seed))
    z = prior.sample(jax.random.key(seed), (_ROWS,))
    _check_gradient(lambda density: density(encoder=encoder).log_prob(z).sum(), density)


def check_posterior(family: Any, *, seed: int = 0) -> None:
    """Check a posterior family.

    Its density has mass one and is that of its draws; draws are smooth in what the network gives, with the right
    gradient; and where its KL to a standard normal has a closed form, that agrees with draws.

    Raises:
        AssertionError: Saying what is wrong.

    Example:
        >>> check_posterior(posteriors.DiagonalNormal())
    """
    _check_value(family)
    key = jax.random.key(seed)
    density = _density(family, Event.plain(_LATENT), inputs=5, seed=seed)
    x = jnp.asarray(np.random.default_rng(seed).normal(size=(_ROWS, 5)), jnp.float32)
    posterior = density(x)
    _claim(
        posterior.event_shape == (_LATENT,) and posterior.batch_shape == (_ROWS,),
        f"expected a distribution of batch shape {(_ROWS,)} and event shape {(_LATENT,)}; got {posterior.batch_shape} "
        f"and {posterior.event_shape}",
    )
    if isinstance(posterior, dist.Delta):
        return  # it has no density
    outputs = jax.tree.map(lambda output: output[0], density.outputs(x))
    _check_draws(density.given(outputs), key)
    z, log_q = draw(posterior, key, (7,))
    for name, again in (("", posterior), (" when held still", stopped(posterior))):
        worst = float(jnp.abs(again.log_prob(z) - log_q).max())
        _claim(worst < 1e-2, f"the density of a draw is not that which it was drawn with{name}: off by {worst:.3g}")
    _check_pathwise(density, outputs, key)
    prior = dist.Normal(jnp.zeros(_LATENT), 1.0).to_event(1)
    kl = divergence(density.given(outputs), prior)
    if kl is not None:
        z, log_q = draw(density.given(outputs), key, (_DRAWS,))
        _agree(float(kl), np.asarray(log_q - prior.log_prob(z)), "KL(q‖p) in closed form", "the mean over draws")


def check_objective(objective: Any, *, bound: bool = False, seed: int = 0) -> None:
    """Check an objective on a linear Gaussian model, whose likelihood is known.

    It can be compared and hashed; it gives one finite number for each row under each name, "loss" among them, and
    finite gradients, also at the end of time; it depends on the key alone; and rows of weight 0 change nothing.

    Args:
        objective: Called with (model, batch, key, epoch).
        bound: Whether -loss is a lower bound of log p(x) in expectation, which is then checked.
        seed: Of all draws.

    Raises:
        AssertionError: Saying what is wrong.

    Example:
        >>> from omokage.objectives import Reconstruction
        >>> check_objective(Reconstruction())
    """
    _claim(hash(objective) == hash(objective) and objective == objective, "an objective must be hashable")
    model, x, exact = linear_gaussian(seed)
    batch = Batch(jnp.asarray(x), weight=jnp.ones(len(x)))
    key = jax.random.key(seed)
    for epoch in (0.0, 3.5, np.inf):
        terms = objective(model, batch, key, jnp.float32(epoch))
        _claim(isinstance(terms, dict), f"expected named terms, a dict; got {type(terms).__name__}")
        _claim("loss" in terms, f"expected a term named 'loss'; got {sorted(terms)}")
        for name, values in terms.items():
            _claim(
                values.shape == (len(x),), f"term {name!r}: expected shape {(len(x),)}, one a row; got {values.shape}"
            )
            _claim(bool(jnp.isfinite(values).all()), f"term {name!r} is not finite in epoch {epoch}")
    again = objective(model, batch, key, jnp.float32(np.inf))
    _claim(all(bool((again[name] == terms[name]).all()) for name in terms), "the same key gave other numbers")
    _check_gradient(lambda model: objective(model, batch, key, jnp.float32(3.5))["loss"].sum(), model)
    weight = jnp.ones(len(x)).at[-1].set(0)
    losses = []
    for last in (x[-1], 3 - x[-1]):
        changed = Batch(jnp.asarray(np.concatenate([x[:-1], last[None]])), weight=weight)
        losses.append(float((weight * objective(model, changed, key, jnp.float32(3.5))["loss"]).sum()))
    _claim(
        np.isclose(losses[0], losses[1], rtol=1e-4),
        f"a row of weight 0 changed the loss of others: {losses[0]} to {losses[1]}",
    )
    if bound:
        one = jax.jit(lambda key: objective(model, batch, key, jnp.float32(np.inf))["loss"])
        runs = -np.asarray(jax.lax.map(one, jax.random.split(key, 400))).mean(1)
        error = runs.std() / np.sqrt(len(runs))
        _claim(
            runs.mean() < exact.mean() + _ERRORS * error + 1e-4,
            f"-loss is no lower bound of log p(x): {runs.mean():.4f} against {exact.mean():.4f}",
        )


def check_network(family: Any, *, seed: int = 0) -> None:
    """Check a network family, with small models for each kind of data that it says it takes.

    It can be compared, hashed and written down. From z to x and back its outputs have the right shapes, finite values
    and finite gradients. A row has the same output alone and among others, padding changes nothing, and the context
    changes something. A blank network, which a saved model is loaded into, has the same arrays.

    Args:
        family: With `encoder`, `decoder`, `kinds` and `default_hidden`.
        seed: Of the weights and the rows.

    Raises:
        AssertionError: Saying what is wrong.

    Example:
        >>> from omokage.nets import Dense
        >>> check_network(Dense())
    """
    _check_value(family)
    kinds, widths = tuple(family.kinds), tuple(family.default_hidden)
    known = ", ".join(_EVENTS)
    _claim(kinds and set(kinds) <= set(_EVENTS), f"kinds: expected one or more of {known}; got {family.kinds!r}")
    _claim(
        all(isinstance(width, int) and width > 0 for width in widths),
        f"default_hidden: expected whole numbers above 0; got {family.default_hidden!r}",
    )
    hidden = tuple(min(width, 8) for width in widths)
    for kind in kinds:
        for context in (0, 2):
            _check_parts(family, kind, hidden, context, seed)


def linear_gaussian(seed: int = 0, *, point: bool = False) -> tuple[Model, np.ndarray, np.ndarray]:
    """Return a model x = W z + b + noise with a posterior that is about right, rows, and their exact log p(x).

    Args:
        seed: Of everything.
        point: Make the posterior a point mass.

    Returns:
        The model (5 features, 2 latent dimensions), x (16, 5) and log p(x) in nats, (16,).
    """
    random = np.random.default_rng(seed)
    W, b, noise = random.normal(size=(5, 2)), random.normal(size=5), 0.7
    z = random.normal(size=(16, 2))
    x = (z @ W.T + b + noise * random.normal(size=(16, 5))).astype(np.float32)
    covariance = W @ W.T + noise**2 * np.eye(5)
    apart = x - b
    squares = np.einsum("nd,de,ne->n", apart, np.linalg.inv(covariance), apart)
    exact = -0.5 * (squares + np.linalg.slogdet(2 * np.pi * covariance)[1])
    inner = np.linalg.inv(W.T @ W / noise**2 + np.eye(2))  # the covariance of the true posterior
    gain = inner @ W.T / noise**2
    posterior = _density(posteriors.PointMass() if point else posteriors.DiagonalNormal(), Event.plain(2), 5, seed)
    likelihood = _density(likelihoods.Gaussian(noise), Event.plain(5), 2, seed)
    set_to: list[tuple[Callable[[Any], Any], Any]] = [
        (lambda m: (m.posterior.heads["mean"].weight, m.posterior.heads["mean"].bias), (gain, -gain @ b)),
        (lambda m: (m.likelihood.heads["mean"].weight, m.likelihood.heads["mean"].bias), (W, b)),
    ]
    if not point:
        log_variance = np.log(np.diag(inner)) + 0.3  # a little too wide
        where = lambda m: (m.posterior.heads["log_variance"].weight, m.posterior.heads["log_variance"].bias)  # noqa: E731
        set_to.append((where, (np.zeros((2, 5)), log_variance)))
    model = Model(posterior, likelihood, _density(priors.StandardNormal(), Event.plain(2), None, seed))
    for where, values in set_to:
        model = eqx.tree_at(where, model, tuple(np.asarray(value, np.float32) for value in values))
    return model, x, exact


# --------------------------------------------------------------------------------------------------------- the laws


def _check_value(family: Any) -> None:
    """Check that a family is a value: equal to a copy, hashable, and the same after writing and reading."""
    frozen = dataclasses.is_dataclass(family) and type(family).__hash__ is not None
    _claim(frozen and hash(family) == hash(family), "expected a frozen dataclass")
    _claim(dataclasses.replace(family) == family, "a copy with the same settings is not equal to it")
    kind = type(family)
    written = json.loads(json.dumps(saving.describe(family, "family")))
    again = saving.restore(written, {f"{kind.__module__}.{kind.__qualname__}": kind})
    _claim(again == family, f"it is {family}, and {again} after writing and reading")


def _check_draws(distribution: dist.Distribution, key: Array) -> None:
    """Check, by importance sampling, that a density has mass one and the mean and squares of its draws."""
    here, there = jax.random.split(key)
    drawn = distribution.sample(here, (_DRAWS,))
    to = dist.biject_to(distribution.support)
    real = jnp.reshape(to.inv(drawn), (_DRAWS, -1))
    low, middle, high = jnp.quantile(real, jnp.array([0.05, 0.5, 0.95]), axis=0)
    proposal = dist.StudentT(3.0, middle, 0.6 * jnp.maximum(high - low, 1e-6))
    tried = proposal.sample(there, (_DRAWS,))
    shaped = tried.reshape(-1, *to.inv(drawn[:1]).shape[1:])
    landed = to(shaped)
    jacobian = to.log_abs_det_jacobian(shaped, landed).reshape(_DRAWS, -1).sum(-1)
    log_p = distribution.log_prob(landed).reshape(_DRAWS, -1).sum(-1)
    log_weights = np.asarray(log_p + jacobian - proposal.log_prob(tried).sum(-1), np.float64)
    weights = np.exp(np.where(np.isfinite(log_weights), log_weights, -np.inf))
    _agree(1.0, weights, "one", "the mass of the density")
    for name, function in (("mean", lambda a: a), ("square", np.square)):
        # Bounded, so that heavy tails do not rule: how draws lie relative to their own quantiles.
        ours = function(np.tanh(np.asarray((real - middle) / (high - low + 1e-6), np.float64)))
        theirs = function(np.tanh(np.asarray((tried - middle) / (high - low + 1e-6), np.float64)))
        gap = ours.mean(0) - (weights[:, None] * theirs).mean(0)
        error = np.sqrt(ours.var(0) + (weights[:, None] * theirs).var(0)) / np.sqrt(_DRAWS)
        _claim(
            bool((np.abs(gap) < _ERRORS * error + 1e-3).all()), f"draws do not have the density: {name} off by {gap}"
        )


def _check_masses(distribution: dist.Distribution, support: Support) -> None:
    """Check that the probabilities of whole numbers add up to one."""
    high = float(np.max(support.high))
    numbers = np.arange(np.min(support.low), (high if np.isfinite(high) else 20_000) + 1, dtype=np.float32)
    total = jax.lax.map(lambda x: jnp.exp(distribution.log_prob(jnp.full(distribution.batch_shape, x))), numbers).sum(0)
    _claim(bool(jnp.allclose(total, 1, atol=5e-3)), f"the probabilities of all numbers add up to {np.ravel(total)}")


def _check_mean(distribution: dist.Distribution, key: Array) -> None:
    try:
        mean, variance = np.asarray(distribution.mean), np.asarray(distribution.variance)
    except NotImplementedError:
        raise AssertionError("the distribution has no mean and variance, which reconstructions are made of") from None
    finite = np.isfinite(mean) & np.isfinite(variance)
    _claim(finite.any(), "the mean or the variance is infinite or undefined; a family can say has_mean = False")
    drawn = np.asarray(distribution.sample(key, (_DRAWS,)), np.float64)
    gap = np.abs(drawn.mean(0) - mean)[finite]
    error = np.sqrt(variance / _DRAWS)[finite] + 1e-4 * np.abs(mean[finite])
    _claim(bool((gap < _ERRORS * error + 1e-6).all()), f"the mean is not that of draws: off by up to {gap.max():.3g}")


def _check_mask(density: Density, z: Any, x: Any) -> None:
    """Check that what was not observed, which is 0, has no density and no gradient."""
    mask = np.ones(x.shape, bool)
    mask.reshape(len(x), -1)[:, 0] = False
    batch = Batch(jnp.asarray(np.where(mask, x, 0)), mask=jnp.asarray(mask))
    whole = Batch(jnp.asarray(x))
    blank = _density(posteriors.PointMass(), Event.plain(z.shape[1]), 1, 0)

    def entries(density: Density, batch: Batch) -> Array:
        return Model(blank, density, blank).log_likelihoods(jnp.asarray(z)[None], batch)[0]

    seen, unseen = np.asarray(entries(density, whole)), np.asarray(entries(density, batch))
    _claim(bool((unseen[~mask] == 0).all()), "entries that were not observed have a density")
    _claim(np.allclose(seen[mask], unseen[mask]), "a mask changed the density of entries that were observed")
    _check_gradient(lambda density: entries(density, batch).sum(), density)


def _check_pathwise(density: Density, outputs: Any, key: Array) -> None:
    """Check that the gradient through draws is that of their expectation, by differences with the same noise."""

    def statistic(outputs: Any) -> Array:
        z = draw(density.given(outputs), key, (20_000,))[0]
        return jnp.tanh(z - 0.3).mean()

    gradient = jax.grad(statistic)(outputs)
    direction = jax.tree.map(
        lambda leaf: jnp.cos(jnp.arange(leaf.size, dtype=jnp.float32)).reshape(leaf.shape), outputs
    )
    step = 2e-2
    moved = [jax.tree.map(lambda a, d, s=s: a + s * step * d, outputs, direction) for s in (1, -1)]
    numeric = float((statistic(moved[0]) - statistic(moved[1])) / (2 * step))
    exact = float(sum(jnp.vdot(a, b) for a, b in zip(*map(jax.tree.leaves, (gradient, direction)), strict=True)))
    _claim(
        np.isclose(exact, numeric, rtol=0.05, atol=2e-2),
        f"the gradient through draws is {exact:.4g}, and differences of the mean say {numeric:.4g}: draws must be a "
        "smooth function of the parameters",
    )


def _check_gradient(loss: Callable[[Any], Array], module: Any) -> None:
    parameters, rest = eqx.partition(module, eqx.is_inexact_array_like)
    gradient = jax.grad(lambda parameters: loss(eqx.combine(parameters, rest)))(parameters)
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
        _claim(bool(jnp.isfinite(leaf).all()), f"the gradient for {jax.tree_util.keystr(path)} is not finite")


def _density(family: Any, event: Event, inputs: int | None, seed: int) -> Density:
    random, initializer = np.random.default_rng(seed), INITIALIZERS["lecun_uniform"]
    network = None if inputs is None else MLP(inputs, (), random=random)
    return Density(family, event, network, initializer=initializer, random=random, rows=Event.plain(5))


def _event(shape: tuple[int, ...], support: Support) -> Event:
    """Return an event whose centre lies well within a support."""
    plain = Event.plain(*shape)
    if support.everything:
        return plain
    middle = (support.low + support.high) / 2 if np.isfinite(support.low + support.high) else support.low + 3
    width = min(2.0, (support.high - support.low) / 4)
    return dataclasses.replace(plain, centre=np.full(shape, middle), spread=np.full(shape, width))


def _agree(truth: float, estimates: Any, what: str, name: str) -> None:
    mean, error = estimates.mean(), estimates.std() / np.sqrt(len(estimates))
    _claim(
        abs(mean - truth) < _ERRORS * error + 2e-3,
        f"expected {what} ({truth:.4f}) to be {name}; got {mean:.4f} ± {error:.4f}",
    )


def _claim(true: Any, otherwise: str) -> None:
    if not true:
        raise AssertionError(otherwise)


_EVENTS = {"vectors": (5,), "images": (8, 8, 1), "sequences": (2,)}
_STEPS, _PADDED = 4, 6  # of sequences


def _check_parts(family: Any, kind: str, hidden: tuple[int, ...], context: int, seed: int) -> None:
    """Check an encoder and a decoder of one kind of data, with so many columns of context."""
    event, random = Event.plain(*_EVENTS[kind]), np.random.default_rng(seed)
    made, blank = (_parts(family, event, hidden, context, weights) for weights in (random, None))
    shapes = [
        [np.shape(leaf) for leaf in jax.tree.leaves(eqx.filter(part, eqx.is_array_like))] for part in (made, blank)
    ]
    _claim(shapes[0] == shapes[1], f"{kind}: a network without a generator of weights has other arrays")
    parameters, rest = eqx.partition(made, eqx.is_inexact_array_like)

    @jax.jit
    def outputs(parameters: Any, z: Array, batch: Batch) -> tuple[Array, Array]:
        """Return the means of q(z|x), (B, L), and of p(x|z), (B, *places, *event)."""
        encoder, decoder = eqx.combine(parameters, rest)
        return encoder(batch.x, batch).mean, decoder(z, batch).mean

    batch = _rows_of(kind, event, context, random)
    z = jnp.asarray(random.normal(size=(_ROWS, _LATENT)), jnp.float32)
    codes, given = found = outputs(parameters, z, batch)
    for name, one, wanted in (("encoder", codes, (_ROWS, _LATENT)), ("decoder", given, batch.x.shape)):
        _claim(one.shape == wanted, f"{kind}: expected the {name} to lead to shape {wanted}; got {one.shape}")
        _claim(bool(jnp.isfinite(one).all()), f"{kind}: the {name} gives numbers that are not finite")
    gradient = jax.jit(jax.grad(lambda parameters: sum(jnp.square(one).sum() for one in outputs(parameters, z, batch))))
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient(parameters)):
        _claim(bool(jnp.isfinite(leaf).all()), f"{kind}: the gradient for {jax.tree_util.keystr(path)} is not finite")
    alone = outputs(parameters, z[:1], batch.map(lambda array: array[:1]))
    _same((codes[:1], given[:1]), alone, f"{kind}: a row has another output alone than among others")
    if kind == "sequences":
        longer = batch._replace(x=jnp.pad(batch.x, [(0, 0), (0, _PADDED - _STEPS), (0, 0)]))
        padded = outputs(parameters, z, longer)
        _same(found, (padded[0], padded[1][:, :_STEPS]), "sequences: padding changes the output")
    if context:
        others = outputs(parameters, z, batch._replace(context=batch.context + 1))
        for name, one, other in zip(("encoder", "decoder"), found, others, strict=True):
            _claim(float(jnp.abs(one - other).max()) > 0, f"{kind}: the {name} does not look at the context")


def _parts(
    family: Any, event: Event, hidden: tuple[int, ...], context: int, random: np.random.Generator | None
) -> tuple[Density, Density]:
    """Return a posterior with the encoder and a likelihood with the decoder."""
    initializer = INITIALIZERS["lecun_uniform"]
    encoder = family.encoder(event, hidden, Making(random, "tanh", None, 0.0, initializer, "encoder"), context)
    decoder = family.decoder(_LATENT, event, hidden, Making(random, "tanh", None, 0.0, initializer, "decoder"), context)
    heads: Any = {"initializer": initializer, "random": random}
    posterior: Any = posteriors.DiagonalNormal()
    likelihood: Any = likelihoods.Gaussian("shared")
    return (
        Density(posterior, Event.plain(_LATENT), encoder, **heads),
        Density(likelihood, event, decoder, **heads),
    )


def _rows_of(kind: str, event: Event, context: int, random: np.random.Generator) -> Batch:
    places = (_STEPS,) if kind == "sequences" else ()
    return Batch(
        jnp.asarray(random.normal(size=(_ROWS, *places, *event.shape)), jnp.float32),
        lengths=np.full(_ROWS, _STEPS) if places else None,
        context=jnp.asarray(random.normal(size=(_ROWS, context)), jnp.float32) if context else None,
    )


def _same(expected: tuple[Array, Array], found: tuple[Array, Array], otherwise: str) -> None:
    worst = max(float(jnp.abs(one - other).max()) for one, other in zip(expected, found, strict=True))
    _claim(worst < 1e-4, f"{otherwise}: off by {worst:.3g}")

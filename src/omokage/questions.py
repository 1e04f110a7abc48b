"""What a trained model is asked: pure functions, and one table of them that says what each takes and gives.

A question is a pure function `(model, rows, *options)` of arrays, written for B rows at once: `inference` runs it in
micro-batches of many rows, and `jax.export` traces it for a B that is not known yet. Of rows in their own units it is
asked through `Fitted.model_of_raw_rows`. None is asked while training.

Draws are explicit: those for densities depend on the key and on about where the row lies (see `draws`), those for a
drawn reconstruction on the key and the row's content, those for samples on the key and the number of the sample; so
none depends on how the rows were batched.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from omokage.batch import Batch
from omokage.draws import Draws, content, over_draws
from omokage.errors import ParameterError
from omokage.imputation import completions as completions
from omokage.imputation import imputation as imputation
from omokage.model import Model, centre, check_moment, divergence, expected_of, is_point_mass, mean_of, spread
from omokage.model import divergences as by_dimension


def features(model: Model, batch: Batch) -> Array:
    """Return the mean of q(z|x), (B, L)."""
    check_moment(model.posterior, "posterior", "mean")
    return centre(model.encode(batch))


def deviations(model: Model, batch: Batch) -> Array:
    """Return the standard deviation of q(z|x) in each latent dimension, (B, L)."""
    check_moment(model.posterior, "posterior", "variance")
    return spread(model.encode(batch))


def scales(model: Model, batch: Batch) -> Array:
    """Return the standard deviation of p(x|z) at the posterior mean for each entry, (B, *event)."""
    check_moment(model.likelihood, "likelihood", "variance")
    given = model.decode(features(model, batch), batch)
    return jnp.broadcast_to(jnp.sqrt(given.variance), batch.x.shape)


def divergences(model: Model, batch: Batch) -> Array | None:
    """Return KL(q‖p) in each latent dimension, (B, L), in nats; `None` where it does not factorise."""
    return by_dimension(model.encode(batch), model.latent(batch))


def decoded(model: Model, rows: tuple[Array, Batch | None]) -> Array:
    """Return the mean of p(x|z), (B, *event), for z and what it is conditioned on; of sequences as long as the rows."""
    return mean_of(model.likelihood, model.decode(*rows))


def reconstruction(model: Model, batch: Batch) -> Array:
    """Return the mean of p(x|z) at the posterior mean, (B, *event)."""
    return mean_of(model.likelihood, model.decode(features(model, batch), batch))


def expected(model: Model, batch: Batch) -> Array:
    """Return what may be averaged over models of p(x|z) at the posterior mean, (B, *places); see `expected_of`."""
    return expected_of(model.likelihood, model.decode(features(model, batch), batch))


def drawn_reconstruction(model: Model, batch: Batch, key: Array) -> Array:
    """Return the mean of p(x|z) at a z that is drawn from the posterior, (B, *event)."""
    return mean_of(model.likelihood, model.decode(_draw_by_content(model, batch, key), batch))


def _draw_by_content(model: Model, batch: Batch, key: Array, occurrence: Array | None = None) -> Array:
    """Draw z for each row with a key of its own, made from the row's content and its occurrence, (B, L)."""
    x = jnp.where(batch.x == 0, 0.0, batch.x)  # -0 is 0
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, content(x, batch.observed))
    if occurrence is not None:
        keys = jax.vmap(lambda key, n: jnp.where(n > 0, jax.random.fold_in(key, n), key))(keys, occurrence)
    return model.posterior.draw(model.posterior_outputs(batch), keys)[0]


def codes(model: Model, rows: tuple[Batch, Array], key: Array) -> Array:
    """Return a z drawn from the posterior, (B, L), for rows and how many rows before each are equal to it, (B,)."""
    return _draw_by_content(model, rows[0], key, rows[1])


def samples(model: Model, rows: tuple[Array, Batch | None], key: Array) -> Array:
    """Return draws from p(x), (B, *event), for the numbers of the draws, (B,), and what they are conditioned on."""
    numbers, batch = rows
    z, keys = prior_draws(model, numbers, key, batch)
    outputs = model.likelihood.outputs(z, None if batch is None else model.told(batch))
    drawn = model.likelihood.draw(outputs, keys)[0].astype(jnp.float32)
    return drawn if model.codec is None else model.codec.decode(drawn)


def sample_means(model: Model, rows: tuple[Array, Batch | None], key: Array) -> Array:
    """Return the means of p(x|z) at draws of z, (B, *event); see `samples`."""
    numbers, batch = rows
    return decoded(model, (prior_draws(model, numbers, key, batch)[0], batch))


def prior_draws(model: Model, numbers: Array, key: Array, batch: Batch | None) -> tuple[Array, Array]:
    """Return a z for each number, (B, L), and a key for what comes after it, (B,)."""
    keys = jax.vmap(lambda number: jax.random.split(jax.random.fold_in(key, number)))(numbers)
    if model.prior.network is None:
        return jax.vmap(model.latent().sample)(keys[:, 0]), keys[:, 1]
    assert batch is not None
    return model.prior.draw(model.prior.outputs(model.told(batch).context), keys[:, 0])[0], keys[:, 1]


def entries(model: Model, batch: Batch, draws: Draws) -> Array:
    """Return E_q log p(x|z) of each entry, (B, *event), in nats."""
    if is_point_mass(model.encode(batch)):
        return model.log_likelihoods(model.encode(batch).mean[None], batch)[0]

    def more(total: Array, z: Array, log_q: Array, kept: Array) -> Array:
        densities = model.log_likelihoods(z, batch)
        return total + jnp.where(kept.reshape(-1, *[1] * (densities.ndim - 1)), densities, 0).sum(0)

    return over_draws(more, jnp.zeros(batch.x.shape), model, batch, draws) / draws.count


def terms(model: Model, batch: Batch, draws: Draws) -> dict[str, Array]:
    """Return the parts of the bound, (B,) each, in nats: "reconstruction", "kl" and "elbo".

    The bound is the mean of log p(x,z) - log q(z|x): where q is near the true posterior this hardly varies, much less
    than log p(x|z) does. Where the KL has a closed form, the reconstruction is bound plus KL; it is unbiased too. For
    a point mass there is only "reconstruction".
    """
    posterior, prior = model.encode(batch), model.latent(batch)
    if is_point_mass(posterior):
        return {"reconstruction": model.log_likelihood(posterior.mean[None], batch)[0]}

    def more(total: tuple[Array, Array], z: Array, log_q: Array, kept: Array) -> tuple[Array, Array]:
        ratio = log_q - prior.log_prob(z)
        bound = model.log_likelihood(z, batch) - ratio
        return total[0] + jnp.where(kept, bound, 0).sum(0), total[1] + jnp.where(kept, ratio, 0).sum(0)

    zero = jnp.zeros(batch.x.shape[0])
    bound, ratio = (total / draws.count for total in over_draws(more, (zero, zero), model, batch, draws))
    kl = divergence(posterior, prior)
    kl = ratio if kl is None else kl
    return {"reconstruction": bound + kl, "kl": kl, "elbo": bound}


def log_likelihood(model: Model, batch: Batch, draws: Draws) -> dict[str, Array]:
    """Return the importance-weighted "bound" on log p(x), in nats, and its standard "error", (B,) each."""
    prior = model.latent(batch)

    def more(total: tuple[Array, Array], z: Array, log_q: Array, kept: Array) -> tuple[Array, Array]:
        weights = model.log_likelihood(z, batch) + prior.log_prob(z) - log_q
        weights = jnp.where(kept, weights, -jnp.inf)
        first, second = (jax.nn.logsumexp(power * weights, 0) for power in (1, 2))
        return jnp.logaddexp(total[0], first), jnp.logaddexp(total[1], second)

    none = jnp.full(batch.x.shape[0], -jnp.inf)
    first, second = over_draws(more, (none, none), model, batch, draws, independent=True)
    return log_mean_weight(first, second, draws.count)


def log_mean_weight(first: Array, second: Array, samples: int | Array) -> dict[str, Array]:
    """Return the logarithm of the mean of K weights, "bound", and its standard error, "error".

    Args:
        first: The logarithm of the sum of the weights.
        second: The logarithm of the sum of their squares.
        samples: K.
    """
    count = jnp.float32(samples)
    # Of log w̄: the deviation of w, over √K and w̄.
    spread = jnp.expm1(jnp.maximum(second - 2 * first + jnp.log(count), 0)) / jnp.maximum(count - 1, 1)
    return {"bound": first - jnp.log(count), "error": jnp.sqrt(spread)}


@dataclass(frozen=True)
class Answer:
    """What is given for each row.

    Attributes:
        of: "row", one number; "latent", (L,); "event", as long and as wide as the row; "events", some of them.
        unit: "nats", "unit of x", its square, or "" for numbers without one, such as codes.
    """

    of: str
    unit: str = ""


@dataclass(frozen=True)
class Question:
    """A question and what it takes and gives.

    Attributes:
        function: `(model, rows, *options)`; `rows` is a pair where `of` names two things.
        of: What there is one of for each answer: "rows", "codes" (z), "numbers" (of draws), "occurrences".
        options: The same for all rows: "key", "draws" (`Draws`), "rounds" (int32), "numbers" (of draws).
        gives: By name; a question with one answer has it under "".
        density: Whether q(z|x) must be a density, and no point mass.
    """

    function: Callable[..., Any]
    of: tuple[str, ...]
    options: tuple[str, ...]
    gives: Mapping[str, Answer]
    density: bool = False

    def example(self, rows: Batch, latent: int) -> tuple[Any, ...]:
        """Return something to ask with, rows and options, for rows of which only shapes matter; codes have `latent`."""
        count = rows.x.shape[0]
        made = {
            "rows": lambda: rows,
            "codes": lambda: jnp.zeros((count, latent)),
            "numbers": lambda: jnp.zeros(count, jnp.uint32),
            "occurrences": lambda: jnp.zeros(count, jnp.uint32),
            "key": lambda: jax.random.key(0),
            "draws": lambda: Draws.of(0, 16),
            "rounds": lambda: jnp.int32(1),
        }
        first = made[self.of[0]]() if len(self.of) == 1 else tuple(made[name]() for name in self.of)
        made["numbers"] = lambda: jnp.arange(2, dtype=jnp.uint32)
        return first, *(made[name]() for name in self.options)


_LATENT, _EVENT = Answer("latent"), Answer("event", "unit of x")
_NATS = Answer("row", "nats")
QUESTIONS: Mapping[str, Question] = {
    "features": Question(features, ("rows",), (), {"": _LATENT}),
    "deviations": Question(deviations, ("rows",), (), {"": _LATENT}, density=True),
    "codes": Question(codes, ("rows", "occurrences"), ("key",), {"": _LATENT}),
    "divergences": Question(divergences, ("rows",), (), {"": Answer("latent", "nats")}, density=True),
    "decoded": Question(decoded, ("codes", "rows"), (), {"": _EVENT}),
    "reconstruction": Question(reconstruction, ("rows",), (), {"": _EVENT}),
    "drawn_reconstruction": Question(drawn_reconstruction, ("rows",), ("key",), {"": _EVENT}),
    "scales": Question(scales, ("rows",), (), {"": _EVENT}),
    "terms": Question(terms, ("rows",), ("draws",), {"reconstruction": _NATS, "kl": _NATS, "elbo": _NATS}),
    "entries": Question(entries, ("rows",), ("draws",), {"": Answer("event", "nats")}),
    "log_likelihood": Question(log_likelihood, ("rows",), ("draws",), {"bound": _NATS, "error": _NATS}, density=True),
    "imputation": Question(
        imputation, ("rows",), ("rounds", "draws"), {"mean": _EVENT, "variance": Answer("event", "unit of x, squared")}
    ),
    "completions": Question(
        completions, ("rows", "occurrences"), ("rounds", "draws", "numbers"), {"": Answer("events", "unit of x")}
    ),
    "samples": Question(samples, ("numbers", "rows"), ("key",), {"": _EVENT}),
    "sample_means": Question(sample_means, ("numbers", "rows"), ("key",), {"": _EVENT}),
}


def answered(model: Model, rows: Batch) -> dict[str, Question]:
    """Return the questions that such a model has an answer to, by name.

    Args:
        model: The model.
        rows: Some rows, of which only shapes matter.
    """
    posterior = jax.eval_shape(lambda: model.encode(rows))

    def has(question: Question) -> bool:
        if question.density and is_point_mass(posterior):
            return False
        arguments = question.example(rows, posterior.event_shape[0])
        try:
            return jax.eval_shape(lambda: question.function(model, *arguments)) is not None
        except ParameterError:  # as of the mean of a Cauchy distribution
            return False

    return {name: question for name, question in QUESTIONS.items() if has(question)}

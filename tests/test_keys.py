"""Random numbers are used once: no key of a training step, of terms, annealing or sampling is used in two ways.

`jax.random.split(key, n)[i]` is `jax.random.fold_in(key, i)`, bit for bit. So a key that is split in one place and
folded in another, or split twice, gives the same "independent" noise twice. Here every call of `jax.random` tells which
keys it got when the program ran, and each key must be used in one way only: drawn from in one place, or split in one
place, or folded with numbers that differ. (Calls within JAX, as of its rejection samplers, are not looked at.)
"""

import contextlib
import dataclasses
import functools
from collections import defaultdict

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import omokage as om
from omokage import annealing, objectives, questions, training
from omokage.batch import Batch, Event
from omokage.draws import Draws
from omokage.ensemble import Ensemble, Together
from omokage.optimizers import SCHEDULES

_NOT_RANDOM = ("key", "key_data", "key_impl", "PRNGKey", "wrap_key_data", "clone")


@contextlib.contextmanager
def recorded(monkeypatch):
    """Give a list to which each use of a key is added when a program runs: the call's place, name, key and number."""
    uses, places = [], iter(range(10**9))

    def recording(name, original):
        def call(key, *rest, **settings):
            number = rest[0] if name == "fold_in" else 0
            keep = functools.partial(note, next(places), name)
            jax.debug.callback(keep, jax.random.key_data(key), jnp.asarray(number, jnp.uint32))
            return original(key, *rest, **settings)

        return call

    def note(place, name, keys, number):
        keys = np.asarray(keys)
        for key in keys.reshape(-1, keys.shape[-1]).tolist():
            uses.append((place, name, tuple(key), int(number)))

    with monkeypatch.context() as patched:
        for name in dir(jax.random):
            member = getattr(jax.random, name)
            if callable(member) and not name.startswith("_") and name not in _NOT_RANDOM:
                patched.setattr(jax.random, name, recording(name, member))
        yield uses
        jax.effects_barrier()


def collisions(uses):
    """Return the keys that are used in two ways. Copies of a key in one call are noise that is meant to be common."""
    ways = defaultdict(set)
    for place, name, key, number in uses:
        ways[key].add((name, number, place))
    found = {}
    for key, used in ways.items():
        numbers = [number for _, number, _ in used]
        if len(used) > 1 and ({name for name, _, _ in used} != {"fold_in"} or len(set(numbers)) < len(numbers)):
            found[key] = used
    return found


def ran(monkeypatch, program, *arguments):
    """Return the uses of keys of a program, which is compiled as one."""
    with recorded(monkeypatch) as uses:
        jax.block_until_ready(jax.jit(lambda *given: program(*given))(*arguments))
        jax.effects_barrier()
    return uses


@pytest.fixture(scope="module")
def model():
    X = np.random.default_rng(0).normal(size=(12, 3))
    return om.VAE(2, hidden=(4,), epochs=1, verbose=0).fit(X).model_


@pytest.fixture(scope="module")
def batch():
    return Batch(np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32), weight=np.ones(4, np.float32))


def test_a_collision_is_found(monkeypatch):
    def twice(key):
        return jax.random.normal(jax.random.split(key)[1]) + jax.random.normal(jax.random.fold_in(key, 1))

    def once(key):
        apart = jax.vmap(lambda number: jax.random.normal(jax.random.fold_in(key, number)))(jnp.arange(3))
        common = jax.vmap(jax.random.normal)(jnp.broadcast_to(jax.random.fold_in(key, 7), (3,)))
        return apart + common

    found = collisions(ran(monkeypatch, twice, jax.random.key(0)))
    assert len(found) == 2  # the key itself, and what both make of it
    uses = ran(monkeypatch, once, jax.random.key(0))
    assert len({key for _, name, key, _ in uses if name == "normal"}) == 4
    assert not collisions(uses)


OBJECTIVES = [
    objectives.Reconstruction(),
    objectives.Denoising("salt-and-pepper", 0.3, objectives.ELBO(samples=2)),
    objectives.Denoising("gaussian", 0.3, objectives.Denoising("masking", 0.3, objectives.IWAE(3))),
    objectives.STL(),
    objectives.DReG(2),
    objectives.PIWAE(2, 2),
    objectives.MIWAE(2, 2),
    objectives.CIWAE(2),
    objectives.WAE(),
    objectives.InfoVAE(),
    objectives.TCVAE(),
    objectives.DIPVAE(),
    objectives.RAE(penalty="gradient"),
    objectives.MomentMatching(),
]


@pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)
def test_an_objective_uses_each_key_once(model, batch, objective, monkeypatch):
    uses = ran(monkeypatch, lambda key: objective(model, batch, key, jnp.float32(0)), jax.random.key(5))
    assert uses
    assert not collisions(uses)


def stepped(model, objective, batch, monkeypatch, steps=2):
    """Return the uses of keys of two steps of the training loop, and of validation after them."""
    plan = training.Plan(1, len(batch.x), 1e-3, optax.sgd(1.0), SCHEDULES["constant"], None, 0)
    state = training.begin(model, plan).state
    chunk = batch.map(lambda array: jnp.stack([array] * steps))
    clock = {name: np.float32(2) for name in ("steps_per_epoch", "total", "learning_rate")}

    def program(key):
        aside = jax.random.fold_in(jax.random.fold_in(key, 2**31 - 1), 0)
        after, _ = training._advance.__wrapped__(
            objective, plan.optimizer, plan.schedule, state, chunk, jnp.int32(steps), key, clock
        )
        return after, training._evaluate.__wrapped__(objective, state.parameters, state.frozen, chunk, aside)

    return ran(monkeypatch, program, jax.random.key(0))


def test_a_training_step_with_dropout_uses_each_key_once(batch, monkeypatch):
    X = np.random.default_rng(0).normal(size=(12, 3))
    model = om.VAE(2, hidden=(4,), dropout=0.3, epochs=1, verbose=0).fit(X).model_
    uses = stepped(model, objectives.Denoising("gaussian", 0.3, objectives.ELBO()), batch, monkeypatch)
    assert len({name for _, name, _, _ in uses}) >= 3
    assert not collisions(uses)


def test_the_members_of_an_ensemble_have_noise_of_their_own(model, batch, monkeypatch):
    uses = stepped(Ensemble.of([model, model]), Together(objectives.ELBO()), batch, monkeypatch)
    assert not collisions(uses)
    drawn = {key for _, name, key, _ in uses if name == "normal"}
    assert len(drawn) == 2 * 4  # members, times two steps and two batches of validation


def draws(key, count):
    return dataclasses.replace(Draws.of(0, count), key=key)


@pytest.mark.parametrize(
    "ask",
    [
        lambda model, batch, key: questions.terms(model, batch, draws(key, 40)),
        lambda model, batch, key: questions.log_likelihood(model, batch, draws(key, 70)),
        lambda model, batch, key: questions.entries(model, batch, draws(key, 40)),
        lambda model, batch, key: questions.imputation(
            model, batch._replace(mask=batch.x > 0), jnp.int32(1), draws(key, 5)
        ),
        lambda model, batch, key: questions.samples(model, (jnp.arange(3), None), key),
        lambda model, batch, key: questions.drawn_reconstruction(model, batch, key),
        lambda model, batch, key: annealing._annealed(model, batch, key, 2, 2),
    ],
    ids=["terms", "log_likelihood", "entries", "impute", "sample", "codes", "annealing"],
)
def test_a_question_uses_each_key_once(model, batch, ask, monkeypatch):
    uses = ran(monkeypatch, lambda key: ask(model, batch, key), jax.random.key(5))
    assert uses
    assert not collisions(uses)


@pytest.mark.parametrize(
    "family",
    [
        om.priors.TwoLayer(width=4),
        om.priors.Mixture(2),
        om.posteriors.NumPyro("Gamma"),
        om.posteriors.NumPyro("StudentT"),
        om.likelihoods.NegativeBinomial(),
        om.likelihoods.NumPyro("ZeroInflatedPoisson"),
        om.likelihoods.NumPyro("BetaBinomial", {"total_count": 5}),
    ],
    ids=repr,
)
def test_a_draw_in_several_parts_uses_each_key_once(family, monkeypatch):
    values = {}
    for name, parameter in family.parameters(Event.plain(3)).items():
        values[name] = jnp.asarray(getattr(parameter, "first", getattr(parameter, "value", np.zeros(3))))
    uses = ran(monkeypatch, lambda key: family.distribution(**values).sample(key, (2,)), jax.random.key(5))
    assert uses
    assert not collisions(uses)

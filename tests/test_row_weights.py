"""Rows of weight 0, which fill minibatches up or are left out by a member, change no bit of what is trained."""

import dataclasses

import jax
import numpy as np
import pytest

import omokage as om
from omokage import build
from omokage.batch import Batch, Event
from omokage.data.kinds.vectors import Table
from omokage.ensemble import Ensemble, Together, each_apart
from omokage.nets.layers import BatchNorm, TrainingPass
from omokage.settings import VAESettings, check
from omokage.training import begin, train

ROWS, WIDTH = 24, 3


class Weighted:
    """Rows in their own order, with weights of which some are 0."""

    entries, count, digest = WIDTH, ROWS, ""

    def __init__(self, batch):
        self.batch = batch

    def steps(self, batch_size):
        return -(-ROWS // batch_size)

    def epoch(self, order, size):
        for start in range(0, ROWS, size):
            yield self.batch.map(lambda array, start=start: array[start : start + size])


def trained(objective, rows, *, members=0, context=0, **settings):
    """Return the weights after two epochs of 3 minibatches of 8."""
    parameters = om.VAE(2, hidden=(4,), objective=objective, batch_size=8, epochs=2, **settings).get_params()
    check(VAESettings, parameters)
    table = Table(np.random.default_rng(0).normal(size=(9, WIDTH)) * 3)
    recipe = build.decide(parameters, table, str)
    random = [np.random.default_rng(number) for number in range(max(members, 1))]
    models = [build.model(parameters, recipe, Event.plain(WIDTH), one, context) for one in random]
    plan, goal, model = build.plan(parameters, ROWS, 0), recipe.objective, models[0]
    if members:
        plan = dataclasses.replace(plan, optimizer=each_apart(plan.optimizer))
        goal, model = Together(recipe.objective), Ensemble.of(models)
    result = train(begin(model, plan), goal, Weighted(rows), plan)
    assert result.problem is None and np.isfinite(result.history[-1]["loss"])
    return result.model


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (one, other)), strict=True))


OBJECTIVES = {
    "elbo": om.objectives.ELBO(free_bits=0.1),
    "wae": om.objectives.WAE(),
    "infovae": om.objectives.InfoVAE(),
    "tcvae": om.objectives.TCVAE(),
    "dipvae": om.objectives.DIPVAE(),
    "iwae": om.objectives.IWAE(samples=2),
    "rae": om.objectives.RAE(penalty="gradient"),
    "salt and pepper": om.objectives.Denoising("salt-and-pepper", objective=om.objectives.ELBO()),
}
PAIRS = [(name, "batch", False) for name in OBJECTIVES] + [("wae", None, True), ("infovae", "batch", True)]


@pytest.mark.optimised
@pytest.mark.parametrize(("name", "normalization", "conditional"), PAIRS)
def test_the_content_of_rows_of_weight_0_changes_no_bit(name, normalization, conditional):
    random = np.random.default_rng(1)
    weight = np.where(np.arange(ROWS) % 4 == 3, 0, random.uniform(0.5, 2, ROWS)).astype(np.float32)
    found = []
    for _ in range(2):
        x, context = np.random.default_rng(2).normal(size=(2, ROWS, WIDTH)).astype(np.float32)
        out = weight == 0
        x[out], context[out] = random.normal(5, 9, (2, out.sum(), WIDTH))
        settings = {"normalization": normalization, "dropout": 0.1}
        rows = Batch(x, weight=weight)
        if conditional:
            settings |= {"prior": om.priors.Conditional(om.priors.DiagonalNormal(), hidden=(3,)), "context": WIDTH}
            rows = rows._replace(context=context)
        found.append(trained(OBJECTIVES[name], rows, **settings))
    assert same(*found)
    x[0] += 1
    assert not same(trained(OBJECTIVES[name], rows._replace(x=x), **settings), found[0])


def test_rows_that_a_member_leaves_out_do_not_move_it():
    random = np.random.default_rng(3)
    # The second minibatch holds rows of fold 0 alone: nothing is left of it for member 0.
    fold = np.where(np.arange(ROWS) // 8 == 1, 0, np.arange(ROWS) % 2).astype(np.int32)
    found = []
    for _ in range(2):
        x = np.random.default_rng(2).normal(size=(ROWS, WIDTH)).astype(np.float32)
        x[fold == 0] = random.normal(5, 9, ((fold == 0).sum(), WIDTH))
        rows = Batch(x, fold=fold)
        found.append(trained(om.objectives.ELBO(), rows, members=2, normalization="batch"))
    assert same(found[0].member(0), found[1].member(0))
    assert not same(found[0].member(1), found[1].member(1))


def test_batch_statistics_of_weights_are_those_of_repeated_rows():
    x = np.random.default_rng(0).normal(size=(6, 5, 4)).astype(np.float32)  # rows, places, features
    weight = np.array([1, 2, 0, 3, 1, 1], np.float32)
    layer, drawn = BatchNorm(4, "one"), np.concatenate([x, 2 * x])  # two draws of each row
    given = TrainingPass(jax.random.key(0), weight)
    layer(drawn, given)
    repeated = np.repeat(np.stack([x, 2 * x]), weight.astype(int), axis=1).reshape(-1, 4)
    np.testing.assert_allclose(given.statistics["one"][0], repeated.mean(0), atol=1e-6)
    np.testing.assert_allclose(given.statistics["one"][1], repeated.var(0), rtol=1e-5)


@pytest.mark.parametrize("kind", ["vectors", "images"])
def test_masking_sets_the_centre_of_a_column_that_is_not_standardised(kind):
    """With all entries masked every row looks like the mean row, so q is that of the mean row."""
    random = np.random.default_rng(0)
    X = np.clip(random.normal([0.2, 0.5, 0.9, 0.4], 0.1, (60, 4)), 0, 1)
    X = X.reshape(60, 2, 2, 1) if kind == "images" else X
    masking = om.objectives.Denoising("masking", 1.0, om.objectives.ELBO())
    settings = {"hidden": (4,), "likelihood": "bernoulli", "standardize": False, "epochs": 1, "verbose": 0}
    network = {"network": "mlp"} if kind == "images" else {}
    vae = om.VAE(2, objective=masking, **settings, **network).fit(X)
    batch = vae._asked(X)[1].whole
    hidden = masking(vae.model_, batch, jax.random.key(0), np.float32(np.inf))
    middle = np.broadcast_to(X.mean(0), X.shape).astype(np.float32)
    shown = om.objectives.ELBO()(vae.model_, batch._replace(inputs=middle), jax.random.key(0), np.float32(np.inf))
    np.testing.assert_allclose(hidden["kl"], shown["kl"], rtol=1e-4)
    again = om.VAE(2, objective="elbo", warm_start=True, **settings, **network).fit(X)
    again.set_params(objective=masking).fit(X)
    assert np.allclose(again.model_.centre.values, X.mean(0), atol=1e-6)


def test_where_x_is_standardised_masking_sets_0_and_models_know_no_centre():
    X = np.random.default_rng(0).normal(3, 2, (60, 4))
    vae = om.VAE(2, hidden=(4,), objective=om.objectives.Denoising(), epochs=1, verbose=0).fit(X)
    assert vae.model_.centre is None

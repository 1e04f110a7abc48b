"""Gated recurrent units: equal to the equations step by step, in value and in gradient, whatever the padding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from omokage.nets.layers import INITIALIZERS
from omokage.nets.recurrent import GRU

B, T, C, H = 4, 6, 3, 5


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def by_the_equations(layer, x, direction, start=None):
    """Return the states, (B, T, H), one step and one gate after the other."""
    given, state = layer.inputs[direction], layer.states[direction]
    (wr, wu, wn), (br, bu, bn) = np.split(given.weight, 3), np.split(given.bias, 3)
    (ur, uu, un), (cr, cu, cn) = np.split(state.weight, 3), np.split(state.bias, 3)
    h, states = np.zeros((len(x), layer.width)) if start is None else start, []
    for step in range(x.shape[1])[:: -1 if direction else 1]:
        r = sigmoid(x[:, step] @ wr.T + br + h @ ur.T + cr)
        u = sigmoid(x[:, step] @ wu.T + bu + h @ uu.T + cu)
        n = np.tanh(x[:, step] @ wn.T + bn + r * (h @ un.T + cn))
        h = u * h + (1 - u) * n
        states.append(h)
    return np.stack(states[:: -1 if direction else 1], 1)


@pytest.fixture(scope="module", params=[False, True], ids=["forward", "both ways"])
def layer(request):
    random = np.random.default_rng(0)
    layer = GRU(C, H, initializer=INITIALIZERS["glorot_uniform"], random=random, bidirectional=request.param)
    return jax.tree.map(lambda a: a + random.normal(0, 0.3, a.shape).astype(np.float32), layer)  # biases too


def rows(seed=0, steps=T):
    return np.random.default_rng(seed).normal(size=(B, steps, C)).astype(np.float32)


def test_the_states_are_those_of_the_equations(layer):
    x, start = rows(), np.random.default_rng(5).normal(size=(B, H)).astype(np.float32)
    states, last = layer(x, start=start)
    expected = np.concatenate([by_the_equations(layer, x, d, start) for d in range(len(layer.inputs))], -1)
    np.testing.assert_allclose(states, expected, atol=1e-5)
    ends = [expected[:, -1, :H], expected[:, 0, H:]]
    np.testing.assert_allclose(last, np.concatenate(ends, -1), atol=1e-5)


def test_padding_changes_no_state(layer):
    x, lengths = rows(), np.array([6, 1, 4, 3])
    noise = rows(9)
    steps = lengths[:, None] > np.arange(T)
    states, last = layer(np.where(steps[..., None], x, noise), steps)
    for row, length in enumerate(lengths):
        alone, end = layer(x[row : row + 1, :length])
        np.testing.assert_allclose(states[row, :length], alone[0], atol=1e-6)
        np.testing.assert_allclose(last[row], end[0], atol=1e-6)


@pytest.mark.parametrize("padded", [False, True])
def test_gradients_are_those_of_differences(layer, padded):
    x = rows()
    steps = np.array([6, 1, 4, 3])[:, None] > np.arange(T) if padded else None
    start = np.random.default_rng(5).normal(size=(B, H)).astype(np.float32)
    weights = np.random.default_rng(6).normal(size=(2,))

    def loss(layer, x, start):
        states, last = layer(x, steps, start)
        return weights[0] * jnp.sin(states).sum() + weights[1] * jnp.square(last).sum()

    gradients = jax.grad(loss, argnums=(0, 1, 2))(layer, jnp.asarray(x), jnp.asarray(start))
    assert all(np.abs(leaf).max() > 1e-3 for leaf in jax.tree.leaves(gradients))
    jax.config.update("jax_enable_x64", True)
    try:
        exact = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), (layer, x, start))
        direction = jax.tree.map(lambda a: np.random.default_rng(a.size).normal(size=a.shape), exact)
        step = 1e-5
        ends = [loss(*jax.tree.map(lambda a, d, s=s: a + s * step * d, exact, direction)) for s in (1, -1)]
        difference = float((ends[0] - ends[1]) / (2 * step))
        along = sum(
            (np.asarray(g, np.float64) * d).sum()
            for g, d in zip(*map(jax.tree.leaves, (gradients, direction)), strict=True)
        )
    finally:
        jax.config.update("jax_enable_x64", False)
    assert along == pytest.approx(difference, rel=1e-4)


def test_a_row_of_a_constant_is_the_constant_at_each_step():
    layer = GRU(C + 2, H, initializer=INITIALIZERS["glorot_uniform"], random=np.random.default_rng(0))
    z = np.random.default_rng(1).normal(size=(B, 2)).astype(np.float32)
    waves = rows()[:1]
    together = np.concatenate([np.repeat(waves, B, 0), np.repeat(z[:, None], T, 1)], -1)
    np.testing.assert_allclose(layer(waves, constant=z)[0], layer(together)[0], atol=1e-6)


def test_state_weights_are_orthogonal():
    layer = GRU(C, H, initializer=INITIALIZERS["he_normal"], random=np.random.default_rng(0))
    np.testing.assert_allclose(layer.states[0].weight.T @ layer.states[0].weight, np.eye(H), atol=1e-6)

"""Temporal convolutions: equal to a sum over neighbours, blind to padding, and seeing as far as they say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from omokage.batch import Batch, Event
from omokage.errors import ParameterError
from omokage.nets import TemporalConvolution
from omokage.nets.layers import INITIALIZERS, Making
from omokage.nets.temporal import TemporalLayer

B, T, C = 3, 12, 2


def making(**changes):
    settings = {"activation": "tanh", "normalization": None, "dropout": 0.0} | changes
    return Making(np.random.default_rng(0), initializer=INITIALIZERS["glorot_uniform"], name="n", **settings)


def rows():
    return np.random.default_rng(1).normal(size=(B, T, C)).astype(np.float32)


@pytest.mark.parametrize(("kernel", "dilation"), [(3, 1), (3, 4), (5, 2), (1, 1)])
def test_a_layer_is_a_sum_over_neighbours(kernel, dilation):
    layer = TemporalLayer(C, 4, kernel, dilation, making())
    x, weight = rows(), layer.linear.weight.reshape(4, kernel, C)
    expected = np.zeros((B, T, 4))
    for step in range(T):
        for place in range(kernel):
            other = step + (place - kernel // 2) * dilation
            if 0 <= other < T:
                expected[:, step] += x[:, other] @ weight[:, place].T
    np.testing.assert_allclose(layer(x, None), np.tanh(expected + layer.linear.bias), atol=1e-5)


@pytest.mark.parametrize("missing", [False, True])
def test_padding_changes_nothing(missing):
    event = Event((C,), np.ones(C), np.ones(C), np.zeros(C), C * missing)
    encoder = TemporalConvolution().encoder(event, (6, 6), making())
    decoder = TemporalConvolution().decoder(2, event, (6, 6), making())
    x, z, lengths = rows(), np.random.default_rng(2).normal(size=(B, 2)).astype(np.float32), np.array([12, 5, 1])
    mask = lengths[:, None, None] > np.arange(T)[:, None] * np.ones(C)[None, None]
    batch = Batch(np.where(mask, x, 0), mask=mask if missing else None, lengths=lengths)
    features, steps = encoder(batch.x, batch), decoder(z, batch)
    for row, length in enumerate(lengths):
        alone = Batch(x[row : row + 1, :length])
        np.testing.assert_allclose(features[row], encoder(alone.x, alone)[0], atol=1e-6)
        np.testing.assert_allclose(steps[row, :length], decoder(z[row : row + 1], alone)[0], atol=1e-6)


def test_a_network_sees_as_far_as_its_dilations_say():
    decoder = TemporalConvolution().decoder(1, Event.plain(C), (5, 5, 5), making())
    layers = decoder.layers
    assert [layer.dilation for layer in layers] == [1, 2, 4]

    def last(x):
        for layer in layers:
            x = layer(x, None)
        return x[0, 10].sum()

    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 21, 21)), jnp.float32)
    seen = np.flatnonzero(np.abs(jax.grad(last)(x)[0]).sum(-1) > 0)
    assert (seen.min(), seen.max()) == (3, 17)  # 1 + 2 + 4 to each side


@pytest.mark.parametrize("kernel", [2, 0, -3, 1.5])
def test_kernels_are_odd(kernel):
    with pytest.raises(ParameterError, match="expected an odd whole number of at least 1"):
        TemporalConvolution(kernel)


def test_what_does_not_go_with_padding_is_refused():
    with pytest.raises(ParameterError, match="normalization='batch'"):
        TemporalConvolution().encoder(Event.plain(C), (4,), making(normalization="batch"))
    with pytest.raises(ParameterError, match="hidden"):
        TemporalConvolution().encoder(Event.plain(C), (), making())

"""Convolutional networks: products of patches are convolutions, whatever the sizes; what is made fits the picture."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from omokage.batch import Event
from omokage.errors import ParameterError
from omokage.nets import convolution
from omokage.nets.convolution import Convolution, Decoder, Encoder, Patches, Unpatches
from omokage.nets.layers import INITIALIZERS, BatchNorm, Making, TrainingPass, trainable, with_statistics
from omokage.summary import count

# Height, width, channels, stride, overlap: patches, kernels of 3, 4, 6 and 8, odd sides, strides that do not divide.
SHAPES = [
    (6, 4, 1, 2, 1),
    (7, 5, 3, 2, 1),
    (28, 28, 1, 4, 2),
    (9, 13, 3, 4, 2),
    (7, 10, 3, 2, 2),
    (5, 6, 2, 1, 3),
    (7, 7, 1, 2, 3),
    (3, 3, 3, 5, 1),
    (4, 6, 2, 1, 1),
    (5, 5, 1, 3, 2),
]


def making(random=None, **settings):
    values = {"activation": "relu", "normalization": None, "dropout": 0.0, "name": "network"}
    return Making(random=random, initializer=INITIALIZERS["lecun_uniform"], **(values | settings))


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def patches(height, width, channels, stride, overlap, outputs=5):
    layer = Patches(
        (height, width, channels),
        outputs,
        stride=stride,
        overlap=overlap,
        initializer=INITIALIZERS["lecun_normal"],
        random=np.random.default_rng(1),
    )
    return eqx.tree_at(lambda layer: layer.bias, layer, normal(outputs))


def unpatches(height, width, channels, stride, overlap, inputs=5):
    return Unpatches(
        inputs,
        (height, width, channels),
        stride=stride,
        overlap=overlap,
        initializer=INITIALIZERS["lecun_normal"],
        random=np.random.default_rng(1),
        start=normal(height, width, channels),
    )


def by_hand(layer, x):
    """Return the convolution by its definition: at each place, the sum over the kernel of what lies under it."""
    m, s, before = layer.overlap, layer.stride, (layer.overlap - 1) * layer.stride // 2
    padded = np.pad(x, ((0, 0), (before, 9 * s), (before, 9 * s), (0, 0)))
    kernel = layer.weight.reshape(-1, m, m, s, s, x.shape[-1])
    out = np.zeros((len(x), *layer.shape), np.float32)
    for row, column in np.ndindex(layer.shape[:2]):
        for i, j, u, v in np.ndindex(m, m, s, s):
            pixel = padded[:, row * s + i * s + u, column * s + j * s + v]
            out[:, row, column] += pixel @ kernel[:, i, j, u, v].T
    return out + layer.bias


@pytest.mark.parametrize("shape", SHAPES)
def test_patches_are_a_convolution(shape, monkeypatch):
    layer, x = patches(*shape), normal(2, *shape[:3])
    product = jax.jit(lambda x: layer(x))(x)
    monkeypatch.setattr(convolution, "_by_products", lambda: False)
    np.testing.assert_allclose(product, jax.jit(lambda x: layer(x))(x), atol=1e-5)
    np.testing.assert_allclose(product, by_hand(layer, x), atol=1e-5)
    assert product.shape == (2, *layer.shape)


@pytest.mark.parametrize("shape", SHAPES)
def test_unpatches_are_a_transposed_convolution(shape, monkeypatch):
    layer, down = unpatches(*shape), patches(*shape)
    x = normal(2, *down.shape)
    product = jax.jit(lambda x: layer(x))(x)
    assert product.shape == (2, *shape[:3])
    monkeypatch.setattr(convolution, "_by_products", lambda: False)
    np.testing.assert_allclose(product, jax.jit(lambda x: layer(x))(x), atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_unpatches_are_the_adjoint_of_patches(shape):
    """⟨y, P x⟩ = ⟨Pᵀ y, x⟩ where both have the same kernel; it fixes which pixel each entry of the weight means."""
    down, up = patches(*shape), unpatches(*shape)
    channels, s, m, outputs = shape[2], down.stride, down.overlap, len(down.bias)
    # The cells of one are counted from the first that a place sees, those of the other from the last that it reaches.
    kernel = down.weight.reshape(outputs, m, m, s, s, channels)[:, ::-1, ::-1].transpose(3, 4, 5, 1, 2, 0)
    up = eqx.tree_at(lambda layer: layer.weight, up, kernel.reshape(s * s * channels, -1))
    x, y = normal(2, *shape[:3], seed=3), normal(2, *down.shape, seed=4)
    forward = np.vdot(y, down(x) - down.bias)
    assert forward == pytest.approx(np.vdot(up(y) - up.bias, x), abs=1e-3 * np.sqrt(x.size))


def networks(shape, latent_dim=6, hidden=(8, 4), random=None, settings=None, **layers):
    event, family = Event.plain(*shape), Convolution(**(settings or {}))
    random = np.random.default_rng(0) if random is None else random
    encoder = family.encoder(event, hidden, making(random, **layers))
    decoder = family.decoder(latent_dim, event, hidden, making(random, **(layers | {"name": "other"})))
    head = encoder.head((latent_dim,), 0.0, INITIALIZERS["lecun_uniform"], random)
    return encoder, head, decoder, decoder.head(shape, 0.0, INITIALIZERS["lecun_uniform"], random)


def through(parts, x, training=None):
    encoder, head, decoder, picture = parts
    z = head(encoder(x, None, training), training)
    return picture(decoder(z, None, training), training)


@pytest.mark.parametrize("shape", [(28, 28, 1), (8, 8, 1), (28, 20, 1), (13, 37, 3), (1, 1, 2), (3, 70, 1)])
@pytest.mark.parametrize("hidden", [(5,), (6, 5), (4, 6, 5)])
def test_any_picture_goes_through(shape, hidden):
    for settings in ({}, {"strides": (3, 2), "overlap": 1, "inner_overlap": 2}):
        parts = networks(shape, hidden=hidden, settings=settings)
        encoder, head, decoder, _ = parts
        x = normal(2, *shape)
        features = jax.eval_shape(encoder, x)
        assert features.shape == (2, encoder.features)
        places = jax.eval_shape(decoder, jax.eval_shape(head, features))
        assert places.shape[-1] == decoder.features == hidden[0]
        assert jax.eval_shape(lambda x, parts=parts: through(parts, x), x).shape == x.shape
        assert encoder.layers[-2].shape == decoder.layers[0].shape  # the narrowest places are the same


def test_the_last_patches_are_cut_off_at_the_bottom_and_right():
    """Pictures of 8 × 8 and of 7 × 7 have the same 4 × 4 places; the smaller is the corner of the larger."""
    decoder, picture = networks((8, 8, 2))[2:]
    smaller = networks((7, 7, 2), random=np.random.default_rng(5))[3]
    smaller = eqx.tree_at(lambda head: head.weight, smaller, picture.weight)
    places = decoder(normal(3, 6))
    np.testing.assert_allclose(smaller(places), picture(places)[:, :7, :7], atol=1e-6)


def test_pixels_beyond_the_edge_are_zeros():
    layer, larger = patches(7, 5, 2, 4, 2), patches(8, 8, 2, 4, 2)
    x = normal(2, 7, 5, 2)
    padded = np.pad(x, ((0, 0), (0, 1), (0, 3), (0, 0)))
    np.testing.assert_allclose(layer(x), larger(padded), atol=1e-6)


@pytest.mark.parametrize("normalization", [None, "batch", "layer"])
def test_gradients_are_finite_and_reach_every_weight(normalization):
    parts = networks((9, 10, 2), normalization=normalization, dropout=0.2, activation="elu")
    weights, rest = eqx.partition(parts, trainable(parts))
    x = normal(16, 9, 10, 2)

    def loss(weights):
        training = TrainingPass(jax.random.key(0))
        return jnp.square(through(eqx.combine(weights, rest), x, training) - x).mean()

    value, gradients = jax.jit(jax.value_and_grad(loss))(weights)
    leaves = jax.tree.leaves(gradients)
    assert np.isfinite(value)
    assert all(np.isfinite(leaf).all() for leaf in leaves)
    # A bias that batch statistics take out again has no gradient.
    assert all(np.abs(leaf).max() > 0 for leaf in leaves if leaf.ndim == 2)


def test_batch_statistics_are_over_rows_and_places():
    parts = networks((8, 8, 1), normalization="batch", activation="identity")
    encoder = parts[0]
    training = TrainingPass(jax.random.key(0))
    x = normal(5, 8, 8, 1)
    encoder(x, None, training)
    places = encoder.layers[0](x)
    name = encoder.layers[1].name
    np.testing.assert_allclose(training.statistics[name][0], places.mean((0, 1, 2)), atol=1e-6)
    np.testing.assert_allclose(training.statistics[name][1], places.var((0, 1, 2)), atol=1e-6)
    names = [layer.name for part in parts[::2] for layer in part.layers if isinstance(layer, BatchNorm)]
    assert len(set(names)) == len(names) == 4
    moved = with_statistics(encoder, training.statistics)
    np.testing.assert_allclose(moved.layers[1].mean.value, 0.1 * places.mean((0, 1, 2)), atol=1e-6)


def test_the_number_of_parameters():
    encoder, head, decoder, picture = networks((28, 28, 3), latent_dim=30, hidden=(128, 64))
    # Kernel 8 with 3 channels, 1 × 1, and a linear layer of 7 × 7 places.
    assert count(encoder) == 8 * 8 * 3 * 128 + 128 + 128 * 64 + 64
    assert count(head) == 7 * 7 * 64 * 30 + 30
    assert count(decoder) == 30 * 7 * 7 * 64 + 7 * 7 * 64 + 64 * 128 + 128
    assert count(picture) == 128 * 8 * 8 * 3 + 28 * 28 * 3
    assert [layer.shape for layer in encoder.layers if hasattr(layer, "shape")] == [(7, 7, 128), (7, 7, 64)]
    assert [layer.shape for layer in decoder.layers if hasattr(layer, "shape")] == [(7, 7, 64), (7, 7, 128)]
    assert picture.shape == (28, 28, 3)


def test_blank_weights_take_no_memory_and_have_the_same_shapes():
    family, event = Convolution(), Event.plain(28, 20, 1)
    drawn = family.decoder(4, event, (8, 4), making(np.random.default_rng(0)))
    blank = family.decoder(4, event, (8, 4), making())
    assert jax.tree.map(np.shape, drawn) == jax.tree.map(np.shape, blank)
    assert max(layer.weight.strides for layer in blank.layers if isinstance(layer, Unpatches)) == (0, 0)
    assert isinstance(blank, Decoder)
    assert isinstance(family.encoder(event, (8, 4), making()), Encoder)


def test_the_start_of_a_head_is_that_of_each_pixel():
    decoder = networks((9, 7, 2))[2]
    start = normal(9, 7, 2)
    head = decoder.head((9, 7, 2), start, lambda random, *shape: np.zeros(shape, np.float32), np.random.default_rng(0))
    np.testing.assert_allclose(head(decoder(normal(3, 6))), np.stack([start] * 3), atol=1e-6)


def test_the_encoder_takes_pictures_laid_flat():
    encoder = networks((8, 6, 2))[0]
    x = normal(3, 8, 6, 2)
    np.testing.assert_array_equal(encoder(x), encoder(x.reshape(3, -1)))


def test_neighbours_in_the_batch_do_not_matter():
    parts = networks((9, 7, 1), normalization="batch")
    x: Array = normal(4, 9, 7, 1)
    run = jax.jit(lambda x: through(parts, x))
    np.testing.assert_array_equal(run(x)[1], run(x[[3, 1, 0, 2]])[1])


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"strides": ()}, "strides"),
        ({"strides": (2, 0)}, "strides"),
        ({"strides": 2}, "strides"),
        ({"strides": (True,)}, "strides"),
        ({"overlap": 0}, "overlap"),
        ({"inner_overlap": 1.5}, "inner_overlap"),
    ],
)
def test_settings_that_cannot_be_had(settings, text):
    with pytest.raises(ParameterError, match=f"^{text}: expected"):
        Convolution(**settings)


def test_what_a_convolution_cannot_be_made_for():
    family, make = Convolution(strides=[4, 2]), making()
    assert family.strides == (4, 2)
    with pytest.raises(ParameterError, match=r"\(784,\)"):
        family.encoder(Event.plain(784), (8,), make)
    with pytest.raises(ParameterError, match=r"^hidden: "):
        family.decoder(2, Event.plain(8, 8, 1), (), make)
    decoder = family.decoder(2, Event.plain(8, 8, 1), (8,), make)
    with pytest.raises(ParameterError, match=r"\(64, 64\).*\(8, 8, 1\)"):
        decoder.head((64, 64), 0.0, INITIALIZERS["lecun_uniform"], None)

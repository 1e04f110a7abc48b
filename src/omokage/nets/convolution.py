"""Convolutional networks, as matrix products of patches.

A stage of the encoder takes patches of s×s places with a stride of s to one place of C channels; with an overlap of m a
patch reaches over m×m such cells, as a convolution of kernel ms and stride s does. A stage of the decoder is the same
thing turned round, where what overlaps is added.

    encoder   (B, H, W, C) → patches → (B, h, w, c₁) → ... → (B, h', w', cₙ) → flat features
    decoder   z → (B, h', w', cₙ) → ... → (B, h, w, c₁) → head: patches of the picture

On CPUs such a product takes a fraction of the time of XLA's convolution, most of all inside a compiled loop; on other
devices, which are made for convolutions, the same layer is one. Both forms have the same weights.

Where a stride does not divide a side, the encoder sees zeros beyond the bottom and right edges, and the decoder cuts
off what it made there.
"""

from dataclasses import dataclass
from functools import reduce
from math import prod
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from omokage.batch import Batch, Event
from omokage.errors import ParameterError
from omokage.memory import filled
from omokage.nets.layers import (
    Activation,
    BatchNorm,
    Dropout,
    Initializer,
    LayerNorm,
    Linear,
    Making,
    Network,
    TrainingPass,
    Weighted,
    with_context,
)

_WHOLE = 8  # places a side that are not halved further


class Patches(Weighted):
    """Patches of pictures to places: a convolution of stride s and kernel ms, which keeps ⌈H/s⌉×⌈W/s⌉ places.

    The weight is (outputs, m·m·s·s·C), the inputs in the order: row and column of the cell, row and column
    within it, channel.
    """

    weight: Any
    bias: Any
    sides: tuple[int, int, int] = eqx.field(static=True)  # of the input: height, width, channels
    stride: int = eqx.field(static=True)
    overlap: int = eqx.field(static=True)

    def __init__(
        self,
        sides: tuple[int, int, int],
        outputs: int,
        *,
        stride: int,
        overlap: int,
        initializer: Initializer,
        random: np.random.Generator | None,
    ):
        linear = Linear((overlap * stride) ** 2 * sides[2], outputs, initializer, random)
        self.weight, self.bias = linear.weight, linear.bias
        self.sides, self.stride, self.overlap = sides, stride, overlap

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of what comes out."""
        height, width, _ = self.sides
        return -(-height // self.stride), -(-width // self.stride), len(self.bias)

    def __call__(self, x: Array, training: TrainingPass | None = None) -> Array:
        """Return (B, h, w, outputs) from (B, H, W, C)."""
        return (_as_product if _by_products() else _as_convolution)(self, x) + self.bias


def _as_product(layer: Patches, x: Array) -> Array:
    s, m, (height, width, _) = layer.stride, layer.overlap, layer.shape
    cells = _cells(_padded(layer, x), s)  # (B, h + m - 1, w + m - 1, s·s·C)
    views = [cells[:, i : i + height, j : j + width] for i in range(m) for j in range(m)]
    return jnp.concatenate(views, -1) @ layer.weight.T


def _as_convolution(layer: Patches, x: Array) -> Array:
    s, m = layer.stride, layer.overlap
    kernel = layer.weight.reshape(-1, m, m, s, s, layer.sides[2]).transpose(1, 3, 2, 4, 5, 0)
    kernel = kernel.reshape(m * s, m * s, layer.sides[2], -1)  # height, width, inputs, outputs
    return jax.lax.conv_general_dilated(
        _padded(layer, x), kernel, (s, s), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _padded(layer: Patches, x: Array) -> Array:
    """Return x with zeros around it, so that patches fill it exactly; half of the overlap lies before the first."""
    s, m = layer.stride, layer.overlap
    before = (m - 1) * s // 2
    after = [(h + m - 1) * s - before - side for h, side in zip(layer.shape, layer.sides, strict=False)][:2]
    return jnp.pad(x, ((0, 0), (before, after[0]), (before, after[1]), (0, 0)))


class Unpatches(Weighted):
    """Places to patches of pictures, added where they overlap: a transposed convolution of stride s and kernel ms.

    The weight is (s·s·outputs, m·m·C): from the cells around, of which a cell of the output is made.
    """

    weight: Any
    bias: Any
    shape: tuple[int, int, int] = eqx.field(static=True)  # of the output: height, width, channels
    stride: int = eqx.field(static=True)
    overlap: int = eqx.field(static=True)

    def __init__(
        self,
        inputs: int,
        shape: tuple[int, int, int],
        *,
        stride: int,
        overlap: int,
        initializer: Initializer,
        random: np.random.Generator | None,
        start: Any = None,
    ):
        """Make the weights.

        Args:
            inputs: Channels of a place.
            shape: Height, width and channels of the output; patches beyond are cut off.
            stride: The side of a cell, in pixels.
            overlap: The side of a patch, in cells.
            initializer: For the weight.
            random: Where the weight comes from; `None` leaves it blank.
            start: The first bias, for each entry of the output; `None`: one for each channel, from 0.
        """
        linear = Linear(overlap**2 * inputs, stride**2 * shape[2], initializer, random)
        self.weight, self.shape, self.stride, self.overlap = linear.weight, shape, stride, overlap
        if start is None or random is None:
            self.bias = filled(shape[2:] if start is None else shape)
        else:
            self.bias = np.broadcast_to(np.asarray(start, np.float32), shape).copy()

    def __call__(self, x: Array, training: TrainingPass | None = None) -> Array:
        """Return (B, H, W, outputs) from (B, h, w, inputs)."""
        s, m = self.stride, self.overlap
        pixels = (_added_products if _by_products() else _transposed_convolution)(self, x)
        before = (m - 1) * s // 2
        return pixels[:, before : before + self.shape[0], before : before + self.shape[1]] + self.bias


def _added_products(layer: Unpatches, x: Array) -> Array:
    m, (_, height, width, inputs) = layer.overlap, x.shape
    weight = layer.weight.reshape(-1, m, m, inputs).transpose(3, 1, 2, 0)
    patches = (x @ weight.reshape(inputs, -1)).reshape(-1, height, width, m, m, layer.weight.shape[0])
    # The cell (i, j) of the weight is i rows and j columns after the last that a place reaches.
    cells = [
        jnp.pad(patches[:, :, :, i, j], ((0, 0), (m - 1 - i, i), (m - 1 - j, j), (0, 0)))
        for i in range(m)
        for j in range(m)
    ]
    return _pixels(reduce(jnp.add, cells), layer.stride)


def _transposed_convolution(layer: Unpatches, x: Array) -> Array:
    s, m, inputs = layer.stride, layer.overlap, x.shape[-1]
    # Pixels run backwards in the kernel, since what is slid here is the kernel over places set apart.
    kernel = layer.weight.reshape(s, s, -1, m, m, inputs)[::-1, ::-1].transpose(3, 0, 4, 1, 5, 2)
    kernel = kernel.reshape(m * s, m * s, inputs, -1)
    return jax.lax.conv_transpose(x, kernel, (s, s), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _by_products() -> bool:
    return jax.default_backend() == "cpu"


def _cells(x: Array, s: int) -> Array:
    """Return (B, H/s, W/s, s·s·C) from (B, H, W, C)."""
    rows, height, width, channels = x.shape
    x = x.reshape(rows, height // s, s, width // s, s, channels).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(rows, height // s, width // s, s * s * channels)


def _pixels(x: Array, s: int) -> Array:
    """Return (B, h·s, w·s, C) from (B, h, w, s·s·C)."""
    rows, height, width, entries = x.shape
    x = x.reshape(rows, height, width, s, s, entries // s**2).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(rows, height * s, width * s, entries // s**2)


class Places(eqx.Module):
    """A vector to places: y = x Wᵀ + b, laid out as (h, w, C)."""

    linear: Linear
    shape: tuple[int, int, int] = eqx.field(static=True)

    def __call__(self, x: Array, training: TrainingPass | None = None) -> Array:
        """Return (B, h, w, C) from (B, inputs)."""
        return self.linear(x).reshape(-1, *self.shape)


class Encoder(Network):
    """From pictures, (B, H, W, C) or flat, to flat features, (B, features)."""

    layers: tuple[Any, ...]
    sides: tuple[int, int, int] = eqx.field(static=True)
    features: int = eqx.field(static=True)

    def __call__(self, inputs: Array, batch: Batch | None = None, training: TrainingPass | None = None) -> Array:
        """Return (B, features)."""
        picture = with_context(inputs.reshape(-1, *self.sides), batch)
        places = _through(self.layers, picture, training)
        return places.reshape(inputs.shape[0], -1)


class Decoder(eqx.Module):
    """From vectors, (B, L), to places, (B, h, w, features); its heads make pictures of them."""

    layers: tuple[Any, ...]
    sides: tuple[int, int, int] = eqx.field(static=True)
    stride: int = eqx.field(static=True)
    overlap: int = eqx.field(static=True)
    features: int = eqx.field(static=True)

    def __call__(self, inputs: Array, batch: Batch | None = None, training: TrainingPass | None = None) -> Array:
        """Return (B, h, w, features)."""
        return _through(self.layers, with_context(inputs, batch), training)

    def head(self, shape: tuple[int, ...], start: Any, initializer: Initializer, random: Any) -> Unpatches:
        """Return what makes a picture of the features, with a bias for each of its entries.

        Raises:
            ParameterError: If a parameter of this shape is no picture of the decoder's size.
        """
        if shape != self.sides:
            raise ParameterError(
                f"likelihood: has a parameter of the shape {shape}, and a convolutional network makes pictures, "
                f"{self.sides}. Choose another likelihood, or network='mlp'."
            )
        return Unpatches(
            self.features,
            self.sides,
            stride=self.stride,
            overlap=self.overlap,
            initializer=initializer,
            random=random,
            start=start,
        )


def _through(layers: tuple[Any, ...], x: Array, training: TrainingPass | None) -> Array:
    for layer in layers:
        x = layer(x, training)
    return x


@dataclass(frozen=True)
class Convolution:
    """Convolutional networks for pictures; the decoder mirrors the encoder.

    `hidden` has the channels of each stage, from the picture inwards. The defaults were chosen on held-out training
    rows of MNIST, for the least error in a given time on a CPU.

    Attributes:
        strides: By how much each stage shrinks the picture; the last goes for all further stages. `None`: the first by
            4 (by 2 if no side is longer than 16), the others by 2 while a side has more than 8 places, then by 1.
        overlap: How many strides wide the patches of the first stage are, and so the kernel at the picture.
        inner_overlap: The same of the other stages; 2 is more precise, and takes two to four times as long.
    """

    kinds: ClassVar[tuple[str, ...]] = ("images",)
    default_hidden: ClassVar[tuple[int, ...]] = (128, 64, 64)

    strides: tuple[int, ...] | None = None
    overlap: int = 2
    inner_overlap: int = 1

    def __post_init__(self) -> None:
        """Check the settings; a list, as configuration files have it, becomes a tuple."""
        strides = self.strides
        if isinstance(strides, list):
            object.__setattr__(self, "strides", tuple(strides))
        if strides is not None and not (isinstance(strides, tuple | list) and strides and all(map(_counts, strides))):
            raise ParameterError(f"strides: expected whole numbers from 1, such as (4, 2), or None; got {strides!r}.")
        for name in ("overlap", "inner_overlap"):
            if not _counts(getattr(self, name)):
                raise ParameterError(f"{name}: expected a whole number from 1; got {getattr(self, name)!r}.")

    def encoder(self, event: Event, hidden: tuple[int, ...], make: Making, context: int = 0) -> Encoder:
        """Return a network from x and so many columns of context, constant channels of the picture, to features."""
        layers: list[Any] = []
        height, width, channels = _picture(event)
        places = (height, width, channels + context)
        for stride, overlap, channels in zip(*self._stages(event, hidden), hidden, strict=True):
            layer = Patches(
                places,
                channels,
                stride=stride,
                overlap=overlap,
                initializer=make.initializer,
                random=make.random,
            )
            layers += [layer, *_after(channels, make, len(layers) + 1)]
            places = layer.shape
        return Encoder(layers=tuple(layers), sides=_picture(event), features=prod(places))

    def decoder(
        self, latent_dim: int, event: Event, hidden: tuple[int, ...], make: Making, context: int = 0
    ) -> Decoder:
        """Return a network from z and so many columns of context to features."""
        strides, overlaps = self._stages(event, hidden)
        shapes = [_picture(event)]  # of the picture and then of the places of each stage
        for stride, channels in zip(strides, hidden, strict=True):
            height, width, _ = shapes[-1]
            shapes.append((-(-height // stride), -(-width // stride), channels))
        linear = Linear(latent_dim + context, prod(shapes[-1]), make.initializer, make.random)
        layers: list[Any] = [Places(linear, shapes[-1]), *_after(hidden[-1], make, 1)]
        for stage in range(len(hidden) - 1, 0, -1):
            layer = Unpatches(
                hidden[stage],
                shapes[stage],
                stride=strides[stage],
                overlap=overlaps[stage],
                initializer=make.initializer,
                random=make.random,
            )
            layers += [layer, *_after(hidden[stage - 1], make, len(layers) + 1)]
        return Decoder(tuple(layers), _picture(event), strides[0], overlaps[0], hidden[0])

    def _stages(self, event: Event, hidden: tuple[int, ...]) -> tuple[list[int], list[int]]:
        """Return stride and overlap of each stage."""
        if not hidden:
            raise ParameterError(
                "hidden: a convolutional network needs the channels of one stage or more, as (128, 64, 64)."
            )
        overlaps = [self.overlap] + [self.inner_overlap] * (len(hidden) - 1)
        if self.strides is not None:
            given = self.strides[: len(hidden)]
            return [*given, *[given[-1]] * (len(hidden) - len(given))], overlaps
        longest = max(_picture(event)[:2])
        strides = []
        for stage in range(len(hidden)):
            whole = 1 if longest <= _WHOLE else 2
            strides.append((4 if longest > 2 * _WHOLE else 2) if stage == 0 else whole)
            longest = -(-longest // strides[-1])
        return strides, overlaps


def _after(channels: int, make: Making, number: int) -> list[Any]:
    """Return what follows the product of a stage; `number` is the place of the first of it among the layers."""
    layers: list[Any] = []
    if make.normalization == "batch":
        layers.append(BatchNorm(channels, f"{make.name}.{number}"))
    elif make.normalization == "layer":
        layers.append(LayerNorm(channels))
    layers.append(Activation(make.activation))
    if make.dropout:
        layers.append(Dropout(make.dropout))
    return layers


def _picture(event: Event) -> tuple[int, int, int]:
    if len(event.shape) != 3:
        raise ParameterError(
            f"network: a convolutional network takes pictures, (height, width, channels); a row of X has the shape "
            f"{event.shape}. Give X as (n, height, width, channels), or choose network='mlp'."
        )
    height, width, channels = event.shape
    return height, width, channels


def _counts(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1

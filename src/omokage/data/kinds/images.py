"""Images: arrays (n, height, width) or (n, height, width, channels), or pictures of a folder or of Pillow.

All pixels of a channel share one scale, and each has a centre of its own: standardising takes the mean picture away.
"""

import copy
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from omokage.batch import Batch, Event
from omokage.data.arrays import array_of, is_picture
from omokage.data.columns import ColumnSchema, Standardization
from omokage.data.containers import values
from omokage.data.encoded import Encoded
from omokage.data.kinds.base import Drawing, Form, Given, Kind, Pictures, Schema
from omokage.data.kinds.vectors import Table
from omokage.data.rows import RowSource
from omokage.errors import DataError, FileFormatError, ParameterError, in_unicode
from omokage.paths import is_folder
from omokage.supports import REAL, Support

_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Images(Kind):
    """How to read images.

    Attributes:
        size: (height, width) to which pictures of a folder or of Pillow are resized; `None`: they have one size.
        colours: "grey", "rgb", or "auto": grey where all pictures are.

    Example:
        >>> Images(size=(64, 64), colours="grey")
        Images(size=(64, 64), colours='grey')
    """

    size: tuple[int, int] | None = None
    colours: Literal["auto", "grey", "rgb"] = "auto"
    name: ClassVar[str] = "images"
    form: ClassVar[str] = "images"
    network: ClassVar[str] = "conv"
    called: ClassVar[str] = "pictures"

    def __post_init__(self) -> None:
        """Check the settings, which are used long after; a list, as configuration files have it, becomes a tuple."""
        if self.colours not in ("auto", "grey", "rgb"):
            raise ParameterError(f"Images(colours={self.colours!r}): expected 'auto', 'grey' or 'rgb'.")
        if isinstance(self.size, list):
            object.__setattr__(self, "size", tuple(self.size))
        size = () if self.size is None else self.size
        whole = isinstance(size, tuple) and all(type(side) is int and side > 0 for side in size)
        if self.size is not None and not (whole and len(size) == 2):
            raise ParameterError(f"Images(size={self.size!r}): expected (height, width), whole numbers from 1.")

    def rows(self, X: Any, sample_weight: Any = None, *, estimator: str = "") -> "ImageTable":
        """Return training images, read and checked; see `Kind.rows`."""
        return ImageTable(values(X, shaped=True), sample_weight, self, estimator=estimator)

    @staticmethod
    def schema_from_json(value: Mapping[str, Any]) -> "ImageSchema":
        """Return the schema that `to_json` wrote; raises FileFormatError if it is not sound."""
        return ImageSchema.from_json(value)


@dataclass(frozen=True, eq=False)
class ImageSchema(Schema):
    """What was learned of images.

    Attributes:
        columns: Of the pixels, in the order of rows, columns, channels.
        shape: (height, width, channels).
        flat: Whether X had no axis of channels.
        kind: How the pictures of a folder are read.
    """

    columns: ColumnSchema
    shape: tuple[int, int, int]
    flat: bool
    kind: Images
    forms: ClassVar[tuple[Form, ...]] = ("pictures", "array")

    @property
    def event(self) -> Event:
        """One image, as the model side sees it."""
        event = self.columns.event
        unit, spread, centre = (part.reshape(self.shape) for part in (event.unit, event.spread, event.centre))
        return Event(self.shape, unit, spread, centre)

    def rows(self, X: Any, *, support: Support = REAL, name: str = "X", estimator: str = "") -> Encoded:
        """Return images, checked and encoded; raises DataError if they cannot be used."""
        flat, shape, _ = read_images(values(X, shaped=True), self._reading, name)
        self.check_shape(shape, name)
        if not support.everything and (bad := support.outside(flat)).any():
            number, pixel = np.argwhere(bad)[0]
            raise DataError(
                f"{name}: expected {support.of(int(pixel)).text}, as at fit; got {flat[number, pixel]:.6g} in image "
                f"{number}, {_pixel(int(pixel), shape)}. Scale the images as those of the fit."
            )
        return Encoded.of(Batch(self.encode(flat)))

    def pictures(self, folder: str | os.PathLike[str]) -> tuple[NDArray[np.float32], tuple[str, ...]]:
        """Return the pictures of a folder, (n, H, W, C), read as those of the fit, and their paths in it."""
        from omokage.files.pictures import read_pictures

        return read_pictures(folder, size=self._reading.size, colours=self._reading.colours)

    @property
    def _reading(self) -> Images:
        """How new pictures are read: grey ones become RGB without loss."""
        return replace(self.kind, colours="rgb") if self.shape[2] == 3 else self.kind

    def check_shape(self, shape: tuple[int, int, int], name: str = "X") -> None:
        """Check that images are of the size of the fit; raises DataError if not."""
        if shape != self.shape:
            raise DataError(
                f"{name}: expected images of {_size(self.shape)}, as at fit; got {_size(shape)}. Make them alike; a "
                "model fitted with data=Images(size=(height, width), colours='grey' or 'rgb') does so with folders."
            )

    def encode(self, flat: NDArray[Any]) -> NDArray[np.float32]:
        """Return standardised images, (B, H, W, C), from raw ones, (B, H·W·C)."""
        return self.columns.encode(flat).reshape(-1, *self.shape)

    def decode(self, x: Any, rows: Encoded | None = None) -> Any:
        """Return raw images, in the shape of X, from standardised ones, (B, H, W, C)."""
        return self.by_entry(self.columns.decode(np.asarray(x).reshape(len(x), -1)))

    def by_entry(self, values: Any, rows: Encoded | None = None) -> Any:
        """Return numbers for each entry in the shape of X."""
        return values.reshape(-1, *(self.shape[:2] if self.flat else self.shape))

    def column(self, index: int) -> str:
        """Return what messages call a pixel."""
        return _pixel(index, self.shape)

    def entry_names(self, shape: tuple[int, ...]) -> list[str]:
        """Return what messages call each pixel, in the order of an image laid flat."""
        return [self.column(j) for j in range(self.features)]

    @property
    def described(self) -> str:
        """What a model was fitted on."""
        height, width, channels = self.shape
        return f"images of {height}×{width} pixels and {channels} channel{'s' * (channels > 1)}"

    def facts(self) -> dict[str, str]:
        """Return the range of values, and how folders are read."""
        low, high = self.columns.low.min(), self.columns.high.max()
        read = {"folders are": f"resized to {self.shape[0]}×{self.shape[1]}"} if self.kind.size else {}
        constant = int(self.columns.constant.sum())
        return {"values": f"from {low:.6g} to {high:.6g}; {constant} of {self.features} are constant", **read}

    @property
    def drawing(self) -> Drawing:
        """Images are drawn as such; of unusual channels the first is."""
        height, width, channels = self.shape
        return Drawing("pictures", (height, width, channels) if channels in (3, 4) else (height, width))

    def given(self, source: Any, ids: Sequence[str] = ()) -> Given:
        """Return the pictures of a folder, with their paths in it, or images of a file."""
        if not is_folder(source):
            return Given(values(source, shaped=True), pl.DataFrame())
        pictures, names = self.pictures(source)
        return Given(pictures, pl.DataFrame({"file": list(map(in_unicode, names))}))

    def to_pictures(self, answers: Any, given: Given | None = None) -> Pictures:
        """Return images as pictures, named as those that were given; raises DataError where values make none."""
        low, high = self.columns.low.min(), self.columns.high.max()
        white = next((white for white in (1, 255, 65_535) if low >= 0 and high <= white), None)
        if white is None or self.shape[2] not in (1, 3):
            raise DataError(
                f"images with values from {low:.6g} to {high:.6g} and {self.shape[2]} channels make no PNG files. End "
                "it in .npy."
            )
        named = None if given is None or "file" not in given.keys.columns else given.keys["file"].to_list()
        return Pictures(np.asarray(answers) / white, named)

    def to_json(self) -> dict[str, Any]:
        """Return the schema as a JSON object."""
        return {
            "kind": "images",
            "columns": self.columns.to_json(),
            "shape": list(self.shape),
            "flat": self.flat,
            "size": None if self.kind.size is None else list(self.kind.size),
            "colours": self.kind.colours,
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "ImageSchema":
        """Return the schema that `to_json` wrote; raises FileFormatError if it is not sound."""
        try:
            height, width, channels = (int(size) for size in value["shape"])
            size = None if value["size"] is None else (int(value["size"][0]), int(value["size"][1]))
            schema = ImageSchema(
                ColumnSchema.from_json(value["columns"]),
                (height, width, channels),
                bool(value["flat"]),
                Images(size, value["colours"]),
            )
        except (KeyError, TypeError, ValueError, IndexError, ParameterError) as error:
            raise FileFormatError(f"schema.json: not a schema of images ({error!r}).") from None
        if min(schema.shape) < 1 or schema.features != height * width * channels or (schema.flat and channels != 1):
            raise FileFormatError("schema.json: its pixels and shape do not fit together.")
        return schema


class ImageTable:
    """Images on their way to training."""

    alike, streamed = True, False
    names = None
    blocks = None
    series = None

    def __init__(self, X: Any, sample_weight: Any, kind: Images, *, estimator: str = ""):
        """Read the images; raises DataError if they or the weights cannot be used."""
        self.kind: Images = kind
        flat, self.shape, self.flat = read_images(X, kind, "X")
        if len(flat) < 2:
            raise DataError("X: expected at least 2 images, got 1.")
        self._table = Table(flat, sample_weight, estimator=estimator)
        self.moments = self._table.moments

    def schema(self, standardize: Standardization) -> ImageSchema:
        """Return what is learned of the images."""
        columns = ColumnSchema.learn(self.moments, None, standardize)
        if standardize == "scale":
            # Constant pixels count in no scale, and a channel of such alone has that of all pixels.
            squares = np.where(columns.constant, 0, columns.deviation**2).reshape(-1, self.shape[2])
            varying = ~columns.constant.reshape(squares.shape)
            channels = squares.sum(0) / varying.sum(0).clip(1)
            channels = np.where(varying.any(0), channels, squares.sum() / varying.sum())
            columns = replace(columns, scale=np.tile(np.sqrt(channels), len(squares)))
        return ImageSchema(columns, self.shape, self.flat, self.kind)

    @property
    def count(self) -> int:
        """The number of images of X."""
        return self._table.count

    def columns(self) -> None:
        """Return nothing: scikit-learn has no word on images."""

    def part(self, index: NDArray[np.int64]) -> "ImageTable":
        """Return a table of the images at these places of X; see `Table.part`."""
        part = copy.copy(self)
        part._table = self._table.part(index)
        part.moments = part._table.moments
        return part

    def encoded(self, schema: ImageSchema) -> Encoded:
        """Return all images as a schema encodes them, in the order of X."""
        return self._table.encoded(schema)

    def values_of(self, index: NDArray[np.int64]) -> NDArray[Any]:
        """Return the numbers by which images are put into an order, (B, H·W·C)."""
        return self._table.values_of(index)

    def rows(
        self, schema: ImageSchema, held_out: float, seed: int, context: Any = None
    ) -> tuple[RowSource, RowSource | None]:
        """Return the images for training, and a share of them that is held out (`None` where 0); see `Rows.rows`."""
        schema.check_shape(self.shape)
        return self._table.rows(schema, held_out, seed, context)


def read_images(X: Any, kind: Images, name: str) -> tuple[NDArray[Any], tuple[int, int, int], bool]:
    """Return images as a float matrix (n, H·W·C), their shape, and whether X had no axis of channels.

    Raises:
        DataError: If X is not numbers of such a shape, or holds NaN or infinity.
    """
    if is_folder(X):
        from omokage.files.pictures import read_pictures

        X, _ = read_pictures(X, size=kind.size, colours=kind.colours)
    elif isinstance(X, list | tuple) and any(map(is_picture, X)):
        from omokage.files.pictures import read_images as read_pillow

        X = read_pillow(X, size=kind.size, colours=kind.colours, name=name)
    try:
        array = array_of(X, name)
    except DataError as error:
        raise type(error)(
            f"{error} Expected images of one size, (n, height, width) or (n, height, width, channels)."
        ) from None
    if array.ndim not in (3, 4) or 0 in array.shape:
        raise DataError(
            f"{name}: expected images, (n, height, width) or (n, height, width, channels); got the shape {array.shape}."
        )
    shape = (*array.shape[1:3], 1 if array.ndim == 3 else array.shape[3])
    flat = array.reshape(len(array), -1)
    with np.errstate(invalid="ignore"):
        if not (flat.min() >= -_LARGEST and flat.max() <= _LARGEST):
            bad = ~(np.abs(flat) <= _LARGEST)
            number, pixel = np.argwhere(bad)[0]
            raise DataError(
                f"{name} contains {flat[number, pixel]} in image {number}, {_pixel(int(pixel), shape)}, and "
                f"{bad.sum() - 1} more such entries. Expected finite numbers; leave these images out."
            )
    return flat, shape, array.ndim == 3


def _pixel(index: int, shape: tuple[int, int, int]) -> str:
    row, column, channel = (int(place) for place in np.unravel_index(index, shape))
    return f"row {row}, column {column}" + (f", channel {channel}" if shape[2] > 1 else "")


def _size(shape: tuple[int, int, int]) -> str:
    return f"{shape[0]}×{shape[1]} pixels and {shape[2]} channel{'s' * (shape[2] > 1)}"

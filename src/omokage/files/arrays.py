"""Arrays in files: .npy, .npz and IDX, read in order with plain reads, and never unpickled.

A row is what the first axis counts. Values come in the machine's byte order, whatever the file's is.
"""

import io
import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from omokage.errors import FileFormatError, ParameterError, listing, suggest
from omokage.files.contents import DAMAGED, Content

_PIECE = 8 * 2**20  # bytes that are read at once
_LONGEST_ROW = 2**28  # bytes
_LONGEST_TURNED = 2**29  # bytes of an array in Fortran order, where it must be read whole
_IDX_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


@dataclass(frozen=True)
class ArrayFile:
    """One array of at least two dimensions in a file.

    Attributes:
        path: The file.
        open: Gives the stream whose byte `offset` is the first of the array.
        dtype, shape: As the header states them.
        size: Bytes of the stream; `None` where only reading it would tell.
        fortran: Whether the first index runs fastest.
        idx: Whether rows are given flattened, and nothing may follow the array.
        plain: Whether it is a file of its own that is not packed, so that going back in it costs nothing.
    """

    path: Path
    open: Callable[[], BinaryIO]
    offset: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    size: int | None
    fortran: bool = False
    idx: bool = False
    plain: bool = False

    def __post_init__(self) -> None:
        if self.dtype.kind == "O":
            raise FileFormatError(
                f"{self.path}: holds Python objects, which are not loaded, since unpickling can run code. "
                "Save numbers, as in np.save(path, X.astype(float))."
            )
        if self.dtype.kind not in "biuf":
            raise FileFormatError(f"{self.path}: holds values of the type {self.dtype}; expected numbers.")
        if len(self.shape) < 2:
            raise FileFormatError(
                f"{self.path}: expected a 2-D array, one row for each example, got the shape {self.shape}. "
                "Examples of a single feature are saved as X.reshape(-1, 1)."
            )
        if min(self.shape) < 1:
            raise FileFormatError(f"{self.path}: an array without values, of the shape {self.shape}.")
        row = prod(self.shape[1:]) * self.dtype.itemsize
        if row > _LONGEST_ROW:
            raise FileFormatError(
                f"{self.path}: a row of {row / 2**20:,.0f} MiB ({self.dtype.name} of the shape {self.shape}), more "
                f"than the {_LONGEST_ROW // 2**20} that a row may have. Is the first axis that of the rows?"
            )
        needed = self.offset + prod(self.shape) * self.dtype.itemsize
        if self.size is not None and self.size < needed:
            raise FileFormatError(
                f"{self.path}: cut short: {self.dtype.name} of the shape {self.shape} takes {needed} bytes, "
                f"got {self.size}. Write or copy it again."
            )

    def batches(self, rows: int) -> Iterator[NDArray[Any]]:
        """Yield the rows in order, `rows` at a time."""
        total, row_shape = self.shape[0], self.shape[1:]
        with self.open() as stream:
            stream.seek(self.offset)
            if self.fortran:
                yield from self._turned(stream, rows)
                return
            for start in range(0, total, rows):
                count = min(rows, total - start)
                batch = self._take(stream, count * prod(row_shape))
                if self.idx and start + count == total and stream.read(1):
                    raise FileFormatError(f"{self.path}: goes on after the {total} rows of its header.")
                yield batch.reshape(count, -1) if self.idx else batch.reshape(count, *row_shape)

    def read(self) -> NDArray[Any]:
        """Return all rows."""
        return next(self.batches(self.shape[0]))

    def _turned(self, stream: BinaryIO, rows: int) -> Iterator[NDArray[Any]]:
        """Yield rows where the first index runs fastest: column by column from a plain file, else all at once."""
        total, columns = self.shape[0], prod(self.shape[1:])
        if self.plain and rows < total:
            for start in range(0, total, rows):
                count = min(rows, total - start)
                values = np.empty((columns, count), self.dtype.newbyteorder("="))
                for column in range(columns):
                    stream.seek(self.offset + (column * total + start) * self.dtype.itemsize)
                    values[column] = self._take(stream, count)
                yield np.ascontiguousarray(values.T.reshape((count, *self.shape[1:]), order="F"))
            return
        if rows < total and total * columns * self.dtype.itemsize > _LONGEST_TURNED:
            raise FileFormatError(
                f"{self.path}: a packed array in Fortran order, which has to be read whole, of more than "
                f"{_LONGEST_TURNED // 2**20} MiB. Save np.ascontiguousarray(X)."
            )
        whole = self._take(stream, prod(self.shape)).reshape(self.shape, order="F")
        for start in range(0, total, rows):
            yield np.ascontiguousarray(whole[start : start + rows])

    def _take(self, stream: BinaryIO, count: int) -> NDArray[Any]:
        wanted = count * self.dtype.itemsize
        content = bytearray()
        # In pieces, so that a header that lies about the size does not reserve memory.
        while len(content) < wanted and (piece := stream.read(min(_PIECE, wanted - len(content)))):
            content += piece
        if len(content) < wanted:
            raise FileFormatError(
                f"{self.path}: cut short: its header states {self.shape[0]} rows, and the content ends "
                "before. Write or copy it again."
            )
        return _native(np.frombuffer(content, self.dtype))


def open_npy(content: Content) -> ArrayFile:
    """Open a .npy file, packed or not; raises FileFormatError where it does not hold rows of numbers."""
    return _npy(content.path, content.open, content.size, plain=content.packing is None)


def open_npz(path: Path, array: str | None) -> ArrayFile:
    """Open one array of an .npz file: the one named, else the only one, else "X", else "arr_0".

    Raises:
        FileFormatError: If the file or that array cannot be read.
        ParameterError: If there is no array of that name, or none is named and several could be meant.
    """
    with zipfile.ZipFile(path) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
    names = [name for name, info in members.items() if info.filename.endswith(".npy")]
    if not names:
        raise FileFormatError(f"{path}: a zip file without arrays. Write it with np.savez.")
    if array is None:
        usual = names if len(names) == 1 else [name for name in ("X", "arr_0") if name in names]
        if not usual:
            raise ParameterError(
                f"array: {path} holds {listing(names, 20)}; name the one to read (--array {names[0]})."
            )
        array = usual[0]
    if array not in names:
        raise ParameterError(
            f"array: {path} has no array {array!r}.{suggest(array, names)} It holds {listing(names, 20)}."
        )
    info = members[array]
    if info.flag_bits & 1:
        raise FileFormatError(f"{path}: {array!r} is locked with a password. Write it again with np.savez.")

    def opener() -> BinaryIO:
        with zipfile.ZipFile(path) as archive:  # the member keeps the file open
            return cast(BinaryIO, archive.open(info))

    return _npy(path, opener, info.file_size)


def open_idx(content: Content) -> ArrayFile | None:
    """Open an IDX file, packed or not; `None` if it neither is one nor is named as one.

    Raises:
        FileFormatError: If it is damaged, or has one dimension only, as labels have.
    """
    path = content.path
    named = re.search(r"[-.]idx\d-ubyte|\.idx$", content.name)
    with content.open() as stream:
        header = _idx_header(stream, str(path))
        offset = stream.tell()
    if header is None:
        if named:
            raise FileFormatError(f"{path}: named as an IDX file, but does not start as one. Get the file again.")
        return None
    dtype, shape = header
    return ArrayFile(path, content.open, offset, dtype, shape, content.size, idx=True)


def idx_array(content: bytes, place: str) -> NDArray[Any]:
    """Return the array of an unpacked IDX file, in its own shape.

    Args:
        content: The whole file.
        place: What messages call it.

    Raises:
        FileFormatError: If it is not IDX, or longer or shorter than its header states.

    Example:
        >>> idx_array(bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 2, 1, 2, 3, 4]), "example")
        array([[1, 2],
               [3, 4]], dtype=uint8)
    """
    stream = io.BytesIO(content)
    header = _idx_header(stream, place)
    if header is None:
        raise FileFormatError(f"{place}: expected an IDX file, got one that starts with {content[:4]!r}.")
    dtype, shape = header
    expected, got = prod(shape) * dtype.itemsize, len(content) - stream.tell()
    if got != expected:
        raise FileFormatError(
            f"{place}: expected {expected} bytes for the shape {shape}, got {got}. Get the file again."
        )
    return _native(np.frombuffer(stream.read(), dtype)).reshape(shape)


def _native(values: NDArray[Any]) -> NDArray[Any]:
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _npy(path: Path, opener: Callable[[], BinaryIO], size: int | None, plain: bool = False) -> ArrayFile:
    with opener() as stream:
        try:
            if np.lib.format.read_magic(stream) == (1, 0):
                shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
            else:
                shape, fortran, dtype = np.lib.format.read_array_header_2_0(stream)
        except (OSError, *DAMAGED):
            raise  # the packing is damaged, not the array
        except Exception as error:  # the header is parsed as Python, which fails in a dozen ways
            raise FileFormatError(f"{path}: not a whole .npy array ({error}). Write it again with np.save.") from None
        return ArrayFile(path, opener, stream.tell(), dtype, shape, size, fortran, plain=plain)


def _idx_header(stream: BinaryIO, place: str) -> tuple[np.dtype[Any], tuple[int, ...]] | None:
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _IDX_TYPES or magic[3] == 0:
        return None
    sizes = stream.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise FileFormatError(f"{place}: ends within its header. Get the file again.")
    return np.dtype(_IDX_TYPES[magic[2]]), tuple(np.frombuffer(sizes, ">u4").tolist())

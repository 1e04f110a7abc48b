"""How many bits the values of a picture have, and which of them is white, by the header of its file.

A picture that was made in memory has no file. Its mode says it: 8 bits, grey of 16, or real grey.

Pillow gives most pictures as 8 bits, some as 16 bits or as real numbers, and does not always say what it left out: of
16-bit colours the lower half, of 8-bit numbers the sign, of 16-bit TIFF that white is 0. The header says it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from omokage.errors import FileFormatError

_BITS, _INTERPRETATION, _SAMPLE_FORMAT = 258, 262, 339  # tags of TIFF
_KINDS = {2: "whole numbers with a sign", 4: "numbers without a type", 5: "complex numbers", 6: "complex numbers"}
_HEAD = 2**16  # bytes in which the header of JPEG 2000 and AVIF stands
_SAVE = "Save it with 8 bits a colour, or as grey with 16."


@dataclass(frozen=True)
class Depth:
    """What the numbers mean that Pillow gives of a grey picture of more than 8 bits.

    Attributes:
        white: The number of white.
        inverted: Whether the numbers count from white, so that 0 is white.
    """

    white: float = 255.0
    inverted: bool = False


def depth_of(image: Image.Image, path: object) -> Depth:
    """Return what the numbers of a picture mean, which messages call by its path or place.

    Raises:
        FileFormatError: If Pillow would give other numbers than the header says.
    """
    bits, inverted = _header(image, path)
    grey = image.mode in ("I", "F") or image.mode.startswith("I;")
    if image.mode in ("LAB", "HSV", "YCbCr"):
        raise FileFormatError(f"{path}: its colours are {image.mode}. Save it as RGB or grey.")
    if bits > 8 and not grey:
        raise FileFormatError(
            f"{path}: has {bits} bits a colour, of which only the upper 8 can be read from {image.format}. {_SAVE}"
        )
    if image.mode == "F":
        return Depth(1.0, inverted)
    if not grey:
        return Depth()
    if bits > 16:
        raise FileFormatError(
            f"{path}: whole numbers of {bits} bits, for which no value is white. Scale them, and save the picture "
            "with 16 bits, or as real numbers from 0 to 1."
        )
    # JPEG 2000 of 9 to 15 bits comes shifted to the upper ones of 16; PGM comes scaled.
    white = ((1 << bits) - 1) << (16 - bits) if image.format == "JPEG2000" else 65535
    return Depth(float(white), inverted)


def _header(image: Image.Image, path: object) -> tuple[int, bool]:
    """Return the bits of a value, and whether 0 is white in what Pillow gives."""
    match image.format:
        case "TIFF":
            return _tiff(image, path)
        case "PNG":
            return next(iter(_head(image, 25)[24:]), 8), False
        case "PPM":
            return _portable(image, path), False
        case "JPEG2000" | "AVIF":
            return _boxes(_head(image, _HEAD), path), False
        case None if image.mode == "I":
            return 32, False
    return 8, False


def _head(image: Image.Image, size: int) -> bytes:
    """Return the first bytes of the file that a picture was opened from; none where it is not at hand."""
    try:
        with Path(getattr(image, "filename", "")).open("rb") as stream:
            return stream.read(size)
    except (OSError, TypeError, ValueError):
        return b""


def _tiff(image: Any, path: object) -> tuple[int, bool]:
    tags = image.tag_v2
    bits, kinds = max(tags.get(_BITS, (1,))), set(tags.get(_SAMPLE_FORMAT, (1,)))
    if kinds - {1, 3}:
        called = _KINDS.get(max(kinds), "numbers of an unknown type")
        raise FileFormatError(
            f"{path}: {called} ({bits} bits), for which no value is black or white. Scale them, and save the picture "
            "with 8 or 16 bits without a sign, or as real numbers from 0 to 1."
        )
    if bits not in (1, 2, 4, 8, 16, 32):
        raise FileFormatError(f"{path}: a TIFF file of {bits} bits a value. {_SAVE}")
    # Of up to 8 bits Pillow turns grey round itself.
    return bits, tags.get(_INTERPRETATION) == 0 and bits > 8


def _portable(image: Any, path: object) -> int:
    if image.mode == "F":
        if abs(image.info.get("scale", 1.0)) != 1.0:
            raise FileFormatError(f"{path}: its header scales its values by {image.info['scale']:g}. Scale them first.")
        return 32
    arguments = image.tile[0][3] if image.tile else ()
    largest = arguments[-1] if isinstance(arguments, tuple) and isinstance(arguments[-1], int) else 255
    return 16 if largest > 255 else 8


def _boxes(head: bytes, path: object) -> int:
    """Return the bits of a picture in JPEG 2000 or AVIF."""
    if (place := head.find(b"av1C")) >= 0 and place + 6 < len(head):
        return (12 if head[place + 6] & 0x20 else 10) if head[place + 6] & 0x40 else 8
    if (place := head.find(b"\xff\x4f\xff\x51")) >= 0 and place + 42 < len(head):
        depths = head[place + 42 : place + 42 + 3 * head[place + 41] : 3]
        if any(depth & 0x80 for depth in depths):
            raise FileFormatError(f"{path}: whole numbers with a sign, for which no value is black. {_SAVE}")
        return max(((depth & 0x7F) + 1 for depth in depths), default=8)
    return 8

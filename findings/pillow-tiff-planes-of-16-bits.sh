#!/bin/sh
# Pillow: TIFF pictures of 16-bit colours whose colours are stored one after another.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check pillow==13.0.0

cat <<'TEXT'
Guess: a TIFF with 16-bit colours is either read right or refused, and it makes no difference
       whether its colours are stored pixel by pixel or as three planes.
Found: pixel by pixel, each value is cut to its upper byte (65535 becomes 255, 255 becomes 0).
       As planes, the bytes of the values are taken for pixels: lower and upper byte take turns.
       Nothing is raised or warned of. Planes of 8 bits are read right.
TEXT

cat > "$folder/check.py" <<'PYTHON'
import io
import struct
import sys
import warnings

import PIL
from PIL import Image

warnings.simplefilter("error")

RED, GREEN, BLUE = [7, 1007, 2007, 3007], [4007, 5007, 6007, 7007], [8007, 9007, 10007, 11007]
BY_PIXEL, PLANES = 1, 2


def tiff(strips, bits, layout):
    """The bytes of a little-endian TIFF of one row of four colour pixels, uncompressed."""
    strips_at = [8 + sum(map(len, strips[:i])) for i in range(len(strips))]
    body = b"".join(strips)
    lists_at = 8 + len(body)
    n = len(strips)
    lists = struct.pack("<3H2x", bits, bits, bits)
    if n > 1:
        lists += struct.pack(f"<{n}I", *strips_at) + struct.pack(f"<{n}I", *map(len, strips))
    where = lists_at + 8 if n > 1 else strips_at[0]
    sizes = lists_at + 8 + 4 * n if n > 1 else len(strips[0])
    tags = [
        (256, 4, 1, 4),  # width
        (257, 4, 1, 1),  # height
        (258, 3, 3, lists_at),  # bits of each colour
        (259, 3, 1, 1),  # no compression
        (262, 3, 1, 2),  # red, green, blue
        (273, 4, n, where),
        (277, 3, 1, 3),  # values a pixel
        (278, 4, 1, 1),  # rows a strip
        (279, 4, n, sizes),
        (284, 3, 1, layout),
    ]
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return struct.pack("<2sHI", b"II", 42, lists_at + len(lists)) + body + lists + directory + bytes(4)


def read(data):
    picture = Image.open(io.BytesIO(data))
    return picture.mode, list(picture.tobytes())


def upper(values):
    return [value >> 8 for value in values]


def words(values):
    return struct.pack(f"<{len(values)}H", *values)


pixels = [value for pixel in zip(RED, GREEN, BLUE) for value in pixel]
planes = [RED, GREEN, BLUE]
small = [value for pixel in zip(*map(upper, planes)) for value in pixel]

by_pixel = read(tiff([words(pixels)], 16, BY_PIXEL))
by_plane = read(tiff([words(plane) for plane in planes], 16, PLANES))
by_plane_8 = read(tiff([bytes(upper(plane)) for plane in planes], 8, PLANES))

print("pillow", PIL.__version__)
print("red in the file                  ", RED)
print("red, 16 bits, pixel by pixel     ", by_pixel[1][0::3])
print("red, 16 bits, as planes          ", by_plane[1][0::3])
print("red, upper bytes as 8-bit planes ", by_plane_8[1][0::3])

turns = [byte for pixel in zip(*(words(plane)[:4] for plane in planes)) for byte in pixel]
as_stated = by_pixel == ("RGB", small) and by_plane_8 == ("RGB", small) and by_plane == ("RGB", turns)
print("as stated" if as_stated else "behaviour changed")
sys.exit(0 if as_stated else 1)
PYTHON
"$folder/venv/bin/python" "$folder/check.py"

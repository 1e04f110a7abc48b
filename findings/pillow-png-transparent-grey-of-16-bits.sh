#!/bin/sh
# Pillow: the transparent grey of a 16-bit grey PNG.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check pillow==13.0.0

cat <<'TEXT'
Guess: a grey PNG can name one grey that is transparent (tRNS). Converted to RGBA, the pixels of
       that grey get alpha 0 and the others 255, for 8 bits and for 16.
Found: in 16 bits the pixels are cut at 255 and the transparent grey to its lower byte before they
       are compared. With the transparent grey 1000 (lower byte 232) the pixel of 1000 stays opaque
       and that of 232 vanishes. With white, 65535, every pixel of 255 or more vanishes, not
       the white ones alone. Nothing is raised or warned of. In 8 bits it is right.
TEXT

cat > "$folder/check.py" <<'PYTHON'
import io
import struct
import sys
import warnings
import zlib

import PIL
from PIL import Image

warnings.simplefilter("error")


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def alpha(greys, bits, transparent):
    """Alpha of each pixel of a grey PNG of one row, after Pillow's conversion to RGBA."""
    row = struct.pack(f">{len(greys)}{'H' if bits == 16 else 'B'}", *greys)
    header = struct.pack(">IIBBBBB", len(greys), 1, bits, 0, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"tRNS", struct.pack(">H", transparent))
    data += chunk(b"IDAT", zlib.compress(b"\0" + row)) + chunk(b"IEND", b"")
    return list(Image.open(io.BytesIO(data)).convert("RGBA").tobytes()[3::4])


print("pillow", PIL.__version__)
greys = [232, 1000, 1001, 40000, 65535]
found = {}
for transparent in (1000, 65535):
    found[transparent] = alpha(greys, 16, transparent)
    print(f"16 bits, greys {greys}, transparent {transparent}: alpha {found[transparent]}")
small = alpha([10, 11, 200, 255], 8, 10)
print(f" 8 bits, greys {[10, 11, 200, 255]}, transparent 10: alpha {small}")

stated = {1000: [0, 255, 255, 255, 255], 65535: [255, 0, 0, 0, 0]}
as_stated = found == stated and small == [0, 255, 255, 255]
print("as stated" if as_stated else "behaviour changed")
sys.exit(0 if as_stated else 1)
PYTHON
"$folder/venv/bin/python" "$folder/check.py"

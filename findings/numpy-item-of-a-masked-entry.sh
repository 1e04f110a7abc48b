#!/bin/sh
# NumPy: one entry of a masked array as a Python number.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check numpy==2.4.6

cat <<'TEXT'
Guess: a masked entry as a Python number is NaN, None or an error, whichever way it is asked for.
Found: float() gives NaN and a warning, int() raises, tolist() gives None; but item(), which code
       calls to turn scalars of NumPy into Python's own, gives 0.0 without a word, also where the
       array holds whole numbers, and whatever stands under the mask.
TEXT

cat > "$folder/check.py" <<'PYTHON'
import sys
import warnings

import numpy as np


def asked(make):
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            return repr(make()) + (" and a warning" if warned else "")
        except Exception as error:
            return type(error).__name__


floats = np.ma.array([1.5, 2.5], mask=[False, True])
whole = np.ma.array([7, 8], mask=[False, True])
found = {
    "float(floats[1])": asked(lambda: float(floats[1])),
    "int(whole[1])": asked(lambda: int(whole[1])),
    "floats.tolist()": asked(floats.tolist),
    "floats[1].item()": asked(lambda: floats[1].item()),
    "whole[1].item()": asked(lambda: whole[1].item()),
    "whole[0].item()": asked(lambda: whole[0].item()),
}
print("numpy", np.__version__)
for question, answer in found.items():
    print(f"{question:18s} {answer}")
as_stated = list(found.values()) == ["nan and a warning", "MaskError", "[1.5, None]", "0.0", "0.0", "7"]
print("as stated" if as_stated else "behaviour changed")
sys.exit(0 if as_stated else 1)
PYTHON
"$folder/venv/bin/python" "$folder/check.py"

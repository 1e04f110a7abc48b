#!/bin/sh
# narwhals: frame[name] where the names of columns are whole numbers.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check narwhals==2.29.0 pandas==3.1.1 numpy==2.4.6

cat <<'TEXT'
Guess: in a loop over frame.columns, frame[name] is the column of that name, as in pandas, and so
       is frame.get_column(name).
Found: of a pandas frame without names of its own the names are 0, 1, 2 ...; frame[0] is then the
       first ROW, as a frame, while get_column(0) is the column. Means over frame[name] are
       those of rows. With the names "0", "1", "2" the same loop is right. Nothing is raised or
       warned of as long as there are at least as many rows as columns.
TEXT

cat > "$folder/check.py" <<'PYTHON'
import sys
import warnings

import narwhals as nw
import numpy as np
import pandas as pd

warnings.simplefilter("error")

values = np.array([[1.0, 10.0, 100.0], [2.0, 20.0, 200.0], [6.0, 60.0, 600.0], [3.0, 30.0, 300.0]])
numbered = nw.from_native(pd.DataFrame(values))
named = nw.from_native(pd.DataFrame(values, columns=["0", "1", "2"]))


def means(frame):
    return [float(frame[name].to_numpy().mean()) for name in frame.columns]


print("narwhals", nw.__version__, "pandas", pd.__version__)
print("means of the columns            ", values.mean(axis=0).tolist())
print("means over frame[name], '0' ... ", means(named))
print("means over frame[name], 0 ...   ", means(numbered))
by_method = [float(numbered.get_column(name).to_numpy().mean()) for name in numbered.columns]
print("means over get_column, 0 ...    ", by_method)

right = values.mean(axis=0).tolist()
as_stated = means(named) == right == by_method and means(numbered) == values.mean(axis=1)[:3].tolist()
print("as stated" if as_stated else "behaviour changed")
sys.exit(0 if as_stated else 1)
PYTHON
"$folder/venv/bin/python" "$folder/check.py"

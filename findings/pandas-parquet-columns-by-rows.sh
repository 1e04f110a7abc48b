#!/bin/sh
# pandas: the columns of a Parquet file depend on which rows were kept, and in which order.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check pandas==3.1.1 pyarrow==26.0.1 numpy==2.4.6

cat <<'TEXT'
Guess: parts of one frame, each written by to_parquet, have the same columns in their files.
Found: where the numbers of the rows that are left happen to be evenly spaced (every second row, all
       rows turned round, a single row, any two rows), the index is a RangeIndex and only the
       file's metadata tell of it. Otherwise the file has a column more, __index_level_0__.
       So files of a shuffled split, or of groups, differ in their columns by chance.
       to_parquet(index=False) always leaves it out, index=True always writes it.
TEXT

cat > "$folder/check.py" <<'PYTHON'
import io
import sys
import warnings

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

warnings.simplefilter("error")

frame = pd.DataFrame({"x": [10, 11, 12, 13, 14, 15]})


def columns(rows, **options):
    file = io.BytesIO()
    frame.iloc[rows].to_parquet(file, engine="pyarrow", **options)
    return pq.read_schema(file).names


print("pandas", pd.__version__, "pyarrow", pa.__version__)
plain, more = ["x"], ["x", "__index_level_0__"]
stated = {(0, 2, 4): plain, (5, 4, 3, 2, 1, 0): plain, (4,): plain, (5, 1): plain, (0, 2, 5): more, (0, 2, 1): more}
found = {rows: columns(list(rows)) for rows in stated}
for rows, names in found.items():
    print(f"rows {list(rows)}: columns of the file {names}")
always = columns([0, 2, 4], index=True)
never = columns([0, 2, 5], index=False)
print("rows [0, 2, 4] with index=True:", always)
print("rows [0, 2, 5] with index=False:", never)

as_stated = found == stated and always == more and never == plain
print("as stated" if as_stated else "behaviour changed")
sys.exit(0 if as_stated else 1)
PYTHON
"$folder/venv/bin/python" "$folder/check.py"

#!/bin/sh
# Polars: the text of a time, by to_string("iso"), by a cast and in a CSV file.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check polars==2.1.0

cat <<'TEXT'
Guess: to_string("iso") gives the form of ISO 8601, 2026-01-02T03:04:05, and it is the text that
       write_csv writes of the same time.
Found: to_string("iso") and a cast to text put a space where ISO 8601 and write_csv have the T
       (to_string("iso:strict") has it). So a time that was made text and one that went through
       a file as text are not equal, and a join over them finds nothing and raises nothing.
TEXT

cat > "$folder/check.py" <<'PYTHON'
import datetime
import io
import sys
import warnings

import polars as pl

warnings.simplefilter("error")

times = pl.DataFrame({"time": [datetime.datetime(2026, 1, 2, 3, 4, 5)]})
text = {
    'to_string("iso")': times.select(pl.col("time").dt.to_string("iso")),
    'to_string("iso:strict")': times.select(pl.col("time").dt.to_string("iso:strict")),
    "cast(String)": times.cast(pl.String),
    "write_csv": pl.read_csv(io.StringIO(times.write_csv()), schema={"time": pl.String}),
}
print("polars", pl.__version__)
for how, frame in text.items():
    print(f"{how:24} {frame['time'][0]}")
joined = text["write_csv"].join(text['to_string("iso")'], on="time").height
print("rows of the join of the file's text with that of to_string:", joined)

space, strict = "2026-01-02 03:04:05.000000", "2026-01-02T03:04:05.000000"
as_stated = [frame["time"][0] for frame in text.values()] == [space, strict, space, strict] and joined == 0
print("as stated" if as_stated else "behaviour changed")
sys.exit(0 if as_stated else 1)
PYTHON
"$folder/venv/bin/python" "$folder/check.py"

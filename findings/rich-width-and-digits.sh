#!/bin/sh
# rich: how wide its output is, and what becomes of numbers then.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check rich==15.0.0

cat <<'TEXT'
Guess: COLUMNS says how wide the output is, whatever TERM is; and a table that is written to a
       pipe, where nobody looks at a screen, has its numbers whole.
Found: with TERM=dumb and colour forced by FORCE_COLOR, COLUMNS is ignored and the
       width is 80, unless LINES is set too. Into a pipe a table is as narrow as on a
       screen, and digits are cut off with an ellipsis like the letters of a text.
TEXT

cat > "$folder/width.py" <<'PYTHON'
from rich.console import Console

print(Console().width)
PYTHON
cat > "$folder/table.py" <<'PYTHON'
from rich.console import Console
from rich.table import Table

table = Table("row", "nats", "score")
table.add_row("a", "123456.789", "1.5e-12")
Console().print(table)
PYTHON
cat > "$folder/check.py" <<'PYTHON'
import importlib.metadata
import os
import pathlib
import subprocess
import sys

folder = pathlib.Path(__file__).parent


def piped(script, **variables):
    rest = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "TERM", "FORCE_COLOR", "NO_COLOR")}
    environment = {**rest, "PYTHONIOENCODING": "utf-8", **variables}
    return subprocess.run(
        [sys.executable, folder / script], env=environment, capture_output=True, encoding="utf-8", check=True
    ).stdout


print("rich", importlib.metadata.version("rich"))
widths = {}
for variables in (
    {"TERM": "xterm", "COLUMNS": "200", "FORCE_COLOR": "1"},
    {"TERM": "dumb", "COLUMNS": "200"},
    {"TERM": "dumb", "COLUMNS": "200", "FORCE_COLOR": "1"},
    {"TERM": "dumb", "COLUMNS": "200", "FORCE_COLOR": "1", "LINES": "50"},
):
    text = " ".join(f"{name}={value}" for name, value in variables.items())
    widths[text] = int(piped("width.py", **variables))
    print(f"{text}: width {widths[text]}")
table = piped("table.py", COLUMNS="26")
print(table)

as_stated = list(widths.values()) == [200, 200, 80, 200] and "1234" in table and "123456.789" not in table
print("as stated" if as_stated else "behaviour changed")
sys.exit(0 if as_stated else 1)
PYTHON
"$folder/venv/bin/python" "$folder/check.py"

#!/bin/sh
# cyclopts: a parameter that is annotated `int`, and a word with a fraction.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check cyclopts==5.5.2

cat <<'TEXT'
Guess: a command line that says --n 1.5 for a parameter `n: int` is refused, as int("1.5") is, and
       as argparse with type=int refuses it.
Found: the fraction is rounded without a word, halves to the even neighbour: 1.5 and 2.5 are 2, and
       0.4 is 0. A word such as 1e3, which is a whole number, is refused.
TEXT

cat > "$folder/check.py" <<'PYTHON'
import argparse
import contextlib
import io
import sys

import cyclopts

seen = []


def main(*, n: int) -> None:
    seen.append(n)


def by_cyclopts(word):
    app = cyclopts.App(result_action="return_value")
    app.default(main)
    seen.clear()
    try:
        app(["--n", word], exit_on_error=False, print_error=False)
    except cyclopts.CycloptsError:
        return "refused"
    return seen[0]


def by_argparse(word):
    parser = argparse.ArgumentParser()
    parser.add_argument("--n", type=int)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            return parser.parse_args(["--n", word]).n
    except SystemExit:
        return "refused"


words = ["3", "1.5", "2.5", "0.4", "1e3"]
print("cyclopts", cyclopts.__version__)
print("words   ", words)
print("argparse", [by_argparse(word) for word in words])
print("cyclopts", [by_cyclopts(word) for word in words])
as_stated = [by_argparse(word) for word in words] == [3, "refused", "refused", "refused", "refused"] and [
    by_cyclopts(word) for word in words
] == [3, 2, 2, 0, "refused"]
print("as stated" if as_stated else "behaviour changed")
sys.exit(0 if as_stated else 1)
PYTHON
"$folder/venv/bin/python" "$folder/check.py"

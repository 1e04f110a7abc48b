#!/bin/sh
# fastexcel: words for a missing value among numbers, and columns that are named by a number.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check fastexcel==0.21.0 xlsxwriter==3.2.9 \
    polars==1.36.1

cat <<'TEXT'
Guess: a column in which one cell is the text "n/a" comes as text, or as numbers with an error, since
       the sheet holds text there; and all words of that kind are treated alike. With dtypes={9: ...}
       the column "__UNNAMED__9" gets the type.
Found: "n/a", "NA" and "None" among numbers become null, without a warning. "na" and "-" make the whole
       column text. So an answer that a person wrote is lost or kept by its spelling. And the number in
       dtypes counts from column A of the sheet, that in "__UNNAMED__" from the first used column: for a
       table that begins in column B, dtypes={2: ...} changes "__UNNAMED__1".
TEXT

cat > "$folder/check.py" <<'PYTHON'
import sys
import warnings

import fastexcel
import xlsxwriter

warnings.simplefilter("error")
path = f"{sys.argv[1]}/sheet.xlsx"


def sheet(cells, column=0):
    with xlsxwriter.Workbook(path) as book:
        page = book.add_worksheet()
        for j, values in enumerate(cells):
            page.write_column(0, column + j, values)
    return fastexcel.read_excel(path)


def loaded(book, **settings):
    return book.load_sheet(0, header_row=None, schema_sample_rows=None, **settings).to_polars()


print("fastexcel", fastexcel.__version__)
found = {}
for word in ("n/a", "NA", "None", "na", "-"):
    column = loaded(sheet([[1.25, word, 5.0]])).to_series()
    found[word] = (str(column.dtype), column[1])
    print(f"{word!r} among numbers: {column.dtype}, {column.to_list()}")
frame = loaded(sheet([[1.5, 2.5], [3.5, 4.5], [5.5, 6.5]], column=1), dtypes={2: "string"})
types = {name: str(dtype) for name, dtype in frame.schema.items()}
print("dtypes={2: 'string'} of a table from column B on:", types)
lost = all(found[word] == ("Float64", None) for word in ("n/a", "NA", "None"))
kept = all(found[word] == ("String", word) for word in ("na", "-"))
shifted = types == {"__UNNAMED__0": "Float64", "__UNNAMED__1": "String", "__UNNAMED__2": "Float64"}
as_stated = lost and kept and shifted
print("as stated" if as_stated else "behaviour changed")
sys.exit(0 if as_stated else 1)
PYTHON
"$folder/venv/bin/python" "$folder/check.py" "$folder"

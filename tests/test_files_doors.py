"""Tables as people's programs write them: titles, units, signs, empty rows and columns, names that repeat."""

import polars as pl
import pytest

from omokage.errors import DataError, FileFormatError, ParameterError
from omokage.files import encodings
from omokage.files.lines import open_lines
from omokage.files.opening import open_table, read
from omokage.files.options import Options


def put(folder, content, name="a.csv"):
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def refused(error, *parts):
    """Expect an error whose message holds all of the parts."""
    return pytest.raises(error, match="".join(f"(?=(?s:.*){part})" for part in parts))


def said(table, *parts):
    """Return whether one of the notes holds all of the parts."""
    return any(all(part in note for part in parts) for note in table.notes)


# ------------------------------------------------------------------------------------------------ units


@pytest.mark.parametrize(
    "units", ["mm;°C;-", "[mm];[°C];[-]", "mm;°C;", "(mm);(°C);", "1/min;%;", "float;float;-", "m;;"]
)
def test_a_line_of_units_is_left_out_and_said(tmp_path, units):
    path = put(tmp_path, f"x;t;lot\n{units}\n1,5;20;A\n2,5;21;B\n")
    table = read(path)
    assert table.read().rows() == [(1.5, 20, "A"), (2.5, 21, "B")]
    assert said(table, "line 2", "units", "units=False")
    kept = read(path, units=False).read()
    assert kept.height == 3 and kept["x"].dtype == pl.String


@pytest.mark.parametrize(
    "text",
    [
        "x;t\n1;2\n3;4\n",
        "x;t\n1;°C\n3;4\n",  # a number beside it
        "x;t\nERR;ERR\n3;4\n",
        "x;t\n-;-\n3;4\n",
        "x;t\n<0.5;<1\n3;4\n",
        "x;t\n12*;13*\n3;4\n",
        "x;lot\nmm;A\n3;B\n4;A\n",  # a label as others are
        "x;y\nmm;s\n",  # nothing below
        "x;y\nmm;s\na;b\n",
        "x;t\n#N/A;#N/A\n3;4\n",
    ],
)
def test_other_second_lines_are_rows(tmp_path, text):
    table = read(put(tmp_path, text))
    assert table.read().height == text.count("\n") - 1 and not said(table, "units")


def test_units_above_clocks_and_by_request(tmp_path):
    table = read(put(tmp_path, "clock;t\nhh:mm;°C\n10:00;20\n10:01;21\n"))
    assert table.read().rows() == [("10:00", 20), ("10:01", 21)]
    path = put(tmp_path, "x;lot\nmm;A\n3;B\n")
    assert read(path, units=True).read().rows() == [(3, "B")]
    assert Options.from_json(Options(units=True, skip=0, sheet="a", empty="keep").to_json()).units is True
    assert [line.cells for line in open_lines(["x,y\n", "mm,s\n", "1,2\n"], Options(units=True))] == [("1", "2")]


# ----------------------------------------------------------------------------------------------- titles


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("Run 7\na;b;c\n1;2;3\n4;5;6\n", 1),
        ("Run 7;;\na;b;c\n1;2;3\n4;5;6\n", 1),
        ("Run 7;;\n;;\na;b;c\n1;2;3\n4;5;6\n", 2),
        ("Run 7\n\na;b;c\n1;2;3\n4;5;6\n", 2),
        ("Run 7\nDate;2024-01-31\n\na;b;c\n1;2;3\n4;5;6\n", 3),
        ('"Run, 7"\n\na;b;c\n1;2;3\n4;5;6\n', 2),
    ],
)
@pytest.mark.parametrize("mark", [";", ",", "\t"])
def test_titles_above_the_names_are_left_out_and_said(tmp_path, text, lines, mark):
    path = put(tmp_path, text.replace(";", mark))
    table = read(path)
    assert (table.names, table.read().rows()) == (("a", "b", "c"), [(1, 2, 3), (4, 5, 6)])
    assert said(table, "above the names", "skip=0")
    assert read(path, skip=lines).read().rows() == [(1, 2, 3), (4, 5, 6)]
    assert not said(read(path, skip=lines), "skip=0")


def test_a_first_line_that_can_be_the_names_is(tmp_path):
    assert read(put(tmp_path, "a,,c\n7,8,9\n")).names == ("a", "column_2", "c")
    assert read(put(tmp_path, "a,b\nx,y\n1,2\n")).names == ("a", "b")
    with refused(FileFormatError, "line 2: 3 cells", "has 2"):
        read(put(tmp_path, "a,b\n1,2,3\n4,5,6\n"))
    with refused(FileFormatError, "line 2: 2 cells"):
        read(put(tmp_path, "price\n1,5\n2,5\n"))
    with refused(ParameterError, "skip"):
        read(put(tmp_path, "a\n1\n"), skip=-1)
    with refused(FileFormatError, "blank"):
        read(put(tmp_path, "a\n1\n"), skip=9)
    assert [line.cells for line in open_lines(["Run 7\n", "a,b\n", "1,2\n"], Options(skip=1))] == [("1", "2")]


# -------------------------------------------------------------------------- separators and rows without a value


@pytest.mark.parametrize(
    "text", ["a;b;\n1;2;\n3;4;\n", "a;b\n1;2;\n3;4;\n", "a;b;\n1;2\n3;4\n", "a;b;;;\n1;2;;;\n3;4;;;\n"]
)
@pytest.mark.parametrize("block", [5, 2**20])
def test_separators_at_the_end_of_lines_are_no_columns(tmp_path, monkeypatch, text, block):
    path = put(tmp_path, text)
    assert read(path).names == ("a", "b")  # by more than a few bytes
    monkeypatch.setattr(encodings, "BLOCK", block)
    assert read(path, separator=";").read().rows() == [(1, 2), (3, 4)]
    lines = [line.cells for line in open_lines(text.splitlines(keepends=True))]
    assert lines == [("1", "2"), ("3", "4")]


def test_a_value_in_a_column_that_was_left_out_is_an_error(tmp_path):
    rows = "1;2;\n" * 300
    with refused(FileFormatError, "line 302", "'7'"):
        read(put(tmp_path, "a;b\n" + rows + "3;4;7\n")).read()
    path = put(tmp_path, "a;b;\n" + rows + "3;4;7\n")
    assert read(path).names == ("a", "b", "column_3") and said(read(path), "called by their place")
    assert read(put(tmp_path, "a;b;\n1;2;\n"), empty="keep").names == ("a", "b", "column_3")
    assert read(put(tmp_path, "a;b;\n1;2;\n"), columns=["a", "column_3"]).names == ("a", "column_3")


@pytest.mark.parametrize("block", [4, 2**20])
def test_rows_without_a_value_at_the_end_are_left_out_and_said(tmp_path, monkeypatch, block):
    monkeypatch.setattr(encodings, "BLOCK", block)
    path = put(tmp_path, "a;b;k\n1;2;x\n;;\n;;\n3;4;y\n;;\n;;\n\n")
    table = read(path, separator=";")
    expected = [(1, 2, "x"), (None, None, None), (None, None, None), (3, 4, "y")]
    assert table.read().rows() == expected
    assert pl.concat(table.batches(2)).rows() == expected
    assert said(table, "last 2 rows", "empty='keep'")
    assert read(path, separator=";", empty="keep").read().height == 6
    with refused(FileFormatError, "no rows with a value"):
        read(put(tmp_path, "a;b\n;\n;\n"), separator=";")


# -------------------------------------------------------------------------------------------------- names


def test_names_that_repeat_get_a_number_and_it_is_said(tmp_path):
    text = "a,b,a,a_2,a\n1,2,3,4,5\n"
    table = read(put(tmp_path, text))
    assert table.names == ("a", "b", "a_3", "a_2", "a_4") and said(table, "more than once", "a → a_3")
    assert table.read().row(0) == (1, 2, 3, 4, 5)
    assert open_lines(text.splitlines()).names == table.names
    for options in (Options(text=("a",)), Options(kept=("a",))):  # which of them is meant?
        with refused(FileFormatError, "'a'", "more than once"):
            open_table(put(tmp_path, text), options)


# -------------------------------------------------------------------------------------------------- signs


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["12,5 %", "3%", ""], [12.5, 3, None]),
        (["-12.5 %", "3\u00a0%"], [-12.5, 3]),
        (["$1,013.50", "-$3.25"], [1013.5, -3.25]),
        (["1.013,50 €", "3,25 €"], [1013.5, 3.25]),
        (["EUR 3,25", "EUR 4"], [3.25, 4]),
        (["¥300", "¥4"], [300, 4]),
    ],
)
def test_signs_beside_all_numbers_of_a_column_are_left_out(tmp_path, cells, values):
    path = put(tmp_path, "a\tb\n" + "".join(f"{cell}\tx\n" for cell in cells))
    table = read(path)
    assert table.read()["a"].to_list() == values and said(table, "without the sign", "text=")
    assert read(path, text=["a"]).read()["a"].to_list() == [cell or None for cell in cells]


@pytest.mark.parametrize("cells", [["12 %", "13"], ["12 %", "13 €"], ["12 %", "x"], ["12 mm", "13 mm"], ["5€5", "6€6"]])
def test_other_signs_stay_text(tmp_path, cells):
    table = read(put(tmp_path, "a;b\n" + "".join(f"{cell};1\n" for cell in cells)))
    assert table.read()["a"].to_list() == cells and not said(table, "without the sign")


def test_a_word_among_numbers_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(encodings, "BLOCK", 64)
    path = put(tmp_path, "a,b\n" + "1.5,2\n" * 50 + "ERR,3\n")
    table = read(path)
    assert table.read()["a"].dtype == pl.String
    assert said(table, "'a'", "line 52", "'ERR'", "missing=")
    assert read(path, missing=["ERR"]).read()["a"].to_list() == [1.5] * 50 + [None]
    with refused(DataError, "line 52", "'a'", "'ERR'"):
        open_table(path, types={"a": pl.Float64}).read()
    assert read(put(tmp_path, "a,b\nx,1\ny,2\n")).notes == ()


def test_errors_of_spreadsheets_are_missing_and_said(tmp_path):
    table = read(put(tmp_path, "a,b\n#N/A,2\n#DIV/0!,4\n5,6\n"))
    assert table.read().rows() == [(None, 2), (None, 4), (5, 6)] and said(table, "#DIV/0!", "missing")

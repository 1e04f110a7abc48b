"""What is found in text by itself, what is said about it, and what an option says instead."""

import gzip

import numpy as np
import polars as pl
import pytest

from omokage.errors import DataError, FileFormatError, ParameterError
from omokage.files import encodings
from omokage.files.numbers import EVERY, Notation
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


# ------------------------------------------------------------------------------------------- separators


@pytest.mark.parametrize("mark", [";", "\t", "|", " ", ","])
@pytest.mark.parametrize("packed", [False, True])
def test_separators_are_found_and_said(tmp_path, mark, packed):
    text = f"speed{mark}load\n1.5{mark}2\n2.5{mark}3\n".encode()
    table = read(put(tmp_path, gzip.compress(text) if packed else text, "a.csv" + ".gz" * packed))
    assert (table.names, table.read().rows()) == (("speed", "load"), [(1.5, 2), (2.5, 3)])
    assert said(table, "separator=") == (mark != ",")


@pytest.mark.parametrize(
    "text",
    [
        "  speed   load\n    1.5      2\n   22.5     33\n",
        "speed\tload\n1.5 2\n22.5   33   \n",
        "# speed load\n1.5 2\n22.5 33\n",  # as np.savetxt writes a header
        "   speed  load\n0    1.5     2\n1   22.5    33\n",  # as pandas prints a frame: the header lacks a name
        '"speed" "load"\n"1" 1.5 2\n"2" 22.5 33\n',  # as R writes one
    ],
)
@pytest.mark.parametrize("block", [5, 2**20])
def test_columns_with_spaces_between(tmp_path, monkeypatch, text, block):
    monkeypatch.setattr(encodings, "BLOCK", block)
    table = read(put(tmp_path, text, "a.txt"), separator=" ")
    assert (table.names, table.read().rows()) == (("speed", "load"), [(1.5, 2), (22.5, 33)])
    monkeypatch.setattr(encodings, "BLOCK", 2**20)  # the first lines tell
    assert read(put(tmp_path, text, "a.txt")).read().rows() == [(1.5, 2), (22.5, 33)]


def test_spaces_do_not_split_what_is_one_column(tmp_path):
    table = read(put(tmp_path, "speed of rotor\n1.5\n2.5\n"))
    assert (table.names, table.notes) == (("speed of rotor",), ())
    assert read(put(tmp_path, "name\nred part\nblue part\n")).names == ("name",)


def test_a_header_with_the_usual_separator_in_a_name(tmp_path):
    table = read(put(tmp_path, "Länge, mm;Breite, mm\n1,5;2,5\n3,5;4,5\n"))
    assert table.names == ("Länge, mm", "Breite, mm")
    assert table.read().rows() == [(1.5, 2.5), (3.5, 4.5)]


def test_separators_in_doubt(tmp_path):
    with refused(FileFormatError, "separator=';'", "separator=','"):
        read(put(tmp_path, "x;y\n1\n2\n"))  # in the names only
    with refused(FileFormatError, "line 3: 1 cells"):
        read(put(tmp_path, "x;y\n1;2\n3\n")).read()
    assert read(put(tmp_path, "x;y\n1\n2\n"), separator=",").names == ("x;y",)
    assert read(put(tmp_path, "sep=|\nx|y\n1|2\n")).names == ("x", "y")  # Excel's own line


def test_comments_before_the_header(tmp_path):
    table = read(put(tmp_path, "# logger 7\n# 2024\nx,y\n1,2\n"))
    assert table.names == ("x", "y") and said(table, "2 lines", "#")
    assert read(put(tmp_path, "#id,y\n1,2\n")).names == ("#id", "y")


# ---------------------------------------------------------------------------------- numbers as written


@pytest.mark.parametrize("notation", EVERY)
@pytest.mark.parametrize("separator", [";", "\t"])
def test_numbers_come_back_from_every_notation(tmp_path, notation, separator):
    """Written with any marks, numbers are the same: those of 1e6 and more tell the marks."""
    values = np.array([[1234567.5, -0.25, 1e-3], [0.5, 12345.75, -98765432.125]])
    marks = str.maketrans({",": notation.thousands, ".": notation.decimal})
    lines = [separator.join(f"{value:,.3f}".translate(marks) for value in row) for row in values]
    table = read(put(tmp_path, f"a{separator}b{separator}c\n" + "\n".join(lines)))
    np.testing.assert_array_equal(table.read().to_numpy(), values)
    assert said(table, notation.called()) == (notation != Notation())
    asked = read(table.path, decimal=notation.decimal, thousands=notation.thousands)
    np.testing.assert_array_equal(asked.read().to_numpy(), values)


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("a;b\n1,5;x\n2,5;y\n", [(1.5, "x"), (2.5, "y")]),
        ('a,b\n"1,234,567",1\n"2",2\n', [(1234567, 1), (2, 2)]),  # groups of three twice: no decimal mark
        ("a;b\n1.234;1,5\n", [(1234, 1.5)]),  # of one file the comma is decimal, so the point is none
        ("a;b\n0,123;7\n1,234;8\n", [(0.123, 7), (1.234, 8)]),  # no group starts with 0
        ("a;b\n1,234;7\n", [(1.234, 7)]),  # a semicolon leaves the comma to decimals
        ("a,b\n1 234,7\n", [(1234, 7)]),
        ("a;b\n1\u202f234,5;7\n", [(1234.5, 7)]),
        ("a,b\n1\u2019234.5,7\n", [(1234.5, 7)]),
        ("a;b\n1,5;\n;NA\n", [(1.5, None), (None, None)]),
        ("1,5;2,5\n3,5;4,5\n", [(1.5, 2.5), (3.5, 4.5)]),  # without a header
        ('a,b\n"1,5","2e3"\n', [(1.5, 2000.0)]),
    ],
)
def test_notations_without_doubt(tmp_path, text, rows):
    assert read(put(tmp_path, text)).read().rows() == rows


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("a;b\n1,5;1.5\n", "1,5"),  # no notation has both
        ("a,b\n12 34,1\n", "12 34"),  # groups are of three
        ("a;b\n1,2,3;1\n", "1,2,3"),
        ("a;b\n1.23.4567;1\n", "1.23.4567"),
        ("a,b\n12-34,1\n", "12-34"),
    ],
)
def test_what_is_no_number_in_any_notation_stays_text(tmp_path, text, first):
    table = read(put(tmp_path, text))
    assert table.read().row(0)[0] == first
    assert not said(table, "decimal")


def test_a_notation_in_doubt_names_the_option(tmp_path):
    path = put(tmp_path, 'a,b\n"1,234",1\n"5,678",2\n')
    with refused(DataError, "a.csv", "'1,234'", "decimal=','"):
        read(path).read()
    assert read(path, decimal=",").read()["a"].to_list() == [1.234, 5.678]
    assert read(path, decimal=".").read()["a"].to_list() == [1234, 5678]
    assert read(path, thousands=",").read()["a"].to_list() == [1234, 5678]
    assert read(path, thousands="").read()["a"].to_list() == [1.234, 5.678]


def test_a_notation_is_that_of_the_whole_file(tmp_path, monkeypatch):
    monkeypatch.setattr(encodings, "BLOCK", 64)
    lines = ["1,234;5"] * 200 + ["1.234,5;6"]  # the last line tells
    assert read(put(tmp_path, "a;b\n" + "\n".join(lines))).read()["a"].to_list() == [1.234] * 200 + [1234.5]
    lines = ['"1,234";5'] * 200 + ['"1,234.5";6']
    assert read(put(tmp_path, "a;b\n" + "\n".join(lines))).read()["a"].to_list() == [1234.0] * 200 + [1234.5]


# -------------------------------------------------------------------------------------------- encodings

JAPANESE = "品番,温度\nＡ１,20.5\n"


@pytest.mark.parametrize("encoding", ["cp932", "euc_jp", "utf-16", "utf-8-sig", "utf-32"])
def test_encodings_are_found(tmp_path, encoding):
    table = read(put(tmp_path, JAPANESE.encode(encoding)))
    assert (table.names, table.read().rows()) == (("品番", "温度"), [("Ａ１", 20.5)])
    assert said(table, encoding) == (encoding != "utf-8-sig")


@pytest.mark.parametrize("text", ["Länge,Größe\n1,2\n", "T in °C,Fläche in µm²\n1,2\n", "été,reçu\n1,2\n"])
def test_western_text_is_not_taken_for_japanese(tmp_path, text):
    table = read(put(tmp_path, text.encode("latin-1")))
    assert table.names == tuple(text.split("\n")[0].split(","))
    assert said(table, "cp1252")


def test_encodings_in_doubt_name_the_option(tmp_path):
    for text in ("ｵﾝﾄﾞ,a\n1,2\n", "日本,a\n1,2\n"):  # half-width kana are kanji of EUC-JP; two quotation marks of cp1252
        path = put(tmp_path, text.encode("cp932"))
        with refused(FileFormatError, "cp932", "encoding="):
            read(path)
        assert read(path, encoding="cp932").names == tuple(text.split("\n")[0].split(","))
    with refused(FileFormatError, "encoding='utf-16-be'"):
        read(put(tmp_path, "品番,温度\n1,2\n".encode("utf-16-be")))


def test_a_long_file_is_not_decoded_to_the_end_to_be_opened(tmp_path, monkeypatch):
    monkeypatch.setattr(encodings, "_WHOLE", 1000)
    monkeypatch.setattr(encodings, "BLOCK", 100)
    path = put(tmp_path, ("a,b\n" + "1,2\n" * 30_000).encode() + "温度,3\n".encode("cp932"))
    table = read(path)
    with refused(FileFormatError, "line 30002", "encoding='cp932'"):
        table.read()


# ---------------------------------------------------------------------------------------------- headers


@pytest.mark.parametrize(
    ("text", "doubtful"),
    [
        ("400,401,402\n0.1,0.2,0.3\n", True),  # wavelengths
        ("2019,2020,2021\n7,8,9\n", True),
        ("101,7\n0.5,0.25\n", True),
        ("0.3,0.1,0.2\n0.1,0.2,0.3\n", False),
        ("5,3,9\n1,2,3\n", False),
    ],
)
def test_a_header_of_numbers_is_data_with_a_warning(tmp_path, text, doubtful):
    path = put(tmp_path, text)
    table = read(path)
    assert table.names[0] == "column_1" and table.read().height == 2
    assert said(table, "header=True") == doubtful
    named = read(path, header=True)
    assert named.names == tuple(text.split("\n")[0].split(",")) and named.read().height == 1
    assert named.notes == ()
    assert read(put(tmp_path, "a,b\nc,d\n"), header=False).read().rows() == [("a", "b"), ("c", "d")]


# ---------------------------------------------------------------------------------------------- indexes


@pytest.mark.parametrize(
    "text",
    [
        ",a,b\n0,1,2\n1,3,4\n",  # pandas
        ",a,b\n7,1,2\n3,3,4\n",  # and after shuffling or selecting rows
        '"","a","b"\n"1",1,2\n"2",3,4\n',  # R
        ",a,b\nx,1,2\ny,3,4\n",
        ",a,b\n2024-01-01,1,2\n2024-01-02,3,4\n",
        ",,a,b\n1,1,1,2\n1,2,3,4\n",  # two levels
        "Unnamed: 0,a,b\n0,1,2\n1,3,4\n",  # written, read and written again
        "__index_level_0__,a,b\n0,1,2\n1,3,4\n",
        ";a;b\n0;1;2\n1;3;4\n",
    ],
)
def test_an_index_is_no_column(tmp_path, text):
    path = put(tmp_path, text)
    table = read(path)
    assert (table.names, table.read().rows()) == (("a", "b"), [(1, 2), (3, 4)])
    assert said(table, "index='keep'")
    kept = read(path, index="keep")
    assert len(kept.names) > 2 and not said(kept, "index=")


@pytest.mark.parametrize("text", [",a,b\n1.5,1,2\n3,3,4\n", ",a,b\n1,1,2\n1,3,4\n"])
def test_what_may_be_no_index_is_kept_with_a_note(tmp_path, text):
    path = put(tmp_path, text)
    table = read(path)
    assert table.names == ("column_1", "a", "b") and said(table, "index='drop'")
    assert read(path, index="drop").names == ("a", "b")


def test_an_index_that_is_asked_for_is_there(tmp_path):
    path = put(tmp_path, ",a\n007,1\n008,2\n")
    assert read(path, text=["column_1"]).read().rows() == [("007", 1), ("008", 2)]
    assert read(path, columns=["a", "column_1"]).read().rows() == [(1, 7), (2, 8)]


# ------------------------------------------------------------------------------------- keys and labels


def test_keys_are_text_as_it_stands(tmp_path):
    keys = ["NA", "null", "?", "007", "1.0", " x ", "nan", "1,5", "true", "１"]
    text = "k;v\n" + "".join(f"{key};{place}\n" for place, key in enumerate(keys))
    for types in ({}, {"k": pl.Int64}):
        frame = open_table(put(tmp_path, text), Options(text=("k",)), types=types).read()
        assert frame["k"].to_list() == keys
    assert read(put(tmp_path, 'k,v\n,1\n"",2\n'), text=["k"]).read()["k"].to_list() == [None, ""]
    batches = list(read(put(tmp_path, text), text=["k"]).batches(3))
    assert pl.concat(batches)["k"].to_list() == keys


# ---------------------------------------------------------------------------------------------- options


def test_a_tab_can_be_written_in_words():
    assert {Options(word) for word in ("tab", "\\t", "\t")} == {Options("\t")}


def test_options_are_saved_and_come_back():
    every = Options(";", ",", ".", "cp932", True, "X", ("-999", ""), "keep", ("k", "label"), (",", "."), ("n",))
    for options in (Options(), every, Options(text=["a"]), Options(header=False)):
        assert Options.from_json(options.to_json()) == options
    assert Options().to_json() == {}
    for bad in (3, {"sep": ";"}, {"separator": 3}, {"text": "abc"}, {"encoding": "no-such"}, {"index": None}):
        with refused(FileFormatError, "Settings of reading"):
            Options.from_json(bad)


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        ({"separator": ",,"}, ["separator", "or 'tab'"]),
        ({"separator": 3}, ["separator"]),
        ({"decimal": ";"}, ["decimal", "'.', ','"]),
        ({"thousands": "x"}, ["thousands"]),
        ({"decimal": ",", "thousands": ","}, ["thousands", "differ"]),
        ({"separator": ",", "decimal": ","}, ["separator", "decimal"]),
        ({"encoding": "no-such"}, ["encoding"]),
        ({"header": "yes"}, ["header"]),
        ({"array": 3}, ["array"]),
        ({"index": "kep"}, ["index", "mean 'keep'"]),
        ({"text": "k"}, ["text", "list"]),
        ({"missing": [3]}, ["missing"]),
        ({"notation": (",", ",")}, ["notation", "between thousands"]),
        ({"notation": ","}, ["notation", "between thousands"]),
        ({"notation": [[], {}]}, ["notation", "between thousands"]),
        ({"seperator": ";"}, ["'seperator'", "mean 'separator'"]),
    ],
)
def test_options_that_cannot_be(tmp_path, settings, parts):
    with refused(ParameterError, *parts):
        read(put(tmp_path, "a,b\n1,2\n"), **settings)

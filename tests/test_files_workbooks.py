"""Excel files: the table of a sheet with its types, whatever stands around it, or one line that says what is wrong."""

import datetime as dt
import re
import sys
import zipfile

import polars as pl
import pytest

from omokage.errors import DataError, FileFormatError, ParameterError
from omokage.files import sheets
from omokage.files.opening import open_table, read
from omokage.files.options import Options

pytest.importorskip("fastexcel")
xlsxwriter = pytest.importorskip("xlsxwriter")


def written(path, rows, *, sheet="Data", more=(), prepare=None):
    """Write cells; a pair of a value and a format of numbers has that format."""
    book = xlsxwriter.Workbook(str(path))
    page = book.add_worksheet(sheet)
    for row, cells in enumerate(rows):
        for column, cell in enumerate(cells):
            value, shown = cell if isinstance(cell, tuple) else (cell, None)
            if value is not None:
                page.write(row, column, value, shown and book.add_format({"num_format": shown}))
    for name, content in more:
        book.add_worksheet(name).write_column(0, 0, content)
    if prepare:
        prepare(book, page)
    book.close()
    return path


def refused(error, *parts):
    """Expect an error whose message holds all of the parts."""
    return pytest.raises(error, match="".join(f"(?=(?s:.*){part})" for part in parts))


def said(table, *parts):
    """Return whether one of the notes holds all of the parts."""
    return any(all(part in note for part in parts) for note in table.notes)


def test_cells_have_the_types_that_excel_gives_them(tmp_path):
    day, moment = dt.date(2024, 1, 31), dt.datetime(2024, 1, 31, 12, 30)
    rows = [
        ["n", "x", "flag", "day", "moment", "clock", "share", "part"],
        [
            1,
            1.25,
            True,
            (day, "yyyy-mm-dd"),
            (moment, "yyyy-mm-dd hh:mm"),
            (dt.time(10, 5), "hh:mm"),
            (0.125, "0.0%"),
            "x",
        ],
        [
            2,
            3,
            False,
            (day, "yyyy-mm-dd"),
            (moment, "yyyy-mm-dd hh:mm"),
            (dt.time(10, 6), "hh:mm"),
            (0.5, "0.0%"),
            None,
        ],
    ]
    path = written(tmp_path / "a.xlsx", rows)
    table = read(path)
    expected = [
        (1, 1.25, True, day, moment, dt.time(10, 5), 0.125, "x"),
        (2, 3.0, False, day, moment, dt.time(10, 6), 0.5, None),
    ]
    assert (table.names, table.rows(), table.notes) == (tuple(rows[0]), 2, ())
    assert table.read().rows() == expected
    assert [batch.rows() for batch in table.batches(1)] == [[row] for row in expected]
    assert open_table(path, columns=["x", "n"]).read().rows() == [(1.25, 1), (3.0, 2)]
    assert open_table(path, Options(text=("n", "day"))).read().select("n", "day").rows() == [
        ("1", "2024-01-31"), ("2", "2024-01-31"),
    ]  # fmt: skip
    (tmp_path / "b.csv").write_bytes(path.read_bytes())
    assert read(tmp_path / "b.csv").read().rows() == expected  # told by the content


def test_what_stands_around_the_table_is_left_out_and_said(tmp_path):
    rows = [
        [], [None, "Run 7"], [], [None, "x", None, "t", "lot"], [None, "mm", None, "°C", "-"],
        [None, 1.5, None, 20, "A"], [None, None, None, None, None], [None, 2.5, None, 21, "B"], [None, " "],
    ]  # fmt: skip
    path = written(tmp_path / "a.xlsx", rows)
    table = read(path)
    assert table.read().rows() == [(1.5, 20, "A"), (None, None, None), (2.5, 21, "B")]
    assert (table.names, said(table, "Run 7", "skip=0"), said(table, "row 5", "units=False")) == (
        ("x", "t", "lot"), True, True,
    )  # fmt: skip
    assert read(path, skip=3, units=False).read()["x"].to_list() == ["mm", "1.5", None, "2.5"]
    assert read(path, empty="keep").names == ("x", "column_2", "t", "lot")


@pytest.mark.parametrize(
    ("rows", "names", "first"),
    [
        ([[1, 2], [3, 4]], ("column_1", "column_2"), (1, 2)),
        ([["a", "a"], [1, 2]], ("a", "a_2"), (1, 2)),
        ([[None, "a"], [7, 1], [3, 2]], ("a",), (1,)),  # an index
        ([["a", None, "b"], [1, 2, 3]], ("a", "column_2", "b"), (1, 2, 3)),
        ([["a"], [True], ["yes"]], ("a",), ("true",)),
    ],
)
def test_headers_of_sheets(tmp_path, rows, names, first):
    table = read(written(tmp_path / "a.xlsx", rows))
    assert (table.names, table.read().row(0)) == (names, first)


def test_the_first_sheet_that_holds_something_is_read_and_others_are_named(tmp_path):
    path = written(tmp_path / "a.xlsx", [], more=[("Rows & more", ["x", 1, 2]), ("older", ["y", 3])])
    table = read(path)
    assert table.read().rows() == [(1,), (2,)] and said(table, "'Rows & more'", "'older'", "sheet=")
    assert read(path, sheet="older").read().rows() == [(3,)] and read(path, sheet="older").notes == ()
    with refused(ParameterError, "sheet", "'oldr'", "mean 'older'", "'Rows & more'"):
        read(path, sheet="oldr")
    with refused(FileFormatError, "empty"):
        read(path, sheet="Data")
    hidden = written(tmp_path / "b.xlsx", [["x"], [1]], more=[("B", ["y", 2])], prepare=_hide_the_first)
    assert read(hidden).names == ("y",)


def _hide_the_first(book, page):
    book.get_worksheet_by_name("B").activate()
    page.hide()


def test_errors_merged_cells_and_formulas_without_a_value(tmp_path):
    def prepare(_, page):
        page.write_formula("A2", "=1/0", None, "#DIV/0!")
        page.write_formula("A3", "=NA()", None, "#N/A")
        page.merge_range("B4:B5", "x")
        page.write_formula("A6", "=1+1", None, "")

    path = written(tmp_path / "a.xlsx", [["a", "b"], [], [], [1.5], [2], [None, "y"]], prepare=prepare)
    table = read(path)
    assert table.read().rows() == [(None, None), (None, None), (1.5, "x"), (2, None), (None, "y")]
    assert said(table, "#DIV/0! in A2, #N/A in A3", "missing")
    assert said(table, "merged", "B4:B5") and said(table, "never computed", "A6")


def test_text_in_cells_follows_the_rules_for_text(tmp_path):
    rows = [["a", "b", "c", "d"], ["1,5", "12 %", 1.234, "NA"], ["1.234,5", "3 %", "n/a", 1.234], [2, "4 %", 5, 7]]
    table = read(written(tmp_path / "a.xlsx", rows))
    assert table.read().rows() == [(1.5, 12, "1.234", None), (1234.5, 3, "n/a", 1.234), (2.0, 4, "5", 7.0)]
    assert table.notation.decimal == "," and said(table, "'c'", "row 3", "'n/a'", "missing=")
    assert read(table.path, missing=["NA", "n/a"]).read()["c"].to_list() == [1.234, None, 5.0]
    with refused(DataError, "row 3", "'c'", "'n/a'"):
        open_table(table.path, Options(decimal=",", thousands="."), types={"c": pl.Float64}).read()


def test_without_the_package_one_line_says_how_to_get_it(tmp_path, monkeypatch):
    path = written(tmp_path / "a.xlsx", [["a"], [1]])
    monkeypatch.setitem(sys.modules, "fastexcel", None)
    with refused(FileFormatError, "a.xlsx", r"pip install 'omokage\[excel\]'"):
        read(path)


def test_locked_damaged_and_too_large_files_are_named(tmp_path, monkeypatch):
    locked = tmp_path / "locked.xlsx"
    locked.write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600) + "EncryptedPackage".encode("utf-16-le"))
    with refused(FileFormatError, "locked.xlsx", "password"):
        read(locked)
    path = written(tmp_path / "a.xlsx", [["a", "b"]] + [[row, row / 4] for row in range(50)])
    monkeypatch.setattr(sheets, "_MOST_CELLS", 100)
    with refused(FileFormatError, "51 rows and 2 columns", "CSV"):
        read(path)
    monkeypatch.undo()
    whole = path.read_bytes()
    outcomes = set()
    for size in range(0, len(whole), 97):
        (tmp_path / "cut.xlsx").write_bytes(whole[:size] + b"\xff" * (size % 7) + whole[size + 7 :])
        try:
            read(tmp_path / "cut.xlsx").read()
            outcomes.add("read")
        except (FileFormatError, DataError) as error:
            assert "cut.xlsx" in str(error) and "\n" not in str(error)
            outcomes.add("refused")
    assert "refused" in outcomes


def test_odd_sheets_are_read_or_refused_in_one_line(tmp_path):
    """Every pair of kinds of cells in a column, under every kind of header."""
    cells = [None, 1, 2.5, 1e300, "", " ", "x", "1,5", "12 %", True, (dt.date(2024, 1, 1), "yyyy-mm-dd"), "#N/A"]
    cells += [(1.5, "[h]:mm:ss"), (dt.datetime(1900, 1, 1), "hh:mm"), "ü" * 40]
    pairs = [(one, other) for one in cells for other in cells]
    headers = (["n"] * len(pairs), range(len(pairs)), [None] * len(pairs), [one for one, _ in pairs])
    every = (Options(), Options(header=True, units=True), Options(empty="keep", decimal=","), Options(skip=1))
    for header, options in zip(headers, every, strict=True):
        path = written(tmp_path / "a.xlsx", [list(header), [one for one, _ in pairs], [other for _, other in pairs]])
        try:
            table = open_table(path, options)
            assert table.read().width == len(table.names) and all("\n" not in note for note in table.notes)
        except (FileFormatError, DataError) as error:
            assert "\n" not in str(error)


def test_a_binary_excel_file_and_other_documents_are_named(tmp_path):
    for names, what in ((["xl/workbook.bin"], "binary Excel"), (["word/document.xml"], "Office document")):
        path = tmp_path / "a.docx"
        with zipfile.ZipFile(path, "w") as archive:
            for name in ["[Content_Types].xml", *names]:
                archive.writestr(name, "")
        with refused(FileFormatError, re.escape(str(path)), what):
            read(path)

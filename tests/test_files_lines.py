"""Lines that come one by one are read as those of a file, and what is wrong with one is told with it."""

import io

import pytest

from omokage.errors import DataError, FileFormatError
from omokage.files import lines
from omokage.files.lines import LONGEST, open_lines
from omokage.files.opening import read
from omokage.files.options import Options


def cells(lines, **options):
    reader = open_lines(lines, Options(**options))
    return reader.names, [line.cells or line.problem for line in reader]


@pytest.mark.parametrize("mark", [",", ";", "\t", "|", " "])
@pytest.mark.parametrize("encode", [str, str.encode])
def test_rows_of_every_separator(mark, encode):
    lines = [encode(mark.join(row) + "\n") for row in (["a", "b"], ["1", "2"], ["3.5", "x"])]
    assert cells(lines) == (("a", "b"), [("1", "2"), ("3.5", "x")])


def test_options_are_those_of_a_file():
    lines = ["k;v;w\n", "NA;1.234,5; 2 \n", ' x ;"7";NA\n']
    names, rows = cells(lines, decimal=",", thousands=".", text=("k",))
    assert (names, rows) == (("k", "v", "w"), [("NA", "1234.5", "2"), (" x ", "7", None)])
    assert cells(["1,2\n", "3,4\n"]) == (("column_1", "column_2"), [("1", "2"), ("3", "4")])
    assert cells(["1,2\n", "3,4\n"], header=True) == (("1", "2"), [("3", "4")])
    assert cells(["温度,a\n".encode("cp932"), b"1,2\n"], encoding="cp932")[0] == ("温度", "a")
    assert cells(["\ufeffa,b\n", "1,2\n"])[0] == ("a", "b")
    assert cells([",a,b\n", "7,1,2\n"]) == (("a", "b"), [("1", "2")])  # the index of pandas
    assert cells([",a\n", "7,1\n"], index="keep") == (("column_1", "a"), [("7", "1")])
    assert cells([",a\n", "7,1\n"], text=("column_1",)) == (("column_1", "a"), [("7", "1")])
    reader = open_lines(["1,2\n"], names=("x", "y"))
    assert [line.cells for line in reader] == [("1", "2")]


def test_each_line_is_answered_and_the_rest_goes_on():
    lines = [b"a,b\n", b"1,\xff\n", b'"x,2\n', b"1,2,3\n", b"\n", b"5" * (LONGEST + 1), b"6,7"]
    reader = open_lines(lines)
    found = list(reader)
    assert [line.number for line in found] == [2, 3, 4, 6, 7]
    for line, part in zip(
        found, ["byte 2 is not text in utf-8", "quot|unexpected", "3 cells", "characters"], strict=False
    ):
        assert line.cells == () and f"line {line.number}" in line.problem
        assert any(word in line.problem for word in part.split("|"))
    assert found[-1].cells == ("6", "7")


@pytest.mark.parametrize("text", [False, True])
def test_of_a_line_without_an_end_only_a_piece_is_held(monkeypatch, text):
    monkeypatch.setattr(lines, "LONGEST", 100)
    monkeypatch.setattr(lines, "_PIECE", 50)
    taken = []

    def counted(stream):
        class Counted(type(stream)):
            def readline(self, limit=-1):
                taken.append(super().readline(limit))
                return taken[-1]

        return Counted(stream.getvalue())

    full = "1" * 97 + ",2\n"  # as long as a line may be
    whole = "a,b\n" + "5" * 10_000 + "\n" + full + "1" + full + "6,7\n" + "8" * 1_000
    found = list(open_lines(counted(io.StringIO(whole) if text else io.BytesIO(whole.encode()))))
    assert max(map(len, taken)) == 101
    assert [(line.number, line.cells) for line in found] == [
        (2, ()), (3, ("1" * 97, "2")), (4, ()), (5, ("6", "7")), (6, ()),
    ]  # fmt: skip
    assert found[0].problem == found[2].problem.replace("4", "2") == "line 2: more than 100 characters."


@pytest.mark.parametrize(
    ("text", "names", "rows"),
    [
        ("# made by X\na,b\n1,2\n", ("a", "b"), [("1", "2")]),
        ("#x\n#y\na;b\n1;2\n", ("a", "b"), [("1", "2")]),
        ("# a,b\n1,2\n3,4\n", ("a", "b"), [("1", "2"), ("3", "4")]),  # names in a comment
        ("#a,b\n1,2\n3,4\n", ("#a", "b"), [("1", "2"), ("3", "4")]),
        ("sep=;\na;b,c\n1;2\n", ("a", "b,c"), [("1", "2")]),
        ("a,b\r1,2\r3,4", ("a", "b"), [("1", "2"), ("3", "4")]),
        ("a,b\r\n1,2\r\n", ("a", "b"), [("1", "2")]),
        ('a,b\n"1,5",""\n"x ""y""",2\n', ("a", "b"), [("1,5", None), ('x "y"', "2")]),
    ],
)
def test_lines_before_the_rows_and_their_ends_are_those_of_a_file(tmp_path, text, names, rows):
    assert cells(io.BytesIO(text.encode())) == (names, rows)
    (tmp_path / "a.csv").write_bytes(text.encode())
    table = read(tmp_path / "a.csv")
    assert table.names == names
    assert [tuple(None if cell is None else str(cell) for cell in row) for row in table.read().rows()] == rows


def test_a_line_feed_in_a_cell_is_refused_on_both_of_its_lines():
    _, rows = cells(["k,a\n", '"q\n', 'r",1\n', '"s",2\n'], text=("k",))
    assert [row if isinstance(row, tuple) else row.split(" (")[0] for row in rows] == [
        "line 2: cannot be split into cells", "line 3: cannot be split into cells", ("s", "2"),
    ]  # fmt: skip
    assert "cannot hold a line feed" in rows[0]


def test_nothing_is_read_ahead():
    seen = []

    def lines():
        for number, line in enumerate(["a,b\n", "1,2\n", "3,4\n"]):
            seen.append(number)
            yield line

    reader = open_lines(lines())
    assert seen == [0]
    rows = iter(reader)
    assert next(rows).cells == ("1", "2") and seen == [0, 1]


def test_a_first_line_that_cannot_be():
    with pytest.raises(DataError, match="no lines"):
        open_lines([])
    with pytest.raises(FileFormatError, match="repeat"):
        open_lines(["a,a\n"], Options(text=("a",)))
    with pytest.raises(FileFormatError, match="PDF"):
        open_lines([b"%PDF-1.7\n"])
    with pytest.raises(FileFormatError, match=r"byte 0 is not text"):
        open_lines([b"\xff\n"])

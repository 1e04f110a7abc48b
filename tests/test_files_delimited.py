"""Delimited text: what is read is what is there, batches are the whole, and a bad cell is named by its line."""

import gzip

import numpy as np
import polars as pl
import pytest

from omokage.errors import DataError, FileFormatError, ParameterError
from omokage.files import encodings, records
from omokage.files.opening import TableFile, open_table
from omokage.files.options import Options
from omokage.files.writing import write_table

JAPANESE = "品番,温度,判定\nＡ１,20.5,良\nＡ２,21.0,不良\n①,,良\n"


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of a few bytes, so that cells, characters and quoted line feeds are cut everywhere."""
    monkeypatch.setattr(encodings, "BLOCK", 7)


def put(folder, name, content):
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def joined(table: TableFile, rows: int):
    """Return all batches as one, having checked that each has `rows` rows but for the last."""
    batches = list(table.batches(rows))
    assert [len(batch) for batch in batches[:-1]] == [rows] * (len(batches) - 1)
    assert 0 < len(batches[-1]) <= rows
    return pl.concat(batches) if isinstance(batches[0], pl.DataFrame) else np.concatenate(batches)


def refused(error, *parts):
    """Expect an error whose message holds all of the parts."""
    return pytest.raises(error, match="".join(f"(?=(?s:.*){part})" for part in parts))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp932", "euc_jp", "utf-16", "utf-16-le", "gb18030"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_encodings_and_line_ends_give_the_same_table(tmp_path, small_blocks, encoding, line_end):
    text = JAPANESE.replace("①", "Ａ３")
    path = put(tmp_path, "部品.csv", text.replace("\n", line_end).encode(encoding))
    table = open_table(path, Options(encoding=encoding))
    assert table.names == ("品番", "温度", "判定")
    expected = pl.DataFrame(
        {"品番": ["Ａ１", "Ａ２", "Ａ３"], "温度": [20.5, 21.0, None], "判定": ["良", "不良", "良"]}
    )
    assert table.read().equals(expected)
    assert joined(table, 2).equals(expected)


def test_a_byte_order_mark_needs_no_setting(tmp_path):
    assert open_table(put(tmp_path, "a.csv", "\ufeffx,y\n1,2\n")).names == ("x", "y")


@pytest.mark.parametrize(
    ("encoding", "text"), [("cp932", JAPANESE), ("euc_jp", JAPANESE.replace("①", "甲")), ("utf-16", JAPANESE)]
)
def test_a_wrong_encoding_is_named_with_its_place_and_the_right_one(tmp_path, small_blocks, encoding, text):
    ascii_line = "a,b,c\n"
    path = put(tmp_path, "a.csv", (ascii_line + text).encode(encoding))
    place = 0 if encoding == "utf-16" else len(ascii_line)
    line = 1 if encoding == "utf-16" else 2
    with refused(
        FileFormatError, "a.csv", f"byte {place}, in line {line}", f"encoding='{encoding}'", f"--encoding {encoding}"
    ):
        open_table(path, Options(encoding="utf-8")).read()
    with refused(FileFormatError, f"encoding='{encoding}'"):
        open_table(path, Options(encoding="ascii")).read()


def test_shift_jis_with_extensions_reads_as_cp932(tmp_path):
    path = put(tmp_path, "a.csv", JAPANESE.encode("cp932"))
    with refused(FileFormatError, "shift_jis", "encoding='cp932'"):
        open_table(path, Options(encoding="shift_jis"))
    assert open_table(path, Options(encoding="cp932")).read()["品番"][2] == "①"


def test_bytes_of_no_encoding_are_still_placed(tmp_path):
    with refused(FileFormatError, "byte 4, in line 2", "does not read as"):
        open_table(put(tmp_path, "a.csv", b"a,b\n\x81\xff\x8d,1\n"))


def test_utf16_without_a_mark_and_binary_content_are_not_text(tmp_path):
    with refused(FileFormatError, "NUL", "utf-16"):
        open_table(put(tmp_path, "a.csv", "x,y\n1,2\n".encode("utf-16-le")))


@pytest.mark.parametrize("encoding", ["no-such", "base64", "hex", "", "rot13"])
def test_what_is_no_text_encoding_is_refused(tmp_path, encoding):
    with refused(ParameterError, "encoding"):
        open_table(put(tmp_path, "a.csv", "x,y\n1,2\n"), Options(encoding=encoding))


def test_types_fit_the_whole_file_not_its_beginning(tmp_path, monkeypatch):
    monkeypatch.setattr(encodings, "BLOCK", 200)
    early = [
        {"int": i, "float": i, "code": f"{i:03d}", "flag": "true", "mixed": "true", "late": "", "none": ""}
        for i in range(500)
    ]
    last = {"int": -1, "float": 0.5, "code": "B12", "flag": "False", "mixed": "1", "late": "2.5", "none": ""}
    path = tmp_path / "a.csv"
    pl.DataFrame([{k: str(v) for k, v in row.items()} for row in [*early, last]]).write_csv(path)
    frame = open_table(path).read()
    kinds = [pl.Int64, pl.Float64, pl.String, pl.Boolean, pl.String, pl.Float64, pl.String]
    assert frame.dtypes == kinds
    assert frame.row(7) == (7, 7.0, "007", True, "true", None, None)
    assert frame.row(500) == (-1, 0.5, "B12", False, "1", 2.5, None)
    for batch in open_table(path).batches(17):
        assert batch.dtypes == kinds


def test_agrees_with_polars_where_that_reads_the_whole_file(tmp_path):
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "a": rng.standard_normal(3000),
            "b": rng.integers(-5, 5, 3000),
            "c": [f'say "{i}",\nplease' if i % 3 else f"x{i}" for i in range(3000)],
            "d": rng.random(3000) < 0.5,
            "e": [None if i % 7 == 0 else i / 8 for i in range(3000)],
        }
    )
    path = write_table(tmp_path / "a.csv", frame)
    assert open_table(path).read().equals(frame)
    assert open_table(path).read().equals(pl.read_csv(path, infer_schema_length=None))
    assert joined(open_table(path), 1000).equals(frame)
    assert joined(open_table(path), 999).equals(frame)


@pytest.mark.parametrize("block", [1, 2, 3, 5, 11])
def test_quoted_commas_line_feeds_and_marks_survive_any_block_size(tmp_path, monkeypatch, block):
    monkeypatch.setattr(encodings, "BLOCK", block)
    frame = pl.DataFrame({"名,前": ['a "b" c', "x\ny\n\nz", ",,", "é\n"], "n": [1, 2, 3, 4]})
    path = write_table(tmp_path / "a.csv", frame)
    assert open_table(path).read().equals(frame)
    assert joined(open_table(path), 3).equals(frame)


def test_spaces_around_numbers_and_usual_marks_for_missing(tmp_path):
    path = put(tmp_path, "a.csv", "a, b ,c\n 1, +2.5 , x y\nNA,?,NaN\n3,1e3, null\n")
    table = open_table(path)
    assert table.names == ("a", "b", "c")
    assert table.read().rows() == [(1, 2.5, " x y"), (None, None, None), (3, 1000.0, None)]
    kept = open_table(path, Options(missing=["-999"])).read()
    assert kept["a"].to_list() == [" 1", "NA", "3"]


@pytest.mark.parametrize(
    ("text", "names", "rows"),
    [
        ("1.5,2\n3,4\n", ("column_1", "column_2"), 2),
        ("-1e-3,.5,,nan\n3,4,5,6\n", ("column_1", "column_2", "column_3", "column_4"), 2),
        ("0,1,2\n7,8,9\n", ("0", "1", "2"), 1),  # pandas' header over an array
        (",0,1,2\n0,7,8,9\n", ("0", "1", "2"), 1),  # and with its index, which is left out
        ("0,1\n7,8\n", ("column_1", "column_2"), 2),
        ("a,1\n7,8\n", ("a", "1"), 1),
        ("a,,c\n7,8,9\n", ("a", "column_2", "c"), 1),
        ("\n\n1,2\n7,8\n", ("column_1", "column_2"), 2),
        ("5\n7\n", ("column_1",), 2),
    ],
)
def test_a_first_line_of_numbers_is_data(tmp_path, text, names, rows):
    table = open_table(put(tmp_path, "a.csv", text))
    assert (table.names, table.read().height, table.rows()) == (names, rows, None)


def test_blank_lines_count_in_a_single_column_only(tmp_path):
    assert open_table(put(tmp_path, "a.csv", "a,b\n\n1,2\n\n\n,\n3,4\n\n")).read().rows() == [
        (1, 2),
        (None, None),
        (3, 4),
    ]
    assert open_table(put(tmp_path, "b.csv", "a\n1\n\n3\n")).read().rows() == [(1,), (None,), (3,)]
    column = pl.DataFrame({"a": [None, 1, None]})
    assert open_table(write_table(tmp_path / "c.csv", column)).read().equals(column)


def test_separators_follow_the_extension_or_the_setting(tmp_path):
    for name, text, separator in [
        ("a.tsv", "x\ty\n1\t2\n", None),
        ("a.txt", "x,y\n1,2\n", None),
        ("b.csv", "x;y\n1;2\n", ";"),
    ]:
        assert open_table(put(tmp_path, name, text), Options(separator=separator)).read().rows() == [(1, 2)]
    assert open_table(put(tmp_path, "a.csv.gz", gzip.compress(b"x,y\n1,2\n"))).read().rows() == [(1, 2)]
    assert open_table(tmp_path / "b.csv", Options(separator=",")).names == ("x;y",)
    for separator in ["", ",,", "、", '"', "\n"]:
        with refused(ParameterError, "separator"):
            open_table(tmp_path / "b.csv", Options(separator=separator))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["empty"]),
        ("\n\n \n"[:2], ["blank"]),
        ("a,b\n", ["header", "'a', 'b'", "no rows"]),
        ("a,b", ["header", "no rows"]),
        ("a,b\n\n\n", ["no rows"]),
        ("a,b\n1,2\n3\n", ["line 3: 1 cells", "has 2"]),
        ("a,b\n1,2\n\n3,4,5\n6\n", ["line 4: 3 cells", "1 more"]),
        ('a,b\n"x\ny",2\n3\n', ["line 4: 1 cells"]),
        ("a,b\n1,2,3\n4\n5,6\n", ["line 2: 3 cells"]),  # the number of separators is right
        ('a,b\n1,2\n3,5" pipe\n6,7\n', ["line 3", "never closed"]),
        ('a,b\n1,5" pipe\n2,6" pipe\n3,4\n', ["line 2", "quotation mark"]),
        ('a,b\n1,2\n3,"x" y\n', ["line 3", "quotation mark"]),
        ('a,b\n1,2\n3, "x,y"\n', ["line 3", "quotation mark"]),
        ("a,b\n1,\0\n", ["NUL"]),
    ],
)
def test_broken_text_is_refused_with_its_line(tmp_path, text, parts):
    with refused(FileFormatError, "a.csv", *parts):
        open_table(put(tmp_path, "a.csv", text)).read()


def test_a_ragged_line_far_inside_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(encodings, "BLOCK", 1000)
    lines = ["a,b"] + [f"{i},'{i}'" for i in range(5000)]
    lines[4321] = "1,2,3"
    table = open_table(put(tmp_path, "a.csv", "\n".join(lines)))
    with refused(FileFormatError, "line 4322: 3 cells"):
        list(table.batches())


def test_a_mark_left_open_does_not_take_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(encodings, "BLOCK", 1000)
    monkeypatch.setattr(records, "_LONGEST", 5000)
    path = put(tmp_path, "a.csv", "a,b\n" + '1,"' + "x,y\n" * 100_000)
    with refused(FileFormatError, "line 2", "never closed"):
        open_table(path)


def test_given_types_are_kept_and_misfits_placed(tmp_path, small_blocks):
    path = put(tmp_path, "a.csv", 'code,speed\n007,1\n"1\n2",2\n\n008,ERR\n009,?\n010,bad\n')
    with refused(DataError, "line 6", "'speed'", "a number", "'ERR'"):
        open_table(path, types={"code": pl.String, "speed": pl.Float64}).read()
    frame = open_table(path, types={"code": pl.String, "elsewhere": pl.Float64}).read()
    assert frame["code"].to_list() == ["007", "1\n2", "008", "009", "010"]
    assert frame["speed"].to_list() == ["1", "2", "ERR", None, "bad"]
    path = put(tmp_path, "b.csv", "x\n1\n2\n")
    assert open_table(path, types={"x": pl.Float32}).read().dtypes == [pl.Float32]


def test_columns_are_taken_in_the_order_asked_for(tmp_path):
    frame = pl.DataFrame({"speed": [1, 2], "温度": [0.5, 1.5], "code": ["a", "b"]})
    for name in ("a.csv", "a.parquet"):
        path = write_table(tmp_path / name, frame)
        table = open_table(path, columns=["code", "speed"])
        assert table.names == ("code", "speed")
        assert table.read().equals(frame.select("code", "speed"))
        assert joined(table, 1).equals(frame.select("code", "speed"))
        with refused(ParameterError, "columns", "'sped', '温'", "mean 'speed'", "has 'speed', '温度', 'code'"):
            open_table(path, columns=["sped", "code", "温"])
        for columns in ["speed", [], ["speed", "speed"]]:
            with refused(ParameterError, "columns"):
                open_table(path, columns=columns)


def test_hundreds_of_columns(tmp_path):
    frame = pl.DataFrame(np.arange(900.0).reshape(3, 300) / 4, schema=[f"s{i}" for i in range(300)])
    assert open_table(write_table(tmp_path / "a.csv", frame)).read().cast(pl.Float64).equals(frame)

"""Parquet and Arrow: batches are the whole, at flat memory, and damage is named."""

import datetime as dt
import json
import subprocess
import sys

import numpy as np
import polars as pl
import pytest

from omokage.errors import FileFormatError
from omokage.files.opening import TableFile, open_table
from omokage.files.options import Options
from omokage.files.writing import write_table


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


@pytest.mark.parametrize("group", [100, 1234, 5000])
@pytest.mark.parametrize(("total", "rows"), [(300, 1), (5000, 97), (5000, 1000), (5000, 10_000)])
def test_parquet_batches_are_the_file(tmp_path, monkeypatch, group, total, rows):
    monkeypatch.setattr("omokage.files.parquet._FRAME", 20_000)  # a few hundred rows of a column at once
    frame = pl.DataFrame({"n": range(total), "x": np.arange(total) / 3, "t": [f"r{i}" for i in range(total)]})
    path = tmp_path / "a.parquet"
    frame.write_parquet(path, row_group_size=group)
    table = open_table(path)
    assert (table.rows(), table.names, table.row_shape) == (total, ("n", "x", "t"), None)
    assert joined(table, rows).equals(frame)
    assert table.read().equals(frame)


def test_a_path_is_a_path_and_not_a_pattern(tmp_path):
    folder = tmp_path / "speed=3" / "[ab]*"
    folder.mkdir(parents=True)
    for suffix in ("csv", "parquet"):
        path = write_table(folder / f"~a?.{suffix}", {"x": [1]})
        assert open_table(path).names == ("x",)
        assert open_table(path).read().rows() == [(1,)]


def test_damaged_parquet(tmp_path):
    path = write_table(tmp_path / "a.parquet", {"x": list(range(1000))})
    whole = path.read_bytes()
    with refused(FileFormatError, "half.parquet", "cut short"):
        open_table(put(tmp_path, "half.parquet", whole[: len(whole) // 2]))
    with refused(FileFormatError, "is not Parquet"):
        open_table(put(tmp_path, "text.parquet", "x,y\n1,2\0\n"))
    with refused(FileFormatError, "is not Parquet"):
        open_table(put(tmp_path, "tiny.parquet", "x"))
    with refused(FileFormatError, "damaged"):
        open_table(put(tmp_path, "footer.parquet", b"PAR1" + b"\xff" * 100 + b"\x50\0\0\0PAR1"))
    with refused(FileFormatError, "encrypted"):
        open_table(put(tmp_path, "locked.parquet", whole[:-4] + b"PARE"))
    with refused(FileFormatError, "damaged"):
        open_table(put(tmp_path, "pages.parquet", whole[:4] + b"\xff" * 40 + whole[44:])).read()
    pl.DataFrame({"x": []}).write_parquet(tmp_path / "none.parquet")
    with refused(FileFormatError, "'x'", "no rows"):
        open_table(tmp_path / "none.parquet")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of the resident memory from /proc")
@pytest.mark.parametrize("group", [500_000, 4_000_000])
def test_parquet_is_read_at_flat_memory(tmp_path, group):
    rng = np.random.default_rng(0)
    frame = pl.DataFrame({f"c{i}": rng.standard_normal(4_000_000, dtype=np.float32) for i in range(20)})
    frame.write_parquet(tmp_path / "a.parquet", row_group_size=group)
    program = f"""
from omokage.files.opening import open_table
from omokage.files.options import Options
def peak(): return next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("VmHWM")) / 1024
before = peak()
rows = sum(batch.height for batch in open_table({str(tmp_path / "a.parquet")!r}).batches())
print(rows, peak() - before)
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    rows, peak = run.stdout.split()
    assert int(rows) == 4_000_000
    # The frame is 305 MB and the file as much; an unbounded reader takes the one, the other or both.
    assert float(peak) < 400


# ------------------------------------------------------------------------------------ indexes and types


@pytest.mark.parametrize("name", ["__index_level_0__", "part"])
def test_the_index_of_pandas_is_no_column(tmp_path, name):
    """As pandas writes it: the metadata name the columns that are the index."""
    path = tmp_path / "a.parquet"
    frame = pl.DataFrame({"x": [1.5, 2.5], name: [7, 3]})
    frame.write_parquet(path, metadata={"pandas": json.dumps({"index_columns": [name, {"kind": "range"}]})})
    table = open_table(path)
    assert (table.names, table.read().rows()) == (("x",), [(1.5,), (2.5,)])
    assert [name in note and "index='keep'" in note for note in table.notes] == [True]
    kept = open_table(path, Options(index="keep"))
    assert (kept.names, kept.notes) == (("x", name), ())
    assert open_table(path, Options(text=(name,))).read()[name].to_list() == ["7", "3"]
    assert open_table(path, columns=[name, "x"]).names == (name, "x")


@pytest.mark.parametrize("metadata", ["no json", "[]", "{}", '{"index_columns": 3}', '{"index_columns": ["z"]}'])
def test_metadata_that_name_no_index(tmp_path, metadata):
    path = tmp_path / "a.parquet"
    pl.DataFrame({"x": [1.5], "y": [2]}).write_parquet(path, metadata={"pandas": metadata})
    assert (open_table(path).names, open_table(path).notes) == (("x", "y"), ())


def test_keys_of_any_type_are_the_text_of_a_cell_of_csv(tmp_path):
    frame = pl.DataFrame(
        {
            "whole": [1, None, -3],
            "real": [1.0, 0.1, 1e300],
            "flag": [True, False, None],
            "text": ["NA", " x ", None],
            "day": [dt.date(2024, 1, 31), None, dt.date(1999, 12, 1)],
            "moment": pl.Series([0, 1, None]).cast(pl.Datetime("ms")),
            "category": pl.Series(["a", "b", None], dtype=pl.Categorical),
            "money": pl.Series(["1.50", "2.00", None]).cast(pl.Decimal(10, 2)),
            "bytes": [b"k", None, b"l"],
        }
    )
    every = Options(text=tuple(frame.columns))
    parquet = open_table(write_table(tmp_path / "a.parquet", frame), every).read()
    csv = open_table(write_table(tmp_path / "a.csv", frame.with_columns(pl.col("bytes").cast(pl.String))), every).read()
    assert parquet.schema == csv.schema == dict.fromkeys(frame.columns, pl.String)
    assert parquet.equals(csv)
    lists = write_table(tmp_path / "b.parquet", {"x": [1.0], "k": [[1, 2]]})
    with refused(FileFormatError, "'k'", "List", "key or a label"):
        open_table(lists, Options(text=("k",))).read()


def test_numbers_beyond_float64_are_rounded_to_the_nearest(tmp_path):
    """One behaviour for text, and for every type of Parquet, when they become the matrix of a model."""
    numbers = [2**53 + 1, 2**60 + 1, 2**63 - 1]
    frame = pl.DataFrame(
        {"i": numbers, "u": pl.Series(numbers, dtype=pl.UInt64), "d": pl.Series(numbers).cast(pl.Decimal(38, 0))}
    )
    for name in ("a.csv", "a.parquet"):
        read = open_table(write_table(tmp_path / name, frame)).read().cast(pl.Float64)
        for column in read.get_columns():
            assert column.to_list() == [float(number) for number in numbers]


# ---------------------------------------------------------------------------------- columns of every type

SINGLE = {
    "decimal": pl.Series(["1.50", "2.00"]).cast(pl.Decimal(10, 2)),
    "day": pl.Series([dt.date(2024, 1, 31), None]),
    "clock": pl.Series([dt.time(10, 5), None]),
    "moment": pl.Series([0, 1]).cast(pl.Datetime("ns", "Europe/Berlin")),
    "span": pl.Series([dt.timedelta(days=1), None]),
    "category": pl.Series(["a", None], dtype=pl.Categorical),
    "level": pl.Series(["a", "b"], dtype=pl.Enum(["a", "b"])),
    "none": pl.Series([None, None]),
    "flag": pl.Series([True, None]),
    "small": pl.Series([1, 2], dtype=pl.UInt8),
    "text": pl.Series(["a", None]),
}
SEVERAL = {
    "list": pl.Series([[1], [2, 3]]),
    "array": pl.Series([[1.0, 2.0], [3.0, 4.0]], dtype=pl.Array(pl.Float64, 2)),
    "struct": pl.Series([{"a": 1}, {"a": 2}]),
    "bytes": pl.Series([b"\xff", b"b"]),
}


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "a.feather", "a.csv"])
def test_columns_of_every_type_come_as_they_are_and_those_of_several_values_are_named(tmp_path, name):
    frame = pl.DataFrame({**SINGLE, **SEVERAL})
    path = tmp_path / name
    frame.write_parquet(path) if "parquet" in name else frame.write_ipc(path, compression="zstd")
    table = open_table(path, columns=list(SINGLE))
    assert table.read().equals(frame.select(list(SINGLE))) and table.read().schema == frame.select(list(SINGLE)).schema
    assert joined(table, 1).equals(frame.select(list(SINGLE)))
    assert open_table(path, Options(text=("level",))).names == tuple(frame.columns)
    for several in SEVERAL:
        for use in (lambda one: one.read(), lambda one: list(one.batches(1))):
            with refused(FileFormatError, name, f"'{several}'", "--id"):
                use(open_table(path, columns=["text", several]))


def test_arrow_batches_are_the_file_and_damage_is_named(tmp_path):
    frame = pl.DataFrame({"n": range(500), "x": np.arange(500) / 3, "__index_level_0__": range(500)})
    folder = tmp_path / "speed=3" / "[ab]*"
    folder.mkdir(parents=True)
    frame.write_ipc(folder / "a?.arrow")
    table = open_table(folder / "a?.arrow")
    assert (table.rows(), table.names) == (500, ("n", "x")) and "index" in table.notes[0]
    assert joined(table, 97).equals(frame.select("n", "x"))
    whole = (folder / "a?.arrow").read_bytes()
    for size in (8, 20, len(whole) // 2, len(whole) - 9):
        with refused(FileFormatError, "half.arrow", "damaged"):
            open_table(put(tmp_path, "half.arrow", whole[:size])).read()
    with refused(FileFormatError, "empty.arrow", "no rows"):
        frame.clear().write_ipc(tmp_path / "empty.arrow")
        open_table(tmp_path / "empty.arrow")
    with refused(FileFormatError, "Feather file of the old version 1"):
        open_table(put(tmp_path, "old.feather", b"FEA1" + bytes(50)))

"""Parquet: batches are the whole, at flat memory, and damage is named."""

import subprocess
import sys

import numpy as np
import polars as pl
import pytest

from omokage.errors import FileFormatError
from omokage.files.opening import TableFile, open_table
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
        open_table(put(tmp_path, "text.parquet", "x,y\n1,2\n"))
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

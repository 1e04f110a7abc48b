"""Written tables read back, and what fails leaves the old file."""

import subprocess
import sys

import numpy as np
import polars as pl
import pytest

from omokage.errors import DataError, FileFormatError, ParameterError
from omokage.files.opening import open_table
from omokage.files.writing import write_table


def refused(error, *parts):
    """Expect an error whose message holds all of the parts."""
    return pytest.raises(error, match="".join(f"(?=(?s:.*){part})" for part in parts))


@pytest.mark.parametrize("name", ["出力.csv", "a.tsv", "a.parquet", "a.pq"])
def test_written_tables_read_back(tmp_path, name):
    frame = pl.DataFrame(
        {
            "名前": ["良", 'a\t"b",\nc', None, "x"],
            "small": pl.Series([0.1, 1e-30, None, 3.0], dtype=pl.Float32),
            "double": [0.1, 1e300, -0.5, None],
            "n": [1, 2, 3, 4],
            "flag": [True, None, False, True],
        }
    )
    path = write_table(tmp_path / name, frame)
    back = open_table(path, types={"small": pl.Float32}).read()
    assert back.equals(frame) and back.schema == frame.schema
    assert not path.read_bytes().startswith(b"\xef\xbb\xbf")
    write_table(path, {"x": np.arange(3.0)})  # replaces
    assert open_table(path).read()["x"].to_list() == [0, 1, 2]
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_pieces_are_written_as_one_table(tmp_path, name):
    pieces = (pl.DataFrame({"x": range(start, start + 1000), "t": ["z"] * 1000}) for start in range(0, 9000, 1000))
    frame = open_table(write_table(tmp_path / name, pieces)).read()
    assert frame["x"].to_list() == list(range(9000))
    assert frame["t"].unique().to_list() == ["z"]


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_what_fails_leaves_the_old_file(tmp_path, name):
    path = write_table(tmp_path / name, {"x": [1, 2]})

    def breaks_off(error):
        yield pl.DataFrame({"x": [3]})
        raise error

    for error in (DataError("row 7 is broken"), KeyboardInterrupt(), RuntimeError("row 8")):
        with pytest.raises((DataError, KeyboardInterrupt, RuntimeError)) as caught:
            write_table(path, breaks_off(error))
        assert caught.value is error
    with refused(DataError, "differ"):
        write_table(path, [{"x": [3]}, {"y": [3]}])
    with refused(DataError, "make a table"):
        write_table(path, {"x": [3], "y": [1, 2]})
    with refused(DataError, "nothing to write"):
        write_table(path, [])
    assert open_table(path).read()["x"].to_list() == [1, 2]
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_places_that_cannot_be_written(tmp_path):
    for name, error, part in [
        ("a.xlsx", ParameterError, "path"),
        ("a", ParameterError, "path"),
        ("nowhere/a.csv", FileFormatError, "folder"),
    ]:
        with refused(error, part):
            write_table(tmp_path / name, {"x": [1]})
    (tmp_path / "folder.csv").mkdir()
    with refused(FileFormatError, "cannot be written"):
        write_table(tmp_path / "folder.csv", {"x": [1]})
    with refused(DataError, "cannot be written as .csv"):
        write_table(tmp_path / "a.csv", {"x": [[1, 2], [3]]})


def test_a_link_stays_a_link(tmp_path):
    real = write_table(tmp_path / "real.csv", {"x": [1]})
    link = tmp_path / "link.csv"
    try:
        link.symlink_to(real)
    except OSError:
        pytest.skip("no links here")
    write_table(link, {"x": [2]})
    assert link.is_symlink()
    assert open_table(real).read()["x"].to_list() == [2]


def test_the_data_side_loads_nothing_of_the_model_side():
    program = "import sys, omokage.files.opening, omokage.data.datasets; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"jax", "equinox", "sklearn", "numpyro", "pandas", "pyarrow", "matplotlib", "rich"} & set(
        run.stdout.split()
    )

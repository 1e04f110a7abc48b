"""Any file of rows: what is missing, empty, of another format or damaged is an error of ours."""

import gzip

import numpy as np
import pytest

from omokage.errors import FileFormatError, ParameterError
from omokage.files.opening import open_table
from omokage.files.writing import write_table


def put(folder, name, content):
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def idx(array):
    codes = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}
    shape = np.array(array.shape, ">u4").tobytes()
    return (
        bytes([0, 0, codes[array.dtype.str[1:]], array.ndim])
        + shape
        + array.astype(array.dtype.newbyteorder(">")).tobytes()
    )


def refused(error, *parts):
    """Expect an error whose message holds all of the parts."""
    return pytest.raises(error, match="".join(f"(?=(?s:.*){part})" for part in parts))


def test_a_missing_file_names_the_nearest(tmp_path):
    put(tmp_path, "parts.csv", "a\n1\n")
    with refused(FileFormatError, "part.csv", "no such file", "mean 'parts.csv'"):
        open_table(tmp_path / "part.csv")
    with refused(FileFormatError, "no folder"):
        open_table(tmp_path / "nowhere" / "part.csv")


@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "a.npy"])
def test_a_file_that_goes_away_after_it_was_opened(tmp_path, name):
    path = tmp_path / name
    np.save(path, np.ones((2, 2))) if name.endswith("npy") else write_table(path, {"x": [1, 2]})
    table = open_table(path)
    path.unlink()
    with refused(FileFormatError, name):
        table.read()
    with refused(FileFormatError, name):
        list(table.batches())


@pytest.mark.parametrize("name", ["a.xlsx", "a.json", "a", "a.parquet.gz", "a.gz", "a.npy.gz"])
def test_other_formats_are_refused_with_those_that_are_read(tmp_path, name):
    with refused(FileFormatError, name, "CSV", "Parquet", "IDX"):
        open_table(put(tmp_path, name, b"PK\x03\x04" * 10))
    with refused(FileFormatError, "folder", "CSV"):
        open_table(tmp_path)


@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "a.npy", "a.npz", "a-idx3-ubyte.gz"])
def test_empty_files(tmp_path, name):
    with refused(FileFormatError, name, "empty"):
        open_table(put(tmp_path, name, b""))


def test_batches_of_no_rows_are_refused(tmp_path):
    for rows in (0, -1):
        with refused(ParameterError, "rows"):
            open_table(put(tmp_path, "a.csv", "a\n1\n")).batches(rows)


@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "a.npy", "a.npz", "a-idx3-ubyte", "a-idx3-ubyte.gz"])
def test_no_damage_is_anything_but_an_error_of_ours(tmp_path, name):
    """Flipped bits and cuts give a table or a FileFormatError, never another exception."""
    array = np.random.default_rng(0).integers(0, 99, (200, 6)).astype("u1")
    original = tmp_path / f"original-{name}"
    if name.endswith(("csv", "parquet")):
        write_table(original, {"x": array[:, 0].tolist(), "t": [f"r{v}, é" for v in array[:, 1]]})
    elif name.endswith(".npy"):
        np.save(original, array)
    elif name.endswith(".npz"):
        np.savez_compressed(original, X=array)
    else:
        original.write_bytes(gzip.compress(idx(array)) if name.endswith("gz") else idx(array))
    whole = original.read_bytes()
    rng = np.random.default_rng(1)
    outcomes = set()
    for trial in range(150):
        content = bytearray(whole)
        # Cuts only for Parquet: Polars may end the process over flipped bits, asking for more memory than exists.
        if trial % 5 == 0 or name == "a.parquet":
            del content[rng.integers(len(content)) :]
        else:
            for place in rng.integers(len(content), size=3):
                content[place] ^= 1 << rng.integers(8)
        try:
            table = open_table(put(tmp_path, name, bytes(content)))
            assert sum(len(batch) for batch in table.batches(64)) > 0
            outcomes.add("read")
        except (FileFormatError, ParameterError) as error:
            assert name in str(error)
            outcomes.add("refused")
    assert "refused" in outcomes

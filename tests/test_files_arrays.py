"""Arrays in files: the array comes back, damage is named, and nothing is unpickled."""

import gzip
import io
import zipfile

import numpy as np
import polars as pl
import pytest

from omokage.errors import FileFormatError, ParameterError
from omokage.files.opening import TableFile, open_table
from omokage.files.options import Options


def put(folder, name, content):
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def npy(array, **settings):
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, **settings)
    return stream.getvalue()


def idx(array):
    codes = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}
    shape = np.array(array.shape, ">u4").tobytes()
    return (
        bytes([0, 0, codes[array.dtype.str[1:]], array.ndim])
        + shape
        + array.astype(array.dtype.newbyteorder(">")).tobytes()
    )


def joined(table: TableFile, rows: int):
    """Return all batches as one, having checked that each has `rows` rows but for the last."""
    batches = list(table.batches(rows))
    assert [len(batch) for batch in batches[:-1]] == [rows] * (len(batches) - 1)
    assert 0 < len(batches[-1]) <= rows
    return pl.concat(batches) if isinstance(batches[0], pl.DataFrame) else np.concatenate(batches)


def refused(error, *parts):
    """Expect an error whose message holds all of the parts."""
    return pytest.raises(error, match="".join(f"(?=(?s:.*){part})" for part in parts))


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "u1", ">i2", "?", "<f2"])
@pytest.mark.parametrize("shape", [(10, 3), (10, 4, 2), (10, 4, 3, 2)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_and_npz_give_the_array(tmp_path, dtype, shape, order):
    array = np.asarray(np.random.default_rng(0).integers(0, 2, shape).astype(dtype), order=order)
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "a.npz", labels=np.arange(10), X=array)
    np.savez_compressed(tmp_path / "b.npz", array)
    for name in ("a.npy", "a.npz", "b.npz"):
        table = open_table(tmp_path / name)
        assert (table.rows(), table.row_shape, table.names) == (10, shape[1:], None)
        for values in (table.read(), joined(table, 4)):
            assert values.dtype == array.dtype.newbyteorder("=") and values.dtype.isnative
            assert values.flags.writeable and values.flags.c_contiguous
            np.testing.assert_array_equal(values, array)


def test_npy_format_2(tmp_path):
    array = np.arange(6.0).reshape(2, 3)
    assert (open_table(put(tmp_path, "a.npy", npy(array, version=(2, 0)))).read() == array).all()


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dtype", ["u1", "i2", "f4"])
def test_idx_gives_flattened_rows(tmp_path, packed, dtype):
    pictures = np.random.default_rng(0).integers(0, 100, (7, 4, 5)).astype(dtype)
    content = gzip.compress(idx(pictures)) if packed else idx(pictures)
    for name in ("train-images-idx3-ubyte", "t10k-images.idx3-ubyte", "noname"):
        table = open_table(put(tmp_path, name + ".gz" * packed, content))
        assert (table.rows(), table.row_shape, table.names) == (7, (4, 5), None)
        assert table.read().dtype == pictures.dtype
        for values in (table.read(), joined(table, 3)):
            np.testing.assert_array_equal(values, pictures.reshape(7, 20))


def test_which_array_of_an_npz(tmp_path):
    x, z = np.zeros((3, 2)), np.ones((3, 2))
    np.savez(tmp_path / "one.npz", anything=z)
    np.savez(tmp_path / "x.npz", a=z, X=x)
    np.savez(tmp_path / "position.npz", x, z)
    np.savez(tmp_path / "several.npz", train=x, test=z)
    for name, array, expected in [
        ("one", None, z),
        ("x", None, x),
        ("x", "a", z),
        ("position", None, x),
        ("several", "test", z),
    ]:
        np.testing.assert_array_equal(open_table(tmp_path / f"{name}.npz", Options(array=array)).read(), expected)
    with refused(ParameterError, "array", "'train', 'test'"):
        open_table(tmp_path / "several.npz")
    with refused(ParameterError, "array", "'tset'", "mean 'test'"):
        open_table(tmp_path / "several.npz", Options(array="tset"))
    with refused(ParameterError, "columns"):
        open_table(tmp_path / "one.npz", columns=["a"])
    with zipfile.ZipFile(tmp_path / "other.npz", "w") as archive:
        archive.writestr("readme.txt", "nothing here")
    with refused(FileFormatError, "without arrays"):
        open_table(tmp_path / "other.npz")


class Bomb:
    """Unpickling it would leave a trace."""

    def __reduce__(self):
        return (exec, ("import builtins; builtins.omokage_was_unpickled = True",))


def test_objects_are_never_unpickled(tmp_path):
    import builtins

    np.save(tmp_path / "a.npy", np.array([[Bomb()]], object))
    np.savez(tmp_path / "a.npz", X=np.array([[Bomb()]], object))
    for name in ("a.npy", "a.npz"):
        with refused(FileFormatError, name, "Python objects", "astype"):
            open_table(tmp_path / name)
    assert not hasattr(builtins, "omokage_was_unpickled")


@pytest.mark.parametrize(
    ("array", "parts"),
    [
        (np.arange(5.0), ["2-D", r"\(5,\)", "reshape"]),
        (np.float64(3), ["2-D"]),
        (np.zeros((0, 3)), ["without values"]),
        (np.zeros((3, 0)), ["without values"]),
        (np.array([["a", "b"]]), ["numbers"]),
        (np.array([[1j]]), ["numbers"]),
        (np.array([["2024-01-01"]], "M8[D]"), ["numbers"]),
        (np.zeros((2, 2), [("a", "f4"), ("b", "f4")]), ["numbers"]),
    ],
)
def test_arrays_that_are_no_rows_of_numbers(tmp_path, array, parts):
    with refused(FileFormatError, "a.npy", *parts):
        open_table(put(tmp_path, "a.npy", npy(np.asarray(array))))


def header(text):
    padded = text.ljust(117).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded


@pytest.mark.parametrize(
    "content",
    [
        npy(np.zeros((9, 9)))[:-1],
        npy(np.zeros((9, 9)))[:60],
        npy(np.zeros((9, 9)))[:7],
        b"PK\x03\x04 what",
        header("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000, 1000000), }"),
        header("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, 3), }") + bytes(100),
        header("{'descr': '<f8', 'fortran_order': False, 'shape': (2.5, 3), }") + bytes(100),
        header("{'descr': 'zz', 'fortran_order': False, 'shape': (1, 3), }") + bytes(100),
        header("{'descr': '<f8', 'fortran_order': False, "),
        header("__import__('os').abort()"),
        header("[" * 100),
        b"\x93NUMPY\x09\x00" + bytes(100),
    ],
)
def test_damaged_npy(tmp_path, content):
    with refused(FileFormatError, "a.npy"):
        open_table(put(tmp_path, "a.npy", content))
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("X.npy", content)
    with refused(FileFormatError, "a.npz"):
        open_table(tmp_path / "a.npz")


def test_damaged_npz(tmp_path):
    stream = io.BytesIO()
    np.savez_compressed(stream, X=np.random.default_rng(0).random((100, 10)))
    whole = stream.getvalue()
    for name, content in [("text", b"not a zip"), ("half", whole[: len(whole) // 2])]:
        with refused(FileFormatError, name, "damaged or cut short"):
            open_table(put(tmp_path, f"{name}.npz", content))
    table = open_table(put(tmp_path, "bits.npz", whole[:2000] + bytes([whole[2000] ^ 255]) + whole[2001:]))
    with refused(FileFormatError, "bits", "damaged"):
        list(table.batches(10))


def test_damaged_idx(tmp_path):
    whole = idx(np.arange(60, dtype="u1").reshape(5, 3, 4))
    for content in (whole[:-1], whole[:9], whole[:3], whole + b"\0", b"\0\0\7\3" + whole[4:], b"what"):
        with refused(FileFormatError, "idx3-ubyte"):
            open_table(put(tmp_path, "a-idx3-ubyte", content)).read()
        with refused(FileFormatError, "idx3-ubyte.gz"):
            list(open_table(put(tmp_path, "a-idx3-ubyte.gz", gzip.compress(content))).batches(2))
    with refused(FileFormatError, "damaged or cut short"):
        open_table(put(tmp_path, "a-idx3-ubyte.gz", gzip.compress(whole)[:-9])).read()
    # Not packed, whatever the name says.
    assert open_table(put(tmp_path, "a-idx3-ubyte.gz", whole)).read().shape == (5, 12)
    with refused(FileFormatError, "2-D", "labels"):
        open_table(put(tmp_path, "labels-idx1-ubyte", idx(np.arange(5, dtype="u1"))))
    with refused(FileFormatError, "a row of"):  # 10^19 bytes, says its header
        list(open_table(put(tmp_path, "a-idx3-ubyte.gz", gzip.compress(whole[:4] + b"\x7f\xff\xff\xff" * 3))).batches())

"""What a file is, is told by its content: packed under any name, or of another format and said so."""

import bz2
import gzip
import io
import lzma
import re
import zipfile

import numpy as np
import polars as pl
import pytest

import omokage as om
from omokage.data.kinds import vectors
from omokage.errors import FileFormatError
from omokage.files import arrays, dialect
from omokage.files.opening import open_table
from omokage.files.options import Options

TEXT = b"x,y\n1,2\n3,4\n"


def put(folder, name, content):
    path = folder / name
    path.write_bytes(content)
    return path


def refused(*parts):
    """Expect an error whose message holds all of the parts."""
    return pytest.raises(FileFormatError, match="".join(f"(?=(?s:.*){part})" for part in parts))


def zipped(**files):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def saved(write, *values, **settings):
    stream = io.BytesIO()
    write(stream, *values, **settings)
    return stream.getvalue()


PACKINGS = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zip": lambda text: zipped(**{"in/a.csv": text}),
}


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.csv.bz2", "a.csv.xz", "a.csv.zip"])
def test_packed_text_is_read_whatever_its_name(tmp_path, packing, name):
    table = open_table(put(tmp_path, name, PACKINGS[packing](TEXT)))
    assert (table.names, table.read().rows()) == (("x", "y"), [(1, 2), (3, 4)])
    assert any("packed with" in note for note in table.notes) == (not name.endswith(packing))
    assert table.fits(100)
    assert open_table(put(tmp_path, name, TEXT)).read().rows() == [(1, 2), (3, 4)]  # and not packed


@pytest.mark.parametrize("packing", PACKINGS)
def test_packed_text_that_is_cut_short(tmp_path, packing):
    path = put(tmp_path, "a.csv", PACKINGS[packing](TEXT * 1000)[:-9])
    with refused("a.csv", "damaged|cut short"):
        open_table(path).read()


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.parquet", "a.pq"])
def test_content_that_is_named_as_another_format_is_read_as_what_it_is(tmp_path, name):
    text = "é;y\n1,5;2\n3;4\n".encode("cp1252")
    for packed in (text, gzip.compress(text), lzma.compress(text)):
        table = open_table(put(tmp_path, name, packed), Options(encoding="cp1252", decimal=","))
        assert table.read().rows() == [(1.5, 2), (3, 4)]
        assert f"{tmp_path / name}: it is text, whatever its name says, and is read as a table of text." in table.notes
    array = np.arange(6.0).reshape(3, 2)
    idx = bytes([0, 0, 8, 2, 0, 0, 0, 3, 0, 0, 0, 2, *range(6)])
    for content in (saved(np.save, array), saved(np.savez, array), idx):
        table = open_table(put(tmp_path, name, content))
        np.testing.assert_array_equal(table.read(), array)
        assert table.notes == ()
    parquet = saved(lambda stream: pl.DataFrame({"x": [1, 2]}).write_parquet(stream))
    assert open_table(put(tmp_path, name, parquet)).read().rows() == [(1,), (2,)]
    for damaged in (b"no lines", b"\0\1\n" * 9, b"x,y\n1,\x01\n"):
        with pytest.raises(FileFormatError, match=re.escape(name)):
            open_table(put(tmp_path, name, damaged))


def test_arrays_and_parquet_are_read_whatever_their_name(tmp_path):
    array = np.arange(6.0).reshape(3, 2)
    npy, parquet = saved(np.save, array), saved(lambda stream: pl.DataFrame({"x": [1, 2]}).write_parquet(stream))
    for content in (npy, gzip.compress(npy), bz2.compress(npy), saved(np.savez, array), zipped(**{"X.npy": npy})):
        np.testing.assert_array_equal(open_table(put(tmp_path, "a.csv", content)).read(), array)
    assert open_table(put(tmp_path, "a.csv", parquet)).read().rows() == [(1,), (2,)]
    with refused("packed file within a packed one"):
        open_table(put(tmp_path, "a.parquet.gz", gzip.compress(parquet)))
    idx = bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 2, 1, 2, 3, 4])
    for content in (idx, gzip.compress(idx), lzma.compress(idx)):
        assert open_table(put(tmp_path, "a.csv", content)).read().tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (zipped(**{"[Content_Types].xml": "", "xl/workbook.xml": ""}), "Excel"),
        (zipped(**{"[Content_Types].xml": "", "word/document.xml": ""}), "Office"),
        (zipped(mimetype="application/vnd.oasis.opendocument.spreadsheet"), "Office"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100), "old Excel"),
        (b"%PDF-1.7\n", "PDF"),
        (b"<!DOCTYPE html>\n<html><body>Log in</body></html>", "web page"),
        (b"\xef\xbb\xbf  <html>", "web page"),
        (b'<?xml version="1.0"?><rows/>', "XML"),
        (b'[{"x": 1, "y": 2}]', "JSON"),
        (b'{"x": 1, "y": 2}\n{"x": 3, "y": 4}\n', "JSON"),
        (b"(\xb5/\xfd" + bytes(100), "zstd"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(100), "7z"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5"),
        (b"MATLAB 5.0 MAT-file, Platform", "MATLAB"),
        (b"\x80\x04\x95" + bytes(100), "pickle"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "picture"),
        (b"SQLite format 3\0" + bytes(100), "SQLite"),
        (saved(lambda stream: pl.DataFrame({"x": [1]}).write_ipc_stream(stream)), "Arrow"),
        (zipped(**{"a.csv": "x\n1\n", "b.csv": "x\n1\n"}), "2 files"),
        (bytes(257) + b"ustar" + bytes(300), "tar"),
        (bytes(range(256)) * 4, "not text|NUL"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_what_is_no_table_is_named(tmp_path, content, what, packed):
    if packed and content.startswith(b"PK"):
        what = "packed file within a packed one"
    with refused("a.csv", what):
        open_table(put(tmp_path, "a.csv", gzip.compress(content) if packed else content))


def test_names_of_columns_are_no_other_format(tmp_path):
    for name in ("CDF", "ORC", "RDX", "GIF8", "BZh", "Rar!", "PK", "II", "ARROW1", "{x}", "%PDF"):
        assert open_table(put(tmp_path, "a.csv", f"{name},y\n1,2\n".encode())).names == (name, "y")


def test_files_beside_the_table_in_a_zip_are_passed_over(tmp_path):
    content = zipped(**{"in/a.tsv": "x\ty\n1\t2\n", "__MACOSX/in/._a.tsv": "x", "in/.DS_Store": "x"})
    assert open_table(put(tmp_path, "a.zip", content)).read().rows() == [(1, 2)]


# ------------------------------------------------------------------------------- what little holds much


def test_what_is_packed_decides_what_fits(tmp_path):
    path = put(tmp_path, "a.csv.gz", gzip.compress(b"x,y\n" + b"1,2\n" * 500_000))
    assert path.stat().st_size < 10_000
    assert not open_table(path).fits(1_000_000) and open_table(path).fits(3_000_000)
    np.savez_compressed(tmp_path / "a.npz", X=np.zeros((1000, 1000), np.uint8))
    assert not open_table(tmp_path / "a.npz").fits(7_000_000) and open_table(tmp_path / "a.npz").fits(8_000_000)


def test_small_files_that_hold_much_are_streamed(tmp_path, monkeypatch):
    monkeypatch.setattr(vectors, "IN_MEMORY_BYTES", 100_000)
    path = put(tmp_path, "a.csv.gz", gzip.compress(b"x,y\n" + b"1,2\n3,5\n" * 25_000))
    assert vectors.Table(path).streamed
    assert not vectors.Table(put(tmp_path, "b.csv.gz", gzip.compress(TEXT))).streamed


def test_wide_rows_come_in_small_batches(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", X=np.zeros((30, 2**21), np.uint8))
    assert {len(batch) for batch in open_table(tmp_path / "a.npz").batches()} == {8, 6}


def test_headers_that_lie_take_no_memory(tmp_path, monkeypatch):
    lie = bytes([0, 0, 8, 3]) + np.array([2, 50_000, 49_000], ">u4").tobytes() + bytes(1000)
    with refused("a row of", "more than"):
        open_table(put(tmp_path, "a-idx3-ubyte.gz", gzip.compress(lie)))
    lie = lie[:4] + np.array([2**31, 1, 9], ">u4").tobytes() + bytes(1000)
    with refused("cut short"):
        list(open_table(put(tmp_path, "b-idx3-ubyte.gz", gzip.compress(lie))).batches())
    monkeypatch.setattr(dialect, "_LONGEST_HEADER", 2**20)
    monkeypatch.setattr(dialect, "MOST_COLUMNS", 1000)
    with refused("first line of more than 1 MiB"):
        open_table(put(tmp_path, "a.csv.gz", gzip.compress(b"0," * 2**20 + b"0\n1\n")))
    with refused("more than 1,000 columns"):
        open_table(put(tmp_path, "a.csv.gz", gzip.compress(b"a," * 2000 + b"b\n1\n")))
    monkeypatch.setattr(arrays, "_LONGEST_TURNED", 1000)
    np.savez_compressed(tmp_path / "a.npz", X=np.zeros((300, 20), order="F"))
    with refused("Fortran order", "ascontiguousarray"):
        list(open_table(tmp_path / "a.npz").batches(100))


def test_read_is_taken_wherever_a_path_is(tmp_path):
    rows = np.random.default_rng(0).normal(size=(40, 3))
    text = "a;b;c\n" + "\n".join(";".join(f"{v:.6f}".replace(".", ",") for v in row) for row in rows)
    opened = om.read(put(tmp_path, "a.csv", text.encode()), separator=";", decimal=",")
    np.testing.assert_allclose(opened.read().to_numpy(), rows, atol=1e-6)
    made = vectors.Table(opened)
    assert (made.count, made.names) == (40, ("a", "b", "c"))
    np.testing.assert_array_equal(made.matrix, opened.read().to_numpy())

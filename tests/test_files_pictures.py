"""Folders of pictures: what comes in as which values, in which order, and what is refused."""

import re
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from omokage.errors import DataError, FileFormatError, ParameterError
from omokage.files import pictures
from omokage.files.pictures import read_pictures, write_picture, write_pictures

RANDOM = np.random.default_rng(0)


def save(folder, name, array, mode=None, **options):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(array))
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def grey(height=4, width=6):
    return RANDOM.integers(0, 256, (height, width), np.uint8)


def test_pictures_come_back_as_they_were_written(tmp_path):
    for channels in (1, 3):
        array = RANDOM.integers(0, 256, (3, 5, 7, channels), np.uint8)
        folder = tmp_path / str(channels)
        paths = write_pictures(folder, array, ["b.jpg", "sub/a", "c.png"])
        assert [path.relative_to(folder).as_posix() for path in paths] == ["b.png", "sub/a.png", "c.png"]
        X, names = read_pictures(folder)
        assert names == ("b.png", "c.png", "sub/a.png")
        assert X.dtype == np.float32
        np.testing.assert_array_equal(X, (array[[0, 2, 1]] / np.float32(255)).astype(np.float32))
        # And values in [0, 1] are written as they were read.
        write_pictures(tmp_path / "again", X, names)
        np.testing.assert_array_equal(read_pictures(tmp_path / "again")[0], X)


def test_numbers_in_names_sort_by_value_and_folders_are_gone_through(tmp_path):
    for name in ("10.png", "2.png", "B1.png", "a2.png", "s2/1.png", "s10/1.png"):
        save(tmp_path, name, grey())
    assert read_pictures(tmp_path)[1] == ("2.png", "10.png", "a2.png", "B1.png", "s2/1.png", "s10/1.png")


def test_what_is_no_picture_is_passed_over_only_where_that_is_plain(tmp_path):
    save(tmp_path, "1.png", grey())
    save(tmp_path, ".hidden/1.png", grey(9, 9))
    for name in (".DS_Store", "labels.csv", "README.md", "Thumbs.db"):
        (tmp_path / name).write_text("words")
    save(tmp_path, "without_extension", grey(), format="PNG")
    assert read_pictures(tmp_path)[1] == ("1.png", "without_extension")
    (tmp_path / "drawing.svg").write_text("<svg/>")
    (tmp_path / "shot.png").write_text("words")
    with pytest.raises(FileFormatError, match=r"drawing\.svg: not a picture .* 1 more files cannot be read either"):
        read_pictures(tmp_path)


@pytest.mark.parametrize("name", ["cut.png", "cut.jpg", "cut.tif"])
def test_a_picture_that_was_cut_short_is_named(tmp_path, name):
    path = save(tmp_path, name, RANDOM.integers(0, 256, (64, 64), np.uint8))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(FileFormatError, match=re.escape(name)):
        read_pictures(tmp_path)


def test_any_damage_is_an_error_of_ours(tmp_path):
    whole = save(tmp_path, "1.png", grey(20, 20), compress_level=0).read_bytes()
    for position in range(8, len(whole), 13):
        (tmp_path / "1.png").write_bytes(whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :])
        try:
            X, _ = read_pictures(tmp_path)
        except (FileFormatError, DataError) as error:
            assert "1.png" in str(error)
        else:
            assert X.shape == (1, 20, 20, 1)  # a part of the file that no decoder checks


def test_missing_and_empty_folders(tmp_path):
    with pytest.raises(FileFormatError, match="no pictures in it"):
        read_pictures(tmp_path)
    with pytest.raises(FileFormatError, match="no such folder"):
        read_pictures(tmp_path / "nowhere")
    with pytest.raises(FileFormatError, match="a file, where a folder"):
        read_pictures(save(tmp_path, "1.png", grey()))


def test_unlike_sizes_name_both_files(tmp_path):
    save(tmp_path, "a.png", grey(4, 6))
    save(tmp_path, "b.png", grey(6, 4))
    with pytest.raises(DataError, match=r"a\.png has 4 × 6 pixels, .*b\.png has 6 × 4"):
        read_pictures(tmp_path)
    assert read_pictures(tmp_path, size=(3, 2))[0].shape == (2, 3, 2, 1)


def test_resizing_keeps_the_mean_of_a_flat_picture_and_the_sides(tmp_path):
    left_white = np.zeros((8, 8), np.uint8)
    left_white[:, :4] = 255
    save(tmp_path, "1.png", left_white)
    (X,), _ = read_pictures(tmp_path, size=(2, 4))
    assert X.shape == (2, 4, 1)
    assert X[:, 0].min() == 1
    assert X[:, 3].max() == 0


def test_the_orientation_of_the_camera_is_applied(tmp_path):
    upright = grey(4, 6)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: shown after a quarter turn clockwise
    save(tmp_path, "1.png", np.rot90(upright), exif=exif)
    (X,), _ = read_pictures(tmp_path)
    np.testing.assert_array_equal(X[:, :, 0], upright / np.float32(255))


def test_sixteen_bits_keep_their_steps(tmp_path):
    values = np.array([[0, 1, 256], [257, 65534, 65535]], np.uint16)
    save(tmp_path, "1.png", values)
    save(tmp_path, "2.tif", values)
    X, _ = read_pictures(tmp_path)
    np.testing.assert_allclose(X[..., 0], [values / 65535] * 2, rtol=1e-6)
    assert len(np.unique(X)) == 6
    save(tmp_path, "3.png", np.full((2, 3), 255, np.uint8))  # 8 bits beside them have the same white
    assert read_pictures(tmp_path)[0][2].min() == 1


def test_real_values_are_taken_within_the_unit_interval_only(tmp_path):
    path = save(tmp_path, "1.tif", np.array([[0, 0.25], [0.5, 1]], np.float32))
    assert read_pictures(tmp_path)[0].ravel().tolist() == [0, 0.25, 0.5, 1]
    Image.fromarray(np.float32([[0, 300]])).save(path)
    with pytest.raises(DataError, match=r"1\.tif: its values go from 0 to 300"):
        read_pictures(tmp_path)


def test_palettes_are_looked_up_and_transparency_lies_on_white(tmp_path):
    colours = np.uint8([[[255, 0, 0], [0, 0, 255]]])
    save(tmp_path / "palette", "1.png", colours, "P")
    np.testing.assert_allclose(read_pictures(tmp_path / "palette")[0][0], colours / 255, atol=0.01)
    save(tmp_path / "rgba", "1.png", np.uint8([[[255, 0, 0, 255], [10, 10, 10, 0], [0, 0, 0, 51]]]))
    np.testing.assert_allclose(
        read_pictures(tmp_path / "rgba")[0][0, 0], [[1, 0, 0], [1, 1, 1], [0.8, 0.8, 0.8]], atol=1e-6
    )
    palette = Image.fromarray(np.uint8([[0, 1]])).convert("L")
    palette.putpalette([255, 0, 0, 0, 0, 0])
    (tmp_path / "seen_through").mkdir()
    palette.save(tmp_path / "seen_through" / "1.png", transparency=1)
    np.testing.assert_array_equal(read_pictures(tmp_path / "seen_through")[0][0, 0], [[1, 0, 0], [1, 1, 1]])


def test_auto_is_grey_only_if_all_are(tmp_path):
    shades = grey()
    save(tmp_path, "1.png", shades)
    save(tmp_path, "2.png", np.stack([shades] * 3, -1))  # grey, stored as RGB
    X, _ = read_pictures(tmp_path)
    assert X.shape == (2, 4, 6, 1)
    np.testing.assert_array_equal(X[0], X[1])
    assert read_pictures(tmp_path, colours="rgb")[0].shape == (2, 4, 6, 3)
    save(tmp_path, "3.png", RANDOM.integers(0, 256, (4, 6, 3), np.uint8))
    X, _ = read_pictures(tmp_path)
    assert X.shape == (3, 4, 6, 3)
    np.testing.assert_array_equal(X[0], np.repeat(shades[..., None] / np.float32(255), 3, -1))
    luma = read_pictures(tmp_path, colours="grey")[0][2, :, :, 0]
    np.testing.assert_allclose(luma, X[2] @ [0.299, 0.587, 0.114], atol=1 / 255)


def test_settings_that_cannot_be_had(tmp_path):
    save(tmp_path, "1.png", grey())
    with pytest.raises(ParameterError, match=r"'grey'.*Did you mean 'grey'"):
        read_pictures(tmp_path, colours="gray")
    for size in (28, (28,), (0, 3), (2.5, 3), (True, 3), (2**14, 2**14)):
        with pytest.raises(ParameterError, match="size"):
            read_pictures(tmp_path, size=size)


def test_a_small_file_that_would_fill_the_memory_is_refused_before_it_is_decoded(tmp_path):
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    for side in (9000, 12000, 60000):  # beyond our limit, and beyond those at which Pillow warns and stops
        header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
        content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
        (tmp_path / "bomb.png").write_bytes(content)
        with pytest.raises(DataError, match=r"bomb\.png.*than the 67,108,864"):
            read_pictures(tmp_path)


def test_a_folder_that_would_fill_the_memory_is_refused(tmp_path):
    write_pictures(tmp_path, np.zeros((10, 16, 16)))
    read_pictures(tmp_path, memory_limit=10 * 16 * 16 * 4)
    with pytest.raises(DataError, match=r"10 pictures would take .* limit .* size=\(height, width\)"):
        read_pictures(tmp_path, memory_limit=10 * 16 * 16 * 4 - 1)
    read_pictures(tmp_path, memory_limit=10 * 8 * 8 * 4, size=(8, 8))


def test_values_are_rounded_and_cut_off_when_written(tmp_path):
    path = write_picture(tmp_path / "1.png", np.array([[-1, 0.4999 / 255, 0.5001 / 255, 2]]))
    assert np.asarray(Image.open(path)).tolist() == [[0, 0, 1, 255]]


def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch):
    path = write_picture(tmp_path / "1.png", np.zeros((2, 2)))
    before = path.read_bytes()

    def fail(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pictures.os, "fsync", fail)
    with pytest.raises(FileFormatError, match="No space left"):
        write_picture(path, np.ones((2, 2)))
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["1.png"]


def test_what_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(ParameterError, match=r"end it in \.png"):
        write_picture(tmp_path / "1.jpg", np.zeros((2, 2)))
    with pytest.raises(FileFormatError, match="does not exist"):
        write_picture(tmp_path / "nowhere" / "1.png", np.zeros((2, 2)))
    for array in (np.zeros(3), np.zeros((2, 2, 2)), np.zeros((0, 2)), np.array([["a"]]), np.array([[np.nan]])):
        with pytest.raises(DataError, match=r"1\.png"):
            write_picture(tmp_path / "1.png", array)
    with pytest.raises(DataError, match="expected pictures"):
        write_pictures(tmp_path, np.zeros((2, 2)))
    for names, text in (
        (["a"], "a list of 2"),
        (["a.jpg", "a.png"], "would become 'a.png'"),
        (["../a", "b"], "'../a'"),
        (["/a", "b"], "'/a'"),
        (["", "b"], "within the folder"),
    ):
        with pytest.raises(ParameterError, match=text):
            write_pictures(tmp_path, np.zeros((2, 2, 2)), names)
    assert not list(tmp_path.iterdir())


# --------------------------------------------------------------------------- values by the file's header


def tiff(folder, values, *, bits, white=1, kind=1, order="<"):
    """Write a TIFF file of one strip by hand: (height, width) or (height, width, colours)."""
    values = np.asarray(values)
    data = np.ascontiguousarray(values.astype(values.dtype.newbyteorder(order))).tobytes()
    height, width, colours = (*values.shape, 1)[:3]
    tags = [(256, width), (257, height), (258, bits), (259, 1), (262, white if colours == 1 else 2), (273, 8)]
    tags += [(277, colours), (278, height), (279, len(data)), (339, kind)]
    pack = lambda form, *numbers: struct.pack(order + form, *numbers)  # noqa: E731
    after = 8 + len(data) + len(data) % 2
    end, extra, entries = after + 2 + 12 * len(tags) + 4, b"", b""
    for tag, number in tags:
        if tag in (258, 339) and colours == 3:
            entries += pack("HHLL", tag, 3, 3, end + len(extra))
            extra += pack("HHH", *[number] * 3)
        else:
            entries += pack("HHLL", tag, 4, 1, number)
    path = folder / "a.tif"
    start = (b"II*\0" if order == "<" else b"MM\0*") + pack("L", after) + data + b"\0" * (len(data) % 2)
    path.write_bytes(start + pack("H", len(tags)) + entries + pack("L", 0) + extra)
    return path


def png(folder, values, colour, *chunks):
    """Write a PNG file of 16 bits by hand."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in np.asarray(values))
    height, width = np.shape(values)[:2]
    every = [(b"IHDR", struct.pack(">LLBBBBB", width, height, 16, colour, 0, 0, 0)), *chunks]
    every += [(b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    content = b"".join(
        struct.pack(">L", len(data)) + name + data + struct.pack(">L", zlib.crc32(name + data)) for name, data in every
    )
    (folder / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + content)


FINE = np.arange(12).reshape(3, 4) * 5001 + 7  # no multiple of 257


def test_tiff_of_16_bits_is_what_its_header_says(tmp_path):
    for white, expected in [(1, FINE / 65535), (0, 1 - FINE / 65535)]:
        tiff(tmp_path, FINE.astype("u2"), bits=16, white=white)
        np.testing.assert_allclose(read_pictures(tmp_path)[0][0, :, :, 0], expected, atol=1e-6)
        tiff(tmp_path, (FINE >> 8).astype("u1"), bits=8, white=white)
        np.testing.assert_allclose(read_pictures(tmp_path)[0][0, :, :, 0], expected, atol=0.004)
        real = (FINE / 65535).astype("f4")
        tiff(tmp_path, real, bits=32, kind=3, white=white)
        np.testing.assert_allclose(read_pictures(tmp_path)[0][0, :, :, 0], expected, atol=1e-6)


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_order_of_bytes_of_tiff(tmp_path, order):
    tiff(tmp_path, FINE.astype("u2"), bits=16, order=order)
    np.testing.assert_allclose(read_pictures(tmp_path)[0][0, :, :, 0], FINE / 65535, atol=1e-6)


@pytest.mark.parametrize(
    ("dtype", "kind", "part"),
    [
        ("i1", 2, "with a sign"),
        ("i2", 2, "with a sign"),
        ("i4", 2, "with a sign"),
        ("u4", 1, "32 bits, for which no value is white"),
    ],
)
def test_whole_numbers_that_have_no_white_are_refused(tmp_path, dtype, kind, part):
    path = tiff(tmp_path, (FINE // 600).astype(dtype), bits=8 * int(dtype[1]), kind=kind)
    with pytest.raises(FileFormatError, match=f"{path.name}.*{part}"):
        read_pictures(tmp_path)


def test_colours_of_16_bits_are_refused_and_not_halved(tmp_path):
    colours = np.stack([FINE, FINE[::-1], FINE // 2], -1)
    tiff(tmp_path, colours.astype("u2"), bits=16)
    with pytest.raises(FileFormatError, match=r"a\.tif: has 16 bits a colour"):
        read_pictures(tmp_path)
    (tmp_path / "a.tif").unlink()
    for colour, values in [(2, colours), (4, colours[..., :2]), (6, np.dstack([colours, FINE]))]:
        png(tmp_path, values, colour)
        with pytest.raises(FileFormatError, match=r"a\.png: has 16 bits a colour"):
            read_pictures(tmp_path)
    (tmp_path / "a.png").unlink()
    (tmp_path / "a.ppm").write_bytes(b"P6 4 3 1023\n" + (colours >> 6).astype(">u2").tobytes())
    with pytest.raises(FileFormatError, match=r"a\.ppm: has 16 bits a colour"):
        read_pictures(tmp_path)


def test_png_of_16_bits_of_grey_has_all_of_them_and_its_transparency(tmp_path):
    png(tmp_path, FINE, 0)
    np.testing.assert_allclose(read_pictures(tmp_path)[0][0, :, :, 0], FINE / 65535, atol=1e-6)
    png(tmp_path, FINE, 0, (b"tRNS", struct.pack(">H", int(FINE[1, 2]))))
    expected = np.where(FINE[1, 2] == FINE, 65535, FINE) / 65535
    np.testing.assert_allclose(read_pictures(tmp_path)[0][0, :, :, 0], expected, atol=1e-6)


@pytest.mark.parametrize("largest", [15, 255, 1023, 65535])
def test_portable_grey_of_any_depth(tmp_path, largest):
    values = np.arange(12).reshape(3, 4) * (largest // 12)
    (tmp_path / "a.pgm").write_bytes(
        b"P5 4 3 %d\n" % largest + values.astype(">u2" if largest > 255 else "u1").tobytes()
    )
    np.testing.assert_allclose(read_pictures(tmp_path)[0][0, :, :, 0], values / largest, atol=1 / 255 / 2 + 1e-6)


def test_a_folder_names_the_one_picture_that_has_no_white(tmp_path):
    png(tmp_path, FINE, 0)
    tiff(tmp_path, FINE.astype("i2"), bits=16, kind=2)
    with pytest.raises(FileFormatError, match=r"a\.tif: whole numbers with a sign \(16 bits\)"):
        read_pictures(tmp_path)

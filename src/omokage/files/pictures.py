"""Pictures of a folder, or of Pillow: read into one array, and written back as PNG files.

| of a picture | what is done with it |
|---|---|
| values | float32 from 0 (black) to 1 (white) by the file's header: up to 8 bits, grey of 16, real grey in [0, 1] |
| colours | grey is the luma of ITU-R 601, 0.299 R + 0.587 G + 0.114 B; grey files become RGB by repeating |
| a palette | is looked up |
| transparency | is laid on white |
| the camera's orientation (EXIF) | is applied, so that what was up is up |
| several frames or pages | the first one is taken |

What would not come as the header says is refused by name: colours of more than 8 bits, of which Pillow gives the upper
ones alone; whole numbers with a sign or of 32 bits, which have no white; other colours than grey, RGB and CMYK.

Which files of a folder are pictures: those whose content is one of the formats in `FORMATS`. Hidden files and folders
(a leading dot), and files with one of the extensions in `OTHERS` are passed over. Any other file that cannot be read
is an error, so that no picture is left out in silence. Links to folders are not followed.
"""

import io
import os
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from omokage.errors import DataError, FileFormatError, ParameterError, listing, suggest
from omokage.files.depths import Depth, depth_of
from omokage.paths import as_path
from omokage.storage import replacing

Colours = Literal["auto", "grey", "rgb"]

FORMATS = ("PNG", "JPEG", "BMP", "DIB", "GIF", "TIFF", "WEBP", "PPM", "AVIF", "JPEG2000")
OTHERS = (
    *(".txt", ".md", ".rst", ".csv", ".tsv", ".json", ".jsonl", ".yaml", ".yml", ".toml", ".xml", ".html", ".ini"),
    *(".cfg", ".log", ".db", ".py", ".ipynb", ".parquet", ".npy", ".npz", ".sha256", ".md5"),
)
LARGEST_PICTURE = 2**26  # pixels: 8192 × 8192
LARGEST_FOLDER = 2**32  # bytes of the array that all pictures make

_COLOURS = ("auto", "grey", "rgb")
_GREY = ("1", "L", "LA", "La", "I", "F")  # and "I;16" with its byte orders


def read_pictures(
    folder: str | os.PathLike[str],
    *,
    size: tuple[int, int] | None = None,
    colours: Colours = "auto",
    memory_limit: int = LARGEST_FOLDER,
) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Read all pictures in a folder and its sub-folders; see the module's table.

    Args:
        folder: Where they are.
        size: Height and width to which each picture is resized, whatever its proportions; `None`: as they are.
        colours: "grey" or "rgb"; "auto": grey if all pictures are, also those that are stored as RGB.
        memory_limit: The most bytes that the array may take.

    Returns:
        The pictures, (n, height, width, 1 or 3), values in [0, 1]; and their paths within the folder, with slashes.
        They are sorted by these: numbers in them by value ("2.png" before "10.png"), letters whatever their case.

    Raises:
        ParameterError: If `size` or `colours` is not one that can be had.
        FileFormatError: If there is no such folder, no picture in it, or a file that cannot be read.
        DataError: If the pictures differ in size, a picture has more than `LARGEST_PICTURE` pixels, or all of them
            take more than `memory_limit`.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = write_pictures(folder, np.zeros((2, 4, 6)), ["good/10.png", "good/2.png"])
        ...     X, names = read_pictures(folder)
        >>> X.shape, names
        ((2, 4, 6, 1), ('good/2.png', 'good/10.png'))
    """
    folder = as_path(folder, "folder")
    _check_settings(size, colours)
    paths = _pictures(folder)
    headers = _headers(paths)
    channels = _channels(colours, [grey for _, grey in headers])
    _check_memory([pixels for pixels, _ in headers], size, channels, memory_limit)

    def read(number: int) -> NDArray[np.float32]:
        with _opened(paths[number]) as image:
            return _values(image, channels, size, paths[number])

    return _side_by_side(paths, read, colours), tuple(path.relative_to(folder).as_posix() for path in paths)


def read_images(
    images: Sequence[Any],
    *,
    size: tuple[int, int] | None = None,
    colours: Colours = "auto",
    memory_limit: int = LARGEST_FOLDER,
    name: str = "X",
) -> NDArray[np.float32]:
    """Read pictures that Pillow has opened or made, as those of a folder are read; see `read_pictures`.

    Example:
        >>> images = [Image.new("P", (6, 4)), Image.new("1", (6, 4), 1)]
        >>> X = read_images(images)
        >>> X.shape, X.min(axis=(1, 2, 3)).tolist()
        ((2, 4, 6, 1), [0.0, 1.0])

    Raises:
        DataError: If one is no picture, is damaged, they differ in size, or take more than `memory_limit`.
        FileFormatError: If Pillow has other numbers than the file's header says.
    """
    _check_settings(size, colours)
    places = [f"{name}: picture {number}" for number in range(len(images))]
    for image, place in zip(images, places, strict=True):
        if not isinstance(image, Image.Image):
            raise DataError(f"{place}: expected a picture of Pillow, as others are; got {type(image).__name__}.")
    channels = _channels(colours, [_is_grey(image) for image in images])
    _check_memory([image.width * image.height for image in images], size, channels, memory_limit)

    def read(number: int) -> NDArray[np.float32]:
        try:
            return _values(images[number], channels, size, places[number])
        except (DataError, FileFormatError, MemoryError):
            raise
        except Exception as error:  # one that was opened is decoded only here
            raise _damaged(places[number], error) from None

    return _side_by_side(places, read, colours)


def _channels(colours: Colours, grey: Sequence[bool]) -> int:
    return 1 if colours == "grey" or (colours == "auto" and all(grey)) else 3


def _is_grey(image: Image.Image) -> bool:
    return image.mode in _GREY or image.mode.startswith("I;")


def _side_by_side(
    places: Sequence[object], read: Callable[[int], NDArray[np.float32]], colours: Colours
) -> NDArray[np.float32]:
    """Return the pictures at these places as one array, of one channel where "auto" finds no colours."""
    first = read(0)
    pictures = np.empty((len(places), *first.shape), np.float32)
    for number, place in enumerate(places):
        picture = first if number == 0 else read(number)
        if picture.shape != first.shape:
            raise DataError(
                f"The pictures differ in size: {places[0]} has {_size(first)} pixels, {place} has {_size(picture)} "
                "(height × width). Make them alike, or name a size=(height, width) to which all are resized."
            )
        pictures[number] = picture
    if colours == "auto" and pictures.shape[3] == 3 and all((p == p[:, :, :1]).all() for p in pictures):
        pictures = pictures[..., :1].copy()
    return pictures


def write_picture(path: str | os.PathLike[str], array: NDArray[Any]) -> Path:
    """Write one picture as PNG of 8 bits, beside its place, then renamed into it.

    Args:
        path: Where to; it ends in .png. A file that is there is replaced when the new one is whole and on disk.
        array: (height, width) or (height, width, 1 or 3): uint8, or numbers where 0 is black and 1 white; what lies
            beyond them is cut off.

    Raises:
        ParameterError: If the path does not end in .png.
        DataError: If the array is not a picture.
        FileFormatError: If the file cannot be written there.
    """
    return _write(as_path(path), array)


def _write(path: Path, array: NDArray[Any], *, clear: bool = True) -> Path:
    """Write one picture; see `write_picture`, and `replacing` for `clear`."""
    if path.suffix.lower() != ".png":
        raise ParameterError(f"path: {path} cannot be written; pictures are written as PNG, so end it in .png.")
    if not path.parent.is_dir():
        raise FileFormatError(f"{path}: the folder {path.parent} does not exist. Make it first.")
    content = _png(array, str(path))
    with replacing(path, clear=clear) as file:
        file.write(content)
    return path


def write_pictures(
    folder: str | os.PathLike[str], array: NDArray[Any], names: Sequence[str] | None = None
) -> tuple[Path, ...]:
    """Write each picture of an array as a PNG file.

    Args:
        folder: Where to; it and the sub-folders in the names are made.
        array: (n, height, width) or (n, height, width, 1 or 3), values as `write_picture` takes them.
        names: Paths within the folder, whose extensions become .png; `None`: numbers from 0.

    Returns:
        The paths of the files.

    Raises:
        ParameterError: If there are not as many names as pictures, two become the same, or one leads out of the folder.
        DataError: If the array is not one of pictures.
        FileFormatError: If a file cannot be written there; those before it are whole.
    """
    folder, array = as_path(folder, "folder"), np.asarray(array)
    if array.ndim not in (3, 4) or 0 in array.shape:
        raise DataError(
            f"array: expected pictures, (n, height, width) or (n, height, width, channels); got the shape "
            f"{array.shape}."
        )
    digits = len(str(len(array) - 1))
    wanted = [f"{number:0{digits}}" for number in range(len(array))] if names is None else list(names)
    if isinstance(names, str) or len(wanted) != len(array):
        raise ParameterError(f"names: expected a list of {len(array)}, one for each picture; got {len(wanted)}.")
    targets = [PurePosixPath(name).with_suffix(".png") if PurePosixPath(name).name else None for name in wanted]
    bad = [
        name
        for name, target in zip(wanted, targets, strict=True)
        if target is None or target.is_absolute() or ".." in target.parts or "\\" in name or ":" in name
    ]
    if bad:
        raise ParameterError(f"names: expected paths within the folder, such as 'good/1.png'; got {listing(bad)}.")
    if twice := [str(target) for target in dict.fromkeys(targets) if targets.count(target) > 1]:
        raise ParameterError(f"names: two pictures would become {listing(twice)}. Give them different names.")
    paths = tuple(folder / str(target) for target in targets)
    for path, picture in zip(paths, array, strict=True):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileFormatError(f"{path.parent}: cannot be made ({error.strerror or error}).") from None
        _write(as_path(path), picture, clear=False)
    return paths


def natural(name: str) -> tuple[Any, ...]:
    """Return what sorts names with the numbers in them by value, and letters whatever their case.

    Example:
        >>> sorted(["b10", "B2", "a"], key=natural)
        ['a', 'B2', 'b10']
    """
    pieces = re.split(r"(\d+)", name.casefold())  # text and numbers in turn, text first
    key = tuple(int(piece) if number % 2 else piece for number, piece in enumerate(pieces))
    return key, name  # names that differ by case or leading zeros alone still have an order


def _check_settings(size: Any, colours: Any) -> None:
    if colours not in _COLOURS:
        raise ParameterError(
            f"colours: expected one of {', '.join(map(repr, _COLOURS))}; got {colours!r}."
            + suggest(str(colours), _COLOURS)
        )
    if size is None:
        return
    pair = isinstance(size, tuple | list) and len(size) == 2
    if not pair or any(isinstance(side, bool) or not isinstance(side, int | np.integer) or side < 1 for side in size):
        raise ParameterError(f"size: expected (height, width), whole numbers from 1; got {size!r}.")
    if size[0] * size[1] > LARGEST_PICTURE:
        raise ParameterError(f"size: {size!r} has more than {LARGEST_PICTURE:,} pixels.")


def _pictures(folder: Path) -> list[Path]:
    """Return the files of a folder that are to be read, in order."""
    if not folder.is_dir():
        what = "a file, where a folder of pictures is expected" if folder.exists() else "there is no such folder"
        raise FileFormatError(f"{folder}: {what}.")

    def fail(error: OSError) -> None:
        raise FileFormatError(f"{error.filename}: cannot be read ({error.strerror or error}).")

    paths = []
    for parent, folders, files in os.walk(folder, onerror=fail):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths += [Path(parent, name) for name in files if not name.startswith(".")]
    paths = [path for path in paths if path.suffix.lower() not in OTHERS]
    if not paths:
        raise FileFormatError(f"{folder}: no pictures in it. It reads {', '.join(FORMATS)} files, also in sub-folders.")
    if strange := [path for path in paths if not path.is_file()]:
        raise FileFormatError(f"{listing(strange)}: not a regular file. Take it out of the folder.")
    return sorted(paths, key=lambda path: [natural(part) for part in path.relative_to(folder).parts])


def _headers(paths: list[Path]) -> list[tuple[int, bool]]:
    """Return the number of pixels of each picture, and whether its file is grey; decodes nothing."""
    headers, bad = [], []
    for path in paths:
        try:
            with _opened(path) as image:
                if image.width * image.height > LARGEST_PICTURE:
                    raise DataError(
                        f"{path}: {image.height} × {image.width} pixels, more than the {LARGEST_PICTURE:,} that a "
                        "picture may have. Make it smaller, or cut it into tiles."
                    )
                depth_of(image, path)
                headers.append((image.width * image.height, _is_grey(image)))
        except FileFormatError as error:
            bad.append(error)
    if bad:
        more = f" {len(bad) - 1} more files cannot be read either." if len(bad) > 1 else ""
        raise FileFormatError(f"{bad[0]}{more}")
    return headers


def _check_memory(pixels: list[int], size: tuple[int, int] | None, channels: int, limit: int) -> None:
    total = 4 * channels * (sum(pixels) if size is None else len(pixels) * size[0] * size[1])
    if total > limit:
        raise DataError(
            f"The {len(pixels)} pictures would take {total / 2**30:.1f} GiB of memory, more than the limit of "
            f"{limit / 2**30:.1f} GiB. Name a smaller size=(height, width), read colours='grey', or read fewer at once."
        )


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open a picture; whatever its decoder raises becomes an error that names the file."""
    Image.init()
    formats = [name for name in FORMATS if name in Image.OPEN]  # the others' decoders are little tried, or run programs
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sizes, which are checked here, and of odd metadata
            with Image.open(path, formats=formats) as image:
                yield image
    except (DataError, FileFormatError, MemoryError):
        raise
    except UnidentifiedImageError:
        raise FileFormatError(
            f"{path}: not a picture that omokage reads ({', '.join(FORMATS)}), or damaged at its start. Get it again, "
            "convert it, or take it out of the folder."
        ) from None
    except Image.DecompressionBombError:
        raise DataError(
            f"{path}: has far more than the {LARGEST_PICTURE:,} pixels that a picture may have. Make it smaller."
        ) from None
    except OSError as error:
        if error.errno is not None:
            raise FileFormatError(f"{path}: cannot be read ({error.strerror or error}).") from None
        raise _damaged(path, error) from None
    except Exception as error:  # decoders fail on damaged content in a dozen ways
        raise _damaged(path, error) from None


def _damaged(path: object, error: Exception) -> FileFormatError:
    return FileFormatError(f"{path}: the picture is damaged or cut short ({error}). Get it again, or take it away.")


def _values(image: Image.Image, channels: int, size: tuple[int, int] | None, path: object) -> NDArray[np.float32]:
    """Return one picture, (height, width, channels), values in [0, 1]."""
    depth = depth_of(image, path)
    image, white = _plain(ImageOps.exif_transpose(image), depth, channels, path)
    if size is not None and (image.height, image.width) != tuple(size):
        # With antialiasing, and without values beyond those of the picture.
        image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    values = np.asarray(image, np.float32) / np.float32(white)
    values = values.reshape(*values.shape[:2], -1)
    return np.broadcast_to(values, (*values.shape[:2], channels))


def _plain(image: Image.Image, depth: Depth, channels: int, path: object) -> tuple[Image.Image, float]:
    """Return the picture as grey (8-bit or real) or RGB without transparency, and which value is white."""
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        values = np.asarray(image, np.float32)
        transparent = image.info.get("transparency")
        if not (values.min() >= 0 and values.max() <= depth.white):
            raise DataError(
                f"{path}: its values go from {values.min():.6g} to {values.max():.6g}; those of "
                f"{'real' if image.mode == 'F' else '16-bit'} grey must lie within 0 and {depth.white:.0f}. "
                "Rescale the picture, and save it with 8 or 16 bits."
            )
        if depth.inverted:
            values = np.float32(depth.white) - values
        if isinstance(transparent, int):  # the grey that lets the background through, which is white here
            values = np.where(values == transparent, np.float32(depth.white), values)
        return Image.fromarray(values), depth.white
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("L" if channels == 1 else "RGB"), 255.0


def _png(array: NDArray[Any], place: str) -> bytes:
    array = np.asarray(array)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or 0 in array.shape or (array.ndim == 3 and array.shape[2] != 3):
        raise DataError(
            f"{place}: expected a picture, (height, width) or (height, width, 1 or 3); got the shape {array.shape}."
        )
    if array.dtype != np.uint8:
        if array.dtype.kind not in "biuf":
            raise DataError(f"{place}: expected numbers, got {array.dtype}.")
        if np.isnan(array).any():
            raise DataError(f"{place}: the picture contains NaN.")
        array = np.rint(np.clip(array, 0, 1).astype(np.float64) * 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(array)).save(stream, "PNG")
    return stream.getvalue()


def _size(picture: NDArray[Any]) -> str:
    return f"{picture.shape[0]} × {picture.shape[1]}"

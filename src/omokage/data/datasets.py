"""Three data sets by name: "digits", "mnist" and "fashion_mnist".

The digits come with scikit-learn. The other two are looked for in the folder `$OMOKAGE_DATA/<name>/`, then in the
cache folder, and then fetched from their official addresses into the cache. Wherever a file comes from, the
SHA-256 of its unpacked content is checked.
"""

import gzip
import hashlib
import http.client
import logging
import os
import secrets
import sys
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omokage.errors import FileFormatError, ParameterError, listing, suggest
from omokage.files.arrays import idx_array

NAMES = ("digits", "mnist", "fashion_mnist")
SPLITS = ("train", "test", "all")
TIMEOUT = 30.0  # seconds without an answer, after which an address is given up

_log = logging.getLogger(__name__)
_PIECE = 256 * 2**10  # bytes that are taken from the network at once
_ATTEMPTS = 3  # at each address, each going on where the one before broke off
_LARGEST = 2**28  # bytes of a file, packed or not
_DIGITS = tuple("0123456789")


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled pictures.

    Attributes:
        X: Pixels row by row, (n, height * width), float32 in [0, 1].
        y: Class numbers, (n,), int64.
        shape: Height and width of a picture.
        name: "digits", "mnist" or "fashion_mnist".
        classes: What the class numbers stand for.
    """

    X: NDArray[np.float32]
    y: NDArray[np.int64]
    shape: tuple[int, int]
    name: str
    classes: tuple[str, ...]


@dataclass(frozen=True)
class RemoteFile:
    """A gzip file that can be fetched.

    Attributes:
        name: Its file name, ending in .gz.
        addresses: Where it can be had, tried in turn.
        sha256: Of the unpacked content.
    """

    name: str
    addresses: tuple[str, ...]
    sha256: str


def load(name: str, split: str = "train") -> Dataset:
    """Load a data set.

    The digits have no official split: every fifth picture of each class, in the order of the file, is for
    testing. MNIST and Fashion-MNIST have theirs, 60,000 and 10,000.

    Args:
        name: "digits" (8 × 8, 1,797 pictures), "mnist" or "fashion_mnist" (28 × 28, 70,000).
        split: "train", "test", or "all": for the digits in their original order, else train before test.

    Raises:
        ParameterError: If there is no such data set or split.
        FileFormatError: If a file can neither be found nor fetched, or is not what it should be.

    Example:
        >>> digits = load("digits", split="all")
        >>> digits.X.shape, digits.y.shape, digits.shape
        ((1797, 64), (1797,), (8, 8))
    """
    if name not in NAMES:
        raise ParameterError(f"name: expected one of {listing(NAMES)}, got {name!r}.{suggest(str(name), NAMES)}")
    if split not in SPLITS:
        raise ParameterError(f"split: expected one of {listing(SPLITS)}, got {split!r}.{suggest(str(split), SPLITS)}")
    if name == "digits":
        return _digits(split)
    parts = ("train", "test") if split == "all" else (split,)
    images = np.concatenate([_idx(name, part, 0) for part in parts])
    labels = np.concatenate([_idx(name, part, 1) for part in parts])
    pixels = images.reshape(len(images), -1).astype(np.float32)
    pixels /= 255
    return Dataset(pixels, labels.astype(np.int64), images.shape[1:], name, _CLASSES[name])


def _digits(split: str) -> Dataset:
    from sklearn.datasets import load_digits  # here, since it takes long to import

    pixels, labels = load_digits(return_X_y=True)
    test = np.zeros(len(labels), bool)
    for label in range(10):
        test[np.flatnonzero(labels == label)[4::5]] = True
    rows = {"train": ~test, "test": test, "all": np.ones(len(labels), bool)}[split]
    return Dataset((pixels[rows] / 16).astype(np.float32), labels[rows].astype(np.int64), (8, 8), "digits", _DIGITS)


def _idx(name: str, part: str, which: int) -> NDArray[Any]:
    file = _FILES[name][part][which]
    return idx_array(content(file, name), file.name)


# ------------------------------------------------------------------------------------- files, near and far


def content(file: RemoteFile, folder: str) -> bytes:
    """Return the unpacked content of a file: of `$OMOKAGE_DATA`, of the cache, or else fetched into the cache.

    Args:
        file: What to get.
        folder: The folder within either place.

    Raises:
        FileFormatError: If it cannot be fetched, or its checksum is wrong. A file under `$OMOKAGE_DATA` is never
            changed; a wrong one in the cache is set aside and fetched anew.
    """
    if (own := os.environ.get("OMOKAGE_DATA")) and (path := _here(Path(own) / folder, file.name)):
        unpacked = _unpacked(path, path.suffix == ".gz")
        if unpacked is None or _hash(unpacked) != file.sha256:
            raise FileFormatError(
                f"{path}: expected content with the SHA-256 {file.sha256}, got {_hash(unpacked)}. It was left as it "
                "is: put the original in its place, or unset OMOKAGE_DATA."
            )
        return unpacked
    target = cache_folder() / folder / file.name
    if path := _here(target.parent, file.name):
        unpacked = _unpacked(path, path.suffix == ".gz")
        if unpacked is not None and _hash(unpacked) == file.sha256:
            return unpacked
        aside = path.with_name(f"{path.name}.damaged")
        with _writing(path):
            path.replace(aside)
        _log.warning(
            "%s: expected content with the SHA-256 %s, got %s. It was set aside as %s, and is fetched anew.",
            path, file.sha256, _hash(unpacked), aside.name,
        )  # fmt: skip
    return fetch(file, target)


def cache_folder() -> Path:
    """Return omokage's folder for what can be fetched again: `$OMOKAGE_CACHE`, or the usual one of the system."""
    if chosen := os.environ.get("OMOKAGE_CACHE"):
        return Path(chosen)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "omokage"
    if os.name == "nt":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "omokage"
    usual = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification says to pass over a relative one.
    return (Path(usual) if Path(usual).is_absolute() else Path.home() / ".cache") / "omokage"


def _here(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / name, folder / name.removesuffix(".gz")) if path.is_file()), None)


def _unpacked(path: Path, packed: bool) -> bytes | None:
    """Return the content of a file; `None` if it is packed and cannot be unpacked."""
    try:
        with gzip.open(path) if packed else path.open("rb") as stream:
            return stream.read(_LARGEST)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        return None
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be read ({error.strerror or error}).") from None


def _hash(unpacked: bytes | None) -> str:
    return "none, since it cannot be unpacked" if unpacked is None else hashlib.sha256(unpacked).hexdigest()


# ------------------------------------------------------------------------------------------- from afar


class _NotFetchedError(Exception):
    """An address did not give the file."""


def fetch(file: RemoteFile, target: Path, timeout: float = TIMEOUT) -> bytes:
    """Fetch a file, check it, put it in its place when it is whole, and return its unpacked content.

    It goes on from what a broken attempt left beside the target. Processes that fetch the same file at once
    each write a file of their own.

    Args:
        file: What to fetch.
        target: Where to put it, packed.
        timeout: Seconds that a server may be silent.

    Raises:
        FileFormatError: If no address gives the right content, or the folder cannot be written to.
    """
    problems: list[str] = []
    with _writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with _part(target, stale=4 * timeout) as part:
            for address in file.addresses:
                try:
                    unpacked = _checked(file, address, part, timeout)
                except _NotFetchedError as problem:
                    problems.append(f"{address}: {problem}")
                    continue
                part.replace(target)
                return unpacked
    raise FileFormatError(
        f"{file.name} is not on this machine and could not be fetched ({'; '.join(problems)}). Check the connection, "
        f"or get the file by hand and put it at {target}, or at {target.parent.name}/{file.name} in the folder that "
        "the environment variable OMOKAGE_DATA names."
    )


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FileFormatError(
            f"{path}: cannot be written ({error.strerror or error}). Name another cache folder in the environment "
            "variable OMOKAGE_CACHE."
        ) from None


@contextmanager
def _part(target: Path, stale: float) -> Iterator[Path]:
    """Give a file beside the target that no other process writes to, with what an earlier attempt left.

    A rename succeeds in one process only, so it is how a left-over is claimed. A file under a process's own name that
    was not written to for `stale` seconds was left by a killed one.
    """
    shared = target.with_name(f"{target.name}.part")
    own = target.with_name(f"{target.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    others = [path for path in target.parent.iterdir() if path.name.startswith(f"{target.name}.")]
    for left in [shared, *(path for path in others if path.suffix == ".part" and path != shared)]:
        with suppress(OSError):
            if left == shared or time.time() - left.stat().st_mtime > stale:
                os.utime(left)  # first, so that nobody takes it from us
                left.rename(own)
                break
    own.touch()
    try:
        yield own
    finally:
        if own.exists() and own.stat().st_size:
            own.replace(shared)
        own.unlink(missing_ok=True)


def _checked(file: RemoteFile, address: str, part: Path, timeout: float) -> bytes:
    """Fetch until the content is right; start anew once if what an earlier attempt left may be the reason."""
    resumed = part.stat().st_size > 0
    while True:
        _fetch_whole(file.name, address, part, timeout)
        unpacked = _unpacked(part, packed=True)
        if unpacked is not None and _hash(unpacked) == file.sha256:
            return unpacked
        part.write_bytes(b"")
        if not resumed:
            raise _NotFetchedError(
                f"expected content with the SHA-256 {file.sha256}, got {_hash(unpacked)}; the file was removed"
            )
        resumed = False


def _fetch_whole(name: str, address: str, part: Path, timeout: float) -> None:
    for _ in range(_ATTEMPTS):
        before = part.stat().st_size
        problem = _fetch_rest(name, address, part, timeout)
        if problem is None:
            return
        _log.info("%s: %s, with %d bytes there.", address, problem, part.stat().st_size)
        if part.stat().st_size == before:
            break
    raise _NotFetchedError(problem)


def _fetch_rest(name: str, address: str, part: Path, timeout: float) -> str | None:
    """Fetch what `part` lacks; return why it is still not whole, or `None` when it is."""
    have = part.stat().st_size
    headers = {"User-Agent": "omokage", "Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        # 416: nothing comes after what is there; whether that is the file, its checksum says.
        return None if have and error.code == 416 else f"answered {error.code} {error.reason}"
    except (OSError, http.client.HTTPException) as error:
        return str(getattr(error, "reason", None) or error or type(error).__name__)
    with response:
        if response.status == 206 and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            part.write_bytes(b"")
            return "answered with another part of the file than the one asked for"
        have = have if response.status == 206 else 0
        length = response.headers.get("Content-Length", "")
        total = have + int(length) if length.isdecimal() else None
        with part.open("ab" if have else "wb") as output, _progress(name, have, total) as advance:
            while True:
                try:
                    piece = response.read(_PIECE)
                except (OSError, http.client.HTTPException) as error:
                    return str(error) or type(error).__name__
                if not piece:
                    break
                have += output.write(piece)
                advance(len(piece))
                if have > _LARGEST:
                    output.truncate(0)
                    raise _NotFetchedError(f"more than {_LARGEST} bytes came")
    return None if total is None or have == total else f"the connection ended after {have} of {total} bytes"


@contextmanager
def _progress(name: str, have: int, total: int | None) -> Iterator[Callable[[float], None]]:
    """Show a bar on a terminal, and write a line to the log elsewhere."""
    if not sys.stderr.isatty():
        _log.info("Fetching %s, %s bytes, from byte %d on.", name, total or "an unknown number of", have)
        yield lambda size: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(name, total=total, completed=have)
        yield partial(progress.advance, task)


# --------------------------------------------------------------------------------------- the data sets


def _files(addresses: tuple[str, ...], hashes: dict[str, tuple[str, str]]) -> dict[str, tuple[RemoteFile, RemoteFile]]:
    """Return the images and the labels of each split."""
    stems = {"train": "train", "test": "t10k"}

    def remote(name: str, sha256: str) -> RemoteFile:
        return RemoteFile(name, tuple(address + name for address in addresses), sha256)

    return {
        split: (
            remote(f"{stems[split]}-images-idx3-ubyte.gz", images),
            remote(f"{stems[split]}-labels-idx1-ubyte.gz", labels),
        )
        for split, (images, labels) in hashes.items()
    }


_FILES = {
    "mnist": _files(
        ("https://ossci-datasets.s3.amazonaws.com/mnist/",),
        {
            "train": (
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
                "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            ),
            "test": (
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
                "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            ),
        },
    ),
    "fashion_mnist": _files(
        ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
        {
            "train": (
                "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
                "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            ),
            "test": (
                "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
                "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            ),
        },
    ),
}

_CLASSES = {
    "mnist": _DIGITS,
    "fashion_mnist": (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    ),
}  # fmt: skip

"""Files and folders that are whole or not there: written beside, fsynced, renamed; folders are read back with hashes.

Replacing a folder takes two renames (old away, new in), since no system renames over a full folder. A process
killed between them leaves the old one as `.NAME.old` beside, and `read_folder` takes it from there; so at every
instant either the old or the new content can be read.
"""

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from omokage.errors import FileFormatError, listing

INDEX = "spec.json"
MAX_JSON_BYTES = 64 * 2**20

Json = TypeVar("Json", dict[str, Any], list[Any])
_CALLED: dict[type, str] = {dict: "object", list: "array"}


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Give a file to write to, which takes its place at `path` when it is whole and on the disk.

    Raises:
        FileFormatError: If it cannot be written; what was there is as before.
    """
    target = Path(path).resolve()  # through a link, so that the link stays one
    part = target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        try:
            with part.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            part.replace(target)
        finally:
            with suppress(OSError):
                part.unlink()
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be written ({error.strerror or error}). Name another file.") from None


def replace_file(path: str | os.PathLike[str], content: bytes) -> Path:
    """Write a file, and its folder where there is none, and return its absolute path; see `replacing`."""
    target = Path(path).resolve()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileFormatError(f"{target}: cannot be written ({error.strerror or error}). Name another file.") from None
    with replacing(target) as file:
        file.write(content)
    return target


def write_folder(path: str | os.PathLike[str], index: Mapping[str, Any], files: Mapping[str, bytes]) -> Path:
    """Write a folder of files and its index in one step that cannot be seen half done.

    Args:
        path: The folder; one that was written by this function is replaced.
        index: What `spec.json` says; the SHA-256 of every file is added to it as "files".
        files: File name to content.

    Raises:
        FileFormatError: If the folder holds anything that this function did not write, or nothing can be written
            there; what was there is as before.
    """
    path = Path(path).resolve()
    check_target(path, files)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _clear_abandoned(path)
        _replace(path, index, files)
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be written ({error.strerror or error}).") from None
    return path


def check_target(path: str | os.PathLike[str], files: Iterable[str]) -> None:
    """Check that `write_folder` would write files of these names there; worth doing before long work.

    Raises:
        FileFormatError: If something is there that `write_folder` did not write, or nobody may write there.
    """
    path = Path(path).resolve()
    try:
        there = path if path.exists() else next(parent for parent in path.parents if parent.exists())
        if not there.is_dir():
            raise FileFormatError(f"{there} is a file: name a folder to write to.")
        if not os.access(there if there != path else path.parent, os.W_OK):
            raise FileFormatError(f"{path}: cannot be written (no permission to write in {path.parent}).")
        names = {entry.name for entry in path.iterdir()} if there == path else set()
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be written ({error.strerror or error}).") from None
    if foreign := sorted(names - {INDEX, *files}) or ([] if _is_ours(path) else sorted(names)):
        raise FileFormatError(
            f"{path} holds {listing(foreign)}, which omokage did not write there and would have to delete. "
            "Name a new folder."
        )


def read_folder(
    path: str | os.PathLike[str], expected: tuple[str, ...], *, version: int
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Read a folder that `write_folder` wrote, and check that it is whole.

    Args:
        path: The folder.
        expected: The files that it must hold; nothing else in it is opened.
        version: The newest format version that this program understands.

    Returns:
        The index, and the content of each expected file.

    Raises:
        FileFormatError: If the folder or a file is missing, a hash differs, the index is not sound JSON, or the
            format version is newer.
    """
    path = Path(path).resolve()
    while True:
        before = _identity(path)
        try:
            return _read(path, expected, version)
        except FileFormatError:
            if _identity(path) == before:
                raise  # and if not: the folder was replaced while it was read
        except OSError as error:
            if _identity(path) == before:
                raise FileFormatError(f"{path}: cannot be read ({error.strerror or error}).") from None


def read_json(path: Path) -> dict[str, Any]:
    """Read one JSON object from a file, with limits on its size and depth.

    Raises:
        FileFormatError: If the file is missing, too large, too deep, or not a JSON object.
    """
    try:
        text = _content(path)
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be read ({error.strerror}).") from None
    return parse_json(text, str(path), dict)


def parse_json(text: bytes, source: str, expected: type[Json]) -> Json:
    """Parse one JSON value of the type `expected`, `dict` or `list`; `source` is what messages call it.

    Raises:
        FileFormatError: If it is too deep, damaged, or of another type.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{source}: not sound JSON ({error}). The file was damaged or changed.") from None
    if not isinstance(value, expected):
        raise FileFormatError(f"{source}: expected a JSON {_CALLED[expected]}, got {type(value).__name__}.")
    return value


def _read(path: Path, expected: tuple[str, ...], version: int) -> tuple[dict[str, Any], dict[str, bytes]]:
    folder = path if path.exists() else _old(path)
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        raise FileFormatError(f"{path} {what}: expected the folder that `save` or a checkpoint wrote.")
    index = read_json(folder / INDEX)
    if not isinstance(index.get("format"), int) or not isinstance(index.get("files"), dict):
        raise FileFormatError(f"{folder / INDEX}: no 'format' and 'files' entries; not written by omokage.")
    if index["format"] > version:
        raise FileFormatError(
            f"{path}: format version {index['format']} is newer than this omokage reads (up to {version}). "
            f"It was written by omokage {index.get('omokage', '(unknown)')}: upgrade with `pip install -U omokage`."
        )
    if missing := [name for name in expected if not (folder / name).is_file()]:
        raise FileFormatError(f"{path}: missing {listing(missing)}. Copy the whole folder again, or fit anew.")
    contents = {name: _content(folder / name) for name in expected}
    for name, content in contents.items():
        if hashlib.sha256(content).hexdigest() != index["files"].get(name):
            raise FileFormatError(
                f"{folder / name}: its SHA-256 is not the one in {INDEX}; the file was damaged or changed. "
                "Copy the folder again, or fit anew."
            )
    return index, contents


def _content(path: Path) -> bytes:
    if path.suffix == ".json" and path.stat().st_size > MAX_JSON_BYTES:
        raise FileFormatError(f"{path}: larger than {MAX_JSON_BYTES // 2**20} MiB; not written by omokage.")
    return path.read_bytes()


def _replace(path: Path, index: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
    new, old = path.parent / f".{path.name}.new-{os.getpid()}", _old(path)
    new.mkdir()
    try:
        for name, content in files.items():
            _write_file(new / name, content)
        hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        _write_file(new / INDEX, _to_json({**index, "files": hashes}))
        _sync_folder(new)
        if path.exists():
            shutil.rmtree(old, ignore_errors=True)
            path.rename(old)
        new.rename(path)
        _sync_folder(path.parent)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        if not path.exists() and old.exists():
            old.rename(path)
        raise
    finally:
        if path.exists():
            shutil.rmtree(old, ignore_errors=True)


def _to_json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def _old(path: Path) -> Path:
    return path.parent / f".{path.name}.old"


def _is_ours(path: Path) -> bool:
    try:
        index = read_json(path / INDEX)
    except FileFormatError:
        return False
    return isinstance(index.get("format"), int) and isinstance(index.get("files"), dict)


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a folder from the one that takes its place."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def _clear_abandoned(path: Path) -> None:
    """Remove what killed processes left half written beside `path`."""
    prefix = f".{path.name}.new-"
    for entry in path.parent.iterdir():
        number = entry.name.removeprefix(prefix)
        if number != entry.name and number.isdecimal() and not _alive(int(number)):
            shutil.rmtree(entry, ignore_errors=True)
    if path.exists():
        shutil.rmtree(_old(path), ignore_errors=True)


def _alive(process: int) -> bool:
    if process == os.getpid():
        return False  # ours, from an earlier save that failed
    if os.name == "nt":
        return True  # signal 0 would end the process there
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _write_file(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    if os.name == "nt":
        return  # folders cannot be opened there; the rename is journalled
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

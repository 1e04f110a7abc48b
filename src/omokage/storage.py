"""Files and folders that are whole or not there: written beside, fsynced, renamed; folders are read back with hashes.

Replacing a folder takes two renames (old away, new in), since no system renames over a full folder. A process
killed between them leaves the old one as `.NAME.old` beside, and `read_folder` takes it from there; so at every
instant either the old or the new content can be read. Those who save at the same time write each beside, in a folder
with a random name, and take turns at the renames.

A folder that has to stay (a mount point, the current folder) is written inside: first the new files, under names with
their hash (`.NAME.HASH`), then the index in one rename, then the files take their names. A reader finds the files of
the index that it read under either name.
"""

import hashlib
import json
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from errno import EACCES, EBUSY, EINVAL, ENOTSUP, EPERM, EXDEV
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from omokage.errors import FileFormatError, listing
from omokage.paths import clear_parts, hold, location, lock_of, locked, read_regular, unlock

INDEX = "spec.json"

Json = TypeVar("Json", dict[str, Any], list[Any])
Header = Callable[[BinaryIO, int, str], None]

_CALLED: dict[type, str] = {dict: "object", list: "array"}
_MOST = {"[{": 500_000, ":": 2_000_000, ",": 8_000_000}  # of these characters in JSON: each costs memory
_DEEPEST = 50  # levels of JSON
_STAYS = (EBUSY, EXDEV, EPERM, EACCES, EINVAL, ENOTSUP)  # why a folder cannot be renamed
_MOST_TRIES = 20  # of reading while others write, where there are no locks


@contextmanager
def replacing(path: str | os.PathLike[str], *, clear: bool = True) -> Iterator[BinaryIO]:
    """Give a file to write to, which takes its place at `path` when it is whole and on the disk.

    Args:
        path: The file.
        clear: Remove what killed runs left beside it; not worth a look into the folder where files are many.

    Raises:
        ParameterError: If it is no path.
        FileFormatError: If it cannot be written; what was there is as before.
    """
    target = location(path, "path")  # through a link, so that the link stays one
    part, lock = target, None
    try:
        if target.exists() and not stat.S_ISREG(target.stat().st_mode):
            raise FileFormatError(f"{path}: is a folder or a device, not a file. Name another file.")
        if clear:
            clear_parts(target.parent, _hidden(target, "").name.removesuffix("."))
        try:
            part, opened, lock = _part_of(target)
            with opened as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            try:
                part.replace(target)
            except OSError as error:
                if error.errno not in (EBUSY, EXDEV):
                    raise
                shutil.copyfile(part, target)  # a file that is a mount point
        finally:
            if part != target:
                with suppress(OSError):
                    part.unlink()
            unlock(lock)
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be written ({error.strerror or error}). Name another file.") from None


def _part_of(target: Path) -> tuple[Path, BinaryIO, int | None]:
    """Return a new file beside another one, opened, and its lock, by which others know that it is being written."""
    while True:
        part = _hidden(target, f"{os.getpid()}-{secrets.token_hex(4)}.part")
        file = part.open("xb")
        lock = hold(file)
        if part.exists():
            return part, file, lock
        file.close()  # another run took it for one that was left, before it was locked
        unlock(lock)


def replace_file(path: str | os.PathLike[str], content: bytes) -> Path:
    """Write a file, and its folder where there is none, and return its absolute path; see `replacing`."""
    target = location(path, "path")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileFormatError(f"{target}: cannot be written ({error.strerror or error}). Name another file.") from None
    with replacing(target) as file:
        file.write(content)
    return target


def write_folder(path: str | os.PathLike[str], index: Mapping[str, Any], files: Mapping[str, bytes]) -> Path:
    """Write a folder of files and its index in one step that cannot be seen half done.

    Several threads, processes and containers may write one folder at once: the last one stays.

    Args:
        path: The folder; one that was written by this function is replaced.
        index: What `spec.json` says; the SHA-256 of every file is added to it as "files".
        files: File name to content.

    Raises:
        ParameterError: If it is no path.
        FileFormatError: If the folder holds anything that this function did not write, or nothing can be written
            there; what was there is as before.
    """
    path = location(path)
    check_target(path, files)
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    contents = {**files, INDEX: _to_json({**index, "files": hashes})}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not (path.is_dir() and _stays(path)):
            try:
                _write_beside(path, contents)
                return path
            except OSError as error:
                if error.errno not in _STAYS or not _writable(path):
                    raise
        _write_inside(path, contents, hashes)
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be written ({error.strerror or error}).") from None
    return path


def check_target(path: str | os.PathLike[str], files: Iterable[str]) -> None:
    """Check that `write_folder` would write files of these names there; worth doing before long work.

    Raises:
        ParameterError: If it is no path.
        FileFormatError: If something is there that `write_folder` did not write, or nobody may write there.
    """
    path = location(path)
    try:
        with locked(path.parent, shared=True):  # so that it is not looked at while it is replaced
            _check_content(path, files)
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be written ({error.strerror or error}).") from None


def read_folder(
    path: str | os.PathLike[str], expected: tuple[str, ...], *, version: int, header: Header | None = None
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Read a folder that `write_folder` wrote, and check that it is whole.

    Args:
        path: The folder.
        expected: The files that it must hold; nothing else in it is opened.
        version: The newest format version that this program understands.
        header: Called with each file that is no JSON, its size and what messages call it, before it is read.

    Returns:
        The index, and the content of each expected file.

    Raises:
        ParameterError: If it is no path.
        FileFormatError: If the folder or a file is missing, a hash differs, the index is not sound JSON, or the
            format version is newer.
    """
    path = location(path)
    with suppress(FileFormatError, OSError):
        return _read(path, expected, version, header)
    # It may have been replaced while it was read. While nobody writes, what is found is so.
    for attempt in range(_MOST_TRIES):
        before, alone = _identity(path), False
        try:
            with locked(path.parent, shared=True) as alone, _locked_too(path, shared=True):
                return _read(path, expected, version, header)
        except FileFormatError:
            if alone or _identity(path) == before or attempt == _MOST_TRIES - 1:
                raise
        except OSError as error:
            if alone or _identity(path) == before or attempt == _MOST_TRIES - 1:
                raise FileFormatError(f"{path}: cannot be read ({error.strerror or error}).") from None
    raise AssertionError


def read_json(path: Path) -> dict[str, Any]:
    """Read one JSON object from a file, with limits on its size and depth.

    Raises:
        FileFormatError: If the file is missing, too large, too deep, or not a JSON object.
    """
    try:
        text = read_regular(path)
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be read ({error.strerror}).") from None
    return parse_json(text, str(path), dict)


def parse_json(text: bytes, source: str, expected: type[Json]) -> Json:
    """Parse one JSON value of the type `expected`, `dict` or `list`; `source` is what messages call it.

    Raises:
        FileFormatError: If it is too deep, too large, damaged, or of another type.
    """
    for characters, most in _MOST.items():
        if sum(text.count(character.encode()) for character in characters) > most:
            raise FileFormatError(f"{source}: not sound JSON (too many values). The file was damaged or changed.")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError, MemoryError) as error:
        raise FileFormatError(f"{source}: not sound JSON ({error}). The file was damaged or changed.") from None
    if not isinstance(value, expected):
        raise FileFormatError(f"{source}: expected a JSON {_CALLED[expected]}, got {type(value).__name__}.")
    if (problem := _unsound(value)) is not None:
        raise FileFormatError(f"{source}: not sound JSON ({problem}). The file was damaged or changed.")
    return value


def _unsound(value: Any) -> str | None:
    """Say what is wrong with a JSON value that Python's reader took: its depth, or text that is none."""
    level = [value]
    for _ in range(_DEEPEST):
        texts = [entry for entry in level if isinstance(entry, str)]
        texts += [name for entry in level if isinstance(entry, dict) for name in entry]
        try:
            "".join(texts).encode()
        except UnicodeEncodeError:
            return "text that no file can hold"
        level = [
            inner
            for entry in level
            if isinstance(entry, dict | list)
            for inner in (entry.values() if isinstance(entry, dict) else entry)
        ]
        if not level:
            return None
    return f"more than {_DEEPEST} levels"


def _read(
    path: Path, expected: tuple[str, ...], version: int, header: Header | None
) -> tuple[dict[str, Any], dict[str, bytes]]:
    folder = path if path.exists() else _old(path)
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        raise FileFormatError(f"{path} {what}: expected the folder that `save` or a checkpoint wrote.")
    index = read_json(folder / INDEX)
    if not _is_index(index):
        raise FileFormatError(
            f"{folder / INDEX}: no 'format' and 'files' entries that are a whole number from 1 and the SHA-256 of each "
            f"file (format: {str(index.get('format'))[:40]!r}); not written by omokage."
        )
    if index["format"] > version:
        raise FileFormatError(
            f"{folder / INDEX}: format version {str(index['format'])[:40]} is newer than this omokage reads (up to "
            f"{version}). "
            f"It was written by omokage {str(index.get('omokage', '(unknown)'))[:40]}: upgrade with "
            "`pip install -U omokage`."
        )
    hashes = {name: str(index["files"].get(name)) for name in expected}
    there = {name: _place(folder, name, hashes[name]) for name in expected}
    if missing := [name for name, place in there.items() if not os.path.lexists(place)]:
        raise FileFormatError(f"{path}: missing {listing(missing)}. Copy the whole folder again, or fit anew.")
    return index, {name: _content(there[name], hashes[name], header) for name in expected}


def _content(path: Path, sha256: str, header: Header | None) -> bytes:
    """Return the content of a file with this hash."""
    check = None
    if header is not None and path.suffix != ".json":

        def check(file: BinaryIO, size: int) -> None:
            header(file, size, str(path))

    content = read_regular(path, check=check)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise FileFormatError(
            f"{path}: its SHA-256 is not the one in {INDEX}; the file was damaged or changed. "
            "Copy the folder again, or fit anew."
        )
    return content


def _check_content(path: Path, files: Iterable[str]) -> None:
    """Check that a folder is new, empty or omokage's, and that it can be written."""
    there = path if path.exists() else next(parent for parent in path.parents if parent.exists())
    if not there.is_dir():
        raise FileFormatError(f"{there} is a file: name a folder to write to.")
    names = {entry.name for entry in path.iterdir()} if there == path else set()
    if os.path.ismount(path):
        names -= {"lost+found"}  # of the file system that is mounted there
    known = {INDEX, *files}
    foreign = sorted(name for name in names if name not in known and _settled(name) not in known)
    if foreign := foreign or ([] if _is_ours(path) else sorted(names)):
        raise FileFormatError(
            f"{path} holds {listing(foreign)}, which omokage did not write there and would have to delete. "
            "Name a new folder."
        )
    if there != path:
        if not _writable(there):
            raise FileFormatError(f"{path}: cannot be written (no permission to write in {there}).")
    elif not _writable(path) and (_stays(path) or not _can_be_renamed(path)):
        raise FileFormatError(f"{path}: cannot be written (no permission to write in it, or to replace it).")


def _writable(folder: Path) -> bool:
    return os.access(folder, os.W_OK | os.X_OK)


def _stays(path: Path) -> bool:
    """Say whether a folder is one that must not be exchanged for another."""
    if os.path.ismount(path) or not _writable(path.parent):
        return True
    for known in (Path.cwd, Path.home):
        with suppress(OSError, RuntimeError):
            place = known().resolve()
            if path == place or path in place.parents:
                return True
    return False


def _can_be_renamed(path: Path) -> bool:
    """Say whether a folder can be moved away: not where it is a mount point that `os.path.ismount` does not know."""
    probe = _hidden(path, f"probe-{secrets.token_hex(8)}")
    (probe / "full").mkdir(parents=True)
    try:
        os.rename(path, probe)  # noqa: PTH104 - it is not moved, since the target is full; the error says if it could be
        probe.rename(path)
    except OSError as error:
        return error.errno not in _STAYS
    finally:
        shutil.rmtree(probe, ignore_errors=True)
    return True


def _write_beside(path: Path, contents: Mapping[str, bytes]) -> None:
    """Write a folder beside, and let it take the place of the one that is there."""
    new, lock = _work_folder(path)
    try:
        for name, content in contents.items():
            _write_file(new / name, content)
        _sync_folder(new)
        with locked(path.parent):
            _check_content(path, contents)  # others may have written meanwhile
            with _locked_too(path):
                _exchange(path, new)
    finally:
        unlock(lock)
        shutil.rmtree(new, ignore_errors=True)


def _exchange(path: Path, new: Path) -> None:
    """Put a new folder into the place of the one that is there, if there is one."""
    old = _old(path)
    try:
        if path.exists():
            shutil.rmtree(old, ignore_errors=True)
            path.rename(old)
        new.rename(path)
        _sync_folder(path.parent)
    finally:
        if not path.exists() and old.exists():
            old.rename(path)
        elif path.exists():
            shutil.rmtree(old, ignore_errors=True)


def _write_inside(path: Path, contents: Mapping[str, bytes], hashes: Mapping[str, str]) -> None:
    """Write files into a folder that has to stay, the index last, so that the old or the new ones can be read."""
    with locked(path):
        _check_content(path, contents)
        _settle(path)
        part = path / f".{INDEX}.{secrets.token_hex(8)}"
        beside = {name: _beside(path / name, sha256) for name, sha256 in hashes.items()}
        try:
            for name, place in beside.items():
                _write_file(place, contents[name])
            _write_file(part, contents[INDEX])
            _sync_folder(path)
            part.replace(path / INDEX)
        except BaseException:
            for place in (part, *beside.values()):
                with suppress(OSError):
                    place.unlink()
            raise
        _sync_folder(path)
        with suppress(OSError):  # it is whole, and what is left is done by the next one
            _settle(path)


def _settle(path: Path) -> None:
    """Give the files of the index their names where they have not got them yet; remove what a killed process left."""
    if (path / INDEX).exists():
        for name, sha256 in read_json(path / INDEX)["files"].items():
            if (place := _beside(path / name, str(sha256))).parent == path and place.exists():
                place.replace(path / name)
        _sync_folder(path)
    for entry in path.iterdir():
        if _settled(entry.name) is not None:
            entry.unlink()


def _place(folder: Path, name: str, sha256: str) -> Path:
    """Return where a file of an index stands: under its name, or with its hash where it has not got that yet."""
    beside = _beside(folder / name, sha256)
    return beside if os.path.lexists(beside) else folder / name


def _beside(path: Path, sha256: str) -> Path:
    return path.parent / f".{path.name}.{re.sub('[^0-9a-f]', '', sha256)[:16]}"


def _settled(name: str) -> str | None:
    """Return the name of which a name in a folder is one with a hash, if it is."""
    found = re.fullmatch(r"\.(.+)\.[0-9a-f]{16}", name)
    return found[1] if found else None


def _to_json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def _old(path: Path) -> Path:
    return _hidden(path, "old")


def _hidden(path: Path, suffix: str) -> Path:
    """Return a hidden place beside a path, whose name is not too long either."""
    name = path.name
    if len(os.fsencode(name)) > 200:
        name = f"{hashlib.sha256(os.fsencode(name)).hexdigest()[:32]}"
    return path.parent / f".{name}.{suffix}"


def _is_ours(path: Path) -> bool:
    try:
        return _is_index(read_json(path / INDEX))
    except FileFormatError:
        return False


def _is_index(index: Mapping[str, Any]) -> bool:
    files = index.get("files")
    return type(index.get("format")) is int and index["format"] >= 1 and isinstance(files, dict)


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a folder from the one that takes its place."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def _locked_too(path: Path, *, shared: bool = False) -> Any:
    """Return the lock of a folder, where it is there: it may be written inside by those who cannot exchange it."""
    return locked(path, shared=shared) if path.is_dir() else nullcontext()


def _work_folder(path: Path) -> tuple[Path, int | None]:
    """Return a new folder beside `path` and its lock, and remove those that killed processes left."""
    with locked(path.parent):
        _clear_abandoned(path)
        new = _hidden(path, f"new-{os.getpid()}-{secrets.token_hex(8)}")
        new.mkdir()
        return new, lock_of(new)


def _clear_abandoned(path: Path) -> None:
    """Remove what killed processes left half written beside `path`; what is being written is locked."""
    prefix = _hidden(path, "new-").name
    for entry in path.parent.iterdir():
        found = re.fullmatch(r"(\d+)(-[0-9a-f]{16})?", entry.name.removeprefix(prefix))
        if not entry.name.startswith(prefix) or found is None:
            continue
        lock = lock_of(entry) if found[2] else None
        if lock is not None or (not found[2] and not _alive(int(found[1]))):
            shutil.rmtree(entry, ignore_errors=True)
        unlock(lock)
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

"""What a path may be, how a file from elsewhere is read, and how writers of one folder take turns."""

import os
import re
import shutil
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from errno import ELOOP, ENAMETOOLONG
from pathlib import Path
from typing import Any, BinaryIO

from omokage.errors import FileFormatError, ParameterError

MAX_JSON_BYTES = 64 * 2**20

Check = Callable[[BinaryIO, int], None]  # of a file's first bytes, and its size

_PART = re.compile(r"\.\d+-[0-9a-f]{8}\.part")
_PATIENCE = 600.0  # seconds that a writer waits for another one
_ALONE = threading.Lock()  # where the system has no locks of folders


def location(path: Any, name: str = "folder") -> Path:
    """Return an absolute path, through all links; `name` is what messages call the parameter.

    Example:
        >>> location("a/../b").name
        'b'

    Raises:
        ParameterError, FileFormatError: As `as_path` does, or if the current folder is gone.
    """
    path = as_path(path, name)
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:
        raise FileFormatError(f"{path}: cannot be found ({_words(error)}). Name another {name}.") from None


def is_folder(path: Any) -> bool:
    """Say whether something is the path of a folder, whatever else it may be."""
    return isinstance(path, str | os.PathLike) and os.path.isdir(path)  # noqa: PTH112 - which raises nothing


def as_path(path: Any, name: str = "path") -> Path:
    """Return a path as it is; `name` is what messages call the parameter.

    Raises:
        ParameterError: If it is no path at all.
        FileFormatError: If it is longer than the system allows, or its links lead round in a circle.
    """
    try:
        text = os.fspath(path)
    except TypeError:
        text = path
    if not isinstance(text, str):
        shown = repr(path)
        called = shown if len(shown) <= 60 and "\n" not in shown else f"a value of the type {type(path).__name__}"
        raise ParameterError(f"{name}: expected a path, a str or an os.PathLike of one; got {called}.")
    if not text:
        raise ParameterError(f"{name}: expected a path; got an empty text.")
    if "\0" in text:
        raise ParameterError(f"{name}: a path cannot hold the character NUL; got {text!r}.")
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        raise ParameterError(f"{name}: this system cannot have the path {text!r}; it is no sound text.") from None
    try:
        os.stat(text)  # noqa: PTH116
    except OSError as error:
        if error.errno in (ENAMETOOLONG, ELOOP):
            shown = text if len(text) <= 1000 else f"{text[:1000]}..."
            raise FileFormatError(
                f"{shown}: cannot be read or written ({_words(error)}). Name another {name}."
            ) from None
    return Path(text)


def read_regular(path: Path, *, check: Check | None = None) -> bytes:
    """Return the content of a file that may come from anybody: never a link, a device or a pipe, and never too large.

    Args:
        path: The file.
        check: Called with the opened file and its size before all of it is read.

    Raises:
        FileFormatError: If it is no regular file, or larger than JSON may be, or than the memory that there is.
        OSError: If it cannot be opened or read.
    """
    _check_regular(path, os.lstat(path))  # first, since to open a device can do something
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(path, flags | getattr(os, "O_CLOEXEC", 0)), "rb") as file:
        status = os.fstat(file.fileno())
        _check_regular(path, status)
        size, limit = status.st_size, MAX_JSON_BYTES if path.suffix == ".json" else _memory()
        if size > limit:
            raise FileFormatError(f"{path}: larger than {limit // 2**20} MiB; not written by omokage.")
        if check is not None:
            check(file, size)
            file.seek(0)
        content = file.read(size + 1)
    if len(content) > size:
        raise FileFormatError(f"{path}: it grew while it was read. Try again when it is whole.")
    return content


@contextmanager
def locked(folder: Path, *, shared: bool = False) -> Iterator[bool]:
    """Keep others who ask for the same folder waiting; gives whether that is possible here.

    The lock is the system's, on the folder itself: nothing is left of it when a process is killed, and it holds between
    containers, which cannot tell each other's processes apart. Some network file systems know none.

    Args:
        folder: The folder.
        shared: Wait for those only who write.

    Raises:
        FileFormatError: If another one has it for minutes on end.
    """
    if sys.platform == "win32":
        with _ALONE:
            yield False
        return
    descriptor = _lock(folder, shared)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            unlock(descriptor)


def lock_of(path: Path) -> int | None:
    """Return the lock of a folder or file if nobody has it, else `None`; for `unlock`."""
    if sys.platform == "win32":
        return None
    import fcntl

    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def hold(file: BinaryIO) -> int | None:
    """Take the lock of an open file, and return it for `unlock`: it is held when the file is closed too."""
    if sys.platform == "win32":
        return None
    import fcntl

    with suppress(OSError):  # a file system without locks
        fcntl.flock(file, fcntl.LOCK_EX)
    return os.dup(file.fileno())


def clear_parts(folder: Path, prefix: str) -> None:
    """Remove what killed runs left half written under PREFIX.<process>-<random>.part; what is being written is locked.

    What cannot be removed stays.
    """
    with suppress(OSError):
        for left in [entry for entry in folder.iterdir() if entry.name.startswith(f"{prefix}.")]:
            if not _PART.fullmatch(left.name.removeprefix(prefix)) or (lock := lock_of(left)) is None:
                continue
            with suppress(OSError):
                shutil.rmtree(left) if left.is_dir() else left.unlink()
            unlock(lock)


def unlock(descriptor: int | None) -> None:
    """Give a lock back, also where a process made by fork has a copy of it."""
    if descriptor is None or sys.platform == "win32":
        return
    import fcntl

    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


def _lock(folder: Path, shared: bool) -> int | None:
    """Wait for a lock; `None` where there is none to be had: of a folder that is missing, or on some file systems."""
    if sys.platform == "win32":
        return None
    import fcntl

    kind, ends, pause = fcntl.LOCK_SH if shared else fcntl.LOCK_EX, time.monotonic() + _PATIENCE, 0.001
    while True:
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            return None
        held = False
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            held = _same(folder, descriptor)
            if held:
                return descriptor
        except BlockingIOError:
            if time.monotonic() > ends:
                raise FileFormatError(
                    f"{folder}: another process has been writing there for {_PATIENCE:.0f} seconds. Wait until it has "
                    "ended, or name another folder."
                ) from None
        except OSError:
            return None  # a file system without locks
        finally:
            if not held:
                os.close(descriptor)
        time.sleep(pause)
        pause = min(2 * pause, 0.05)


def _words(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _same(folder: Path, descriptor: int) -> bool:
    """Say whether a folder is still the one that was opened."""
    try:
        return os.path.samestat(folder.stat(), os.fstat(descriptor))
    except OSError:
        return False


def _check_regular(path: Path, status: os.stat_result) -> None:
    if stat.S_ISLNK(status.st_mode):
        raise FileFormatError(f"{path}: is a link, and only files of the folder itself are read. Copy what it names.")
    if not stat.S_ISREG(status.st_mode):
        what = "a folder" if stat.S_ISDIR(status.st_mode) else "a device, pipe or socket"
        raise FileFormatError(f"{path}: is {what}, not a file; not written by omokage.")


def _memory() -> int:
    """Return how many bytes of memory the machine has."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 2**36

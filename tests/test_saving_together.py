"""Folders that several threads, processes and containers save to at once, and folders that have to stay."""

import errno
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from omokage import paths, storage
from omokage.errors import FileFormatError
from omokage.storage import check_target, read_folder, replace_file, write_folder

SIZE = 40_000
NAMES = ("a.json", "weights")


def content(number: int) -> tuple[dict, dict]:
    """Return the index and the files of a save, all of which tell its number."""
    text = str(number).encode()
    return {"format": 1, "number": number}, {"a.json": b"[%s]" % text, "weights": text.ljust(10) * (SIZE // 10)}


def number_in(folder: Path) -> int:
    """Return the number of the save that a folder holds, having checked that it holds one save only."""
    index, files = read_folder(folder, NAMES, version=1)
    assert files == content(index["number"])[1]
    return index["number"]


def names_in(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


class Reader:
    """A thread that reads a folder all the time, from when there is one; its errors are raised at the end."""

    def __init__(self, folder: Path):
        self.folder, self.seen, self.problem, self.ended = folder, set(), None, threading.Event()
        self.thread = threading.Thread(target=self._read)

    def _read(self):
        try:
            while not self.ended.is_set():
                self.seen.add(number_in(self.folder))
        except BaseException as error:
            self.problem = error

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()
        if self.problem is not None:
            raise self.problem


@pytest.mark.parametrize("stays", [False, True])
@pytest.mark.parametrize("trials", [20, pytest.param(200, marks=pytest.mark.exhaustive)])
def test_threads_that_save_to_one_folder_leave_a_whole_one(tmp_path, monkeypatch, stays, trials):
    monkeypatch.setattr(storage, "_stays", lambda path: stays)
    folder = tmp_path / "m"
    write_folder(folder, *content(0))
    problems = []

    def save(number, start):
        start.wait()
        try:
            write_folder(folder, *content(number))
        except BaseException as error:
            problems.append(error)

    with Reader(folder) as reader:
        for trial in range(trials):
            start = threading.Barrier(3)
            threads = [threading.Thread(target=save, args=(3 * trial + k, start)) for k in (1, 2, 3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert number_in(folder) in {3 * trial + k for k in (1, 2, 3)}
    assert problems == []
    assert len(reader.seen) >= 2  # how many it comes to see depends on the machine
    assert names_in(tmp_path) == ["m"]
    assert names_in(folder) == ["a.json", "spec.json", "weights"]


_SAVING = """
import os, sys
sys.path[:0] = [sys.argv[1]]
os.getpid = lambda: 1  # as in a container
from test_saving_together import content
from omokage import storage
if sys.argv[5] == "stays":
    storage._stays = lambda path: True
for number in range(int(sys.argv[3]), int(sys.argv[3]) + int(sys.argv[4])):
    storage.write_folder(sys.argv[2], *content(number))
"""


@pytest.mark.parametrize("kinds", [("leaves", "leaves"), ("stays", "stays"), ("leaves", "stays")])
@pytest.mark.parametrize("trials", [15, pytest.param(200, marks=pytest.mark.exhaustive)])
def test_processes_of_one_number_that_save_to_one_folder_leave_a_whole_one(tmp_path, kinds, trials):
    folder = tmp_path / "m"
    write_folder(folder, *content(0))
    with Reader(folder) as reader:
        running = [
            subprocess.Popen(
                [sys.executable, "-c", _SAVING, str(Path(__file__).parent), folder, str(first), str(trials), kind],
                stderr=subprocess.PIPE,
                text=True,
            )
            for first, kind in zip((1000, 2000), kinds, strict=True)
        ]
        for process in running:
            assert process.communicate(timeout=200)[1] == ""
    assert number_in(folder) in (999 + trials, 1999 + trials)
    assert len(reader.seen) >= 2  # how many it comes to see depends on the machine
    assert names_in(tmp_path) == ["m"]
    assert names_in(folder) == ["a.json", "spec.json", "weights"]


def test_a_folder_that_another_keeps_locked_is_refused_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "_PATIENCE", 0.2)
    with paths.locked(tmp_path) as alone:
        if not alone:
            pytest.skip("no locks here")
        with pytest.raises(FileFormatError, match="another process has been writing there for 0 seconds"):
            write_folder(tmp_path / "m", *content(0))
    write_folder(tmp_path / "m", *content(0))
    assert number_in(tmp_path / "m") == 0


def test_without_locks_a_save_works_as_well(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def none(*_):
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    for number in range(3):
        write_folder(tmp_path / "m", *content(number))
        assert number_in(tmp_path / "m") == number
    assert names_in(tmp_path) == ["m"]


def test_what_is_being_written_is_not_cleared_whatever_the_number_of_its_process(tmp_path):
    write_folder(tmp_path / "m", *content(0))
    dead, alive = (tmp_path / f".m.new-1-{name * 16}" for name in "ab")
    for work in (dead, alive):
        work.mkdir()
    held = paths.lock_of(alive)
    if held is None:
        pytest.skip("no locks here")
    write_folder(tmp_path / "m", *content(1))
    assert names_in(tmp_path) == [alive.name, "m"]
    paths.unlock(held)
    write_folder(tmp_path / "m", *content(2))
    assert names_in(tmp_path) == ["m"]


def test_two_kinds_of_folder_do_not_replace_one_another(tmp_path, monkeypatch):
    """The second writer looks again when it is its turn."""
    folder = tmp_path / "m"
    real = storage._work_folder

    def other_first(path):
        monkeypatch.setattr(storage, "_work_folder", real)
        write_folder(folder, {"format": 1}, {"state": b"x"})
        return real(path)

    monkeypatch.setattr(storage, "_work_folder", other_first)
    with pytest.raises(FileFormatError, match="m holds 'state', which omokage did not write there"):
        write_folder(folder, *content(0))
    assert names_in(tmp_path) == ["m"]
    assert read_folder(folder, ("state",), version=1)[1] == {"state": b"x"}


# ------------------------------------------------------------------------------------ folders that have to stay


def inode(folder: Path) -> int:
    return folder.stat().st_ino


@pytest.mark.parametrize("reason", [errno.EBUSY, errno.EXDEV, errno.EPERM, errno.EACCES])
@pytest.mark.parametrize("owner", ["os", "Path"])
def test_a_folder_that_cannot_be_exchanged_is_written_inside(tmp_path, monkeypatch, reason, owner):
    folder = tmp_path / "m"
    write_folder(folder, *content(1))
    before = inode(folder)
    name, place = ("rename", os) if owner == "os" else ("rename", Path)
    real = getattr(place, name)

    def refuse(source, target, *args, **settings):
        if Path(source) == folder:
            raise OSError(reason, os.strerror(reason))
        return real(source, target, *args, **settings)

    monkeypatch.setattr(place, name, refuse)
    check_target(folder, NAMES)
    write_folder(folder, *content(2))
    assert (number_in(folder), inode(folder)) == (2, before)
    assert names_in(tmp_path) == ["m"]
    assert names_in(folder) == ["a.json", "spec.json", "weights"]


def test_a_folder_that_can_neither_be_exchanged_nor_written_is_found_out_before(tmp_path, monkeypatch):
    folder = tmp_path / "m"
    write_folder(folder, *content(1))
    real, access = os.rename, os.access

    def refuse(source, target, *args, **settings):
        if Path(source) == folder:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        return real(source, target, *args, **settings)

    monkeypatch.setattr(os, "rename", refuse)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != folder and access(path, mode))
    with pytest.raises(FileFormatError, match=r"m: cannot be written .no permission to write in it"):
        check_target(folder, NAMES)
    monkeypatch.setattr(os, "rename", real)
    check_target(folder, NAMES)  # it can be exchanged
    assert number_in(folder) == 1
    assert names_in(tmp_path) == ["m"]


def mounted(source: Path, target: Path) -> None:
    """Mount a folder on another one, or skip the test."""
    target.mkdir()
    if shutil.which("mount") is None or subprocess.run(["mount", "--bind", source, target], check=False).returncode:
        pytest.skip("needs the right to mount")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs the right to mount")
def test_a_mount_point_is_written_inside(tmp_path):
    (tmp_path / "volume").mkdir()
    mounted(tmp_path / "volume", tmp_path / "m")
    try:
        with pytest.raises(OSError, match="busy"):
            (tmp_path / "m").rename(tmp_path / "x")
        check_target(tmp_path / "m", NAMES)
        for number in range(3):
            write_folder(tmp_path / "m", *content(number))
            assert number_in(tmp_path / "m") == number_in(tmp_path / "volume") == number
        (tmp_path / "file").touch()
        (tmp_path / "f").touch()
        subprocess.run(["mount", "--bind", tmp_path / "f", tmp_path / "file"], check=True)
        try:
            replace_file(tmp_path / "file", b"new")
            assert (tmp_path / "f").read_bytes() == b"new"
        finally:
            subprocess.run(["umount", tmp_path / "file"], check=True)
    finally:
        subprocess.run(["umount", tmp_path / "m"], check=True)
    assert names_in(tmp_path) == ["f", "file", "m", "volume"]
    assert names_in(tmp_path / "volume") == ["a.json", "spec.json", "weights"]


@pytest.mark.parametrize("place", [".", "", "..", "../.."])
def test_the_folder_that_one_stands_in_is_never_replaced(tmp_path, monkeypatch, place):
    inner = tmp_path / "a" / "b" / "c"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    folder = (inner / place).resolve()
    before = inode(folder)
    given = place or Path()
    if folder == inner:
        write_folder(given, *content(1))
        write_folder(given, *content(2))
        assert (number_in(folder), inode(Path.cwd()), Path.cwd()) == (2, before, inner)
    else:
        with pytest.raises(FileFormatError, match="which omokage did not write there and would have to delete"):
            write_folder(given, *content(1))
    assert inode(folder) == before
    monkeypatch.chdir("/")


def test_a_model_that_holds_the_current_folder_stays(tmp_path, monkeypatch):
    write_folder(tmp_path / "m", *content(1))
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    before = inode(tmp_path / "home")
    write_folder(tmp_path / "home", *content(1))
    write_folder(tmp_path / "home", *content(2))
    assert (inode(tmp_path / "home"), number_in(tmp_path / "home")) == (before, 2)
    for place in ("/", str(tmp_path)):
        with pytest.raises(FileFormatError, match="which omokage did not write"):
            check_target(place, NAMES)


class Steps:
    """Counts the steps of a save that reach the disk, and lets one of them fail."""

    def __init__(self, monkeypatch, error=None, at=0):
        self.count, self.error, self.at = 0, error, at
        for owner, name in ((os, "fsync"), (Path, "replace"), (storage, "_write_file"), (Path, "unlink")):
            monkeypatch.setattr(owner, name, self._counting(getattr(owner, name)))

    def _counting(self, real):
        def step(*args, **settings):
            self.count += 1
            if self.count == self.at:
                raise self.error
            return real(*args, **settings)

        return step


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), KeyboardInterrupt()])
def test_a_save_inside_that_fails_at_any_step_leaves_the_old_or_the_new_one(tmp_path, monkeypatch, error):
    monkeypatch.setattr(storage, "_stays", lambda path: True)
    folder = tmp_path / "m"
    folder.mkdir()
    write_folder(folder, *content(0))
    with pytest.MonkeyPatch.context() as patch:
        steps = Steps(patch)
        write_folder(folder, *content(1))
    assert steps.count > 8
    found = []
    for at in range(1, steps.count + 1):
        write_folder(folder, *content(0))
        with pytest.MonkeyPatch.context() as patch:
            Steps(patch, error, at)
            try:
                write_folder(folder, *content(1))
            except (FileFormatError, KeyboardInterrupt) as raised:
                assert type(raised) is (FileFormatError if isinstance(error, OSError) else KeyboardInterrupt)
        found.append(number_in(folder))
        write_folder(folder, *content(2))
        assert number_in(folder) == 2
        assert names_in(folder) == ["a.json", "spec.json", "weights"], at
    assert found == sorted(found)
    assert set(found) == {0, 1}


def test_a_writer_that_is_killed_inside_leaves_a_whole_one(tmp_path):
    """Killed for good at each place between two steps."""
    folder = tmp_path / "m"
    program = """
import os, sys
sys.path[:0] = [sys.argv[1]]
from pathlib import Path
from test_saving_together import content
from omokage import storage
storage._stays = lambda path: True
left = int(sys.argv[3])
def dying(real):
    def step(*args):
        global left
        left -= 1
        if left < 0:
            os._exit(9)
        return real(*args)
    return step
Path.replace, storage._write_file, Path.unlink = map(dying, (Path.replace, storage._write_file, Path.unlink))
storage.write_folder(sys.argv[2], *content(1))
"""
    found = []
    for steps in range(20):
        shutil.rmtree(folder, ignore_errors=True)
        write_folder(folder, *content(0))
        command = [sys.executable, "-c", program, str(Path(__file__).parent), folder, str(steps)]
        status = subprocess.run(command, check=False).returncode
        found.append(number_in(folder))
        if status == 0:
            break
        write_folder(folder, *content(2))
        assert names_in(folder) == ["a.json", "spec.json", "weights"]
    assert status == 0
    assert found == sorted(found)
    assert found.count(0) >= 3
    assert found.count(1) >= 3


def test_names_of_any_length_that_the_system_takes_are_written(tmp_path):
    for name in ("n" * 255, "長" * 85):
        write_folder(tmp_path / name, *content(1))
        write_folder(tmp_path / name, *content(2))
        assert number_in(tmp_path / name) == 2
        replace_file(tmp_path / "files" / name, b"x")
        assert (tmp_path / "files" / name).read_bytes() == b"x"
    assert len(names_in(tmp_path)) == 3


def test_readers_wait_no_longer_than_writers_need(tmp_path):
    """A damaged folder is refused at once, also when others write beside."""
    write_folder(tmp_path / "m", *content(0))
    spec = json.loads((tmp_path / "m" / "spec.json").read_text("utf-8"))
    (tmp_path / "m" / "spec.json").write_text(json.dumps({**spec, "files": {}}), "utf-8")
    began = time.perf_counter()
    with pytest.raises(FileFormatError, match="SHA-256"):
        number_in(tmp_path / "m")
    assert time.perf_counter() - began < 5

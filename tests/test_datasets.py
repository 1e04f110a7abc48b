"""Data sets by name: where they are looked for, and how they are fetched."""

import gzip
import hashlib
import http.server
import logging
import os
import re
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits  # importing it changes warning filters: not within a test

from omokage.data import datasets
from omokage.data.datasets import RemoteFile, cache_folder, content, fetch, load
from omokage.errors import FileFormatError, ParameterError

UNPACKED = np.random.default_rng(0).bytes(100_000)
PACKED = gzip.compress(UNPACKED)
SHA256 = hashlib.sha256(UNPACKED).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serves PACKED at any path; the path says how well it behaves."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, str | None]] = []  # path and range of each request
        self.address = f"http://127.0.0.1:{self.server_address[1]}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        asked = self.headers.get("Range")
        self.server.asked.append((self.path, asked))
        body = PACKED[::-1] if "wrong" in self.path else UNPACKED[:0] if "empty" in self.path else PACKED
        if "absent" in self.path:
            return self.send_error(404)
        if "silent" in self.path:
            return time.sleep(0.6)
        if "other" in self.path:
            body = gzip.compress(b"another content")
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and "ranges-ignored" not in self.path else 0
        if start >= len(body) > 0:
            return self.send_error(416)
        self.send_response(206 if start else 200)
        if start:
            shown = 0 if "ranges-muddled" in self.path else start
            self.send_header("Content-Range", f"bytes {shown}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        piece = body[start:]
        # A third of the whole at each request, and then the connection ends.
        self.wfile.write(piece[: len(body) // 3 + 1] if "breaks" in self.path else piece)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with Server() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(autouse=True)
def nothing_from_outside(monkeypatch, tmp_path):
    monkeypatch.setenv("OMOKAGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("OMOKAGE_DATA", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def remote(server, *kinds, sha256=SHA256):
    return RemoteFile("file.gz", tuple(f"{server.address}/{kind}/file.gz" for kind in kinds), sha256)


def unused_address():
    with Server() as server:
        return f"{server.address}/file.gz"


# --------------------------------------------------------------------------------------------- fetching


def test_a_fetched_file_is_whole_checked_and_alone(server, tmp_path):
    target = tmp_path / "deep" / "down" / "file.gz"
    assert fetch(remote(server, "good"), target) == UNPACKED
    assert target.read_bytes() == PACKED
    assert list(target.parent.iterdir()) == [target]


def test_a_half_file_is_gone_on_from(server, tmp_path):
    target = tmp_path / "file.gz"
    (tmp_path / "file.gz.part").write_bytes(PACKED[:40_000])
    assert fetch(remote(server, "good"), target) == UNPACKED
    assert server.asked == [("/good/file.gz", "bytes=40000-")]
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("kind", ["ranges-ignored", "ranges-muddled"])
def test_servers_that_do_not_know_ranges(server, tmp_path, kind):
    (tmp_path / "file.gz.part").write_bytes(PACKED[:40_000])
    assert fetch(remote(server, kind), tmp_path / "file.gz") == UNPACKED


@pytest.mark.parametrize("left", [PACKED, PACKED + b"more", b"quite another file", bytes(len(PACKED) - 10)])
def test_a_part_that_is_whole_or_of_another_file(server, tmp_path, left):
    (tmp_path / "file.gz.part").write_bytes(left)
    assert fetch(remote(server, "good"), tmp_path / "file.gz") == UNPACKED
    assert len(server.asked) == (1 if left == PACKED else 2)


def test_a_connection_that_breaks_is_taken_up_again(server, tmp_path):
    assert fetch(remote(server, "breaks"), tmp_path / "file.gz") == UNPACKED
    third = len(PACKED) // 3 + 1
    assert [asked for _, asked in server.asked] == [None, f"bytes={third}-", f"bytes={2 * third}-"]


def test_what_a_broken_attempt_got_serves_the_next(server, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "_ATTEMPTS", 1)
    target = tmp_path / "file.gz"
    for _ in range(2):
        with pytest.raises(FileFormatError, match=r"ended after \d+ of \d+ bytes"):
            fetch(remote(server, "breaks"), target)
        assert not target.exists()
    assert fetch(remote(server, "breaks"), target) == UNPACKED
    assert list(tmp_path.iterdir()) == [target]


def test_addresses_are_tried_in_turn(server, tmp_path):
    file = remote(server, "absent", "wrong", "other", "empty", "good")
    assert fetch(file, tmp_path / "file.gz") == UNPACKED
    assert [path.split("/")[1] for path, _ in server.asked] == ["absent", "wrong", "other", "empty", "good"]


def test_a_wrong_checksum_says_what_was_expected_and_what_came(server, tmp_path):
    target = tmp_path / "file.gz"
    with pytest.raises(FileFormatError) as caught:
        fetch(remote(server, "other"), target)
    message = str(caught.value)
    for part in ("file.gz", SHA256, hashlib.sha256(b"another content").hexdigest(), "removed", "OMOKAGE_DATA"):
        assert part in message
    assert list(tmp_path.iterdir()) == []


def test_without_a_network_the_message_says_where_to_put_the_file(server, tmp_path):
    target = tmp_path / "cache" / "mnist" / "file.gz"
    away = unused_address()
    with pytest.raises(FileFormatError) as caught:
        fetch(RemoteFile("file.gz", (away, f"{server.address}/absent"), SHA256), target)
    for part in (away, "refused", "404", str(target), "mnist/file.gz", "OMOKAGE_DATA"):
        assert part in str(caught.value)


def test_a_silent_server_is_given_up(server, tmp_path):
    with pytest.raises(FileFormatError, match="timed out"):
        fetch(remote(server, "silent"), tmp_path / "file.gz", timeout=0.1)


def test_more_than_is_sensible_is_not_taken(server, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "_LARGEST", 1000)
    with pytest.raises(FileFormatError, match="more than 1000 bytes"):
        fetch(remote(server, "good"), tmp_path / "file.gz")
    assert list(tmp_path.iterdir()) == []


def test_many_at_once_do_not_disturb_each_other(server, tmp_path):
    (tmp_path / "file.gz.part").write_bytes(PACKED[:40_000])
    results, target = [], tmp_path / "file.gz"
    threads = [
        threading.Thread(target=lambda: results.append(fetch(remote(server, "breaks"), target))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [UNPACKED] * 8
    assert target.read_bytes() == PACKED
    assert list(tmp_path.iterdir()) == [target]
    assert sum(asked == "bytes=40000-" for _, asked in server.asked) == 1  # one of them took up the left-over


def test_a_part_in_use_is_left_alone_and_a_forgotten_one_is_taken(server, tmp_path):
    used, forgotten = tmp_path / "file.gz.1-aa.part", tmp_path / "file.gz.2-bb.part"
    used.write_bytes(PACKED[:100])
    forgotten.write_bytes(PACKED[:200])
    os.utime(forgotten, (time.time() - 10_000,) * 2)
    fetch(remote(server, "good"), tmp_path / "file.gz")
    assert server.asked == [("/good/file.gz", "bytes=200-")]
    assert sorted(tmp_path.iterdir()) == [tmp_path / "file.gz", used]


def test_a_cache_that_cannot_be_written_names_the_variable(server, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(FileFormatError, match="OMOKAGE_CACHE"):
        fetch(remote(server, "good"), tmp_path / "file" / "file.gz")


# ------------------------------------------------------------------------------------------ looking for


def place(folder, name, body):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(body)
    return folder / name


@pytest.mark.parametrize(("name", "body"), [("file.gz", PACKED), ("file", UNPACKED)])
def test_the_users_folder_comes_first_then_the_cache(server, tmp_path, monkeypatch, name, body):
    file = remote(server, "absent")
    place(tmp_path / "cache" / "set", name, body)
    assert content(file, "set") == UNPACKED
    monkeypatch.setenv("OMOKAGE_DATA", str(tmp_path / "data"))
    assert content(file, "set") == UNPACKED  # still the cache's
    (tmp_path / "cache" / "set" / name).unlink()
    place(tmp_path / "data" / "set", name, body)
    assert content(file, "set") == UNPACKED
    assert server.asked == []


def test_what_is_nowhere_is_fetched_into_the_cache_once(server, tmp_path):
    for _ in range(2):
        assert content(remote(server, "good"), "set") == UNPACKED
    assert len(server.asked) == 1
    assert (tmp_path / "cache" / "set" / "file.gz").read_bytes() == PACKED


@pytest.mark.parametrize(("name", "body"), [("file.gz", PACKED[:-10]), ("file.gz", b"junk"), ("file", b"junk")])
def test_a_wrong_file_of_the_user_is_named_and_kept(server, tmp_path, monkeypatch, name, body):
    monkeypatch.setenv("OMOKAGE_DATA", str(tmp_path / "data"))
    path = place(tmp_path / "data" / "set", name, body)
    with pytest.raises(FileFormatError) as caught:
        content(remote(server, "good"), "set")
    for part in (str(path), SHA256, "left as it is", "OMOKAGE_DATA"):
        assert part in str(caught.value)
    assert path.read_bytes() == body
    assert server.asked == []


def test_a_wrong_file_of_the_cache_is_set_aside_and_fetched_anew(server, tmp_path, caplog):
    path = place(tmp_path / "cache" / "set", "file.gz", gzip.compress(b"old"))
    with caplog.at_level(logging.WARNING):
        assert content(remote(server, "good"), "set") == UNPACKED
    assert path.read_bytes() == PACKED
    assert gzip.decompress((path.parent / "file.gz.damaged").read_bytes()) == b"old"
    assert SHA256 in caplog.text and hashlib.sha256(b"old").hexdigest() in caplog.text and str(path) in caplog.text


def test_the_cache_folder_follows_the_variables(monkeypatch, tmp_path):
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("OMOKAGE_CACHE")
    monkeypatch.setattr(datasets.sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "omokage"
    for value in ("", "relative/folder"):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert cache_folder() == Path.home() / ".cache" / "omokage"
    monkeypatch.setattr(datasets.sys, "platform", "darwin")
    assert cache_folder() == Path.home() / "Library" / "Caches" / "omokage"


# -------------------------------------------------------------------------------------------- data sets


def test_unknown_names_and_splits():
    with pytest.raises(
        ParameterError, match=r"name: .*'digits', 'mnist', 'fashion_mnist'.*'fashion'.*mean 'fashion_mnist'"
    ):
        load("fashion")
    with pytest.raises(ParameterError, match=r"split: .*'train', 'test', 'all'.*'tst'.*mean 'test'"):
        load("digits", split="tst")


def test_digits_are_those_of_scikit_learn_and_split_by_class():
    pixels, labels = load_digits(return_X_y=True)
    train, test, whole = (load("digits", split) for split in ("train", "test", "all"))
    np.testing.assert_array_equal(whole.X, (pixels / 16).astype(np.float32))
    np.testing.assert_array_equal(whole.y, labels)
    for part in (train, test, whole):
        assert (part.X.dtype, part.y.dtype, part.shape) == (np.float32, np.int64, (8, 8))
        assert (part.X.min(), part.X.max(), part.classes) == (0, 1, tuple("0123456789"))
    # The two parts are the whole, each row once.
    rows = np.concatenate([np.column_stack([part.X, part.y]) for part in (train, test)])
    everything = np.column_stack([whole.X, whole.y])
    np.testing.assert_array_equal(rows[np.lexsort(rows.T)], everything[np.lexsort(everything.T)])
    shares = np.bincount(test.y) / np.bincount(whole.y)
    assert (np.abs(shares - 0.2) < 0.01).all()
    again = load("digits", "test")
    np.testing.assert_array_equal(again.X, test.X)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_real_files(name, monkeypatch, needs):
    monkeypatch.setenv("OMOKAGE_DATA", str(needs(name).parent))
    test, whole = load(name, "test"), load(name, "all")
    assert (whole.X.shape, whole.y.shape, whole.shape, whole.name) == ((70_000, 784), (70_000,), (28, 28), name)
    assert (whole.X.dtype, whole.y.dtype) == (np.float32, np.int64)
    assert (whole.X.min(), whole.X.max(), len(whole.classes)) == (0, 1, 10)
    np.testing.assert_array_equal(whole.X[60_000:], test.X)
    np.testing.assert_array_equal(whole.y[60_000:], test.y)
    if name == "fashion_mnist":
        assert (np.bincount(whole.y) == 7000).all()
    # Pictures and labels belong together: the nearest of a thousand class means names the class far above chance.
    train = whole.X[:1000], whole.y[:1000]
    means = np.stack([train[0][train[1] == label].mean(0) for label in range(10)])
    nearest = ((test.X[:1000, None] - means) ** 2).sum(2).argmin(1)
    assert (nearest == test.y[:1000]).mean() > 0.5

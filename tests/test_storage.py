"""Saved folders and models: whole or not there, whatever fails; and nothing that is read can run code or cost much."""

import contextlib
import dataclasses
import errno
import hashlib
import importlib.util
import json
import os
import pickle
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from pathlib import Path

import jax
import numpy as np
import pytest

import omokage as om
from omokage import saving, storage
from omokage.errors import FileFormatError, ParameterError
from omokage.likelihoods import Gaussian
from omokage.objectives import ELBO, Denoising, Reconstruction
from omokage.storage import check_target, read_folder, replace_file, replacing, write_folder
from omokage.weights import from_bytes, named_arrays, to_bytes

FILES = {"a.json": b"[1]", "weights": bytes(range(256)) * 40}
INDEX = {"format": 3, "kind": "test", "note": "面影"}
PROGRAM = Path(__file__).with_name("saving_until_killed.py")

_spec = importlib.util.spec_from_file_location("saving_until_killed", PROGRAM)
program = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(program)


def refused(error, *parts):
    """Expect an error whose message holds all of the parts."""
    return pytest.raises(error, match="".join(f"(?=(?s:.*){re.escape(part)})" for part in parts))


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def skip_who_may_read_everything(folder):
    locked = folder / "locked"
    locked.touch(mode=0)
    may = os.access(locked, os.R_OK)
    locked.unlink()
    if may:
        pytest.skip("the superuser may read and write everywhere")


def read(folder, names=tuple(FILES), version=3):
    return read_folder(folder, names, version=version)


# ------------------------------------------------------------------------------------------ write, read


@pytest.mark.parametrize("name", ["model", "[784, 128, 2]", "模型 ﾓﾃﾞﾙ", "a*b?", "%s {x}", ".hidden", "a.b.new-1", "-n"])
def test_what_is_written_is_read(tmp_path, name):
    folder = tmp_path / name
    assert write_folder(folder, INDEX, FILES) == folder
    index, files = read(folder)
    hashes = index.pop("files")
    assert index == INDEX
    assert files == FILES
    assert hashes == {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_folders_above_are_made_and_links_are_followed(tmp_path):
    write_folder(tmp_path / "a" / "b" / "model", INDEX, FILES)
    (tmp_path / "link").symlink_to(tmp_path / "a" / "b" / "model")
    write_folder(str(tmp_path / "link"), {**INDEX, "note": 2}, FILES)
    assert (tmp_path / "link").is_symlink()
    assert read(tmp_path / "a" / "b" / "model")[0]["note"] == read(tmp_path / "link")[0]["note"] == 2


def test_a_folder_is_replaced_whole(tmp_path):
    write_folder(tmp_path / "m", INDEX, {**FILES, "more": b"x"})
    with refused(FileFormatError, "holds 'more', which omokage did not write"):
        write_folder(tmp_path / "m", INDEX, FILES)
    write_folder(tmp_path / "m", {**INDEX, "note": 2}, {**FILES, "more": b"y"})
    assert read(tmp_path / "m", ("more",))[1] == {"more": b"y"}
    assert names_in(tmp_path) == ["m"]


@pytest.mark.parametrize(
    "foreign",
    [
        {"photo.jpg": b"mine"},
        {"README.md": b"mine"},  # a name that omokage uses too
        {"spec.json": b"mine"},
        {"spec.json": b'{"format": "OpenAPI"}'},
        {"spec.json": b'{"format": 1, "files": {}}', "notes.txt": b"mine"},
        {"weights": b"mine", "a.json": b"[]"},
        {".git": None},
    ],
)
def test_what_others_wrote_is_refused_and_not_touched(tmp_path, foreign):
    folder = tmp_path / "m"
    folder.mkdir()
    for name, content in foreign.items():
        (folder / name).mkdir() if content is None else (folder / name).write_bytes(content)
    before = names_in(folder)
    for attempt in (
        lambda: write_folder(folder, INDEX, {**FILES, "README.md": b""}),
        lambda: check_target(folder, FILES),
    ):
        with refused(FileFormatError, "m holds '", "which omokage did not write there", "Name a new folder"):
            attempt()
    assert names_in(folder) == before
    assert all((folder / name).read_bytes() == content for name, content in foreign.items() if content is not None)
    assert names_in(tmp_path) == ["m"]


def test_an_empty_folder_is_used_and_a_file_is_not(tmp_path):
    (tmp_path / "empty").mkdir()
    write_folder(tmp_path / "empty", INDEX, FILES)
    assert read(tmp_path / "empty")[1] == FILES
    (tmp_path / "file").write_bytes(b"mine")
    for place in ("file", "file/below"):
        with refused(FileFormatError, "file is a file: name a folder"):
            write_folder(tmp_path / place, INDEX, FILES)
    assert (tmp_path / "file").read_bytes() == b"mine"


def test_places_without_permission_are_named(tmp_path):
    skip_who_may_read_everything(tmp_path)
    write_folder(tmp_path / "m", INDEX, FILES)
    tmp_path.chmod(0o500)
    try:
        for place in ("new", "new/deeper"):
            with refused(FileFormatError, "cannot be written", "permission"):
                write_folder(tmp_path / place, INDEX, FILES)
        write_folder(tmp_path / "m", {**INDEX, "note": "inside"}, FILES)  # which may be written itself
        assert read(tmp_path / "m")[0]["note"] == "inside"
        (tmp_path / "m").chmod(0o500)
        with refused(FileFormatError, "cannot be written", "permission"):
            write_folder(tmp_path / "m", INDEX, FILES)
        (tmp_path / "m").chmod(0o700)
    finally:
        tmp_path.chmod(0o700)
    (tmp_path / "m" / "weights").chmod(0)
    with refused(FileFormatError, "m: cannot be read (Permission denied)"):
        read(tmp_path / "m")


def test_a_name_that_the_system_refuses_is_no_bare_error(tmp_path):
    with refused(FileFormatError, "cannot be read or written", "too long"):
        write_folder(tmp_path / ("x" * 300), INDEX, FILES)
    with refused(FileFormatError, "x" * 300):
        read(tmp_path / ("x" * 300))


# ------------------------------------------------------------------------------------ failing in the middle


class Steps:
    """Counts the steps of a save that reach the disk, and lets one of them fail."""

    def __init__(self, monkeypatch, error=None, at=0):
        self.count, self.error, self.at = 0, error, at
        for owner, name in ((os, "fsync"), (Path, "rename"), (Path, "mkdir")):
            monkeypatch.setattr(owner, name, self._counting(getattr(owner, name)))

    def _counting(self, real):
        def step(*args, **settings):
            self.count += 1
            if self.count == self.at:
                raise self.error
            return real(*args, **settings)

        return step


@pytest.mark.parametrize("existing", [False, True])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), KeyboardInterrupt()])
def test_a_save_that_fails_at_any_step_leaves_what_was_there(tmp_path, existing, error):
    old, new = {**INDEX, "note": "old"}, {**INDEX, "note": "new"}
    folder = tmp_path / "m"
    with pytest.MonkeyPatch.context() as patch:
        steps = Steps(patch)
        if existing:
            write_folder(folder, old, FILES)
            steps.count = 0
        write_folder(folder, new, FILES)
    total = steps.count
    assert total >= 7  # making the folder, three files, the folder, the rename, the folder above
    outcomes = []
    for at in range(1, total + 1):
        shutil.rmtree(folder, ignore_errors=True)
        if existing:
            write_folder(folder, old, FILES)
        with pytest.MonkeyPatch.context() as patch:
            Steps(patch, error, at)
            if isinstance(error, OSError):
                with refused(FileFormatError, "m: cannot be written (No space left on device)"):
                    write_folder(folder, new, FILES)
            else:
                with pytest.raises(KeyboardInterrupt):
                    write_folder(folder, new, FILES)
        outcomes.append(read(folder)[0]["note"] if folder.exists() else None)
        assert set(names_in(tmp_path)) <= {"m"}, f"litter after a failure at step {at}"
    # At the last step, the sync of the folder above, the new folder is in its place already.
    assert outcomes == ["old" if existing else None] * (total - 1) + ["new"]


def test_all_is_on_the_disk_before_it_takes_the_place_of_the_old(tmp_path, monkeypatch):
    folder = tmp_path / "m"
    write_folder(folder, INDEX, FILES)
    events = []
    fsync, rename = os.fsync, Path.rename
    monkeypatch.setattr(os, "fsync", lambda file: (events.append(("fsync", os.fstat(file).st_ino)), fsync(file))[1])
    monkeypatch.setattr(Path, "rename", lambda self, to: (events.append(("rename", to)), rename(self, to))[1])
    write_folder(folder, INDEX, FILES)
    number = {path.name: path.stat().st_ino for path in (*folder.iterdir(), folder, tmp_path)}
    before, after = [("fsync", number[name]) for name in (*FILES, "spec.json", "m")], ("fsync", number[tmp_path.name])
    assert events == [*before, ("rename", tmp_path / ".m.old"), ("rename", folder), after]


def test_the_state_between_the_two_renames_is_recovered_from(tmp_path):
    folder = tmp_path / "m"
    write_folder(folder, {**INDEX, "note": "old"}, FILES)
    folder.rename(tmp_path / ".m.old")
    (tmp_path / ".m.new-999999999").mkdir()
    index, files = read(folder)
    assert (index["note"], files) == ("old", FILES)
    write_folder(folder, {**INDEX, "note": "new"}, FILES)
    assert read(folder)[0]["note"] == "new"
    assert names_in(tmp_path) == ["m"]


def test_what_killed_processes_left_is_cleared_and_no_more(tmp_path):
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    stale = [f".m.new-{ended.stdout.strip()}", ".m.new-99999999999999999999999", f".m.new-{os.getpid()}"]
    kept = [f".m.new-{os.getppid()}", ".m.new-", ".m.new-x", ".other.new-999999999", "m.new-999999999", ".m.new-9.bak"]
    for name in (*stale, *kept):
        (tmp_path / name).mkdir()
        (tmp_path / name / "part").write_bytes(b"x")
    write_folder(tmp_path / "m", INDEX, FILES)
    assert names_in(tmp_path) == sorted([*kept, "m"])


def test_parts_of_files_that_killed_runs_left_are_removed_and_no_more(tmp_path):
    left = [".m.npy.123-abcd1234.part", f".m.npy.{os.getpid()}-abcd1234.part"]
    kept = [".m.npy.1-abcd.part", ".m.npy.part", ".other.npy.123-abcd1234.part", ".m.npy.123-abcd1234.part.bak"]
    for name in (*left, *kept):
        (tmp_path / name).write_bytes(b"half")
    with replacing(tmp_path / "m.npy") as first:
        first.write(b"1")
        writing = set(names_in(tmp_path))
        replace_file(tmp_path / "m.npy", b"2")  # of another writer, who leaves the first one's part alone
        assert set(names_in(tmp_path)) == writing | {"m.npy"}
    assert (tmp_path / "m.npy").read_bytes() == b"1"
    if sys.platform != "win32":
        assert names_in(tmp_path) == sorted([*kept, "m.npy"])


def test_a_part_that_was_taken_for_a_left_one_is_begun_again(tmp_path, monkeypatch):
    taken = []

    def hold(file):
        if not taken:
            taken.append(Path(file.name).unlink())
        return None

    monkeypatch.setattr(storage, "hold", hold)
    replace_file(tmp_path / "m", b"x")
    assert taken == [None] and names_in(tmp_path) == ["m"]


# ------------------------------------------------------------------------------------------ damaged folders


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "m", INDEX, FILES)


def edited(folder, **entries):
    index = json.loads((folder / "spec.json").read_text("utf-8"))
    (folder / "spec.json").write_text(json.dumps({**index, **entries}), "utf-8")


def test_a_missing_folder_and_a_file_in_its_place_are_named(tmp_path):
    with refused(FileFormatError, "nothing does not exist: expected the folder that `save`"):
        read(tmp_path / "nothing")
    (tmp_path / "file").touch()
    with refused(FileFormatError, "file is a file, not a folder"):
        read(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    with refused(FileFormatError, "empty/spec.json: cannot be read (No such file"):
        read(tmp_path / "empty")


def test_changed_cut_and_missing_files_are_named(folder):
    for content in (FILES["weights"][:-1], FILES["weights"] + b"x", b"", b"\1" + FILES["weights"][1:]):
        (folder / "weights").write_bytes(content)
        with refused(FileFormatError, "m/weights: its SHA-256 is not the one in spec.json", "damaged or changed"):
            read(folder)
    (folder / "weights").unlink()
    with refused(FileFormatError, "m: missing 'weights'. Copy the whole folder again"):
        read(folder)
    (folder / "a.json").unlink()
    with refused(FileFormatError, "missing 'a.json', 'weights'"):
        read(folder)


def test_a_folder_of_a_newer_format_says_what_to_do(folder):
    with refused(FileFormatError, "format version 3 is newer", "(up to 2)", "(unknown)", "pip install -U omokage"):
        read(folder, version=2)
    edited(folder, omokage="9.9")
    with refused(FileFormatError, "written by omokage 9.9"):
        read(folder, version=2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "not sound JSON"),
        (b"\x80\x04\x95", "not sound JSON"),
        (b"{'format': 1}", "not sound JSON"),
        (b'{"format": 1', "not sound JSON"),
        (b"\xff\xfe", "not sound JSON"),
        (b"[1]", "expected a JSON object, got list"),
        (b"3", "expected a JSON object, got int"),
        (b"{}", "no 'format' and 'files' entries"),
        (b'{"format": "1", "files": {}}', "no 'format' and 'files' entries"),
        (b'{"format": NaN, "files": {}}', "no 'format' and 'files' entries"),
        (b'{"format": 1, "files": []}', "no 'format' and 'files' entries"),
        (b'{"format": 1, "files": {}}', "SHA-256"),
        (b'{"format": 1, "files": {"a.json": [], "weights": 0}}', "SHA-256"),
        (b"[" * 1_000_000, "not sound JSON"),
        (b'{"a":' * 1_000_000, "not sound JSON"),
        (b'{"format": ' + b"9" * 1_000_000 + b', "files": {}}', "not sound JSON"),
    ],
)
def test_an_index_that_is_none_is_refused_at_once(folder, text, said):
    (folder / "spec.json").write_bytes(text)
    began = time.process_time()
    with refused(FileFormatError, said) as caught:
        read(folder)
    assert time.process_time() - began < 2
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("name", ["spec.json", "a.json"])
def test_json_of_any_size_is_not_read_whole(folder, name):
    os.truncate(folder / name, 10 * 2**30)  # without a block on the disk
    began = time.process_time()
    with refused(FileFormatError, name, "larger than 64 MiB"):
        read(folder)
    assert time.process_time() - began < 5


def test_only_what_is_asked_for_is_opened(folder, monkeypatch):
    outside = folder.parent / "secret"
    outside.write_bytes(b"x")
    hashes = json.loads((folder / "spec.json").read_text("utf-8"))["files"]
    edited(folder, files={**hashes, "../secret": "0", str(outside): "0", "../../../etc/passwd": "0"})
    opened = []
    real = os.open
    monkeypatch.setattr(os, "open", lambda path, *args, **kw: (opened.append(Path(path)), real(path, *args, **kw))[1])
    assert read(folder)[1] == FILES
    assert sorted(path.name for path in opened) == ["a.json", "spec.json", "weights"]
    assert {path.parent for path in opened} == {folder}


# ------------------------------------------------------------------------------------------------- weights


TREE = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": [np.ones((), np.float32), "text", np.arange(2)]}


def test_arrays_survive_bit_for_bit():
    odd = {
        "a": np.array([np.nan, -0.0, np.inf, 1e-45], np.float32),
        "b": np.asfortranarray(TREE["a"]),
        "c": np.zeros((0, 2)),
    }
    for tree in (TREE, odd):
        back = from_bytes(to_bytes(tree), tree, "w")
        for name, array in named_arrays(tree).items():
            other = named_arrays(back)[name]
            assert (other.dtype, other.shape, other.tobytes()) == (array.dtype, array.shape, array.tobytes())
    assert from_bytes(to_bytes(TREE), TREE, "w")["b"][1] == "text"
    assert list(named_arrays(TREE)) == ["a", "b.0", "b.2"]


def test_arrays_other_than_expected_are_named_all_at_once():
    other = {"a": TREE["a"].T, "b": [np.ones(()), "text"], "d": np.ones(1), "c": np.ones(1)}
    with refused(
        FileFormatError,
        "w: its arrays are not those of this model",
        "missing 'b.2'",
        "unexpected 'c', 'd'",
        "a is float32[3, 2], not float32[2, 3]",
        "b.0 is float64[], not float32[]",
    ):
        from_bytes(to_bytes(other), TREE, "w")


@pytest.mark.parametrize(
    "kind", ["empty", "cut header", "cut data", "longer", "lying length", "pickle", "text", "type"]
)
def test_damaged_safetensors_are_refused(kind):
    good = to_bytes(TREE)
    header = json.dumps({"a": {"dtype": "Q7", "shape": [1], "data_offsets": [0, 4]}}).encode()
    content = {
        "empty": b"",
        "cut header": good[:20],
        "cut data": good[:-1],
        "longer": good + b"x",
        "lying length": (2**62).to_bytes(8, "little") + good[8:],
        "pickle": pickle.dumps(TREE),
        "text": b"version https://git-lfs.github.com/spec/v1\n",
        "type": len(header).to_bytes(8, "little") + header + bytes(4),
    }[kind]
    with refused(FileFormatError, "w: not a sound safetensors file"):
        from_bytes(content, TREE, "w")


# -------------------------------------------------------------------------------------------------- models

X = np.random.default_rng(0).normal(size=(40, 3)) * [1, 10, 100]
SMALL = {"latent_dim": 2, "hidden": (8,), "epochs": 2, "verbose": 0, "batch_size": 20}


@dataclasses.dataclass(frozen=True)
class Loud(Gaussian):
    """A third party's likelihood."""

    loudness: float = 1.0
    derived: float = dataclasses.field(init=False, default=0.5)


@pytest.fixture(scope="module")
def vae():
    parts = {
        "likelihood": Gaussian(scale="shared"),
        "objective": Denoising("masking", 0.25, ELBO(beta=4, free_bits=0.125)),
        "posterior": om.posteriors.DiagonalNormal(),
    }
    return om.VAE(**SMALL, **parts).fit(X)


@pytest.fixture(scope="module")
def autoencoder():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=["温度 [°C]", "圧力|bar", "c"])
    return om.AutoEncoder(**SMALL, normalization="batch", dropout=0.1, objective=Reconstruction()).fit(frame)


@pytest.fixture(scope="module")
def saved(vae, tmp_path_factory):
    return vae.save(tmp_path_factory.mktemp("saved") / "vae")


@pytest.fixture
def model(saved, tmp_path):
    """A copy to damage."""
    return shutil.copytree(saved, tmp_path / "model")


def same(first, second):
    first, second = (named_arrays(estimator.model_) for estimator in (first, second))
    return first.keys() == second.keys() and all(first[name].tobytes() == second[name].tobytes() for name in first)


def test_a_vae_that_was_saved_is_the_same_to_the_bit(vae, saved):
    back = om.load(saved)
    assert type(back) is om.VAE
    assert same(vae, back)
    for method in ("transform", "score_samples", "reconstruct"):
        assert getattr(back, method)(X).tobytes() == getattr(vae, method)(X).tobytes(), method
    assert back.sample(10).tobytes() == vae.sample(10).tobytes()
    assert back.history_ == vae.history_
    assert (back.n_features_in_, back.summary().total) == (3, vae.summary().total)
    assert not hasattr(back, "feature_names_in_")


def test_instances_come_back_equal(vae, saved):
    back = om.load(saved)
    assert back.get_params() == vae.get_params()
    assert back.likelihood == Gaussian(scale="shared")
    assert back.objective == Denoising("masking", 0.25, ELBO(beta=4, free_bits=0.125))
    assert vars(back.recipe_) == vars(vae.recipe_)


def test_an_autoencoder_with_names_and_statistics_is_the_same_to_the_bit(autoencoder, tmp_path):
    back = om.load(autoencoder.save(tmp_path / "[784, 128, 2]"))
    assert type(back) is om.AutoEncoder
    assert same(autoencoder, back)
    assert any("mean.value" in name for name in named_arrays(back.model_))  # of the batch norm
    assert list(back.feature_names_in_) == ["温度 [°C]", "圧力|bar", "c"]
    frame = {name: X[:, j] for j, name in enumerate(back.feature_names_in_)}
    frame = pytest.importorskip("pandas").DataFrame(frame)
    assert back.transform(frame).tobytes() == autoencoder.transform(frame).tobytes()
    again = back.save(tmp_path / "again")
    for name in ("schema.json", "weights.safetensors", "history.json", "README.md"):
        assert (again / name).read_bytes() == (tmp_path / "[784, 128, 2]" / name).read_bytes(), name


@pytest.mark.optimised
def test_a_fresh_process_computes_the_same_bits(vae, saved, tmp_path):
    np.save(tmp_path / "x.npy", X)
    text = """
import sys, numpy as np, omokage
model = omokage.load(sys.argv[1])
np.savez(sys.argv[3], z=model.transform(np.load(sys.argv[2])), s=model.sample(5))
"""
    command = [sys.executable, "-c", text, saved, tmp_path / "x.npy", tmp_path / "out.npz"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    with np.load(tmp_path / "out.npz") as out:
        assert out["z"].tobytes() == vae.transform(X).tobytes()
        assert out["s"].tobytes() == vae.sample(5).tobytes()


def test_the_model_card_is_for_people_and_may_be_edited(vae, model):
    card = (model / "README.md").read_text("utf-8")
    for part in ("# VAE of 3 columns", "omokage.load(folder)", "Denoising", "posterior.mean", "total"):
        assert part in card
    (model / "README.md").write_text("# Mine\n")
    assert same(om.load(model), vae)
    (model / "README.md").unlink()
    assert same(om.load(model), vae)


def test_settings_of_every_kind_are_written(tmp_path, vae):
    settings = {
        "hidden": np.array([8]),
        "latent_dim": np.int64(2),
        "learning_rate": np.float32(0.25),
        "gradient_clip": float("inf"),
        "random_state": None,
        "schedule": lambda share: 1.0,  # matters in training only
    }
    other = om.VAE(**{**SMALL, **settings})
    other.fitted_ = dataclasses.replace(vae.fitted_, parameters=other._checked())
    back = om.load(other.save(tmp_path / "m"))
    assert back.hidden == (8,)
    assert (back.latent_dim, back.learning_rate, back.gradient_clip) == (2, 0.25, float("inf"))
    assert (back.random_state, back.schedule) == (None, "auto")


def test_an_object_that_cannot_be_written_is_refused_before_anything_is(vae, tmp_path):
    other = om.VAE(**SMALL, activation=jax.numpy.tanh)
    other.fitted_ = dataclasses.replace(vae.fitted_, parameters=other._checked())
    with refused(ParameterError, "activation=<", "cannot be written", "Use a name, or an instance"):
        other.save(tmp_path / "m")
    assert names_in(tmp_path) == []


def test_a_third_partys_class_loads_only_when_it_is_handed_over(vae, tmp_path):
    recipe = dataclasses.replace(vae.recipe_, likelihood=Loud(scale="shared", loudness=2.5))
    other = om.VAE(**SMALL, likelihood=recipe.likelihood)
    other.fitted_ = dataclasses.replace(vae.fitted_, parameters=other._checked(), recipe=recipe)
    folder = other.save(tmp_path / "m")
    name = f"{Loud.__module__}.Loud"
    with refused(FileFormatError, f"names the class {name!r}", "not omokage's", f"custom={{{name!r}: ...}}"):
        om.load(folder)
    back = om.load(folder, custom={name: Loud})
    assert back.likelihood == back.recipe_.likelihood == Loud(scale="shared", loudness=2.5)
    assert same(back, vae)
    with refused(FileFormatError, "does not describe a model", "loudness"):
        om.load(folder, custom={name: Gaussian})


# ------------------------------------------------------------------------------------------ hostile models


class Bomb:
    """What a pickle does when it is loaded."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (Path.touch, (self.marker,))


def planted(folder, name, content):
    """Write a file and put its hash right, as an attacker would."""
    (folder / name).write_bytes(content)
    hashes = json.loads((folder / "spec.json").read_text("utf-8"))["files"]
    edited(folder, files={**hashes, name: hashlib.sha256(content).hexdigest()})


@pytest.mark.parametrize("name", ["weights.safetensors", "schema.json", "history.json", "spec.json"])
def test_a_pickle_is_never_loaded(model, tmp_path, name):
    marker = tmp_path / "marker"
    bomb = pickle.dumps(Bomb(marker))
    pickle.loads(bomb)
    assert marker.exists()  # it would
    marker.unlink()
    for extra in ("model.pkl", "__init__.py"):
        (model / extra).write_bytes(bomb)
    if name == "spec.json":
        (model / name).write_bytes(bomb)
    else:
        planted(model, name, bomb)
    with refused(FileFormatError, name, "not sound JSON" if name.endswith("json") else "not a sound safetensors file"):
        om.load(model)
    assert not marker.exists()


@pytest.mark.parametrize("part", ["parameters", "recipe"])
@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "builtins.eval",
        "subprocess.Popen",
        "likelihoods.os.system",
        "omokage.saving.Saved",
        "__import__",
        "",
    ],
)
def test_classes_that_are_not_omokages_are_not_looked_up(model, tmp_path, part, name):
    marker = tmp_path / "marker"
    index = json.loads((model / "spec.json").read_text("utf-8"))
    index[part]["likelihood"] = {"class": name, "command": f"touch {marker}", "args": ["touch", str(marker)]}
    edited(model, **{part: index[part]})
    with refused(FileFormatError, f"names the class {name!r}, which is not omokage's"):
        om.load(model)
    assert not marker.exists()


def changed(model, part, **entries):
    index = json.loads((model / "spec.json").read_text("utf-8"))
    edited(model, **{part: {**index[part], **entries}})


@pytest.mark.parametrize(
    ("part", "entries"),
    [
        ("recipe", {"likelihood": {"class": "likelihoods.Gaussian", "scale": -1}}),
        ("recipe", {"likelihood": {"class": "likelihoods.Gaussian", "depth": 1}}),
        ("recipe", {"likelihood": {"class": "objectives.ELBO"}}),
        ("recipe", {"likelihood": "os.system"}),
        ("recipe", {"likelihood": None}),
        ("recipe", {"likelihood": {"class": ["likelihoods.Gaussian"]}}),
        ("recipe", {"evil": 1}),
        ("parameters", {"activation": "os.system"}),
        ("parameters", {"initializer": "os.system"}),
        ("parameters", {"normalization": "x"}),
        ("parameters", {"dropout": "x"}),
        ("parameters", {"evil": 1}),
        ("parameters", {"hidden": "abc"}),
        ("parameters", {"hidden": [8.5]}),
        ("parameters", {"hidden": [[8]]}),
        ("parameters", {"hidden": [8, 8]}),
        ("parameters", {"hidden": None}),
        ("parameters", {"latent_dim": 3}),
        ("parameters", {"latent_dim": "2"}),
        ("parameters", {"latent_dim": True}),
    ],
)
def test_parts_that_do_not_fit_are_refused(model, part, entries):
    changed(model, part, **entries)
    with refused(FileFormatError, "model"):
        om.load(model)


@pytest.mark.parametrize(
    "entries", [{"kind": "Estimator"}, {"kind": ["VAE"]}, {"parameters": []}, {"recipe": {}}, {"recipe": None}]
)
def test_an_index_without_its_parts_is_refused(model, entries):
    edited(model, **entries)
    with refused(FileFormatError, "model"):
        om.load(model)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("history.json", b"{}", "history.json: expected a JSON array"),
        ("history.json", b"[1, 2]", "history.json: expected a record for each epoch"),
        ("history.json", b"[" * 100_000, "history.json: not sound JSON"),
        ("schema.json", b"[]", "schema.json: expected a JSON object"),
        ("schema.json", b"{}", "schema.json: expected a kind of vectors, table, images, sequences"),
        ("weights.safetensors", b"", "weights.safetensors: not a sound safetensors file"),
    ],
)
def test_files_of_another_shape_are_named(model, name, content, said):
    padding = b" " * 2000 if name == "weights.safetensors" else b""  # so that the sizes of the layers are believed
    planted(model, name, content + padding)
    with refused(FileFormatError, said):
        om.load(model)


@pytest.mark.parametrize(
    "sizes",
    [
        {"hidden": [10**9, 10**9]},
        {"hidden": [10**9]},
        {"latent_dim": 10**9},
        {"latent_dim": 10**30},
        {"hidden": [10**400]},
        {"hidden": [1] * 200_000},
        {"hidden": [10**9, -(10**9)]},
        {"hidden": [10**9], "normalization": "batch"},
        {"hidden": [1e300]},
    ],
)
def test_absurd_sizes_cost_neither_memory_nor_time(model, sizes):
    changed(model, "parameters", **sizes)
    tracemalloc.start()
    try:
        began = time.process_time()
        with refused(FileFormatError, "spec.json: ", "does not describe a model") as caught:
            om.load(model)
        seconds, peak = time.process_time() - began, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert seconds < 20
    assert peak < 50e6
    assert len(str(caught.value)) < 1000


def test_a_checkpoint_is_no_model(tmp_path):
    om.VAE(**SMALL).fit(X, checkpoint=tmp_path / "c")
    with refused(FileFormatError, "c: "):
        om.load(tmp_path / "c")
    with refused(FileFormatError, "c holds 'state.safetensors', which omokage did not write there"):
        check_target(tmp_path / "c", saving.FILES)


# ------------------------------------------------------------------------------------------------ kill -9

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")


class Saver:
    """The program that saves again and again, and the process in it that is to be killed."""

    def __init__(self, folder, *models):
        command = [sys.executable, str(PROGRAM), str(folder), *map(str, models)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.watchdog = threading.Timer(120, self.process.kill)
        self.watchdog.start()
        assert self.line() == ["ready"]

    def line(self):
        words = self.process.stdout.readline().split()
        assert words, "the program ended"
        assert words[0] != "failed", words
        return words

    def start(self, stall, generation):
        self.process.stdin.write(f"{stall} {generation}\n")
        self.process.stdin.flush()
        words = self.line()
        assert words[0] == "pid"
        self.pid = int(words[1])
        self.begun = self.ended = generation - 1

    def until(self, *stops):
        """Read what is told up to one of the words."""
        while (words := self.line())[0] not in stops:
            if words[0] == "saving":
                self.begun = int(words[1])
            elif words[0] == "saved":
                self.ended = int(words[1])

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)
        self.until("over")

    def close(self):
        self.watchdog.cancel()
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()


@pytest.fixture
def saver():
    with contextlib.ExitStack() as stack:

        def start(*args):
            saver = Saver(*args)
            stack.callback(saver.close)
            return saver

        yield start


def state_after_a_kill(folder):
    """Return where in a save a process was killed, by what lies there."""
    if not folder.exists():
        return "between the renames" if (folder.parent / f".{folder.name}.old").exists() else "nothing there"
    written = [path for new in folder.parent.glob(".*.new-*") for path in new.iterdir() if path.stat().st_size]
    return "while writing" if written else "before or after"


STALLS = [
    "half weights", "half a.json", "half spec.json", "fsync 1", "fsync 2", "fsync 3", "fsync 4",
    "before rename 1", "after rename 1", "before rename 2", "after rename 2", "fsync 5",
]  # fmt: skip


@needs_fork
def test_killed_at_any_moment_the_old_or_the_new_content_is_there_whole(tmp_path, saver, capsys):
    folder = tmp_path / "m"
    generation = 0
    write_folder(folder, *program.content(generation))
    child = saver(folder)
    draw = random.Random(0)
    states: dict[str, int] = {}
    for stall in [*STALLS * 2, *["-"] * 26]:
        child.start(stall, generation + 1)
        if stall == "-":
            time.sleep(draw.uniform(0, 0.08))
        else:
            child.until("stalled")
        child.kill()
        state = state_after_a_kill(folder)
        states[state] = states.get(state, 0) + 1
        index, files = read(folder, ("a.json", "weights"), version=1)
        generation = index["generation"]
        assert child.ended <= generation <= child.begun, (stall, state)
        assert ({"format": 1, "generation": generation}, files) == program.content(generation), (stall, state)
    with capsys.disabled():
        print(f"\n50 kills: {', '.join(f'{count} {state}' for state, count in sorted(states.items()))}", end=" ")
    assert states.get("while writing", 0) + states.get("between the renames", 0) >= 20
    assert states["between the renames"] >= 4
    assert "nothing there" not in states
    write_folder(folder, *program.content(generation))
    assert names_in(tmp_path) == ["m"]


@needs_fork
def test_a_model_saved_by_a_process_that_is_killed_loads(tmp_path, saver, vae, saved):
    odd = om.load(saved)
    more = jax.tree.map(lambda leaf: leaf + 1, odd.model_.posterior)
    odd.fitted_ = dataclasses.replace(odd.fitted_, model=dataclasses.replace(odd.model_, posterior=more))
    odd.save(tmp_path / "odd")
    folder = tmp_path / "m"
    vae.save(folder)
    child = saver(folder, saved, tmp_path / "odd")
    states = []
    for stall in ("half weights.safetensors", "fsync 2", "after rename 1", "before rename 2", "-", "-", "-"):
        child.start(stall, 1)
        if stall == "-":
            time.sleep(0.04)
        else:
            child.until("stalled")
        child.kill()
        states.append(state_after_a_kill(folder))
        back = om.load(folder)
        wanted = {(vae, odd)[number % 2] for number in (child.ended, child.begun)}
        assert any(same(back, estimator) for estimator in wanted), stall
    assert states[:4] == ["while writing"] * 2 + ["between the renames"] * 2
    vae.save(folder)
    assert names_in(tmp_path) == ["m", "odd"]


@needs_fork
def test_a_folder_can_be_read_while_it_is_replaced(tmp_path, saver):
    folder = tmp_path / "m"
    write_folder(folder, *program.content(0))
    child = saver(folder)
    child.start("-", 1)
    seen = set()
    try:
        ends = time.perf_counter() + 1
        while time.perf_counter() < ends:
            index, files = read(folder, ("a.json", "weights"), version=1)
            seen.add(index["generation"])
            assert files == program.content(index["generation"])[1]
    finally:
        child.kill()
    assert len(seen) > 3

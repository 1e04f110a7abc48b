"""Saved folders in which somebody has changed one thing or everything: refused by file and entry, or as good as before.

Whatever is read is small: no folder here costs more than seconds, or more memory than a model does.
"""

import dataclasses
import hashlib
import json
import os
import random
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load as arrays_of
from safetensors.numpy import save as bytes_of

import omokage as om
from omokage import build, paths, saving
from omokage.data.context import ContextSchema
from omokage.data.kinds import open_data
from omokage.data.kinds.vectors import VectorSchema
from omokage.errors import FileFormatError, OmokageError, ParameterError
from omokage.fitted import Fitted

RANDOM = np.random.default_rng(0)
SMALL = {"latent_dim": 2, "hidden": (4,), "epochs": 1, "verbose": 0}
X = RANDOM.normal(size=(40, 3)) * [1, 10, 100]
PICTURES = RANDOM.random(size=(6, 5, 4, 1))
SERIES = [RANDOM.normal(size=(length, 2)) for length in (5, 6, 9, 12)]
CONTEXT = {"kind": ["a", "b"] * 20, "age": RANDOM.normal(size=40)}


def untrained(estimator, rows, context=None):
    """Return an estimator with first weights, as if it had been fitted, without compiling anything."""
    parameters = estimator._checked()
    table = open_data(rows, parameters["data"])
    recipe = build.decide(parameters, table, str)
    schema = table.schema(recipe.standardize)
    learned = None if context is None else ContextSchema.learn(context, table.count)
    columns = 0 if learned is None else learned.size
    model = build.model(parameters, recipe, schema.event, np.random.default_rng(0), columns)
    estimator.fitted_ = Fitted(
        kind=saving.class_name(type(estimator)),
        parameters=parameters,
        recipe=recipe,
        schema=schema,
        model=jax.tree.map(jax.numpy.asarray, model),
        history=[{"epoch": 1, "loss": 2.5, "seconds": 0.25}],
        context=learned,
    )
    return estimator


def vectors():
    likelihood = om.likelihoods.StudentT()
    return untrained(om.VAE(**SMALL, normalization="batch", prior="mixture", likelihood=likelihood), X)


def questions(estimator):
    """Return the answers of an estimator to some questions, as arrays."""
    if isinstance(estimator, om.AnomalyDetector):
        return list(estimator.judge(X).values())
    rows = PICTURES if hasattr(estimator.schema_, "shape") else SERIES if hasattr(estimator.schema_, "buckets") else X
    given = {} if estimator.context_schema_ is None else {"context": CONTEXT}
    drawn = {} if estimator.context_schema_ is None else {"context": {"kind": "a", "age": 0.5}}
    made = estimator.sample(3, **drawn)
    return [estimator.transform(rows, **given), estimator.score_samples(rows, **given), *list(made)]


KINDS = {
    "vectors": vectors,
    "images": lambda: untrained(om.AutoEncoder(**SMALL, network="mlp"), PICTURES),
    "series": lambda: untrained(om.VAE(**SMALL), SERIES),
    "conditional": lambda: untrained(om.VAE(**SMALL), X, CONTEXT),
    "detector": lambda: om.AnomalyDetector(om.VAE(**SMALL), ensemble=2, verbose=0).fit(X),
}


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(kind, marks=[pytest.mark.exhaustive] if kind in ("vectors", "series") else []) for kind in KINDS
    ],
)
def saved(request, tmp_path_factory):
    return KINDS[request.param]().save(tmp_path_factory.mktemp("saved") / request.param)


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    return KINDS["vectors"]().save(tmp_path_factory.mktemp("saved") / "one")


@pytest.fixture
def model(one, tmp_path):
    return shutil.copytree(one, tmp_path / "model")


def planted(folder, name, content):
    """Write a file and put its hash right, as an attacker would."""
    (folder / name).write_bytes(content)
    if name != "spec.json":
        index = json.loads((folder / "spec.json").read_text("utf-8"))
        index["files"][name] = hashlib.sha256(content).hexdigest()
        (folder / "spec.json").write_text(json.dumps(index), "utf-8")


# ---------------------------------------------------------------------------------------- one thing changed

ODD = [
    None, True, False, 0, 1, -5, 1.0, 0.5, 2**62, 10**30, 1e308, -1e308, 1e-308, float("nan"), float("inf"), "", "x",
    "1", "os.system", "\ud800", [], {}, [1, 2], ["x"], {"class": "os.system"}, {"@array": "x"},
]  # fmt: skip


def leaves(value, place=()):
    """Yield the places of all values within a JSON value, lists and objects included."""
    if place:
        yield place
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from leaves(value[key], (*place, key))


def at(value, place):
    for key in place:
        value = value[key]
    return value


def replaced(value, place, new):
    value = json.loads(json.dumps(value))
    at(value, place[:-1])[place[-1]] = new
    return value


def outcome(folder):
    """Return the error that loading raises, or "" where the answers are finite."""
    try:
        estimator = om.load(folder)
    except FileFormatError as error:
        return str(error)
    try:
        answers = questions(estimator)
    except OmokageError as error:
        return f"asked: {error}"
    assert all(np.isfinite(answer).all() for answer in answers if np.asarray(answer).dtype.kind == "f")
    return ""


def checked(folder, name, place, new, was):
    """Change one value of a file, and check what comes of it."""
    if json.dumps(new) == json.dumps(was):
        return
    content = replaced(json.loads((folder / name).read_bytes()), place, new)
    planted(folder, name, json.dumps(content).encode())
    if found := outcome(folder):
        assert any(file in found for file in (name, "weights.safetensors", "spec.json", "asked: ")), (place, new, found)
        assert "\n" not in found
        assert len(found) < 2000


def changes(saved):
    for name in ("spec.json", "schema.json", "history.json"):
        content = json.loads((saved / name).read_bytes())
        for place in leaves(content):
            if place[0] != "versions":
                for new in [*ODD, str(at(content, place))]:
                    yield name, place, new, at(content, place)


def walked(saved, tmp_path, number):
    """Change this many of all the values, one at a time."""
    every = list(changes(saved))
    chosen = random.Random(0).sample(every, min(number, len(every)))
    folder, problems = tmp_path / "m", []
    for name, place, new, was in chosen:
        shutil.copytree(saved, folder, dirs_exist_ok=True)
        try:
            checked(folder, name, place, new, was)
        except BaseException as error:
            problems.append((name, place, new, was, repr(error)[:300]))
    assert problems == []


def test_json_with_an_odd_value_anywhere_is_refused_or_harmless(saved, tmp_path):
    walked(saved, tmp_path, 60)


@pytest.mark.exhaustive
def test_json_with_each_odd_value_everywhere_is_refused_or_harmless(saved, tmp_path):
    walked(saved, tmp_path, 10**6)


def odd_arrays(array):
    """Yield arrays that another one cannot be replaced by."""
    number = array.dtype.kind == "f"
    spoiled = array.copy()
    if number and array.size:
        for value in (np.nan, np.inf, -np.inf):
            spoiled = array.copy()
            spoiled.flat[-1] = value
            yield spoiled
        yield array.astype(np.float32 if array.dtype == np.float64 else np.float64)
    yield np.zeros((*array.shape, 1), array.dtype)
    yield np.zeros((0, *array.shape[1:]), array.dtype)
    yield array.astype(np.int8)
    yield np.concatenate([array.reshape(-1), array.reshape(-1)])
    yield np.zeros(3, "S1").view(np.uint8)


@pytest.mark.parametrize("share", [5, pytest.param(1, marks=pytest.mark.exhaustive)])
def test_arrays_that_a_model_cannot_have_are_refused(saved, tmp_path, share):
    arrays = arrays_of((saved / "weights.safetensors").read_bytes())
    folder, number = tmp_path / "m", 0
    for name, array in arrays.items():
        for odd in (*odd_arrays(array), None):
            number += 1
            if number % share or (
                odd is not None and odd.shape == array.shape and odd.dtype == array.dtype and np.array_equal(odd, array)
            ):
                continue
            shutil.copytree(saved, folder, dirs_exist_ok=True)
            others = {other: value for other, value in arrays.items() if other != name}
            planted(folder, "weights.safetensors", bytes_of(others if odd is None else {**others, name: odd}))
            with pytest.raises(FileFormatError, match=r"\.(safetensors|json)") as caught:
                om.load(folder)
            assert "\n" not in str(caught.value), name
    planted(folder, "weights.safetensors", bytes_of({**arrays, "more": np.zeros(1)}))
    with pytest.raises(FileFormatError, match="more"):
        om.load(folder)


@pytest.mark.parametrize(
    ("name", "entry", "new", "said"),
    [
        ("spec.json", ("format",), True, "spec.json: no 'format'"),
        ("spec.json", ("format",), -5, "spec.json: no 'format'"),
        ("spec.json", ("format",), 1.0, "spec.json: no 'format'"),
        ("spec.json", ("format",), "1", "spec.json: no 'format'"),
        ("spec.json", ("parameters", "warm_start"), 0, "spec.json: its parameters are not those of VAE: warm_start"),
        ("spec.json", ("parameters", "epochs"), True, "spec.json: its parameters are not those of VAE: epochs"),
        (
            "spec.json",
            ("recipe", "standardize"),
            0,
            "spec.json: does not describe a model (ValueError: recipe.standard",
        ),
        ("spec.json", ("recipe", "likelihood", "class"), "x.Y", "spec.json names the class 'x.Y'"),
        ("schema.json", ("constant", 0), 0, "schema.json: constant"),
        ("schema.json", ("scale", 1), 0.0, "schema.json: its columns, kinds or scales"),
        ("schema.json", ("low", 1), 1e300, "schema.json: its columns, kinds or scales"),
        ("schema.json", ("more",), 1, "schema.json: more: not what omokage writes there"),
        ("history.json", (0, "loss"), True, "history.json: record 0: loss: expected a number; got True"),
        ("history.json", (0,), 7, "history.json: expected a record for each epoch"),
    ],
)
def test_what_is_wrong_is_named_by_file_and_entry(model, name, entry, new, said):
    content = replaced(json.loads((model / name).read_bytes()), entry, new)
    planted(model, name, json.dumps(content).encode())
    with pytest.raises(FileFormatError) as caught:
        om.load(model)
    assert said in str(caught.value)


def test_series_of_lengths_that_nobody_has_are_refused(tmp_path):
    folder = KINDS["series"]().save(tmp_path / "m")
    content = json.loads((folder / "schema.json").read_bytes())
    for entries in (
        {"buckets": [2**62], "lengths": [2**62], "counts": [1.0]},
        {"observed": [0.0, 1.0]},
        {"observed": [1.0, 1e9]},
        {"counts": [1e308] * 4},
        {"missing": 0},
        {"missing": "true"},
    ):
        planted(folder, "schema.json", json.dumps({**content, **entries}).encode())
        with pytest.raises(FileFormatError, match=r"schema\.json: "):
            om.load(folder)


# ----------------------------------------------------------------------------------- everything changed at once

DEEP = b'{"a":' * 40_000 + b"1" + b"}" * 40_000


def header(arrays, content=b""):
    text = arrays if isinstance(arrays, bytes) else json.dumps(arrays).encode()
    return len(text).to_bytes(8, "little") + text + content


def entry(shape=(1,), offsets=(0, 4), dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def link(target):
    return lambda path: path.symlink_to(target)


def pipe(path):
    os.mkfifo(path)


def listening(path):
    os.mknod(path, stat.S_IFSOCK | 0o600)


def sparse(size):
    def make(path):
        path.touch()
        os.truncate(path, size)

    return make


PLACES = {
    "a link out": link("/etc/passwd"),
    "a link to a device": link("/dev/zero"),
    "a link to memory": link("/proc/self/mem"),
    "a link to itself": lambda path: path.symlink_to(path),
    "a link within": link("README.md"),
    "a link to nothing": link("nothing"),
    "a folder": lambda path: path.mkdir(),
    "a pipe": pipe,
    "a socket": listening,
    "a terabyte": sparse(2**40),
}
TEXTS = {
    "nothing": b"",
    "zeros": bytes(1000),
    "deep lists": b"[" * 100_000 + b"]" * 100_000,
    "deep objects": DEEP,
    "many lists": b"[" + b"[]," * 3_000_000 + b"[]]",
    "many objects": b'{"a":[' + b"{}," * 3_000_000 + b"{}]}",
    "many numbers": b"[" + b"1," * 9_000_000 + b"1]",
    "many keys": b"{" + b",".join(b'"%d":1' % number for number in range(2_100_000)) + b"}",
    "a long number": b'{"a": ' + b"9" * 1_000_000 + b"}",
    "a long text": b'{"a": "' + b"x" * 30_000_000 + b'"}',
    "no text": b'{"a": "\\ud800"}',
    "NaN": b"NaN",
    "other bytes": b"\xff\xfe{}",
    "twice the same key": b'{"format": 1, "format": 2, "files": {}}',
}
ARRAYS = {
    "nothing": b"",
    "a length alone": (100).to_bytes(8, "little"),
    "a length beyond all": (2**63).to_bytes(8, "little") + b"{}",
    "a header that is no JSON": header(b"[" * 1000),
    "a deep header": header(DEEP),
    "a header of another kind": header([]),
    "an entry of another kind": header({"a": 1}),
    "a type that is none": header({"a": entry(dtype="Q7")}, bytes(4)),
    "a shape that is none": header({"a": entry(shape=(-1,))}, bytes(4)),
    "a shape of true": header({"a": entry(shape=(True,))}, bytes(4)),
    "a shape beyond all": header({"a": entry(shape=(2**62, 2**62))}, bytes(4)),
    "too few bytes": header({"a": entry()}, bytes(3)),
    "too many bytes": header({"a": entry()}, bytes(5)),
    "two arrays in one place": header({"a": entry(), "b": entry()}, bytes(4)),
    "arrays that overlap": header({"a": entry((2,), (0, 8)), "b": entry((2,), (4, 12))}, bytes(12)),
    "a hole": header({"a": entry(), "b": entry((1,), (8, 12))}, bytes(12)),
    "the wrong way round": header({"a": entry((1,), (4, 0))}, bytes(4)),
    "a million arrays": header(
        b"{" + b",".join(b'"%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}' % n for n in range(400_000)) + b"}"
    ),
    "a gigabyte that is none": header({"a": entry((2**28,), (0, 2**30))}),
}
JSON_FILES = ("spec.json", "schema.json", "history.json")
HOSTILE = [
    *((name, what, make) for name in (*JSON_FILES, "weights.safetensors") for what, make in PLACES.items()),
    *((name, what, text) for name in JSON_FILES for what, text in TEXTS.items()),
    *(("weights.safetensors", what, content) for what, content in ARRAYS.items()),
]


def spoiled(folder, name, make):
    (folder / name).unlink()
    if isinstance(make, bytes):
        planted(folder, name, make)
    else:
        make(folder / name)


def test_there_are_a_hundred_hostile_folders():
    assert len(HOSTILE) >= 100


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
@pytest.mark.parametrize(("name", "what", "make"), HOSTILE[:: len(HOSTILE) // 18], ids=lambda value: str(value)[:30])
def test_some_hostile_folders_are_refused_at_once(model, name, what, make):
    spoiled(model, name, make)
    began = time.process_time()
    with pytest.raises(FileFormatError, match=name.replace(".", r"\.")) as caught:
        om.load(model)
    assert time.process_time() - began < 10
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 2000


_LOADING = """
import resource, sys, time
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
import omokage
for folder in sys.argv[1:]:
    began = time.process_time()
    try:
        omokage.load(folder)
        said = "loaded"
    except omokage.errors.OmokageError as error:
        said = str(error).replace(chr(10), "|")
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(used, round(time.process_time() - began, 1), said[:300], flush=True)
"""


@pytest.mark.exhaustive
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="measures memory as Linux does")
def test_a_hundred_hostile_folders_cost_little(one, tmp_path):
    """No process above 2 GB, and none above 20 seconds."""
    for name, what, make in HOSTILE:
        folder = shutil.copytree(one, tmp_path / "m")
        spoiled(folder, name, make)
        command = [sys.executable, "-c", _LOADING, folder]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        shutil.rmtree(folder)
        megabytes, seconds, said = done.stdout.split(maxsplit=2)
        assert name in said, (what, said, done.stderr)
        assert int(megabytes) < 2000, (name, what)
        assert float(seconds) < 20, (name, what)


# ------------------------------------------------------------------------------------------------------- paths

NO_PATHS = [3, None, b"x", "", "a\0b", "\ud800", ["a"], 1.5, Path("a\0b"), {"a": 1}]
NO_PLACES = ["x" * 300, "x/" * 3000, "loop", "loop/x", "file/x"]


@pytest.mark.parametrize("path", [*NO_PATHS, *NO_PLACES], ids=lambda path: repr(path)[:20])
def test_every_function_that_takes_a_path_says_in_a_line_what_is_none(one, tmp_path, monkeypatch, path):
    from omokage.files.opening import open_table
    from omokage.files.pictures import read_pictures, write_picture
    from omokage.files.writing import write_table
    from omokage.storage import check_target, read_folder, replace_file, write_folder

    monkeypatch.chdir(tmp_path)
    Path("loop").symlink_to("loop")
    Path("file").touch()
    calls = {
        "load": lambda: om.load(path),
        "save": lambda: om.load(one).save(path),
        "open": lambda: open_table(path),
        "write": lambda: write_table(path, {"a": [1]}),
        "pictures": lambda: read_pictures(path),
        "picture": lambda: write_picture(path, np.zeros((4, 4))),
        "file": lambda: replace_file(path, b"x"),
        "folder": lambda: write_folder(path, {"format": 1}, {}),
        "read": lambda: read_folder(path, (), version=1),
        "target": lambda: check_target(path, ()),
    }
    if path is not None:
        calls["checkpoint"] = lambda: om.VAE(**SMALL).fit(X, checkpoint=path, resume=True)
    if path in NO_PLACES or path in ("", "a\0b", b"x"):
        calls["fit"] = lambda: om.VAE(**SMALL).fit(path)
    for call in calls.values():
        with pytest.raises(OmokageError) as caught:
            call()
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 1500 + len(os.fspath(path) if isinstance(path, str) else "")
        if path in NO_PATHS:
            assert isinstance(caught.value, ParameterError | om.errors.DataError | FileFormatError)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "loop"]


def test_a_device_is_not_replaced_by_a_file(tmp_path):
    from omokage.storage import replace_file

    if not hasattr(os, "mkfifo"):
        pytest.skip("needs pipes")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileFormatError, match="is a folder or a device"):
        replace_file(tmp_path / "pipe", b"x")
    with pytest.raises(FileFormatError, match="is a folder or a device"):
        replace_file(tmp_path, b"x")
    assert paths.is_folder(tmp_path)
    assert not paths.is_folder("\0")


# ------------------------------------------------------------------------------------------- what is saved


def test_what_is_set_after_the_fit_is_not_saved(tmp_path):
    vae = vectors().set_params(latent_dim=-3, epochs="many", hidden=None, random_state="x")
    back = om.load(vae.save(tmp_path / "vae"))
    assert (back.latent_dim, back.epochs, back.hidden) == (2, 1, (4,))
    detector = KINDS["detector"]()
    for name, value in {
        "false_alarm_rate": 2.0,
        "ensemble": 0,
        "score": "x",
        "model": None,
        "calibration": "y",
    }.items():
        detector.set_params(**{name: value})
    back = om.load(detector.save(tmp_path / "detector"))
    assert (back.false_alarm_rate, back.ensemble, back.get_params()["score"]) == (0.05, 2, "auto")
    assert isinstance(back.model, om.VAE)
    with pytest.raises(ParameterError, match=r"false_alarm_rate: expected a number less than 1; got 2\.0"):
        detector.recalibrate(X)
    back = om.load(detector.save(tmp_path / "detector"))
    assert [*map(np.array_equal, back.calibration_.groups, detector.calibration_.groups)] == [True] * 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda fit: {"history": [{"loss": "x"}]}, "history.json: record 0: loss"),
        (lambda fit: {"model": jax.tree.map(lambda leaf: leaf * np.nan, fit.model)}, "NaN or infinity"),
        (
            lambda fit: {"parameters": fit.parameters | {"latent_dim": 3}},
            "its parts have 248 numbers, and the weights 696 bytes",
        ),
        (
            lambda fit: {"schema": VectorSchema(dataclasses.replace(fit.schema.columns, kinds=("real",) * 4))},
            "schema.json",
        ),
    ],
)
def test_what_could_not_be_read_back_is_not_written(tmp_path, change, said):
    vae = vectors()
    vae.save(tmp_path / "m")
    before = (tmp_path / "m" / "spec.json").read_bytes()
    vae.fitted_ = dataclasses.replace(vae.fitted_, **change(vae.fitted_))
    with pytest.raises(ParameterError, match="not written, since it could not be read back") as caught:
        vae.save(tmp_path / "m")
    assert said in str(caught.value)
    assert (tmp_path / "m" / "spec.json").read_bytes() == before


@dataclasses.dataclass(frozen=True)
class Inner:
    """A setting of one's own."""

    width: float = 1.0
    parts: tuple = ()


@dataclasses.dataclass(frozen=True)
class Outer(om.likelihoods.Gaussian):
    """A likelihood of one's own that holds others."""

    inner: Inner = Inner()


class MyVAE(om.VAE):
    """A model of one's own, with some settings fixed and one more."""

    def __init__(self, latent_dim=2, *, tag="a", verbose=0):
        super().__init__(latent_dim=latent_dim, hidden=(4,), epochs=1, verbose=verbose)
        self.tag = tag

    def double(self, X):
        """Return something of its own."""
        return 2 * self.transform(X)


class MyDetector(om.AnomalyDetector):
    """A detector of one's own."""

    def __init__(self, model=None, *, ensemble=2, note="n"):
        super().__init__(model, ensemble=ensemble, verbose=0)
        self.note = note


def test_classes_of_ones_own_are_saved_and_come_back(tmp_path):
    vae = untrained(MyVAE(tag="b"), X)
    folder = vae.save(tmp_path / "vae")
    name = f"{MyVAE.__module__}.MyVAE"
    with pytest.raises(
        FileFormatError, match=r"spec\.json: holds a .*MyVAE.*If it is a class of yours, pass it: .*MyVAE"
    ):
        om.load(folder)
    with pytest.raises(FileFormatError, match="expected one of VAE, AutoEncoder"):
        om.load(folder, custom={name: om.AnomalyDetector})
    back = om.load(folder, custom={name: MyVAE})
    assert (type(back), back.tag, back.latent_dim, back.hidden) == (MyVAE, "b", 2, (4,))
    assert np.array_equal(back.double(X), vae.double(X))
    assert om.load(back.save(tmp_path / "again"), custom={name: MyVAE}).tag == "b"
    for custom in (3, {"x": 3}, [MyVAE]):
        with pytest.raises(ParameterError, match="custom: expected a dict of classes"):
            om.load(folder, custom=custom)


def test_settings_within_settings_of_ones_own_come_back(tmp_path):
    outer = Outer(scale="shared", inner=Inner(2.5, (Inner(0.5), "x", (1, 2))))
    folder = untrained(om.VAE(**SMALL, likelihood=outer), X).save(tmp_path / "m")
    custom = {f"{kind.__module__}.{kind.__qualname__}": kind for kind in (Inner, Outer)}
    assert om.load(folder, custom=custom).likelihood == outer
    with pytest.raises(FileFormatError, match=r"names the class .*Inner"):
        om.load(folder, custom={name: kind for name, kind in custom.items() if kind is Outer})


def test_a_detector_of_ones_own_comes_back(tmp_path):
    detector = MyDetector(MyVAE(), note="m").fit(X)
    folder = detector.save(tmp_path / "m")
    custom = {f"{kind.__module__}.{kind.__qualname__}": kind for kind in (MyVAE, MyDetector)}
    for left_out in custom:
        with pytest.raises(FileFormatError, match=f"holds a '{left_out}'"):
            om.load(folder, custom={name: kind for name, kind in custom.items() if name != left_out})
    back = om.load(folder, custom=custom)
    assert (type(back), type(back.model), back.note) == (MyDetector, MyVAE, "m")
    assert np.array_equal(back.score_samples(X), detector.score_samples(X))


def test_names_that_are_no_text_are_told_from_such_that_are(tmp_path):
    for names in ((2020, 2021, 2022), ("a", 1, 2.5), tuple(map(np.int64, range(3)))):
        vae = untrained(om.VAE(**SMALL), pd.DataFrame(X, columns=names))
        back = om.load(vae.save(tmp_path / "m"))
        assert back.schema_.names == tuple(map(str, names))
        assert not back.schema_.columns.textual
        assert not hasattr(back, "feature_names_in_")


# ------------------------------------------------------------------------------------------------ large schemas


def test_what_is_known_of_many_pixels_is_kept_as_arrays(tmp_path):
    pictures = RANDOM.random(size=(3, 120, 100, 3))
    ae = untrained(om.AutoEncoder(latent_dim=1, hidden=(1,), network="mlp", verbose=0), pictures)
    folder = ae.save(tmp_path / "m")
    assert (folder / "schema.json").stat().st_size < 2000
    back = om.load(folder)
    for name in ("location", "scale", "mean", "deviation", "constant", "low", "high", "kinds"):
        assert np.array_equal(getattr(back.schema_.columns, name), getattr(ae.schema_.columns, name))
    again = back.save(tmp_path / "again")
    for name in ("schema.json", "weights.safetensors"):
        assert (again / name).read_bytes() == (folder / name).read_bytes()


@pytest.mark.exhaustive
def test_a_model_of_large_pictures_loads(tmp_path):
    pictures = RANDOM.integers(0, 256, size=(3, 448, 448, 3), dtype=np.uint8)
    ae = untrained(om.AutoEncoder(latent_dim=1, hidden=(1,), network="mlp", verbose=0), pictures)
    assert np.array_equal(om.load(ae.save(tmp_path / "m")).schema_.columns.scale, ae.schema_.columns.scale)


def as_format_1(folder):
    """Write a folder as omokage 0.1.0 did: lists as text, and networks that see however far out values lie."""
    from omokage.weights import fetched

    arrays = arrays_of((folder / "weights.safetensors").read_bytes())
    schema = fetched(json.loads((folder / "schema.json").read_bytes()), arrays, "schema")
    index = json.loads((folder / "spec.json").read_bytes())
    index = {**index, "format": 1} | {name: fetched(index[name], arrays, name) for name in ("parameters", "recipe")}
    (folder / "spec.json").write_text(json.dumps(index), "utf-8")
    planted(folder, "schema.json", json.dumps(schema).encode())
    arrays = {name: array for name, array in arrays.items() if "bounds." not in name}
    planted(folder, "weights.safetensors", bytes_of(arrays))


def test_folders_of_format_1_load(saved, tmp_path):
    folder = shutil.copytree(saved, tmp_path / "m")
    as_format_1(folder)
    old, new = om.load(folder), om.load(saved)
    assert old.get_params(deep=False).keys() == new.get_params(deep=False).keys()
    again = om.load(old.save(tmp_path / "again"))
    for before, after, later in zip(questions(old), questions(new), questions(again), strict=True):
        assert np.array_equal(before, after) and np.array_equal(before, later)

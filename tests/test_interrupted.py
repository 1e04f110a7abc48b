"""Runs that are interrupted: nothing is written before there is an epoch, and only the same run goes on."""

import functools
import os
import signal
import subprocess
import sys

import jax
import numpy as np
import optax
import pytest

import omokage as om
from omokage.checkpoints import condensed, seed_in, told
from omokage.errors import FileFormatError, ParameterError
from omokage.weights import named_arrays

X = np.random.default_rng(0).normal(size=(40, 3))
TINY = {"latent_dim": 2, "hidden": (4,), "epochs": 3, "batch_size": 20, "verbose": 0}


def equal(first, second):
    first, second = (named_arrays(estimator.model_) for estimator in (first, second))
    return all(np.array_equal(array, second[name]) for name, array in first.items())


def interrupted(monkeypatch, after=0):
    """Let Ctrl-C come in the step after so many epochs."""
    from omokage import training

    real, done = training._Run.advance, []

    def advance(self, epoch, *arguments):
        if epoch > after:
            raise KeyboardInterrupt
        done.append(epoch)
        return real(self, epoch, *arguments)

    monkeypatch.setattr(training._Run, "advance", advance)
    return done


# ------------------------------------------------------------------------------------------------ interrupted


@pytest.mark.parametrize("make", [lambda: om.VAE(**TINY), lambda: om.AnomalyDetector(om.VAE(**TINY), verbose=0)])
def test_ctrl_c_in_the_first_epoch_leaves_the_estimator_as_it_was(monkeypatch, make):
    estimator = make()
    interrupted(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        estimator.fit(X)
    with pytest.raises(Exception, match="not fitted"):
        estimator.score_samples(X)


@pytest.mark.parametrize("task", ["learn", "detect"])
@pytest.mark.parametrize("checkpoint", [False, True])
def test_ctrl_c_in_the_first_epoch_of_the_command_writes_nothing(tmp_path, monkeypatch, capsys, task, checkpoint):
    from omokage import cli

    if task == "detect" and checkpoint:
        pytest.skip("a detector has no checkpoints")
    np.save(tmp_path / "x.npy", X)
    folder = om.VAE(**TINY).fit(X).save(tmp_path / "model")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    interrupted(monkeypatch)
    words = ["fit", str(tmp_path / "x.npy"), "--out", str(folder), "--task", task, "--quiet", "--epochs", "2"]
    words += ["--checkpoint", str(tmp_path / "c")] if checkpoint else []
    monkeypatch.setattr(sys, "argv", ["omokage", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 130
    assert capsys.readouterr().err == "omokage: interrupted\n"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "x.npy"]


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="sends the signal of Ctrl-C")
def test_a_real_ctrl_c_while_the_first_epoch_runs(tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(200_000, 30)))
    command = [sys.executable, "-m", "omokage", "fit", tmp_path / "x.npy", "--out", tmp_path / "m", "--batch-size", "2"]
    start = "import signal, os, sys; signal.signal(2, signal.default_int_handler); os.execv(sys.argv[1], sys.argv[1:])"
    process = subprocess.Popen([sys.executable, "-c", start, *command], stderr=subprocess.PIPE, text=True)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(25)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert (process.returncode, said.strip().splitlines()[-1]) == (130, "omokage: interrupted")
    assert not (tmp_path / "m").exists()


# ---------------------------------------------------------------------------------------------------- resumed


class StopError(Exception):
    """What ends a run."""


def stopping(record):
    if record["epoch"] == 1:
        raise StopError


def begun(folder, settings=(), **given):
    """Begin a run and stop it after an epoch."""
    with pytest.raises(StopError):
        om.VAE(**{**TINY, **dict(settings)}).fit(X, checkpoint=folder, on_epoch=stopping, **given)


def go_on(folder, settings=(), **given):
    return om.VAE(**{**TINY, **dict(settings)}).fit(X, checkpoint=folder, resume=True, **given)


def test_other_rows_to_validate_on_are_another_run(tmp_path):
    begun(tmp_path / "c", X_valid=X[:9])
    for other in ({"X_valid": X[1:10]}, {"X_valid": X[:8]}, {}):
        with pytest.raises(ParameterError, match=r"validation was '[0-9a-f]+' and is"):
            go_on(tmp_path / "c", **other)
    go_on(tmp_path / "c", X_valid=X[:9])


def test_another_context_to_validate_with_is_another_run(tmp_path):
    given = {"context": np.arange(40.0), "X_valid": X[:9]}
    begun(tmp_path / "c", **given, context_valid=np.arange(9.0))
    with pytest.raises(ParameterError, match="validation was"):
        go_on(tmp_path / "c", **given, context_valid=np.arange(1.0, 10.0))
    go_on(tmp_path / "c", **given, context_valid=np.arange(9.0))


OPTIMIZERS = [
    lambda: optax.adam(1e-3),
    lambda: optax.adam(2e-3),
    lambda: optax.adam(1e-3, b1=0.8),
    lambda: optax.sgd(1e-3),
    lambda: optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-3)),
    lambda: optax.chain(optax.clip_by_global_norm(2.0), optax.adam(1e-3)),
    lambda: optax.adam(optax.exponential_decay(1e-3, 10, 0.5)),
    lambda: optax.adam(optax.exponential_decay(1e-3, 10, 0.6)),
    lambda: optax.inject_hyperparams(optax.adam)(learning_rate=1e-3),
    lambda: optax.inject_hyperparams(optax.adam)(learning_rate=2e-3),
    lambda: optax.masked(optax.adam(1e-3), True),
]


def test_what_is_told_of_an_optimizer_differs_where_it_does_and_only_there():
    texts = [str(told(make())) for make in OPTIMIZERS]
    assert texts == [str(told(make())) for make in OPTIMIZERS]
    assert len(set(texts)) == len(texts)
    assert all(" at 0x" not in text for text in texts)


def scaled(share, factor):
    return factor * share


class Rate:
    def __init__(self, rate):
        self.rate, self.self = rate, self

    def __call__(self, share):
        return self.rate


def test_what_is_told_of_functions_differs_where_they_do():
    def closed(value):
        return lambda share: value * share

    values = [
        closed(1), closed(2), closed([1, {"a": 2}]), closed([1, {"a": 3}]), lambda share: 1, lambda share: 2,
        functools.partial(scaled, factor=1), functools.partial(scaled, factor=2), Rate(1), Rate(2), Rate(1).__call__,
        Rate(2).__call__, jax.jit(closed(1)), jax.jit(closed(2)), np.arange(3), np.arange(4), jax.numpy.arange(4) + 1,
        {1}, {2}, "1", 1, 1.0, True, None, scaled, np.tanh, np.sin, Rate, int,
    ]  # fmt: skip
    texts = [str(told(value)) for value in values]
    assert len(set(texts)) == len(texts)
    assert all(" at 0x" not in text for text in texts)


FACTORS = (1.0, 2.0)


def tabled(share):
    return FACTORS[0] * share


def by_a_helper(share):
    return tabled(share)


def test_what_is_told_of_functions_holds_the_global_values_and_functions_that_they_use(monkeypatch):
    before = [told(function) for function in (tabled, by_a_helper)]
    assert before == [told(function) for function in (tabled, by_a_helper)]
    for other in ((3.0, 2.0), np.array([1.0, 2.5]), [1.0, {"a": 2.0}]):
        monkeypatch.setitem(globals(), "FACTORS", other)
        for function, text in zip((tabled, by_a_helper), before, strict=True):
            assert told(function) != text
    monkeypatch.undo()
    monkeypatch.setitem(globals(), "tabled", lambda share: 2.0 * share)
    assert told(by_a_helper) != before[1]


def test_another_optimizer_object_is_another_run(tmp_path):
    begun(tmp_path / "c", {"optimizer": optax.adam(1e-3)})
    for other in (optax.adam(2e-3), optax.sgd(1e-3), "adam"):
        with pytest.raises(ParameterError, match="training was"):
            go_on(tmp_path / "c", {"optimizer": other})
    resumed = go_on(tmp_path / "c", {"optimizer": optax.adam(1e-3)}, on_epoch=lambda record: None)
    assert equal(resumed, om.VAE(**TINY, optimizer=optax.adam(1e-3)).fit(X))


def test_another_schedule_is_another_run(tmp_path):
    begun(tmp_path / "c", {"schedule": lambda share: 1.0})
    with pytest.raises(ParameterError, match="training was"):
        go_on(tmp_path / "c", {"schedule": lambda share: 0.5})


def test_a_run_without_a_seed_goes_on_with_the_one_that_was_drawn(tmp_path):
    begun(tmp_path / "c", {"random_state": None})
    resumed = go_on(tmp_path / "c", {"random_state": None})
    seed = seed_in(tmp_path / "c")
    assert equal(resumed, om.VAE(**TINY, random_state=seed).fit(X))
    begun(tmp_path / "d", {"random_state": None})
    assert seed_in(tmp_path / "d") != seed
    assert go_on(tmp_path / "new", {"random_state": None}).history_[0]["epoch"] == 1  # where there is none yet


def test_a_checkpoint_of_many_columns_is_small_and_goes_on(tmp_path):
    wide = np.random.default_rng(0).normal(size=(30, 400))
    with pytest.raises(StopError):
        om.VAE(**TINY).fit(wide, checkpoint=tmp_path / "c", on_epoch=stopping)
    assert (tmp_path / "c" / "spec.json").stat().st_size < 4000
    om.VAE(**TINY).fit(wide, checkpoint=tmp_path / "c", resume=True)
    with pytest.raises(ParameterError, match=r"location was '400 values with the hash [0-9a-f]{16}' and is"):
        om.VAE(**TINY).fit(wide + 1, checkpoint=tmp_path / "c", resume=True)
    assert condensed([1.0] * 400) != condensed([1.0] * 399 + [2.0])


def test_a_checkpoint_of_format_1_goes_on(tmp_path):
    import json

    begun(tmp_path / "c")
    path = tmp_path / "c" / "spec.json"
    index = json.loads(path.read_text("utf-8"))
    settings = {name: value for name, value in index["settings"].items() if name not in ("validation", "training")}
    path.write_text(json.dumps({**index, "format": 1, "settings": settings}), "utf-8")
    assert equal(go_on(tmp_path / "c"), om.VAE(**TINY).fit(X))


@pytest.mark.parametrize(
    "entries",
    [
        {"history": [{"epoch": "x"}]}, {"history": {}}, {"history": [1]}, {"best": 3}, {"best": {"loss": 1.0}},
        {"best": {"loss": float("nan"), "epoch": 1}}, {"best": {"loss": 1.0, "epoch": 7}}, {"settings": []},
        {"kind": "VAE"}, {"kind": None},
    ],
)  # fmt: skip
def test_checkpoints_that_were_changed_are_refused(tmp_path, entries):
    import json

    begun(tmp_path / "c")
    path = tmp_path / "c" / "spec.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **entries}), "utf-8")
    with pytest.raises(FileFormatError, match="c"):
        go_on(tmp_path / "c")

"""Random calls of every public method, with good, odd and bad arguments: a right answer, or one line of our error.

The calls are drawn from fixed seeds, so a failure comes back; its text is a line of Python as near as can be. Models
are tiny and fitted once, since compiling takes most of the time. What is bad is refused before anything is compiled.
"""

import copy
import decimal
import fractions
import inspect
import itertools
import resource
import time
import traceback
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.exceptions import NotFittedError

import omokage as om
from omokage.errors import OmokageError, TrainingError
from omokage.settings import AutoEncoderSettings, DetectorSettings, VAESettings

pytestmark = pytest.mark.exhaustive

TINY = {"latent_dim": 2, "hidden": (4,), "epochs": 1, "batch_size": 16, "verbose": 0}
SECONDS, BYTES = 20, 2 * 10**9  # of a call, and of the process
ROWS = np.random.default_rng(0).normal(size=(40, 3)) * [1.0, 10.0, 0.1] + [0.0, 100.0, 0.0]
NAMES = ("a", "b", "c")
LABELS = np.array(["u", "v"] * 20)
SERIES = np.random.default_rng(1).normal(size=(12, 6, 2))
STREAM = np.random.default_rng(2).normal(size=(60, 2))
PICTURES = np.random.default_rng(3).uniform(size=(20, 4, 4))
ODD = (
    None, True, False, 0, -1, 1, 2, 1.0, 0.5, 1.5, float("nan"), float("inf"), -0.0, 1e-320, 2**31, 2**70, "7", "",
    "auto", "\0", "é" * 300, (), (1,), (1, 2), [], [3], {}, {"name": "x"}, {1, 2}, object(), object, len, b"7", 1j,
    np.int8(2), np.uint64(2**63), np.float16(0.5), np.bool_(True), np.array(2), np.array([1, 2]), np.array([]),
    np.datetime64("2026-01-01"), np.ma.masked, jnp.int32(2), jnp.arange(3), decimal.Decimal("0.5"),
    fractions.Fraction(1, 2), pd.NA, pd.NaT, pd.Series([1, 2]), pl.Series([1, 2]), Path("x"), range(2), ..., slice(2),
    NotImplemented,
)  # fmt: skip


# ------------------------------------------------------------------------------------------------------- the judge


class Judge:
    """Makes calls, and keeps what they did that they must not do."""

    def __init__(self):
        self.calls, self.answered, self.refused, self.problems, self.slowest = 0, 0, 0, [], []
        self.compiled = 0
        jax.monitoring.register_event_duration_secs_listener(self._heard)

    def _heard(self, event, seconds, **_):
        self.compiled += event == "/jax/core/compile/backend_compile_duration"

    def __call__(self, text, call, check=None, *, contract=(), refused_at_once=False, must=None):
        """Make a call.

        Args:
            text: What the call is.
            call: A function without arguments.
            check: Of the answer; raises AssertionError.
            contract: Beginnings of texts that scikit-learn's contract asks for in its own words.
            refused_at_once: Whether an error has to come before anything was compiled.
            must: "answer" or "refuse", where only one of them is right.
        """
        self.calls += 1
        before, begun = self.compiled, time.perf_counter()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                answer = call()
        except (OmokageError, NotFittedError) as error:
            self.refused += 1
            lines = str(error).splitlines()
            if not lines or (len(lines) > 1 and not str(error).startswith("several parameters:")):
                self.problem("lines", text, repr(error))
            if any(len(line) > 1500 for line in lines):
                self.problem("long line", text, f"{max(map(len, lines))} letters: {lines[0][:200]}")
            if refused_at_once and self.compiled > before and not isinstance(error, TrainingError):
                self.problem("compiled first", text, repr(error))
            if must == "answer":
                self.problem("refused", text, repr(error))
        except Exception as error:
            if not any(str(error).startswith(beginning) for beginning in contract):
                frames = [f for f in traceback.extract_tb(error.__traceback__) if "omokage" in f.filename]
                place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
                self.problem(f"{type(error).__name__} at {place}", text, " ".join(str(error).split())[:200])
        else:
            self.answered += 1
            if must == "refuse":
                self.problem("not refused", text, repr(answer)[:200])
            elif check is not None:
                try:
                    check(answer)
                except Exception as error:
                    self.problem("wrong answer", text, f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
        seconds = time.perf_counter() - begun
        self.slowest = sorted([*self.slowest, (seconds, text)], reverse=True)[:5]
        if seconds > SECONDS and self.compiled == before:
            self.problem("slow", text, f"{seconds:.0f} s")
        if (size := resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024) > BYTES and not self.large:
            self.large = True
            self.problem("large", text, f"{size / 1e9:.1f} GB")

    large = False

    def problem(self, kind, text, what):
        self.problems.append((kind, text, what))

    def report(self):
        shown = [f"{self.calls} calls, {self.answered} answered, {self.refused} refused; slowest {self.slowest}"]
        for kind, group in itertools.groupby(sorted(self.problems, key=str), lambda one: one[0]):
            each = list(group)
            shown.append(f"{kind}: {len(each)}")
            shown += [f"    {text[:300]}\n        {what}" for _, text, what in each[:6]]
        return "\n".join(shown)


@pytest.fixture
def judge():
    found = Judge()
    yield found
    print(found.report())
    assert not found.problems, found.report()


def shown(value):
    try:
        text = repr(value)
    except Exception:
        text = type(value).__name__
    return " ".join(text.split())[:80]


# ------------------------------------------------------------------------------------------------------- the models


@pytest.fixture(scope="module")
def models():
    """Fitted models by name, each with rows that it can be asked about."""
    frame = pl.DataFrame(ROWS, schema=NAMES)
    counts = np.random.default_rng(4).poisson(3.0, size=(40, 3)).astype(float)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {
            "vae": (om.VAE(**TINY).fit(ROWS), ROWS),
            "named": (om.VAE(**TINY).fit(frame), frame),
            "numbered": (om.VAE(**TINY).fit(pd.DataFrame(ROWS)), pd.DataFrame(ROWS)),
            "autoencoder": (om.AutoEncoder(**TINY).fit(ROWS), ROWS),
            "counts": (om.VAE(likelihood="poisson", **TINY).fit(counts), counts),
            "context": (om.VAE(**TINY).fit(ROWS, context=LABELS), ROWS),
            "detector": (om.AnomalyDetector(om.VAE(**TINY), ensemble=2, verbose=0).fit(frame), frame),
            "series": (om.VAE(network="tcn", **TINY).fit(SERIES), SERIES),
            "stream": (
                om.AnomalyDetector(
                    om.VAE(network="tcn", data=om.data.Sequences(window=8), **TINY), ensemble=2, verbose=0
                ).fit(STREAM),
                STREAM,
            ),
            "pictures": (om.VAE(network="mlp", data="images", **TINY).fit(PICTURES), PICTURES),
        }


# ------------------------------------------------------------------------------------------------------- settings

SETTINGS = {om.VAE: VAESettings, om.AutoEncoder: AutoEncoderSettings, om.AnomalyDetector: DetectorSettings}
# What would train for ever, or is as long as asked for.
LONG = {"epochs": lambda value: isinstance(value, int | np.integer | jax.Array) and np.ndim(value) == 0 and value > 3}


def tiny(kind, **settings):
    if kind is om.AnomalyDetector:
        return kind(om.VAE(**TINY), **{"ensemble": 2, "verbose": 0, **settings})
    return kind(**{**TINY, **settings})


def fit_and_ask(estimator, X, **beside):
    return estimator.fit(X, **beside).score_samples(X)


def finite(answer):
    assert answer.shape == (len(ROWS),) and np.isfinite(answer).all()


@pytest.mark.parametrize("kind", SETTINGS)
def test_every_setting_with_every_odd_value(judge, kind):
    for name in SETTINGS[kind].model_fields:
        for value in ODD:
            if name in LONG and LONG[name](value):
                continue
            judge(
                f"{kind.__name__}({name}={shown(value)}).fit(X)",
                lambda name=name, value=value: fit_and_ask(tiny(kind, **{name: value}), ROWS),
                finite,
                refused_at_once=True,
            )
    for value in ODD if kind is om.AnomalyDetector else ():
        judge(
            f"AnomalyDetector({shown(value)}).fit(X[:1])",
            lambda value=value: om.AnomalyDetector(value, ensemble=2, verbose=0).fit(ROWS[:1]),
        )


# ------------------------------------------------------------------------------------------------------ questions

# Of every method what it is asked with, beside X, and values that are right for it.
GOOD = {
    "samples": (1, 2, np.int64(3)),
    "seed": (0, 7, np.int64(1), np.uint8(200)),
    "return_std": (True, False, np.bool_(True)),
    "sample": (True, False),
    "mean": (True, False),
    "n": (1, 5, np.int32(3)),
    "chains": (2,),
    "temperatures": (3,),
    "rounds": (1, 2),
    "length": (None, 4, np.int64(5)),
    "density": ("full_normal", om.priors.FullNormal(), {"name": "full_normal"}),
    "false_alarm_rate": (None, 0.5, np.float32(0.25), 0.3),
    "window": (None, 8),
    "explain": (0, 1, np.int64(2)),
    "by": ("mahalanobis", "reconstruction"),
}
ASKED = {
    "transform": (),
    "reconstruct": ("sample", "seed"),
    "score_samples": ("samples", "seed"),
    "terms": ("samples", "seed"),
    "log_likelihood": ("samples", "seed", "return_std"),
    "bits_per_dimension": ("samples", "seed"),
    "annealed_log_likelihood": ("chains", "temperatures", "seed", "return_std"),
    "entry_scores": ("samples", "seed"),
    "step_scores": ("samples", "seed"),
    "impute": ("samples", "rounds", "seed"),
    "diagnose": ("seed",),
    "fit_density": ("density", "seed"),
    "sample": ("n", "mean", "seed", "length"),
    "inverse_transform": ("length",),
    "score": (),
    "decision_function": (),
    "predict": ("false_alarm_rate",),
    "p_values": (),
    "judge": ("false_alarm_rate",),
    "judge_steps": ("false_alarm_rate", "window", "explain"),
    "severity": (),
    "scores": (),
    "explain": ("by",),
    "drift": (),
}
WITHOUT_X = {"sample": None, "inverse_transform": np.zeros((3, 2))}
# scikit-learn's own words, which its checks of estimators look for.
CONTRACT = ("The feature names should match", "X has ", "Feature names")


def question(models, name, method, **given):
    """Return a function that asks a model, in a copy where that changes it."""
    model, X = models[name]
    model = copy.copy(model) if method in ("fit_density", "recalibrate") else model
    X = X[:3] if method == "annealed_log_likelihood" else X
    arguments = [] if method == "sample" else [WITHOUT_X.get(method, X)]
    if name == "context":
        given.setdefault("context", "u" if method in WITHOUT_X else LABELS[: len(X)])
    return lambda: getattr(model, method)(*arguments, **given)


def asked_of(models):
    for name, (model, _) in models.items():
        for method, settings in ASKED.items():
            if hasattr(model, method):
                known = inspect.signature(getattr(model, method)).parameters
                yield name, method, tuple(one for one in settings if one in known)


def plain(answer):
    """Return the arrays of an answer."""
    if isinstance(answer, dict):
        return [array for each in answer.values() for array in plain(each)]
    if isinstance(answer, list | tuple):
        return [array for each in answer for array in plain(each)]
    return [np.asarray(answer)] if isinstance(answer, np.ndarray | float) else []


def whole(answer):
    for array in plain(answer):
        assert array.dtype.kind in "OUS" or np.isfinite(array).all(), array


def test_every_question_with_every_odd_value(judge, models):
    random = np.random.default_rng(0)
    every = [
        (name, method, setting, value)
        for name, method, settings in asked_of(models)
        for setting in settings
        for value in (*GOOD[setting], *ODD)
    ]
    for place in random.permutation(len(every))[:1500]:
        name, method, setting, value = every[place]
        judge(f"{name}.{method}({setting}={shown(value)})", question(models, name, method, **{setting: value}), whole)


def containers(X, folder):
    """Yield names of containers, X in them, and whether they hold the same rows."""
    frame = pd.DataFrame(X, columns=list(NAMES))
    yield "float32", X.astype(np.float32), None
    for dtype in "?bBhHiIlLqQefdgFDSUOVMm":
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                yield (
                    f"astype({dtype})",
                    np.abs(X).astype(np.int64).astype(dtype) if dtype in "VMm" else X.astype(dtype),
                    None,
                )
            except (TypeError, ValueError):
                continue
    yield "big-endian", X.astype(">f8"), True
    yield "Fortran", np.asfortranarray(X), True
    yield "strided", np.repeat(X, 2, 0)[::2], True
    yield "backwards", X[::-1].copy()[::-1], True
    read_only = X.copy()
    read_only.flags.writeable = False
    yield "read-only", read_only, True
    yield "list", X.tolist(), True
    yield "tuple", tuple(map(tuple, X.tolist())), True
    yield "list of arrays", list(X), True
    yield "list of lists of numbers of NumPy", [list(row) for row in X], True
    yield "JAX", jnp.asarray(X), None
    yield "object", X.astype(object), True
    yield "object with None", np.where(X > 1, None, X.astype(object)), None
    yield "object of text", X.astype(str).astype(object), None
    yield "decimal", [[decimal.Decimal(str(x)) for x in row] for row in X], None
    yield "fraction", [[fractions.Fraction(x) for x in row] for row in X], None
    yield "complex", X + 0j, False
    yield "masked", np.ma.masked_greater(X, 1e9), True
    yield "masked some", np.ma.masked_greater(X, 1.0), None
    yield "matrix", np.matrix(X), True
    yield "memoryview", memoryview(X), None
    yield "array of structures", np.array(list(map(tuple, X)), [(n, float) for n in NAMES]), True
    yield "recarray", np.rec.fromarrays(X.T, names=list(NAMES)), True
    yield "pandas", frame, True
    yield "pandas indexed", frame.set_index(pd.date_range("2026-01-01", periods=len(X))), True
    yield "pandas multi", frame.set_index([np.arange(len(X)), np.arange(len(X))]), True
    yield "pandas Float64", frame.astype("Float64"), True
    yield "pandas float32", frame.astype("float32"), None
    yield "pandas object", frame.astype(object), True
    yield "pandas category", frame.astype("category"), True
    yield "pandas string", frame.astype("string"), None
    yield "pandas with NA", frame.astype("Float64").mask(frame > 1), None
    yield "pandas sparse", frame.astype(pd.SparseDtype("float64")), True
    yield "pandas complex", frame.astype(complex), False
    yield "pandas times", frame.assign(a=pd.Timestamp("2026-01-01")), False
    yield "pandas durations", frame.assign(a=pd.Timedelta("1s")), False
    yield "pandas periods", frame.assign(a=pd.period_range("2026-01", periods=len(X), freq="M")), False
    yield "pandas intervals", frame.assign(a=pd.interval_range(0, len(X))), False
    yield "pandas of lists", frame.assign(a=[[1, 2]] * len(X)), False
    yield "pandas names twice", frame.set_axis(["a", "b", "a"], axis=1), False
    yield "pandas multi columns", frame.set_axis(pd.MultiIndex.from_tuples([("x", n) for n in NAMES]), axis=1), None
    yield "pandas numbered", pd.DataFrame(X), None
    yield "pandas mixed names", frame.set_axis(["a", 1, None], axis=1), None
    yield "pandas tuple names", frame.set_axis([(1, 2), (3, 4), (5, 6)], axis=1), None
    yield "pandas other order", frame[["c", "a", "b"]], None
    yield "pandas fewer", frame[["a", "b"]], False
    yield "pandas more", frame.assign(d=1.0), False
    yield "pandas no rows", frame[:0], False
    yield "pandas no columns", frame[[]], False
    yield "pandas series", frame["a"], False
    yield "Polars", pl.DataFrame(X, schema=NAMES), True
    yield "Polars lazy", pl.DataFrame(X, schema=NAMES).lazy(), False
    yield "Polars series", pl.Series(X[:, 0]), False
    yield "Polars series of lists", pl.Series(X.tolist()), None
    yield "Polars arrays", pl.Series(X), None
    yield "Polars decimal", pl.DataFrame(X, schema=NAMES).cast(pl.Decimal(20, 6)), None
    yield "Polars text", pl.DataFrame(X, schema=NAMES).cast(pl.String), None
    yield "Polars category", pl.DataFrame(X, schema=NAMES).cast(pl.String).cast(pl.Categorical), None
    yield "Polars nulls", pl.DataFrame(X, schema=NAMES).with_columns(a=pl.lit(None)), False
    yield (
        "Polars null entry",
        pl.DataFrame(X, schema=NAMES).with_columns(a=pl.when(pl.col("a") > pl.col("a").min()).then("a")),
        False,
    )
    yield "Polars times", pl.DataFrame(X, schema=NAMES).with_columns(a=pl.lit("2026-01-01").str.to_date()), False
    yield "Polars lists", pl.DataFrame(X, schema=NAMES).with_columns(a=pl.concat_list("a")), False
    yield "Polars structs", pl.DataFrame(X, schema=NAMES).with_columns(a=pl.struct("a", "b")), False
    yield "Polars bytes", pl.DataFrame(X, schema=NAMES).with_columns(a=pl.lit(b"x")), False
    yield (
        "Polars objects",
        pl.DataFrame({n: pl.Series(X[:, j].tolist(), dtype=pl.Object) for j, n in enumerate(NAMES)}),
        None,
    )
    yield "Polars no rows", pl.DataFrame(X[:0], schema=NAMES), False
    yield "dict", {n: X[:, j] for j, n in enumerate(NAMES)}, False
    yield "dict of rows", [dict(zip(NAMES, row, strict=True)) for row in X], False
    yield "generator", (row for row in X), False
    yield "iterator", iter(X), False
    yield "map", map(list, X), False
    yield "set", {1, 2}, False
    yield "None", None, False
    yield "number", 3, False
    yield "text", "there is no such file", False
    yield "bytes", b"\1\2", False
    yield "path", Path("there is no such file"), False
    yield "folder", folder, False
    yield "function", len, False
    yield "class", np.ndarray, False
    yield "one axis", X[0], False
    yield "three axes", X[None], False
    yield "no axis", np.array(1.0), False
    yield "no rows", X[:0], False
    yield "no columns", X[:, :0], False
    yield "one row", X[:1], None
    yield "ragged", [[1.0, 2.0, 3.0], [1.0, 2.0]], False
    yield "ragged object", np.array([[1.0, 2.0, 3.0], [1.0]], dtype=object), False
    yield "nested", [[[1.0], [2.0], [3.0]]], False
    yield "empty list", [], False
    yield "list of empty lists", [[], []], False
    yield "list of text", ["a", "b"], False
    yield "list of None", [None, None], False
    yield "list of paths", [Path("a.png")], False
    yield "itself", _itself(), False
    for value in (np.nan, np.inf, -np.inf, 1e39, -1e300):
        changed = X.copy()
        changed[5, 1] = value
        yield f"with {value}", changed, False
    yield "tiny", X * 1e-310, None
    yield "huge", X * 1e36, None
    yield "sparse", _sparse(X), None
    yield "array protocol", _Protocol(X), True
    yield "broken protocol", _Broken(), False
    yield "sequence protocol", _Sequence(X), None
    for suffix in ("csv", "tsv", "parquet", "npy", "npz"):
        yield suffix, _written(X, folder, suffix), True


def _itself():
    found = []
    found.append(found)
    return found


def _sparse(X):
    import scipy.sparse

    return scipy.sparse.csr_matrix(X)


class _Protocol:
    def __init__(self, X):
        self.X = X

    def __array__(self, dtype=None, copy=None):
        return self.X.astype(dtype or float)


class _Broken:
    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("no array\nto be had")


class _Sequence:
    def __init__(self, X):
        self.X = X

    def __len__(self):
        return len(self.X)

    def __getitem__(self, place):
        return self.X[place].tolist()


def _written(X, folder, suffix):
    path, frame = folder / f"rows.{suffix}", pl.DataFrame(X, schema=NAMES)
    match suffix:
        case "csv":
            frame.write_csv(path)
        case "tsv":
            frame.write_csv(path, separator="\t")
        case "parquet":
            frame.write_parquet(path)
        case "npy":
            np.save(path, X)
        case "npz":
            np.savez(path, X=X)
    return path


def test_every_container_of_vectors(judge, models, tmp_path):
    (tmp_path / "pictures").mkdir()
    for name, method in itertools.product(("vae", "named", "numbered", "counts"), ("transform", "score_samples")):
        model, given = models[name]
        X, right = np.asarray(given), getattr(model, method)(given)
        for container, rows, same in containers(X, tmp_path / "pictures"):

            def check(answer, same=same, right=right):
                assert np.isfinite(answer).all()
                if same:
                    assert np.array_equal(answer, right)

            judge(
                f"{name}.{method}({container})",
                lambda model=model, method=method, rows=rows: getattr(model, method)(rows),
                check,
                contract=CONTRACT,
                must="refuse" if same is False else None,
            )


def test_fits_of_every_container(judge, tmp_path):
    (tmp_path / "pictures").mkdir()
    of_its_own = ("pandas more", "pandas fewer", "three axes")  # which another model can be fitted on
    for container, rows, same in containers(ROWS, tmp_path / "pictures"):
        judge(
            f"VAE().fit({container})",
            lambda rows=rows: om.VAE(**TINY).fit(rows).transform(rows),
            finite_features if same else None,
            contract=CONTRACT,
            must="refuse" if same is False and not container.startswith(of_its_own) else None,
        )


def finite_features(answer):
    assert answer.shape == (len(ROWS), 2) and np.isfinite(answer).all()

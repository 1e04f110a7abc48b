"""What all tests share: compiled programs, files of the data folder, and a watch over global state."""

import collections
import datetime
import gc
import importlib.metadata
import io
import itertools
import os
import shutil
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

# Compiling takes most of the time, so what one test, worker or run compiled serves the others, however
# quick it was. Programs are kept for a week, for one version of JAX and Python; so once a week a run is cold.
_WEEK = "{}-{:02}".format(*datetime.date.today().isocalendar()[:2])
_KEPT = Path(os.environ.get("OMOKAGE_TEST_CACHE") or Path(tempfile.gettempdir()) / "omokage-test-cache")
_SORT = f"python{sys.version_info[0]}.{sys.version_info[1]}-jaxlib{importlib.metadata.version('jaxlib')}-"
_NAME = _SORT + _WEEK
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    for old in _KEPT.iterdir() if _KEPT.is_dir() else ():
        if old.name.startswith(_SORT) and old.name != _NAME:  # those of other versions are in use elsewhere
            shutil.rmtree(old, ignore_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(_KEPT / _NAME)
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
# XLA compiles three times as fast without its optimisations. The programs compute the same but for rounding, only more
# slowly. Tests that compare bits or train for long are marked `optimised`; `make test-slow` runs them without flags.
_QUICK = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
os.environ.setdefault("XLA_FLAGS", f"{_QUICK} --xla_cpu_parallel_codegen_split_count=1")
os.environ.setdefault("OMOKAGE_CACHE", tempfile.mkdtemp(prefix="omokage-tests-"))

DATA = Path(os.environ["OMOKAGE_DATA"]) if os.environ.get("OMOKAGE_DATA") else None


def pytest_addoption(parser):
    parser.addoption("--cost", action="store_true", help="print the CPU seconds of each test file, the dearest first")


def pytest_collection_finish():
    """Look for garbage less often: tracing makes many small objects, and collecting took a tenth of all time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item):
    item.began = time.process_time()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if call.when == "teardown":
        report.user_properties.append(("cost", time.process_time() - item.began))
    return report


def pytest_terminal_summary(terminalreporter, config):
    if not config.getoption("--cost"):
        return
    costs = collections.Counter()
    for report in itertools.chain(*terminalreporter.stats.values()):
        if getattr(report, "when", "") == "teardown":
            costs[report.nodeid.split("::")[0]] += dict(report.user_properties)["cost"]
    terminalreporter.section("CPU seconds")
    for file, cost in costs.most_common():
        terminalreporter.write_line(f"{cost:8.1f} {file}")
    terminalreporter.write_line(f"{costs.total():8.1f} in all")


@pytest.fixture(scope="session")
def needs():
    """Return a function that gives a file of the data folder, or skips the test with a message."""

    def file(*parts: str) -> Path:
        if DATA is None or not DATA.joinpath(*parts).exists():
            pytest.skip(f"needs {'/'.join(parts)} in the folder that OMOKAGE_DATA names")
        return DATA.joinpath(*parts)

    return file


@pytest.fixture(autouse=True)
def global_state_stays():
    """Fail the test that changes global state: NumPy's generator, warning filters, precision, the working folder."""
    import jax

    import omokage.estimators
    import omokage.files.opening  # noqa: F401
    from omokage.compilation import make_room

    jax.devices()  # and so does starting the backend

    def state():
        return (
            np.random.get_state()[1].tolist(),  # noqa: NPY002 - the very thing that must not change
            np.get_printoptions(),
            set(map(str, warnings.filters)),  # a library's import may put one that is there at the front
            jax.config.jax_enable_x64,
            Path.cwd(),
            {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"},
        )

    before = state()
    yield
    make_room()  # for tests that compile and make no estimator
    after = state()
    names = (
        "NumPy's global generator",
        "print options",
        "warning filters",
        "x64",
        "working folder",
        "environment",
    )
    changed = [name for name, old, new in zip(names, before, after, strict=True) if old != new]
    filters = before[2] ^ after[2]
    variables = set(after[-1].items()) ^ set(before[-1].items())
    assert not changed, f"the test changed {', '.join(changed)}: {filters | variables}"


@pytest.fixture
def command(monkeypatch, capsys):
    """Run a command line in this process; return exit status, standard output and standard error."""
    from omokage import cli

    def run(*words, stdin=None):
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["omokage", *map(str, words)])
            patch.setattr(warnings, "formatwarning", warnings.formatwarning)
            if stdin is not None:
                patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
            with pytest.raises(SystemExit) as ended:
                cli.main()
                raise SystemExit(0)
        return (ended.value.code or 0, *capsys.readouterr())

    return run

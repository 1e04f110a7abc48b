"""The wheel builds, holds what it needs, and runs in an empty environment."""

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

FIRST_USE = """
import numpy as np, omokage as om
X = np.random.default_rng(0).normal(size=(100, 3))
vae = om.VAE(2, hidden=(8,), epochs=2, verbose=0).fit(X)
vae.save("model")
assert (om.load("model").transform(X) == vae.transform(X)).all()
"""


@pytest.mark.slow
def test_the_wheel_installs_and_runs_in_an_empty_environment(tmp_path):
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, ROOT], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert "omokage/py.typed" in names
    assert "omokage/templates/report.html.jinja" in names
    assert not [name for name in names if name.startswith(("tests", "docs", "benchmarks"))]

    venv.create(tmp_path / "env", with_pip=True)
    folder = tmp_path / "env" / ("Scripts" if os.name == "nt" else "bin")
    python = folder / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel], check=True)
    environment = {**os.environ, "OMOKAGE_CACHE": str(tmp_path / "cache")}
    environment.pop("PYTHONPATH", None)
    for command in (
        [python, "-c", FIRST_USE],
        [folder / "omokage", "--version"],
        [folder / "omokage", "info", "model"],
    ):
        subprocess.run(command, check=True, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL)

"""What a notebook and an interactive session show: figures, results as HTML, names to complete."""

import subprocess
import sys

import pytest

import omokage as om


def run(program):
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)


@pytest.mark.parametrize("name", ["plots", "report", "priors", "datasets"])
def test_the_face_has_its_parts_without_another_import(name):
    program = f"""
import sys
import omokage as om
assert "{name}" in dir(om) and not {{"jax", "matplotlib"}} & sys.modules.keys()
print(om.{name}.__name__)
"""
    assert run(program).stdout.strip().endswith(name)


def test_what_can_be_completed_is_what_is_meant_to_be_used():
    offered = [name for name in dir(om) if not name.startswith("_")]
    assert offered == sorted(om.__all__) and len(set(offered)) == len(offered)
    assert all(getattr(om, name) is not None for name in offered)

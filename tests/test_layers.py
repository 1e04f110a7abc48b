"""Layers: a module imports lower ones only, and starting is quick because what is heavy is loaded when it is used."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import omokage

ROOT = Path(omokage.__file__).parent

# The lowest layer first. An entry is a module, or a folder with all that it holds, whose files may import one another.
LAYERS = [
    ["batch", "compilation", "errors", "memory", "paths", "settings", "special", "storage", "supports", "tables"],
    ["files"],
    ["data", "distributions", "nets"],
    ["codec", "density", "flow_matching", "flows"],
    ["adapter", "kl"],
    ["likelihoods", "posteriors", "priors"],
    ["bounds", "model", "weights"],
    ["completion", "draws", "objectives", "optimizers", "summary"],
    [
        "annealing",
        "checkpoints",
        "conditioning",
        "diagnostics",
        "ensemble",
        "imputation",
        "inference",
        "progress",
        "questions",
        "rehearsal",
        "training",
    ],
    ["build", "fitted", "latent_density", "names", "saving", "trial"],
    ["detection"],
    ["estimators"],
    ["__main__", "classic", "cli", "commands", "demo", "experiments", "plots", "report", "synthetic", "testing"],
]
# What imports a module of its own layer, and which.
BESIDE = {
    "batch": {"memory"},
    "compilation": {"errors"},
    "memory": {"errors"},
    "settings": {"errors"},
    "paths": {"errors"},
    "storage": {"errors", "paths"},
    "supports": {"errors"},
    "flow_matching": {"density"},
    "flows": {"density"},
    "priors": {"posteriors"},
    "annealing": {"inference", "questions"},
    "conditioning": {"inference", "questions"},
    "inference": {"questions"},
    "questions": {"imputation"},
    "checkpoints": {"training"},
    "bounds": {"model"},
    "training": {"rehearsal"},
    "build": {"names"},
    "fitted": {"build"},
    "saving": {"build", "fitted"},
    "report": {"plots"},
    "classic": {"plots"},
    "demo": {"plots", "report"},
    "experiments": {"classic", "plots", "report"},
    "synthetic": {"plots", "report"},
    "commands": {"demo", "experiments", "report", "synthetic"},
    "cli": {"commands"},
    "__main__": {"cli"},
}
PLANNED: set[str] = set()
LAYER = {entry: number for number, entries in enumerate(LAYERS) for entry in entries}


def modules() -> dict[str, Path]:
    """Return the modules of the package by their names within it; that of the package itself is empty."""
    names = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


def imports(tree: ast.AST, module: str, is_package: bool, known: set[str]) -> dict[str, int]:
    """Return which modules of the package are imported anywhere in a file, and on which line first."""
    found: dict[str, int] = {}

    def note(name: str, line: int) -> None:
        if name == "omokage" or name.startswith("omokage."):
            found.setdefault(name.removeprefix("omokage").removeprefix("."), line)

    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                note(alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = ["omokage", *module.split(".")]
                package = package[: len(package) + is_package - node.level]
                base = ".".join([*package, *filter(None, [node.module])])
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                if base == "omokage" and alias.name == "__version__":
                    continue  # a constant, the one thing that the face holds itself
                note(inner if inner.removeprefix("omokage.") in known else base, node.lineno)
    return found


def allowed(module: str, target: str) -> bool:
    """Say whether a module may import another."""
    here, there = module.split(".")[0], target.split(".")[0]
    if here == there:  # of one folder
        return True
    return LAYER[there] < LAYER[here] or there in BESIDE.get(here, set())


def test_every_module_has_a_layer():
    missing = sorted({name.split(".")[0] for name in modules()} - {""} - LAYER.keys())
    assert not missing, f"give {missing} a place in LAYERS, and in docs/architecture.md: above all that they import"


def test_every_entry_of_the_table_is_used():
    names = {name.split(".")[0] for name in modules()}
    assert LAYER.keys() - names <= PLANNED, "LAYERS names modules that there are not"
    assert BESIDE.keys() <= LAYER.keys()
    for here, others in BESIDE.items():
        assert all(LAYER[here] == LAYER[other] for other in others), f"BESIDE[{here!r}]: not of one layer"


def test_the_documentation_has_the_same_table():
    path = Path(__file__).parents[1] / "docs" / "architecture.md"
    if not path.exists():
        pytest.skip("needs docs/architecture.md")
    rows = re.findall(r"^\| (\d+) \| ([^|]*) \|", path.read_text(encoding="utf-8"), re.MULTILINE)
    documented = {int(number): {name.rstrip("/") for name in re.findall(r"`([^`]+)`", names)} for number, names in rows}
    optional = {"__main__"} | PLANNED
    for number, entries in enumerate(LAYERS):
        assert documented[number] | optional == set(entries) | optional, f"layer {number} of docs/architecture.md"


@pytest.mark.parametrize("module", sorted(set(modules()) - {""}))
def test_a_module_imports_lower_layers_only(module):
    known = modules()
    path = known[module]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for target, line in imports(tree, module, path.name == "__init__.py", set(known)).items():
        place = f"{path.relative_to(ROOT)}, line {line}"
        assert target, f"{place}: imports the package's face, which loads everything; import the module that is meant"
        assert allowed(module, target), f"{place}: {module} must not import {target}, which is not below it"


def test_the_face_imports_nothing_when_it_is_imported():
    tree = ast.parse((ROOT / "__init__.py").read_text(encoding="utf-8"))
    lazily = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    tree.body = [node for node in tree.body if node not in lazily]
    assert imports(tree, "", True, set(modules())) == {}
    assert len(lazily) == 1


def test_the_parser_of_imports_sees_every_form():
    text = """
import omokage.cli
import omokage.data.rows as rows, json
from omokage import __version__, build
from omokage.errors import DataError
from . import encoded
from .rows import MemoryRows
from ..model import Model
if TYPE_CHECKING:
    from omokage.training import Plan
def lazily():
    from omokage import load
"""
    found = imports(ast.parse(text), "data.table", False, set(modules()))
    assert found.keys() == {
        "cli", "data.rows", "build", "errors", "data.encoded", "model", "training", "",
    }  # fmt: skip
    package = imports(ast.parse("from .mlp import MLP\nfrom .. import batch"), "nets", True, set(modules()))
    assert package.keys() == {"nets.mlp", "batch"}


def test_the_rule_refuses_what_it_should():
    assert allowed("data.table", "data.rows")
    assert allowed("nets.mlp", "errors")
    assert allowed("priors", "density")
    assert allowed("demo", "report")
    for module, target in [
        ("data.table", "nets.mlp"),
        ("nets.layers", "data"),
        ("model", "training"),
        ("objectives", "training"),
        ("training", "checkpoints"),
        ("density", "priors"),
        ("posteriors", "priors"),
        ("plots", "report"),
        ("report", "cli"),
        ("errors", "storage"),
    ]:
        assert not allowed(module, target), (module, target)


HEAVY = ("jax", "jaxlib", "sklearn", "polars", "pandas", "numpyro", "matplotlib", "equinox", "optax", "scipy")


@pytest.mark.parametrize("module", ["omokage", "omokage.cli"])
def test_starting_loads_nothing_heavy(module):
    program = f"import sys, {module}; print(*[name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, [], "")

"""Everything shown is run: examples in docstrings, and the Python in the README and the docs."""

import dataclasses
import doctest
import importlib
import pkgutil
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import numpyro.distributions as dist
import pytest

import omokage
from omokage.errors import ParameterError

ROOT = Path(__file__).parent.parent
MODULES = [
    module.name
    for module in pkgutil.walk_packages(omokage.__path__, "omokage.")
    if module.name not in ("omokage.__main__", "omokage.cli")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name):
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.failed == 0


PAGES = {name: (ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("extend.md", "choose.md")}
MODELS = "Models of the literature"


def blocks():
    """Return the code blocks of these pages, with a name of their own; those with a long check are slow."""
    for page, text in PAGES.items():
        for number, block in enumerate(re.findall(r"```python\n(.*?)```", text, re.DOTALL)):
            marks = [pytest.mark.slow] if re.search("check_prior|check_posterior|check_network", block) else []
            yield pytest.param(page, block, marks=marks, id=f"{page}-{number}")


@pytest.mark.parametrize("page, block", list(blocks()))
def test_each_block_runs_as_a_file_of_its_own(page, block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(block, page, "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize(
    "page",
    ["README.md", "README.ja.md", "docs/data.md", "docs/anomalies.md", "docs/conditional.md", "docs/synthetic.md"],
)
def test_python_in_pages(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    exec(compile("\n".join(blocks), page, "exec"), {})


def rows_of(heading):
    """Return the code in the rows of the table below a heading of the page on members."""
    section = PAGES["choose.md"].split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [re.search(r"`(om\.(?:VAE|AutoEncoder)\(.*?)`", row)[1] for row in rows]


def names():
    """Return what the code of a table may say: small estimators, and data of each kind."""
    random, small = np.random.default_rng(0), {"latent_dim": 5, "epochs": 1, "verbose": 0, "hidden": (8,)}
    series = [random.normal(size=(steps, 2)) for steps in random.integers(5, 9, 40)]
    series[3][2] = np.nan
    modules = {name: getattr(omokage, name) for name in ("likelihoods", "posteriors", "priors", "objectives")}

    def made(kind):
        return lambda **settings: kind(**(small | settings))

    return {
        "om": SimpleNamespace(VAE=made(omokage.VAE), AutoEncoder=made(omokage.AutoEncoder), **modules),
        "dist": dist,
        "X": random.normal(size=(60, 6)),
        "y": random.integers(0, 4, 60),
        "series": series,
        "counts": random.poisson(3.0, (60, 6)),
        "levels": random.integers(0, 256, (60, 6)),
        "grey": random.random((60, 6)),
    }


QUICK = ("om.AutoEncoder()", 'om.VAE(posterior="point"')  # the others with the slow tests


@pytest.mark.parametrize(
    "code",
    [code if code.startswith(QUICK) else pytest.param(code, marks=pytest.mark.slow) for code in rows_of(MODELS)],
)
def test_models_of_the_literature_are_these_lines(code):
    given = names()
    rows = next((name for name in ("series", "counts", "levels", "grey") if f"({name}" in code), "X")
    context = {"context": given["y"]} if "context=" in code else {}
    model = eval(code, given)
    model = model if hasattr(model, "model_") else model.fit(given[rows])
    assert np.isfinite(model.score_samples(given[rows], **context)).all()
    drawn = model.sample(3, **({"context": 2} if context else {}))
    assert len(drawn) == 3
    assert all(np.isfinite(row).all() for row in drawn)
    assert np.isfinite(model.transform(given[rows], **context)).all()


@pytest.mark.parametrize("code", rows_of("Combinations that are refused"))
def test_what_is_said_to_be_refused_is(code):
    given = names()
    with pytest.raises(ParameterError):
        eval(code, given).fit(given["counts" if "Poisson()" in code else "X"])


def test_each_source_of_the_page_on_members_is_listed():
    text, listed = PAGES["choose.md"].split("## Sources")
    cited = set(re.findall(r"\b([A-Z][\w-]+|van den Oord) (\d{4}b?)\b", text))
    known = {
        (name, year) for line in listed.splitlines() for name in [line[2:]] for year in re.findall(r"\d{4}b?", line)
    }
    missing = [f"{name} {year}" for name, year in cited if not any(k.startswith(name) and y == year for k, y in known)]
    assert cited
    assert not missing


def test_the_japanese_readme_is_in_step():
    """The same code, commands, links and headings; only sentences differ."""
    english, japanese = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.ja.md"))

    def skeleton(text):
        lines = [
            re.sub(r"\s+#.*", "", line)
            for block in re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)
            for line in block.splitlines()
        ]
        links = {link.replace(".ja.", ".") for link in re.findall(r"\]\(([^)]+)\)", text) if "README" not in link}
        return lines, links, len(re.findall(r"^## ", text, re.MULTILINE)), len(re.findall(r"^\|", text, re.MULTILINE))

    assert skeleton(english) == skeleton(japanese)


def test_the_readme_names_no_command_that_does_not_exist():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = set(re.findall(r"^make (\S+)", text, re.MULTILINE))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert targets
    assert all(f"\n{target}:" in makefile for target in targets)


def test_the_configuration_in_the_docs_is_sound():
    import tomllib

    from omokage.build import from_table
    from omokage.settings import VAESettings, check

    text = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    values = {}
    for block in blocks:
        values |= {name: from_table(name, v) if isinstance(v, dict) else v for name, v in tomllib.loads(block).items()}
    assert check(VAESettings, values).hidden == (128, 64)
    assert values["objective"].beta == 4
    assert (values["data"].series, values["data"].time) == ("engine", "cycle")


def _tables(page, heading):
    """Return the rows of the tables on a page whose header has this in it, as one text."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    return "".join(table for table in tables if heading in table.splitlines()[0])


NAMED = ("likelihood", "prior", "posterior", "objective", "network", "optimizer", "schedule", "standardize")


@pytest.mark.parametrize("parameter", [*NAMED, "activation", "normalization", "initializer"])
def test_every_name_stands_in_the_page_on_members(parameter):
    """With its purpose: in a row of the table of this parameter."""
    from omokage import names
    from omokage.settings import AutoEncoderSettings, VAESettings, _names

    known = {
        name
        for kind in (VAESettings, AutoEncoderSettings)
        if parameter in kind.model_fields
        for name in _names(kind, parameter)
    }
    known |= set(names._CLASSES.get(parameter, ()))
    table = _tables("choose.md", f"`{parameter}=`") if parameter in NAMED else _tables("choose.md", "parameter")
    assert len(known) >= 2
    assert not [name for name in sorted(known) if f'`"{name}"`' not in table]


@pytest.mark.parametrize("module", ["likelihoods", "priors", "posteriors", "objectives", "nets"])
def test_every_public_class_stands_in_the_page_on_members(module):
    home = importlib.import_module(f"omokage.{module}")
    needs = {"objectives": "__call__", "nets": "kinds"}.get(module, "distribution")
    public = [
        name
        for name, value in vars(home).items()
        if dataclasses.is_dataclass(value)
        and value.__module__.startswith(f"omokage.{module}")
        and hasattr(value, needs)
        and (not hasattr(home, "__all__") or name in home.__all__)
    ]
    table = _tables("choose.md", f"`{'network' if module == 'nets' else module.removesuffix('s')}=`")
    assert len(public) >= 4
    assert not [name for name in public if f"{name}(" not in table]


def test_every_score_stands_in_the_page_on_anomalies():
    from typing import get_args

    from omokage.settings import Score

    table = _tables("anomalies.md", "name")
    assert not [name for name in get_args(Score) if f'`"{name}"`' not in table]

"""Everything shown is run: examples in docstrings, and the Python in the README and the docs."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import omokage

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


@pytest.mark.parametrize("page", ["README.md", "README.ja.md", "docs/architecture.md", "docs/data.md"])
def test_python_in_pages(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    exec(compile("\n".join(blocks), page, "exec"), {})


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

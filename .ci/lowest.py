"""Print the lowest version that pyproject.toml allows of each dependency, as constraints of pip."""

import re
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text("utf-8"))["project"]
for dependency in project["dependencies"] + project["optional-dependencies"]["dev"]:
    name, version = re.match(r"([\w-]+)>=([\d.]+)", dependency).groups()
    print(f"{name}=={version}")

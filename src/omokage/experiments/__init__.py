"""Five documents on autoencoders, done again: a page of code and a file of settings for each.

    classic             a VAE class for Chainer, and its questions on Gaussian decoders
    sequence            a recurrent VAE of pictures that are read row by row
    pca                 nonlinear autoencoders and VAEs against principal components
    theory              an autoencoder and a VAE of the textbooks, by their losses
    any-distribution    a simple loss that collapses, and the right one
    results             what they share: settings, the table, pictures, the report

An experiment trains, measures, and leaves a folder with its pictures, a table (what the document says, what came out,
by which command) and a report that shows all of it.
"""

import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from omokage.errors import ParameterError, suggest

NAMES = ("classic", "sequence", "pca", "theory", "any-distribution")


def settings_of(name: str, quick: bool = False) -> dict[str, Any]:
    """Return the settings of an experiment; with `quick`, those of `[quick]` stand in for all of the same name."""
    file = resources.files("omokage.experiments").joinpath(f"{name.replace('-', '_')}.toml")
    settings = tomllib.loads(file.read_text(encoding="utf-8"))
    few = settings.pop("quick")

    def replaced(values: Mapping[str, Any]) -> dict[str, Any]:
        found = {key: replaced(value) if isinstance(value, dict) else value for key, value in values.items()}
        return found | {key: few[key] for key in few.keys() & found.keys()} if quick else found

    return replaced(settings)


def listed() -> list[tuple[str, str, str]]:
    """Return the name, the document and the question of each experiment.

    Example:
        >>> [name for name, document, question in listed()]
        ['classic', 'sequence', 'pca', 'theory', 'any-distribution']
    """
    settings = {name: settings_of(name) for name in NAMES}
    return [(name, settings[name]["document"], settings[name]["question"]) for name in NAMES]


def reproduce(name: str, out: Path | None = None, *, seed: int = 0, quick: bool = False, verbose: int = 1) -> Path:
    """Run an experiment and write its folder.

    Args:
        name: One of `NAMES`.
        out: The folder; by default `omokage-reproduce/<name>`.
        seed: Of everything random.
        quick: Take few rows and epochs, in seconds: the same code, but figures that mean nothing.
        verbose: 0: silent, 1: progress and the table.

    Returns:
        The report.

    Raises:
        ParameterError: If there is no such experiment, or the seed is none.
        FileFormatError: If the data cannot be had, or the folder not be written to.
    """
    if name not in NAMES:
        raise ParameterError(f"name: expected one of {', '.join(NAMES)}; got {name!r}.{suggest(name, NAMES)}")
    if not 0 <= seed < 2**32:
        raise ParameterError(f"seed: expected a whole number from 0 to 2**32 - 1; got {seed}.")

    from omokage.experiments import any_distribution, classic, pca, sequence, theory
    from omokage.experiments.results import Results

    run = {
        "classic": classic.run,
        "sequence": sequence.run,
        "pca": pca.run,
        "theory": theory.run,
        "any-distribution": any_distribution.run,
    }[name]
    results = Results(name, Path("omokage-reproduce", name) if out is None else out, seed, quick, verbose)
    run(results)
    return results.finish()

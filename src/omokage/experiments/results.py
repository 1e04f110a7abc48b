"""What all experiments share: settings from a file, estimators made of them, and what goes into the folder."""

import io
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from omokage import __version__
from omokage.build import from_table
from omokage.data.datasets import Dataset, load
from omokage.errors import FileFormatError
from omokage.experiments import settings_of
from omokage.report import Picture, Section, Table, write_report
from omokage.storage import replace_file

_QUICK = (
    "A quick run, with few rows and epochs: it shows that everything works, and its figures cannot be compared with "
    "the document's."
)
COLUMNS = ("figure", "document", "ours", "epochs", "seconds", "seed", "command")


class Results:
    """An experiment on its way: its settings, and the table, sections and pictures so far.

    Attributes:
        settings: Of the TOML file of the experiment.
        folder: Where everything is written.
        seed: Of everything random.
    """

    def __init__(self, name: str, folder: Path, seed: int, quick: bool, verbose: int):
        """Read the settings and make the folder, before anything takes time."""
        self.settings = settings_of(name, quick)
        self.name, self.folder, self.seed, self.quick, self.verbose = name, folder, seed, quick, verbose
        self._rows: list[tuple[str, ...]] = []
        self._sections: list[Section] = []
        self._tables: list[Table] = []
        self._began = time.monotonic()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            problem = "there is a file of that name" if folder.is_file() else error.strerror or error
            raise FileFormatError(f"out: expected a folder to write to; got {str(folder)!r} ({problem}).") from None

    @property
    def command(self) -> str:
        """What makes these results."""
        seed, quick = f" --seed {self.seed}" if self.seed else "", " --quick" if self.quick else ""
        return f"omokage reproduce {self.name}{seed}{quick}"

    def mnist(self, split: str) -> Dataset:
        """Return MNIST, as many of its first rows as the settings want."""
        data = load("mnist", split)
        rows = slice(self.settings[f"{split}_rows"])
        return replace(data, X=data.X[rows], y=data.y[rows])

    def make(self, kind: Any, settings: str, **more: Any) -> Any:
        """Return an estimator with a table of the settings file, and what else is given."""
        chosen = self.settings[settings] | more
        made = {name: from_table(name, value) if isinstance(value, dict) else value for name, value in chosen.items()}
        shown = {name: value if isinstance(value, int | str) else type(value).__name__ for name, value in more.items()}
        self.say(f"{self.name}: {settings}" + "".join(f", {name} {value}" for name, value in shown.items()))
        return kind(**made, random_state=self.seed, verbose=self.verbose)

    def fit(self, kind: Any, settings: str, X: Any, X_valid: Any = None, **more: Any) -> Any:
        """Return such an estimator, fitted."""
        return self.make(kind, settings, **more).fit(X, X_valid=X_valid)

    def add(
        self, figure: str, document: str, ours: str, history: Sequence[Mapping[str, Any]] = (), *, exact: bool = False
    ) -> None:
        """Add a row to the table.

        Args:
            figure: What it is, of which model.
            document: What the document says; "" where it says nothing.
            ours: What came out.
            history: Records of the model, for epochs and seconds.
            exact: Whether it is the same however many rows and epochs there are; the document's other figures stand in
                brackets in a quick run.
        """
        if self.quick and document and not exact:
            document = f"({document})"
        seconds = f"{sum(record['seconds'] for record in history):.0f}" if history else ""
        epochs = str(len(history)) if history else ""
        self._rows.append((figure, document, ours, epochs, seconds, str(self.seed), f"`{self.command}`"))

    def picture(self, name: str, figure: Figure, caption: str) -> Picture:
        """Write a figure as a PNG file, and return it for a section."""
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=150)
        replace_file(self.folder / f"{name}.png", content.getvalue())
        return Picture(figure, name.replace("-", " "), caption)

    def section(self, heading: str, text: Sequence[str], pictures: Sequence[Picture] = (), **more: Any) -> None:
        """Add a section to the report; `table` and `clouds` may come with it."""
        self._sections.append(Section(heading, text, pictures, **more))

    def table(self, heading: str, columns: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> None:
        """Add a section that is a table, which also stands below the other in what is printed."""
        table = Table(columns, rows, f"{caption}; {self.command}, seed {self.seed}.")
        self._tables.append(table)
        self.section(heading, [], table=table)

    def finish(self) -> Path:
        """Write the table and the report, show the table, and return the path of the report."""
        where = f"omokage {__version__}, JAX {metadata.version('jax')}, {os.cpu_count()} CPU cores"
        caption = f"{where}; {time.monotonic() - self._began:.0f} seconds in all."
        if self.quick:
            caption = f"{_QUICK} The document's figures stand in brackets. {caption}"
        table = Table(COLUMNS, self._rows, caption)
        text = "\n\n".join(markdown(one) for one in (table, *self._tables)) + "\n"
        replace_file(self.folder / "table.md", text.encode())
        lead = self.settings["question"]
        if self.quick:
            lead += f" {_QUICK}"
        # In the report there is less room, and all rows have the same seed and command.
        short = Table(COLUMNS[:-2], [row[:-2] for row in self._rows], f"{self.command}, seed {self.seed}. {caption}")
        report = write_report(
            self.folder / "report.html", self.settings["document"], self._sections, lead=lead, key_figures=short
        )
        self.say(f"\n{text}\n{report}")
        return report

    def say(self, text: str) -> None:
        """Print a text, unless nothing shall be shown."""
        if self.verbose:
            print(text, flush=True)


def markdown(table: Table) -> str:
    """Return a table as Markdown, in columns that can also be read as they are.

    Example:
        >>> print(markdown(Table(["a", "b"], [["1", "22"]], "Below.")))
        | a | b  |
        | - | -- |
        | 1 | 22 |
        <BLANKLINE>
        Below.
    """
    rows = [list(table.columns), *(list(row) for row in table.rows)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(table.columns))]
    rows.insert(1, ["-" * width for width in widths])
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    return "\n".join(lines) + (f"\n\n{table.caption}" if table.caption else "")

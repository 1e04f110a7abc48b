"""What training shows: a bar on a terminal, a few plain lines elsewhere."""

import sys
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

_LINES = 20


class Bar:
    """A progress bar with the terms, rows a second and the time left; only on a terminal."""

    def __init__(self, epochs: int, console: Console):
        self._progress = Progress(
            TextColumn("epoch {task.fields[epoch]:>4}/{task.fields[epochs]}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[text]}"),
            TimeRemainingColumn(),
            console=console,
            transient=False,
        )
        self._task = self._progress.add_task("", total=epochs, epoch=1, epochs=epochs, text="compiling")

    def __enter__(self) -> "Bar":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def advance(self, epoch: int, share: float) -> None:
        """Show that so much of an epoch is done."""
        self._progress.update(self._task, completed=epoch - 1 + share, epoch=epoch)

    def epoch(self, record: dict[str, Any]) -> None:
        """Show the record of an epoch."""
        self._progress.update(self._task, completed=record["epoch"], epoch=record["epoch"], text=_terms(record))


class Lines:
    """About twenty lines in the course of training, for logs and notebooks; or none."""

    def __init__(self, epochs: int, lines: int = _LINES):
        self._epochs, self._lines = epochs, lines

    def __enter__(self) -> "Lines":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def advance(self, epoch: int, share: float) -> None:
        """Show nothing."""

    def epoch(self, record: dict[str, Any]) -> None:
        """Print the record of an epoch, if it is its turn."""
        number = record["epoch"]
        if self._lines and (number in (1, self._epochs) or number % max(1, self._epochs // self._lines) == 0):
            print(f"epoch {number:>4}/{self._epochs}  {_terms(record)}", flush=True)


def display(epochs: int, verbose: int) -> Bar | Lines:
    """Return what suits the place where the program runs."""
    if not verbose:
        return Lines(epochs, lines=0)
    console = Console(file=sys.stderr)
    return Bar(epochs, console) if console.is_terminal else Lines(epochs)


def _terms(record: dict[str, Any]) -> str:
    shown = [
        f"{name.replace('_', ' ')} {value:.4g}"
        for name, value in record.items()
        if name not in ("epoch", "learning_rate", "seconds", "rows_per_second")
    ]
    return "  ".join([*shown, f"{record['rows_per_second']:,.0f} rows/s"])

"""What training shows: a bar on a terminal, a few plain lines elsewhere; always in nats of raw data."""

import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

_LINES = 20
_TIME_LEFT = 8  # letters


def raw_record(record: Mapping[str, Any], log_jacobian: float) -> dict[str, Any]:
    """Return the record of an epoch with the loss and its reconstruction in nats of raw data, as the scores are.

    A density of standardised data differs from one of raw data by the Jacobian of standardising: a constant, or for
    sequences of unlike lengths its mean over the training series. A loss without a term "reconstruction" is no density,
    and stays as it is.

    Args:
        record: As in `history_`, of standardised data.
        log_jacobian: What to add to a log-density of standardised data, in nats per row.

    Example:
        >>> raw_record({"epoch": 1, "loss": 3.0, "reconstruction": -2.0, "kl": 1.0}, 10.0)
        {'epoch': 1, 'loss': -7.0, 'reconstruction': 8.0, 'kl': 1.0}
    """
    if not is_in_nats(record):
        return dict(record)
    shift = {"loss": -log_jacobian, "reconstruction": log_jacobian}
    terms = {name: name.removeprefix("validation_") for name in record}
    return {name: value + shift[terms[name]] if terms[name] in shift else value for name, value in record.items()}


def raw_history(estimator: Any) -> list[dict[str, Any]]:
    """Return `history_` of a fitted estimator in nats of raw data; see `raw_record`."""
    return [raw_record(record, estimator.schema_.log_jacobian) for record in estimator.history_]


def is_in_nats(record: Mapping[str, Any]) -> bool:
    """Say whether the loss of a record is a log-density, with its sign turned, and not another figure."""
    return "reconstruction" in record


class Bar:
    """A progress bar with the terms, rows a second and the time left; only on a terminal."""

    def __init__(self, epochs: int, console: Console, log_jacobian: float = 0.0):
        label = len(f"epoch {epochs:>4}/{epochs}")
        bar = 24 if console.width >= 100 else 10 if console.width >= 60 else 4
        # What does not fit is left out, not cut: an ellipsis is not in every encoding, and half a number is none.
        self._room = console.width - label - bar - _TIME_LEFT - 3
        self._progress = Progress(
            TextColumn("epoch {task.fields[epoch]:>4}/{task.fields[epochs]}", table_column=_whole(label)),
            BarColumn(bar_width=bar),
            TextColumn("{task.fields[text]}", table_column=_whole(0)),
            TimeRemainingColumn(table_column=_whole(_TIME_LEFT)),
            console=console,
            transient=False,
        )
        self._task = self._progress.add_task("", total=epochs, epoch=1, epochs=epochs, text="compiling")
        self._log_jacobian = log_jacobian

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
        terms = _terms(raw_record(record, self._log_jacobian))
        first = [term for term in terms if term.startswith(("loss", "validation loss"))]
        chosen: list[str] = []
        for term in [*first, *(term for term in terms if term not in first)]:
            if len("  ".join([*chosen, term])) <= self._room:
                chosen.append(term)
        text = "  ".join(sorted(chosen, key=terms.index))
        self._progress.update(self._task, completed=record["epoch"], epoch=record["epoch"], text=text)


class Lines:
    """About twenty lines in the course of training, for logs and notebooks; or none."""

    def __init__(self, epochs: int, lines: int = _LINES, log_jacobian: float = 0.0):
        self._epochs, self._lines, self._log_jacobian = epochs, lines, log_jacobian

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
            text = "  ".join(_terms(raw_record(record, self._log_jacobian)))
            print(f"epoch {number:>4}/{self._epochs}  {text}", flush=True)


def display(epochs: int, verbose: int, log_jacobian: float = 0.0) -> Bar | Lines:
    """Return what suits the place where the program runs.

    Args:
        epochs: How many there will be.
        verbose: 0: nothing is shown.
        log_jacobian: From nats of standardised data, in which records are, to those of raw data, which are shown.
    """
    if not verbose:
        return Lines(epochs, lines=0)
    console = Console(file=sys.stderr)
    moving = console.is_terminal and not console.is_dumb_terminal
    return Bar(epochs, console, log_jacobian) if moving else Lines(epochs, log_jacobian=log_jacobian)


def _whole(width: int) -> Column:
    return Column(no_wrap=True, overflow="crop", min_width=width)


def _terms(record: dict[str, Any]) -> list[str]:
    shown = [
        f"{name.replace('_', ' ')} {value:.4g}"
        for name, value in record.items()
        if name not in ("epoch", "learning_rate", "seconds", "rows_per_second")
    ]
    return [*shown, f"{record['rows_per_second']:,.0f} rows/s"]

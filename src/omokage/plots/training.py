"""How training went."""

from __future__ import annotations  # so that signatures show `ArrayLike`, not the union behind it

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from omokage.errors import DataError
from omokage.plots.style import TRAINING, VALIDATION, blank_figure, legend, plain_axes, titles
from omokage.progress import is_in_nats

_TITLES = {"kl": "KL divergence"}
_NOT_TERMS = {"epoch", "learning_rate", "seconds", "rows_per_second"}


def learning_curve(history: Sequence[Mapping[str, Any]], *, validation: str = "validation") -> Figure:
    """Draw the loss and its terms, epoch by epoch, training beside validation.

    The first epochs may run out at the top: the scale is chosen for what comes after the first tenth.

    Args:
        history: `history_` of an estimator, in nats of standardised data; `omokage.report.raw_history` of it, in nats
            of raw data; or records like it. A loss without a reconstruction has no unit.
        validation: What the second line is called.

    Returns:
        A figure with one panel for the loss and one for each term, with one or two lines each.

    Raises:
        DataError: If there is no record.

    Example:
        >>> len(learning_curve([{"epoch": 1, "loss": 3.0}, {"epoch": 2, "loss": 2.0}]).axes)
        1
    """
    if not history:
        raise DataError("history: expected at least one record, such as those of `history_` after `fit`; got none.")
    unit = "nats per row" if is_in_nats(history[0]) else ""
    names = [name for name in history[0] if name not in _NOT_TERMS and not name.startswith("validation_")]
    names.sort(key=lambda name: name != "loss")
    rows = 1 + math.ceil((len(names) - 1) / 2)
    figure = blank_figure(1.0 + 1.75 * rows)
    cells = figure.add_gridspec(rows, 2)
    for number, name in enumerate(names):
        place = cells[0, :] if number == 0 else cells[(number + 1) // 2, (number + 1) % 2]
        axes = plain_axes(figure.add_subplot(place))
        shown = []
        for key, label, colour in ((name, "training", TRAINING), (f"validation_{name}", validation, VALIDATION)):
            points = [(record["epoch"], record[key]) for record in history if key in record]
            if points:
                epochs, values = zip(*points, strict=True)
                marker = "o" if len(points) < 3 else ""
                style: dict[str, Any] = {"linewidth": 1.6, "linestyle": "-", "solid_capstyle": "butt", "marker": marker}
                axes.plot(epochs, values, color=colour, label=label, clip_on=not marker, **style)  # markers whole
                shown.append(np.array(values, float))
        axes.set_xlim(1, max(len(history), 2))
        axes.set_ylim(*_settled_limits(shown))
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        titles(axes, title=_TITLES.get(name, name.replace("_", " ")), x="epoch", y=unit)
        if number == 0 and len(shown) > 1:
            place_: dict[str, Any] = {"loc": "lower right", "bbox_to_anchor": (1.0, 1.0), "ncols": 2}
            legend(axes, axes.get_lines(), ["training", validation], **place_)
    return figure


def _settled_limits(lines: Sequence[NDArray[np.float64]]) -> tuple[float, float]:
    """Return limits for what comes after the first tenth of each line."""
    late = np.concatenate([line[len(line) // 10 :] for line in lines])
    late = late[np.isfinite(late)] if np.isfinite(late).any() else np.zeros(1)
    margin = 0.08 * (late.max() - late.min()) or 0.5
    return float(late.min() - margin), float(late.max() + margin)

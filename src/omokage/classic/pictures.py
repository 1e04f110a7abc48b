"""Pictures of weights, as matplotlib figures that touch no global state."""

import io
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

_BINS = 50


def weight_plot(arrays: Mapping[str, NDArray[Any]], epoch: int) -> Figure:
    """Draw how the weights of each layer are distributed, a subplot a layer.

    Args:
        arrays: By Chainer's keys; those that end in "/W" are drawn.
        epoch: For the title.
    """
    layers = {key.removesuffix("/W"): array for key, array in arrays.items() if key.endswith("/W")}
    columns = min(4, math.ceil(math.sqrt(len(layers))))
    rows = math.ceil(len(layers) / columns)
    figure = Figure(figsize=(3.0 * columns, 2.2 * rows + 0.4), layout="constrained")
    figure.suptitle(f"weights after epoch {epoch}", fontsize=10)
    for place, (name, weights) in enumerate(sorted(layers.items(), key=lambda item: _order(item[0])), start=1):
        axes = figure.add_subplot(rows, columns, place)
        axes.hist(np.ravel(weights), bins=_BINS, color="#2a78c2")
        shape = " × ".join(str(size) for size in weights.shape)
        axes.set_title(f"{name}: {shape}, deviation {weights.std():.3g}", fontsize=8)
        axes.set_yticks([])
        axes.tick_params(labelsize=7)
    return figure


def _order(name: str) -> tuple[bool, bool, int, str]:
    """Return what puts layers into the order in which data pass them."""
    head = "_" in name
    return name.startswith("dec"), head, 0 if head else int(name[3:]), name


def png(figure: Figure) -> bytes:
    """Return a figure as the content of a PNG file."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=100)
    return file.getvalue()

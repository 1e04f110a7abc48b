"""Windows of long series: cut so that they overlap, and what is said of their steps put back onto the series."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_BLOCKS = 20  # stretches of a whole series that are held out together


def starts(length: int, window: int, stride: int) -> NDArray[np.int64]:
    """Return where the windows of a series start: every `stride` steps, and the last one flush with the end.

    Example:
        >>> starts(10, 4, 3), starts(11, 4, 3), starts(3, 4, 3)
        (array([0, 3, 6]), array([0, 3, 6, 7]), array([0]))
    """
    last = max(length - window, 0)
    regular = np.arange(0, last + 1, stride)
    return regular if regular[-1] == last else np.append(regular, last)


@dataclass(frozen=True, eq=False)
class Windows:
    """Where windows stand in the series that they were cut from; they are in the order of the series.

    Attributes:
        lengths: How many steps each series has, (S,).
        series: The number of the series of each window, (n,).
        first: Its first step, (n,).
        window: How many steps a window has, where the series has as many.
        stride: How many steps there are from one to the next.

    Example:
        >>> places = Windows.of([5], window=3, stride=2)
        >>> cut = places.cut([np.arange(5.0)[:, None]])
        >>> [part[:, 0].tolist() for part in cut]
        [[0.0, 1.0, 2.0], [2.0, 3.0, 4.0]]
        >>> places.put_back([part[:, 0] for part in cut])
        [array([0., 1., 2., 3., 4.])]
    """

    lengths: NDArray[np.int64]
    series: NDArray[np.int64]
    first: NDArray[np.int64]
    window: int
    stride: int

    @staticmethod
    def of(lengths: Sequence[int] | NDArray[np.int64], window: int, stride: int) -> "Windows":
        """Return the windows of series of these lengths; one that is shorter than a window is a short window."""
        places = [starts(int(length), window, stride) for length in lengths]
        series = np.repeat(np.arange(len(places)), [len(place) for place in places])
        return Windows(np.asarray(lengths, np.int64), series, np.concatenate(places), window, stride)

    def cut(self, values: Any) -> Any:
        """Return the windows of series (T, C) each: an array (n, window, C), or a list where some are short."""
        cut = [values[s][start : start + self.window] for s, start in zip(self.series, self.first, strict=True)]
        return np.stack(cut) if (self.lengths >= self.window).all() else cut

    def put_back(self, values: Any) -> list[NDArray[np.float64]]:
        """Return the mean over the windows that cover it of what is said of each step, (T, ...) for each series.

        Args:
            values: (window, ...) for each window; NaN does not count.
        """
        rest = np.asarray(values[0]).shape[1:]
        totals = [np.zeros((length, *rest)) for length in self.lengths]
        counts = [np.zeros((length, *rest)) for length in self.lengths]
        for s, start, said in zip(self.series, self.first, values, strict=True):
            here = slice(start, start + len(said))
            totals[s][here] += np.nan_to_num(said)
            counts[s][here] += ~np.isnan(said)
        return [
            np.where(count > 0, total / np.maximum(count, 1), np.nan)
            for total, count in zip(totals, counts, strict=True)
        ]

    def blocks(self) -> NDArray[np.int64]:
        """Return the stretch that each window belongs to, (n,), some 20 in all: windows overlap with their neighbours.

        What is held out in whole stretches shares steps with other windows at their ends alone.
        """
        counts = np.bincount(self.series)
        parts = np.clip(np.rint(_BLOCKS * counts / counts.sum()), 1, counts).astype(np.int64)
        within = np.concatenate([np.arange(count) * part // count for count, part in zip(counts, parts, strict=True)])
        return np.asarray(within + np.repeat(np.cumsum(parts) - parts, counts))

"""What is to blame for a score."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Explanation:
    """Parts of the score of each row.

    Attributes:
        contributions: In the shape of X, at least 0; those of a row add up to its score.
        normal: What the models expect in the place of each row, in the units and the shape of X.
        by: The score that was taken apart.
        names: Of the D columns, channels or pixels.
        shares: What each of these has in the score, 0 to 1, (n, D); of series over all steps.
    """

    contributions: Any
    normal: Any
    by: str
    names: tuple[str, ...]
    shares: NDArray[np.float64]

    def top(self, count: int = 3, names: tuple[str, ...] | None = None) -> NDArray[np.str_]:
        """Return the names, or those that are given, of what contributes most, the most first, (n, count)."""
        order = np.argsort(-self.shares, axis=1, kind="stable")[:, :count]
        return np.array(self.names if names is None else names)[order]

"""What `synthesize` does where nothing is said: all of it stands here."""

import math
from typing import Any

from omokage.data.kinds.tables import Columns
from omokage.likelihoods import Autoregressive

_BATCH = 256  # rows of a step
_EPOCHS, _MOST_EPOCHS = 60, 500
_FEWEST_STEPS, _MOST_STEPS = 2500, 6000  # which decide where the rows are few, or many

# Numbers that repeat are made as often as they are there, and the others are about normal to the network.
COLUMNS = Columns(levels=500, spline=True, often=0.01, few=100)

HELD_OUT = 0.1  # share of the rows that a report measures by
ROWS = 20_000  # made rows that a report looks at, at most
TOLD = 500  # training rows, and held-out rows, whose densities a report compares, at most
DRAWS = 4  # of z for each of these densities


def settings_for(rows: int) -> dict[str, Any]:
    """Return the parameters of the VAE for so many training rows.

    Example:
        >>> [settings_for(rows)["epochs"] for rows in (300, 12_000, 100_000)]
        [500, 60, 16]
    """
    each = max(rows, 1) / _BATCH  # steps of an epoch
    epochs = min(max(_EPOCHS, _FEWEST_STEPS / each), _MOST_STEPS / each, _MOST_EPOCHS)
    return {
        "latent_dim": 4,
        "hidden": (64,),
        "likelihood": Autoregressive(),
        "epochs": math.ceil(epochs),
        "batch_size": _BATCH,
        "learning_rate": 4e-4,
        "gradient_clip": 1.0,
        "early_stopping": 8,
    }

"""What `synthesize` does where nothing is said: all of it stands here."""

from typing import Any

from omokage.data.kinds.tables import Columns
from omokage.likelihoods import Autoregressive

_BATCH = 256  # rows of a step
_FEWEST, _STEPS, _MOST = 60, 2500, 500  # epochs, at least and at most, and steps

# Numbers that repeat are made as often as they are there, and the others are about normal to the network.
COLUMNS = Columns(levels=500, spline=True, often=0.01, few=100)

HELD_OUT = 0.1  # share of the rows that a report measures by
ROWS = 20_000  # made rows that a report looks at, at most
TOLD = 500  # training rows, and held-out rows, whose densities a report compares, at most
DRAWS = 4  # of z for each of these densities


def settings_for(rows: int) -> dict[str, Any]:
    """Return the parameters of the VAE for so many training rows.

    Example:
        >>> settings_for(30_000)["epochs"], settings_for(300)["epochs"]
        (60, 500)
    """
    return {
        "latent_dim": 4,
        "hidden": (64,),
        "likelihood": Autoregressive(),
        "epochs": min(max(_STEPS * _BATCH // max(rows, 1), _FEWEST), _MOST),
        "batch_size": _BATCH,
        "learning_rate": 4e-4,
        "gradient_clip": 1.0,
        "early_stopping": 15,
    }

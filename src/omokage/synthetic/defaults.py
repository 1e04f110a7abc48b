"""What `synthesize` does where nothing is said: all of it stands here."""

from typing import Any

from omokage.objectives import ELBO
from omokage.priors import FlowMatching

_STEPS, _BATCH = 20_000, 200  # of training, and the rows of each
_FEWEST, _MOST = 20, 500  # epochs

HELD_OUT = 0.1  # share of the rows that a report measures by
ROWS = 20_000  # made rows that a report looks at, at most
TOLD = 500  # training rows, and held-out rows, whose densities a report compares, at most
DRAWS = 4  # of z for each of these densities


def settings_for(rows: int) -> dict[str, Any]:
    """Return the parameters of the VAE for so many training rows, in which "density" is that of its codes.

    Example:
        >>> settings_for(30_000)["epochs"], settings_for(300)["epochs"]
        (133, 500)
    """
    return {
        "latent_dim": 16,
        "hidden": (512, 256),
        "objective": ELBO(beta=0.1),
        "epochs": min(max(_STEPS * _BATCH // max(rows, 1), _FEWEST), _MOST),
        "batch_size": _BATCH,
        "density": FlowMatching(updates=6000),
    }

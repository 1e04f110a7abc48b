"""Densities fitted to the codes of a trained model, from which it then draws.

Ghosh et al., "From Variational to Deterministic Autoencoders", 2020, section 4.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from jax import Array
from numpy.typing import NDArray

from omokage.batch import Batch
from omokage.data.rows import MemoryRows
from omokage.density import Density
from omokage.errors import DataError
from omokage.model import Model, stopped
from omokage.optimizers import SCHEDULES, optimizer
from omokage.training import Plan, begin, train

_STEPS, _ROWS, _RATE, _PATIENCE = 3000, 256, 5e-3, 20


def fitted(density: Density, codes: NDArray[np.floating], model: Model, seed: int) -> Density:
    """Return a density, of no inputs, with parameters of great likelihood for codes.

    A family that has `fit` is asked for them. Others climb the gradient, on the codes but for a tenth of them, which
    say when to stop, so that a rich family does not learn single codes by heart.

    Args:
        density: With first values.
        codes: (n, L).
        model: Whose codes they are; its encoder is that of a VampPrior, and does not move.
        seed: Of the order of the codes, and of first values that a family draws itself.

    Raises:
        DataError: If there are too few codes.
    """
    if hasattr(density.family, "fit"):
        return density.fitted(density.family.fit(codes, seed))
    if not (density.learned or density.encoded):
        return density
    if len(codes) < 2:
        raise DataError(f"X: expected at least 2 rows to fit a density to; got {len(codes)}.")
    order = np.random.default_rng(seed).permutation(len(codes))
    apart = max(len(codes) // 10, 1)
    validation, rows = (MemoryRows(Batch(codes[part])) for part in (order[:apart], order[apart:]))
    size = min(_ROWS, rows.count)
    plan = Plan(
        epochs=max(_STEPS * size // rows.count, 1),
        batch_size=size,
        learning_rate=_RATE,
        optimizer=optimizer("adam", 10.0, 0.0),
        schedule=SCHEDULES["cosine"],
        patience=_PATIENCE,
        seed=seed,
    )
    # No more of the model than is looked at.
    posterior: Any = model.posterior if density.encoded else None
    start = Model(posterior, cast(Any, None), density)
    result = train(begin(start, plan), CodeDensity(), rows, plan, validation=validation)
    if result.problem is not None:
        raise result.problem
    return result.model.prior


@dataclass(frozen=True)
class CodeDensity:
    """-log p(z) of codes, where x is a code; only the prior learns."""

    def __call__(self, model: Model, batch: Batch, key: Array, epoch: Array) -> dict[str, Array]:
        """Return "loss"."""
        prior = dataclasses.replace(model, posterior=stopped(model.posterior)).latent()
        return {"loss": -prior.log_prob(batch.x)}

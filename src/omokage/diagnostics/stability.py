"""Why does the loss run to minus infinity, or to NaN? From the history of a training and the likelihood's scales.

A density is not a probability: it may exceed 1, and so a loss may be negative, which is no error. But where the scale
of a Gaussian may shrink to zero, the density of a constant column, or of one that the decoder hits exactly, grows
without end (Mattei and Frellsen, "Leveraging the Exact Likelihood of Deep Latent Variable Models", 2018).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omokage.diagnostics.findings import Finding
from omokage.errors import listing

Floats = NDArray[np.float64]

_FEWEST = 9  # epochs, three in each third
_STILL = 0.5  # of the speed of the middle third
_SHARE = 0.02  # of the whole fall


def training_finding(history: Sequence[Mapping[str, Any]]) -> Finding | None:
    """Return whether the loss came to rest; `None` where there is no history.

    Args:
        history: One record an epoch, with "loss" and whatever else; see `history_` of the estimators.

    Example:
        >>> print(training_finding([{"epoch": e, "loss": -3.0 * e} for e in range(1, 31)]).verdict)
        warning
    """
    if not history:
        return None
    for number, record in enumerate(history, start=1):
        bad = [name for name, value in record.items() if isinstance(value, float) and not np.isfinite(value)]
        if bad:
            text = (
                f"The training went wrong in epoch {record.get('epoch', number)}: {listing(bad)} not finite. Usual "
                "causes: a scale without a floor that shrinks to zero, extreme values in a column, or too high a "
                "learning rate. Try gradient_clip=1.0, a tenth of the learning rate, and a floor for the scale."
            )
            return Finding("training", "problem", text, {"epochs": float(len(history))})
    losses = np.array([record["loss"] for record in history])
    figures = {"first_loss": float(losses[0]), "last_loss": float(losses[-1]), "epochs": float(len(losses))}
    negative = " A negative loss is no error: a density may exceed 1." if losses[-1] < 0 else ""
    if len(losses) < _FEWEST:
        text = f"The loss went from {losses[0]:.4g} to {losses[-1]:.4g} in {len(losses)} epochs; too few to tell if it "
        return Finding("training", "good", text + "has come to rest." + negative, figures)
    middle, late = (float(part[0] - part[-1]) for part in np.array_split(losses, 3)[1:])
    figures |= {"fall_in_middle_third": middle, "fall_in_last_third": late}
    fall = float(losses.max() - losses.min())
    if late > _STILL * middle and late > _SHARE * fall:
        text = (
            f"The loss was still falling at the end, from {losses[0]:.4g} to {losses[-1]:.4g}, by {late:.3g} in the "
            "last third of the epochs: train longer. If it never levels off, a density is growing without end: see "
            "whether scales are near their floor." + negative
        )
        return Finding("training", "warning", text, figures)
    text = f"The loss came to rest at {losses[-1]:.4g}, from {losses[0]:.4g} in the first epoch." + negative
    return Finding("training", "good", text, figures)


def scale_finding(
    x: Floats, scales: Floats | None = None, floor: float | None = None, columns: Sequence[str] | None = None
) -> Finding:
    """Return which columns make the density a spike: constant ones, and those whose learned scale is at its floor.

    Args:
        x: Rows, (n, D).
        scales: σ of a Gaussian likelihood, in the units of x: (n, D), (D,), or (1,) where all columns share it.
        floor: What a learned σ cannot fall below, in the same units; `None`: it is not learned.
        columns: Names of the columns.

    Example:
        >>> print(scale_finding(np.eye(3), np.array([0.5, 0.001, 0.4]), 0.001).text.split(":")[0])
        The learned scale of 'column 1' is at its floor, 0.001
    """
    names = list(columns) if columns is not None else [f"column {j}" for j in range(x.shape[1])]
    constant = [names[j] for j in np.flatnonzero(np.ptp(x, axis=0) == 0)]
    figures = {"constant_columns": float(len(constant))}
    also = f" Constant among these rows: {listing(constant)}; what never changes teaches nothing." if constant else ""
    if scales is None or floor is None:
        text = "The likelihood learns no scale, so no density can grow without end." + also
        return Finding("scales", "good", text, figures)
    scales = np.median(scales, axis=0) if scales.ndim == 2 else np.atleast_1d(scales)
    where = np.flatnonzero(scales < 2 * floor)
    figures |= {"smallest_scale": float(scales.min()), "floor": floor, "at_floor": float(len(where))}
    if not len(where):
        text = f"The smallest learned scale is {scales.min():.3g}, well above its floor of {floor:g}: no density spike."
        return Finding("scales", "good", text + also, figures)
    which = "all columns" if len(scales) == 1 else listing(names[j] for j in where)
    text = (
        f"The learned scale of {which} is at its floor, {floor:g}: there the density is a spike that only the floor "
        "holds down, and without one the loss would run to minus infinity. It drowns the other columns. The decoder "
        "hits these values exactly: they are constant, repeat another column, or take few values. Leave them out, or "
        f"raise the floor, as in Gaussian(floor={max(0.05, 10 * floor):g}), or give a scale."
    )
    return Finding("scales", "problem", text + also, figures)

"""Diagnostics: what a fitted autoencoder's numbers mean, in words and figures.

    Is every output the mean image?          collapse, active units, weights
    Is z really normal?                      normality, holes, fitted prior, information
    Why does the loss run to -inf or NaN?    training, scales

Pure functions of arrays; only `latent` asks a model, where its densities are needed.
"""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from omokage.diagnostics.aggregate import Aggregate, aggregate, aggregate_of
from omokage.diagnostics.collapse import (
    active_beside,
    active_units,
    collapse_finding,
    divergences,
    effective_beta,
    error_ratio,
    pulls_together,
    units_finding,
    weight_finding,
)
from omokage.diagnostics.findings import Finding, Findings, Verdict, html_of, worst
from omokage.diagnostics.latent import Latent
from omokage.diagnostics.normality import normality_findings
from omokage.diagnostics.stability import scale_finding, training_finding
from omokage.errors import DataError

__all__ = [
    "Aggregate", "Diagnosis", "Finding", "Findings", "diagnose", "effective_beta", "scale_finding", "training_finding",
]  # fmt: skip

_FEWEST = 20


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """What was found; it prints as a report, and a notebook shows a table.

    Attributes:
        rows: How many rows it rests on.
        error_ratio: Squared error of the reconstructions as a share of the mean row's; 1 is no better than the mean.
        variance: Of the posterior mean over the rows, (L,).
        kl: Mean KL(q(z|x) ‖ p(z)) of each latent dimension, in nats, (L,); `None` for a point mass, and where the KL
            does not fall into such parts.
        active: Which latent dimensions carry something, (L,).
        aggregate: The aggregated posterior beside the prior; `None` for point masses that do not vary.
        findings: The answers.
    """

    rows: int
    error_ratio: float
    variance: NDArray[np.float64]
    kl: NDArray[np.float64] | None
    active: NDArray[np.bool_]
    aggregate: Aggregate | None
    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> Verdict:
        """The gravest verdict."""
        return worst(self.findings)

    @property
    def active_units(self) -> int:
        """How many latent dimensions carry something."""
        return int(self.active.sum())

    def __getitem__(self, name: str) -> Finding:
        """Return the finding of a name, such as "collapse"."""
        for finding in self.findings:
            if finding.name == name:
                return finding
        raise KeyError(f"{name!r}; there are {', '.join(finding.name for finding in self.findings)}")

    def __str__(self) -> str:
        lines = [f"Diagnosis of {self.rows:,} rows and {len(self.active)} latent dimensions: {self.verdict}"]
        for finding in self.findings:
            lines += textwrap.wrap(str(finding), 110, subsequent_indent=" " * 9)
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return html_of(self.findings, f"{self.rows:,} rows, {len(self.active)} latent dimensions: {self.verdict}")


def diagnose(
    x: ArrayLike,
    reconstructions: ArrayLike,
    means: ArrayLike,
    deviations: ArrayLike | None,
    *,
    mask: ArrayLike | None = None,
    objective: Any = None,
    history: Sequence[Mapping[str, Any]] = (),
    scales: ArrayLike | None = None,
    floor: float | None = None,
    columns: Sequence[str] | None = None,
    latent: Latent | None = None,
    seed: int = 0,
) -> Diagnosis:
    """Return what can be said of a model from what it makes of rows.

    Unless `latent` is given, posteriors are taken to be normals with independent entries, and the prior to be N(0, I).

    Args:
        x: Rows, best such as were not trained on, in the model's own (standardised) units, (n, *event).
        reconstructions: Through the posterior means, in the same units, like x.
        means: Of the posteriors, (n, L).
        deviations: Of the posteriors, (n, L); `None` for point masses.
        mask: Which entries of x were observed, like x or (n, steps, 1); the others are not looked at.
        objective: What the model was trained for; for causes.
        history: One record an epoch.
        scales: σ of a Gaussian likelihood in the same units, of shape (), (*event) or (n, *event).
        floor: What a learned σ cannot fall below; `None` where σ is given.
        columns: Names of the columns, D.
        latent: What a model with other posteriors or another prior says of z; see `omokage.diagnostics.latent`.
        seed: Of the rows and draws that are chosen, where not all are taken.

    Raises:
        DataError: If there are fewer than 20 rows, or arrays do not have as many, or hold numbers that are not finite.

    Example:
        >>> random = np.random.default_rng(0)
        >>> z = random.normal(size=(500, 1))
        >>> x = z @ np.ones((1, 3))
        >>> diagnose(x, x, 0.99 * z, np.full((500, 1), 0.14))["collapse"].verdict
        'good'
    """
    if mask is not None:
        x, reconstructions = _observed(np.asarray(x, np.float64), np.asarray(reconstructions, np.float64), mask)
    rows = _matrix("x", x)
    made, mean = _matrix("reconstructions", reconstructions, rows.shape), _matrix("means", means)
    deviation = None if deviations is None else _matrix("deviations", deviations, mean.shape)
    if len(mean) != len(rows):
        raise DataError(f"means: expected {len(rows)} rows, one for each of x; got {len(mean)}.")
    if deviation is not None and not (deviation > 0).all():
        raise DataError("deviations: expected numbers above 0; give None for point masses.")
    scale = None if scales is None else _scales(scales, rows)
    variance = mean.var(0)
    if latent is None:
        active = active_units(mean, deviation)
        kl = None if deviation is None else divergences(mean, deviation)
        meant = np.arange(mean.shape[1]) if deviation is not None else np.flatnonzero(active)
        whole = aggregate(mean, deviation, meant, seed) if len(meant) else None
    else:
        kl, whole = latent.kl, aggregate_of(latent, seed)
        active = active_beside(latent, mean)
    typical = scale if scale is None or scale.ndim == 1 else np.median(scale, axis=0)
    found = [
        collapse_finding(rows, made, active, objective=objective, scales=typical, history=history),
        units_finding(active, variance, kl),
        weight_finding(objective, rows.shape[1], mean.shape[1]),
        *(normality_findings(whole, pulls_together(objective)) if whole is not None else ()),
        training_finding(history),
        scale_finding(rows, scale, floor, columns),
    ]
    findings = tuple(finding for finding in found if finding is not None)
    return Diagnosis(len(rows), error_ratio(rows, made), variance, kl, active, whole, findings)


def _matrix(name: str, values: ArrayLike, shape: tuple[int, ...] | None = None) -> NDArray[np.float64]:
    """Return rows as (n, D), checked."""
    array = np.asarray(values, np.float64)
    if array.ndim < 2:
        raise DataError(f"{name}: expected rows, (n, ...); got an array of shape {array.shape}.")
    matrix = array.reshape(len(array), -1)
    if shape is not None and matrix.shape != shape:
        raise DataError(
            f"{name}: expected {shape[0]} rows of {shape[1]} entries; got {len(matrix)} of {matrix.shape[1]}."
        )
    if len(matrix) < _FEWEST:
        raise DataError(f"{name}: expected at least {_FEWEST} rows to judge by; got {len(matrix)}.")
    if not np.isfinite(matrix).all():
        row, entry = np.argwhere(~np.isfinite(matrix))[0]
        raise DataError(f"{name}: expected finite numbers; row {row}, entry {entry} is {matrix[row, entry]}.")
    return matrix


def _observed(
    x: NDArray[np.float64], reconstructions: NDArray[np.float64], mask: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return both with the mean of its column in each entry that was not observed, where no error comes of it."""
    try:
        seen = np.broadcast_to(np.asarray(mask, bool), x.shape)
        np.broadcast_to(reconstructions, seen.shape)
    except ValueError:
        shapes = f"x {x.shape}, reconstructions {reconstructions.shape}, mask {np.shape(mask)}"
        raise DataError(f"mask: expected x, reconstructions and mask to have one shape; got {shapes}.") from None
    centers = np.where(seen, x, 0).sum(0) / np.maximum(seen.sum(0), 1)
    return np.where(seen, x, centers), np.where(seen, reconstructions, centers)


def _scales(scales: ArrayLike, rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return scales as (1,), (D,) or (n, D)."""
    array = np.asarray(scales, np.float64)
    if array.size in (1, rows.shape[1]):
        return array.reshape(-1)
    if array.size == rows.size:
        return array.reshape(rows.shape)
    raise DataError(f"scales: expected one number, one for each entry, or like x; got an array of shape {array.shape}.")

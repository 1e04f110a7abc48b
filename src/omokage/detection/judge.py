"""From rows to one score for each member of an ensemble, and the calibration of these scores on rows held out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omokage import inference
from omokage.batch import Batch
from omokage.data.encoded import Encoded
from omokage.data.kinds import AnySchema
from omokage.data.rows import RowSource
from omokage.detection import scores
from omokage.detection.calibration import Calibration, Yardstick
from omokage.detection.neighbours import Neighbours
from omokage.ensemble import Ensemble

Array = NDArray[np.float64]
_AT_ONCE = 16_384  # rows
_MOST_POINTS = 5_000  # of training rows that distances are taken to
_YARDSTICK_SHARE = 4  # of held-out rows, one in so many measures scores that are to be combined; the others calibrate


@dataclass(frozen=True, eq=False)
class Judge:
    """An ensemble, the scores by which it judges, and all that they need.

    Attributes:
        ensemble: M models.
        schema: Of the rows.
        names: Of the scores that make the score: one as it is, several as the mean of their surprises.
        points: For each score by distance, where each member puts its training rows.
        yardsticks: For each of several scores, how each member's are measured.
        reference: Where the first member puts rows that it left out, (m, L); for tests of drift.
    """

    ensemble: Ensemble
    schema: AnySchema
    names: tuple[str, ...]
    points: Mapping[str, Sequence[Neighbours]]
    yardsticks: Mapping[str, Sequence[Yardstick]]
    reference: NDArray[np.float32]

    def each(self, rows: Encoded, names: tuple[str, ...] | None = None, member: int | None = None) -> dict[str, Array]:
        """Return named scores of rows to each member, (n, M), or to one, (n, 1); densities are those of raw data."""
        names = self.names if names is None else names
        members = range(len(self.ensemble)) if member is None else [member]

        def one(batch: Batch) -> dict[str, Array]:
            # Some at a time, since distances need where each member puts each row.
            pieces = (slice(start, start + _AT_ONCE) for start in range(0, len(batch.x), _AT_ONCE))
            parts = [self._each(_piece(batch, here), names, members) for here in pieces]
            return {name: np.concatenate([part[name] for part in parts]) for name in names}

        found, shift = rows.each(one), np.broadcast_to(self.schema.log_jacobians(rows), rows.count)[:, None]
        return {name: found[name] - shift if name in scores.IN_NATS_OF_X else found[name] for name in names}

    def _each(self, batch: Batch, names: tuple[str, ...], members: Sequence[int]) -> dict[str, Array]:
        found = scores.ask(self.ensemble, batch, names)
        result = {}
        for name in names:
            columns: list[NDArray[Any]] = [found[name][:, m] for m in members]
            if name in scores.BY_DISTANCE:
                columns = [self.points[name][m].distances(points) for m, points in zip(members, columns, strict=True)]
            result[name] = np.stack(columns, 1).astype(np.float64)
        return result

    def combined(self, each: Mapping[str, Array], member: int | None = None) -> Array:
        """Return the score of rows to each member, (n, M), or to one, (n, 1), from named scores."""
        if len(self.names) == 1:
            return each[self.names[0]]
        members = range(len(self.ensemble)) if member is None else [member]
        surprises = [
            np.stack([self.yardsticks[name][m](each[name][:, place]) for place, m in enumerate(members)], 1)
            for name in self.names
        ]
        return np.asarray(np.mean(surprises, 0))

    def codes(self, rows: Encoded) -> NDArray[np.float32]:
        """Return where the first member puts rows, (n, L)."""
        first = self.ensemble.member(0)
        found: NDArray[np.float32] = rows.each(lambda batch: inference.encode(first, batch))
        return found

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return what is not in the ensemble, for a file."""
        points = {f"points.{name}.{m}": one.points for name, each in self.points.items() for m, one in enumerate(each)}
        yardsticks = {
            f"yardsticks.{name}.{m}": one.scores for name, each in self.yardsticks.items() for m, one in enumerate(each)
        }
        return {**points, **yardsticks, "reference": self.reference}

    def references(self, groups: Sequence[Array]) -> list[Array]:
        """Return the scores that others are compared with: those of a calibration, and of all yardsticks."""
        return [*groups, *(one.scores for each in self.yardsticks.values() for one in each)]

    def places(self) -> list[NDArray[np.float32]]:
        """Return all points that distances are taken to, (n, P) each."""
        return [near.points for each in self.points.values() for near in each]

    @staticmethod
    def from_arrays(
        ensemble: Ensemble, schema: AnySchema, names: tuple[str, ...], arrays: Mapping[str, NDArray[Any]]
    ) -> "Judge":
        """Return the judge whose arrays `to_arrays` gave; raises KeyError if some are missing."""
        members = range(len(ensemble))
        near = [name for name in names if name in scores.BY_DISTANCE]
        several = names if len(names) > 1 else ()
        points = {name: tuple(Neighbours(arrays[f"points.{name}.{m}"]) for m in members) for name in near}
        yardsticks = {name: tuple(Yardstick(arrays[f"yardsticks.{name}.{m}"]) for m in members) for name in several}
        return Judge(ensemble, schema, names, points, yardsticks, arrays["reference"])

    def scores(self, rows: Encoded) -> Array:
        """Return the score of rows to each member, (n, M)."""
        return self.combined(self.each(rows))


def _piece(batch: Batch, here: slice) -> Batch:
    return batch.map(lambda array: array[here])


def start(ensemble: Ensemble, schema: AnySchema, names: tuple[str, ...], rows: RowSource, seed: int) -> Judge:
    """Return a judge that knows where each member puts the rows it was trained on, but has no yardsticks yet."""
    judge = Judge(ensemble, schema, names, {}, {}, np.zeros((0, 0), np.float32))
    near = tuple(name for name in names if name in scores.BY_DISTANCE)
    if not near:
        return judge
    parts: list[Batch] = []
    for batch in rows.epoch(np.random.default_rng([seed, 5]), 2 * _MOST_POINTS):
        parts.append(batch)
        if sum(len(part.x) for part in parts) >= 2 * _MOST_POINTS:
            break
    found = [scores.ask(ensemble, part._replace(fold=None, weight=None), near) for part in parts]
    folds = [np.full(len(part.x), -1) if part.fold is None else part.fold for part in parts]
    points = {}
    for name in near:
        points[name] = tuple(
            Neighbours(
                np.concatenate([one[name][fold != m, m] for one, fold in zip(found, folds, strict=True)])[:_MOST_POINTS]
            )
            for m in range(len(ensemble))
        )
    return replace(judge, points=points)


@dataclass(frozen=True, eq=False)
class Calibrated:
    """What came of a calibration.

    Attributes:
        judge: With yardsticks.
        calibration: The scores of rows that members left out.
        rows: Those that the first member left out.
        scores: Its scores of them, (n,).
    """

    judge: Judge
    calibration: Calibration
    rows: Encoded
    scores: Array


def calibrate_apart(judge: Judge, rows: Encoded, seed: int) -> Calibrated:
    """Calibrate by rows that no member was trained on.

    The rows of the yardsticks do not calibrate: so p-values are exact.
    """
    each, calibrating = judge.each(rows), np.arange(rows.count)
    judge = replace(judge, reference=judge.codes(rows)[:_MOST_POINTS])
    if len(judge.names) > 1:
        order = np.random.default_rng([seed, 6]).permutation(rows.count)
        measured, calibrating = np.split(order, [max(1, rows.count // _YARDSTICK_SHARE)])
        yardsticks = {
            name: tuple(Yardstick(np.sort(column)) for column in values[measured].T) for name, values in each.items()
        }
        judge = replace(judge, yardsticks=yardsticks)
    found = judge.combined(each)
    return Calibrated(judge, Calibration.of([found[calibrating].mean(1)]), rows, found[:, 0])


def calibrate_across(judge: Judge, rows: Encoded) -> Calibrated:
    """Calibrate by the training rows, each judged by the one member that left it out.

    A member's yardstick is made of the other members' rows.
    """
    members = range(len(judge.ensemble))
    folds = [rows.of_fold(m) for m in members]
    apart = [judge.each(fold, member=m) for m, fold in enumerate(folds)]
    judge = replace(judge, reference=judge.codes(folds[0])[:_MOST_POINTS])
    if len(judge.names) > 1:
        yardsticks = {
            name: tuple(
                Yardstick(np.sort(np.concatenate([apart[other][name][:, 0] for other in members if other != m])))
                for m in members
            )
            for name in judge.names
        }
        judge = replace(judge, yardsticks=yardsticks)
    found = [judge.combined(each, m)[:, 0] for m, each in enumerate(apart)]
    return Calibrated(judge, Calibration.of(found), folds[0], found[0])

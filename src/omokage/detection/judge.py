"""From rows to one score for each member of an ensemble, and the calibration of these scores on rows held out."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omokage import inference
from omokage.batch import Batch
from omokage.data.encoded import Encoded
from omokage.data.kinds import Schema
from omokage.data.rows import RowSource
from omokage.detection import scores
from omokage.detection.calibration import Calibration, Yardstick
from omokage.detection.neighbours import Neighbours
from omokage.ensemble import Ensemble

Array = NDArray[np.float64]
_AT_ONCE = 65_536  # rows, or fewer where they are long
_ENTRIES_AT_ONCE = 2**24  # of points
_MOST_POINTS = 2_000  # of training rows that distances are taken to
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
        steps: Scores of steps of series that were held out, ascending; none where rows have no steps.
    """

    ensemble: Ensemble
    schema: Schema
    names: tuple[str, ...]
    points: Mapping[str, Sequence[Neighbours]]
    yardsticks: Mapping[str, Sequence[Yardstick]]
    reference: NDArray[np.float32]
    steps: Array

    def each(self, rows: Encoded, names: tuple[str, ...] | None = None) -> dict[str, Array]:
        """Return named scores of rows to each member, (n, M); densities are those of raw data."""
        names, members = self.names if names is None else names, range(len(self.ensemble))

        def every(raw: Mapping[str, Any], _: Batch) -> dict[str, Array]:
            return {name: np.stack([self._score(name, raw, m) for m in members], 1) for name in names}

        return self._of_raw_data(self._pieces(rows, names, every), rows)

    def held_out(self, rows: Encoded) -> tuple[dict[str, Array], NDArray[np.float32]]:
        """Return named scores of rows that were not trained on, and where each member puts them, (n, M, L).

        Scores are those to each member, (n, M); where rows have a fold, to the member that left it out, (n, 1).
        """
        asked = tuple(dict.fromkeys([*self.names, "latent_neighbours"]))  # the points of the latter are the codes
        members = range(len(self.ensemble))

        def columns(raw: Mapping[str, Any], batch: Batch) -> dict[str, Array]:
            result = {"codes": raw["latent_neighbours"]}
            for name in self.names:
                if batch.fold is None:
                    result[name] = np.stack([self._score(name, raw, m) for m in members], 1)
                    continue
                result[name] = np.empty((len(batch.x), 1))
                for m in members:
                    result[name][batch.fold == m, 0] = self._score(name, raw, m, batch.fold == m)
            return result

        found = self._pieces(rows, asked, columns)
        codes = found.pop("codes")
        return self._of_raw_data(found, rows), codes.astype(np.float32)

    def _pieces(
        self, rows: Encoded, names: tuple[str, ...], function: Callable[[Mapping[str, Any], Batch], dict[str, Array]]
    ) -> dict[str, Array]:
        """Return `function` of what members say of rows, some at a time: of the points of each row there are many."""

        def one(batch: Batch) -> dict[str, Array]:
            parts, entries = [], len(self.ensemble) * max(1, math.prod(batch.x.shape[1:]))
            size = int(np.clip(_ENTRIES_AT_ONCE // entries, 4096, _AT_ONCE))
            for start in range(0, len(batch.x), size):
                piece = _piece(batch, slice(start, start + size))
                parts.append(function(scores.ask(self.ensemble, piece._replace(fold=None), names), piece))
            return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

        found: dict[str, Array] = rows.each(one)
        return found

    def _score(self, name: str, raw: Mapping[str, Any], member: int, here: Any = slice(None)) -> Array:
        """Return a score to a member of the rows `here`, (n,), from what `scores.ask` gave."""
        values = raw[name][here, member]
        if name in scores.BY_DISTANCE:
            values = self.points[name][member].distances(values)
        return np.asarray(values, np.float64)

    def _of_raw_data(self, found: dict[str, Array], rows: Encoded) -> dict[str, Array]:
        shift = np.broadcast_to(self.schema.log_jacobians(rows), rows.count)[:, None]
        return {name: found[name] - shift if name in scores.IN_NATS_OF_X else found[name] for name in found}

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
        return {**points, **yardsticks, "reference": self.reference, "steps": self.steps}

    def references(self, groups: Sequence[Array]) -> list[Array]:
        """Return the scores that others are compared with: those of a calibration, of steps, and of all yardsticks."""
        steps = [self.steps] if len(self.steps) else []
        return [*groups, *steps, *(one.scores for each in self.yardsticks.values() for one in each)]

    def places(self) -> list[NDArray[np.float32]]:
        """Return all points that distances are taken to, (n, P) each."""
        return [near.points for each in self.points.values() for near in each]

    @staticmethod
    def from_arrays(
        ensemble: Ensemble, schema: Schema, names: tuple[str, ...], arrays: Mapping[str, NDArray[Any]]
    ) -> "Judge":
        """Return the judge whose arrays `to_arrays` gave; raises KeyError if some are missing."""
        members = range(len(ensemble))
        near = [name for name in names if name in scores.BY_DISTANCE]
        several = names if len(names) > 1 else ()
        points = {name: tuple(Neighbours(arrays[f"points.{name}.{m}"]) for m in members) for name in near}
        yardsticks = {name: tuple(Yardstick(arrays[f"yardsticks.{name}.{m}"]) for m in members) for name in several}
        return Judge(ensemble, schema, names, points, yardsticks, arrays["reference"], arrays.get("steps", np.zeros(0)))

    def scores(self, rows: Encoded) -> Array:
        """Return the score of rows to each member, (n, M)."""
        return self.combined(self.each(rows))


def _piece(batch: Batch, here: slice) -> Batch:
    return batch.map(lambda array: array[here])


def start(ensemble: Ensemble, schema: Schema, names: tuple[str, ...], rows: RowSource, seed: int) -> Judge:
    """Return a judge that knows where each member puts the rows it was trained on, but has no yardsticks yet."""
    judge = Judge(ensemble, schema, names, {}, {}, np.zeros((0, 0), np.float32), np.zeros(0))
    near = tuple(name for name in names if name in scores.BY_DISTANCE)
    if not near:
        return judge
    parts: list[Batch] = []
    for batch in rows.epoch(np.random.default_rng([seed, 5]), 2 * _MOST_POINTS):
        parts.append(batch)
        if sum(len(part.x) for part in parts) >= 2 * _MOST_POINTS:
            break
    asked = tuple(dict.fromkeys([*names, "latent_neighbours"]))  # as in `held_out`, so that one program serves both
    found = [scores.ask(ensemble, part._replace(fold=None, weight=None), asked) for part in parts]
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
        codes: Where each member puts them, (n, M, L).
    """

    judge: Judge
    calibration: Calibration
    rows: Encoded
    scores: Array
    codes: NDArray[np.float32]


def calibrate_apart(judge: Judge, rows: Encoded, seed: int) -> Calibrated:
    """Calibrate by rows that no member was trained on.

    The rows of the yardsticks do not calibrate: so p-values are exact.
    """
    each, codes = judge.held_out(rows)
    calibrating = np.arange(rows.count)
    judge = replace(judge, reference=codes[:_MOST_POINTS, 0])
    if len(judge.names) > 1:
        order = np.random.default_rng([seed, 6]).permutation(rows.count)
        measured, calibrating = np.split(order, [max(1, rows.count // _YARDSTICK_SHARE)])
        yardsticks = {
            name: tuple(Yardstick(np.sort(column)) for column in values[measured].T) for name, values in each.items()
        }
        judge = replace(judge, yardsticks=yardsticks)
    found = judge.combined(each)
    return Calibrated(judge, Calibration.of([found[calibrating].mean(1)]), rows, found[:, 0], codes)


def calibrate_across(judge: Judge, rows: Encoded) -> Calibrated:
    """Calibrate by the training rows, each judged by the one member that left it out.

    A member's yardstick is made of the other members' rows.
    """
    members, (each, codes) = range(len(judge.ensemble)), judge.held_out(rows)
    fold = rows.each(lambda batch: batch.fold)
    apart = [{name: values[fold == m] for name, values in each.items()} for m in members]
    codes = codes[fold == 0]
    judge = replace(judge, reference=codes[:_MOST_POINTS, 0])
    if len(judge.names) > 1:
        yardsticks = {
            name: tuple(Yardstick(np.sort(values[fold != m, 0])) for m in members) for name, values in each.items()
        }
        judge = replace(judge, yardsticks=yardsticks)
    found = [judge.combined(one, m)[:, 0] for m, one in enumerate(apart)]
    return Calibrated(judge, Calibration.of(found), rows.of_fold(0), found[0], codes)

"""From rows to one score for each member of an ensemble, and the calibration of these scores on held-out rows."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omokage import inference
from omokage.batch import Batch
from omokage.data.encoded import Encoded
from omokage.data.kinds import Schema
from omokage.data.rows import RowSource
from omokage.detection import beyond, lengths, scores
from omokage.detection.calibration import Calibration, EmpiricalTail
from omokage.detection.lengths import Usual
from omokage.detection.neighbours import Neighbours
from omokage.ensemble import Ensemble

Array = NDArray[np.float64]
_AT_ONCE = 65_536  # rows, or fewer where they are long
_ENTRIES_AT_ONCE = 2**24  # of points
_MOST_POINTS = 2_000  # of training rows that distances are taken to
_MEASURING_SHARE = 4  # of held-out rows, one in so many makes scores comparable; the others calibrate


@dataclass(frozen=True, eq=False)
class Rows:
    """What else about rows is needed to compare their scores.

    Attributes:
        counts: How many entries of each were observed, (n,), where they are series; else `None`.
        shift: What to add to log p(x) of each to get log p(raw), (n,).
    """

    counts: NDArray[np.int64] | None
    shift: Array


@dataclass(frozen=True, eq=False)
class Judge:
    """An ensemble, the names of its scores, and the held-out figures that these scores need.

    Attributes:
        ensemble: M models.
        schema: Of the rows.
        names: Names of the scores: a single one is used as it is, several are averaged as surprises.
        points: For each score by distance, the points of each member's training rows.
        tails: For each score and each member, held-out scores, which turn new ones into surprises; none for one score.
        reference: Codes of rows that the first member left out, by this member, (m, L); for tests of drift.
        steps: Scores of steps of series that were held out, ascending; none where rows have no steps.
        usual: For each score of series and each member, the usual score for a number of observed entries.
    """

    ensemble: Ensemble
    schema: Schema
    names: tuple[str, ...]
    points: Mapping[str, Sequence[Neighbours]]
    tails: Mapping[str, Sequence[EmpiricalTail]]
    reference: NDArray[np.float32]
    steps: Array
    usual: Mapping[str, Sequence[Usual]] = field(default_factory=dict)

    def each(self, rows: Encoded, names: tuple[str, ...] | None = None) -> dict[str, Array]:
        """Return named scores of rows to each member, (n, M); densities are those of raw data."""
        found, shift = self._all(rows, self.names if names is None else names), self.about(rows).shift[:, None]
        return {name: each - shift if name in scores.IN_NATS_OF_X else each for name, each in found.items()}

    def _all(self, rows: Encoded, names: tuple[str, ...]) -> dict[str, Array]:
        """Return named scores of rows to each member, (n, M); densities are those of encoded rows."""
        members = range(len(self.ensemble))

        def every(raw: Mapping[str, Any], _: Batch) -> dict[str, Array]:
            return {name: np.stack([self._score(name, raw, m) for m in members], 1) for name in names}

        return self._pieces(rows, names, every)

    def about(self, rows: Encoded) -> Rows:
        """Return what else about rows is needed to compare their scores."""
        series = all(batch.x.ndim == 3 for _, batch in rows.groups)
        counts = rows.each(lengths.observed) if series else None
        return Rows(counts, np.broadcast_to(self.schema.log_jacobians(rows), rows.count))

    def held_out(self, rows: Encoded) -> tuple[dict[str, Array], NDArray[np.float32]]:
        """Return named scores of rows that were not trained on, and their codes by each member, (n, M, L).

        Scores are those to each member, (n, M); where rows have a fold, to the member that left it out, (n, 1).
        Densities are those of encoded rows.
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
        return found, codes.astype(np.float32)

    def _pieces(
        self, rows: Encoded, names: tuple[str, ...], function: Callable[[Mapping[str, Any], Batch], dict[str, Array]]
    ) -> dict[str, Array]:
        """Return `function` of the members' raw answers for rows. It asks for some rows at a time, to save memory.

        A row with a value that no member can make has the score `BEYOND` in every sense.
        """
        known = beyond.support(self.ensemble)

        def one(batch: Batch) -> dict[str, Array]:
            parts, entries = [], len(self.ensemble) * max(1, math.prod(batch.x.shape[1:]))
            size = int(np.clip(_ENTRIES_AT_ONCE // entries, 4096, _AT_ONCE))
            for start in range(0, len(batch.x), size):
                piece = _piece(batch, slice(start, start + size))
                asked = beyond.moved(known, piece._replace(fold=None))
                part, strange = function(scores.ask(self.ensemble, asked, names), piece), beyond.outside(known, piece)
                for name in part.keys() - {"codes"}:
                    part[name][beyond.of_rows(strange)] = beyond.BEYOND
                parts.append(part)
            return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

        found: dict[str, Array] = rows.each(one)
        return found

    def _score(self, name: str, raw: Mapping[str, Any], member: int, here: Any = slice(None)) -> Array:
        """Return a score to a member of the rows `here`, (n,), from what `scores.ask` gave."""
        values = raw[name][here, member]
        if name in scores.BY_DISTANCE:
            values = self.points[name][member].distances(values)
        return beyond.finite(values)

    def _comparable(self, name: str, values: Array, member: int, rows: Rows) -> Array:
        """Return one score of rows to one member, (n,), as it is compared with that of others."""
        if name in self.usual and rows.counts is not None:
            values, shift = self.usual[name][member](values, rows.counts), self.schema.log_jacobian
            return values - shift if name in scores.IN_NATS_OF_X else values
        return values - rows.shift if name in scores.IN_NATS_OF_X else values

    def combined(self, found: Mapping[str, Array], rows: Rows, member: int | None = None) -> Array:
        """Return the score of rows to each member, (n, M), or to one, (n, 1), from named scores of encoded rows."""
        members = range(len(self.ensemble)) if member is None else [member]
        several, parts = len(self.names) > 1, []
        for name in self.names:
            columns = [self._comparable(name, found[name][:, at], m, rows) for at, m in enumerate(members)]
            if several:
                columns = [self.tails[name][m](column) for m, column in zip(members, columns, strict=True)]
            parts.append(np.stack(columns, 1))
        strange = np.any([found[name] >= beyond.BEYOND for name in self.names], axis=0)
        return np.where(strange, beyond.BEYOND, beyond.finite(np.mean(parts, 0)))

    def measured(self, found: Sequence[Mapping[str, Array]], rows: Sequence[Rows]) -> "Judge":
        """Return a judge that makes scores of several kinds, and of series of unlike lengths, comparable.

        Args:
            found: For each member, named scores of held-out rows that do not calibrate it, (k,) each.
            rows: What else is needed to compare these scores.
        """
        members, judge = range(len(self.ensemble)), self
        if rows[0].counts is not None:
            pairs = list(zip(found, rows, strict=True))
            total = {name: name in scores.SUMS for name in self.names}
            judge = replace(
                self,
                usual={name: [_usual(each[name], one.counts, total[name]) for each, one in pairs] for name in total},
            )
        if len(self.names) == 1:
            return judge
        tails = {
            name: [EmpiricalTail.of(judge._comparable(name, found[m][name], m, rows[m])) for m in members]
            for name in self.names
        }
        return replace(judge, tails=tails)

    def codes(self, rows: Encoded) -> NDArray[np.float32]:
        """Return the codes of rows by the first member, (n, L)."""
        first = self.ensemble.member(0)
        known = beyond.support(self.ensemble)
        found: NDArray[np.float32] = rows.each(lambda batch: inference.encode(first, beyond.moved(known, batch)))
        return found

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return what is not in the ensemble, for a file."""
        groups = {"points": self.points, "yardsticks": self.tails, "usual": self.usual}
        each: Any = ((kind, name, m, one) for kind, of in groups.items() for name, m, one in _numbered(of))
        found = {f"{kind}.{name}.{m}": one.to_array() for kind, name, m, one in each}
        return {**found, "reference": self.reference, "steps": self.steps}

    def references(self, groups: Sequence[Array]) -> list[Array]:
        """Return the ascending numbers that others are compared with: of a calibration, steps, tails, and counts."""
        steps = [self.steps] if len(self.steps) else []
        tails = [one.scores for each in self.tails.values() for one in each]
        return [*groups, *steps, *tails, *(one.counts for each in self.usual.values() for one in each)]

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
        tails = {name: [EmpiricalTail(arrays[f"yardsticks.{name}.{m}"]) for m in members] for name in several}
        counted = [name for name in names if f"usual.{name}.0" in arrays]
        usual = {
            name: [Usual.from_array(arrays[f"usual.{name}.{m}"], name in scores.SUMS) for m in members]
            for name in counted
        }
        return Judge(ensemble, schema, names, points, tails, arrays["reference"], arrays["steps"], usual)

    def scores(self, rows: Encoded) -> Array:
        """Return the score of rows to each member, (n, M)."""
        return self.combined(self._all(rows, self.names), self.about(rows))


def _numbered(each: Mapping[str, Sequence[Any]]) -> Iterator[tuple[str, int, Any]]:
    return ((name, m, one) for name, members in each.items() for m, one in enumerate(members))


def _piece(batch: Batch, here: slice) -> Batch:
    return batch.map(lambda array: array[here])


def start(ensemble: Ensemble, schema: Schema, names: tuple[str, ...], rows: RowSource, seed: int) -> Judge:
    """Return a judge that holds each member's points of its training rows, for distances; it is not calibrated yet."""
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
    """The result of a calibration.

    Attributes:
        judge: The judge, now able to combine its scores.
        calibration: The scores of rows that members left out.
        rows: Those that the first member left out.
        scores: Its scores of them, (n,).
        codes: Those of each member, (n, M, L).
    """

    judge: Judge
    calibration: Calibration
    rows: Encoded
    scores: Array
    codes: NDArray[np.float32]


def calibrate_apart(judge: Judge, rows: Encoded, seed: int) -> Calibrated:
    """Calibrate with rows on which no member was trained.

    Several scores, and scores of series, must first be made comparable. A quarter of these rows fits the transforms
    for that, the rest calibrates. No row does both, so the p-values stay valid.
    """
    (found, codes), about = judge.held_out(rows), judge.about(rows)
    calibrating = np.arange(rows.count)
    judge = replace(judge, reference=codes[:_MOST_POINTS, 0])
    if len(judge.names) > 1 or about.counts is not None:
        order = np.random.default_rng([seed, 6]).permutation(rows.count)
        measuring, calibrating = np.split(order, [max(1, rows.count // _MEASURING_SHARE)])
        members = range(len(judge.ensemble))
        each = [{name: values[measuring, m] for name, values in found.items()} for m in members]
        judge = judge.measured(each, [_chosen(about, measuring)] * len(members))
    score = judge.combined(found, about)
    return Calibrated(judge, Calibration.of([score[calibrating].mean(1)]), rows, score[:, 0], codes)


def calibrate_across(judge: Judge, rows: Encoded) -> Calibrated:
    """Calibrate with the training rows: the member that left out a row gives it its score.

    Transforms that make the scores of a member comparable are fitted to the rows of the other folds, with the scores
    of the members that left these out.
    """
    members, (found, codes), about = range(len(judge.ensemble)), judge.held_out(rows), judge.about(rows)
    fold = rows.each(lambda batch: batch.fold)
    judge = replace(judge, reference=codes[fold == 0][:_MOST_POINTS, 0])
    if len(judge.names) > 1 or about.counts is not None:
        others = [np.flatnonzero(fold != m) for m in members]
        each = [{name: values[here, 0] for name, values in found.items()} for here in others]
        judge = judge.measured(each, [_chosen(about, here) for here in others])
    groups = []
    for m in members:
        own = np.flatnonzero(fold == m)
        part = {name: values[own] for name, values in found.items()}
        groups.append(judge.combined(part, _chosen(about, own), m)[:, 0])
    return Calibrated(judge, Calibration.of(groups), rows.of_fold(0), groups[0], codes[fold == 0])


def _usual(values: Array, counts: Any, total: bool) -> Usual:
    """Return what is usual by the rows whose score is not beyond all others."""
    inside = values < beyond.BEYOND
    here = inside if inside.any() else slice(None)
    return Usual.of(values[here], counts[here], total)


def _chosen(rows: Rows, here: NDArray[np.int64]) -> Rows:
    return Rows(None if rows.counts is None else rows.counts[here], rows.shift[here])

"""All measures of made rows, beside those of real rows, and what they say in words.

A measure of made rows is compared with the same measure of training rows, as many as there are held-out rows: what
real rows reach among themselves is the best that made ones can.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from omokage.diagnostics.findings import Finding, Findings, Verdict
from omokage.errors import DataError
from omokage.synthetic import measures
from omokage.synthetic.coded import Coded, Types, coded
from omokage.synthetic.measures import RareLevels, Usefulness

_NEAREST = 2000  # rows of each kind whose distances are looked at, at most
_TRAINING = 20_000  # training rows among which the closest are looked for, at most


@dataclass(frozen=True, eq=False)
class Quality:
    """How good made rows are, by real rows that no model was trained on.

    Attributes:
        rows: How many training, made and held-out rows were looked at.
        shapes, trends: Of made rows against held-out rows, for each column and each pair.
        real_shapes, real_trends: The same of training rows against held-out rows.
        told_apart, real_told_apart: AUROC of a classifier of made, or training, against held-out rows.
        missing: The share of missing cells of each column: of training and of made rows.
        useful: A model trained on made rows, and one trained on real rows; `None` where no column can be predicted.
        rare: Rare levels.
        distances: To the closest training row, in the sense of `closest_distances`: of made and of held-out rows.
        closer_share: The share of made rows that are closer to training rows than to as many held-out rows.
        copies, real_copies: The share of made, and of held-out, rows that are training rows cell for cell.
        member: AUROC of the model's density as a test of membership, training against held-out rows; `None` where no
            densities were given.
        tested: How many densities of each it rests on.
        library: Mean column shape and pair trend of made rows as the package SDMetrics computes them, where it is
            installed.
    """

    rows: tuple[int, int, int]
    shapes: dict[str, float]
    trends: dict[tuple[str, str], float]
    real_shapes: dict[str, float]
    real_trends: dict[tuple[str, str], float]
    told_apart: float
    real_told_apart: float
    missing: dict[str, tuple[float, float]]
    useful: Usefulness | None
    rare: RareLevels
    distances: tuple[NDArray[np.float64], NDArray[np.float64]]
    closer_share: float
    copies: float
    real_copies: float
    member: float | None
    tested: tuple[int, int]
    library: tuple[float, float] | None

    @property
    def shape(self) -> float:
        """The mean shape of the columns."""
        return measures.mean_of(self.shapes)

    @property
    def trend(self) -> float:
        """The mean trend of the pairs; NaN where there is none."""
        return measures.mean_of(self.trends)

    @property
    def nearer(self) -> float:
        """The probability that a made row is closer to the training rows than a held-out row is."""
        return measures.nearer_than(*self.distances)

    @property
    def table(self) -> list[tuple[str, str, str, str]]:
        """All figures in words: what it is, of made rows, of real rows, and what is ideal."""
        lines = [
            ("column shapes", _shown(self.shape), _shown(measures.mean_of(self.real_shapes)), "1"),
            ("pair trends", _shown(self.trend), _shown(measures.mean_of(self.real_trends)), "1"),
            ("told from real rows, AUROC", _shown(self.told_apart), _shown(self.real_told_apart), "0.5"),
        ]
        if self.useful is not None:
            what = f"predicts {self.useful.target!r} of real rows, {self.useful.score}"
            lines.append((what, _shown(self.useful.of_made), _shown(self.useful.of_real), "that of real rows"))
        if self.rare.count:
            expected = f"{self.rare.expected:.0f} of {self.rare.count}"
            lines.append(("rare levels that are there", f"{self.rare.made} of {self.rare.count}", expected, "as many"))
        lines += [
            ("closer to training rows", _shown(self.closer_share), "", "0.5"),
            ("closer than held-out rows are", _shown(self.nearer), "0.500", "0.5"),
            ("exact copies of training rows", _percent(self.copies), _percent(self.real_copies), "as many"),
        ]
        if self.member is not None:
            lines.append(("the density tells training rows, AUROC", _shown(self.member), "", "0.5"))
        return lines

    @cached_property
    def findings(self) -> Findings:
        """What is good and what is not."""
        found = [self._of_shapes(), self._of_trends(), self._of_missing(), self._of_told_apart(), self._of_use()]
        found += [self._of_rare(), self._of_distances(), self._of_copies(), self._of_membership()]
        return Findings([finding for finding in found if finding is not None])

    def __str__(self) -> str:
        return str(self.findings)

    def _of_shapes(self) -> Finding:
        best = measures.mean_of(self.real_shapes)
        verdict = _verdict(best - self.shape, 0.02, 0.08)
        worst = [name for name, gap in _gaps(self.real_shapes, self.shapes) if gap > 0.05][:5]
        which = f" The farthest from it: {_named(worst, self.shapes)}." if worst else ""
        text = f"Columns by themselves are distributed alike to {_shown(self.shape)}; real rows reach {_shown(best)}."
        return Finding("columns", verdict, text + which, {"shape": self.shape, "real": best})

    def _of_trends(self) -> Finding | None:
        if np.isnan(self.trend):
            return None
        best = measures.mean_of(self.real_trends)
        verdict = _verdict(best - self.trend, 0.03, 0.1)
        worst = [pair for pair, gap in _gaps(self.real_trends, self.trends) if gap > 0.1][:3]
        named = ", ".join(f"{one!r} with {two!r} ({self.trends[one, two]:.2f})" for one, two in worst)
        which = f" The farthest from it: {named}." if worst else ""
        text = f"Pairs of columns hang together alike to {_shown(self.trend)}; real rows reach {_shown(best)}."
        return Finding("pairs", verdict, text + which, {"trend": self.trend, "real": best})

    def _of_missing(self) -> Finding | None:
        holes = {name: shares for name, shares in self.missing.items() if max(shares)}
        if not holes:
            return None
        name, (real, made) = max(holes.items(), key=lambda item: abs(item[1][0] - item[1][1]))
        gap = abs(real - made)
        text = f"The share of missing cells differs most in {name!r}: {_percent(made)}, of real rows {_percent(real)}."
        return Finding("missing cells", _verdict(gap, 0.02, 0.1), text, {"gap": gap})

    def _of_told_apart(self) -> Finding:
        auroc = self.told_apart
        verdict = _verdict(auroc - 0.5, 0.1, 0.3)
        much = {"good": "hardly tells", "warning": "tells to some extent", "problem": "tells easily"}[verdict]
        text = f"A classifier {much} made rows from real ones: AUROC {_shown(auroc)}, where 0.5 is chance."
        if verdict == "problem":
            text += " Look at the columns and pairs above; train for longer, or with more latent dimensions."
        return Finding("told apart", verdict, text, {"auroc": auroc, "real": self.real_told_apart})

    def _of_use(self) -> Finding | None:
        if self.useful is None or not np.isfinite([self.useful.of_real, self.useful.of_made]).all():
            return None
        use = self.useful
        text = (
            f"A model that predicts {use.target!r} has {use.score} {_shown(use.of_made)} on real rows when it is "
            f"trained on made rows, and {_shown(use.of_real)} when it is trained on as many real rows."
        )
        figures = {"made": use.of_made, "real": use.of_real}
        return Finding("use", _verdict(use.of_real - use.of_made, 0.03, 0.1), text, figures)

    def _of_rare(self) -> Finding | None:
        rare = self.rare
        if not rare.count:
            return None
        text = (
            f"Of {rare.count} levels that fewer than 1 % of the rows have, {rare.made} are made; as many new real rows "
            f"would have {rare.expected:.0f}."
        )
        if rare.absent:
            text += f" Not made: {', '.join(f'{level!r} of {name!r}' for name, level, _ in rare.absent[:3])}"
            text += f" and {len(rare.absent) - 3} more." if len(rare.absent) > 3 else "."
        gap = (rare.expected - rare.made) / rare.count
        return Finding("rare levels", _verdict(gap, 0.1, 0.4), text, {"made": rare.made, "expected": rare.expected})

    def _of_distances(self) -> Finding:
        error = _error(*map(len, self.distances))
        excess = max(self.nearer, self.closer_share) - 0.5
        verdict = _verdict(excess - 3 * error, 0.05, 0.15)
        text = (
            f"{_percent(self.closer_share)} of the made rows are closer to training rows than to as many held-out "
            f"rows; 50 % is ideal. A made row is closer to the training rows than a held-out row is with a "
            f"probability of {_percent(self.nearer)}."
        )
        text += "" if verdict == "good" else " Rows seem to be learned by heart: train for fewer epochs."
        return Finding("closest rows", verdict, text, {"share": self.closer_share, "nearer": self.nearer})

    def _of_copies(self) -> Finding:
        chance = 3 * np.sqrt(max(self.real_copies * (1 - self.real_copies), 1e-9) / max(self.rows[2], 1))
        verdict = _verdict(self.copies - self.real_copies - chance, 0.005, 0.05)
        text = (
            f"{_percent(self.copies)} of the made rows are training rows, cell for cell; of the held-out rows "
            f"{_percent(self.real_copies)} are."
        )
        return Finding("copies", verdict, text, {"made": self.copies, "real": self.real_copies})

    def _of_membership(self) -> Finding | None:
        if self.member is None:
            return None
        error = _error(*self.tested)
        verdict = _verdict(self.member - 0.5 - 2 * error, 0.05, 0.15)
        text = (
            f"Whether a row was trained on can be told by the model's density with an AUROC of {_shown(self.member)} "
            f"(± {error:.2f}), where 0.5 is chance."
        )
        text += "" if verdict == "good" else " Keep the model to yourself, or train it for fewer epochs."
        return Finding("membership", verdict, text, {"auroc": self.member})


def evaluate(
    train: Any,
    made: Any,
    held_out: Any,
    *,
    types: Types | None = None,
    target: str | None = None,
    densities: tuple[ArrayLike, ArrayLike] | None = None,
    seed: int = 0,
) -> Quality:
    """Return how good made rows are.

    Args:
        train: The rows that the model was trained on, in any container.
        made: Made rows, best as many, with the same columns.
        held_out: Real rows that the model has not seen.
        types: What columns hold, by name, as `omokage.data.Columns` takes it, or as a fit found it.
        target: The column that models predict; `None`: the last.
        densities: The log-density that the model gives to some training rows, (n,), and to some held-out rows, (m,).
        seed: Of which rows are looked at.

    Raises:
        DataError: If columns are missing, or there are fewer than 10 rows of one kind.

    Example:
        >>> import polars
        >>> rows = polars.DataFrame({"a": [float(number % 37) for number in range(300)], "b": ["x", "y", "z"] * 100})
        >>> quality = evaluate(rows[:100], rows[100:200], rows[200:])
        >>> quality.rows, round(quality.shape, 2)
        ((100, 100, 100), 0.94)
    """
    first, rows, rest = coded(train, made, held_out, types=types)
    if min(map(len, (first, rows, rest))) < 10:
        raise DataError(
            f"train, made, held_out: expected at least 10 rows of each; got {len(first)}, {len(rows)}, {len(rest)}."
        )
    reference = first.drawn(len(rows), seed)
    distances, share = _distances(first, rows, rest, seed)
    holes = [np.isnan(table.values).mean(0) for table in (first, rows)]
    member = None if densities is None else 1 - measures.nearer_than(*densities)
    return Quality(
        rows=(len(first), len(rows), len(rest)),
        shapes=measures.column_shapes(rest, rows),
        trends=measures.pair_trends(rest, rows),
        real_shapes=measures.column_shapes(rest, reference),
        real_trends=measures.pair_trends(rest, reference),
        told_apart=measures.told_apart(rest, rows, seed=seed),
        real_told_apart=measures.told_apart(rest, reference, seed=seed),
        missing={name: (float(holes[0][j]), float(holes[1][j])) for j, name in enumerate(first.names)},
        useful=None if len(first.names) < 2 else measures.usefulness(first, rows, rest, target, seed=seed),
        rare=measures.rare_levels(first, rows),
        distances=distances,
        closer_share=share,
        copies=measures.copies(first, rows),
        real_copies=measures.copies(first, rest),
        member=member,
        tested=(0, 0) if densities is None else (len(np.asarray(densities[0])), len(np.asarray(densities[1]))),
        library=measures.by_sdmetrics(rest, rows),
    )


def _distances(
    first: Coded, rows: Coded, rest: Coded, seed: int
) -> tuple[tuple[NDArray[np.float64], NDArray[np.float64]], float]:
    among = first.drawn(_TRAINING, seed)
    some, others = rows.drawn(_NEAREST, seed), rest.drawn(_NEAREST, seed)
    found = tuple(measures.closest_distances(table, among) for table in (some, others))
    return (found[0], found[1]), measures.closest_row_share(first, some, rest.drawn(_TRAINING, seed), seed=seed)


def _verdict(gap: float, good: float, bad: float) -> Verdict:
    return "good" if not gap > good else "warning" if gap <= bad else "problem"


def _gaps(real: dict[Any, float], made: dict[Any, float]) -> list[tuple[Any, float]]:
    """Return how far made rows are behind real ones, the farthest first, where both are defined."""
    gaps = [(name, real[name] - made[name]) for name in made]
    return sorted((gap for gap in gaps if np.isfinite(gap[1])), key=lambda gap: -gap[1])


def _error(first: int, second: int) -> float:
    """Return the standard error of an AUROC of 0.5."""
    return float(np.sqrt((first + second + 1) / (12 * max(first, 1) * max(second, 1))))


def _named(names: list[str], scores: dict[str, float]) -> str:
    return ", ".join(f"{name!r} ({scores[name]:.2f})" for name in names)


def _shown(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.3f}"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"

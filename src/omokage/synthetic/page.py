"""How good made rows are, as one HTML page: findings first, then columns, pairs, use, and privacy."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omokage import plots
from omokage.data.column_types import Time
from omokage.report.page import Picture, Section, Table, write_report
from omokage.synthetic.coded import Coded, Types, coded
from omokage.synthetic.quality import Quality

_PANELS, _PAIRS = 8, 10
_LIMITS = (
    "A good answer here is no proof. The three tests look for rows that were learned by heart; none of them is a "
    "guarantee such as differential privacy gives. A level or a number that only one person has, and that is made "
    "again, can still say something about this person."
)


def quality_page(
    path: Path,
    quality: Quality,
    train: Any,
    made: Any,
    held_out: Any,
    *,
    types: Types | None = None,
    title: str = "a table",
) -> Path:
    """Write how good made rows are as one HTML file.

    Args:
        path: The file; one that is there is replaced.
        quality: What `evaluate` answered.
        train, made, held_out: The rows that it was asked about.
        types: What columns hold, as it was given.
        title: What the table is called.

    Returns:
        The absolute path.

    Raises:
        DataError: If columns are missing.
        FileFormatError: If the file cannot be written.
    """
    _, rows, rest = coded(train, made, held_out, types=types)
    first, second, third = quality.rows
    lead = (
        f"Rows made like those of {title}. A model was trained on {first:,} rows; {second:,} made rows are compared "
        f"with {third:,} rows that it has not seen. Beside each figure stands what real rows reach among themselves."
    )
    figures = Table(["figure", "made rows", "real rows", "ideal"], quality.table, _library(quality))
    sections = [
        Section("What is good, and what is not", findings=quality.findings),
        _columns(quality, rows, rest, types or {}),
        *([_pairs(quality)] if quality.trends else []),
        _privacy(quality),
    ]
    return write_report(path, "Made rows", sections, lead=lead, key_figures=figures)


def _library(quality: Quality) -> str:
    if quality.library is None:
        return ""
    shape, trend = quality.library
    return f"SDMetrics itself finds {shape:.3f} for column shapes and {trend:.3f} for pair trends of the made rows."


def _columns(quality: Quality, rows: Coded, rest: Coded, types: Types) -> Section:
    """Return the columns by themselves, the farthest from real ones first."""
    gaps = {name: np.nan_to_num(quality.real_shapes[name] - quality.shapes[name], nan=-1.0) for name in rows.names}
    order = sorted(rows.names, key=lambda name: -gaps[name])
    drawn = [name for name in order if np.isfinite(quality.shapes[name])][:_PANELS]
    cells = []
    for name in order:
        real, made = quality.missing[name]
        missing = f"{100 * made:.3g} % ({100 * real:.3g} %)" if real or made else ""
        kind = "numbers" if rows.numeric[rows.names.index(name)] else "levels"
        kind = "times" if isinstance(types.get(name), Time) else kind
        cells.append((name, kind, _number(quality.shapes[name]), _number(quality.real_shapes[name]), missing))
    table = Table(["column", "holds", "made rows", "real rows", "missing (of real rows)"], cells)
    text = (
        "How alike a column by itself is distributed: of numbers and times one minus the Kolmogorov-Smirnov statistic, "
        "of levels one minus the total variation distance, as in SDMetrics. 1 is alike."
    )
    if not drawn:
        return Section("Columns", [text], table=table)
    pairs = [{name: _values(table, name, types.get(name)) for name in drawn} for table in (rest, rows)]
    which = "All columns" if len(drawn) == len(order) else f"The {len(drawn)} columns that are farthest"
    caption = f"{which}, the farthest first: held-out rows filled, made rows as a line. The ends hold what is beyond."
    alternative = "Distributions of columns in real and in made rows."
    return Section("Columns", [text], [Picture(plots.marginals(*pairs), alternative, caption)], table)


def _values(table: Coded, name: str, kind: Any) -> NDArray[Any]:
    """Return a column for a picture: numbers, times or levels."""
    j = table.names.index(name)
    column = table.values[:, j]
    if isinstance(kind, Time):
        first = np.datetime64(kind.first[:19], "s")
        return first + np.rint(column[~np.isnan(column)]).astype("timedelta64[s]")
    if table.numeric[j]:
        return column
    there = column[~np.isnan(column)].astype(np.int64)
    return np.array(table.levels[j], object)[there]


def _pairs(quality: Quality) -> Section:
    text = (
        "How alike two columns hang together: of numbers and times one minus half the difference of their "
        "correlations, of others one minus the total variation distance of their joint shares, as in SDMetrics. 1 is "
        "alike."
    )
    gaps = [(pair, quality.real_trends[pair] - trend) for pair, trend in quality.trends.items() if np.isfinite(trend)]
    gaps.sort(key=lambda gap: -np.nan_to_num(gap[1]))
    cells = [
        (f"{one} × {two}", _number(quality.trends[one, two]), _number(quality.real_trends[one, two]))
        for (one, two), _ in gaps[:_PAIRS]
    ]
    caption = "The darker a pair, the less it hangs together as in real rows."
    figure = plots.pair_heat_map(dict(gaps), unit="trend of real rows − trend of made rows")
    picture = Picture(figure, "How far each pair of columns is from real rows.", caption)
    table = Table(["pair", "made rows", "real rows"], cells, "The pairs that are farthest.")
    return Section("Pairs of columns", [text], [picture], table)


def _privacy(quality: Quality) -> Section:
    text = (
        "If made rows lie closer to the rows that the model was trained on than new real rows do, it has learned rows "
        "by heart. The distance of two rows is the sum of the differences of numbers, each as a share of its range, "
        "and 2 for each level that differs."
    )
    caption = "Distances of made rows are to be like those of held-out rows: not smaller, and hardly larger."
    picture = Picture(
        plots.closest_row_histogram(*quality.distances),
        "Distances to the closest training row, of held-out and of made rows.",
        caption,
    )
    return Section("Privacy", [text, _LIMITS], [picture])


def _number(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.3f}"

"""The form of a table: what is given to a model in its place, and how draws become rows like its own again.

Missing cells are modelled. Before each column with missing cells there is one more, true where a cell is there, and
cells of draws are emptied where it says so. So the model learns how likely a cell is missing given all others. To an
autoregressive likelihood the two are one cell: what it draws for a cell that is missing is not told to the others.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from omokage.data.column_types import Category, ColumnType, LeftOut, Number, Time
from omokage.data.frames import Container, like, series_of
from omokage.data.kinds.tables import Columns, TableRows
from omokage.files.numbers import Notation
from omokage.synthetic.coded import seconds
from omokage.synthetic.keys import are_keys, new_keys


@dataclass(frozen=True, eq=False)
class Form:
    """What is known of a table, from its training rows.

    Attributes:
        kind: How it is read.
        source: The rows, as Polars has them, in the order of their columns.
        rows: The same with null for each missing cell, and spans of time as seconds.
        types: What columns hold that are input, or why they are none.
        flags: The names of the columns that say what is there, for each column with missing cells.
        speaks: Which of these is believed, for each column with missing cells: one for all that are missing together.
    """

    kind: Columns
    source: pl.DataFrame
    rows: pl.DataFrame
    types: Mapping[str, ColumnType | LeftOut]
    flags: Mapping[str, str]
    speaks: Mapping[str, str]

    @staticmethod
    def of(source: pl.DataFrame, kind: Columns) -> "Form":
        """Return the form of rows; raises DataError if nothing can be learned of them."""
        rows = readable(source, kind)
        found = TableRows(rows, kind)
        used = [name for name in rows.columns if name not in found.left_out]
        types = {**dict(zip(used, found.types, strict=True)), **found.left_out}
        flags: dict[str, str] = {}
        speaks: dict[str, str] = {}
        known: dict[bytes, str] = {}
        for column in rows.get_columns():
            if column.null_count() in (0, len(column)) or not (column.name in used or are_keys(column)):
                continue
            flags[column.name] = f"{column.name} is there"
            while flags[column.name] in rows.columns:
                flags[column.name] += "_"
            speaks[column.name] = known.setdefault(column.is_null().to_numpy().tobytes(), flags[column.name])
        ordered = {name: types[name] for name in rows.columns}
        return Form(kind, source, rows, ordered, flags, speaks)

    @property
    def used(self) -> tuple[str, ...]:
        """The columns that are input."""
        return tuple(name for name, kind in self.types.items() if not isinstance(kind, LeftOut))

    @property
    def asked(self) -> Columns:
        """How the input is read."""
        types = {name: chosen for name, chosen in self.kind.asked.items() if name in self.used}
        return dataclasses.replace(self.kind, types=types)

    def given(self, source: pl.DataFrame) -> pl.DataFrame:
        """Return rows as a model is given them: the columns that are input, behind those that say what is there."""
        rows = readable(source, self.kind)
        flags = {name: pl.col(name).is_not_null().alias(flag) for name, flag in self.flags.items()}
        pairs = [(flags.get(name), pl.col(name) if name in self.used else None) for name in self.types]
        return rows.select([one for pair in pairs for one in pair if one is not None])

    @property
    def cells(self) -> tuple[tuple[int | None, ...], ...]:
        """What `Autoregressive` takes: a column and what says whether its cells are there are one cell."""
        parts = [
            ((2,) if name in self.flags else ()) + (() if isinstance(kind, LeftOut) else kind.classes)
            for name, kind in self.types.items()
        ]
        return tuple(part for part in parts if part)

    @property
    def left_out(self) -> str:
        """What becomes of the columns that are no input, in words; nothing where there are none."""
        kinds: dict[str, list[str]] = {"made anew": [], "left empty": []}
        for name, kind in self.types.items():
            if isinstance(kind, LeftOut):
                anew = are_keys(self.rows[name])
                text = not anew and self.rows[name].dtype == pl.String and kind.why.startswith("a key")
                kinds["made anew" if anew else "left empty"].append(f"{name!r} ({'free text' if text else kind.why})")
        return "; ".join(f"{what}: {', '.join(names)}" for what, names in kinds.items() if names)

    def finished(self, drawn: pl.DataFrame, seed: int, known: pl.DataFrame) -> pl.DataFrame:
        """Return draws of a model as rows like those of the table: its columns, types, ranges, levels and holes.

        Args:
            drawn: Draws, with the columns of `given`.
            seed: Of new keys.
            known: Rows of the table, none of whose keys is made again.
        """
        random = np.random.default_rng([seed, 7])
        columns = []
        for name, kind in self.types.items():
            source, rows = self.source[name], self.rows[name]
            if not isinstance(kind, LeftOut):
                cells = self._within(kind, rows, drawn[name], random)
            elif are_keys(rows):
                cells = new_keys(readable(known.select(name), self.kind)[name], drawn.height, random)
            else:
                cells = pl.Series([None] * drawn.height, dtype=rows.dtype)
            if name in self.flags:
                there = drawn[self.speaks[name]].cast(pl.Boolean).fill_null(value=True)
                cells = pl.select(pl.when(there).then(cells)).to_series()
            columns.append(_typed(cells, source, kind).alias(name))
        return pl.DataFrame(columns)

    @staticmethod
    def _within(kind: ColumnType, rows: pl.Series, drawn: pl.Series, random: np.random.Generator) -> pl.Series:
        """Return drawn cells within the range of the real ones; rare levels in place of what stands for them."""
        if isinstance(kind, Category):
            if not kind.rare:
                return drawn
            rare = rows.filter(rows.is_in(list(kind.rare)))
            shared = (drawn == kind.levels[-1]).fill_null(value=False)
            chosen = rare.cast(drawn.dtype).gather(random.integers(0, len(rare), len(drawn)))
            return pl.select(pl.when(shared).then(chosen).otherwise(drawn)).to_series()
        plain = dataclasses.replace(kind, spikes=(), spline=None) if isinstance(kind, Number) else kind
        real, made = plain.read(rows), plain.read(drawn)
        return plain.write(_reflected(made, float(np.nanmin(real)), float(np.nanmax(real)), _step(kind)))


def _step(kind: Number | Time) -> float:
    """Return the distance of neighbouring values, 0 for numbers of any decimals."""
    if isinstance(kind, Time):
        return 86_400.0 if kind.dates else 1.0
    return 0.0 if kind.decimals is None else 10.0**-kind.decimals


def _reflected(values: NDArray[np.float64], low: float, high: float, step: float = 0.0) -> NDArray[np.float64]:
    """Return values within a range: those beyond an end as far inside of it, so that they do not pile up there.

    Example:
        >>> _reflected(np.array([-1.0, 4.0, 12.0, 99.0]), 0.0, 10.0).tolist()
        [1.0, 4.0, 8.0, 0.0]
        >>> _reflected(np.array([-1.0, 0.0, 12.0]), 0.0, 10.0, step=1.0).tolist()
        [0.0, 0.0, 9.0]
    """
    values = np.where(values < low, 2 * low - step - values, values)
    return np.clip(np.where(values > high, 2 * high + step - values, values), low, high)


def readable(source: pl.DataFrame, kind: Columns) -> pl.DataFrame:
    """Return rows with null for each missing cell, and spans of time as seconds."""
    return pl.DataFrame([seconds(column) for column in kind.read(source)])


def in_container(frame: pl.DataFrame, container: Container, source: Any) -> Any:
    """Return a frame in a container, with the types that the columns of `source` have there."""
    made = like(frame, container)
    if container == "pandas":
        for name, original in zip(frame.columns, source.columns, strict=True):
            try:
                made[name] = made[name].astype(source[original].dtype)
            except (TypeError, ValueError):  # as whole numbers with holes: then in the nearest type that can
                continue
        made.columns = source.columns
    if container == "pyarrow":
        made = made.cast(source.schema)
    return made


def _typed(cells: pl.Series, source: pl.Series, kind: ColumnType | LeftOut) -> pl.Series:
    """Return cells in the type of the column that they stand for."""
    dtype = source.dtype
    if dtype == cells.dtype:
        return cells
    if dtype == pl.String and isinstance(kind, Number):
        return _written(cells, source, Notation(*(kind.notation or (".", ""))))
    if isinstance(dtype, pl.Duration):
        return (cells * 1e6).round().cast(pl.Int64).cast(pl.Duration("us")).cast(dtype)
    if dtype == pl.Time:
        return (cells.clip(0, 86_399.999) * 1e9).round().cast(pl.Int64).cast(pl.Time)
    if isinstance(dtype, pl.Datetime) and isinstance(kind, Time):
        moments = cells if cells.dtype.is_temporal() else cells.str.to_datetime()
        moments = moments.cast(pl.Datetime("us")) if moments.dtype == pl.Date else moments
        return (moments.dt.convert_time_zone(dtype.time_zone) if dtype.time_zone else moments).cast(dtype)
    if dtype.is_integer() and cells.dtype.is_float():
        cells = cells.round()
    return cells.cast(dtype)


def _written(cells: pl.Series, source: pl.Series, notation: Notation) -> pl.Series:
    """Return numbers as text, as the cells of a column write them."""
    texts = source.drop_nulls().str.strip_chars().filter(source.drop_nulls().str.contains(r"\d"))
    behind = texts.str.split(notation.decimal).list.get(1, null_on_oob=True).fill_null("").str.len_chars()
    fixed = int(behind.max() or 0) if behind.n_unique() == 1 else None  # type: ignore[arg-type]
    grouped = (
        notation.thousands if notation.thousands and texts.str.contains(notation.thousands, literal=True).any() else ""
    )

    def text(value: float | None) -> str | None:
        if value is None:
            return None
        shown = f"{value:,.{fixed}f}" if fixed is not None else f"{value:,.6f}".rstrip("0").rstrip(".")
        return "".join({",": grouped, ".": notation.decimal}.get(letter, letter) for letter in shown)

    return pl.Series([text(value) for value in cells.to_list()], dtype=pl.String)


def frame_like(X: Any) -> pl.DataFrame:
    """Return a table in any container as a frame of Polars; the columns of an array are named by their number."""
    return pl.DataFrame(series_of(X))


def divided(rows: int, held_out: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the places of training rows and of held-out rows, both in the order of the table."""
    order = np.random.default_rng([seed, 11]).permutation(rows)
    apart = round(rows * held_out)
    return np.sort(order[apart:]), np.sort(order[:apart])

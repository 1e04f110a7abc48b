"""Tables as people have them: numbers, categories, times, holes; each column of a type of its own.

Data frames and files that hold anything but plain numbers are tables, and so is what is read with `data="table"`. What
each column holds is decided by its values (`omokage.data.column_types`), once, at the fit. A missing cell is masked: it
counts in no density, and networks are told that it is missing.
"""

import copy
import functools
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

from omokage.batch import Batch, Cells, Event
from omokage.data import column_types
from omokage.data.column_types import AUTO, LEVELS, Category, ColumnType, LeftOut, Number, NumberRule, Splined, Time
from omokage.data.column_types.holes import with_holes
from omokage.data.column_types.survey import Survey
from omokage.data.columns import ColumnSchema, Moments, Standardization, check_names
from omokage.data.conditions import Where
from omokage.data.containers import check_support, checked_weight, opened, values
from omokage.data.encoded import Encoded
from omokage.data.filling import Filling, as_given
from omokage.data.frames import Container, frame_of, like, series_of, textual
from omokage.data.kinds.base import Given, Kind, Schema
from omokage.data.rows import MemoryRows, RowSource, canonical_order, divide
from omokage.data.splines import Values
from omokage.errors import DataError, FileFormatError, ParameterError, check_counts, is_number, listing, suggest
from omokage.files.formats import MISSING
from omokage.supports import REAL, Support
from omokage.tables import aligned

_SHOWN = 5  # names in a warning
_ANNOUNCED = 60  # columns


@dataclass(frozen=True)
class Columns(Kind):
    """Rows of a table, whose columns hold numbers, categories or times, and may have holes.

    Attributes:
        types: What columns hold, by name, where their values do not say it: "number", "category" (also of whole
            numbers), "time" or "ignore". Columns of an array are named by their number, counted from 0. A dictionary;
            it is kept as pairs.
        missing: Cells of text that stand for a missing value, apart from spaces around them. Dashes and points do so
            without being named, where all other cells of the column have two letters or more.
        levels: How many levels a category has at most; the rarest beyond them share one.
        spline: Whether numbers are mapped to normal scores by a monotone spline of their quantiles. "auto": where a
            normal distribution then fits values that were held out better, by a twentieth of a nat a value or more.
        often: The share of the rows from which on a number that repeats is a point mass; the others have a density.
        few: A column with at most so many different numbers has point masses only, if ten rows have each on average.

    Raises:
        ParameterError: If a type is not one of these.

    Example:
        >>> import omokage as om, polars
        >>> parts = polars.DataFrame({"lot": ["A", "B", "A", "B"] * 5, "width": [1.5, None, 1.25, 2.0] * 5})
        >>> vae = om.VAE(1, hidden=(), epochs=1, verbose=0, data=om.data.Columns(types={"lot": "category"})).fit(parts)
        >>> vae.sample(2).columns
        ['lot', 'width']
    """

    types: Mapping[str, str] | Sequence[tuple[str, str]] = ()
    missing: Sequence[str] = MISSING
    levels: int = LEVELS
    spline: Splined = "auto"
    often: float = AUTO.often
    few: int = AUTO.few
    name: ClassVar[str] = "table"

    def __post_init__(self) -> None:
        """Check the settings, and keep them in a form that can be compared and written down."""
        given = self.types.items() if isinstance(self.types, Mapping) else self.types
        if not isinstance(given, Iterable) or not all(isinstance(one, tuple | list) and len(one) == 2 for one in given):
            raise ParameterError(
                f"Columns(types={self.types!r}): expected a dictionary, such as {{'lot': 'category'}}."
            )
        for column, chosen in given:
            if chosen not in column_types.NAMES:
                raise ParameterError(
                    f"Columns: types: column {str(column)!r}: expected one of "
                    f"{', '.join(map(repr, column_types.NAMES))}; got {chosen!r}."
                    + suggest(str(chosen), column_types.NAMES)
                )
        words = (self.missing,) if isinstance(self.missing, str) else self.missing
        if not all(isinstance(word, str) for word in words):
            raise ParameterError(f"Columns(missing={self.missing!r}): expected a list of texts.")
        check_counts(self, "levels")
        if self.levels < 2:
            raise ParameterError(f"Columns(levels={self.levels}): expected a whole number of at least 2.")
        if self.spline != "auto" and not isinstance(self.spline, bool):
            raise ParameterError(f"Columns(spline={self.spline!r}): expected 'auto', True or False.")
        if not is_number(self.often, 0, 1):
            raise ParameterError(f"Columns(often={self.often!r}): expected a share of the rows, from 0 to 1.")
        if type(self.few) is not int or not 0 <= self.few <= LEVELS:
            raise ParameterError(f"Columns(few={self.few!r}): expected a whole number from 0 to {LEVELS}.")
        object.__setattr__(self, "types", tuple((str(column), chosen) for column, chosen in given))
        object.__setattr__(self, "missing", tuple(word.strip() for word in words))

    @property
    def rule(self) -> NumberRule:
        """What is decided of columns of numbers."""
        return NumberRule(self.spline, self.often, self.few)

    @property
    def asked(self) -> dict[str, str]:
        """What columns hold, by name, where that was said."""
        return dict(self.types)

    def rows(self, X: Any, sample_weight: Any = None, *, estimator: str = "") -> "TableRows":
        """Return training rows, read and checked; see `Kind.rows`."""
        from omokage.data.kinds import table_streams  # which builds on this module

        if table_streams.is_large(X):
            return table_streams.StreamedTable(X, self, sample_weight)
        return TableRows(X, self, sample_weight)

    def read(self, X: Any, name: str = "X", dashes: Mapping[str, bool] | None = None) -> list[pl.Series]:
        """Return the columns of a frame, an array or an open file, with nulls where cells are missing.

        Of columns that `dashes` names it says whether dashes are missing cells; of others their cells do.

        Raises:
            DataError: If it is no table.
        """
        rows = X.read() if hasattr(X, "batches") else X
        said = dashes or {}
        return [with_holes(column, self.missing, said.get(column.name)) for column in series_of(rows, name)]

    @staticmethod
    def schema_from_json(value: Mapping[str, Any]) -> "TableSchema":
        """Return the schema that `to_json` wrote; raises FileFormatError if it is not sound."""
        return TableSchema.from_json(value)


@dataclass(frozen=True, eq=False)
class TableSchema(Schema):
    """What was learned of a table. A cell is one number to a model or two, its entries: E for a row, of D columns.

    Attributes:
        columns: Of the entries.
        kind: How tables are read.
        types: What each column holds that is input.
        left_out: The other columns, by name, and why they are no input.
        observed: The share of the training rows that has each entry, (E,).
        slope: What to add to log p of a row's entries to get that of its cells, before standardising: the mean over the
            training rows, in nats.
        container: What came at the fit, and so comes back: see `omokage.data.frames.like`.
        order: The names of all columns of the fit.
    """

    columns: ColumnSchema
    kind: Columns
    types: tuple[ColumnType, ...]
    left_out: Mapping[str, LeftOut]
    observed: NDArray[np.float64]
    slope: float
    container: Container
    order: tuple[str, ...]
    can_miss: ClassVar[bool] = True

    @property
    def event(self) -> Event:
        """One row, as the model side sees it."""
        return self.columns.event.with_holes(self.columns.features if (self.observed < 1).any() else 0)

    @cached_property
    def owner(self) -> NDArray[np.int64]:
        """Which column each entry is of, (E,)."""
        return np.repeat(np.arange(len(self.types)), [len(kind.classes) for kind in self.types])

    @property
    def cells_of_entries(self) -> tuple[NDArray[np.int64], tuple[int | None, ...]]:
        """Which cell each entry of a row is of, (E,), and how many classes it has; `None`: it is a number."""
        return self.owner, tuple(count for kind in self.types for count in kind.classes)

    def opened(self, X: Any) -> Any:
        """Return the rows of a file, where X is one or the path of one, else X; a large one stays open."""
        from omokage.data.kinds import table_streams  # which builds on this module

        X = opened(X)
        return X if table_streams.is_large(X) else values(X)

    def rows(self, X: Any, *, support: Support = REAL, name: str = "X", estimator: str = "") -> Encoded:
        """Return rows of a table, checked and encoded; see `Schema.rows`."""
        from omokage.data.kinds import table_streams

        X = self.opened(X)
        if hasattr(X, "batches"):
            return table_streams.encoded(self, X, support, name)
        return Encoded.of(self.encode(self.checked(self.selected(self.kind.read(X, name), name), support, name)))

    def checked(self, read: Sequence[pl.Series], support: Support, name: str = "X") -> Values:
        """Return the entries of the columns that are input, raw, (n, E), checked to lie where the likelihood does."""
        self._warn_of_unseen(read, name)
        raw = self.entries(read, name)
        inside = np.broadcast_to(support.inside, raw.shape[1:])
        check_support(np.where(np.isnan(raw), inside, raw), support, self.columns.names, name)
        return raw

    def entries(self, read: Sequence[pl.Series], name: str = "X") -> Values:
        """Return the entries of the columns that are input, raw, (n, E), with NaN for those that are missing."""
        return np.column_stack([one.read(column, name) for one, column in zip(self.types, read, strict=True)])

    def conditions(self, where: Any, support: Support = REAL) -> Where:
        """Return conditions on columns, read and checked; see `Schema.conditions`."""
        left_out = {name: f"is left out ({reason.why})" for name, reason in self.left_out.items()}
        return Where.of(where, self._used, self.types, self.columns, support, left_out)

    def selected(self, read: list[pl.Series], name: str = "X") -> list[pl.Series]:
        """Return the columns that are input, in the order of the fit; raises DataError if there are others."""
        if self.names is None:
            if len(read) != len(self.order):
                raise DataError(f"{name} has {len(read)} columns; expected {len(self.order)}, as at the fit.")
            return [column for column, known in zip(read, self.order, strict=True) if known not in self.left_out]
        check_names(self.names, [column.name for column in read if column.name not in self.left_out], name)
        by_name = {column.name: column for column in read}
        return [by_name[column] for column in self.names]

    def _warn_of_unseen(self, read: Sequence[pl.Series], name: str) -> None:
        """Name the levels that the fit did not see."""
        for kind, column in zip(self.types, read, strict=True):
            if isinstance(kind, Category) and (unseen := kind.unseen(column)):
                warnings.warn(
                    f"{name}: column {column.name!r} has {'levels' if len(unseen) > 1 else 'a level'} that the fit did "
                    f"not see: {listing(unseen, _SHOWN)}. To the networks such a cell is missing; its density is below "
                    "that of every level that was seen.",
                    stacklevel=5,
                )

    def encode(self, raw: Values) -> Batch:
        """Return standardised rows and which entries are there, from raw entries with NaN for the others."""
        x = self.columns.encode(raw)
        there = ~np.isnan(x)
        # The same arrays for all rows of a fit with holes, so that one program serves them.
        mask = there if self.event.missing or not there.all() else None
        return Batch(np.where(there, x, np.float32(0)), mask=mask)

    def decode(self, x: Any, rows: Encoded | None = None) -> Any:
        """Return rows of a table, in the container of the fit, from standardised ones, (n, E)."""
        return self.written(self.columns.decode(x))

    def written(self, raw: Values) -> Any:
        """Return rows of a table, in the container of the fit, from raw entries, (n, E)."""
        cells = [kind.write(raw[:, self.owner == j]).alias(self.table_names[j]) for j, kind in enumerate(self.types)]
        return self._like(pl.DataFrame(cells))

    def _like(self, frame: pl.DataFrame) -> Any:
        if self.names is None:  # an array has all columns again
            empty = pl.Series([None] * frame.height, dtype=pl.Float64)
            known = dict(zip((one for one in self.order if one not in self.left_out), frame.get_columns(), strict=True))
            frame = pl.DataFrame([known.get(one, empty).alias(one) for one in self.order])
        return like(frame, self.container)

    @cached_property
    def _filling(self) -> Filling:
        return Filling(self.types, self.owner, self.columns)

    def cells(self, places: NDArray[np.int64]) -> Cells:
        """Return what cells are made of: a class that has a value or is none of them, a number along a curve."""
        return self._filling.cells(places)

    def filled(self, found: Mapping[str, Any], rows: Encoded, rounding: bool = True) -> Any:
        """Return rows of a table in which what is missing is its mean, or its most likely level; see `Schema.filled`.

        Without `rounding` numbers are the means as they are, also of levels that are numbers.
        """
        cells = self._filling.filled(found, rounding)
        return self._like(pl.DataFrame([cell.alias(name) for cell, name in zip(cells, self.table_names, strict=True)]))

    def deviations(self, X: Any, found: Mapping[str, Any], rows: Encoded) -> Any:
        """Return the standard error of each cell that was filled, in the container of the fit; see `Schema.deviations`.

        Those of times are in seconds.
        """
        errors = self._filling.errors(found)
        read = {column.name: column for column in self.kind.read(X)}
        given = self.selected(list(read.values()))
        columns = {}
        for name, error, cells in zip(self._used, errors.T, given, strict=True):
            columns[name] = np.where(cells.is_null().to_numpy(), error, 0.0)
        blank = np.zeros(len(errors))
        names = self.order if self.names is None else [name for name in self.order if name in columns or name in read]
        return like(pl.DataFrame({name: columns.get(name, blank) for name in names}), self.container)

    def kept(self, X: Any, filled: Any) -> Any:
        """Return `filled`, with the cells that X has as X has them, and the columns that are no input."""
        read = self.kind.read(X)
        given, frame = self.selected(read), pl.DataFrame(series_of(filled))
        if self.names is None:
            frame = frame.select([one for one in frame.columns if str(one) not in self.left_out])
        parts = {}
        for name, kind, there, new in zip(self._used, self.types, given, frame.get_columns(), strict=True):
            cells = as_given(kind, there, new)
            parts[name] = pl.select(pl.when(cells.is_null()).then(new).otherwise(cells)).to_series()
        whole = series_of(X.read() if hasattr(X, "batches") else X)
        others = dict(zip(self.order, whole, strict=True)) if self.names is None else {one.name: one for one in whole}
        columns = [parts.get(name, others.get(name)) for name in self.order]
        found = [one.alias(name) for name, one in zip(self.order, columns, strict=True) if one is not None]
        return like(pl.DataFrame(found), self.container)

    def by_entry(self, values: Any, rows: Encoded | None = None) -> Any:
        """Return numbers for each cell, (n, D), from those of entries, (n, E); NaN where a cell is missing."""
        entries = np.asarray(values)
        found = np.stack([self._of_cells(entries[:, self.owner == j]) for j in range(self.features)], 1)
        if self.names is not None:
            return found
        whole = np.full((len(found), len(self.order)), np.nan)
        whole[:, [one not in self.left_out for one in self.order]] = found
        return whole

    @staticmethod
    def _of_cells(entries: NDArray[Any]) -> NDArray[Any]:
        """Return the sum of the entries of each cell that are there, (n,), from (n, e); NaN where none is."""
        return np.where(np.isnan(entries).all(1), np.nan, np.nansum(entries, 1))

    def sentence(
        self, rows: Encoded, normal: Any, nats: NDArray[np.float64] | None
    ) -> Callable[[int, int], str] | None:
        """Return what says why a cell is strange; see `Schema.sentence`."""
        batch, names = rows.whole, self.table_names
        given, expected = self.columns.decode(batch.x), self.columns.decode(normal)

        @functools.cache
        def written(column: int) -> tuple[pl.Series, pl.Series]:
            entries = self.owner == column
            return self.types[column].write(given[:, entries]), self.types[column].write(expected[:, entries])

        def said(row: int, column: int) -> str:
            entries, kind = self.owner == column, self.types[column]
            if batch.mask is not None and not batch.mask[row, entries].any():
                return f"{names[column]} is missing"
            cell, usual = (cells[row] for cells in written(column))
            if not isinstance(kind, Category):
                return f"{names[column]} = {cell}, where {usual} is expected"
            if cell is None:
                return f"{names[column]} has a level that the fit did not see, where {usual!r} is expected"
            if nats is None:
                return f"{names[column]} = {cell!r}, where {usual!r} is expected"
            return f"{names[column]} = {cell!r}: {_percent(np.exp(-nats[row, column]))} of rows like this have it"

        return said

    def by_column(self, row: Any) -> NDArray[np.float64]:
        """Return the sums of numbers of a row's entries, (E,), over those of each column, (D,)."""
        return np.asarray(np.bincount(self.owner, np.nan_to_num(np.asarray(row)), self.features), np.float64)

    @property
    def log_jacobian(self) -> float:
        """What to add to log p(x) to get log p(raw), in nats per row, on average over the training rows."""
        return self.slope - float(self.observed @ np.log(self.columns.scale))

    def log_jacobians(self, rows: Encoded) -> Any:
        """Return what to add to log p(x) of each row, in nats: of the entries that are there."""

        def one(batch: Batch) -> NDArray[np.float64]:
            each = self.entry_jacobians(batch)
            return np.asarray((each if batch.mask is None else np.where(batch.mask, each, 0)).sum(1))

        return rows.each(one)

    def entry_jacobians(self, batch: Batch) -> NDArray[np.float64]:
        """Return what to add to log p of each entry, (n, E), in nats."""
        return column_types.slopes(self.types, self.owner, self.columns.decode(batch.x)) - np.log(self.columns.scale)

    def squared_errors(self, batch: Batch, made: Any) -> NDArray[np.float64]:
        """Return the squared error of each entry, (n, E); of a class 1 if it is another one.

        Those of numbers are in their units squared, or in those of their spline.
        """
        classes = [count is not None for kind in self.types for count in kind.classes]
        gap = np.asarray(batch.x - made, np.float64) * self.columns.scale
        return np.where(classes, np.rint(gap) != 0, np.square(gap))

    # -------------------------------------------------------------------------------------------------- in words

    @property
    def names(self) -> tuple[str, ...] | None:
        """The names of the columns that are input, where they came with names."""
        return None if self.container == "array" else self._used

    @property
    def _used(self) -> tuple[str, ...]:
        return tuple(name for name in self.order if name not in self.left_out)

    @property
    def features(self) -> int:
        """The number of columns that are input, D."""
        return len(self.types)

    def column(self, index: int) -> str:
        """Return what messages call a column: its quoted name, or its number counted from 0."""
        return repr(self._used[index]) if self.names is not None else self._used[index]

    def entry(self, index: int) -> str:
        """Return what messages call an entry of a row."""
        return self.column(int(self.owner[index]))

    def entry_names(self, shape: tuple[int, ...]) -> list[str]:
        """Return what messages call each entry of a row."""
        return list(self.columns.names or ())

    @property
    def table_names(self) -> list[str]:
        """What columns are called in a table."""
        return list(self._used) if self.names is not None else [f"column_{int(name) + 1}" for name in self._used]

    @property
    def described(self) -> str:
        """What a model was fitted on."""
        more = f" ({len(self.left_out)} more left out)" if self.left_out else ""
        return f"{self.features} columns{more}"

    @property
    def announcement(self) -> str:
        """What was decided of the columns, in one table."""
        lines = self.overview()
        more = f"\nand {len(lines) - 1 - _ANNOUNCED} more columns" if len(lines) - 1 > _ANNOUNCED else ""
        return aligned(lines[: _ANNOUNCED + 1], right=(2,)) + more

    def overview(self) -> list[tuple[str, ...]]:
        """Return what each column holds, a line each behind the headings, and which are left out."""
        first = np.searchsorted(self.owner, np.arange(self.features))  # the entry that is there where the cell is
        lines: list[tuple[str, ...]] = [("column", "type", "missing", "holds")]
        for name, kind, entry in zip(self.table_names, self.types, first, strict=True):
            missing = 100 * (1 - self.observed[entry])
            lines.append((name, kind.name, f"{missing:.3g} %" if missing else "", kind.described))
        return lines + [(name, reason.name, "", reason.why) for name, reason in self.left_out.items()]

    def __str__(self) -> str:
        """Return what was decided of the columns, in one table."""
        return self.announcement

    # -------------------------------------------------------------------------------------- from files and to files

    def given(self, source: Any, ids: Sequence[str] = ()) -> Given:
        """Return all rows of an open file; columns that the fit left out may be there; see `Schema.given`."""
        rows = source.read() if hasattr(source, "batches") else source
        if not isinstance(rows, pl.DataFrame):
            return Given(rows, pl.DataFrame())
        known = rows.drop(ids)
        if self.names is not None:
            try:
                check_names(self.names, [name for name in known.columns if name not in self.left_out])
            except DataError as error:
                more = " Pass columns that are no input through with --id." * (set(self.names) < set(known.columns))
                raise DataError(f"{error}{more}") from None
        return Given(known, rows.select(ids), rows)

    def parts(self, source: Any, ids: Sequence[str] = ()) -> Iterator[Given]:
        """Yield the rows of an open file, those of a large one in parts; see `Schema.parts`."""
        from omokage.data.kinds import table_streams  # which builds on this module

        return table_streams.parts(self, source, ids)

    def check(self, given: Given) -> None:
        """Raise DataError that names the first cell which cannot be read by its row, if there is one."""
        from omokage.data.kinds import table_streams

        table_streams.check(self, self.selected(self.kind.read(given.rows)), given.first)

    def to_table(self, answers: Any, given: Given | None = None) -> pl.DataFrame:
        """Return answers like X as a table, behind what tells the rows apart that were `given`."""
        keys = () if given is None else given.keys.get_columns()
        columns = series_of(answers)
        if self.names is not None:
            return pl.DataFrame([*keys, *columns])
        names = self.table_names if len(columns) == self.features else self.order
        named = [column.alias(name) for column, name in zip(columns, names, strict=True)]
        return pl.DataFrame([*keys, *named])

    def missing(self, given: Given) -> int:
        """Return how many cells of rows are missing."""
        return sum(column.null_count() for column in self.selected(self.kind.read(given.rows)))

    def to_json(self) -> dict[str, Any]:
        """Return the schema as a JSON object."""
        return {
            "kind": self.kind.name,
            "columns": self.columns.to_json(),
            "asked": [list(pair) for pair in self.kind.types],  # names are no keys in a file of ours
            "missing": list(self.kind.missing),
            "levels": self.kind.levels,
            "types": [kind.to_json() for kind in self.types],
            "left_out": [[name, reason.why] for name, reason in self.left_out.items()],
            "spline": self.kind.spline,
            "often": self.kind.often,
            "few": self.kind.few,
            "observed": self.observed.tolist(),
            "slope": self.slope,
            "container": self.container,
            "order": list(self.order),
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "TableSchema":
        """Return the schema that `to_json` wrote; raises FileFormatError if it is not sound."""
        try:
            schema = TableSchema(
                ColumnSchema.from_json(value["columns"]),
                Columns(
                    value["asked"], value["missing"], value["levels"], value["spline"], value["often"], value["few"]
                ),
                tuple(map(column_types.from_json, value["types"])),
                {str(name): LeftOut(str(why)) for name, why in value["left_out"]},
                np.array(value["observed"], np.float64),
                float(value["slope"]),
                value["container"],
                tuple(map(str, value["order"])),
            )
        except FileFormatError:
            raise
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise FileFormatError(f"schema.json: not a schema of a table ({error!r}).") from None
        sound = (
            schema.columns.features == len(schema.observed) == len(schema.owner) == len(schema.columns.names or ())
            and ((schema.observed >= 0) & (schema.observed <= 1)).all()
            and math.isfinite(schema.slope)
            and len(set(schema.order)) == len(schema.order) == len(schema.types) + len(schema.left_out)
            and set(schema.left_out) <= set(schema.order)
            and schema.container in get_args(Container)
            and (schema.container != "array" or schema.order == tuple(map(str, range(len(schema.order)))))
        )
        if not sound:
            raise FileFormatError("schema.json: its columns and their types do not fit together.")
        return schema


class TableRows:
    """Training rows of a table; see `omokage.data.kinds.base.Rows`."""

    alike, streamed = False, False
    blocks = None  # of rows that share a part of their content
    series = None  # that rows were cut from

    def __init__(self, X: Any, kind: Columns, sample_weight: Any = None):
        """Read the rows, and decide what each column holds.

        Raises:
            DataError: If the rows or the weights cannot be used.
        """
        self._read = read = kind.read(X)
        self._decide(kind, X, read, len(read[0]) if read else 0)
        columns = [column for column in read if column.name not in self.left_out]
        self.matrix = np.column_stack([one.read(column) for one, column in zip(self.types, columns, strict=True)])
        self.weight = None if sample_weight is None else checked_weight(sample_weight, len(self.matrix))
        self._measure()
        empty = np.isnan(self.matrix).all(1)
        self._warn(np.flatnonzero(empty))

    def _decide(self, kind: Columns, X: Any, read: list[pl.Series], count: int, survey: Survey | None = None) -> None:
        """Decide what each column holds, by all `count` rows of X, or by some that are `read` and a survey of all."""
        self.kind, self.container, self.textual = kind, container_of(X), textual(X)
        self.order = tuple(column.name for column in read)
        if unknown := [name for name in kind.asked if name not in self.order]:
            hints = "".join(suggest(name, self.order) for name in unknown[:_SHOWN])
            raise DataError(f"X: types name columns that it does not have: {listing(unknown)}.{hints}")
        if count < 2:
            raise DataError(f"X: expected at least 2 rows; got {count}.")
        self.types, self.left_out = _decided(read, kind, survey)
        self.owner = np.repeat(np.arange(len(self.types)), [len(one.classes) for one in self.types])
        self.names = _entry_names([name for name in self.order if name not in self.left_out], self.types)

    def _warn(self, empty: NDArray[np.int64]) -> None:
        """Name the columns that are no input, and rows without a value."""
        if self.left_out:
            what = "; ".join(f"{name!r}: {reason.why}" for name, reason in self.left_out.items())
            warnings.warn(
                f"X: columns that are no input are left out: {what}. Say otherwise with types= (omokage.data.Columns).",
                stacklevel=5,
            )
        if len(empty):
            warnings.warn(
                f"X: rows {listing(empty, _SHOWN)} have no value in any column that is input; nothing is learned of "
                "them.",
                stacklevel=5,
            )

    @property
    def count(self) -> int:
        """The number of rows of X."""
        return len(self.matrix)

    @property
    def cells(self) -> tuple[tuple[int | None, ...], ...]:
        """How many classes each entry of each cell has; `None` for numbers."""
        return tuple(kind.classes for kind in self.types)

    @property
    def classes(self) -> tuple[int | None, ...]:
        """How many classes each entry has, (E,); `None` for numbers."""
        return tuple(count for cell in self.cells for count in cell)

    def columns(self) -> None:
        """Return nothing: names are checked by the schema, which knows of columns that are left out."""

    def schema(self, standardize: Standardization) -> TableSchema:
        """Return what is learned of the columns."""
        learned = ColumnSchema.learn(self.moments, self.names, standardize, self.textual)
        share = np.ones(len(self.matrix)) if self.weight is None else self.weight
        share = share / share.sum()
        there = ~np.isnan(self.matrix)
        observed = np.where(there.all(0), 1.0, np.minimum(share @ there, 1 - 1e-9))
        slope = float(share @ np.nan_to_num(column_types.slopes(self.types, self.owner, self.matrix)).sum(1))
        return TableSchema(learned, self.kind, self.types, self.left_out, observed, slope, self.container, self.order)

    def part(self, index: NDArray[np.int64]) -> "TableRows":
        """Return the rows at these places of X, with moments of their own; see `Rows.part`."""
        part = copy.copy(self)
        part.matrix, part.weight = self.matrix[index], None if self.weight is None else self.weight[index]
        part._measure()
        return part

    def encoded(self, schema: TableSchema) -> Encoded:
        """Return all rows as a schema encodes them, in the order of X; it may be that of an earlier fit."""
        alike = schema.types == self.types
        return Encoded.of(schema.encode(self.matrix if alike else schema.entries(schema.selected(self._read))))

    def values_of(self, index: NDArray[np.int64]) -> NDArray[Any]:
        """Return the numbers by which rows are put into an order, (B, D); a missing one is the least."""
        return np.nan_to_num(self.matrix[index], nan=np.finfo(np.float64).min)

    def rows(
        self, schema: TableSchema, held_out: float, seed: int, context: Any = None
    ) -> tuple[RowSource, RowSource | None]:
        """Return the rows for training, and a share of them that is held out (`None` where 0); see `Rows.rows`."""
        rows = self.encoded(schema).whole._replace(context=context)
        kept = np.arange(self.count) if self.weight is None else np.flatnonzero(self.weight)
        index = kept[canonical_order(rows.map(lambda array: array[kept]), self.values_of(kept))]
        training, checking = (
            MemoryRows(rows, None if self.weight is None else self.weight[chosen], chosen) if len(chosen) else None
            for chosen in divide(index, held_out, np.random.default_rng([seed, 0]))
        )
        assert training is not None  # a share of less than all is held out
        return training, checking

    def _measure(self) -> None:
        self.moments = Moments.of_observed(self.matrix, self.weight)


def _percent(share: float) -> str:
    """Return a share in percent, of two digits; shares that nobody can tell from 0 are not written out."""
    return "less than 0.001 %" if share < 1e-5 else f"{float(f'{100 * share:.2g}'):g} %"


def _entry_names(columns: Sequence[str], types: Sequence[ColumnType]) -> tuple[str, ...]:
    """Return a name for each entry, all different: that of its column, or for which of its values one has."""
    names: list[str] = []
    for column, kind in zip(columns, types, strict=True):
        which = f"{column} (which value)"
        while which in columns:
            which += "_"
        names += [which, column] if len(kind.classes) == 2 else [column]
    return tuple(names)


def container_of(X: Any) -> Container:
    """Return what X came in, so that answers come in the same."""
    frame = None if hasattr(X, "batches") else frame_of(X)
    if frame is None:
        return "polars" if hasattr(X, "batches") and X.names is not None else "array"
    return (
        "pandas" if frame.implementation.is_pandas() else "pyarrow" if frame.implementation.is_pyarrow() else "polars"
    )


def _decided(
    read: list[pl.Series], kind: Columns, survey: Survey | None
) -> tuple[tuple[ColumnType, ...], dict[str, LeftOut]]:
    """Return what each column holds, and the columns that are left out; see `TableRows._decide`."""
    numbering = column_types.number_rows(read)
    types: list[ColumnType] = []
    left_out: dict[str, LeftOut] = {}
    for column in read:
        asked = kind.asked.get(column.name)
        found: Number | Category | Time | LeftOut
        if asked is None and column.name in numbering:
            found = LeftOut("whole numbers that count the rows")
        else:
            whole = column if survey is None else survey.completed(column, asked)
            found = column_types.decide(whole, asked, kind.levels, kind.rule)
            found = found if survey is None else survey.exact(column.name, found, kind.levels)
        if isinstance(found, LeftOut):
            left_out[column.name] = found
        else:
            types.append(found)
    if not types:
        what = "; ".join(f"{name!r}: {reason.why}" for name, reason in left_out.items())
        raise DataError(f"X: no column is left that something could be learned of. Left out are {what}.")
    return tuple(types), left_out

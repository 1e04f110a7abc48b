"""Sequences: series of one or several channels, of like or unlike lengths, with or without missing entries.

Series are padded with zeros at the end, to one of a few lengths, since a program is compiled for each length; what was
padded or missing counts in no density and in no network (see `omokage.batch.Batch`). How they come is told in
`omokage.data.series`, what they are in files in `omokage.data.kinds.long_tables`.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from omokage import memory
from omokage.batch import Batch, Event
from omokage.data.columns import ColumnSchema, Moments, Standardization, check_names
from omokage.data.containers import checked_weight, values
from omokage.data.encoded import Encoded
from omokage.data.kinds import long_tables
from omokage.data.kinds.base import Drawing, Form, Given, Kind, Schema
from omokage.data.rows import MemoryRows, RowSource, canonical_order, divide, together
from omokage.data.series import Read, Series, check_support, lengths_of, read_series, rows_of_series
from omokage.data.windows import Windows
from omokage.errors import DataError, FileFormatError, ParameterError, is_count, listing
from omokage.supports import REAL, Support

_MOST_BUCKETS = 4
_STEP = 8  # padded lengths are multiples of it, but for the longest
_BLOCK = 65_536  # steps whose moments are taken at once
_LONGEST, _MOST = 2**24, 2**53  # steps of a series that a saved model may know, and series of one length


@dataclass(frozen=True)
class Sequences(Kind):
    """How to read sequences.

    Attributes:
        layout: The order of the axes of arrays: "NTC" (series, time, channels) or "NCT"; lists hold "TC" or "CT".
        series: The column of a long table that says which series a row belongs to.
        time: The column by which the rows of a series ascend; `None`: they stand in their order. The name of a column
            may be a whole number, which is taken as text.
        window: How many steps a row of the model has. Series are cut into windows that overlap, and X may be a single
            long one: an array (time, channels), or a table without a column that tells series apart. `None`: a row is
            a whole series.
        stride: How many steps there are from one window to the next; `None`: a quarter of a window.

    Example:
        >>> Sequences(series="engine", time="cycle").keys, Sequences(window=64).step
        (('engine', 'cycle'), 16)
    """

    layout: Literal["NTC", "NCT"] = "NTC"
    series: str | None = None
    time: str | None = None
    window: int | None = None
    stride: int | None = None
    name: ClassVar[str] = "sequences"
    form: ClassVar[str] = "sequences"
    network: ClassVar[str] = "gru"
    called: ClassVar[str] = "series"
    of_lines: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the settings, which are used long after."""
        if self.layout not in ("NTC", "NCT"):
            raise ParameterError(f"Sequences(layout={self.layout!r}): expected 'NTC' or 'NCT'.")
        for name in ("series", "time"):
            value = getattr(self, name)
            if is_count(value, 0):  # names are text, as they are in files
                object.__setattr__(self, name, str(value))
            elif not (value is None or isinstance(value, str)):
                raise ParameterError(f"Sequences({name}={value!r}): expected the name of a column.")
        if self.window is not None and not (is_count(self.window) and self.window > 1):
            raise ParameterError(f"Sequences(window={self.window!r}): expected a whole number of steps, 2 or more.")
        if self.stride is not None and self.window is None:
            raise ParameterError(f"Sequences(stride={self.stride!r}): expected window= as well, which it moves.")
        if self.stride is not None and not (is_count(self.stride) and self.stride <= (self.window or 0)):
            raise ParameterError(
                f"Sequences(stride={self.stride!r}): expected a whole number from 1 to the window, {self.window}, so "
                "that every step is in one."
            )
        if self.time is not None and self.series is None and self.window is None:
            raise ParameterError("Sequences(time=...): expected series= as well, the column that tells series apart.")
        if self.time is not None and self.time == self.series:
            raise ParameterError(f"Sequences: series and time both name the column {self.time!r}; expected two.")

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns of a long table that are no channels."""
        return tuple(key for key in (self.series, self.time) if key is not None)

    def rows(self, X: Any, sample_weight: Any = None, *, estimator: str = "") -> "SequenceTable":
        """Return training series, read and checked; see `Kind.rows`."""
        return SequenceTable(values(X, shaped=True), sample_weight, self)

    def lines(self, frame: pl.DataFrame) -> tuple[Sequence[NDArray[np.int64]], str | None]:
        """Return the lines of each series of a long table, and the column that tells them apart; see `Kind.lines`."""
        return rows_of_series(frame, self), self.series

    @staticmethod
    def schema_from_json(value: Mapping[str, Any]) -> "SequenceSchema":
        """Return the schema that `to_json` wrote; raises FileFormatError if it is not sound."""
        return SequenceSchema.from_json(value)

    @property
    def unit(self) -> str:
        """What a row of the model is, in words."""
        return "whole series" if self.window is None else f"windows of {self.window} steps"

    @property
    def step(self) -> int:
        """How many steps there are from one window to the next; 0 where series are not cut."""
        return 0 if self.window is None else self.stride or max(1, self.window // 4)

    def windows(self, values: Sequence[Any] | NDArray[Any]) -> Windows | None:
        """Return where the windows of series stand, each (T, C); `None` where series are not cut."""
        return None if self.window is None else Windows.of([len(one) for one in values], self.window, self.step)


@dataclass(frozen=True, eq=False)
class SequenceSchema(Schema):
    """What was learned of sequences.

    Attributes:
        columns: Of the channels.
        kind: How sequences come.
        buckets: The lengths to which series are padded, ascending.
        lengths: The lengths of the training series, ascending, (distinct,).
        counts: How many series (or what weight) had each of them, (distinct,).
        holes: Whether training series had missing entries.
        observed: How many entries of each channel a series has, on average, (C,).
    """

    columns: ColumnSchema
    kind: Sequences
    buckets: tuple[int, ...]
    lengths: NDArray[np.int64]
    counts: NDArray[np.float64]
    holes: bool
    observed: NDArray[np.float64]
    forms: ClassVar[tuple[Form, ...]] = ("table", "array")
    has_steps: ClassVar[bool] = True
    can_miss: ClassVar[bool] = True

    @property
    def event(self) -> Event:
        """One step, as the model side sees it."""
        return self.columns.event.with_holes(self.features if self.holes else 0)

    @property
    def log_jacobian(self) -> float:
        """What to add to log p(x) to get log p(raw), in nats per series, on average over the training series."""
        return -float(np.log(self.columns.scale) @ self.observed)

    def log_jacobians(self, rows: Encoded) -> NDArray[np.float64]:
        """Return what to add to log p(x) of each series, in nats, (n,)."""
        each = -np.log(self.columns.scale)

        def one(batch: Batch) -> NDArray[np.float64]:
            seen = np.ones(batch.x.shape, bool) if batch.observed is None else batch.observed
            return np.broadcast_to(seen, batch.x.shape).sum(1) @ each

        return np.asarray(rows.each(one))

    def rows(self, X: Any, *, support: Support = REAL, name: str = "X", estimator: str = "") -> Encoded:
        """Return sequences, checked and encoded, or the windows of them; see `Schema.rows`."""
        read = self.read(X, name)
        check_support(read.values, support, name)
        windows = self.kind.windows(read.values)
        encoded = self.encode(read.values if windows is None else windows.cut(read.values))
        return replace(encoded, windows=windows, alone=read.alone)

    def read(self, X: Any, name: str = "X") -> Read:
        """Return raw series as they come, (T, C) each, with the channels of the fit in their order."""
        read = read_series(values(X, shaped=True), self.kind, name)
        return read._replace(values=self.ordered(read.values, read.names, name))

    @property
    def cuts(self) -> bool:
        """Whether rows are windows of longer series."""
        return self.kind.window is not None

    def in_windows(self, window: int | None) -> "SequenceSchema":
        """Return the schema that cuts series into windows of so many steps; see `Schema.in_windows`."""
        if window is None or window == self.kind.window:
            return self
        if self.cuts:
            raise ParameterError(
                f"window={window!r}: expected {self.kind.window}, as at the fit, or None: steps are calibrated by "
                "windows of that length."
            )
        return replace(self, kind=replace(self.kind, window=window))

    def ordered(self, values: Series, names: tuple[str, ...] | None, name: str = "X") -> Series:
        """Return raw series with the channels of the fit in their order; raises DataError if there are others."""
        if self.names and names:
            check_names(self.names, names, name)
            order = [names.index(channel) for channel in self.names]
            return [series[:, order] for series in values]
        if (channels := values[0].shape[1]) != self.features:
            called = f" ({listing(self.names, 20)})" if self.names else ""
            raise DataError(
                f"{name}: expected {self.features} channels, as at fit{called}; got {channels}. Arrays are read in the "
                f"layout {self.kind.layout!r}."
            )
        return values

    def encode(self, values: Series) -> Encoded:
        """Return series standardised and padded, in groups of one length."""
        lengths = np.array([len(series) for series in values])
        padded = np.array([self.bucket(length) for length in lengths])
        groups = []
        for size in np.unique(padded):
            index = np.flatnonzero(padded == size)
            x = np.full((len(index), size, self.features), np.nan, np.float32)
            if isinstance(values, np.ndarray):
                x[:, : values.shape[1]] = self.columns.encode(values)
            else:
                for place, number in enumerate(index):
                    x[place, : lengths[number]] = self.columns.encode(values[number])
            short = lengths[index] < size
            observed = ~np.isnan(x)
            holes = observed.sum() < lengths[index].sum() * self.features
            # The same arrays for all groups of a fit, so that programs differ in the length alone.
            mask = observed if holes or self.holes else None
            given = lengths[index].astype(np.int32) if short.any() or len(self.buckets) > 1 else None
            groups.append((index, Batch(np.where(observed, x, np.float32(0)), mask=mask, lengths=given)))
        return Encoded(tuple(groups))

    def bucket(self, length: int) -> int:
        """Return the length to which a series is padded."""
        for size in self.buckets:
            if size >= length:
                return size
        while size < length:  # longer than those of the fit: half as long again, so that few programs are compiled
            size += max(_STEP, size // 2)
        return size

    def decode(self, x: Any, rows: Encoded | None = None) -> Any:
        """Return raw sequences, in the layout of X, from standardised ones, (..., T, C), or a list of such."""
        return self.by_entry(
            [self.columns.decode(one) for one in x] if isinstance(x, list) else self.columns.decode(x), rows
        )

    def by_entry(self, values: Any, rows: Encoded | None = None) -> Any:
        """Return numbers for each entry in the layout of X, of whole series where `rows` are windows of them."""
        if rows is not None and rows.windows is not None:
            each = rows.on_steps(values)
            alike = len({len(series) for series in each}) == 1
            values = each[0] if rows.alone else np.stack(each) if alike else each
        if isinstance(values, list):
            return [self.by_entry(series) for series in values]
        return np.swapaxes(values, -1, -2) if self.kind.layout == "NCT" else values

    def kept(self, X: Any, filled: Any) -> Any:
        """Return `filled`, with the entries that X has as X has them, to the bit."""
        read = self.read(X)
        if read.alone:
            given = self.by_entry(read.values[0])
            return np.where(np.isnan(given), filled, given)
        pairs = zip(map(self.by_entry, read.values), filled, strict=True)
        result = [np.where(np.isnan(given), new, given) for given, new in pairs]
        return np.stack(result) if isinstance(filled, np.ndarray) else result

    def deviations(self, X: Any, found: Mapping[str, Any], rows: Encoded) -> Any:
        """Return the standard error of each entry that was filled, in the layout of X; see `Schema.deviations`.

        Of windows that overlap it is the mean of theirs.
        """

        def raw(variance: NDArray[Any]) -> NDArray[Any]:
            return np.sqrt(np.asarray(variance, np.float64)) * self.columns.scale

        variance = found["variance"]
        return self.by_entry([raw(one) for one in variance] if isinstance(variance, list) else raw(variance), rows)

    def blank(self, count: int, length: Any = None) -> Encoded:
        """Return empty series for a decoder to fill, of this length or these lengths; by default the longest."""
        lengths = lengths_of(length, count) if length is not None else np.array(self.buckets[-1])
        most = self.bucket(int(lengths.max()))
        memory.check_room(
            count * most * self.features, f"{count} series of {most} steps", "Take fewer or shorter ones."
        )
        return self.encode([np.zeros((size, self.features), np.float32) for size in np.broadcast_to(lengths, count)])

    def longest(self, count: int) -> Batch:
        """Return so many of the longest series, which take no memory."""
        most = self.buckets[-1]
        return Batch(memory.filled((count, most, *self.event.shape)), lengths=memory.filled((count,), most, np.int32))

    def draw_lengths(self, count: int, seed: int) -> NDArray[np.int64]:
        """Return lengths drawn from those of the training series; the first of 10 are those of 1,000."""
        drawn = np.random.default_rng([seed, 2]).random(count)
        shares = np.cumsum(self.counts)
        return self.lengths[np.searchsorted(shares / shares[-1], drawn, side="right")]

    # -------------------------------------------------------------------------------------------------- in words

    def entry_names(self, shape: tuple[int, ...]) -> list[str]:
        """Return what messages call each entry of a series of this shape, (T, C), laid flat."""
        channels = [self.column(channel) for channel in range(shape[1])]
        return [f"step {step}, channel {channel}" for step in range(shape[0]) for channel in channels]

    @property
    def table_names(self) -> list[str]:
        """What channels are called in a table."""
        return list(self.names) if self.names else [f"channel_{j + 1}" for j in range(self.features)]

    @property
    def described(self) -> str:
        """What a model was fitted on."""
        return f"sequences of {self.features} channel{'s' * (self.features > 1)}"

    def facts(self) -> dict[str, str]:
        """Return the lengths of the training series, and how series are read."""
        reading, missing = self.kind, "some" if self.holes else "none"
        keys = {"columns": f"series {reading.series!r}, time {reading.time!r}"} if reading.series else {}
        padded = ", ".join(map(str, self.buckets))
        steps = f"{self.lengths[0]} to {self.lengths[-1]} (padded to {padded}); layout {reading.layout}"
        return {"steps": steps, "missing entries": missing, **keys}

    @property
    def drawing(self) -> Drawing:
        """Series are drawn as lines."""
        return Drawing("series")

    # -------------------------------------------------------------------------------------- from files and to files

    @property
    def key_columns(self) -> tuple[str, ...]:
        """The column that tells series apart."""
        return () if self.kind.series is None else (self.kind.series,)

    def given(self, source: Any, ids: Sequence[str] = ()) -> Given:
        """Return all series of an open file, of a long table or an array; see `Schema.given`."""
        rows = values(source, shaped=True)
        return (long_tables.given if isinstance(rows, pl.DataFrame) else long_tables.given_array)(self, rows, ids)

    def to_table(self, answers: Any, given: Given | None = None) -> pl.DataFrame:
        """Return series as the table that was given, with other values; without one as a long table."""
        return long_tables.to_table(self, answers, given)

    def missing(self, given: Given) -> int:
        """Return how many entries of series are missing."""
        return sum(int(np.isnan(series).sum()) for series in self.read(given.rows).values)

    def to_json(self) -> dict[str, Any]:
        """Return the schema as a JSON object."""
        return {
            "kind": "sequences",
            "columns": self.columns.to_json(),
            "layout": self.kind.layout,
            "series": self.kind.series,
            "time": self.kind.time,
            "window": self.kind.window,
            "stride": self.kind.stride,
            "buckets": list(self.buckets),
            "lengths": self.lengths.tolist(),
            "counts": self.counts.tolist(),
            "missing": self.holes,
            "observed": self.observed.tolist(),
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "SequenceSchema":
        """Return the schema that `to_json` wrote; raises FileFormatError if it is not sound."""
        try:
            schema = SequenceSchema(
                ColumnSchema.from_json(value["columns"]),
                Sequences(value["layout"], value["series"], value["time"], value.get("window"), value.get("stride")),
                tuple(int(size) for size in value["buckets"]),
                np.array(value["lengths"], np.int64),
                np.array(value["counts"], np.float64),
                bool(value["missing"]),
                np.array(value["observed"], np.float64),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise FileFormatError(f"schema.json: not a schema of sequences ({error!r}).") from None
        sound = (
            0 < len(schema.buckets) <= _MOST_BUCKETS
            and schema.buckets[0] > 0
            and list(schema.buckets) == sorted(set(schema.buckets))
            and schema.lengths.ndim == 1
            and schema.lengths.shape == schema.counts.shape
            and (schema.counts > 0).all()
            and (schema.counts <= _MOST).all()
            and schema.buckets[-1] <= _LONGEST
            and schema.lengths.size > 0
            and schema.lengths[0] > 0
            and (np.diff(schema.lengths) > 0).all()
            and schema.lengths[-1] == schema.buckets[-1]
            and schema.observed.shape == (schema.features,)
            and ((schema.observed > 0) & (schema.observed <= schema.buckets[-1])).all()
        )
        if not sound:
            raise FileFormatError("schema.json: its lengths and channels do not fit together.")
        return schema


class SequenceTable:
    """Sequences on their way to training; a series of weight 0 is as if it were not there."""

    alike, streamed = False, False

    def __init__(self, X: Any, sample_weight: Any, kind: Sequences):
        """Read the series; raises DataError if they or the weights cannot be used."""
        self.kind: Sequences = kind
        self.values, self.names, _ = read_series(X, kind, "X")
        self.blocks: NDArray[np.int64] | None = None  # of each row, where rows share steps
        self.series: NDArray[np.int64] | None = None  # of each row of X, where rows are cut from longer ones
        if (windows := kind.windows(self.values)) is not None:
            self.values, self.blocks, self.series = windows.cut(self.values), windows.blocks(), windows.series
        if len(self.values) < 2:
            what = "series" if self.blocks is None else f"windows of {kind.window} steps"
            raise DataError(f"X: expected at least 2 {what}, got 1.")
        self.count = len(self.values)  # of X
        self.weight = None if sample_weight is None else checked_weight(sample_weight, len(self.values))
        self._kept = np.arange(self.count)  # the places in X of those that count
        if self.weight is not None and not self.weight.all():
            self._kept = np.flatnonzero(self.weight)
            self.values, self.weight = [self.values[number] for number in self._kept], self.weight[self._kept]
            self.blocks = None if self.blocks is None else self.blocks[self._kept]
        self.lengths = np.array([len(series) for series in self.values])
        self.moments = _moments(self.values, self.lengths, self.weight, self.names)

    def values_of(self, index: NDArray[np.int64]) -> NDArray[Any]:
        """Return the values of series as far as all of them go, (B, T·C), for an order; a missing one is the least."""
        shortest = self.lengths[index].min()
        values = np.stack([self.values[number][:shortest] for number in index]).reshape(len(index), -1)
        return np.where(np.isnan(values), -np.inf, values)

    def columns(self) -> None:
        """Return nothing: scikit-learn has no word on sequences."""

    def schema(self, standardize: Standardization) -> SequenceSchema:
        """Return what is learned of the series."""
        share = np.ones(len(self.lengths)) if self.weight is None else self.weight
        lengths, which = np.unique(self.lengths, return_inverse=True)
        counts: NDArray[np.float64] = np.bincount(which, share).astype(np.float64)
        seen = np.stack([np.count_nonzero(~np.isnan(series), axis=0) for series in self.values])
        return SequenceSchema(
            columns=ColumnSchema.learn(self.moments, self.names, standardize),
            kind=self.kind,
            buckets=buckets(lengths, counts),
            lengths=lengths,
            counts=counts,
            holes=bool((seen < self.lengths[:, None]).any()),
            observed=share @ seen / share.sum(),
        )

    def part(self, index: NDArray[np.int64]) -> "SequenceTable":
        """Return a table of the series at these places of X, which all have one weight; see `Table.part`."""
        part, here = copy.copy(self), isinstance(self.values, np.ndarray)
        part.values = self.values[index] if here else [self.values[number] for number in index]
        part.blocks = None if self.blocks is None else self.blocks[index]
        part.lengths, part.count, part._kept = self.lengths[index], len(index), np.arange(len(index))
        part.moments = _moments(part.values, part.lengths, None, self.names)
        return part

    def encoded(self, schema: SequenceSchema) -> Encoded:
        """Return all series as a schema encodes them, in groups of one padded length."""
        return schema.encode(schema.ordered(self.values, self.names))

    def rows(
        self, schema: SequenceSchema, held_out: float, seed: int, context: Any = None
    ) -> tuple[RowSource, RowSource | None]:
        """Return the series for training, and a share of them that is held out (`None` where 0); see `Rows.rows`."""
        encoded = schema.encode(schema.ordered(self.values, self.names))
        groups = encoded.with_context(None if context is None else context[self._kept]).groups
        orders = [canonical_order(batch, self.values_of(index)) for index, batch in groups]
        bounds = np.cumsum([0, *map(len, orders)])
        blocks = self.blocks
        if blocks is not None:
            blocks = np.concatenate([blocks[index[order]] for (index, _), order in zip(groups, orders, strict=True)])
        parts = divide(np.arange(bounds[-1]), held_out, np.random.default_rng([seed, 0]), blocks)
        sources: list[list[MemoryRows]] = [[], []]
        for part, rows in zip(parts, sources, strict=True):
            for number, (index, batch) in enumerate(groups):
                here = part[(part >= bounds[number]) & (part < bounds[number + 1])] - bounds[number]
                if len(here):
                    chosen = orders[number][here]
                    weight = None if self.weight is None else self.weight[index[chosen]]
                    rows.append(MemoryRows(batch, weight, chosen, None if self.blocks is None else self.blocks[index]))
        training, checking = sources
        return together(training), together(checking) if checking else None


def buckets(lengths: NDArray[np.int64], counts: NDArray[Any]) -> tuple[int, ...]:
    """Return the lengths to which series are padded, so that about a quarter of the series has each.

    Args:
        lengths: The lengths that there are, ascending, (distinct,).
        counts: How many series have each, (distinct,).

    Example:
        >>> buckets(np.arange(5, 51), np.ones(46))
        (16, 32, 40, 50)
    """
    longest = int(lengths[-1])
    shares = np.cumsum(counts) / np.sum(counts)
    quarters = lengths[np.searchsorted(shares, np.arange(1, _MOST_BUCKETS) / _MOST_BUCKETS)]
    sizes = {min(longest, -(-int(quarter) // _STEP) * _STEP) for quarter in quarters}
    return tuple(sorted({*sizes, longest}))


def _moments(
    values: Series, lengths: NDArray[np.int64], weight: NDArray[np.float64] | None, names: tuple[str, ...] | None
) -> Moments:
    """Return the moments of each channel over what was observed."""
    steps = np.concatenate(list(values)) if isinstance(values, list) else values.reshape(-1, values.shape[-1])
    share = np.repeat(np.ones(len(values)) if weight is None else weight, lengths)
    seen = ~np.isnan(steps)
    if (empty := np.flatnonzero(~seen.any(0))).size:
        called = listing(names[j] for j in empty) if names else ", ".join(map(str, empty[:5]))
        raise DataError(f"X: no series has a value in channel {called}. Leave it out.")
    parts: list[Moments] = []
    for channel, there in zip(steps.T, seen.T, strict=True):
        moments = Moments.empty(1)
        column, counts = channel[there][:, None], share[there]
        for start in range(0, len(column), _BLOCK):
            moments = moments.updated(column[start : start + _BLOCK], counts[start : start + _BLOCK])
        parts.append(moments)
    joined: Any = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("origin", "offset", "low", "high", "binary", "whole")
    }
    # Each channel was observed as often as it was; the deviations are what counts.
    total = share.sum()
    squares = np.concatenate([part.squares * (total / part.weight) for part in parts])
    return Moments(weight=total, rows=len(steps), squares=squares, **joined)

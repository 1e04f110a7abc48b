"""Sequences: series of one or several channels, of like or unlike lengths, with or without missing entries.

Accepts arrays (n, time, channels), lists of arrays (time, channels) or (time,), and long tables with a row for each
step of each series. NaN is a missing entry. Steps are taken to be equally far apart.

Series are padded with zeros at the end, to one of a few lengths, since a program is compiled for each length; what was
padded or missing counts in no density and in no network (see `omokage.batch.Batch`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

import narwhals as nw
import numpy as np
from numpy.typing import NDArray

from omokage.batch import Batch, Event
from omokage.data.encoded import Encoded
from omokage.data.rows import MemoryRows, RowSource, canonical_order, checked_weight, divide, together
from omokage.data.schema import Moments, Schema, Standardization
from omokage.errors import DataError, DataTypeError, FileFormatError, ParameterError, listing

Series = NDArray[Any] | list[NDArray[Any]]  # (n, T, C), or a list of (T, C)

_MOST_BUCKETS = 4
_STEP = 8  # padded lengths are multiples of it, but for the longest
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Sequences:
    """How to read sequences.

    Attributes:
        layout: The order of the axes of arrays: "NTC" (series, time, channels) or "NCT"; lists hold "TC" or "CT".
        series: The column of a long table that says which series a row belongs to.
        time: The column by which the rows of a series ascend; `None`: they stand in their order.

    Example:
        >>> Sequences(series="engine", time="cycle")
        Sequences(layout='NTC', series='engine', time='cycle')
    """

    layout: Literal["NTC", "NCT"] = "NTC"
    series: str | None = None
    time: str | None = None

    def __post_init__(self) -> None:
        """Check the settings, which are used long after."""
        if self.layout not in ("NTC", "NCT"):
            raise ParameterError(f"Sequences(layout={self.layout!r}): expected 'NTC' or 'NCT'.")
        if self.time is not None and self.series is None:
            raise ParameterError("Sequences(time=...): expected series= as well, the column that tells series apart.")


@dataclass(frozen=True, eq=False)
class SequenceSchema:
    """What was learned of sequences.

    Attributes:
        columns: Of the channels.
        reading: How sequences come.
        buckets: The lengths to which series are padded, ascending.
        lengths: The lengths of the training series, ascending, and how often each came, (2, distinct).
        missing: Whether training series had missing entries.
        observed: How many entries of each channel a series has, on average, (C,).
    """

    columns: Schema
    reading: Sequences
    buckets: tuple[int, ...]
    lengths: NDArray[np.int64]
    missing: bool
    observed: NDArray[np.float64]

    @property
    def names(self) -> tuple[str, ...] | None:
        """The names of the channels, where they have some."""
        return self.columns.names

    @property
    def features(self) -> int:
        """The number of channels, C."""
        return self.columns.features

    @property
    def event(self) -> Event:
        """One step, as the model side sees it."""
        return replace(self.columns.event, missing=self.missing)

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

    def rows(self, X: Any, *, unit_interval: bool = False, name: str = "X", estimator: str = "") -> Encoded:
        """Return sequences, checked and encoded; raises DataError if they cannot be used."""
        values, names = read_series(X, self.reading, name)
        channels = values[0].shape[1]
        if channels != self.features or (self.names and names and self.names != names):
            expected = listing(self.names) if self.names else str(self.features)
            got = listing(names) if names else str(channels)
            raise DataError(f"{name}: expected the channels seen at fit, {expected}; got {got}.")
        if unit_interval:
            _check_unit_interval(values, name)
        return self.encode(values)

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
            mask = observed if holes or self.missing else None
            given = lengths[index].astype(np.int32) if short.any() or len(self.buckets) > 1 else None
            groups.append((index, Batch(np.where(observed, x, np.float32(0)), mask=mask, lengths=given)))
        return Encoded(tuple(groups))

    def bucket(self, length: int) -> int:
        """Return the length to which a series is padded."""
        fitting = [size for size in self.buckets if size >= length]
        return fitting[0] if fitting else -(-length // (2 * _STEP)) * 2 * _STEP

    def decode(self, x: Any) -> Any:
        """Return raw sequences, in the layout of X, from standardised ones, (..., T, C), or a list of such."""
        if isinstance(x, list):
            return [self.decode(series) for series in x]
        raw = self.columns.decode(x)
        return np.swapaxes(raw, -1, -2) if self.reading.layout == "NCT" else raw

    def by_entry(self, values: Any) -> Any:
        """Return numbers for each entry in the layout of X."""
        if isinstance(values, list):
            return [self.by_entry(series) for series in values]
        return np.swapaxes(values, -1, -2) if self.reading.layout == "NCT" else values

    def kept(self, X: Any, filled: Any) -> Any:
        """Return `filled`, with the entries that X has as X has them, to the bit."""
        given, _ = read_series(X, self.reading, "X")
        filled = self.by_entry(filled)  # swapping the axes twice gives (time, channels)
        pairs = zip(given, filled, strict=True)
        result = self.by_entry([np.where(np.isnan(series), new, series) for series, new in pairs])
        return np.stack(result) if isinstance(filled, np.ndarray) else result

    def blank(self, lengths: NDArray[np.int64]) -> Encoded:
        """Return empty series of these lengths, for a decoder to fill."""
        nothing = [np.zeros((length, self.features), np.float32) for length in lengths]
        return self.encode(nothing)

    def draw_lengths(self, count: int, seed: int) -> NDArray[np.int64]:
        """Return lengths drawn from those of the training series; the first of 10 are those of 1,000."""
        values, counts = self.lengths
        return np.asarray(values[np.searchsorted(np.cumsum(counts) / counts.sum(), _uniform(count, seed))])

    def column(self, index: int) -> str:
        """Return what messages call a channel: its quoted name, or its number counted from 0."""
        return self.columns.column(index)

    def to_json(self) -> dict[str, Any]:
        """Return the schema as a JSON object."""
        return {
            "kind": "sequences",
            "columns": self.columns.to_json(),
            "layout": self.reading.layout,
            "series": self.reading.series,
            "time": self.reading.time,
            "buckets": list(self.buckets),
            "lengths": self.lengths.tolist(),
            "missing": self.missing,
            "observed": self.observed.tolist(),
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "SequenceSchema":
        """Return the schema that `to_json` wrote; raises FileFormatError if it is not sound."""
        try:
            schema = SequenceSchema(
                Schema.from_json(value["columns"]),
                Sequences(value["layout"], value["series"], value["time"]),
                tuple(int(size) for size in value["buckets"]),
                np.array(value["lengths"], np.int64),
                bool(value["missing"]),
                np.array(value["observed"], np.float64),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise FileFormatError(f"schema.json: not a schema of sequences ({error!r}).") from None
        sound = (
            0 < len(schema.buckets) <= _MOST_BUCKETS
            and schema.buckets[0] > 0
            and list(schema.buckets) == sorted(set(schema.buckets))
            and schema.lengths.ndim == 2
            and schema.lengths.shape[0] == 2
            and schema.lengths.size > 0
            and (schema.lengths > 0).all()
            and schema.lengths[0].max() <= schema.buckets[-1]
            and schema.observed.shape == (schema.features,)
            and np.isfinite(schema.observed).all()
        )
        if not sound:
            raise FileFormatError("schema.json: its lengths and channels do not fit together.")
        return schema


class SequenceTable:
    """Sequences on their way to training."""

    alike = False

    def __init__(self, X: Any, sample_weight: Any, reading: Sequences, *, estimator: str = ""):
        """Read the series; raises DataError if they or the weights cannot be used."""
        self.reading = reading
        self.values, self.names = read_series(X, reading, "X")
        if len(self.values) < 2:
            raise DataError("X: expected at least 2 series, got 1.")
        self.weight = None if sample_weight is None else checked_weight(sample_weight, len(self.values))
        self.moments = _moments(self.values, self.weight)

    def schema(self, standardize: Standardization) -> SequenceSchema:
        """Return what is learned of the series."""
        lengths = np.array([len(series) for series in self.values])
        values, counts = np.unique(lengths, return_counts=True)
        steps = lengths.sum()
        seen = sum(np.count_nonzero(~np.isnan(series), axis=0) for series in self.values)
        columns = Schema.learn(self.moments, self.names, standardize)
        missing = bool((seen < steps).any())
        return SequenceSchema(
            columns, self.reading, buckets(lengths), np.stack([values, counts]), missing, seen / len(lengths)
        )

    def rows(self, schema: SequenceSchema, held_out: float, seed: int) -> tuple[RowSource, RowSource | None]:
        """Return the series for training, and a share of them that is held out (`None` where 0)."""
        training: list[MemoryRows] = []
        checking: list[MemoryRows] = []
        for index, batch in schema.encode(self.values).groups:
            weight = None if self.weight is None else self.weight[index]
            order = canonical_order(batch)
            if weight is not None:
                order = order[weight[order] > 0]
            divided = divide(order, held_out, np.random.default_rng([seed, 0]))
            for chosen, rows in zip(divided, (training, checking), strict=True):
                if len(chosen):
                    rows.append(MemoryRows(batch, None if weight is None else weight[chosen], chosen))
        return together(training), together(checking) if checking else None


def buckets(lengths: NDArray[np.int64]) -> tuple[int, ...]:
    """Return the lengths to which series are padded: quarters of the series have one each.

    Example:
        >>> buckets(np.arange(5, 51))
        (24, 32, 40, 50)
    """
    longest = int(lengths.max())
    quarters = np.quantile(lengths, np.arange(1, _MOST_BUCKETS) / _MOST_BUCKETS, method="higher")
    sizes = {min(longest, int(-(-quarter // _STEP) * _STEP)) for quarter in quarters}
    return tuple(sorted({*sizes, longest}))


def read_series(X: Any, reading: Sequences, name: str) -> tuple[Series, tuple[str, ...] | None]:
    """Return series as an array (n, T, C) or a list of (T, C), NaN where missing, and the channels' names.

    Raises:
        DataError: Naming the series, and the row of a table, that cannot be used.
    """
    frame = nw.from_native(X, pass_through=True)
    if isinstance(frame, nw.DataFrame):
        return _from_table(frame, reading, name)
    if isinstance(X, np.ndarray) and X.dtype != object:
        if X.ndim != 3:
            raise DataError(
                f"{name}: expected sequences, an array (series, time, channels) or a list of arrays (time, channels); "
                f"got an array of the shape {X.shape}. Series of one channel are X[:, :, None]."
            )
        if 0 in X.shape:
            raise DataError(f"{name}: expected series with steps and channels, got the shape {X.shape}.")
        values = _numbers(X, name, "")
        values = np.swapaxes(values, 1, 2) if reading.layout == "NCT" else values
        _check_range(values.reshape(len(values), -1), name)
        return values, None
    try:
        series = list(X)
    except TypeError:
        raise DataError(f"{name}: expected sequences, got {type(X).__name__}.") from None
    if not series:
        raise DataError(f"{name}: expected at least one series, got an empty list.")
    result: list[NDArray[Any]] = []
    for number, given in enumerate(series):
        array = _numbers(given, name, f"series {number}")
        array = array[:, None] if array.ndim == 1 else array
        if array.ndim != 2:
            raise DataError(f"{name}: series {number}: expected (time, channels), got the shape {array.shape}.")
        array = array.T if reading.layout == "NCT" and np.ndim(given) == 2 else array
        if not array.size:
            raise DataError(f"{name}: series {number} is empty. Leave it out.")
        if array.shape[1] != (expected := result[0].shape[1] if result else array.shape[1]):
            raise DataError(
                f"{name}: series {number} has {array.shape[1]} channels, and series 0 has {expected}; expected as many "
                "in each."
            )
        _check_range(array, f"{name}: series {number}")
        result.append(array)
    return result, None


def _from_table(frame: nw.DataFrame[Any], reading: Sequences, name: str) -> tuple[Series, tuple[str, ...]]:
    """Return the series of a long table in the order of their first rows, and the names of the channels."""
    if reading.series is None:
        raise DataError(
            f"{name}: a table of sequences needs the column that tells series apart: data=Sequences(series='...', "
            f"time='...'), or --series on the command line. It has {listing(frame.columns, 20)}."
        )
    keys = [key for key in (reading.series, reading.time) if key is not None]
    if absent := [key for key in keys if key not in frame.columns]:
        raise DataError(f"{name}: no column {listing(absent)}; it has {listing(frame.columns, 20)}.")
    channels = tuple(column for column in frame.columns if column not in keys)
    wrong = [c for c in channels if not (frame[c].dtype.is_numeric() or frame[c].dtype == nw.Boolean)]
    if wrong or not channels:
        what = f"not so in {listing(wrong)}" if wrong else "there is no other column"
        raise DataError(f"{name}: expected numbers in every column beside {listing(keys)}; {what}.")
    if not len(frame):
        raise DataError(f"{name}: expected at least one series, got a table without rows.")
    matrix = np.column_stack([frame[column].cast(nw.Float64).to_numpy() for column in channels])
    labels = np.asarray(frame[reading.series].to_list(), object)
    unlabelled = np.flatnonzero([label is None or label != label for label in labels])
    if unlabelled.size:
        raise DataError(f"{name}: row {unlabelled[0]} has no value in {reading.series!r}, so it belongs to no series.")
    _, first, member = np.unique(labels.astype(str), return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    places = np.argsort(np.argsort(order)[member], kind="stable")
    bounds = np.cumsum(np.bincount(np.argsort(order)[member]))[:-1]
    groups = np.split(places, bounds)
    if reading.time is not None:
        _check_times(frame[reading.time].to_list(), groups, labels, reading.time, name)
    for group in groups:
        _check_range(matrix[group], f"{name}: series {labels[group[0]]!r}")
    return [matrix[group] for group in groups], channels


def _check_times(
    times: Sequence[Any], groups: Sequence[NDArray[np.int64]], labels: NDArray[Any], column: str, name: str
) -> None:
    for group in groups:
        for before, after in pairwise(group):
            if times[before] is None or times[after] is None or not times[before] < times[after]:
                what = "repeats the time" if times[before] == times[after] else "comes before the time"
                raise DataError(
                    f"{name}: series {labels[after]!r}: row {after} ({column} = {times[after]}) {what} of row {before} "
                    f"({times[before]}). Sort the table by {column!r} and keep one row for each time."
                )


def _numbers(value: Any, name: str, where: str) -> NDArray[Any]:
    place = f"{name}: {where}" if where else name
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "biuf":
            array = np.asarray(value, np.float64)
    except (ValueError, TypeError) as error:
        raise DataTypeError(f"{place}: expected numbers of a regular shape (time, channels); {error}.") from None
    return array.astype(np.float32 if array.dtype.itemsize <= 2 or array.dtype == np.float32 else np.float64)


def _check_range(values: NDArray[Any], place: str) -> None:
    bad = np.isinf(values) | (np.abs(values) > _LARGEST)
    if bad.any():
        step, channel = np.argwhere(bad)[0]
        raise DataError(
            f"{place}: got {values[step, channel]} at {'series' if ':' not in place else 'step'} {step}. Expected "
            "finite numbers that float32 holds; NaN where there is none."
        )


def _check_unit_interval(values: Series, name: str) -> None:
    for number, series in enumerate(values):
        bad = (series < 0) | (series > 1)
        if bad.any():
            step, channel = np.argwhere(bad)[0]
            raise DataError(
                f"{name}: expected values from 0 to 1, as at fit; got {series[step, channel]:.6g} in series {number}, "
                f"step {step}, channel {channel}. Scale the series as those of the fit."
            )


def _moments(values: Series, weight: NDArray[np.float64] | None) -> Moments:
    """Return the moments of each channel over what was observed."""
    steps = np.concatenate(list(values)) if isinstance(values, list) else values.reshape(-1, values.shape[-1])
    lengths = [len(series) for series in values]
    share = np.repeat(np.ones(len(values)) if weight is None else weight, lengths)
    parts: list[Moments] = []
    for channel in steps.T:
        seen = ~np.isnan(channel)
        if not seen.any():
            raise DataError(f"X: channel {len(parts)} has no value in any series. Leave it out.")
        moments = Moments.empty(1)
        column, counts = channel[seen][:, None], share[seen]
        for start in range(0, len(column), 65_536):
            moments = moments.updated(column[start : start + 65_536], counts[start : start + 65_536])
        parts.append(moments)
    total = share.sum()

    def joined(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(part, name) for part in parts])

    return Moments(
        weight=total,
        rows=len(steps),
        origin=joined("origin"),
        offset=joined("offset"),
        squares=np.concatenate([part.squares * (total / part.weight) for part in parts]),
        low=joined("low"),
        high=joined("high"),
        binary=joined("binary"),
    )


def _uniform(count: int, seed: int) -> NDArray[np.float64]:
    return np.random.default_rng([seed, 2]).random(count)

"""Sequences: series of one or several channels, of like or unlike lengths, with or without missing entries.

Series are padded with zeros at the end, to one of a few lengths, since a program is compiled for each length; what was
padded or missing counts in no density and in no network (see `omokage.batch.Batch`). How they come is told in
`omokage.data.series`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omokage.batch import Batch, Event
from omokage.data.encoded import Encoded
from omokage.data.rows import MemoryRows, RowSource, canonical_order, checked_weight, divide, together
from omokage.data.schema import Moments, Schema, Standardization, check_names
from omokage.data.series import Sequences, Series, check_support, read_series
from omokage.errors import DataError, FileFormatError, listing
from omokage.supports import REAL, Support

_MOST_BUCKETS = 4
_STEP = 8  # padded lengths are multiples of it, but for the longest
_BLOCK = 65_536  # steps whose moments are taken at once
_LONGEST, _MOST = 2**24, 2**53  # steps of a series that a saved model may know, and series of one length


@dataclass(frozen=True, eq=False)
class SequenceSchema:
    """What was learned of sequences.

    Attributes:
        columns: Of the channels.
        reading: How sequences come.
        buckets: The lengths to which series are padded, ascending.
        lengths: The lengths of the training series, ascending, (distinct,).
        counts: How many series (or what weight) had each of them, (distinct,).
        missing: Whether training series had missing entries.
        observed: How many entries of each channel a series has, on average, (C,).
    """

    columns: Schema
    reading: Sequences
    buckets: tuple[int, ...]
    lengths: NDArray[np.int64]
    counts: NDArray[np.float64]
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

    def rows(self, X: Any, *, support: Support = REAL, name: str = "X", estimator: str = "") -> Encoded:
        """Return sequences, checked and encoded, or the windows of them; raises DataError if they cannot be used."""
        values = self.series(X, name)
        check_support(values, support, name)
        windows = self.reading.windows(values)
        return self.encode(values if windows is None else windows.cut(values))

    def series(self, X: Any, name: str = "X") -> Series:
        """Return raw series as they come, (T, C) each, with the channels of the fit in their order."""
        return self.ordered(*read_series(X, self.reading, name), name)

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
                f"layout {self.reading.layout!r}."
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
            mask = observed if holes or self.missing else None
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
        given = self.series(X)
        if (windows := self.reading.windows(given)) is not None:
            given = windows.cut(given)
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
        drawn = np.random.default_rng([seed, 2]).random(count)
        shares = np.cumsum(self.counts)
        return self.lengths[np.searchsorted(shares / shares[-1], drawn, side="right")]

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
            "window": self.reading.window,
            "stride": self.reading.stride,
            "buckets": list(self.buckets),
            "lengths": self.lengths.tolist(),
            "counts": self.counts.tolist(),
            "missing": self.missing,
            "observed": self.observed.tolist(),
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "SequenceSchema":
        """Return the schema that `to_json` wrote; raises FileFormatError if it is not sound."""
        try:
            schema = SequenceSchema(
                Schema.from_json(value["columns"]),
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

    alike = False

    def __init__(self, X: Any, sample_weight: Any, reading: Sequences, *, estimator: str = ""):
        """Read the series; raises DataError if they or the weights cannot be used."""
        self.reading = reading
        self.values, self.names = read_series(X, reading, "X")
        self.blocks: NDArray[np.int64] | None = None  # of each row, where rows share steps
        if (windows := reading.windows(self.values)) is not None:
            self.values, self.blocks = windows.cut(self.values), windows.blocks()
        if len(self.values) < 2:
            what = "series" if self.blocks is None else f"windows of {reading.window} steps"
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

    def schema(self, standardize: Standardization) -> SequenceSchema:
        """Return what is learned of the series."""
        share = np.ones(len(self.lengths)) if self.weight is None else self.weight
        lengths, which = np.unique(self.lengths, return_inverse=True)
        counts: NDArray[np.float64] = np.bincount(which, share).astype(np.float64)
        seen = np.stack([np.count_nonzero(~np.isnan(series), axis=0) for series in self.values])
        return SequenceSchema(
            columns=Schema.learn(self.moments, self.names, standardize),
            reading=self.reading,
            buckets=buckets(lengths, counts),
            lengths=lengths,
            counts=counts,
            missing=bool((seen < self.lengths[:, None]).any()),
            observed=share @ seen / share.sum(),
        )

    def rows(
        self, schema: SequenceSchema, held_out: float, seed: int, context: Any = None
    ) -> tuple[RowSource, RowSource | None]:
        """Return the series for training, and a share of them that is held out (`None` where 0); see `Table.rows`."""
        encoded = schema.encode(schema.ordered(self.values, self.names))
        groups = encoded.with_context(None if context is None else context[self._kept]).groups
        orders = [canonical_order(batch) for _, batch in groups]
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

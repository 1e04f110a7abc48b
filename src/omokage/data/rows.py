"""Training rows that can be read again and again, each time in a new order: from memory, or spooled on disk.

A source has `count`, `entries` (numbers in a row, at most), `steps(batch_size)` (minibatches in an epoch) and
`epoch(order, size)`, which yields the rows of one epoch in an order drawn from a generator, as batches of at most
`size` rows, of one shape or of few. The training loop knows no more.
"""

import hashlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from omokage.batch import Batch
from omokage.errors import FileFormatError

_READ = 1024  # rows that are read from disk in one piece, at most
_LEAST_PIECES = 64
_POOL = 131_072  # rows from all over the file that are mixed with one another
_LOOKED_AT = 16  # columns, of which those that tell most rows apart put rows in order


class RowSource(Protocol):
    """Rows for training."""

    entries: int

    @property
    def count(self) -> int:
        """The number of rows that an epoch has."""
        ...

    @property
    def digest(self) -> str:
        """Text that differs where the rows do."""
        ...

    def steps(self, batch_size: int) -> int:
        """Return how many minibatches an epoch has."""
        ...

    def epoch(self, order: np.random.Generator, size: int) -> Iterator[Batch]:
        """Yield all rows once, in an order drawn from `order`, `size` at a time."""
        ...


class MemoryRows:
    """Rows held in memory, optionally with a weight each.

    A row of weight 3 stands in three places of an epoch, and one of weight 0.4 in one with that weight: so
    whole weights are the same as repeated rows. Where rows would repeat too often (more than `MOST` times
    their number), weights multiply the loss instead.
    """

    MOST = 10

    def __init__(
        self,
        rows: Batch,
        weight: NDArray[np.float64] | None = None,
        index: NDArray[np.int64] | None = None,
        blocks: NDArray[np.int64] | None = None,
    ):
        """Take the rows `index`, with a weight for each of them; `None`: all, and one each.

        Rows of one block, (n,) of all rows, share a part of their content, and are held out together.
        """
        self.blocks = blocks
        self.rows, self.entries = rows, int(np.prod(rows.x.shape[1:]))
        self.index = np.arange(len(rows.x)) if index is None else index
        self.weight: NDArray[np.float32] | None = None
        self.mean_weight = 1.0  # before the weights were made to have a mean of 1
        if weight is not None:
            copies = np.ceil(weight)
            if copies.sum() > self.MOST * len(self.index):
                copies = weight > 0
            copies = copies.astype(np.int64)
            self.index = np.repeat(self.index, copies)
            share = np.ones(len(self.index))
            share[np.cumsum(copies[copies > 0]) - 1] = (weight - (copies - 1))[copies > 0]
            self.mean_weight = float(share.mean())
            if not (share == share[0]).all():
                self.weight = (share / self.mean_weight).astype(np.float32)

    @property
    def count(self) -> int:
        """The number of rows that an epoch has."""
        return len(self.index)

    @property
    def digest(self) -> str:
        """Text that differs where the rows or their weights do, whatever their order."""
        weight = np.uint64(1) if self.weight is None else self.weight.view(np.uint32).astype(np.uint64)
        return f"{(_mixed(hashes(self.rows))[self.index] * weight).sum(dtype=np.uint64):016x}"

    @property
    def batch(self) -> Batch:
        """All rows at once, without their weights."""
        return _chosen(self.rows, self.index)

    def fold(self, count: int, order: np.random.Generator, first: int = 0) -> None:
        """Deal the rows out to so many folds, of about the same size, from the fold `first` on."""
        folds = np.zeros(len(self.rows.x), np.int32)
        if self.blocks is None:
            folds[order.permutation(self.index)] = (first + np.arange(len(self.index))) % count
        else:
            names = order.permutation(np.unique(self.blocks))
            dealt = np.empty(names.max() + 1, np.int32)
            dealt[names] = (first + np.arange(len(names))) % count
            folds = dealt[self.blocks]
        self.rows = self.rows._replace(fold=folds)

    def steps(self, batch_size: int) -> int:
        """Return how many minibatches an epoch has."""
        return -(-self.count // batch_size)

    def epoch(self, order: np.random.Generator, size: int) -> Iterator[Batch]:
        """Yield all rows once, in an order drawn from `order`, `size` at a time."""
        places = order.permutation(self.count)
        for start in range(0, self.count, size):
            here = places[start : start + size]
            chosen = self.index[here]
            weight = None if self.weight is None else self.weight[here]
            yield _chosen(self.rows, chosen)._replace(weight=weight)


class GroupedRows:
    """Rows of several shapes, each group of one: minibatches are of one group, and the groups take turns at random."""

    def __init__(self, groups: Sequence[MemoryRows]):
        """Take the groups that have rows."""
        self.groups = [group for group in groups if group.count]
        self.entries = max(group.entries for group in self.groups)

    @property
    def count(self) -> int:
        """The number of rows that an epoch has."""
        return sum(group.count for group in self.groups)

    @property
    def digest(self) -> str:
        """Text that differs where the rows or their weights do, whatever their order."""
        return "".join(group.digest for group in self.groups)

    def steps(self, batch_size: int) -> int:
        """Return how many minibatches an epoch has."""
        return sum(group.steps(batch_size) for group in self.groups)

    def epoch(self, order: np.random.Generator, size: int) -> Iterator[Batch]:
        """Yield all rows once, in an order drawn from `order`, at most `size` at a time."""
        sources = [group.epoch(order, size) for group in self.groups]
        turns = np.repeat(np.arange(len(sources)), [-(-group.count // size) for group in self.groups])
        for turn in order.permutation(turns):
            yield next(sources[turn])


class SpooledRows:
    """Rows in a temporary file, for data larger than memory.

    The raw rows are written once as they come; each epoch reads pieces of 1,024 rows (fewer where there are few rows)
    in random order and shuffles pools of many pieces, so that neighbours in the file do not meet again. Plain reads,
    since the pages of a memory map count as the process's own.
    """

    def __init__(self, blocks: Iterable[NDArray[Any]]):
        """Write the blocks, (B, D) each and of one type, to the temporary file."""
        self._file = tempfile.TemporaryFile(prefix="omokage-")  # noqa: SIM115 - lives as long as the object
        self.encode: Callable[[NDArray[Any]], Batch | NDArray[Any]] = lambda raw: raw.astype(np.float32)
        self.context: NDArray[np.float32] | None = None  # of all rows that were written, (n, C), in memory
        self._written = self.entries = 0
        self._dtype = np.dtype(np.float32)
        for block in blocks:
            if self._written == 0:
                self._dtype, self.entries = block.dtype, block.shape[1]
            self._write(np.ascontiguousarray(block, self._dtype))
            self._written += len(block)
        self._size = min(_READ, max(1, self._written // _LEAST_PIECES))
        self._pieces = np.arange(-(-self._written // self._size))

    def _write(self, block: NDArray[Any]) -> None:
        try:
            self._file.write(block.data)
            self._file.flush()
        except OSError as error:
            raise FileFormatError(
                f"{tempfile.gettempdir()}: the rows cannot be kept there while training ({error.strerror}). Make room, "
                "or set the environment variable TMPDIR to a folder that has some."
            ) from None

    @property
    def count(self) -> int:
        """The number of rows that an epoch has."""
        short = self._written // self._size in self._pieces  # the last piece, where it is not full
        return len(self._pieces) * self._size - (-self._written % self._size if short else 0)

    @property
    def places(self) -> NDArray[np.int64]:
        """Which of the rows that were written an epoch has, ascending."""
        return np.concatenate([np.arange(*self._bounds(piece)) for piece in np.sort(self._pieces)])

    @property
    def digest(self) -> str:
        """The SHA-256 of the first rows and of the context: reading all rows would take as long as an epoch."""
        found = hashlib.sha256(self.read(0, min(_READ, self._written)).tobytes())
        if self.context is not None:
            found.update(self.context.tobytes())
        return found.hexdigest()

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Return rows start to stop as they were given, (stop - start, D)."""
        width = self._dtype.itemsize * self.entries
        self._file.seek(start * width)
        rows = np.frombuffer(self._file.read((stop - start) * width), self._dtype)
        return rows.reshape(-1, self.entries)

    def steps(self, batch_size: int) -> int:
        """Return how many minibatches an epoch has."""
        return -(-self.count // batch_size)

    def hold_out(self, order: np.random.Generator, rows: int) -> Batch:
        """Take about so many rows out of the epochs, in pieces from all over the file, and return them encoded."""
        count = min(max(1, rows // self._size), len(self._pieces) - 1)
        chosen, self._pieces = np.split(order.permutation(self._pieces), [count])
        return self._encoded(np.sort(chosen))

    def blocks(self, size: int) -> Iterator[NDArray[Any]]:
        """Yield the rows of an epoch as they were given, about `size` at a time, in their order in the file."""
        pieces, together = np.sort(self._pieces), max(1, size // self._size)
        for start in range(0, len(pieces), together):
            yield np.concatenate([self.read(*self._bounds(piece)) for piece in pieces[start : start + together]])

    def epoch(self, order: np.random.Generator, size: int) -> Iterator[Batch]:
        """Yield all rows once, in an order drawn from `order`, `size` at a time."""
        pieces = order.permutation(self._pieces)
        together = max(_POOL, 4 * size) // self._size
        rest: Batch | None = None
        for start in range(0, len(pieces), together):
            pool = self._encoded(pieces[start : start + together])
            pool = _joined(rest, _chosen(pool, order.permutation(len(pool.x))))
            whole = len(pool.x) // size * size
            for place in range(0, whole, size):
                yield _chosen(pool, slice(place, place + size))
            rest = _chosen(pool, slice(whole, None))
        if rest is not None and len(rest.x):
            yield rest

    def _bounds(self, piece: int) -> tuple[int, int]:
        return piece * self._size, min(self._written, (piece + 1) * self._size)

    def _encoded(self, pieces: NDArray[np.int64]) -> Batch:
        bounds = [self._bounds(piece) for piece in pieces]
        encoded = self.encode(np.concatenate([self.read(start, stop) for start, stop in bounds]))
        rows = encoded if isinstance(encoded, Batch) else Batch(encoded)
        if self.context is None:
            return rows
        return rows._replace(context=np.concatenate([self.context[start:stop] for start, stop in bounds]))


def together(groups: Sequence[MemoryRows]) -> RowSource:
    """Return one source of the rows of all groups, whose weights have a mean of 1 over all of them."""
    if len(groups) == 1:
        return groups[0]
    mean = sum(group.count * group.mean_weight for group in groups) / sum(group.count for group in groups)
    for group in groups:
        if not np.isclose(group.mean_weight, mean, rtol=1e-12):
            weight = np.ones(group.count, np.float32) if group.weight is None else group.weight
            group.weight = weight * np.float32(group.mean_weight / mean)
    return GroupedRows(groups)


def in_memory(rows: RowSource) -> Sequence[MemoryRows]:
    """Return the groups of rows of one shape each that a source holds in memory."""
    assert isinstance(rows, MemoryRows | GroupedRows)
    return rows.groups if isinstance(rows, GroupedRows) else [rows]


def _chosen(rows: Batch, index: NDArray[np.int64] | slice) -> Batch:
    return rows.map(lambda array: array[index])


def _joined(first: Batch | None, second: Batch) -> Batch:
    if first is None:
        return second
    return Batch(*(None if a is None else np.concatenate([a, b]) for a, b in zip(first, second, strict=True)))


def canonical_order(rows: Batch, raw: NDArray[Any] | None = None) -> NDArray[np.int64]:
    """Return an order of the rows that depends on their contents alone.

    A fit that starts from it does not depend on the order in which the rows were given. By values as they were given,
    `raw` (n, D), it does not depend on their units either, but for rounding.

    Example:
        >>> x = np.array([[1, 2], [0, 5], [1, 1]], np.float32)
        >>> np.array_equal(x[canonical_order(Batch(x))], x[::-1][canonical_order(Batch(x[::-1]))])
        True
    """
    if raw is None:
        return np.argsort(hashes(rows), kind="stable")
    return np.lexsort((hashes(rows), _ranks(raw)))


def _ranks(raw: NDArray[Any]) -> NDArray[np.int64]:
    """Return the place of each row in the order of its values, column after column; equal rows have the same.

    Columns that tell many rows apart come first. Which they are does not change with units, or where rows repeat.
    """
    varying = np.flatnonzero(raw.max(0) > raw.min(0))
    some = (
        np.unique(varying[np.linspace(0, len(varying) - 1, _LOOKED_AT).astype(np.int64)]) if len(varying) else varying
    )
    different = [len(np.unique(raw[:, column])) for column in some]
    first = some[np.argsort(np.negative(different), kind="stable")] if len(some) else some
    ranks, tied = np.zeros(len(raw), np.int64), np.arange(len(raw))
    for column in [*first, *np.setdiff1d(varying, first)]:
        if len(tied) < 2:
            break
        values = raw[tied, column]
        order = np.lexsort((values, ranks[tied]))
        before, now = ranks[tied][order], values[order]
        new = np.concatenate([[True], (before[1:] != before[:-1]) | (now[1:] != now[:-1])])
        group = np.concatenate([[True], before[1:] != before[:-1]])
        places = np.arange(len(tied))
        within = np.maximum.accumulate(np.where(new, places, 0)) - np.maximum.accumulate(np.where(group, places, 0))
        ranks[tied[order]] = before + within
        counts = np.diff(np.append(np.flatnonzero(new), len(tied)))
        tied = np.sort(tied[order][np.repeat(counts > 1, counts)])
    return ranks


def hashes(rows: Batch) -> NDArray[np.uint64]:
    """Return a number for each row, (n,), made of its content: what was observed, how many steps there are, context."""
    sums = _hashes(rows.x)
    if rows.context is not None:
        sums += _hashes(rows.context, 1)
    if rows.mask is not None:
        sums += np.uint64(2) * _hashes(rows.mask.astype(np.float32))
    return sums if rows.lengths is None else sums + rows.lengths.astype(np.uint64)


def _hashes(x: NDArray[np.float32], seed: int = 0) -> NDArray[np.uint64]:
    flat = x.reshape(len(x), -1)
    # A random odd 64-bit multiplier a column.
    multipliers = np.random.default_rng(seed).integers(1, 2**63, flat.shape[1], dtype=np.uint64)
    multipliers = multipliers * np.uint64(2) + np.uint64(1)
    sums = np.empty(len(x), np.uint64)
    for start in range(0, len(x), 4096):
        bits = np.ascontiguousarray(flat[start : start + 4096] + np.float32(0)).view(
            np.uint32
        )  # + 0 makes -0 and 0 one
        sums[start : start + 4096] = (bits.astype(np.uint64) * multipliers).sum(1, dtype=np.uint64)
    return sums


def _mixed(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return numbers whose sum tells which entries stand in one row, as the sum of the hashes alone does not.

    The last steps of SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014).
    """
    for shift, multiplier in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        hashes = (hashes ^ (hashes >> np.uint64(shift))) * np.uint64(multiplier)
    return hashes ^ (hashes >> np.uint64(31))


def divide(
    index: NDArray[np.int64], held_out: float, order: np.random.Generator, blocks: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows to train on, and a share of them that is held out: at least one of each where it is not 0.

    Rows of one block, (n,) beside `index`, stay together, where there are several blocks.
    """
    if not held_out or len(index) < 2:
        return index, index[:0]
    if blocks is not None and len(names := np.unique(blocks)) > 1:
        count = min(max(1, round(held_out * len(names))), len(names) - 1)
        out = np.isin(blocks, order.permutation(names)[:count])
        return index[~out], index[out]
    count = min(max(1, round(held_out * len(index))), len(index) - 1)
    chosen, rest = np.split(order.permutation(index), [count])
    return rest, chosen

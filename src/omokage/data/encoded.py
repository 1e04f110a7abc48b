"""Encoded rows: what the model side is given, in groups of one shape each, and the way back to the order of X."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omokage.batch import Batch
from omokage.data.windows import Windows

Group = tuple[NDArray[np.int64], Batch]  # the places of the rows in X, (B,), and the rows


class Parts(Sequence[Group]):
    """Groups of rows that are read when they are looked at, one after the other, so that a file need not fit in memory.

    Attributes:
        rows: How many rows there are in all.
    """

    def __init__(
        self, rows: int, size: int, read: Callable[[int, int], Batch], context: NDArray[np.float32] | None = None
    ):
        """Take how many rows there are, how many each part has, what reads rows from one to another, and a context."""
        self.rows, self._size, self._read, self._context = rows, size, read, context

    def __len__(self) -> int:
        return -(-self.rows // self._size)

    def __getitem__(self, number: Any) -> Any:
        if not 0 <= number < len(self):
            raise IndexError(number)
        index = self._place(number)
        batch = self._read(int(index[0]), int(index[-1]) + 1)
        return index, batch if self._context is None else batch._replace(context=self._context[index])

    @property
    def places(self) -> list[NDArray[np.int64]]:
        """The places of the rows of each part."""
        return [self._place(number) for number in range(len(self))]

    def _place(self, number: int) -> NDArray[np.int64]:
        return np.arange(number * self._size, min(self.rows, (number + 1) * self._size))

    def with_context(self, context: NDArray[np.float32]) -> "Parts":
        """Return the rows with their context, (n, C)."""
        return Parts(self.rows, self._size, self._read, context)


@dataclass(frozen=True, eq=False)
class Encoded:
    """Rows as batches of NumPy arrays; vectors and images are one group, sequences one for each padded length.

    Attributes:
        groups: The rows of each shape, with their places in X; of a large table `Parts` of one shape.
        windows: Where the rows stand in longer series that they were cut from.
        alone: Whether X is a single series.
    """

    groups: Sequence[Group]
    windows: Windows | None = None
    alone: bool = False

    @staticmethod
    def of(rows: Batch) -> "Encoded":
        """Return rows that are of one shape."""
        return Encoded(((np.arange(len(rows.x)), rows),))

    @staticmethod
    def together(groups: Sequence[Batch]) -> "Encoded":
        """Return groups of rows, one after the other."""
        ends = np.cumsum([len(batch.x) for batch in groups])
        return Encoded(
            tuple((np.arange(end - len(batch.x), end), batch) for end, batch in zip(ends, groups, strict=True))
        )

    @property
    def count(self) -> int:
        """The number of rows, n."""
        return sum(map(len, self._places))

    @property
    def _places(self) -> list[NDArray[np.int64]]:
        """The places of the rows of each group."""
        return self.groups.places if isinstance(self.groups, Parts) else [index for index, _ in self.groups]

    @property
    def held(self) -> "Encoded":
        """The same rows in memory."""
        return Encoded.of(self.whole) if isinstance(self.groups, Parts) else self

    @property
    def whole(self) -> Batch:
        """All rows as one batch in the order of X, padded to the longest where they are of several lengths."""
        if len(self.groups) == 1:
            return self.groups[0][1]
        if isinstance(self.groups, Parts):
            return _joined([batch for _, batch in self.groups])
        longest = max(batch.x.shape[1] for _, batch in self.groups)
        parts = []
        for _, batch in self.groups:
            gap = longest - batch.x.shape[1]
            observed = np.broadcast_to(batch.observed, batch.x.shape)
            x, mask = (np.pad(array, [(0, 0), (0, gap), (0, 0)]) for array in (batch.x, observed))
            parts.append(Batch(x, mask=mask, lengths=batch.lengths, context=batch.context))
        order = np.argsort(np.concatenate([index for index, _ in self.groups]))
        return Batch(*(None if part[0] is None else np.concatenate(part)[order] for part in zip(*parts, strict=True)))

    def of_fold(self, fold: int) -> "Encoded":
        """Return the rows of one fold as rows of their own.

        They are numbered from 0, one group after the other, and no longer say to which fold they belong.
        """

        def chosen(batch: Batch) -> Batch:
            here = batch.fold == fold
            return batch._replace(fold=None).map(lambda array: array[here])

        parts = [chosen(batch) for _, batch in self.groups]
        return Encoded.together([batch for batch in parts if len(batch.x)])

    @property
    def contexts(self) -> int:
        """How many contexts rows have: one each, or where they are windows one for each series they were cut from."""
        return self.count if self.windows is None else len(self.windows.lengths)

    def with_context(self, context: NDArray[np.float32] | None) -> "Encoded":
        """Return the rows with their context, (n, C) in the order of X; of windows it is that of each series."""
        if context is None:
            return self
        if self.windows is not None:
            context = context[self.windows.series]
        if isinstance(self.groups, Parts):
            return replace(self, groups=self.groups.with_context(context))
        return replace(
            self, groups=tuple((index, batch._replace(context=context[index])) for index, batch in self.groups)
        )

    def each(self, function: Callable[[Batch], Any]) -> Any:
        """Return `function` of the rows, in the order of X: an array with n rows, or a dict of such arrays."""
        results = [function(batch) for _, batch in self.groups]
        if isinstance(results[0], dict):
            return {name: self._in_order([result[name] for result in results]) for name in results[0]}
        return self._in_order(results)

    def each_padded(self, function: Callable[[Batch, NDArray[np.int64]], Any]) -> Any:
        """Return `function` of rows and their places, where it gives something for each step, in the order of X.

        An array (n, ...) where rows are of one shape, else a list of arrays (T, ...), each of the length of its row; or
        a dict of such.
        """
        results = [function(batch, index) for index, batch in self.groups]
        if isinstance(results[0], dict):
            return {name: self._unpadded([result[name] for result in results]) for name in results[0]}
        return self._unpadded(results)

    def _unpadded(self, parts: list[Any]) -> Any:
        if isinstance(self.groups, Parts):
            return np.concatenate(parts)
        if len(self.groups) == 1 and self.groups[0][1].lengths is None:
            return parts[0]
        rows: list[Any] = [None] * self.count
        for (index, batch), part in zip(self.groups, parts, strict=True):
            lengths = batch.lengths if batch.lengths is not None else [batch.x.shape[1]] * len(index)
            for place, length, row in zip(index, lengths, part, strict=True):
                rows[place] = row[:length]
        return np.stack(rows) if len({len(row) for row in rows}) == 1 else rows

    def on_steps(self, values: Any) -> list[Any]:
        """Return what is said of the steps of each row, (T, ...), for each series: the mean where rows overlap."""
        return list(values) if self.windows is None else self.windows.put_back(values)

    def _in_order(self, parts: Iterable[NDArray[Any]]) -> NDArray[Any]:
        parts = list(parts)
        if len(parts) == 1:
            return parts[0]
        result = np.empty((self.count, *parts[0].shape[1:]), parts[0].dtype)
        for index, part in zip(self._places, parts, strict=True):
            result[index] = part
        return result


def _joined(batches: Sequence[Batch]) -> Batch:
    """Return rows of one shape together; where some have a mask, all have."""
    if any(batch.mask is not None for batch in batches):
        batches = [
            batch._replace(mask=np.broadcast_to(batch.mask is None or batch.mask, batch.x.shape)) for batch in batches
        ]
    return Batch(*(None if part[0] is None else np.concatenate(part) for part in zip(*batches, strict=True)))

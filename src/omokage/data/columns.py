"""What is learned at fit of columns of numbers (pixels, channels), and the way to standardised numbers and back.

x (standardised) = (raw - location) / scale, column by column. A density over x becomes one over raw
data by the Jacobian: log p(raw) = log p(x) - sum_j log scale_j. Every likelihood that omokage reports
is in raw units, so `ColumnSchema.log_jacobian` goes into each.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from omokage.batch import Event
from omokage.errors import DataError, FileFormatError, listing

Kind = Literal["real", "binary", "unit"]
Standardization = Literal["scale", "center", "range"] | bool | tuple[Literal["scale", "center", "range"] | bool, ...]

# Largest level of a grey picture by the number of its bits, and how many pixels the smallest pictures have.
_LEVELS, _PIXELS = (255, 65535), 64

# Names that pandas gives to an index which becomes a column, and how many rows tell whether one numbers them.
_INDEXES, _FEWEST = ("", "index", "level_0", "Unnamed: 0"), 20

# Below this share of a column's magnitude a spread is rounding noise: float64 resolves 2e-16 of it.
_CONSTANT = 1e-14


@dataclass
class Moments:
    """Per-column moments of rows that arrive in blocks (Chan, Golub and LeVeque, 1979).

    All is relative to the first row, so that a column of small variation far from 0 loses nothing.

    Example:
        >>> moments = Moments.empty(2).updated(np.array([[0.0, 1.0], [2.0, 1.0]]))
        >>> moments.mean, moments.standard_deviation
        (array([1., 1.]), array([1., 0.]))
    """

    weight: float
    rows: int
    origin: NDArray[np.float64]  # the first row
    offset: NDArray[np.float64]  # of the mean from it
    squares: NDArray[np.float64]  # weighted sum of squared deviations from the mean
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    binary: NDArray[np.bool_]
    whole: NDArray[np.bool_]  # only whole numbers

    @staticmethod
    def empty(features: int) -> "Moments":
        """Return the moments of no rows."""
        zeros = np.zeros(features)
        return Moments(0.0, 0, zeros, zeros, zeros, zeros + np.inf, zeros - np.inf, *np.ones((2, features), bool))

    @staticmethod
    def of_observed(values: NDArray[np.float64], weight: NDArray[np.float64] | None = None) -> "Moments":
        """Return the moments of the entries that are there, of rows (n, D) with NaN where one is missing.

        Each column counts as if all rows had it. A column without any entry is taken for a constant 0.
        """
        share = np.ones(len(values)) if weight is None else weight
        values, share = values[share > 0], share[share > 0]
        seen = ~np.isnan(values)
        each = share @ seen
        lacking, each = each == 0, np.where(each == 0, 1.0, each)
        low = np.where(lacking, 0.0, np.min(values, axis=0, initial=np.inf, where=seen))
        high = np.where(lacking, 0.0, np.max(values, axis=0, initial=-np.inf, where=seen))
        filled = np.where(seen, values, low)
        offset = share @ ((filled - low) * seen) / each
        squares = share @ (((filled - low - offset) * seen) ** 2) / each * share.sum()
        binary, whole = (((filled == 0) | (filled == 1)).all(0), (filled == np.rint(filled)).all(0))
        return Moments(float(share.sum()), len(values), low, offset, squares, low, high, binary, whole)

    def updated(self, block: NDArray[Any], weight: NDArray[np.float64] | None = None) -> "Moments":
        """Return the moments of the rows so far and those of `block`, (B, D); `weight` is (B,).

        A row of weight 0 is as if it were not there.
        """
        values = np.asarray(block, np.float64)
        share = np.ones(len(values)) if weight is None else weight
        if not share.all():
            values, share = values[share > 0], share[share > 0]
        if not len(values):
            return self
        total = self.weight + share.sum()
        origin = self.origin if self.rows else values[0]
        offset_here = share @ (values - origin) / share.sum()
        squares_here = share @ (values - origin - offset_here) ** 2
        shift = offset_here - self.offset
        return Moments(
            total,
            self.rows + len(values),
            origin,
            self.offset + shift * (share.sum() / total),
            self.squares + squares_here + shift**2 * (self.weight * share.sum() / total),
            np.minimum(self.low, values.min(0)),
            np.maximum(self.high, values.max(0)),
            self.binary & ((values == 0) | (values == 1)).all(0),
            self.whole & (values == np.rint(values)).all(0) if self.whole.any() else self.whole,
        )

    @property
    def mean(self) -> NDArray[np.float64]:
        """The mean of each column, (D,)."""
        return self.origin + self.offset

    @property
    def standard_deviation(self) -> NDArray[np.float64]:
        """The population standard deviation of each column, (D,)."""
        return np.sqrt(self.squares / self.weight)

    def common_range(self, pixels: bool) -> float | None:
        """Return the width of the range that columns share, as grey levels do; `None` where they seem to share none.

        They do where most of them fill half of it, and it is [0, 1]. Pixels, and columns that are as many as the pixels
        of a small picture, also share [-1, 1], the levels of 8 or 16 bits, or a range whose ends half of them meet.

        Args:
            pixels: Whether the columns are known to be such.

        Example:
            >>> levels = np.array([[0.0, 16.0, 3.0], [16.0, 0.0, 0.0]])
            >>> [Moments.empty(3).updated(x).common_range(True) for x in (levels, levels / 16, levels * [1, 9, 99])]
            [16.0, 1.0, None]
        """
        varying = self.high > self.low
        if not varying.any():
            return None
        low, high = self.low[varying], self.high[varying]
        least, most, usual = low.min(), high.max(), np.median(high - low)
        if least >= 0 and most <= 1:
            return 1.0 if usual >= 0.5 else None
        if not pixels and len(self.low) < _PIXELS:
            return None
        known: list[float] = []
        if least >= -1 and most <= 1:
            known = [1.0 if (high - low).max() <= 1 else 2.0]
        elif least >= 0 and self.whole.all():
            known = [levels for levels in _LEVELS if most <= levels]
        for width in known:
            if usual >= width / 2:
                return float(width)
        return float(most - least) if min((low == least).mean(), (high == most).mean()) >= 0.5 else None

    def rounded(self) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64]]:
        """Return which columns are constant, means and deviations, (D,) each, the same whatever the order of rows."""
        deviation = self.standard_deviation
        constant = deviation <= _CONSTANT * np.maximum(np.abs(self.low), np.abs(self.high))
        # To a part in 2^24 of the deviation, and not of the mean, which can be a million times as large.
        exponent = np.frexp(np.where(constant, 1.0, deviation))[1]
        mean = np.where(constant, self.low, _rounded(self.mean, exponent))
        return constant, mean, np.where(constant, 0.0, _rounded(deviation, exponent))


class Observed:
    """The moments of entries that are there, of rows that arrive in blocks, (B, D) with NaN where one is missing.

    Example:
        >>> seen, rows = Observed(2), np.array([[0.0, np.nan], [2.0, 1.0], [1.0, np.nan]])
        >>> seen.see(rows[:2])
        >>> seen.see(rows[2:])
        >>> seen.share.round(2), seen.moments.mean, Moments.of_observed(rows).mean
        (array([1.  , 0.33]), array([1., 1.]), array([1., 1.]))
    """

    def __init__(self, features: int):
        self.rows = 0
        self._count, self._origin, self._offset, self._squares = np.zeros((4, features))
        self._low, self._high = np.full(features, np.inf), np.full(features, -np.inf)
        self._binary, self._whole = np.ones((2, features), bool)

    def see(self, block: NDArray[np.float64]) -> None:
        """Take note of some rows."""
        seen = ~np.isnan(block)
        first = block[seen.argmax(0), np.arange(block.shape[1])]
        self._origin = np.where((self._count == 0) & seen.any(0), first, self._origin)
        apart = np.where(seen, block - self._origin, 0.0)
        count = seen.sum(0)
        offset = apart.sum(0) / np.maximum(count, 1)
        squares = np.square(np.where(seen, apart - offset, 0.0)).sum(0)
        total, shift = self._count + count, np.where(count > 0, offset - self._offset, 0.0)
        share = count / np.maximum(total, 1)
        self._squares += squares + shift**2 * self._count * share
        self._offset += shift * share
        self._count = total
        self._low = np.minimum(self._low, np.min(block, axis=0, initial=np.inf, where=seen))
        self._high = np.maximum(self._high, np.max(block, axis=0, initial=-np.inf, where=seen))
        self._binary &= ((block == 0) | (block == 1) | ~seen).all(0)
        self._whole &= ((block == np.rint(block)) | ~seen).all(0)
        self.rows += len(block)

    @property
    def share(self) -> NDArray[np.float64]:
        """The share of the rows that has each entry, (D,)."""
        return np.asarray(self._count / self.rows)

    @property
    def moments(self) -> Moments:
        """What `Moments.of_observed` says of all rows at once."""
        lacking = self._count == 0
        low, high = (np.where(lacking, 0.0, ends) for ends in (self._low, self._high))
        squares = self._squares / np.where(lacking, 1, self._count) * self.rows
        return Moments(
            float(self.rows), self.rows, self._origin, self._offset, squares, low, high, self._binary, self._whole
        )


@dataclass(frozen=True, eq=False)
class ColumnSchema:
    """What was learned of columns.

    Attributes:
        names: Column names, as text; `None` where the input had none.
        kinds: "binary" (only 0 and 1), "unit" (within [0, 1]) or "real", for each column.
        location, scale: x = (raw - location) / scale, (D,) each.
        mean: The mean of each column, in raw units, (D,).
        deviation: The standard deviation of each column, in raw units, (D,).
        constant: Which columns had one value only, (D,).
        low, high: The smallest and largest value seen, (D,) each.
        textual: Whether the names were text in the input, and not numbers, as pandas numbers columns.
    """

    names: tuple[str, ...] | None
    kinds: tuple[Kind, ...]
    location: NDArray[np.float64]
    scale: NDArray[np.float64]
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    constant: NDArray[np.bool_]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    textual: bool = True

    @staticmethod
    def learn(
        moments: Moments, names: tuple[str, ...] | None, standardize: Standardization, textual: bool = True
    ) -> "ColumnSchema":
        """Return the schema of rows with these moments.

        Args:
            moments: Of all the rows.
            names: Column names, if there are any.
            standardize: "scale" (mean 0, deviation 1), "center" (mean 0), "range" (mean 0, all columns divided by the
                width of the range that they share), `False`, or one of them for each column; constant columns are not
                scaled to deviation 1.
            textual: Whether the names were text in the input.

        Raises:
            DataError: If every column is constant.
        """
        constant, mean, deviation = moments.rounded()
        if constant.all():
            raise DataError(
                "X: every column is constant, so there is nothing to learn. Expected at least one column with "
                f"two different values; got {moments.rows} rows × {len(deviation)} columns."
            )
        ways = np.resize(np.array(standardize, object), len(mean))  # of channels those of each pixel
        scale = np.where(constant | (ways != "scale"), 1.0, deviation)
        if (ways == "range").any():
            width = moments.common_range(pixels=True) or (moments.high - moments.low)[~constant].max()
            scale = np.where(ways == "range", width, scale)
        location = np.where(ways == False, 0.0, mean)  # noqa: E712 - for each column
        schema = ColumnSchema(
            names, column_kinds(moments), location, scale, mean, deviation, constant, moments.low, moments.high, textual
        )
        schema._check_units(standardize)
        return schema

    def _check_units(self, standardize: Standardization) -> None:
        """Raise DataError where the numbers of a column are too small or too widely spread for float32."""
        size = np.maximum(np.abs(self.low), np.abs(self.high))
        tiny = (self.low < self.high) & (np.minimum(size, self.scale) <= _LEAST)
        wide = self.deviation > _WIDEST * self.scale
        for bad, what, remedy in (
            (tiny, "is so small", "Multiply the column, so that its unit is smaller: X * 1e30, for example."),
            (wide, "spreads so widely", f"Divide the column, or take another standardize than {standardize!r}."),
        ):
            if bad.any():
                j = int(np.argmax(bad))
                raise DataError(
                    f"X: column {self.column(j)} {what} that float32 cannot hold it (values from {self.low[j]:.3g} to "
                    f"{self.high[j]:.3g}, a deviation of {self.deviation[j]:.3g}). {remedy}"
                )

    @property
    def features(self) -> int:
        """The number of columns, D."""
        return len(self.kinds)

    @property
    def event(self) -> Event:
        """One row, as the model side sees it."""
        spread = self.deviation / self.scale
        usual = np.sqrt(np.mean(spread[~self.constant] ** 2)) if not self.constant.all() else 1.0
        centre = (self.mean - self.location) / self.scale
        return Event((self.features,), self.scale, np.where(self.constant, usual, spread), centre)

    @property
    def log_jacobian(self) -> float:
        """What to add to log p(x) to get log p(raw), in nats per row."""
        return -float(np.log(self.scale).sum())

    def encode(self, raw: NDArray[Any]) -> NDArray[np.float32]:
        """Return standardised rows, (..., D), from raw ones; held within ±1e15, whose square float32 still holds."""
        rows = raw.reshape(-1, raw.shape[-1])
        x = np.empty(rows.shape, np.float32)
        size = max(1, min(len(rows), 65_536 // rows.shape[1]))  # rows at a time, so that what is float64 stays small
        location, scale = (np.tile(each, (size, 1)) for each in (self.location, self.scale))  # faster than broadcasting
        with np.errstate(over="ignore"):
            for start in range(0, len(rows), size):
                part, to = rows[start : start + size], x[start : start + size]
                np.divide(part - location[: len(part)], scale[: len(part)], out=to, casting="same_kind")
                np.clip(to, -1e15, 1e15, out=to)
        return x.reshape(raw.shape)

    def decode(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """Return raw rows, (..., D), from standardised ones."""
        return np.asarray(x, np.float64) * self.scale + self.location

    def column(self, index: int) -> str:
        """Return what messages call a column: its quoted name, or its number counted from 0."""
        return repr(self.names[index]) if self.names else str(index)

    def to_json(self) -> dict[str, Any]:
        """Return the schema as a JSON object."""
        return {
            "kind": "vectors",  # of rows that are columns and nothing else; others hold such an object
            "names": None if self.names is None else list(self.names),
            "kinds": list(self.kinds),
            "textual": self.textual,
            **{name: getattr(self, name).tolist() for name in _ARRAYS},
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "ColumnSchema":
        """Return the schema that `to_json` wrote.

        Raises:
            FileFormatError: If an entry is missing, or of another length or type.
        """
        try:
            if value["kind"] != "vectors":
                raise ValueError(f"kind {value['kind']!r} is not 'vectors'")
            names, kinds, textual = value["names"], value["kinds"], value.get("textual", True)
            arrays = {name: np.array(value[name], dtype) for name, dtype in _ARRAYS.items()}
        except KeyError as error:
            raise FileFormatError(f"schema.json: not a schema of vectors (no entry {error}).") from None
        except (TypeError, ValueError, OverflowError) as error:
            raise FileFormatError(f"schema.json: not a schema of vectors ({error}).") from None
        sound = (
            isinstance(kinds, list)
            and isinstance(textual, bool)
            and len(kinds) > 0
            and all(kind in ("real", "binary", "unit") for kind in kinds)
            and (names is None or (isinstance(names, list) and len(set(names)) == len(kinds) == len(names)))
            and all(isinstance(name, str) for name in names or ())
            and all(array.shape == (len(kinds),) and np.isfinite(array).all() for array in arrays.values())
            and (arrays["scale"] > 0).all()
            and (arrays["deviation"] >= 0).all()
            and (arrays["low"] <= arrays["high"]).all()
            and all(np.abs(array).max() <= 2 * _LARGEST for array in arrays.values())
            and (arrays["scale"] > _LEAST).all()
            and (arrays["deviation"] <= _WIDEST * arrays["scale"]).all()
        )
        if not sound:
            raise FileFormatError("schema.json: its columns, kinds or scales do not fit together.")
        return ColumnSchema(None if names is None else tuple(names), tuple(kinds), **arrays, textual=textual)


_LARGEST = float(np.finfo(np.float32).max)
_LEAST, _WIDEST = 1 / _LARGEST, 1e30  # of a scale, and of a deviation in scales
_ARRAYS: dict[str, Any] = {
    "location": np.float64, "scale": np.float64, "mean": np.float64, "deviation": np.float64, "constant": bool,
    "low": np.float64, "high": np.float64,
}  # fmt: skip


def _rounded(values: NDArray[np.float64], exponent: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return values rounded to multiples of 2^(exponent - 24)."""
    return np.ldexp(np.rint(np.ldexp(values, 24 - exponent)), exponent - 24)


def column_kinds(moments: Moments) -> tuple[Kind, ...]:
    """Return what each column holds, by the values seen."""
    unit = (moments.low >= 0) & (moments.high <= 1)
    return tuple(
        "binary" if is_binary else "unit" if is_unit else "real"
        for is_binary, is_unit in zip(moments.binary, unit, strict=True)
    )


def row_numbers(matrix: NDArray[Any], names: tuple[str, ...] | None) -> list[int]:
    """Return which columns seem to number the rows, and so are no measurements.

    They hold whole numbers that only ascend from row to row; or different ones, under a name that pandas gives to
    indexes. Fewer than 20 rows say nothing.

    Example:
        >>> X = np.stack([np.arange(30) + 7, np.arange(30) % 3], 1)
        >>> row_numbers(X, None), row_numbers(X[::-1], ("index", "b")), row_numbers(X[::-1], ("a", "b"))
        ([0], [0], [])
    """
    if len(matrix) < _FEWEST:
        return []
    called = names or ("a column",) * matrix.shape[1]
    named = np.array([name in _INDEXES or name.startswith("__index_level_") for name in called])
    first: Any = (np.diff(matrix[:_FEWEST], axis=0) > 0).all(0)  # whole columns are looked at only where it may be so
    return [
        j
        for j in np.flatnonzero(first | named).tolist()
        if (matrix[:, j] == np.rint(matrix[:, j])).all()
        and ((np.diff(matrix[:, j]) > 0).all() or (named[j] and len(np.unique(matrix[:, j])) == len(matrix)))
    ]


def check_names(expected: tuple[str, ...], given: Iterable[str], name: str = "X") -> None:
    """Check that a table, which messages call `name`, has just the columns of the fit, in any order.

    Raises:
        DataError: Naming the missing and the unexpected columns.
    """
    given = list(given)
    missing = [name for name in expected if name not in set(given)]
    unexpected = [name for name in given if name not in set(expected)]
    parts = [f"missing {listing(missing)}"] * bool(missing) + [f"unexpected {listing(unexpected)}"] * bool(unexpected)
    if parts:
        raise DataError(f"{name}: its columns are not those seen at fit: {'; '.join(parts)}.")

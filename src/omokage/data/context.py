"""The context of rows: what a conditional model is told of each row beside x, as numbers (n, C).

    labels       strings, whole numbers or booleans, (n,)     one-hot: a column for each label, 1 where the row has it
    covariates   floats (n,), or any numbers (n, k)           standardised, (value - location) / scale
    data frame   each of its columns by its type              side by side

What was learned of it is kept with the model, so that the same context gives the same numbers ever after.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import narwhals as nw
import numpy as np
import polars as pl
from numpy.typing import NDArray

from omokage.data.columns import Moments, check_names
from omokage.data.containers import frame_of
from omokage.errors import DataError, DataTypeError, FileFormatError, listing, suggest

Label = str | int | bool

_MOST_LABELS = 1000
_LARGEST = float(np.finfo(np.float32).max)
_WORDS: dict[type, str] = {str: "strings", int: "whole numbers", bool: "True and False", float: "numbers"}


@dataclass(frozen=True)
class Labels:
    """A column of labels of one type, in ascending order."""

    labels: tuple[Label, ...]

    @property
    def size(self) -> int:
        """How many numbers say it."""
        return len(self.labels)

    def encode(self, values: NDArray[Any], name: str, column: str) -> NDArray[np.float64]:
        """Return 1 in the column of each row's label and 0 elsewhere, (n, labels); see `ContextSchema.encode`."""
        kind = type(self.labels[0])
        if (other := _kind_of(values)) is not kind:
            raise DataError(
                f"{name}: expected {_WORDS[kind]}{column}, as at fit (such as {self.labels[0]!r}); got "
                f"{_WORDS[other]}, {values.tolist()[0]!r} in row 0. Give labels of the type of the fit."
            )
        numbers = {label: number for number, label in enumerate(self.labels)}
        places = np.array([numbers.get(value, -1) for value in values])
        if (unknown := np.flatnonzero(places < 0)).size:
            new = list(dict.fromkeys(values[unknown]))
            hint = suggest(new[0], map(str, self.labels)) if kind is str else ""
            raise DataError(
                f"{name}: {_shown(new, 5)} (row {unknown[0]}{column}) {'is' if len(new) == 1 else 'are'} not among the "
                f"labels of the fit, {_shown(self.labels, 20)}.{hint} Give one of these, or fit anew with rows that "
                "have it."
            )
        return np.eye(self.size)[places]

    def of_cells(self, cells: pl.Series) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return the labels in a column of a file, the first in the place of those that are none, and which are not."""
        kind = type(self.labels[0])
        if kind is str:
            cells = cells.cast(pl.String)
        elif kind is bool and cells.dtype == pl.String:
            words = cells.str.strip_chars().str.to_lowercase()
            cells = words.replace_strict({"true": True, "false": False}, default=None, return_dtype=pl.Boolean)
        elif kind is int and cells.dtype != pl.Boolean:
            numbers = _cells_as_numbers(cells)
            cells = numbers.set(~(numbers == numbers.round()), None).cast(pl.Int64, strict=False)
        known = set(self.labels)
        right = cells.dtype == {str: pl.String, int: pl.Int64, bool: pl.Boolean}[kind]
        bad = np.array([not right or entry not in known for entry in cells.to_list()], bool)
        return _objects([self.labels[0] if bad[j] else entry for j, entry in enumerate(cells.to_list())]), bad

    @property
    def expected(self) -> str:
        """What messages say of a value."""
        return f"one of {_shown(self.labels, 20)}"

    @property
    def example(self) -> str:
        """A value as one would write it."""
        return str(self.labels[0])

    def __str__(self) -> str:
        """Return the labels in words."""
        return f"labels: {_shown(self.labels, 20)}"

    def to_json(self) -> dict[str, Any]:
        """Return the column as a JSON object."""
        return {"labels": list(self.labels)}


@dataclass(frozen=True)
class Covariate:
    """A column of numbers: x = (value - location) / scale."""

    location: float
    scale: float
    size = 1

    def encode(self, values: NDArray[Any], name: str, column: str) -> NDArray[np.float64]:
        """Return standardised numbers, (n, 1), held within ±1e15 as those of X are; see `ContextSchema.encode`."""
        if _kind_of(values) is str:
            raise DataError(f"{name}: expected numbers{column}, as at fit; got {values[0]!r} in row 0.")
        return np.clip((values.astype(np.float64)[:, None] - self.location) / self.scale, -1e15, 1e15)

    def of_cells(self, cells: pl.Series) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return the numbers in a column of a file, the location in the place of what is none, and which are none."""
        values = _cells_as_numbers(cells).fill_null(float("nan")).to_numpy()
        bad = ~(np.abs(values) <= _LARGEST)
        return np.where(bad, self.location, values), bad

    expected = "a finite number"

    @property
    def example(self) -> str:
        """A value as one would write it."""
        return f"{self.location:.3g}"

    def __str__(self) -> str:
        """Return what is done with the number, in words."""
        return f"a number: (value - {self.location:.6g}) / {self.scale:.6g}"

    def to_json(self) -> dict[str, Any]:
        """Return the column as a JSON object."""
        return {"location": self.location, "scale": self.scale}


@dataclass(frozen=True, eq=False)
class Told:
    """The context of rows, read and checked: what can be learned from it and encoded, for all of the rows or some.

    Attributes:
        columns: Floats, or objects that are labels, (n,) each.
        names: Their names, where it was a data frame.
    """

    columns: tuple[NDArray[Any], ...]
    names: tuple[str, ...] | None

    @staticmethod
    def of(context: Any, rows: int, name: str = "context") -> "Told":
        """Return the context of so many rows; raises DataError if it cannot be used, as `ContextSchema.learn` does."""
        names, columns = _read(context, name)
        if len(columns[0]) != rows:
            raise DataError(_other_rows(name, len(columns[0]), rows))
        return Told(tuple(columns), names)

    def __len__(self) -> int:
        return len(self.columns[0])

    def part(self, index: NDArray[np.int64]) -> "Told":
        """Return the context of the rows at these places, which may repeat."""
        return Told(tuple(column[index] for column in self.columns), self.names)


@dataclass(frozen=True)
class ContextSchema:
    """What was learned of the context of the training rows.

    Attributes:
        columns: Its columns, in their order at fit.
        names: Their names, where it was a data frame.

    Example:
        >>> schema = ContextSchema.learn(["cat", "dog", "cat"], 3)
        >>> schema.encode(["dog", "cat"], 2).tolist()
        [[0.0, 1.0], [1.0, 0.0]]
    """

    columns: tuple[Labels | Covariate, ...]
    names: tuple[str, ...] | None = None

    @staticmethod
    def learn(
        context: Any, rows: int, weight: NDArray[np.float64] | None = None, name: str = "context"
    ) -> "ContextSchema":
        """Return what there is to learn of the context of training rows.

        Args:
            context: See the module's text.
            rows: How many rows it is the context of.
            weight: How much each of them counts, (rows,); one of weight 0 is as if it were not there.
            name: What messages call it.

        Raises:
            DataError: If it has a missing value, another number of rows, or is of a type that is neither.
        """
        told = Told.of(context, rows, name)
        names, columns = told.names, told.columns
        kept = np.ones(rows, bool) if weight is None else weight > 0
        share = None if weight is None else weight[kept]
        made = (_learned(values[kept], share, name, _place(names, j, len(columns))) for j, values in enumerate(columns))
        return ContextSchema(tuple(made), names)

    def of_part(self, told: Told) -> "ContextSchema":
        """Return the schema with the same labels, and locations and scales of these rows alone."""
        pairs = zip(self.columns, told.columns, strict=True)
        columns = (mine if isinstance(mine, Labels) else _learned(values, None, "", "") for mine, values in pairs)
        return ContextSchema(tuple(columns), self.names)

    def of_cells(self, frame: pl.DataFrame) -> tuple[Told, NDArray[np.bool_]]:
        """Return the context that columns of a file hold, and which of their cells cannot be used, (n, columns).

        Cells of text are read as what the columns were at the fit. Where one cannot be used another value stands in.

        Args:
            frame: The columns, in the order of the fit.
        """
        pairs = [column.of_cells(cells) for column, cells in zip(self.columns, frame.get_columns(), strict=True)]
        return Told(tuple(values for values, _ in pairs), self.names), np.stack([bad for _, bad in pairs], 1)

    @property
    def scaling(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Location and scale of each column that a model is given, (C,); of labels 0 and 1."""
        pairs = [
            [(0.0, 1.0)] * column.size if isinstance(column, Labels) else [(column.location, column.scale)]
            for column in self.columns
        ]
        location, scale = np.array([pair for each in pairs for pair in each], np.float64).T
        return location, scale

    def __str__(self) -> str:
        """Return the columns in words."""
        words = [
            f"{len(column.labels)} labels" if isinstance(column, Labels) else "a number" for column in self.columns
        ]
        named = (
            words if self.names is None else [f"{name} ({word})" for name, word in zip(self.names, words, strict=True)]
        )
        return ", ".join(named[:20]) + (f" and {len(named) - 20} more" if len(named) > 20 else "")

    @property
    def size(self) -> int:
        """The number of columns that a model is given, C."""
        return sum(column.size for column in self.columns)

    def encode(
        self, context: Any, rows: int, name: str = "context", kept: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float32]:
        """Return the context of rows as a model is given it, (rows, C).

        Args:
            context: Like that of the fit; a single value or row is that of all rows. A mapping from names to values
                is as good as a data frame.
            rows: How many rows it is the context of.
            name: What messages call it.
            kept: Which rows to look at, (rows,); those of the others are zeros.

        Raises:
            DataError: If it has an unknown label, a missing value, other columns, or another number of rows.
        """
        names, columns = _read(context, name)
        columns = self._ordered(names, columns, name)
        if len(columns[0]) not in (1, rows):
            raise DataError(_other_rows(name, len(columns[0]), rows))
        if len(columns[0]) < rows:
            columns = [np.repeat(values, rows) for values in columns]
        chosen = np.ones(rows, bool) if kept is None else kept
        encoded = np.zeros((rows, self.size), np.float32)
        encoded[chosen] = np.concatenate(
            [
                column.encode(values[chosen], name, _place(self.names, j, len(columns)))
                for j, (column, values) in enumerate(zip(self.columns, columns, strict=True))
            ],
            -1,
        )
        return encoded

    def _ordered(self, names: tuple[str, ...] | None, columns: list[NDArray[Any]], name: str) -> list[NDArray[Any]]:
        """Return the columns in the order of the fit; raises DataError if there are others."""
        if self.names is not None and names is not None:
            check_names(self.names, names, name)
            return [columns[names.index(column)] for column in self.names]
        count = len(self.columns)
        if count > 1 and len(columns) == 1 and len(columns[0]) == count and self.names is None:
            return [columns[0][j : j + 1] for j in range(count)]  # one row
        if len(columns) != count or (count > 1 and self.names is not None):
            called = f"a data frame with {listing(self.names, 20)}" if self.names else _counted(count, "column")
            raise DataError(
                f"{name}: expected {called}, as at fit; got {_counted(len(columns), 'column')} without names."
            )
        return columns

    def to_json(self) -> dict[str, Any]:
        """Return the schema as a JSON object."""
        return {
            "names": None if self.names is None else list(self.names),
            "columns": [column.to_json() for column in self.columns],
        }

    @staticmethod
    def from_json(value: Any) -> "ContextSchema":
        """Return the schema that `to_json` wrote; raises FileFormatError if it is not sound."""
        try:
            columns = tuple(_column_from_json(column) for column in value["columns"])
            names = value["names"]
            sound = len(columns) > 0 and (
                names is None
                or (
                    isinstance(names, list)
                    and all(isinstance(name, str) for name in names)
                    and len(set(names)) == len(columns) == len(names)
                )
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise FileFormatError(f"schema.json: not a schema of a context ({error!r}).") from None
        if not sound:
            raise FileFormatError("schema.json: the names and columns of its context do not fit together.")
        return ContextSchema(columns, None if names is None else tuple(names))


def encoded(
    schema: ContextSchema | None,
    context: Any,
    rows: int,
    name: str = "context",
    kept: NDArray[np.bool_] | None = None,
) -> NDArray[np.float32] | None:
    """Return the context of rows for a fitted model, (rows, C), or `None` for one without; see `ContextSchema.encode`.

    Raises:
        DataError: If there is one where there was none at fit, or the other way round, or it cannot be used.
    """
    if schema is None and context is None:
        return None
    if schema is None:
        raise DataError(f"{name}: the model was fitted without a context. Leave it out, or fit with context=.")
    if context is None:
        one = f"({listing(schema.names, 20)}) " if schema.names else ""
        raise DataError(f"{name}: the model was fitted with a context {one}and needs that of these rows; give {name}=.")
    return schema.encode(context, rows, name, kept)


def beside(context: Any) -> dict[str, Any]:
    """Return the context as an argument; none without one, since methods of one's own classes need not take it."""
    return {} if context is None else {"context": context}


def of_series(frame: pl.DataFrame, lines: Sequence[NDArray[np.int64]], key: str | None) -> pl.DataFrame:
    """Return the context of each series of a long table, that of each of its lines.

    Args:
        frame: The columns of the context, and that which tells series apart.
        lines: The numbers of the lines of each series.
        key: The column that tells series apart, which is left out; `None`: there is a single series.

    Raises:
        DataError: If it changes within a series; it names the column, the series and two lines.
    """
    which = np.empty(len(frame), np.int64)
    for number, own in enumerate(lines):
        which[own] = number
    first = np.array([int(own[0]) for own in lines])
    for column in frame.drop([] if key is None else key).get_columns():
        same = column.eq_missing(column[first[which].tolist()]).to_numpy()
        if not same.all():
            row = int(np.argmin(same))
            before = int(first[which[row]])
            named = "" if key is None else f" {frame[key][row]!r}"
            raise DataError(
                f"context: expected one value for a whole series; column {column.name!r} changes within series{named}: "
                f"{column[before]!r} in row {before}, {column[row]!r} in row {row}. What changes from step to step is "
                "a channel: leave it out of the context."
            )
    return frame[first.tolist()].drop([] if key is None else key)


def _cells_as_numbers(cells: pl.Series) -> pl.Series:
    text = cells.dtype == pl.String
    known = text or cells.dtype.is_numeric() or cells.dtype == pl.Boolean
    numbers = cells.str.strip_chars() if text else cells
    return numbers.cast(pl.Float64, strict=False) if known else pl.Series(cells.name, [None] * len(cells), pl.Float64)


def _column_from_json(value: Any) -> Labels | Covariate:
    if "labels" not in value:
        location, scale = float(value["location"]), float(value["scale"])
        if not (np.isfinite(location) and np.isfinite(scale) and scale > 0):
            raise ValueError(f"location {location} and scale {scale}")
        return Covariate(location, scale)
    labels = value["labels"]
    kinds = {type(label) for label in labels}
    if (
        not isinstance(labels, list)
        or len(kinds) != 1
        or not kinds <= {str, int, bool}
        or labels != sorted(set(labels))
    ):
        raise ValueError("labels that are not of one type, or not in ascending order")
    return Labels(tuple(labels))


def _learned(values: NDArray[Any], weight: NDArray[np.float64] | None, name: str, column: str) -> Labels | Covariate:
    if values.dtype == object:
        labels = sorted(set(values))
        if len(labels) > _MOST_LABELS:
            raise DataError(
                f"{name}: {len(labels):,} different {_WORDS[_kind_of(values)]}{column}, and labels can be at most "
                f"{_MOST_LABELS:,}. Give quantities as floats; put rare labels together."
            )
        return Labels(tuple(labels))
    constant, mean, deviation = Moments.empty(1).updated(values[:, None], weight).rounded()
    return Covariate(float(mean[0]), 1.0 if constant[0] else float(deviation[0]))


def _read(context: Any, name: str) -> tuple[tuple[str, ...] | None, list[NDArray[Any]]]:
    """Return the names of columns, if there are any, and the columns: float64, or objects that are labels."""
    if isinstance(context, Told):
        return context.names, list(context.columns)
    frame = context if isinstance(context, Mapping) else frame_of(context, name)
    series = nw.from_native(context, pass_through=True, allow_series=True) if frame is None else None
    if isinstance(series, nw.Series):
        return None, [_values(_array(series, name, ""), name, "")]
    if isinstance(frame, nw.DataFrame | Mapping):
        names = tuple(str(column) for column in frame) if isinstance(frame, Mapping) else tuple(map(str, frame.columns))
        given = list(frame.values()) if isinstance(frame, Mapping) else list(frame.iter_columns())
        columns = []
        for column, values in zip(names, given, strict=True):
            where = f", column {column!r}"
            array = _array(values, name, where)
            if array.ndim > 1:
                raise DataError(f"{name}{where}: expected one value a row, got the shape {array.shape}.")
            columns.append(_values(np.atleast_1d(array), name, where))
        lengths = {len(values) for values in columns}
        if len(lengths) != 1:
            raise DataError(f"{name}: expected columns of one length; got {listing(sorted(lengths)) or 'none'}.")
        return names, columns
    array = _array(context, name, "")
    if array.ndim < 2:
        return None, [_values(np.atleast_1d(array), name, "")]
    if array.ndim > 2 or 0 in array.shape:
        raise DataError(
            f"{name}: expected a label or a number for each row, (n,), or numbers, (n, k); got the shape {array.shape}."
        )
    columns = [_values(array[:, j], name, f", column {j}") for j in range(array.shape[1])]
    for j, values in enumerate(columns):
        if _kind_of(values) is str:
            raise DataError(
                f"{name}: a matrix is taken for numbers, and column {j} has strings ({values[0]!r}). Give labels as "
                "one array (n,), or as columns of a data frame."
            )
    return None, [values.astype(np.float64) for values in columns]


def _array(values: Any, name: str, column: str) -> NDArray[Any]:
    """Return an array of what was given; lists, and what can be missing, as Python's own objects."""
    if isinstance(values, nw.Series):
        missing = np.asarray(values.is_null().to_list())
        if missing.any():
            raise _missing(missing, None, name, column)
        return values.to_numpy() if values.dtype.is_float() else _objects(values.to_list())
    if isinstance(values, np.ma.MaskedArray):
        made = values.data.astype(object)
        made[np.ma.getmaskarray(values)] = None
        return made
    return np.asarray(values) if hasattr(values, "__array__") else _objects(values)


def _objects(values: Any) -> NDArray[Any]:
    try:
        return np.array(values, dtype=object)
    except ValueError:  # lists of unlike lengths
        made = np.empty(len(values), object)
        made[:] = values
        return made


def _values(array: NDArray[Any], name: str, column: str) -> NDArray[Any]:
    """Return a column as float64, or as an object array of labels of one type: str, int or bool."""
    if not len(array):
        raise DataError(f"{name}: expected the context of one row or more; got none.")
    if array.dtype.kind in "mMcV":
        raise DataTypeError(f"{name}: expected strings, whole numbers, booleans or numbers{column}; got {array.dtype}.")
    if array.dtype.kind == "f":
        values = array.astype(np.float64)
    else:
        entries = array.astype(object) if array.dtype.kind in "biuU" else array
        kinds = [_kind(entry) for entry in entries.tolist()]
        missing = np.array([kind is None for kind in kinds])
        if missing.any():
            raise _missing(missing, entries, name, column)
        found = set(kinds)
        if not found <= {int, float}:
            odd = next((j for j, kind in enumerate(kinds) if kind is not kinds[0] or kind is object), None)
            if odd is not None:
                raise DataError(
                    f"{name}: expected strings, whole numbers, booleans or numbers, of one type in a column; got "
                    f"{entries[odd]!r} in row {odd}{column}{'' if odd == 0 else f', after {entries[0]!r}'}."
                )
        if float not in found:
            plain: dict[Any, Any] = {str: str, int: int, bool: bool}
            return _objects([plain[kinds[0]](entry) for entry in entries])
        values = entries.astype(np.float64)
    if (bad := ~(np.abs(values) <= _LARGEST)).any():
        raise _missing(bad, values, name, column)
    return values


def _kind(entry: Any) -> type | None:
    """Return what an entry is: one of `_WORDS`, `None` where it is missing, `object` for anything else."""
    if entry is None or type(entry).__name__ in ("NAType", "NaTType"):
        return None
    if isinstance(entry, bool | np.bool_):
        return bool
    if isinstance(entry, int | np.integer):
        return int
    if isinstance(entry, float | np.floating):
        return float if entry == entry else None
    return str if isinstance(entry, str) else object


def _kind_of(values: NDArray[Any]) -> type:
    return type(values[0]) if values.dtype == object else float


def _missing(bad: NDArray[np.bool_], values: NDArray[Any] | None, name: str, column: str) -> DataError:
    row = int(np.argmax(bad))
    what = "nothing" if values is None else f"{values[row]!s}"
    more = f", and in {bad.sum() - 1} more rows" if bad.sum() > 1 else ""
    return DataError(
        f"{name}: expected a label or a finite number for each row; got {what} in row {row}{column}{more}. Leave such "
        "rows out, or fill them: a label such as 'unknown' is one as any other."
    )


def _place(names: tuple[str, ...] | None, column: int, count: int) -> str:
    """Return what messages add to the row: the column, where there are several or it has a name."""
    if names is not None:
        return f", column {names[column]!r}"
    return f", column {column}" if count > 1 else ""


def _other_rows(name: str, got: int, rows: int) -> str:
    return f"{name}: expected the context of {_counted(rows, 'row')}, one for each; got that of {got}."


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"


def _shown(labels: Iterable[Label], limit: int) -> str:
    labels = list(labels)
    more = f" and {len(labels) - limit} more" if len(labels) > limit else ""
    return ", ".join(map(repr, labels[:limit])) + more

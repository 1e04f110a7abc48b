"""What a kind of data is: the protocol that vectors, images and sequences speak, and one's own kinds too.

Three objects know all that differs between kinds; nothing above `data` asks which kind it has.

* `Kind`: the settings that a user writes, as in `data=Images(size=(64, 64))`. It reads training rows.
* `Rows`: training rows, read and checked, with their moments.
* `Schema`: what was learned of them at fit: how new rows become arrays, and how answers become what a user wants.

A kind of one's own is a subclass of `Kind` and one of `Schema` in a file of one's own: `docs/extend.md`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from omokage.batch import Batch, Cells, Event
from omokage.data.columns import ColumnSchema, Moments, Standardization, check_names
from omokage.data.conditions import Where
from omokage.data.containers import values
from omokage.data.encoded import Encoded
from omokage.data.rows import RowSource
from omokage.errors import DataError, ParameterError
from omokage.memory import filled
from omokage.supports import REAL, Support

Form = Literal["table", "array", "pictures"]  # how answers like X are written: a table, .npy, a folder of PNG files


class Rows(Protocol):
    """Training rows, read and checked.

    Attributes:
        moments: Of the columns.
    """

    moments: Moments

    @property
    def alike(self) -> bool:
        """Whether entries share a scale whatever their values are, as pixels do."""
        ...

    @property
    def blocks(self) -> NDArray[np.int64] | None:
        """Which part of X each row shares with its neighbours, (n,), where they do; such rows stay together."""
        ...

    @property
    def series(self) -> NDArray[np.int64] | None:
        """Which series each row was cut from, (n,), where rows are windows, which have the context of their series."""
        ...

    @property
    def kind(self) -> "Kind":
        """How they were read."""
        ...

    @property
    def names(self) -> tuple[str, ...] | None:
        """Column names, where there are some."""
        ...

    @property
    def count(self) -> int:
        """How many rows X has."""
        ...

    @property
    def streamed(self) -> bool:
        """Whether they are a large file, which is not held in memory."""
        ...

    def columns(self) -> Any:
        """Return something from which scikit-learn reads the names and number of columns; `None`: it shall not."""
        ...

    def schema(self, standardize: Standardization) -> "Schema":
        """Return what is learned of the rows."""
        ...

    def part(self, index: NDArray[np.int64]) -> "Rows":
        """Return the rows at these places of X, with moments of their own: nothing of the others is in them."""
        ...

    def encoded(self, schema: Any) -> Encoded:
        """Return all rows as a schema encodes them."""
        ...

    def values_of(self, index: NDArray[np.int64]) -> NDArray[Any]:
        """Return the numbers by which the rows at these places of X are put into an order, (B, any), as they came."""
        ...

    def rows(self, schema: Any, held_out: float, seed: int, context: Any = None) -> tuple[RowSource, RowSource | None]:
        """Return the rows for training, and a share of them that is held out (`None` where 0).

        Args:
            schema: What was learned of the columns.
            held_out: The share.
            seed: Of the choice.
            context: What the model is conditioned on, (n, C) in the order of X.
        """
        ...


class Kind(ABC):
    """How rows of one kind are read; a frozen dataclass.

    Attributes:
        name: What messages and saved models call it.
        form: What a row is to a network: "vectors", "images" or "sequences".
        network: The network that "auto" means.
        called: What rows are called in a sentence.
        of_lines: Whether several lines of a table make a row of X, as the steps of a series do; see `lines`.
    """

    name: ClassVar[str]
    form: ClassVar[str] = "vectors"
    network: ClassVar[str] = "mlp"
    called: ClassVar[str] = "rows"
    of_lines: ClassVar[bool] = False

    @abstractmethod
    def rows(self, X: Any, sample_weight: Any = None, *, estimator: str = "") -> Rows:
        """Return training rows, read and checked.

        Args:
            X: Data, an open file, or the path of a file or folder.
            sample_weight: How much each row counts.
            estimator: What messages call the model.

        Raises:
            DataError: If X or the weights cannot be used.
        """

    def lines(self, frame: pl.DataFrame) -> tuple[Sequence[NDArray[np.int64]], str | None]:
        """Return the lines of a table that make each row of X, and the column that tells rows apart, if there is one.

        Raises:
            DataError: If the table cannot be used.
        """
        raise NotImplementedError  # of kinds that are `of_lines`

    @staticmethod
    @abstractmethod
    def schema_from_json(value: Mapping[str, Any]) -> "Schema":
        """Return the schema that `to_json` wrote; raises FileFormatError if it is not sound."""


@dataclass(frozen=True)
class Given:
    """Rows from a file or a folder, as an estimator takes them, and what tells them apart.

    Attributes:
        rows: As an estimator takes them.
        keys: A line for each row of the model; without columns where nothing tells rows apart.
        frame: The table that they came from, with all its columns.
        lines: The lines of the table that each whole series is made of; `None`: each line is a row.
        steps: Of series, what tells steps apart, a line for each in the order of the file.
        alone: Whether they are a single series.
        first: The number of the first of them, where they are a part of more.
    """

    rows: Any
    keys: pl.DataFrame
    frame: pl.DataFrame | None = None
    lines: tuple[NDArray[np.int64], ...] | None = None
    steps: pl.DataFrame | None = None
    alone: bool = False
    first: int = 0

    @property
    def order(self) -> NDArray[np.int64] | slice:
        """The lines of the table in the order of what is said of rows, or of steps."""
        return slice(None) if self.lines is None else np.concatenate(self.lines)

    def each(self, column: NDArray[Any]) -> Any:
        """Return a column of the table as labels of rows are given: (n,), or (T,) for each series, or the only one."""
        if self.lines is None:
            return column
        return column[self.lines[0]] if self.alone else [column[lines] for lines in self.lines]


@dataclass(frozen=True)
class Pictures:
    """Pictures to be written: (n, height, width[, channels]) with black 0 and white 1, and their names."""

    values: NDArray[Any]
    names: Sequence[str] | None = None


@dataclass(frozen=True)
class Drawing:
    """How rows are drawn.

    Attributes:
        style: "columns", "pictures" or "series".
        shape: Of pictures, (height, width) or (height, width, channels).
    """

    style: Literal["columns", "pictures", "series"] = "columns"
    shape: tuple[int, ...] | None = None


class Schema(ABC):
    """What was learned at fit of rows of one kind.

    Attributes:
        kind: How rows are read.
        columns: Of the columns, pixels or channels.
        streams: Whether a file of any length is answered batch by batch.
        forms: How answers like X can be written, the usual one first.
        has_steps: Whether a row is a series, of which steps can be judged.
        can_miss: Whether entries can be missing.
    """

    kind: Kind
    columns: ColumnSchema
    streams: ClassVar[bool] = False
    forms: ClassVar[tuple[Form, ...]] = ("table",)
    has_steps: ClassVar[bool] = False
    can_miss: ClassVar[bool] = False

    @property
    def cuts(self) -> bool:
        """Whether rows are windows of longer series."""
        return False

    @property
    def key_columns(self) -> tuple[str, ...]:
        """Columns of a table that tell rows apart, and so are read as text."""
        return ()

    # ------------------------------------------------------------------------------------ to the model and back

    @property
    @abstractmethod
    def event(self) -> Event:
        """One row, as the model side sees it."""

    def opened(self, X: Any) -> Any:
        """Return the rows of a file where X is one, or the path of one, else X; so that a file is read once."""
        return values(X, shaped=True)

    def columns_of(self, X: Any) -> Any:
        """Return something from which scikit-learn reads the names and number of columns; `None`: it shall not."""
        return None

    @abstractmethod
    def rows(self, X: Any, *, support: Support = REAL, name: str = "X", estimator: str = "") -> Encoded:
        """Return new rows, checked and encoded.

        Args:
            X: Rows, an open file, or a path.
            support: Where values must lie.
            name: What messages call X.
            estimator: What messages call the model.

        Raises:
            DataError: If they cannot be used.
        """

    @abstractmethod
    def decode(self, x: Any, rows: Encoded | None = None) -> Any:
        """Return raw rows, in the shape of X, from standardised ones.

        Args:
            x: As the model has them.
            rows: The rows that they answer; what was cut from longer series is put together again.
        """

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Return the schema as a JSON object, whose "kind" is the name of the kind."""

    def by_entry(self, values: Any, rows: Encoded | None = None) -> Any:
        """Return numbers for each entry, as the model has them, in the shape of X; see `decode`."""
        return values

    @property
    def log_jacobian(self) -> float:
        """What to add to log p(x) to get log p(raw), in nats per row, on average over the training rows."""
        return self.columns.log_jacobian

    def entry_jacobians(self, batch: Batch) -> Any:
        """Return what to add to log p of each entry, in nats: like rows, or like an event where all rows are alike."""
        return -np.log(self.event.unit)

    def squared_errors(self, batch: Batch, made: Any) -> NDArray[np.float64]:
        """Return the squared error of each entry of what a model has made, (n, *event), in raw units squared."""
        return np.square(np.asarray(batch.x - made, np.float64) * self.event.unit)

    def sentence(
        self, rows: Encoded, normal: Any, nats: NDArray[np.float64] | None
    ) -> Callable[[int, int], str] | None:
        """Return what says in a sentence why a cell is strange, from the numbers of its row and its column.

        Args:
            rows: The rows.
            normal: What is expected in their place, as the model has it.
            nats: By how much each cell is less likely than the likeliest one, (n, D), where that is known.

        Returns:
            `None` where rows are no lines of a table.
        """
        return None

    @property
    def cells_of_entries(self) -> tuple[NDArray[np.int64], tuple[int | None, ...]] | None:
        """Which cell each entry of a row is of, (E,), and how many classes it has; `None` where rows have no cells."""
        return None

    def by_column(self, row: Any) -> NDArray[np.float64]:
        """Return the sums of a row's numbers over each column or channel, (D,)."""
        return np.asarray(row, np.float64).reshape(-1, self.features).sum(0)

    def log_jacobians(self, rows: Encoded) -> Any:
        """Return what to add to log p(x) of each row, in nats: (n,), or one number where it is the same for all."""
        return self.log_jacobian

    def blank(self, count: int, length: Any = None) -> Encoded | None:
        """Return rows without content for a decoder to fill; `None`: it needs none.

        Args:
            count: How many.
            length: Of series, how many steps each shall have.
        """
        if length is not None:
            raise ParameterError(f"length={length!r}: only sequences have one; X was {self.kind.called}.")
        return None

    def empty(self, count: int) -> Encoded:
        """Return rows of zeros."""
        return Encoded.of(Batch(np.zeros((count, *self.event.shape), np.float32)))

    def longest(self, count: int) -> Batch:
        """Return so many rows of the largest size that rows have, which take no memory."""
        return Batch(filled((count, *self.event.shape)))

    def draw_lengths(self, count: int, seed: int) -> Any:
        """Return lengths for draws, where rows have one."""
        return None

    def in_windows(self, window: int | None) -> "Schema":
        """Return the schema that cuts series into windows of so many steps; `None`: as at the fit.

        Raises:
            DataError: If rows have no steps.
            ParameterError: If series were cut into other windows at the fit.
        """
        raise DataError(f"X: only sequences have steps, and this is a model of {self.kind.name}.")

    def conditions(self, where: Any, support: Support = REAL) -> Where:
        """Return conditions on columns, read and checked; see `omokage.data.conditions`.

        Args:
            where: By the name or the number of a column: a value, an interval, or a set of levels.
            support: Where values must lie.

        Raises:
            ParameterError: If a condition cannot be read, or rows have no columns.
        """
        raise ParameterError(f"where: only rows of a table, or vectors, have columns; X was {self.kind.called}.")

    def written(self, raw: NDArray[np.float64]) -> Any:
        """Return rows in the shape of X, from raw entries, (n, E)."""
        raise NotImplementedError  # of kinds that have conditions

    def cells(self, places: NDArray[np.int64]) -> Cells | None:
        """Return what cells are made of, where they are not their entries.

        Args:
            places: Which entry each number or class that a likelihood speaks of belongs to, (W,).
        """
        return None

    def filled(self, found: Mapping[str, Any], rows: Encoded, rounding: bool = True) -> Any:
        """Return rows like X in which what is missing is its mean.

        Args:
            found: As `omokage.imputation.imputation` gives it.
            rows: Those that it answers.
            rounding: Whether numbers are written as those of the fit.
        """
        return self.decode(found["mean"], rows)

    def deviations(self, X: Any, found: Mapping[str, Any], rows: Encoded) -> Any:
        """Return the standard error of each entry that was filled, in the shape of X; 0 for the others.

        See `filled`. Of classes it is the probability of another one.
        """
        raise NotImplementedError  # of kinds whose entries can be missing

    def kept(self, X: Any, filled: Any) -> Any:
        """Return `filled`, in the shape of X, with the entries that X has as X has them, to the bit."""
        raise NotImplementedError  # of kinds whose entries can be missing

    # -------------------------------------------------------------------------------------------------- in words

    @property
    def names(self) -> tuple[str, ...] | None:
        """The names of the columns, where they have some."""
        return self.columns.names

    @property
    def features(self) -> int:
        """The number of columns, D."""
        return len(self.columns.kinds)

    def column(self, index: int) -> str:
        """Return what messages call a column: its quoted name, or its number counted from 0."""
        return self.columns.column(index)

    def entry(self, index: int) -> str:
        """Return what messages call an entry on the last axis of a row, as the model has it."""
        return self.column(index)

    def entry_names(self, shape: tuple[int, ...]) -> list[str]:
        """Return what messages call each entry of a row of this shape, in the order of a row laid flat."""
        return [self.column(j) if self.names else f"column {self.column(j)}" for j in range(self.features)]

    @property
    def table_names(self) -> list[str]:
        """What columns are called in a table."""
        return list(self.names) if self.names else [f"column_{j + 1}" for j in range(self.features)]

    @property
    def described(self) -> str:
        """What a model was fitted on, such as "3 columns"."""
        return f"{self.features} columns"

    @property
    def announcement(self) -> str:
        """What is shown of the columns before training; nothing where there is nothing to decide."""
        return ""

    def overview(self) -> list[tuple[str, ...]]:
        """Return what there is to know of each column, a line each behind the headings."""
        learned = self.columns
        lines: list[tuple[str, ...]] = [("column", "kind", "location", "scale", "low", "high")]
        for j, name in enumerate(self.table_names):
            figures = (learned.location[j], learned.scale[j], learned.low[j], learned.high[j])
            lines.append((name, learned.kinds[j], *(f"{figure:.6g}" for figure in figures)))
        return lines

    def facts(self) -> dict[str, str]:
        """Return what else there is to say of what a model was fitted on, by what it is called."""
        return {}

    @property
    def drawing(self) -> Drawing:
        """How rows are drawn."""
        return Drawing()

    # -------------------------------------------------------------------------------------- from files and to files

    def given(self, source: Any, ids: Sequence[str] = ()) -> Given:
        """Return all rows of an open file or a folder.

        Args:
            source: As `open_table` returns it, with the columns `ids`; a folder; or rows in memory.
            ids: Columns that are no input.

        Raises:
            DataError: If they cannot be used.
        """
        rows = source.read() if hasattr(source, "batches") else source
        if not isinstance(rows, pl.DataFrame):
            return Given(rows, pl.DataFrame())
        known = rows.drop(ids)
        if self.names is not None:
            try:
                check_names(self.names, known.columns)
            except DataError as error:
                more = " Pass columns that are no input through with --id." * (set(self.names) < set(known.columns))
                raise DataError(f"{error}{more}") from None
            known = known.select(self.names)
        return Given(known, rows.select(ids), rows)

    def parts(self, source: Any, ids: Sequence[str] = ()) -> Iterator[Given]:
        """Yield the rows of an open file or a folder in parts which can be asked about one by one; see `given`."""
        yield self.given(source, ids)

    def check(self, given: Given) -> None:
        """Check the cells of rows that were refused; raises DataError that names the row in the whole, if it can."""
        return

    def to_table(self, answers: Any, given: Given | None = None) -> pl.DataFrame:
        """Return answers like X as a table, behind what tells the rows apart that were `given`."""
        columns = zip(self.table_names, np.asarray(answers).T, strict=True)
        keys = () if given is None else given.keys.get_columns()
        return pl.DataFrame([*keys, *(pl.Series(name, column) for name, column in columns)])

    def to_pictures(self, answers: Any, given: Given | None = None) -> Pictures:
        """Return answers like X as pictures; raises DataError where their values are none."""
        raise NotImplementedError  # of kinds that have "pictures" among their forms

    def missing(self, given: Given) -> int:
        """Return how many entries of rows are missing."""
        return 0

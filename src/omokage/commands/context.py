"""The context of rows in files: columns of which a conditional model is told, beside those that are its input.

At the fit they are named, each is taken by its type as `context=` takes a data frame, and the model knows their names
from then on. They are passed through as ids are.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from omokage.commands.sources import Source, check_context, named, open_rows, opened_rows, plainly
from omokage.data.context import ContextSchema, of_series
from omokage.data.context_columns import Labels
from omokage.data.context_values import Told
from omokage.data.kinds import Given, Kind, Schema, kind_of
from omokage.errors import DataError, ParameterError, listing, suggest
from omokage.files.numbers import Notation
from omokage.files.opening import open_table
from omokage.files.options import Options

_AS = {"label": pl.String, "number": pl.Float64}  # what is written behind a name: lot:label


@dataclass(frozen=True)
class AtFit:
    """How training rows are read with their context, and rows like them.

    Attributes:
        source: Where they come from.
        kind: What they are, where they have a context.
        types: Of those columns of the context for which one was asked.
    """

    source: Source
    kind: Kind | None = None
    types: Mapping[str, Any] = field(default_factory=dict)

    def like(self, data: str, rows: Any) -> "AtFit":
        """Return how others are read in the same way, numbers as they were found in these rows."""
        options = replace(self.source.options, notation=rows.found.notation if hasattr(rows, "found") else None)
        return replace(self, source=replace(self.source, data=data, options=options))

    def read(self) -> tuple[Any, pl.DataFrame | None]:
        """Return the rows, an open file or a folder, and their context, a line for each of them."""
        return open_rows(self.source), _context_at_fit(self)


def chosen_context(source: Source, texts: Sequence[str], data: Any) -> AtFit:
    """Return how training rows are read with their context.

    Args:
        source: Where they come from.
        texts: What was said: names with commas between, each with `:label` or `:number` behind it, or without.
        data: What kind of data they are, as in the parameter of that name.

    Raises:
        DataError: If there are no such columns.
        ParameterError: If one is used otherwise.
    """
    if not texts:
        return AtFit(source)
    kind = kind_of(opened_rows(source), data)
    known = getattr(opened_rows(source, passed=True), "names", None) or ()
    if not known:
        raise DataError(
            f"--context: expected a table with names of columns; {source.data} has none. In Python every kind of data "
            "takes context=."
        )
    parts = [part for text in texts for part in ([text] if text in known else text.split(","))]
    pairs = [(part, None) if part in known else _typed(part.strip()) for part in parts if part.strip()]
    names = tuple(name for name, _ in pairs)
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ParameterError(f"--context: names {listing(twice)} twice; expected each column once.")
    used = {**dict.fromkeys(source.ids, "--id"), **dict.fromkeys(getattr(kind, "keys", ()), "--series or --time")}
    if both := [name for name in names if name in used]:
        raise ParameterError(f"--context: {both[0]!r} is named by {used[both[0]]} too; expected one of them.")
    labels = tuple(name for name, form in pairs if form == "label")
    source = replace(source, ids=(*source.ids, *names), context=names, labels=labels)
    check_context(source, source.data, known)
    if set(known) <= {*source.ids, *getattr(kind, "keys", ())}:
        raise DataError(f"--context: no column of {source.data} is left for X; it has {listing(known, 20)}.")
    return AtFit(source, kind, {name: _AS[form] for name, form in pairs if form is not None})


def _typed(part: str) -> tuple[str, str | None]:
    name, mark, form = part.rpartition(":")
    if not mark or form not in _AS:
        return part, None
    return name, form


def _context_at_fit(how: AtFit) -> pl.DataFrame | None:
    """Return the context of training rows, a line for each, in columns of the types that were asked for or found."""
    source, kind = how.source, how.kind
    if kind is None:
        return None
    options = replace(source.options, text=source.text)
    if not kind.of_lines:
        frame = open_table(source.data, options, columns=list(source.context)).read()
        assert isinstance(frame, pl.DataFrame)  # arrays have no names
        with named(source.data):
            _check_filled(frame, source)
            _check_written(frame, how)
            return _as_asked(frame, how.types)
    whole: Any = open_table(source.data, options).read()
    with named(source.data):
        _check_filled(whole, source)
        _check_written(whole, how)
        lines, key = kind.lines(whole.drop(source.ids))
        keys = () if key is None else (key,)
        return _as_asked(of_series(whole.select(*source.context, *keys), lines, key), how.types)


def _check_filled(frame: pl.DataFrame, source: Source) -> None:
    """Check that no cell of the context is read as missing, where it may be a label."""
    for name in source.context:
        missing = frame[name].is_null()
        if name not in source.labels and missing.any():
            more = f", and in {missing.sum() - 1} more rows" if missing.sum() > 1 else ""
            raise DataError(
                f"--context: expected a label or a number in each row; got a cell in row {missing.arg_max()}, column "
                f"{name!r}{more}, that is empty or stands for a missing value, as NA does. If NA is a label, pass "
                f"--context {name}:label; else leave such rows out, or fill them."
            )


def _check_written(frame: pl.DataFrame, how: AtFit) -> None:
    """Check that no two labels, as 01 and 1, would be one for being read as whole numbers."""
    source = how.source
    whole = [name for name in source.context if name not in how.types and frame[name].dtype.is_integer()]
    if not whole:
        return
    options = replace(source.options, text=(*source.text, *whole))
    written: Any = open_table(source.data, options, columns=whole).read()
    for name in whole if isinstance(written, pl.DataFrame) else ():
        if written[name].dtype != pl.String:  # a file that holds numbers, and not their text
            continue
        digits = written[name].str.strip_chars().unique().drop_nulls()
        digits = digits.filter(digits.str.contains(r"^[0-9]+$")).sort().to_list()
        spellings: dict[str, list[str]] = {}
        for cell in digits:
            spellings.setdefault(cell.lstrip("0"), []).append(cell)
        if several := [cells for cells in spellings.values() if len(cells) > 1]:
            raise DataError(
                f"--context: column {name!r} has {several[0][0]!r} and {several[0][1]!r}, which are one whole number. "
                f"To take labels as they are written, pass --context {name}:label; else --context {name}:number."
            )


def _as_asked(frame: pl.DataFrame, types: Mapping[str, Any]) -> pl.DataFrame:
    for name, form in types.items():
        cells = frame[name].str.strip_chars() if frame[name].dtype == pl.String else frame[name]
        cast = cells.cast(form, strict=False)
        if (bad := cast.is_null() & cells.is_not_null()).any():
            row = int(np.argmax(bad.to_numpy()))
            raise DataError(f"--context {name}:number: expected numbers; got {cells[row]!r} in row {row}.")
        frame = frame.with_columns(cast)
    return frame


def known_context(source: Source, schema: ContextSchema | None, said: Sequence[str]) -> Source:
    """Return a source that knows the columns of which a fitted model is told.

    Args:
        source: Where rows come from.
        schema: What the model learned of its context.
        said: Their names, where they had none at the fit.

    Raises:
        ParameterError: If others are named than the model needs.
    """
    names = tuple(part.strip() for text in said for part in text.split(","))
    if schema is None:
        if names:
            raise ParameterError(f"--context: the model was fitted without a context; leave out {listing(names, 20)}.")
        return source
    if schema.names is not None:
        if names and set(names) != set(schema.names):
            raise ParameterError(
                f"--context: expected {listing(schema.names, 20)}, as at fit; got {listing(names, 20)}. Leave it out: "
                "the model knows them."
            )
        names = schema.names
    elif len(names) != len(schema.columns):
        count = len(schema.columns)
        raise ParameterError(
            f"--context: expected the name{'s' * (count > 1)} of {count} column{'s' * (count > 1)}, since the context "
            f"of the fit had no names ({schema}); got {listing(names, 20) or 'none'}."
        )
    pairs = zip(names, schema.columns, strict=True)
    labels = [name for name, column in pairs if isinstance(column, Labels) and isinstance(column.labels[0], str)]
    ids = (*(name for name in source.ids if name not in names), *names)
    return replace(source, ids=ids, context=names, labels=tuple(labels))


def told_in(
    frame: pl.DataFrame, source: Source, schema: ContextSchema | None, notation: Notation
) -> tuple[Told, NDArray[np.bool_]] | None:
    """Return the context in the lines of a table, and which cells of it cannot be used; `None` for a model without.

    Text that is no label is read in a notation.
    """
    if schema is None or not source.context:
        return None
    columns = frame.select(source.context).get_columns()
    texts = [column for column in columns if column.dtype == pl.String and column.name not in source.labels]
    return schema.of_cells(pl.DataFrame(columns).with_columns(plainly(column, notation) for column in texts))


def told_of_given(given: Given, source: Source, estimator: Any) -> Told | None:
    """Return the context of all rows of a source, of series one for each; raises DataError if it cannot be used."""
    schema = estimator.context_schema_
    if schema is None or given.frame is None:
        return None
    frame, key = given.frame.select(source.context), next(iter(estimator.schema_.key_columns), None)
    if given.lines is not None:
        frame = of_series(given.frame.select(*source.context, *([] if key is None else [key])), given.lines, key)
    told, bad = schema.of_cells(frame)
    if bad.any():
        row, column = (int(place) for place in np.argwhere(bad)[0])
        line = given.first + row if given.lines is None else int(given.lines[row][0])
        raise DataError(bad_cell(schema, source, frame, row, column, line))
    return told


def bad_cell(schema: ContextSchema, source: Source, frame: pl.DataFrame, place: int, column: int, line: int) -> str:
    """Say what is wrong with a cell of the context.

    Args:
        schema: What was learned of the context.
        source: Where the rows come from.
        frame: Some rows of it.
        place: The row in the frame.
        column: Which of the columns of the context.
        line: The number of the row in the source.
    """
    name = source.context[column]
    return f"row {line}, column {name!r}: expected {schema.columns[column].expected}, as at fit, got " + repr(
        frame[name][place]
    )


@dataclass(frozen=True)
class Draws:
    """What is to be drawn.

    Attributes:
        count: How many.
        told: Their context; `None` for a model without.
        columns: The same as columns of a table, a line for each draw; none where it has no names.
    """

    count: int
    told: Told | None = None
    columns: pl.DataFrame = field(default_factory=pl.DataFrame)


def context_of_draws(estimator: Any, n: int | None, said: Sequence[str], file: Path | None) -> Draws:
    """Return the context for which rows shall be drawn.

    Args:
        estimator: The model.
        n: How many were asked for; `None`: 100, or as many as the file has lines.
        said: A value, or NAME=VALUE for each column of the context, which is that of all draws.
        file: A table with a line for each draw.

    Raises:
        ParameterError, DataError: If it is not what the model has to be told.
    """
    schema = estimator.context_schema_
    flag = "--context" if file is None else "--context-file"
    if schema is None:
        if said or file is not None:
            raise ParameterError(f"{flag}: the model was fitted without a context. Leave it out.")
        return Draws(100 if n is None else n)
    if bool(said) == (file is not None):
        example = ",".join(
            f"{name}={column.example}" for name, column in zip(_names(schema), schema.columns, strict=True)
        )
        raise ParameterError(
            f"--context: expected for what to draw, {example if schema.names else schema.columns[0].example}, or "
            f"--context-file with a line for each draw{'; got both' if said else ''}. The model is told {schema}."
        )
    frame = _said(schema, said) if file is None else _in_file(schema, file, estimator.fitted_.options)
    told, bad = schema.of_cells(frame)
    if bad.any():
        row, column = (int(place) for place in np.argwhere(bad)[0])
        where = "--context" if file is None else f"{file}: row {row}"
        cell, known = frame.to_series(column)[row], schema.columns[column]
        hint = suggest(str(cell), map(str, known.labels)) if isinstance(known, Labels) else ""
        raise DataError(
            f"{where}, column {_names(schema)[column]!r}: expected {known.expected}, as at fit; got {cell!r}.{hint}"
        )
    if file is not None and n not in (None, len(frame)):
        raise ParameterError(f"-n: {file} has {len(frame)} lines, one for each draw; got {n}. Leave -n out.")
    count = len(frame) if file is not None else 100 if n is None else n
    told = told.part(np.zeros(count, np.int64) if file is None else np.arange(count))
    named_columns = [
        pl.Series(name, list(values)) for name, values in zip(schema.names or (), told.columns, strict=False)
    ]
    return Draws(count, told, pl.DataFrame(named_columns))


def table_of_draws(schema: Schema, answers: Any, columns: pl.DataFrame) -> pl.DataFrame:
    """Return what was drawn as a table, with the context of each draw; of series it stands in each line."""
    table = schema.to_table(answers)
    beside = columns.drop([name for name in columns.columns if name in table.columns])
    if not beside.width:
        return table
    keys = table.columns[:2] if schema.has_steps else []
    numbers = table.to_series(0).to_list() if schema.has_steps else list(range(len(table)))
    return pl.DataFrame(
        [*table.select(keys).get_columns(), *beside[numbers].get_columns(), *table.drop(keys).get_columns()]
    )


def _names(schema: ContextSchema) -> tuple[str, ...]:
    return schema.names or tuple(map(str, range(len(schema.columns))))


def _said(schema: ContextSchema, said: Sequence[str]) -> pl.DataFrame:
    """Return the context that was written on the command line, as text, (1, columns)."""
    names = _names(schema)
    start = "|".join(re.escape(name) for name in names)
    parts = [part for text in said for part in re.split(f",(?=(?:{start})=)", text)]
    values: dict[str, str] = {}
    for part in parts:
        name, mark, value = part.partition("=")
        if len(names) == 1 and not (mark and name == names[0]):
            name, value = names[0], part
        elif not mark or name not in names:
            raise ParameterError(
                f"--context: expected {listing(names, 20)}, each as NAME=VALUE; got {part!r}.{suggest(name, names)}"
            )
        if name in values:
            raise ParameterError(f"--context: two values for {name!r}; expected one.")
        values[name] = value
    if missing := [name for name in names if name not in values]:
        raise ParameterError(f"--context: no value for {listing(missing, 20)}; give {missing[0]}=VALUE too.")
    return pl.DataFrame({name: [values[name]] for name in names}, schema=dict.fromkeys(names, pl.String))


def _in_file(schema: ContextSchema, file: Path, options: Options) -> pl.DataFrame:
    """Return the context in a table, with the columns in the order of the fit."""
    known = open_table(file, options).names or ()
    names = schema.names or known
    source = known_context(Source(str(file), options=options), schema, names)
    check_context(source, str(file), known)
    frame = open_table(file, replace(options, text=source.text), columns=list(names)).read()
    assert isinstance(frame, pl.DataFrame)  # since there are names
    return frame

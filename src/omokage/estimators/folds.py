"""Which rows train and which calibrate, decided before anything is learned of them.

Whatever is learned of rows (moments, scales, where learned scales start, weights) is learned of rows that train: a row
that calibrates a model must be to it what a new row will be. With "split" that is one part of the rows. With "cross"
member m of the ensemble leaves out fold m, so each member has a schema of its own. All are handed the same rows, in
units that the members have in common, and each undoes these units by its codec. The same holds for the context of rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omokage.batch import Event
from omokage.codec import Codec
from omokage.data.columns import ColumnSchema, Standardization
from omokage.data.context import ContextSchema
from omokage.data.context_values import Told
from omokage.data.encoded import Encoded
from omokage.data.kinds import Rows, Schema
from omokage.data.rows import MemoryRows, RowSource, canonical_order, divide, in_memory, together
from omokage.errors import DataError

_MOST_HELD_OUT = 65_536  # rows of a streamed table


@dataclass(frozen=True, eq=False)
class Shares:
    """Encoded rows, and how each member sees them.

    Attributes:
        training: Rows to train on, with their folds where there are some.
        calibrating: Rows that calibrate, with their folds where there are some.
        schema: How rows are encoded.
        events: What a row is to each member, in its own units.
        codecs: From the encoded rows to each member's own units; `None`: the units are the same.
        context: How the context of the rows is encoded, where they have one.
    """

    training: RowSource
    calibrating: Encoded
    schema: Schema
    events: tuple[Event, ...]
    codecs: tuple[Codec | None, ...]
    context: ContextSchema | None = None


class Conditioned:
    """Training rows with their context, which goes where they go; else it is what the rows are.

    Attributes:
        told: The context of each row; of a streamed table also that of the rows which were spared.
        context: How it is encoded.
    """

    def __init__(self, table: Any, told: Told, context: ContextSchema):
        self._table, self.told, self.context = table, told, context

    def __getattr__(self, name: str) -> Any:
        return getattr(self._table, name)

    def part(self, index: NDArray[np.int64]) -> "Conditioned":
        """Return the rows at these places with their context; see `Rows.part`."""
        return Conditioned(self._table.part(index), self.told.part(index), self.context)

    def spare(self, count: int, order: np.random.Generator) -> "Conditioned":
        """Take about so many rows out of a streamed table, and return them with their context; see `Table.spare`."""
        spared = self._table.spare(count, order)
        places = np.setdiff1d(np.arange(len(self.told)), self._table.places)
        return Conditioned(spared, self.told.part(places), self.context)

    def encoded(self, schema: Schema) -> Encoded:
        """Return all rows as a schema encodes them, with their context."""
        encoded: Encoded = self._table.encoded(schema)
        return encoded.with_context(self.context.encode(self.told, len(self.told)))

    def rows(self, schema: Schema, held_out: float, seed: int) -> Any:
        """Return the rows for training; see `Rows.rows`."""
        return self._table.rows(schema, held_out, seed, self.context.encode(self.told, len(self.told)))

    def learned(self) -> ContextSchema:
        """Return what is learned of the context of these rows, and of no others but for which labels there are."""
        streamed = self._table.streamed
        return self.context.of_part(self.told.part(self._table.places) if streamed else self.told)

    def in_units(self, context: ContextSchema) -> "Conditioned":
        """Return the rows with their context encoded in another way."""
        return Conditioned(self._table, self.told, context)


def conditioned(table: Rows, told: Told | None) -> Any:
    """Return rows with their context, or where there is none the rows."""
    return table if told is None else Conditioned(table, told, ContextSchema.learn(told, table.count))


def divided(table: Rows, share: float, seed: int) -> tuple[Rows, Rows]:
    """Return rows to train on and a share of the rows to calibrate on, as two tables with moments of their own."""
    random = np.random.default_rng([seed, 0])
    if table.streamed:
        file: Any = table  # only tables of vectors are
        spared = file.spare(min(_MOST_HELD_OUT, int(share * table.count)), random)
        return table, spared
    order = np.concatenate(_by_value(table))
    blocks = table.blocks
    training, calibrating = divide(order, share, random, None if blocks is None else blocks[order])
    return table.part(training), table.part(calibrating)


def apart(training: Any, calibrating: Any, standardize: Standardization, members: int, seed: int) -> Shares:
    """Return the shares where all members train on the rows of one table, and those of another calibrate."""
    schema, context = training.schema(standardize), None
    if isinstance(training, Conditioned):
        context = training.learned()
        training, calibrating = training.in_units(context), calibrating.in_units(context)
    if training.streamed:
        rows: RowSource = training.rows(schema, 0.0, seed)[0]
    else:
        rows = _source(training.encoded(schema), np.argsort(np.concatenate(_by_value(training))))
    return Shares(rows, calibrating.encoded(schema), schema, (schema.event,) * members, (None,) * members, context)


def across(table: Any, standardize: Standardization, members: int, seed: int) -> Shares:
    """Return the shares where member m trains on the rows that are not in fold m, which calibrate it."""
    groups = _by_value(table)
    fold = deal(groups, members, np.random.default_rng([seed, 4]), table.blocks)
    return of_folds(table, standardize, fold, np.argsort(np.concatenate(groups)))


def of_folds(table: Any, standardize: Standardization, fold: NDArray[np.int32], place: NDArray[np.int64]) -> Shares:
    """Return the shares for given folds.

    Args:
        table: The rows, n of them.
        standardize: As for `Schema.learn`.
        fold: Of each row, (n,), in the order of X.
        place: Of each row in an order that does not depend on that of X, (n,).
    """
    members = [_learned(table, np.flatnonzero(fold != m), standardize, m) for m in range(fold.max() + 1)]
    whole = table.schema(standardize)
    columns = finest([schema.columns for schema in members], whole.columns)
    schema = replace(whole, columns=columns)
    events = tuple(replace(each.event, missing=schema.event.missing) for each in members)
    same = all(_same(each.columns, columns) for each in members)  # as of counts, which are not standardised
    context: ContextSchema | None = None
    own: list[Codec | None] = [None] * len(members)
    if isinstance(table, Conditioned):
        context, own = _told_apart(table, fold)
        table, same = table.in_units(context), same and own[0] is None
    codecs = tuple(
        None if same else codec(each.columns, columns, schema.event.shape, told)
        for each, told in zip(members, own, strict=True)
    )
    rows = _source(table.encoded(schema), place, fold)
    calibrating = Encoded.together([group.batch for group in in_memory(rows)])
    return Shares(rows, calibrating, schema, events, codecs, context)


def _told_apart(table: Conditioned, fold: NDArray[np.int32]) -> tuple[ContextSchema, list[Codec | None]]:
    """Return how the context of all rows is encoded, and from there to the units of each member, if they differ.

    Units are those of the member in which a column has the smallest scale, as with `finest`.
    """
    members = [table.part(np.flatnonzero(fold != m)).learned() for m in range(fold.max() + 1)]
    columns = [
        min(each, key=lambda one: getattr(one, "scale", 1))
        for each in zip(*(one.columns for one in members), strict=True)
    ]
    common = replace(table.context, columns=tuple(columns))
    if all(each == common for each in members):
        return common, [None] * len(members)
    location, scale = common.scaling
    own = [each.scaling for each in members]
    return common, [Codec((mine - location) / scale, spread / scale) for mine, spread in own]


def deal(
    groups: Sequence[NDArray[np.int64]], count: int, random: np.random.Generator, blocks: NDArray[np.int64] | None
) -> NDArray[np.int32]:
    """Return one of so many folds for each row, (n,), all of about the same size, also within each group of rows.

    Args:
        groups: Places of rows, all n together.
        count: How many folds there are.
        random: Where chance comes from.
        blocks: What rows share, (n,): rows of one block are in one fold.
    """
    if blocks is not None:
        names = random.permutation(np.unique(blocks))
        dealt = np.empty(names.max() + 1, np.int32)
        dealt[names] = np.arange(len(names)) % count
        return dealt[blocks]
    fold, first = np.empty(sum(map(len, groups)), np.int32), 0
    for places in groups:
        fold[random.permutation(places)] = (first + np.arange(len(places))) % count
        first += len(places)
    return fold


def finest(members: Sequence[ColumnSchema], whole: ColumnSchema) -> ColumnSchema:
    """Return the schema of all rows with units in which every member's numbers keep their precision.

    Each column has the location and scale of the member whose scale is the smallest: an extreme value in one fold makes
    the scales of all the others large, and in such units the usual values would all be one number in float32.
    """
    scale = np.stack([member.scale for member in members])
    varying = np.stack([~member.constant for member in members])
    best = np.where(varying, scale, np.inf).argmin(0)[None]
    location, scale = (
        np.take_along_axis(each, best, 0)[0] for each in (np.stack([member.location for member in members]), scale)
    )
    return replace(whole, location=location, scale=scale)


def codec(member: ColumnSchema, common: ColumnSchema, shape: tuple[int, ...], context: Codec | None = None) -> Codec:
    """Return the map from common units to a member's own, with that of the context."""
    location, scale = (member.location - common.location) / common.scale, member.scale / common.scale
    return Codec(location.reshape(shape), scale.reshape(shape), context)


def _same(one: ColumnSchema, other: ColumnSchema) -> bool:
    return bool((one.location == other.location).all() and (one.scale == other.scale).all())


def _learned(table: Any, kept: NDArray[np.int64], standardize: Standardization, fold: int) -> Schema:
    try:
        schema: Schema = table.part(kept).schema(standardize)
    except DataError as error:
        raise DataError(
            f"{error} That is so without the rows of fold {fold}, which one member leaves out. Give more rows, or "
            "calibration='split'."
        ) from None
    return schema


def _by_value(table: Any) -> list[NDArray[np.int64]]:
    """Return the places of the rows of each group, in an order that depends on their values alone, in any unit."""
    encoded: Encoded = table.encoded(table.schema("scale"))
    return [index[canonical_order(batch, table.values_of(index))] for index, batch in encoded.groups]


def _source(rows: Encoded, place: NDArray[np.int64], fold: NDArray[np.int32] | None = None) -> RowSource:
    """Return rows to train on, fold after fold: what is in one fold does not move the rows of the others."""
    groups = []
    for index, batch in rows.groups:
        if fold is None:
            groups.append(MemoryRows(batch, index=np.argsort(place[index])))
        else:
            order = np.lexsort((place[index], fold[index]))
            groups.append(MemoryRows(batch._replace(fold=fold[index]), index=order))
    return together(groups)

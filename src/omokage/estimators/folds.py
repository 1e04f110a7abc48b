"""Which rows train and which calibrate, decided before anything is learned of them.

Whatever is learned of rows (moments, scales, where learned scales start, weights) is learned of rows that train: a row
that calibrates a model must be to it what a new row will be. With "split" that is one part of the rows. With "cross"
member m of the ensemble leaves out fold m, so each member has a schema of its own. All are handed the same rows, in
units that the members have in common, and each undoes these units by its codec.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omokage.batch import Event
from omokage.codec import Codec
from omokage.data.columns import ColumnSchema, Standardization
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
    """

    training: RowSource
    calibrating: Encoded
    schema: Schema
    events: tuple[Event, ...]
    codecs: tuple[Codec | None, ...]


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
    schema = training.schema(standardize)
    if training.streamed:
        rows: RowSource = training.rows(schema, 0.0, seed)[0]
    else:
        rows = _source(training.encoded(schema), np.argsort(np.concatenate(_by_value(training))))
    return Shares(rows, calibrating.encoded(schema), schema, (schema.event,) * members, (None,) * members)


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
    codecs = tuple(None if same else codec(each.columns, columns, schema.event.shape) for each in members)
    rows = _source(table.encoded(schema), place, fold)
    calibrating = Encoded.together([group.batch for group in in_memory(rows)])
    return Shares(rows, calibrating, schema, events, codecs)


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


def codec(member: ColumnSchema, common: ColumnSchema, shape: tuple[int, ...]) -> Codec:
    """Return the map from common units to a member's own."""
    location, scale = (member.location - common.location) / common.scale, member.scale / common.scale
    return Codec(location.reshape(shape), scale.reshape(shape))


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

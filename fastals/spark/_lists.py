"""Lists of the best: a task has all of one side, packed for searches, and of the other side a share."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from typing import TYPE_CHECKING, Any, NamedTuple
from zlib import crc32

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyspark.sql import functions as fn
from pyspark.sql.types import ArrayType, FloatType, StructField, StructType

from .._core import FactorArray, tables
from .._engines import ARROW, SCHEMA, Piece, batches, hashed, parted, pieces_of, this_task
from .._topn import ItemLists, Panels, top_n

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

LIST_ENTRIES = 1 << 22
"""A task makes lists of so many entries at a time, about."""

TABLE, SEEN, QUERY = "table", "seen", "query"
"""Kinds of pieces: factors that lists are made of; pairs that these leave out; and, of a higher ``src``, so behind
them, factors of whom lists are for."""


def lists(
    queries: DataFrame, table: DataFrame, seen: DataFrame | None, n: int, names: tuple[str, str], tasks: int
) -> DataFrame:
    """Find the best n of a table for each query.

    Parameters
    ----------
    queries, table : DataFrame
        ``id, features``.
    seen : DataFrame, optional
        What :func:`shared_out` makes of what lists leave out.
    names : (str, str)
        What to call the ids of queries, and those of the table.
    tasks : int

    Returns
    -------
    DataFrame
        The id, and ``recommendations``: an array of (id, rating), best first, equal ratings by ascending id.
    """
    own, other = (frame.schema["id"].dataType for frame in (queries, table))
    every = fn.explode(fn.sequence(fn.lit(0), fn.lit(tasks - 1))).alias("key")
    shipped = table.select("id", "features").mapInArrow(ship, SCHEMA).select(every, *ARROW.names[1:])

    def ask(rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in rows:
            yield from batches(asked(batch, tasks))

    frames = [shipped, queries.select("id", "features").mapInArrow(ask, SCHEMA), *([] if seen is None else [seen])]
    pieces = reduce(type(queries).union, frames).repartitionById(tasks, "key")
    entry = StructType([StructField(names[1], other), StructField("rating", FloatType())])
    fields = [StructField(names[0], own, nullable=False), StructField("recommendations", ArrayType(entry))]
    return pieces.sortWithinPartitions("src").mapInArrow(searching(n, names), StructType(fields))


# ---------------------------------------------------------------------------------------------------------------------
# what goes to the tasks


def matrix(features: pa.Array) -> NDArray[np.float32]:
    """Lists of one length, none missing, as the rows of an array."""
    values = features.flatten().to_numpy(zero_copy_only=False)
    return np.ascontiguousarray(values, np.float32).reshape(len(features), -1)


def ship(rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Each batch of factors (id, features) as one piece of a table."""
    for seq, batch in enumerate(rows):
        if len(batch):
            yield from batches([Piece(0, TABLE, 0, seq, (batch.column("id"), matrix(batch.column("features"))))])


def asked(batch: pa.RecordBatch, tasks: int) -> Iterator[Piece]:
    """Factors (id, features), by the task that makes their lists."""
    ids, rows = batch.column("id"), matrix(batch.column("features"))
    for task, some in parted(tasks_of(ids, tasks), tasks):
        yield Piece(task, QUERY, 1, 0, (ids.take(pa.array(some)), rows[some]))


def shared_out(pairs: DataFrame, side: int, tasks: int) -> DataFrame:
    """Pairs that lists leave out, by the task that makes these.

    Parameters
    ----------
    pairs : DataFrame
        ``id, items``, the items of each user; or pieces of ratings.
    side : int
        Whom lists are for: 0, users, or 1, items.
    """

    def share(rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in rows:
            for pair in pairs_of(batch):
                own, others = pair[side], pair[1 - side]
                parts = ((task, pa.array(some)) for task, some in parted(tasks_of(own, tasks), tasks))
                yield from batches(Piece(task, SEEN, 0, 0, (own.take(some), others.take(some))) for task, some in parts)

    return pairs.mapInArrow(share, SCHEMA)


def pairs_of(batch: pa.RecordBatch) -> Iterator[tuple[pa.Array, pa.Array]]:
    """Users and items."""
    if "data" in batch.schema.names:
        for piece in pieces_of(batch):
            yield pa.array(piece.content.users), pa.array(piece.content.items)
        return
    users, items = batch.column("id"), batch.column("items")
    at = np.repeat(np.arange(len(users)), pc.fill_null(pc.list_value_length(items), 0).to_numpy())
    yield users.take(pa.array(at)), items.flatten()


def tasks_of(ids: pa.Array, tasks: int) -> NDArray[np.int64]:
    """The task of each id, which depends on that alone."""
    if pa.types.is_integer(ids.type):
        return (hashed(ids.to_numpy()) % np.uint64(tasks)).astype(np.int64)
    coded = ids.dictionary_encode()
    hashes = [crc32(each.as_buffer()) % tasks for each in coded.dictionary]
    return np.array(hashes, np.int64)[coded.indices.to_numpy()]


# ---------------------------------------------------------------------------------------------------------------------
# in the tasks


class Table(NamedTuple):
    """What lists are made of: rows by ascending id, packed for searches."""

    ids: pa.Array
    panels: Panels

    @classmethod
    def of(cls, parts: list[tuple[pa.Array, FactorArray]], threads: int) -> Table:
        """A table of its parts, in any order."""
        ids = pa.concat_arrays([part for part, _ in parts])
        order = pc.sort_indices(ids)
        rows = np.concatenate([rows for _, rows in parts])[order.to_numpy()]
        return cls(ids.take(order), Panels(rows, threads))


class Seen(NamedTuple):
    """What each of some ids has seen: places in a table, by the number of the id."""

    ids: pa.Array
    indptr: NDArray[np.int64]
    places: NDArray[np.int32]

    @classmethod
    def of(cls, parts: list[tuple[pa.Array, pa.Array]], table: pa.Array) -> Seen:
        """Of pairs of ids; those that the table has not are left out."""
        # one array cannot hold the strings of all pairs, but it can those of all ids
        coded = pa.chunked_array([own for own, _ in parts]).dictionary_encode().unify_dictionaries()
        ids = coded.chunk(0).dictionary
        numbers = np.concatenate([chunk.indices.to_numpy() for chunk in coded.chunks])
        places = pa.chunked_array([pc.index_in(others, value_set=table) for _, others in parts])
        if places.null_count:
            numbers, places = numbers[places.is_valid().to_numpy()], places.drop_null()
        indptr, seen, _ = tables.bucket(numbers, places.to_numpy(), None, len(ids), np.float32, 1)
        return cls(ids, indptr, seen)

    def by(self, ids: pa.Array) -> ItemLists:
        """What these have seen."""
        numbers = pc.index_in(ids, value_set=self.ids)
        known = numbers.is_valid().to_numpy(zero_copy_only=False)
        numbers = pc.fill_null(numbers, 0).to_numpy()
        first, last = (np.where(known, ends[numbers], 0) for ends in (self.indptr[:-1], self.indptr[1:]))
        return ItemLists(first, last, self.places)


def searching(n: int, names: tuple[str, str]) -> Any:
    """A function for ``mapInArrow``: partitions hold a table and what is seen, in pieces, and behind them queries."""

    def search(rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        threads = this_task().cpus()
        held: dict[str, list[Any]] = {TABLE: [], SEEN: []}
        table, seen = None, None
        for batch in rows:
            for piece in pieces_of(batch):
                if piece.kind != QUERY:
                    held[piece.kind].append(piece.content)
                    continue
                if table is None:
                    table = Table.of(held[TABLE], threads)
                    seen = Seen.of(held[SEEN], table.ids) if held[SEEN] else None
                    held.clear()
                ids, factors = piece.content
                yield from found(table, ids, factors, seen, n, names, threads)

    return search


def found(
    table: Table, ids: pa.Array, rows: FactorArray, seen: Seen | None, n: int, names: tuple[str, str], threads: int
) -> Iterator[pa.RecordBatch]:
    """The lists of some queries."""
    n = min(n, len(table.ids))
    step = max(1, LIST_ENTRIES // n)
    entry = [pa.field(names[1], table.ids.type), pa.field("rating", pa.float32())]
    for first in range(0, len(ids), step):
        some = ids.slice(first, step)
        hidden = None if seen is None else seen.by(some)
        best, scores = top_n(rows[first : first + step], table.panels, n, seen=hidden, num_threads=threads)
        is_found = best >= 0
        ends = np.concatenate([[0], np.cumsum(is_found.sum(axis=1))])
        entries = pa.StructArray.from_arrays(
            [table.ids.take(pa.array(best[is_found])), pa.array(scores[is_found])], fields=entry
        )
        lists = pa.ListArray.from_arrays(pa.array(ends, pa.int32()), entries)
        yield pa.record_batch([some, lists], names=[names[0], "recommendations"])

"""Ids that are strings, and what users have seen, in ids as they were given.

Each chunk has numbers of its own for its strings; Spark sorts these, which numbers them all. Only the distinct strings
of each chunk go through a shuffle, never one for each rating, and none through the driver.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .._core import DataError
from .pack import Cells, Packed, chunk, distinct, hashed, parted, summed_up
from .pieces import ARROW, SCHEMA, Piece, batches, pieces_of, table, this_task, told

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

SLICE = 1 << 16
OF_CHUNKS = "side int, label string, src int, seq int, code int"


class Numbered(NamedTuple):
    """Ratings whose strings have been numbered.

    Attributes
    ----------
    data : Packed
        Their chunks.
    labels : DataFrame
        ``side int, label string, id int``.
    """

    data: Packed
    labels: DataFrame


def numbered(data: Packed, slots: int, held: list[DataFrame]) -> Numbered:
    """Number strings in ascending order, as :class:`fastals.Interactions` do; what is persisted is added to held."""
    from pyspark.storagelevel import StorageLevel

    listed = data.frame.filter(data.frame["kind"] == "labels").mapInArrow(_listed, OF_CHUNKS)
    ranges = listed.repartitionByRange(slots, "side", "label").sortWithinPartitions("side", "label")
    ranked = ranges.mapInArrow(_ranked, f"part int, rank long, first boolean, {OF_CHUNKS}")
    ranked = ranked.persist(StorageLevel.MEMORY_AND_DISK)
    held.append(ranked)
    numbers = _with_ids(ranked)

    def number(left: pa.Table, right: pa.Table) -> pa.Table:
        [piece] = pieces_of(left.select(ARROW.names))
        cells = list(piece.content)
        sides, codes, ids = (right.column(name).to_numpy() for name in ("side", "code", "id"))
        for side in np.unique(sides).tolist():
            mine = sides == side
            id_of = np.empty(np.count_nonzero(mine), np.int32)
            id_of[codes[mine]] = ids[mine]
            cells[side] = id_of[cells[side]]
        return table(chunk(piece.src, piece.seq, Cells(*cells)))

    coded = data.frame.filter(data.frame["kind"] == "coded").groupBy("src", "seq")
    pieces = coded.cogroup(numbers.groupBy("src", "seq")).applyInArrow(number, SCHEMA)
    pieces = pieces.persist(StorageLevel.MEMORY_AND_DISK)
    held.append(pieces)
    labels = numbers.filter("first").select("side", "label", "id")
    return Numbered(summed_up(pieces, told(pieces)), labels)


def _listed(rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """A row for each distinct string of a chunk, and its number there."""
    for batch in rows:
        for piece in pieces_of(batch):
            for first in range(0, len(piece.content), SLICE):
                some = piece.content[first : first + SLICE]
                same = {name: np.full(len(some), getattr(piece, name), np.int32) for name in ("key", "src", "seq")}
                codes = np.arange(first, first + len(some), dtype=np.int32)
                columns = [same["key"], some.cast(pa.string()), same["src"], same["seq"], codes]
                yield pa.record_batch(columns, ["side", "label", "src", "seq", "code"])


def _ranked(rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Strings of a range, sorted: each with its rank there, the same for the same ones, of which one is the first."""
    part, rank, last = this_task().partitionId(), -1, None
    for batch in rows:
        if not len(batch):
            continue
        side, label = batch.column("side"), batch.column("label")
        new = pc.or_(pc.not_equal(side[1:], side[:-1]), pc.not_equal(label[1:], label[:-1])).to_numpy(False)
        first = np.append((side[0], label[0]) != last, new)
        ranks = rank + np.cumsum(first, dtype=np.int64)
        rank, last = int(ranks[-1]), (side[-1], label[-1])
        own = {"part": np.full(len(batch), part, np.int32), "rank": ranks, "first": first}
        yield pa.record_batch([*own.values(), *batch.columns], [*own, *batch.schema.names])


def _with_ids(ranked: DataFrame) -> DataFrame:
    """Number all, each side from 0: the driver learns how many each range has."""
    from pyspark.sql import functions

    least = functions.min(functions.struct("side", "label")).alias("least")
    n, n_users = functions.count_if("first"), functions.count_if(functions.expr("first AND side = 0"))
    parts = ranked.groupBy("part").agg(least, n.alias("n"), n_users.alias("n_users")).collect()
    parts.sort(key=lambda part: tuple(part["least"]))  # by code points, as Spark, since UTF-8 keeps their order
    sizes, users = [part["n"] for part in parts], sum(part["n_users"] for part in parts)
    if max(users, sum(sizes) - users) > np.iinfo(np.int32).max:
        raise DataError("there are more distinct ids than integers of 32 bits")
    before = dict(zip((part["part"] for part in parts), accumulate(sizes, initial=0), strict=False))
    starts = functions.array(*(functions.lit(before.get(part, 0)) for part in range(max(before) + 1)))
    position = functions.get(starts, functions.col("part")) + functions.col("rank")
    return ranked.withColumn("id", (position - functions.col("side") * users).cast("int"))


# ---------------------------------------------------------------------------------------------------------------------
# labels and numbers


def labelled(rows: DataFrame, labels: DataFrame, side: int) -> DataFrame:
    """Rows with labels instead of the numbers in their first column, "id"."""
    names = labels.filter(labels["side"] == side).selectExpr("id", "label")
    return rows.join(names, "id").selectExpr("label AS id", *rows.columns[1:])


def with_numbers(rows: DataFrame, labels: DataFrame, side: int) -> DataFrame:
    """Rows with numbers instead of the labels in their first column, "id"; those of no number are left out."""
    numbers = labels.filter(labels["side"] == side).selectExpr("label AS id", "id AS number")
    return rows.join(numbers, "id").selectExpr("number AS id", *rows.columns[1:])


def sent_to_all(labels: DataFrame, side: int, n_keys: int) -> DataFrame:
    """Pieces of the kind "labels" for each key, of numbers and what these stand for."""

    def send(rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in rows:
            content = batch["id"].to_numpy(), batch["label"]
            yield from batches(Piece(key, "labels", 0, 0, content) for key in range(n_keys))

    return labels.filter(labels["side"] == side).mapInArrow(send, SCHEMA)


# ---------------------------------------------------------------------------------------------------------------------
# what users have seen

NUMBERS, STRINGS = 1 << 24, 1 << 21
"""Items that are listed together, about: an array of Arrow holds 2 GB of strings."""


def seen(data: Packed, labels: DataFrame | None, text: tuple[bool, bool], slots: int) -> DataFrame:
    """The items of each user, when they are asked for: pieces by user are what is shuffled."""
    parts = max(slots, -(-data.n_cells // (STRINGS if text[1] else NUMBERS)))
    kind = "string" if text[1] else "int"
    schema = pa.schema([("id", pa.int32()), ("items", pa.list_(pa.string() if text[1] else pa.int32()))])

    def cut(rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in rows:
            for piece in pieces_of(batch):
                users, items, _ = piece.content
                for key, some in parted(hashed(users) % np.uint64(parts), parts):
                    yield from batches([Piece(key, "pairs", piece.src, piece.seq, (users[some], items[some]))])

    def gather(rows: pa.Table) -> pa.Table:
        held: dict[str, list[Any]] = {"pairs": [], "labels": []}
        for piece in pieces_of(rows):
            held[piece.kind].append(piece.content)
        if not held["pairs"]:
            return schema.empty_table()
        users, items = (np.concatenate(each) for each in zip(*held["pairs"], strict=True))
        pairs = distinct(users.astype(np.int64) << 32 | (items.astype(np.int64) + (1 << 31)))
        users, items = (pairs >> 32).astype(np.int32), ((pairs & 0xFFFFFFFF) - (1 << 31)).astype(np.int32)
        first = np.flatnonzero(np.append(True, users[1:] != users[:-1]))
        ends = pa.array(np.append(first, len(users)).astype(np.int32))
        told: Any = items
        if held["labels"]:
            ids, names = zip(*held["labels"], strict=True)
            order = np.argsort(np.concatenate(ids))
            told = pa.concat_arrays(names).take(order[items])
        return pa.table([users[first], pa.ListArray.from_arrays(ends, told)], schema=schema)

    pieces = data.chunks.mapInArrow(cut, SCHEMA)
    if labels is not None and text[1]:
        pieces = pieces.union(sent_to_all(labels, 1, parts))
    lists = pieces.groupBy("key").applyInArrow(gather, f"id int, items array<{kind}>")
    return labelled(lists, labels, 0) if labels is not None and text[0] else lists

"""Ids that are strings: each chunk has numbers of its own for them; Spark sorts and numbers them all, and joins.

Only distinct strings of chunks go through a shuffle, never one for each rating, and none through the driver.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from .._core import DataError
from .pack import Cells, Packed, chunk, summed_up
from .pieces import SCHEMA, Piece, batches, pieces_of, table

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

SLICE = 1 << 16


class Numbered(NamedTuple):
    """Ratings whose strings have been numbered.

    Attributes
    ----------
    data : Packed
        Their chunks.
    labels : DataFrame
        ``side int, label string, id int``.
    held : DataFrame
        What is persisted so that these labels need not be sorted again.
    """

    data: Packed
    labels: DataFrame
    held: DataFrame


def numbered(data: Packed) -> Numbered:
    """Number strings in ascending order, as :class:`fastals.Interactions` do."""
    from pyspark.storagelevel import StorageLevel

    of_chunks = data.frame.filter(data.frame["kind"] == "labels").mapInArrow(
        _listed, "src int, seq int, side int, code int, label string"
    )
    labels, held = _sorted(of_chunks.select("side", "label").distinct())
    numbers = of_chunks.join(labels, ["side", "label"]).select("src", "seq", "side", "code", "id")

    def number(left: pa.Table, right: pa.Table) -> pa.Table:
        [piece] = pieces_of(left.select(COLUMNS))
        cells = list(piece.content)
        sides, codes, ids = (right.column(name).to_numpy() for name in ("side", "code", "id"))
        for side in np.unique(sides).tolist():
            mine = sides == side
            places = np.empty(np.count_nonzero(mine), np.int32)
            places[codes[mine]] = ids[mine]
            cells[side] = places[cells[side]]
        return table(chunk(piece.src, piece.seq, Cells(*cells)))

    coded = data.frame.filter(data.frame["kind"] == "coded")
    both = coded.groupBy("src", "seq").cogroup(numbers.groupBy("src", "seq"))
    packed = summed_up(both.applyInArrow(number, SCHEMA).persist(StorageLevel.MEMORY_AND_DISK))
    return Numbered(packed, labels, held)


COLUMNS = ["key", "kind", "src", "seq", "data"]


def _listed(rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """A row for each distinct string of a chunk."""
    for batch in rows:
        for piece in pieces_of(batch):
            for first in range(0, len(piece.content), SLICE):
                some = piece.content[first : first + SLICE]
                same = {name: np.full(len(some), getattr(piece, name), np.int32) for name in ("src", "seq")}
                codes = np.arange(first, first + len(some), dtype=np.int32)
                side = np.full(len(some), piece.key, np.int32)
                yield pa.record_batch({**same, "side": side, "code": codes, "label": some.cast(pa.string())})


def _sorted(labels: DataFrame) -> tuple[DataFrame, DataFrame]:
    """Number distinct strings, each side's from 0: each partition has a range of them, and the driver counts these."""
    from pyspark.sql import functions
    from pyspark.storagelevel import StorageLevel

    def place(rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from pyspark import TaskContext

        context, n = TaskContext.get(), 0
        assert context is not None
        for batch in rows:
            parts = np.full(len(batch), context.partitionId(), np.int32)
            places = np.arange(n, n + len(batch), dtype=np.int64)
            yield pa.record_batch({"part": parts, "place": places, "side": batch["side"], "label": batch["label"]})
            n += len(batch)

    ranges = labels.repartitionByRange("side", "label").sortWithinPartitions("side", "label")
    placed = ranges.mapInArrow(place, "part int, place long, side int, label string")
    placed = placed.persist(StorageLevel.MEMORY_AND_DISK)
    first = functions.min(functions.struct("side", "label")).alias("first")
    users = functions.count_if(functions.col("side") == 0).alias("users")
    parts = placed.groupBy("part").agg(first, functions.count("*").alias("n"), users).collect()
    parts.sort(key=lambda part: tuple(part["first"]))  # as Spark sorts: by code points, which UTF-8 keeps in order
    sizes = [part["n"] for part in parts]
    before = dict(zip((part["part"] for part in parts), accumulate(sizes, initial=0), strict=False))
    n_users = sum(part["users"] for part in parts)
    if max(n_users, sum(sizes) - n_users) > np.iinfo(np.int32).max:
        raise DataError("there are more distinct ids than integers of 32 bits")
    starts = functions.array(*(functions.lit(before.get(part, 0)) for part in range(max(before) + 1)))
    position = functions.get(starts, functions.col("part")) + functions.col("place")
    ids = (position - functions.col("side") * n_users).cast("int")
    return placed.select("side", "label", ids.alias("id")), placed


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

"""The ratings cut into blocks: where the cuts are, and the blocks of each side in files of the executors."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .._core import Axis, DataError, FastalsError, kernels
from .._equation import RowEquation
from .block import Ids, InBlock, Lot, Measured, measured
from .pack import Cells, Packed, parted
from .pieces import (
    SCHEMA,
    TOLD,
    Piece,
    batches,
    contents,
    discarded,
    packed_content,
    persisted,
    pieces_of,
    table,
    told,
    unpersist,
)

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

RANGE_CELLS = 1 << 26
BLOCK_CELLS = 100_000_000
"""Ratings that a range of ids, a block has at most, about: a block's go through Arrow at once, up to 2 GB."""
PART_CELLS = 170_000_000
"""And what is not cut into blocks has at most."""

# ---------------------------------------------------------------------------------------------------------------------
# where the cuts are


class Cuts(NamedTuple):
    """The blocks of a side: runs of whole parts, of about as many ratings each.

    Attributes
    ----------
    first_ids, first_rows : arrays of shape (n_blocks,)
        The id of each block's first row, and its number.
    n_rows : int
    """

    first_ids: Ids
    first_rows: NDArray[np.int64]
    n_rows: int

    @classmethod
    def of(cls, first_ids: Ids, cells: NDArray[np.int64], n_rows: int, n_blocks: int) -> Cuts:
        """Cut parts, of which the first ids and the ratings are known, into blocks."""
        ends = np.cumsum(cells)
        bounds = np.searchsorted(ends, np.arange(1, n_blocks) * (ends[-1] / n_blocks)) + 1
        firsts = np.unique(np.concatenate(([0], bounds[bounds < len(cells)])))
        return cls(first_ids[firsts], firsts * kernels.PART_ROWS, n_rows)

    def blocks_of(self, ids: Ids) -> NDArray[np.int32]:
        """The block of each id."""
        return np.searchsorted(self.first_ids, ids, side="right").astype(np.int32) - 1


def cuts(packed: Packed, slots: int, n_blocks: tuple[int, int]) -> tuple[Cuts, Cuts]:
    """Number the ids of both sides, in their order, and cut them into so many blocks.

    The ids meet range by range, in tasks: the driver sees of each how many they are, and then the first of each part.
    """
    n_ranges = max(slots, -(-packed.n_cells // RANGE_CELLS))
    samples = packed.users, packed.items
    edges = [sample[np.arange(1, n_ranges) * len(sample) // n_ranges] for sample in samples]
    chunks = packed.frame

    def count(rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield from batches(_counted(rows, edges))

    def merge(rows: pa.Table) -> pa.Table:
        return table(_merged(rows))

    frame = chunks.mapInArrow(count, SCHEMA).repartitionById(2 * n_ranges, "key").groupBy("key")
    ranges = persisted(frame.applyInArrow(merge, SCHEMA))
    sizes = np.zeros((2, n_ranges), np.int64)
    try:
        for piece in told(ranges):
            sizes.flat[piece.key] = piece.content
        offsets = (np.cumsum(sizes, axis=1) - sizes).ravel()

        def pick(rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            yield from batches(_picked(rows, offsets))

        found = told(ranges.mapInArrow(pick, SCHEMA))
    finally:
        unpersist([ranges])
    return (
        _cut([piece.content for piece in found if piece.key < n_ranges], int(sizes[0].sum()), n_blocks[0]),
        _cut([piece.content for piece in found if piece.key >= n_ranges], int(sizes[1].sum()), n_blocks[1]),
    )


class PartIds(NamedTuple):
    """Of a range of ids: the parts that begin or go on in it, their ratings there, and the first ids of the former."""

    parts: NDArray[np.int64]
    cells: NDArray[np.int64]
    first_ids: Ids


def _cut(found: list[PartIds], n_rows: int, n_blocks: int) -> Cuts:
    cells = np.zeros(-(-n_rows // kernels.PART_ROWS), np.int64)
    for each in found:
        cells[each.parts] += each.cells
    n_blocks = max(n_blocks, -(-int(cells.sum()) // BLOCK_CELLS))
    if len(cells) and cells.max() > PART_CELLS:
        raise DataError(
            f"{kernels.PART_ROWS} ids that follow one another must have {PART_CELLS} ratings at most with engine "
            f"'blocks', got {cells.max()}: Arrow's arrays hold 2 GB; 'task' takes them"
        )
    return Cuts.of(np.concatenate([each.first_ids for each in found]), cells, n_rows, n_blocks)


def _chunks(rows: Iterator[pa.RecordBatch]) -> Iterator[Piece]:
    for batch in rows:
        yield from (piece for piece in pieces_of(batch) if piece.kind == "chunk")


def _counted(rows: Iterator[pa.RecordBatch], edges: list[Ids]) -> Iterator[Piece]:
    """The distinct ids of chunks and how often they come, by side and range."""
    for chunk in _chunks(rows):
        for side, ids in enumerate((chunk.content.users, chunk.content.items)):
            distinct, counts = np.unique(ids, return_counts=True)
            bounds = [0, *np.searchsorted(distinct, edges[side], side="left").tolist(), len(distinct)]
            for number in range(len(bounds) - 1):
                part = slice(bounds[number], bounds[number + 1])
                if part.start < part.stop:
                    key = side * (len(bounds) - 1) + number
                    yield Piece(key, "ids", chunk.src, chunk.seq, (distinct[part], counts[part]))


def _merged(rows: pa.Table) -> Iterator[Piece]:
    pieces = list(pieces_of(rows))
    ids, counts = (np.concatenate([piece.content[at] for piece in pieces]) for at in (0, 1))
    distinct, places = np.unique(ids, return_inverse=True)
    totals = np.bincount(places, counts).astype(np.int64)
    yield Piece(pieces[0].key, "ids", pieces[0].key, 0, (distinct, totals))
    yield Piece(pieces[0].key, TOLD, pieces[0].key, 0, len(distinct))


def _picked(rows: Iterator[pa.RecordBatch], offsets: NDArray[np.int64]) -> Iterator[Piece]:
    size = kernels.PART_ROWS
    for batch in rows:
        for piece in pieces_of(batch):
            if piece.kind == "ids":
                ids, counts = piece.content
                first = int(offsets[piece.key])
                starts = np.arange(-first % size, len(ids), size)
                bounds = starts if first % size == 0 else np.concatenate(([0], starts))
                content = PartIds((first + bounds) // size, np.add.reduceat(counts, bounds), ids[starts])
                yield Piece(piece.key, TOLD, piece.key, 0, content)


# ---------------------------------------------------------------------------------------------------------------------
# the blocks of a side

MISSING = "the in-block is not where it was built"


class Handle(NamedTuple):
    """Where the in-block of a block is, and what its cells say."""

    path: str
    n_rows: int
    n_cells: int
    measured: Measured


@dataclass
class Blocks:
    """The blocks of a side.

    Attributes
    ----------
    handles : DataFrame
        ``key, handle``, persisted where the in-blocks are. If an executor is lost, so are its handles, and making them
        anew makes the in-blocks anew.
    carried : DataFrame
        Pieces of the cells themselves, for tasks that do not find in-blocks. Not persisted.
    constant : tuple of arrays
        Of each block, see :class:`Measured`.
    lam_least : float
        The least lambda.
    """

    handles: DataFrame
    carried: DataFrame
    lot: Lot
    cuts: Cuts
    others_from: Ids
    constants: tuple[NDArray[np.float64], ...]
    lam_least: float
    found: bool = True
    """All in-blocks were found so far."""

    @property
    def n_blocks(self) -> int:
        """How many blocks there are."""
        return len(self.cuts.first_ids)

    @property
    def left(self) -> DataFrame:
        """What tasks take their block from."""
        return self.handles if self.found else self.carried

    def remove(self) -> None:
        """Delete the in-blocks; what is not reached any more goes with its executor."""
        clear(self.handles)
        self.handles.unpersist()


def clear(handles: DataFrame) -> None:
    """Delete in-blocks, where they are."""

    def remove(rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in rows:
            for handle in contents(batch["handle"]):
                if isinstance(handle, Handle):
                    InBlock.remove(handle.path)
            yield batch

    handles.mapInArrow(remove, "key int, handle binary").count()


def opened(rows: pa.Table, axis: Axis, others_from: Ids) -> tuple[int, InBlock]:
    """The block of a task, with its number."""
    number = rows["key"][0].as_py()
    if "handle" not in rows.column_names:
        return number, InBlock.of(axis, joined(contents(rows["data"])), others_from)
    path = next(contents(rows["handle"])).path
    if not os.path.isdir(path):
        raise FileNotFoundError(f"{MISSING}: {path}")
    return number, InBlock.load(path)


def joined(parts: Iterator[Cells]) -> Cells:
    """All cells of some."""
    return Cells(*map(np.concatenate, zip(*parts, strict=True)))


def blocks(packed: Packed, axis: Axis, both: tuple[Cuts, Cuts], equation: RowEquation, seed: int) -> Blocks:
    """Cut the ratings by the blocks of a side, and build these where they will stay."""
    from pyspark.sql.functions import arrow_udf

    own, others = both if axis == "users" else both[::-1]
    others_from = others.first_ids
    lot = Lot(axis, equation, seed, tuple(own.first_rows.tolist()), own.n_rows, others.n_rows, packed.n_cells)

    def cut(rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield from batches(_cells_of(rows, axis, own))

    def build(key: pa.Array, data: pa.Array) -> bytes:
        cells = Cells(*map(np.concatenate, zip(*contents(data), strict=True)))
        return packed_content(_built(lot, key[0].as_py(), cells, others_from)).tobytes()

    chunks = packed.frame.mapInArrow(cut, SCHEMA).repartitionById(len(own.first_ids), "key")
    built = arrow_udf(build, "binary")(chunks["key"], chunks["data"])
    # an aggregate passes the key on as it is, so that Spark knows how the handles are partitioned
    handles = persisted(chunks.groupBy("key").agg(built.alias("handle")))
    with discarded(handles):
        found = list(contents(handles.toArrow().sort_by("key")["handle"]))
        for each in found:
            if isinstance(each, FastalsError):
                clear(handles)
                raise each
    limit = max(each.measured.lam_limit for each in found)
    least = min(each.measured.lam_least for each in found)
    if any(each.measured.empty for each in found):
        least = min(least, limit)
    constants = tuple(each.measured.constants for each in found)
    return Blocks(handles, chunks, replace(lot, lam_limit=limit), own, others_from, constants, least)


def _cells_of(rows: Iterator[pa.RecordBatch], axis: Axis, own: Cuts) -> Iterator[Piece]:
    """The cells of chunks, by block."""
    for chunk in _chunks(rows):
        cells: Cells = chunk.content
        keys = own.blocks_of(cells.users if axis == "users" else cells.items)
        for key, part in parted(keys, len(own.first_ids)):
            some = Cells(cells.users[part], cells.items[part], cells.values[part])
            yield Piece(key, "cells", chunk.src, chunk.seq, some)


def _built(lot: Lot, number: int, cells: Cells, others_from: Ids) -> Handle | FastalsError:
    folder = os.environ.get("SPARK_LOCAL_DIRS", tempfile.gettempdir()).split(",")[0]
    block = InBlock.of(lot.axis, cells, others_from)
    try:
        about = measured(lot, block)
    except FastalsError as error:
        return error
    return Handle(block.save(folder), len(block.ids), len(block.values), about)

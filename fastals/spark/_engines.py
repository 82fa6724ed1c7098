"""From ratings in a frame to factors in frames: one pass over the ratings, an engine, what it leaves."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .._core import FactorArray, FastalsError, processors
from .._data import Interactions, as_interactions, trusted
from .._models import ExplicitALS, ImplicitALS
from ._ask import Ask, Columns, Fitted
from ._block import drawn
from ._pack import Cells, Packed, packed
from ._rows import PIECE_BYTES, SCHEMA, TOLD, Piece, batches, pieces_of, told

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

SIDES = ("users", "items")
FACTORS = "id int, features array<float>"


def fit(frame: DataFrame, columns: Columns, ask: Ask) -> Fitted:
    """Fit factors to the ratings of a frame, which is read once.

    Raises
    ------
    DataError, ParameterError, ArgumentTypeError, NumericalError
    """
    estimator(ask, 1)  # which refuses what cannot be, before any work
    slots = 2
    data = packed(frame, columns)
    users, items, losses = fit_in_one_task(data, ask, slots)
    return Fitted(users, items, seen(data, slots), losses, "task")


# ---------------------------------------------------------------------------------------------------------------------
# the engine of one task


def estimator(ask: Ask, threads: int) -> ExplicitALS | ImplicitALS:
    """The model that fits the same on one machine."""
    parameters: dict[str, Any] = {
        "factors": ask.rank,
        "iterations": ask.iterations,
        "regularization": ask.regularization,
        "solver": ask.solver,
        "nonnegative": ask.nonnegative,
        "num_threads": threads,
    }
    if ask.implicit:
        return ImplicitALS.from_preset("spark", alpha=ask.alpha, **parameters)
    return ExplicitALS.from_preset("spark", **parameters)


def fit_in_one_task(data: Packed, ask: Ask, slots: int) -> tuple[DataFrame, DataFrame, tuple[float, ...]]:
    """Fit in one task, with all cores of its executor; returns factors, and the loss after each iteration."""
    from pyspark.storagelevel import StorageLevel

    spark = data.frame.sparkSession
    master, profile = str(spark.conf.get("spark.master")), whole_executor(spark)
    pieces = data.frame.filter(data.frame["kind"] == "chunk")
    for side, factors in zip(SIDES, ask.initial or (), strict=False):
        pieces = pieces.union(_shipped(factors, side))
    here = replace(ask, initial=None)

    def work(rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield from batches(_fitted((piece for batch in rows for piece in pieces_of(batch)), here, cores(master), slots))

    done = pieces.repartition(1).mapInArrow(work, SCHEMA, profile=profile).persist(StorageLevel.MEMORY_AND_DISK)
    [answer] = [piece.content for piece in told(done)]
    if "error" in answer:
        done.unpersist()
        raise answer["error"]
    users, items = (_unpacked(done.filter(done["kind"] == side), slots) for side in SIDES)
    return users, items, answer["losses"]


def _fitted(pieces: Iterable[Piece], ask: Ask, threads: int, slots: int) -> Iterator[Piece]:
    """What the task makes of all ratings: factors, and what it tells; an error is told, for no retry helps."""
    held: dict[str, list[Any]] = {"chunk": [], **{side: [] for side in SIDES}}
    for piece in pieces:
        held[piece.kind].append(piece.content)
    try:
        cells = canonical(held.pop("chunk"), threads)
        ids = [np.asarray(labels, np.int32) for labels in (cells.users, cells.items)]
        start = [_start(ask, side, ids[side], held[name]) for side, name in enumerate(SIDES)]
        model = estimator(ask, threads).fit(cells, initial_factors=(start[0], start[1]), progress=False)
    except FastalsError as error:
        yield Piece(0, TOLD, 0, 0, {"error": error})
        return
    yield Piece(0, TOLD, 0, 0, {"losses": tuple(model.loss_history_)})
    for side, factors in enumerate((model.user_factors_, model.item_factors_)):
        yield from _packed_factors(SIDES[side], ids[side], factors, slots)


def canonical(chunks: list[Cells], threads: int) -> Interactions:
    """The interactions of all chunks; of a user's several ratings of an item each stays one, in ascending order.

    So they are the same however the ratings came in. The list is emptied on the way.
    """
    users, items, values = (np.concatenate(each) for each in zip(*chunks, strict=True))
    chunks.clear()
    data = as_interactions((users, items, values), duplicates="keep", dtype="float32", num_threads=threads)
    del users, items, values
    indptr, indices, _ = data.arrays()
    again = np.empty(len(indices), np.bool_)
    np.equal(indices[1:], indices[:-1], out=again[1:])
    again[indptr[:-1]] = False
    if not again.any():
        return data
    places = np.flatnonzero(again | np.append(again[1:], False))
    values = data.values.copy()
    values[places] = values[places][np.lexsort((values[places], np.cumsum(~again)[places]))]
    return trusted((indptr, indices, values), None, data.user_labels, data.item_labels)


def _start(ask: Ask, side: int, ids: NDArray[np.int32], given: list[Factors]) -> FactorArray:
    """Where a side starts: at the factors that are given, or drawn."""
    start = drawn(ask.seed, side, ids, ask.rank, nonnegative=ask.nonnegative)
    for rows in given:
        places = np.minimum(np.searchsorted(ids, rows.ids), len(ids) - 1)
        known = ids[places] == rows.ids
        start[places[known]] = rows.factors[known]
    return start


def whole_executor(spark: SparkSession) -> Any:
    """What asks for all cores of an executor for a task, where the cluster manager has that: a profile, or None."""
    conf = spark.conf
    cores, cpus = (int(conf.get(f"spark.{name}", "1") or 1) for name in ("executor.cores", "task.cpus"))
    manager = re.match(r"spark:|yarn|k8s:", str(conf.get("spark.master")))
    if manager is None or cores <= cpus:
        return None
    from pyspark.resource import ResourceProfileBuilder, TaskResourceRequests

    return ResourceProfileBuilder().require(TaskResourceRequests().cpus(cores)).build


def cores(master: str) -> int:
    """Threads for a task that has its executor for itself; never those of OMP_NUM_THREADS, which are for a BLAS."""
    from pyspark import TaskContext

    local = re.fullmatch(r"local(?:\[(\d+|\*).*\])?", master)
    if local is None:
        context = TaskContext.get()
        return 1 if context is None else context.cpus()
    return processors() if local[1] == "*" else int(local[1] or 1)


# ---------------------------------------------------------------------------------------------------------------------
# factors in frames


class Factors(NamedTuple):
    """Some rows of a side."""

    ids: NDArray[np.int32]
    factors: FactorArray


def _packed_factors(kind: str, ids: NDArray[np.int32], factors: FactorArray, slots: int) -> Iterator[Piece]:
    """Rows in pieces, one for each slot if there are many."""
    n, k = factors.shape
    size = max(1, min(PIECE_BYTES // (4 * k), max(4096, -(-n // slots))))
    for seq, first in enumerate(range(0, n, size)):
        some = slice(first, first + size)
        yield Piece(0, kind, 0, seq, Factors(ids[some], np.ascontiguousarray(factors[some], np.float32)))


def _unpacked(pieces: DataFrame, slots: int) -> DataFrame:
    """A row for each id."""
    from pyspark.storagelevel import StorageLevel

    def unpack(rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in rows:
            for piece in pieces_of(batch):
                ids, factors = piece.content
                n, k = factors.shape
                ends = pa.array(np.arange(0, n * k + 1, k, dtype=np.int32))
                yield pa.record_batch({"id": ids, "features": pa.ListArray.from_arrays(ends, factors.reshape(-1))})

    spread = pieces.repartition(slots, pieces["seq"])
    return spread.mapInArrow(unpack, FACTORS).persist(StorageLevel.MEMORY_AND_DISK)


def _shipped(factors: DataFrame, side: str) -> DataFrame:
    """Factors to start from, as pieces."""

    def ship(rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in rows:
            table = np.stack(batch.column("features").to_numpy(zero_copy_only=False))
            ids = batch.column("id").to_numpy(zero_copy_only=False).astype(np.int32)
            yield from batches([Piece(0, side, 0, 0, Factors(ids, table))])

    return factors.select("id", "features").mapInArrow(ship, SCHEMA)


# ---------------------------------------------------------------------------------------------------------------------
# what users have seen


def seen(data: Packed, slots: int) -> DataFrame:
    """The items of each user, when they are asked for."""
    parts = max(slots, -(-data.n_cells // (1 << 24)))

    def cut(rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in rows:
            for piece in pieces_of(batch):
                users, items, _ = piece.content
                keys = users % parts
                for key in range(parts):
                    mine = keys == key
                    yield from batches([Piece(key, "seen", piece.src, piece.seq, (users[mine], items[mine]))])

    def gather(table: pa.Table) -> pa.Table:
        users, items = (np.concatenate(each) for each in zip(*(p.content for p in pieces_of(table)), strict=True))
        pairs = np.unique(users.astype(np.int64) << 32 | items.view(np.uint32))
        users = (pairs >> 32).astype(np.int32)
        first = np.flatnonzero(np.append(True, users[1:] != users[:-1]))
        ends = pa.array(np.append(first, len(users)).astype(np.int32))
        lists = pa.ListArray.from_arrays(ends, (pairs & 0xFFFFFFFF).astype(np.uint32).view(np.int32))
        return pa.table({"id": users[first], "items": lists})

    chunks = data.frame.filter(data.frame["kind"] == "chunk")
    return chunks.mapInArrow(cut, SCHEMA).groupBy("key").applyInArrow(gather, "id int, items array<int>")

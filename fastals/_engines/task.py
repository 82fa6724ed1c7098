"""The engine for data that one executor holds: a single task, which fits as one machine does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .._core import AXES, LOGGER, Axis, DataError, FactorArray, FastalsError, ParameterError, tables
from .._data import Interactions, factorize, trusted
from .._models import ExplicitALS, ImplicitALS
from .ask import Ask
from .block import RowFactors, drawn, order_repeats
from .executors import cores, whole_executor
from .pack import Cells, Packed
from .pieces import PIECE_BYTES, SCHEMA, TOLD, Piece, batches, persisted, pieces_of, told
from .steps import features, given_rows

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

DRAWN_TOGETHER = 1 << 14


def estimator(ask: Ask, threads: int = 1) -> ExplicitALS | ImplicitALS:
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


def memory_needed(data: Packed, ask: Ask) -> int:
    """Bytes that one task needs at its peak: of chunks on their way, or of a fit and where it starts."""
    fit = estimator(ask).estimate_memory(max(1, data.n_users), max(1, data.n_items), data.n_cells)
    start = 4 * ask.rank * (data.n_users + data.n_items)
    return max(CHUNK_CELL * data.n_cells, fit.total + start)


CHUNK_CELL = 30
"""Bytes of a rating on the way from chunks to interactions, at most."""


def fit_in_one_task(data: Packed, ask: Ask, slots: int, held: list[DataFrame]) -> tuple[DataFrame, tuple[float, ...]]:
    """Fit in one task, with all cores of its executor; what is persisted is added to ``held``.

    Returns
    -------
    DataFrame
        Persisted pieces, from which :func:`factors_of` makes each side's.
    losses : tuple of float
    """
    spark = data.frame.sparkSession
    master, profile = str(spark.conf.get("spark.master")), whole_executor(spark)
    pieces = data.chunks
    for side, factors in zip(AXES, ask.initial or (), strict=False):
        pieces = pieces.union(_shipped(factors, side, ask.rank))
    here = replace(ask, initial=None)

    def work(rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        found = (piece for batch in rows for piece in pieces_of(batch))
        yield from batches(fitted_pieces(found, here, cores(master), slots))

    done = persisted(pieces.repartition(1).mapInArrow(work, SCHEMA, profile=profile))
    held.append(done)
    [answer] = [piece.content for piece in told(done)]
    if "error" in answer:
        raise answer["error"]
    LOGGER.info("fitted in one task, with %d threads", answer["threads"])
    return done, answer["losses"]


def fitted_pieces(pieces: Iterable[Piece], ask: Ask, threads: int, slots: int) -> Iterator[Piece]:
    """What the task makes of all ratings: factors, and what it tells; an error is told, for no retry helps."""
    held: dict[str, list[Any]] = {"chunk": [], **{side: [] for side in AXES}}
    for piece in pieces:
        held[piece.kind].append(piece.content)
    try:
        cells = canonical(held.pop("chunk"), threads)
        ids = [np.asarray(labels, np.int32) for labels in (cells.users, cells.items)]
        start = [_start(ask, side, ids[side], held[name]) for side, name in enumerate(AXES)]
        model = estimator(ask, threads).fit(cells, initial_factors=(start[0], start[1]), progress=False)
    except FastalsError as error:
        yield Piece(0, TOLD, 0, 0, {"error": error})
        return
    except MemoryError as error:
        why = f"engine must be 'blocks', got {ask.engine!r}: one task has no room for this many ratings ({error})"
        yield Piece(0, TOLD, 0, 0, {"error": ParameterError(why)})
        return
    yield Piece(0, TOLD, 0, 0, {"losses": tuple(model.loss_history_), "threads": threads})
    for side, factors in enumerate((model.user_factors_, model.item_factors_)):
        yield from _packed_factors(AXES[side], ids[side], factors, slots)


def canonical(chunks: list[Cells], threads: int) -> Interactions:
    """The interactions of all chunks; of a user's several ratings of an item each stays one, in ascending order.

    So they are the same however the ratings came in. The list is emptied on the way: there are never more than
    ``CHUNK_CELL`` bytes a rating.
    """
    parts = [list(each) for each in zip(*chunks, strict=True)]
    chunks.clear()

    def joined() -> NDArray[Any]:
        return np.concatenate(parts.pop(0))

    users, user_labels = factorize("users", joined(), threads)
    items, item_labels = factorize("items", joined(), threads)
    columns = tables.bucket(items, users, joined(), len(item_labels), np.float32, threads)
    del users, items
    indptr, indices, values = tables.transpose(*columns, len(user_labels), np.float32, threads)
    del columns
    order_repeats(indptr, indices, values)
    columns = tables.transpose(indptr, indices, values, len(item_labels), np.float32, threads)
    return trusted((indptr, indices, values), columns, user_labels, item_labels)


def _start(ask: Ask, side: int, ids: NDArray[np.int32], given: list[RowFactors | DataError]) -> FactorArray:
    """Where a side starts: at the factors that are given, or drawn."""
    start = np.empty((len(ids), ask.rank), np.float32)
    for first in range(0, len(ids), DRAWN_TOGETHER):
        some = slice(first, first + DRAWN_TOGETHER)
        start[some] = drawn(ask.seed, side, ids[some], ask.rank, nonnegative=ask.nonnegative)
    for rows in given:
        if isinstance(rows, DataError):
            raise rows
        places = np.minimum(np.searchsorted(ids, rows.ids), len(ids) - 1)
        known = ids[places] == rows.ids
        start[places[known]] = rows.factors[known]
    return start


# ---------------------------------------------------------------------------------------------------------------------
# factors in frames


def _packed_factors(kind: str, ids: NDArray[np.int32], factors: FactorArray, slots: int) -> Iterator[Piece]:
    """Rows in pieces, one for each slot if there are many."""
    n, k = factors.shape
    size = max(1, min(PIECE_BYTES // (4 * k), max(4096, -(-n // slots))))
    for seq, first in enumerate(range(0, n, size)):
        some = slice(first, first + size)
        yield Piece(0, kind, 0, seq, RowFactors(ids[some], np.ascontiguousarray(factors[some], np.float32)))


def factors_of(pieces: DataFrame, axis: Axis, slots: int) -> DataFrame:
    """``id int, features array<float>`` of a side."""
    from pyspark.sql.types import ArrayType, FloatType, IntegerType, StructField, StructType

    def unpack(rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in rows:
            for piece in pieces_of(batch):
                yield features(*piece.content)

    rows = StructField("features", ArrayType(FloatType(), containsNull=False))
    schema = StructType([StructField("id", IntegerType(), nullable=False), rows])  # as Spark's ALS has it
    return pieces.filter(pieces["kind"] == axis).repartitionById(slots, pieces["seq"]).mapInArrow(unpack, schema)


def _shipped(factors: DataFrame, side: Axis, k: int) -> DataFrame:
    """Factors to start from, as pieces."""

    def ship(rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield from batches(Piece(0, side, 0, 0, given_rows(batch, side, k)) for batch in rows)

    return factors.mapInArrow(ship, SCHEMA)

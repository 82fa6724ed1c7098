"""One pass over the ratings: checked, and packed into large chunks. The frame that they come in is read this once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .._core import DataError
from ._ask import Columns
from ._rows import SCHEMA, TOLD, Piece, batches, told

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

CHUNK_CELLS = 1 << 22
SAMPLES = 1024
"""Ids of a chunk that the driver sees, to cut the ids into ranges."""


class Cells(NamedTuple):
    """Ratings that a chunk holds: one user, item and value each."""

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    values: NDArray[np.float32]


class Packed(NamedTuple):
    """All ratings.

    Attributes
    ----------
    frame : DataFrame
        Persisted pieces of the kind "chunk", each of :class:`Cells`, and what was told.
    n_cells : int
    users, items : arrays
        Samples of their ids, by ratings, ascending.
    """

    frame: DataFrame
    n_cells: int
    users: NDArray[np.int32]
    items: NDArray[np.int32]


def packed(frame: DataFrame, columns: Columns) -> Packed:
    """Pack ratings.

    Raises
    ------
    DataError
        Ids that are no integers of 32 bits, ratings that are no numbers, no ratings at all.
    """
    from pyspark.sql import functions
    from pyspark.sql.types import DecimalType
    from pyspark.storagelevel import StorageLevel

    def column(name: str) -> Any:
        kind = frame.select(frame[name]).schema[0].dataType
        return frame[name].cast("double") if isinstance(kind, DecimalType) else frame[name]

    rating = column(columns.rating).cast("float") if columns.rating else functions.lit(1.0).cast("float")
    cells = frame.select(column(columns.user).alias("user"), column(columns.item).alias("item"), rating.alias("rating"))

    def pack(rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield from batches(chunks(rows, columns))

    frame = cells.mapInArrow(pack, SCHEMA).persist(StorageLevel.MEMORY_AND_DISK)
    found = [piece.content for piece in told(frame)]
    errors = [each["error"] for each in found if "error" in each]
    n_cells = sum(each.get("cells", 0) for each in found)
    if errors or not n_cells:
        frame.unpersist()
        raise errors[0] if errors else DataError("there are no ratings: the data frame has no rows")
    users, items = (np.sort(np.concatenate([each[side] for each in found])) for side in ("users", "items"))
    return Packed(frame, n_cells, users, items)


def chunks(rows: Iterator[pa.RecordBatch], columns: Columns) -> Iterator[Piece]:
    """The pieces of a partition; one that has a fault tells the driver, and has no others."""
    from pyspark import TaskContext

    context = TaskContext.get()
    assert context is not None
    src = context.partitionId()
    try:
        for seq, cells in enumerate(_cells(rows, columns)):
            yield Piece(0, "chunk", src, seq, cells)
            users, items = (ids[:: max(1, len(ids) // SAMPLES)] for ids in (cells.users, cells.items))
            yield Piece(0, TOLD, src, seq, {"cells": len(cells.values), "users": users, "items": items})
    except DataError as error:
        yield Piece(0, TOLD, src, -1, {"error": error})


def _cells(rows: Iterator[pa.RecordBatch], columns: Columns) -> Iterator[Cells]:
    held, size = list[Cells](), 0
    for batch in rows:
        if not len(batch):
            continue
        users, items = (_ids(batch.column(side), getattr(columns, side)) for side in ("user", "item"))
        held.append(Cells(users, items, _ratings(batch.column("rating"), columns.rating)))
        size += len(users)
        if size >= CHUNK_CELLS:
            yield Cells(*map(np.concatenate, zip(*held, strict=True)))
            held, size = [], 0
    if held:
        yield Cells(*map(np.concatenate, zip(*held, strict=True)))


def _ids(column: pa.Array, name: str) -> NDArray[np.int32]:
    """Integers of 32 bits, from numbers of any type."""
    rule = f"column {name!r} must hold integers of 32 bits"
    if column.null_count:
        raise DataError(f"{rule}, got null")
    limits = np.iinfo(np.int32)
    numbers = column.to_numpy(zero_copy_only=False)
    with np.errstate(invalid="ignore"):
        good = (numbers >= limits.min) & (numbers <= limits.max)
        if numbers.dtype.kind == "f":
            good &= numbers == np.floor(numbers)
    if not good.all():
        raise DataError(
            f"{rule}, got {numbers[np.argmin(good)]}: StringIndexer makes integers of any ids, and so do ids as text"
        )
    return np.ascontiguousarray(numbers, np.int32)


def _ratings(column: pa.Array, name: str) -> NDArray[np.float32]:
    rule = f"column {name!r} must hold finite numbers"
    if column.null_count:
        raise DataError(f"{rule}, got null")
    values = np.ascontiguousarray(column.to_numpy(zero_copy_only=False), np.float32)
    good = np.isfinite(values)
    if not good.all():
        raise DataError(f"{rule}, got {values[np.argmin(good)]}")
    return values

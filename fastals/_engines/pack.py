"""One pass over the ratings: checked, and packed into large chunks. The frame that they come in is read this once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .._core import ArgumentTypeError, DataError
from .ask import Columns
from .pieces import SCHEMA, TOLD, Piece, batches, this_task, told

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.types import DataType

CHUNK_CELLS, CHUNK_BYTES = 1 << 20, 1 << 26
"""A chunk is made of so many ratings, or of rows of so many bytes, which may be long strings.

Java has several copies of a row in hand while it gives it to Python, for each core: 12 MB are no matter to it.
"""
SAMPLES = 512
"""Ids of a chunk that the driver sees, to cut the ids into ranges, and as many to say how many there are."""


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
        Persisted pieces of the kind "chunk", each of :class:`Cells`, and what was told. Where ids are strings
        (``text``), of the kind "coded" until they are numbered: numbers that count for the chunk alone; a piece of the
        kind "labels" for each side, which is its key, has what they stand for.
    n_cells : int
    users, items : arrays
        Samples of their ids, by ratings, ascending.
    n_users, n_items : int
        How many there are, within a few percent.
    text : (bool, bool)
        Whether ids of users and of items are strings.
    """

    frame: DataFrame
    n_cells: int
    users: NDArray[np.int32]
    items: NDArray[np.int32]
    n_users: int
    n_items: int
    text: tuple[bool, bool] = (False, False)

    @property
    def chunks(self) -> DataFrame:
        """The pieces of ratings."""
        return self.frame.filter(self.frame["kind"] == "chunk")


def packed(frame: DataFrame, columns: Columns, held: list[DataFrame]) -> Packed:
    """Pack ratings; what is persisted is added to ``held``.

    Raises
    ------
    ArgumentTypeError
        A column is neither of numbers nor, of ids, of strings.
    DataError
        There is no such column; ids that are no integers of 32 bits; ratings that are no numbers; no ratings at all.
    """
    from pyspark.sql import functions
    from pyspark.sql.types import DecimalType, FloatType, StringType
    from pyspark.storagelevel import StorageLevel

    found = [column_of(frame, columns.user, text=True), column_of(frame, columns.item, text=True)]
    text = isinstance(found[0][1], StringType), isinstance(found[1][1], StringType)
    one = functions.lit(1.0).cast("float"), FloatType()
    found.append(column_of(frame, columns.rating) if columns.rating else one)
    token = uuid4().hex

    def pack(rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        # Spark knows what it has persisted by its plan: were this the same in all fits, one of a path that has been
        # written to again would get the chunks of the fit before
        assert token
        yield from batches(_chunks(rows, columns, text))

    # NumPy has no decimals
    numbers = [column.cast("double") if isinstance(kind, DecimalType) else column for column, kind in found]
    cells = frame.select(*(each.alias(name) for each, name in zip(numbers, ("user", "item", "rating"), strict=True)))
    # dropping a view lets go of what is persisted by the same plan, which no other has with this condition
    cells = cells.filter(functions.lit(token) == token)
    other = None if any(text) else _where_batches_are_not_measured(cells)
    pieces = (cells if other is None else _seen_from(other, cells)).mapInArrow(pack, SCHEMA)
    here = pieces if other is None else _seen_from(frame.sparkSession, pieces)
    held.append(pieces.persist(StorageLevel.MEMORY_AND_DISK))
    return summed_up(here, told(held[-1]), text)


def summed_up(frame: DataFrame, facts: list[Piece], text: tuple[bool, bool] = (False, False)) -> Packed:
    """See what pieces have told."""
    found = [piece.content for piece in facts]
    errors = [each["error"] for each in found if "error" in each]
    n_cells = sum(each.get("cells", 0) for each in found)
    if errors or not n_cells:
        raise errors[0] if errors else DataError("there are no ratings: the data frame has no rows")
    if any(text):
        none = np.empty(0, np.int32)
        return Packed(frame, n_cells, none, none, 0, 0, text)
    users, items = (np.sort(np.concatenate([each[side] for each in found])) for side in ("users", "items"))
    n_users, n_items = (_number_of([each[side] for each in found]) for side in ("some_users", "some_items"))
    return Packed(frame, n_cells, users, items, n_users, n_items)


def column_of(frame: DataFrame, name: str, *, text: bool = False) -> tuple[Any, DataType]:
    """A column of numbers, or with ``text`` of strings, and its type."""
    from pyspark.sql.types import NumericType, StringType

    same = columns_named(frame, name)
    if len(same) != 1:
        raise DataError(f"there must be one column {name!r}, got {', '.join(map(repr, frame.columns))}")
    column = frame[f"`{same[0].replace('`', '``')}`"]
    kind = frame.schema[same[0]].dataType
    if text and isinstance(kind, StringType):
        return column.cast("string"), StringType()  # of whatever collation
    if not isinstance(kind, NumericType):
        rule = "numbers or strings" if text else "numbers"
        raise ArgumentTypeError(f"column {name!r} must hold {rule}, got {kind.simpleString()}")
    return column, kind


def columns_named(frame: DataFrame, name: str) -> list[str]:
    """The columns that Spark would take for the one of this name."""
    exactly = str(frame.sparkSession.conf.get("spark.sql.caseSensitive")) == "true"
    return [each for each in frame.columns if each == name or (not exactly and each.lower() == name.lower())]


# ---------------------------------------------------------------------------------------------------------------------
# a session apart

BATCH_ROWS, BATCH_BYTES = (f"spark.sql.execution.arrow.max{what}PerBatch" for what in ("Records", "Bytes"))
UNMEASURED = str((1 << 31) - 1)
FEW_ROWS = 100_000
PYTHON = re.compile("Python|Pandas|InArrow")
"""What the steps of a plan are called in which Python has a part."""


def _where_batches_are_not_measured(frame: DataFrame) -> Any:
    """A session without a limit of bytes for batches, if all that is computed in it has few and short rows; else None.

    With any other limit Spark adds up the sizes of all buffers after each row, which takes three times as long as all
    else. A session of its own, since it would count for other threads, too, whose rows may be long.
    """
    from pyspark.sql.utils import is_remote

    spark, settings = frame.sparkSession, frame.sparkSession.conf
    if is_remote():  # where a name must stay as long as a frame that was found by it
        return None
    if not 0 < int(settings.get(BATCH_ROWS) or 0) <= FEW_ROWS or PYTHON.search(_plan_of(frame)):
        return None
    other = spark.newSession()
    for name, value in settings.getAll.items():
        if settings.isModifiable(name):
            other.conf.set(name, value)
    other.conf.set(BATCH_BYTES, UNMEASURED)
    return other


def _plan_of(frame: DataFrame) -> str:
    spark, name = frame.sparkSession, f"fastals_{uuid4().hex}"
    frame.createOrReplaceTempView(name)
    try:
        return str(spark.sql(f"EXPLAIN SELECT * FROM {name}").collect()[0][0])
    finally:
        spark.catalog.dropTempView(name)


def _seen_from(spark: Any, frame: DataFrame) -> DataFrame:
    """The same frame in another session of its application."""
    name = f"fastals_{uuid4().hex}"
    frame.createGlobalTempView(name)
    try:
        found: DataFrame = spark.table(f"{spark.conf.get('spark.sql.globalTempDatabase')}.{name}")
        return found
    finally:
        spark.catalog.dropGlobalTempView(name)


# ---------------------------------------------------------------------------------------------------------------------
# in the tasks


def _chunks(rows: Iterable[pa.RecordBatch], columns: Columns, text: tuple[bool, bool]) -> Iterator[Piece]:
    """The pieces of a partition; one that has a fault tells the driver, and has no others."""
    src = this_task().partitionId()
    try:
        for seq, table in enumerate(_tables(rows)):
            (users, user_labels), (items, item_labels) = (
                _coded(table[side], name) if is_text else (_ids(table[side], name), None)
                for side, name, is_text in zip(("user", "item"), columns, text, strict=False)
            )
            cells = Cells(users, items, _ratings(table["rating"], columns.rating))
            if not any(text):
                yield from chunk(src, seq, cells)
                continue
            yield Piece(0, "coded", src, seq, cells)
            yield Piece(0, TOLD, src, seq, {"cells": len(users)})
            for side, labels in enumerate((user_labels, item_labels)):
                if labels is not None:
                    yield Piece(side, "labels", src, seq, labels)
    except DataError as error:
        yield Piece(0, TOLD, src, -1, {"error": error})


def chunk(src: int, seq: int, cells: Cells) -> Iterator[Piece]:
    """A chunk, and what it tells."""
    yield Piece(0, "chunk", src, seq, cells)
    facts: dict[str, Any] = {"cells": len(cells.values)}
    for side, ids in (("users", cells.users), ("items", cells.items)):
        facts |= {side: ids[:: max(1, len(ids) // SAMPLES)], f"some_{side}": _some_of(distinct(ids))}
    yield Piece(0, TOLD, src, seq, facts)


def _tables(rows: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    held, n, size = list[pa.RecordBatch](), 0, 0
    for batch in rows:
        held.append(batch)
        n, size = n + len(batch), size + batch.nbytes
        if n >= CHUNK_CELLS or size >= CHUNK_BYTES:
            yield pa.Table.from_batches(held)
            held, n, size = [], 0, 0
    if n:
        yield pa.Table.from_batches(held)


def _ids(column: pa.ChunkedArray, name: str) -> NDArray[np.int32]:
    """Integers of 32 bits, from numbers of any type."""
    rule = f"column {name!r} must hold integers of 32 bits"
    if column.null_count:
        raise DataError(f"{rule}, got null")
    numbers = column.to_numpy()
    if numbers.dtype == np.float32:
        numbers = numbers.astype(np.float64)  # which has the limits exactly
    limits = np.iinfo(np.int32)
    good = (numbers >= limits.min) & (numbers <= limits.max)
    if numbers.dtype.kind == "f":
        good &= numbers == np.floor(numbers)
    if not good.all():
        wrong = numbers[np.argmin(good)].item()
        raise DataError(f"{rule}, or strings, got {wrong}: cast to strings, any ids will do")
    return np.ascontiguousarray(numbers, np.int32)


def _coded(column: pa.ChunkedArray, name: str) -> tuple[NDArray[np.int32], pa.Array]:
    """Strings as numbers, and what these stand for."""
    if column.null_count:
        raise DataError(f"column {name!r} must hold strings, got null")
    coded = column.dictionary_encode().unify_dictionaries()
    return np.concatenate([part.indices.to_numpy() for part in coded.chunks]), coded.chunk(0).dictionary


def _ratings(column: pa.ChunkedArray, name: str) -> NDArray[np.float32]:
    rule = f"column {name!r} must hold finite numbers of 32 bits"
    if column.null_count:
        raise DataError(f"{rule}, got null")
    numbers = column.to_numpy()
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(numbers, np.float32)
    good = np.isfinite(values)
    if not good.all():
        raise DataError(f"{rule}, got {numbers[np.argmin(good)].item()}")
    return values


def parted(keys: NDArray[np.integer[Any]], n: int) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Where each of the keys 0, ..., n - 1 stands, if it does."""
    order = np.argsort(keys.astype(np.uint16) if n <= 1 << 16 else keys, kind="stable")  # of 16 bits by radix
    bounds = np.searchsorted(keys[order], np.arange(n + 1))
    for key in np.flatnonzero(np.diff(bounds)).tolist():
        yield key, order[bounds[key] : bounds[key + 1]]


# ---------------------------------------------------------------------------------------------------------------------
# how many ids there are


def distinct(numbers: NDArray[Any]) -> NDArray[Any]:
    """The numbers, each once, ascending; np.unique hashes them, and takes a hundred times as long where many differ."""
    ascending = np.sort(numbers)
    first = np.ones(len(ascending), np.bool_)
    np.not_equal(ascending[1:], ascending[:-1], out=first[1:])
    found: NDArray[Any] = ascending[first]
    return found


def _some_of(ids: NDArray[np.int32]) -> NDArray[np.int32]:
    """Of distinct ids those with the least hashes, by which any sets of them can be counted together.

    K. Beyer, P. Haas, B. Reinwald, Y. Sismanis, R. Gemulla: On synopses for distinct-value estimation under multiset
    operations, SIGMOD 2007.
    """
    return ids[np.argpartition(hashed(ids), SAMPLES)[:SAMPLES]] if len(ids) > SAMPLES else ids


def _number_of(some: list[NDArray[np.int32]]) -> int:
    """How many distinct ids there are, from some of those of each chunk: within 5 percent, mostly."""
    hashes = np.sort(hashed(distinct(np.concatenate(some))))
    return len(hashes) if len(hashes) < SAMPLES else int((SAMPLES - 1) / (float(hashes[SAMPLES - 1]) / 2.0**64))


def hashed(ids: NDArray[np.int32]) -> NDArray[np.uint64]:
    """A number for each id, as if drawn at random."""
    x = ids.astype(np.int64).view(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return (x ^ (x >> np.uint64(32))) * np.uint64(0xBF58476D1CE4E5B9)

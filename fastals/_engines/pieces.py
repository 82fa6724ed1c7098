"""What goes through Spark: few large rows, each a piece of something that a task makes and another one needs.

A frame of pieces has the columns of ``SCHEMA``. What a piece holds is pickled: Spark carries closures that way already.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from threading import Lock
from typing import Any, NamedTuple
from uuid import uuid4
from weakref import WeakKeyDictionary

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

SCHEMA = "key int, kind string, src int, seq int, data binary, told binary"
ARROW = pa.schema(
    [
        ("key", pa.int32()),
        ("kind", pa.string()),
        ("src", pa.int32()),
        ("seq", pa.int32()),
        ("data", pa.binary()),
        ("told", pa.binary()),
    ]
)
PIECE_BYTES = 1 << 26
"""What a piece holds at most, about: cells of a row in Spark, Arrow's batches and arrays in Java all end at 2 GB."""

TOLD = "told"
"""The kind of pieces that are for the driver. They have a column of their own, which is read without the others."""


class Piece(NamedTuple):
    """A row of a frame of pieces.

    Attributes
    ----------
    key : int
        The block that it is for; pieces of one key meet in one task.
    kind : str
        What it is.
    src, seq : int
        The block or partition that it comes from, and its number among those of that: the order of the pieces.
    content : object
        Whatever can be pickled.
    """

    key: int
    kind: str
    src: int
    seq: int
    content: Any


def batches(pieces: Iterable[Piece]) -> Iterator[pa.RecordBatch]:
    """One batch for each piece."""
    for piece in pieces:
        columns = [[piece.key], [piece.kind], [piece.src], [piece.seq]]
        heads = [pa.array(column, kind) for column, kind in zip(columns, ARROW.types, strict=False)]
        data = packed_content(piece.content)
        ends = pa.py_buffer(np.array([0, len(data)], np.int32))
        cell = pa.Array.from_buffers(pa.binary(), 1, [None, ends, pa.py_buffer(data)])
        none = pa.nulls(1, pa.binary())
        yield pa.record_batch([*heads, *((none, cell) if piece.kind == TOLD else (cell, none))], schema=ARROW)


def table(pieces: Iterable[Piece]) -> pa.Table:
    """All pieces as what a function of a cogroup returns."""
    return pa.Table.from_batches(batches(pieces), schema=ARROW)


def pieces_of(rows: pa.Table | pa.RecordBatch) -> Iterator[Piece]:
    """The pieces of a batch or of a table, in order of ``src`` and ``seq``."""
    keys, kinds, sources, numbers, data, told = (rows.column(name) for name in ARROW.names)
    order = np.lexsort((numbers.to_numpy(), sources.to_numpy())).tolist()
    for at in order:
        key, kind, src, seq = (column[at].as_py() for column in (keys, kinds, sources, numbers))
        yield Piece(key, kind, src, seq, content_of((told if kind == TOLD else data)[at].as_buffer()))


def contents(data: pa.Array) -> Iterator[Any]:
    """What pieces hold."""
    return (content_of(each.as_buffer()) for each in data)


# ---------------------------------------------------------------------------------------------------------------------
# contents as bytes: what pickle says, and behind that arrays as they are, which are copied once and read in place

ALIGNMENT = 64


def packed_content(content: Any) -> NDArray[np.uint8]:
    """The bytes of what a piece holds: lengths, the pickled structure, then the arrays."""
    buffers = list[pickle.PickleBuffer]()
    head = pickle.dumps(content, protocol=pickle.HIGHEST_PROTOCOL, buffer_callback=buffers.append)
    parts: list[NDArray[np.uint8]] = [np.frombuffer(head, np.uint8)]
    parts += [np.frombuffer(buffer.raw(), np.uint8) for buffer in buffers]
    sizes = np.array([len(parts), *map(len, parts)], np.int64)
    places = _places(sizes)
    out = np.zeros(places[-1], np.uint8)
    for part, first in zip([sizes.view(np.uint8), *parts], places, strict=False):
        out[first : first + len(part)] = part
    return out


def content_of(data: Any) -> Any:
    """What is in these bytes; arrays are views of them, which nobody writes to."""
    whole = memoryview(data)
    n = int(np.frombuffer(whole, np.int64, 1)[0])
    sizes = np.frombuffer(whole, np.int64, n + 1)
    places = _places(sizes)
    parts = [whole[first : first + size] for first, size in zip(places[1:], sizes[1:].tolist(), strict=False)]
    return pickle.loads(parts[0], buffers=parts[1:])


def _places(sizes: NDArray[np.int64]) -> list[int]:
    """Where the lengths and the parts begin, and where all ends."""
    room = [8 * len(sizes), *sizes[1:].tolist()]
    return [0, *np.cumsum([-(-size // ALIGNMENT) * ALIGNMENT for size in room]).tolist()]


# ---------------------------------------------------------------------------------------------------------------------
# frames of pieces

ADAPTIVE = "spark.sql.adaptive.enabled"


def persisted(frame: Any) -> Any:
    """Persist a frame, by a plan that stays what it is.

    Spark describes each query to its listeners, with the plans of all persisted frames that it rests on; those that it
    may adapt twice, as they were and as they became. In a chain of n frames that would be 2^n descriptions. The plan is
    made here and now, so that nothing else meets this setting.
    """
    with setting(frame.sparkSession, ADAPTIVE, "false"):
        return frame.persist()


@contextmanager
def setting(spark: Any, name: str, value: str) -> Iterator[None]:
    """A setting of a session for a while; where threads share the session, until the last of them needs it no more."""
    with _settings:
        held = _held.setdefault(spark, {}).setdefault(name, [None, 0])
    needed = False
    try:
        with _settings:
            if not held[1]:
                held[0] = spark.conf.get(name)
            held[1], needed = held[1] + 1, True
            spark.conf.set(name, value)
        yield
    finally:
        with _settings:
            held[1] -= needed
            if needed and not held[1]:
                spark.conf.set(name, held[0])


_settings = Lock()
_held: WeakKeyDictionary[Any, dict[str, list[Any]]] = WeakKeyDictionary()
"""Of settings that are not as they were: what they were, and how many need that they are not."""


@contextmanager
def discarded(*frames: Any) -> Iterator[None]:
    """Let go of frames if what is done with them fails, or is interrupted."""
    try:
        yield
    except BaseException:
        unpersist(frames)
        raise


def unpersist(frames: Iterable[Any]) -> None:
    """Let go of frames, as far as they can be reached."""
    for frame in frames:
        with suppress(Exception):  # the session may be gone as well
            frame.unpersist()


NO_DIRECTORY = "heckpoint directory has not been set"


def stored(frame: Any) -> Any:
    """Compute a frame, and cut it off from what it was made of: in the checkpoint directory, or else on two executors.

    What is on executors Spark clears away when no frame rests on it any more; files in the directory only where
    spark.cleaner.referenceTracking.cleanCheckpoints is set. The frame is told of by a name, since Spark Connect cannot
    be sent a checkpoint of what took more than some fifty steps.
    """
    from pyspark.storagelevel import StorageLevel

    spark, name = frame.sparkSession, f"fastals_{uuid4().hex}"
    alone = str(spark.conf.get("spark.master")).startswith("local")
    frame.createOrReplaceTempView(name)
    try:
        return spark.table(name).checkpoint()
    except Exception as error:  # classic Spark and Spark Connect say it each in its way
        if NO_DIRECTORY not in str(error):
            raise
        level = StorageLevel.MEMORY_AND_DISK if alone else StorageLevel.MEMORY_AND_DISK_2
        return spark.table(name).localCheckpoint(storageLevel=level)
    finally:
        spark.catalog.dropTempView(name)


def this_task() -> Any:
    """The task that runs here: its ``partitionId()``, and ``cpus()`` that it may use."""
    from pyspark import TaskContext

    context = TaskContext.get()
    assert context is not None, "this runs in tasks of Spark"
    return context


def told(frame: Any) -> list[Piece]:
    """What the tasks of a frame tell the driver, in order: this is what has them run."""
    rows = frame.filter(frame["kind"] == TOLD).drop("data").toArrow()
    return list(pieces_of(rows.append_column("data", pa.nulls(len(rows), pa.binary()))))

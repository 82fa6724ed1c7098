"""From ratings in a frame to factors in frames: what executors there are, one pass over the ratings, an engine."""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary, finalize

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .._core import (
    LOGGER,
    ArgumentTypeError,
    DataError,
    FactorArray,
    FastalsError,
    MissingDependencyError,
    ParameterError,
    __version__,
    processors,
    tables,
)
from .._data import Interactions, factorize, trusted
from .._models import ExplicitALS, ImplicitALS
from ._ask import Ask, Columns, Fitted
from ._block import drawn
from ._labels import labelled, numbered, sent_to_all, with_numbers
from ._pack import Cells, Packed, packed
from ._rows import PIECE_BYTES, SCHEMA, TOLD, Piece, batches, pieces_of, told

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

SIDES = ("users", "items")
DRAWN_TOGETHER = 1 << 14


def fit(frame: DataFrame, columns: Columns, ask: Ask) -> Fitted:
    """Fit factors to the ratings of a frame, which is read once.

    Raises
    ------
    DataError, ParameterError, ArgumentTypeError, NumericalError
        Of ratings and parameters that cannot be; of ``engine="task"`` where no executor holds it.
    MissingDependencyError
        The executors have no fastals, or another version.
    """
    estimator(ask)  # which refuses what cannot be, before any work
    executors = probe(frame.sparkSession)
    data, labels = packed(frame, columns), None
    held, text = [data.frame], data.text
    if any(text):
        data, labels, sorted_labels = numbered(data)
        held += [data.frame, sorted_labels]
    if ask.initial is not None:
        users, items = (_beginning(start, side, labels, text) for side, start in enumerate(ask.initial))
        ask = replace(ask, initial=(users, items))
    engine = choice(data, ask, executors)
    if engine == "task":
        users, items, losses = fit_in_one_task(data, ask, executors.slots)
    else:
        from ._blocks import fit_in_blocks

        users, items, losses = fit_in_blocks(data, ask, executors.slots)
    factors = [users, items]
    held += factors
    for side, is_text in enumerate(text):
        if labels is not None and is_text:
            factors[side] = _persisted(labelled(factors[side], labels, side))
            held.append(factors[side])
    users, items, pairs = (each.select("*") for each in (*factors, seen(data, labels, text, executors.slots)))
    _keep_as_long_as((users, items, pairs), held)
    return Fitted(users, items, pairs, losses, engine)


def _beginning(start: DataFrame, side: int, labels: DataFrame | None, text: tuple[bool, bool]) -> DataFrame:
    """Factors to start from, by numbers."""
    from pyspark.sql.types import StringType

    if isinstance(start.schema["id"].dataType, StringType) != text[side]:
        rule, got = ("strings", "numbers") if text[side] else ("numbers", "strings")
        raise ArgumentTypeError(f"ids of initial factors of {SIDES[side]} must be {rule}, as in the ratings, got {got}")
    if labels is not None and text[side]:
        start = with_numbers(start, labels, side)
    return start.select(start["id"].cast("int"), start["features"].cast("array<float>"))


def _keep_as_long_as(results: Sequence[DataFrame], held: list[DataFrame]) -> None:
    """Unpersist frames when the last result is gone: Spark does so with what RDDs hold, but never with frames."""
    left = len(results)

    def gone() -> None:
        nonlocal left
        left -= 1
        if not left:  # this may come anywhere, in the midst of a call of Spark too
            Thread(target=let_go, daemon=True).start()

    def let_go() -> None:
        with suppress(Exception):  # the session may be gone as well
            for frame in held:
                frame.unpersist()

    for each in results:
        finalize(each, gone).atexit = False


def _persisted(frame: DataFrame) -> DataFrame:
    from pyspark.storagelevel import StorageLevel

    return frame.persist(StorageLevel.MEMORY_AND_DISK)


# ---------------------------------------------------------------------------------------------------------------------
# what executors there are, what they can hold, and what that is good for


class Executors(NamedTuple):
    """What a look at them tells.

    Attributes
    ----------
    slots : int
        Tasks at a time: Spark's default parallelism.
    memory : int or None
        Bytes that a fit may take, the least that :func:`memory_left` finds; None: unknown.
    """

    slots: int
    memory: int | None


_probes: WeakKeyDictionary[SparkSession, Executors] = WeakKeyDictionary()


def probe(spark: SparkSession) -> Executors:
    """Look at the executors, once a session, by a small task for each slot.

    Raises
    ------
    MissingDependencyError
        They have no fastals, or another version than the driver.
    """
    if spark in _probes:
        return _probes[spark]
    expected = __version__

    def look(rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for _ in rows:
            pass
        memory = None
        try:  # what is pickled of this function needs no fastals
            from .._core import __version__ as version

            if version == expected:
                from ._engines import memory_left

                memory = memory_left()
        except ImportError as error:
            version = f"none ({error})"
        yield pa.record_batch([pa.array([version]), pa.array([memory], pa.int64())], ["version", "memory"])

    looks = spark.range(1 << 12).mapInArrow(look, "version string, memory long").collect()
    for version in {row["version"] for row in looks} - {expected}:
        raise MissingDependencyError(
            f"executors need the fastals of the driver, {expected}, and have {version}: "
            "docs/spark.md shows how spark.archives brings it to them"
        )
    limits = [row["memory"] for row in looks if row["memory"] is not None]
    _probes[spark] = Executors(max(1, len(looks)), min(limits, default=None))
    return _probes[spark]


SHARE = 0.6


def memory_left(root: Path = Path("/")) -> int | None:
    """Bytes that a fit may take in this process; None: unknown.

    ``SHARE``, since Spark's cache and other tasks may grow meanwhile, of the least of these: what the machine has
    available; what is left of the limit of the control group, that is, of the container, file caches aside; what is
    left of the limit that Spark puts on this process where ``spark.executor.pyspark.memory`` is given.
    """

    def number(path: str, pattern: str = r"\A(\d+)") -> int | None:
        try:
            found = re.search(pattern, (root / path).read_text(encoding="ascii"), re.MULTILINE)
        except (OSError, ValueError):
            return None
        return None if found is None else int(found[1])

    left = []
    machine = number("proc/meminfo", r"^MemAvailable:\s+(\d+) kB")
    if machine is not None:
        left.append(1024 * machine)
    for group in ("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"):
        limit, used = (number(f"sys/fs/cgroup/{name}") for name in group)
        if limit is not None and used is not None:
            cached = number(f"sys/fs/cgroup/{Path(group[0]).parent}/memory.stat", r"^(?:total_)?inactive_file (\d+)")
            left.append(limit - used + (cached or 0))
    own, pages = number("proc/self/limits", r"^Max address space\s+(\d+)"), number("proc/self/statm")
    if own is not None and pages is not None:
        left.append(own - pages * mmap.PAGESIZE)
    return max(0, int(SHARE * min(left))) if left else None


def choice(data: Packed, ask: Ask, executors: Executors) -> str:
    """Return the engine: one task where an executor holds what a fit needs.

    Raises
    ------
    ParameterError
        That is asked for where none does.
    """
    size = f"{data.n_cells} ratings of about {data.n_users} users and {data.n_items} items"
    if ask.engine == "blocks":
        LOGGER.info("engine 'blocks' for %s: it is asked for", size)
        return "blocks"
    need, room = memory_needed(data, ask), executors.memory
    needs = f"one task would need {need / 1e9:.3g} GB"
    has = "how much an executor has is unknown" if room is None else f"an executor has {room / 1e9:.3g} GB for it"
    if room is None or need <= room:
        LOGGER.info("engine 'task' for %s: %s, %s", size, needs, has)
        return "task"
    if ask.engine == "task":
        raise ParameterError(
            f"engine must be 'blocks' or 'auto' for {size}, got 'task': {needs}, {has}; "
            "more of spark.executor.memoryOverhead, or of spark.executor.pyspark.memory where that is set, raises it"
        )
    LOGGER.info("engine 'blocks' for %s: %s, %s", size, needs, has)
    return "blocks"


def memory_needed(data: Packed, ask: Ask) -> int:
    """Bytes that one task needs at its peak: of chunks on their way, or of a fit and where it starts."""
    fit = estimator(ask).estimate_memory(max(1, data.n_users), max(1, data.n_items), data.n_cells)
    start = 4 * ask.rank * (data.n_users + data.n_items)
    return max(CHUNK_CELL * data.n_cells, fit.total + start)


CHUNK_CELL = 30
"""Bytes of a rating on the way from chunks to interactions, at most."""


# ---------------------------------------------------------------------------------------------------------------------
# the engine of one task


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


def fit_in_one_task(data: Packed, ask: Ask, slots: int) -> tuple[DataFrame, DataFrame, tuple[float, ...]]:
    """Fit in one task, with all cores of its executor; returns factors, and the loss after each iteration."""
    spark = data.frame.sparkSession
    master, profile = str(spark.conf.get("spark.master")), whole_executor(spark)
    pieces = data.frame.filter(data.frame["kind"] == "chunk")
    for side, factors in zip(SIDES, ask.initial or (), strict=False):
        pieces = pieces.union(_shipped(factors, side, ask.rank))
    here = replace(ask, initial=None)

    def work(rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield from batches(
            fitted_pieces((piece for batch in rows for piece in pieces_of(batch)), here, cores(master), slots)
        )

    done = _persisted(pieces.repartition(1).mapInArrow(work, SCHEMA, profile=profile))
    [answer] = [piece.content for piece in told(done)]
    if "error" in answer:
        done.unpersist()
        raise answer["error"]
    users, items = (_persisted(_unpacked(done.filter(done["kind"] == side), slots)) for side in SIDES)
    return users, items, answer["losses"]


def fitted_pieces(pieces: Iterable[Piece], ask: Ask, threads: int, slots: int) -> Iterator[Piece]:
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
    again = np.append(False, indices[1:] == indices[:-1])
    again[indptr[:-1]] = False
    if again.any():
        places = np.flatnonzero(again | np.append(again[1:], False))
        cells = np.cumsum(~again)[places]
        values[places] = values[places][np.lexsort((values[places], cells))]
    columns = tables.transpose(indptr, indices, values, len(item_labels), np.float32, threads)
    return trusted((indptr, indices, values), columns, user_labels, item_labels)


def _start(ask: Ask, side: int, ids: NDArray[np.int32], given: list[Factors | DataError]) -> FactorArray:
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
    from pyspark.sql.types import ArrayType, FloatType, IntegerType, StructField, StructType

    def unpack(rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in rows:
            for piece in pieces_of(batch):
                ids, factors = piece.content
                n, k = factors.shape
                ends = pa.array(np.arange(0, n * k + 1, k, dtype=np.int32))
                yield pa.record_batch({"id": ids, "features": pa.ListArray.from_arrays(ends, factors.reshape(-1))})

    features = StructField("features", ArrayType(FloatType(), containsNull=False))
    schema = StructType([StructField("id", IntegerType(), nullable=False), features])  # as Spark's ALS has it
    return pieces.repartitionById(slots, pieces["seq"]).mapInArrow(unpack, schema)


def _shipped(factors: DataFrame, side: str, k: int) -> DataFrame:
    """Factors to start from, as pieces."""

    def ship(rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        rule = f"the initial factors of {side} must be rows of {k} numbers, as rank says, each with an id"
        for batch in rows:
            ids, features = batch.column("id"), batch.column("features")
            content: Factors | DataError = DataError(f"{rule}, got null")
            if not (ids.null_count or features.null_count or features.flatten().null_count):
                lengths, numbers = features.value_lengths().to_numpy(), features.flatten().to_numpy()
                if (lengths == k).all():
                    content = Factors(ids.to_numpy(), numbers.reshape(-1, k))
                else:
                    content = DataError(f"{rule}, got {lengths[np.argmax(lengths != k)]}")
            yield from batches([Piece(0, side, 0, 0, content)])

    return factors.mapInArrow(ship, SCHEMA)


# ---------------------------------------------------------------------------------------------------------------------
# what users have seen

SEEN_CELLS = 1 << 24
"""Ratings that are sorted by user together, about."""


def seen(data: Packed, labels: DataFrame | None, text: tuple[bool, bool], slots: int) -> DataFrame:
    """The items of each user, when they are asked for: pieces by user are what is shuffled."""
    parts = max(slots, -(-data.n_cells // SEEN_CELLS))

    def cut(rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in rows:
            for piece in pieces_of(batch):
                users, items, _ = piece.content
                keys = users % parts
                for key in range(parts):
                    mine = keys == key
                    yield from batches([Piece(key, "pairs", piece.src, piece.seq, (users[mine], items[mine]))])

    def gather(rows: pa.Table) -> pa.Table:
        held: dict[str, list[Any]] = {"pairs": [], "labels": []}
        for piece in pieces_of(rows):
            held[piece.kind].append(piece.content)
        users, items = (np.concatenate(each) for each in zip(*held["pairs"], strict=True))
        pairs = np.unique(users.astype(np.int64) << 32 | (items.astype(np.int64) + (1 << 31)))
        users, items = (pairs >> 32).astype(np.int32), ((pairs & 0xFFFFFFFF) - (1 << 31)).astype(np.int32)
        first = np.flatnonzero(np.append(True, users[1:] != users[:-1]))
        ends = pa.array(np.append(first, len(users)).astype(np.int32))
        told: Any = items
        if held["labels"]:
            ids, names = zip(*held["labels"], strict=True)
            order = np.argsort(np.concatenate(ids))
            told = pa.concat_arrays(names).take(order[items])
        return pa.table({"id": users[first], "items": pa.ListArray.from_arrays(ends, told)})

    pieces = data.frame.filter(data.frame["kind"] == "chunk").mapInArrow(cut, SCHEMA)
    if labels is not None and text[1]:
        pieces = pieces.union(sent_to_all(labels, 1, parts))
    lists = pieces.groupBy("key").applyInArrow(gather, f"id int, items array<{'string' if text[1] else 'int'}>")
    return labelled(lists, labels, 0) if labels is not None and text[0] else lists

"""What executors there are, what they hold, and all that a task of one may have."""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

import pyarrow as pa

from .._core import MissingDependencyError, __version__, processors
from .pieces import this_task

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


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
    """Look at the executors: once a session, by a small task for each slot; later only at how many slots there are.

    Raises
    ------
    MissingDependencyError
        They have no fastals, or another version than the driver.
    """
    slots = spark.range(1 << 12)  # whose partitions are as many
    if spark in _probes:
        known = _probes[spark]
        if str(spark.conf.get("spark.master")).startswith("local"):
            return known
        parts = slots.selectExpr("spark_partition_id() AS part").distinct().count()
        return Executors(parts, known.memory)
    expected, here = __version__, __name__

    def look(rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for _ in rows:
            pass
        memory = None
        try:  # what is pickled of this function needs no fastals
            from .._core import __version__ as version

            if version == expected:
                memory = import_module(here).memory_left()
        except ImportError as error:
            version = f"none ({error})"
        yield pa.record_batch([pa.array([version]), pa.array([memory], pa.int64())], ["version", "memory"])

    looks = slots.mapInArrow(look, "version string, memory long").collect()
    for version in {row["version"] for row in looks} - {expected}:
        raise MissingDependencyError(
            f"executors need the fastals of the driver, {expected}, and have {version}: "
            "docs/spark.md shows how spark.archives brings it to them"
        )
    limits = [row["memory"] for row in looks if row["memory"] is not None]
    return _probes.setdefault(spark, Executors(len(looks), min(limits, default=None)))


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
    local = re.fullmatch(r"local(?:\[(\d+|\*).*\])?", master)
    if local is None:
        return int(this_task().cpus())
    return processors() if local[1] == "*" else int(local[1] or 1)

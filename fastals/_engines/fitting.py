"""From ratings in a frame to factors in frames: what executors there are, one pass over the ratings, an engine."""

from __future__ import annotations

from dataclasses import replace
from threading import Thread
from typing import TYPE_CHECKING
from weakref import finalize

import numpy as np

from .._core import AXES, LOGGER, ArgumentTypeError, ParameterError
from .ask import Ask, Columns, Outcome
from .executors import Executors, probe
from .labels import labelled, numbered, seen, with_numbers
from .pack import Packed, packed
from .pieces import stored, unpersist
from .task import estimator, factors_of, fit_in_one_task, memory_needed

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def fit(frame: DataFrame, columns: Columns, ask: Ask) -> Outcome:
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
    held: list[DataFrame] = []
    try:
        fitted = _fit(frame, columns, ask, executors, held)
    except BaseException:
        unpersist(held)
        raise
    finalize(fitted.seen, _unpersist_later, held).atexit = False
    return fitted


def _fit(frame: DataFrame, columns: Columns, ask: Ask, executors: Executors, held: list[DataFrame]) -> Outcome:
    """Fit; what the ratings are persisted in is added to ``held``."""
    data, labels = packed(frame, columns, held), None
    text, slots = data.text, executors.slots
    if any(text):
        refuse_large_types(frame.sparkSession, "ids must be numbers")
        data, labels = numbered(data, slots, held)
    if ask.initial is not None:
        users, items = (_beginning(start, side, labels, text) for side, start in enumerate(ask.initial))
        ask = replace(ask, initial=(users, items))
    engine = choice(data, ask, executors)
    before = len(held)
    if engine == "task":
        done, losses = fit_in_one_task(data, ask, slots, held)
        users, items = (factors_of(done, axis, slots) for axis in AXES)
    else:
        from .blocks import fit_in_blocks

        refuse_large_types(frame.sparkSession, "engine must be 'task'")
        users, items, losses = fit_in_blocks(data, ask, slots)
        held += [users, items]
    made = held[before:]
    users, items = (
        stored(factors if labels is None or not text[side] else labelled(factors, labels, side))
        for side, factors in enumerate((users, items))
    )
    unpersist(made)
    pairs = None if any(text) else data.chunks
    return Outcome(users, items, seen(data, labels, text, slots), losses, engine, pairs)


def _beginning(start: DataFrame, side: int, labels: DataFrame | None, text: tuple[bool, bool]) -> DataFrame:
    """Factors to start from, by numbers."""
    from pyspark.sql.types import StringType

    if isinstance(start.schema["id"].dataType, StringType) != text[side]:
        rule, got = ("strings", "numbers") if text[side] else ("numbers", "strings")
        raise ArgumentTypeError(f"ids of initial factors of {AXES[side]} must be {rule}, as in the ratings, got {got}")
    if labels is not None and text[side]:
        start = with_numbers(start, labels, side)
    elif not text[side]:
        limits = np.iinfo(np.int32)  # no rating has another id, and casting might make it one that some have
        start = start.filter(start["id"].between(int(limits.min), int(limits.max)))
    return start.select(start["id"].cast("int"), start["features"].cast("array<float>"))


LARGE_TYPES = "spark.sql.execution.arrow.useLargeVarTypes"


def refuse_large_types(spark: SparkSession, otherwise: str) -> None:
    """Functions of groups must return the very types that this setting names, and cannot ask for it."""
    if str(spark.conf.get(LARGE_TYPES)) == "true":
        raise ParameterError(f"{otherwise} where {LARGE_TYPES} is true, or that setting false")


def _unpersist_later(frames: list[DataFrame]) -> None:
    """From where anything may be under way, a call of Spark too."""
    Thread(target=unpersist, args=(frames,), daemon=True).start()


# ---------------------------------------------------------------------------------------------------------------------
# the choice


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

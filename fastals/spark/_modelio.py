"""Models of Spark in folders, written and read by Spark itself, and models of one machine made of them, and back.

Nothing here needs py4j, and paths are Spark's alone: the same code runs over Spark Connect, on any file system.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pyspark.errors import AnalysisException
from pyspark.ml.util import MLReader, MLWriter
from pyspark.sql import functions as fn

from .._core import FileFormatError, ParameterError, check_path
from .._engines import Outcome
from ._layout import (
    METADATA,
    NUMBERED,
    OWN,
    SEEN,
    SIDES,
    SPARK_DEFAULTS,
    assembled,
    cells_of,
    check_own_line,
    check_sayable,
    check_spark_line,
    content_of_model,
    content_of_unknown,
    factor_batches,
    ids_of,
    kinds_of,
    line_of,
    parsed,
    reading_folder,
    seen_batches,
    side_of,
    spark_line,
)

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from .._models import ExplicitALS, ImplicitALS
    from ._model import ALSModel


# ---------------------------------------------------------------------------------------------------------------------
# writing


class ModelWriter(MLWriter):
    """Writes a model; see :meth:`ALSModel.write`."""

    def __init__(self, model: ALSModel) -> None:
        super().__init__()
        self.model = model

    def save(self, path: str) -> None:
        """Write the model to a folder."""
        write(self.model, check_path("path", path), self.shouldOverwrite)


def write(model: ALSModel, path: str, overwrite: bool) -> None:
    """Write a model to a folder; Spark's metadata, without which there is none, come last.

    Raises
    ------
    ParameterError
        Something is at ``path``, and is not to be replaced; or the model itself is read from there.
    """
    spark = model.userFactors.sparkSession
    frames = [model.userFactors, model.itemFactors]
    _make_room(spark, path, overwrite, frames if model.seen is None else [*frames, model.seen])
    content, kinds = model.origin or content_of_unknown(), {}
    for side, frame in zip(SIDES, frames, strict=True):
        kinds[f"{side}s"] = kind = frame.schema["id"].dataType.simpleString()
        if kind in NUMBERED:
            place = f"{path}/{OWN}/{side}Labels"
            _write_labels(frame, place)
            labels = spark.read.schema(f"id int, label {kind}").parquet(place)
            frame = frame.withColumnRenamed("id", "label").join(labels, "label")
        elif content.get("labels", {}).get(f"{side}s") == "index":
            kinds[f"{side}s"] = "index"
        frame.select(frame["id"].cast("int"), frame["features"].cast("array<float>")).write.parquet(
            f"{path}/{side}Factors"
        )
    if model.seen is not None:
        model.seen.write.parquet(f"{path}/{SEEN}")
    values = {param.name: model.getOrDefault(param) for param in model.params if model.isSet(param)}
    params = {name: value for name, value in values.items() if name in SPARK_DEFAULTS}
    own = {name: value for name, value in values.items() if name not in SPARK_DEFAULTS}
    line = line_of(content, kinds, model.seen is not None, params=own, engine=model.engine)
    _write_line(spark, f"{path}/{OWN}/{METADATA}", line)
    _write_line(
        spark, f"{path}/{METADATA}", spark_line(model.rank, uid=model.uid, version=spark.version, params=params)
    )


def _make_room(spark: SparkSession, path: str, overwrite: bool, frames: list[DataFrame]) -> None:
    """Refuse or remove what is at a path."""
    try:
        there = spark.read.format("binaryFile").option("recursiveFileLookup", True).load(path)
        files = set(there.inputFiles())
    except AnalysisException as error:
        if error.getCondition() == "PATH_NOT_FOUND":
            return
        raise
    if not overwrite:
        raise ParameterError(
            f"path must be a new folder, got {path!r}: model.write().overwrite().save(path) replaces what is there"
        )
    if any(files & set(frame.inputFiles()) for frame in frames):
        raise ParameterError(f"path must not be where the model itself is read from, got {path!r}: save it elsewhere")
    # partitions of nothing are no files: all that is there goes, and nothing comes
    nothing = spark.createDataFrame([], "line string, part int").write.partitionBy("part")
    nothing.option("partitionOverwriteMode", "static").mode("overwrite").text(path)


def _write_line(spark: SparkSession, path: str, line: str) -> None:
    spark.createDataFrame([(line,)], "value string").coalesce(1).write.text(path)


def _write_labels(frame: DataFrame, path: str) -> None:
    """Write the ids of a frame, numbered from 0 in their order: ``id int, label``; no task has them all."""
    kind = frame.schema["id"].dataType.simpleString()
    ordered = frame.select(frame["id"].alias("label")).sort("label").withColumn("part", fn.spark_partition_id())
    ordered = ordered.persist()
    counts = sorted(map(tuple, ordered.groupBy("part").count().collect()))
    first = dict(zip((part for part, _ in counts), np.cumsum([0, *(n for _, n in counts)]).tolist(), strict=False))

    def number(rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        at = None
        for batch in rows:
            if len(batch):
                at = first[batch.column("part")[0].as_py()] if at is None else at
                ids = np.arange(at, at + len(batch), dtype=np.int32)
                yield pa.record_batch([pa.array(ids), batch.column("label")], names=["id", "label"])
                at += len(batch)

    ordered.mapInArrow(number, f"id int, label {kind}").write.parquet(path)
    ordered.unpersist()


# ---------------------------------------------------------------------------------------------------------------------
# reading


class ModelReader(MLReader):
    """Reads models of a class; see :meth:`ALSModel.read`."""

    def __init__(self, kind: type[ALSModel]) -> None:
        super().__init__()
        self.kind = kind

    def load(self, path: str) -> ALSModel:
        """Read a model from a folder."""
        return read(self.kind, self.sparkSession, check_path("path", path))


def read(kind: type[ALSModel], spark: SparkSession, path: str) -> ALSModel:
    """Read a model of this class, that fastals or Spark's own ALS has written.

    Raises
    ------
    FileFormatError
        There is none, or a damaged one.
    """
    with reading_folder(path), _told(path):
        uid, rank, params = check_spark_line(_line(spark, f"{path}/{METADATA}"))
        own = None
        if _is_there(spark, f"{path}/{OWN}"):
            check_own_line(own := _line(spark, f"{path}/{OWN}/{METADATA}"))
        frames = {}
        for side in SIDES:
            frame = _table(spark, path, f"{side}Factors", id="int", features="array<float>")
            if own is not None and own["labels"][f"{side}s"] in NUMBERED:
                labels = _table(spark, path, f"{OWN}/{side}Labels", id="int", label=own["labels"][f"{side}s"])
                frame = frame.join(labels, "id", "left").select(labels["label"].alias("id"), "features")
            frames[f"{side}Factors"] = frame
        _check(frames, rank)
        users, items = frames.values()
        seen = None
        if own is not None and own["seen"]:
            kinds = [frame.schema["id"].dataType.simpleString() for frame in (users, items)]
            seen = _table(spark, path, SEEN, id=kinds[0], items=f"array<{kinds[1]}>")
        content = own or {}
        fitted = Outcome(users, items, seen, tuple(content.get("loss_history", ())), content.get("engine", ""))
        model = kind(fitted, rank, uid=uid, origin=own)
        for name, value in {**params, **content.get("params", {})}.items():
            if model.hasParam(name):
                model.set(model.getParam(name), value)
        return model


@contextmanager
def _told(path: str) -> Iterator[None]:
    """Turn what Spark raises while it reads a folder into an error that names it."""
    try:
        yield
    except Exception as error:
        if not type(error).__module__.startswith(("pyspark.", "py4j.")):
            raise
        reason = " ".join(str(error).partition("\tat ")[0].split())
        raise FileFormatError(f"{path} is not a usable ALSModel of Spark: {reason:.600}") from error


def _is_there(spark: SparkSession, path: str) -> bool:
    try:
        return bool(spark.read.format("binaryFile").load(path).schema)
    except AnalysisException as error:
        if error.getCondition() == "PATH_NOT_FOUND":
            return False
        raise


def _line(spark: SparkSession, path: str) -> dict[str, Any]:
    rows = spark.read.schema("value string").text(path).filter("value != ''").take(1)
    if not rows:
        raise ValueError(f"{path} is empty")
    return parsed(rows[0][0])


def _table(spark: SparkSession, path: str, name: str, **kinds: str) -> DataFrame:
    """A table in the folder, whose columns must be of these types."""
    frame = spark.read.parquet(f"{path}/{name}")
    has = {field.name: field.dataType.simpleString() for field in frame.schema}
    for column, kind in kinds.items():
        if has.get(column) != kind:
            raise ValueError(f"{name}: column {column!r} must be {kind}, but is {has.get(column, 'missing')}")
    return frame.select(*kinds)


def _check(frames: Mapping[str, DataFrame], rank: int) -> None:
    """Refuse factors that are none, in one pass in which the driver sees but a few numbers."""
    found = [
        frame.agg(
            fn.lit(name).alias("name"),
            fn.count(fn.lit(1)).alias("rows"),
            fn.count_distinct("id").alias("ids"),
            fn.count_if(fn.isnull("id")).alias("nameless"),
            _first_id(fn.isnull("features") | (fn.size("features") != rank)).alias("odd"),
            _first_id(fn.exists("features", lambda x: fn.isnull(x) | fn.isnan(x - x))).alias("infinite"),
        )
        for name, frame in frames.items()
    ]
    for row in reduce(lambda one, other: one.union(other), found).collect():
        if not row.rows:
            raise ValueError(f"{row.name} has no rows")
        if row.nameless:
            raise ValueError(f"{row.name}: {row.nameless} of {row.rows} rows have no id, or one without a label")
        if row.odd is not None:
            raise ValueError(f"{row.name}: id {row.odd} has not as many factors as the rank says, {rank}")
        if row.infinite is not None:
            raise ValueError(f"{row.name}: the factors of id {row.infinite} are not finite")
        if row.ids != row.rows:
            raise ValueError(f"{row.name}: {row.rows} rows have only {row.ids} ids, some are there more than once")


def _first_id(is_so: Any) -> Any:
    return fn.min(fn.when(is_so, fn.col("id"))).cast("string")


# ---------------------------------------------------------------------------------------------------------------------
# to one machine, and back


def to_local(model: ALSModel) -> ExplicitALS | ImplicitALS:
    """The same model on one machine."""
    users, items = (
        side_of(table.to_batches(), table.num_rows, model.rank, name)
        for name, table in (("userFactors", model.userFactors.toArrow()), ("itemFactors", model.itemFactors.toArrow()))
    )
    cells = None if model.seen is None else cells_of(model.seen.toArrow().to_batches(), users.ids, items.ids)
    return assembled(model.origin or content_of_unknown(), users, items, cells)


def from_local(kind: type[ALSModel], model: ExplicitALS | ImplicitALS, spark: SparkSession) -> ALSModel:
    """A model of one machine as one of Spark, of this class.

    Raises
    ------
    ParameterError, DataError
        Spark's ALSModel cannot say it.
    """
    state = check_sayable(model)
    ids = {side: ids_of(labels, f"{side}s") for side, labels in zip(SIDES, (state.users, state.items), strict=True)}
    users, items = (
        spark.createDataFrame(pa.Table.from_batches(factor_batches(ids[side], factors)))
        for side, factors in zip(SIDES, (state.user_factors, state.item_factors), strict=True)
    )
    seen = None
    if state.pairs.nnz or state.pairs.known is not None:
        seen = spark.createDataFrame(pa.Table.from_batches(seen_batches(state, ids["user"], ids["item"])))
    origin = json.loads(line_of(content_of_model(model), kinds_of(state, ids), seen is not None))
    return kind(Outcome(users, items, seen, state.loss_history, ""), state.user_factors.shape[1], origin=origin)

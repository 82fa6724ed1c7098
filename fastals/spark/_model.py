"""What a fit leaves: factors in frames, and what Spark's tasks make of them with the kernels of fastals."""
# ruff: noqa: N802, N815 -- names are those of Spark

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyspark import TaskContext
from pyspark.ml import Model
from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.recommendation import _ALSModelParams
from pyspark.ml.util import MLReadable, MLReader, MLWritable, MLWriter
from pyspark.sql import functions as fn
from pyspark.sql.types import ArrayType, DataType, FloatType, StringType, StructField, StructType

from .._core import ArgumentTypeError, ParameterError, check_int, kernels
from .._engines import Outcome, column_of, probe
from .._topn import ItemLists, Panels, top_n

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

    from .._models import ExplicitALS, ImplicitALS

LIST_ENTRIES = 1 << 22
"""A task makes lists of so many entries at a time, about."""

ID, X, Y = "__fastals_id", "__fastals_x", "__fastals_y"
"""Columns that a frame has for a while beside its own."""

# ---------------------------------------------------------------------------------------------------------------------
# parameters

UNDEFINED = Params()
UNDEFINED.uid = "undefined"
"""Whose parameters are that stand in the body of a class."""


def checked(param: Any, rule: str, holds: Callable[[Any], bool]) -> Any:
    """The same parameter, which refuses values that break a rule as soon as they are set."""

    def convert(value: Any) -> Any:
        converted = param.typeConverter(value)
        if not holds(converted):
            raise ParameterError(f"{param.name} must be {rule}, got {value!r}")
        return converted

    return Param(UNDEFINED, param.name, param.doc, convert)


def one_of(name: str, doc: str, *choices: str, any_case: bool = False) -> Any:
    """A parameter that is one of some words."""
    param = Param(UNDEFINED, name, doc, TypeConverters.toString)
    rule = f"one of {', '.join(map(repr, choices))}"
    return checked(param, rule, lambda value: (value.lower() if any_case else value) in choices)


KINDS = "integers of 32 bits in a column of any numeric type, or strings"


class ModelParams(_ALSModelParams):
    """Parameters that the estimator and the model have."""

    userCol = Param(UNDEFINED, "userCol", f"column of user ids: {KINDS}", TypeConverters.toString)
    itemCol = Param(UNDEFINED, "itemCol", f"column of item ids: {KINDS}", TypeConverters.toString)
    blockSize = checked(_ALSModelParams.blockSize, "> 0", lambda value: value > 0)
    coldStartStrategy = one_of("coldStartStrategy", _ALSModelParams.coldStartStrategy.doc, "nan", "drop", any_case=True)
    excludeSeen = Param(
        UNDEFINED, "excludeSeen", "whether lists leave out what the ratings hold", TypeConverters.toBoolean
    )

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._setDefault(userCol="user", itemCol="item", coldStartStrategy="nan", excludeSeen=False)

    def getExcludeSeen(self) -> bool:
        """Return whether lists leave out what the ratings hold."""
        return bool(self.getOrDefault("excludeSeen"))

    def setExcludeSeen(self, value: bool) -> Any:
        """Set whether lists leave out what the ratings hold."""
        return self._set(excludeSeen=value)

    def setUserCol(self, value: str) -> Any:
        """Set the name of the column of user ids."""
        return self._set(userCol=value)

    def setItemCol(self, value: str) -> Any:
        """Set the name of the column of item ids."""
        return self._set(itemCol=value)

    def setPredictionCol(self, value: str) -> Any:
        """Set the name of the column of predictions."""
        return self._set(predictionCol=value)

    def setColdStartStrategy(self, value: str) -> Any:
        """Set what becomes of rows with unknown ids: "nan" or "drop"."""
        return self._set(coldStartStrategy=value)

    def setBlockSize(self, value: int) -> Any:
        """Set Spark's size of blocks of factors; without meaning here."""
        return self._set(blockSize=value)


# ---------------------------------------------------------------------------------------------------------------------
# columns


def column_like(ids: DataFrame, frame: DataFrame, name: str) -> Column:
    """A column of a frame that can be compared with the ids of a model: of strings, or of numbers, as these are."""
    column, is_text = column_of(frame, name, text=True)
    if is_text != isinstance(ids.schema["id"].dataType, StringType):
        rule, got = ("numbers", "strings") if is_text else ("strings", "numbers")
        raise ArgumentTypeError(f"column {name!r} must hold {rule}, as in fit, got {got}: cast it")
    return column


def ids_in(factors: DataFrame, frame: DataFrame, name: str) -> Column:
    """A column as ids of a model; one that cannot be an id ends the job that reads it, with an error that names it."""
    column, kind = column_like(factors, frame, name), factors.schema["id"].dataType
    rule, *limits = IDS[kind.simpleString()]
    good = column.isNotNull()
    if limits:
        good &= (column % 1 == 0) & column.between(*limits)
    got = fn.coalesce(column.cast("string"), fn.lit("null"))
    error = fn.concat(fn.lit(f"column {name!r} must hold {rule}, got "), got)
    return fn.when(good, column.cast(kind)).otherwise(fn.raise_error(error).cast(kind))


IDS: dict[str, Any] = {
    "int": ("integers of 32 bits", -(1 << 31), (1 << 31) - 1),
    "bigint": ("integers of 64 bits", -(1 << 63), (1 << 63) - 1),
    "string": ("strings",),
}
"""What ids of a type must be, and the least and the greatest."""


# ---------------------------------------------------------------------------------------------------------------------
# what tasks compute


def matrix(features: pa.Array) -> NDArray[np.float32]:
    """Lists of one length, none missing, as the rows of an array."""
    values = features.flatten().to_numpy(zero_copy_only=False)
    return np.ascontiguousarray(values, np.float32).reshape(len(features), -1)


def predicted(users: pa.Array, items: pa.Array) -> pa.Array:
    """The inner product of each pair of rows, which depends on the two alone; NaN where one is missing."""
    scores = np.full(len(users), np.nan, np.float32)
    known = pc.and_(users.is_valid(), items.is_valid())
    places = np.flatnonzero(known.to_numpy(zero_copy_only=False))
    if len(places):
        at = np.arange(len(places), dtype=np.int32)
        scores[places] = kernels.pair_scores(matrix(users.filter(known)), matrix(items.filter(known)), at, at, 1)
    return pa.array(scores)


class Table(NamedTuple):
    """What lists are made of: rows by ascending id, packed for searches."""

    ids: pa.Array
    panels: Panels

    @classmethod
    def of(cls, pieces: list[bytes], threads: int) -> Table:
        """A table of what :func:`shipped` has made of a frame."""
        ids, factors = zip(*map(pickle.loads, pieces), strict=True)
        ids = pa.concat_arrays(ids)
        order = pc.sort_indices(ids)
        rows = np.concatenate(factors)[order.to_numpy()]
        return cls(ids.take(order), Panels(rows, threads))

    def lists(self, queries: pa.RecordBatch, n: int, schema: pa.Schema, threads: int) -> Iterator[pa.RecordBatch]:
        """The best n of the table for each query (id, features, items), without those that stand in its items."""
        n = min(n, len(self.ids))
        step = max(1, LIST_ENTRIES // n)
        for first in range(0, len(queries), step):
            some = queries.slice(first, step)
            found, scores = top_n(
                matrix(some.column("features")), self.panels, n, seen=self._places(some), num_threads=threads
            )
            is_found = found >= 0
            ends = np.concatenate([[0], np.cumsum(is_found.sum(axis=1))])
            entry = schema.field(1).type.value_type
            entries = pa.StructArray.from_arrays(
                [self.ids.take(pa.array(found[is_found])), pa.array(scores[is_found])], fields=list(entry)
            )
            lists = pa.ListArray.from_arrays(pa.array(ends, pa.int32()), entries)
            yield pa.record_batch([some.column("id"), lists], schema=schema)

    def _places(self, queries: pa.RecordBatch) -> ItemLists | None:
        """Where the items of each query stand in the table; those that it has not are left out."""
        items = queries.column("items")
        if items.null_count == len(items):
            return None
        lengths = pc.fill_null(pc.list_value_length(items), 0).to_numpy()
        ends = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        places = pc.index_in(items.flatten(), value_set=self.ids)
        if places.null_count:
            known = places.is_valid().to_numpy(zero_copy_only=False)
            ends, places = np.concatenate([[0], np.cumsum(known)])[ends], places.drop_null()
        return ItemLists(ends[:-1], ends[1:], places.to_numpy())


def shipped(rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Each batch of factors (id, features) as one piece of a table."""
    for batch in rows:
        if len(batch):
            piece = pickle.dumps((batch.column("id"), matrix(batch.column("features"))), pickle.HIGHEST_PROTOCOL)
            yield pa.record_batch([pa.array([piece], pa.binary())], names=["piece"])


def searching(n: int, names: tuple[str, str]) -> Any:
    """A function for ``mapInArrow``: partitions hold the pieces of a table, and behind them queries."""

    def search(rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        context = TaskContext.get()
        threads = context.cpus() if context else 1
        table, pieces = None, list[bytes]()
        for batch in rows:
            pieces += batch.column("piece").drop_null().to_pylist()
            queries = batch.filter(batch.column("piece").is_null())
            if not len(queries):
                continue
            table = table or Table.of(pieces, threads)
            kinds = queries.schema.field("id").type, table.ids.type
            entry = pa.struct([(names[1], kinds[1]), ("rating", pa.float32())])
            schema = pa.schema([(names[0], kinds[0]), ("recommendations", pa.list_(entry))])
            yield from table.lists(queries, n, schema, threads)

    return search


# ---------------------------------------------------------------------------------------------------------------------


class ALSModel(Model, ModelParams, MLWritable, MLReadable):
    """A model that :class:`ALS` has fitted: that of ``pyspark.ml.recommendation``, and more.

    Models come from :meth:`ALS.fit`, :meth:`load` and :meth:`fromLocal`.

    Attributes
    ----------
    rank : int
    userFactors, itemFactors : DataFrame
        ``id, features``: ids as integers, or strings if they were that in the ratings.
    seen : DataFrame or None
        ``id, items``: the items of each user in the ratings; None in a model that Spark's own ALS has fitted.
    losses : tuple of float
        The objective after each iteration.
    engine : str
        "task" or "blocks"; "" if the model was not fitted here.

    Examples
    --------
    >>> from fastals.spark import ALS
    >>> ratings = [(0, 0, 4.0), (0, 1, 2.0), (1, 1, 3.0), (1, 2, 4.0), (2, 1, 1.0), (2, 2, 5.0)]
    >>> model = ALS(rank=2).fit(spark.createDataFrame(ratings, ["user", "item", "rating"]))
    >>> model.rank
    2
    >>> pairs = spark.createDataFrame([(0, 1), (0, 7)], ["user", "item"])
    >>> model.setColdStartStrategy("drop").transform(pairs).columns
    ['user', 'item', 'prediction']
    """

    def __init__(
        self,
        fitted: Outcome,
        rank: int,
        *,
        uid: str | None = None,
        origin: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.rank = rank
        self.origin = origin  # how it was fitted, as its file says it; None: nothing tells
        self.userFactors, self.itemFactors, self.seen, self.losses, self.engine = fitted
        if uid is not None:
            self._resetUid(uid)

    def __repr__(self) -> str:
        return f"ALSModel: uid={self.uid}, rank={self.rank}"

    def _transform(self, dataset: DataFrame) -> DataFrame:
        user, item, prediction = self.getUserCol(), self.getItemCol(), self.getPredictionCol()
        if prediction in dataset.columns:
            raise ParameterError(f"predictionCol must name a new column, got {prediction!r}: the data frame has it")
        probe(dataset.sparkSession)
        users, items = ids_in(self.userFactors, dataset, user), ids_in(self.itemFactors, dataset, item)
        how = "inner" if self.getColdStartStrategy().lower() == "drop" else "left"
        frame = dataset.withColumns({user: users, item: items})
        for name, features, factors in ((user, X, self.userFactors), (item, Y, self.itemFactors)):
            factors = factors.select(factors["id"].alias(ID), factors["features"].alias(features))
            frame = frame.join(factors, fn.col(f"`{name}`") == fn.col(ID), how).drop(ID)
        score = fn.arrow_udf(predicted, "float")(fn.col(X), fn.col(Y))
        # never null, and as such in the schema
        score = fn.coalesce(score, fn.lit(float("nan")).cast("float"))
        return self._keep(frame.withColumn(prediction, score).drop(X, Y))

    def recommendForAllUsers(self, numItems: int) -> DataFrame:
        """Find the best items for each user.

        Parameters
        ----------
        numItems : int
            At least 1; where there are fewer items, all come.

        Returns
        -------
        DataFrame
            ``userCol, recommendations``: an array of (itemCol, rating), best first, equal ratings by ascending item.

        Examples
        --------
        >>> from fastals.spark import ALS
        >>> ratings = spark.createDataFrame([(0, 0, 4.0), (0, 1, 2.0), (1, 1, 3.0)], ["user", "item", "rating"])
        >>> model = ALS(rank=2, excludeSeen=True).fit(ratings)
        >>> lists = model.recommendForAllUsers(1)
        >>> [(row.user, [each.item for each in row.recommendations]) for row in lists.orderBy("user").collect()]
        [(0, []), (1, [0])]
        """
        return self._recommended("user", check_int("numItems", numItems, low=1))

    def recommendForAllItems(self, numUsers: int) -> DataFrame:
        """Find the best users for each item.

        Parameters and result are as for :meth:`recommendForAllUsers`, with users and items exchanged.

        Examples
        --------
        >>> from fastals.spark import ALS
        >>> ratings = spark.createDataFrame([(0, 0, 4.0), (0, 1, 2.0), (1, 1, 3.0)], ["user", "item", "rating"])
        >>> lists = ALS(rank=2).fit(ratings).recommendForAllItems(5)
        >>> [(row.item, len(row.recommendations)) for row in lists.orderBy("item").collect()]
        [(0, 2), (1, 2)]
        """
        return self._recommended("item", check_int("numUsers", numUsers, low=1))

    def recommendForUserSubset(self, dataset: DataFrame, numItems: int) -> DataFrame:
        """Find the best items for some users.

        Parameters
        ----------
        dataset : DataFrame
            Has the column ``userCol``. A user who is there twice gets one list, one that the model does not know none.
        numItems : int

        Returns
        -------
        DataFrame
            As of :meth:`recommendForAllUsers`.

        Examples
        --------
        >>> from fastals.spark import ALS
        >>> ratings = spark.createDataFrame([(0, 0, 4.0), (0, 1, 2.0), (1, 1, 3.0)], ["user", "item", "rating"])
        >>> users = spark.createDataFrame([(1,), (1,), (7,)], ["user"])
        >>> [row.user for row in ALS(rank=2).fit(ratings).recommendForUserSubset(users, 1).collect()]
        [1]
        """
        return self._recommended("user", check_int("numItems", numItems, low=1), dataset)

    def recommendForItemSubset(self, dataset: DataFrame, numUsers: int) -> DataFrame:
        """Find the best users for some items.

        Parameters and result are as for :meth:`recommendForUserSubset`, with users and items exchanged.

        Examples
        --------
        >>> from fastals.spark import ALS
        >>> ratings = spark.createDataFrame([(0, 0, 4.0), (0, 1, 2.0), (1, 1, 3.0)], ["user", "item", "rating"])
        >>> items = spark.createDataFrame([(0,)], ["item"])
        >>> [row.item for row in ALS(rank=2).fit(ratings).recommendForItemSubset(items, 1).collect()]
        [0]
        """
        return self._recommended("item", check_int("numUsers", numUsers, low=1), dataset)

    def _recommended(self, side: str, n: int, dataset: DataFrame | None = None) -> DataFrame:
        """Lists for all of a side, or for those that a frame names: in each task the whole other side, shipped once."""
        names, frames = (self.getUserCol(), self.getItemCol()), (self.userFactors, self.itemFactors)
        if side == "item":
            names, frames = names[::-1], frames[::-1]
        name, (source, other) = names[0], frames
        known = [frame.schema["id"].dataType for frame in frames]
        if dataset is not None:
            source = source.join(dataset.select(column_like(source, dataset, name).alias("id")), "id", "left_semi")
        if self.getExcludeSeen():
            source = source.join(self._seen(side), "id", "left")
        else:
            source = source.withColumn("items", fn.lit(None).cast(ArrayType(known[1])))

        tasks = probe(source.sparkSession).slots
        queries = source.select(
            fn.pmod(fn.hash("id"), fn.lit(tasks)).alias("task"), "id", "features", "items", no("binary").alias("piece")
        )
        table = other.select("id", "features").mapInArrow(shipped, "piece binary")
        table = table.select(
            fn.explode(fn.sequence(fn.lit(0), fn.lit(tasks - 1))).alias("task"),
            *(no(queries.schema[each].dataType).alias(each) for each in ("id", "features", "items")),
            "piece",
        )
        rows = table.union(queries).repartitionById(tasks, "task").sortWithinPartitions(fn.col("piece").isNull())
        entry = StructType([StructField(names[1], known[1]), StructField("rating", FloatType())])
        schema = [StructField(name, known[0], nullable=False), StructField("recommendations", ArrayType(entry))]
        return self._keep(rows.mapInArrow(searching(n, names), StructType(schema)))

    def _keep(self, frame: DataFrame) -> DataFrame:
        """The frame, which holds the model: what it has stored of its ratings is let go with it."""
        frame.__source_model__ = self
        return frame

    def _seen(self, side: str) -> DataFrame:
        if self.seen is None:
            raise ParameterError("excludeSeen must be False for a model that came without its ratings, got True")
        if side == "user":
            return self.seen
        pairs = self.seen.select("id", fn.explode("items").alias("item"))
        return pairs.groupBy(pairs["item"].alias("id")).agg(fn.collect_list(pairs["id"]).alias("items"))

    def toLocal(self) -> ExplicitALS | ImplicitALS:
        """Return the same model on this machine, which holds all factors then.

        Examples
        --------
        >>> from fastals.spark import ALS
        >>> ratings = spark.createDataFrame([(0, 0, 4.0), (0, 1, 2.0), (1, 1, 3.0)], ["user", "item", "rating"])
        >>> model = ALS(rank=2).fit(ratings).toLocal()
        >>> model.recommend(1, n=1).items.tolist()
        [0]
        """
        from ._modelio import to_local

        return to_local(self)

    @staticmethod
    def fromLocal(model: ExplicitALS | ImplicitALS, spark: SparkSession) -> ALSModel:
        """Return a fitted model of fastals as one of Spark.

        Examples
        --------
        >>> import fastals
        >>> from fastals.spark import ALSModel
        >>> ratings = (["ann", "ann", "bob"], [1, 2, 2], [4.0, 2.0, 3.0])
        >>> model = fastals.ExplicitALS.from_preset("spark", factors=2).fit(ratings)
        >>> ALSModel.fromLocal(model, spark).rank
        2
        """
        from ._modelio import from_local

        return from_local(ALSModel, model, spark)

    def write(self) -> MLWriter:
        """Return what writes the model in Spark's own layout: ``model.write().overwrite().save(path)``."""
        from ._modelio import ModelWriter

        return ModelWriter(self)

    @classmethod
    def read(cls) -> MLReader:
        """Return what reads models, also those that Spark's own ALS has saved: ``ALSModel.read().load(path)``."""
        from ._modelio import ModelReader

        return ModelReader(cls)


def no(kind: str | DataType) -> Column:
    """A column of nulls."""
    return fn.lit(None).cast(kind)

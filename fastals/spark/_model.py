"""What a fit leaves: factors in frames, and what Spark's tasks make of them with the kernels of fastals."""
# ruff: noqa: N802, N815 -- names are those of Spark

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.ml import Model
from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.recommendation import _ALSModelParams
from pyspark.ml.util import MLReadable, MLReader, MLWritable, MLWriter
from pyspark.sql import functions as fn
from pyspark.sql.types import DoubleType, FloatType, StringType

from .._core import ArgumentTypeError, ParameterError, check_int, kernels
from .._engines import Outcome, column_of, columns_named, probe
from ._lists import lists, matrix, shared_out

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

    from .._models import ExplicitALS, ImplicitALS

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


def ids_in(factors: DataFrame, frame: DataFrame, name: str) -> tuple[Column, Column]:
    """A column of a frame as ids of a model, null where it cannot be one; and an error, for who wants it instead.

    Ids are of strings, or of numbers, as those of the model are.
    """
    column, own = column_of(frame, name, text=True)
    kind, is_text = factors.schema["id"].dataType, isinstance(own, StringType)
    if is_text != isinstance(kind, StringType):
        rule, got = ("numbers", "strings") if is_text else ("strings", "numbers")
        raise ArgumentTypeError(f"column {name!r} must hold {rule}, as in fit, got {got}: cast it")
    rule, *limits = IDS[kind.simpleString()]
    good = column.isNotNull()
    if limits:
        if isinstance(own, (FloatType, DoubleType)):
            column, limits = column.cast("double"), [max(limits[0], -EXACT), min(limits[1], EXACT)]
        good &= (column % 1 == 0) & column.between(*limits)
    got = fn.coalesce(column.cast("string"), fn.lit("null"))
    error = fn.raise_error(fn.concat(fn.lit(f"column {name!r} must hold {rule}, got "), got)).cast(kind)
    return fn.when(good, column.cast(kind)), error


EXACT = 1 << 53
"""Up to here floating-point numbers have all integers."""

IDS: dict[str, Any] = {
    "int": ("integers of 32 bits", -(1 << 31), (1 << 31) - 1),
    "bigint": ("integers of 64 bits", -(1 << 63), (1 << 63) - 1),
    "string": ("strings",),
}
"""What ids of a type must be, and the least and the greatest."""


# ---------------------------------------------------------------------------------------------------------------------
# what tasks compute


def predicted(users: pa.Array, items: pa.Array) -> pa.Array:
    """The inner product of each pair of rows, which depends on the two alone; NaN where one is missing."""
    scores = np.full(len(users), np.nan, np.float32)
    known = pc.and_(users.is_valid(), items.is_valid())
    places = np.flatnonzero(known.to_numpy(zero_copy_only=False))
    if len(places):
        at = np.arange(len(places), dtype=np.int32)
        scores[places] = kernels.pair_scores(matrix(users.filter(known)), matrix(items.filter(known)), at, at, 1)
    return pa.array(scores)


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
        self.userFactors, self.itemFactors, self.seen, self.losses, self.engine, self.pairs = fitted
        if uid is not None:
            self._resetUid(uid)

    def __repr__(self) -> str:
        return f"ALSModel: uid={self.uid}, rank={self.rank}"

    def _transform(self, dataset: DataFrame) -> DataFrame:
        user, item, prediction = self.getUserCol(), self.getItemCol(), self.getPredictionCol()
        if columns_named(dataset, prediction):
            raise ParameterError(f"predictionCol must name a new column, got {prediction!r}: the data frame has it")
        probe(dataset.sparkSession)
        users = fn.coalesce(*ids_in(self.userFactors, dataset, user))
        items = fn.coalesce(*ids_in(self.itemFactors, dataset, item))
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
        if dataset is not None:
            source = source.join(dataset.select(ids_in(source, dataset, name)[0].alias("id")), "id", "left_semi")
        tasks = probe(source.sparkSession).slots
        seen = self._seen(side, tasks) if self.getExcludeSeen() else None
        return self._keep(lists(source, other, seen, n, names, tasks))

    def _keep(self, frame: DataFrame) -> DataFrame:
        """The frame, which holds the model: what it has stored of its ratings is let go with it."""
        frame.__source_model__ = self
        return frame

    def _seen(self, side: str, tasks: int) -> DataFrame:
        if self.seen is None:
            raise ParameterError("excludeSeen must be False for a model that came without its ratings, got True")
        return shared_out(self.seen if self.pairs is None else self.pairs, ("user", "item").index(side), tasks)

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

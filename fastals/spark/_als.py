"""The estimator: parameters, what they must be, and a fit that hands on to an engine."""
# ruff: noqa: N802, N815 -- names are those of Spark

from __future__ import annotations

import json
import time
from math import isfinite
from typing import TYPE_CHECKING, Any

from pyspark import keyword_only
from pyspark.ml import Estimator
from pyspark.ml.recommendation import _ALSParams
from pyspark.ml.util import DefaultParamsReadable, MLWritable, MLWriter

from .._core import LOGGER, ArgumentTypeError, ParameterError
from .._engines import Ask, Columns, estimator, fit
from ._layout import content_of_fit
from ._model import ALSModel, ModelParams, checked, one_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

SEED = 0
"""Where none is given. Spark's is the hash of a word, which is another one in each process."""

LEVELS = {
    *("DISK_ONLY", "DISK_ONLY_2", "DISK_ONLY_3", "MEMORY_ONLY", "MEMORY_ONLY_2", "MEMORY_ONLY_SER"),
    *("MEMORY_ONLY_SER_2", "MEMORY_AND_DISK", "MEMORY_AND_DISK_2", "MEMORY_AND_DISK_SER", "MEMORY_AND_DISK_SER_2"),
    *("OFF_HEAP", "NONE"),
}


def _at_least_one(param: Any) -> Any:
    return checked(param, ">= 1", lambda value: value >= 1)


def _not_negative(param: Any) -> Any:
    return checked(param, "finite and >= 0", lambda value: value >= 0 and isfinite(value))


def _level(param: Any, choices: set[str]) -> Any:
    return checked(param, f"one of {', '.join(sorted(choices))}", choices.__contains__)


class ALS(Estimator, ModelParams, _ALSParams, MLWritable, DefaultParamsReadable):
    """Alternating least squares on Spark: ``pyspark.ml.recommendation.ALS`` with the kernels of fastals.

    Change the import, and a program does what it did: parameters, schemas and files are Spark's, and so is the
    equation. What differs: where a fit starts is a function of seed, side and id, and ``seed`` is 0 where none is
    given, not another number in each process; the same fit gives the same bits on any cluster.

    Parameters
    ----------
    rank : int, default 10
        At least 1.
    maxIter : int, default 10
        At least 0; after none, the model has the initial factors.
    regParam : float, default 0.1
        At least 0. What a row is shrunk by, times the number of its ratings.
    numUserBlocks, numItemBlocks : int, default 10
        The blocks that the engine "blocks" cuts a side into; where they are not set, one for each task at a time.
    implicitPrefs : bool, default False
        Whether ratings are confidence in a preference.
    alpha : float, default 1.0
        At least 0. Confidence is 1 + alpha times the rating; with ``implicitPrefs`` only.
    userCol, itemCol : str, default "user", "item"
        Columns of ids: whole numbers within 32 bits, of any numeric type, or strings.
    seed : int, optional
        Default 0.
    ratingCol : str, default "rating"
        A column of numbers; "": all ratings are 1.
    nonnegative : bool, default False
        Whether no factor may be below 0.
    checkpointInterval : int, default 10
        Iterations from one checkpoint to the next, where Spark has a directory for them; -1: none.
    intermediateStorageLevel, finalStorageLevel : str, default "MEMORY_AND_DISK"
        Checked, and without effect: what is stored, is in memory and on disk.
    coldStartStrategy : {"nan", "drop"}, default "nan"
        What becomes of rows with unknown ids in ``transform``: the prediction is NaN, or the row is left out.
    blockSize : int, default 4096
        Without effect.
    solver : {"auto", "cholesky", "cg", "lapack"}, default "auto"
        As of :class:`fastals.ExplicitALS`.
    engine : {"auto", "task", "blocks"}, default "auto"
        "task": all in one task, with all cores of its executor. "blocks": in blocks, on all executors. "auto": the
        first, if the data fit one executor.
    excludeSeen : bool, default False
        Whether the model's lists leave out what the ratings hold: items for users, users for items.

    Examples
    --------
    >>> from fastals.spark import ALS
    >>> ratings = [(0, 0, 4.0), (0, 1, 2.0), (1, 1, 3.0), (1, 2, 4.0), (2, 1, 1.0), (2, 2, 5.0)]
    >>> frame = spark.createDataFrame(ratings, ["user", "item", "rating"])
    >>> model = ALS(rank=4, regParam=0.05, excludeSeen=True).fit(frame)
    >>> lists = model.recommendForAllUsers(1).orderBy("user").collect()
    >>> [(row.user, row.recommendations[0].item) for row in lists]
    [(0, 2), (1, 0), (2, 0)]
    """

    rank = _at_least_one(_ALSParams.rank)
    maxIter = checked(_ALSParams.maxIter, ">= 0", lambda value: value >= 0)
    regParam = _not_negative(_ALSParams.regParam)
    numUserBlocks = _at_least_one(_ALSParams.numUserBlocks)
    numItemBlocks = _at_least_one(_ALSParams.numItemBlocks)
    alpha = _not_negative(_ALSParams.alpha)
    checkpointInterval = checked(_ALSParams.checkpointInterval, ">= 1 or -1", lambda value: value >= 1 or value == -1)
    intermediateStorageLevel = _level(_ALSParams.intermediateStorageLevel, LEVELS - {"NONE"})
    finalStorageLevel = _level(_ALSParams.finalStorageLevel, LEVELS)
    solver = one_of("solver", "how rows are solved: as of fastals.ExplicitALS", "auto", "cholesky", "cg", "lapack")
    engine = one_of("engine", "where the fit is computed: in one task, or in blocks", "auto", "task", "blocks")

    _input_kwargs: dict[str, Any]

    @keyword_only
    def __init__(
        self,
        *,
        rank: int = 10,
        maxIter: int = 10,
        regParam: float = 0.1,
        numUserBlocks: int = 10,
        numItemBlocks: int = 10,
        implicitPrefs: bool = False,
        alpha: float = 1.0,
        userCol: str = "user",
        itemCol: str = "item",
        seed: int | None = None,
        ratingCol: str = "rating",
        nonnegative: bool = False,
        checkpointInterval: int = 10,
        intermediateStorageLevel: str = "MEMORY_AND_DISK",
        finalStorageLevel: str = "MEMORY_AND_DISK",
        coldStartStrategy: str = "nan",
        blockSize: int = 4096,
        solver: str = "auto",
        engine: str = "auto",
        excludeSeen: bool = False,
    ) -> None:
        super().__init__()
        self._setDefault(seed=SEED, solver="auto", engine="auto")
        self.initialModel: Any = None
        self.setParams(**self._input_kwargs)

    @keyword_only
    def setParams(
        self,
        *,
        rank: int = 10,
        maxIter: int = 10,
        regParam: float = 0.1,
        numUserBlocks: int = 10,
        numItemBlocks: int = 10,
        implicitPrefs: bool = False,
        alpha: float = 1.0,
        userCol: str = "user",
        itemCol: str = "item",
        seed: int | None = None,
        ratingCol: str = "rating",
        nonnegative: bool = False,
        checkpointInterval: int = 10,
        intermediateStorageLevel: str = "MEMORY_AND_DISK",
        finalStorageLevel: str = "MEMORY_AND_DISK",
        coldStartStrategy: str = "nan",
        blockSize: int = 4096,
        solver: str = "auto",
        engine: str = "auto",
        excludeSeen: bool = False,
    ) -> ALS:
        """Set those parameters that are given."""
        return self._set(**{name: value for name, value in self._input_kwargs.items() if value is not None})

    def _fit(self, dataset: DataFrame) -> ALSModel:
        columns = Columns(self.getUserCol(), self.getItemCol(), self.getRatingCol())
        ask = Ask(
            rank=self.getRank(),
            iterations=self.getMaxIter(),
            regularization=self.getRegParam(),
            implicit=self.getImplicitPrefs(),
            alpha=self.getAlpha(),
            nonnegative=self.getNonnegative(),
            solver=self.getSolver(),
            engine=self.getEngine(),
            seed=self.getSeed(),
            user_blocks=self.getNumUserBlocks() if self.isSet("numUserBlocks") else None,
            item_blocks=self.getNumItemBlocks() if self.isSet("numItemBlocks") else None,
            checkpoint_interval=self.getCheckpointInterval(),
            initial=self._initial(),
        )
        fitted = fit(dataset, columns, ask)
        origin = content_of_fit(estimator(ask), fitted.losses)
        model = ALSModel(fitted, ask.rank, uid=self.uid, origin=origin)
        return self._copyValues(model)

    def _initial(self) -> tuple[DataFrame, DataFrame] | None:
        model = self.initialModel
        if model is None:
            return None
        if model.rank != self.getRank():
            raise ParameterError(f"rank must be that of the initial model, {model.rank}, got {self.getRank()}")
        return model.userFactors, model.itemFactors

    def setInitialModel(self, model: Any) -> ALS:
        """Start from the factors of a model, fitted here or by Spark's own ALS; rows that it has not are drawn.

        It is no parameter: :meth:`copy` takes it along, ``save`` does not.

        Examples
        --------
        >>> from fastals.spark import ALS
        >>> ratings = spark.createDataFrame([(0, 0, 4.0), (0, 1, 2.0), (1, 1, 3.0)], ["user", "item", "rating"])
        >>> model = ALS(rank=2, maxIter=5).fit(ratings)
        >>> model = ALS(rank=2, maxIter=1).setInitialModel(model).fit(ratings)
        """
        if model is not None and not all(hasattr(model, name) for name in ("rank", "userFactors", "itemFactors")):
            raise ArgumentTypeError(f"model must be an ALSModel or None, got {type(model).__name__}")
        self.initialModel = model
        return self

    def write(self) -> MLWriter:
        """Return what writes the parameters: ``als.write().overwrite().save(path)``."""
        return ParamsWriter(self)

    def setRank(self, value: int) -> ALS:
        """Set the number of factors."""
        return self._set(rank=value)

    def setMaxIter(self, value: int) -> ALS:
        """Set the number of iterations."""
        return self._set(maxIter=value)

    def setRegParam(self, value: float) -> ALS:
        """Set the regularization."""
        return self._set(regParam=value)

    def setNumUserBlocks(self, value: int) -> ALS:
        """Set the number of blocks of users."""
        return self._set(numUserBlocks=value)

    def setNumItemBlocks(self, value: int) -> ALS:
        """Set the number of blocks of items."""
        return self._set(numItemBlocks=value)

    def setNumBlocks(self, value: int) -> ALS:
        """Set the number of blocks of users, and that of items."""
        return self._set(numUserBlocks=value, numItemBlocks=value)

    def setImplicitPrefs(self, value: bool) -> ALS:
        """Set whether ratings are confidence in a preference."""
        return self._set(implicitPrefs=value)

    def setAlpha(self, value: float) -> ALS:
        """Set how much confidence a rating gives."""
        return self._set(alpha=value)

    def setRatingCol(self, value: str) -> ALS:
        """Set the name of the column of ratings; "": all are 1."""
        return self._set(ratingCol=value)

    def setNonnegative(self, value: bool) -> ALS:
        """Set whether no factor may be below 0."""
        return self._set(nonnegative=value)

    def setCheckpointInterval(self, value: int) -> ALS:
        """Set the number of iterations from one checkpoint to the next."""
        return self._set(checkpointInterval=value)

    def setIntermediateStorageLevel(self, value: str) -> ALS:
        """Set Spark's storage level of what a fit holds; without effect."""
        return self._set(intermediateStorageLevel=value)

    def setFinalStorageLevel(self, value: str) -> ALS:
        """Set Spark's storage level of factors; without effect."""
        return self._set(finalStorageLevel=value)

    def setSeed(self, value: int) -> ALS:
        """Set the seed."""
        return self._set(seed=value)

    def getSolver(self) -> str:
        """Return how rows are solved."""
        return self.getOrDefault("solver")

    def setSolver(self, value: str) -> ALS:
        """Set how rows are solved: "auto", "cholesky", "cg" or "lapack"."""
        return self._set(solver=value)

    def getEngine(self) -> str:
        """Return where the fit is computed."""
        return self.getOrDefault("engine")

    def setEngine(self, value: str) -> ALS:
        """Set where the fit is computed: "auto", "task" or "blocks"."""
        return self._set(engine=value)


class ParamsWriter(MLWriter):
    """Writes parameters as Spark does, but without its gateway to Java, which Spark Connect has not."""

    def __init__(self, als: ALS) -> None:
        super().__init__()
        self.als = als

    def save(self, path: str) -> None:
        """Write the parameters to a folder."""
        als, spark = self.als, self.sparkSession
        if als.initialModel is not None:
            LOGGER.warning("the initial model is not saved with the parameters of ALS: save it by itself")
        default = als.copy()
        for param in default.params:
            default.clear(param)
        metadata = {
            "class": "fastals.spark.ALS",
            "timestamp": round(time.time() * 1000),
            "sparkVersion": spark.version,
            "uid": als.uid,
            "paramMap": {param.name: als.getOrDefault(param) for param in als.params if als.isSet(param)},
            "defaultParamMap": {param.name: value for param, value in default.extractParamMap().items()},
        }
        frame = spark.createDataFrame([(json.dumps(metadata),)], ["value"]).coalesce(1)
        frame.write.mode("overwrite" if self.shouldOverwrite else "error").text(f"{path}/metadata")

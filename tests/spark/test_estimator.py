"""The face of the estimator: parameters, what PySpark's own example and its helpers make of it, what it refuses."""

import doctest
import gc
import inspect
import logging
import re
import weakref

import numpy as np
import pytest
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml import recommendation as theirs
from pyspark.ml.evaluation import RankingEvaluator, RegressionEvaluator
from pyspark.ml.feature import StringIndexer
from pyspark.ml.tuning import CrossValidator, CrossValidatorModel, ParamGridBuilder
from pyspark.sql import functions as fn

from fastals import ArgumentTypeError, DataError, ParameterError
from fastals.spark import ALS, ALSModel

NAMES = ["user", "item", "rating"]
CELLS = [(0, 0, 4.0), (0, 1, 2.0), (1, 1, 3.0), (1, 2, 4.0), (2, 1, 1.0), (2, 2, 5.0)]
OWN = {"solver": "auto", "engine": "auto", "excludeSeen": False}
"""What Spark's ALS has not."""


@pytest.fixture(scope="module")
def cells(spark):
    return spark.createDataFrame(CELLS, NAMES).cache()


@pytest.fixture(scope="module")
def model(cells):
    return ALS(rank=2, maxIter=2, coldStartStrategy="drop").fit(cells)


def table(factors):
    rows = factors.toPandas().sort_values("id")
    return rows["id"].to_numpy(), np.stack(rows["features"].to_numpy())


def equal(one, other):
    return all(
        np.array_equal(mine, yours)
        for side in ("userFactors", "itemFactors")
        for mine, yours in zip(table(getattr(one, side)), table(getattr(other, side)), strict=True)
    )


# ---------------------------------------------------------------------------------------------------------------------
# the face of Spark's


def public(cls):
    return {name for name in dir(cls) if not name.startswith("_")}


def bare(function):
    """Names, kinds and defaults."""
    parameters = inspect.signature(function).parameters.values()
    return [(each.name, each.kind, each.default) for each in parameters]


def test_all_that_spark_has_is_here(model):
    for ours, spark_s, made in ((ALS, theirs.ALS, ALS()), (ALSModel, theirs.ALSModel, model)):
        for name in public(spark_s):
            assert hasattr(made, name), name
            function = inspect.getattr_static(spark_s, name)
            if not inspect.isfunction(function):
                continue
            own = [each for each in bare(getattr(ours, name)) if each[0] not in OWN]
            assert own == bare(getattr(spark_s, name)), name
    assert [each for each in bare(ALS) if each[0] not in OWN] == bare(theirs.ALS)


def test_parameters_have_the_defaults_of_spark(spark, model):
    ours, spark_s = ALS(), theirs.ALS()
    own = {each.name for each in ours.params} - {each.name for each in spark_s.params}
    assert own == set(OWN)
    for param in spark_s.params:
        assert ours.hasDefault(param.name), param
        if param.name != "seed":  # Spark's is another one in each process
            assert ours.getOrDefault(param.name) == spark_s.getOrDefault(param.name), param
    assert ours.getSeed() == 0
    for name, value in OWN.items():
        assert ours.getOrDefault(name) == value
    described = ours.explainParams().splitlines()
    assert len(described) == len(ours.params)
    assert "rank: rank of the factorization (default: 10)" in described
    assert {each.name for each in model.params} == {each.name for each in ours.params} & {
        *("userCol", "itemCol", "predictionCol", "coldStartStrategy", "blockSize", "excludeSeen")
    }


VALUES = {
    **{"rank": 3, "maxIter": 4, "regParam": 0.5, "numUserBlocks": 5, "numItemBlocks": 6, "implicitPrefs": True},
    **{"alpha": 7.0, "userCol": "u", "itemCol": "i", "seed": 8, "ratingCol": "r", "nonnegative": True},
    **{"checkpointInterval": 9, "intermediateStorageLevel": "DISK_ONLY", "finalStorageLevel": "NONE"},
    **{"coldStartStrategy": "Drop", "blockSize": 10, "solver": "cg", "engine": "task", "excludeSeen": True},
}


def test_every_parameter_is_set_in_three_ways_and_read_back():
    made = ALS(**VALUES)
    through = ALS().setParams(**VALUES)
    one_by_one = ALS()
    assert {each.name for each in made.params} == {*VALUES, "predictionCol"}
    for name, value in VALUES.items():
        method = name[0].upper() + name[1:]
        assert getattr(one_by_one, f"set{method}")(value) is one_by_one
        for als in (made, through, one_by_one):
            assert getattr(als, f"get{method}")() == value
            assert als.isSet(name)
    blocks = ALS().setNumBlocks(7)
    assert (blocks.getNumUserBlocks(), blocks.getNumItemBlocks()) == (7, 7)
    assert ALS().setPredictionCol("p").getPredictionCol() == "p"
    assert not ALS(seed=None).isSet("seed")


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("rank", 0, ">= 1, got 0"),
        ("maxIter", -1, ">= 0, got -1"),
        ("regParam", -0.1, "finite and >= 0, got -0.1"),
        ("regParam", float("nan"), "finite and >= 0, got nan"),
        ("alpha", float("inf"), "finite and >= 0, got inf"),
        ("numUserBlocks", 0, ">= 1, got 0"),
        ("numItemBlocks", -2, ">= 1, got -2"),
        ("checkpointInterval", 0, ">= 1 or -1, got 0"),
        ("blockSize", 0, "> 0, got 0"),
        ("coldStartStrategy", "mean", "one of 'nan', 'drop', got 'mean'"),
        ("intermediateStorageLevel", "NONE", "one of .*, got 'NONE'"),
        ("finalStorageLevel", "ram", "one of .*, got 'ram'"),
        ("solver", "lu", "one of 'auto', 'cholesky', 'cg', 'lapack', got 'lu'"),
        ("engine", "gpu", "one of 'auto', 'task', 'blocks', got 'gpu'"),
    ],
)
def test_a_value_that_breaks_its_rule_is_refused_when_it_is_set(name, value, rule):
    als = ALS()
    for ask in (
        lambda: ALS(**{name: value}),
        lambda: als.setParams(**{name: value}),
        lambda: getattr(als, f"set{name[0].upper()}{name[1:]}")(value),
        lambda: als.copy({als.getParam(name): value}),
    ):
        with pytest.raises(ParameterError, match=f"{name} must be {rule}"):
            ask()
    with pytest.raises(ValueError, match=f"{name} must be {rule}"):
        als.set(als.getParam(name), value)
    assert not als.isSet(name)


def test_values_of_the_wrong_type():
    for name, value in (("rank", "ten"), ("rank", 2.5), ("regParam", "small"), ("userCol", 3), ("excludeSeen", "no")):
        with pytest.raises(TypeError, match=f'"{name}"'):
            ALS(**{name: value})
    with pytest.raises(TypeError, match="keyword"):
        ALS(10)
    with pytest.raises(TypeError, match="factors"):
        ALS(factors=10)
    with pytest.raises(ArgumentTypeError, match="model must be an ALSModel or None, got str"):
        ALS().setInitialModel("model")


def test_columns_are_looked_at_before_any_work(spark, cells):
    for settings, message in (
        ({"userCol": "who"}, "there must be one column 'who', got 'user', 'item', 'rating'"),
        ({"itemCol": "what"}, "there must be one column 'what'"),
        ({"ratingCol": "stars"}, "there must be one column 'stars'"),
        ({"userCol": "flag"}, "column 'flag' must hold numbers or strings, got boolean"),
        ({"itemCol": "list"}, "column 'list' must hold numbers or strings, got array<int>"),
        ({"ratingCol": "text"}, "column 'text' must hold numbers, got string"),
    ):
        frame = cells.selectExpr("*", "true flag", "array(1) list", "'5' text") if "who" not in message else cells
        with pytest.raises((DataError, ArgumentTypeError), match=re.escape(message)):
            ALS(**settings).fit(frame)


# ---------------------------------------------------------------------------------------------------------------------
# PySpark's own example


class Digits(doctest.OutputChecker):
    """Numbers with a fraction depend on the seed: any will do."""

    def check_output(self, want, got, optionflags):
        want = re.sub(r"-?\d+\.\d+\.\.\.", "...", want)
        return super().check_output(want, got, optionflags)


def test_the_example_of_pyspark_runs_with_only_the_import_changed(spark, tmp_path):
    names = {"spark": spark, "temp_path": str(tmp_path), "ALS": ALS, "ALSModel": ALSModel}
    example = doctest.DocTestParser().get_doctest(theirs.ALS.__doc__, names, "ALS", None, 0)
    assert len(example.examples) > 40
    said = list[str]()
    doctest.DocTestRunner(Digits(), optionflags=doctest.ELLIPSIS).run(example, out=said.append)
    assert not said, "".join(said)


# ---------------------------------------------------------------------------------------------------------------------
# copies, models


def test_copies(spark, cells, model):
    als = ALS(rank=3, seed=4).setInitialModel(model)
    copied = als.copy({als.rank: 5})
    assert (copied.getRank(), copied.getSeed(), copied.uid) == (5, 4, als.uid)
    assert als.getRank() == 3
    assert copied.initialModel is model
    other = model.copy({model.predictionCol: "score", model.excludeSeen: True})
    assert (other.rank, other.uid, other.getPredictionCol()) == (2, model.uid, "score")
    assert model.getPredictionCol() == "prediction"
    assert "score" in other.transform(cells).columns


def test_a_model_has_what_the_estimator_was_told(cells, model):
    als = ALS(rank=2, maxIter=3, regParam=0.2, excludeSeen=True, coldStartStrategy="drop", blockSize=7)
    fitted = als.setPredictionCol("p").fit(cells)
    assert fitted.uid == als.uid
    assert repr(fitted) == f"ALSModel: uid={als.uid}, rank=2"
    got = fitted.getPredictionCol(), fitted.getColdStartStrategy(), fitted.getBlockSize(), fitted.getExcludeSeen()
    assert got == ("p", "drop", 7, True)
    assert not fitted.isSet("userCol")
    assert fitted.engine == "task"
    assert len(fitted.losses) == 3
    assert list(fitted.losses) == sorted(fitted.losses, reverse=True)
    for method, value in (("UserCol", "a"), ("ItemCol", "b"), ("PredictionCol", "c"), ("ColdStartStrategy", "nan")):
        assert getattr(fitted, f"set{method}")(value) is fitted
        assert getattr(fitted, f"get{method}")() == value


def test_what_a_model_has_made_holds_it(cells):
    """What it has stored is let go with it, and would be made once more by each job that needs it."""
    model = ALS(rank=2, maxIter=1).fit(cells)
    made, gone = [model.transform(cells), model.recommendForAllUsers(1)], weakref.ref(model)
    del model
    while made:
        gc.collect()
        assert gone() is not None
        made.pop()
    gc.collect()
    assert gone() is None


def test_several_settings_in_one_call(cells):
    als = ALS(rank=2, maxIter=1)
    models = als.fit(cells, [{als.rank: 1}, {als.maxIter: 2}])
    assert [each.rank for each in models] == [1, 2]
    assert [len(each.losses) for each in models] == [1, 2]
    assert als.fit(cells, {als.rank: 4}).rank == 4


def test_an_initial_model_is_where_a_fit_starts(spark, cells, model):
    yours = theirs.ALS(rank=2, maxIter=1, seed=3).fit(cells)
    for start in (model, yours):
        assert equal(ALS(rank=2, maxIter=0).setInitialModel(start).fit(cells), start)
    on = ALS(rank=2, maxIter=1).setInitialModel(model).fit(cells)
    assert on.losses[0] < model.losses[-1]
    with pytest.raises(ParameterError, match="rank must be that of the initial model, 2, got 3"):
        ALS(rank=3).setInitialModel(model).fit(cells)
    more = spark.createDataFrame([*CELLS, (7, 8, 1.0)], NAMES)
    ids, factors = table(ALS(rank=2, maxIter=0).setInitialModel(model).fit(more).userFactors)
    assert ids.tolist() == [0, 1, 2, 7]
    assert np.array_equal(factors[:3], table(model.userFactors)[1])
    assert np.linalg.norm(factors[3]) == pytest.approx(1)
    assert equal(ALS(rank=2, maxIter=2).setInitialModel(model).setInitialModel(None).fit(cells), model)


# ---------------------------------------------------------------------------------------------------------------------
# Spark's helpers


@pytest.fixture(scope="module")
def named(spark):
    rng = np.random.default_rng(0)
    scores = rng.uniform(0.5, 1.5, (15, 2)) @ rng.uniform(0.5, 1.5, (2, 12))
    rows = [(f"u{u}", f"i{i}", float(scores[u, i])) for u, i in np.argwhere(rng.random((15, 12)) < 0.7).tolist()]
    return spark.createDataFrame(rows, ["who", "what", "rating"]).repartition(2).cache()


def test_pipeline(named, tmp_path):
    indexer = StringIndexer(inputCols=["who", "what"], outputCols=["user", "item"], handleInvalid="keep")
    pipeline = Pipeline(stages=[indexer, ALS(rank=2, regParam=0.01, seed=3, engine="task", coldStartStrategy="drop")])
    fitted = pipeline.fit(named)
    assert isinstance(fitted, PipelineModel)
    found = fitted.transform(named)
    error = RegressionEvaluator(labelCol="rating").evaluate(found)
    assert error < 0.1

    pipeline.write().overwrite().save(str(tmp_path / "pipeline"))
    again = Pipeline.load(str(tmp_path / "pipeline"))
    als = again.getStages()[1]
    assert type(als) is ALS
    assert als.uid == pipeline.getStages()[1].uid
    assert als.extractParamMap() == pipeline.getStages()[1].extractParamMap()
    assert RegressionEvaluator(labelCol="rating").evaluate(again.fit(named).transform(named)) == error


def test_ids_may_be_strings(named):
    als = ALS(userCol="who", itemCol="what", rank=2, maxIter=5, excludeSeen=True, coldStartStrategy="drop")
    model = als.fit(named)
    assert [each.simpleString() for each in model.userFactors.schema] == ["id:string", "features:array<float>"]
    assert model.transform(named).count() == named.count()
    seen = {tuple(row) for row in named.select("who", "what").collect()}
    lists = model.recommendForAllUsers(20).collect()
    assert len(lists) == 15
    every = {(row.who, each.what) for row in lists for each in row.recommendations}
    assert len(every) + len(seen) == 15 * 12
    assert not every & seen


@pytest.mark.filterwarnings("ignore:unclosed running multiprocessing pool:ResourceWarning")
def test_cross_validation(named, tmp_path):
    frame = named.withColumns(
        {"user": fn.substring("who", 2, 9).cast("int"), "item": fn.substring("what", 2, 9).cast("int")}
    )
    als = ALS(rank=2, maxIter=5, coldStartStrategy="drop")
    grid = ParamGridBuilder().addGrid(als.regParam, [0.01, 10.0]).build()
    validator = CrossValidator(
        estimator=als, estimatorParamMaps=grid, evaluator=RegressionEvaluator(labelCol="rating"), numFolds=2, seed=1
    )
    found = validator.fit(frame)
    assert isinstance(found, CrossValidatorModel)
    assert isinstance(found.bestModel, ALSModel)
    assert found.avgMetrics[0] < found.avgMetrics[1]
    assert not np.isnan(found.avgMetrics).any()
    validator.save(str(tmp_path / "validator"))
    again = CrossValidator.load(str(tmp_path / "validator"))
    assert type(again.getEstimator()) is ALS
    assert [list(each.values()) for each in again.getEstimatorParamMaps()] == [[0.01], [10.0]]
    gc.collect()  # pyspark leaves its pool of threads to this


def test_ranking_evaluator(cells):
    model = ALS(rank=2, maxIter=5, implicitPrefs=True).fit(cells)
    best = model.recommendForAllUsers(2).selectExpr("user", "cast(recommendations.item as array<double>) prediction")
    liked = cells.groupBy("user").agg(fn.collect_list(fn.col("item").cast("double")).alias("label"))
    score = RankingEvaluator(metricName="recallAtK", k=2).evaluate(best.join(liked, "user"))
    assert score == 1.0


# ---------------------------------------------------------------------------------------------------------------------
# files


def test_settings_are_saved_and_loaded(spark, model, tmp_path, caplog):
    path = str(tmp_path / "als")
    als = ALS(**VALUES)
    als.save(path)
    again = ALS.load(path)
    assert again.uid == als.uid
    assert again.extractParamMap() == als.extractParamMap()
    assert again.isSet("rank")
    assert not again.isSet("predictionCol")
    with pytest.raises(Exception, match=r"(?i)already exists"):
        ALS().save(path)
    with caplog.at_level(logging.WARNING, logger="fastals"):
        ALS(rank=7).setInitialModel(model).write().overwrite().save(path)
    assert "the initial model is not saved" in caplog.text
    last = ALS.read().load(path)
    assert last.getRank() == 7
    assert last.initialModel is None
    assert not last.isSet("seed")

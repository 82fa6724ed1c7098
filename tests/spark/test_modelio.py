"""Models go from Spark to fastals and back in Spark's own layout, whoever writes it, and predict what they did."""

import os

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import fastals
from fastals import FileFormatError, NotFittedError, ParameterError
from fastals.spark import load_model, save_model

from .folders import CASES, CLASSES, RANK, as_text, broken, fitted, ratings

UNSEEN = "ignore:nothing tells which items"


@pytest.fixture(scope="module")
def frame(spark):
    users, items, values = (column.tolist() for column in ratings())
    return spark.createDataFrame(list(zip(users, items, values, strict=True)), ["user", "item", "rating"]).cache()


@pytest.fixture(scope="module")
def of_spark(spark, frame, tmp_path_factory):
    """What Spark's own ALS has fitted and saved: models and paths."""
    from pyspark.ml.recommendation import ALS

    found = {}
    for kind in CLASSES:
        als = ALS(rank=RANK, maxIter=2, seed=1, implicitPrefs=kind == "implicit", coldStartStrategy="drop", alpha=2.0)
        path = str(tmp_path_factory.mktemp("of_spark") / kind)
        model = als.fit(frame)
        model.save(path)
        found[kind] = model, path
    return found


def predictions(model, frame):
    """Of a model of Spark, by user and item."""
    return {(row.user, row.item): row.prediction for row in model.transform(frame).collect()}


def assert_same_predictions(model, expected):
    """A model of one machine predicts what one of Spark has predicted."""
    users, items = np.array(list(expected)).T
    assert_allclose(model.predict(users, items), list(expected.values()), atol=1e-6, rtol=0)


# ---------------------------------------------------------------------------------------------------------------------
# between Spark's ALSModel and ours


@pytest.mark.parametrize("kind", CLASSES)
def test_what_spark_has_saved_opens_here(kind, spark, of_spark, frame):
    from fastals.spark import ALSModel

    theirs, path = of_spark[kind]
    expected = predictions(theirs, frame)
    model = ALSModel.load(path)
    assert (model.uid, model.rank, model.seen) == (theirs.uid, RANK, None)
    assert model.getColdStartStrategy() == "drop"
    assert model.userFactors.schema.simpleString() == "struct<id:int,features:array<float>>"
    assert predictions(model, frame) == pytest.approx(expected, abs=1e-6, rel=0)
    with pytest.warns(UserWarning, match="nothing tells which items"):
        local = load_model(path)
    assert type(local) is fastals.ExplicitALS
    assert_same_predictions(local, expected)
    lists = {row.user: [each.item for each in row.recommendations] for row in theirs.recommendForAllUsers(5).collect()}
    assert {user: local.recommend(user, n=5).items.tolist() for user in lists} == lists
    with pytest.warns(UserWarning, match="nothing tells which items"):
        again = model.toLocal()
    assert_array_equal(again.users_, local.users_)
    assert_array_equal(again.user_factors_, local.user_factors_)


@pytest.mark.filterwarnings(UNSEEN)
@pytest.mark.parametrize("kind", CLASSES)
def test_what_spark_does_not_tell_can_be_told(kind, of_spark):
    """With it users are folded in: Spark has solved its users last, so that they come out again."""
    path = of_spark[kind][1]
    users, items, values = ratings()
    silent = load_model(path)
    for solve in (lambda: silent.fold_in((users, items, values)), lambda: silent.explain(None, 1, history=([1], [2]))):
        with pytest.raises(NotFittedError, match="does not say by which equation"):
            solve()
    assert silent.settings_ == {}
    implicit = kind == "implicit"
    local = load_model(path, implicit=implicit, regularization=0.1, alpha=2.0)
    assert type(local) is CLASSES[kind]
    assert_array_equal(local.fold_in((users, items, values)).shape, (40, RANK))
    assert_allclose(local.fold_in((users, items, values)), local.user_factors_, atol=1e-4)
    with pytest.raises(ParameterError, match="implicit must be True or False"):
        load_model(path, regularization=0.1)
    with pytest.raises(ParameterError, match="regularization must be"):
        load_model(path, implicit=True, regularization=-1.0)


@pytest.mark.filterwarnings(UNSEEN)
def test_an_unknown_equation_stays_unknown_in_a_file(of_spark, tmp_path):
    local = load_model(of_spark["implicit"][1])
    local.save(tmp_path / "model")
    again = fastals.load(tmp_path / "model")
    assert_array_equal(again.user_factors_, local.user_factors_)
    with pytest.raises(NotFittedError, match="does not say by which equation"):
        again.fold_in(([1], [2]))
    save_model(local, tmp_path / "folder")
    assert load_model(tmp_path / "folder").settings_ == {}
    assert load_model(tmp_path / "folder", implicit=True, regularization=0.1).settings_["regularization"] == 0.1


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("way", ["by Spark", "by pyarrow"])
def test_what_is_saved_here_opens_in_spark(kind, way, spark, frame, tmp_path):
    from pyspark.ml.recommendation import ALSModel as Theirs

    from fastals.spark import ALS, ALSModel

    path = str(tmp_path / "model")
    if way == "by Spark":
        als = ALS(rank=RANK, maxIter=2, implicitPrefs=kind == "implicit", alpha=2.0, regParam=0.2, excludeSeen=True)
        model = als.setPredictionCol("guess").setPredictionCol("prediction").setBlockSize(512).fit(frame)
        model.save(path)
        local = model.toLocal()
    else:
        local = fitted(kind, regularization=0.2, **({"alpha": 2.0} if kind == "implicit" else {}))
        save_model(local, path)
    theirs = Theirs.load(path)
    assert theirs.rank == RANK
    expected = predictions(theirs, frame)
    assert len(expected) == 400
    assert_same_predictions(local, expected)
    again = ALSModel.load(path)
    assert predictions(again, frame) == pytest.approx(expected, abs=1e-6, rel=0)
    if way == "by Spark":
        assert (theirs.uid, again.uid, again.losses, again.engine) == (model.uid, model.uid, model.losses, "task")
        assert (theirs.getBlockSize(), again.getBlockSize(), again.getExcludeSeen()) == (512, 512, True)
        lists = {row.user: row.recommendations for row in again.recommendForAllUsers(28).collect()}
        assert sum(len(each) for each in lists.values()) == 40 * 28 - 400
    for other in (load_model(path), again.toLocal()):
        assert type(other) is CLASSES[kind]
        assert_array_equal(other.users_, local.users_)
        assert_array_equal(other.user_factors_, local.user_factors_)
        assert_array_equal(other.item_factors_, local.item_factors_)
        assert (other.settings_, other.loss_history_) == (local.settings_, local.loss_history_)
        assert_array_equal(other.recommend(local.users_, n=5).items, local.recommend(local.users_, n=5).items)
        history = (["x", "x"], [1, 2], [4.0, 2.0])
        assert_array_equal(other.fold_in(history), local.fold_in(history))
        assert other.explain(None, 5, history=history).items.tolist() == [1, 2] or kind
        with pytest.raises(NotFittedError, match="without its history"):
            other.partial_fit(history)
    with pytest.raises(ParameterError, match="tells itself how it was fitted"):
        load_model(path, implicit=True, regularization=1.0)


@pytest.mark.parametrize("ids", [as_text, lambda ids: ids + (1 << 40)], ids=["text", "of 64 bits"])
def test_other_ids_are_numbers_to_spark(ids, spark, tmp_path):
    from pyspark.ml.recommendation import ALSModel as Theirs

    from fastals.spark import ALSModel

    local = fitted("implicit", ids)
    save_model(local, tmp_path / "by_pyarrow")
    model = ALSModel.fromLocal(local, spark)
    model.save(str(tmp_path / "by_spark"))
    kind = "string" if ids is as_text else "bigint"
    for path in (str(tmp_path / "by_pyarrow"), str(tmp_path / "by_spark")):
        theirs = Theirs.load(path)
        rows = sorted(theirs.userFactors.collect())
        assert [row.id for row in rows] == list(range(40))
        assert_array_equal([row.features for row in rows], local.user_factors_)
        again = ALSModel.load(path)
        assert again.itemFactors.schema.simpleString() == f"struct<id:{kind},features:array<float>>"
        assert again.seen.schema.simpleString() == f"struct<id:{kind},items:array<{kind}>>"
        seen = {row.id: row.items for row in again.seen.collect()}
        history = local.state_.pairs
        assert seen == {
            user: local.items_[history.indices[begin:end]].tolist()
            for user, begin, end in zip(local.users_, history.indptr[:-1], history.indptr[1:], strict=True)
        }
        for other in (load_model(path), again.toLocal()):
            assert_array_equal(other.items_, local.items_)
            assert_array_equal(other.item_factors_, local.item_factors_)
            assert_array_equal(other.recommend(local.users_, n=5).items, local.recommend(local.users_, n=5).items)
            assert_array_equal(other.state_.pairs.indices, history.indices)


def test_a_pipeline_is_loaded_with_sparks_model(spark, frame, tmp_path):
    from pyspark.ml import Pipeline, PipelineModel
    from pyspark.ml.feature import StringIndexer
    from pyspark.ml.recommendation import ALSModel as Theirs

    from fastals.spark import ALS

    stages = [StringIndexer(inputCol=name, outputCol=f"{name}_index") for name in ("user", "item")]
    als = ALS(rank=RANK, maxIter=1, userCol="user_index", itemCol="item_index")
    model = Pipeline(stages=[*stages, als]).fit(frame)
    path = str(tmp_path / "pipeline")
    model.save(path)
    model.write().overwrite().save(path)
    again = PipelineModel.load(path)
    assert type(again.stages[-1]) is Theirs
    assert again.stages[-1].getUserCol() == "user_index"
    assert predictions(again, frame) == pytest.approx(predictions(model, frame), abs=1e-6, rel=0)


def test_what_is_at_a_path_is_kept_unless_it_may_go(spark, tmp_path):
    from fastals.spark import ALSModel

    path = str(tmp_path / "model")
    model, other = (ALSModel.fromLocal(fitted("explicit", ids), spark) for ids in (as_text, np.asarray))
    model.save(path)
    (tmp_path / "empty").mkdir()
    for there in (path, str(tmp_path / "empty")):
        with pytest.raises(ParameterError, match="path must be a new folder"):
            other.save(there)
    with pytest.raises(ParameterError, match="where the model itself is read from"):
        ALSModel.load(path).write().overwrite().save(path)
    assert ALSModel.load(path).rank == RANK
    other.write().overwrite().save(path)
    assert not os.path.exists(f"{path}/fastals/userLabels")
    assert ALSModel.read().load(path).userFactors.schema["id"].dataType.simpleString() == "int"


def test_ids_are_numbered_in_their_order_by_many_tasks(spark, tmp_path):
    from fastals.spark._modelio import _write_labels

    name = "spark.sql.adaptive.coalescePartitions.enabled"
    spark.conf.set(name, "false")
    try:
        ids = [f"{each:04}" for each in np.random.default_rng(0).permutation(1000).tolist()]
        frame = spark.createDataFrame([(each,) for each in ids], ["id"]).repartition(3)
        _write_labels(frame, str(tmp_path / "labels"))
    finally:
        spark.conf.unset(name)
    assert len(list((tmp_path / "labels").glob("*.parquet"))) == 4
    rows = spark.read.parquet(str(tmp_path / "labels")).collect()
    assert {row.id: row.label for row in rows} == dict(enumerate(sorted(ids)))


def test_over_connect(tmp_path):
    """The same where there is neither py4j nor an RDD."""
    from .cluster import run_connected

    save_model(fitted("implicit", as_text), tmp_path / "one")
    found = run_connected(
        f"""
        from fastals.spark import ALSModel
        from pyspark.ml.recommendation import ALSModel as Theirs
        model = ALSModel.load({str(tmp_path / "one")!r})
        model.save({str(tmp_path / "two")!r})
        model.write().overwrite().save({str(tmp_path / "two")!r})
        errors = []
        for writer in (model.write(), ALSModel.load({str(tmp_path / "two")!r}).write().overwrite()):
            try:
                writer.save({str(tmp_path / "two")!r})
            except ValueError as error:
                errors.append(type(error).__name__)
        try:
            ALSModel.load({str(tmp_path / "three")!r})
        except OSError as error:
            errors.append(type(error).__name__)
        theirs = Theirs.load({str(tmp_path / "two")!r})
        again = ALSModel.fromLocal(ALSModel.load({str(tmp_path / "two")!r}).toLocal(), spark)
        tell([errors, theirs.userFactors.count(), sorted(row.id for row in again.userFactors.collect())])
        """,
        tmp_path,
    )
    assert found == [["ParameterError", "ParameterError", "FileFormatError"], 40, sorted(as_text(range(-7, 33)))]
    assert_array_equal(load_model(tmp_path / "two").user_factors_, load_model(tmp_path / "one").user_factors_)


# what a model of Spark has no need of before it is asked for it
LATER = {"another class of ours", "parameters of ours", "seen by nobody", "seen nothing that is"}


@pytest.mark.parametrize("name", [name for name in CASES if name not in LATER])
def test_bad_folders(name, spark, tmp_path):
    from fastals.spark import ALSModel

    path, message = broken(name, tmp_path)
    with pytest.raises(FileFormatError, match=message) as error:
        ALSModel.load(path)
    assert path in str(error.value)

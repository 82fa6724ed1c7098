"""Predictions and lists of a model: schemas, order, what users have seen, and what does not change them."""

import numpy as np
import pyarrow as pa
import pytest
from pyspark.ml import recommendation as theirs
from pyspark.sql import functions as fn

from fastals import ArgumentTypeError, DataError, ParameterError
from fastals._engines.ask import Outcome
from fastals.spark import ALS, ALSModel
from fastals.spark._lists import Seen, Table, found, tasks_of
from fastals.spark._model import predicted

N_USERS, N_ITEMS, RANK = 60, 37, 5


def factors(n, seed, first=-20):
    """Ids of both signs, and rows of small integers: sums are exact, and many are equal."""
    rng = np.random.default_rng(seed)
    return np.arange(first, first + 3 * n, 3), rng.integers(-2, 3, (n, RANK))


USERS, ITEMS = factors(N_USERS, 1), factors(N_ITEMS, 2, first=-50)
SCORES = (USERS[1] @ ITEMS[1].T).astype(float)
SEEN = np.random.default_rng(3).random(SCORES.shape) < 0.3
SEEN[0] = True  # who has seen all
SEEN[1] = False


def name(number):
    return f"n{number:+04d}"


@pytest.fixture(scope="module", params=["int", "string"])
def model(spark, request):
    kind = request.param
    label = int if kind == "int" else name

    def frame(ids, rows):
        cells = [(label(i), list(map(float, row))) for i, row in zip(ids, rows, strict=True)]
        return spark.createDataFrame(cells, f"id {kind}, features array<float>").repartition(3)

    seen = [
        (label(user), [label(item) for item in ITEMS[0][mask]])
        for user, mask in zip(USERS[0], SEEN, strict=True)
        if mask.any()
    ]
    seen = spark.createDataFrame(seen, f"id {kind}, items array<{kind}>")
    model = ALSModel(Outcome(frame(*USERS), frame(*ITEMS), seen, (), ""), RANK)
    model.label, model.kind = label, kind
    return model


def expected(model, n, *, side="user", seen=None):
    """By a loop: descending score, equal ones by ascending id."""
    scores, ids = (SCORES, (USERS[0], ITEMS[0])) if side == "user" else (SCORES.T, (ITEMS[0], USERS[0]))
    others = [model.label(each) for each in ids[1]]
    found = {}
    for row, each in enumerate(ids[0]):
        open_ = [at for at in range(len(others)) if seen is None or not seen[row, at]]
        best = sorted(open_, key=lambda at: (-scores[row, at], others[at]))[:n]
        found[model.label(each)] = [(others[at], scores[row, at]) for at in best]
    return found


def lists(frame):
    rows = frame.collect()
    found = {row[0]: [tuple(each) for each in row.recommendations] for row in rows}
    assert len(found) == len(rows)
    return found


@pytest.mark.parametrize("n", [1, 10, 1 << 20])
def test_lists_are_the_best_and_equal_scores_go_by_id(model, n):
    assert lists(model.recommendForAllUsers(n)) == expected(model, n)


def test_lists_for_items(model):
    assert lists(model.recommendForAllItems(7)) == expected(model, 7, side="item")


def test_lists_leave_out_what_is_seen(model):
    model = model.copy({model.excludeSeen: True})
    assert lists(model.recommendForAllUsers(10)) == expected(model, 10, seen=SEEN)
    assert lists(model.recommendForAllItems(10)) == expected(model, 10, side="item", seen=SEEN.T)


def test_some_users_without_what_they_have_seen(spark, model):
    some = spark.createDataFrame([(model.label(USERS[0][at]),) for at in (0, 1, 5, 5)], ["user"])
    found = lists(model.copy({model.excludeSeen: True}).recommendForUserSubset(some, 3))
    every = expected(model, 3, seen=SEEN)
    assert found == {model.label(USERS[0][at]): every[model.label(USERS[0][at])] for at in (0, 1, 5)}
    assert found[model.label(USERS[0][0])] == []


def test_predictions(spark, model):
    pairs = [(u, i) for u in range(0, N_USERS, 7) for i in range(0, N_ITEMS, 5)]
    cells = [(model.label(USERS[0][u]), model.label(ITEMS[0][i]), float(SCORES[u, i]), "beside") for u, i in pairs]
    unknown = [(model.label(1 << 20), model.label(ITEMS[0][0]), 0.0, "unknown")]
    frame = spark.createDataFrame(cells + unknown, ["user", "item", "score", "note"])
    found = model.transform(frame)
    assert found.columns == ["user", "item", "score", "note", "prediction"]
    rows = found.collect()
    assert len(rows) == len(cells) + 1
    assert all(row.prediction == row.score for row in rows if row.note == "beside")
    assert all(np.isnan(row.prediction) for row in rows if row.note == "unknown")
    dropped = model.copy({model.coldStartStrategy: "DROP"}).transform(frame).collect()
    assert sorted(row.score for row in dropped) == sorted(score for *_, score, _ in cells)


def test_schemas_are_those_of_spark(spark):
    cells = spark.createDataFrame([(0, 0, 4.0), (0, 1, 2.0), (1, 1, 3.0)], ["who", "what", "rating"])
    settings = {"rank": 2, "maxIter": 1, "userCol": "who", "itemCol": "what"}
    ours, spark_s = (cls(**settings).fit(cells) for cls in (ALS, theirs.ALS))
    for ask in (
        lambda model: model.recommendForAllUsers(2),
        lambda model: model.recommendForAllItems(2),
        lambda model: model.recommendForUserSubset(cells, 2),
        lambda model: model.recommendForItemSubset(cells, 2),
        lambda model: model.transform(cells),
        lambda model: model.setPredictionCol("p").transform(cells.withColumn("features", fn.lit(1))),
    ):
        assert ask(ours).schema == ask(spark_s).schema
    assert [field.simpleString() for field in ours.userFactors.schema] == ["id:int", "features:array<float>"]


def test_lists_are_those_of_spark(spark):
    """Of the same factors."""
    rng = np.random.default_rng(0)
    rows = [(u, i, float(rng.normal())) for u in range(30) for i in range(20) if rng.random() < 0.4]
    cells = spark.createDataFrame(rows, ["user", "item", "rating"])
    spark_s = theirs.ALS(rank=3, maxIter=2, seed=1).fit(cells)
    ours = ALSModel(Outcome(spark_s.userFactors, spark_s.itemFactors, None, (), ""), 3)

    def scores(model, how):
        entries = fn.explode("recommendations").alias("each")
        found = getattr(model, how)(4).select(fn.col("user" if "User" in how else "item"), entries)
        return {(row[0], row[1][0]): row[1][1] for row in found.collect()}

    for how in ("recommendForAllUsers", "recommendForAllItems"):
        mine, yours = scores(ours, how), scores(spark_s, how)
        assert mine.keys() == yours.keys()
        np.testing.assert_allclose([mine[key] for key in yours], list(yours.values()), rtol=1e-5, atol=1e-6)

    def predictions(model):
        return [row.prediction for row in model.transform(cells).orderBy("user", "item").collect()]

    np.testing.assert_allclose(predictions(ours), predictions(spark_s), rtol=1e-5, atol=1e-6)


SETTINGS = [
    {"spark.sql.adaptive.enabled": "false", "spark.sql.shuffle.partitions": "3"},
    {"spark.sql.autoBroadcastJoinThreshold": "-1", "spark.sql.execution.arrow.maxRecordsPerBatch": "4"},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: next(iter(settings)))
def test_no_setting_of_spark_changes_a_bit(spark, settings):
    """Scores that rounding would tell apart, in batches and partitions of any size."""
    rng = np.random.default_rng(5)
    sides = [
        spark.createDataFrame([(i, rng.normal(size=9).tolist()) for i in range(n)], "id int, features array<float>")
        for n in (50, 30)
    ]
    model = ALSModel(Outcome(*sides, None, (), ""), 9)
    pairs = spark.range(50).selectExpr("int(id) user", "int(id % 30) item")

    def answers():
        predictions = {(row.user, row.item): row.prediction for row in model.transform(pairs).collect()}
        return lists(model.recommendForAllUsers(6)), lists(model.recommendForAllItems(6)), predictions

    expected, before = answers(), {name: spark.conf.get(name) for name in settings}
    try:
        for name, value in settings.items():
            spark.conf.set(name, value)
        assert answers() == expected
    finally:
        for name, value in before.items():
            spark.conf.set(name, value)


# ---------------------------------------------------------------------------------------------------------------------
# what cannot be


def test_refusals(spark, model):
    users = spark.createDataFrame([(model.label(1), "x", True)], ["user", "item", "flag"])
    for n in (0, -1):
        for ask in (
            lambda n=n: model.recommendForAllUsers(n),
            lambda n=n: model.recommendForUserSubset(users, n),
        ):
            with pytest.raises(ParameterError, match=f"numItems must be >= 1, got {n}"):
                ask()
    with pytest.raises(ParameterError, match="numUsers must be >= 1"):
        model.recommendForAllItems(0)
    for n in (2.5, "3", True, None):
        with pytest.raises(ArgumentTypeError, match="numItems must be an integer"):
            model.recommendForAllUsers(n)
    with pytest.raises(DataError, match="there must be one column 'user', got 'item', 'flag'"):
        model.recommendForUserSubset(users.drop("user"), 2)
    with pytest.raises(ArgumentTypeError, match="column 'flag' must hold numbers or strings, got boolean"):
        model.copy({model.userCol: "flag"}).recommendForUserSubset(users, 2)
    with pytest.raises(ParameterError, match="predictionCol must name a new column, got 'item'"):
        model.copy({model.predictionCol: "item"}).transform(users)
    without = ALSModel(Outcome(model.userFactors, model.itemFactors, None, (), ""), RANK).setExcludeSeen(True)
    with pytest.raises(ParameterError, match="excludeSeen must be False"):
        without.recommendForAllUsers(2)


def test_numbers_are_no_strings(spark, model):
    other = spark.createDataFrame([("n1", "n1")] if model.kind == "int" else [(1, 1)], ["user", "item"])
    for ask in (model.transform, lambda frame: model.recommendForUserSubset(frame, 1)):
        with pytest.raises(ArgumentTypeError, match=r"column 'user' must hold (numbers|strings), as in fit"):
            ask(other)


def test_numbers_of_any_type_ask_for_the_ids_that_they_are(spark):
    """Decimals have all integers of 64 bits, floating-point numbers have not."""
    ids = [2**53, 2**53 + 1, 2**53 + 2]
    users = spark.createDataFrame(
        [(each, [float(at)]) for at, each in enumerate(ids)], "id long, features array<float>"
    )
    items = spark.createDataFrame([(0, [1.0])], "id int, features array<float>")
    model = ALSModel(Outcome(users, items, None, (), ""), 1)
    asked = spark.createDataFrame([(each, 0) for each in ids], "user long, item int")
    exact = asked.selectExpr("cast(user AS decimal(20, 0)) AS user", "item")
    found = {int(row.user): row.prediction for row in model.transform(exact).collect()}
    assert found == {each: float(at) for at, each in enumerate(ids)}
    assert list(lists(model.recommendForUserSubset(exact.filter("user = 9007199254740993"), 1))) == [2**53 + 1]
    rounded = asked.selectExpr("double(user) AS user", "item")
    with pytest.raises(Exception, match="column 'user' must hold integers of 64 bits, got 9"):
        model.transform(rounded).collect()
    assert set(lists(model.recommendForUserSubset(rounded, 1))) <= {2**53}
    above = spark.createDataFrame([(2147483648.0, 0)], "user float, item int")
    small = ALSModel(Outcome(items.withColumnRenamed("x", "y"), items, None, (), ""), 1)
    with pytest.raises(Exception, match="column 'user' must hold integers of 32 bits"):
        small.transform(above).collect()


def test_names_of_columns(spark, model):
    """They are meant as Spark means them, but for those of what is within a column."""
    frame = spark.createDataFrame(
        [(model.label(USERS[0][0]), model.label(ITEMS[0][0]), 1)], ["a.b", "Item", "Prediction"]
    )
    with pytest.raises(ParameterError, match="predictionCol must name a new column, got 'prediction'"):
        model.copy({model.userCol: "a.b"}).transform(frame)
    found = model.copy({model.userCol: "a.b"}).transform(frame.drop("Prediction")).collect()
    assert found[0].prediction == SCORES[0, 0]
    nested = frame.selectExpr("struct(`a.b` AS id) AS u", "Item")
    with pytest.raises(DataError, match=r"there must be one column 'u\.id'"):
        model.copy({model.userCol: "u.id"}).transform(nested)


def test_ids_of_any_bytes(spark):
    """What Spark calls a string need not be text."""
    cells = spark.range(4).selectExpr(
        "cast(unhex(hex(250 + id)) AS string) AS user", "int(id) AS item", "1.0 AS rating"
    )
    model = ALS(rank=1, maxIter=1, excludeSeen=True).fit(cells)
    assert model.recommendForAllUsers(2).selectExpr("sum(size(recommendations))").collect() == [(8,)]


def test_a_string_that_is_missing_is_no_id(spark, model):
    if model.kind == "string":
        frame = spark.createDataFrame([(None, "n")], "user string, item string")
        with pytest.raises(Exception, match="column 'user' must hold strings, got null"):
            model.transform(frame).collect()


# ---------------------------------------------------------------------------------------------------------------------
# without Spark


def part(side, some=slice(None)):
    """Some rows of a table."""
    return pa.array(side[0][some], pa.int32()), np.ascontiguousarray(side[1][some], np.float32)


def test_lists_of_a_table_are_made_in_parts(monkeypatch):
    """However few entries a part may have; the parts of a table may come in any order."""
    table = Table.of([part(ITEMS, some) for some in (slice(20, None), slice(0, 20), slice(0, 0))], 1)
    assert table.ids.to_pylist() == ITEMS[0].tolist()
    [whole] = found(table, *part(USERS), None, 5, ("u", "i"), 1)
    monkeypatch.setattr("fastals.spark._lists.LIST_ENTRIES", 40)
    parts = list(found(table, *part(USERS), None, 5, ("u", "i"), 1))
    assert len(parts) == 8
    assert pa.Table.from_batches(parts).combine_chunks().to_batches()[0].equals(whole)


def test_seen_items_that_a_table_has_not_are_passed_over():
    table = Table.of([part(ITEMS)], 1)
    users = USERS[0][:4].tolist()
    pairs = [(users[0], 1000), (users[0], int(ITEMS[0][2])), (users[3], 2000), (users[0], -1000), (7_777, -50)]
    own, others = (pa.array(each, pa.int32()) for each in zip(*pairs, strict=True))
    seen = Seen.of([(own[:2], others[:2]), (own[2:], others[2:])], table.ids)
    [answer] = found(table, *part((users, USERS[1][[5, 5, 5, 5]])), seen, N_ITEMS, ("u", "i"), 1)
    lists = [[each["i"] for each in row] for row in answer.column("recommendations").to_pylist()]
    assert lists[1] == lists[2] == lists[3]
    assert lists[0] == [each for each in lists[1] if each != ITEMS[0][2]]


@pytest.mark.parametrize("kind", ["int32", "int64", "string"])
def test_ids_are_shared_out_evenly_and_one_by_one(kind):
    """Also those that are all multiples of something; and whatever comes beside them."""
    ids = np.arange(0, 64_000, 64)
    ids = pa.array([f"{each}\U0001f600" for each in ids] if kind == "string" else ids, kind)
    for tasks in (1, 2, 7, 64):
        of = tasks_of(ids, tasks)
        counts = np.bincount(of, minlength=tasks)
        assert len(counts) == tasks
        assert counts.min() > 0.2 * len(ids) / tasks
        np.testing.assert_array_equal(tasks_of(ids[500:510], tasks), of[500:510])


def test_a_prediction_is_that_of_the_pair_alone():
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=(23, 17)).astype(np.float32) for _ in range(2))
    users, items = (pa.array([*each.tolist(), None], pa.list_(pa.float32())) for each in (x, y))
    whole = predicted(users, items).to_numpy()
    np.testing.assert_allclose(whole[:-1], np.einsum("ij,ij->i", x.astype(float), y), rtol=1e-5, atol=1e-5)
    assert np.isnan(whole[-1])
    for first in range(24):
        for size in (1, 5):
            part = predicted(users[first : first + size], items[first : first + size]).to_numpy()
            np.testing.assert_array_equal(part, whole[first : first + size])
    assert predicted(users[:0], items[:0]).to_pylist() == []

"""What Spark's own tests state of ALS, ALSSuite of its sources, stated of ours."""

import numpy as np
import pytest
from pyspark.sql import functions as fn

from fastals import DataError, ParameterError
from fastals._engines.ask import Outcome
from fastals.spark import ALS, ALSModel

ENGINES = ["task"]
"""Those that the statements are tried with; all that there are give the same bits."""
NAMES = ["user", "item", "rating"]


@pytest.fixture(scope="module", params=ENGINES)
def engine(request):
    return request.param


def ids_of(rng, n):
    """Distinct integers of 32 bits, of both signs."""
    ids = rng.integers(-(1 << 31), 1 << 31, 2 * n)
    return np.unique(ids)[rng.permutation(n)]


def drawn(spark, n_users, n_items, rank, *, noise=0.0, observed=0.6, tested=0.3, seed=11):
    """Ratings of low rank, for training with noise and for testing without."""
    rng = np.random.default_rng(seed)
    users, items = ids_of(rng, n_users), ids_of(rng, n_items)
    ratings = rng.uniform(-1, 1, (n_users, rank)) @ rng.uniform(-1, 1, (n_items, rank)).T
    lot = rng.random(ratings.shape)

    def frame(mask, values):
        rows, columns = np.nonzero(mask)
        cells = zip(users[rows].tolist(), items[columns].tolist(), values[mask].tolist(), strict=True)
        return spark.createDataFrame(list(cells), NAMES)

    training = frame(lot < observed, ratings + noise * rng.standard_normal(ratings.shape))
    return training, frame((lot >= observed) & (lot < observed + tested), ratings)


def error_of(model, test, alpha=None):
    """RMSE of predictions; with ``alpha`` that of implicit feedback, in 0..1 and weighted by confidence."""
    found = model.setColdStartStrategy("drop").transform(test).toPandas()
    assert len(found) > 0.9 * test.count()
    ratings, predictions = found["rating"].to_numpy(), found["prediction"].to_numpy(np.float64)
    weights = np.ones(len(found))
    if alpha is not None:
        weights = 1 + alpha * np.abs(ratings)
        ratings, predictions = np.clip(ratings, 0, 1), np.clip(predictions, 0, 1)
    return np.sqrt(np.average((ratings - predictions) ** 2, weights=weights))


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
# quality


def test_exact_rank_one(spark, engine):
    """Spark's suite speaks of one iteration here, and of 2 and 4 below, but sets none of them: so ten."""
    training, test = drawn(spark, 20, 40, 1)
    for rank in (1, 2):
        assert error_of(ALS(rank=rank, regParam=1e-5, engine=engine).fit(training), test) < 0.001


def test_approximate_rank_one(spark, engine):
    training, test = drawn(spark, 20, 40, 1, noise=0.01)
    for rank in (1, 2):
        assert error_of(ALS(rank=rank, regParam=0.01, engine=engine).fit(training), test) < 0.02


def test_approximate_rank_two_in_any_blocks(spark, engine):
    training, test = drawn(spark, 20, 40, 2, noise=0.01)
    assert error_of(ALS(rank=2, regParam=0.01, engine=engine).fit(training), test) < 0.03
    als = ALS(rank=3, regParam=0.01, engine=engine)
    models = [als.copy().setNumUserBlocks(u).setNumItemBlocks(i).fit(training) for u, i in ((1, 1), (2, 1), (2, 3))]
    assert error_of(models[0], test) < 0.03
    assert all(equal(model, models[0]) for model in models[1:])


def test_more_blocks_than_ratings(spark, engine):
    training, test = drawn(spark, 4, 4, 1)
    als = ALS(rank=1, regParam=1e-4, engine=engine).setNumBlocks(5)
    assert error_of(als.fit(training), test) < 0.002


def test_implicit_feedback(spark, engine):
    training, test = drawn(spark, 20, 40, 2, noise=0.01)
    als = ALS(rank=2, maxIter=4, regParam=0.01, implicitPrefs=True, engine=engine)
    assert error_of(als.fit(training), test, alpha=1.0) < 0.3


def test_a_confident_no_is_not_a_zero(spark, engine):
    """Of an old bug of Spark: what is below 0 has preference 0, with confidence."""
    cells = [(0, 0, 1.0), (0, 1, 1.0), (1, 0, 1.0)]
    als = ALS(rank=2, maxIter=4, implicitPrefs=True, engine=engine)
    no, zero = (als.fit(spark.createDataFrame([*cells, (1, 1, value)], NAMES)) for value in (-3.0, 0.0))
    assert not np.allclose(table(no.userFactors)[1], table(zero.userFactors)[1], atol=1e-3)


def test_a_user_with_no_alone_has_factors_of_zero(spark, engine):
    cells = spark.createDataFrame([(0, 0, 1.0), (0, 1, 1.0), (1, 1, -2.0)], NAMES)
    model = ALS(rank=2, implicitPrefs=True, engine=engine).fit(cells)
    assert not table(model.userFactors)[1][1].any()


@pytest.mark.parametrize(("rank", "implicit", "target"), [(1, False, 0.3), (2, False, 0.3), (2, True, 0.4)])
def test_seventy_in_a_hundred_are_enough(spark, engine, rank, implicit, target):
    """The older suite: 50 users, 100 items; negative ratings are among the implicit ones."""
    training, test = drawn(spark, 50, 100, rank, observed=0.7, tested=0.3)
    model = ALS(rank=rank, maxIter=15, regParam=0.01, implicitPrefs=implicit, engine=engine).fit(training)
    assert error_of(model, test, alpha=1.0 if implicit else None) < target


def test_nonnegative(spark, engine):
    training, _ = drawn(spark, 20, 40, 2, noise=0.01)
    for implicit, iterations in ((False, 50), (True, 4)):
        als = ALS(rank=2, maxIter=iterations, regParam=0.01, implicitPrefs=implicit, nonnegative=True, engine=engine)
        model = als.fit(training)
        factors = [table(each)[1] for each in (model.userFactors, model.itemFactors)]
        assert all(np.isfinite(each).all() and (each >= 0).all() and each.any() for each in factors)


# ---------------------------------------------------------------------------------------------------------------------
# ids, seeds, bad data


def test_ids_of_any_numeric_type(spark, engine):
    cells = spark.createDataFrame([(-1, 1, 1.0), (-1, 2, 2.0), (3, 2, 3.0), (4, -5, 4.0)], NAMES)
    als = ALS(rank=1, maxIter=2, engine=engine)
    models = [als.fit(cells)]
    known = models[0].transform(cells).orderBy("user", "item").collect()
    for kind in ("byte", "short", "int", "float", "double", "decimal(5,1)"):
        frame = cells.select(fn.col("user").cast(kind), fn.col("item").cast(kind), "rating")
        models.append(als.fit(frame))
        assert models[0].transform(frame).orderBy("user", "item").collect() == known
    assert all(equal(model, models[0]) for model in models[1:])
    ids, _ = table(models[0].userFactors)
    assert ids.tolist() == [-1, 3, 4]
    assert ids.dtype == np.int32


def test_bad_ids(spark, engine):
    cells = spark.createDataFrame([(1, 1, 1.0), (2, 2, 2.0)], NAMES)
    als = ALS(rank=1, maxIter=1, engine=engine)
    model = als.fit(cells)
    for column, bad, told in (
        ("user", "if(rating > 1, null, 1)", "null"),
        ("item", "if(rating > 1, 2.5D, 1D)", r"2\.5"),
        ("user", "if(rating > 1, 2.5BD, 1BD)", r"2\.5"),
        ("item", f"if(rating > 1, {1 << 31}L, 1L)", str(1 << 31)),
        ("user", f"if(rating > 1, {-(1 << 31) - 1}D, 1D)", r"-2147483649|-2\.147483649E9"),
        ("item", "if(rating > 1, double('inf'), 1D)", "[Ii]nf"),
        ("user", "if(rating > 1, double('nan'), 1D)", "nan|NaN"),
    ):
        frame = cells.withColumn(column, fn.expr(bad))
        if "2." in bad:
            with pytest.raises(DataError, match=f"column '{column}' must hold .*got .*({told})"):
                als.fit(frame)
        with pytest.raises(Exception, match=f"column '{column}' must hold .*got .*({told})"):
            model.transform(frame).collect()


def test_bad_ratings(spark, engine):
    cells = spark.createDataFrame([(1, 1, 1.0), (2, 2, 2.0)], NAMES)
    for bad, told in (("null", "null"), ("double('nan')", "(nan|NaN)"), ("double('-inf')", "-[Ii]nf")):
        frame = cells.withColumn("rating", fn.expr(f"if(user > 1, {bad}, 1D)"))
        with pytest.raises(DataError, match=f"column 'rating' must hold .*got .*({told})"):
            ALS(engine=engine).fit(frame)
    with pytest.raises(DataError, match="no ratings"):
        ALS(engine=engine).fit(cells.limit(0))


def test_seeds(spark, engine):
    training, _ = drawn(spark, 10, 15, 2, noise=0.01)
    als = ALS(rank=2, maxIter=2, engine=engine)
    seeds = als, als.copy(), als.copy().setSeed(0), als.copy().setSeed(1)
    default, again, zero, other = (each.fit(training) for each in seeds)
    assert equal(default, again)
    assert equal(default, zero)
    assert not equal(default, other)


def test_no_iterations_leave_rows_of_length_one(spark, engine):
    training, _ = drawn(spark, 5, 6, 2)
    model = ALS(rank=3, maxIter=0, engine=engine).fit(training)
    for factors in (model.userFactors, model.itemFactors):
        np.testing.assert_allclose(np.linalg.norm(table(factors)[1], axis=1), 1, rtol=1e-6)


def test_all_ratings_are_one_without_a_column(spark, engine):
    cells = spark.createDataFrame([(0, 0, 7.0), (0, 1, 7.0), (1, 1, 7.0)], NAMES)
    als = ALS(rank=2, maxIter=3, engine=engine)
    assert equal(als.copy().setRatingCol("").fit(cells.drop("rating")), als.fit(cells.withColumn("rating", fn.lit(1))))


# ---------------------------------------------------------------------------------------------------------------------
# cold start


def test_cold_start(spark, engine):
    cells = spark.createDataFrame([(0, 0, 4.0), (0, 1, 2.0), (1, 1, 3.0)], NAMES)
    known, unknown = cells.limit(1), spark.createDataFrame([(0, 9, 1.0), (9, 0, 1.0), (9, 9, 1.0)], NAMES)
    model = ALS(rank=2, maxIter=2, engine=engine).fit(cells)
    found = [row.prediction for row in model.transform(known.union(unknown)).orderBy("rating").collect()]
    assert [np.isnan(each) for each in found] == [True, True, True, False]
    for word in ("nan", "NaN", "Nan"):
        assert model.setColdStartStrategy(word).transform(unknown).count() == 3
    for word in ("drop", "DROP", "Drop"):
        rows = model.setColdStartStrategy(word).transform(known.union(unknown)).collect()
        assert [row.rating for row in rows] == [4.0]
    with pytest.raises(ParameterError, match="coldStartStrategy must be one of 'nan', 'drop', got 'mean'"):
        model.setColdStartStrategy("mean")


# ---------------------------------------------------------------------------------------------------------------------
# lists

USERS = {0: [6.0, 4.0], 1: [3.0, 4.0], 2: [3.0, 6.0]}
ITEMS = {3: [5.0, 6.0], 4: [6.0, 2.0], 5: [3.0, 6.0], 6: [4.0, 1.0]}
FOR_USERS = {
    0: [(3, 54.0), (4, 44.0), (5, 42.0), (6, 28.0)],
    1: [(3, 39.0), (5, 33.0), (4, 26.0), (6, 16.0)],
    2: [(3, 51.0), (5, 45.0), (4, 30.0), (6, 18.0)],
}
FOR_ITEMS = {
    3: [(0, 54.0), (2, 51.0), (1, 39.0)],
    4: [(0, 44.0), (2, 30.0), (1, 26.0)],
    5: [(2, 45.0), (0, 42.0), (1, 33.0)],
    6: [(0, 28.0), (2, 18.0), (1, 16.0)],
}


@pytest.fixture(scope="module")
def example(spark):
    users, items = (
        spark.createDataFrame(list(rows.items()), "id int, features array<float>") for rows in (USERS, ITEMS)
    )
    return ALSModel(Outcome(users, items, None, (), ""), 2).setUserCol("user").setItemCol("item")


def lists(frame):
    rows = frame.collect()
    found = {row[0]: [tuple(each) for each in row.recommendations] for row in rows}
    assert len(found) == len(rows)
    return found


@pytest.mark.parametrize("n", [2, 4, 6])
def test_lists_for_all(example, n):
    assert lists(example.recommendForAllUsers(n)) == {user: best[:n] for user, best in FOR_USERS.items()}
    assert lists(example.recommendForAllItems(n)) == {item: best[:n] for item, best in FOR_ITEMS.items()}


@pytest.mark.parametrize("n", [2, 6])
def test_lists_for_some(spark, example, n):
    users = spark.createDataFrame([(0,), (2,), (0,), (7,)], ["user"])  # repeats, and one whom nobody knows
    items = spark.createDataFrame([(3.0,), (5.0,), (5.5,), (3.0,)], ["item"])
    assert lists(example.recommendForUserSubset(users, n)) == {user: FOR_USERS[user][:n] for user in (0, 2)}
    assert lists(example.recommendForItemSubset(items, n)) == {item: FOR_ITEMS[item][:n] for item in (3, 5)}


def test_a_subset_of_all_is_all(example):
    users, items = (
        factors.withColumnRenamed("id", name)
        for factors, name in ((example.userFactors, "user"), (example.itemFactors, "item"))
    )
    assert lists(example.recommendForUserSubset(users, 3)) == lists(example.recommendForAllUsers(3))
    assert lists(example.recommendForItemSubset(items, 3)) == lists(example.recommendForAllItems(3))

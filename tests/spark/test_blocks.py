"""The engine of blocks: the bits of one machine for any number of blocks, over classic Spark and Spark Connect."""

import logging

import numpy as np
import pytest

import fastals
from fastals._engines import blocks, build, fit, steps
from fastals._engines.ask import Ask, Columns
from fastals.spark import ALS

from .cluster import run_connected
from .data import digest_of, on_one_machine, ratings

COLUMNS = Columns("user", "item", "rating")

FITS = {
    "explicit": {"rank": 9, "solver": "cholesky", "iterations": 3, "blocks": 7},
    "explicit, auto": {"rank": 34, "solver": "auto", "iterations": 5, "blocks": 2},
    "implicit, auto": {"rank": 33, "solver": "auto", "iterations": 6, "blocks": 7, "implicit": True},
    "implicit, cg": {"rank": 5, "solver": "cg", "iterations": 2, "blocks": 3, "implicit": True},
    "implicit, signs": {
        "rank": 4,
        "solver": "auto",
        "iterations": 2,
        "blocks": 1,
        "implicit": True,
        "nonnegative": True,
    },
    "implicit, lapack": {"rank": 3, "solver": "lapack", "iterations": 1, "blocks": 2, "implicit": True},
    "no iterations": {"rank": 3, "iterations": 0, "blocks": 2},
}
"""Five iterations of conjugate gradients are over-relaxed, balanced, and end exactly; seven blocks are as many as parts
are, nearly: see data.py."""


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return ratings(tmp_path_factory.mktemp("ratings") / "ratings.parquet")


def als(rank=10, iterations=10, blocks=None, implicit=False, **parameters):
    """The estimator of a fit."""
    estimator = ALS(rank=rank, maxIter=iterations, implicitPrefs=implicit, seed=7, engine="blocks", **parameters)
    return estimator if blocks is None else estimator.setNumBlocks(blocks)


@pytest.mark.parametrize("name", FITS)
def test_the_bits_are_those_of_one_machine(spark, path, name):
    model = als(**FITS[name]).fit(spark.read.parquet(path))
    assert model.engine == "blocks"
    alone = on_one_machine(path, **{key: value for key, value in FITS[name].items() if key != "blocks"})
    assert model.losses == tuple(alone.loss_history_)
    assert digest_of(model) == digest_of(alone)


def test_how_ratings_are_partitioned_says_nothing(spark, path):
    frame = spark.read.parquet(path)
    one, other = (
        als(rank=4, iterations=1, blocks=blocks).fit(each)
        for blocks, each in ((2, frame.repartition(3, "item")), (5, frame.orderBy("rating").coalesce(1)))
    )
    assert digest_of(one) == digest_of(other)


def test_over_connect(path, tmp_path):
    chosen = [{**FITS[name], "seed": 7} for name in ("explicit", "implicit, auto")]
    text = f"""
        from fastals.spark import ALS
        from spark.data import digest_of
        digests = []
        for engine in ("blocks", "task"):
            for fit in {chosen!r}:
                als = ALS(rank=fit["rank"], maxIter=fit["iterations"], solver=fit["solver"], seed=fit["seed"],
                          implicitPrefs=fit.get("implicit", False), engine=engine).setNumBlocks(fit["blocks"])
                digests.append(digest_of(als.fit(spark.read.parquet({path!r}))))
        tell(digests)
    """
    alone = [digest_of(on_one_machine(path, **{k: v for k, v in fit.items() if k != "blocks"})) for fit in chosen]
    assert run_connected(text, tmp_path) == alone * 2


@pytest.mark.parametrize("engine", ["task", "blocks"])
@pytest.mark.parametrize("implicit", [False, True])
def test_from_the_start_of_spark_come_the_factors_of_spark(spark, engine, implicit):
    """Its start is its model after no iterations."""
    from pyspark.ml import recommendation

    rng = np.random.default_rng(5)
    rows = [(int(u), int(i), float(r)) for u, i, r in rng.integers([0, 0, 1], [300, 200, 6], (4000, 3))]
    frame = spark.createDataFrame(rows, "user int, item int, rating float").repartition(2).persist()
    theirs = recommendation.ALS(
        rank=6, maxIter=3, seed=11, implicitPrefs=implicit, alpha=0.7, numUserBlocks=2, numItemBlocks=2
    )
    start, end = theirs.copy({theirs.maxIter: 0}).fit(frame), theirs.fit(frame)
    ours = ALS(rank=6, maxIter=3, implicitPrefs=implicit, alpha=0.7, solver="cholesky", engine=engine).setInitialModel(
        start
    )
    model = ours.fit(frame)
    for found, expected in ((model.userFactors, end.userFactors), (model.itemFactors, end.itemFactors)):
        both = found.withColumnRenamed("features", "ours").join(expected, "id").collect()
        assert len(both) == found.count() == expected.count()
        np.testing.assert_allclose([row.ours for row in both], [row.features for row in both], rtol=0, atol=1e-5)
    frame.unpersist()


def test_tasks_that_do_not_find_their_blocks_are_given_them(spark, path, monkeypatch, caplog):
    """As when Spark places a task where its in-block is not."""
    ask = Ask(rank=4, iterations=2, engine="blocks", seed=7, user_blocks=2, item_blocks=2, solver="cholesky")
    made = blocks.blocks

    def lose(*arguments):
        side = made(*arguments)
        build.clear(side.handles)
        return side

    monkeypatch.setattr(blocks, "blocks", lose)
    with caplog.at_level(logging.WARNING, "fastals"):
        outcome = fit(spark.read.parquet(path), COLUMNS, ask)
    assert len([record for record in caplog.records if "in-blocks are not" in record.message]) == 2
    alone = on_one_machine(path, rank=4, iterations=2, solver="cholesky")
    assert outcome.losses == tuple(alone.loss_history_)


def test_errors_of_the_arithmetic_come_as_they_are_and_leave_nothing_behind(spark):
    persisted = spark.sparkContext._jsc.getPersistentRDDs
    before = set(persisted().keySet())
    frame = spark.createDataFrame([(0, 0, 3e38), (1, 1, 3e38), (1, 0, -3e38)], "user int, item int, rating float")
    with pytest.raises(fastals.NumericalError, match="float"):
        als(rank=2, iterations=3).fit(frame)
    assert not set(persisted().keySet()) - before


def test_messages_are_cut_into_pieces(spark, path, monkeypatch):
    """Of one row each where they may hold next to nothing; the bits stay."""
    monkeypatch.setattr(steps, "PIECE_BYTES", 1)
    block = build.InBlock.of("users", build.Cells(*(np.arange(3, dtype=t) for t in "iif")), np.array([0], np.int32))
    lot = steps.Lot("users", blocks.equation_of(Ask(rank=2, solver="cg")), 0, (0,), 3, 3, 3)
    factors = np.arange(6, dtype=np.float32).reshape(3, 2)
    pieces = list(steps.sent(lot, 0, block, factors))
    assert [piece.kind for piece in pieces] == ["own"] * 3 + ["sent"] * 3
    rows, numbers = steps.received(block, pieces)
    np.testing.assert_array_equal(rows, factors)
    np.testing.assert_array_equal(numbers, [0, 1, 2])
    with pytest.raises(RuntimeError, match="read twice"):
        steps.received(block, pieces[:-1])

"""What a user can get wrong: one clear exception on the driver, with the column and the first bad value."""

from __future__ import annotations

import decimal
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import fastals
from fastals._engines import fit
from fastals._engines.ask import Ask, Columns
from fastals._engines.pack import packed

from .test_task import COLUMNS, assert_same, frame_of, one_machine, ratings

QUICK = Ask(rank=2, iterations=1)
BIG = 2**31
IDS = "column 'user' must hold integers of 32 bits"
RATINGS = "column 'rating' must hold finite numbers of 32 bits"


@pytest.mark.parametrize(
    ("schema", "bad", "words"),
    [
        ("user int, item int, rating float", (None, 1, 1.0), f"{IDS}, got null"),
        ("user int, item int, rating float", (1, None, 1.0), "column 'item' must hold integers of 32 bits, got null"),
        ("user double, item int, rating float", (None, 1, 1.0), f"{IDS}, got null"),
        ("user double, item int, rating float", (1.5, 1, 1.0), f"{IDS}, or strings, got 1.5: cast to strings, any ids"),
        ("user double, item int, rating float", (math.nan, 1, 1.0), f"{IDS}, or strings, got nan"),
        ("user double, item int, rating float", (math.inf, 1, 1.0), f"{IDS}, or strings, got inf"),
        ("user double, item int, rating float", (float(BIG), 1, 1.0), f"{IDS}, or strings, got {float(BIG)}"),
        ("user float, item int, rating float", (float(BIG), 1, 1.0), f"{IDS}, or strings, got {float(BIG)}"),
        (
            "user decimal(12,2), item int, rating float",
            (decimal.Decimal("2.50"), 1, 1.0),
            f"{IDS}, or strings, got 2.5",
        ),
        ("user long, item int, rating float", (BIG, 1, 1.0), f"{IDS}, or strings, got {BIG}: cast to strings"),
        ("user long, item int, rating float", (-BIG - 1, 1, 1.0), f"{IDS}, or strings, got {-BIG - 1}"),
        ("user int, item int, rating float", (1, 1, None), f"{RATINGS}, got null"),
        ("user int, item int, rating float", (1, 1, math.nan), f"{RATINGS}, got nan"),
        ("user int, item int, rating float", (1, 1, -math.inf), f"{RATINGS}, got -inf"),
        ("user int, item int, rating double", (1, 1, 1e300), rf"{RATINGS}, got 1e\+300"),
    ],
    ids=str,
)
def test_values(spark, schema, bad, words):
    """In the second of two partitions; the others are told nothing of it."""
    kinds = dict(column.split() for column in schema.split(", "))
    number = {name: decimal.Decimal(3) if kind.startswith("decimal") else 3 for name, kind in kinds.items()}
    good = tuple(float(value) if kinds[name] in ("float", "double") else value for name, value in number.items())
    frame = spark.createDataFrame([good] * 3 + [bad], schema).repartition(2)
    with pytest.raises(fastals.DataError, match=words):
        packed(frame, COLUMNS, [])


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ("user boolean, item int, rating float", "'user' must hold numbers or strings, got boolean"),
        ("user int, item array<int>, rating float", "'item' must hold numbers or strings, got array<int>"),
        ("user date, item int, rating float", "'user' must hold numbers or strings, got date"),
        ("user void, item int, rating float", "'user' must hold numbers or strings, got void"),
        ("user int, item int, rating string", "'rating' must hold numbers, got string"),
        ("user int, item int, rating boolean", "'rating' must hold numbers, got boolean"),
    ],
)
def test_types_of_columns(spark, schema, words):
    with pytest.raises(fastals.ArgumentTypeError, match=words):
        fit(spark.createDataFrame([], schema), COLUMNS, QUICK)


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ("user int, movie int, rating float", "there must be one column 'item', got 'user', 'movie', 'rating'"),
        ("user int, item int, rating float", "there are no ratings: the data frame has no rows"),
        ("user string, item string, rating float", "there are no ratings: the data frame has no rows"),
    ],
)
def test_frames_without_ratings(spark, schema, words):
    with pytest.raises(fastals.DataError, match=words):
        fit(spark.createDataFrame([], schema), COLUMNS, QUICK)


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (Ask(rank=0), "factors must be"),
        (Ask(regularization=-1.0), "regularization must be"),
        (Ask(solver="qr"), "solver must be"),
        (Ask(solver="cg", nonnegative=True), "solver must be 'auto' or 'cholesky' with nonnegative"),
    ],
)
def test_parameters_before_any_work(ask, words):
    with pytest.raises(fastals.ParameterError, match=words):
        fit(None, COLUMNS, ask)


def test_an_error_of_the_fit_comes_as_it_is(spark):
    frame = spark.createDataFrame([(1, 2, -1.0), (2, 1, 0.0)], "user int, item int, rating float")
    with pytest.raises(fastals.DataError, match="needs at least one value above 0"):
        fit(frame, COLUMNS, Ask(rank=1, implicit=True))


@pytest.mark.parametrize("kind", ["tinyint", "smallint", "int", "bigint", "float", "double", "decimal(9,0)"])
def test_ids_of_any_numbers(spark, kind):
    """They are integers of 32 bits in the end, as Spark has them."""
    users, items, values = cells = tuple(each.astype(np.int8) for each in ratings(200, n_users=60))
    frame = frame_of(spark, cells).selectExpr(*(f"CAST({name} AS {kind}) AS {name}" for name in COLUMNS))
    ask = Ask(rank=2, iterations=1)
    fitted = fit(frame, COLUMNS, ask)
    assert_same(fitted, one_machine((users.astype(np.int32), items.astype(np.int32), values.astype(np.float32)), ask))
    assert fitted.user_factors.schema["id"].dataType.simpleString() == "int"


def test_the_limits_of_integers_are_ids(spark):
    frame = spark.createDataFrame(
        [(-BIG, BIG - 1.0, 1.0), (BIG - 1, -1.0 * BIG, 2.0)], "user long, item double, rating float"
    )
    fitted = fit(frame, COLUMNS, QUICK)
    assert fitted.user_factors.toArrow().sort_by("id")["id"].to_pylist() == [-BIG, BIG - 1]
    rows = {row["id"]: row["items"] for row in fitted.seen.collect()}
    assert rows == {-BIG: [BIG - 1], BIG - 1: [-BIG]}


def test_columns_of_other_names_and_cases(spark):
    cells = ratings(200)
    frame = frame_of(spark, cells, ("The user", "ITEM", "r"))
    assert_same(fit(frame, Columns("the User", "item", "r"), QUICK), one_machine(cells, QUICK))


@pytest.mark.parametrize("kind", ["int", "string"])
def test_a_frame_is_read_once(spark, kind, tmp_path: Path):
    """One that is another each time it is read gives one fit: factors and seen items of the same ratings."""
    log = tmp_path / "reads"

    def read(batches):
        rng = np.random.default_rng()
        for batch in batches:
            with open(log, "a") as file:
                file.write("x")
            ids = batch.column(0).to_numpy() + rng.integers(0, 1000)
            yield pa.record_batch([ids % 50, ids % 31, (ids % 5).astype(np.float32)], ["user", "item", "rating"])

    frame = spark.range(0, 600, 1, 2).mapInArrow(read, "user long, item long, rating float")
    frame = frame.selectExpr(f"CAST(user AS {kind}) AS user", f"CAST(item AS {kind}) AS item", "rating")
    fitted = fit(frame, COLUMNS, QUICK)
    users = set(fitted.user_factors.toArrow()["id"].to_pylist())
    items = set(fitted.item_factors.toArrow()["id"].to_pylist())
    seen = fitted.seen.toArrow()
    assert set(seen["id"].to_pylist()) == users
    assert set(seen["items"].combine_chunks().flatten().to_pylist()) == items
    assert log.read_text() == "xx"

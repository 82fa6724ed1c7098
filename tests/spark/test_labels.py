"""Ids that are strings."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

import fastals
from fastals._engines import fit
from fastals._engines.ask import Ask, Columns
from fastals._engines.labels import numbered
from fastals._engines.pack import packed

from .test_task import COLUMNS, assert_same, frame_of, one_machine, ratings

ODD = ["", " ", "a", "A", "é", "e\u0301", "ß", "Ω", "\uffff", "\U0001f600", "a\0b", "10", "9", "-1", "x" * 300]
"""Strings that are sorted by code points, as Python and UTF-8 do, not by any language."""


def named(ids, prefix):
    """Each id as a string; the first are odd ones."""
    distinct = np.unique(ids)
    names = [*ODD, *(f"{prefix}{number}" for number in distinct)][: len(distinct)]
    return np.array(names, dtype=object)[np.searchsorted(distinct, ids)]


@pytest.mark.parametrize(
    ("sides", "ask"),
    [
        ("user", Ask(rank=4, iterations=3)),
        ("item", Ask(rank=4, iterations=3, nonnegative=True)),
        ("user item", Ask(rank=33, iterations=3, implicit=True)),
    ],
    ids=["user", "item", "both"],
)
def test_bits_are_those_of_one_machine_on_the_same_strings(spark, sides, ask):
    users, items, values = ratings()
    users = named(users, "u") if "user" in sides else users
    items = named(items, "i") if "item" in sides else items
    frame = frame_of(spark, (users, items, values)).repartition(3)
    fitted = fit(frame, COLUMNS, ask)
    assert_same(fitted, one_machine((users, items, values), ask))
    kinds = ["string" if side in sides else "int" for side in ("user", "item")]
    for factors, kind in zip((fitted.user_factors, fitted.item_factors), kinds, strict=True):
        assert factors.schema.simpleString() == f"struct<id:{kind},features:array<float>>"
    assert fitted.seen.schema.simpleString() == f"struct<id:{kinds[0]},items:array<{kinds[1]}>>"
    seen = fitted.seen.toArrow()
    expected = {user: sorted(set(items[users == user].tolist())) for user in set(users.tolist())}
    assert dict(zip(seen["id"].to_pylist(), seen["items"].to_pylist(), strict=True)) == expected


def test_labels_are_numbered_in_order_whatever_the_partitions(spark):
    """Ranges in many partitions, most of them empty, and no adaptive plan that would join them."""
    cells = ratings()
    users = named(cells[0], "u")
    frame = frame_of(spark, (users, *cells[1:])).repartition(5)
    conf = {"spark.sql.adaptive.enabled": "false", "spark.sql.shuffle.partitions": "9"}
    before = {name: spark.conf.get(name) for name in conf}
    try:
        for name, value in conf.items():
            spark.conf.set(name, value)
        found = numbered(packed(frame, COLUMNS))
        rows = found.labels.orderBy("id").collect()
    finally:
        for name, value in before.items():
            spark.conf.set(name, value)
    assert [row["label"] for row in rows] == sorted(set(users.tolist()))
    assert [row["id"] for row in rows] == list(range(len(rows)))
    assert (found.data.n_cells, found.data.n_users) == (len(users), len(rows))


def test_no_row_of_a_rating_is_shuffled(spark):
    """Strings are packed where they are; what goes on is each chunk's distinct ones, and pieces."""
    frame = spark.range(0, 50_000, 1, 2).selectExpr("CONCAT('u', id % 50) AS user", "id % 7 AS item", "1 AS rating")
    found = numbered(packed(frame, COLUMNS))
    plan = found.data.frame._jdf.queryExecution().executedPlan().toString()
    assert found.data.n_cells == 50_000
    assert "Exchange" in plan
    assert found.data.frame.count() == 4  # two chunks, and what they tell


def test_starts_at_factors_of_strings(spark):
    users, items, values = ratings(400)
    users = named(users, "u")
    ask = Ask(rank=3, iterations=1)
    first = fit(frame_of(spark, (users, items, values)), COLUMNS, ask)
    again = Ask(rank=3, iterations=1, seed=9, initial=(first.user_factors, first.item_factors))
    fitted = fit(frame_of(spark, (users, items, values)), COLUMNS, again)
    model = one_machine((users, items, values), ask)
    starts = model.user_factors_, model.item_factors_
    assert_same(fitted, one_machine((users, items, values), again, starts))


def test_null_is_no_id(spark):
    frame = spark.createDataFrame([("a", 1, 1.0), (None, 2, 1.0)], "name string, item int, rating float")
    with pytest.raises(fastals.DataError, match="column 'name' must hold strings, got null"):
        fit(frame, Columns("name", "item", "rating"), Ask())


def test_strings_of_a_collation_are_told_apart(spark):
    frame = spark.createDataFrame(
        [("a", 1, 1.0), ("A", 1, 2.0)], "user string collate UTF8_LCASE, item int, rating float"
    )
    fitted = fit(frame, COLUMNS, Ask(rank=1, iterations=1))
    assert fitted.user_factors.toArrow().sort_by("id")["id"].to_pylist() == ["A", "a"]


def test_other_columns_of_strings_do_not_matter(spark):
    table = pa.table({"user": ["a", "b"], "item": ["x", "x"], "rating": [1.0, 2.0], "label": ["p", "q"], "id": [5, 6]})
    fitted = fit(spark.createDataFrame(table), COLUMNS, Ask(rank=1, iterations=1))
    assert fitted.item_factors.count() == 1

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
        ("user item", Ask(rank=4, iterations=3, engine="blocks")),
    ],
    ids=["user", "item", "both", "blocks"],
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


@pytest.mark.parametrize("slots", [1, 7])
def test_labels_are_numbered_in_order_whatever_the_ranges(spark, slots):
    """And whatever the batches in which they are read."""
    users, items, values = ratings()
    users = named(users, "u")
    rows_together = "spark.sql.execution.arrow.maxRecordsPerBatch"
    spark.conf.set(rows_together, 7)
    try:
        found = numbered(packed(frame_of(spark, (users, items, values)).repartition(5), COLUMNS, []), slots, [])
        rows = found.labels.orderBy("id").collect()
    finally:
        spark.conf.unset(rows_together)
    assert [row["label"] for row in rows] == sorted(set(users.tolist()))
    assert [row["id"] for row in rows] == list(range(len(rows)))
    assert (found.data.n_cells, found.data.n_users, found.data.n_items) == (len(users), len(rows), len(set(items)))


def test_one_string_is_enough(spark):
    frame = spark.createDataFrame([("a", "b", 1.0)] * 3, "user string, item string, rating float")
    fitted = fit(frame, COLUMNS, Ask(rank=1, iterations=1))
    assert [tuple(row) for row in fitted.seen.collect()] == [("a", ["b"])]


def test_only_distinct_strings_are_sorted(spark):
    """Ratings are packed where they are."""
    frame = spark.range(0, 50_000, 1, 2).selectExpr("CONCAT('u', id % 50) AS user", "id % 7 AS item", "1 AS rating")
    held = []
    found = numbered(packed(frame, COLUMNS, []), 2, held)
    assert found.data.n_cells == 50_000
    assert held[0].count() == 100  # of two chunks
    assert found.data.frame.count() == 4  # these, and what they tell


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

"""What users ask a model for: labels in, labels out, one or many, and never an item that should not be there."""

import copy
import pickle
import re
import uuid
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_array

import fastals
from fastals._data.interactions import Interactions
from fastals._data.labels import Labels
from fastals._topn import FactorFitted, Recommender


class State(FactorFitted):
    """Given factors, as if they had been trained."""

    mean, biases, ratings = 0.0, None, False

    def __init__(
        self,
        user_factors: Any,
        item_factors: Any,
        seen: Any = None,
        users: Any = None,
        items: Any = None,
        dtype: Any = np.float32,
    ) -> None:
        self.user_factors, self.item_factors = np.array(user_factors, dtype), np.array(item_factors, dtype)
        shape = len(self.user_factors), len(self.item_factors)
        self.users, self.items = Labels(users, shape[0]), Labels(items, shape[1])
        cells = csr_array(shape) if seen is None else csr_array(seen)
        arrays = cells.indptr.astype(np.int64), cells.indices.astype(np.int32), cells.data
        self.pairs = Interactions._canonical(arrays, None, self.users, self.items)
        self.parameters = self.settings = {}
        self.__post_init__()


class Model(Recommender):
    """Answers from such a state."""

    def __init__(self, *args: Any, state: Any = State, **kwargs: Any) -> None:
        self.num_threads, self._state = 2, state(*args, **kwargs)

    @property
    def state_(self) -> FactorFitted:
        return self._state


def strings(*labels: str) -> NDArray[Any]:
    return np.array(labels, object)


@pytest.fixture
def spark() -> Model:
    """Spark's recommendForAll example: users 0 to 2, items 3 to 6."""
    items = np.array([3, 4, 5, 6])
    return Model([[6, 4], [3, 4], [3, 6]], [[5, 6], [6, 2], [3, 6], [4, 1]], items=items)


@pytest.fixture
def labelled() -> Model:
    """Users ann, bob, eve with scores 1..4, 4..1 and 0 for the items a..d; ann has seen d, bob everything."""
    return Model(
        [[1, 0], [0, 1], [0, 0]],
        [[1, 4], [2, 3], [3, 2], [4, 1]],
        seen=[[0, 0, 0, 1], [1, 1, 1, 1], [0, 0, 0, 0]],
        users=strings("ann", "bob", "eve"),
        items=strings("a", "b", "c", "d"),
    )


def random_model(n_users: int = 60, n_items: int = 150, k: int = 8, dtype: Any = np.float32) -> Model:
    rng = np.random.default_rng(0)
    factors = rng.standard_normal((n_users, k)), rng.standard_normal((n_items, k)) * rng.lognormal(size=(n_items, 1))
    return Model(*factors, seen=rng.random((n_users, n_items)) < 0.2, dtype=dtype)


# ---------------------------------------------------------------------------------------------------------------------
# recommend


def test_sparks_example(spark: Model) -> None:
    expected = {0: [(3, 54), (4, 44), (5, 42), (6, 28)], 1: [(3, 39), (5, 33), (4, 26), (6, 16)]}
    expected[2] = [(3, 51), (5, 45), (4, 30), (6, 18)]
    for n in (2, 4):
        items, scores = spark.recommend([0, 1, 2], n)
        assert [list(zip(*row, strict=True)) for row in zip(items.tolist(), scores.tolist(), strict=True)] == [
            expected[user][:n] for user in (0, 1, 2)
        ]
    items, scores = spark.recommend(0, 6)
    assert items.tolist() == [3, 4, 5, 6, None, None]
    assert scores.tolist() == [54, 44, 42, 28, -np.inf, -np.inf]
    assert spark.recommend(1, 3, items=[6, 5, 5, 6]).items.tolist() == [5, 6, None]


def test_batch_in_batch_out(labelled: Model) -> None:
    items, scores = labelled.recommend(["bob", "ann"], n=3, exclude_seen=False)
    assert items.tolist() == [["a", "b", "c"], ["d", "c", "b"]]
    assert scores.tolist() == [[4, 3, 2], [4, 3, 2]]
    assert scores.dtype == np.float32
    empty = labelled.recommend([], n=3)
    assert empty.items.shape == empty.scores.shape == (0, 3)


@pytest.mark.parametrize("user", ["ann", np.str_("ann"), np.array("ann"), np.array("ann", object)])
def test_one_user_in_one_dimension_out(labelled: Model, user: Any) -> None:
    result = labelled.recommend(user, n=2)
    assert result.items.tolist() == ["c", "b"]
    assert result.scores.tolist() == [3, 2]


@pytest.mark.parametrize("user", [1, np.int32(1), np.uint8(1), np.array(1), np.array(1, np.int16)])
def test_one_user_by_index(user: Any) -> None:
    model = Model([[0], [2]], [[1], [3], [2]])
    assert model.recommend(user, n=2).items.tolist() == [1, 2]


def test_a_uuid_is_one_user() -> None:
    label = uuid.uuid4()
    model = Model([[1]], [[1], [2]], users=np.array([label], object))
    assert model.recommend(label, n=1).items.tolist() == [1]


def test_a_short_list_is_padded_never_with_an_item(labelled: Model) -> None:
    items, scores = labelled.recommend(["ann", "bob", "eve"], n=6)
    assert items.tolist() == [
        ["c", "b", "a", None, None, None],
        [None] * 6,
        [None] * 6,
    ]
    assert np.isneginf(scores).tolist() == [[False] * 3 + [True] * 3, [True] * 6, [True] * 6]
    model = Model([[1]], [[1], [2]], seen=[[1, 0]])
    assert model.recommend(0, n=3).items.tolist() == [1, -1, -1]


def test_items_and_exclude_work_together(labelled: Model) -> None:
    def names(**kwargs: Any) -> Any:
        return labelled.recommend("ann", n=4, **kwargs).items.tolist()

    assert names(items=["a", "c", "d"]) == ["c", "a", None, None]
    assert names(exclude=strings("c")) == ["b", "a", None, None]
    assert names(items=["a", "b", "c", "d"], exclude=["b", "b"]) == ["c", "a", None, None]
    assert names(items=["a", "d"], exclude=["a"], exclude_seen=False) == ["d", None, None, None]
    assert names(items=[]) == [None] * 4
    assert names(items=["a", "b", "c", "d"], exclude=[]) == names()
    assert names(items=["d"]) == [None] * 4


def test_everything_at_once_is_the_brute_force() -> None:
    model = random_model()
    indptr, indices = model.state_.pairs.indptr, model.state_.pairs.indices
    candidates, exclude = np.arange(0, 150, 2), np.arange(0, 150, 10)
    items, scores = model.recommend(np.arange(60), n=40, items=candidates, exclude=exclude)
    exact = model.state_.user_factors.astype(float) @ model.state_.item_factors.astype(float).T
    for user in range(60):
        allowed = np.setdiff1d(np.setdiff1d(candidates, exclude), indices[indptr[user] : indptr[user + 1]])
        expected = allowed[np.argsort(-exact[user, allowed])][:40]
        assert items[user, : len(expected)].tolist() == expected.tolist()
        np.testing.assert_allclose(scores[user, : len(expected)], exact[user, expected], atol=1e-4)
        assert (items[user, len(expected) :] == -1).all()


def test_lists_for_each_user() -> None:
    model = random_model()
    rng = np.random.default_rng(3)
    users = rng.permutation(60)
    candidates = [rng.integers(0, 150, rng.integers(0, 90)) for _ in users]
    exclude = [rng.integers(0, 150, rng.integers(0, 90)).tolist() for _ in users]
    banned = np.arange(0, 150, 10)
    for exclude_seen in (True, False):
        for items in (None, candidates, np.arange(0, 150, 2)):
            for without in (None, exclude, banned):
                got = model.recommend(users, n=12, exclude_seen=exclude_seen, items=items, exclude=without)
                for row, user in enumerate(users):
                    own = None if items is None else items[row] if items is candidates else items
                    out = None if without is None else without[row] if without is exclude else without
                    one = model.recommend(int(user), n=12, exclude_seen=exclude_seen, items=own, exclude=out)
                    np.testing.assert_array_equal(got.items[row], one.items)
                    np.testing.assert_array_equal(got.scores[row], one.scores)


def test_own_candidates_are_ranked_as_all_would_be(labelled: Model) -> None:
    items, scores = labelled.recommend(
        ["ann", "bob", "eve"], n=3, items=[["a", "b", "a"], ["c"], []], exclude_seen=False
    )
    assert items.tolist() == [["b", "a", None], ["c", None, None], [None] * 3]
    assert scores.tolist() == [[2, 1, -np.inf], [2, -np.inf, -np.inf], [-np.inf] * 3]
    assert labelled.recommend("ann", n=2, items=[["d", "a"]]).items.tolist() == ["a", None]
    same = Model([[1]], [[1], [1], [1], [2]])
    assert same.recommend([0], n=4, items=[[2, 1, 0]]).items.tolist() == [[0, 1, 2, -1]]


def test_masks(labelled: Model) -> None:
    mask = np.array([True, False, True, True])
    assert labelled.recommend("ann", n=4, items=mask).items.tolist() == ["c", "a", None, None]
    assert labelled.recommend("ann", n=4, exclude=mask).items.tolist() == ["b", None, None, None]
    assert labelled.recommend("ann", n=4, items=mask, exclude=["c"]).items.tolist() == ["a", None, None, None]
    assert labelled.recommend(["ann"], n=4, items=mask, exclude=[["c"]]).items.tolist() == [["a", None, None, None]]
    assert labelled.recommend("ann", n=4, items=~mask, exclude=mask).items.tolist() == ["b", None, None, None]
    with pytest.raises(fastals.DataError, match=r"items as a mask must have shape \(4,\), got \(3,\)"):
        labelled.recommend("ann", items=mask[:3])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_boosted_lists_are_exact(dtype: Any) -> None:
    model = random_model(dtype=dtype)
    weights = np.random.default_rng(1).choice([0, 0.25, 1, 1, 1, 3], 150)
    plain = model.recommend(np.arange(60), n=150)
    for boost in (weights, {item: weight for item, weight in enumerate(weights.tolist()) if weight != 1}):
        for kwargs in ({}, {"items": np.arange(0, 150, 3)}, {"items": [[1, 2, 3, 4, 5]] * 60}, {"exclude": [4, 5]}):
            got = model.recommend(np.arange(60), n=20, boost=boost, **kwargs)
            allowed = np.isin(np.arange(150), kwargs.get("items", np.arange(150))) & (weights > 0)
            allowed[kwargs.get("exclude", [])] = False
            for user in range(60):
                items, scores = plain.items[user], plain.scores[user]
                items, scores = (part[(items >= 0) & allowed[items]] for part in (items, scores))
                scores = np.where(scores < 0, scores / weights[items], scores * weights[items]).astype(dtype)
                best = np.lexsort((items, -scores))[:20]
                np.testing.assert_array_equal(got.items[user, : len(best)], items[best])
                np.testing.assert_array_equal(got.scores[user, : len(best)], scores[best])
                assert (got.items[user, len(best) :] == -1).all()
    ((_, items, _), *_) = model.recommend_all(n=20, boost=weights, exclude=[4, 5])
    np.testing.assert_array_equal(items, model.recommend(np.arange(60), n=20, boost=weights, exclude=[4, 5]).items)


def test_bad_boosts_and_lists(labelled: Model) -> None:
    for kwargs, error, message in (
        ({"boost": [1, 2]}, fastals.DataError, "boost must have one number for each of 4 items, got 2"),
        ({"boost": [1, 2, -1, 1]}, fastals.ParameterError, "boost must be >= 0, got -1.0 at position 2"),
        ({"boost": [1, 2, np.nan, 1]}, fastals.DataError, "boost must be finite"),
        ({"boost": {"b": 2, "a": np.inf}}, fastals.DataError, "boost must be finite, got inf for item 'a'"),
        ({"boost": {"b": 2, "a": -1}}, fastals.ParameterError, "boost must be >= 0, got -1.* for item 'a'"),
        ({"boost": {"b": 2, "a": "x"}}, fastals.ArgumentTypeError, "boost must be numbers, got 'x' for item 'a'"),
        ({"boost": {"z": 1}, "unknown_items": "error"}, fastals.UnknownLabelError, "boost must be known"),
        ({"boost": 2.0}, fastals.DataError, r"boost must be a mapping .* or an array of shape \(n_items,\), got 2.0"),
        ({"boost": np.ones((2, 4))}, fastals.DataError, r"boost must be a mapping .*, got shape \(2, 4\)"),
        ({"boost": [1e39] * 4}, fastals.ParameterError, "range"),
        ({"items": [["a"], ["b"]]}, fastals.DataError, "items must have one list for each of 1, got 2 lists"),
        ({"items": [["a", "z"]], "unknown_items": "error"}, fastals.UnknownLabelError, "'z'"),
        ({"exclude": [["a"], ["b"]]}, fastals.DataError, "exclude must have one list for each of 1"),
        ({"items": [np.zeros(1, "M8[ns]")]}, fastals.ArgumentTypeError, r"items\[0\] must be integers, .*datetime64"),
    ):
        with pytest.raises(error, match=message):
            labelled.recommend("ann", **kwargs)
    with pytest.raises(fastals.DataError, match="items must be one list for all, got 3 lists"):
        labelled.recommend_all(items=[["a"], ["b"], ["c"]])


FORMS = {
    "list": list,
    "tuple": tuple,
    "array": lambda items: np.array(items, object),
    "strings": np.array,
    "set": set,
    "frozenset": frozenset,
    "keys": lambda items: dict.fromkeys(items).keys(),
    "values": lambda items: dict(enumerate(items)).values(),
    "pandas": lambda items: pd.Series(items, index=range(7, 7 + len(items))),
    "pandas categories": lambda items: pd.Series(items, dtype="category"),
    "pandas Index": pd.Index,
    "polars": pl.Series,
    "polars Categorical": lambda items: pl.Series(items, dtype=pl.Categorical),
    "Arrow": pa.array,
    "Arrow dictionary": lambda items: pa.array(items).dictionary_encode(),
    "mask": lambda items: np.isin(strings(*"abcd"), items),
    "list mask": lambda items: np.isin(strings(*"abcd"), items).tolist(),
    "pandas mask": lambda items: pd.Series(np.isin(strings(*"abcd"), items)),
    "pandas boolean mask": lambda items: pd.Series(np.isin(strings(*"abcd"), items), dtype="boolean"),
    "pandas mask by label": lambda items: pd.Series([label in items for label in "dbca"], index=list("dbca")),
    "polars mask": lambda items: pl.Series(np.isin(strings(*"abcd"), items)),
    "Arrow mask": lambda items: pa.array(np.isin(strings(*"abcd"), items)),
}


@pytest.mark.parametrize("form", FORMS)
def test_items_in_every_form(labelled: Model, form: str) -> None:
    make = FORMS[form]
    for users, n in (("eve", 3), (["ann", "eve"], 2), (pd.Series(["eve", "ann"], index=[3, 4]), 4)):
        for some in (["a", "c"], ["b", "d", "a"], list("abcd")):
            for name in ("items", "exclude"):
                expected = labelled.recommend(users, n=n, **{name: some})
                got = labelled.recommend(users, n=n, **{name: make(some)})
                assert got.items.tolist() == expected.items.tolist()
                assert got.scores.tolist() == expected.scores.tolist()
    each = [["a", "c"], ["b"], []]
    expected = labelled.recommend(["ann", "eve", "eve"], n=3, items=each)
    got = labelled.recommend(["ann", "eve", "eve"], n=3, items=[make(some) if some else [] for some in each])
    assert got.items.tolist() == expected.items.tolist()
    assert labelled.similar_items("a", n=3, candidates=make(["d", "b"])).items.tolist() == ["b", "d", None]
    ((_, items, _),) = labelled.recommend_all(n=2, exclude=make(["a"]))
    assert items.tolist() == labelled.recommend(["ann", "bob", "eve"], n=2, exclude=["a"]).items.tolist()


def test_one_item_is_a_list_of_one(labelled: Model) -> None:
    for one in ("a", np.array("a"), np.str_("a")):
        assert labelled.recommend("ann", n=4, items=one).items.tolist() == ["a", None, None, None]
    model = random_model()
    for item in (5, np.int64(5), np.array(5)):
        assert 5 not in model.recommend(0, n=150, exclude=item).items


@pytest.mark.parametrize("make", [list, tuple, np.array, pd.Series, pl.Series, pa.array])
def test_users_in_every_form(labelled: Model, make: Any) -> None:
    expected = labelled.recommend(["eve", "ann"], n=2)
    got = labelled.recommend(make(["eve", "ann"]), n=2)
    np.testing.assert_array_equal(got.items, expected.items)
    np.testing.assert_array_equal(labelled.predict(make(["eve", "ann"]), make(["b", "c"])), [0, 3])
    assert labelled.predict(make(["eve", "ann"]), "c").tolist() == [0, 3]


def test_users_have_an_order(labelled: Model) -> None:
    with pytest.raises(fastals.ArgumentTypeError, match="users must be in an order, as in an array or a list"):
        labelled.recommend({"eve", "ann"})


def test_masks_for_each(labelled: Model) -> None:
    masks = np.array([[True, False, True, False], [False, False, False, False]])
    expected = labelled.recommend(["ann", "eve"], n=2, items=[["a", "c"], []]).items.tolist()
    for items in (masks, masks.tolist(), list(masks), list(map(pd.Series, masks)), list(map(pl.Series, masks))):
        assert labelled.recommend(["ann", "eve"], n=2, items=items).items.tolist() == expected
    with pytest.raises(fastals.DataError, match=r"exclude\[1\] as a mask must have shape \(4,\), got \(3,\)"):
        labelled.recommend(["ann", "eve"], exclude=[[True] * 4, [True] * 3])


def test_a_series_goes_by_its_index() -> None:
    """An index of labels says what is meant; one that only counts is none that anybody has set."""
    factors, numbers = np.eye(3), np.array([10, 20, 30])
    labelled, numbered = Model(factors, factors, items=strings("a", "b", "c")), Model(factors, factors, items=numbers)
    counted, shifted, plain = (Model(factors, factors, items=items) for items in (np.arange(3), np.arange(1, 4), None))
    for model, labels in ((labelled, list("abc")), (numbered, [10, 20, 30]), (shifted, [1, 2, 3]), (plain, [0, 1, 2])):
        expected = model.recommend(1, n=3, boost=dict(zip(labels, [1, 2, 3], strict=True)))
        series = pd.Series([3, 1, 2], index=[labels[2], labels[0], labels[1]])
        for boost in (series, series.astype("Float64"), series[series > 1]):
            got = model.recommend(1, n=3, boost=boost)
            assert (got.items.tolist(), got.scores.tolist()) == (expected.items.tolist(), expected.scores.tolist())
        assert model.recommend(1, n=2, items=series > 1).items.tolist() == [labels[1], labels[2]]
    for model in (labelled, counted, plain):
        got = model.recommend(1, n=3, boost=pd.Series([1.0, 2.0, 3.0])).scores.tolist()
        assert got == model.recommend(1, n=3, boost=[1, 2, 3]).scores.tolist()
        assert model.recommend(1, n=3, items=pd.Series([False, True, False])).items.tolist()[0] in ("b", 1)
    for model in (numbered, shifted):
        for kwargs in ({"boost": pd.Series([1.0, 2.0, 3.0])}, {"items": pd.Series([True, False, True])}):
            with pytest.raises(fastals.DataError, match="has an index that counts from 0, which may be labels or pos"):
                model.recommend(1, **kwargs)
    with pytest.raises(fastals.DataError, match="boost must have one element for each of 3 items, got 2"):
        labelled.recommend(1, boost=pd.Series([1.0, 2.0]))
    with pytest.raises(fastals.DataError, match="boost must name each item once, but its index repeats one"):
        labelled.recommend(1, boost=pd.Series([1.0, 2.0], index=["a", "a"]))
    with pytest.raises(fastals.ArgumentTypeError, match="index of boost must be strings, as the labels"):
        labelled.recommend(1, boost=pd.Series([1.0, 2.0], index=[5, 7]))
    with pytest.raises(fastals.ParameterError, match=r"boost must be >= 0, got -1\.0 at position 1"):
        labelled.recommend(1, boost=pd.Series([1.0, -1.0], index=["a", "new"]))


def test_filters_name_items_that_the_model_has_not_met(labelled: Model) -> None:
    """What is not there can be in no list: left out it changes nothing, and chosen it is no candidate."""
    everybody, strict = ["ann", "bob", "eve"], {"unknown_items": "error"}
    for known, given in (
        ({"exclude": ["b"]}, {"exclude": ["new", "b"]}),
        ({"exclude": [["b"], [], ["c"]]}, {"exclude": [["b", "new"], ["new"], {"c", "newer"}]}),
        ({"items": ["b", "c"]}, {"items": ["b", "new", "c"]}),
        ({"items": [["b"], [], ["c", "d"]]}, {"items": [["new", "b"], ["new"], ["c", "newer", "d"]]}),
        ({"items": []}, {"items": ["new"]}),
        ({"boost": {"b": 3.0}}, {"boost": {"new": 9.0, "b": 3.0, "newer": 0}}),
        ({"boost": {"b": 3.0}}, {"boost": pd.Series([9.0, 3.0], index=["new", "b"])}),
        ({"exclude": ["b"]}, {"exclude": pd.Series([True, True, False], index=["new", "b", "c"])}),
    ):
        expected, got = labelled.recommend(everybody, n=4, **known), labelled.recommend(everybody, n=4, **given)
        assert got.items.tolist() == expected.items.tolist()
        np.testing.assert_array_equal(got.scores, expected.scores)
        with pytest.raises(fastals.UnknownLabelError, match="must be known to the model, got 'new"):
            labelled.recommend(everybody, **given, **strict)
        if not any(isinstance(value, list) and value and not isinstance(value[0], str) for value in given.values()):
            ((_, items, _),) = labelled.recommend_all(n=4, **given)
            assert items.tolist() == expected.items.tolist()
            with pytest.raises(fastals.UnknownLabelError):
                labelled.recommend_all(**given, **strict)
        with pytest.raises(fastals.ArgumentTypeError, match="must be strings, as the labels the model knows, got"):
            labelled.recommend(everybody, **{name: {7: 1.0} if name == "boost" else [7] for name in given})
    assert labelled.similar_items("a", n=2, candidates=["new", "d"]).items.tolist() == ["d", None]
    assert labelled.similar_items("a", n=2, candidates=["new"]).items.tolist() == [None, None]
    with pytest.raises(fastals.UnknownLabelError, match="candidates must be known"):
        labelled.similar_items("a", candidates=["new"], **strict)
    with pytest.raises(fastals.ParameterError, match="unknown_items must be one of 'error', 'ignore', got 'skip'"):
        labelled.recommend("ann", unknown_items="skip")  # type: ignore[arg-type]
    model = random_model()
    for items in ([150], [-1], {150: 2.0}):
        with pytest.raises(fastals.UnknownLabelError, match="must be indices from 0 to 149"):
            model.recommend(0, **({"boost": items} if isinstance(items, dict) else {"exclude": items}))


# ---------------------------------------------------------------------------------------------------------------------
# users who are not in the model


def test_user_factors_instead_of_users() -> None:
    model = random_model()
    got = model.recommend(user_factors=model.state_.user_factors, n=9)
    wanted = model.recommend(np.arange(60), n=9, exclude_seen=False)
    np.testing.assert_array_equal(got.items, wanted.items)
    np.testing.assert_array_equal(got.scores, wanted.scores)
    one = model.recommend(user_factors=model.state_.user_factors[3].tolist(), n=9, exclude=[[7]])
    np.testing.assert_array_equal(one.items, model.recommend(3, n=9, exclude_seen=False, exclude=[7]).items)
    for factors, message in (
        (np.ones((2, 7)), r"user_factors must have shape \(8,\) or \(m, 8\), got \(2, 7\)"),
        (np.full((2, 8), np.nan), "user_factors must be finite"),
        (np.ones((2, 2, 8)), "shape"),
        ("ann", "shape|real numbers"),
    ):
        with pytest.raises(fastals.FastalsError, match=message):
            model.recommend(user_factors=factors)
    for kwargs in ({}, {"users": 0, "user_factors": np.ones(8)}, {"users": 0, "histories": ([0], [1])}):
        with pytest.raises(fastals.ParameterError, match="one of users, user_factors and histories"):
            model.recommend(**kwargs)
    with pytest.raises(fastals.ParameterError, match="takes no histories"):
        model.recommend(histories=([0], [1]))


@pytest.mark.parametrize("model", [fastals.ExplicitALS, fastals.ImplicitALS])
def test_histories_instead_of_users(model: Any) -> None:
    rng = np.random.default_rng(0)
    matrix = csr_array((rng.random((40, 30)) < 0.2) * rng.integers(1, 6, (40, 30)))
    fitted = model(factors=5, random_state=0).fit(matrix)
    for exclude_seen in (True, False):
        got = fitted.recommend(histories=matrix, n=6, exclude_seen=exclude_seen, exclude=[3])
        factors = fitted.fold_in(matrix)
        seen = [row.indices for row in matrix] if exclude_seen else [[]] * 40
        wanted = fitted.recommend(user_factors=factors, n=6, exclude=[[3, *row] for row in seen])
        np.testing.assert_array_equal(got.items, wanted.items)
        np.testing.assert_array_equal(got.scores, wanted.scores)


def test_who_is_unknown_gets_what_is_popular(labelled: Model) -> None:
    # ann has d; bob a, b, c, d; eve nothing, and no factors
    assert labelled.recommend(["zoe", "eve"], n=3, unknown="popular").items.tolist() == [["d", "a", "b"]] * 2
    assert labelled.recommend([], n=3, unknown="popular").items.shape == (0, 3)
    got = labelled.recommend(["ann", "zoe", "bob"], n=2, unknown="popular", exclude=["a"])
    assert got.items.tolist() == [["c", "b"], ["d", "b"], [None, None]]
    assert got.scores.tolist() == [[3, 2], [2, 1], [-np.inf] * 2]
    got = labelled.recommend(["zoe", "ann"], n=2, unknown="popular", items=[["b", "c"], ["a"]], boost={"c": 5})
    assert got.items.tolist() == [["c", "b"], ["a", None]]
    assert labelled.recommend("zoe", n=2, unknown="popular").items.tolist() == ["d", "a"]
    got = labelled.recommend(["zoe", "ann", "eve"], n=2, unknown="empty")
    assert got.items.tolist() == [[None] * 2, ["c", "b"], [None] * 2]
    assert got.scores[0].tolist() == [-np.inf] * 2
    assert labelled.recommend("eve", n=2).items.tolist() == [None, None]
    with pytest.raises(fastals.UnknownLabelError):
        labelled.recommend("zoe")
    with pytest.raises(fastals.ParameterError, match="unknown"):
        labelled.recommend("zoe", unknown="mean")  # type: ignore[arg-type]


def test_a_refit_is_noticed(labelled: Model) -> None:
    before = labelled.recommend("ann", n=1)
    state = labelled.state_
    labelled._state = State(
        state.user_factors,
        state.item_factors[::-1],
        seen=state.pairs.matrix,
        users=state.users.values,
        items=state.items.values,
    )
    assert labelled.recommend("ann", n=1).items.tolist() != before.items.tolist()


@pytest.mark.parametrize("copy_of", [copy.copy, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies(labelled: Model, copy_of: Any) -> None:
    labelled.recommend("ann")
    assert copy_of(labelled).recommend("ann", n=2).items.tolist() == ["c", "b"]
    assert not labelled.state_.__getstate__().keys() & {"_derived", "_lock"}


# ---------------------------------------------------------------------------------------------------------------------
# recommend_all, recommend_users


@pytest.mark.parametrize("exclude_seen", [True, False])
@pytest.mark.parametrize("batch_size", [1, 7, 59, 60, 8192])
def test_recommend_all_is_recommend(batch_size: int, exclude_seen: bool) -> None:
    model = random_model()
    batches = list(model.recommend_all(n=5, exclude_seen=exclude_seen, batch_size=batch_size))
    assert max(len(users) for users, _, _ in batches) == min(batch_size, 60)
    users, items, scores = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    expected = model.recommend(np.arange(60), n=5, exclude_seen=exclude_seen)
    np.testing.assert_array_equal(users, np.arange(60))
    np.testing.assert_array_equal(items, expected.items)
    np.testing.assert_array_equal(scores, expected.scores)


def test_recommend_all_gives_labels(labelled: Model) -> None:
    ((users, items, scores),) = labelled.recommend_all(n=4)
    assert users.tolist() == ["ann", "bob", "eve"]
    assert items.tolist() == [["c", "b", "a", None], [None] * 4, [None] * 4]
    assert scores.shape == (3, 4)


def test_recommend_users(labelled: Model) -> None:
    users, scores = labelled.recommend_users(["a", "d"], n=4)
    assert users.tolist() == [["bob", "ann", None, None], ["ann", "bob", None, None]]
    assert scores.tolist() == [[4, 1, -np.inf, -np.inf], [4, 1, -np.inf, -np.inf]]
    assert labelled.recommend_users("b", n=1).users.tolist() == ["bob"]


def test_recommend_users_with_filters(labelled: Model) -> None:
    # seen: ann d, bob everything
    assert labelled.recommend_users(["a", "d"], n=3, exclude_seen=True).users.tolist() == [
        ["ann", None, None],
        [None, None, None],
    ]
    assert labelled.recommend_users("a", n=3, users=["eve", "ann"]).users.tolist() == ["ann", None, None]
    assert labelled.recommend_users("a", n=3, exclude=["bob"]).users.tolist() == ["ann", None, None]
    got = labelled.recommend_users(["a", "d"], n=2, users=[["eve"], ["bob", "ann"]])
    assert got.users.tolist() == [[None, None], ["ann", "bob"]]
    with pytest.raises(fastals.UnknownLabelError, match="users must be known"):
        labelled.recommend_users("a", users=["zoe"])


# ---------------------------------------------------------------------------------------------------------------------
# similar


def test_similar_among_candidates(labelled: Model) -> None:
    assert labelled.similar_items("a", n=3, candidates=["d", "a", "c"]).items.tolist() == ["c", "d", None]
    assert labelled.similar_items("a", n=3, exclude=["b"]).items.tolist() == ["c", "d", None]
    got = labelled.similar_items(["a", "d"], n=2, candidates=[["d", "c"], ["a", "d"]])
    assert got.items.tolist() == [["c", "d"], ["a", None]]
    assert labelled.similar_users("ann", n=3, candidates=["eve", "bob"]).users.tolist() == ["bob", None, None]
    assert labelled.similar_users(["ann"], n=3, candidates=[["eve", "bob"]]).users.tolist() == [["bob", None, None]]
    with pytest.raises(fastals.UnknownLabelError, match="candidates must be known"):
        labelled.similar_items("a", candidates=["z"], unknown_items="error")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_similar_is_the_cosine(dtype: Any) -> None:
    model = random_model(dtype=dtype)
    for factors, similar in (
        (model.state_.item_factors, lambda rows, n: tuple(model.similar_items(rows, n))),
        (model.state_.user_factors, lambda rows, n: tuple(model.similar_users(rows, n))),
    ):
        units = factors.astype(float) / np.linalg.norm(factors.astype(float), axis=1, keepdims=True)
        cosine = units @ units.T
        np.fill_diagonal(cosine, -np.inf)
        ids, scores = similar(np.arange(len(factors)), 7)
        np.testing.assert_array_equal(ids, np.argsort(-cosine, axis=1)[:, :7])
        np.testing.assert_allclose(scores, -np.sort(-cosine, axis=1)[:, :7], atol=4 * np.finfo(dtype).eps)
        assert (scores <= 1).all()
        one_ids, one_scores = similar(3, 7)
        np.testing.assert_array_equal(one_ids, ids[3])
        np.testing.assert_array_equal(one_scores, scores[3])


def test_what_has_no_factors_is_similar_to_nothing() -> None:
    model = Model([[1, 1]], [[1, 0], [0, 0], [2, 0], [0, 3]])
    items, scores = model.similar_items([0, 1, 3], n=4)
    assert items.tolist() == [[2, 3, -1, -1], [-1] * 4, [0, 2, -1, -1]]
    assert scores.tolist() == [[1, 0, -np.inf, -np.inf], [-np.inf] * 4, [0, 0, -np.inf, -np.inf]]
    assert model.similar_users(0, n=1).users.tolist() == [-1]


def test_similar_gives_labels(labelled: Model) -> None:
    assert labelled.similar_items("a", n=4).items.tolist() == ["b", "c", "d", None]
    assert labelled.similar_users("ann", n=2).users.tolist() == ["bob", None]


@pytest.mark.parametrize("scale", [1e-30, 1e-44, 1e30])
def test_similar_whatever_the_scale(scale: float) -> None:
    Y = np.array([[3, 4], [4, 3], [-3, 4]])
    items, scores = Model([[1, 1]], Y * scale).similar_items(0, n=2)
    assert items.tolist() == [1, 2]
    np.testing.assert_allclose(scores, [24 / 25, 7 / 25], rtol=0.2 if scale == 1e-44 else 1e-6)


# ---------------------------------------------------------------------------------------------------------------------
# predict


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_predict_is_what_recommend_scores(dtype: Any) -> None:
    model = random_model(dtype=dtype)
    items, scores = model.recommend(np.arange(60), n=12)
    predicted = model.predict(np.repeat(np.arange(60), 12), items.ravel())
    assert predicted.dtype == dtype
    np.testing.assert_array_equal(predicted, scores.ravel())


def test_predict_pairs(labelled: Model) -> None:
    assert labelled.predict(["ann", "bob", "eve"], ["a", "b", "c"]).tolist() == [1, 3, 0]
    assert labelled.predict("ann", ["a", "d"]).tolist() == [1, 4]
    assert labelled.predict(["ann", "bob"], "a").tolist() == [1, 4]
    assert labelled.predict([], []).shape == (0,)
    one = labelled.predict("ann", "b")
    assert one == 2
    assert np.ndim(one) == 0


def test_predict_unknown(labelled: Model) -> None:
    scores = labelled.predict(["ann", "zoe", "ann"], ["a", "a", "z"])
    np.testing.assert_array_equal(scores, [1, np.nan, np.nan])
    for users, items in ((["ann", "zoe"], ["a", "a"]), (["ann"], ["z"])):
        with pytest.raises(fastals.UnknownLabelError):
            labelled.predict(users, items, unknown="error")
    with pytest.raises(fastals.ParameterError, match="unknown"):
        labelled.predict("ann", "a", unknown="zero")  # type: ignore[arg-type]
    with pytest.raises(fastals.DataError, match="lengths"):
        labelled.predict(["ann", "bob"], ["a", "b", "c"])


def test_predict_the_mean_for_who_is_unknown(labelled: Model) -> None:
    # the mean user of those with factors is (1/2, 1/2), the mean item (5/2, 5/2)
    got = labelled.predict(["zoe", "ann", "zoe", "bob"], ["b", "z", "z", "a"], unknown="mean")
    assert got.tolist() == [2.5, 2.5, 2.5, 4]
    assert labelled.predict("zoe", "a", unknown="mean") == np.mean(labelled.predict(["ann", "bob"], "a"))
    assert Model([[0, 0]], [[1, 2]]).predict(5, 0, unknown="mean") == 0
    model = random_model()
    np.testing.assert_allclose(
        model.predict(99, np.arange(150), unknown="mean"),
        (model.state_.user_factors @ model.state_.item_factors.T).mean(axis=0),
        rtol=1e-4,
        atol=1e-5,
    )


def test_a_model_may_score_by_other_rows() -> None:
    class Biased(State):
        @property
        def scoring_factors(self) -> Any:
            ones = np.ones((len(self.user_factors), 1), np.float32)
            bias = np.array([[0], [5], [0]], np.float32)
            return np.hstack([self.user_factors, ones]), np.hstack([self.item_factors, bias])

    model = Model([[1, 0]], [[3, 0], [1, 0], [2, 1]], state=Biased)
    assert model.recommend(0, n=3).items.tolist() == [1, 0, 2]
    assert model.predict(0, [0, 1, 2]).tolist() == [3, 6, 2]
    assert model.recommend_users(1, n=1).scores.tolist() == [6]
    np.testing.assert_allclose(model.similar_items(0, n=1).scores, [1])


# ---------------------------------------------------------------------------------------------------------------------
# errors


CALLS = {
    "recommend": lambda model, **kwargs: model.recommend("ann", **kwargs),
    "recommend_all": lambda model, **kwargs: model.recommend_all(**kwargs),
    "recommend_users": lambda model, **kwargs: model.recommend_users("a", **kwargs),
    "similar_items": lambda model, **kwargs: model.similar_items("a", **kwargs),
    "similar_users": lambda model, **kwargs: model.similar_users("ann", **kwargs),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_n_is_at_least_one(labelled: Model, call: Any) -> None:
    for n in (0, -1):
        with pytest.raises(fastals.ParameterError, match=f"n must be >= 1, got {n}"):
            call(labelled, n=n)
    for n in (1.5, "2", None, True):
        with pytest.raises((fastals.ArgumentTypeError, fastals.ParameterError), match="n must be"):
            call(labelled, n=n)


@pytest.mark.parametrize("call", [*CALLS.values(), lambda model: model.predict("ann", "a")])
def test_not_fitted(call: Any) -> None:
    with pytest.raises(fastals.NotFittedError, match="fit"):
        call(fastals.ImplicitALS())
    assert not hasattr(fastals.ImplicitALS(), "users_")


@pytest.mark.parametrize("user", [-1, 3, 2**40])
def test_an_unknown_index_is_refused(user: int) -> None:
    model = Model(np.ones((3, 2)), np.ones((4, 2)))
    for users in (user, [0, user]):
        with pytest.raises(fastals.UnknownLabelError, match=re.escape(str(user))):
            model.recommend(users)
    for keyword in ("items", "exclude"):
        with pytest.raises(fastals.UnknownLabelError, match=keyword):
            model.recommend(0, **{keyword: [0, 4]})


def test_an_unknown_label_is_refused(labelled: Model) -> None:
    with pytest.raises(fastals.UnknownLabelError, match="'zoe'"):
        labelled.recommend(["ann", "zoe"])
    with pytest.raises(fastals.ArgumentTypeError, match=r"users must be strings, as the labels .* got integers"):
        labelled.recommend(0)
    for ask in (labelled.similar_users, lambda label: labelled.recommend("ann", items=[label], unknown_items="error")):
        with pytest.raises(fastals.UnknownLabelError):
            ask("zoe")
    for ask in (labelled.similar_items, labelled.recommend_users):
        with pytest.raises(fastals.UnknownLabelError):
            ask("zoe")
    with pytest.raises(fastals.FastalsError):
        labelled.recommend(None)


def test_other_arguments_are_checked(labelled: Model) -> None:
    with pytest.raises(fastals.ArgumentTypeError, match="exclude_seen"):
        labelled.recommend("ann", exclude_seen="yes")  # type: ignore[arg-type]
    with pytest.raises(fastals.ParameterError, match="batch_size"):
        labelled.recommend_all(batch_size=0)
    with pytest.raises(fastals.DataError, match="users must be one-dimensional"):
        labelled.recommend(np.array([["ann"]]))


# ---------------------------------------------------------------------------------------------------------------------
# trained models


def test_the_withheld_item_comes_first() -> None:
    """As implicit's tests have it: on a checkerboard without its diagonal, what user i lacks is item i."""
    n = 50
    board = np.add.outer(np.arange(n), np.arange(n)) % 2 == 0
    np.fill_diagonal(board, False)
    model = fastals.ImplicitALS(factors=2, regularization=0.01, random_state=0).fit(csr_array(board.astype(np.float32)))
    items, scores = model.recommend(np.arange(n), n=5)
    np.testing.assert_array_equal(items[:, 0], np.arange(n))
    assert (np.diff(scores) <= 0).all()
    for similar in (model.similar_items(np.arange(n), 5)[0], model.similar_users(np.arange(n), 5)[0]):
        assert ((similar - np.arange(n)[:, None]) % 2 == 0).all()
        assert (similar != np.arange(n)[:, None]).all()
    assert model.users_ is None


def test_labels_come_back() -> None:
    users, items = ["u1", "u1", "u2", "u3"], [70, 500, 70, 500]
    model = fastals.ImplicitALS(factors=2, random_state=0).fit((users, items))
    assert model.items_ is not None
    assert model.items_.tolist() == [70, 500]
    assert model.recommend("u2", n=2).items.tolist() == [500, None]
    assert model.recommend(["u2"], n=1).items.dtype == model.items_.dtype


@pytest.mark.parametrize("preset", [None, "spark", "cmfrec", "lenskit"])
@pytest.mark.parametrize("biases", [False, True])
def test_folded_in_users_are_scored_with_mean_and_biases(preset: Any, biases: bool) -> None:
    rng = np.random.default_rng(0)
    matrix = csr_array((rng.random((40, 30)) < 0.3) * rng.integers(1, 6, (40, 30)))
    if preset is None:
        model = fastals.ExplicitALS(factors=4, dtype="float64", biases=biases, random_state=0)
    else:
        model = fastals.ExplicitALS.from_preset(preset, factors=4, dtype="float64", random_state=0)
    model.fit(matrix)
    factors = model.fold_in(matrix)
    scores = factors[:, :4] @ model.item_factors_.T + model.global_mean_
    if model.item_biases_ is not None:
        scores += factors[:, 4:] + model.item_biases_
    items, found = model.recommend(histories=matrix, n=30, exclude_seen=False)
    np.testing.assert_allclose(found, np.take_along_axis(scores, items, axis=1), atol=1e-10)
    np.testing.assert_array_equal(model.recommend(user_factors=factors[3], n=30).items, items[3])
    mean = model.predict(99, np.arange(30), unknown="mean")
    every = model.predict(np.repeat(np.arange(40), 30), np.tile(np.arange(30), 40)).reshape(40, 30)
    np.testing.assert_allclose(mean, every.mean(axis=0), atol=1e-10)


@pytest.mark.parametrize("model", [fastals.ImplicitALS(), fastals.ItemKNN()])
def test_a_model_that_is_not_fitted_says_so(model: Any) -> None:
    for ask in (model.recommend, model.recommend_users, model.similar_items, lambda users: model.predict(users, 0)):
        with pytest.raises(fastals.NotFittedError, match=f"this {type(model).__name__} is not fitted yet: call fit f"):
            ask(0)

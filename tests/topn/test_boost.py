"""Boosts: above 1 an item rises and below 1 it falls, whatever its score; every list is that of boosting all scores."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_array

import fastals
from fastals._core import kernels
from fastals._data.labels import Labels
from fastals._topn.boost import check_boost
from fastals._topn.panels import Boost, ItemLists, Panels
from fastals._topn.search import Wanted

M, N_ITEMS = 13, 400
DTYPES = [np.float32, np.float64]


def tables(dtype: Any, k: int) -> Iterator[tuple[str, NDArray[Any], NDArray[Any]]]:
    """Queries and items whose scores have both signs, one sign, or are equal; the first query is zero."""
    rng = np.random.default_rng(k)
    X, Y = rng.standard_normal((M, k)), rng.standard_normal((N_ITEMS, k))
    X[0] = 0
    yield "both signs", X.astype(dtype), (Y * rng.lognormal(0, 1, (N_ITEMS, 1))).astype(dtype)
    yield "below 0", -np.abs(X).astype(dtype), np.abs(Y).astype(dtype)
    yield "above 0", np.abs(X).astype(dtype), np.abs(Y).astype(dtype)
    whole, other = rng.integers(-1, 2, (M, k)), rng.integers(-1, 2, (N_ITEMS, k))
    other[rng.integers(0, N_ITEMS, 200)] = other[7]
    yield "equal scores", whole.astype(dtype), other.astype(dtype)
    # the shortest items are the best once they are boosted, the longest have the largest bounds
    yield "norms over the whole range", X.astype(dtype), (Y * np.geomspace(1e6, 1e-6, N_ITEMS)[:, None]).astype(dtype)


def weightings() -> Iterator[tuple[str, NDArray[Any]]]:
    rng = np.random.default_rng(1)
    one = np.ones(N_ITEMS)
    one[7] = 2
    few = np.ones(N_ITEMS)
    few[rng.integers(0, N_ITEMS, 25)] = rng.choice([0, 0.3, 0.5, 2, 100], 25)
    yield "one", one
    yield "few", few
    yield "many", rng.choice([0, 0.25, 0.5, 1, 2, 3], N_ITEMS)
    yield "all", rng.lognormal(0, 1, N_ITEMS)
    yield "extreme", rng.choice([1, 1e-12, 1e12], N_ITEMS)
    yield "all out", np.zeros(N_ITEMS)


def lists(rng: np.random.Generator, longest: int) -> tuple[ItemLists, NDArray[np.bool_]]:
    """A list for each query, the second holding everything, and the same as a mask."""
    mask = np.zeros((M, N_ITEMS), np.bool_)
    for q in range(M):
        mask[q, rng.choice(N_ITEMS, N_ITEMS if q == 1 else rng.integers(longest + 1), replace=False)] = True
    indptr = np.concatenate([[0], np.cumsum(mask.sum(axis=1))])
    return ItemLists.of_rows(indptr, np.nonzero(mask)[1].astype(np.int32)), mask


def options() -> Iterator[tuple[dict[str, Any], ItemLists | None, NDArray[np.bool_]]]:
    """What may be asked for besides, what was seen, and which items each query may get."""
    rng = np.random.default_rng(2)
    few, own, each, seen = (lists(rng, longest) for longest in (3, 90, 20, 60))
    candidates, exclude = (rng.integers(0, N_ITEMS, size).astype(np.int32) for size in (150, 60))
    for what in product((None, "candidates", "own", "few"), (False, True), (False, True), (False, True)):
        wanted: dict[str, Any] = {}
        allowed = np.ones((M, N_ITEMS), np.bool_)
        if what[0] == "candidates":
            wanted["candidates"] = candidates
            allowed &= np.isin(np.arange(N_ITEMS), candidates)
        elif what[0]:
            wanted["own"] = (own if what[0] == "own" else few)[0]
            allowed &= (own if what[0] == "own" else few)[1]
        if what[1]:
            wanted["exclude"] = exclude
            allowed &= ~np.isin(np.arange(N_ITEMS), exclude)
        if what[2]:
            wanted["exclude_each"] = each[0]
            allowed &= ~each[1]
        if what[3]:
            allowed &= ~seen[1]
        yield wanted, seen[0] if what[3] else None, allowed


def boost_of(weights: NDArray[Any]) -> Boost:
    return check_boost(weights, Labels(None, len(weights)))


def all_boosted(X: NDArray[Any], Y: NDArray[Any], weights: NDArray[Any]) -> NDArray[Any]:
    """Every boosted score, made of what the compiled core gives for a pair; held against float64. 0 where left out."""
    users, items = np.divmod(np.arange(len(X) * len(Y), dtype=np.int32), np.int32(len(Y)))
    plain = kernels.pair_scores(X, Y, users, items, 1).reshape(len(X), len(Y)).astype(np.float64)
    left = weights > 0
    plain, divisors = np.where(left, plain, 0), np.where(left, weights, 1)
    scores = np.where(plain < 0, plain / divisors, plain * weights).astype(X.dtype)
    exact = np.where(left, X.astype(np.float64) @ Y.astype(np.float64).T, 0)
    twin = np.where(exact < 0, exact / divisors, exact * weights)
    size = np.abs(X.astype(np.float64)) @ np.abs(Y.astype(np.float64)).T
    bound = 4 * np.finfo(X.dtype).eps * X.shape[1] * size * np.maximum(weights, 1 / divisors)
    assert (np.abs(scores - twin) <= bound).all()
    return scores


def brute_force(scores: NDArray[Any], allowed: NDArray[np.bool_], n: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """The slow twin: sort every row by falling score, then rising item."""
    items, best = np.full((len(scores), n), -1), np.full((len(scores), n), -np.inf, scores.dtype)
    for q, row in enumerate(scores):
        candidates = np.flatnonzero(allowed[q])
        order = candidates[np.lexsort((candidates, -row[candidates]))][:n]
        items[q, : len(order)], best[q, : len(order)] = order, row[order]
    return items, best


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", [1, 5, 16, 33])
def test_lists_are_those_of_boosting_every_score(isa: str, k: int, dtype: Any) -> None:
    for table, X, Y in tables(dtype, k):
        panels = Panels(Y, 1)
        for name, weights in weightings():
            scores = all_boosted(X, Y, weights)
            for n in (1, 10, 100, N_ITEMS + 3):
                wanted = Wanted(queries=M, boost=boost_of(weights))
                found = wanted.search("items", panels, X, n, seen=None, num_threads=1)
                expected = brute_force(scores, np.tile(weights > 0, (M, 1)), n)
                for got, right in zip(found, expected, strict=True):
                    np.testing.assert_array_equal(got, right, err_msg=f"{table}, {name}, {n}")


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_boost_goes_with_every_option(dtype: Any) -> None:
    for table, X, Y in tables(dtype, 6):
        panels = Panels(Y, 1)
        for name, weights in weightings():
            scores = all_boosted(X, Y, weights)
            for asked, seen, allowed in options():
                for queries in (1, 10**6):  # few: columns are closed; many: candidates are packed anew
                    wanted = Wanted(queries=queries, boost=boost_of(weights), **asked)
                    found = wanted.search("items", panels, X, 15, seen=seen, num_threads=2)
                    expected = brute_force(scores, allowed & (weights > 0), 15)
                    for got, right in zip(found, expected, strict=True):
                        assert got.dtype == (np.int32 if got is found[0] else dtype)
                        np.testing.assert_array_equal(got, right, err_msg=f"{table}, {name}, {sorted(asked)}")


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_a_query_gets_does_not_depend_on_its_company(dtype: Any) -> None:
    (_, X, Y), *_ = tables(dtype, 16)
    weights = dict(weightings())["many"]
    panels, boost = Panels(Y, 1), boost_of(weights)
    items, scores = Wanted(boost=boost).search("items", panels, X, 20, seen=None, num_threads=1)
    for threads, rows in product((1, 2), ([3], [3, 0], list(range(M))[::-1])):
        found = Wanted(boost=boost).search("items", panels, X[rows], 20, seen=None, num_threads=threads)
        np.testing.assert_array_equal(found[0], items[rows])
        np.testing.assert_array_equal(found[1], scores[rows])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", [1, 4])
def test_weights_at_the_ends_of_the_range(isa: str, k: int, dtype: Any) -> None:
    """Boosted scores that underflow, are subnormal, or round to what another is: still those of boosting each."""
    rng = np.random.default_rng(3)
    tiny, least = float(np.finfo(dtype).tiny), float(np.finfo(dtype).smallest_subnormal)
    root, huge = tiny**0.5, 1e-8 / tiny
    users, items = np.divmod(np.arange(M * N_ITEMS, dtype=np.int32), np.int32(N_ITEMS))
    for left, right, powers in (
        (1, 1, (tiny, least, 1, 2)),
        (1, root, (root, 1, 3 * root)),
        (1, 1e-3 * root, (root, root * 1e-4, 1)),
        (1, 1 / root, (root * 1e-3, root, 1)),
        (1, 10 * least, (huge, 1.1 * huge, 1.3 * huge)),
        (huge, 1e8 * tiny, (1e-20, 1.1e-20, 1.3e-20)),
    ):
        X, Y = rng.standard_normal((M, k)), rng.standard_normal((N_ITEMS, k)) * rng.lognormal(0, 1, (N_ITEMS, 1))
        X, Y = (left * X).astype(dtype), (right * Y).astype(dtype)
        weights = rng.choice(powers, N_ITEMS)
        for X_, Y_ in ((X, Y), (np.abs(X), np.abs(Y))):
            plain = kernels.pair_scores(X_, Y_, users, items, 1).reshape(M, N_ITEMS).astype(np.float64)
            with np.errstate(over="ignore"):
                scores = np.where(plain < 0, plain / weights, plain * weights).astype(dtype)
            panels = Panels(Y_, 1)
            for n in (1, 10, 60):
                expected = brute_force(scores, np.ones(scores.shape, np.bool_), n)
                wanted = Wanted(boost=boost_of(weights))
                if not np.isfinite(expected[1]).all():
                    with pytest.raises(fastals.ParameterError, match="range"):
                        wanted.search("items", panels, X_, n, seen=None, num_threads=1)
                    continue
                found = wanted.search("items", panels, X_, n, seen=None, num_threads=1)
                for got, expect in zip(found, expected, strict=True):
                    np.testing.assert_array_equal(got, expect, err_msg=f"{left}, {right}, {n}")


@pytest.mark.parametrize("dtype", DTYPES)
def test_bounds_hold_where_digits_are_lost(isa: str, dtype: Any) -> None:
    """The winners stand in the last panel, and there is hardly any room between the bounds and what they bound."""
    size = 8 * kernels.PANEL
    tiny, least = float(np.finfo(dtype).tiny), float(np.finfo(dtype).smallest_subnormal)
    last = np.where(np.arange(size) < size - 3, 1, 1.03)
    first = np.where(np.arange(size) < kernels.PANEL, 1e-8 / tiny, 1)
    along, across = np.array([[1.0, 0.0]]), np.tile([0.0, 5.0], (size, 1))
    across[: kernels.PANEL] = [-1e-26, 0]
    cases = {
        # a score of 6.6 units in the last place, which rounds to 7
        "score": ([[6.6 * least / 1e-25]], np.full((size, 1), 1e-25), 1e-8 / tiny * last),
        # weight times norm is 2.4 units in the last place of float64, and rounds to 2
        "reach": ([[1 / tiny]], np.full((size, 1), 1e4 * tiny), 2.4 * 2.0**-74 / (1e4 * tiny) * 2.0**-1000 * last),
        # scores below 0 that are divided until they equal 0
        "zero": (along, across, first),
    }
    for name, (X, Y, weights) in cases.items():
        X, Y = np.array(X, dtype), np.array(Y, dtype)
        plain = kernels.pair_scores(X, Y, np.zeros(size, np.int32), np.arange(size, dtype=np.int32), 1)
        wide = plain.astype(np.float64)
        scores = np.where(wide < 0, wide / weights, wide * weights).astype(dtype)[np.newaxis]
        for n in (1, 3, 10):
            found = Wanted(boost=boost_of(weights)).search("items", Panels(Y, 1), X, n, seen=None, num_threads=1)
            expected = brute_force(scores, np.ones(scores.shape, np.bool_), n)
            for got, right in zip(found, expected, strict=True):
                np.testing.assert_array_equal(got, right, err_msg=f"{name}, {n}")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("own", [None, ItemLists(np.array([0]), np.array([3]), np.arange(3, dtype=np.int32))])
def test_a_boost_must_leave_scores_in_the_range_of_the_dtype(own: ItemLists | None, dtype: Any) -> None:
    largest = float(np.finfo(dtype).max)
    X, Y = np.array([[2]], dtype), np.array([[1], [-1], [0]], dtype)

    def ask(weights: dict[int, float], n: int = 3, Y: NDArray[Any] = Y, **kwargs: Any) -> Any:
        wanted = Wanted(boost=check_boost(weights, Labels(None, 3)), own=own, **kwargs)
        return wanted.search("items", Panels(Y, 1), X, n, seen=None, num_threads=1)

    for weights, message in (
        ({0: 0.75 * largest}, "for a score of 2.0: one nearer to 1 will do"),
        ({1: 1 / largest}, "for a score of -2.0"),
    ):
        with pytest.raises(fastals.ParameterError, match=f"boost must leave the scores within {np.dtype(dtype)}'s ran"):
            ask(weights)
        with pytest.raises(fastals.ParameterError, match=message):
            ask(weights)
    assert ask({0: 0.25 * largest})[1].tolist() == [[0.5 * largest, 0, -2]]
    assert ask({2: largest})[0].tolist() == [[0, 2, 1]]
    # what is not in the list need not be in the range
    assert ask({1: 1 / largest}, n=2)[0].tolist() == [[0, 2]]
    assert ask({0: largest}, exclude=np.array([0], np.int32))[0].tolist() == [[2, 1, -1]]
    # infinite without any boost
    huge = np.array([[largest], [1], [0]], dtype)
    assert ask({1: 3}, Y=huge)[1].tolist() == [[np.inf, 6, 0]]


# ---------------------------------------------------------------------------------------------------------------------
# models


@pytest.fixture(scope="module")
def model() -> Any:
    rng = np.random.default_rng(5)
    counts = (rng.random((60, 150)) < 0.1) * rng.integers(1, 6, (60, 150))
    counts[59] = 0
    return fastals.ImplicitALS(factors=6, random_state=0, regularization=0.1).fit(csr_array(counts))


WEIGHTS = np.random.default_rng(6).choice([0, 0.25, 1, 1, 1, 3], 150)


def test_a_mapping_says_what_an_array_says(model: Any) -> None:
    mapping = {item: weight for item, weight in enumerate(WEIGHTS.tolist()) if weight != 1}
    for kwargs in ({}, {"items": np.arange(0, 150, 2)}, {"items": [[1, 2, 3]] * 60}, {"exclude": [4, 5]}):
        one, other = (model.recommend(np.arange(60), n=20, boost=boost, **kwargs) for boost in (WEIGHTS, mapping))
        np.testing.assert_array_equal(one.items, other.items)
        np.testing.assert_array_equal(one.scores, other.scores)
    plain = model.recommend(np.arange(60), n=20)
    for nothing in ({}, np.ones(150), np.ones(150, np.int64), {3: 1}):
        np.testing.assert_array_equal(model.recommend(np.arange(60), n=20, boost=nothing).scores, plain.scores)


def test_an_item_rises_above_1_and_falls_below(model: Any) -> None:
    def place(user: int, item: int, **kwargs: Any) -> int:
        found = model.recommend(user, n=150, exclude_seen=False, **kwargs).items.tolist()
        return found.index(item) if item in found else len(found)

    for user, item in product((0, 1, 2), range(0, 150, 10)):
        places = [place(user, item, boost={item: weight}) for weight in (100, 10, 1.5, 1, 0.7, 0.1, 0.01, 0)]
        assert places == sorted(places)
        assert places[3] == place(user, item)
        assert places[-1] == 150


def test_whoever_is_asked_for(model: Any) -> None:
    expected = model.recommend(np.arange(59), n=9, boost=WEIGHTS, exclude_seen=False)
    got = model.recommend(user_factors=model.user_factors_[:59], n=9, boost=WEIGHTS)
    np.testing.assert_array_equal(got.items, expected.items)
    one = model.recommend(7, n=9, boost=WEIGHTS, exclude_seen=False)
    np.testing.assert_array_equal(one.items, expected.items[7])
    np.testing.assert_array_equal(one.scores, expected.scores[7])
    history = csr_array(([1.0, 2.0], ([0, 0], [3, 30])), shape=(1, 150))
    got = model.recommend(histories=history, n=9, boost=WEIGHTS)
    wanted = model.recommend(user_factors=model.fold_in(history), n=9, boost=WEIGHTS, exclude=[3, 30])
    np.testing.assert_array_equal(got.items, wanted.items)
    np.testing.assert_array_equal(got.scores, wanted.scores)


def test_what_is_popular_is_boosted_as_well() -> None:
    users = ["ann", "ann", "ann", "bob", "bob", "eve"]
    model = fastals.ImplicitALS(factors=2, random_state=0).fit((users, ["a", "b", "c", "a", "b", "a"]))

    def popular(**kwargs: Any) -> Any:
        found = model.recommend("zoe", n=3, unknown="popular", **kwargs)
        return found.items.tolist(), found.scores.tolist()

    assert popular() == (["a", "b", "c"], [3, 2, 1])
    assert popular(boost={"c": 5}) == (["c", "a", "b"], [5, 3, 2])
    assert popular(boost={"a": 0}, items=["a", "c"]) == (["c", None, None], [1, -np.inf, -np.inf])
    assert popular(boost={"c": 1.5}, exclude=["a"]) == (["b", "c", None], [2, 1.5, -np.inf])
    with pytest.raises(fastals.ParameterError, match="boost must leave the scores within float32's range"):
        popular(boost={"a": 3e38})


@pytest.mark.parametrize("kwargs", [{}, {"items": np.arange(0, 150, 2)}, {"exclude": [4, 5]}])
def test_all_users_in_batches(model: Any, kwargs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = model.recommend(np.arange(60), n=12, boost=WEIGHTS, **kwargs)
    made = []
    view = Panels.view
    monkeypatch.setattr(Panels, "view", lambda self, **asked: made.append(asked) or view(self, **asked))
    for size in (1, 7, 100):
        made.clear()
        batches = list(model.recommend_all(n=12, boost=WEIGHTS, batch_size=size, **kwargs))
        np.testing.assert_array_equal(np.concatenate([items for _, items, _ in batches]), expected.items)
        np.testing.assert_array_equal(np.concatenate([scores for *_, scores in batches]), expected.scores)
        assert len(made) == 1  # for any number of batches


def test_many_threads_may_ask_at_once(model: Any) -> None:
    rng = np.random.default_rng(7)
    asked = []
    for call in range(60):
        kwargs: dict[str, Any] = {"n": int(rng.integers(1, 30)), "boost": {int(rng.integers(150)): 2.0}}
        if call % 3 == 0:
            kwargs["items"] = rng.permutation(150)[:75]
        if call % 4 == 0:
            kwargs["exclude"] = rng.permutation(150)[:5]
        asked.append((int(rng.integers(59)), kwargs))

    def answer(question: tuple[int, dict[str, Any]]) -> Any:
        return model.recommend(question[0], **question[1])

    expected = [answer(question) for question in asked]
    with ThreadPoolExecutor(8) as pool:
        for got, right in zip(pool.map(answer, asked * 5), expected * 5, strict=True):
            np.testing.assert_array_equal(got.items, right.items)
            np.testing.assert_array_equal(got.scores, right.scores)


def test_a_series_is_read_by_its_index() -> None:
    model = fastals.ImplicitALS(factors=2, random_state=0).fit((["a", "b"], ["x", "y"]))
    weights = {"y": 0.0, "x": 1.0}
    expected = model.recommend("a", n=2, exclude_seen=False, boost=weights)
    found = model.recommend("a", n=2, exclude_seen=False, boost=pd.Series(weights))
    assert found.items.tolist() == expected.items.tolist()


def test_a_boost_of_strangers_looks_at_nobody_else() -> None:
    model = fastals.ImplicitALS(factors=2, random_state=0).fit((["a", "b"], ["x", "y"]))
    lists = model.recommend(["b", "stranger"], n=2, unknown="popular", boost={"x": 1e30}, exclude_seen=False)
    assert lists.items[1].tolist() == ["x", "y"]
    with pytest.raises(fastals.DataError, match="got 1 at position 1"):
        model.recommend(["a", "b"], n=1, items=[["x"], 1])

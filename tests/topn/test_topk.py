"""Top-N search: every list is that of scoring all pairs, on every instruction set, whatever is cut off on the way."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fastals._core import kernels
from fastals._topn.panels import ItemLists, Panels
from fastals._topn.search import top_n

SIZES = [1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 50, 64, 100, 128, 200, 256]
N_ITEMS = 130
DTYPES = [np.float32, np.float64]


def all_scores(X: NDArray, Y: NDArray) -> NDArray:
    """Every score as the compiled core gives a single pair, held against float64."""
    users, items = np.divmod(np.arange(len(X) * len(Y), dtype=np.int32), np.int32(len(Y)))
    scores = kernels.pair_scores(X, Y, users, items, 1).reshape(len(X), len(Y))
    X, Y = X.astype(np.float64), Y.astype(np.float64)
    bound = np.finfo(scores.dtype).eps * X.shape[1] * (np.abs(X) @ np.abs(Y).T) + np.finfo(scores.dtype).tiny
    assert (np.abs(scores - X @ Y.T) <= bound).all()
    return scores


def brute_force(scores: NDArray, allowed: NDArray, n: int) -> tuple[NDArray, NDArray]:
    """The slow twin: sort every row by falling score, then rising item."""
    items, best = np.full((len(scores), n), -1), np.full((len(scores), n), -np.inf, scores.dtype)
    for q, row in enumerate(scores):
        candidates = np.flatnonzero(allowed[q])
        order = candidates[np.lexsort((candidates, -row[candidates]))][:n]
        items[q, : len(order)], best[q, : len(order)] = order, row[order]
    return items, best


def random_lists(rng: np.random.Generator, m: int, n_items: int, longest: int) -> tuple[ItemLists, NDArray]:
    """Sorted lists of distinct items, and the same as a mask; the first is empty, the second holds every item."""
    mask = np.zeros((m, n_items), bool)
    for q in range(1, m):
        mask[q, rng.choice(n_items, n_items if q == 1 else rng.integers(longest + 1), replace=False)] = True
    indptr = np.concatenate([[0], np.cumsum(mask.sum(axis=1))])
    return ItemLists.of_rows(indptr, np.nonzero(mask)[1].astype(np.int32)), mask


class Judge:
    """Holds lists from X and Y against the slow twin."""

    def __init__(self, X: NDArray, Y: NDArray, num_threads: int = 1) -> None:
        self.X, self.Y, self.num_threads = X, Y, num_threads
        self.scores = all_scores(X, Y)

    def assert_exact(
        self,
        n: int,
        allowed: NDArray | None = None,
        candidates: NDArray | None = None,
        exclude: NDArray | None = None,
        **kwargs: Any,
    ) -> None:
        panels = Panels(self.Y, self.num_threads).view(candidates=candidates, exclude=exclude)
        items, scores = top_n(self.X, panels, n, num_threads=self.num_threads, **kwargs)
        allowed = np.ones(self.scores.shape, bool) if allowed is None else allowed
        expected_items, expected_scores = brute_force(self.scores, allowed, n)
        assert items.dtype == np.int32
        assert scores.dtype == self.X.dtype
        np.testing.assert_array_equal(items, expected_items)
        np.testing.assert_array_equal(scores, expected_scores)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", SIZES)
def test_lists_are_those_of_scoring_every_pair(isa, k, dtype):
    rng = np.random.default_rng(k)
    X = rng.standard_normal((21, k)).astype(dtype)
    Y = (rng.standard_normal((N_ITEMS, k)) * rng.lognormal(0, 1, (N_ITEMS, 1))).astype(dtype)
    seen, is_seen = random_lists(rng, len(X), N_ITEMS, 60)
    own, is_own = random_lists(rng, len(X), N_ITEMS, 3)
    candidates = rng.integers(0, N_ITEMS, 70).astype(np.int32)
    exclude = rng.integers(0, N_ITEMS, 30).astype(np.int32)
    is_candidate, is_open = np.isin(np.arange(N_ITEMS), candidates), ~np.isin(np.arange(N_ITEMS), exclude)
    judge = Judge(X, Y)
    for n in (1, 10, 100, N_ITEMS + 5):
        judge.assert_exact(n)
        judge.assert_exact(n, seen=seen, allowed=~is_seen)
        judge.assert_exact(n, exclude=exclude, allowed=np.tile(is_open, (len(X), 1)))
        judge.assert_exact(n, seen=seen, exclude_each=own, allowed=~is_seen & ~is_own)
        allowed = ~is_seen & is_candidate & is_open
        judge.assert_exact(n, seen=seen, candidates=candidates, exclude=exclude, allowed=allowed)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", [1, 3, 16, 50])
def test_equal_scores_come_in_the_order_of_items(isa, k, dtype):
    rng = np.random.default_rng(k)
    X = rng.integers(-1, 2, (40, k)).astype(dtype)
    Y = rng.integers(-1, 2, (600, k)).astype(dtype)
    Y[rng.integers(0, 600, 300)] = Y[5]
    Y[rng.integers(0, 600, 50)] = 0
    X[3] = 0
    X[4] = -0.0
    judge = Judge(X, Y)
    for n in (1, 10, 150, 700):
        judge.assert_exact(n)


def test_all_scores_equal(isa):
    Y = np.ones((2000, 4), np.float32)
    for n in (1, 10, 300):
        items, scores = top_n(np.ones((3, 4), np.float32), Panels(Y, 1), n, num_threads=1)
        np.testing.assert_array_equal(items, np.tile(np.arange(n), (3, 1)))
        assert (scores == 4).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_query_of_zeros_gets_the_first_items_it_may_have(isa, dtype):
    rng = np.random.default_rng(0)
    X, Y = np.zeros((5, 8), dtype), rng.standard_normal((200, 8)).astype(dtype)
    seen, is_seen = random_lists(rng, 5, 200, 30)
    exclude = np.arange(20, dtype=np.int32)
    allowed = ~is_seen & (np.arange(200) >= 20)
    judge = Judge(X, Y)
    for n in (1, 10, 250):
        judge.assert_exact(n, seen=seen, exclude=exclude, allowed=allowed)


@pytest.mark.parametrize("dtype", DTYPES)
def test_negative_scores(isa, dtype):
    rng = np.random.default_rng(1)
    X, Y = -np.abs(rng.standard_normal((9, 12))).astype(dtype), np.abs(rng.standard_normal((300, 12))).astype(dtype)
    judge = Judge(X, Y)
    for n in (1, 20):
        judge.assert_exact(n)


def adversarial_tables(dtype: type, k: int) -> Iterator[tuple[str, NDArray]]:
    rng = np.random.default_rng(7)
    Y = rng.standard_normal((500, k))
    units = Y / np.linalg.norm(Y, axis=1, keepdims=True)
    large, small = (1e15, 1e-15) if dtype == np.float32 else (1e120, 1e-120)
    yield "equal norms", units
    yield "norms that fall by one rounding", units * (1 - np.arange(500)[:, None] * float(np.finfo(dtype).eps))
    yield "norms over the whole range", units * np.geomspace(large, small, 500)[:, None]
    yield "one giant", np.concatenate([units, units[:1] * 1e6])
    yield "one giant factor", np.concatenate([np.full((500, 1), 1e4), Y[:, 1:]], axis=1)
    yield "nearly the same row", units[:1] + float(np.finfo(dtype).eps) * rng.integers(-8, 9, (500, k))
    yield "subnormal numbers", units * float(np.finfo(dtype).smallest_subnormal) * 1000
    yield "large numbers", units * large
    # the longest item is the worst, the shortest the best: no list is final before the end
    angles = np.linspace(np.pi / 2, 0, 500)
    plane = np.linspace(1.5, 1, 500)[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    yield "scores rising against the norms", np.concatenate([plane, np.zeros((500, k - 2))], axis=1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", [2, 17, 64])
def test_what_is_cut_off_could_not_have_won(isa, k, dtype):
    rng = np.random.default_rng(k)
    for name, Y in adversarial_tables(dtype, k):
        Y = Y.astype(dtype)
        queries = [
            rng.standard_normal((10, k)),
            Y[:5],
            -Y[:5],
            np.eye(3, k),
            Y[:1] + 1e-3 * rng.standard_normal((5, k)),
        ]
        queries += [rng.standard_normal((2, k)) * scale for scale in (1e-15, 1e15)]
        X = np.concatenate(queries).astype(dtype)
        judge = Judge(X, Y)
        for n in (1, 10, 60):
            try:
                judge.assert_exact(n)
            except AssertionError as error:
                raise AssertionError(f"{name}, n = {n}") from error


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_overflows_to_nan_is_no_score(isa, dtype):
    largest = np.finfo(dtype).max
    X = np.array([[largest, largest]], dtype)
    Y = np.array([[0.25, 0.25], [largest, -largest], [largest, largest]], dtype)
    items, scores = top_n(X, Panels(Y, 1), 3, num_threads=1)
    assert items[0, 0] == 2
    assert 1 not in items
    assert not np.isnan(scores).any()


def test_the_same_bits_for_any_thread_count_and_batch(isa):
    rng = np.random.default_rng(3)
    X = rng.standard_normal((300, 24)).astype(np.float32)
    Y = (rng.standard_normal((1000, 24)) * rng.lognormal(0, 1, (1000, 1))).astype(np.float32)
    seen, _ = random_lists(rng, len(X), len(Y), 200)
    panels = Panels(Y, 1)
    items, scores = top_n(X, panels, 20, seen=seen, num_threads=1)
    for threads in (2, 4):
        again = top_n(X, Panels(Y, threads), 20, seen=seen, num_threads=threads)
        np.testing.assert_array_equal(again[0], items)
        np.testing.assert_array_equal(again[1], scores)
    order = rng.permutation(len(X))
    for size in (1, 3, 8, 130):
        for first in range(0, len(X), size):
            rows = order[first : first + size]
            lists = ItemLists(seen.first[rows], seen.last[rows], seen.items)
            again = top_n(X[rows], panels, 20, seen=lists, num_threads=2)
            np.testing.assert_array_equal(again[0], items[rows])
            np.testing.assert_array_equal(again[1], scores[rows])


def test_instruction_sets_with_fma_agree_to_the_bit():
    rng = np.random.default_rng(4)
    X, Y = (rng.standard_normal((n, 45)).astype(np.float32) for n in (30, 400))
    before, results = kernels.active_isa(), []
    for name in kernels.available_isas():
        if name.startswith("x86"):
            assert kernels.use_isa(name)
            results.append(top_n(X, Panels(Y, 1), 25, num_threads=1))
    kernels.use_isa(before)
    for items, scores in results[1:]:
        np.testing.assert_array_equal(items, results[0][0])
        np.testing.assert_array_equal(scores, results[0][1])


def test_packed_panels_serve_every_instruction_set(isa):
    rng = np.random.default_rng(5)
    X, Y = (rng.standard_normal((n, 30)).astype(np.float32) for n in (20, 300))
    panels = Panels(Y, 1)
    kernels.use_isa("generic")
    packed_elsewhere = Panels(Y, 1)
    kernels.use_isa(isa)
    np.testing.assert_array_equal(panels.codes, packed_elsewhere.codes)
    for one, other in zip(
        top_n(X, panels, 7, num_threads=1), top_n(X, packed_elsewhere, 7, num_threads=1), strict=True
    ):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("dtype", DTYPES)
def test_long_lists(isa, dtype):
    rng = np.random.default_rng(6)
    X, Y = rng.standard_normal((3, 6)).astype(dtype), rng.standard_normal((12_000, 6)).astype(dtype)
    X[2] = 0
    judge = Judge(X, Y)
    for n in (191, 193, 1000, 10_000, 12_000):
        judge.assert_exact(n)


def test_nothing_is_left(isa):
    rng = np.random.default_rng(8)
    X, Y = (rng.standard_normal((n, 5)).astype(np.float32) for n in (4, 60))
    X[0] = 0
    everything, nothing = np.arange(60, dtype=np.int32), np.empty(0, np.int32)
    for kwargs in ({"exclude": everything}, {"candidates": nothing}, {"candidates": nothing, "exclude": nothing}):
        items, scores = top_n(X, Panels(Y, 1).view(**kwargs), 3, num_threads=1)
        assert items.shape == scores.shape == (4, 3)
        assert (items == -1).all()
        assert (scores == -np.inf).all()
    items, scores = top_n(X[:0], Panels(Y, 1), 3, num_threads=2)
    assert items.shape == scores.shape == (0, 3)


def test_many_items_and_small_groups(isa, monkeypatch):
    monkeypatch.setattr("fastals._topn.search.WORKSPACE_BYTES", 1)
    rng = np.random.default_rng(9)
    X, Y = (rng.standard_normal((n, 9)).astype(np.float32) for n in (37, 700))
    Judge(X, Y, num_threads=2).assert_exact(12)


@pytest.mark.parametrize("dtype", DTYPES)
def test_pair_scores(isa, dtype):
    rng = np.random.default_rng(10)
    for k in SIZES:
        X, Y = rng.standard_normal((7, k)).astype(dtype), rng.standard_normal((11, k)).astype(dtype)
        users, items = rng.integers(-1, 7, 9001).astype(np.int32), rng.integers(-1, 11, 9001).astype(np.int32)
        expected = all_scores(X, Y)[users, items]
        expected[(users < 0) | (items < 0)] = np.nan
        for threads in (1, 3):
            np.testing.assert_array_equal(kernels.pair_scores(X, Y, users, items, threads), expected)

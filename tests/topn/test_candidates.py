"""Candidates and exclusions: the same lists whether columns are closed or candidates are packed anew."""

from itertools import product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fastals._core import kernels
from fastals._topn.panels import Boost, ItemLists, Panels
from fastals._topn.search import Wanted, top_n, top_n_of_own

N_ITEMS = 3000
DTYPES = [np.float32, np.float64]


def tables(dtype: Any) -> tuple[NDArray[Any], Panels]:
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((9, 7)), rng.standard_normal((N_ITEMS, 7)) * rng.lognormal(0, 1, (N_ITEMS, 1))
    X[0] = 0
    Y[::5] = Y[1]
    return X.astype(dtype), Panels(Y.astype(dtype), 1)


def choices() -> list[NDArray[np.int32]]:
    """Candidates: none, one, few (a bit each), many (all bits anew), all; in any order, repeated."""
    rng = np.random.default_rng(1)
    sizes = (0, 1, 5, 7, 8, 100, N_ITEMS // 2, 2 * N_ITEMS)
    return [rng.integers(0, N_ITEMS, size).astype(np.int32) for size in sizes] + [np.arange(N_ITEMS, dtype=np.int32)]


@pytest.mark.parametrize("dtype", DTYPES)
def test_closed_columns_packed_candidates_and_own_lists_agree(dtype: Any) -> None:
    X, panels = tables(dtype)
    ends = np.arange(len(X))
    for chosen, without in product(choices(), [None, *choices()]):
        own = ItemLists(0 * ends, 0 * ends + len(chosen), chosen)
        for n in (1, 30):
            expected = top_n_of_own(X, panels.view(exclude=without), own, n, num_threads=1)
            closed = top_n(X, panels.view(candidates=chosen, exclude=without), n, num_threads=1)
            packed = top_n(X, panels.subset(chosen, 1).view(exclude=without), n, num_threads=1)
            for got in (closed, packed):
                np.testing.assert_array_equal(got[0], expected[0])
                np.testing.assert_array_equal(got[1], expected[1])


def test_what_is_open() -> None:
    _, panels = tables(np.float32)
    everything, whole = np.arange(N_ITEMS), panels.open.copy()
    np.testing.assert_array_equal(panels.is_open(everything), np.ones(N_ITEMS))
    for chosen in choices():
        for view, expected in (
            (panels.view(candidates=chosen), np.isin(everything, chosen)),
            (panels.view(exclude=chosen), ~np.isin(everything, chosen)),
            (panels.subset(chosen, 1), np.isin(everything, chosen)),
            (panels.subset(chosen, 1).view(candidates=chosen[:3]), np.isin(everything, chosen[:3])),
        ):
            np.testing.assert_array_equal(view.is_open(everything), expected)
            assert view.size == expected.sum()
    np.testing.assert_array_equal(panels.open, whole)  # a view leaves alone what others search


def test_a_view_packs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    X, panels = tables(np.float32)
    packed = []
    pack = kernels.pack_panels
    monkeypatch.setattr(kernels, "pack_panels", lambda *asked: packed.append(len(asked[1])) or pack(*asked))
    boost = Boost(np.array([3, 4], np.int32), np.array([2.0, 0.0]))
    half = np.arange(N_ITEMS // 2, dtype=np.int32)
    for asked in ({"candidates": half}, {"exclude": half}, {"boost": boost}, {"candidates": half[:3], "boost": boost}):
        Wanted(queries=1, **asked).search("items", panels, X[:1], 10, seen=None, num_threads=1)
    assert not packed
    # packing is for many queries, and done once for all their batches
    many = Wanted(queries=1_000_000, candidates=half)
    for _ in range(3):
        many.search("items", panels, X, 10, seen=None, num_threads=1)
    assert packed == [-(-len(half) // kernels.PANEL) * kernels.PANEL]


def test_a_part_of_the_queries_shares_what_was_made() -> None:
    X, panels = tables(np.float32)
    first = np.arange(len(X), dtype=np.int64)
    each = ItemLists(first, first + 1, first.astype(np.int32))
    whole = Wanted(queries=len(X), exclude=np.array([5], np.int32), exclude_each=each)
    items, scores = whole.search("items", panels, X, 6, seen=None, num_threads=1)
    rows = np.array([4, 1])
    part = whole.part(rows).search("items", panels, X[rows], 6, seen=None, num_threads=1)
    np.testing.assert_array_equal(part[0], items[rows])
    np.testing.assert_array_equal(part[1], scores[rows])

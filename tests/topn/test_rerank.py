"""Maximal marginal relevance against its definition, item by item."""

from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array

import fastals
from fastals import Recommendations


def fitted(labels: bool = False) -> Any:
    rng = np.random.default_rng(0)
    dense = (rng.random((50, 40)) < 0.2) * rng.integers(1, 6, (50, 40))
    dense[:, 7] = 0
    items = [f"item {i:02}" for i in range(40)] if labels else None
    data = fastals.Interactions.from_matrix(csr_array(dense), items=items)
    return fastals.ImplicitALS(factors=6, dtype="float64", random_state=0).fit(data)


def by_definition(Y: Any, items: list[int], scores: list[float], n: int, trade_off: float) -> list[int]:
    best = max(map(abs, scores), default=0) or 1

    def cosine(i: int, j: int) -> float:
        norms = np.linalg.norm(Y[i]) * np.linalg.norm(Y[j])
        return float(Y[i] @ Y[j] / norms) if norms else 0.0

    left, chosen = list(zip(items, scores, strict=True)), []
    while left and len(chosen) < n:

        def gain(candidate: tuple[int, float]) -> float:
            item, score = candidate
            if not chosen:
                return score
            return trade_off * score / best - (1 - trade_off) * max(cosine(item, other) for other in chosen)

        pick = max(left, key=gain)
        left.remove(pick)
        chosen.append(pick[0])
    return chosen


@pytest.mark.parametrize("trade_off", [0.0, 0.2, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("n", [1, 5, 30, 50])
def test_it_is_the_definition(n: int, trade_off: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastals._topn.rerank.CHUNK", 1000)
    model = fitted()
    lists = model.recommend(np.arange(50), n=30)
    got = fastals.mmr(model, lists, n=n, trade_off=trade_off)
    assert got.items.shape == got.scores.shape == (50, n)
    for row in range(50):
        real = lists.items[row] >= 0
        expected = by_definition(
            model.item_factors_, lists.items[row][real].tolist(), lists.scores[row][real].tolist(), n, trade_off
        )
        assert got.items[row].tolist() == expected + [-1] * (n - len(expected))
        score_of = dict(zip(lists.items[row].tolist(), lists.scores[row].tolist(), strict=True))
        assert got.scores[row].tolist() == [score_of[i] for i in expected] + [-np.inf] * (n - len(expected))
    if trade_off == 1 and n == 30:
        np.testing.assert_array_equal(got.items, lists.items)


def test_labels_and_single_lists() -> None:
    plain, labelled = fitted(), fitted(labels=True)
    one = fastals.mmr(labelled, labelled.recommend(3, n=25), n=4)
    assert one.items.shape == (4,)
    expected = fastals.mmr(plain, plain.recommend(3, n=25), n=4)
    assert one.items.tolist() == [f"item {i:02}" for i in expected.items]
    np.testing.assert_array_equal(one.scores, expected.scores)
    short = fastals.mmr(labelled, labelled.recommend(3, n=2, items=["item 01"], exclude_seen=False), n=3)
    assert short.items.tolist() == ["item 01", None, None]
    nothing = fastals.mmr(labelled, labelled.recommend([], n=5), n=3)
    assert nothing.items.shape == (0, 3)


def test_diversity_rises() -> None:
    model = fitted()
    lists = model.recommend(np.arange(50), n=30)
    units = model.item_factors_ / np.maximum(np.linalg.norm(model.item_factors_, axis=1, keepdims=True), 1e-12)

    def likeness(trade_off: float) -> float:
        V = units[fastals.mmr(model, lists, n=5, trade_off=trade_off).items]
        return float(np.einsum("mik,mjk->", V, V))

    assert likeness(0.2) < likeness(0.6) < likeness(1.0)


def test_errors() -> None:
    model = fitted()
    lists = model.recommend([0, 1], n=5)
    for arguments, message in (
        ({"trade_off": 1.5}, "trade_off"),
        ({"n": 0}, "n must be"),
    ):
        with pytest.raises(fastals.ParameterError, match=message):
            fastals.mmr(model, lists, **arguments)
    with pytest.raises(fastals.DataError, match="same shape"):
        fastals.mmr(model, Recommendations(lists.items, lists.scores[:, :3]))
    with pytest.raises(fastals.UnknownLabelError):
        fastals.mmr(model, Recommendations(np.array([99]), np.array([1.0])))
    with pytest.raises(fastals.NotFittedError):
        fastals.mmr(fastals.ImplicitALS(), lists)
    knn = fastals.ItemKNN().fit(csr_array(np.eye(3)))
    with pytest.raises(fastals.ParameterError, match="no factors"):
        fastals.mmr(knn, lists)

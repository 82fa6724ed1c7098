"""Two models side by side, against plain loops."""

import json
import math
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import fastals
from fastals.evaluation import compare, evaluate, gini_at_k, novelty_at_k

MODELS: dict[str, Any] = {
    "implicit": lambda seed: fastals.ImplicitALS(factors=4, random_state=seed),
    "explicit": lambda seed: fastals.ExplicitALS(factors=4, random_state=seed),
    "neighbours": lambda seed: fastals.ItemKNN(neighbors=4 + seed),
    "linear": lambda seed: fastals.EASE(regularization=1.0 + seed),
}


def events(seed: int, users: range, items: range, n: int = 400) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "user": [f"u{i:03d}" for i in rng.integers(users.start, users.stop, n)],
            "item": [f"i{i:03d}" for i in (rng.power(0.5, n) * len(items)).astype(int) + items.start],
            "value": rng.integers(1, 6, n),
        }
    )
    return frame.drop_duplicates(["user", "item"])


def data(frame: pd.DataFrame) -> Any:
    return tuple(frame[name].to_numpy() for name in ("user", "item", "value"))


@pytest.fixture(params=MODELS)
def two(request: Any) -> tuple[Any, Any]:
    make = MODELS[request.param]
    old = make(0).fit(data(events(0, range(40), range(30))))
    new = make(1).fit(data(events(1, range(10, 60), range(5, 40))))
    return old, new


def a_list(model: Any, user: str, n: int) -> list[str]:
    return [item for item in model.recommend(user, n=n).items.tolist() if item is not None]


@pytest.mark.parametrize("n", [1, 5, 50])
def test_lists_by_plain_loops(two: tuple[Any, Any], n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastals.evaluation._compare.BATCH_USERS", 7)
    old, new = two
    found = compare(old, new, n=n)
    users = sorted(set(old.users_) & set(new.users_))
    for name, one, other in (("users", old.users_, new.users_), ("items", old.items_, new.items_)):
        common = len(set(one) & set(other))
        known = getattr(found, name)
        assert (known.old, known.new, known.common) == (len(one), len(other), common)
        assert (known.gone, known.added) == (len(one) - common, len(other) - common)
    assert (found.n, found.n_lists, found.metrics, found.n_test_users) == (n, len(users), {}, 0)
    sums: dict[str, list[float]] = {"common": [], "jaccard": [], "rbo": [], "same": []}
    for user in users:
        a, b = a_list(old, user, n), a_list(new, user, n)
        longer = max(len(a), len(b))
        if not longer:
            continue
        sums["common"].append(len(set(a) & set(b)) / longer)
        sums["jaccard"].append(len(set(a) & set(b)) / len(set(a) | set(b)))
        agreement = [len(set(a[:d]) & set(b[:d])) / max(len(a[:d]), len(b[:d])) for d in range(1, longer + 1)]
        weights = [0.9**d for d in range(longer)]
        sums["rbo"].append(sum(map(math.prod, zip(agreement, weights, strict=True))) / sum(weights))
        sums["same"].append(float(a == b))
    assert found.overlap == pytest.approx({name: np.mean(values) for name, values in sums.items()})
    for side, model in (("old", old), ("new", new)):
        lists, scores = model.recommend(users, n=n)
        pairs = model.state_.pairs
        told = {name: getattr(change, side) for name, change in found.lists.items()}
        listed = [item for row in lists.tolist() for item in row if item is not None]
        having = dict(zip(model.items_, (pairs.matrix.toarray() != 0).sum(axis=0).tolist(), strict=True))
        order = sorted(having, key=lambda item: (-having[item], item))
        assert told == pytest.approx(
            {
                "coverage": len(set(listed)) / len(model.items_),
                "gini": gini_at_k(lists, pairs, n),
                "novelty": novelty_at_k(lists, pairs, n),
                "popularity": np.mean([having[item] / len(model.users_) for item in listed]),
                "popularity_rank": np.mean([order.index(item) / (len(order) - 1) for item in listed]),
                "score": scores[np.isfinite(scores)].astype(float).mean(),
                "score_spread": scores[np.isfinite(scores)].astype(float).std(),
                "length": len(listed) / len(users),
            },
            rel=1e-5,
        )


def test_held_out_cells_by_plain_loops(two: tuple[Any, Any]) -> None:
    old, new = two
    frame = events(2, range(70), range(45), 300)
    found = compare(old, new, data(frame), n=5)
    seen = set()
    for model in two:
        pairs = model.state_.pairs
        rows = np.repeat(np.arange(pairs.n_users), np.diff(pairs.indptr))
        seen |= set(zip(model.users_[rows], model.items_[pairs.indices], strict=True))
    relevant: dict[str, set[str]] = {}
    for user, item in zip(frame.user, frame["item"], strict=True):
        if user in set(old.users_) & set(new.users_) and (user, item) not in seen:
            relevant.setdefault(user, set()).add(item)
    assert found.n_test_users == len(relevant)
    differences: dict[str, list[float]] = {"recall@5": [], "ndcg@5": []}
    means: dict[str, list[list[float]]] = {name: [[], []] for name in differences}
    for user, wanted in relevant.items():
        values = []
        for model in two:
            hits = [item in wanted for item in model.recommend(user, n=5).items.tolist()]
            gain = sum(hit / math.log2(place + 2) for place, hit in enumerate(hits))
            ideal = sum(1 / math.log2(place + 2) for place in range(min(5, len(wanted))))
            values.append((sum(hits) / len(wanted), gain / ideal))
        for place, name in enumerate(differences):
            differences[name].append(values[1][place] - values[0][place])
            for side in (0, 1):
                means[name][side].append(values[side][place])
    for name, each in differences.items():
        half = 1.959964 * np.std(each, ddof=1) / np.sqrt(len(each))
        metric = found.metrics[name]
        assert metric.old == pytest.approx(np.mean(means[name][0]))
        assert metric.new == pytest.approx(np.mean(means[name][1]))
        assert (metric.low, metric.difference, metric.high) == pytest.approx(
            (np.mean(each) - half, np.mean(each), np.mean(each) + half)
        )
    if old.state_.ratings:
        left = frame[frame.user.isin(old.users_) & frame.user.isin(new.users_)]
        left = left[left["item"].isin(old.items_) & left["item"].isin(new.items_)]
        errors = [model.predict(left.user.to_numpy(), left["item"].to_numpy()) - left.value for model in two]
        for name, figure in (("rmse", lambda e: np.sqrt(np.mean(e**2))), ("mae", lambda e: np.mean(np.abs(e)))):
            assert found.metrics[name].old == pytest.approx(figure(errors[0]), rel=1e-5)
            assert found.metrics[name].new == pytest.approx(figure(errors[1]), rel=1e-5)
            # users drawn anew, again and again
            rng, groups = np.random.default_rng(0), [np.flatnonzero(left.user == u) for u in sorted(set(left.user))]
            drawn = []
            for _ in range(600):
                rows = np.concatenate([groups[g] for g in rng.integers(0, len(groups), len(groups))])
                drawn.append(figure(errors[1].to_numpy()[rows]) - figure(errors[0].to_numpy()[rows]))
            width = found.metrics[name].high - found.metrics[name].low
            assert width == pytest.approx(2 * 1.96 * np.std(drawn), rel=0.15)
    else:
        assert "rmse" not in found.metrics


def test_a_model_is_itself(two: tuple[Any, Any]) -> None:
    model, _ = two
    held_out = events(2, range(40), range(30))
    found = compare(model, model, data(held_out), n=8)
    assert found.overlap == pytest.approx({"common": 1, "jaccard": 1, "rbo": 1, "same": 1})
    assert all(change.old == change.new for change in found.lists.values())
    expected = evaluate(model, None, data(held_out), k=8)
    for name, metric in found.metrics.items():
        assert metric.old == metric.new == pytest.approx(expected[name])
        assert (metric.difference, metric.low, metric.high) == (0, 0, 0)
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["overlap"]["same"] == pytest.approx(1)


def test_models_that_know_indices() -> None:
    rng = np.random.default_rng(0)
    small, large = ((rng.random(shape) < 0.3) * 1.0 for shape in ((20, 15), (26, 18)))
    old, new = (fastals.ImplicitALS(factors=3, random_state=0).fit(sparse.csr_array(m)) for m in (small, large))
    test = (rng.random((26, 18)) < 0.2) * 1.0
    found = compare(old, new, sparse.csr_array(test), n=4)
    assert (found.users.common, found.users.added, found.items.added) == (20, 6, 3)
    seen = large[:20].copy()
    seen[:, :15] += small
    wanted = (test[:20] > 0) & (seen == 0)
    lists = new.recommend(np.arange(20), n=4).items
    recall = [wanted[u, lists[u]].sum() / wanted[u].sum() for u in range(20) if wanted[u].any()]
    assert found.metrics["recall@4"].new == pytest.approx(np.mean(recall))
    assert found.n_test_users == len(recall)


def test_users_without_cells_are_not_compared() -> None:
    old = fastals.ImplicitALS(factors=2, random_state=0).fit(sparse.csr_array([[1, 1, 0], [0, 1, 1], [0, 0, 0]]))
    new = fastals.ImplicitALS(factors=2, random_state=0).fit(sparse.csr_array([[1, 1, 0], [0, 0, 0], [0, 1, 1]]))
    assert compare(old, new).n_lists == 1
    nobody = fastals.ImplicitALS(factors=2, random_state=0).fit(sparse.csr_array([[0, 0, 0], [0, 0, 0], [0, 1, 1]]))
    with pytest.raises(fastals.DataError, match="no user in common"):
        compare(old, nobody)


def test_empty_lists_say_nothing() -> None:
    """Who has everything gets no list; who has it in one model only has a list that nothing is in common with."""
    everything = sparse.csr_array([[1, 1], [1, 1]])
    full = fastals.ImplicitALS(factors=1, random_state=0).fit(everything)
    part = fastals.ImplicitALS(factors=1, random_state=0).fit(sparse.csr_array([[1, 0], [1, 1]]))
    found = compare(full, full, n=2)
    assert all(math.isnan(value) for value in found.overlap.values())
    assert found.lists["length"].old == 0
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["overlap"]["rbo"] is None
    assert compare(full, part, n=2).overlap == {"common": 0, "jaccard": 0, "rbo": 0, "same": 0}


def test_what_cannot_be_compared() -> None:
    def model(users: Any, items: Any) -> Any:
        return fastals.ImplicitALS(factors=1, random_state=0).fit((users, items))

    old = model(["a", "b"], ["x", "y"])
    for other, rule in (
        (model([1, 2], ["x", "y"]), "the users of the two models are strings and integers, which cannot be matched"),
        (model(["a", "b"], [1, 2]), "the items of the two models are strings and integers"),
        (fastals.ImplicitALS(factors=1).fit(sparse.csr_array([[1.0, 1.0]])), "strings and indices"),
        (model(["c", "d"], ["x", "y"]), "no user in common"),
    ):
        with pytest.raises(fastals.DataError, match=rule):
            compare(old, other)
    with pytest.raises(fastals.NotFittedError):
        compare(old, fastals.ImplicitALS())
    with pytest.raises(fastals.ParameterError, match="n must be >= 1"):
        compare(old, old, n=0)
    with pytest.raises(fastals.DataError, match="test must have labels"):
        compare(old, old, sparse.csr_array([[1.0, 1.0], [0.0, 1.0]]))
    with pytest.raises(fastals.DataError, match="a user whom the model knows"):
        compare(old, old, (["z"], ["x"]))


def test_all_labels_in_any_order() -> None:
    """Rows that partial_fit or Ids have put elsewhere are still those of the same users."""
    frame = events(0, range(30), range(20))
    old = fastals.ImplicitALS(factors=3, random_state=0).fit(data(frame))
    ids = fastals.Ids(old.users_[::-1])
    turned = fastals.with_ids(data(frame), users=ids, items=fastals.Ids(old.items_[::-1]))
    X, Y = old.user_factors_[::-1], old.item_factors_[::-1]
    settings = old.settings_
    new = fastals.ImplicitALS(factors=3, iterations=0, regularization=settings["regularization"])
    new.fit(turned, initial_factors=(X, Y))
    assert compare(old, new, n=6).overlap == pytest.approx({"common": 1, "jaccard": 1, "rbo": 1, "same": 1})
    assert all(a <= b for a, b in pairwise(sorted(new.users_)))

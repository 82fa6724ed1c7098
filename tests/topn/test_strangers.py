"""Users and items of whom nothing is known: they are in no list, and have none but what ``unknown`` asks for."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastals
from fastals import EASE, ExplicitALS, Ids, ImplicitALS, Interactions, ItemKNN, UserKNN, evaluation

OPTIONS: Any = {"factors": 3, "iterations": 3, "random_state": 0}
MODELS: dict[str, Any] = {
    f"{cls.__name__} {solver}": lambda cls=cls, solver=solver: cls(**OPTIONS, solver=solver)
    for cls in (ExplicitALS, ImplicitALS)
    for solver in ("auto", "cholesky", "cg", "lapack")
} | {
    "ratings without biases": lambda: ExplicitALS(**OPTIONS, biases=False),
    "ratings with fixed biases": lambda: ExplicitALS.from_preset("lenskit", **OPTIONS),
    "ratings less their mean": lambda: ExplicitALS.from_preset("cmfrec", **OPTIONS, biases=False),
    "nonnegative ratings": lambda: ExplicitALS(**OPTIONS, nonnegative=True),
    "nonnegative plays": lambda: ImplicitALS(**OPTIONS, nonnegative=True),
    "plays as spark": lambda: ImplicitALS.from_preset("spark", **OPTIONS),
    "ratings of items": lambda: ItemKNN(feedback="explicit"),
    "ratings of users": lambda: UserKNN(feedback="explicit"),
    "plays of items": ItemKNN,
    "plays of users": UserKNN,
    "plays": EASE,
}
FOLDING = [name for name in MODELS if name not in ("ratings of users", "plays of users")]
GONE, LEFT = ["a gone user", "zoe"], ["a gone item", "zzz"]
"""Without cells: the first and the last of the labels."""


def data() -> Interactions:
    rng = np.random.default_rng(0)
    users, items = np.nonzero(rng.random((30, 20)) < 0.4)
    names = [[f"u{user:02}" for user in users], [f"i{item:02}" for item in items]]
    cells = Interactions.from_arrays(*names, rng.integers(1, 6, len(users)))
    known = [sorted({*own, *more}) for own, more in ((names[0], GONE), (names[1], LEFT))]
    return fastals.with_ids(cells, *map(Ids, known))


@pytest.fixture(params=MODELS)
def model(request: Any) -> Any:
    return MODELS[request.param]().fit(data())


def popular(n: int) -> list[str]:
    cells = data()
    assert cells.items is not None
    return cells.items[np.argsort(-np.bincount(cells.indices, minlength=cells.n_items), kind="stable")[:n]].tolist()


def test_a_known_user_without_cells(model: Any) -> None:
    for exclude_seen in (True, False):
        asked: Any = {"n": 4, "exclude_seen": exclude_seen}
        expected = model.recommend(["u03", "u07"], **asked)
        for unknown, theirs in (("error", [None] * 4), ("empty", [None] * 4), ("popular", popular(4))):
            got = model.recommend(["u03", *GONE, "u07"], **asked, unknown=unknown)
            assert got.items[1].tolist() == got.items[2].tolist() == theirs
            assert model.recommend("zoe", **asked, unknown=unknown).items.tolist() == theirs
            np.testing.assert_array_equal(got.items[[0, 3]], expected.items)
            np.testing.assert_array_equal(got.scores[[0, 3]], expected.scores)
    with pytest.raises(fastals.UnknownLabelError):
        model.recommend(["zoe", "never seen"])
    got = model.recommend(["zoe", "never seen"], n=4, unknown="popular")
    assert got.items.tolist() == [popular(4)] * 2


def test_popular_items_have_cells(model: Any) -> None:
    got = model.recommend("zoe", n=40, unknown="popular").items.tolist()
    assert got == popular(20) + [None] * 20
    assert model.recommend("zoe", n=2, unknown="popular", items=LEFT).items.tolist() == [None, None]


def test_nobody_and_nothing_unknown_is_listed(model: Any) -> None:
    users, items = model.users_, model.items_
    listed = model.recommend([user for user in users if user not in GONE], n=40, exclude_seen=False).items
    assert not set(LEFT) & set(listed.ravel())
    assert model.recommend("u03", n=3, items=LEFT).items.tolist() == [None] * 3
    listed = model.recommend_users(items, n=40).users
    assert not set(GONE) & set(listed.ravel())
    for item in LEFT:
        assert set(listed[items.tolist().index(item)]) == {None}
    whole = [[*zip(*batch, strict=True)] for batch in model.recommend_all(n=5, batch_size=7)]
    rows = [row for batch in whole for row in batch]
    assert [user for user, _, _ in rows] == users.tolist()
    for user, row, scores in rows:
        assert (set(row) == {None} and np.isneginf(scores).all()) == (user in GONE)
    for similar, labels, gone in ((model.similar_items, items, LEFT), (model.similar_users, users, GONE)):
        try:
            found = similar(labels, n=40)[0]
        except fastals.ParameterError:  # neighbours of the other side
            continue
        assert not set(gone) & set(found.ravel())
        assert all(set(found[labels.tolist().index(label)]) == {None} for label in gone)


@pytest.mark.parametrize("name", FOLDING)
def test_histories_of_which_nothing_is_known(name: str) -> None:
    model = MODELS[name]().fit(data())
    histories = (["a", "b", "b"], ["never seen", "i03", "i04"], [5.0, 5.0, 4.0])
    own = model.recommend(histories=(["b", "b"], ["i03", "i04"], [5.0, 4.0]), n=4)
    for unknown, theirs in (("error", [None] * 4), ("empty", [None] * 4), ("popular", popular(4))):
        got = model.recommend(histories=histories, n=4, unknown=unknown)
        assert got.items[0].tolist() == theirs
        np.testing.assert_array_equal(got.items[1], own.items[0])
    if hasattr(model, "fold_in"):
        factors = model.fold_in((["a"], ["never seen"]))
        assert not factors.any()
        assert model.recommend(user_factors=factors, n=4).items.tolist() == [[None] * 4]
        assert model.recommend(user_factors=factors[0], n=4, unknown="popular").items.tolist() == popular(4)


def test_what_is_disliked_alone_says_nothing_of_what_is_liked() -> None:
    """Factors of zeros, though there are cells: all items would score 0, and come in the order of their labels."""
    users, items, values = list("aabbcz"), list("xyyzxw"), [1.0, 2, 3, 1, 2, -3]
    model = ImplicitALS(**OPTIONS).fit((users, items, values))
    assert not model.user_factors_[3].any()
    assert model.recommend("z", n=3).items.tolist() == [None] * 3
    # popular, but not what they have seen
    assert model.recommend("z", n=4, unknown="popular").items.tolist() == ["x", "y", "z", None]
    got = model.recommend("z", n=4, unknown="popular", exclude_seen=False)
    assert got.items.tolist() == ["x", "y", "w", "z"]
    assert "w" not in model.recommend(["a", "b", "c"], n=4).items


def test_a_biased_user_without_factors_is_known() -> None:
    model = ExplicitALS(**{**OPTIONS, "regularization": 1e30}, bias_regularization=3.0).fit(data())
    assert not model.user_factors_.any()
    assert (model.recommend("u03", n=3).items != None).all()  # noqa: E711


def test_publishing_writes_no_list_of_theirs(model: Any, tmp_path: Path) -> None:
    fastals.serving.publish(model, tmp_path / "lists.csv", n=3, progress=False)
    text = (tmp_path / "lists.csv").read_text()
    assert "u03" in text
    assert not any(label in text for label in (*GONE, *LEFT))


def test_lists_of_a_model_without_any_factor_are_empty() -> None:
    model = ImplicitALS(**{**OPTIONS, "regularization": 1e30}).fit(data())
    assert not model.item_factors_.any()
    metrics = evaluation.evaluate(model, None, (["u03"], ["i19"]))
    assert metrics["recall@10"] == metrics["coverage@10"] == 0
    assert np.isnan(metrics["novelty@10"])

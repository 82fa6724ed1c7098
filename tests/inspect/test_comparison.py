"""The comparison of a model's settings with what needs no model: the figures are right, and a loss is told."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import real_data
import reference
from numpy.typing import NDArray
from scipy import sparse

import fastals
from fastals import ExplicitALS, ImplicitALS
from fastals._inspect import comparison as module
from fastals._inspect.comparison import check


def ratings(n_users: int = 120, n_items: int = 80) -> sparse.csr_array:
    """Ratings 1..5 of two planted factors."""
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(n_users, 2)), rng.normal(size=(n_items, 2))
    mask = rng.random((n_users, n_items)) < 0.3
    return sparse.csr_array(np.clip(np.round(3 + X @ Y.T), 1, 5) * mask)


def plays(n_users: int = 120, n_items: int = 80) -> sparse.csr_array:
    """Counts: everybody plays the popular items, each the more those of a group of their own."""
    rng = np.random.default_rng(0)
    popularity = 0.6 / (1 + rng.permutation(n_items) / 6)
    own = np.arange(n_users)[:, None] % 4 == np.arange(n_items) % 4
    mask = rng.random((n_users, n_items)) < np.where(own, 2 * popularity, popularity / 2)
    return sparse.csr_array((mask * rng.integers(1, 9, mask.shape)).astype(np.float64))


GOOD_RATINGS: dict[str, Any] = {"factors": 4, "regularization": 1.0, "biases": True, "random_state": 0}
GOOD_PLAYS: dict[str, Any] = {
    **{"factors": 4, "regularization": 5.0, "alpha": 1.0, "confidence": "log", "regularization_scaling": "constant"},
    **{"unobserved_weight": 1.0, "random_state": 0},
}


def figures(text: str) -> list[float]:
    found = re.search(r"(?:RMSE|NDCG@10) (\S+), \D*(?:5 ratings )?(\S+)$", text)
    assert found, text
    return [float(each) for each in found.groups()]


# --- the figures ------------------------------------------------------------------------------------------------------


def hidden_cells(R: NDArray[Any]) -> NDArray[np.bool_]:
    """A fifth of the cells, at random in the order of the cells, of each user who has five."""
    users, items = np.nonzero(R * ((R != 0).sum(1, keepdims=True) >= 5))
    numbers = np.random.default_rng(0).random(len(users))
    hidden = np.zeros(R.shape, dtype=bool)
    for user in range(len(R)):
        own = np.flatnonzero(users == user)
        hidden[user, items[own[np.argsort(numbers[own])[: len(own) // 5]]]] = True
    return hidden


def twin_fit(R: NDArray[Any], model: Any, w0: float, a: Any, b: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """ALS in float64 from the factors that a model of seed 0 starts from."""
    matrix = sparse.csr_array(R)
    users = reference.Cells(matrix.indptr, matrix.indices, a(matrix.data), b(matrix.data))
    items = users.transpose(R.shape[1])
    X, Y = type(model)(**{**model.get_params(), "random_state": 0})._beginning().drawn(R.shape)
    for _ in range(model.iterations):
        X = reference.half_sweep(users, Y, w0, np.full(len(X), model.regularization))
        Y = reference.half_sweep(items, X, w0, np.full(len(Y), model.regularization))
    return X, Y


def test_ratings_as_computed_by_hand() -> None:
    R = ratings()
    model = ExplicitALS(
        factors=3, regularization=2.0, biases=False, iterations=4, solver="cholesky", dtype="float64", random_state=5
    ).fit(R)
    dense = R.toarray()
    hidden = hidden_cells(dense)
    left = np.where(hidden, 0, dense)
    X, Y = twin_fit(left, model, 0.0, np.ones_like, np.array)
    stored = left != 0
    mean = left.sum() / stored.sum()
    of_items = np.where(stored, left - mean, 0).sum(0) / (stored.sum(0) + 5)
    of_users = np.where(stored, left - mean - of_items, 0).sum(1) / (stored.sum(1) + 5)
    guesses = X @ Y.T, mean + of_items + of_users[:, None]
    expected = [np.sqrt(np.mean((guess - dense)[hidden] ** 2)) for guess in guesses]
    found = check(model)
    assert f"without {hidden.sum()} cells of 120 users" in found.text
    assert figures(found.text) == pytest.approx(expected, rel=2e-4)
    assert (found.worry is not None) == (expected[0] > expected[1])


def test_lists_as_computed_by_hand() -> None:
    R = plays()
    model = ImplicitALS(
        **{**GOOD_PLAYS, "confidence": "linear", "alpha": 0.5, "unobserved_weight": 0.3},
        iterations=4,
        solver="cholesky",
        dtype="float64",
    ).fit(R)
    dense = R.toarray()
    hidden = hidden_cells(dense)
    left = np.where(hidden, 0, dense)
    X, Y = twin_fit(left, model, 0.3, lambda r: 0.5 * r, lambda r: 1 + 0.5 * r)
    gains = 1 / np.log2(np.arange(2, 12))
    expected = []
    for scores in (X @ Y.T, np.tile((left > 0).sum(0), (120, 1))):
        order = np.argsort(-np.where(left > 0, -np.inf, scores), axis=1, kind="stable")[:, :10]
        found = np.take_along_axis(hidden, order, axis=1) @ gains
        relevant = hidden.sum(1)
        asked = relevant > 0
        expected.append(np.mean((found / gains.cumsum()[np.minimum(relevant, 10) - 1])[asked]))
    assert figures(check(model).text) == pytest.approx(expected, abs=6e-5)


def test_weights_are_as_good_as_repeats() -> None:
    """In the figures, and in which cells are hidden; a cell of weight 0 is as good as none."""
    R = ratings().tocoo()
    users, items = R.coords
    options = {**GOOD_RATINGS, "dtype": "float64", "solver": "cholesky"}
    weights = np.random.default_rng(1).integers(0, 3, R.nnz)
    weighted = ExplicitALS(**options).fit((users, items, R.data), sample_weight=weights)
    each = np.repeat(np.arange(R.nnz), weights)
    repeated = fastals.Interactions.from_arrays(users[each], items[each], R.data[each], duplicates="keep")
    assert check(weighted).text.split(": ")[1] == check(ExplicitALS(**options).fit(repeated)).text.split(": ")[1]


# --- the verdict ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "data", "loses"),
    [
        (ExplicitALS(**GOOD_RATINGS), ratings, False),
        (ExplicitALS(**{**GOOD_RATINGS, "regularization": 1e5, "biases": False}), ratings, True),
        (ExplicitALS(**{**GOOD_RATINGS, "regularization": 1e-4, "biases": False, "factors": 30}), ratings, True),
        (ImplicitALS(**GOOD_PLAYS), plays, False),
        (ImplicitALS(**{**GOOD_PLAYS, "regularization": 1e20}), plays, True),
        (ImplicitALS(**{**GOOD_PLAYS, "regularization": 1e-6, "factors": 60}), plays, True),
    ],
    ids=["ratings", "shrunk ratings", "overfit ratings", "plays", "shrunk plays", "overfit plays"],
)
def test_who_loses_to_no_model_is_told(model: Any, data: Any, loses: bool) -> None:
    model.fit(data())
    found = check(model)
    ours, theirs = figures(found.text)
    if isinstance(model, ExplicitALS):
        ours, theirs = theirs, ours
    assert (ours < theirs) == loses
    assert (found.worry is not None) == loses
    assert ("\n! means of users and items" in model.diagnose() or "\n! lists of what" in model.diagnose()) == loses
    assert found.lines() == [found.text] + [f"! {found.worry}"] * loses


@pytest.mark.parametrize(
    ("settings", "loses"), [({"regularization": 0.1, "biases": False}, True), ({"regularization": 15.0}, False)]
)
def test_noise_that_was_learnt_is_not_taken_for_quality(settings: dict[str, Any], loses: bool) -> None:
    """The former has an RMSE of 0.1 on its own cells, and of 1.5 on others."""
    matrix = real_data.matrix(real_data.table("ml-100k"), "rating")
    model = ExplicitALS(**{"factors": 64, "biases": True, "random_state": 0, "iterations": 8, **settings}).fit(matrix)
    assert (check(model).worry is not None) == loses


VARIANTS: dict[str, Any] = {
    "biases": lambda **kw: ExplicitALS(biases=True, regularization=1.0, **kw),
    "nonnegative": lambda **kw: ExplicitALS(biases=True, regularization=1.0, nonnegative=True, **kw),
    "pair": lambda **kw: ExplicitALS(biases=True, regularization=(1.0, 2.0), **kw),
    "lenskit": lambda **kw: ExplicitALS.from_preset("lenskit", **kw),
    "cmfrec": lambda **kw: ExplicitALS.from_preset("cmfrec", **kw),
    "spark": lambda **kw: ExplicitALS.from_preset("spark", **kw),
    "implicit": lambda **kw: ImplicitALS(regularization=1.0, alpha=1.0, **kw),
    "irspack": lambda **kw: ImplicitALS.from_preset("irspack", **kw),
    "negative": lambda **kw: ImplicitALS(regularization=1.0, alpha=1.0, **kw),
    "wide": lambda **kw: ImplicitALS(regularization=1.0, alpha=1.0, **{**kw, "factors": 40}),
}


@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_same_text_for_any_number_of_threads(variant: str, weights: bool) -> None:
    R = plays()
    if variant == "negative":
        R.data[::7] *= -1
    sample_weight = np.random.default_rng(1).random(R.nnz) if weights else None
    texts = set()
    for threads in (1, 2, 3):
        model = VARIANTS[variant](**{"factors": 4, "random_state": 0, "num_threads": threads})
        found = check(model.fit(R, sample_weight=sample_weight))
        assert found.measured
        texts.add(tuple(found.lines()))
    assert len(texts) == 1


def test_of_large_data_some_users_stand_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CELLS", 1500)
    model = ExplicitALS(**GOOD_RATINGS).fit(ratings())
    found = check(model)
    said = re.match(r"fitted again on (\d+) of 120 users without (\d+) cells of (\d+) users", found.text)
    assert said
    assert 1500 / 24 - 10 < int(said[1]) <= 1500 / 24 + 10
    assert found.worry is None
    # of half the users, with half the penalty of the items, the items are what they were with all
    assert module._parameters(model.state_, 0.5)["regularization"] == (1.0, 0.5)
    model = ExplicitALS(**GOOD_RATINGS).set_params(regularization=(1.0, 4.0), regularization_scaling=0.5).fit(ratings())
    assert module._parameters(model.state_, 0.25)["regularization"] == (1.0, 2.0)
    assert module._parameters(model.state_, 1.0)["regularization"] == (1.0, 4.0)
    monkeypatch.setattr(module, "MAX_CELLS", 5)
    assert "0 users have 5 cells or more" in check(model).text


def test_what_cannot_be_compared_is_said(tmp_path: Path) -> None:
    model = ImplicitALS(**GOOD_PLAYS).fit(plays())
    model.save(tmp_path / "model")
    assert check(fastals.load(tmp_path / "model")) == check(model)
    model.save(tmp_path / "lean", history=False)
    lean = fastals.load(tmp_path / "lean")
    assert "saved without its history, which a comparison with popularity needs" in check(lean).text
    assert "comparison with popularity" in lean.diagnose()
    few = ImplicitALS(**GOOD_PLAYS).fit(plays(19))
    assert check(few) == ("not compared with popularity: 19 users have 5 cells or more, 20 are needed", None, False)
    one = ImplicitALS(**GOOD_PLAYS).fit((np.arange(30), np.zeros(30, int)))
    assert "0 users have" in check(one).text
    # five items that everybody has: what is hidden is all that can be listed
    all_of_five = ImplicitALS(**GOOD_PLAYS).fit(sparse.csr_array(np.ones((30, 5))))
    assert figures(check(all_of_five).text) == [1, 1]
    assert check(all_of_five).worry is None


def test_the_model_stays_as_it_is() -> None:
    generator = np.random.default_rng(3)
    model = ImplicitALS(**{**GOOD_PLAYS, "random_state": generator}).fit(plays())
    before, state = model.user_factors_.copy(), str(generator.bit_generator.state)
    check(model)
    np.testing.assert_array_equal(model.user_factors_, before)
    assert str(generator.bit_generator.state) == state
    labelled = sparse.coo_array(ratings())
    users = np.array([f"u{i:03}" for i in range(120)], dtype=object)[labelled.coords[0]]
    found = check(ExplicitALS(**GOOD_RATINGS).fit((users, labelled.coords[1], labelled.data)))
    assert found == check(ExplicitALS(**GOOD_RATINGS).fit(ratings()))

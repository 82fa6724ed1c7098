"""New events, users and items: merged with the history, and the rows they touch solved again."""

import uuid
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference
from scipy import sparse

import fastals
from fastals import ExplicitALS, ImplicitALS

BOTH = pytest.mark.parametrize("model", [ExplicitALS, ImplicitALS])


def random_matrix(n_users: int = 30, n_items: int = 20, density: float = 0.2, seed: int = 0) -> sparse.csr_array:
    rng = np.random.default_rng(seed)
    dense = (rng.random((n_users, n_items)) < density) * rng.integers(1, 6, (n_users, n_items))
    return sparse.csr_array(dense.astype(np.float64))


def documented(
    model: Any, X: Any, Y: Any, matrix: Any, touched: tuple[Any, Any], passes: int, scaling: Any
) -> tuple[Any, Any]:
    """Touched users from all their cells, then touched items, ``passes`` times; in float64, row by row."""
    weights = model.state_.equation.weights
    cells = (weights.a0, weights.a1, weights.b0, weights.b1, weights.positive_only)
    X, Y = X.copy(), Y.copy()
    indptr, indices, values = reference.csr(matrix)
    by_user = reference.Cells(indptr, indices, *reference.cell_weights(values, cells))
    for _ in range(passes):
        for rows, factors, others, part in (
            (touched[0], X, Y, by_user),
            (touched[1], Y, X, by_user.transpose(len(Y))),
        ):
            lam = reference.row_regularization(part, len(others), model.regularization, scaling, w0=weights.unobserved)
            solved = reference.half_sweep(part, others, weights.unobserved, lam)
            factors[rows] = solved[rows]
    return X, Y


@BOTH
@pytest.mark.parametrize("scaling", ["constant", "count", 0.5])
@pytest.mark.parametrize("passes", [1, 3])
def test_it_is_the_documented_mathematics(model: Any, scaling: Any, passes: int) -> None:
    old = random_matrix()
    options = {"factors": 4, "iterations": 3, "regularization": 0.3, "dtype": "float64", "random_state": 0}
    options |= {"biases": False} if model is ExplicitALS else {}
    fitted = model(regularization_scaling=scaling, **options).fit(old)
    new = sparse.lil_array((33, 22))
    new[2, 5], new[7, 21], new[31, 5], new[31, 0], new[32, 21] = 3, 2, 1, 4, 5
    X0, Y0 = fitted.user_factors_.copy(), fitted.item_factors_.copy()
    both = np.zeros((33, 22))
    both[:30, :20] = old.toarray()
    dense = new.toarray()
    both = both + dense if model is ImplicitALS else np.where(dense != 0, dense, both)
    touched = [2, 7, 31, 32], [0, 5, 21]
    expected = documented(
        fitted, np.pad(X0, ((0, 3), (0, 0))), np.pad(Y0, ((0, 2), (0, 0))), both, touched, passes, scaling
    )
    fitted.partial_fit(sparse.csr_array(new), passes=passes)
    np.testing.assert_allclose(fitted.user_factors_, expected[0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(fitted.item_factors_, expected[1], rtol=1e-9, atol=1e-12)
    # who had no event stays as they were, to the bit; a row of a matrix without a cell is a user without history
    for factors, before, rows in ((fitted.user_factors_, X0, touched[0]), (fitted.item_factors_, Y0, touched[1])):
        others = np.setdiff1d(np.arange(len(before)), rows)
        np.testing.assert_array_equal(factors[others], before[others])
    assert not fitted.user_factors_[30].any()
    # solved last: the documented equation holds for the touched items, which fold_in_items solves
    np.testing.assert_allclose(
        fitted.fold_in_items(sparse.csr_array(both))[touched[1]],
        fitted.item_factors_[touched[1]],
        rtol=1e-9,
        atol=1e-12,
    )


@BOTH
def test_the_side_that_a_preset_solves_last_is_exact(model: Any) -> None:
    old = random_matrix()
    fitted = model.from_preset("spark", factors=4, dtype="float64", random_state=0).fit(old)
    new = sparse.lil_array((33, 22))
    new[2, 5], new[7, 21], new[31, 0], new[32, 21] = 3, 2, 4, 5
    fitted.partial_fit(sparse.csr_array(new))
    touched = [2, 7, 31, 32]
    folded = fitted.fold_in(fitted.state_.history()[0])[touched]
    np.testing.assert_allclose(folded, fitted.user_factors_[touched], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("variant", ["biases", "lenskit", "weights", "nonnegative"])
def test_other_variants_end_with_exact_items(variant: str) -> None:
    old = random_matrix()
    weights = np.random.default_rng(0).random(old.nnz) if variant == "weights" else None
    fitted = {
        "biases": ExplicitALS(factors=4, biases=True, dtype="float64", random_state=0),
        "lenskit": ExplicitALS.from_preset("lenskit", factors=4, dtype="float64", random_state=0),
        "weights": ImplicitALS(factors=4, dtype="float64", random_state=0),
        "nonnegative": ImplicitALS(factors=4, nonnegative=True, dtype="float64", random_state=0),
    }[variant].fit(old, sample_weight=weights)
    fitted.partial_fit(([2, 7, 30, 30], [5, 20, 0, 20], [3, 2, 4, 5]))
    data, twin = fitted.state_.history()
    folded = fitted.fold_in_items(data, sample_weight=None if twin is None else twin.values)
    np.testing.assert_allclose(folded[[0, 5, 20], :4], fitted.item_factors_[[0, 5, 20]], rtol=1e-8, atol=1e-10)
    if isinstance(fitted, ExplicitALS):
        np.testing.assert_allclose(folded[[0, 5, 20], 4], fitted.item_biases_[[0, 5, 20]], rtol=1e-8, atol=1e-10)


@BOTH
def test_events_in_parts_are_the_events_at_once(model: Any) -> None:
    rng = np.random.default_rng(0)
    users, items, values = rng.integers(0, 20, 300), rng.integers(0, 15, 300), rng.integers(1, 6, 300)
    whole = fastals.Interactions.from_arrays(users, items, values, duplicates="sum" if model is ImplicitALS else "last")
    estimator = model(factors=3, random_state=0)
    first = fastals.Interactions.from_arrays(
        users[:100], items[:100], values[:100], duplicates="sum" if model is ImplicitALS else "last"
    )
    estimator.fit(first)
    for part in (slice(100, 150), slice(150, 151), slice(151, 300)):
        estimator.partial_fit((users[part], items[part], values[part]))
    history, _ = estimator.state_.history()
    order = np.argsort(estimator.users_), np.argsort(estimator.items_)
    np.testing.assert_array_equal(history.matrix.toarray()[order[0]][:, order[1]], whole.matrix.toarray())
    pairs = estimator.state_.pairs
    assert all(np.diff(pairs.indices[a:b]).min(initial=1) > 0 for a, b in pairwise(pairs.indptr))


LABELS = {
    "strings": ["m", "b", "zz", "a", "n"],
    "integers": [50, 7, 10**12, -3, 51],
    "bytes": [b"m", b"b", b"zz", b"a", b"n"],
    "uuids": [uuid.UUID(int=n) for n in (50, 7, 90, 3, 51)],
}


@pytest.mark.parametrize("kind", LABELS)
def test_known_labels_keep_their_places(kind: str, tmp_path: Path) -> None:
    u = LABELS[kind]
    model = ImplicitALS(factors=2, random_state=0).fit(([u[0], u[0], u[1], u[2]], ["x", "y", "y", "x"]))
    assert model.users_ is not None
    before = model.users_.tolist()
    model.recommend(u[1])
    model.partial_fit(([u[4], u[3], u[1]], ["y", "a new one", "a new one"]))
    assert model.users_.tolist() == before + sorted([u[3], u[4]])
    assert model.items_.tolist() == ["x", "y", "a new one"]  # type: ignore[union-attr]
    model.save(tmp_path / "model")
    for each in (model, fastals.load(tmp_path / "model")):
        for position, label in enumerate(each.users_):
            assert each.state_.users.encode([label]).tolist() == [position]
            expected = each.user_factors_[position] @ each.item_factors_.T
            np.testing.assert_allclose(each.predict(label, ["x", "y", "a new one"]), expected, rtol=1e-5, atol=1e-7)
        missing = {"strings": "q", "integers": 8, "bytes": b"q", "uuids": uuid.UUID(int=8)}[kind]
        assert np.isnan(each.predict(missing, "x"))
    again = fastals.load(tmp_path / "model").partial_fit(([u[2]], ["y"]))
    model.partial_fit(([u[2]], ["y"]))
    np.testing.assert_array_equal(again.user_factors_, model.user_factors_)
    np.testing.assert_array_equal(again.item_factors_, model.item_factors_)


def test_what_becomes_of_a_second_value() -> None:
    for model, duplicates, expected in (
        (ImplicitALS, None, 7),
        (ExplicitALS, None, 4),
        (ExplicitALS, "sum", 7),
        (ExplicitALS, "max", 4),
        (ImplicitALS, "mean", 3.5),
        (ImplicitALS, "last", 4),
    ):
        fitted = model(factors=2, random_state=0).fit((["u", "v"], ["a", "b"], [3, 1]))
        fitted.partial_fit((["u"], ["a"], [4]), duplicates=duplicates)
        assert fitted.state_.history()[0].values.tolist() == [expected, 1]
    fitted = ImplicitALS(factors=2, random_state=0)
    fitted.fit(fastals.Interactions.from_arrays(["u", "u"], ["a", "a"], [3, 1], duplicates="keep"))
    assert fitted.partial_fit((["u"], ["a"], [4])).state_.history()[0].values.tolist() == [3, 1, 4]
    with pytest.raises(fastals.DataError, match="'u'"):
        ImplicitALS(factors=2).fit((["u"], ["a"])).partial_fit((["u"], ["a"]), duplicates="error")


def test_lists_leave_out_the_new_events() -> None:
    model = ImplicitALS(factors=2, random_state=0).fit((["u", "u", "v", "v"], ["a", "b", "b", "c"]))
    assert model.recommend("u", n=3).items.tolist()[0] == "c"
    model.partial_fit((["u"], ["c"]))
    assert model.recommend("u", n=3).items.tolist() == [None, None, None]


@pytest.mark.parametrize("threads", [1, 2])
def test_the_same_bits_for_any_number_of_threads(threads: int) -> None:
    def outcome(num_threads: int) -> Any:
        model = ImplicitALS(factors=33, iterations=2, num_threads=num_threads, random_state=0).fit(random_matrix(300))
        return model.partial_fit(random_matrix(310, 25, seed=1))

    one, other = outcome(1), outcome(threads)
    np.testing.assert_array_equal(one.user_factors_, other.user_factors_)
    np.testing.assert_array_equal(one.item_factors_, other.item_factors_)


# ---------------------------------------------------------------------------------------------------------------------
# peers


def test_implicits_incremental_retrain() -> None:
    """As implicit's recommender_base_test has it, but that events are merged: user 0's row is folded in instead."""
    n = 50
    board = np.add.outer(np.arange(n), np.arange(n)) % 2 == 0
    np.fill_diagonal(board, False)
    matrix = sparse.csr_array(board.astype(np.float32))
    model = ImplicitALS(factors=2, regularization=0, random_state=23).fit(matrix)
    assert model.recommend(0, n=1).items.tolist() == [0]
    row = sparse.csr_array(matrix[[1]])
    folded = model.fold_in(row)
    assert np.argmax(folded @ model.item_factors_.T - 10 * board[1]) == 1
    # a new user with user 1's row
    users, items = np.full(row.nnz, n), row.indices
    model.partial_fit((users, items))
    assert model.recommend(n, n=1).items.tolist() == [1]
    # a new item that the same users like
    fans = np.flatnonzero(board[:, 1])
    model.partial_fit((fans, np.full(len(fans), n)))
    assert set(model.recommend(1, n=2).items) == {1, n}
    # both at once
    users = np.concatenate([fans, np.full(row.nnz, n + 1)])
    items = np.concatenate([np.full(len(fans), n + 1), row.indices])
    model.partial_fit((users, items))
    assert set(model.recommend(1, n=3).items) == {1, n, n + 1}
    assert set(model.recommend(n + 1, n=3).items[:1]) <= {1, n, n + 1}


def test_a_far_id_grows_the_model_by_what_is_new() -> None:
    """implicit.partial_fit_users(2_000_000) makes dense zero rows up to it."""
    labelled = ImplicitALS(factors=2, random_state=0).fit(([1, 1, 2], [1, 2, 2]))
    labelled.partial_fit(([2_000_000], [1]))
    assert labelled.user_factors_.shape == (3, 2)
    plain = ImplicitALS(factors=2, random_state=0).fit(random_matrix())
    with pytest.raises(fastals.UnknownLabelError, match="from 30 on without a gap, got 2000000"):
        plain.partial_fit(([2_000_000], [1]))


@BOTH
def test_librecommenders_retrain(model: Any, tmp_path: Path) -> None:
    """Train, save, load, retrain on data with new ids: old and new users are served, old rows stay without events."""
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, 80, 900), rng.integers(0, 60, 900)
    values = rng.integers(1, 6, 900)
    first = (users < 60) & (items < 50)
    fitted = model(factors=6, random_state=0).fit((users[first], items[first], values[first]))
    fitted.save(tmp_path / "model")
    loaded = fastals.load(tmp_path / "model")
    loaded.partial_fit((users[~first], items[~first], values[~first]))
    assert set(loaded.users_) == set(users)
    assert set(loaded.items_) == set(items)
    found = loaded.recommend(np.unique(users), n=5)
    assert np.isfinite(found.scores).all()
    assert np.isfinite(loaded.predict(users, items)).all()
    np.testing.assert_array_equal(loaded.users_[: len(fitted.users_)], fitted.users_)


# ---------------------------------------------------------------------------------------------------------------------
# errors


def test_a_failed_partial_fit_leaves_the_model_as_it_was() -> None:
    model = ImplicitALS(factors=2, random_state=0).fit((["u", "v"], ["a", "b"]))
    state = dict(model.__dict__)
    for data, arguments, message in (
        ((["u"], ["a"], [np.nan]), {}, "finite"),
        (([1], ["a"]), {}, "users must be strings"),
        ((["u"], [uuid.uuid4()]), {}, "items must be strings"),
        (sparse.csr_array((5, 5)), {}, "empty"),
        (sparse.csr_array(np.ones((5, 5))), {}, "exactly the model's 2 users"),
        ((["u"], ["a"], [1e300]), {}, "float32"),
        ((["u"], ["a"]), {"passes": 0}, "passes"),
        ((["u"], ["a"]), {"duplicates": "first"}, "duplicates"),
        ("u", {}, "data must be"),
    ):
        with pytest.raises(fastals.FastalsError, match=message):
            model.partial_fit(data, **arguments)
        assert all(model.__dict__[name] is value for name, value in state.items())
    plain = ImplicitALS(factors=2, random_state=0).fit(random_matrix())
    for data, message in (
        (random_matrix(29), "at least the model's 30 users, got 29"),
        (([-1], [0]), "got -1"),
        ((["u"], [0]), "got strings: 'u'"),
        (([31], [0]), "got 31"),
    ):
        with pytest.raises(fastals.FastalsError, match=message):
            plain.partial_fit(data)


def test_it_needs_a_model_and_its_history(tmp_path: Path) -> None:
    with pytest.raises(fastals.NotFittedError, match="call fit"):
        ImplicitALS().partial_fit((["u"], ["a"]))
    model = ImplicitALS(factors=2, random_state=0).fit((["u", "v"], ["a", "b"]))
    model.save(tmp_path / "lean", history=False)
    lean = fastals.load(tmp_path / "lean")
    np.testing.assert_array_equal(lean.recommend("u").items, model.recommend("u").items)
    with pytest.raises(fastals.NotFittedError, match="history=True"):
        lean.partial_fit((["u"], ["b"]))
    lean.save(tmp_path / "again")
    assert not fastals.load(tmp_path / "again").state_.has_history
    model.set_params(dtype="float64").partial_fit((["u"], ["b"]))
    assert model.user_factors_.dtype == np.float32

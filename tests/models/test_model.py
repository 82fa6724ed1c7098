"""The mathematics of every variant: presets, weights, biases, against their equations and SciPy's optimizer."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import reference
from scipy import sparse
from scipy.optimize import minimize

import fastals
from fastals import ExplicitALS, ImplicitALS

USERS, ITEMS, K = 30, 20, 4


def events(seed: int = 0, low: int = 1, repeats: bool = False) -> tuple[Any, Any, Any]:
    """Users, items and values; with ``repeats``, some pairs occur twice."""
    rng = np.random.default_rng(seed)
    stored = rng.random((USERS, ITEMS)) < 0.3
    stored[np.arange(USERS), np.arange(USERS) % ITEMS] = True  # everybody has a cell
    users, items = np.nonzero(stored)
    if repeats:
        again = rng.permutation(len(users))[:30]
        users, items = np.concatenate([users, users[again]]), np.concatenate([items, items[again]])
    return users, items, rng.integers(low, 6, len(users)).astype(np.float64)


# ---------------------------------------------------------------------------------------------------------------------
# presets: the table of the libraries' equations, written down once more


class Row(NamedTuple):
    a: Callable[[Any], Any]
    b: Callable[[Any], Any]
    penalty: Callable[[Any, Any], Any]  # of (counted cells, rows of the other side)
    last: str
    w0: float = 1.0
    zeros_count: bool = False


ALPHA, LAMBDA = 2.5, 0.3


def constant(n: Any, others: int) -> Any:
    return np.full(len(n), LAMBDA)


def count(n: Any, others: int) -> Any:
    return LAMBDA * n


def rendle(n: Any, others: int) -> Any:
    return LAMBDA * (n + 0.4 * others)


EXPLICIT = {
    "spark": Row(lambda r: 1 + 0 * r, lambda r: r, count, "users", 0.0),
    "cmfrec": Row(lambda r: 1 + 0 * r, lambda r: r, constant, "users", 0.0),
    "lenskit": Row(lambda r: 1 + 0 * r, lambda r: r, count, "items", 0.0),
}
IMPLICIT = {
    "spark": Row(lambda r: ALPHA * abs(r), lambda r: 1 + ALPHA * r, count, "users"),
    "implicit": Row(lambda r: ALPHA * abs(r) - 1, lambda r: ALPHA * r, constant, "items"),
    "cmfrec": Row(lambda r: ALPHA * r, lambda r: 1 + ALPHA * r, constant, "users", zeros_count=True),
    "irspack": Row(lambda r: ALPHA * r, lambda r: ALPHA * r, rendle, "items", 0.4),
    "irspack-original": Row(lambda r: ALPHA * r, lambda r: 0.4 + ALPHA * r, rendle, "items", 0.4, zeros_count=True),
    "lenskit": Row(lambda r: ALPHA + 0 * r, lambda r: 1 + ALPHA + 0 * r, constant, "items", zeros_count=True),
    "lenskit-ratings": Row(lambda r: ALPHA * r, lambda r: 1 + ALPHA * r, constant, "items", zeros_count=True),
    "buffalo": Row(lambda r: ALPHA * r, lambda r: 1 + ALPHA * r, constant, "items", zeros_count=True),
}


def last_side(model: Any, row: Row, cells: tuple[Any, Any, Any]) -> tuple[Any, Any, Any, Any, Any]:
    """(rows, columns, values) seen from the side that is solved last, its factors and the other's."""
    users, items, values = cells
    if row.last == "users":
        return users, items, values, model.user_factors_, model.item_factors_
    return items, users, values, model.item_factors_, model.user_factors_


def worst_residual(row: Row, rows: Any, columns: Any, a: Any, b: Any, counted: Any, X: Any, Y: Any) -> float:
    lam = row.penalty(np.bincount(rows, counted, len(X)), len(Y))
    G = row.w0 * reference.gram(Y)
    return max(
        reference.residual(*reference.row_system(G, Y[columns[rows == u]], a[rows == u], b[rows == u], lam[u]), X[u])
        for u in range(len(X))
    )


@pytest.mark.parametrize("repeats", [False, True])
@pytest.mark.parametrize("low", [1, 0])
@pytest.mark.parametrize("name", IMPLICIT)
def test_implicit_presets_solve_their_equation(name: str, low: int, repeats: bool) -> None:
    row = IMPLICIT[name]
    cells = users, items, values = events(low=low, repeats=repeats)
    model = ImplicitALS.from_preset(
        name,
        factors=K,
        alpha=ALPHA,
        regularization=LAMBDA,
        unobserved_weight=row.w0,
        iterations=2,
        dtype="float64",
        random_state=0,
    )
    if repeats and name.startswith("lenskit"):
        with pytest.raises(fastals.DataError, match="more than once"):
            model.fit(cells)
        return
    model.fit(cells)
    if repeats and name.startswith("irspack"):
        merged = sparse.coo_array((values, (users, items))).tocsr().tocoo()
        cells = *merged.coords, merged.data
    rows, columns, values, X, Y = last_side(model, row, cells)
    counted = values >= 0 if row.zeros_count else values > 0
    b = np.where(counted, row.b(values), 0)
    assert worst_residual(row, rows, columns, row.a(values), b, counted, X, Y) < 1e-13


@pytest.mark.parametrize("name", IMPLICIT)
def test_implicit_presets_take_negative_values_for_a_confident_no(name: str) -> None:
    """cmfrec gives entries of 1e4 here, irspack and lenskit fail: ours is Spark's p = 0, c = 1 + alpha |r|."""
    row = IMPLICIT[name]
    cells = events()
    cells[2][::4] *= -1
    model = ImplicitALS.from_preset(name, factors=K, iterations=2, dtype="float64", random_state=0)
    model.set_params(alpha=ALPHA, regularization=LAMBDA, unobserved_weight=row.w0).fit(cells)
    rows, columns, values, X, Y = last_side(model, row, cells)
    b = np.where(values > 0, row.b(values), 0)
    assert worst_residual(row, rows, columns, row.a(abs(values)), b, values > 0, X, Y) < 1e-13


@pytest.mark.parametrize("name", EXPLICIT)
def test_explicit_presets_solve_their_equation(name: str) -> None:
    row = EXPLICIT[name]
    cells = users, items, values = events(repeats=name != "lenskit")
    model = ExplicitALS.from_preset(
        name, factors=K, regularization=LAMBDA, iterations=2, dtype="float64", random_state=0
    ).fit(cells)
    b = values - model.global_mean_
    if name == "spark":
        assert model.global_mean_ == 0
    else:
        assert model.global_mean_ == pytest.approx(values.mean(), abs=1e-14)
    rows, columns, b, X, Y = last_side(model, row, (users, items, b))
    if name == "cmfrec":  # biases are solved for with the last side
        b -= model.item_biases_[columns]
        X, Y = np.column_stack((X, model.user_biases_)), np.column_stack((Y, np.ones(len(Y))))
    if name == "lenskit":
        item_biases = np.bincount(items, values - model.global_mean_) / (np.bincount(items) + 5)
        left = values - model.global_mean_ - item_biases[items]
        user_biases = np.bincount(users, left) / (np.bincount(users) + 5)
        np.testing.assert_allclose(model.item_biases_, item_biases, rtol=1e-12)
        np.testing.assert_allclose(model.user_biases_, user_biases, rtol=1e-12)
        b -= item_biases[items] + user_biases[users]
    ones = np.ones(len(rows))
    assert worst_residual(row, rows, columns, row.a(b), row.b(b), ones, X, Y) < 1e-13


@pytest.mark.parametrize("model", [ExplicitALS, ImplicitALS])
def test_a_preset_is_a_parameter_like_others(model: Any, tmp_path: Path) -> None:
    for name in EXPLICIT if model is ExplicitALS else IMPLICIT:
        made = model.from_preset(name, factors=K, random_state=0)
        assert type(made)(**made.get_params()).get_params() == made.get_params()
        assert f"preset={name!r}" in repr(made)
        made.fit(events())
        made.save(tmp_path / "model")
        loaded = fastals.load(tmp_path / "model")
        assert loaded.get_params() == {**made.get_params()}
        np.testing.assert_array_equal(loaded.fold_in(events()), made.fold_in(events()))
    for call in (lambda: model.from_preset("surprise"), lambda: model(preset="surprise")):
        with pytest.raises(fastals.ParameterError, match="spark"):
            call()


@pytest.mark.parametrize(
    ("model", "name"), [(ExplicitALS, name) for name in EXPLICIT] + [(ImplicitALS, name) for name in IMPLICIT]
)
def test_fold_in_gives_the_rows_that_a_preset_solves_last(model: Any, name: str) -> None:
    cells = events(low=0)
    fitted = model.from_preset(name, factors=K, dtype="float64", random_state=0).fit(cells)
    row = (EXPLICIT if model is ExplicitALS else IMPLICIT)[name]
    users = row.last == "users"
    folded = fitted.fold_in(cells) if users else fitted.fold_in_items(cells)
    trained = fitted.user_factors_ if users else fitted.item_factors_
    np.testing.assert_allclose(folded[:, :K], trained, rtol=1e-8, atol=1e-10 * np.abs(trained).max())
    if model is ExplicitALS and fitted.user_biases_ is not None:
        biases = fitted.user_biases_ if users else fitted.item_biases_
        np.testing.assert_allclose(folded[:, K], biases, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("preset", ["spark", "cmfrec"])
def test_presets_of_either_order_may_be_relaxed_and_interrupted(preset: str, tmp_path: Path) -> None:
    """The solver "auto" goes beyond the solutions of the side that is solved last, whichever that is."""
    parameters = {"factors": 40, "solver": "auto", "regularization": 2.0, "random_state": 0}
    models = [ExplicitALS.from_preset(preset, iterations=12, **parameters) for _ in range(2)]
    exact = ExplicitALS.from_preset(preset, iterations=12, **{**parameters, "solver": "cholesky"}).fit(events())
    straight = models[0].fit(events())
    assert straight.loss_history_[-1] == pytest.approx(exact.loss_history_[-1], rel=1e-2)

    def interrupt(iteration: int, *_: Any) -> bool:
        return iteration == 5

    path = tmp_path / "checkpoint"
    models[1].fit(events(), checkpoint=path, checkpoint_every=1, callback=interrupt)
    resumed = models[1].fit(events(), checkpoint=path)
    np.testing.assert_array_equal(resumed.user_factors_, straight.user_factors_)
    np.testing.assert_array_equal(resumed.item_factors_, straight.item_factors_)
    assert resumed.global_mean_ == straight.global_mean_


def test_an_objective_without_a_minimum_is_refused() -> None:
    users, items, values = events()
    model = ImplicitALS.from_preset("implicit", factors=2, alpha=0.01, unobserved_weight=0.1, nonnegative=True)
    with pytest.raises(fastals.DataError, match="no minimum"):
        model.set_params(regularization=0).fit((users, items, values))


def test_spark_starts_from_rows_of_length_one() -> None:
    model = ExplicitALS.from_preset("spark", iterations=0).fit(events())
    np.testing.assert_allclose(np.linalg.norm(model.item_factors_, axis=1), 1, rtol=1e-5)


# ---------------------------------------------------------------------------------------------------------------------
# weights


@pytest.mark.parametrize("model", [ExplicitALS(biases=True), ExplicitALS(biases=False), ImplicitALS(alpha=2.0)])
@pytest.mark.parametrize("scaling", ["constant", "count", 0.5])
@pytest.mark.parametrize("solver", ["cholesky", "cg", "lapack"])
def test_a_weight_of_two_is_the_cell_twice_and_of_zero_no_cell(model: Any, scaling: Any, solver: Any) -> None:
    users, items, values = events()
    weights = np.random.default_rng(1).integers(0, 4, len(users))
    # everybody keeps a cell, or the matrix would have other rows
    weights[np.concatenate([np.unique(side, return_index=True)[1] for side in (users, items)])] = 1
    model = type(model)(**model.get_params()).set_params(
        factors=K, regularization=0.5, regularization_scaling=scaling, solver=solver, dtype="float64", iterations=3
    )
    start = np.random.default_rng(2).standard_normal((USERS, K)), np.random.default_rng(3).standard_normal((ITEMS, K))
    weighted = model.fit((users, items, values), sample_weight=weights, initial_factors=start)
    X, Y, losses = weighted.user_factors_, weighted.item_factors_, weighted.loss_history_
    repeated = tuple(np.repeat(column, weights) for column in (users, items, values))
    twice = model.fit(fastals.Interactions.from_arrays(*repeated, duplicates="keep"), initial_factors=start)
    np.testing.assert_allclose(X, twice.user_factors_, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(Y, twice.item_factors_, rtol=1e-8, atol=1e-10)
    if type(model) is ExplicitALS:  # what a weight adds to the constant part of the implicit loss is not linear in it
        np.testing.assert_allclose(losses, twice.loss_history_, rtol=1e-10)


def test_weights_follow_their_cells() -> None:
    """Every form of data, in any order, with repeats."""
    users, items, values = events(repeats=True)
    rng = np.random.default_rng(4)
    weights = rng.uniform(0.1, 2, len(users))
    model = ImplicitALS(factors=K, regularization=0.01, iterations=2, dtype="float64", random_state=0)
    expected = model.fit((users, items, values), sample_weight=weights).item_factors_
    order = np.argsort(items, kind="stable")
    coo = sparse.coo_array((values, (users, items)), shape=(USERS, ITEMS))
    csc = sparse.csc_array(
        (values[order], users[order], np.concatenate([[0], np.cumsum(np.bincount(items))])), shape=(USERS, ITEMS)
    )
    frame = {"user": users, "item": items, "rating": values}
    kept = fastals.Interactions.from_arrays(users, items, values, duplicates="keep")
    by_cell = np.lexsort((items, users))
    shuffled = np.argsort(rng.random(len(users)))
    cases = [
        (coo, weights),
        (csc, weights[order]),
        (frame, weights),
        (kept, weights[by_cell]),
        ((users[shuffled], items[shuffled], values[shuffled]), weights[shuffled]),
    ]
    for data, sample_weight in cases:
        fitted = model.fit(data, sample_weight=sample_weight)
        np.testing.assert_allclose(fitted.item_factors_, expected, rtol=1e-9, atol=1e-11)
    folded = model.fit((users, items, values), sample_weight=weights)
    items_again = folded.fold_in_items((users, items, values), sample_weight=weights)
    np.testing.assert_allclose(items_again, folded.item_factors_, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(3), "3"),
        (np.full(1, -1.0), "-1"),
        (np.full(1, np.nan), "nan"),
        ("heavy", "sample_weight"),
        (np.ones((1, 1)), "one-dimensional"),
    ],
)
def test_bad_weights(weights: Any, message: str) -> None:
    with pytest.raises(fastals.FastalsError, match=message):
        ImplicitALS(factors=2).fit(([0], [0]), sample_weight=weights)


def test_weights_need_a_list_of_cells() -> None:
    with pytest.raises(fastals.ArgumentTypeError, match="lil"):
        ImplicitALS(factors=2).fit(sparse.lil_array(np.eye(3)), sample_weight=np.ones(3))
    with pytest.raises(fastals.ArgumentTypeError, match="data must be"):
        ImplicitALS(factors=2).fit([1, 2], sample_weight=np.ones(3))


# ---------------------------------------------------------------------------------------------------------------------
# biases


@pytest.fixture(params=["joint", "cmfrec", "lenskit"])
def biased(request: pytest.FixtureRequest) -> ExplicitALS:
    parameters = {"factors": K, "regularization": 0.3, "iterations": 4, "dtype": "float64", "random_state": 0}
    if request.param == "joint":
        return ExplicitALS(biases=True, **parameters)
    return ExplicitALS.from_preset(request.param, **parameters)


def test_scores_are_sums_of_mean_biases_and_factors(biased: ExplicitALS, tmp_path: Path) -> None:
    biased.fit(events())
    exact = (
        biased.global_mean_
        + biased.user_biases_[:, None]
        + biased.item_biases_
        + biased.user_factors_ @ biased.item_factors_.T
    )
    users, items = np.divmod(np.arange(USERS * ITEMS), ITEMS)
    np.testing.assert_allclose(biased.predict(users, items), exact.ravel(), rtol=1e-12)
    best = biased.recommend(np.arange(USERS), n=ITEMS, exclude_seen=False)
    np.testing.assert_array_equal(best.items, np.argsort(-exact, axis=1))
    np.testing.assert_allclose(best.scores, -np.sort(-exact, axis=1), rtol=1e-12)
    np.testing.assert_array_equal(biased.recommend_users(np.arange(ITEMS), n=USERS).users, np.argsort(-exact.T, axis=1))
    biased.save(tmp_path / "model")
    for loaded in (fastals.load(tmp_path / "model"), fastals.load(tmp_path / "model", mmap=False)):
        np.testing.assert_array_equal(loaded.predict(users, items), biased.predict(users, items))
        np.testing.assert_array_equal(loaded.user_biases_, biased.user_biases_)
        np.testing.assert_array_equal(loaded.fold_in(events()), biased.fold_in(events()))


def test_fold_in_gives_trained_rows_and_biases(biased: ExplicitALS) -> None:
    biased.fit(events())
    if biased.preset != "cmfrec":
        trained = np.column_stack((biased.item_factors_, biased.item_biases_))
        np.testing.assert_allclose(biased.fold_in_items(events()), trained, rtol=1e-9, atol=1e-11)
    if biased.preset == "cmfrec":
        trained = np.column_stack((biased.user_factors_, biased.user_biases_))
        np.testing.assert_allclose(biased.fold_in(events()), trained, rtol=1e-9, atol=1e-11)
    assert biased.fold_in(events()).shape == (USERS, K + 1)


def test_partial_fit_solves_touched_rows_of_models_with_biases(biased: ExplicitALS, tmp_path: Path) -> None:
    users, items, values = events()
    biased.fit((users, items, values)).save(tmp_path / "model")
    model = fastals.load(tmp_path / "model")
    new = [0, 0, USERS], [2, ITEMS, 2], [5.0, 1.0, 3.0]  # an old user, a new one, an old item, a new one
    stored = {(u, i): r for u, i, r in zip(users, items, values, strict=True)}
    stored |= {(u, i): r for u, i, r in zip(*new, strict=True)}
    merged = (*np.array(list(stored)).T, np.array(list(stored.values())))
    model.partial_fit(new)
    if biased.preset == "cmfrec":  # solves the users last
        again, touched = model.fold_in(merged), [0, USERS]
        trained = np.column_stack((model.user_factors_, model.user_biases_))
    else:
        again, touched = model.fold_in_items(merged), [2, ITEMS]
        trained = np.column_stack((model.item_factors_, model.item_biases_))
    np.testing.assert_allclose(again[touched], trained[touched], rtol=1e-9, atol=1e-11)
    untouched = np.setdiff1d(np.arange(ITEMS), [2])
    np.testing.assert_array_equal(model.item_biases_[untouched], biased.item_biases_[untouched])
    assert np.isfinite(model.predict(USERS, ITEMS))


def test_partial_fit_goes_on_with_weights(tmp_path: Path) -> None:
    users, items, values = events()
    weights = np.random.default_rng(0).uniform(0.1, 3, len(users))
    model = ImplicitALS(factors=K, dtype="float64", random_state=0)
    model.fit((users, items, values), sample_weight=weights).save(tmp_path / "model")
    model = fastals.load(tmp_path / "model")
    model.partial_fit(([0, 0], [2, 3], [5.0, 1.0]), sample_weight=[0.5, 2.0]).partial_fit(([1], [2], [7.0]))
    merged = np.append(users, [0, 0, 1]), np.append(items, [2, 3, 2]), np.append(values, [5, 1, 7])
    again = model.fold_in_items(merged, sample_weight=np.append(weights, [0.5, 2, 1]))
    np.testing.assert_allclose(again[2], model.item_factors_[2], rtol=1e-9, atol=1e-11)
    with pytest.raises(fastals.ParameterError, match="keep"):
        model.partial_fit(([1], [2]), duplicates="sum")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("factors", [4, 33])
@pytest.mark.parametrize("solver", ["cholesky", "cg", "lapack", "auto"])
def test_biases_reach_the_same_loss_with_every_solver(solver: Any, factors: int, dtype: Any) -> None:
    model = ExplicitALS(
        factors=factors, biases=True, regularization=2.0, iterations=60, solver=solver, dtype=dtype, random_state=0
    ).fit(events())
    exact = ExplicitALS(
        factors=factors, biases=True, regularization=2.0, iterations=60, dtype="float64", random_state=0
    )
    assert model.loss_history_[-1] == pytest.approx(exact.fit(events()).loss_history_[-1], rel=1e-2)
    assert (np.diff(model.loss_history_) <= 1e-5 * model.loss_history_[0]).all()


def test_without_biases_there_are_none() -> None:
    model = ExplicitALS(factors=2, biases=False).fit(events())
    assert (model.global_mean_, model.user_biases_, model.item_biases_) == (0.0, None, None)
    with pytest.raises(fastals.ParameterError, match="biases"):
        ExplicitALS(biases="yes")  # type: ignore[arg-type]


def test_a_constant_is_learnt_by_the_mean_alone() -> None:
    users, items, values = events()
    model = ExplicitALS(factors=2, biases=True, regularization=1.0, iterations=50, dtype="float64", random_state=0)
    model.fit((users, items, np.full(len(values), 7.25)))
    assert model.global_mean_ == pytest.approx(7.25, abs=1e-6)
    assert np.abs(model.user_biases_).max() < 1e-6
    assert model.loss_history_[-1] < 1e-6


# ---------------------------------------------------------------------------------------------------------------------
# other parameters


def test_log_confidence_is_the_logarithm_of_the_data() -> None:
    users, items, values = events()
    values[::5] *= -1
    parameters = {
        "factors": K,
        "iterations": 2,
        "alpha": 3.0,
        "dtype": "float64",
        "random_state": 0,
        "regularization": 0.1,
    }
    log = ImplicitALS(confidence="log", epsilon=0.5, **parameters).fit((users, items, values))
    transformed = (users, items, np.sign(values) * np.log(1 + np.abs(values) / 0.5))
    linear = ImplicitALS(**parameters).fit(transformed)
    np.testing.assert_allclose(log.item_factors_, linear.item_factors_, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(log.fold_in((users, items, values)), linear.fold_in(transformed), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("model", [ExplicitALS, ImplicitALS])
@pytest.mark.parametrize("scaling", ["constant", "count", 0.7])
def test_users_and_items_may_have_a_lambda_each(model: Any, scaling: Any, tmp_path: Path) -> None:
    cells = users, items, values = events()
    fitted = model(
        factors=K,
        regularization=(0.2, 5.0),
        regularization_scaling=scaling,
        dtype="float64",
        random_state=0,
        **({"biases": False} if model is ExplicitALS else {}),
    ).fit(cells)
    w0 = 0.0 if model is ExplicitALS else 1.0
    n = np.bincount(items)
    size = {"constant": np.ones(ITEMS), "count": n}.get(scaling, (n + w0 * USERS) ** 0.7)
    row = Row(lambda r: r, lambda r: r, lambda n, others: 5.0 * size, "items", w0)
    a, b = (np.ones(len(users)), values) if model is ExplicitALS else (values, 1 + values)
    X, Y = fitted.item_factors_, fitted.user_factors_
    assert worst_residual(row, items, users, a, b, np.ones(len(users)), X, Y) < 1e-13
    fitted.save(tmp_path / "model")
    loaded = fastals.load(tmp_path / "model")
    assert loaded.get_params() == fitted.get_params()
    np.testing.assert_array_equal(loaded.fold_in_items(cells), fitted.fold_in_items(cells))


@pytest.mark.parametrize("value", [(0.1,), (1, 2, 3), (0.1, -1), "0.1", (0.1, None)])
def test_bad_pairs_of_lambda(value: Any) -> None:
    with pytest.raises(fastals.FastalsError, match="regularization"):
        ImplicitALS(regularization=value)


@pytest.mark.parametrize(("name", "value"), [("confidence", "square"), ("epsilon", 0), ("epsilon", float("nan"))])
def test_bad_confidence(name: str, value: Any) -> None:
    with pytest.raises(fastals.ParameterError, match=name):
        ImplicitALS(**{name: value})


# ---------------------------------------------------------------------------------------------------------------------
# nonnegative factors


@pytest.mark.parametrize("model", [ExplicitALS(biases=True), ExplicitALS(biases=False), ImplicitALS()])
@pytest.mark.parametrize("regularization", [0.5, 0.0])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nonnegative_rows_are_exact(model: Any, regularization: float, dtype: Any) -> None:
    users, items, values = events()
    explicit = type(model) is ExplicitALS
    model = type(model)(**model.get_params()).set_params(
        factors=K, nonnegative=True, regularization=regularization, dtype=dtype, iterations=5, random_state=0
    )
    model.fit((users, items, values))
    assert (model.user_factors_ >= 0).all()
    assert (model.item_factors_ >= 0).all()
    assert (model.item_factors_ == 0).any()
    X, Y = reference.float64(model.item_factors_), reference.float64(model.user_factors_)
    a, b = (np.ones(len(users)), values) if explicit else (values, 1 + values)
    if explicit and model.biases:
        b = values - model.global_mean_ - model.user_biases_[users]
        X, Y = np.column_stack((X, model.item_biases_)), np.column_stack((Y, np.ones(USERS)))
    G = np.zeros((Y.shape[1],) * 2) if explicit else reference.gram(Y)
    for i in range(ITEMS):
        cells = items == i
        system = reference.row_system(G, Y[users[cells]], a[cells], b[cells], regularization)
        assert reference.kkt_residual(*system, X[i], K) <= (1e-5 if dtype == "float32" else 1e-10)
    trained = model.item_factors_ if X.shape[1] == K else np.column_stack((model.item_factors_, model.item_biases_))
    if regularization:
        folded = model.fold_in_items((users, items, values))
        np.testing.assert_allclose(folded, trained, rtol=1e-3, atol=1e-4 if dtype == "float32" else 1e-9)
    threaded = model.set_params(num_threads=2).fit((users, items, values)).item_factors_
    np.testing.assert_array_equal(threaded, trained[:, :K])


@pytest.mark.parametrize("solver", ["cg", "lapack"])
def test_nonnegative_has_one_solver(solver: Any) -> None:
    with pytest.raises(fastals.ParameterError, match="nonnegative"):
        ImplicitALS(nonnegative=True, solver=solver)


@pytest.mark.parametrize("parameters", [{"solver": "cg"}, {"solver": "cholesky"}, {"nonnegative": True}])
def test_the_same_bits_for_any_number_of_threads(parameters: dict[str, Any]) -> None:
    """Biases, weights and nonnegative rows, of more rows than one task holds."""
    rng = np.random.default_rng(0)
    cells = rng.integers(0, 900, 20_000), rng.integers(0, 200, 20_000), rng.integers(1, 6, 20_000)
    weights = rng.uniform(0, 2, 20_000)
    model = ExplicitALS(factors=20, biases=True, iterations=2, random_state=0, **parameters)
    fits = []
    for num_threads in (1, 2, 4):
        model.set_params(num_threads=num_threads).fit(cells, sample_weight=weights)
        biases = model.user_biases_, model.item_biases_, model.global_mean_
        fits.append((model.user_factors_, model.item_factors_, *biases))
    for other in fits[1:]:
        for one, another in zip(fits[0], other, strict=True):
            np.testing.assert_array_equal(one, another)


# ---------------------------------------------------------------------------------------------------------------------
# the true objective and SciPy's optimizer


class Objective:
    """The loss as one function of all parameters, and its gradient, on dense arrays."""

    def __init__(self, model: Any, users: Any, items: Any, values: Any, weights: Any) -> None:
        self.explicit, self.model = isinstance(model, ExplicitALS), model
        settings = model.settings_
        self.biased = self.explicit and settings["biases"]
        shape = (USERS, ITEMS)
        stored, self.r, s = np.zeros(shape), np.zeros(shape), np.ones(shape)
        stored[users, items], self.r[users, items] = 1, values
        s[users, items] = np.ones(len(users)) if weights is None else weights
        if not self.explicit and settings["confidence"] == "log":
            self.r = np.sign(self.r) * np.log1p(np.abs(self.r) / model.epsilon)
        counted = stored * s
        if self.explicit:
            self.w0, self.a, self.b = 0.0, counted, counted * self.r
        else:
            counted = counted * (self.r > 0)
            self.w0 = settings["unobserved_weight"]
            self.a = stored * s * model.alpha * np.abs(self.r)
            self.b = counted * (1 + model.alpha * self.r)
        total = self.w0 + self.a
        self.constant = np.sum(np.divide(self.b**2, total, out=np.zeros(shape), where=total > 0))
        lam = np.broadcast_to(settings["regularization"], 2)
        self.own = np.broadcast_to(settings.get("bias_regularization", 0.0), 2)
        scaling = settings["regularization_scaling"]
        self.lam = []
        for axis, n_other in ((0, ITEMS), (1, USERS)):
            n = counted.sum(axis=1 - axis)
            power = {"constant": np.ones_like(n), "count": n}
            self.lam.append(lam[axis] * (power[scaling] if scaling in power else (n + self.w0 * n_other) ** scaling))

    def split(self, p: Any) -> tuple[Any, Any, float]:
        k = K + self.biased
        X, Y = p[: USERS * k].reshape(USERS, k), p[USERS * k : (USERS + ITEMS) * k].reshape(ITEMS, k)
        return X, Y, p[-1]

    def join(self) -> Any:
        m = self.model
        X, Y = m.user_factors_, m.item_factors_
        if self.biased:
            X, Y = np.column_stack((X, m.user_biases_)), np.column_stack((Y, m.item_biases_))
        return np.concatenate([X.ravel(), Y.ravel(), [m.global_mean_ if self.explicit else 0.0]])

    def __call__(self, p: Any) -> tuple[float, Any]:
        X, Y, mean = self.split(p)
        S = X[:, :K] @ Y[:, :K].T
        if self.biased:
            S = S + mean + X[:, K:] + Y[:, K]
        value = self.w0 * np.sum(S**2) + np.sum(self.a * S**2 - 2 * self.b * S) + self.constant
        value += self.lam[0] @ np.sum(X[:, :K] ** 2, axis=1) + self.lam[1] @ np.sum(Y[:, :K] ** 2, axis=1)
        value += self.own[0] * np.sum(X[:, K:] ** 2) + self.own[1] * np.sum(Y[:, K:] ** 2)
        D = 2 * (self.w0 * S + self.a * S - self.b)
        gX, gY = 2 * self.lam[0][:, None] * X, 2 * self.lam[1][:, None] * Y
        gX[:, K:], gY[:, K:] = 2 * self.own[0] * X[:, K:], 2 * self.own[1] * Y[:, K:]
        gX[:, :K] += D @ Y[:, :K]
        gY[:, :K] += D.T @ X[:, :K]
        if self.biased:
            gX[:, K] += D.sum(axis=1)
            gY[:, K] += D.sum(axis=0)
        return value, np.concatenate([gX.ravel(), gY.ravel(), [D.sum() if self.biased else 0.0]])


def check_nothing_is_lower(model: Any, objective: Any, steps: int) -> None:
    """The model's loss is the objective there, whose gradient is nothing, and from where L-BFGS finds no way down."""
    p = objective.join()
    value, gradient = objective(p)
    assert value == pytest.approx(model.loss_history_[-1], rel=1e-10)
    bounds = None
    if not model.nonnegative:
        assert np.abs(gradient).max() < 1e-5 * value
    else:
        assert gradient.min() > -1e-5 * value
        assert np.abs(gradient * p).max() < 1e-5 * value
        lower = np.zeros_like(p)
        X, Y, _ = objective.split(lower)
        X[:, K:] = Y[:, K:] = lower[-1] = -np.inf
        bounds = [(bound, None) for bound in lower]
    options = {"maxiter": steps, "ftol": 1e-15, "gtol": 1e-10}
    found = minimize(objective, p, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    assert found.fun >= value * (1 - 1e-7)


VARIANTS: dict[str, tuple[Any, dict[str, Any], bool]] = {
    "explicit": (ExplicitALS, {"biases": False}, False),
    "explicit, weights": (ExplicitALS, {"biases": False}, True),
    "explicit, count": (
        ExplicitALS,
        {"biases": False, "regularization": 0.2, "regularization_scaling": "count"},
        False,
    ),
    "explicit, nu": (ExplicitALS, {"biases": False, "regularization": 0.5, "regularization_scaling": 0.6}, True),
    "biases": (ExplicitALS, {"biases": True}, False),
    "biases, weights, count, pair": (
        ExplicitALS,
        {"biases": True, "regularization": (0.3, 0.5), "regularization_scaling": "count"},
        True,
    ),
    "biases of their own": (ExplicitALS, {"biases": True, "bias_regularization": (4.0, 2.0)}, True),
    "the rule's ratings": (ExplicitALS, {"regularization": "auto"}, False),
    "the rule's events": (ImplicitALS, {"regularization": "auto"}, True),
    "nonnegative": (ExplicitALS, {"nonnegative": True, "biases": False}, True),
    "nonnegative, biases": (ExplicitALS, {"nonnegative": True, "biases": True}, False),
    "implicit, nonnegative": (ImplicitALS, {"nonnegative": True, "alpha": 2.0, "unobserved_weight": 0.5}, True),
    "implicit": (ImplicitALS, {"alpha": 2.0}, False),
    "implicit, weights": (ImplicitALS, {"alpha": 2.0}, True),
    "implicit, w0, nu": (
        ImplicitALS,
        {"unobserved_weight": 0.3, "regularization": 0.1, "regularization_scaling": 1.0},
        False,
    ),
    "implicit, log, count, pair": (
        ImplicitALS,
        {"confidence": "log", "epsilon": 0.1, "regularization": (0.4, 0.2), "regularization_scaling": "count"},
        True,
    ),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_scipy_finds_no_lower_value_than_a_converged_fit(name: str) -> None:
    kind, parameters, weighted = VARIANTS[name]
    users, items, values = events()
    if kind is ImplicitALS:
        values[::6] *= -1
    weights = np.random.default_rng(5).uniform(0.2, 3, len(users)) if weighted else None
    parameters = {"regularization": 1.5, **parameters}
    model = kind(factors=K, iterations=1500, dtype="float64", random_state=0, solver="cholesky", **parameters)
    model.fit((users, items, values), sample_weight=weights)
    objective = Objective(model, users, items, values, weights)
    check_nothing_is_lower(model, objective, 5000)

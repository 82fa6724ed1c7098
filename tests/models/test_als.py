import tracemalloc
from typing import Any

import numpy as np
import pytest
import real_data
import reference
from scipy import sparse

import fastals
from fastals import ExplicitALS, ImplicitALS
from fastals._equation.presets import IMPLICIT
from fastals._equation.rows import Rows
from fastals._equation.side import ArraySide
from fastals._equation.sweep import Basis, Block, Plan, half_sweep, schedule, split_above
from fastals._models.fitting import check_initial_factors

RATINGS = np.array(
    [[4, 0, 2, 5, 0, 0], [3, 2, 1, 0, 0, 3], [0, 2, 0, 3, 0, 4], [0, 3, 3, 5, 4, 0], [5, 0, 3, 4, 0, 0]], np.float64
)
BOTH = pytest.mark.parametrize("model", [ExplicitALS, ImplicitALS])
PLAIN: dict[Any, dict[str, Any]] = {
    ExplicitALS: {"regularization": 0.1, "biases": False},
    ImplicitALS: {"regularization": 0.01},
}
"""The row equation by itself: a constant lambda, values as they are, no biases."""


def random_matrix(n_users: int = 60, n_items: int = 40, density: float = 0.15, seed: int = 0) -> sparse.csr_array:
    rng = np.random.default_rng(seed)
    dense = (rng.random((n_users, n_items)) < density) * rng.integers(1, 6, (n_users, n_items))
    return sparse.csr_array(dense.astype(np.float32))


# ---------------------------------------------------------------------------------------------------------------------
# right


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("solver", ["cholesky", "lapack", "cg"])
@pytest.mark.usefixtures("isa")
def test_the_worked_example_equals_the_closed_form_updates(solver: Any, dtype: Any) -> None:
    rng = np.random.default_rng(0)
    X0, Y0 = rng.standard_normal((5, 3)), rng.standard_normal((6, 3))
    X, Y, losses = reference.explicit_als(RATINGS, Y0, 0.01, 10)
    model = ExplicitALS(factors=3, regularization=0.01, biases=False, iterations=10, solver=solver, dtype=dtype)
    model.fit(sparse.csr_array(RATINGS), initial_factors=(X0, Y0))
    # three steps of conjugate gradients on three factors are exact but for rounding, which nothing mends
    tolerance = 1e-5 if solver != "cg" else {"float32": 3e-2, "float64": 1e-5}[dtype]
    np.testing.assert_allclose(model.user_factors_, X, atol=tolerance)
    np.testing.assert_allclose(model.item_factors_, Y, atol=tolerance)
    np.testing.assert_allclose(model.loss_history_, losses, rtol=2e-5 if solver != "cg" else 1e-2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.usefixtures("isa")
def test_the_worked_example_is_met_sooner_by_auto(dtype: Any) -> None:
    """Its sides are balanced, so its iterates are not the textbook's; each of its losses is at least as low."""
    rng = np.random.default_rng(0)
    X0, Y0 = rng.standard_normal((5, 3)), rng.standard_normal((6, 3))
    _, _, losses = reference.explicit_als(RATINGS, Y0, 0.01, 10)
    model = ExplicitALS(factors=3, regularization=0.01, biases=False, iterations=10, tol=None, dtype=dtype)
    model.fit(sparse.csr_array(RATINGS), initial_factors=(X0, Y0))
    assert (np.array(model.loss_history_) <= np.array(losses) * (1 + 1e-5)).all()
    rated = RATINGS != 0
    assert np.abs(model.user_factors_ @ model.item_factors_.T - RATINGS)[rated].max() < 0.1


@pytest.mark.parametrize("scaling", ["constant", "count", 0.5, 1.0])
@pytest.mark.parametrize("w0", [0.0, 0.3, 1.0])
def test_implicit_equals_the_reference(scaling: Any, w0: float) -> None:
    matrix = random_matrix()
    Y0 = np.random.default_rng(1).standard_normal((40, 5))
    X, Y, losses = reference.implicit_als(matrix.toarray(), Y0, 0.5, 3, scaling, alpha=2.0, w0=w0)
    model = ImplicitALS(
        factors=5,
        regularization=0.5,
        alpha=2.0,
        regularization_scaling=scaling,
        unobserved_weight=w0,
        iterations=3,
        solver="cholesky",
        dtype="float64",
    )
    model.fit(matrix, initial_factors=(np.zeros((60, 5)), Y0))
    np.testing.assert_allclose(model.user_factors_, X, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(model.item_factors_, Y, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(model.loss_history_, losses, rtol=1e-11)


def test_negative_feedback_is_a_confident_no_and_zero_says_nothing() -> None:
    values = random_matrix(seed=3).tocoo()
    values.data[::5] *= -1
    signed = values.tocsr()
    a, p = 2.0 * np.abs(signed.data), (signed.data > 0).astype(float)
    cells = reference.Cells(signed.indptr.astype(np.int64), signed.indices, a, (1 + a) * p)
    Y0 = np.random.default_rng(1).standard_normal((40, 4))
    X, Y, _ = reference.als(cells, Y0, w0=1, regularization=0.1, iterations=2)
    model = ImplicitALS(factors=4, alpha=2.0, regularization=0.1, iterations=2, solver="cholesky", dtype="float64")
    model.fit(signed, initial_factors=(np.zeros((60, 4)), Y0))
    np.testing.assert_allclose(model.item_factors_, Y, rtol=1e-9, atol=1e-11)
    with_zeros = sparse.csr_array(signed)
    with_zeros.data[1::5] = 0
    without = with_zeros.copy()
    without.eliminate_zeros()
    one, other = (model.fit(m, initial_factors=(X, Y0)).item_factors_ for m in (with_zeros, without))
    np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


@BOTH
@pytest.mark.parametrize("factors", [8, 48])
def test_conjugate_gradients_reach_the_same_loss(model: Any, factors: int) -> None:
    matrix = random_matrix(300, 200, 0.1)
    exact, cg, auto = (
        model(factors=factors, regularization=1.0, iterations=30, solver=solver, random_state=0)
        .fit(matrix)
        .loss_history_
        for solver in ("cholesky", "cg", "auto")
    )
    # the objective has many minima: another one may be a little lower or higher
    np.testing.assert_allclose(cg[-1], exact[-1], rtol=1e-2)
    assert auto[-1] < 1.01 * exact[-1]


@BOTH
@pytest.mark.parametrize("factors", [32, 48])
def test_over_relaxation_never_raises_the_objective(model: Any, factors: int) -> None:
    matrix = random_matrix(300, 200, 0.1)
    options = {**PLAIN[model], "factors": factors, "iterations": 60, "tol": None, "dtype": "float64", "random_state": 0}
    fitted = model(**options).fit(matrix)
    assert np.diff(fitted.loss_history_).max() <= 1e-12 * fitted.loss_history_[0]
    plain = model(**options, solver="cg").fit(matrix)
    # where the plain iteration ends, the relaxed one has long been
    assert fitted.loss_history_[39] <= plain.loss_history_[-1]


@BOTH
def test_a_relaxed_fit_that_is_stopped_ends_with_the_loss_it_reported(model: Any) -> None:
    matrix = random_matrix(300, 200, 0.1)
    options = {**PLAIN[model], "factors": 40, "iterations": 20, "dtype": "float64", "random_state": 0}
    stopped = model(**options)
    stopped.fit(matrix, callback=lambda iteration, *_: iteration == 7)
    whole = model(**options).fit(matrix)
    assert stopped.loss_history_[:6] == whole.loss_history_[:6]
    # whatever ends a fit, the items are solved exactly at its end
    assert len(stopped.loss_history_) == stopped.n_iter_ == 7
    assert stopped.loss_history_[6] < whole.loss_history_[6]
    X, Y, r = stopped.user_factors_, stopped.item_factors_, matrix.data.astype(float)
    w0, a, b = (0, np.ones_like(r), r) if model is ExplicitALS else (1, r, 1 + r)
    cells = reference.Cells(matrix.indptr.astype(np.int64), matrix.indices, a, b)
    lam_users, lam_items = (np.full(len(F), stopped.regularization) for F in (X, Y))
    loss = reference.objective(cells, X, Y, w0, lam_users, lam_items)
    assert loss == pytest.approx(stopped.loss_history_[-1], rel=1e-10)


@BOTH
def test_fold_in_gives_the_trained_row(model: Any) -> None:
    matrix = random_matrix()
    fitted = model(factors=6, dtype="float64", random_state=0, **PLAIN[model]).fit(matrix)
    np.testing.assert_allclose(fitted.fold_in_items(matrix), fitted.item_factors_, rtol=1e-8, atol=1e-10)
    again = model(factors=6, dtype="float64", iterations=1, **PLAIN[model]).fit(
        matrix, initial_factors=(fitted.user_factors_, fitted.item_factors_)
    )
    np.testing.assert_allclose(fitted.fold_in(matrix), again.user_factors_, rtol=1e-8, atol=1e-10)


def test_fold_in_passes_over_unknown_labels() -> None:
    model = ImplicitALS(factors=2, random_state=0).fit((["u", "v"], ["a", "b"], [1.0, 2.0]))
    known = model.fold_in((["w"], ["a"]))
    both = model.fold_in((["w", "w"], ["a", "never seen"]))
    assert known.shape == (1, 2)
    np.testing.assert_array_equal(known, both)


@BOTH
def test_rows_without_cells_are_zero(model: Any) -> None:
    matrix = random_matrix().tolil()
    matrix[3], matrix[:, 7] = 0, 0
    fitted = model(factors=4, random_state=0).fit(sparse.csr_array(matrix.tocsr()))
    assert not fitted.user_factors_[3].any()
    assert not fitted.item_factors_[7].any()


@BOTH
@pytest.mark.parametrize("solver", ["cholesky", "cg", "lapack"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_regularization_gives_an_answer(model: Any, solver: Any, dtype: Any) -> None:
    matrix = sparse.csr_array(np.array([[1, 1, 0], [1, 1, 0], [0, 0, 2]], np.float32))
    fitted = model(factors=7, regularization=0, solver=solver, dtype=dtype, iterations=5, random_state=0).fit(matrix)
    assert np.isfinite(fitted.user_factors_).all()
    assert np.isfinite(fitted.item_factors_).all()


def test_no_regularization_recovers_the_matrix() -> None:
    # implicit's test_factorize
    rows = ["110100", "011100", "101000", "110000", "001101", "010001", "000011"]
    dense = np.array([[int(c) for c in row] for row in rows], np.float64)
    model = ImplicitALS(factors=6, regularization=0, alpha=2.0, dtype="float64", iterations=15, random_state=0)
    model.fit(sparse.csr_array(dense))
    np.testing.assert_allclose(model.user_factors_ @ model.item_factors_.T, dense, atol=1e-3)


# ---------------------------------------------------------------------------------------------------------------------
# real data


def residuals(model: Any, matrix: sparse.csr_array, lam: float) -> float:
    """The largest residual of the items' rows, which were solved last."""
    weights = model.state_.equation.weights
    columns = sparse.csr_array(matrix.T)
    columns.sort_indices()
    X, Y = reference.float64(model.user_factors_), model.item_factors_
    G = weights.unobserved * reference.gram(X)
    cells = (weights.a0, weights.a1, weights.b0, weights.b1, weights.positive_only)
    worst = 0.0
    for i, (first, last) in enumerate(zip(columns.indptr[:-1], columns.indptr[1:], strict=True)):
        a, b = reference.cell_weights(columns.data[first:last], cells)
        system = reference.row_system(G, X[columns.indices[first:last]], a, b, lam)
        worst = max(worst, reference.residual(*system, Y[i]))
    return worst


@pytest.mark.parametrize(("dtype", "bound"), [("float32", 1e-5), ("float64", 1e-12)])
@pytest.mark.parametrize("lam", [0.1, 1e-4])
@pytest.mark.parametrize("solver", ["auto", "lapack"])
@pytest.mark.parametrize("name", ["ml-100k", "lastfm-hetrec2k"])
def test_residuals_on_real_data(name: str, solver: Any, lam: float, dtype: Any, bound: float) -> None:
    if name == "ml-100k":
        matrix, model = real_data.matrix(real_data.table(name), "rating"), ExplicitALS
    else:
        matrix, model = real_data.matrix(real_data.table(name), "count"), ImplicitALS
    options = {**PLAIN[model], "regularization": lam, "solver": solver, "dtype": dtype}
    for factors in (16, 96):
        fitted = model(**options, factors=factors, iterations=2, random_state=0).fit(matrix)
        assert residuals(fitted, matrix, lam) <= bound


@BOTH
def test_the_objective_never_rises(model: Any) -> None:
    matrix = real_data.matrix(real_data.table("ml-100k"), "rating")
    estimator = model(factors=24, **PLAIN[model])
    data = fastals.Interactions.from_matrix(matrix)
    X, Y = estimator._beginning().drawn(matrix.shape)
    equation = estimator._equation(estimator._chosen()[0])
    users = equation.side("users", Rows(*data.arrays("float32")), X, Y, num_threads=2)
    items = equation.side("items", Rows(*data.transpose_arrays("float32")), Y, X, num_threads=2)
    constant = users.constant(0.0)
    losses = []
    for _ in range(5):
        for side, other in ((users, items), (items, users)):
            decrease = side.solve("cholesky")
            losses.append(constant + other.penalty() - decrease)
    assert (np.diff(losses) <= 1e-6 * np.array(losses[1:])).all()


def test_ncf_protocol() -> None:
    """Rendle et al. (RecSys 2022) publish HR@10 0.722 and NDCG@10 0.445 for iALS with 64 factors."""
    train, test = real_data.table("ml-1m"), real_data.table("ml-1m.ncf-test")
    shape = (6040, 3706)
    held_out = real_data.matrix(test, None, shape)
    matrix = real_data.matrix(train, None, shape)
    matrix = sparse.csr_array(matrix - matrix.multiply(held_out))
    matrix.eliminate_zeros()
    assert matrix.nnz == 994_169
    model = ImplicitALS(
        factors=64,
        regularization=0.007,
        regularization_scaling=1.0,
        unobserved_weight=0.3,
        iterations=12,
        random_state=0,
    ).fit(matrix)
    candidates = np.column_stack([test["item"], np.stack(test["negatives"])])
    scores = np.einsum("uk,uck->uc", model.user_factors_[test["user"]], model.item_factors_[candidates])
    rank = np.sum(scores[:, 1:] >= scores[:, :1], axis=1)
    assert np.mean(rank < 10) >= 0.718
    assert np.mean(np.where(rank < 10, 1 / np.log2(rank + 2), 0)) >= 0.441


def test_rmse_on_the_official_folds() -> None:
    table = real_data.table("ml-100k")
    errors = []
    for fold in np.unique(table["fold"]):
        part = table["fold"] == fold
        train = {name: column[~part] for name, column in table.items()}
        model = ExplicitALS(
            factors=64, regularization=0.12, regularization_scaling="count", biases=False, random_state=0
        )
        model.fit((train["user"], train["item"], train["rating"]))
        predicted = model.predict(table["user"][part], table["item"][part])
        predicted = np.clip(np.where(np.isnan(predicted), train["rating"].mean(), predicted), 1, 5)
        errors.append(np.sqrt(np.mean((predicted - table["rating"][part]) ** 2)))
    assert np.mean(errors) < 0.935


# ---------------------------------------------------------------------------------------------------------------------
# the same bits


@BOTH
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("solver", ["cholesky", "cg", "lapack"])
def test_the_same_bits_for_any_number_of_threads(model: Any, solver: Any, dtype: Any) -> None:
    matrix = random_matrix(3000, 300, 0.05)
    # a row longer than any block
    matrix = sparse.csr_array(sparse.vstack([matrix, np.ones((1, 300), np.float32)]))
    fits = [
        model(factors=33, solver=solver, dtype=dtype, iterations=2, num_threads=threads, random_state=0).fit(matrix)
        for threads in (1, 2, 4, 2, 2, 2, 2)
    ]
    for other in fits[1:]:
        np.testing.assert_array_equal(fits[0].user_factors_, other.user_factors_)
        np.testing.assert_array_equal(fits[0].item_factors_, other.item_factors_)
        assert fits[0].loss_history_ == other.loss_history_


@BOTH
@pytest.mark.parametrize("solver", ["cholesky", "auto"])
def test_very_long_rows_are_shared_out(model: Any, solver: Any) -> None:
    """An item that everybody has, and little else: its row must not be one thread's work."""
    n = 70_000
    users = np.concatenate((np.arange(n), np.arange(0, n, 3)))
    items = np.concatenate((np.zeros(n, int), 1 + np.arange(0, n, 3) % 40))
    matrix = sparse.csr_array((np.ones(len(users), np.float32), (users, items)))
    plan = schedule(sparse.csr_array(matrix.T).indptr.astype(np.int64), split=split_above("cholesky", matrix.nnz))
    assert plan.split.tolist() == [0]
    options = {"factors": 33, "regularization": 1.0, "solver": solver, "iterations": 2, "random_state": 0}
    fits = [model(**PLAIN[model] | options, num_threads=threads).fit(matrix) for threads in (1, 2, 4)]
    for other in fits[1:]:
        assert fits[0].loss_history_ == other.loss_history_
        assert np.array_equal(fits[0].item_factors_, other.item_factors_)
    # the row of a new item with the same history is the same, whoever sums it
    again = fits[0].fold_in_items(matrix[:, [0]])
    assert np.array_equal(again[0, :33], fits[0].item_factors_[0])


def test_groups_of_long_rows_give_what_each_row_gives_alone() -> None:
    rng = np.random.default_rng(0)
    columns = np.concatenate([np.sort(rng.permutation(3000)[:n]) for n in (2500, 2400, 2100, 900)]).astype(np.int32)
    indptr = np.cumsum([0, 2500, 2400, 2100, 900])
    values = rng.random(len(columns)).astype(np.float32)
    weights = IMPLICIT[None].cells(1.0, 1.0)
    others = rng.standard_normal((3000, 256)).astype(np.float32) / 16
    start = rng.standard_normal((4, 256)).astype(np.float32)
    results = []
    together = Plan(np.arange(4, dtype=np.int32), np.array([0, 3, 4]), 1)
    alone = Plan(together.order, np.array([0, 4]), 0)
    for plan in (together, alone):
        out = start.copy()
        rows = Rows(indptr, columns, values)
        side = ArraySide(rows, out, others, weights, lambda counts, n: np.ones(len(counts)))
        assert side.plan("cg", 0, rows).n_groups == 2
        basis = Basis(side.common("cg"), others, 1)
        half_sweep(Block(0, rows, side.lam, plan), basis, weights, out, solver="cg", num_threads=1)
        results.append(out)
    assert np.array_equal(*results)


# ---------------------------------------------------------------------------------------------------------------------
# training life


@BOTH
def test_fit_starts_afresh_with_any_shape(model: Any) -> None:
    first, second = random_matrix(200, 40), random_matrix(150, 4000, 0.01, seed=1)
    estimator = model(factors=5, random_state=0)
    once = estimator.fit(first).user_factors_.copy()
    estimator.fit(second)
    assert estimator.item_factors_.shape == (4000, 5)
    np.testing.assert_array_equal(estimator.fit(first).user_factors_, once)
    np.testing.assert_array_equal(estimator.fit(first).user_factors_, once)


def test_a_failed_fit_leaves_the_model_as_it_was() -> None:
    model = ImplicitALS(factors=3, random_state=0).fit(random_matrix())
    before = model.user_factors_
    bad = random_matrix(50, 30)
    bad.data[5] = np.nan
    with pytest.raises(fastals.DataError, match="nan"):
        model.fit(bad)
    assert model.user_factors_ is before


def test_the_callers_arrays_are_left_alone() -> None:
    matrix = random_matrix()
    copy = matrix.copy()
    X, Y = np.ones((60, 4)), np.ones((40, 4))
    ImplicitALS(factors=4, alpha=3.0).fit(matrix, initial_factors=(X, Y))
    np.testing.assert_array_equal(matrix.data, copy.data)
    assert (X == 1).all()
    assert (Y == 1).all()


def test_callback_sees_every_iteration_and_can_stop() -> None:
    seen: list[tuple[int, float]] = []

    def callback(iteration: int, loss: float, metrics: Any, seconds: float) -> bool:
        assert metrics == {}
        assert seconds > 0
        seen.append((iteration, loss))
        return iteration == 3

    model = ImplicitALS(factors=3, iterations=10, random_state=0).fit(random_matrix(), callback=callback)
    assert [iteration for iteration, _ in seen] == [1, 2, 3]
    assert [loss for _, loss in seen] == model.loss_history_
    assert model.n_iter_ == 3


def test_no_iterations_give_the_initial_factors() -> None:
    X, Y = np.random.default_rng(0).random((60, 2), np.float32), np.random.default_rng(1).random((40, 2), np.float32)
    model = ExplicitALS(factors=2, iterations=0).fit(random_matrix(), initial_factors=(X, Y))
    np.testing.assert_array_equal(model.user_factors_, X)
    np.testing.assert_array_equal(model.item_factors_, Y)
    assert model.loss_history_ == []


@pytest.mark.parametrize("state", [0, np.int64(5), np.random.default_rng, np.random.RandomState])
def test_random_state(state: Any) -> None:
    make = (lambda: state(7)) if callable(state) else lambda: state
    one, other = (ImplicitALS(factors=2, random_state=make()).fit(random_matrix()) for _ in range(2))
    np.testing.assert_array_equal(one.user_factors_, other.user_factors_)


def test_progress_bar_shows_on_demand_only(capsys: pytest.CaptureFixture[str]) -> None:
    ImplicitALS(factors=2, iterations=2).fit(random_matrix())
    assert capsys.readouterr().err == ""
    ImplicitALS(factors=2, iterations=2).fit(random_matrix(), progress=True)
    assert "2/2" in capsys.readouterr().err


def test_memory_beyond_the_callers_matrix() -> None:
    n_users, n_items, factors = 40_000, 2_000, 32
    rng = np.random.default_rng(0)
    indices = np.concatenate([np.sort(rng.permutation(n_items)[:100]) for _ in range(n_users)]).astype(np.int32)
    values = rng.integers(1, 6, len(indices)).astype(np.float32)
    matrix = sparse.csr_array((values, indices, np.arange(0, len(indices) + 1, 100)), shape=(n_users, n_items))
    # the defaults work on values of their own: less biases, or their logarithms
    for model, options, per_cell in [(m, o, b) for m in PLAIN for o, b in ((PLAIN[m], 16), ({}, 24))]:
        estimator = model(factors=factors, iterations=1, num_threads=2, random_state=0, **options).fit(random_matrix())
        tracemalloc.start()
        estimator.fit(matrix)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        # the factors, those of the iteration before to go back to, and one side in another basis
        assert peak <= per_cell * matrix.nnz + 4 * 4 * factors * (n_users + n_items)


# ---------------------------------------------------------------------------------------------------------------------
# parameters and bad input


def test_parameters_come_back_and_can_be_set() -> None:
    model = ImplicitALS(factors=3, alpha=2.0)
    assert type(model)(**model.get_params()).get_params() == model.get_params()
    assert repr(model) == "ImplicitALS(factors=3, alpha=2.0)"
    assert model.set_params(factors=7).factors == 7
    with pytest.raises(fastals.ParameterError, match="rank"):
        model.set_params(factors=9, rank=3)
    with pytest.raises(fastals.ParameterError, match="regularization"):
        model.set_params(factors=9, regularization=-1)
    assert model.factors == 7


@BOTH
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("factors", 0),
        ("factors", -3),
        ("factors", 10**20),
        ("factors", 2.5),
        ("factors", True),
        ("factors", "8"),
        ("regularization", -0.1),
        ("regularization", float("nan")),
        ("regularization", float("inf")),
        ("regularization_scaling", "sqrt"),
        ("regularization_scaling", -1),
        ("iterations", -1),
        ("iterations", 10**20),
        ("solver", "qr"),
        ("dtype", "float16"),
        ("dtype", "int32"),
        ("num_threads", 0),
        ("num_threads", -1),
        ("random_state", "seed"),
    ],
)
def test_bad_parameters(model: Any, name: str, value: Any) -> None:
    with pytest.raises(fastals.FastalsError, match=name) as error:
        model(**{name: value})
    assert isinstance(error.value, ValueError | TypeError)


@pytest.mark.parametrize(("name", "value"), [("alpha", -1), ("alpha", float("inf")), ("unobserved_weight", -0.5)])
def test_bad_implicit_parameters(name: str, value: Any) -> None:
    with pytest.raises(fastals.ParameterError, match=name):
        ImplicitALS(**{name: value})


@BOTH
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.eye(3), "dense"),
        (None, "data must be"),
        ([[1, 2], [3, 4]], "data must be"),
        (sparse.csr_array((3, 3)), "empty"),
        (sparse.csr_array((0, 3)), "empty"),
        (([0, 1], [0]), "length"),
        (([0, 1], [0, 1], [1.0, float("nan")]), "nan"),
        (([0, 1], [0, 1], [1.0, float("inf")]), "inf"),
        ((np.array([0.5, 1]), [0, 1]), "0.5"),
        (([], []), "empty"),
    ],
)
def test_bad_data(model: Any, data: Any, message: str) -> None:
    with pytest.raises(fastals.FastalsError, match=message):
        model(factors=2).fit(data)


@BOTH
def test_a_broken_matrix_is_refused(model: Any) -> None:
    for index in (-1, 3, 2**31 - 1):
        broken = sparse.csr_array(np.eye(3, dtype=np.float32))
        broken.indices[1] = index
        with pytest.raises(fastals.DataError, match=str(index)):
            model(factors=2).fit(broken)


def test_initial_factors_are_copied() -> None:
    given = np.ones((2, 3)), np.ones((4, 3), order="F")
    X, Y = check_initial_factors(given, (2, 4), 3, np.dtype("float32"))
    assert X.dtype == Y.dtype == np.float32
    assert Y.flags.c_contiguous
    X[:] = 0
    assert given[0].all()


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        (np.ones((2, 3)), "initial_factors must be a pair (user_factors, item_factors)"),
        ((np.ones((2, 3)),), "initial_factors must be a pair (user_factors, item_factors)"),
        ((np.ones((2, 3)), np.ones((3, 4))), "initial item factors must have shape (4, 3), got (3, 4)"),
        (
            (np.ones((2, 3)), np.full((4, 3), np.nan)),
            "initial item factors must be finite in float32, got nan at row 0, co",
        ),
        (
            (np.full((2, 3), 1e300), np.ones((4, 3))),
            "initial user factors must be finite in float32, got 1e+300 at row",
        ),
        ((np.ones((2, 3), complex), np.ones((4, 3))), "initial user factors must be real numbers, got complex128"),
        (("ab", None), "initial user factors must be real numbers, got <U2"),
    ],
)
def test_initial_factors_out_of_rule(factors: Any, message: str) -> None:
    with pytest.raises(fastals.FastalsError) as raised:
        check_initial_factors(factors, (2, 4), 3, np.dtype("float32"))
    assert message in str(raised.value)


def test_bad_initial_factors() -> None:
    matrix = random_matrix()
    for factors, message in (
        ((np.ones((60, 3)), np.ones((40, 2))), r"\(60, 2\)"),
        ((np.ones((60, 2)), np.full((40, 2), np.nan)), "finite"),
        (np.ones((60, 2)), "pair"),
    ):
        with pytest.raises(fastals.FastalsError, match=message):
            ImplicitALS(factors=2).fit(matrix, initial_factors=factors)


def test_values_that_overflow_are_an_error() -> None:
    huge = sparse.csr_array(np.array([[1e38, 1e38], [1e38, 0]], np.float32))
    with pytest.raises(fastals.FastalsError, match="float64"):
        ImplicitALS(factors=2, regularization=0.01, alpha=1e3, random_state=0).fit(huge)


def test_fold_in_checks() -> None:
    model = ImplicitALS(factors=2)
    with pytest.raises(fastals.NotFittedError):
        model.fold_in(random_matrix())
    model.fit(random_matrix(60, 40))
    with pytest.raises(fastals.FastalsError, match="40"):
        model.fold_in(random_matrix(40, 60))

"""What other libraries' tests say of fitting, and what their bugs teach: our own tests of the same statements.

The origin stands in each docstring. Their presets' equations are tested in test_model.py, lists and new data elsewhere.
"""

from typing import Any

import numpy as np
import pytest
import reference
from scipy import sparse

import fastals
from fastals import ExplicitALS, ImplicitALS

SOLVERS = pytest.mark.parametrize("solver", ["cholesky", "cg", "lapack", "auto"])
DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])
BOTH = pytest.mark.parametrize("model", [ExplicitALS, ImplicitALS])


def checkerboard(n: int) -> tuple[sparse.csr_array, Any]:
    """Everybody likes the items of their own parity but one, their namesake."""
    full = (np.add.outer(np.arange(n), np.arange(n)) % 2 == 0).astype(np.float32)
    return sparse.csr_array(full - np.eye(n, dtype=np.float32)), full


def low_rank(
    rank: int, noise: float = 0.0, n_users: int = 20, n_items: int = 40, observed: float = 0.6, seed: int = 0
) -> tuple[Any, Any]:
    """Observed cells (users, items, ratings) of a matrix of this rank, and the rest without noise."""
    rng = np.random.default_rng(seed)
    X, Y = rng.uniform(-1, 1, (n_users, rank)), rng.uniform(-1, 1, (n_items, rank))
    R = X @ Y.T
    train = rng.random(R.shape) < observed
    train[np.arange(n_items) % n_users, np.arange(n_items)] = True
    noisy = R + noise * rng.standard_normal(R.shape)
    return (*np.nonzero(train), noisy[train]), (*np.nonzero(~train), R[~train])


def rmse(model: Any, cells: Any) -> float:
    users, items, ratings = cells
    return float(np.sqrt(np.mean((model.predict(users, items) - ratings) ** 2)))


# ---------------------------------------------------------------------------------------------------------------------
# implicit: als_test.py, recommender_base_test.py


@SOLVERS
@DTYPES
def test_factorize(solver: Any, dtype: Any) -> None:
    """implicit, test_factorize: rank 6, no regularization, alpha 2: the product is the matrix to 1e-3."""
    rows = ["110100", "011100", "101000", "110000", "001101", "010001", "000011"]
    dense = np.array([[int(c) for c in row] for row in rows], np.float32)
    model = ImplicitALS(factors=6, regularization=0, alpha=2.0, solver=solver, dtype=dtype, random_state=23)
    model.fit(sparse.csr_array(dense))
    np.testing.assert_allclose(model.user_factors_ @ model.item_factors_.T, dense, atol=1e-3)


@BOTH
@SOLVERS
@DTYPES
@pytest.mark.parametrize("factors", [3, 40])
def test_awkward_matrices_give_no_nan(model: Any, factors: int, solver: Any, dtype: Any) -> None:
    """implicit, cg_nan (#19), cg_nan2 (#106), small_nan (#377): equal rows, huge values, rank > users."""
    matrices = [
        np.ones((4, 4)),
        np.eye(5),
        np.array([[1e6, 0, 1e-6], [0, 1e-6, 1e6]]),
        np.array([[1.0]]),
        np.array([[1, 1, 1, 1], [0, 0, 0, 0], [0, 0, 0, 1], [1, 1, 1, 1]]),
    ]
    for dense in matrices:
        fitted = model(factors=factors, regularization=0.01, solver=solver, dtype=dtype, iterations=15, random_state=0)
        fitted.fit(sparse.csr_array(dense))
        assert np.isfinite(fitted.user_factors_).all()
        assert np.isfinite(fitted.item_factors_).all()
        assert np.isfinite(fitted.loss_history_).all()


@pytest.mark.parametrize("regularization", [0.0, 1.0])
def test_loss_of_the_implicit_preset(regularization: float) -> None:
    """implicit, calculate_loss_simple: its loss times its denominator, computed cell by cell."""
    matrix, _ = checkerboard(9)
    matrix.data[:] = np.random.default_rng(0).integers(1, 6, matrix.nnz)
    model = ImplicitALS.from_preset(
        "implicit", factors=3, regularization=regularization, alpha=2.0, iterations=2, dtype="float64", random_state=0
    ).fit(matrix)
    X, Y, r = model.user_factors_, model.item_factors_, matrix.toarray()
    confidence, preference = np.where(r > 0, 2.0 * r, 1), r > 0
    loss = np.sum(confidence * (preference - X @ Y.T) ** 2) + regularization * (np.sum(X**2) + np.sum(Y**2))
    assert model.loss_history_[-1] == pytest.approx(loss, rel=1e-10)


@DTYPES
@pytest.mark.parametrize("nonnegative", [False, True])
def test_the_withheld_item_comes_first(dtype: Any, nonnegative: bool) -> None:
    """implicit, RecommenderBaseTestMixin: checkerboard(50), precision at 1 is 1."""
    matrix, _ = checkerboard(50)
    model = ImplicitALS(
        factors=2, regularization=0, alpha=2.0, nonnegative=nonnegative, dtype=dtype, random_state=23
    ).fit(matrix)
    np.testing.assert_array_equal(model.recommend(np.arange(50), n=1).items[:, 0], np.arange(50))
    folded = model.fold_in(matrix)
    np.testing.assert_allclose(folded @ model.item_factors_.T, model.user_factors_ @ model.item_factors_.T, atol=1e-2)


# ---------------------------------------------------------------------------------------------------------------------
# Spark: ALSSuite (ml and mllib)


@SOLVERS
@pytest.mark.parametrize(("lam", "expected"), [(0.0, [-8.333333, 6.0]), (1.5, [-0.1155556, 3.28])])
def test_cholesky_solver(lam: float, expected: list[float], solver: Any) -> None:
    """Spark, CholeskySolver: one least-squares row, with and without lambda."""
    items = np.array([[1.0, 2], [1, 3], [1, 4]])
    model = ExplicitALS(factors=2, regularization=lam, biases=False, solver=solver, dtype="float64", iterations=0)
    model.fit(sparse.csr_array(np.ones((1, 3))), initial_factors=(np.ones((1, 2)), items))
    np.testing.assert_allclose(model.fold_in(sparse.csr_array([[4.0, 9, 16]])), [expected], rtol=1e-6)


@pytest.mark.parametrize("rank", [1, 2])
def test_exact_rank_one(rank: int) -> None:
    """Spark, "exact rank-1 matrix": held-out RMSE below .001."""
    train, test = low_rank(1)
    model = ExplicitALS.from_preset("spark", factors=rank, iterations=10, regularization=1e-5, random_state=0)
    assert rmse(model.fit(train), test) < 0.001


@pytest.mark.parametrize(
    ("true_rank", "factors", "regularization", "bound"),
    [(1, 1, 0.01, 0.02), (1, 2, 0.01, 0.02), (2, 2, 0.01, 0.03), (2, 3, 0.01, 0.03)],
)
def test_approximate_low_rank(true_rank: int, factors: int, regularization: float, bound: float) -> None:
    """Spark, "approximate rank-1 matrix" and "approximate rank-2 matrix": noise .01."""
    train, test = low_rank(true_rank, noise=0.01)
    model = ExplicitALS.from_preset(
        "spark", factors=factors, iterations=20, regularization=regularization, random_state=0
    )
    assert rmse(model.fit(train), test) < bound


@pytest.mark.parametrize("nonnegative", [False, True])
@pytest.mark.parametrize("rank", [1, 2])
def test_low_rank_preferences(rank: int, nonnegative: bool) -> None:
    """Spark, "implicit feedback": preferences of low rank, RMSE weighted by confidence below .4."""
    rng = np.random.default_rng(0)
    X, Y = rng.uniform(0, 1, (100, rank)), rng.uniform(0, 1, (200, rank))
    R = X @ Y.T
    stored = rng.random(R.shape) < 0.7
    signed = np.where(np.median(R) < R, 5 * R, -R)
    cells = (*np.nonzero(stored), signed[stored])
    model = ImplicitALS.from_preset(
        "spark", factors=rank, iterations=15, regularization=0.01, nonnegative=nonnegative, random_state=0
    ).fit(cells)
    scores = np.clip(model.predict(*cells[:2]), 0, 1)
    confidence = 1 + np.abs(cells[2])
    error = np.sqrt(np.sum(confidence * ((cells[2] > 0) - scores) ** 2) / np.sum(confidence))
    assert error < 0.4


def test_negative_feedback_is_not_absence() -> None:
    """Spark, "implicit feedback regression": r = -3 and r = 0 give different factors."""
    cells = [0, 0, 1, 1, 2], [0, 1, 1, 2, 0]
    model = ImplicitALS.from_preset("spark", factors=2, random_state=0)
    no = model.fit((*cells, [1.0, -3, 1, 1, 1])).item_factors_.copy()
    nothing = model.fit((*cells, [1.0, 0, 1, 1, 1])).item_factors_
    assert np.abs(no - nothing).max() > 1e-3


@BOTH
def test_nonnegative_for_fifty_iterations(model: Any) -> None:
    """Spark, "nonnegative constraint"; rsparse, solver "nnls"."""
    train, _ = low_rank(2, noise=0.01)
    fitted = model.from_preset("spark", factors=8, nonnegative=True, iterations=50, random_state=0).fit(train)
    assert (fitted.user_factors_ >= 0).all()
    assert (fitted.item_factors_ >= 0).all()


@BOTH
def test_seeds(model: Any) -> None:
    """Spark's older suite: the same seed gives the same factors, another one others. buffalo: 0 is a seed."""
    train, _ = low_rank(2)
    same, again, other = (model(factors=3, random_state=seed).fit(train).item_factors_ for seed in (0, 0, 1))
    np.testing.assert_array_equal(same, again)
    assert not np.array_equal(same, other)


def test_a_user_with_nothing_positive_has_zeros() -> None:
    """As Spark and implicit; cmfrec gives entries of 1e4, irspack an error or NaN, lenskit a panic."""
    for preset in (None, "spark", "implicit", "cmfrec", "irspack", "lenskit", "buffalo"):
        model = ImplicitALS(preset=preset, factors=3, dtype="float64", random_state=0)
        model.fit(([0, 0, 1, 1, 2], [0, 1, 0, 2, 1], [3.0, 1, -2, -1, 2]))
        assert not model.user_factors_[1].any()
        assert model.user_factors_[[0, 2]].any(axis=1).all()


def test_without_values_all_are_one() -> None:
    """Spark's source means `ratingCol=""` so, and fails."""
    users, items = [0, 0, 1], [0, 1, 1]
    model = ExplicitALS(factors=2, random_state=0)
    ones = model.fit((users, items, [1.0, 1, 1])).item_factors_.copy()
    np.testing.assert_array_equal(model.fit((users, items)).item_factors_, ones)


# ---------------------------------------------------------------------------------------------------------------------
# irspack: test_ials.py


@SOLVERS
def test_a_small_matrix_is_learnt_by_heart(solver: Any) -> None:
    """irspack, test_ials_overfit_*: many unobserved cells' weight, the binary matrix comes back to 1e-2."""
    dense = np.array([[1, 1, 2, 3, 4], [0, 1, 0, 1, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0]], np.float32)
    model = ImplicitALS.from_preset(
        "irspack-original",
        factors=4,
        unobserved_weight=100.0,
        regularization=1e-3,
        regularization_scaling="constant",
        iterations=100,
        solver=solver,
        random_state=42,
    ).fit(sparse.csr_array(dense))
    np.testing.assert_allclose(model.user_factors_ @ model.item_factors_.T, dense > 0, atol=1e-2)
    np.testing.assert_allclose(model.fold_in(sparse.csr_array(dense)) @ model.item_factors_.T, dense > 0, atol=1e-2)
    with pytest.raises(fastals.DataError, match="5 items"):
        model.fold_in(sparse.csr_array(dense[:, :4]))


@pytest.mark.parametrize("preset", [None, "irspack", "irspack-original"])
def test_an_empty_history_gives_zeros_even_without_unobserved_weight(preset: Any) -> None:
    """irspack refuses it as not unique for alpha0 = 0; minimum norm is zero."""
    matrix, _ = checkerboard(6)
    model = ImplicitALS(factors=3, preset=preset, unobserved_weight=0.0, random_state=0).fit(matrix)
    assert not model.fold_in(sparse.csr_array((1, 6), dtype=np.float32)).any()


# ---------------------------------------------------------------------------------------------------------------------
# lenskit: test_als_explicit.py, test_als_implicit.py


def test_lenskit_basics() -> None:
    """lenskit: shapes, predictions within the range of the ratings, mean and damped biases, unknown: NaN."""
    users, items, ratings = [10, 10, 12, 13], [1, 2, 1, 3], [4.0, 5, 3, 2]
    model = ExplicitALS.from_preset("lenskit", factors=20, iterations=10, random_state=0).fit((users, items, ratings))
    assert model.user_factors_.shape == model.item_factors_.shape == (3, 20)
    assert model.global_mean_ == pytest.approx(np.mean(ratings), rel=1e-6)
    # item 1: (0.5 - 0.5) / (2 + 5), item 2: 1.5 / (1 + 5), item 3: -1.5 / (1 + 5)
    np.testing.assert_allclose(model.item_biases_, [0, 0.25, -0.25], atol=1e-6)
    predicted = model.predict([10, 10, 12, 13], [1, 3, 2, 2])
    assert ((predicted >= -0.1) & (predicted <= 5.1)).all()
    assert np.isnan(model.predict(10, 99))
    assert np.isnan(model.predict(99, 1))
    folded = model.fold_in(([0, 0], [1, 2], [4.0, 5.0]))
    np.testing.assert_allclose(folded[0, :20], model.user_factors_[0], rtol=0.09, atol=0.02)


# ---------------------------------------------------------------------------------------------------------------------
# rsparse: test-wrmf.R


@BOTH
@pytest.mark.parametrize("solver", ["cholesky", "cg", "nonnegative"])
@pytest.mark.parametrize("regularization", [0, 0.1, 1000])
@pytest.mark.parametrize("biases", [False, True])
@DTYPES
def test_every_combination_fits_and_folds_in(
    model: Any, solver: str, regularization: float, biases: bool, dtype: Any
) -> None:
    """rsparse: solver x feedback x lambda {0, .1, 1000} x biases x precision: shapes; transform equals training."""
    if biases and model is ImplicitALS:
        return
    train, _ = low_rank(2, n_users=25, n_items=18)
    train = (*train[:2], np.abs(train[2]) + 0.5)
    parameters: dict[str, Any] = {"biases": biases} if model is ExplicitALS else {}
    parameters |= {"nonnegative": True} if solver == "nonnegative" else {"solver": solver}
    fitted = model(
        factors=4, regularization=regularization, dtype=dtype, iterations=6, random_state=0, **parameters
    ).fit(train)
    assert fitted.user_factors_.shape == (25, 4)
    assert fitted.item_factors_.shape == (18, 4)
    assert fitted.item_factors_.dtype == dtype
    assert np.isfinite(fitted.predict(*train[:2])).all()
    if solver == "nonnegative":
        assert (fitted.item_factors_ >= 0).all()
    if solver != "cg" and regularization:
        trained = fitted.item_factors_
        trained = np.column_stack((trained, fitted.item_biases_)) if biases else trained
        folded = fitted.fold_in_items(train)
        limit = (1e-3 if dtype == "float32" else 1e-8) * max(1e-30, np.abs(trained).max())
        assert np.abs(folded - trained).max() <= limit


# ---------------------------------------------------------------------------------------------------------------------
# bugs


@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("pointer", [np.int32, np.int64])
def test_any_index_types(index: Any, pointer: Any) -> None:
    """implicit: int64 indptr with int32 indices is a "Buffer dtype mismatch"."""
    matrix, _ = checkerboard(6)
    expected = ImplicitALS(factors=2, random_state=0).fit(matrix).item_factors_
    matrix.indices, matrix.indptr = matrix.indices.astype(index), matrix.indptr.astype(pointer)
    np.testing.assert_array_equal(ImplicitALS(factors=2, random_state=0).fit(matrix).item_factors_, expected)


@BOTH
def test_one_policy_for_repeats_in_any_dtype(model: Any) -> None:
    """implicit counts repeated cells of a float32 matrix twice, and adds up those of a float64 one."""
    indptr, indices, data = np.array([0, 3, 4]), np.array([0, 0, 1, 1]), np.array([1.0, 2, 3, 4])
    fits = []
    for dtype in (np.float32, np.float64, np.int32):
        matrix = sparse.csr_array((data.astype(dtype), indices, indptr), shape=(2, 2))
        fits.append(model(factors=2, random_state=0).fit(matrix).item_factors_)
    merged = sparse.csr_array([[3.0 if model is ImplicitALS else 2.0, 3], [0, 4]])
    fits.append(model(factors=2, random_state=0).fit(merged).item_factors_)
    for other in fits[1:]:
        np.testing.assert_array_equal(fits[0], other)


@SOLVERS
def test_every_solver_has_the_same_optimum(solver: Any) -> None:
    """cmfrec: its conjugate gradients end elsewhere than its own Cholesky."""
    matrix, _ = checkerboard(12)
    options: Any = {"factors": 5, "regularization": 0.5, "iterations": 300, "tol": None, "dtype": "float64"}
    model = ImplicitALS(**options, solver=solver, random_state=0).fit(matrix)
    exact = ImplicitALS(**options, solver="cholesky", random_state=0)
    assert model.loss_history_[-1] == pytest.approx(exact.fit(matrix).loss_history_[-1], rel=1e-6)
    np.testing.assert_allclose(model.fold_in_items(matrix), model.item_factors_, atol=1e-5)


def test_a_regularization_far_too_large_gives_next_to_nothing() -> None:
    """implicit "recommends" from factors of 1e-15 and says nothing; here the objective tells that nothing is learnt."""
    matrix, full = checkerboard(10)
    model = ImplicitALS(factors=3, regularization=1e6, random_state=0).fit(matrix)
    nothing = 2.0 * matrix.nnz  # confidence 2 of each stored cell
    assert model.loss_history_[-1] == pytest.approx(nothing, rel=1e-3)
    assert np.abs(reference.float64(model.user_factors_) @ model.item_factors_.T).max() < 1e-3 * full.max()

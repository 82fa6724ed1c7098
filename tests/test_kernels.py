"""Every kernel against its slow twin: the full product of instruction set, dtype and number of factors.

Rows of all kinds are in every half-sweep: empty, one cell, short, as long as k, beyond a block of the gather. The
twins are float64 NumPy (`reference.py`); the kernels are reached through `_kernels` alone.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest
import reference
from threadpoolctl import threadpool_limits

from fastals import _kernels

DTYPES = [np.float32, np.float64]
FACTORS = [1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 50, 64, 100, 128, 200, 256]

# Residual of a solved row: max|A x - rhs| / (|A|_inf max|x| + max|rhs|).
RESIDUAL = {np.float32: 1e-5, np.float64: 1e-12}
# Error of a sum of products, relative to the sum of their absolute values.
ROUNDING = {np.float32: 1e-5, np.float64: 1e-14}

# (a0, a1, b0, b1, positive_only): a = a0 + a1 |r|, b = b0 + b1 r, or 0 where only r > 0 counts
EXPLICIT = (1.0, 0.0, 0.0, 1.0, 0)
IMPLICIT = (0.0, 2.0, 1.0, 2.0, 0)
SPARK = (0.0, 2.0, 1.0, 2.0, 1)
SIGNED = (-1.0, 0.5, 0.0, 0.5, 1)  # a is negative below r = 2 and zero there: no square root of it

# Weights, w0 and lambda of the half-sweeps.
PROBLEMS = {
    "explicit": (EXPLICIT, 0.0, 0.1),
    "implicit": (IMPLICIT, 1.0, 0.1),
    "tiny lambda": (EXPLICIT, 0.0, 1e-4),
    "signed": (SIGNED, 1.0, 0.1),
}


@pytest.fixture(scope="module", autouse=True)
def _serial_blas() -> Iterator[None]:
    """LAPACK inside the parallel loop must not start threads of its own; nor need the twins' small products."""
    with threadpool_limits(1, user_api="blas"):
        yield


@pytest.fixture(params=_kernels.available_isas())
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    before = _kernels.active_isa()
    assert _kernels.use_isa(request.param)
    yield request.param
    _kernels.use_isa(before)


@pytest.fixture(params=DTYPES, ids=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(params=FACTORS, ids=lambda k: f"k{k}")
def k(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def padded_copy(Y: Any) -> Any:
    """Y with padded rows, made without the kernels."""
    Y = np.asarray(Y)
    out = _kernels.aligned_empty((len(Y), _kernels.padded(Y.dtype, Y.shape[1])), Y.dtype)
    out[:] = 0
    out[:, : Y.shape[1]] = Y
    return out


class Problem(NamedTuple):
    """A half-sweep's input, and the system of each row in float64, before any rotation and rounding."""

    Z: Any
    base: Any
    Q: Any
    QT: Any
    weights: tuple[float, float, float, float, int]
    indptr: Any
    indices: Any
    values: Any
    lam: Any
    systems: list[tuple[Any, Any]]

    @property
    def n_rows(self) -> int:
        return len(self.lam)

    @property
    def lengths(self) -> Any:
        return np.diff(self.indptr)


def make_problem(Y: Any, rows: list[Any], values: Any, lam: Any, weights: Any, w0: float = 0.0) -> Problem:
    """The half-sweep of these rows (their item indices) with Y (n_other, k) fixed; w0 > 0 rotates it."""
    dtype, k = Y.dtype, Y.shape[1]
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    indices = np.concatenate(rows).astype(np.int32)
    Z, base, Q, QT, G = padded_copy(Y), np.zeros(k, dtype), None, None, np.zeros((k, k))
    if w0:
        G = w0 * reference.gram(Y)
        exact, eigenvalues = reference.rotation(Y, w0)
        Z, base = padded_copy((reference.float64(Y) @ exact).astype(dtype)), eigenvalues.astype(dtype)
        Q, QT = padded_copy(exact.astype(dtype)), padded_copy(exact.T.astype(dtype))
    lam = np.broadcast_to(np.asarray(lam, dtype), len(rows)).copy()
    a, b = reference.cell_weights(values, weights)
    systems = [
        reference.row_system(G, Y[indices[i:j]], a[i:j], b[i:j], row_lam)
        for i, j, row_lam in zip(indptr[:-1], indptr[1:], lam, strict=True)
    ]
    return Problem(Z, base, Q, QT, weights, indptr, indices, np.asarray(values, dtype), lam, systems)


@cache
def problem(name: str, dtype: Any, k: int) -> Problem:
    """Rows of every kind, in arbitrary order."""
    weights, w0, lam = PROBLEMS[name]
    rng = np.random.default_rng(k)
    n_other = 350
    Y = (rng.standard_normal((n_other, k)) / np.sqrt(k)).astype(dtype)
    lengths = [0, 1, 2, k // 2, k - 1, k, k + 1, 2 * k + 3] * 2 + [n_other, 0, 3, 1, 5]
    rows = [np.sort(rng.choice(n_other, min(n, n_other), replace=False)) for n in rng.permutation(lengths)]
    if w0 == 0:  # the same cell twice, as duplicates="keep" leaves it, and more cells than any block of the gather
        rows = [np.repeat(row, 2) if len(row) == n_other else row for row in rows]
    values = rng.integers(1, 6, sum(len(row) for row in rows))
    return make_problem(Y, rows, values, lam * rng.uniform(0.5, 2, len(rows)), weights, w0)


def sweep(p: Problem, solver: str, short_limit: int, num_threads: int = 1) -> tuple[Any, Any, float]:
    """X, status and decrease; the rows in an arbitrary order, in tasks of uneven sizes."""
    rng = np.random.default_rng(1)
    order = rng.permutation(p.n_rows).astype(np.int32)
    tasks = [0]
    while tasks[-1] < p.n_rows:
        tasks.append(min(p.n_rows, tasks[-1] + int(rng.integers(1, _kernels.TASK_ROWS + 1))))
    X = np.full((p.n_rows, len(p.base)), np.nan, p.Z.dtype)
    status = np.full(p.n_rows, -99, np.int32)
    decrease = _kernels.half_sweep(
        solver, p.Z, p.base, p.weights, short_limit, 0, 2, order, np.array(tasks, np.int64), 0, p.indptr, p.indices,
        p.values, p.lam, p.Q, p.QT, False, X, status, num_threads,
    )  # fmt: skip
    return X, status, decrease


def check_solved(p: Problem, X: Any) -> None:
    residuals = [reference.residual(*system, x) for system, x in zip(p.systems, X, strict=True)]
    worst = int(np.argmax(residuals))
    assert residuals[worst] <= RESIDUAL[X.dtype.type], f"row {worst} of {p.lengths[worst]} cells"
    assert not X[p.lengths == 0].any()


# ---------------------------------------------------------------------------------------------------------------------
# products over a side


@pytest.mark.usefixtures("isa")
def test_gram(dtype: Any, k: int) -> None:
    for n in (0, 1, 127, 129, 4500 if k <= 64 else 300):
        Y = np.random.default_rng(n).standard_normal((n, k)).astype(dtype)
        G = _kernels.gram(Y, 1)
        assert G.dtype == np.float64
        assert np.all(np.abs(G - reference.gram(Y)) <= ROUNDING[dtype] * reference.gram(np.abs(Y))), n
        assert np.array_equal(G, G.T)
        for num_threads in (1, 2, 4):
            assert np.array_equal(G, _kernels.gram(Y, num_threads))


@pytest.mark.usefixtures("isa")
def test_rotate(dtype: Any, k: int) -> None:
    for n in (0, 1, 5, 255, 257):
        rng = np.random.default_rng(n)
        Y, Q = rng.standard_normal((n, k)).astype(dtype), rng.standard_normal((k, k)).astype(dtype)
        Z = _kernels.rotate(Y, padded_copy(Q), 1)
        assert Z.shape == (n, _kernels.padded(dtype, k))
        assert n == 0 or Z.ctypes.data % 64 == 0
        assert not Z[:, k:].any()
        error = np.abs(Z[:, :k] - reference.float64(Y) @ reference.float64(Q))
        assert np.all(error <= ROUNDING[dtype] * (np.abs(reference.float64(Y)) @ np.abs(reference.float64(Q)))), n
        for num_threads in (1, 2, 4):
            assert np.array_equal(Z, _kernels.rotate(Y, padded_copy(Q), num_threads))
        assert np.array_equal(_kernels.rotate(Y, None, 2), padded_copy(Y))


@pytest.mark.usefixtures("isa")
def test_padded_and_short_limit(dtype: Any, k: int) -> None:
    ld = _kernels.padded(dtype, k)
    assert ld >= k
    assert ld * np.dtype(dtype).itemsize % 64 == 0
    assert 0 <= _kernels.short_limit(dtype, k) <= ld


# ---------------------------------------------------------------------------------------------------------------------
# one row


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("weights", [EXPLICIT, IMPLICIT, SPARK, SIGNED], ids=["explicit", "implicit", "spark", "signed"])
def test_row_system(dtype: Any, k: int, weights: Any) -> None:
    for n in (0, 1, 2, k, 70, 700):
        rng = np.random.default_rng(n)
        Y = rng.standard_normal((90, k)).astype(dtype)
        idx = np.sort(rng.integers(0, 90, n)).astype(np.int32)
        # zero and negative values too: they take each kind of weights down the general path
        val = rng.integers(-4, 6, n).astype(dtype)
        base = rng.uniform(0, 3, k).astype(dtype)
        A, rhs = _kernels.row_system(padded_copy(Y), base, weights, idx, val, 0.5)
        a, b = reference.cell_weights(val, weights)
        exact = reference.row_system(np.diag(base), Y[idx], a, b, 0.5)
        scale = reference.row_system(np.diag(base), np.abs(Y[idx]), np.abs(a), np.abs(b), 0.5)
        assert np.all(np.abs(A - exact[0]) <= ROUNDING[dtype] * scale[0]), n
        assert np.all(np.abs(rhs - exact[1]) <= ROUNDING[dtype] * scale[1]), n


@pytest.mark.usefixtures("isa")
def test_posv(dtype: Any, k: int) -> None:
    rng = np.random.default_rng(k)
    for condition in (1.0, 1e3):
        Q, _ = np.linalg.qr(rng.standard_normal((k, k)))
        A = ((Q * np.geomspace(1, 1 / condition, k)) @ Q.T).astype(dtype)
        A = np.ascontiguousarray((A + A.T) / 2)
        rhs = rng.standard_normal(k).astype(dtype)
        x, status = _kernels.posv(A, rhs)
        assert status == 0
        assert reference.residual(A, rhs, x) <= RESIDUAL[dtype] / 10
        exact = np.linalg.solve(reference.float64(A), reference.float64(rhs))
        assert np.linalg.norm(x - exact) <= 100 * condition * np.finfo(dtype).eps * np.linalg.norm(exact)


@pytest.mark.usefixtures("isa")
def test_posv_names_the_bad_pivot(dtype: Any, k: int) -> None:
    """1 + the first pivot that is not safely positive."""
    rng = np.random.default_rng(k)
    L = np.tril(rng.integers(-1, 2, (k, k)), -1) + np.eye(k)  # integers: no rounding blurs a zero pivot
    for pivot in {0, k // 2, k - 1}:
        for value in (-1, 0):
            d = np.ones(k)
            d[pivot] = value
            A = np.ascontiguousarray((L * d) @ L.T, dtype)
            assert _kernels.posv(A, np.ones(k, dtype))[1] == 1 + pivot
        A = np.eye(k, dtype=dtype)
        A[pivot, pivot] = np.nan
        assert _kernels.posv(A, np.ones(k, dtype))[1] == 1 + pivot


# ---------------------------------------------------------------------------------------------------------------------
# half-sweeps


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("form", ["k x k", "n x n", "auto"])
@pytest.mark.parametrize("name", PROBLEMS)
def test_cholesky(dtype: Any, k: int, name: str, form: str) -> None:
    p = problem(name, dtype, k)
    short_limit = {"k x k": 0, "n x n": k, "auto": _kernels.short_limit(dtype, k)}[form]
    X, status, decrease = sweep(p, "cholesky", short_limit)
    assert not status.any()
    check_solved(p, X)

    # x'rhs at the solution is how far the objective lies below that of x = 0
    drop = sum(2 * x @ rhs - x @ A @ x for x, (A, rhs) in zip(reference.float64(X), p.systems, strict=True))
    assert decrease == pytest.approx(drop, rel=1e-5 if dtype == np.float32 else 1e-12)

    for num_threads in (1, 2, 4):
        again, _, same_decrease = sweep(p, "cholesky", short_limit, num_threads)
        assert np.array_equal(X, again)
        assert decrease == same_decrease


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("solver", ["lapack", "rescue"])
@pytest.mark.parametrize("name", PROBLEMS)
def test_lapack_and_rescue(dtype: Any, k: int, name: str, solver: str) -> None:
    p = problem(name, dtype, k)
    X, status, decrease = sweep(p, solver, 0)
    assert not status.any()
    check_solved(p, X)
    again, _, same_decrease = sweep(p, solver, 0, num_threads=2)
    assert np.array_equal(X, again)
    assert decrease == same_decrease

"""Every kernel against its slow twin: the full product of instruction set, dtype and number of factors.

Rows of all kinds are in every half-sweep: empty, one cell, short, as long as k, beyond a block of the gather. The
twins are float64 NumPy (`reference.py`); the kernels are reached through `fastals._core` alone.
"""

import math
from collections.abc import Iterator
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pytest
import reference
from half_sweeps import (
    EXPLICIT,
    IMPLICIT,
    PROBLEMS,
    RESIDUAL,
    ROUNDING,
    SIGNED,
    SPARK,
    Problem,
    biased_problem,
    check_solved,
    drop,
    make_problem,
    nonnegative_problem,
    padded_copy,
    problem,
    sweep,
)

from fastals._core import kernels

pytestmark = pytest.mark.usefixtures("serial_blas")
PART = kernels.PART_ROWS
LENGTHS = (0, 1, 5, PART - 1, PART, PART + 1, 2 * PART + 3)
"""Numbers of rows on both sides of where a part of a sum ends."""
CELL_WEIGHTS = [EXPLICIT, IMPLICIT, SPARK, SIGNED]


@cache
def numbers() -> Any:
    return np.random.default_rng(0).standard_normal(1_100_000)


def long_side(n: int, k: int, dtype: Any) -> Any:
    """(n, k) numbers; of many rows of many factors, the same ones again."""
    same = numbers()
    same = same[: n * k].reshape(n, k) if n * k <= len(same) else np.resize(same, (n, k))
    return np.ascontiguousarray(same, dtype)


def long_rows(n: int, n_other: int, dtype: Any, weighted: bool) -> tuple[Any, Any, Any, Any]:
    """indptr, indices, values of both signs and zero, and scale or None, of n rows, every third of them empty."""
    rng = np.random.default_rng(n)
    indptr = np.concatenate([[0], np.cumsum(rng.integers(1, 4, n) * (np.arange(n) % 3 > 0))]).astype(np.int64)
    cells = int(indptr[-1])
    values = rng.integers(-2, 6, cells).astype(dtype)
    scale = (rng.uniform(0.1, 3, cells) * (rng.random(cells) < 0.9)).astype(dtype) if weighted else None
    return indptr, rng.integers(0, n_other, cells).astype(np.int32), values, scale


def parts_of(rows: Any) -> list[Any]:
    """Rows cut where parts of a sum end."""
    return [rows[first : first + PART] for first in range(0, len(rows), PART)]


def cut(indptr: Any, indices: Any, values: Any, scale: Any) -> Iterator[tuple[Any, Any, Any, Any]]:
    """Cells cut where parts of a sum of their rows end; each part owns its memory."""
    for first in range(0, len(indptr) - 1, PART):
        part = indptr[first : first + PART + 1]
        i, j = part[0], part[-1]
        yield part - i, *(None if cells is None else cells[i:j].copy() for cells in (indices, values, scale))


def in_order(parts: list[float]) -> float:
    """Added from the first to the last; the built-in sum is more exact than that since Python 3.12."""
    total = 0.0
    for part in parts:
        total += part
    return total


# ---------------------------------------------------------------------------------------------------------------------
# products over a side


@pytest.mark.usefixtures("isa")
def test_gram(dtype: Any, k: int) -> None:
    for n in (0, 1, 127, 129, 4500 if k <= 64 else 300):
        Y = np.random.default_rng(n).standard_normal((n, k)).astype(dtype)
        G = kernels.gram(Y, 1)
        assert G.dtype == np.float64
        assert np.all(np.abs(G - reference.gram(Y)) <= ROUNDING[dtype] * reference.gram(np.abs(Y))), n
        assert np.array_equal(G, G.T)
        for num_threads in (1, 2, 4):
            assert np.array_equal(G, kernels.gram(Y, num_threads))


@pytest.mark.usefixtures("isa")
def test_rotate(dtype: Any, k: int) -> None:
    for n in (0, 1, 5, 255, 257):
        rng = np.random.default_rng(n)
        Y, Q = rng.standard_normal((n, k)).astype(dtype), rng.standard_normal((k, k)).astype(dtype)
        Z = kernels.rotate(Y, padded_copy(Q), 1)
        assert Z.shape == (n, kernels.padded(dtype, k))
        assert n == 0 or Z.ctypes.data % 64 == 0
        assert not Z[:, k:].any()
        error = np.abs(Z[:, :k] - reference.float64(Y) @ reference.float64(Q))
        assert np.all(error <= ROUNDING[dtype] * (np.abs(reference.float64(Y)) @ np.abs(reference.float64(Q)))), n
        for num_threads in (1, 2, 4):
            assert np.array_equal(Z, kernels.rotate(Y, padded_copy(Q), num_threads))
        assert np.array_equal(kernels.rotate(Y, None, 2), padded_copy(Y))


@pytest.mark.usefixtures("isa")
def test_turn(dtype: Any, k: int) -> None:
    """What a row becomes depends on it alone: any block of rows, any number of threads, in place or not."""
    C = (long_side(k, k, np.float64) / np.sqrt(k)).astype(dtype)
    for n in (0, 1, 256, 257, 600):
        X = long_side(n, k, dtype)
        kept, out = X.copy(), np.full_like(X, np.nan)
        kernels.turn(X, padded_copy(C), out, 1)
        assert np.array_equal(X, kept)
        error = np.abs(out - reference.float64(X) @ reference.float64(C))
        assert np.all(error <= ROUNDING[dtype] * (np.abs(reference.float64(X)) @ np.abs(reference.float64(C)))), n
        for num_threads in (1, 2, 7):
            again = X.copy()
            kernels.turn(again, padded_copy(C), again, num_threads)
            assert np.array_equal(out, again)
        for size in (1, 7, 256):
            again = np.full_like(X, np.nan)
            for first in range(0, min(n, 20 * size), size):
                kernels.turn(X[first : first + size], padded_copy(C), again[first : first + size], 1)
            assert np.array_equal(out[: 20 * size], again[: 20 * size])


@pytest.mark.usefixtures("isa")
def test_gram_is_the_sum_of_its_parts(dtype: Any, k: int) -> None:
    """Whole parts added in order, whatever n: whoever holds the rows comes to the same bits."""
    sizes = (
        (PART - 1, PART, PART + 1, 2 * PART + 77, 3 * PART)
        if k <= 17
        else (PART, 2 * PART + 3)
        if k <= 64
        else (PART + 1,)
    )
    for n in sizes:
        Y = long_side(n, k, dtype)
        G = kernels.gram(Y, 1)
        assert np.array_equal(G, sum(kernels.gram(part, 1) for part in parts_of(Y))), n
        for num_threads in (2, 7):
            assert np.array_equal(G, kernels.gram(Y, num_threads)), n


@pytest.mark.usefixtures("isa")
def test_gram_of_more_parts_than_are_summed_at_once(dtype: Any) -> None:
    for n in (64 * PART, 65 * PART + 5, 130 * PART + 1):
        Y = long_side(n, 2, dtype)
        G = kernels.gram(Y, 1)
        assert np.all(np.abs(G - reference.gram(Y)) <= ROUNDING[dtype] * reference.gram(np.abs(Y))), n
        assert np.array_equal(G, sum(kernels.gram(part, 1) for part in parts_of(Y))), n
        for num_threads in (2, 7):
            assert np.array_equal(G, kernels.gram(Y, num_threads)), n


def test_sum_rows() -> None:
    for n in (*LENGTHS, 70 * PART + 1):
        # numbers of very different sizes: any other order gives other bits
        values = long_side(n, 1, np.float64)[:, 0] * np.exp(5 * long_side(n, 2, np.float64)[:, 1])
        total = kernels.sum_rows(values)
        assert abs(total - math.fsum(values)) <= 1e-12 * math.fsum(np.abs(values)), n
        assert total == in_order([kernels.sum_rows(part) for part in parts_of(values)]), n
        assert total == in_order([in_order(part.tolist()) for part in parts_of(values)]), n


def test_penalty(dtype: Any, k: int) -> None:
    for n, ridged in product(LENGTHS if k <= 17 else (0, PART + 1), {k, k - 1, 0}):
        X, lam = long_side(n, k, dtype), np.abs(long_side(n, 1, dtype)[:, 0])
        total = kernels.penalty(X, lam, ridged, 0.7, 1)
        squares = reference.float64(X) ** 2
        exact = float(reference.float64(lam) @ squares[:, :ridged].sum(axis=1) + 0.7 * squares[:, ridged:].sum())
        assert total == pytest.approx(exact, rel=1e-12), n
        whole = [kernels.penalty(*both, ridged, 0.7, 1) for both in zip(parts_of(X), parts_of(lam), strict=True)]
        assert total == in_order(whole), n
        for num_threads in (2, 7):
            assert total == kernels.penalty(X, lam, ridged, 0.7, num_threads), n
        own = long_side(n, k, dtype)[::-1].copy(), lam[::-1].copy(), np.sqrt(lam)
        total = kernels.penalty(X, lam, ridged, 0.7, 1, *own)
        away = (reference.float64(X) - reference.float64(own[0])) ** 2
        exact += float(reference.float64(own[1]) @ away[:, :ridged].sum(axis=1))
        exact += float(reference.float64(own[2]) @ away[:, ridged:].sum(axis=1))
        assert total == pytest.approx(exact, rel=1e-12), n
        for num_threads in (2, 7):
            assert total == kernels.penalty(X, lam, ridged, 0.7, num_threads, *own), n


@pytest.mark.parametrize("weights", CELL_WEIGHTS)
@pytest.mark.parametrize("unobserved", [0.0, 0.5, 1.0])
def test_constant(dtype: Any, weights: Any, unobserved: float) -> None:
    for n, weighted in product(LENGTHS, (False, True)):
        indptr, _, values, scale = long_rows(n, 10, dtype, weighted)
        a, b = reference.cell_weights(values, weights, scale)
        # a cell of no weight at all adds nothing
        terms = np.divide(b * b, unobserved + a, out=np.zeros_like(b), where=unobserved + a > 0)
        total = kernels.constant(weights, unobserved, indptr, values, scale, 1)
        assert total == pytest.approx(float(terms.sum()), rel=1e-12), n
        parts = [kernels.constant(weights, unobserved, p, v, s, 1) for p, _, v, s in cut(indptr, None, values, scale)]
        assert total == in_order(parts), n
        for num_threads in (2, 7):
            assert total == kernels.constant(weights, unobserved, indptr, values, scale, num_threads), n
        # pairs that have shares of w0
        indices, rng = long_rows(n, 10, dtype, weighted)[1], np.random.default_rng(n)
        own, others = rng.uniform(0, 2, n).astype(dtype), rng.uniform(0, 2, 10).astype(dtype)
        w0 = unobserved * reference.float64(own)[np.repeat(np.arange(n), np.diff(indptr))]
        for share, each in ((others, w0 * reference.float64(others)[indices]), (None, w0)):
            terms = np.divide(b * b, each + a, out=np.zeros_like(b), where=each + a > 0)
            rest = indices, own, share
            told = kernels.constant(weights, unobserved, indptr, values, scale, 2, None, *rest)
            assert told == pytest.approx(float(terms.sum()), rel=1e-12), n


@pytest.mark.usefixtures("isa")
def test_decrease_of_cells(dtype: Any, k: int) -> None:
    n_other = 40
    Y = long_side(n_other, k, dtype)
    Z = padded_copy(Y)
    lengths = LENGTHS if k <= 17 else (0, 1, PART + 1)
    for at, n in enumerate(lengths):
        X = long_side(n, k, dtype)
        weights, weighted = CELL_WEIGHTS[at % len(CELL_WEIGHTS)], bool(at % 2)
        indptr, indices, values, scale = long_rows(n, n_other, dtype, weighted)
        total = kernels.decrease_of_cells(X, Z, weights, indptr, indices, values, scale, 1)
        a, b = reference.cell_weights(values, weights, scale)
        users = np.repeat(np.arange(n), np.diff(indptr))
        scores = np.einsum("ij,ij->i", reference.float64(X)[users], reference.float64(Y)[indices])
        size = float(np.sum(np.abs(2 * b * scores) + np.abs(a) * scores**2))
        assert abs(total - np.sum(2 * b * scores - a * scores**2)) <= 1e-12 * size, n
        parts = [
            kernels.decrease_of_cells(part, Z, weights, *cells, 1)
            for part, cells in zip(parts_of(X), cut(indptr, indices, values, scale), strict=True)
        ]
        assert total == in_order(parts), n
        for num_threads in (2, 7):
            assert total == kernels.decrease_of_cells(X, Z, weights, indptr, indices, values, scale, num_threads), n


@pytest.mark.usefixtures("isa")
def test_decrease_of_cells_of_every_kind_of_weights(dtype: Any) -> None:
    for k, weights, weighted in product((1, 8, 33), CELL_WEIGHTS, (False, True)):
        X, Y = long_side(300, k, dtype), long_side(40, k, dtype)
        indptr, indices, values, scale = long_rows(300, 40, dtype, weighted)
        a, b = reference.cell_weights(values, weights, scale)
        users = np.repeat(np.arange(300), np.diff(indptr))
        scores = np.einsum("ij,ij->i", reference.float64(X)[users], reference.float64(Y)[indices])
        size = float(np.sum(np.abs(2 * b * scores) + np.abs(a) * scores**2))
        total = kernels.decrease_of_cells(X, padded_copy(Y), weights, indptr, indices, values, scale, 3)
        assert abs(total - np.sum(2 * b * scores - a * scores**2)) <= 1e-12 * size


@pytest.mark.usefixtures("isa")
def test_padded_and_short_limit(dtype: Any, k: int) -> None:
    ld = kernels.padded(dtype, k)
    assert ld >= k
    assert ld * np.dtype(dtype).itemsize % 64 == 0
    assert 0 <= kernels.short_limit(dtype, k) <= ld


# ---------------------------------------------------------------------------------------------------------------------
# one row


@pytest.mark.usefixtures("isa")
def test_row_system(dtype: Any, k: int) -> None:
    for weights, n in product((EXPLICIT, IMPLICIT, SPARK, SIGNED), (0, 1, k, 70, 700)):
        rng = np.random.default_rng(n)
        Y = rng.standard_normal((90, k)).astype(dtype)
        idx = np.sort(rng.integers(0, 90, n)).astype(np.int32)
        # zero and negative values too: they take each kind of weights down the general path
        val = rng.integers(-4, 6, n).astype(dtype)
        base = rng.uniform(0, 3, k).astype(dtype)
        scale = rng.uniform(0, 2, n).astype(dtype) if n % 2 else None
        A, rhs = kernels.row_system(padded_copy(Y), base, weights, idx, val, scale, 0.5)
        a, b = reference.cell_weights(val, weights, scale)
        exact = reference.row_system(np.diag(base), Y[idx], a, b, 0.5)
        bound = reference.row_system(np.diag(base), np.abs(Y[idx]), np.abs(a), np.abs(b), 0.5)
        assert np.all(np.abs(A - exact[0]) <= ROUNDING[dtype] * bound[0]), (weights, n)
        assert np.all(np.abs(rhs - exact[1]) <= ROUNDING[dtype] * bound[1]), (weights, n)


@pytest.mark.usefixtures("isa")
def test_posv(dtype: Any, k: int) -> None:
    rng = np.random.default_rng(k)
    for condition in (1.0, 1e3):
        Q, _ = np.linalg.qr(rng.standard_normal((k, k)))
        A = ((Q * np.geomspace(1, 1 / condition, k)) @ Q.T).astype(dtype)
        A = np.ascontiguousarray((A + A.T) / 2)
        rhs = rng.standard_normal(k).astype(dtype)
        x, status = kernels.posv(A, rhs)
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
            assert kernels.posv(A, np.ones(k, dtype))[1] == 1 + pivot
        A = np.eye(k, dtype=dtype)
        A[pivot, pivot] = np.nan
        assert kernels.posv(A, np.ones(k, dtype))[1] == 1 + pivot


# ---------------------------------------------------------------------------------------------------------------------
# half-sweeps


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("name", PROBLEMS)
def test_cholesky(dtype: Any, k: int, name: str) -> None:
    p = problem(name, dtype, k)
    for short_limit in (0, k, kernels.short_limit(dtype, k)):
        X, status, decrease = sweep(p, "cholesky", short_limit)
        assert not status.any()
        check_solved(p, X)
        assert decrease == pytest.approx(drop(p, X), rel=1e-5 if dtype == np.float32 else 1e-12)
        for num_threads in (1, 2, 4):
            again, _, same_decrease = sweep(p, "cholesky", short_limit, num_threads=num_threads)
            assert np.array_equal(X, again)
            assert decrease == same_decrease


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("name", ["explicit", "implicit", "signed", "weighted"])
def test_lapack_and_rescue(dtype: Any, k: int, name: str) -> None:
    p = problem(name, dtype, k)
    for solver in ("lapack", "rescue"):
        X, status, decrease = sweep(p, solver, 0)
        assert not status.any()
        check_solved(p, X)
        assert decrease == pytest.approx(drop(p, X), rel=1e-5 if dtype == np.float32 else 1e-12)
        again, _, same_decrease = sweep(p, solver, 0, num_threads=2)
        assert np.array_equal(X, again)
        assert decrease == same_decrease


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("lam", [1e-1, 1e-2, 1e-3, 1e-4])
def test_short_rows_of_near_duplicates(dtype: Any, lam: float) -> None:
    """Cells that contradict each other: the n x n form alone would leave residuals of 3e-4 in float32."""
    k, rng = 64, np.random.default_rng(0)
    for distance in (1e-1, 1e-2, 1e-3, 1e-5, 0):
        Y = np.repeat(rng.standard_normal((100, k)) / np.sqrt(k), 2, axis=0)
        Y = (Y * (1 + distance * rng.standard_normal(Y.shape))).astype(dtype)
        for n in (1, 4, 16):
            pairs = [np.sort(rng.choice(100, n, replace=False)) for _ in range(20)]
            rows = [np.sort(np.concatenate([2 * pair, 2 * pair + 1])) for pair in pairs]
            p = make_problem(Y, rows, rng.integers(1, 6, 40 * n), lam, EXPLICIT)
            X, status, _ = sweep(p, "cholesky", k)
            assert not status.any()
            check_solved(p, X)


@pytest.mark.usefixtures("isa")
def test_a_singular_row_is_a_status_and_then_of_minimum_norm(dtype: Any, k: int) -> None:
    """lambda = 0 and fewer cells than factors, or dependent ones."""
    rng = np.random.default_rng(k)
    Y = rng.standard_normal((60, k)).astype(dtype)
    Y[30:] = Y[:30]
    cells = [0, 1, k // 8 + 1, k // 4 + 1, 20]
    rows = [np.sort(rng.choice(30, min(n, k // 2, 30), replace=False)) for n in cells]
    rows = [np.sort(np.concatenate([row, row + 30])) for row in rows]
    p = make_problem(Y, rows, rng.integers(1, 6, sum(len(row) for row in rows)), 0.0, EXPLICIT)
    for solver in ("cholesky", "lapack", "cg"):
        X, status, _ = sweep(p, solver, k, cg_above=10**6)
        assert np.array_equal(status != 0, p.lengths > 0), solver
        assert not X.any()

    X, status, decrease = sweep(p, "rescue", 0)
    assert not status.any()
    check_solved(p, X)
    for x, system in zip(X, p.systems, strict=True):
        exact = reference.solve(*system)
        assert np.abs(x - exact).max() <= 100 * np.finfo(dtype).eps * np.abs(exact).max()
    assert decrease == pytest.approx(drop(p, X), rel=1e-5 if dtype == np.float32 else 1e-12)


@pytest.mark.usefixtures("isa")
def test_an_indefinite_row_is_a_status(dtype: Any, k: int) -> None:
    """Cells that weigh less than nothing: there is no minimum, and nobody must return a saddle point."""
    rng = np.random.default_rng(k)
    Y = rng.standard_normal((60, k)).astype(dtype)
    rows = [np.sort(rng.choice(60, n, replace=False)) for n in (1, 2, 5, 20)]
    p = make_problem(Y, rows, rng.integers(1, 6, 28), 0.5, (-8.0, 0.0, 0.0, 1.0, 0))
    for solver in ("cholesky", "lapack", "cg", "rescue"):
        X, status, _ = sweep(p, solver, k)
        assert status.all(), solver
        assert not X.any()


@pytest.mark.usefixtures("isa")
def test_factors_that_are_not_finite_are_a_status(dtype: Any, capfd: pytest.CaptureFixture[str]) -> None:
    for value in (np.nan, np.inf):
        Y = np.ones((10, 9), dtype)
        p = make_problem(Y, [np.arange(4)], np.ones(4), 0.1, EXPLICIT)
        p.Z[0, 0] = value
        for solver in ("cholesky", "lapack", "cg", "rescue"):
            X, status, _ = sweep(p, solver, 9)
            assert status.all(), solver
            assert not X.any()
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("name", ["explicit", "implicit", "signed", "weighted"])
def test_cg(dtype: Any, k: int, name: str) -> None:
    """Few steps: conjugate gradients lose their directions to rounding, and the twin then takes others."""
    p = problem(name, dtype, k)
    start = (np.random.default_rng(k).standard_normal((p.n_rows, k)) / np.sqrt(k)).astype(dtype)
    Q = np.eye(k) if p.Q is None else reference.float64(p.Q[:, :k])
    for groups, steps in product((False, True), (1, 3)):
        X, status, decrease = sweep(p, "cg", 0, start=start, cg_steps=steps, groups=groups)
        assert not status.any()
        for u in np.flatnonzero(p.lengths):
            A, rhs = p.systems[u]
            exact = Q @ reference.conjugate_gradients(Q.T @ A @ Q, Q.T @ rhs, Q.T @ start[u], steps)
            # a long step back from the start leaves the rounding of the start
            error = np.abs(X[u] - exact).max() / max(np.abs(exact).max(), np.abs(start[u]).max())
            assert error <= (1e-4 if dtype == np.float32 else 1e-11), f"row of {p.lengths[u]} cells, {steps} steps"
        assert decrease == pytest.approx(drop(p, X), rel=1e-4 if dtype == np.float32 else 1e-11)
        for num_threads in (2, 4):
            again = sweep(p, "cg", 0, start=start, cg_steps=steps, groups=groups, num_threads=num_threads)
            assert np.array_equal(X, again[0])
            assert decrease == again[2]
        beyond, _, same_decrease = sweep(p, "cg", 0, start=start, cg_steps=steps, groups=groups, relaxation=0.75)
        np.testing.assert_allclose(beyond, X + dtype(0.75) * (X - start), rtol=1e-6, atol=1e-6)
        assert decrease == same_decrease


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("factors", [1, 17, 40])
def test_very_long_rows_are_summed_in_the_same_parts_by_everybody(dtype: Any, factors: int) -> None:
    """By one thread, shared out to several, as one row among others and alone; a cell more than two parts, and less."""
    rng, n_other, part = np.random.default_rng(factors), 500, kernels.PART_CELLS
    Y = (rng.standard_normal((n_other, factors)) / np.sqrt(factors)).astype(dtype)
    rows = [np.sort(rng.integers(0, n_other, n)) for n in (5, 2 * part + 1, part, 2 * part - 1, 40)]
    values = rng.integers(1, 6, sum(len(row) for row in rows))
    p = make_problem(Y, rows, values, 0.5 * np.ones(len(rows)), EXPLICIT)
    X, status, decrease = sweep(p, "cholesky", 0)
    assert not status.any()
    for system, x in zip(p.systems, X, strict=True):  # sums of so many numbers of float32 round more than a solver does
        assert reference.residual(*system, x) <= (1e-4 if dtype == np.float32 else 1e-12)
    assert decrease == pytest.approx(drop(p, X), rel=1e-4 if dtype == np.float32 else 1e-11)
    for split in ([1], [1, 3], [1, 2, 3]):
        for num_threads in (1, 2, 3, 7):
            again = sweep(p, "cholesky", 0, split=split, num_threads=num_threads)
            assert np.array_equal(X, again[0])
            assert decrease == again[2]


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("factors", [32, 128])
def test_cg_rows_are_the_same_alone_and_in_groups_of_every_size(dtype: Any, factors: int) -> None:
    """Of rows that walk through blocks of the other side, and of rows that do not, side by side."""
    block, rng = kernels.cg_block(dtype, factors), np.random.default_rng(factors)
    n_other = 2 * block + 57
    Y = (rng.standard_normal((n_other, factors)) / np.sqrt(factors)).astype(dtype)
    lengths = [n_other, block + 1, block + 200, 70, 3, block, n_other - 1, 2 * block]
    rows = [np.sort(rng.choice(n_other, n, replace=False)) for n in lengths]
    values = rng.integers(1, 6, sum(lengths))
    weights, _, _ = PROBLEMS["implicit"]
    base = rng.uniform(0.5, 20, factors).astype(dtype)
    indptr = np.cumsum([0, *lengths])
    indices, order = np.concatenate(rows).astype(np.int32), np.arange(len(rows), dtype=np.int32)
    start = rng.standard_normal((len(rows), factors)).astype(dtype)
    outcomes = []
    for tasks, groups in (
        ([0, 8], 0), ([0, 1, 2, 3, 4, 5, 6, 7, 8], 0), ([0, 8], 1), ([0, 1, 2, 3, 4, 5, 6, 7, 8], 8), ([0, 3, 8], 2),
        ([0, 2, 8], 1), ([0, 7, 8], 1),
    ):  # fmt: skip
        for num_threads in (1, 3):
            X, decrease, status = start.copy(), np.zeros(8), np.zeros(8, np.int32)
            kernels.half_sweep(
                "cg", kernels.rotate(Y, None, 1), base, factors, weights, 0, 0, 3, order, np.array(tasks), groups,
                np.empty(0, np.int32), indptr, indices, values.astype(dtype), None, np.ones(8, dtype), None, None, 0,
                None, None, X, 0.5, X, decrease, status, num_threads,
            )  # fmt: skip
            outcomes.append((X, decrease))
    for X, decrease in outcomes[1:]:
        assert np.array_equal(X, outcomes[0][0])
        assert np.array_equal(decrease, outcomes[0][1])


@pytest.mark.usefixtures("isa")
def test_cg_solves_short_rows_exactly(dtype: Any, k: int) -> None:
    p = problem("explicit", dtype, k)
    start = np.ones((p.n_rows, k), dtype)
    X, _, _ = sweep(p, "cg", k, start=start, cg_above=k)
    exact, _, _ = sweep(p, "cholesky", k)
    assert np.array_equal(X[p.lengths <= k], exact[p.lengths <= k])


# ---------------------------------------------------------------------------------------------------------------------
# nonnegative rows


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("name", ["explicit", "implicit", "tiny lambda"])
def test_nnls(dtype: Any, k: int, name: str) -> None:
    """Against SciPy's active set method on the Cholesky factor; cold, from anywhere, and from the solution."""
    p, common = nonnegative_problem(name, dtype, k)
    limit = 1e-5 if dtype == np.float32 else 1e-10
    solution = np.zeros((p.n_rows, k), dtype)
    anywhere = np.random.default_rng(1).standard_normal((p.n_rows, k)).astype(dtype)
    for start in (solution, anywhere, None):
        for bounded in (k, k - 1):
            begin = solution if start is None else start
            X, status, decrease = sweep(p, "nnls", 0, start=begin, common=common, bounded=bounded)
            if status.any():  # singular to working precision, and float64 mends it
                again, mended, _ = sweep(p, "rescue nnls", 0, common=common, bounded=bounded)
                assert dtype == np.float32
                assert name == "tiny lambda"
                assert not mended.any()
                X[status != 0] = again[status != 0]
            else:
                assert decrease == pytest.approx(drop(p, X), rel=1e-4 if dtype == np.float32 else 1e-11)
            for system, x, n in zip(p.systems, X, p.lengths, strict=True):
                assert reference.kkt_residual(*system, x, bounded) <= limit, f"row of {n} cells"
                if bounded == k and k <= 33 and name != "tiny lambda":
                    exact = reference.solve_nonnegative(*system)
                    assert np.abs(x - exact).max() <= (2e-3 if dtype == np.float32 else 1e-9) * max(1, exact.max())
            assert not X[p.lengths == 0].any()
            for num_threads in (2, 4):
                threaded = sweep(p, "nnls", 0, start=begin, common=common, bounded=bounded, num_threads=num_threads)
                assert np.array_equal(threaded[0], X) or status.any()
        solution = X


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize(("own", "weighted"), [(3.0, False), (0.1, True)])
def test_a_bias_has_a_lambda_of_its_own(dtype: Any, k: int, own: float, weighted: bool) -> None:
    p = biased_problem(dtype, k, EXPLICIT, own, weighted, False)
    for solver, short_limit in (
        ("cholesky", kernels.short_limit(dtype, k)),
        ("cholesky", 0),
        ("lapack", 0),
        ("rescue", 0),
    ):
        X, status, decrease = sweep(p, solver, short_limit, ridged=k - 1)
        assert not status.any()
        check_solved(p, X)
        assert decrease == pytest.approx(drop(p, X), rel=1e-5 if dtype == np.float32 else 1e-12)
    again = sweep(p, "cholesky", 0, ridged=k - 1, num_threads=2)
    assert np.array_equal(sweep(p, "cholesky", 0, ridged=k - 1)[0], again[0])
    start = (np.random.default_rng(k).standard_normal((p.n_rows, k)) / np.sqrt(k)).astype(dtype)
    for solver in ("nnls", "rescue nnls"):
        X, status, _ = sweep(p, solver, 0, start=start, bounded=k - 1, ridged=k - 1)
        assert not status.any()
        for system, x, n in zip(p.systems, X, p.lengths, strict=True):
            limit = 1e-5 if dtype == np.float32 else 1e-10
            assert reference.kkt_residual(*system, x, k - 1) <= limit, f"row of {n} cells"


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("turned", [False, True])
def test_cg_with_biases(dtype: Any, k: int, turned: bool) -> None:
    """The factors may be turned, the biases never are."""
    p = biased_problem(dtype, k, EXPLICIT, 3.0, turned, turned)
    start = (np.random.default_rng(k).standard_normal((p.n_rows, k)) / np.sqrt(k)).astype(dtype)
    Q = np.eye(k) if p.Q is None else reference.float64(p.Q[:, :k])
    for groups, steps in ((False, 1), (False, 3), (True, 3)):
        X, status, decrease = sweep(p, "cg", 0, start=start, cg_steps=steps, ridged=k - 1, groups=groups)
        assert not status.any()
        for u in np.flatnonzero(p.lengths):
            A, rhs = p.systems[u]
            exact = Q @ reference.conjugate_gradients(Q.T @ A @ Q, Q.T @ rhs, Q.T @ start[u], steps)
            error = np.abs(X[u] - exact).max() / max(np.abs(exact).max(), np.abs(start[u]).max())
            assert error <= (1e-4 if dtype == np.float32 else 1e-11), f"row of {p.lengths[u]} cells, {steps} steps"
        assert decrease == pytest.approx(drop(p, X), rel=1e-4 if dtype == np.float32 else 1e-11)


@pytest.mark.usefixtures("isa")
def test_rows_may_start_from_an_array_that_is_not_written(dtype: Any, k: int) -> None:
    """The same bits as in place, whatever the array that becomes X has held."""
    p = problem("implicit", dtype, k)
    q, common = nonnegative_problem("implicit", dtype, k)
    cases: list[tuple[Problem, str, dict[str, Any]]] = [
        (p, "cg", {"cg_steps": 2, "relaxation": 0.75}),
        (p, "cg", {"cg_steps": 2, "relaxation": 0.75, "groups": True}),
        (p, "cg", {"cg_steps": 3, "cg_above": 20}),
        (q, "nnls", {"common": common, "bounded": k}),
    ]
    for rows, solver, options in cases:
        start = (np.random.default_rng(k).standard_normal((rows.n_rows, k)) / np.sqrt(k)).astype(dtype)
        kept, here = start.copy(), start.copy()
        expected, _, decrease = sweep(rows, solver, 0, start=here, room=here, **options)
        assert expected is here
        for num_threads in (1, 3):
            for held in (np.nan, 7):
                room = np.full_like(start, held)
                X, _, same = sweep(rows, solver, 0, start=start, room=room, num_threads=num_threads, **options)
                assert X is room
                assert np.array_equal(start, kept)
                assert np.array_equal(X, expected)
                assert same == decrease


@pytest.mark.usefixtures("isa")
def test_singular_nonnegative_rows_have_an_answer(dtype: Any, k: int) -> None:
    """lambda = 0 and fewer cells than factors, and equal factors."""
    rng = np.random.default_rng(k)
    Y = np.abs(rng.standard_normal((40, k))).astype(dtype)
    Y[20:] = Y[:20]
    rows = [np.sort(rng.choice(40, n, replace=False)) for n in (1, 2, 5, 20)]
    p = make_problem(Y, rows, rng.integers(1, 6, 28), 0.0, EXPLICIT)
    X, status, _ = sweep(p, "rescue nnls", 0, bounded=k)
    assert not status.any()
    for system, x in zip(p.systems, X, strict=True):
        assert reference.kkt_residual(*system, x, k) <= (1e-5 if dtype == np.float32 else 1e-10)

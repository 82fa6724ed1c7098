"""Half-sweeps of the kernels beside the systems of their rows in float64: what the tests of kernels are made of.

Rows of all kinds are in each: empty, one cell, short, as long as k, beyond a block of the gather.
"""

from functools import cache
from typing import Any, NamedTuple

import numpy as np
import reference

from fastals._core import kernels

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
    "weighted": (SPARK, 1.0, 0.1),  # cells with weights of their own, some of them zero
}


def padded_copy(Y: Any) -> Any:
    """Y with padded rows, made without the kernels."""
    Y = np.asarray(Y)
    out = kernels.aligned_empty((len(Y), kernels.padded(Y.dtype, Y.shape[1])), Y.dtype)
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
    scale: Any
    lam: Any
    systems: list[tuple[Any, Any]]
    G: Any  # the common term

    @property
    def n_rows(self) -> int:
        return len(self.lam)

    @property
    def lengths(self) -> Any:
        return np.diff(self.indptr)


def make_problem(
    Y: Any, rows: list[Any], values: Any, lam: Any, weights: Any, w0: float = 0.0, scale: Any = None
) -> Problem:
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
    scale = None if scale is None else np.asarray(scale, dtype)
    a, b = reference.cell_weights(values, weights, scale)
    systems = [
        reference.row_system(G, Y[indices[i:j]], a[i:j], b[i:j], row_lam)
        for i, j, row_lam in zip(indptr[:-1], indptr[1:], lam, strict=True)
    ]
    return Problem(Z, base, Q, QT, weights, indptr, indices, np.asarray(values, dtype), scale, lam, systems, G)


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
    scale = None
    if name == "weighted":  # zeros too, but not in the first cell of a row: its solution would be zero
        firsts = np.concatenate([np.arange(len(row)) for row in rows]) == 0
        scale = rng.uniform(0.1, 3, len(values)) * (firsts | (rng.random(len(values)) < 0.9))
    return make_problem(Y, rows, values, lam * rng.uniform(0.5, 2, len(rows)), weights, w0, scale)


def wide_of(common: Any, k: int) -> Any:
    return None if common is None else np.ascontiguousarray(common[:, :k], np.float64)


def sweep(
    p: Problem,
    solver: str,
    short_limit: int,
    *,
    num_threads: int = 1,
    start: Any = None,
    cg_above: int = 0,
    cg_steps: int = 1,
    groups: bool = False,
    common: Any = None,
    bounded: int = 0,
    relaxation: float = 0.0,
    split: Any = (),
    ridged: int | None = None,
    room: Any = None,
    own: tuple[Any, ...] = (),
) -> tuple[Any, Any, float]:
    """X, status and decrease; the rows in an arbitrary order, in tasks of uneven sizes; ``room``: what becomes X.

    ``own``: each row's share of the common term, or None, and what it is drawn to: means, strength, that of biases.
    """
    rng = np.random.default_rng(1)
    order = rng.permutation(p.n_rows).astype(np.int32)
    order = order[~np.isin(order, split)]
    longest = kernels.cg_group(p.Z.dtype, len(p.base)) if groups else kernels.TASK_ROWS
    tasks = [0]
    while tasks[-1] < len(order):
        tasks.append(min(len(order), tasks[-1] + int(rng.integers(1, longest + 1))))
    X = room
    if X is None:
        X = np.full((p.n_rows, len(p.base)), np.nan, p.Z.dtype) if start is None else start.copy()
    status = np.full(p.n_rows, -99, np.int32)
    decrease = np.zeros(p.n_rows)
    ridged, wide = len(p.base) if ridged is None else ridged, wide_of(common, len(p.base))
    kernels.half_sweep(
        solver, p.Z, p.base, ridged, p.weights, short_limit, cg_above, cg_steps, order, np.array(tasks, np.int64),
        len(tasks) - 1 if groups else 0, np.array(split, np.int32), p.indptr, p.indices, p.values, p.scale, p.lam,
        common, wide, bounded, p.Q, p.QT, start, relaxation, X, decrease, status, num_threads, -1, None, *own,
    )  # fmt: skip
    return X, status, float(decrease.sum())


def drop(p: Problem, X: Any) -> float:
    """By how much the objective at X lies below that at zero."""
    return sum(float(2 * x @ rhs - x @ A @ x) for x, (A, rhs) in zip(reference.float64(X), p.systems, strict=True))


def check_solved(p: Problem, X: Any) -> None:
    residuals = [reference.residual(*system, x) for system, x in zip(p.systems, X, strict=True)]
    worst = int(np.argmax(residuals))
    assert residuals[worst] <= RESIDUAL[X.dtype.type], f"row {worst} of {p.lengths[worst]} cells"
    assert not X[p.lengths == 0].any()


def nonnegative_problem(name: str, dtype: Any, k: int) -> tuple[Problem, Any]:
    """A problem before any rotation, with the common term (k, padded) or None."""
    weights, w0, lam = PROBLEMS[name]
    rng = np.random.default_rng(k)
    n_other = 300
    # entries of both signs and of one: rows with many and with few coordinates at their bound
    Y = ((np.abs(rng.standard_normal((n_other, k))) - 0.3 * (k % 2)) / np.sqrt(k)).astype(dtype)
    lengths = [0, 1, 2, k // 2, k, k + 1, 2 * k + 3, n_other, 0, 3]
    rows = [np.sort(rng.choice(n_other, min(n, n_other), replace=False)) for n in lengths]
    values = rng.integers(-3, 6, sum(len(row) for row in rows))
    p = make_problem(Y, rows, values, lam * rng.uniform(0.5, 2, len(rows)), weights)
    if not w0:
        return p, None
    G = w0 * reference.gram(Y)
    systems = [(A + G, rhs) for A, rhs in p.systems]
    return p._replace(systems=systems, G=G), padded_copy(G.astype(dtype))


def biased_problem(dtype: Any, k: int, weights: Any, own: float, weighted: bool, turned: bool) -> Problem:
    """Rows whose last factor is a bias: a column of ones on the other side, and a lambda of its own in base."""
    rng, n_other = np.random.default_rng(k), 300
    Y = rng.standard_normal((n_other, k)) / np.sqrt(k)
    Y[:, -1] = 1
    lengths = [0, 1, 2, k // 2, k, k + 1, 2 * k + 3, n_other, 0, 3, 70]
    rows = [np.sort(rng.choice(n_other, min(n, n_other), replace=False)) for n in lengths]
    cells = sum(len(row) for row in rows)
    scale = rng.uniform(0.1, 3, cells) if weighted else None
    lam = 0.2 * rng.uniform(0.5, 2, len(rows))
    p = make_problem(Y.astype(dtype), rows, rng.integers(1, 6, cells), lam, weights, scale=scale)
    p.base[-1] = own
    for lam, (A, _) in zip(p.lam, p.systems, strict=True):
        A[-1, -1] += float(p.base[-1]) - float(lam)
    if not turned:
        return p
    Q = np.eye(k)
    Q[:-1, :-1] = np.linalg.qr(rng.standard_normal((k - 1, k - 1)))[0]
    Z = padded_copy((Y @ Q).astype(dtype))
    return p._replace(Z=Z, Q=padded_copy(Q.astype(dtype)), QT=padded_copy(Q.T.astype(dtype)))

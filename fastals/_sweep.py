"""Half-sweeps: one side's factors from the other's.

The row equation (DESIGN: every variant is this one system), for each row u with the other side's factors Y fixed::

    ( w0 Y'Y + sum_i a_i y_i y_i' + lambda_u I ) x_u = sum_i b_i y_i

The common term is diagonalised once, w0 Y'Y = Q diag(base) Q'; the kernels then solve in the basis z = Q'y, where it is
a diagonal for any lambda_u, and turn the solutions back.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import _kernels

FactorArray = NDArray[np.float32] | NDArray[np.float64]


@dataclass(frozen=True)
class CellWeights:
    """What a stored value r adds: a = a0 + a1 |r|; b = b0 + b1 r, but 0 where ``positive_only`` and r <= 0.

    Every cell, stored or not, weighs ``unobserved`` (w0) with target 0; a stored one w0 + a in all, with target b / (w0 + a).
    """

    unobserved: float
    a0: float
    a1: float
    b0: float
    b1: float
    positive_only: bool

    def constant(self, values: FactorArray) -> float:
        """The objective's part that no factor changes: sum of b^2 / (w0 + a) over the stored cells."""
        total = 0.0
        for chunk in np.array_split(values, len(values) // 1_000_000 + 1):
            r = chunk.astype(np.float64)
            a = self.unobserved + self.a0 + self.a1 * np.abs(r)
            b = self.b0 + self.b1 * r
            if self.positive_only:
                b[r <= 0] = 0
            total += float(np.sum(np.divide(b * b, a, out=np.zeros_like(a), where=a > 0)))
        return total


class Rows(NamedTuple):
    """One orientation of the stored cells, as the kernels read it."""

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    values: FactorArray

    def counts(self, positive_only: bool) -> NDArray[np.int64]:
        """Cells of each row; with ``positive_only``, those of positive value."""
        if not positive_only or self.values.min(initial=1) > 0:
            return np.diff(self.indptr)
        positive = np.concatenate(([0], np.cumsum(self.values > 0)))
        return np.diff(positive[self.indptr])


def schedule(indptr: NDArray[np.int64], rows: NDArray[np.integer] | None = None) -> tuple[Any, Any]:
    """The order in which rows are solved, and the tasks they are dealt out in.

    Rows that are long enough to hold up the end of a sweep come first, each a task of its own, longest first; the others
    follow as they stand, so that a thread walks through the cells in memory order. Tasks depend on the data alone.

    Returns
    -------
    order : int32 array
    tasks : int64 array
        Task t is ``order[tasks[t]:tasks[t + 1]]``.
    """
    lengths = np.diff(indptr) if rows is None else np.diff(indptr)[rows]
    mean = lengths.mean() if len(lengths) else 0
    heavy = lengths > max(1024, 16 * mean)
    first = np.flatnonzero(heavy)
    first = first[np.argsort(-lengths[first], kind="stable")]
    order = np.concatenate((first, np.flatnonzero(~heavy)))
    if rows is not None:
        order = rows[order]
    tasks = np.concatenate((np.arange(len(first)), np.arange(len(first), len(order), _kernels.TASK_ROWS), [len(order)]))
    return order.astype(np.int32), tasks.astype(np.int64)


class Basis:
    """The other side of a half-sweep, in the eigenbasis of its weighted Gram matrix w0 Y'Y.

    Parameters
    ----------
    factors : array of shape (n, k), C-contiguous
    unobserved : float
        w0; 0 leaves the factors as they are.
    """

    def __init__(self, factors: FactorArray, unobserved: float, num_threads: int) -> None:
        k, dtype = factors.shape[1], factors.dtype
        self.base = np.zeros(k, dtype)
        self.back: Any = None
        forth: Any = None
        if unobserved:
            eigenvalues, Q = np.linalg.eigh(unobserved * _kernels.gram(factors, num_threads))
            self.base[:] = np.maximum(eigenvalues, 0)
            forth, self.back = self._padded(Q, dtype), self._padded(Q.T, dtype)
        self.rows = _kernels.rotate(factors, forth, num_threads)

    @staticmethod
    def _padded(Q: NDArray[np.float64], dtype: np.dtype[Any]) -> FactorArray:
        k = len(Q)
        out: FactorArray = _kernels.aligned_empty((k, _kernels.padded(dtype, k)), dtype)
        out[:] = 0
        out[:, :k] = Q
        return out


def half_sweep(
    rows: Rows,
    basis: Basis,
    weights: CellWeights,
    lam: FactorArray,
    out: FactorArray,
    *,
    plan: tuple[Any, Any],
    solver: str,
    num_threads: int,
    short_limit: int | None = None,
) -> tuple[float, NDArray[np.intp]]:
    """Solve every row of ``plan`` into ``out``.

    Parameters
    ----------
    lam : array of shape (n_rows,)
        lambda_u of each row.
    out : array of shape (n_rows, k), C-contiguous
    plan : the order and tasks of :func:`schedule`
    solver : {"cholesky", "lapack"}

    Returns
    -------
    decrease : float
        sum of x'rhs: by so much the solved rows lower the objective, compared with zeros.
    rescued : array
        Rows whose matrix is singular to working precision; they hold the minimum-norm solution.
    """
    k = out.shape[1]
    limit = _kernels.short_limit(out.dtype, k) if short_limit is None else short_limit
    cells = (weights.a0, weights.a1, weights.b0, weights.b1, weights.positive_only)
    status = np.zeros(len(out), np.int32)
    rest = (*rows, lam, basis.back, out, status, num_threads)
    decrease = _kernels.half_sweep(solver, basis.rows, basis.base, cells, limit, *plan, *rest)
    rescued = np.flatnonzero(status)
    if len(rescued):
        plan = schedule(rows.indptr, rescued)
        decrease += _kernels.half_sweep("rescue", basis.rows, basis.base, cells, limit, *plan, *rest)
    return decrease, rescued

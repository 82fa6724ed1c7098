"""The weights of a linear item model, in closed form: B = I - P diag(1 / diag P), P = (X'X + lambda I)^-1.

H. Steck. Embarrassingly shallow autoencoders for sparse data. WWW 2019. With fewer users than items the inverse is that
of the smaller matrix, by Woodbury's identity: P = (I - H) / lambda with H = X' (X X' + lambda I)^-1 X, so B_ij = H_ij /
(1 - H_jj) for i != j. Which it is depends on the data's shape alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from .._core import FactorArray, NumericalError, kernels, single_threaded_blas, tables
from .._data import Compressed
from .._inspect import MemoryEstimate

CALL = 2e8
"""Additions of a thread in one call of a kernel, between which Ctrl-C is heard: tenths of a second."""

CELL, CHECKED_CELL = 8, 20
"""An index in either orientation; what weights are checked against."""

WORST = 0.01
"""The largest error of weights. Lists hardly feel it; a dtype that is too narrow gives far more."""


class Weights(NamedTuple):
    """What solves the equation, and how well.

    Attributes
    ----------
    matrix : array of shape (n_items, n_items)
        B, whose diagonal is zero.
    error : float
        How far the scores ``B z`` of a history z of -1 and 1 are from those of the solution, as a share of their norm:
        by one step of iterative refinement, ``P (diag(1 / diag P) - A (I - B)) z`` with A = X'X + lambda I, the
        residual in float64.
    """

    matrix: FactorArray
    error: float


def by_users(n_users: int, n_items: int) -> bool:
    """Whether the matrix to invert is that of users: by flops, and as long as it takes but little more memory."""
    return n_users <= 0.8 * n_items


def needed(shape: tuple[int, int], nnz: int, dtype: np.dtype[Any], num_threads: int) -> MemoryEstimate:
    """Add up what :func:`item_weights` allocates, and the cells that it is given."""
    (n_users, n_items), size = shape, dtype.itemsize
    cells = nnz * (CELL + 4 * size) + 8 * (n_users + n_items)
    weights, smaller = size * n_items**2, n_users if by_users(*shape) else 0
    work = size * smaller**2 + num_threads * max(8 * max(shape), size * kernels.TILE**2) + CHECKED_CELL * nnz
    return MemoryEstimate(cells, weights, work, cells + weights + work)


def usual_regularization(rows: Compressed, n_items: int) -> float:
    """Return what regularization="auto" stands for: the edge of noise.

    X'X of z independent cells of root mean square b, m users and n items, has no eigenvalue beyond about
    ``b^2 (sqrt(z/m) + sqrt(z/n))^2``.
    """
    z, values = len(rows[2]), rows[2].astype(np.float64)
    edge = np.sqrt(z / (len(rows[0]) - 1)) + np.sqrt(z / n_items)
    return float(np.mean(values**2) * edge**2)


def item_weights(rows: Compressed, columns: Compressed, regularization: float, num_threads: int) -> Weights:
    """Solve for B.

    Parameters
    ----------
    rows, columns : Compressed
        X by user and by item, in the dtype of the weights.
    regularization : float
        lambda, at least 0.

    Raises
    ------
    NumericalError
        X'X + lambda I is singular, or so nearly that the dtype cannot tell.
    """
    n_users, n_items = len(rows[0]) - 1, len(columns[0]) - 1
    B: FactorArray = kernels.aligned_empty((n_items, n_items), columns[2].dtype)
    if by_users(n_users, n_items):
        K: FactorArray = kernels.aligned_empty((n_users, n_users), columns[2].dtype)
        _invert(K, rows, columns, regularization, num_threads)
        _mirror(K, None, num_threads)
        cells = np.diff(columns[0])
        for first, last in _runs(cells * float(n_users) + np.cumsum(cells), num_threads):
            tables.hat_rows(columns, K, B, first, last, num_threads)
        del K
        left = 1 - B.diagonal().astype(np.float64)  # lambda P_jj
        over = regularization / left if (left > 0).all() else -left
        scale = 1 / left
    else:
        _invert(B, columns, rows, regularization, num_threads)
        over = 1 / B.diagonal().astype(np.float64)
        scale = -over
    if not (over > 0).all():
        raise _failure("the inverse has diagonal elements that are not positive", regularization, B.dtype)
    _mirror(B, scale, num_threads)
    error = _error(B, rows, regularization, over)
    if not error <= WORST:
        raise _failure(f"scores are off by {error:.1%}", regularization, B.dtype)
    return Weights(B, error)


def _invert(A: FactorArray, lines: Compressed, others: Compressed, regularization: float, num_threads: int) -> None:
    """Make of A the inverse of X X' + lambda I, X being the lines."""
    products = np.append(0.0, np.cumsum(np.diff(others[0])[lines[1]], dtype=np.float64))[lines[0]]
    for first, last in _runs(np.diff(products) + np.arange(len(A)), num_threads):
        tables.gram_rows(lines, others, A, regularization, first, last, num_threads)
    kernels.bind_blas()
    with single_threaded_blas():
        pivot = kernels.invert(A, num_threads)
    if pivot:
        raise _failure("a pivot is not positive", regularization, A.dtype)


def _mirror(A: FactorArray, scale: NDArray[np.float64] | None, num_threads: int) -> None:
    for first, last in _runs(4.0 * np.arange(1, len(A) + 1), num_threads):
        tables.mirror(A, scale, first, last, num_threads)


def _runs(costs: NDArray[Any], num_threads: int) -> Iterator[tuple[int, int]]:
    """Cut rows into runs of about the same cost, for one call each."""
    ends = np.cumsum(costs)
    cuts = np.searchsorted(ends, np.arange(1, ends[-1] / (CALL * num_threads)) * CALL * num_threads)
    return pairwise(np.unique(np.concatenate(([0], cuts, [len(costs)]))).tolist())


def _error(B: FactorArray, rows: Compressed, regularization: float, over: NDArray[np.float64]) -> float:
    """See :class:`Weights`; in an order that no number of threads changes. A (I - B) = diag(over)."""
    n = len(B)
    X: Any = sparse.csr_array((rows[2].astype(np.float64), rows[1], rows[0]), shape=(len(rows[0]) - 1, n))
    z = np.random.default_rng(0).choice([-1.0, 1.0], n)
    z[np.bincount(rows[1], minlength=n) == 0] = 0
    scores = _times(B, z)
    miss = z * over - X.T @ (X @ (z - scores)) - regularization * (z - scores)
    step = miss / over
    step -= _times(B, step)
    # lambda beyond all data leaves next to no scores, beside which the rounding of a diagonal is large
    size, error = max(np.linalg.norm(scores), np.linalg.norm(z) / 1000), np.linalg.norm(step)
    return float(error / size) if error else 0.0


def _times(B: FactorArray, z: NDArray[np.float64]) -> NDArray[np.float64]:
    """B z, its sums in B's dtype but for those of runs of columns."""
    total = np.zeros(len(B))
    with single_threaded_blas():
        for first in range(0, len(B), 1024):
            total += B[:, first : first + 1024] @ z[first : first + 1024].astype(B.dtype)
    return total


def _failure(what: str, regularization: float, dtype: np.dtype[Any]) -> NumericalError:
    wider = "" if dtype == np.float64 else ", or dtype='float64'"
    return NumericalError(
        f"regularization={regularization:g} is too little for these data in {dtype}, since {what}: "
        f"take more of it{wider}"
    )

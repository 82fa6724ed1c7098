"""The slow twins: every formula of fastals once more, in float64 NumPy, row by row, to be read and believed.

A row of a half-sweep, with the other side's factors Y (n_other, k) fixed:

    ( w0 p Y'Y + sum_j a_j y_j y_j' + (lambda + mu) I ) x = sum_j b_j y_j + mu m          j over the row's stored cells

p is the row's share of the common term, 1 unless rows have weights; m a mean that it is drawn to, mu how strongly.

Nothing here imports fastals: what is tested must not be its own judge. Matrices come as CSR parts (indptr, indices and
one array per weight), rows are what is solved. A Gram matrix G stands for Y'Y; where the caller has rotated, it is
`numpy.diag(base)` and w0 is 1.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

Floats = NDArray[np.float64]


class Cells(NamedTuple):
    """One orientation of a sparse matrix whose cells hold the two weights of the row equation."""

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    a: Floats
    b: Floats

    @property
    def n_rows(self) -> int:
        return len(self.indptr) - 1

    def rows(self) -> Iterator[tuple[NDArray[np.int32], Floats, Floats]]:
        """Indices, a and b of each row."""
        for first, last in zip(self.indptr[:-1], self.indptr[1:], strict=True):
            yield self.indices[first:last], self.a[first:last], self.b[first:last]

    def transpose(self, n_columns: int) -> "Cells":
        """Columns become rows; cells of one column keep their order."""
        rows = np.repeat(np.arange(self.n_rows, dtype=np.int32), np.diff(self.indptr))
        order = np.argsort(self.indices, kind="stable")
        indptr = np.concatenate([[0], np.cumsum(np.bincount(self.indices, minlength=n_columns))])
        return Cells(indptr.astype(np.int64), rows[order], self.a[order], self.b[order])


def float64(array: object) -> Floats:
    return np.asarray(array, dtype=np.float64)


def gram(Y: object) -> Floats:
    return float64(Y).T @ float64(Y)


def rotation(Y: object, w0: float) -> tuple[Floats, Floats]:
    """Q and base with w0 Y'Y = Q diag(base) Q'."""
    base, Q = np.linalg.eigh(w0 * gram(Y))
    return Q, base


# ---------------------------------------------------------------------------------------------------------------------
# one row


def cell_weights(
    values: object, weights: tuple[float, float, float, float, int], scale: object = None
) -> tuple[Floats, Floats]:
    """The a and b of stored values under (a0, a1, b0, b1, positive_only), times the cells' own weights."""
    a0, a1, b0, b1, positive_only = weights
    r, s = float64(values), 1.0 if scale is None else float64(scale)
    b = b0 + b1 * r
    return s * (a0 + a1 * np.abs(r)), s * (np.where(r > 0, b, 0) if positive_only else b)


def row_system(
    G: object, Y: object, a: object, b: object, lam: float, share: float = 1.0, prior: tuple[object, object] = (0, 0)
) -> tuple[Floats, Floats]:
    """A (k, k) and rhs (k,) of one row: G = w0 Y'Y of all rows, Y (n, k) those of the stored cells.

    ``prior``: the mean that it is drawn to, and its strength, a number or one for each coordinate.
    """
    Y, a, b = float64(Y), float64(a), float64(b)
    mean, mu = np.broadcast_to(float64(prior[0]), Y.shape[1]), np.broadcast_to(float64(prior[1]), Y.shape[1])
    A = share * float64(G) + (Y.T * a) @ Y + np.diag(lam + mu)
    return A, Y.T @ b + mu * mean


def solve(A: Floats, rhs: Floats) -> Floats:
    """x of A x = rhs; of a singular A the one of minimum norm that comes nearest."""
    if np.linalg.matrix_rank(A, hermitian=True) == len(A):
        return np.linalg.solve(A, rhs)
    return np.linalg.lstsq(A, rhs)[0]


def conjugate_gradients(A: Floats, rhs: Floats, x: object, steps: int) -> Floats:
    """So many steps from x, preconditioned by the diagonal of A (Hestenes & Stiefel 1952)."""
    x, M = float64(x), np.diag(A)
    r = rhs - A @ x
    p = r / M
    for _ in range(steps):
        rho = r @ (r / M)
        if rho == 0:
            break
        alpha = rho / (p @ A @ p)
        x, r = x + alpha * p, r - alpha * (A @ p)
        p = r / M + (r @ (r / M)) / rho * p
    return x


def residual(A: object, rhs: object, x: object) -> float:
    """max|A x - rhs| / (|A|_inf max|x| + max|rhs|): 0 for the exact solution, 0 for the empty row's zeros."""
    A, rhs, x = float64(A), float64(rhs), float64(x)
    scale = np.abs(A).sum(axis=1).max() * np.abs(x).max() + np.abs(rhs).max()
    return float(np.abs(A @ x - rhs).max() / scale) if scale else 0.0


def solve_nonnegative(A: Floats, rhs: Floats) -> Floats:
    """The least x'Ax / 2 - rhs'x over x >= 0, as |L'x - L^-1 rhs|, A = LL', by Lawson & Hanson's active set method."""
    L = np.linalg.cholesky(A)
    return nnls(L.T, np.linalg.solve(L, rhs), maxiter=100 * len(A))[0]


def kkt_residual(A: object, rhs: object, x: object, bounded: int) -> float:
    """How far x is from the least x'Ax / 2 - rhs'x over x_c >= 0, c < bounded; scaled as `residual`.

    With g = A x - rhs: x >= 0, g >= 0, and g = 0 where x > 0 or is free.
    """
    A, rhs, x = float64(A), float64(rhs), float64(x)
    g = A @ x - rhs
    wrong = np.where(x > 0, np.abs(g), np.maximum(-g, 0))
    wrong[bounded:] = np.abs(g[bounded:])
    scale = np.abs(A).sum(axis=1).max() * np.abs(x).max() + np.abs(rhs).max()
    assert (x[:bounded] >= 0).all()
    return float(wrong.max() / scale) if scale else 0.0


# ---------------------------------------------------------------------------------------------------------------------
# half-sweeps and whole fits


def row_regularization(cells: Cells, n_other: int, regularization: float, scaling: str | float, w0: float) -> Floats:
    """lambda of each row: constant, by its count (ALS-WR) or by (count + w0 |other side|)^nu."""
    counts = np.diff(cells.indptr).astype(np.float64)
    if scaling == "constant":
        return np.full(cells.n_rows, regularization)
    if scaling == "count":
        return regularization * counts
    return regularization * (counts + w0 * n_other) ** float(scaling)


def half_sweep(cells: Cells, Y: object, w0: float, lam: object) -> Floats:
    """The rows' factors X (n_rows, k), each the solution of its own system."""
    Y = float64(Y)
    G = w0 * gram(Y)
    X = np.zeros((cells.n_rows, Y.shape[1]))
    for u, (idx, a, b) in enumerate(cells.rows()):
        X[u] = solve(*row_system(G, Y[idx], a, b, float64(lam)[u]))
    return X


def objective(cells: Cells, X: object, Y: object, w0: float, lam_rows: object, lam_columns: object) -> float:
    """The loss that both half-sweeps lower: stored cells, all cells, regularization.

    L = sum_stored [a p^2 - 2 b p + b^2/(w0 + a)] + w0 sum_all p^2 + sum_rows lambda |x|^2 + sum_columns lambda |y|^2
    with p = x'y. The constant makes it a sum of squares: explicit a (r - p)^2, implicit c (1 - p)^2 and w0 p^2.
    """
    X, Y = float64(X), float64(Y)
    total = w0 * float(np.sum((X @ Y.T) ** 2))
    for x, (idx, a, b) in zip(X, cells.rows(), strict=True):
        p = Y[idx] @ x
        weight = w0 + a
        constant = np.divide(b * b, weight, out=np.zeros_like(b), where=weight > 0)
        total += float(np.sum(a * p * p - 2 * b * p + constant))
    return total + float(float64(lam_rows) @ np.sum(X * X, axis=1) + float64(lam_columns) @ np.sum(Y * Y, axis=1))


def als(
    cells: Cells,
    item_factors: object,
    *,
    w0: float,
    regularization: float,
    scaling: str | float = "constant",
    iterations: int,
) -> tuple[Floats, Floats, list[float]]:
    """Users, then items, `iterations` times; returns both factors and the loss after each iteration."""
    Y = float64(item_factors)
    columns = cells.transpose(len(Y))
    lam_users = row_regularization(cells, len(Y), regularization, scaling, w0)
    lam_items = row_regularization(columns, cells.n_rows, regularization, scaling, w0)
    X, losses = np.zeros((cells.n_rows, Y.shape[1])), []
    for _ in range(iterations):
        X = half_sweep(cells, Y, w0, lam_users)
        Y = half_sweep(columns, X, w0, lam_items)
        losses.append(objective(cells, X, Y, w0, lam_users, lam_items))
    return X, Y, losses


def csr(matrix: object) -> tuple[NDArray[np.int64], NDArray[np.int32], Floats]:
    """The parts of a dense array's non-zero cells."""
    dense = float64(matrix)
    rows, columns = np.nonzero(dense)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(dense)))]).astype(np.int64)
    return indptr, columns.astype(np.int32), dense[rows, columns]


def explicit_als(
    matrix: object, item_factors: object, regularization: float, iterations: int, scaling: str | float = "constant"
) -> tuple[Floats, Floats, list[float]]:
    """Ratings, the zeros of the dense matrix unobserved: a = 1, b = r, w0 = 0."""
    indptr, indices, r = csr(matrix)
    cells = Cells(indptr, indices, np.ones_like(r), r)
    return als(cells, item_factors, w0=0, regularization=regularization, scaling=scaling, iterations=iterations)


def implicit_als(
    matrix: object,
    item_factors: object,
    regularization: float,
    iterations: int,
    scaling: str | float = "constant",
    alpha: float = 1.0,
    w0: float = 1.0,
) -> tuple[Floats, Floats, list[float]]:
    """Counts, every cell of the dense matrix a cell: a = alpha r, b = 1 + alpha r on the stored ones."""
    indptr, indices, r = csr(matrix)
    cells = Cells(indptr, indices, alpha * r, 1 + alpha * r)
    return als(cells, item_factors, w0=w0, regularization=regularization, scaling=scaling, iterations=iterations)

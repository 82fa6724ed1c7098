"""Why a score is what it is: the part that each item of a user's history has in it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._core import LabelArray
from .._equation import CellWeights, FactorArray, Rows


class Explanation(NamedTuple):
    """A score, taken apart.

    Attributes
    ----------
    score : float
        What the history scores: ``base`` and all contributions.
    items : array of shape (m,)
        Items of the history, of the largest contribution first; labels, or indices where the data had none.
    contributions : array of shape (m,)
    base : float
        What the history has no part in: mean and biases that are not solved for with the user; else 0.
    """

    score: float
    items: LabelArray
    contributions: NDArray[np.float64]
    base: float


def row_system(
    rows: Rows, others: FactorArray, weights: CellWeights, lam: NDArray[np.float64], gram: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return A of the first of the rows, its cells' factor rows Y and their b, in float64: A x = Y'b.

    ``lam`` is that of each coordinate, ``gram`` is Y'Y of all the other side's rows.
    """
    Y = others[rows.indices[: rows.indptr[1]]].astype(np.float64)
    scale = None if rows.scale is None else rows.scale[: rows.indptr[1]]
    a, b = weights.of(rows.values[: rows.indptr[1]], scale)
    return weights.unobserved * gram + (Y.T * a) @ Y + np.diag(lam), Y, b


def contributions(
    A: NDArray[np.float64],
    Y: NDArray[np.float64],
    b: NDArray[np.float64],
    y: NDArray[np.float64],
    free: NDArray[np.bool_] | slice = slice(None),
) -> NDArray[np.float64]:
    """Return the part that each cell has in the score y'x of the row's solution x = inverse(A) Y'b.

    The score is linear in b: sum_j b_j y' inverse(A) y_j (Hu, Koren, Volinsky, 2008, section 5). Of a singular A the
    solution is that of minimum norm. ``free``: the entries of x that a bound does not hold at zero; among those the
    nonnegative solution is the same.
    """
    inverse = np.linalg.pinv(A[free][:, free], rcond=len(A) * np.finfo(np.float64).eps, hermitian=True)
    parts: NDArray[np.float64] = b * (Y[:, free] @ (inverse @ y[free]))
    return parts

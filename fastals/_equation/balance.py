"""Balancing the sides: the scale and the axes that the factors of both sides share.

X C and Y C^-T predict the same for any invertible C; only the penalties see C. After the first sweep from a random
start one side is far longer than the other, and alternating sweeps repair that slowly, whatever accelerates them. The C
that makes the penalties least has a closed form. With Gx = X' diag(lambda) X and Gy = Y' diag(lambda) Y they are
tr(Gx P) + tr(Gy P^-1) for P = C C', whose minimum solves P Gx P = Gy: the geometric mean of Gx^-1 and Gy

    P = Gx^-1/2 (Gx^1/2 Gy Gx^1/2)^1/2 Gx^-1/2        X <- X P^1/2        Y <- Y P^-1/2

(R. Bhatia, Positive Definite Matrices, 2007, chapter 4). No prediction changes, and the objective falls by exactly
tr Gx + tr Gy - tr(Gx P) - tr(Gy P^-1), which is known before anything is written.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._core import FactorArray, kernels

FLOOR = 1e-7
"""Eigenvalues below this part of the largest are taken for it, where powers are taken: what is less is rounding."""

LONGEST = 1e5
"""No direction is stretched or shrunk more than this: where lambda is next to nothing on a side, factors would leave
what arithmetic bears for a penalty that nobody feels."""


class Turn(NamedTuple):
    """What balances two sides.

    Attributes
    ----------
    gain : float
        By how much it lowers the objective.
    forth, back : arrays of shape (k, k)
        X goes to X forth, Y to Y back; their product is the identity.
    """

    gain: float
    forth: NDArray[np.float64]
    back: NDArray[np.float64]


def turned(factors: FactorArray, matrix: NDArray[np.float64], out: FactorArray, num_threads: int) -> None:
    """Write the rows, turned, to ``out``, which may be ``factors``; biases, columns behind the k-th, stay."""
    k, columns = len(matrix), factors.shape[1]
    whole: Any = kernels.aligned_empty((columns, kernels.padded(factors.dtype, columns)), factors.dtype)
    whole[:] = np.eye(*whole.shape)
    whole[:k, :k] = matrix
    kernels.turn(factors, whole, out, num_threads)


def weighted_gram(factors: FactorArray, lam: FactorArray, k: int, num_threads: int) -> NDArray[np.float64]:
    """The first k columns' F' diag(lambda) F, in float64."""
    return np.asarray(kernels.gram(factors, num_threads, True, np.sqrt(lam))[:k, :k])


def balance(Gx: NDArray[np.float64], Gy: NDArray[np.float64], *, signed: bool = True) -> Turn | None:
    """Return the best turn; None where there is nothing that could be balanced.

    ``signed=False``: the factors must keep their signs, so only the lengths of their columns are balanced.
    """
    if not all(np.isfinite(G).all() and np.trace(G) > np.finfo(np.float64).tiny ** 0.5 for G in (Gx, Gy)):
        return None
    if not signed:
        x, y = np.diag(Gx), np.diag(Gy)
        both = (x > 0) & (y > 0)
        c = np.ones(len(x))
        with np.errstate(all="ignore"):
            c[both] = (y[both] / x[both]) ** 0.25
            gain = float(np.sum((np.sqrt(x[both]) - np.sqrt(y[both])) ** 2))
            turn = Turn(gain, np.diag(c), np.diag(1 / c))
        return _moderate(turn)
    try:
        with np.errstate(all="ignore"):
            root, inverse = _powers(Gx, 0.5, -0.5)
            middle, _ = _powers(root @ Gy @ root, 0.5, -0.5)
            P = inverse @ middle @ inverse
            forth, back = _powers((P + P.T) / 2, 0.5, -0.5)
            P, Q = forth @ forth, back @ back
            gain = float(np.trace(Gx) + np.trace(Gy) - np.sum(Gx * P) - np.sum(Gy * Q))
    except np.linalg.LinAlgError:  # of scales that float64 does not hold together
        return None
    return _moderate(Turn(gain, forth, back))


def _moderate(turn: Turn) -> Turn | None:
    if not (np.isfinite(turn.gain) and np.isfinite(turn.forth).all() and np.isfinite(turn.back).all()):
        return None
    return turn if max(np.linalg.norm(matrix, 2) for matrix in (turn.forth, turn.back)) <= LONGEST else None


def _powers(A: NDArray[np.float64], *exponents: float) -> list[NDArray[np.float64]]:
    """Powers of a symmetric matrix without negative eigenvalues."""
    values, vectors = np.linalg.eigh((A + A.T) / 2)
    values = np.maximum(values, FLOOR * values[-1])
    return [(vectors * values**exponent) @ vectors.T for exponent in exponents]

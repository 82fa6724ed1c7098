"""Why a score is what it is: the part that each item of a user's history has in it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._core import DataError, FactorArray, LabelArray, ParameterError, kernels, single_threaded_blas
from .._data import as_observations
from .._equation import CellWeights, Rows, RowSource, roots
from .._fitted import FittedState


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
        What the history has no part in: mean, biases that are not solved for with the user, and the part of the mean
        that the user is drawn to, where there is one; else 0.
    """

    score: float
    items: LabelArray
    contributions: NDArray[np.float64]
    base: float


def explain(state: FittedState, user: Any, item: Any, n: int, history: Any, threads: int) -> Explanation:
    """Take a score apart; see :meth:`fastals.ImplicitALS.explain`."""
    target = int(state.items.encode_known("item", [item])[0])
    if (user is None) == (history is None):
        raise ParameterError("one of user and history must be given, the other one being None")
    places = None if history is not None else state.users.encode_known("user", [user])
    equation, Y = state.equation.of("users", places), state.trained("items")
    cells = _one_row(state, int(places[0])) if places is not None else _one_history(state, history)
    rows, own = equation.new_offsets("users", cells, state.mean, state.biases)
    prior = None if places is None or state.priors[0] is None else state.priors[0].between(places[0], places[0] + 1)
    side = equation.side("users", rows, np.zeros((1, Y.shape[1]), Y.dtype), Y, num_threads=threads, prior=prior)
    targets, Y = side.targets(state.mean).whole(), side.inputs()
    gram = np.zeros((Y.shape[1], Y.shape[1]))
    if side.weights.unobserved:
        share, shares = equation.shares("users")
        gram = state.derive("gram of items", lambda: kernels.gram(Y, threads, False, roots(shares)))
        gram = gram if share is None else share[0] * gram
    A, Z, b = row_system(targets, Y, side.weights, side.ridge(0), gram)
    free: Any = slice(None)
    if equation.nonnegative:
        with single_threaded_blas():
            side.solve(equation.exact_solver, mean=state.mean)
        free = side.factors[0] > 0
        free[state.user_factors.shape[1] :] = True  # a bias has any sign
    # what the row is drawn to is one more term of the right-hand side
    terms = np.vstack((Z, side.pull(0))), np.append(b, 1.0)
    parts = contributions(A, *terms, Y[target].astype(np.float64), free)
    parts, pull = parts[:-1], float(parts[-1])
    base = state.mean + pull + (0.0 if own is None else float(own[0]))
    if state.biases is not None:
        base += float(state.biases[1][target])
    order = np.argsort(-parts, kind="stable")[:n]
    return Explanation(float(parts.sum() + base), state.items.decode(targets.indices[order]), parts[order], base)


def _one_row(state: FittedState, row: int) -> RowSource:
    """The training cells of a user."""
    data, twin = state.history()
    indices, values, _ = data.lines("users", state.item_factors.dtype).read(row, row + 1)
    scale = None if twin is None else twin.lines("users").read(row, row + 1)[1]
    one = Rows(np.array([0, len(indices)]), indices, state.equation.transform(values), scale)
    return state.equation.of("users", [row]).row_weights.weigh("users", one)


def _one_history(state: FittedState, history: Any) -> RowSource:
    """The cells of one user who is not in the model."""
    equation = state.equation.of("users", None)
    data, twin = as_observations(history, None, duplicates=state.duplicates, ratings=state.ratings, items=state.items)
    if data.n_users != 1:
        raise DataError(f"history must be of one user, got {data.n_users}")
    rows = equation.rows("users", data, twin, state.item_factors.dtype, None)
    equation.check_minimum("users", rows, data)
    return rows


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

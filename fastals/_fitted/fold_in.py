"""Users and items that were not there: folded in by themselves, or taken into the model with their events."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from .._core import AXES, Axis, DataError, FactorArray, ParameterError, check_choice, single_threaded_blas
from .._data import (
    DUPLICATES,
    Interactions,
    append,
    as_observations,
    cell_numbers,
    distinct,
    has_repeats,
    known_of,
    ones_like,
    trusted,
)
from .._equation import Training, check_finite_factors
from .ageing import Ageing
from .state import FittedState, parts_of


def fold_in(state: FittedState, axis: Axis, data: Any, sample_weight: Any, threads: int, **known: Any) -> FactorArray:
    """Solve exactly for new users or items, given the other side.

    Parameters
    ----------
    **known
        The labels of the other side, as :func:`as_observations` takes them.

    Returns
    -------
    array of shape (n, k), or (n, k + 1) with the rows' biases behind
    """
    options: dict[str, Any] = {
        "duplicates": state.duplicates,
        "ratings": state.ratings,
        "num_threads": threads,
        **known,
    }
    histories, twin = as_observations(data, sample_weight, **options)
    return solve_new(state, axis, histories, twin, threads)


def solve_new(
    state: FittedState, axis: Axis, histories: Interactions, twin: Interactions | None, threads: int
) -> FactorArray:
    """Solve exactly for the rows of ``histories``, whose cells weigh what ``twin`` says; returns as :func:`fold_in`."""
    equation = state.equation.of(axis, None)
    others = state.trained("items" if axis == "users" else "users")
    rows = equation.rows(axis, histories, twin, others.dtype, threads)
    equation.check_minimum(axis, rows, histories)
    rows, bias = equation.new_offsets(axis, rows, state.mean, state.biases)
    n_others, common = len(others), state.common("items" if axis == "users" else "users", threads)
    if rows.n_cells < n_others:
        # a few histories name a few of the others: what is to be done with these is not done with all
        few = rows.whole()
        named, places = np.unique(few.indices, return_inverse=True)
        rows, others = replace(few, indices=places.astype(np.int32)), others[named]
    out: FactorArray = np.zeros((len(rows), others.shape[1]), others.dtype)
    side = equation.side(axis, rows, out, others, num_threads=threads, common=common, n_others=n_others)
    # the kernels' own solver calls no BLAS, and to limit that takes longer than a row
    with nullcontext() if equation.exact_solver == "cholesky" else single_threaded_blas():
        side.solve(equation.exact_solver, mean=state.mean)
    return out if bias is None else np.column_stack((out, bias))


def grown(
    state: FittedState,
    data: Any,
    sample_weight: Any,
    *,
    duplicates: str | None,
    otherwise: str,
    passes: int,
    threads: int,
    ageing: Ageing,
) -> FittedState:
    """Take in new events, and solve the rows that they touch again.

    Parameters
    ----------
    duplicates, otherwise : str
        What becomes of repeated cells; the second where the first is None and nothing speaks for keeping them.
    passes : int
        How many times the touched users and then the touched items are solved.
    ageing : Ageing
        What becomes of the values.

    Returns
    -------
    FittedState
        A new one; its history of the training is that of ``state``.
    """
    equation = state.equation
    history, weights = state.history()
    if history.on_disk:
        raise DataError(
            f"this model's history is on disk, in {history.on_disk!r}, where no events can be added: make interactions "
            "of all events anew, and fit again"
        )
    events, event_weights = as_observations(data, sample_weight, duplicates="keep", ratings=state.ratings)
    weighted = weights is not None or event_weights is not None
    if duplicates is None:
        duplicates = "keep" if weighted or has_repeats(history) else otherwise
    check_choice("duplicates", duplicates, ("keep",) if weighted else DUPLICATES)
    users = state.users.grown("users", events.user_labels)
    items = state.items.grown("items", events.item_labels)
    # who has come later weighs 1
    weights_of_rows = equation.row_weights.changed(*(partial(_padded, n=len(each[0])) for each in (users, items)))
    equation = replace(equation, row_weights=weights_of_rows)
    if ageing.decay != 1 and state.ratings:
        raise ParameterError(f"decay must be 1 for a model of ratings, which do not fade with time, got {ageing.decay}")
    merged, lost = ageing.settled(append(ageing.aged(history), events, users, items, duplicates))
    twin = None
    if weighted:
        if ageing.minimum is not None:
            raise DataError("cells with weights cannot be left out below a minimum: fit again on all events")
        twin = append(weights or ones_like(history), event_weights or ones_like(events), users, items, "keep")
    touched_users = np.union1d(users[1][np.flatnonzero(np.diff(events.indptr))], lost[0])
    touched_items = np.union1d(items[1][events.indices], lost[1])
    n_cells = len(distinct(cell_numbers(events.indptr, events.indices, events.n_items)))
    X, Y = (
        np.concatenate((factors, np.zeros((len(labels) - len(factors), factors.shape[1]), factors.dtype)))
        for factors, (labels, _) in zip(map(state.trained, AXES), (users, items), strict=True)
    )
    rows, columns = (equation.rows(axis, merged, twin, X.dtype, threads) for axis in AXES)
    equation.check_minimum("users", rows, merged)
    rows, columns, biases = equation.grown_offsets(
        rows, columns, state.mean, state.biases, touched_users, touched_items
    )
    # rows that have come later are drawn to nothing
    drawn_users, drawn_items = (
        prior and prior.grown(len(factors)) for prior, factors in zip(state.priors, (X, Y), strict=True)
    )
    turns = (
        (equation.side("users", rows, X, Y, num_threads=threads, prior=drawn_users), touched_users),
        (equation.side("items", columns, Y, X, num_threads=threads, prior=drawn_items), touched_items),
    )
    with single_threaded_blas():
        for _ in range(passes):
            for side, touched in turns if equation.last == "items" else turns[::-1]:
                side.solve(equation.exact_solver, mean=state.mean, only=touched)
    check_finite_factors(X, Y)
    return replace(
        state,
        equation=equation,
        users=merged.user_labels,
        items=merged.item_labels,
        pairs=in_dtype(merged, X.dtype),
        weights=None if twin is None else in_dtype(twin, X.dtype),
        priors=(drawn_users, drawn_items),
        scoring=state.scoring if ageing.scoring is None else ageing.scoring,
        n_updates=state.n_updates + 1,
        fresh=state.fresh * ageing.decay * max(0.0, 1 - (n_cells + len(lost[0])) / merged.nnz),
        **parts_of(Training(X, Y, mean=state.mean, biases=biases), equation),
    ).sealed()


def _padded(array: FactorArray, n: int) -> FactorArray:
    """So many elements, those that are new being 1."""
    return np.append(array, np.ones(n - len(array), array.dtype))


def in_dtype(data: Interactions, dtype: Any) -> Interactions:
    """The same cells with values of this dtype; of those on disk, the same."""
    if data.on_disk:
        return data
    return trusted(data.arrays(dtype), None, data.user_labels, data.item_labels, known=known_of(data))

"""Splits into training and test parts: at random, by time, by user.

The same seed gives the same split. Parts that hold the same users and items have the same rows, columns and labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from .._core import (
    ArgumentTypeError,
    DataError,
    check_choice,
    check_int,
    check_random_state,
    check_real,
    check_same_length,
    check_values,
)
from .._data import (
    Interactions,
    Known,
    Labels,
    as_interactions,
    cell_numbers,
    choose_column,
    column_names,
    contains,
    frame_columns,
    is_frame,
    known_of,
    selected,
    trusted,
)
from .._files import Times, is_span, number_dtype, span_seconds


def train_test_split(
    data: Any, test_fraction: float = 0.2, *, random_state: Any = None
) -> tuple[Interactions, Interactions]:
    """Put a random part of the cells aside.

    Parameters
    ----------
    data : Interactions, or what :meth:`ImplicitALS.fit` takes
    test_fraction : float in (0, 1), default 0.2
        Share of the stored cells that goes to the test part, rounded to a whole number of cells.
    random_state : int or Generator, optional
        The same seed gives the same split.

    Returns
    -------
    train, test : Interactions
        Every cell is in one of them. Both have all users and items of `data`, so that rows and labels correspond.

    Raises
    ------
    ParameterError, DataError
        A part would be empty.

    Examples
    --------
    >>> from fastals.evaluation import train_test_split
    >>> from scipy.sparse import csr_array
    >>> train, test = train_test_split(csr_array([[1, 2, 0], [0, 3, 4]]), 0.25, random_state=0)
    >>> train.nnz, test.nnz, train.shape == test.shape
    (3, 1, True)
    """
    interactions = as_interactions(data)
    n_test = round(_check_fraction(test_fraction) * interactions.nnz)
    if not 0 < n_test < interactions.nnz:
        raise DataError(f"test_fraction {test_fraction} of {interactions.nnz} cells leaves one part empty")
    in_test = np.zeros(interactions.nnz, dtype=bool)
    in_test[check_random_state(random_state).choice(interactions.nnz, n_test, replace=False)] = True
    return _parted(interactions, in_test)


def leave_last_out(
    data: Any,
    timestamps: Any,
    *,
    n: int = 1,
    duplicates: str = "sum",
    unit: str | None = None,
    format: str | Sequence[str] | None = None,
    timezone: Any = "UTC",
) -> tuple[Interactions, Interactions]:
    """Put aside the `n` items that each user came to last.

    A user comes to an item with the first of their events with it: an item that they knew before is never held out, as
    no list that leaves out known items could hold it. Of items of the same time the greater label
    counts as later. Users who have no more than `n` items stay in the training part.

    Parameters
    ----------
    data : (users, items) or (users, items, values), each of shape (n_events,), or a data frame
        As for :meth:`ImplicitALS.fit`.
    timestamps : array of shape (n_events,), or the name of the data frame's column
        Dates and times in any form: of NumPy, pandas, polars, Arrow or Python, ISO 8601; or numbers of any unit.
    n : int, default 1
    duplicates : {"sum", "last", "max", "mean", "error"}
        What becomes of several events of one user with one item: see :meth:`Interactions.from_arrays`.
    unit, format, timezone : optional
        How times are written, as in :class:`fastals.scoring.ScoreSpec`. Numbers of no unit are ordered as they are.

    Returns
    -------
    train, test : Interactions
        Both have all users and items of `data`.

    Raises
    ------
    DataError, ArgumentTypeError
        A time that is missing or cannot be read, or no user who has more than `n` items.

    Examples
    --------
    >>> from fastals.evaluation import leave_last_out
    >>> users, items = ["ann", "ann", "ann", "bob"], ["x", "y", "x", "x"]
    >>> train, test = leave_last_out((users, items), [1, 2, 3, 4])
    >>> train.matrix.toarray()
    array([[2., 0.],
           [1., 0.]], dtype=float32)
    >>> test.matrix.toarray()
    array([[0., 1.],
           [0., 0.]], dtype=float32)
    """
    n = check_int("n", n, low=1)
    events, timestamps = _events(data, timestamps, duplicates)
    times = Times(unit, format, timezone).ordered("timestamps", timestamps)
    check_same_length({"events": events[0], "timestamps": times})
    interactions = as_interactions(events, duplicates=duplicates)
    # as places in their order, which float64 holds where it does not hold nanoseconds
    backwards = -np.unique(times, return_inverse=True)[1].astype(np.float64)
    first = -as_interactions((*events[:2], backwards), duplicates="max", dtype=np.float64).values
    return _leave_out(interactions, first, n)


def split_at_time(
    data: Any,
    timestamps: Any,
    at: Any,
    *,
    duplicates: str = "sum",
    unit: str | None = None,
    format: str | Sequence[str] | None = None,
    timezone: Any = "UTC",
) -> tuple[Interactions, Interactions]:
    """Train on what happened before a point in time, the same for all users; test on what they came to later.

    As a model in use is trained: on the past of everybody. The test part holds the items that a user came to at that
    time or later: an item that they knew before is never held out, as no list that leaves out known items could hold
    it. What happened later with items known before is in neither part.

    Parameters
    ----------
    data : (users, items) or (users, items, values), each of shape (n_events,), or a data frame
        As for :meth:`ImplicitALS.fit`.
    timestamps : array of shape (n_events,), or the name of the data frame's column
        Dates and times in any form: of NumPy, pandas, polars, Arrow or Python, ISO 8601; or numbers.
    at : str, datetime or number
        A date and time; such as "7 days" before the newest event; or a number as the timestamps are.
    duplicates : {"sum", "last", "max", "mean", "error"}
        What becomes of several events of one user with one item in the same part.
    unit, format, timezone : optional
        How times are written, as in :class:`fastals.scoring.ScoreSpec`, whose ``timezone`` is that of `at`, too.
        Numbers of no unit are ordered as they are where `at` is one; else they are seconds since 1970, an error where
        they cannot be.

    Returns
    -------
    train, test : Interactions
        Both have all users and items of `data`: those who come later only have empty rows in `train`.

    Raises
    ------
    DataError, ArgumentTypeError, ParameterError
        A time that is missing or cannot be read, or one part would be empty.

    Examples
    --------
    >>> from fastals.evaluation import split_at_time
    >>> users, items = ["ann", "ann", "bob", "bob"], ["x", "y", "x", "x"]
    >>> days = ["2024-05-01", "2024-05-03", "2024-05-01", "2024-05-04"]
    >>> train, test = split_at_time((users, items), days, "2024-05-02")
    >>> train.matrix.toarray()
    array([[1., 0.],
           [1., 0.]], dtype=float32)
    >>> test.matrix.toarray()
    array([[0., 1.],
           [0., 0.]], dtype=float32)
    """
    events, timestamps = _events(data, timestamps, duplicates)
    rules = Times(unit, format, timezone)
    number = isinstance(at, (int, float, np.number)) and not isinstance(at, bool)
    numbers = number and format is None and number_dtype("timestamps", timestamps) is not None
    times = (rules.ordered if numbers else rules.nanoseconds)("timestamps", timestamps)
    users, items, labels = _coded(events)
    check_same_length({"events": users, "timestamps": times})
    if numbers:
        point = rules.ordered("at", [at])[0]
    else:
        point = int(times.max()) - round(span_seconds("at", at) * 1e9) if is_span(at) else rules.moment("at", at)
    known = [Labels(None, len(some)) for some in labels]
    parts, before = [], times < point
    for name, of_part in (("before", before), ("at or after", ~before)):
        if not of_part.any():
            raise DataError(f"no event is {name} {at!r}, so one part would be empty")
        values = [check_values("values", column)[of_part] for column in events[2:]]
        some = (users[of_part], items[of_part], *values)
        part = as_interactions(some, duplicates=duplicates, users=known[0], items=known[1])
        parts.append(trusted(part.arrays(), None, *labels))
        parts[-1].summed = part.summed
    train, test = parts
    cells = [cell_numbers(part.indptr, part.indices, part.n_items) for part in parts]
    new = ~contains(cells[0], cells[1])
    if not new.any():
        raise DataError(
            f"nobody comes to an item that is new to them from at={at!r} on, so the test part would be empty"
        )
    return train, select_cells(test, new)


def leave_random_out(data: Any, n: int = 1, *, random_state: Any = None) -> tuple[Interactions, Interactions]:
    """Put aside `n` random items of each user.

    Parameters
    ----------
    data : Interactions, or what :meth:`ImplicitALS.fit` takes
    n : int, default 1
        Users who have no more than `n` items stay in the training part.
    random_state : int or Generator, optional
        The same seed gives the same split.

    Returns
    -------
    train, test : Interactions
        Both have all users and items of `data`.

    Raises
    ------
    ParameterError, DataError
        No user has more than `n` items.

    Examples
    --------
    >>> from fastals.evaluation import leave_random_out
    >>> from scipy.sparse import csr_array
    >>> train, test = leave_random_out(csr_array([[1, 2, 3], [0, 4, 0]]), random_state=0)
    >>> train.nnz, test.nnz
    (3, 1)
    """
    n = check_int("n", n, low=1)
    interactions = as_interactions(data)
    return _leave_out(interactions, check_random_state(random_state).random(interactions.nnz), n)


def split_users(
    data: Any, test_fraction: float = 0.2, *, random_state: Any = None
) -> tuple[Interactions, Interactions]:
    """Put a random part of the users aside, with all that they did: people whom the model will not have met.

    This is the split of strong generalization [1]_: train on the one part; of the other, split each user's items once
    more (:func:`leave_random_out`, :func:`train_test_split`), fold in the first half and look for the second.

    Parameters
    ----------
    data : Interactions, or what :meth:`ImplicitALS.fit` takes
    test_fraction : float in (0, 1), default 0.2
        Share of the users who go to the test part, rounded to a whole number of users.
    random_state : int or Generator, optional
        The same seed gives the same split.

    Returns
    -------
    train, test : Interactions
        Each has its own users, labelled (by their row, where `data` has no labels), and all items of `data`.

    Raises
    ------
    ParameterError, DataError
        A part would be empty.

    References
    ----------
    .. [1] B. Marlin. Modeling user rating profiles for collaborative filtering. NIPS 2003, section 5.

    Examples
    --------
    >>> from fastals.evaluation import split_users
    >>> plays = (["ann", "ann", "bob", "cid", "dee"], ["x", "y", "x", "y", "z"])
    >>> train, test = split_users(plays, 0.25, random_state=0)
    >>> train.users.tolist(), test.users.tolist(), test.items.tolist()
    (['ann', 'bob', 'cid'], ['dee'], ['x', 'y', 'z'])
    """
    interactions = as_interactions(data)
    fraction = _check_fraction(test_fraction)
    n_test = round(fraction * interactions.n_users)
    in_test = np.zeros(interactions.n_users, dtype=bool)
    in_test[check_random_state(random_state).choice(interactions.n_users, n_test, replace=False)] = True
    parts = [selected(interactions, users) for users in (~in_test, in_test)]
    if not all(part.nnz for part in parts):
        raise DataError(f"test_fraction {test_fraction} of {interactions.n_users} users leaves one part empty")
    return parts[0], parts[1]


def _check_fraction(test_fraction: float) -> float:
    return check_real("test_fraction", test_fraction, low=0, high=1, low_open=True, high_open=True)


def _events(data: Any, timestamps: Any, duplicates: str) -> tuple[tuple[Any, ...], Any]:
    """Return users, items and perhaps values of events, and their times."""
    check_choice("duplicates", duplicates, ("sum", "last", "max", "mean", "error"))
    if isinstance(data, tuple) and len(data) in (2, 3):
        return data, timestamps
    if not is_frame(data):
        raise ArgumentTypeError(
            "data must be a tuple (users, items) or (users, items, values), as long as timestamps, or a data frame, "
            f"got {type(data).__name__}"
        )
    if isinstance(timestamps, str):
        names, name = column_names(data) or [], timestamps
        timestamps = data[choose_column(names, "timestamps", name, ())]
        data = {other: data[other] for other in names if other != name}  # times are no values
    columns, _ = frame_columns(data, None, None, None)
    return tuple(column for column in columns if column is not None), timestamps


def _coded(events: tuple[Any, ...]) -> tuple[NDArray[np.int32], NDArray[np.int32], tuple[Labels, Labels]]:
    """Return users and items of each event as indices, and their labels."""
    places = np.arange(len(events[0]))
    cells = as_interactions((*events[:2], places), duplicates="keep", dtype="float64")
    order = cells.values.astype(np.int64)
    users, items = np.empty((2, len(places)), np.int32)
    users[order], items[order] = np.repeat(np.arange(cells.n_users), np.diff(cells.indptr)), cells.indices
    return users, items, (cells.user_labels, cells.item_labels)


def _leave_out(data: Interactions, order: NDArray[Any], n: int) -> tuple[Interactions, Interactions]:
    """Put aside each user's last n cells in ascending `order`, but for users who would have none left."""
    lengths = np.diff(data.indptr)
    users = np.repeat(np.arange(data.n_users), lengths)
    ascending = np.lexsort((order, users))  # sorts each user's cells within their own range
    from_last = np.repeat(data.indptr[1:], lengths) - np.arange(data.nnz)
    in_test = np.zeros(data.nnz, dtype=bool)
    in_test[ascending[(from_last <= n) & (lengths > n)[users]]] = True
    if not in_test.any():
        raise DataError(f"no user has more than n={n} items, so the test part would be empty")
    return _parted(data, in_test)


def _parted(data: Interactions, in_test: NDArray[np.bool_]) -> tuple[Interactions, Interactions]:
    """Put some of the cells aside. What is known beside them stays where it is trained and lists are made."""
    return select_cells(data, ~in_test, known_of(data)), select_cells(data, in_test)


def held_out(
    data: Any,
    ratings: bool,
    duplicates: str,
    *,
    users: Labels | None = None,
    items: Labels | None = None,
    order: tuple[Labels, Labels] | None = None,
) -> Interactions:
    """Return data that a model is to be judged by: ratings are merged as for the training, all else is added.

    ``order``: a model's users and items. What has no labels where these have, as a matrix, is in their order, of all.
    """
    plain = sparse.issparse(data) or (isinstance(data, Interactions) and data.users is data.items is None)
    if plain and order is not None and not (order[0].values is order[1].values is None):
        users, items = order
    policy = duplicates if ratings else "sum"
    return as_interactions(data, duplicates=policy, ratings=ratings, users=users, items=items)


def select_cells(data: Interactions, keep: NDArray[np.bool_], known: Known | None = None) -> Interactions:
    """Keep some of the cells, all users and items, and beside them what is given as known."""
    indptr = np.concatenate(([0], keep.cumsum()))[data.indptr]
    rows = indptr, data.indices[keep], data.values[keep]
    part = trusted(rows, None, data.user_labels, data.item_labels, known=known)
    part.summed = data.summed
    return part

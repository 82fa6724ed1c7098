"""Splits into training and test parts, and metrics with their definitions.

Every ranking metric takes lists of recommended items, one row per user, and the held-out interactions. An item is
*relevant* to a user when the user's test row holds it with a value above 0. Users without a relevant item are left out
of the mean: nothing could be found for them. Below, rel is the number of a user's relevant items, positions count from
1, and a hit is a position that holds a relevant item for the first time (an item that a list repeats counts once).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _metrics
from ._als import ALS, ExplicitALS
from ._exceptions import ArgumentTypeError, DataError
from ._interactions import Interactions, as_interactions
from ._metrics import RANKING, Hits, Scores, cell_numbers, contains
from ._validation import (
    check_choice,
    check_fitted,
    check_int,
    check_random_state,
    check_real,
    check_same_length,
    check_values,
    refuse_value,
)

__all__ = [
    "auc",
    "evaluate",
    "hit_rate_at_k",
    "leave_last_out",
    "mae",
    "map_at_k",
    "most_popular",
    "mrr_at_k",
    "ndcg_at_k",
    "popularity_baseline",
    "precision_at_k",
    "recall_at_k",
    "rmse",
    "train_test_split",
]

# -- splits -----------------------------------------------------------------------------------------------------------


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
    n_test = round(
        check_real("test_fraction", test_fraction, low=0, high=1, low_open=True, high_open=True) * interactions.nnz
    )
    if not 0 < n_test < interactions.nnz:
        raise DataError(f"test_fraction {test_fraction} of {interactions.nnz} cells leaves one part empty")
    in_test = np.zeros(interactions.nnz, dtype=bool)
    in_test[check_random_state(random_state).choice(interactions.nnz, n_test, replace=False)] = True
    return _select(interactions, ~in_test), _select(interactions, in_test)


def leave_last_out(
    data: tuple[ArrayLike, ...], timestamps: ArrayLike, *, n: int = 1, duplicates: str = "sum"
) -> tuple[Interactions, Interactions]:
    """Put aside the `n` items that each user came to last.

    A user comes to an item with the first of their events with it: an item that they knew before is never held out, as
    no list that leaves out known items could hold it. Of items of the same time the greater label
    counts as later. Users who have no more than `n` items stay in the training part.

    Parameters
    ----------
    data : (users, items) or (users, items, values), each of shape (n_events,)
        As for :meth:`ImplicitALS.fit`.
    timestamps : array of shape (n_events,)
        Numbers or datetime64.
    n : int, default 1
    duplicates : {"sum", "last", "max", "mean", "error"}
        What becomes of several events of one user with one item: see :meth:`Interactions.from_arrays`.

    Returns
    -------
    train, test : Interactions
        Both have all users and items of `data`.

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
    check_choice("duplicates", duplicates, ("sum", "last", "max", "mean", "error"))
    if not (isinstance(data, tuple) and len(data) in (2, 3)):
        raise ArgumentTypeError(
            f"data must be a tuple (users, items) or (users, items, values), as long as timestamps, "
            f"got {type(data).__name__}"
        )
    times = np.asarray(timestamps)
    if times.dtype.kind == "M":
        if np.isnat(times).any():
            raise DataError(f"timestamps must not be missing, got NaT at position {int(np.isnat(times).argmax())}")
        times = times.astype("datetime64[us]").astype(np.int64)
    interactions = as_interactions(data, duplicates=duplicates)
    backwards = -check_values("timestamps", times).astype(np.float64)
    first = -as_interactions((*data[:2], backwards), duplicates="max", dtype=np.float64).values
    lengths = np.diff(interactions.indptr)
    users = np.repeat(np.arange(interactions.n_users), lengths)
    by_time = np.lexsort((first, users))  # sorts each user's cells within their own range
    from_last = np.repeat(interactions.indptr[1:], lengths) - np.arange(interactions.nnz)
    in_test = np.zeros(interactions.nnz, dtype=bool)
    in_test[by_time[(from_last <= n) & (lengths > n)[users]]] = True
    if not in_test.any():
        raise DataError(f"no user has more than n={n} items, so the test part would be empty")
    return _select(interactions, ~in_test), _select(interactions, in_test)


def _select(data: Interactions, keep: NDArray[np.bool_]) -> Interactions:
    """Keep some of the cells, and all users and items."""
    indptr = np.concatenate(([0], keep.cumsum()))[data.indptr]
    rows = indptr, data.indices[keep], data.values[keep]
    return Interactions._canonical(rows, None, data.user_labels, data.item_labels)


# -- ratings ----------------------------------------------------------------------------------------------------------


def rmse(actual: ArrayLike, predicted: ArrayLike) -> float:
    """Root of the mean squared difference.

    Parameters
    ----------
    actual, predicted : array of shape (n,)

    Raises
    ------
    DataError
        Lengths differ, nothing to compare, or a value is NaN or infinite. A model predicts NaN for users and items that
        it does not know: leave those pairs out, or ask for an error by ``predict(..., unknown="error")``.

    Examples
    --------
    >>> from fastals.evaluation import rmse
    >>> rmse([3, 5], [4, 5])
    0.7071067811865476
    """
    return float(np.sqrt(np.mean(_differences(actual, predicted) ** 2)))


def mae(actual: ArrayLike, predicted: ArrayLike) -> float:
    """Mean absolute difference. Arguments and errors: :func:`rmse`.

    Examples
    --------
    >>> from fastals.evaluation import mae
    >>> mae([3, 5], [4, 5])
    0.5
    """
    return float(np.mean(np.abs(_differences(actual, predicted))))


def _differences(actual: ArrayLike, predicted: ArrayLike) -> Scores:
    arrays = {"actual": check_values("actual", actual), "predicted": check_values("predicted", predicted)}
    check_same_length(arrays)
    for name, values in arrays.items():
        if not np.isfinite(values).all():
            refuse_value(name, values)
    if not len(arrays["actual"]):
        raise DataError("actual and predicted are empty")
    return arrays["actual"].astype(np.float64) - arrays["predicted"]


# -- ranking ----------------------------------------------------------------------------------------------------------


def _relevant(test: Interactions) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cells of value > 0 as ascending numbers user * n_items + item, and how many each user has."""
    cells = _distinct(cell_numbers(test.indptr, test.indices, test.n_items)[test.values > 0])
    if not cells.size:
        raise DataError("test has no cell with a value above 0, so no list can be right")
    return cells, np.bincount(cells // test.n_items, minlength=test.n_users)


def _judge(recommended: Any, test: Any, k: int) -> tuple[Hits, NDArray[np.int64], int]:
    """Check the arguments of a ranking metric; returns what the functions above take."""
    k = check_int("k", k, low=1)
    interactions = as_interactions(test)
    cells, relevant = _relevant(interactions)
    lists = _item_indices(recommended, interactions)[:, :k].astype(np.int64)
    numbers = np.where(lists < 0, -1, lists + np.arange(len(lists))[:, None] * interactions.n_items).ravel()
    found = contains(cells, numbers)
    _, first = np.unique(numbers[found], return_index=True)
    hits = np.zeros(lists.shape, dtype=bool)
    hits.ravel()[np.flatnonzero(found)[first]] = True
    return hits[relevant > 0], relevant[relevant > 0], k


def _item_indices(recommended: Any, test: Interactions) -> NDArray[np.integer[Any]]:
    """Return lists of items as item indices of `test`; -1 for padding and for items that it does not know."""
    lists = np.asarray(getattr(recommended, "items", recommended))
    if lists.ndim != 2 or len(lists) != test.n_users:
        raise DataError(
            f"recommended must have one row for each of the {test.n_users} users of test, got shape {lists.shape}"
        )
    present = lists != np.array(None) if lists.dtype.kind == "O" else np.ones(lists.shape, dtype=bool)
    indices = np.full(lists.shape, -1, dtype=np.int32)
    indices[present] = test.item_labels.encode(lists[present])
    return indices


def precision_at_k(recommended: Any, test: Any, k: int = 10) -> float:
    """Mean of (hits among the first k) / k; the denominator is k for short lists too.

    Parameters
    ----------
    recommended : Recommendations or array of shape (n_users, n)
        Row u is the list for user u of `test`, best first, in the labels of `test` (indices if it has none), padded
        with -1 or None. Only the first k columns count.
    test : Interactions, or what :meth:`ImplicitALS.fit` takes
        The held-out interactions.
    k : int, default 10

    Returns
    -------
    float in [0, 1]
        The mean over the users who have a relevant item.

    Raises
    ------
    DataError
        The rows do not match, or no user has a relevant item.

    Examples
    --------
    >>> from fastals.evaluation import precision_at_k
    >>> from scipy.sparse import csr_array
    >>> held_out = csr_array([[1, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]])
    >>> precision_at_k([[0, 2], [1, 3], [0, 1]], held_out, k=2)
    0.5
    """
    return float(_metrics.precision(*_judge(recommended, test, k)).mean())


def recall_at_k(recommended: Any, test: Any, k: int = 10) -> float:
    """Mean of (hits among the first k) / rel. Arguments and errors: :func:`precision_at_k`.

    Examples
    --------
    >>> from fastals.evaluation import recall_at_k
    >>> from scipy.sparse import csr_array
    >>> recall_at_k([[0, 2], [1, 3]], csr_array([[1, 1, 0, 0], [0, 0, 0, 1]]), k=2)
    0.75
    """
    return float(_metrics.recall(*_judge(recommended, test, k)).mean())


def ndcg_at_k(recommended: Any, test: Any, k: int = 10) -> float:
    """Mean of DCG / ideal DCG: a hit at position p gains 1 / log2(p + 1), the ideal list begins with min(rel, k) hits.

    Arguments and errors: :func:`precision_at_k`.

    Examples
    --------
    >>> from fastals.evaluation import ndcg_at_k
    >>> from scipy.sparse import csr_array
    >>> round(ndcg_at_k([[0, 2], [1, 3]], csr_array([[1, 1, 0, 0], [0, 0, 0, 1]]), k=2), 3)
    0.622
    """
    return float(_metrics.ndcg(*_judge(recommended, test, k)).mean())


def map_at_k(recommended: Any, test: Any, k: int = 10) -> float:
    """Mean of (sum over hits at positions p <= k of the precision at p) / min(rel, k).

    Arguments and errors: :func:`precision_at_k`.

    Examples
    --------
    >>> from fastals.evaluation import map_at_k
    >>> from scipy.sparse import csr_array
    >>> map_at_k([[0, 2], [1, 3]], csr_array([[1, 1, 0, 0], [0, 0, 0, 1]]), k=2)
    0.5
    """
    return float(_metrics.average_precision(*_judge(recommended, test, k)).mean())


def mrr_at_k(recommended: Any, test: Any, k: int = 10) -> float:
    """Mean of 1 / (position of the first hit), 0 where the first k hold none.

    Arguments and errors: :func:`precision_at_k`.

    Examples
    --------
    >>> from fastals.evaluation import mrr_at_k
    >>> from scipy.sparse import csr_array
    >>> mrr_at_k([[0, 2], [1, 3]], csr_array([[1, 1, 0, 0], [0, 0, 0, 1]]), k=2)
    0.75
    """
    return float(_metrics.reciprocal_rank(*_judge(recommended, test, k)).mean())


def hit_rate_at_k(recommended: Any, test: Any, k: int = 10) -> float:
    """Share of the users whose first k hold at least one hit. Arguments and errors: :func:`precision_at_k`.

    Examples
    --------
    >>> from fastals.evaluation import hit_rate_at_k
    >>> from scipy.sparse import csr_array
    >>> hit_rate_at_k([[0, 2], [1, 3]], csr_array([[1, 1, 0, 0], [0, 0, 0, 1]]), k=1)
    0.5
    """
    return float(_metrics.hit_rate(*_judge(recommended, test, k)).mean())


def auc(model: ALS, train: Any, test: Any) -> float:
    """Mean over users of the chance that a relevant item scores above one that the user has never met.

    The items never met are those neither in the user's training row nor relevant; an equal score counts as half. All
    items are scored for each user, which costs n_users * n_items * (factors + log n_items).

    Parameters
    ----------
    model : ExplicitALS or ImplicitALS
        Fitted.
    train, test : Interactions, or what :meth:`ImplicitALS.fit` takes
        The training (None: what the model itself remembers) and the held-out interactions. Users and items that the
        model does not know are left out.

    Returns
    -------
    float in [0, 1]
        0.5 is chance.

    Raises
    ------
    DataError
        No user has both a relevant item and one never met.

    Examples
    --------
    >>> import fastals
    >>> from fastals.evaluation import auc
    >>> from scipy.sparse import csr_array
    >>> train = csr_array([[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 1], [0, 0, 1, 0]])
    >>> test = csr_array([[0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]])
    >>> auc(fastals.ImplicitALS(factors=2, random_state=0).fit(train), train, test)
    1.0
    """
    check_fitted(model)
    seen = _seen(model, train)
    held_out = as_interactions(test, users=model._users, items=model._items)
    held_out = _select(held_out, held_out.values > 0)
    user_factors, item_factors = model._scoring_factors()
    areas = []
    for user in np.flatnonzero(np.diff(held_out.indptr)):
        relevant = held_out.indices[held_out.indptr[user] : held_out.indptr[user + 1]]
        never_met = np.ones(seen.n_items, dtype=bool)
        never_met[seen.indices[seen.indptr[user] : seen.indptr[user + 1]]] = False
        never_met[relevant] = False
        scores = item_factors @ user_factors[user]
        others = np.sort(scores[never_met])
        if others.size:
            below_and_at_most = [np.searchsorted(others, scores[relevant], side) for side in ("left", "right")]
            areas.append(np.mean(below_and_at_most) / others.size)
    if not areas:
        raise DataError("no user has both a relevant item and one never met")
    return float(np.mean(areas))


def _seen(model: ALS, train: Any) -> Interactions:
    """Return the training cells in terms of the model's users and items; None: those that the model remembers."""
    if train is not None:
        return as_interactions(train, users=model._users, items=model._items)
    indptr, indices = model._seen
    ones = np.broadcast_to(np.float32(1), indices.shape)
    return Interactions._canonical((indptr, indices, ones), None, model._users, model._items)


def most_popular(train: Any, n: int = 10) -> NDArray[Any]:
    """List for each user the items that most users have, without those that the user has: the baseline.

    Parameters
    ----------
    train : Interactions, or what :meth:`ImplicitALS.fit` takes
    n : int, default 10

    Returns
    -------
    array of shape (n_users, n)
        Labels, or indices where `train` has none; of equally popular items the smaller label first; padded with None or
        -1 where a user has not left `n` items.

    Examples
    --------
    >>> from fastals.evaluation import most_popular
    >>> from scipy.sparse import csr_array
    >>> most_popular(csr_array([[1, 1, 0], [0, 1, 0], [1, 1, 1]]), n=2)
    array([[ 2, -1],
           [ 0,  2],
           [-1, -1]])
    """
    n = check_int("n", n, low=1)
    interactions = as_interactions(train)
    by_popularity = np.argsort(-np.bincount(interactions.indices, minlength=interactions.n_items), kind="stable")
    rank_of = np.empty_like(by_popularity)
    rank_of[by_popularity] = np.arange(len(by_popularity))
    seen = _distinct(np.sort(cell_numbers(interactions.indptr, rank_of[interactions.indices], interactions.n_items)))
    users, ranks = np.divmod(seen, interactions.n_items)
    # The j-th rank that a user has not seen is j + (seen ranks below it). The i-th seen rank r has r - i unseen ones
    # below, and so lies below the j-th unseen one where r - i <= j.
    first = np.searchsorted(users, np.arange(interactions.n_users))
    unseen_below = ranks - (np.arange(len(seen)) - first[users])
    near = unseen_below < n
    skipped = np.bincount(users[near] * n + unseen_below[near], minlength=interactions.n_users * n)
    ranks_left = np.arange(n) + skipped.reshape(-1, n).cumsum(axis=1)
    left = ranks_left < interactions.n_items
    lists = np.where(left, by_popularity[np.minimum(ranks_left, interactions.n_items - 1)], -1)
    return interactions.item_labels.decode(lists)


def evaluate(model: ALS, train: Any, test: Any, k: int = 10) -> dict[str, float]:
    """Measure a model against held-out interactions, by every metric that fits it.

    Parameters
    ----------
    model : ExplicitALS or ImplicitALS
        Fitted on `train`: its lists leave out what the users had there.
    train : Interactions, or what :meth:`ImplicitALS.fit` takes, or None
        None: what the model itself remembers of its training cells.
    test : Interactions, or what :meth:`ImplicitALS.fit` takes
        The held-out interactions. Left out of the ranking metrics are cells that `train` holds too, as the lists do not
        repeat what is known, and users whom the model does not know. An item that the model does not know counts as
        relevant, though no list can hold it.
    k : int, default 10
        Length of the lists.

    Returns
    -------
    dict
        ``precision@k``, ``recall@k``, ``ndcg@k``, ``map@k``, ``mrr@k`` and ``hit_rate@k`` (k: the number), and
        ``n_users``, of how many users they are the means. For an :class:`ExplicitALS` also ``rmse`` and ``mae`` over
        the ``n_ratings`` cells of `test` whose user and item the model knows.

    Raises
    ------
    NotFittedError, DataError

    Examples
    --------
    >>> import fastals
    >>> from fastals.evaluation import evaluate
    >>> from scipy.sparse import csr_array
    >>> train = csr_array([[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 1], [0, 0, 1, 0]])
    >>> test = csr_array([[0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]])
    >>> model = fastals.ImplicitALS(factors=2, random_state=0).fit(train)
    >>> evaluate(model, train, test, k=1)["hit_rate@1"]
    1.0
    """
    check_fitted(model)
    k = check_int("k", k, low=1)
    new = _new_to_users(model, _seen(model, train), test)
    users = np.flatnonzero(np.diff(new.indptr))
    metrics = _measure(model.recommend(new.user_labels.decode(users), n=k).items, new, users, k)
    if isinstance(model, ExplicitALS):
        ratings = as_interactions(test, users=model._users, items=model._items)
        rows = np.repeat(np.arange(ratings.n_users), np.diff(ratings.indptr))
        predicted = model.predict(ratings.user_labels.decode(rows), ratings.item_labels.decode(ratings.indices))
        metrics |= {
            "rmse": rmse(ratings.values, predicted),
            "mae": mae(ratings.values, predicted),
            "n_ratings": ratings.nnz,
        }
    return metrics


def popularity_baseline(model: ALS, train: Any, test: Any, k: int = 10) -> dict[str, float]:
    """Measure what lists of the most popular items would reach in the place of the model's, as :func:`evaluate` does.

    Arguments, errors and the ranking metrics returned are those of :func:`evaluate`; the lists are those of
    :func:`most_popular`, for the same users and with the same cells held out.

    Examples
    --------
    >>> import fastals
    >>> from fastals.evaluation import popularity_baseline
    >>> from scipy.sparse import csr_array
    >>> train = csr_array([[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 1], [0, 0, 1, 0]])
    >>> test = csr_array([[0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]])
    >>> model = fastals.ImplicitALS(factors=2, random_state=0).fit(train)
    >>> popularity_baseline(model, train, test, k=1)["hit_rate@1"]
    0.0
    """
    check_fitted(model)
    k = check_int("k", k, low=1)
    seen = _seen(model, train)
    new = _new_to_users(model, seen, test)
    users = np.flatnonzero(np.diff(new.indptr))
    return _measure(most_popular(seen, k)[users], new, users, k)


def _measure(lists: NDArray[Any], test: Interactions, users: NDArray[np.integer[Any]], k: int) -> dict[str, float]:
    """Judge lists for some users of `test` by all ranking metrics; the others have no cells."""
    everyone = np.full((test.n_users, lists.shape[1]), None if lists.dtype.kind == "O" else -1, dtype=lists.dtype)
    everyone[users] = lists
    hits, relevant, k = _judge(everyone, test, k)
    return {f"{name}@{k}": float(metric(hits, relevant, k).mean()) for name, metric in RANKING.items()} | {
        "n_users": len(relevant)
    }


def _new_to_users(model: ALS, seen: Interactions, test: Any) -> Interactions:
    """Return the cells of `test` that a list could hold: of the model's users, and not seen. The items are test's."""
    interactions = as_interactions(test, users=model._users)
    items = model._items.encode(interactions.item_labels.decode(np.arange(interactions.n_items)))[interactions.indices]
    cells = cell_numbers(interactions.indptr, items, seen.n_items)
    new = (items < 0) | ~contains(cell_numbers(seen.indptr, seen.indices, seen.n_items), cells)
    if not (new & (interactions.values > 0)).any():
        raise DataError("test has no cell above 0 of a user whom the model knows that is not in train as well")
    return _select(interactions, new)


def _distinct(ascending: NDArray[np.int64]) -> NDArray[np.int64]:
    return ascending[np.diff(ascending, prepend=-1) > 0]  # np.unique hashes, and takes ten times as long

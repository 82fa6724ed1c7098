"""A model measured against held-out interactions, and the baseline of the most popular items."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from .._core import DataError, check_int, resolve_num_threads
from .._data import (
    Interactions,
    Known,
    as_interactions,
    cell_numbers,
    cells_of,
    contains,
    distinct,
    knowing,
    known_of,
    known_pairs,
    met_by,
)
from ._metrics import (
    RANKING,
    coverage_at_k,
    judge,
    mae,
    novelty_at_k,
    present,
    r2,
    rmse,
    runs,
    spread,
    users_of_items,
)
from ._splits import held_out, select_cells

if TYPE_CHECKING:
    from .._topn import Fitted, Recommender

AUC_BYTES = 1 << 25
"""Users are scored in blocks of about so many bytes."""


def auc(model: Recommender, train: Any, test: Any) -> float:
    """Mean over users of the chance that a relevant item scores above one that the user has never met.

    The items never met are those neither in the user's training row nor relevant; an equal score counts as half. All
    items are scored for each user, which costs n_users * n_items * (factors + log n_items).

    Parameters
    ----------
    model : ExplicitALS, ImplicitALS, EASE, ItemKNN or UserKNN
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
    state, threads = model.state_, resolve_num_threads(model.num_threads)
    seen = seen_by(state, train)
    held = held_out(test, state.ratings, state.duplicates, users=state.users, items=state.items)
    held = select_cells(held, held.values > 0)
    users = np.flatnonzero(np.diff(held.indptr))
    block = max(1, AUC_BYTES // (8 * seen.n_items))
    areas = np.concatenate(
        [_areas(state, users[i : i + block], seen, held, threads) for i in range(0, len(users), block)] or [np.empty(0)]
    )
    if np.isnan(areas).all():
        raise DataError("no user has both a relevant item and one never met")
    return float(np.nanmean(areas))


def _areas(
    state: Fitted, users: NDArray[np.intp], seen: Interactions, held: Interactions, threads: int
) -> NDArray[np.float64]:
    """AUC of each user; NaN where the user has met everything."""
    scores = state.all_scores(users, threads)
    relevant = [held.indices[held.indptr[u] : held.indptr[u + 1]] for u in users]
    found = [row[items] for row, items in zip(scores, relevant, strict=True)]
    lengths = np.zeros(len(users), np.int64)
    first, last, met = met_by(seen, users)
    for j, (row, items) in enumerate(zip(scores, relevant, strict=True)):
        row[items] = np.inf
        row[met[first[j] : last[j]]] = np.inf
        lengths[j] = np.count_nonzero(row < np.inf)
    scores.sort(axis=1)
    areas = np.full(len(users), np.nan)
    for j in np.flatnonzero(lengths).tolist():
        others = scores[j, : lengths[j]]  # what the user has met stands behind them
        below_and_at_most = [np.searchsorted(others, found[j], side) for side in ("left", "right")]
        areas[j] = np.mean(below_and_at_most) / len(others)
    return areas


def seen_by(state: Fitted, train: Any) -> Interactions:
    """Return the training cells in terms of the model's users and items; None: those that the model remembers.

    What the model knows beside them is known here too: no list holds it, and nobody is judged by it.
    """
    on_disk = train.on_disk if isinstance(train, Interactions) else None
    if train is None or (on_disk is not None and on_disk == state.pairs.on_disk):
        return state.pairs
    seen = as_interactions(train, users=state.users, items=state.items)
    if known_of(state.pairs) == Known():
        return seen
    return knowing(seen, [*known_pairs(seen), *known_pairs(state.pairs)])


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
    return _most_popular(interactions, np.arange(interactions.n_users), n)


def _most_popular(train: Interactions, users: NDArray[np.intp], n: int) -> NDArray[Any]:
    """The same for some users, ascending."""
    by_popularity = np.argsort(-users_of_items(train), kind="stable")
    rank_of = np.empty_like(by_popularity)
    rank_of[by_popularity] = np.arange(len(by_popularity))
    parts = [_unseen(train, run, rank_of, n) for run in runs(train, users)]
    ranks = np.concatenate([np.empty((0, n), np.int64), *parts])
    left = ranks < train.n_items
    return train.item_labels.decode(np.where(left, by_popularity[np.minimum(ranks, train.n_items - 1)], -1))


def _unseen(train: Interactions, users: NDArray[np.intp], rank_of: NDArray[np.intp], n: int) -> NDArray[np.int64]:
    """The first n ranks of items that each user has not seen."""
    places, items = met_by(train, users).pairs()
    seen = distinct(np.sort(places * train.n_items + rank_of[items]))
    places, ranks = np.divmod(seen, train.n_items)
    # The j-th rank that a user has not seen is j + (seen ranks below it). The i-th seen rank r has r - i unseen ones
    # below, and so lies below the j-th unseen one where r - i <= j.
    first = np.searchsorted(places, np.arange(len(users)))
    unseen_below = ranks - (np.arange(len(seen)) - first[places])
    near = unseen_below < n
    skipped = np.bincount(places[near] * n + unseen_below[near], minlength=len(users) * n)
    unseen: NDArray[np.int64] = np.arange(n) + skipped.reshape(-1, n).cumsum(axis=1)
    return unseen


def evaluate(model: Recommender, train: Any, test: Any, k: int = 10) -> dict[str, float]:
    """Measure a model against held-out interactions, by every metric that fits it.

    Parameters
    ----------
    model : ExplicitALS, ImplicitALS, EASE, ItemKNN or UserKNN
        Fitted on `train`: its lists leave out what the users had there, or are known to have met.
    train : Interactions, or what :meth:`ImplicitALS.fit` takes, or None
        None: what the model itself remembers of its training cells.
    test : Interactions, or what :meth:`ImplicitALS.fit` takes
        The held-out interactions; several ratings of one user for one item become one as in the fit. Left out of the
        ranking metrics are cells that `train` holds or knows too, as the lists do not repeat that, and users whom the
        model does not know. An item that the model does not know counts as relevant, though no list can hold it.
        A matrix is in the order of the model's users and items.
    k : int, default 10
        Length of the lists.

    Returns
    -------
    dict
        ``precision@k``, ``recall@k``, ``ndcg@k``, ``map@k``, ``mrr@k`` and ``hit_rate@k`` (k: the number), and
        ``n_users``, of how many users they are the means; ``coverage@k`` and ``novelty@k`` (NaN where all are empty)
        of those users' lists. For a model of ratings also ``rmse``, ``mae`` and ``r2`` (NaN where all are equal) over
        the ``n_ratings`` cells of `test` whose user and item the model knows. For such a
        model what cannot be measured is NaN: the lists where no rating of `test` is both above 0 and new, the errors
        without ratings of known users and items.

    Raises
    ------
    NotFittedError
    DataError
        There is no list to measure, for a model that is not of ratings.
    ArgumentTypeError
        Among others: `test` names users or items by ids of another kind than the model's.

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
    model = copy(model)  # which keeps to its state, whatever is fitted meanwhile
    state, k = model.state_, check_int("k", k, low=1)

    def lists_of(seen: Interactions, users: NDArray[np.intp]) -> NDArray[Any]:
        return model.recommend(state.users.decode(users), n=k).items

    metrics = _ranking(state, train, test, k, lists_of)
    if state.ratings:
        ratings = held_out(test, state.ratings, state.duplicates, users=state.users, items=state.items)
        rows = np.repeat(np.arange(ratings.n_users), np.diff(ratings.indptr))
        predicted = model.predict(ratings.user_labels.decode(rows), ratings.item_labels.decode(ratings.indices))
        varied = ratings.nnz > 0 and np.ptp(ratings.values) > 0
        for metric, measurable in ((rmse, ratings.nnz > 0), (mae, ratings.nnz > 0), (r2, varied)):
            metrics[metric.__name__] = metric(ratings.values, predicted) if measurable else np.nan
        metrics["n_ratings"] = ratings.nnz
    return metrics


def popularity_baseline(model: Recommender, train: Any, test: Any, k: int = 10) -> dict[str, float]:
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
    k = check_int("k", k, low=1)
    return _ranking(model.state_, train, test, k, lambda seen, users: _most_popular(seen, users, k))


def _ranking(
    state: Fitted, train: Any, test: Any, k: int, lists_of: Callable[[Interactions, NDArray[np.intp]], NDArray[Any]]
) -> dict[str, float]:
    """Judge the lists that some users get, given what is seen, by all ranking metrics.

    Of ratings, which can be measured otherwise, they are NaN where there is nothing to find.
    """
    seen = seen_by(state, train)
    new = new_to_users(state, seen, test)
    new = select_cells(new, new.values > 0)
    if new.nnz:
        users = np.flatnonzero(np.diff(new.indptr))
        return _measure(lists_of(seen, users), seen, new, users, k)
    if not state.ratings:
        refuse_nothing()
    names = [f"{name}@{k}" for name in (*RANKING, "coverage", "novelty")]
    return {**dict.fromkeys(names, np.nan), "n_users": 0}


def refuse_nothing() -> NoReturn:
    """Raise where no list could be right."""
    raise DataError("test has no cell above 0 of a user whom the model knows that is not in train as well")


def _measure(
    lists: NDArray[Any], seen: Interactions, test: Interactions, users: NDArray[np.intp], k: int
) -> dict[str, float]:
    """Judge lists for some users of `test` by all ranking metrics; the others have no cells."""
    hits, relevant, k = judge(spread(lists, users, test.n_users), test, k)
    metrics = {f"{name}@{k}": float(metric(hits, relevant, k).mean()) for name, metric in RANKING.items()}
    beyond = {f"coverage@{k}": 0.0, f"novelty@{k}": np.nan}  # of no item at all
    if (lists != -1 if seen.item_labels.values is None else present(lists)).any():
        beyond = {f"coverage@{k}": coverage_at_k(lists, seen, k), f"novelty@{k}": novelty_at_k(lists, seen, k)}
    return metrics | beyond | {"n_users": len(relevant)}


def new_to_users(state: Fitted, seen: Interactions, test: Any) -> Interactions:
    """Return the cells of `test` that a list could hold: of the model's users, and not seen. The items are test's."""
    interactions = held_out(test, state.ratings, state.duplicates, users=state.users, order=(state.users, state.items))
    labels = interactions.item_labels
    items = state.items.encode(labels.decode(np.arange(len(labels))), "items")[interactions.indices]
    cells = cell_numbers(interactions.indptr, items, seen.n_items)
    new = np.ones(len(cells), bool)
    for run in runs(seen, np.flatnonzero(np.diff(interactions.indptr))):
        own = slice(interactions.indptr[run[0]], interactions.indptr[run[-1] + 1])
        new[own] = (items[own] < 0) | ~contains(cells_of(seen, run, met=True), cells[own])
    new &= ~Known(elsewhere=known_of(seen).elsewhere).hold(interactions)
    return select_cells(interactions, new)

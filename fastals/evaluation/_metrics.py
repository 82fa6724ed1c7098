"""Metrics of predicted ratings and of ranked lists, with their definitions.

Every ranking metric takes lists of recommended items, one row per user, and the held-out interactions. An item is
*relevant* to a user when the user's test row holds it with a value above 0. Users without a relevant item are left out
of the mean: nothing could be found for them. Below, rel is the number of a user's relevant items, positions count from
1, and a hit is a position that holds a relevant item for the first time (an item that a list repeats counts once).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._core import DataError, check_int, check_same_length, check_values, refuse_value
from .._data import Interactions, Labels, as_interactions, cell_numbers, cells_of, contains, cut, distinct, may_repeat

Hits: TypeAlias = NDArray[np.bool_]
Scores: TypeAlias = Any
"""float64 of shape (n_users,); what numpy's reductions return is Any to a type checker."""

RUN_CELLS = 1 << 24
"""So many cells of training data are looked at at a time."""

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


def r2(actual: ArrayLike, predicted: ArrayLike) -> float:
    """Share of the variance that is predicted: 1 - sum (actual - predicted)^2 / sum (actual - mean of actual)^2.

    As in scikit-learn and in Spark's RegressionEvaluator. It is 1 for exact predictions, 0 for the mean, and has no
    lower bound. Arguments and errors: :func:`rmse`; where `actual` is constant there is no variance, a DataError.

    Examples
    --------
    >>> from fastals.evaluation import r2
    >>> r2([3, -0.5, 2, 7], [2.5, 0, 2, 8])
    0.9486081370449679
    """
    differences = _differences(actual, predicted)
    values = check_values("actual", actual).astype(np.float64)
    variance = float(np.sum((values - values.mean()) ** 2))
    if not variance:
        raise DataError("actual is constant: there is no variance to predict")
    return float(1 - differences @ differences / variance)


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

# The definitions, for all users at once. hits: (n_users, at most k), relevant: rel, (n_users,), all >= 1.


def _precision(hits: Hits, relevant: NDArray[np.int64], k: int) -> Scores:
    return hits.sum(axis=1) / k


def _recall(hits: Hits, relevant: NDArray[np.int64], k: int) -> Scores:
    return hits.sum(axis=1) / relevant


def _average_precision(hits: Hits, relevant: NDArray[np.int64], k: int) -> Scores:
    precision = hits.cumsum(axis=1) / np.arange(1, hits.shape[1] + 1)
    return (precision * hits).sum(axis=1) / np.minimum(relevant, k)


def _ndcg(hits: Hits, relevant: NDArray[np.int64], k: int) -> Scores:
    longest = min(k, max(hits.shape[1], int(relevant.max())))
    gains = 1 / np.log2(np.arange(2, longest + 2))
    return hits @ gains[: hits.shape[1]] / gains.cumsum()[np.minimum(relevant, k) - 1]


def _reciprocal_rank(hits: Hits, relevant: NDArray[np.int64], k: int) -> Scores:
    return hits.any(axis=1) / (1.0 + hits.argmax(axis=1))


def _hit_rate(hits: Hits, relevant: NDArray[np.int64], k: int) -> Scores:
    return hits.any(axis=1).astype(np.float64)


RANKING: dict[str, Callable[[Hits, NDArray[np.int64], int], Scores]] = {
    "precision": _precision,
    "recall": _recall,
    "ndcg": _ndcg,
    "map": _average_precision,
    "mrr": _reciprocal_rank,
    "hit_rate": _hit_rate,
}


def _relevant(test: Interactions) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cells of value > 0 as ascending numbers user * n_items + item, and how many each user has."""
    cells = distinct(cell_numbers(test.indptr, test.indices, test.n_items)[test.values > 0])
    if not cells.size:
        raise DataError("test has no cell with a value above 0, so no list can be right")
    return cells, np.bincount(cells // test.n_items, minlength=test.n_users)


def judge(recommended: Any, test: Any, k: int) -> tuple[Hits, NDArray[np.int64], int]:
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


def spread(lists: NDArray[Any], users: NDArray[np.intp], n_users: int) -> NDArray[Any]:
    """Return the lists of some users as one for each of all; what the others' hold is not to be looked at."""
    everyone = np.full((n_users, lists.shape[1]), None if lists.dtype.kind == "O" else 0, dtype=lists.dtype)
    everyone[users] = lists
    return everyone


def _item_indices(recommended: Any, test: Interactions) -> NDArray[np.int32]:
    """Return lists of items as item indices of `test`; -1 for padding and for items that it does not know."""
    lists = _array_of_lists(recommended, f"one row for each of the {test.n_users} users of test", test.n_users)
    return _encode_lists(lists, test.item_labels)


def _array_of_lists(recommended: Any, rule: str = "one row for each list", m: int | None = None) -> NDArray[Any]:
    """Return lists, which may be of different lengths, as an array of shape (m, n) that is padded with None."""
    # data frames, too, have something that is called items
    lists = recommended.items if isinstance(recommended, tuple) and hasattr(recommended, "items") else recommended
    if isinstance(lists, list | tuple) and all(isinstance(row, list | tuple | np.ndarray) for row in lists):
        padded = np.full((len(lists), max(map(len, lists), default=0)), None, object)
        for row, given in zip(padded, lists, strict=True):
            # as NumPy would read them, 1 beside "a" would be text
            row[: len(given)] = np.fromiter(given, object, len(given))
        lists = padded
    array = np.asarray(lists)
    if array.ndim != 2 or m not in (None, len(array)):
        raise DataError(f"recommended must have {rule}, got shape {array.shape}")
    return array


def present(lists: NDArray[Any]) -> NDArray[np.bool_]:
    """Where lists hold an item, and are not padded with None, or NaN as data frames are."""
    if lists.dtype.kind != "O":
        return np.ones(lists.shape, np.bool_)
    held: NDArray[np.bool_] = (lists != np.array(None)) & (lists == lists)
    return held


def _encode_lists(lists: NDArray[Any], labels: Labels) -> NDArray[np.int32]:
    """Return indices of items; -1 for padding and for unknown ones."""
    held = present(lists)
    indices = np.full(lists.shape, -1, dtype=np.int32)
    indices[held] = labels.encode(lists[held], "recommended")
    return indices


def precision_at_k(recommended: Any, test: Any, k: int = 10) -> float:
    """Mean of (hits among the first k) / k; the denominator is k for short lists too [1]_.

    Parameters
    ----------
    recommended : Recommendations, array of shape (n_users, n) or list of lists
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

    References
    ----------
    .. [1] J. Herlocker, J. Konstan, L. Terveen, J. Riedl. Evaluating collaborative filtering recommender systems.
       ACM TOIS 22(1), 2004, section 4.2. The denominator is that of Spark's RankingMetrics.

    Examples
    --------
    >>> from fastals.evaluation import precision_at_k
    >>> from scipy.sparse import csr_array
    >>> held_out = csr_array([[1, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]])
    >>> precision_at_k([[0, 2], [1, 3], [0, 1]], held_out, k=2)
    0.5
    """
    return float(_precision(*judge(recommended, test, k)).mean())


def recall_at_k(recommended: Any, test: Any, k: int = 10) -> float:
    """Mean of (hits among the first k) / rel. Arguments, errors and source: :func:`precision_at_k`.

    Examples
    --------
    >>> from fastals.evaluation import recall_at_k
    >>> from scipy.sparse import csr_array
    >>> recall_at_k([[0, 2], [1, 3]], csr_array([[1, 1, 0, 0], [0, 0, 0, 1]]), k=2)
    0.75
    """
    return float(_recall(*judge(recommended, test, k)).mean())


def ndcg_at_k(recommended: Any, test: Any, k: int = 10) -> float:
    """Mean of DCG / ideal DCG: a hit at position p gains 1 / log2(p + 1), the ideal list begins with min(rel, k) hits.

    Gains are 0 or 1 [1]_. Arguments and errors: :func:`precision_at_k`.

    References
    ----------
    .. [1] K. Järvelin, J. Kekäläinen. Cumulated gain-based evaluation of IR techniques. ACM TOIS 20(4), 2002.

    Examples
    --------
    >>> from fastals.evaluation import ndcg_at_k
    >>> from scipy.sparse import csr_array
    >>> round(ndcg_at_k([[0, 2], [1, 3]], csr_array([[1, 1, 0, 0], [0, 0, 0, 1]]), k=2), 3)
    0.622
    """
    return float(_ndcg(*judge(recommended, test, k)).mean())


def map_at_k(recommended: Any, test: Any, k: int = 10) -> float:
    """Mean of (sum over hits at positions p <= k of the precision at p) / min(rel, k) [1]_.

    With a k not below any rel and the lists' length it is the MAP of whole lists. Arguments and errors:
    :func:`precision_at_k`.

    References
    ----------
    .. [1] C. Manning, P. Raghavan, H. Schütze. Introduction to information retrieval. Cambridge University Press, 2008,
       section 8.4. The denominator for k < rel is that of Spark's RankingMetrics.

    Examples
    --------
    >>> from fastals.evaluation import map_at_k
    >>> from scipy.sparse import csr_array
    >>> map_at_k([[0, 2], [1, 3]], csr_array([[1, 1, 0, 0], [0, 0, 0, 1]]), k=2)
    0.5
    """
    return float(_average_precision(*judge(recommended, test, k)).mean())


def mrr_at_k(recommended: Any, test: Any, k: int = 10) -> float:
    """Mean of 1 / (position of the first hit), 0 where the first k hold none [1]_.

    Arguments and errors: :func:`precision_at_k`.

    References
    ----------
    .. [1] E. Voorhees. The TREC-8 question answering track report. TREC 1999.

    Examples
    --------
    >>> from fastals.evaluation import mrr_at_k
    >>> from scipy.sparse import csr_array
    >>> mrr_at_k([[0, 2], [1, 3]], csr_array([[1, 1, 0, 0], [0, 0, 0, 1]]), k=2)
    0.75
    """
    return float(_reciprocal_rank(*judge(recommended, test, k)).mean())


def hit_rate_at_k(recommended: Any, test: Any, k: int = 10) -> float:
    """Share of the users whose first k hold at least one hit [1]_. Arguments and errors: :func:`precision_at_k`.

    References
    ----------
    .. [1] M. Deshpande, G. Karypis. Item-based top-N recommendation algorithms. ACM TOIS 22(1), 2004, section 6.

    Examples
    --------
    >>> from fastals.evaluation import hit_rate_at_k
    >>> from scipy.sparse import csr_array
    >>> hit_rate_at_k([[0, 2], [1, 3]], csr_array([[1, 1, 0, 0], [0, 0, 0, 1]]), k=1)
    0.5
    """
    return float(_hit_rate(*judge(recommended, test, k)).mean())


# -- beyond accuracy --------------------------------------------------------------------------------------------------


def novelty_at_k(recommended: Any, train: Any, k: int = 10) -> float:
    """Mean self-information of the recommended items, log2(n_users / popularity), in bits [1]_.

    The popularity of an item is the number of users who have it in `train`, at least 1.

    Parameters
    ----------
    recommended : Recommendations, array of shape (m, n) or list of lists
        Lists in the labels of `train` (indices if it has none), padded with -1 or None. Only the first k columns count.
    train : Interactions, or what :meth:`ImplicitALS.fit` takes
        Which items there are, and how many users have each.
    k : int, default 10

    Returns
    -------
    float
        The mean over the lists that are not empty of the mean over a list's items.

    Raises
    ------
    DataError
        All lists are empty.
    UnknownLabelError
        An item that `train` does not know.

    References
    ----------
    .. [1] T. Zhou, Z. Kuscsik, J. Liu, M. Medo, J. Wakeling, Y. Zhang. Solving the apparent diversity-accuracy dilemma
       of recommender systems. PNAS 107(10), 2010.

    Examples
    --------
    >>> from fastals.evaluation import novelty_at_k
    >>> from scipy.sparse import csr_array
    >>> novelty_at_k([[1, 2], [0, -1]], csr_array([[1, 1, 0], [1, 0, 0], [1, 1, 0], [1, 0, 1]]))
    0.75
    """
    interactions = as_interactions(train)
    lists = _known_items(recommended, interactions.item_labels, k)
    lengths = (lists >= 0).sum(axis=1)
    if not lengths.any():
        raise DataError("recommended holds no item")
    bits = np.log2(interactions.n_users / np.maximum(users_of_items(interactions), 1))
    sums = np.append(bits, 0)[lists].sum(axis=1)  # the last is what -1 reads
    return float(np.mean(sums[lengths > 0] / lengths[lengths > 0]))


def coverage_at_k(recommended: Any, train: Any, k: int = 10) -> float:
    """Share of the items that at least one list holds among its first k: catalogue coverage [1]_.

    Arguments and errors: :func:`novelty_at_k`.

    References
    ----------
    .. [1] M. Ge, C. Delgado-Battenfeld, D. Jannach. Beyond accuracy: evaluating recommender systems by coverage and
       serendipity. RecSys 2010, equation 2.

    Examples
    --------
    >>> from fastals.evaluation import coverage_at_k
    >>> from scipy.sparse import csr_array
    >>> coverage_at_k([[0, 2], [2, 0]], csr_array([[0, 1, 0, 1], [0, 1, 0, 0]]))
    0.5
    """
    return float((_exposure(recommended, train, k) > 0).mean())


def gini_at_k(recommended: Any, train: Any, k: int = 10) -> float:
    """Gini index of how often the lists hold each item: 0 all alike, towards 1 always the same few [1]_.

    With the n items' counts c in ascending order, ``sum_j (2 j - n - 1) c_j / (n sum_j c_j)``, j from 1. Arguments and
    errors: :func:`novelty_at_k`.

    References
    ----------
    .. [1] G. Shani, A. Gunawardana. Evaluating recommendation systems. Recommender Systems Handbook, Springer, 2011,
       section 8.3.3.

    Examples
    --------
    >>> from fastals.evaluation import gini_at_k
    >>> from scipy.sparse import csr_array
    >>> gini_at_k([[0], [0]], csr_array([[0, 1, 0, 1], [0, 1, 0, 0]]))
    0.75
    """
    return gini(_exposure(recommended, train, k))


def gini(counts: NDArray[np.int64]) -> float:
    n = len(counts)
    return float((2 * np.arange(1, n + 1) - n - 1) @ np.sort(counts) / (n * counts.sum()))


def entropy_at_k(recommended: Any, train: Any, k: int = 10) -> float:
    """Shannon entropy of how often the lists hold each item, ``- sum_i p_i ln p_i``, in nats [1]_.

    0: always the same item; ln n_items: all alike. Arguments and errors: :func:`novelty_at_k`.

    References
    ----------
    .. [1] G. Shani, A. Gunawardana. Evaluating recommendation systems. Recommender Systems Handbook, Springer, 2011,
       section 8.3.3.

    Examples
    --------
    >>> from fastals.evaluation import entropy_at_k
    >>> from scipy.sparse import csr_array
    >>> round(entropy_at_k([[0, 2], [2, 0]], csr_array([[0, 1, 0, 1], [0, 1, 0, 0]])), 3)
    0.693
    """
    counts = _exposure(recommended, train, k)
    shares = counts[counts > 0] / counts.sum()
    return float(abs(shares @ np.log(shares)))


def _known_items(recommended: Any, labels: Labels, k: int) -> NDArray[np.int32]:
    """Return the first k columns of lists as indices of items, -1 for padding only."""
    lists = _array_of_lists(recommended)[:, : check_int("k", k, low=1)]
    indices = _encode_lists(lists, labels)
    labels.encode_known("recommended", lists[(indices < 0) & (lists != -1) & present(lists)])
    return indices


def users_of_items(train: Interactions) -> NDArray[np.int64]:
    """Return how many users have each item; a user who has it twice ("keep") is one."""
    if not may_repeat(train):
        return np.diff(train.lines("items").indptr)
    counts = np.zeros(train.n_items, np.int64)
    for users in runs(train, np.arange(train.n_users)):
        counts += np.bincount(distinct(cells_of(train, users)) % train.n_items, minlength=train.n_items)
    return counts


def runs(data: Interactions, users: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Cut some users, ascending, into runs with so few cells that all of a run's fit into memory, wherever they are."""
    lengths = data.indptr[users + 1] - data.indptr[users]
    for first, last in pairwise(cut(np.concatenate(([0], lengths.cumsum())), RUN_CELLS).tolist()):
        yield users[first:last]


def _exposure(recommended: Any, train: Any, k: int) -> NDArray[np.int64]:
    """How many places of the lists each item has."""
    interactions = as_interactions(train)
    lists = _known_items(recommended, interactions.item_labels, k)
    if (lists < 0).all():
        raise DataError("recommended holds no item")
    return np.bincount(lists[lists >= 0], minlength=interactions.n_items)


# -- cells ------------------------------------------------------------------------------------------------------------

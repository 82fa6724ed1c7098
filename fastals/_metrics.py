"""Ranking metrics of lists that have been judged: one formula each, for all users at once."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Hits: TypeAlias = NDArray[np.bool_]
Scores: TypeAlias = Any
"""float64 of shape (n_users,); what numpy's reductions return is Any to a type checker."""

# hits: (n_users, at most k), relevant: rel, (n_users,), all >= 1; what they mean stands in evaluation.py


def precision(hits: Hits, relevant: NDArray[np.int64], k: int) -> Scores:
    """Hits / k."""
    return hits.sum(axis=1) / k


def recall(hits: Hits, relevant: NDArray[np.int64], k: int) -> Scores:
    """Hits / rel."""
    return hits.sum(axis=1) / relevant


def average_precision(hits: Hits, relevant: NDArray[np.int64], k: int) -> Scores:
    """Sum of the precision at each hit / min(rel, k)."""
    precision = hits.cumsum(axis=1) / np.arange(1, hits.shape[1] + 1)
    return (precision * hits).sum(axis=1) / np.minimum(relevant, k)


def ndcg(hits: Hits, relevant: NDArray[np.int64], k: int) -> Scores:
    """DCG / ideal DCG, binary gains, discount 1 / log2(position + 1)."""
    gains = 1 / np.log2(np.arange(2, k + 2))
    return hits @ gains[: hits.shape[1]] / gains.cumsum()[np.minimum(relevant, k) - 1]


def reciprocal_rank(hits: Hits, relevant: NDArray[np.int64], k: int) -> Scores:
    """1 / position of the first hit."""
    return hits.any(axis=1) / (1.0 + hits.argmax(axis=1))


def hit_rate(hits: Hits, relevant: NDArray[np.int64], k: int) -> Scores:
    """1 where there is a hit."""
    return hits.any(axis=1).astype(np.float64)


RANKING: dict[str, Callable[[Hits, NDArray[np.int64], int], Scores]] = {
    "precision": precision,
    "recall": recall,
    "ndcg": ndcg,
    "map": average_precision,
    "mrr": reciprocal_rank,
    "hit_rate": hit_rate,
}


def cell_numbers(indptr: NDArray[Any], indices: NDArray[Any], n_columns: int) -> NDArray[np.int64]:
    """Return the cells of compressed rows as row * n_columns + column: ascending where each row's indices are."""
    numbers: NDArray[np.int64] = np.repeat(np.arange(len(indptr) - 1, dtype=np.int64) * n_columns, np.diff(indptr))
    numbers += indices
    return numbers


def contains(ascending: NDArray[np.int64], numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of the numbers are among the ascending ones."""
    if not len(ascending):
        return np.zeros(len(numbers), dtype=bool)
    nearest = ascending[np.minimum(np.searchsorted(ascending, numbers), len(ascending) - 1)]
    return np.equal(nearest, numbers)

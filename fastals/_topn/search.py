"""Top-N search: the items of highest score x'y for each query x, exactly."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core import ParameterError, kernels
from .._data import contains, distinct
from .._equation import FactorArray
from .panels import ItemLists, Panels

WORKSPACE_BYTES = 1 << 24
"""Queries are searched in groups that need about so much workspace a thread at most, in groups of 8 at least."""


def top_n(
    queries: FactorArray,
    panels: Panels,
    n: int,
    *,
    seen: ItemLists | None = None,
    candidates: NDArray[np.int32] | None = None,
    exclude: NDArray[np.int32] | None = None,
    exclude_each: ItemLists | None = None,
    num_threads: int,
) -> tuple[NDArray[np.int32], FactorArray]:
    """Find the n items of highest score for each query, best first, equal scores by ascending item.

    Parameters
    ----------
    queries : array of shape (m, k)
        C-contiguous, finite, of the dtype of ``panels.factors``.
    panels : Panels
    n : int
        At least 1.
    seen : ItemLists, optional
        Items that a query must not get.
    candidates : int32 array, optional
        The only items to look at.
    exclude : int32 array, optional
        Items that no query gets.
    exclude_each : ItemLists, optional
        Further items that a query must not get.
    num_threads : int

    Returns
    -------
    items : int32 array of shape (m, n)
        A list that is shorter than n is filled up with -1.
    scores : array of shape (m, n)
        In the dtype of the factors; -inf where ``items`` is -1. What a pair scores does not depend on the other
        queries, the number of threads or n.
    """
    if candidates is not None:
        panels = panels.subset(candidates, num_threads)
    found, m = min(n, max(1, panels.size)), len(queries)
    bytes_each = 8 * len(panels.codes) + 32 * found
    group = min(kernels.QUERIES, -(-m // num_threads), WORKSPACE_BYTES // bytes_each)
    items, scores = kernels.top_n(
        panels.rows,
        panels.codes,
        panels.bounds,
        panels.items,
        panels.columns,
        panels.all_open if exclude is None else panels.open_columns(exclude),
        queries,
        found,
        None if seen is None else tuple(seen),
        None if exclude_each is None else tuple(exclude_each),
        max(8, group),
        num_threads,
    )
    if found == n:
        return items, scores
    return _padded(items, scores, n)


def top_n_of_own(
    queries: FactorArray,
    panels: Panels,
    own: ItemLists,
    n: int,
    *,
    exclude: NDArray[np.int32] | None = None,
    exclude_each: tuple[ItemLists, ...] = (),
    num_threads: int,
) -> tuple[NDArray[np.int32], FactorArray]:
    """Find the n items of highest score for each query among its own candidates, which are all scored.

    Arguments and result as for :func:`top_n`, ``own`` being the candidates.
    """
    m, n_items = len(queries), len(panels.factors)

    def numbers(lists: ItemLists) -> NDArray[np.int64]:
        rows, items = lists.pairs()
        return distinct(np.sort(rows * n_items + items))

    cells = numbers(own)
    for lists in exclude_each:
        cells = cells[~contains(numbers(lists), cells)]
    rows, items = np.divmod(cells, n_items)
    is_open = panels.columns >= 0
    if exclude is not None:
        is_open[exclude] = False
    rows, items = rows[is_open[items]].astype(np.int32), items[is_open[items]].astype(np.int32)
    scores = kernels.pair_scores(queries, panels.factors, rows, items, num_threads)
    is_score = ~np.isnan(scores)
    rows, items, scores = rows[is_score], items[is_score], scores[is_score]
    best_items, best_scores = np.full((m, n), -1, np.int32), np.full((m, n), -np.inf, queries.dtype)
    ends = np.searchsorted(rows, np.arange(m + 1))
    for query, (first, last) in enumerate(pairwise(ends.tolist())):
        # items ascend, so equal scores stay in their order
        best = first + np.argsort(-scores[first:last], kind="stable")[:n]
        best_items[query, : len(best)], best_scores[query, : len(best)] = items[best], scores[best]
    return best_items, best_scores


def _padded(items: NDArray[np.int32], scores: FactorArray, n: int) -> tuple[NDArray[np.int32], FactorArray]:
    m, found = items.shape
    all_items, all_scores = np.full((m, n), -1, np.int32), np.full((m, n), -np.inf, scores.dtype)
    all_items[:, :found], all_scores[:, :found] = items, scores
    return all_items, all_scores


@dataclass
class Wanted:
    """What a call asks for beyond scores, as indices."""

    candidates: NDArray[np.int32] | None = None
    """The only items to look at."""
    own: ItemLists | None = None
    """The only items to look at for each query."""
    exclude: NDArray[np.int32] | None = None
    exclude_each: ItemLists | None = None
    boost: NDArray[Any] | None = None
    """What each item's scores are multiplied by."""
    _made: dict[str, Panels] = field(default_factory=dict)

    def of(self, table: str, panels: Panels, num_threads: int) -> Panels:
        """The table with boosts and of the candidates only; made once for any number of batches."""
        if table not in self._made:
            if self.boost is not None:
                panels = Panels(_boosted(panels.factors, self.boost), num_threads)
            if self.candidates is not None:
                panels = panels.subset(self.candidates, num_threads)
            self._made[table] = panels
        return self._made[table]

    @property
    def is_plain(self) -> bool:
        """Whether nothing is asked for."""
        asked = self.candidates, self.own, self.exclude, self.exclude_each, self.boost
        return all(each is None for each in asked)

    def part(self, queries: NDArray[Any]) -> Wanted:
        """What is asked for some of the queries."""
        own, each = (None if lists is None else lists.of(queries) for lists in (self.own, self.exclude_each))
        return replace(self, own=own, exclude_each=each)


def _boosted(factors: FactorArray, weights: NDArray[Any]) -> FactorArray:
    """Rows times their items' numbers: every score is then multiplied, and the search as exact as ever."""
    with np.errstate(over="ignore"):
        rows: FactorArray = factors * weights[:, np.newaxis].astype(factors.dtype)
    if not np.isfinite(rows).all():
        raise ParameterError(f"boost must leave the scores within {factors.dtype}'s range, got {weights.max()}")
    return rows

"""Top-N search: the items of highest score x'y for each query x, exactly."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._core import FactorArray, ParameterError, kernels
from .._data import contains, distinct
from .panels import Boost, ItemLists, Panels

WORKSPACE_BYTES = 1 << 24
"""Queries are searched in groups that need about so much workspace a thread at most, in groups of 8 at least."""

PACKING = 100
"""Packing an item takes as long as looking so many panels through for one of many queries, about."""

Lists: TypeAlias = tuple[NDArray[np.int32], FactorArray]
"""Items and scores, of shape (m, n)."""


def top_n(
    queries: FactorArray,
    panels: Panels,
    n: int,
    *,
    seen: ItemLists | None = None,
    exclude_each: ItemLists | None = None,
    num_threads: int,
) -> Lists:
    """Find the n items of highest score for each query, best first, equal scores by ascending item.

    Parameters
    ----------
    queries : array of shape (m, k)
        C-contiguous, finite, of the dtype of ``panels.factors``.
    panels : Panels
        Or a view of some, with what is asked for all queries.
    n : int
        At least 1.
    seen : ItemLists, optional
        Items that a query must not get.
    exclude_each : ItemLists, optional
        Further items that a query must not get.
    num_threads : int

    Returns
    -------
    items : int32 array of shape (m, n)
        A list that is shorter than n is filled up with -1.
    scores : array of shape (m, n)
        In the dtype of the factors; -inf where ``items`` is -1. What a pair scores does not depend on the other
        queries, the number of threads or n; boosted scores are those, boosted.

    Raises
    ------
    ParameterError
        A boosted score is out of the dtype's range.
    """
    found, m = min(n, max(1, panels.size)), len(queries)
    bytes_each = 8 * len(panels.codes) + 32 * found
    group = min(kernels.QUERIES, -(-m // num_threads), WORKSPACE_BYTES // bytes_each)
    items, scores = kernels.top_n(
        panels.rows,
        panels.codes,
        panels.bounds,
        panels.items,
        panels.columns,
        panels.open,
        None if panels.weights is None else tuple(panels.weights),
        queries,
        found,
        None if seen is None else tuple(seen),
        None if exclude_each is None else tuple(exclude_each),
        max(8, group),
        num_threads,
    )
    _check_range(queries, panels, items, scores)
    return (items, scores) if found == n else _padded(items, scores, n)


def top_n_of_own(
    queries: FactorArray,
    panels: Panels,
    own: ItemLists,
    n: int,
    *,
    exclude_each: tuple[ItemLists, ...] = (),
    num_threads: int,
) -> Lists:
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
    rows, items = (part.astype(np.int32) for part in np.divmod(cells, n_items))
    is_open = panels.is_open(items)
    rows, items = rows[is_open], items[is_open]
    scores = kernels.pair_scores(queries, panels.factors, rows, items, num_threads)
    if panels.weights is not None:
        scores = panels.weights.boosted(scores, panels.columns[items])
    is_score = ~np.isnan(scores)
    rows, items, scores = rows[is_score], items[is_score], scores[is_score]
    best_items, best_scores = np.full((m, n), -1, np.int32), np.full((m, n), -np.inf, queries.dtype)
    ends = np.searchsorted(rows, np.arange(m + 1))
    for query, (first, last) in enumerate(pairwise(ends.tolist())):
        # items ascend, so equal scores stay in their order
        best = first + np.argsort(-scores[first:last], kind="stable")[:n]
        best_items[query, : len(best)], best_scores[query, : len(best)] = items[best], scores[best]
    _check_range(queries, panels, best_items, best_scores)
    return best_items, best_scores


def _check_range(queries: FactorArray, panels: Panels, items: NDArray[np.int32], scores: FactorArray) -> None:
    """Refuse infinite scores that a boost has made."""
    if panels.weights is None or np.isfinite(scores, where=items >= 0, out=np.ones(items.shape, np.bool_)).all():
        return
    places, ranks = np.nonzero(~np.isfinite(scores) & (items >= 0))
    infinite = items[places, ranks]
    plain = kernels.pair_scores(queries, panels.factors, places.astype(np.int32), infinite, 1)
    if np.isfinite(plain).any():
        at = int(np.isfinite(plain).argmax())
        weight = panels.weights.of(panels.columns[infinite[at : at + 1]])[0]
        raise ParameterError(
            f"boost must leave the scores within {scores.dtype}'s range, got {weight} for a score of {plain[at]}: "
            "one nearer to 1 will do, and 0 leaves the item out"
        )


def _padded(items: NDArray[np.int32], scores: FactorArray, n: int) -> Lists:
    m, found = items.shape
    all_items, all_scores = np.full((m, n), -1, np.int32), np.full((m, n), -np.inf, scores.dtype)
    all_items[:, :found], all_scores[:, :found] = items, scores
    return all_items, all_scores


@dataclass(frozen=True, eq=False, repr=False)
class Wanted:
    """What a call asks for beyond scores, as indices. It belongs to that call: what it makes is not kept."""

    queries: int = 1
    """How many lists the whole call is for."""
    candidates: NDArray[np.int32] | None = None
    """The only items to look at."""
    own: ItemLists | None = None
    """The only items to look at for each query."""
    exclude: NDArray[np.int32] | None = None
    exclude_each: ItemLists | None = None
    boost: Boost | None = None
    _made: dict[str, Panels] = field(default_factory=dict)

    def search(
        self, table: str, panels: Panels, queries: FactorArray, n: int, *, seen: ItemLists | None, num_threads: int
    ) -> Lists:
        """Find what is wanted for some of the queries in a table, which has a name."""
        panels = self._of(table, panels, num_threads)
        if self.own is None:
            return top_n(queries, panels, n, seen=seen, exclude_each=self.exclude_each, num_threads=num_threads)
        lists = tuple(each for each in (seen, self.exclude_each) if each is not None)
        return top_n_of_own(queries, panels, self.own, n, exclude_each=lists, num_threads=num_threads)

    def _of(self, table: str, panels: Panels, num_threads: int) -> Panels:
        """The table as it is wanted; made once for any number of batches."""
        if table not in self._made:
            candidates = self.candidates
            if candidates is not None and _pays(len(candidates), len(panels.codes), self.queries):
                panels, candidates = panels.subset(candidates, num_threads), None
            self._made[table] = panels.view(candidates=candidates, exclude=self.exclude, boost=self.boost)
        return self._made[table]

    @property
    def is_plain(self) -> bool:
        """Whether nothing is asked for."""
        asked = self.candidates, self.own, self.exclude, self.exclude_each, self.boost
        return all(each is None for each in asked)

    def without(self, lists: ItemLists | None) -> Wanted:
        """The same, and each query without its list of these."""
        if lists is None:
            return self
        return replace(self, exclude_each=lists if self.exclude_each is None else self.exclude_each.joined(lists))

    def part(self, queries: NDArray[Any]) -> Wanted:
        """What is asked for some of the queries."""
        own, each = (None if lists is None else lists.of(queries) for lists in (self.own, self.exclude_each))
        return replace(self, own=own, exclude_each=each)


def _pays(n_candidates: int, n_panels: int, n_queries: int) -> bool:
    """Whether packing candidates anew costs less than looking through panels that hold few of them."""
    spared = min(n_candidates, n_panels) - n_candidates // kernels.PANEL
    return n_queries * spared > PACKING * n_candidates

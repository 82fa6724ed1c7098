"""Scores: rows of a product of two sparse matrices, and the best columns of each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._core import tables
from .._data import Compressed
from .._topn import ItemLists, Wanted

Scores: TypeAlias = NDArray[np.float32]
Found: TypeAlias = tuple[NDArray[np.int32], Scores]


class Scoring(NamedTuple):
    """How scores come about: rows of ``left`` times ``right``; see ``tables.product_best``."""

    left: Compressed
    right: Compressed
    n_columns: int
    weighting: str | None
    column_base: NDArray[np.float64] | None
    row_base: NDArray[np.float64] | None


@dataclass(frozen=True)
class Queries:
    """Rows of the left factor of a product, and what is added to each row's scores."""

    lists: ItemLists
    values: NDArray[np.float32]
    base: NDArray[np.float64] | None

    def __len__(self) -> int:
        return len(self.lists.first)

    def __getitem__(self, some: Any) -> Queries:
        """Some of them."""
        return Queries(self.lists.of(some), self.values, None if self.base is None else self.base[some])


def search(
    scoring: Scoring,
    queries: Queries,
    n: int,
    seen: ItemLists | None,
    wanted: Wanted,
    known: NDArray[np.bool_] | None,
    num_threads: int,
) -> Found:
    """Return each query's n best columns among the wanted and the known (None: all), without those seen."""
    hidden = [lists for lists in (seen, wanted.exclude_each) if lists is not None]
    is_open = open_columns(wanted, scoring.n_columns, known)
    if wanted.own is None:
        return _best(scoring, queries, n, joined(hidden), is_open, num_threads)
    items, scores = np.empty((len(queries), n), np.int32), np.empty((len(queries), n), np.float32)
    for q in range(len(queries)):
        own = np.zeros(scoring.n_columns, np.bool_)
        own[wanted.own.items[wanted.own.first[q] : wanted.own.last[q]]] = True
        if is_open is not None:
            own &= is_open
        one = joined([part(lists, q) for lists in hidden])
        items[q : q + 1], scores[q : q + 1] = _best(scoring, queries[q : q + 1], n, one, own, num_threads)
    return items, scores


def open_columns(wanted: Wanted, n_columns: int, known: NDArray[np.bool_] | None = None) -> NDArray[np.bool_] | None:
    """Return which columns any query may find, of the known ones; None: all."""
    is_open = None if known is None else known.copy()
    if wanted.candidates is not None or wanted.exclude is not None:
        if is_open is None:
            is_open = np.ones(n_columns, np.bool_)
        if wanted.candidates is not None:
            is_open &= np.isin(np.arange(n_columns), wanted.candidates)
        if wanted.exclude is not None:
            is_open[wanted.exclude] = False
    return is_open


def _best(
    scoring: Scoring,
    queries: Queries,
    n: int,
    hidden: ItemLists | None,
    open_columns: NDArray[np.bool_] | None,
    num_threads: int,
) -> Found:
    items, scores = tables.product_best(
        tuple(queries.lists),
        queries.values,
        scoring.right,
        scoring.n_columns,
        min(n, scoring.n_columns),
        num_threads,
        weighting=scoring.weighting,
        base=scoring.column_base,
        hidden=None if hidden is None else tuple(hidden),
        open=None if open_columns is None else open_columns.view(np.uint8),
    )
    if queries.base is not None:
        scores += queries.base[:, None].astype(np.float32)
    return padded(items, scores, n)


def scores_at(
    scoring: Scoring, rows: NDArray[np.integer[Any]], at: tuple[Any, Any, NDArray[np.int32]], num_threads: int
) -> Scores:
    """Return the scores of some columns of each row; ``at`` is (first, last, columns), row by row."""
    scores: Scores = tables.product_at(
        tuple(ItemLists.of_rows(*scoring.left[:2], rows)),
        scoring.left[2],
        scoring.right,
        scoring.n_columns,
        at,
        num_threads,
        weighting=scoring.weighting,
        base=scoring.column_base,
    )
    if scoring.row_base is not None:
        scores += np.repeat(scoring.row_base[rows], at[1] - at[0]).astype(np.float32)
    return scores


def part(lists: ItemLists, q: int) -> ItemLists:
    """Return query q's alone."""
    return ItemLists(lists.first[q : q + 1], lists.last[q : q + 1], lists.items)


def joined(lists: list[ItemLists]) -> ItemLists | None:
    """Return the items of all, query by query."""
    return reduce(ItemLists.joined, lists) if lists else None


def padded(items: NDArray[np.int32], scores: Scores, n: int) -> Found:
    """Return lists of n, whose ends are no items."""
    short = ((0, 0), (0, n - items.shape[1]))
    return np.pad(items, short, constant_values=-1), np.pad(scores, short, constant_values=-np.inf)


def one_each(items: NDArray[np.int32]) -> tuple[Any, ...]:
    """Return lists of one item each."""
    places = np.arange(len(items) + 1)
    return places[:-1], places[1:], items

"""Scores: rows of a product of two matrices, the left one sparse, and the best columns of each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._core import FactorArray, tables
from .._data import Compressed
from .._topn import ItemLists, Wanted

Scores: TypeAlias = FactorArray
Found: TypeAlias = tuple[NDArray[np.int32], Scores]
Lines: TypeAlias = NDArray[np.integer[Any]]
Places: TypeAlias = tuple[Any, Any, NDArray[np.int32]]
"""Some columns of each of several rows: (first, last, columns)."""


@dataclass(frozen=True)
class Queries:
    """Rows of the left factor of a product, and what is added to each row's scores."""

    lists: ItemLists
    values: FactorArray
    base: NDArray[np.float64] | None

    def __len__(self) -> int:
        return len(self.lists.first)

    def __getitem__(self, some: Any) -> Queries:
        """Some of them."""
        return Queries(self.lists.of(some), self.values, None if self.base is None else self.base[some])


class Product(Protocol):
    """How scores come about."""

    @property
    def n_columns(self) -> int:
        """What is scored: all items, or all users."""

    def queries(self, rows: NDArray[Any] | slice) -> Queries:
        """Rows of the left factor."""

    def best(
        self, queries: Queries, n: int, hidden: ItemLists | None, is_open: NDArray[np.uint8] | None, num_threads: int
    ) -> Found:
        """Return each query's n best columns, at most so many as there are; None: all are open."""


class Scoring(NamedTuple):
    """Rows of ``left`` times ``right``, both sparse; see ``tables.product_best``."""

    left: Compressed
    right: Compressed
    n_columns: int
    weighting: str | None
    column_base: NDArray[np.float64] | None
    row_base: NDArray[np.float64] | None

    def queries(self, rows: NDArray[Any] | slice) -> Queries:
        """Rows of ``left``."""
        base = None if self.row_base is None else self.row_base[rows]
        return Queries(ItemLists.of_rows(*self.left[:2], rows), self.left[2], base)

    def best(
        self, queries: Queries, n: int, hidden: ItemLists | None, is_open: NDArray[np.uint8] | None, num_threads: int
    ) -> Found:
        """Return the best columns that have a score."""
        items, scores = tables.product_best(
            tuple(queries.lists),
            queries.values,
            self.right,
            self.n_columns,
            n,
            num_threads,
            weighting=self.weighting,
            base=self.column_base,
            hidden=None if hidden is None else tuple(hidden),
            open=is_open,
        )
        if queries.base is not None:
            scores += queries.base[:, None].astype(np.float32)
        return items, scores

    def at(self, rows: Lines, at: Places, num_threads: int) -> Scores:
        """Return the scores of some columns of each row."""
        scores: Scores = tables.product_at(
            tuple(ItemLists.of_rows(*self.left[:2], rows)),
            self.left[2],
            self.right,
            self.n_columns,
            at,
            num_threads,
            weighting=self.weighting,
            base=self.column_base,
        )
        if self.row_base is not None:
            scores += np.repeat(self.row_base[rows], at[1] - at[0]).astype(np.float32)
        return scores


def search(
    product: Product,
    queries: Queries,
    n: int,
    seen: ItemLists | None,
    wanted: Wanted,
    known: NDArray[np.bool_] | None,
    num_threads: int,
) -> Found:
    """Return each query's n best columns among the wanted and the known (None: all), without those seen."""
    hidden = [lists for lists in (seen, wanted.exclude_each) if lists is not None]
    is_open = open_columns(wanted, product.n_columns, known)
    if wanted.own is None:
        return _best(product, queries, n, joined(hidden), is_open, num_threads)
    found: list[Found] = []
    for q in range(len(queries)):
        own = np.zeros(product.n_columns, np.bool_)
        own[wanted.own.items[wanted.own.first[q] : wanted.own.last[q]]] = True
        if is_open is not None:
            own &= is_open
        one = joined([part(lists, q) for lists in hidden])
        found.append(_best(product, queries[q : q + 1], n, one, own, num_threads))
    if not found:
        return _best(product, queries, n, None, is_open, num_threads)
    return np.concatenate([items for items, _ in found]), np.concatenate([scores for _, scores in found])


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
    product: Product,
    queries: Queries,
    n: int,
    hidden: ItemLists | None,
    open_columns: NDArray[np.bool_] | None,
    num_threads: int,
) -> Found:
    is_open = None if open_columns is None else open_columns.view(np.uint8)
    return padded(*product.best(queries, min(n, product.n_columns), hidden, is_open, num_threads), n)


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

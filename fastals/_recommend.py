"""Top-N search: the items of highest score x'y for each query x, exactly, and what models build on it."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from . import _kernels

FactorArray: TypeAlias = NDArray[np.float32] | NDArray[np.float64]

WORKSPACE_BYTES = 1 << 24
"""Queries are searched in groups that need about so much workspace a thread at most, in groups of 8 at least."""


class ItemLists(NamedTuple):
    """One list of items for each query q: ``items[first[q]:last[q]]``."""

    first: NDArray[np.int64]
    last: NDArray[np.int64]
    items: NDArray[np.int32]

    @classmethod
    def of_rows(cls, indptr: NDArray[np.int64], indices: NDArray[np.int32], rows: Any = slice(None)) -> ItemLists:
        """Rows of a CSR matrix; ``rows`` as one would index an array with."""
        first, last = indptr[:-1][rows], indptr[1:][rows]
        return cls(np.ascontiguousarray(first), np.ascontiguousarray(last), indices)


class Panels:
    """Rows of factors, packed once for any number of searches.

    The rows stand by descending norm, so that a search may stop early, 48 to a panel: as they are, and as eight-bit
    codes with bounds, for ruling most of them out. Columns are the places of rows in that order.

    Parameters
    ----------
    factors : array of shape (n_items, k)
        C-contiguous float32 or float64, finite. Kept, not copied.
    num_threads : int
    candidates : int32 array of shape (n_candidates,), optional
        Distinct items by descending norm, default all: no other is ever found.
    """

    def __init__(
        self, factors: FactorArray, num_threads: int, *, candidates: NDArray[np.int32] | None = None
    ) -> None:
        self.factors = factors
        if candidates is None:
            with np.errstate(over="ignore"):
                norms = np.einsum("ij,ij->i", factors, factors)
            candidates = np.argsort(-norms, kind="stable").astype(np.int32)
        self.size = len(candidates)
        n_panels = max(1, -(-self.size // _kernels.PANEL))
        self.items = np.full(n_panels * _kernels.PANEL, -1, np.int32)
        self.items[: self.size] = candidates
        self.columns = np.full(len(factors), -1, np.int32)
        self.columns[candidates] = np.arange(self.size, dtype=np.int32)
        self.rows, self.codes, self.bounds = _kernels.pack_panels(factors, self.items, num_threads)
        # norms descend but for rounding: the bound of a panel and all behind it
        self.bounds[:, 1] = np.maximum.accumulate(self.bounds[::-1, 0])[::-1]

    def subset(self, candidates: NDArray[np.int32], num_threads: int) -> Panels:
        """Only these items, repeats counting once: a smaller table costs less than looking the large one through."""
        columns = self.columns[candidates]
        return Panels(self.factors, num_threads, candidates=self.items[np.unique(columns[columns >= 0])])

    def open_columns(self, exclude: NDArray[np.int32] | None = None) -> NDArray[np.uint64]:
        """One word a panel, bit c for its column c: it holds an item, and none of ``exclude``."""
        flags = np.zeros((len(self.codes), 64), np.bool_)
        flags[:, : _kernels.PANEL] = (self.items >= 0).reshape(-1, _kernels.PANEL)
        if exclude is not None:
            columns = self.columns[exclude]
            panel, bit = np.divmod(columns[columns >= 0], _kernels.PANEL)
            flags[panel, bit] = False
        return np.packbits(flags, axis=1, bitorder="little").view("<u8").ravel().astype(np.uint64)


def top_n(
    queries: FactorArray,
    panels: Panels,
    n: int,
    *,
    seen: ItemLists | None = None,
    candidates: NDArray[np.int32] | None = None,
    exclude: NDArray[np.int32] | ItemLists | None = None,
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
    exclude : int32 array or ItemLists, optional
        Items that no query gets, or further lists, one for each query.
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
    exclude_all, exclude_each = (None, exclude) if isinstance(exclude, ItemLists) else (exclude, None)
    found, m = min(n, max(1, panels.size)), len(queries)
    bytes_each = 8 * len(panels.codes) + 32 * found
    group = min(_kernels.QUERIES, -(-m // num_threads), WORKSPACE_BYTES // bytes_each)
    items, scores = _kernels.top_n(
        panels.rows,
        panels.codes,
        panels.bounds,
        panels.items,
        panels.columns,
        panels.open_columns(exclude_all),
        queries,
        found,
        None if seen is None else tuple(seen),
        None if exclude_each is None else tuple(exclude_each),
        max(8, group),
        num_threads,
    )
    if found == n:
        return items, scores
    all_items, all_scores = np.full((m, n), -1, np.int32), np.full((m, n), -np.inf, queries.dtype)
    all_items[:, :found], all_scores[:, :found] = items, scores
    return all_items, all_scores

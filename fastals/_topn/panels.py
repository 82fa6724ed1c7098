"""Rows of factors, packed for searches, and lists of items."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._core import kernels
from .._equation import FactorArray


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

    def of(self, queries: NDArray[Any]) -> ItemLists:
        """The lists of some of the queries."""
        return ItemLists(self.first[queries], self.last[queries], self.items)

    def pairs(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Every (query, item), by query."""
        lengths = self.last - self.first
        starts = np.repeat(self.first - (lengths.cumsum() - lengths), lengths)
        return np.repeat(np.arange(len(lengths)), lengths), self.items[starts + np.arange(lengths.sum())]


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

    def __init__(self, factors: FactorArray, num_threads: int, *, candidates: NDArray[np.int32] | None = None) -> None:
        self.factors = factors
        if candidates is None:
            with np.errstate(over="ignore"):
                norms = np.einsum("ij,ij->i", factors, factors)
            candidates = np.argsort(-norms, kind="stable").astype(np.int32)
        self.size = len(candidates)
        n_panels = max(1, -(-self.size // kernels.PANEL))
        self.items = np.full(n_panels * kernels.PANEL, -1, np.int32)
        self.items[: self.size] = candidates
        self.columns = np.full(len(factors), -1, np.int32)
        self.columns[candidates] = np.arange(self.size, dtype=np.int32)
        self.rows, self.codes, self.bounds = kernels.pack_panels(factors, self.items, num_threads)
        # norms descend but for rounding: the bound of a panel and all behind it
        self.bounds[:, 1] = np.maximum.accumulate(self.bounds[::-1, 0])[::-1]
        self.all_open = self.open_columns(np.empty(0, np.int32))

    def subset(self, candidates: NDArray[np.int32], num_threads: int) -> Panels:
        """Only these items, repeats counting once: a smaller table costs less than looking the large one through."""
        columns = self.columns[candidates]
        return Panels(self.factors, num_threads, candidates=self.items[np.unique(columns[columns >= 0])])

    def open_columns(self, exclude: NDArray[np.int32]) -> NDArray[np.uint64]:
        """One word a panel, bit c for its column c: it holds an item, and none of ``exclude``."""
        flags = np.zeros((len(self.codes), 64), np.bool_)
        flags[:, : kernels.PANEL] = (self.items >= 0).reshape(-1, kernels.PANEL)
        columns = self.columns[exclude]
        panel, bit = np.divmod(columns[columns >= 0], kernels.PANEL)
        flags[panel, bit] = False
        return np.packbits(flags, axis=1, bitorder="little").view("<u8").ravel().astype(np.uint64)

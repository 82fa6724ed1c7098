"""Rows of factors, packed for searches, and lists of items."""

from __future__ import annotations

from copy import copy
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._core import FactorArray, kernels
from .._data import Lists


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

    @property
    def lengths(self) -> NDArray[np.int64]:
        """How many items each list has."""
        return self.last - self.first

    def of(self, queries: NDArray[Any]) -> ItemLists:
        """The lists of some of the queries."""
        return ItemLists(self.first[queries], self.last[queries], self.items)

    def joined(self, more: ItemLists) -> ItemLists:
        """The same lists, each with that of ``more`` behind it."""
        return ItemLists(*Lists(*self).joined(Lists(*more)))

    def pairs(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Every (query, item), by query."""
        return Lists(*self).pairs()


class Boost(NamedTuple):
    """Distinct items whose scores do not count as they are, and their weights: finite, >= 0, none 1.

    A score s counts as ``w s``, or as ``s / w`` where it is below 0, so that a weight above 1 always promotes and one
    below 1 always demotes; 0 leaves the item out.
    """

    items: NDArray[np.int32]
    weights: NDArray[np.float64]


class ColumnWeights(NamedTuple):
    """A boost of the columns of panels, as the kernels read it: ``fa_boost`` in src_c/core/fastals.h."""

    rows: NDArray[np.int32]
    weights: NDArray[np.float64]
    largest: NDArray[np.float64]
    reach: NDArray[np.float64]
    most: float

    def of(self, columns: NDArray[np.int32]) -> NDArray[np.float64]:
        """The weights of some columns."""
        panels, places = _split(columns)
        weights: NDArray[np.float64] = self.weights[self.rows[panels], places]
        return weights

    def boosted(self, scores: FactorArray, columns: NDArray[np.int32]) -> FactorArray:
        """What scores of open columns count as, to the bit of the search; infinite where the dtype cannot hold it."""
        weights = self.of(columns)
        with np.errstate(over="ignore"):
            counted: FactorArray = np.where(scores < 0, scores / weights, scores * weights).astype(scores.dtype)
        return counted


class Panels:
    """Rows of factors, packed once for any number of searches.

    The rows stand by descending norm, so that a search may stop early, 48 to a panel: as they are, and as eight-bit
    codes with bounds, for ruling most of them out. Columns are the places of rows in that order. Nothing changes after
    construction: any number of threads may search at a time.

    Parameters
    ----------
    factors : array of shape (n_items, k)
        C-contiguous float32 or float64, finite. Kept, not copied.
    num_threads : int
    candidates : int32 array of shape (n_candidates,), optional
        Distinct items by descending norm, default all: no other is ever found. See :func:`by_norm`.
    """

    def __init__(self, factors: FactorArray, num_threads: int, *, candidates: NDArray[np.int32] | None = None) -> None:
        self.factors = factors
        if candidates is None:
            candidates = by_norm(factors)
        self.size = len(candidates)
        n_panels = max(1, -(-self.size // kernels.PANEL))
        self.items = np.full(n_panels * kernels.PANEL, -1, np.int32)
        self.items[: self.size] = candidates
        self.columns = np.full(len(factors), -1, np.int32)
        self.columns[candidates] = np.arange(self.size, dtype=np.int32)
        self.rows, self.codes, self.bounds = kernels.pack_panels(factors, self.items, num_threads)
        # norms descend but for rounding: the bound of a panel and all behind it
        self.bounds[:, 1] = np.maximum.accumulate(self.bounds[::-1, 0])[::-1]
        self.open = self._words(candidates)
        self.weights: ColumnWeights | None = None

    def subset(self, candidates: NDArray[np.int32], num_threads: int) -> Panels:
        """Only these items, repeats counting once, packed anew: what pays where many queries look through them."""
        columns = self.columns[candidates]
        return Panels(self.factors, num_threads, candidates=self.items[np.unique(columns[columns >= 0])])

    def view(
        self,
        *,
        candidates: NDArray[np.int32] | None = None,
        exclude: NDArray[np.int32] | None = None,
        boost: Boost | None = None,
    ) -> Panels:
        """The same panels with some columns closed, some weighed; these stay as they are."""
        if candidates is None and exclude is None and boost is None:
            return self
        view, still_open = copy(self), self.open
        if candidates is not None:
            still_open = still_open & self._words(candidates)
        if exclude is not None:
            still_open = still_open & ~self._words(exclude)
        if boost is not None and len(boost.items):
            view.weights = self._weighed(boost)
            left_out = boost.items[boost.weights == 0]
            still_open = still_open & ~self._words(left_out) if len(left_out) else still_open
        if still_open is not self.open:
            view.open, view.size = still_open, int(np.bitwise_count(still_open).sum())
        return view

    def is_open(self, items: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Which of the items may be found."""
        columns = self.columns[items]
        panels, places = _split(columns)
        return (columns >= 0) & (self.open[panels] >> places.astype(np.uint64) & np.uint64(1)).astype(np.bool_)

    def _weighed(self, boost: Boost) -> ColumnWeights:
        """A row of weights for each panel that has any, and one of ones for all others."""
        columns = self.columns[boost.items]
        panels, places = _split(columns[columns >= 0])
        rows = np.zeros(len(self.codes), np.int32)
        rows[panels] = 1
        (weighed,) = rows.nonzero()
        rows[weighed] = np.arange(1, len(weighed) + 1)
        weights = np.ones((len(weighed) + 1, kernels.PANEL))
        weights[rows[panels], places] = boost.weights[columns >= 0]
        largest, norms = weights.max(axis=1), self.bounds[:, 0].copy()
        with np.errstate(over="ignore", invalid="ignore"):
            # the next number above, since the smallest lose digits in a product
            norms[weighed] = np.nextafter(norms[weighed] * largest[1:], np.inf)
        reach = np.empty_like(norms)
        np.maximum.accumulate(norms[::-1], out=reach[::-1])
        return ColumnWeights(rows, weights, largest, reach, float(largest.max()))

    def _words(self, items: NDArray[np.int32]) -> NDArray[np.uint64]:
        """One word a panel, bit c for its column c: it holds one of the items."""
        columns = self.columns[items]
        columns, n_panels = columns[columns >= 0], len(self.codes)
        if len(columns) < n_panels // 8:
            words = np.zeros(n_panels, np.uint64)
            panels, places = _split(columns)
            np.bitwise_or.at(words, panels, np.uint64(1) << places.astype(np.uint64))
            return words
        flags = np.zeros(len(self.items), np.bool_)
        flags[columns] = True
        octets = np.zeros((n_panels, 8), np.uint8)
        octets[:, : kernels.PANEL // 8] = np.packbits(flags, bitorder="little").reshape(n_panels, -1)
        return octets.view("<u8").ravel().astype(np.uint64, copy=False)


def by_norm(factors: FactorArray, known: NDArray[np.bool_] | None = None) -> NDArray[np.int32]:
    """The rows by descending norm, only those that are known where that is given."""
    with np.errstate(over="ignore"):
        norms = np.einsum("ij,ij->i", factors, factors)
    order = np.argsort(-norms, kind="stable").astype(np.int32)
    return order if known is None or known.all() else order[known[order]]


def _split(columns: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The panels of columns, and their places within; several times faster than divmod."""
    panels = columns // kernels.PANEL
    return panels, columns - kernels.PANEL * panels

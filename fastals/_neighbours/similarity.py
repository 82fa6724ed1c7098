"""Who is near whom: lines of one side times lines of the other, of which each line keeps its best."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from .._core import tables
from .._data import Compressed
from .._topn import ItemLists
from .lines import line_sums
from .scores import Found, one_each, padded


def nearest(
    lines: Compressed, others: Compressed, neighbors: int, similarity: str, shrinkage: float, num_threads: int
) -> sparse.csr_array[Any]:
    """Return the lines' best, each line itself left out; only what is above 0 is a neighbour."""
    m = len(lines[0]) - 1
    norms = np.sqrt(line_sums(lines, lines[2].astype(np.float64) ** 2)) if similarity == "cosine" else None
    found, scores = tables.product_best(
        tuple(ItemLists.of_rows(*lines[:2])),
        lines[2],
        others,
        m,
        min(neighbors, m),
        num_threads,
        row_norms=norms,
        norms=norms,
        shrinkage=float(shrinkage),
        hidden=one_each(np.arange(m, dtype=np.int32)),
    )
    indptr = np.concatenate(([0], (found >= 0).sum(axis=1).cumsum()))
    matrix = sparse.csr_array((scores[found >= 0], found[found >= 0], indptr), shape=(m, m))
    matrix.sort_indices()
    return matrix


def kept(similarity: sparse.csr_array[Any], lines: NDArray[np.int32], n: int, num_threads: int) -> Found:
    """Return the n best of the neighbours that lines have kept."""
    items, scores = tables.product_best(
        one_each(lines),
        np.ones(len(lines), np.float32),
        compressed(similarity),
        similarity.shape[0],
        min(n, similarity.shape[0]),
        num_threads,
    )
    return padded(items, scores, n)


def compressed(similarity: sparse.csr_array[Any]) -> Compressed:
    """Return the matrix as the tables take it."""
    return similarity.indptr.astype(np.int64), similarity.indices.astype(np.int32), similarity.data

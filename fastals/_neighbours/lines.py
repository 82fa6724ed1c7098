"""Lines, which are users or items: their cells both ways, centred or weighted."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core import Axis, resolve_num_threads, tables
from .._data import Compressed, Interactions, as_interactions, has_repeats, known_of, trusted

WEIGHTINGS = ("logidf", "tfidf", "bm25")
BM25_K1, BM25_B = 1.2, 0.75
"""The usual constants: how fast repeated events saturate, how much the length of a line counts."""


def distinct_cells(data: Interactions, duplicates: str, dtype: Any = "float32") -> Interactions:
    """Make one of the cells that are stored several times."""
    if not has_repeats(data):
        return data
    merged = as_interactions(data.matrix, duplicates=duplicates, dtype=dtype)
    return trusted(merged.arrays(), None, data.user_labels, data.item_labels, known=known_of(data))


def both_ways(data: Interactions, axis: Axis, dtype: Any = "float32") -> tuple[Compressed, Compressed]:
    """Return the cells by line of this axis, and by line of the other."""
    ways = data.arrays(dtype), data.transpose_arrays(dtype)
    return ways if axis == "users" else ways[::-1]


def transposed(lines: Compressed, size: int) -> Compressed:
    """Return the cells by line of the other axis, which has ``size`` lines."""
    out: Compressed = tables.transpose(*lines, size, np.float32, resolve_num_threads())
    return out


def of_lines(lines: Compressed) -> NDArray[np.int64]:
    """Return the line of each cell."""
    return np.repeat(np.arange(len(lines[0]) - 1), np.diff(lines[0]))


def line_sums(lines: Compressed, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sum of each line's values."""
    sums = np.bincount(of_lines(lines), values, minlength=len(lines[0]) - 1).astype(np.float64, copy=False)
    return sums


def line_means(lines: Compressed) -> NDArray[np.float64]:
    """Return the mean of each line's values; that of all values where a line has none."""
    counts = np.diff(lines[0])
    values = lines[2].astype(np.float64)
    return np.where(counts > 0, line_sums(lines, values) / np.maximum(counts, 1), values.mean())


def centred(lines: Compressed, others: Compressed, means: NDArray[np.float64]) -> tuple[Compressed, Compressed]:
    """Return the values less their line's mean, both ways."""
    by_line = (lines[2] - means[of_lines(lines)]).astype(np.float32)
    by_other = (others[2] - means[others[1]]).astype(np.float32)
    return (*lines[:2], by_line), (*others[:2], by_other)


def logs(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return the logarithms of 1 + |value|, with the value's sign."""
    r = values.astype(np.float64)
    return np.copysign(np.log1p(np.abs(r)), r)


def weighted(lines: Compressed, others: Compressed, weighting: str) -> tuple[Compressed, Compressed]:
    """Return the values weighted as counts of terms (the other lines) in documents (the lines), both ways."""
    documents, held = len(lines[0]) - 1, np.diff(others[0])
    # the usual idf is 0 for a term of almost all documents, which on small data is every term
    idf = np.log1p(documents / np.maximum(held, 1)) if weighting == "logidf" else np.log(documents) - np.log1p(held)
    if weighting == "bm25":
        sums = line_sums(lines, lines[2].astype(np.float64))
        lengths = 1 - BM25_B + BM25_B * sums / sums.mean()

    def weigh(values: NDArray[Any], document: NDArray[Any], term: NDArray[Any]) -> NDArray[np.float32]:
        weights = values.astype(np.float64)
        if weighting == "logidf":
            weights = logs(values)
        elif weighting == "tfidf":
            weights = np.sqrt(weights)
        else:
            weights *= (BM25_K1 + 1) / (BM25_K1 * lengths[document] + weights)
        weighted: NDArray[np.float32] = (weights * idf[term]).astype(np.float32)
        return weighted

    by_line = weigh(lines[2], of_lines(lines), lines[1])
    by_other = weigh(others[2], others[1], of_lines(others))
    return (*lines[:2], by_line), (*others[:2], by_other)


def played(counts: NDArray[Any], weighting: str | None) -> NDArray[np.float32]:
    """Return what stands for counts in the scores."""
    stands: NDArray[np.float32] = logs(counts).astype(np.float32) if weighting == "logidf" else counts
    return stands


def histories(data: Interactions, axis: Axis, means: NDArray[np.float64] | None, weighting: str | None) -> Compressed:
    """Return what users did, as the scores take it."""
    indptr, items, values = data.arrays("float32")
    if means is None:
        return indptr, items, played(values, weighting)
    line = items if axis == "items" else of_lines((indptr, items, values))
    return indptr, items, (values - means[line]).astype(np.float32)

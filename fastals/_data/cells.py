"""Pairs of a user and an item as single numbers, which sort and compare fast."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def cell_numbers(indptr: NDArray[Any], indices: NDArray[Any], n_columns: int) -> NDArray[np.int64]:
    """Return the cells of compressed rows as row * n_columns + column: ascending where each row's indices are."""
    numbers: NDArray[np.int64] = np.repeat(np.arange(len(indptr) - 1, dtype=np.int64) * n_columns, np.diff(indptr))
    numbers += indices
    return numbers


def distinct(ascending: NDArray[np.int64]) -> NDArray[np.int64]:
    return ascending[np.diff(ascending, prepend=-1) > 0]  # np.unique hashes, and takes ten times as long


def contains(ascending: NDArray[np.int64], numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
    if not len(ascending):
        return np.zeros(len(numbers), dtype=bool)
    nearest = ascending[np.minimum(np.searchsorted(ascending, numbers), len(ascending) - 1)]
    return np.equal(nearest, numbers)

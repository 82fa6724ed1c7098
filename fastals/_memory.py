"""What a fit will need, before it is tried."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from . import _kernels


class MemoryEstimate(NamedTuple):
    """Bytes, beside what the caller holds.

    Attributes
    ----------
    cells : int
        The interactions, by user and by item.
    factors : int
        The factors, those of the iteration before, and with validation those of the best one.
    work : int
        What comes and goes: the other side's factors in another basis, the order of the rows, workspaces.
    total : int
    """

    cells: int
    factors: int
    work: int
    total: int


CELL = 8
"""An index in either orientation."""
WEIGHTED_CELL, HELD_OUT_CELL = 44, 44
"""What one more array of weights, and a held-out cell, take while they are put in order."""
ROW = 72
"""Offsets, counts, lambda and the order of the rows."""


def estimate(
    shape: tuple[int, int],
    n_cells: int,
    *,
    k: int,
    biased: bool,
    dtype: Any,
    num_threads: int,
    copies: int,
    weighted: bool,
    relaxed: bool,
    held_out: int,
    ranked: bool,
) -> MemoryEstimate:
    """Add up what the steps of a fit allocate.

    Parameters
    ----------
    k : int
        Factors, a column of biases included, which are ``biased``.
    copies : int
        How many more arrays of values are made: transformed, or less biases.
    weighted : bool
        The cells have weights.
    relaxed : bool
        The items before their last solve are kept, beside those of the iteration before.
    held_out : int
        Cells for validation; ``ranked``: lists are made for them.
    """
    n_users, n_items = shape
    size, wide = np.dtype(dtype).itemsize, max(n_users, n_items)
    padded = _kernels.padded(dtype, k)
    cells = n_cells * (CELL + 2 * size + copies * size + (WEIGHTED_CELL if weighted else 0)) + 8 * (n_users + n_items)
    factors = size * k * (n_users + n_items) * (3 if held_out else 2)
    work = size * padded * wide + ROW * wide + num_threads * (10 * size * padded * padded) + held_out * HELD_OUT_CELL
    if biased:
        work += size * k * wide
    if relaxed:
        work += size * k * n_items
    if ranked and held_out:
        work += n_items * (size * padded + padded + 16)
    return MemoryEstimate(cells, factors, work, cells + factors + work)

"""A block of rows: what belongs to it, and all that is computed of it. Nothing here knows of Spark."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# ---------------------------------------------------------------------------------------------------------------------
# where a fit starts


def drawn(seed: int, side: int, ids: NDArray[np.int32], k: int, *, nonnegative: bool = False) -> NDArray[np.float32]:
    """Initial factors: rows of length one, in any direction; a function of the seed, the side and the id alone.

    So they are the same wherever a row is drawn, and in whatever company. The numbers are sums of four uniform ones,
    next to normal, and stay integers up to the last division: no processor rounds them in its own way.

    Parameters
    ----------
    side : int
        0: users, 1: items.
    """
    with np.errstate(over="ignore"):
        key = _mixed(np.uint64([seed & (1 << 64) - 1, side])).reshape(2, 1)
        rows = _mixed(_mixed(key[0] ^ ids.astype(np.int64).view(np.uint64)) + key[1])
        bits = _mixed(rows[:, None] + _GOLDEN * np.arange(1, k + 1, dtype=np.uint64))
    sums = bits.view(np.uint16).reshape(len(ids), k, 4).sum(axis=2, dtype=np.int64) - 2 * 65_535
    lengths = np.sqrt(np.maximum(1, np.square(sums).sum(axis=1, keepdims=True)))
    factors = (sums / lengths).astype(np.float32)
    return np.abs(factors) if nonnegative else factors


_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """One step of SplitMix64 (G. Steele, D. Lea, C. Flood, OOPSLA 2014)."""
    x = x + _GOLDEN
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))

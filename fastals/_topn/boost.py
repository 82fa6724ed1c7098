"""Boosts: some items count for more, or for less, than their scores say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core import DataError, FactorArray, ParameterError, check_values, refuse_value
from .._data import Labels


@dataclass(frozen=True)
class Boost:
    """Distinct items whose scores do not count as they are, and their weights: finite, >= 0, none 1.

    A weight above 1 promotes and one below 1 demotes, whatever the sign of the score; 0 leaves the item out.
    """

    items: NDArray[np.int32]
    weights: NDArray[np.float64]

    @classmethod
    def of(cls, boost: Any, labels: Labels) -> Boost:
        """Check what a user gives: a mapping of items to numbers, or a number for each item."""
        if isinstance(boost, Mapping):
            items = labels.encode_known("boost", list(boost))
            values = check_values("boost", list(boost.values()))
        else:
            items = np.arange(len(labels), dtype=np.int32)
            values = check_values("boost", boost)
            if len(values) != len(labels):
                raise DataError(f"boost must have one number for each of {len(labels)} items, got {len(values)}")
        if not np.isfinite(values).all():
            refuse_value("boost", values)
        if (values < 0).any():
            raise ParameterError(f"boost must be >= 0, got {values.min()} at position {values.argmin()}")
        counts = values != 1
        return cls(items[counts], values[counts].astype(np.float64))


def narrowed(scores: FactorArray, dtype: np.dtype[Any]) -> FactorArray:
    """Scores in another dtype, whose range is to hold them."""
    with np.errstate(over="ignore"):
        out: FactorArray = scores.astype(dtype)
    lost = np.isinf(out) & np.isfinite(scores)
    if lost.any():
        raise ParameterError(f"boost must leave the scores within {dtype}'s range, got one of {scores[lost][0]}")
    return out


def boosted(scores: FactorArray, weights: NDArray[np.float64]) -> FactorArray:
    """What scores count as, their weights being > 0; infinite where the dtype cannot hold it."""
    with np.errstate(over="ignore"):
        counted: FactorArray = np.where(scores < 0, scores / weights, scores * weights).astype(scores.dtype)
    return counted

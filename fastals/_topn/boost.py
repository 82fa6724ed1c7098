"""Boosts, as they are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .._core import DataError, FactorArray, ParameterError, check_values, refuse_value
from .panels import Boost

if TYPE_CHECKING:
    from .._data import Labels


def check_boost(boost: Any, labels: Labels) -> Boost:
    """Return what a mapping of items to numbers says, or a number for each item."""
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
    return Boost(items[counts], values[counts].astype(np.float64))


def narrowed(scores: FactorArray, dtype: np.dtype[Any]) -> FactorArray:
    """Boosted scores in another dtype, whose range is to hold them."""
    with np.errstate(over="ignore"):
        out: FactorArray = scores.astype(dtype)
    lost = np.isinf(out) & np.isfinite(scores)
    if lost.any():
        raise ParameterError(f"boost must leave the scores within {dtype}'s range, got one of {scores[lost][0]}")
    return out

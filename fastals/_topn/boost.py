"""Boosts, as they are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .._core import ArgumentTypeError, DataError, FactorArray, ParameterError, check_values, number_types
from .panels import Boost

if TYPE_CHECKING:
    from .._data import Labels


def check_boost(boost: Any, labels: Labels) -> Boost:
    """Return what a mapping of items to numbers says, or a number for each item."""
    if hasattr(boost, "keys") and hasattr(boost, "items") and not isinstance(boost, Mapping):
        boost = dict(boost.items())  # a Series, by its index
    named = isinstance(boost, Mapping)
    if named:
        items = labels.encode_known("boost", list(boost))
        numbers = number_types()
        for item, weight in boost.items():
            if isinstance(weight, bool) or not isinstance(weight, numbers):
                raise ArgumentTypeError(f"boost must be numbers, got {weight!r} for item {item!r}")
        values = check_values("boost", list(boost.values()))
    else:
        items = np.arange(len(labels), dtype=np.int32)
        if not isinstance(boost, list | tuple) and np.ndim(boost) != 1:
            given = f"shape {np.shape(boost)}" if np.ndim(boost) else repr(boost)
            raise DataError(f"boost must be a mapping of items to numbers or an array of shape (n_items,), got {given}")
        values = check_values("boost", boost)
        if len(values) != len(labels):
            raise DataError(f"boost must have one number for each of {len(labels)} items, got {len(values)}")
    finite = np.isfinite(values)
    bad = ~finite | (values < 0)
    if bad.any():
        at = int(np.argmax(bad))
        where = f"for item {labels.decode(items[at : at + 1]).tolist()[0]!r}" if named else f"at position {at}"
        error, rule = (ParameterError, ">= 0") if finite[at] else (DataError, "finite")
        raise error(f"boost must be {rule}, got {values[at]} {where}")
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

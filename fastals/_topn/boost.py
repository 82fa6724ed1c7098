"""Boosts, as they are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._core import ArgumentTypeError, Axis, DataError, FactorArray, ParameterError, check_values, number_types
from .._data import as_ids
from .panels import Boost

if TYPE_CHECKING:
    from .._data import Labels


def check_boost(boost: Any, labels: Labels, ignore: bool = False) -> Boost:
    """Return what a mapping of items to numbers says, or a number for each item; see :func:`encode_items`."""
    items, values = numbers_of("boost", boost, labels, "items", ignore)
    counts = (values != 1) & (items >= 0)
    return Boost(items[counts], values[counts].astype(np.float64))


def numbers_of(name: str, given: Any, labels: Labels, axis: Axis, ignore: bool) -> tuple[NDArray[np.int32], Any]:
    """Return users or items, -1 for ids that are not known, and the number >= 0 of each.

    ``given`` is a mapping of ids to numbers, a Series, or one number for each user or item in their order.
    """
    one, index, named = axis.removesuffix("s"), series_index(given), isinstance(given, Mapping)
    if index is not None:
        places, values = index_items(name, index, labels, ignore, axis), check_values(name, np.asarray(given))
        if len(np.unique(places[places >= 0])) < np.count_nonzero(places >= 0):
            raise DataError(f"{name} must name each {one} once, but its index repeats one")
    elif named:
        places = encode_items(name, list(given), labels, ignore)
        numbers = number_types()
        for who, number in given.items():
            if isinstance(number, bool) or not isinstance(number, numbers):
                raise ArgumentTypeError(f"{name} must be numbers, got {number!r} for {one} {who!r}")
        values = check_values(name, list(given.values()))
    else:
        places = np.arange(len(labels), dtype=np.int32)
        if not isinstance(given, list | tuple) and np.ndim(given) != 1:
            found = f"shape {np.shape(given)}" if np.ndim(given) else repr(given)
            raise DataError(
                f"{name} must be a mapping of {axis} to numbers or an array of shape (n_{axis},), got {found}"
            )
        values = check_values(name, given)
        if len(values) != len(labels):
            raise DataError(f"{name} must have one number for each of {len(labels)} {axis}, got {len(values)}")
    finite = np.isfinite(values)
    bad = ~finite | (values < 0)
    if bad.any():
        at = int(np.argmax(bad))
        where = f"for {one} {list(given)[at]!r}" if named else f"at position {at}"
        error, rule = (ParameterError, ">= 0") if finite[at] else (DataError, "finite")
        raise error(f"{name} must be {rule}, got {values[at]} {where}")
    return places, values


def encode_items(name: str, ids: Any, labels: Labels, ignore: bool) -> NDArray[np.int32]:
    """Return the index of each item; with ``ignore`` -1 for labels that are not known. An index is always to be one."""
    return labels.encode(ids, name) if ignore and labels.values is not None else labels.encode_known(name, ids)


def series_index(given: Any) -> Any:
    """Return the index of a pandas Series; None: it is none."""
    return given.index if hasattr(given, "index") and hasattr(given, "iloc") else None


def index_items(name: str, index: Any, labels: Labels, ignore: bool, axis: Axis = "items") -> NDArray[np.int32]:
    """Return the item of each element of a Series, by its index; one that only counts goes by position.

    Raises
    ------
    DataError
        The index counts from 0, as one that nobody has set, but could be labels just as well; or it only counts, and
        the elements are not one for each item.
    """
    ids = as_ids(f"index of {name}", index)
    counted = isinstance(ids, np.ndarray) and ids.dtype.kind in "iu" and np.array_equal(ids, np.arange(len(ids)))
    values = labels.values
    if not counted or values is None:
        return encode_items(f"index of {name}", ids, labels, ignore)
    at = np.arange(len(ids), dtype=np.int32)
    if values.dtype.kind in "iu" and np.array_equal(values[: len(ids)], ids):
        return at
    if values.dtype.kind in "iu":
        raise DataError(
            f"{name} has an index that counts from 0, which may be labels or positions: pass a mapping of {axis} to "
            f"values, or an array in the order of the {axis}"
        )
    if len(ids) != len(labels):
        raise DataError(f"{name} must have one element for each of {len(labels)} {axis}, got {len(ids)}")
    return at


def narrowed(scores: FactorArray, dtype: np.dtype[Any]) -> FactorArray:
    """Boosted scores in another dtype, whose range is to hold them."""
    with np.errstate(over="ignore"):
        out: FactorArray = scores.astype(dtype)
    lost = np.isinf(out) & np.isfinite(scores)
    if lost.any():
        raise ParameterError(f"boost must leave the scores within {dtype}'s range, got one of {scores[lost][0]}")
    return out

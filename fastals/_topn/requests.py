"""What a call asks for, as indices, and what it gets, as labels."""

from __future__ import annotations

from collections.abc import Set
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._core import DataError, FactorArray, LabelArray
from .._data import Labels, known_of
from .boost import check_boost, encode_items, index_items, series_index
from .panels import ItemLists
from .search import Wanted

if TYPE_CHECKING:
    from .fitted import Fitted


class Recommendations(NamedTuple):
    """Items for each user, or similar items for each item: best first.

    Attributes
    ----------
    items : array of shape (n,) or (m, n)
        Labels, or indices where the training data had no labels; None, or -1, behind the end of a short list.
    scores : array of shape (n,) or (m, n)
        -inf behind the end of a short list.
    """

    items: LabelArray
    scores: FactorArray


class UserRecommendations(NamedTuple):
    """Users for each item, or similar users for each user: best first.

    Attributes
    ----------
    users : array of shape (n,) or (m, n)
        Labels, or indices where the training data had no labels; None, or -1, behind the end of a short list.
    scores : array of shape (n,) or (m, n)
        -inf behind the end of a short list.
    """

    users: LabelArray
    scores: FactorArray


def wanted_of(
    name: str,
    labels: Labels,
    candidates: Any = None,
    exclude: Any = None,
    m: int | None = None,
    *,
    queries: int = 1,
    boost: Any = None,
    ignore: bool = False,
) -> Wanted:
    """Check what a call for m lists of these users or items asks for.

    Without ``m`` it is the same for all of the ``queries``. ``name`` is what messages call the candidates. ``ignore``:
    labels that are not known are passed over.
    """
    only = own = closed = each = None
    if candidates is not None:
        lists = _item_lists(name, candidates, labels, m, ignore)
        own, only = (lists, None) if isinstance(lists, ItemLists) else (None, lists)
    if exclude is not None:
        lists = _item_lists("exclude", exclude, labels, m, ignore)
        each, closed = (lists, None) if isinstance(lists, ItemLists) else (None, lists)
    return Wanted(
        queries=queries if m is None else m,
        candidates=only,
        own=own,
        exclude=closed,
        exclude_each=each,
        boost=None if boost is None else check_boost(boost, labels, ignore),
    )


def _item_lists(name: str, given: Any, labels: Labels, m: int | None, ignore: bool) -> NDArray[np.int32] | ItemLists:
    """Return indices for all queries, given as such or as a mask, or one list for each of m queries."""
    if not _is_nested(given):
        return _items(name, given, labels, ignore)
    if m is None or len(given) != m:
        each = "be one list for all" if m is None else f"have one list for each of {m}"
        raise DataError(f"{name} must {each}, got {len(given)} lists")
    for place, row in enumerate(given):
        if not _is_list(row):
            raise DataError(f"{name} must be one list for all or a list for each, got {row!r} at position {place}")
    if not any(_is_special(row) for row in given):
        # all at once
        if all(isinstance(row, np.ndarray) and row.dtype.kind == "i" for row in given):
            flat: Any = np.concatenate(list(given))
        else:
            flat = list(chain.from_iterable(row.tolist() if isinstance(row, np.ndarray) else row for row in given))
        items = encode_items(name, flat, labels, ignore)
        known, ends = items >= 0, np.cumsum([len(row) for row in given], dtype=np.int64)
        last = np.concatenate(([0], known.cumsum()))[ends]
        return ItemLists(np.concatenate(([0], last[:-1])), last, items[known])
    rows = [_items(f"{name}[{place}]", row, labels, ignore) for place, row in enumerate(given)]
    last = np.cumsum([len(row) for row in rows], dtype=np.int64)
    return ItemLists(np.concatenate(([0], last[:-1])), last, np.concatenate(rows))


def _items(name: str, given: Any, labels: Labels, ignore: bool) -> NDArray[np.int32]:
    """Return the indices of one list of items, which may be one item, a set or a mask."""
    if is_single(given):
        given = listed(given)
    elif isinstance(given, Set):
        given = list(given)  # in which order does not matter here
    mask, index = _mask(given), series_index(given)
    if mask is None:
        items = encode_items(name, given, labels, ignore)
    elif index is not None:
        items = index_items(name, index, labels, ignore)[mask]
    elif mask.shape == (len(labels),):
        items = np.flatnonzero(mask).astype(np.int32)
    else:
        raise DataError(f"{name} as a mask must have shape ({len(labels)},), got {mask.shape}")
    return items[items >= 0]


def _mask(given: Any) -> NDArray[np.bool_] | None:
    """Return what is a mask as an array; None: it is none."""
    kind = getattr(given, "dtype", getattr(given, "type", None))
    if kind is None:
        if not (isinstance(given, list | tuple) and given and all(isinstance(each, bool | np.bool_) for each in given)):
            return None
    elif not str(kind).lower().startswith("bool"):
        return None
    array = np.asarray(given)
    if array.dtype != np.bool_ and not all(isinstance(each, bool) for each in array.tolist()):
        return None  # one is missing, which check_ids names
    return array.astype(np.bool_)


def _is_special(row: Any) -> bool:
    """Whether a list is not one of ids, nor an array of them."""
    if isinstance(row, np.ndarray):
        return row.dtype.kind in "bmM"
    return not isinstance(row, list | tuple) or (len(row) > 0 and isinstance(row[0], bool | np.bool_))


def _is_list(row: Any) -> bool:
    return not is_single(row) and int(getattr(row, "ndim", 1)) == 1


def _is_nested(given: Any) -> bool:
    if isinstance(given, np.ndarray) and given.ndim != 1:
        return bool(given.ndim > 1)
    return isinstance(given, list | tuple | np.ndarray) and any(map(_is_list, given[:1]))


def is_single(ids: Any) -> bool:
    """Whether this is one id, and no list of them."""
    if isinstance(ids, np.ndarray):
        return bool(ids.ndim == 0)
    return isinstance(ids, str | bytes) or not hasattr(ids, "__len__")


def listed(one: Any) -> list[Any]:
    """Return a single id as a list of one."""
    return [one[()] if isinstance(one, np.ndarray) else one]


def encode(labels: Labels, name: str, ids: Any, known: bool = True) -> tuple[NDArray[np.int32], bool]:
    """Return the indices of ids, and whether it was a single one; ``known``: refuse those that are not, else -1."""
    single = is_single(ids)
    if single:
        ids = listed(ids)
    return (labels.encode_known(name, ids) if known else labels.encode(ids, name)), single


def elsewhere(state: Fitted, users: Any) -> NDArray[np.int32]:
    """Return the places of users among those of whom pairs are known that the model does not have; -1: not there."""
    others = known_of(state.pairs).elsewhere
    labels = Labels(None, 0) if others is None else others.user_labels
    return encode(labels, "users", users, False)[0]


def decode(
    labels: Labels, found: tuple[NDArray[np.int32], FactorArray], single: bool = False
) -> tuple[LabelArray, FactorArray]:
    indices, scores = found
    ids = labels.decode(indices)
    return (ids[0], scores[0]) if single else (ids, scores)

"""What a call asks for, as indices, and what it gets, as labels."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._core import DataError, FactorArray, LabelArray
from .._data import Labels, known_of
from .boost import check_boost
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
) -> Wanted:
    """Check what a call for m lists of these users or items asks for.

    Without ``m`` it is the same for all of the ``queries``. ``name`` is what messages call the candidates.
    """
    only = own = closed = each = None
    if candidates is not None:
        lists = _item_lists(name, candidates, labels, m)
        own, only = (lists, None) if isinstance(lists, ItemLists) else (None, lists)
    if exclude is not None:
        lists = _item_lists("exclude", exclude, labels, m)
        each, closed = (lists, None) if isinstance(lists, ItemLists) else (None, lists)
    return Wanted(
        queries=queries if m is None else m,
        candidates=only,
        own=own,
        exclude=closed,
        exclude_each=each,
        boost=None if boost is None else check_boost(boost, labels),
    )


def _item_lists(name: str, given: Any, labels: Labels, m: int | None) -> NDArray[np.int32] | ItemLists:
    """Return indices for all queries, given as such or as a mask, or one list for each of m queries."""
    if isinstance(given, np.ndarray) and given.dtype == np.bool_:
        if given.shape != (len(labels),):
            raise DataError(f"{name} as a mask must have shape ({len(labels)},), got {given.shape}")
        return np.flatnonzero(given).astype(np.int32)
    if not _is_nested(given):
        return labels.encode_known(name, given)
    if m is None or len(given) != m:
        each = "be one list for all" if m is None else f"have one list for each of {m}"
        raise DataError(f"{name} must {each}, got {len(given)} lists")
    for place, row in enumerate(given):
        if not isinstance(row, list | tuple) and np.ndim(row) != 1:
            raise DataError(f"{name} must be one list for all or a list for each, got {row!r} at position {place}")
    last = np.cumsum([len(row) for row in given], dtype=np.int64)
    if all(isinstance(row, np.ndarray) and row.dtype.kind == "i" for row in given):
        items = labels.encode_known(name, np.concatenate(list(given)))
    else:
        flat = chain.from_iterable(row.tolist() if isinstance(row, np.ndarray) else row for row in given)
        items = labels.encode_known(name, list(flat))
    return ItemLists(np.concatenate(([0], last[:-1])), last, items)


def _is_nested(given: Any) -> bool:
    if isinstance(given, np.ndarray) and given.ndim > 1:
        return True
    return isinstance(given, list | tuple | np.ndarray) and any(
        isinstance(row, list | tuple) or np.ndim(row) == 1 for row in given[:1]
    )


def encode(labels: Labels, name: str, ids: Any, known: bool = True) -> tuple[NDArray[np.int32], bool]:
    """Return the indices of ids, and whether it was a single one; ``known``: refuse those that are not, else -1."""
    single = np.ndim(ids) == 0
    if single:
        ids = [ids[()] if isinstance(ids, np.ndarray) else ids]
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

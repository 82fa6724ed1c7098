"""Users and items that leave a fitted model: rows, cells and labels that nothing holds any more."""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._core import DataError, ParameterError, UnknownLabelError
from .._data import (
    Compressed,
    Interactions,
    Labels,
    Lines,
    Pairs,
    cut,
    knowing,
    known_of,
    known_pairs,
    trusted,
    written,
)
from .._equation import Prior
from .._topn import is_single, listed
from .state import FittedState

RUN_CELLS = 1 << 22
"""Cells of a model on disk that are copied at once."""


class Forgotten(NamedTuple):
    """What a model has forgotten.

    Attributes
    ----------
    users, items : int
        Distinct users and items that the model knew.
    cells : int
        Training cells of either.
    unknown : int
        Distinct ids asked for that it did not know.
    """

    users: int
    items: int
    cells: int
    unknown: int


class Rest(NamedTuple):
    """What stays of the users or the items of a model."""

    labels: Labels
    """Where there are labels, those of the rows that stay, which move up; indices stay what they are."""
    kept: NDArray[np.bool_]
    """For each row there was, whether it stays."""
    ids: Any = ()
    """What was to leave."""
    unknown: int = 0
    """Distinct ids among them that nothing was known of."""

    @property
    def moved(self) -> bool:
        """Whether rows leave; else they become rows of nothing."""
        return len(self.labels) < len(self.kept)

    @property
    def gone(self) -> int:
        return int(len(self.kept) - np.count_nonzero(self.kept))

    def rows(self, array: NDArray[Any], empty: Any = 0) -> NDArray[Any]:
        """One element or row for each that stays, ``empty`` for rows of nothing."""
        if self.moved:
            return array[self.kept]
        return np.where(self.kept.reshape(-1, *[1] * (array.ndim - 1)), array, array.dtype.type(empty))

    def places(self) -> NDArray[np.int32]:
        """The index now of each row there was that stays."""
        ends = np.cumsum(self.kept, dtype=np.int32) - np.int32(1)
        return ends if self.moved else np.arange(len(self.kept), dtype=np.int32)

    def leaves(self, labels: Labels) -> NDArray[np.bool_]:
        """For each of some labels, whether it is to leave."""
        found = np.zeros(len(labels), np.bool_)
        places = labels.encode(self.ids) if len(self.ids) else np.empty(0, np.int32)
        found[places[places >= 0]] = True
        return found


def rest_of(name: str, labels: Labels, elsewhere: Labels | None, ids: Any, known: bool) -> Rest:
    """Return what stays when these ids leave.

    Parameters
    ----------
    labels, elsewhere : Labels
        Those of the model, and those of pairs that are known besides.
    known : bool
        An id that is in neither is an error.
    """
    kept = np.ones(len(labels), np.bool_)
    if ids is None:
        return Rest(labels, kept)
    if isinstance(ids, Set):
        ids = list(ids)
    elif is_single(ids):
        ids = listed(ids)
    places = labels.encode(ids, name)
    strange = places < 0 if elsewhere is None else (places < 0) & (elsewhere.encode(ids, name) < 0)
    if known and strange.any():
        if elsewhere is None:
            labels.encode_known(name, ids)
        at = int(np.argmax(strange))
        raise UnknownLabelError(f"{name} must be known to the model, got {list(ids)[at]!r} at position {at}")
    kept[places[places >= 0]] = False
    if not kept.any():
        raise DataError(f"{name} must not be all {len(labels)} that the model knows: delete the model instead")
    unknown = len({one for one, missing in zip(list(ids), strange.tolist(), strict=True) if missing})
    if labels.values is not None and not kept.all():
        labels = Labels(labels.values[kept], int(np.count_nonzero(kept)))
    return Rest(labels, kept, ids, unknown)


def without(data: Interactions, users: Rest, items: Rest, on_disk: str | None) -> Interactions:
    """Return the cells that stay; ``on_disk`` is a new directory for those of interactions on disk.

    Raises
    ------
    ParameterError
        There is no directory for interactions on disk, or one for those in memory.
    DataError
        No cell stays.
    """
    if users.gone == items.gone == 0 and known_of(data).elsewhere is None:
        return data
    if data.on_disk and on_disk is None:
        raise ParameterError(
            f"this model's training cells are on disk, in {data.on_disk!r}, which other models may be using: on_disk= "
            "must name a new directory for those that stay; delete the old one when nothing needs it any more"
        )
    if on_disk is not None and not data.on_disk:
        raise ParameterError("on_disk has no meaning here: the model's training cells are in memory")
    lines = data.lines("users")
    if on_disk is None:
        left = _left(lines, 0, len(users.kept), users, items)
        if not len(left[1]):
            raise DataError("no training cell would be left: delete the model instead")
        made = trusted(left, None, users.labels, items.labels)
        made.summed = data.summed
        return knowing(made, [each.where(_stays(each, users, items)) for each in known_pairs(data)])

    def parts() -> Iterator[tuple[int, int, Compressed]]:
        end, bounds = 0, cut(lines.indptr, RUN_CELLS).tolist()
        for first, last in pairwise(bounds):
            left = _left(lines, first, last, users, items)
            begin, end = end, end + len(left[0]) - 1
            if begin < end:
                yield begin, end, left

    return written(data, on_disk, parts(), KnownOnDisk(data.known, users, items), users.labels, items.labels)


def _stays(pairs: Pairs, users: Rest, items: Rest) -> NDArray[np.bool_]:
    """For each of some pairs, whether neither its user nor its item leaves."""
    found: NDArray[np.bool_] = ~(
        users.leaves(pairs.user_labels)[pairs.users] | items.leaves(pairs.item_labels)[pairs.items]
    )
    return found


class KnownOnDisk:
    """What stays of known pairs on disk, some at a time, as often as they are gone through."""

    def __init__(self, known: Interactions | None, users: Rest, items: Rest) -> None:
        self.known, self.users, self.items = known, users, items

    def __iter__(self) -> Iterator[Pairs]:
        if self.known is None:
            return
        lines = self.known.lines("users")
        for first, last in pairwise(cut(lines.indptr, RUN_CELLS).tolist()):
            indices = lines.read(first, last)[0]
            rows = np.repeat(np.arange(first, last), np.diff(lines.indptr[first : last + 1]))
            stay = self.users.kept[rows] & self.items.kept[indices]
            places = self.users.places()[rows[stay]], self.items.places()[indices[stay]]
            yield Pairs(*places, self.users.labels, self.items.labels)


def _left(lines: Lines, first: int, last: int, users: Rest, items: Rest) -> Compressed:
    """Return what stays of the lines ``first`` to ``last - 1``, which are users."""
    indices, values, _ = lines.read(first, last)
    begins = lines.indptr[first : last + 1] - lines.indptr[first]
    lengths = np.diff(begins)
    stay = np.repeat(users.kept[first:last], lengths) & items.kept[indices]
    counts = np.diff(np.append(0, stay.cumsum())[begins])
    if users.moved:
        counts = counts[users.kept[first:last]]
    indptr = np.append(0, np.cumsum(counts, dtype=np.int64))
    return indptr, items.places()[indices[stay]], values[stay]


def forgotten(state: FittedState, users: Rest, items: Rest, on_disk: str | None) -> FittedState:
    """Return the state without what leaves; all other numbers are those there were."""
    X, Y = users.rows(state.user_factors), items.rows(state.item_factors)
    biases = None if state.biases is None else (users.rows(state.biases[0]), items.rows(state.biases[1]))
    drawn_users, drawn_items = (
        prior and Prior(*map(rest.rows, prior)) for prior, rest in zip(state.priors, (users, items), strict=True)
    )
    weights = state.equation.row_weights.changed(*(partial(rest.rows, empty=1) for rest in (users, items)))
    return replace(
        state,
        equation=replace(state.equation, row_weights=weights),
        users=users.labels,
        items=items.labels,
        user_factors=X,
        item_factors=Y,
        biases=biases,
        priors=(drawn_users, drawn_items),
        pairs=without(state.pairs, users, items, on_disk),
        weights=None if state.weights is None else without(state.weights, users, items, None),
    ).sealed()

"""Ids in an order of one's own choice, kept from one training to the next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from .._core import DataError, LabelArray, UnknownLabelError, check_choice, resolve_num_threads
from .builder import Builder, Pairs
from .cells import may_repeat
from .interactions import Interactions, as_interactions
from .labels import Labels, factorize
from .lines import Part

Order = Literal["frequency_desc", "frequency_asc", "alphabet_desc", "alphabet_asc"]
Unseen = Literal["error", "skip", "keep"]


class Ids:
    """Labels of users or items, numbered 0, 1, … in an order of one's own choice; what Spark's StringIndexer does.

    Parameters
    ----------
    labels : array of shape (n,)
        Distinct integers, strings, bytes or UUIDs in the order of their indices. :meth:`fit` makes them of data;
        ``Ids(model.users_)`` are those of a model.
    unseen : {"error", "skip", "keep"}, default "error"
        What becomes of a label that is not among them: an error; it, or the interaction it is in, is left out; it gets
        an index of its own behind the others (:meth:`encode`: one for all of them, ``len(ids)``).

    Raises
    ------
    DataError, ArgumentTypeError
        Labels that are not distinct, or no labels.

    Examples
    --------
    >>> import fastals
    >>> ids = fastals.Ids.fit(["b", "a", "c", "a"])
    >>> ids.labels
    array(['a', 'b', 'c'], dtype=object)
    >>> ids.encode(["c", "a"])
    array([2, 0], dtype=int32)

    The next training keeps the numbers, and puts what is new behind them:

    >>> ids.extend(["new", "c"]).labels
    array(['a', 'b', 'c', 'new'], dtype=object)
    """

    unseen: Unseen

    def __init__(self, labels: Any, *, unseen: Unseen = "error") -> None:
        ranks, distinct = factorize("labels", labels, resolve_num_threads(None))
        if len(distinct) < len(ranks):
            raise DataError(f"labels must be distinct, got {len(distinct)} different ones of {len(ranks)}")
        assert distinct.values is not None
        self._labels = Labels(distinct.values[ranks], len(ranks))
        self.unseen = check_unseen(unseen)

    @classmethod
    def fit(cls, ids: Any, *, order: Order = "frequency_desc", unseen: Unseen = "error") -> Ids:
        """Number the distinct ids of data.

        Parameters
        ----------
        ids : array of shape (m,)
        order : {"frequency_desc", "frequency_asc", "alphabet_desc", "alphabet_asc"}
            The most frequent first, the least frequent first, descending, ascending. Equally frequent ones ascend.
        unseen : {"error", "skip", "keep"}
            As above.

        Raises
        ------
        DataError, ArgumentTypeError, ParameterError

        Examples
        --------
        >>> import fastals
        >>> fastals.Ids.fit(["b", "a", "c", "a"], order="alphabet_desc").labels
        array(['c', 'b', 'a'], dtype=object)
        """
        check_choice("order", order, get_args(Order))
        labels, counts = _counted(ids)
        return cls(labels[_ordered(counts, order)], unseen=unseen)

    def extend(self, ids: Any, *, order: Order = "frequency_desc") -> Ids:
        """Return these ids with what is new in data behind them; those there are keep their indices.

        Parameters
        ----------
        ids : array of shape (m,)
        order : str
            Of the new ones, as in :meth:`fit`.

        Raises
        ------
        ArgumentTypeError
            The new ids are of another kind: strings where these are integers.

        Examples
        --------
        >>> import fastals
        >>> fastals.Ids([30, 10]).extend([10, 20]).encode([10, 20])
        array([1, 2], dtype=int32)
        """
        check_choice("order", order, get_args(Order))
        labels, counts = _counted(ids)
        in_order = labels[_ordered(counts, order)]
        grown, _ = self._labels.grown("ids", Labels(in_order, len(in_order)))
        return self._like(grown)

    def forget(self, ids: Any) -> Ids:
        """Return these ids without some; the index of each behind them becomes less, as in :meth:`ImplicitALS.forget`.

        Parameters
        ----------
        ids : array of shape (m,)

        Raises
        ------
        UnknownLabelError
            Unless ``unseen`` is "skip" or "keep": names the first that is not among them.
        DataError
            None would be left.

        Examples
        --------
        >>> import fastals
        >>> fastals.Ids(["a", "b", "c"]).forget(["b"]).encode(["a", "c"])
        array([0, 1], dtype=int32)
        """
        gone = self._labels.encode_known("ids", ids) if self.unseen == "error" else self._labels.encode(ids)
        left = np.delete(self.labels, gone[gone >= 0])
        if not len(left):
            raise DataError(f"ids must leave at least one of {len(self)}")
        return self._like(Labels(left, len(left)))

    def encode(self, ids: Any) -> NDArray[np.int32]:
        """Return the index of each id.

        Parameters
        ----------
        ids : array of shape (m,)

        Returns
        -------
        int32 array of shape (m,), shorter by what ``unseen="skip"`` leaves out

        Raises
        ------
        UnknownLabelError
            With ``unseen="error"``: names the first unknown id.
        ArgumentTypeError
            The ids are of another kind, strings where these are integers: none of them could be known.

        Examples
        --------
        >>> import fastals
        >>> fastals.Ids(["a", "b"], unseen="keep").encode(["b", "z"])
        array([1, 2], dtype=int32)
        """
        if self.unseen == "error":
            return self._labels.encode_known("ids", ids)
        indices = self._labels.encode(ids)
        if self.unseen == "skip":
            return indices[indices >= 0]
        return np.where(indices < 0, np.int32(len(self)), indices)

    def decode(self, indices: Any) -> LabelArray:
        """Return the labels of indices; the index that stands for all unseen ones gives None.

        Parameters
        ----------
        indices : integer array of shape (m,)

        Raises
        ------
        DataError
            An index that is none.

        Examples
        --------
        >>> import fastals
        >>> fastals.Ids(["a", "b"]).decode([1, 0])
        array(['b', 'a'], dtype=object)
        """
        array = np.asarray(indices)
        last = len(self) - (self.unseen != "keep")
        if array.dtype.kind not in "iu" or (array.size and not (array.min() >= 0 and array.max() <= last)):
            raise DataError(f"indices must be integers from 0 to {last}, got {indices!r}")
        return self._labels.decode(np.where(array == len(self), -1, array))

    @property
    def labels(self) -> LabelArray:
        """The labels in the order of their indices."""
        assert self._labels.values is not None
        return self._labels.values

    def __len__(self) -> int:
        return len(self._labels)

    def __repr__(self) -> str:
        return f"<Ids: {len(self)} {self._labels.kind}, unseen={self.unseen!r}>"

    def _like(self, labels: Labels) -> Ids:
        ids = object.__new__(Ids)
        ids._labels, ids.unseen = labels, self.unseen
        return ids


def check_unseen(unseen: Any) -> Any:
    """Return what becomes of labels that are not known."""
    return check_choice("unseen", unseen, get_args(Unseen))


def _counted(ids: Any) -> tuple[LabelArray, NDArray[np.intp]]:
    """Return the distinct ids, ascending, and how often each occurs."""
    codes, labels = factorize("ids", ids, resolve_num_threads(None))
    if labels.values is None or not len(labels):
        raise DataError("ids must hold at least one")
    return labels.values, np.bincount(codes, minlength=len(labels))


def _ordered(counts: NDArray[np.intp], order: str) -> NDArray[np.intp]:
    """Return the places of ascending labels in another order."""
    by, direction = order.split("_")
    keys = counts if by == "frequency" else np.arange(len(counts))
    return np.argsort(-keys if direction == "desc" else keys, kind="stable")


def with_ids(data: Any, users: Ids | None = None, items: Ids | None = None) -> Interactions:
    """Return interactions whose users and items are numbered as given.

    A model that is fitted on them has its factors in this order, and keeps it in its file: so that row u stays the same
    user when it is trained again on ``with_ids(new_data, old_ids.extend(...))``.

    Parameters
    ----------
    data : Interactions, or what :meth:`ImplicitALS.fit` takes
    users, items : Ids, optional
        What becomes of interactions with users or items that are not among them is what ``unseen`` says: an error; they
        are left out; the users or items are kept, behind the others. None: as the data have them.

    Raises
    ------
    UnknownLabelError, DataError
    ArgumentTypeError
        Among others: the ids are of another kind than the data's.

    Examples
    --------
    >>> import fastals
    >>> data = fastals.Interactions.from_arrays(["ann", "bob", "bob"], ["x", "x", "y"])
    >>> fastals.with_ids(data, users=fastals.Ids.fit(["bob", "bob", "ann"])).users
    array(['bob', 'ann'], dtype=object)
    """
    interactions = as_interactions(data)
    known = {}
    for name, ids, labels in (
        ("users", users, interactions.user_labels),
        ("items", items, interactions.item_labels),
    ):
        if ids is None:
            known[name] = labels
            continue
        if labels.values is None:
            raise UnknownLabelError(f"{name} must have labels to be numbered by them: the data know indices only")
        if ids.unseen == "error":
            ids._labels.encode_known(name, labels.values)
        known[name] = ids._labels.grown(name, labels)[0] if ids.unseen == "keep" else ids._labels
    numbered = as_interactions(interactions, users=known["users"], items=known["items"])
    numbered.scoring = interactions.scoring
    return numbered


def written(
    data: Interactions, path: str, parts: Iterator[Part], known: Iterable[Pairs], users: Labels, items: Labels
) -> Interactions:
    """Make interactions on disk of canonical lines of users, some at a time, and whatever else ``data`` are."""
    from .store import store_lines  # not every program makes any

    builder = Builder(duplicates="keep" if may_repeat(data) else "sum")
    builder.added = builder.varied = data.summed
    return Interactions.open(store_lines(path, parts, users, items, builder, data.scoring, known))

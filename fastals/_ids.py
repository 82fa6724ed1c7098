"""Labels of users and items: any ids outside, indices 0..n-1 in ascending order of the labels inside."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _kernels
from ._exceptions import UnknownLabelError
from ._validation import ID_TYPES, LabelArray, check_ids

TABLE_SPREAD = 2
"""Integer ids are encoded through a table of at most so many entries an id (and 65536): 4 bytes each."""


class Labels:
    """The labels of all users or of all items, in index order.

    Parameters
    ----------
    values : ndarray of shape (size,) or None
        Distinct labels, ascending: int64, or objects that are all str, bytes or UUID. None: users or items are
        known by their index alone.
    size : int

    Examples
    --------
    >>> from fastals._ids import Labels
    >>> import numpy as np
    >>> labels = Labels(np.array(["ann", "bob"], dtype=object), 2)
    >>> labels.encode(["bob", "eve"])
    array([ 1, -1], dtype=int32)
    >>> labels.decode(np.array([1, -1]))
    array(['bob', None], dtype=object)
    """

    def __init__(self, values: LabelArray | None, size: int) -> None:
        self.values = values
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __repr__(self) -> str:
        return f"Labels(<{self.kind}>, {self._size})"

    @property
    def kind(self) -> str:
        """What the labels are, for messages: "integers", "strings", …; "indices" where there are none."""
        return "indices" if self.values is None else _kind(self.values)

    def encode(self, ids: object, name: str = "ids") -> NDArray[np.int32]:
        """Return the index of each id, -1 where it is unknown; ids that cannot be ids at all are an error."""
        array = check_ids(name, ids)
        if self.values is None:
            return _within(array, self._size)
        if len(array) == 0 or self._size == 0 or _kind(array) != self.kind:
            return np.full(len(array), -1, np.int32)
        if self.values.dtype.kind == "i":
            indices = np.minimum(np.searchsorted(self.values, array), self._size - 1).astype(np.int32)
            indices[self.values[indices] != array] = -1
            return indices
        get = self._index.get
        return np.fromiter((get(label, -1) for label in array.tolist()), np.int32, len(array))

    def encode_known(self, name: str, ids: object) -> NDArray[np.int32]:
        """Return the index of each id.

        Raises
        ------
        UnknownLabelError
            Names the first unknown id, and the likely mistake.
        """
        indices = self.encode(ids, name)
        unknown = indices < 0
        if unknown.any():
            at = int(np.argmax(unknown))
            array = check_ids(name, ids)
            label, kind = array[at : at + 1].tolist()[0], _kind(array)
            if self.values is None:
                rule = f"must be indices from 0 to {self._size - 1}"
            elif kind != self.kind:
                rule = f"must be {self.kind}, as the labels the model knows, not {kind}"
            else:
                rule = "must be known to the model"
            raise UnknownLabelError(f"{name} {rule}, got {label!r} at position {at}")
        return indices

    def decode(self, indices: NDArray[np.integer[Any]]) -> LabelArray:
        """Return the labels of indices of any shape; -1 becomes None. Plain indices come back as they are."""
        if self.values is None:
            return indices
        unknown = indices < 0
        if not unknown.any():
            labels: LabelArray = self.values[indices]
            return labels
        labels = np.empty(indices.shape, dtype=object)
        labels[~unknown] = self.values[indices[~unknown]]
        return labels

    @cached_property
    def _index(self) -> dict[Any, int]:
        assert self.values is not None
        return {label: i for i, label in enumerate(self.values.tolist())}


def _kind(ids: LabelArray) -> str:
    if ids.dtype.kind in "iUS":
        return {"i": "integers", "U": "strings", "S": "bytes"}[ids.dtype.kind]
    return next(what for types, what in ID_TYPES.items() if isinstance(ids[0], types))


def _within(indices: LabelArray, size: int) -> NDArray[np.int32]:
    """Plain indices, -1 where they are none of 0..size-1."""
    if indices.dtype.kind != "i":
        return np.full(len(indices), -1, np.int32)
    return np.where((indices >= 0) & (indices < size), indices, -1).astype(np.int32)


def factorize(name: str, ids: object, num_threads: int) -> tuple[NDArray[np.int32], Labels]:
    """Return the index of each id, and the labels: the distinct ids in ascending order."""
    array = check_ids(name, ids)
    if len(array) == 0:
        return np.empty(0, np.int32), Labels(array, 0)
    if array.dtype.kind == "i":
        low, high = int(array.min()), int(array.max())
        if high - low < TABLE_SPREAD * len(array) + 65536:
            indices, labels = _kernels.factorize_table(array, low, high, num_threads)
            return indices, Labels(labels, len(labels))
    if array.dtype.kind == "O":
        index: dict[Any, int] = {}
        found = np.fromiter((index.setdefault(x, len(index)) for x in array.tolist()), np.int32, len(array))
        return _sorted(found, list(index))
    labels, inverse = np.unique(array, return_inverse=True)
    if array.dtype.kind != "i":
        labels = labels.astype(object)
    return inverse.astype(np.int32), Labels(labels, len(labels))


def _sorted(found: NDArray[np.int32], labels: Sequence[Any]) -> tuple[NDArray[np.int32], Labels]:
    """Turn indices in order of appearance into indices in order of the labels."""
    order = sorted(range(len(labels)), key=labels.__getitem__)
    rank = np.empty(len(labels), np.int32)
    rank[order] = np.arange(len(labels), dtype=np.int32)
    values = np.fromiter((labels[i] for i in order), dtype=object, count=len(labels))
    return rank[found], Labels(values, len(labels))

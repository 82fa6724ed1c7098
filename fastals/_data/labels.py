"""Labels of users and items: any ids outside, indices 0..n-1 in ascending order of the labels inside."""

from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise, repeat
from operator import eq
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from .._core import (
    ArgumentTypeError,
    DataError,
    LabelArray,
    Tensors,
    UnknownLabelError,
    check_choice,
    frozen,
    tables,
)
from .._files import IDS
from .checks import (
    check_ids,
    check_kind,
    check_line_labels,
    in_dtype,
    joined,
    kind_of,
    refuse_offsets,
    refuse_utf8,
    refuse_wide,
)
from .columns import Coded, Text
from .frames import as_ids

TABLE_SPREAD = 2
"""Integer ids are encoded through a table of at most so many entries an id (and 65536): 4 bytes each."""

SORTED_TOGETHER = 1 << 18
"""So many integer ids are sorted at a time before they are looked up."""


class Labels:
    """The labels of all users or of all items, in index order.

    Parameters
    ----------
    values : ndarray of shape (size,) or None
        Distinct labels: int64, or uint64, or objects that are all str, bytes or UUID; ascending as they come from data,
        later ones behind them. None: users or items are known by their index alone. These labels' own from now on, and
        read-only.
    size : int

    Examples
    --------
    >>> from fastals._data.labels import Labels
    >>> import numpy as np
    >>> labels = Labels(np.array(["ann", "bob"], dtype=object), 2)
    >>> labels.encode(["bob", "eve"])
    array([ 1, -1], dtype=int32)
    >>> labels.decode(np.array([1, -1]))
    array(['bob', None], dtype=object)
    """

    def __init__(self, values: LabelArray | None, size: int) -> None:
        if values is not None:
            values.flags.writeable = False
        self.values = values
        self._size = size

    def __reduce__(self) -> tuple[Any, ...]:
        return _labels, (self.values, self._size)

    def __len__(self) -> int:
        return self._size

    def __repr__(self) -> str:
        return f"Labels(<{self.kind}>, {self._size})"

    @property
    def kind(self) -> str:
        """What the labels are, for messages: "integers", "strings", …; "indices" where there are none."""
        return "indices" if self.values is None else kind_of(self.values)

    @property
    def _rule(self) -> str:
        """What ids must be, for messages."""
        return self.kind if self.values is not None else f"indices from 0 to {self._size - 1}"

    def encode(self, ids: object, name: str = "ids") -> NDArray[np.int32]:
        """Return the index of each id, -1 where it is unknown; ``ids`` is what as_ids takes.

        Raises
        ------
        ArgumentTypeError
            They are of another kind, so that none could ever be known, or cannot be ids at all.
        """
        ids = as_ids(name, ids)
        if isinstance(ids, Text | Coded):
            codes, labels = factorize(name, ids, 1)
            first, array = codes[:1], labels.values
            assert array is not None
            return self._indices(name, array, first)[codes] if len(codes) else np.empty(0, np.int32)
        return self._indices(name, check_ids(name, ids), slice(1))

    def _indices(self, name: str, ids: LabelArray, first: Any) -> NDArray[np.int32]:
        """Return the index of each id of a checked array; ``ids[first]`` is what was given first."""
        if len(ids) == 0 or self._size == 0:
            return np.full(len(ids), -1, np.int32)
        kind = kind_of(ids)
        if kind != ("integers" if self.values is None else self.kind):
            known = "labels the model knows" if self.values is not None else "model, which knows no labels, has them"
            raise ArgumentTypeError(
                f"{name} must be {self._rule}, as the {known}, got {kind}: {ids[first].tolist()[0]!r} at position 0"
            )
        if self.values is None:
            return _within(ids, self._size)
        if kind == "integers":
            same, lost = in_dtype(ids, self.values.dtype)
            places = np.minimum(self._places(same), self._size - 1)
            indices = (places if self._order is None else self._order[places]).astype(np.int32)
            indices[(self.values[indices] != same) | lost] = -1
            return indices
        return np.fromiter(map(self._index.get, ids.tolist(), repeat(-1)), np.int32, len(ids))

    def encode_known(self, name: str, ids: object) -> NDArray[np.int32]:
        """Return the index of each id.

        Raises
        ------
        ArgumentTypeError
            As :meth:`encode`.
        UnknownLabelError
            Names the first unknown id.
        """
        ids = as_ids(name, ids)
        indices = self.encode(ids, name)
        unknown = indices < 0
        if unknown.any():
            at = int(np.argmax(unknown))
            rule = self._rule if self.values is None else "known to the model"
            raise UnknownLabelError(f"{name} must be {rule}, got {_label_at(name, ids, at)!r} at position {at}")
        return indices

    def places(self, name: str, others: "Labels") -> NDArray[np.int32]:
        """Return the index of each of the others, -1 where it is none of these.

        Raises
        ------
        DataError
            They are of another kind, or rows or columns of a matrix that has not one for each of these labels.
        """
        if others is self:
            return np.arange(self._size, dtype=np.int32)
        if others.values is None:
            if self.values is not None and len(others) != self._size:
                raise DataError(f"{name}: the matrix must have {self._size} of them, as the cells, got {len(others)}")
            return _within(np.arange(len(others)), self._size)
        kind = "integers" if self.values is None else self.kind
        if len(others) and self._size and others.kind != kind:
            raise DataError(f"{name} must be {kind}, as those of the cells, not {others.kind}")
        return self.encode(others.values, name)

    def grown(self, name: str, others: "Labels") -> tuple["Labels", NDArray[np.int32]]:
        """Return these labels with what others there are behind them, and the index of each of the others.

        Raises
        ------
        ArgumentTypeError
            The others are of another kind.
        UnknownLabelError
            These are indices, and the others not the ones that follow.
        DataError
            The others are rows or columns of a matrix that has fewer, or not one for each of these labels.
        """
        if others.values is None:
            if len(others) < self._size or (self.values is not None and len(others) > self._size):
                rule = "exactly" if self.values is not None else "at least"
                raise DataError(f"the matrix must have {rule} the model's {self._size} {name}, got {len(others)}")
            return Labels(self.values, len(others)), np.arange(len(others), dtype=np.int32)
        indices = self.encode(others.values, name)
        unknown = others.values[indices < 0]
        following = np.arange(self._size, self._size + len(unknown), dtype=np.int32)
        if self.values is None:
            if not np.array_equal(unknown, following):
                wrong = next(
                    (label for label, index in zip(unknown.tolist(), following, strict=True) if label != index)
                )
                raise UnknownLabelError(
                    f"{name} must be indices, new ones following from {self._size} on without a gap, got {wrong!r}: "
                    "a model that is to know users and items by other names must be fitted on labels"
                )
            values = None
        else:
            values = joined(name, self.values, unknown)
        indices[indices < 0] = following
        return Labels(values, self._size + len(unknown)), indices

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

    def _places(self, ids: NDArray[np.integer[Any]]) -> NDArray[np.intp]:
        """Where integer ids would stand among the labels; ids in order are found much faster than scattered ones."""
        assert self.values is not None
        places = np.empty(len(ids), np.intp)
        for first in range(0, len(ids), SORTED_TOGETHER):
            part = ids[first : first + SORTED_TOGETHER]
            order = np.argsort(part)
            places[first + order] = np.searchsorted(self.values, part[order], sorter=self._order)
        return places

    @cached_property
    def _order(self) -> NDArray[np.intp] | None:
        """What sorts integer labels; None where they ascend."""
        assert self.values is not None
        return None if (self.values[1:] > self.values[:-1]).all() else np.argsort(self.values)

    @cached_property
    def _index(self) -> dict[Any, int]:
        assert self.values is not None
        return {label: i for i, label in enumerate(self.values.tolist())}


def _labels(values: LabelArray | None, size: int) -> Labels:
    """Make labels again, of an array that pickle or deepcopy has made."""
    return Labels(frozen(values), size)


def _label_at(name: str, ids: Any, at: int) -> Any:
    """Return one of the ids that are Text, Coded or a vector, as Python has it."""
    if isinstance(ids, Text | Coded):
        codes, labels = factorize(name, ids, 1)
        assert labels.values is not None
        return labels.values[codes[at : at + 1]].tolist()[0]
    return check_ids(name, ids)[at : at + 1].tolist()[0]


def _within(indices: LabelArray, size: int) -> NDArray[np.int32]:
    """Plain indices, -1 where they are none of 0..size-1."""
    return np.where((indices >= 0) & (indices < size), indices, -1).astype(np.int32)


def factorize(name: str, ids: object, num_threads: int) -> tuple[NDArray[np.int32], Labels]:
    """Return the index of each id, and the labels: the distinct ids in ascending order.

    ``ids`` is what as_ids takes. Only the distinct ids are sorted.
    """
    ids = as_ids(name, ids)
    if isinstance(ids, Coded):
        return _factorize_coded(name, ids, num_threads)
    interner = tables.Interner(num_threads)
    if isinstance(ids, Text):
        for data, offsets in ids.chunks:
            if interner.add_offsets(data, offsets) >= 0:
                refuse_offsets(name)
        strings = decoded(name, interner)
        return _ranked(interner, as_integers(strings) if ids.numeric else strings)
    array = check_ids(name, ids, scan=False)
    if len(array) == 0:
        return np.empty(0, np.int32), Labels(array, 0)
    kind = kind_of(array)
    if kind == "integers":
        low, high = int(array.min()), int(array.max())
        if array.dtype.kind == "i" and high - low < TABLE_SPREAD * len(array) + 65536:
            indices, labels = tables.factorize_table(array, low, high, num_threads)
            return indices, Labels(labels, len(labels))
        array = array.astype(np.int64 if array.dtype.kind == "i" else np.uint64, copy=False)
    elif kind == "UUIDs":
        check_ids(name, array)
        array = np.frombuffer(b"".join([uuid.bytes for uuid in array]), "S16")
    elif array.dtype.kind == "O":
        at = interner.add_objects(array, str if kind == "strings" else bytes)
        if at >= 0:
            check_ids(name, array)
        return _ranked(interner, decoded(name, interner) if kind == "strings" else pieces(*interner.keys()))
    interner.add_fixed(array)
    labels = interner.keys()[0].view(array.dtype)
    if kind == "UUIDs":
        return _ranked(interner, [UUID(bytes=label.ljust(16, b"\0")) for label in labels.tolist()])
    return _ranked(interner, labels)


def declared(name: str, ids: Any, kind: str) -> Any:
    """Return ids, which are what as_ids takes, of the kind that they are declared to be; "auto": as they are."""
    if check_choice("ids", kind, IDS) == "auto":
        return ids
    codes, labels = factorize(name, ids, 1)
    assert labels.values is not None
    return Coded(codes, check_kind(name, codes, labels.values, kind))


def _factorize_coded(name: str, ids: Coded, num_threads: int) -> tuple[NDArray[np.int32], Labels]:
    """Return what factorize does; categories that no id has are no labels."""
    order, labels = factorize(name, ids.values, num_threads)
    indices, used = factorize(name, order[ids.codes], num_threads)
    assert labels.values is not None
    return indices, Labels(labels.values[used.values], len(used))


def _ranked(interner: "tables.Interner", labels: Sequence[Any] | LabelArray) -> tuple[NDArray[np.int32], Labels]:
    """Return indices and labels in the order of the labels; ``labels`` are in the interner's order."""
    rank, ordered = in_order(labels)
    return interner.indices(rank), ordered


def in_order(labels: Sequence[Any] | LabelArray) -> tuple[NDArray[np.int32], Labels]:
    """Return the place of each label among them in ascending order, and them in that."""
    if isinstance(labels, np.ndarray):
        order = np.argsort(labels)
        values = labels[order] if labels.dtype.kind in "iu" else labels[order].astype(object)
    else:
        order = np.array(sorted(range(len(labels)), key=labels.__getitem__), np.int64)
        values = np.fromiter((labels[c] for c in order.tolist()), object, len(labels))
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    return rank, Labels(values, len(values))


def line_labels(name: str, ids: object, size: int, num_threads: int) -> tuple[NDArray[np.int32] | None, Labels]:
    """Return the place of each of a matrix' rows or columns in the order of their labels ``ids``, and the labels.

    Without ids (None) rows and columns stay where they are.
    """
    if ids is None:
        return None, Labels(None, size)
    rank, labels = factorize(name, ids, num_threads)
    check_line_labels(name, len(rank), len(labels), size)
    return rank, labels


def decoded(name: str, interner: "tables.Interner") -> list[str]:
    """Return the interner's keys as strings."""
    try:
        return [piece.decode("utf-8", "surrogatepass") for piece in pieces(*interner.keys())]
    except UnicodeDecodeError as error:
        refuse_utf8(name, error)


def as_integers(strings: list[str]) -> list[str] | NDArray[np.int64]:
    """Return the integers that the strings write, the strings themselves unless all do."""
    try:
        numbers = np.fromiter(map(int, strings), np.int64, len(strings))
    except (ValueError, OverflowError):
        return strings
    return numbers if all(map(eq, map(str, numbers.tolist()), strings)) else strings


def pieces(keys: NDArray[np.uint8], offsets: NDArray[np.int64]) -> list[bytes]:
    data, ends = keys.tobytes(), offsets.tolist()
    return [data[begin:end] for begin, end in pairwise(ends)]


class StreamEncoder:
    """Codes for ids that come in batches: 0, 1, … in the order in which they first appear.

    Parameters
    ----------
    name : str
        What messages call the ids.
    numeric : bool
        Text is integers if every label is the usual decimal form of an int64, as some Text says itself.

    Examples
    --------
    >>> from fastals._data.labels import StreamEncoder
    >>> encoder = StreamEncoder("ids", numeric=True)
    >>> encoder.encode(["7", "9", "7"]), encoder.encode(["8", "9"])
    (array([0, 1, 0], dtype=int32), array([2, 1], dtype=int32))
    >>> encoder.labels()
    array([7, 9, 8])
    """

    def __init__(self, name: str, numeric: bool = False) -> None:
        self.name, self.numeric = name, numeric
        self._interner = tables.Interner(1)
        self._kind: str | None = None
        self._wide, self._negative = False, False
        self._categories: Any = None
        self._places: NDArray[np.int32]
        self._category_labels: LabelArray
        self._codes: NDArray[np.int32]

    def encode(self, ids: Any) -> NDArray[np.int32]:
        """Return the code of each id; ``ids`` is what as_ids takes."""
        ids = as_ids(self.name, ids)
        if len(ids) == 0:
            return np.empty(0, np.int32)
        if isinstance(ids, Coded):
            return self._encode_coded(ids)
        if isinstance(ids, Text):
            self._check_kind("strings")
            self.numeric = self.numeric or ids.numeric
            for data, offsets in ids.chunks:
                if self._interner.add_offsets(data, offsets) >= 0:
                    refuse_offsets(self.name)
            return self._interner.take()
        array = check_ids(self.name, ids)
        self._check_kind(kind_of(array))
        if self._kind == "integers":
            self._check_width(array)
            self._interner.add_fixed(np.ascontiguousarray(array, np.uint64 if array.dtype.kind == "u" else np.int64))
        elif self._kind == "UUIDs":
            self._interner.add_fixed(np.frombuffer(b"".join([label.bytes for label in array]), "V16"))
        else:
            self._interner.add_objects(array.astype(object), str if self._kind == "strings" else bytes)
        return self._interner.take()

    def _encode_coded(self, ids: Coded) -> NDArray[np.int32]:
        """Encode the categories once, and those that no id has not at all."""
        if ids.values is not self._categories:
            self._categories = ids.values
            self._places, labels = factorize(self.name, ids.values, 1)
            assert labels.values is not None
            self._category_labels = labels.values
            self._codes = np.full(len(labels), -1, np.int32)
        places = self._places[ids.codes]
        new = np.unique(places[self._codes[places] < 0])
        self._codes[new] = self.encode(self._category_labels[new])
        codes: NDArray[np.int32] = self._codes[places]
        return codes

    def _check_kind(self, kind: str) -> None:
        if self._kind not in (None, kind):
            raise DataError(f"{self.name} must be of one kind, got {self._kind} first and then {kind}")
        self._kind = kind

    def _check_width(self, integers: LabelArray) -> None:
        """See what they need, which is of 64 bits: with a sign, or without."""
        self._wide |= integers.dtype.kind == "u"
        self._negative |= bool(integers.min() < 0)
        if self._wide and self._negative:
            refuse_wide(self.name)

    def ranked(self) -> tuple[NDArray[np.int32], Labels]:
        """Return the place of each code's label in ascending order, and the labels in that."""
        labels = self.labels()
        return in_order(labels if labels.dtype.kind in "iu" else labels.tolist())

    def labels(self) -> LabelArray:
        """Return the labels in the order of their codes."""
        keys, offsets = self._interner.keys()
        if self._kind == "integers":
            return keys.view(np.uint64 if self._wide else np.int64).copy()
        if self._kind == "UUIDs":
            labels: Any = [UUID(bytes=keys[i : i + 16].tobytes()) for i in range(0, len(keys), 16)]
        elif self._kind == "bytes":
            labels = pieces(keys, offsets)
        else:
            labels = decoded(self.name, self._interner)
            labels = as_integers(labels) if self.numeric else labels
        return labels if isinstance(labels, np.ndarray) else np.fromiter(labels, object, len(labels))


# ----------------------------------------------------------------------------------------------------------------------
# labels in files


def decode_labels(axis: str, kind: str, size: int, tensors: Tensors) -> Labels:
    """Return the labels that a file holds as encode_labels says; ValueError where it does not."""
    if kind == "index":
        return Labels(None, size)
    if kind in ("int64", "uint64"):
        return Labels(tensors.take(axis, "<i8" if kind == "int64" else "<u8", size), size)
    if kind == "uuid":
        rows = tensors.take(axis, "|u1", size, 16)
        return Labels(np.fromiter((UUID(bytes=row.tobytes()) for row in rows), object, size), size)
    if kind in ("string", "bytes"):
        text = tensors.take(axis, "|u1", None)
        labels: list[Any] = pieces(text, tensors.take_offsets(f"{axis}_offsets", size, text.size))
        if kind == "string":
            labels = [label.decode("utf-8", "surrogatepass") for label in labels]
        return Labels(np.fromiter(labels, object, size), size)
    raise ValueError(f"{axis} have labels of unknown kind {kind!r}")

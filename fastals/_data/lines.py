"""Compressed lines of cells, by user or by item: what training and lists read, wherever the cells are.

Interactions on disk are a directory: both orientations in files of plain numbers, and one that says what they are.

    users.indices, items.indices   int32, little-endian: the items of each user, the users of each item, ascending
    users.values, items.values     float32 or float64; not there where all values are one
    known.users.indices, …         likewise the pairs that are known beside the cells; not there where there are none
    interactions.safetensors       the rest: shape, dtype, labels, where each line begins, checksums
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from .._core import frozen, reading, refuse_huge, tables

if TYPE_CHECKING:
    from .cells import LabelledCells
    from .labels import Labels

MANIFEST, VERSIONS = "interactions.safetensors", ("1", "2")
"""Versions of what is in the directory: without known pairs, and with some."""

MARKER = "building"
"""A file that is there while interactions are made, and when that was interrupted."""

Compressed: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[Any]]
"""(indptr, indices, values): lines, which are users or items, and what they hold."""

Part: TypeAlias = tuple[int, int, Compressed]
"""Lines ``first`` to ``last - 1``, compressed by themselves."""

Cells: TypeAlias = tuple[NDArray[np.int32], NDArray[Any], NDArray[Any] | None]
"""Index, value and weight of some cells; None: all weights are one."""


class Lists(NamedTuple):
    """The others that each of some lines has: ``others[first[i]:last[i]]``."""

    first: NDArray[np.int64]
    last: NDArray[np.int64]
    others: NDArray[np.int32]

    def pairs(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Every (list, other), by list."""
        lengths = self.last - self.first
        starts = np.repeat(self.first - (lengths.cumsum() - lengths), lengths)
        return np.repeat(np.arange(len(lengths)), lengths), self.others[starts + np.arange(lengths.sum())]

    def joined(self, more: Lists) -> Lists:
        """The same lists, each with that of ``more`` behind it."""
        own, further = self.last - self.first, more.last - more.first
        last = np.cumsum(own + further)
        first = last - own - further
        others = np.empty(int(last[-1]) if len(last) else 0, np.int32)
        for lists, lengths, begins in ((self, own, first), (more, further, first + own)):
            starts = np.repeat(begins - (lengths.cumsum() - lengths), lengths)
            others[starts + np.arange(lengths.sum())] = lists.pairs()[1]
        return Lists(first, last, others)


class Known(NamedTuple):
    """Pairs of a user and an item that are no cells, so that training does not see them, and are known all the same."""

    beside: LabelledCells | None = None
    """Those of users and items of the cells, in the same order; lists leave them out."""
    elsewhere: LabelledCells | None = None
    """The others, with labels of their own: what they are about may get cells later."""

    def hold(self, data: LabelledCells) -> NDArray[np.bool_]:
        """For each of some cells, whether its pair is one of these."""
        found = np.zeros(data.nnz, np.bool_)
        for known in self:
            if known is not None:
                users, items = (
                    own.encode(theirs.decode(np.arange(len(theirs))), name)
                    for name, own, theirs in (
                        ("users", known.user_labels, data.user_labels),
                        ("items", known.item_labels, data.item_labels),
                    )
                )
                pairs, rows, items = known.in_memory(), np.repeat(users, np.diff(data.indptr)), items[data.indices]
                numbers = cell_numbers(pairs.indptr, pairs.indices, pairs.n_items)
                same = contains(numbers, rows * np.int64(pairs.n_items) + items)
                found |= same & (rows >= 0) & (items >= 0)
        return found


class Lines(Protocol):
    """The cells of each user, or of each item, in order; any number of threads may read at once."""

    @property
    def indptr(self) -> NDArray[np.int64]:
        """Line r has the cells ``indptr[r]`` to ``indptr[r + 1]``; in memory."""

    @property
    def n_others(self) -> int:
        """What the indices are below."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the values, float32 or float64."""

    @property
    def weighted(self) -> bool:
        """Whether cells have weights."""

    def read(self, first: int, last: int, out: Cells | None = None) -> Cells:
        """Return the cells of lines ``first`` to ``last - 1``: their indices, values and weights (None: all are one).

        What is read from files is put into ``out`` where that is given, arrays that have room for it.

        Raises
        ------
        FileFormatError
            A file has changed since it was opened, or holds what cannot be.
        """

    def lists(self, lines: Any) -> Lists:
        """Return the indices of some lines, given as one would index an array with them; no others are read."""


class ArrayLines:
    """Lines in memory. The arrays are this object's own from now on, and read-only."""

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    values: NDArray[Any]
    weighted = False

    def __init__(self, arrays: Compressed, n_others: int) -> None:
        for array in arrays:
            array.flags.writeable = False
        self.indptr, self.indices, self.values = arrays
        self.n_others = n_others

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update({name: frozen(value) for name, value in state.items()})

    @property
    def arrays(self) -> Compressed:
        return self.indptr, self.indices, self.values

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.values.dtype

    def read(self, first: int, last: int, out: Cells | None = None) -> Cells:
        cells = slice(self.indptr[first], self.indptr[last])
        return self.indices[cells], self.values[cells], None

    def lists(self, lines: Any) -> Lists:
        first, last = self.indptr[:-1][lines], self.indptr[1:][lines]
        return Lists(np.ascontiguousarray(first), np.ascontiguousarray(last), self.indices)

    def astype(self, dtype: np.dtype[Any], num_threads: int) -> ArrayLines:
        return ArrayLines((self.indptr, self.indices, converted(self.values, dtype, num_threads)), self.n_others)

    def transposed(self, num_threads: int) -> ArrayLines:
        indptr, indices, values = self.arrays
        # equal values are equal in any order: no need for a second array of them
        equal = len(values) > 0 and values.min() == values.max()
        turned = tables.transpose(indptr, indices, None if equal else values, self.n_others, values.dtype, num_threads)
        return ArrayLines((*turned[:2], values) if equal else turned, len(indptr) - 1)


class PairLines(ArrayLines):
    """Lines in memory whose values are all one, and not there before they are asked for."""

    def __init__(self, indptr: NDArray[np.int64], indices: NDArray[np.int32], n_others: int) -> None:
        indptr.flags.writeable = indices.flags.writeable = False
        self.indptr, self.indices, self.n_others = indptr, indices, n_others

    @property
    def values(self) -> NDArray[Any]:  # type: ignore[override]
        """Made anew each time."""
        ones = np.ones(len(self.indices), self.dtype)
        ones.flags.writeable = False
        return ones

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.float32)

    def read(self, first: int, last: int, out: Cells | None = None) -> Cells:
        indices = self.indices[self.indptr[first] : self.indptr[last]]
        return indices, np.ones(len(indices), self.dtype), None

    def transposed(self, num_threads: int) -> PairLines:
        turned = tables.transpose(self.indptr, self.indices, None, self.n_others, self.dtype, num_threads)
        return PairLines(*turned[:2], len(self.indptr) - 1)


class Numbers:
    """A file of so many numbers, which never changes: it is opened anew for each reading, and mapped nowhere.

    Mapped pages would count as this process's memory; pages that the system keeps of what was read do not.

    Raises
    ------
    FileFormatError
        It is missing, or of another size.
    """

    def __init__(self, path: str, dtype: Any, count: int) -> None:
        self.path, self.dtype = path, np.dtype(dtype)
        with reading(path, "interactions"):
            status, size = os.stat(path), count * self.dtype.itemsize
            if not stat.S_ISREG(status.st_mode) or status.st_size != size:
                raise ValueError(f"{count} numbers of type {self.dtype} take {size} bytes, not {status.st_size}")
        self._status = _identity(status)

    @contextmanager
    def open(self) -> Iterator[Any]:
        with reading(self.path, "interactions"), open(self.path, "rb", buffering=0) as file:
            if _identity(os.fstat(file.fileno())) != self._status:
                raise ValueError("it has changed since it was opened")
            yield file

    def read(self, first: int, out: NDArray[Any]) -> NDArray[Any]:
        """Fill an array with the numbers from the ``first`` on."""
        with self.open() as file:
            read_into(file, first, out)
        return out


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return status.st_ino, status.st_size, status.st_mtime_ns


def read_into(file: Any, first: int, out: NDArray[Any]) -> None:
    """Fill an array with the numbers of an unbuffered file from the ``first`` on."""
    file.seek(first * out.itemsize)
    left = out.view(np.uint8).data
    while len(left):
        got = file.readinto(left)
        if not got:
            raise ValueError("it became shorter while it was read")
        left = left[got:]


class FileLines:
    """Lines in files; what is read is checked as it is read, so that no index ever leads elsewhere.

    Parameters
    ----------
    indptr : int64 array of shape (n_lines + 1,)
        Checked.
    n_others : int
    indices : Numbers
    values : Numbers, optional
        None: all are one.
    dtype : dtype
        What values are read as.
    repeats : bool
        Whether an index may be there several times in a line.
    """

    weighted = False

    def __init__(
        self,
        indptr: NDArray[np.int64],
        n_others: int,
        indices: Numbers,
        values: Numbers | None,
        dtype: np.dtype[Any],
        *,
        repeats: bool,
    ) -> None:
        self.indptr: NDArray[np.int64] = frozen(indptr)
        self.n_others, self.dtype = n_others, dtype
        self._indices, self._values, self.repeats = indices, values, repeats

    @property
    def files(self) -> list[Numbers]:
        """Those of the indices and, unless all values are one, of the values."""
        return [self._indices] if self._values is None else [self._indices, self._values]

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update({name: frozen(value) for name, value in state.items()})

    def read(self, first: int, last: int, out: Cells | None = None) -> Cells:
        begin, end = int(self.indptr[first]), int(self.indptr[last])
        n = end - begin
        if out is None:
            out = np.empty(n, np.int32), np.empty(n, self.dtype), None
        indices, values = out[0][:n], out[1][:n]
        if len(indices) < n or len(values) < n or values.dtype != self.dtype:
            raise ValueError(f"out must have room for the {n} cells of lines {first} to {last - 1}, in {self.dtype}")
        self._indices.read(begin, indices)
        wrong = tables.OUT_OF_RANGE | tables.UNSORTED | (0 if self.repeats else tables.REPEATED)
        with reading(self._indices.path, "interactions"):
            if tables.check_rows(self.indptr[first : last + 1] - begin, indices, self.n_others, None, 1) & wrong:
                raise ValueError(f"its indices are not within 0..{self.n_others - 1}, or do not ascend in each line")
        self._read_values(begin, values)
        return indices, values, None

    def astype(self, dtype: np.dtype[Any]) -> FileLines:
        """Return the same with values that are read as another dtype."""
        return FileLines(self.indptr, self.n_others, self._indices, self._values, dtype, repeats=self.repeats)

    def _read_values(self, first: int, out: NDArray[Any]) -> None:
        if self._values is None:
            out.fill(1)
            return
        same = self._values.dtype == out.dtype
        values = self._values.read(first, out if same else np.empty(len(out), self._values.dtype))
        with reading(self._values.path, "interactions"):
            if not np.isfinite((values.min(initial=0), values.max(initial=0))).all():
                raise ValueError("its values are not finite")
        if not same:
            out[:] = converted(values, out.dtype, 1)

    def lists(self, lines: Any) -> Lists:
        begins = np.ascontiguousarray(self.indptr[:-1][lines])
        lengths = self.indptr[1:][lines] - begins
        last = np.cumsum(lengths)
        first = last - lengths
        others = np.empty(int(last[-1]) if len(last) else 0, np.int32)
        # lines that follow each other in the file are read at once
        starts = np.flatnonzero(np.append(True, begins[1:] != begins[:-1] + lengths[:-1]))[: len(begins)].tolist()
        with self._indices.open() as file:
            for start, stop in pairwise([*starts, len(begins)]):
                read_into(file, int(begins[start]), others[first[start] : last[stop - 1]])
            if len(others) and not 0 <= others.min() <= others.max() < self.n_others:
                raise ValueError(f"its indices are not within 0..{self.n_others - 1}")
        return Lists(first, last, others)


def converted(values: NDArray[Any], dtype: np.dtype[Any], num_threads: int) -> NDArray[Any]:
    """Return values as float32 or float64, themselves where they are; those beyond float32 are refused."""
    if values.dtype == dtype:
        return values
    if dtype == np.float32 and tables.check_values(values, num_threads) & tables.HUGE:
        refuse_huge()
    copy: NDArray[Any] = tables.copy_values(values, dtype, num_threads)
    return copy


def cut(indptr: NDArray[np.int64], cells: int) -> NDArray[np.int64]:
    """Return bounds of runs of lines that have at most so many cells, or are one line."""
    bounds = [0]
    while bounds[-1] < len(indptr) - 1:
        last = int(np.searchsorted(indptr, indptr[bounds[-1]] + cells, side="right")) - 1
        bounds.append(max(last, bounds[-1] + 1))
    return np.array(bounds, np.int64)


# ----------------------------------------------------------------------------------------------------------------------
# pairs of a user and an item as single numbers, which sort and compare fast


def cell_numbers(indptr: NDArray[Any], indices: NDArray[Any], n_columns: int) -> NDArray[np.int64]:
    """Return the cells of compressed rows as row * n_columns + column: ascending where each row's indices are."""
    numbers: NDArray[np.int64] = np.repeat(np.arange(len(indptr) - 1, dtype=np.int64) * n_columns, np.diff(indptr))
    numbers += indices
    return numbers


def distinct(ascending: NDArray[np.int64]) -> NDArray[np.int64]:
    return ascending[np.diff(ascending, prepend=-1) > 0]  # np.unique hashes, and takes ten times as long


def contains(ascending: NDArray[np.int64], numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
    if not len(ascending):
        return np.zeros(len(numbers), dtype=bool)
    nearest = ascending[np.minimum(np.searchsorted(ascending, numbers), len(ascending) - 1)]
    return np.equal(nearest, numbers)


def encode_labels(axis: str, labels: Labels, tensors: dict[str, NDArray[Any]]) -> str:
    """Add the tensors of the labels of "users" or "items" to those of a file; returns their kind.

    "index": none. "int64", "uint64": as named. "uuid": uint8 of shape (n, 16). "string", "bytes": uint8, all (UTF-8)
    bytes, and int64 ``{axis}_offsets`` of shape (n + 1,).
    """
    if labels.values is None:
        return "index"
    if labels.values.dtype.kind in "iu":
        kind = "int64" if labels.values.dtype.kind == "i" else "uint64"
        tensors[axis] = labels.values.astype(kind, copy=False)
        return kind
    values = labels.values.tolist()
    if isinstance(values[0], UUID):
        tensors[axis] = np.frombuffer(b"".join(label.bytes for label in values), np.uint8).reshape(-1, 16)
        return "uuid"
    kind = "bytes" if isinstance(values[0], bytes) else "string"
    if kind == "string":
        # surrogatepass: a label may hold half a surrogate pair, as file names with undecodable bytes do
        values = [label.encode("utf-8", "surrogatepass") for label in values]
    tensors[axis] = np.frombuffer(b"".join(values), np.uint8)
    tensors[f"{axis}_offsets"] = np.cumsum([0, *map(len, values)], dtype=np.int64)
    return kind

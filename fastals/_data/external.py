"""Cells sorted by way of files, in bounded memory: how interactions that do not fit into memory are made.

Whatever comes is appended to a file as it comes (`Unsorted`), and counted by line. That tells where in another file
the cells of each bucket will stand, a bucket being a run of lines whose cells fit into memory together. The cells are
dealt out to there (`deal`), and one bucket after the other is sorted in memory and appended to the first orientation
(`write`), which is then dealt out in its turn to become the second. Order among the cells of a line is kept throughout.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._core import tables
from .lines import Part, cut, read_into

BUCKET_CELLS = 1 << 22
"""Cells of a bucket; while they are sorted there are some 40 bytes of each. A line is never cut."""

CHUNK_CELLS = 1 << 22
"""Cells that are read at once."""

Chunk: TypeAlias = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[Any] | None]
"""Line, other and value of some cells; None: all values are one."""

Rank: TypeAlias = NDArray[np.int32] | None
"""The place of each code in the order of the labels; None: codes are places."""


class Column:
    """A file of numbers of one kind, open only while it is read or written."""

    def __init__(self, path: str, dtype: Any) -> None:
        self.path, self.dtype = path, np.dtype(dtype)
        self.crc32 = 0
        """Of all that was appended."""
        open(path, "xb").close()

    def append(self, numbers: NDArray[Any]) -> None:
        data = np.ascontiguousarray(numbers, self.dtype).view(np.uint8).data
        self.crc32 = zlib.crc32(data, self.crc32)
        with open(self.path, "ab", buffering=0) as file:
            write_all(file, data)

    def put(self, places: NDArray[np.int64], numbers: NDArray[Any], ends: NDArray[np.int64]) -> None:
        """Write ``numbers[ends[b]:ends[b + 1]]`` from place ``places[b]`` on, for each b."""
        with open(self.path, "r+b", buffering=0) as file:
            for b in np.flatnonzero(np.diff(ends)).tolist():
                file.seek(int(places[b]) * self.dtype.itemsize)
                write_all(file, numbers[ends[b] : ends[b + 1]].view(np.uint8).data)

    def read(self, first: int, last: int) -> NDArray[Any]:
        out = np.empty(last - first, self.dtype)
        with open(self.path, "rb", buffering=0) as file:
            read_into(file, first, out)
        return out

    def remove(self) -> None:
        os.unlink(self.path)


def write_all(file: Any, data: Any) -> None:
    """Write all to an unbuffered file, which may take less at a time."""
    while len(data):
        data = data[file.write(data) :]


class Values:
    """Values in a file as narrow as they all allow: none at all while they are ones, then float32, then float64."""

    def __init__(self, path: str, threads: int) -> None:
        self.path, self.threads, self.count = path, threads, 0
        self.column: Column | None = None

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.float32) if self.column is None else self.column.dtype

    def append(self, values: NDArray[Any] | None, count: int) -> None:
        if values is not None and not (self.column is None and (values == 1).all()):
            exact = self.column is not None and self.dtype == np.float64
            exact = exact or not tables.check_values(values, self.threads) & tables.INEXACT
            self._widen(self.dtype if exact else np.dtype(np.float64))
        if self.column is not None:
            self.column.append(_as(self.dtype, values, count, self.threads))
        self.count += count

    def _widen(self, dtype: np.dtype[Any]) -> None:
        if self.column is not None and self.dtype == dtype:
            return
        wide = Column(self.path + ".wide", dtype)
        for first in range(0, self.count, CHUNK_CELLS):
            last = min(first + CHUNK_CELLS, self.count)
            wide.append(_as(dtype, self.read(first, last), last - first, self.threads))
        os.replace(wide.path, self.path)
        wide.path, self.column = self.path, wide

    def read(self, first: int, last: int) -> NDArray[Any] | None:
        return None if self.column is None else self.column.read(first, last)

    def remove(self) -> None:
        if self.column is not None:
            self.column.remove()


def _as(dtype: np.dtype[Any], values: NDArray[Any] | None, count: int, threads: int) -> NDArray[Any]:
    if values is None:
        return np.ones(count, dtype)
    return values if values.dtype == dtype else tables.copy_values(values, dtype, threads)


class Unsorted:
    """Cells in the order in which they come."""

    def __init__(self, directory: str, name: str, threads: int) -> None:
        path = os.path.join(directory, f"scratch.{name}")
        self.keys, self.others = Column(path + ".keys", np.int32), Column(path + ".others", np.int32)
        self.values = Values(path + ".values", threads)
        self.counts = np.zeros(0, np.int64)
        """Cells of each line."""

    def append(self, keys: NDArray[np.int32], others: NDArray[np.int32], values: NDArray[Any] | None) -> None:
        """Take cells whose values are finite."""
        if not len(keys):
            return
        size = int(keys.max()) + 1
        if size > len(self.counts):
            self.counts = np.append(self.counts, np.zeros(size, np.int64))
        np.add.at(self.counts, keys, 1)
        self.keys.append(keys)
        self.others.append(others)
        self.values.append(values, len(keys))

    def others_met(self) -> NDArray[np.bool_]:
        """Which of the others have a cell; False for those behind the last of them."""
        met = np.zeros(0, np.bool_)
        for first in range(0, self.values.count, CHUNK_CELLS):
            others = self.others.read(first, min(first + CHUNK_CELLS, self.values.count))
            met = np.append(met, np.zeros(max(0, int(others.max()) + 1 - len(met)), np.bool_))
            met[others] = True
        return met

    def chunks(self, ranks: tuple[Rank, Rank], *, keep: bool = False) -> Iterator[Chunk]:
        """Yield all cells, line c being line ``ranks[0][c]`` now, and others likewise; unless ``keep``, then remove."""
        for first in range(0, self.values.count, CHUNK_CELLS):
            last = min(first + CHUNK_CELLS, self.values.count)
            keys, others = (
                codes if rank is None else rank[codes]
                for codes, rank in zip((self.keys.read(first, last), self.others.read(first, last)), ranks, strict=True)
            )
            yield keys, others, self.values.read(first, last)
        if not keep:
            self.remove()

    def remove(self) -> None:
        """Remove the files."""
        for column in (self.keys, self.others, self.values):
            column.remove()


class Sorted(NamedTuple):
    """One orientation in files: the cells of each line side by side, in the order of the others."""

    indptr: NDArray[np.int64]
    indices: Column
    values: Values
    counts: NDArray[np.int64]
    """Cells of each of the others."""

    def chunks(self) -> Iterator[Chunk]:
        """Yield all cells, the others as lines."""
        for first in range(0, self.values.count, CHUNK_CELLS):
            last = min(first + CHUNK_CELLS, self.values.count)
            yield self.indices.read(first, last), lines_of(self.indptr, first, last), self.values.read(first, last)


def lines_of(indptr: NDArray[np.int64], first: int, last: int) -> NDArray[np.int32]:
    """Return the line of each of the cells ``first`` to ``last - 1`` of compressed lines."""
    begin, end = np.searchsorted(indptr, first, side="right") - 1, np.searchsorted(indptr, last)
    bounds = np.clip(indptr[begin : end + 1], first, last)
    return np.repeat(np.arange(begin, end, dtype=np.int32), np.diff(bounds))


def deal(
    directory: str, chunks: Iterable[Chunk], counts: NDArray[np.int64], values: Values, threads: int
) -> Iterator[Part]:
    """Yield lines, of which there are ``counts`` cells each, compressed: bucket by bucket, each line in one of them.

    The order among the cells of a line is kept. ``values`` are those of the chunks.
    """
    indptr = np.append(0, np.cumsum(counts, dtype=np.int64))
    bounds = cut(indptr, BUCKET_CELLS)
    starts = indptr[bounds]
    kinds = {"keys": np.dtype(np.int32), "others": np.dtype(np.int32), "values": values.dtype}
    columns = [Column(os.path.join(directory, f"scratch.dealt.{name}"), kind) for name, kind in kinds.items()]
    buckets = np.repeat(np.arange(len(starts) - 1, dtype=np.int32), np.diff(bounds))
    places = starts[:-1].copy()
    for keys, others, numbers in chunks:
        mine = buckets[keys]
        ends, keys, numbers = tables.bucket(mine, keys, numbers, len(places), values.dtype, threads)
        others = tables.bucket(mine, others, None, len(places), values.dtype, threads)[1]
        for column, dealt in zip(columns, (keys, others, numbers), strict=True):
            if dealt is not None:
                column.put(places, dealt, ends)
        places += np.diff(ends)
    for b, (first, last) in enumerate(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)):
        keys, others = (column.read(starts[b], starts[b + 1]) for column in columns[:2])
        numbers = None if values.column is None else columns[2].read(starts[b], starts[b + 1])
        keys -= np.int32(first)
        lines = tables.bucket(keys, others, numbers, last - first, values.dtype, threads)
        del keys, others, numbers
        yield first, last, lines
    for column in columns:
        column.remove()


def write(directory: str, axis: str, parts: Iterable[Part], n_others: int, threads: int) -> Sorted:
    """Append lines whose indices ascend to the files of an orientation."""
    indices = Column(os.path.join(directory, f"{axis}.indices"), np.int32)
    values = Values(os.path.join(directory, f"{axis}.values"), threads)
    ends, counts = [np.zeros(1, np.int64)], np.zeros(n_others, np.int64)
    for _, _, lines in parts:
        indices.append(lines[1])
        ends.append(lines[0][1:] + ends[-1][-1])
        counts += np.bincount(lines[1], minlength=n_others)
        values.append(lines[2], len(lines[1]))
    return Sorted(np.concatenate(ends), indices, values, counts)

"""Compressed lines of cells, by user or by item: what training and lists read, wherever the cells are."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._core import frozen, tables
from .checks import refuse_huge

Axis: TypeAlias = Literal["users", "items"]

Compressed: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[Any]]
"""(indptr, indices, values): lines, which are users or items, and what they hold."""

Buffers: TypeAlias = tuple[NDArray[np.int32], NDArray[Any]]
"""Arrays for the indices and the values of a number of cells, in the lines' dtype."""


class Cells(NamedTuple):
    """The cells of some consecutive lines."""

    indices: NDArray[np.int32]
    values: NDArray[Any]
    weights: NDArray[Any] | None


class Lists(NamedTuple):
    """The others that each of some lines has: ``others[first[i]:last[i]]``."""

    first: NDArray[np.int64]
    last: NDArray[np.int64]
    others: NDArray[np.int32]


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

    def read(self, first: int, last: int, out: Buffers | None = None) -> Cells:
        """Return the cells of lines ``first`` to ``last - 1``.

        What is read from files is put into ``out`` where that is given, which then has to have room for it, and is
        valid until ``out`` is used again.

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

    def read(self, first: int, last: int, out: Buffers | None = None) -> Cells:
        cells = slice(self.indptr[first], self.indptr[last])
        return Cells(self.indices[cells], self.values[cells], None)

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


def converted(values: NDArray[Any], dtype: np.dtype[Any], num_threads: int) -> NDArray[Any]:
    """Return values as float32 or float64, themselves where they are; those beyond float32 are refused."""
    if values.dtype == dtype:
        return values
    if dtype == np.float32 and tables.check_values(values, num_threads) & tables.HUGE:
        refuse_huge()
    copy: NDArray[Any] = tables.copy_values(values, dtype, num_threads)
    return copy

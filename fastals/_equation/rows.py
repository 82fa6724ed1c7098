"""The stored cells of one orientation, what a value adds to its row's system, and what is asked of all cells at once.

Cells are in memory (:class:`Rows`) or read when they are wanted, run of rows by run of rows (``lines``). What is asked
of all of them is asked of chunks, which begin where they begin in memory, wherever a run ends: the bits are the same.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._core import Axis, FactorArray, kernels
from .refusals import refuse_overflowing_weight

CHUNK = 65_536
"""Cells that are looked at together: copies of all in float64 would need more memory than the data."""

BUFFER = 8192
"""Elements that NumPy converts at once, and sums before it goes on; a chunk holds a whole number of these."""


@dataclass(frozen=True)
class CellWeights:
    """What a stored value r adds: a = a0 + a1 |r|; b = b0 + b1 r, but 0 where ``positive_only`` and r <= 0.

    A cell of weight s adds s times as much: what s equal cells would. Every cell, stored or not, weighs ``unobserved``
    (w0) with target 0; a stored one w0 + a in all, with target b / (w0 + a).
    """

    unobserved: float
    a0: float
    a1: float
    b0: float
    b1: float
    positive_only: bool

    def of(self, values: FactorArray, scale: FactorArray | None = None) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return a and b of stored values of these weights, in float64."""
        r = values.astype(np.float64)
        s = 1.0 if scale is None else scale.astype(np.float64)
        b = s * (self.b0 + self.b1 * r)
        if self.positive_only:
            b[r <= 0] = 0
        return s * (self.a0 + self.a1 * np.abs(r)), b

    def check_range(self, rows: RowSource) -> None:
        """Refuse values whose weights the dtype does not hold."""
        extremes = rows.extremes()
        value = max(extremes.high, -extremes.low, 0.0)
        scale = extremes.heaviest
        largest = scale * max(abs(self.a0) + abs(self.a1) * value, abs(self.b0) + abs(self.b1) * value)
        if not largest <= float(np.finfo(rows.dtype).max):
            refuse_overflowing_weight(largest, rows.dtype)

    def lightest(self, rows: RowSource) -> tuple[int, int, float] | None:
        """Return row, other and w0 + sum s a of the lightest pair, if that is below 0 by more than rounding."""
        if self.a0 >= 0 or not rows.n_cells or self.a0 + self.a1 * rows.extremes().closest >= 0:
            return None
        eps, lowest, found = np.finfo(rows.dtype).eps, 0.0, None
        for first, run in rows.runs():
            for start, end in cuts(run.indptr, CHUNK):
                part = run.between(start, end)
                if not len(part.values):
                    continue
                starts = np.ones(len(part.values), bool)
                starts[1:] = part.indices[1:] != part.indices[:-1]
                starts[part.indptr[:-1][np.diff(part.indptr) > 0]] = True
                pairs = np.flatnonzero(starts)
                a = self.of(part.values, part.scale)[0]
                sums = self.unobserved + np.add.reduceat(a, pairs)
                above = sums + eps * (self.unobserved + np.add.reduceat(np.abs(a), pairs))
                least = int(np.argmin(above))
                if above[least] < lowest:
                    lowest = above[least]
                    row = int(np.searchsorted(part.indptr, pairs[least], side="right")) - 1
                    found = first + start + row, int(part.indices[pairs[least]]), float(sums[least])
        return found

    @property
    def of_cells(self) -> tuple[float, float, float, float, bool]:
        """What the kernels take."""
        return self.a0, self.a1, self.b0, self.b1, self.positive_only


class RowWeights(NamedTuple):
    """What the errors of whole users and items count.

    The objective has p_u q_i before what a stored cell adds to it, and of every pair w0 p_u q_i c_i (x_u.y_i)^2 (c: He
    et al., Fast matrix factorization for online recommendation with implicit feedback, SIGIR 2016, equation 7). So the
    users' common term is w0 p_u Y' diag(q c) Y, and the items' w0 q_i c_i X' diag(p) X.

    Attributes
    ----------
    users, items : array of shape (n_users,), (n_items,), optional
        p, q >= 0; None: 1.
    unobserved : array of shape (n_items,), optional
        c >= 0; None: 1.
    """

    users: FactorArray | None = None
    items: FactorArray | None = None
    unobserved: FactorArray | None = None

    def share(self, axis: Axis) -> FactorArray | None:
        """What of w0 is a user's, p, or an item's, q c; None: all are 1."""
        if axis == "users" or self.items is None or self.unobserved is None:
            return self.users if axis == "users" else self.unobserved if self.items is None else self.items
        return np.asarray(self.items * self.unobserved)

    def weigh(self, axis: Axis, rows: RowSource) -> RowSource:
        """The same cells, each of which weighs p_u q_i times as much."""
        own, others = (self.users, self.items) if axis == "users" else (self.items, self.users)
        return rows if own is None and others is None else rows.weighed(own, others)

    def at(self, axis: Axis, places: Any) -> RowWeights:
        """Those of some users or items, and of all on the other side; None: of new ones, which have none."""
        own = ("users",) if axis == "users" else ("items", "unobserved")
        return self._replace(**{name: _at(getattr(self, name), places) for name in own})

    def changed(
        self, users: Callable[[FactorArray], FactorArray], items: Callable[[FactorArray], FactorArray]
    ) -> RowWeights:
        """What functions make of the arrays of users and of items."""
        return RowWeights(
            *(array if array is None else f(array) for f, array in zip((users, items, items), self, strict=True))
        )


def _at(array: FactorArray | None, places: Any) -> FactorArray | None:
    return None if array is None or places is None else array[places]


class Prior(NamedTuple):
    """What rows are drawn to: the objective has mu_u |x_u - m_u|^2 beside their ridge.

    To a row's equation it adds mu_u on the diagonal and mu_u m_u on the right: x_u is the mode of its posterior where
    the prior of x_u is a normal distribution around m_u.

    Attributes
    ----------
    means : array of shape (n_rows, columns), C-contiguous
        m_u, a column of biases included.
    strength : array of shape (n_rows,)
        mu_u >= 0, of the factors; 0: the row is drawn to nothing, and its mean counts for nothing.
    last : array of shape (n_rows,)
        Likewise of the biases in the last column, where there are any.
    """

    means: FactorArray
    strength: FactorArray
    last: FactorArray

    def between(self, first: int, last: int) -> Prior:
        """That of the rows from ``first`` to before ``last``."""
        return Prior(*(array[first:last] for array in self))

    def grown(self, n_rows: int) -> Prior:
        """That of as many rows, the last of which are drawn to nothing."""
        more = n_rows - len(self.means)
        return Prior(*(np.concatenate((array, np.zeros((more, *array.shape[1:]), array.dtype))) for array in self))

    def of(self, row: int, n_ridged: int) -> NDArray[np.float64]:
        """The strength for each coordinate of a row, whose first so many are factors."""
        strength = np.full(self.means.shape[1], float(self.strength[row]))
        strength[n_ridged:] = self.last[row]
        return strength

    @property
    def draws(self) -> NDArray[np.bool_]:
        """Which rows are drawn anywhere."""
        return (self.strength > 0) | (self.last > 0)


class Chunk(NamedTuple):
    """Cells that stand one after the other: ``part`` of all."""

    part: slice
    indices: NDArray[np.int32]
    values: FactorArray
    scale: FactorArray | None


class Extremes(NamedTuple):
    """Of the values the least, the largest and the one closest to 0, as a distance; the largest weight, else 1."""

    low: float
    high: float
    closest: float
    heaviest: float


class RowSource(ABC):
    """One orientation of the stored cells, wherever they are.

    Attributes
    ----------
    indptr : array of shape (n_rows + 1,)
        In memory.
    """

    indptr: NDArray[np.int64]

    @property
    @abstractmethod
    def dtype(self) -> np.dtype[Any]:
        """That of the values."""

    @property
    @abstractmethod
    def weighted(self) -> bool:
        """The cells have weights; else all are 1."""

    @abstractmethod
    def runs(self) -> Iterator[tuple[int, Rows]]:
        """All rows, run by run, each with the number of its first row; the last one is gone when the next one comes."""

    @abstractmethod
    def less(
        self,
        mean: float,
        own: FactorArray | None = None,
        others: FactorArray | None = None,
        num_threads: int = 1,
        out: FactorArray | None = None,
    ) -> RowSource:
        """The values less a mean, less what belongs to their row (``own``) and to their column (``others``).

        Where these are in memory, they are put into ``out``, if that is given.
        """

    @abstractmethod
    def weighed(self, own: FactorArray | None, others: FactorArray | None) -> RowSource:
        """The cells times the weight of their row (``own``) and of their column (``others``); None: 1."""

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @property
    def n_cells(self) -> int:
        """How many cells there are."""
        return int(self.indptr[-1])

    def whole(self) -> Rows:
        """All cells in memory."""
        runs = [run.copy() for _, run in self.runs()]
        scale = np.concatenate([run.scale for run in runs if run.scale is not None]) if self.weighted else None
        indices, values = (np.concatenate([getattr(run, name) for run in runs]) for name in ("indices", "values"))
        return Rows(self.indptr, indices, values, scale)

    def chunks(self) -> Iterator[Chunk]:
        """All cells, CHUNK at once."""
        start, missing, held = 0, CHUNK, list[Rows]()
        for _, run in self.runs():
            at = 0
            while at < run.n_cells:
                part = run.cells(slice(at, min(at + missing, run.n_cells)))
                held.append(part)
                at, missing = at + len(part.values), missing - len(part.values)
                if not missing:
                    yield _chunk(start, held)
                    start, missing, held = start + CHUNK, CHUNK, []
            held = [part.copy() for part in held]
        if held:
            yield _chunk(start, held)

    def lines_of(self, part: slice) -> NDArray[np.intp]:
        """The row of each of these cells, of which there is one at least."""
        first, last = np.searchsorted(self.indptr, (part.start, part.stop - 1), side="right") - 1
        bounds = np.clip(self.indptr[first : last + 2], part.start, part.stop)
        return np.repeat(np.arange(first, last + 1), np.diff(bounds))

    # -- what is asked of all cells -----------------------------------------------------------------------------------

    def counts(self, positive_only: bool) -> NDArray[Any]:
        """Cells of each row, by weight; with ``positive_only``, those of positive value."""
        counts: NDArray[Any] = np.zeros(len(self)) if self.weighted else np.diff(self.indptr)
        if not self.weighted and not positive_only:
            return counts
        for part, _, values, scale in self.chunks():
            if scale is None:
                others = np.flatnonzero(values <= 0) + part.start
                np.subtract.at(counts, np.searchsorted(self.indptr, others, side="right") - 1, 1)
                continue
            weights = scale.astype(np.float64)
            if positive_only:
                weights *= values > 0
            # one cell after the other: a row's sum is not to depend on where a chunk ends
            np.add.at(counts, self.lines_of(part), weights)
        return counts

    def extremes(self) -> Extremes:
        """How far the values and the weights go."""
        low, high, closest, heaviest = np.inf, -np.inf, np.inf, 0.0 if self.weighted else 1.0
        for _, _, values, scale in self.chunks():
            low, high = min(low, float(values.min())), max(high, float(values.max()))
            closest = min(closest, float(np.abs(values).min()))
            heaviest = heaviest if scale is None else max(heaviest, float(scale.max()))
        return Extremes(low, high, closest, heaviest)

    def have_repeats(self) -> bool:
        """Whether some pair has several cells, which then stand side by side."""
        before = np.empty(0, np.int32)
        for part, indices, _, _ in self.chunks():
            joined = np.concatenate((before, indices))
            again = np.flatnonzero(joined[1:] == joined[:-1]) + part.start + 1 - len(before)
            if np.any(self.indptr[np.searchsorted(self.indptr, again)] != again):
                return True
            before = joined[-1:]
        return False

    def mean(self) -> float:
        """The mean of the values, by weight."""
        if not self.weighted:
            return _sum((chunk.values for chunk in self.chunks()), self.n_cells, self.dtype) / self.n_cells
        weight = _sum((chunk.scale for chunk in self.chunks() if chunk.scale is not None), self.n_cells, self.dtype)
        total = 0.0
        for _, _, values, scale in self.chunks():
            for first in range(0, len(values), BUFFER):
                part = slice(first, first + BUFFER)
                total += float(np.einsum("i,i->", values[part], scale[part], dtype=np.float64))  # type: ignore[index]
        return total / weight if weight else 0.0

    def damped_means(self, damping: float) -> FactorArray:
        """Each row's sum of values over its count plus ``damping``, by weight."""
        sums = np.zeros(len(self))
        for part, _, values, scale in self.chunks():
            weighed = values if scale is None else values * scale
            np.add.at(sums, self.lines_of(part), weighed.astype(np.float64))
        total = self.counts(False) + damping
        return np.divide(sums, total, out=np.zeros_like(sums), where=total > 0).astype(self.dtype)


@dataclass(frozen=True, eq=False, repr=False)
class Rows(RowSource):
    """A run of rows in memory, as the kernels read it."""

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    values: FactorArray
    scale: FactorArray | None = None
    """The weight of each cell; None: all are 1."""

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.values.dtype

    @property
    def weighted(self) -> bool:
        return self.scale is not None

    def runs(self) -> Iterator[tuple[int, Rows]]:
        yield 0, self

    def chunks(self) -> Iterator[Chunk]:
        for first in range(0, self.n_cells, CHUNK):
            part = slice(first, min(first + CHUNK, self.n_cells))
            yield Chunk(part, self.indices[part], self.values[part], None if self.scale is None else self.scale[part])

    def whole(self) -> Rows:
        return self

    def copy(self) -> Rows:
        """Arrays that nobody else writes to."""
        return Rows(
            self.indptr, self.indices.copy(), self.values.copy(), None if self.scale is None else self.scale.copy()
        )

    def cells(self, part: slice) -> Rows:
        """Some cells as one row."""
        scale = None if self.scale is None else self.scale[part]
        values = self.values[part]
        return Rows(np.array([0, len(values)]), self.indices[part], values, scale)

    def between(self, first: int, last: int) -> Rows:
        """The rows from ``first`` to before ``last``."""
        indptr = self.indptr[first : last + 1]
        return replace(self.cells(slice(indptr[0], indptr[-1])), indptr=indptr - indptr[0])

    def lines(self) -> NDArray[np.int32]:
        """The row of each cell."""
        return np.repeat(np.arange(len(self), dtype=np.int32), np.diff(self.indptr))

    def less(
        self,
        mean: float,
        own: FactorArray | None = None,
        others: FactorArray | None = None,
        num_threads: int = 1,
        out: FactorArray | None = None,
    ) -> Rows:
        values = np.empty_like(self.values) if out is None else out
        if others is None:
            np.subtract(self.values, self.dtype.type(mean), out=values)
        else:
            kernels.less(self.values, self.indices, others + self.dtype.type(mean), values, num_threads)
        if own is not None:
            for start, end in cuts(self.indptr, CHUNK):
                part = slice(self.indptr[start], self.indptr[end])
                values[part] -= np.repeat(own[start:end], np.diff(self.indptr[start : end + 1]))
        return replace(self, values=values)

    def weighed(self, own: FactorArray | None, others: FactorArray | None) -> Rows:
        parts = [_weight(self, first, last, own, others) for first, last in cuts(self.indptr, CHUNK)]
        return replace(self, scale=np.concatenate([np.empty(0, self.dtype), *parts]))


def _weight(run: Rows, first: int, last: int, own: FactorArray | None, others: FactorArray | None) -> FactorArray:
    """The weights of the cells of some rows."""
    part = slice(run.indptr[first], run.indptr[last])
    weight = np.ones(part.stop - part.start, run.dtype) if run.scale is None else run.scale[part].copy()
    if others is not None:
        weight *= others[run.indices[part]]
    if own is not None:
        weight *= np.repeat(own[first:last], np.diff(run.indptr[first : last + 1]))
    return weight


def cuts(indptr: NDArray[np.int64], cells: int) -> list[tuple[int, int]]:
    """Runs of rows that hold so many cells at most, but for a row that holds more; together all."""
    runs, first, n = list[tuple[int, int]](), 0, len(indptr) - 1
    while first < n:
        last = max(first + 1, int(np.searchsorted(indptr, indptr[first] + cells, side="right")) - 1)
        runs.append((first, last))
        first = last
    return runs


def _chunk(start: int, parts: list[Rows]) -> Chunk:
    whole = parts[0]
    if len(parts) > 1:
        scale = (
            None if whole.scale is None else np.concatenate([part.scale for part in parts if part.scale is not None])
        )
        indices, values = (np.concatenate([getattr(part, name) for part in parts]) for name in ("indices", "values"))
        whole = Rows(whole.indptr, indices, values, scale)
    return Chunk(slice(start, start + len(whole.values)), whole.indices, whole.values, whole.scale)


def _sum(parts: Iterator[FactorArray], n: int, dtype: np.dtype[Any]) -> float:
    """The sum of all n, in float64, as ``np.sum(..., dtype=np.float64)`` adds them up in one array.

    Of float32 BUFFER at once, of float64 by halves.
    """
    if dtype != np.float64:
        total = 0.0
        for part in parts:
            total = float(np.add.reduce(part, dtype=np.float64, initial=total))
        return total
    return _halves(parts, [np.empty(0)], n)


def _halves(parts: Iterator[FactorArray], rest: list[FactorArray], n: int) -> float:
    """The sum of the next n: ``rest`` has been read, and takes what is read too much."""
    if n > 8 * BUFFER:
        first = n // 2 - n // 2 % 8
        return _halves(parts, rest, first) + _halves(parts, rest, n - first)
    while sum(map(len, rest)) < n:
        rest.append(next(parts).copy())  # it is gone when the next one comes
    joined = np.concatenate(rest)
    rest[:] = [joined[n:]]
    return float(np.add.reduce(joined[:n]))

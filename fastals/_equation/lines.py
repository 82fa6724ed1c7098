"""Cells that are read when they are wanted, run of rows by run of rows, and never all at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from .._core import FactorArray
from .rows import Rows, RowSource, cuts

if TYPE_CHECKING:
    from .._data import Lines

RUN_BYTES = 1 << 26
"""What a run of rows takes in memory, unless it is one row that takes more; there are two at a time."""

Change = Callable[[int, Rows], Rows]
T = TypeVar("T")


class StoredRows(RowSource):
    """Cells of which two runs of rows are in memory: while one is worked on, a thread reads the next.

    Parameters
    ----------
    lines : Lines
    weights : Lines, optional
        The same cells with their weights for values.
    changes : sequence of callables
        ``(first_row, run) -> run``: what becomes of each run that is read, one after the other.
    weighing : bool
        These give weights to cells that have none.
    runs : list of (first, last), optional
        Where the rows are cut; by default into runs of about RUN_BYTES.
    """

    def __init__(
        self,
        lines: Lines,
        weights: Lines | None = None,
        *,
        changes: Sequence[Change] = (),
        weighing: bool = False,
        runs: list[tuple[int, int]] | None = None,
    ) -> None:
        self.lines, self.weights, self.changes, self.indptr = lines, weights, tuple(changes), lines.indptr
        self.weighing = weighing
        size = 4 + lines.dtype.itemsize if weights is None else 8 + 2 * lines.dtype.itemsize
        self._runs = cuts(self.indptr, RUN_BYTES // size) if runs is None else runs

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.lines.dtype

    @property
    def weighted(self) -> bool:
        return self.weighing or self.weights is not None

    def runs(self) -> Iterator[tuple[int, Rows]]:
        sources = [lines for lines in (self.lines, self.weights) if lines is not None]
        most = max((int(self.indptr[last] - self.indptr[first]) for first, last in self._runs), default=0)
        rooms = [
            [(np.empty(most, np.int32), np.empty(most, lines.dtype), None) for lines in sources] for _ in self._runs[:2]
        ]

        def read(number: int) -> tuple[int, Rows]:
            first, last = self._runs[number]
            cells, *weights = (
                lines.read(first, last, room) for lines, room in zip(sources, rooms[number % 2], strict=True)
            )
            indptr = self.indptr[first : last + 1] - self.indptr[first]
            run = Rows(indptr, cells[0], cells[1], weights[0][1] if weights else None)
            for change in self.changes:
                run = change(first, run)
            return first, run

        return ahead(read, len(self._runs))

    def changed(self, change: Change, *, weighing: bool = False) -> StoredRows:
        """The same, each run of which is changed when it is read."""
        changes, weighing = (*self.changes, change), weighing or self.weighing
        return StoredRows(self.lines, self.weights, changes=changes, weighing=weighing, runs=self._runs)

    def transformed(self, transform: Callable[[FactorArray], FactorArray]) -> StoredRows:
        """The same, the values being what a function makes of them."""
        return self.changed(lambda first, run: replace(run, values=transform(run.values)))

    def less(
        self,
        mean: float,
        own: FactorArray | None = None,
        others: FactorArray | None = None,
        num_threads: int = 1,
        out: FactorArray | None = None,
    ) -> StoredRows:
        return self.changed(
            # by the thread that reads: the others are at work
            lambda first, run: run.less(mean, None if own is None else own[first : first + len(run)], others)
        )

    def weighed(self, own: FactorArray | None, others: FactorArray | None) -> StoredRows:
        return self.changed(
            lambda first, run: run.weighed(None if own is None else own[first : first + len(run)], others),
            weighing=True,
        )


def ahead(read: Callable[[int], T], n: int) -> Iterator[T]:
    """What ``read`` gives for 0, 1, ... n - 1: a thread reads the first now, and the next while one is worked on."""
    if n < 2:
        return map(read, range(n))
    from concurrent.futures import ThreadPoolExecutor  # not what everybody needs

    pool = ThreadPoolExecutor(1, "fastals-read")
    first = pool.submit(read, 0)

    def rest() -> Iterator[T]:
        coming = first
        with pool:
            for number in range(n):
                now = coming.result()
                if number + 1 < n:
                    coming = pool.submit(read, number + 1)
                yield now

    return rest()

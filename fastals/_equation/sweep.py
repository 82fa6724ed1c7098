"""Half-sweeps: one side's factors from the other's.

The row equation (DESIGN: every variant is this one system), for each row u with the other side's factors Y fixed::

    ( w0 Y'Y + sum_i a_i y_i y_i' + lambda_u I ) x_u = sum_i b_i y_i

The common term is diagonalised once, w0 Y'Y = Q diag(base) Q'; the kernels then solve in the basis z = Q'y, where it is
a diagonal for any lambda_u, and turn the solutions back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._core import FactorArray, kernels, single_threaded_blas
from .refusals import (
    refuse_indefinite_row,
    refuse_overflowing_factors,
    refuse_overflowing_row,
    refuse_overflowing_weight,
    refuse_unrepresented,
    refuse_unrepresented_row,
)

CHUNK = 65_536
"""Cells that are read at once: copies of all in float64 would need more memory than the data."""


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

    def check_range(self, rows: Rows) -> None:
        """Refuse values whose weights the dtype does not hold."""
        value = max(float(rows.values.max(initial=0)), -float(rows.values.min(initial=0)))
        scale = 1.0 if rows.scale is None else float(rows.scale.max(initial=0))
        largest = scale * max(abs(self.a0) + abs(self.a1) * value, abs(self.b0) + abs(self.b1) * value)
        if not largest <= float(np.finfo(rows.values.dtype).max):
            refuse_overflowing_weight(largest, rows.values.dtype)

    @property
    def of_cells(self) -> tuple[float, float, float, float, bool]:
        """What the kernels take."""
        return self.a0, self.a1, self.b0, self.b1, self.positive_only


class Rows(NamedTuple):
    """One orientation of the stored cells, as the kernels read it."""

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    values: FactorArray
    scale: FactorArray | None = None
    """The weight of each cell; None: all are 1."""

    def chunks(self) -> Iterator[slice]:
        """All cells, some at once."""
        n = len(self.values)
        return (slice(first, min(first + CHUNK, n)) for first in range(0, n, CHUNK))

    def counts(self, positive_only: bool) -> NDArray[Any]:
        """Cells of each row, by weight; with ``positive_only``, those of positive value."""
        if self.scale is None and (not positive_only or self.values.min(initial=1) > 0):
            return np.diff(self.indptr)
        counts: NDArray[Any] = np.diff(self.indptr) if self.scale is None else np.zeros(len(self.indptr) - 1)
        for part in self.chunks():
            if self.scale is None:
                others = np.flatnonzero(self.values[part] <= 0) + part.start
                np.subtract.at(counts, np.searchsorted(self.indptr, others, side="right") - 1, 1)
                continue
            weights = self.scale[part].astype(np.float64)
            if positive_only:
                weights *= self.values[part] > 0
            # one cell after the other: a row's sum is not to depend on where a chunk ends
            np.add.at(counts, self.lines_of(part), weights)
        return counts

    def lines(self) -> NDArray[np.int32]:
        """The row of each cell."""
        return np.repeat(np.arange(len(self.indptr) - 1, dtype=np.int32), np.diff(self.indptr))

    def lines_of(self, part: slice) -> NDArray[np.intp]:
        """The row of each of these cells, of which there is one at least."""
        first, last = np.searchsorted(self.indptr, (part.start, part.stop - 1), side="right") - 1
        bounds = np.clip(self.indptr[first : last + 2], part.start, part.stop)
        return np.repeat(np.arange(first, last + 1), np.diff(bounds))

    def have_repeats(self) -> bool:
        """Whether some pair has several cells, which then stand side by side."""
        for part in self.chunks():
            indices = self.indices[part.start : part.stop + 1]
            again = np.flatnonzero(indices[1:] == indices[:-1]) + part.start + 1
            if np.any(self.indptr[np.searchsorted(self.indptr, again)] != again):
                return True
        return False

    def mean(self) -> float:
        """The mean of the values, by weight."""
        if self.scale is None:
            return float(np.mean(self.values, dtype=np.float64))
        total = np.sum(self.scale, dtype=np.float64)
        return float(np.einsum("i,i->", self.values, self.scale, dtype=np.float64) / total) if total else 0.0

    def damped_means(self, damping: float) -> FactorArray:
        """Each row's sum of values over its count plus ``damping``, by weight."""
        sums = np.zeros(len(self.indptr) - 1)
        for part in self.chunks():
            values = self.values[part] if self.scale is None else self.values[part] * self.scale[part]
            np.add.at(sums, self.lines_of(part), values.astype(np.float64))
        total = self.counts(False) + damping
        return np.divide(sums, total, out=np.zeros_like(sums), where=total > 0).astype(self.values.dtype)

    def less(self, mean: float, own: FactorArray | None = None, others: FactorArray | None = None) -> Rows:
        """The values less a mean, less what belongs to their row (``own``) and to their column (``others``)."""
        offsets = np.full(1, mean, self.values.dtype) if others is None else (others + others.dtype.type(mean))
        values = np.empty_like(self.values)
        for part in self.chunks():
            np.subtract(self.values[part], offsets if others is None else offsets[self.indices[part]], values[part])
            if own is not None:
                values[part] -= own[self.lines_of(part)]
        return self._replace(values=values)


class Plan(NamedTuple):
    """In which order rows are solved: task t is ``order[tasks[t]:tasks[t + 1]]``; the first ``n_groups`` are groups.

    The rows ``split`` come before all: each is shared out to all threads.
    """

    order: NDArray[np.int32]
    tasks: NDArray[np.int64]
    n_groups: int
    split: NDArray[np.int32] = np.empty(0, np.int32)


SPLIT_SHARE = 128
"""A row of more than such a part of all cells could hold up the end of a sweep: where it has several parts
(``PART_CELLS``), they are shared out to all threads. Its bits are the same either way."""


class Groups(NamedTuple):
    """How long rows are to be grouped for conjugate gradients."""

    block: int
    """Rows of the other side that stay in the cache together."""
    n_other: int
    """Rows of the other side."""
    rows: int
    """The most rows of a group."""
    num_threads: int

    def long(self, lengths: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which rows the kernels walk through block by block (``cg_long``); to others company brings nothing."""
        return (lengths > self.block) & (lengths // 32 > self.n_other // self.block)


def schedule(
    indptr: NDArray[np.int64],
    *,
    rows: NDArray[np.integer[Any]] | None = None,
    groups: Groups | None = None,
    split: bool = False,
) -> Plan:
    """Deal out rows to tasks that threads then take one by one; no row's result depends on how.

    Rows that are long enough to hold up the end of a sweep come first, longest first, each a task of its own; the
    others follow as they stand, so that a thread walks through the cells in memory order.

    Parameters
    ----------
    rows : array, optional
        The rows to solve; all by default.
    groups : Groups, optional
        For conjugate gradients: long rows go together in groups that pass through the other side block by block.
    split : bool
        Whether very long rows may be solved in parts.
    """
    lengths = np.diff(indptr) if rows is None else np.diff(indptr)[rows]
    least = max(kernels.PART_CELLS, lengths.sum() / SPLIT_SHARE)
    huge = lengths > (kernels.CG_CELLS if groups else least if split else np.inf)
    heavy = groups.long(lengths) if groups else lengths > max(1024, 16 * lengths.sum() / max(1, len(lengths)))
    first = np.flatnonzero(heavy & ~huge)
    first = first[np.argsort(-lengths[first], kind="stable")]
    rest = np.flatnonzero(~(heavy | huge))
    starts = _group_starts(lengths[first], groups) if groups else np.arange(len(first))
    order: NDArray[np.integer[Any]] = np.concatenate((first, rest))
    tasks = np.concatenate((starts, np.arange(len(first), len(order), kernels.TASK_ROWS), [len(order)]))
    parted: NDArray[np.integer[Any]] = np.flatnonzero(huge)
    if rows is not None:
        order, parted = rows[order], rows[parted]
    return Plan(order.astype(np.int32), tasks.astype(np.int64), len(starts) if groups else 0, parted.astype(np.int32))


def _group_starts(lengths: NDArray[np.int64], groups: Groups) -> NDArray[np.int64]:
    """Cut rows into groups of about equally many cells.

    A group pays for a walk through the other side with every pass, so it should hold many cells for each row of it: up
    to 32, as long as there are two groups for every thread.
    """
    cells = min(32 * groups.n_other, lengths.sum() / (2 * groups.num_threads))
    starts: list[int] = []
    held = cells
    for row, length in enumerate(lengths.tolist()):
        if held >= cells or row - starts[-1] == groups.rows:
            starts.append(row)
            held = 0
        held += length
    return np.array(starts, np.int64)


GRAM_ROUNDING = 10
"""By so many eps of its largest eigenvalue, sums in the dtype may spoil what stands on a row's diagonal."""


class Basis:
    """The other side of a half-sweep, in the eigenbasis of its weighted Gram matrix w0 Y'Y.

    Parameters
    ----------
    factors : array of shape (n, k), C-contiguous
    unobserved : float
        w0; with 0 there is no common term.
    counts : array of shape (n,), optional
        Cells of each of these rows. Where there is no common term, the factors are then turned to the eigenbasis of
        sum_i counts_i y_i y_i', of which a row's matrix is a sample: its diagonal is a far better preconditioner there.
        Left as they are otherwise.
    turned : bool
        False: nothing is turned, and the common term is kept as it is: no rotation keeps signs.
    own : float, optional
        The last column belongs to biases, of this lambda: it is not turned.
    least : float
        The smallest lambda that the eigenvalues will be added to: how exactly these are wanted.
    """

    def __init__(
        self,
        factors: FactorArray,
        unobserved: float,
        num_threads: int,
        counts: NDArray[np.int64] | None = None,
        *,
        turned: bool = True,
        own: float | None = None,
        least: float = np.inf,
    ) -> None:
        k, dtype = factors.shape[1], factors.dtype
        self.factors, self.unobserved, self.own = factors, unobserved, own
        self.base = np.zeros(k, dtype)
        self.ridged = k if own is None else k - 1
        self.common: Any = None
        self.wide: NDArray[np.float64] | None = None
        self.forth: Any = None
        self.back: Any = None
        if unobserved and not turned:
            self.common = self._padded(unobserved * kernels.gram(factors, num_threads), dtype)
        elif unobserved:
            eigenvalues, Q = self._eigenbasis(unobserved * kernels.gram(factors, num_threads), dtype)
            if GRAM_ROUNDING * np.finfo(dtype).eps * eigenvalues[-1] > max(eigenvalues[0], 0) + least:
                # the rounding of its sums would show beside the smallest
                eigenvalues, Q = self._eigenbasis(unobserved * kernels.gram(factors, num_threads, True), dtype)
            self.base[:] = np.maximum(eigenvalues, 0)
        elif counts is not None:
            scale = np.sqrt(counts).astype(dtype)[:, np.newaxis]
            Q = np.eye(k)
            turns = slice(self.ridged)
            weighted = kernels.gram(factors * scale, num_threads)
            _, Q[turns, turns] = self._eigenbasis(weighted[turns, turns], dtype)
        if (unobserved and turned) or counts is not None:
            self.forth, self.back = self._padded(Q, dtype), self._padded(Q.T, dtype)
        if own is not None:
            self.base[-1] = own
        self.rows = kernels.rotate(factors, self.forth, num_threads)

    def as_they_are(self) -> Basis:
        """The same without any rotation, whose rounding some rows do not bear; the common term in float64."""
        plain = Basis(self.factors, 0.0, 1, own=self.own)
        if self.unobserved:
            plain.wide = self.unobserved * kernels.gram(self.factors, 1, True)
        return plain

    @staticmethod
    def _eigenbasis(gram: NDArray[np.float64], dtype: np.dtype[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        if not np.abs(gram).max(initial=0) <= float(np.finfo(dtype).max):
            refuse_overflowing_factors(dtype)
        eigenvalues, Q = np.linalg.eigh(gram)
        return eigenvalues, Q

    @staticmethod
    def _padded(Q: NDArray[np.float64], dtype: np.dtype[Any]) -> FactorArray:
        k = len(Q)
        out: FactorArray = kernels.aligned_empty((k, kernels.padded(dtype, k)), dtype)
        out[:] = 0
        out[:, :k] = Q
        return out


class Side:
    """One side of the training: the rows to be solved, and how.

    Parameters
    ----------
    rows : Rows
    factors : array of shape (n_rows, k), C-contiguous
        What the rows are; :meth:`solve` writes to it, or to another array that takes its place.
    others : array of shape (n_others, k)
        The other side's factors, read at every solve.
    regularization : callable
        ``(counts, n_others) -> lambda_u of each row``.
    other_counts : array of shape (n_others,), optional
        Cells of each of the other side's rows; "cg" wants to know.
    bias_regularization : float, optional
        The last column of either side holds biases, of this lambda on this side: a row is solved with ones in that
        column of the others, for values less their biases and the global mean.
    """

    def __init__(
        self,
        rows: Rows,
        factors: FactorArray,
        others: FactorArray,
        weights: CellWeights,
        regularization: Callable[[NDArray[Any], int], NDArray[np.float64]],
        other_counts: NDArray[np.int64] | None = None,
        *,
        bias_regularization: float | None = None,
    ) -> None:
        self.rows, self.factors, self.others, self.weights = rows, factors, np.ascontiguousarray(others), weights
        self.other_counts, self.bias_regularization = other_counts, bias_regularization
        counts = rows.counts(weights.positive_only)
        lam = regularization(counts, len(others))
        # a row of which nothing counts has no lambda where that grows with the count, and is zero for any
        self.nothing = np.flatnonzero((counts == 0) & (np.diff(rows.indptr) > 0))
        lam = np.where(counts > 0, lam, np.maximum(lam, lam.max(initial=0)))
        self.lam: FactorArray = represented("regularization", lam, factors.dtype)
        weights.check_range(rows)
        if self.biased:
            represented("bias_regularization", np.array([bias_regularization]), factors.dtype)
        self.rescued = np.empty(0, np.intp)
        self.spread = 0.0
        """Root of the sum of squares of what each row took off the objective, in the last solve."""
        self._plans: dict[str, Plan] = {}

    @property
    def biased(self) -> bool:
        """Whether the last column holds biases."""
        return self.bias_regularization is not None

    @property
    def n_ridged(self) -> int:
        """The columns that lambda_u belongs to."""
        return int(self.factors.shape[1]) - self.biased

    def ridge(self, row: int) -> NDArray[np.float64]:
        """The lambda of each coordinate of a row."""
        lam = np.full(self.factors.shape[1], float(self.lam[row]))
        lam[self.n_ridged :] = self.bias_regularization
        return lam

    def plan(self, solver: str, num_threads: int) -> Plan:
        """How the rows are dealt out for this solver."""
        if solver not in self._plans:
            shape = self.factors.dtype, self.factors.shape[1]
            groups = Groups(kernels.cg_block(*shape), len(self.others), kernels.cg_group(*shape), num_threads)
            self._plans[solver] = schedule(
                self.rows.indptr, groups=groups if solver == "cg" else None, split=solver in ("cg", "cholesky")
            )
        return self._plans[solver]

    def inputs(self) -> FactorArray:
        """The other side's rows as a row is solved with them: with ones instead of their biases."""
        if not self.biased:
            return self.others
        others: FactorArray = self.others.copy()
        others[:, -1] = 1
        return others

    def solve(
        self,
        solver: str,
        num_threads: int,
        relaxation: float = 0.0,
        mean: float = 0.0,
        *,
        only: NDArray[np.integer[Any]] | None = None,
        start: FactorArray | None = None,
        out: FactorArray | None = None,
    ) -> float:
        """One half-sweep; returns by how much the solved rows lower the objective, compared with zeros.

        With "cg", what is written goes beyond the solutions by ``relaxation`` times the step from the rows before.

        Parameters
        ----------
        only : array, optional
            The rows to solve, all by default.
        start : array of shape (n_rows, k), optional
            The rows before; ``factors`` by default.
        out : array of shape (n_rows, k), optional
            Where the rows go; it becomes ``factors``. By default they are solved in place.
        """
        counts = self.other_counts if solver == "cg" else None
        targets = self.targets(mean)
        basis = Basis(
            self.inputs(),
            self.weights.unobserved,
            num_threads,
            counts,
            turned=solver != "nnls",
            own=self.bias_regularization,
            least=float(self.lam.min(initial=np.inf)),
        )
        plan = self.plan(solver, num_threads) if only is None else schedule(self.rows.indptr, rows=only)
        out = self.factors if out is None else out
        decrease, self.rescued = half_sweep(
            targets,
            basis,
            self.weights,
            self.lam,
            out,
            start=self.factors if start is None else start,
            plan=plan,
            solver=solver,
            num_threads=num_threads,
            relaxation=relaxation,
            n_free=self.biased,
        )
        out[self.nothing], decrease[self.nothing] = 0, 0
        with np.errstate(over="ignore"):
            self.factors, self.spread = out, float(kernels.sum_rows(decrease * decrease)) ** 0.5
        return float(kernels.sum_rows(decrease))

    def targets(self, mean: float) -> Rows:
        """The cells as the rows' systems see them."""
        return self.rows.less(mean, others=self.others[:, -1]) if self.biased else self.rows

    def constant(self, mean: float, num_threads: int) -> float:
        """The objective at zero rows, but for the other side's penalty: sum of b^2 / (w0 + a) over the cells."""
        return self._constant(self.targets(mean), num_threads)

    def at_zero(self, mean: float, num_threads: int) -> float:
        """The objective where all is zero but the mean."""
        return self._constant(self.rows.less(mean) if self.biased else self.rows, num_threads)

    def _constant(self, cells: Rows, num_threads: int) -> float:
        return float(
            kernels.constant(
                self.weights.of_cells, self.weights.unobserved, cells.indptr, cells.values, cells.scale, num_threads
            )
        )

    def level(self) -> float:
        """Move what the biases share to the global mean, which is free, and return it.

        No prediction changes, and the penalty falls as far as it can. Where the share is zero, so are the sums of
        residuals, since a row's equation for its bias says: sum of weighted residuals = lambda bias. So ALS with
        this step has the minimum in the mean, too, as its fixed point.
        """
        biases, held = self.factors[:, -1], np.diff(self.rows.indptr) > 0
        if not self.bias_regularization or not held.any():
            return 0.0
        share = float(kernels.sum_rows(np.where(held, biases, 0).astype(np.float64)) / np.count_nonzero(held))
        biases[held] -= share
        return share

    def penalty(self, num_threads: int) -> float:
        """Sum of lambda_u |x_u|^2, and of lambda b_u^2 for biases."""
        own = self.bias_regularization or 0.0
        return float(kernels.penalty(self.factors, self.lam, self.n_ridged, own, num_threads))

    def loss(self, mean: float, num_threads: int) -> float:
        """The objective without this side's and the other's penalties: one pass over the cells, in float64.

        Slower than what a half-sweep tells by the way, and as exact as float64 is.
        """
        cells, inputs = self.targets(mean), self.inputs()
        fit = kernels.decrease_of_cells(
            self.factors,
            kernels.rotate(inputs, None, num_threads),
            self.weights.of_cells,
            cells.indptr,
            cells.indices,
            cells.values,
            cells.scale,
            num_threads,
        )
        common = 0.0
        if self.weights.unobserved:
            common = self.weights.unobserved * float(
                np.sum(kernels.gram(self.factors, num_threads, True) * kernels.gram(inputs, num_threads, True))
            )
        return self._constant(cells, num_threads) + common - float(fit)


def represented(name: str, values: NDArray[np.float64], dtype: np.dtype[Any]) -> FactorArray:
    """Return positive numbers in ``dtype``; refuse those that it has not."""
    with np.errstate(over="ignore", under="ignore"):
        cast: FactorArray = values.astype(dtype)
    lost = ~np.isfinite(cast) | ((cast < np.finfo(dtype).tiny) & (values > 0))
    if lost.any():
        refuse_unrepresented(name, float(values[np.argmax(lost)]), dtype)
    return cast


CG_STEPS = {True: 2, False: 3}
"""Steps of conjugate gradients a half-sweep, by whether there is a common term: with it the rotation leaves less to do.
More steps cost more time than they save iterations (bench/README.md)."""


def relaxation(iteration: int) -> float:
    """By how much of its step a half-sweep of conjugate gradients goes beyond its solution; iterations count from 1.

    Alternating least squares is a block Gauss-Seidel iteration, and this is its successive over-relaxation (Young 1954)
    with omega = 1 + relaxation. Each half of the objective is a convex quadratic, whose steps lower it for any omega
    below 2, so the objective never rises. The first steps lead from an arbitrary start to the neighbourhood of a
    solution; only then is it worth looking further ahead, and the further, the slower the rest converges.
    """
    return 0.95 * (iteration - 1) / (iteration + 1)


def half_sweep(
    rows: Rows,
    basis: Basis,
    weights: CellWeights,
    lam: FactorArray,
    out: FactorArray,
    *,
    plan: Plan,
    solver: str,
    num_threads: int,
    start: FactorArray | None = None,
    short_limit: int | None = None,
    cg_steps: int | None = None,
    cg_above: int = 0,
    relaxation: float = 0.0,
    n_free: int = 0,
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Solve every row of ``plan`` into ``out``.

    Parameters
    ----------
    lam : array of shape (n_rows,)
        lambda_u of each row.
    out : array of shape (n_rows, k), C-contiguous
    plan : the order and tasks of :func:`schedule`
    solver : {"cholesky", "lapack", "cg", "nnls"}
        "nnls": rows without negative entries; wants a basis not turned.
    start : array of shape (n_rows, k), C-contiguous, optional
        What "cg" and "nnls" start from; by default what ``out`` holds.
    short_limit, cg_above : int
        Rows of at most so many cells are solved by the n x n form, and exactly where the solver is "cg"; for tests and
        benchmarks.
    relaxation : float
        As in :meth:`Side.solve`.
    n_free : int
        So many last columns may be negative also with "nnls".

    Returns
    -------
    decrease : array of shape (n_rows,)
        By how much each row lowers the objective, compared with zeros.
    rescued : array
        Rows that the dtype was too narrow for: they were solved in float64, and where their matrix is singular, hold
        the minimum-norm solution.
    """
    k = out.shape[1]
    limit = kernels.short_limit(out.dtype, k) if short_limit is None else short_limit
    steps = CG_STEPS[weights.unobserved > 0] if cg_steps is None else cg_steps
    status, decrease = np.zeros(len(out), np.int32), np.zeros(max(1, len(out)))
    warm = (out if start is None else start) if solver in ("cg", "nnls") else None

    def solve(solver: str, plan: Plan, basis: Basis) -> None:
        with _serial_lapack() if solver in ("lapack", "rescue") else nullcontext():
            kernels.half_sweep(
                solver,
                basis.rows,
                basis.base,
                basis.ridged,
                weights.of_cells,
                limit,
                cg_above,
                steps,
                *plan,
                rows.indptr,
                rows.indices,
                rows.values,
                rows.scale,
                lam,
                basis.common,
                basis.wide,
                k - n_free,
                basis.forth,
                basis.back,
                warm if solver in ("cg", "nnls") else None,
                relaxation if solver == "cg" else 0.0,
                out,
                decrease,
                status,
                num_threads,
            )

    solve(solver, plan, basis)
    rescued = np.flatnonzero(status)
    if len(rescued):
        way_out = "rescue nnls" if solver == "nnls" else "rescue"
        solve(way_out, schedule(rows.indptr, rows=rescued), basis.as_they_are())
        if status.any():
            row = int(np.flatnonzero(status)[0])
            if status[row] > 0:
                refuse_indefinite_row(row)
            if status[row] == -2:
                refuse_unrepresented_row(row, out.dtype)
            refuse_overflowing_row(row, out.dtype)
    return decrease, rescued


def _serial_lapack() -> AbstractContextManager[Any]:
    """Load LAPACK, then limit it: a limit set before would not reach it."""
    kernels.bind_lapack()
    return single_threaded_blas()

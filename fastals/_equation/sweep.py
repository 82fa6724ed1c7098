"""One half-sweep over a block of rows: one side's factors from the other's.

The row equation (CONTRIBUTING: every variant is this system), for each row u with the other side's factors Y fixed::

    ( w0 p_u Y'Y + sum_i a_i y_i y_i' + (lambda_u + mu_u) I ) x_u = sum_i b_i y_i + mu_u m_u

The common term is diagonalised once, w0 Y'Y = Q diag(base) Q'; the kernels then solve in the basis z = Q'y, where it is
a diagonal for any lambda_u, mu_u and p_u, turn means to it and the solutions back. So a block of rows needs k x k
numbers of the whole other side (:class:`Common`), and of its rows those that its cells name (:class:`Basis`).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._core import FactorArray, kernels, single_threaded_blas
from .refusals import (
    refuse_indefinite_row,
    refuse_overflowing_factors,
    refuse_overflowing_row,
    refuse_unrepresented_row,
)
from .rows import CellWeights, Prior, Rows

GRAM_ROUNDING = 10
"""By so many eps of its largest eigenvalue, sums in the dtype may spoil what stands on a row's diagonal."""


# ---------------------------------------------------------------------------------------------------------------------
# the other side


class Summary(NamedTuple):
    """The Gram matrix of a side, summed up part by part: PART_ROWS rows are a part, and parts are added in order.

    So it may be made of runs of whole parts, wherever they are. A left-to-right sum cannot be taken apart, though: who
    makes it needs the matrix of each part of a run (:meth:`parts`), or hands on the sum itself (:meth:`extended`).

    Attributes
    ----------
    gram : array of shape (k, k)
    wide : bool
        Every sum is made in float64, not only that of the parts.
    """

    gram: NDArray[np.float64]
    wide: bool = False

    def extended(
        self, factors: FactorArray, num_threads: int, *, scale: FactorArray | None = None, ones: bool = False
    ) -> Summary:
        """The sum, gone on with over the rows that follow: each times its ``scale``, with ones for biases."""
        return self._replace(gram=kernels.gram(factors, num_threads, self.wide, scale, ones, self.gram))

    def followed_by(self, parts: NDArray[np.float64]) -> Summary:
        """The sum, gone on with over parts."""
        gram = self.gram
        for part in parts:
            gram = gram + part
        return self._replace(gram=gram)

    @staticmethod
    def parts(
        factors: FactorArray,
        num_threads: int,
        wide: bool = False,
        *,
        scale: FactorArray | None = None,
        ones: bool = False,
    ) -> NDArray[np.float64]:
        """The matrix of each part of these rows: k x k x 8 bytes for PART_ROWS rows."""
        k, rows = factors.shape[1], kernels.PART_ROWS
        nothing = Summary(np.zeros((k, k)), wide)
        runs = (slice(first, first + rows) for first in range(0, len(factors), rows))
        parts = [
            nothing.extended(factors[run], num_threads, scale=None if scale is None else scale[run], ones=ones).gram
            for run in runs
        ]
        return np.array(parts).reshape(-1, k, k)


class Common(NamedTuple):
    """What a half-sweep needs of the whole other side, and of its weights: k x k numbers.

    Attributes
    ----------
    base : array of shape (k,)
        What stands on each row's diagonal: the eigenvalues of the common term, the biases' lambda.
    ridged : int
        The coordinates that lambda_u belongs to; a last one that it does not belong to is that of biases.
    Q : array of shape (k, k), optional
        The rotation; None: the rows stay as they are.
    matrix : array of shape (k, k), optional
        The common term, where the rows stay as they are for their signs.
    wide : array of shape (k, k), optional
        The common term in float64, of sums in float64: for rows that the dtype is too narrow for.
    rounding, smallest : float
        What may be wrong with an eigenvalue, and the smallest.
    """

    base: FactorArray
    ridged: int
    Q: FactorArray | None = None
    matrix: FactorArray | None = None
    wide: NDArray[np.float64] | None = None
    rounding: float = 0.0
    smallest: float = 0.0

    @classmethod
    def of(
        cls,
        summary: Summary | None,
        unobserved: float,
        dtype: Any,
        k: int,
        *,
        turned: bool = True,
        own: float | None = None,
    ) -> Common:
        """Make it of a side's summary.

        Parameters
        ----------
        summary : Summary, optional
            Where ``unobserved`` is 0, and there is no common term, it may be of the rows times the roots of their
            counts. They are then turned to the eigenbasis of sum_i counts_i y_i y_i', of which a row's matrix is a
            sample: its diagonal is a far better preconditioner there. Without a summary they are left as they are.
        unobserved : float
            w0.
        turned : bool
            False: nothing is turned, and the common term is kept as it is: no rotation keeps signs.
        own : float, optional
            The last column belongs to biases, of this lambda: it is not turned.
        """
        dtype = np.dtype(dtype)
        base, ridged = np.zeros(k, dtype), k if own is None else k - 1
        common = cls(base, ridged)
        if summary is not None and unobserved:
            term = unobserved * summary.gram
            common = common._replace(wide=term if summary.wide else None)
            if turned:
                eigenvalues, Q = _eigenbasis(term, dtype)
                base[:] = np.maximum(eigenvalues, 0)
                rounding = GRAM_ROUNDING * np.finfo(dtype).eps * eigenvalues[-1]
                smallest = max(eigenvalues[0], 0)
                common = common._replace(Q=Q.astype(dtype), rounding=float(rounding), smallest=float(smallest))
            else:
                common = common._replace(matrix=term.astype(dtype))
        elif summary is not None:
            Q, turns = np.eye(k), slice(ridged)
            _, Q[turns, turns] = _eigenbasis(summary.gram[turns, turns], dtype)
            common = common._replace(Q=Q.astype(dtype))
        if own is not None:
            base[-1] = own
        return common

    def bears(self, least: float) -> bool:
        """Whether lambda, which is not below ``least``, hides the rounding of sums; else these must be wide."""
        return self.wide is not None or not self.rounding > self.smallest + least

    @property
    def plain(self) -> Common:
        """The same without any rotation, whose rounding some rows do not bear, and without the common term."""
        base = np.zeros_like(self.base)
        base[self.ridged :] = self.base[self.ridged :]
        return Common(base, self.ridged)


def _eigenbasis(gram: NDArray[np.float64], dtype: np.dtype[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if not np.abs(gram).max(initial=0) <= float(np.finfo(dtype).max):
        refuse_overflowing_factors(dtype)
    eigenvalues, Q = np.linalg.eigh(gram)
    return eigenvalues, Q


class Basis:
    """Rows of the other side in the coordinates of its common term.

    Parameters
    ----------
    common : Common
        Of the whole other side.
    factors : array of shape (n, k), C-contiguous
        Its rows, or those that the cells name.
    ones : bool
        A row is solved with ones in the last column, instead of the others' biases.
    places : array of shape (n,), optional
        Which rows these are, ascending, where they are not all: the cells' indices then are places in this list.
    n_others : int, optional
        How many rows the other side has, with ``places``.
    """

    def __init__(
        self,
        common: Common,
        factors: FactorArray,
        num_threads: int,
        *,
        ones: bool = False,
        places: NDArray[np.integer[Any]] | None = None,
        n_others: int | None = None,
    ) -> None:
        self.common, self.factors, self.ones = common, factors, ones
        self.forth = None if common.Q is None else _padded(common.Q)
        self.back = None if common.Q is None else _padded(common.Q.T)
        self.matrix = None if common.matrix is None else _padded(common.matrix)
        self.rows = kernels.rotate(factors, self.forth, num_threads, ones)
        self.n_others = len(factors) if n_others is None else n_others
        self.places, self.cuts = places, None
        if places is not None:
            block = kernels.cg_block(factors.dtype, factors.shape[1])
            self.cuts = np.searchsorted(places, np.arange(block, self.n_others + block, block)).astype(np.int32)
        self._plain: Basis | None = None

    @property
    def plain(self) -> Basis:
        """The same rows as they are."""
        if self._plain is None:
            self._plain = Basis(
                self.common.plain, self.factors, 1, ones=self.ones, places=self.places, n_others=self.n_others
            )
        return self._plain


def _padded(matrix: FactorArray) -> FactorArray:
    k = len(matrix)
    out: FactorArray = kernels.aligned_empty((k, kernels.padded(matrix.dtype, k)), matrix.dtype)
    out[:] = 0
    out[:, :k] = matrix
    return out


# ---------------------------------------------------------------------------------------------------------------------
# the order of the rows


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


def split_above(solver: str, n_cells: int) -> float:
    """The cells beyond which a row of a side of ``n_cells`` is solved in parts."""
    if solver == "cg":
        return kernels.CG_CELLS
    return max(kernels.PART_CELLS, n_cells / SPLIT_SHARE) if solver == "cholesky" else np.inf


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
    split: float = np.inf,
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
    split : float
        Rows of more cells are solved in parts: see :func:`split_above`.
    """
    lengths = np.diff(indptr) if rows is None else np.diff(indptr)[rows]
    huge = lengths > split
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


# ---------------------------------------------------------------------------------------------------------------------
# a block


class Block(NamedTuple):
    """A run of rows, and all that solving them takes beside the other side. It may be solved anywhere.

    Attributes
    ----------
    first : int
        The number of its first row.
    rows : Rows
    lam : array of shape (n_rows,)
        lambda_u of each row.
    plan : Plan
    prior : Prior, optional
        What its rows are drawn to.
    share : array of shape (n_rows,), optional
        p_u >= 0, by which each row takes the common term; None: 1.
    """

    first: int
    rows: Rows
    lam: FactorArray
    plan: Plan
    prior: Prior | None = None
    share: FactorArray | None = None


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
    block: Block,
    basis: Basis,
    weights: CellWeights,
    out: FactorArray,
    *,
    solver: str,
    num_threads: int,
    start: FactorArray | None = None,
    decrease: NDArray[np.float64] | None = None,
    wide: Callable[[], NDArray[np.float64] | None] | None = None,
    short_limit: int | None = None,
    cg_steps: int | None = None,
    cg_above: int = 0,
    relaxation: float = 0.0,
    n_free: int = 0,
) -> NDArray[np.intp]:
    """Solve every row of a block's plan into ``out``.

    Parameters
    ----------
    out : array of shape (n_rows, k), C-contiguous
    solver : {"cholesky", "lapack", "cg", "nnls"}
        "nnls": rows without negative entries; wants a basis not turned.
    start : array of shape (n_rows, k), C-contiguous, optional
        What "cg" and "nnls" start from; by default what ``out`` holds.
    decrease : array of shape (n_rows,), optional
        Takes by how much each row lowers the objective, compared with zeros.
    wide : callable, optional
        Returns the common term of wide sums (:attr:`Common.wide`), where there is a common term and ``basis`` has it
        not: few half-sweeps ask for it.
    short_limit, cg_above : int
        Rows of at most so many cells are solved by the n x n form, and exactly where the solver is "cg"; for tests and
        benchmarks.
    relaxation : float
        With "cg", what is written goes beyond the solutions by so much of the step from the rows before.
    n_free : int
        So many last columns may be negative also with "nnls".

    Returns
    -------
    rescued : array
        Rows that the dtype was too narrow for: they were solved in float64, and where their matrix is singular, hold
        the minimum-norm solution.
    """
    rows, k = block.rows, out.shape[1]
    limit = kernels.short_limit(out.dtype, k) if short_limit is None else short_limit
    steps = CG_STEPS[weights.unobserved > 0] if cg_steps is None else cg_steps
    status = np.zeros(len(out), np.int32)
    # a side without rows has no first element to point at
    decrease = np.zeros(max(1, len(out))) if decrease is None or not len(decrease) else decrease
    warm = (out if start is None else start) if solver in ("cg", "nnls") else None

    def solve(solver: str, plan: Plan, basis: Basis, wide: NDArray[np.float64] | None = None) -> None:
        with _serial_lapack() if solver in ("lapack", "rescue") else nullcontext():
            kernels.half_sweep(
                solver,
                basis.rows,
                basis.common.base,
                basis.common.ridged,
                weights.of_cells,
                limit,
                cg_above,
                steps,
                *plan,
                rows.indptr,
                rows.indices,
                rows.values,
                rows.scale,
                block.lam,
                basis.matrix,
                wide,
                k - n_free,
                basis.forth,
                basis.back,
                warm if solver in ("cg", "nnls") else None,
                relaxation if solver == "cg" else 0.0,
                out,
                decrease,
                status,
                num_threads,
                basis.n_others,
                basis.cuts,
                block.share,
                *(block.prior or ()),
            )

    solve(solver, block.plan, basis)
    rescued = np.flatnonzero(status)
    if len(rescued):
        common = wide() if wide and weights.unobserved and basis.common.wide is None else basis.common.wide
        if weights.unobserved and common is None:
            raise WideSumsNeeded
        way_out = "rescue nnls" if solver == "nnls" else "rescue"
        solve(way_out, schedule(rows.indptr, rows=rescued), basis.plain, common)
        if status.any():
            row = int(np.flatnonzero(status)[0])
            _refuse(int(status[row]), block.first + row, out.dtype)
    return rescued


class WideSumsNeeded(Exception):  # noqa: N818, it asks for something
    """Some rows of a block want the common term of wide sums, and nobody had it: solve the block again with that."""


def _refuse(status: int, row: int, dtype: np.dtype[Any]) -> None:
    if status > 0:
        refuse_indefinite_row(row)
    if status == -2:
        refuse_unrepresented_row(row, dtype)
    refuse_overflowing_row(row, dtype)


def _serial_lapack() -> AbstractContextManager[Any]:
    """Load LAPACK, then limit it: a limit set before would not reach it."""
    kernels.bind_lapack()
    return single_threaded_blas()

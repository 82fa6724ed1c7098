"""One side of the training in arrays of one machine: its rows in blocks, its factors, the rooms that they go to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core import FactorArray, kernels
from .balance import turned, weighted_gram
from .descent import Side
from .refusals import check_finite_factors, refuse_unrepresented
from .rows import CellWeights, Prior, Rows, RowSource
from .sweep import Basis, Block, Common, Groups, Plan, Summary, half_sweep, schedule, split_above


class ArraySide(Side):
    """The rows to be solved, and how.

    Parameters
    ----------
    rows : RowSource
        The cells; each of its runs is a block.
    factors : array of shape (n_rows, k), C-contiguous
        What the rows are. :meth:`solve` writes to it, unless :meth:`take` was told that somebody holds it.
    others : array of shape (n_others, k)
        The other side's factors, read at every solve.
    regularization : callable
        ``(counts, n_others) -> lambda_u of each row``.
    other_counts : array of shape (n_others,), optional
        Cells of each of the other side's rows; "cg" wants to know.
    bias_regularization : float, optional
        The last column of either side holds biases, of this lambda on this side: a row is solved with ones in that
        column of the others, for values less their biases and the global mean.
    common : callable, optional
        ``wide -> Common`` of the others for exact solves, where somebody keeps them; made anew by default.
    prior : Prior, optional
        What the rows are drawn to, in the dtype of the factors. :attr:`prior` may be set to one of other means between
        solves, for the same rows.
    shares : (array of shape (n_rows,), array of shape (n_others,))
        What of w0 is that of each row, and of each of the others; None: all of it.
    """

    def __init__(
        self,
        rows: RowSource,
        factors: FactorArray,
        others: FactorArray,
        weights: CellWeights,
        regularization: Callable[[NDArray[Any], int], NDArray[np.float64]],
        other_counts: NDArray[np.int64] | None = None,
        *,
        bias_regularization: float | None = None,
        num_threads: int = 1,
        common: Callable[[bool], Common] | None = None,
        prior: Prior | None = None,
        shares: tuple[FactorArray | None, FactorArray | None] = (None, None),
    ) -> None:
        self.rows, self.factors, self.others, self.weights = rows, factors, np.ascontiguousarray(others), weights
        self.bias_regularization, self.prior = bias_regularization, prior
        self.share, self.other_share = shares
        self._roots: FactorArray | None = None if other_counts is None else np.sqrt(other_counts).astype(factors.dtype)
        self.num_threads, self._common = num_threads, common
        counts, self._held = rows.counts(weights.positive_only), np.diff(rows.indptr) > 0
        lam = regularization(counts, len(others))
        # a row of which nothing counts has no lambda where that grows with the count, and is zero for any: but what it
        # is drawn to
        counted = counts > 0 if prior is None else (counts > 0) | prior.draws
        self.nothing = np.flatnonzero(~counted & self._held)
        lam = np.where(counted, lam, np.maximum(lam, lam.max(initial=0)))
        self.lam: FactorArray = represented("regularization", lam, factors.dtype)
        weights.check_range(rows)
        if self.biased:
            represented("bias_regularization", np.array([bias_regularization]), factors.dtype)
        self.before: FactorArray | None = None
        self.rescued = np.empty(0, np.intp)
        self.spread = 0.0
        self._plans: dict[tuple[str, int], Plan] = {}
        self._rooms: list[FactorArray] = []
        self._taken: list[FactorArray] = []
        self._values: FactorArray | None = None
        self._constant: tuple[float, float] | None = None

    # -- what it is ---------------------------------------------------------------------------------------------------

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.factors.dtype

    @property
    def n_rows(self) -> int:
        return len(self.factors)

    @property
    def biased(self) -> bool:
        return self.bias_regularization is not None

    @property
    def n_ridged(self) -> int:
        """The columns that lambda_u belongs to."""
        return int(self.factors.shape[1]) - self.biased

    def ridge(self, row: int) -> NDArray[np.float64]:
        """What a row has on its diagonal, for each coordinate: lambda, and the strength of its prior."""
        lam = np.full(self.factors.shape[1], float(self.lam[row]))
        lam[self.n_ridged :] = self.bias_regularization
        return lam if self.prior is None else lam + self.prior.of(row, self.n_ridged)

    def pull(self, row: int) -> NDArray[np.float64]:
        """What the prior adds to the right-hand side of a row: mu_u m_u."""
        pull = np.zeros(self.factors.shape[1])
        if self.prior is not None:
            pull += self.prior.of(row, self.n_ridged) * self.prior.means[row]
        return pull

    def inputs(self) -> FactorArray:
        """The other side's rows as a row is solved with them: with ones instead of their biases."""
        if not self.biased:
            return self.others
        others: FactorArray = self.others.copy()
        others[:, -1] = 1
        return others

    def targets(self, mean: float) -> RowSource:
        """The cells as the rows' systems see them, until they are asked for again."""
        if not self.biased:
            return self.rows
        out = None
        if isinstance(self.rows, Rows):
            out = self._values = np.empty_like(self.rows.values) if self._values is None else self._values
        return self.rows.less(mean, others=self.others[:, -1], num_threads=self.num_threads, out=out)

    # -- its factors --------------------------------------------------------------------------------------------------

    def take(self, factors: FactorArray, before: FactorArray | None, held: Sequence[FactorArray]) -> None:
        self.factors, self.before, self._taken = factors, before, list(held)
        for array in (factors, before):
            if array is not None and not _among(array, self._rooms):
                self._rooms.append(array)

    def look_at(self, other: ArraySide) -> None:
        self.others, self._constant = other.factors, None
        if self._values is None:
            self._values = other._values  # sides are solved in turn, and of as many cells

    def check(self) -> None:
        check_finite_factors(self.factors)

    def _room(self, *taken: FactorArray | None) -> FactorArray:
        """An array for factors that nobody else holds."""
        for room in self._rooms:
            if not _among(room, self._taken) and not _among(room, taken):
                return room
        self._rooms.append(np.empty_like(self.factors))
        return self._rooms[-1]

    def go_beyond(self, relaxation: float) -> None:
        assert self.before is not None
        kernels.go_beyond(self.before, self.factors, relaxation, self.num_threads)
        self.factors, self.before = self.before, None
        self._taken = [array for array in self._taken if array is not self.factors]

    def weighted_gram(self) -> NDArray[np.float64] | None:
        if not self.lam.any() or self.prior is not None:
            return None
        return weighted_gram(self.factors, self.lam, self.n_ridged, self.num_threads)

    def turn(self, matrix: NDArray[np.float64]) -> None:
        out = self._room(self.before) if _among(self.factors, self._taken) else self.factors
        turned(self.factors, matrix, out, self.num_threads)
        self.factors = out

    def level(self) -> float:
        own, last = self.bias_regularization or 0.0, None if self.prior is None else self.prior.last
        if not self._held.any() or not (own or (last is not None and last[self._held].any())):
            return 0.0
        biases = kernels.last_column(self.factors, self._held, self.num_threads)
        total, count = kernels.sum_rows(biases), float(np.count_nonzero(self._held))
        if self.prior is not None:
            drawn = np.where(self._held, self.prior.last, 0).astype(np.float64)
            distance = biases - self.prior.means[:, -1]
            total = own * total + kernels.sum_rows(drawn * distance)
            count = own * count + kernels.sum_rows(drawn)
        share = float(total / count)
        kernels.shift_last_column(self.factors, self._held, -share, self.num_threads)
        return share

    # -- a half-sweep -------------------------------------------------------------------------------------------------

    def solve(
        self,
        solver: str,
        relaxation: float = 0.0,
        mean: float = 0.0,
        *,
        keep: float | None = None,
        constant: bool = False,
        weighted: bool = False,
        only: NDArray[np.integer[Any]] | None = None,
    ) -> float:
        """One half-sweep; returns by how much the solved rows lower the objective, compared with zeros.

        With "cg", what is written goes beyond the solutions by ``relaxation`` times the step from the rows before.

        Parameters
        ----------
        keep : float, optional
            What the rows were becomes :attr:`before`, for :meth:`go_beyond`.
        constant : bool
            :meth:`constant` of the same mean will be asked for: it is found while the cells are there.
        weighted : bool
            So will :meth:`weighted_gram`, whose rows are at hand then, too.
        only : array, optional
            The rows to solve; all by default.
        """
        start = self.factors
        out = self._room(start) if keep is not None or _among(start, self._taken) else start
        runs = self.targets(mean).runs()  # the first may be read from now on
        basis = self._basis(solver)
        decrease, rescued = np.zeros(self.n_rows), list[NDArray[np.intp]]()
        constants = np.zeros(self.n_rows) if constant and self.biased else None
        for block in self._blocks(runs, solver, only):
            part = slice(block.first, block.first + len(block.rows))
            again = half_sweep(
                block,
                basis,
                self.weights,
                out[part],
                start=start[part],
                decrease=decrease[part],
                solver=solver,
                num_threads=self.num_threads,
                relaxation=relaxation,
                n_free=self.biased,
                wide=lambda: self.common(solver, wide=True).wide,
            )
            rescued.append(again + block.first)
            if constants is not None:
                self._constants_of(block.first, block.rows, constants[part])
        out[self.nothing], decrease[self.nothing] = 0, 0
        self.before, self.factors = start if keep is not None else None, out
        self.rescued = np.concatenate(rescued) if rescued else np.empty(0, np.intp)
        self._constant = None if constants is None else (mean, float(kernels.sum_rows(constants)))
        total = float(kernels.sum_rows(decrease))
        with np.errstate(over="ignore"):
            self.spread = float(kernels.sum_rows(np.square(decrease, out=decrease))) ** 0.5
        return total

    def _blocks(
        self, runs: Iterator[tuple[int, Rows]], solver: str, only: NDArray[np.integer[Any]] | None
    ) -> Iterator[Block]:
        for first, run in runs:
            last = first + len(run)
            if only is None:
                plan = self.plan(solver, first, run)
            else:
                here = only[(only >= first) & (only < last)] - first
                plan = schedule(run.indptr, rows=here)
            prior, share = self.prior and self.prior.between(first, last), self.share
            yield Block(first, run, self.lam[first:last], plan, prior, None if share is None else share[first:last])

    def plan(self, solver: str, first: int, run: Rows) -> Plan:
        """How the rows of a run are dealt out for this solver."""
        if (solver, first) not in self._plans:
            shape = self.factors.dtype, self.factors.shape[1]
            groups = Groups(kernels.cg_block(*shape), len(self.others), kernels.cg_group(*shape), self.num_threads)
            self._plans[solver, first] = schedule(
                run.indptr, groups=groups if solver == "cg" else None, split=split_above(solver, self.rows.n_cells)
            )
        return self._plans[solver, first]

    def common(self, solver: str, wide: bool = False) -> Common:
        """What a half-sweep needs of all the others."""
        k, threads = self.factors.shape[1], self.num_threads
        exact, unobserved = solver != "cg", self.weights.unobserved
        if exact and self._common is not None:
            return self._common(wide)
        summary = None
        if unobserved or (not exact and self._roots is not None):
            scale = roots(self.other_share) if unobserved else self._roots
            summary = Summary(np.zeros((k, k)), wide).extended(self.others, threads, scale=scale, ones=self.biased)
        return Common.of(summary, unobserved, self.dtype, k, turned=solver != "nnls", own=self.bias_regularization)

    def _basis(self, solver: str) -> Basis:
        common = self.common(solver)
        lam = self.lam if self.prior is None else self.lam + self.prior.strength
        if self.share is not None:  # what is wrong with the common term is so for a row by its share of it
            lam = lam[self.share > 0] / self.share[self.share > 0]
        if not common.bears(float(lam.min(initial=np.inf))):
            common = self.common(solver, wide=True)
        return Basis(common, self.others, self.num_threads, ones=self.biased)

    # -- the objective ------------------------------------------------------------------------------------------------

    def penalty(self) -> float:
        own = self.bias_regularization or 0.0
        return float(kernels.penalty(self.factors, self.lam, self.n_ridged, own, self.num_threads, *(self.prior or ())))

    def prior_at_zero(self) -> float:
        if self.prior is None:
            return 0.0
        means, strength, last = self.prior
        biases = np.square(means[:, self.n_ridged :], dtype=np.float64).sum(axis=1)
        return float(
            kernels.penalty(means, strength, self.n_ridged, 0.0, self.num_threads) + kernels.sum_rows(last * biases)
        )

    def constant(self, mean: float) -> float:
        if self._constant is not None and self._constant[0] == mean:
            return self._constant[1]
        return self._constant_of(self.targets(mean))

    def at_zero(self, mean: float) -> float:
        return self._constant_of(self.rows.less(mean, num_threads=self.num_threads) if self.biased else self.rows)

    def _constant_of(self, cells: RowSource) -> float:
        sums = np.zeros(self.n_rows)
        for first, run in cells.runs():
            self._constants_of(first, run, sums[first : first + len(run)])
        return float(kernels.sum_rows(sums))

    def _constants_of(self, first: int, run: Rows, out: NDArray[np.float64]) -> None:
        cells, weights = (run.indptr, run.values, run.scale), self.weights
        share = None if self.share is None else self.share[first : first + len(run)]
        shares = run.indices, share, self.other_share
        kernels.constant(weights.of_cells, weights.unobserved, *cells, self.num_threads, out, *shares)

    def loss(self, mean: float) -> float:
        threads, unobserved = self.num_threads, self.weights.unobserved
        constants, fits = np.zeros(self.n_rows), np.zeros(self.n_rows)
        others = kernels.rotate(self.others, None, threads, self.biased)
        for first, run in self.targets(mean).runs():
            part = slice(first, first + len(run))
            self._constants_of(first, run, constants[part])
            kernels.decrease_of_cells(
                self.factors[part],
                others,
                self.weights.of_cells,
                run.indptr,
                run.indices,
                run.values,
                run.scale,
                threads,
                fits[part],
            )
        common = 0.0
        if unobserved:
            grams = (
                kernels.gram(self.factors, threads, True, roots(self.share)),
                kernels.gram(self.others, threads, True, roots(self.other_share), self.biased),
            )
            common = unobserved * float(np.sum(grams[0] * grams[1]))
        return float(kernels.sum_rows(constants)) + common - float(kernels.sum_rows(fits))


def roots(shares: FactorArray | None) -> FactorArray | None:
    """By what rows are multiplied whose squares have these weights."""
    return None if shares is None else np.asarray(np.sqrt(shares))


def represented(name: str, values: NDArray[np.float64], dtype: np.dtype[Any]) -> FactorArray:
    """Return positive numbers in ``dtype``; refuse those that it has not."""
    with np.errstate(over="ignore", under="ignore"):
        cast: FactorArray = values.astype(dtype)
    lost = ~np.isfinite(cast) | ((cast < np.finfo(dtype).tiny) & (values > 0))
    if lost.any():
        refuse_unrepresented(name, float(values[np.argmax(lost)]), dtype)
    return cast


def _among(array: FactorArray, arrays: Sequence[FactorArray | None]) -> bool:
    return any(array is other for other in arrays)

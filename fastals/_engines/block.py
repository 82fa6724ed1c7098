"""A block of rows: what belongs to it, and all that is computed of it. Nothing here knows of Spark.

A block is a run of whole parts of a side: of PART_ROWS consecutive rows in the order of the ids. So sums over rows are
made of the same parts, wherever they are cut, and the bits of a fit do not depend on the number of blocks.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._core import AXES, Axis, FactorArray, kernels, tables
from .._equation import (
    Basis,
    Block,
    Common,
    Groups,
    RowEquation,
    Rows,
    Summary,
    half_sweep,
    represented,
    schedule,
    split_above,
    turned,
)
from .pack import Cells

Ids = NDArray[np.int32]

# ---------------------------------------------------------------------------------------------------------------------
# the cells of a block


@dataclass(frozen=True, eq=False)
class InBlock:
    """The rows of a block with their cells, and who wants what of them.

    Attributes
    ----------
    ids : array of shape (n_rows,)
        Ascending.
    need : array of shape (n_need,)
        The ids of the other side that the cells name, ascending.
    indptr, indices, values : arrays
        The cells by row; indices are places in ``need``. Repeated cells stand by value.
    wanted, starts : arrays
        Block q of the other side needs the rows ``wanted[starts[q]:starts[q + 1]]``.
    """

    ids: Ids
    need: Ids
    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    values: NDArray[np.float32]
    wanted: NDArray[np.int32]
    starts: NDArray[np.int64]

    @classmethod
    def of(cls, axis: Axis, cells: Cells, others_from: Ids) -> InBlock:
        """Make it of its cells, in any order; ``others_from`` are the first ids of the other side's blocks."""
        own, others = (cells.users, cells.items) if axis == "users" else (cells.items, cells.users)
        rows, ids = numbered(own)
        columns, need = numbered(others)
        # by column and then by row: each row's columns ascend
        by_column = tables.bucket(columns, rows, cells.values, len(need), np.float32, 1)
        indptr, indices, values = tables.transpose(*by_column, len(ids), np.float32, 1)
        order_repeats(indptr, indices, values)
        blocks = np.searchsorted(others_from, need, side="right").astype(np.int32) - 1
        wanted, starts = _wanted(indptr, blocks[indices], len(others_from))
        return cls(ids, need, indptr, indices, values, wanted, starts)

    @property
    def rows(self) -> Rows:
        """The cells as the equation reads them."""
        return Rows(self.indptr, self.indices, self.values)

    @property
    def n_blocks(self) -> int:
        """The blocks of the other side."""
        return len(self.starts) - 1

    def wanted_by(self, block: int) -> NDArray[np.int32]:
        """The rows that a block of the other side needs, ascending."""
        return self.wanted[self.starts[block] : self.starts[block + 1]]

    # -- files --------------------------------------------------------------------------------------------------------

    def save(self, folder: str) -> str:
        """Write it to a new folder in ``folder``, and return the path of that."""
        path = os.path.join(folder, f"fastals-{uuid.uuid4().hex}")
        os.makedirs(path)
        for name, array in vars(self).items():
            np.save(os.path.join(path, f"{name}.npy"), array)
        return path

    @classmethod
    def load(cls, path: str) -> InBlock:
        """Open it: the arrays are mapped, not read."""
        return cls(**{n: np.load(os.path.join(path, f"{n}.npy"), mmap_mode="r") for n in cls.__dataclass_fields__})

    @staticmethod
    def remove(path: str) -> None:
        """Delete what :meth:`save` wrote, if it is there."""
        shutil.rmtree(path, ignore_errors=True)


def numbered(ids: Ids) -> tuple[NDArray[np.int32], Ids]:
    """The number of each id among the distinct ones, and these, ascending."""
    low, high = int(ids.min(initial=0)), int(ids.max(initial=0))
    if high - low <= 4 * len(ids) + 65_536:
        numbers, distinct = tables.factorize_table(np.ascontiguousarray(ids), low, high, 1)
        return numbers, distinct.astype(np.int32)
    labels, inverse = np.unique(ids, return_inverse=True)
    return inverse.astype(np.int32), labels


def order_repeats(indptr: NDArray[np.int64], indices: NDArray[np.int32], values: NDArray[np.float32]) -> None:
    """Put the values of repeated cells in order: nothing may depend on how the ratings were partitioned."""
    again = np.zeros(len(indices), bool)
    again[1:] = indices[1:] == indices[:-1]
    again[indptr[:-1][np.diff(indptr) > 0]] = False
    if not again.any():
        return
    runs = np.cumsum(~again)
    touched = again.copy()
    touched[:-1] |= again[1:]
    places = np.flatnonzero(touched)
    values[places] = values[places[np.lexsort((values[places], runs[places]))]]


def _wanted(
    indptr: NDArray[np.int64], blocks: NDArray[np.int32], n_blocks: int
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The rows that have a cell in each block; within a row the blocks of the cells ascend."""
    first = np.ones(len(blocks), bool)
    first[1:] = blocks[1:] != blocks[:-1]
    first[indptr[:-1][np.diff(indptr) > 0]] = True
    places = np.flatnonzero(first)
    rows = np.searchsorted(indptr, places, side="right") - 1
    order = np.argsort(blocks[places], kind="stable")
    starts = np.searchsorted(blocks[places][order], np.arange(n_blocks + 1))
    return rows[order].astype(np.int32), starts


# ---------------------------------------------------------------------------------------------------------------------
# what is known of a side


@dataclass(frozen=True, eq=False)
class Lot:
    """A side as its blocks see it.

    Attributes
    ----------
    first_rows : tuple of int
        The number of each block's first row.
    n_rows, n_others, n_cells : int
        Of the whole side.
    lam_limit : float
        The largest lambda: that of rows of which nothing counts.
    """

    axis: Axis
    equation: RowEquation
    seed: int
    first_rows: tuple[int, ...]
    n_rows: int
    n_others: int
    n_cells: int
    lam_limit: float = 0.0

    def drawn(self, ids: Ids) -> NDArray[np.float32]:
        """Initial factors of rows."""
        equation = self.equation
        return drawn(self.seed, AXES.index(self.axis), ids, equation.factors, nonnegative=equation.nonnegative)

    def counts(self, block: InBlock) -> NDArray[Any]:
        """The cells of each row that count."""
        return block.rows.counts(self.equation.weights.positive_only)

    def lam(self, block: InBlock) -> NDArray[np.float32]:
        """lambda_u of each row of a block."""
        counts = self.counts(block)
        lam = self.equation.row_regularization(self.axis, counts, self.n_others)
        lam = np.where(counts > 0, lam, np.maximum(lam, self.lam_limit))
        return represented("regularization", lam, block.values.dtype)


class Measured(NamedTuple):
    """What the cells of a block say, before any fit.

    Attributes
    ----------
    lam_limit : float
        The largest lambda of a row.
    lam_least : float
        The least lambda of a row of which something counts.
    empty : bool
        There are rows of which nothing counts.
    constants : array
        The objective at zero rows, in parts.
    """

    lam_limit: float
    lam_least: float
    empty: bool
    constants: NDArray[np.float64]


def measured(lot: Lot, block: InBlock) -> Measured:
    """Look through the cells; refuse those that the dtype cannot weigh."""
    lot.equation.weights.check_range(block.rows)
    counts = lot.counts(block)
    lam = lot.equation.row_regularization(lot.axis, counts, lot.n_others)
    counted = lam[counts > 0]
    constants = _constants(lot, block, 1)
    return Measured(
        float(lam.max(initial=0)), float(counted.min(initial=np.inf)), len(counted) < len(lam), in_parts(constants)
    )


def _constants(lot: Lot, block: InBlock, threads: int) -> NDArray[np.float64]:
    weights, rows = lot.equation.weights, np.zeros(len(block.ids))
    kernels.constant(weights.of_cells, weights.unobserved, block.indptr, block.values, None, threads, rows)
    return rows


def in_parts(of_rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sum of each part; the parts of a side, added in order, are the sum over it."""
    return np.array([kernels.sum_rows(of_rows[part]) for part in parts_of(len(of_rows))])


def parts_of(n: int) -> Iterator[slice]:
    """The parts of n rows."""
    return (slice(first, first + kernels.PART_ROWS) for first in range(0, n, kernels.PART_ROWS))


def in_order(parts: Sequence[NDArray[np.float64]]) -> float:
    """The sum of the parts of all blocks."""
    total = 0.0
    for part in np.concatenate(parts).tolist():
        total += part
    return total


# ---------------------------------------------------------------------------------------------------------------------
# what rows are


class RowFactors(NamedTuple):
    """The factors of some rows of a block."""

    ids: Ids
    factors: FactorArray


class Described(NamedTuple):
    """What the other side's next half-sweep, balancing and the loss want to know of a block's rows, in parts.

    Attributes
    ----------
    gram : array, optional
        The Gram matrices that make a :class:`Common`.
    weighted : array, optional
        Those of the rows times the roots of their lambda; None also where no row has any.
    penalty : array
        Of the rows as they were solved, which they may have gone beyond.
    """

    gram: NDArray[np.float64] | None
    weighted: NDArray[np.float64] | None
    penalty: NDArray[np.float64]
    finite: bool


def described(
    lot: Lot,
    block: InBlock,
    factors: FactorArray,
    threads: int,
    *,
    gram: bool,
    weighted: bool,
    wide: bool = False,
    solved: FactorArray | None = None,
) -> Described:
    """Sum up what is asked for of rows, and how they were ``solved`` where they have gone beyond that."""
    lam, solved = lot.lam(block), factors if solved is None else solved
    weights, grams, of_lam = lot.equation.weights, None, None
    if gram:
        # as a sample of its rows' matrices is made: see Common.of
        roots = None if weights.unobserved else np.sqrt(np.diff(block.indptr)).astype(factors.dtype)
        grams = Summary.parts(factors, threads, wide, scale=roots)
    if weighted and lam.any():
        of_lam = Summary.parts(factors, threads, True, scale=np.sqrt(lam))
    k = factors.shape[1]
    penalties = [kernels.penalty(solved[part], lam[part], k, 0.0, threads) for part in parts_of(len(lam))]
    return Described(grams, of_lam, np.array(penalties), bool(np.isfinite(solved).all()))


class HalfSweep(NamedTuple):
    """What all blocks are told of a half-sweep; the arguments of :meth:`Side.solve`.

    Attributes
    ----------
    common : Common
        Of the other side.
    gram, weighted : bool
        What is to be :class:`Described`.
    """

    common: Common
    solver: str
    relaxation: float
    keep: float | None
    gram: bool
    weighted: bool

    @property
    def starts(self) -> bool:
        """Rows are solved from what they were."""
        return self.solver in ("cg", "nnls") or self.keep is not None

    @property
    def numbered(self) -> bool:
        """The rows of the other side come with their numbers."""
        return self.solver == "cg"


class Solved(NamedTuple):
    """What a half-sweep tells of a block.

    Attributes
    ----------
    decrease, squares : arrays
        By how much rows lower the objective, compared with zeros, and the squares of that; in parts.
    rescued : int
        Rows that were solved in float64.
    """

    decrease: NDArray[np.float64]
    squares: NDArray[np.float64]
    rescued: int
    described: Described


def solved(
    lot: Lot,
    number: int,
    block: InBlock,
    sweep: HalfSweep,
    others: FactorArray,
    places: NDArray[np.int32] | None,
    start: FactorArray | None,
    threads: int,
) -> tuple[FactorArray, Solved]:
    """Solve the rows of a block, exactly as :class:`ArraySide` does; returns what the next iteration goes on from.

    Parameters
    ----------
    others : array of shape (n_need, k)
        The rows that the cells name; ``places`` are their numbers.
    start : array of shape (n_rows, k), optional
        What the rows were; drawn by default.
    """
    weights, n, k, dtype = lot.equation.weights, len(block.ids), others.shape[1], others.dtype
    groups = None
    if sweep.solver == "cg":
        groups = Groups(kernels.cg_block(dtype, k), lot.n_others, kernels.cg_group(dtype, k), threads)
    plan = schedule(block.indptr, groups=groups, split=split_above(sweep.solver, lot.n_cells))
    basis = Basis(sweep.common, others, threads, places=places, n_others=None if places is None else lot.n_others)
    if sweep.starts and start is None:
        start = lot.drawn(block.ids)
    out, decrease = np.empty((n, k), dtype), np.zeros(n)
    rescued = half_sweep(
        Block(lot.first_rows[number], block.rows, lot.lam(block), plan),
        basis,
        weights,
        out,
        start=start,
        decrease=decrease,
        solver=sweep.solver,
        num_threads=threads,
        relaxation=sweep.relaxation,
    )
    nothing = lot.counts(block) == 0
    out[nothing], decrease[nothing] = 0, 0
    latest = out
    if sweep.keep is not None:
        assert start is not None
        latest = start.copy()
        kernels.go_beyond(latest, out, sweep.keep, threads)
    with np.errstate(over="ignore"):
        squares = np.square(decrease)
    about = described(lot, block, latest, threads, gram=sweep.gram, weighted=sweep.weighted, solved=out)
    return latest, Solved(in_parts(decrease), in_parts(squares), len(rescued), about)


class Lost(NamedTuple):
    """The objective of a block's cells: what it is at zero rows, and what the rows take off that; in parts."""

    constants: NDArray[np.float64]
    fits: NDArray[np.float64]


def lost(lot: Lot, block: InBlock, own: FactorArray, others: FactorArray, threads: int) -> Lost:
    """Measure it from the cells, in float64: see :meth:`Side.loss`."""
    fits, weights = np.zeros(len(block.ids)), lot.equation.weights.of_cells
    rows = block.rows
    kernels.decrease_of_cells(
        own,
        kernels.rotate(others, None, threads),
        weights,
        rows.indptr,
        rows.indices,
        rows.values,
        None,
        threads,
        fits,
    )
    return Lost(in_parts(_constants(lot, block, threads)), in_parts(fits))


def moved(factors: FactorArray, matrices: Sequence[NDArray[np.float64]], threads: int) -> FactorArray:
    """The rows, turned by one matrix after the other."""
    for matrix in matrices:
        out = np.empty_like(factors)
        turned(factors, matrix, out, threads)
        factors = out
    return factors


# ---------------------------------------------------------------------------------------------------------------------
# where a fit starts


def drawn(seed: int, side: int, ids: NDArray[np.int32], k: int, *, nonnegative: bool = False) -> NDArray[np.float32]:
    """Initial factors: rows of length one, in any direction; a function of the seed, the side and the id alone.

    So they are the same wherever a row is drawn, and in whatever company. The numbers are sums of four uniform ones,
    next to normal, and stay integers up to the last division: no processor rounds them in its own way.

    Parameters
    ----------
    side : int
        0: users, 1: items.
    """
    with np.errstate(over="ignore"):
        key = _mixed(np.array([seed & (1 << 64) - 1, side], np.uint64)).reshape(2, 1)
        rows = _mixed(_mixed(key[0] ^ ids.astype(np.int64).view(np.uint64)) + key[1])
        bits = _mixed(rows[:, None] + _GOLDEN * np.arange(1, k + 1, dtype=np.uint64))
    sums = bits.view(np.uint16).reshape(len(ids), k, 4).sum(axis=2, dtype=np.int64) - 2 * 65_535
    lengths = np.sqrt(np.maximum(1, np.square(sums).sum(axis=1, keepdims=True)))
    factors: NDArray[np.float32] = (sums / lengths).astype(np.float32)
    return np.abs(factors, out=factors) if nonnegative else factors


_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """One step of SplitMix64 (G. Steele, D. Lea, C. Flood, OOPSLA 2014)."""
    x = x + _GOLDEN
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))

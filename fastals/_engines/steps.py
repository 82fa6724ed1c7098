"""What tasks do: each takes a block, and rows that were sent to it; it tells, and sends rows on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from .._core import Axis, DataError, FactorArray, FastalsError, single_threaded_blas
from .._equation import WideSumsNeeded
from .block import HalfSweep, Ids, InBlock, Lot, RowFactors, described, lost, moved, solved
from .build import Cuts, opened
from .pieces import ARROW, PIECE_BYTES, TOLD, Piece, pieces_of, table, this_task

OWN, SENT, CARGO, PASSED = "own", "sent", "cargo", "passed"
"""Kinds of pieces in what a job makes: factors of a block's own rows; of those that a block of the other side needs;
and own pieces of the other side, which the next job needs again. A job that gets these passes them on: a frame then
follows from one frame before it. If it followed from two, the plans of frames would grow like Fibonacci's numbers."""

Answers = Iterator[Piece]
Task = Callable[..., pa.Table]


Turns = tuple[NDArray[np.float64], ...]
"""Matrices that rows have been turned by since they were written."""


def rows_of(lot: Lot, block: InBlock, pieces: list[Piece], turns: Turns, threads: int) -> FactorArray:
    """The rows of a block, from the pieces that hold them; those that no piece has are drawn."""
    parts: list[RowFactors] = [piece.content for piece in pieces if piece.kind in (OWN, CARGO)]
    for part in parts:
        if isinstance(part, DataError):
            raise part
    ids = np.concatenate([part.ids for part in parts]) if parts else block.ids[:0]
    factors = np.concatenate([part.factors for part in parts]) if parts else lot.drawn(ids)
    if len(ids) != len(block.ids) or (ids != block.ids).any():
        factors = _aligned(lot, block, ids, factors)
    return moved(factors, turns, threads)


def _aligned(lot: Lot, block: InBlock, ids: Ids, factors: FactorArray) -> FactorArray:
    out = lot.drawn(block.ids)
    places = np.searchsorted(block.ids, ids)
    known = places < len(block.ids)
    known[known] = block.ids[places[known]] == ids[known]
    out[places[known]] = factors[known]
    return out


def task_of(lot: Lot, others_from: Ids, work: Callable[[int, InBlock, list[Piece], int], Iterable[Piece]]) -> Task:
    """The function of a cogroup: a block and what was sent to it; or of a group, where nothing is sent.

    Pieces that are passed go on as they are, as cargo for the block that they are of.

    An error of fastals is told; Spark would try again what fails every time.
    """

    def task(left: pa.Table, right: pa.Table) -> pa.Table:
        number, block = opened(left, lot.axis, others_from)
        right, passed = right.select(ARROW.names), pc.equal(right["kind"], PASSED)
        cargo = right.filter(passed)
        cargo = cargo.set_column(0, "key", cargo["src"]).set_column(1, "kind", pa.repeat(CARGO, len(cargo)))
        try:
            with single_threaded_blas():
                pieces = list(pieces_of(right.filter(pc.invert(passed))))
                return pa.concat_tables([table(work(number, block, pieces, this_task().cpus())), cargo.cast(ARROW)])
        except (FastalsError, WideSumsNeeded) as error:
            return table([Piece(number, TOLD, number, 0, error)])

    return task


# ---------------------------------------------------------------------------------------------------------------------
# what they work on


def solving(lot: Lot, sweep: HalfSweep, turns: Turns, known: bool) -> Callable[..., Answers]:
    """A half-sweep; the rows start from what they were, which pieces hold if that is ``known``."""

    def work(number: int, block: InBlock, pieces: list[Piece], threads: int) -> Answers:
        others, places = received(block, pieces)
        start = rows_of(lot, block, pieces, turns, threads) if sweep.starts and known else None
        factors, answer = solved(lot, number, block, sweep, others, places if sweep.numbered else None, start, threads)
        yield Piece(number, TOLD, number, 0, answer)
        yield from sent(lot, number, block, factors)

    return work


def moving(lot: Lot, turns: Turns, *, gram: bool, weighted: bool) -> Callable[..., Answers]:
    """Rows as they are now, kept and sent to all who need them."""

    def work(number: int, block: InBlock, pieces: list[Piece], threads: int) -> Answers:
        factors = rows_of(lot, block, pieces, turns, threads)
        about = described(lot, block, factors, threads, gram=gram, weighted=weighted)
        yield Piece(number, TOLD, number, 0, about)
        yield from sent(lot, number, block, factors)

    return work


def summing(lot: Lot, turns: Turns) -> Callable[..., Answers]:
    """The wide sums of rows."""

    def work(number: int, block: InBlock, pieces: list[Piece], threads: int) -> Answers:
        factors = rows_of(lot, block, pieces, turns, threads)
        about = described(lot, block, factors, threads, gram=True, weighted=False, wide=True)
        yield Piece(number, TOLD, number, 0, about)

    return work


def losing(lot: Lot, turns: Turns) -> Callable[..., Answers]:
    """The objective of the cells."""

    def work(number: int, block: InBlock, pieces: list[Piece], threads: int) -> Answers:
        others, _ = received(block, pieces)
        own = rows_of(lot, block, pieces, turns, threads)
        yield Piece(number, TOLD, number, 0, lost(lot, block, own, others, threads))

    return work


class Message(NamedTuple):
    """Rows on their way; conjugate gradients want their numbers in their side, too."""

    factors: FactorArray
    numbers: NDArray[np.int32] | None


def sent(lot: Lot, number: int, block: InBlock, factors: FactorArray) -> Answers:
    """All that others want of a block's rows, and these themselves."""
    size = factors.itemsize * factors.shape[1]
    for seq, part in enumerate(_slices(len(block.ids), size)):
        yield Piece(number, OWN, number, seq, RowFactors(block.ids[part], factors[part]))
    first, numbered = lot.first_rows[number], lot.equation.sweep_solver == "cg"
    for other in range(block.n_blocks):
        rows = block.wanted_by(other)
        for seq, part in enumerate(_slices(len(rows), size)):
            numbers = (first + rows[part]).astype(np.int32) if numbered else None
            yield Piece(other, SENT, number, seq, Message(factors[rows[part]], numbers))


def _slices(n: int, row_bytes: int) -> Iterator[slice]:
    step = max(1, PIECE_BYTES // row_bytes)
    return (slice(first, first + step) for first in range(0, n, step))


def received(block: InBlock, pieces: list[Piece]) -> tuple[FactorArray, NDArray[np.int32] | None]:
    """The rows that a block needs, in order, and their numbers."""
    messages: list[Message] = [piece.content for piece in pieces if piece.kind == SENT]
    factors = np.concatenate([message.factors for message in messages])
    if len(factors) != len(block.need):
        raise RuntimeError(
            f"{len(factors)} rows came where {len(block.need)} are needed: the ratings were read twice and were not "
            "the same; give ALS a frame that is the same whenever it is computed, or set a checkpoint directory"
        )
    numbers = [message.numbers for message in messages if message.numbers is not None]
    return factors, np.concatenate(numbers) if numbers else None


# ---------------------------------------------------------------------------------------------------------------------
# factors from and to frames of one row for each id


def rows_out(rows: Iterator[pa.RecordBatch], turns: Turns) -> Iterator[pa.RecordBatch]:
    """``id, features`` of own pieces."""
    for batch in rows:
        for piece in pieces_of(batch):
            if piece.kind == OWN:
                part: RowFactors = piece.content
                yield features(part.ids, moved(part.factors, turns, 1))


def features(ids: Ids, factors: FactorArray) -> pa.RecordBatch:
    """One row for each id."""
    offsets = np.arange(len(ids) + 1, dtype=np.int32) * factors.shape[1]
    lists = pa.ListArray.from_arrays(pa.array(offsets), pa.array(factors.ravel()))
    return pa.record_batch([pa.array(ids), lists], names=["id", "features"])


def rows_in(rows: Iterator[pa.RecordBatch], axis: Axis, cuts: Cuts, k: int) -> Answers:
    """Own pieces of ``id, features``, by block."""
    for seq, batch in enumerate(rows):
        given = given_rows(batch, axis, k)
        if isinstance(given, DataError):
            yield Piece(0, OWN, this_task().partitionId(), seq, given)
            continue
        blocks = cuts.blocks_of(given.ids)
        for number in np.unique(blocks).tolist():
            here = blocks == number
            some = RowFactors(given.ids[here], given.factors[here])
            yield Piece(max(0, number), OWN, this_task().partitionId(), seq, some)


def given_rows(batch: pa.RecordBatch, axis: Axis, k: int) -> RowFactors | DataError:
    """Factors to start from; an error is told, for no retry helps."""
    rule = f"the initial factors of {axis} must be rows of {k} numbers, as rank says, each with an id"
    ids, features = batch["id"], batch["features"]
    if ids.null_count or features.null_count or features.flatten().null_count:
        return DataError(f"{rule}, got null")
    lengths = features.value_lengths().to_numpy()
    if (lengths != k).any():
        return DataError(f"{rule}, got {lengths[np.argmax(lengths != k)]}")
    return RowFactors(ids.to_numpy().astype(np.int32), features.flatten().to_numpy().reshape(-1, k).astype(np.float32))

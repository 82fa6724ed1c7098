"""Raw events on their way to scores: read, scored in parallel, all kept in bounded memory."""

from __future__ import annotations

import os
import tempfile
from collections import deque
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._core import (
    ArgumentTypeError,
    DataError,
    ParameterError,
    check_same_length,
    check_vector,
)
from .._data import StreamEncoder, column_names, is_frame
from .._files import BadRows, Batch, Stream
from ._plan import Plan, Scored
from ._types import Types

if TYPE_CHECKING:
    import pyarrow as pa

PARTS = 64
"""Temporary files; each is put together by itself."""


def arrays_of(frame: Any) -> dict[str, NDArray[Any]]:
    """Return the columns of a mapping, or of a frame that knows no Arrow, as vectors of one length."""
    if not is_frame(frame):
        raise ArgumentTypeError(
            f"events must be a path, a list of paths, a data frame or a mapping of arrays, got {type(frame).__name__}"
        )
    names = column_names(frame) or []
    arrays = {name: check_vector(f"column {name!r}", frame[name]) for name in names}
    check_same_length({f"column {name!r}": array for name, array in arrays.items()})
    return arrays


def stream_batches(stream: Stream, types: Mapping[str, Any], bad_rows: BadRows) -> Iterator[Batch]:
    """Yield the columns of a stream as those of a file."""
    import pyarrow as pa

    first = 1
    for rows in stream.batches:
        batch = Batch(stream.name, first, rows)
        columns = [_cast(batch, name, kind, bad_rows) for name, kind in types.items()]
        batch.rows = pa.record_batch(columns, names=list(types))
        first += len(rows)
        yield batch.compact()


def _cast(batch: Batch, name: str, kind: pa.DataType, bad_rows: BadRows) -> pa.Array:
    """Return a column in the type that it is to have; rows of what is not of it are bad."""
    import pyarrow as pa

    column = batch.rows.column(name)
    try:
        return column.cast(kind)
    except pa.ArrowException as error:
        values = []
        for at in range(len(column)):
            try:
                values.append(column.slice(at, 1).cast(kind))
            except pa.ArrowException:
                what = f"{column[at].as_py()!r} is no {kind}"
                bad_rows.refuse_row(batch, at, "bad value", f"column {name!r}", what)
                values.append(pa.nulls(1, kind))
        if batch.bad is None:
            raise DataError(f"{batch.file}: column {name!r}: {' '.join(str(error).split())}") from error
        return pa.concat_arrays(values)


def in_parallel(plan: Plan, collected: Events, batches: Iterator[Batch]) -> Iterator[NDArray[np.void]]:
    """Score and encode: a batch's users, items and signals at the same time, and a few batches at once, in order.

    Each of the two tables of ids sees the batches in their order, so that codes do not depend on the threads.
    """
    from concurrent.futures import Future, ThreadPoolExecutor

    ahead: deque[tuple[Future[Any], ...]] = deque()

    def finish() -> NDArray[np.void]:
        users, items, signals = ahead.popleft()
        batch, scored = signals.result()  # first: its errors name the row
        plan.bad_rows.settle(batch.found)
        records = np.empty(len(scored.scores), collected.record)
        records["user"], records["item"], records["score"] = users.result(), items.result(), scored.scores
        if scored.times is not None:
            records["time"] = scored.times
        collected.see(scored, len(records))
        return records if scored.named is None or scored.named.all() else records[scored.named]

    def encode(encoder: StreamEncoder, column: str, batch: Batch, signals: Future[Any]) -> NDArray[np.int32]:
        if plan.bad_rows.skip:  # of the rows that are left
            batch, _ = signals.result()
        return encoder.encode(plan.ids(batch, column))

    with ThreadPoolExecutor(1) as users, ThreadPoolExecutor(1) as items, ThreadPoolExecutor(collected.threads) as pool:
        try:
            for batch in batches:
                signals = pool.submit(plan.score, batch)
                ahead.append(
                    (
                        users.submit(encode, collected.users, plan.user, batch, signals),
                        items.submit(encode, collected.items, plan.item, batch, signals),
                        signals,
                    )
                )
                if len(ahead) > collected.threads:
                    yield finish()
            while ahead:
                yield finish()
        except BaseException:
            for task in ahead:
                for future in task:
                    future.cancel()
            raise


class Events:
    """Scored events in the order in which they came, in memory or in temporary files by user."""

    def __init__(self, plan: Plan, memory: int, threads: int) -> None:
        self.users, self.items = StreamEncoder("user ids"), StreamEncoder("item ids")
        self.memory, self.threads = memory, threads
        timed = plan.spec.timestamp is not None
        self.record = np.dtype(
            [("user", np.int32), ("item", np.int32), ("score", np.float64)] + [("time", plan.time_dtype)] * timed
        )
        self.held: list[NDArray[np.void]] = []
        self.period, self.types, self.bad_rows = plan.period, Types(plan.spec), plan.bad_rows
        self.count = self.unnamed = 0
        self.closed = False
        self.directory: tempfile.TemporaryDirectory[str] | None = None

    def see(self, scored: Scored, n: int) -> None:
        """Count some events."""
        self.count += n
        self.types.add(scored.types)
        times = scored.times
        if scored.named is not None:
            self.unnamed += n - int(scored.named.sum())
            times = None if times is None else times[scored.named]
        if times is not None and len(times) and self.period.dated:
            self.period.see(times)

    def add(self, records: NDArray[np.void]) -> None:
        """Take events that count."""
        if not len(records):
            return
        self.held.append(records)
        if sum(held.nbytes for held in self.held) > self.memory:
            self._spill()

    def _spill(self) -> None:
        """Append what is held to the files: events of a user always to the same one."""
        if self.directory is None:
            self.directory = tempfile.TemporaryDirectory(prefix="fastals-score-")
        parts = [(records["user"] % PARTS).astype(np.uint8) for records in self.held]
        pieces = [
            np.split(records[np.argsort(part, kind="stable")], np.bincount(part, minlength=PARTS).cumsum()[:-1])
            for records, part in zip(self.held, parts, strict=True)
        ]
        self.held = []
        for number, some in enumerate(zip(*pieces, strict=True)):
            if any(map(len, some)):
                with open(self._file(number), "ab") as file:
                    np.concatenate(some).tofile(file)

    def _file(self, number: int) -> str:
        assert self.directory is not None
        return os.path.join(self.directory.name, str(number))

    def parts(self) -> Iterator[NDArray[np.void]]:
        """Yield the events, all of a user's in one part, in their order."""
        if self.closed:
            raise ParameterError("these scores are closed: their events are gone")
        if self.directory is None:
            if self.held:
                self.held = [np.concatenate(self.held)]
                yield self.held[0]
            return
        self._spill()
        for number in range(PARTS):
            if os.path.exists(self._file(number)):
                yield np.fromfile(self._file(number), self.record)

    def close(self) -> None:
        self.held, self.closed = [], True
        if self.directory is not None:
            self.directory.cleanup()

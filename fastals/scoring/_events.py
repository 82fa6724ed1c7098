"""Raw events on their way to scores: read, scored in parallel, all kept in bounded memory."""

from __future__ import annotations

import csv
import io
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
    FastalsError,
    FileFormatError,
    ParameterError,
    check_same_length,
    check_vector,
)
from .._data import StreamEncoder, is_frame
from .._files import FORMATS, Batch, Stream, need, open_file, suffix_of
from ._plan import Plan, Scored
from ._types import Types

if TYPE_CHECKING:
    import pyarrow as pa

PARTS = 64
"""Temporary files; each is put together by itself."""


class Plain:
    """Columns as NumPy arrays, where there is no Arrow."""

    def __init__(self, columns: Mapping[str, NDArray[Any]]) -> None:
        self.columns = columns

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def column(self, name: str) -> NDArray[Any]:
        return self.columns[name]


def arrays_of(frame: Any) -> dict[str, NDArray[Any]]:
    """Return the columns of a mapping, or of a frame that knows no Arrow, as vectors of one length."""
    if not is_frame(frame):
        raise ArgumentTypeError(
            f"events must be a path, a list of paths, a data frame or a mapping of arrays, got {type(frame).__name__}"
        )
    names = list(frame if isinstance(frame, Mapping) else frame.columns)
    arrays = {name: check_vector(f"column {name!r}", frame[name]) for name in names}
    check_same_length({f"column {name!r}": array for name, array in arrays.items()})
    return arrays


def stream_batches(stream: Stream, types: Mapping[str, Any]) -> Iterator[Batch]:
    """Yield the columns of a stream as those of a file."""
    import pyarrow as pa

    first = 1
    for rows in stream.batches:
        columns = [
            _cast(rows.column(name), kind, Batch(stream.name, first, rows), name) for name, kind in types.items()
        ]
        yield Batch(stream.name, first, pa.record_batch(columns, names=list(types)))
        first += len(rows)


def _cast(column: pa.Array, kind: pa.DataType, batch: Batch, name: str) -> pa.Array:
    """Return a column in the type that it is to have; what is not of it is an error that names the row."""
    import pyarrow as pa

    try:
        return column.cast(kind)
    except pa.ArrowException as error:
        for at in range(len(column)):
            try:
                column.slice(at, 1).cast(kind)
            except pa.ArrowException:
                what = f"{column[at].as_py()!r} is no {kind}"
                raise DataError(f"{batch.file}: row {batch.first + at}, column {name!r}: {what}") from None
        raise DataError(f"{batch.file}: column {name!r}: {' '.join(str(error).split())}") from error


def read_plain_csv(name: str, delimiter: str) -> dict[str, NDArray[Any]]:
    """Return the columns of a CSV file as text, all of it in memory: what is done without pyarrow."""
    if FORMATS.get(suffix_of(name)[0]) != "csv":
        need("io", "pyarrow", "reading anything but CSV")
    try:
        with open_file(name) as file, io.TextIOWrapper(file, "utf-8-sig", newline="") as lines:
            rows = csv.reader(lines, delimiter=delimiter)
            header = next(filter(None, rows), None)
            if header is None:
                raise FileFormatError(f"{name}: the file is empty")
            columns: list[list[str]] = [[] for _ in header]
            for row in filter(None, rows):
                if len(row) != len(header):
                    raise FileFormatError(
                        f"{name}: line {rows.line_num} has {len(row)} fields, but the header {len(header)}"
                    )
                for column, text in zip(columns, row, strict=True):
                    column.append(text)
    except FastalsError:
        raise
    except (OSError, ValueError, csv.Error) as error:
        raise FileFormatError(f"{name}: cannot be read as CSV: {getattr(error, 'strerror', None) or error}") from error
    return {name: np.array(column, dtype=object) for name, column in zip(header, columns, strict=True)}


def in_parallel(plan: Plan, collected: Events, batches: Iterator[Batch]) -> Iterator[NDArray[np.void]]:
    """Score and encode: a batch's users, items and signals at the same time, and a few batches at once, in order.

    Each of the two tables of ids sees the batches in their order, so that codes do not depend on the threads.
    """
    from concurrent.futures import Future, ThreadPoolExecutor

    ahead: deque[tuple[Future[Any], ...]] = deque()

    def finish() -> NDArray[np.void]:
        users, items, signals = ahead.popleft()
        scored = signals.result()  # first: its errors name the row
        records = np.empty(len(scored.scores), collected.record)
        records["user"], records["item"], records["score"] = users.result(), items.result(), scored.scores
        if scored.times is not None:
            records["time"] = scored.times
        collected.see(scored, len(records))
        return records if scored.named is None or scored.named.all() else records[scored.named]

    def encode(encoder: StreamEncoder, column: str, batch: Batch) -> NDArray[np.int32]:
        return encoder.encode(plan.ids(batch, column))

    with ThreadPoolExecutor(1) as users, ThreadPoolExecutor(1) as items, ThreadPoolExecutor(collected.threads) as pool:
        try:
            for batch in batches:
                ahead.append(
                    (
                        users.submit(encode, collected.users, plan.user, batch),
                        items.submit(encode, collected.items, plan.item, batch),
                        pool.submit(plan.score, batch),
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
        numeric = plan.text and plan.spec.ids == "auto"
        self.users, self.items = StreamEncoder("user ids", numeric), StreamEncoder("item ids", numeric)
        self.memory, self.threads = memory, threads
        timed = plan.spec.timestamp is not None
        self.record = np.dtype(
            [("user", np.int32), ("item", np.int32), ("score", np.float64)] + [("time", plan.time_dtype)] * timed
        )
        self.held: list[NDArray[np.void]] = []
        self.period, self.types = plan.period, Types(plan.spec)
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

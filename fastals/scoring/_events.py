"""Raw events on their way to scores: columns read and checked, each event scored, all kept in bounded memory."""

from __future__ import annotations

import csv
import io
import os
import tempfile
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
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
from .._data import StreamEncoder, arrow_ids, choose_columns, is_frame
from .._files import BATCH_ROWS, FORMATS, Batch, need, open_file, suffix_of
from ._spec import EACH_EVENT, ScoreSpec, value_of

if TYPE_CHECKING:
    import pyarrow as pa

WRITTEN: dict[Any, Any] = {"": 0, "true": 1, "True": 1, "TRUE": 1, "false": 0, "False": 0, "FALSE": 0}
"""What text stands for that is no number, as Arrow reads it too."""

PARTS = 64
"""Temporary files; each is put together by itself."""


class Plan:
    """Which columns are read, as what, and how a batch of them is scored."""

    types: dict[str, Any]
    """What each column is read as: an Arrow type, None where there is no Arrow."""

    def __init__(
        self, spec: ScoreSpec, names: Sequence[str], schema: pa.Schema | None, file: str, *, text_ids: bool = False
    ) -> None:
        self.spec = spec
        try:
            self.user, self.item, _ = choose_columns(names, spec.user, spec.item, "")
        except DataError as error:
            raise DataError(f"{file}: {error}") from None
        read = [(f"signal {name!r}", column) for name, s in spec.signals.items() for column in (s.column, s.per)]
        self.signals = {column: what for what, column in read if column and column != EACH_EVENT}
        wanted = [*self.signals.items(), *([(spec.timestamp, "the timestamp")] if spec.timestamp else [])]
        for column, what in wanted:
            if column in (self.user, self.item):
                raise ParameterError(f"{what} reads column {column!r}, which holds ids")
            if column not in names:
                raise DataError(
                    f"{file}: {what} of the specification reads column {column!r}, which is not there; the columns are "
                    + ", ".join(map(repr, names))
                )
        if schema is None:
            self.types = dict.fromkeys((self.user, self.item, *(column for column, _ in wanted)))
        else:
            self.types = self._arrow_types(schema, text_ids)

    def _arrow_types(self, schema: pa.Schema, text_ids: bool) -> dict[str, Any]:
        import pyarrow as pa

        def kind(name: str) -> Any:
            found = schema.field(name).type
            return found.value_type if pa.types.is_dictionary(found) else found

        types = {name: pa.string() if text_ids else kind(name) for name in (self.user, self.item)}
        for name in self.signals:
            types[name] = pa.bool_() if pa.types.is_boolean(kind(name)) else pa.float64()
        if (time := self.spec.timestamp) is not None:
            number = pa.types.is_integer(kind(time)) or pa.types.is_floating(kind(time))
            types[time] = pa.float64() if number else pa.timestamp("us")
        return types

    def score(self, batch: Batch) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        """Return the scores of the events, not aged yet, and their times."""
        values = {name: self._numbers(batch, name) for name in self.signals}
        total = np.zeros(len(batch.rows))
        for signal in self.spec.signals.values():
            x = np.ones(len(batch.rows)) if signal.column == EACH_EVENT else values[signal.column]
            total += signal.weight * value_of(signal, x, values[signal.per] if signal.per else None)
        if not np.isfinite(total).all():
            self._refuse(batch, "the signals", int(np.argmin(np.isfinite(total))), "the score overflows float64")
        return total, None if self.spec.timestamp is None else self._times(batch, self.spec.timestamp)

    def _numbers(self, batch: Batch, name: str) -> NDArray[np.float64]:
        column = batch.rows.column(name)
        if isinstance(column, np.ndarray):
            return self._finite(batch, name, self._plain_numbers(batch, name, column))
        if str(column.type) == "bool":
            column = column.cast("uint8")
        if column.null_count:
            column = column.fill_null(0)
        return self._finite(batch, name, column.to_numpy(zero_copy_only=False).astype(np.float64, copy=False))

    def _plain_numbers(self, batch: Batch, name: str, column: NDArray[Any]) -> NDArray[np.float64]:
        """Return numbers, of text too."""
        try:
            if column.dtype.kind in "OU":
                column = np.array([WRITTEN.get(value, value) for value in column.tolist()], dtype=object)
            numbers: NDArray[np.float64] = column.astype(np.float64)
            return numbers
        except (ValueError, TypeError):
            for at, value in enumerate(column.tolist()):
                try:
                    float(WRITTEN.get(value, value))
                except (ValueError, TypeError):
                    self._refuse(batch, f"column {name!r}", at, f"{value!r} is no number")
            raise

    def _finite(self, batch: Batch, name: str, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        finite = np.isfinite(numbers)
        if not finite.all():
            at = int(np.argmin(finite))
            self._refuse(batch, f"column {name!r}", at, f"{numbers[at]} is no finite number")
        return numbers

    def _times(self, batch: Batch, name: str) -> NDArray[np.float64]:
        column = batch.rows.column(name)
        if isinstance(column, np.ndarray):
            missing = (
                np.isnat(column)
                if column.dtype.kind == "M"
                else np.array([value in ("", None) for value in column.tolist()])
            )
        else:
            missing = np.asarray(column.is_null())
        if missing.any():
            self._refuse(batch, f"column {name!r}", int(np.argmax(missing)), "the time is missing")
        if not isinstance(column, np.ndarray):
            if str(column.type).startswith("timestamp"):
                return _seconds_of(np.asarray(column.cast("int64")))
            return self._numbers(batch, name)
        if column.dtype.kind in "OU":
            try:
                column = column.astype("datetime64[us]")
            except (ValueError, TypeError):
                return self._numbers(batch, name)
        if column.dtype.kind == "M":
            return _seconds_of(column.astype("datetime64[us]").astype(np.int64))
        return self._numbers(batch, name)

    def ids(self, batch: Batch, name: str) -> Any:
        """Return a column of ids none of which is missing or empty, as StreamEncoder takes it."""
        column, ids = batch.rows.column(name), None
        if isinstance(column, np.ndarray):
            missing, ids = column == "" if column.dtype.kind in "OUS" else np.zeros(1, bool), column
        else:
            missing = np.asarray(column.is_null() if column.null_count else _empty(column))
            ids = None if missing.any() else arrow_ids(f"column {name!r}", _chunked(column))
        if np.any(missing):
            self._refuse(batch, f"column {name!r}", int(np.argmax(missing)), "the id is missing")
        return ids

    def _refuse(self, batch: Batch, column: str, at: int, what: str) -> None:
        raise DataError(f"{batch.file}: row {batch.first + at}, {column}: {what}")


def _seconds_of(microseconds: NDArray[np.int64]) -> NDArray[np.float64]:
    seconds: NDArray[np.float64] = microseconds / 1e6
    return seconds


def _empty(column: pa.Array) -> Any:
    """Return where text is empty; nowhere in a column of other things."""
    from pyarrow import compute

    if str(column.type) not in ("string", "large_string") or compute.min(compute.binary_length(column)).as_py() != 0:
        return np.zeros(1, bool)
    return compute.equal(column, "")


def _chunked(column: pa.Array) -> pa.ChunkedArray:
    import pyarrow as pa

    return pa.chunked_array([column])


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


def arrow_table(frame: Any) -> pa.Table:
    import pyarrow as pa

    try:
        return pa.table(frame)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise DataError(f"events: cannot be read as a table: {' '.join(str(error).split())}") from error


def table_batches(table: pa.Table, types: Mapping[str, Any]) -> Iterator[Batch]:
    """Yield the columns of a table in memory as those of a file."""
    import pyarrow as pa

    columns = []
    for name, kind in types.items():
        try:
            columns.append(table[name].cast(kind))
        except pa.ArrowException as error:
            raise DataError(f"events: column {name!r}: {' '.join(str(error).split())}") from error
    first = 1
    for rows in pa.table(columns, names=list(types)).to_batches(max_chunksize=BATCH_ROWS):
        yield Batch("events", first, rows)
        first += len(rows)


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
        scores, times = signals.result()  # first: its errors name the row
        records = np.empty(len(scores), collected.record)
        records["user"], records["item"], records["score"] = users.result(), items.result(), scores
        if times is not None:
            records["time"] = times
        return records

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

    def __init__(self, numeric: bool, memory: int, threads: int, timed: bool) -> None:
        self.users, self.items = StreamEncoder("user ids", numeric), StreamEncoder("item ids", numeric)
        self.memory, self.threads = memory, threads
        self.record = np.dtype(
            [("user", np.int32), ("item", np.int32), ("score", np.float64)] + [("time", np.float64)] * timed
        )
        self.held: list[NDArray[np.void]] = []
        self.count = 0
        self.newest, self.closed = -np.inf, False
        self.directory: tempfile.TemporaryDirectory[str] | None = None

    def add(self, records: NDArray[np.void]) -> None:
        if not len(records):
            return
        self.held.append(records)
        self.count += len(records)
        if "time" in (self.record.names or ()):
            self.newest = max(self.newest, float(records["time"].max()))
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

"""What a specification asks of the columns of a log: which are read, as what, and how a batch of them is scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from .._core import DataError, ParameterError
from .._data import Coded, arrow_ids, as_numeric, check_kind, choose_columns, factorize
from .._files import MISSING, NUMBERS, BadRows, Batch, Source, is_integer, is_missing, iso, number_dtype, numerals
from ._kept import Period
from ._spec import EACH_EVENT, ScoreSpec, kind_of_types, times_of, types_of, value_of
from ._types import Counts, Distinct, distinct

if TYPE_CHECKING:
    import pyarrow as pa

WRITTEN: dict[Any, Any] = {None: 0, "": 0, "true": 1, "True": 1, "TRUE": 1, "false": 0, "False": 0, "FALSE": 0}
"""What text stands for that is no number, as Arrow reads it too."""

HINT = "; values that are types of events take equals="
NO_NUMBER = "{!r} is no number" + HINT


class Scored(NamedTuple):
    """What is known of the events of a batch beside their users and items."""

    scores: NDArray[np.float64]
    """Not aged yet."""
    times: NDArray[Any] | None
    """Nanoseconds since 1970; numbers of any unit where they only put events in order."""
    named: NDArray[np.bool_] | None
    """Which events are of a type that a signal names; None: all."""
    types: Counts


class Plan:
    """Which columns are read, as what, and how a batch of them is scored."""

    types: dict[str, Any]
    """What each column is read as: an Arrow type, None where there is no Arrow."""
    time_dtype: Any = np.int64
    """Of times; nanoseconds since 1970 are int64."""

    def __init__(
        self,
        spec: ScoreSpec,
        names: Sequence[str],
        schema: pa.Schema | None,
        file: str,
        bad_rows: BadRows,
        *,
        source: Source | None = None,
        arrays: Mapping[str, NDArray[Any]] | None = None,
    ) -> None:
        self.spec, self.period, self.times = spec, Period(spec), times_of(spec)
        self.source, self.bad_rows, self.file = source, bad_rows, file
        format = None if source is None else source.format
        try:
            self.user, self.item, _ = choose_columns(names, spec.user, spec.item, "")
        except DataError as error:
            raise DataError(f"{file}: {error}") from None
        self.text = format == "csv"
        self.absent: set[str] = set()
        """Optional columns that a frame has not; where a file has none, they are null."""
        self.optional = {column for s in spec.signals.values() if s.optional for column in (s.column, s.per) if column}
        self.optional -= {column for s in spec.signals.values() if not s.optional for column in (s.column, s.per)}
        self.optional.discard(spec.timestamp or "")
        self.typed = {s.column: kind_of_types(types_of(s)) for s in spec.signals.values() if s.equals is not None}
        read = [(f"signal {name!r}", column) for name, s in spec.signals.items() for column in (s.column, s.per)]
        self.signals = {column: what for what, column in read if column and column != EACH_EVENT}
        wanted = [*self.signals.items(), *([(spec.timestamp, "the timestamp")] if spec.timestamp else [])]
        for column, what in wanted:
            if column in (self.user, self.item):
                raise ParameterError(f"{what} reads column {column!r}, which holds ids")
            if column not in names:
                if column in self.optional:
                    if format is None:
                        self.absent.add(column)
                    continue  # other files may have it
                raise DataError(
                    f"{file}: {what} of the specification reads column {column!r}, which is not there; the columns are "
                    + ", ".join(map(repr, names))
                )
        self.by_number = spec.timestamp is not None and not self.period.dated and not spec.unit and not spec.format
        """Whether times that are numbers are taken as they are."""
        if schema is None:
            assert arrays is not None
            self.types = dict.fromkeys((self.user, self.item, *(c for c, _ in wanted if c not in self.absent)))
            if self.by_number:
                dtype = number_dtype(f"{file}: column {spec.timestamp!r}", arrays[str(spec.timestamp)])
                self.by_number, self.time_dtype = dtype is not None, dtype or np.int64
        else:
            self.types = self._arrow_types(schema, file, format)

    @classmethod
    def of_files(cls, spec: ScoreSpec, source: Source) -> Plan:
        """Make a plan for files."""
        source.hint = HINT
        if source.with_arrow:
            return cls(spec, source.names, source.schema, source.files[0], source.bad_rows, source=source)
        arrays = {}
        if spec.timestamp is not None and spec.timestamp in source.names:
            # all of them, since what the times are read as depends on them
            column = [batch.rows.column(spec.timestamp) for batch in source.sample().batches({spec.timestamp: None})]
            arrays[spec.timestamp] = np.concatenate(column) if column else np.empty(0, object)
        plan = cls(spec, source.names, None, source.files[0], source.bad_rows, source=source, arrays=arrays)
        plan.types |= dict.fromkeys(plan.signals.keys() - plan.typed.keys(), NUMBERS)
        return plan

    def _arrow_types(self, schema: pa.Schema, file: str, format: str | None) -> dict[str, Any]:
        import pyarrow as pa

        def kind(name: str) -> Any:
            found = schema.field(name).type if name in schema.names else pa.null()
            return found.value_type if pa.types.is_dictionary(found) else found

        type_of_ids = kind if self.source is None else self.source.type_of_ids
        types = {name: type_of_ids(name) for name in (self.user, self.item)}
        for name in self.signals:
            if name in self.absent:
                continue
            if name in self.typed:
                types[name] = self._type_of_types(name, kind(name), file)
            elif _is_text(kind(name)) and format not in ("csv", "json"):
                types[name] = pa.string()
            else:
                of_frame = self.source is None and pa.types.is_boolean(kind(name))
                types[name] = pa.bool_() if of_frame else pa.float64()
        if (time := self.spec.timestamp) is not None:
            types[time] = self._type_of_times(kind(time), format)
        return types

    def _type_of_types(self, name: str, found: Any, file: str) -> Any:
        """Return what a column of types is read as; in text files that is what it is compared with."""
        import pyarrow as pa

        wanted = self.typed[name]
        of, kind = pa.types, "values"
        if of.is_integer(found) or of.is_floating(found) or of.is_decimal(found):
            kind = "numbers"
        elif _is_text(found) or of.is_boolean(found):
            kind = "text" if _is_text(found) else "truth values"
        if kind != wanted and not self.text and not of.is_null(found):
            self._refuse_kind(file, name, f"{kind} ({found})")
        return {"text": pa.string(), "truth values": pa.bool_(), "numbers": pa.float64()}[wanted]

    def _type_of_times(self, found: Any, format: str | None) -> Any:
        """Return what times are read as: text where it is text, so that each can be in a form of its own."""
        import pyarrow as pa
        from pyarrow import types as of

        if self.by_number and (of.is_floating(found) or of.is_decimal(found)):
            self.time_dtype = np.float64
        self.by_number = self.by_number and (of.is_integer(found) or of.is_floating(found) or of.is_decimal(found))
        if self.text or _is_text(found):
            return pa.string()
        if format == "json":  # whose reader takes text for times, and reads numbers as the first ones are
            if of.is_integer(found):
                return pa.int64() if self.by_number or self.spec.unit not in (None, "s") else pa.float64()
            return found if of.is_floating(found) else pa.string()
        if format == "parquet" and (of.is_date(found) or (of.is_timestamp(found) and found.unit in ("s", "ms"))):
            return pa.timestamp("us", getattr(found, "tz", None))  # other files may be finer
        return found

    def score(self, batch: Batch) -> tuple[Batch, Scored]:
        """Return the scores of the events, not aged yet, and their times, and the batch without its bad rows."""
        if self.bad_rows.skip and self.source is None:
            for name in (self.user, self.item):
                self._check_ids(batch, name)
            batch = batch.compact()
            for name in (self.user, self.item):
                self.ids(batch, name)
            batch = batch.compact()
        scored = self._score(batch)
        if batch.bad is None:
            return batch, scored
        left = batch.compact()
        return left, self._score(left)

    def _score(self, batch: Batch) -> Scored:
        codes = {name: self._types(batch, name) for name in self.typed if name not in self.absent}
        values = {name: self._numbers(batch, name) for name in self.signals if name not in {*codes, *self.absent}}
        total, ones = np.zeros(len(batch.rows)), np.ones(len(batch.rows))
        named = None if any(s.equals is None for s in self.spec.signals.values()) else np.zeros(len(ones), bool)
        for signal in self.spec.signals.values():
            if {signal.column, signal.per} & self.absent:
                continue
            if signal.equals is not None:
                met = codes[signal.column].among(types_of(signal))
                total += signal.weight * met
                if named is not None:
                    named |= met
                continue
            x = ones if signal.column == EACH_EVENT else values[signal.column]
            total += signal.weight * value_of(signal, x, values[signal.per] if signal.per else None)
        for at in np.flatnonzero(~np.isfinite(total)):
            self._refuse(batch, "the signals", int(at), "the score overflows float64")
        times = None if self.spec.timestamp is None else self._times(batch, self.spec.timestamp)
        return Scored(total, times, named, {name: values.counts() for name, values in codes.items()})

    def _types(self, batch: Batch, name: str) -> Distinct:
        column, wanted = batch.rows.column(name), self.typed[name]
        if not isinstance(column, np.ndarray):
            return distinct(column)
        if self.text and wanted != "text":
            return distinct(self._plain_numbers(batch, name, column))
        try:
            found = distinct(column)
        except TypeError:
            self._refuse_kind(batch.file, name, "lists or the like")
        if found.values and kind_of_types(found.values) != wanted:
            odd = next(value for value in found.values if kind_of_types([value]) != wanted)
            self._refuse_kind(batch.file, name, f"{odd!r}")
        return found

    def _refuse_kind(self, file: str, name: str, found: str) -> NoReturn:
        raise DataError(
            f"{file}: {self.signals[name]} compares column {name!r} with {self.typed[name]}, but it holds {found}"
        )

    def _numbers(self, batch: Batch, name: str) -> NDArray[np.float64]:
        column = batch.rows.column(name)
        if isinstance(column, np.ndarray):
            return self._finite(batch, name, self._plain_numbers(batch, name, column))
        if str(column.type) == "string":
            column = self._text_numbers(batch, name, column)
        if str(column.type) == "bool":
            column = column.cast("uint8")
        if column.null_count:
            column = column.fill_null(0)
        return self._finite(batch, name, column.to_numpy(zero_copy_only=False).astype(np.float64, copy=False))

    def _text_numbers(self, batch: Batch, name: str, column: pa.Array) -> pa.Array:
        """Return the numbers that text writes, null where it is empty."""
        import pyarrow as pa
        from pyarrow import compute

        written = compute.if_else(compute.equal(column, ""), None, column)
        values, found = numerals(written.fill_null("0"))
        for at in np.flatnonzero(~found):
            self._refuse(batch, f"column {name!r}", int(at), NO_NUMBER.format(column[int(at)].as_py()))
        return pa.array(values.astype(np.float64), mask=np.asarray(written.is_null()))

    def _plain_numbers(self, batch: Batch, name: str, column: NDArray[Any]) -> NDArray[np.float64]:
        """Return numbers, of text too."""
        if column.dtype.kind in "mMc":
            raise DataError(f"{batch.file}: column {name!r} must hold numbers, got {column.dtype}")
        try:
            if column.dtype.kind in "OU":
                column = np.array([WRITTEN.get(value, value) for value in column.tolist()], dtype=object)
            numbers: NDArray[np.float64] = column.astype(np.float64)
        except (ValueError, TypeError, OverflowError):
            numbers = np.zeros(len(column))
            for at, value in enumerate(column.tolist()):
                try:
                    numbers[at] = float(WRITTEN.get(value, value))
                except (ValueError, TypeError, OverflowError):
                    self._refuse(batch, f"column {name!r}", at, NO_NUMBER.format(value))
        return numbers

    def _finite(self, batch: Batch, name: str, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        for at in np.flatnonzero(~np.isfinite(numbers)):
            self._refuse(batch, f"column {name!r}", int(at), f"{numbers[at]} is no finite number")
        return numbers

    def _times(self, batch: Batch, name: str) -> NDArray[Any]:
        column, what = batch.rows.column(name), f"{batch.file}: column {name!r}"
        refuse = partial(self._refuse, batch, f"column {name!r}")
        if self.by_number:
            return self.times.numbers(what, column, self.time_dtype, refuse)
        times = self.times.nanoseconds(what, column, refuse)
        if self.spec.later == "error" and len(times):
            for at in self.period.later(times):
                refuse(int(at), f"{iso(int(times[at]))} is later than now, {iso(self.period.limit)}")
        return times

    def ids(self, batch: Batch, name: str) -> Any:
        """Return a column of ids none of which is missing or empty, as StreamEncoder takes it."""
        column = batch.rows.column(name)
        if self.source is None:
            self._check_ids(batch, name)
        if isinstance(column, np.ndarray):
            ids: Any = column
            if self.source is not None and self.source.is_integer(name):
                ids = column.astype(np.int64)
        else:
            ids = arrow_ids(f"column {name!r}", _chunked(column))
        if self.source is None:
            return ids if self.spec.ids == "auto" else self._declared(batch, name, ids)
        return as_numeric(ids) if self.source.is_integer(name) else ids

    def _check_ids(self, batch: Batch, name: str) -> None:
        for at in np.flatnonzero(_missing(batch.rows.column(name))):
            self._refuse(batch, f"column {name!r}", int(at), MISSING)

    def _declared(self, batch: Batch, name: str, ids: Any) -> Any:
        """Return ids as text, or as integers: what they are said to be."""
        codes, labels = factorize(f"column {name!r}", ids, 1)
        assert labels.values is not None
        array: Any = labels.values
        if self.spec.ids == "integer" and labels.kind == "strings":
            bad = np.array([not is_integer(value, 2**64) for value in array.tolist()])
            for at in np.flatnonzero(bad[codes]):
                self._refuse(batch, f"column {name!r}", int(at), f"{array[codes[at]]!r} is no integer: say ids='text'")
            array = np.where(bad, "0", array)  # of rows that are passed over
        return Coded(codes, check_kind(f"{batch.file}: column {name!r}", codes, array, self.spec.ids))

    def _refuse(self, batch: Batch, column: str, at: int, what: str) -> None:
        """Raise for a row, or mark it as bad, where bad rows are passed over."""
        kind = "bad time" if column == f"column {self.spec.timestamp!r}" else "bad number"
        if column in (f"column {self.user!r}", f"column {self.item!r}"):
            kind = "missing id" if what == MISSING else "id of another kind"
        self.bad_rows.refuse_row(batch, at, kind, column, what)


def _is_text(kind: pa.DataType) -> bool:
    return str(kind) in ("string", "large_string", "string_view")


def _missing(column: Any) -> NDArray[np.bool_]:
    """Return where ids are missing or empty."""
    if isinstance(column, np.ndarray):
        if column.dtype.kind == "O":
            return np.fromiter(map(is_missing, column.tolist()), bool, len(column))
        found: NDArray[np.bool_] = column == column.dtype.type() if column.dtype.kind in "UST" else column != column
        return found
    from pyarrow import compute

    if str(column.type) == "string_view":
        column = column.cast("large_string")
    may_be_empty = _is_text(column.type) or str(column.type) in ("binary", "large_binary")
    if may_be_empty and compute.min(compute.binary_length(column)).as_py() == 0:
        return np.asarray(compute.equal(compute.binary_length(column), 0).fill_null(True))
    return np.asarray(column.is_null()) if column.null_count else np.zeros(len(column), bool)


def _chunked(column: pa.Array) -> pa.ChunkedArray:
    import pyarrow as pa

    return pa.chunked_array([column])

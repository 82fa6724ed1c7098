"""Times, whatever they come in, as nanoseconds since 1970 in UTC: text, numbers, dates of every library.

What is declared (unit, format, timezone) is obeyed. Numbers that nobody has declared are seconds where they lie from
1990 to a year from now; milliseconds, or a date written 20240131, lie elsewhere and are refused.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._core import ArgumentTypeError, DataError, ParameterError, check_choice, check_real
from .civil import HIGH, ISO, LOW, SECOND, pattern_of, read, utc, zone_name
from .time_columns import NUMBER, Column, as_strings, chosen, column_of, listed, numerals, text_numbers

if TYPE_CHECKING:
    import pyarrow as pa

Refuse: TypeAlias = Callable[[int, str], None]
"""Is told the place of a time that is none, and why; where it returns, that time is 0 and the others are read."""
Found: TypeAlias = tuple[NDArray[np.int64], NDArray[np.bool_]]

DAY = 86_400 * SECOND
UNITS = {"s": SECOND, "ms": 10**6, "us": 10**3, "ns": 1}
"""Nanoseconds of each."""
LENGTHS = UNITS | {"m": 60 * SECOND, "h": 3600 * SECOND, "D": DAY, "W": 7 * DAY, "M": 31 * DAY, "Y": 366 * DAY}
FINER = ("ps", "fs", "as", "generic")
"""Units of datetime64: the longest that each is, and those below nanoseconds."""
SPANS = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86_400.0, "week": 604_800.0, "year": 31_557_600.0}
"""Seconds of each."""
RANGE = "the years 1678 to 2261"
OLDEST, AHEAD = 631_152_000 * SECOND, 366 * DAY
"""1990, and a year: numbers of no declared unit are seconds in between, counted from the clock."""
DIGITS = {8: "%Y%m%d", 10: "%Y%m%d%H", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
"""Dates that look like numbers, by their length."""


def clock() -> int:
    """Return the time, in nanoseconds since 1970."""
    return time.time_ns()


def seconds_of(nanoseconds: Any) -> Any:
    """Return seconds as float64: the very numbers that the nanoseconds were made of, where they were seconds."""
    whole = nanoseconds // SECOND
    return whole + (nanoseconds - whole * SECOND) / 1e9


def iso(nanoseconds: int) -> str:
    """Return a time as text, in UTC."""
    return str(np.datetime64(nanoseconds, "ns")).removesuffix(".000000000") + "Z"


def plain(nanoseconds: int) -> float | str:
    """Return a time as settings have it: in seconds where these can be nothing else, else as text."""
    within = OLDEST <= nanoseconds <= clock() + AHEAD
    return float(seconds_of(nanoseconds)) if within else iso(nanoseconds)


def span_seconds(name: str, value: Any) -> float:
    """Return the seconds of a number, or of such as "30 days"."""
    if isinstance(value, str):
        found = re.fullmatch(r"\s*([\d.eE+-]+)\s*([a-z]+?)s?\s*", value)
        try:
            assert found is not None
            value = float(found[1]) * SPANS[found[2]]
        except (AssertionError, ValueError, KeyError):
            raise ParameterError(
                f"{name} must be seconds, or such as '30 days' ({', '.join(SPANS)}), got {value!r}"
            ) from None
    return check_real(name, value, low=0, low_open=True)


def is_span(value: Any) -> bool:
    """Whether a value is such as "30 days"."""
    return isinstance(value, str) and re.fullmatch(r"\s*[\d.]+\s*[a-z]+\s*", value) is not None


@dataclass(frozen=True)
class Times:
    """How times are written.

    Parameters
    ----------
    unit : {"s", "ms", "us", "ns"}, optional
        Of numbers since 1970. None: seconds, where they can be such.
    format : str or sequence of str, optional
        Patterns as :meth:`datetime.datetime.strptime` has them; the first that fits is taken. None: ISO 8601.
    timezone : str, default "UTC"
        IANA name or ZoneInfo: of times that tell no zone. A local time that comes twice is taken for the first; one
        that the clocks leave out, for as much later as they are put forward.
    """

    unit: str | None = None
    format: str | Sequence[str] | None = None
    timezone: str | tzinfo = "UTC"

    def __post_init__(self) -> None:
        if self.unit is not None:
            check_choice("unit", self.unit, tuple(UNITS))
        if self.format is not None and not isinstance(self.format, str):
            if not isinstance(self.format, (list, tuple)) or not self.format:
                raise ArgumentTypeError(
                    f"format must be a pattern such as '%d/%m/%Y %H:%M', or several, got {self.format!r}"
                )
            object.__setattr__(self, "format", tuple(self.format))
        if self.patterns and self.unit is not None:
            raise ParameterError(f"unit={self.unit!r} is of numbers, and format= of text: leave out one of them")
        object.__setattr__(self, "timezone", zone_name(self.timezone))

    @property
    def patterns(self) -> tuple[str, ...]:
        """Regular expressions of the formats."""
        return tuple(map(pattern_of, (self.format,) if isinstance(self.format, str) else self.format or ()))

    def nanoseconds(self, name: str, values: Any, refuse: Refuse | None = None) -> NDArray[np.int64]:
        """Return times as nanoseconds since 1970 in UTC.

        Parameters
        ----------
        name : str
            What messages call the times.
        values : array, list, Series or Arrow array of shape (n,)
        refuse : optional
            Called for each time that is missing or cannot be read; None: the first is an error.

        Raises
        ------
        ArgumentTypeError, DataError, ParameterError
            What holds no times, or contradicts what is declared.
        """
        return self._scattered(name, values, refuse, self._read)

    def ordered(self, name: str, values: Any, refuse: Refuse | None = None) -> NDArray[Any]:
        """Return what orders times: numbers of no declared unit as they are, anything else in nanoseconds.

        Parameters and errors are those of :meth:`nanoseconds`.
        """
        return self._scattered(name, values, refuse, self._read_ordered)

    def numbers(self, name: str, values: Any, dtype: Any, refuse: Refuse) -> NDArray[Any]:
        """Return times that are numbers of any unit, for their order, in a dtype that must hold them as they are.

        Parameters and errors are those of :meth:`nanoseconds`.
        """

        def read(name: str, column: Column, refuse: Refuse) -> NDArray[Any]:
            if column.kind == "date":
                raise ArgumentTypeError(f"{name} must hold numbers, as the first times are, got {column.values.dtype}")
            values, found = numerals(column.values) if column.kind == "text" else (column.values, True)
            with np.errstate(invalid="ignore"):
                result = values.astype(dtype)
            for at in np.flatnonzero(~(found & np.isfinite(values) & (result == values))):
                refuse(int(at), f"{values[at]} is no {np.dtype(dtype)}, as the first times are")
                result[at] = 0
            return result

        return self._scattered(name, values, refuse, read)

    def moment(self, name: str, value: Any) -> int:
        """Return the nanoseconds of one time: a date, ISO 8601, or a number, which is seconds since 1970."""

        def refuse(_: int, what: str) -> None:
            raise ParameterError(f"{name} must be a date and time as '2025-04-01T12:00:00', got {value!r}: {what}")

        if isinstance(value, str) and re.fullmatch(NUMBER, value.strip()):
            refuse(0, "digits in quotes are no date")
        return int(Times(timezone=self.timezone).nanoseconds(name, [value], refuse)[0])

    def _scattered(
        self, name: str, values: Any, refuse: Refuse | None, read: Callable[[str, Column, Refuse], NDArray[Any]]
    ) -> NDArray[Any]:
        """Read the times that are there."""
        if refuse is None:

            def refuse(at: int, what: str) -> None:
                raise DataError(f"{name}, position {at}: {what}")

        column = column_of(name, values)
        if column.places is None:
            return read(name, column, refuse)
        places = column.places
        missing = np.ones(column.size, bool)
        missing[places] = False
        for at in np.flatnonzero(missing):
            refuse(int(at), "the time is missing")
        some = read(name, column, partial(_refuse_at, refuse, places))
        result = np.zeros(column.size, some.dtype)
        result[places] = some
        return result

    def _read_ordered(self, name: str, column: Column, refuse: Refuse) -> NDArray[Any]:
        if self.unit is None and not self.patterns:
            numbers = text_numbers(column.values) if column.kind == "text" else column.values
            if numbers is not None and column.kind != "date":
                finite = np.isfinite(numbers)
                for at in np.flatnonzero(~finite):
                    refuse(int(at), f"{numbers[at]} is no finite number")
                return numbers.astype(np.int64) if column.kind == "span" else np.where(finite, numbers, 0)
        return self._read(name, column, refuse)

    def _read(self, name: str, column: Column, refuse: Refuse) -> NDArray[np.int64]:
        kind, values = column.kind, column.values
        if kind == "span":
            raise ArgumentTypeError(f"{name} must be times, got durations: they tell an order, but no date")
        if kind == "date":
            for what, given in (("unit", self.unit), ("format", self.format)):
                if given is not None:
                    raise ParameterError(f"{name} holds dates and times already: leave out {what}={given!r}")
            return self._of_dates(column, refuse)
        if kind == "text":
            return self._of_text(values, refuse)
        if not self.patterns:
            return self._since_1970(values, refuse)
        whole = values if values.dtype.kind != "f" else np.where(values == np.rint(values), values, 0).astype(np.int64)
        for at in np.flatnonzero(whole != values):
            refuse(int(at), f"{values[at]} is no whole number, as format={self.format!r} has them")
        return self._of_text(as_strings(list(map(str, whole.tolist()))), refuse)

    def _of_dates(self, column: Column, refuse: Refuse) -> NDArray[np.int64]:
        values = column.values
        unit, step = np.datetime_data(values.dtype)
        if unit in FINER:
            values, unit, step = values.astype("M8[ns]"), "ns", 1
        factor = step * LENGTHS[unit]
        numbers: NDArray[np.int64] = values.astype(np.int64)
        # a day is left for the zone
        outside = (numbers < (LOW + DAY) // factor) | (numbers > (HIGH - DAY) // factor)
        if outside.any():
            for at in np.flatnonzero(outside):
                refuse(int(at), f"{values[at]} is beyond {RANGE}")
            values, numbers = np.where(outside, np.zeros(1, values.dtype), values), np.where(outside, 0, numbers)
        numbers = values.astype("M8[D]").astype(np.int64) * DAY if unit in ("Y", "M") else numbers * factor
        return utc(numbers, "UTC" if column.zoned else str(self.timezone))

    def _since_1970(self, values: NDArray[Any], refuse: Refuse) -> NDArray[np.int64]:
        factor = UNITS[self.unit or "s"]
        low, high = (LOW, HIGH) if self.unit else (OLDEST, clock() + AHEAD)
        inside = (values >= low // factor) & (values <= high // factor)
        if not inside.all():
            for at in np.flatnonzero(~inside):
                value = values[at].item()
                refuse(int(at), f"{value!r} {self.unit} since 1970 is beyond {RANGE}" if self.unit else _misfit(value))
            values = np.where(inside, values, 0)
        whole = np.floor(values) if values.dtype.kind == "f" else values
        result: NDArray[np.int64] = whole.astype(np.int64) * factor
        if whole is not values:
            result += np.rint((values - whole) * factor).astype(np.int64)
        return result

    def _of_text(self, texts: Any, refuse: Refuse) -> NDArray[np.int64]:
        """Read text by each way in which it may be written; the next one reads what the last has left."""
        zone = str(self.timezone)
        ways: list[Callable[[Any, Refuse], Found]] = []
        if not self.unit:
            ways += [partial(_by_pattern, pattern, zone) for pattern in self.patterns or ISO]
        if not self.patterns:
            ways = [*([] if self.unit or isinstance(texts, list) else [self._at_once]), *ways, self._of_numerals]
        result, left = np.zeros(len(texts), np.int64), np.arange(len(texts))
        for way in ways:
            if not len(left):
                break
            values, found = way(texts, partial(_refuse_at, refuse, left))
            if found.all() and len(left) == len(result):
                return values
            result[left[found]] = values[found]
            left, texts = left[~found], chosen(texts, ~found)
        for at, text in zip(left.tolist(), listed(texts), strict=True):
            rule = (
                f"number ({self.unit} since 1970)"
                if self.unit
                else f"time of format={self.format!r}"
                if self.format
                else "time as 2024-05-01T10:00:00Z"
            )
            refuse(at, f"{text!r} is no {rule}" + ("" if self.unit else f" in {RANGE}"))
        return result

    def _at_once(self, texts: pa.Array, refuse: Refuse) -> Found:
        """Read text that is all of one kind, the usual ones, or none of it."""
        import pyarrow as pa
        from pyarrow import compute

        first, zone = texts[0].as_py(), str(self.timezone)
        none = np.zeros(len(texts), np.int64), np.zeros(len(texts), bool)
        if re.fullmatch(NUMBER, first):
            numbers = text_numbers(texts)
            return none if numbers is None else (self._since_1970(numbers, refuse), ~none[1])
        # Arrow goes through all of a column even where it cannot read the first one
        if first.endswith(" UTC"):
            if not compute.all(compute.ends_with(texts, " UTC")).as_py():
                return none
            texts, zone = compute.utf8_slice_codeunits(texts, 0, -4), "UTC"
        kind = pa.timestamp("ns", "UTC" if re.search(r".{10}.*([Zz]|[+-][0-9:]+)$", first) else None)
        try:
            values = np.asarray(texts.cast(kind).cast(pa.int64()))
        except pa.ArrowInvalid:
            return none
        return utc(values, zone if kind.tz is None else "UTC"), ~none[1]

    def _of_numerals(self, texts: Any, refuse: Refuse) -> Found:
        numbers, found = numerals(texts)
        places, values = np.flatnonzero(found), np.zeros(len(found), np.int64)
        values[places] = self._since_1970(numbers[places], partial(_refuse_at, refuse, places))
        return values, found


def _by_pattern(pattern: str, zone: str, texts: Any, _: Refuse) -> Found:
    return read(pattern, texts, zone)


def _refuse_at(refuse: Refuse, places: NDArray[np.intp], at: int, what: str) -> None:
    """Refuse one of some times, whose ``places`` are those among all."""
    refuse(int(places[at]), what)


def _misfit(value: float) -> str:
    """Say of a number that is no time in seconds what it may be."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e18:
        value = int(value)  # as it was written
    for unit in ("ms", "us", "ns"):
        if OLDEST <= value * UNITS[unit] <= clock() + AHEAD:
            return f"{value!r} is no time in seconds since 1970: it fits unit={unit!r}"
    format = DIGITS.get(len(str(value))) if isinstance(value, int) else None
    if format and read(pattern_of(format), [str(value)], "UTC")[1][0]:
        return f"{value!r} is no time in seconds since 1970: it fits format={format!r}"
    try:
        when = f"be in the year {np.datetime64(int(value), 's').astype('M8[Y]')}"
    except (OverflowError, ValueError):
        when = "be in no year"
    return f"{value!r} would {when} if it were seconds since 1970: say unit= ('s' if it is meant so) or format="

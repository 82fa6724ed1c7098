"""Dates and times of day as text has them: patterns, and the hours of the world's zones.

A pattern is a regular expression whose groups are named by directives of :func:`time.strftime`; strings in Arrow's
memory and Python's are read by the same ones, all at once. Nothing depends on the locale, and no 31st of February
becomes a day in March, as C's strptime has it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone, tzinfo
from functools import lru_cache, partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._core import ArgumentTypeError, ParameterError

Field: TypeAlias = Callable[[Callable[[str], int]], NDArray[np.int64]]
"""What a function of a group's text gives, for each time."""

SECOND = 10**9
LOW, HIGH = -9_214_560_000 * SECOND, 9_214_646_400 * SECOND
"""From 1678 on and before 2262: the whole years whose nanoseconds since 1970 int64 holds."""

_ZONE = "(?P<z>[Zz]|UTC|GMT|[+-][0-9]{2}(?::?[0-9]{2})?)"
_FRACTION = "(?:[.,](?P<f>[0-9]{1,9}))?"
ISO = (
    "(?P<Y>[0-9]{4})-(?P<m>[0-9]{2})-(?P<d>[0-9]{2})(?:[Tt ](?P<H>[0-9]{2})"
    f"(?::(?P<M>[0-9]{{2}})(?::(?P<S>[0-9]{{2}}){_FRACTION})?)?(?: ?{_ZONE})?)?",
    "(?P<Y>[0-9]{4})(?P<m>[0-9]{2})(?P<d>[0-9]{2})[Tt](?P<H>[0-9]{2})(?P<M>[0-9]{2})(?P<S>[0-9]{2})"
    f"{_FRACTION}(?: ?{_ZONE})?",
)
"""ISO 8601, with the liberties that logs take: a space for the T, " UTC" at the end."""

MONTHS = ["january", "february", "march", "april", "may", "june"]
MONTHS += ["july", "august", "september", "october", "november", "december"]
DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]

_TWO = ("d", "m", "H", "I", "M", "S", "y")
"""Directives of one or two digits."""
_DIRECTIVES = {
    "Y": "(?P<Y>[0-9]{4})",
    **{name: f"(?P<{name}>[0-9]{{1,2}})" for name in _TWO},
    "f": "(?P<f>[0-9]{1,9})",
    "b": f"(?P<b>(?i:{'|'.join(name[:3] for name in MONTHS)}))",
    "B": f"(?P<b>(?i:{'|'.join(MONTHS)}))",
    "p": "(?P<p>(?i:am|pm))",
    "a": f"(?i:{'|'.join(name[:3] for name in DAYS)})",
    "A": f"(?i:{'|'.join(DAYS)})",
    "z": _ZONE,
    "Z": _ZONE,
    "%": "%",
}


@lru_cache(maxsize=64)
def pattern_of(format: Any) -> str:
    """Return the pattern that a format of strptime stands for.

    Digits that no other character parts from the next ones must be all there: "%d%m%Y" reads no 1052024.
    """
    if not isinstance(format, str):
        raise ArgumentTypeError(f"format must be a pattern such as '%d/%m/%Y %H:%M', or several, got {format!r}")
    pieces = re.findall(r"%.?|[^%]+", format, re.DOTALL)
    digits = {"%" + name for name in (*_TWO, "Y", "f")}
    pattern = ""
    for at, piece in enumerate(pieces):
        if not piece.startswith("%"):
            pattern += re.sub(r"(\\?\s)+", r"\\s+", re.escape(piece))
            continue
        if piece[1:] not in _DIRECTIVES:
            known = ", ".join("%" + name for name in _DIRECTIVES)
            raise ParameterError(f"format may hold {known}, not {piece!r}; got {format!r}")
        directive = _DIRECTIVES[piece[1:]]
        beside = [pieces[at - 1][-2:] if at else "", pieces[at + 1] if at + 1 < len(pieces) else ""]
        if any(other in digits or other[:1].isdigit() or other[-1:].isdigit() for other in beside):
            directive = directive.replace("{1,2}", "{2}")
        pattern += directive
    try:
        groups = re.compile(pattern).groupindex
    except re.error:
        raise ParameterError(f"format must hold each directive once, got {format!r}") from None
    if not ({"Y", "y"} & groups.keys() and {"m", "b"} & groups.keys() and "d" in groups):
        raise ParameterError(f"format must tell year, month and day, got {format!r}")
    if ("I" in groups) != ("p" in groups):
        raise ParameterError(f"format must hold %I and %p together, got {format!r}")
    return pattern


def read(pattern: str, texts: Any, zone: str) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the nanoseconds of what a pattern fits, and where it does and the time exists."""
    fields: dict[str, Field]
    fields, found = (_python_fields if isinstance(texts, list) else _arrow_fields)(pattern, texts)

    def number(name: str, default: int = 0) -> NDArray[np.int64]:
        return fields[name](int) if name in fields else np.full(len(found), default, np.int64)

    year = number("Y")
    if "y" in fields:
        year = number("y")
        year += np.where(year < 69, 2000, 1900)
    month = fields["b"](_month) if "b" in fields else number("m")
    day, hour, minute, second = (number(name) for name in "dHMS")
    fraction = fields["f"](_nanoseconds) if "f" in fields else number("f")
    if "I" in fields:
        hour = number("I")
        found &= (hour >= 1) & (hour <= 12)
        hour = hour % 12 + 12 * fields["p"](lambda text: text.lower() == "pm")
    months = np.where((month >= 1) & (month <= 12), (year - 1970) * 12 + month - 1, 0)
    first, beyond = (some.astype("M8[M]").astype("M8[D]").astype(np.int64) for some in (months, months + 1))
    found &= (month >= 1) & (month <= 12) & (day >= 1) & (day <= beyond - first)
    found &= (hour < 24) & (minute < 60) & (second <= 60)  # a leap second is the next minute's first
    seconds = (first + day - 1) * 86_400 + hour * 3600 + minute * 60 + second
    # a day is left for the offset
    found &= (seconds > LOW // SECOND + 86_400) & (seconds < HIGH // SECOND - 86_400)
    local = np.where(found, seconds, 0) * SECOND + fraction
    if "z" not in fields:
        return utc(local, zone), found
    offset = fields["z"](_offset)
    found &= offset != _NO_OFFSET
    if zone == "UTC" or (offset != _LOCAL).all():
        return local - np.where(offset == _LOCAL, 0, offset) * SECOND, found
    return np.where(offset == _LOCAL, utc(local, zone), local - offset * SECOND), found


_LOCAL, _NO_OFFSET = 10**6, 10**6 + 1
"""No zone is told; one that is none."""


def _offset(text: str) -> int:
    """Return seconds east of Greenwich."""
    if not text:
        return _LOCAL
    if text[0] not in "+-":
        return 0
    digits = text[1:].replace(":", "").ljust(4, "0")
    hours, minutes = int(digits[:2]), int(digits[2:])
    if hours > 23 or minutes > 59:
        return _NO_OFFSET
    return (hours * 3600 + minutes * 60) * (-1 if text[0] == "-" else 1)


def _month(text: str) -> int:
    return next((at for at, name in enumerate(MONTHS, 1) if text and name.startswith(text.lower())), 0)


def _nanoseconds(text: str) -> int:
    return int(text.ljust(9, "0"))


def _python_fields(pattern: str, texts: Sequence[str]) -> tuple[dict[str, Field], NDArray[np.bool_]]:
    compiled = re.compile(pattern)
    matches = [compiled.fullmatch(text.strip()) for text in texts]

    def field(name: str, function: Callable[[str], int]) -> NDArray[np.int64]:
        values = (found[name] or "" if found else "" for found in matches)
        numbers = (int(value or 0) if function is int else function(value) for value in values)
        return np.fromiter(numbers, np.int64, len(texts))

    fields: dict[str, Field] = {name: partial(field, name) for name in compiled.groupindex}
    return fields, np.fromiter((found is not None for found in matches), bool, len(texts))


def _arrow_fields(pattern: str, texts: Any) -> tuple[dict[str, Field], NDArray[np.bool_]]:
    import pyarrow as pa
    from pyarrow import compute

    struct = compute.extract_regex(texts, rf"\A\s*(?:{pattern})\s*\z")

    def field(strings: Any, function: Callable[[str], int]) -> NDArray[np.int64]:
        if function is _nanoseconds:
            strings, function = compute.utf8_rpad(strings, 9, "0"), int
        if function is int:
            whole = compute.if_else(compute.equal(strings, ""), "0", strings)
            return np.array(whole.cast(pa.int64()))
        coded = strings.dictionary_encode()  # of few different ones
        values = np.array([function(text) for text in coded.dictionary.to_pylist()], np.int64)
        numbers: NDArray[np.int64] = values[np.asarray(coded.indices)]
        return numbers

    fields: dict[str, Field] = {name: partial(field, struct.field(name)) for name in re.compile(pattern).groupindex}
    return fields, np.array(compute.is_valid(struct))


# ----------------------------------------------------------------------------------------------------------------------
# zones


def zone_name(zone: Any) -> str:
    """Return the name of a zone that exists."""
    from zoneinfo import ZoneInfo, available_timezones

    name = zone.key if isinstance(zone, ZoneInfo) else "UTC" if zone is timezone.utc else zone
    if isinstance(name, str) and name:
        try:
            if name != "UTC":
                ZoneInfo(name)
            return name
        except (ValueError, OSError, KeyError):
            pass
    hint = "" if available_timezones() else "; this system knows no zones: pip install tzdata"
    raise ParameterError(f"timezone must be an IANA name such as 'Europe/Berlin', got {zone!r}{hint}")


def utc(local: NDArray[np.int64], zone: str) -> NDArray[np.int64]:
    """Return the nanoseconds in UTC of local ones.

    The first of two where an hour comes twice; where one is left out, as much later as if it were not.
    """
    if zone == "UTC" or not len(local):
        return local
    from zoneinfo import ZoneInfo

    info = ZoneInfo(zone)
    days, of_day = np.unique(local // (86_400 * SECOND), return_inverse=True)
    offsets = np.array([_day_offset(info, int(day)) for day in days], np.int64)[of_day]
    at_change = offsets == _LOCAL
    if at_change.any():  # a few days of the year
        seconds, of_second = np.unique(local[at_change] // SECOND, return_inverse=True)
        offsets[at_change] = np.array([_local_offset(info, int(second)) for second in seconds], np.int64)[of_second]
    return local - offsets * SECOND


@lru_cache(maxsize=1 << 16)
def _day_offset(zone: tzinfo, day: int) -> int:
    """Return seconds east of Greenwich all through a local day, _LOCAL if they change."""
    first = _local_offset(zone, day * 86_400)
    return first if first == _local_offset(zone, (day + 1) * 86_400) else _LOCAL


def _local_offset(zone: tzinfo, second: int) -> int:
    offset = (datetime(1970, 1, 1, tzinfo=zone) + timedelta(seconds=second)).utcoffset()
    assert offset is not None
    return round(offset.total_seconds())

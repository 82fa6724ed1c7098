"""Columns of times as they come: of Python, NumPy, pandas, polars and Arrow, told apart and rid of what is missing."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import date, timedelta, timezone
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._core import ArgumentTypeError, DataError, check_vector, number_types
from .storage import has_pyarrow

NUMBER = r"[+-]?[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?"
"""Text that is one."""
_COMPARED = (float, np.floating, np.datetime64, np.timedelta64)
"""What may differ from itself, and is missing then."""


class Column(NamedTuple):
    """Times that are there, before they are read."""

    kind: str
    """ "int", "float", "span", "date", or "text"."""
    values: Any
    """Numbers, timedelta64, datetime64; of text an Arrow array of strings, or a list where there is no pyarrow."""
    zoned: bool
    """Whether dates are in UTC already."""
    places: NDArray[np.intp] | None
    """Where they are, None if none is missing."""
    size: int
    """With those that are missing."""


def column_of(name: str, values: Any) -> Column:
    """Return the times of a column that are there, as what they are."""
    numpys = isinstance(values, (np.ndarray, list, tuple)) or isinstance(getattr(values, "dtype", None), np.dtype)
    arrow = not numpys and (hasattr(values, "__arrow_c_stream__") or hasattr(values, "__arrow_c_array__"))
    if arrow and has_pyarrow():
        return _arrow_column(name, values)
    array = check_vector(name, values)
    if array.dtype.kind in "UT":
        array = array.astype(object)
    if array.dtype.kind == "f" and array.dtype.itemsize != 8:
        array = array.astype(np.float64)
    zoned = getattr(getattr(values, "dtype", None), "time_zone", None) is not None  # polars' without pyarrow
    if array.dtype.kind == "O":
        return _object_column(name, array)
    kind = {"i": "int", "u": "int", "f": "float", "M": "date", "m": "span"}.get(array.dtype.kind)
    if kind is None:
        raise ArgumentTypeError(f"{name} must be times, got {array.dtype}")
    missing = np.isnan(array) if kind == "float" else np.isnat(array) if kind in ("date", "span") else np.zeros(1, bool)
    places = np.flatnonzero(~missing) if missing.any() else None
    return Column(kind, array if places is None else array[places], zoned, places, len(array))


def _arrow_column(name: str, values: Any) -> Column:
    import pyarrow as pa
    from pyarrow import compute
    from pyarrow import types as of

    column = values if isinstance(values, (pa.Array, pa.ChunkedArray)) else pa.chunked_array(values)
    if isinstance(column, pa.ChunkedArray):
        column = (column.unify_dictionaries() if of.is_dictionary(column.type) else column).combine_chunks()
    if of.is_dictionary(column.type):
        column = _without_views(column.dictionary).take(column.indices)
    column = _without_views(column)
    kind, size, zoned = column.type, len(column), False
    if of.is_null(kind):
        return Column("int", np.zeros(0, np.int64), False, np.zeros(0, np.intp), size)
    text = of.is_string(kind) or of.is_large_string(kind)
    missing = np.asarray(column.is_null())
    if text:
        missing |= np.asarray(compute.equal(column, "").fill_null(False))
    places = np.flatnonzero(~missing) if missing.any() else None
    if places is not None:
        column = column.take(pa.array(places))
    if text:
        return Column("text", column, False, places, size)
    if of.is_decimal(kind):
        column = column.cast(pa.int64() if kind.scale == 0 else pa.float64())
    elif of.is_date(kind) or of.is_timestamp(kind) or of.is_duration(kind):
        zoned = of.is_timestamp(kind) and kind.tz is not None
        unit = "D" if of.is_date32(kind) else "ms" if of.is_date64(kind) else kind.unit
        width = column.view(pa.int32() if unit == "D" else pa.int64())
        spans = of.is_duration(kind)
        array = np.asarray(width).astype(np.int64).view(f"{'m' if spans else 'M'}8[{unit}]")
        return Column("span" if spans else "date", array, zoned, places, size)
    elif not (of.is_integer(kind) or of.is_floating(kind)):
        raise ArgumentTypeError(f"{name} must be times, got {kind}")
    array = np.asarray(column)
    rest = column_of(name, array)  # NaN is missing, too
    if rest.places is not None:
        places = rest.places if places is None else places[rest.places]
    return rest._replace(places=places, size=size)


def _without_views(column: Any) -> Any:
    """Return text in a layout that Arrow has more functions for."""
    return column.cast("large_string") if str(column.type) == "string_view" else column


def _object_column(name: str, array: NDArray[Any]) -> Column:
    objects = array.tolist()
    missing = np.fromiter(map(is_missing, objects), bool, len(objects))
    places = np.flatnonzero(~missing) if missing.any() else None
    if places is not None:
        objects = [objects[at] for at in places.tolist()]
    of_kind = {kind: _kind(kind) for kind in set(map(type, objects))}
    kinds = sorted(set(of_kind.values()))
    if kinds == ["float", "int"]:
        kinds = ["float"]
    if len(kinds) > 1 or kinds == ["other"]:
        first = of_kind[type(objects[0])]
        odd = next(at for at, each in enumerate(objects) if first == "other" or of_kind[type(each)] != first)
        at = odd if places is None else int(places[odd])
        raise ArgumentTypeError(
            f"{name} must be times, all of one kind, got {objects[odd]!r} ({type(objects[odd]).__name__}) "
            f"at position {at}"
        )
    kind, zoned = kinds[0] if kinds else "int", False
    values: NDArray[Any] = np.zeros(0, np.int64)
    if kind == "text":
        texts = [str(each) for each in objects]
        return Column(kind, as_strings(texts), False, places, len(array))
    if kind == "date":
        zoned, values = _dates(name, objects)
    elif kind == "span":
        values = np.array(objects, "m8[ns]")
    elif objects:
        try:
            values = np.array(objects, np.float64 if kind == "float" else np.int64)
        except OverflowError:
            raise DataError(f"{name} must be times within 64 bits") from None
    return Column(kind, values, zoned, places, len(array))


def as_strings(texts: list[str]) -> Any:
    """Return text as Arrow has it, where there is pyarrow."""
    if not has_pyarrow():
        return texts
    import pyarrow as pa

    try:
        return pa.array(texts, pa.large_string())
    except UnicodeEncodeError:  # half a surrogate pair
        return texts


def is_missing(value: Any) -> bool:
    """Whether a value is none: None, what NumPy and pandas have for it, or empty."""
    if isinstance(value, str | bytes):
        return not value
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, _COMPARED) and bool(value != value)


def _kind(kind: type) -> str:
    if issubclass(kind, (bool, np.bool_)):
        return "other"
    for name, types in (
        ("text", (str,)),
        ("date", (date, np.datetime64)),
        ("span", (timedelta, np.timedelta64)),
        ("int", (int, np.integer)),
        ("float", number_types()),
    ):
        if issubclass(kind, types):
            return name
    return "other"


def _dates(name: str, objects: list[Any]) -> tuple[bool, NDArray[Any]]:
    """Return dates and times of Python, NumPy or pandas, and whether they are in UTC."""
    aware = [getattr(each, "tzinfo", None) is not None for each in objects]
    if any(aware) and not all(aware):
        at = aware.index(not aware[0])
        raise ArgumentTypeError(f"{name} must all tell their zone, or none, got {objects[at]!r} at position {at}")
    if any(aware):
        objects = list(map(_in_utc, objects))
    if all(isinstance(each, np.datetime64) for each in objects):
        return False, np.array(objects)
    fine = np.array([getattr(each, "nanosecond", 0) for each in objects], np.int64)
    values: NDArray[Any] = np.array(objects, "M8[us]")
    return any(aware), values.astype("M8[ns]") + fine if fine.any() else values


def _in_utc(time: Any) -> Any:
    with suppress(OverflowError):  # in the first or the last year of all, which are refused in any zone
        time = time.astimezone(timezone.utc)
    return time.replace(tzinfo=None)


def text_numbers(texts: Any) -> NDArray[Any] | None:
    """Return the numbers that text writes, integers if all are; None if it does not."""
    if isinstance(texts, list):
        if not all(re.fullmatch(NUMBER, text.strip()) for text in texts):
            return None
        try:
            return np.array([int(text) for text in texts], np.int64)
        except (ValueError, OverflowError):
            return np.array([float(text) for text in texts])
    import pyarrow as pa

    for kind in (pa.int64(), pa.float64()):
        try:
            return np.asarray(texts.cast(kind))
        except pa.ArrowInvalid:
            pass
    return None


def numerals(texts: Any) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return the numbers that text writes, and where it does; 0 elsewhere."""
    numbers = text_numbers(texts)
    if numbers is not None:
        return numbers, np.ones(len(texts), bool)
    strings = listed(texts)
    found = np.array([re.fullmatch(NUMBER, text.strip()) is not None for text in strings])
    numbers = text_numbers([text for text, fits in zip(strings, found, strict=True) if fits])
    assert numbers is not None
    values = np.zeros(len(strings), numbers.dtype)
    values[found] = numbers
    return values, found


def number_dtype(name: str, values: Any) -> np.dtype[Any] | None:
    """Return int64 or float64, whichever holds times that are numbers; None where they are dates."""
    column = column_of(name, values)
    numbers = text_numbers(column.values) if column.kind == "text" else column.values
    if numbers is None or column.kind in ("date", "span"):
        return None
    return np.dtype(np.float64 if numbers.dtype.kind == "f" else np.int64)


def listed(texts: Any) -> list[str]:
    """Return text as strings of Python."""
    strings: list[str] = texts if isinstance(texts, list) else texts.to_pylist()
    return strings


def chosen(texts: Any, keep: NDArray[np.bool_]) -> Any:
    """Return some of the texts."""
    if isinstance(texts, list):
        return [text for text, kept in zip(texts, keep.tolist(), strict=True) if kept]
    import pyarrow as pa

    return texts.filter(pa.array(keep))

"""Records of text judged one by one: the slow way to what pyarrow reads, and the only one that knows what is wrong.

Where pyarrow reads a block without a doubt, its answer is taken. Everything else, and every error, is from here, so
that results and messages do not depend on what is installed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._core import tables

if TYPE_CHECKING:
    from .bad_rows import BadRows
    from .blocks import Block
    from .dialect import Dialect

MISSING_ID, OTHER_KIND = "missing id", "id of another kind"
NUMBER, TIME, VALUE = "bad number", "bad time", "bad value"
FIELDS, HEADER, ENCODING, JSON = "wrong number of fields", "header line again", "bad encoding", "no JSON object"
"""Kinds of bad rows."""

MISSING, MISSING_NUMBER = "the id is missing", "the number is missing"

INTEGER = re.compile("0|-?[1-9][0-9]{0,19}")
"""The usual decimal form, but for the bound."""

NULL_WORDS = ("NULL", "\\N", "NA", "N/A", "nan", "None", "<NA>")
"""Words for a missing value that tell nothing of the kind of ids, in any letter case."""

WHOLE = 2.0**53
"""Where float64 no longer tells whole numbers apart."""

TRUTH = {"true": 1.0, "false": 0.0}


class Wanted(NamedTuple):
    """A column that is read, and as what."""

    name: str
    type: Any
    """An Arrow type, None where there is no Arrow."""
    role: str = "value"
    """"id", "number", or "value": neither."""
    integer: bool = False
    """Ids that must be integers."""
    text: bool = False
    """Ids that numbers are written out for."""
    required: bool = False
    """Numbers that must be there."""
    finite: bool = False
    """Numbers that must be finite."""
    hint: str = ""
    """What is said besides of text where a number is wanted."""


Parsed: TypeAlias = tuple[list[list[Any]], list[int]]
"""Columns, and the line of each row, counted from the block's first, 0."""


class BadValueError(ValueError):
    """A value is not what its column is to hold: kind, and what is said of it."""


# ---------------------------------------------------------------------------------------------------------------------
# values


def is_integer(text: str, end: int = 2**63) -> bool:
    """Whether text is the usual decimal form of an int64; ``end`` 2**64: of it or of a uint64."""
    return bool(INTEGER.fullmatch(text)) and -(2**63) <= int(text) < end


def is_unicode(text: str) -> bool:
    """Whether text holds no surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_whole(number: float) -> bool:
    return abs(number) < WHOLE and number == number // 1


def is_null_word(text: str) -> bool:
    """Whether text is what databases and others write for nothing."""
    return text.lower() in map(str.lower, NULL_WORDS)


def no_integer(value: Any) -> str:
    """Say what is wrong with an id."""
    if isinstance(value, float):
        return f"{value!r} is no whole number" + (", or too large to be sure of it" if isfinite(value) else "")
    said = f"{value!r} is no integer, as the ids of this column are: say ids='text' if they are text"
    if isinstance(value, str) and is_null_word(value):
        said = f"{value!r} is no integer, as the ids of this column are: say nulls=[{value!r}] if it stands for nothing"
    return said + ", or on_bad_rows='skip'"


def number_of(text: str, decimal: str = ".") -> float:
    """Return the number, or truth value, that text writes.

    Raises
    ------
    ValueError
        It writes none.
    """
    if (truth := TRUTH.get(text.lower())) is not None:
        return truth
    plain = text if decimal == "." else text.replace(",", ".")
    if not text.isascii() or "_" in text or (decimal != "." and "." in text):
        raise ValueError(text)
    return float(plain)


def _number(text: str, decimal: str, column: Wanted) -> float | None:
    if text == "":
        if column.required:
            raise BadValueError(NUMBER, MISSING_NUMBER)
        return None
    try:
        number = number_of(text, decimal)
    except ValueError:
        raise BadValueError(NUMBER, f"{text!r} is no number{column.hint}") from None
    if column.finite and not isfinite(number):
        raise BadValueError(NUMBER, f"{number} is no finite number")
    return number


def _id_of_text(text: str, column: Wanted) -> str:
    if not text:
        raise BadValueError(MISSING_ID, MISSING)
    if column.integer and not is_integer(text):
        raise BadValueError(OTHER_KIND, no_integer(text))
    return text


def _arrow_value(value: Any, kind: Any) -> Any:
    """Return what Arrow makes of a value of no other role, a time above all."""
    import pyarrow as pa

    if value is None or value == "":
        return None
    try:
        array = pa.array([value])
        return array.cast(kind)[0].as_py() if str(kind) != "timestamp[ns]" else array.cast(kind)[0].value
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        is_time = pa.types.is_temporal(kind)
        raise BadValueError(TIME if is_time else VALUE, f"{value!r} is no {words(kind)}") from None


def words(kind: Any) -> str:
    """Name a type in messages."""
    return {"double": "number", "bool": "truth value", "string": "text", "int64": "integer"}.get(
        str(kind), str(kind).split("[", maxsplit=1)[0].split("<", maxsplit=1)[0]
    )


# ---------------------------------------------------------------------------------------------------------------------
# CSV


def csv_rows(block: Block, header: Sequence[str], columns: Sequence[Wanted], bad: BadRows) -> Parsed:
    """Return columns of a block of CSV; ``header`` names all of them."""
    dialect = block.dialect
    nulls = {*dialect.nulls}
    readers: list[tuple[int, str, Callable[[str], Any]]] = [
        (header.index(column.name), column.name, _reader_of_text(column, dialect)) for column in columns
    ]
    values: list[list[Any]] = [[] for _ in columns]
    lines: list[int] = []
    for line, row in block.records():

        def report(kind: str, name: str | None, what: str, line: int = line) -> None:
            bad.report(block.found, block.file, f"line {block.line + line}", kind, name, what)

        if len(row) != len(header):
            what = "columns name" if dialect.columns else "the header has"
            report(FIELDS, None, f"{len(row)} fields, but {what} {len(header)}")
            continue
        if row == list(header) and dialect.columns is None:
            report(HEADER, None, "the header line again: say on_bad_rows='skip' to pass over such")
            continue
        read = []
        for at, name, reader in readers:
            text = row[at]
            try:
                if not text.isascii():
                    text.encode()
                read.append(reader("" if text in nulls else text))
            except UnicodeEncodeError:
                shown = text.encode("utf-8", "surrogateescape").decode("latin-1")
                report(ENCODING, name, f"{shown!r} is no UTF-8: say encoding='latin-1', or what it is")
                break
            except BadValueError as error:
                report(error.args[0], name, error.args[1])
                break
        else:
            lines.append(line)
            for column, value in zip(values, read, strict=True):
                column.append(value)
    return values, lines


def _reader_of_text(column: Wanted, dialect: Dialect) -> Callable[[str], Any]:
    if column.role == "id":
        return lambda text: _id_of_text(text, column)
    if column.role == "number":
        return lambda text: _number(text, dialect.decimal, column)
    if column.type is None or str(column.type) == "string":
        return lambda text: text or None
    return lambda text: _arrow_value(text, column.type)


# ---------------------------------------------------------------------------------------------------------------------
# JSON lines


def json_objects(block: Block, bad: BadRows) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield the objects of a block, and their lines, counted from the block's first, 0."""
    for line, text in enumerate(block.data.splitlines()):
        if not text.strip():
            continue
        try:
            found = json.loads(text)
            if not isinstance(found, dict):
                raise ValueError("it is no object")
        except (ValueError, RecursionError) as error:
            place, what = f"line {block.line + line}", f"cannot be read as JSON lines: {error}"
            bad.report(block.found, block.file, place, JSON, None, what)
            continue
        yield line, found


def json_rows(block: Block, columns: Sequence[Wanted], bad: BadRows) -> Parsed:
    """Return columns of a block of JSON lines."""
    values: list[list[Any]] = [[] for _ in columns]
    lines: list[int] = []
    for line, found in json_objects(block, bad):
        read = []
        for column in columns:
            try:
                read.append(_value_of_json(found.get(column.name), column))
            except BadValueError as error:
                place = f"line {block.line + line}"
                bad.report(block.found, block.file, place, error.args[0], column.name, error.args[1])
                break
        else:
            lines.append(line)
            for values_of_column, value in zip(values, read, strict=True):
                values_of_column.append(value)
    return values, lines


def _value_of_json(value: Any, column: Wanted) -> Any:
    if column.role == "id":
        return _id_of_json(value, column)
    if column.role == "number":
        if value is None:
            if column.required:
                raise BadValueError(NUMBER, MISSING_NUMBER)
            return None
        try:
            if not isinstance(value, (bool, int, float)):
                raise TypeError
            number = float(value)
        except (TypeError, OverflowError):
            raise BadValueError(NUMBER, f"{value!r} is no number{column.hint}") from None
        if column.finite and not isfinite(number):
            raise BadValueError(NUMBER, f"{number} is no finite number")
        return number
    return _arrow_value(value, column.type)


def _id_of_json(value: Any, column: Wanted) -> Any:
    """Return an id: a string, or a whole number where the column's type is none of text."""
    import pyarrow as pa

    if value is None or value == "":
        raise BadValueError(MISSING_ID, MISSING)
    whole = isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
    if pa.types.is_integer(column.type) or column.integer:
        if isinstance(value, str) and column.integer and is_integer(value):
            return value if str(column.type) == "string" else int(value)
        if isinstance(value, float) and _is_whole(value):
            value, whole = int(value), True
        if not whole:
            raise BadValueError(OTHER_KIND, no_integer(value))
        return str(value) if str(column.type) == "string" else value
    if pa.types.is_floating(column.type):
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not _is_whole(value):
            raise BadValueError(OTHER_KIND, no_integer(value))
        return float(value)
    if whole and column.text:
        return str(value)
    if not isinstance(value, str):
        raise BadValueError(OTHER_KIND, f"{value!r} is no text, as the ids of this column are: say ids='text'")
    if not is_unicode(value):
        raise BadValueError(ENCODING, f"{value!r} is no Unicode: it holds half a surrogate pair")
    return value


# ---------------------------------------------------------------------------------------------------------------------
# Arrow columns


def missing_ids(column: Any) -> NDArray[np.bool_] | None:
    """Return which ids of an Arrow array are null, or text without a character; None: none is."""
    import pyarrow as pa

    missing = np.asarray(column.is_null()) if column.null_count else None
    if pa.types.is_dictionary(column.type):
        return _of_categories(column, missing_ids(column.dictionary), missing)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        _, offsets = _text_of(column)
        empty = offsets[1:] == offsets[:-1]
        if empty.any():
            missing = empty if missing is None else missing | empty
    return missing


def no_integers(column: Any) -> NDArray[np.bool_] | None:
    """Return which strings of an Arrow array are not the usual form of an int64; None: all are, or there are none."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        return _of_categories(column, no_integers(column.dictionary), None)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)) or len(column) == 0:
        return None
    data, offsets = _text_of(column)
    at = tables.first_no_integer(data, offsets, 0)
    if at == len(column):
        return None
    bad = np.zeros(len(column), bool)
    while at < len(column):
        bad[at] = True
        at = tables.first_no_integer(data, offsets, at + 1)
    return bad


def no_wholes(column: Any) -> NDArray[np.bool_] | None:
    """Return which numbers of an Arrow array are not whole; None: all are, or it holds none with fractions."""
    import pyarrow as pa

    if not pa.types.is_floating(column.type):
        return None
    numbers = column.fill_null(0).to_numpy(zero_copy_only=False)
    bad = ~(np.abs(numbers) < min(WHOLE, 2.0 ** (np.finfo(numbers.dtype).nmant + 1))) | (np.floor(numbers) != numbers)
    return bad if bad.any() else None


def _text_of(column: Any) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """Return the bytes and the offsets of an Arrow array of strings."""
    dtype = np.dtype(np.int64 if str(column.type) == "large_string" else np.int32)
    _, offsets, data = column.buffers()
    if not len(column):
        return np.empty(0, np.uint8), np.zeros(1, dtype)
    bounds = np.frombuffer(offsets, dtype)[column.offset : column.offset + len(column) + 1]
    return np.frombuffer(data or b"", np.uint8), bounds


def _of_categories(
    column: Any, bad: NDArray[np.bool_] | None, others: NDArray[np.bool_] | None
) -> NDArray[np.bool_] | None:
    """Return which values of a dictionary array are of bad categories, or are among the others."""
    if bad is None:
        return others
    indices = column.indices.fill_null(0).to_numpy(zero_copy_only=False)
    found: NDArray[np.bool_] = bad[indices] if len(bad) else np.zeros(len(indices), bool)
    return found if others is None else found | others

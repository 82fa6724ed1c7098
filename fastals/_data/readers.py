"""Columns of users, items and values out of data frames and files; no frame library is imported.

pyarrow, where it is installed, makes strings and files fast; but for Parquet nothing needs it.
"""

import csv
import io
import zlib
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from itertools import accumulate, chain
from math import isfinite
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._core import (
    ArgumentTypeError,
    DataError,
    FastalsError,
    FileFormatError,
    ParameterError,
    check_path,
    check_same_length,
    check_vector,
)
from .batches import Source
from .checks import check_not_missing
from .labels import Coded, Rows, Text

if TYPE_CHECKING:
    import pyarrow as pa

USER_COLUMNS = ("user", "userId", "user_id")
ITEM_COLUMNS = ("item", "itemId", "item_id")
VALUE_COLUMNS = ("value", "rating", "count", "score")
"""Names by which columns are recognised where none are given, in any letter case."""

Columns: TypeAlias = tuple[tuple[Any, Any, Any], Sequence[str]]
"""Users, items and values (or None), and what messages call them."""

END = "\uffff"
"""What a line put behind the last one ends with; if there is more in front of it, an open quote has swallowed it."""

BLOCK_BYTES = 1 << 24
"""Bytes that pyarrow parses at a time."""

CHUNK_ROWS = 1 << 16
"""Rows that the slow reader holds as Python objects."""


SLICE_ROWS = 1 << 20
"""Rows of columns in memory that are worked on at once where not all may be."""


def is_frame(data: object) -> bool:
    """Whether data look like a data frame: a mapping, or columns that can be listed and taken by name."""
    return isinstance(data, Mapping) or (column_names(data) is not None and hasattr(data, "__getitem__"))


def column_names(frame: Any) -> list[str] | None:
    """Return the names of a frame's columns, None if it is no frame."""
    if isinstance(frame, Mapping):
        names: Any = frame.keys()
    else:
        names = getattr(frame, "column_names", None)  # Arrow
        if names is None:
            names = getattr(frame, "columns", None)  # pandas, polars
    try:
        return None if names is None else list(names)
    except TypeError:
        return None


def frame_columns(frame: Any, user: str | None, item: str | None, value: str | None) -> Columns:
    """Return the columns of a data frame."""
    names = column_names(frame)
    if names is None:
        raise ArgumentTypeError(f"frame must be a data frame or a mapping of arrays, got {type(frame).__name__}")
    chosen = choose_columns(names, user, item, value)
    labels = [f"column {name!r}" for name in chosen]
    try:
        columns = [None if name is None else frame[name] for name in chosen]
    except TypeError as error:
        raise ArgumentTypeError(f"columns of {type(frame).__name__} cannot be taken by name: {error}") from error
    users, items = (id_column(label, column) for label, column in zip(labels[:2], columns[:2], strict=True))
    return (users, items, _array(columns[2])), labels


def choose_columns(
    names: Sequence[str], user: str | None, item: str | None, value: str | None
) -> tuple[str, str, str | None]:
    """Return the three columns' names: those given, else those recognised; the value's None if there is none."""
    chosen = [
        choose_column(names, "user", user, USER_COLUMNS),
        choose_column(names, "item", item, ITEM_COLUMNS),
        choose_column(names, "value", value, VALUE_COLUMNS, optional=True),
    ]
    given = [name for name in chosen if name is not None]
    if len(set(given)) < len(given):
        raise ParameterError(f"user, item and value must be different columns, got {', '.join(map(repr, given))}")
    user_name, item_name, value_name = chosen
    assert user_name is not None
    assert item_name is not None
    return user_name, item_name, value_name


def choose_column(
    names: Sequence[str], argument: str, given: str | None, recognised: Sequence[str], optional: bool = False
) -> str | None:
    """Return the name of one column: the one given, else one that is recognised; None if an optional one is absent."""
    found = f"the columns are {', '.join(map(repr, names)) or 'none'}"
    if given is not None:
        # "" is how Spark says "no rating column"
        if optional and given == "":
            return None
        if list(names).count(given) != 1:
            times = "more than once" if given in names else "not"
            raise DataError(f"{argument} column {given!r} is {times} there; {found}")
        return given
    lower = {name.lower() for name in recognised}
    candidates = [name for name in names if isinstance(name, str) and name.lower() in lower]
    if len(candidates) == 1:
        return candidates[0]
    if optional and not candidates:
        return None
    rule = "several columns could be it" if candidates else f"no column is called {' or '.join(map(repr, recognised))}"
    raise DataError(f"{argument} column not recognised, {rule}: name it with {argument}=; {found}")


def _array(column: Any) -> Any:
    """Return what check_vector takes, without a copy where the column has NumPy's memory."""
    if isinstance(getattr(column, "dtype", None), np.dtype) or not hasattr(column, "to_numpy"):
        return column
    return column.to_numpy()


def id_column(name: str, column: Any) -> Any:
    """Return what ``factorize`` takes: strings in Arrow's memory stay there, categories are looked at once."""
    numpys = isinstance(getattr(column, "dtype", None), np.dtype)
    if numpys or not hasattr(column, "__arrow_c_stream__") or not has_pyarrow():
        return _array(column)
    import pyarrow as pa

    return arrow_ids(name, column if isinstance(column, pa.ChunkedArray) else pa.chunked_array(column))


def arrow_ids(name: str, column: "pa.ChunkedArray") -> Any:
    """Return what ``factorize`` takes, of a column that pyarrow holds."""
    import pyarrow as pa

    kind = column.type
    try:
        # what comes from elsewhere may lie about its memory
        column.validate(full=pa.types.is_dictionary(kind))
    except pa.ArrowInvalid as error:
        raise DataError(f"{name} is a broken Arrow array: {error}") from error
    if pa.types.is_dictionary(kind):
        column = column.unify_dictionaries().combine_chunks()
        if not column.dictionary.null_count:
            check_not_missing(name, column)
            return Coded(column.indices.to_numpy(), arrow_ids(name, pa.chunked_array([column.dictionary])))
        column = pa.chunked_array([column.dictionary_decode()])
    check_not_missing(name, column)
    if str(kind) == "extension<arrow.uuid>":
        return np.fromiter(column.to_pylist(), object, len(column))
    if str(kind) == "string_view":
        column = column.cast(pa.large_string())
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return Text(_text(column))
    return column.to_numpy()


def _text(column: "pa.ChunkedArray") -> list[tuple[NDArray[np.uint8], NDArray[Any]]]:
    """Return the bytes and the offsets of each chunk of strings."""
    dtype, chunks = np.int64 if str(column.type) == "large_string" else np.int32, []
    for chunk in column.chunks:
        if len(chunk):
            _, offsets, data = chunk.buffers()
            first, last = chunk.offset, chunk.offset + len(chunk) + 1
            chunks.append((np.frombuffer(data or b"", np.uint8), np.frombuffer(offsets, dtype)[first:last]))
    return chunks


def has_pyarrow() -> bool:
    """Whether pyarrow is installed."""
    return find_spec("pyarrow") is not None


# ----------------------------------------------------------------------------------------------------------------------
# files


class Files:
    """Files of one format, and which of their columns are read: what fastals._data.batches reads, local or not.

    Parameters
    ----------
    path, format, delimiter, columns
        As Source takes them.
    user, item, value : str, optional
        As choose_columns takes them.
    """

    def __init__(
        self,
        path: Any,
        user: str | None,
        item: str | None,
        value: str | None,
        *,
        format: str,
        delimiter: str | None = None,
        columns: Sequence[str] | None = None,
    ) -> None:
        self.source = Source(path, format=format, delimiter=delimiter, columns=columns)
        import pyarrow as pa

        try:
            self.chosen = choose_columns(self.source.schema.names, user, item, value)
        except DataError as error:
            raise DataError(f"{self.source.name}: {error}") from None
        text = pa.string() if format == "csv" else None
        self.types: dict[str, pa.DataType | None] = dict.fromkeys(self.chosen[:2], text)
        if self.chosen[2] is not None:
            self.types[self.chosen[2]] = pa.float64() if format != "parquet" else None
        self.names = [f"{self.source.name}, column {column!r}" for column in self.chosen]

    @property
    def metadata(self) -> dict[bytes, bytes]:
        """What Parquet says besides."""
        return self.source.schema.metadata or {}

    def read(self) -> Columns:
        """Return the columns of all rows."""
        return self._columns(self.source.table(self.types)), self.names

    def rows(self) -> Iterator[Rows]:
        """Yield the columns of some rows after the other."""
        import pyarrow as pa

        def plain(kind: pa.DataType) -> pa.DataType:
            return kind.value_type if pa.types.is_dictionary(kind) else kind

        types = {name: kind or plain(self.source.type_of(name)) for name, kind in self.types.items()}
        for batch in self.source.batches(types):
            columns = self._columns(pa.Table.from_batches([batch.rows]))
            where = f", in {batch.file}, counted from row {batch.first} on"
            for ids, name in zip(columns, self.chosen[:2], strict=False):
                if isinstance(ids, Text) and ids.numeric and (empty := ids.first_empty()) is not None:
                    raise DataError(f"{batch.file}: missing id at row {batch.first + empty}, column {name!r}")
            yield where, *columns

    def _columns(self, table: "pa.Table") -> tuple[Any, Any, Any]:
        """Return the columns of a table; ids of CSV may be numbers."""
        (users, items, values), _ = frame_columns(table, *(column or "" for column in self.chosen))
        if self.source.format == "csv":
            users, items = (replace(ids, numeric=True) if isinstance(ids, Text) else ids for ids in (users, items))
        return users, items, values


def array_rows(columns: Columns) -> Iterator[Rows]:
    """Yield columns in memory, or of mapped files, some rows after the other."""
    arrays, names = columns
    whole: list[Any] = [
        column if column is None or isinstance(column, Text | Coded) else check_vector(name, column)
        for column, name in zip(arrays, names, strict=True)
    ]
    check_same_length(dict(zip(names, whole, strict=True)))
    for first in range(0, len(whole[0]), SLICE_ROWS):
        rows = slice(first, first + SLICE_ROWS)
        users, items, values = (None if column is None else column[rows] for column in whole)
        yield f", counted from {first} on" if first else "", users, items, values


def read_csv(path: Any, user: str | None, item: str | None, value: str | None, delimiter: str) -> Columns:
    """Return the columns of a CSV file, ids as numeric Text.

    Where pyarrow reads it without a doubt, its answer is taken. Everything else, and every error, is the slow
    reader's, so that results and messages do not depend on what is installed.
    """
    name = check_path("path", path)
    if not isinstance(delimiter, str) or len(delimiter) != 1 or not delimiter.isascii() or delimiter in '\r\n"':
        raise ParameterError(f"delimiter must be one ASCII character, no quote and no line end, got {delimiter!r}")
    try:
        # utf-8-sig: spreadsheets put a byte order mark in front
        with _open(name) as file, io.TextIOWrapper(file, "utf-8-sig", newline="") as lines:
            rows = csv.reader(chain(lines, [END]), delimiter=delimiter)
            header = next(filter(None, rows))
            if header == [END]:
                raise FileFormatError(f"{name}: the file is empty")
            _check_closed(name, header)
            try:
                chosen = choose_columns(header, user, item, value)
            except DataError as error:
                raise DataError(f"{name}: {error}") from None
            columns = _read_csv_fast(name, header, chosen, delimiter) if has_pyarrow() else None
            columns = columns or _read_csv(name, rows, header, chosen)
    except FastalsError:
        raise
    except (csv.Error, UnicodeDecodeError) as error:
        raise FileFormatError(f"{name}: cannot be read as CSV: {error}") from error
    except (OSError, EOFError, zlib.error) as error:
        raise FileFormatError(f"{name}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    return columns, [f"{name}, column {column!r}" for column in chosen]


def _open(name: str) -> Any:
    if not name.endswith(".gz"):
        return open(name, "rb")
    import gzip  # which few programs need

    return gzip.open(name)


def _check_closed(name: str, row: Sequence[str]) -> None:
    if row[-1].endswith(END):
        raise FileFormatError(f"{name}: a quote is opened and never closed")


class _QuoteFoundError(Exception):
    """Raised in the midst of a file that was read as one without quotes."""


class _Source(io.RawIOBase):
    """A file and something behind it, as pyarrow reads it."""

    def __init__(self, file: Any, end: bytes, quotes: bool) -> None:
        self.file, self.end, self.quotes = file, end, quotes

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data: bytes = self.file.read(size)
        if not data:
            data, self.end = self.end, b""
        if not self.quotes and b'"' in data:
            raise _QuoteFoundError
        return data


def _read_csv_fast(
    name: str, header: Sequence[str], chosen: tuple[str, str, str | None], delimiter: str
) -> tuple[Any, Any, Any] | None:
    """Return users, items and values, None if there is anything that the slow reader might object to."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    user, item, value = chosen
    types = {user: pa.string(), item: pa.string()} | ({} if value is None else {value: pa.float64()})
    end = delimiter.join("0" if column == value else END for column in header)

    def read(quotes: bool) -> "pa.Table":
        with _open(name) as file:
            return arrow_csv.read_csv(
                _Source(file, f"\n{end}\n".encode(), quotes),
                # a block becomes a chunk of strings, large enough to be shared out to threads again
                read_options=arrow_csv.ReadOptions(block_size=BLOCK_BYTES),
                parse_options=arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=quotes),
                convert_options=arrow_csv.ConvertOptions(column_types=types, include_columns=list(types)),
            )

    try:
        try:
            # shared out to threads at line ends, which is wrong where some of them are quoted
            table = read(quotes=False)
        except _QuoteFoundError:
            table = read(quotes=True)
    except (OSError, EOFError, zlib.error, KeyError, pa.ArrowException):
        return None
    rows = len(table) - 1
    if table[user][rows].as_py() != END or table[item][rows].as_py() != END:
        return None
    table = table.slice(0, rows)
    users, items = (Text(_text(table[column]), numeric=True) for column in (user, item))
    if users.first_empty() is not None or items.first_empty() is not None:
        return None
    if value is None:
        return users, items, None
    values = table[value]
    if values.null_count:
        return None
    numbers = values.to_numpy()
    return (users, items, numbers) if np.isfinite(numbers).all() else None


def _read_csv(name: str, rows: Any, header: Sequence[str], chosen: tuple[str, str, str | None]) -> tuple[Any, Any, Any]:
    """Return what _read_csv_fast does, row by row; ``rows`` is a csv.reader behind the header."""
    users, items = _TextBuilder(), _TextBuilder()
    values = array("d")
    positions = [None if column is None else header.index(column) for column in chosen]
    user_position, item_position, value_position = positions

    def refuse(column: str | None, rule: str, got: str) -> NoReturn:
        raise DataError(f"{name}: {rule} at line {rows.line_num}, column {column!r}: {got!r}")

    for row in rows:
        if not row or row == [END]:
            continue
        _check_closed(name, row)
        if len(row) != len(header):
            raise FileFormatError(f"{name}: line {rows.line_num} has {len(row)} fields, but the header {len(header)}")
        for builder, column, position in ((users, chosen[0], user_position), (items, chosen[1], item_position)):
            text = row[position]
            if not text:
                refuse(column, "missing id", text)
            builder.append(text)
        if value_position is not None:
            text = row[value_position]
            try:
                number = float(text)
            except ValueError:
                refuse(chosen[2], "bad number", text)
            if "_" in text or not isfinite(number):
                refuse(chosen[2], "bad number", text)
            values.append(number)
    return users.text(), items.text(), None if value_position is None else np.asarray(values)


class _TextBuilder:
    """Text, string by string."""

    def __init__(self) -> None:
        self.chunks: list[tuple[NDArray[np.uint8], NDArray[Any]]] = []
        self.strings: list[str] = []

    def append(self, string: str) -> None:
        self.strings.append(string)
        if len(self.strings) == CHUNK_ROWS:
            self.flush()

    def flush(self) -> None:
        encoded = [string.encode() for string in self.strings]
        offsets = np.fromiter(accumulate(map(len, encoded), initial=0), np.int64, len(encoded) + 1)
        self.chunks.append((np.frombuffer(b"".join(encoded), np.uint8), offsets))
        self.strings.clear()

    def text(self) -> Text:
        self.flush()
        return Text(self.chunks, numeric=True)

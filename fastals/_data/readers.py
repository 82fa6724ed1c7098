"""Columns of users, items and values out of files.

pyarrow, where it is installed, makes CSV fast; everything else needs it.
"""

import csv
import io
import zlib
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate, chain
from math import isfinite, nan
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from .._core import (
    DataError,
    FastalsError,
    FileFormatError,
    ParameterError,
    check_path,
)
from .._files import Source, has_pyarrow
from .columns import Rows, Text
from .frames import Columns, choose_columns, frame_columns, is_numeric, text_chunks, unread_columns

if TYPE_CHECKING:
    import pyarrow as pa


SCORING = b"fastals.scoring"
"""Where a Parquet file of scores keeps the specification they were made by."""

SCORE, KNOWN = "score", "known"
"""Columns of files of scores. A pair that is merely known has no score there. In CSV, where an empty field may be
anything, a column behind all others says so; in Parquet the specification of the scores does, which others lack."""

END = "\uffff"
"""What a line put behind the last one ends with; if there is more in front of it, an open quote has swallowed it."""

BLOCK_BYTES = 1 << 24
"""Bytes that pyarrow parses at a time."""

CHUNK_ROWS = 1 << 16
"""Rows that the slow reader holds as Python objects."""


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

        schema = self.source.schema
        known = None if format == "csv" else lambda name: is_numeric(schema.field(name))
        try:
            self.chosen = choose_columns(schema.names, user, item, value, known)
        except DataError as error:
            raise DataError(f"{self.source.name}: {error}") from None
        self.unread = unread_columns(dict.fromkeys(schema.names), user, item, value)
        text = pa.string() if format == "csv" else None
        self.types: dict[str, pa.DataType | None] = dict.fromkeys(self.chosen[:2], text)
        if self.chosen[2] is not None:
            self.types[self.chosen[2]] = pa.float64() if format != "parquet" else None
        self.names = [f"{self.source.name}, column {column!r}" for column in self.chosen]
        self.unscored = self._has_scores()
        """Whether they are scores as fastals.scoring writes them, where a row without one is a known pair."""
        if self.unscored and format == "csv":
            self.types[KNOWN] = pa.bool_()

    def _has_scores(self) -> bool:
        if self.chosen[2] != SCORE:
            return False
        if self.source.format == "csv":
            return is_scores_header(self.source.schema.names)
        return SCORING in self.metadata and self.source.all_have(SCORING)

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
            where = f", in {batch.file}, counted from row {batch.first} on"
            columns = self._columns(pa.Table.from_batches([batch.rows]), where)
            for ids, name in zip(columns, self.chosen[:2], strict=False):
                if isinstance(ids, Text) and ids.numeric and (empty := ids.first_empty()) is not None:
                    raise DataError(f"{batch.file}: missing id at row {batch.first + empty}, column {name!r}")
            yield where, *columns

    def _columns(self, table: "pa.Table", where: str = "") -> tuple[Any, Any, Any]:
        """Return the columns of a table; ids of CSV may be numbers."""
        (users, items, values), _ = frame_columns(table, *(column or "" for column in self.chosen))
        if self.unscored:
            self._check_scores(table, values, where)
        if self.source.format == "csv":
            users, items = (replace(ids, numeric=True) if isinstance(ids, Text) else ids for ids in (users, items))
        return users, items, values

    def _check_scores(self, table: "pa.Table", values: NDArray[Any], where: str) -> None:
        """Refuse a score that is no number where none is missing, and one that is missing where the pair is scored."""
        from pyarrow import compute

        missing = table[SCORE].is_null()
        wrong = np.isnan(values) & ~np.asarray(missing)
        if KNOWN in table.column_names:
            wrong |= np.asarray(compute.not_equal(table[KNOWN].fill_null(False), missing))
        if wrong.any():
            at = int(np.argmax(wrong))
            got = {name: table[name][at].as_py() for name in (SCORE, KNOWN) if name in table.column_names}
            raise DataError(f"{self.names[2]}: bad score at position {at}{where}: {got}")


def is_scores_header(names: Sequence[str]) -> bool:
    """Whether CSV is of scores as fastals.scoring writes it where some pairs are known without one."""
    return list(names[-2:]) == [SCORE, KNOWN]


def read_csv(path: Any, user: str | None, item: str | None, value: str | None, delimiter: str) -> Columns:
    """Return the columns of a CSV file, ids as numeric Text.

    Values are finite, but for known pairs in files of scores, which have NaN.

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
    unscored = value == SCORE and is_scores_header(header)
    types = {user: pa.string(), item: pa.string()} | ({} if value is None else {value: pa.float64()})
    end = delimiter.join("0" if column == value else END for column in header)

    def read(quotes: bool) -> "pa.Table":
        with _open(name) as file:
            return arrow_csv.read_csv(
                _Source(file, f"\n{end}\n".encode(), quotes),
                # a block becomes a chunk of strings, large enough to be shared out to threads again
                read_options=arrow_csv.ReadOptions(block_size=BLOCK_BYTES),
                parse_options=arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=quotes),
                convert_options=arrow_csv.ConvertOptions(
                    column_types=types, include_columns=list(types), **({"null_values": [""]} if unscored else {})
                ),
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
    users, items = (Text(text_chunks(table[column]), numeric=True) for column in (user, item))
    if users.first_empty() is not None or items.first_empty() is not None:
        return None
    if value is None:
        return users, items, None
    values = table[value]
    if values.null_count and not unscored:
        return None
    numbers = values.to_numpy()
    # of scores only what is missing is no number
    return (users, items, numbers) if np.isfinite(numbers).sum() == len(numbers) - values.null_count else None


def _read_csv(name: str, rows: Any, header: Sequence[str], chosen: tuple[str, str, str | None]) -> tuple[Any, Any, Any]:
    """Return what _read_csv_fast does, row by row; ``rows`` is a csv.reader behind the header."""
    users, items = _TextBuilder(), _TextBuilder()
    values = array("d")
    positions = [None if column is None else header.index(column) for column in chosen]
    user_position, item_position, value_position = positions
    unscored = chosen[2] == SCORE and is_scores_header(header)

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
            if unscored and not text:
                values.append(nan)
                continue
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

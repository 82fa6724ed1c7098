"""Text as blocks of whole records, in UTF-8 and in plain CSV: what fast and slow readers both take.

A block is as large as what is read at once, so that memory is bounded whatever a file holds. Encodings, comments and
delimiters of several characters end here, and so do quotes that nothing closes.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .._core import FileFormatError, tables

if TYPE_CHECKING:
    from .bad_rows import BadRows, Finding
    from .dialect import Dialect

QUOTES = "bad quotes"
"""A kind of bad rows."""

BLOCK_BYTES = 1 << 23
"""Bytes that are read at once; a record must not be longer."""

COUNTED = 1 << 16
"""Bytes in which line ends are counted at once: what stays in a cache."""

LINE_END = re.compile(rb"[\r\n]")

_BAD_RECORDS = {
    tables.RECORDS_OPEN: "a quote is opened and never closed: say quoting=False if quotes are text",
    tables.RECORDS_BAD: "text stands behind a closing quote: say quoting=False if quotes are text",
    tables.RECORDS_HALF: "nothing follows the escape that the file ends with",
}

STAND_INS = bytes([*range(0x1C, 0x20), *range(1, 9), *range(0x0E, 0x1C), 0x7F])
"""Control characters, one of which stands for a delimiter that is not one byte: any that a block does not hold."""


class Block(NamedTuple):
    """Whole records in UTF-8, lines of which the first is line ``line`` of the file."""

    file: str
    line: int
    data: bytes
    dialect: Dialect
    delimiter: bytes
    """One byte; where the dialect's own is longer, one that stands for it, between quotes too."""
    special: bool
    """Whether there are quotes or escapes."""
    found: list[Finding]
    """Records that are none, and not there any more."""

    def _restored(self, text: str) -> str:
        """Return a value as it stands in the file."""
        stands, delimiter = self.delimiter.decode(), self.dialect.delimiter
        return text if not self.special or stands == delimiter else text.replace(stands, str(delimiter))

    def n_lines(self) -> int:
        """Return how many lines there are."""
        return count_lines(self.data) + (not self.data.endswith((b"\n", b"\r")))

    def records(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the records of CSV, and the lines that they end in, counted from the block's first, 0."""
        dialect = self.dialect
        csv.field_size_limit(max(csv.field_size_limit(), 2 * BLOCK_BYTES))
        lines = chain(_lines(self.data), [b"\n"])  # the reader takes a line end that is escaped for no end
        reader = csv.reader(
            (line.decode("utf-8", "surrogateescape") for line in lines),
            delimiter=self.delimiter.decode(),
            quoting=csv.QUOTE_MINIMAL if dialect.quoting else csv.QUOTE_NONE,
            escapechar=dialect.escape,
            strict=True,
        )
        for row in filter(None, reader):
            yield reader.line_num - 1, [self._restored(text) for text in row] if self.special else row

    def header(self) -> tuple[list[str], Block]:
        """Return the first record of a file and the block behind it; none if there is nothing but empty lines."""
        first = next(self.records(), None)
        if first is None:
            return [], self
        lines = first[0] + 1
        end = sum(map(len, islice(_lines(self.data), lines)))
        try:
            for name in first[1]:
                name.encode()
        except UnicodeEncodeError:
            place = f"{self.file}: line {self.line + first[0]}"
            raise FileFormatError(f"{place}: the header is no UTF-8: say encoding='latin-1', or what it is") from None
        return first[1], self._replace(line=self.line + lines, data=self.data[end:])


def blocks(read: Callable[[int], bytes], file: str, dialect: Dialect, bad: BadRows) -> Iterator[Block]:
    """Yield the records of CSV, or the lines of a dialect without quotes; ``read`` gives so many bytes of the file."""
    decoder = None if dialect.encoding == "utf-8" else codecs.getincrementaldecoder(dialect.encoding)()
    carry, line, start, final = b"", 1, True, False
    while not final:
        raw = read(BLOCK_BYTES)
        final = len(raw) < BLOCK_BYTES
        text = raw if decoder is None else _decoded(decoder, raw, final, file, line)
        if start:
            start, text = False, _without_mark(text, file)
        data = carry + text if carry else text
        if b"\0" in data:
            at = line + count_lines(data[: data.index(b"\0")])
            raise FileFormatError(f"{file}: line {at}: a zero byte is no text: say encoding='utf-16' if it is that")
        delimiter, data = _one_byte(data, dialect, file)
        data, held = (data, b"") if final else _without_half(data, dialect)
        special = _is_special(data, dialect)
        found: list[Finding] = []
        if special or (dialect.comment and dialect.comment[0].encode() in data):
            whole, rest = _scanned(data, final, Block(file, line, b"", dialect, delimiter, special, found), bad)
        else:
            end = len(data) if final else (data.rfind(b"\n") + 1 or data.rfind(b"\r") + 1)
            rest, whole = data[end:], data[:end]
        if len(rest) > BLOCK_BYTES:
            at = line + count_lines(whole)
            raise FileFormatError(f"{file}: line {at}: no line may be longer than {BLOCK_BYTES / (1 << 20):g} MB")
        if whole or found:
            yield Block(file, line, whole, dialect, delimiter, special, found)
            line += count_lines(whole)
        carry = _several_bytes(rest, delimiter, dialect) + held


def count_lines(data: bytes) -> int:
    """Count how often lines end: with LF, CR or both."""
    counted = np.frombuffer(data, np.uint8)
    pieces = [counted[first : first + COUNTED] for first in range(0, len(data), COUNTED)]
    lines = sum(int(np.count_nonzero(piece == 10)) for piece in pieces)
    if b"\r" in data:
        lines += data.count(b"\r") - data.count(b"\r\n")
    return lines


def _decoded(decoder: codecs.IncrementalDecoder, raw: bytes, final: bool, file: str, line: int) -> bytes:
    try:
        return decoder.decode(raw, final).encode()
    except UnicodeError as error:
        raise FileFormatError(f"{file}: behind line {line}: cannot be read in its encoding: {error}") from error


def _without_mark(text: bytes, file: str) -> bytes:
    """Return the text without a byte order mark."""
    if text.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise FileFormatError(f"{file}: is no UTF-8 but UTF-16, by its first bytes: say encoding='utf-16'")
    return text.removeprefix(codecs.BOM_UTF8)


def _one_byte(data: bytes, dialect: Dialect, file: str) -> tuple[bytes, bytes]:
    """Return what is between the columns, one byte, and the data so."""
    own = str(dialect.delimiter).encode()
    if dialect.escape is not None:
        data = _keep_nulls(data, dialect, dialect.escape)
    if len(own) == 1:
        return own, data
    stands = next((byte for byte in STAND_INS if byte not in data), None)
    if stands is None:
        raise FileFormatError(f"{file}: cannot be split at {dialect.delimiter!r}: it holds every control character")
    if dialect.escape is None or dialect.escape.encode() not in data:
        return bytes([stands]), data.replace(own, bytes([stands]))
    found = re.compile(re.escape(dialect.escape.encode()) + rb"[\s\S]|" + re.escape(own))
    return bytes([stands]), found.sub(lambda match: bytes([stands]) if match[0] == own else match[0], data)


def _without_half(data: bytes, dialect: Dialect) -> tuple[bytes, bytes]:
    """Return the data and what is behind: half a line end or half a delimiter, perhaps."""
    own = str(dialect.delimiter).encode()
    halves = [b"\r", *(own[:length] for length in range(1, len(own)))]
    length = max((len(half) for half in halves if data.endswith(half)), default=0)
    return data[: len(data) - length], data[len(data) - length :]


def _several_bytes(data: bytes, delimiter: bytes, dialect: Dialect) -> bytes:
    own = str(dialect.delimiter).encode()
    return data if own == delimiter else data.replace(delimiter, own)


def _keep_nulls(data: bytes, dialect: Dialect, escape: str) -> bytes:
    r"""Escape the escape of null words that begin with one, as \N, so that it stays until they are looked for."""
    marks = {word[1].encode() for word in dialect.nulls if len(word) > 1 and word[0] == escape}
    own = escape.encode()
    if not marks or own not in data:
        return data
    return re.sub(re.escape(own) + rb"([\s\S])", lambda pair: own * (pair[1] in marks) + pair[0], data)


def _is_special(data: bytes, dialect: Dialect) -> bool:
    return any(mark is not None and mark.encode() in data for mark in (dialect.quote, dialect.escape))


def _scanned(data: bytes, final: bool, block: Block, bad: BadRows) -> tuple[bytes, bytes]:
    """Return the whole records, comments and bad ones emptied, and what is behind them."""
    dialect, pieces, begin, at = block.dialect, [], 0, 0
    line, counted = block.line, 0
    quote = -1 if dialect.quote is None else ord(dialect.quote)
    escape = -1 if dialect.escape is None else ord(dialect.escape)
    own, stands = str(dialect.delimiter).encode(), block.delimiter
    comment = (dialect.comment or "").encode().replace(own, stands)
    while True:
        at, what = tables.scan_records(data, at, block.delimiter[0], quote, escape, comment)
        if what == tables.RECORDS_END:
            end = len(data) if final else at
            break
        line_end = LINE_END.search(data, at)
        may_go_on = what in (tables.RECORDS_OPEN, tables.RECORDS_HALF) and len(data) - at <= BLOCK_BYTES
        if not final and (line_end is None or may_go_on):
            end = at
            break
        if what != tables.RECORDS_COMMENT:
            line, counted = line + count_lines(data[counted:at]), at
            bad.report(block.found, block.file, f"line {line}", QUOTES, None, _BAD_RECORDS[what])
        pieces.append(data[begin:at])
        if line_end is not None and data[at - 1 : at] + line_end[0] == b"\r\n":
            pieces.append(b"\r")  # or what is left were one line end
        begin = at = len(data) if line_end is None else line_end.start()
    return b"".join([*pieces, data[begin:end]]), data[end:]


def _lines(data: bytes) -> Iterable[bytes]:
    return data.splitlines(keepends=True) if b"\r" in data else io.BytesIO(data)

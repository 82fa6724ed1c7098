"""Rows of files as batches of columns, in order and in bounded memory: CSV, JSON lines and Parquet.

A source is a file, a directory of files (hive-partitioned too) or several of these, wherever storage reaches. Blocks of
text are read by pyarrow, several at once; what it refuses, and all without it, is read record by record (rows.py).
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from copy import copy
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from .._core import (
    ArgumentTypeError,
    DataError,
    FileFormatError,
    ParameterError,
    check_choice,
    check_path,
    resolve_num_threads,
    told_address,
)
from .arrow import ParquetFiles, fast_csv, fast_json, infer_csv, infer_json, row_line
from .bad_rows import BadRows, Batch
from .blocks import Block, blocks
from .dialect import IDS, ONLY_CSV, READING, Dialect, Reading, bad_rows_of
from .rows import Parsed, Wanted, csv_rows, is_integer, is_null_word, json_objects, json_rows
from .storage import (
    Location,
    data_files,
    fill,
    has_pyarrow,
    hive_columns,
    is_single_file,
    local_path,
    locate,
    need,
    opened,
    suffix_of,
)

if TYPE_CHECKING:
    import pyarrow as pa
    from typing_extensions import Unpack

FORMATS = {
    **dict.fromkeys((".csv", ".tsv", ".txt"), "csv"),
    **dict.fromkeys((".json", ".jsonl", ".ndjson"), "json"),
    **dict.fromkeys((".parquet", ".pq"), "parquet"),
}
"""Formats by the suffix of a file's name."""

WORDS = {"csv": "CSV", "json": "JSON lines", "parquet": "Parquet"}

NUMBERS = "numbers"
"""What a column is read as, where there is no Arrow: numbers, None where they are missing. Without a type: text."""


def format_of(name: str) -> str | None:
    """Return "csv", "json" or "parquet" by the name of a file, None if it tells nothing."""
    return FORMATS.get(suffix_of(name)[0])


class Plain:
    """Columns as NumPy arrays, where there is no Arrow."""

    def __init__(self, columns: Mapping[str, Any]) -> None:
        self.columns = columns

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def column(self, name: str) -> Any:
        return self.columns[name]

    def take(self, rows: Any) -> Plain:
        return Plain({name: column[rows] for name, column in self.columns.items()})


TEXT = re.compile(rb"[^\r\n]")
"""What a block of empty lines does not hold."""


class Source:
    """Files of one format that are read as one table.

    Parameters
    ----------
    paths : path or address, or a sequence of them
        Files or directories. The first file's columns are what all must have. Empty files are passed over.
    format : {"csv", "json", "parquet"}, optional
        By the names of the files otherwise.
    bad_rows : BadRows, optional
        Where bad rows are counted, if not in one's own.
    reading : as Reading says
    """

    def __init__(
        self, paths: Any, *, format: str | None = None, bad_rows: BadRows | None = None, **reading: Unpack[Reading]
    ) -> None:
        given: dict[str, Any] = {name: value for name, value in reading.items() if value is not None}
        for name in given.keys() - {*READING}:
            raise ArgumentTypeError(f"{name!r} says nothing about files; what does is {', '.join(READING)}")
        self.dialect = Dialect.of(given)
        self.ids = check_choice("ids", given.get("ids", "auto"), IDS)
        self.bad_rows = bad_rows_of(given) if bad_rows is None else bad_rows
        self.with_arrow = has_pyarrow() or not is_single_file(paths)
        names = [check_path("path", name) for name in (paths if isinstance(paths, (list, tuple)) else [paths])]
        self.name = ", ".join(map(told_address, names[:3])) + (", …" if len(names) > 3 else "")
        if not names:
            raise ParameterError("paths must name at least one file, got none")
        if self.with_arrow:
            self.places = [locate(name) for name in names]
        else:
            self.places = [Location(None, local_path(names[0]), names[0])]
        found = [file for place in self.places for file in data_files(place)]
        self.format = format or self._format([file for file, _ in found])
        if self.format not in FORMATS.values():
            raise ParameterError(f"format must be 'csv', 'json' or 'parquet', got {format!r}")
        if self.format != "csv":
            if not self.with_arrow:
                need("io", "pyarrow", "reading anything but CSV")
            for name in given.keys() & {*ONLY_CSV, *(["encoding"] if self.format == "parquet" else [])}:
                raise ParameterError(f"{name} has no meaning in {WORDS[self.format]}, as which {self.name} is read")
        self.files = [file for file, size in found if size != 0]
        if not self.files:
            self._refuse_empty()
        self.hint = ""
        """What is said besides of text where a number is wanted."""
        self.kinds: dict[str, str] = {}
        """"integer" or "text": what ids in columns of text are."""

    def _format(self, files: Sequence[str]) -> str:
        found = {file: format_of(file) for file in files}
        formats = set(found.values())
        if len(formats) == 1 and None not in formats:
            return str(formats.pop())
        odd = next(file for file in found if found[file] is None or found[file] != found[files[0]])
        raise FileFormatError(
            f"{told_address(odd)}: the format is not clear from the name; name files .csv, .jsonl or .parquet (perhaps "
            "compressed, as in .csv.gz), all alike, or say format="
        )

    def _refuse_empty(self) -> None:
        one = len(self.places) == 1 and (not self.files or self.files == [self.places[0].path])
        raise FileFormatError(f"{self.name}: the {'file is' if one else 'files are'} empty")

    # -- columns ------------------------------------------------------------------------------------------------------

    @cached_property
    def _parquet(self) -> Any:
        return ParquetFiles(self.places, self.files, self.name, self.bad_rows)

    @cached_property
    def names(self) -> list[str]:
        """Columns of the first file that has any rows, and those of hive's directory names."""
        if self.format == "parquet":
            return list(self._parquet.schema.names)
        own = self._first[0] if self.format == "csv" else list(self._inferred.names)
        return [*own, *(name for name in self._directories if name not in own)]

    @cached_property
    def schema(self) -> pa.Schema:
        """Columns and types of the first file, as far as its beginning tells, and those of hive's directory names."""
        import pyarrow as pa

        if self.format == "parquet":
            return self._parquet.schema
        types = {name: kind for name, (kind, _) in self._directories.items() if name not in self._inferred.names}
        return pa.schema([*self._inferred, *(pa.field(name, kind) for name, kind in types.items())])

    @cached_property
    def _first(self) -> tuple[list[str], Block]:
        """Header and first block of the first file of text that has any."""
        for file in self.files:
            for header, block in self._blocks(file, BadRows(self.bad_rows.skip, float("inf"))):
                return header, block
        self._refuse_empty()
        raise AssertionError

    @cached_property
    def _inferred(self) -> pa.Schema:
        header, block = self._first
        if self.format == "csv":
            return infer_csv(header, block)
        found = infer_json(block)
        if not found.names:
            for _ in json_objects(block, BadRows(False, 0)):  # raises where there is none
                pass
        return found

    @cached_property
    def _directories(self) -> dict[str, tuple[Any, dict[str, Any]]]:
        """Columns of text files that the names of their directories are: type, and each file's value."""
        roots = [place.path for place in self.places if place.path not in self.files]
        return hive_columns(self.files, roots) if self.with_arrow and self.format != "parquet" else {}

    def all_have(self, key: bytes) -> bool:
        """Whether the metadata of every file of Parquet have this entry."""
        return self.format == "parquet" and bool(self._parquet.all_have(key))

    def any_has(self, key: bytes) -> bool:
        """Whether a file of Parquet has this entry, which it may have got at its end, when all rows were known."""
        return self.format == "parquet" and bool(self._parquet.any_has(key))

    def type_of(self, name: str) -> pa.DataType:
        """Return the type that a column has in the first file, that of its categories where it has any."""
        import pyarrow as pa

        self._check_column(name, self.files[0], self.names)
        kind = self.schema.field(name).type
        return kind.value_type if pa.types.is_dictionary(kind) else kind

    def type_of_ids(self, name: str, *, coded: bool = False) -> Any:
        """Return the type that a column of ids is read as, None without Arrow; ``coded``: categories stay such.

        Raises
        ------
        DataError
            It is a type of no ids.
        """
        if not self.with_arrow:
            return None
        import pyarrow as pa

        if self.format == "csv" and name not in self._directories:
            return pa.string()
        kind = self.type_of(name)
        if pa.types.is_null(kind) or (self.format == "json" and pa.types.is_temporal(kind)):
            return pa.string()
        if self.format == "json" and pa.types.is_floating(kind) and self.ids == "integer":
            return pa.int64()
        for is_kind, what in (
            (pa.types.is_nested, "lists or structs"),
            (pa.types.is_boolean, "truth values"),
            (pa.types.is_temporal, "times"),
        ):
            if is_kind(kind):
                raise DataError(
                    f"{told_address(self.files[0])}: column {name!r} holds {what} ({kind}), which are no ids"
                )
        if self.ids == "text" and (pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
            raise DataError(
                f"{told_address(self.files[0])}: column {name!r} holds {kind}: ids='text' is for text and whole numbers"
            )
        if self.ids == "text" and pa.types.is_integer(kind):
            return pa.string()
        return self.schema.field(name).type if coded else kind

    def is_integer(self, name: str) -> bool:
        """Whether text in a column of ids stands for integers: declared, or, of CSV, as its first id is one."""
        if self.ids != "auto":
            return self.ids == "integer"
        if self.format != "csv" or name in self._directories:
            return False
        if name not in self.kinds:
            self.kinds[name] = self._kind_of(name)
        return self.kinds[name] == "integer"

    def _kind_of(self, name: str) -> str:
        """Return what the first id of a column of CSV is, words for nothing left out where there are others."""
        nulls = {"", *self.dialect.nulls}
        for file in self.files:
            for header, block in self._blocks(file, BadRows(self.bad_rows.skip, float("inf"))):
                at = header.index(name) if name in header else len(header)
                for _, row in block.records():
                    if len(row) == len(header) > at and row[at] not in nulls and not is_null_word(row[at]):
                        return "integer" if is_integer(row[at]) else "text"
        return "text"

    def _check_column(self, name: str, file: str, names: Sequence[str]) -> None:
        if list(names).count(name) != 1:
            what = "appears more than once" if name in names else "is missing"
            raise DataError(
                f"{told_address(file)}: column {name!r} {what}; the columns are {', '.join(map(repr, names)) or 'none'}"
            )

    def sample(self) -> Source:
        """Return the same files, to be read for themselves: what is bad there is found and counted here."""
        other = copy(self)
        other.bad_rows = BadRows(self.bad_rows.skip, float("inf"))
        return other

    # -- rows ---------------------------------------------------------------------------------------------------------

    def batches(
        self,
        types: Mapping[str, Any],
        *,
        ids: Sequence[str] = (),
        required: Sequence[str] = (),
        finite: Sequence[str] = (),
        optional: Collection[str] = (),
    ) -> Iterator[Batch]:
        """Yield these columns, in these types, of all rows in order; rows that are bad are left out, or an error.

        Parameters
        ----------
        types : mapping of str to Arrow type
            Without Arrow: NUMBERS, or None for text.
        ids : sequence of str
            Columns of ids, none of which may be missing.
        required, finite : sequence of str
            Columns of numbers, none of which may be missing, or infinite or NaN.
        optional : sequence of str
            Columns that a file may lack: they are null then.

        Raises
        ------
        DataError
            A file that lacks a column, or holds what is not of its type: names file, row and column.
        FileFormatError
            A file that cannot be read.
        """
        for name in types:
            if name not in optional:
                self._check_column(name, self.files[0], self.names)
        columns = [self._wanted(name, kind, ids, required, finite) for name, kind in types.items()]
        if self.format == "parquet":
            batches = self._parquet.batches(columns, optional)
        else:
            batches = in_order(self._tasks(columns, optional), resolve_num_threads() if self.with_arrow else 1)
        for batch in batches:
            passed = sum(finding.n for finding in batch.found)
            self.bad_rows.settle(batch.found, len(batch.rows) + passed)
            if len(batch.rows):
                yield batch
        self.bad_rows.end()

    def table(self, types: Mapping[str, Any]) -> pa.Table:
        """Return these columns of all rows in memory; ``types``, and what is raised, as of :meth:`batches`."""
        import pyarrow as pa

        rows = [pa.record_batch(batch.rows.columns, list(types)) for batch in self.batches(types)]
        return pa.Table.from_batches(rows, pa.schema(list(types.items())))

    def _wanted(
        self, name: str, kind: Any, ids: Sequence[str], required: Sequence[str], finite: Sequence[str]
    ) -> Wanted:
        if name in ids:
            return Wanted(name, kind, "id", integer=self.is_integer(name), text=self.ids == "text")
        is_number = kind == NUMBERS or str(kind) == "double"
        role = "number" if is_number else "value"
        return Wanted(name, kind, role, required=name in required, finite=name in finite, hint=self.hint)

    def _blocks(self, file: str, bad: BadRows) -> Iterator[tuple[list[str], Block]]:
        """Yield header and blocks of a file of text."""
        if self.format == "json":
            dialect = Dialect(",", quoting=False, encoding=self.dialect.encoding)
        else:
            dialect = self.dialect.for_files(suffix_of(file)[0])
        header = list(dialect.columns or ())
        with opened(self.places[0].filesystem, file) as stream:
            for block in blocks(partial(fill, stream, file), told_address(file), dialect, bad):
                behind = block
                if not header and self.format == "csv":
                    header, behind = block.header()
                if (header or self.format == "json") and (TEXT.search(behind.data) or header):
                    yield header, behind

    def _tasks(self, columns: Sequence[Wanted], optional: Collection[str]) -> Iterator[Callable[[], Batch]]:
        """Yield what makes a batch of each block."""
        for file in self.files:
            there: list[Wanted] | None = None
            for header, block in self._blocks(file, self.bad_rows):
                if there is None:
                    there = self._present(file, header, columns, optional)
                yield partial(self._batch, file, header, block, columns, there)

    def _present(
        self, file: str, header: list[str], columns: Sequence[Wanted], optional: Collection[str]
    ) -> list[Wanted]:
        """Return the columns that a file has; refuse that it lacks one."""
        if self.format == "json":
            return [column for column in columns if column.name not in self._directories]
        for column in columns:
            if column.name not in self._directories and not (column.name in optional and column.name not in header):
                self._check_column(column.name, file, header)
        return [column for column in columns if column.name in header]

    def _batch(
        self, file: str, header: list[str], block: Block, columns: Sequence[Wanted], there: Sequence[Wanted]
    ) -> Batch:
        """Read a block: fast where there is no doubt, else record by record."""
        rows: Any = None
        if self.with_arrow:
            read = fast_csv if self.format == "csv" else fast_json
            rows = read(header, block, there, self._inferred)
        lines: Callable[[int], int] = partial(row_line, block, self.format)
        if rows is None:
            bad = self.bad_rows
            parsed: Parsed = (
                csv_rows(block, header, there, bad) if self.format == "csv" else json_rows(block, there, bad)
            )
            rows, lines = _rows(there, parsed, self.with_arrow), parsed[1].__getitem__
        if len(there) < len(columns):
            rows = self._completed(rows, columns, file)
        batch = Batch(block.file, block.line, rows, lines)
        batch.found = block.found
        return batch

    def _completed(self, rows: Any, columns: Sequence[Wanted], file: str) -> Any:
        """Return all columns, those that the file lacks null, or what its directories are called."""
        if not self.with_arrow:
            nothing = np.full(len(rows), None)
            return Plain({column.name: rows.columns.get(column.name, nothing) for column in columns})
        import pyarrow as pa

        def constant(column: Wanted) -> pa.Array:
            value = self._directories.get(column.name, (None, {}))[1].get(file)
            own = pa.array([value] * len(rows)) if value is not None else pa.nulls(len(rows))
            return own.cast(column.type)

        have = rows.schema.names
        arrays = [rows.column(column.name) if column.name in have else constant(column) for column in columns]
        return pa.record_batch(arrays, [column.name for column in columns])


def _rows(columns: Sequence[Wanted], parsed: Parsed, with_arrow: bool) -> Any:
    """Return columns of Python objects as Arrow's, or plain ones."""
    if not with_arrow:
        made = (np.fromiter(values, object, len(values)) for values in parsed[0])
        return Plain({column.name: values for column, values in zip(columns, made, strict=True)})
    import pyarrow as pa

    arrays = [pa.array(values, column.type) for column, values in zip(columns, parsed[0], strict=True)]
    return pa.record_batch(arrays, [column.name for column in columns])


def in_order(tasks: Iterator[Callable[[], Batch]], threads: int) -> Iterator[Batch]:
    """Do a few tasks at once; yield their results, and what goes wrong, in the order of the tasks.

    One more thread looks for the next tasks: it reads the files while their batches are worked on.
    """
    from concurrent.futures import Future, ThreadPoolExecutor

    ahead: deque[Future[Batch]] = deque()
    error: Exception | None = None
    with ThreadPoolExecutor(threads) as pool, ThreadPoolExecutor(1, "fastals-read") as reader:
        coming: deque[Future[Any]] = deque(reader.submit(next, tasks, None) for _ in range(2))
        try:
            while error is None:
                try:
                    task = coming.popleft().result()
                    if task is None:
                        break
                    coming.append(reader.submit(next, tasks, None))
                    ahead.append(pool.submit(task))
                except Exception as reason:
                    error = reason
                if len(ahead) > threads:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in (*ahead, *coming):
                future.cancel()
    if error is not None:
        raise error

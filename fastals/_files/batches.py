"""Rows of files as batches of Arrow columns, in order and in bounded memory: CSV, JSON lines and Parquet.

A source is a file, a directory of files (hive-partitioned too) or several of these, wherever storage reaches. pyarrow
reads ahead in parallel. What it refuses is read again, file by file, to name file, row and column.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from .._core import DataError, FastalsError, FileFormatError, ParameterError, check_path
from .storage import Location, locate, need, suffix_of

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import dataset

FORMATS = {
    **dict.fromkeys((".csv", ".tsv", ".txt"), "csv"),
    **dict.fromkeys((".json", ".jsonl", ".ndjson"), "json"),
    **dict.fromkeys((".parquet", ".pq"), "parquet"),
}
"""Formats by the suffix of a file's name."""

WORDS = {"csv": "CSV", "json": "JSON lines", "parquet": "Parquet"}

BLOCK_BYTES = 1 << 23
"""Bytes of CSV or JSON lines that become one batch; a line must not be longer."""

BATCH_ROWS = 1 << 17
"""Rows of Parquet that become one batch."""

HEADER_BYTES = 1 << 16
"""What the header line of CSV fits into."""

READ_AHEAD = 4
"""Batches read ahead: what bounds the memory."""

HIDDEN = ["_", "."]
"""Names of files in a directory that are no data: _SUCCESS, .crc."""


class Batch(NamedTuple):
    """Some rows of one file, an Arrow record batch; the first is its row ``first``, from 1 without a header."""

    file: str
    first: int
    rows: Any


def format_of(name: str) -> str | None:
    """Return "csv", "json" or "parquet" by the name of a file, None if it tells nothing."""
    return FORMATS.get(suffix_of(name)[0])


class Source:
    """Files of one format that are read as one table.

    Parameters
    ----------
    paths : path or address, or a sequence of them
        Files or directories. The first file's columns are what all must have.
    format : {"csv", "json", "parquet"}, optional
        By the names of the files otherwise.
    delimiter : str
        Between the columns of CSV; None: a tab in .tsv files, else a comma.
    columns : sequence of str, optional
        Names of the columns of CSV without a header line.
    """

    def __init__(
        self,
        paths: Any,
        *,
        format: str | None = None,
        delimiter: str | None = None,
        columns: Sequence[str] | None = None,
    ) -> None:
        need("io", "pyarrow", "reading files in batches")
        names = paths if isinstance(paths, (list, tuple)) else [paths]
        self.places = [locate(check_path("path", name)) for name in names]
        if not self.places:
            raise ParameterError("paths must name at least one file, got none")
        self.name = ", ".join(place.name for place in self.places[:3]) + (", …" if len(self.places) > 3 else "")
        self.files = [file for place in self.places for file in _files(place)]
        self.format = format or self._format()
        if self.format not in FORMATS.values():
            raise ParameterError(f"format must be 'csv', 'json' or 'parquet', got {format!r}")
        self.delimiter = delimiter or ("\t" if suffix_of(self.files[0])[0] == ".tsv" else ",")
        if len(self.delimiter) != 1 or not self.delimiter.isascii() or self.delimiter in '\r\n"':
            raise ParameterError(f"delimiter must be one ASCII character, no quote and no line end, got {delimiter!r}")
        self.column_names = None if columns is None else list(columns)

    def _format(self) -> str:
        found = {file: format_of(file) for file in self.files}
        formats = set(found.values())
        if len(formats) == 1 and None not in formats:
            return str(formats.pop())
        odd = next(file for file in found if found[file] is None or found[file] != found[self.files[0]])
        raise FileFormatError(
            f"{odd}: the format is not clear from the name; name files .csv, .jsonl or .parquet (perhaps compressed, "
            "as in .csv.gz), all alike, or say format="
        )

    @cached_property
    def schema(self) -> pa.Schema:
        """Columns and types of the first file, as far as its beginning tells, and those of hive's directory names."""
        return self._open(None).schema

    def all_have(self, key: bytes) -> bool:
        """Whether the metadata of every file have this entry."""
        return all(key in (part.physical_schema.metadata or {}) for part in self._open(None).get_fragments())

    def batches(self, types: Mapping[str, pa.DataType], optional: Collection[str] = ()) -> Iterator[Batch]:
        """Yield these columns, in these types, of all rows in order; ``optional`` ones are null where a file has none.

        Raises
        ------
        DataError
            A file that lacks a column, or holds what is not of its type: names file, row and column.
        FileFormatError
            A file that cannot be read.
        """
        import pyarrow as pa

        for name in types:
            if name not in optional:
                self._check_column(name, self.files[0], self.schema.names)
        whole = self._open(types)
        done = 0
        fragments = list(whole.get_fragments())
        self._check_columns(fragments, [name for name in types if name not in optional])
        rows_before, current = 0, ""
        try:
            scanned = whole.scanner(columns=list(types), **self._scan_options()).scan_batches()
            for tagged in scanned:
                if tagged.fragment.path != current:
                    current, rows_before = tagged.fragment.path, 0
                    done = next(i for i in range(done, len(fragments)) if fragments[i].path == current)
                if len(tagged.record_batch):
                    yield Batch(current, rows_before + 1, tagged.record_batch)
                rows_before += len(tagged.record_batch)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            if isinstance(error, FastalsError):
                raise
            self._diagnose(fragments[done:], types, error)

    def table(self, types: Mapping[str, pa.DataType | None]) -> pa.Table:
        """Return these columns of all rows in memory; a type that is None is the file's own.

        Raises
        ------
        DataError, FileFormatError
            As :meth:`batches`.
        """
        import pyarrow as pa

        wanted = {name: kind or self.type_of(name) for name, kind in types.items()}
        schema = pa.schema(list(wanted.items()), metadata=self.schema.metadata)
        rows = [batch.rows.select(list(types)) for batch in self.batches(wanted)]
        return pa.Table.from_batches([pa.record_batch(list(batch), schema=schema) for batch in rows], schema)

    def type_of(self, name: str) -> pa.DataType:
        """Return the type that a column has in the first file."""
        self._check_column(name, self.files[0], self.schema.names)
        return self.schema.field(name).type

    def _scan_options(self) -> dict[str, Any]:
        from pyarrow import csv as arrow_csv
        from pyarrow import dataset
        from pyarrow import json as arrow_json

        options: dict[str, Any] = {"batch_readahead": READ_AHEAD, "fragment_readahead": 2, "batch_size": BATCH_ROWS}
        if self.format == "csv":
            # a missing number is a null; a string is never missing, whatever it looks like
            convert = arrow_csv.ConvertOptions(strings_can_be_null=False, null_values=[""])
            options["fragment_scan_options"] = dataset.CsvFragmentScanOptions(
                convert, arrow_csv.ReadOptions(block_size=BLOCK_BYTES, column_names=self.column_names)
            )
        elif self.format == "json":
            options["fragment_scan_options"] = dataset.JsonFragmentScanOptions(
                read_options=arrow_json.ReadOptions(block_size=BLOCK_BYTES)
            )
        return options

    def _open(self, types: Mapping[str, pa.DataType] | None, files: Sequence[str] | None = None) -> dataset.Dataset:
        """Open the files as one data set whose columns of ``types`` are of these types."""
        import pyarrow as pa
        from pyarrow import csv as arrow_csv
        from pyarrow import dataset

        formats: dict[str, Any] = {"parquet": dataset.ParquetFileFormat, "json": dataset.JsonFileFormat}
        kind = (
            dataset.CsvFileFormat(
                arrow_csv.ParseOptions(delimiter=self.delimiter, newlines_in_values=True),
                read_options=arrow_csv.ReadOptions(column_names=self.column_names, block_size=BLOCK_BYTES),
            )
            if self.format == "csv"
            else formats[self.format]()
        )
        options: dict[str, Any] = {"format": kind, "filesystem": self.places[0].filesystem, "partitioning": "hive"}
        root = self.places[0].path
        if len(self.places) == 1 and files is None and root not in self.files:
            options["partition_base_dir"] = root
        try:
            opened = dataset.dataset(list(files or self.files), **options)
            if types is None:
                return opened
            kinds = {field.name: field.type for field in opened.schema} | dict(types)
            fields = [pa.field(name, kind) for name, kind in kinds.items()]
            return dataset.dataset(list(files or self.files), schema=pa.schema(fields), **options)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            if self.format == "json":
                for file in files or self.files:
                    self._diagnose_json(file, {})
            raise FileFormatError(f"{self.name}: cannot be read as {WORDS[self.format]}: {_one_line(error)}") from error

    def _check_column(self, name: str, file: str, names: Sequence[str]) -> None:
        if list(names).count(name) != 1:
            what = "appears more than once" if name in names else "is missing"
            raise DataError(f"{file}: column {name!r} {what}; the columns are {', '.join(map(repr, names)) or 'none'}")

    def _check_columns(self, fragments: Sequence[Any], types: Collection[str]) -> None:
        """Refuse files that lack a column: Arrow would take it for empty. Only footers and header lines are read."""
        if self.format == "json" or self.column_names is not None:
            return
        of_directories = set(self.schema.names) - set(self._file_columns)
        for fragment in fragments:
            present = {*self._header(fragment), *of_directories}
            for name in types:
                self._check_column(name, fragment.path, sorted(present))

    def _header(self, fragment: Any) -> list[str]:
        import pyarrow as pa

        try:
            if self.format == "parquet":
                return list(fragment.physical_schema.names)
            with self.places[0].filesystem.open_input_stream(fragment.path) as file:
                text = file.read(HEADER_BYTES).decode("utf-8-sig", "replace")
            return next(filter(None, csv.reader(text.splitlines(), delimiter=self.delimiter)), [])
        except (pa.ArrowException, OSError) as error:
            raise FileFormatError(
                f"{fragment.path}: cannot be read as {WORDS[self.format]}: {_one_line(error)}"
            ) from error

    @cached_property
    def _file_columns(self) -> list[str]:
        """Columns that the first file itself has, those of directory names left out."""
        first = next(iter(self._open(None).get_fragments()))
        return list(first.physical_schema.names)

    def _diagnose(self, fragments: Sequence[Any], types: Mapping[str, pa.DataType], error: Exception) -> None:
        """Raise for the first file, row and column that cannot be read; ``error`` if none is found."""
        import pyarrow as pa
        from pyarrow import compute

        for fragment in fragments:
            if self.format == "json":
                self._diagnose_json(fragment.path, types)
                continue
            texts = {name: pa.string() for name in types}
            row = 1
            try:
                opened = self._open(texts, [fragment.path])
                options = self._scan_options() | {"use_threads": False}
                for batch in opened.scanner(columns=list(types), **options).to_batches():
                    for name, wanted in types.items():
                        try:
                            compute.cast(_numbers(batch.column(name)), wanted)
                        except pa.ArrowException:
                            at, value = _first_refused(batch.column(name), wanted)
                            raise DataError(
                                f"{fragment.path}: row {row + at}, column {name!r}: {value!r} is no {_words(wanted)}"
                            ) from None
                    row += len(batch)
            except FastalsError:
                raise
            except (pa.ArrowException, OSError, UnicodeDecodeError) as reason:
                where = f" after row {row - 1}" if row > 1 else ""
                raise FileFormatError(
                    f"{fragment.path}: cannot be read as {WORDS[self.format]}{where}: {_one_line(reason)}"
                ) from reason
        raise FileFormatError(f"{self.name}: cannot be read as {WORDS[self.format]}: {_one_line(error)}") from error

    def _diagnose_json(self, path: str, types: Mapping[str, pa.DataType]) -> None:
        """Raise for the first line that is no object, or whose values are not of their types or of those before."""
        import pyarrow as pa

        row, kinds = 0, dict(types)
        try:
            with self.places[0].filesystem.open_input_stream(path) as stream, io.BufferedReader(stream) as lines:
                for row, line in enumerate(filter(bytes.strip, lines), 1):
                    for name, value in json.loads(line).items():
                        if value is None or (types and name not in types):
                            continue
                        try:
                            kind = pa.array([value], kinds.get(name)).type
                        except (pa.ArrowException, TypeError):
                            raise DataError(
                                f"{path}: row {row}, column {name!r}: {value!r} is no {_words(kinds[name])}"
                            ) from None
                        kinds.setdefault(name, pa.float64() if pa.types.is_integer(kind) else kind)
        except FastalsError:
            raise
        except (ValueError, AttributeError, OSError) as error:
            raise FileFormatError(f"{path}: row {row}: cannot be read as JSON lines: {_one_line(error)}") from error


def _files(place: Location) -> list[str]:
    """Return the paths of the data files at a place, in the order of their names."""
    from pyarrow import fs

    try:
        info = place.filesystem.get_file_info(place.path)
        if info.type == fs.FileType.File:
            return [place.path]
        if info.type == fs.FileType.NotFound:
            raise FileFormatError(f"{place.name}: cannot be read: No such file or directory")
        selector = fs.FileSelector(place.path, recursive=True)
        infos = place.filesystem.get_file_info(selector)
    except OSError as error:
        if isinstance(error, FastalsError):
            raise
        raise FileFormatError(f"{place.name}: cannot be read: {_one_line(error)}") from error
    inside = len(place.path.rstrip("/")) + 1
    files = sorted(
        info.path
        for info in infos
        if info.type == fs.FileType.File and not any(part[:1] in HIDDEN for part in info.path[inside:].split("/"))
    )
    if not files:
        raise FileFormatError(f"{place.name}: the directory holds no data files")
    return files


def _numbers(column: Any) -> Any:
    """Return text with "" as a null, which is what Arrow's CSV reader makes of it for numbers."""
    from pyarrow import compute

    return compute.if_else(compute.equal(column, ""), None, column)


def _first_refused(column: Any, wanted: Any) -> tuple[int, str]:
    import pyarrow as pa
    from pyarrow import compute

    for at in range(len(column)):
        try:
            compute.cast(_numbers(column.slice(at, 1)), wanted)
        except pa.ArrowException:
            return at, str(column[at].as_py())
    raise AssertionError("a column is refused, but none of its values")


def _words(kind: Any) -> str:
    return {"double": "number", "bool": "truth value"}.get(str(kind), str(kind).split("[", maxsplit=1)[0])


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__

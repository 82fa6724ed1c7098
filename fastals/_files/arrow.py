"""What pyarrow reads: blocks of text, where it does without a doubt, and Parquet, ahead and in parallel.

What it refuses of Parquet is read again, file by file and each column in its own type, to find the rows that are bad.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._core import DataError, FastalsError, FileFormatError, told_address
from .bad_rows import BadRows, Batch
from .rows import (
    MISSING,
    MISSING_ID,
    MISSING_NUMBER,
    NUMBER,
    OTHER_KIND,
    TIME,
    VALUE,
    Wanted,
    is_integer,
    is_unicode,
    json_objects,
    missing_ids,
    no_integer,
    no_integers,
    no_wholes,
    number_of,
    words,
)

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import dataset

    from .blocks import Block
    from .dialect import Dialect
    from .storage import Location

SAMPLE_ROWS = 1000
"""JSON objects that tell the types of columns where pyarrow does not read a block."""


def _csv_options(header: Sequence[str], block: Block) -> dict[str, Any]:
    """Return how pyarrow reads a block; columns are called by their numbers, since names may repeat."""
    from pyarrow import csv

    dialect = block.dialect
    return {
        "read_options": csv.ReadOptions(
            use_threads=False, block_size=len(block.data) + 1, column_names=[str(at) for at in range(len(header))]
        ),
        "parse_options": csv.ParseOptions(
            delimiter=block.delimiter.decode(),
            quote_char=dialect.quote or False,
            escape_char=dialect.escape or False,
            newlines_in_values=block.special,
        ),
    }


def fast_csv(header: Sequence[str], block: Block, columns: Sequence[Wanted], inferred: pa.Schema) -> Any:
    """Return columns of a block of CSV, None if there is anything that the slow reader might object to."""
    import pyarrow as pa
    from pyarrow import csv

    dialect = block.dialect
    stands_for_more = block.special and block.delimiter.decode() != dialect.delimiter
    if not columns or not block.data or stands_for_more:
        return None
    if not any(_is_no_value(column, dialect) for column in columns) and _holds_header(header, block):
        return None
    at = {column.name: str(header.index(column.name)) for column in columns}
    truths = {column.name for column in columns if _is_truth(column, inferred)}
    types = {at[column.name]: pa.bool_() if column.name in truths else column.type for column in columns}
    convert = csv.ConvertOptions(
        column_types=types,
        include_columns=list(types),
        null_values=["", *dialect.nulls],
        strings_can_be_null=True,
        decimal_point=dialect.decimal,
    )
    try:
        table = csv.read_csv(pa.BufferReader(block.data), convert_options=convert, **_csv_options(header, block))
    except (pa.ArrowException, KeyError):
        return None
    return _judged([_whole(table[at[column.name]]) for column in columns], columns)


def fast_json(header: Sequence[str], block: Block, columns: Sequence[Wanted], inferred: pa.Schema) -> Any:
    """Return columns of a block of JSON lines, None if there is anything that the slow reader might object to."""
    import pyarrow as pa
    from pyarrow import json

    fields = []
    for column in columns:
        own = inferred.field(column.name).type if column.name in inferred.names else pa.null()
        numbers = column.role == "id" and column.text and pa.types.is_integer(own)
        fields.append(pa.field(column.name, own if numbers or _is_truth(column, inferred) else column.type))
    parse = json.ParseOptions(explicit_schema=pa.schema(fields), unexpected_field_behavior="ignore")
    read = json.ReadOptions(use_threads=False, block_size=len(block.data) + 1)
    try:
        table = json.read_json(pa.BufferReader(block.data), read_options=read, parse_options=parse)
        table.validate(full=True)  # nothing else looks whether text is UTF-8
    except pa.ArrowException:
        return None
    if len(table) != block.n_lines():
        return None  # empty lines, or what is not a line an object
    return _judged([_whole(table[column.name]) for column in columns], columns)


def _judged(arrays: Sequence[Any], columns: Sequence[Wanted]) -> Any:
    """Return a record batch, None if a value is bad."""
    import pyarrow as pa

    made = []
    for array, column in zip(arrays, columns, strict=True):
        if column.type is not None and array.type != column.type:
            array = array.cast(column.type)
        if column.role == "id":
            if missing_ids(array) is not None:
                return None
            if _of_another_kind(array, column) is not None:
                return None
        elif (column.required and array.null_count) or (column.finite and _not_finite(array).any()):
            return None
        made.append(array)
    return pa.record_batch(made, [column.name for column in columns])


def _whole(column: Any) -> Any:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _not_finite(array: Any) -> NDArray[np.bool_]:
    """Return which numbers of an Arrow array are infinite or NaN; null is neither."""
    import pyarrow as pa

    if not pa.types.is_floating(array.type):
        return np.zeros(len(array), bool)
    numbers = (array.fill_null(0) if array.null_count else array).to_numpy(zero_copy_only=False)
    bad: NDArray[np.bool_] = ~np.isfinite(numbers)
    return bad


def _is_truth(column: Wanted, inferred: pa.Schema) -> bool:
    """Whether a column of numbers holds true and false."""
    import pyarrow as pa

    return (
        column.role == "number"
        and column.name in inferred.names
        and pa.types.is_boolean(inferred.field(column.name).type)
    )


def _is_no_value(column: Wanted, dialect: Dialect) -> bool:
    """Whether a column's own name is no value of it, so that a line that is the header again shows by itself."""
    if column.role != "number" or column.name in dialect.nulls:
        return column.integer and not is_integer(column.name)
    try:
        number_of(column.name.strip(), dialect.decimal)
    except ValueError:
        return True
    return False


def _holds_header(header: Sequence[str], block: Block) -> bool:
    """Whether a line might be the header again."""
    if block.dialect.columns is not None:
        return False
    between = block.delimiter.decode()
    quoted = '"' + f'"{between}"'.join(header) + '"'
    return between.join(header).encode() in block.data or (block.special and quoted.encode() in block.data)


def row_line(block: Block, format: str, at: int) -> int:
    """Return the line of a row, counted from the block's first, 0."""
    rows = block.records() if format == "csv" else json_objects(block, BadRows(True, float("inf")))
    return next(islice(rows, at, None))[0]


# ---------------------------------------------------------------------------------------------------------------------
# types


def infer_csv(header: Sequence[str], block: Block) -> pa.Schema:
    """Return the types that the columns of a block seem to have; rows that do not fit are left out."""
    import pyarrow as pa
    from pyarrow import csv

    options = _csv_options(header, block)
    options["parse_options"].invalid_row_handler = lambda row: "skip"
    convert = csv.ConvertOptions(null_values=["", *block.dialect.nulls], decimal_point=block.dialect.decimal)
    try:
        found = csv.read_csv(pa.BufferReader(block.data or b"\n"), convert_options=convert, **options).schema.types
    except pa.ArrowException:
        found = [pa.string()] * len(header)
    types = [pa.string() if pa.types.is_binary(kind) else kind for kind in found]
    return pa.schema([pa.field(name, kind) for name, kind in zip(header, types, strict=True)])


def infer_json(block: Block) -> pa.Schema:
    """Return the types that the fields of a block seem to have; lines that do not fit are left out."""
    import pyarrow as pa
    from pyarrow import json

    read = json.ReadOptions(use_threads=False, block_size=len(block.data) + 1)
    try:
        return json.read_json(pa.BufferReader(block.data), read_options=read).schema
    except pa.ArrowException:
        pass
    fields: dict[str, Any] = {}
    for _, found in islice(json_objects(block, BadRows(True, float("inf"))), SAMPLE_ROWS):
        for name, value in found.items():
            if value is not None and name not in fields and is_unicode(name):
                try:
                    fields[name] = pa.array([value]).type
                except (pa.ArrowException, OverflowError, UnicodeError):
                    fields[name] = pa.string()
    return pa.schema(list(fields.items()))


# ---------------------------------------------------------------------------------------------------------------------
# Parquet

BATCH_ROWS = 1 << 17
"""Rows of Parquet that become one batch."""

READ_AHEAD = {"batch_readahead": 4, "fragment_readahead": 2, "batch_size": BATCH_ROWS}
"""Batches read ahead: what bounds the memory."""


class ParquetFiles:
    """Parquet files that are read as one table."""

    def __init__(self, places: Sequence[Location], files: Sequence[str], name: str, bad: BadRows) -> None:
        self.places, self.files, self.name, self.bad = places, files, name, bad

    @cached_property
    def schema(self) -> pa.Schema:
        """Columns and types of the first file, and those of hive's directory names."""
        return self._open(None).schema

    def all_have(self, key: bytes) -> bool:
        """Whether the metadata of every file have this entry."""
        return all(key in (part.physical_schema.metadata or {}) for part in self._open(None).get_fragments())

    def any_has(self, key: bytes) -> bool:
        """Whether a file has this entry, which it may have got at its end."""
        return any(key in (part.metadata.metadata or {}) for part in self._open(None).get_fragments())

    def _open(self, types: Mapping[str, pa.DataType] | None, files: Sequence[str] | None = None) -> dataset.Dataset:
        """Open the files as one data set whose columns of ``types`` are of these types."""
        import pyarrow as pa
        from pyarrow import dataset

        options: dict[str, Any] = {
            "format": "parquet",
            "filesystem": self.places[0].filesystem,
            "partitioning": "hive",
        }
        root = self.places[0].path
        if len(self.places) == 1 and root not in self.files:
            options["partition_base_dir"] = root
        try:
            opened = dataset.dataset(list(files or self.files), **options)
            if types is None:
                return opened
            fields = [pa.field(field.name, types.get(field.name, field.type)) for field in opened.schema]
            fields += [pa.field(name, types[name]) for name in types if name not in opened.schema.names]
            return dataset.dataset(list(files or self.files), schema=pa.schema(fields), **options)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            self._find_broken(files or self.files)
            raise FileFormatError(f"{self.name}: cannot be read as Parquet: {_one_line(error)}") from error

    def _find_broken(self, files: Sequence[str]) -> None:
        """Raise for the first file that is no Parquet."""
        import pyarrow as pa
        from pyarrow import parquet

        for file in files:
            try:
                parquet.read_schema(file, filesystem=self.places[0].filesystem)
            except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
                raise FileFormatError(f"{told_address(file)}: cannot be read as Parquet: {_one_line(error)}") from error

    def _check_columns(self, fragments: Sequence[Any], columns: Sequence[Wanted], optional: Collection[str]) -> None:
        """Refuse files that lack a column: Arrow would take it for empty. Only footers are read."""
        import pyarrow as pa

        own = set(self._own_columns)
        of_directories = set(self.schema.names) - own
        for fragment in fragments:
            try:
                present = {*fragment.physical_schema.names, *of_directories}
            except (pa.ArrowException, OSError) as error:
                raise FileFormatError(
                    f"{told_address(fragment.path)}: cannot be read as Parquet: {_one_line(error)}"
                ) from error
            for column in columns:
                if column.name not in present and column.name not in optional:
                    there = ", ".join(map(repr, sorted(present)))
                    what = f"column {column.name!r} is missing; the columns are {there or 'none'}"
                    raise DataError(f"{told_address(fragment.path)}: {what}")
                _check_kind(fragment, column)

    @cached_property
    def _own_columns(self) -> list[str]:
        """Columns that the first file itself has, those of directory names left out."""
        first = next(iter(self._open(None).get_fragments()))
        return list(first.physical_schema.names)

    def batches(self, columns: Sequence[Wanted], optional: Collection[str]) -> Iterator[Batch]:
        """Yield the columns of all rows in order, with what is bad in them."""
        import pyarrow as pa

        types = {column.name: column.type for column in columns}
        whole = self._open(types)
        fragments = list(whole.get_fragments())
        self._check_columns(fragments, columns, optional)
        done, rows_before, current = 0, 0, ""
        try:
            for tagged in whole.scanner(columns=list(types), **READ_AHEAD).scan_batches():
                if tagged.fragment.path != current:
                    current, rows_before = tagged.fragment.path, 0
                    done = next(i for i in range(done, len(fragments)) if fragments[i].path == current)
                if len(tagged.record_batch):
                    yield self._judged(current, rows_before, tagged.record_batch, columns, {})
                rows_before += len(tagged.record_batch)
            return
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            if isinstance(error, FastalsError):
                raise
        yield from self._slowly([fragment.path for fragment in fragments[done:]], rows_before, columns)

    def _slowly(self, files: Sequence[str], rows_before: int, columns: Sequence[Wanted]) -> Iterator[Batch]:
        """Yield what is behind so many rows of the first of these files, each value by itself in doubt."""
        import pyarrow as pa

        for file in files:
            try:
                opened = self._open(None, [file])
                there = [column.name for column in columns if column.name in opened.schema.names]
                row = 0
                for rows in opened.scanner(columns=there, **READ_AHEAD).to_batches():
                    skipped, row = max(0, rows_before - row), row + len(rows)
                    if skipped < len(rows):
                        rows = rows.slice(skipped)
                        arrays, bad = _cast(rows, columns)
                        cast = pa.record_batch(arrays, [column.name for column in columns])
                        yield self._judged(file, row - len(rows), cast, columns, bad)
            except FastalsError:
                raise
            except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
                where = f" after row {row}" if row else ""
                raise FileFormatError(
                    f"{told_address(file)}: cannot be read as Parquet{where}: {_one_line(error)}"
                ) from error
            rows_before = 0

    def _judged(
        self, file: str, before: int, rows: Any, columns: Sequence[Wanted], refused: Mapping[str, tuple[Any, Any]]
    ) -> Batch:
        """Return a batch without its bad rows; raise for the first of them where that is the rule."""
        batch = Batch(told_address(file), before + 1, rows)
        findings = []
        for column in columns:
            array = rows.column(column.name)
            if column.name in refused:
                mask, own = refused[column.name]
                kind, what = _kind_of(column), _said_of(column, own)
                findings.append((mask, kind, column.name, what))
            if column.role == "id":
                findings += _bad_ids(array, column)
            elif column.required or column.finite:
                mask = np.asarray(array.is_null()) & column.required | _not_finite(array)
                findings.append((mask, NUMBER, column.name, lambda at, array=array: _no_number(array[at].as_py())))
        findings = [finding for finding in findings if finding[0].any()]
        for mask, kind, name, what in sorted(findings, key=lambda finding: int(np.argmax(finding[0]))):
            self.bad.refuse(batch, mask, kind, name, what)
        return batch.compact()


def _check_kind(fragment: Any, column: Wanted) -> None:
    """Refuse ids of another kind than in the first file: Arrow would make them the same, true 1 and 1 "1"."""
    schema = fragment.physical_schema
    if column.role == "id" and column.name in schema.names:
        own = schema.field(column.name).type
        kind, first = _kind_of_ids(own), _kind_of_ids(column.type)
        written_out = (kind, first) == ("integers", "text")
        if kind in (first, "null") or {kind, first} == {"integers", "numbers"}:
            return
        if not (written_out and (column.text or column.integer)):
            what = f"column {column.name!r} holds {kind}, but {first} in the first file"
            hint = ": say ids='text' if they are the same" if {kind, first} == {"integers", "text"} else ""
            raise DataError(f"{told_address(fragment.path)}: {what}{hint}")


def _kind_of_ids(kind: pa.DataType) -> str:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return _kind_of_ids(kind.value_type)
    if pa.types.is_integer(kind):
        return "integers"
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "numbers"
    return "text" if "string" in str(kind) else str(kind)


def _bad_ids(array: Any, column: Wanted) -> list[tuple[NDArray[np.bool_], str, str, Any]]:
    found: list[tuple[NDArray[np.bool_], str, str, Any]] = []
    missing = missing_ids(array)
    if missing is not None:
        found.append((missing, MISSING_ID, column.name, lambda at: MISSING))
    other = _of_another_kind(array, column)
    if other is not None:
        found.append((other, OTHER_KIND, column.name, lambda at: no_integer(array[at].as_py())))
    return found


def _of_another_kind(array: Any, column: Wanted) -> NDArray[np.bool_] | None:
    return no_integers(array) if column.integer else no_wholes(array)


def _no_number(value: Any) -> str:
    return MISSING_NUMBER if value is None else f"{value!r} is no finite number"


def _kind_of(column: Wanted) -> str:
    import pyarrow as pa

    if column.role == "id":
        return OTHER_KIND
    return NUMBER if column.role == "number" else TIME if pa.types.is_temporal(column.type) else VALUE


def _said_of(column: Wanted, own: Any) -> Any:
    import pyarrow as pa

    if column.role == "id" and pa.types.is_integer(column.type):
        return lambda at: no_integer(own[at].as_py())
    return lambda at: f"{own[at].as_py()!r} is no {words(column.type)}"


def _cast(rows: Any, columns: Sequence[Wanted]) -> tuple[list[Any], dict[str, tuple[NDArray[np.bool_], Any]]]:
    """Return the columns in their types, and which values are none; those are null."""
    import pyarrow as pa

    arrays, refused = [], {}
    for column in columns:
        if column.name not in rows.schema.names:
            arrays.append(pa.nulls(len(rows), column.type))
            continue
        own = rows.column(column.name)
        try:
            arrays.append(own.cast(column.type))
        except pa.ArrowException:
            values, bad = [], np.zeros(len(own), bool)
            for at in range(len(own)):
                try:
                    values.append(own.slice(at, 1).cast(column.type))
                except pa.ArrowException:
                    values.append(pa.nulls(1, column.type))
                    bad[at] = True
            arrays.append(pa.concat_arrays(values))
            refused[column.name] = bad, own
    return arrays, refused


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__

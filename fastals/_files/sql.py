"""Rows that come as a stream of Arrow columns, in bounded memory: of SQL over files, of any ``__arrow_c_stream__``."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from .._core import LOGGER, ArgumentTypeError, DataError, FastalsError, ParameterError, check_path, resolve_num_threads
from .arrow import BATCH_ROWS
from .storage import has_pyarrow, need

if TYPE_CHECKING:
    import pyarrow as pa

_QUOTED = re.compile(r"'((?:[^']|'')+)'|\"((?:[^\"]|\"\")+)\"")


class SQL:
    """The rows of one SELECT statement, as DuckDB reads it: a source of events for :func:`fastals.scoring.score`.

    Files are read where the statement names them: ``read_parquet('dt=*/*.parquet')``, ``read_csv``, ``read_json``, or
    ``FROM 'events.parquet'``. Of CSV DuckDB guesses the types, of ids too (007 becomes 7): say them, as in
    ``read_csv('log.csv', types = {'user': 'VARCHAR', 'item': 'VARCHAR'})``.

    Rows are streamed; what needs memory (joins, groups, sorts, windows) goes to temporary files beyond
    ``memory_limit``. Anything that reads Arrow streams reads it, too: ``polars.from_arrow(SQL(...))``.

    Rows come in the order of the files where a statement keeps it (filters, expressions, lists exploded). GROUP BY,
    DISTINCT and joins keep none; where the last bit of the scores shall be the same each time, end such a statement
    with ``ORDER BY ALL``.

    Parameters
    ----------
    query : str
        One SELECT statement, perhaps WITH, FROM first, or VALUES. Times are in UTC.
    directory : path, optional
        What relative paths in the statement start from; None: the working directory.
    memory_limit : str, optional
        What DuckDB may hold, such as "4GB". None: half of the memory of the machine, or of its container.

    Raises
    ------
    ParameterError
        No single SELECT statement; or a relative path that DuckDB would look for in the working directory.
    MissingDependencyError
        Without DuckDB and pyarrow: ``pip install 'fastals[sql]'``.

    Examples
    --------
    >>> from fastals.scoring import SQL, score
    >>> events = SQL("SELECT * FROM (VALUES ('ann', 'x', 3), ('bob', 'x', 0)) AS _(user, item, plays) WHERE plays > 0")
    >>> score(events, {"signals": {"plays": {}}})
    <Scores: 1 events of 1 users with 1 items>
    """

    def __init__(
        self, query: str, *, directory: str | os.PathLike[str] | None = None, memory_limit: str | None = None
    ) -> None:
        need("sql", "duckdb", "SQL")
        need("sql", "pyarrow", "SQL")
        if not isinstance(query, str):
            raise ArgumentTypeError(f"query must be text, got {type(query).__name__}")
        if not isinstance(memory_limit, str | None):
            raise ArgumentTypeError(f"memory_limit must be text such as '4GB', got {memory_limit!r}")
        self.query, self.memory_limit = query, memory_limit
        self.directory = None if directory is None else os.path.abspath(check_path("directory", directory))
        self._check()

    def __repr__(self) -> str:
        return f"SQL({' '.join(self.query.split())!r})"

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.reader().__arrow_c_stream__(requested_schema)

    def reader(self, num_threads: int | None = None) -> pa.RecordBatchReader:
        """Run the statement; returns a reader of its rows.

        Parameters
        ----------
        num_threads : int, optional
            Default: all allowed cores.

        Raises
        ------
        DataError
            What DuckDB refuses, now or when the rows are read.

        Examples
        --------
        >>> from fastals.scoring import SQL
        >>> SQL("SELECT 1 AS one, 'x' AS two").reader().read_all().to_pylist()
        [{'one': 1, 'two': 'x'}]
        """
        import pyarrow as pa

        batches = self._batches(resolve_num_threads(num_threads))
        return pa.RecordBatchReader.from_batches(next(batches), batches)

    def _check(self) -> None:
        """Refuse what is no single SELECT statement, and paths that would not be looked for in the directory."""
        import duckdb

        with duckdb.connect() as connection:
            try:
                kinds = [statement.type.name for statement in connection.extract_statements(self.query)]
            except duckdb.Error as error:
                raise ParameterError(f"query: {_told(error)}") from None
        if len(kinds) != 1 or kinds[0].split("_")[0] != "SELECT":
            raise ParameterError(f"query must be one SELECT statement, got {', '.join(kinds) or 'none'}")
        if self.directory is None or self.directory == os.getcwd():
            return
        if "," in self.directory:
            raise ParameterError(
                f"directory must have no comma in its name, where DuckDB splits, got {self.directory!r}"
            )
        for found in _QUOTED.finditer(self.query):
            name = found[1] or found[2]
            # a glob is only looked for in the directory; of a plain name DuckDB takes that of the working directory
            if not os.path.isabs(name) and os.path.isfile(name):
                raise ParameterError(
                    f"query: {name!r} is a file of the working directory too, but paths are relative to "
                    f"{self.directory!r} here: write it absolute"
                )

    def _batches(self, threads: int) -> Iterator[Any]:
        """Yield the schema, then the rows."""
        from concurrent.futures import ThreadPoolExecutor

        import duckdb
        import pyarrow as pa

        with tempfile.TemporaryDirectory(prefix="fastals-sql-") as spill:
            settings: dict[str, str | bool | int | float | list[str]] = {
                "threads": threads,
                "temp_directory": spill,
                "preserve_insertion_order": True,
                "python_enable_replacements": False,  # a table is a file or a WITH, never a variable of the program
            }
            try:
                with duckdb.connect(config=settings) as connection:
                    connection.execute("SET TimeZone = 'UTC'; SET enable_progress_bar = false")
                    connection.execute(f"SET file_search_path = {_text(self.directory or '')}")
                    limit = self.memory_limit or _half(connection)
                    connection.execute(f"SET memory_limit = {_text(limit)}")
                    LOGGER.info("DuckDB %s, %s, %d threads: %r", duckdb.__version__, limit, threads, self)
                    # in a thread of its own: the one that waits can be interrupted, DuckDB cannot
                    with ThreadPoolExecutor(1) as other:
                        try:
                            stream = other.submit(lambda: pa.RecordBatchReader.from_stream(connection.sql(self.query)))
                            yield stream.result().schema
                            while (rows := other.submit(next, stream.result(), None).result()) is not None:
                                yield rows
                        except BaseException:
                            connection.interrupt()
                            raise
            except (duckdb.Error, pa.ArrowException, OSError) as error:
                if isinstance(error, FastalsError):
                    raise
                raise DataError(f"query: {_told(error)}") from None


def _half(connection: Any) -> str:
    """Return half of what there is, as DuckDB has it, which takes 80% for itself."""
    number, unit = str(connection.execute("SELECT current_setting('memory_limit')").fetchall()[0][0]).split()
    return f"{float(number) * 50 / 80:.2f} {unit}"


def _text(text: str) -> str:
    """Return text as SQL has it."""
    return "'" + text.replace("'", "''") + "'"


def _told(error: BaseException) -> str:
    """Return what DuckDB refuses in one line, without the picture of the place."""
    text = " ".join(str(error).split("\n\nLINE")[0].split())
    if "Out of Memory" in text:
        text = text.split("Possible solutions")[0].strip() + "; give it more: memory_limit"
    return text


# --- any stream ------------------------------------------------------------------------------------------------------


class Stream(NamedTuple):
    """Columns and types, and the rows in some order of batches, which can be had once."""

    name: str
    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]


def is_stream(data: object) -> bool:
    """Whether data come as a stream of Arrow columns, and something is there to read it."""
    return (hasattr(data, "__arrow_c_stream__") or _is_lazy(data)) and has_pyarrow()


def open_stream(data: Any, num_threads: int | None = None) -> Stream:
    """Open a query, a frame, a reader of Arrow, whatever has ``__arrow_c_stream__``, or a LazyFrame of polars.

    Raises
    ------
    DataError
        What cannot be read, now or when the rows are.
    """
    import pyarrow as pa

    if isinstance(data, SQL):
        reader = data.reader(num_threads)
        return Stream("query", reader.schema, _slices("query", reader))
    try:
        reader = _lazy_reader(data) if _is_lazy(data) else pa.RecordBatchReader.from_stream(data)
    except FastalsError:
        raise
    except Exception as error:  # what another library's stream raises is its own affair
        raise _refusal("events", error) from error
    return Stream("events", reader.schema, _slices("events", reader))


def _is_lazy(data: object) -> bool:
    """Whether data are a LazyFrame of polars."""
    return hasattr(data, "collect") and hasattr(data, "collect_schema")


def _lazy_reader(frame: Any) -> pa.RecordBatchReader:
    """Return the rows of a LazyFrame, in order, never all at once."""
    import pyarrow as pa

    if not hasattr(frame, "collect_batches"):
        raise ArgumentTypeError(f"events: this {type(frame).__name__} cannot be read in parts: pass its collect()")
    tables = (part.to_arrow() for part in frame.collect_batches(chunk_size=BATCH_ROWS, engine="streaming"))
    schema = frame.head(0).collect().to_arrow().schema
    return pa.RecordBatchReader.from_batches(schema, (rows for table in tables for rows in table.to_batches()))


def _slices(name: str, reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    """Yield a reader's batches, large ones in parts."""
    try:
        with reader:
            for rows in reader:
                for first in range(0, len(rows), BATCH_ROWS):
                    yield rows.slice(first, BATCH_ROWS)
    except FastalsError:
        raise
    except Exception as error:
        raise _refusal(name, error) from error


def _refusal(name: str, error: BaseException) -> DataError:
    text = " ".join(str(error).split(" Detail: Python exception")[0].split())
    return DataError(f"{name}: cannot be read as a table: {text or type(error).__name__}")

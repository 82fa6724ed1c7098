"""Files: where they are, how they are read as batches of columns, what they say of settings."""

from .bad_rows import MAX_BAD_ROWS, BadRows, Batch
from .batches import NUMBERS, Plain, Source, format_of
from .dialect import IDS, OF_ALL_EVENTS, READING, Reading, bad_rows_of
from .rows import MISSING, is_integer
from .settings import parse_toml, read_settings_file
from .sql import SQL, Stream, is_stream, open_stream
from .storage import (
    check_target,
    fetched,
    has_pyarrow,
    is_remote,
    locate,
    naming,
    need,
    open_file,
    replacing,
    replacing_folder,
    suffix_of,
)
from .time_columns import is_missing, number_dtype, numerals
from .times import Times, clock, is_span, iso, plain, seconds_of, span_seconds

__all__ = [
    "IDS",
    "MAX_BAD_ROWS",
    "MISSING",
    "NUMBERS",
    "OF_ALL_EVENTS",
    "READING",
    "SQL",
    "BadRows",
    "Batch",
    "Plain",
    "Reading",
    "Source",
    "Stream",
    "Times",
    "bad_rows_of",
    "check_target",
    "clock",
    "fetched",
    "format_of",
    "has_pyarrow",
    "is_integer",
    "is_missing",
    "is_remote",
    "is_span",
    "is_stream",
    "iso",
    "locate",
    "naming",
    "need",
    "number_dtype",
    "numerals",
    "open_file",
    "open_stream",
    "parse_toml",
    "plain",
    "read_settings_file",
    "replacing",
    "replacing_folder",
    "seconds_of",
    "span_seconds",
    "suffix_of",
]

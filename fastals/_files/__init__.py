"""Files: where they are, how they are read as batches of columns, what they say of settings."""

from .batches import BATCH_ROWS, FORMATS, Batch, Source, format_of
from .settings import read_settings_file
from .storage import (
    check_target,
    fetched,
    has_pyarrow,
    is_remote,
    is_single_file,
    locate,
    need,
    open_file,
    replacing,
    suffix_of,
)

__all__ = [
    "BATCH_ROWS",
    "FORMATS",
    "Batch",
    "Source",
    "check_target",
    "fetched",
    "format_of",
    "has_pyarrow",
    "is_remote",
    "is_single_file",
    "locate",
    "need",
    "open_file",
    "read_settings_file",
    "replacing",
    "suffix_of",
]

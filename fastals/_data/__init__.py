"""Interactions, from whatever they come in: labels, readers, batches, stores."""

from .batches import BATCH_ROWS, FORMATS, Batch, Source, format_of
from .builder import DUPLICATES
from .cells import cell_arrays, cells_of, is_stored, manifest_digest, may_repeat
from .indexer import Ids, with_ids
from .interactions import (
    SCORING,
    Interactions,
    append,
    as_interactions,
    as_observations,
    has_repeats,
    ones_like,
    trusted,
)
from .labels import Coded, Labels, StreamEncoder, decode_labels, encode_labels
from .lines import Compressed, Lines, Lists, cell_numbers, contains, cut, distinct
from .readers import arrow_ids, choose_columns, has_pyarrow, is_frame
from .storage import check_target, fetched, is_remote, is_single_file, locate, need, open_file, replacing, suffix_of

__all__ = [
    "BATCH_ROWS",
    "DUPLICATES",
    "FORMATS",
    "SCORING",
    "Batch",
    "Coded",
    "Compressed",
    "Ids",
    "Interactions",
    "Labels",
    "Lines",
    "Lists",
    "Source",
    "StreamEncoder",
    "append",
    "arrow_ids",
    "as_interactions",
    "as_observations",
    "cell_arrays",
    "cell_numbers",
    "cells_of",
    "check_target",
    "choose_columns",
    "contains",
    "cut",
    "decode_labels",
    "distinct",
    "encode_labels",
    "fetched",
    "format_of",
    "has_pyarrow",
    "has_repeats",
    "is_frame",
    "is_remote",
    "is_single_file",
    "is_stored",
    "locate",
    "manifest_digest",
    "may_repeat",
    "need",
    "ones_like",
    "open_file",
    "replacing",
    "suffix_of",
    "trusted",
    "with_ids",
]

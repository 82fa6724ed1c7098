"""Interactions, from whatever they come in: labels, readers, batches, stores."""

from .builder import DUPLICATES
from .cells import cell_arrays, cells_of, is_stored, manifest_digest, may_repeat
from .columns import Coded
from .frames import arrow_ids, choose_columns, is_frame
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
from .labels import Labels, StreamEncoder, decode_labels, encode_labels
from .lines import Compressed, Lines, Lists, cell_numbers, contains, cut, distinct

__all__ = [
    "DUPLICATES",
    "SCORING",
    "Coded",
    "Compressed",
    "Ids",
    "Interactions",
    "Labels",
    "Lines",
    "Lists",
    "StreamEncoder",
    "append",
    "arrow_ids",
    "as_interactions",
    "as_observations",
    "cell_arrays",
    "cell_numbers",
    "cells_of",
    "choose_columns",
    "contains",
    "cut",
    "decode_labels",
    "distinct",
    "encode_labels",
    "has_repeats",
    "is_frame",
    "is_stored",
    "manifest_digest",
    "may_repeat",
    "ones_like",
    "trusted",
    "with_ids",
]

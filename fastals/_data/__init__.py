"""Interactions, from whatever they come in: labels, readers, batches, stores."""

from .builder import DUPLICATES, Pairs, append, knowing, known_pairs, left_known, selected
from .cells import (
    cell_arrays,
    cells_of,
    has_repeats,
    is_stored,
    known_of,
    manifest_digest,
    may_repeat,
    met_by,
    ones_like,
)
from .columns import Coded
from .frames import ITEM_COLUMNS, arrow_ids, choose_column, choose_columns, column_names, frame_columns, is_frame
from .indexer import Ids, with_ids, written
from .interactions import Interactions, as_interactions, as_observations, of_pairs, trusted
from .labels import Labels, StreamEncoder, decode_labels, encode_labels, factorize
from .lines import Compressed, Known, Lines, Lists, cell_numbers, contains, cut, distinct
from .readers import KNOWN, SCORE, SCORING

__all__ = [
    "DUPLICATES",
    "ITEM_COLUMNS",
    "KNOWN",
    "SCORE",
    "SCORING",
    "Coded",
    "Compressed",
    "Ids",
    "Interactions",
    "Known",
    "Labels",
    "Lines",
    "Lists",
    "Pairs",
    "StreamEncoder",
    "append",
    "arrow_ids",
    "as_interactions",
    "as_observations",
    "cell_arrays",
    "cell_numbers",
    "cells_of",
    "choose_column",
    "choose_columns",
    "column_names",
    "contains",
    "cut",
    "decode_labels",
    "distinct",
    "encode_labels",
    "factorize",
    "frame_columns",
    "has_repeats",
    "is_frame",
    "is_stored",
    "knowing",
    "known_of",
    "known_pairs",
    "left_known",
    "manifest_digest",
    "may_repeat",
    "met_by",
    "of_pairs",
    "ones_like",
    "selected",
    "trusted",
    "with_ids",
    "written",
]

"""What a fit makes: one immutable state, its file, and the rows that come to it later."""

from .ageing import DUE, Ageing, ageing_of
from .file import (
    LATER,
    Tensors,
    content_of,
    duplicates_of,
    identity_of,
    load_model,
    model_of,
    plain,
    read_row_weights,
    read_state,
    save_state,
    stored,
    write_model,
)
from .fold_in import fold_in, grown, in_dtype, solve_new
from .forget import Forgotten, Rest, forgotten, rest_of, without
from .replacement import move_in, place_for
from .state import FittedState, parts_of

__all__ = [
    "DUE",
    "LATER",
    "Ageing",
    "FittedState",
    "Forgotten",
    "Rest",
    "Tensors",
    "ageing_of",
    "content_of",
    "duplicates_of",
    "fold_in",
    "forgotten",
    "grown",
    "identity_of",
    "in_dtype",
    "load_model",
    "model_of",
    "move_in",
    "parts_of",
    "place_for",
    "plain",
    "read_row_weights",
    "read_state",
    "rest_of",
    "save_state",
    "solve_new",
    "stored",
    "without",
    "write_model",
]

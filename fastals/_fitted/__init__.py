"""What a fit makes: one immutable state, its file, and the rows that come to it later."""

from .file import LATER, Tensors, duplicates_of, load_model, plain, read_state, save_state, stored, write_model
from .fold_in import fold_in, grown, in_dtype, solve_new
from .forget import Forgotten, Rest, forgotten, rest_of, without
from .state import FittedState, parts_of

__all__ = [
    "LATER",
    "FittedState",
    "Forgotten",
    "Rest",
    "Tensors",
    "duplicates_of",
    "fold_in",
    "forgotten",
    "grown",
    "in_dtype",
    "load_model",
    "parts_of",
    "plain",
    "read_state",
    "rest_of",
    "save_state",
    "solve_new",
    "stored",
    "without",
    "write_model",
]

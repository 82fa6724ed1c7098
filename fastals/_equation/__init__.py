"""The row equation, its settings, and the descent that solves it: one half-sweep after the other."""

from .balance import turned
from .checkpoint import Checkpoint, digest, digest_of
from .descent import Descent, Side
from .equation import Biases, RowEquation, pair, unknown_equation
from .presets import EXPLICIT, IMPLICIT, Preset, Start
from .refusals import check_finite_factors, refuse_without_positive
from .rows import CHUNK, CellWeights, Prior, Rows, RowSource, RowWeights
from .settings import (
    EXPLICIT_SCALING,
    IMPLICIT_SCALING,
    LEAST_ERROR,
    Cells,
    Settings,
    check_setting,
    chosen,
    explicit_regularization,
    implicit_regularization,
    read_settings,
    spread,
    told,
    unobserved_weight,
)
from .side import ArraySide, represented, roots
from .sweep import Basis, Block, Common, Groups, Summary, WideSumsNeeded, half_sweep, schedule, split_above
from .training import Callback, Training, interruptible, train

__all__ = [
    "CHUNK",
    "EXPLICIT",
    "EXPLICIT_SCALING",
    "IMPLICIT",
    "IMPLICIT_SCALING",
    "LEAST_ERROR",
    "ArraySide",
    "Basis",
    "Biases",
    "Block",
    "Callback",
    "CellWeights",
    "Cells",
    "Checkpoint",
    "Common",
    "Descent",
    "Groups",
    "Preset",
    "Prior",
    "RowEquation",
    "RowSource",
    "RowWeights",
    "Rows",
    "Settings",
    "Side",
    "Start",
    "Summary",
    "Training",
    "WideSumsNeeded",
    "check_finite_factors",
    "check_setting",
    "chosen",
    "digest",
    "digest_of",
    "explicit_regularization",
    "half_sweep",
    "implicit_regularization",
    "interruptible",
    "pair",
    "read_settings",
    "refuse_without_positive",
    "represented",
    "roots",
    "schedule",
    "split_above",
    "spread",
    "told",
    "train",
    "turned",
    "unknown_equation",
    "unobserved_weight",
]

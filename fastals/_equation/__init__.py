"""The row equation, its settings, and the descent that solves it: one half-sweep after the other."""

from .checkpoint import Checkpoint, digest, digest_of
from .descent import Descent
from .equation import Biases, RowEquation, pair, unknown_equation
from .presets import EXPLICIT, IMPLICIT, Preset, Start
from .refusals import check_finite_factors, refuse_without_positive
from .rows import CHUNK, CellWeights, Rows, RowSource
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
from .side import ArraySide
from .sweep import Common, Summary
from .training import Callback, Training, interruptible, train

__all__ = [
    "CHUNK",
    "EXPLICIT",
    "EXPLICIT_SCALING",
    "IMPLICIT",
    "IMPLICIT_SCALING",
    "LEAST_ERROR",
    "ArraySide",
    "Biases",
    "Callback",
    "CellWeights",
    "Cells",
    "Checkpoint",
    "Common",
    "Descent",
    "Preset",
    "RowEquation",
    "RowSource",
    "Rows",
    "Settings",
    "Start",
    "Summary",
    "Training",
    "check_finite_factors",
    "check_setting",
    "chosen",
    "digest",
    "digest_of",
    "explicit_regularization",
    "implicit_regularization",
    "interruptible",
    "pair",
    "read_settings",
    "refuse_without_positive",
    "spread",
    "told",
    "train",
    "unknown_equation",
    "unobserved_weight",
]

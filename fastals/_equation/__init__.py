"""The row equation, its settings, and the descent that solves it: one half-sweep after the other."""

from .checkpoint import Checkpoint, digest, digest_of
from .descent import Descent
from .presets import EXPLICIT, IMPLICIT, Preset
from .refusals import check_finite_factors, refuse_negative_pair, refuse_without_positive
from .settings import (
    EXPLICIT_SCALING,
    IMPLICIT_SCALING,
    Cells,
    Settings,
    check_setting,
    chosen,
    explicit_regularization,
    implicit_regularization,
    read_settings,
    sizes,
    spread,
    told,
    unobserved_weight,
)
from .sweep import CHUNK, CellWeights, FactorArray, Rows, Side
from .training import Callback, Training, train

__all__ = [
    "CHUNK",
    "EXPLICIT",
    "EXPLICIT_SCALING",
    "IMPLICIT",
    "IMPLICIT_SCALING",
    "Callback",
    "CellWeights",
    "Cells",
    "Checkpoint",
    "Descent",
    "FactorArray",
    "Preset",
    "Rows",
    "Settings",
    "Side",
    "Training",
    "check_finite_factors",
    "check_setting",
    "chosen",
    "digest",
    "digest_of",
    "explicit_regularization",
    "implicit_regularization",
    "read_settings",
    "refuse_negative_pair",
    "refuse_without_positive",
    "sizes",
    "spread",
    "told",
    "train",
    "unobserved_weight",
]

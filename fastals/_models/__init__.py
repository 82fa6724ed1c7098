"""The estimators: parameters, fit, tuning, loading."""

from .als import ALS
from .estimator import Estimator, with_values
from .explicit import ExplicitALS
from .implicit import ImplicitALS
from .load import load
from .tune import Tuning, tune

__all__ = [
    "ALS",
    "Estimator",
    "ExplicitALS",
    "ImplicitALS",
    "Tuning",
    "load",
    "tune",
    "with_values",
]

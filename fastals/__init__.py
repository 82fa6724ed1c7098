"""Alternating Least Squares for recommender systems, on all cores.

Rows are users, always. See :class:`ExplicitALS` for ratings, :class:`ImplicitALS` for counts, plays and clicks.
"""

from . import evaluation
from ._als import ExplicitALS, ImplicitALS, load
from ._config import show_config
from ._exceptions import (
    ArgumentTypeError,
    DataError,
    FastalsError,
    FileFormatError,
    MissingDependencyError,
    NotFittedError,
    NumericalError,
    ParameterError,
    UnknownLabelError,
)
from ._interactions import Interactions
from ._recommend import Recommendations
from ._version import __version__

__all__ = [
    "ArgumentTypeError",
    "DataError",
    "ExplicitALS",
    "FastalsError",
    "FileFormatError",
    "ImplicitALS",
    "Interactions",
    "MissingDependencyError",
    "NotFittedError",
    "NumericalError",
    "ParameterError",
    "Recommendations",
    "UnknownLabelError",
    "__version__",
    "evaluation",
    "load",
    "show_config",
]

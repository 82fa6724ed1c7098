"""Alternating Least Squares for recommender systems, on all cores.

Rows are users, always. See :class:`ExplicitALS` for ratings, :class:`ImplicitALS` for counts, plays and clicks.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from . import evaluation
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
    ServingError,
    UnknownLabelError,
)
from ._explicit import ExplicitALS
from ._implicit import ImplicitALS
from ._indexer import Ids, with_ids
from ._interactions import Interactions
from ._load import load
from ._neighbours import ItemKNN, UserKNN
from ._recommend import Recommendations
from ._rerank import mmr
from ._tune import Tuning, tune
from ._version import __version__

__all__ = [
    "ArgumentTypeError",
    "DataError",
    "ExplicitALS",
    "FastalsError",
    "FileFormatError",
    "Ids",
    "ImplicitALS",
    "Interactions",
    "ItemKNN",
    "MissingDependencyError",
    "NotFittedError",
    "NumericalError",
    "ParameterError",
    "Recommendations",
    "ServingError",
    "Tuning",
    "UnknownLabelError",
    "UserKNN",
    "__version__",
    "evaluation",
    "load",
    "mmr",
    "report",
    "scoring",
    "serving",
    "show_config",
    "tune",
    "with_ids",
]

if _TYPE_CHECKING:
    from . import report, scoring, serving


def __getattr__(name: str) -> _Any:
    # modules that not every program needs come when they are asked for
    if name in __all__:
        return _import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

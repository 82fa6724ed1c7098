"""Alternating Least Squares for recommender systems, on all cores.

Rows are users, always. See :class:`ExplicitALS` for ratings, :class:`ImplicitALS` for counts, plays and clicks.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from . import evaluation
from ._core import (
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
    __version__,
    show_config,
)
from ._core import show_as as _show_as
from ._data import Ids, Interactions, with_ids
from ._models import ExplicitALS, ImplicitALS, Tuning, load, tune
from ._neighbours import ItemKNN, UserKNN
from ._topn import Recommendations, mmr

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

_show_as(__name__, __all__, globals())

if _TYPE_CHECKING:
    from . import report, scoring, serving


def __getattr__(name: str) -> _Any:
    # modules that not every program needs come when they are asked for
    if name in __all__:
        return _import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

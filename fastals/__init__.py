"""Alternating Least Squares for recommender systems, on all cores.

Rows are users, always. See :class:`ExplicitALS` for ratings, :class:`ImplicitALS` for counts, plays and clicks.
"""

from functools import partial as _partial
from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

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
from ._fitted import LATER as _LATER
from ._models import ExplicitALS, ImplicitALS, Tuning, load, tune
from ._topn import Recommendations, mmr

__all__ = [  # noqa: RUF022 - EASE is a class, not the constant that an isort-style order makes of it
    "ArgumentTypeError",
    "DataError",
    "EASE",
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
    "spark",
    "tune",
    "with_ids",
]

_show_as(__name__, __all__, globals())

if _TYPE_CHECKING:
    from . import evaluation, report, scoring, serving, spark
    from ._neighbours import EASE, ItemKNN, UserKNN


def __getattr__(name: str) -> _Any:
    # what not every program needs comes when it is asked for
    if name in _LATER:
        module = _import_module(f"{__name__}._neighbours")
        globals()[name] = getattr(module, name)
        _show_as(__name__, [name], globals())
        return globals()[name]
    if name in __all__:
        return _import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


_LATER.update({name: _partial(__getattr__, name) for name in ("EASE", "ItemKNN", "UserKNN")})

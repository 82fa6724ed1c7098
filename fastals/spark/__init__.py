"""ALS on Apache Spark, with the kernels of fastals inside the tasks.

:class:`ALS` and :class:`ALSModel` are those of ``pyspark.ml.recommendation``: the same parameters, schemas and files.
Spark schedules, shuffles, stores and recovers; nothing here needs more of it than DataFrames and Arrow, so that the
same code runs in classic Spark and over Spark Connect. Models that Spark has saved are read and written without Spark,
too: :func:`load_model`, :func:`save_model`.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from .._core import MissingDependencyError as _MissingDependencyError
from .._core import show_as as _show_as

if _TYPE_CHECKING:
    from ._als import ALS
    from ._local import load_model, save_model
    from ._model import ALSModel

__all__ = [
    "ALS",
    "ALSModel",
    "load_model",
    "save_model",
]

_MODULES = {"ALS": "_als", "ALSModel": "_model", "load_model": "_local", "save_model": "_local"}


def __getattr__(name: str) -> _Any:
    # where Spark is not, files of its models can be read all the same
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        globals()[name] = getattr(_import_module(f"{__name__}.{_MODULES[name]}"), name)
    except ImportError as error:
        missing = (error.name or "").split(".")[0]
        if missing not in ("pyspark", "pyarrow", "pandas"):
            raise
        raise _MissingDependencyError(f"{__name__}.{name} needs {missing}: pip install 'fastals[spark]'") from None
    _show_as(__name__, [name], globals())
    return globals()[name]

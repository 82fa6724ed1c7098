"""A report on a model as one HTML file with its plots inside; needs ``pip install 'fastals[plot]'``."""

from .._core import show_as as _show_as
from ._html import (
    write_report,
)

__all__ = [
    "write_report",
]

_show_as(__name__, __all__, globals())

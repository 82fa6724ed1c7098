"""The command line."""

from . import _commands
from ._commands import PARAMETERS, WRITERS

__all__ = [
    "PARAMETERS",
    "WRITERS",
    "_commands",
]

"""The command line: one file a command, each with its options and what it does."""

from ._main import main

__all__ = ["main"]

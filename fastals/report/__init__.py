"""A report on a model as one HTML file with its plots inside; needs ``pip install 'fastals[plot]'``."""

from ._html import (
    write_report,
)

__all__ = [
    "write_report",
]

"""What one asks a model about itself: why, how healthy, how large."""

from .comparison import check
from .diagnose import describe
from .explain import Explanation, contributions, row_system
from .memory import MemoryEstimate, estimate

__all__ = [
    "Explanation",
    "MemoryEstimate",
    "check",
    "contributions",
    "describe",
    "estimate",
    "row_system",
]

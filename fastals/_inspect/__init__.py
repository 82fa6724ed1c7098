"""What one asks a model about itself: why, how healthy, how large."""

from .comparison import check
from .diagnose import describe
from .explain import Explanation, explain
from .memory import MemoryEstimate, estimate

__all__ = [
    "Explanation",
    "MemoryEstimate",
    "check",
    "describe",
    "estimate",
    "explain",
]

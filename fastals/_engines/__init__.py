"""How ratings of a Spark frame are fitted: in one task that has them all, or in blocks on all executors."""

from .ask import Ask, Columns, Outcome
from .fitting import fit
from .task import estimator

__all__ = ["Ask", "Columns", "Outcome", "estimator", "fit"]

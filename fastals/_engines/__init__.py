"""How ratings of a Spark frame are fitted: in one task that has them all, or in blocks on all executors."""

from .ask import Ask, Columns, Outcome
from .executors import probe
from .fitting import fit
from .pack import column_of
from .task import estimator

__all__ = ["Ask", "Columns", "Outcome", "column_of", "estimator", "fit", "probe"]

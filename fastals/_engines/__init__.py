"""How ratings of a Spark frame are fitted: in one task that has them all, or in blocks on all executors."""

from .ask import Ask, Columns, Outcome
from .executors import probe
from .fitting import fit
from .pack import column_of, columns_named, hashed, parted
from .pieces import ARROW, SCHEMA, Piece, batches, pieces_of, this_task
from .task import estimator

__all__ = [
    "ARROW",
    "SCHEMA",
    "Ask",
    "Columns",
    "Outcome",
    "Piece",
    "batches",
    "column_of",
    "columns_named",
    "estimator",
    "fit",
    "hashed",
    "parted",
    "pieces_of",
    "probe",
    "this_task",
]

"""Models of cells: neighbourhoods, the baselines of collaborative filtering, and linear item models."""

from .ease import EASE
from .estimators import ItemKNN, UserKNN

__all__ = [
    "EASE",
    "ItemKNN",
    "UserKNN",
]

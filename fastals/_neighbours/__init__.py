"""Neighbourhood models, the baselines of collaborative filtering."""

from .estimators import ItemKNN, UserKNN

__all__ = [
    "ItemKNN",
    "UserKNN",
]

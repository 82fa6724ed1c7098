"""Neighbourhood models, the baselines of collaborative filtering."""

from .neighbours import ItemKNN, UserKNN

__all__ = [
    "ItemKNN",
    "UserKNN",
]

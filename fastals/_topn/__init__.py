"""The best of all scores, exactly, and what a model is asked for."""

from .panels import ItemLists
from .recommender import Axis, Recommendations, Recommender
from .rerank import mmr
from .search import Wanted

__all__ = [
    "Axis",
    "ItemLists",
    "Recommendations",
    "Recommender",
    "Wanted",
    "mmr",
]

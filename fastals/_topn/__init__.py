"""The best of all scores, exactly, and what a model is asked for."""

from .fitted import FactorFitted, Fitted
from .panels import ItemLists
from .recommender import Recommender
from .requests import Recommendations, is_single, listed
from .rerank import mmr
from .search import Wanted

__all__ = [
    "FactorFitted",
    "Fitted",
    "ItemLists",
    "Recommendations",
    "Recommender",
    "Wanted",
    "is_single",
    "listed",
    "mmr",
]

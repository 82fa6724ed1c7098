"""The best of all scores, exactly, and what a model is asked for."""

from .boost import numbers_of
from .fitted import FactorFitted, Fitted
from .panels import ItemLists, Panels
from .recommender import Recommender
from .requests import Recommendations, is_single, listed
from .rerank import mmr
from .search import Wanted, top_n

__all__ = [
    "FactorFitted",
    "Fitted",
    "ItemLists",
    "Panels",
    "Recommendations",
    "Recommender",
    "Wanted",
    "is_single",
    "listed",
    "mmr",
    "numbers_of",
    "top_n",
]

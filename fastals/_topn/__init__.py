"""The best of all scores, exactly, and what a model is asked for."""

from .checks import check_fitted, check_query_factors
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
    "check_fitted",
    "check_query_factors",
    "mmr",
]

"""Splits, metrics with their definitions, baselines, and the measurement of a model against held-out interactions.

Ranking metrics judge lists of recommended items, one row per user. An item is *relevant* to a user when the user's test
row holds it with a value above 0; users without a relevant item are left out of the mean.
"""

from .._core import show_as as _show_as
from ._compare import (
    Comparison,
    compare,
)
from ._evaluate import (
    auc,
    evaluate,
    most_popular,
    popularity_baseline,
)
from ._metrics import RANKING as RANKING
from ._metrics import (
    coverage_at_k,
    entropy_at_k,
    gini_at_k,
    hit_rate_at_k,
    mae,
    map_at_k,
    mrr_at_k,
    ndcg_at_k,
    novelty_at_k,
    precision_at_k,
    r2,
    recall_at_k,
    rmse,
)
from ._splits import held_out as held_out
from ._splits import (
    leave_last_out,
    leave_random_out,
    split_at_time,
    split_users,
    train_test_split,
)

__all__ = [
    "Comparison",
    "auc",
    "compare",
    "coverage_at_k",
    "entropy_at_k",
    "evaluate",
    "gini_at_k",
    "hit_rate_at_k",
    "leave_last_out",
    "leave_random_out",
    "mae",
    "map_at_k",
    "most_popular",
    "mrr_at_k",
    "ndcg_at_k",
    "novelty_at_k",
    "popularity_baseline",
    "precision_at_k",
    "r2",
    "recall_at_k",
    "rmse",
    "split_at_time",
    "split_users",
    "train_test_split",
]

_show_as(__name__, __all__, globals())

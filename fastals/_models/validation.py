"""Held-out cells, and how well a model under training meets them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .._core import DataError, ParameterError, check_int
from .._data import Interactions, cell_numbers, cells_of, contains
from .._equation import Training, digest
from .._topn import FactorFitted


class Validation:
    """Held-out cells, and how well a model under training meets them.

    Parameters
    ----------
    data : whatever ``fit`` accepts
        Cells of users and items that the training data do not have are passed over.
    metric : {"rmse", "ndcg@k", "recall@k"}
        What decides which iteration is the best. "rmse" is measured alone, the other two together.
    patience : int, optional
        Iterations without a better value after which training ends.
    train : Interactions
        The training data, whose cells no list holds and nobody is judged by.
    state : callable
        Gives the state of the present factors.
    ratings : bool
    duplicates : str
        How those data are merged: see :func:`held_out`.

    Raises
    ------
    DataError
        Nothing is left to measure.
    """

    def __init__(
        self,
        data: Any,
        metric: str,
        patience: int | None,
        train: Interactions,
        state: Callable[[], FactorFitted],
        ratings: bool,
        duplicates: str,
        num_threads: int,
    ) -> None:
        from ..evaluation import held_out  # not every fit measures

        self.metric, self.state, self.num_threads = metric, state, num_threads
        self.patience = None if patience is None else check_int("patience", patience, low=1)
        name, _, k = metric.partition("@")
        self.k = int(k or 0)
        self.sign = -1 if name == "rmse" else 1
        held = held_out(data, ratings, duplicates, users=train.user_labels, items=train.item_labels)
        rows = np.repeat(np.arange(held.n_users, dtype=np.int32), np.diff(held.indptr))
        cells = cell_numbers(held.indptr, held.indices, held.n_items)
        keep = np.ones(len(cells), bool)
        if self.k:
            keep = held.values > 0
            keep &= np.diff(cells, prepend=-1) > 0
            keep &= ~contains(cells_of(train, np.unique(rows), met=True), cells)
        self.rows, self.columns, self.cells = rows[keep], held.indices[keep], cells[keep]
        self.values = held.values[keep].astype(np.float64)
        if not len(self.cells):
            new = "above 0 that the training data do not hold, " if self.k else ""
            raise DataError(f"validation must have a cell {new}of users and items that the training data hold")
        self.users, relevant = np.unique(self.rows, return_counts=True)
        self.relevant = relevant.astype(np.int64)

    def measure(self, training: Training) -> dict[str, float]:
        """Return every metric by its name."""
        from ..evaluation import RANKING, rmse  # not every fit measures

        state = self.state()
        if not self.k:
            scores = state.pair_scores(self.rows, self.columns, self.num_threads)
            return {self.metric: rmse(self.values, scores)}
        lists, _ = state.top_items(self.users, self.k, True, self.num_threads)
        found = np.where(lists < 0, -1, lists + self.users[:, np.newaxis].astype(np.int64) * len(state.items))
        hits = contains(self.cells, found.ravel()).reshape(found.shape)
        return {
            f"{name}@{self.k}": float(RANKING[name](hits, self.relevant, self.k).mean()) for name in ("ndcg", "recall")
        }

    def is_better(self, metrics: Mapping[str, float], training: Training) -> bool:
        """Whether an iteration of these metrics is the best so far."""
        if not training.best:
            return True
        best = training.history[training.best_iteration - 1][1][self.metric]
        return self.sign * metrics[self.metric] > self.sign * best

    def digest(self) -> str:
        """Return a fingerprint of all that decides when training ends, and which iteration is kept."""
        return digest(self.metric, self.patience, self.cells, self.values)

    def exhausted(self, training: Training) -> bool:
        """Whether patience has run out."""
        return self.patience is not None and len(training.history) - training.best_iteration >= self.patience


def check_validation_metric(metric: Any, default: str) -> str:
    """Return "rmse", or "ndcg@k" or "recall@k" with a number k; "rmse" is no metric where it is not the default."""
    if metric is None:
        return default
    names = ("rmse", "ndcg@k", "recall@k") if default == "rmse" else ("ndcg@k", "recall@k")
    name, _, k = metric.partition("@") if isinstance(metric, str) else ("", "", "")
    if not (f"{name}@k" in names and k.isdecimal() and int(k)) and not (metric == "rmse" == default):
        raise ParameterError(
            f"validation_metric must be one of {', '.join(map(repr, names))}, k a number such as 10, got {metric!r}"
        )
    return str(metric)

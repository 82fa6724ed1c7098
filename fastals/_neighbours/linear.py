"""What a linear item model has made of its data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .._core import Axis, FactorArray, tables
from .._data import Compressed, Interactions, Labels, cell_arrays
from .._fitted import Rest
from .._topn import ItemLists, Wanted
from .lines import logs
from .scores import Found, Lines, Places, Product, Queries, Scores, one_each, padded
from .state import CellsFitted

TOGETHER = 64
"""Columns or rows of the weights that are copied at once."""


def entered(values: NDArray[Any], weighting: str | None) -> FactorArray:
    """Return what stands for values in X."""
    stand: FactorArray = values
    if weighting == "binary":
        stand = np.sign(values)
    elif weighting == "log":
        stand = (logs(values) / np.log(2)).astype(values.dtype)
    return stand


@dataclass(frozen=True)
class ItemScores:
    """Rows of X times the weights."""

    history: Compressed
    weights: FactorArray

    @property
    def n_columns(self) -> int:
        """Items."""
        return len(self.weights)

    def queries(self, rows: NDArray[Any] | slice) -> Queries:
        """Rows of X."""
        return Queries(ItemLists.of_rows(*self.history[:2], rows), self.history[2], None)

    def best(
        self, queries: Queries, n: int, hidden: ItemLists | None, is_open: NDArray[np.uint8] | None, num_threads: int
    ) -> Found:
        """Return the best items."""
        found: Found = tables.linear_best(
            tuple(queries.lists),
            queries.values,
            self.weights,
            n,
            num_threads,
            hidden=None if hidden is None else tuple(hidden),
            open=is_open,
        )
        return found


@dataclass(frozen=True)
class UserScores:
    """Columns of the weights, one for each query, times X'."""

    history: Compressed
    weights: FactorArray
    known: NDArray[np.bool_]
    """The items that have training cells."""

    @property
    def n_columns(self) -> int:
        """Users."""
        return len(self.history[0]) - 1

    def queries(self, rows: NDArray[Any] | slice) -> Queries:
        """Each item by itself, those without training cells as an empty list."""
        items = np.arange(len(self.known), dtype=np.int32)[rows]
        first, last, items = one_each(items)
        return Queries(ItemLists(first, last - ~self.known[items], items), np.empty(0, self.weights.dtype), None)

    def best(
        self, queries: Queries, n: int, hidden: ItemLists | None, is_open: NDArray[np.uint8] | None, num_threads: int
    ) -> Found:
        """Return the best users among those with training cells."""
        of = queries.lists.items[queries.lists.first]

        def scores(some: slice) -> NDArray[np.float64]:
            columns = np.ascontiguousarray(self.weights[:, of[some]].T)
            dots: NDArray[np.float64] = tables.row_dots(self.history, columns, num_threads)
            dots[queries.lists.lengths[some] == 0] = -np.inf
            return dots

        return best_of_rows(scores, len(of), n, self.weights.dtype, hidden, is_open, num_threads)


def best_of_rows(
    scores: Any,
    m: int,
    n: int,
    dtype: np.dtype[Any],
    hidden: ItemLists | None,
    is_open: NDArray[np.uint8] | None,
    num_threads: int,
) -> Found:
    """Return the n best of each of m rows, which ``scores`` makes for a slice of them in float64."""
    found = np.empty((m, n), np.int32), np.empty((m, n), dtype)
    for first in range(0, m, TOGETHER):
        some = slice(first, min(first + TOGETHER, m))
        lists = None if hidden is None else tuple(hidden.of(np.arange(some.start, some.stop)))
        found[0][some], found[1][some] = tables.best_of(scores(some), n, dtype, num_threads, hidden=lists, open=is_open)
    return found


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class LinearState(CellsFitted):
    """A fitted linear item model, whole and immutable.

    Attributes
    ----------
    name : str
        Of the model, for messages.
    users, items : Labels
    pairs : Interactions
        The training cells, each once.
    weights : array of shape (n_items, n_items)
        B; what item i in a history adds to the score of item j is in row i, column j.
    error : float
        How far scores are from those of exact weights, as a share; estimated.
    parameters, settings : mappings
        The constructor's parameters of the fit, and what those that may be "auto" stood for.
    duplicates : str
        What became of repeated cells, and becomes of those in histories.
    """

    name: str
    users: Labels
    items: Labels
    pairs: Interactions
    weights: FactorArray
    error: float
    parameters: Mapping[str, Any]
    settings: Mapping[str, Any]
    duplicates: str
    ratings: bool = False
    similar_are: ClassVar[str] = "similarities"

    def __post_init__(self) -> None:
        weights = self.weights.view()
        weights.flags.writeable = False
        object.__setattr__(self, "weights", weights)
        super().__post_init__()

    def __repr__(self) -> str:
        return f"<LinearState: {len(self.users)} users x {len(self.items)} items>"

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of values and scores."""
        return self.weights.dtype

    def numbers(self) -> list[NDArray[Any]]:
        """All that decides lists and scores, but for the labels."""
        kind = np.array([("binary", "log", None).index(self.settings["weighting"])])
        return [self.weights, kind, *cell_arrays(self.pairs, values=True)]

    def without(self, users: Rest, items: Rest, pairs: Interactions) -> LinearState:
        """The state without what leaves, and with the training cells that stay."""
        weights = self.weights
        if items.gone:
            weights = np.ascontiguousarray(items.rows(items.rows(weights).T).T)
        return replace(self, users=users.labels, items=items.labels, pairs=pairs, weights=weights)

    def scoring_towards(self, towards: Axis) -> Product:
        """How scores of items for users come about, or the other way round."""
        indptr, indices, values = self.pairs.arrays(self.dtype)
        stand = self.derive("history", lambda: entered(values, self.settings["weighting"]).view())
        history = indptr, indices, stand
        if towards == "items":
            return ItemScores(history, self.weights)
        return UserScores(history, self.weights, self._with_cells("items"))

    def scores_at(self, users: Lines, at: Places, threads: int) -> Scores:
        """Return the scores of some items of each user."""
        queries = self.queries("users", users)
        scores: Scores = tables.linear_at(tuple(queries.lists), queries.values, self.weights, at, threads)
        return scores

    def _open(self, towards: Axis) -> NDArray[np.bool_] | None:
        """Weights are there for all items; those without cells, all of which are zero, are in no list."""
        return self._with_cells(towards)

    def similar(self, axis: Axis, rows: NDArray[np.int32], n: int, wanted: Wanted, threads: int) -> Found:
        """By partial correlation: -P_ij / sqrt(P_ii P_jj), of which B_ij B_ji is the square."""
        is_open = self.open_similar(axis, "items", wanted)

        def scores(some: slice) -> NDArray[np.float64]:
            of = rows[some]
            towards, back = self.weights[of].astype(np.float64), self.weights[:, of].T.astype(np.float64)
            found = np.sqrt(np.maximum(towards, 0) * np.maximum(back, 0))
            return np.where(found > 0, found, -np.inf)

        best = partial(best_of_rows, scores, len(rows), min(n, len(self.weights)), self.dtype, None)
        return padded(*best(None if is_open is None else is_open.view(np.uint8), threads), n)

    def mean_scores(self, users: NDArray[np.int32], items: NDArray[np.int32]) -> Scores:
        """Score pairs, one of which the model does not know: no history or no weights, no score."""
        return np.zeros(len(users), self.dtype)

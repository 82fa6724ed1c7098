"""What a neighbourhood model has made of its data; what it shares with linear models."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from .._core import Axis, ParameterError
from .._data import Interactions, Labels, cell_arrays
from .._fitted import Rest
from .._topn import Fitted, ItemLists, Wanted
from .lines import histories, transposed
from .scores import Found, Lines, Places, Product, Queries, Scores, Scoring, open_columns, search
from .similarity import compressed, kept


class CellsFitted(Fitted):
    """A model that scores by what users had: their rows of the training cells times a matrix.

    Attributes
    ----------
    name : str
        Of the model, for messages.
    """

    name: str
    similar_are: ClassVar[str] = "neighbours"
    """What similar items are to the model, for messages."""

    @property
    @abstractmethod
    def dtype(self) -> np.dtype[Any]:
        """Of values and scores."""

    @abstractmethod
    def scoring_towards(self, towards: Axis) -> Product:
        """How scores of items for users come about, or the other way round."""

    @abstractmethod
    def scores_at(self, users: Lines, at: Places, threads: int) -> Scores:
        """Return the scores of some items of each user."""

    @abstractmethod
    def _open(self, towards: Axis) -> NDArray[np.bool_] | None:
        """Which items or users lists may hold; None: all that have a score."""

    def _with_cells(self, axis: Axis) -> NDArray[np.bool_]:
        """Which users or items have training cells."""
        return self.derive(f"{axis} with cells", lambda: np.diff(self.pairs.lines(axis).indptr) > 0)

    def queries(self, axis: Axis, rows: NDArray[Any] | slice) -> Queries:
        """Rows of the left factor."""
        return self.scoring_towards("items" if axis == "users" else "users").queries(rows)

    def queries_of_factors(self, user_factors: Any) -> Queries:
        """There are none."""
        raise ParameterError(f"{self.name} has no factors")

    def blank(self, axis: Axis, queries: Queries) -> NDArray[np.bool_]:
        """Which have nothing that a score could come from."""
        blank: NDArray[np.bool_] = queries.lists.lengths == 0
        return blank

    def search(self, table: str, queries: Any, n: int, seen: ItemLists | None, wanted: Wanted, threads: int) -> Found:
        """Find the best of a product's columns."""
        if wanted.boost is not None:
            raise ParameterError(f"{self.name} takes no boost")
        towards: Axis = "items" if table == "items" else "users"
        return search(self.scoring_towards(towards), queries, n, seen, wanted, self._open(towards), threads)

    def open_similar(self, axis: Axis, of: Axis, wanted: Wanted) -> NDArray[np.bool_] | None:
        """Which may be similar, the only axis that there is being ``of``; None: all."""
        if axis != of:
            raise ParameterError(f"{self.name} knows {self.similar_are} of {of} only, so it has no similar_{axis}")
        if wanted.own is not None or wanted.exclude_each is not None:
            raise ParameterError(f"{self.name} takes the same candidates and exclusions for all of similar_{axis} only")
        return open_columns(wanted, len(self.items if of == "items" else self.users))

    def pair_scores(self, users: NDArray[np.int32], items: NDArray[np.int32], threads: int) -> Scores:
        """Score pairs; NaN where either is -1."""
        known = (users >= 0) & (items >= 0)
        order = np.flatnonzero(known)[np.argsort(users[known], kind="stable")]
        rows, first, counts = np.unique(users[order], return_index=True, return_counts=True)
        at = (first, first + counts, np.ascontiguousarray(items[order]))
        found = self.scores_at(rows, at, threads)
        scores = np.full(len(users), np.nan, found.dtype)
        scores[order] = found
        return scores

    def all_scores(self, users: NDArray[np.intp], threads: int) -> Scores:
        """Score all items for some users."""
        n = len(self.items)
        ends = np.arange(len(users) + 1, dtype=np.int64) * n
        at = (ends[:-1], ends[1:], np.tile(np.arange(n, dtype=np.int32), len(users)))
        return self.scores_at(users, at, threads).reshape(-1, n)


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class NeighbourState(CellsFitted):
    """A fitted neighbourhood model, whole and immutable.

    Attributes
    ----------
    name : str
        Of the model, for messages.
    axis : {"users", "items"}
        What the lines are.
    users, items : Labels
    pairs : Interactions
        The training cells, each once.
    similarity : csr_array of shape (n_lines, n_lines)
        The neighbours of each line.
    means : array of shape (n_lines,), optional
        Each line's mean rating.
    parameters, settings : mappings
        The constructor's parameters of the fit, and what those that may be "auto" stood for.
    duplicates : str
        What became of repeated cells, and becomes of those in histories.
    """

    name: str
    axis: Axis
    users: Labels
    items: Labels
    pairs: Interactions
    similarity: sparse.csr_array[Any]
    means: NDArray[np.float64] | None
    parameters: Mapping[str, Any]
    settings: Mapping[str, Any]
    duplicates: str

    def __post_init__(self) -> None:
        for array in (self.similarity.data, self.similarity.indices, self.similarity.indptr, self.means):
            if array is not None:
                array.flags.writeable = False
        super().__post_init__()

    def __repr__(self) -> str:
        size = f"{len(self.users)} users x {len(self.items)} items"
        return f"<NeighbourState: {size}, {self.similarity.nnz} neighbours of {self.axis}>"

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of values and scores."""
        return self.similarity.dtype

    @property
    def ratings(self) -> bool:  # type: ignore[override]
        """Whether scores are ratings."""
        return self.means is not None

    def numbers(self) -> list[NDArray[Any]]:
        """All that decides lists and scores, but for the labels."""
        S, means = self.similarity, np.empty(0) if self.means is None else self.means
        logs = np.array([self.settings["weighting"] == "logidf"])
        return [S.data, S.indices, S.indptr, means, logs, *cell_arrays(self.pairs, values=True)]

    def without(self, users: Rest, items: Rest, pairs: Interactions) -> NeighbourState:
        """The state without what leaves, and with the training cells that stay."""
        lines = users if self.axis == "users" else items
        S = self.similarity
        stay = lines.kept[S.indices] & np.repeat(lines.kept, np.diff(S.indptr))
        counts = np.diff(np.append(0, stay.cumsum())[S.indptr])
        indptr = np.append(0, np.cumsum(counts[lines.kept] if lines.moved else counts, dtype=np.int64))
        similarity = sparse.csr_array(
            (S.data[stay], lines.places()[S.indices[stay]], indptr), shape=(len(lines.labels),) * 2
        )
        means = None if self.means is None else lines.rows(self.means, pairs.values.mean())
        return replace(self, users=users.labels, items=items.labels, pairs=pairs, similarity=similarity, means=means)

    # -- the product of which the scores are --------------------------------------------------------------------------

    def scoring_towards(self, towards: Axis) -> Scoring:
        """How scores of items for users come about, or the other way round."""

        def make() -> Scoring:
            n_users, n_items = self.pairs.shape
            history = histories(self.pairs, self.axis, self.means, self.settings["weighting"])
            similarity = compressed(self.similarity)
            if self.axis == "users":
                left, right = similarity, history
            else:
                left, right = history, similarity if self.means is None else transposed(similarity, n_items)
            similarity_is = "row" if self.axis == "users" else "matrix"
            if towards == "users":
                left, right = transposed(right, n_items), transposed(left, self.similarity.shape[0])
                similarity_is = "matrix" if self.axis == "users" else "row"
            bases = (self.means, None) if self.axis == towards else (None, self.means)
            weighting = None if self.means is None else similarity_is
            return Scoring(left, right, n_items if towards == "items" else n_users, weighting, *bases)

        return self.derive(f"scoring towards {towards}", make)

    def scores_at(self, users: Lines, at: Places, threads: int) -> Scores:
        """Return the scores of some items of each user."""
        return self.scoring_towards("items").at(users, at, threads)

    def _open(self, towards: Axis) -> NDArray[np.bool_] | None:
        """A rating is guessed even where nobody has given one."""
        return None if self.means is None else self._with_cells(towards)

    # -- answers ------------------------------------------------------------------------------------------------------

    def similar(self, axis: Axis, rows: NDArray[np.int32], n: int, wanted: Wanted, threads: int) -> Found:
        """The neighbours."""
        is_open = self.open_similar(axis, self.axis, wanted)
        if is_open is None:
            return kept(self.similarity, rows, n, threads)
        most = max(n, int(np.diff(self.similarity.indptr).max()))
        found, scores = kept(self.similarity, rows, most, threads)
        closed = (found < 0) | ~is_open[found]
        found, scores = np.where(closed, -1, found), np.where(closed, -np.inf, scores)
        order = np.argsort(closed, axis=1, kind="stable")[:, :n]
        return np.take_along_axis(found, order, 1), np.take_along_axis(scores, order, 1)

    def mean_scores(self, users: NDArray[np.int32], items: NDArray[np.int32]) -> Scores:
        """Score pairs, -1 being the mean user or item."""
        if self.means is None:  # no history, no score
            return np.zeros(len(users), np.float32)
        lines = items if self.axis == "items" else users
        return np.where(lines >= 0, self.means[lines], self.pairs.values.mean()).astype(np.float32)

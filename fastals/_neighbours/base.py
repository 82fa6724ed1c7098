"""Neighbourhood models, the baselines of collaborative filtering: items like those one had, what similar users had.

Everything is a product of two sparse matrices, of which the kernels make one row at a time and keep the best columns:
the similarities (lines of one side times lines of the other), and the scores (histories times similarities).
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from .._core import (
    DataError,
    ParameterError,
    check_choice,
    check_int,
    check_path,
    check_real,
    field,
    resolve_num_threads,
)
from .._data import Compressed, Interactions, as_interactions
from .._models import Estimator, Tensors, with_values, write_model
from .._topn import Axis, ItemLists, Wanted, check_fitted
from .lines import WEIGHTINGS, both_ways, centred, distinct_cells, histories, line_means, transposed, weighted
from .scores import Found, Queries, Scores, Scoring, scores_at, search
from .similarity import compressed, kept, nearest

Self = TypeVar("Self", bound="Neighbours")

MAX_NEIGHBORS = 100_000


class Neighbours(Estimator):
    """What both models share; use :class:`ItemKNN` or :class:`UserKNN`."""

    _axis: ClassVar[Axis]

    similarity_: sparse.csr_array[Any]
    settings_: dict[str, Any]
    _data: Interactions
    _means: NDArray[np.float64] | None

    def __init__(
        self,
        *,
        neighbors: int = 50,
        feedback: Literal["implicit", "explicit"] = "implicit",
        similarity: Literal["cosine", "dot"] = "cosine",
        shrinkage: float = 0.0,
        weighting: Literal["auto", "logidf", "tfidf", "bm25"] | None = "auto",
        num_threads: int | None = None,
    ) -> None:
        self.neighbors = neighbors
        self.feedback = feedback
        self.similarity = similarity
        self.shrinkage = shrinkage
        self.weighting = weighting
        self.num_threads = num_threads
        self._check_params()

    def _check_params(self) -> None:
        check_int("neighbors", self.neighbors, low=1, high=MAX_NEIGHBORS)
        check_choice("feedback", self.feedback, ("implicit", "explicit"))
        check_choice("similarity", self.similarity, ("cosine", "dot"))
        check_real("shrinkage", self.shrinkage, low=0)
        if self.similarity == "dot" and self.shrinkage:
            raise ParameterError(f"shrinkage must be 0 with similarity='dot', which has no norms, got {self.shrinkage}")
        if self.weighting is not None:
            check_choice("weighting", self.weighting, ("auto", *WEIGHTINGS), "or None")
            if self.feedback == "explicit" and self.weighting != "auto":
                raise ParameterError(
                    f"weighting must be 'auto' or None with feedback='explicit', got {self.weighting!r}"
                )
        resolve_num_threads(self.num_threads)

    # -- training -----------------------------------------------------------------------------------------------------

    def fit(self: Self, data: Any, y: Any = None) -> Self:
        """Find each line's neighbours.

        Costs one multiplication for each pair of cells that share a user (:class:`ItemKNN`) or an item
        (:class:`UserKNN`); memory for the neighbours, and one row of sums a thread.

        Parameters
        ----------
        data : Interactions, sparse matrix, tuple of arrays or data frame
            As for :meth:`ImplicitALS.fit`; rows are users. Cells that are stored several times are summed.
        y : array of shape (n,), optional
            Values, where ``data`` is an array of shape (n, 2) with a user and an item in each row: scikit-learn's form.

        Returns
        -------
        self

        Raises
        ------
        DataError, ParameterError, ArgumentTypeError
            Among others: values below 0 with "tfidf" or "bm25", which are made of counts.

        Examples
        --------
        >>> import fastals
        >>> from scipy.sparse import csr_array
        >>> plays = csr_array([[1, 1, 0], [1, 1, 1], [0, 1, 1]])
        >>> fastals.ItemKNN(neighbors=1, weighting=None).fit(plays).similarity_.toarray().round(2)
        array([[0.  , 0.82, 0.  ],
               [0.82, 0.  , 0.  ],
               [0.  , 0.82, 0.  ]], dtype=float32)
        """
        self._check_params()
        threads = resolve_num_threads(self.num_threads)
        interactions = distinct_cells(as_interactions(with_values(data, y), dtype="float32", num_threads=threads))
        lines, others = both_ways(interactions, self._axis)
        means, weighting = None, self.weighting
        if weighting == "auto":
            weighting = "logidf" if self.feedback == "implicit" else None
        if self.feedback == "explicit":
            means = line_means(lines)
            lines, others = centred(lines, others, means)
        elif weighting:
            if weighting != "logidf" and interactions.values.min() < 0:
                raise DataError(f"values must be >= 0 with weighting={weighting!r}, got {interactions.values.min()}")
            lines, others = weighted(lines, others, weighting)
        self.similarity_ = nearest(lines, others, self.neighbors, self.similarity, self.shrinkage, threads)
        self.settings_ = {"weighting": weighting}
        self._remember(interactions, means)
        return self

    def _remember(self, data: Interactions, means: NDArray[np.float64] | None) -> None:
        self._data, self._means = data, means
        self._users, self._items = data.user_labels, data.item_labels
        self._seen = data.indptr, data.indices
        self._forget_derived()

    # -- scores -------------------------------------------------------------------------------------------------------

    @abstractmethod
    def _operands(self, history: Compressed, similarity: Compressed) -> tuple[Compressed, Compressed]:
        """Users x lines and lines x items, whose product the scores are."""

    @property
    def _predicts_ratings(self) -> bool:
        return self.feedback == "explicit" if not hasattr(self, "_data") else self._means is not None

    def _scoring_towards(self, towards: Axis) -> Scoring:
        """How scores of items for users come about, or the other way round."""

        def make() -> Scoring:
            n_users, n_items = self._data.shape
            history = histories(self._data, self._axis, self._means, self.settings_["weighting"])
            left, right = self._operands(history, compressed(self.similarity_))
            similarity_is = "row" if self._axis == "users" else "matrix"
            if towards == "users":
                left, right = transposed(right, n_items), transposed(left, self.similarity_.shape[0])
                similarity_is = "matrix" if self._axis == "users" else "row"
            bases = (self._means, None) if self._axis == towards else (None, self._means)
            weighting = None if self._means is None else similarity_is
            return Scoring(left, right, n_items if towards == "items" else n_users, weighting, *bases)

        scoring: Scoring = self._derive(f"scoring towards {towards}", make)
        return scoring

    def _rows(self, towards: Axis, rows: NDArray[np.int32] | slice) -> Queries:
        scoring = self._scoring_towards(towards)
        base = None if scoring.row_base is None else scoring.row_base[rows]
        return Queries(ItemLists.of_rows(*scoring.left[:2], rows), scoring.left[2], base)

    def _top_items(
        self, users: NDArray[np.int32] | slice, n: int, exclude_seen: bool, wanted: Wanted | None = None
    ) -> Found:
        seen = ItemLists.of_rows(*self._seen, users) if exclude_seen else None
        return self._search("items", self._rows("items", users), n, seen, wanted or Wanted())

    def _top_users(self, items: NDArray[np.int32], n: int, exclude_seen: bool, wanted: Wanted) -> Found:
        seen = ItemLists.of_rows(*self._seen_by_item(), items) if exclude_seen else None
        return self._search("users", self._rows("users", items), n, seen, wanted)

    def _search(
        self, table: str, queries: Any, n: int, seen: ItemLists | None, wanted: Wanted
    ) -> tuple[NDArray[np.int32], Any]:
        if not isinstance(queries, Queries):
            return super()._search(table, queries, n, seen, wanted)
        if wanted.boost is not None:
            raise ParameterError(f"{type(self).__name__} takes no boost")
        scoring = self._scoring_towards("items" if table == "items" else "users")
        return search(scoring, queries, n, seen, wanted, self._threads())

    def _query_rows(self, user_factors: Any) -> NDArray[Any]:
        raise ParameterError(f"{type(self).__name__} has no factors")

    def _mean_scores(self, users: NDArray[np.int32], items: NDArray[np.int32]) -> Scores:
        if self._means is None:  # no history, no score
            return np.zeros(len(users), np.float32)
        lines = items if self._axis == "items" else users
        return np.where(lines >= 0, self._means[lines], self._data.values.mean()).astype(np.float32)

    def _similar(self, axis: Axis, rows: NDArray[np.int32], n: int, wanted: Wanted) -> Found:
        if not wanted.is_plain:
            raise ParameterError(f"{type(self).__name__} takes no candidates and exclusions for similar_{axis}")
        if axis != self._axis:
            raise ParameterError(
                f"{type(self).__name__} knows neighbours of {self._axis} only, so it has no similar_{axis}"
            )
        return kept(self.similarity_, rows, check_int("n", n, low=1), self._threads())

    def _score_pairs(self, users: NDArray[np.int32], items: NDArray[np.int32]) -> Scores:
        known = (users >= 0) & (items >= 0)
        order = np.flatnonzero(known)[np.argsort(users[known], kind="stable")]
        rows, first, counts = np.unique(users[order], return_index=True, return_counts=True)
        scores = np.full(len(users), np.nan, np.float32)
        at = (first, first + counts, np.ascontiguousarray(items[order]))
        scores[order] = scores_at(self._scoring_towards("items"), rows, at, self._threads())
        return scores

    def _all_scores(self, users: NDArray[np.intp]) -> Scores:
        n = len(self._items)
        ends = np.arange(len(users) + 1, dtype=np.int64) * n
        at = (ends[:-1], ends[1:], np.tile(np.arange(n, dtype=np.int32), len(users)))
        return scores_at(self._scoring_towards("items"), users, at, self._threads()).reshape(-1, n)

    # -- files --------------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to one safetensors file, as :meth:`ImplicitALS.save` does; see :func:`fastals.load`.

        Examples
        --------
        >>> import fastals, os, tempfile
        >>> model = fastals.ItemKNN().fit((["ann", "ann", "bob"], ["x", "y", "x"]))
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     model.save(os.path.join(directory, "model"))
        ...     fastals.load(os.path.join(directory, "model")).recommend("bob", n=1).items
        array(['y'], dtype=object)
        """
        check_fitted(self)
        S, (indptr, indices, values) = self.similarity_, self._data.arrays("float32")
        tensors: dict[str, NDArray[Any]] = {
            "similarity_indptr": S.indptr.astype(np.int64),
            "similarity_indices": S.indices.astype(np.int32),
            "similarity": S.data,
            "seen_indptr": indptr,
            "seen_indices": indices,
            "seen_values": values,
        }
        content = {
            "fitted_feedback": "implicit" if self._means is None else "explicit",
            "shape": list(self._data.shape),
            "settings": self.settings_,
        }
        labels = {"users": self._users, "items": self._items}
        write_model(check_path("path", path), self, self.get_params(), labels, content, tensors)

    @classmethod
    def _read(cls: type[Self], content: Mapping[str, Any], tensors: Tensors) -> Self:
        shape = field(content, "shape", list)
        if len(shape) != 2 or not all(type(n) is int and 0 < n < 2**31 for n in shape):
            raise ValueError(f"shape is {shape!r}")
        n_users, n_items = shape
        users, items = tensors.take_labels("users", n_users), tensors.take_labels("items", n_items)
        m = n_items if cls._axis == "items" else n_users
        model = cls(**field(content, "parameters", dict))
        # files of versions that had no settings hold what the constructor was given
        weighting = field(content, "settings" if "settings" in content else "parameters", dict).get("weighting")
        if weighting not in (None, *WEIGHTINGS):
            raise ValueError(f"weighting is {weighting!r}")
        model.settings_ = {"weighting": weighting}
        indptr, indices = tensors.take_rows("similarity", m, m)
        values = tensors.take("similarity", "<f4", len(indices))
        model.similarity_ = sparse.csr_array((values, indices, indptr), shape=(m, m))
        rows = tensors.take_rows("seen", n_users, n_items)
        seen_values = tensors.take("seen_values", "<f4", len(rows[1]))
        data = Interactions._canonical((*rows, seen_values), None, users, items)
        explicit = field(content, "fitted_feedback", str) == "explicit"
        model._remember(data, line_means(both_ways(data, cls._axis)[0]) if explicit else None)
        return model

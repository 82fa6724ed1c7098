"""Neighbourhood models, the baselines of collaborative filtering: items like those one had, what similar users had.

Everything is a product of two sparse matrices, of which the kernels make one row at a time and keep the best columns:
the similarities (lines of one side times lines of the other), and the scores (histories times similarities).
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from .._core import (
    DataError,
    ParameterError,
    check_choice,
    check_fitted,
    check_int,
    check_path,
    check_real,
    field,
    resolve_num_threads,
    tables,
)
from .._data import Compressed, Interactions, as_interactions, has_repeats
from .._models import Estimator, Tensors, with_values, write_model
from .._topn import Axis, ItemLists, Wanted

Scores = NDArray[np.float32]
Found = tuple[NDArray[np.int32], Scores]
Self = TypeVar("Self", bound="Neighbours")

MAX_NEIGHBORS = 100_000
WEIGHTINGS = ("logidf", "tfidf", "bm25")
BM25_K1, BM25_B = 1.2, 0.75
"""The usual constants: how fast repeated events saturate, how much the length of a line counts."""


class Scoring(NamedTuple):
    """How scores come about: rows of ``left`` times ``right``; see ``tables.product_best``."""

    left: Compressed
    right: Compressed
    n_columns: int
    weighting: str | None
    column_base: NDArray[np.float64] | None
    row_base: NDArray[np.float64] | None


@dataclass(frozen=True)
class Queries:
    """Rows of the left factor of a product, and what is added to each row's scores."""

    lists: ItemLists
    values: NDArray[np.float32]
    base: NDArray[np.float64] | None

    def __len__(self) -> int:
        return len(self.lists.first)

    def part(self, q: int) -> Queries:
        """One of them."""
        return Queries(_part(self.lists, q), self.values, None if self.base is None else self.base[q : q + 1])


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
        interactions = _distinct_cells(as_interactions(with_values(data, y), dtype="float32", num_threads=threads))
        lines, others = _both_ways(interactions, self._axis)
        means, weighting = None, self.weighting
        if weighting == "auto":
            weighting = "logidf" if self.feedback == "implicit" else None
        if self.feedback == "explicit":
            means = _means(lines)
            lines, others = _centred(lines, others, means)
        elif weighting:
            if weighting != "logidf" and interactions.values.min() < 0:
                raise DataError(f"values must be >= 0 with weighting={weighting!r}, got {interactions.values.min()}")
            lines, others = _weighted(lines, others, weighting)
        self.similarity_ = self._neighbours(lines, others, threads)
        self.settings_ = {"weighting": weighting}
        self._remember(interactions, means)
        return self

    def _neighbours(self, lines: Compressed, others: Compressed, threads: int) -> sparse.csr_array[Any]:
        """The lines' best, each line itself left out; only what is above 0 is a neighbour."""
        m = len(lines[0]) - 1
        norms = np.sqrt(_line_sums(lines, lines[2].astype(np.float64) ** 2)) if self.similarity == "cosine" else None
        found, scores = tables.product_best(
            tuple(ItemLists.of_rows(*lines[:2])),
            lines[2],
            others,
            m,
            min(self.neighbors, m),
            threads,
            row_norms=norms,
            norms=norms,
            shrinkage=float(self.shrinkage),
            hidden=_one_each(np.arange(m, dtype=np.int32)),
        )
        indptr = np.concatenate(([0], (found >= 0).sum(axis=1).cumsum()))
        matrix = sparse.csr_array((scores[found >= 0], found[found >= 0], indptr), shape=(m, m))
        matrix.sort_indices()
        return matrix

    def _remember(self, data: Interactions, means: NDArray[np.float64] | None) -> None:
        self._data, self._means = data, means
        self._users, self._items = data.user_labels, data.item_labels
        self._seen = data.indptr, data.indices
        self._forget_derived()

    # -- scores -------------------------------------------------------------------------------------------------------

    @abstractmethod
    def _operands(self, similarity: Compressed) -> tuple[Compressed, Compressed]:
        """Users x lines and lines x items, whose product the scores are."""

    @property
    def _predicts_ratings(self) -> bool:
        return self.feedback == "explicit" if not hasattr(self, "_data") else self._means is not None

    def _history(self) -> Compressed:
        """What users did, as the scores take it."""
        indptr, items, values = self._data.arrays("float32")
        if self._means is None:
            return indptr, items, self._played(values)
        line = items if self._axis == "items" else _of_lines((indptr, items, values))
        return indptr, items, (values - self._means[line]).astype(np.float32)

    def _played(self, counts: NDArray[Any]) -> NDArray[np.float32]:
        """What stands for counts in the scores."""
        played: NDArray[np.float32] = counts
        return _logs(counts).astype(np.float32) if self.settings_["weighting"] == "logidf" else played

    def _scoring_towards(self, towards: Axis) -> Scoring:
        """How scores of items for users come about, or the other way round."""

        def make() -> Scoring:
            n_users, n_items = self._data.shape
            S = self.similarity_
            left, right = self._operands((S.indptr.astype(np.int64), S.indices.astype(np.int32), S.data))
            similarity_is = "row" if self._axis == "users" else "matrix"
            if towards == "users":
                left, right = _transposed(right, n_items), _transposed(left, S.shape[0])
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
        towards: Axis = "items" if table == "items" else "users"
        n_columns = self._scoring_towards(towards).n_columns
        hidden = [lists for lists in (seen, wanted.exclude_each) if lists is not None]
        open_columns = None
        if wanted.candidates is not None or wanted.exclude is not None:
            open_columns = np.full(n_columns, wanted.candidates is None)
            if wanted.candidates is not None:
                open_columns[wanted.candidates] = True
            if wanted.exclude is not None:
                open_columns[wanted.exclude] = False
        if wanted.own is None:
            return self._best(towards, queries, n, _joined(hidden), open_columns)
        items, scores = np.empty((len(queries), n), np.int32), np.empty((len(queries), n), np.float32)
        for q in range(len(queries)):
            own = np.zeros(n_columns, np.bool_)
            own[wanted.own.items[wanted.own.first[q] : wanted.own.last[q]]] = True
            if open_columns is not None:
                own &= open_columns
            one = _joined([_part(lists, q) for lists in hidden])
            items[q : q + 1], scores[q : q + 1] = self._best(towards, queries.part(q), n, one, own)
        return items, scores

    def _best(
        self,
        towards: Axis,
        queries: Queries,
        n: int,
        hidden: ItemLists | None,
        open_columns: NDArray[np.bool_] | None,
    ) -> Found:
        scoring = self._scoring_towards(towards)
        items, scores = tables.product_best(
            tuple(queries.lists),
            queries.values,
            scoring.right,
            scoring.n_columns,
            min(n, scoring.n_columns),
            self._threads(),
            weighting=scoring.weighting,
            base=scoring.column_base,
            hidden=None if hidden is None else tuple(hidden),
            open=None if open_columns is None else open_columns.view(np.uint8),
        )
        if queries.base is not None:
            scores += queries.base[:, None].astype(np.float32)
        return _padded(items, scores, n)

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
        S, n = self.similarity_, check_int("n", n, low=1)
        items, scores = tables.product_best(
            _one_each(rows),
            np.ones(len(rows), np.float32),
            (S.indptr.astype(np.int64), S.indices.astype(np.int32), S.data),
            S.shape[0],
            min(n, S.shape[0]),
            self._threads(),
        )
        return _padded(items, scores, n)

    def _score_pairs(self, users: NDArray[np.int32], items: NDArray[np.int32]) -> Scores:
        known = (users >= 0) & (items >= 0)
        order = np.flatnonzero(known)[np.argsort(users[known], kind="stable")]
        rows, first, counts = np.unique(users[order], return_index=True, return_counts=True)
        scores = np.full(len(users), np.nan, np.float32)
        scores[order] = self._scores_at(rows, (first, first + counts, np.ascontiguousarray(items[order])))
        return scores

    def _all_scores(self, users: NDArray[np.intp]) -> Scores:
        n = len(self._items)
        ends = np.arange(len(users) + 1, dtype=np.int64) * n
        at = (ends[:-1], ends[1:], np.tile(np.arange(n, dtype=np.int32), len(users)))
        return self._scores_at(users, at).reshape(-1, n)

    def _scores_at(self, users: NDArray[np.integer[Any]], at: tuple[Any, Any, NDArray[np.int32]]) -> Scores:
        scoring = self._scoring_towards("items")
        scores = tables.product_at(
            tuple(ItemLists.of_rows(*scoring.left[:2], users)),
            scoring.left[2],
            scoring.right,
            scoring.n_columns,
            at,
            self._threads(),
            weighting=scoring.weighting,
            base=scoring.column_base,
        )
        if scoring.row_base is not None:
            scores += np.repeat(scoring.row_base[users], at[1] - at[0]).astype(np.float32)
        return scores

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
        model._remember(data, _means(_both_ways(data, cls._axis)[0]) if explicit else None)
        return model


class ItemKNN(Neighbours):
    """Item-based collaborative filtering: items like those that the user had.

    Two items are as similar as the cosine of their columns, ``s_ij = r_i.r_j / (|r_i| |r_j| + shrinkage)`` [3]_. Each
    item keeps its K most similar others with s > 0, N(i). The score of an item is

    * implicit [1]_: ``sum_{j in the user's history, i in N(j)} r_uj s_ij``, of which r_uj too is a logarithm with the
      default weighting
    * explicit [2]_: ``m_i + sum_{j in N(i) and rated} s_ij (r_uj - m_j) / sum_j s_ij``, m the items' mean ratings,
      which are subtracted before the cosine too; m_i where the user has rated no neighbour.

    Lists hold the items that have a score, of which a history with few neighbours gives few.

    Parameters
    ----------
    neighbors : int, default 50
        K.
    feedback : {"implicit", "explicit"}, default "implicit"
        What values are: counts, of which more is more, or ratings.
    similarity : {"cosine", "dot"}, default "cosine"
        "dot" leaves the norms out.
    shrinkage : float, default 0
        Takes similarity from items that few users have had.
    weighting : {"auto", "logidf", "tfidf", "bm25"} or None, default "auto"
        What stands for a count r in the similarity, users being the terms of an item. "logidf": ``log(1 + r) ln(1 +
        n_items / the user's items)``, a value below 0 keeping its sign; scores then take ``log(1 + r)`` for r. "tfidf":
        ``sqrt(r) idf``. "bm25": ``r (k1 + 1) / (k1 (1 - b + b l / mean of l) + r) idf`` with l the item's sum, k1 =
        1.2, b = 0.75; with similarity="dot" it is what `implicit` calls BM25Recommender. Both have ``idf = ln(n_items /
        (1 + the user's items))``. None: r itself, of which a few large counts outweigh all others. "auto" is "logidf"
        for counts, and None for ratings.
    num_threads : int, optional
        All allowed cores by default. The result does not depend on it, to the bit.

    Attributes
    ----------
    similarity_ : csr_array of shape (n_items, n_items), float32
        Row i holds N(i).
    settings_ : dict
        The ``weighting`` that "auto" stood for.
    users_, items_ : array or None
        Labels, where the data had labels.

    References
    ----------
    .. [1] M. Deshpande, G. Karypis. Item-based top-N recommendation algorithms. ACM TOIS 22(1), 2004.
    .. [2] B. Sarwar, G. Karypis, J. Konstan, J. Riedl. Item-based collaborative filtering recommendation algorithms.
       WWW 2001.
    .. [3] M. Ferrari Dacrema, P. Cremonesi, D. Jannach. Are we really making much progress? RecSys 2019.

    Examples
    --------
    >>> import fastals
    >>> users, items = ["ann", "ann", "bob", "bob", "eve"], ["jazz", "rock", "jazz", "folk", "rock"]
    >>> model = fastals.ItemKNN().fit((users, items))
    >>> model.recommend("ann", n=2).items
    array(['folk', None], dtype=object)
    >>> model.similar_items("folk", n=1).items
    array(['jazz'], dtype=object)
    """

    _axis = "items"

    def _fold_in_queries(self, histories: Any) -> tuple[Any, ItemLists]:
        data = _distinct_cells(as_interactions(histories, dtype="float32", items=self._items))
        if self._means is None:
            values = self._played(data.values)
        else:
            values = (data.values - self._means[data.indices]).astype(np.float32)
        lists = ItemLists.of_rows(data.indptr, data.indices)
        return Queries(lists, values, None), lists

    def _operands(self, similarity: Compressed) -> tuple[Compressed, Compressed]:
        n_items = self._data.n_items
        return self._history(), similarity if self._means is None else _transposed(similarity, n_items)


class UserKNN(Neighbours):
    """User-based collaborative filtering: what users had who are like this one.

    Two users are as similar as the cosine of their rows, shrunk: ``s_uv = r_u.r_v / (|r_u| |r_v| + shrinkage)``. Each
    user keeps their K most similar others with s > 0, N(u). The score of an item is

    * implicit: ``sum_{v in N(u)} s_uv r_vi``
    * explicit [1]_: ``m_u + sum_{v in N(u) who rated i} s_uv (r_vi - m_v) / sum_v s_uv``, m the users' mean ratings,
      which are subtracted before the cosine too; m_u where no neighbour has rated the item.

    Parameters, attributes
        As :class:`ItemKNN`, with users and items exchanged.

    References
    ----------
    .. [1] P. Resnick, N. Iacovou, M. Suchak, P. Bergstrom, J. Riedl. GroupLens: an open architecture for collaborative
       filtering of netnews. CSCW 1994.

    Examples
    --------
    >>> import fastals
    >>> users, items = ["ann", "ann", "bob", "bob", "eve"], ["jazz", "rock", "jazz", "folk", "rock"]
    >>> model = fastals.UserKNN().fit((users, items))
    >>> model.recommend("ann", n=2).items
    array(['folk', None], dtype=object)
    >>> model.similar_users("eve", n=1).users
    array(['ann'], dtype=object)
    """

    _axis = "users"

    def _operands(self, similarity: Compressed) -> tuple[Compressed, Compressed]:
        return similarity, self._history()


# -- lists -------------------------------------------------------------------------------------------------------------


def _part(lists: ItemLists, q: int) -> ItemLists:
    return ItemLists(lists.first[q : q + 1], lists.last[q : q + 1], lists.items)


def _joined(lists: list[ItemLists]) -> ItemLists | None:
    """The items of all, query by query."""
    if len(lists) < 2:
        return lists[0] if lists else None
    m = len(lists[0].first)
    parts = [each.items[each.first[q] : each.last[q]] for q in range(m) for each in lists]
    last = np.sum([each.last - each.first for each in lists], axis=0).cumsum()
    return ItemLists(np.concatenate(([0], last[:-1])), last, np.concatenate(parts))


def _padded(items: NDArray[np.int32], scores: Scores, n: int) -> Found:
    """Lists of n."""
    short = ((0, 0), (0, n - items.shape[1]))
    return np.pad(items, short, constant_values=-1), np.pad(scores, short, constant_values=-np.inf)


# -- lines, which are users or items -----------------------------------------------------------------------------------


def _distinct_cells(data: Interactions) -> Interactions:
    """Sum the cells that are stored several times."""
    if not has_repeats(data):
        return data
    merged = as_interactions(data.matrix, dtype="float32")
    return Interactions._canonical(merged.arrays(), None, data.user_labels, data.item_labels)


def _both_ways(data: Interactions, axis: Axis) -> tuple[Compressed, Compressed]:
    """Return the cells by line of this axis, and by line of the other."""
    ways = data.arrays("float32"), data.transpose_arrays("float32")
    return ways if axis == "users" else ways[::-1]


def _transposed(lines: Compressed, size: int) -> Compressed:
    out: Compressed = tables.transpose(*lines, size, np.float32, resolve_num_threads())
    return out


def _one_each(items: NDArray[np.int32]) -> tuple[Any, ...]:
    """Lists of one item each."""
    places = np.arange(len(items) + 1)
    return places[:-1], places[1:], items


def _of_lines(lines: Compressed) -> NDArray[np.int64]:
    """The line of each cell."""
    return np.repeat(np.arange(len(lines[0]) - 1), np.diff(lines[0]))


def _line_sums(lines: Compressed, values: NDArray[np.float64]) -> NDArray[np.float64]:
    sums = np.bincount(_of_lines(lines), values, minlength=len(lines[0]) - 1).astype(np.float64, copy=False)
    return sums


def _means(lines: Compressed) -> NDArray[np.float64]:
    """Mean of each line's values; that of all values where a line has none."""
    counts = np.diff(lines[0])
    values = lines[2].astype(np.float64)
    return np.where(counts > 0, _line_sums(lines, values) / np.maximum(counts, 1), values.mean())


def _centred(lines: Compressed, others: Compressed, means: NDArray[np.float64]) -> tuple[Compressed, Compressed]:
    """Values less their line's mean, both ways."""
    by_line = (lines[2] - means[_of_lines(lines)]).astype(np.float32)
    by_other = (others[2] - means[others[1]]).astype(np.float32)
    return (*lines[:2], by_line), (*others[:2], by_other)


def _logs(values: NDArray[Any]) -> NDArray[np.float64]:
    """Logarithms of 1 + |value|, with the value's sign."""
    r = values.astype(np.float64)
    return np.copysign(np.log1p(np.abs(r)), r)


def _weighted(lines: Compressed, others: Compressed, weighting: str) -> tuple[Compressed, Compressed]:
    """Values weighted as counts of terms (the other lines) in documents (the lines), both ways."""
    documents, held = len(lines[0]) - 1, np.diff(others[0])
    # the usual idf is 0 for a term of almost all documents, which on small data is every term
    idf = np.log1p(documents / np.maximum(held, 1)) if weighting == "logidf" else np.log(documents) - np.log1p(held)
    if weighting == "bm25":
        sums = _line_sums(lines, lines[2].astype(np.float64))
        lengths = 1 - BM25_B + BM25_B * sums / sums.mean()

    def weigh(values: NDArray[Any], document: NDArray[Any], term: NDArray[Any]) -> NDArray[np.float32]:
        weights = values.astype(np.float64)
        if weighting == "logidf":
            weights = _logs(values)
        elif weighting == "tfidf":
            weights = np.sqrt(weights)
        else:
            weights *= (BM25_K1 + 1) / (BM25_K1 * lengths[document] + weights)
        weighted: NDArray[np.float32] = (weights * idf[term]).astype(np.float32)
        return weighted

    by_line = weigh(lines[2], _of_lines(lines), lines[1])
    by_other = weigh(others[2], others[1], _of_lines(others))
    return (*lines[:2], by_line), (*others[:2], by_other)

"""Top-N search: the items of highest score x'y for each query x, exactly, and what models build on it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from . import _kernels
from ._ids import Labels
from ._threads import resolve_num_threads
from ._validation import LabelArray, check_bool, check_choice, check_fitted, check_int, check_same_length

FactorArray: TypeAlias = NDArray[np.float32] | NDArray[np.float64]

WORKSPACE_BYTES = 1 << 24
"""Queries are searched in groups that need about so much workspace a thread at most, in groups of 8 at least."""


class ItemLists(NamedTuple):
    """One list of items for each query q: ``items[first[q]:last[q]]``."""

    first: NDArray[np.int64]
    last: NDArray[np.int64]
    items: NDArray[np.int32]

    @classmethod
    def of_rows(cls, indptr: NDArray[np.int64], indices: NDArray[np.int32], rows: Any = slice(None)) -> ItemLists:
        """Rows of a CSR matrix; ``rows`` as one would index an array with."""
        first, last = indptr[:-1][rows], indptr[1:][rows]
        return cls(np.ascontiguousarray(first), np.ascontiguousarray(last), indices)


class Panels:
    """Rows of factors, packed once for any number of searches.

    The rows stand by descending norm, so that a search may stop early, 48 to a panel: as they are, and as eight-bit
    codes with bounds, for ruling most of them out. Columns are the places of rows in that order.

    Parameters
    ----------
    factors : array of shape (n_items, k)
        C-contiguous float32 or float64, finite. Kept, not copied.
    num_threads : int
    candidates : int32 array of shape (n_candidates,), optional
        Distinct items by descending norm, default all: no other is ever found.
    """

    def __init__(self, factors: FactorArray, num_threads: int, *, candidates: NDArray[np.int32] | None = None) -> None:
        self.factors = factors
        if candidates is None:
            with np.errstate(over="ignore"):
                norms = np.einsum("ij,ij->i", factors, factors)
            candidates = np.argsort(-norms, kind="stable").astype(np.int32)
        self.size = len(candidates)
        n_panels = max(1, -(-self.size // _kernels.PANEL))
        self.items = np.full(n_panels * _kernels.PANEL, -1, np.int32)
        self.items[: self.size] = candidates
        self.columns = np.full(len(factors), -1, np.int32)
        self.columns[candidates] = np.arange(self.size, dtype=np.int32)
        self.rows, self.codes, self.bounds = _kernels.pack_panels(factors, self.items, num_threads)
        # norms descend but for rounding: the bound of a panel and all behind it
        self.bounds[:, 1] = np.maximum.accumulate(self.bounds[::-1, 0])[::-1]
        self.all_open = self.open_columns(np.empty(0, np.int32))

    def subset(self, candidates: NDArray[np.int32], num_threads: int) -> Panels:
        """Only these items, repeats counting once: a smaller table costs less than looking the large one through."""
        columns = self.columns[candidates]
        return Panels(self.factors, num_threads, candidates=self.items[np.unique(columns[columns >= 0])])

    def open_columns(self, exclude: NDArray[np.int32]) -> NDArray[np.uint64]:
        """One word a panel, bit c for its column c: it holds an item, and none of ``exclude``."""
        flags = np.zeros((len(self.codes), 64), np.bool_)
        flags[:, : _kernels.PANEL] = (self.items >= 0).reshape(-1, _kernels.PANEL)
        columns = self.columns[exclude]
        panel, bit = np.divmod(columns[columns >= 0], _kernels.PANEL)
        flags[panel, bit] = False
        return np.packbits(flags, axis=1, bitorder="little").view("<u8").ravel().astype(np.uint64)


def top_n(
    queries: FactorArray,
    panels: Panels,
    n: int,
    *,
    seen: ItemLists | None = None,
    candidates: NDArray[np.int32] | None = None,
    exclude: NDArray[np.int32] | ItemLists | None = None,
    num_threads: int,
) -> tuple[NDArray[np.int32], FactorArray]:
    """Find the n items of highest score for each query, best first, equal scores by ascending item.

    Parameters
    ----------
    queries : array of shape (m, k)
        C-contiguous, finite, of the dtype of ``panels.factors``.
    panels : Panels
    n : int
        At least 1.
    seen : ItemLists, optional
        Items that a query must not get.
    candidates : int32 array, optional
        The only items to look at.
    exclude : int32 array or ItemLists, optional
        Items that no query gets, or further lists, one for each query.
    num_threads : int

    Returns
    -------
    items : int32 array of shape (m, n)
        A list that is shorter than n is filled up with -1.
    scores : array of shape (m, n)
        In the dtype of the factors; -inf where ``items`` is -1. What a pair scores does not depend on the other
        queries, the number of threads or n.
    """
    if candidates is not None:
        panels = panels.subset(candidates, num_threads)
    exclude_each = exclude if isinstance(exclude, ItemLists) else None
    exclude_all = exclude if not isinstance(exclude, ItemLists) else None
    found, m = min(n, max(1, panels.size)), len(queries)
    bytes_each = 8 * len(panels.codes) + 32 * found
    group = min(_kernels.QUERIES, -(-m // num_threads), WORKSPACE_BYTES // bytes_each)
    items, scores = _kernels.top_n(
        panels.rows,
        panels.codes,
        panels.bounds,
        panels.items,
        panels.columns,
        panels.all_open if exclude_all is None else panels.open_columns(exclude_all),
        queries,
        found,
        None if seen is None else tuple(seen),
        None if exclude_each is None else tuple(exclude_each),
        max(8, group),
        num_threads,
    )
    if found == n:
        return items, scores
    all_items, all_scores = np.full((m, n), -1, np.int32), np.full((m, n), -np.inf, queries.dtype)
    all_items[:, :found], all_scores[:, :found] = items, scores
    return all_items, all_scores


# ----------------------------------------------------------------------------------------------------------------------
# what users call


class Recommendations(NamedTuple):
    """Items for each user, or similar items for each item: best first.

    Attributes
    ----------
    items : array of shape (n,) or (m, n)
        Labels, or indices where the training data had no labels; None, or -1, behind the end of a short list.
    scores : array of shape (n,) or (m, n)
        -inf behind the end of a short list.
    """

    items: LabelArray
    scores: FactorArray


class UserRecommendations(NamedTuple):
    """Users for each item, or similar users for each user: best first.

    Attributes
    ----------
    users : array of shape (n,) or (m, n)
        Labels, or indices where the training data had no labels; None, or -1, behind the end of a short list.
    scores : array of shape (n,) or (m, n)
        -inf behind the end of a short list.
    """

    users: LabelArray
    scores: FactorArray


Axis: TypeAlias = Literal["users", "items"]


class Recommender:
    """What a fitted model is asked for: scores, and the best of them.

    A model has ``user_factors_``, ``item_factors_``, ``num_threads`` and the private attributes below, and calls
    ``_forget_derived`` whenever they change.
    """

    user_factors_: FactorArray
    item_factors_: FactorArray
    num_threads: int | None
    _predicts_ratings: bool = False
    _users: Labels
    _items: Labels
    _seen: tuple[NDArray[np.int64], NDArray[np.int32]]
    _derived: dict[tuple[Axis, bool], Panels]
    _scoring: tuple[FactorArray, FactorArray] | None

    def recommend(
        self, users: Any, n: int = 10, *, exclude_seen: bool = True, items: Any = None, exclude: Any = None
    ) -> Recommendations:
        """Find the n items of highest score for each user.

        Parameters
        ----------
        users : one user or array of shape (m,)
            Labels, or indices where the training data had no labels.
        n : int, default 10
        exclude_seen : bool, default True
            Leave out each user's items of the training data.
        items : array, optional
            The only items to choose from; repeats count once.
        exclude : array, optional
            Items that nobody gets.

        Returns
        -------
        Recommendations
            ``items`` and ``scores`` of shape (m, n), (n,) for one user; best first, equal scores in the order of the
            items. Where fewer than n items are left, the list is filled up with None (indices: -1) and -inf.

        Raises
        ------
        UnknownLabelError
            A user or an item that the model does not know.
        ParameterError, ArgumentTypeError, NotFittedError

        Examples
        --------
        >>> import fastals
        >>> users, items = ["ann", "ann", "bob", "bob", "eve"], ["jazz", "rock", "jazz", "folk", "rock"]
        >>> model = fastals.ImplicitALS(factors=2, random_state=0).fit((users, items))
        >>> model.recommend("ann", n=2).items
        array(['folk', None], dtype=object)
        >>> model.recommend(["ann", "eve"], n=1).items
        array([['folk'],
               ['jazz']], dtype=object)
        """
        check_fitted(self)
        rows, single = _encode(self._users, "users", users)
        found = self._top_items(
            rows,
            check_int("n", n, low=1),
            check_bool("exclude_seen", exclude_seen),
            candidates=None if items is None else self._items.encode_known("items", items),
            exclude=None if exclude is None else self._items.encode_known("exclude", exclude),
        )
        return Recommendations(*_decode(self._items, found, single))

    def recommend_all(
        self, n: int = 10, *, exclude_seen: bool = True, batch_size: int = 8192
    ) -> Iterator[tuple[LabelArray, LabelArray, FactorArray]]:
        """Find the n items of highest score for every user, batch by batch, so that memory is bounded.

        Parameters
        ----------
        n : int, default 10
        exclude_seen : bool, default True
            Leave out each user's items of the training data.
        batch_size : int, default 8192
            Users of one batch.

        Returns
        -------
        iterator of (users, items, scores)
            Arrays of shape (m,), (m, n) and (m, n), m <= batch_size, as :meth:`recommend` gives them; users in the
            order of ``user_factors_``.

        Raises
        ------
        ParameterError, ArgumentTypeError, NotFittedError

        Examples
        --------
        >>> import fastals
        >>> users, items = ["ann", "ann", "bob", "bob", "eve"], ["jazz", "rock", "jazz", "folk", "rock"]
        >>> model = fastals.ImplicitALS(factors=2, random_state=0).fit((users, items))
        >>> for users, items, scores in model.recommend_all(n=1, batch_size=2):
        ...     print(users, items.ravel())
        ['ann' 'bob'] ['folk' 'rock']
        ['eve'] ['jazz']
        """
        check_fitted(self)
        n, exclude_seen = check_int("n", n, low=1), check_bool("exclude_seen", exclude_seen)
        batch_size = check_int("batch_size", batch_size, low=1)

        def batches() -> Iterator[tuple[LabelArray, LabelArray, FactorArray]]:
            for first in range(0, len(self._users), batch_size):
                rows = slice(first, min(first + batch_size, len(self._users)))
                found = self._top_items(rows, n, exclude_seen)
                yield (self._users.decode(np.arange(rows.start, rows.stop)), *_decode(self._items, found))

        return batches()

    def recommend_users(self, items: Any, n: int = 10) -> UserRecommendations:
        """Find the n users of highest score for each item, those who know it already among them.

        Parameters
        ----------
        items : one item or array of shape (m,)
            Labels, or indices where the training data had no labels.
        n : int, default 10

        Returns
        -------
        UserRecommendations
            ``users`` and ``scores`` of shape (m, n), (n,) for one item; as :meth:`recommend`.

        Raises
        ------
        UnknownLabelError, ParameterError, ArgumentTypeError, NotFittedError

        Examples
        --------
        >>> import fastals
        >>> users, items = ["ann", "ann", "bob", "bob", "eve"], ["jazz", "rock", "jazz", "folk", "rock"]
        >>> model = fastals.ImplicitALS(factors=2, random_state=0).fit((users, items))
        >>> model.recommend_users("folk", n=1).users
        array(['bob'], dtype=object)
        """
        check_fitted(self)
        rows, single = _encode(self._items, "items", items)
        return UserRecommendations(*_decode(self._users, self._top_users(rows, check_int("n", n, low=1)), single))

    def similar_items(self, items: Any, n: int = 10) -> Recommendations:
        """Find the n items whose factors have the largest cosine with each item's, that item itself left out.

        Parameters
        ----------
        items : one item or array of shape (m,)
            Labels, or indices where the training data had no labels.
        n : int, default 10

        Returns
        -------
        Recommendations
            ``items`` and ``scores`` of shape (m, n), (n,) for one item; as :meth:`recommend`. An item whose factors are
            all zero is similar to none.

        Raises
        ------
        UnknownLabelError, ParameterError, ArgumentTypeError, NotFittedError

        Examples
        --------
        >>> import fastals
        >>> users, items = ["ann", "ann", "bob", "bob", "eve"], ["jazz", "rock", "jazz", "folk", "rock"]
        >>> model = fastals.ImplicitALS(factors=2, random_state=0).fit((users, items))
        >>> model.similar_items("folk", n=1).items
        array(['jazz'], dtype=object)
        """
        check_fitted(self)
        rows, single = _encode(self._items, "items", items)
        return Recommendations(*_decode(self._items, self._similar("items", rows, n), single))

    def similar_users(self, users: Any, n: int = 10) -> UserRecommendations:
        """Find the n users whose factors have the largest cosine with each user's, that user left out.

        Parameters
        ----------
        users : one user or array of shape (m,)
            Labels, or indices where the training data had no labels.
        n : int, default 10

        Returns
        -------
        UserRecommendations
            ``users`` and ``scores`` of shape (m, n), (n,) for one user; as :meth:`recommend`. A user whose factors are
            all zero is similar to none.

        Raises
        ------
        UnknownLabelError, ParameterError, ArgumentTypeError, NotFittedError

        Examples
        --------
        >>> import fastals
        >>> users, items = ["ann", "ann", "bob", "bob", "eve"], ["jazz", "rock", "jazz", "folk", "rock"]
        >>> model = fastals.ImplicitALS(factors=2, random_state=0).fit((users, items))
        >>> model.similar_users("eve", n=1).users
        array(['ann'], dtype=object)
        """
        check_fitted(self)
        rows, single = _encode(self._users, "users", users)
        return UserRecommendations(*_decode(self._users, self._similar("users", rows, n), single))

    def predict(self, users: Any, items: Any, *, unknown: Literal["nan", "error"] = "nan") -> Any:
        """Score pairs of a user and an item.

        Parameters
        ----------
        users, items : arrays of shape (n,)
            Labels, or indices where the training data had no labels. One user or one item stands for all pairs.
        unknown : {"nan", "error"}, default "nan"
            What a user or an item that the model does not know gives.

        Returns
        -------
        array of shape (n,)
            In the dtype of the factors; a number for one user and one item. To the bit what :meth:`recommend` gives.

        Raises
        ------
        UnknownLabelError
            With ``unknown="error"``.
        DataError
            Lengths differ.
        ParameterError, ArgumentTypeError, NotFittedError

        Examples
        --------
        >>> import fastals
        >>> users, items, ratings = ["ann", "ann", "bob"], ["jazz", "rock", "rock"], [5, 1, 4]
        >>> model = fastals.ExplicitALS(factors=2, regularization=0.01, random_state=0).fit((users, items, ratings))
        >>> model.predict("ann", ["jazz", "rock", "folk"]).round()
        array([ 5.,  1., nan], dtype=float32)
        """
        check_fitted(self)
        known = check_choice("unknown", unknown, ("nan", "error")) == "error"
        user_rows, one_user = _encode(self._users, "users", users, known)
        item_rows, one_item = _encode(self._items, "items", items, known)
        if not (one_user or one_item):
            check_same_length({"users": user_rows, "items": item_rows})
        user_rows, item_rows = (np.ascontiguousarray(rows) for rows in np.broadcast_arrays(user_rows, item_rows))
        scores = self._score_pairs(user_rows, item_rows)
        return scores[0] if one_user and one_item else scores

    @property
    def users_(self) -> LabelArray | None:
        """The users' labels in the order of ``user_factors_``; None where the training data had none."""
        check_fitted(self)
        return self._users.values

    @property
    def items_(self) -> LabelArray | None:
        """The items' labels in the order of ``item_factors_``; None where the training data had none."""
        check_fitted(self)
        return self._items.values

    # -- for models ----------------------------------------------------------------------------------------------------

    def _make_scoring_factors(self) -> tuple[FactorArray, FactorArray]:
        """Rows of users and of items whose product is the score."""
        return self.user_factors_, self.item_factors_

    def _scoring_factors(self) -> tuple[FactorArray, FactorArray]:
        if self._scoring is None:
            self._scoring = self._make_scoring_factors()
        return self._scoring

    def _forget_derived(self) -> None:
        """Drop what was derived from the factors."""
        self._derived = {}
        self._scoring = None

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_derived", "_scoring")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget_derived()

    # -- one step below ------------------------------------------------------------------------------------------------

    def _threads(self) -> int:
        return resolve_num_threads(self.num_threads)

    def _panels(self, axis: Axis, unit: bool = False) -> Panels:
        """Return the packed factors of users or items; ``unit``: their directions, rows of zeros left out."""
        if (axis, unit) not in self._derived:
            if unit:
                factors = _unit_rows(self.user_factors_ if axis == "users" else self.item_factors_)
                candidates = np.flatnonzero(factors.any(axis=1)).astype(np.int32)
                self._derived[axis, unit] = Panels(factors, self._threads(), candidates=candidates)
            else:
                self._derived[axis, unit] = Panels(self._scoring_factors()[axis == "items"], self._threads())
        return self._derived[axis, unit]

    def _top_items(
        self,
        users: NDArray[np.int32] | slice,
        n: int,
        exclude_seen: bool,
        *,
        candidates: NDArray[np.int32] | None = None,
        exclude: NDArray[np.int32] | None = None,
    ) -> tuple[NDArray[np.int32], FactorArray]:
        return top_n(
            self._scoring_factors()[0][users],
            self._panels("items"),
            n,
            seen=ItemLists.of_rows(*self._seen, users) if exclude_seen else None,
            candidates=candidates,
            exclude=exclude,
            num_threads=self._threads(),
        )

    def _top_users(self, items: NDArray[np.int32], n: int) -> tuple[NDArray[np.int32], FactorArray]:
        return top_n(self._scoring_factors()[1][items], self._panels("users"), n, num_threads=self._threads())

    def _score_pairs(self, users: NDArray[np.int32], items: NDArray[np.int32]) -> FactorArray:
        scores: FactorArray = _kernels.pair_scores(*self._scoring_factors(), users, items, self._threads())
        return scores

    def _all_scores(self, users: NDArray[np.intp]) -> FactorArray:
        X, Y = self._scoring_factors()
        scores: FactorArray = X[users] @ Y.T
        return scores

    def _similar(self, axis: Axis, rows: NDArray[np.int32], n: int) -> tuple[NDArray[np.int32], FactorArray]:
        panels = self._panels(axis, unit=True)
        places = np.arange(len(rows) + 1)
        itself = ItemLists(places[:-1], places[1:], rows)
        queries = panels.factors[rows]
        found, scores = top_n(queries, panels, check_int("n", n, low=1), exclude=itself, num_threads=self._threads())
        zero = ~queries.any(axis=1)
        found[zero], scores[zero] = -1, -np.inf
        return found, np.minimum(scores, 1, out=scores)


def _encode(labels: Labels, name: str, ids: Any, known: bool = True) -> tuple[NDArray[np.int32], bool]:
    """Return the indices of ids, and whether it was a single one; ``known``: refuse those that are not, else -1."""
    single = np.ndim(ids) == 0
    if single:
        ids = [ids[()] if isinstance(ids, np.ndarray) else ids]
    return (labels.encode_known(name, ids) if known else labels.encode(ids, name)), single


def _decode(
    labels: Labels, found: tuple[NDArray[np.int32], FactorArray], single: bool = False
) -> tuple[LabelArray, FactorArray]:
    indices, scores = found
    ids = labels.decode(indices)
    return (ids[0], scores[0]) if single else (ids, scores)


def _unit_rows(factors: FactorArray) -> FactorArray:
    """Rows divided by their norm; scaled first, so that no square overflows. Rows of zeros stay."""
    largest = np.abs(factors).max(axis=1, keepdims=True)
    rows = factors / np.where(largest > 0, largest, 1)
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))[:, None].astype(factors.dtype)
    rows /= np.where(norms > 0, norms, 1)
    out: FactorArray = rows
    return out

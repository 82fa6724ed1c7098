"""What a fitted model is asked for: lists of the best, scores of pairs, what is similar."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._core import (
    DataError,
    LabelArray,
    ParameterError,
    check_bool,
    check_choice,
    check_int,
    check_pairs,
    check_same_length,
    kernels,
    resolve_num_threads,
    tables,
)
from .._data import Labels
from .._equation import FactorArray
from .boost import Boost, narrowed
from .checks import check_fitted, check_query_factors
from .panels import ItemLists, Panels
from .search import Wanted


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
    _users: Labels
    _items: Labels
    _seen: tuple[NDArray[np.int64], NDArray[np.int32]]
    _derived: dict[str, Any]
    _scoring: tuple[FactorArray, FactorArray] | None

    def recommend(
        self,
        users: Any = None,
        n: int = 10,
        *,
        exclude_seen: bool = True,
        items: Any = None,
        exclude: Any = None,
        boost: Any = None,
        unknown: Literal["error", "popular", "empty"] = "error",
        user_factors: Any = None,
        histories: Any = None,
    ) -> Recommendations:
        """Find the n items of highest score for each user.

        Parameters
        ----------
        users : one user or array of shape (m,)
            Labels, or indices where the training data had no labels.
        n : int, default 10
        exclude_seen : bool, default True
            Leave out each user's items of the training data, or of ``histories``.
        items : array, list of m arrays, or bool array of shape (n_items,), optional
            The only items to choose from, repeats counting once: the same for all users, a list for each user, or a
            mask in the order of ``item_factors_``.
        exclude : as ``items``, optional
            Items that nobody gets, or that each user does not get.
        boost : mapping of items to numbers, or array of shape (n_items,), optional
            What an item counts for, 1 where nothing is said; finite, and not negative. Above 1 an item rises in every
            list and below 1 it falls: its score is multiplied by the boost where it is >= 0, and divided by it where it
            is below 0. 0 leaves the item out. The list is that of the boosted scores, exactly.
        unknown : {"error", "popular", "empty"}, default "error"
            What users get whom the model does not know, or knows without any training cell: an error (the former only),
            the items of most training cells, with their number as score, or nothing.
        user_factors : array of shape (k,) or (m, k), optional
            In the place of ``users``: factors, as :meth:`fold_in` gives them.
        histories : as for :meth:`fold_in`, optional
            In the place of ``users``: histories to fold in, one list for each of their users, in the order of
            :meth:`fold_in`.

        Returns
        -------
        Recommendations
            ``items`` and ``scores`` of shape (m, n), (n,) for one user; best first, equal scores in the order of the
            items. Where fewer than n items are left, the list is filled up with None (indices: -1) and -inf.

        Raises
        ------
        UnknownLabelError
            A user or an item that the model does not know.
        DataError, ParameterError, ArgumentTypeError, NotFittedError

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

        Candidates for each, a user who is new, and one of whom only the history is known:

        >>> model.recommend(["ann", "eve"], n=1, items=[["folk"], ["folk", "rock"]]).items
        array([['folk'],
               ['folk']], dtype=object)
        >>> model.recommend("zoe", n=2, unknown="popular").items
        array(['jazz', 'rock'], dtype=object)
        >>> model.recommend(histories=(["zoe"], ["folk"]), n=1).items
        array([['jazz']], dtype=object)
        """
        check_fitted(self)
        check_choice("unknown", unknown, ("error", "popular", "empty"))
        asked = {"users": users, "user_factors": user_factors, "histories": histories}
        given = [name for name, value in asked.items() if value is not None]
        if len(given) != 1:
            got = " and ".join(given) or "none"
            raise ParameterError(f"one of users, user_factors and histories must be given, got {got}")
        n, exclude_seen = check_int("n", n, low=1), check_bool("exclude_seen", exclude_seen)
        if users is not None:
            rows, single = _encode(self._users, "users", users, unknown == "error")
            wanted = self._wanted("items", items, exclude, len(rows), boost=boost)
            found = self._top_items(np.maximum(rows, 0), n, exclude_seen, wanted)
            if unknown != "error":
                strangers = np.flatnonzero((rows < 0) | (self._seen[0][rows + 1] == self._seen[0][rows]))
                others, scores = self._top_unknown(unknown, n, len(strangers), wanted.part(strangers))
                found[0][strangers], found[1][strangers] = others, narrowed(scores, found[1].dtype)
            return Recommendations(*_decode(self._items, found, single))
        seen: ItemLists | None = None
        single = np.ndim(user_factors) == 1
        if user_factors is not None:
            queries = self._query_rows(user_factors)
        else:
            queries, seen = self._fold_in_queries(histories)
        wanted = self._wanted("items", items, exclude, len(queries), boost=boost)
        found = self._search("items", queries, n, seen if exclude_seen else None, wanted)
        return Recommendations(*_decode(self._items, found, single))

    def recommend_all(
        self,
        n: int = 10,
        *,
        exclude_seen: bool = True,
        items: Any = None,
        exclude: Any = None,
        boost: Any = None,
        batch_size: int = 8192,
    ) -> Iterator[tuple[LabelArray, LabelArray, FactorArray]]:
        """Find the n items of highest score for every user, batch by batch, so that memory is bounded.

        Parameters
        ----------
        n : int, default 10
        exclude_seen : bool, default True
            Leave out each user's items of the training data.
        items, exclude, boost : optional
            As for :meth:`recommend`, the same for all users.
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
        wanted = self._wanted("items", items, exclude, boost=boost)

        def batches() -> Iterator[tuple[LabelArray, LabelArray, FactorArray]]:
            for first in range(0, len(self._users), batch_size):
                rows = slice(first, min(first + batch_size, len(self._users)))
                found = self._top_items(rows, n, exclude_seen, wanted)
                yield (self._users.decode(np.arange(rows.start, rows.stop)), *_decode(self._items, found))

        return batches()

    def recommend_users(
        self, items: Any, n: int = 10, *, exclude_seen: bool = False, users: Any = None, exclude: Any = None
    ) -> UserRecommendations:
        """Find the n users of highest score for each item.

        Parameters
        ----------
        items : one item or array of shape (m,)
            Labels, or indices where the training data had no labels.
        n : int, default 10
        exclude_seen : bool, default False
            Leave out the users who have the item in the training data.
        users, exclude : arrays, optional
            The only users to choose from, and users not to choose; as ``items`` and ``exclude`` of :meth:`recommend`.

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
        wanted = self._wanted("users", users, exclude, len(rows))
        found = self._top_users(rows, check_int("n", n, low=1), check_bool("exclude_seen", exclude_seen), wanted)
        return UserRecommendations(*_decode(self._users, found, single))

    def similar_items(self, items: Any, n: int = 10, *, candidates: Any = None, exclude: Any = None) -> Recommendations:
        """Find the n items whose factors have the largest cosine with each item's, that item itself left out.

        Parameters
        ----------
        items : one item or array of shape (m,)
            Labels, or indices where the training data had no labels.
        n : int, default 10
        candidates, exclude : arrays, optional
            The only items to choose from, and items not to choose; as ``items`` and ``exclude`` of :meth:`recommend`.

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
        wanted = self._wanted("items", candidates, exclude, len(rows), name="candidates")
        return Recommendations(*_decode(self._items, self._similar("items", rows, n, wanted), single))

    def similar_users(
        self, users: Any, n: int = 10, *, candidates: Any = None, exclude: Any = None
    ) -> UserRecommendations:
        """Find the n users whose factors have the largest cosine with each user's, that user left out.

        Parameters
        ----------
        users : one user or array of shape (m,)
            Labels, or indices where the training data had no labels.
        n : int, default 10
        candidates, exclude : arrays, optional
            The only users to choose from, and users not to choose; as ``items`` and ``exclude`` of :meth:`recommend`.

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
        wanted = self._wanted("users", candidates, exclude, len(rows), name="candidates")
        return UserRecommendations(*_decode(self._users, self._similar("users", rows, n, wanted), single))

    def predict(self, users: Any, items: Any = None, *, unknown: Literal["nan", "error", "mean"] | None = None) -> Any:
        """Score pairs of a user and an item.

        Parameters
        ----------
        users, items : arrays of shape (n,)
            Labels, or indices where the training data had no labels. One user or one item stands for all pairs. Without
            ``items``, ``users`` is an array of shape (n, 2) with a user and an item in each row: scikit-learn's form.
        unknown : {"nan", "error", "mean"}, optional
            What a user or an item that the model does not know gives. "mean": the mean score of all that it knows, the
            other side being as it is; those without factors are left out. Default "nan"; "mean" in scikit-learn's form,
            whose metrics take no NaN.

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
        if unknown is None:
            unknown = "mean" if items is None else "nan"
        known = check_choice("unknown", unknown, ("nan", "error", "mean")) == "error"
        if items is None:
            users, items = check_pairs("users, without items,", users)
        user_rows, one_user = _encode(self._users, "users", users, known)
        item_rows, one_item = _encode(self._items, "items", items, known)
        if not (one_user or one_item):
            check_same_length({"users": user_rows, "items": item_rows})
        user_rows, item_rows = (np.ascontiguousarray(rows) for rows in np.broadcast_arrays(user_rows, item_rows))
        scores = self._score_pairs(user_rows, item_rows)
        if unknown == "mean":
            cold = np.flatnonzero((user_rows < 0) | (item_rows < 0))
            scores[cold] = self._mean_scores(user_rows[cold], item_rows[cold])
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

    @property
    def _predicts_ratings(self) -> bool:
        return False

    # -- for models ----------------------------------------------------------------------------------------------------

    def _make_scoring_factors(self) -> tuple[FactorArray, FactorArray]:
        """Rows of users and of items whose product is the score."""
        return self.user_factors_, self.item_factors_

    def _scoring_factors(self) -> tuple[FactorArray, FactorArray]:
        if self._scoring is None:
            self._scoring = self._make_scoring_factors()
        return self._scoring

    def _query_rows(self, user_factors: Any) -> FactorArray:
        """Rows as :meth:`_scoring_factors` has them, for users' factors as they come from folding in."""
        factors: FactorArray = check_query_factors(user_factors, self.user_factors_.shape[1], self.user_factors_.dtype)
        return factors

    def _fold_in_queries(self, histories: Any) -> tuple[FactorArray, ItemLists]:
        """Rows of users who are not in the model, and their items; for models that can fold in."""
        raise ParameterError(f"{type(self).__name__} takes no histories")

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

    def _derive(self, key: str, make: Callable[[], Any]) -> Any:
        """Make once what depends on the factors and the training cells alone."""
        if key not in self._derived:
            self._derived[key] = make()
        return self._derived[key]

    def _panels(self, table: str) -> Panels:
        """Return a packed table: "users" or "items", their "unit" rows (none of zeros), or "popularity"."""

        def make() -> Panels:
            kind, _, axis = table.rpartition(" ")
            if table == "popularity":
                counts: FactorArray = np.zeros((len(self._items), 1), np.float64)
                counts[:, 0] = np.bincount(self._seen[1], minlength=len(counts))
                return Panels(counts, self._threads())
            if not kind:
                return Panels(self._scoring_factors()[axis == "items"], self._threads())
            factors = unit_rows(self.user_factors_ if axis == "users" else self.item_factors_)
            return Panels(factors, self._threads(), candidates=np.flatnonzero(factors.any(axis=1)).astype(np.int32))

        panels: Panels = self._derive(table, make)
        return panels

    def _search(
        self, table: str, queries: FactorArray, n: int, seen: ItemLists | None, wanted: Wanted
    ) -> tuple[NDArray[np.int32], FactorArray]:
        """Search one of the tables of :meth:`_panels`."""
        return wanted.search(table, self._panels(table), queries, n, seen=seen, num_threads=self._threads())

    def _top_unknown(self, unknown: str, n: int, m: int, wanted: Wanted) -> tuple[NDArray[np.int32], FactorArray]:
        """Lists for m users of whom nothing is known."""
        if unknown == "popular":
            return self._search("popularity", np.ones((m, 1)), n, None, wanted)
        return np.full((m, n), -1, np.int32), np.full((m, n), -np.inf)

    def _wanted(
        self,
        axis: Axis,
        candidates: Any = None,
        exclude: Any = None,
        m: int | None = None,
        *,
        boost: Any = None,
        name: str | None = None,
    ) -> Wanted:
        """Check what a call for m lists of users or items asks for (None: any number, all the same).

        ``name`` is what messages call the candidates, by default ``axis``.
        """
        labels = self._items if axis == "items" else self._users
        only = own = closed = each = None
        if candidates is not None:
            lists = _item_lists(name or axis, candidates, labels, m)
            own, only = (lists, None) if isinstance(lists, ItemLists) else (None, lists)
        if exclude is not None:
            lists = _item_lists("exclude", exclude, labels, m)
            each, closed = (lists, None) if isinstance(lists, ItemLists) else (None, lists)
        return Wanted(
            queries=len(self._users) if m is None else m,
            candidates=only,
            own=own,
            exclude=closed,
            exclude_each=each,
            boost=None if boost is None else Boost.of(boost, labels),
        )

    def _top_items(
        self, users: NDArray[np.int32] | slice, n: int, exclude_seen: bool, wanted: Wanted | None = None
    ) -> tuple[NDArray[np.int32], FactorArray]:
        seen = ItemLists.of_rows(*self._seen, users) if exclude_seen else None
        return self._search("items", self._scoring_factors()[0][users], n, seen, wanted or Wanted())

    def _top_users(
        self, items: NDArray[np.int32], n: int, exclude_seen: bool, wanted: Wanted
    ) -> tuple[NDArray[np.int32], FactorArray]:
        seen = ItemLists.of_rows(*self._seen_by_item(), items) if exclude_seen else None
        return self._search("users", self._scoring_factors()[1][items], n, seen, wanted)

    def _seen_by_item(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """The training cells by item."""
        n_items, threads = len(self._items), self._threads()
        made: tuple[NDArray[np.int64], NDArray[np.int32]] = self._derive(
            "seen by item", lambda: tables.transpose(*self._seen, None, n_items, np.float32, threads)[:2]
        )
        return made

    def _score_pairs(self, users: NDArray[np.int32], items: NDArray[np.int32]) -> FactorArray:
        scores: FactorArray = kernels.pair_scores(*self._scoring_factors(), users, items, self._threads())
        return scores

    def _all_scores(self, users: NDArray[np.intp]) -> FactorArray:
        X, Y = self._scoring_factors()
        scores: FactorArray = X[users] @ Y.T
        return scores

    def _mean_scores(self, users: NDArray[np.int32], items: NDArray[np.int32]) -> FactorArray:
        """Scores of pairs, -1 being the mean user or item."""
        X, Y = self._scoring_factors()
        x = np.where(users[:, np.newaxis] < 0, self._mean_row("users"), X[users])
        y = np.where(items[:, np.newaxis] < 0, self._mean_row("items"), Y[items])
        scores: FactorArray = np.einsum("ij,ij->i", x, y)
        return scores

    def _mean_row(self, axis: Axis) -> FactorArray:
        """The mean of the scoring rows of users or items whose factors are not zero."""

        def mean() -> FactorArray:
            rows = self._scoring_factors()[axis == "items"]
            known = (self.item_factors_ if axis == "items" else self.user_factors_).any(axis=1)
            total: FactorArray = (known.astype(np.float64) @ rows / max(1, known.sum())).astype(rows.dtype)
            return total

        row: FactorArray = self._derive(f"mean of {axis}", mean)
        return row

    def _similar(
        self, axis: Axis, rows: NDArray[np.int32], n: int, wanted: Wanted
    ) -> tuple[NDArray[np.int32], FactorArray]:
        table = f"unit {axis}"
        places = np.arange(len(rows) + 1)
        itself = ItemLists(places[:-1], places[1:], rows)
        queries = self._panels(table).factors[rows]
        found, scores = self._search(table, queries, check_int("n", n, low=1), itself, wanted)
        zero = ~queries.any(axis=1)
        found[zero], scores[zero] = -1, -np.inf
        return found, np.minimum(scores, 1, out=scores)


def _item_lists(name: str, given: Any, labels: Labels, m: int | None) -> NDArray[np.int32] | ItemLists:
    """Return indices for all queries, given as such or as a mask, or one list for each of m queries."""
    if isinstance(given, np.ndarray) and given.dtype == np.bool_:
        if given.shape != (len(labels),):
            raise DataError(f"{name} as a mask must have shape ({len(labels)},), got {given.shape}")
        return np.flatnonzero(given).astype(np.int32)
    if not _is_nested(given):
        return labels.encode_known(name, given)
    if m is None or len(given) != m:
        each = "be one list for all" if m is None else f"have one list for each of {m}"
        raise DataError(f"{name} must {each}, got {len(given)} lists")
    last = np.cumsum([len(row) for row in given], dtype=np.int64)
    if all(isinstance(row, np.ndarray) and row.dtype.kind == "i" for row in given):
        items = labels.encode_known(name, np.concatenate(list(given)))
    else:
        flat = chain.from_iterable(row.tolist() if isinstance(row, np.ndarray) else row for row in given)
        items = labels.encode_known(name, list(flat))
    return ItemLists(np.concatenate(([0], last[:-1])), last, items)


def _is_nested(given: Any) -> bool:
    if isinstance(given, np.ndarray) and given.ndim > 1:
        return True
    return isinstance(given, list | tuple | np.ndarray) and any(
        isinstance(row, list | tuple) or np.ndim(row) == 1 for row in given[:1]
    )


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


def unit_rows(factors: FactorArray) -> FactorArray:
    """Rows divided by their norm; scaled first, so that no square overflows. Rows of zeros stay."""
    largest = np.abs(factors).max(axis=1, keepdims=True)
    rows = factors / np.where(largest > 0, largest, 1)
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))[:, None].astype(factors.dtype)
    rows /= np.where(norms > 0, norms, 1)
    out: FactorArray = rows
    return out

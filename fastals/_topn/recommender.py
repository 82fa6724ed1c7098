"""What a fitted model is asked for: lists of the best, scores of pairs, what is similar."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, Literal, TypeVar

import numpy as np

from .._core import (
    FactorArray,
    LabelArray,
    NotFittedError,
    ParameterError,
    check_bool,
    check_choice,
    check_int,
    check_same_length,
    resolve_num_threads,
)
from .._data import pair_columns
from .fitted import Fitted
from .panels import ItemLists
from .requests import Recommendations, UserRecommendations, decode, elsewhere, encode, wanted_of

State = TypeVar("State", bound=Fitted)


def _ignores(unknown_items: str) -> bool:
    """Whether items that the model does not know are passed over."""
    return check_choice("unknown_items", unknown_items, ("error", "ignore")) == "ignore"


class Recommender(ABC):
    """What a fitted model is asked for: scores, and the best of them.

    Each question is answered from one state: another fit under way does not disturb it.
    """

    num_threads: int | None
    _state: Fitted | None = None

    @property
    @abstractmethod
    def state_(self) -> Fitted:
        """What ``fit`` has made: one immutable object, from which all questions are answered."""

    def _fitted(self, state: State | None) -> State:
        """The state, of which there is none before the first fit."""
        if state is None:
            raise NotFittedError(f"this {type(self).__name__} is not fitted yet: call fit first")
        return state

    def _threads(self) -> int:
        return resolve_num_threads(self.num_threads)

    def _queries_of_histories(self, state: Any, histories: Any, threads: int) -> tuple[Any, ItemLists]:
        """Queries of users who are not in the model, and their items; for models that can fold in."""
        raise ParameterError(f"{type(self).__name__} takes no histories")

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
        unknown_items: Literal["error", "ignore"] = "ignore",
        user_factors: Any = None,
        histories: Any = None,
    ) -> Recommendations:
        """Find the n items of highest score for each user.

        Parameters
        ----------
        users : one user or array of shape (m,)
            Labels, or indices where the training data had no labels; in an array, a list, or a column of a data frame.
        n : int, default 10
        exclude_seen : bool, default True
            Leave out each user's items of the training data, or of ``histories``; also those that are merely known,
            see :attr:`Interactions.known`.
        items : one item, array, set, list of m of these, or bool array of shape (n_items,), optional
            The only items to choose from, repeats counting once: the same for all users, a list for each user, or a
            mask in the order of ``item_factors_``. A pandas Series of bool is a mask by its index, if that is labels.
        exclude : as ``items``, optional
            Items that nobody gets, or that each user does not get.
        boost : mapping of items to numbers, pandas Series, or array of shape (n_items,), optional
            What an item counts for, 1 where nothing is said; finite, and not negative. A Series says so of the labels
            that are its index. Above 1 an item rises in every
            list and below 1 it falls: its score is multiplied by the boost where it is >= 0, and divided by it where it
            is below 0. 0 leaves the item out. The list is that of the boosted scores, exactly.
        unknown : {"error", "popular", "empty"}, default "error"
            What users get of whom nothing is known. "popular": the items of most training cells, with their number as
            score. "empty": nothing. "error": a label that the model has never met is an error; one that it has met
            without any training cell, and a history of items that it does not know, get nothing. Ids of another
            kind than the model's, strings where it knows integers, are always an error.
        unknown_items : {"ignore", "error"}, default "ignore"
            What ``items``, ``exclude`` and ``boost`` may name besides: items that the model has not met, which no list
            can hold anyway. Of candidates none of which it has met the list is empty. "error" finds slips of the pen.
            Without labels, what is no index is always an error.
        user_factors : array of shape (k,) or (m, k), optional
            In the place of ``users``: factors, as :meth:`fold_in` gives them.
        histories : as for :meth:`fold_in`, optional
            In the place of ``users``: histories to fold in, one list for each of their users, in the order of
            :meth:`fold_in`.

        Returns
        -------
        Recommendations
            ``items`` and ``scores`` of shape (m, n), (n,) for one user; best first, equal scores in the order of the
            items. Where fewer than n items are left, the list is filled up with None (indices: -1) and -inf. Items of
            which nothing is known, as those without a training cell, are in no list.

        Raises
        ------
        UnknownLabelError
            A user that the model does not know, with ``unknown="error"``; an item, with ``unknown_items="error"``.
        ArgumentTypeError
            Among others: ids of another kind than those the model knows.
        DataError, ParameterError, NotFittedError

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

        An item that is to come sooner, candidates for each, a user who is new, one of whom only the history is known:

        >>> model.recommend("eve", n=2, boost={"folk": 20}).items
        array(['folk', 'jazz'], dtype=object)
        >>> model.recommend(["ann", "eve"], n=1, items=[["folk"], ["folk", "rock"]]).items
        array([['folk'],
               ['folk']], dtype=object)
        >>> model.recommend("zoe", n=2, unknown="popular").items
        array(['jazz', 'rock'], dtype=object)
        >>> model.recommend(histories=(["zoe"], ["folk"]), n=1).items
        array([['jazz']], dtype=object)
        """
        state, threads = self.state_, self._threads()
        check_choice("unknown", unknown, ("error", "popular", "empty"))
        ignore = _ignores(unknown_items)
        asked = {"users": users, "user_factors": user_factors, "histories": histories}
        given = [name for name, value in asked.items() if value is not None]
        if len(given) != 1:
            got = " and ".join(given) or "none"
            raise ParameterError(f"one of users, user_factors and histories must be given, got {got}")
        n, exclude_seen = check_int("n", n, low=1), check_bool("exclude_seen", exclude_seen)
        known: ItemLists | None = None
        if users is not None:
            rows, single = encode(state.users, "users", users, unknown == "error")
            queries, seen = state.queries("users", rows), state.seen(rows)
            unmet = rows < 0
            strange, seen = unmet | state.blank("users", queries), seen._replace(last=np.where(unmet, *seen[:2]))
            known = state.known_to(rows, elsewhere(state, users)) if unmet.any() else state.known(rows)
        elif user_factors is not None:
            queries, seen, single = state.queries_of_factors(user_factors), None, np.ndim(user_factors) == 1
            strange = state.blank("users", queries)
        else:
            queries, seen = self._queries_of_histories(state, histories, threads)
            strange, single = state.blank("users", queries), False
        wanted = wanted_of("items", state.items, items, exclude, len(queries), boost=boost, ignore=ignore)
        seen, wanted = (seen, wanted.without(known)) if exclude_seen else (None, wanted)
        found = state.best_items(queries, strange, n, seen, wanted, threads, unknown)
        return Recommendations(*decode(state.items, found, single))

    def recommend_all(
        self,
        n: int = 10,
        *,
        exclude_seen: bool = True,
        items: Any = None,
        exclude: Any = None,
        boost: Any = None,
        unknown_items: Literal["error", "ignore"] = "ignore",
        batch_size: int = 8192,
    ) -> Iterator[tuple[LabelArray, LabelArray, FactorArray]]:
        """Find the n items of highest score for every user, batch by batch, so that memory is bounded.

        Parameters
        ----------
        n : int, default 10
        exclude_seen : bool, default True
            Leave out each user's items of the training data, also those that are merely known.
        items, exclude, boost, unknown_items : optional
            As for :meth:`recommend`, the same for all users.
        batch_size : int, default 8192
            Users of one batch.

        Returns
        -------
        iterator of (users, items, scores)
            Arrays of shape (m,), (m, n) and (m, n), m <= batch_size, as :meth:`recommend` gives them; users in the
            order of ``user_factors_``. The list of a user without any training cell is empty.

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
        state, threads = self.state_, self._threads()
        n, exclude_seen = check_int("n", n, low=1), check_bool("exclude_seen", exclude_seen)
        batch_size = check_int("batch_size", batch_size, low=1)
        ignore, m = _ignores(unknown_items), len(state.users)
        wanted = wanted_of("items", state.items, items, exclude, queries=m, boost=boost, ignore=ignore)

        def batches() -> Iterator[tuple[LabelArray, LabelArray, FactorArray]]:
            for first in range(0, len(state.users), batch_size):
                rows = slice(first, min(first + batch_size, len(state.users)))
                found = state.top_items(rows, n, exclude_seen, threads, wanted)
                yield (state.users.decode(np.arange(rows.start, rows.stop)), *decode(state.items, found))

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
            Leave out the users who have the item in the training data, or are known to have met it.
        users, exclude : arrays, optional
            The only users to choose from, and users not to choose; as ``items`` and ``exclude`` of :meth:`recommend`.

        Returns
        -------
        UserRecommendations
            ``users`` and ``scores`` of shape (m, n), (n,) for one item; as :meth:`recommend`. Users of whom nothing is
            known are in no list, and an item of which nothing is known has an empty one.

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
        state, threads = self.state_, self._threads()
        rows, single = encode(state.items, "items", items)
        wanted = wanted_of("users", state.users, users, exclude, len(rows))
        n, exclude_seen = check_int("n", n, low=1), check_bool("exclude_seen", exclude_seen)
        return UserRecommendations(
            *decode(state.users, state.top_users(rows, n, exclude_seen, threads, wanted), single)
        )

    def similar_items(
        self,
        items: Any,
        n: int = 10,
        *,
        candidates: Any = None,
        exclude: Any = None,
        unknown_items: Literal["error", "ignore"] = "ignore",
    ) -> Recommendations:
        """Find the n items whose factors have the largest cosine with each item's, that item itself left out.

        Parameters
        ----------
        items : one item or array of shape (m,)
            Labels, or indices where the training data had no labels.
        n : int, default 10
        candidates, exclude : arrays, optional
            The only items to choose from, and items not to choose; as ``items`` and ``exclude`` of :meth:`recommend`.
        unknown_items : {"ignore", "error"}, default "ignore"
            Of ``candidates`` and ``exclude``, as for :meth:`recommend`.

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
        state, threads = self.state_, self._threads()
        rows, single = encode(state.items, "items", items)
        ignore = _ignores(unknown_items)
        wanted = wanted_of("candidates", state.items, candidates, exclude, len(rows), ignore=ignore)
        found = state.similar("items", rows, check_int("n", n, low=1), wanted, threads)
        return Recommendations(*decode(state.items, found, single))

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
        state, threads = self.state_, self._threads()
        rows, single = encode(state.users, "users", users)
        wanted = wanted_of("candidates", state.users, candidates, exclude, len(rows))
        found = state.similar("users", rows, check_int("n", n, low=1), wanted, threads)
        return UserRecommendations(*decode(state.users, found, single))

    def predict(self, users: Any, items: Any = None, *, unknown: Literal["nan", "error", "mean"] | None = None) -> Any:
        """Score pairs of a user and an item.

        Parameters
        ----------
        users, items : arrays of shape (n,)
            Labels, or indices where the training data had no labels. One user or one item stands for all pairs. Without
            ``items``, ``users`` is scikit-learn's form, a user and an item in each row: an array of shape (n, 2), a
            list of pairs, or a data frame with user and item columns, which go by their names.
        unknown : {"nan", "error", "mean"}, optional
            What a user or an item that the model does not know gives. "mean": the mean score of all that it knows, the
            other side being as it is; those without factors are left out. Default "nan"; "mean" in scikit-learn's form,
            whose metrics take no NaN. Ids of another kind than the model's are always an error.

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
        state, threads = self.state_, self._threads()
        if unknown is None:
            unknown = "mean" if items is None else "nan"
        known = check_choice("unknown", unknown, ("nan", "error", "mean")) == "error"
        if items is None:
            users, items = pair_columns("users, without items,", users)
        user_rows, one_user = encode(state.users, "users", users, known)
        item_rows, one_item = encode(state.items, "items", items, known)
        if not (one_user or one_item):
            check_same_length({"users": user_rows, "items": item_rows})
        user_rows, item_rows = (np.ascontiguousarray(rows) for rows in np.broadcast_arrays(user_rows, item_rows))
        scores = state.pair_scores(user_rows, item_rows, threads)
        if unknown == "mean":
            cold = np.flatnonzero((user_rows < 0) | (item_rows < 0))
            scores[cold] = state.mean_scores(user_rows[cold], item_rows[cold])
        return scores[0] if one_user and one_item else scores

    @property
    def users_(self) -> LabelArray | None:
        """The users' labels in the order of ``user_factors_``; None where the training data had none."""
        return self.state_.users.values

    @property
    def items_(self) -> LabelArray | None:
        """The items' labels in the order of ``item_factors_``; None where the training data had none."""
        return self.state_.items.values

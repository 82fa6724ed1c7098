"""Users and items that were not there: folded in by themselves, or taken into the model with their events."""

from __future__ import annotations

import sys
from typing import Any, ClassVar

import numpy as np

from .._core import check_choice, check_int, single_threaded_blas
from .._data import DUPLICATES, append, as_observations, has_repeats, ones_like
from .._equation import FactorArray, Training, check_finite_factors
from .._topn import Axis, ItemLists, check_fitted
from .row_equation import AXES, RowEquation

if sys.version_info >= (3, 11):
    from typing import Self
else:
    from typing import TypeVar

    Self = TypeVar("Self", bound="FoldIn")


class FoldIn(RowEquation):
    """Solves the rows of new cells, all others staying as they are."""

    _merge_policy: ClassVar[str]

    def fold_in(self, data: Any, *, sample_weight: Any = None) -> FactorArray:
        """Factors of new users from their histories, with the items' factors as they are.

        Parameters
        ----------
        data : as for :meth:`fit`
            One row per new user. A matrix has the model's items as columns; labelled data may name items that the model
            does not know: they are passed over.
        sample_weight : array of shape (n,), optional
            As for :meth:`fit`.

        Returns
        -------
        array of shape (n_new_users, factors), or (n_new_users, factors + 1) from a model with biases
            The last column then holds the users' biases. In the order of the data's users (a matrix: its rows; labels:
            ascending). Exact solutions of the row equation: the history of a training user gives what one more
            half-sweep would give that user.

        Examples
        --------
        >>> import fastals
        >>> from scipy.sparse import csr_array
        >>> plays = csr_array([[3, 0, 1], [0, 2, 0]])
        >>> model = fastals.ImplicitALS(factors=2, random_state=0).fit(plays)
        >>> model.fold_in(csr_array([[0, 1, 1]])).shape
        (1, 2)
        """
        check_fitted(self)
        return self._solve_new("users", data, sample_weight, items=self._items)

    def fold_in_items(self, data: Any, *, sample_weight: Any = None) -> FactorArray:
        """Factors of new items from their histories, with the users' factors as they are.

        Parameters
        ----------
        data : as for :meth:`fit`
            Rows are users: a matrix has the model's users as rows and one column per new item.
        sample_weight : array of shape (n,), optional
            As for :meth:`fit`.

        Returns
        -------
        array of shape (n_new_items, factors), or (n_new_items, factors + 1) from a model with biases
            The last column then holds the items' biases. In the order of the data's items.

        Examples
        --------
        >>> import fastals
        >>> from scipy.sparse import csr_array
        >>> plays = csr_array([[3, 0, 1], [0, 2, 0]])
        >>> model = fastals.ImplicitALS(factors=2, random_state=0).fit(plays)
        >>> model.fold_in_items(csr_array([[0], [2]])).shape
        (1, 2)
        """
        check_fitted(self)
        return self._solve_new("items", data, sample_weight, users=self._users)

    def partial_fit(
        self, data: Any, *, sample_weight: Any = None, duplicates: str | None = None, passes: int = 2
    ) -> Self:
        """Take in new events, users and items, and solve the rows they touch again, all others staying as they are.

        The events are merged with the history that the model holds: no need to hand that in again. Then, ``passes``
        times, each user with a new event is solved exactly from all their cells, given the items' factors, and after
        them each item with a new event (or the items first, with a preset whose users are solved last). New users and
        items start from zeros, so that in the first pass a user is told by the known items alone; users and items that
        occur with nothing known stay at zero until the next ``fit``.

        Parameters
        ----------
        data : as for :meth:`fit`
            New users and items are appended behind the known ones, whose indices do not change. Without labels: a
            matrix with at least as many rows and columns as the model has users and items, or indices of which new ones
            follow without a gap.
        sample_weight : array of shape (n,), optional
            As for :meth:`fit`. Where either the history or the events have weights, the others weigh 1.
        duplicates : {"sum", "last", "max", "mean", "error", "keep"}, optional
            What becomes of several values for one user and item, the stored one coming first. By default "keep" where
            the training data hold such cells or weights; else implicit feedback adds ("sum") and a rating is replaced
            ("last"). Cells with weights can only be kept.
        passes : int, default 2

        Returns
        -------
        self
            ``settings_``, ``loss_history_`` and its like stay those of ``fit``.

        Raises
        ------
        NotFittedError
            There is no model yet, or it was saved without its history.
        DataError, UnknownLabelError, ParameterError, ArgumentTypeError
            Before any work; the model stays as it was.

        Examples
        --------
        >>> import fastals
        >>> users, items = ["ann", "ann", "bob", "bob", "eve"], ["jazz", "rock", "jazz", "folk", "rock"]
        >>> model = fastals.ImplicitALS(factors=2, random_state=0).fit((users, items))
        >>> model.partial_fit((["zoe", "zoe", "bob"], ["jazz", "ska", "ska"])).items_
        array(['folk', 'jazz', 'rock', 'ska'], dtype=object)
        >>> model.recommend("zoe", n=1).items
        array(['folk'], dtype=object)
        """
        history, weights = self._history()
        check_int("passes", passes, low=1)
        events, event_weights = as_observations(data, sample_weight, duplicates="keep")
        weighted = weights is not None or event_weights is not None
        if duplicates is None:
            duplicates = "keep" if weighted or has_repeats(history) else self._merge_policy
        check_choice("duplicates", duplicates, ("keep",) if weighted else DUPLICATES)
        users = self._users.grown("users", events.user_labels)
        items = self._items.grown("items", events.item_labels)
        merged = append(history, events, users, items, duplicates)
        twin = None
        if weighted:
            twin = append(weights or ones_like(history), event_weights or ones_like(events), users, items, "keep")
        touched_users = users[1][np.flatnonzero(np.diff(events.indptr))]
        touched_items = np.unique(items[1][events.indices])
        X, Y = (
            np.concatenate((factors, np.zeros((len(labels) - len(factors), factors.shape[1]), factors.dtype)))
            for factors, (labels, _) in zip(self._columns(), (users, items), strict=True)
        )
        threads = self._threads()
        rows, columns = (self._rows(axis, merged, twin, X.dtype, threads) for axis in AXES)
        self._check_minimum("users", rows, merged)
        rows, columns, biases = self._grown_offsets(rows, columns, touched_users, touched_items)
        turns = (self._side("users", rows, X, Y), touched_users), (self._side("items", columns, Y, X), touched_items)
        with single_threaded_blas():
            for _ in range(passes):
                for side, touched in turns if self._preset.last == "items" else turns[::-1]:
                    side.solve(self._exact_solver, threads, mean=self._mean, only=touched)
        check_finite_factors(X, Y)
        self._remember(merged, twin, X.dtype)
        return self._adopt(Training(X, Y, mean=self._mean, biases=biases))

    def _fold_in_queries(self, histories: Any) -> tuple[FactorArray, ItemLists]:
        data, _ = as_observations(histories, None, duplicates=self._preset.duplicates, items=self._items)
        return self._query_rows(self.fold_in(data)), ItemLists.of_rows(data.indptr, data.indices)

    def _solve_new(self, axis: Axis, data: Any, sample_weight: Any, **known: Any) -> FactorArray:
        """Exact rows for new users or items."""
        others = self.item_factors_ if axis == "users" else self.user_factors_
        histories, twin = as_observations(data, sample_weight, duplicates=self._preset.duplicates, **known)
        rows = self._rows(axis, histories, twin, others.dtype, None)
        self._check_minimum(axis, rows, histories)
        rows, bias = self._new_offsets(axis, rows)
        if self._joint_biases and self._biases is not None:
            others = np.column_stack((others, self._biases[axis == "users"]))
        # of the factors' own shape and dtype: set_params may have changed the model's since fit
        out: FactorArray = np.zeros((len(rows.indptr) - 1, others.shape[1]), others.dtype)
        with single_threaded_blas():
            self._side(axis, rows, out, others).solve(self._exact_solver, self._threads(), mean=self._mean)
        return out if bias is None else np.column_stack((out, bias))

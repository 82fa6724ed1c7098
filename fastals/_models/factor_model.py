"""A model of factors, fitted: what its state shows, and what is answered from it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .._core import DataError, FactorArray, check_bool, check_int, check_path
from .._data import as_observations, met_by
from .._equation import Preset, Settings
from .._fitted import Ageing, FittedState, Rest, ageing_of, fold_in, forgotten, grown, save_state, solve_new
from .._topn import ItemLists, Recommender

if TYPE_CHECKING:
    from .._inspect import Explanation


if sys.version_info >= (3, 11):
    from typing import Self
else:
    from typing import TypeVar

    Self = TypeVar("Self", bound="FactorModel")


class FactorModel(Recommender):
    """What can be asked of both ALS models once they are fitted."""

    _presets: ClassVar[Mapping[str | None, Preset]]
    _state: FittedState | None = None

    # -- the fitted state ---------------------------------------------------------------------------------------------

    @property
    def state_(self) -> FittedState:
        """What ``fit`` has made: one immutable object, from which all questions are answered."""
        return self._fitted(self._state)

    @property
    def user_factors_(self) -> FactorArray:
        """Rows of users; read-only. Assigning an array of the same shape and dtype makes a new state."""
        return self.state_.user_factors

    @user_factors_.setter
    def user_factors_(self, factors: Any) -> None:
        self._state = replaced(self.state_, "user_factors", factors)

    @property
    def item_factors_(self) -> FactorArray:
        """Rows of items; read-only. Assigning an array of the same shape and dtype makes a new state."""
        return self.state_.item_factors

    @item_factors_.setter
    def item_factors_(self, factors: Any) -> None:
        self._state = replaced(self.state_, "item_factors", factors)

    @property
    def settings_(self) -> Settings:
        """What was meant by the parameters that may be "auto"."""
        return {name: value for name, value in self.state_.settings.items() if name != "prior_strength"}

    @property
    def prior_strength_(self) -> tuple[float, float] | None:
        """How strongly ``fit`` drew users and items to ``prior``; None: there was none."""
        strength: tuple[float, float] | None = self.state_.settings.get("prior_strength")
        return strength

    @property
    def loss_history_(self) -> list[float]:
        """The objective after each iteration."""
        return list(self.state_.loss_history)

    @property
    def metrics_history_(self) -> list[dict[str, float]]:
        """What ``validation`` measured after each iteration."""
        return [dict(metrics) for metrics in self.state_.metrics_history]

    @property
    def n_iter_(self) -> int:
        """Iterations done."""
        return self.state_.n_iter

    @property
    def n_repeated_(self) -> int:
        """Iterations that were made once more, exactly, or taken back."""
        return self.state_.n_repeated

    @property
    def best_iteration_(self) -> int | None:
        """The iteration that the factors are of, where ``validation`` chose it."""
        return self.state_.best_iteration

    @property
    def n_updates_(self) -> int:
        """How often :meth:`partial_fit` has taken in events since the last ``fit``."""
        return self.state_.n_updates

    @property
    def updated_(self) -> float:
        """How much of the training data the last ``fit`` has not seen as it is now, from 0 to 1.

        Each :meth:`partial_fit` leaves of what that fit knew the share of the cells that its events do not touch, times
        ``decay``. A whole fit is due from 0.5 on, which ``fastals update`` and ``fastals info`` say.
        """
        return 1 - self.state_.fresh

    @property
    def scoring_(self) -> dict[str, Any] | None:
        """How the scores that it was fitted on were made."""
        scoring = self.state_.scoring
        return None if scoring is None else deepcopy(dict(scoring))

    @scoring_.setter
    def scoring_(self, scoring: dict[str, Any] | None) -> None:
        self._state = replace(self.state_, scoring=scoring)

    def _without(self, state: FittedState, users: Rest, items: Rest, on_disk: str | None) -> FittedState:
        return forgotten(state, users, items, on_disk)

    # -- what is answered from it ----------------------------------------------------------------------------------

    def fold_in(self, data: Any, *, sample_weight: Any = None) -> FactorArray:
        """Factors of new users from their histories, with the items' factors as they are.

        Parameters
        ----------
        data : as for :meth:`fit`
            One row per new user. A matrix has the model's items as columns, in its order; labelled data may name items
            that the model does not know: they are passed over. Items by ids of another kind are an error. Repeated
            cells become one as in the fit.
        sample_weight : array of shape (n,), optional
            As for :meth:`fit`.

        Returns
        -------
        array of shape (n_new_users, factors), or (n_new_users, factors + 1) from a model with biases
            The last column then holds the users' biases. In the order of the data's users (a matrix: its rows; labels:
            ascending). Exact solutions of the row equation: the history of a training user gives what one more
            half-sweep would give that user (without a ``prior``: new users are drawn to nobody's vector).

        Examples
        --------
        >>> import fastals
        >>> from scipy.sparse import csr_array
        >>> plays = csr_array([[3, 0, 1], [0, 2, 0]])
        >>> model = fastals.ImplicitALS(factors=2, random_state=0).fit(plays)
        >>> model.fold_in(csr_array([[0, 1, 1]])).shape
        (1, 2)
        """
        state = self.state_
        return fold_in(state, "users", data, sample_weight, self._threads(), items=state.items)

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
        state = self.state_
        return fold_in(state, "items", data, sample_weight, self._threads(), users=state.users)

    def partial_fit(
        self,
        data: Any,
        *,
        sample_weight: Any = None,
        duplicates: str | None = None,
        decay: float | Ageing = 1.0,
        passes: int = 2,
    ) -> Self:
        """Take in new events, users and items, and solve the rows they touch again, all others staying as they are.

        The events are merged with the history that the model holds: no need to hand that in again. Then, ``passes``
        times, each user with a new event is solved exactly from all their cells, given the items' factors, and after
        them each item with a new event (or the items first, with a preset whose users are solved last). New users and
        items start from zeros, so that in the first pass a user is told by the known items alone; users and items that
        occur with nothing known stay at zero until the next ``fit``. Users and items that the fit drew to those of
        another model (``prior=``) stay drawn to these, as strongly; new ones are drawn to nothing.

        Parameters
        ----------
        data : as for :meth:`fit`
            New users and items are appended behind the known ones, whose indices do not change. Without labels: a
            matrix with at least as many rows and columns as the model has users and items, or indices of which new ones
            follow without a gap. What they know beside their cells comes to what is known; a known pair that gets an
            event is a cell from now on.
        sample_weight : array of shape (n,), optional
            As for :meth:`fit`. Where either the history or the events have weights, the others weigh 1.
        duplicates : {"sum", "last", "max", "mean", "error", "keep"}, optional
            What becomes of several values for one user and item, the stored one coming first. By default "keep" where
            the training data hold such cells or weights; else implicit feedback adds ("sum") and a rating is replaced
            ("last"). Cells with weights can only be kept.
        decay : float in (0, 1], default 1
            What the history's values are multiplied by before the events come to them, as they get older: 0.5 for one
            half-life. Only of implicit feedback. :func:`fastals.scoring.update` finds it for models of scores.
        passes : int, default 2

        Returns
        -------
        self
            ``settings_``, ``loss_history_`` and its like stay those of ``fit``; ``updated_`` says when another is due.

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
        state = self.state_
        self._state = grown(
            state,
            data,
            sample_weight,
            duplicates=duplicates,
            otherwise=self._presets[None].duplicates,
            passes=check_int("passes", passes, low=1),
            threads=self._threads(),
            ageing=ageing_of(decay),
        )
        return self

    def _queries_of_histories(self, state: Any, histories: Any, threads: int) -> tuple[FactorArray, ItemLists]:
        options: dict[str, Any] = {"duplicates": state.duplicates, "ratings": state.ratings, "num_threads": threads}
        data, _ = as_observations(histories, None, items=state.items, **options)
        factors = solve_new(state, "users", data, None, threads)
        return state.queries_of_factors(factors), ItemLists(*met_by(data, slice(None)))

    def explain(self, user: Any, item: Any, n: int = 10, *, history: Any = None) -> Explanation:
        """Take a score apart: how much of it comes from each item of the user's history ([1]_, section 5).

        A user's factors are linear in what their cells say, and so is the score. It is that of the exact solution given
        the items' factors, as :meth:`fold_in` has it; :meth:`predict`, whose users were solved before the items were
        for the last time, may differ a little.

        Parameters
        ----------
        user : label, or index; None with ``history``
        item : label, or index
            Any item, known to the user or not.
        n : int, default 10
            The items of the largest contributions.
        history : as for :meth:`fold_in`, optional
            The history of one user, instead of the training cells of ``user``.

        Returns
        -------
        Explanation
            ``score``, ``items``, ``contributions`` and ``base``: ``base`` and the contributions of the whole history,
            not only of the n items, sum to the score.

        Raises
        ------
        UnknownLabelError, NotFittedError, DataError, ParameterError, ArgumentTypeError

        References
        ----------
        .. [1] Y. Hu, Y. Koren, C. Volinsky. Collaborative filtering for implicit feedback datasets. ICDM 2008.

        Examples
        --------
        >>> import fastals
        >>> users, items = ["ann", "ann", "bob", "bob", "eve"], ["jazz", "rock", "jazz", "folk", "rock"]
        >>> model = fastals.ImplicitALS(factors=2, random_state=0).fit((users, items))
        >>> why = model.explain("ann", "folk")
        >>> why.items
        array(['jazz', 'rock'], dtype=object)
        >>> bool(abs(why.contributions.sum() - why.score) < 1e-12)
        True
        """
        from .._inspect import explain  # not every program asks

        state = self.state_
        return explain(state, user, item, check_int("n", n, low=1), history, self._threads())

    # -- files --------------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str], *, history: bool = True) -> None:
        """Write the model to one safetensors file; see :func:`fastals.load`.

        The file holds factors, labels, parameters, loss history, and the training cells and known pairs that
        ``exclude_seen`` needs.
        It is written under a temporary name, synced and renamed: ``path`` holds the old model or the whole new one.

        Parameters
        ----------
        path : str or path-like
        history : bool, default True
            Store the values of the training cells too (4 bytes a cell in float32), without which the loaded model has
            neither :meth:`partial_fit` nor :meth:`explain` of its users.

        Raises
        ------
        NotFittedError, OSError

        Examples
        --------
        >>> import fastals, os, tempfile
        >>> model = fastals.ImplicitALS(factors=2, random_state=0).fit((["ann", "bob"], ["x", "y"]))
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     model.save(os.path.join(directory, "model"), history=False)
        ...     fastals.load(os.path.join(directory, "model")).recommend("ann", n=1).items
        array(['y'], dtype=object)
        """
        save_state(check_path("path", path), type(self), self.state_, history=check_bool("history", history))


def replaced(state: FittedState, name: str, factors: Any) -> FittedState:
    """The state with other factors, of the same shape and dtype."""
    held: FactorArray = getattr(state, name)
    array = np.asarray(factors)
    if array.shape != held.shape or array.dtype != held.dtype:
        raise DataError(
            f"{name}_ must have shape {held.shape} and dtype {held.dtype}, got shape {array.shape} and dtype "
            f"{array.dtype}: convert it, or fit a model with initial_factors= and iterations=0"
        )
    if not np.isfinite(array).all():
        row, column = np.argwhere(~np.isfinite(array))[0]
        raise DataError(f"{name}_ must be finite, got {array[row, column]} at row {row}, column {column}")
    change: dict[str, Any] = {name: np.array(array, order="C")}
    return replace(state, **change).sealed()

"""What every estimator is besides its mathematics: the conventions of scikit-learn, without importing it.

Its ``clone``, ``Pipeline`` and ``GridSearchCV`` work on the estimators as they are. There X is an array of shape
(n, 2), a user and an item in each row, and y their values: ``fit(X, y)``, ``predict(X)``, ``score(X, y)``.
"""

from __future__ import annotations

import inspect
import os
import sys
from abc import ABC, abstractmethod
from copy import copy, deepcopy
from typing import Any, Literal

import numpy as np

from .._core import ParameterError, check_choice, check_path
from .._data import Interactions, known_of, pair_columns
from .._fitted import Forgotten, Rest, rest_of
from .._topn import Fitted, Recommender

if sys.version_info >= (3, 11):
    from typing import Self
else:
    from typing import TypeVar

    Self = TypeVar("Self", bound="Estimator")


class Estimator(Recommender, ABC):
    """A model whose constructor takes keyword arguments, stores each as it is under its name, and checks them."""

    _cloned = False
    """Made by scikit-learn's ``clone``, as searches and cross-validations make their models, and not fitted since."""

    @property
    def _predicts_ratings(self) -> bool:
        """Whether scores are ratings."""
        return False

    @property
    @abstractmethod
    def _duplicates(self) -> str:
        """What becomes of several values for one user and item, where nothing else is said."""

    def _merging(self, duplicates: str | None, data: Any, allowed: tuple[str, ...]) -> str:
        """What becomes of them in a fit, which may say something else."""
        if duplicates is None:
            return self._duplicates
        check_choice("duplicates", duplicates, allowed)
        if isinstance(data, Interactions):
            raise ParameterError(
                f"duplicates={duplicates!r} has no meaning with Interactions, whose cells were merged when they were "
                f"made: Interactions.from_...(..., duplicates={duplicates!r})"
            )
        return duplicates

    @abstractmethod
    def _check_params(self) -> None:
        """Refuse a parameter that breaks its rule."""

    def __sklearn_is_fitted__(self) -> bool:
        return self._state is not None

    def __sklearn_clone__(self) -> Self:
        clone = type(self)(**deepcopy(self.get_params()))
        clone._cloned = True
        return clone

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's parameters by name, as scikit-learn's ``clone`` and searches expect.

        Parameters
        ----------
        deep : bool
            Ignored: no parameter is itself an estimator.

        Examples
        --------
        >>> import fastals
        >>> fastals.ImplicitALS(factors=8).get_params()["factors"]
        8
        """
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def set_params(self, **params: Any) -> Self:
        """Change constructor parameters by name; but for ``num_threads`` they take effect at the next ``fit``.

        Raises
        ------
        ParameterError
            A name that is not a parameter, or a value that breaks its rule; nothing is changed then.

        Examples
        --------
        >>> import fastals
        >>> fastals.ImplicitALS(factors=8).set_params(factors=16).factors
        16
        """
        known = self.get_params()
        for name in params:
            check_choice("parameter name", name, tuple(known))
        type(self)(**{**known, **params})
        for name, value in params.items():
            setattr(self, name, value)
        return self

    @abstractmethod
    def fit(self, data: Any, y: Any = None) -> Self:
        """Train."""

    def score(self, data: Any, y: Any = None) -> float:
        """How well held-out interactions are met: the score of scikit-learn's searches, of which more is better.

        Parameters
        ----------
        data : Interactions, or what :meth:`fit` takes
            A matrix is in the order of ``users_`` and ``items_``.
        y : array of shape (n,), optional
            Values, where ``data`` is pairs, as :meth:`predict` takes them without ``items``.

        Returns
        -------
        float
            Models of ratings: R2 of all pairs (:func:`fastals.evaluation.r2`), of which those with an unknown user or
            item are predicted as ``predict(..., unknown="mean")`` does. Others: NDCG@10
            (:func:`fastals.evaluation.evaluate`).

        Raises
        ------
        DataError

        Examples
        --------
        >>> import fastals
        >>> from scipy.sparse import csr_array
        >>> plays = csr_array([[9, 4, 0, 0], [8, 0, 0, 0], [0, 0, 7, 5], [0, 0, 6, 0]])
        >>> model = fastals.ImplicitALS(factors=2, random_state=0).fit(plays)
        >>> model.score([[1, 1], [3, 3]], [1, 1])
        1.0
        """
        from ..evaluation import evaluate, held_out, r2  # not every program asks

        self = copy(self)  # which keeps to its state, whatever is fitted meanwhile
        state, given = self.state_, with_values(data, y)
        if not state.ratings:
            return float(evaluate(self, None, given)["ndcg@10"])
        cells = held_out(given, True, "keep", order=(state.users, state.items))
        rows = np.repeat(np.arange(cells.n_users), np.diff(cells.indptr))
        users, items = cells.user_labels.decode(rows), cells.item_labels.decode(cells.indices)
        return r2(cells.values, self.predict(users, items, unknown="mean"))

    @abstractmethod
    def _without(self, state: Any, users: Rest, items: Rest, on_disk: str | None) -> Fitted:
        """The state without what leaves."""

    def forget(
        self,
        users: Any = None,
        items: Any = None,
        *,
        unknown: Literal["error", "ignore"] = "error",
        on_disk: str | os.PathLike[str] | None = None,
    ) -> Forgotten:
        """Forget users or items: their rows, training cells and labels leave the model.

        What a model gives for the others stays the same to the bit, but for what was made of those who leave: lists of
        an item that is forgotten, :class:`UserKNN`'s neighbours, the counts of the "popular" list and the mean that
        ``predict(..., unknown="mean")`` goes by. The other side's numbers were fitted to their cells, too, as were
        :class:`ItemKNN`'s similarities and :class:`EASE`'s weights: that influence, of which no single cell can be
        read, stays until the next :meth:`fit` on data without them. Files are not touched: :meth:`save` the model in
        their place, or use ``fastals forget``.

        Parameters
        ----------
        users, items : one id or array of shape (m,), optional
            Labels, or indices where the training data had no labels. Rows of labels that leave are closed up, and the
            index of each row behind them becomes less; indices stay what they are, of rows without cells whose factors
            are zero. An id may be given several times.
        unknown : {"error", "ignore"}, default "error"
            What becomes of ids that the model does not know; "ignore" counts them. Ids of another kind than the
            model's are an error always.
        on_disk : path, optional
            For a model of interactions on disk, which needs it: a new directory, where its cells are made anew, without
            those that leave, in bounded memory. The old directory is left to be deleted when nothing needs it.

        Returns
        -------
        Forgotten
            The numbers of ``users``, ``items`` and ``cells`` that have left, and of ids ``unknown``.

        Raises
        ------
        UnknownLabelError
        DataError
            No user, item or cell would be left.
        ParameterError, ArgumentTypeError, NotFittedError

        Examples
        --------
        >>> import fastals
        >>> users, items = ["ann", "ann", "bob", "bob", "eve"], ["jazz", "rock", "jazz", "folk", "rock"]
        >>> model = fastals.ImplicitALS(factors=2, random_state=0).fit((users, items))
        >>> model.forget(users=["bob", "zoe"], unknown="ignore")
        Forgotten(users=1, items=0, cells=2, unknown=1)
        >>> model.users_
        array(['ann', 'eve'], dtype=object)
        """
        state, known = self.state_, check_choice("unknown", unknown, ("error", "ignore")) == "error"
        if users is None and items is None:
            raise ParameterError("users or items must be given: whom or what to forget")
        others = known_of(state.pairs).elsewhere
        left = (
            rest_of("users", state.users, None if others is None else others.user_labels, users, known),
            rest_of("items", state.items, None if others is None else others.item_labels, items, known),
        )
        made = self._without(state, *left, None if on_disk is None else check_path("on_disk", on_disk))
        self._state = made
        cells = state.pairs.nnz - made.pairs.nnz
        return Forgotten(left[0].gone, left[1].gone, cells, left[0].unknown + left[1].unknown)

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import RegressorTags, Tags, TargetTags

        kind = {"estimator_type": "regressor", "regressor_tags": RegressorTags()} if self._predicts_ratings else {}
        return Tags(**{"estimator_type": None, "target_tags": TargetTags(required=True), **kind})

    def __repr__(self) -> str:
        defaults = {name: p.default for name, p in inspect.signature(type(self)).parameters.items()}
        shown = (f"{name}={value!r}" for name, value in self.get_params().items() if value != defaults[name])
        return f"{type(self).__name__}({', '.join(shown)})"


def with_values(data: Any, y: Any) -> Any:
    """Return data as all functions take it; with values y, it is pairs of a user and an item."""
    return data if y is None else (*pair_columns("data", data), y)

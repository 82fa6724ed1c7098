"""What every estimator is besides its mathematics: the conventions of scikit-learn, without importing it.

Its ``clone``, ``Pipeline`` and ``GridSearchCV`` work on the estimators as they are. There X is an array of shape
(n, 2), a user and an item in each row, and y their values: ``fit(X, y)``, ``predict(X)``, ``score(X, y)``.
"""

from __future__ import annotations

import inspect
import sys
from abc import ABC, abstractmethod
from copy import copy, deepcopy
from typing import Any

import numpy as np

from .._core import ParameterError, check_choice, check_pairs
from .._data import Interactions, as_interactions
from .._topn import Recommender

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
        y : array of shape (n,), optional
            Values, where ``data`` is an array of shape (n, 2) with a user and an item in each row.

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
        from ..evaluation import evaluate, r2  # not every program asks

        self = copy(self)  # which keeps to its state, whatever is fitted meanwhile
        state, held_out = self.state_, with_values(data, y)
        if not state.ratings:
            return float(evaluate(self, None, held_out)["ndcg@10"])
        cells = as_interactions(held_out, duplicates="keep", ratings=True)
        rows = np.repeat(np.arange(cells.n_users), np.diff(cells.indptr))
        users, items = cells.user_labels.decode(rows), cells.item_labels.decode(cells.indices)
        return r2(cells.values, self.predict(users, items, unknown="mean"))

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import RegressorTags, Tags, TargetTags

        kind = {"estimator_type": "regressor", "regressor_tags": RegressorTags()} if self._predicts_ratings else {}
        return Tags(**{"estimator_type": None, "target_tags": TargetTags(required=True), **kind})

    def __repr__(self) -> str:
        defaults = {name: p.default for name, p in inspect.signature(type(self)).parameters.items()}
        shown = (f"{name}={value!r}" for name, value in self.get_params().items() if value != defaults[name])
        return f"{type(self).__name__}({', '.join(shown)})"


def with_values(data: Any, y: Any) -> Any:
    """Return data as all functions take it; with values y, it is an array of pairs."""
    return data if y is None else (*check_pairs("data", data), y)

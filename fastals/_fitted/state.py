"""What ``fit`` of an ALS model makes, and all its questions are answered from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from .._core import AXES, Axis, FactorArray, NotFittedError, single_threaded_blas
from .._equation import Common, Prior, Summary, roots
from .._topn import FactorFitted

if TYPE_CHECKING:
    from .._data import Interactions, Labels
    from .._equation import ArraySide, Biases, RowEquation, RowSource, Training


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class FittedState(FactorFitted):
    """A fitted ALS model, whole and immutable.

    Attributes
    ----------
    equation : RowEquation
        What it was fitted by, with all settings resolved.
    user_factors, item_factors : arrays of shape (n_users, factors), (n_items, factors)
        Read-only, as all arrays here.
    users, items : Labels
    pairs : Interactions
        The training cells; of values 1 where the model was saved without its history.
    weights : Interactions, optional
        A twin of ``pairs`` that holds the cells' weights.
    ratings : bool
        Whether scores are ratings, which :mod:`fastals.evaluation` then judges by their errors too.
    has_history : bool
        Whether the values of the training cells are known.
    mean, biases : float, (array of shape (n_users,), array of shape (n_items,)) or None
    priors : (Prior or None, Prior or None)
        What users and items are drawn to.
    parameters, settings : mappings
        The constructor's parameters of the fit, and what those that may be "auto" stood for.
    loss_history, metrics_history, n_iter, n_repeated, best_iteration
        As the estimators' attributes.
    scoring : mapping, optional
        How the scores that it was fitted on were made.
    n_updates : int
        How often events were taken in since the fit.
    fresh : float
        The share of the cells that the fit has seen as they are, one that has lost weight counting for what is left.
    """

    equation: RowEquation
    user_factors: FactorArray
    item_factors: FactorArray
    users: Labels
    items: Labels
    pairs: Interactions
    ratings: bool
    parameters: Mapping[str, Any]
    settings: Mapping[str, Any]
    weights: Interactions | None = None
    has_history: bool = True
    mean: float = 0.0
    biases: Biases = None
    priors: tuple[Prior | None, Prior | None] = (None, None)
    loss_history: tuple[float, ...] = ()
    metrics_history: tuple[Mapping[str, float], ...] = ()
    n_iter: int = 0
    n_repeated: int = 0
    best_iteration: int | None = None
    scoring: Mapping[str, Any] | None = field(default=None)
    n_updates: int = 0
    fresh: float = 1.0

    def __post_init__(self) -> None:
        for name in ("user_factors", "item_factors"):
            object.__setattr__(self, name, read_only(getattr(self, name)))
        if self.biases is not None:
            users, items = self.biases
            object.__setattr__(self, "biases", (read_only(users), read_only(items)))
        priors = (each and Prior(*map(read_only, each)) for each in self.priors)
        object.__setattr__(self, "priors", tuple(priors))
        object.__setattr__(self, "scoring", deepcopy(self.scoring))
        super().__post_init__()

    def __repr__(self) -> str:
        return f"<FittedState: {len(self.users)} users x {len(self.items)} items, {self.equation.factors} factors>"

    @property
    def duplicates(self) -> str:  # type: ignore[override]
        """What becomes of repeated cells in the data of a question."""
        return self.equation.duplicates

    def sealed(self) -> FittedState:
        """The same, of arrays that nobody writes to any more: not even who asks NumPy for it."""
        for view in (self.user_factors, self.item_factors, *(self.biases or ())):
            if isinstance(view.base, np.ndarray):
                view.base.flags.writeable = False
        return self

    def trained(self, axis: Axis) -> FactorArray:
        """A side as it is trained: biases that are solved for are a last column."""
        factors = self.item_factors if axis == "items" else self.user_factors
        if not self.equation.joint_biases or self.biases is None:
            return factors
        biases = self.biases[axis == "items"]
        return self.derive(f"trained {axis}", lambda: np.column_stack((factors, biases)))

    def common(self, axis: Axis, threads: int) -> Callable[[bool], Common]:
        """What exact solves need of all users or items, in float64 throughout (True) or not, each made once."""
        factors, equation = self.trained(axis), self.equation
        own = None if equation.bias_regularization is None else equation.bias_regularization[axis == "users"]

        def make(wide: bool) -> Common:
            summary = None
            if equation.weights.unobserved:
                k = factors.shape[1]
                scale, ones = roots(equation.row_weights.share(axis)), equation.joint_biases
                summary = Summary(np.zeros((k, k)), wide).extended(factors, threads, scale=scale, ones=ones)
            turned, unobserved = equation.exact_solver != "nnls", equation.weights.unobserved
            with single_threaded_blas():
                return Common.of(summary, unobserved, factors.dtype, factors.shape[1], turned=turned, own=own)

        def common(wide: bool) -> Common:
            return self.derive(f"common of {axis}{', wide' if wide else ''}", lambda: make(wide))

        return common

    def history(self) -> tuple[Interactions, Interactions | None]:
        """The training data, and a twin that holds their weights if they have any."""
        if not self.has_history:
            raise NotFittedError("this model was saved without its history, which this needs: save(..., history=True)")
        return self.pairs, self.weights

    def rows(self, axis: Axis, threads: int) -> RowSource:
        """The training cells by user or item, as the equation reads them."""
        return self.equation.rows(axis, *self.history(), self.user_factors.dtype, threads)

    def trained_sides(self, threads: int) -> tuple[ArraySide, ArraySide]:
        """Both sides as they were trained."""
        X, Y = map(self.trained, AXES)
        rows, columns = (self.rows(axis, threads) for axis in AXES)
        nobody = np.empty(0, np.intp)
        rows, columns, _ = self.equation.grown_offsets(rows, columns, self.mean, self.biases, nobody, nobody)
        side = partial(self.equation.side, num_threads=threads)
        users, items = self.priors
        return side("users", rows, X, Y, prior=users), side("items", columns, Y, X, prior=items)


def parts_of(training: Training, equation: RowEquation) -> dict[str, Any]:
    """What of a state training decides: factors, mean and biases."""
    X, Y, biases = training.X, training.Y, training.biases
    if equation.joint_biases:
        biases = X[:, -1].copy(), Y[:, -1].copy()
        X, Y = (np.ascontiguousarray(factors[:, :-1]) for factors in (X, Y))
    return {"user_factors": X, "item_factors": Y, "mean": training.mean, "biases": biases}


def read_only(array: FactorArray) -> FactorArray:
    """The same numbers, not to be written to."""
    view: FactorArray = array.view()
    view.flags.writeable = False
    return view

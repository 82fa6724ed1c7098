"""What a fit needs before its first iteration: factors to start from, the equation, both sides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .._core import (
    AXES,
    ArgumentTypeError,
    Axis,
    DataError,
    FactorArray,
    ParameterError,
    check_factors,
    check_random_state,
)
from .._data import Interactions
from .._equation import (
    Descent,
    RowEquation,
    RowSource,
    RowWeights,
    Settings,
    Start,
    Training,
    digest,
    digest_of,
    represented,
)
from .._fitted import plain
from .._topn import numbers_of
from .steady import Priors, Steady, priors_of
from .validation import Validation

if TYPE_CHECKING:
    from .estimator import Estimator


EVEN = RowWeights()


class Beginning(NamedTuple):
    """Where a fit begins."""

    factors: int
    dtype: np.dtype[Any]
    biased: bool
    """There is a column of biases behind the factors."""
    nonnegative: bool
    random_state: Any
    draw: Start

    def drawn(self, shape: tuple[int, int]) -> tuple[FactorArray, FactorArray]:
        """Random factors of users and items."""
        rng = check_random_state(self.random_state)
        users, items = (self.draw(rng, (n, self.factors), self.dtype) for n in shape)
        return (np.abs(users), np.abs(items)) if self.nonnegative else (users, items)

    def of(self, shape: tuple[int, int], given: Any) -> Training:
        """A training that has not begun, on these factors or on random ones."""
        if given is None:
            X, Y = self.drawn(shape)
        else:
            X, Y = check_initial_factors(given, shape, self.factors, self.dtype, biased=self.biased)
        if self.biased and X.shape[1] == self.factors:
            X, Y = (np.column_stack((factors, np.zeros(len(factors), factors.dtype))) for factors in (X, Y))
        return Training(X, Y)


def identity(
    model: Estimator,
    data: Interactions,
    twin: Interactions | None,
    training: Training | None,
    validation: Validation | None,
    steady: Steady | None = None,
    weights: RowWeights = EVEN,
) -> tuple[dict[str, Any], dict[str, str]]:
    """What a checkpoint must have in common with the fit that goes on from it: parameters and fingerprints.

    ``training`` is that of a fit which begins where it was told to.
    """
    told = {"class": type(model).__name__, **{name: plain(value) for name, value in model.get_params().items()}}
    del told["num_threads"], told["random_state"]
    if steady is not None:
        told["prior"] = steady.digest
    if any(array is not None for array in weights):
        told["weights of rows"] = digest(*weights)
    digests = {"data": digest_of(data), "sample_weight": digest(twin.values) if twin else ""}
    if training is not None:
        digests["initial factors or random_state"] = digest(training.X, training.Y)
    digests["validation"] = validation.digest() if validation else ""
    return told, digests


def history_of(training: Training, *, measured: bool) -> dict[str, Any]:
    """What a state tells of the training that made it; ``measured``: there was a validation."""
    return {
        "loss_history": tuple(loss for loss, _ in training.history),
        "metrics_history": tuple(dict(metrics) for _, metrics in training.history) if measured else (),
        "n_iter": len(training.history),
        "n_repeated": training.n_repeated,
        "best_iteration": training.best_iteration or None,
    }


def prepare(
    equation: RowEquation,
    resolve: Callable[[RowSource, RowSource], Settings],
    resolved: Callable[[Settings], RowEquation],
    data: Interactions,
    twin: Interactions | None,
    training: Training,
    threads: int,
    steady: Steady | None = None,
    exponent: float = 0.0,
) -> tuple[Settings, RowEquation, Priors, Descent]:
    """Settle what depends on the data, and set both sides up for iterations on the factors of ``training``.

    Parameters
    ----------
    equation : RowEquation
        As far as it is known without the data: how values are read, weights of rows.
    resolve : callable
        The settings, from the cells by user and by item.
    resolved : callable
        The equation of these settings.
    steady : Steady, optional
        The model that the rows are drawn to.
    exponent : float
        By which power of their popularity items weigh where there is no event.
    """
    X, Y = training.X, training.Y
    rows, columns = (equation.rows(axis, data, twin, X.dtype, threads) for axis in AXES)
    settings = resolve(rows, columns)
    weights = equation.row_weights
    if exponent:
        weights = weights._replace(unobserved=by_popularity(columns, exponent, weights.unobserved, X.dtype))
    equation = replace(resolved(settings), row_weights=weights)
    if equation.weights.a0 < 0 and any(array is not None for array in weights):
        raise ParameterError(
            "weights of rows have no meaning with this preset, whose cells may weigh less than the others: use "
            "sample_weight for cells"
        )
    equation.check_minimum("users", rows, data)
    priors = priors_of(steady, equation, (rows, columns))
    rows, columns, training.mean, training.biases = equation.offsets(rows, columns)
    descent = Descent(
        training,
        equation.side("users", rows, X, Y, columns.counts(False), num_threads=threads, prior=priors[0]),
        equation.side("items", columns, Y, X, rows.counts(False), num_threads=threads, prior=priors[1]),
        users_last=equation.last == "users",
        sweep=equation.sweep_solver,
        exact=equation.exact_solver,
        automatic=equation.solver == "auto",
        signed=not equation.nonnegative,
        leveled=equation.mean_is_free,
    )
    return settings, equation, priors, descent


def row_weights_of(
    data: Interactions, dtype: np.dtype[Any], ratings: bool, users: Any, items: Any, unobserved: Any
) -> RowWeights:
    """The weights of users and items that a fit is given; 1 where nothing is said."""
    if ratings and unobserved is not None:
        raise ParameterError("item_unobserved_weight has no meaning for ratings: only observed cells count")
    found: list[FactorArray | None] = []
    names = {"user_weight": users, "item_weight": items, "item_unobserved_weight": unobserved}
    for name, numbers in names.items():
        axis: Axis = "users" if name == "user_weight" else "items"
        labels = data.user_labels if axis == "users" else data.item_labels
        if numbers is None:
            found.append(None)
            continue
        places, values = numbers_of(name, numbers, labels, axis, ignore=True)
        weights = np.ones(len(labels))
        weights[places[places >= 0]] = values[places >= 0]
        if not weights.any():
            raise DataError(f"{name} must be above 0 for some of the {axis}, got 0 for all")
        found.append(represented(name, weights, dtype))
    return RowWeights(*found)


def by_popularity(columns: RowSource, exponent: float, given: FactorArray | None, dtype: np.dtype[Any]) -> FactorArray:
    """How much an item weighs where there is no event of it: f^exponent, f its events, by weight, times 1 / mean.

    He et al., SIGIR 2016, equation 8.
    """
    powers = np.power(columns.counts(True), exponent, dtype=np.float64)
    powers *= len(powers) / powers.sum()
    return represented("unobserved_exponent", powers if given is None else powers * given, dtype)


def check_initial_factors(
    factors: Any, shape: tuple[int, int], k: int, dtype: np.dtype[Any], *, biased: bool = False
) -> tuple[FactorArray, FactorArray]:
    """Return copies of (user_factors, item_factors) in ``dtype``, C-contiguous, to be trained in place.

    With ``biased`` both may have one more column.
    """
    if not isinstance(factors, tuple | list) or len(factors) != 2:
        raise ArgumentTypeError("initial_factors must be a pair (user_factors, item_factors)")
    if biased and all(np.shape(array) == (n, k + 1) for array, n in zip(factors, shape, strict=True)):
        k += 1
    X, Y = (
        check_factors(f"initial {axis} factors", array, (n, k), dtype)
        for axis, array, n in zip(("user", "item"), factors, shape, strict=True)
    )
    return X, Y

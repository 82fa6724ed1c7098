"""What a fit needs before its first iteration: factors to start from, the equation, both sides."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .._core import AXES, ArgumentTypeError, FactorArray, check_factors, check_random_state
from .._data import Interactions
from .._equation import Descent, RowEquation, RowSource, Settings, Start, Training, digest, digest_of
from .._fitted import plain
from .steady import Steady, priors_of
from .validation import Validation

if TYPE_CHECKING:
    from .estimator import Estimator


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
) -> tuple[dict[str, Any], dict[str, str]]:
    """What a checkpoint must have in common with the fit that goes on from it: parameters and fingerprints.

    ``training`` is that of a fit which begins where it was told to.
    """
    told = {"class": type(model).__name__, **{name: plain(value) for name, value in model.get_params().items()}}
    del told["num_threads"], told["random_state"]
    if steady is not None:
        told["prior"] = steady.digest
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
) -> tuple[Settings, RowEquation, Descent]:
    """Settle what depends on the data, and set both sides up for iterations on the factors of ``training``.

    Parameters
    ----------
    equation : RowEquation
        As far as it is known without the data: how values are read.
    resolve : callable
        The settings, from the cells by user and by item.
    resolved : callable
        The equation of these settings.
    steady : Steady, optional
        The model that the rows are drawn to.
    """
    X, Y = training.X, training.Y
    rows, columns = (equation.rows(axis, data, twin, X.dtype, threads) for axis in AXES)
    settings = resolve(rows, columns)
    equation = resolved(settings)
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
    return settings, equation, descent


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

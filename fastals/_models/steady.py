"""Steady vectors: a fit that is drawn to the model of the day before, and starts from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._core import AXES, ArgumentTypeError, Axis, DataError, FactorArray, ParameterError, check_pair_or_real
from .._data import Interactions
from .._equation import Prior, RowEquation, RowSource, Training, digest, represented
from .._fitted import FittedState

STRENGTH = 1.0
"""mu_u in units of lambda_u, where nobody says how strongly (measured: bench/steady.py)."""


Priors: TypeAlias = tuple[Prior | None, Prior | None]
"""Of users and items."""


class Steady(NamedTuple):
    """What the rows of a fit are drawn to: those of another model, by label.

    Attributes
    ----------
    means : (array of shape (n_users, k), array of shape (n_items, k))
        What it has of users and items, a column of biases included; zeros of those that it does not know.
    known : (array of shape (n_users,), array of shape (n_items,))
        Which it knows.
    strength : (float, float)
        mu_u / lambda_u of users and of items.
    """

    means: tuple[FactorArray, FactorArray]
    known: tuple[NDArray[np.bool_], NDArray[np.bool_]]
    strength: tuple[float, float]

    @classmethod
    def of(cls, state: FittedState, equation: RowEquation, dtype: Any, strength: Any, data: Interactions) -> Steady:
        """What ``state`` is to a fit of ``data`` by this equation.

        Raises
        ------
        ParameterError
            Its vectors are not of that fit's kind.
        DataError
            Its labels are not of the data's kind, or it knows none of them.
        """
        pair = check_pair_or_real("prior_strength", STRENGTH if strength is None else strength, low=0)
        own = state.equation
        for what, there, here in (
            ("factors", own.factors, equation.factors),
            ("dtype", state.user_factors.dtype.name, np.dtype(dtype).name),
            ("biases that are trained", state.biases is not None and own.damping is None, equation.joint_biases),
            ("nonnegative", own.nonnegative, equation.nonnegative),
        ):
            if there != here:
                raise ParameterError(
                    f"prior must be a model of the same {what}, whose vectors mean what this one's do: got {there!r}, "
                    f"not {here!r}; fit without it once"
                )
        means, known = list[FactorArray](), list[NDArray[np.bool_]]()
        for axis, labels in zip(AXES, (data.user_labels, data.item_labels), strict=True):
            factors, old = state.trained(axis), state.users if axis == "users" else state.items
            if old.kind != labels.kind:
                raise DataError(
                    f"prior must know {axis} by the same kind of labels as the data, got {old.kind}, not {labels.kind}"
                )
            places = np.arange(len(labels)) if labels.values is None else old.encode(labels.values, axis)
            met = (places >= 0) & (places < len(old))
            rows: FactorArray = np.zeros((len(labels), factors.shape[1]), factors.dtype)
            rows[met] = factors[places[met]]
            means.append(rows)
            known.append(met)
        if not any(each.any() for each in known):
            raise DataError("prior must know some user or item of the data, got a model of others: fit without it")
        return cls((means[0], means[1]), (known[0], known[1]), pair)

    def begun(self) -> Training:
        """A training that begins where the other model ends; rows that it does not know begin as zeros."""
        X, Y = (rows.copy() for rows in self.means)
        return Training(X, Y)

    def prior(self, axis: Axis, equation: RowEquation, rows: RowSource, n_others: int) -> Prior | None:
        """What a side's rows are drawn to: ``strength`` times their lambda, and biases ``strength`` times theirs.

        A row without cells has the lambda of one cell for this, since its own may be 0.
        """
        at = axis == "items"
        strength, means, known = self.strength[at], self.means[at], self.known[at]
        if not strength or not known.any():
            return None
        counts = rows.counts(equation.weights.positive_only)
        lam = equation.row_regularization(axis, np.where(counts > 0, counts, 1), n_others)
        if not lam.any():
            raise ParameterError(
                f"prior_strength counts in lambda, which is 0 for {axis}: give regularization above 0 for them"
            )
        own = 0.0 if equation.bias_regularization is None else equation.bias_regularization[at]
        each = strength * lam * known, strength * own * known.astype(np.float64)
        return Prior(means, *(represented("prior_strength", mu, means.dtype) for mu in each))

    @property
    def digest(self) -> str:
        """A fingerprint: another prior makes another fit."""
        return digest(*self.means, *self.known, self.strength)


def steady_of(model: Any, prior: Any, strength: Any) -> FittedState | None:
    """The state of the model that a fit of ``model`` is to be drawn to; None: there is none."""
    if prior is None:
        if strength is not None:
            raise ParameterError("prior_strength needs prior=, the model that the fit is drawn to")
        return None
    if type(prior) is not type(model):
        raise ArgumentTypeError(f"prior must be a fitted {type(model).__name__}, got {type(prior).__name__}")
    state: FittedState = prior.state_
    return state


def priors_of(steady: Steady | None, equation: RowEquation, sides: Sequence[RowSource]) -> Priors:
    """What users and items are drawn to, of their cells."""
    if steady is None:
        return None, None
    rows, columns = sides
    return (
        steady.prior("users", equation, rows, len(columns)),
        steady.prior("items", equation, columns, len(rows)),
    )

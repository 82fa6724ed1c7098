"""The row equation as a value: what a fit solves and a fitted model goes on solving, for rows that come later too.

It is plain and picklable, and knows no estimator and no library: what these differ in are its fields.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._core import AXES, Axis, FactorArray, NotFittedError
from .refusals import refuse_negative_pair
from .rows import CellWeights, Prior, Rows, RowSource, RowWeights
from .settings import row_regularization
from .side import ArraySide
from .sweep import Common

if TYPE_CHECKING:
    from .._data import Interactions

Biases: TypeAlias = tuple[FactorArray, FactorArray] | None

CG_PAYS_FROM = 32
"""Factors from which a sweep of conjugate gradients takes less time than an exact one (measured: bench/README.md)."""


@dataclass(frozen=True)
class RowEquation:
    """``( w0 Y'Y + sum_i a_i y_i y_i' + lambda_u I ) x_u = sum_i b_i y_i`` for users, and likewise for items.

    Of a row that is drawn to m_u (:class:`Prior`), with mu_u more on the diagonal and mu_u m_u on the right.

    Parameters
    ----------
    weights : CellWeights
        w0, and a and b of a stored value r.
    factors : int
        k, without a column of biases.
    regularization : (float, float)
        lambda of users and of items.
    scaling : str or float
        How lambda_u grows with the row: see :func:`~fastals._equation.settings.sizes`.
    solver : {"auto", "cholesky", "cg", "lapack"}
    nonnegative : bool
    last : {"users", "items"}
        The side that is solved last in an iteration.
    duplicates : str
        What becomes of repeated cells in data that are not yet Interactions.
    bend : float, optional
        r stands for sign(r) log(1 + |r| / bend).
    zeros_count : bool
        A stored zero is an observation of b0.
    centered : bool
        The mean is taken off the values.
    bias_regularization : (float, float), optional
        Biases are solved for with the factors, as one more column, with these lambdas.
    mean_is_free : bool
        With such biases: what they share moves to the mean.
    damping : float, optional
        Biases are means fitted once beforehand, damped by so many ratings.
    row_weights : RowWeights
        Weights of whole users and items.
    known : bool
        False: it is not known by what the model was fitted, and no row can be solved; see :func:`unknown_equation`.
    """

    weights: CellWeights
    factors: int
    regularization: tuple[float, float]
    scaling: str | float
    solver: str = "auto"
    nonnegative: bool = False
    last: Axis = "items"
    duplicates: str = "sum"
    bend: float | None = None
    zeros_count: bool = False
    centered: bool = False
    bias_regularization: tuple[float, float] | None = None
    mean_is_free: bool = False
    damping: float | None = None
    row_weights: RowWeights = field(default=RowWeights(), compare=False)
    known: bool = True

    # -- solvers ------------------------------------------------------------------------------------------------------

    @property
    def exact_solver(self) -> str:
        """The solver that leaves no residual."""
        return "nnls" if self.nonnegative else "lapack" if self.solver == "lapack" else "cholesky"

    @property
    def sweep_solver(self) -> str:
        """The solver of half-sweeps; "auto" ends by the exact one.

        Without regularization a row's matrix may be singular, where steps along null directions are steps into nowhere.
        """
        if self.nonnegative:
            return "nnls"
        steps = min(self.regularization) > 0
        if self.solver == "auto":
            return "cg" if steps and self.factors >= CG_PAYS_FROM else "cholesky"
        if self.solver == "cg":
            return "cg" if steps else "cholesky"
        return self.solver

    # -- cells --------------------------------------------------------------------------------------------------------

    @property
    def joint_biases(self) -> bool:
        """Whether biases are solved for with the factors, as one more column."""
        return self.bias_regularization is not None

    @property
    def value_copies(self) -> int:
        """Arrays of values that a fit makes beside the data's own."""
        return 1 if self.joint_biases else 2 * (self.centered or self.bend is not None or self.zeros_count)

    def transform(self, values: FactorArray) -> FactorArray:
        """What the row equation takes for r; the sign stays."""
        if self.bend is not None:
            logs = np.abs(values)
            logs /= values.dtype.type(self.bend)
            np.log1p(logs, out=logs)
            values = np.copysign(logs, values, out=logs)
        if self.zeros_count:
            values = np.where(values == 0, np.finfo(values.dtype).tiny, values)
        return values

    def rows(
        self, axis: Axis, data: Interactions, twin: Interactions | None, dtype: Any, num_threads: int | None
    ) -> RowSource:
        """The cells of each user or item, as the sweeps read them; ``twin`` holds their weights."""
        lines, *weights = (
            part.lines(axis, dtype, num_threads=num_threads) for part in (data, twin) if part is not None
        )
        if data.on_disk:
            from .lines import StoredRows  # which not every program has

            return self.row_weights.weigh(axis, StoredRows(lines, *weights).transformed(self.transform))
        n = len(lines.indptr) - 1
        indices, values, _ = lines.read(0, n)
        scale = weights[0].read(0, n)[1] if weights else None
        return self.row_weights.weigh(axis, Rows(lines.indptr, indices, self.transform(values), scale))

    def of(self, axis: Axis, places: Any) -> RowEquation:
        """That of some users or items, or with None of new ones: see :meth:`RowWeights.at`."""
        return replace(self, row_weights=self.row_weights.at(axis, places))

    def check_minimum(self, axis: Axis, rows: RowSource, data: Interactions) -> None:
        """Refuse cells by which the objective has no minimum: w0 and what a pair's cells add are below 0."""
        pair = self.weights.lightest(rows)
        if pair is not None:
            row, other, weight = pair
            user, item = (row, other) if axis == "users" else (other, row)
            who, what = data.user_labels.decode(np.array([user])), data.item_labels.decode(np.array([item]))
            refuse_negative_pair(who.tolist()[0], what.tolist()[0], weight)

    # -- what is fixed before the rows are solved ---------------------------------------------------------------------

    def offsets(self, rows: RowSource, columns: RowSource) -> tuple[RowSource, RowSource, float, Biases]:
        """Rows and columns less what is fixed beforehand, the global mean to start from, and the biases if fixed."""
        if not self.centered:
            return rows, columns, 0.0, None
        mean = rows.mean()
        if self.joint_biases:
            return rows, columns, mean, None
        if self.damping is None:
            return rows.less(mean), columns.less(mean), mean, None
        items = columns.less(mean).damped_means(self.damping)
        users = rows.less(mean, others=items).damped_means(self.damping)
        return rows.less(mean, users, items), columns.less(mean, items, users), mean, (users, items)

    def new_offsets(
        self, axis: Axis, rows: RowSource, mean: float, biases: Biases
    ) -> tuple[RowSource, FactorArray | None]:
        """New rows less what was fixed before the training, and their biases where those are fixed."""
        if self.joint_biases:
            return rows, None
        if biases is None or self.damping is None:
            return rows.less(mean) if mean else rows, None
        # items have their biases of the values alone, users of what the items' leave: so they were made
        others = biases[axis == "users"]
        own = rows.less(mean, others=others if axis == "users" else None).damped_means(self.damping)
        return rows.less(mean, own, others), own

    def grown_offsets(
        self, rows: RowSource, columns: RowSource, mean: float, biases: Biases, users: NDArray[Any], items: NDArray[Any]
    ) -> tuple[RowSource, RowSource, Biases]:
        """Merged cells less what was fixed before the training; fixed biases anew for these users and items."""
        if self.joint_biases or not mean:
            return rows, columns, None
        if biases is None or self.damping is None:
            return rows.less(mean), columns.less(mean), None
        of_users, of_items = (
            np.concatenate((old, np.zeros(len(part.indptr) - 1 - len(old), old.dtype)))
            for old, part in zip(biases, (rows, columns), strict=True)
        )
        of_items[items] = columns.less(mean).damped_means(self.damping)[items]
        of_users[users] = rows.less(mean, others=of_items).damped_means(self.damping)[users]
        return rows.less(mean, of_users, of_items), columns.less(mean, of_items, of_users), (of_users, of_items)

    # -- sides --------------------------------------------------------------------------------------------------------

    def row_regularization(self, axis: Axis, counts: NDArray[Any], n_others: int) -> NDArray[np.float64]:
        """lambda_u for rows of ``counts`` cells, by weight."""
        lam, unobserved = self.regularization[axis == "items"], self.weights.unobserved
        own, others = self.shares(axis)
        total = float(n_others) if others is None else float(np.sum(others, dtype=np.float64))
        return row_regularization(lam, self.scaling, unobserved if own is None else unobserved * own, counts, total)

    def shares(self, axis: Axis) -> tuple[FactorArray | None, FactorArray | None]:
        """What of w0 is that of each row, and of each of the others."""
        users, items = (self.row_weights.share(each) for each in AXES)
        return (users, items) if axis == "users" else (items, users)

    def side(
        self,
        axis: Axis,
        rows: RowSource,
        factors: FactorArray,
        others: FactorArray,
        counts: NDArray[np.int64] | None = None,
        *,
        num_threads: int,
        common: Callable[[bool], Common] | None = None,
        n_others: int | None = None,
        prior: Prior | None = None,
    ) -> ArraySide:
        """Rows to be solved, given the others: see :class:`ArraySide`.

        Where ``others`` are but those that the cells name, ``n_others`` says how many there are in all, and ``common``
        is theirs. ``prior``: what the rows are drawn to.
        """
        if not self.known:
            raise NotFittedError(
                "this model does not say by which equation it was fitted, which this needs: load it with "
                "regularization=, and of implicit feedback implicit=True and alpha="
            )
        own = None if self.bias_regularization is None else self.bias_regularization[axis == "items"]
        lam = partial(self.row_regularization, axis)
        return ArraySide(
            rows,
            factors,
            others,
            self.weights,
            lam if n_others is None else lambda counts, _: lam(counts, n_others),
            counts,
            bias_regularization=own,
            num_threads=num_threads,
            common=common,
            prior=prior,
            shares=self.shares(axis),
        )


def pair(value: float | tuple[float, float]) -> tuple[float, float]:
    """A setting's numbers for users and for items; one number stands for both."""
    users, items = value if isinstance(value, tuple) else (value, value)
    return float(users), float(items)


def unknown_equation(factors: int) -> RowEquation:
    """Stand for the equation of a model that does not tell it: scores need none."""
    nothing = CellWeights(unobserved=0.0, a0=0.0, a1=0.0, b0=0.0, b1=0.0, positive_only=False)
    return RowEquation(nothing, factors, (0.0, 0.0), "constant", known=False)

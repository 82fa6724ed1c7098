"""The row equation of ALS and its parameters, and what a fitted model holds: factors, biases, history."""

from __future__ import annotations

import sys
from abc import abstractmethod
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._core import (
    NotFittedError,
    ParameterError,
    check_bool,
    check_choice,
    check_int,
    check_random_state,
    resolve_num_threads,
)
from .._data import Interactions
from .._equation import (
    CellWeights,
    FactorArray,
    Preset,
    Rows,
    Settings,
    Side,
    Training,
    check_setting,
    chosen,
    refuse_negative_pair,
    sizes,
)
from .._topn import Axis, check_fitted
from .estimator import Estimator

if sys.version_info >= (3, 11):
    from typing import Self
else:
    from typing import TypeVar

    Self = TypeVar("Self", bound="RowEquation")

CG_PAYS_FROM = 32
"""Factors from which a sweep of conjugate gradients takes less time than an exact one (measured: bench/README.md)."""

MAX_FACTORS, MAX_ITERATIONS = 16_384, 1_000_000
"""Beyond any use; without a bound a slip of the pen would ask for k x k matrices that no machine holds."""

AXES: tuple[Axis, Axis] = ("users", "items")

Biases: TypeAlias = tuple[FactorArray, FactorArray] | None


class RowEquation(Estimator):
    """What all models share: one least-squares problem for each row, of which they differ in the weights."""

    _presets: ClassVar[Mapping[str | None, Preset]]
    _default_metric: ClassVar[str]

    _setting_names: ClassVar[tuple[str, ...]]
    """Parameters that may be "auto"."""
    _rule_scaling: ClassVar[float]

    factors: int
    regularization: Literal["auto"] | float | tuple[float, float]
    regularization_scaling: Literal["auto", "constant", "count"] | float
    iterations: int
    tol: Literal["auto"] | float | None
    solver: Literal["auto", "cholesky", "cg", "lapack"]
    nonnegative: bool
    preset: str | None
    dtype: Literal["float32", "float64"]
    num_threads: int | None
    random_state: int | np.random.Generator | np.random.RandomState | None
    settings_: Settings
    _seen_values: FactorArray | None
    _seen_weights: FactorArray | None

    _mean: float
    _biases: Biases

    # -- parameters ---------------------------------------------------------------------------------------------------

    def _check_params(self) -> None:
        check_int("factors", self.factors, low=1, high=MAX_FACTORS)
        for name in self._setting_names:
            check_setting(name, getattr(self, name))
        check_int("iterations", self.iterations, low=0, high=MAX_ITERATIONS)
        check_choice("solver", self.solver, ("auto", "cholesky", "cg", "lapack"))
        if check_bool("nonnegative", self.nonnegative) and self.solver in ("cg", "lapack"):
            raise ParameterError(
                f"solver must be 'auto' or 'cholesky' with nonnegative=True, got {self.solver!r}: "
                "nonnegative rows have one solver, which is exact"
            )
        if self.preset is not None:
            check_choice("preset", self.preset, _preset_names(self), "or None")
        check_choice("dtype", np.dtype(self.dtype).name, ("float32", "float64"))
        resolve_num_threads(self.num_threads)
        check_random_state(self.random_state)

    @classmethod
    def from_preset(cls, name: str, **overrides: Any) -> Self:
        """Make a model that computes what another library's ALS computes: the same equation, order and defaults.

        From the same initial factors the library's factors come out, but for rounding; its random numbers do not.

        Parameters
        ----------
        name : str
            ExplicitALS: "spark", "cmfrec", "lenskit". ImplicitALS: "spark", "implicit", "cmfrec", "irspack",
            "irspack-original" (``loss_type="ORIGINAL"``), "lenskit", "lenskit-ratings" (``use_ratings=True``),
            "buffalo".
        **overrides
            Parameters of the constructor, instead of the library's defaults.

        Returns
        -------
        the model, not fitted

        Raises
        ------
        ParameterError, ArgumentTypeError

        Examples
        --------
        >>> import fastals
        >>> model = fastals.ExplicitALS.from_preset("spark", factors=16)
        >>> model.regularization, model.regularization_scaling, model.solver
        (0.1, 'count', 'cholesky')
        """
        check_choice("name", name, _preset_names(cls))
        return cls(**{**cls._presets[name].parameters, "solver": "cholesky", "preset": name, **overrides})

    # -- settings -----------------------------------------------------------------------------------------------------

    def _chosen(self) -> tuple[Settings, set[str]]:
        """The settings of a fit as far as they do not depend on the data, and those that do."""
        given = {name: getattr(self, name) for name in self._setting_names}
        return chosen(given, scaling=self._rule_scaling, preset=self.preset, solver=self.solver)

    @property
    def _settings(self) -> Settings:
        """Those of the fit, whatever has become of the parameters since; before it, what is known of them."""
        return self.settings_ if hasattr(self, "settings_") else self._chosen()[0]

    @abstractmethod
    def _resolve(self, rows: Rows, columns: Rows) -> Settings:
        """The settings of a fit on these cells."""

    def _of_axis(self, name: str, axis: Axis) -> float:
        """One number of a setting that may be a pair."""
        value = self._settings[name]
        return float(value[axis == "items"] if isinstance(value, tuple) else value)

    def _bias_regularization(self, axis: Axis) -> float:
        """The lambda of this side's biases, where they are solved for."""
        return self._of_axis("bias_regularization", axis)

    # -- the row equation ---------------------------------------------------------------------------------------------

    @abstractmethod
    def _cell_weights(self) -> CellWeights:
        """What this model's stored values add to a row's system."""

    @property
    def _preset(self) -> Preset:
        return self._presets[self.preset]

    @property
    def _joint_biases(self) -> bool:
        """Whether biases are solved for with the factors, as one more column."""
        return False

    def _transform(self, values: FactorArray) -> FactorArray:
        """What the row equation takes for r; the sign stays."""
        return values

    def _row_regularization(self, axis: Axis, counts: NDArray[Any], n_other: int) -> NDArray[np.float64]:
        """lambda_u for rows of ``counts`` cells."""
        scaling, unobserved = self._settings["regularization_scaling"], self._cell_weights().unobserved
        return self._of_axis("regularization", axis) * sizes(scaling, counts, unobserved, n_other)

    def _rows(
        self, axis: Axis, data: Interactions, twin: Interactions | None, dtype: Any, num_threads: int | None
    ) -> Rows:
        """The cells of each user or item, as the sweeps read them; ``twin`` holds their weights."""
        (indptr, indices, values), *scale = (
            part.arrays(dtype, num_threads=num_threads)
            if axis == "users"
            else part.transpose_arrays(dtype, num_threads=num_threads)
            for part in (data, twin)
            if part is not None
        )
        return Rows(indptr, indices, self._transform(values), scale[0][2] if scale else None)

    def _check_minimum(self, axis: Axis, rows: Rows, data: Interactions) -> None:
        """Refuse cells by which the objective has no minimum: w0 and what a pair's cells add are below 0."""
        pair = pair_below_zero(rows, self._cell_weights())
        if pair is not None:
            row, other, weight = pair
            user, item = (row, other) if axis == "users" else (other, row)
            who, what = data.user_labels.decode(np.array([user])), data.item_labels.decode(np.array([item]))
            refuse_negative_pair(who.tolist()[0], what.tolist()[0], weight)

    def _side(
        self, axis: Axis, rows: Rows, factors: FactorArray, others: FactorArray, counts: NDArray[np.int64] | None = None
    ) -> Side:
        regularization = partial(self._row_regularization, axis)
        own = self._bias_regularization(axis) if self._joint_biases else None
        return Side(rows, factors, others, self._cell_weights(), regularization, counts, bias_regularization=own)

    @property
    def _exact_solver(self) -> str:
        return "nnls" if self.nonnegative else "lapack" if self.solver == "lapack" else "cholesky"

    @property
    def _sweep_solver(self) -> str:
        """The solver of half-sweeps; "auto" ends by the exact one.

        Without regularization a row's matrix may be singular, where steps along null directions are steps into nowhere.
        """
        if self.nonnegative:
            return "nnls"
        steps = min(self._of_axis("regularization", axis) for axis in AXES) > 0
        if self.solver == "auto":
            return "cg" if steps and self.factors >= CG_PAYS_FROM else "cholesky"
        if self.solver == "cg":
            return "cg" if steps else "cholesky"
        return self.solver

    # -- what is fixed before the rows are solved ---------------------------------------------------------------------

    def _offsets(self, rows: Rows, columns: Rows) -> tuple[Rows, Rows, float, Biases]:
        """Rows and columns less what is fixed beforehand, the global mean to start from, and the biases if fixed."""
        return rows, columns, 0.0, None

    def _new_offsets(self, axis: Axis, rows: Rows) -> tuple[Rows, FactorArray | None]:
        """New rows less what was fixed before the training, and their biases where those are fixed."""
        return rows, None

    def _grown_offsets(
        self, rows: Rows, columns: Rows, users: NDArray[Any], items: NDArray[Any]
    ) -> tuple[Rows, Rows, Biases]:
        """Merged cells less what was fixed before the training; fixed biases anew for these users and items."""
        return rows, columns, None

    # -- the model ----------------------------------------------------------------------------------------------------

    def _adopt(self, training: Training) -> Self:
        """Take what training works on as this model's own."""
        X, Y, biases = training.X, training.Y, training.biases
        if self._joint_biases:
            biases = X[:, -1].copy(), Y[:, -1].copy()
            X, Y = (np.ascontiguousarray(factors[:, :-1]) for factors in (X, Y))
        return self._set_factors(X, Y, training.mean, biases)

    def _set_factors(self, X: FactorArray, Y: FactorArray, mean: float, biases: Biases) -> Self:
        self.user_factors_, self.item_factors_, self._mean, self._biases = X, Y, mean, biases
        self._forget_derived()
        return self

    def _columns(self) -> tuple[FactorArray, FactorArray]:
        """Both sides as they are trained: biases that are solved for are a last column."""
        X, Y = self.user_factors_, self.item_factors_
        if self._joint_biases and self._biases is not None:
            X, Y = (np.column_stack(parts) for parts in zip((X, Y), self._biases, strict=True))
        return X, Y

    def _remember(self, data: Interactions, twin: Interactions | None, dtype: Any) -> None:
        """Keep the training cells: for lists where they are, for what works on histories their values too."""
        self._users, self._items = data.user_labels, data.item_labels
        indptr, indices, self._seen_values = data.arrays(dtype)
        self._seen = indptr, indices
        self._seen_weights = None if twin is None else twin.arrays(dtype)[2]

    def _history(self) -> tuple[Interactions, Interactions | None]:
        """The training data, and a twin that holds their weights if they have any."""
        check_fitted(self)
        if self._seen_values is None:
            raise NotFittedError("this model was saved without its history, which this needs: save(..., history=True)")
        data, twin = (
            None if values is None else Interactions._canonical((*self._seen, values), None, self._users, self._items)
            for values in (self._seen_values, self._seen_weights)
        )
        assert data is not None
        return data, twin


def _preset_names(model: type[RowEquation] | RowEquation) -> list[str]:
    return sorted(name for name in model._presets if name is not None)


def pair_below_zero(rows: Rows, weights: CellWeights) -> tuple[int, int, float] | None:
    """Return row, other and w0 + sum s a of the pair that weighs least, if that is below 0 by more than rounding."""
    if weights.a0 >= 0 or not len(rows.values):
        return None
    w0, least = weights.unobserved, float(np.abs(rows.values).min())
    if weights.a0 + weights.a1 * least >= 0:
        return None
    first = np.ones(len(rows.values), bool)
    first[1:] = rows.indices[1:] != rows.indices[:-1]
    first[rows.indptr[:-1][np.diff(rows.indptr) > 0]] = True
    starts = np.flatnonzero(first)
    a = weights.of(rows.values, rows.scale)[0]
    sums = w0 + np.add.reduceat(a, starts)
    rounding = np.finfo(rows.values.dtype).eps * (w0 + np.add.reduceat(np.abs(a), starts))
    lightest = int(np.argmin(sums + rounding))
    if sums[lightest] + rounding[lightest] >= 0:
        return None
    cell = starts[lightest]
    row = int(np.searchsorted(rows.indptr, cell, side="right")) - 1
    return row, int(rows.indices[cell]), float(sums[lightest])

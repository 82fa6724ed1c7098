"""What the equation refuses: numbers that a dtype does not hold, objectives without a minimum."""

from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from .._core import DataError, NumericalError


def check_finite_factors(*factors: NDArray[Any]) -> None:
    """Refuse factors that overflowed on the way."""
    for array in factors:
        if not np.isfinite(array).all():
            refuse_overflowing_factors(array.dtype)


def refuse_overflowing_factors(dtype: "np.dtype[Any]") -> NoReturn:
    """Refuse factors that the dtype does not hold, or the products of which."""
    raise NumericalError(f"the factors overflow {dtype}{_advice(dtype)}")


def refuse_overflowing_row(row: int, dtype: "np.dtype[Any]") -> NoReturn:
    """Refuse a row that no solver could solve: its matrix is not finite."""
    raise NumericalError(f"the system of row {row} overflows {dtype}{_advice(dtype)}")


def refuse_overflowing_weight(weight: float, dtype: "np.dtype[Any]") -> NoReturn:
    """Refuse cells of a weight that the dtype does not hold."""
    raise NumericalError(f"the weight of a cell, {weight:.3g}, overflows {dtype}{_advice(dtype)}")


def refuse_unrepresented(name: str, value: float, dtype: "np.dtype[Any]") -> NoReturn:
    """Refuse a lambda that the dtype has no number for."""
    limits = np.finfo(dtype)
    raise NumericalError(
        f"{name} must give rows a lambda that {dtype} holds, 0 or {limits.tiny:.2g} to {limits.max:.2g}, "
        f"got {value:.3g}"
        f"{': use dtype=' + repr('float64') if dtype == np.float32 else ''}"
    )


def refuse_unrepresented_row(row: int, dtype: "np.dtype[Any]") -> NoReturn:
    """Refuse a row whose solution is lost by rounding it to the dtype."""
    raise NumericalError(
        f"the solution of row {row} has entries so much larger than what they sum to that {dtype} cannot hold it: "
        "use more regularization, or dtype='float64'"
    )


def refuse_indefinite_row(row: int) -> NoReturn:
    """Refuse a row whose objective has no minimum."""
    raise NumericalError(
        f"the objective of row {row} has no minimum: its cells weigh less than nothing in all, as with the preset "
        "'implicit' and an unobserved_weight below 1"
    )


def refuse_negative_pair(user: object, item: object, weight: float) -> NoReturn:
    """Refuse cells of one user and item that weigh less than nothing in all: the objective has no minimum."""
    raise DataError(
        f"the cells of user {user!r} and item {item!r} weigh w0 + sum s (alpha |r| - 1) = {weight:.6g} in all, which "
        "must be >= 0, or the objective has no minimum: raise alpha or unobserved_weight, or merge repeated cells"
    )


def refuse_without_positive(n_cells: int) -> NoReturn:
    """Refuse implicit feedback that is for nothing."""
    raise DataError(
        f"ImplicitALS needs at least one value above 0, of positive weight, but none of the {n_cells} is: 0 says "
        "nothing and a negative value is a no; ratings of any sign are what ExplicitALS takes"
    )


def _advice(dtype: "np.dtype[Any]") -> str:
    return ": values this large need dtype='float64'" if dtype == np.float32 else ""

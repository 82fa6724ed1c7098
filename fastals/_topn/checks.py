"""What a model must be to be asked, and what it may be asked with."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core import DataError, NotFittedError, check_factors


def check_fitted(model: Any) -> None:
    """Refuse a model that has not been trained."""
    if not hasattr(model, "_users"):
        raise NotFittedError(f"this {type(model).__name__} is not fitted yet: call fit first")


def check_query_factors(factors: Any, k: int, dtype: "np.dtype[Any]") -> NDArray[Any]:
    """Return users' factors as rows in ``dtype``; one row may be given alone."""
    array = np.asarray(factors)
    if array.ndim == 1:
        array = array[np.newaxis]
    if array.ndim != 2 or array.shape[1] != k:
        raise DataError(f"user_factors must have shape ({k},) or (m, {k}), got {np.shape(factors)}")
    return check_factors("user_factors", array, array.shape, dtype)

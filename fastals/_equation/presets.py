"""What other libraries compute: each as one row of the table of row equations.

Every ALS is the row equation with its own w0, a(r), b(r) and lambda. What the estimators' parameters can say,
a preset says by them; the rest (signs, the side that is solved last, repeats, the start) stands in its row alone.
The rows were checked against the libraries, from the same factors: ``python bench/parity.py``.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .rows import CellWeights

Start = Callable[[np.random.Generator, tuple[int, int], "np.dtype[Any]"], NDArray[Any]]


class Preset(NamedTuple):
    """One row equation, as a function of the estimator's w0 and alpha, and what goes with it.

    Attributes
    ----------
    parameters : mapping
        The library's defaults, in the estimator's parameters; all of those that may be "auto" among them.
    cells : callable
        ``(w0, alpha) -> CellWeights``. A negative value of implicit feedback is a confident no (a = alpha |r|, b = 0)
        in every row, as in Spark: what the other libraries make of it is no positive definite system.
    start : callable
        Draws initial factors of shape (n, k).
    last : {"users", "items"}
        The side that is solved last: its rows are exact, given the other's.
    duplicates : str
        What becomes of repeated cells in data that are not yet Interactions, where nothing else is said.
    zeros_count : bool
        Whether a stored zero is an observation (b = b0) or as good as not stored; implicit only.
    center : bool
        The mean of the ratings is taken off them once; explicit only.
    damping : float, optional
        With biases: they are means fitted once beforehand, damped by so many ratings; else they are solved for.
    """

    parameters: Mapping[str, Any]
    cells: Callable[[float, float], CellWeights]
    start: Start
    last: Literal["users", "items"] = "items"
    duplicates: str = "sum"
    zeros_count: bool = False
    center: bool = False
    damping: float | None = None


# ---------------------------------------------------------------------------------------------------------------------
# starts


def _normal(length: float) -> Start:
    """Normal and independent; a row's expected length is about ``length``."""

    def draw(rng: np.random.Generator, shape: tuple[int, int], dtype: "np.dtype[Any]") -> NDArray[Any]:
        factors = rng.standard_normal(shape, dtype=dtype.type)
        factors *= length / np.sqrt(shape[1])
        return factors

    return draw


def _unit(rng: np.random.Generator, shape: tuple[int, int], dtype: "np.dtype[Any]") -> NDArray[Any]:
    """Rows of length one, in any direction."""
    factors: NDArray[Any] = rng.standard_normal(shape, dtype=dtype.type)
    factors /= np.linalg.norm(factors, axis=1, keepdims=True)
    return factors


def _uniform(rng: np.random.Generator, shape: tuple[int, int], dtype: "np.dtype[Any]") -> NDArray[Any]:
    factors: NDArray[Any] = rng.random(shape, dtype=dtype.type) * dtype.type(0.01)
    return factors


def _squared(rng: np.random.Generator, shape: tuple[int, int], dtype: "np.dtype[Any]") -> NDArray[Any]:
    factors: NDArray[Any] = (rng.standard_normal(shape, dtype=dtype.type) * dtype.type(0.01)) ** 2
    return factors


def _absolute(rng: np.random.Generator, shape: tuple[int, int], dtype: "np.dtype[Any]") -> NDArray[Any]:
    factors: NDArray[Any] = np.abs(rng.standard_normal(shape, dtype=dtype.type)) / dtype.type(shape[1] ** 2)
    return factors


# ---------------------------------------------------------------------------------------------------------------------
# the table; None is fastals' own row


def _ratings(w0: float, alpha: float) -> CellWeights:
    """A = 1, b = r."""
    return CellWeights(w0, a0=1.0, a1=0.0, b0=0.0, b1=1.0, positive_only=False)


def _confidence(w0: float, alpha: float) -> CellWeights:
    """A = alpha |r|, b = 1 + alpha r: confidence 1 + alpha |r| where w0 = 1 (Hu et al., 2008)."""
    return CellWeights(w0, a0=0.0, a1=alpha, b0=1.0, b1=alpha, positive_only=True)


def _confidence_alone(w0: float, alpha: float) -> CellWeights:
    """A = alpha |r| - 1, b = alpha r: confidence alpha |r|."""
    return CellWeights(w0, a0=-1.0, a1=alpha, b0=0.0, b1=alpha, positive_only=True)


def _added(w0: float, alpha: float) -> CellWeights:
    """A = b = alpha r: stored cells are a loss of their own beside w0 over all (Rendle et al., 2022)."""
    return CellWeights(w0, a0=0.0, a1=alpha, b0=0.0, b1=alpha, positive_only=True)


def _total(w0: float, alpha: float) -> CellWeights:
    """A = alpha r, b = w0 + alpha r: confidence w0 + alpha r."""
    return CellWeights(w0, a0=0.0, a1=alpha, b0=w0, b1=alpha, positive_only=True)


def _binary(w0: float, alpha: float) -> CellWeights:
    """A = alpha, b = 1 + alpha, whatever the value."""
    return CellWeights(w0, a0=alpha, a1=0.0, b0=1.0 + alpha, b1=0.0, positive_only=True)


# all that fastals itself has a rule for is said here: "auto" alone would follow that
_ALL = {"regularization_scaling": "constant", "tol": None}
_RATINGS = {**_ALL, "biases": False, "bias_regularization": "auto"}  # with a number for lambda, that
_EVENTS = {**_ALL, "unobserved_weight": 1.0, "confidence": "linear"}

_SPARK = {"factors": 10, "iterations": 10, "regularization": 0.1, "regularization_scaling": "count"}
_IRSPACK = {**_EVENTS, "factors": 20, "iterations": 16, "regularization": 1e-3, "regularization_scaling": 1.0}
_LENSKIT = {"factors": 64, "iterations": 10, "regularization": 0.1}
_LENSKIT_EVENTS = {**_EVENTS, **_LENSKIT, "alpha": 40.0}

EXPLICIT: Mapping[str | None, Preset] = {
    None: Preset({}, _ratings, _normal(1.0), duplicates="last"),
    "spark": Preset({**_RATINGS, **_SPARK}, _ratings, _unit, last="users", duplicates="keep"),
    "cmfrec": Preset(
        {**_RATINGS, "factors": 40, "iterations": 10, "regularization": 10.0, "biases": True},
        _ratings,
        _normal(1.0),
        last="users",
        duplicates="keep",
        center=True,
    ),
    "lenskit": Preset(
        {**_RATINGS, **_LENSKIT, "regularization_scaling": "count", "biases": True},
        _ratings,
        _unit,
        duplicates="error",
        center=True,
        damping=5.0,
    ),
}

IMPLICIT: Mapping[str | None, Preset] = {
    None: Preset({}, _confidence, _normal(0.1)),
    "spark": Preset({**_EVENTS, **_SPARK, "alpha": 1.0}, _confidence, _unit, last="users", duplicates="keep"),
    "implicit": Preset(
        {**_EVENTS, "factors": 100, "iterations": 15, "regularization": 0.01, "alpha": 1.0},
        _confidence_alone,
        _uniform,
        duplicates="keep",
    ),
    "cmfrec": Preset(
        {**_EVENTS, "factors": 50, "iterations": 10, "regularization": 1.0, "alpha": 1.0},
        _confidence,
        _normal(1.0),
        last="users",
        duplicates="keep",
        zeros_count=True,
    ),
    "irspack": Preset(_IRSPACK, _added, _normal(0.1)),
    "irspack-original": Preset(_IRSPACK, _total, _normal(0.1), zeros_count=True),
    "lenskit": Preset(_LENSKIT_EVENTS, _binary, _squared, duplicates="error", zeros_count=True),
    "lenskit-ratings": Preset(_LENSKIT_EVENTS, _confidence, _squared, duplicates="error", zeros_count=True),
    "buffalo": Preset(
        {**_EVENTS, "factors": 20, "iterations": 10, "regularization": 0.1, "alpha": 8.0},
        _confidence,
        _absolute,
        duplicates="keep",
        zeros_count=True,
    ),
}

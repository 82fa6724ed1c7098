"""The gate: every argument and all data are checked once, with what stands here; what is behind it trusts them.

What one story alone asks for stands there: ids and matrices in _data, what a model is asked in _topn.

A message names the argument, the rule and the value, and where one mistake is likely, that mistake.
"""

import os
from collections.abc import Collection, Mapping
from importlib.util import find_spec
from mmap import mmap
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from . import tables
from .errors import ArgumentTypeError, DataError, ParameterError

# ----------------------------------------------------------------------------------------------------------------------
# parameters


def _scalar(value: object) -> object:
    """Return the Python scalar of a NumPy scalar or 0-d array; anything else as it is."""
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        return value.item()
    return value


def check_int(name: str, value: object, *, low: int | None = None, high: int | None = None) -> int:
    """Return an integer in ``low..high``; floats are refused even where they are whole, and so is bool."""
    number = _scalar(value)
    if isinstance(number, bool) or not isinstance(number, int):
        raise ArgumentTypeError(f"{name} must be an integer, got {value!r}")
    if low is not None and number < low:
        raise ParameterError(f"{name} must be >= {low}, got {number}")
    if high is not None and number > high:
        raise ParameterError(f"{name} must be <= {high}, got {number}")
    return number


def check_real(
    name: str,
    value: object,
    *,
    low: float | None = None,
    high: float | None = None,
    low_open: bool = False,
    high_open: bool = False,
) -> float:
    """Return a finite float between ``low`` and ``high``, bounds included unless said to be open."""
    number = _scalar(value)
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise ArgumentTypeError(f"{name} must be a number, got {value!r}")
    try:
        number = float(number)
    except OverflowError:
        number = np.inf
    if not np.isfinite(number):
        raise ParameterError(f"{name} must be finite, got {value!r}")
    if low is not None and (number <= low if low_open else number < low):
        raise ParameterError(f"{name} must be {'>' if low_open else '>='} {low}, got {number}")
    if high is not None and (number >= high if high_open else number > high):
        raise ParameterError(f"{name} must be {'<' if high_open else '<='} {high}, got {number}")
    return number


def check_pair_or_real(name: str, value: object, *, low: float) -> tuple[float, float]:
    """Return two finite floats >= ``low``: of the users and of the items; one number stands for both."""
    if not isinstance(value, tuple | list):
        number = check_real(name, value, low=low)
        return number, number
    if len(value) != 2:
        raise ParameterError(f"{name} must be a number or a pair (users, items), got {value!r}")
    users, items = (
        check_real(f"{name} of the {axis}", v, low=low) for axis, v in zip(("users", "items"), value, strict=True)
    )
    return users, items


def check_bool(name: str, value: object) -> bool:
    """Return True or False; 0, 1 and "false" are no booleans."""
    flag = _scalar(value)
    if not isinstance(flag, bool):
        raise ArgumentTypeError(f"{name} must be True or False, got {value!r}")
    return flag


def check_bool_or_none(name: str, value: object) -> bool | None:
    """Return True, False or None."""
    return None if value is None else check_bool(name, value)


def check_callable_or_none(name: str, value: object) -> None:
    """Refuse what can neither be called nor is None."""
    if value is not None and not callable(value):
        raise ArgumentTypeError(f"{name} must be callable, got {value!r}")


def check_choice(name: str, value: object, choices: Collection[str], alternative: str = "") -> str:
    """Return one of the strings ``choices``; ``alternative`` says what the caller takes instead of a string."""
    rule = f"{name} must be one of {', '.join(map(repr, choices))}{alternative and ' '}{alternative}"
    if not isinstance(value, str):
        raise ArgumentTypeError(f"{rule}, got {value!r}")
    if value not in choices:
        raise ParameterError(f"{rule}, got {value!r}")
    return value


def check_path(name: str, path: Any) -> str:
    """Return the path as a string; numbers, which would be open files, are none."""
    try:
        return os.fsdecode(path)
    except TypeError:
        # a list may hold an address, and that a password
        shown = repr(path) if isinstance(path, (int, float, type(None))) else type(path).__name__
        raise ArgumentTypeError(f"{name} must be a string or path-like, got {shown}") from None


def check_dtype(name: str, value: Any) -> "np.dtype[Any]":
    """Return float32 or float64 as a NumPy dtype."""
    try:
        dtype: np.dtype[Any] = np.dtype(value)
    except TypeError:
        raise ArgumentTypeError(f"{name} must be 'float32' or 'float64', got {value!r}") from None
    if value is None or dtype not in (np.float32, np.float64):
        raise ParameterError(f"{name} must be 'float32' or 'float64', got {value!r}")
    return dtype


def check_random_state(random_state: Any) -> np.random.Generator:
    """Return the generator that a seed stands for, or that draws from the given one."""
    if random_state is None or isinstance(random_state, np.random.Generator):
        return np.random.default_rng(random_state)
    if isinstance(random_state, np.random.RandomState):
        return np.random.Generator(random_state._bit_generator)
    seed = _scalar(random_state)
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise ArgumentTypeError(
            f"random_state must be None, an integer, a numpy.random.Generator or RandomState, got {random_state!r}"
        )
    return np.random.default_rng(check_int("random_state", seed, low=0))


# ----------------------------------------------------------------------------------------------------------------------
# arrays


def check_vector(name: str, values: object) -> NDArray[Any]:
    """Return a one-dimensional array of anything that NumPy sees as one."""
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise DataError(f"{name} must have no masked elements")
    if isinstance(values, list | tuple):
        # NumPy would turn [1, "a"] into strings and [True, 2] into integers; as objects they can be told apart
        values = np.fromiter(values, dtype=object, count=len(values))
    array = np.asarray(values)
    if array.ndim != 1:
        raise DataError(f"{name} must be one-dimensional, got shape {array.shape}")
    return array


def check_same_length(arrays: Mapping[str, NDArray[Any] | None]) -> None:
    """Refuse arrays of different lengths; None is no array."""
    lengths = {name: len(array) for name, array in arrays.items() if array is not None}
    if len(set(lengths.values())) > 1:
        raise DataError("lengths must be equal, got " + ", ".join(f"{n} {name}" for name, n in lengths.items()))


def number_types() -> tuple[type, ...]:
    """What a number among objects may be; bool is none, though it derives from int."""
    from decimal import Decimal  # which few programs need

    return float, int, np.floating, np.integer, Decimal


def check_values(name: str, values: object) -> NDArray[Any]:
    """Return a contiguous array of real numbers in a dtype that the kernels read; finiteness is checked later."""
    array = check_vector(name, values)
    if array.dtype.kind == "O":
        check_objects(name, array, number_types(), "numbers")
        try:
            array = array.astype(np.float64)
        except OverflowError:
            raise DataError(f"{name} must be within float64's range, 1.8e308") from None
    if array.dtype.kind == "b":
        raise ArgumentTypeError(f"{name} must be numbers, got bool: convert them to integers")
    if array.dtype.kind not in "iuf":
        raise ArgumentTypeError(f"{name} must be real numbers, got {array.dtype}")
    return readable_values(array)


def readable_values(array: NDArray[Any]) -> NDArray[Any]:
    """Return the array contiguous and in a dtype that the kernels read, itself where it is so."""
    dtype = array.dtype.newbyteorder("=")
    if not tables.can_read(dtype):
        dtype = np.dtype(np.float32 if dtype.itemsize <= 2 else np.float64)
    with np.errstate(over="ignore"):  # a longdouble beyond float64 becomes inf, which is refused
        return np.ascontiguousarray(array, dtype)


def check_objects(name: str, array: NDArray[Any], types: tuple[type, ...], what: str) -> None:
    """Refuse elements that are no instances of ``types``, and bool in any case."""
    objects = array.tolist()
    bad = {t for t in set(map(type, objects)) if not issubclass(t, types) or issubclass(t, bool | np.bool_)}
    if bad:
        at = next(i for i, x in enumerate(objects) if type(x) in bad)
        if _is_missing(objects[at]):
            raise DataError(f"{name} must not be missing, got {objects[at]!r} at position {at}")
        got = f"{shown(objects[at])} ({type(objects[at]).__name__})"
        raise ArgumentTypeError(f"{name} must be {what}, all of one kind, got {got} at position {at}")


def _is_missing(value: object) -> bool:
    """Whether a value stands for none: None, NaN, and pandas' NA and NaT."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    try:
        return bool(value != value)
    except (TypeError, ValueError, ArithmeticError):  # arrays, signaling NaN
        return not hasattr(value, "__len__")


def has_pyarrow() -> bool:
    """Whether pyarrow is installed, which nothing needs that is not a file of its own."""
    return find_spec("pyarrow") is not None


def shown(value: object) -> str:
    """Return what a value looks like, on one line and not at length."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."


def refuse_value(name: str, values: NDArray[Any]) -> NoReturn:
    """Raise for the first NaN or infinity of an array."""
    at = int(np.argmin(np.isfinite(values)))
    raise DataError(f"{name} must be finite, got {values[at]} at position {at}")


def refuse_huge() -> NoReturn:
    """Raise for a value that float32 cannot hold."""
    raise DataError("values must be within float32's range, 3.4e38: use dtype='float64'")


def check_factors(name: str, factors: Any, shape: tuple[int, int], dtype: "np.dtype[Any]") -> NDArray[Any]:
    """Return a copy of factors in ``dtype``, C-contiguous."""
    array = np.asarray(factors)
    if array.dtype.kind not in "iuf":
        raise ArgumentTypeError(f"{name} must be real numbers, got {array.dtype}")
    if array.shape != shape:
        raise DataError(f"{name} must have shape {shape}, got {array.shape}")
    with np.errstate(over="ignore"):
        copy = np.array(array, dtype, order="C")
    if not np.isfinite(copy).all():
        row, column = np.argwhere(~np.isfinite(copy))[0]
        raise DataError(f"{name} must be finite in {dtype}, got {array[row, column]} at row {row}, column {column}")
    return copy


def frozen(value: Any) -> Any:
    """Return an array that nobody can change, a copy where its memory may be somebody else's; anything else as it is.

    What comes out of pickle and deepcopy is writeable, and pickle's out-of-band buffers stay with whoever gave them.
    Memory that stays where it is: the array's own, bytes, which plain pickles leave below it, and files mapped to be
    read.
    """
    if not isinstance(value, np.ndarray):
        return value
    owner: Any = value
    while isinstance(owner, np.ndarray | memoryview):
        below = owner.base if isinstance(owner, np.ndarray) else owner.obj
        if below is None:
            break
        owner = below
    mapped = isinstance(owner, mmap) and not value.flags.writeable
    array = value if isinstance(owner, np.ndarray | bytes) or mapped else value.copy()
    array.flags.writeable = False
    return array

"""The gate: every argument and all data are checked here, once; what is behind it trusts them.

A message names the argument, the rule and the value, and where one mistake is likely, that mistake.
"""

import os
from collections.abc import Collection, Mapping, Sized
from decimal import Decimal
from itertools import chain
from typing import Any, NoReturn, TypeAlias
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from . import tables
from .errors import (
    ArgumentTypeError,
    DataError,
    NotFittedError,
    NumericalError,
    ParameterError,
)

ID_TYPES: dict[tuple[type, ...], str] = {
    (str,): "strings",
    (bytes,): "bytes",
    (UUID,): "UUIDs",
    (int, np.integer): "integers",
    (float, np.floating): "whole numbers",
}
"""What ids may be, by the type of their first."""

LabelArray: TypeAlias = NDArray[Any]

MAX_INDEX = 2**31 - 1
"""Indices of users and items are int32."""

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
        raise ArgumentTypeError(f"{name} must be a string or path-like, got {path!r}") from None


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


def check_pairs(name: str, pairs: object) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return users and items of an array or frame that has one of each in a row."""
    array = np.asarray(pairs)
    if array.ndim != 2 or array.shape[1] != 2:
        raise DataError(f"{name} must have shape (n, 2), a user and an item in each row, got shape {array.shape}")
    return array[:, 0], array[:, 1]


def check_same_length(arrays: Mapping[str, NDArray[Any] | None]) -> None:
    """Refuse arrays of different lengths; None is no array."""
    lengths = {name: len(array) for name, array in arrays.items() if array is not None}
    if len(set(lengths.values())) > 1:
        raise DataError("lengths must be equal, got " + ", ".join(f"{n} {name}" for name, n in lengths.items()))


def check_values(name: str, values: object) -> NDArray[Any]:
    """Return a contiguous array of real numbers in a dtype that the kernels read; finiteness is checked later."""
    array = check_vector(name, values)
    if array.dtype.kind == "O":
        _check_objects(name, array, (float, int, np.floating, np.integer, Decimal), "numbers")
        try:
            array = array.astype(np.float64)
        except OverflowError:
            raise DataError(f"{name} must be within float64's range, 1.8e308") from None
    if array.dtype.kind == "b":
        raise ArgumentTypeError(
            f"{name} must be numbers, got bool: leave them out for all ones, or convert them to integers"
        )
    if array.dtype.kind not in "iuf":
        raise ArgumentTypeError(f"{name} must be real numbers, got {array.dtype}")
    return readable_values(array)


def check_sample_weight(weights: object) -> NDArray[Any]:
    """Return weights as an array of its own, finite and not negative."""
    array = check_values("sample_weight", weights)
    bad = ~(np.isfinite(array) & (array >= 0))
    if bad.any():
        at = int(np.argmax(bad))
        raise DataError(f"sample_weight must be finite and >= 0, got {array[at]} at position {at}")
    return array.copy()


def check_weight_count(n_weights: int, n_observations: int) -> None:
    """Refuse weights that are not one for each observation."""
    if n_weights != n_observations:
        raise DataError(
            f"sample_weight must have one weight for each of the {n_observations} observations, got {n_weights}"
        )


def check_weighted_format(matrix: Any) -> None:
    """Refuse a sparse matrix whose ``data`` does not list its cells."""
    if matrix.format not in ("csr", "csc", "coo"):
        raise ArgumentTypeError(
            f"with sample_weight a matrix must be CSR, CSC or COO, whose data the weights go with, got {matrix.format}"
        )


def readable_values(array: NDArray[Any]) -> NDArray[Any]:
    """Return the array contiguous and in a dtype that the kernels read, itself where it is so."""
    dtype = array.dtype.newbyteorder("=")
    if not tables.can_read(dtype):
        dtype = np.dtype(np.float32 if dtype.itemsize <= 2 else np.float64)
    with np.errstate(over="ignore"):  # a longdouble beyond float64 becomes inf, which is refused
        return np.ascontiguousarray(array, dtype)


def check_ids(name: str, ids: object, *, scan: bool = True) -> NDArray[Any]:
    """Return ids as a contiguous native array: int32 or int64, or U, S, or objects that are all str, bytes or UUID.

    Without ``scan`` only the first of str, bytes and UUID objects is looked at.
    """
    array = check_vector(name, ids)
    if array.dtype.kind == "T":
        array = array.astype(object)
    if array.dtype.kind == "O":
        array = _check_id_objects(name, array, scan)
    kind, dtype = array.dtype.kind, array.dtype.newbyteorder("=")
    if kind in "USO":
        return np.ascontiguousarray(array, dtype)
    if kind == "f":
        whole = np.abs(array) <= 2.0**53
        whole &= np.floor(array, where=whole, out=np.zeros_like(array)) == array
        if not whole.all():
            at = int(np.argmin(whole))
            if np.isnan(array[at]):
                raise DataError(f"{name} must not be missing, got {array[at]} at position {at}")
            raise DataError(f"{name} must be whole numbers or strings, got {array[at]} at position {at}")
    elif kind == "u" and dtype.itemsize == 8 and len(array) and array.max() > np.iinfo(np.int64).max:
        at = int(np.argmax(array > np.iinfo(np.int64).max))
        raise DataError(f"{name} must fit in int64, got {array[at]} at position {at}")
    elif kind not in "iu":
        raise ArgumentTypeError(f"{name} must be integers, strings, bytes or UUIDs, got {array.dtype}")
    return np.ascontiguousarray(array, np.int32 if dtype == np.int32 else np.int64)


def _check_id_objects(name: str, array: NDArray[Any], scan: bool) -> NDArray[Any]:
    """Objects of one kind, by the first of them; numbers become an array of numbers."""
    if len(array) == 0:
        return array.astype(np.int64)
    first = array[0]
    is_text = isinstance(first, str | bytes | UUID)
    if scan or not is_text:
        types = next((types for types in ID_TYPES if isinstance(first, types)), ())
        _check_objects(name, array, types, "integers, strings, bytes or UUIDs")
    if is_text:
        return array
    if isinstance(first, float | np.floating):
        return array.astype(np.float64)
    try:
        return array.astype(np.int64)
    except OverflowError:
        at = next(i for i, x in enumerate(array.tolist()) if not -(2**63) <= x < 2**63)
        raise DataError(f"{name} must fit in int64, got {array[at]} at position {at}") from None


def _check_objects(name: str, array: NDArray[Any], types: tuple[type, ...], what: str) -> None:
    """Refuse elements that are no instances of ``types``, and bool in any case."""
    objects = array.tolist()
    bad = {t for t in set(map(type, objects)) if not issubclass(t, types) or issubclass(t, bool | np.bool_)}
    if bad:
        at = next(i for i, x in enumerate(objects) if type(x) in bad)
        if _is_missing(objects[at]):
            raise DataError(f"{name} must not be missing, got {objects[at]!r} at position {at}")
        got = f"{objects[at]!r} ({type(objects[at]).__name__})"
        raise ArgumentTypeError(f"{name} must be {what}, all of one kind, got {got} at position {at}")


def _is_missing(value: object) -> bool:
    return value is None or type(value).__name__ in ("NAType", "NaTType") or value != value


# ----------------------------------------------------------------------------------------------------------------------
# matrices of interactions: rows are users, columns are items; "lines" are either


def check_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return (n_users, n_items)."""
    if len(shape) != 2:
        raise DataError(f"interactions must be a matrix of users x items, got shape {tuple(shape)}")
    n_users, n_items = map(int, shape)
    if n_users > MAX_INDEX or n_items > MAX_INDEX:
        raise DataError(f"at most {MAX_INDEX} users and items are possible, got {n_users} users x {n_items} items")
    return n_users, n_items


def check_not_empty(n_users: int, n_items: int, n_cells: int) -> None:
    """Refuse data without a user, an item or a cell."""
    if n_users == 0 or n_items == 0 or n_cells == 0:
        raise DataError(f"the data are empty: {n_users} users, {n_items} items, {n_cells} interactions")


def check_indptr(matrix: Any, n_lines: int) -> NDArray[np.int64]:
    """Return a checked copy of a CSR or CSC matrix' indptr."""
    indptr = check_index_array("indptr", matrix.indptr).astype(np.int64)
    if len(indptr) != n_lines + 1:
        raise DataError(f"indptr must have {n_lines + 1} elements for {n_lines} rows or columns, got {len(indptr)}")
    if indptr[0] != 0:
        raise DataError(f"indptr must start with 0, got {indptr[0]}")
    falls = indptr[1:] < indptr[:-1]
    if falls.any():
        at = int(np.argmax(falls)) + 1
        raise DataError(f"indptr must not fall, got {indptr[at]} after {indptr[at - 1]} at position {at}")
    for name, array in (("indices", matrix.indices), ("data", matrix.data)):
        if indptr[-1] > len(array):
            raise DataError(f"indptr must end within {name}, got {indptr[-1]} for {len(array)} elements")
    return indptr


def check_cells(matrix: Any) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return row, column and value of each stored cell of a sparse matrix of any format; the range is not checked.

    What a hand-made matrix may hold crashes some of SciPy's conversions, so only those in plain NumPy are used.
    """
    if matrix.format in ("csr", "csc"):
        n_lines = matrix.shape[matrix.format == "csc"]
        indptr = check_indptr(matrix, n_lines)
        lines = np.repeat(np.arange(n_lines, dtype=np.int32), np.diff(indptr))
        indices, values = matrix.indices[: len(lines)], matrix.data[: len(lines)]
        users, items = (lines, indices) if matrix.format == "csr" else (indices, lines)
    elif matrix.format == "lil":
        lengths = [len(row) for row in matrix.rows]
        if lengths != [len(row) for row in matrix.data] or len(lengths) != matrix.shape[0]:
            raise DataError("rows and data of the lil matrix must have the same lengths")
        users = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
        items = np.fromiter(chain.from_iterable(matrix.rows), np.int64, len(users))
        values = np.fromiter(chain.from_iterable(matrix.data), matrix.dtype, len(users))
    else:
        try:
            coo = matrix.tocoo()
        except (ValueError, TypeError, IndexError) as error:
            raise DataError(f"the {matrix.format} matrix is broken: {error}") from error
        (users, items), values = coo.coords, coo.data
        if matrix.format in ("bsr", "dia"):
            stored = values != 0
            users, items, values = users[stored], items[stored], values[stored]
    users, items = check_index_array("row indices", users), check_index_array("column indices", items)
    values = check_matrix_values(values)
    check_same_length({"row indices": users, "column indices": items, "values": values})
    return users, items, values


def check_matrix_values(values: Any) -> NDArray[Any]:
    """Return a matrix' values; True is one."""
    array = np.asarray(values)
    return check_values("values", array.view(np.uint8) if array.dtype == np.bool_ else array)


def check_index_array(name: str, indices: object) -> NDArray[Any]:
    """Return a contiguous int32 or int64 array; the range is not checked."""
    array = check_vector(name, indices)
    if array.dtype.kind not in "iu":
        raise ArgumentTypeError(f"{name} must be integers, got {array.dtype}")
    # uint64 beyond int64 wraps to negative indices, which no range holds
    return np.ascontiguousarray(array, np.int32 if array.dtype == np.int32 else np.int64)


def check_index_range(axis: str, indices: NDArray[Any], size: int) -> NDArray[np.int32]:
    """Return the user or item (``axis``) of each cell of a list as int32."""
    if len(indices) and (indices.min() < 0 or indices.max() >= size):
        at = int(np.argmax((indices < 0) | (indices >= size)))
        raise DataError(f"{axis} index {indices[at]} of cell {at} is out of range for {size} {axis}s")
    return indices.astype(np.int32, copy=False)


def check_line_labels(name: str, n_ids: int, n_labels: int, size: int) -> None:
    """Refuse ids of a matrix' rows or columns that are not one each, all different."""
    if n_ids != size:
        raise DataError(f"{name} must have one id for each of the matrix' {size} {name}, got {n_ids}")
    if n_labels != size:
        raise DataError(f"{name} must be distinct, got {n_labels} different ids for {size} {name}")


# What follows words an error that a kernel has found; only then is it looked for where.


def _line_of(indptr: NDArray[np.int64], cell: int) -> int:
    return int(np.searchsorted(indptr, cell, side="right")) - 1


def refuse_index(indptr: NDArray[np.int64], indices: NDArray[Any], size: int, by_item: bool) -> NoReturn:
    """Raise for the first index out of range of a compressed matrix (``by_item``: CSC)."""
    at = int(np.argmax((indices < 0) | (indices >= size)))
    line, axis = ("column", "user") if by_item else ("row", "item")
    raise DataError(f"{axis} index {indices[at]} in {line} {_line_of(indptr, at)} is out of range for {size} {axis}s")


def refuse_line_value(
    indptr: NDArray[np.int64], indices: NDArray[Any], values: NDArray[Any], by_item: bool
) -> NoReturn:
    """Raise for the first NaN or infinity of a compressed matrix."""
    at = int(np.argmin(np.isfinite(values)))
    row, column = _line_of(indptr, at), indices[at]
    if by_item:
        row, column = column, row
    raise DataError(f"values must be finite, got {values[at]} at row {row}, column {column}")


def refuse_cell_value(users: NDArray[Any], items: NDArray[Any], values: NDArray[Any]) -> NoReturn:
    """Raise for the first NaN or infinity of a list of matrix cells."""
    at = int(np.argmin(np.isfinite(values)))
    raise DataError(f"values must be finite, got {values[at]} at row {users[at]}, column {items[at]}")


def refuse_value(name: str, values: NDArray[Any]) -> NoReturn:
    """Raise for the first NaN or infinity of an array."""
    at = int(np.argmin(np.isfinite(values)))
    raise DataError(f"{name} must be finite, got {values[at]} at position {at}")


def check_not_missing(name: str, column: Any) -> None:
    """Refuse an Arrow array with a null."""
    if column.null_count:
        at = int(np.argmax(np.asarray(column.is_null())))
        raise DataError(f"{name} must not be missing, got None at position {at}")


def refuse_offsets(name: str) -> NoReturn:
    """Raise for an Arrow array whose strings lie outside its memory."""
    raise DataError(f"{name} is a broken Arrow array: its offsets are not within its data")


def refuse_utf8(name: str, error: UnicodeDecodeError) -> NoReturn:
    """Raise for strings that are none."""
    raise DataError(f"{name} must be UTF-8, got {error.object!r}") from error


def refuse_huge() -> NoReturn:
    """Raise for a value that float32 cannot hold."""
    raise DataError("values must be within float32's range, 3.4e38: use dtype='float64'")


def refuse_overflow() -> NoReturn:
    """Raise for equal cells whose sum is infinite."""
    raise DataError("the sum of the values of one user and item is beyond float64's range")


def refuse_repeat(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    distinct: NDArray[np.int64],
    users: LabelArray | None,
    items: LabelArray | None,
    by_item: bool,
) -> NoReturn:
    """Raise for the first cell that is stored twice in a compressed matrix whose indices ascend.

    ``distinct`` is the indptr that the matrix would have without repeats.
    """
    line = int(np.argmax(np.diff(indptr) > np.diff(distinct)))
    cells = indices[indptr[line] : indptr[line + 1]]
    index = int(cells[:-1][cells[1:] == cells[:-1]][0])
    user, item = (index, line) if by_item else (line, index)
    raise DataError(
        f"duplicates='error', but user {user if users is None else users[user]!r} and "
        f"item {item if items is None else items[item]!r} occur together more than once"
    )


# ----------------------------------------------------------------------------------------------------------------------
# what a fitted model is asked for


def check_fitted(model: Any) -> None:
    """Refuse a model that has not been trained."""
    if not hasattr(model, "_users"):
        raise NotFittedError(f"this {type(model).__name__} is not fitted yet: call fit first")


def check_initial_factors(
    factors: Any, shape: tuple[int, int], k: int, dtype: "np.dtype[Any]", *, biased: bool = False
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return copies of (user_factors, item_factors) in ``dtype``, C-contiguous, to be trained in place.

    With ``biased`` both may have one more column.
    """
    if not isinstance(factors, tuple | list) or len(factors) != 2:
        raise ArgumentTypeError("initial_factors must be a pair (user_factors, item_factors)")
    if biased and all(np.shape(array) == (n, k + 1) for array, n in zip(factors, shape, strict=True)):
        k += 1
    X, Y = (
        _check_factors(f"initial {axis} factors", array, (n, k), dtype)
        for axis, array, n in zip(("user", "item"), factors, shape, strict=True)
    )
    return X, Y


def _check_factors(name: str, factors: Any, shape: tuple[int, int], dtype: "np.dtype[Any]") -> NDArray[Any]:
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


def check_query_factors(factors: Any, k: int, dtype: "np.dtype[Any]") -> NDArray[Any]:
    """Return users' factors as rows in ``dtype``; one row may be given alone."""
    array = np.asarray(factors)
    if array.ndim == 1:
        array = array[np.newaxis]
    if array.ndim != 2 or array.shape[1] != k:
        raise DataError(f"user_factors must have shape ({k},) or (m, {k}), got {np.shape(factors)}")
    return _check_factors("user_factors", array, array.shape, dtype)


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


def check_known_shape(shape: tuple[int, int], users: Sized | None, items: Sized | None) -> None:
    """Refuse a matrix that has not the model's users as rows, its items as columns; None: that side is new."""
    for found, known, other_found, lines, kind in (
        (shape[0], users, shape[1], "rows", "users"),
        (shape[1], items, shape[0], "columns", "items"),
    ):
        if known is not None and found != len(known):
            hint = ": was it passed items x users?" if other_found == len(known) else ""
            raise DataError(f"the matrix has {found} {lines} but the model knows {len(known)} {kind}{hint}")

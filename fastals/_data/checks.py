"""What ids, weights and matrices must be; what a kernel found wrong with them, worded."""

from collections.abc import Sequence, Sized
from contextlib import suppress
from itertools import chain
from typing import Any, NoReturn
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from .._core import (
    ArgumentTypeError,
    DataError,
    LabelArray,
    check_objects,
    check_same_length,
    check_values,
    check_vector,
)
from .._files import is_integer

ID_TYPES: dict[tuple[type, ...], str] = {
    (str,): "strings",
    (bytes,): "bytes",
    (UUID,): "UUIDs",
    (int, np.integer): "integers",
    (float, np.floating): "whole numbers",
}
"""What ids may be, by the type of their first."""

MAX_INDEX = 2**31 - 1
"""Indices of users and items are int32."""

# ----------------------------------------------------------------------------------------------------------------------
# ids and weights


def check_ids(name: str, ids: object, *, scan: bool = True) -> NDArray[Any]:
    """Return a vector of ids as a contiguous native array.

    That is int32 or int64, uint64 where some are beyond that, U, S, or objects that are all str, bytes or UUID. Without
    ``scan`` only the first of such objects is looked at.
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
        # beyond that two ids may have become one
        whole = np.abs(array) <= 2.0 ** (np.finfo(array.dtype).nmant + 1)
        whole &= np.floor(array, where=whole, out=np.zeros_like(array)) == array
        if not whole.all():
            at = int(np.argmin(whole))
            if np.isnan(array[at]):
                raise DataError(f"{name} must not be missing, got {array[at]} at position {at}")
            raise DataError(f"{name} must be whole numbers or strings, got {array[at]} at position {at}")
    elif kind == "u" and dtype.itemsize == 8 and len(array) and array.max() > np.iinfo(np.int64).max:
        return np.ascontiguousarray(array, np.uint64)
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
        if not types and type(first).__name__ == "Decimal":
            types = (type(first),)
        check_objects(name, array, types, "integers, strings, bytes or UUIDs")
    if is_text:
        return array
    if isinstance(first, float | np.floating):
        return array.astype(np.float64)
    if isinstance(first, int | np.integer):
        with suppress(OverflowError):
            return array.astype(np.int64)
    integers = _whole(name, array.tolist())
    low, high = min(integers), max(integers)
    if low >= -(2**63) and high < 2**63:
        return np.fromiter(integers, np.int64, len(integers))
    if low >= 0 and high < 2**64:
        return np.fromiter(integers, np.uint64, len(integers))
    beyond = next(x for x in (low, high) if not -(2**63) <= x < 2**63)
    raise DataError(
        f"{name} must fit in int64 or, all of them, in uint64, got {beyond} at position {integers.index(beyond)}"
    )


def _whole(name: str, numbers: list[Any]) -> list[int]:
    """Return integers, and decimals of whole value, as integers."""
    for at, number in enumerate(numbers):
        if isinstance(number, int | np.integer):
            continue
        if number.is_nan():
            raise DataError(f"{name} must not be missing, got {number} at position {at}")
        if not (number.is_finite() and number == number.to_integral_value()):
            raise DataError(f"{name} must be whole numbers or strings, got {number} at position {at}")
    return list(map(int, numbers))


def check_kind(name: str, codes: NDArray[np.int32], labels: LabelArray, kind: str) -> LabelArray | list[Any]:
    """Return the labels of ids, which are codes of them, of the kind that these are declared to be.

    "text": whole numbers as their usual decimal form. "integer": strings that are such as what they write: "007", "+7"
    and " 7" are none.
    """
    wanted, make = ("strings", str) if kind == "text" else ("integers", int)
    found = kind_of(labels)
    if not len(labels) or found == wanted:
        return labels
    if found not in ("strings", "integers"):
        raise ArgumentTypeError(f"{name} must be strings or whole numbers with ids={kind!r}, got {found}")
    values = labels.tolist()
    if kind == "integer":
        bad = ~np.array([is_integer(label, 2**64) for label in values])
        if bad.any():
            at = int(np.argmax(bad[codes]))
            raise DataError(f"{name} must be integers with ids='integer', got {values[codes[at]]!r} at position {at}")
    return list(map(make, values))


def kind_of(ids: LabelArray) -> str:
    """What ids of an array are, by the first of them, for messages."""
    if ids.dtype.kind in "iuUS":
        return {"i": "integers", "u": "integers", "U": "strings", "S": "bytes"}[ids.dtype.kind]
    return next((what for types, what in ID_TYPES.items() if len(ids) and isinstance(ids[0], types)), "nothing")


def in_dtype(ids: LabelArray, dtype: np.dtype[Any]) -> tuple[LabelArray, NDArray[np.bool_] | np.bool_]:
    """Return integers in one of int64 and uint64, which NumPy would compare as floats, and which of them it has not."""
    if ids.dtype.kind == dtype.kind:
        return ids, np.False_
    same = ids.astype(dtype)
    return same, (same if dtype.kind == "i" else ids) < 0


def joined(name: str, labels: LabelArray, others: LabelArray) -> LabelArray:
    """Return labels behind others of the same kind."""
    kinds = {part.dtype.kind for part in (labels, others) if len(part)}
    if kinds == {"i", "u"}:
        if min(labels.min(), others.min()) < 0:
            refuse_wide(name)
        labels, others = labels.astype(np.uint64), others.astype(np.uint64)
    joined: LabelArray = np.concatenate([part for part in (labels, others) if len(part)] or [labels])
    return joined


def refuse_wide(name: str) -> NoReturn:
    """Raise for integers some of which are negative and others beyond int64."""
    raise DataError(f"{name} must fit in int64 or, all of them, in uint64: some are below 0, others beyond int64")


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


# ----------------------------------------------------------------------------------------------------------------------
# matrices: rows are users, columns are items; "lines" are either


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


def check_known_shape(shape: tuple[int, int], users: Sized | None, items: Sized | None) -> None:
    """Refuse a matrix that has not the model's users as rows, its items as columns; None: that side is new."""
    for found, known, other_found, lines, kind in (
        (shape[0], users, shape[1], "rows", "users"),
        (shape[1], items, shape[0], "columns", "items"),
    ):
        if known is not None and found != len(known):
            hint = ": was it passed items x users?" if other_found == len(known) else ""
            raise DataError(f"the matrix has {found} {lines} but the model knows {len(known)} {kind}{hint}")


# ----------------------------------------------------------------------------------------------------------------------
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


def refuse_offsets(name: str) -> NoReturn:
    """Raise for an Arrow array whose strings lie outside its memory."""
    raise DataError(f"{name} is a broken Arrow array: its offsets are not within its data")


def refuse_utf8(name: str, error: UnicodeDecodeError) -> NoReturn:
    """Raise for strings that are none."""
    raise DataError(f"{name} must be UTF-8, got {error.object!r}") from error


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


def refuse_sums(scored: bool) -> NoReturn:
    """Refuse interactions whose cells are sums, where ratings are asked for; ``scored``: they are scores of events."""
    policy = "aggregate" if scored else "duplicates"
    raise DataError(
        f"these interactions were made with {policy}='sum', so that ratings of one user for one item have been added: "
        f"5 and 4 are 9. Make them with {policy}='last', which keeps the last one, 'mean' or 'max'"
    )


def refuse_unread(columns: Sequence[str]) -> None:
    """Refuse ratings that are all one because no column was recognised as theirs, if there are any that might be."""
    if columns:
        raise DataError(
            f"ratings need a column of values, but none was recognised, and {', '.join(map(repr, columns))} not read: "
            "name it, as in Interactions.from_frame(frame, value=...); value='' says that all are one"
        )

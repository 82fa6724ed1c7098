"""Columns of users, items and values out of data frames; no frame library is imported.

pyarrow, where it is installed, makes strings fast; nothing needs it.
"""

import re
from collections.abc import Callable, Iterator, KeysView, Mapping, Sequence, Set
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from .._core import (
    ArgumentTypeError,
    DataError,
    ParameterError,
    check_same_length,
    check_vector,
    has_pyarrow,
    number_types,
    shown,
)
from .columns import NAMES, Coded, Rows, Text

if TYPE_CHECKING:
    import pyarrow as pa

USER_COLUMNS = ("user", "userId", "user_id")
ITEM_COLUMNS = ("item", "itemId", "item_id")
VALUE_COLUMNS = ("value", "rating", "count", "score")
"""Names by which columns are recognised where none are given, in any letter case."""
OTHER_COLUMNS = re.compile(r"(?i:time|date|epoch|^(ts|day|index|unnamed.*|)$|_(ts|at|id)$)|(Id|ID)$")
"""Names of columns that hold no values, but times, ids or row numbers."""

Columns: TypeAlias = tuple[tuple[Any, Any, Any], Sequence[str]]
"""Users, items and values (or None), and what messages call them."""

SLICE_ROWS = 1 << 20
"""Rows of columns in memory that are worked on at once where not all may be."""


def is_frame(data: object) -> bool:
    """Whether data look like a data frame: a mapping, or columns that can be listed and taken by name."""
    if hasattr(data, "collect") and not hasattr(data, "__len__"):
        raise ArgumentTypeError(f"a {type(data).__name__} is not computed yet: pass what its collect() gives")
    return isinstance(data, Mapping) or (column_names(data) is not None and hasattr(data, "__getitem__"))


def column_names(frame: Any) -> list[str] | None:
    """Return the names of a frame's columns, None if it is no frame."""
    if isinstance(frame, Mapping):
        names: Any = frame.keys()
    elif isinstance(frame, np.ndarray):
        names = frame.dtype.names
    else:
        names = getattr(frame, "column_names", None)  # Arrow
        if names is None:
            names = getattr(frame, "columns", None)  # pandas, polars
    try:
        return None if names is None else list(names)
    except TypeError:
        return None


def event_columns(data: Any) -> Columns:
    """Return the columns of events in any form that is no matrix.

    A tuple of arrays (users, items) or (users, items, values); a frame; an array of shape (n, 3) with a user, an item
    and a value, not 0, in each row; a list of such tuples, or of tuples of a user and an item.
    """
    columns = None
    if isinstance(data, tuple) and len(data) in (2, 3):
        columns = list(data)
    elif is_frame(data):
        return frame_columns(data, None, None, None)
    # a list of lists could as well be one of columns
    elif isinstance(data, np.ndarray) or (isinstance(data, list) and data and isinstance(data[0], tuple)):
        columns = _columns_of_rows("data", data, (3,) if isinstance(data, np.ndarray) else (2, 3))
        if isinstance(data, np.ndarray) and columns is not None and (columns[2] == 0).any():
            columns = None  # a dense matrix of three items, more likely
    if columns is None:
        raise ArgumentTypeError(
            "data must be fastals.Interactions, a scipy.sparse matrix (rows are users), a tuple of arrays (users, "
            "items) or (users, items, values), an array or a list of tuples with a user, an item and a value in each "
            f"row, or a data frame, got {describe_data(data)}"
        )
    users, items, values = (*columns, None)[:3]
    return (users, items, values), NAMES


def describe_data(data: object) -> str:
    """Word what somebody has given as data."""
    if isinstance(data, np.ndarray):
        rows = ", where they are values of rows, (users, items, values)" if data.shape[1:] == (3,) else ""
        return (
            f"a dense array of shape {data.shape}: where zeros mean 'no cell', pass scipy.sparse.csr_array(data){rows}"
        )
    if isinstance(data, tuple):
        return f"a tuple of {len(data)}"
    return type(data).__name__


def pair_columns(name: str, pairs: Any) -> tuple[Any, Any]:
    """Return users and items of what has one of each in a row: a frame, by its columns' names, an array or a list."""
    if is_frame(pairs) and not _is_unnamed(pairs):
        try:
            (users, items, _), _ = frame_columns(pairs, None, None, "")
        except DataError as error:
            raise DataError(f"{name} go by the names of columns, by their place in an array alone: {error}") from None
        return users, items
    columns = _columns_of_rows(name, pairs, (2,))
    if columns is None:
        shape = (
            np.shape(pairs)
            if isinstance(pairs, np.ndarray)
            else f"({len(pairs)},)"
            if hasattr(pairs, "__len__")
            else "()"
        )
        raise DataError(f"{name} must have shape (n, 2), a user and an item in each row, got shape {shape}")
    return columns[0], columns[1]


def _is_unnamed(frame: Any) -> bool:
    """Whether columns are numbered, as pandas does where nobody has named them."""
    names: list[Any] | None = column_names(frame)
    return names == list(range(len(names or ())))


def _columns_of_rows(name: str, rows: Any, widths: tuple[int, ...]) -> list[Any] | None:
    """Return the columns of an array, or of a list of rows, that has one of these widths."""
    if isinstance(rows, list | tuple):
        if not rows or not isinstance(rows[0], list | tuple | np.ndarray) or len(rows[0]) not in widths:
            return None
        lengths = [len(row) if isinstance(row, list | tuple | np.ndarray) else 0 for row in rows]
        if len(set(lengths)) > 1:
            at = next(at for at, length in enumerate(lengths) if length != lengths[0])
            raise DataError(f"{name} must have rows of one length, got {shown(rows[at])} at position {at}")
        # as NumPy would read them, 1 beside "a" would be text
        return [list(column) for column in zip(*rows, strict=True)]
    array = np.asarray(rows)
    if array.ndim != 2 or array.shape[1] not in widths:
        return None
    return [array[:, column] for column in range(array.shape[1])]


def frame_columns(frame: Any, user: str | None, item: str | None, value: str | None) -> Columns:
    """Return the columns of a data frame."""
    names = column_names(frame)
    if names is None:
        raise ArgumentTypeError(f"frame must be a data frame or a mapping of arrays, got {type(frame).__name__}")
    chosen = choose_columns(names, user, item, value, lambda name: is_numeric(frame[name]))
    labels = [f"column {name!r}" for name in chosen]
    try:
        columns = [None if name is None else frame[name] for name in chosen]
    except TypeError as error:
        raise ArgumentTypeError(f"columns of {type(frame).__name__} cannot be taken by name: {error}") from error
    users, items = (as_ids(label, column) for label, column in zip(labels[:2], columns[:2], strict=True))
    values = None if columns[2] is None else check_vector(labels[2], columns[2])
    return (users, items, values), labels


def choose_columns(
    names: Sequence[str],
    user: str | None,
    item: str | None,
    value: str | None,
    may_be_value: Callable[[str], bool] | None = None,
) -> tuple[str, str, str | None]:
    """Return the three columns' names: those given, else those recognised; the value's None if there is none.

    Where none is recognised as the value's, a single further column is an error if it may be: if its name is not that
    of a time, an id or a row number and, where columns are known, it ``may_be_value``.
    """
    chosen = [
        choose_column(names, "user", user, USER_COLUMNS),
        choose_column(names, "item", item, ITEM_COLUMNS),
        choose_column(names, "value", value, VALUE_COLUMNS, optional=True),
    ]
    given = [name for name in chosen if name is not None]
    if len(set(given)) < len(given):
        raise ParameterError(f"user, item and value must be different columns, got {', '.join(map(repr, given))}")
    user_name, item_name, value_name = chosen
    assert user_name is not None
    assert item_name is not None
    others = [name for name in names if name not in given and not OTHER_COLUMNS.search(str(name))]
    if value is value_name is None and len(others) == 1 and (may_be_value is None or may_be_value(others[0])):
        raise DataError(
            f"value column not recognised, {others[0]!r} may be it: name it with value={others[0]!r}, or say value='' "
            "where every row counts one (Interactions.from_frame and its like take both, commands as --rating)"
        )
    return user_name, item_name, value_name


def unread_columns(frame: Any, user: str | None, item: str | None, value: str | None) -> tuple[str, ...]:
    """Return the columns of a frame that are not read although none is recognised as the value's."""
    if sparse.issparse(frame) or not is_frame(frame):  # some matrices are mappings
        return ()
    names = column_names(frame) or []
    chosen = choose_columns(names, user, item, value, lambda name: False)
    return tuple(name for name in names if name not in chosen) if value is chosen[2] is None else ()


def is_numeric(column: Any) -> bool:
    """Whether a column holds numbers, by its type or, of objects, the first of them."""
    kind = getattr(column, "dtype", getattr(column, "type", None))
    if isinstance(kind, np.dtype) and kind.kind != "O":
        return kind.kind in "iuf"
    if kind is None or isinstance(kind, np.dtype) or str(kind) == "Object":
        first = next(iter(column), None)
        return isinstance(first, number_types()) and not isinstance(first, bool)
    return re.match(r"u?int\d|float|double|halffloat|decimal", str(kind), re.IGNORECASE) is not None


def choose_column(
    names: Sequence[str], argument: str, given: str | None, recognised: Sequence[str], optional: bool = False
) -> str | None:
    """Return the name of one column: the one given, else one that is recognised; None if an optional one is absent."""
    found = f"the columns are {', '.join(map(repr, names)) or 'none'}"
    if given is not None:
        # "" is how Spark says "no rating column"
        if optional and given == "":
            return None
        if list(names).count(given) != 1:
            times = "more than once" if given in names else "not"
            raise DataError(f"{argument} column {given!r} is {times} there; {found}")
        return given
    lower = {name.lower() for name in recognised}
    candidates = [name for name in names if isinstance(name, str) and name.lower() in lower]
    if len(candidates) == 1:
        return candidates[0]
    if optional and not candidates:
        return None
    rule = "several columns could be it" if candidates else f"no column is called {' or '.join(map(repr, recognised))}"
    raise DataError(f"{argument} column not recognised, {rule}: name it with {argument}=; {found}")


# ----------------------------------------------------------------------------------------------------------------------
# ids


def as_ids(name: str, ids: Any) -> Any:
    """Return ids in any form as Text, Coded or a vector: strings in Arrow's memory stay there, categories are coded.

    What a vector may hold is for check_ids to say.
    """
    if isinstance(ids, Text | Coded):
        return ids
    if isinstance(ids, list | tuple | np.ndarray):
        return check_vector(name, ids)
    if isinstance(getattr(ids, "dtype", None), np.dtype) or isinstance(ids, range):
        return check_vector(name, np.asarray(ids))
    if isinstance(ids, str | bytes | Mapping) or not hasattr(ids, "__len__"):
        raise DataError(f"{name} must be one-dimensional, an array or a list of ids, got {shown(ids)}")
    if isinstance(ids, Set) and not isinstance(ids, KeysView):
        raise ArgumentTypeError(f"{name} must be in an order, as in an array or a list, got a {type(ids).__name__}")
    # polars' objects would come as their addresses
    column = None if str(getattr(ids, "dtype", "")) == "Object" else _arrow_column(ids)
    if column is not None:
        return arrow_ids(name, column)
    try:
        array = np.asarray(ids)
    except Exception:
        array = np.empty(0, object)
    as_it_is = array.ndim > 1 or (array.ndim == 1 and array.dtype.kind in "iu")
    return check_vector(name, array if as_it_is else list(ids))


def _arrow_column(ids: Any) -> "pa.ChunkedArray | None":
    """Return a column as Arrow has it; None: it is nothing for Arrow, or there is no pyarrow."""
    if not has_pyarrow():
        return None
    import pyarrow as pa

    if isinstance(ids, pa.ChunkedArray):
        return ids
    ids = getattr(ids, "array", ids)  # of pandas' Series and Index
    try:
        if isinstance(ids, pa.Array):
            made = ids
        elif hasattr(ids, "__arrow_array__") or hasattr(ids, "__arrow_c_array__"):
            made = pa.array(ids)
        elif hasattr(ids, "__arrow_c_stream__"):
            made = pa.chunked_array(ids)
        else:
            return None
    except (pa.ArrowException, TypeError, ValueError, NotImplementedError):
        return None
    return made if isinstance(made, pa.ChunkedArray) else pa.chunked_array([made])


def arrow_ids(name: str, column: "pa.ChunkedArray") -> Any:
    """Return what as_ids does, of a column that pyarrow holds."""
    import pyarrow as pa

    kind, types = column.type, pa.types
    try:
        # what comes from elsewhere may lie about its memory
        column.validate(full=types.is_dictionary(kind))
    except pa.ArrowInvalid as error:
        raise DataError(f"{name} is a broken Arrow array: {error}") from error
    if types.is_dictionary(kind):
        column = column.unify_dictionaries().combine_chunks()
        if not column.dictionary.null_count:
            _check_not_missing(name, column)
            return Coded(column.indices.to_numpy(), arrow_ids(name, pa.chunked_array([column.dictionary])))
        return arrow_ids(name, pa.chunked_array([column.dictionary_decode()]))
    _check_not_missing(name, column)
    if str(kind) == "string_view":
        column = column.cast(pa.large_string())
    if types.is_string(column.type) or types.is_large_string(column.type):
        return Text(text_chunks(column))
    if types.is_integer(kind) or types.is_floating(kind):
        return column.to_numpy()
    if types.is_decimal(kind):
        for whole in (pa.int64(), pa.uint64()):
            with suppress(pa.ArrowInvalid):
                return column.cast(whole).to_numpy()
    elif str(kind) != "extension<arrow.uuid>" and "binary" not in str(kind) and len(column):
        raise ArgumentTypeError(f"{name} must be integers, strings, bytes or UUIDs, got {kind}")
    return np.fromiter(column.to_pylist(), object, len(column))


def _check_not_missing(name: str, column: "pa.ChunkedArray") -> None:
    """Refuse an Arrow array with a null."""
    if column.null_count:
        at = int(np.argmax(np.asarray(column.is_null())))
        raise DataError(f"{name} must not be missing, got None at position {at}")


def arrow_columns(data: Any) -> Any:
    """Return a frame as Arrow takes it: a table of what columns hold where Arrow has no such, or takes them otherwise.

    Anything else is returned as it is.
    """
    if not (hasattr(data, "to_numpy") and is_frame(data)):  # what is no frame of pandas or polars
        return data
    import pyarrow as pa

    names = column_names(data) or ()
    made = {name: _made(data[name], name, str(getattr(data[name], "dtype", ""))) for name in names}
    if all(column is None for column in made.values()):
        return data
    return pa.table({name: pa.table(data[[name]])[name] if own is None else own for name, own in made.items()})


def _made(column: Any, name: str, kind: str) -> "pa.Array | pa.ChunkedArray | None":
    """Return a column of a frame as an Arrow array that nothing else would make of it; None: something else does."""
    import pyarrow as pa

    if kind.startswith("Sparse["):
        return pa.array(np.asarray(column))
    if kind.startswith(("Categorical", "Enum")):
        # of views, which Arrow cannot decode
        chunks = pa.chunked_array(column).chunks
        plain = [pa.DictionaryArray.from_arrays(c.indices, c.dictionary.cast(pa.large_string())) for c in chunks]
        return pa.chunked_array(plain, None if plain else pa.large_string())
    if kind not in ("Object", "Int128", "UInt128"):
        return None
    held = column.to_list()  # objects would come as their addresses
    try:
        if kind == "Object" and held and isinstance(held[0], UUID):
            return pa.array([None if each is None else each.bytes for each in held], pa.uuid())
        if kind == "Object":
            return pa.array(held)
        return pa.array(held, pa.int64() if max((each or 0 for each in held), default=0) < 2**63 else pa.uint64())
    except (pa.ArrowException, AttributeError, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"column {name!r} of {kind}: {' '.join(str(error).split())}") from error


def text_chunks(column: "pa.ChunkedArray") -> list[tuple[NDArray[np.uint8], NDArray[Any]]]:
    """Return the bytes and the offsets of each chunk of strings."""
    dtype, chunks = np.int64 if str(column.type) == "large_string" else np.int32, []
    for chunk in column.chunks:
        if len(chunk):
            _, offsets, data = chunk.buffers()
            first, last = chunk.offset, chunk.offset + len(chunk) + 1
            chunks.append((np.frombuffer(data or b"", np.uint8), np.frombuffer(offsets, dtype)[first:last]))
    return chunks


def array_rows(columns: Columns) -> Iterator[Rows]:
    """Yield columns in memory, or of mapped files, some rows after the other."""
    arrays, names = columns
    whole: list[Any] = [as_ids(name, ids) for name, ids in zip(names[:2], arrays[:2], strict=True)]
    whole.append(None if arrays[2] is None else check_vector(names[2], arrays[2]))
    check_same_length(dict(zip(names, whole, strict=True)))
    for first in range(0, len(whole[0]), SLICE_ROWS):
        rows = slice(first, first + SLICE_ROWS)
        users, items, values = (None if column is None else column[rows] for column in whole)
        yield f", counted from {first} on" if first else "", users, items, values

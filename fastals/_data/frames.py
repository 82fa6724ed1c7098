"""Columns of users, items and values out of data frames; no frame library is imported.

pyarrow, where it is installed, makes strings fast; nothing needs it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._core import ArgumentTypeError, DataError, ParameterError, check_same_length, check_vector
from .._files import has_pyarrow
from .checks import check_not_missing
from .columns import Coded, Rows, Text

if TYPE_CHECKING:
    import pyarrow as pa

USER_COLUMNS = ("user", "userId", "user_id")
ITEM_COLUMNS = ("item", "itemId", "item_id")
VALUE_COLUMNS = ("value", "rating", "count", "score")
"""Names by which columns are recognised where none are given, in any letter case."""

Columns: TypeAlias = tuple[tuple[Any, Any, Any], Sequence[str]]
"""Users, items and values (or None), and what messages call them."""

SLICE_ROWS = 1 << 20
"""Rows of columns in memory that are worked on at once where not all may be."""


def is_frame(data: object) -> bool:
    """Whether data look like a data frame: a mapping, or columns that can be listed and taken by name."""
    return isinstance(data, Mapping) or (column_names(data) is not None and hasattr(data, "__getitem__"))


def column_names(frame: Any) -> list[str] | None:
    """Return the names of a frame's columns, None if it is no frame."""
    if isinstance(frame, Mapping):
        names: Any = frame.keys()
    else:
        names = getattr(frame, "column_names", None)  # Arrow
        if names is None:
            names = getattr(frame, "columns", None)  # pandas, polars
    try:
        return None if names is None else list(names)
    except TypeError:
        return None


def frame_columns(frame: Any, user: str | None, item: str | None, value: str | None) -> Columns:
    """Return the columns of a data frame."""
    names = column_names(frame)
    if names is None:
        raise ArgumentTypeError(f"frame must be a data frame or a mapping of arrays, got {type(frame).__name__}")
    chosen = choose_columns(names, user, item, value)
    labels = [f"column {name!r}" for name in chosen]
    try:
        columns = [None if name is None else frame[name] for name in chosen]
    except TypeError as error:
        raise ArgumentTypeError(f"columns of {type(frame).__name__} cannot be taken by name: {error}") from error
    users, items = (id_column(label, column) for label, column in zip(labels[:2], columns[:2], strict=True))
    return (users, items, _array(columns[2])), labels


def choose_columns(
    names: Sequence[str], user: str | None, item: str | None, value: str | None
) -> tuple[str, str, str | None]:
    """Return the three columns' names: those given, else those recognised; the value's None if there is none."""
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
    return user_name, item_name, value_name


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


def _array(column: Any) -> Any:
    """Return what check_vector takes, without a copy where the column has NumPy's memory."""
    if isinstance(getattr(column, "dtype", None), np.dtype) or not hasattr(column, "to_numpy"):
        return column
    return column.to_numpy()


def id_column(name: str, column: Any) -> Any:
    """Return what ``factorize`` takes: strings in Arrow's memory stay there, categories are looked at once."""
    numpys = isinstance(getattr(column, "dtype", None), np.dtype)
    if numpys or not hasattr(column, "__arrow_c_stream__") or not has_pyarrow():
        return _array(column)
    import pyarrow as pa

    return arrow_ids(name, column if isinstance(column, pa.ChunkedArray) else pa.chunked_array(column))


def arrow_ids(name: str, column: "pa.ChunkedArray") -> Any:
    """Return what ``factorize`` takes, of a column that pyarrow holds."""
    import pyarrow as pa

    kind = column.type
    try:
        # what comes from elsewhere may lie about its memory
        column.validate(full=pa.types.is_dictionary(kind))
    except pa.ArrowInvalid as error:
        raise DataError(f"{name} is a broken Arrow array: {error}") from error
    if pa.types.is_dictionary(kind):
        column = column.unify_dictionaries().combine_chunks()
        if not column.dictionary.null_count:
            check_not_missing(name, column)
            return Coded(column.indices.to_numpy(), arrow_ids(name, pa.chunked_array([column.dictionary])))
        column = pa.chunked_array([column.dictionary_decode()])
    check_not_missing(name, column)
    if str(kind) == "extension<arrow.uuid>":
        return np.fromiter(column.to_pylist(), object, len(column))
    if str(kind) == "string_view":
        column = column.cast(pa.large_string())
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return Text(text_chunks(column))
    return column.to_numpy()


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
    whole: list[Any] = [
        column if column is None or isinstance(column, Text | Coded) else check_vector(name, column)
        for column, name in zip(arrays, names, strict=True)
    ]
    check_same_length(dict(zip(names, whole, strict=True)))
    for first in range(0, len(whole[0]), SLICE_ROWS):
        rows = slice(first, first + SLICE_ROWS)
        users, items, values = (None if column is None else column[rows] for column in whole)
        yield f", counted from {first} on" if first else "", users, items, values

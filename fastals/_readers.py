"""Columns of users, items and values out of data frames and files; no frame library is imported."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ._exceptions import ArgumentTypeError, DataError, ParameterError

USER_COLUMNS = ("user", "userId", "user_id")
ITEM_COLUMNS = ("item", "itemId", "item_id")
VALUE_COLUMNS = ("value", "rating", "count", "score")
"""Names by which columns are recognised where none are given, in any letter case."""


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


def frame_columns(
    frame: Any, user: str | None, item: str | None, value: str | None
) -> tuple[tuple[Any, Any, Any], list[str]]:
    """Return the arrays of users, items and values (or None), and what messages call them."""
    names = column_names(frame)
    if names is None:
        raise ArgumentTypeError(f"frame must be a data frame or a mapping of arrays, got {type(frame).__name__}")
    chosen = choose_columns(names, user, item, value)
    users, items, values = (None if name is None else _array(frame[name]) for name in chosen)
    return (users, items, values), [f"column {name!r}" for name in chosen]


def choose_columns(
    names: Sequence[str], user: str | None, item: str | None, value: str | None
) -> tuple[str, str, str | None]:
    """Return the three columns' names: those given, else those recognised; the value's None if there is none."""
    chosen = [
        _choose(names, "user", user, USER_COLUMNS),
        _choose(names, "item", item, ITEM_COLUMNS),
        _choose(names, "value", value, VALUE_COLUMNS, optional=True),
    ]
    given = [name for name in chosen if name is not None]
    if len(set(given)) < len(given):
        raise ParameterError(f"user, item and value must be different columns, got {', '.join(map(repr, given))}")
    user_name, item_name, value_name = chosen
    assert user_name is not None
    assert item_name is not None
    return user_name, item_name, value_name


def _choose(
    names: Sequence[str], argument: str, given: str | None, recognised: Sequence[str], optional: bool = False
) -> str | None:
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

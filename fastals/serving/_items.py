"""What is said of items besides the model, in files, frames or arrays: which may be listed, what they are called."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from .._core import ArgumentTypeError, DataError, UnknownLabelError, check_path, reading
from .._data import ITEM_COLUMNS, is_frame
from .._files import Source, fetched, suffix_of
from ._address import told_target

if TYPE_CHECKING:
    from .._data import Labels

TITLE_COLUMNS = ("title", "name")
"""Names by which the column of the titles is recognised where none is given, in any letter case."""

KINDS: dict[str, tuple[Callable[[str], Any], str]] = {
    "integers": (int, "a whole number"),
    "indices": (int, "a whole number"),
    "UUIDs": (UUID, "a UUID"),
    "bytes": (os.fsencode, ""),
    "strings": (str, ""),
}
"""What makes a label of text, and what messages call it, by the kind of labels."""


def parse_label(name: str, labels: Labels, text: str) -> Any:
    """Read what was typed as a label of the kind that the model knows."""
    make, known = KINDS[labels.kind]
    try:
        label = make(text)
        if make is not int or str(label) == text:
            return label
    except ValueError:
        pass
    raise UnknownLabelError(f"{name} must be {known}, as the model's labels are, got {text!r}") from None


class Choice(NamedTuple):
    """The items that may be listed, ascending (None: all), and how many ids the model does not know, by argument."""

    candidates: NDArray[np.int32] | None
    unknown: dict[str, int]


def chosen_items(labels: Labels, catalogue: Any, blocklist: Any, item_column: str | None = None) -> Choice:
    """Return the items that a catalogue and a blocklist leave.

    Parameters
    ----------
    labels : Labels
        Of the model's items.
    catalogue, blocklist : path, data frame or array of ids, optional
    item_column : str, optional
        Of the ids in files and frames; default one that is recognised, else the first.

    Raises
    ------
    UnknownLabelError
        Ids of another kind than the model's, or a catalogue of which the model knows nothing.
    DataError
        Nothing is left.
    """
    unknown: dict[str, int] = {}
    left = np.ones(len(labels), np.bool_)
    for name, given in (("catalogue", catalogue), ("blocklist", blocklist)):
        if given is None:
            continue
        if isinstance(given, bytes) or not (_is_path(given) or hasattr(given, "__iter__") or is_frame(given)):
            raise ArgumentTypeError(f"{name} must be a file, a data frame or an array of ids, got {given!r}")
        ids = _columns(name, given, labels, item_column)[0] if _is_path(given) or is_frame(given) else _listed(given)
        indices = labels.encode(ids, name)
        known = indices[indices >= 0]
        unknown[name] = len({one for one, index in zip(_listed(ids), indices.tolist(), strict=True) if index < 0})
        if name == "catalogue":
            if not len(indices):
                raise DataError("catalogue must name the items that may be listed, got none")
            if not len(known):
                labels.encode_known(name, ids)
            left[:] = False
        left[known] = name == "catalogue"
    if not left.any():
        raise DataError("catalogue and blocklist leave no item that could be listed")
    return Choice(None if left.all() else np.flatnonzero(left).astype(np.int32), unknown)


def titles_of(
    labels: Labels, titles: Any, item_column: str | None = None, title_column: str | None = None
) -> NDArray[Any] | None:
    """Return the title of each of the model's items, None where there is none.

    Parameters
    ----------
    labels : Labels
        Of the model's items.
    titles : path, data frame, or mapping of ids to strings, optional
    item_column, title_column : str, optional
        In files and frames; default those that are recognised, else the first and the second.

    Raises
    ------
    DataError
        An item with two titles, or a column that is not there.
    """
    if titles is None:
        return None
    if _is_plain(titles):
        ids, texts = list(titles), list(titles.values())
    else:
        ids, texts = _columns("titles", titles, labels, item_column, (title_column, TITLE_COLUMNS))
    found = np.full(len(labels), None, object)
    indices = labels.encode(ids, "titles") if len(ids) else np.empty(0, np.int32)
    for index, text in zip(indices.tolist(), _listed(texts), strict=True):
        if index < 0 or _is_missing(text):
            continue
        item = labels.decode(np.array([index]))[0]
        if not isinstance(text, str):
            raise ArgumentTypeError(f"titles must be strings, got {text!r} for item {item!r}")
        if found[index] not in (None, text):
            raise DataError(f"titles must be one for each item, got {found[index]!r} and {text!r} for {item!r}")
        found[index] = text
    return found


def _is_path(given: Any) -> bool:
    return isinstance(given, str | os.PathLike)


def _is_plain(titles: Any) -> bool:
    """Whether this is a mapping of ids to titles, not of names to columns."""
    return isinstance(titles, Mapping) and not any(
        hasattr(value, "__len__") and not isinstance(value, str) for value in titles.values()
    )


def _is_missing(text: Any) -> bool:
    return text is None or text == "" or type(text).__name__ == "NAType" or (isinstance(text, float) and text != text)


def _listed(column: Any) -> list[Any]:
    """Return a column of any library as a list."""
    for name in ("to_pylist", "tolist", "to_list"):
        if hasattr(column, name):
            values: list[Any] = getattr(column, name)()
            return values
    return list(column)


def _columns(name: str, given: Any, labels: Labels, item_column: str | None, *others: Any) -> Any:
    """Return the ids of a file or a frame, and other columns: (name given, names that are recognised) of each."""
    wanted = [("item", item_column, ITEM_COLUMNS), *(("title", *other) for other in others)]
    if not _is_path(given):
        if not is_frame(given):
            raise ArgumentTypeError(f"{name} must be a file, a data frame or a mapping, got {type(given).__name__}")
        names = given.keys() if isinstance(given, Mapping) else getattr(given, "column_names", given.columns)
        return [_listed(given[one]) for one in _chosen(name, list(names), wanted)]
    path = check_path(name, given)
    suffix, compression = suffix_of(path)
    if suffix == ".txt" and compression:
        raise DataError(f"{name}: {told_target(path)}: a list of ids, one a line, must not be compressed")
    if suffix == ".txt" and not others:
        lines = _lines(path)
        where = f"{name}: {told_target(path)}, line "
        return [[_label(labels, text, f"{where}{number}") for number, text in lines if text]]
    source = Source(path)
    import pyarrow as pa

    chosen = _chosen(f"{name}: {told_target(path)}", source.schema.names, wanted)
    if source.format == "csv" and item_column is None and chosen[0].lower() not in map(str.lower, ITEM_COLUMNS):
        _refuse_an_id(labels, chosen[0], f"{name}: {told_target(path)}")
    table = source.table({one: pa.string() if source.format == "csv" else source.type_of(one) for one in chosen})
    columns = [table[one].to_pylist() for one in chosen]
    where = f"{name}: {told_target(path)}, column {chosen[0]!r}, row "
    if source.format == "csv":
        columns[0] = [_label(labels, text or "", f"{where}{row}") for row, text in enumerate(columns[0], 1)]
    elif None in columns[0]:
        raise DataError(f"{where}{columns[0].index(None) + 1}: missing id")
    return columns


def _chosen(name: str, names: list[Any], wanted: list[tuple[str, str | None, Sequence[str]]]) -> list[Any]:
    """Return the columns that are meant: those given, else recognised, else by their place."""
    found: list[Any] = []
    there = f"the columns are {', '.join(map(repr, names)) or 'none'}"
    for place, (what, given, recognised) in enumerate(wanted):
        if given is not None:
            matches = [one for one in names if one == given]
        else:
            matches = [one for one in names if isinstance(one, str) and one.lower() in map(str.lower, recognised)]
            matches = matches or [one for one in names[place : place + 1] if one not in found]
        if len(matches) != 1:
            rule = f"{given!r} is not there" if given is not None else "it is not clear which is meant"
            raise DataError(f"{name}: {what} column: {rule}: name it with {what}_column=; {there}")
        found += matches
    if len(set(found)) < len(found):
        raise DataError(f"{name}: items and titles must be different columns; {there}")
    return found


def _lines(path: str) -> list[tuple[int, str]]:
    """Return the lines of a text file, numbered from 1."""
    with reading(told_target(path), "text"), fetched(path) as local, open(local, "rb") as file:
        lines = file.read().decode("utf-8-sig").split("\n")
    return [(number, line.removesuffix("\r")) for number, line in enumerate(lines, 1)]


def _refuse_an_id(labels: Labels, column: str, where: str) -> None:
    """Refuse a column by its place whose name is an id: that of the item that would be lost."""
    try:
        label = parse_label(where, labels, column)
    except UnknownLabelError:
        return
    if labels.kind != "strings" or labels.encode([label], where)[0] >= 0:
        raise DataError(
            f"{where}: the first line must name the columns, and {column!r} is an id: put a line 'item' before it, "
            "or name the file .txt, which holds an id a line"
        )


def _label(labels: Labels, text: str, where: str) -> Any:
    if text == "":
        raise DataError(f"{where}: missing id")
    return parse_label(where, labels, text)

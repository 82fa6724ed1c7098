"""Making interactions in a directory; fastals._data.lines says what is there.

The manifest is written last. Until then there is a file ``building``, locked by who builds: what a killed builder has
left is known by it, and is cleared away by the next one.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from copy import copy
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .._core import (
    AXES,
    ArgumentTypeError,
    DataError,
    ParameterError,
    check_path,
    check_values,
    files,
    refuse_value,
    tables,
    write_tensors,
)
from . import external
from .checks import (
    check_cells,
    check_index_array,
    check_index_range,
    check_indptr,
    check_matrix_values,
    check_not_empty,
    check_shape,
    refuse_cell_value,
    refuse_index,
    refuse_line_value,
)
from .columns import Rows
from .external import Chunk, Column, Rank, Sorted, Unsorted
from .labels import Labels, StreamEncoder, line_labels
from .lines import MANIFEST, MARKER, VERSIONS, Compressed, Part, cell_numbers, contains, cut, encode_labels

if TYPE_CHECKING:
    from .builder import Pairs


class Canonical(Protocol):
    """What makes cells canonical, a Builder: in memory, some lines at a time."""

    duplicates: str
    threads: int
    unscored: bool

    @property
    def summed(self) -> bool: ...

    def settled(self, lines: Compressed, users: Labels, items: Labels, *, by_item: bool) -> Compressed: ...


def store_rows(
    path: Any,
    rows: Iterable[Rows],
    names: Sequence[str],
    canonical: Canonical,
    *,
    scoring: Mapping[str, Any] | None = None,
    known: Sequence[Pairs] = (),
) -> str:
    """Make interactions of events in a directory; returns its path."""
    with _building(path) as directory:
        unsorted = Unsorted(directory, "cells", canonical.threads)
        bare = Unsorted(directory, "known", canonical.threads) if canonical.unscored else None
        encoders = [StreamEncoder(name) for name in names[:2]]
        for where, *ids, values in rows:
            try:
                users, items = (encoder.encode(some) for encoder, some in zip(encoders, ids, strict=True))
                if bare is not None and values is not None and not (scored := ~np.isnan(values)).all():
                    bare.append(users[~scored], items[~scored], None)
                    users, items, values = users[scored], items[scored], values[scored]
                unsorted.append(users, items, None if values is None else _finite(names[2], values, canonical.threads))
            except (DataError, ArgumentTypeError) as error:
                raise type(error)(f"{error}{where}") from None
            forget(*ids, values)
        (users, user_labels), (items, item_labels) = (encoder.ranked() for encoder in encoders)
        if bare is not None and bare.values.count:
            users, user_labels = _used(users, user_labels, unsorted.counts > 0)
            items, item_labels = _used(items, item_labels, unsorted.others_met())
        besides = Besides(known, bare, (users, items))
        _sort(directory, unsorted, (users, items), user_labels, item_labels, canonical, scoring, besides)
        return directory


def store_matrix(
    path: Any, matrix: Any, users: Any, items: Any, canonical: Canonical, *, known: Sequence[Pairs] = ()
) -> str:
    """Make interactions of a sparse matrix in a directory; returns its path."""
    n_users, n_items = check_shape(matrix.shape)
    threads = canonical.threads
    user_rank, user_labels = line_labels("users", users, n_users, threads)
    item_rank, item_labels = line_labels("items", items, n_items, threads)
    by_item = matrix.format == "csc"
    besides = Besides(known)
    with _building(path) as directory:
        if users is None and items is None and matrix.format in ("csr", "csc"):
            parts = _compressed(matrix, *((n_items, n_users) if by_item else (n_users, n_items)), by_item, threads)
            _write(directory, parts, user_labels, item_labels, canonical, None, besides, by_item=by_item)
        else:
            unsorted = Unsorted(directory, "cells", threads)
            for chunk in _cells(matrix, n_users, n_items):
                unsorted.append(*chunk)
            _sort(directory, unsorted, (user_rank, item_rank), user_labels, item_labels, canonical, None, besides)
        return directory


def store_lines(
    path: Any,
    parts: Iterator[Part],
    users: Labels,
    items: Labels,
    canonical: Canonical,
    scoring: Any,
    known: Iterable[Pairs],
) -> str:
    """Make interactions of lines of users, some at a time, in a directory; returns its path."""
    with _building(path) as directory:
        _write(directory, parts, users, items, canonical, scoring, Besides(known), by_item=False)
        return directory


def _finite(name: str, values: Any, threads: int) -> NDArray[Any]:
    array = check_values(name, values)
    if tables.check_values(array, threads) & tables.NOT_FINITE:
        refuse_value(name, array)
    return array


def _sort(
    directory: str,
    unsorted: Unsorted,
    ranks: tuple[Rank, Rank],
    users: Labels,
    items: Labels,
    canonical: Canonical,
    scoring: Any,
    besides: Besides,
) -> None:
    counts, (lines,) = np.zeros(len(users), np.int64), unsorted.counts.nonzero()  # those behind have no cells
    counts[lines if ranks[0] is None else ranks[0][lines]] = unsorted.counts[lines]
    parts = external.deal(directory, unsorted.chunks(ranks), counts, unsorted.values, canonical.threads)
    _write(directory, parts, users, items, canonical, scoring, besides, by_item=False)


def _write(
    directory: str,
    parts: Iterator[Part],
    users: Labels,
    items: Labels,
    canonical: Canonical,
    scoring: Any,
    besides: Besides,
    *,
    by_item: bool,
) -> None:
    """Write both orientations, that of the parts first, and then what makes them interactions."""
    labels = (items, users) if by_item else (users, items)
    axes = AXES[::-1] if by_item else AXES

    def settled() -> Iterator[Part]:
        for first, last, lines in parts:
            own = _some(labels[0], first, last, canonical.duplicates)
            two = (labels[1], own) if by_item else (own, labels[1])
            yield first, last, canonical.settled(lines, *two, by_item=by_item)

    first = external.write(directory, axes[0], settled(), len(labels[1]), canonical.threads)
    check_not_empty(len(users), len(items), first.values.count)
    turned = external.deal(directory, first.chunks(), first.counts, first.values, canonical.threads)
    second = external.write(directory, axes[1], turned, len(labels[0]), canonical.threads)
    sides = dict(zip(axes, (first, second), strict=True))
    known = besides.write(directory, sides["users"], users, items, canonical)
    columns: dict[str, Column] = {}
    tensors: dict[str, NDArray[Any]] = {}
    for axis, side in (sides | known).items():
        columns[f"{axis}.indices"], tensors[f"{axis.replace('.', '_')}_indptr"] = side.indices, side.indptr
        if side.values.column is not None:
            columns[f"{axis}.values"] = side.values.column
    for column in columns.values():
        files.sync(column.path)
    content = {
        "n_users": len(users),
        "n_items": len(items),
        "n_cells": first.values.count,
        "dtype": str(first.values.dtype),
        "ones": first.values.column is None,
        "repeats": canonical.duplicates == "keep",
        "summed": canonical.summed,
        "files_crc32": {name: column.crc32 for name, column in columns.items()},
        "labels": {axis: encode_labels(axis, some, tensors) for axis, some in zip(AXES, (users, items), strict=True)},
        "scoring": scoring or {},
        **({"n_known": known["known.users"].values.count} if known else {}),
    }
    write_tensors(os.path.join(directory, MANIFEST), "interactions", VERSIONS[bool(known)], content, tensors)


class Besides:
    """Pairs that are known beside cells, on their way to the files that hold those of the cells' users and items.

    Parameters
    ----------
    pairs : iterable of Pairs
        Given by the caller; gone through twice.
    bare : Unsorted, optional
        Rows of events without a value, and ``ranks``, the places of their codes; -1: of no cell.
    """

    def __init__(
        self, pairs: Iterable[Pairs], bare: Unsorted | None = None, ranks: tuple[Rank, Rank] = (None, None)
    ) -> None:
        self.pairs, self.bare, self.ranks = pairs, bare, ranks

    def write(
        self, directory: str, cells: Sorted, users: Labels, items: Labels, canonical: Canonical
    ) -> dict[str, Sorted]:
        """Write both orientations of those that are no cells; nothing where there are none."""
        counts, n_known = np.zeros(len(users), np.int64), 0
        for rows, _, _ in self._chunks(users, items):
            counts += np.bincount(rows, minlength=len(users))
            n_known += len(rows)
        ones, threads, once = external.Values("", canonical.threads), canonical.threads, copy(canonical)
        once.duplicates = "last"
        parts = external.deal(directory, self._chunks(users, items), counts, ones, threads)
        first = external.write(directory, "known.users", self._beside(parts, cells, items, once), len(items), threads)
        if self.bare is not None:
            self.bare.remove()
        if not first.values.count:
            first.indices.remove()
            return {}
        turned = external.deal(directory, first.chunks(), first.counts, first.values, threads)
        return {
            "known.users": first,
            "known.items": external.write(directory, "known.items", turned, len(users), threads),
        }

    def _chunks(self, users: Labels, items: Labels) -> Iterator[Chunk]:
        """Yield the pairs whose user and item have a place."""
        for codes, others, theirs, their_items, _ in self.pairs:
            rows, columns = users.places("known users", theirs), items.places("known items", their_items)
            yield _placed(rows[codes], columns[others])
        if self.bare is not None:
            for codes, others, _ in self.bare.chunks(self.ranks, keep=True):
                yield _placed(codes, others)

    def _beside(self, parts: Iterator[Part], cells: Sorted, items: Labels, once: Canonical) -> Iterator[Part]:
        """Yield lines sorted, each pair once, without those that are cells."""
        ones: Any = None
        for first, last, (indptr, indices, _) in parts:
            bounds = first + cut(cells.indptr[first : last + 1] - cells.indptr[first], external.BUCKET_CELLS)
            for a, b in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
                own = indptr[a - first : b - first + 1]
                some = own - own[0], indices[own[0] : own[-1]], ones
                lines = once.settled(some, Labels(None, b - a), items, by_item=False)
                numbers = cell_numbers(lines[0], lines[1], len(items))
                held = cells.indptr[a : b + 1] - cells.indptr[a]
                theirs = cells.indices.read(int(cells.indptr[a]), int(cells.indptr[b]))
                new = ~contains(cell_numbers(held, theirs, len(items)), numbers)
                yield a, b, (np.concatenate(([0], new.cumsum()))[lines[0]], lines[1][new], ones)


def _placed(rows: NDArray[np.int32], columns: NDArray[np.int32]) -> Chunk:
    """Leave out pairs with a user or an item that has no place, which is -1."""
    placed = (rows >= 0) & (columns >= 0)
    return rows[placed], columns[placed], None


def _used(rank: NDArray[np.int32], labels: Labels, used: NDArray[np.bool_]) -> tuple[NDArray[np.int32], Labels]:
    """Leave out the labels of codes that are not used (nor are those behind the last one): their rank becomes -1."""
    kept = np.zeros(len(labels), np.bool_)
    kept[rank[np.flatnonzero(used)]] = True
    places = np.where(kept, kept.cumsum() - 1, -1).astype(np.int32)
    assert labels.values is not None
    return places[rank], Labels(labels.values[kept], int(kept.sum()))


def _some(labels: Labels, first: int, last: int, duplicates: str) -> Labels:
    """Return the labels of a run of lines, so that what is refused is refused by name."""
    values = None if labels.values is None else labels.values[first:last]
    if values is None and duplicates == "error":
        values = np.arange(first, last).astype(object)
    return Labels(values, last - first)


def _compressed(matrix: Any, n_lines: int, size: int, by_item: bool, threads: int) -> Iterator[Part]:
    """Yield the lines of a CSR matrix, or of a CSC one (``by_item``), copied."""
    indptr = check_indptr(matrix, n_lines)
    bounds = cut(indptr, external.BUCKET_CELLS)
    for first, last in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        part, own = slice(indptr[first], indptr[last]), indptr[first : last + 1] - indptr[first]
        given, values = check_index_array("indices", matrix.indices[part]), check_matrix_values(matrix.data[part])
        indices = np.empty(len(given), np.int32)
        if tables.check_rows(own, given, size, indices, threads) & tables.OUT_OF_RANGE:
            refuse_index(indptr, matrix.indices, size, by_item)
        flags = tables.check_values(values, threads)
        if flags & tables.NOT_FINITE:
            refuse_line_value(indptr, matrix.indices, matrix.data, by_item)
        values = tables.copy_values(values, np.float64 if flags & tables.INEXACT else np.float32, threads)
        forget(matrix.indices, matrix.data)
        yield first, last, (own, indices, values)


def _cells(matrix: Any, n_users: int, n_items: int) -> Iterator[external.Chunk]:
    """Yield the cells of any sparse matrix, as they are stored."""
    if matrix.format in ("csr", "csc"):
        by_item = matrix.format == "csc"
        indptr = check_indptr(matrix, n_items if by_item else n_users)
        n, lines, stored = int(indptr[-1]), None, (matrix.indices, matrix.data)
    else:
        users, lines, values = check_cells(matrix)
        n, by_item, stored = len(values), False, (lines, values)
    for first in range(0, n, external.CHUNK_CELLS):
        last = min(first + external.CHUNK_CELLS, n)
        others, numbers = stored[0][first:last], check_matrix_values(stored[1][first:last])
        own = external.lines_of(indptr, first, last) if lines is None else users[first:last]
        pair = (others, own) if by_item else (own, others)
        rows = check_index_range("user", check_index_array("row indices", pair[0]), n_users)
        columns = check_index_range("item", check_index_array("column indices", pair[1]), n_items)
        if tables.check_values(numbers, 1) & tables.NOT_FINITE:
            refuse_cell_value(rows, columns, numbers)
        yield rows, columns, numbers
        forget(*stored)


def forget(*arrays: Any) -> None:
    """Give back the memory of what was read of mapped files, which would count as this process's."""
    for array in arrays:
        while array is not None and not (isinstance(array, np.memmap) and array.mode == "r"):
            array = getattr(array, "base", None)
        mapping: Any = getattr(array, "_mmap", None)
        if hasattr(mapping, "madvise"):
            mapping.madvise(mmap.MADV_DONTNEED)


# ----------------------------------------------------------------------------------------------------------------------
# the directory


@contextmanager
def _building(path: Any) -> Iterator[str]:
    """Give the directory that interactions are written to, which is empty but for its marker.

    Raises
    ------
    ParameterError
        It holds something.
    OSError
        It cannot be written to.
    """
    name = check_path("on_disk", path)
    made = not os.path.isdir(name)
    if made:
        os.mkdir(name)
    marker = os.path.join(name, MARKER)
    _check_free(name)
    with open(marker, "ab") as lock:
        _lock(lock, name)
        _check_free(name)
        _clear(name)
        try:
            yield name
        except BaseException:
            _clear(name)
            with suppress(OSError):
                os.unlink(marker)
                if made:
                    os.rmdir(name)
            raise
        with suppress(OSError):  # Windows keeps what is open; it does no harm beside what is complete
            os.unlink(marker)


def _check_free(directory: str) -> None:
    names = set(os.listdir(directory))
    if MANIFEST in names:
        raise ParameterError(
            f"on_disk={directory!r} holds interactions already: Interactions.open({directory!r}) opens them; to make "
            "them anew, delete the directory first, or name another one"
        )
    if MARKER in names:
        names -= {MARKER, *_own(directory)}
    if names:
        raise ParameterError(
            f"on_disk must be a new or an empty directory, but {directory!r} holds other files, as {min(names)!r}"
        )


def _own(directory: str) -> list[str]:
    """Return the names of what is written there but the marker."""
    axes = [*AXES, *(f"known.{axis}" for axis in AXES)]
    data = [f"{axis}.{kind}{wide}" for axis in axes for kind in ("indices", "values") for wide in ("", ".wide")]
    scratch = [name for name in os.listdir(directory) if name.startswith("scratch.")]
    return [*data, *scratch, *map(os.path.basename, files.leftovers(os.path.join(directory, MANIFEST)))]


def _clear(directory: str) -> None:
    for name in (MANIFEST, *_own(directory)):
        with suppress(OSError):
            os.unlink(os.path.join(directory, name))


def _lock(file: Any, directory: str) -> None:
    """Refuse to build where another process does; the lock goes with the process."""
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ParameterError(f"on_disk={directory!r}: another process is building interactions there") from None

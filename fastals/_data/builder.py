"""From any input to canonical form: cells checked, labels encoded, lines sorted, repeats merged."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial, reduce
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from .._core import (
    check_choice,
    check_dtype,
    check_same_length,
    check_values,
    refuse_huge,
    refuse_value,
    resolve_num_threads,
    tables,
)
from .checks import (
    check_cells,
    check_index_array,
    check_index_range,
    check_indptr,
    check_known_shape,
    check_matrix_values,
    check_not_empty,
    check_shape,
    joined,
    refuse_cell_value,
    refuse_index,
    refuse_line_value,
    refuse_overflow,
    refuse_repeat,
)
from .columns import NAMES, Coded
from .frames import as_ids
from .labels import Labels, factorize, line_labels
from .lines import Compressed, Known, PairLines, cell_numbers, contains, cut, distinct

if TYPE_CHECKING:
    from .cells import LabelledCells

DUPLICATES = ("sum", "last", "max", "mean", "error", "keep")
"""What becomes of several values for one user and item; "keep": each stays an observation of its own."""

Data = TypeVar("Data", bound="LabelledCells")

RUN_CELLS = 1 << 22
"""So many cells, or those of one user, are compared with known pairs at once."""


class Pairs(NamedTuple):
    """Pairs of a user and an item, as codes, and what the codes stand for; a pair may be there several times."""

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    user_labels: Labels
    item_labels: Labels
    places: tuple[NDArray[np.int32], NDArray[np.int32]] | None = None
    """Where these users and items are among those of the cells, -1: nowhere; None: not known yet."""

    def where(self, chosen: NDArray[np.bool_]) -> Pairs:
        """Some of them."""
        return self._replace(users=self.users[chosen], items=self.items[chosen])


class Built(NamedTuple):
    """Cells in canonical form, nobody else's: by user, by item (None: not made yet), and the labels."""

    rows: Compressed
    columns: Compressed | None
    users: Labels
    items: Labels


class Builder:
    """The way from any input to canonical form, for one build.

    Every input becomes ``lines``: compressed rows (of users; of items for CSC) whose indices are in range but in any
    order. Transposing sorts them, stably and in linear time; transposing again gives the first orientation, sorted.
    Beside the caller's data there are never more than 16 bytes a cell (float32): a step frees what it has read, which
    is why the lines are an attribute and not handed around.
    """

    def __init__(
        self,
        *,
        duplicates: str = "sum",
        dtype: Any = None,
        num_threads: int | None = None,
        users: Labels | None = None,
        items: Labels | None = None,
        unscored: bool = False,
    ) -> None:
        self.duplicates = check_choice("duplicates", duplicates, DUPLICATES)
        self.dtype = None if dtype is None else check_dtype("dtype", dtype)
        self.threads = resolve_num_threads(num_threads)
        self.known_users, self.known_items = users, items
        self.all_new = users is None and items is None
        self.unscored = unscored
        """Whether a value may be NaN: none, and the pair then no cell but ``known``."""
        self.known: Pairs | None = None
        self.added = self.varied = False
        """Whether values of one cell were added up, and whether not all values are 1, looked up where that matters."""
        self.lines: Compressed

    def arrays(self, users: Any, items: Any, values: Any = None, names: Sequence[str] = NAMES) -> Built:
        """One element per event; users and items are labels. ``names`` are what messages call the three."""
        users, items = (as_ids(name, ids) for name, ids in zip(names, (users, items), strict=False))
        values = None if values is None else check_values(names[2], values)
        check_same_length(dict(zip(names, (users, items, values), strict=True)))
        scored = None
        if self.unscored and values is not None and not (scored := ~np.isnan(values)).all():
            values = values[scored]
        flags = self._value_flags(values)
        if flags & tables.NOT_FINITE:
            refuse_value(names[2], values)
        dtype = self._stored_dtype(flags)
        user_indices, user_labels = self._encode(names[0], users, self.known_users)
        item_indices, item_labels = self._encode(names[1], items, self.known_items)
        if scored is not None and not scored.all():
            every = Pairs(user_indices, item_indices, user_labels, item_labels)
            self.known, (user_indices, item_indices, *_) = every.where(~scored), every.where(scored)
            user_indices, user_labels, rows = _used(user_indices, user_labels)
            item_indices, item_labels, columns = _used(item_indices, item_labels)
            self.known = self.known._replace(places=(rows, columns))
        if not self.all_new:
            user_indices, item_indices, values = _known_cells(user_indices, item_indices, values)
        self.lines = tables.bucket(user_indices, item_indices, values, len(user_labels), dtype, self.threads)
        del users, items, values, user_indices, item_indices
        return self.finish(dtype, user_labels, item_labels)

    def cells(self, rows: Compressed, users: Labels, items: Labels) -> Built:
        """Cells in canonical form, in terms of the known users or items."""
        self.duplicates = "keep"
        check_known_shape(
            (len(users), len(items)),
            self.known_users if users.values is None else None,
            self.known_items if items.values is None else None,
        )
        lines = np.repeat(np.arange(len(users), dtype=np.int32), np.diff(rows[0]))
        user_indices, user_labels = self._translate("users", users, lines, self.known_users)
        item_indices, item_labels = self._translate("items", items, rows[1], self.known_items)
        user_indices, item_indices, values = _known_cells(user_indices, item_indices, rows[2])
        dtype = self._stored_dtype(self._value_flags(values))
        self.lines = tables.bucket(user_indices, item_indices, values, len(user_labels), dtype, self.threads)
        return self.finish(dtype, user_labels, item_labels)

    def matrix(self, matrix: Any, users: Any = None, items: Any = None) -> Built:
        """Any scipy.sparse matrix, with or without labels of its rows and columns."""
        n_users, n_items = check_shape(matrix.shape)
        check_known_shape((n_users, n_items), self.known_users, self.known_items)
        if users is None and items is None and matrix.format in ("csr", "csc"):
            return self._compressed(matrix)
        user_indices, item_indices, values = check_cells(matrix)
        user_indices = check_index_range("user", user_indices, n_users)
        item_indices = check_index_range("item", item_indices, n_items)
        flags = self._value_flags(values)
        if flags & tables.NOT_FINITE:
            refuse_cell_value(user_indices, item_indices, values)
        dtype = self._stored_dtype(flags)
        user_labels, item_labels = self._line_labels((n_users, n_items))
        if users is not None or items is not None:
            rank, user_labels = line_labels("users", users, n_users, self.threads)
            user_indices = user_indices if rank is None else rank[user_indices]
            rank, item_labels = line_labels("items", items, n_items, self.threads)
            item_indices = item_indices if rank is None else rank[item_indices]
        self.lines = tables.bucket(user_indices, item_indices, values, n_users, dtype, self.threads)
        del values, user_indices, item_indices
        return self.finish(dtype, user_labels, item_labels)

    def _compressed(self, matrix: Any) -> Built:
        """CSR, or CSC, which is the CSR of the transposed matrix."""
        by_item = matrix.format == "csc"
        n_lines, size = matrix.shape[::-1] if by_item else matrix.shape
        indptr = check_indptr(matrix, n_lines)
        n_cells = int(indptr[-1])
        indices = check_index_array("indices", matrix.indices)[:n_cells]
        values = check_matrix_values(matrix.data)[:n_cells]
        own_indices = np.empty(n_cells, np.int32)
        order = tables.check_rows(indptr, indices, size, own_indices, self.threads)
        if order & tables.OUT_OF_RANGE:
            refuse_index(indptr, indices, size, by_item)
        flags = self._value_flags(values)
        if flags & tables.NOT_FINITE:
            refuse_line_value(indptr, indices, values, by_item)
        dtype = self._stored_dtype(flags)
        if self._is_canonical(order):
            values = tables.copy_values(values, dtype, self.threads)
        self.lines = indptr, own_indices, values
        del indptr, own_indices, values
        users, items = self._line_labels(matrix.shape)
        return self.finish(dtype, users, items, by_item=by_item, order=order)

    @property
    def summed(self) -> bool:
        """Whether values that are not all ones were added up."""
        return self.added and self.varied

    def made(self, kind: type[Data], built: Built, pairs: Sequence[Pairs]) -> Data:
        """What has been built as interactions, with what is known besides."""
        own = [] if self.known is None else [self.known]
        data = kind._canonical(*built)
        data.summed = self.summed
        return knowing(data, [*own, *pairs])

    def _line_labels(self, shape: tuple[int, int]) -> tuple[Labels, Labels]:
        """Labels of a matrix' rows and columns."""
        known = self.known_users, self.known_items
        users, items = (Labels(None, n) if labels is None else labels for n, labels in zip(shape, known, strict=True))
        return users, items

    def _encode(self, name: str, ids: Any, known: Labels | None) -> tuple[NDArray[np.int32], Labels]:
        """Return index of each id (-1: none of the known) and the labels."""
        if known is None:
            return factorize(name, ids, self.threads)
        return known.encode_known(name, ids) if known.values is None else known.encode(ids, name), known

    def _translate(
        self, name: str, labels: Labels, indices: NDArray[np.int32], known: Labels | None
    ) -> tuple[NDArray[np.int32], Labels]:
        """Return indices into the known labels (-1: none of them) for indices into ``labels``."""
        if known is None or labels.values is None:
            return indices, labels if known is None else known
        return self._encode(name, labels.values, known)[0][indices], known

    def _value_flags(self, values: NDArray[Any] | None) -> int:
        return 0 if values is None else int(tables.check_values(values, self.threads))

    def _stored_dtype(self, flags: int) -> np.dtype[Any]:
        if self.dtype is None:
            return np.dtype(np.float64 if flags & tables.INEXACT else np.float32)
        if self.dtype == np.float32 and flags & tables.HUGE:
            refuse_huge()
        return self.dtype

    def _is_canonical(self, order: int) -> bool:
        return not order & tables.UNSORTED and (not order & tables.REPEATED or self.duplicates == "keep")

    def finish(
        self, dtype: np.dtype[Any], users: Labels, items: Labels, *, by_item: bool = False, order: int | None = None
    ) -> Built:
        """Make the lines canonical (``by_item``: they are items) and everybody's.

        Values may still be the caller's only where the lines are not canonical, which ``order`` says if known.
        """
        if self.all_new:
            check_not_empty(len(users), len(items), len(self.lines[1]))
        dtype, turned = self.sort(dtype, users, items, by_item=by_item, order=order)
        if self.lines[2] is None:
            ones = np.ones(len(self.lines[1]), dtype)
            self.lines = *self.lines[:2], ones
            turned = turned and (*turned[:2], ones)
        if not by_item:
            return Built(self.lines, turned, users, items)
        if turned is None:
            turned = tables.transpose(*self.lines, len(users), dtype, self.threads)
        return Built(turned, self.lines, users, items)

    def sort(
        self, dtype: np.dtype[Any], users: Labels, items: Labels, *, by_item: bool, order: int | None = None
    ) -> tuple[np.dtype[Any], Compressed | None]:
        """Put the lines' cells in order and merge repeats; returns their dtype then, and them transposed if made."""
        n_lines, size = (len(items), len(users)) if by_item else (len(users), len(items))
        if order is None:
            order = tables.check_rows(*self.lines[:2], size, None, self.threads)
        if self._is_canonical(order):
            return dtype, None
        if len(self.lines[1]) < size // 8:
            # a table of all others costs more than to compare the few that there are
            indptr, indices, values = self.lines
            lines = np.repeat(np.arange(n_lines), np.diff(indptr))
            ranked = np.lexsort((indices, lines))
            self.lines = indptr, indices[ranked], None if values is None else values[ranked].astype(dtype)
            if self.duplicates != "keep":
                dtype = self._merge(dtype, users, items, by_item)
            return dtype, None
        self.lines = tables.transpose(*self.lines, size, dtype, self.threads)
        if self.duplicates != "keep":
            dtype = self._merge(dtype, users, items, not by_item)
        turned = self.lines
        self.lines = tables.transpose(*turned, n_lines, dtype, self.threads)
        return dtype, turned

    def settled(self, lines: Compressed, users: Labels, items: Labels, *, by_item: bool) -> Compressed:
        """Return some of the lines in canonical form, without values where those of all lines are one."""
        self.lines = lines
        self.varied = self.varied or not (lines[2] is None or (lines[2] == 1).all())
        dtype = np.dtype(np.float32) if lines[2] is None else lines[2].dtype
        del lines
        self.sort(dtype, users, items, by_item=by_item)
        return self.lines

    def _merge(self, dtype: np.dtype[Any], users: Labels, items: Labels, by_item: bool) -> np.dtype[Any]:
        """Make one of equal cells, in lines whose indices ascend; returns what dtype the values have then."""
        indptr, indices, values = self.lines
        policy = "last" if self.duplicates == "error" else self.duplicates
        if values is None:
            values = np.ones(len(indices), np.float32)
        distinct, flags = tables.count_distinct(indptr, indices, values, policy, self.threads)
        if distinct[-1] == len(indices):
            return dtype
        if self.duplicates == "error":
            refuse_repeat(indptr, indices, distinct, users.values, items.values, by_item)
        if flags & tables.NOT_FINITE:
            refuse_overflow()
        self.added, self.varied = self.duplicates == "sum", self.varied or not (values == 1).all()
        dtype = self._stored_dtype(flags)
        merged = tables.merge_rows(indptr, indices, values, policy, distinct, dtype, self.threads)
        self.lines = distinct, *merged
        return dtype


def _known_cells(
    users: NDArray[np.int32], items: NDArray[np.int32], values: NDArray[Any] | None
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[Any] | None]:
    known = (users >= 0) & (items >= 0)
    if known.all():
        return users, items, values
    return users[known], items[known], None if values is None else values[known]


def _used(indices: NDArray[np.int32], labels: Labels) -> tuple[NDArray[np.int32], Labels, NDArray[np.int32]]:
    """Leave out labels that no index stands for; says of each where it is then."""
    used = np.zeros(len(labels), np.bool_)
    used[indices] = True
    if used.all() or labels.values is None:
        return indices, labels, np.arange(len(labels), dtype=np.int32)
    ranks = np.where(used, used.cumsum() - 1, -1).astype(np.int32)
    return ranks[indices], Labels(labels.values[used], int(used.sum())), ranks


# ----------------------------------------------------------------------------------------------------------------------
# pairs that are known beside the cells


def id_pairs(users: Any, items: Any) -> Pairs:
    """Return pairs given by their ids."""
    threads = resolve_num_threads()
    user_codes, user_labels = factorize("known users", users, threads)
    item_codes, item_labels = factorize("known items", items, threads)
    check_same_length({"known users": user_codes, "known items": item_codes})
    return Pairs(user_codes, item_codes, user_labels, item_labels)


def pairs_of(data: LabelledCells | None) -> list[Pairs]:
    """The cells as pairs."""
    if data is None:
        return []
    data = data.in_memory()
    users = np.repeat(np.arange(data.n_users, dtype=np.int32), np.diff(data.indptr))
    return [Pairs(users, data.indices, data.user_labels, data.item_labels)]


def known_pairs(data: LabelledCells) -> list[Pairs]:
    """All that is known beside the cells, as :func:`knowing` takes it."""
    known = data._known
    return [*pairs_of(known.beside), *pairs_of(known.elsewhere)]


def knowing(data: Data, pairs: Sequence[Pairs]) -> Data:
    """Return the same cells, beside which of all these pairs those are known that are none of them.

    Raises
    ------
    DataError
        Their users or items are of another kind.
    """
    if not pairs:
        return data
    found, others = [], []
    for each in pairs:
        theirs = ("users", data.user_labels, each.user_labels), ("items", data.item_labels, each.item_labels)
        rows, columns = each.places or (own.places(f"known {name}", labels) for name, own, labels in theirs)
        rows, columns = rows[each.users], columns[each.items]
        inside = (rows >= 0) & (columns >= 0)
        found.append(rows[inside] * np.int64(data.n_items) + columns[inside])
        others.append(each.where(~inside))
    numbers = np.concatenate(found)
    numbers.sort()
    numbers = _no_cells(data, distinct(numbers))
    known = None
    if len(numbers):
        rows, columns = np.divmod(numbers, data.n_items)
        indptr = np.searchsorted(rows, np.arange(data.n_users + 1)).astype(np.int64, copy=False)
        lines = PairLines(indptr, columns.astype(np.int32), data.n_items)
        known = data._of(lines, data.user_labels, data.item_labels)
    return data._knowing(Known(known, _elsewhere(data, others)))


def _no_cells(data: LabelledCells, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return those of ascending pairs, as numbers user * n_items + item, that are no cells."""
    parts = [numbers[:0]]
    bounds = cut(data.indptr, RUN_CELLS)
    ends = np.searchsorted(numbers, bounds * data.n_items)
    for a, b, first, last in zip(bounds[:-1], bounds[1:], ends[:-1], ends[1:], strict=True):
        if first < last:
            indptr = data.indptr[a : b + 1]
            cells = cell_numbers(indptr, data.indices[indptr[0] : indptr[-1]], data.n_items)
            run = numbers[first:last]
            parts.append(run[~contains(cells, run - a * data.n_items)])
    return np.concatenate(parts)


def _elsewhere(data: Data, pairs: Sequence[Pairs]) -> Data | None:
    """Return pairs as interactions with labels of their own."""
    pairs = [each for each in pairs if len(each.users)]
    if not pairs:
        return None

    def column(codes: Sequence[NDArray[np.int32]], labels: Sequence[Labels]) -> Coded:
        codes, labels, _ = zip(*map(_used, codes, labels), strict=True)
        starts = np.cumsum([0, *map(len, labels)])
        values = [each.decode(np.arange(len(each))) for each in labels]
        return Coded(
            np.concatenate([part + start for part, start in zip(codes, starts, strict=False)]),
            reduce(partial(joined, "known ids"), values),
        )

    users, items, user_labels, item_labels, _ = zip(*pairs, strict=True)
    built = Builder(duplicates="last").arrays(column(users, user_labels), column(items, item_labels))
    return data._of(PairLines(*built.rows[:2], len(built.items)), built.users, built.items)


def selected(data: Data, users: NDArray[np.bool_]) -> Data:
    """Keep some users and all items, with their cells and what is known of them.

    Rows without labels keep their number as one.
    """
    items, numbers = np.ones(data.n_items, np.bool_), np.flatnonzero(users)
    labels = Labels(data.user_labels.decode(numbers), len(numbers)), data.item_labels
    cells, indptr, indices = _left(data, users, items, labels)
    lines, known = (indptr, indices, data.values[cells]), left_known(data, users, items, labels)
    kept = data._canonical(lines, None, *labels, known=known)
    kept.scoring, kept.summed = data.scoring, data.summed
    return kept


def left_known(data: Data, users: NDArray[np.bool_], items: NDArray[np.bool_], labels: tuple[Labels, Labels]) -> Known:
    """Return what is known when users and items leave: all but what is about these.

    Parameters
    ----------
    users, items : bool arrays of shape (n_users,), (n_items,)
        Who stays.
    labels : pair of Labels
        Of those who stay, or still of all, who are then rows and columns of nothing.
    """
    known, elsewhere = data._known
    if known is not None:
        _, indptr, indices = _left(known.in_memory(), users, items, labels)
        lines = PairLines(indptr, indices, len(labels[1]))
        known = data._of(lines, *labels) if len(indices) else None
    if elsewhere is not None:
        (left,) = pairs_of(elsewhere)
        stays = np.ones(len(left.users), np.bool_)
        both = (data.user_labels, users), (data.item_labels, items)
        for codes, theirs, (own, mask) in zip(left[:2], left[2:4], both, strict=True):
            places = own.places("ids", theirs)
            stays &= ((places < 0) | mask[places])[codes]
        elsewhere = _elsewhere(data, [left.where(stays)])
    return Known(known, elsewhere)


def _left(
    data: LabelledCells, users: NDArray[np.bool_], items: NDArray[np.bool_], labels: tuple[Labels, Labels]
) -> tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.int32]]:
    """Return which cells stay, and indptr and indices of them."""
    cells = np.repeat(users, np.diff(data.indptr)) & items[data.indices]
    indptr, indices = np.append(0, cells.cumsum())[data.indptr], data.indices[cells]
    if len(labels[0]) < len(users):
        indptr = np.append(indptr[:-1][users], indptr[-1])
    if len(labels[1]) < len(items):
        indices = (items.cumsum() - 1).astype(np.int32)[indices]
    return cells, indptr, indices


Grown: TypeAlias = tuple[Labels, NDArray[np.int32]]
"""Labels with new ones behind them, and which of them each label of some data is: see :meth:`Labels.grown`."""


def append(history: Data, events: Data, users: Grown, items: Grown, duplicates: str) -> Data:
    """Return the cells of both, those of ``history`` first and in its dtype, and what either knows besides."""
    threads, dtype = resolve_num_threads(), history.values.dtype
    rows = [np.repeat(np.arange(part.n_users, dtype=np.int32), np.diff(part.indptr)) for part in (history, events)]
    builder = Builder(duplicates=duplicates, dtype=dtype, num_threads=threads)
    builder.lines = tables.bucket(
        np.concatenate((rows[0], users[1][rows[1]])),
        np.concatenate((history.indices, items[1][events.indices])),
        np.concatenate((history.values, events.arrays(dtype)[2])),
        len(users[0]),
        dtype,
        threads,
    )
    merged = history._canonical(*builder.finish(dtype, users[0], items[0]))
    return knowing(merged, [*known_pairs(history), *known_pairs(events)])

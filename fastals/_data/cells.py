"""Cells of users and items with their labels, in memory or on disk: what interactions can be asked."""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from .._core import (
    AXES,
    Axis,
    DataError,
    FileFormatError,
    LabelArray,
    Tensors,
    check_choice,
    check_dtype,
    check_path,
    field,
    read_tensors,
    reading,
    resolve_num_threads,
    tables,
)
from .checks import MAX_INDEX
from .labels import Labels, decode_labels
from .lines import (
    MANIFEST,
    MARKER,
    VERSIONS,
    ArrayLines,
    Compressed,
    FileLines,
    Known,
    Lines,
    Lists,
    Numbers,
    PairLines,
)

if TYPE_CHECKING:
    from typing import Self


class StoredCells:
    """Cells in the files of a directory, both ways."""

    def __init__(self, path: str, digest: str, crc32: Mapping[str, int], lines: Mapping[Axis, FileLines]) -> None:
        self.path, self.digest = path, digest
        self._crc32, self._lines = crc32, lines

    @property
    def repeats(self) -> bool:
        """Whether a cell may be there several times."""
        return self._lines["users"].repeats

    def lines(self, axis: Axis, dtype: np.dtype[Any] | None = None) -> FileLines:
        lines = self._lines[axis]
        return lines if dtype is None or dtype == lines.dtype else lines.astype(dtype)

    def cells(self) -> Compressed:
        """Read all cells by user, and compare the checksums.

        Raises
        ------
        FileFormatError
            A file is damaged.
        """
        lines = self._lines["users"]
        indices, values, _ = lines.read(0, len(lines.indptr) - 1)
        for file, numbers in zip(lines.files, (indices, values), strict=False):
            if zlib.crc32(numbers.data) != self._crc32.get(os.path.basename(file.path)):
                raise FileFormatError(f"{file.path} is damaged: its checksum differs")
        return lines.indptr, indices, values


class Store(StoredCells):
    """Interactions in a directory, opened.

    Raises
    ------
    FileFormatError
        The directory holds none, or damaged ones.
    """

    def __init__(self, path: str) -> None:
        directory = os.path.abspath(path)
        manifest = os.path.join(directory, MANIFEST)
        if not os.path.exists(manifest):
            why = " any more: making them was interrupted" if os.path.exists(os.path.join(path, MARKER)) else ""
            raise FileFormatError(f"{path} holds no interactions{why}; from_arrays(..., on_disk={path!r}) makes them")
        with reading(manifest, "interactions"):
            content, arrays = read_tensors(manifest, "interactions", VERSIONS, mmap=False)
            n_users, n_items, n_cells = (field(content, name, int) for name in ("n_users", "n_items", "n_cells"))
            n_known = field(content, "n_known", int) if "n_known" in content else 0
            if not (min(n_users, n_items, n_cells) >= 1 and max(n_users, n_items) <= MAX_INDEX and n_known >= 0):
                raise ValueError(f"{n_users} users x {n_items} items, {n_cells} cells, {n_known} known pairs")
            dtype = field(content, "dtype", str)
            if dtype not in ("float32", "float64"):
                raise ValueError(f"its values are of type {dtype!r}, not float32 or float64")
            repeats, ones = field(content, "repeats", bool), field(content, "ones", bool)
            self.scoring: dict[str, Any] | None = field(content, "scoring", dict) or None
            self.summed = "summed" in content and field(content, "summed", bool)
            crc32, kinds = field(content, "files_crc32", dict), field(content, "labels", dict)
            sizes, tensors = {"users": n_users, "items": n_items}, Tensors(arrays)
            self.users, self.items = (decode_labels(a, field(kinds, a, str), sizes[a], tensors) for a in AXES)
            kinds_of_cells = [("", n_cells, dtype, ones, repeats)]
            if n_known:
                kinds_of_cells.append(("known_", n_known, "float32", True, False))
            indptr = {
                prefix + axis: tensors.take_offsets(f"{prefix}{axis}_indptr", sizes[axis], count).copy()
                for prefix, count, *_ in kinds_of_cells
                for axis in AXES
            }
            tensors.check_empty()
        digest = hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=16).hexdigest()
        both: list[dict[Axis, FileLines]] = []
        for prefix, count, kind, all_one, repeated in kinds_of_cells:
            lines: dict[Axis, FileLines] = {}
            for axis, other in zip(AXES, AXES[::-1], strict=True):
                name = os.path.join(directory, prefix.replace("_", ".") + axis)
                indices = Numbers(f"{name}.indices", np.int32, count)
                values = None if all_one else Numbers(f"{name}.values", kind, count)
                others = sizes[other], indices, values, np.dtype(kind)
                lines[axis] = FileLines(indptr[prefix + axis], *others, repeats=repeated)
            both.append(lines)
        super().__init__(directory, digest, crc32, both[0])
        self.known = StoredCells(directory, digest, crc32, both[1]) if n_known else None


def is_stored(path: Any) -> bool:
    """Whether a path is that of a directory with interactions."""
    return isinstance(path, str) and os.path.exists(os.path.join(path, MANIFEST))


class LabelledCells:
    """A sparse matrix of users x items in canonical form, read-only; see Interactions."""

    user_labels: Labels
    item_labels: Labels
    scoring: dict[str, Any] | None = None
    _unread: tuple[str, ...] = ()  # columns that are there where none was recognised as the values'
    summed: bool = False
    _cells: ArrayLines | FileLines
    _store: StoredCells | None = None
    _known: Known
    _derived: dict[tuple[Axis, np.dtype[Any]], ArrayLines]

    @classmethod
    def _canonical(
        cls, rows: Compressed, columns: Compressed | None, users: Labels, items: Labels, *, known: Known | None = None
    ) -> Self:
        """Trust what is given: cells by user, by item (None: made when needed), canonical and nobody else's."""
        self = cls._of(ArrayLines(rows, len(items)), users, items, known=known)
        if columns is not None:
            self._derived["items", self._cells.dtype] = ArrayLines(columns, len(users))
        return self

    @classmethod
    def _of(
        cls,
        cells: ArrayLines | FileLines,
        users: Labels,
        items: Labels,
        scoring: dict[str, Any] | None = None,
        known: Known | None = None,
        summed: bool = False,
    ) -> Self:
        self = object.__new__(cls)
        self.user_labels, self.item_labels, self.scoring, self.summed = users, items, scoring, summed
        self._cells, self._derived, self._known = cells, {}, known or Known()
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        if self._store is not None:
            return self._reopened, (self._store.path, self._store.digest, isinstance(self._store, Store))
        parts = self._cells, self.user_labels, self.item_labels, self.scoring, self._known, self.summed
        return self._of, parts, {"_unread": self._unread}

    def _knowing(self, known: Known) -> Self:
        """The same cells with other pairs known."""
        other = self._of(self._cells, self.user_labels, self.item_labels, self.scoring, known, self.summed)
        other._derived = self._derived
        return other

    @classmethod
    def _reopened(cls, path: str, digest: str, whole: bool = True) -> Self:
        data = cls.open(path)
        if data._store is None or data._store.digest != digest:
            raise FileFormatError(f"{path} holds other interactions than those that were pickled")
        found = data if whole else data.known
        assert found is not None
        return found

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """Open interactions that ``on_disk=`` has made, in this process or another one.

        They stay in their files, 16 bytes a cell (8 where all values are one); memory holds labels and where each user
        and each item begins. Models are trained on them as on any others, with the same result. What wants all cells in
        memory, as splits do, says so: :meth:`in_memory` loads them.

        They were made in bounded memory: some 300 MB, what pyarrow reads ahead of files (which it has to be there for),
        the labels, and the events of the busiest user; with up to 28 bytes of temporary files a cell. If that is
        killed, nothing half made is ever opened, and making them anew in the same directory clears it away; one that
        holds interactions already is not overwritten: delete it first. The files must stay as they are, and where they
        are, as long as these interactions or models trained on them are in use.

        Parameters
        ----------
        path : str or path-like

        Returns
        -------
        Interactions

        Raises
        ------
        FileFormatError
            There are none, or damaged ones. Reading cells later raises it too.

        Examples
        --------
        >>> import fastals, os, tempfile
        >>> directory = tempfile.TemporaryDirectory()
        >>> path = os.path.join(directory.name, "plays")
        >>> made = fastals.Interactions.from_arrays(["ann", "bob", "ann"], ["x", "x", "y"], [3, 1, 5], on_disk=path)
        >>> plays = fastals.Interactions.open(path)
        >>> plays.on_disk == path, plays.shape, plays.users.tolist()
        (True, (2, 2), ['ann', 'bob'])
        >>> plays.in_memory().matrix.toarray()
        array([[3., 5.],
               [1., 0.]], dtype=float32)
        >>> directory.cleanup()
        """
        store = Store(check_path("path", path))
        known = None
        if store.known is not None:
            known = cls._of(store.known.lines("users"), store.users, store.items)
            known._store = store.known
        self = cls._of(store.lines("users"), store.users, store.items, store.scoring, Known(known), store.summed)
        self._store = store
        return self

    @property
    def n_users(self) -> int:
        """Number of users."""
        return len(self.user_labels)

    @property
    def n_items(self) -> int:
        """Number of items."""
        return len(self.item_labels)

    @property
    def shape(self) -> tuple[int, int]:
        """(n_users, n_items)."""
        return self.n_users, self.n_items

    @property
    def nnz(self) -> int:
        """Number of stored cells."""
        return int(self._cells.indptr[-1])

    @property
    def users(self) -> LabelArray | None:
        """Labels of the users in index order, or None."""
        return self.user_labels.values

    @property
    def items(self) -> LabelArray | None:
        """Labels of the items in index order, or None."""
        return self.item_labels.values

    @property
    def known(self) -> Self | None:
        """Pairs of a user and an item that are known beside the cells, as interactions of value 1, or None.

        What scoring has dropped, or what ``known=`` names: users have had these items, so no list gives them to them,
        but no training sees them. A pair is known or a cell, never both. Users and items are those of the cells.

        Examples
        --------
        >>> import fastals
        >>> plays = fastals.Interactions.from_arrays(["ann", "bob"], ["x", "y"], known=(["bob"], ["x"]))
        >>> plays
        <Interactions: 2 users x 2 items, 2 cells and 1 known pair, float32>
        >>> plays.known.matrix.toarray()
        array([[0., 0.],
               [1., 0.]], dtype=float32)
        """
        return cast("Self | None", self._known.beside)

    @property
    def indptr(self) -> NDArray[np.int64]:
        """User u's cells are ``indptr[u]:indptr[u + 1]``; int64 of shape (n_users + 1,)."""
        return self._cells.indptr

    @property
    def indices(self) -> NDArray[np.int32]:
        """Item of each cell, ascending within a user; int32 of shape (nnz,)."""
        return self._in_memory("users").indices

    @property
    def values(self) -> NDArray[Any]:
        """Value of each cell, shape (nnz,); float32 where that loses nothing, else float64."""
        return self._in_memory("users").values

    @property
    def matrix(self) -> sparse.csr_array[Any]:
        """The users x items matrix; its arrays are read-only, ``.copy()`` it to change it."""
        matrix = sparse.csr_array((self.values, self.indices, self.indptr), shape=self.shape)
        matrix.has_sorted_indices = True
        return matrix

    def arrays(self, dtype: Any = None, *, num_threads: int | None = None) -> Compressed:
        """Return (indptr, indices, values), users as lines; a conversion to another ``dtype`` is made once.

        Examples
        --------
        >>> import fastals
        >>> plays = fastals.Interactions.from_arrays(["ann", "bob", "ann"], ["x", "x", "y"], [3, 1, 5])
        >>> [array.tolist() for array in plays.arrays("float64")]
        [[0, 2, 3], [0, 1, 0], [3.0, 5.0, 1.0]]
        """
        return self._in_memory("users", dtype, num_threads).arrays

    def transpose_arrays(self, dtype: Any = None, *, num_threads: int | None = None) -> Compressed:
        """Return (indptr, indices, values), items as lines; made once.

        Examples
        --------
        >>> import fastals
        >>> plays = fastals.Interactions.from_arrays(["ann", "bob", "ann"], ["x", "x", "y"], [3, 1, 5])
        >>> [array.tolist() for array in plays.transpose_arrays()]
        [[0, 2, 3], [0, 1, 0], [3.0, 1.0, 5.0]]
        """
        return self._in_memory("items", dtype, num_threads).arrays

    @property
    def on_disk(self) -> str | None:
        """The directory that they are in; None: they are in memory."""
        return None if self._store is None else self._store.path

    def in_memory(self) -> Self:
        """Return these interactions in memory, themselves if they are; files are compared with their checksums.

        Raises
        ------
        FileFormatError
            A file is damaged.

        Examples
        --------
        >>> import fastals
        >>> plays = fastals.Interactions.from_arrays(["ann", "bob"], ["x", "x"])
        >>> plays.in_memory() is plays
        True
        """
        if self._store is None:
            return self
        arrays = self._store.cells()
        if not isinstance(self._store, Store):
            return self._of(PairLines(*arrays[:2], self.n_items), self.user_labels, self.item_labels)
        cells, known = ArrayLines(arrays, self.n_items), Known(None if self.known is None else self.known.in_memory())
        made = self._of(cells, self.user_labels, self.item_labels, self.scoring, known, self.summed)
        made._unread = self._unread
        return made

    def lines(self, axis: Axis, dtype: Any = None, *, num_threads: int | None = None) -> Lines:
        """Return the cells of each user, or of each item, to be read some lines at a time, wherever they are.

        Parameters
        ----------
        axis : {"users", "items"}
        dtype : {None, "float32", "float64"}
            Of the values; None: as they are stored.

        Returns
        -------
        Lines
            ``indptr``, int64 of shape (n_lines + 1,), is in memory. ``read(first, last)`` gives indices, values and
            weights (None) of all cells of the lines ``first`` to ``last - 1``. ``lists(rows)``, of lines given as one
            would index an array with them, gives ``first``, ``last`` and ``others``: ``others[first[i]:last[i]]`` are
            the indices of the i-th of them. From files no more is read than that.

        Raises
        ------
        FileFormatError
            When it is read: a file has changed since it was opened, or holds what cannot be.

        Examples
        --------
        >>> import fastals
        >>> plays = fastals.Interactions.from_arrays(["ann", "bob", "ann"], ["x", "x", "y"], [3, 1, 5])
        >>> items = plays.lines("items")
        >>> items.indptr
        array([0, 2, 3])
        >>> items.read(0, 1)[1]
        array([3., 1.], dtype=float32)
        >>> lists = items.lists([1, 0])
        >>> lists.others[lists.first[0] : lists.last[0]]  # the users of item 1
        array([0], dtype=int32)
        """
        check_choice("axis", axis, AXES)
        if self._store is not None:
            return self._store.lines(axis, None if dtype is None else check_dtype("dtype", dtype))
        return self._in_memory(axis, dtype, num_threads)

    def _in_memory(self, axis: Axis, dtype: Any = None, num_threads: int | None = None) -> ArrayLines:
        cells = self._cells
        if not isinstance(cells, ArrayLines):
            raise DataError(
                f"these interactions are on disk, in {self.on_disk!r}, and this wants their {self.nnz} cells in "
                "memory: in_memory() loads them, if there is room"
            )
        own = cells.dtype
        dtype = own if dtype is None else check_dtype("dtype", dtype)
        if axis == "users" and dtype == own:
            return cells
        if (axis, dtype) not in self._derived:
            threads = resolve_num_threads(num_threads)
            if dtype == own:
                made = cells.transposed(threads)
            else:
                made = self._in_memory(axis, own, threads).astype(dtype, threads)
            self._derived[axis, dtype] = made
        return self._derived[axis, dtype]

    def __repr__(self) -> str:
        known = ""
        if self.known is not None:
            known = f" and {self.known.nnz} known pair{'s' if self.known.nnz > 1 else ''}"
        size = f"{self.n_users} users x {self.n_items} items, {self.nnz} cells{known}"
        return f"<Interactions: {size}, {self._cells.dtype}>"


# What others of the package ask, and nobody else.


def known_of(data: LabelledCells) -> Known:
    """All that is known beside the cells, for other interactions of the same users and items, and of no other cells."""
    return data._known


def manifest_digest(data: LabelledCells) -> str | None:
    """What is the same for the same interactions on disk, wherever they are; None: they are in memory."""
    return None if data._store is None else data._store.digest


def may_repeat(data: LabelledCells) -> bool:
    """Whether a cell may be stored more than once."""
    return data._store is None or data._store.repeats


def cell_arrays(data: LabelledCells, *, values: bool = False) -> list[NDArray[Any]]:
    """All that says which cells and known pairs there are, with values or not: equal for equal ones in one place."""
    if data._store is not None:
        return [np.frombuffer(data._store.digest.encode(), np.uint8)]
    known = [] if data.known is None else cell_arrays(data.known)
    return [data.indptr, data.indices, *([data.values] if values else []), *known]


def met_by(data: LabelledCells, users: Any) -> Lists:
    """Return the items that some users have met: of their cells, and those that are known beside."""
    lists = data.lines("users").lists(users)
    return lists if data.known is None else lists.joined(data.known.lines("users").lists(users))


def cells_of(data: LabelledCells, users: NDArray[Any], *, met: bool = False) -> NDArray[np.int64]:
    """Return the cells of some users as numbers user * n_items + item: ascending where the users are.

    ``met``: and the pairs that are known beside.
    """
    lists = met_by(data, users) if met else data.lines("users").lists(users)
    places, items = lists.pairs()
    numbers: NDArray[np.int64] = users[places].astype(np.int64) * data.n_items + items
    if met and data.known is not None:
        numbers.sort()
    return numbers


def ones_like(data: LabelledCells) -> Any:
    """Return the same cells, all of value 1."""
    ones = np.ones_like(data.values)
    return data._canonical((data.indptr, data.indices, ones), None, data.user_labels, data.item_labels)


def has_repeats(data: LabelledCells) -> bool:
    """Whether a cell is stored more than once."""
    return bool(
        tables.check_rows(data.indptr, data.indices, data.n_items, None, resolve_num_threads()) & tables.REPEATED
    )

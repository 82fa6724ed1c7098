"""Interactions: what users did with items, in the one form that everything else stands on."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from .._core import ArgumentTypeError, LabelArray, check_dtype, resolve_num_threads
from .builder import Builder
from .labels import Labels
from .lines import ArrayLines, Axis, Compressed
from .readers import Columns, frame_columns, read_csv, read_files
from .storage import is_single_file

SCORING = b"fastals.scoring"
"""Where a Parquet file of scores keeps the specification they were made by."""


class Interactions:
    """Who did what with which item: a sparse matrix of users x items, checked and in canonical form.

    Made by :meth:`from_arrays`, :meth:`from_matrix`, :meth:`from_frame`, :meth:`from_csv` or :meth:`from_parquet`.
    Immutable: it owns its arrays, and what it hands out is read-only.

    Attributes
    ----------
    users, items : ndarray of shape (n_users,), (n_items,), or None
        Labels in index order, which is ascending; None where rows and columns are known by index alone.
    n_users, n_items : int
    nnz : int
        Stored cells.
    scoring : dict or None
        The specification of the scores, where they come from :mod:`fastals.scoring`.

    Examples
    --------
    >>> import fastals
    >>> plays = fastals.Interactions.from_arrays(["ann", "bob", "ann"], ["x", "x", "y"], [3, 1, 5])
    >>> plays
    <Interactions: 2 users x 2 items, 3 cells, float32>
    >>> plays.users
    array(['ann', 'bob'], dtype=object)
    >>> plays.matrix.toarray()
    array([[3., 5.],
           [1., 0.]], dtype=float32)
    """

    user_labels: Labels
    item_labels: Labels
    scoring: dict[str, Any] | None = None
    _cells: ArrayLines
    _derived: dict[tuple[Axis, np.dtype[Any]], ArrayLines]

    def __init__(self) -> None:
        raise TypeError("make Interactions with from_arrays, from_matrix, from_frame, from_csv or from_parquet")

    @classmethod
    def _canonical(cls, rows: Compressed, columns: Compressed | None, users: Labels, items: Labels) -> Interactions:
        """Trust what is given: cells by user, by item (None: made when needed), canonical and nobody else's."""
        self = cls._of(ArrayLines(rows, len(items)), users, items)
        if columns is not None:
            self._derived["items", self._cells.dtype] = ArrayLines(columns, len(users))
        return self

    @classmethod
    def _of(
        cls, cells: ArrayLines, users: Labels, items: Labels, scoring: dict[str, Any] | None = None
    ) -> Interactions:
        self = object.__new__(cls)
        self.user_labels, self.item_labels, self.scoring = users, items, scoring
        self._cells, self._derived = cells, {}
        return self

    @classmethod
    def _of_columns(cls, columns: Columns, duplicates: str) -> Interactions:
        arrays, names = columns
        return cls._canonical(*Builder(duplicates=duplicates).arrays(*arrays, names=names))

    def __reduce__(self) -> tuple[Any, ...]:
        return self._of, (self._cells, self.user_labels, self.item_labels, self.scoring)

    # -- making ------------------------------------------------------------------------------------------------------

    @classmethod
    def from_arrays(
        cls, users: ArrayLike, items: ArrayLike, values: ArrayLike | None = None, *, duplicates: str = "sum"
    ) -> Interactions:
        """Make interactions of one array element per event.

        Parameters
        ----------
        users, items : array-like of shape (n,)
            Ids: integers (negative ones too), whole floats, strings, bytes or UUIDs. They are labels: users and items
            are numbered by ascending id, so ids that are just 0..n-1 keep their number.
        values : array-like of shape (n,), optional
            Ratings or counts; None: all ones.
        duplicates : {"sum", "last", "max", "mean", "error", "keep"}
            What becomes of several values for one user and item. "keep": each stays an observation of its own.

        Returns
        -------
        Interactions

        Raises
        ------
        DataError, ArgumentTypeError
            Names the position of the first element that cannot be used.

        Examples
        --------
        >>> import fastals
        >>> fastals.Interactions.from_arrays([7, 7, -1], [2, 2, 5], duplicates="sum").matrix.toarray()
        array([[0., 1.],
               [2., 0.]], dtype=float32)
        """
        return cls._canonical(*Builder(duplicates=duplicates).arrays(users, items, values))

    @classmethod
    def from_matrix(
        cls,
        matrix: Any,
        *,
        users: ArrayLike | None = None,
        items: ArrayLike | None = None,
        duplicates: str = "sum",
    ) -> Interactions:
        """Make interactions of a sparse matrix whose rows are users.

        Parameters
        ----------
        matrix : scipy.sparse matrix or array of shape (n_users, n_items)
            Any format, any index type, any real dtype. Stored zeros are cells like others, except in the formats that
            must store zeros to fill blocks and diagonals (BSR, DIA).
        users, items : array-like of shape (n_users,), (n_items,), optional
            Distinct ids of the rows and the columns. Rows and columns are put into ascending order of them.
        duplicates : {"sum", "last", "max", "mean", "error", "keep"}
            What becomes of a cell that is stored several times.

        Returns
        -------
        Interactions

        Raises
        ------
        DataError, ArgumentTypeError
            Names row and column of the first cell that cannot be used.

        Examples
        --------
        >>> import fastals
        >>> from scipy import sparse
        >>> matrix = sparse.csr_array([[0, 2], [3, 0]])
        >>> fastals.Interactions.from_matrix(matrix, items=["b", "a"]).matrix.toarray()
        array([[2., 0.],
               [0., 3.]], dtype=float32)
        """
        if not sparse.issparse(matrix):
            raise ArgumentTypeError(f"matrix must be a scipy.sparse matrix or array, got {type(matrix).__name__}")
        return cls._canonical(*Builder(duplicates=duplicates).matrix(matrix, users, items))

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        *,
        user: str | None = None,
        item: str | None = None,
        value: str | None = None,
        duplicates: str = "sum",
    ) -> Interactions:
        """Make interactions of a data frame with one row per event.

        Parameters
        ----------
        frame : pandas, polars or Arrow table, or a mapping of column names to arrays
        user, item, value : str, optional
            Names of the columns. None: a column called user, userId or user_id; item, itemId or item_id; value,
            rating, count or score, in any letter case. Without a column of values all are one.
        duplicates : {"sum", "last", "max", "mean", "error", "keep"}
            What becomes of several values for one user and item.

        Returns
        -------
        Interactions

        Raises
        ------
        DataError, ArgumentTypeError
            Names the columns there are if one is missing, and the position of the first value that cannot be used.

        Examples
        --------
        >>> import fastals
        >>> ratings = {"userId": ["ann", "bob"], "film": [7, 9], "rating": [4.5, 3]}
        >>> fastals.Interactions.from_frame(ratings, item="film")
        <Interactions: 2 users x 2 items, 2 cells, float32>
        """
        return cls._of_columns(frame_columns(frame, user, item, value), duplicates)

    @classmethod
    def from_csv(
        cls,
        path: str | os.PathLike[str],
        *,
        user: str | None = None,
        item: str | None = None,
        value: str | None = None,
        delimiter: str = ",",
        columns: Sequence[str] | None = None,
        duplicates: str = "sum",
    ) -> Interactions:
        r"""Make interactions of CSV with one line per event.

        Parameters
        ----------
        path : str or path-like, or a list of them
            UTF-8; compressed if the name ends in ".gz". With pyarrow also a directory of files, an address as hdfs://,
            s3:// or gs://, and ".bz2".
        user, item, value : str, optional
            Names of the columns, as in :meth:`from_frame`. Ids are integers if all of a column are plain ones, else
            strings: "007" and "7" differ.
        delimiter : str
            One character.
        columns : sequence of str, optional
            Names of all columns where there is no header line; needs pyarrow.
        duplicates : {"sum", "last", "max", "mean", "error", "keep"}
            What becomes of several values for one user and item.

        Returns
        -------
        Interactions

        Raises
        ------
        FileFormatError
            The file is missing, or no CSV in UTF-8.
        DataError
            Names the columns there are if one is missing, and the line of the first id or number that is none.

        Notes
        -----
        pyarrow (``pip install 'fastals[io]'``) makes this many times faster, and changes nothing else.

        Examples
        --------
        >>> import fastals, tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
        ...     print("userId,itemId,rating\nann,7,4.5\nbob,9,3", file=file, flush=True)
        ...     fastals.Interactions.from_csv(file.name)
        <Interactions: 2 users x 2 items, 2 cells, float32>
        """
        if columns is None and is_single_file(path):
            return cls._of_columns(read_csv(path, user, item, value, delimiter), duplicates)
        read, _ = read_files(path, user, item, value, format="csv", delimiter=delimiter, columns=columns)
        return cls._of_columns(read, duplicates)

    @classmethod
    def from_parquet(
        cls,
        path: str | os.PathLike[str],
        *,
        user: str | None = None,
        item: str | None = None,
        value: str | None = None,
        duplicates: str = "sum",
    ) -> Interactions:
        """Make interactions of Parquet with one row per event; needs ``pip install 'fastals[io]'``.

        Parameters
        ----------
        path : str or path-like, or a list of them
            A file or a directory (hive-partitioned too), local or an address as hdfs://, s3:// or gs://.
        user, item, value : str, optional
            Names of the columns, as in :meth:`from_frame`.
        duplicates : {"sum", "last", "max", "mean", "error", "keep"}
            What becomes of several values for one user and item.

        Returns
        -------
        Interactions

        Raises
        ------
        FileFormatError, DataError, MissingDependencyError

        Examples
        --------
        >>> import fastals, pyarrow, pyarrow.parquet, tempfile
        >>> table = pyarrow.table({"user": ["ann", "bob"], "item": [7, 9]})
        >>> with tempfile.NamedTemporaryFile(suffix=".parquet") as file:
        ...     pyarrow.parquet.write_table(table, file.name)
        ...     fastals.Interactions.from_parquet(file.name)
        <Interactions: 2 users x 2 items, 2 cells, float32>
        """
        columns, metadata = read_files(path, user, item, value, format="parquet")
        data = cls._of_columns(columns, duplicates)
        if SCORING in metadata:
            data.scoring = json.loads(metadata[SCORING])
        return data

    @classmethod
    def from_json(
        cls,
        path: str | os.PathLike[str],
        *,
        user: str | None = None,
        item: str | None = None,
        value: str | None = None,
        duplicates: str = "sum",
    ) -> Interactions:
        r"""Make interactions of JSON lines, one object per event; needs ``pip install 'fastals[io]'``.

        Parameters
        ----------
        path : str or path-like, or a list of them
            A file (compressed if its name says so) or a directory, local or an address as hdfs://, s3:// or gs://.
        user, item, value : str, optional
            Names of the fields, as in :meth:`from_frame`.
        duplicates : {"sum", "last", "max", "mean", "error", "keep"}
            What becomes of several values for one user and item.

        Returns
        -------
        Interactions

        Raises
        ------
        FileFormatError, DataError, MissingDependencyError

        Examples
        --------
        >>> import fastals, tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        ...     print('{"user": "ann", "item": 7}\n{"user": "bob", "item": 9}', file=file, flush=True)
        ...     fastals.Interactions.from_json(file.name)
        <Interactions: 2 users x 2 items, 2 cells, float32>
        """
        read, _ = read_files(path, user, item, value, format="json")
        return cls._of_columns(read, duplicates)

    # -- reading -----------------------------------------------------------------------------------------------------

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
    def indptr(self) -> NDArray[np.int64]:
        """User u's cells are ``indptr[u]:indptr[u + 1]``; int64 of shape (n_users + 1,)."""
        return self._cells.indptr

    @property
    def indices(self) -> NDArray[np.int32]:
        """Item of each cell, ascending within a user; int32 of shape (nnz,)."""
        return self._cells.indices

    @property
    def values(self) -> NDArray[Any]:
        """Value of each cell, shape (nnz,); float32 where that loses nothing, else float64."""
        return self._cells.values

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

    def _in_memory(self, axis: Axis, dtype: Any, num_threads: int | None) -> ArrayLines:
        own = self._cells.dtype
        dtype = own if dtype is None else check_dtype("dtype", dtype)
        if axis == "users" and dtype == own:
            return self._cells
        if (axis, dtype) not in self._derived:
            if dtype == own:
                made = self._cells.transposed(resolve_num_threads(num_threads))
            else:
                made = self._in_memory(axis, own, num_threads).astype(dtype, resolve_num_threads(num_threads))
            self._derived[axis, dtype] = made
        return self._derived[axis, dtype]

    def __repr__(self) -> str:
        return f"<Interactions: {self.n_users} users x {self.n_items} items, {self.nnz} cells, {self.values.dtype}>"

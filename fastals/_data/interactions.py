"""Interactions: what users did with items, in the one form that everything else stands on."""

import json
import os
from collections.abc import Sequence
from copy import copy
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from .._core import (
    ArgumentTypeError,
    LabelArray,
    check_choice,
    check_dtype,
    check_same_length,
    check_values,
    check_vector,
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
    check_line_labels,
    check_matrix_values,
    check_not_empty,
    check_sample_weight,
    check_shape,
    check_weight_count,
    check_weighted_format,
    refuse_cell_value,
    refuse_huge,
    refuse_index,
    refuse_line_value,
    refuse_overflow,
    refuse_repeat,
)
from .labels import Coded, Labels, Text, factorize
from .readers import Columns, frame_columns, is_frame, read_csv, read_files
from .storage import is_single_file

DUPLICATES = ("sum", "last", "max", "mean", "error", "keep")
"""What becomes of several values for one user and item; "keep": each stays an observation of its own."""

NAMES = ("users", "items", "values")

SCORING = b"fastals.scoring"
"""Where a Parquet file of scores keeps the specification they were made by."""

Compressed: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[Any]]
"""(indptr, indices, values): lines, which are users or items, and what they hold."""


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

    _rows: Compressed
    _columns: Compressed | None
    _converted: "dict[tuple[str, np.dtype[Any]], NDArray[Any]]"
    user_labels: Labels
    item_labels: Labels
    scoring: dict[str, Any] | None = None

    def __init__(self) -> None:
        raise TypeError("make Interactions with from_arrays, from_matrix, from_frame, from_csv or from_parquet")

    @classmethod
    def _canonical(cls, rows: Compressed, columns: Compressed | None, users: Labels, items: Labels) -> "Interactions":
        """Trust what is given: cells by user, by item (None: made when needed), canonical and nobody else's."""
        self = object.__new__(cls)
        self._rows, self._columns = _read_only(rows), None if columns is None else _read_only(columns)
        self._converted = {}
        self.user_labels, self.item_labels = users, items
        return self

    # -- making ------------------------------------------------------------------------------------------------------

    @classmethod
    def from_arrays(
        cls, users: ArrayLike, items: ArrayLike, values: ArrayLike | None = None, *, duplicates: str = "sum"
    ) -> "Interactions":
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
        return as_interactions((users, items) if values is None else (users, items, values), duplicates=duplicates)

    @classmethod
    def from_matrix(
        cls,
        matrix: Any,
        *,
        users: ArrayLike | None = None,
        items: ArrayLike | None = None,
        duplicates: str = "sum",
    ) -> "Interactions":
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
        return _Builder(duplicates=duplicates).matrix(matrix, users, items)

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        *,
        user: str | None = None,
        item: str | None = None,
        value: str | None = None,
        duplicates: str = "sum",
    ) -> "Interactions":
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
        return _Builder(duplicates=duplicates).columns(frame_columns(frame, user, item, value))

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
    ) -> "Interactions":
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
        builder = _Builder(duplicates=duplicates)
        if columns is None and is_single_file(path):
            return builder.columns(read_csv(path, user, item, value, delimiter))
        read, _ = read_files(path, user, item, value, format="csv", delimiter=delimiter, columns=columns)
        return builder.columns(read)

    @classmethod
    def from_parquet(
        cls,
        path: str | os.PathLike[str],
        *,
        user: str | None = None,
        item: str | None = None,
        value: str | None = None,
        duplicates: str = "sum",
    ) -> "Interactions":
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
        data = _Builder(duplicates=duplicates).columns(columns)
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
    ) -> "Interactions":
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
        return _Builder(duplicates=duplicates).columns(read_files(path, user, item, value, format="json")[0])

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
        return len(self._rows[1])

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
        return self._rows[0]

    @property
    def indices(self) -> NDArray[np.int32]:
        """Item of each cell, ascending within a user; int32 of shape (nnz,)."""
        return self._rows[1]

    @property
    def values(self) -> NDArray[Any]:
        """Value of each cell, shape (nnz,); float32 where that loses nothing, else float64."""
        return self._rows[2]

    @property
    def matrix(self) -> "sparse.csr_array[Any]":
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
        return self._in_dtype("rows", self._rows, dtype, num_threads)

    def transpose_arrays(self, dtype: Any = None, *, num_threads: int | None = None) -> Compressed:
        """Return (indptr, indices, values), items as lines; made once.

        Examples
        --------
        >>> import fastals
        >>> plays = fastals.Interactions.from_arrays(["ann", "bob", "ann"], ["x", "x", "y"], [3, 1, 5])
        >>> [array.tolist() for array in plays.transpose_arrays()]
        [[0, 2, 3], [0, 1, 0], [3.0, 1.0, 5.0]]
        """
        if self._columns is None:
            threads = resolve_num_threads(num_threads)
            indptr, indices, values = self._rows
            # equal values are equal in any order: no need for a second array of them
            equal = len(values) > 0 and values.min() == values.max()
            turned = tables.transpose(indptr, indices, None if equal else values, self.n_items, values.dtype, threads)
            self._columns = _read_only((*turned[:2], values) if equal else turned)
        return self._in_dtype("columns", self._columns, dtype, num_threads)

    def _in_dtype(self, side: str, arrays: Compressed, dtype: Any, num_threads: int | None) -> Compressed:
        indptr, indices, values = arrays
        dtype = values.dtype if dtype is None else check_dtype("dtype", dtype)
        if dtype == values.dtype:
            return arrays
        if (side, dtype) not in self._converted:
            threads = resolve_num_threads(num_threads)
            if dtype == np.float32 and tables.check_values(values, threads) & tables.HUGE:
                refuse_huge()
            converted = tables.copy_values(values, dtype, threads)
            converted.flags.writeable = False
            self._converted[side, dtype] = converted
        return indptr, indices, self._converted[side, dtype]

    def __repr__(self) -> str:
        return f"<Interactions: {self.n_users} users x {self.n_items} items, {self.nnz} cells, {self.values.dtype}>"


def as_interactions(
    data: Any,
    *,
    duplicates: str = "sum",
    dtype: Any = None,
    num_threads: int | None = None,
    users: Labels | None = None,
    items: Labels | None = None,
) -> Interactions:
    """Return any accepted data as interactions.

    Parameters
    ----------
    data : Interactions, scipy.sparse matrix, tuple of arrays (users, items[, values]), or data frame
    duplicates : str
        One of DUPLICATES; Interactions are returned as they are.
    dtype : {None, "float32", "float64"}
        Of the stored values; None: float32 where that loses nothing, else float64.
    users, items : Labels, optional
        Those of a model, to which the data are to belong: a matrix must have as many rows or columns; events of labels
        that are not among them are left out, indices that are not are an error. The data may then be empty.
    """
    builder = _Builder(duplicates=duplicates, dtype=dtype, num_threads=num_threads, users=users, items=items)
    if isinstance(data, Interactions):
        return data if users is None and items is None else builder.interactions(data)
    if sparse.issparse(data):
        return builder.matrix(data)
    if isinstance(data, tuple) and len(data) in (2, 3):
        return builder.arrays(*data)
    if is_frame(data):
        return builder.columns(frame_columns(data, None, None, None))
    raise ArgumentTypeError(
        "data must be fastals.Interactions, a scipy.sparse matrix (rows are users), a tuple of arrays (users, items) "
        f"or (users, items, values), or a data frame, got {_describe(data)}"
    )


Grown: TypeAlias = tuple[Labels, NDArray[np.int32]]
"""Labels with new ones behind them, and which of them each label of some data is: see :meth:`Labels.grown`."""


def append(history: Interactions, events: Interactions, users: Grown, items: Grown, duplicates: str) -> Interactions:
    """Return the cells of both, those of ``history`` first and in its dtype."""
    threads, dtype = resolve_num_threads(), history.values.dtype
    rows = [np.repeat(np.arange(part.n_users, dtype=np.int32), np.diff(part.indptr)) for part in (history, events)]
    builder = _Builder(duplicates=duplicates, dtype=dtype, num_threads=threads)
    builder.lines = tables.bucket(
        np.concatenate((rows[0], users[1][rows[1]])),
        np.concatenate((history.indices, items[1][events.indices])),
        np.concatenate((history.values, events.arrays(dtype)[2])),
        len(users[0]),
        dtype,
        threads,
    )
    return builder._finish(dtype, users[0], items[0])


def ones_like(data: Interactions) -> Interactions:
    """Return the same cells, all of value 1."""
    ones = np.ones_like(data.values)
    return Interactions._canonical((data.indptr, data.indices, ones), None, data.user_labels, data.item_labels)


def has_repeats(data: Interactions) -> bool:
    """Whether a cell is stored more than once."""
    return bool(
        tables.check_rows(data.indptr, data.indices, data.n_items, None, resolve_num_threads()) & tables.REPEATED
    )


def as_observations(
    data: Any, sample_weight: Any, *, duplicates: str = "sum", **options: Any
) -> tuple[Interactions, Interactions | None]:
    """Return the interactions, and a twin with the weight of each cell as its value; None without weights.

    A weight belongs to one observation: with weights, repeated cells stay apart ("keep") or are an error ("error").

    Parameters
    ----------
    data, duplicates, options : as for as_interactions
    sample_weight : array of shape (n,), optional
        One finite number >= 0 for each event, for each row of a frame, for each element of a CSR, CSC or COO matrix'
        ``data``, or for each of Interactions' ``values``.
    """
    if sample_weight is None:
        return as_interactions(data, duplicates=duplicates, **options), None
    weights = check_sample_weight(sample_weight)
    twin: Any = None
    if isinstance(data, Interactions):
        n = data.nnz
        twin = (data.indptr, data.indices, weights)
    elif sparse.issparse(data):
        check_weighted_format(data)
        twin = copy(data)
        n, twin.data = len(twin.data), weights
    elif isinstance(data, tuple) and len(data) in (2, 3):
        n, twin = len(data[0]), (*data[:2], weights)
    elif is_frame(data):
        data = tuple(column for column in frame_columns(data, None, None, None)[0] if column is not None)
        n, twin = len(data[0]), (*data[:2], weights)
    if twin is not None:
        check_weight_count(len(weights), n)
    if isinstance(data, Interactions):
        twin = Interactions._canonical(twin, None, data.user_labels, data.item_labels)
    policy = "error" if duplicates == "error" else "keep"
    return as_interactions(data, duplicates=policy, **options), as_interactions(twin, duplicates=policy, **options)


def _known_cells(
    users: NDArray[np.int32], items: NDArray[np.int32], values: NDArray[Any] | None
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[Any] | None]:
    known = (users >= 0) & (items >= 0)
    if known.all():
        return users, items, values
    return users[known], items[known], None if values is None else values[known]


def _read_only(arrays: Compressed) -> Compressed:
    for array in arrays:
        array.flags.writeable = False
    return arrays


def _describe(data: object) -> str:
    if isinstance(data, np.ndarray):
        return f"a dense array of shape {data.shape}: where zeros mean 'no cell', pass scipy.sparse.csr_array(data)"
    if isinstance(data, tuple):
        return f"a tuple of {len(data)}"
    return type(data).__name__


class _Builder:
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
    ) -> None:
        self.duplicates = check_choice("duplicates", duplicates, DUPLICATES)
        self.dtype = None if dtype is None else check_dtype("dtype", dtype)
        self.threads = resolve_num_threads(num_threads)
        self.known_users, self.known_items = users, items
        self.all_new = users is None and items is None
        self.lines: Compressed

    def arrays(self, users: Any, items: Any, values: Any = None, names: Sequence[str] = NAMES) -> Interactions:
        """One element per event; users and items are labels. ``names`` are what messages call the three."""
        users, items = (
            ids if isinstance(ids, Text | Coded) else check_vector(name, ids)
            for name, ids in zip(names, (users, items), strict=False)
        )
        values = None if values is None else check_values(names[2], values)
        check_same_length(dict(zip(names, (users, items, values), strict=True)))
        flags = self._value_flags(values)
        if flags & tables.NOT_FINITE:
            refuse_value(names[2], values)
        dtype = self._stored_dtype(flags)
        user_indices, user_labels = self._encode(names[0], users, self.known_users)
        item_indices, item_labels = self._encode(names[1], items, self.known_items)
        if not self.all_new:
            user_indices, item_indices, values = _known_cells(user_indices, item_indices, values)
        self.lines = tables.bucket(user_indices, item_indices, values, len(user_labels), dtype, self.threads)
        del users, items, values, user_indices, item_indices
        return self._finish(dtype, user_labels, item_labels)

    def columns(self, columns: Columns) -> Interactions:
        """One row per event, from a frame or a file."""
        arrays, names = columns
        return self.arrays(*arrays, names=names)

    def interactions(self, data: Interactions) -> Interactions:
        """Interactions, in terms of the known users or items."""
        self.duplicates = "keep"
        check_known_shape(
            data.shape,
            self.known_users if data.users is None else None,
            self.known_items if data.items is None else None,
        )
        users = np.repeat(np.arange(data.n_users, dtype=np.int32), np.diff(data.indptr))
        user_indices, user_labels = self._translate("users", data.user_labels, users, self.known_users)
        item_indices, item_labels = self._translate("items", data.item_labels, data.indices, self.known_items)
        user_indices, item_indices, values = _known_cells(user_indices, item_indices, data.values)
        dtype = self._stored_dtype(self._value_flags(values))
        self.lines = tables.bucket(user_indices, item_indices, values, len(user_labels), dtype, self.threads)
        return self._finish(dtype, user_labels, item_labels)

    def matrix(self, matrix: Any, users: Any = None, items: Any = None) -> Interactions:
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
        if users is not None:
            user_indices, user_labels = self._relabel("users", users, user_indices, n_users)
        if items is not None:
            item_indices, item_labels = self._relabel("items", items, item_indices, n_items)
        self.lines = tables.bucket(user_indices, item_indices, values, n_users, dtype, self.threads)
        del values, user_indices, item_indices
        return self._finish(dtype, user_labels, item_labels)

    def _compressed(self, matrix: Any) -> Interactions:
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
        return self._finish(dtype, users, items, by_item=by_item, order=order)

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

    def _relabel(self, name: str, ids: Any, indices: NDArray[np.int32], size: int) -> tuple[NDArray[np.int32], Labels]:
        """Renumber a matrix' rows or columns in the order of their labels ``ids``."""
        rank, labels = factorize(name, ids, self.threads)
        check_line_labels(name, len(rank), len(labels), size)
        return rank[indices], labels

    def _value_flags(self, values: NDArray[Any] | None) -> int:
        return 0 if values is None else int(tables.check_values(values, self.threads))

    def _stored_dtype(self, flags: int) -> "np.dtype[Any]":
        if self.dtype is None:
            return np.dtype(np.float64 if flags & tables.INEXACT else np.float32)
        if self.dtype == np.float32 and flags & tables.HUGE:
            refuse_huge()
        return self.dtype

    def _is_canonical(self, order: int) -> bool:
        return not order & tables.UNSORTED and (not order & tables.REPEATED or self.duplicates == "keep")

    def _finish(
        self, dtype: "np.dtype[Any]", users: Labels, items: Labels, *, by_item: bool = False, order: int | None = None
    ) -> Interactions:
        """Make the lines canonical (``by_item``: they are items) and everybody's.

        Values may still be the caller's only where the lines are not canonical, which ``order`` says if known.
        """
        n_lines, size = (len(items), len(users)) if by_item else (len(users), len(items))
        if self.all_new:
            check_not_empty(len(users), len(items), len(self.lines[1]))
        if order is None:
            order = tables.check_rows(*self.lines[:2], size, None, self.threads)
        turned: Compressed | None = None
        if not self._is_canonical(order):
            self.lines = tables.transpose(*self.lines, size, dtype, self.threads)
            if self.duplicates != "keep":
                dtype = self._merge(dtype, users, items, not by_item)
            turned = self.lines
            self.lines = tables.transpose(*turned, n_lines, dtype, self.threads)
        if self.lines[2] is None:
            ones = np.ones(len(self.lines[1]), dtype)
            self.lines = *self.lines[:2], ones
            turned = turned and (*turned[:2], ones)
        if not by_item:
            return Interactions._canonical(self.lines, turned, users, items)
        if turned is None:
            turned = tables.transpose(*self.lines, len(users), dtype, self.threads)
        return Interactions._canonical(turned, self.lines, users, items)

    def _merge(self, dtype: "np.dtype[Any]", users: Labels, items: Labels, by_item: bool) -> "np.dtype[Any]":
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
        dtype = self._stored_dtype(flags)
        merged = tables.merge_rows(indptr, indices, values, policy, distinct, dtype, self.threads)
        self.lines = distinct, *merged
        return dtype

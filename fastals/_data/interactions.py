"""Interactions: what users did with items, in the one form that everything else stands on."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from copy import copy
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from .._core import ArgumentTypeError, DataError
from .builder import Builder, Pairs, id_pairs, known_pairs, pairs_of
from .cells import LabelledCells
from .checks import check_sample_weight, check_weight_count, check_weighted_format, refuse_sums, refuse_unread
from .columns import NAMES, Rows
from .frames import Columns, array_rows, as_ids, describe_data, event_columns, frame_columns, is_frame, unread_columns
from .labels import Labels, declared
from .lines import Compressed, Known, PairLines
from .readers import FromFiles


class Interactions(FromFiles, LabelledCells):
    """Who did what with which item: a sparse matrix of users x items, checked and in canonical form.

    Made by :meth:`from_arrays`, :meth:`from_matrix`, :meth:`from_frame`, :meth:`from_csv`, :meth:`from_parquet` or
    :meth:`from_json`, in memory or on disk, where :meth:`open` finds them again. Immutable: it owns its arrays, and
    what it hands out is read-only.

    Attributes
    ----------
    users, items : ndarray of shape (n_users,), (n_items,), or None
        Labels in index order, which is ascending; None where rows and columns are known by index alone.
    n_users, n_items : int
    nnz : int
        Stored cells.
    known : Interactions or None
        Pairs that users have met without a cell; training does not see them, lists leave them out.
    scoring : dict or None
        The specification of the scores, where they come from :mod:`fastals.scoring`.
    bad_rows : BadRows or None
        What was passed over where they were read from files with ``on_bad_rows="skip"``.
    summed : bool
        Whether values, not all of them 1, were added up (``duplicates="sum"``); models of ratings refuse such cells.

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

    def __init__(self) -> None:
        raise TypeError("make Interactions with from_arrays, from_matrix, from_frame, from_csv, from_parquet or open")

    @classmethod
    def _of_columns(
        cls,
        columns: Columns,
        duplicates: str,
        on_disk: Any = None,
        known: Any = None,
        ids: str = "auto",
        **options: Any,
    ) -> Interactions:
        ((users, items, values), names), builder = columns, Builder(duplicates=duplicates, **options)
        arrays = declared(names[0], users, ids), declared(names[1], items, ids), values
        pairs = given_pairs(known, ids=ids)
        if on_disk is not None:
            from .store import store_rows  # not every program makes any

            return cls.open(store_rows(on_disk, array_rows((arrays, names)), names, builder, known=pairs))
        return builder.made(cls, builder.arrays(*arrays, names=names), pairs)

    @classmethod
    def _of_rows(
        cls,
        rows: Iterator[Rows],
        names: Sequence[str],
        duplicates: str,
        on_disk: Any,
        *,
        scoring: Any,
        unscored: bool,
        summed: bool,
    ) -> Interactions:
        from .store import store_rows

        builder = Builder(duplicates=duplicates, unscored=unscored)
        builder.added = builder.varied = summed
        return cls.open(store_rows(on_disk, rows, names, builder, scoring=scoring))

    # -- making ------------------------------------------------------------------------------------------------------

    @classmethod
    def from_arrays(
        cls,
        users: ArrayLike,
        items: ArrayLike,
        values: ArrayLike | None = None,
        *,
        known: Any = None,
        ids: Literal["auto", "text", "integer"] = "auto",
        duplicates: str = "sum",
        on_disk: str | os.PathLike[str] | None = None,
    ) -> Interactions:
        """Make interactions of one array element per event.

        Parameters
        ----------
        users, items : array-like of shape (n,)
            Ids, all of one kind: integers (of 64 bits, negative ones too), floats and decimals of whole value, strings,
            bytes or UUIDs; in lists, NumPy, Arrow, or columns of pandas and polars, categorical ones too. They are
            labels: users and items are numbered by ascending id, so ids that are just 0..n-1 keep their number.
        values : array-like of shape (n,), optional
            Ratings or counts; None: all ones.
        known : (users, items), data frame or Interactions, optional
            Pairs that users have met though they are no events to train on, such as what they disliked: see
            :attr:`known`. Ids of the same kinds; those that are also events are events. What is known of users or
            items without an event waits until :meth:`~ImplicitALS.partial_fit` brings some (in memory).
        ids : {"auto", "text", "integer"}
            What they are to be: "text" takes whole numbers as their decimal form, "integer" strings that are such as
            what they write, and refuses others; "auto": what they are.
        duplicates : {"sum", "last", "max", "mean", "error", "keep"}
            What becomes of several values for one user and item. "keep": each stays an observation of its own.
        on_disk : path, optional
            A new or empty directory, where they are made instead of in memory: see :meth:`open`.

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
        return cls._of_columns(((users, items, values), NAMES), duplicates, on_disk, known, ids)

    @classmethod
    def from_matrix(
        cls,
        matrix: Any,
        *,
        users: ArrayLike | None = None,
        items: ArrayLike | None = None,
        known: Any = None,
        duplicates: str = "sum",
        on_disk: str | os.PathLike[str] | None = None,
    ) -> Interactions:
        """Make interactions of a sparse matrix whose rows are users.

        Parameters
        ----------
        matrix : scipy.sparse matrix or array of shape (n_users, n_items)
            Any format, any index type, any real dtype. Stored zeros are cells like others, except in the formats that
            must store zeros to fill blocks and diagonals (BSR, DIA).
        users, items : array-like of shape (n_users,), (n_items,), optional
            Distinct ids of the rows and the columns. Rows and columns are put into ascending order of them.
        known : (users, items), sparse matrix of the same shape or Interactions, optional
            As in :meth:`from_arrays`; a matrix' stored cells, whose rows and columns are in the order of ``matrix``.
        duplicates : {"sum", "last", "max", "mean", "error", "keep"}
            What becomes of a cell that is stored several times.
        on_disk : path, optional
            A new or empty directory, where they are made instead of in memory: see :meth:`open`.

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
        builder, pairs = Builder(duplicates=duplicates), given_pairs(known, matrix, users, items)
        if on_disk is not None:
            from .store import store_matrix

            return cls.open(store_matrix(on_disk, matrix, users, items, builder, known=pairs))
        return builder.made(cls, builder.matrix(matrix, users, items), pairs)

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        *,
        user: str | None = None,
        item: str | None = None,
        value: str | None = None,
        known: Any = None,
        ids: Literal["auto", "text", "integer"] = "auto",
        duplicates: str = "sum",
        on_disk: str | os.PathLike[str] | None = None,
    ) -> Interactions:
        """Make interactions of a data frame with one row per event.

        Parameters
        ----------
        frame : pandas, polars or Arrow table, or a mapping of column names to arrays
        user, item, value : str, optional
            Names of the columns, which alone are read. None: a column called user, userId or user_id; item, itemId or
            item_id; value, rating, count or score, in any letter case. Without a column of values all are one; but a
            single further column of numbers that may be it, called "stars" or "plays", must be named, or ``value=""``
            say that every row counts one. Times and ids ("timestamp", "session_id") are no values.
        known : data frame with the same two columns, (users, items) or Interactions, optional
            As in :meth:`from_arrays`.
        ids, duplicates, on_disk : optional
            As for :meth:`from_arrays`.

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
        known = frame_columns(known, user, item, "")[0][:2] if is_frame(known) else known
        data = cls._of_columns(frame_columns(frame, user, item, value), duplicates, on_disk, known, ids)
        data._unread = unread_columns(frame, user, item, value)
        return data


def trusted(
    rows: Compressed, columns: Compressed | None, users: Labels, items: Labels, *, known: Known | None = None
) -> Interactions:
    """Return interactions of cells by user, by item (None: made when needed), which are canonical and nobody else's."""
    return Interactions._canonical(rows, columns, users, items, known=known)


def of_pairs(indptr: NDArray[np.int64], indices: NDArray[np.int32], users: Labels, items: Labels) -> Interactions:
    """Return interactions of value 1, which take 4 bytes a pair, as known pairs are held; trusted likewise."""
    return Interactions._of(PairLines(indptr, indices, len(items)), users, items)


def given_pairs(known: Any, matrix: Any = None, users: Any = None, items: Any = None, ids: str = "auto") -> list[Pairs]:
    """Return what a caller gives as known pairs; ``users`` and ``items`` are ids of ``matrix``' rows and columns."""
    if known is None:
        return []
    if isinstance(known, Interactions):
        return [*pairs_of(known), *known_pairs(known)]
    if bool(sparse.issparse(known)):  # SciPy's stubs know no shape of what this narrows
        if matrix is not None and known.shape != matrix.shape:
            raise DataError(f"known must have the matrix' shape {matrix.shape}, got {known.shape}")
        return pairs_of(Interactions.from_matrix(known, users=users, items=items, duplicates="last"))
    known = frame_columns(known, None, None, "")[0][:2] if is_frame(known) else known
    if not isinstance(known, tuple) or len(known) != 2:
        raise ArgumentTypeError(f"known must be a pair of arrays (users, items), got {describe_data(known)}")
    return [id_pairs(declared("known users", known[0], ids), declared("known items", known[1], ids))]


def as_interactions(
    data: Any,
    *,
    duplicates: str = "sum",
    ratings: bool = False,
    dtype: Any = None,
    num_threads: int | None = None,
    users: Labels | None = None,
    items: Labels | None = None,
    unscored: bool = False,
) -> Interactions:
    """Return any accepted data as interactions.

    Parameters
    ----------
    data : Interactions, scipy.sparse matrix, or what event_columns takes
    duplicates : str
        One of DUPLICATES; Interactions are returned as they are.
    ratings : bool
        The values are to be ratings: refused are interactions of which some were added up, and such as are all one
        because no column was recognised as theirs.
    dtype : {None, "float32", "float64"}
        Of the stored values; None: float32 where that loses nothing, else float64.
    users, items : Labels, optional
        Those of a model, to which the data are to belong: a matrix must have as many rows or columns; events of labels
        that are not among them are left out, indices that are not are an error. The data may then be empty.
    unscored : bool
        In arrays a value of NaN is none, and its pair no cell but known.
    """
    builder = Builder(
        duplicates=duplicates, dtype=dtype, num_threads=num_threads, users=users, items=items, unscored=unscored
    )
    pairs: list[Pairs] = []
    unread = data._unread if isinstance(data, Interactions) else unread_columns(data, None, None, None)
    if ratings:
        refuse_unread(unread)
    if isinstance(data, Interactions):
        if ratings and data.summed:
            refuse_sums(data.scoring is not None)
        if users is None and items is None:
            return data
        builder.added = builder.varied = data.summed
        built, pairs = builder.cells(data.arrays(), data.user_labels, data.item_labels), known_pairs(data)
    elif sparse.issparse(data):
        built = builder.matrix(data)
    else:
        arrays, names = event_columns(data)
        built = builder.arrays(*arrays, names=names)
    made = builder.made(Interactions, built, pairs)
    made._unread = unread
    return made


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
    twin: Any
    if isinstance(data, Interactions):
        n, twin = data.nnz, None
    elif sparse.issparse(data):
        check_weighted_format(data)
        twin = copy(data)
        n, twin.data = len(twin.data), weights
    else:
        (users, items, values), names = event_columns(data)
        if options.get("ratings"):
            refuse_unread(unread_columns(data, None, None, None))
        users, items = as_ids(names[0], users), as_ids(names[1], items)
        n, data, twin = len(users), (users, items, values), (users, items, weights)
    check_weight_count(len(weights), n)
    if isinstance(data, Interactions):
        twin = Interactions._canonical((data.indptr, data.indices, weights), None, data.user_labels, data.item_labels)
    policy = "error" if duplicates == "error" else "keep"
    return as_interactions(data, duplicates=policy, **options), as_interactions(twin, duplicates=policy, **options)

"""Whatever is accepted as interactions, and interactions made of others."""

from __future__ import annotations

from copy import copy
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from .._core import ArgumentTypeError, resolve_num_threads, tables
from .builder import Builder
from .checks import check_sample_weight, check_weight_count, check_weighted_format
from .interactions import Interactions
from .labels import Labels
from .readers import frame_columns, is_frame


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
    builder = Builder(duplicates=duplicates, dtype=dtype, num_threads=num_threads, users=users, items=items)
    if isinstance(data, Interactions):
        if users is None and items is None:
            return data
        built = builder.cells(data.arrays(), data.user_labels, data.item_labels)
    elif sparse.issparse(data):
        built = builder.matrix(data)
    elif isinstance(data, tuple) and len(data) in (2, 3):
        built = builder.arrays(*data)
    elif is_frame(data):
        arrays, names = frame_columns(data, None, None, None)
        built = builder.arrays(*arrays, names=names)
    else:
        raise ArgumentTypeError(
            "data must be fastals.Interactions, a scipy.sparse matrix (rows are users), a tuple of arrays (users, "
            f"items) or (users, items, values), or a data frame, got {_describe(data)}"
        )
    return Interactions._canonical(*built)


Grown: TypeAlias = tuple[Labels, NDArray[np.int32]]
"""Labels with new ones behind them, and which of them each label of some data is: see :meth:`Labels.grown`."""


def append(history: Interactions, events: Interactions, users: Grown, items: Grown, duplicates: str) -> Interactions:
    """Return the cells of both, those of ``history`` first and in its dtype."""
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
    return Interactions._canonical(*builder.finish(dtype, users[0], items[0]))


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


def _describe(data: object) -> str:
    if isinstance(data, np.ndarray):
        return f"a dense array of shape {data.shape}: where zeros mean 'no cell', pass scipy.sparse.csr_array(data)"
    if isinstance(data, tuple):
        return f"a tuple of {len(data)}"
    return type(data).__name__

"""The factors for an index of nearest neighbours: as arrays, in files, in Redis."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from .._core import LabelArray, ParameterError, check_choice, check_int
from .._topn import FactorFitted, Recommender
from ._lists import fingerprint
from ._resp import Layout, keys_of

if TYPE_CHECKING:
    from .._data import Labels

Metric = Literal["inner_product", "l2", "cosine"]
METRICS = get_args(Metric)

DISTANCES = {"inner_product": b"IP", "l2": b"L2", "cosine": b"COSINE"}
"""What Redis search calls the metrics."""


class VectorBatch(NamedTuple):
    """Some items, and their vectors of shape (m, dim); all below ``done``."""

    rows: NDArray[np.int32]
    vectors: NDArray[np.float32]
    done: int


class Vectors:
    """The items' factors for a metric, of some items or of all.

    Parameters
    ----------
    model : fitted model
    metric : str
    candidates : int32 array, optional
        The only items, ascending.
    batch_size : int
        Items of a batch.
    """

    def __init__(
        self, model: Any, metric: str, *, candidates: NDArray[np.int32] | None = None, batch_size: int = 8192
    ) -> None:
        self.state = _with_factors(model)
        self.metric = check_choice("metric", metric, METRICS)
        self.items: Labels = self.state.items
        self.rows = np.arange(len(self.items), dtype=np.int32) if candidates is None else candidates
        self.batch_size = check_int("batch_size", batch_size, low=1)
        Y: NDArray[Any] = self.state.scoring_factors[1][self.rows]
        if metric != "inner_product":
            squares = np.einsum("ij,ij->i", Y, Y, dtype=np.float64)
            largest = squares.max()
            Y = np.column_stack([Y, np.sqrt(largest - squares)])
            if metric == "cosine" and largest > 0:
                Y /= np.sqrt(largest)
        self.matrix: NDArray[np.float32] = np.ascontiguousarray(Y, np.float32)
        self.dim = self.matrix.shape[1]

    @property
    def size(self) -> int:
        """How many vectors there are."""
        return len(self.rows)

    def labels(self, rows: NDArray[np.int32]) -> LabelArray:
        """Return the labels of items, or their indices where there are no labels."""
        return self.items.decode(rows)

    def batches(self, first: int = 0) -> Iterator[VectorBatch]:
        """Yield the vectors of the items from the given one on."""
        for at in range(first, self.size, self.batch_size):
            part = slice(at, at + self.batch_size)
            yield VectorBatch(self.rows[part], self.matrix[part], min(at + self.batch_size, self.size))


class VectorLayout(Layout):
    """How the vectors of one version are written: a vector set where that fits, else a hash for each item.

    A vector set finds by cosine alone, so it fits the metric "cosine"; not in a cluster, where it would be all of it on
    one server. Where the server has Redis search, an index of the hashes is made, with the name of the version.
    """

    unique = True

    def __init__(self, vectors: Vectors, prefix: str) -> None:
        super().__init__(prefix, vectors.size, 150 + 5 * vectors.dim)
        self.vectors = vectors
        self.version = fingerprint((vectors.metric,), [vectors.matrix], [vectors.labels(vectors.rows)])
        self.form, self._index = "hash", False

    def prepare(self, client: Any) -> None:
        """Look what the server can do."""
        known = {name for name in ("VADD", "FT.CREATE") if _knows(client, name)}
        self.form = "vectorset" if "VADD" in known and self.vectors.metric == "cosine" else "hash"
        self._index = "FT.CREATE" in known

    def dropped(self, client: Any, version: str) -> None:
        """Remove the index of a version that goes."""
        import redis

        if self._index:
            with suppress(redis.exceptions.ResponseError):  # it has none
                client.execute_command("FT.DROPINDEX", self.key(version))

    def batches(self, first: int) -> Iterator[VectorBatch]:
        """Yield what is to be sent, from the given row on."""
        return self.vectors.batches(first)

    def before(self) -> Iterator[tuple[bytes, ...]]:
        """Commands that come before the vectors."""
        vectors, key = self.vectors, self.key(self.version)
        yield self.facts(
            form=self.form.encode(),
            metric=vectors.metric.encode(),
            dim=b"%d" % vectors.dim,
            n_items=b"%d" % self.size,
        )
        if self.form == "hash" and self._index:
            where = (b"ON", b"HASH", b"PREFIX", b"1", key + b":", b"SCHEMA", b"vector", b"VECTOR", b"HNSW", b"6")
            what = (b"TYPE", b"FLOAT32", b"DIM", b"%d" % vectors.dim, b"DISTANCE_METRIC", DISTANCES[vectors.metric])
            yield b"FT.CREATE", key, *where, *what

    def written(self, batch: VectorBatch) -> tuple[bytes, list[bytes], list[bytes]]:
        """Return the command that sets vectors, their keys, and the arguments of each."""
        key, vectors = self.key(self.version), [row.tobytes() for row in batch.vectors.astype("<f4", copy=False)]
        labels = self.vectors.labels(batch.rows)
        if self.form == "hash":
            return b"HSET", keys_of(key + b":", labels), [part for row in vectors for part in (b"vector", row)]
        # eight bits would lose what tells the items apart: most of a vector is the column that evens the norms
        named = zip(vectors, keys_of(b"", labels), strict=True)
        arguments = [part for row, name in named for part in (b"FP32", row, name, b"NOQUANT")]
        return b"VADD", [key] * len(vectors), arguments


def _knows(client: Any, name: str) -> bool:
    """Whether a server has a command."""
    connection = client.connection_pool.get_connection()
    try:
        connection.send_command("COMMAND", "INFO", name)
        return connection.read_response()[0] is not None
    finally:
        client.connection_pool.release(connection)


def item_vectors(model: Recommender, *, metric: str = "inner_product") -> tuple[NDArray[np.float32], LabelArray]:
    """Return the items' factors for a nearest-neighbour index.

    Parameters
    ----------
    model : fitted model
    metric : {"inner_product", "l2", "cosine"}
        "inner_product": the factors as they are. "l2": one more column, sqrt(M^2 - norm^2) with M the largest norm, so
        that all items have the norm M and the items nearest by Euclidean distance to (x, 0) are those of the largest
        inner product with the user's factors x (Y. Bachrach et al., *Speeding up the Xbox recommender system using a
        Euclidean transformation for inner-product spaces*, RecSys 2014): for indexes that know distances only.
        "cosine": the same column, and all divided by M, so that the cosine with (x, 0), too, has the order of the inner
        products: for indexes that know cosines only.

    Returns
    -------
    vectors : float32 array of shape (n_items, k) or (n_items, k + 1), C-contiguous
        Where a model has biases, k is one or two more than its factors.
    items : array of shape (n_items,)
        Label of each row, or its index where the training data had no labels.

    Raises
    ------
    NotFittedError, ParameterError

    Examples
    --------
    >>> import fastals, numpy as np
    >>> from fastals.serving import item_vectors, user_vectors
    >>> users, items = ["ann", "ann", "bob", "bob", "eve"], ["jazz", "rock", "jazz", "folk", "rock"]
    >>> model = fastals.ImplicitALS(factors=2, random_state=0).fit((users, items))
    >>> vectors, labels = item_vectors(model, metric="l2")
    >>> distances = np.linalg.norm(vectors - user_vectors(model, ["eve"], metric="l2"), axis=1)
    >>> str(labels[distances.argmin()]) == model.recommend("eve", n=1, exclude_seen=False).items[0]
    True
    """
    vectors = Vectors(model, metric)
    return vectors.matrix, vectors.labels(vectors.rows)


def user_vectors(model: Recommender, users: Any, *, metric: str = "inner_product") -> NDArray[np.float32]:
    """Return users' factors as queries for an index of :func:`item_vectors`.

    Parameters
    ----------
    model : fitted model
    users : array of shape (m,)
        Labels, or indices where the training data had no labels.
    metric : {"inner_product", "l2", "cosine"}
        As for the items; "l2" and "cosine" add a column of zeros.

    Returns
    -------
    float32 array of shape (m, k) or (m, k + 1), C-contiguous

    Raises
    ------
    UnknownLabelError, NotFittedError, ParameterError

    Examples
    --------
    >>> import fastals
    >>> from fastals.serving import user_vectors
    >>> model = fastals.ImplicitALS(factors=2, random_state=0).fit((["ann", "bob"], ["jazz", "rock"]))
    >>> user_vectors(model, ["bob", "ann"], metric="l2").shape
    (2, 3)
    """
    state = _with_factors(model)
    check_choice("metric", metric, METRICS)
    X: NDArray[Any] = state.scoring_factors[0][state.users.encode_known("users", users)]
    if metric != "inner_product":
        X = np.column_stack([X, np.zeros(len(X))])
    return np.ascontiguousarray(X, np.float32)


def _with_factors(model: Recommender) -> FactorFitted:
    """The state of a model of factors."""
    state = model.state_
    if not isinstance(state, FactorFitted):
        raise ParameterError(f"{type(model).__name__} has no factors")
    return state

"""Lists and vectors on their way out: to Redis, to files, to arrays."""

from __future__ import annotations

import csv
import json
import os
import time
from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._core import LabelArray, ParameterError, check_choice, check_path
from .._files import check_target, need, replacing, suffix_of
from .._topn import FactorFitted, Recommender
from ._lists import Batch, Lists
from ._redis import is_redis, masked, ping, push
from ._resp import Layout, protocol

Row: TypeAlias = tuple[Any, list[Any], list[float]]
"""One list: (user, items, scores)."""

BATCH_SIZE = 8192

FORMATS = {".parquet": "parquet", ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".resp": "resp"}
"""Formats of files by suffix; "resp": the protocol that ``redis-cli --pipe`` reads."""


class Published(NamedTuple):
    """What :func:`publish` did.

    Attributes
    ----------
    to : str
        Without a password.
    n_users : int
    version : str or None
        In Redis.
    seconds : float
    """

    to: str
    n_users: int
    version: str | None
    seconds: float


def publish(
    model: Recommender,
    to: str | os.PathLike[str],
    *,
    n: int = 20,
    exclude_seen: bool = True,
    prefix: str = "fastals",
    ttl: int | None = None,
    score_dtype: Literal["float16", "float32"] = "float16",
    batch_size: int = BATCH_SIZE,
    progress: bool | None = None,
) -> Published:
    """Send every user's list of the n best items to Redis or to a file.

    In Redis readers switch from the old lists to the new in one step, when all of these are there. After an error the
    old lists are served as before; the same call goes on where the last one stopped. One older version is kept.

    Parameters
    ----------
    model : fitted model
    to : str
        redis://, rediss:// (TLS), unix://, redis+cluster:// or rediss+cluster://, with user, password and database as
        redis-py reads them; or a file, local or as hdfs://, s3://, gs://, whose name ends in .parquet, .csv, .jsonl,
        or .resp: the protocol file for ``redis-cli --pipe``.
    n : int, default 20
    exclude_seen : bool, default True
        Leave out each user's items of the training data, also those that are merely known.
    prefix : str
        What the keys in Redis begin with.
    ttl : int, optional
        Seconds after which the lists in Redis expire. Readers then get the popular items, which stay.
    score_dtype : {"float16", "float32"}
        Of the scores in Redis; the order of the items does not depend on it.
    batch_size : int, default 8192
        Users of a batch: memory is bounded by a few of them.
    progress : bool, optional
        Show a progress bar; by default where standard error is a terminal.

    Returns
    -------
    Published

    Raises
    ------
    ServingError
        Redis cannot be reached, refuses the password, is out of memory or would evict what it serves; or another
        process is publishing other lists under this prefix.
    OSError
        The file cannot be written; nothing is left behind then.
    NotFittedError, ParameterError, MissingDependencyError

    Examples
    --------
    >>> import fastals, os, tempfile
    >>> from fastals.serving import publish
    >>> users, items = ["ann", "ann", "bob", "bob", "eve"], ["jazz", "rock", "jazz", "folk", "rock"]
    >>> model = fastals.ImplicitALS(factors=2, random_state=0).fit((users, items))
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     path = os.path.join(directory, "lists.jsonl")
    ...     published = publish(model, path, n=1)
    ...     with open(path) as file:
    ...         print(file.readline().split(', "scores"')[0], published.n_users)
    {"user": "ann", "items": ["folk"] 3
    """
    from tqdm import tqdm

    start = time.perf_counter()
    target = check_path("to", to)
    check_target_of_lists(target)
    lists = Lists(model, n, exclude_seen, batch_size)
    bar = tqdm(total=len(lists.users), unit="user", desc="publish", disable=None if progress is None else not progress)
    version = None
    with bar:

        def watch(done: int) -> None:
            bar.update(done - bar.n)

        if is_redis(target):
            layout = Layout(lists, prefix, ttl, score_dtype)
            version = layout.version
            push(target, layout, watch=watch)
        else:
            kind = FORMATS[suffix_of(target)[0]]
            watched = _watched(lists.batches(), watch)
            with replacing(target) as temporary:
                if kind == "resp":
                    layout = Layout(lists, prefix, ttl, score_dtype)
                    version = layout.version
                    with open(temporary, "wb") as file:
                        file.writelines(protocol(layout, watched))
                else:
                    WRITERS[kind](lists, watched, temporary)
    return Published(masked(target), len(lists.users), version, time.perf_counter() - start)


def check_target_of_lists(target: str, *, connect: bool = False) -> None:
    """Refuse what lists cannot be written to, before the work; ``connect``: also a server that does not answer."""
    if is_redis(target):
        need("redis", "redis", "Redis")
        if connect:
            ping(target)
        return
    suffix, compression = suffix_of(target)
    if suffix not in FORMATS or compression:
        raise ParameterError(
            f"to must be a redis:// address, or a file whose name ends in {', '.join(FORMATS)}; got {target!r}"
        )
    if suffix == ".parquet":
        need("io", "pyarrow", "writing Parquet")
    check_target(target)


def _watched(batches: Iterable[Batch], watch: Any) -> Iterator[Batch]:
    for batch in batches:
        yield batch
        watch(batch.first + len(batch.items))


# ----------------------------------------------------------------------------------------------------------------------
# files


def rows(lists: Lists, batches: Iterable[Batch]) -> Iterator[Row]:
    """Yield one list at a time."""
    for batch in batches:
        users = lists.labels(batch.first, len(batch.items)).tolist()
        scores = np.where(batch.items >= 0, batch.scores, -np.inf)
        yield from labelled(users, lists.items.decode(batch.items), scores)


def labelled(users: Iterable[Any], items: LabelArray, scores: NDArray[Any]) -> Iterator[Row]:
    """Yield (user, items, scores), labels as numbers or text, without the padding of short lists."""
    for user, row, row_scores in zip(users, items, scores, strict=True):
        listed = np.isfinite(row_scores)
        names = [text(label) for label in row[listed].tolist()]
        yield text(user), names, [float(f"{score:.6g}") for score in row_scores[listed].tolist()]


def text(label: Any) -> Any:
    """Return a label as a number or text."""
    if isinstance(label, bytes):
        return label.decode("utf-8", "backslashreplace")
    return label if isinstance(label, int | str) else str(label)


def write_csv(lists: Iterable[Row], file: Any) -> None:
    """Write one line for each user and item: user, rank, item, score."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(("user", "rank", "item", "score"))
    for user, items, scores in lists:
        writer.writerows((user, rank, *pair) for rank, pair in enumerate(zip(items, scores, strict=True), 1))


def write_jsonl(lists: Iterable[Row], file: Any) -> None:
    """Write one JSON object for each user."""
    for user, items, scores in lists:
        file.write(json.dumps({"user": user, "items": items, "scores": scores}, ensure_ascii=False) + "\n")


def _write_text(write: Any) -> Any:
    def to_file(lists: Lists, batches: Iterable[Batch], path: str) -> None:
        # backslashreplace: a label may hold what UTF-8 cannot, half a surrogate pair
        with open(path, "w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            write(rows(lists, batches), file)

    return to_file


def _write_parquet(lists: Lists, batches: Iterable[Batch], path: str) -> None:
    """Write one row for each user: user, items (list), scores (list)."""
    import pyarrow as pa
    from pyarrow import parquet

    def column(labels: LabelArray) -> Any:
        return pa.array(labels if labels.dtype.kind == "i" else [text(label) for label in labels.tolist()])

    item_labels = None if lists.items.values is None else column(lists.items.values)
    item_type = pa.int32() if item_labels is None else item_labels.type
    user_type = pa.int64() if lists.users.values is None else column(lists.users.values[:1]).type
    schema = pa.schema([("user", user_type), ("items", pa.list_(item_type)), ("scores", pa.list_(pa.float32()))])
    with parquet.ParquetWriter(path, schema) as writer:
        for batch in batches:
            listed = batch.items >= 0
            offsets = pa.array(np.concatenate([[0], listed.sum(axis=1).cumsum()]).astype(np.int32))
            items = pa.array(batch.items[listed])
            if item_labels is not None:
                items = item_labels.take(items)
            scores = pa.array(batch.scores[listed].astype(np.float32))
            users = column(lists.labels(batch.first, len(batch.items)))
            lists_of = [pa.ListArray.from_arrays(offsets, values) for values in (items, scores)]
            writer.write_table(pa.table([users, *lists_of], schema=schema))


WRITERS = {"parquet": _write_parquet, "csv": _write_text(write_csv), "jsonl": _write_text(write_jsonl)}


# ----------------------------------------------------------------------------------------------------------------------
# vectors


def item_vectors(model: Recommender, *, metric: str = "inner_product") -> tuple[NDArray[np.float32], LabelArray]:
    """Return the items' factors for a nearest-neighbour index.

    Parameters
    ----------
    model : fitted model
    metric : {"inner_product", "l2"}
        "inner_product": the factors as they are. "l2": one more column, sqrt(M^2 - norm^2) with M the largest norm, so
        that all items have the norm M and the items nearest by Euclidean distance to (x, 0) are those of the largest
        inner product with the user's factors x (Y. Bachrach et al., *Speeding up the Xbox recommender system using a
        Euclidean transformation for inner-product spaces*, RecSys 2014): for indexes that know distances only.

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
    state = _with_factors(model)
    check_choice("metric", metric, ("inner_product", "l2"))
    Y: NDArray[Any] = state.scoring_factors[1]
    labels = state.items.decode(np.arange(len(Y)))
    if metric == "l2":
        squares = np.einsum("ij,ij->i", Y, Y, dtype=np.float64)
        Y = np.column_stack([Y, np.sqrt(squares.max() - squares)])
    return np.ascontiguousarray(Y, np.float32), labels


def user_vectors(model: Recommender, users: Any, *, metric: str = "inner_product") -> NDArray[np.float32]:
    """Return users' factors as queries for an index of :func:`item_vectors`.

    Parameters
    ----------
    model : fitted model
    users : array of shape (m,)
        Labels, or indices where the training data had no labels.
    metric : {"inner_product", "l2"}
        As for the items; "l2" adds a column of zeros.

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
    check_choice("metric", metric, ("inner_product", "l2"))
    X: NDArray[Any] = state.scoring_factors[0][state.users.encode_known("users", users)]
    if metric == "l2":
        X = np.column_stack([X, np.zeros(len(X))])
    return np.ascontiguousarray(X, np.float32)


def _with_factors(model: Recommender) -> FactorFitted:
    """The state of a model of factors."""
    state = model.state_
    if not isinstance(state, FactorFitted):
        raise ParameterError(f"{type(model).__name__} has no factors")
    return state

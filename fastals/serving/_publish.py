"""Lists and vectors on their way out: to Redis, or to files."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from .._core import ParameterError, check_bool, check_choice, check_int, check_path
from .._files import check_target, need, replacing, suffix_of
from .._topn import Recommender
from ._address import Address, is_redis, told_target
from ._files import write_lists, write_vectors
from ._items import chosen_items, titles_of
from ._lists import Lists, SimilarItems
from ._redis import push
from ._resp import SCORES, Layout, ListLayout, check_prefix, protocol
from ._vectors import METRICS, Metric, VectorLayout, Vectors

BATCH_SIZE = 8192

FORMATS = {".parquet": "parquet", ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".resp": "resp"}
"""Formats of files by suffix; "resp": the protocol that ``redis-cli --pipe`` reads."""

What = Literal["recommendations", "similar_items", "item_vectors"]

PARTS = {"recommendations": "", "similar_items": ":similar", "item_vectors": ":vectors"}
"""What stands behind the prefix in Redis, by what is published."""

DEFAULTS: dict[str, Any] = {
    "n": 20,
    "exclude_seen": True,
    "popular": False,
    "titles": None,
    "title_column": None,
    "ttl": None,
    "score_dtype": "float16",
    "metric": None,
}
"""Of options that not all that is published has."""

WITHOUT: dict[str, tuple[str, ...]] = {
    "recommendations": ("metric",),
    "similar_items": ("exclude_seen", "popular", "metric"),
    "item_vectors": ("n", "exclude_seen", "popular", "titles", "title_column", "ttl", "score_dtype"),
}
"""Options that have no meaning, by what is published."""

RULES: dict[str, Callable[[str, Any], object]] = {
    "n": partial(check_int, low=1),
    "exclude_seen": check_bool,
    "popular": check_bool,
    "metric": partial(check_choice, choices=METRICS),
    "ttl": partial(check_int, low=1),
    "score_dtype": partial(check_choice, choices=tuple(SCORES)),
    "batch_size": partial(check_int, low=1),
    "prefix": lambda _, value: check_prefix(value),
}
"""What options must be, whatever the model."""


class Published(NamedTuple):
    """What :func:`publish` did.

    Attributes
    ----------
    to : str
        Without user and password.
    n_users : int
        Users of the model; 0 where it is the items that have lists or vectors.
    version : str or None
        In Redis.
    seconds : float
    what : {"recommendations", "similar_items", "item_vectors"}
    n_items : int
        Items that could be listed: those of the model that catalogue and blocklist leave.
    unknown : dict
        How many ids the model does not know, of the catalogue and of the blocklist where these are given.
    untitled : int or None
        Of the items that could be listed, those without a title; None where no titles are given.
    """

    to: str
    n_users: int
    version: str | None
    seconds: float
    what: str = "recommendations"
    n_items: int = 0
    unknown: dict[str, int] = {}  # noqa: RUF012
    untitled: int | None = None

    def __str__(self) -> str:
        items = f"{self.n_items:,} items"
        sent = {
            "recommendations": f"lists of {self.n_users:,} users",
            "similar_items": "similar items",
            "item_vectors": f"vectors of {items}",
        }
        parts = [f"{sent[self.what]} to {self.to}", *([f"version {self.version}"] if self.version else [])]
        if self.unknown and self.what != "item_vectors":
            parts.append(f"chosen from {items}")
        if strangers := [f"{count:,} of the {name}" for name, count in self.unknown.items() if count]:
            parts.append(f"unknown ids: {' and '.join(strangers)}")
        if self.untitled:
            parts.append(f"items without a title: {self.untitled:,}")
        rate = (self.n_users or self.n_items) / max(self.seconds, 1e-9)
        return f"{', '.join(parts)}: {rate:,.0f} {'users' if self.n_users else 'items'}/s"


def publish(
    model: Recommender,
    to: str | os.PathLike[str],
    *,
    what: What = "recommendations",
    n: int = DEFAULTS["n"],
    exclude_seen: bool = DEFAULTS["exclude_seen"],
    catalogue: Any = None,
    blocklist: Any = None,
    titles: Any = DEFAULTS["titles"],
    item_column: str | None = None,
    title_column: str | None = DEFAULTS["title_column"],
    popular: bool = DEFAULTS["popular"],
    metric: Metric | None = DEFAULTS["metric"],
    prefix: str = "fastals",
    ttl: int | None = DEFAULTS["ttl"],
    score_dtype: Literal["float16", "float32"] = DEFAULTS["score_dtype"],
    batch_size: int = BATCH_SIZE,
    progress: bool | None = None,
) -> Published:
    """Send every user's list of the n best items, or what else is asked for, to Redis or to a file.

    In Redis readers switch from the old lists to the new in one step, when all of these are there. After an error the
    old lists are served as before; the same call goes on where the last one stopped. One older version is kept. One
    publisher at a time writes what is read under a prefix; another gets an error.

    A user without any training cell has no list: readers of Redis get the popular items. Whoever is known to have met
    items without a cell has that list without them.

    Parameters
    ----------
    model : fitted model
    to : str
        redis://, rediss:// (TLS), unix://, redis+cluster:// or rediss+cluster://, with user, password and database as
        redis-py reads them; or a file, local or as hdfs://, s3://, gs://, whose name ends in .parquet, .csv, .jsonl,
        or .resp: the protocol file for ``redis-cli --pipe``, which takes the lock of a publisher, and is served only if
        all of it was written; a server in a cluster refuses it.
    what : {"recommendations", "similar_items", "item_vectors"}
        Each user's best items; each item's most similar ones, as :meth:`~fastals.ImplicitALS.similar_items` finds
        them; or each item's vector, as :func:`item_vectors` gives it, to Redis or to Parquet. Each has keys and a
        version of its own in Redis.
    n : int, default 20
    exclude_seen : bool, default True
        Leave out each user's items of the training data, also those that are merely known.
    catalogue, blocklist : path, data frame or array of shape (m,), optional
        Ids of the only items to list, and of items not to list; the popular items obey both. Of a file (.csv, .parquet,
        .jsonl, or .txt with an id a line) or a frame, the column ``item_column``. Ids that the model does not know are
        counted; of another kind than the model's, or a catalogue of which it knows nothing, they are an error.
    titles : path, data frame or mapping of ids to strings, optional
        What items are called; stands beside each in files and in Redis. Where an item has none: null, in CSV empty.
    item_column, title_column : str, optional
        Columns of files and frames. By default the one that is called item, itemId or item_id, and the one called title
        or name; else the first and the second.
    popular : bool, default False
        Begin a file with the list for those who have none, the n most popular items with the share of the users that
        has each; its user is null, in CSV empty. Redis has it always.
    metric : {"inner_product", "l2", "cosine"}, optional
        Of vectors, as :func:`item_vectors` has it. Default "cosine" for Redis, whose vector sets know nothing else, and
        "inner_product" for files.
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
        process is publishing under this prefix.
    OSError
        The file cannot be written; nothing is left behind then.
    UnknownLabelError, DataError
        Of catalogue, blocklist and titles.
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

    What is sold today, by its name:

    >>> with tempfile.TemporaryDirectory() as directory:
    ...     path = os.path.join(directory, "lists.csv")
    ...     told = publish(model, path, n=1, catalogue=["jazz", "soul"], titles={"jazz": "Jazz"})
    ...     with open(path) as file:
    ...         print(file.read().split()[-1].split(",")[::2], told.unknown)
    ['eve', 'jazz', 'Jazz'] {'catalogue': 1}
    """
    from tqdm import tqdm

    start = time.perf_counter()
    target = check_path("to", to)
    given = {"n": n, "exclude_seen": exclude_seen, "popular": popular, "titles": titles, "title_column": title_column}
    given |= {"ttl": ttl, "score_dtype": score_dtype, "metric": metric, "prefix": prefix, "batch_size": batch_size}
    check_publication(target, what=what, **given)
    items = model.state_.items
    choice = chosen_items(items, catalogue, blocklist, item_column)
    names = titles_of(items, titles, item_column, title_column)
    options: dict[str, Any] = {"candidates": choice.candidates, "batch_size": batch_size}
    source: Lists | Vectors
    if what == "recommendations":
        source = Lists(model, n, exclude_seen, titles=names, **options)
    elif what == "similar_items":
        source = SimilarItems(model, n, titles=names, **options)
    else:
        source = Vectors(model, metric or ("cosine" if is_redis(target) else "inner_product"), **options)
    kind = "redis" if is_redis(target) else FORMATS[suffix_of(target)[0]]
    layout: Layout | None = None
    if kind in ("redis", "resp"):
        place = check_prefix(prefix) + PARTS[what]
        if isinstance(source, Vectors):
            layout = VectorLayout(source, place)
        else:
            layout = ListLayout(source, place, ttl, score_dtype)
    unit = "user" if what == "recommendations" else "item"
    bar = tqdm(total=source.size, unit=unit, desc="publish", disable=None if progress is None else not progress)
    with bar:

        def watch(done: int) -> None:
            bar.update(done - bar.n)

        if kind == "redis":
            assert layout is not None
            push(Address(target), layout, watch=watch)
        else:
            with replacing(target) as temporary:
                batches = _watched(source.batches(), watch)
                if isinstance(layout, ListLayout):
                    with open(temporary, "wb") as file:
                        file.writelines(protocol(layout, batches))
                elif isinstance(source, Vectors):
                    write_vectors(source, batches, temporary)
                else:
                    write_lists(kind, source, batches, temporary, popular=popular)
    return Published(
        told_target(target) if "://" in target else target,
        len(model.state_.users) if what == "recommendations" else 0,
        None if layout is None else layout.version,
        time.perf_counter() - start,
        what,
        len(items) if choice.candidates is None else len(choice.candidates),
        choice.unknown,
        None if names is None else _untitled(names, choice.candidates),
    )


def check_publication(to: str, *, what: Any = "recommendations", connect: bool = False, **options: Any) -> None:
    """Refuse what :func:`publish` would, as far as it is known before there is a model.

    ``connect``: also a server that does not answer.
    """
    check_choice("what", what, get_args(What))
    for name, value in options.items():
        if name in WITHOUT[what] and value is not DEFAULTS[name] and value != DEFAULTS[name]:
            raise ParameterError(f"{name} has no meaning for {what}: leave it out, got {value!r}")
        if name in RULES and not (value is None and DEFAULTS.get(name, "") is None):
            RULES[name](name, value)
    _check_target(to, what, connect)


def _check_target(target: str, what: str, connect: bool) -> None:
    """Refuse what cannot be written to."""
    if is_redis(target):
        address = Address(target)
        need("redis", "redis", "Redis")
        if connect:
            address.ping()
        return
    suffix, compression = suffix_of(target)
    known = [".parquet"] if what == "item_vectors" else list(FORMATS)
    if suffix not in known or compression:
        raise ParameterError(
            f"to must be a redis:// address, or a file whose name ends in {', '.join(known)}; "
            f"got {told_target(target)!r}"
        )
    if suffix == ".parquet":
        need("io", "pyarrow", "writing Parquet")
    check_target(target)


def _watched(batches: Iterable[Any], watch: Callable[[int], None]) -> Iterator[Any]:
    for batch in batches:
        yield batch
        watch(batch.done)


def _untitled(titles: NDArray[Any], candidates: NDArray[np.int32] | None) -> int:
    some = titles if candidates is None else titles[candidates]
    return sum(title is None for title in some.tolist())

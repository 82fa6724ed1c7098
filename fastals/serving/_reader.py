"""Lists read back from Redis."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from .._core import FastalsError, ParameterError, ServingError, check_int, check_real
from ._address import Address
from ._lists import asked_keys
from ._publish import PARTS
from ._resp import BLOCK, FORMAT, LARGEST, SCORES, check_prefix

Asked: TypeAlias = tuple[Any, ...]
"""A method of redis-py's client, and its arguments."""

FACTS = ("format", "items", "scores", "n", "n_items", "n_users")
"""What is read of the description of a version."""

LONGEST = 250
"""Bytes of such a fact, and of the name of a version."""

MOST_BLOCKS = 2**31 // BLOCK
"""An index of items has 32 bits."""


class ServedList(NamedTuple):
    """What a user is shown, or what is like an item.

    Attributes
    ----------
    items : list
        Labels, or indices where the model had no labels; best first.
    scores : array of shape (n,), float16 or float32
    popular : bool
        These are the items that most users have: there is no list for this user.
    titles : list or None
        What the items are called, None where one has no title; None where the lists were published without titles.
    """

    items: list[Any]
    scores: NDArray[Any]
    popular: bool
    titles: list[str | None] | None = None


class _Version(NamedTuple):
    name: bytes
    scores: np.dtype[Any]
    n: int
    n_items: int | None
    items: NDArray[Any] | None
    titles: list[str | None] | None
    popular: bytes | None


class RedisRecommendations:
    """Reads lists that :func:`publish` has pushed to Redis.

    A list is read whole and from one version, also while another is published. Item labels, titles and the popular
    items are read once a version.

    Parameters
    ----------
    url : str
        redis://, rediss:// (TLS), unix://, redis+cluster:// or rediss+cluster://.
    prefix : str
        As published.
    pointer_seconds : float, default 1
        How long a reader trusts what it knows of the version that is served; 0: it asks each time.
    client : redis.Redis, optional
        A client to use instead of one for ``url``, with ``decode_responses=False``.

    Raises
    ------
    ServingError
        The server does not answer, holds no lists under this prefix, or holds what no list can be.

    Examples
    --------
    >>> from fastals.serving import RedisRecommendations
    >>> reader = RedisRecommendations("redis://localhost:6379/0")  # connects at the first get
    """

    def __init__(self, url: str, *, prefix: str = "fastals", pointer_seconds: float = 1.0, client: Any = None) -> None:
        address = Address(url)
        client = client or address.connect()
        trust = check_real("pointer_seconds", pointer_seconds, low=0)
        check_prefix(prefix)
        self._users = _Reader(address, client, prefix + PARTS["recommendations"], trust)
        self._similar = _Reader(address, client, prefix + PARTS["similar_items"], trust)

    @property
    def version(self) -> str:
        """The version of the users' lists that is served now."""
        return self._users.version()

    def get(self, user: Any, n: int | None = None) -> ServedList:
        """Return the list of one user, the popular items if there is none.

        Parameters
        ----------
        user : label, or index where the model had no labels
        n : int, optional
            At most so many items.

        Raises
        ------
        ServingError, ArgumentTypeError
        """
        return self._users.get_many("user", [user], n)[0]

    def get_many(self, users: Iterable[Any], n: int | None = None) -> list[ServedList]:
        """Return the lists of several users, all of one version, in one round trip.

        Parameters
        ----------
        users : iterable of labels
        n : int, optional

        Raises
        ------
        ServingError, ArgumentTypeError
        """
        return self._users.get_many("users", users, n)

    def similar(self, item: Any, n: int | None = None) -> ServedList:
        """Return the items most like one, published with ``what="similar_items"``; none if there is no such list.

        Parameters
        ----------
        item : label, or index where the model had no labels
        n : int, optional
            At most so many items.

        Raises
        ------
        ServingError, ArgumentTypeError
        """
        return self._similar.get_many("item", [item], n)[0]

    def similar_many(self, items: Iterable[Any], n: int | None = None) -> list[ServedList]:
        """Return what is like each of several items, all of one version, in one round trip.

        Parameters
        ----------
        items : iterable of labels
        n : int, optional

        Raises
        ------
        ServingError, ArgumentTypeError
        """
        return self._similar.get_many("items", items, n)


class _Reader:
    """Reads lists under one pointer."""

    def __init__(self, address: Address, client: Any, prefix: str, trust: float) -> None:
        self._address, self._client, self._prefix, self._trust = address, client, prefix, trust
        self._pointer = (f"{prefix}:current", 0, LONGEST)
        self._version: _Version | None = None
        self._looked = -np.inf

    def version(self) -> str:
        with self._address.told(alone=True):
            return self._current(fresh=True).name.decode()

    def get_many(self, name: str, owners: Iterable[Any], n: int | None) -> list[ServedList]:
        n = None if n is None else check_int("n", n, low=1)
        names = asked_keys(name, owners)
        with self._address.told(alone=True):
            version = self._current(fresh=False)
            values = self._read(version, names)
            while any(value is None for value in values):
                # there is no list, or the version is going: there is none if it is served while we look
                asked = self._asked(version, names)
                found = self._while_served(version.name, *asked, *(("exists", key) for _, key, *_ in asked))
                if found is not None:
                    values = [
                        value if there else None for value, there in zip(found, found[len(asked) :], strict=False)
                    ]
                    break
                version = self._current(fresh=True)
                values = self._read(version, names)
        return [self._list(version, name, value, n) for name, value in zip(names, values, strict=True)]

    def _longest(self, version: _Version) -> int:
        """The most bytes that a list of a version may have; one more is asked for, so that a longer one is seen."""
        return min(version.n * (4 + version.scores.itemsize), LARGEST)

    def _asked(self, version: _Version, names: list[bytes]) -> list[Asked]:
        head = f"{self._prefix}:".encode() + version.name + b":"
        return [("getrange", head + name, 0, self._longest(version)) for name in names]

    def _read(self, version: _Version, names: list[bytes]) -> list[bytes | None]:
        """Return lists; None where there is none, or one without items."""
        asked = self._asked(version, names)
        if len(asked) == 1:
            return [self._fetched(*asked[0][1:]) or None]
        with self._client.pipeline(transaction=False) as pipe:
            for command, *given in asked:
                getattr(pipe, command)(*given)
            return [value or None for value in pipe.execute()]

    def _fetched(self, key: Any, *between: int) -> Any:
        """Return a part of a value; an error names the key, as those of pipelines do."""
        import redis

        try:
            return self._client.getrange(key, *between)
        except redis.exceptions.ResponseError as error:
            error.args = (f"{key.decode('utf-8', 'replace') if isinstance(key, bytes) else key}: {error}",)
            raise

    def _while_served(self, name: bytes, *commands: Asked) -> list[Any] | None:
        """Return the answers of a version that is served, None where it is not."""
        served, answers = self._together(*commands)
        return answers if served == name else None

    def _together(self, *commands: Asked) -> tuple[bytes | None, list[Any]]:
        """Return the version that is served, and answers that were given while it was.

        A version may go and come back between two looks, under the same name: so all is asked in one step. A cluster
        has none, and never the same name twice: a version that is served afterwards was so all the time.
        """
        import redis

        cluster = hasattr(self._client, "get_nodes")
        try:
            return self._asking(commands, cluster, transaction=not cluster)
        except redis.exceptions.OutOfMemoryError:  # then nothing is asked in one step, nor does anybody publish
            return self._asking(commands, cluster, transaction=False)

    def _asking(
        self, commands: tuple[Asked, ...], cluster: bool, *, transaction: bool
    ) -> tuple[bytes | None, list[Any]]:
        with self._client.pipeline(transaction=transaction) as pipe:
            for command, *given in commands:
                getattr(pipe, command)(*given)
            if not cluster:
                pipe.getrange(*self._pointer)
            answers = pipe.execute()
        return (self._fetched(*self._pointer) if cluster else answers.pop()), answers

    def _list(self, version: _Version, name: bytes, value: bytes | None, n: int | None) -> ServedList:
        popular = value is None and version.popular is not None
        value = (version.popular or b"") if value is None else value
        width = 4 + version.scores.itemsize
        count, rest = divmod(len(value), width)
        ids = np.frombuffer(value, "<i4", count)
        scores = np.frombuffer(value, version.scores, count, 4 * count)
        which = f"popular:{version.name.decode()}" if popular else f"{version.name.decode()}:{_shown(name)[1:-1]}"
        which = f"the key {self._prefix}:{which}"
        if len(value) > self._longest(version) and not popular:
            raise self._broken(f"{which} is longer than the {version.n:,} items that a list may have")
        # scores that do not fall are ids, of a list that was cut off
        if rest or not (np.isfinite(scores).all() and (scores[:-1] >= scores[1:]).all()):
            raise self._broken(f"{which} is cut off or no list")
        if version.n_items is not None and count and (ids.min() < 0 or ids.max() >= version.n_items):
            raise self._broken(f"{which} names items that are not there: there are {version.n_items:,}")
        ids, scores = ids[:n], scores[:n]
        items = (ids if version.items is None else version.items[ids]).tolist()
        if version.titles is None:
            return ServedList(items, scores, popular)
        return ServedList(items, scores, popular, [version.titles[index] for index in ids.tolist()])

    def _current(self, fresh: bool) -> _Version:
        now = time.monotonic()
        if self._version is not None and not fresh and now - self._looked < self._trust:
            return self._version
        for _ in range(10):
            name = self._fetched(*self._pointer)
            if isinstance(name, str):
                raise ParameterError("client must be made with decode_responses=False: lists are bytes")
            if not name:
                raise ServingError(f"{self._address} holds no lists under the prefix {self._prefix!r}: publish some")
            if self._version is None or self._version.name != name:
                self._version = self._load(name)
            if self._version is not None:
                self._looked = now
                return self._version
        raise self._broken(f"the version {_shown(name)}, which the key {self._prefix}:current names, is not there")

    def _load(self, name: bytes) -> _Version | None:
        """Return what is known of a version, None if it is going away. Nothing is fetched whose size is not known."""
        with self._understood(f"the key {self._prefix}:current, which is {_shown(name)},"):
            text = name.decode()
        meta, popular, *tables = (f"{self._prefix}:{kind}:{text}" for kind in ("meta", "popular", "items", "titles"))
        described = [("hstrlen", meta, fact) for fact in FACTS]
        sizes = self._while_served(name, *described, ("strlen", popular), *(("hlen", table) for table in tables))
        if sizes is None or not any(sizes[: len(FACTS)]):
            return None
        counts = sizes[-len(tables) :]
        for table, count in zip(tables, counts, strict=True):
            self._bounded(f"the key {table}", count, MOST_BLOCKS, "blocks")
        blocks = [(table, number) for table, count in zip(tables, counts, strict=True) for number in range(count)]
        more = self._while_served(name, *(("hstrlen", *block) for block in blocks)) if blocks else []
        if more is None:
            return None
        for fact, size in zip(FACTS, sizes, strict=False):
            self._bounded(f"{fact!r} of the key {meta}", size, LONGEST)
        self._bounded(f"the key {popular}", sizes[len(FACTS)], LARGEST)
        for (table, number), size in zip(blocks, more, strict=True):
            self._bounded(f"block {number} of the key {table}", size, LARGEST)
        found = self._while_served(
            name, ("hmget", meta, FACTS), ("get", popular), *(("hget", *block) for block in blocks)
        )
        if found is None:
            return None
        facts, listed, *fetched = found
        labels, called = fetched[: counts[0]], fetched[counts[0] :]
        return self._described(name, meta, dict(zip(FACTS, facts, strict=True)), listed, labels, called)

    def _described(
        self,
        name: bytes,
        meta: str,
        facts: dict[str, bytes | None],
        popular: bytes | None,
        labels: list[bytes | None],
        called: list[bytes | None],
    ) -> _Version:
        """Return a version by what has been fetched of it."""
        text = name.decode()
        with self._understood(f"the key {meta}"):
            if facts["format"] != FORMAT:
                raise self._broken(f"the lists are of format {_shown(facts['format'])}, not {_shown(FORMAT)}")
            kind, dtype = (_stated(facts, fact).decode() for fact in ("items", "scores"))
            if dtype not in SCORES.values():
                raise self._broken(f"the scores are of an unknown kind, {dtype!r}")
            if kind not in ("int32", *_READ):
                raise self._broken(f"the items are of an unknown kind, {kind!r}")
            n, n_items = (_count(facts, fact) for fact in ("n", "n_items"))
        if popular is None and facts["n_users"] is not None:
            raise self._broken(f"the key {self._prefix}:popular:{text} is not there")
        items = titles = None
        if kind != "int32":
            with self._understood(f"the key {self._prefix}:items:{text}"):
                read = list(map(_READ[kind], _together_again(labels, n_items)))
                items = np.fromiter(read, object, len(read))
        if called:
            with self._understood(f"the key {self._prefix}:titles:{text}"):
                titles = [None if title is None else _text(title) for title in _together_again(called, n_items)]
        indexed = n_items if items is not None or titles is not None else None  # else lists may hold labels
        return _Version(name, np.dtype(dtype), n, indexed, items, titles, popular)

    @contextmanager
    def _understood(self, what: str) -> Iterator[None]:
        try:
            yield
        except FastalsError:
            raise
        except (LookupError, ValueError, TypeError, AttributeError, RecursionError, OverflowError) as error:
            raise self._broken(f"{what} cannot be read: {type(error).__name__}: {str(error)[:100]}") from error

    def _bounded(self, what: str, size: int, largest: int, unit: str = "bytes") -> None:
        if size > largest:
            raise self._broken(f"{what} has {size:,} {unit}, which must be at most {largest:,}")

    def _broken(self, what: str) -> ServingError:
        return ServingError(
            f"{self._address}, prefix {self._prefix!r}: {what}: publish again, or set the key "
            f"{self._prefix}:current to another version"
        )


def _shown(text: bytes | None) -> str:
    return repr((text or b"")[:80].decode("utf-8", "backslashreplace"))


def _stated(facts: dict[str, bytes | None], name: str) -> bytes:
    if (value := facts[name]) is None:
        raise ValueError(f"there is no {name}")
    return value


def _count(facts: dict[str, bytes | None], name: str) -> int:
    value = _stated(facts, name)
    if not re.fullmatch(rb"[0-9]{1,10}", value) or int(value) >= 2**31:
        raise ValueError(f"{name} is {_shown(value)}")
    return int(value)


def _together_again(blocks: list[bytes | None], size: int) -> list[Any]:
    """Put blocks of labels together, if they are all there."""
    lists = [json.loads(block or b"") for block in blocks]
    if not all(isinstance(each, list) for each in lists):
        raise TypeError("a block is no list")
    labels = [label for each in lists for label in each]
    if any(len(each) != BLOCK for each in lists[:-1]) or len(labels) != size or not size:
        raise ValueError(f"{len(labels)} labels in {len(lists)} blocks, not {size}")
    return labels


def _text(label: Any) -> str:
    if not isinstance(label, str):
        raise TypeError(f"{label!r} is no string")
    return label


def _number(label: Any) -> int:
    if not isinstance(label, int) or isinstance(label, bool):
        raise TypeError(f"{label!r} is no integer")
    return label


_READ: dict[str, Callable[[Any], Any]] = {
    "UUIDs": UUID,
    "bytes": bytes.fromhex,
    "integers": _number,
    "strings": _text,
}

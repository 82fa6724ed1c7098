"""Lists read back from Redis."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from .._core import FastalsError, ParameterError, ServingError, check_int, check_real
from ._address import Address
from ._lists import asked_keys
from ._publish import PARTS
from ._resp import BLOCK, FORMAT, SCORES, check_prefix


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
        self._version: _Version | None = None
        self._looked = -np.inf

    def version(self) -> str:
        with self._address.told():
            return self._current(fresh=True).name.decode()

    def get_many(self, name: str, owners: Iterable[Any], n: int | None) -> list[ServedList]:
        n = None if n is None else check_int("n", n, low=1)
        names = asked_keys(name, owners)
        with self._address.told():
            version = self._current(fresh=False)
            values = self._read(version, names)
            while any(value is None for value in values):
                # there is no list, or the version is going: there is none if it is served while we look
                served, values = self._together(*(("get", key) for key in self._keys(version, names)))
                if served == version.name:
                    break
                version = self._current(fresh=True)
                values = self._read(version, names)
        return [self._list(version, name, value, n) for name, value in zip(names, values, strict=True)]

    def _keys(self, version: _Version, names: list[bytes]) -> list[bytes]:
        return [f"{self._prefix}:".encode() + version.name + b":" + name for name in names]

    def _read(self, version: _Version, names: list[bytes]) -> list[bytes | None]:
        keys = self._keys(version, names)
        if len(keys) == 1:
            return [self._client.get(keys[0])]
        with self._client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.get(key)
            values: list[bytes | None] = pipe.execute()
        return values

    def _together(self, *commands: tuple[str, Any]) -> tuple[bytes | None, list[Any]]:
        """Return the version that is served, and answers that were given while it was.

        A version may go and come back between two looks, under the same name: so all is asked in one step. A cluster
        has none, and never the same name twice: a version that is served afterwards was so all the time.
        """
        pointer, cluster = f"{self._prefix}:current", hasattr(self._client, "get_nodes")
        with self._client.pipeline(transaction=not cluster) as pipe:
            for command, key in commands:
                getattr(pipe, command)(key)
            if not cluster:
                pipe.get(pointer)
            answers = pipe.execute()
        return (self._client.get(pointer) if cluster else answers.pop()), answers

    def _list(self, version: _Version, name: bytes, value: bytes | None, n: int | None) -> ServedList:
        popular = value is None and version.popular is not None
        value = (version.popular or b"") if value is None else value
        width = 4 + version.scores.itemsize
        count, rest = divmod(len(value), width)
        ids = np.frombuffer(value, "<i4", count)
        scores = np.frombuffer(value, version.scores, count, 4 * count)
        # scores that do not fall are ids, of a list that was cut off
        if rest or not (np.isfinite(scores).all() and (scores[:-1] >= scores[1:]).all()):
            raise self._broken(f"the list of {_shown(name)} is cut off or is none")
        if version.n_items is not None and count and (ids.min() < 0 or ids.max() >= version.n_items):
            raise self._broken(f"the list of {_shown(name)} names items that are not there")
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
            name = self._client.get(f"{self._prefix}:current")
            if isinstance(name, str):
                raise ParameterError("client must be made with decode_responses=False: lists are bytes")
            if name is None:
                raise ServingError(f"{self._address} holds no lists under the prefix {self._prefix!r}: publish some")
            if self._version is None or self._version.name != name:
                self._version = self._load(name)
            if self._version is not None:
                self._looked = now
                return self._version
        raise self._broken(f"the version {_shown(name)}, which is to be served, is not there")

    def _load(self, name: bytes) -> _Version | None:
        """Return what is known of a version, None if it is going away."""
        with self._understood(f"the version {_shown(name)}"):
            text = name.decode()
        kinds = ("meta", "hgetall"), ("popular", "get"), ("items", "hgetall"), ("titles", "hgetall")
        asked = ((command, f"{self._prefix}:{kind}:{text}") for kind, command in kinds)
        served, (meta, popular, labels, called) = self._together(*asked)
        if served != name or not meta:
            return None
        with self._understood(f"the description of version {text}"):
            if meta[b"format"] != FORMAT:
                raise self._broken(f"the lists are of format {_shown(meta[b'format'])}, not {_shown(FORMAT)}")
            kind, dtype = meta[b"items"].decode(), meta[b"scores"].decode()
            if dtype not in SCORES.values():
                raise self._broken(f"the scores are of an unknown kind, {dtype!r}")
            n_items = int(meta[b"n_items"]) if b"n_items" in meta else None
            if popular is None and b"n_users" in meta:
                raise self._broken("the popular items are not there")
        items = titles = None
        if kind != "int32":
            with self._understood(f"the items of version {text}"):
                read = list(map(_READ[kind], self._labels(labels, n_items)))
                items = np.fromiter(read, object, len(read))
                n_items = len(read)
        if called:
            with self._understood(f"the titles of version {text}"):
                titles = [None if title is None else _text(title) for title in self._labels(called, n_items)]
        indexed = n_items if items is not None or titles is not None else None  # else lists may hold labels
        return _Version(name, np.dtype(dtype), indexed, items, titles, popular)

    def _labels(self, blocks: dict[bytes, bytes], size: int | None) -> list[Any]:
        """Put blocks of labels together, if they are all there."""
        lists = [json.loads(blocks[b"%d" % number]) for number in range(len(blocks))]
        labels = [label for each in lists for label in each]
        if any(len(each) != BLOCK for each in lists[:-1]) or not labels or len(labels) != (size or len(labels)):
            raise ValueError(f"{len(labels)} labels in {len(lists)} blocks, not {size}")
        return labels

    @contextmanager
    def _understood(self, what: str) -> Iterator[None]:
        try:
            yield
        except FastalsError:
            raise
        except (LookupError, ValueError, TypeError, AttributeError, RecursionError, OverflowError) as error:
            raise self._broken(f"{what} cannot be read: {type(error).__name__}: {error}") from error

    def _broken(self, what: str) -> ServingError:
        return ServingError(
            f"{self._address}, prefix {self._prefix!r}: {what}: publish again, or set the key "
            f"{self._prefix}:current to another version"
        )


def _shown(text: bytes) -> str:
    return repr(text[:80].decode("utf-8", "backslashreplace"))


def _text(label: Any) -> str:
    if not isinstance(label, str):
        raise TypeError(f"{label!r} is no string")
    return label


def _number(label: Any) -> int:
    if not isinstance(label, int):
        raise TypeError(f"{label!r} is no integer")
    return label


_READ: dict[str, Callable[[Any], Any]] = {
    "UUIDs": UUID,
    "bytes": bytes.fromhex,
    "integers": _number,
    "strings": _text,
}

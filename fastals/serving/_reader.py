"""Lists read back from Redis."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from .._core import ServingError, check_int, check_real
from ._lists import text_of
from ._redis import connect, masked, told
from ._resp import FORMAT


class ServedList(NamedTuple):
    """What a user is shown.

    Attributes
    ----------
    items : list
        Labels, or indices where the model had no labels; best first.
    scores : array of shape (n,), float16 or float32
    popular : bool
        These are the items that most users have: there is no list for this user.
    """

    items: list[Any]
    scores: NDArray[Any]
    popular: bool


class _Version(NamedTuple):
    name: bytes
    scores: np.dtype[Any]
    items: NDArray[Any] | None
    popular: bytes


class RedisRecommendations:
    """Reads lists that :func:`publish` has pushed to Redis.

    A list is read whole and from one version, also while another is published. Item labels and the popular items are
    read once a version.

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
        The server does not answer, or holds no lists under this prefix.

    Examples
    --------
    >>> from fastals.serving import RedisRecommendations
    >>> reader = RedisRecommendations("redis://localhost:6379/0")  # connects at the first get
    """

    def __init__(self, url: str, *, prefix: str = "fastals", pointer_seconds: float = 1.0, client: Any = None) -> None:
        self._url = url
        self._client = client or connect(url)
        self._prefix = prefix
        self._trust = check_real("pointer_seconds", pointer_seconds, low=0)
        self._version: _Version | None = None
        self._looked = -np.inf

    @property
    def version(self) -> str:
        """The version that is served now."""
        with told(self._url):
            return self._current(fresh=True).name.decode()

    def get(self, user: Any, n: int | None = None) -> ServedList:
        """Return the list of one user, the popular items if there is none.

        Parameters
        ----------
        user : label, or index where the model had no labels
        n : int, optional
            At most so many items.

        Raises
        ------
        ServingError
        """
        return self.get_many([user], n)[0]

    def get_many(self, users: Iterable[Any], n: int | None = None) -> list[ServedList]:
        """Return the lists of several users, all of one version, in one round trip.

        Parameters
        ----------
        users : iterable of labels
        n : int, optional

        Raises
        ------
        ServingError
        """
        n = None if n is None else check_int("n", n, low=1)
        names = [text_of(user) for user in users]
        with told(self._url):
            version = self._current(fresh=False)
            values = self._read(version, names)
            while any(value is None for value in values):
                # no list, or the version was removed: it is one if it is still served after we looked
                now = self._current(fresh=True)
                if now.name == version.name:
                    break
                version, values = now, self._read(now, names)
        return [self._list(version, value, n) for value in values]

    def _read(self, version: _Version, names: list[bytes]) -> list[bytes | None]:
        keys = [f"{self._prefix}:".encode() + version.name + b":" + name for name in names]
        if len(keys) == 1:
            return [self._client.get(keys[0])]
        with self._client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.get(key)
            values: list[bytes | None] = pipe.execute()
        return values

    def _list(self, version: _Version, value: bytes | None, n: int | None) -> ServedList:
        popular = value is None
        value = version.popular if value is None else value
        count = len(value) // (4 + version.scores.itemsize)
        ids = np.frombuffer(value, "<i4", count)[:n]
        scores = np.frombuffer(value, version.scores, count, 4 * count)[:n]
        return ServedList((ids if version.items is None else version.items[ids]).tolist(), scores, popular)

    def _current(self, fresh: bool) -> _Version:
        now = time.monotonic()
        if self._version is not None and not fresh and now - self._looked < self._trust:
            return self._version
        for _ in range(10):
            name = self._client.get(f"{self._prefix}:current")
            if name is None:
                raise ServingError(f"{masked(self._url)} holds no lists under the prefix {self._prefix!r}")
            if self._version is None or self._version.name != name:
                self._version = self._load(name)
            if self._version is not None:
                self._looked = now
                return self._version
        raise ServingError(f"{masked(self._url)} lacks the description of the lists that its pointer names: {name!r}")

    def _load(self, name: bytes) -> _Version | None:
        """Return what is known of a version, None if it is going away."""
        text = name.decode()
        meta = self._client.hgetall(f"{self._prefix}:meta:{text}")
        popular = self._client.get(f"{self._prefix}:popular:{text}")
        if not meta or popular is None:
            return None
        if meta[b"format"] != FORMAT:
            raise ServingError(f"{masked(self._url)} holds lists of format {meta[b'format']!r}, not {FORMAT!r}")
        kind, items = meta[b"items"].decode(), None
        if kind != "int32":
            blocks = self._client.hgetall(f"{self._prefix}:items:{text}")
            if not blocks:
                return None
            labels = [label for number in sorted(blocks, key=int) for label in json.loads(blocks[number])]
            items = np.fromiter(map(_READ.get(kind, _same), labels), object, len(labels))
        return _Version(name, np.dtype(meta[b"scores"].decode()), items, popular)


def _same(label: Any) -> Any:
    return label


_READ: dict[str, Callable[[Any], Any]] = {"UUIDs": UUID, "bytes": bytes.fromhex}

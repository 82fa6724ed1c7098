"""Lists in Redis: the layout, the protocol, the push and the reader. The keys are told in fastals.serving.

USER in a key is the label in UTF-8, decimal digits, or a UUID's usual form. A version is named by what is in it, 8
characters, so that the same lists have the same name. One version is kept beside the current one: for readers
that have just looked up the pointer, and for going back with ``SET P:current V``.

A list is one value and is set whole; no reader sees a version before all of it is there. All commands may be repeated.
"""

from __future__ import annotations

import json
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from ._exceptions import ParameterError, ServingError
from ._lists import Batch, Lists, text_of
from ._storage import need
from ._validation import check_choice, check_int, check_real

__all__ = ["RedisRecommendations", "ServedList", "is_redis", "ping", "protocol", "push"]

SCHEMES = ("redis", "rediss", "unix", "redis+cluster", "rediss+cluster")
SCORES = {"float16": "<f2", "float32": "<f4"}
FORMAT = b"1"

SET_EXPIRING = b"for i, key in ipairs(KEYS) do redis.call('SET', key, ARGV[i + 1], 'EX', ARGV[1]) end return 'OK'"
"""MSET with an expiry, which Redis has not."""

BLOCK = 1 << 16
"""Item labels in one field."""

GROUP = 1024
"""Lists in one command."""

IN_FLIGHT = 4
"""Batches that are sent before the answers to the first of them must have come: back-pressure."""

SCAN = 10_000
"""Keys looked through at a time when an old version is removed."""

LOCK_SECONDS = 60
"""How long nobody else may publish under a prefix after the last sign of life."""

TIMEOUT = 60.0
"""Seconds without an answer after which a server counts as gone."""


def is_redis(target: str) -> bool:
    """Whether an address is one of a Redis server."""
    return target.split("://", maxsplit=1)[0].lower() in SCHEMES and "://" in target


# ----------------------------------------------------------------------------------------------------------------------
# the layout and the protocol


class Layout:
    """How the lists of one version are written."""

    def __init__(self, lists: Lists, prefix: str, ttl: int | None, score_dtype: str) -> None:
        if not isinstance(prefix, str) or not prefix or not re.fullmatch(r"[\x21-\x7e]+", prefix):
            raise ParameterError(f"prefix must be printable ASCII without spaces, got {prefix!r}")
        self.lists = lists
        self.prefix = prefix
        self.ttl = None if ttl is None else check_int("ttl", ttl, low=1)
        check_choice("score_dtype", score_dtype, tuple(SCORES))
        self.dtype = np.dtype(SCORES[score_dtype])
        self.version = lists.fingerprint(score_dtype)
        values = lists.items.values
        small = values is None or (values.dtype.kind == "i" and values.min() >= -(2**31) and values.max() < 2**31)
        self.ids = None if not small or values is None else values.astype("<i4")
        self.item_kind = "int32" if small else lists.items.kind

    def key(self, name: str) -> bytes:
        return f"{self.prefix}:{name}".encode()

    def pack(self, items: NDArray[np.int32], scores: NDArray[Any]) -> tuple[bytes, list[int]]:
        """Return the values of some lists, each in ``n * (4 + itemsize)`` bytes, and the bytes that each has."""
        m, n = items.shape
        listed = (items >= 0).sum(axis=1)
        with np.errstate(over="ignore"):
            short = np.where(items >= 0, scores, 0).astype(self.dtype)
        if not np.isfinite(short).all():
            raise ParameterError(
                f"score_dtype {self.dtype.name} cannot hold a score of {np.abs(scores[items >= 0]).max():g}: "
                "use score_dtype='float32'"
            )
        ids = items if self.ids is None else self.ids[items]
        record = np.empty((m, n * (4 + self.dtype.itemsize)), np.uint8)
        full = listed == n
        record[:, : 4 * n] = ids.astype("<i4", copy=False).view(np.uint8)
        record[:, 4 * n :] = short.view(np.uint8)
        for row in np.flatnonzero(~full).tolist():  # scores follow close behind the ids that there are
            count = int(listed[row])
            record[row, 4 * count : (4 + self.dtype.itemsize) * count] = short[row, :count].view(np.uint8)
        return record.tobytes(), (listed * (4 + self.dtype.itemsize)).tolist()

    def values(self, batch: Batch) -> tuple[list[bytes], list[bytes]]:
        """Return the keys and the values of a batch's lists."""
        data, sizes = self.pack(batch.items, batch.scores)
        width = batch.items.shape[1] * (4 + self.dtype.itemsize)
        head = self.key(f"{self.version}:")
        labels = self.lists.labels(batch.first, len(sizes)).tolist()
        if labels and isinstance(labels[0], str):
            keys = [head + label.encode("utf-8", "surrogatepass") for label in labels]
        else:
            keys = [head + text_of(label) for label in labels]
        return keys, [data[at : at + size] for at, size in zip(range(0, width * len(sizes), width), sizes, strict=True)]

    def before(self) -> Iterator[tuple[bytes, ...]]:
        """Commands that come before the lists."""
        lists = self.lists
        meta = self.key(f"meta:{self.version}")
        yield b"SADD", self.key("versions"), self.version.encode()
        facts = {
            "format": FORMAT,
            "scores": self.dtype.str.encode(),
            "items": self.item_kind.encode(),
            "n": b"%d" % lists.n,
            "n_users": b"%d" % len(lists.users),
        }
        yield b"HSET", meta, *(part for name, value in facts.items() for part in (name.encode(), value))
        if self.item_kind != "int32":
            assert lists.items.values is not None
            for number, at in enumerate(range(0, len(lists.items), BLOCK)):
                block = [_plain(label) for label in lists.items.values[at : at + BLOCK].tolist()]
                yield b"HSET", self.key(f"items:{self.version}"), b"%d" % number, json.dumps(block).encode()
        items, shares = lists.popular()
        data, sizes = self.pack(items[None, :], shares[None, :])
        yield b"SET", self.key(f"popular:{self.version}"), data[: sizes[0]]

    def switch(self) -> tuple[bytes, ...]:
        """The command that makes this version the one that is served."""
        return b"SET", self.key("current"), self.version.encode()

    def progress(self, done: int) -> tuple[bytes, ...]:
        """The command that notes how many users' lists are there."""
        return b"HSET", self.key(f"meta:{self.version}"), b"done", b"%d" % done

    def payload(self, batch: Batch) -> tuple[bytes, int]:
        """Return a batch's commands and their number; the last notes the progress."""
        keys, values = self.values(batch)
        out = []
        for at in range(0, len(keys), GROUP):
            out.append(self._group(keys[at : at + GROUP], values[at : at + GROUP]))
        out.append(command(*self.progress(batch.first + len(keys))))
        return b"".join(out), len(out)

    def _group(self, keys: list[bytes], values: list[bytes]) -> bytes:
        """Return one command that sets many keys: one answer to read, not one for each."""
        if self.ttl is None:
            pairs = zip(keys, values, strict=True)
            return b"*%d\r\n$4\r\nMSET\r\n" % (1 + 2 * len(keys)) + b"".join(
                [b"$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(key), key, len(value), value) for key, value in pairs]
            )
        return command(b"EVAL", SET_EXPIRING, b"%d" % len(keys), *keys, b"%d" % self.ttl, *values)


def command(*parts: bytes) -> bytes:
    """Return one command in the protocol (RESP)."""
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)


def protocol(layout: Layout, batches: Iterable[Batch]) -> Iterator[bytes]:
    """Yield all commands of a publication, the switch last: what ``redis-cli --pipe`` reads."""
    yield b"".join(command(*parts) for parts in layout.before())
    for batch in batches:
        yield layout.payload(batch)[0]
    yield command(*layout.switch())


def _plain(label: Any) -> Any:
    return label.hex() if isinstance(label, bytes) else label if isinstance(label, int) else str(label)


# ----------------------------------------------------------------------------------------------------------------------
# the push


def connect(url: str) -> Any:
    """Return redis-py's client for an address; nothing is sent yet."""
    need("redis", "redis", "Redis")
    import redis

    scheme, rest = url.split("://", 1)
    options: dict[str, Any] = {"socket_timeout": TIMEOUT, "socket_connect_timeout": 10.0, "socket_keepalive": True}
    try:
        if scheme.lower().endswith("+cluster"):
            with _told(url):
                return redis.RedisCluster.from_url(f"{scheme[: -len('+cluster')]}://{rest}", **options)
        if scheme.lower() == "unix":
            options.pop("socket_keepalive")
        return redis.Redis.from_url(url, **options)
    except ValueError as error:
        if isinstance(error, ServingError):
            raise
        raise ParameterError(f"{masked(url)}: {error}") from None


def ping(url: str) -> None:
    """Refuse an address whose server does not answer, or not to us."""
    client = connect(url)
    try:
        with _told(url):
            client.ping()
    finally:
        client.close()


def masked(url: str) -> str:
    """Return an address without its password."""
    return re.sub(r"(?<=:)[^:@/]*(?=@)", "***", url)


@contextmanager
def _told(url: str, consequence: Callable[[], str] = lambda: "") -> Iterator[None]:
    """Say in our words what redis-py's errors mean."""
    import redis

    try:
        yield
    except redis.exceptions.RedisError as error:
        text = " ".join(str(error).split())
        if isinstance(error, (redis.exceptions.AuthenticationError, redis.exceptions.NoPermissionError)):
            what = f"refuses the user and password of the address, or what they may do: {text}"
        elif isinstance(error, redis.exceptions.OutOfMemoryError):
            what = f"is out of memory: its maxmemory must hold the old lists and the new: {text}"
        elif isinstance(error, (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError)):
            what = f"cannot be reached, or has gone: {text}"
        else:
            what = f"answers with an error: {text}"
        raise ServingError(f"{masked(url)} {what}{consequence()}") from error


def push(url: str, layout: Layout, *, watch: Callable[[int], object] = lambda done: None) -> None:
    """Publish lists to a Redis server or cluster.

    After an error the version that was served is still served. What was pushed stays and the next push of the same
    lists goes on from there; but if the server ran out of memory, it is removed.

    Parameters
    ----------
    watch : callable
        Told how many users' lists the server has.
    """
    done = 0
    served: str | None = None

    def consequence() -> str:
        lists = f"the lists of version {served} are still served" if served else "no lists are served yet"
        return f"; {done:,} of {len(layout.lists.users):,} users' lists were pushed, {lists}; run it again to go on"

    client = connect(url)
    cluster = url.lower().split("://")[0].endswith("+cluster")
    lock = _Lock(client, layout, url)
    try:
        with _told(url, consequence):
            version = layout.version.encode()
            current = client.get(layout.key("current"))
            served = None if current is None else current.decode()
            lock.take()
            for old in set(client.smembers(layout.key("versions"))) - {current, version}:
                _remove(client, layout, old)
            if not cluster:
                _check_room(client, layout, url)
                evicted = client.info("stats")["evicted_keys"]
                # after a crash the server's log is a prefix of what was sent: what `done` says is there
                done = int(client.hget(layout.key(f"meta:{layout.version}"), "done") or 0)
            if layout.ttl is not None or done > len(layout.lists.users):
                done = 0  # lists pushed before would expire before the others
            watch(done)
            with (_ClusterSender if cluster else _Sender)(client, layout) as sender:
                for batch in layout.lists.batches(done):
                    for pushed in sender.send(batch):
                        done = pushed
                        watch(done)
                    lock.renew()
                for pushed in sender.finish():
                    done = pushed
                    watch(done)
            if not cluster and client.info("stats")["evicted_keys"] != evicted:
                raise ServingError(
                    f"{masked(url)} has evicted keys during the push, perhaps of these lists: its maxmemory-policy "
                    f"must be noeviction, or its maxmemory larger{consequence()}"
                )
            lock.check()
            client.set(*layout.switch()[1:])
    except ServingError as error:
        if isinstance(error.__cause__, _out_of_memory()):
            _give_back(client, layout)
        raise
    finally:
        lock.release()
        client.close()


class _Lock:
    """Keeps others from publishing, and so from removing what is not served yet, while one does.

    It names the version: the same lists may be published again at once after a crash, others when it has expired.
    """

    def __init__(self, client: Any, layout: Layout, url: str) -> None:
        self.client, self.url = client, url
        self.key, self.version = layout.key("lock"), layout.version.encode()
        self.renewed = 0.0
        self.held = False

    def take(self) -> None:
        if not self.client.set(self.key, self.version, nx=True, ex=LOCK_SECONDS):
            self.check()
        self.held = True
        self.renewed = time.monotonic()

    def check(self) -> None:
        """Refuse to go on if the lock is another's, or is no longer."""
        holder = self.client.get(self.key)
        if holder == self.version:
            return
        if holder is None and not self.held:
            raise ServingError(f"{masked(self.url)}: another publication has just ended; run it again")
        if holder is None:
            raise ServingError(f"{masked(self.url)}: the lock of this publication has expired; run it again")
        raise ServingError(
            f"{masked(self.url)}: the lists of version {holder.decode()} are being published by another process; if it "
            f"has died, its lock {self.key.decode()!r} expires in {self.client.ttl(self.key)} s"
        )

    def renew(self) -> None:
        if time.monotonic() - self.renewed > LOCK_SECONDS / 6:
            self.check()
            self.client.expire(self.key, LOCK_SECONDS)
            self.renewed = time.monotonic()

    def release(self) -> None:
        import redis

        with suppress(redis.exceptions.RedisError):
            if self.held and self.client.get(self.key) == self.version:
                self.client.delete(self.key)


def _out_of_memory() -> Any:
    import redis

    return redis.exceptions.OutOfMemoryError


def _give_back(client: Any, layout: Layout) -> None:
    import redis

    with suppress(redis.exceptions.RedisError):  # the error that is under way says more
        if client.get(layout.key("current")) != layout.version.encode():
            _remove(client, layout, layout.version.encode())


def _check_room(client: Any, layout: Layout, url: str) -> None:
    """Refuse a server that would evict other lists to make room for these."""
    memory = client.info("memory")
    limit, policy = int(memory.get("maxmemory", 0)), str(memory.get("maxmemory_policy", "noeviction"))
    need_bytes = len(layout.lists.users) * (90 + layout.lists.n * (4 + layout.dtype.itemsize) + len(layout.prefix))
    evicts = policy.startswith("allkeys") or (layout.ttl is not None and policy.startswith("volatile"))
    if limit and evicts and int(memory["used_memory"]) + need_bytes > limit:
        raise ServingError(
            f"{masked(url)} has maxmemory {limit:,} and maxmemory-policy {policy}: it would evict lists that are "
            f"served to make room for about {need_bytes:,} bytes of new ones; nothing was pushed"
        )


def _remove(client: Any, layout: Layout, version: bytes) -> None:
    """Remove all keys of a version that is not served."""
    name = version.decode()
    pattern = re.sub(rb"([*?\[\]\\^])", rb"\\\1", layout.key(f"{name}:")) + b"*"
    keys: list[bytes] = [layout.key(f"{kind}:{name}") for kind in ("meta", "items", "popular")]
    for key in client.scan_iter(match=pattern, count=SCAN):
        keys.append(key)
        if len(keys) >= SCAN:
            _unlink(client, keys)
            keys = []
    _unlink(client, keys)
    client.srem(layout.key("versions"), version)


def _unlink(client: Any, keys: list[bytes]) -> None:
    if not hasattr(client, "get_nodes"):
        client.unlink(*keys)
        return
    with client.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.unlink(key)
        pipe.execute()


class _Sender:
    """One connection to one server, batches ahead of their answers."""

    def __init__(self, client: Any, layout: Layout) -> None:
        self.client, self.layout = client, layout
        self.connection = client.connection_pool.get_connection()
        self.in_flight: deque[tuple[int, int]] = deque()

    def __enter__(self) -> _Sender:
        commands = list(self.layout.before())
        self.connection.send_packed_command([command(*parts) for parts in commands])
        for _ in commands:
            self._read()
        return self

    def __exit__(self, *exception: object) -> None:
        self.connection.disconnect()
        self.client.connection_pool.release(self.connection)

    def send(self, batch: Batch) -> Iterator[int]:
        payload, answers = self.layout.payload(batch)
        self.connection.send_packed_command([payload])
        self.in_flight.append((answers, batch.first + len(batch.items)))
        while len(self.in_flight) >= IN_FLIGHT:
            yield self._answered()

    def finish(self) -> Iterator[int]:
        while self.in_flight:
            yield self._answered()

    def _answered(self) -> int:
        answers, done = self.in_flight.popleft()
        for _ in range(answers):
            self._read()
        return done

    def _read(self) -> None:
        self.connection.read_response()


class _ClusterSender:
    """Many servers: redis-py's pipeline finds each key's, and waits for the answers of each batch."""

    def __init__(self, client: Any, layout: Layout) -> None:
        self.client, self.layout = client, layout

    def __enter__(self) -> _ClusterSender:
        for parts in self.layout.before():
            self.client.execute_command(parts[0].decode(), *parts[1:])
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def send(self, batch: Batch) -> Iterator[int]:
        with self.client.pipeline() as pipe:
            for key, value in zip(*self.layout.values(batch), strict=True):
                pipe.set(key, value, ex=self.layout.ttl)
            pipe.execute()
        yield batch.first + len(batch.items)

    def finish(self) -> Iterator[int]:
        yield len(self.layout.lists.users)


# ----------------------------------------------------------------------------------------------------------------------
# the reader


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
        with _told(self._url):
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
        with _told(self._url):
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

"""Lists on their way to Redis, as fastals.serving._resp lays them out: whole versions, switched in one step.

One version is kept beside the current one: for readers that have just looked up the pointer, and for going back with
``SET P:current V``. No reader sees a version before all of it is there.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from .._core import ParameterError, ServingError
from .._files import need
from ._lists import Batch
from ._resp import Layout, command

SCHEMES = ("redis", "rediss", "unix", "redis+cluster", "rediss+cluster")

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


def connect(url: str) -> Any:
    """Return redis-py's client for an address; nothing is sent yet."""
    need("redis", "redis", "Redis")
    import redis

    scheme, rest = url.split("://", 1)
    options: dict[str, Any] = {"socket_timeout": TIMEOUT, "socket_connect_timeout": 10.0, "socket_keepalive": True}
    try:
        if scheme.lower().endswith("+cluster"):
            with told(url):
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
        with told(url):
            client.ping()
    finally:
        client.close()


def masked(url: str) -> str:
    """Return an address without its password."""
    return re.sub(r"(?<=:)[^:@/]*(?=@)", "***", url)


@contextmanager
def told(url: str, consequence: Callable[[], str] = lambda: "") -> Iterator[None]:
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
        with told(url, consequence):
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

"""What is published on its way to Redis, as its layout has it: whole versions, switched in one step.

One version is kept beside the current one: for readers that have just looked up the pointer, and for going back with
``SET P:current V``. No reader sees a version before all of it is there.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from .._core import ServingError
from ._address import Address
from ._resp import command
from ._versions import Step, Versions

if TYPE_CHECKING:
    from ._resp import Layout

IN_FLIGHT = 4
"""Batches that are sent before the answers to the first of them must have come: back-pressure."""


def push(address: Address, layout: Layout, *, watch: Callable[[int], object] = lambda done: None) -> str:
    """Publish to a Redis server or cluster; returns the version's name.

    After an error the version that was served is still served. What was pushed stays and the next push of the same
    lists goes on from there; but if the server ran out of memory, it is removed.

    Parameters
    ----------
    watch : callable
        Told of how many users or items the server has what is published.
    """
    import redis

    client = address.connect()
    options: Any = {"unique": layout.unique, "dropped": lambda name: layout.dropped(client, name)}
    versions = Versions(client, address, layout.prefix, layout.version, **options)
    layout.version = versions.name
    done = 0

    def consequence() -> str:
        what = f"version {versions.served} is still served" if versions.served else "nothing is served yet"
        return f"; {done:,} of {layout.size:,} were pushed, {what}; run it again to go on"

    try:
        with address.told(consequence, alone=True):
            if not address.cluster:
                layout.prepare(client)
            versions.begin()
        with address.told(consequence):
            if not address.cluster:
                evicts = _check_room(client, layout, address)
                evicted = client.info("stats")["evicted_keys"]
                # after a crash the server's log is a prefix of what was sent: what `done` says is there, unless it
                # was evicted, or expires before the others
                if not (versions.is_new or evicts or layout.ttl is not None):
                    done = _progress(client.hget(layout.key(f"meta:{layout.version}"), "done"), layout.size)
            watch(done)
            with (_ClusterSender if address.cluster else _Sender)(client, layout, versions) as sender:
                sender.start(done)
                for batch in layout.batches(done):
                    for pushed in sender.send(batch):
                        done = pushed
                        watch(done)
                for pushed in sender.finish():
                    done = pushed
                    watch(done)
            if not address.cluster and client.info("stats")["evicted_keys"] != evicted:
                raise ServingError(
                    f"{address} has evicted keys during the push, perhaps of these lists: its maxmemory-policy "
                    f"must be noeviction, or its maxmemory larger{consequence()}"
                )
            versions.switch(layout.size)
    except ServingError as error:
        with suppress(ServingError, redis.exceptions.RedisError):  # the error that is under way says more
            if isinstance(error.__cause__, redis.exceptions.OutOfMemoryError):
                versions.drop(layout.version)
            versions.forsake()
        raise
    finally:
        versions.release()
        client.close()
    return layout.version


def _progress(noted: bytes | None, size: int) -> int:
    """Return how many rows of a version are there, by what its description says; 0 where that is no such number."""
    return int(noted) if noted and re.fullmatch(rb"0|[1-9]\d{0,9}", noted) and int(noted) <= size else 0


def _check_room(client: Any, layout: Layout, address: Address) -> bool:
    """Refuse a server that would evict other lists to make room for these; returns whether it evicts any at all."""
    memory = client.info("memory")
    limit, policy = int(memory.get("maxmemory", 0)), str(memory.get("maxmemory_policy", "noeviction"))
    need_bytes = layout.size * layout.bytes_each
    evicts = policy.startswith("allkeys") or (layout.ttl is not None and policy.startswith("volatile"))
    if limit and evicts and int(memory["used_memory"]) + need_bytes > limit:
        raise ServingError(
            f"{address} has maxmemory {limit:,} and maxmemory-policy {policy}: it would evict lists that are "
            f"served to make room for about {need_bytes:,} bytes of new ones; nothing was pushed"
        )
    return evicts


class _Sender:
    """One connection to one server, batches ahead of their answers."""

    def __init__(self, client: Any, layout: Layout, versions: Versions) -> None:
        self.client, self.layout, self.versions = client, layout, versions
        self.connection = client.connection_pool.get_connection()
        self.in_flight: deque[tuple[int, int]] = deque()
        self.sent = 0

    def __enter__(self) -> _Sender:
        return self

    def __exit__(self, *exception: object) -> None:
        self.connection.disconnect()
        self.client.connection_pool.release(self.connection)

    def start(self, done: int) -> None:
        """Write what comes before the rows, unless some of these are there, and so that is."""
        self.sent = done
        if not done:
            for step in self.layout.first_steps():
                self._write([step])
                self._read()

    def send(self, batch: Any) -> Iterator[int]:
        steps = self.layout.steps(batch, self.sent)
        self._write(steps)
        self.sent = batch.done
        self.in_flight.append((len(steps), batch.done))
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

    def _write(self, steps: list[Step]) -> None:
        self.connection.send_packed_command([b"".join(command(*self.versions.writing(step)) for step in steps)])

    def _read(self) -> Any:
        return self.versions.heard(self.connection.read_response)


class _ClusterSender:
    """Many servers: redis-py's pipeline finds each key's, and waits for the answers of each batch."""

    def __init__(self, client: Any, layout: Layout, versions: Versions) -> None:
        self.client, self.layout, self.versions = client, layout, versions

    def __enter__(self) -> _ClusterSender:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def start(self, done: int) -> None:
        for parts in self.layout.before():
            self.client.execute_command(parts[0].decode(), *parts[1:])

    def send(self, batch: Any) -> Iterator[int]:
        self.versions.renew(now=True)
        name, keys, arguments = self.layout.written(batch)
        width = len(arguments) // max(len(keys), 1)
        with self.client.pipeline() as pipe:
            for place, key in enumerate(keys):
                pipe.execute_command(name.decode(), key, *arguments[place * width : (place + 1) * width])
            pipe.execute()
        yield batch.done

    def finish(self) -> Iterator[int]:
        yield self.layout.size

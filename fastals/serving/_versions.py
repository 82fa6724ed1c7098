"""Which versions there are under a prefix, which is served, and who may change that: one publisher at a time.

A publisher may lose its lock at any moment and not know it. So whatever it changes for others is one script, which
looks first whether the lock is its own still, and what is served now. In a cluster the keys of a list cannot be looked
at in one step with the lock: there a version's name is never used again, and a list of one that goes is nobody else's.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NoReturn

from .._core import ServingError
from ._address import Address

LOCK_SECONDS = 60
"""How long nobody else may publish under a prefix after the last sign of life."""

SCAN = 5_000
"""Keys looked through at a time when an old version is removed."""

# KEYS begin with lock, publisher, versions, going, current; ARGV with this publisher's token, its version, the seconds.
TAKE = b"""
local holder = redis.call('GET', KEYS[1])
if holder and string.sub(holder, 1, #ARGV[4]) ~= ARGV[4] then return {0, holder, redis.call('TTL', KEYS[1])} end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[3])
redis.call('SET', KEYS[2], ARGV[1])
return {1, redis.call('GET', KEYS[5]) or ''}
"""
"""Take a lock that is nobody's, or begins with ARGV[4], being that of an earlier run with the same lists; told what is
served."""

HELD = b"""
local holder = redis.call('GET', KEYS[1])
if not holder and redis.call('GET', KEYS[2]) == ARGV[1] then holder = ARGV[1] end
if holder ~= ARGV[1] then return {0, holder or '', redis.call('TTL', KEYS[1])} end
"""
"""Go on where the lock is this publisher's, or has expired and nobody has taken it since."""

BEGIN = (
    HELD
    + b"""
redis.call('SREM', KEYS[4], ARGV[2])
return {1, redis.call('SADD', KEYS[3], ARGV[2])}
"""
)
"""Say that the version may have keys from now on; told whether it is new."""

RENEW = (
    HELD
    + b"""
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[3])
if ARGV[4] then redis.call('HSET', KEYS[6], 'done', ARGV[4]) end
return {1}
"""
)
"""Give a sign of life, and note in KEYS[6] how many lists are there."""

SWITCH = (
    HELD
    + b"""
redis.call('SET', KEYS[5], ARGV[2])
return {1}
"""
)

CONDEMN = (
    HELD
    + b"""
if redis.call('GET', KEYS[5]) == ARGV[4] then return {1, 'served'} end
redis.call('SADD', KEYS[4], ARGV[4])
redis.call('SREM', KEYS[3], ARGV[4])
if KEYS[6] then redis.call('DEL', KEYS[6]) end
return {1, ''}
"""
)
"""Say of a version that it goes: from now on it is never served, nor pushed on where it was left."""

REMOVE = (
    HELD
    + b"""
local count = 0
for i = 6, #KEYS do count = count + redis.call('UNLINK', KEYS[i]) end
return {1, count}
"""
)

GONE = (
    HELD
    + b"""
redis.call('SREM', KEYS[4], ARGV[4])
return {1}
"""
)

RELEASE = b"""
for i = 1, 2 do if redis.call('GET', KEYS[i]) == ARGV[1] then redis.call('DEL', KEYS[i]) end end
return {1}
"""

PARTS = ("meta", "items", "titles", "popular")
"""What a version has besides its lists."""


class Versions:
    """The versions under a prefix, for one publisher.

    A version is named by what is in it, so that the same lists, published again, go on where they were left. Where
    ``unique`` says so, and in a cluster, chance is added and they begin anew. ``dropped`` is told which go.
    """

    def __init__(
        self,
        client: Any,
        address: Address,
        prefix: str,
        name: str,
        *,
        unique: bool = False,
        dropped: Callable[[str], None] = lambda name: None,
    ) -> None:
        self.client, self.address, self.prefix = client, address, prefix
        self.name = f"{name}{secrets.token_hex(4)}" if unique or address.cluster else name
        self._same = f"{name}:".encode()
        self._token = self._same + secrets.token_hex(8).encode()
        self._keys = [*map(self._control, ("lock", "publisher", "versions", "going")), self.key("current")]
        self._dropped = dropped
        self.served: str | None = None
        self.is_new = True
        self._held = False
        self._alive = 0.0

    def key(self, name: str) -> bytes:
        """Return a key under the prefix."""
        return f"{self.prefix}:{name}".encode("utf-8", "surrogateescape")

    def _control(self, name: str) -> bytes:
        """Return a key that scripts look at together with the pointer: in a cluster, one in the pointer's slot."""
        if self.address.cluster and not re.search(r"\{[^}]+\}", self.prefix):
            return f"{{{self.prefix}:current}}:{name}".encode()
        return self.key(name)

    # -- the lock -----------------------------------------------------------------------------------------------------

    def lock(self) -> None:
        """Take the lock, and look up what is served."""
        name = self.name.encode()
        taken, what, *more = self.client.eval(TAKE, 5, *self._keys, self._token, name, LOCK_SECONDS, self._same)
        if not taken:
            self._refuse(what, *more)
        self._held, self._alive = True, time.monotonic()
        self.served = _text(what) or None

    def begin(self) -> None:
        """Take the lock and begin this version; others go, but for the one that is served."""
        self.lock()
        (is_new,) = self._script(BEGIN)
        self.is_new = bool(is_new)
        for other in self.names():
            if other not in (self.served, self.name):
                self.drop(other)

    def names(self) -> list[str]:
        """Return the versions that may have lists."""
        return sorted(_text(name) for key in self._keys[2:4] for name in self.client.smembers(key))

    def renew(self) -> None:
        """Give a sign of life now and then.

        Raises
        ------
        ServingError
            Another publisher has taken the lock.
        """
        if time.monotonic() - self._alive > LOCK_SECONDS / 6:
            self._script(RENEW)
            self._alive = time.monotonic()

    def noted(self, done: int) -> tuple[bytes, ...]:
        """Return the command of one server that notes how many lists are there, whose answer :meth:`check` reads."""
        keys = (*self._keys, self.key(f"meta:{self.name}"))
        seconds = b"%d" % LOCK_SECONDS
        return b"EVAL", RENEW, b"%d" % len(keys), *keys, self._token, self.name.encode(), seconds, b"%d" % done

    def check(self, answer: Any) -> Any:
        """Return what a script says behind its first word: whether the lock was this publisher's."""
        if not answer[0]:
            self._refuse(*answer[1:])
        return answer[1:]

    def switch(self) -> None:
        """Make this version the one that is served."""
        self._script(SWITCH)

    def release(self) -> None:
        """Let others publish."""
        import redis

        if self._held:
            with suppress(redis.exceptions.RedisError):  # it expires
                self.client.eval(RELEASE, 2, *self._keys[:2], self._token)

    def _script(self, script: bytes, *arguments: bytes, keys: Sequence[bytes] = ()) -> Any:
        given = (self._token, self.name.encode(), LOCK_SECONDS, *arguments)
        return self.check(self.client.eval(script, 5 + len(keys), *self._keys, *keys, *given))

    def _refuse(self, holder: bytes, expires: int = 0) -> NoReturn:
        if not holder:
            raise ServingError(f"{self.address}: the lock of this publication has expired; run it again")
        if holder.startswith(self._same) and self._held:
            raise ServingError(f"{self.address}: another process has begun to publish the same lists, and goes on")
        lock = _text(self._keys[0])
        raise ServingError(
            f"{self.address}: the lists of version {_text(holder).partition(':')[0]} are being published by another "
            f"process; if it has died, its lock {lock!r} expires in {expires} s"
        )

    # -- what goes ----------------------------------------------------------------------------------------------------

    def drop(self, name: str) -> None:
        """Remove all keys of a version, unless it is served."""
        which = name.encode("utf-8", "surrogateescape")
        together = () if self.address.cluster else (self.key(f"meta:{name}"),)
        if self._script(CONDEMN, which, keys=together) == [b"served"]:
            return
        self._dropped(name)
        found = [self.key(name), *(self.key(f"{part}:{name}") for part in PARTS)]
        for key in self.client.scan_iter(match=_literally(self.key(f"{name}:")) + b"*", count=SCAN):
            if len(found) >= SCAN:
                self.unlink(found)
                found = []
            found.append(key)
        self.unlink(found)
        self._script(GONE, which)

    def unlink(self, keys: list[bytes]) -> int:
        """Remove keys of a version that goes, or that may go; returns how many there were."""
        if not self.address.cluster:
            (count,) = self._script(REMOVE, keys=keys)
            return int(count)
        self.renew()
        with self.client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.unlink(key)
            return sum(pipe.execute())


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _literally(text: bytes) -> bytes:
    return re.sub(rb"([*?\[\]\\^])", rb"\\\1", text)

"""Which versions there are under a prefix, which is served, and who may change that: one publisher at a time.

A publisher may lose its lock at any moment and not know it. So whatever it changes for others is one script, which
looks first whether the lock is its own still, and what is served now. In a cluster the keys of a list cannot be looked
at in one step with the lock: there it is looked at before each batch, and a version's name is never used again, so that
a list of one that goes is nobody else's; who finds that the lock was lost leaves its version to the next publisher.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, NoReturn

from .._core import ServingError
from ._address import Address

LOCK_SECONDS = 60
"""How long nobody else may publish under a prefix after the last sign of life."""

SCAN = 5_000
"""Keys looked through at a time when an old version is removed."""

# KEYS begin with lock, publisher, versions, going, current; ARGV with this publisher's token, its version, the seconds.
# A script that refuses answers with an error that begins with LOST: redis-cli tells of it, too.
LOST = b"""
local function lost(holder)
  local shown = string.gsub(string.sub(holder or '', 1, 99), '[^%w:]', '?')
  return redis.error_reply('LOST ' .. redis.call('TTL', KEYS[1]) .. ' ' .. shown)
end
local holder = redis.call('GET', KEYS[1])
"""

TAKE = (
    LOST
    + b"""
if holder and string.sub(holder, 1, #ARGV[4]) ~= ARGV[4] then return lost(holder) end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[3])
redis.call('SET', KEYS[2], ARGV[1])
return redis.call('GET', KEYS[5]) or ''
"""
)
"""Take a lock that is nobody's, or begins with ARGV[4], being that of an earlier run with the same lists; told what is
served."""

HELD = (
    LOST
    + b"""
if not holder and redis.call('GET', KEYS[2]) == ARGV[1] then holder = ARGV[1] end
if holder ~= ARGV[1] then return lost(holder) end
"""
)
"""Go on where the lock is this publisher's, or has expired and nobody has taken it since."""

BEGIN = (
    HELD
    + b"""
redis.call('SREM', KEYS[4], ARGV[2])
return redis.call('SADD', KEYS[3], ARGV[2])
"""
)
"""Say that the version may have keys from now on; told whether it is new."""

RENEW = HELD + b"return redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[3])"
"""Give a sign of life."""

WRITE = (
    HELD
    + b"""
if ARGV[4] ~= '' and redis.call('HGET', KEYS[6], 'done') ~= ARGV[4] then
  return redis.error_reply('TORN: what was written before is not there')
end
local width = tonumber(ARGV[7])
if ARGV[6] == 'SET' and width == 1 and KEYS[7] then
  local pairs = {}
  for i = 7, #KEYS do pairs[2 * i - 13], pairs[2 * i - 12] = KEYS[i], ARGV[i + 1] end
  redis.call('MSET', unpack(pairs))
else
  for i = 7, #KEYS do
    local at = 8 + (i - 7) * width
    redis.call(ARGV[6], KEYS[i], unpack(ARGV, at, at + width - 1))
  end
end
redis.call('HSET', KEYS[6], 'done', ARGV[5])
return redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[3])
"""
)
"""Do the command ARGV[6] with each of the keys behind KEYS[6] and the ARGV[7] arguments that each has, if the step
before was done, which is ARGV[4], and note in KEYS[6] that this one is, ARGV[5]. One MSET costs less than many SET."""

SWITCH = (
    HELD
    + b"""
if KEYS[6] and redis.call('HGET', KEYS[6], 'done') ~= ARGV[4] then
  return redis.error_reply('TORN: not all was written')
end
return redis.call('SET', KEYS[5], ARGV[2])
"""
)
"""Serve the version, if all of its ARGV[4] rows are there."""

CONDEMN = (
    HELD
    + b"""
if redis.call('GET', KEYS[5]) == ARGV[4] then return 'served' end
redis.call('SREM', KEYS[3], ARGV[4])
redis.call('SADD', KEYS[4], ARGV[4])
if KEYS[6] then redis.call('DEL', KEYS[6]) end
return ''
"""
)
"""Say of a version that it goes: from now on it is never served, nor pushed on where it was left. First comes a command
that needs no memory: behind one that writes, a server that is out of it does the others, too."""

REMOVE = (
    HELD
    + b"""
redis.call('EXPIRE', KEYS[1], ARGV[3])
local count = 0
for i = 6, #KEYS do count = count + redis.call('UNLINK', KEYS[i]) end
return count
"""
)

GONE = HELD + b"return redis.call('SREM', KEYS[4], ARGV[4])"

RELEASE = b"""
for i = 1, 2 do if redis.call('GET', KEYS[i]) == ARGV[1] then redis.call('DEL', KEYS[i]) end end
return 1
"""

NAME = re.compile(r"[a-z2-7]{8}([0-9a-f]{8})?")
"""What a version is called. Whatever else stands among the versions is none, and what has its name is left alone."""

CONTROL = ("lock", "publisher", "versions", "going")
"""What stands under a prefix besides versions and the pointer."""

PARTS = ("meta", "items", "titles", "popular")
"""What a version has besides its lists."""


class Step(NamedTuple):
    """A part of what a version has, that is written as one: a command with each of some keys.

    A step is known by how far it comes, ``done``: rows, or below 0 how many steps there still are before the rows. It
    is written where the version has come as far as ``after``; None: in any case.
    """

    command: bytes
    keys: list[bytes]
    arguments: list[bytes]
    done: int
    after: int | None
    meta: bytes


class Publisher(NamedTuple):
    """Who calls scripts: ``keys`` are lock, publisher, versions, going, current."""

    keys: list[bytes]
    token: bytes
    name: str

    def calling(self, script: bytes, *arguments: bytes, keys: Sequence[bytes] = ()) -> tuple[bytes, ...]:
        """Return the command that runs a script."""
        count = b"%d" % (len(self.keys) + len(keys))
        given = self.token, self.name.encode(), b"%d" % LOCK_SECONDS
        return b"EVAL", script, count, *self.keys, *keys, *given, *arguments

    def writing(self, step: Step) -> tuple[bytes, ...]:
        """Return the command that does a step."""
        width = len(step.arguments) // max(len(step.keys), 1)
        after = b"" if step.after is None else b"%d" % step.after
        given = after, b"%d" % step.done, step.command, b"%d" % width
        return self.calling(WRITE, *given, *step.arguments, keys=(step.meta, *step.keys))


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
        self._keys = [*map(self._control, CONTROL), self.key("current")]
        self._publisher = Publisher(self._keys, self._same + secrets.token_hex(8).encode(), self.name)
        self.writing = self._publisher.writing
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
        self.served = _text(self._script(TAKE, self._same)) or None
        self._held = True

    def begin(self) -> None:
        """Take the lock and begin this version; others go, but for the one that is served."""
        self.lock()
        self.is_new = bool(self._script(BEGIN))
        for other in self.names():
            if other not in (self.served, self.name):
                self.drop(other)

    def names(self) -> list[str]:
        """Return the versions that may have lists."""
        names = {_text(name) for key in self._keys[2:4] for name in self.client.smembers(key)}
        return sorted(filter(NAME.fullmatch, names))

    def renew(self, *, now: bool = False) -> None:
        """Give a sign of life, where the last one is some time ago or ``now``.

        Raises
        ------
        ServingError
            Another publisher has taken the lock.
        """
        if now or time.monotonic() - self._alive > LOCK_SECONDS / 6:
            self._script(RENEW)

    def switch(self, size: int) -> None:
        """Make this version the one that is served, if all that it is to have is there."""
        keys = () if self.address.cluster else (self.key(f"meta:{self.name}"),)
        self._script(SWITCH, b"%d" % size, keys=keys)

    def release(self) -> None:
        """Let others publish."""
        import redis

        if self._held:
            with suppress(redis.exceptions.RedisError):  # it expires
                self._script(RELEASE)

    def heard(self, ask: Callable[[], Any]) -> Any:
        """Return the answer of a script.

        Raises
        ------
        ServingError
            The lock is not this publisher's.
        """
        import redis

        try:
            answer = ask()
        except redis.exceptions.ResponseError as error:
            found = re.match(r"(?:.*: )?LOST (-?\d+) ?(.*)", str(error), re.DOTALL)
            if found is None:
                raise
            refused = found
        else:
            self._alive = time.monotonic()
            return answer
        self._refuse(refused[2], int(refused[1]))

    def _script(self, script: bytes, *arguments: bytes, keys: Sequence[bytes] = ()) -> Any:
        _, *parts = self._publisher.calling(script, *arguments, keys=keys)
        return self.heard(lambda: self.client.execute_command("EVAL", *parts))

    def _refuse(self, holder: str, expires: int) -> NoReturn:
        if not holder:
            raise ServingError(f"{self.address}: the lock of this publication has expired; run it again")
        if holder.startswith(_text(self._same)) and self._held:
            raise ServingError(f"{self.address}: another process has begun to publish the same lists, and goes on")
        name, lock = holder.partition(":")[0], _text(self._keys[0])
        what = f"the lists of version {name} are being published" if NAME.fullmatch(name) else "lists are being removed"
        when = f"its lock {lock!r} expires in {expires} s" if expires >= 0 else f"delete its lock, the key {lock!r}"
        raise ServingError(f"{self.address}: {what} by another process; if it has died, {when}")

    # -- what goes ----------------------------------------------------------------------------------------------------

    def drop(self, name: str) -> None:
        """Remove all keys of a version, unless it is served."""
        which = name.encode("utf-8", "surrogateescape")
        together = () if self.address.cluster else (self.key(f"meta:{name}"),)
        if self._script(CONDEMN, which, keys=together) == b"served":
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

    def forsake(self) -> None:
        """Leave this version to the next publisher, since what another has removed of it may be there again.

        In a cluster a list is written without a look at the lock.
        """
        if self.address.cluster:
            self.client.sadd(self._keys[3], self.name)

    def unlink(self, keys: list[bytes]) -> int:
        """Remove keys of a version that goes, or that may go; returns how many there were."""
        if not self.address.cluster:
            return int(self._script(REMOVE, keys=keys))
        self.renew()
        with self.client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.unlink(key)
            return sum(pipe.execute())


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _literally(text: bytes) -> bytes:
    return re.sub(rb"([*?\[\]\\^])", rb"\\\1", text)

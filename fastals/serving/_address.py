"""Addresses of Redis servers: read once and strictly, and told without what is secret in them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl, unquote, unquote_plus

from .._core import ParameterError, ServingError, check_path, without_secrets
from .._files import need

SCHEMES = ("redis", "rediss", "unix", "redis+cluster", "rediss+cluster")

TIMEOUT = 60.0
"""Seconds without an answer after which a server counts as gone."""

LABEL = r"[A-Za-z0-9_-]{1,63}"
HOST = re.compile(rf"(\[[0-9A-Fa-f:.]+\]|({LABEL}(\.{LABEL})*\.?)?)(:(?P<port>\d{{1,5}}))?")


class Address:
    """The address of a Redis server or cluster.

    Parameters
    ----------
    url : str
        redis://, rediss:// (TLS), unix://, redis+cluster:// or rediss+cluster://, with user, password and database as
        redis-py reads them.

    Attributes
    ----------
    cluster : bool
    shown : str
        Scheme, host or socket, port and database, as every message has it: made anew, so that nothing else is in it.

    Raises
    ------
    ParameterError
        It cannot be read without a guess. The message does not repeat it.

    Examples
    --------
    >>> from fastals.serving._address import Address
    >>> Address("redis://ann:open%20sesame@localhost:6379/0?socket_timeout=5")
    redis://***@localhost:6379/0
    """

    def __init__(self, url: str) -> None:
        scheme, _, rest = check_path("url", url).partition("://")
        scheme = scheme.lower()
        if scheme not in SCHEMES:
            raise ParameterError(f"url must be a {'://, '.join(SCHEMES)}:// address, got {told_target(url)}")
        self.cluster = scheme.endswith("+cluster")
        before, _, query = rest.partition("?")
        socket = scheme == "unix"
        authority, slash, path = before.partition("/")
        user, at, place = authority.rpartition("@")
        found = HOST.fullmatch(place)
        parameters = _parameters(query)
        wrong = ""
        if "@" in path + query or "#" in rest or re.search(r"[\x00-\x20\x7f]", rest):
            wrong = "a space and any of /, @, :, ?, # in a user or a password must be percent-encoded, %2F for /"
        elif parameters is None:
            wrong = "what follows the ? must be name=value pairs, joined by &"
        elif socket and (place or not path):
            wrong = "unix:// must be followed by the path of a socket, as in unix:///run/redis.sock"
        elif not socket and (found is None or int(found["port"] or 0) > 65_535):
            wrong = "behind the password's @, or the //, a host and a port must stand, as in redis://localhost:6379"
        elif not socket and not re.fullmatch(r"\d*/?", path):
            wrong = "the database must be a number, as in redis://localhost:6379/0"
        elif not re.fullmatch(r"\d*", parameters.get("db", "")):
            wrong = "the database must be a number, as in ?db=0"
        elif "decode_responses" in parameters:
            wrong = "decode_responses must be left out, since lists are bytes"
        if wrong:
            raise ParameterError(f"the address {scheme}://… cannot be read: {wrong}")
        assert parameters is not None
        self._url = f"{scheme.removesuffix('+cluster')}://{rest}"
        self._secrets = _secrets(user, query)
        database = f"?db={parameters['db']}" if "db" in parameters else ""
        self.shown = f"{scheme}://{'***@' if at else ''}{place}{slash}{path}{database}"

    def __repr__(self) -> str:
        return self.shown

    def connect(self) -> Any:
        """Return redis-py's client; to a single server nothing is sent yet.

        Raises
        ------
        ParameterError
            Something behind the ? that redis-py does not know.
        ServingError
            The cluster does not answer.
        """
        need("redis", "redis", "Redis")
        import redis

        options: dict[str, Any] = {"socket_timeout": TIMEOUT, "socket_connect_timeout": 10.0, "socket_keepalive": True}
        if self._url.startswith("unix"):
            options.pop("socket_keepalive")
        error: Exception
        try:
            with self.told():
                if self.cluster:
                    return redis.RedisCluster.from_url(self._url, **options)
                client = redis.Redis.from_url(self._url, **options)
                client.connection_pool.make_connection()  # which no server hears of
                return client
        except ServingError:
            raise
        except (TypeError, ValueError, OSError, RuntimeError) as caught:
            error = caught
        raise ParameterError(f"{self.shown}: redis-py refuses what follows the ?: {self._without_secrets(str(error))}")

    @contextmanager
    def told(self, consequence: Callable[[], str] = lambda: "") -> Iterator[None]:
        """Say in our words what redis-py's errors mean; theirs stay the cause, without what is secret."""
        from redis import exceptions as errors

        try:
            yield
        except (errors.RedisError, errors.RedisClusterException) as error:
            self._clean(error)
            text = " ".join(str(error).split()).partition(" script: ")[0]  # whose number says nothing
            if isinstance(error, (errors.AuthenticationError, errors.NoPermissionError)):
                what = f"refuses the user and password of the address, or what they may do: {text}"
            elif isinstance(error, errors.OutOfMemoryError):
                what = f"is out of memory: its maxmemory must hold the old lists and the new: {text}"
            elif isinstance(error, (errors.ConnectionError, errors.TimeoutError, errors.RedisClusterException)):
                what = f"cannot be reached, or has gone: {text}"
            elif "WRONGTYPE" in text:
                what = (
                    "holds something else under the keys of this prefix: delete it, or publish and read under another "
                    f"prefix: {text}"
                )
            else:
                what = f"answers with an error: {text}"
            raise ServingError(f"{self.shown} {what}{consequence()}") from error

    def ping(self) -> None:
        """Refuse an address whose server does not answer, or not to us."""
        client = self.connect()
        try:
            with self.told():
                client.ping()
        finally:
            client.close()

    def _clean(self, error: BaseException | None) -> None:
        """Take what is secret out of an error and those that it came from: a traceback shows them all."""
        seen: set[int] = set()
        while error is not None and id(error) not in seen:
            seen.add(id(error))
            error.args = tuple(self._without_secrets(part) if isinstance(part, str) else part for part in error.args)
            error = error.__cause__ or error.__context__

    def _without_secrets(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


def is_redis(target: str) -> bool:
    """Whether an address is one of a Redis server."""
    return "://" in target and target.split("://", maxsplit=1)[0].lower() in SCHEMES


def told_target(target: str) -> str:
    """Return a file or an address as messages have it: without what stands before an @ or behind a ?."""
    if is_redis(target):
        return Address(target).shown
    return without_secrets(target)


def _parameters(query: str) -> dict[str, str] | None:
    try:
        return dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
    except ValueError:
        return None


def _secrets(user: str, query: str) -> list[str]:
    """Return what no message may have, the longest first: passwords as written and as meant."""
    name, colon, password = user.partition(":")
    found = {user, password} if colon else {name}  # what stands alone may be a password
    for parameter in query.split("&"):
        key, _, value = parameter.partition("=")
        if "pass" in unquote_plus(key):
            found |= {value, unquote_plus(value)}
    return sorted({*found, *map(unquote, found)} - {""}, key=len, reverse=True)

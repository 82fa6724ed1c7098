"""Addresses of Redis servers: read once and strictly, and told without what is secret in them."""

from __future__ import annotations

import inspect
import json
import re
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, unquote, unquote_plus

from .._core import FastalsError, ParameterError, ServingError, check_path, without_secrets
from .._files import need

SCHEMES = ("redis", "rediss", "unix", "redis+cluster", "rediss+cluster")

TIMEOUT = 60.0
"""Seconds without an answer after which a server counts as gone."""

REFUSED = {
    "decode_responses": "lists are bytes",
    "encoding": "keys are bytes",
    "encoding_errors": "keys are bytes",
    **dict.fromkeys(("host", "port", "path", "unix_socket_path"), "it stands before the ?"),
}
"""Parameters of redis-py that would change what a reader gets, or where it comes from."""

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
        if not _decodable(rest):
            wrong = "it must be text in UTF-8, percent-encoded or not"
        elif "@" in path + query or "#" in rest or re.search(r"[\x00-\x20\x7f]", rest):
            wrong = "a space and any of /, @, :, ?, # in a user or a password must be percent-encoded, %2F for /"
        elif parameters is None:
            wrong = "what follows the ? must be name=value pairs, joined by &, each name once"
        elif socket and (place or not path):
            wrong = "unix:// must be followed by the path of a socket, as in unix:///run/redis.sock"
        elif not socket and (found is None or int(found["port"] or 0) > 65_535):
            wrong = "behind the password's @, or the //, a host and a port must stand, as in redis://localhost:6379"
        elif not socket and not re.fullmatch(r"\d*/?", path):
            wrong = "the database must be a number, as in redis://localhost:6379/0"
        elif not re.fullmatch(r"\d*", parameters.get("db", "")):
            wrong = "the database must be a number, as in ?db=0"
        elif given := [name for name in REFUSED if name in parameters]:
            wrong = f"{given[0]} must be left out: {REFUSED[given[0]]}"
        if wrong:
            raise ParameterError(f"the address {scheme}://… cannot be read: {wrong}")
        assert parameters is not None
        self._url = f"{scheme.removesuffix('+cluster')}://{rest}"
        self._names = sorted(parameters)
        self._secrets = _secrets(user, query, parameters)
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
        try:
            if self.cluster:
                with self.told(alone=True):
                    return redis.RedisCluster.from_url(self._url, **options)
            with self.told():
                client = redis.Redis.from_url(self._url, **options)
                client.connection_pool.make_connection()  # which no server hears of
                return client
        except ServingError:
            raise
        except (TypeError, ValueError, OSError, RuntimeError):
            pass  # its text may repeat what was meant to be a password
        known = inspect.signature(redis.Redis).parameters
        which = [name if name in known else "a name that it does not know" for name in self._names]
        raise ParameterError(f"{self.shown}: redis-py refuses what follows the ?, which has {', '.join(which)}")

    @contextmanager
    def told(self, consequence: Callable[[], str] = lambda: "", *, alone: bool = False) -> Iterator[None]:
        """Say in our words what redis-py's errors mean; theirs stay the cause, without what is secret.

        ``alone``: nothing is done but asking the server, so that whatever else goes wrong is its answers.
        """
        from redis import exceptions as errors

        try:
            yield
        except FastalsError:
            raise
        except (errors.RedisError, errors.RedisClusterException) as error:
            text = self._cleaned(error).partition(" script: ")[0]  # whose number says nothing
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
        except (LookupError, ValueError, TypeError, AttributeError, RecursionError, OverflowError) as error:
            if not alone or "keyword argument" in str(error):  # redis-py's refusal of what follows the ?
                raise
            self._cleaned(error)
            what = "answers as no Redis server does: something else may listen there"
            raise ServingError(f"{self.shown} {what}{consequence()}") from error

    def ping(self) -> None:
        """Refuse an address whose server does not answer, or not to us."""
        client = self.connect()
        try:
            with self.told(alone=True):
                client.ping()
        finally:
            client.close()

    def _cleaned(self, error: BaseException) -> str:
        """Return the text of an error, which a traceback will show with all that it came from.

        Where any of these repeats what is secret, they are struck whole: what is left of a text with holes may tell it.
        """
        seen: dict[int, BaseException] = {}
        rest: list[BaseException | None] = [error]
        while rest:
            if (one := rest.pop()) is not None and id(one) not in seen:
                seen[id(one)] = one
                rest += [one.__cause__, one.__context__]
        texts = [text for one in seen.values() for text in (str(one), repr(one), repr(one.args), repr(vars(one)))]
        if any(map(self._is_told_by, texts)):
            error.args = ("what it says is not shown, since it repeats a part of the address",)
            error.__cause__ = error.__context__ = None
            for name, value in list(vars(error).items()):
                if isinstance(value, (str, bytes, list, tuple, dict)) and self._is_told_by(repr(value)):
                    delattr(error, name)
        return " ".join(str(error).split())

    def _is_told_by(self, text: str) -> bool:
        return any(secret in text for secret in self._secrets)


def is_redis(target: str) -> bool:
    """Whether an address is one of a Redis server."""
    return "://" in target and target.split("://", maxsplit=1)[0].lower() in SCHEMES


def told_target(target: str) -> str:
    """Return a file or an address as messages have it: without what stands before an @ or behind a ?."""
    if not is_redis(target):
        return without_secrets(target)
    try:
        return Address(target).shown
    except ParameterError:
        return f"{target.partition('://')[0].lower()}://…"


def _parameters(query: str) -> dict[str, str] | None:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError:
        return None
    return dict(pairs) if len(dict(pairs)) == len(pairs) else None


def _decodable(text: str) -> bool:
    try:
        unquote(text, errors="strict").encode()
    except UnicodeError:
        return False
    return True


def _secrets(user: str, query: str, parameters: dict[str, str] | None) -> set[str]:
    """Return what no message may have: passwords as written, as meant, and as others may write them."""
    name, _, password = user.partition(":")
    found = {user, password or name}  # what stands alone may be a password
    for pair in query.split("&"):
        key, _, value = pair.partition("=")
        if "pass" in unquote_plus(key):
            found.add(value)
    found |= {value for key, value in (parameters or {}).items() if "pass" in key}
    meant = {*found, *map(unquote, found), *map(unquote_plus, found)} - {""}
    forms: set[str] = set()
    for secret in meant:
        as_bytes = secret.encode(errors="surrogatepass")
        forms |= {secret, quote(secret, errors="replace"), quote_plus(secret, errors="replace"), as_bytes.hex()}
        forms |= {repr(secret)[1:-1], repr(as_bytes)[2:-1], ascii(secret)[1:-1], json.dumps(secret)[1:-1]}
        forms |= {repr(repr(secret))[2:-2], b64encode(as_bytes).decode(), quote(secret, safe="", errors="replace")}
    return forms

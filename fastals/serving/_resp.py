"""Lists as Redis keeps them: the layout that fastals.serving tells, and the commands that write it (RESP).

USER in a key is the label in UTF-8, decimal digits, or a UUID's usual form. A version is named by what is in it, 8
characters, so that the same lists have the same name.

A list is one value and is set whole. All commands may be repeated.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .._core import LabelArray, ParameterError, check_choice, check_int
from ._lists import Batch, Lists, text_of

SCORES = {"float16": "<f2", "float32": "<f4"}
FORMAT = b"1"

SET_EXPIRING = b"for i, key in ipairs(KEYS) do redis.call('SET', key, ARGV[i + 1], 'EX', ARGV[1]) end return 'OK'"
"""MSET with an expiry, which Redis has not."""

BLOCK = 1 << 16
"""Item labels in one field."""

GROUP = 1024
"""Lists in one command."""


class Layout(ABC):
    """How one version of what is published is written.

    Parameters
    ----------
    prefix : str
        What all keys begin with.
    size : int
        Of how many users or items something is sent.
    bytes_each : int
        That each takes in the server's memory, about.
    """

    unique: ClassVar[bool] = False
    """Whether a version's name is never used again, so that what was left of it is of no use."""

    ttl: int | None = None
    version: str

    def __init__(self, prefix: str, size: int, bytes_each: int) -> None:
        self.prefix, self.size, self.bytes_each = check_prefix(prefix), size, bytes_each

    def key(self, name: str) -> bytes:
        """Return a key under the prefix."""
        return f"{self.prefix}:{name}".encode()

    def prepare(self, client: Any) -> None:  # noqa: B027
        """Look what a server can do."""

    def dropped(self, client: Any, version: str) -> None:  # noqa: B027
        """Remove what a version that goes has besides keys."""

    @abstractmethod
    def batches(self, first: int) -> Iterator[Any]:
        """Yield what is to be sent, from the given row on."""

    @abstractmethod
    def before(self) -> Iterator[tuple[bytes, ...]]:
        """Commands that come before that."""

    @abstractmethod
    def each(self, batch: Any) -> Iterator[tuple[bytes, ...]]:
        """Yield one command for each row of a batch, as a cluster needs them."""

    @abstractmethod
    def payload(self, batch: Any, noted: tuple[bytes, ...]) -> tuple[bytes, int]:
        """Return a batch's commands and their number; the last notes the progress."""

    def facts(self, **facts: bytes) -> tuple[bytes, ...]:
        """The command that describes the version."""
        given = {"format": FORMAT, **facts}
        parts = (part for name, value in given.items() for part in (name.encode(), value))
        return b"HSET", self.key(f"meta:{self.version}"), *parts

    def switch(self) -> tuple[bytes, ...]:
        """The command that makes this version the one that is served."""
        return b"SET", self.key("current"), self.version.encode()

    def progress(self, done: int) -> tuple[bytes, ...]:
        """The command that notes how many rows are there."""
        return b"HSET", self.key(f"meta:{self.version}"), b"done", b"%d" % done


class ListLayout(Layout):
    """How lists are written."""

    def __init__(self, lists: Lists, prefix: str, ttl: int | None, score_dtype: str) -> None:
        check_choice("score_dtype", score_dtype, tuple(SCORES))
        self.dtype = np.dtype(SCORES[score_dtype])
        super().__init__(prefix, lists.size, 90 + lists.n * (4 + self.dtype.itemsize) + len(str(prefix)))
        self.lists = lists
        self.ttl = None if ttl is None else check_int("ttl", ttl, low=1)
        self.version = lists.fingerprint(score_dtype)
        values = lists.items.values
        small = values is None or (
            lists.titles is None  # which are found by index
            and values.dtype.kind in "iu"
            and values.min() >= -(2**31)
            and values.max() < 2**31
        )
        self.ids = None if not small or values is None else values.astype("<i4")
        self.item_kind = "int32" if small else lists.items.kind

    def batches(self, first: int) -> Iterator[Batch]:
        """Yield what is to be sent, from the given row on."""
        return self.lists.batches(first)

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
        keys = keys_of(self.key(f"{self.version}:"), self.lists.labels(batch.rows))
        return keys, [data[at : at + size] for at, size in zip(range(0, width * len(sizes), width), sizes, strict=True)]

    def each(self, batch: Batch) -> Iterator[tuple[bytes, ...]]:
        """Yield one command for each list of a batch, as a cluster needs them."""
        expiry = () if self.ttl is None else (b"EX", b"%d" % self.ttl)
        for key, value in zip(*self.values(batch), strict=True):
            yield b"SET", key, value, *expiry

    def before(self) -> Iterator[tuple[bytes, ...]]:
        """Commands that come before the lists."""
        lists = self.lists
        yield self.facts(
            scores=self.dtype.str.encode(),
            items=self.item_kind.encode(),
            n=b"%d" % lists.n,
            n_items=b"%d" % len(lists.items),
            **({"n_users": b"%d" % self.size} if lists.whose == "user" else {}),
        )
        if self.item_kind != "int32":
            assert lists.items.values is not None
            yield from self._blocks("items", lists.items.values)
        if lists.titles is not None:
            yield from self._blocks("titles", lists.titles)
        if (popular := lists.popular()) is not None:
            data, sizes = self.pack(popular[0][None, :], popular[1][None, :])
            yield b"SET", self.key(f"popular:{self.version}"), data[: sizes[0]]

    def _blocks(self, name: str, labels: LabelArray) -> Iterator[tuple[bytes, ...]]:
        for number, at in enumerate(range(0, len(labels), BLOCK)):
            block = json.dumps([_plain(label) for label in labels[at : at + BLOCK].tolist()]).encode()
            yield b"HSET", self.key(f"{name}:{self.version}"), b"%d" % number, block

    def payload(self, batch: Batch, noted: tuple[bytes, ...]) -> tuple[bytes, int]:
        """Return a batch's commands and their number; the last notes the progress."""
        keys, values = self.values(batch)
        out = []
        for at in range(0, len(keys), GROUP):
            out.append(self._group(keys[at : at + GROUP], values[at : at + GROUP]))
        out.append(command(*noted))
        return b"".join(out), len(out)

    def _group(self, keys: list[bytes], values: list[bytes]) -> bytes:
        """Return one command that sets many keys: one answer to read, not one for each."""
        if self.ttl is None:
            pairs = zip(keys, values, strict=True)
            return b"*%d\r\n$4\r\nMSET\r\n" % (1 + 2 * len(keys)) + b"".join(
                [b"$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(key), key, len(value), value) for key, value in pairs]
            )
        return command(b"EVAL", SET_EXPIRING, b"%d" % len(keys), *keys, b"%d" % self.ttl, *values)


def check_prefix(prefix: Any) -> str:
    """Return what all keys begin with."""
    if not isinstance(prefix, str) or not re.fullmatch(r"[\x21-\x7e]+", prefix):
        raise ParameterError(f"prefix must be printable ASCII without spaces, got {prefix!r}")
    return prefix


def keys_of(head: bytes, labels: LabelArray) -> list[bytes]:
    """Return the keys of owners."""
    listed = labels.tolist()
    if listed and isinstance(listed[0], str):
        return [head + label.encode("utf-8", "surrogatepass") for label in listed]
    return [head + text_of(label) for label in listed]


def command(*parts: bytes) -> bytes:
    """Return one command in the protocol (RESP)."""
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)


def protocol(layout: Layout, batches: Iterable[Batch]) -> Iterator[bytes]:
    """Yield all commands of a publication, the switch last: what ``redis-cli --pipe`` reads."""
    yield command(b"SADD", layout.key("versions"), layout.version.encode())
    yield b"".join(command(*parts) for parts in layout.before())
    for batch in batches:
        yield layout.payload(batch, layout.progress(batch.done))[0]
    yield command(*layout.switch())


def _plain(label: Any) -> Any:
    return label.hex() if isinstance(label, bytes) else label if isinstance(label, int | None) else str(label)

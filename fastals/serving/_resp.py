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
from ._versions import BEGIN, CONTROL, RELEASE, SWITCH, TAKE, Publisher, Step

SCORES = {"float16": "<f2", "float32": "<f4"}
FORMAT = b"1"

BLOCK = 1 << 16
"""Item labels in one field."""

LARGEST = 1 << 26
"""Bytes of a list, or of a block of labels: nothing larger is written, nor read."""

GROUP = 1024
"""Lists in one step: nobody else is answered meanwhile."""


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
    def written(self, batch: Any) -> tuple[bytes, list[bytes], list[bytes]]:
        """Return the command that writes what a batch has, its keys, and the arguments of each, equally many."""

    def first_steps(self) -> list[Step]:
        """Return the steps that come before the rows."""
        commands = list(self.before())
        numbers = range(1 - len(commands), 1)
        return [
            Step(parts[0], [parts[1]], list(parts[2:]), number, None if place == 0 else number - 1, self._meta)
            for place, (number, parts) in enumerate(zip(numbers, commands, strict=True))
        ]

    def steps(self, batch: Any, after: int) -> list[Step]:
        """Return the steps that write a batch whose rows begin with ``after``; one without any has one, too."""
        name, keys, arguments = self.written(batch)
        width, found, last = len(arguments) // max(len(keys), 1), [], after
        for at in range(0, max(len(keys), 1), GROUP):
            end = at + GROUP
            done = batch.done if end >= len(keys) else after + end  # so many rows or more: not each has a key
            found.append(Step(name, keys[at:end], arguments[at * width : end * width], done, last, self._meta))
            last = done
        return found

    @property
    def _meta(self) -> bytes:
        return self.key(f"meta:{self.version}")

    def facts(self, **facts: bytes) -> tuple[bytes, ...]:
        """The command that describes the version."""
        given = {"format": FORMAT, **facts}
        parts = (part for name, value in given.items() for part in (name.encode(), value))
        return b"HSET", self._meta, *parts


class ListLayout(Layout):
    """How lists are written."""

    def __init__(self, lists: Lists, prefix: str, ttl: int | None, score_dtype: str) -> None:
        check_choice("score_dtype", score_dtype, tuple(SCORES))
        self.dtype = np.dtype(SCORES[score_dtype])
        super().__init__(prefix, lists.size, 90 + lists.n * (4 + self.dtype.itemsize) + len(str(prefix)))
        if (bytes_each := min(lists.n, len(lists.items)) * (4 + self.dtype.itemsize)) > LARGEST:
            raise ParameterError(f"n must be less than {lists.n:,}: a list would have {bytes_each:,} bytes in Redis")
        self.lists = lists
        self.ttl = None if ttl is None else check_int("ttl", ttl, low=1)
        # with the same name, what was to stay would go on from lists that expire
        self.version = lists.fingerprint(score_dtype, *([] if self.ttl is None else [self.ttl]))
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

    def written(self, batch: Batch) -> tuple[bytes, list[bytes], list[bytes]]:
        """Return the command that sets lists, their keys, and their values, with the expiry of each."""
        keys, values = self.values(batch)
        if self.ttl is not None:
            values = [part for value in values for part in (value, b"EX", b"%d" % self.ttl)]
        return b"SET", keys, values

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
            if len(block) > LARGEST:
                raise ParameterError(
                    f"the {name} must be shorter: {BLOCK:,} of them have {len(block):,} bytes, at most {LARGEST:,} fit"
                )
            yield b"HSET", self.key(f"{name}:{self.version}"), b"%d" % number, block


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
    return b"*%d\r\n" % len(parts) + b"".join([b"$%d\r\n%b\r\n" % (len(part), part) for part in parts])


def protocol(layout: Layout, batches: Iterable[Batch]) -> Iterator[bytes]:
    """Yield all commands of a publication, the switch last: what ``redis-cli --pipe`` reads.

    They are those that a publisher sends, so that one of them that fails lets all behind it fail.
    """
    keys = [layout.key(name) for name in (*CONTROL, "current")]
    caller = Publisher(keys, f"{layout.version}:file".encode(), layout.version)
    yield command(*caller.calling(TAKE, f"{layout.version}:".encode()))
    yield command(*caller.calling(BEGIN))
    for step in layout.first_steps():
        yield command(*caller.writing(step))
    done = 0
    for batch in batches:
        for step in layout.steps(batch, done):
            yield command(*caller.writing(step))
        done = batch.done
    yield command(*caller.calling(SWITCH, b"%d" % layout.size, keys=[layout.key(f"meta:{layout.version}")]))
    yield command(*caller.calling(RELEASE))


def _plain(label: Any) -> Any:
    return label.hex() if isinstance(label, bytes) else label if isinstance(label, int | None) else str(label)

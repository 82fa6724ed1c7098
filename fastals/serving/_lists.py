"""Everything's list of the best, computed once and streamed to wherever it is to be read: what serving publishes."""

from __future__ import annotations

from base64 import b32encode
from collections.abc import Iterator
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeAlias
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from .._core import ArgumentTypeError, LabelArray, check_bool, check_int, resolve_num_threads
from .._data import Labels, cell_arrays, known_of
from .._topn import ItemLists, Wanted

if TYPE_CHECKING:
    from .._topn import Fitted

POPULAR = 100
"""Items of the list for users without one, at least."""


Found: TypeAlias = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[Any]]
"""Owners, items and scores of lists."""


class Batch(NamedTuple):
    """Some lists: of shape (m, n), -1 behind the end of a short one; of the owners ``rows``, all below ``done``."""

    rows: NDArray[np.int32]
    items: NDArray[np.int32]
    scores: NDArray[Any]
    done: int


class Lists:
    """The n best items of every user of a fitted model.

    A user without any training cell has no list, since nothing is known; but whoever is known to have met items all the
    same, in the model or not, has that of the most popular others.

    Parameters
    ----------
    model : fitted model
    n : int
    exclude_seen : bool
    batch_size : int
        Users of a batch; what bounds the memory.
    candidates : int32 array, optional
        The only items to list, ascending.
    titles : array of shape (n_items,), optional
        Of strings, None where there is none.
    """

    whose: ClassVar[str] = "user"
    listed: ClassVar[str] = "item"

    def __init__(
        self,
        model: Any,
        n: int,
        exclude_seen: bool,
        batch_size: int,
        *,
        candidates: NDArray[np.int32] | None = None,
        titles: NDArray[Any] | None = None,
    ) -> None:
        self.state: Fitted = model.state_
        self.num_threads = resolve_num_threads(model.num_threads)
        self.n = check_int("n", n, low=1)
        self.exclude_seen = check_bool("exclude_seen", exclude_seen)
        self.batch_size = check_int("batch_size", batch_size, low=1)
        self.owners: Labels = self.state.users
        self.items: Labels = self.state.items
        self.candidates, self.titles = candidates, titles
        self._wanted = Wanted(queries=len(self.owners), candidates=candidates)
        self._n_users = len(self.owners)
        self._elsewhere = np.empty(0, np.int32)
        others = known_of(self.state.pairs).elsewhere if self.exclude_seen else None
        if others is not None and others.user_labels.values is not None and self.owners.values is not None:
            strangers = others.user_labels.values
            self._elsewhere = np.flatnonzero(self.owners.encode(strangers) < 0).astype(np.int32)
            every = np.concatenate((self.owners.values, strangers[self._elsewhere]))
            self.owners = Labels(every, len(every))

    def batches(self, first: int = 0) -> Iterator[Batch]:
        """Yield the lists of the owners from the given one on; the next batch is computed while one is looked at."""
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(1) as pool:
            starts = range(first, len(self.owners), self.batch_size)
            ahead = pool.submit(self._batch, starts[0]) if starts else None
            for following in [*starts[1:], None]:
                if ahead is None:
                    return
                batch = ahead.result()
                ahead = None if following is None else pool.submit(self._batch, following)
                yield batch

    def _batch(self, first: int) -> Batch:
        rows = np.arange(first, min(first + self.batch_size, self.size), dtype=np.int32)
        return Batch(*self._lists_of(rows), first + len(rows))

    def _lists_of(self, rows: NDArray[np.int32]) -> Found:
        """The lists of those of the owners that have one; it may be empty."""
        first, last = int(rows[0]), min(int(rows[-1]) + 1, self._n_users)  # rows follow each other
        strange = np.ones(len(rows), np.bool_)
        if first < last:
            strange[: last - first] = self.state.strangers(slice(first, last))
        ask = (self.n, self.exclude_seen, self.num_threads, self._wanted)
        if not strange.any():
            return rows, *self.state.top_items(slice(first, last), *ask)
        parts = [self._strangers(rows[strange])]
        if not strange.all():
            known = rows[~strange]
            parts.append((known, *self.state.top_items(known, *ask)))
        rows, items, scores = (np.concatenate(each) for each in zip(*parts, strict=True))
        order = np.argsort(rows)
        return rows[order], items[order], scores[order]

    def _strangers(self, rows: NDArray[np.int32]) -> Found:
        """The most popular items for those of whom nothing is known but what they have met; others have no list."""
        if not self.exclude_seen:
            return rows[:0], np.empty((0, self.n), np.int32), np.empty((0, self.n), np.float32)
        inside = rows < self._n_users
        elsewhere = np.full(len(rows), -1, np.int32)
        elsewhere[~inside] = self._elsewhere[rows[~inside] - self._n_users]
        of_model = np.where(inside, rows, -1).astype(np.int32)
        met, known = self.state.seen(of_model), self.state.known_to(of_model, elsewhere)
        met = ItemLists(met.first, np.where(inside, met.last, met.first), met.items)
        met = met if known is None else met.joined(known)
        some = np.flatnonzero(met.lengths)
        asked = (self.n, len(some), met.of(some), self._wanted, self.num_threads)
        items, counts = self.state.top_unknown("popular", *asked)
        return rows[some], items, (counts / self._n_users).astype(np.float32)

    @property
    def size(self) -> int:
        """How many owners there are."""
        return len(self.owners)

    def labels(self, rows: NDArray[np.int32]) -> LabelArray:
        """Return the labels of owners, or their indices where there are no labels."""
        return self.owners.decode(rows)

    def popular(self) -> tuple[NDArray[np.int32], NDArray[np.float64]] | None:
        """Return the items that most users have, and the share of the users that has each; None: there is none."""
        counts = self.state.cells_of_items()
        some = np.arange(len(counts)) if self.candidates is None else self.candidates
        some = some[counts[some] > 0]
        items = some[np.argsort(-counts[some], kind="stable")[: max(self.n, POPULAR)]].astype(np.int32)
        return items, counts[items] / len(self.state.users)

    def _options(self) -> tuple[object, ...]:
        return self.n, self.exclude_seen

    def _known_elsewhere(self) -> list[NDArray[Any]]:
        others = known_of(self.state.pairs).elsewhere
        return [] if others is None or not len(self._elsewhere) else cell_arrays(others)

    def fingerprint(self, *options: object) -> str:
        """Return what is the same for the same lists in the same form, and for no others."""
        return fingerprint(
            (*self._options(), *options),
            [*self.state.numbers(), *([] if self.candidates is None else [self.candidates]), *self._known_elsewhere()],
            [self.owners.values, self.items.values, *([] if self.titles is None else [self.titles])],
        )


class SimilarItems(Lists):
    """The n items most like each item, as ``model.similar_items`` finds them; an item that is like none has no list.

    Parameters as for :class:`Lists`; ``candidates`` are what is listed, not whose list it is.
    """

    whose = "item"
    listed = "similar"

    def __init__(self, model: Any, n: int, batch_size: int, **options: Any) -> None:
        super().__init__(model, n, True, batch_size, **options)
        self.owners = self.state.items
        self._wanted = Wanted(queries=len(self.owners), candidates=self.candidates)
        self._lists_of(np.zeros(1, np.int32))  # a model that knows no similar items says so before the work

    def _lists_of(self, rows: NDArray[np.int32]) -> Found:
        items, scores = self.state.similar("items", rows, self.n, self._wanted, self.num_threads)
        some = items[:, 0] >= 0
        return rows[some], items[some], scores[some]

    def popular(self) -> None:
        """Return None: what is like an unknown item is not known."""

    def _options(self) -> tuple[object, ...]:
        return "similar items", self.n


def fingerprint(options: tuple[object, ...], arrays: list[NDArray[Any]], labels: list[LabelArray | None]) -> str:
    """Return 8 characters that are the same for the same contents, and for no others."""
    digest = blake2b(repr(options).encode(), digest_size=5)
    numbers = list(arrays)
    for values in labels:
        if values is None:
            continue
        if values.dtype.kind != "O":
            numbers.append(values)
            continue
        for label in values.tolist():
            text = None if label is None else text_of(label)
            digest.update(b"%d:" % (-1 if text is None else len(text)))
            digest.update(text or b"")
    for array in numbers:
        digest.update(repr((array.shape, array.dtype.str)).encode())
        digest.update(np.ascontiguousarray(array).data.cast("B") if array.size else b"")
    return b32encode(digest.digest()).decode().lower()


def asked_keys(name: str, labels: Any) -> list[bytes]:
    """Return the bytes by which labels that somebody asks for stand in keys; others than ids are an error."""
    if isinstance(labels, str | bytes) or not hasattr(labels, "__iter__"):
        raise ArgumentTypeError(f"{name} must be several, as in a list, got {labels!r}")
    listed = list(labels)
    for place, label in enumerate(listed):
        if not isinstance(label, str | bytes | UUID | int | np.integer) or isinstance(label, bool):
            raise ArgumentTypeError(
                f"{name} must be integers, strings, bytes or UUIDs, "
                f"got {label!r} ({type(label).__name__}) at position {place}"
            )
    return [text_of(label) for label in listed]


def text_of(label: Any) -> bytes:
    """Return the bytes by which a label stands in keys: UTF-8, decimal digits, a UUID's usual form."""
    if isinstance(label, bytes):
        return label
    return str(label).encode("utf-8", "surrogatepass")

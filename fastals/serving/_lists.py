"""All users' lists, computed once and streamed to wherever they are to be read: the source behind fastals.serving."""

from __future__ import annotations

from base64 import b32encode
from collections.abc import Iterator
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._core import LabelArray, check_bool, check_int, resolve_num_threads

if TYPE_CHECKING:
    from .._data import Labels
    from .._topn import Fitted

POPULAR = 100
"""Items of the list for users without one, at least."""


class Batch(NamedTuple):
    """Lists of the users ``first``, ``first + 1``, …: items of shape (m, n), -1 behind the end of a short list."""

    first: int
    items: NDArray[np.int32]
    scores: NDArray[Any]


class Lists:
    """The n best items of every user of a fitted model.

    Parameters
    ----------
    model : fitted model
    n : int
    exclude_seen : bool
    batch_size : int
        Users of a batch; what bounds the memory.
    """

    def __init__(self, model: Any, n: int, exclude_seen: bool, batch_size: int) -> None:
        self.state: Fitted = model.state_
        self.num_threads = resolve_num_threads(model.num_threads)
        self.n = check_int("n", n, low=1)
        self.exclude_seen = check_bool("exclude_seen", exclude_seen)
        self.batch_size = check_int("batch_size", batch_size, low=1)
        self.users: Labels = self.state.users
        self.items: Labels = self.state.items

    def batches(self, first: int = 0) -> Iterator[Batch]:
        """Yield the lists of the users from the given one on; the next batch is computed while one is looked at."""
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(1) as pool:
            starts = range(first, len(self.users), self.batch_size)
            ahead = pool.submit(self._batch, starts[0]) if starts else None
            for following in [*starts[1:], None]:
                if ahead is None:
                    return
                batch = ahead.result()
                ahead = None if following is None else pool.submit(self._batch, following)
                yield batch

    def _batch(self, first: int) -> Batch:
        rows = slice(first, min(first + self.batch_size, len(self.users)))
        return Batch(first, *self.state.top_items(rows, self.n, self.exclude_seen, self.num_threads))

    def labels(self, first: int, count: int) -> LabelArray:
        """Return the labels of users, or their indices where there are no labels."""
        return self.users.decode(np.arange(first, first + count))

    def popular(self) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """Return the items that most users have, and the share of the users that has each."""
        counts = self.state.cells_of_items()
        items = np.argsort(-counts, kind="stable")[: max(self.n, POPULAR)].astype(np.int32)
        return items, counts[items] / len(self.users)

    def fingerprint(self, *options: object) -> str:
        """Return what is the same for the same lists in the same form, and for no others."""
        digest = blake2b(repr((self.n, self.exclude_seen, *options)).encode(), digest_size=5)
        arrays = self.state.numbers()
        for labels in (self.users, self.items):
            if labels.values is not None and labels.values.dtype.kind != "O":
                arrays.append(labels.values)
            elif labels.values is not None:
                for label in labels.values.tolist():
                    text = text_of(label)
                    digest.update(b"%d:" % len(text))
                    digest.update(text)
        for array in arrays:
            digest.update(repr((array.shape, array.dtype.str)).encode())
            digest.update(np.ascontiguousarray(array).data.cast("B") if array.size else b"")
        return b32encode(digest.digest()).decode().lower()


def text_of(label: Any) -> bytes:
    """Return the bytes by which a label stands in keys: UTF-8, decimal digits, a UUID's usual form."""
    if isinstance(label, bytes):
        return label
    return str(label).encode("utf-8", "surrogatepass")

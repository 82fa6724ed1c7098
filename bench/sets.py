"""The public data sets that defaults.py, stopping.py, bits.py and digests.py go through, and one way to split each.

They are read from `$FASTALS_DATA`, else `../shared/data`, as the README says there; none may be redistributed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import peers
import pyarrow.csv
import pyarrow.parquet
from scipy import sparse

from fastals import Interactions
from fastals.evaluation import leave_last_out, leave_random_out, train_test_split

LISTS = (
    "ml-100k",
    "ml-latest-small",
    "lastfm-hetrec2k",
    "citeulike-t",
    "movietweetings-100k",
    "bookcrossing-strings",
    "completejourney",
    "gowalla",
    "ml-1m",
)
RATINGS = ("ml-100k", "ml-latest-small", "movietweetings-100k", "bookcrossing-strings", "ml-1m")
QUICK = ("ml-100k", "lastfm-hetrec2k")
Matrix = sparse.csr_array


class Events(NamedTuple):
    """One row an event: indices, the value (NaN: none), and where the set has them times and the part it belongs to."""

    users: np.ndarray
    items: np.ndarray
    values: np.ndarray
    times: np.ndarray | None = None
    parts: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, int]:
        return int(self.users.max()) + 1, int(self.items.max()) + 1

    def take(self, mask: np.ndarray) -> Events:
        return Events(*(None if column is None else column[mask] for column in self))


class Split(NamedTuple):
    """Training cells and held-out cells, and the training cells split once more in the same way, to choose settings."""

    train: Matrix
    test: Matrix
    inner: Matrix
    validation: Matrix


def read(name: str) -> Events:
    if name == "bookcrossing-strings":
        table = pyarrow.csv.read_csv(peers.REAL_DATA / f"{name}.csv.gz")
        users, items = (np.unique(table[c].to_numpy(), return_inverse=True)[1] for c in ("userId", "itemId"))
        return Events(users, items, table["rating"].to_numpy().astype(np.float32))
    table = pyarrow.parquet.read_table(peers.REAL_DATA / f"{name}.parquet")
    columns = {c: table[c].to_numpy() for c in table.column_names if not table[c].null_count}
    value = next((columns[c] for c in ("rating", "count") if c in columns), None)
    return Events(
        columns["user"],
        columns["item"],
        np.ones(len(table), np.float32) if value is None else value.astype(np.float32),
        columns.get("timestamp"),
        columns.get("split", columns.get("fold")),
    )


def matrix(events: Events, shape: tuple[int, int] | None = None) -> Matrix:
    """Values as they are, 1 where there is none; several events of a pair are summed."""
    values = np.where(np.isnan(events.values), np.float32(1), events.values)
    return sparse.csr_array((values, (events.users, events.items)), shape=shape or events.shape, dtype=np.float32)


def own(part: Interactions) -> Matrix:
    """The matrix of interactions in memory that may be written: implicit wants it so."""
    return sparse.csr_array(part.matrix, copy=True)


def counts(name: str) -> Matrix:
    """All events, for models of implicit feedback."""
    return matrix(read(name))


def ratings(name: str) -> Events:
    """The events that have a rating, users and items numbered anew."""
    events = read(name)
    rated = events.take(~np.isnan(events.values))
    users, items = (np.unique(column, return_inverse=True)[1] for column in rated[:2])
    return rated._replace(users=users, items=items)


def held_last(events: Events, shape: tuple[int, int], seed: int, n: int) -> tuple[Matrix, Matrix, Events]:
    """The last n items of each user put aside, random ones without times; also the events that remain."""
    if events.times is None:
        train, test = (own(part) for part in leave_random_out(matrix(events, shape), n, random_state=seed))
    else:
        held = leave_last_out(events[:2], events.times, n=n)[1]
        rows = np.repeat(np.asarray(held.users), np.diff(held.matrix.indptr))
        test = matrix(Events(rows, np.asarray(held.items)[held.matrix.indices], held.matrix.data), shape)
        train = matrix(events.take(~within(events, test)), shape)
    return train, test, events.take(~within(events, test))


def within(events: Events, A: Matrix) -> np.ndarray:
    """Whether an event's cell is stored."""
    stored = np.repeat(np.arange(A.shape[0]), np.diff(A.indptr)) * A.shape[1] + A.indices
    return np.isin(events.users.astype(np.int64) * A.shape[1] + events.items, stored)


def split_lists(name: str, seed: int, n: int = 1, *, by_time: bool = True) -> Split:
    """For ranked lists: each user's last n items are held out (where some event has no time, random ones).

    gowalla is split as published, a tenth of its training part being for validation.
    """
    events = read(name)
    if not by_time:
        events = events._replace(times=None)
    if name == "gowalla":
        train, test = (matrix(events.take(events.parts == part), events.shape) for part in (0, 1))
        inner, validation = (own(part) for part in train_test_split(train, 0.1, random_state=seed))
        return Split(train, test, inner, validation)
    train, test, rest = held_last(events, events.shape, seed, n)
    return Split(train, test, *held_last(rest, events.shape, seed + 1, n)[:2])


def split_ratings(name: str, seeds: int) -> Iterator[tuple[int, Interactions, Interactions]]:
    """For ratings: seed, nine tenths, and the tenth held out; ml-100k by its official folds."""
    events = ratings(name)
    if name == "ml-100k":
        for fold in range(1, 6 if seeds > 1 else 2):
            tested = events.parts == fold
            parts: Any = (Interactions.from_matrix(matrix(events.take(m), events.shape)) for m in (~tested, tested))
            yield (fold, *parts)
        return
    for seed in range(seeds):
        yield (seed, *train_test_split(matrix(events), 0.1, random_state=seed))

"""Power-law data with planted structure, at any size, in bounded memory: the benchmarks' input.

    python bench/generate.py                          # 20 M cells, the sizes and degrees of MovieLens-20M
    python bench/generate.py 100m --kind ratings      # also: 1m, 100m, 1g

writes CSR by users to bench/data/NAME-KIND-SEED/, read back with `load(NAME, KIND)` (memory-mapped).

Degrees. User and item degrees follow a profile of quantiles, interpolated in log space (here: MovieLens-20M's published
ones). A user draws cells until as many distinct ones are found as its degree says; an item is drawn in proportion to a
weight, made from its degree by undoing what distinctness takes away from popular items:
E[degree] = sum_u 1 - exp(-weight d_u).

Structure. An item belongs to one of 64 topics, a user to three of them. A draw comes from the general pool, the same
for all users, or from one of the user's topics; the more popular an item, the larger its share in the general pool.
So P(item | user) is a mixture of rank 65, the truth that a factorization can find.

Values. counts: 1 + a log-normal, larger in the user's own topics. ratings: 0.5 .. 5 in half steps, from biases, the
user's taste for the item's topic, and noise. ones: not stored at all.

Deterministic: the same name, kind and seed give the same bytes (with the same NumPy), however many threads draw.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import sparse

DATA = Path(__file__).parent / "data"


class Shape(NamedTuple):
    users: int
    items: int
    cells: int


SHAPES = {
    "1m": Shape(6_040, 3_706, 1_000_209),  # MovieLens-1M
    "20m": Shape(138_493, 26_744, 20_000_263),  # MovieLens-20M
    "100m": Shape(480_189, 17_770, 100_480_507),  # Netflix
    "1g": Shape(4_000_000, 400_000, 1_000_000_000),
}
KINDS = ("counts", "ratings", "ones")

# quantile, degree
USER_DEGREES = [(0, 20), (0.25, 35), (0.5, 68), (0.75, 155), (0.9, 334), (0.99, 1113), (0.999, 2300), (1, 9254)]
ITEM_DEGREES = [(0, 1), (0.25, 3), (0.5, 18), (0.75, 205), (0.9, 1306), (0.95, 3613), (0.99, 16000), (1, 67310)]

TOPICS, USER_TOPICS = 64, 3
GENERAL = 0.2  # the least popular items' share in the general pool
BLOCK_CELLS = 4_000_000


def degrees(profile: list[tuple[float, float]], n: int, total: int, most: int, rng: np.random.Generator) -> np.ndarray:
    """n degrees >= 1 in random order with the profile's shape, of about this total, none above `most`."""
    quantile, degree = np.array(profile, float).T
    shape = np.exp(np.interp((np.arange(n) + 0.5) / n, quantile, np.log(degree)))
    low, high = 0.0, total / n * 10
    for _ in range(60):
        scale = (low + high) / 2
        d = np.clip(shape * scale, 1, most)
        low, high = (low, scale) if d.sum() > total else (scale, high)
    return rng.permutation(d)


def item_weights(degree: np.ndarray, user_degree: np.ndarray) -> np.ndarray:
    """Weights whose expected number of users is `degree`, when user u draws d_u times with replacement."""
    sample = np.quantile(user_degree, (np.arange(2000) + 0.5) / 2000)
    grid = np.logspace(-10, 0, 400)
    reached = len(user_degree) * -np.expm1(-grid[:, None] * sample).mean(1)
    w = np.exp(np.interp(np.log(degree), np.log(reached), np.log(grid)))
    return w / w.sum()


class Model:
    """The distribution; `block(b)` draws the cells of the users bounds[b] .. bounds[b + 1]."""

    def __init__(self, shape: Shape, kind: str, seed: int) -> None:
        self.shape, self.kind, self.seed = shape, kind, seed
        rng = np.random.default_rng(seed)
        self.degree = degrees(USER_DEGREES, shape.users, shape.cells, shape.items // 2, rng).round().astype(np.int64)
        popular = degrees(ITEM_DEGREES, shape.items, shape.cells, int(0.9 * shape.users), rng)
        weight = item_weights(popular, self.degree)
        self.topic = rng.integers(0, TOPICS, shape.items)
        self.item_bias = rng.normal(0, 0.4, shape.items).astype(np.float32)
        general = GENERAL + (1 - GENERAL) * np.minimum(1, popular / (0.05 * shape.users))
        # one table of cumulated weights: segment t, from t to t + 1, is topic t; the last is the general pool
        self.general_share = float(weight @ general)
        in_topic = weight * (1 - general)
        self.topic_mass = np.bincount(self.topic, in_topic, TOPICS) + 1e-12
        self.topic_mass /= self.topic_mass.sum()
        order = np.argsort(self.topic, kind="stable")
        tables, items = [], []
        for t in range(TOPICS):
            members = order[self.topic[order] == t]
            tables.append(t + cumulated(in_topic[members]))
            items.append(members)
        tables.append(TOPICS + cumulated(weight * general))
        items.append(np.arange(shape.items))
        self.table, self.table_item = np.concatenate(tables), np.concatenate(items)
        ends = np.cumsum(self.degree)
        cuts = np.searchsorted(ends, np.arange(BLOCK_CELLS, ends[-1], BLOCK_CELLS)) + 1
        self.bounds = np.unique(np.concatenate([[0], cuts, [shape.users]]))

    def draw(self, count: np.ndarray, topics: np.ndarray, taste: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """count[u] cells of each user u, repeats and all, as user * items + item."""
        user = np.repeat(np.arange(len(count)), count)
        which = rng.random(len(user), np.float32)
        share = (1 - self.general_share) * np.cumsum(taste, 1)
        segment = np.full(len(user), TOPICS)
        for j in reversed(range(USER_TOPICS)):
            own = which < share[:, j][user]
            segment[own] = topics[:, j][user[own]]
        at = np.searchsorted(self.table, segment + rng.random(len(user)))
        return user * self.shape.items + self.table_item[np.minimum(at, len(self.table) - 1)]

    def block(self, b: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Row lengths, item indices (ascending in each row) and values of one block of users."""
        first, last = self.bounds[b], self.bounds[b + 1]
        rng = np.random.default_rng([self.seed, int(b)])
        degree, items = self.degree[first:last], self.shape.items
        topics = rng.choice(TOPICS, (last - first, USER_TOPICS), p=self.topic_mass)
        taste = rng.dirichlet(np.ones(USER_TOPICS), last - first)
        cells = np.empty(0, np.int64)
        missing = degree
        # the busiest users have seen nearly all of their topics: after a few rounds they keep what they have
        for _ in range(6):
            cells = distinct(np.concatenate([cells, self.draw(missing, topics, taste, rng)]))
            missing = degree - np.bincount(cells // items, minlength=last - first)
            if not missing.any():
                break
        user, item = np.divmod(cells, items)
        lengths = np.bincount(user, minlength=last - first)
        if self.kind == "ones":
            return lengths, item.astype(np.int32), None
        liking = np.zeros(len(cells), np.float32)
        for j in range(USER_TOPICS):
            own = topics[:, j][user] == self.topic[item]
            liking[own] += taste[:, j][user[own]]
        noise = rng.standard_normal(len(cells), np.float32)
        if self.kind == "counts":
            values = 1 + np.floor(np.exp(liking + noise))
        else:
            user_bias = rng.normal(3.2, 0.4, last - first)[user]
            values = np.clip(np.round(2 * (user_bias + self.item_bias[item] + liking + 0.7 * noise)) / 2, 0.5, 5)
        return lengths, item.astype(np.int32), values.astype(np.float32)

    def blocks(self, threads: int = 2) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray | None]]:
        """All blocks in order; never more than `threads` + 1 of them exist."""
        with ThreadPoolExecutor(threads) as pool:
            n = len(self.bounds) - 1
            waiting = [pool.submit(self.block, b) for b in range(min(threads, n))]
            for b in range(n):
                done = waiting.pop(0).result()
                if b + threads < n:
                    waiting.append(pool.submit(self.block, b + threads))
                yield done


def distinct(a: np.ndarray) -> np.ndarray:
    """np.unique, but sorting: its hash table is 30 times slower on these."""
    a.sort()
    return a[np.concatenate([[True], a[1:] != a[:-1]])]


def cumulated(weight: np.ndarray) -> np.ndarray:
    c = np.cumsum(weight)
    return c / c[-1]


def write(name: str, kind: str = "counts", seed: int = 0) -> Path:
    """Generate a named shape into its folder, block by block."""
    folder = DATA / f"{name}-{kind}-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    model = Model(SHAPES[name], kind, seed)
    lengths = []
    with open(folder / "indices.raw", "wb") as indices, open(folder / "values.raw", "wb") as values:
        for row_lengths, item, value in model.blocks():
            lengths.append(row_lengths)
            item.tofile(indices)
            if value is not None:
                value.tofile(values)
    indptr = np.concatenate([[0], np.cumsum(np.concatenate(lengths), dtype=np.int64)])
    np.save(folder / "indptr.npy", indptr)
    meta = {
        "users": model.shape.users,
        "items": model.shape.items,
        "cells": int(indptr[-1]),
        "kind": kind,
        "seed": seed,
    }
    meta["seconds"] = round(time.perf_counter() - start, 1)
    (folder / "meta.json").write_text(json.dumps(meta) + "\n")
    return folder


def load(name: str, kind: str = "counts", seed: int = 0) -> sparse.csr_array:
    """The matrix of a named shape, generated first if need be; its arrays are mapped, not read."""
    folder = DATA / f"{name}-{kind}-{seed}"
    if not (folder / "meta.json").exists():
        write(name, kind, seed)
    meta = json.loads((folder / "meta.json").read_text())
    indptr = np.load(folder / "indptr.npy")
    indices = np.memmap(folder / "indices.raw", np.int32, "r")
    if kind == "ones":
        values = np.broadcast_to(np.float32(1), len(indices))  # one element, read over and over
    else:
        values = np.memmap(folder / "values.raw", np.float32, "r")
    if indptr[-1] < 2**31:  # what scipy itself would choose
        indptr = indptr.astype(np.int32)
    matrix = sparse.csr_array((meta["users"], meta["items"]), dtype=np.float32)
    matrix.indptr, matrix.indices, matrix.data = indptr, indices, values
    return matrix


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shape", nargs="?", default="20m", choices=SHAPES)
    parser.add_argument("--kind", default="counts", choices=KINDS)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    where = write(arguments.shape, arguments.kind, arguments.seed)
    print(where, (where / "meta.json").read_text().strip())

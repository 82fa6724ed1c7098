"""From ids to sorted rows: fastals beside pandas.factorize and SciPy's COO -> CSR, and beside reading the file at all.

    python bench/ingest.py                # 20 M events of 138 k users with 27 k items, ids are strings
    python bench/ingest.py --quick        # 1 M events

The contestants run in turn in one process; a time is the median over the rounds, a ratio the median of the rounds'
ratios. Before anything is said about time, both results are asserted equal.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import report
from pyarrow import csv
from scipy import sparse

from fastals._data.interactions import Interactions, as_interactions

USERS, ITEMS = 138_493, 26_744


def events(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Users and items as strings, users uniform and items by a power law, in random order; ratings."""
    rng = np.random.default_rng(0)
    users = np.array([f"u{x:07d}" for x in rng.permutation(7 * USERS)[:USERS]])
    items = np.array([f"{x:010d}" for x in rng.permutation(9 * ITEMS)[:ITEMS]])
    who, what = rng.integers(0, USERS, n), (ITEMS * rng.random(n) ** 3).astype(np.int64)
    return users[who], items[what], rng.integers(1, 11, n) / 2


def by_pandas(users: Any, items: Any, ratings: Any) -> tuple[sparse.csr_array, Any, Any]:
    (rows, user_labels), (columns, item_labels) = pd.factorize(users), pd.factorize(items)
    shape = len(user_labels), len(item_labels)
    return sparse.coo_array((ratings, (rows, columns)), shape=shape).tocsr(), user_labels, item_labels


def in_turn(contestants: list[Callable[[], Any]], rounds: int) -> tuple[list[float], list[Any]]:
    """Median seconds of each, and the median ratio of the first to the last; the last results."""
    seconds: list[list[float]] = []
    for _ in range(rounds):
        results = None  # the memory of the last round is free again
        results, times = [], []
        for contestant in contestants:
            start = time.perf_counter()
            results.append(contestant())
            times.append(time.perf_counter() - start)
        seconds.append(times)
    medians = [statistics.median(times) for times in zip(*seconds, strict=True)]
    return [*medians, statistics.median(times[0] / times[-1] for times in seconds)], results


def assert_equal(found: Interactions, matrix: sparse.csr_array, users: Any, items: Any) -> None:
    rows, columns = np.argsort(np.asarray(users, object)), np.argsort(np.asarray(items, object))
    assert list(found.users) == list(np.asarray(users, object)[rows])
    assert list(found.items) == list(np.asarray(items, object)[columns])
    assert (found.matrix != matrix[rows][:, columns]).nnz == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=20_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.events = 1_000_000
    machine = report.machine()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    pa.set_cpu_count(options.threads)
    users, items, ratings = events(options.events)
    kinds: dict[str, Callable[[], tuple[Any, Any]]] = {
        "pandas str (Arrow)": lambda: (pd.Series(users, dtype="str"), pd.Series(items, dtype="str")),
        "NumPy objects": lambda: (users.astype(object), items.astype(object)),
        "integers": lambda: (
            users.astype("S").view("u8").byteswap().astype(np.int64),
            np.char.lstrip(items, "0").astype(int),
        ),
    }
    rows, every = [], []
    for kind, make in kinds.items():
        who, what = make()
        data = {"user": who, "item": what, "rating": ratings}
        (theirs, ours, ratio), (matrix, found) = in_turn(
            [lambda who=who, what=what: by_pandas(who, what, ratings), lambda data=data: as_interactions(data)],
            options.rounds,
        )
        assert_equal(found, *matrix)
        rows.append([kind, theirs, ours, f"{ratio:.1f}x"])
        every.append({"ids": kind, "pandas": theirs, "fastals": ours, "ratio": ratio})
        del who, what, data, matrix, found
    title = f"{options.events:,} events to rows, {options.threads} threads"
    tables = [report.table(title, ["ids", "pandas.factorize + SciPy, s", "fastals, s", "faster"], rows)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "events.csv")
        csv.write_csv(pa.table({"user": users.astype(object), "item": items.astype(object), "rating": ratings}), path)
        (read, ours, ratio), _ = in_turn(
            [lambda: csv.read_csv(path), lambda: Interactions.from_csv(path)], options.rounds
        )
        size = path.stat().st_size / 2**20
    title = f"A CSV file of {size:.0f} MB to rows"
    tables.append(
        report.table(
            title,
            ["pyarrow.csv.read_csv, s", "fastals from_csv, s", "times as long"],
            [[read, ours, f"{1 / ratio:.2f}"]],
        )
    )
    every.append({"file": size, "pyarrow": read, "fastals": ours, "ratio": 1 / ratio})
    report.save("ingest", machine, tables, every, quick=options.quick)


if __name__ == "__main__":
    main()

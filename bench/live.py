"""One request at a time: how long does who asks wait, by the size of the catalogue and the number of those who ask?

    python bench/live.py                     # 27 k, 300 k and 3 M items x 64 factors, 1 and 8 asking threads
    python bench/live.py --items 300000 --asking 1
    python bench/live.py --quick             # 27 k items

Each size is a process of its own. Its model is fitted for one iteration on next to nothing and then given random
factors, whose norms spread as those of popular and rare items do; what an answer costs depends on little else. The
requests, each of another user, item or history:

    list         recommend(user, n=10)
    boost        the same with boost={item: 2.0}
    candidates   the same with items= half the catalogue
    history      recommend(histories=one of 20 items, n=10)
    fold_in      fold_in(one of 20 items)
    similar      similar_items(item, n=10)

All asking threads ask the one model, each call on one thread (num_threads=1), again and again for as long as --seconds;
tables that are made once, by the first request, are not timed. With more asking threads than cores, waiting for a core
is part of what is measured.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import report
from scipy import sparse

USERS, CELLS, HISTORY = 2000, 100_000, 20
SPREAD = 0.7
"""Standard deviation of the logarithm of the items' norms."""
ITEMS = [27_000, 300_000, 3_000_000]
Ask = Callable[[int], object]


def prepare(n_items: int, factors: int) -> dict[str, Ask]:
    """A model, and what it is asked: functions of the number of the request."""
    from fastals import ImplicitALS

    rng = np.random.default_rng(0)
    cells = np.ones(CELLS, np.float32), (rng.integers(0, USERS, CELLS), rng.integers(0, n_items, CELLS))
    data = sparse.csr_array(cells, shape=(USERS, n_items))
    model = ImplicitALS(factors=factors, regularization=0.1, iterations=1, tol=None, random_state=0, num_threads=1)
    model.fit(data, progress=False)
    model.user_factors_ = rng.standard_normal((USERS, factors), np.float32)
    model.item_factors_ = rng.standard_normal((n_items, factors), np.float32) * rng.lognormal(
        0, SPREAD, (n_items, 1)
    ).astype(np.float32)
    half = rng.permutation(n_items)[: n_items // 2]
    ends = np.array([0, HISTORY])
    histories = [
        sparse.csr_array((np.ones(HISTORY, np.float32), np.sort(chosen), ends), shape=(1, n_items))
        for chosen in rng.integers(0, n_items, (USERS, HISTORY))
    ]
    return {
        "list": lambda i: model.recommend(i % USERS, n=10),
        "boost": lambda i: model.recommend(i % USERS, n=10, boost={7 * i % n_items: 2.0}),
        "candidates": lambda i: model.recommend(i % USERS, n=10, items=half),
        "history": lambda i: model.recommend(histories=histories[i % USERS], n=10),
        "fold_in": lambda i: model.fold_in(histories[i % USERS]),
        "similar": lambda i: model.similar_items(7 * i % n_items, n=10),
    }


def latencies(ask: Ask, asking: int, seconds: float) -> list[float]:
    """Seconds of every request that ``asking`` threads have made, one after the other each."""
    start, found = threading.Barrier(asking), [[] for _ in range(asking)]  # type: list[list[float]]

    def go(thread: int) -> None:
        own, i = found[thread], thread
        start.wait()
        end = time.perf_counter() + seconds
        while not own or time.perf_counter() < end:
            before = time.perf_counter()
            ask(i)
            own.append(time.perf_counter() - before)
            i += asking

    threads = [threading.Thread(target=go, args=(thread,)) for thread in range(asking)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if not all(found):
        raise RuntimeError("a request has failed")
    return [second for own in found for second in own]


def work(n_items: int, factors: int, asking: list[int], seconds: float) -> list[dict[str, Any]]:
    runs = []
    for request, ask in prepare(n_items, factors).items():
        ask(0)  # makes what is made once
        for threads in asking:
            times = latencies(ask, threads, seconds)
            p50, p99 = np.percentile(times, [50, 99]).tolist()
            runs.append({"items": n_items, "asking": threads, "request": request, "p50": p50, "p99": p99})
            runs[-1]["requests"] = len(times)
    return runs


def main() -> None:
    if sys.argv[1:2] == ["--work"]:
        print(json.dumps(work(*json.loads(sys.argv[2]))))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, nargs="+", default=ITEMS)
    parser.add_argument("--factors", type=int, default=64)
    parser.add_argument("--asking", type=int, nargs="+", default=[1, 8], help="threads that ask at a time")
    parser.add_argument("--seconds", type=float, default=10, help="of each request, size and number of threads")
    parser.add_argument("--quick", action="store_true")
    if parser.parse_args().quick:
        parser.set_defaults(items=ITEMS[:1], seconds=0.5)
    options = parser.parse_args()
    machine = report.machine()
    runs: list[dict[str, Any]] = []
    for n_items in options.items:
        arguments = json.dumps([n_items, options.factors, options.asking, options.seconds])
        command = [sys.executable, __file__, "--work", arguments]
        runs += json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    tables = []
    for threads in options.asking:
        columns, rows = ["items", "request", "p50, ms", "p99, ms", "requests/s"], []
        for run in runs:
            if run["asking"] == threads:
                rate = run["requests"] / options.seconds
                rows.append([f"{run['items']:,}", run["request"], 1e3 * run["p50"], 1e3 * run["p99"], rate])
        who = "1 thread asks" if threads == 1 else f"{threads} threads ask"
        tables.append(report.table(f"One request at a time, {options.factors} factors, {who}", columns, rows))
    report.save("live", machine, tables, runs, quick=options.quick)


if __name__ == "__main__":
    main()

"""Does the cost grow linearly with the data? Seconds per cell and peak memory from 20 M to 1 G stored cells.

    python bench/scale.py                    # 20 M and 100 M cells with 64 factors, 1 G equal values with 32
    python bench/scale.py --shapes 20m 100m
    python bench/scale.py --on-disk          # each shape from interactions on disk, too
    python bench/scale.py --quick            # 1 M and 20 M cells

One process a shape. It maps the cells that generate.py wrote (1 G cells: 4 GB of indices, an hour of generating on one
core, once), fits ImplicitALS and takes the median of the iterations but the first, which sets up, and the last, which
is exact. Memory is the resident peak, mapped cells included. Interactions on disk are made anew in bench/data, and
deleted; both fits must end with the same bits.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import time
from itertools import product
from typing import Any

import report

# factors, kind of values, iterations
RUNS = {"1m": (64, "counts", 6), "20m": (64, "counts", 5), "100m": (64, "counts", 4), "1g": (32, "ones", 3)}


def work(shape: str, threads: int, on_disk: bool) -> dict[str, Any]:
    import bits
    import generate
    import peers

    from fastals import ImplicitALS, Interactions

    factors, kind, iterations = RUNS[shape]
    matrix = generate.load(shape, kind)
    seconds: list[float] = []
    start = time.perf_counter()
    directory = generate.DATA / f"{shape}-{kind}-on-disk"
    shutil.rmtree(directory, ignore_errors=True)
    data = Interactions.from_matrix(matrix, on_disk=directory if on_disk else None)
    read = time.perf_counter() - start
    made_bytes = peers.memory("VmHWM")
    model = ImplicitALS(
        factors=factors, regularization=0.01, iterations=iterations, tol=None, random_state=0, num_threads=threads
    )
    model.fit(data, callback=lambda i, loss, metrics, s: seconds.append(s), progress=False)
    return {
        "shape": [*matrix.shape, data.nnz],
        "on_disk": on_disk,
        "digest": bits.digest(model.user_factors_, model.item_factors_),
        "made_bytes": made_bytes,
        "factors": factors,
        "values": kind,
        "read": read,
        "seconds": seconds,
        "losses": model.loss_history_,
        "peak_bytes": peers.memory("VmHWM"),
    }


def main() -> None:
    if sys.argv[1:2] == ["--work"]:
        print(json.dumps(work(sys.argv[2], int(sys.argv[3]), sys.argv[4] == "disk")))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", default=["20m", "100m", "1g"], choices=RUNS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--on-disk", action="store_true")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.shapes = ["1m", "20m"]
    machine = report.machine()
    runs, rows = [], []
    for shape, where in product(options.shapes, ["memory", "disk"] if options.on_disk else ["memory"]):
        command = [sys.executable, __file__, "--work", shape, str(options.threads), where]
        run = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
        runs.append(run)
        n_users, n_items, cells = run["shape"]
        seconds = statistics.median(run["seconds"][1:-1])
        size = f"{n_users:,} x {n_items:,}"
        rows.append([f"{cells:,}", size, run["values"], where, run["factors"], seconds, 1e9 * seconds / cells])
        rows[-1] += [run["seconds"][-1], run["read"], run["peak_bytes"] / 1e9]
    by_shape = {run["shape"][2]: {each["digest"] for each in runs if each["shape"] == run["shape"]} for run in runs}
    if any(len(digests) > 1 for digests in by_shape.values()):
        raise AssertionError("the bits on disk are not those in memory")
    columns = [
        "cells",
        "users x items",
        "values",
        "cells in",
        "factors",
        "s per iteration",
        "ns per cell",
        "last, exact, s",
    ]
    title = f"Growing data, {options.threads} threads"
    tables = [report.table(title, [*columns, "matrix to Interactions, s", "peak resident, GB"], rows)]
    report.save("scale", machine, tables, runs, quick=options.quick)


if __name__ == "__main__":
    main()

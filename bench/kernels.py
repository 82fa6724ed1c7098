"""GFLOP/s of every kernel, per instruction set and number of factors, beside the machine's own limits.

    python bench/kernels.py [--factors 32 64 128 256] [--threads 2] [--quick]

Compiles kernels.c with src_c/ as the package does ($CC, else cc), runs it and makes tables: the share of the peak FMA
rate that each kernel reaches, and for rows solved by conjugate gradients the share of whichever limit binds, fetching
the factor rows once or the multiply-adds. Not through the package: a call from Python costs more than a row.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
from typing import Any

import report

SOURCE = report.HERE.parent / "src_c"
BINARY = report.HERE / "data" / "kernels"
FLAGS = ["-O3", "-std=gnu11", "-ffp-contract=fast", "-fno-math-errno"]  # as setup.py has them
KERNELS = {
    "gram": "Gram matrix",
    "rotate": "rotation",
    "row_gram": "rank-n update",
    "posv": "Cholesky",
    "long row": "whole row, n = 2k",
    "short row": "whole row, n = k/4",
    "cg row": "CG, n = 2k",
    "nnls row": "nonnegative row from scratch, n = 2k, as one exact solve",
}
TABLES = ("26744 rows", "138493 rows")
CG_FLOP_PER_CELL = 4 * 3 + 6  # times k; three steps


def measure(threads: int, factors: list[int]) -> list[dict[str, Any]]:
    BINARY.parent.mkdir(exist_ok=True)
    sources = [report.HERE / "kernels.c", *(f for f in sorted(SOURCE.glob("*/*.c")) if not f.name.endswith(".inc.c"))]
    compiler = [os.environ.get("CC", "cc"), *FLAGS, "-I", SOURCE, *sources, "-o", BINARY, "-lm", "-lpthread"]
    subprocess.run(compiler, check=True)
    done = subprocess.run([BINARY, str(threads), *map(str, factors)], check=True, capture_output=True, text=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def tables(lines: list[dict[str, Any]], threads: int) -> list[report.Table]:
    rate = {(m["what"], m["isa"], m["dtype"], m["k"]): m["rate"] for m in lines}
    cases = sorted({(m["dtype"], m["isa"], m["k"]) for m in lines})
    dense, sparse = [], []
    for dtype, isa, k in cases:
        best = max(m["rate"] for m in lines if (m["what"], m["isa"], m["dtype"]) == ("fma", isa, dtype))
        cells = [f"{r:.0f} ({100 * r / best:.0f} %)" if (r := rate.get((w, isa, dtype, k))) else None for w in KERNELS]
        dense.append([dtype, isa, k, best, *cells])
        for rows in TABLES:
            fetch, cg = (rate[f"{w}, {rows}", isa, dtype, k] for w in ("fetch", "cg"))
            arithmetic = threads * best * 1e3 / (CG_FLOP_PER_CELL * k)
            gigabytes = fetch * 1e6 * k * (4 if dtype == "float32" else 8) / 1e9
            binding = "fetch" if fetch < arithmetic else "FMA"
            share = f"{100 * cg / min(fetch, arithmetic):.0f} % of {binding}"
            sparse.append([dtype, isa, k, rows, fetch, gigabytes, arithmetic, cg, share])
    return [
        report.table(
            "GFLOP/s on one thread (share of peak)", ["dtype", "isa", "factors", "peak FMA", *KERNELS.values()], dense
        ),
        report.table(
            f"Rows of 144 cells by three steps of conjugate gradients, {threads} threads, millions of cells a second",
            ["dtype", "isa", "factors", "table", "fetch only", "GB/s", "FMA only", "CG", "CG reaches"],
            sparse,
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--factors", type=int, nargs="+", default=[16, 32, 64, 96, 128, 192, 256])
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.quick:
        parser.set_defaults(factors=[64])
        options = parser.parse_args()
    machine = report.machine()
    lines = measure(options.threads, options.factors)
    report.save("kernels", machine, tables(lines, options.threads), lines, quick=options.quick)


if __name__ == "__main__":
    main()

"""How much of an iteration one thread works alone: the time outside the kernels' parallel loops.

    python bench/serial.py                         # 20 M cells, 64 factors, both models
    python bench/serial.py --data 1m --factors 32 128 --iterations 20

A serial share s lets n cores be at most 1 / (s + (1 - s) / n) times as fast as one (Amdahl's law): of 32, 0.5 % leave
27.7, 2 % leave 19.8. Measured with one thread, where all is serial that is not in a parallel loop: the functions that
are such a loop are timed from the outside, what else an iteration takes is the share. The median of the iterations but
the first and the last; those at whose start the sides are balanced, by k x k matrices in float64, stand apart.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import generate
import report
from scipy import sparse

import fastals
from fastals._core import kernels
from fastals._equation.descent import BALANCED

PARALLEL = (
    *("constant", "decrease_of_cells", "go_beyond", "gram", "half_sweep", "last_column", "less", "penalty", "rotate"),
    *("shift_last_column", "turn"),
)
MODELS = {"implicit": fastals.ImplicitALS, "explicit": fastals.ExplicitALS}
KINDS = {"implicit": "counts", "explicit": "ratings"}


class Watch:
    """Seconds that have been spent in parallel loops."""

    def __init__(self) -> None:
        self.seconds = 0.0
        for name in PARALLEL:
            setattr(kernels, name, self.timed(getattr(kernels, name)))

    def timed(self, function: Any) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*args, **options)
            finally:
                self.seconds += time.perf_counter() - start

        return call


def measure(watch: Watch, feedback: str, matrix: sparse.csr_array, factors: int, iterations: int) -> dict[str, Any]:
    """Seconds of each iteration, and of its parallel loops."""
    whole: list[float] = []
    inside: list[float] = []
    before = 0.0

    def after(iteration: int, loss: float, metrics: Any, seconds: float) -> None:
        nonlocal before
        whole.append(seconds)
        inside.append(watch.seconds - before)
        before = watch.seconds

    model = MODELS[feedback](factors=factors, iterations=iterations, tol=None, num_threads=1, random_state=0)
    model.fit(matrix, callback=after, progress=False)
    return {"feedback": feedback, "factors": factors, "seconds": whole, "parallel": inside, "cells": matrix.nnz}


def row(run: dict[str, Any]) -> list[Any]:
    # before the first iteration sides are set up, and the last one ends exactly
    numbers = range(2, len(run["seconds"]))
    shares = {n: 1 - run["parallel"][n - 1] / run["seconds"][n - 1] for n in numbers}
    median = {
        balanced: statistics.median(share for n, share in shares.items() if (n in BALANCED) == balanced)
        for balanced in (True, False)
    }
    told = [f"{median[balanced]:.2%}" for balanced in (False, True)]
    return [run["feedback"], run["factors"], statistics.median(run["seconds"][1:-1]), *told]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="20m", choices=generate.SHAPES)
    parser.add_argument("--factors", type=int, nargs="+", default=[64])
    parser.add_argument("--iterations", type=int, default=13)
    parser.add_argument("--feedback", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--quick", action="store_true", help="1 M cells")
    options = parser.parse_args()
    if options.quick:
        options.data, options.iterations = "1m", BALANCED.stop + 2
    if options.iterations < BALANCED.stop + 2:
        parser.error(f"--iterations must be {BALANCED.stop + 2} or more")
    machine, watch, runs = report.machine(), Watch(), []
    for feedback in options.feedback:
        matrix = sparse.csr_array(generate.load(options.data, KINDS[feedback]), copy=True)
        runs += [measure(watch, feedback, matrix, factors, options.iterations) for factors in options.factors]
    columns = ["feedback", "factors", "s per iteration", "serial share", "where sides are balanced"]
    title = f"Time outside parallel loops, {options.data}: {runs[0]['cells']:,} cells, defaults, 1 thread"
    report.save(
        "serial", machine, [report.table(title, columns, [row(run) for run in runs])], runs, quick=options.quick
    )


if __name__ == "__main__":
    main()

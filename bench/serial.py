"""How much of an iteration one thread works alone: the time outside the kernels' parallel loops.

    python bench/serial.py                         # 20 M cells, 64 factors
    python bench/serial.py --data 1m --factors 32 128
    python bench/serial.py --quick                 # 1 M cells

By Amdahl's law a share s lets n cores be 1 / (s + (1 - s) / n) times as fast as one: with 32, 0.5 % costs 4 of them,
2 % costs 12. Measured with one thread, where all that is not in a parallel loop is serial: functions of the kernels
that have one are timed from the outside, what else an iteration takes is the share. `--calls` lists them.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import defaultdict
from typing import Any

import generate
from scipy import sparse

import fastals
from fastals._core import kernels

# of the functions that a fit calls, those that are a parallel loop
PARALLEL = (*("constant", "decrease_of_cells", "go_beyond", "gram", "half_sweep", "less", "penalty", "rotate", "turn"),)
MODELS = {"implicit": fastals.ImplicitALS, "explicit": fastals.ExplicitALS}
KINDS = {"implicit": "counts", "explicit": "ratings"}


class Watch:
    """Seconds in the kernels, by function."""

    def __init__(self) -> None:
        self.inside: dict[str, float] = defaultdict(float)
        for name in PARALLEL:
            if hasattr(kernels, name):
                setattr(kernels, name, self.timed(name, getattr(kernels, name)))

    def timed(self, name: str, function: Any) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*args, **options)
            finally:
                self.inside[name] += time.perf_counter() - start

        return call


def measure(watch: Watch, feedback: str, matrix: sparse.csr_array, factors: int, iterations: int) -> list[Any]:
    """Median share of an iteration, and what it is made of."""
    shares, seconds = [], []
    before: dict[str, float] = {}

    def after(iteration: int, loss: float, metrics: Any, s: float) -> None:
        nonlocal before
        inside = sum(watch.inside.values()) - sum(before.values())
        before = dict(watch.inside)
        seconds.append(s)
        shares.append(1 - inside / s)

    watch.inside.clear()
    model = MODELS[feedback](factors=factors, iterations=iterations, tol=None, num_threads=1, random_state=0)
    model.fit(matrix, callback=after, progress=False)
    return [feedback, factors, statistics.median(seconds[1:-1]), *(f"{share:.2%}" for share in shares)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="20m", choices=generate.SHAPES)
    parser.add_argument("--factors", type=int, nargs="+", default=[64])
    parser.add_argument("--iterations", type=int, default=8)
    parser.add_argument("--feedback", nargs="+", default=["implicit", "explicit"])
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.data = "1m"
    w = Watch()
    for feedback in options.feedback:
        matrix = sparse.csr_array(generate.load(options.data, "counts"), copy=True)
        for k in options.factors:
            print(*measure(w, feedback, matrix, k, options.iterations))
            print({a: round(b, 3) for a, b in w.inside.items()})

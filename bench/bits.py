"""The same bits for any number of threads: every public data set, number of factors, model, dtype and solver.

    python bench/bits.py            # all of it, hours; needs the data sets: $FASTALS_DATA, else ../shared/data
    python bench/bits.py --data ml-1m gowalla --factors 128
    python bench/bits.py --quick    # two small sets, two numbers of factors: minutes

A case is fitted with 1, 2, 3, 4 and 7 threads from the same seed. Compared to the bit with the first of them: the
factors of both sides (with them biases and mean), the history of the loss, folded-in rows of users short and long, the
best 20 items of some hundred users with their scores; and factors and history of a fit that was killed after its first
iteration with the most threads and went on from its checkpoint with another number. A case that ends in an error has to
end in the same one. One line a case: a digest of all that, or "DIFFER" and what. The exit code is 1 where anything
differs.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # more threads than cores: those that wait leave the core to others

import numpy as np
import report
import sets

import fastals
from fastals import Interactions

MODELS = {"implicit": fastals.ImplicitALS, "explicit": fastals.ExplicitALS}
SOLVERS = ("auto", "cholesky", "cg")
THREADS = (1, 2, 3, 4, 7)
LONG = 500_000  # cells: two iterations, which one relaxed and one exact are; else three

Bits = dict[str, str]


class KilledError(Exception):
    """What ends a fit after its first iteration, as a signal might."""


def digest(*parts: Any) -> str:
    total = hashlib.blake2b(digest_size=8)
    for part in parts:
        array = np.ascontiguousarray(part)
        total.update(f"{array.dtype} {array.shape}".encode())
        total.update(array.tobytes())
    return total.hexdigest()


def trained(model: Any) -> Bits:
    """Digests of what training made."""
    sides = {"users": [model.user_factors_], "items": [model.item_factors_]}
    if getattr(model, "user_biases_", None) is not None:
        sides["users"] += [model.user_biases_, model.global_mean_]
        sides["items"].append(model.item_biases_)
    return {**{side: digest(*arrays) for side, arrays in sides.items()}, "loss": digest(model.loss_history_)}


def fitted(make: Any, data: Interactions, threads: int) -> Bits:
    """Digests of all that is compared, but for the checkpoint."""
    by_length = np.argsort(np.diff(data.matrix.indptr), kind="stable")
    some = by_length[np.unique(np.linspace(0, len(by_length) - 1, 64).astype(int))]
    try:
        model = make(threads).fit(data, progress=False)
        lists = model.recommend(by_length[:: max(1, len(by_length) // 500)], n=20)
        bits = {"fold-in": digest(model.fold_in(data.matrix[some])), "lists": digest(lists.items, lists.scores)}
    except fastals.FastalsError as error:
        return {"error": repr(error)}
    return trained(model) | bits


def resumed(make: Any, data: Interactions, first: int, then: int) -> Bits:
    """Digests of a fit that went on with another number of threads."""

    def kill(*arguments: Any) -> None:
        raise KilledError

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint"
        try:
            make(first).fit(data, callback=kill, checkpoint=path, checkpoint_every=1, progress=False)
        except KilledError:
            pass
        except fastals.FastalsError as error:
            return {"error": repr(error)}
        if not path.exists():
            raise AssertionError("there is no checkpoint after the first iteration")
        try:
            return trained(make(then).fit(data, checkpoint=path, progress=False))
        except fastals.FastalsError as error:
            return {"error": repr(error)}


def case(
    data: Interactions, k: int, feedback: str, dtype: str, solver: str, threads: list[int]
) -> tuple[str, list[str]]:
    """A digest of the case, and what differs."""
    iterations = 2 if data.nnz > LONG else 3

    def make(n: int) -> Any:
        common = {"factors": k, "dtype": dtype, "solver": solver, "iterations": iterations}
        return MODELS[feedback](**common, num_threads=n, random_state=0)

    expected = fitted(make, data, threads[0])
    different = []
    for n in threads[1:]:
        found = fitted(make, data, n)
        names = [name for name in {**expected, **found} if expected.get(name) != found.get(name)]
        different += [f"{name} with {n} threads" for name in names]
    found = resumed(make, data, threads[-1], threads[len(threads) // 2])
    different += [f"{name} after a checkpoint" for name in found if expected.get(name) != found[name]]
    total = hashlib.blake2b("".join(expected.values()).encode(), digest_size=8).hexdigest()
    return expected.get("error", total), different


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", choices=sets.LISTS, default=list(sets.LISTS))
    parser.add_argument("--factors", type=int, nargs="+", default=[32, 64, 128, 256])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--dtypes", nargs="+", choices=["float32", "float64"], default=["float32", "float64"])
    parser.add_argument("--solvers", nargs="+", choices=[*SOLVERS, "lapack"], default=list(SOLVERS))
    parser.add_argument("--threads", type=int, nargs="+", default=list(THREADS))
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.quick:
        parser.set_defaults(data=list(sets.QUICK), factors=[32, 128])
        options = parser.parse_args()
    machine = report.machine()
    runs: list[dict[str, Any]] = []
    for name in options.data:
        data = Interactions.from_matrix(sets.counts(name))
        for k, feedback, dtype, solver in product(options.factors, options.models, options.dtypes, options.solvers):
            begin = time.perf_counter()
            total, different = case(data, k, feedback, dtype, solver, options.threads)
            what = f"{name} {k} {feedback} {dtype} {solver}"
            seconds = time.perf_counter() - begin
            print(f"{what}: {'DIFFER ' + ', '.join(different) if different else total}  ({seconds:.1f} s)", flush=True)
            runs.append({"case": what, "data": name, "factors": k, "digest": total, "differ": different})
    failed = sum(bool(run["differ"]) for run in runs)
    rows = []
    for name in options.data:
        of = [run for run in runs if run["data"] == name]
        counts = [sum(bool(run["differ"]) for run in of if run["factors"] == k) for k in options.factors]
        rows.append([name, len(of), *counts])
    columns = ["data", "cases", *(f"differ, {k} factors" for k in options.factors)]
    threads = ", ".join(map(str, options.threads))
    title = f"Cases whose bits differ with {threads} threads: {failed} of {len(runs)}"
    whole = all(getattr(options, name) == parser.get_default(name) for name in vars(options))
    report.save("bits", machine, [report.table(title, columns, rows)], runs, quick=options.quick or not whole)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())

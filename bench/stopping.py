"""When to stop: what `tol` saves and costs, and how many iterations a descent needs.

    python bench/stopping.py                          # needs the data sets: $FASTALS_DATA, else ../shared/data
    python bench/stopping.py --before ../other        # beside another checkout, built in place
    python bench/stopping.py --only tol               # or descent; --data, --tol, --factors restrict them
    python bench/stopping.py --quick                  # two small sets; nothing recorded

**tol**: every set, the rule's settings, three seeds (of the split where it is random, and of the model, as in
`defaults.py`): iterations done and NDCG@10 (ratings: RMSE) where an iteration that lowers the objective by less than
the share `tol` of it was the last but for the closing solves, beside 15 iterations, and beside how far apart the seeds
are there. Marked !: on the mean of the seeds further from 15 iterations, and to the worse, than the seeds are apart. A
version without the parameter `tol` is fitted with as many iterations as its history says that it would have needed.

**Descent**: iterations of `solver="auto"` to within 0.1 % of the lowest loss that any long descent reaches: auto of
this checkout and of the other, until an iteration lowers the loss by less than a millionth of it, at most 150; on sets
of less than 500,000 cells "cholesky" too, 100 iterations. Every set, whole: implicit feedback with lambda 0.01 and by
the rule, ratings with lambda 0.1 and by the rule, 64 factors; and the 20 M cells of generate.py, lambda 0.01, from the
start of `fit.py`. Settings are given as numbers, so that both checkouts minimise the same.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from itertools import islice, pairwise, product
from pathlib import Path
from typing import Any

import defaults
import numpy as np
import peers
import report
import sets
from scipy import sparse

import fastals
from fastals import evaluation

Run = dict[str, Any]
TOLERANCES = (1e-2, 5e-3, 2e-3, 1e-3, 5e-4)
ITERATIONS = 15
SEEDS = 3

# ---------------------------------------------------------------------------------------------------------------------
# tol


def takes_tol() -> bool:
    return "tol" in inspect.signature(fastals.ImplicitALS).parameters


class Trial:
    """A model of one set, trained on its training part and measured on the other."""

    def __init__(self, name: str, metric: str, seed: int) -> None:
        self.metric, self.seed = metric, seed
        if metric == "RMSE":
            _, self.train, self.test = next(islice(sets.split_ratings(name, SEEDS), seed, None))
            self.setting = defaults.rating_setting(self.train.matrix)
        else:
            split = sets.split_lists(name, seed)
            self.train, self.test = split.train, split.test
            self.setting = defaults.list_setting(split.train)
        if defaults.has_rule(fastals.ImplicitALS):
            self.setting = {}

    def fit(self, callback: Any = None, **parameters: Any) -> Any:
        model = fastals.ExplicitALS if self.metric == "RMSE" else fastals.ImplicitALS
        fitted = model(**self.setting, **parameters, random_state=self.seed)
        return fitted.fit(self.train, callback=callback, progress=False)

    def measure(self, model: Any) -> float:
        if self.metric == "RMSE":
            return evaluation.evaluate(model, self.train, self.test)["rmse"]
        lists = model.recommend(np.arange(self.train.shape[0]), n=10).items
        return evaluation.ndcg_at_k(lists, self.test, 10)

    def whole(self) -> tuple[float, list[float]]:
        """The measure after all iterations, and the losses on the way."""
        losses: list[float] = []
        never = {"tol": None} if takes_tol() else {}
        model = self.fit(lambda i, loss, metrics, s: losses.append(loss), iterations=ITERATIONS, **never)
        return self.measure(model), losses

    def stopped(self, tol: float, losses: list[float]) -> tuple[int, float]:
        """Iterations done under `tol`, and the measure then."""
        if takes_tol():
            done: list[int] = []
            model = self.fit(lambda i, loss, metrics, s: done.append(i), iterations=ITERATIONS, tol=tol)
            return len(done), self.measure(model)
        falls = [(a - b) / a for a, b in pairwise(losses)]
        n = next((i for i, fall in enumerate(falls, 2) if fall < tol), ITERATIONS)
        return n, self.measure(self.fit(iterations=n))


def tolerances(names: list[str], tolerances: list[float], seeds: int) -> tuple[report.Table, list[Run]]:
    runs: list[Run] = []
    rows = []
    cases = [(name, "NDCG@10") for name in names]
    cases += [(name, "RMSE") for name in names if name in sets.RATINGS]
    for name, metric in cases:
        found: list[Run] = []
        for seed in range(seeds):
            trial = Trial(name, metric, seed)
            figure, losses = trial.whole()
            run: Run = {"data": name, "metric": metric, "seed": seed, "losses": losses, "whole": figure}
            run["stopped"] = [trial.stopped(tol, losses) for tol in tolerances]
            found.append(run)
            print(run, flush=True)
        whole = [run["whole"] for run in found]
        mean, spread = statistics.mean(whole), max(whole) - min(whole)
        row: list[Any] = [name, metric, f"{mean:.4f}", f"{spread:.4f}"]
        for i in range(len(tolerances)):
            n = statistics.mean(run["stopped"][i][0] for run in found)
            change = statistics.mean(run["stopped"][i][1] for run in found) - mean
            worse = change if metric == "RMSE" else -change
            row.append(f"{n:.1f}, {change:+.4f}{' !' if worse > spread else ''}")
        rows.append(row)
        runs += found
    columns = ["data", "metric", f"{ITERATIONS} iterations", "seeds apart", *(f"tol {tol:g}" for tol in tolerances)]
    return report.table(f"Iterations done under tol, and the change of the metric, {seeds} seeds", columns, rows), runs


# ---------------------------------------------------------------------------------------------------------------------
# descent


@dataclass(frozen=True)
class Descent:
    """One long descent; a process of its own, so that it may be another checkout's."""

    data: str
    feedback: str
    settings: str  # "rule", or "plain": one lambda, and implicit values as they are
    factors: int
    solver: str = "auto"
    iterations: int = 150
    settled: float = 1e-6


GENERATED = ("1m", "20m")
CHOLESKY_CELLS = 500_000


def matrix_of(descent: Descent) -> tuple[sparse.csr_array, tuple[np.ndarray, np.ndarray] | None]:
    """The whole set, and where it starts if that is not drawn by the model."""
    if descent.data in GENERATED:
        problem = peers.Problem("fastals", descent.data, descent.factors, descent.iterations)
        A = peers.load_matrix(problem)
        return A, peers.start(problem, A)
    if descent.feedback == "explicit":
        return sets.matrix(sets.ratings(descent.data)), None
    return sets.counts(descent.data), None


def descend(descent: Descent) -> Run:
    A, start = matrix_of(descent)
    parts: tuple[str, ...]
    if descent.feedback == "explicit":
        parts = defaults.PARTS["ratings"] if descent.settings == "rule" else ()
        setting, model = defaults.rating_setting(A, parts), fastals.ExplicitALS
    else:
        parts = defaults.PARTS["lists"] if descent.settings == "rule" else ()
        setting, model = defaults.list_setting(A, parts), fastals.ImplicitALS
    if "tol" in inspect.signature(model).parameters:
        setting["tol"] = None
    losses: list[float] = []

    def callback(iteration: int, loss: float, metrics: Any, seconds: float) -> bool:
        losses.append(loss)
        return len(losses) > 1 and losses[-2] - loss < descent.settled * loss

    common = {"factors": descent.factors, "solver": descent.solver, "iterations": descent.iterations}
    fitted = model(**setting, **common, random_state=0)
    fitted.fit(A, initial_factors=start, callback=callback, progress=False)
    return {
        **asdict(descent),
        "cells": A.nnz,
        "from": fastals.__file__,
        "losses": losses,
        "last": fitted.loss_history_[-1],
    }


def run(descent: Descent, checkout: str = "") -> Run:
    """In a process of its own."""
    environment = dict(os.environ)
    if checkout:
        found = (checkout, os.environ.get("PYTHONPATH"))
        environment["PYTHONPATH"] = os.pathsep.join(path for path in found if path)
    command = [sys.executable, __file__, "--descend", json.dumps(asdict(descent))]
    begin = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{descent}\n{done.stderr[-3000:]}")
    result: Run = json.loads(done.stdout.strip().splitlines()[-1])
    if checkout and not Path(result.pop("from")).is_relative_to(checkout):
        raise AssertionError(f"{checkout} is not where fastals came from")
    result.pop("from", None)
    seconds = time.perf_counter() - begin
    print(f"{descent}: {len(result['losses'])} iterations to {result['last']:.8g}, {seconds:.0f} s", flush=True)
    return result


def descents(cases: list[Descent], checkout: str) -> tuple[report.Table, list[Run]]:
    runs: list[Run] = []
    rows = []
    for case in cases:
        every = {"now": run(case)}
        if checkout:
            every["before"] = run(case, checkout)
        if every["now"]["cells"] < CHOLESKY_CELLS:
            every["cholesky"] = run(Descent(**{**asdict(case), "solver": "cholesky", "iterations": 100}))
        lowest = min(min(*one["losses"], one["last"]) for one in every.values())
        row: list[Any] = [case.data, f"{case.feedback}, {case.settings}", case.factors]
        for who in ("before", "now", "cholesky"):
            row.append(to_within(every[who], 1.001 * lowest) if who in every else None)
        more = checkout and number(row[4]) > number(row[3])
        rows.append([*row, f"{lowest:.6g}", "more" if more else None])
        runs += [{**one, "who": who} for who, one in every.items()]
    columns = ["data", "model", "factors", "before", "now", "cholesky", "lowest loss", "more than before"]
    return report.table("Iterations to 0.1 % of the lowest loss of any long descent", columns, rows), runs


def to_within(found: Run, target: float) -> int | str:
    reached = next((n for n, loss in enumerate(found["losses"], 1) if loss <= target), None)
    return reached or f"> {len(found['losses'])}"


def number(cell: int | str) -> float:
    return float("inf") if isinstance(cell, str) else cell


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="*", choices=[*sets.LISTS, *GENERATED], default=[*sets.LISTS, "20m"])
    parser.add_argument("--tol", type=float, nargs="+", default=list(TOLERANCES))
    parser.add_argument(
        "--factors", type=int, nargs="+", default=[64, 128, 256], help="of the generated data's descents"
    )
    parser.add_argument("--before", metavar="PATH", default="", help="another checkout, built in place")
    parser.add_argument("--only", choices=["tol", "descent"])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--descend", help=argparse.SUPPRESS)  # what a process of one descent is given
    options = parser.parse_args()
    if options.descend:
        print(json.dumps(descend(Descent(**json.loads(options.descend)))))
        return
    if options.quick:
        parser.set_defaults(data=[*sets.QUICK, "1m"], factors=[64])
        options = parser.parse_args()
    machine = report.machine()
    real = [name for name in options.data if name not in GENERATED]
    tables, runs = [], []
    if options.only != "descent" and real:
        table, found = tolerances(real, options.tol, SEEDS)
        tables.append(table)
        runs += found
    if options.only != "tol":
        cases = [Descent(name, "implicit", settings, 64) for name, settings in product(real, ("plain", "rule"))]
        rated = [name for name in real if name in sets.RATINGS]
        cases += [Descent(name, "explicit", settings, 64) for name, settings in product(rated, ("plain", "rule"))]
        made = [name for name in options.data if name in GENERATED]
        cases += [Descent(name, "implicit", "plain", k) for name, k in product(made, options.factors)]
        table, found = descents(cases, options.before and str(Path(options.before).resolve()))
        tables.append(table)
        runs += found
    whole = options.data == parser.get_default("data") and not options.only
    report.save("stopping", machine, tables, runs, quick=options.quick or not whole)


if __name__ == "__main__":
    main()

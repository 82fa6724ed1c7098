"""Training: fastals beside the peers.

    python bench/fit.py                         # exact solvers, 19 M cells, 32 to 256 factors, 1 and 2 threads
    python bench/fit.py --factors 64 --peers implicit irspack cmfrec lenskit buffalo
    python bench/fit.py --feedback explicit     # ml-1m, beside cmfrec and Spark; needs the data set, see README.md
    python bench/fit.py --solver auto           # implicit feedback: time to a loss instead
    python bench/fit.py --before ../other --peers --rounds 5    # beside another checkout alone; also --solver auto
    python bench/fit.py --quick                 # less than 1 M cells

Exact solvers: seconds per iteration, both sides. Everyone starts from the same factors, and the losses after equally
many iterations are asserted equal before anything is said about time. The contestants run in turn, each run a process
of its own; a run's time is the median of its iterations, the ratio is the median over the rounds.

Otherwise contestants descend at different rates, and time per iteration says little. Measured is the time until the
loss is reached that implicit ends with after 15 iterations at its defaults, and the time until within 0.1 % of the
converged loss, the lowest that any contestant reaches: fastals goes on until an iteration lowers its loss by less than
a millionth, the others until both losses are reached, all for at most 150 iterations. A contestant that is not there
after its last one has a lower bound: ">". The first round tells how many iterations each needs; in the others, a peer
runs some of them, whose median stands for all.

`--before PATH` takes another checkout of fastals, built in place, as one more contestant: what a change has cost or won
per iteration, and to a loss. Nothing is recorded then.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import peers
import report
from peers import Problem

Run = dict[str, Any]
Measure = Callable[[Run], float]

# The same objective, start and order of sides: what remains is the rounding of float32.
SAME_LOSS = 1e-4
# Solving the users last, cmfrec and Spark are half an iteration off: no equal losses to assert. They run one more, too.
USERS_LAST = ("cmfrec", "spark")
# Of a run of exact solves. A slow one needs no more than one iteration to be measured.
ITERATIONS = {"implicit": {"fastals": 3, "irspack": 2}, "explicit": {"fastals": 6, "cmfrec": 5, "spark": 5}}
OBJECTIVE: dict[str, dict[str, Any]] = {
    "implicit": {},
    "explicit": {"feedback": "explicit", "regularization": 0.05, "scaling": "count"},
}
DEFAULT_ITERATIONS = 15  # implicit's
SETTLED = 1e-6  # the share of the loss by which an iteration of a converged descent lowers it
NEARLY = 1.001
REPEATED = 5  # iterations of a peer in each round but the first
# irspack has a third solver, "ialspp": with blocks of 64 factors it took twice as long as its "cg" to the same loss
DESCENTS = [("implicit", "cg"), ("irspack", "cg"), ("buffalo", "cg")]


def per_iteration(run: Run) -> float:
    return statistics.median(run["seconds"])


def in_turn(problems: list[Problem], rounds: int) -> list[list[Run]]:
    """For each problem its runs: one of each, then again one of each, so that a slow spell of the machine hits all."""
    each_round = [[peers.run(problem) for problem in problems] for _ in range(rounds)]
    return [[runs[i] for runs in each_round] for i in range(len(problems))]


def contestants(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Ours first, then the other checkout, if there is one: what says of a Problem who trains."""
    before = {"contestant": "before", "checkout": options.before}
    return [{"contestant": "fastals"}, *([before] if options.before else [])]


def exact(options: argparse.Namespace) -> tuple[list[report.Table], list[Run]]:
    """Seconds per iteration."""
    speed: list[list[Any]] = []
    scaling, memory = [], []
    every_run: list[Run] = []
    iterations = ITERATIONS[options.feedback]
    for k in options.factors:
        ours_alone = {}
        for threads in options.threads:
            ours, *theirs = in_turn(
                [
                    Problem(
                        **who,
                        data=options.data,
                        factors=k,
                        iterations=iterations.get(who["contestant"].replace("before", "fastals"), 1),
                        threads=threads,
                        **OBJECTIVE[options.feedback],
                    )
                    for who in (*contestants(options), *({"contestant": peer} for peer in options.peers))
                ],
                options.rounds,
            )
            for runs in (ours, *theirs):
                who, n = runs[0]["contestant"], runs[0]["iterations"] + (runs[0]["contestant"] in USERS_LAST)
                losses = runs[0]["losses"][-1], ours[0]["losses"][n - 1]
                if who not in USERS_LAST and abs(losses[0] / losses[1] - 1) > SAME_LOSS:
                    raise AssertionError(
                        f"{k} factors, {n} iterations: loss of {who} {losses[0]}, of fastals {losses[1]}"
                    )
                ratio = statistics.median(per_iteration(t) / per_iteration(o) for o, t in zip(ours, runs, strict=True))
                seconds = statistics.median(map(per_iteration, runs))
                speed.append([k, threads, who, seconds, ratio, n, *(f"{x:,.0f}" for x in losses)])
            ours_alone[threads] = statistics.median(map(per_iteration, ours))
            every_run += [run for runs in (ours, *theirs) for run in runs]
        memory += [memory_row(runs[0]) for runs in (ours, *theirs)]
        if {1, 2} <= ours_alone.keys():
            scaling.append([k, ours_alone[1], ours_alone[2], ours_alone[1] / ours_alone[2]])
    n_users, n_items = every_run[0]["shape"]
    size = f"{n_users:,} x {n_items:,}, {every_run[0]['cells']:,} cells"
    what = f"{options.feedback} feedback, {options.data}: {size}, both sides"
    columns = [
        "factors",
        "threads",
        "contestant",
        "s per iteration",
        "x fastals",
        "iterations",
        "loss",
        "fastals's then",
    ]
    tables = [report.table(f"Exact solves, {what}", columns, speed)]
    if scaling:
        tables.append(report.table("fastals, exact", ["factors", "1 thread, s", "2 threads, s", "speed-up"], scaling))
    columns = ["contestant", "factors", "MB", "bytes per cell", "16 + 3 x factors, bytes per cell"]
    tables.append(report.table("Peak memory of fit beyond the caller's matrix and initial factors", columns, memory))
    return tables, every_run


def memory_row(run: Run) -> list[Any]:
    extra, cells, k = run["extra_bytes"], run["cells"], run["factors"]
    allowed = 16 + 3 * 4 * k * sum(run["shape"]) / cells
    return [run["contestant"], k, extra and extra / 1e6, extra and extra / cells, allowed]


def descent(options: argparse.Namespace) -> tuple[list[report.Table], list[Run]]:
    """Seconds until a loss is reached, the contestants in turn."""
    every_run: list[Run] = []
    rows = []
    for k in options.factors:
        common: dict[str, Any] = {"data": options.data, "factors": k, "threads": options.threads[-1]}
        common |= {"iterations": options.iterations, "every_loss": True}
        ours = [Problem(**who, solver=options.solver, settled=SETTLED, **common) for who in contestants(options)]
        theirs = [Problem(who, solver=solver, **common) for who, solver in DESCENTS if who in options.peers]
        first = [peers.run(problem) for problem in ours]
        targets = {}
        if options.peers:
            default = peers.run(replace(Problem("implicit", solver="cg", **common), iterations=DEFAULT_ITERATIONS))
            every_run.append(default)
            targets["implicit's loss"] = default["losses"][-1]
        within = NEARLY * min(min(run["losses"]) for run in first)
        first += [peers.run(replace(problem, target=min(within, *targets.values()))) for problem in theirs]
        targets["0.1 %"] = NEARLY * min(min(run["losses"]) for run in first)
        again = [replace(problem, target=min(targets.values())) for problem in ours]
        again += [
            replace(problem, every_loss=False, iterations=min(REPEATED, len(run["seconds"])))
            for problem, run in zip(theirs, first[len(ours) :], strict=True)
        ]
        by_contestant = [[run, *later] for run, later in zip(first, in_turn(again, options.rounds - 1), strict=True)]
        for runs in by_contestant:
            whole = runs[0]
            row: list[Any] = [k, f"{whole['contestant']} {whole['solver']}"]
            row += beside(runs, by_contestant[0], per_iteration, per_iteration)
            for name, target in targets.items():
                needed, our_needed = (iterations_to(of[0], target) for of in (runs, by_contestant[0]))
                if our_needed is None:
                    raise AssertionError(f"{k} factors: fastals does not reach {name}, {target}")
                n = needed or len(whole["losses"])
                seconds, ratio = beside(
                    runs,
                    by_contestant[0],
                    lambda run, n=n: seconds_of(run, n),
                    lambda run, n=our_needed: seconds_of(run, n),
                )
                row += [n, seconds, ratio] if needed else [f"> {n}", f"> {seconds:.2f}", f"> {ratio:.1f}"]
            rows.append([*row, f"{whole['losses'][-1]:,.0f}"])
            every_run += runs
    columns = ["factors", "contestant", "s per iteration", "x fastals"]
    for name in targets:
        columns += [f"iterations to {name}", "s", "x fastals"]
    title = f"Time to a loss, {options.threads[-1]} threads; >: not reached in {options.iterations} iterations"
    return [report.table(title, [*columns, "its last loss"], rows)], every_run


def beside(theirs: list[Run], ours: list[Run], measure: Measure, our_measure: Measure) -> tuple[float, float]:
    """Median over the rounds of what is measured of a contestant, and of its ratio to ours."""
    pairs = [(measure(t), our_measure(o)) for t, o in zip(theirs, ours, strict=True)]
    return statistics.median(t for t, _ in pairs), statistics.median(t / o for t, o in pairs)


def iterations_to(run: Run, target: float) -> int | None:
    return next((n for n, loss in enumerate(run["losses"], 1) if loss <= target), None)


def seconds_of(run: Run, n: int) -> float:
    """Of the first n iterations; of those that were not run again in this round, the median of the others."""
    done = run["seconds"][:n]
    return sum(done) + (n - len(done)) * per_iteration(run)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="20m", help="a shape of generate.py")
    parser.add_argument("--factors", type=int, nargs="+", default=[32, 64, 128, 256])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--peers", nargs="*", default=["implicit", "irspack"], choices=list(peers.CONTESTANTS)[1:])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--feedback", default="implicit", choices=list(OBJECTIVE))
    parser.add_argument("--solver", default="exact", help="exact, or one of fastals's that is not")
    parser.add_argument("--iterations", type=int, default=150, help="of a descent, at most")
    parser.add_argument("--before", metavar="PATH", default="", help="another checkout, built in place")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.feedback == "explicit":
        parser.set_defaults(data="ml-1m", factors=[16, 64, 128], peers=["cmfrec", "spark"])
    elif options.quick:
        parser.set_defaults(data="1m", factors=[32, 64])
    if options.quick:
        parser.set_defaults(rounds=1, iterations=40)
    options = parser.parse_args()
    if options.before:
        options.before = str(Path(options.before).resolve())
    machine = report.machine()
    tables, runs = (exact if options.solver == "exact" else descent)(options)
    name = "-".join(["fit", *(x for x in (options.feedback, options.solver) if x not in ("implicit", "exact"))])
    report.save(name, machine, tables, runs, quick=options.quick or bool(options.before))


if __name__ == "__main__":
    main()

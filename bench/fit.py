"""Training: fastals beside the peers.

    python bench/fit.py                         # exact solvers, 19 M cells, 32 to 256 factors, 1 and 2 threads
    python bench/fit.py --factors 64 --peers implicit irspack cmfrec lenskit buffalo
    python bench/fit.py --feedback explicit     # ml-1m, beside cmfrec and Spark; needs the data set, see README.md
    python bench/fit.py --solver auto           # implicit feedback: time to a loss instead
    python bench/fit.py --quick                 # less than 1 M cells

Exact solvers: seconds per iteration, both sides. Everyone starts from the same factors, and the losses after equally
many iterations are asserted equal before anything is said about time. The contestants run in turn, each run a process
of its own; a run's time is the median of its iterations, the ratio is the median over the rounds.

Otherwise contestants descend at different rates, and time per iteration says little. Measured is the time until the
loss is reached that implicit ends with after 15 iterations at its defaults, and the time until within 0.1 % of the
converged loss, the lowest that fastals reaches in 60 iterations. A contestant that is not there after its last one
has a lower bound: ">".
"""

from __future__ import annotations

import argparse
import statistics
from itertools import accumulate
from typing import Any

import peers
import report
from peers import Problem

Run = dict[str, Any]

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
DESCENT_ITERATIONS = {"fastals": 60}  # until it is converged; the others: --iterations
NEARLY = 1.001
# irspack has a third solver, "ialspp": with blocks of 64 factors it took twice as long as its "cg" to the same loss
DESCENTS = [("implicit", "cg"), ("irspack", "cg"), ("buffalo", "cg")]


def per_iteration(run: Run) -> float:
    return statistics.median(run["seconds"])


def in_turn(problems: list[Problem], rounds: int) -> list[list[Run]]:
    """For each problem its runs: one of each, then again one of each, so that a slow spell of the machine hits all."""
    return [list(runs) for runs in zip(*([peers.run(p) for p in problems] for _ in range(rounds)), strict=True)]


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
                    Problem(who, options.data, k, iterations.get(who, 1), threads, **OBJECTIVE[options.feedback])
                    for who in ("fastals", *options.peers)
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
    contestants = [("fastals", options.solver), *(c for c in DESCENTS if c[0] in options.peers)]
    every_run: list[Run] = []
    rows = []
    n = options.iterations
    for k in options.factors:
        common: dict[str, Any] = {"data": options.data, "factors": k, "threads": options.threads[-1]}
        ours, *theirs = in_turn(
            [
                Problem(who, iterations=DESCENT_ITERATIONS.get(who, n), solver=solver, every_loss=True, **common)
                for who, solver in contestants
            ],
            options.rounds,
        )
        default = next((runs[0] for runs in theirs if runs[0]["contestant"] == "implicit"), None) or peers.run(
            Problem("implicit", iterations=DEFAULT_ITERATIONS, solver="cg", every_loss=True, **common)
        )
        targets = default["losses"][DEFAULT_ITERATIONS - 1], NEARLY * min(ours[0]["losses"])
        every_run.append(default)
        for (who, solver), its_runs in zip(contestants, (ours, *theirs), strict=True):
            row: list[Any] = [k, f"{who} {solver}", statistics.median(map(per_iteration, its_runs))]
            for target in targets:
                reached = [[seconds_to(run, target) for run in runs] for runs in (its_runs, ours)]
                if None in reached[1]:
                    raise AssertionError(f"{k} factors: fastals does not reach a loss of {target}")
                late = None in reached[0]
                theirs_s = [s or sum(run["seconds"]) for s, run in zip(reached[0], its_runs, strict=True)]
                ratio = statistics.median(t / o for t, o in zip(theirs_s, reached[1], strict=True))
                seconds = statistics.median(theirs_s)
                row += [f"> {seconds:.2f}", f"> {ratio:.1f}"] if late else [seconds, ratio]
            rows.append([*row, f"{its_runs[0]['losses'][-1]:,.0f}"])
            every_run += its_runs
    columns = [
        "factors",
        "contestant",
        "s per iteration",
        "s to implicit's loss",
        "x fastals",
        "s to 0.1 %",
        "x fastals",
    ]
    title = f"Time to a loss, {options.threads[-1]} threads; >: not reached in {n} iterations"
    return [report.table(title, [*columns, "its last loss"], rows)], every_run


def seconds_to(run: Run, target: float) -> float | None:
    return next((s for s, at in zip(accumulate(run["seconds"]), run["losses"], strict=True) if at <= target), None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="20m", help="a shape of generate.py")
    parser.add_argument("--factors", type=int, nargs="+", default=[32, 64, 128, 256])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--peers", nargs="+", default=["implicit", "irspack"], choices=list(peers.CONTESTANTS)[1:])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--feedback", default="implicit", choices=list(OBJECTIVE))
    parser.add_argument("--solver", default="exact", help="exact, or one of fastals's that is not")
    parser.add_argument("--iterations", type=int, default=25, help="of a peer's descent")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.feedback == "explicit":
        parser.set_defaults(data="ml-1m", factors=[16, 64, 128], peers=["cmfrec", "spark"])
    elif options.quick:
        parser.set_defaults(data="1m", factors=[32, 64])
    if options.quick:
        parser.set_defaults(rounds=1)
    options = parser.parse_args()
    machine = report.machine()
    tables, runs = (exact if options.solver == "exact" else descent)(options)
    name = "-".join(["fit", *(x for x in (options.feedback, options.solver) if x not in ("implicit", "exact"))])
    report.save(name, machine, tables, runs, quick=options.quick)


if __name__ == "__main__":
    main()

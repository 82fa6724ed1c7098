"""fastals.spark beside Spark's own ALS: seconds of a fit, of all users' lists, bytes shuffled, memory of the driver.

    python bench/als_on_spark.py                       # ml-1m and 20 M cells, rank 16, 64, 128, both engines
    python bench/als_on_spark.py --data 20m --lists 64   # also recommendForAllUsers(10), 138 k x 27 k
    python bench/als_on_spark.py --bytes               # shuffled in an iteration, counted and by Spark's metrics
    python bench/als_on_spark.py --driver              # memory of the driver, 1 M and 20 M ratings
    python bench/als_on_spark.py --data ml-1m --factors 16 --rounds 1

Every contestant has a process of its own: local[2], a native BLAS for Spark (see on_spark.py), the ratings in Spark's
cache, a fit on few of them to warm up; then its rounds, of which the medians are compared. The first round is told
apart: Java still compiles. Timed is ``fit`` and the count of both factor frames, so what is cut into blocks counts, and
the start of Java does not. ml-1m are ratings (explicit), 20 M cells counts (implicit). All minimise the same objective,
which is computed here in float64: fastals, which starts elsewhere, may not end above Spark by more than TIE.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import on_spark
import report
from scipy import sparse

TIE = 0.03
LAMBDA, ALPHA = {"ml-1m": 0.05, "20m": 0.1}, 1.0
WARM_UP = 20_000


def cells(data: str) -> sparse.csr_array:
    """The ratings of a set."""
    if data == "ml-1m":
        import pyarrow.parquet

        folder = Path(os.environ.get("FASTALS_DATA", Path(__file__).parents[2] / "shared" / "data"))
        table = pyarrow.parquet.read_table(folder / "ml-1m.parquet")
        user, item, value = (table[name].to_numpy() for name in ("user", "item", "rating"))
        return sparse.csr_array((value.astype(np.float32), (user, item)))
    import generate

    return generate.load(data, "counts")


def objective(A: sparse.csr_array, X: np.ndarray, Y: np.ndarray, lam: float, implicit: bool) -> float:
    """In float64; the penalties are those of Spark, times the counts."""
    X, Y, cells = X.astype(np.float64), Y.astype(np.float64), A.tocoo()
    loss = 0.0
    for first in range(0, A.nnz, 1 << 20):
        part = slice(first, first + (1 << 20))
        fits, r = np.einsum("ij,ij->i", X[cells.row[part]], Y[cells.col[part]]), cells.data[part]
        if implicit:
            loss += float(np.sum(ALPHA * r * (1 - fits) ** 2 + 1 - 2 * fits))
        else:
            loss += float(np.sum((r - fits) ** 2))
    if implicit:
        loss += float(np.sum((X.T @ X) * (Y.T @ Y)))
    counts = np.diff(A.indptr), np.bincount(cells.col, minlength=A.shape[1])
    return loss + lam * sum(float(n @ np.einsum("ij,ij->i", F, F)) for n, F in zip(counts, (X, Y), strict=True))


# ---------------------------------------------------------------------------------------------------------------------
# one run


class Seconds(logging.Handler):
    """Those of each iteration, which the engine of blocks logs."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[float] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage().startswith("iteration "):
            self.found.append(float(record.args[-1]))  # type: ignore[index, arg-type]


def als_of(run: dict[str, Any], **more: Any) -> Any:
    parameters = {
        "rank": run["factors"],
        "maxIter": run["iterations"],
        "regParam": LAMBDA[run["data"]],
        "implicitPrefs": run["data"] != "ml-1m",
        "alpha": ALPHA,
        "seed": 1,
        **more,
    }
    if run["contestant"] == "spark":
        from pyspark.ml.recommendation import ALS

        return ALS(**parameters, checkpointInterval=-1).setNumBlocks(run["threads"])
    from fastals.spark import ALS as Ours  # noqa: N811, one of two

    als = Ours(**parameters, engine=run["contestant"])
    return als.setNumBlocks(run["blocks"]) if run["blocks"] else als


def one(run: dict[str, Any]) -> dict[str, Any]:
    """Fit, and list if that is asked for."""
    A, seconds = cells(run["data"]), Seconds()
    logging.getLogger("fastals").addHandler(seconds)
    logging.getLogger("fastals").setLevel("INFO")
    with tempfile.TemporaryDirectory() as folder, on_spark.session(run["threads"], folder, run["settings"]) as spark:
        frame = on_spark.frame(spark, A, folder)
        warm = als_of(run, maxIter=2).fit(frame.limit(WARM_UP))
        warm.recommendForAllUsers(3).count()
        seconds.found.clear()
        result: dict[str, Any] = {"seconds": [], "lists": [], "load": os.getloadavg()[0]}
        for _ in range(run["rounds"]):
            model = None
            gc.collect()
            before = shuffled(spark)
            begin = time.perf_counter()
            model = als_of(run).fit(frame)
            model.userFactors.count(), model.itemFactors.count()
            result["seconds"].append(time.perf_counter() - begin)
            result["shuffled"] = {stage: size - before.get(stage, 0) for stage, size in shuffled(spark).items()}
            if run["lists"]:
                if run["contestant"] != "spark":
                    model.setExcludeSeen(True)
                begin = time.perf_counter()
                model.recommendForAllUsers(10).write.format("noop").mode("overwrite").save()
                result["lists"].append(time.perf_counter() - begin)
        result["iterations"] = seconds.found
        result["driver"] = peak_memory()
        X, Y = on_spark.factors(model, A.shape, run["factors"])
        result["loss"] = objective(A, X, Y, LAMBDA[run["data"]], run["data"] != "ml-1m")
    return result


def shuffled(spark: Any) -> dict[str, int]:
    """Bytes that stages have written to shuffles so far, by Spark's own metrics, where its page is on."""
    address = spark.sparkContext.uiWebUrl
    if not address:
        return {}
    from urllib.request import urlopen

    with urlopen(f"{address}/api/v1/applications/{spark.sparkContext.applicationId}/stages") as answer:
        return {str(stage["stageId"]): stage["shuffleWriteBytes"] for stage in json.load(answer)}


def peak_memory() -> int:
    """Of this process, Python's part of the driver, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return 1024 * int(line.split()[1])
    raise RuntimeError("no VmHWM")


def in_a_process(**run: Any) -> dict[str, Any]:
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--run", json.dumps(run)]
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise RuntimeError(answer.stderr[-4000:])
    return dict(json.loads(answer.stdout.splitlines()[-1]))


# ---------------------------------------------------------------------------------------------------------------------
# bytes


def counted_bytes(A: sparse.csr_array, n_blocks: int, k: int, conjugate: bool) -> int:
    """What an iteration of blocks sends through shuffles: each row once to each block that has a cell of it.

    A row is 4 k bytes. With conjugate gradients it has its number beside it, 4 bytes, and what a side starts from, with
    its ids, travels through the tasks of the other one, so twice in an iteration.
    """
    from fastals._engines.build import Cuts

    total = 0
    sides = A, sparse.csr_array(A.T)
    cuts = []
    for side in sides:
        counts = np.diff(side.indptr)
        counts = counts[counts > 0]
        starts = np.arange(0, len(counts), 4096)
        cuts.append(Cuts.of(starts.astype(np.int32), np.add.reduceat(counts, starts), len(counts), n_blocks))
    for side, other in ((0, 1), (1, 0)):
        matrix = sides[side]
        held = np.cumsum(np.diff(sides[other].indptr) > 0) - 1  # of others without cells Spark knows nothing
        block = cuts[other].blocks_of(held.astype(np.int32))[matrix.indices]
        rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
        pairs = np.zeros((matrix.shape[0], n_blocks), bool)
        pairs[rows, block] = True
        total += int(pairs.sum()) * (4 * k + 4 * conjugate)
        if conjugate:
            total += 2 * cuts[side].n_rows * (4 * k + 4)
    return total


def bytes_of(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Counted, and as Spark's metrics tell: of fits of 7 and of 9 iterations, so of two in the middle."""
    rows, A = [], cells("20m")
    for factors in arguments.factors:
        for n_blocks in (2, 8, 32):
            run = {"data": "20m", "factors": factors, "contestant": "blocks", "threads": 2, "blocks": n_blocks}
            run |= {"lists": False, "rounds": 1, "settings": {"spark.ui.enabled": "true", "spark.ui.port": "0"}}
            sizes = [sum(in_a_process(**run, iterations=n)["shuffled"].values()) for n in (7, 9)]
            counted = counted_bytes(A, n_blocks, factors, factors >= 32)
            rows.append(
                {"rank": factors, "blocks": n_blocks, "counted": counted, "measured": (sizes[1] - sizes[0]) / 2}
            )
            rows[-1]["off by"] = rows[-1]["measured"] / counted - 1
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    return rows


# ---------------------------------------------------------------------------------------------------------------------
# the driver

DRIVER = """
from pathlib import Path
from fastals.spark import ALS

model = ALS(rank=64, maxIter=3, implicitPrefs=True, engine="blocks").setNumBlocks(4).fit(spark.read.parquet({path!r}))
model.userFactors.count()

def peak(pid):
    text = Path(f"/proc/{{pid}}/status").read_text()
    return 1024 * int(text.split("VmHWM:")[1].split()[0])

from pyspark.core.context import SparkContext
java = SparkContext._gateway.proc.pid
tell([peak("self"), peak(java)])
"""


def driver(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Peak memory of the driver on a real cluster, Python and Java, by ratings."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from spark.cluster import Cluster

    rows = []
    with tempfile.TemporaryDirectory() as folder, Cluster(Path(folder) / "cluster", memory="4g") as cluster:
        for data in ("1m", "20m"):
            path = on_spark.write(cells(data), folder)
            python, java = cluster.run(DRIVER.format(path=path), {"spark.driver.memory": "1g"}, seconds=1200)
            rows.append({"data": data, "Python, MB": python / 1e6, "Java, MB": java / 1e6})
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    return rows


# ---------------------------------------------------------------------------------------------------------------------
# what is asked


def fits(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Seconds of fits, beside Spark's."""
    rows = []
    for data in arguments.data:
        contestants = [c for c in arguments.contestants if data != "ml-1m" or c != "blocks"]
        for factors in arguments.factors:
            found: dict[str, dict[str, Any]] = {}
            for contestant in contestants:
                run = {"data": data, "factors": factors, "contestant": contestant, "threads": 2, "settings": {}}
                run |= {"iterations": arguments.iterations, "lists": factors in arguments.lists}
                run["rounds"] = arguments.peer_rounds or arguments.rounds if contestant == "spark" else arguments.rounds
                run["blocks"] = 2 if contestant == "blocks" else 0
                found[contestant] = in_a_process(**run)
                print(data, factors, contestant, json.dumps(found[contestant]), file=sys.stderr, flush=True)
            rows += table_rows(data, factors, found)
    return rows


def table_rows(data: str, factors: int, found: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    rows, spark = [], found.get("spark")
    if spark:
        assert max(run["loss"] for run in found.values()) <= spark["loss"] + TIE * abs(spark["loss"]), found
    for contestant, run in found.items():
        row = {"data": data, "rank": factors, "contestant": contestant, "rounds": len(run["seconds"])}
        for what in ("seconds", "lists"):
            median = statistics.median(run[what]) if run[what] else None
            row |= {what: median, f"{what}, first": run[what][0] if run[what] else None}
            row[f"{what}: x faster"] = statistics.median(spark[what]) / median if spark and median else None
        row["an iteration"] = statistics.median(run["iterations"]) if run["iterations"] else None
        rows.append({**row, "loss": run["loss"], "load": run["load"]})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=["ml-1m", "20m"], choices=["ml-1m", "1m", "20m"])
    parser.add_argument("--factors", nargs="+", type=int, default=[16, 64, 128])
    parser.add_argument("--contestants", nargs="+", default=["task", "blocks", "spark"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer-rounds", type=int, help="rounds of Spark's own, where fewer must do")
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--lists", nargs="+", type=int, default=[], help="ranks at which lists of all are timed")
    parser.add_argument("--bytes", action="store_true", help="what is shuffled, instead of times")
    parser.add_argument("--driver", action="store_true", help="memory of the driver, instead of times")
    parser.add_argument("--quick", action="store_true", help="a minute, and nothing is recorded")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        print(json.dumps(one(json.loads(arguments.run))))
        return
    if arguments.quick:
        arguments.data, arguments.factors, arguments.rounds, arguments.iterations = ["ml-1m"], [16], 1, 3
    ask = bytes_of if arguments.bytes else driver if arguments.driver else fits
    machine = report.machine()
    rows = ask(arguments)
    name = "bytes" if arguments.bytes else "driver" if arguments.driver else "fits"
    columns = list(rows[-1])
    table = report.table(TITLES[name], columns, [[row[column] for column in columns] for row in rows])
    file = f"spark-{name}" if name != "fits" or len(arguments.data) > 1 else f"spark-fits-{arguments.data[0]}"
    report.save(file, machine, [table], rows, quick=arguments.quick)


TITLES = {
    "fits": "Ten iterations on local[2], all that comes before them included, beside Spark's own ALS with OpenBLAS; "
    "recommendForAllUsers(10), where fastals leaves out what is seen",
    "bytes": "Shuffled in an iteration, 20 M cells, as counted and as Spark's stages tell",
    "driver": "Peak memory of the driver, blocks on a standalone cluster, rank 64",
}

if __name__ == "__main__":
    main()

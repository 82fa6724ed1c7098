"""From raw events to lists in Redis: `fastals run` beside the same pipeline in PySpark on one machine.

    python bench/pipeline.py                        # 50 M events (3.5 GB of CSV), 1 M users, 100 k items, both
    python bench/pipeline.py --events 5000000       # users and items in proportion
    python bench/pipeline.py --quick                # 300 k events, fastals alone: does it still run?
    python bench/pipeline.py --push                 # the push alone: 1 M users x 20 items, layouts side by side

Events have planted tastes: a user prefers one in 50 groups of items. One specification scores them: share played,
finished, liked, shared, disliked, half-life 30 days, at least 0.05. Spark's pipeline is SQL for the scores,
StringIndexer, ALS (implicit), recommendForAllUsers, labels back by a join, foreachPartition to Redis in fastals'
layout; in fastals ALS scales lambda by the count as Spark does, and lists hold known items too, as Spark's do.
Each runs in a process of its own; resident memory is sampled over the process and its children. A redis-server of
Debian's package is started for it. $SPARK_PYTHON names the interpreter that has pyspark and redis (default: this one).

The lists agree as far as two runs of one objective from different starts do: recall of one's lists in the other's is
shown beside that of two fastals runs.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import report

DATA = Path(__file__).parent / "data"
WEIGHTS = {"share": 0.5, "finished": 1.0, "liked": 3.0, "shared": 2.0, "disliked": -3.0}
HALF_LIFE_DAYS, MINIMUM, N = 30, 0.05, 20
FACTORS, ITERATIONS, LAMBDA, ALPHA = 64, 10, 0.01, 1.0
FIRST_SECOND, DAYS, GROUPS = 1_735_689_600, 100, 50


# --- events ----------------------------------------------------------------------------------------------------------


def generate(n_events: int) -> Path:
    """Write the events as CSV in parts of a million, once."""
    import pyarrow as pa
    from pyarrow import csv

    directory = DATA / f"events-{n_events}"
    if (directory / "_SUCCESS").exists():
        return directory
    directory.mkdir(parents=True, exist_ok=True)
    n_users, n_items = max(100, n_events // 50), max(GROUPS, n_events // 500)
    for part, first in enumerate(range(0, n_events, 1_000_000)):
        rng = np.random.default_rng([7, part])
        m = min(1_000_000, n_events - first)
        user = (n_users * rng.random(m) ** 1.6).astype(np.int64)
        item = (n_items * rng.random(m) ** 2.5).astype(np.int64)
        in_taste = rng.random(m) < 0.7
        item = np.where(in_taste, np.minimum(item - item % GROUPS + user * 7919 % GROUPS, n_items - 1), item)
        length = rng.integers(120, 420, m)
        share = np.where(rng.random(m) < 0.3 + 0.4 * in_taste, 1.0, rng.random(m))
        table = pa.table(
            {
                "user": pa.array(np.char.add("user-", np.char.zfill(user.astype(str), 8))),
                "item": pa.array(np.char.add("item-", np.char.zfill(item.astype(str), 7))),
                "played": (share * length).astype(np.int64),
                "length": length,
                "finished": (share == 1).astype(np.int64),
                "liked": (rng.random(m) < 0.06 * in_taste).astype(np.int64),
                "shared": (rng.random(m) < 0.02).astype(np.int64),
                "disliked": (rng.random(m) < 0.02).astype(np.int64),
                "time": FIRST_SECOND + rng.integers(0, DAYS * 86_400, m),
            }
        )
        csv.write_csv(table, directory / f"part-{part:04d}.csv")
    (directory / "_SUCCESS").touch()
    return directory


# --- processes -------------------------------------------------------------------------------------------------------


class Peak(threading.Thread):
    """Samples the resident memory of a process and its descendants."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid, self.bytes, self.running = pid, 0, True

    def run(self) -> None:
        while self.running:
            self.bytes = max(self.bytes, sum(map(self._resident, self._family())))
            time.sleep(0.2)

    def _family(self) -> list[int]:
        family = [self.pid]
        for pid in family:
            for path in Path(f"/proc/{pid}/task").glob("*/children"):
                with suppress(OSError):
                    family += map(int, path.read_text().split())
        return family

    @staticmethod
    def _resident(pid: int) -> int:
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            own = [line for line in text.splitlines() if line.startswith(("Pss_Anon", "Pss_Shmem"))]
            return 1024 * sum(int(line.split()[1]) for line in own)
        except (OSError, ValueError):
            return 0


def measured(command: list[str], environment: dict[str, str] | None = None) -> dict[str, Any]:
    """Run a command; its seconds, its peak of resident memory that is no file, and the JSON of its last line."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **(environment or {})})
    peak = Peak(process.pid)
    peak.start()
    out, _ = process.communicate()
    peak.running = False
    if process.returncode:
        raise RuntimeError(f"{command[:3]} … ended with {process.returncode}")
    seconds = time.perf_counter() - start
    return json.loads(out.strip().splitlines()[-1]) | {"seconds": seconds, "peak_bytes": peak.bytes}


class RedisServer:
    """redis-server on a free port, without persistence."""

    def __enter__(self) -> str:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.directory = tempfile.TemporaryDirectory()
        options = ["--bind", "127.0.0.1", "--save", "", "--dir", self.directory.name]
        self.process = subprocess.Popen(["redis-server", "--port", str(port), *options], stdout=subprocess.DEVNULL)
        for _ in range(200):
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", port)) == 0:
                    return f"redis://127.0.0.1:{port}/0"
            time.sleep(0.05)
        raise RuntimeError("redis-server does not answer")

    def __exit__(self, *exception: object) -> None:
        self.process.terminate()
        self.process.wait()
        self.directory.cleanup()


# --- the two pipelines -----------------------------------------------------------------------------------------------


def settings(events: Path, url: str, prefix: str, directory: str, seed: int) -> dict[str, Any]:
    plain = {name: {"weight": weight} for name, weight in WEIGHTS.items() if name != "share"}
    share = {"column": "played", "per": "length", "clip": [0, 1], "weight": WEIGHTS["share"]}
    return {
        "events": {"path": str(events)},
        "score": {
            "timestamp": "time",
            "half_life": f"{HALF_LIFE_DAYS} days",
            "minimum": MINIMUM,
            "signals": {"share": share, **plain},
        },
        "train": {
            "factors": FACTORS,
            "iterations": ITERATIONS,
            "regularization": LAMBDA,
            "regularization_scaling": "count",
            "alpha": ALPHA,
            "random_state": seed,
            "out": f"{directory}/model",
        },
        "publish": {"to": url, "prefix": prefix, "n": N, "exclude_seen": False},
    }


def run_fastals(events: Path, url: str, prefix: str, seed: int) -> None:
    """What a process of its own does for fastals."""
    from fastals._pipeline.settings import Pipeline
    from fastals._pipeline.steps import run

    with tempfile.TemporaryDirectory() as directory:
        chosen = settings(events, url, prefix, directory, seed)
        result = run(Pipeline.from_dict(chosen), quiet=True)
        model = result.model
        pairs = model.state_.pairs
        arrays = [model.user_factors_, model.item_factors_, pairs.indptr, pairs.indices, pairs.values]
        own = sum(array.nbytes for array in arrays)
        print(json.dumps({"steps": result.seconds, "model_bytes": own, "cells": pairs.nnz}))


def run_spark(events: Path, url: str, prefix: str, seed: int) -> None:
    """What a process of its own does for PySpark."""
    from pyspark.ml.feature import StringIndexer
    from pyspark.ml.recommendation import ALS
    from pyspark.sql import SparkSession
    from pyspark.sql import functions as F  # noqa: N812

    seconds, start = {}, time.perf_counter()

    def step(name: str) -> None:
        nonlocal start
        seconds[name], start = time.perf_counter() - start, time.perf_counter()

    cores = len(os.sched_getaffinity(0))
    builder = SparkSession.builder.master(f"local[{cores}]").config("spark.driver.memory", "12g")
    builder = builder.config("spark.sql.shuffle.partitions", 4 * cores).config("spark.ui.enabled", "false")
    libraries = {name: f"/usr/lib/x86_64-linux-gnu/lib{name}.so.3" for name in ("blas", "lapack")}
    given = [f"-Ddev.ludovic.netlib.{n}.nativeLibPath={path}" for n, path in libraries.items() if os.path.exists(path)]
    builder = builder.config("spark.driver.extraJavaOptions", " ".join(given))
    spark = builder.getOrCreate()
    step("start")
    schema = "user string, item string, played long, length long, finished long, liked long, shared long, disliked long"
    log = spark.read.csv(str(events / "*.csv"), header=True, schema=schema + ", time long")
    now = log.agg(F.max("time")).first()[0]
    share = F.when(F.col("length") != 0, F.col("played") / F.col("length")).otherwise(0.0)
    event = WEIGHTS["share"] * F.least(F.greatest(share, F.lit(0.0)), F.lit(1.0))
    for name, weight in WEIGHTS.items():
        if name != "share":
            event = event + weight * F.col(name)
    event = event * F.pow(F.lit(2.0), -(F.lit(now) - F.col("time")) / (HALF_LIFE_DAYS * 86_400))
    scores = log.groupBy("user", "item").agg(F.sum(event).cast("float").alias("score")).where(F.col("score") >= MINIMUM)
    scores = scores.persist()
    cells = scores.count()
    step("scored")
    indexers = {side: StringIndexer(inputCol=side, outputCol=f"{side}Id").fit(scores) for side in ("user", "item")}
    indexed = scores
    for side, indexer in indexers.items():
        indexed = indexer.transform(indexed).withColumn(f"{side}Id", F.col(f"{side}Id").cast("int"))
    indexed = indexed.select("userId", "itemId", "score").persist()
    indexed.count()
    step("indexed")
    als = ALS(rank=FACTORS, maxIter=ITERATIONS, regParam=LAMBDA, alpha=ALPHA, implicitPrefs=True, seed=seed)
    model = als.setUserCol("userId").setItemCol("itemId").setRatingCol("score").fit(indexed)
    model.userFactors.count()
    step("trained")
    users, items = (indexers[side].labels for side in ("user", "item"))
    names = spark.sparkContext.broadcast(users)
    version = "spark"

    def push(rows: Any) -> None:
        import redis

        client, batch = redis.Redis.from_url(url), {}
        for row in rows:
            ids = [one.itemId for one in row.recommendations]
            value = struct.pack(f"<{len(ids)}i", *ids)
            value += np.array([one.rating for one in row.recommendations], "<f2").tobytes()
            batch[f"{prefix}:{version}:{names.value[row.userId]}"] = value
            if len(batch) == 1000:
                client.mset(batch)
                batch = {}
        if batch:
            client.mset(batch)

    lists = model.recommendForAllUsers(N)
    lists.foreachPartition(push)
    import redis

    client = redis.Redis.from_url(url)
    for at in range(0, len(items), 65_536):
        client.hset(f"{prefix}:items:{version}", str(at // 65_536), json.dumps(items[at : at + 65_536]))
    client.set(f"{prefix}:popular:{version}", b"")
    client.hset(f"{prefix}:meta:{version}", mapping={"format": "1", "scores": "<f2", "items": "strings", "n": N})
    client.set(f"{prefix}:current", version)
    step("published")
    spark.stop()
    print(json.dumps({"steps": seconds, "cells": cells}))


def overlap(url: str, one: str, other: str, users: list[str]) -> float:
    """Mean share of a list's items that the other's list of the same user holds."""
    from fastals.serving import RedisRecommendations

    lists = [RedisRecommendations(url, prefix=prefix).get_many(users) for prefix in (one, other)]
    pairs = [(set(a.items), set(b.items)) for a, b in zip(*lists, strict=True) if not (a.popular or b.popular)]
    return float(np.mean([len(a & b) / max(1, len(a)) for a, b in pairs]))


def end_to_end(n_events: int, with_spark: bool) -> tuple[report.Table, dict[str, Any]]:
    events = generate(n_events)
    size = sum(path.stat().st_size for path in events.glob("*.csv"))
    print(f"{n_events:,} events, {size / 1e9:.2f} GB of CSV", flush=True)
    runs: dict[str, dict[str, Any]] = {}
    with RedisServer() as url:
        import redis

        client = redis.Redis.from_url(url)

        def stage(kind: str, prefix: str, seed: int, python: str = sys.executable) -> None:
            command = [python, __file__, "--stage", kind, str(events), url, prefix, str(seed)]
            runs[prefix] = measured(command, {"SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": python})
            print(prefix, json.dumps(runs[prefix]), flush=True)

        before = client.info("memory")["used_memory"]
        stage("fastals", "fastals", 0)
        n_users = int(client.hget(f"fastals:meta:{client.get('fastals:current').decode()}", "n_users"))
        runs["fastals"]["redis_bytes_per_user"] = (client.info("memory")["used_memory"] - before) / n_users
        rng = np.random.default_rng(0)
        known = {f"user-{u:08d}" for u in rng.integers(0, max(100, n_events // 50), 5000).tolist()}
        stage("fastals", "again", 1)
        agreement = {"again": overlap(url, "fastals", "again", sorted(known))}
        if with_spark:
            stage("spark", "spark", 0, os.environ.get("SPARK_PYTHON", sys.executable))
            agreement["spark"] = overlap(url, "fastals", "spark", sorted(known))
            assert runs["spark"]["cells"] == runs["fastals"]["cells"], "the two pipelines scored different pairs"
    ours = runs["fastals"]
    rows = []
    for name, label in (("fastals", "fastals"), ("again", "fastals, another seed"), ("spark", "PySpark 4, local")):
        if name in runs:
            run = runs[name]
            rows.append(
                [
                    label,
                    run["seconds"] / 60,
                    run["seconds"] / ours["seconds"],
                    run["peak_bytes"] / 1e9,
                    (run["peak_bytes"] - run.get("model_bytes", 0)) / 1e9 if "model_bytes" in run else None,
                    agreement.get(name),
                ]
            )
    columns = [
        "pipeline",
        "minutes",
        "x fastals",
        "peak GB",
        "beyond the model's arrays, GB",
        "recall of fastals' lists",
    ]
    title = f"{n_events:,} raw events ({size / 1e9:.1f} GB of CSV) to top-{N} lists in Redis, {FACTORS} factors"
    return report.table(title, columns, rows), runs


# --- the push --------------------------------------------------------------------------------------------------------


def push(n_users: int) -> report.Table:
    """Users/s and bytes a user: the push of lists that are there already, and all of publish."""
    import redis

    import fastals
    from fastals.serving import _address as _address
    from fastals.serving import _lists as _lists
    from fastals.serving import _redis as _redis
    from fastals.serving import _resp as _resp
    from fastals.serving import publish

    rng = np.random.default_rng(0)
    users, items = np.repeat(np.arange(n_users), 3), (20_000 * rng.random(3 * n_users) ** 2).astype(int)
    labels = np.char.add("user-", users.astype(str)).astype(object)
    model = fastals.ImplicitALS(factors=32, iterations=1, random_state=0).fit((labels, items))
    rows = []
    with RedisServer() as url:
        client = redis.Redis.from_url(url, socket_timeout=60)
        for label, ttl, dtype in (("MSET", None, "float16"), ("with expiry", 86_400, "float16")):
            lists = _lists.Lists(model, N, True, 8192)
            batches = list(lists.batches())
            lists.batches = lambda first=0, batches=batches: iter(batches)  # type: ignore[method-assign, misc]
            client.flushall()
            before = client.info("memory")["used_memory"]
            start = time.perf_counter()
            _redis.push(_address.Address(url), _resp.ListLayout(lists, "fastals", ttl, dtype))
            pushed = n_users / (time.perf_counter() - start)
            size = (client.info("memory")["used_memory"] - before) / n_users
            client.flushall()
            start = time.perf_counter()
            publish(model, url, n=N, ttl=ttl, progress=False)
            rows.append([label, pushed, n_users / (time.perf_counter() - start), size])
    columns = ["layout: int32 ids, float16 scores", "push, users/s", "recommend + push, users/s", "bytes a user"]
    return report.table(f"{n_users:,} users x {N} items to redis-server on loopback", columns, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=50_000_000)
    parser.add_argument("--no-spark", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--push", action="store_true", help="the push alone")
    parser.add_argument("--users", type=int, default=1_000_000, help="of --push")
    parser.add_argument("--stage", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        kind, events, url, prefix, seed = options.stage
        {"fastals": run_fastals, "spark": run_spark}[kind](Path(events), url, prefix, int(seed))
        return
    machine = report.machine()
    tables, runs = [], {}
    if not options.push:
        table, runs = end_to_end(300_000 if options.quick else options.events, not (options.quick or options.no_spark))
        tables.append(table)
    tables.append(push(20_000 if options.quick else options.users))
    report.save("pipeline", machine, tables, runs, quick=options.quick)


if __name__ == "__main__":
    main()

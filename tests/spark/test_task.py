"""The engine of one task: the bits of one machine, whatever comes in however; how the engine is chosen."""

from __future__ import annotations

import gc
import logging
import os
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

import fastals
from fastals._engines import executors, fit
from fastals._engines.ask import Ask, Columns
from fastals._engines.block import drawn
from fastals._engines.executors import Executors, cores, memory_left, probe, whole_executor
from fastals._engines.fitting import choice
from fastals._engines.pack import Cells, Packed, packed
from fastals._engines.pieces import Piece
from fastals._engines.task import fitted_pieces

COLUMNS = Columns("user", "item", "rating")


def ratings(n=3000, n_users=120, n_items=70, seed=0):
    """Users, items, values: negative ids, some pairs several times."""
    rng = np.random.default_rng(seed)
    users, items = rng.integers(-n_users // 2, n_users // 2, n), (n_items * rng.random(n) ** 2).astype(np.int64)
    return users.astype(np.int32), items.astype(np.int32), rng.integers(-1, 6, n).astype(np.float32) / 2


def frame_of(spark, cells, columns=COLUMNS):
    return spark.createDataFrame(pa.table(dict(zip(columns, cells, strict=True))))


def one_machine(cells, ask, starts=None):
    """The fit that fastals makes of the same cells, from the same start, without Spark."""
    users, items, values = (np.asarray(each) for each in cells)
    order = np.lexsort((values, items, users))
    kind = fastals.ImplicitALS if ask.implicit else fastals.ExplicitALS
    model = kind.from_preset(
        "spark",
        factors=ask.rank,
        iterations=ask.iterations,
        regularization=ask.regularization,
        solver=ask.solver,
        nonnegative=ask.nonnegative,
        **({"alpha": ask.alpha} if ask.implicit else {}),
    )
    if starts is None:
        sides = (np.unique(ids) for ids in (users, items))
        numbers = [np.arange(len(ids), dtype=np.int32) if ids.dtype == object else ids for ids in sides]
        starts = tuple(drawn(ask.seed, s, ids, ask.rank, nonnegative=ask.nonnegative) for s, ids in enumerate(numbers))
    return model.fit((users[order], items[order], values[order]), initial_factors=starts)


def collected(factors):
    """Ids, ascending, and their rows."""
    found = factors.toArrow().sort_by("id")
    rows = found["features"].combine_chunks()
    return found["id"].to_pylist(), rows.flatten().to_numpy().reshape(len(rows), -1)


def assert_same(fitted, model):
    for factors, ids, rows in (
        (fitted.user_factors, model.users_, model.user_factors_),
        (fitted.item_factors, model.items_, model.item_factors_),
    ):
        found, features = collected(factors)
        assert found == ids.tolist()
        np.testing.assert_array_equal(features, rows)
    assert fitted.losses == tuple(model.loss_history_)


# ---------------------------------------------------------------------------------------------------------------------
# bits


@pytest.mark.parametrize(
    "ask",
    [
        Ask(rank=5, iterations=3, solver="cholesky", seed=3),
        Ask(rank=33, iterations=6, solver="auto", regularization=0.02),
        Ask(rank=5, iterations=3, solver="cg"),
        Ask(rank=5, iterations=3, solver="lapack"),
        Ask(rank=5, iterations=3, nonnegative=True),
        Ask(rank=5, iterations=3, solver="cholesky", implicit=True, alpha=3.0, seed=-7),
        Ask(rank=33, iterations=6, solver="auto", implicit=True),
        Ask(rank=5, iterations=3, implicit=True, nonnegative=True),
        Ask(rank=4, iterations=0, seed=11),
    ],
    ids=lambda ask: f"{'implicit' if ask.implicit else 'explicit'}-{ask.solver}-{ask.rank}-{ask.nonnegative}",
)
def test_bits_are_those_of_one_machine(spark, ask):
    cells = ratings()
    assert_same(fit(frame_of(spark, cells).repartition(3), COLUMNS, ask), one_machine(cells, ask))


def test_bits_do_not_depend_on_how_the_rows_come(spark):
    """With several ratings of one pair among them, whose order is not told."""
    cells, ask = ratings(), Ask(rank=6, iterations=4)
    assert len(set(zip(*cells[:2], strict=True))) < len(cells[0])
    model, order = one_machine(cells, ask), np.random.default_rng(1).permutation(len(cells[0]))
    for parts in (1, 7):
        frame = frame_of(spark, [each[order] for each in cells]).repartition(parts)
        assert_same(fit(frame, COLUMNS, ask), model)


def test_without_a_column_of_ratings_all_are_one(spark):
    users, items, values = ratings(500)
    ask, columns = Ask(rank=3, iterations=2, implicit=True), Columns("user", "item", "")
    fitted = fit(frame_of(spark, (users, items, values)), columns, ask)
    assert_same(fitted, one_machine((users, items, np.ones(500, np.float32)), ask))


def test_frames_are_as_spark_has_them(spark):
    fitted = fit(frame_of(spark, ratings(300)), COLUMNS, Ask(rank=2, iterations=1))
    for factors in (fitted.user_factors, fitted.item_factors):
        assert factors.schema.simpleString() == "struct<id:int,features:array<float>>"
        assert not factors.schema["id"].nullable
        assert not factors.schema["features"].dataType.containsNull
    assert fitted.seen.schema.simpleString() == "struct<id:int,items:array<int>>"
    assert fitted.engine == "task"


def test_large_sides_come_in_several_partitions(spark):
    users = np.arange(9000, dtype=np.int32)
    cells = users, users % 7, np.ones(len(users), np.float32)
    fitted = fit(frame_of(spark, cells), COLUMNS, Ask(rank=2, iterations=1))
    parts = fitted.user_factors.selectExpr("spark_partition_id() AS part").groupBy("part").count().collect()
    assert sorted(row["count"] for row in parts) == [4500, 4500]


def test_seen_items(spark):
    users, items, _ = cells = ratings()
    seen = fit(frame_of(spark, cells).repartition(3), COLUMNS, Ask(rank=2, iterations=1)).seen.toArrow()
    expected = {user: sorted(set(items[users == user].tolist())) for user in set(users.tolist())}
    assert dict(zip(seen["id"].to_pylist(), seen["items"].to_pylist(), strict=True)) == expected
    assert len(seen) == len(expected)


# ---------------------------------------------------------------------------------------------------------------------
# where a fit starts


def factors_of(spark, ids, rows, kind="int"):
    features = pa.array(list(rows), pa.list_(pa.float32()))
    return spark.createDataFrame(pa.table({"id": ids, "features": features})).selectExpr(
        f"CAST(id AS {kind}) AS id", "features"
    )


def test_starts_at_given_factors_and_draws_what_they_lack(spark):
    cells, ask = ratings(), Ask(rank=3, iterations=0, seed=5)
    rng, frames, starts = np.random.default_rng(2), [], []
    for side, ids in enumerate(np.unique(each) for each in cells[:2]):
        given = rng.permutation(ids)[:40]
        strangers = np.append(given, np.int32([9_999, -9_999]))
        rows = rng.standard_normal((len(strangers), 3)).astype(np.float32)
        start = drawn(5, side, ids, 3)
        start[np.searchsorted(ids, given)] = rows[:40]
        frames.append(factors_of(spark, strangers, rows).repartition(3))
        starts.append(start)
    for iterations in (0, 2):
        ask = Ask(rank=3, iterations=iterations, seed=5, initial=tuple(frames))
        assert_same(fit(frame_of(spark, cells), COLUMNS, ask), one_machine(cells, ask, tuple(starts)))


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ([1.0, 2.0], "users must be rows of 3 numbers, as rank says, each with an id, got 2"),
        ([1.0, None, 3.0], "users must be rows of 3 numbers, as rank says, each with an id, got null"),
        (None, "got null"),
        ([1.0, float("nan"), 3.0], "initial user factors"),
    ],
)
def test_a_start_that_cannot_be(spark, row, words):
    cells = ratings(200)
    good = factors_of(spark, np.int32([1]), [[1.0, 2.0, 3.0]])
    for engine in ("task",) if row and row[1] != row[1] else ("task", "blocks"):
        ask = Ask(rank=3, initial=(factors_of(spark, np.int32([1]), [row]), good), engine=engine)
        with pytest.raises(fastals.DataError, match=words):
            fit(frame_of(spark, cells), COLUMNS, ask)


def test_a_start_of_other_ids(spark):
    start = factors_of(spark, ["a"], [[1.0]], "string")
    ask = Ask(rank=1, initial=(start, start))
    with pytest.raises(fastals.ArgumentTypeError, match="of users must be numbers, as in the ratings, got strings"):
        fit(frame_of(spark, ratings(200)), COLUMNS, ask)


# ---------------------------------------------------------------------------------------------------------------------
# threads


@pytest.mark.parametrize(
    ("master", "number"),
    [("local", 1), ("local[3]", 3), ("local[4,2]", 4), ("local[*,2]", len(os.sched_getaffinity(0)))],
)
def test_local_threads(master, number, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert cores(master) == number


def test_kernels_have_the_threads_that_are_asked_for(spark):
    """Workers have OMP_NUM_THREADS=1, which Spark sets where nobody else does."""

    def work(rows):
        for _ in rows:
            pass
        asked = len(os.listdir("/proc/self/task")) + 2  # an earlier fit of this worker has left some threads
        chunk = Piece(0, "chunk", 0, 0, Cells(*ratings()))
        list(fitted_pieces([chunk], Ask(rank=16, iterations=1), asked, 1))
        found = len(os.listdir("/proc/self/task"))
        yield pa.record_batch([[os.environ["OMP_NUM_THREADS"]], [found >= asked]], ["omp", "there"])

    [row] = spark.range(1).repartition(1).mapInArrow(work, "omp string, there boolean").collect()
    assert tuple(row) == ("1", True)


def test_a_task_asks_for_its_executor(spark):
    def told(**settings):
        conf = {name.replace("_", "."): value for name, value in settings.items()}
        return whole_executor(SimpleNamespace(conf=conf))

    for master in ("local[4]", "local-cluster[2,4,1024]", "mesos://host"):
        assert told(spark_master=master, spark_executor_cores="4") is None
    assert told(spark_master="yarn") is None
    assert told(spark_master="spark://host:7077", spark_executor_cores="4", spark_task_cpus="4") is None
    for master in ("yarn", "spark://host:7077", "k8s://https://host"):
        assert told(spark_master=master, spark_executor_cores="4").taskResources["cpus"].amount == 4


# ---------------------------------------------------------------------------------------------------------------------
# executors, and the choice of the engine


def test_the_probe_looks_once(spark):
    found = probe(spark)
    assert found.slots == 2
    assert found.memory is not None
    assert found.memory > 1 << 26
    assert probe(spark) == found


def test_memory_that_is_left(tmp_path: Path):
    def write(**files):
        for name, text in files.items():
            path = tmp_path / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    assert memory_left(tmp_path) is None
    write(proc__meminfo="MemTotal:  9000 kB\nMemFree:  10 kB\nMemAvailable:   5000 kB\n")
    assert memory_left(tmp_path) == int(0.6 * 5000 * 1024)
    cgroup = tmp_path / "sys/fs/cgroup"
    cgroup.mkdir(parents=True)
    (cgroup / "memory.current").write_text("3000000\n")
    (cgroup / "memory.max").write_text("max\n")
    assert memory_left(tmp_path) == int(0.6 * 5000 * 1024)
    (cgroup / "memory.max").write_text("5000000\n")
    (cgroup / "memory.stat").write_text("anon 5\ninactive_file 1000000\n")
    assert memory_left(tmp_path) == int(0.6 * 3_000_000)
    (cgroup / "memory").mkdir()
    (cgroup / "memory/memory.limit_in_bytes").write_text("2500000\n")
    (cgroup / "memory/memory.usage_in_bytes").write_text("500000\n")
    assert memory_left(tmp_path) == int(0.6 * 2_000_000)
    limits = "Limit  Soft Limit  Hard Limit  Units\nMax address space         9000000     9000000     bytes\n"
    write(proc__self__limits=limits, proc__self__statm="2000 100 100\n")
    assert memory_left(tmp_path) == int(0.6 * max(0, 9_000_000 - 2000 * os.sysconf("SC_PAGE_SIZE")))


SIZE = Packed(None, 10**9, np.empty(0, np.int32), np.empty(0, np.int32), 10**7, 10**6)


@pytest.mark.parametrize(
    ("engine", "memory", "chosen", "why"),
    [
        ("auto", 10**11, "task", "one task would need 30.6 GB, an executor has 100 GB for it"),
        ("auto", 10**10, "blocks", "one task would need 30.6 GB, an executor has 10 GB for it"),
        ("auto", None, "task", "how much an executor has is unknown"),
        ("task", 10**11, "task", "an executor has 100 GB"),
        ("blocks", 10**11, "blocks", "asked for"),
    ],
)
def test_the_engine_is_chosen_by_size(engine, memory, chosen, why, caplog):
    with caplog.at_level(logging.INFO, "fastals"):
        assert choice(SIZE, Ask(rank=64, engine=engine, implicit=True), Executors(4, memory)) == chosen
    [record] = caplog.records
    assert f"engine {chosen!r} for 1000000000 ratings of about 10000000 users and 1000000 items" in record.message
    assert why in record.message


def test_a_task_that_no_executor_holds(spark, monkeypatch):
    monkeypatch.setitem(executors._probes, spark, Executors(2, 12_345))
    with pytest.raises(
        fastals.ParameterError, match=r"(?s)got 'task': .* need .* GB, .* has 1.23e-05 GB.*pyspark.memory"
    ):
        fit(frame_of(spark, ratings()), COLUMNS, Ask(engine="task"))


@pytest.mark.parametrize("user", ["id * 7", "id % 3000"], ids=["each in one chunk", "all in all chunks"])
def test_sizes_are_told_within_a_few_percent(spark, user):
    frame = spark.range(60_000).selectExpr(f"{user} AS user", "id % 300 AS item", "1.0 AS rating").repartition(3)
    data = packed(frame, COLUMNS, [])
    assert (data.n_cells, data.n_items) == (60_000, 300)
    assert data.n_users == pytest.approx(60_000 if "*" in user else 3_000, rel=0.1)
    data.frame.unpersist()


# ---------------------------------------------------------------------------------------------------------------------
# what stays


def persists(spark):
    """Whether frames are persisted, which nobody but us unpersists; checkpoints go with the last frame on them."""
    return not spark._jsparkSession.sharedState().cacheManager().isEmpty()


def test_what_a_fit_persists_goes_with_it(spark):
    spark.catalog.clearCache()
    cells = ratings(300)
    fitted = fit(frame_of(spark, cells), COLUMNS, Ask(rank=2, iterations=1))
    assert persists(spark)
    rows = fitted.user_factors.selectExpr("id")
    del fitted
    deadline = time.monotonic() + 60
    while persists(spark) and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.05)
    assert not persists(spark)
    assert rows.count() == len(set(cells[0].tolist()))
    assert "mapInArrow" not in rows._jdf.queryExecution().toString()  # it is not made anew


def test_no_room_in_the_task(monkeypatch):
    def fit(*_, **__):
        raise MemoryError("Unable to allocate 9 TiB")

    monkeypatch.setattr(fastals.ExplicitALS, "fit", fit)
    [told] = fitted_pieces([Piece(0, "chunk", 0, 0, Cells(*ratings()))], Ask(rank=2), 1, 1)
    with pytest.raises(fastals.ParameterError, match=r"engine must be 'blocks', got 'auto': .*Unable to allocate"):
        raise told.content["error"]


def test_a_fit_that_fails_leaves_nothing(spark):
    spark.catalog.clearCache()
    frame = spark.createDataFrame([(1, 2, -1.0)], "user int, item int, rating float")
    with pytest.raises(fastals.DataError, match="needs at least one value above 0"):
        fit(frame, COLUMNS, Ask(rank=1, implicit=True))
    assert not persists(spark)

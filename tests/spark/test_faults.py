"""kill -9 to executors in the midst of a fit, on a real cluster: the fit goes on, and ends with the same bits."""

import logging
import time

import pytest

from fastals._engines import blocks
from fastals.spark import ALS

from .cluster import processes
from .data import digest_of, on_one_machine, ratings

FIT = """
    import logging
    from fastals._core import LOGGER
    from fastals.spark import ALS
    from spark.data import digest_of

    class Ask(logging.Handler):
        def emit(self, record):
            if record.getMessage().startswith({stop!r}):
                LOGGER.removeHandler(self)  # a fit may begin anew
                tell("there")
                hear()

    LOGGER.setLevel("INFO")
    LOGGER.addHandler(Ask())
    if {directory!r}:
        spark.sparkContext.setCheckpointDir({directory!r})
    als = ALS(rank={rank}, maxIter={iterations}, solver={solver!r}, seed=7, implicitPrefs=True, engine={engine!r},
              checkpointInterval=2)
    model = als.setNumBlocks(3).fit(spark.read.parquet({path!r}))
    tell([model.engine, digest_of(model)])
"""
BLOCKS = {"rank": 33, "iterations": 5, "solver": "auto"}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return ratings(tmp_path_factory.mktemp("ratings") / "ratings.parquet", cells=120_000)


@pytest.fixture(scope="module")
def alone(path):
    return digest_of(on_one_machine(path, implicit=True, **BLOCKS))


@pytest.mark.parametrize(("lost", "checkpoints"), [([0], False), ([1, 0], True)], ids=["one", "both"])
def test_executors_die_while_blocks_are_fitted(cluster, path, alone, tmp_path, lost, checkpoints):
    """After the third iteration: the second is in the checkpoint, if there is a directory."""
    directory = str(tmp_path / "checkpoints") if checkpoints else ""
    text = FIT.format(path=path, engine="blocks", stop="iteration 3 of", directory=directory, **BLOCKS)
    with cluster.program(text) as program:
        assert program.told() == "there"
        for number in lost:
            cluster.kill_executor(number)
        program.say("go on")
        assert program.told() == ["blocks", alone]


def test_a_fit_begins_anew_where_both_are_lost_without_a_checkpoint_directory(spark, path, monkeypatch, caplog):
    def lose(frame):
        raise RuntimeError(f"[{blocks.GONE}] as Spark says it")

    monkeypatch.setattr(blocks, "stored", lose)
    als = ALS(rank=4, maxIter=3, solver="cholesky", seed=7, implicitPrefs=True, engine="blocks", checkpointInterval=1)
    with caplog.at_level(logging.WARNING, "fastals"):
        model = als.fit(spark.read.parquet(path))
    assert "begins anew" in caplog.text
    assert model.losses == tuple(
        on_one_machine(path, implicit=True, rank=4, iterations=3, solver="cholesky").loss_history_
    )


def test_an_executor_dies_with_the_one_task_of_a_fit(cluster, path):
    fit = {"rank": 32, "iterations": 160, "solver": "cholesky"}
    text = FIT.format(path=path, engine="task", stop="engine 'task'", directory="", **fit)
    with cluster.program(text) as program:
        assert program.told() == "there"
        program.say("go on")
        kill_the_busy_one(cluster)
        assert program.told() == ["task", digest_of(on_one_machine(path, implicit=True, **fit))]


def kill_the_busy_one(cluster):
    """The executor whose Python has worked for a second: it fits."""
    deadline = time.monotonic() + 120
    before = {}
    while time.monotonic() < deadline:
        for number in range(2):
            for pid in cluster.executor(number):
                if "pyspark.daemon" in processes().get(pid, (0, 0, ""))[2]:
                    try:
                        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
                            ticks = sum(map(int, file.read().rpartition(")")[2].split()[11:13]))
                    except OSError:
                        continue
                    if ticks - before.setdefault(pid, ticks) > 100:
                        cluster.kill_executor(number)
                        return
        time.sleep(0.1)
    raise AssertionError("no executor was busy")

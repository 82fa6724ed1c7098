"""The cluster that other tests stand on is one: two executors, the kernels in both, and either may die."""

import time
from textwrap import dedent

import fastals

from .cluster import processes, run_connected

LOOK = """
import os, time
import pyarrow as pa

def look(batches):
    import fastals
    from pyspark import TaskContext
    ids = [row for batch in batches for row in batch.column("id").to_pylist()]
    time.sleep(1)
    facts = [ids, os.getpid(), fastals.__file__, fastals.show_config()["isa"], TaskContext.get().cpus()]
    yield pa.record_batch([[json.dumps(facts)]], names=["facts"])

def facts(frame):
    return [json.loads(row.facts) for row in frame.collect()]

frame = spark.range(8, numPartitions=8).mapInArrow(look, "facts string").persist()
"""
HERE = [fastals.__file__, fastals.show_config()["isa"]]


def ids(facts):
    return sorted(number for numbers, *_ in facts for number in numbers)


def of_session(process):
    return [pid for pid, (_, session, _) in processes().items() if session == process.pid]


def test_both_executors_run_the_kernels_and_either_may_die(cluster):
    text = """
        tell(facts(frame))
        hear()
        tell(facts(frame))
        tell(facts(frame.unpersist()))
    """
    with cluster.program(LOOK + dedent(text)) as program:
        first = program.told()
        executors = [cluster.executor(i) for i in range(2)]
        assert all(len(pids) > 1 for pids in executors)  # Java, and Python
        assert not set(executors[0]) & set(executors[1])
        # what each task said of where it ran
        assert {tuple(rest) for _, _, *rest in first} == {(*HERE, 1)}
        assert all({pid for _, pid, *_ in first} & set(pids) for pids in executors)
        assert ids(first) == list(range(8))

        killed = cluster.kill_executor(0)
        assert set(executors[0]) <= set(killed)
        assert not processes().keys() & set(killed)
        program.say("go on")
        again = program.told()
        assert ids(again) == list(range(8))
        # what the other executor held stands as it was; the rest was made anew
        kept = [each for each in first if each[1] in executors[1]]
        assert kept
        assert all(each in again for each in kept)
        assert not {pid for _, pid, *_ in again} & set(killed)

        # in the middle of a job
        time.sleep(1.5)
        cluster.kill_executor(1)
        assert ids(program.told()) == list(range(8))
        assert len(of_session(program.process)) > 1
    assert not of_session(program.process)


def test_connect(tmp_path):
    result = run_connected(LOOK + "tell([type(spark).__module__, facts(frame)]); spark.stop()", tmp_path)
    assert result[0] == "pyspark.sql.connect.session"
    assert ids(result[1]) == list(range(8))
    assert {tuple(rest) for _, _, *rest in result[1]} == {(*HERE, 1)}

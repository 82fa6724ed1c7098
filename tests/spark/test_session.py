"""The ground that the other tests stand on; and that a session is after a fit what it was before."""

import glob
import os
import threading

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fastals
from fastals._engines import pack, pieces
from fastals.spark import ALS


def test_workers_run_the_checkout(spark):
    def homes(batches):
        for batch in batches:
            yield pa.record_batch([[os.path.dirname(fastals.__file__)] * len(batch)], names=["home"])

    rows = spark.range(4, numPartitions=2).mapInArrow(homes, "home string").collect()
    assert {row.home for row in rows} == {os.path.dirname(fastals.__file__)}


def persisted(spark):
    return set(spark.sparkContext._jsc.getPersistentRDDs().keySet())


def in_blocks(spark):
    return set(glob.glob(f"{spark.conf.get('spark.local.dir')}/**/fastals-*", recursive=True))


def settings(spark):
    return dict(spark.conf.getAll)


def test_a_fit_reads_what_is_there_now(spark, tmp_path):
    """Not what was at the same path when another model was fitted, which still holds that."""
    path = str(tmp_path / "ratings.parquet")

    def fitted(ids):
        pq.write_table(pa.table({"user": ids, "item": ids, "rating": np.float32(ids)}), path)
        return ALS(rank=2, maxIter=1).fit(spark.read.parquet(path))

    first, second = fitted(np.int32([1, 2, 3])), fitted(np.int32([7, 8, 9]))
    assert sorted(row.id for row in first.userFactors.collect()) == [1, 2, 3]
    assert sorted(row.id for row in second.userFactors.collect()) == [7, 8, 9]


@pytest.mark.parametrize("engine", ["task", "blocks"])
def test_a_fit_that_fails_leaves_nothing(spark, engine):
    before, folders, conf = persisted(spark), in_blocks(spark), settings(spark)
    rows = [(u, i, 1.0) for u in range(20) for i in range(5)]
    frame = spark.createDataFrame(rows, "user int, item int, rating float")
    failing = frame.selectExpr("user", "item", "float(raise_error('no')) AS rating")
    with pytest.raises(Exception, match="no"):
        ALS(rank=2, engine=engine).fit(failing)
    huge = frame.selectExpr("user", "item", "if(user = 19 and item = 4, float(1e20), rating) AS rating")
    with pytest.raises(fastals.FastalsError):
        ALS(rank=2, engine=engine, implicitPrefs=True, alpha=1e30).setNumBlocks(3).fit(huge)
    text = frame.selectExpr("string(user) AS user", "item", "if(user = 19, float('nan'), rating) AS rating")
    with pytest.raises(fastals.DataError, match="finite"):
        ALS(rank=2, engine=engine).fit(text)
    assert not persisted(spark) - before
    assert not in_blocks(spark) - folders
    assert settings(spark) == conf


def test_batches_are_not_measured_in_a_session_apart(spark, monkeypatch):
    """And in none where Python makes the ratings, whose rows may be long."""
    frame = spark.createDataFrame([(0, 0, 1.0), (1, 1, 2.0)], "user int, item int, rating float")
    frame = frame.filter("1 = 1")
    apart = pack._where_batches_are_not_measured(frame)
    assert apart.conf.get(pack.BATCH_BYTES) == pack.UNMEASURED
    assert apart.conf.get("spark.sql.shuffle.partitions") == spark.conf.get("spark.sql.shuffle.partitions")
    assert pack._where_batches_are_not_measured(frame.mapInArrow(lambda rows: rows, frame.schema)) is None
    seen, told = set(), pack.told

    def look(pieces):
        seen.add((spark.conf.get(pack.BATCH_BYTES), pieces.sparkSession.conf.get(pack.BATCH_BYTES)))
        return told(pieces)

    monkeypatch.setattr(pack, "told", look)
    held = []
    data = pack.packed(frame, pack.Columns("user", "item", "rating"), held)
    assert seen == {(spark.conf.get(pack.BATCH_BYTES), pack.UNMEASURED)}
    assert data.frame.sparkSession is spark
    # what it persisted there is found from here
    assert "InMemory" in pack._plan_of(data.frame)
    pieces.unpersist(held)
    assert "InMemory" not in pack._plan_of(data.frame)


class Conf:
    """Settings of which one cannot be set for a while."""

    def __init__(self):
        self.values, self.refuses = {"a": "1"}, False

    def get(self, name):
        return self.values[name]

    def set(self, name, value):
        if self.refuses:
            raise RuntimeError("no")
        self.values[name] = value


class Session:
    def __init__(self):
        self.conf = Conf()


def test_settings_are_put_back():
    session = Session()
    inside, leave = threading.Event(), threading.Event()

    def hold():
        with pieces.setting(session, "a", "2"):
            inside.set()
            leave.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait()
    with pytest.raises(KeyError), pieces.setting(session, "a", "2"):
        raise KeyError
    assert session.conf.values == {"a": "2"}  # which the other still needs
    leave.set()
    thread.join()
    assert session.conf.values == {"a": "1"}
    session.conf.refuses = True
    with pytest.raises(RuntimeError), pieces.setting(session, "a", "2"):
        pass
    session.conf.refuses = False
    session.conf.values["a"] = "3"
    with pieces.setting(session, "a", "2"):
        assert session.conf.values == {"a": "2"}
    assert session.conf.values == {"a": "3"}


def test_a_checkpoint_that_cannot_be_written_is_an_error(spark, tmp_path):
    """Not one on executors, which would not outlive them."""
    try:
        spark.sparkContext.setCheckpointDir(str(tmp_path))
        assert pieces.stored(spark.range(5)).count() == 5
        [folder] = tmp_path.iterdir()
        folder.rename(tmp_path / "gone")
        folder.write_text("")
        with pytest.raises(Exception, match=r"(?i)not a directory|exist|mkdirs|create"):
            pieces.stored(spark.range(5))
    finally:
        spark.sparkContext.setCheckpointDir(None)
    assert pieces.stored(spark.range(5)).count() == 5


def test_what_a_user_has_persisted_stays(spark):
    frame = spark.createDataFrame([(0, 0, 1.0), (1, 1, 2.0)], "user int, item int, rating float")
    kept = [frame.persist(), frame.select("user", "item", "rating").persist()]
    kept.append(frame.selectExpr("user AS user", "item AS item", "rating AS rating").persist())
    for each in kept:
        each.count()
    for each in kept:
        ALS(rank=2, maxIter=1).fit(each)
        assert all(one.storageLevel.useMemory for one in kept)
    pieces.unpersist(kept)

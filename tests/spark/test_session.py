"""The ground that the other tests stand on."""

import os

import pyarrow as pa

import fastals


def test_workers_run_the_checkout(spark):
    def homes(batches):
        for batch in batches:
            yield pa.record_batch([[os.path.dirname(fastals.__file__)] * len(batch)], names=["home"])

    rows = spark.range(4, numPartitions=2).mapInArrow(homes, "home string").collect()
    assert {row.home for row in rows} == {os.path.dirname(fastals.__file__)}

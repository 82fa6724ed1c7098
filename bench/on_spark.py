"""Spark on this machine: a session, a frame of cells, factors as arrays."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse


def session(threads: int, folder: str, settings: Mapping[str, str] | None = None) -> Any:
    """local[threads], with a native BLAS where the system has one: without it Spark is up to three times slower."""
    from pyspark.sql import SparkSession

    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    os.environ["PYSPARK_PYTHON"] = sys.executable
    builder = SparkSession.builder.master(f"local[{threads}]").config("spark.local.dir", folder)
    builder = builder.config("spark.driver.memory", "12g").config("spark.ui.enabled", "false")
    builder = builder.config("spark.sql.shuffle.partitions", threads).config("spark.log.level", "ERROR")
    if library := native_blas():
        native = [f"-Ddev.ludovic.netlib.{name}.nativeLibPath={library}" for name in ("blas", "lapack")]
        builder = builder.config("spark.driver.extraJavaOptions", " ".join(native))
    return builder.config(map=dict(settings or {})).getOrCreate()


def native_blas() -> str | None:
    candidates = sorted(Path("/usr/lib").glob("*/libopenblas.so.0"))
    return str(candidates[0]) if candidates else None


def write(A: sparse.csr_array, folder: str) -> str:
    """Cells as Parquet; returns the path."""
    import pyarrow
    import pyarrow.parquet

    cells = A.tocoo()
    table = pyarrow.table({"user": cells.row, "item": cells.col, "rating": cells.data})
    pyarrow.parquet.write_table(table, f"{folder}/cells.parquet")
    return f"{folder}/cells.parquet"


def frame(spark: Any, A: sparse.csr_array, folder: str) -> Any:
    cells_of = spark.read.parquet(write(A, folder)).cache()
    cells_of.count()
    return cells_of


def factors(model: Any, shape: tuple[int, int], k: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows without cells, of which Spark does not know, are zero."""
    sides = []
    for table_of, n in zip((model.userFactors, model.itemFactors), shape, strict=True):
        table = table_of.toPandas()
        side = np.zeros((n, k), np.float32)
        side[table["id"].to_numpy()] = np.array(table["features"].to_list(), np.float32)
        sides.append(side)
    return sides[0], sides[1]
